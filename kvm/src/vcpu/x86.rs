//! What only a vCPU of an x86-64 guest has.

use std::mem::offset_of;

use understudy_abi::PAGE_SIZE;
use understudy_abi::exit::{
    KVM_EXIT_HLT, KVM_EXIT_IO, KVM_EXIT_IO_IN, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_SET_TPR,
    KVM_EXIT_SHUTDOWN, KVM_EXIT_TPR_ACCESS, KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR, io, msr,
};
use understudy_abi::proposals::{KVM_SAVE_REGS_ON_EXIT, kvm_debug_exit_arch_cr3};
use understudy_abi::run::{EXIT_UNION, KVM_DIRTY_REGS, KVM_VALID_REGS, Page, Run, SYNC_REGS};
use understudy_abi::x86::{
    SyncRegs, kvm_cpuid_entry2, kvm_guest_debug, kvm_regs, kvm_sregs, kvm_sync_regs,
    kvm_vcpu_events,
};
use understudy_x86::quirks::quirk;
use understudy_x86::vcpu::Vcpu as Processor;

use super::{GuestDebug, ReadMsrExit, Vcpu, VcpuEvents, VcpuExit, VcpuFd, WriteMsrExit};
use crate::errno::Errno;
use crate::ioctl::x86::run::PORT_DATA;
use crate::ioctl::x86::sregs::Image;
use crate::shared::SharedPages;
use crate::x86::sync_regs::Conditions;
use crate::x86::{Machine, Proposals};

/// What is to be completed at the beginning of the next `KVM_RUN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// A read of a device: the data is in `kvm_run`'s `mmio.data`.
    Mmio,
    /// An access of a port: so many bytes that were read are in the page of port data.
    Io(usize),
    /// An access of an MSR: what was read, and whether it is an error, is in `kvm_run`'s `msr`.
    Msr,
    /// A hypercall: its result is in `kvm_run`'s `hypercall.ret`.
    Hypercall,
}

/// What an ioctl on the vCPU works on.
pub(crate) struct State {
    pub(crate) cpu: Processor,
    pub(crate) completion: Option<Completion>,
    /// What `KVM_SET_CPUID2` has set, as it was given.
    pub(crate) cpuid: Vec<kvm_cpuid_entry2>,
    /// Whether it has been run: what the guest may have seen cannot change any more.
    pub(crate) has_run: bool,
    /// `struct kvm_sregs` as it was put together last.
    pub(crate) sregs: Image,
    /// How many changes of the VM's settings it has seen.
    pub(crate) changes: u64,
    /// Which exits store registers, of its system's proposals.
    pub(crate) conditions: Conditions,
    /// Whether debug exits have CR3 (CR3-1).
    pub(crate) debug_cr3: bool,
}

impl State {
    pub(crate) fn new(machine: &Machine, id: u32, proposals: Proposals) -> Result<State, Errno> {
        let mut cpu = Processor::new(machine, id);
        let mut changes = 0;
        machine.settings.settle(cpu.cpu_mut(), &mut changes);
        let state = &mut cpu.cpu_mut().state;
        if !state.quirks.has(quirk::STUFF_FEATURE_MSRS) {
            state.msrs.forget_features();
        }
        Ok(State {
            cpu,
            completion: None,
            cpuid: Vec::new(),
            has_run: false,
            sregs: Image::default(),
            changes,
            conditions: Conditions::new(proposals),
            debug_cr3: proposals.contains(Proposals::GUEST_DEBUG_CR3),
        })
    }
}

/// What [`VcpuExit`] borrows at exits that only x86-64 guests have: `kvm_run` is shared, and nobody
/// may have a reference into it.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The data of ports.
    port: Vec<u8>,
    error: u8,
    data: u64,
}

impl Answers {
    /// Puts what was answered to the last exit into `kvm_run`.
    #[inline]
    pub(super) fn give(&self, page: &Run<SharedPages>, reason: u32) {
        match reason {
            KVM_EXIT_IO => {
                let access: io = page.exit();
                if access.direction == KVM_EXIT_IO_IN {
                    page.0.store(PORT_DATA, &self.port);
                }
            }
            KVM_EXIT_X86_RDMSR | KVM_EXIT_X86_WRMSR => {
                page.write(EXIT_UNION + offset_of!(msr, error), &self.error);
                page.write(EXIT_UNION + offset_of!(msr, data), &self.data);
            }
            _ => {}
        }
    }

    /// The exit of this reason.
    #[inline]
    pub(super) fn take<'a>(&'a mut self, page: &Run<SharedPages>, reason: u32) -> VcpuExit<'a> {
        match reason {
            KVM_EXIT_IO => {
                let access: io = page.exit();
                // Others may have written the page.
                let bytes = (access.count as usize).saturating_mul(access.size.into());
                self.port.clear();
                self.port.resize(bytes.min(PAGE_SIZE), 0);
                if access.direction == KVM_EXIT_IO_IN {
                    return VcpuExit::IoIn(access.port, &mut self.port);
                }
                page.0.load(PORT_DATA, &mut self.port);
                VcpuExit::IoOut(access.port, &self.port)
            }
            KVM_EXIT_HLT => VcpuExit::Hlt,
            KVM_EXIT_IRQ_WINDOW_OPEN => VcpuExit::IrqWindowOpen,
            KVM_EXIT_SET_TPR => VcpuExit::SetTpr,
            KVM_EXIT_TPR_ACCESS => VcpuExit::TprAccess,
            KVM_EXIT_SHUTDOWN => VcpuExit::Shutdown,
            KVM_EXIT_X86_RDMSR | KVM_EXIT_X86_WRMSR => {
                let access: msr = page.exit();
                let (reason_of_access, index) = (access.reason, access.index);
                (self.error, self.data) = (0, access.data);
                if reason == KVM_EXIT_X86_WRMSR {
                    return VcpuExit::X86Wrmsr(WriteMsrExit {
                        error: &mut self.error,
                        reason: reason_of_access,
                        index,
                        data: access.data,
                    });
                }
                VcpuExit::X86Rdmsr(ReadMsrExit {
                    error: &mut self.error,
                    reason: reason_of_access,
                    index,
                    data: &mut self.data,
                })
            }
            reason => VcpuExit::Unsupported(reason),
        }
    }
}

impl GuestDebug for kvm_guest_debug {
    fn set(&self, vcpu: &Vcpu) -> Result<(), Errno> {
        vcpu.set_guest_debug_x86(self)
    }
}

impl VcpuEvents for kvm_vcpu_events {
    fn get(vcpu: &Vcpu) -> Result<Self, Errno> {
        Ok(vcpu.x86()?.events())
    }

    fn set(&self, vcpu: &Vcpu) -> Result<(), Errno> {
        vcpu.x86()?.set_events(self)
    }
}

/// On vCPUs of x86-64 guests; on others EINVAL.
impl VcpuFd {
    /// `KVM_GET_REGS` (4.11).
    ///
    /// # Errors
    ///
    /// None on an x86-64 guest's.
    pub fn get_regs(&self) -> Result<kvm_regs, Errno> {
        Ok(self.vcpu.x86()?.regs())
    }

    /// `KVM_SET_REGS` (4.12).
    ///
    /// # Errors
    ///
    /// None on an x86-64 guest's.
    pub fn set_regs(&self, regs: &kvm_regs) -> Result<(), Errno> {
        self.vcpu.x86()?.set_regs(regs);
        Ok(())
    }

    /// `KVM_GET_SREGS` (4.13).
    ///
    /// # Errors
    ///
    /// None on an x86-64 guest's.
    pub fn get_sregs(&self) -> Result<kvm_sregs, Errno> {
        Ok(self.vcpu.x86()?.sregs())
    }

    /// `KVM_SET_SREGS` (4.14).
    ///
    /// # Errors
    ///
    /// EINVAL if the processor cannot have these registers together.
    pub fn set_sregs(&self, sregs: &kvm_sregs) -> Result<(), Errno> {
        self.vcpu.x86()?.set_sregs(sregs)
    }

    /// Chooses the sets of registers that exits store into `kvm_run` (`kvm_valid_regs`), and with
    /// the proposals under which condition.
    pub fn set_sync_valid_regs(&self, valid: u64) {
        self.vcpu.run.write(KVM_VALID_REGS, &valid);
    }

    /// The exit reasons whose exits store, where `kvm_valid_regs` has `KVM_SYNC_REGS_CONDITIONAL`
    /// (SYNC-12): bit `r % 64` of word `r / 64` for reason `r`.
    pub fn set_save_regs_on_exit(&self, reasons: &[u64; 16]) {
        self.vcpu.run.write(KVM_SAVE_REGS_ON_EXIT, reasons);
    }

    /// Has the next run load these sets of registers from what [`VcpuFd::set_sync_regs`] has put
    /// there (`kvm_dirty_regs`).
    pub fn set_sync_dirty_regs(&self, dirty: SyncRegs) {
        self.vcpu.run.write(KVM_DIRTY_REGS, &dirty.bits());
    }

    /// Puts registers where exits store them.
    pub fn set_sync_regs(&self, regs: &kvm_sync_regs) {
        self.vcpu.run.set_sync_regs(regs);
    }

    /// What the last exit stored, or user space.
    pub fn sync_regs(&self) -> kvm_sync_regs {
        self.vcpu.run.sync_regs()
    }

    /// CR3 of the same, alone (SYNC-21).
    pub fn sync_regs_cr3(&self) -> u64 {
        const CR3: usize = offset_of!(kvm_sync_regs, sregs) + offset_of!(kvm_sregs, cr3);
        self.vcpu.run.read(SYNC_REGS + CR3)
    }

    /// CR3 of the last debug exit (`x86-guest-debug-cr3`, CR3-1).
    pub fn debug_exit_cr3(&self) -> u64 {
        const CR3: usize = EXIT_UNION + offset_of!(kvm_debug_exit_arch_cr3, cr3);
        self.vcpu.run.read(CR3)
    }
}
