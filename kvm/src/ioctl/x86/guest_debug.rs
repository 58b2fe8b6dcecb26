//! `KVM_SET_GUEST_DEBUG` (api.rst 4.87; requirements 6.4), `KVM_GET_DEBUGREGS` (4.33) and
//! `KVM_SET_DEBUGREGS` (4.34).

use std::sync::Arc;

use understudy_abi::ioctl::x86::{KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, KVM_SET_GUEST_DEBUG};
use understudy_abi::x86::{kvm_debugregs, kvm_guest_debug};
use understudy_x86::debug::guest::GuestDebug;
use understudy_x86::debug::registers::DebugRegs;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_SET_GUEST_DEBUG: Vcpu set, "debugs the guest",
        EFAULT "the argument cannot be read",
        EBUSY "an exception is to be injected, and one waits (DBG-2)"),
    row!(KVM_GET_DEBUGREGS: Vcpu get_registers, "the guest's own debug registers",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_DEBUGREGS: Vcpu set_registers, "sets the guest's own debug registers",
        EFAULT "the argument cannot be read",
        EINVAL "flags is not 0, or DR6 or DR7 has a bit above 31"),
];

impl Vcpu {
    pub(crate) fn set_guest_debug_x86(&self, debug: &kvm_guest_debug) -> Result<(), Errno> {
        let wanted = GuestDebug {
            control: debug.control,
            debugreg: debug.arch.debugreg,
        };
        let mut state = self.x86()?;
        state.cpu.set_guest_debug(&wanted).map_err(|_| Errno::EBUSY)
    }
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    vcpu.set_guest_debug_x86(&call.read()?)?;
    Ok(0)
}

fn get_registers(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let registers = vcpu.x86()?.cpu.debugregs();
    call.write(&kvm_debugregs {
        db: registers.db,
        dr6: registers.dr6,
        dr7: registers.dr7,
        ..kvm_debugregs::default()
    })?;
    Ok(0)
}

fn set_registers(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let wanted: kvm_debugregs = call.read()?;
    let wanted = DebugRegs {
        db: wanted.db,
        dr6: wanted.dr6,
        dr7: wanted.dr7,
        flags: wanted.flags,
    };
    match vcpu.x86()?.cpu.set_debugregs(&wanted) {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}
