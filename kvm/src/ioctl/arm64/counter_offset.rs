//! `KVM_ARM_SET_COUNTER_OFFSET` (api.rst 4.138).

use std::sync::Arc;

use understudy_abi::arm64::kvm_arm_counter_offset;
use understudy_abi::ioctl::arm64::KVM_ARM_SET_COUNTER_OFFSET;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_ARM_SET_COUNTER_OFFSET: Vm set, "sets what the guest's counters are behind the host's",
        EFAULT "the argument cannot be read",
        EINVAL "reserved is not 0",
        EBUSY "a vCPU is in an ioctl"),
];

impl Vm {
    pub(crate) fn set_counter_offset(&self, offset: &kvm_arm_counter_offset) -> Result<(), Errno> {
        if offset.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        let counters = &self.arm64()?.counters;
        self.with_idle_vcpus(|| counters.set_offset(offset.counter_offset))
    }
}

fn set(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    vm.set_counter_offset(&call.read()?)?;
    Ok(0)
}
