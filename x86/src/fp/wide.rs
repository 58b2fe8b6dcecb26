//! Numbers of 128 bits of precision, for functions whose results have 64.

use super::round::{Kind, Unpacked};
use understudy_engine::ieee::Real;

/// A number: `mant * 2^(exp - 127)`, with its top bit set; or zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide {
    pub sign: bool,
    pub exp: i32,
    pub mant: u128,
}

/// The high half of a product, rounded down.
fn high_product(a: u128, b: u128) -> u128 {
    let split = |x: u128| (x >> 64, x & u128::from(u64::MAX));
    let ((a1, a0), (b1, b0)) = (split(a), split(b));
    let ((high1, low1), (high2, low2)) = (split(a1 * b0), split(a0 * b1));
    let (carry, _) = split(a0 * b0);
    let (carry, _) = split(carry + low1 + low2);
    a1 * b1 + high1 + high2 + carry
}

impl Wide {
    pub(super) const ZERO: Wide = Wide {
        sign: false,
        exp: 0,
        mant: 0,
    };
    pub(super) const ONE: Wide = Wide::constant(0, 1 << 127);

    pub(super) const fn constant(exp: i32, mant: u128) -> Wide {
        Wide {
            sign: false,
            exp,
            mant,
        }
    }

    /// The number `mant * 2^exp`.
    pub(super) fn new(sign: bool, mant: u128, exp: i32) -> Wide {
        if mant == 0 {
            return Wide::ZERO;
        }
        let lead = mant.leading_zeros();
        Wide {
            sign,
            exp: exp + 127 - lead as i32,
            mant: mant << lead,
        }
    }

    pub(super) fn integer(value: i64) -> Wide {
        Wide::new(value < 0, value.unsigned_abs().into(), 0)
    }

    /// The value of an operand that is a number.
    pub(super) fn from_operand(op: &Unpacked) -> Wide {
        debug_assert!(op.kind == Kind::Number);
        Wide::new(op.sign, op.mant.into(), op.exp)
    }

    /// As a number to be rounded, that is not this one exactly.
    pub(super) fn inexact(self) -> Real {
        Real {
            sign: self.sign,
            mant: self.mant,
            exp: self.exp - 127,
            sticky: true,
        }
    }

    pub(super) fn is_zero(self) -> bool {
        self.mant == 0
    }

    pub(super) fn neg(self) -> Wide {
        Wide {
            sign: !self.sign,
            ..self
        }
    }

    pub(super) fn abs(self) -> Wide {
        Wide {
            sign: false,
            ..self
        }
    }

    /// Whether the magnitude is less.
    pub(super) fn smaller(self, other: Wide) -> bool {
        match (self.is_zero(), other.is_zero()) {
            (_, true) => false,
            (true, false) => true,
            _ => (self.exp, self.mant) < (other.exp, other.mant),
        }
    }

    pub(super) fn mul(self, other: Wide) -> Wide {
        if self.is_zero() || other.is_zero() {
            return Wide::ZERO;
        }
        let product = high_product(self.mant, other.mant);
        Wide::new(self.sign != other.sign, product, self.exp + other.exp - 126)
    }

    pub(super) fn add(self, other: Wide) -> Wide {
        if self.is_zero() {
            return other;
        }
        if other.is_zero() {
            return self;
        }
        let (big, small) = if self.smaller(other) {
            (other, self)
        } else {
            (self, other)
        };
        // One bit of room for a carry.
        let shift = big.exp.abs_diff(small.exp);
        let small_mant = if shift < 127 {
            small.mant >> 1 >> shift
        } else {
            0
        };
        let big_mant = big.mant >> 1;
        let mant = if big.sign == small.sign {
            big_mant + small_mant
        } else if shift == 0 {
            // Exact, with the bit that there is room for.
            return Wide::new(big.sign, big.mant - small.mant, big.exp - 127);
        } else {
            big_mant - small_mant
        };
        Wide::new(big.sign, mant, big.exp - 126)
    }

    /// This approximation of a number whose magnitude is below that of `limit`: the next one where the
    /// difference does not show.
    pub(super) fn below(self, limit: Wide) -> Wide {
        if self.is_zero() || self.smaller(limit) {
            return self;
        }
        Wide::new(self.sign, limit.mant - 1, limit.exp - 127)
    }

    pub(super) fn sub(self, other: Wide) -> Wide {
        self.add(other.neg())
    }

    pub(super) fn div(self, other: Wide) -> Wide {
        if self.is_zero() || other.is_zero() {
            return Wide::ZERO;
        }
        // A bit at a time; `rest` stays below the divisor, which has its top bit set.
        let (mut quotient, mut rest) = (0u128, self.mant);
        let mut first = 0;
        if rest >= other.mant {
            rest -= other.mant;
            first = 1;
        }
        for _ in 0..127 {
            let carry = rest >> 127 != 0;
            rest <<= 1;
            quotient <<= 1;
            if carry || rest >= other.mant {
                rest = rest.wrapping_sub(other.mant);
                quotient |= 1;
            }
        }
        Wide::new(
            self.sign != other.sign,
            quotient | first << 127,
            self.exp - other.exp - 127,
        )
    }

    /// The same divided by a small number.
    pub(super) fn over(self, divisor: u64) -> Wide {
        Wide::new(self.sign, self.mant / u128::from(divisor), self.exp - 127)
    }

    /// The sum of a series: `self` is its first term, and `next` makes of the n-th the one after it.
    /// Ends where terms no longer count.
    pub(super) fn series(
        self,
        next: impl Fn(Wide, u64) -> Wide,
        part: impl Fn(Wide, u64) -> Wide,
    ) -> Wide {
        let (mut sum, mut term) = (part(self, 0), self);
        for n in 0..200 {
            term = next(term, n);
            let more = part(term, n + 1);
            if more.is_zero() || more.exp < sum.exp - 130 {
                break;
            }
            sum = sum.add(more);
        }
        sum
    }
}
