//! Shifts and rotates (SDM vol. 1, 5.1.5).

use super::alu::{self, Flags, top};
use super::arith::sized;
use super::operand::{mask, read, read_reg, read_to_write, sx, width, write_back};
use super::{Loc, Operands};
use crate::X86;
use crate::regs::{ADJUST, CARRY, LESS, SIGN, ZERO};
use understudy_engine::arch::Def;
use understudy_engine::emit::{Binary, Cmp, Effects, Emit, Helper, Unary};

/// The instruction for a number in the opcode's extension: ROL, ROR, RCL, RCR, SHL, SHR, SHL, SAR.
pub fn definition(op: u8, size: u8) -> &'static Def<X86> {
    match op & 7 {
        0 => sized!("ROL", rotate, [true], size),
        1 => sized!("ROR", rotate, [false], size),
        2 => sized!("RCL", rotate_carry, [true], size),
        3 => sized!("RCR", rotate_carry, [false], size),
        5 => sized!("SHR", shift, [5], size),
        7 => sized!("SAR", shift, [7], size),
        _ => sized!("SHL", shift, [4], size),
    }
}

/// SHLD, or SHRD.
pub fn double(right: bool, size: u8) -> &'static Def<X86> {
    match (right, size) {
        (false, 1) => understudy_engine::def!(X86, "SHLD", double_shift, [false, 1]),
        (false, 2) => understudy_engine::def!(X86, "SHLD", double_shift, [false, 2]),
        (false, _) => understudy_engine::def!(X86, "SHLD", double_shift, [false, 3]),
        (true, 1) => understudy_engine::def!(X86, "SHRD", double_shift, [true, 1]),
        (true, 2) => understudy_engine::def!(X86, "SHRD", double_shift, [true, 2]),
        (true, _) => understudy_engine::def!(X86, "SHRD", double_shift, [true, 3]),
    }
}

/// The number of places, 5 or 6 bits of it.
#[inline(always)]
fn count<E: Emit<Arch = X86>>(e: &mut E, o: &Operands, loc: Loc, size: u8) -> E::Val {
    let value = if loc == Loc::IMM {
        e.imm(o.imm)
    } else {
        read_reg(e, loc, 0)
    };
    e.and_imm(value, if size == 3 { 63 } else { 31 })
}

/// Sets the status flags, unless the count is 0.
#[inline(always)]
fn set_flags_unless<E: Emit<Arch = X86>>(e: &mut E, none: E::Val, flags: Flags<E::Val>) {
    let slots = [
        (CARRY, flags.carry),
        (LESS, Some(flags.less)),
        (ZERO, Some(flags.result)),
        (SIGN, Some(flags.result)),
        (ADJUST, Some(flags.adjust)),
    ];
    for (slot, value) in slots {
        if let Some(value) = value {
            let old = e.get(slot);
            let value = e.select(none, old, value);
            e.put(slot, value);
        }
    }
}

#[inline(always)]
fn is_zero<E: Emit<Arch = X86>>(e: &mut E, value: E::Val) -> E::Val {
    let zero = e.imm(0);
    e.compare(Cmp::Eq, value, zero)
}

fn shift<E: Emit<Arch = X86>, const OP: u8, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let count = count(e, o, o.b, S);
    let (a, at) = read_to_write(e, o, S)?;
    let one = e.imm(1);
    let less_one = e.sub(count, one);
    let (result, carry, less) = match OP {
        5 => {
            let result = e.binary(Binary::Shr, a, count);
            let out = e.binary(Binary::Shr, a, less_one);
            // OF is the sign before, and SF is clear after.
            (result, e.and_imm(out, 1), top(e, a, S))
        }
        7 => {
            let signed = sx(e, a, S);
            let result = e.binary(Binary::Sar, signed, count);
            let out = e.binary(Binary::Sar, signed, less_one);
            let zero = e.imm(0);
            let sign = e.compare(Cmp::Slt, signed, zero);
            (result, e.and_imm(out, 1), sign)
        }
        _ => {
            let result = e.binary(Binary::Shl, a, count);
            let out = if S == 3 {
                let out = e.binary(Binary::Shl, a, less_one);
                e.shr_imm(out, 63)
            } else {
                let out = e.shr_imm(result, width(S));
                e.and_imm(out, 1)
            };
            // OF is SF xor CF, so SF≠OF is CF.
            (result, out, out)
        }
    };
    write_back(e, o, at, result, S)?;
    let result = sx(e, result, S);
    let adjust = e.imm(0);
    let none = is_zero(e, count);
    let flags = Flags {
        carry: Some(carry),
        less,
        result,
        adjust,
    };
    set_flags_unless(e, none, flags);
    Ok(())
}

/// Sets CF and OF, unless the count is 0.
#[inline(always)]
fn set_rotate_flags<E: Emit<Arch = X86>>(
    e: &mut E,
    count: E::Val,
    carry: E::Val,
    overflow: E::Val,
) {
    let none = is_zero(e, count);
    let (old_carry, old_less) = (e.get(CARRY), e.get(LESS));
    alu::set_carry_and_overflow(e, carry, overflow);
    let less = e.get(LESS);
    let carry = e.select(none, old_carry, carry);
    let less = e.select(none, old_less, less);
    e.put(CARRY, carry);
    e.put(LESS, less);
}

/// The bit below the top one.
#[inline(always)]
fn second<E: Emit<Arch = X86>>(e: &mut E, value: E::Val, size: u8) -> E::Val {
    let value = e.shr_imm(value, width(size) - 2);
    e.and_imm(value, 1)
}

fn rotate<E: Emit<Arch = X86>, const LEFT: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let count = count(e, o, o.b, S);
    let (a, at) = read_to_write(e, o, S)?;
    let places = if LEFT {
        e.unary(Unary::Neg, count)
    } else {
        count
    };
    // Narrow operands are repeated to fill a wide one.
    let result = match S {
        3 => e.binary(Binary::Ror, a, places),
        2 => e.binary(Binary::Ror32, a, places),
        _ => {
            let all = e.imm(!0 / mask(S));
            let repeated = e.binary(Binary::Mul, a, all);
            let rotated = e.binary(Binary::Ror, repeated, places);
            e.and_imm(rotated, mask(S))
        }
    };
    write_back(e, o, at, result, S)?;
    let sign = top(e, result, S);
    let (carry, other) = if LEFT {
        let carry = e.and_imm(result, 1);
        (carry, carry)
    } else {
        (sign, second(e, result, S))
    };
    let overflow = e.xor(sign, other);
    set_rotate_flags(e, count, carry, overflow);
    Ok(())
}

/// RCL and RCR: the operand and CF above it, rotated by `count` places to the left; the carry that
/// comes out is bit 64.
fn through_carry(a: u64, count: u64, carry: u64, size: u8, left: bool) -> u128 {
    let bits = width(size) + 1;
    let whole = u128::from(a) | u128::from(carry) << (bits - 1);
    let count = (count % u64::from(bits)) as u32;
    let count = if left { count } else { (bits - count) % bits };
    let rotated = whole << count | whole >> (bits - count);
    let result = rotated & u128::from(mask(size));
    result | (rotated >> (bits - 1) & 1) << 64
}

/// Arguments: operand, count, CF, and size plus 4 if to the left.
static THROUGH_CARRY: Helper<X86> = Helper {
    name: "through_carry",
    call: |_, [a, count, carry, how]| {
        Ok(through_carry(a, count, carry, how as u8 & 3, how & 4 != 0) as u64)
    },
    effects: Effects::PURE,
};

/// The same, for the carry that comes out.
static CARRY_OUT: Helper<X86> = Helper {
    name: "carry_out",
    call: |_, [a, count, carry, how]| {
        Ok((through_carry(a, count, carry, how as u8 & 3, how & 4 != 0) >> 64) as u64)
    },
    effects: Effects::PURE,
};

fn rotate_carry<E: Emit<Arch = X86>, const LEFT: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let count = count(e, o, o.b, S);
    let (a, at) = read_to_write(e, o, S)?;
    let carry = e.get(CARRY);
    let how = e.imm(u64::from(S) | u64::from(LEFT) << 2);
    let result = e.call(&THROUGH_CARRY, &[a, count, carry, how])?;
    let carry = e.call(&CARRY_OUT, &[a, count, carry, how])?;
    write_back(e, o, at, result, S)?;
    let sign = top(e, result, S);
    let other = if LEFT { carry } else { second(e, result, S) };
    let overflow = e.xor(sign, other);
    set_rotate_flags(e, count, carry, overflow);
    Ok(())
}

fn double_shift<E: Emit<Arch = X86>, const RIGHT: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let count = count(e, o, o.c, S);
    let b = read(e, o, o.b, S)?;
    let (a, at) = read_to_write(e, o, S)?;
    let one = e.imm(1);
    let less_one = e.sub(count, one);
    let bits = width(S);
    let none = is_zero(e, count);
    let (result, carry) = if S == 3 {
        let left = e.unary(Unary::Neg, count);
        let (here, there, out) = if RIGHT {
            (Binary::Shr, Binary::Shl, Binary::Shr)
        } else {
            (Binary::Shl, Binary::Shr, Binary::Shl)
        };
        let kept = e.binary(here, a, count);
        let filled = e.binary(there, b, left);
        let both = e.or(kept, filled);
        let result = e.select(none, a, both);
        let last = e.binary(out, a, less_one);
        let carry = if RIGHT {
            e.and_imm(last, 1)
        } else {
            e.shr_imm(last, 63)
        };
        (result, carry)
    } else if RIGHT {
        let above = e.shl_imm(b, bits);
        let both = e.or(above, a);
        let result = e.binary(Binary::Shr, both, count);
        let last = e.binary(Binary::Shr, both, less_one);
        (result, e.and_imm(last, 1))
    } else {
        let above = e.shl_imm(a, bits);
        let both = e.or(above, b);
        let moved = e.binary(Binary::Shl, both, count);
        let carry = if S == 2 {
            // The bit that left is above the 64 that there are.
            let last = e.binary(Binary::Shl, both, less_one);
            e.shr_imm(last, 63)
        } else {
            let out = e.shr_imm(moved, 2 * bits);
            e.and_imm(out, 1)
        };
        (e.shr_imm(moved, bits), carry)
    };
    write_back(e, o, at, result, S)?;
    let changed = e.xor(result, a);
    let overflow = top(e, changed, S);
    let sign = top(e, result, S);
    let less = e.xor(overflow, sign);
    let result = sx(e, result, S);
    let adjust = e.imm(0);
    let flags = Flags {
        carry: Some(carry),
        less,
        result,
        adjust,
    };
    set_flags_unless(e, none, flags);
    Ok(())
}

/// Shifts and rotates of BMI2, which leave the flags: RORX, SARX, SHLX, SHRX.
pub fn without_flags(op: Shift, size: u8) -> &'static Def<X86> {
    use understudy_engine::def;
    match (op, size) {
        (Shift::Rotate, 2) => def!(X86, "RORX", plain, [0, 2]),
        (Shift::Rotate, _) => def!(X86, "RORX", plain, [0, 3]),
        (Shift::Left, 2) => def!(X86, "SHLX", plain, [1, 2]),
        (Shift::Left, _) => def!(X86, "SHLX", plain, [1, 3]),
        (Shift::Right, 2) => def!(X86, "SHRX", plain, [2, 2]),
        (Shift::Right, _) => def!(X86, "SHRX", plain, [2, 3]),
        (Shift::Signed, 2) => def!(X86, "SARX", plain, [3, 2]),
        (Shift::Signed, _) => def!(X86, "SARX", plain, [3, 3]),
    }
}

/// The shifts of BMI2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shift {
    /// RORX.
    Rotate,
    /// SHLX.
    Left,
    /// SHRX.
    Right,
    /// SARX.
    Signed,
}

fn plain<E: Emit<Arch = X86>, const OP: u8, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let value = read(e, o, o.b, S)?;
    let places = read(e, o, o.c, S)?;
    let places = e.and_imm(places, if S == 3 { 63 } else { 31 });
    let result = match (OP, S) {
        (0, 2) => e.binary(Binary::Ror32, value, places),
        (0, _) => e.binary(Binary::Ror, value, places),
        (1, _) => e.binary(Binary::Shl, value, places),
        (2, _) => e.binary(Binary::Shr, value, places),
        _ => {
            let signed = sx(e, value, S);
            e.binary(Binary::Sar, signed, places)
        }
    };
    super::operand::write_reg(e, o.a, result, S);
    Ok(())
}
