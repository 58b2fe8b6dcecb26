//! SHA256H, SHA256H2, SHA256SU0, SHA256SU1: four rounds of FIPS 180-4's SHA-256 a step.

use super::sha1::{choose, majority};
use crate::simd::{Lane, Operands};

/// `SHA256hash`: four rounds on the state `x` (a to d) and `y` (e to h).
fn hash(x: u128, y: u128, w: u128) -> (u128, u128) {
    let ([mut a, mut b, mut c, mut d], [mut e, mut f, mut g, mut h]) =
        (u32::split(x), u32::split(y));
    for w in u32::split(w) {
        let sigma1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let sigma0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t1 = h
            .wrapping_add(sigma1)
            .wrapping_add(choose(e, f, g))
            .wrapping_add(w);
        let t2 = sigma0.wrapping_add(majority(a, b, c));
        (a, b, c, d, e, f, g, h) = (t1.wrapping_add(t2), a, b, c, d.wrapping_add(t1), e, f, g);
    }
    (u32::join([a, b, c, d]), u32::join([e, f, g, h]))
}

/// SHA256H: the new a to d, from `d` (a to d), `n` (e to h) and the schedule `m`.
pub fn sha256h(o: &mut Operands) -> u128 {
    hash(o.d, o.n, o.m).0
}

/// SHA256H2: the new e to h, from `d` (e to h), `n` (a to d) and the schedule `m`.
pub fn sha256h2(o: &mut Operands) -> u128 {
    hash(o.n, o.d, o.m).1
}

/// SHA256SU0: the first half of the schedule update.
pub fn sha256su0(o: &mut Operands) -> u128 {
    let (d, next) = (u32::split(o.d), u32::split((o.d >> 32) | (o.n << 96)));
    u32::join(std::array::from_fn(|i| {
        let t = next[i];
        d[i].wrapping_add(t.rotate_right(7) ^ t.rotate_right(18) ^ (t >> 3))
    }))
}

/// SHA256SU1: the second half of the schedule update.
pub fn sha256su1(o: &mut Operands) -> u128 {
    let mut w = u32::split(o.d);
    let (earlier, last) = (u32::split((o.n >> 32) | (o.m << 96)), u32::split(o.m));
    for i in 0..4 {
        // The last two words need the first two of this very step.
        let t = if i < 2 { last[i + 2] } else { w[i - 2] };
        let sigma = t.rotate_right(17) ^ t.rotate_right(19) ^ (t >> 10);
        w[i] = w[i].wrapping_add(earlier[i]).wrapping_add(sigma);
    }
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

    /// The first 32 bits of the fractional parts of the `root`th roots of the first primes.
    fn constants<const N: usize>(root: u32) -> [u32; N] {
        let is_prime = |p: &u128| (2..*p).all(|q| !p.is_multiple_of(q));
        let mut primes = (2u128..).filter(is_prime);
        std::array::from_fn(|_| {
            let p = primes.next().unwrap() << (32 * root);
            // The integer root of p * 2^(32 * root) has the fraction in its low 32 bits.
            let (mut low, mut high) = (0u128, 1 << 38);
            while high - low > 1 {
                let middle = u128::midpoint(low, high);
                if middle.pow(root) <= p {
                    low = middle
                } else {
                    high = middle
                }
            }
            low as u32
        })
    }

    /// FIPS 180's example "abc", hashed with the instructions as software uses them.
    #[test]
    fn hash_of_abc() {
        let mut schedule: Vec<u128> = [[0x6162_6380, 0, 0, 0], [0; 4], [0; 4], [0, 0, 0, 0x18]]
            .map(u32::join)
            .to_vec();
        for i in 4..16 {
            let w = &schedule[i - 4..];
            let half = run(sha256su0, w[0], w[1], 0);
            schedule.push(run(sha256su1, half, w[2], w[3]));
        }
        let k: [u32; 64] = constants(3);
        let start: [u32; 8] = constants(2);
        assert_eq!((k[0], start[0]), (0x428a_2f98, 0x6a09_e667));
        let mut abcd = u32::join(start[..4].try_into().unwrap());
        let mut efgh = u32::join(start[4..].try_into().unwrap());
        for (i, w) in schedule.iter().enumerate() {
            let w = u32::split(*w);
            let wk = u32::join(std::array::from_fn(|j| w[j].wrapping_add(k[4 * i + j])));
            (abcd, efgh) = (run(sha256h, abcd, efgh, wk), run(sha256h2, efgh, abcd, wk));
        }
        let got: Vec<u32> = u32::split(abcd)
            .into_iter()
            .chain(u32::split(efgh))
            .collect();
        let sum: Vec<u32> = got
            .iter()
            .zip(start)
            .map(|(a, b)| a.wrapping_add(b))
            .collect();
        assert_eq!(
            sum,
            [
                0xba78_16bf,
                0x8f01_cfea,
                0x4141_40de,
                0x5dae_2223,
                0xb003_61a3,
                0x9617_7a9c,
                0xb410_ff61,
                0xf200_15ad
            ]
        );
    }
}
