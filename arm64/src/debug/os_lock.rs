//! The OS Lock (Arm ARM D2.6; OSL-1 to OSL-24).
//!
//! While OSLSR_EL1.OSLK is set, the guest's own debug exceptions, other than BRK, are not
//! generated. Its registers keep what it wrote, and count again as soon as the lock is open.

use super::changed;
use crate::Cpu;
use crate::sysregs::Reg;

/// OSLSR_EL1.OSLK: the lock is closed.
pub const OSLK: u64 = 1 << 1;
/// OSLSR_EL1 while the lock is open: OSLM is 0b10, the OS Lock is implemented (OSL-1).
pub const UNLOCKED: u64 = 1 << 3;

/// Whether the lock is closed.
pub fn locked(cpu: &Cpu) -> bool {
    cpu.state.sys[Reg::OSLSR_EL1] & OSLK != 0
}

/// A write to OSLAR_EL1: bit 0 becomes OSLSR_EL1.OSLK, everything else is ignored (OSL-2).
pub fn write_oslar(cpu: &mut Cpu, value: u64) {
    let rest = cpu.state.sys[Reg::OSLSR_EL1] & !OSLK;
    cpu.state.sys[Reg::OSLSR_EL1] = rest | (value & 1) << 1;
    changed(cpu);
}

/// Whether user space may give OSLSR_EL1 this value: the two that there are (OSL-6).
pub fn valid_oslsr(value: u64) -> bool {
    (value ^ UNLOCKED) & !OSLK == 0
}
