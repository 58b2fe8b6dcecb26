//! Arithmetic by the host's floating point, inside the code of both tiers.
//!
//! **The host's result** is taken if it can have had no consequence but PE, and PE is set already
//! ([`regs::PRECISION`]): operands are not denormal, and the result is finite and not tiny.

use super::float::{Kind, Lane, PREDICATES};
use crate::insn::mode;
use crate::{X86, regs};
use understudy_engine::emit::{Cmp, Emit};
use understudy_engine::float::{FloatFormat, FloatOp};

/// Whether no exception can be due in this mode.
pub(super) fn masked(mode: u32) -> bool {
    mode & mode::SSE_MASKED != 0
}

/// Whether the host's floating point does as MXCSR asks.
pub(super) fn plain(mode: u32) -> bool {
    mode & mode::SSE_PLAIN != 0
}

/// A value without its sign, at the top of 64 bits.
#[inline(always)]
fn magnitude<E: Emit<Arch = X86>>(e: &mut E, double: bool, value: E::Val) -> E::Val {
    e.shl_imm(value, if double { 1 } else { 33 })
}

/// The [`magnitude`] of the smallest normal number.
const fn smallest(double: bool) -> u64 {
    if double { 1 << 53 } else { 1 << 56 }
}

/// The [`magnitude`] of infinity.
pub(super) const fn infinity(double: bool) -> u64 {
    if double { 0x7ff << 53 } else { 0xff << 56 }
}

/// Whether (1 or 0) a value is no denormal.
#[inline(always)]
fn not_denormal<E: Emit<Arch = X86>>(e: &mut E, double: bool, value: E::Val) -> E::Val {
    let magnitude = magnitude(e, double, value);
    // Zero becomes the largest number.
    let less = e.add_imm(magnitude, 1u64.wrapping_neg());
    let limit = e.imm(smallest(double) - 2);
    e.compare(Cmp::Ult, limit, less)
}

/// Whether (1 or 0) a value is finite.
#[inline(always)]
fn finite<E: Emit<Arch = X86>>(e: &mut E, double: bool, value: E::Val) -> E::Val {
    let magnitude = magnitude(e, double, value);
    let infinity = e.imm(infinity(double));
    e.compare(Cmp::Ult, magnitude, infinity)
}

/// Whether (1 or 0) a value is strictly between the smallest normal number and infinity.
#[inline(always)]
pub(super) fn sound<E: Emit<Arch = X86>>(e: &mut E, double: bool, value: E::Val) -> E::Val {
    let magnitude = magnitude(e, double, value);
    let lowest = smallest(double) + 1;
    let above = e.add_imm(magnitude, lowest.wrapping_neg());
    let limit = e.imm(infinity(double) - lowest);
    e.compare(Cmp::Ult, above, limit)
}

/// Whether (1 or 0) a value is zero, normal or infinite: neither denormal nor a NaN.
#[inline(always)]
pub(super) fn ordinary<E: Emit<Arch = X86>>(e: &mut E, double: bool, value: E::Val) -> E::Val {
    let magnitude = magnitude(e, double, value);
    let infinity = e.imm(infinity(double));
    let number = e.compare(Cmp::Ule, magnitude, infinity);
    let normal = not_denormal(e, double, value);
    e.and(number, normal)
}

pub(super) fn format(double: bool) -> FloatFormat {
    if double {
        FloatFormat::Double
    } else {
        FloatFormat::Single
    }
}

/// The host's result on the lowest lane, and whether (1 or 0) it is certain, PE aside; none if the host
/// has no such operation.
#[inline(always)]
pub(super) fn host<E: Emit<Arch = X86>>(
    e: &mut E,
    (kind, double, imm): (Kind, bool, u8),
    [a, b, c]: [E::Val; 3],
) -> Option<(E::Val, E::Val)> {
    let format = format(double);
    let sign = if double { u64::SIGN } else { u32::SIGN };
    Some(match kind {
        Kind::Add | Kind::Sub | Kind::Mul | Kind::Div => {
            let op = match kind {
                Kind::Add => FloatOp::Add,
                Kind::Sub => FloatOp::Sub,
                Kind::Mul => FloatOp::Mul,
                _ => FloatOp::Div,
            };
            let result = e.float(op, format, [a, b, b]);
            // Sums are exact where they are tiny.
            let good = match kind {
                Kind::Add | Kind::Sub => finite(e, double, result),
                _ => sound(e, double, result),
            };
            let (x, y) = (not_denormal(e, double, a), not_denormal(e, double, b));
            let both = e.and(x, y);
            (result, e.and(good, both))
        }
        Kind::Sqrt => {
            let result = e.float(FloatOp::Sqrt, format, [b, b, b]);
            let (good, x) = (sound(e, double, result), not_denormal(e, double, b));
            (result, e.and(good, x))
        }
        Kind::Min | Kind::Max => {
            let first = if kind == Kind::Min {
                e.float(FloatOp::Less, format, [a, b, b])
            } else {
                e.float(FloatOp::Less, format, [b, a, a])
            };
            let (a, b) = if double {
                (a, b)
            } else {
                (e.zext32(a), e.zext32(b))
            };
            let result = e.select(first, a, b);
            let (x, y) = (ordinary(e, double, a), ordinary(e, double, b));
            (result, e.and(x, y))
        }
        Kind::Compare => {
            let less = e.float(FloatOp::Less, format, [a, b, b]);
            let equal = e.float(FloatOp::Equal, format, [a, b, b]);
            let either = e.or(less, equal);
            let one = e.imm(1);
            let greater = e.xor(either, one);
            let mut holds = e.imm(0);
            for (bit, relation) in [less, equal, greater].into_iter().enumerate() {
                if PREDICATES[usize::from(imm & 15)] >> bit & 1 != 0 {
                    holds = e.or(holds, relation);
                }
            }
            let zero = e.imm(0);
            let mask = e.sub(zero, holds);
            let mask = if double { mask } else { e.zext32(mask) };
            let (x, y) = (ordinary(e, double, a), ordinary(e, double, b));
            (mask, e.and(x, y))
        }
        _ => {
            let (product, addend) = kind.fused()?;
            let sign = e.imm(sign);
            let x = if product { e.xor(a, sign) } else { a };
            let z = if addend { e.xor(c, sign) } else { c };
            let result = e.float(FloatOp::MulAdd, format, [x, b, z]);
            let mut certain = sound(e, double, result);
            for operand in [a, b, c] {
                let normal = not_denormal(e, double, operand);
                certain = e.and(certain, normal);
            }
            (result, certain)
        }
    })
}

/// Whether (1 or 0) PE is set already. Comparisons and choices do not ask.
#[inline(always)]
pub(super) fn inexact_known<E: Emit<Arch = X86>>(e: &mut E) -> E::Val {
    e.get(regs::PRECISION)
}
