//! Comparisons, minimum and maximum.

use super::round::Kind;
use super::{Comparison, Env, Float, IE};

impl Env {
    /// Compares. `signals`: a quiet NaN, too, is an invalid operation (COMISD and FCOM, not UCOMISD
    /// and FUCOM).
    pub fn compare<F: Float>(&mut self, a: F, b: F, signals: bool) -> Comparison {
        let (x, y) = (self.unpack(a), self.unpack(b));
        let mut ordered = true;
        for op in [&x, &y] {
            match op.kind {
                Kind::Quiet if !signals => ordered = false,
                Kind::Quiet | Kind::Signalling | Kind::Unsupported => {
                    ordered = false;
                    self.raise(IE);
                }
                _ => {}
            }
        }
        if !ordered {
            return Comparison::Unordered;
        }
        self.report_denormals([&x, &y]);
        if x.is_zero() && y.is_zero() {
            return Comparison::Equal;
        }
        if x.sign != y.sign {
            return if x.sign {
                Comparison::Less
            } else {
                Comparison::Greater
            };
        }
        // By infinity, then by the place of the leading bit, then by the bits from there.
        let key = |op: &super::round::Unpacked| {
            let lead = op.mant.leading_zeros() as i32;
            let number = op.kind == Kind::Number;
            (
                op.is_infinite(),
                number,
                if number { op.exp - lead } else { 0 },
                if number { op.mant << lead } else { 0 },
            )
        };
        let order = key(&x).cmp(&key(&y));
        Comparison::from(if x.sign { order.reverse() } else { order })
    }

    /// MINSD and its like: `b` unless `a` is less, also where one is not a number, which is an invalid
    /// operation.
    pub fn min<F: Float>(&mut self, a: F, b: F) -> F {
        self.either(a, b, Comparison::Less)
    }

    /// MAXSD and its like: `b` unless `a` is greater.
    pub fn max<F: Float>(&mut self, a: F, b: F) -> F {
        self.either(a, b, Comparison::Greater)
    }

    fn either<F: Float>(&mut self, a: F, b: F, first: Comparison) -> F {
        let found = self.compare(a, b, true);
        let chosen = if found == first { a } else { b };
        let x = self.unpack(chosen);
        if x.is_zero() {
            return F::zero(x.sign);
        }
        chosen
    }
}
