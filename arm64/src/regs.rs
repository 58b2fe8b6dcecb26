//! The register file: which slot of the engine holds which register (Arm ARM B1.2, C1.2).
//!
//! ```text
//!   0..=30  X0 to X30          33  SP_EL0 while it is not the current stack pointer
//!   31      always zero        34  SP_EL1 while it is not the current stack pointer
//!   32      current SP         35..=38  N, Z, C, V      39  TPIDR_EL0   40  TPIDR_EL1
//!   41      TPIDRRO_EL0        42  exclusive monitor's address          43, 44  its data
//!   45      FPCR               46  FPSR
//!   63      sink for writes to XZR
//!   64 + 2n, 65 + 2n           V<n>, low and high half
//! ```
//!
//! The flags are kept in the form that is cheap to set: N is bit 63 of its slot, Z is set while its
//! slot is 0, C is 0 or 1, V is bit 63 of its slot.

use crate::Arm64;
use understudy_engine::cpu::Cpu;
use understudy_engine::emit::{Emit, Slot, SlotSet};

/// Reads as zero, never written.
pub const ZERO: Slot = Slot::new(31);
/// The current stack pointer.
pub const SP: Slot = Slot::new(32);
/// SP_EL0 while it is not the current stack pointer.
pub const SP_EL0: Slot = Slot::new(33);
/// SP_EL1 while it is not the current stack pointer.
pub const SP_EL1: Slot = Slot::new(34);
/// PSTATE.N is bit 63.
pub const N: Slot = Slot::new(35);
/// PSTATE.Z is set while this is 0.
pub const Z: Slot = Slot::new(36);
/// PSTATE.C, 0 or 1.
pub const C: Slot = Slot::new(37);
/// PSTATE.V is bit 63.
pub const V: Slot = Slot::new(38);
/// TPIDR_EL0.
pub const TPIDR_EL0: Slot = Slot::new(39);
/// TPIDR_EL1.
pub const TPIDR_EL1: Slot = Slot::new(40);
/// TPIDRRO_EL0.
pub const TPIDRRO_EL0: Slot = Slot::new(41);
/// The address that the local exclusive monitor has marked; [`MONITOR_OPEN`] if none.
pub const MONITOR: Slot = Slot::new(42);
/// What a load-exclusive found there: low, or only, half.
pub const MONITOR_LOW: Slot = Slot::new(43);
/// What a load-exclusive of a pair found there: high half.
pub const MONITOR_HIGH: Slot = Slot::new(44);
/// FPCR: only bits of [`crate::fp::fpcr::MASK`] are ever set.
pub const FPCR: Slot = Slot::new(45);
/// FPSR: only bits of [`crate::fp::fpsr::MASK`] are ever set.
pub const FPSR: Slot = Slot::new(46);
/// Takes what is written to XZR.
pub const SINK: Slot = Slot::new(63);

/// The value of [`MONITOR`] in the Open Access state: no access has this address, as it is no
/// multiple of an access's size.
pub const MONITOR_OPEN: u64 = !0;

/// X0 to X30, the zero register and the stack pointers.
pub const GENERAL: SlotSet = SlotSet::range(0, 35).and(SlotSet::range(63, 64));
/// The flags.
pub const FLAGS: SlotSet = SlotSet::range(35, 39);
/// FPCR and FPSR.
pub const FP_CONTROL_STATUS: SlotSet = SlotSet::range(45, 47);
/// FPSR alone.
pub const FP_STATUS: SlotSet = SlotSet::range(46, 47);
/// V0 to V31.
pub const VECTORS: SlotSet = SlotSet::range(64, 128);

/// The slot to read X`n` from; 31 is XZR.
#[inline(always)]
pub const fn x(n: u32) -> Slot {
    Slot::new(n as u8 & 31)
}

/// The slot to write X`n` to; 31 is XZR.
#[inline(always)]
pub const fn x_write(n: u32) -> Slot {
    if n & 31 == 31 { SINK } else { x(n) }
}

/// X`n`, or the current stack pointer for 31.
#[inline(always)]
pub const fn x_sp(n: u32) -> Slot {
    if n & 31 == 31 { SP } else { x(n) }
}

/// The low half of V`n`.
#[inline(always)]
pub const fn v_low(n: u32) -> Slot {
    Slot::new(64 + 2 * (n as u8 & 31))
}

/// The high half of V`n`.
#[inline(always)]
pub const fn v_high(n: u32) -> Slot {
    Slot::new(65 + 2 * (n as u8 & 31))
}

/// V`n`, whole, in a helper.
#[inline(always)]
pub fn vector(cpu: &Cpu<Arm64>, n: u32) -> u128 {
    cpu.slot(v_low(n)) as u128 | (cpu.slot(v_high(n)) as u128) << 64
}

/// Sets V`n`, whole, in a helper.
#[inline(always)]
pub fn set_vector(cpu: &mut Cpu<Arm64>, n: u32, value: u128) {
    cpu.set_slot(v_low(n), value as u64);
    cpu.set_slot(v_high(n), (value >> 64) as u64);
}

/// FPCR.
pub fn fpcr(cpu: &Cpu<Arm64>) -> u64 {
    cpu.slot(FPCR)
}

/// Sets FPCR's bits that exist.
pub fn set_fpcr(cpu: &mut Cpu<Arm64>, value: u64) {
    cpu.set_slot(FPCR, value & u64::from(crate::fp::fpcr::MASK));
}

/// FPSR.
pub fn fpsr(cpu: &Cpu<Arm64>) -> u64 {
    cpu.slot(FPSR)
}

/// Sets FPSR's bits that exist.
pub fn set_fpsr(cpu: &mut Cpu<Arm64>, value: u64) {
    cpu.set_slot(FPSR, value & u64::from(crate::fp::fpsr::MASK));
}

/// PSTATE.{N,Z,C,V} in bits 31 to 28, as in SPSR_ELx and the NZCV register.
pub fn nzcv(cpu: &Cpu<Arm64>) -> u64 {
    (cpu.slot(N) >> 63) << 31
        | ((cpu.slot(Z) == 0) as u64) << 30
        | (cpu.slot(C) & 1) << 29
        | (cpu.slot(V) >> 63) << 28
}

/// Sets PSTATE.{N,Z,C,V} from bits 31 to 28.
pub fn set_nzcv(cpu: &mut Cpu<Arm64>, nzcv: u64) {
    cpu.set_slot(N, (nzcv >> 31 & 1) << 63);
    cpu.set_slot(Z, (nzcv >> 30 & 1) ^ 1);
    cpu.set_slot(C, nzcv >> 29 & 1);
    cpu.set_slot(V, (nzcv >> 28 & 1) << 63);
}

/// Reads X`n` in an instruction's semantics; 31 is XZR.
#[inline(always)]
pub fn read_x<E: Emit<Arch = Arm64>>(e: &mut E, n: u32) -> E::Val {
    if E::COMPILES && n & 31 == 31 {
        e.imm(0)
    } else {
        e.get(x(n))
    }
}

/// Reads W`n`, zero-extended, or X`n` if `sf`.
#[inline(always)]
pub fn read<E: Emit<Arch = Arm64>>(e: &mut E, n: u32, sf: bool) -> E::Val {
    let value = read_x(e, n);
    if sf { value } else { e.zext32(value) }
}

/// Writes X`n`; 31 is XZR.
#[inline(always)]
pub fn write_x<E: Emit<Arch = Arm64>>(e: &mut E, n: u32, value: E::Val) {
    if !(E::COMPILES && n & 31 == 31) {
        e.put(x_write(n), value);
    }
}

/// Writes W`n`, which clears the upper half, or X`n` if `sf`.
#[inline(always)]
pub fn write<E: Emit<Arch = Arm64>>(e: &mut E, n: u32, value: E::Val, sf: bool) {
    let value = if sf { value } else { e.zext32(value) };
    write_x(e, n, value);
}
