//! Products: plain, long, doubling, polynomial, dot.

use super::lane::{Lane, Operands, Widen, map2, map3, widen3};

/// SQDMULL: twice the product, saturated.
pub fn qdmull<L: Widen>(o: &mut Operands) -> u128 {
    let qc = &mut o.qc;
    widen3::<L>(0, o.n, o.m, |_, n, m| {
        L::Wide::sat::<false>(2 * n.sint() * m.sint(), qc)
    })
}

/// SQDMLAL: both the doubled product and the sum saturate.
pub fn qdmlal<L: Widen>(o: &mut Operands) -> u128 {
    let qc = &mut o.qc;
    widen3::<L>(o.d, o.n, o.m, |d, n, m| {
        let product = L::Wide::sat::<false>(2 * n.sint() * m.sint(), qc);
        L::Wide::sat::<false>(d.sint() + product.sint(), qc)
    })
}

/// SQDMLSL: both the doubled product and the difference saturate.
pub fn qdmlsl<L: Widen>(o: &mut Operands) -> u128 {
    let qc = &mut o.qc;
    widen3::<L>(o.d, o.n, o.m, |d, n, m| {
        let product = L::Wide::sat::<false>(2 * n.sint() * m.sint(), qc);
        L::Wide::sat::<false>(d.sint() - product.sint(), qc)
    })
}

/// The high half of `d:0 + 2 * product`, rounded if `ROUND`, saturated.
#[inline(always)]
fn doubled_high<L: Lane, const ROUND: bool>(d: i128, product: i128, qc: &mut bool) -> L {
    let half = if ROUND { 1i128 << (L::BITS - 1) } else { 0 };
    L::sat::<false>(((d << L::BITS) + 2 * product + half) >> L::BITS, qc)
}

/// SQDMULH, SQRDMULH.
pub fn qdmulh<L: Widen, const ROUND: bool>(o: &mut Operands) -> u128 {
    let qc = &mut o.qc;
    map2::<L>(o.n, o.m, |n, m| {
        doubled_high::<L, ROUND>(0, n.sint() * m.sint(), qc)
    })
}

/// SQRDMLAH.
pub fn qrdmlah<L: Widen>(o: &mut Operands) -> u128 {
    let qc = &mut o.qc;
    map3::<L>(o.d, o.n, o.m, |d, n, m| {
        doubled_high::<L, true>(d.sint(), n.sint() * m.sint(), qc)
    })
}

/// SQRDMLSH.
pub fn qrdmlsh<L: Widen>(o: &mut Operands) -> u128 {
    let qc = &mut o.qc;
    map3::<L>(o.d, o.n, o.m, |d, n, m| {
        doubled_high::<L, true>(d.sint(), -(n.sint() * m.sint()), qc)
    })
}

/// The sum of the products of corresponding bytes.
#[inline(always)]
fn sum_of_products<const N_UNSIGNED: bool, const M_UNSIGNED: bool>(n: &[u8], m: &[u8]) -> i128 {
    let pairs = n.iter().zip(m);
    pairs
        .map(|(n, m)| n.int::<N_UNSIGNED>() * m.int::<M_UNSIGNED>())
        .sum()
}

/// SDOT, UDOT, USDOT, SUDOT: each word of `d` gains the four products of the bytes in its place.
pub fn dot<const N_UNSIGNED: bool, const M_UNSIGNED: bool>(o: &mut Operands) -> u128 {
    let (n, m) = (u8::split(o.n), u8::split(o.m));
    let mut d = u32::split(o.d);
    for (d, (n, m)) in d.iter_mut().zip(n.chunks_exact(4).zip(m.chunks_exact(4))) {
        *d = u32::of(d.uint() + sum_of_products::<N_UNSIGNED, M_UNSIGNED>(n, m));
    }
    u32::join(d)
}

/// SMMLA, UMMLA, USMMLA, "MatMulAdd": `d`, of two rows of two words, gains the product of `n`, of two
/// rows of eight bytes, and the transpose of `m`.
pub fn matrix<const N_UNSIGNED: bool, const M_UNSIGNED: bool>(o: &mut Operands) -> u128 {
    let (n, m) = (u8::split(o.n), u8::split(o.m));
    let mut d = u32::split(o.d);
    for (rows, n) in d.chunks_exact_mut(2).zip(n.chunks_exact(8)) {
        for (d, m) in rows.iter_mut().zip(m.chunks_exact(8)) {
            *d = u32::of(d.uint() + sum_of_products::<N_UNSIGNED, M_UNSIGNED>(n, m));
        }
    }
    u32::join(d)
}

/// The product of two polynomials over GF(2), at most 64 bits each: `PolynomialMult`.
#[inline(always)]
pub fn polynomial(n: u64, m: u64) -> u128 {
    let mut product = 0;
    for bit in 0..64 {
        // A mask, so that the time does not depend on the operands.
        product ^= (u128::from(n) << bit) & u128::from((m >> bit) & 1).wrapping_neg();
    }
    product
}

#[inline(always)]
fn polynomial8(n: u8, m: u8) -> u16 {
    (0..8).fold(0, |sum, bit| {
        sum ^ ((u16::from(n) << bit) & u16::from((m >> bit) & 1).wrapping_neg())
    })
}

/// PMUL: the low halves of the polynomial products of bytes.
pub fn pmul(o: &mut Operands) -> u128 {
    map2::<u8>(o.n, o.m, |n, m| polynomial8(n, m) as u8)
}

/// PMULL, on bytes.
pub fn pmull8(o: &mut Operands) -> u128 {
    widen3::<u8>(0, o.n, o.m, |_, n, m| polynomial8(n, m))
}

/// PMULL, on doublewords: one 128-bit product.
pub fn pmull64(o: &mut Operands) -> u128 {
    polynomial(o.n as u64, o.m as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dnm(d: u128, n: u128, m: u128) -> Operands {
        Operands {
            d,
            n,
            m,
            ..Default::default()
        }
    }

    #[test]
    fn doubling_saturates_only_for_the_least_value_squared() {
        let mut o = dnm(0, 0x8000, 0x8000);
        assert_eq!(qdmull::<u16>(&mut o), 0x7fff_ffff);
        assert!(o.qc);
        let mut o = dnm(0, 0x8000, 0x7fff);
        assert_eq!(qdmull::<u16>(&mut o), 0x8001_0000);
        assert!(!o.qc);
        let mut o = dnm(0, 0x8000, 0x8000);
        assert_eq!(qdmulh::<u16, false>(&mut o), 0x7fff);
        assert!(o.qc);
        let mut o = dnm(0, 0x7fff_ffff, 0x7fff_ffff);
        assert_eq!(qdmulh::<u32, true>(&mut o), 0x7fff_fffe);
        assert!(!o.qc);
    }

    #[test]
    fn accumulation_saturates_the_product_first() {
        // -1 + sat(2^32) would be 2^32 - 1 -> saturates; with the product saturated: 2^31 - 2.
        let mut o = dnm(0xffff_ffff, 0x8000, 0x8000);
        assert_eq!(qdmlal::<u16>(&mut o), 0x7fff_fffe);
        assert!(o.qc);
        let mut o = dnm(0x8000_0000, 0x8000, 0x8000);
        assert_eq!(qdmlsl::<u16>(&mut o), 0x8000_0000);
        assert!(o.qc);
    }

    #[test]
    fn rounding_doubling_accumulation_saturates_once() {
        // SQRDMLAH does not saturate the product: -2^15 + 2^15 is exactly 0 in high halves.
        let mut o = dnm(0x8000, 0x8000, 0x8000);
        assert_eq!(qrdmlah::<u16>(&mut o), 0);
        assert!(!o.qc);
        let mut o = dnm(0x7fff, 0x8000, 0x8000);
        assert_eq!(qrdmlah::<u16>(&mut o), 0x7fff);
        assert!(o.qc);
        let mut o = dnm(0xffff, 0x8000, 0x8000);
        assert_eq!(qrdmlsh::<u16>(&mut o), 0x8000);
        assert!(o.qc);
    }

    #[test]
    fn dot_products() {
        let o = &mut dnm(1, 0xff02_0304, 0x0101_0101);
        assert_eq!(dot::<true, true>(o), 1 + 255 + 9);
        assert_eq!(dot::<false, false>(o), 9);
        let o = &mut dnm(1, 0xff, 0x80);
        assert_eq!(dot::<true, false>(o), 0xffff_8081);
        assert_eq!(dot::<false, true>(o), 0xffff_ff81);
    }

    #[test]
    fn matrix_products() {
        // Rows of n: (1, 2, 0...), (0x80, 0...); of m: (3, 4, 0...), (0xff, 0...).
        let o = &mut dnm(10, 0x80 << 64 | 0x0201, 0xff << 64 | 0x0403);
        assert_eq!(
            matrix::<true, true>(o),
            u32::join([10 + 3 + 8, 255, 0x180, 0x7f80])
        );
        let minus = |x: u32| x.wrapping_neg();
        assert_eq!(
            matrix::<false, false>(o),
            u32::join([21, minus(1), minus(0x180), 0x80])
        );
        assert_eq!(
            matrix::<true, false>(o),
            u32::join([21, minus(1), 0x180, minus(0x80)])
        );
    }

    #[test]
    fn polynomials_have_no_carries() {
        assert_eq!(polynomial(3, 3), 5);
        assert_eq!(
            polynomial(u64::MAX, u64::MAX),
            0x5555_5555_5555_5555_5555_5555_5555_5555
        );
        assert_eq!(polynomial(1 << 63, 1 << 63), 1 << 126);
        assert_eq!(pmul(&mut dnm(0, 0x03ff, 0x03ff)), 0x0555);
        assert_eq!(pmull8(&mut dnm(0, 0x03ff, 0x03ff)), 0x0005_5555);
    }
}
