//! `KVM_GET_MP_STATE` (api.rst 4.38) and `KVM_SET_MP_STATE` (4.39).

use std::sync::Arc;

use understudy_abi::common::kvm_mp_state;
use understudy_abi::common::mp_state::{
    KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_STOPPED, KVM_MP_STATE_SUSPENDED,
};
use understudy_abi::ioctl::{KVM_GET_MP_STATE, KVM_SET_MP_STATE};
use understudy_arm64::vcpu::peer::MpState;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_MP_STATE: Vcpu get, "whether the vCPU runs, is off, or is suspended",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_MP_STATE: Vcpu set, "sets that",
        EFAULT "the argument cannot be read",
        EINVAL "arm64 has no such state"),
];

impl Vcpu {
    pub(crate) fn mp_state_arm64(&self) -> Result<kvm_mp_state, Errno> {
        let state = self.arm64()?;
        let mp_state = match state.cpu.peer().mp_state() {
            MpState::Runnable => KVM_MP_STATE_RUNNABLE,
            MpState::Stopped => KVM_MP_STATE_STOPPED,
            MpState::Suspended => KVM_MP_STATE_SUSPENDED,
        };
        Ok(kvm_mp_state { mp_state })
    }

    pub(crate) fn set_mp_state_arm64(&self, wanted: kvm_mp_state) -> Result<(), Errno> {
        let state = self.arm64()?;
        state.cpu.peer().set_mp_state(match wanted.mp_state {
            KVM_MP_STATE_RUNNABLE => MpState::Runnable,
            KVM_MP_STATE_STOPPED => MpState::Stopped,
            KVM_MP_STATE_SUSPENDED => MpState::Suspended,
            _ => return Err(Errno::EINVAL),
        });
        Ok(())
    }
}

fn get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    call.write(&vcpu.mp_state_arm64()?)?;
    Ok(0)
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    vcpu.set_mp_state_arm64(call.read()?)?;
    Ok(0)
}
