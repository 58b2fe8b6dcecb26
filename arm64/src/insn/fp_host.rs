//! Arithmetic by the host's floating-point unit, inside the code of both tiers.
//!
//! The host is asked for a result to nearest, and the result is looked at: if it could have had any
//! consequence but Inexact, or FPCR asks for something else, the instruction's helper is called
//! instead ([`Emit::helper_unless`]). What makes a result *sound* follows from IEEE 754 and from
//! FPCR.FZ being clear:
//!
//! - It is finite: then so were the operands (but for a quotient by infinity, which is zero), there
//!   was no NaN, no overflow and no invalid operation, and no division by zero.
//! - It is not below or at the smallest normal number: then there was no underflow, which Arm
//!   detects before rounding. Sums need not be tested: they are exact where they are that small.
//!
//! Inexact is cumulative: only once FPSR.IXC is set is there nothing to be found out about it. The
//! first inexact result of a program sets it, in a helper, and few programs clear it ever.
//!
//! `crate::fp` uses the host in much the same way, with more care for what it can find out.

use super::fp_lanes::Operation;
use crate::fp::{Float, fpcr, fpsr};
use crate::{Arm64, regs};
use understudy_engine::emit::{Binary, Cmp, Emit, Helper};
use understudy_engine::float::{FloatFormat, FloatOp};

/// How the host computes an operation on elements.
#[derive(Clone, Copy)]
pub(super) struct Host {
    op: FloatOp,
    negate_n: bool,
    negate_d: bool,
    clear_sign: bool,
    flip_sign: bool,
}

impl Host {
    /// `n op m`, or `n * m + d` for [`FloatOp::MulAdd`].
    pub(super) const fn new(op: FloatOp) -> Host {
        Host {
            op,
            negate_n: false,
            negate_d: false,
            clear_sign: false,
            flip_sign: false,
        }
    }
    /// With the sign of n flipped first.
    pub(super) const fn negate_n(mut self) -> Host {
        self.negate_n = true;
        self
    }
    /// With the sign of d flipped first.
    pub(super) const fn negate_d(mut self) -> Host {
        self.negate_d = true;
        self
    }
    /// The result's magnitude.
    pub(super) const fn magnitude(mut self) -> Host {
        self.clear_sign = true;
        self
    }
    /// The result with its sign flipped.
    pub(super) const fn negated(mut self) -> Host {
        self.flip_sign = true;
        self
    }
}

/// The host's format for `F`, if it has one.
const fn format<F: Float>() -> Option<FloatFormat> {
    match F::BITS {
        32 => Some(FloatFormat::Single),
        64 => Some(FloatFormat::Double),
        _ => None,
    }
}

/// Whether (1 or 0) FPCR and FPSR are such that only the result matters: to nearest, nothing
/// flushed, Inexact known.
#[inline(always)]
pub(super) fn ready<E: Emit<Arch = Arm64>>(e: &mut E) -> E::Val {
    let control = e.get(regs::FPCR);
    let control = e.and_imm(control, (fpcr::RMODE | fpcr::FZ).into());
    let status = e.get(regs::FPSR);
    let status = e.and_imm(status, fpsr::IXC.into());
    let inexact = e.imm(fpsr::IXC.into());
    let unknown = e.binary(Binary::Xor, status, inexact);
    let any = e.or(control, unknown);
    let zero = e.imm(0);
    e.compare(Cmp::Eq, any, zero)
}

/// Whether (1 or 0) nothing is flushed, which is all that exact operations ask for.
#[inline(always)]
pub(super) fn keeps_denormals<E: Emit<Arch = Arm64>>(e: &mut E) -> E::Val {
    let control = e.get(regs::FPCR);
    let flush = e.and_imm(control, fpcr::FZ.into());
    let zero = e.imm(0);
    e.compare(Cmp::Eq, flush, zero)
}

/// A value of format `F` without its sign, at the top of 64 bits.
#[inline(always)]
pub(super) fn magnitude<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, value: E::Val) -> E::Val {
    e.shl_imm(value, 65 - F::BITS)
}

/// The [`magnitude`] of `2^exponent`, or of infinity for the exponent above the largest.
pub(super) const fn power<F: Float>(exponent: i32) -> u64 {
    ((exponent - F::MIN_EXP + 1) as u64) << (64 - F::EXP)
}

/// The [`magnitude`] of infinity.
pub(super) const fn infinity<F: Float>() -> u64 {
    F::EXP_MAX << (64 - F::EXP)
}

/// Whether (1 or 0) a value is neither infinite nor a NaN.
#[inline(always)]
fn is_finite<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, value: E::Val) -> E::Val {
    let magnitude = magnitude::<E, F>(e, value);
    let infinity = e.imm(infinity::<F>());
    e.compare(Cmp::Ult, magnitude, infinity)
}

/// Whether (1 or 0) a value lies strictly between the smallest normal number and infinity.
#[inline(always)]
pub(super) fn is_sound<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, value: E::Val) -> E::Val {
    let magnitude = magnitude::<E, F>(e, value);
    let lowest = power::<F>(F::MIN_EXP) + 1;
    let above = e.add_imm(magnitude, lowest.wrapping_neg());
    let limit = e.imm(infinity::<F>() - lowest);
    e.compare(Cmp::Ult, above, limit)
}

/// The host's result on the low elements of `[d, n, m]`, and whether (1 or 0) it is sound.
#[inline(always)]
fn element<E: Emit<Arch = Arm64>, F: Float>(
    e: &mut E,
    host: Host,
    format: FloatFormat,
    [d, n, m]: [E::Val; 3],
) -> (E::Val, E::Val) {
    let sign = e.imm(F::SIGN);
    let n = if host.negate_n { e.xor(n, sign) } else { n };
    let d = if host.negate_d { e.xor(d, sign) } else { d };
    let operands = match host.op {
        FloatOp::MulAdd => [n, m, d],
        FloatOp::Sqrt => [n, n, n],
        _ => [n, m, m],
    };
    let result = e.float(host.op, format, operands);
    let sound = match host.op {
        FloatOp::Add | FloatOp::Sub => is_finite::<E, F>(e, result),
        _ => is_sound::<E, F>(e, result),
    };
    let result = match host {
        Host {
            clear_sign: true, ..
        } => e.and_imm(result, F::SIGN - 1),
        Host {
            flip_sign: true, ..
        } => e.xor(result, sign),
        _ => result,
    };
    (result, sound)
}

/// The operation on one element, or on all elements in 64 bits if `VECTOR`: by the host where the
/// operation and the format allow, else by its helper.
#[inline(always)]
pub(super) fn apply<E: Emit<Arch = Arm64>, F: Float, O: Operation, const VECTOR: bool>(
    e: &mut E,
    helper: &'static Helper<Arm64>,
    operands: [E::Val; 3],
    imm: E::Val,
) -> Result<E::Val, E::Stop> {
    let [d, n, m] = operands;
    let arguments = [d, n, m, imm];
    let (Some(host), Some(format)) = (O::HOST, format::<F>()) else {
        return e.helper(helper, arguments);
    };
    let ready = ready(e);
    let (mut result, sound) = element::<E, F>(e, host, format, operands);
    let mut certain = e.and(ready, sound);
    if VECTOR && F::BITS == 32 {
        let upper = operands.map(|v| e.shr_imm(v, 32));
        let (high, sound) = element::<E, F>(e, host, format, upper);
        let high = e.shl_imm(high, 32);
        result = e.or(result, high);
        certain = e.and(certain, sound);
    }
    e.helper_unless(certain, result, helper, arguments)
}

/// The flags of a comparison, NZCV in bits 3 to 0, and whether (1 or 0) they are certain: no
/// operand is a NaN, and nothing is flushed.
pub(super) fn compare<E: Emit<Arch = Arm64>, F: Float>(
    e: &mut E,
    n: E::Val,
    m: E::Val,
) -> Option<(E::Val, E::Val)> {
    let format = format::<F>()?;
    let less = e.float(FloatOp::Less, format, [n, m, m]);
    let equal = e.float(FloatOp::Equal, format, [n, m, m]);
    // Less: 1000, equal: 0110, else greater: 0010.
    let greater_or_equal = e.imm(0b0010);
    let z = e.shl_imm(equal, 2);
    let nzcv = e.or(z, greater_or_equal);
    let less_flags = e.imm(0b1000);
    let nzcv = e.select(less, less_flags, nzcv);
    let mut certain = keeps_denormals(e);
    for operand in [n, m] {
        let magnitude = magnitude::<E, F>(e, operand);
        let infinity = e.imm(infinity::<F>());
        let number = e.compare(Cmp::Ule, magnitude, infinity);
        certain = e.and(certain, number);
    }
    Some((nzcv, certain))
}

/// The conversion of an integer of `width` bits, and whether (1 or 0) its result is certain.
pub(super) fn from_integer<E: Emit<Arch = Arm64>, F: Float>(
    e: &mut E,
    n: E::Val,
    width: u32,
    unsigned: bool,
) -> Option<(E::Val, E::Val)> {
    let format = format::<F>()?;
    let integer = match (width, unsigned) {
        (32, false) => e.sext32(n),
        (32, true) => e.zext32(n),
        _ => n,
    };
    let result = e.float(FloatOp::FromSigned, format, [integer; 3]);
    // A double holds every integer of 32 bits.
    let certain = if width == 32 && F::BITS == 64 {
        e.imm(1)
    } else {
        ready(e)
    };
    let certain = if width == 64 && unsigned {
        let zero = e.imm(0);
        let fits = e.compare(Cmp::Sle, zero, integer);
        e.and(certain, fits)
    } else {
        certain
    };
    Some((result, certain))
}

/// The conversion to an integer of `width` bits, towards zero, and whether (1 or 0) its result is
/// certain.
pub(super) fn to_integer<E: Emit<Arch = Arm64>, F: Float>(
    e: &mut E,
    n: E::Val,
    width: u32,
    unsigned: bool,
) -> Option<(E::Val, E::Val)> {
    let format = format::<F>()?;
    let result = e.float(FloatOp::ToSigned, format, [n; 3]);
    let result = if width == 32 {
        e.zext32(result)
    } else {
        result
    };
    // Of unsigned 64-bit integers, those that are also signed ones.
    let bits = if width == 32 && unsigned {
        32
    } else {
        width as i32 - 1
    };
    let magnitude = magnitude::<E, F>(e, n);
    let limit = e.imm(power::<F>(bits));
    let fits = e.compare(Cmp::Ult, magnitude, limit);
    let ready = ready(e);
    let certain = e.and(ready, fits);
    let certain = if unsigned {
        let sign = e.and_imm(n, F::SIGN);
        let zero = e.imm(0);
        let positive = e.compare(Cmp::Eq, sign, zero);
        e.and(certain, positive)
    } else {
        certain
    };
    Some((result, certain))
}

/// The conversion of a single to a double (exact), and whether (1 or 0) its result is certain.
pub(super) fn widen<E: Emit<Arch = Arm64>>(e: &mut E, n: E::Val) -> (E::Val, E::Val) {
    let result = e.float(FloatOp::Convert, FloatFormat::Single, [n; 3]);
    let finite = is_finite::<E, u32>(e, n);
    let keeps = keeps_denormals(e);
    (result, e.and(finite, keeps))
}

/// The conversion of a double to a single, and whether (1 or 0) its result is certain.
pub(super) fn narrow<E: Emit<Arch = Arm64>>(e: &mut E, n: E::Val) -> (E::Val, E::Val) {
    let result = e.float(FloatOp::Convert, FloatFormat::Double, [n; 3]);
    let sound = is_sound::<E, u32>(e, result);
    let ready = ready(e);
    (result, e.and(sound, ready))
}
