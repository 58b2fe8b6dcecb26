//! `KVM_RUN` (api.rst 4.10, 5): what it does is in [`crate::ioctl::arm64::run`] and
//! [`crate::ioctl::x86::run`].

use std::mem::offset_of;
use std::sync::Arc;

use understudy_abi::exit::{KVM_EXIT_MMIO, mmio};
use understudy_abi::ioctl::KVM_RUN;
use understudy_abi::run::{EXIT_UNION, Page};
use understudy_engine::bus::Mmio;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_RUN: Vcpu run, "runs the guest until there is something to do for user space",
        EINVAL "the argument is not 0; x86: kvm_valid_regs or kvm_dirty_regs has a bit that there is \
                not, or registers cannot have these values",
        ENOEXEC "arm64: the vCPU is not initialised",
        EPERM "arm64-id-reg-configurable: a fractional ID field is above its limit",
        EINTR "a signal, immediate_exit, or a timer's output has changed",
        EAGAIN "x86: the vCPU waits to be started by another",
        ENOSYS "arm64: the guest accessed no memory by an instruction that has no syndrome",
        EFAULT "the memory behind a slot is not there"),
];

pub(crate) fn run(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    if call.arg != 0 {
        return Err(Errno::EINVAL);
    }
    vcpu.run()?;
    Ok(0)
}

impl Vcpu {
    /// Writes down an access of a device.
    pub(crate) fn report_mmio(&self, access: &Mmio) {
        let page = &self.run;
        page.write(EXIT_UNION + offset_of!(mmio, phys_addr), &access.address);
        page.write(EXIT_UNION + offset_of!(mmio, len), &access.length);
        let is_write = u8::from(access.is_write);
        page.write(EXIT_UNION + offset_of!(mmio, is_write), &is_write);
        // Bytes that are not written keep what was there.
        if access.is_write {
            let length = (access.length as usize).min(access.data.len());
            let data = EXIT_UNION + offset_of!(mmio, data);
            page.0.store(data, &access.data[..length]);
        }
        page.set_exit_reason(KVM_EXIT_MMIO);
    }
}
