//! Arithmetic on the host's own `f32` and `f64`, where result and exceptions are provably the same.
//!
//! IEEE 754 defines the bits of a result that is neither NaN, nor tiny, nor too large, in rounding to
//! nearest, which is the only mode a Rust program runs in. So the host is asked only if RC rounds to
//! nearest and no operand is a denormal, an infinity or a NaN, and its answer is taken only if it is
//! zero for an evident reason or lies strictly between the smallest normal number and infinity
//! (strictly: a tiny result may round to the smallest normal number). DAZ, FTZ and the masks have no
//! bearing on such operations, whose only exception can be PE.
//!
//! Whether they are inexact need not be known where PE is masked and set already
//! ([`Env::known`]). Before that the rounding error itself is computed, exactly: for sums by Knuth's
//! TwoSum, for the others by a fused or a wider multiplication, away from the exponents at which the
//! error could underflow.
//!
//! Each function answers `None` where it cannot tell; then integer arithmetic does the work.

use super::{Env, PE, Rounding};

#[inline(always)]
fn to_nearest(env: &Env) -> bool {
    matches!(env.rounding, Rounding::TieEven)
}

#[inline(always)]
fn known(env: &Env) -> bool {
    env.known & PE != 0
}

#[inline(always)]
fn set_inexact(env: &mut Env, inexact: bool) {
    if inexact {
        env.flags |= PE;
    }
}

macro_rules! format {
    ($float:ident, $bits:ident, $operand:ident, $result:ident, $add:ident, $sub:ident, $sum:ident) => {
        /// The operand, if it is a normal number or zero.
        #[inline(always)]
        fn $operand(bits: $bits) -> Option<$float> {
            let value = $float::from_bits(bits);
            let magnitude = value.abs();
            let normal = ($float::MIN_POSITIVE..$float::INFINITY).contains(&magnitude);
            (normal || value == 0.0).then_some(value)
        }

        /// Whether a result that is not zero is beyond doubt.
        #[inline(always)]
        fn $result(value: $float) -> bool {
            let magnitude = value.abs();
            magnitude > $float::MIN_POSITIVE && magnitude < $float::INFINITY
        }

        #[inline(always)]
        fn $sum(env: &mut Env, a: $float, b: $float) -> Option<$bits> {
            let sum = a + b;
            // Normal numbers add up to zero only exactly; +0, or -0 from two of -0, on the host too.
            if !$result(sum) && sum != 0.0 {
                return None;
            }
            if !known(env) {
                let b_part = sum - a;
                let a_part = sum - b_part;
                let error = (a - a_part) + (b - b_part);
                // Not a number if an intermediate overflowed.
                if error.is_nan() {
                    return None;
                }
                set_inexact(env, error != 0.0);
            }
            Some(sum.to_bits())
        }

        #[inline(always)]
        pub(super) fn $add(env: &mut Env, a: $bits, b: $bits) -> Option<$bits> {
            if !to_nearest(env) {
                return None;
            }
            $sum(env, $operand(a)?, $operand(b)?)
        }

        #[inline(always)]
        pub(super) fn $sub(env: &mut Env, a: $bits, b: $bits) -> Option<$bits> {
            if !to_nearest(env) {
                return None;
            }
            $sum(env, $operand(a)?, -$operand(b)?)
        }
    };
}

format!(f32, u32, operand32, result32, add32, sub32, sum32);
format!(f64, u64, operand64, result64, add64, sub64, sum64);

/// Above this magnitude (2^-960), the rounding errors of products, quotients and roots of doubles
/// are doubles too: they reach no further down than 106 bits below the result.
const NO_UNDERFLOW: f64 = f64::from_bits((1023 - 960) << 52);

#[inline(always)]
pub(super) fn mul32(env: &mut Env, a: u32, b: u32) -> Option<u32> {
    if !to_nearest(env) {
        return None;
    }
    let (a, b) = (operand32(a)?, operand32(b)?);
    // A product of two 24-bit numbers is exact in 53 bits.
    let exact = f64::from(a) * f64::from(b);
    let product = exact as f32;
    if !result32(product) && exact != 0.0 {
        return None;
    }
    set_inexact(env, f64::from(product) != exact);
    Some(product.to_bits())
}

#[inline(always)]
pub(super) fn mul64(env: &mut Env, a: u64, b: u64) -> Option<u64> {
    if !to_nearest(env) {
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
    if !known(env) {
        if product.abs() < NO_UNDERFLOW {
            return None;
        }
        set_inexact(env, a.mul_add(b, -product) != 0.0);
    }
    Some(product.to_bits())
}

#[inline(always)]
pub(super) fn div32(env: &mut Env, a: u32, b: u32) -> Option<u32> {
    if !to_nearest(env) {
        return None;
    }
    let (a, b) = (operand32(a)?, operand32(b)?);
    let quotient = a / b;
    // Zero, infinity and zero over zero are left to the integers.
    if !result32(quotient) {
        return None;
    }
    set_inexact(env, f64::from(quotient) * f64::from(b) != f64::from(a));
    Some(quotient.to_bits())
}

#[inline(always)]
pub(super) fn div64(env: &mut Env, a: u64, b: u64) -> Option<u64> {
    if !to_nearest(env) {
        return None;
    }
    let (a, b) = (operand64(a)?, operand64(b)?);
    let quotient = a / b;
    if !result64(quotient) {
        return None;
    }
    if !known(env) {
        if a.abs() < NO_UNDERFLOW {
            return None;
        }
        set_inexact(env, quotient.mul_add(-b, a) != 0.0);
    }
    Some(quotient.to_bits())
}

#[inline(always)]
pub(super) fn sqrt32(env: &mut Env, a: u32) -> Option<u32> {
    if !to_nearest(env) {
        return None;
    }
    let a = operand32(a)?;
    let root = a.sqrt();
    if !result32(root) {
        return None;
    }
    set_inexact(env, f64::from(root) * f64::from(root) != f64::from(a));
    Some(root.to_bits())
}

#[inline(always)]
pub(super) fn sqrt64(env: &mut Env, a: u64) -> Option<u64> {
    if !to_nearest(env) {
        return None;
    }
    let a = operand64(a)?;
    let root = a.sqrt();
    if !result64(root) {
        return None;
    }
    if !known(env) {
        if a < NO_UNDERFLOW {
            return None;
        }
        set_inexact(env, root.mul_add(-root, a) != 0.0);
    }
    Some(root.to_bits())
}

#[inline(always)]
pub(super) fn mul_add32(env: &mut Env, a: u32, b: u32, c: u32) -> Option<u32> {
    if !to_nearest(env) {
        return None;
    }
    let (a, b, c) = (operand32(a)?, operand32(b)?, operand32(c)?);
    // The product is exact; where the sum of doubles is, its rounding is the only one.
    let product = f64::from(a) * f64::from(b);
    let addend = f64::from(c);
    let sum = product + addend;
    let addend_part = sum - product;
    let product_part = sum - addend_part;
    let error = (product - product_part) + (addend - addend_part);
    let result = if error == 0.0 {
        sum as f32
    } else {
        a.mul_add(b, c)
    };
    if !result32(result) {
        return None;
    }
    set_inexact(env, error != 0.0 || f64::from(result) != sum);
    Some(result.to_bits())
}

#[inline(always)]
pub(super) fn mul_add64(env: &mut Env, a: u64, b: u64, c: u64) -> Option<u64> {
    // The error of a fused operation is no double in general.
    if !to_nearest(env) || !known(env) {
        return None;
    }
    let (a, b, c) = (operand64(a)?, operand64(b)?, operand64(c)?);
    let sum = a.mul_add(b, c);
    result64(sum).then(|| sum.to_bits())
}
