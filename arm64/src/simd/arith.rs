//! Addition, subtraction, comparison, extremes, counting: operations without shifts or products.
//!
//! `UNSIGNED` selects between the signed (S...) and unsigned (U...) instruction of a pair.

use super::lane::{Lane, Operands, Widen, map1, map2, map3, narrow2, widen3};

/// ADD.
pub fn add<L: Lane>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, |n, m| L::of(n.uint() + m.uint()))
}

/// SUB.
pub fn sub<L: Lane>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, |n, m| L::of(n.uint() - m.uint()))
}

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

/// CMGT, CMHI.
pub fn cmgt<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, |n, m| {
        L::mask(n.int::<UNSIGNED>() > m.int::<UNSIGNED>())
    })
}

/// CMGE, CMHS.
pub fn cmge<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, |n, m| {
        L::mask(n.int::<UNSIGNED>() >= m.int::<UNSIGNED>())
    })
}

/// CMEQ.
pub fn cmeq<L: Lane>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, |n, m| L::mask(n == m))
}

/// CMTST.
pub fn cmtst<L: Lane>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, |n, m| L::mask(n.uint() & m.uint() != 0))
}

/// CMLT (zero).
pub fn cmlt0<L: Lane>(o: &mut Operands) -> u128 {
    map1::<L>(o.n, |n| L::mask(n.sint() < 0))
}

/// CMLE (zero).
pub fn cmle0<L: Lane>(o: &mut Operands) -> u128 {
    map1::<L>(o.n, |n| L::mask(n.sint() <= 0))
}

fn max_of<L: Lane, const UNSIGNED: bool>(n: L, m: L) -> L {
    L::of(n.int::<UNSIGNED>().max(m.int::<UNSIGNED>()))
}

fn min_of<L: Lane, const UNSIGNED: bool>(n: L, m: L) -> L {
    L::of(n.int::<UNSIGNED>().min(m.int::<UNSIGNED>()))
}

/// SMAX, UMAX.
pub fn max<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, max_of::<L, UNSIGNED>)
}

/// SMIN, UMIN.
pub fn min<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, min_of::<L, UNSIGNED>)
}

fn pairwise<L: Lane>(o: &Operands, f: impl Fn(L, L) -> L) -> u128 {
    let mut d = L::split(0);
    for (d, (first, second)) in d.as_mut().iter_mut().zip(o.concatenated::<L>()) {
        *d = f(first, second);
    }
    L::join(d)
}

/// ADDP (vector).
pub fn addp<L: Lane>(o: &mut Operands) -> u128 {
    pairwise::<L>(o, |a, b| L::of(a.uint() + b.uint()))
}

/// ADDP (scalar): the sum of the two doublewords of `n`.
pub fn addp_scalar<L: Lane>(o: &mut Operands) -> u128 {
    let n = L::split(o.n);
    L::of(n.as_ref()[0].uint() + n.as_ref()[1].uint()).uint() as u128
}

/// SMAXP, UMAXP.
pub fn maxp<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    pairwise::<L>(o, max_of::<L, UNSIGNED>)
}

/// SMINP, UMINP.
pub fn minp<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    pairwise::<L>(o, min_of::<L, UNSIGNED>)
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

/// SABD, UABD.
pub fn abd<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    map2::<L>(o.n, o.m, |n, m| {
        L::of((n.int::<UNSIGNED>() - m.int::<UNSIGNED>()).abs())
    })
}

/// SABA, UABA.
pub fn aba<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    map3::<L>(o.d, o.n, o.m, |d, n, m| {
        L::of(d.uint() + (n.int::<UNSIGNED>() - m.int::<UNSIGNED>()).abs())
    })
}

/// SADDL, UADDL.
pub fn addl<L: Widen, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    widen3::<L>(0, o.n, o.m, |_, n, m| {
        L::Wide::of(n.int::<UNSIGNED>() + m.int::<UNSIGNED>())
    })
}

/// SSUBL, USUBL.
pub fn subl<L: Widen, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    widen3::<L>(0, o.n, o.m, |_, n, m| {
        L::Wide::of(n.int::<UNSIGNED>() - m.int::<UNSIGNED>())
    })
}

/// SABDL, UABDL.
pub fn abdl<L: Widen, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    widen3::<L>(0, o.n, o.m, |_, n, m| {
        L::Wide::of((n.int::<UNSIGNED>() - m.int::<UNSIGNED>()).abs())
    })
}

/// SABAL, UABAL.
pub fn abal<L: Widen, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    widen3::<L>(o.d, o.n, o.m, |d, n, m| {
        L::Wide::of(d.uint() + (n.int::<UNSIGNED>() - m.int::<UNSIGNED>()).abs())
    })
}

/// SADDW, UADDW: `n` has wide elements.
pub fn addw<L: Widen, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    widen3::<L>(o.n, 0, o.m, |n, _, m| {
        L::Wide::of(n.uint() + m.int::<UNSIGNED>())
    })
}

/// SSUBW, USUBW: `n` has wide elements.
pub fn subw<L: Widen, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    widen3::<L>(o.n, 0, o.m, |n, _, m| {
        L::Wide::of(n.uint() - m.int::<UNSIGNED>())
    })
}

/// Half an element's unit in the last place, for the R... forms of narrowing operations.
const fn rounding<const ROUND: bool>(bits: u32) -> i128 {
    if ROUND { 1 << (bits - 1) } else { 0 }
}

/// ADDHN, RADDHN: the high halves of the sums.
pub fn addhn<L: Widen, const ROUND: bool>(o: &mut Operands) -> u128 {
    narrow2::<L>(o.n, o.m, |n, m| {
        L::of((n.uint() + m.uint() + rounding::<ROUND>(L::BITS)) >> L::BITS)
    })
}

/// SUBHN, RSUBHN: the high halves of the differences.
pub fn subhn<L: Widen, const ROUND: bool>(o: &mut Operands) -> u128 {
    narrow2::<L>(o.n, o.m, |n, m| {
        L::of((n.uint() - m.uint() + rounding::<ROUND>(L::BITS)) >> L::BITS)
    })
}

/// SADDLP, UADDLP (`ACCUMULATE` false), SADALP, UADALP (true): sums of neighbours, twice as wide.
pub fn addlp<L: Widen, const UNSIGNED: bool, const ACCUMULATE: bool>(o: &mut Operands) -> u128 {
    let n = L::split(o.n);
    let mut d = L::Wide::split(if ACCUMULATE { o.d } else { 0 });
    for (d, pair) in d.as_mut().iter_mut().zip(n.as_ref().chunks_exact(2)) {
        *d = L::Wide::of(d.uint() + pair[0].int::<UNSIGNED>() + pair[1].int::<UNSIGNED>());
    }
    L::Wide::join(d)
}

/// ABS.
pub fn abs<L: Lane>(o: &mut Operands) -> u128 {
    map1::<L>(o.n, |n| L::of(n.sint().abs()))
}

/// NEG (vector).
pub fn neg<L: Lane>(o: &mut Operands) -> u128 {
    map1::<L>(o.n, |n| L::of(-n.sint()))
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

/// CNT.
pub fn cnt<L: Lane>(o: &mut Operands) -> u128 {
    map1::<L>(o.n, |n| L::of(n.uint().count_ones().into()))
}

/// RBIT (vector).
pub fn rbit<L: Lane>(o: &mut Operands) -> u128 {
    map1::<L>(o.n, |n| {
        L::of(((n.uint() as u128).reverse_bits() >> (128 - L::BITS)) as i128)
    })
}

/// AND (vector).
pub fn and(o: &mut Operands) -> u128 {
    o.n & o.m
}

/// BIC (vector, register).
pub fn bic(o: &mut Operands) -> u128 {
    o.n & !o.m
}

/// ORR (vector, register).
pub fn orr(o: &mut Operands) -> u128 {
    o.n | o.m
}

/// ORN (vector).
pub fn orn(o: &mut Operands) -> u128 {
    o.n | !o.m
}

/// EOR (vector).
pub fn eor(o: &mut Operands) -> u128 {
    o.n ^ o.m
}

/// BSL: `d` chooses between `n` (ones) and `m` (zeros).
pub fn bsl(o: &mut Operands) -> u128 {
    (o.n & o.d) | (o.m & !o.d)
}

/// BIT: inserts `n` where `m` has ones.
pub fn bit(o: &mut Operands) -> u128 {
    (o.n & o.m) | (o.d & !o.m)
}

/// BIF: inserts `n` where `m` has zeros.
pub fn bif(o: &mut Operands) -> u128 {
    (o.n & !o.m) | (o.d & o.m)
}

/// NOT (MVN).
pub fn not(o: &mut Operands) -> u128 {
    !o.n
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
    fn comparisons_write_masks() {
        let m = 0x0000_0001_ffff_ffff;
        assert_eq!(cmgt::<u32, false>(&mut nm(m, 0)), 0xffff_ffff_0000_0000);
        assert_eq!(cmgt::<u32, true>(&mut nm(m, 0)), 0xffff_ffff_ffff_ffff);
        assert_eq!(cmlt0::<u32>(&mut nm(m, 0)), 0xffff_ffff);
        assert_eq!(cmle0::<u64>(&mut nm(m, 0)), u128::MAX << 64);
        assert_eq!(cmtst::<u8>(&mut nm(0x0102, 0x0101)), 0xff00);
    }

    #[test]
    fn pairs_come_from_n_then_m() {
        let o = &mut nm(0x0004_0003_0002_0001, 0x0008_0007_0006_0005);
        o.q = false;
        assert_eq!(addp::<u16>(o), 0x000f_000b_0007_0003);
        o.q = true;
        assert_eq!(addp::<u16>(o), 0x0000_0000_000f_000b_0000_0000_0007_0003);
        assert_eq!(maxp::<u16, true>(o) & 0xffff_ffff, 0x0004_0002);
        assert_eq!(minp::<u16, true>(o) & 0xffff_ffff, 0x0003_0001);
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
    fn differences_are_absolute() {
        assert_eq!(abd::<u8, false>(&mut nm(0x80, 0x7f)), 0xff);
        assert_eq!(abd::<u8, true>(&mut nm(0x00, 0x7f)), 0x7f);
        assert_eq!(abdl::<u8, false>(&mut nm(0x80, 0x7f)), 0xff);
        let mut o = Operands {
            d: 1,
            n: 0,
            m: 2,
            ..Default::default()
        };
        assert_eq!(aba::<u32, true>(&mut o), 3);
        assert_eq!(abal::<u32, true>(&mut o), 3);
    }

    #[test]
    fn wide_and_narrow() {
        assert_eq!(addl::<u8, false>(&mut nm(0xff, 0xff)), 0xfffe);
        assert_eq!(addl::<u8, true>(&mut nm(0xff, 0xff)), 0x01fe);
        assert_eq!(subw::<u8, true>(&mut nm(0, 1)), 0xffff);
        assert_eq!(addw::<u8, false>(&mut nm(1, 0xff)), 0);
        assert_eq!(
            addhn::<u8, false>(&mut nm(0x0180_ffff, 0x0000_0001)),
            0x0100
        );
        assert_eq!(addhn::<u8, true>(&mut nm(0x0180_ffff, 0)), 0x0200);
        assert_eq!(subhn::<u8, false>(&mut nm(0, 1)), 0xff);
        assert_eq!(subhn::<u32, true>(&mut nm(0, 1)), 0);
        let mut o = Operands {
            d: 1,
            n: 0xff_ff,
            ..Default::default()
        };
        assert_eq!(addlp::<u8, true, false>(&mut o), 0x1fe);
        assert_eq!(addlp::<u8, false, true>(&mut o), 0xffff);
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
        assert_eq!(cnt::<u8>(&mut o), 0x01_0808_0100);
        assert_eq!(rbit::<u8>(&mut o), 0x80_ffff_0100);
    }

    #[test]
    fn negatives_saturate_at_the_least_value() {
        let mut o = nm(0x8000_ffff, 0);
        assert_eq!(abs::<u16>(&mut o), 0x8000_0001);
        assert_eq!(neg::<u16>(&mut o), 0x8000_0001);
        assert_eq!(qabs::<u16>(&mut o), 0x7fff_0001);
        assert!(o.qc);
        o.qc = false;
        assert_eq!(qneg::<u16>(&mut o), 0x7fff_0001);
        assert!(o.qc);
    }

    #[test]
    fn selections() {
        let mut o = Operands {
            d: 0b0011,
            n: 0b0101,
            m: 0b1001,
            ..Default::default()
        };
        assert_eq!(bsl(&mut o), 0b1001);
        assert_eq!(bit(&mut o), 0b0011);
        assert_eq!(bif(&mut o), 0b0101);
        assert_eq!(bic(&mut o), 0b0100);
        assert_eq!(orn(&mut o), !0b1000);
    }
}
