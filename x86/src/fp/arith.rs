//! Sums, products, quotients, roots, and the fused multiply-add.

use super::{Env, Float, IE, ZE};

impl Env {
    /// `a + b`.
    #[inline(always)]
    pub fn add<F: Float>(&mut self, a: F, b: F) -> F {
        match F::host_add(self, a, b) {
            Some(sum) => sum,
            None => self.soft_add(a, b, false),
        }
    }

    /// `a - b`. A NaN keeps its sign.
    #[inline(always)]
    pub fn sub<F: Float>(&mut self, a: F, b: F) -> F {
        match F::host_sub(self, a, b) {
            Some(difference) => difference,
            None => self.soft_add(a, b, true),
        }
    }

    /// `a * b`.
    #[inline(always)]
    pub fn mul<F: Float>(&mut self, a: F, b: F) -> F {
        match F::host_mul(self, a, b) {
            Some(product) => product,
            None => self.soft_mul(a, b),
        }
    }

    /// `a / b`.
    #[inline(always)]
    pub fn div<F: Float>(&mut self, a: F, b: F) -> F {
        match F::host_div(self, a, b) {
            Some(quotient) => quotient,
            None => self.soft_div(a, b),
        }
    }

    /// The square root of `a`.
    #[inline(always)]
    pub fn sqrt<F: Float>(&mut self, a: F) -> F {
        match F::host_sqrt(self, a) {
            Some(root) => root,
            None => self.soft_sqrt(a),
        }
    }

    /// `a * b + c`, rounded once, with `a * b` or `c` negated on request (FMA3's four operations).
    /// Of NaNs the first in this order is given, with its own sign.
    #[inline(always)]
    pub fn mul_add<F: Float>(&mut self, a: F, b: F, c: F, negate: (bool, bool)) -> F {
        if negate == (false, false)
            && let Some(sum) = F::host_mul_add(self, a, b, c)
        {
            return sum;
        }
        self.soft_mul_add(a, b, c, negate)
    }

    #[cold]
    #[inline(never)]
    fn soft_add<F: Float>(&mut self, a: F, b: F, subtract: bool) -> F {
        let (x, mut y) = (self.unpack(a), self.unpack(b));
        if let Some(nan) = self.not_a_number([&x, &y]) {
            return nan;
        }
        y.sign ^= subtract;
        if x.is_infinite() && y.is_infinite() && x.sign != y.sign {
            return self.invalid();
        }
        self.report_denormals([&x, &y]);
        if self.stopped() {
            return F::zero(false);
        }
        self.rounded_up = false;
        match (x.is_infinite(), y.is_infinite()) {
            (true, _) => F::infinity(x.sign),
            (_, true) => F::infinity(y.sign),
            _ if x.is_zero() && y.is_zero() && x.sign == y.sign => F::zero(x.sign),
            _ => self.round_sum(x.real().sum(y.real())),
        }
    }

    #[cold]
    #[inline(never)]
    fn soft_mul<F: Float>(&mut self, a: F, b: F) -> F {
        let (x, y) = (self.unpack(a), self.unpack(b));
        if let Some(nan) = self.not_a_number([&x, &y]) {
            return nan;
        }
        let (infinite, zero) = (
            x.is_infinite() || y.is_infinite(),
            x.is_zero() || y.is_zero(),
        );
        if infinite && zero {
            return self.invalid();
        }
        self.report_denormals([&x, &y]);
        if self.stopped() {
            return F::zero(false);
        }
        self.rounded_up = false;
        let sign = x.sign != y.sign;
        if infinite {
            F::infinity(sign)
        } else if zero {
            F::zero(sign)
        } else {
            self.round(x.real().product(y.real()))
        }
    }

    #[cold]
    #[inline(never)]
    fn soft_div<F: Float>(&mut self, a: F, b: F) -> F {
        let (x, y) = (self.unpack(a), self.unpack(b));
        if let Some(nan) = self.not_a_number([&x, &y]) {
            return nan;
        }
        let sign = x.sign != y.sign;
        if x.is_infinite() && y.is_infinite() || x.is_zero() && y.is_zero() {
            return self.invalid();
        }
        if y.is_zero() && !x.is_infinite() {
            self.raise(ZE);
        } else {
            self.report_denormals([&x, &y]);
        }
        if self.stopped() {
            return F::zero(false);
        }
        self.rounded_up = false;
        if x.is_infinite() || y.is_zero() {
            return F::infinity(sign);
        }
        if x.is_zero() || y.is_infinite() {
            return F::zero(sign);
        }
        self.round(x.real().quotient(y.real()))
    }

    #[cold]
    #[inline(never)]
    fn soft_sqrt<F: Float>(&mut self, a: F) -> F {
        let x = self.unpack(a);
        if let Some(nan) = self.not_a_number([&x]) {
            return nan;
        }
        self.rounded_up = false;
        if x.is_zero() {
            return F::zero(x.sign);
        }
        if x.sign {
            return self.invalid();
        }
        self.report_denormals([&x]);
        if self.stopped() {
            return F::zero(false);
        }
        if x.is_infinite() {
            return F::infinity(false);
        }
        self.round(x.real().square_root())
    }

    #[cold]
    #[inline(never)]
    fn soft_mul_add<F: Float>(&mut self, a: F, b: F, c: F, negate: (bool, bool)) -> F {
        let (mut x, y, mut z) = (self.unpack(a), self.unpack(b), self.unpack(c));
        let meaningless = x.is_infinite() && y.is_zero() || x.is_zero() && y.is_infinite();
        if let Some(nan) = self.not_a_number([&x, &y, &z]) {
            return nan;
        }
        x.sign ^= negate.0;
        z.sign ^= negate.1;
        let sign = x.sign != y.sign;
        let infinite = x.is_infinite() || y.is_infinite();
        if meaningless || z.is_infinite() && infinite && z.sign != sign {
            self.raise(IE);
            return F::indefinite();
        }
        self.report_denormals([&x, &y, &z]);
        if self.stopped() {
            return F::zero(false);
        }
        self.rounded_up = false;
        if z.is_infinite() {
            return F::infinity(z.sign);
        }
        if infinite {
            return F::infinity(sign);
        }
        let zero = x.is_zero() || y.is_zero();
        if z.is_zero() && zero && z.sign == sign {
            return F::zero(sign);
        }
        self.round_sum(x.real().product(y.real()).sum(z.real()))
    }
}
