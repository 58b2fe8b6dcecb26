//! Unpacking, NaN processing and rounding: the two ends of every operation.

use super::{Float, Fp, Rounding, fpcr, fpsr};
use understudy_engine::ieee::Real;

/// What kind of value an operand is: "FPType". `Nonzero` and `Denormal` are one here, since no
/// operation tells them apart once flush-to-zero is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Zero, or a denormal that was flushed.
    Zero,
    /// A finite number other than zero.
    Number,
    /// An infinity.
    Infinity,
    /// A quiet NaN.
    QNaN,
    /// A signalling NaN.
    SNaN,
}

/// An operand taken apart. For [`Kind::Number`] its magnitude is `mant * 2^exp`, exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unpacked {
    pub kind: Kind,
    pub sign: bool,
    /// Not zero for a number, zero otherwise; at most 53 bits.
    pub mant: u64,
    pub exp: i32,
}

impl Unpacked {
    pub(super) fn is_nan(&self) -> bool {
        matches!(self.kind, Kind::QNaN | Kind::SNaN)
    }
    pub(super) fn is_inf(&self) -> bool {
        self.kind == Kind::Infinity
    }
    pub(super) fn is_zero(&self) -> bool {
        self.kind == Kind::Zero
    }
    /// The exact value of a number; zero for the other kinds.
    pub(super) fn real(&self) -> Real {
        Real::exact(self.sign, self.mant.into(), self.exp)
    }
}

impl Fp {
    /// Whether denormals of format `F` are flushed to zero.
    pub(super) fn flushes<F: Float>(&self) -> bool {
        self.fpcr & if F::IS_HALF { fpcr::FZ16 } else { fpcr::FZ } != 0
    }

    /// "FPUnpack".
    pub(super) fn unpack<F: Float>(&mut self, op: F) -> Unpacked {
        self.unpack_base(op, self.flushes::<F>(), false)
    }

    /// "FPUnpackCV": FZ16 has no effect, AHP has.
    pub(super) fn unpack_cv<F: Float>(&mut self, op: F) -> Unpacked {
        let half = F::IS_HALF;
        self.unpack_base(
            op,
            !half && self.flushes::<F>(),
            half && self.fpcr & fpcr::AHP != 0,
        )
    }

    /// "FPUnpackBase". Flushing a half raises no flag.
    fn unpack_base<F: Float>(&mut self, op: F, flush: bool, alternative: bool) -> Unpacked {
        let (sign, exp, frac) = (op.sign(), op.exp(), op.frac());
        let lowest = F::MIN_EXP - F::FRAC as i32;
        let special = |kind| Unpacked {
            kind,
            sign,
            mant: 0,
            exp: 0,
        };
        if exp == 0 {
            if frac == 0 {
                return special(Kind::Zero);
            }
            if flush {
                if !F::IS_HALF {
                    self.raise(fpsr::IDC);
                }
                return special(Kind::Zero);
            }
            return Unpacked {
                kind: Kind::Number,
                sign,
                mant: frac,
                exp: lowest,
            };
        }
        if exp == F::EXP_MAX && !alternative {
            return special(match frac {
                0 => Kind::Infinity,
                _ if frac & F::QUIET != 0 => Kind::QNaN,
                _ => Kind::SNaN,
            });
        }
        let mant = frac | 1 << F::FRAC;
        Unpacked {
            kind: Kind::Number,
            sign,
            mant,
            exp: lowest + exp as i32 - 1,
        }
    }

    /// "FPProcessNaN": the result of an operation whose NaN operand `op` is to be propagated.
    pub(super) fn process_nan<F: Float>(&mut self, op: F) -> F {
        if op.is_snan() {
            self.raise(fpsr::IOC);
        }
        if self.fpcr & fpcr::DN != 0 {
            F::default_nan()
        } else {
            F::from_bits(op.bits() | F::QUIET)
        }
    }

    /// "FPProcessNaNs" and "FPProcessNaNs3": the first signalling NaN, else the first quiet one.
    pub(super) fn process_nans<F: Float, const N: usize>(&mut self, ops: [F; N]) -> Option<F> {
        let nan = ops
            .into_iter()
            .find(|op| op.is_snan())
            .or_else(|| ops.into_iter().find(|op| op.is_nan()))?;
        Some(self.process_nan(nan))
    }

    /// The default NaN, for an operation that is invalid.
    pub(super) fn invalid<F: Float>(&mut self) -> F {
        self.raise(fpsr::IOC);
        F::default_nan()
    }

    /// "FPRound" in FPCR's rounding mode. `value` is not zero.
    pub(super) fn round<F: Float>(&mut self, value: Real) -> F {
        self.round_base(value, self.rounding_mode(), self.flushes::<F>(), false)
    }

    /// "FPRound" in a given rounding mode. `value` is not zero.
    pub(super) fn round_in<F: Float>(&mut self, value: Real, rounding: Rounding) -> F {
        self.round_base(value, rounding, self.flushes::<F>(), false)
    }

    /// "FPRoundCV": FZ16 has no effect, AHP has. `value` is not zero.
    pub(super) fn round_cv<F: Float>(&mut self, value: Real, rounding: Rounding) -> F {
        let half = F::IS_HALF;
        let alternative = half && self.fpcr & fpcr::AHP != 0;
        self.round_base(value, rounding, !half && self.flushes::<F>(), alternative)
    }

    /// Round the sum of two numbers: a sum of exactly zero is positive, or negative when rounding
    /// towards minus infinity.
    pub(super) fn round_sum<F: Float>(&mut self, value: Real) -> F {
        if value.mant == 0 {
            F::zero(self.rounding_mode() == Rounding::NegInf)
        } else {
            self.round(value)
        }
    }

    /// "FPRoundBase". Tininess is detected before rounding.
    fn round_base<F: Float>(
        &mut self,
        value: Real,
        rounding: Rounding,
        flush: bool,
        alternative: bool,
    ) -> F {
        let (sign, exponent) = (value.sign, value.exponent());
        let tiny = exponent < F::MIN_EXP;
        if flush && tiny {
            self.raise(fpsr::UFC);
            return F::zero(sign);
        }
        // The result's unit in the last place is 2^unit.
        let unit = exponent.max(F::MIN_EXP) - F::FRAC as i32;
        let (mut int, rest) = value.in_units(unit);
        if tiny && rest.inexact() {
            self.raise(fpsr::UFC);
        }
        if rest.rounds_up(rounding, sign, int) {
            int += 1;
        } else if rounding == Rounding::Odd && rest.inexact() {
            int |= 1;
        }
        // Adding the integer, whose leading bit counts one exponent step, to the exponent field
        // below it also carries a rounding-up into the next binade, or into the normal numbers.
        let below = if tiny {
            0
        } else {
            (exponent - F::MIN_EXP) as u64
        };
        let magnitude = (u128::from(below) << F::FRAC) + int;
        let limit = if alternative {
            F::EXP_MAX + 1
        } else {
            F::EXP_MAX
        };
        if magnitude >= u128::from(limit) << F::FRAC {
            if alternative {
                self.raise(fpsr::IOC);
                return F::pack(sign, F::EXP_MAX, F::FRAC_MASK);
            }
            self.raise(fpsr::OFC | fpsr::IXC);
            return if rounding.overflows_to_infinity(sign) {
                F::infinity(sign)
            } else {
                F::max_normal(sign)
            };
        }
        if rest.inexact() {
            self.raise(fpsr::IXC);
        }
        F::from_bits(magnitude as u64 | if sign { F::SIGN } else { 0 })
    }
}
