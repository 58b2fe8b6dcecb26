//! Unpacking, NaN processing and rounding: the two ends of every operation.

use super::{Float, Fp, Rounding, fpcr, fpsr};

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
        Real {
            sign: self.sign,
            mant: self.mant.into(),
            exp: self.exp,
            sticky: false,
        }
    }
}

/// A real number on its way to being rounded: magnitude `(mant + e) * 2^exp`, where `e` is zero,
/// or anything strictly between 0 and 1 if `sticky`. A sticky number has at least 60 bits in
/// `mant`, so that `e` lies below every format's rounding position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Real {
    pub sign: bool,
    pub mant: u128,
    pub exp: i32,
    pub sticky: bool,
}

/// How much an integer part leaves behind: the pseudocode's "error", as far as rounding cares.
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
            Rounding::TieEven => self == Rest::AboveHalf || self == Rest::Half && int & 1 == 1,
            Rounding::TieAway => matches!(self, Rest::Half | Rest::AboveHalf),
            Rounding::PosInf => self.inexact() && !sign,
            Rounding::NegInf => self.inexact() && sign,
            Rounding::Zero | Rounding::Odd => false,
        }
    }
}

/// The integer part of `(mant + e) / 2^shift` and what is left, for `e` as in [`Real`].
pub(super) fn shift_out(mant: u128, sticky: bool, shift: u32) -> (u128, Rest) {
    if shift == 0 {
        return (mant, if sticky { Rest::BelowHalf } else { Rest::Zero });
    }
    let (int, low) = match shift {
        1..=127 => (mant >> shift, mant & ((1 << shift) - 1)),
        _ => (0, mant),
    };
    // Past 128 bits everything is below one half.
    let half = if shift <= 128 {
        1u128 << (shift - 1)
    } else {
        u128::MAX
    };
    let rest = match (low.cmp(&half), sticky) {
        _ if low == 0 && !sticky => Rest::Zero,
        _ if shift > 128 => Rest::BelowHalf,
        (core::cmp::Ordering::Less, _) => Rest::BelowHalf,
        (core::cmp::Ordering::Equal, false) => Rest::Half,
        _ => Rest::AboveHalf,
    };
    (int, rest)
}

impl Real {
    /// This number with the top set bit of `mant` at bit `top`; `mant` must be neither zero nor
    /// above that bit already.
    fn normalised(self, top: u32) -> Real {
        let up = (top + 1).saturating_sub(128 - self.mant.leading_zeros());
        Real {
            mant: self.mant << up,
            exp: self.exp - up as i32,
            ..self
        }
    }

    /// The exact sum of two exact numbers, of at most 110 bits each. A sum of zero has the sign of
    /// no operand; see [`Fp::round_sum`].
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
pub(super) fn product(a: Unpacked, b: Unpacked) -> Real {
    Real {
        sign: a.sign != b.sign,
        mant: u128::from(a.mant) * u128::from(b.mant),
        exp: a.exp + b.exp,
        sticky: false,
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
        let Real {
            sign,
            mant,
            exp,
            sticky,
        } = value;
        let exponent = exp + 127 - mant.leading_zeros() as i32;
        let tiny = exponent < F::MIN_EXP;
        if flush && tiny {
            self.raise(fpsr::UFC);
            return F::zero(sign);
        }
        // The result's unit in the last place is 2^unit.
        let unit = exponent.max(F::MIN_EXP) - F::FRAC as i32;
        let (mut int, rest) = if unit >= exp {
            shift_out(mant, sticky, unit.abs_diff(exp))
        } else {
            (mant << unit.abs_diff(exp), Rest::Zero)
        };
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
            return if overflows_to_infinity(rounding, sign) {
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

/// Whether a number too large for its format becomes an infinity, rather than the largest number.
pub(super) fn overflows_to_infinity(rounding: Rounding, sign: bool) -> bool {
    match rounding {
        Rounding::TieEven | Rounding::TieAway => true,
        Rounding::PosInf => !sign,
        Rounding::NegInf => sign,
        Rounding::Zero | Rounding::Odd => false,
    }
}
