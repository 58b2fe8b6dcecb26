//! Exact numbers against integers.

use super::{Comparison, Real, Rest, Rounding};
use proptest::prelude::*;
use std::cmp::Ordering;

/// What is left of a whole, from the part of it that is left.
fn rest(left: u128, whole: u128) -> Rest {
    match (left * 2).cmp(&whole) {
        _ if left == 0 => Rest::Zero,
        Ordering::Less => Rest::BelowHalf,
        Ordering::Equal => Rest::Half,
        Ordering::Greater => Rest::AboveHalf,
    }
}

#[test]
fn each_rounding_by_its_rest() {
    use Rounding::{NegInf, Odd, PosInf, TieAway, TieEven, Zero};
    let (even, odd) = (6, 7);
    for (rounding, sign, int, up) in [
        (TieEven, false, even, [false, false, false, true]),
        (TieEven, true, odd, [false, false, true, true]),
        (TieAway, false, even, [false, false, true, true]),
        (TieAway, true, odd, [false, false, true, true]),
        (PosInf, false, even, [false, true, true, true]),
        (PosInf, true, odd, [false; 4]),
        (NegInf, false, odd, [false; 4]),
        (NegInf, true, even, [false, true, true, true]),
        (Zero, false, odd, [false; 4]),
        (Zero, true, odd, [false; 4]),
        (Odd, false, even, [false; 4]),
        (Odd, true, even, [false; 4]),
    ] {
        let rests = [Rest::Zero, Rest::BelowHalf, Rest::Half, Rest::AboveHalf];
        let found = rests.map(|rest| rest.rounds_up(rounding, sign, int));
        assert_eq!(found, up, "{rounding:?}, sign {sign}, {int}");
    }
}

#[test]
fn overflow_by_sign() {
    let infinite =
        |rounding: Rounding| [false, true].map(|sign| rounding.overflows_to_infinity(sign));
    assert_eq!(infinite(Rounding::TieEven), [true, true]);
    assert_eq!(infinite(Rounding::TieAway), [true, true]);
    assert_eq!(infinite(Rounding::PosInf), [true, false]);
    assert_eq!(infinite(Rounding::NegInf), [false, true]);
    assert_eq!(infinite(Rounding::Zero), [false, false]);
    assert_eq!(infinite(Rounding::Odd), [false, false]);
}

#[test]
fn orders_are_comparisons() {
    assert_eq!(Comparison::from(1.cmp(&2)), Comparison::Less);
    assert_eq!(Comparison::from(2.cmp(&2)), Comparison::Equal);
    assert_eq!(Comparison::from(3.cmp(&2)), Comparison::Greater);
}

/// A number in units that are larger than all of it, and as large as its parts.
#[test]
fn units_around_the_width() {
    let sticky = |mant, exp| Real {
        sticky: true,
        ..Real::exact(false, mant, exp)
    };
    let top = 1 << 127;
    for (number, unit, expected) in [
        (Real::exact(false, u128::MAX, 0), 0, (u128::MAX, Rest::Zero)),
        (Real::exact(false, u128::MAX, 0), 127, (1, Rest::AboveHalf)),
        (Real::exact(false, u128::MAX, 0), 128, (0, Rest::AboveHalf)),
        (Real::exact(false, u128::MAX, 0), 129, (0, Rest::BelowHalf)),
        (Real::exact(false, top, 0), 127, (1, Rest::Zero)),
        (Real::exact(false, top, 0), 128, (0, Rest::Half)),
        (Real::exact(false, top, 0), 129, (0, Rest::BelowHalf)),
        (Real::exact(false, top, -5000), 5000, (0, Rest::BelowHalf)),
        (Real::exact(false, 0, -5000), 5000, (0, Rest::Zero)),
        (sticky(top, 0), 0, (top, Rest::BelowHalf)),
        (sticky(top, 0), 127, (1, Rest::BelowHalf)),
        (sticky(top, 0), 128, (0, Rest::AboveHalf)),
        (sticky(top, 0), 200, (0, Rest::BelowHalf)),
        // To the other side: places are exact up to 64, and more are as 64.
        (Real::exact(false, 5, 10), 0, (5 << 10, Rest::Zero)),
        (Real::exact(false, 5, 3000), 2936, (5 << 64, Rest::Zero)),
        (Real::exact(false, 5, 3000), -3000, (5 << 64, Rest::Zero)),
    ] {
        assert_eq!(number.in_units(unit), expected, "{number:?} by {unit}");
    }
}

/// Where a far smaller number is taken away, the rest is what is not taken.
#[test]
fn a_difference_of_very_different_numbers() {
    let (large, small) = (Real::exact(false, 1, 300), Real::exact(true, 3, 0));
    for difference in [large.sum(small), small.sum(large)] {
        assert!(!difference.sign && difference.sticky);
        assert_eq!(difference.exponent(), 299);
        assert_eq!(
            difference.in_units(236),
            (u128::from(u64::MAX), Rest::AboveHalf)
        );
    }
    let total = large.sum(Real {
        sign: false,
        ..small
    });
    assert_eq!(total.in_units(237), (1 << 63, Rest::BelowHalf));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn sums_and_products_are_exact(
        a in any::<i64>(), b in any::<i64>(), up in 0u32..60, by in 0u32..60,
    ) {
        let number = |value: i64, exp: u32| Real::exact(value < 0, value.unsigned_abs().into(), exp as i32);
        let (x, y) = (number(a, up), number(b, by));
        let sum = (i128::from(a) << up) + (i128::from(b) << by);
        let found = x.sum(y);
        prop_assert_eq!(found.in_units(0), (sum.unsigned_abs(), Rest::Zero));
        prop_assert!(sum == 0 || found.sign == (sum < 0));
        let product = i128::from(a) * i128::from(b);
        let found = x.product(y);
        prop_assert_eq!(found.in_units((up + by) as i32), (product.unsigned_abs(), Rest::Zero));
        prop_assert!(product == 0 || found.sign == (product < 0));
    }

    #[test]
    fn units_leave_what_is_below_them(mant in any::<u128>(), shift in 1u32..127) {
        let whole = 1u128 << shift;
        let expected = (mant >> shift, rest(mant % whole, whole));
        prop_assert_eq!(Real::exact(false, mant, -7).in_units(shift as i32 - 7), expected);
    }

    #[test]
    fn quotients_to_enough_bits(
        a in 1..=u64::MAX, b in 1..=u64::MAX, fewer in 0u32..64, up in -40i32..40,
    ) {
        let (a, b) = (u128::from(a), u128::from((b >> fewer).max(1)));
        let quotient = Real::exact(true, a, up).quotient(Real::exact(false, b, -3));
        prop_assert!(quotient.sign && quotient.mant >> 65 != 0);
        let expected = ((a << 60) / b, rest((a << 60) % b, b));
        prop_assert_eq!(quotient.in_units(up + 3 - 60), expected);
    }

    #[test]
    fn roots_to_enough_bits(a in 1..=u64::MAX, fewer in 0u32..64, squared: bool) {
        let a = u128::from((a >> fewer).max(1));
        let a = if squared { a.isqrt().pow(2) } else { a };
        for exp in [-11, -10, 0, 7] {
            let root = Real::exact(false, a, exp).square_root();
            prop_assert!(!root.sign && root.mant >> 79 != 0);
            // An odd exponent leaves a two to the number.
            let square = a << 60 << (exp & 1);
            let (int, left) = (square.isqrt(), square - square.isqrt().pow(2));
            // The square of a whole and a half is no integer.
            let expected = match left {
                0 => Rest::Zero,
                _ if left <= int => Rest::BelowHalf,
                _ => Rest::AboveHalf,
            };
            prop_assert_eq!(root.in_units(exp.div_euclid(2) - 30), (int, expected));
        }
    }
}
