//! Taking operands apart, the choice among NaNs, and rounding: the two ends of every operation.

use super::{DE, Env, Float, IE, OE, PE, Rounding, UE, Unit};
use core::cmp::Ordering;

/// What an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Zero, or a denormal that DAZ makes one.
    Zero,
    /// A finite number other than zero.
    Number,
    /// An infinity.
    Infinity,
    /// A quiet NaN.
    Quiet,
    /// A signalling NaN.
    Signalling,
    /// An encoding of the x87 that no longer means anything (SDM vol. 1, 8.2.2).
    Unsupported,
}

/// An operand taken apart. The magnitude of a number is `mant * 2^exp`, exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unpacked {
    pub kind: Kind,
    pub sign: bool,
    /// Not zero for a number, its significand for a NaN.
    pub mant: u64,
    pub exp: i32,
    /// To be reported as a denormal operand.
    pub denormal: bool,
}

impl Unpacked {
    pub(super) fn is_nan(&self) -> bool {
        matches!(self.kind, Kind::Quiet | Kind::Signalling)
    }
    pub(super) fn is_infinite(&self) -> bool {
        self.kind == Kind::Infinity
    }
    pub(super) fn is_zero(&self) -> bool {
        self.kind == Kind::Zero
    }
    /// The exact value of a number; zero for the other kinds.
    pub(super) fn real(&self) -> Real {
        let mant = if self.kind == Kind::Number {
            self.mant.into()
        } else {
            0
        };
        Real {
            sign: self.sign,
            mant,
            exp: self.exp,
            sticky: false,
        }
    }
}

/// A real number on its way to being rounded: its magnitude is `(mant + e) * 2^exp`, where `e` is zero
/// or, if `sticky`, anything strictly between 0 and 1. A sticky one has at least 66 bits in `mant`, so
/// that `e` lies below the place where any format is rounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Real {
    pub sign: bool,
    pub mant: u128,
    pub exp: i32,
    pub sticky: bool,
}

/// What an integer part leaves behind, as far as rounding cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Zero,
    BelowHalf,
    Half,
    AboveHalf,
}

impl Rest {
    pub(super) fn inexact(self) -> bool {
        self != Rest::Zero
    }
    /// Whether a magnitude of integer part `int` and this rest is rounded up to `int + 1`.
    pub(super) fn rounds_up(self, rounding: Rounding, sign: bool, int: u128) -> bool {
        match rounding {
            Rounding::Nearest => self == Rest::AboveHalf || self == Rest::Half && int & 1 == 1,
            Rounding::Up => self.inexact() && !sign,
            Rounding::Down => self.inexact() && sign,
            Rounding::Zero => false,
        }
    }
}

/// The integer part of `(mant + e) / 2^shift` and what is left, for `e` as in [`Real`].
pub(super) fn shift_out(mant: u128, sticky: bool, shift: u32) -> (u128, Rest) {
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
    /// This number, which is not zero, with its top set bit moved up to bit `top`.
    fn normalised(self, top: u32) -> Real {
        let up = (top + 1).saturating_sub(128 - self.mant.leading_zeros());
        Real {
            mant: self.mant << up,
            exp: self.exp - up as i32,
            ..self
        }
    }

    /// The exact sum of two exact numbers, of at most 110 bits each. A sum of zero has the sign of
    /// no operand ([`Env::round_sum`]).
    pub(super) fn add(self, other: Real) -> Real {
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
}

/// The exact product of two numbers.
pub(super) fn product(a: &Unpacked, b: &Unpacked) -> Real {
    let (x, y) = (a.real(), b.real());
    Real {
        sign: a.sign != b.sign,
        mant: x.mant * y.mant,
        exp: a.exp + b.exp,
        sticky: false,
    }
}

/// What the exponent of a result is moved by where overflow or underflow of the x87 is not masked
/// (SDM vol. 1, 8.5.4 and 8.5.5).
const BIAS_ADJUST: i32 = 24576;

impl Env {
    /// Takes an operand apart.
    pub(super) fn unpack<F: Float>(&self, op: F) -> Unpacked {
        let (sign, exponent, mant) = op.fields();
        let lowest = F::EXPONENT_MIN - F::FRACTION as i32;
        let mut result = Unpacked {
            kind: Kind::Number,
            sign,
            mant,
            exp: lowest + exponent as i32 - 1,
            denormal: false,
        };
        if exponent == 0 {
            result.exp = lowest;
            if mant == 0 || self.daz && !F::HALF {
                result.kind = Kind::Zero;
                result.mant = 0;
            } else {
                result.denormal = !F::HALF;
            }
        } else if mant & F::LEADING == 0 {
            result.kind = Kind::Unsupported;
        } else if exponent == F::EXPONENT_MAX {
            result.kind = match mant ^ F::LEADING {
                0 => Kind::Infinity,
                fraction if fraction & F::QUIET != 0 => Kind::Quiet,
                _ => Kind::Signalling,
            };
        }
        result
    }

    /// An invalid operation: the indefinite.
    pub(super) fn invalid<F: Float>(&mut self) -> F {
        self.raise(IE);
        F::indefinite()
    }

    /// Reports denormal operands.
    pub(super) fn report_denormals<const N: usize>(&mut self, ops: [&Unpacked; N]) {
        if self.extended_denormal || ops.into_iter().any(|op| op.denormal) {
            self.raise(DE);
        }
    }

    /// What an operation gives that has an operand which is no number, reported as it is due: the
    /// indefinite for one that is unsupported, else a NaN (SDM vol. 1, table 4-7).
    pub(super) fn not_a_number<F: Float, const N: usize>(
        &mut self,
        ops: [&Unpacked; N],
    ) -> Option<F> {
        if ops.into_iter().any(|op| op.kind == Kind::Unsupported) {
            return Some(self.invalid());
        }
        if !ops.into_iter().any(|op| op.is_nan()) {
            return None;
        }
        if ops.into_iter().any(|op| op.kind == Kind::Signalling) {
            self.raise(IE);
        }
        let mut nans = ops.into_iter().filter(|op| op.is_nan());
        let chosen = match self.unit {
            Unit::Sse => nans.next(),
            // A quiet one before a signalling one; then the larger significand; then the positive.
            Unit::X87 => nans.max_by_key(|op| (op.kind == Kind::Quiet, op.mant, !op.sign)),
        }?;
        Some(F::from_fields(
            chosen.sign,
            F::EXPONENT_MAX,
            chosen.mant | F::QUIET,
        ))
    }

    /// Rounds a sum, product, quotient or root, which is not zero. Precision control counts.
    pub(super) fn round<F: Float>(&mut self, value: Real) -> F {
        let bits = if F::EXTENDED {
            self.precision
        } else {
            F::FRACTION + 1
        };
        self.round_to(value, bits)
    }

    /// Rounds the sum of two numbers: one of exactly zero is positive, or negative when rounding
    /// towards minus infinity.
    pub(super) fn round_sum<F: Float>(&mut self, value: Real) -> F {
        if value.mant == 0 {
            F::zero(self.rounding == Rounding::Down)
        } else {
            self.round(value)
        }
    }

    /// Rounds a number, which is not zero, to the whole width of the format.
    pub(super) fn round_full<F: Float>(&mut self, value: Real) -> F {
        self.round_to(value, F::FRACTION + 1)
    }

    /// Rounds to `bits` bits of significand. Tininess is found after rounding (SDM vol. 1, 4.9.1.5).
    fn round_to<F: Float>(&mut self, value: Real, bits: u32) -> F {
        let Real {
            sign,
            mant,
            exp,
            sticky,
        } = value;
        // The significand of a result with this unit in its last place.
        let at = |unit: i32, rounding| {
            let (int, rest) = if unit >= exp {
                shift_out(mant, sticky, unit.abs_diff(exp))
            } else {
                (mant << unit.abs_diff(exp), Rest::Zero)
            };
            let up = rest.rounds_up(rounding, sign, int);
            (int + u128::from(up), rest.inexact(), up)
        };
        let below = bits as i32 - 1;
        let up_to_format = F::FRACTION - (bits - 1);
        // As if exponents had no limits.
        let mut exponent = exp + 127 - mant.leading_zeros() as i32;
        let (mut int, mut inexact, mut up) = at(exponent - below, self.rounding);
        if int >> bits != 0 {
            int >>= 1;
            exponent += 1;
        }
        let tiny = exponent < F::EXPONENT_MIN;
        let huge = exponent >= F::EXPONENT_MAX as i32 - F::BIAS;
        let masked = |flag| self.masked & flag != 0;
        if tiny && masked(UE) {
            if self.ftz && !F::HALF {
                self.raise(UE | PE);
                self.rounded_up = false;
                return F::zero(sign);
            }
            (int, inexact, up) = at(F::EXPONENT_MIN - below, self.rounding);
            if inexact {
                self.raise(UE | PE);
            }
            self.rounded_up = up;
            let exponent = (int >> below != 0) as u32;
            return F::from_fields(sign, exponent, (int as u64) << up_to_format);
        }
        if huge && masked(OE) {
            self.raise(OE | PE);
            let infinite = match self.rounding {
                Rounding::Nearest => true,
                Rounding::Up => !sign,
                Rounding::Down => sign,
                Rounding::Zero => false,
            };
            self.rounded_up = infinite;
            if infinite {
                return F::infinity(sign);
            }
            let ones = (F::LEADING | (F::LEADING - 1)) >> up_to_format << up_to_format;
            return F::from_fields(sign, F::EXPONENT_MAX - 1, ones);
        }
        if tiny {
            self.raise(UE);
            exponent += BIAS_ADJUST;
        }
        if huge {
            self.raise(OE);
            exponent -= BIAS_ADJUST;
        }
        if inexact {
            self.raise(PE);
        }
        self.rounded_up = up;
        if F::EXTENDED && (exponent <= -F::BIAS || exponent > F::BIAS) {
            // Out of range even so (FSCALE).
            self.raise(PE);
            self.rounded_up = huge;
            return if tiny {
                F::zero(sign)
            } else {
                F::infinity(sign)
            };
        }
        let field = (exponent + F::BIAS) as u32 & F::EXPONENT_MAX;
        F::from_fields(sign, field, (int as u64) << up_to_format)
    }
}
