//! Taking operands apart, the choice among NaNs, and rounding: the two ends of every operation.

use super::{DE, Env, Float, IE, OE, PE, Rounding, UE, Unit};
use understudy_engine::ieee::Real;

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
        Real::exact(self.sign, mant, self.exp)
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
            F::zero(self.rounding == Rounding::NegInf)
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
        let sign = value.sign;
        // The significand of a result with this unit in its last place.
        let at = |unit: i32, rounding| {
            let (int, rest) = value.in_units(unit);
            let up = rest.rounds_up(rounding, sign, int);
            (int + u128::from(up), rest.inexact(), up)
        };
        let below = bits as i32 - 1;
        let up_to_format = F::FRACTION - (bits - 1);
        // As if exponents had no limits.
        let mut exponent = value.exponent();
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
            let infinite = self.rounding.overflows_to_infinity(sign);
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
