//! `KVM_GET_VCPU_EVENTS` (api.rst 4.31) and `KVM_SET_VCPU_EVENTS` (4.32).

use std::sync::Arc;

use understudy_abi::arm64::kvm_vcpu_events;
use understudy_abi::ioctl::arm64::{KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS};
use understudy_arm64::sysregs::id::fields;
use understudy_arm64::vcpu::SetEvents;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_VCPU_EVENTS: Vcpu get, "what is pending",
        ENOEXEC "the vCPU is not initialised",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_VCPU_EVENTS: Vcpu set, "makes an SError or an external abort pending",
        ENOEXEC "the vCPU is not initialised",
        EFAULT "the argument cannot be read",
        EINVAL "what is reserved is not 0, or the syndrome has bits outside the ISS"),
];

impl Vcpu {
    /// Whether the host has the RAS extension, without which an SError has no syndrome to be told.
    fn has_ras(&self) -> bool {
        self.vm().system.id_field(&fields::PFR0_RAS) != 0
    }

    pub(crate) fn events(&self) -> Result<kvm_vcpu_events, Errno> {
        let state = self.lock_initialized()?;
        let pending = state.cpu.events();
        let mut events = kvm_vcpu_events::default();
        events.exception.serror_pending = pending.serror.is_some().into();
        events.exception.serror_has_esr = self.has_ras().into();
        events.exception.serror_esr = pending.serror.unwrap_or(0);
        Ok(events)
    }

    pub(crate) fn set_events(&self, events: &kvm_vcpu_events) -> Result<(), Errno> {
        let mut state = self.lock_initialized()?;
        let exception = &events.exception;
        if events.reserved != [0; 12] || exception.pad != [0; 5] {
            return Err(Errno::EINVAL);
        }
        let has_esr = exception.serror_has_esr != 0;
        if has_esr && exception.serror_pending != 0 && !self.has_ras() {
            return Err(Errno::EINVAL);
        }
        let set = SetEvents {
            serror: exception.serror_pending != 0,
            serror_esr: has_esr.then_some(exception.serror_esr),
            external_abort: exception.ext_dabt_pending != 0,
        };
        match state.cpu.set_events(set) {
            true => Ok(()),
            false => Err(Errno::EINVAL),
        }
    }
}

fn get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    call.write(&vcpu.events()?)?;
    Ok(0)
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    // KVM looks whether the vCPU is initialised before it reads the argument.
    drop(vcpu.lock_initialized()?);
    vcpu.set_events(&call.read()?)?;
    Ok(0)
}
