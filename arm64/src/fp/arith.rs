//! Arithmetic: addition to fused multiply-add.

use super::round::Kind;
use super::{Float, Fp, Rounding, fpsr};
use understudy_engine::ieee::Real;

impl Fp {
    /// "FPAdd": `a + b`.
    #[inline]
    pub fn add<F: Float>(&mut self, a: F, b: F) -> F {
        match F::host_add(self, a, b) {
            Some(sum) => sum,
            None => self.soft_add(a, b),
        }
    }

    /// "FPSub": `a - b`. The sign of `b` is part of the subtraction, not of a NaN in `b`.
    #[inline]
    pub fn sub<F: Float>(&mut self, a: F, b: F) -> F {
        if b.is_nan() {
            self.soft_add(a, b)
        } else {
            self.add(a, b.neg())
        }
    }

    /// "FPMul": `a * b`.
    #[inline]
    pub fn mul<F: Float>(&mut self, a: F, b: F) -> F {
        match F::host_mul(self, a, b) {
            Some(product) => product,
            None => self.soft_mul(a, b, false),
        }
    }

    /// "FPMulX": `a * b`, but zero times infinity is two.
    #[inline]
    pub fn mulx<F: Float>(&mut self, a: F, b: F) -> F {
        match F::host_mul(self, a, b) {
            Some(product) => product,
            None => self.soft_mul(a, b, true),
        }
    }

    /// "FPDiv": `a / b`.
    #[inline]
    pub fn div<F: Float>(&mut self, a: F, b: F) -> F {
        match F::host_div(self, a, b) {
            Some(quotient) => quotient,
            None => self.soft_div(a, b),
        }
    }

    /// "FPSqrt": the square root of `a`.
    #[inline]
    pub fn sqrt<F: Float>(&mut self, a: F) -> F {
        match F::host_sqrt(self, a) {
            Some(root) => root,
            None => self.soft_sqrt(a),
        }
    }

    /// "FPMulAdd": `addend + a * b`, rounded once.
    #[inline]
    pub fn mul_add<F: Float>(&mut self, addend: F, a: F, b: F) -> F {
        match F::host_mul_add(self, addend, a, b) {
            Some(sum) => sum,
            None => self.soft_mul_add(addend, a, b),
        }
    }

    /// "FPMulAddH": `addend + a * b` for halves `a` and `b`, rounded once.
    pub fn mul_add_half(&mut self, addend: u32, a: u16, b: u16) -> u32 {
        // A single holds the value of each half, and the payload of each NaN, as a normal number.
        let (a, b) = (self.half_as_single(a), self.half_as_single(b));
        self.mul_add(addend, a, b)
    }

    /// The same as a single; a signalling NaN stays one.
    fn half_as_single(&mut self, op: u16) -> u32 {
        let x = self.unpack(op);
        match x.kind {
            Kind::Zero => u32::zero(x.sign),
            Kind::Number => self.round_in(x.real(), Rounding::Zero),
            Kind::Infinity | Kind::QNaN | Kind::SNaN => {
                let frac = op.frac() << (u32::FRAC - u16::FRAC);
                u32::pack(x.sign, u32::EXP_MAX, frac)
            }
        }
    }

    pub(super) fn soft_add<F: Float>(&mut self, a: F, b: F) -> F {
        let (x, y) = (self.unpack(a), self.unpack(b));
        if let Some(nan) = self.process_nans([a, b]) {
            return nan;
        }
        match (x.is_inf(), y.is_inf()) {
            (true, true) if x.sign != y.sign => self.invalid(),
            (true, _) => F::infinity(x.sign),
            (_, true) => F::infinity(y.sign),
            _ if x.is_zero() && y.is_zero() && x.sign == y.sign => F::zero(x.sign),
            _ => self.round_sum(x.real().sum(y.real())),
        }
    }

    pub(super) fn soft_mul<F: Float>(&mut self, a: F, b: F, extended: bool) -> F {
        let (x, y) = (self.unpack(a), self.unpack(b));
        if let Some(nan) = self.process_nans([a, b]) {
            return nan;
        }
        let sign = x.sign != y.sign;
        match (x.is_inf() || y.is_inf(), x.is_zero() || y.is_zero()) {
            (true, true) if extended => F::two(sign),
            (true, true) => self.invalid(),
            (true, false) => F::infinity(sign),
            (false, true) => F::zero(sign),
            (false, false) => self.round(x.real().product(y.real())),
        }
    }

    pub(super) fn soft_div<F: Float>(&mut self, a: F, b: F) -> F {
        let (x, y) = (self.unpack(a), self.unpack(b));
        if let Some(nan) = self.process_nans([a, b]) {
            return nan;
        }
        let sign = x.sign != y.sign;
        if x.is_inf() && y.is_inf() || x.is_zero() && y.is_zero() {
            return self.invalid();
        }
        if x.is_inf() || y.is_zero() {
            if !x.is_inf() {
                self.raise(fpsr::DZC);
            }
            return F::infinity(sign);
        }
        if x.is_zero() || y.is_inf() {
            return F::zero(sign);
        }
        self.round(x.real().quotient(y.real()))
    }

    pub(super) fn soft_sqrt<F: Float>(&mut self, a: F) -> F {
        let x = self.unpack(a);
        if let Some(nan) = self.process_nans([a]) {
            return nan;
        }
        if x.is_zero() {
            return F::zero(x.sign);
        }
        if x.sign {
            return self.invalid();
        }
        if x.is_inf() {
            return F::infinity(false);
        }
        self.round(x.real().square_root())
    }

    pub(super) fn soft_mul_add<F: Float>(&mut self, addend: F, a: F, b: F) -> F {
        let (z, x, y) = (self.unpack(addend), self.unpack(a), self.unpack(b));
        let inf_times_zero = x.is_inf() && y.is_zero() || x.is_zero() && y.is_inf();
        if let Some(nan) = self.process_nans([addend, a, b]) {
            if addend.is_nan() && !addend.is_snan() && inf_times_zero {
                return self.invalid();
            }
            return nan;
        }
        let sign = x.sign != y.sign;
        let inf = x.is_inf() || y.is_inf();
        if inf_times_zero || z.is_inf() && inf && z.sign != sign {
            return self.invalid();
        }
        if z.is_inf() {
            return F::infinity(z.sign);
        }
        if inf {
            return F::infinity(sign);
        }
        if z.is_zero() && (x.is_zero() || y.is_zero()) && z.sign == sign {
            return F::zero(sign);
        }
        self.round_sum(z.real().sum(x.real().product(y.real())))
    }

    /// "FPRecipStepFused": `2.0 - a * b`, rounded once; FRECPS.
    pub fn recip_step_fused<F: Float>(&mut self, a: F, b: F) -> F {
        let two = Real::exact(false, 2, 0);
        self.step_fused(a, b, F::two(false), two, 0)
    }

    /// "FPRSqrtStepFused": `(3.0 - a * b) / 2.0`, rounded once; FRSQRTS.
    pub fn rsqrt_step_fused<F: Float>(&mut self, a: F, b: F) -> F {
        let three = Real::exact(false, 3, 0);
        self.step_fused(a, b, F::one_point_five(false), three, 1)
    }

    /// `(constant - a * b) / 2^halvings`, or `undefined` for zero times infinity.
    fn step_fused<F: Float>(
        &mut self,
        a: F,
        b: F,
        undefined: F,
        constant: Real,
        halvings: i32,
    ) -> F {
        let a = a.neg();
        let (x, y) = (self.unpack(a), self.unpack(b));
        if let Some(nan) = self.process_nans([a, b]) {
            return nan;
        }
        match (x.is_inf() || y.is_inf(), x.is_zero() || y.is_zero()) {
            (true, true) => undefined,
            (true, false) => F::infinity(x.sign != y.sign),
            _ => {
                let sum = constant.sum(x.real().product(y.real()));
                self.round_sum(Real {
                    exp: sum.exp - halvings,
                    ..sum
                })
            }
        }
    }
}
