//! The rate of the time-stamp counter: `KVM_GET_TSC_KHZ` (api.rst 4.56).

use std::sync::Arc;

use understudy_abi::ioctl::x86::KVM_GET_TSC_KHZ;

use understudy_x86::tsc::Tsc;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_TSC_KHZ: Vm get_of_vm, "the rate of new vCPUs' time-stamp counters, in kHz"),
    row!(KVM_GET_TSC_KHZ: Vcpu get, "the rate of the time-stamp counter, in kHz"),
];

fn get_of_vm(vm: &Arc<Vm>, _: &Call<'_>) -> Result<i64, Errno> {
    vm.x86()?;
    Ok(Tsc::default().khz() as i64)
}

fn get(vcpu: &Arc<Vcpu>, _: &Call<'_>) -> Result<i64, Errno> {
    Ok(vcpu.x86()?.cpu.cpu().state.tsc.khz() as i64)
}
