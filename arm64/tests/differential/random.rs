//! Reproducible random operands, rich in the values at which arithmetic changes its ways.

use super::runner::{DATA, State};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// A generator of them.
pub struct Random(SplitMix64);

impl Random {
    /// A sequence for this seed.
    pub fn new(seed: u64) -> Random {
        Random(SplitMix64::seed_from_u64(seed))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// An integer of `bits` bits: often one at or near a border.
    fn integer(&mut self, bits: u32) -> u64 {
        let all = u64::MAX >> (64 - bits);
        let value = match self.below(8) {
            0 => 0,
            1 => all,
            2 => 1 << (bits - 1),
            3 => all >> 1,
            4 => 1 << self.below(bits.into()),
            // Small, of either sign: shift amounts, table indices.
            5 => self.below(160).wrapping_sub(80),
            _ => self.bits(),
        };
        value & all
    }

    /// A floating-point number of `bits` bits (16, 32, 64): often zero, infinite, not a number,
    /// subnormal, near one, or of an exponent that overflows in a product.
    fn float(&mut self, bits: u32) -> u64 {
        let fraction = match bits {
            16 => 10,
            32 => 23,
            _ => 52,
        };
        let exponents = (1u64 << (bits - fraction - 1)) - 1;
        let exponent = match self.below(10) {
            0 => 0,
            1 => exponents,
            2 => exponents - 1 - self.below(3),
            3 => self.below(fraction as u64 + 2),
            4..=7 => {
                exponents / 2 + self.below(8) - 4 + self.below(2) * self.below(fraction as u64 + 8)
            }
            _ => self.below(exponents + 1),
        };
        let mask = (1u64 << fraction) - 1;
        let fraction_bits = match self.below(5) {
            0 => 0,
            1 => mask,
            2 => 1 << self.below(fraction as u64),
            _ => self.bits() & mask,
        };
        self.below(2) << (bits - 1) | (exponent & exponents) << fraction | fraction_bits
    }

    /// A vector whose elements are of one size and kind.
    fn vector(&mut self) -> u128 {
        let size = 8 << self.below(4);
        let floats = size > 8 && self.below(3) == 0;
        let same = (self.below(8) == 0).then(|| self.integer(size));
        (0..128 / size).fold(0, |v, i| {
            let element = match same {
                Some(element) => element,
                None if floats => self.float(size),
                None => self.integer(size),
            };
            v | u128::from(element) << (size * i)
        })
    }

    /// A vector with the elements of another, some of them changed in the top bit or by a little.
    fn related(&mut self, other: u128) -> u128 {
        let size = 8 << self.below(4);
        (0..128 / size).fold(0, |v, i| {
            let all = u64::MAX >> (64 - size);
            let element = (other >> (size * i)) as u64;
            let element = match self.below(4) {
                0 => element,
                1 => element ^ 1 << (size - 1),
                2 => element.wrapping_add(self.below(9)).wrapping_sub(4),
                _ => (element ^ 1 << (size - 1))
                    .wrapping_add(self.below(9))
                    .wrapping_sub(4),
            };
            v | u128::from(element & all) << (size * i)
        })
    }
}

/// A state to start from. With `memory`, half of the general registers are addresses well inside
/// the data and the others small offsets.
pub fn state(r: &mut Random, memory: bool) -> State {
    let mut x = std::array::from_fn(|_| {
        if r.below(2) == 0 {
            r.integer(64)
        } else {
            r.integer(32)
        }
    });
    let mut sp = 0x7000_0000;
    if memory {
        let aligned = r.below(2) == 0;
        let mut address = || {
            let offset = r.below(0x8000) & if aligned { !15 } else { !0 };
            DATA + 0x1_0000 + offset
        };
        sp = address() & !15;
        x = std::array::from_fn(|_| address());
        for x in &mut x {
            match r.below(6) {
                0 => *x = r.below(256),
                1 => *x = r.below(256).wrapping_neg(),
                2 => *x = r.integer(64),
                _ => {}
            }
        }
    }
    // Rounding modes, flush to zero, default NaN; never traps.
    let fpcr = if r.below(2) == 0 {
        0
    } else {
        r.bits() & 0x07c8_0000
    };
    State {
        x,
        sp,
        pc: 0,
        nzcv: r.bits() & 0xf000_0000,
        fpcr,
        fpsr: if r.below(2) == 0 {
            0
        } else {
            r.bits() & 0x0800_009f
        },
        signal: memory.into(),
        address: 0,
        changed: 0,
        window: [0; 8],
        v: vectors(r),
    }
}

/// The vector registers. A third of them have to do with the one before: elements are the same,
/// or opposite numbers, or neighbours.
fn vectors(r: &mut Random) -> [u128; 32] {
    let mut v = std::array::from_fn(|_| r.vector());
    for n in 0..32 {
        if r.below(3) == 0 {
            v[n] = r.related(v[(n + 31) % 32]);
        }
    }
    v
}
