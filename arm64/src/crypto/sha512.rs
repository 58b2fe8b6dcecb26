//! SHA512H, SHA512H2, SHA512SU0, SHA512SU1: two rounds of FIPS 180-4's SHA-512 a step.

use super::sha1::{choose, majority};
use crate::simd::{Lane, Operands};

/// FIPS 180-4's Σ1.
fn big_sigma1(x: u64) -> u64 {
    x.rotate_right(14) ^ x.rotate_right(18) ^ x.rotate_right(41)
}

/// FIPS 180-4's Σ0.
fn big_sigma0(x: u64) -> u64 {
    x.rotate_right(28) ^ x.rotate_right(34) ^ x.rotate_right(39)
}

/// SHA512H: the sums T1 of two rounds but for the additions of d and h that `m` does not hold; `d` is
/// h and g with schedule and constants added, `n` is g and f, `m` is d and e.
pub fn sha512h(o: &mut Operands) -> u128 {
    let ([w0, w1], [x0, x1], [y0, y1]) = (u64::split(o.d), u64::split(o.n), u64::split(o.m));
    let first = choose(y1, x0, x1)
        .wrapping_add(big_sigma1(y1))
        .wrapping_add(w1);
    let e = first.wrapping_add(y0);
    let second = choose(e, y1, x0)
        .wrapping_add(big_sigma1(e))
        .wrapping_add(w0);
    u64::join([second, first])
}

/// SHA512H2: the new a of two rounds, from the sums `d` of SHA512H, and c, b and a in `n` and `m`.
pub fn sha512h2(o: &mut Operands) -> u128 {
    let ([w0, w1], [x0, _], [y0, y1]) = (u64::split(o.d), u64::split(o.n), u64::split(o.m));
    let first = majority(x0, y1, y0)
        .wrapping_add(big_sigma0(y0))
        .wrapping_add(w1);
    let second = majority(first, y0, y1)
        .wrapping_add(big_sigma0(first))
        .wrapping_add(w0);
    u64::join([second, first])
}

/// SHA512SU0: the first half of the schedule update.
pub fn sha512su0(o: &mut Operands) -> u128 {
    let ([w0, w1], [x0, _]) = (u64::split(o.d), u64::split(o.n));
    let sigma0 = |x: u64| x.rotate_right(1) ^ x.rotate_right(8) ^ (x >> 7);
    u64::join([w0.wrapping_add(sigma0(w1)), w1.wrapping_add(sigma0(x0))])
}

/// SHA512SU1: the second half of the schedule update.
pub fn sha512su1(o: &mut Operands) -> u128 {
    let (w, x, y) = (u64::split(o.d), u64::split(o.n), u64::split(o.m));
    let sigma1 = |x: u64| x.rotate_right(19) ^ x.rotate_right(61) ^ (x >> 6);
    u64::join(std::array::from_fn(|i| {
        w[i].wrapping_add(sigma1(x[i])).wrapping_add(y[i])
    }))
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

    /// The first 64 bits of the fractional part of a prime's root: the low bits of the largest `x` with
    /// `x^root < prime << (64 * root)`, in digits of 32 bits.
    fn root(prime: u64, root: usize) -> u64 {
        let product = |a: &[u64], b: &[u64]| {
            let mut digits = vec![0u64; a.len() + b.len()];
            for (i, a) in a.iter().enumerate() {
                let mut carry = 0;
                for (j, b) in b.iter().enumerate() {
                    let sum = digits[i + j] + a * b + carry;
                    (digits[i + j], carry) = (sum & 0xffff_ffff, sum >> 32);
                }
                digits[i + b.len()] = carry;
            }
            digits
        };
        let too_large = |x: u128| {
            let x: Vec<u64> = (0..3)
                .map(|i| (x >> (32 * i)) as u64 & 0xffff_ffff)
                .collect();
            let power = (1..root).fold(x.clone(), |power, _| product(&power, &x));
            let above = power[2 * root + 1..].iter().any(|digit| *digit != 0);
            above || power[2 * root] >= prime
        };
        let mut x = 0u128;
        for bit in (0..70).rev() {
            if !too_large(x | 1 << bit) {
                x |= 1 << bit;
            }
        }
        x as u64
    }

    /// FIPS 180's example "abc", hashed with the instructions as software uses them.
    #[test]
    fn hash_of_abc() {
        let is_prime = |p: &u64| (2..*p).all(|q| !p.is_multiple_of(q));
        let primes: Vec<u64> = (2..).filter(is_prime).take(80).collect();
        let k: Vec<u64> = primes.iter().map(|p| root(*p, 3)).collect();
        let start: [u64; 8] = std::array::from_fn(|i| root(primes[i], 2));
        assert_eq!(
            (k[0], start[0]),
            (0x428a_2f98_d728_ae22, 0x6a09_e667_f3bc_c908)
        );
        let mut words = [0; 16];
        (words[0], words[15]) = (0x6162_6380_0000_0000, 24);
        let mut schedule: Vec<u128> = words.chunks(2).map(|w| u64::join([w[0], w[1]])).collect();
        for i in 8..40 {
            let at = |back: usize| schedule[i - back];
            // The doublewords 7 before: the upper of one pair and the lower of the next.
            let seven = at(4) >> 64 | at(3) << 64;
            let half = run(sha512su0, at(8), at(7), 0);
            schedule.push(run(sha512su1, half, at(1), seven));
        }
        let pair = |i: usize| u64::join([start[i], start[i + 1]]);
        let (mut ab, mut cd, mut ef, mut gh) = (pair(0), pair(2), pair(4), pair(6));
        let add = |a: u128, b: u128| {
            let (a, b) = (u64::split(a), u64::split(b));
            u64::join([a[0].wrapping_add(b[0]), a[1].wrapping_add(b[1])])
        };
        for (i, w) in schedule.iter().enumerate() {
            let wk = add(*w, u64::join([k[2 * i], k[2 * i + 1]]));
            // The first round's h is the upper one: swapped.
            let sum = add(wk.rotate_left(64), gh);
            let (de, fg) = (cd >> 64 | ef << 64, ef >> 64 | gh << 64);
            let t1 = run(sha512h, sum, fg, de);
            let next = run(sha512h2, t1, cd, ab);
            (gh, ef, cd, ab) = (ef, add(cd, t1), ab, next);
        }
        let end = [add(ab, pair(0)), add(gh, pair(6))];
        assert_eq!(
            end,
            [
                0xcc41_7349_ae20_4131_ddaf_35a1_9361_7aba,
                0x2a9a_c94f_a54c_a49f_454d_4423_643c_e80e
            ]
        );
    }
}
