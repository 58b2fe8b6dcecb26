//! `KVM_SET_SIGNAL_MASK` (api.rst 4.21); see [`crate::signal`].

use std::mem::size_of;
use std::sync::Arc;

use understudy_abi::common::kvm_signal_mask;
use understudy_abi::ioctl::KVM_SET_SIGNAL_MASK;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_SET_SIGNAL_MASK: Vcpu set, "which signals are blocked while the guest runs",
        EFAULT "the argument or the set cannot be read",
        EINVAL "the set is not 8 bytes long"),
];

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let _held = vcpu.hold();
    if call.user().is_null() {
        vcpu.set_signal_mask(None);
        return Ok(0);
    }
    let head: kvm_signal_mask = call.read()?;
    if head.len as usize != size_of::<u64>() {
        return Err(Errno::EINVAL);
    }
    let set = call.user().offset(size_of::<kvm_signal_mask>());
    vcpu.set_signal_mask(Some(set.read()?));
    Ok(0)
}
