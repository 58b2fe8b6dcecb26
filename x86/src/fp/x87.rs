//! What only the x87 has: scaling, taking apart, and remainders (SDM vol. 2, FSCALE, FXTRACT, FPREM,
//! FPREM1).

use super::round::Kind;
use super::{Env, F80, Float, ZE};
use understudy_engine::ieee::Real;

/// What a remainder instruction gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// The remainder, or a dividend that is smaller.
    pub value: F80,
    /// The low bits of the quotient; 0 where it is not complete.
    pub quotient: u64,
    /// Whether the instruction has to be repeated.
    pub partial: bool,
}

impl Remainder {
    const fn of(value: F80) -> Remainder {
        Remainder {
            value,
            quotient: 0,
            partial: false,
        }
    }
}

impl Env {
    /// `a` times 2 to the power of `b`, which is truncated.
    pub fn scale(&mut self, a: F80, b: F80) -> F80 {
        let (x, y) = (self.unpack(a), self.unpack(b));
        self.rounded_up = false;
        if let Some(nan) = self.not_a_number([&x, &y]) {
            return nan;
        }
        if y.is_infinite() {
            let invalid = if y.sign { x.is_infinite() } else { x.is_zero() };
            if invalid {
                return self.invalid();
            }
        }
        self.report_denormals([&x, &y]);
        if self.stopped() {
            return a;
        }
        match (x.kind, y.kind) {
            (Kind::Zero | Kind::Infinity, _) => a,
            (_, Kind::Infinity) if y.sign => F80::zero(x.sign),
            (_, Kind::Infinity) => F80::infinity(x.sign),
            _ => {
                // Beyond this, everything is too large or too small.
                const LIMIT: i32 = 0x1_8000;
                let magnitude = match y.exp {
                    0.. => LIMIT,
                    -127..0 => ((y.mant as u128) >> -y.exp).min(LIMIT as u128) as i32,
                    _ => 0,
                };
                let by = if y.is_zero() { 0 } else { magnitude };
                let value = x.real();
                self.round_full(Real {
                    exp: value.exp + if y.sign { -by } else { by },
                    ..value
                })
            }
        }
    }

    /// The exponent of a value, as a number, and its significand.
    pub fn extract(&mut self, a: F80) -> (F80, F80) {
        let x = self.unpack(a);
        self.rounded_up = false;
        if let Some(nan) = self.not_a_number([&x]) {
            return (nan, nan);
        }
        if x.is_zero() {
            self.raise(ZE);
            return (F80::infinity(true), a);
        }
        if x.is_infinite() {
            return (F80::infinity(false), a);
        }
        self.report_denormals([&x]);
        let lead = x.mant.leading_zeros();
        let exponent = x.exp + 63 - lead as i32;
        let mut exact = Env::x87(0x37f);
        let exponent = exact.from_signed(exponent.into());
        (exponent, F80::new(x.sign, 0x3fff, x.mant << lead))
    }

    /// `a` minus the largest multiple of `b` that is not above it, or the nearest one (`nearest`).
    pub fn remainder(&mut self, a: F80, b: F80, nearest: bool) -> Remainder {
        let (x, y) = (self.unpack(a), self.unpack(b));
        self.rounded_up = false;
        if let Some(nan) = self.not_a_number([&x, &y]) {
            return Remainder::of(nan);
        }
        if x.is_infinite() || y.is_zero() {
            return Remainder::of(self.invalid());
        }
        self.report_denormals([&x, &y]);
        if self.stopped() || x.is_zero() {
            return Remainder::of(a);
        }
        if y.is_infinite() {
            let value = self.round_full(x.real());
            return Remainder::of(value);
        }
        let (up, by) = (x.mant.leading_zeros(), y.mant.leading_zeros());
        let (dividend, divisor) = (u128::from(x.mant << up), u128::from(y.mant << by));
        let (exp, base) = (x.exp - up as i32, y.exp - by as i32);
        let distance = exp - base;
        if distance < -1 || distance < 0 && !nearest {
            let value = self.round_full(x.real());
            return Remainder::of(value);
        }
        let partial = distance >= 64;
        // As much of the quotient as is made at once.
        let bits = if partial {
            distance % 32 + 32
        } else {
            distance
        };
        // What is left is in units of 2^unit. A dividend of the smaller exponent stays as it is.
        let (unit, whole) = if bits < 0 {
            (exp, divisor << 1)
        } else {
            (exp - bits, divisor)
        };
        let shifted = dividend << bits.max(0);
        let (mut quotient, mut left, mut sign) = (shifted / whole, shifted % whole, x.sign);
        if nearest && !partial {
            let twice = left << 1;
            if twice > whole || twice == whole && quotient & 1 == 1 {
                left = whole - left;
                sign = !sign;
                quotient += 1;
            }
        }
        let value = if left == 0 {
            F80::zero(x.sign)
        } else {
            self.round_full(Real::exact(sign, left, unit))
        };
        Remainder {
            value,
            quotient: if partial { 0 } else { quotient as u64 },
            partial,
        }
    }
}
