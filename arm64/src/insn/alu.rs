//! What several groups of instructions share: sums with flags, conditions, shifts and extensions
//! (Arm ARM shared pseudocode: AddWithCarry, ConditionHolds, ShiftReg, ExtendReg).

use crate::Arm64;
use crate::regs;
use understudy_engine::emit::{Binary, Cmp, Emit, Unary};

/// A constant as an enumeration: `pick!("NAME", function, [conditions])` is the `Def` of the
/// function whose generic arguments are what the conditions are at run time. A condition is a bool,
/// or `{0 1 2}: value` for a number that is one of those listed (the last one if it is none).
macro_rules! pick {
    (@ $name:expr, $f:ident, [$($g:tt)*], [], ($($ends:ident)?)) => {
        $crate::insn::alu::pick!(! $name, $f, [$($g)*], ($($ends)?))
    };
    (@ $name:expr, $f:ident, [$($g:tt)*], [{$($n:tt)*}: $c:expr $(, $($rest:tt)*)?], $ends:tt) => {
        $crate::insn::alu::pick!(# $name, $f, [$($g)*], [$($n)*], $c, [$($($rest)*)?], $ends)
    };
    (@ $name:expr, $f:ident, [$($g:tt)*], [$c:expr $(, $($rest:tt)*)?], $ends:tt) => {
        if $c {
            $crate::insn::alu::pick!(@ $name, $f, [$($g)* true], [$($($rest)*)?], $ends)
        } else {
            $crate::insn::alu::pick!(@ $name, $f, [$($g)* false], [$($($rest)*)?], $ends)
        }
    };
    (# $name:expr, $f:ident, [$($g:tt)*], [$last:tt], $c:expr, $rest:tt, $ends:tt) => {
        $crate::insn::alu::pick!(@ $name, $f, [$($g)* $last], $rest, $ends)
    };
    (# $name:expr, $f:ident, [$($g:tt)*], [$n:tt $($more:tt)+], $c:expr, $rest:tt, $ends:tt) => {
        if $c == $n {
            $crate::insn::alu::pick!(@ $name, $f, [$($g)* $n], $rest, $ends)
        } else {
            $crate::insn::alu::pick!(# $name, $f, [$($g)*], [$($more)+], $c, $rest, $ends)
        }
    };
    (! $name:expr, $f:ident, [$($g:tt)*], ()) => {
        understudy_engine::def!($crate::Arm64, $name, $f, [$($g),*])
    };
    (! $name:expr, $f:ident, [$($g:tt)*], (ends)) => {
        understudy_engine::def!($crate::Arm64, $name, $f, [$($g),*], ends)
    };
    ($name:expr, $f:ident, [$($c:tt)*] $(, $ends:ident)?) => {
        $crate::insn::alu::pick!(@ $name, $f, [], [$($c)*], ($($ends)?))
    };
}
pub(crate) use pick;

/// The four flags in the form of their slots ([`regs`]).
#[derive(Clone, Copy)]
pub struct Flags<V> {
    /// N is bit 63.
    pub n: V,
    /// Z is set where this is 0.
    pub z: V,
    /// C, 0 or 1.
    pub c: V,
    /// V is bit 63.
    pub v: V,
}

/// Sets PSTATE.{N,Z,C,V}.
#[inline(always)]
pub fn set_flags<E: Emit<Arch = Arm64>>(e: &mut E, flags: Flags<E::Val>) {
    e.put(regs::N, flags.n);
    e.put(regs::Z, flags.z);
    e.put(regs::C, flags.c);
    e.put(regs::V, flags.v);
}

/// A result in a form from which N (bit 63) and Z (is it 0) can be read; no more than 32 bits of
/// it are given if not `sf`.
#[inline(always)]
fn sign_and_zero<E: Emit<Arch = Arm64>>(e: &mut E, result: E::Val, sf: bool) -> E::Val {
    if sf { result } else { e.shl_imm(result, 32) }
}

/// The flags of a logical operation: C and V are cleared.
#[inline(always)]
pub fn set_logical_flags<E: Emit<Arch = Arm64>>(e: &mut E, result: E::Val, sf: bool) {
    let nz = sign_and_zero(e, result, sf);
    let zero = e.imm(0);
    set_flags(
        e,
        Flags {
            n: nz,
            z: nz,
            c: zero,
            v: zero,
        },
    );
}

/// `a + b`, or `a - b` if `SUB`, and its flags. Operands of 32 bits come zero-extended, and the
/// result may have more bits than 32 then.
#[inline(always)]
pub fn add_flags<E: Emit<Arch = Arm64>, const SF: bool, const SUB: bool>(
    e: &mut E,
    a: E::Val,
    b: E::Val,
) -> (E::Val, Flags<E::Val>) {
    let result = e.binary(if SUB { Binary::Sub } else { Binary::Add }, a, b);
    let c = if SUB {
        e.compare(Cmp::Ule, b, a)
    } else if SF {
        e.compare(Cmp::Ult, result, a)
    } else {
        e.shr_imm(result, 32)
    };
    let overflow = overflow::<E, SUB>(e, a, b, result);
    let v = sign_and_zero(e, overflow, SF);
    let nz = sign_and_zero(e, result, SF);
    (result, Flags { n: nz, z: nz, c, v })
}

/// A value whose top bit (of 64 or 32) says whether the sum or difference overflowed.
#[inline(always)]
fn overflow<E: Emit<Arch = Arm64>, const SUB: bool>(
    e: &mut E,
    a: E::Val,
    b: E::Val,
    result: E::Val,
) -> E::Val {
    // Signs of the operands differ (difference) or of both from the result's (sum).
    let x = e.xor(a, if SUB { b } else { result });
    let y = e.xor(if SUB { a } else { b }, result);
    e.and(x, y)
}

/// `a + b + PSTATE.C`, and its flags; `b` is the complement of what is subtracted. Operands of 32
/// bits come zero-extended, and the result may have more bits than 32 then.
#[inline(always)]
pub fn add_with_carry<E: Emit<Arch = Arm64>, const SF: bool>(
    e: &mut E,
    a: E::Val,
    b: E::Val,
) -> (E::Val, Flags<E::Val>) {
    let carry = e.get(regs::C);
    let sum = e.add(a, b);
    let result = e.add(sum, carry);
    let c = if SF {
        let first = e.compare(Cmp::Ult, sum, a);
        let second = e.compare(Cmp::Ult, result, sum);
        e.or(first, second)
    } else {
        e.shr_imm(result, 32)
    };
    let overflow = overflow::<E, false>(e, a, b, result);
    let v = sign_and_zero(e, overflow, SF);
    let nz = sign_and_zero(e, result, SF);
    (result, Flags { n: nz, z: nz, c, v })
}

/// The greater, if `MAX`, or lesser of two values; above bit 31 it means nothing if not `SF`.
#[inline(always)]
pub fn min_max<E: Emit<Arch = Arm64>, const SF: bool, const SIGNED: bool, const MAX: bool>(
    e: &mut E,
    a: E::Val,
    b: E::Val,
) -> E::Val {
    let (a, b) = match (SF, SIGNED) {
        (true, _) => (a, b),
        (false, true) => (e.sext32(a), e.sext32(b)),
        (false, false) => (e.zext32(a), e.zext32(b)),
    };
    let less = e.compare(if SIGNED { Cmp::Slt } else { Cmp::Ult }, a, b);
    if MAX {
        e.select(less, b, a)
    } else {
        e.select(less, a, b)
    }
}

/// Whether the condition holds: not 0 where it does (Arm ARM C1.2.4).
#[inline(always)]
pub fn condition<E: Emit<Arch = Arm64>>(e: &mut E, condition: u32) -> E::Val {
    let one = |e: &mut E, value: E::Val| {
        let bit = e.imm(1);
        e.xor(value, bit)
    };
    let zero = e.imm(0);
    match condition & 15 {
        0b0000 => {
            let z = e.get(regs::Z);
            e.compare(Cmp::Eq, z, zero)
        }
        0b0001 => {
            let z = e.get(regs::Z);
            e.compare(Cmp::Ne, z, zero)
        }
        0b0010 => e.get(regs::C),
        0b0011 => {
            let c = e.get(regs::C);
            one(e, c)
        }
        0b0100 => {
            let n = e.get(regs::N);
            e.compare(Cmp::Slt, n, zero)
        }
        0b0101 => {
            let n = e.get(regs::N);
            e.compare(Cmp::Sle, zero, n)
        }
        0b0110 => {
            let v = e.get(regs::V);
            e.compare(Cmp::Slt, v, zero)
        }
        0b0111 => {
            let v = e.get(regs::V);
            e.compare(Cmp::Sle, zero, v)
        }
        0b1000 | 0b1001 => {
            let (z, c) = (e.get(regs::Z), e.get(regs::C));
            let not_zero = e.compare(Cmp::Ne, z, zero);
            let higher = e.and(not_zero, c);
            if condition & 1 == 0 {
                higher
            } else {
                one(e, higher)
            }
        }
        0b1010 | 0b1011 => {
            let (n, v) = (e.get(regs::N), e.get(regs::V));
            let differ = e.xor(n, v);
            if condition & 1 == 0 {
                e.compare(Cmp::Sle, zero, differ)
            } else {
                e.compare(Cmp::Slt, differ, zero)
            }
        }
        0b1100 | 0b1101 => {
            let (n, v, z) = (e.get(regs::N), e.get(regs::V), e.get(regs::Z));
            let differ = e.xor(n, v);
            let same = e.compare(Cmp::Sle, zero, differ);
            let not_zero = e.compare(Cmp::Ne, z, zero);
            let greater = e.and(same, not_zero);
            if condition & 1 == 0 {
                greater
            } else {
                one(e, greater)
            }
        }
        _ => e.imm(1),
    }
}

/// A register shifted by a constant below its width; `kind` is LSL, LSR, ASR or ROR as in the
/// field `shift`. A shift of 32 bits leaves undefined what is above them.
#[inline(always)]
pub fn shift_constant<E: Emit<Arch = Arm64>>(
    e: &mut E,
    value: E::Val,
    kind: u32,
    amount: u32,
    sf: bool,
) -> E::Val {
    let amount = e.imm(amount as u64);
    shift(e, value, kind, amount, sf)
}

/// A register shifted by an amount below its width.
#[inline(always)]
pub fn shift<E: Emit<Arch = Arm64>>(
    e: &mut E,
    value: E::Val,
    kind: u32,
    amount: E::Val,
    sf: bool,
) -> E::Val {
    match (kind & 3, sf) {
        (0, _) => e.binary(Binary::Shl, value, amount),
        (1, true) => e.binary(Binary::Shr, value, amount),
        (1, false) => {
            let value = e.zext32(value);
            e.binary(Binary::Shr, value, amount)
        }
        (2, true) => e.binary(Binary::Sar, value, amount),
        (2, false) => {
            let value = e.sext32(value);
            e.binary(Binary::Sar, value, amount)
        }
        (_, true) => e.binary(Binary::Ror, value, amount),
        (_, false) => e.binary(Binary::Ror32, value, amount),
    }
}

/// Register X`n` extended as the field `option` says (UXTB to SXTX), then shifted left.
#[inline(always)]
pub fn extend<E: Emit<Arch = Arm64>>(e: &mut E, n: u32, option: u32, amount: u32) -> E::Val {
    let value = regs::read_x(e, n);
    let value = match option & 7 {
        0b000 => e.unary(Unary::Zext8, value),
        0b001 => e.unary(Unary::Zext16, value),
        0b010 => e.zext32(value),
        0b100 => e.unary(Unary::Sext8, value),
        0b101 => e.unary(Unary::Sext16, value),
        0b110 => e.sext32(value),
        _ => value,
    };
    e.shl_imm(value, amount)
}
