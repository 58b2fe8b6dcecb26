//! Time: the rate of time-stamp counters (`KVM_SET_TSC_KHZ`, api.rst 4.55; `KVM_GET_TSC_KHZ`, 4.56), kvmclock
//! (`KVM_GET_CLOCK`, 4.29; `KVM_SET_CLOCK`, 4.30; `KVM_KVMCLOCK_CTRL`, 4.77).

use std::sync::Arc;

use understudy_abi::ioctl::KVM_KVMCLOCK_CTRL;
use understudy_abi::ioctl::x86::{KVM_GET_CLOCK, KVM_GET_TSC_KHZ, KVM_SET_CLOCK, KVM_SET_TSC_KHZ};
use understudy_abi::x86::kvm_clock_data;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_TSC_KHZ: Vm get_of_vm, "the rate of new vCPUs' time-stamp counters, in kHz"),
    row!(KVM_SET_TSC_KHZ: Vm set_of_vm, "sets that; 0 is the host's",
        EINVAL "there is a vCPU, or the rate is too high"),
    row!(KVM_GET_TSC_KHZ: Vcpu get, "the rate of the time-stamp counter, in kHz"),
    row!(KVM_SET_TSC_KHZ: Vcpu set, "sets that; 0 is the host's",
        EINVAL "the rate is too high"),
    row!(KVM_GET_CLOCK: Vm get_clock, "the time of kvmclock, and the host's",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_CLOCK: Vm set_clock, "sets the time of kvmclock",
        EFAULT "the argument cannot be read",
        EINVAL "a flag that there is not"),
    row!(KVM_KVMCLOCK_CTRL: Vcpu clock_ctrl, "tells the guest that it was stopped",
        EINVAL "the guest has no kvmclock"),
];

/// Rates in kHz are below this.
const TOO_HIGH: u64 = i32::MAX as u64;

fn rate(call: &Call<'_>) -> Result<u32, Errno> {
    match call.arg {
        arg if arg < TOO_HIGH => Ok(arg as u32),
        _ => Err(Errno::EINVAL),
    }
}

fn get_of_vm(vm: &Arc<Vm>, _: &Call<'_>) -> Result<i64, Errno> {
    Ok(vm.x86()?.tsc.khz().into())
}

fn set_of_vm(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let machine = vm.x86()?;
    if !machine.vcpus.is_empty() {
        return Err(Errno::EINVAL);
    }
    machine.tsc.set_khz(rate(call)?);
    Ok(0)
}

fn get(vcpu: &Arc<Vcpu>, _: &Call<'_>) -> Result<i64, Errno> {
    Ok(vcpu.x86()?.cpu.tsc_khz().into())
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    vcpu.x86()?.cpu.set_tsc_khz(rate(call)?);
    Ok(0)
}

fn get_clock(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    call.write(&vm.x86()?.clock())?;
    Ok(0)
}

fn set_clock(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let clock: kvm_clock_data = call.read()?;
    match vm.x86()?.set_clock(&clock) {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}

fn clock_ctrl(vcpu: &Arc<Vcpu>, _: &Call<'_>) -> Result<i64, Errno> {
    match vcpu.x86()?.cpu.kvmclock_ctrl() {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}
