//! `KVM_GET_MP_STATE` (api.rst 4.38) and `KVM_SET_MP_STATE` (4.39).

use std::sync::Arc;

use understudy_abi::common::kvm_mp_state;
use understudy_abi::ioctl::{KVM_GET_MP_STATE, KVM_SET_MP_STATE};
use understudy_x86::mp::MpState;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_MP_STATE: Vcpu get, "whether the vCPU runs, halts, or waits to be started",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_MP_STATE: Vcpu set, "sets that",
        EFAULT "the argument cannot be read",
        EINVAL "there is no such state, or not without an in-kernel local APIC"),
];

impl Vcpu {
    pub(crate) fn mp_state_x86(&self) -> Result<kvm_mp_state, Errno> {
        let mp_state = self.x86()?.cpu.mp_state() as u32;
        Ok(kvm_mp_state { mp_state })
    }

    pub(crate) fn set_mp_state_x86(&self, wanted: kvm_mp_state) -> Result<(), Errno> {
        let mut state = self.x86()?;
        let wanted = MpState::from_number(wanted.mp_state).ok_or(Errno::EINVAL)?;
        match state.cpu.set_mp_state(wanted) {
            true => Ok(()),
            false => Err(Errno::EINVAL),
        }
    }
}

fn get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    call.write(&vcpu.mp_state_x86()?)?;
    Ok(0)
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    vcpu.set_mp_state_x86(call.read()?)?;
    Ok(0)
}
