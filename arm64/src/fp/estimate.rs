//! Reciprocal and reciprocal square root estimates: the results are defined to the bit.

use super::round::Kind;
use super::{Float, Fp, fpsr};
use crate::simd::estimate::{recip_estimate, recip_sqrt_estimate};

impl Fp {
    /// "FPRecipEstimate": FRECPE.
    pub fn recip_estimate<F: Float>(&mut self, op: F) -> F {
        let x = self.unpack(op);
        match x.kind {
            Kind::SNaN | Kind::QNaN => return self.process_nan(op),
            Kind::Infinity => return F::zero(x.sign),
            Kind::Zero => {
                self.raise(fpsr::DZC);
                return F::infinity(x.sign);
            }
            Kind::Number => {}
        }
        let exponent = x.real().exponent();
        // Below 2^(MIN_EXP - 2), the reciprocal is beyond every normal number.
        if exponent < F::MIN_EXP - 2 {
            self.raise(fpsr::OFC | fpsr::IXC);
            return if self.rounding_mode().overflows_to_infinity(x.sign) {
                F::infinity(x.sign)
            } else {
                F::max_normal(x.sign)
            };
        }
        // From 2^-MIN_EXP on, it is a denormal.
        if self.flushes::<F>() && exponent >= -F::MIN_EXP {
            self.raise(fpsr::UFC);
            return F::zero(x.sign);
        }
        // The operand is 2^exponent * 1.fraction; with eight bits of the fraction, its half in
        // [0.5, 1.0) has nine.
        let scaled = (x.mant << x.mant.leading_zeros() >> 55) as u32;
        let estimate = u64::from(recip_estimate(scaled));
        // The result, before its denormals, is 2^(-1 - exponent) * estimate / 256.
        let biased = -1 - exponent - F::MIN_EXP + 1;
        let frac = (estimate & 0xff) << (F::FRAC - 8);
        match biased {
            // A denormal: its leading bit becomes explicit.
            ..=0 => F::pack(x.sign, 0, (frac | 1 << F::FRAC) >> (1 - biased)),
            _ => F::pack(x.sign, biased as u64, frac),
        }
    }

    /// "FPRSqrtEstimate": FRSQRTE.
    pub fn rsqrt_estimate<F: Float>(&mut self, op: F) -> F {
        let x = self.unpack(op);
        match x.kind {
            Kind::SNaN | Kind::QNaN => return self.process_nan(op),
            Kind::Zero => {
                self.raise(fpsr::DZC);
                return F::infinity(x.sign);
            }
            _ if x.sign => return self.invalid(),
            Kind::Infinity => return F::zero(false),
            Kind::Number => {}
        }
        let zeros = x.mant.leading_zeros();
        let exponent = x.exp + 63 - zeros as i32;
        let top = (x.mant << zeros >> 55) as u32;
        // The operand as 2^even * s, with s in [0.25, 1.0) in units of 1/512.
        let (scaled, even) = if exponent % 2 == 0 {
            (top >> 1, exponent + 2)
        } else {
            (top, exponent + 1)
        };
        let estimate = u64::from(recip_sqrt_estimate(scaled));
        // The result is 2^(-even / 2) * estimate / 256, never a denormal.
        let biased = -even / 2 - F::MIN_EXP + 1;
        F::pack(false, biased as u64, (estimate & 0xff) << (F::FRAC - 8))
    }

    /// "FPRecpX": FRECPX, a number of the operand's sign near its reciprocal's exponent.
    pub fn recpx<F: Float>(&mut self, op: F) -> F {
        let x = self.unpack(op);
        if x.is_nan() {
            return self.process_nan(op);
        }
        match op.exp() {
            0 => F::pack(x.sign, F::EXP_MAX - 1, 0),
            exp => F::pack(x.sign, !exp, 0),
        }
    }
}
