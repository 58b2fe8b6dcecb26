//! `KVM_IOEVENTFD` (api.rst 4.59); what it does is in [`crate::ioeventfd`].

use std::sync::Arc;

use understudy_abi::ioctl::KVM_IOEVENTFD;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_IOEVENTFD: Vm set, "has the guest's writes to an address signal an eventfd",
        EFAULT "the argument cannot be read",
        EINVAL "a length that cannot be, or not with a value; addresses that wrap; a flag that there is not; fd is no eventfd",
        EBADF "fd is not open",
        EEXIST "there is one for some of these writes",
        ENOENT "there is none such to be removed",
        ENOSPC "the VM has 1000 zones of coalesced accesses",
        EMFILE "the process has no more descriptors: each eventfd is kept by one",
    ),
];

fn set(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let coalesced = &vm.coalesced;
    let full = |space| coalesced.full(space);
    vm.ioeventfds.set(&call.read()?, full)?;
    Ok(0)
}
