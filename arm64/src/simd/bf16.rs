//! BFDOT and BFMMLA, whose arithmetic is a function of the operands alone: see [`crate::fp::bf16`].

use super::lane::{Lane, Operands};
use crate::fp::Float;
use crate::fp::bf16::{Bf16, dot_add};

/// The two values in a word, the first in its lower half.
fn pair(word: u32) -> [Bf16; 2] {
    [word, word >> 16].map(|half| Bf16::from_bits(half.into()))
}

/// BFDOT: each single of `d` gains the two products of the values in its place.
pub fn dot(o: &mut Operands) -> u128 {
    let (d, n, m) = (u32::split(o.d), u32::split(o.n), u32::split(o.m));
    u32::join(std::array::from_fn(|i| {
        dot_add(d[i], pair(n[i]), pair(m[i]))
    }))
}

/// BFMMLA, "BFMatMulAdd": `d`, of two rows of two singles, gains the product of `n`, of two rows of
/// four values, and the transpose of `m`, two values at a time.
pub fn matrix(o: &mut Operands) -> u128 {
    let (n, m) = (u32::split(o.n), u32::split(o.m));
    let mut d = u32::split(o.d);
    for (rows, n) in d.chunks_exact_mut(2).zip(n.chunks_exact(2)) {
        for (d, m) in rows.iter_mut().zip(m.chunks_exact(2)) {
            for (n, m) in n.iter().zip(m) {
                *d = dot_add(*d, pair(*n), pair(*m));
            }
        }
    }
    u32::join(d)
}
