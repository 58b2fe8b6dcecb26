//! `KVM_CHECK_EXTENSION` (api.rst 4.4).

use std::sync::Arc;

use understudy_abi::cap::KVM_CAP_MSI_DEVID;
use understudy_abi::ioctl::KVM_CHECK_EXTENSION;

use crate::errno::Errno;
use crate::system::Kvm;
use crate::table::{Call, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_CHECK_EXTENSION: System on_system, "the value of a capability, 0 if there is none",
        EINVAL "KVM_CAP_MSI_DEVID, which depends on the VM"),
    row!(KVM_CHECK_EXTENSION: Vm on_vm, "the value of a capability, 0 if there is none"),
];

/// A number that is too large for a capability's is none.
fn number(call: &Call<'_>) -> u32 {
    u32::try_from(call.arg).unwrap_or(u32::MAX)
}

fn on_system(system: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    match number(call) {
        KVM_CAP_MSI_DEVID => Err(Errno::EINVAL),
        capability => Ok(system.check_extension_raw(capability).into()),
    }
}

fn on_vm(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    Ok(crate::capability::of_vm(vm, number(call)).into())
}
