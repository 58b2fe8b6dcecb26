//! `KVM_REGISTER_COALESCED_MMIO` and `KVM_UNREGISTER_COALESCED_MMIO` (api.rst 4.116); what they do
//! is in [`crate::coalesced`].

use std::sync::Arc;

use understudy_abi::ioctl::{KVM_REGISTER_COALESCED_MMIO, KVM_UNREGISTER_COALESCED_MMIO};

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_REGISTER_COALESCED_MMIO: Vm register, "batches the guest's writes to a zone",
        EFAULT "the argument cannot be read",
        EINVAL "pio is neither 0 nor 1",
        ENOSPC "the VM has 1000 zones"),
    row!(KVM_UNREGISTER_COALESCED_MMIO: Vm unregister, "ends that for the zones around this one",
        EFAULT "the argument cannot be read",
        EINVAL "pio is neither 0 nor 1"),
];

fn register(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    vm.coalesced.register(&call.read()?)?;
    Ok(0)
}

fn unregister(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    vm.coalesced.unregister(&call.read()?)?;
    Ok(0)
}
