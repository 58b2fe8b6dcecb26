//! TPR where user space helps a guest that uses it all the time: it is told of each access
//! (`KVM_TPR_ACCESS_REPORTING`), makes of the instruction one that accesses a page of its own, and names
//! that page (`KVM_SET_VAPIC_ADDR`).
//!
//! ```text
//!   byte 0   TPR, which the guest may write at any time: what it holds when the vCPU leaves the guest
//!            is what counts, whatever was written otherwise
//!   byte 1   the priority in service     ┐ for the guest, to know whether an interrupt waits that its
//!   byte 3   the highest vector in IRR   ┘ new TPR lets through: it calls KVM_HC_VAPIC_POLL_IRQ then
//! ```

use super::registers::reg;
use crate::exit::{Exit, TprAccess};
use crate::vcpu::Vcpu;
use crate::{Cpu, interrupts, state, vcpu};

/// What this part keeps of a vCPU.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Help {
    reports: bool,
    page: Option<u64>,
}

/// The instruction at hand accesses TPR, not by CR8: user space is told when it is over.
pub(super) fn accessed(cpu: &mut Cpu, is_write: bool) {
    if cpu.state.tpr.reports {
        let rip = state::rip(cpu);
        cpu.state.exit = Some(Exit::TprAccess(TprAccess { rip, is_write }));
        vcpu::leave(cpu);
        cpu.leave_after_insn();
    }
}

/// INIT: there is no page any more.
pub(crate) fn reset(cpu: &mut Cpu) {
    cpu.state.tpr.page = None;
}

/// The guest may have written TPR.
pub(crate) fn take(cpu: &mut Cpu) {
    let Some(at) = cpu.state.tpr.page else {
        return;
    };
    let mut tpr = [0];
    // What has gone stays as it was.
    let read = cpu.state.memory.read(at, &mut tpr).is_ok();
    let apic = cpu.state.peer.apic();
    let tpr = u32::from(tpr[0]);
    if read && apic.get(reg::TPR) != tpr {
        apic.set(reg::TPR, tpr);
        interrupts::look(cpu);
    }
}

/// The guest is about to go on.
pub(crate) fn give(cpu: &mut Cpu) {
    let Some(at) = cpu.state.tpr.page else {
        return;
    };
    let apic = cpu.state.peer.apic();
    if !apic.software_enabled() || !apic.enabled() {
        return;
    }
    let highest = |set| apic.highest(set).unwrap_or(0);
    let bytes = [
        apic.get(reg::TPR) as u8,
        highest(reg::ISR) & 0xf0,
        0,
        highest(reg::IRR),
    ];
    // Nobody is told of a page that has gone.
    let _ = cpu.state.memory.write(at, &bytes);
}

impl Vcpu {
    /// `KVM_TPR_ACCESS_REPORTING`.
    pub fn report_tpr_accesses(&mut self, on: bool) {
        self.cpu_mut().state.tpr.reports = on;
    }

    /// `KVM_SET_VAPIC_ADDR`, 0 for none. False, with nothing done, for `EINVAL`: without a local APIC in
    /// the kernel, or where there is no memory.
    #[must_use]
    pub fn set_vapic(&mut self, address: u64) -> bool {
        let state = &mut self.cpu_mut().state;
        let memory = |at| state.memory.lookup(at).is_some();
        let there = address
            .checked_add(3)
            .is_some_and(|end| memory(address) && memory(end));
        if !state.peer.apic().in_kernel() || address != 0 && !there {
            return false;
        }
        state.tpr.page = (address != 0).then_some(address);
        true
    }
}
