//! Conversions: between formats, to and from integers, and to integral values.

use super::round::Kind;
use super::{Env, F80, Float, IE, PE, Rounding, Unit};
use understudy_engine::ieee::{Real, Rest};

impl Env {
    /// From one format to another. A NaN keeps the upper bits of its significand, and becomes quiet.
    ///
    /// Denormals are reported by SSE, but for those of binary16, and by the x87 where it loads; but
    /// that does not keep it from loading.
    pub fn convert<A: Float, B: Float>(&mut self, op: A) -> B {
        let x = self.unpack(op);
        self.rounded_up = false;
        match x.kind {
            Kind::Unsupported => self.invalid(),
            Kind::Quiet | Kind::Signalling => {
                if x.kind == Kind::Signalling {
                    self.raise(IE);
                }
                let top = x.mant << (63 - A::FRACTION) >> (63 - B::FRACTION);
                B::from_fields(x.sign, B::EXPONENT_MAX, top | B::LEADING | B::QUIET)
            }
            Kind::Infinity => B::infinity(x.sign),
            Kind::Zero => B::zero(x.sign),
            Kind::Number => {
                if self.unit == Unit::Sse || B::EXTENDED {
                    self.report_denormals([&x]);
                }
                if self.stopped() && self.unit == Unit::Sse {
                    return B::zero(false);
                }
                self.round_full(x.real())
            }
        }
    }

    /// An operand of the x87 in memory as its 80 bits, exactly; a NaN stays of its kind. That it is a
    /// denormal is reported by the operation itself, if it gets to that.
    pub fn extend<F: Float>(&mut self, op: F) -> F80 {
        let x = self.unpack(op);
        self.extended_denormal = x.denormal;
        let lead = x.mant.leading_zeros();
        match x.kind {
            Kind::Zero => F80::zero(x.sign),
            Kind::Infinity => F80::infinity(x.sign),
            Kind::Number => {
                let exponent = x.exp + 63 - lead as i32 + F80::BIAS;
                F80::new(x.sign, exponent as u16, x.mant << lead)
            }
            _ => F80::new(x.sign, 0x7fff, x.mant << lead),
        }
    }

    /// The nearest integral value in this rounding mode (ROUNDSD, FRNDINT). Only the x87 reports
    /// denormals.
    pub fn round_int<F: Float>(&mut self, op: F, rounding: Rounding) -> F {
        let x = self.unpack(op);
        if let Some(nan) = self.not_a_number([&x]) {
            return nan;
        }
        if self.unit == Unit::X87 {
            self.report_denormals([&x]);
        }
        self.rounded_up = false;
        match x.kind {
            _ if self.stopped() => op,
            Kind::Zero => F::zero(x.sign),
            Kind::Number if x.exp < 0 => {
                let (int, rest) = x.real().in_units(0);
                let up = rest.rounds_up(rounding, x.sign, int);
                let mant = int + u128::from(up);
                if rest.inexact() {
                    self.raise(PE);
                    self.rounded_up = up;
                }
                if mant == 0 {
                    return F::zero(x.sign);
                }
                // It is exact.
                let mut exact = Env { flags: 0, ..*self };
                exact.round_full(Real::exact(x.sign, mant, 0))
            }
            _ => op,
        }
    }

    /// To a signed integer of `width` bits, 16, 32 or 64, sign-extended. What does not fit is an
    /// invalid operation, which gives the integer indefinite: the most negative one.
    pub fn to_signed<F: Float>(&mut self, op: F, width: u32, rounding: Rounding) -> i64 {
        let half = 1u128 << (width - 1);
        let indefinite = (half as u64 as i64).wrapping_neg();
        match self.magnitude(op, rounding) {
            Some((sign, int, rest, up)) if int < half + u128::from(sign) => {
                self.report_rest(rest, up);
                let int = int as u64 as i64;
                if sign { int.wrapping_neg() } else { int }
            }
            _ => {
                self.raise(IE);
                indefinite
            }
        }
    }

    /// To an unsigned integer below `limit`, with its sign (FBSTP). None, an invalid operation, where
    /// it does not fit.
    pub fn to_magnitude<F: Float>(&mut self, op: F, limit: u64) -> Option<(bool, u64)> {
        match self.magnitude(op, self.rounding) {
            Some((sign, int, rest, up)) if int < u128::from(limit) => {
                self.report_rest(rest, up);
                Some((sign, int as u64))
            }
            _ => {
                self.raise(IE);
                None
            }
        }
    }

    fn report_rest(&mut self, rest: Rest, up: bool) {
        self.rounded_up = up;
        if rest.inexact() {
            self.raise(PE);
        }
    }

    /// The sign and the rounded magnitude of a finite value; any from 2^64 on for one that is as large.
    fn magnitude<F: Float>(
        &mut self,
        op: F,
        rounding: Rounding,
    ) -> Option<(bool, u128, Rest, bool)> {
        let x = self.unpack(op);
        self.rounded_up = false;
        match x.kind {
            Kind::Zero => Some((x.sign, 0, Rest::Zero, false)),
            Kind::Number => {
                let (int, rest) = x.real().in_units(0);
                let up = rest.rounds_up(rounding, x.sign, int);
                Some((x.sign, int + u128::from(up), rest, up))
            }
            _ => None,
        }
    }

    /// From a signed integer.
    pub fn from_signed<F: Float>(&mut self, value: i64) -> F {
        self.from_magnitude(value < 0, value.unsigned_abs())
    }

    /// From a sign and a magnitude. Zero is positive, if it has not the sign.
    pub fn from_magnitude<F: Float>(&mut self, sign: bool, magnitude: u64) -> F {
        self.rounded_up = false;
        if magnitude == 0 {
            return F::zero(sign);
        }
        self.round_full(Real::exact(sign, magnitude.into(), 0))
    }
}
