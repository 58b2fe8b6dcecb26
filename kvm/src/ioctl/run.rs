//! `KVM_RUN` (api.rst 4.10, 5): what it does is in [`crate::ioctl::arm64::run`] and
//! [`crate::ioctl::x86::run`].

use std::sync::Arc;

use understudy_abi::ioctl::KVM_RUN;

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
