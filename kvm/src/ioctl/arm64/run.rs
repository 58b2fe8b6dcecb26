//! `KVM_RUN` (api.rst 4.10, 5) of an arm64 guest.
//!
//! The order of what it does can be seen (ESR-5, ESR-6):
//!
//! ```text
//!   first run: ENOEXEC, or what the guest may have seen is fixed from here on (IDR-8)
//!   the last exit was MMIO: what user space read is put into its register
//!   immediate_exit: EINTR, and exit_reason and flags are as they were
//!   exit_reason = KVM_EXIT_UNKNOWN, flags = 0
//!   the guest runs, under the mask of KVM_SET_SIGNAL_MASK
//!   exit_reason and the union's member, or an errno; s.regs.device_irq_level
//! ```

use std::mem::offset_of;

use understudy_abi::arm64::{
    DeviceIrqLevel, HypercallExitFlags, RunFlags, kvm_debug_exit_arch, kvm_sync_regs,
    native_syndrome_bytes,
};
use understudy_abi::exit::*;
use understudy_abi::run::EXIT_UNION;
use understudy_arm64::exit::Exit;
use understudy_arm64::vcpu::NotReady;

use crate::errno::Errno;
use crate::signal::Running;
use crate::stats::{EXITS, MMIO_EXIT_USER, SIGNAL_EXITS};
use crate::vcpu::Vcpu;
use crate::vcpu::arm64::State;

/// The offset in `kvm_run` of a field of one of its union's members.
macro_rules! at {
    ($member:ident . $field:ident) => {
        EXIT_UNION + offset_of!($member, $field)
    };
}

impl Vcpu {
    /// `KVM_RUN` of an arm64 guest.
    pub(crate) fn run_arm64(&self, state: &mut State) -> Result<(), Errno> {
        state.cpu.first_run().map_err(|error| match error {
            NotReady::NotInitialized => Errno::ENOEXEC,
            NotReady::Fraction => Errno::EPERM,
        })?;
        // Read once: the other side may change it meanwhile.
        let immediate_exit = self.run.immediate_exit();
        if self.run.exit_reason() == KVM_EXIT_MMIO {
            state.cpu.complete_mmio(&self.run.read(at!(mmio.data)));
        }
        if immediate_exit {
            state.cpu.settle();
            return Err(Errno::EINTR);
        }
        let running = Running::begin(&self.peer, self.signal_mask());
        self.run.set_exit_reason(KVM_EXIT_UNKNOWN);
        self.run.set_flags(0);
        let regs: kvm_sync_regs = self.run.sync_regs();
        let level = DeviceIrqLevel::from_bits_truncate(regs.device_irq_level);
        state.cpu.set_device_irq_level(level);

        state.pstate_kept = 0;
        let exit = state.cpu.run();

        let timers = DeviceIrqLevel::EL1_VTIMER | DeviceIrqLevel::EL1_PTIMER;
        self.run.set_sync_regs(&kvm_sync_regs {
            device_irq_level: regs.device_irq_level & !timers.bits()
                | state.cpu.device_irq_level().bits(),
        });
        drop(running);
        self.stats.count(EXITS);
        if exit == Exit::Interrupted && state.cpu.device_irq_level() & timers == level & timers {
            self.stats.count(SIGNAL_EXITS);
        }
        self.report_arm64(exit)
    }

    /// Writes down why the guest stopped.
    fn report_arm64(&self, exit: Exit) -> Result<(), Errno> {
        let page = &self.run;
        match exit {
            Exit::Interrupted => {
                page.set_exit_reason(KVM_EXIT_INTR);
                return Err(Errno::EINTR);
            }
            Exit::Fault => return Err(Errno::EFAULT),
            Exit::DirtyRingFull => page.set_exit_reason(KVM_EXIT_DIRTY_RING_FULL),
            Exit::NoSyndrome => return Err(Errno::ENOSYS),
            Exit::Mmio(access) => {
                self.report_mmio(&access);
                self.stats.count(MMIO_EXIT_USER);
            }
            Exit::NisV { esr_iss, fault_ipa } => {
                page.set_exit(&arm_nisv { esr_iss, fault_ipa });
                page.set_exit_reason(KVM_EXIT_ARM_NISV);
            }
            Exit::Debug { esr, far } => {
                // ESR-2: two words, and the flags assigned.
                page.set_exit(&native_syndrome_bytes(esr));
                if let Some(far) = far {
                    page.write(at!(kvm_debug_exit_arch.far), &far);
                }
                page.set_flags(RunFlags::HSR_HIGH_VALID.bits());
                page.set_exit_reason(KVM_EXIT_DEBUG);
            }
            Exit::SystemEvent(event) => {
                let mut data = [0; 16];
                if let Some(first) = event.data {
                    data[0] = first;
                }
                page.set_exit(&system_event {
                    r#type: event.kind,
                    ndata: event.data.is_some().into(),
                    data,
                });
                page.set_exit_reason(KVM_EXIT_SYSTEM_EVENT);
            }
            Exit::Hypercall { function, smc } => {
                let flags = match smc {
                    true => HypercallExitFlags::SMC,
                    false => HypercallExitFlags::empty(),
                };
                page.set_exit(&hypercall {
                    nr: function.into(),
                    flags: flags.bits(),
                    ..hypercall::default()
                });
                page.set_exit_reason(KVM_EXIT_HYPERCALL);
            }
            Exit::FailEntry { reason } => {
                page.set_exit(&fail_entry {
                    hardware_entry_failure_reason: reason,
                    ..fail_entry::default()
                });
                page.set_exit_reason(KVM_EXIT_FAIL_ENTRY);
            }
            Exit::InternalError { suberror } => {
                page.write(at!(internal.suberror), &suberror);
                page.write(at!(internal.ndata), &0u32);
                page.set_exit_reason(KVM_EXIT_INTERNAL_ERROR);
            }
        }
        Ok(())
    }
}
