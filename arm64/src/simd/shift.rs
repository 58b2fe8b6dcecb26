//! Shifts: by a register, by an immediate, widening, narrowing, inserting.

use super::lane::{Lane, Operands, Widen, map1, map2, narrow2};

/// One element shifted left by `by`, or right by `-by`: any amount, rounded to nearest on the way
/// right if `ROUND`, saturated if `SATURATE`.
///
/// Amounts beyond the element's size are folded into ones that an `i128` can carry out and that
/// have the same result.
#[inline(always)]
fn shift<L: Lane, const UNSIGNED: bool, const ROUND: bool, const SATURATE: bool>(
    x: L,
    by: i32,
    qc: &mut bool,
) -> L {
    let value = x.int::<UNSIGNED>();
    if by < 0 {
        let right = by.unsigned_abs();
        if ROUND {
            if right > L::BITS {
                return L::of(0);
            }
            return L::of((value + (1 << (right - 1))) >> right);
        }
        return L::of(value >> right.min(L::BITS));
    }
    let left = by as u32;
    if left >= L::BITS {
        if SATURATE && value != 0 {
            return L::sat::<UNSIGNED>(if value < 0 { i128::MIN } else { i128::MAX }, qc);
        }
        return L::of(0);
    }
    if SATURATE {
        L::sat::<UNSIGNED>(value << left, qc)
    } else {
        L::of(value << left)
    }
}

/// SSHL, USHL, SRSHL, URSHL, SQSHL, UQSHL, SQRSHL, UQRSHL by register: each element of `n` is
/// shifted left by the signed lowest byte of that of `m`.
pub fn shl_register<L: Lane, const UNSIGNED: bool, const ROUND: bool, const SATURATE: bool>(
    o: &mut Operands,
) -> u128 {
    let qc = &mut o.qc;
    map2::<L>(o.n, o.m, |n, m| {
        shift::<L, UNSIGNED, ROUND, SATURATE>(n, i32::from(m.uint() as i8), qc)
    })
}

/// SSHR, USHR, SRSHR, URSHR: right by the immediate, 1 to the element's size.
pub fn shr<L: Lane, const UNSIGNED: bool, const ROUND: bool>(o: &mut Operands) -> u128 {
    let by = -(o.imm as i32);
    map1::<L>(o.n, |n| {
        shift::<L, UNSIGNED, ROUND, false>(n, by, &mut false)
    })
}

/// SSRA, USRA, SRSRA, URSRA: right by the immediate, added to `d`.
pub fn sra<L: Lane, const UNSIGNED: bool, const ROUND: bool>(o: &mut Operands) -> u128 {
    let by = -(o.imm as i32);
    map2::<L>(o.d, o.n, |d, n| {
        L::of(d.uint() + shift::<L, UNSIGNED, ROUND, false>(n, by, &mut false).uint())
    })
}

/// SQSHL, UQSHL (immediate).
pub fn qshl<L: Lane, const UNSIGNED: bool>(o: &mut Operands) -> u128 {
    let (by, qc) = (o.imm as i32, &mut o.qc);
    map1::<L>(o.n, |n| shift::<L, UNSIGNED, false, true>(n, by, qc))
}

/// SQSHLU: a signed source, an unsigned result.
pub fn qshlu<L: Lane>(o: &mut Operands) -> u128 {
    let (by, qc) = (o.imm.min(L::BITS - 1), &mut o.qc);
    map1::<L>(o.n, |n| L::sat::<true>(n.sint() << by, qc))
}

/// SQSHRN, UQSHRN, SQSHRUN and their R... forms, and the S/UQXTN, SQXTUN with immediate 0:
/// `FROM_UNSIGNED` and `TO_UNSIGNED` give the signs of the source and of the saturated result.
pub fn qshrn<L: Widen, const FROM_UNSIGNED: bool, const TO_UNSIGNED: bool, const ROUND: bool>(
    o: &mut Operands,
) -> u128 {
    let (by, qc) = (o.imm, &mut o.qc);
    narrow2::<L>(o.n, 0, |n, _| {
        L::sat::<TO_UNSIGNED>(shifted_right::<ROUND>(n.int::<FROM_UNSIGNED>(), by), qc)
    })
}

#[inline(always)]
fn shifted_right<const ROUND: bool>(x: i128, by: u32) -> i128 {
    let half = if ROUND && by > 0 { 1 << (by - 1) } else { 0 };
    (x + half) >> by
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_register<L: Lane, const U: bool, const R: bool, const S: bool>(
        n: u64,
        by: i8,
    ) -> (u64, bool) {
        let mut o = Operands {
            n: n.into(),
            m: u128::from(by as u8),
            ..Default::default()
        };
        (shl_register::<L, U, R, S>(&mut o) as u64, o.qc)
    }

    fn imm(d: u128, n: u128, imm: u32) -> Operands {
        Operands {
            d,
            n,
            imm,
            ..Default::default()
        }
    }

    #[test]
    fn amounts_beyond_the_element_are_exact() {
        let min = 1 << 63;
        for by in [-128, -65, -64] {
            assert_eq!(by_register::<u64, false, false, false>(min, by).0, u64::MAX);
            assert_eq!(by_register::<u64, true, false, false>(u64::MAX, by).0, 0);
        }
        // Rounding: half of the last unit rounds up, anything less goes to zero.
        assert_eq!(by_register::<u64, true, true, false>(min, -64).0, 1);
        assert_eq!(by_register::<u64, true, true, false>(u64::MAX, -65).0, 0);
        assert_eq!(by_register::<u64, false, true, false>(min, -64).0, 0);
        assert_eq!(by_register::<u8, false, true, false>(0xff, -128).0, 0);
        for by in [64, 127] {
            assert_eq!(
                by_register::<u64, true, false, true>(1, by),
                (u64::MAX, true)
            );
            assert_eq!(
                by_register::<u64, false, false, true>(u64::MAX, by),
                (min, true)
            );
            assert_eq!(by_register::<u64, false, false, true>(0, by), (0, false));
            assert_eq!(
                by_register::<u64, true, false, false>(u64::MAX, by),
                (0, false)
            );
        }
    }

    #[test]
    fn only_the_low_byte_of_the_amount_counts() {
        let mut o = Operands {
            n: 1,
            m: 0xff04,
            ..Default::default()
        };
        assert_eq!(shl_register::<u16, true, false, false>(&mut o), 16);
    }

    #[test]
    fn left_shifts_saturate() {
        assert_eq!(by_register::<u8, false, false, true>(0x40, 1), (0x7f, true));
        assert_eq!(
            by_register::<u8, false, false, true>(0xc0, 1),
            (0x80, false)
        );
        assert_eq!(by_register::<u8, true, false, true>(0x80, 1), (0xff, true));
        let mut o = imm(0, 0xff, 0);
        assert_eq!(qshlu::<u8>(&mut o), 0);
        assert!(o.qc);
        let mut o = imm(0, 0x40, 1);
        assert_eq!(qshlu::<u8>(&mut o), 0x80);
        assert!(!o.qc);
    }

    #[test]
    fn whole_element_immediates() {
        assert_eq!(shr::<u8, false, false>(&mut imm(0, 0x80, 8)), 0xff);
        assert_eq!(shr::<u8, true, true>(&mut imm(0, 0x80, 8)), 1);
        assert_eq!(shr::<u64, true, false>(&mut imm(0, u128::MAX, 64)), 0);
        assert_eq!(sra::<u8, true, false>(&mut imm(0xff, 0x80, 7)), 0);
    }

    #[test]
    fn narrowing_saturates() {
        let mut o = imm(0, 0x0100_ff00, 0);
        assert_eq!(qshrn::<u8, false, false, false>(&mut o), 0x7f80);
        assert!(o.qc);
        assert_eq!(qshrn::<u8, false, true, false>(&mut o), 0xff00);
        assert_eq!(qshrn::<u8, true, true, false>(&mut o), 0xffff);
        let mut o = imm(0, 0x0100_ff00, 8);
        assert_eq!(qshrn::<u8, false, false, false>(&mut o), 0x01ff);
        assert!(!o.qc);
    }
}
