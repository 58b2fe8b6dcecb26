//! `KVM_IRQFD` (api.rst 4.75); what it does is in [`crate::x86`]'s `irqfd`.

use std::sync::Arc;

use understudy_abi::ioctl::KVM_IRQFD;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[row!(KVM_IRQFD: Vm set, "has an eventfd raise an interrupt",
        EFAULT "the argument cannot be read",
        EINVAL "a flag that there is not; no interrupt controller in the kernel, or none that says when an interrupt is over; fd or resamplefd is no eventfd",
        EBADF "fd or resamplefd is not open",
        EBUSY "the VM has an interrupt for this eventfd",
        EMFILE "the process has no more descriptors: each eventfd is kept by one",
        ENFILE "the system has no more files",
        ENOMEM "there is no memory for a thread",
        ENOSPC "the user waits for too many descriptors")];

fn set(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let of = call.read()?;
    let machine = vm.x86()?;
    machine.irqfds.set(machine, &of)?;
    Ok(0)
}
