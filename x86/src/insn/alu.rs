//! Results with status flags (SDM vol. 1, 3.4.3.1), and conditions (vol. 1, appendix B).

use super::operand::{sx, width};
use crate::X86;
use crate::regs::{self, ADJUST, CARRY, LESS, SIGN, ZERO};
use understudy_engine::emit::{Binary, Cmp, Emit};

/// Status flags, in the form of their slots ([`regs`]).
#[derive(Clone, Copy)]
pub struct Flags<V> {
    /// CF; none to keep it.
    pub carry: Option<V>,
    /// SF≠OF.
    pub less: V,
    /// The result, sign-extended: ZF, SF, PF.
    pub result: V,
    /// AF is bit 4.
    pub adjust: V,
}

/// Sets the status flags.
#[inline(always)]
pub fn set_flags<E: Emit<Arch = X86>>(e: &mut E, flags: Flags<E::Val>) {
    if let Some(carry) = flags.carry {
        e.put(CARRY, carry);
    }
    e.put(LESS, flags.less);
    e.put(ZERO, flags.result);
    e.put(SIGN, flags.result);
    e.put(ADJUST, flags.adjust);
}

/// Bit `bits - 1` of a value.
#[inline(always)]
pub fn top<E: Emit<Arch = X86>>(e: &mut E, value: E::Val, size: u8) -> E::Val {
    let value = e.shr_imm(value, width(size) - 1);
    if size == 3 {
        value
    } else {
        e.and_imm(value, 1)
    }
}

#[inline(always)]
fn negative<E: Emit<Arch = X86>>(e: &mut E, value: E::Val) -> E::Val {
    let zero = e.imm(0);
    e.compare(Cmp::Slt, value, zero)
}

/// `a + b`, of zero-extended operands, with its flags. The result may have bits above its size.
#[inline(always)]
pub fn add<E: Emit<Arch = X86>>(
    e: &mut E,
    a: E::Val,
    b: E::Val,
    size: u8,
) -> (E::Val, Flags<E::Val>) {
    let sum = e.add(a, b);
    let carry = if size == 3 {
        e.compare(Cmp::Ult, sum, a)
    } else {
        e.shr_imm(sum, width(size))
    };
    (sum, sum_flags(e, a, b, sum, carry, size))
}

/// `a + b + carry`, as [`add`].
#[inline(always)]
pub fn add_carry<E: Emit<Arch = X86>>(
    e: &mut E,
    a: E::Val,
    b: E::Val,
    carry: E::Val,
    size: u8,
) -> (E::Val, Flags<E::Val>) {
    let first = e.add(a, b);
    let sum = e.add(first, carry);
    let carry = if size == 3 {
        let one = e.compare(Cmp::Ult, first, a);
        let other = e.compare(Cmp::Ult, sum, first);
        e.or(one, other)
    } else {
        e.shr_imm(sum, width(size))
    };
    (sum, sum_flags(e, a, b, sum, carry, size))
}

#[inline(always)]
fn sum_flags<E: Emit<Arch = X86>>(
    e: &mut E,
    a: E::Val,
    b: E::Val,
    sum: E::Val,
    carry: E::Val,
    size: u8,
) -> Flags<E::Val> {
    // Overflow: the result's sign differs from that of both operands.
    let (x, y) = (e.xor(a, sum), e.xor(b, sum));
    let overflow = e.and(x, y);
    let less = e.xor(overflow, sum);
    let adjust = e.xor(x, b);
    Flags {
        carry: Some(carry),
        less: top(e, less, size),
        result: sx(e, sum, size),
        adjust,
    }
}

/// `a - b`, of zero-extended operands, with its flags. The result may have bits above its size.
#[inline(always)]
pub fn sub<E: Emit<Arch = X86>>(
    e: &mut E,
    a: E::Val,
    b: E::Val,
    size: u8,
) -> (E::Val, Flags<E::Val>) {
    let difference = e.sub(a, b);
    let carry = e.compare(Cmp::Ult, a, b);
    let (signed_a, signed_b) = (sx(e, a, size), sx(e, b, size));
    let less = e.compare(Cmp::Slt, signed_a, signed_b);
    let adjust = e.xor(a, b);
    let adjust = e.xor(adjust, difference);
    let flags = Flags {
        carry: Some(carry),
        less,
        result: sx(e, difference, size),
        adjust,
    };
    (difference, flags)
}

/// `a - b - borrow`, as [`sub`].
#[inline(always)]
pub fn sub_borrow<E: Emit<Arch = X86>>(
    e: &mut E,
    a: E::Val,
    b: E::Val,
    borrow: E::Val,
    size: u8,
) -> (E::Val, Flags<E::Val>) {
    let first = e.sub(a, b);
    let difference = e.sub(first, borrow);
    let one = e.compare(Cmp::Ult, a, b);
    let other = e.compare(Cmp::Ult, first, borrow);
    let carry = e.or(one, other);
    let differ = e.xor(a, b);
    let changed = e.xor(a, difference);
    let overflow = e.and(differ, changed);
    let less = e.xor(overflow, difference);
    let adjust = e.xor(differ, difference);
    let flags = Flags {
        carry: Some(carry),
        less: top(e, less, size),
        result: sx(e, difference, size),
        adjust,
    };
    (difference, flags)
}

/// The flags of a logical result: CF and OF are cleared, and AF, which is undefined.
#[inline(always)]
pub fn logic<E: Emit<Arch = X86>>(e: &mut E, result: E::Val, size: u8) -> Flags<E::Val> {
    let result = sx(e, result, size);
    let zero = e.imm(0);
    Flags {
        carry: Some(zero),
        less: negative(e, result),
        result,
        adjust: zero,
    }
}

/// Sets CF and OF to the same value, and leaves the other flags.
#[inline(always)]
pub fn set_carry_overflow<E: Emit<Arch = X86>>(e: &mut E, value: E::Val) {
    set_carry_and_overflow(e, value, value);
}

/// Sets CF and OF, and leaves the other flags.
#[inline(always)]
pub fn set_carry_and_overflow<E: Emit<Arch = X86>>(e: &mut E, carry: E::Val, overflow: E::Val) {
    let sign = regs::sign(e);
    let less = e.xor(sign, overflow);
    e.put(CARRY, carry);
    e.put(LESS, less);
}

/// Whether a condition holds, 0 or 1; `code` is the low four bits of the opcode.
#[inline(always)]
pub fn condition<E: Emit<Arch = X86>>(e: &mut E, code: u8) -> E::Val {
    let zero = e.imm(0);
    // Those that a comparison gives either way.
    match code & 15 {
        4 | 5 => {
            let value = e.get(ZERO);
            let op = if code & 1 == 0 { Cmp::Eq } else { Cmp::Ne };
            return e.compare(op, value, zero);
        }
        8 => return regs::sign(e),
        9 => {
            let sign = e.get(SIGN);
            return e.compare(Cmp::Sle, zero, sign);
        }
        _ => {}
    }
    let value = match code >> 1 & 7 {
        0 => regs::overflow(e),
        1 => e.get(CARRY),
        3 => {
            let (carry, zero) = (e.get(CARRY), regs::zero(e));
            e.or(carry, zero)
        }
        5 => regs::parity(e),
        6 => e.get(LESS),
        _ => {
            let (less, zero) = (e.get(LESS), regs::zero(e));
            e.or(less, zero)
        }
    };
    if code & 1 == 0 {
        value
    } else {
        let one = e.imm(1);
        e.binary(Binary::Xor, value, one)
    }
}
