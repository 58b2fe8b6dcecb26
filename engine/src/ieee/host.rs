//! Arithmetic on the host's own `f32` and `f64`, where bits and flags are beyond doubt.
//!
//! IEEE 754 defines the bits of a result that is neither NaN, nor tiny, nor too large, in rounding to
//! nearest even, which is the only mode a Rust program runs in: so the caller asks only when that is
//! the mode. An answer is given only if no operand is a denormal, an infinity or a NaN, and if it is
//! zero for an evident reason or lies strictly between the smallest normal number and infinity
//! (strictly: that one may be the rounding of a tiny number, which architectures look for before or
//! after rounding). Flushing of denormals and the choice among NaNs have no bearing on such operations,
//! whose only exception can be Inexact.
//!
//! That flag is cumulative: where it is set there is nothing to find out (`inexact_known`). Before
//! that the rounding error itself is computed, exactly: for sums by Knuth's TwoSum, for the others by
//! a fused or a wider multiplication, away from the exponents at which the error could underflow.
//!
//! Each function takes bits, and gives bits and whether they are inexact (or `false` where that is
//! known and would cost to find out). It answers `None` where it cannot tell; then [`super::Real`] does
//! the work. All are inlined: compiled code's helpers and vectors' lanes begin with them.

macro_rules! format {
    ($name:literal, $float:ident, $bits:ident, $operand:ident, $result:ident, $sum:ident, $add:ident, $sub:ident) => {
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
        fn $sum(a: $float, b: $float, inexact_known: bool) -> Option<($bits, bool)> {
            let sum = a + b;
            // Normal numbers add up to zero only exactly; +0, or -0 from two of -0, on the host too.
            if !$result(sum) && sum != 0.0 {
                return None;
            }
            if inexact_known {
                return Some((sum.to_bits(), false));
            }
            let b_part = sum - a;
            let a_part = sum - b_part;
            let error = (a - a_part) + (b - b_part);
            // Not a number if an intermediate overflowed.
            (!error.is_nan()).then_some((sum.to_bits(), error != 0.0))
        }

        #[doc = concat!("`a + b` for ", $name, " (IEEE 754-2019, 5.4.1).")]
        #[inline(always)]
        pub fn $add(a: $bits, b: $bits, inexact_known: bool) -> Option<($bits, bool)> {
            $sum($operand(a)?, $operand(b)?, inexact_known)
        }

        #[doc = concat!("`a - b` for ", $name, ".")]
        #[inline(always)]
        pub fn $sub(a: $bits, b: $bits, inexact_known: bool) -> Option<($bits, bool)> {
            $sum($operand(a)?, -$operand(b)?, inexact_known)
        }
    };
}

format!(
    "singles",
    f32, u32, operand32, result32, sum32, add32, sub32
);
format!(
    "doubles",
    f64, u64, operand64, result64, sum64, add64, sub64
);

/// Above this magnitude (2^-960), the rounding errors of products, quotients and roots of doubles
/// are doubles too: they reach no further down than 106 bits below the result.
const NO_UNDERFLOW: f64 = f64::from_bits((1023 - 960) << 52);

/// `a * b` for singles.
#[inline(always)]
pub fn mul32(a: u32, b: u32, _: bool) -> Option<(u32, bool)> {
    let (a, b) = (operand32(a)?, operand32(b)?);
    // A product of two 24-bit numbers is exact in 53 bits.
    let exact = f64::from(a) * f64::from(b);
    let product = exact as f32;
    if !result32(product) && exact != 0.0 {
        return None;
    }
    Some((product.to_bits(), f64::from(product) != exact))
}

/// `a * b` for doubles.
#[inline(always)]
pub fn mul64(a: u64, b: u64, inexact_known: bool) -> Option<(u64, bool)> {
    let (a, b) = (operand64(a)?, operand64(b)?);
    let product = a * b;
    if a == 0.0 || b == 0.0 {
        return Some((product.to_bits(), false));
    }
    if !result64(product) {
        return None;
    }
    if inexact_known {
        return Some((product.to_bits(), false));
    }
    if product.abs() < NO_UNDERFLOW {
        return None;
    }
    Some((product.to_bits(), a.mul_add(b, -product) != 0.0))
}

/// `a / b` for singles.
#[inline(always)]
pub fn div32(a: u32, b: u32, _: bool) -> Option<(u32, bool)> {
    let (a, b) = (operand32(a)?, operand32(b)?);
    let quotient = a / b;
    // Zero, infinity and zero over zero are left to the integers.
    if !result32(quotient) {
        return None;
    }
    let exact = f64::from(quotient) * f64::from(b) == f64::from(a);
    Some((quotient.to_bits(), !exact))
}

/// `a / b` for doubles.
#[inline(always)]
pub fn div64(a: u64, b: u64, inexact_known: bool) -> Option<(u64, bool)> {
    let (a, b) = (operand64(a)?, operand64(b)?);
    let quotient = a / b;
    if !result64(quotient) {
        return None;
    }
    if inexact_known {
        return Some((quotient.to_bits(), false));
    }
    if a.abs() < NO_UNDERFLOW {
        return None;
    }
    Some((quotient.to_bits(), quotient.mul_add(-b, a) != 0.0))
}

/// The square root of `a` for singles.
#[inline(always)]
pub fn sqrt32(a: u32, _: bool) -> Option<(u32, bool)> {
    let a = operand32(a)?;
    let root = a.sqrt();
    if !result32(root) {
        return None;
    }
    let exact = f64::from(root) * f64::from(root) == f64::from(a);
    Some((root.to_bits(), !exact))
}

/// The square root of `a` for doubles.
#[inline(always)]
pub fn sqrt64(a: u64, inexact_known: bool) -> Option<(u64, bool)> {
    let a = operand64(a)?;
    let root = a.sqrt();
    if !result64(root) {
        return None;
    }
    if inexact_known {
        return Some((root.to_bits(), false));
    }
    if a < NO_UNDERFLOW {
        return None;
    }
    Some((root.to_bits(), root.mul_add(-root, a) != 0.0))
}

/// `a * b + c`, rounded once ("fusedMultiplyAdd"), for singles.
#[inline(always)]
pub fn mul_add32(a: u32, b: u32, c: u32, _: bool) -> Option<(u32, bool)> {
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
    let inexact = error != 0.0 || f64::from(result) != sum;
    Some((result.to_bits(), inexact))
}

/// `a * b + c`, rounded once, for doubles: only where `inexact_known`.
#[inline(always)]
pub fn mul_add64(a: u64, b: u64, c: u64, inexact_known: bool) -> Option<(u64, bool)> {
    // The error of a fused operation is no double in general.
    if !inexact_known {
        return None;
    }
    let (a, b, c) = (operand64(a)?, operand64(b)?, operand64(c)?);
    let sum = a.mul_add(b, c);
    result64(sum).then_some((sum.to_bits(), false))
}
