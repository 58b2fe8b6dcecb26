//! Arithmetic on the host's own `f32` and `f64`, where the result and FPSR are provably Arm's.
//!
//! IEEE 754 defines the bits of a result that is neither NaN, nor tiny, nor too large, in rounding
//! to nearest, which is the only mode a Rust program runs in. So the host is asked only if FPCR
//! rounds to nearest and no operand is a denormal, an infinity or a NaN, and its answer is taken
//! only if it is zero for an evident reason or lies strictly between the smallest normal number
//! and infinity (strictly: tininess is detected before rounding, so the smallest normal number may
//! be the rounding of a tiny one). FZ, DN and AHP have no bearing on such operations.
//!
//! What remains is the Inexact flag. It is cumulative: once IXC is set, there is nothing to find
//! out. Before that, the rounding error itself is computed, exactly: for sums by Knuth's TwoSum,
//! for the others by a fused or a wider multiplication, away from the exponents at which the
//! error could underflow.
//!
//! Each function answers `None` where it cannot tell; then integer arithmetic does the work.

use super::{Fp, fpcr, fpsr};

fn to_nearest(fp: &Fp) -> bool {
    fp.fpcr & fpcr::RMODE == 0
}

fn knows_inexact(fp: &Fp) -> bool {
    fp.fpsr & fpsr::IXC != 0
}

fn set_inexact(fp: &mut Fp, inexact: bool) {
    if inexact {
        fp.fpsr |= fpsr::IXC;
    }
}

macro_rules! format {
    ($float:ident, $bits:ident, $operand:ident, $result:ident, $add:ident) => {
        /// The operand, if it is a normal number or zero.
        #[inline]
        fn $operand(bits: $bits) -> Option<$float> {
            let value = $float::from_bits(bits);
            (value.is_normal() || value == 0.0).then_some(value)
        }

        /// Whether a result that is not zero is beyond doubt.
        #[inline]
        fn $result(value: $float) -> bool {
            let magnitude = value.abs();
            magnitude > $float::MIN_POSITIVE && magnitude < $float::INFINITY
        }

        /// A sum. One of exactly zero is +0, or -0 from two of -0: on the host too.
        #[inline]
        pub(super) fn $add(fp: &mut Fp, a: $bits, b: $bits) -> Option<$bits> {
            if !to_nearest(fp) {
                return None;
            }
            let (a, b) = ($operand(a)?, $operand(b)?);
            let sum = a + b;
            // Normal numbers add up to zero only exactly.
            if !$result(sum) && sum != 0.0 {
                return None;
            }
            if !knows_inexact(fp) {
                let b_part = sum - a;
                let a_part = sum - b_part;
                let error = (a - a_part) + (b - b_part);
                // Not a number if an intermediate overflowed.
                if error.is_nan() {
                    return None;
                }
                set_inexact(fp, error != 0.0);
            }
            Some(sum.to_bits())
        }
    };
}

format!(f32, u32, operand32, result32, add32);
format!(f64, u64, operand64, result64, add64);

/// Above this magnitude (2^-960), the rounding errors of products, quotients and roots of doubles
/// are doubles too: they reach no further down than 106 bits below the result.
const NO_UNDERFLOW: f64 = f64::from_bits((1023 - 960) << 52);

pub(super) fn mul32(fp: &mut Fp, a: u32, b: u32) -> Option<u32> {
    if !to_nearest(fp) {
        return None;
    }
    let (a, b) = (operand32(a)?, operand32(b)?);
    // A product of two 24-bit numbers is exact in 53 bits.
    let exact = f64::from(a) * f64::from(b);
    let product = exact as f32;
    if !result32(product) && exact != 0.0 {
        return None;
    }
    set_inexact(fp, f64::from(product) != exact);
    Some(product.to_bits())
}

pub(super) fn mul64(fp: &mut Fp, a: u64, b: u64) -> Option<u64> {
    if !to_nearest(fp) {
        return None;
    }
    let (a, b) = (operand64(a)?, operand64(b)?);
    let product = a * b;
    if a == 0.0 || b == 0.0 {
        return Some(product.to_bits());
    }
    if !result64(product) {
        return None;
    }
    if !knows_inexact(fp) {
        if product.abs() < NO_UNDERFLOW {
            return None;
        }
        set_inexact(fp, a.mul_add(b, -product) != 0.0);
    }
    Some(product.to_bits())
}

pub(super) fn div32(fp: &mut Fp, a: u32, b: u32) -> Option<u32> {
    if !to_nearest(fp) {
        return None;
    }
    let (a, b) = (operand32(a)?, operand32(b)?);
    let quotient = a / b;
    // Zero, infinity and zero over zero are left to the integers.
    if !result32(quotient) {
        return None;
    }
    set_inexact(fp, f64::from(quotient) * f64::from(b) != f64::from(a));
    Some(quotient.to_bits())
}

pub(super) fn div64(fp: &mut Fp, a: u64, b: u64) -> Option<u64> {
    if !to_nearest(fp) {
        return None;
    }
    let (a, b) = (operand64(a)?, operand64(b)?);
    let quotient = a / b;
    if !result64(quotient) {
        return None;
    }
    if !knows_inexact(fp) {
        if a.abs() < NO_UNDERFLOW {
            return None;
        }
        set_inexact(fp, quotient.mul_add(-b, a) != 0.0);
    }
    Some(quotient.to_bits())
}

pub(super) fn sqrt32(fp: &mut Fp, a: u32) -> Option<u32> {
    if !to_nearest(fp) {
        return None;
    }
    let a = operand32(a)?;
    let root = a.sqrt();
    if !result32(root) {
        return None;
    }
    set_inexact(fp, f64::from(root) * f64::from(root) != f64::from(a));
    Some(root.to_bits())
}

pub(super) fn sqrt64(fp: &mut Fp, a: u64) -> Option<u64> {
    if !to_nearest(fp) {
        return None;
    }
    let a = operand64(a)?;
    let root = a.sqrt();
    if !result64(root) {
        return None;
    }
    if !knows_inexact(fp) {
        if a < NO_UNDERFLOW {
            return None;
        }
        set_inexact(fp, root.mul_add(-root, a) != 0.0);
    }
    Some(root.to_bits())
}

pub(super) fn mul_add32(fp: &mut Fp, addend: u32, a: u32, b: u32) -> Option<u32> {
    if !to_nearest(fp) {
        return None;
    }
    let (addend, a, b) = (operand32(addend)?, operand32(a)?, operand32(b)?);
    // The product is exact; where the sum of doubles is, its rounding is the only one.
    let product = f64::from(a) * f64::from(b);
    let addend = f64::from(addend);
    let sum = product + addend;
    let addend_part = sum - product;
    let product_part = sum - addend_part;
    let error = (product - product_part) + (addend - addend_part);
    let result = if error == 0.0 {
        sum as f32
    } else {
        (a).mul_add(b, addend as f32)
    };
    if !result32(result) {
        return None;
    }
    set_inexact(fp, error != 0.0 || f64::from(result) != sum);
    Some(result.to_bits())
}

pub(super) fn mul_add64(fp: &mut Fp, addend: u64, a: u64, b: u64) -> Option<u64> {
    // The error of a fused operation is no double in general.
    if !to_nearest(fp) || !knows_inexact(fp) {
        return None;
    }
    let (addend, a, b) = (operand64(addend)?, operand64(a)?, operand64(b)?);
    let sum = a.mul_add(b, addend);
    result64(sum).then(|| sum.to_bits())
}
