//! Generated operands: near the places where operations change what they do.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// A generator.
pub struct Values(SplitMix64);

impl Values {
    pub fn new(seed: u64) -> Values {
        Values(SplitMix64::seed_from_u64(seed))
    }

    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// A significand's fraction of `bits` bits.
    pub fn fraction(&mut self, bits: u32) -> u64 {
        let ones = (1u64 << bits) - 1;
        let top = 1u64 << (bits - 1);
        let random = self.bits();
        ones & match self.below(9) {
            0 => 0,
            1 => ones,
            2 => top,
            3 => 1 + self.below(3),
            4 => ones - self.below(3),
            5 => top.wrapping_add(self.below(3)).wrapping_sub(1),
            // A few bits, where sums end in ties.
            6 => 1 << self.below(bits.into()) | 1 << self.below(bits.into()),
            // The lower half empty: exact products.
            7 => random << (bits / 2),
            _ => random,
        }
    }

    /// An exponent field, of all ones at most.
    pub fn exponent(&mut self, ones: u64, bits: u32) -> u64 {
        let bias = ones >> 1;
        let random = self.bits();
        match self.below(10) {
            0 => 0,
            1 => ones,
            2 => 1 + self.below(3),
            3 => ones - 1 - self.below(3),
            4 => bias / 2 + self.below(5),
            5 => (bias + bias / 2 + self.below(5)).min(ones),
            6 => random % (ones + 1),
            7 => (bias + self.below(70)).min(ones),
            8 => self.below(u64::from(bits) + 2).min(ones),
            _ => (bias + 3 - self.below(7).min(bias)).min(ones),
        }
    }

    /// A value of a format with these numbers of bits.
    pub fn float(&mut self, exponent_bits: u32, fraction_bits: u32) -> u64 {
        let ones = (1 << exponent_bits) - 1;
        let exponent = self.exponent(ones, fraction_bits);
        let fraction = self.fraction(fraction_bits);
        let sign = self.bits() >> 63;
        sign << (exponent_bits + fraction_bits) | exponent << fraction_bits | fraction
    }

    /// Three values, of which the second is near the first now and then, and the third near minus
    /// their product.
    pub fn floats(&mut self, exponent_bits: u32, fraction_bits: u32) -> [u64; 3] {
        let ones = (1 << exponent_bits) - 1;
        let a = self.float(exponent_bits, fraction_bits);
        let mut b = self.float(exponent_bits, fraction_bits);
        let mut c = self.float(exponent_bits, fraction_bits);
        let exponent = a >> fraction_bits & ones;
        match self.below(5) {
            0 => {
                // The same exponent, or nearly.
                let near = (exponent + self.below(4))
                    .saturating_sub(self.below(4))
                    .min(ones);
                b = b & !(ones << fraction_bits) | near << fraction_bits;
            }
            1 => {
                b = (a ^ self.below(2) << (exponent_bits + fraction_bits))
                    .wrapping_add(self.below(3))
            }
            _ => {}
        }
        if self.below(2) == 0 {
            let sum = exponent + (b >> fraction_bits & ones) + self.below(3);
            let near = sum.saturating_sub(ones / 2 + self.below(2)).min(ones);
            c = c & !(ones << fraction_bits) | near << fraction_bits;
            if self.below(4) == 0 && fraction_bits == 52 {
                let product = -(f64::from_bits(a) * f64::from_bits(b));
                c = product.to_bits();
            }
        }
        [a, b, c].map(|value| value & (!0 >> (63 - exponent_bits - fraction_bits)))
    }

    /// An integer.
    pub fn integer(&mut self) -> u64 {
        let random = self.bits();
        let edge = 1u64 << self.below(64);
        match self.below(6) {
            0 => edge,
            1 => edge.wrapping_neg(),
            2 => edge.wrapping_add(self.below(3)).wrapping_sub(1),
            3 => 0,
            4 => random >> self.below(64),
            _ => random,
        }
    }

    /// A value of a format near an integer or the middle of two.
    pub fn near_integer(&mut self, exponent_bits: u32, fraction_bits: u32) -> u64 {
        let integer = self.integer() as i64;
        let halves = integer.wrapping_add(self.below(2) as i64) as f64 / 2.0;
        let step = self.below(3).wrapping_sub(1);
        if exponent_bits == 11 && fraction_bits == 52 {
            halves.to_bits().wrapping_add(step)
        } else {
            u64::from((halves as f32).to_bits().wrapping_add(step as u32))
        }
    }
}
