//! A vCPU's local APIC: `KVM_GET_LAPIC` and `KVM_SET_LAPIC` (api.rst 4.57, 4.58), and the help for guests
//! that use TPR all the time, `KVM_TPR_ACCESS_REPORTING` and `KVM_SET_VAPIC_ADDR`.

use std::sync::Arc;

use understudy_abi::ioctl::x86::{
    KVM_GET_LAPIC, KVM_SET_LAPIC, KVM_SET_VAPIC_ADDR, KVM_TPR_ACCESS_REPORTING,
};
use understudy_abi::x86::{kvm_lapic_state, kvm_tpr_access_ctl, kvm_vapic_addr};

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_LAPIC: Vcpu get, "the local APIC's registers",
        EFAULT "the argument cannot be written",
        EINVAL "the local APIC is user space's"),
    row!(KVM_SET_LAPIC: Vcpu set, "sets the local APIC's registers",
        EFAULT "the argument cannot be read",
        EINVAL "the local APIC is user space's, or has another id"),
    row!(KVM_TPR_ACCESS_REPORTING: Vcpu report_tpr, "whether accesses of TPR exit",
        EFAULT "the argument cannot be read or written",
        EINVAL "flags are not 0"),
    row!(KVM_SET_VAPIC_ADDR: Vcpu set_vapic, "where the guest keeps TPR",
        EFAULT "the argument cannot be read",
        EINVAL "the local APIC is user space's, or there is no memory"),
];

fn get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let image = vcpu.x86()?.cpu.lapic().ok_or(Errno::EINVAL)?;
    call.write(&image)?;
    Ok(0)
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let image: kvm_lapic_state = call.read()?;
    match state.cpu.set_lapic(&image) {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}

fn report_tpr(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let wanted: kvm_tpr_access_ctl = call.read()?;
    if wanted.flags != 0 {
        return Err(Errno::EINVAL);
    }
    state.cpu.report_tpr_accesses(wanted.enabled != 0);
    call.write(&wanted)?;
    Ok(0)
}

fn set_vapic(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    // Before the argument is read, as in KVM.
    if !state.cpu.cpu().state.peer.apic().in_kernel() {
        return Err(Errno::EINVAL);
    }
    let wanted: kvm_vapic_addr = call.read()?;
    match state.cpu.set_vapic(wanted.vapic_addr) {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}
