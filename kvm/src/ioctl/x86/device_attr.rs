//! `KVM_SET_DEVICE_ATTR`, `KVM_GET_DEVICE_ATTR` and `KVM_HAS_DEVICE_ATTR` (api.rst 4.80): what a vCPU has
//! (`devices/vcpu.rst`, 4), and the system (4.80.1).
//!
//! | of | group | attribute | |
//! | --- | --- | --- | --- |
//! | vCPU | TSC | offset | get, set |
//! | system | 0 | state components that a guest can be given | get |

use std::sync::Arc;

use understudy_abi::common::kvm_device_attr;
use understudy_abi::ioctl::{KVM_GET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR, KVM_SET_DEVICE_ATTR};
use understudy_x86::{tsc, xsave};

use crate::errno::Errno;
use crate::system::Kvm;
use crate::table::{Call, Row, row};
use crate::user::User;
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_DEVICE_ATTR: System system_get, "gets an attribute of the system",
        EFAULT "the argument cannot be read or the value not written",
        ENXIO "there is no such attribute"),
    row!(KVM_HAS_DEVICE_ATTR: System system_has, "says whether the system has an attribute",
        EFAULT "the argument cannot be read",
        ENXIO "there is no such attribute"),
    row!(KVM_SET_DEVICE_ATTR: Vcpu set, "sets an attribute of the vCPU",
        EFAULT "the argument or the value cannot be read",
        ENXIO "there is no such attribute"),
    row!(KVM_GET_DEVICE_ATTR: Vcpu get, "gets an attribute of the vCPU",
        EFAULT "the argument cannot be read or the value not written",
        ENXIO "there is no such attribute"),
    row!(KVM_HAS_DEVICE_ATTR: Vcpu has, "says whether the vCPU has an attribute",
        EFAULT "the argument cannot be read",
        ENXIO "there is no such attribute"),
];

/// `KVM_X86_XCOMP_GUEST_SUPP`, in group 0.
const COMPONENTS: (u32, u64) = (0, 0);
/// `KVM_VCPU_TSC_CTRL`, `KVM_VCPU_TSC_OFFSET`.
const TSC_OFFSET: (u32, u64) = (0, 0);

/// ENXIO if the attribute is another one.
fn expect(attr: &kvm_device_attr, expected: (u32, u64)) -> Result<User, Errno> {
    match (attr.group, attr.attr) == expected {
        true => Ok(User::at(attr.addr)),
        false => Err(Errno::ENXIO),
    }
}

fn system_get(_: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    let value = expect(&call.read()?, COMPONENTS)?;
    value.write(&xsave::COMPONENTS)?;
    Ok(0)
}

fn system_has(_: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    expect(&call.read()?, COMPONENTS)?;
    Ok(0)
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let value = expect(&call.read()?, TSC_OFFSET)?;
    tsc::set_offset(state.cpu.cpu_mut(), value.read()?);
    Ok(0)
}

fn get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let state = vcpu.x86()?;
    let value = expect(&call.read()?, TSC_OFFSET)?;
    value.write(&tsc::offset(state.cpu.cpu()))?;
    Ok(0)
}

fn has(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    drop(vcpu.x86()?);
    expect(&call.read()?, TSC_OFFSET)?;
    Ok(0)
}
