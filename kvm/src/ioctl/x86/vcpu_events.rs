//! `KVM_GET_VCPU_EVENTS` (api.rst 4.31) and `KVM_SET_VCPU_EVENTS` (4.32).

use std::sync::Arc;

use understudy_abi::ioctl::x86::{KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS};
use understudy_abi::x86::{
    kvm_vcpu_events, kvm_vcpu_events_exception, kvm_vcpu_events_interrupt, kvm_vcpu_events_nmi,
    kvm_vcpu_events_smi,
};
use understudy_x86::events::{Events, Exception, Interrupt, Nmi, Smi};

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;
use crate::vcpu::x86::State;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_VCPU_EVENTS: Vcpu get, "what is pending, and what is being delivered",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_VCPU_EVENTS: Vcpu set, "sets that",
        EFAULT "the argument cannot be read",
        EINVAL "flags has a bit that there is not, or not without its capability; the vector is no \
                exception's; an exception is both pending and injected; there is no SMM"),
];

fn to_user(events: &Events) -> kvm_vcpu_events {
    let Events {
        exception,
        interrupt,
        nmi,
        smi,
        ..
    } = events;
    kvm_vcpu_events {
        exception: kvm_vcpu_events_exception {
            injected: exception.injected.into(),
            nr: exception.nr,
            has_error_code: exception.has_error_code.into(),
            pending: exception.pending.into(),
            error_code: exception.error_code,
        },
        interrupt: kvm_vcpu_events_interrupt {
            injected: interrupt.injected.into(),
            nr: interrupt.nr,
            soft: interrupt.soft.into(),
            shadow: interrupt.shadow,
        },
        nmi: kvm_vcpu_events_nmi {
            injected: nmi.injected.into(),
            pending: nmi.pending,
            masked: nmi.masked.into(),
            pad: 0,
        },
        sipi_vector: events.sipi_vector,
        flags: events.flags,
        smi: kvm_vcpu_events_smi {
            smm: smi.smm.into(),
            pending: smi.pending.into(),
            smm_inside_nmi: smi.inside_nmi.into(),
            latched_init: smi.latched_init.into(),
        },
        triple_fault_pending: events.triple_fault.into(),
        reserved: [0; 26],
        exception_has_payload: exception.has_payload.into(),
        exception_payload: exception.payload,
    }
}

fn from_user(user: &kvm_vcpu_events) -> Events {
    Events {
        flags: user.flags,
        exception: Exception {
            injected: user.exception.injected != 0,
            pending: user.exception.pending != 0,
            nr: user.exception.nr,
            has_error_code: user.exception.has_error_code != 0,
            error_code: user.exception.error_code,
            has_payload: user.exception_has_payload != 0,
            payload: user.exception_payload,
        },
        interrupt: Interrupt {
            injected: user.interrupt.injected != 0,
            nr: user.interrupt.nr,
            soft: user.interrupt.soft != 0,
            shadow: user.interrupt.shadow,
        },
        nmi: Nmi {
            injected: user.nmi.injected != 0,
            pending: user.nmi.pending,
            masked: user.nmi.masked != 0,
        },
        sipi_vector: user.sipi_vector,
        smi: Smi {
            smm: user.smi.smm != 0,
            pending: user.smi.pending != 0,
            inside_nmi: user.smi.smm_inside_nmi != 0,
            latched_init: user.smi.latched_init != 0,
        },
        triple_fault: user.triple_fault_pending != 0,
    }
}

impl State {
    /// What `KVM_GET_VCPU_EVENTS` gives.
    pub(crate) fn events(&mut self) -> kvm_vcpu_events {
        to_user(&self.cpu.events())
    }

    /// What `KVM_SET_VCPU_EVENTS` does. Nothing is changed where it fails.
    pub(crate) fn set_events(&mut self, events: &kvm_vcpu_events) -> Result<(), Errno> {
        match self.cpu.set_events(&from_user(events)) {
            true => Ok(()),
            false => Err(Errno::EINVAL),
        }
    }
}

fn get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    call.write(&vcpu.x86()?.events())?;
    Ok(0)
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    state.set_events(&call.read()?)?;
    Ok(0)
}
