//! What only a vCPU of an arm64 guest has.

use std::sync::MutexGuard;

use understudy_abi::arm64::reg::size_of_id;
use understudy_abi::arm64::{kvm_guest_debug, kvm_sync_regs, kvm_vcpu_events, kvm_vcpu_init};
use understudy_arm64::vcpu::Vcpu as Processor;

use super::{GuestDebug, Vcpu, VcpuEvents, VcpuFd};
use crate::errno::Errno;

/// What an ioctl on the vCPU works on.
pub(crate) struct State {
    pub(crate) cpu: Processor,
    /// Bits of PSTATE that the processor does not have and user space has set: KVM keeps them until
    /// the guest runs.
    pub(crate) pstate_kept: u64,
}

impl Vcpu {
    /// What an ioctl works on, once the vCPU is initialised; ENOEXEC before. A reset that it owes is
    /// made first (IDR-4).
    pub(crate) fn lock_initialized(&self) -> Result<MutexGuard<'_, State>, Errno> {
        let mut state = self.arm64()?;
        match state.cpu.features() {
            Some(_) => {
                state.cpu.settle_reset();
                Ok(state)
            }
            None => Err(Errno::ENOEXEC),
        }
    }
}

impl GuestDebug for kvm_guest_debug {
    fn set(&self, vcpu: &Vcpu) -> Result<(), Errno> {
        vcpu.set_guest_debug(self)
    }
}

impl VcpuEvents for kvm_vcpu_events {
    fn get(vcpu: &Vcpu) -> Result<Self, Errno> {
        vcpu.events()
    }

    fn set(&self, vcpu: &Vcpu) -> Result<(), Errno> {
        vcpu.set_events(self)
    }
}

/// On vCPUs of arm64 guests; on others ENOTTY.
impl VcpuFd {
    /// `kvm_run.s.regs.device_irq_level`.
    pub fn device_irq_level(&self) -> u64 {
        let regs: kvm_sync_regs = self.vcpu.run.sync_regs();
        regs.device_irq_level
    }

    /// `KVM_ARM_VCPU_INIT` (4.82).
    ///
    /// # Errors
    ///
    /// ENOENT for a feature that KVM does not know; EINVAL for a target or feature that the host
    /// does not have, or for features unlike those of the VM's other vCPUs.
    pub fn vcpu_init(&self, init: &kvm_vcpu_init) -> Result<(), Errno> {
        self.vcpu.init(init)
    }

    /// `KVM_ARM_VCPU_FINALIZE` (4.119).
    ///
    /// # Errors
    ///
    /// ENOEXEC before [`VcpuFd::vcpu_init`]; EINVAL for a feature that the vCPU does not have or
    /// that needs no finalising.
    pub fn vcpu_finalize(&self, feature: &i32) -> Result<(), Errno> {
        self.vcpu.finalize(*feature)
    }

    /// `KVM_GET_ONE_REG` (4.69): copies the register into `data`, gives its size.
    ///
    /// # Errors
    ///
    /// ENOEXEC before [`VcpuFd::vcpu_init`]; ENOENT for a register that the vCPU does not have;
    /// EINVAL for an id that makes no sense, or if `data` is too small.
    pub fn get_one_reg(&self, reg_id: u64, data: &mut [u8]) -> Result<usize, Errno> {
        let size = size_of_id(reg_id);
        let data = data.get_mut(..size).ok_or(Errno::EINVAL)?;
        let value = self.vcpu.get_one_reg(reg_id)?;
        for (to, from) in data.iter_mut().zip(value.to_ne_bytes_of(size)) {
            *to = from;
        }
        Ok(size)
    }

    /// `KVM_SET_ONE_REG` (4.68); gives the register's size.
    ///
    /// # Errors
    ///
    /// As [`VcpuFd::get_one_reg`]; EINVAL for a value that the register cannot have; EBUSY for an
    /// ID register once the VM has run.
    pub fn set_one_reg(&self, reg_id: u64, data: &[u8]) -> Result<usize, Errno> {
        let size = size_of_id(reg_id);
        let data = data.get(..size).ok_or(Errno::EINVAL)?;
        self.vcpu.set_one_reg(reg_id, data)?;
        Ok(size)
    }

    /// `KVM_GET_REG_LIST` (4.84): the ids of all registers.
    ///
    /// # Errors
    ///
    /// ENOEXEC before [`VcpuFd::vcpu_init`].
    pub fn get_reg_list(&self) -> Result<Vec<u64>, Errno> {
        self.vcpu.reg_list()
    }
}
