//! Numbers between the operands and the rounding of an operation.

use super::Rounding;
use core::cmp::Ordering;

/// A real number on its way to being rounded: its magnitude is `(mant + e) * 2^exp`, where `e` is zero
/// or, if `sticky`, anything strictly between 0 and 1.
///
/// A sticky one has at least 66 bits in `mant`, so that `e` lies below the place where any format is
/// rounded: the widest, the x87's, has 64 bits, and the next one tells of a half. (60 would do for
/// doubles.) Series of 128 bits, as the transcendental functions are, fill `mant`.
#[derive(Clone, Copy, Debug)]
pub struct Real {
    /// Whether it is negative. A zero, too, has a sign.
    pub sign: bool,
    /// The magnitude's integer part, in units of `2^exp`.
    pub mant: u128,
    /// The exponent of that unit.
    pub exp: i32,
    /// Whether less than one unit more belongs to the magnitude.
    pub sticky: bool,
}

/// What an integer part leaves behind, as far as rounding cares: the "error" of the Arm ARM's
/// pseudocode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    Zero,
    /// Less than one half.
    BelowHalf,
    /// One half: a tie.
    Half,
    /// More than one half.
    AboveHalf,
}

impl Rest {
    /// Whether a result without it is inexact (IEEE 754-2019, 7.6).
    #[inline]
    pub fn inexact(self) -> bool {
        self != Rest::Zero
    }

    /// Whether a magnitude of integer part `int` and this rest is rounded up to `int + 1`.
    #[inline]
    pub fn rounds_up(self, rounding: Rounding, sign: bool, int: u128) -> bool {
        match rounding {
            Rounding::TieEven => self == Rest::AboveHalf || self == Rest::Half && int & 1 == 1,
            Rounding::TieAway => matches!(self, Rest::Half | Rest::AboveHalf),
            Rounding::PosInf => self.inexact() && !sign,
            Rounding::NegInf => self.inexact() && sign,
            Rounding::Zero | Rounding::Odd => false,
        }
    }
}

/// The integer part of `(mant + e) / 2^shift` and what is left, for `e` as in [`Real`].
#[inline]
fn shift_out(mant: u128, sticky: bool, shift: u32) -> (u128, Rest) {
    if shift == 0 {
        return (mant, if sticky { Rest::BelowHalf } else { Rest::Zero });
    }
    if shift > 128 {
        // Everything is below one half.
        let rest = if mant == 0 && !sticky {
            Rest::Zero
        } else {
            Rest::BelowHalf
        };
        return (0, rest);
    }
    let (int, low) = if shift == 128 {
        (0, mant)
    } else {
        (mant >> shift, mant & ((1 << shift) - 1))
    };
    let half = 1u128 << (shift - 1);
    let rest = match low.cmp(&half) {
        _ if low == 0 && !sticky => Rest::Zero,
        Ordering::Less => Rest::BelowHalf,
        Ordering::Equal if !sticky => Rest::Half,
        _ => Rest::AboveHalf,
    };
    (int, rest)
}

impl Real {
    /// The exact number `mant * 2^exp`.
    #[inline]
    pub const fn exact(sign: bool, mant: u128, exp: i32) -> Real {
        Real {
            sign,
            mant,
            exp,
            sticky: false,
        }
    }

    /// The exponent of the leading bit of a number that is not zero: its magnitude is at least
    /// `2^exponent`, and below twice that.
    #[inline]
    pub const fn exponent(self) -> i32 {
        self.exp + 127 - self.mant.leading_zeros() as i32
    }

    /// The magnitude in units of `2^unit`: how many whole ones there are, and what is left. A unit
    /// further than 64 places below an exact number's own counts as 64 places below it: the number of
    /// such units is 2^64 or more, and no format holds it.
    #[inline]
    pub fn in_units(self, unit: i32) -> (u128, Rest) {
        let places = unit.abs_diff(self.exp);
        if unit >= self.exp {
            shift_out(self.mant, self.sticky, places)
        } else {
            (self.mant << places.min(64), Rest::Zero)
        }
    }

    /// This number, which is not zero, with its top set bit moved up to bit `top`.
    #[inline]
    fn normalised(self, top: u32) -> Real {
        let up = (top + 1).saturating_sub(128 - self.mant.leading_zeros());
        Real {
            mant: self.mant << up,
            exp: self.exp - up as i32,
            ..self
        }
    }

    /// The sum of two exact numbers, of at most 110 bits each. A sum of zero has the sign of no
    /// operand: the architecture gives it one, by the rounding mode (IEEE 754-2019, 6.3).
    #[inline]
    pub fn sum(self, other: Real) -> Real {
        if self.mant == 0 {
            return other;
        }
        if other.mant == 0 {
            return self;
        }
        // Both get their top bit at 125, with 15 or more zeros at the bottom. So wherever bits of
        // the smaller are lost, the magnitudes differ by a factor of more than two, and the
        // result keeps at least 124 bits.
        let (a, b) = (self.normalised(125), other.normalised(125));
        let (big, small) = if a.exp >= b.exp { (a, b) } else { (b, a) };
        let (small_mant, rest) = shift_out(small.mant, false, big.exp.abs_diff(small.exp));
        let sticky = rest.inexact();
        if big.sign == small.sign {
            Real {
                mant: big.mant + small_mant,
                sticky,
                ..big
            }
        } else if small_mant > big.mant {
            // Only with equal exponents, so without a rest.
            Real {
                mant: small_mant - big.mant,
                exp: big.exp,
                ..small
            }
        } else {
            // big - (small + e) is (big - small - 1) + (1 - e).
            Real {
                mant: big.mant - small_mant - u128::from(sticky),
                sticky,
                ..big
            }
        }
    }

    /// The product, exactly, of two exact numbers of at most 64 bits each.
    #[inline]
    pub const fn product(self, other: Real) -> Real {
        Real::exact(
            self.sign != other.sign,
            self.mant * other.mant,
            self.exp + other.exp,
        )
    }

    /// The quotient of two exact numbers other than zero, of 64 bits at most, to 66 bits or more.
    #[inline]
    pub fn quotient(self, by: Real) -> Real {
        let up = self.mant.leading_zeros();
        let dividend = self.mant << up;
        let (mut mant, mut rest) = (dividend / by.mant, dividend % by.mant);
        let mut exp = self.exp - up as i32 - by.exp;
        // 128 bits over more than 62 may have given 64 or 65 only.
        if mant >> 65 == 0 {
            rest <<= 32;
            mant = (mant << 32) + rest / by.mant;
            rest %= by.mant;
            exp -= 32;
        }
        Real {
            sign: self.sign != by.sign,
            mant,
            exp,
            sticky: rest != 0,
        }
    }

    /// The root of an exact positive number of 64 bits at most, to 80 bits or more.
    #[inline]
    pub fn square_root(self) -> Real {
        // A square of 127 or 128 bits with an even exponent has a root of 64 bits; 32 more follow from
        // what is left, as (r + d)^2 = r^2 + 2 r d + d^2.
        let mut up = self.mant.leading_zeros();
        if (self.exp - up as i32) % 2 != 0 {
            up -= 1;
        }
        let square = self.mant << up;
        let root = square.isqrt();
        let rest = square - root * root;
        // rest <= 2 * root, so that d < 2^32 or so, to be corrected downwards by one or two.
        let mut more = ((rest << 32) / (2 * root)).min((1 << 32) - 1);
        let mut left;
        loop {
            // rest * 2^64 - (2 * root * 2^32 * more + more^2), in two parts.
            let taken = 2 * root * more;
            let high = (rest << 32).checked_sub(taken);
            left = high.and_then(|high| {
                // high < 2 * root + something: below 2^67, so that this fits.
                (high << 32).checked_sub(more * more)
            });
            if left.is_some() {
                break;
            }
            more -= 1;
        }
        Real {
            sign: false,
            mant: root << 32 | more,
            exp: (self.exp - up as i32) / 2 - 32,
            sticky: left != Some(0),
        }
    }
}
