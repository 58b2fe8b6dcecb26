//! The core registers as `KVM_GET_ONE_REG` and `KVM_SET_ONE_REG` have them (KVM API 4.68, registers
//! of the class "core").

use crate::{Cpu, exceptions, regs};
use understudy_engine::emit::Slot;

/// X`n`; 31 reads as 0.
pub fn x(cpu: &Cpu, n: u32) -> u64 {
    cpu.slot(regs::x(n))
}

/// Sets X`n`; 31 is not written.
pub fn set_x(cpu: &mut Cpu, n: u32, value: u64) {
    cpu.set_slot(regs::x_write(n), value);
}

/// Which slot holds SP_EL0 (`el` 0) or SP_EL1 now.
fn sp_slot(cpu: &Cpu, el: u8) -> Slot {
    let current = if cpu.state.spsel { 1 } else { 0 };
    match el {
        _ if el == current => regs::SP,
        0 => regs::SP_EL0,
        _ => regs::SP_EL1,
    }
}

/// SP_EL0 or, for `el` 1, SP_EL1, whichever is the current one.
pub fn sp(cpu: &Cpu, el: u8) -> u64 {
    cpu.slot(sp_slot(cpu, el))
}

/// Sets SP_EL0 or SP_EL1.
pub fn set_sp(cpu: &mut Cpu, el: u8, value: u64) {
    cpu.set_slot(sp_slot(cpu, el), value);
}

/// PSTATE in the form of SPSR_EL1.
pub fn pstate(cpu: &Cpu) -> u64 {
    exceptions::pstate(cpu)
}

/// Sets PSTATE from the form of SPSR_EL1; false, with nothing done, if the vCPU has no such mode
/// (`EINVAL`): it has EL0t, EL1t and EL1h. Bits that PSTATE does not have are dropped.
#[must_use]
pub fn set_pstate(cpu: &mut Cpu, value: u64) -> bool {
    if !matches!(value & 0x1f, 0b00000 | 0b00100 | 0b00101) {
        return false;
    }
    exceptions::set_pstate(cpu, value);
    true
}
