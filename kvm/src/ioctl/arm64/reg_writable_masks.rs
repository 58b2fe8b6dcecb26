//! `KVM_ARM_GET_REG_WRITABLE_MASKS` (api.rst 4.139; IDR-30 to IDR-32).

use std::sync::Arc;

use understudy_abi::arm64::{
    KVM_ARM_FEATURE_ID_RANGE, KVM_ARM_FEATURE_ID_RANGE_SIZE, reg_mask_range,
};
use understudy_abi::ioctl::arm64::KVM_ARM_GET_REG_WRITABLE_MASKS;
use zerocopy::IntoBytes;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::user::User;
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_ARM_GET_REG_WRITABLE_MASKS: Vm get, "which bits of the ID registers can be written",
        EFAULT "the argument cannot be read or the masks not written",
        EINVAL "the range is not 0, or what is reserved is not"),
];

fn get(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let range: reg_mask_range = call.read()?;
    if range.range != KVM_ARM_FEATURE_ID_RANGE || range.reserved != [0; 13] {
        return Err(Errno::EINVAL);
    }
    let masks: [u64; KVM_ARM_FEATURE_ID_RANGE_SIZE] = vm.arm64()?.id.writable_masks();
    User::at(range.addr).copy_to(masks.as_bytes())?;
    Ok(0)
}
