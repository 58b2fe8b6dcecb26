//! The register file: which slot of the engine holds what, and RFLAGS, which is kept in parts
//! (SDM vol. 1, 3.4).
//!
//! ```text
//!   slots  0..16   RAX RCX RDX RBX RSP RBP RSI RDI R8..R15
//!         16..21   the status flags, in the form in which results give them
//!            21    DF
//!         22, 23   FS.base, GS.base
//!         24       whether MXCSR.PE is set
//!         32..96   YMM0..YMM15, four each
//!         96..128  operands and results of SIMD helpers, while one is called
//! ```
//!
//! A status flag is stored as what it is computed from, so that what nobody reads is not computed in
//! compiled code. Signed conditions are the common ones, so the slot [`LESS`] holds SF≠OF (for a
//! comparison: is the first operand the less), and OF is derived from it.

use crate::{Cpu, X86};
use understudy_engine::emit::{Cmp, Emit, Slot, SlotSet, Unary};

/// RAX.
pub const RAX: Slot = Slot::new(0);
/// RCX.
pub const RCX: Slot = Slot::new(1);
/// RDX.
pub const RDX: Slot = Slot::new(2);
/// RBX.
pub const RBX: Slot = Slot::new(3);
/// RSP.
pub const RSP: Slot = Slot::new(4);
/// RBP.
pub const RBP: Slot = Slot::new(5);
/// RSI.
pub const RSI: Slot = Slot::new(6);
/// RDI.
pub const RDI: Slot = Slot::new(7);
/// CF, 0 or 1.
pub const CARRY: Slot = Slot::new(16);
/// SF xor OF, 0 or 1.
pub const LESS: Slot = Slot::new(17);
/// ZF is set where this is 0.
pub const ZERO: Slot = Slot::new(18);
/// SF is bit 63, and PF the even parity of bits 7:0.
pub const SIGN: Slot = Slot::new(19);
/// AF is bit 4.
pub const ADJUST: Slot = Slot::new(20);
/// DF, 0 or 1.
pub const DIRECTION: Slot = Slot::new(21);
/// FS.base.
pub const FS_BASE: Slot = Slot::new(22);
/// GS.base.
pub const GS_BASE: Slot = Slot::new(23);
/// 1 where MXCSR.PE is set, else 0: derived, so that compiled code need not find out whether a result is
/// inexact ([`crate::state::changed`]).
pub(crate) const PRECISION: Slot = Slot::new(24);

/// The slots of the status flags.
pub const STATUS: SlotSet = SlotSet::range(16, 21);

/// The general-purpose register of this number, below 16.
#[inline(always)]
pub const fn gpr(number: u8) -> Slot {
    Slot::new(number & 15)
}

/// The first of the four slots of a YMM register, below 16.
#[inline(always)]
pub const fn ymm(number: u8) -> Slot {
    Slot::new(32 + 4 * (number & 15))
}

/// Where vector operands and results of helpers are while one is called. What they hold otherwise
/// means nothing.
pub(crate) mod scratch {
    use understudy_engine::emit::{Slot, SlotSet};

    /// First operand, two slots for each half.
    pub const A: u8 = 96;
    /// Second operand.
    pub const B: u8 = 100;
    /// Third operand.
    pub const C: u8 = 104;
    /// Result.
    pub const R: u8 = 108;
    /// What was loaded from memory.
    pub const M: u8 = 112;
    /// All operands.
    pub const OPERANDS: SlotSet = SlotSet::range(A, R);
    /// All of the result.
    pub const RESULT: SlotSet = SlotSet::range(R, M);

    /// The slots of one half of an operand.
    #[inline(always)]
    pub const fn half(operand: u8, half: usize) -> Slot {
        Slot::new(operand + 2 * (half as u8 & 1))
    }
}

/// Bits of RFLAGS (SDM vol. 1, figure 3-8).
pub mod flag {
    /// Carry.
    pub const CF: u64 = 1 << 0;
    /// Always 1.
    pub const ONE: u64 = 1 << 1;
    /// Even parity of the low byte.
    pub const PF: u64 = 1 << 2;
    /// Auxiliary carry.
    pub const AF: u64 = 1 << 4;
    /// Zero.
    pub const ZF: u64 = 1 << 6;
    /// Sign.
    pub const SF: u64 = 1 << 7;
    /// Single step.
    pub const TF: u64 = 1 << 8;
    /// Interrupts are taken.
    pub const IF: u64 = 1 << 9;
    /// Strings run downwards.
    pub const DF: u64 = 1 << 10;
    /// Overflow.
    pub const OF: u64 = 1 << 11;
    /// I/O privilege level, two bits.
    pub const IOPL: u64 = 3 << 12;
    /// Nested task.
    pub const NT: u64 = 1 << 14;
    /// Resume: no instruction breakpoint for the next instruction.
    pub const RF: u64 = 1 << 16;
    /// Virtual-8086 mode.
    pub const VM: u64 = 1 << 17;
    /// Alignment check, or access control.
    pub const AC: u64 = 1 << 18;
    /// Virtual interrupt flag.
    pub const VIF: u64 = 1 << 19;
    /// Virtual interrupt pending.
    pub const VIP: u64 = 1 << 20;
    /// CPUID can be used.
    pub const ID: u64 = 1 << 21;

    /// Those that results set.
    pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
    /// Those in [`crate::state::State::rflags`].
    pub const HELD: u64 = TF | IF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;
}

/// OF, 0 or 1.
#[inline(always)]
pub fn overflow<E: Emit<Arch = X86>>(e: &mut E) -> E::Val {
    let (less, sign) = (e.get(LESS), sign(e));
    e.xor(less, sign)
}

/// SF, 0 or 1.
#[inline(always)]
pub fn sign<E: Emit<Arch = X86>>(e: &mut E) -> E::Val {
    let (sign, zero) = (e.get(SIGN), e.imm(0));
    e.compare(Cmp::Slt, sign, zero)
}

/// ZF, 0 or 1.
#[inline(always)]
pub fn zero<E: Emit<Arch = X86>>(e: &mut E) -> E::Val {
    let (value, zero) = (e.get(ZERO), e.imm(0));
    e.compare(Cmp::Eq, value, zero)
}

/// PF, 0 or 1.
#[inline(always)]
pub fn parity<E: Emit<Arch = X86>>(e: &mut E) -> E::Val {
    let sign = e.get(SIGN);
    let low = e.and_imm(sign, 0xff);
    let ones = e.unary(Unary::Popcnt, low);
    let one = e.imm(1);
    let odd = e.and(ones, one);
    e.xor(odd, one)
}

/// The status flags but OF, as LAHF has them: bits 7, 6, 4, 2 and 0, and bit 1.
#[inline(always)]
pub fn low_flags<E: Emit<Arch = X86>>(e: &mut E) -> E::Val {
    let (carry, parity, adjust) = (e.get(CARRY), parity(e), e.get(ADJUST));
    let (zero, sign) = (zero(e), sign(e));
    let mut all = e.add_imm(carry, flag::ONE);
    let adjust = e.and_imm(adjust, flag::AF);
    all = e.or(all, adjust);
    for (bit, value) in [(2, parity), (6, zero), (7, sign)] {
        let value = e.shl_imm(value, bit);
        all = e.or(all, value);
    }
    all
}

/// Sets the status flags but OF from the bits that SAHF takes.
#[inline(always)]
pub fn set_low_flags<E: Emit<Arch = X86>>(e: &mut E, value: E::Val) {
    let overflow = overflow(e);
    let sign = e.shr_imm(value, 7);
    let sign = e.and_imm(sign, 1);
    let less = e.xor(overflow, sign);
    e.put(LESS, less);
    let carry = e.and_imm(value, flag::CF);
    e.put(CARRY, carry);
    e.put(ADJUST, value);
    let zf = e.and_imm(value, flag::ZF);
    let not = e.imm(flag::ZF);
    let zf = e.xor(zf, not);
    e.put(ZERO, zf);
    let sf = e.and_imm(value, flag::SF);
    let sf = e.shl_imm(sf, 56);
    // One odd bit where PF is clear.
    let pf = e.and_imm(value, flag::PF);
    let not = e.imm(flag::PF);
    let pf = e.xor(pf, not);
    let both = e.or(sf, pf);
    e.put(SIGN, both);
}

/// RFLAGS, all of it.
pub fn rflags(cpu: &Cpu) -> u64 {
    let sign = cpu.slot(SIGN);
    let bit = |set: bool, bit: u64| if set { bit } else { 0 };
    let sf = (sign as i64) < 0;
    bit(cpu.slot(CARRY) != 0, flag::CF)
        | bit((sign as u8).count_ones().is_multiple_of(2), flag::PF)
        | cpu.slot(ADJUST) & flag::AF
        | bit(cpu.slot(ZERO) == 0, flag::ZF)
        | bit(sf, flag::SF)
        | bit((cpu.slot(LESS) != 0) != sf, flag::OF)
        | bit(cpu.slot(DIRECTION) != 0, flag::DF)
        | flag::ONE
        | cpu.state.rflags
}

/// Sets the flags that are in slots from a value of RFLAGS: the status flags and DF.
pub fn set_flag_slots(cpu: &mut Cpu, value: u64) {
    let sf = value & flag::SF != 0;
    let of = value & flag::OF != 0;
    cpu.set_slot(CARRY, value & flag::CF);
    cpu.set_slot(ADJUST, value);
    cpu.set_slot(ZERO, (value & flag::ZF == 0) as u64);
    let odd = (value & flag::PF == 0) as u64;
    cpu.set_slot(SIGN, (sf as u64) << 63 | odd);
    cpu.set_slot(LESS, (sf != of) as u64);
    cpu.set_slot(DIRECTION, (value & flag::DF != 0) as u64);
}

/// Sets RFLAGS, all of it. What follows from it for blocks is the caller's
/// ([`crate::state::changed`]).
pub fn set_rflags(cpu: &mut Cpu, value: u64) {
    set_flag_slots(cpu, value);
    cpu.state.rflags = value & flag::HELD;
}
