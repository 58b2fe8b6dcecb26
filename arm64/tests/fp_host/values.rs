//! Operands for floating-point tests: biased towards the values at which something changes.

use understudy_arm64::fp::Float;

/// A small generator of pseudo-random numbers (xorshift64*); the tests must be repeatable.
pub struct Random(u64);

impl Random {
    /// A generator that starts at `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
    /// Any value of a format, special ones and their neighbours more often.
    pub fn value<F: Float>(&mut self) -> F {
        let sign = self.next() & 1 == 1;
        // A fraction of runs of ones and zeros, or any.
        let frac = match self.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(F::FRAC.into()),
            3 => u64::MAX << self.below(F::FRAC.into()),
            4 => self.next() & self.next() & self.next(),
            _ => self.next(),
        };
        let bias = F::EXP_MAX / 2;
        let exp = match self.below(16) {
            0 => 0,
            1 => F::EXP_MAX,
            2 => 1 + self.below(3),
            3 => F::EXP_MAX - 1 - self.below(3),
            4 => bias / 2 + self.below(4),
            5 => bias + bias / 2 + self.below(4),
            6..=9 => bias + self.below(6) - 3,
            10 => bias + self.below(68),
            11 => bias + self.below(u64::from(F::FRAC) + 4),
            12 => bias - self.below(u64::from(F::FRAC) + 4),
            _ => self.below(F::EXP_MAX + 1),
        };
        let value = F::pack(sign, exp, frac);
        match self.below(12) {
            0 => F::from_bits(value.bits() & F::SIGN),
            1 => F::from_bits(value.bits().wrapping_add(1)),
            2 => F::from_bits(value.bits().wrapping_sub(1)),
            _ => value,
        }
    }
    /// A value that has something to do with `other`: equal, opposite, a neighbour, or a number of
    /// a near exponent; or none at all.
    pub fn related<F: Float>(&mut self, other: F) -> F {
        let near = |offset: u64| F::from_bits(other.bits().wrapping_add(offset).wrapping_sub(4));
        match self.below(8) {
            0 => near(self.below(9)),
            1 => near(self.below(9)).neg(),
            2 => {
                let exp = other.exp().wrapping_add(self.below(9)).wrapping_sub(4);
                F::pack(self.next() & 1 == 1, exp, self.next())
            }
            3 => {
                // So that the product is near the ends of the range, or near one.
                let sum = [F::EXP_MAX / 2, F::EXP_MAX, F::EXP_MAX + F::EXP_MAX / 2];
                let sum = sum[self.below(3) as usize] + self.below(5) - 2;
                F::pack(
                    self.next() & 1 == 1,
                    sum.wrapping_sub(other.exp()),
                    self.next(),
                )
            }
            _ => self.value(),
        }
    }
}
