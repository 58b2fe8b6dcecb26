//! The hypercalls that there are (KVM's `Documentation/virt/kvm/x86/hypercalls.rst`).

use super::{feature, has};
use crate::apic::delivery::{self, Message, Mode, Shorthand};
use crate::apic::{event, tpr};
use crate::exit::{Exit, HypercallExit};
use crate::hypercalls::ENOSYS;
use crate::regs::RAX;
use crate::vcpu::Vcpu;
use crate::{Cpu, tsc};
use std::sync::atomic::Ordering;
use understudy_engine::emit::Stop;
use understudy_engine::request::INTERRUPT;
use understudy_engine::timekeeper;

/// `-KVM_EINVAL`.
const EINVAL: u64 = 22u64.wrapping_neg();
/// `-KVM_EFAULT`.
const EFAULT: u64 = 14u64.wrapping_neg();
/// `-KVM_EOPNOTSUPP`.
const EOPNOTSUPP: u64 = 95u64.wrapping_neg();

/// `KVM_HC_*`.
mod number {
    pub(super) const VAPIC_POLL_IRQ: u64 = 1;
    pub(super) const KICK_CPU: u64 = 5;
    pub(super) const CLOCK_PAIRING: u64 = 9;
    pub(super) const SEND_IPI: u64 = 10;
    pub(super) const SCHED_YIELD: u64 = 11;
    pub(super) const MAP_GPA_RANGE: u64 = 12;
}

/// Bytes of VMMCALL.
const LENGTH: u64 = 3;

/// A hypercall of CPL 0. Gives what RAX gets, or leaves.
pub fn hypercall(cpu: &mut Cpu, number: u64, arguments: [u64; 4]) -> Result<u64, Stop> {
    let [a, b, c, d] = arguments;
    Ok(match number {
        number::VAPIC_POLL_IRQ => {
            tpr::take(cpu);
            0
        }
        number::KICK_CPU if has(cpu, feature::PV_UNHALT) => {
            kick(cpu, b as u32);
            0
        }
        number::CLOCK_PAIRING => pair_clocks(cpu, a, b),
        number::SEND_IPI if has(cpu, feature::PV_SEND_IPI) => send(cpu, [a, b], c as u32, d),
        number::SCHED_YIELD if has(cpu, feature::PV_SCHED_YIELD) => {
            std::thread::yield_now();
            0
        }
        number::MAP_GPA_RANGE => return map_range(cpu, a, b, c),
        _ => ENOSYS,
    })
}

/// `KVM_HC_KICK_CPU`: the end of a halt of the vCPU with this APIC ID.
fn kick(cpu: &Cpu, id: u32) {
    cpu.state.machine.vcpus.each(|peer| {
        if peer.apic().in_kernel() && peer.id() == id {
            peer.apic().note(event::KICK);
            peer.post(INTERRUPT);
        }
    });
}

/// `KVM_HC_CLOCK_PAIRING`: the time of day, and the counter then.
fn pair_clocks(cpu: &Cpu, at: u64, kind: u64) -> u64 {
    if kind != 0 {
        return EOPNOTSUPP;
    }
    let ns = timekeeper::now();
    let data = cpu.state.machine.clock();
    let mut bytes = [0; 64];
    let second = 1_000_000_000;
    let values = [data.realtime / second, data.realtime % second];
    for (to, value) in bytes
        .chunks_exact_mut(8)
        .zip([values[0], values[1], cpu.state.tsc.at(ns)])
    {
        to.copy_from_slice(&value.to_le_bytes());
    }
    match cpu.state.memory.write(at, &bytes) {
        Ok(()) => 0,
        Err(_) => EFAULT,
    }
}

/// `KVM_HC_SEND_IPI`: to the vCPUs of a bitmap that begins at an APIC ID. Gives how many have got it.
fn send(cpu: &Cpu, bitmap: [u64; 2], first: u32, icr: u64) -> u64 {
    // A destination mode or a shorthand.
    if icr & 0xc_0800 != 0 {
        return EINVAL;
    }
    let each = if cpu.state.code64() { 64 } else { 32 };
    let mut count = 0;
    for (word, start) in bitmap.into_iter().zip([0, each]) {
        for bit in (0..each).filter(|bit| word >> bit & 1 != 0) {
            let Some(id) = first.checked_add(start + bit) else {
                continue;
            };
            let message = Message {
                vector: icr as u8,
                mode: Mode::of((icr >> 8) as u32),
                logical: false,
                assert: icr & 1 << 14 != 0,
                level: icr & 1 << 15 != 0,
                shorthand: Shorthand::None,
                destination: id,
                hint: false,
            };
            count += delivery::deliver_to(&cpu.state.machine, id, &message);
        }
    }
    count
}

/// `KVM_HC_MAP_GPA_RANGE`, which is user space's if it wants it.
fn map_range(cpu: &mut Cpu, address: u64, pages: u64, attributes: u64) -> Result<u64, Stop> {
    let wanted = cpu.state.machine.pv.exits.load(Ordering::Relaxed);
    if wanted & 1 << number::MAP_GPA_RANGE == 0 {
        return Ok(ENOSYS);
    }
    let page = address >> 12;
    if address & 0xfff != 0 || page.wrapping_add(pages) <= page {
        return Ok(EINVAL);
    }
    cpu.state.pv.hypercall = true;
    cpu.state.exit = Some(Exit::Hypercall(HypercallExit {
        number: number::MAP_GPA_RANGE,
        arguments: [address, pages, attributes, 0, 0, 0],
        long_mode: cpu.state.code64(),
    }));
    Err(Stop::Exit)
}

impl Vcpu {
    /// Completes the hypercall of the last [`Exit::Hypercall`]; does nothing if none is open.
    pub fn complete_hypercall(&mut self, result: u64) {
        let cpu = self.cpu_mut();
        if std::mem::take(&mut cpu.state.pv.hypercall) {
            let wide = cpu.state.code64();
            cpu.set_slot(RAX, if wide { result } else { result & 0xffff_ffff });
            cpu.pc = cpu.pc.wrapping_add(LENGTH);
        }
    }

    /// The rate of the time stamp counter, in kHz (`KVM_GET_TSC_KHZ`).
    pub fn tsc_khz(&self) -> u32 {
        self.cpu().state.tsc.khz()
    }

    /// Sets it; 0 is the host's (`KVM_SET_TSC_KHZ`).
    pub fn set_tsc_khz(&mut self, khz: u32) {
        tsc::set_khz(self.cpu_mut(), khz);
    }
}
