//! SHA1C, SHA1P, SHA1M, SHA1H, SHA1SU0, SHA1SU1: four rounds of FIPS 180-4's SHA-1 a step.

use crate::simd::{Lane, Operands};
use std::ops::{BitAnd, BitOr, BitXor};

/// A word of a hash's state: of 32 bits, or of 64 in SHA-512.
pub(super) trait Bits:
    Copy + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self>
{
}
impl Bits for u32 {}
impl Bits for u64 {}

/// `SHAchoose`.
pub(super) fn choose<T: Bits>(x: T, y: T, z: T) -> T {
    ((y ^ z) & x) ^ z
}

/// `SHAmajority`.
pub(super) fn majority<T: Bits>(x: T, y: T, z: T) -> T {
    (x & y) | ((x | y) & z)
}

/// `SHAparity`.
pub(super) fn parity(x: u32, y: u32, z: u32) -> u32 {
    x ^ y ^ z
}

fn rounds(o: &Operands, f: fn(u32, u32, u32) -> u32) -> u128 {
    let [mut a, mut b, mut c, mut d] = u32::split(o.d);
    let mut e = o.n as u32;
    for w in u32::split(o.m) {
        let t = e
            .wrapping_add(a.rotate_left(5))
            .wrapping_add(f(b, c, d))
            .wrapping_add(w);
        (a, b, c, d, e) = (t, a, b.rotate_left(30), c, d);
    }
    u32::join([a, b, c, d])
}

/// SHA1C: four rounds with the choose function; `d` is a, b, c, d, the low word of `n` is e, `m`
/// the schedule with its constants added.
pub fn sha1c(o: &mut Operands) -> u128 {
    rounds(o, choose)
}

/// SHA1P: four rounds with the parity function.
pub fn sha1p(o: &mut Operands) -> u128 {
    rounds(o, parity)
}

/// SHA1M: four rounds with the majority function.
pub fn sha1m(o: &mut Operands) -> u128 {
    rounds(o, majority)
}

/// SHA1H: the fixed rotate.
pub fn sha1h(o: &mut Operands) -> u128 {
    u128::from((o.n as u32).rotate_left(30))
}

/// SHA1SU0: the first half of the schedule update.
pub fn sha1su0(o: &mut Operands) -> u128 {
    o.d ^ ((o.n << 64) | (o.d >> 64)) ^ o.m
}

/// SHA1SU1: the second half of the schedule update.
pub fn sha1su1(o: &mut Operands) -> u128 {
    let mut w = u32::split(o.d ^ (o.n >> 32)).map(|t| t.rotate_left(1));
    w[3] ^= w[0].rotate_left(1);
    u32::join(w)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(f: fn(&mut Operands) -> u128, d: u128, n: u128, m: u128) -> u128 {
        f(&mut Operands {
            d,
            n,
            m,
            ..Default::default()
        })
    }

    /// FIPS 180's example "abc", hashed with the instructions as software uses them.
    #[test]
    fn hash_of_abc() {
        let mut schedule: Vec<u128> = [[0x6162_6380, 0, 0, 0], [0; 4], [0; 4], [0, 0, 0, 0x18]]
            .map(u32::join)
            .to_vec();
        for i in 4..20 {
            let w = &schedule[i - 4..];
            let half = run(sha1su0, w[0], w[1], w[2]);
            schedule.push(run(sha1su1, half, w[3], 0));
        }
        let start = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
        let (mut abcd, mut e) = (u32::join(start), 0xc3d2_e1f0u128);
        for (i, w) in schedule.iter().enumerate() {
            let (k, f): (u32, fn(&mut Operands) -> u128) = match i / 5 {
                0 => (0x5a82_7999, sha1c),
                1 => (0x6ed9_eba1, sha1p),
                2 => (0x8f1b_bcdc, sha1m),
                _ => (0xca62_c1d6, sha1p),
            };
            let wk = u32::join(u32::split(*w).map(|w| w.wrapping_add(k)));
            let next = run(sha1h, 0, abcd, 0);
            (abcd, e) = (run(f, abcd, e, wk), next);
        }
        let got = u32::split(abcd);
        let sum: [u32; 4] = std::array::from_fn(|i| got[i].wrapping_add(start[i]));
        assert_eq!(sum, [0xa999_3e36, 0x4706_816a, 0xba3e_2571, 0x7850_c26c]);
        assert_eq!((e as u32).wrapping_add(0xc3d2_e1f0), 0x9cd0_d89d);
    }
}
