//! Conversions: between formats, to and from integers and fixed point, to integral values.

use super::round::Kind;
use super::{Float, Fp, Rounding, fpcr, fpsr};
use understudy_engine::ieee::Real;

impl Fp {
    /// "FPConvert": from format `A` to format `B`, in FPCR's rounding mode.
    pub fn convert<A: Float, B: Float>(&mut self, op: A) -> B {
        self.convert_in(op, self.rounding_mode())
    }

    /// "FPConvert" in a given rounding mode.
    pub fn convert_in<A: Float, B: Float>(&mut self, op: A, rounding: Rounding) -> B {
        let x = self.unpack_cv(op);
        let alternative = B::IS_HALF && self.fpcr & fpcr::AHP != 0;
        match x.kind {
            Kind::SNaN | Kind::QNaN => {
                if x.kind == Kind::SNaN || alternative {
                    self.raise(fpsr::IOC);
                }
                if alternative {
                    // The alternative half format has no NaNs.
                    B::zero(x.sign)
                } else if self.fpcr & fpcr::DN != 0 {
                    B::default_nan()
                } else {
                    // "FPConvertNaN": the payload keeps its top bits.
                    let payload = op.frac() << (64 - A::FRAC) >> (64 - B::FRAC);
                    B::pack(x.sign, B::EXP_MAX, payload | B::QUIET)
                }
            }
            Kind::Infinity if alternative => {
                self.raise(fpsr::IOC);
                B::pack(x.sign, B::EXP_MAX, B::FRAC_MASK)
            }
            Kind::Infinity => B::infinity(x.sign),
            Kind::Zero => B::zero(x.sign),
            Kind::Number => self.round_cv(x.real(), rounding),
        }
    }

    /// "FPRoundInt": the nearest integral value in the same format. `exact` says whether a change
    /// of value counts as inexact.
    pub fn round_int<F: Float>(&mut self, op: F, rounding: Rounding, exact: bool) -> F {
        let x = self.unpack(op);
        match x.kind {
            Kind::SNaN | Kind::QNaN => self.process_nan(op),
            Kind::Infinity => F::infinity(x.sign),
            Kind::Zero => F::zero(x.sign),
            Kind::Number if x.exp >= 0 => op,
            Kind::Number => {
                let (mut int, rest) = x.real().in_units(0);
                int += u128::from(rest.rounds_up(rounding, x.sign, int));
                if exact && rest.inexact() {
                    self.raise(fpsr::IXC);
                }
                if int == 0 {
                    return F::zero(x.sign);
                }
                self.round_in(Real::exact(x.sign, int, 0), Rounding::Zero)
            }
        }
    }

    /// "FPRoundIntN": the nearest integral value in the same format, if a signed integer of `width`
    /// bits (32 or 64) can hold it. What it cannot hold, infinities and NaNs are an invalid operation,
    /// which gives the most negative such integer. A change of value counts as inexact.
    pub fn round_int_n<F: Float>(&mut self, op: F, rounding: Rounding, width: u32) -> F {
        // The exponent field of 2^(width - 1), whose negative is -2^(width - 1).
        let least = || F::pack(true, (width as i32 - F::MIN_EXP) as u64, 0);
        let before = *self;
        let rounded = self.round_int(op, rounding, true);
        let exponent = rounded.exp() as i32 - 1 + F::MIN_EXP;
        if exponent < width as i32 - 1 || rounded == least() {
            return rounded;
        }
        // Nothing that large is a denormal, and Inexact is not reported with Invalid Operation.
        *self = before;
        self.raise(fpsr::IOC);
        least()
    }

    /// "FPToFixedJS": JavaScript's ToInt32, the integral part modulo 2^32, and whether that is the
    /// operand's value: not for -0, and not for a denormal that was flushed to zero.
    pub fn to_fixed_js(&mut self, op: u64) -> (u32, bool) {
        let x = self.unpack(op);
        match x.kind {
            Kind::SNaN | Kind::QNaN | Kind::Infinity => {
                self.raise(fpsr::IOC);
                (0, false)
            }
            Kind::Zero => (0, op == 0),
            Kind::Number => {
                // However large it is: of a multiple of 2^32, no bit is left.
                let (int, rest) = x.real().in_units(0);
                let limit = (1 << 31) - u128::from(!x.sign);
                let fits = int <= limit;
                if !fits {
                    self.raise(fpsr::IOC);
                } else if rest.inexact() {
                    self.raise(fpsr::IXC);
                }
                let low = int as u32;
                let result = if x.sign { low.wrapping_neg() } else { low };
                (result, fits && !rest.inexact())
            }
        }
    }

    /// "FPToFixed": to an integer of `width` bits (at most 64) of which `fbits` are fraction bits.
    /// The result is in the low `width` bits, the others are zero. What does not fit saturates and
    /// is an invalid operation; a NaN becomes zero.
    pub fn to_fixed<F: Float>(
        &mut self,
        op: F,
        width: u32,
        fbits: u32,
        unsigned: bool,
        rounding: Rounding,
    ) -> u64 {
        let x = self.unpack(op);
        let mask = u64::MAX >> (64 - width);
        // Largest magnitudes of each sign.
        let (most, least) = match unsigned {
            true => (mask, 0),
            false => (mask >> 1, (mask >> 1) + 1),
        };
        let limit = if x.sign { least } else { most };
        let signed = |magnitude: u64| {
            mask & if x.sign {
                magnitude.wrapping_neg()
            } else {
                magnitude
            }
        };
        match x.kind {
            Kind::SNaN | Kind::QNaN => {
                self.raise(fpsr::IOC);
                0
            }
            Kind::Zero => 0,
            Kind::Infinity => {
                self.raise(fpsr::IOC);
                signed(limit)
            }
            Kind::Number => {
                let (int, rest) = x.real().in_units(-(fbits as i32));
                let int = int + u128::from(rest.rounds_up(rounding, x.sign, int));
                if int > u128::from(limit) {
                    self.raise(fpsr::IOC);
                    return signed(limit);
                }
                if rest.inexact() {
                    self.raise(fpsr::IXC);
                }
                signed(int as u64)
            }
        }
    }

    /// "FixedToFP": from the integer in the low `width` bits (at most 64) of `op`, of which
    /// `fbits` are fraction bits.
    pub fn from_fixed<F: Float>(
        &mut self,
        op: u64,
        width: u32,
        fbits: u32,
        unsigned: bool,
        rounding: Rounding,
    ) -> F {
        let top = 64 - width;
        let (sign, magnitude) = if unsigned {
            (false, op << top >> top)
        } else {
            let value = (op << top) as i64 >> top;
            (value < 0, value.unsigned_abs())
        };
        if magnitude == 0 {
            return F::zero(false);
        }
        let value = Real::exact(sign, magnitude.into(), -(fbits as i32));
        self.round_in(value, rounding)
    }
}
