//! SM3TT1A, SM3TT1B, SM3TT2A, SM3TT2B, SM3PARTW1, SM3PARTW2: the steps of GB/T 32905-2016's SM3, one
//! round of half of the state, or four words of the schedule.

use super::sha1::{choose, majority, parity};
use crate::simd::{Lane, Operands};

/// The state's half `d` after a round: the second word rotated, and a new one on top.
fn round(
    o: &Operands,
    f: fn(u32, u32, u32) -> u32,
    addend: u32,
    rotation: u32,
    permute: fn(u32) -> u32,
) -> u128 {
    let [d, c, b, a] = u32::split(o.d);
    let w = u32::split(o.m)[o.imm as usize & 3];
    let sum = f(a, b, c)
        .wrapping_add(d)
        .wrapping_add(addend)
        .wrapping_add(w);
    u32::join([c, b.rotate_left(rotation), a, permute(sum)])
}

/// The round of a to d: what is added is SS2, from SS1 in `n`.
fn first(o: &Operands, f: fn(u32, u32, u32) -> u32) -> u128 {
    let (a, ss1) = (u32::split(o.d)[3], u32::split(o.n)[3]);
    round(o, f, ss1 ^ a.rotate_left(12), 9, |sum| sum)
}

/// The round of e to h: what is added is SS1 in `n`; the sum goes through P0.
fn second(o: &Operands, f: fn(u32, u32, u32) -> u32) -> u128 {
    let p0 = |x: u32| x ^ x.rotate_left(9) ^ x.rotate_left(17);
    round(o, f, u32::split(o.n)[3], 19, p0)
}

/// SM3TT1A: a to d, with FF of rounds 0 to 15. The immediate tells the schedule's word in `m`.
pub fn sm3tt1a(o: &mut Operands) -> u128 {
    first(o, parity)
}

/// SM3TT1B: a to d, with FF of rounds 16 to 63.
pub fn sm3tt1b(o: &mut Operands) -> u128 {
    first(o, majority)
}

/// SM3TT2A: e to h, with GG of rounds 0 to 15.
pub fn sm3tt2a(o: &mut Operands) -> u128 {
    second(o, parity)
}

/// SM3TT2B: e to h, with GG of rounds 16 to 63.
pub fn sm3tt2b(o: &mut Operands) -> u128 {
    second(o, choose)
}

/// The permutation P1.
fn p1(x: u32) -> u32 {
    x ^ x.rotate_left(15) ^ x.rotate_left(23)
}

/// SM3PARTW1: the first half of the schedule update.
pub fn sm3partw1(o: &mut Operands) -> u128 {
    let (known, m) = (u32::split(o.d ^ o.n), u32::split(o.m));
    let mut w = [0; 4];
    for i in 0..4 {
        // The last word needs the first of this very step.
        let before = if i < 3 { m[i + 1] } else { w[0] };
        w[i] = p1(known[i] ^ before.rotate_left(15));
    }
    u32::join(w)
}

/// SM3PARTW2: the second half of the schedule update.
pub fn sm3partw2(o: &mut Operands) -> u128 {
    let (d, n, m) = (u32::split(o.d), u32::split(o.n), u32::split(o.m));
    let more: [u32; 4] = std::array::from_fn(|i| n[i] ^ m[i].rotate_left(7));
    let mut w: [u32; 4] = std::array::from_fn(|i| d[i] ^ more[i]);
    // What SM3PARTW1 could not know of the first word.
    w[3] ^= p1(more[0].rotate_left(15));
    u32::join(w)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(f: fn(&mut Operands) -> u128, d: u128, n: u128, m: u128, imm: u32) -> u128 {
        f(&mut Operands {
            d,
            n,
            m,
            imm,
            ..Default::default()
        })
    }

    /// GB/T 32905's example "abc", hashed with the instructions as software uses them.
    #[test]
    fn hash_of_abc() {
        let mut words = vec![0u32; 16];
        (words[0], words[15]) = (0x6162_6380, 24);
        for i in (16..68).step_by(4) {
            let four = |at: usize| u32::join(words[at..at + 4].try_into().unwrap());
            // W[j-16] ^ W[j-9], the words from W[j-3] on, then W[j-13] and W[j-6].
            let known = run(sm3partw1, four(i - 16), four(i - 9), four(i - 4), 0);
            let next = run(sm3partw2, known, four(i - 6), four(i - 13), 0);
            words.extend(u32::split(next));
        }
        let start = [
            0x7380_166fu32,
            0x4914_b2b9,
            0x1724_42d7,
            0xda8a_0600,
            0xa96f_30bc,
            0x1631_38aa,
            0xe38d_ee4d,
            0xb0fb_0e4e,
        ];
        // The first word of each half is on top.
        let half = |at: usize| u32::join(std::array::from_fn(|i| start[at + 3 - i]));
        let (mut abcd, mut efgh) = (half(0), half(4));
        for j in 0..64 {
            let t: u32 = if j < 16 { 0x79cc_4519 } else { 0x7a87_9d8a };
            let (a, e) = ((abcd >> 96) as u32, (efgh >> 96) as u32);
            let ss1 = a
                .rotate_left(12)
                .wrapping_add(e)
                .wrapping_add(t.rotate_left(j as u32 % 32))
                .rotate_left(7);
            let ss1 = u128::from(ss1) << 96;
            let index = j % 4;
            let w = u32::join(words[j - index..][..4].try_into().unwrap());
            let w1 = u32::join(std::array::from_fn(|i| {
                words[j - index + i] ^ words[j - index + i + 4]
            }));
            let steps: [fn(&mut Operands) -> u128; 2] = if j < 16 {
                [sm3tt1a, sm3tt2a]
            } else {
                [sm3tt1b, sm3tt2b]
            };
            abcd = run(steps[0], abcd, ss1, w1, index as u32);
            efgh = run(steps[1], efgh, ss1, w, index as u32);
        }
        assert_eq!(
            [abcd ^ half(0), efgh ^ half(4)],
            [
                0x66c7_f0f4_62ee_edd9_d1f2_d46b_dc10_e4e2,
                0x4167_c487_5cf2_f7a2_297d_a02b_8f4b_a8e0
            ]
        );
    }
}
