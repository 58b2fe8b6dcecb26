//! The rules one by one, the host's arithmetic as a reference for values, and the host paths
//! against the integer ones. `tests/fp_qemu.rs` compares flags and modes with another emulator,
//! `tests/fp_host.rs` with the host processor's directed rounding.

use proptest::prelude::*;

use super::{Comparison, Float, Fp, Rounding, fpcr, fpsr};

const SNAN: u64 = 0x7ff0_0000_0000_0001;
const QNAN: u64 = 0x7ff8_0000_0000_0002;
const INF: u64 = 0x7ff0_0000_0000_0000;
const MIN_NORMAL: u64 = 0x0010_0000_0000_0000;
const ONE: u64 = 0x3ff0_0000_0000_0000;
const NEG: u64 = 1 << 63;

/// The result and the flags of an operation under `fpcr`.
fn under<T>(fpcr: u32, operation: impl FnOnce(&mut Fp) -> T) -> (T, u32) {
    let mut fp = Fp::new(fpcr);
    let result = operation(&mut fp);
    assert_eq!(fp.fpcr, fpcr);
    (result, fp.fpsr)
}

#[test]
fn a_signalling_nan_comes_before_a_quiet_one() {
    assert_eq!(
        under(0, |fp| fp.add(QNAN, SNAN)),
        (SNAN | 1 << 51, fpsr::IOC)
    );
    assert_eq!(under(0, |fp| fp.add(QNAN, QNAN | NEG)), (QNAN, 0));
    assert_eq!(under(0, |fp| fp.sub(ONE, QNAN)), (QNAN, 0));
    assert_eq!(
        under(0, |fp| fp.mul_add(QNAN, ONE, SNAN)),
        (SNAN | 1 << 51, fpsr::IOC)
    );
    let (dn, nan) = (fpcr::DN, u64::default_nan());
    assert_eq!(under(dn, |fp| fp.add(QNAN | NEG, ONE)), (nan, 0));
    assert_eq!(under(dn, |fp| fp.add(SNAN | NEG, ONE)), (nan, fpsr::IOC));
}

#[test]
fn invalid_operations_give_the_default_nan() {
    let nan = (u64::default_nan(), fpsr::IOC);
    assert_eq!(under(0, |fp| fp.add(INF, INF | NEG)), nan);
    assert_eq!(under(0, |fp| fp.mul(INF, NEG)), nan);
    assert_eq!(under(0, |fp| fp.div(0, NEG)), nan);
    assert_eq!(under(0, |fp| fp.div(INF, INF)), nan);
    assert_eq!(under(0, |fp| fp.sqrt(ONE | NEG)), nan);
    assert_eq!(under(0, |fp| fp.mul_add(INF, INF | NEG, ONE)), nan);
    // Zero times infinity is invalid even when a quiet NaN is added to it, not a signalling one.
    assert_eq!(under(0, |fp| fp.mul_add(QNAN, INF, 0)), nan);
    assert_eq!(
        under(0, |fp| fp.mul_add(SNAN, INF, 0)),
        (SNAN | 1 << 51, fpsr::IOC)
    );
    assert_eq!(under(0, |fp| fp.mulx(INF, NEG)), (u64::two(true), 0));
    assert_eq!(under(0, |fp| fp.div(ONE, NEG)), (INF | NEG, fpsr::DZC));
}

#[test]
fn denormals_are_flushed_on_the_way_in_and_out() {
    let tiny = 1;
    assert_eq!(under(0, |fp| fp.add(tiny, tiny)), (2u64, 0));
    assert_eq!(under(fpcr::FZ, |fp| fp.add(tiny, ONE)), (ONE, fpsr::IDC));
    assert_eq!(
        under(fpcr::FZ, |fp| fp.add(ONE, INF | tiny)).1 & fpsr::IDC,
        0
    );
    // An output: Underflow without Inexact.
    let below = MIN_NORMAL | 1;
    assert_eq!(
        under(fpcr::FZ, |fp| fp.sub(below, MIN_NORMAL)),
        (0u64, fpsr::UFC)
    );
    // A half: by its own control, and without a flag for its operands.
    assert_eq!(under(fpcr::FZ, |fp| fp.add(1u16, 1u16)), (2, 0));
    assert_eq!(under(fpcr::FZ16, |fp| fp.add(1u16, 1u16)), (0, 0));
    assert_eq!(
        under(fpcr::FZ16, |fp| fp.sub(0x0401u16, 0x0400)),
        (0, fpsr::UFC)
    );
    // Conversions heed FZ for the formats it is for, and never FZ16.
    assert_eq!(
        under(fpcr::FZ16, |fp| fp.convert::<u16, u32>(1)),
        (0x3380_0000, 0)
    );
    assert_eq!(
        under(fpcr::FZ, |fp| fp.convert::<u32, u64>(1)),
        (0, fpsr::IDC)
    );
}

#[test]
fn tininess_is_detected_before_rounding() {
    // (1 - 2^-53) * 2^-1022 rounds up to the smallest normal number, and yet underflows.
    let almost_one = ONE - 1;
    let flags = fpsr::UFC | fpsr::IXC;
    assert_eq!(
        under(0, |fp| fp.mul(MIN_NORMAL, almost_one)),
        (MIN_NORMAL, flags)
    );
    assert_eq!(
        under(fpcr::FZ, |fp| fp.mul(MIN_NORMAL, almost_one)),
        (0, fpsr::UFC)
    );
    // An exact denormal is no underflow.
    assert_eq!(
        under(0, |fp| fp.mul(MIN_NORMAL, ONE - (1 << 52))),
        (MIN_NORMAL >> 1, 0)
    );
}

#[test]
fn overflow_goes_where_the_rounding_mode_says() {
    let max = u64::max_normal(false);
    let flags = fpsr::OFC | fpsr::IXC;
    for (rmode, positive, negative) in [(0, INF, INF), (1, INF, max), (2, max, INF), (3, max, max)]
    {
        let fpcr = rmode << fpcr::RMODE_SHIFT;
        assert_eq!(under(fpcr, |fp| fp.add(max, max)), (positive, flags));
        assert_eq!(
            under(fpcr, |fp| fp.mul(max, max | NEG)),
            (negative | NEG, flags)
        );
    }
}

#[test]
fn an_exact_zero_sum_is_negative_only_towards_minus_infinity() {
    let down = 2 << fpcr::RMODE_SHIFT;
    assert_eq!(under(0, |fp| fp.sub(ONE, ONE)), (0, 0));
    assert_eq!(under(down, |fp| fp.sub(ONE, ONE)), (NEG, 0));
    assert_eq!(under(down, |fp| fp.add(0, NEG)), (NEG, 0));
    assert_eq!(under(down, |fp| fp.add(0u64, 0)), (0, 0));
    assert_eq!(under(down, |fp| fp.mul_add(ONE, ONE, ONE | NEG)), (NEG, 0));
}

#[test]
fn the_alternative_half_format_has_neither_infinities_nor_nans() {
    let ahp = fpcr::AHP;
    assert_eq!(
        under(ahp, |fp| fp.convert::<u16, u32>(0x7c00)),
        (0x4780_0000, 0)
    ); // 65536
    assert_eq!(
        under(ahp, |fp| fp.convert::<u32, u16>(0x4780_0000)),
        (0x7c00, 0)
    );
    assert_eq!(
        under(ahp, |fp| fp.convert::<u32, u16>(0xff80_0000)),
        (0xffff, fpsr::IOC)
    );
    assert_eq!(
        under(ahp, |fp| fp.convert::<u32, u16>(0xffc0_0000)),
        (0x8000, fpsr::IOC)
    );
    assert_eq!(
        under(ahp, |fp| fp.convert::<u32, u16>(0x7f7f_ffff)),
        (0x7fff, fpsr::IOC)
    );
    assert_eq!(under(0, |fp| fp.convert::<u32, u16>(0x4780_0000)).0, 0x7c00);
}

#[test]
fn conversions_to_integers_saturate() {
    let to = |op: u64, width, unsigned| {
        under(0, |fp| fp.to_fixed(op, width, 0, unsigned, Rounding::Zero))
    };
    let two_31 = 0x41e0_0000_0000_0000;
    assert_eq!(to(two_31, 32, false), (0x7fff_ffff, fpsr::IOC));
    assert_eq!(to(two_31 | NEG, 32, false), (0x8000_0000, 0));
    assert_eq!(to(two_31, 32, true), (0x8000_0000, 0));
    assert_eq!(to(ONE | NEG, 32, true), (0, fpsr::IOC));
    assert_eq!(to(0x3fe0_0000_0000_0000 | NEG, 64, true), (0, fpsr::IXC));
    assert_eq!(to(QNAN, 64, false), (0, fpsr::IOC));
    assert_eq!(to(INF | NEG, 64, false), (1 << 63, fpsr::IOC));
    assert_eq!(to(INF, 16, true), (0xffff, fpsr::IOC));
}

#[test]
fn maximum_and_minimum() {
    assert_eq!(under(0, |fp| fp.max(0, NEG)), (0, 0));
    assert_eq!(under(0, |fp| fp.min(0, NEG)), (NEG, 0));
    assert_eq!(under(0, |fp| fp.max(QNAN, ONE)), (QNAN, 0));
    assert_eq!(under(0, |fp| fp.max_num(QNAN, ONE | NEG)), (ONE | NEG, 0));
    assert_eq!(under(0, |fp| fp.min_num(INF, QNAN)), (INF, 0));
    assert_eq!(
        under(0, |fp| fp.max_num(QNAN, SNAN)),
        (SNAN | 1 << 51, fpsr::IOC)
    );
}

#[test]
fn comparisons() {
    assert_eq!(
        under(0, |fp| fp.compare(0, NEG, false)),
        (Comparison::Equal, 0)
    );
    assert_eq!(
        under(0, |fp| fp.compare(QNAN, ONE, false)),
        (Comparison::Unordered, 0)
    );
    assert_eq!(
        under(0, |fp| fp.compare(QNAN, ONE, true)),
        (Comparison::Unordered, fpsr::IOC)
    );
    assert_eq!(
        under(0, |fp| fp.compare(SNAN, ONE, false)),
        (Comparison::Unordered, fpsr::IOC)
    );
    assert_eq!(
        under(fpcr::FZ, |fp| fp.compare(1u64, 0, false)),
        (Comparison::Equal, fpsr::IDC)
    );
}

#[test]
fn estimates() {
    // 1.0: the estimate of its reciprocal is one step below, 511/512.
    assert_eq!(
        under(0, |fp| fp.recip_estimate(0x3f80_0000u32)),
        (0x3f7f_8000, 0)
    );
    assert_eq!(
        under(0, |fp| fp.rsqrt_estimate(0x3f80_0000u32)),
        (0x3f7f_8000, 0)
    );
    let flags = fpsr::OFC | fpsr::IXC;
    assert_eq!(under(0, |fp| fp.recip_estimate(1u32)), (0x7f80_0000, flags));
    assert_eq!(
        under(3 << 22, |fp| fp.recip_estimate(1u32)),
        (0x7f7f_ffff, flags)
    );
    assert_eq!(
        under(0, |fp| fp.rsqrt_estimate(NEG)),
        (INF | NEG, fpsr::DZC)
    );
}

/// A double from a sign and exponent that matter and a fraction of long runs, or any at all.
fn doubles() -> impl Strategy<Value = u64> {
    let exponents = prop_oneof![
        Just(0u64),
        Just(1),
        Just(0x7fe),
        Just(0x7ff),
        0x3f0u64..0x410,
        0x1f0u64..0x210,
        0x5f0u64..0x610,
        0u64..0x800
    ];
    let fractions = prop_oneof![
        Just(0),
        Just(u64::MAX),
        (0u32..52).prop_map(|bit| 1 << bit),
        (0u32..52).prop_map(|bit| u64::MAX << bit),
        any::<u64>()
    ];
    (any::<bool>(), exponents, fractions).prop_map(|(s, e, f)| u64::pack(s, e, f))
}

fn singles() -> impl Strategy<Value = u32> {
    let exponents = prop_oneof![
        Just(0u64),
        Just(1),
        Just(0xfe),
        Just(0xff),
        0x70u64..0x90,
        0u64..256
    ];
    let fractions = prop_oneof![
        Just(0),
        Just(u64::MAX),
        (0u32..23).prop_map(|bit| 1 << bit),
        any::<u64>()
    ];
    (any::<bool>(), exponents, fractions).prop_map(|(s, e, f)| u32::pack(s, e, f))
}

fn registers() -> impl Strategy<Value = Fp> {
    let fpsr = prop_oneof![
        Just(0),
        Just(fpsr::IXC),
        any::<u32>().prop_map(|x| x & fpsr::MASK)
    ];
    let fpcr = prop_oneof![Just(0), any::<u32>().prop_map(|x| x & fpcr::MASK)];
    (fpcr, fpsr).prop_map(|(fpcr, fpsr)| Fp { fpcr, fpsr })
}

/// The same operation by the host's arithmetic and by integers: bits and flags.
fn same<F: Float>(fp: Fp, ways: [&dyn Fn(&mut Fp) -> F; 2]) -> Result<(), TestCaseError> {
    let [(host, host_fp), (soft, soft_fp)] = ways.map(|way| {
        let mut fp = fp;
        (way(&mut fp), fp)
    });
    prop_assert_eq!(host.bits(), soft.bits());
    prop_assert_eq!(host_fp, soft_fp);
    Ok(())
}

fn both_ways<F: Float>(fp: Fp, a: F, b: F, c: F) -> Result<(), TestCaseError> {
    same(fp, [&|fp| fp.add(a, b), &|fp| fp.soft_add(a, b)])?;
    same(fp, [&|fp| fp.mul(a, b), &|fp| fp.soft_mul(a, b, false)])?;
    same(fp, [&|fp| fp.mulx(a, b), &|fp| fp.soft_mul(a, b, true)])?;
    same(fp, [&|fp| fp.div(a, b), &|fp| fp.soft_div(a, b)])?;
    same(fp, [&|fp| fp.sqrt(a), &|fp| fp.soft_sqrt(a)])?;
    same(
        fp,
        [&|fp| fp.mul_add(a, b, c), &|fp| fp.soft_mul_add(a, b, c)],
    )
}

/// The soft result against the host's, a NaN's payload apart.
fn agree64(ours: u64, host: f64) -> Result<(), TestCaseError> {
    if host.is_nan() {
        prop_assert!(ours.is_nan());
    } else {
        prop_assert_eq!(ours, host.to_bits());
    }
    Ok(())
}

fn agree32(ours: u32, host: f32) -> Result<(), TestCaseError> {
    if host.is_nan() {
        prop_assert!(ours.is_nan());
    } else {
        prop_assert_eq!(ours, host.to_bits());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn host_arithmetic_changes_nothing(
        fp in registers(), a in doubles(), b in doubles(), c in doubles(),
        d in singles(), e in singles(), f in singles(),
    ) {
        both_ways(fp, a, b, c)?;
        both_ways(fp, d, e, f)?;
    }

    #[test]
    fn near_cancellation_changes_nothing(fp in registers(), a in doubles(), ulps in 0u64..8) {
        both_ways(fp, a, a.neg().wrapping_add(ulps), a)?;
    }

    #[test]
    fn doubles_to_nearest_are_the_hosts(a in doubles(), b in doubles(), c in doubles()) {
        let (x, y, z) = (f64::from_bits(a), f64::from_bits(b), f64::from_bits(c));
        let fp = &mut Fp::new(0);
        agree64(fp.soft_add(a, b), x + y)?;
        agree64(fp.soft_mul(a, b, false), x * y)?;
        agree64(fp.soft_div(a, b), x / y)?;
        agree64(fp.soft_sqrt(a), x.sqrt())?;
        agree64(fp.soft_mul_add(c, a, b), x.mul_add(y, z))?;
        agree32(fp.convert(a), x as f32)?;
        agree64(fp.round_int(a, Rounding::TieEven, false), x.round_ties_even())?;
        agree64(fp.round_int(a, Rounding::TieAway, false), x.round())?;
        agree64(fp.round_int(a, Rounding::PosInf, false), x.ceil())?;
        agree64(fp.round_int(a, Rounding::NegInf, false), x.floor())?;
        prop_assert_eq!(fp.to_fixed(a, 64, 0, false, Rounding::Zero), x as i64 as u64);
        prop_assert_eq!(fp.to_fixed(a, 32, 0, true, Rounding::Zero), u64::from(x as u32));
        agree64(fp.from_fixed(a, 64, 0, false, Rounding::TieEven), a as i64 as f64)?;
        agree64(fp.from_fixed(a, 64, 0, true, Rounding::TieEven), a as f64)?;
        agree32(fp.from_fixed(a, 64, 0, true, Rounding::TieEven), a as f32)?;
        prop_assert_eq!(fp.compare_gt(a, b), x > y);
        prop_assert_eq!(fp.compare_ge(a, b), x >= y);
        prop_assert_eq!(fp.compare_eq(a, b), x == y);
    }

    #[test]
    fn singles_to_nearest_are_the_hosts(a in singles(), b in singles(), c in singles()) {
        let (x, y, z) = (f32::from_bits(a), f32::from_bits(b), f32::from_bits(c));
        let fp = &mut Fp::new(0);
        agree32(fp.soft_add(a, b), x + y)?;
        agree32(fp.soft_mul(a, b, false), x * y)?;
        agree32(fp.soft_div(a, b), x / y)?;
        agree32(fp.soft_sqrt(a), x.sqrt())?;
        agree32(fp.soft_mul_add(c, a, b), x.mul_add(y, z))?;
        agree64(fp.convert(a), f64::from(x))?;
    }

    /// Halves in double arithmetic: its 53 bits are more than 2 * 11 + 2, so that rounding twice
    /// is rounding once.
    #[test]
    fn halves_are_rounded_doubles(a in any::<u16>(), b in any::<u16>()) {
        let widen = |x: u16| f64::from_bits(Fp::new(0).convert::<u16, u64>(x));
        let (x, y) = (widen(a), widen(b));
        let half = |x: f64| Fp::new(0).convert::<u64, u16>(x.to_bits());
        let fp = &mut Fp::new(0);
        for (ours, host) in [
            (fp.add(a, b), x + y),
            (fp.sub(a, b), x - y),
            (fp.mul(a, b), x * y),
            (fp.div(a, b), x / y),
            (fp.sqrt(a), x.sqrt()),
        ] {
            if host.is_nan() {
                prop_assert!(ours.is_nan());
            } else {
                prop_assert_eq!(ours, half(host));
            }
        }
    }
}

/// Every half survives a round trip through the wider formats.
#[test]
fn halves_widen_exactly() {
    for bits in 0..=u16::MAX {
        let fp = &mut Fp::new(0);
        let wide: u32 = fp.convert(bits);
        let wider: u64 = fp.convert(bits);
        let quiet = if bits.is_nan() { 0x0200 } else { 0 };
        assert_eq!(fp.convert::<u32, u16>(wide), bits | quiet);
        assert_eq!(fp.convert::<u64, u16>(wider), bits | quiet);
        assert_eq!(fp.fpsr & !fpsr::IOC, 0);
    }
}

#[test]
fn rounding_to_an_integer_of_a_size() {
    let round = |op: f64, width| {
        let (result, flags) = under(0, |fp| fp.round_int_n(op.to_bits(), Rounding::Zero, width));
        (f64::from_bits(result), flags)
    };
    let least = -2147483648.0;
    assert_eq!(round(2147483647.5, 32), (2147483647.0, fpsr::IXC));
    assert_eq!(round(-2147483648.5, 32), (least, fpsr::IXC));
    assert_eq!(round(least, 32), (least, 0));
    assert_eq!(round(2147483648.0, 32), (least, fpsr::IOC));
    assert_eq!(round(-2147483649.5, 32), (least, fpsr::IOC));
    assert_eq!(round(f64::NAN, 32), (least, fpsr::IOC));
    assert_eq!(round(f64::INFINITY, 64), (i64::MIN as f64, fpsr::IOC));
    assert_eq!(round(i64::MIN as f64, 64), (i64::MIN as f64, 0));
    assert_eq!(round(-0.5, 64).0.to_bits(), NEG);
    // Up, beyond the range.
    let up = under(0, |fp| {
        fp.round_int_n(2147483647.5f64.to_bits(), Rounding::PosInf, 32)
    });
    assert_eq!(up, (least.to_bits(), fpsr::IOC));
    let single = under(0, |fp| fp.round_int_n(3e9f32.to_bits(), Rounding::Zero, 32));
    assert_eq!(single, ((least as f32).to_bits(), fpsr::IOC));
    let single = under(0, |fp| {
        fp.round_int_n(f32::NAN.to_bits(), Rounding::Zero, 64)
    });
    assert_eq!(single, ((i64::MIN as f32).to_bits(), fpsr::IOC));
}

#[test]
fn integers_of_javascript() {
    let js = |op: f64| {
        let ((result, exact), flags) = under(0, |fp| fp.to_fixed_js(op.to_bits()));
        (result as i32, exact, flags)
    };
    assert_eq!(js(-7.0), (-7, true, 0));
    assert_eq!(js(-7.5), (-7, false, fpsr::IXC));
    assert_eq!(js(0.0), (0, true, 0));
    assert_eq!(js(-0.0), (0, false, 0));
    assert_eq!(js(-2147483648.0), (i32::MIN, true, 0));
    assert_eq!(js(2147483648.0), (i32::MIN, false, fpsr::IOC));
    assert_eq!(js(4294967297.5), (1, false, fpsr::IOC));
    assert_eq!(js(-4294967297.0), (-1, false, fpsr::IOC));
    assert_eq!(js(1e300), (0, false, fpsr::IOC));
    assert_eq!(js(f64::NAN), (0, false, fpsr::IOC));
    assert_eq!(js(f64::NEG_INFINITY), (0, false, fpsr::IOC));
    let flushed = under(fpcr::FZ, |fp| fp.to_fixed_js(1));
    assert_eq!(flushed, ((0, false), fpsr::IDC));
    assert_eq!(under(0, |fp| fp.to_fixed_js(1)), ((0, false), fpsr::IXC));
}
