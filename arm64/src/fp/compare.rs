//! Comparison, maximum and minimum.

use core::cmp::Ordering;

use super::round::{Kind, Unpacked};
use super::{Comparison, Float, Fp, Rounding, fpsr};

/// Order two operands that are no NaNs.
fn order(x: &Unpacked, y: &Unpacked) -> Ordering {
    // By sign and magnitude; the top bit decides, then what follows it.
    fn key(v: &Unpacked) -> (i32, u64) {
        match v.kind {
            Kind::Zero => (i32::MIN, 0),
            Kind::Number => {
                let zeros = v.mant.leading_zeros();
                (v.exp - zeros as i32, v.mant << zeros)
            }
            _ => (i32::MAX, 0),
        }
    }
    let magnitude = key(x).cmp(&key(y));
    match (x.sign, y.sign) {
        _ if x.is_zero() && y.is_zero() => Ordering::Equal,
        (false, false) => magnitude,
        (true, true) => magnitude.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

impl Fp {
    /// "FPCompare". A quiet NaN is an invalid operation only if `signal_nans`.
    pub fn compare<F: Float>(&mut self, a: F, b: F, signal_nans: bool) -> Comparison {
        let (x, y) = (self.unpack(a), self.unpack(b));
        if x.is_nan() || y.is_nan() {
            if signal_nans || a.is_snan() || b.is_snan() {
                self.raise(fpsr::IOC);
            }
            return Comparison::Unordered;
        }
        order(&x, &y).into()
    }

    /// "FPCompareEQ": quiet NaNs compare silently.
    pub fn compare_eq<F: Float>(&mut self, a: F, b: F) -> bool {
        self.compare(a, b, false) == Comparison::Equal
    }

    /// "FPCompareGE": any NaN is an invalid operation.
    pub fn compare_ge<F: Float>(&mut self, a: F, b: F) -> bool {
        matches!(
            self.compare(a, b, true),
            Comparison::Greater | Comparison::Equal
        )
    }

    /// "FPCompareGT": any NaN is an invalid operation.
    pub fn compare_gt<F: Float>(&mut self, a: F, b: F) -> bool {
        self.compare(a, b, true) == Comparison::Greater
    }

    /// "FPMax": a NaN operand is the result.
    pub fn max<F: Float>(&mut self, a: F, b: F) -> F {
        self.extremum(a, b, Ordering::Greater, |x, y| x & y)
    }

    /// "FPMin": a NaN operand is the result.
    pub fn min<F: Float>(&mut self, a: F, b: F) -> F {
        self.extremum(a, b, Ordering::Less, |x, y| x | y)
    }

    /// "FPMaxNum": the number, if only one operand is a quiet NaN.
    pub fn max_num<F: Float>(&mut self, a: F, b: F) -> F {
        let (a, b) = replace_quiet_nan(a, b, F::infinity(true));
        self.max(a, b)
    }

    /// "FPMinNum": the number, if only one operand is a quiet NaN.
    pub fn min_num<F: Float>(&mut self, a: F, b: F) -> F {
        let (a, b) = replace_quiet_nan(a, b, F::infinity(false));
        self.min(a, b)
    }

    fn extremum<F: Float>(
        &mut self,
        a: F,
        b: F,
        first_wins: Ordering,
        zero_sign: fn(bool, bool) -> bool,
    ) -> F {
        let (x, y) = (self.unpack(a), self.unpack(b));
        if let Some(nan) = self.process_nans([a, b]) {
            return nan;
        }
        let chosen = if order(&x, &y) == first_wins { x } else { y };
        match chosen.kind {
            Kind::Infinity => F::infinity(chosen.sign),
            // Between two zeros the operation says which sign. A zero that won over a number
            // keeps its own, since the other sign can then only be the weaker one.
            Kind::Zero => F::zero(zero_sign(x.sign, y.sign)),
            _ => self.round_in(chosen.real(), Rounding::Zero),
        }
    }
}

/// If exactly one operand is a quiet NaN, put `identity` in its place.
fn replace_quiet_nan<F: Float>(a: F, b: F, identity: F) -> (F, F) {
    let quiet = |op: F| op.is_nan() && !op.is_snan();
    match (quiet(a), quiet(b)) {
        (true, false) => (identity, b),
        (false, true) => (a, identity),
        _ => (a, b),
    }
}
