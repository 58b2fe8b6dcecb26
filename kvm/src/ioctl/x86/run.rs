//! `KVM_RUN` (api.rst 4.10, 5) of an x86-64 guest, with sync regs and the proposals (requirements 6).
//!
//! The order of what it does can be seen (SYNC-7 to SYNC-9, SYNC-17):
//!
//! ```text
//!   flags = 0
//!   kvm_valid_regs, kvm_dirty_regs: a bit that there is not: EINVAL ──────────┐
//!   dirty sets are loaded: REGS, SREGS, EVENTS; what cannot be: EINVAL ───────┤
//!   CR8, where the interrupt controller is user space's                       │
//!   the last exit's access is completed                                       │
//!   immediate_exit: EINTR, and exit_reason is as it was ──────────────────────┤
//!   exit_reason = KVM_EXIT_UNKNOWN                                            │
//!   the guest runs, under the mask of KVM_SET_SIGNAL_MASK                     │
//!   exit_reason and the union's member, or an errno                           │
//!   the sets that are asked for are stored ◄──────────────────────────────────┘
//!   if_flag, cr8, apic_base, ready_for_interrupt_injection
//! ```

use std::mem::offset_of;

use understudy_abi::PAGE_SIZE;
use understudy_abi::exit::*;
use understudy_abi::proposals::kvm_debug_exit_arch_cr3;
use understudy_abi::run::{
    APIC_BASE, CR8, EXIT_UNION, IF_FLAG, KVM_DIRTY_REGS, KVM_VALID_REGS, Page,
    READY_FOR_INTERRUPT_INJECTION, REQUEST_INTERRUPT_WINDOW, SYNC_REGS,
};
use understudy_abi::x86::{
    KVM_PIO_PAGE_OFFSET, SyncRegs, kvm_debug_exit_arch, kvm_regs, kvm_sregs, kvm_sync_regs,
    kvm_vcpu_events,
};
use understudy_x86::exit::{DebugExit, EMULATION, EmulationFailure, Exit, MsrExit, VMEXIT_NPF};
use understudy_x86::regs::flag;

use crate::errno::Errno;
use crate::ioctl::x86::sregs::Common;
use crate::signal::Running;
use crate::stats::x86 as count;
use crate::vcpu::Vcpu;
use crate::vcpu::x86::{Completion, State};
use crate::x86::sync_regs;

/// The offset in `kvm_run` of a field of one of its union's members.
macro_rules! at {
    ($member:ident . $field:ident) => {
        EXIT_UNION + offset_of!($member, $field)
    };
}

/// Where the data of port accesses is, from the start of `kvm_run`.
pub(crate) const PORT_DATA: usize = KVM_PIO_PAGE_OFFSET * PAGE_SIZE;

/// The offset in `kvm_run` of a set of sync registers.
macro_rules! set {
    ($field:ident) => {
        SYNC_REGS + offset_of!(kvm_sync_regs, $field)
    };
}

impl Vcpu {
    /// `KVM_RUN` of an x86-64 guest.
    pub(crate) fn run_x86(&self, state: &mut State) -> Result<(), Errno> {
        self.run.set_flags(0);
        let result = self.enter(state);
        let common = Common::of(state.cpu.cpu());
        let valid: u64 = self.run.read(KVM_VALID_REGS);
        if valid != 0 {
            let sets = state.conditions.stored(&self.run, valid);
            if !sets.is_empty() {
                self.store_sync_regs(state, common, sets);
            }
        }
        self.store_common(state, common);
        result
    }

    /// All but what is stored after every run.
    fn enter(&self, state: &mut State) -> Result<(), Errno> {
        let page = &self.run;
        let dirty: u64 = page.read(KVM_DIRTY_REGS);
        if !sync_regs::valid_is_allowed(page.read(KVM_VALID_REGS))
            || !state.conditions.dirty_is_allowed(dirty)
        {
            return Err(Errno::EINVAL);
        }
        if dirty != 0 {
            self.load_sync_regs(state)?;
        }
        if !state.cpu.cpu().state.peer.apic().in_kernel() {
            state.set_cr8(page.read(CR8))?;
        }
        self.complete(state);
        if page.immediate_exit() {
            return Err(Errno::EINTR);
        }
        let window: u8 = page.read(REQUEST_INTERRUPT_WINDOW);
        state.cpu.request_window(window != 0);
        let running = Running::begin(&self.peer, self.signal_mask());
        page.set_exit_reason(KVM_EXIT_UNKNOWN);
        state.has_run = true;
        let exit = state.cpu.run();
        drop(running);
        self.stats.count(count::EXITS);
        self.report_x86(state, exit)
    }

    /// Loads the sets that user space has changed (SYNC-4 to SYNC-6). Each is copied before anybody
    /// looks at it, as another thread may write the page.
    fn load_sync_regs(&self, state: &mut State) -> Result<(), Errno> {
        let page = &self.run;
        let taken = |set: SyncRegs| {
            let all: u64 = page.read(KVM_DIRTY_REGS);
            page.write(KVM_DIRTY_REGS, &(all & !set.bits()));
        };
        let wanted = SyncRegs::from_bits_truncate(page.read(KVM_DIRTY_REGS));
        if wanted.contains(SyncRegs::REGS) {
            let regs: kvm_regs = page.read(set!(regs));
            state.set_regs(&regs);
            taken(SyncRegs::REGS);
        }
        if wanted.contains(SyncRegs::SREGS) {
            let sregs: kvm_sregs = page.read(set!(sregs));
            state.set_sregs(&sregs)?;
            taken(SyncRegs::SREGS);
        }
        if wanted.contains(SyncRegs::EVENTS) {
            let events: kvm_vcpu_events = page.read(set!(events));
            state.set_events(&events)?;
            taken(SyncRegs::EVENTS);
        }
        Ok(())
    }

    /// Stores sets of registers (SYNC-7, SYNC-13 to SYNC-18).
    #[inline(always)]
    fn store_sync_regs(&self, state: &mut State, common: Common, sets: SyncRegs) {
        let page = &self.run;
        if sets.contains(SyncRegs::REGS) {
            page.write(set!(regs), &state.regs());
        }
        if sets.contains(SyncRegs::SREGS) {
            state.store_sregs(common, &page.0, set!(sregs));
        }
        if sets.contains(SyncRegs::EVENTS) {
            page.write(set!(events), &state.events());
        }
    }

    /// What every run leaves, also one that failed.
    fn store_common(&self, state: &State, common: Common) {
        let page = &self.run;
        let cpu = state.cpu.cpu();
        let enabled = cpu.state.rflags & flag::IF != 0;
        page.write(IF_FLAG, &u8::from(enabled));
        page.write(CR8, &common.cr8);
        page.write(APIC_BASE, &common.apic_base);
        page.write(READY_FOR_INTERRUPT_INJECTION, &u8::from(state.cpu.ready()));
    }

    /// Completes the access that the last exit was for.
    fn complete(&self, state: &mut State) {
        match state.completion.take() {
            None => {}
            Some(Completion::Mmio) => state.cpu.complete_mmio(&self.run.read(at!(mmio.data))),
            Some(Completion::Io(bytes @ ..=8)) => {
                let data: [u8; 8] = self.run.read(PORT_DATA);
                state.cpu.complete_io_elements(&data[..bytes]);
            }
            Some(Completion::Io(bytes)) => {
                let mut data = vec![0; bytes.min(PAGE_SIZE)];
                self.run.0.load(PORT_DATA, &mut data);
                state.cpu.complete_io_elements(&data);
            }
            Some(Completion::Hypercall) => {
                let answer: hypercall = self.run.exit();
                state.cpu.complete_hypercall(answer.ret);
            }
            Some(Completion::Msr) => {
                let answer: msr = self.run.exit();
                state.cpu.complete_msr(answer.error != 0, answer.data);
            }
        }
    }

    /// Writes down why the guest stopped.
    fn report_x86(&self, state: &mut State, exit: Exit) -> Result<(), Errno> {
        let page = &self.run;
        match exit {
            Exit::Interrupted => {
                page.set_exit_reason(KVM_EXIT_INTR);
                self.stats.count(count::SIGNAL_EXITS);
                return Err(Errno::EINTR);
            }
            Exit::Again => return Err(Errno::EAGAIN),
            Exit::Fault => return Err(Errno::EFAULT),
            Exit::DirtyRingFull => page.set_exit_reason(KVM_EXIT_DIRTY_RING_FULL),
            Exit::Io(access) => {
                let direction = if access.is_in {
                    KVM_EXIT_IO_IN
                } else {
                    KVM_EXIT_IO_OUT
                };
                page.set_exit(&io {
                    direction,
                    size: access.size,
                    port: access.port,
                    count: access.count,
                    data_offset: PORT_DATA as u64,
                });
                if !access.is_in {
                    page.write(PORT_DATA, &access.data);
                }
                page.set_exit_reason(KVM_EXIT_IO);
                let bytes = access.count as usize * usize::from(access.size);
                state.completion = Some(Completion::Io(bytes));
                self.stats.count(count::IO_EXITS);
            }
            Exit::Mmio(access) => {
                self.report_mmio(&access);
                if !access.is_write {
                    state.completion = Some(Completion::Mmio);
                }
                self.stats.count(count::MMIO_EXITS);
            }
            Exit::Hlt => {
                page.set_exit_reason(KVM_EXIT_HLT);
                self.stats.count(count::HALT_EXITS);
            }
            Exit::IrqWindowOpen => {
                page.set_exit_reason(KVM_EXIT_IRQ_WINDOW_OPEN);
                self.stats.count(count::REQUEST_IRQ_EXITS);
            }
            Exit::Hypercall(call) => {
                page.set_exit(&hypercall {
                    nr: call.number,
                    args: call.arguments,
                    ret: 0,
                    flags: call.long_mode.into(),
                });
                page.set_exit_reason(KVM_EXIT_HYPERCALL);
                state.completion = Some(Completion::Hypercall);
            }
            Exit::IoapicEoi(vector) => {
                page.set_exit(&eoi { vector });
                page.set_exit_reason(KVM_EXIT_IOAPIC_EOI);
            }
            Exit::TprAccess(access) => {
                page.set_exit(&tpr_access {
                    rip: access.rip,
                    is_write: access.is_write.into(),
                    ..tpr_access::default()
                });
                page.set_exit_reason(KVM_EXIT_TPR_ACCESS);
            }
            Exit::SetTpr => page.set_exit_reason(KVM_EXIT_SET_TPR),
            Exit::Shutdown => page.set_exit_reason(KVM_EXIT_SHUTDOWN),
            Exit::Debug(exit) => self.report_debug(state, &exit),
            Exit::Rdmsr(access) => self.report_msr(state, &access, KVM_EXIT_X86_RDMSR),
            Exit::Wrmsr(access) => self.report_msr(state, &access, KVM_EXIT_X86_WRMSR),
            Exit::FailEntry { reason } => {
                page.set_exit(&fail_entry {
                    hardware_entry_failure_reason: reason,
                    ..fail_entry::default()
                });
                page.set_exit_reason(KVM_EXIT_FAIL_ENTRY);
            }
            Exit::EmulationFailure(failure) => self.report_emulation_failure(&failure),
            Exit::InternalError { suberror } => {
                page.write(at!(internal.suberror), &suberror);
                page.write(at!(internal.ndata), &0u32);
                page.set_exit_reason(KVM_EXIT_INTERNAL_ERROR);
            }
        }
        Ok(())
    }

    /// Writes down an access of an MSR that is user space's.
    fn report_msr(&self, state: &mut State, access: &MsrExit, exit_reason: u32) {
        let page = &self.run;
        page.write(at!(msr.error), &0u8);
        page.write(at!(msr.pad), &[0u8; 7]);
        page.write(at!(msr.reason), &access.reason);
        page.write(at!(msr.index), &access.index);
        page.write(at!(msr.data), &access.data);
        page.set_exit_reason(exit_reason);
        state.completion = Some(Completion::Msr);
    }

    /// Writes down what KVM failed to emulate: the instruction, and behind that what it knows of the
    /// #VMEXIT. Without bytes of it, the latter takes their place.
    fn report_emulation_failure(&self, failure: &EmulationFailure) {
        let page = &self.run;
        let has_bytes = failure.insn_size != 0;
        page.write(at!(emulation_failure.suberror), &EMULATION);
        page.write(at!(emulation_failure.flags), &u64::from(has_bytes));
        let mut data = at!(emulation_failure.insn_size);
        if has_bytes {
            page.write(data, &failure.insn_size);
            page.write(at!(emulation_failure.insn_bytes), &failure.insn_bytes);
            data = EXIT_UNION + size_of::<emulation_failure>();
        }
        let info = [VMEXIT_NPF, failure.error, failure.address, 0, 0];
        page.write(data, &info);
        let end = data + size_of_val(&info);
        let entries = (end - at!(internal.data)) / size_of::<u64>();
        page.write(at!(emulation_failure.ndata), &(entries as u32));
        page.set_exit_reason(KVM_EXIT_INTERNAL_ERROR);
    }

    /// Writes down a debug exit. What KVM's path to it does not write keeps what was there (DBG-5).
    fn report_debug(&self, state: &State, exit: &DebugExit) {
        let page = &self.run;
        page.write(at!(kvm_debug_exit_arch.exception), &exit.exception);
        page.write(at!(kvm_debug_exit_arch.pc), &exit.pc);
        if let Some(dr6) = exit.dr6 {
            page.write(at!(kvm_debug_exit_arch.dr6), &dr6);
        }
        if let Some(dr7) = exit.dr7 {
            page.write(at!(kvm_debug_exit_arch.dr7), &dr7);
        }
        // CR3-1 to CR3-3.
        if state.debug_cr3 {
            page.write(at!(kvm_debug_exit_arch_cr3.cr3), &state.cpu.cpu().state.cr3);
        }
        page.set_exit_reason(KVM_EXIT_DEBUG);
    }
}
