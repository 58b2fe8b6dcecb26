//! `KVM_SET_DEVICE_ATTR`, `KVM_GET_DEVICE_ATTR` and `KVM_HAS_DEVICE_ATTR` (api.rst 4.80) on VMs
//! (`devices/vm.rst`) and vCPUs (`devices/vcpu.rst`).
//!
//! | group | attribute | |
//! | --- | --- | --- |
//! | VM, SMCCC | filter | set |
//! | vCPU, PMU | all | there is no PMU |
//! | vCPU, timer | interrupts | get; set needs an in-kernel interrupt controller |
//! | vCPU, paravirtual time | address | get, set once |

use std::sync::Arc;

use understudy_abi::arm64::device::*;
use understudy_abi::arm64::kvm_smccc_filter;
use understudy_abi::common::kvm_device_attr;
use understudy_abi::ioctl::{KVM_GET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR, KVM_SET_DEVICE_ATTR};
use understudy_arm64::pvtime::PvTimeError;
use understudy_arm64::smccc::SetError;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::user::User;
use crate::vcpu::Vcpu;
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_SET_DEVICE_ATTR: Vm vm_set, "sets an attribute of the VM",
        EFAULT "the argument or the value cannot be read",
        ENXIO "there is no such attribute",
        EINVAL "the value cannot be",
        EEXIST "the filter has some of these functions",
        EBUSY "a vCPU has run"),
    row!(KVM_HAS_DEVICE_ATTR: Vm vm_has, "says whether the VM has an attribute",
        EFAULT "the argument cannot be read",
        ENXIO "there is no such attribute"),
    row!(KVM_SET_DEVICE_ATTR: Vcpu vcpu_set, "sets an attribute of the vCPU",
        EFAULT "the argument or the value cannot be read",
        ENXIO "there is no such attribute, or no stolen time on this host",
        ENODEV "the vCPU has no PMU",
        EINVAL "the value cannot be, or an in-kernel interrupt controller is missing",
        EEXIST "the address is set"),
    row!(KVM_GET_DEVICE_ATTR: Vcpu vcpu_get, "gets an attribute of the vCPU",
        EFAULT "the argument cannot be read or the value not written",
        ENXIO "there is no such attribute",
        EINVAL "an in-kernel interrupt controller is missing"),
    row!(KVM_HAS_DEVICE_ATTR: Vcpu vcpu_has, "says whether the vCPU has an attribute",
        EFAULT "the argument cannot be read",
        ENXIO "there is no such attribute"),
];

/// Interrupts of the timers, as they are unless a VM with an interrupt controller sets others:
/// those of Arm's base system architecture.
fn timer_interrupt(attribute: u64) -> Option<i32> {
    match attribute {
        KVM_ARM_VCPU_TIMER_IRQ_VTIMER => Some(27),
        KVM_ARM_VCPU_TIMER_IRQ_PTIMER => Some(30),
        KVM_ARM_VCPU_TIMER_IRQ_HVTIMER => Some(28),
        KVM_ARM_VCPU_TIMER_IRQ_HPTIMER => Some(26),
        _ => None,
    }
}

fn vm_has(_: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let attr: kvm_device_attr = call.read()?;
    match (attr.group, attr.attr) {
        (KVM_ARM_VM_SMCCC_CTRL, KVM_ARM_VM_SMCCC_FILTER) => Ok(0),
        _ => Err(Errno::ENXIO),
    }
}

fn vm_set(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let attr: kvm_device_attr = call.read()?;
    match (attr.group, attr.attr) {
        (KVM_ARM_VM_SMCCC_CTRL, KVM_ARM_VM_SMCCC_FILTER) => {
            vm.set_smccc_filter(&User::at(attr.addr).read()?)?;
            Ok(0)
        }
        _ => Err(Errno::ENXIO),
    }
}

impl Vm {
    /// `KVM_ARM_VM_SMCCC_FILTER`.
    pub(crate) fn set_smccc_filter(&self, filter: &kvm_smccc_filter) -> Result<(), Errno> {
        if filter.pad != [0; 15] {
            return Err(Errno::EINVAL);
        }
        self.arm64()?
            .filter_smccc(filter.base, filter.nr_functions, filter.action)
            .map_err(|error| match error {
                SetError::NoSuchRegister => Errno::ENOENT,
                SetError::Invalid => Errno::EINVAL,
                SetError::HasRun => Errno::EBUSY,
                SetError::Exists => Errno::EEXIST,
            })
    }
}

fn vcpu_has(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let attr: kvm_device_attr = call.read()?;
    // Waits for another thread's ioctl, as each does.
    let state = vcpu.arm64()?;
    let has = match attr.group {
        KVM_ARM_VCPU_TIMER_CTRL => timer_interrupt(attr.attr).is_some(),
        KVM_ARM_VCPU_PVTIME_CTRL => attr.attr == KVM_ARM_VCPU_PVTIME_IPA,
        _ => false,
    };
    drop(state);
    if has { Ok(0) } else { Err(Errno::ENXIO) }
}

fn vcpu_get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let attr: kvm_device_attr = call.read()?;
    let value = User::at(attr.addr);
    let state = vcpu.arm64()?;
    match (attr.group, attr.attr) {
        (KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ) => return Err(Errno::EINVAL),
        (KVM_ARM_VCPU_TIMER_CTRL, timer) => {
            value.write(&timer_interrupt(timer).ok_or(Errno::ENXIO)?)?;
        }
        (KVM_ARM_VCPU_PVTIME_CTRL, KVM_ARM_VCPU_PVTIME_IPA) => {
            value.write(&state.cpu.pvtime_address())?;
        }
        _ => return Err(Errno::ENXIO),
    }
    Ok(0)
}

fn vcpu_set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let attr: kvm_device_attr = call.read()?;
    let mut state = vcpu.arm64()?;
    match (attr.group, attr.attr) {
        (KVM_ARM_VCPU_PMU_V3_CTRL, _) => Err(Errno::ENODEV),
        (KVM_ARM_VCPU_TIMER_CTRL, _) => Err(Errno::EINVAL),
        (KVM_ARM_VCPU_PVTIME_CTRL, KVM_ARM_VCPU_PVTIME_IPA) => {
            let address: u64 = User::at(attr.addr).read()?;
            state
                .cpu
                .set_pvtime_address(address)
                .map_err(|error| match error {
                    PvTimeError::Unsupported => Errno::ENXIO,
                    PvTimeError::Invalid => Errno::EINVAL,
                    PvTimeError::Exists => Errno::EEXIST,
                })?;
            Ok(0)
        }
        _ => Err(Errno::ENXIO),
    }
}
