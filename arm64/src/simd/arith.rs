//! Addition, subtraction, comparison, extremes, counting: operations without shifts or products.
//!
//! `UNSIGNED` selects between the signed (S...) and unsigned (U...) instruction of a pair.

use super::lane::{Lane, Operands, Widen, map1, map2};

/// SHADD, UHADD.
pub fn hadd<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, |n, m| {
        L::of((n.int::<UNSIGNED>() + m.int::<UNSIGNED>()) >> 1)
    })
}

/// SRHADD, URHADD.
pub fn rhadd<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, |n, m| {
        L::of((n.int::<UNSIGNED>() + m.int::<UNSIGNED>() + 1) >> 1)
    })
}

/// SHSUB, UHSUB.
pub fn hsub<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, |n, m| {
        L::of((n.int::<UNSIGNED>() - m.int::<UNSIGNED>()) >> 1)
    })
}

/// SQADD, UQADD.
pub fn qadd<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    let qc = &mut o.qc;
    map2::<L>(o.n, o.m, |n, m| {
        L::sat::<UNSIGNED>(n.int::<UNSIGNED>() + m.int::<UNSIGNED>(), qc)
    })
}

/// SQSUB, UQSUB.
pub fn qsub<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    let qc = &mut o.qc;
    map2::<L>(o.n, o.m, |n, m| {
        L::sat::<UNSIGNED>(n.int::<UNSIGNED>() - m.int::<UNSIGNED>(), qc)
    })
}

/// SUQADD (`UNSIGNED` false: a signed accumulator, unsigned addends), USQADD (the reverse).
pub fn addmixed<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    let qc = &mut o.qc;
    map2::<L>(o.d, o.n, |d, n| {
        let n = if UNSIGNED { n.sint() } else { n.uint() };
        L::sat::<UNSIGNED>(d.int::<UNSIGNED>() + n, qc)
    })
}

fn max_of<L: Lane, const UNSIGNED: bool>(n: L, m: L) -> L {
    L::of(n.int::<UNSIGNED>().max(m.int::<UNSIGNED>()))
}

fn min_of<L: Lane, const UNSIGNED: bool>(n: L, m: L) -> L {
    L::of(n.int::<UNSIGNED>().min(m.int::<UNSIGNED>()))
}

fn elements<L: Lane>(o: &Operands) -> impl Iterator<Item = L> {
    let n = L::split(o.n);
    (0..o.bytes() * 8 / L::BITS as usize).map(move |i| n.as_ref()[i])
}

/// ADDV.
pub fn addv<L: Lane>(o: &mut Operands) -> u128 {
    L::of(elements::<L>(o).map(L::uint).sum()).uint() as u128
}

/// SADDLV, UADDLV: the sum, in an element of twice the size.
pub fn addlv<L: Widen, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    L::Wide::of(elements::<L>(o).map(L::int::<UNSIGNED>).sum()).uint() as u128
}

/// SMAXV, UMAXV.
pub fn maxv<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    elements::<L>(o)
        .reduce(max_of::<L, UNSIGNED>)
        .map_or(0, |max| max.uint() as u128)
}

/// SMINV, UMINV.
pub fn minv<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    elements::<L>(o)
        .reduce(min_of::<L, UNSIGNED>)
        .map_or(0, |min| min.uint() as u128)
}

/// SQABS.
pub fn qabs<L: Lane>(o: &mut Operands) -> u128 {
    let qc = &mut o.qc;
    map1::<L>(o.n, |n| L::sat::<false>(n.sint().abs(), qc))
}

/// SQNEG.
pub fn qneg<L: Lane>(o: &mut Operands) -> u128 {
    let qc = &mut o.qc;
    map1::<L>(o.n, |n| L::sat::<false>(-n.sint(), qc))
}

/// CLS (vector): how many bits after the sign bit equal it.
pub fn cls<L: Lane>(o: &mut Operands) -> u128 {
    map1::<L>(o.n, |n| {
        let ones_if_negative = n.sint() >> 127;
        leading_zeros::<L>(L::of(n.sint() ^ ones_if_negative), -1)
    })
}

/// CLZ (vector).
pub fn clz<L: Lane>(o: &mut Operands) -> u128 {
    map1::<L>(o.n, |n| leading_zeros::<L>(n, 0))
}

fn leading_zeros<L: Lane>(n: L, and: i128) -> L {
    L::of(i128::from(n.uint().leading_zeros()) - i128::from(128 - L::BITS) + and)
}

/// RBIT (vector).
pub fn rbit<L: Lane>(o: &mut Operands) -> u128 {
    map1::<L>(o.n, |n| {
        L::of(((n.uint() as u128).reverse_bits() >> (128 - L::BITS)) as i128)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nm(n: u128, m: u128) -> Operands {
        Operands {
            n,
            m,
            q: true,
            ..Default::default()
        }
    }

    #[test]
    fn halving_keeps_the_carry() {
        assert_eq!(hadd::<u8, true>(&mut nm(0xff, 0xff)), 0xff);
        assert_eq!(hadd::<u8, false>(&mut nm(0x80, 0x80)), 0x80);
        assert_eq!(rhadd::<u8, true>(&mut nm(0xfe, 0xff)), 0xff);
        assert_eq!(hsub::<u8, true>(&mut nm(0, 1)), 0xff);
        assert_eq!(hsub::<u8, false>(&mut nm(0x80, 0x7f)), 0x80);
    }

    #[test]
    fn saturating_sums_set_qc() {
        let mut o = nm(0x7f_80_01, 0x01_ff_01);
        assert_eq!(qadd::<u8, false>(&mut o), 0x7f_80_02);
        assert!(o.qc);
        let mut o = nm(u64::MAX.into(), 1);
        assert_eq!(qadd::<u64, true>(&mut o), u64::MAX.into());
        assert!(o.qc);
        let mut o = nm(3, 2);
        assert_eq!(qsub::<u16, true>(&mut o), 1);
        assert!(!o.qc);
        let mut o = nm(2, 3);
        assert_eq!(qsub::<u16, true>(&mut o), 0);
        assert!(o.qc);
    }

    #[test]
    fn mixed_signs_accumulate() {
        // SUQADD: -1 + 255 saturates at 127; USQADD: 1 + -2 saturates at 0.
        let mut o = Operands {
            d: 0xff,
            n: 0xff,
            ..Default::default()
        };
        assert_eq!(addmixed::<u8, false>(&mut o), 0x7f);
        assert!(o.qc);
        let mut o = Operands {
            d: 1,
            n: 0xfe,
            ..Default::default()
        };
        assert_eq!(addmixed::<u8, true>(&mut o), 0);
        assert!(o.qc);
        let mut o = Operands {
            d: 0x80,
            n: 0xff,
            ..Default::default()
        };
        assert_eq!(addmixed::<u8, false>(&mut o), 0x7f);
        assert!(!o.qc);
    }

    #[test]
    fn reductions_use_only_the_vectors_length() {
        let mut o = nm(0x01 << 64 | 0x80_00_00_00_00_00_00_7f, 0);
        assert_eq!(addv::<u8>(&mut o), 0);
        assert_eq!(addlv::<u8, true>(&mut o), 0x100);
        assert_eq!(addlv::<u8, false>(&mut o), 0);
        assert_eq!(maxv::<u8, true>(&mut o), 0x80);
        assert_eq!(maxv::<u8, false>(&mut o), 0x7f);
        assert_eq!(minv::<u8, false>(&mut o), 0x80);
        o.q = false;
        assert_eq!(addlv::<u8, true>(&mut o), 0xff);
        assert_eq!(addlv::<u8, false>(&mut o), 0xffff);
    }

    #[test]
    fn bits_are_counted_in_each_element() {
        let mut o = nm(0x0000_0001_ffff_8000, 0);
        assert_eq!(
            clz::<u32>(&mut o) & u128::from(u64::MAX),
            0x0000_001f_0000_0000
        );
        assert_eq!(
            cls::<u32>(&mut o) & u128::from(u64::MAX),
            0x0000_001e_0000_0010
        );
        assert_eq!(clz::<u64>(&mut o), 0x40 << 64 | 31);
        assert_eq!(rbit::<u8>(&mut o), 0x80_ffff_0100);
    }

    #[test]
    fn negatives_saturate_at_the_least_value() {
        let mut o = nm(0x8000_ffff, 0);
        assert_eq!(qabs::<u16>(&mut o), 0x7fff_0001);
        assert!(o.qc);
        o.qc = false;
        assert_eq!(qneg::<u16>(&mut o), 0x7fff_0001);
        assert!(o.qc);
    }
}
