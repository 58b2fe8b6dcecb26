//! The transcendental functions of the x87 (SDM vol. 1, 8.3.7 and 8.3.10; vol. 2, F2XM1, FYL2X,
//! FYL2XP1, FPATAN, FSIN, FCOS, FPTAN): within one unit in the last place, as the manual has it.
//!
//! They are series over numbers of 128 bits. Precision control does not count. The argument of a
//! trigonometric function is reduced by the π of 66 bits that processors have, whose error shows in
//! results near multiples of π: so they are the same here.

use super::round::{Kind, Unpacked};
use super::wide::Wide;
use super::{Env, F80, Float, PE, ZE};
use understudy_engine::ieee::Real;

/// π in units of 2^-64, or half of it in units of 2^-65.
const PI66: u128 = 0x3_243f_6a88_85a3_08d3;
const PI: Wide = Wide::constant(1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);
const HALF_PI: Wide = Wide { exp: 0, ..PI };
const QUARTER_PI: Wide = Wide { exp: -1, ..PI };
const LN2: Wide = Wide::constant(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);
const LOG2_E: Wide = Wide::constant(0, 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89);

/// The arc tangents of 0 to 8 eighths.
const ARC_TANGENTS: [Wide; 9] = [
    Wide::ZERO,
    Wide::constant(-4, 0xfead_d4d5_617b_6e32_c897_989f_3e88_8ef8),
    Wide::constant(-3, 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e6),
    Wide::constant(-2, 0xb7b0_ca0f_26f7_8473_8aa3_2122_dcfe_4483),
    Wide::constant(-2, 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03),
    Wide::constant(-1, 0x8f00_5d5e_f7f5_9f9b_5c83_5e16_65c4_3748),
    Wide::constant(-1, 0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9f),
    Wide::constant(-1, 0xb805_3e2b_c231_9e73_cb2d_a552_10a4_443d),
    QUARTER_PI,
];

/// `e^t - 1`, for |t| below 1.
fn exponential_minus_one(t: Wide) -> Wide {
    t.series(|term, n| term.mul(t).over(n + 2), |term, _| term)
}

/// `log2((1 + z) / (1 - z))`, for |z| below 1/5.
fn logarithm_of_quotient(z: Wide) -> Wide {
    let square = z.mul(z);
    let half = z.series(|term, _| term.mul(square), |term, n| term.over(2 * n + 1));
    let whole = Wide {
        exp: half.exp + 1,
        ..half
    };
    whole.mul(LOG2_E)
}

/// The arc tangent of a number from 0 to 1.
fn arc_tangent(r: Wide) -> Wide {
    // To the nearest eighth.
    let eighths = if r.is_zero() || r.exp < -4 {
        0
    } else {
        let scaled = r.mant >> (127 - 4 - r.exp).clamp(0, 127);
        scaled.div_ceil(2).min(8) as usize
    };
    let c = Wide::new(false, eighths as u128, -3);
    // (r - c) / (1 + r c), which is 1/16 at most.
    let rest = r.sub(c).div(Wide::ONE.add(r.mul(c)));
    if rest.is_zero() {
        return ARC_TANGENTS[eighths];
    }
    let square = rest.mul(rest).neg();
    let angle = rest.series(|term, _| term.mul(square), |term, n| term.over(2 * n + 1));
    ARC_TANGENTS[eighths].add(angle).below(r)
}

/// The sine of a number of magnitude 1 at most.
fn sine(r: Wide) -> Wide {
    let square = r.mul(r).neg();
    let sum = r.series(
        |term, n| term.mul(square).over((2 * n + 2) * (2 * n + 3)),
        |term, _| term,
    );
    sum.below(r)
}

/// The cosine.
fn cosine(r: Wide) -> Wide {
    let square = r.mul(r).neg();
    let sum = Wide::ONE.series(
        |term, n| term.mul(square).over((2 * n + 1) * (2 * n + 2)),
        |term, _| term,
    );
    sum.below(Wide::ONE)
}

/// An angle below 2^63 as a multiple of π/2, and a rest of π/4 at most.
fn reduce(x: &Unpacked) -> (u32, Wide) {
    let value = Wide::from_operand(x);
    if value.smaller(QUARTER_PI) {
        return (0, value);
    }
    // Its lowest bit is 2^-64 or more.
    let scaled = u128::from(x.mant) << (x.exp + 65).clamp(0, 64);
    let (mut quotient, rest) = (scaled / PI66, scaled % PI66);
    let mut rest = Wide::new(x.sign, rest, -65);
    if !rest.smaller(Wide::new(false, PI66, -66)) {
        quotient += 1;
        let whole = Wide::new(x.sign, PI66, -65);
        rest = rest.sub(whole);
    }
    let quotient = quotient as u32 & 3;
    let quotient = if x.sign {
        quotient.wrapping_neg() & 3
    } else {
        quotient
    };
    (quotient, rest)
}

impl Env {
    /// What a function of one operand gives where that is no number, or has an exception that is not
    /// masked.
    fn early(&mut self, x: &Unpacked) -> Option<F80> {
        self.rounded_up = false;
        if let Some(nan) = self.not_a_number([x]) {
            return Some(nan);
        }
        self.report_denormals([x]);
        self.stopped().then(F80::default)
    }

    /// A result that is exact, which processors report as inexact.
    fn never_exact(&mut self, result: F80) -> F80 {
        self.raise(PE);
        result
    }

    /// Rounds what is not exact.
    fn nearly(&mut self, value: Wide) -> F80 {
        if value.is_zero() {
            return F80::default();
        }
        self.round_full(value.inexact())
    }

    /// `2^a - 1` (F2XM1), for |a| up to 1.
    pub fn power_minus_one(&mut self, a: F80) -> F80 {
        let x = self.unpack(a);
        if let Some(result) = self.early(&x) {
            return result;
        }
        match x.kind {
            Kind::Zero => a,
            Kind::Infinity if x.sign => F80::ONE.neg(),
            Kind::Infinity => a,
            _ if a == F80::ONE.neg() => self.never_exact(F80::new(true, 0x3ffe, 1 << 63)),
            // 1 is its own result; what is beyond is undefined, and given back, too.
            _ if a.exponent() >= 0x3fff => self.never_exact(a),
            _ => {
                let t = Wide::from_operand(&x).mul(LN2);
                self.nearly(exponential_minus_one(t))
            }
        }
    }

    /// The product of `y` and a logarithm that is a zero or an infinity with this sign.
    fn special_product(&mut self, y: &Unpacked, infinite: bool, sign: bool) -> F80 {
        let invalid = if infinite {
            y.is_zero()
        } else {
            y.is_infinite()
        };
        if invalid {
            return self.invalid();
        }
        let sign = y.sign != sign;
        if infinite {
            F80::infinity(sign)
        } else {
            F80::zero(sign)
        }
    }

    /// `b * log2(a)` (FYL2X).
    pub fn logarithm(&mut self, a: F80, b: F80) -> F80 {
        let (x, y) = (self.unpack(a), self.unpack(b));
        self.rounded_up = false;
        if let Some(nan) = self.not_a_number([&x, &y]) {
            return nan;
        }
        if x.sign && !x.is_zero() {
            return self.invalid();
        }
        if x.is_zero() && y.kind == Kind::Number {
            self.raise(ZE);
            return F80::infinity(!y.sign);
        }
        let one = a == F80::ONE;
        if (x.is_zero() || x.is_infinite()) && y.is_zero() || one && y.is_infinite() {
            return self.invalid();
        }
        self.report_denormals([&x, &y]);
        if self.stopped() {
            return a;
        }
        if x.is_zero() || x.is_infinite() {
            return self.special_product(&y, true, x.is_zero());
        }
        if one {
            return self.special_product(&y, false, false);
        }
        let below_one = a.exponent() < 0x3fff;
        if y.kind != Kind::Number {
            return self.special_product(&y, y.is_infinite(), below_one);
        }
        // Between the roots of 1/2 and of 2, and the rest of the exponent.
        let value = Wide::from_operand(&x);
        let mut exponent = value.exp;
        let mut m = Wide { exp: 0, ..value };
        if m.mant == 1 << 127 {
            // A power of two: exact, but for the product's own rounding.
            let log = Real::exact(exponent < 0, exponent.unsigned_abs().into(), 0);
            let result = self.round_full(log.product(y.real()));
            return self.never_exact(result);
        }
        if m.mant >> 64 >= 0xb504_f333_f9de_6484 {
            m.exp = -1;
            exponent += 1;
        }
        let z = m.sub(Wide::ONE).div(m.add(Wide::ONE));
        let log = logarithm_of_quotient(z).add(Wide::integer(exponent.into()));
        self.nearly(log.mul(Wide::from_operand(&y)))
    }

    /// `b * log2(a + 1)` (FYL2XP1), for a near 0.
    pub fn logarithm_plus_one(&mut self, a: F80, b: F80) -> F80 {
        let (x, y) = (self.unpack(a), self.unpack(b));
        self.rounded_up = false;
        if let Some(nan) = self.not_a_number([&x, &y]) {
            return nan;
        }
        if x.is_infinite() && (x.sign || y.is_zero()) || x.is_zero() && y.is_infinite() {
            return self.invalid();
        }
        self.report_denormals([&x, &y]);
        if self.stopped() {
            return a;
        }
        if x.is_infinite() || x.is_zero() {
            return self.special_product(&y, x.is_infinite(), x.sign);
        }
        if y.kind != Kind::Number {
            return self.special_product(&y, y.is_infinite(), x.sign);
        }
        let value = Wide::from_operand(&x);
        // What is not positive has no logarithm: undefined, and what processors give.
        if x.sign && !value.abs().smaller(Wide::ONE) {
            return self.never_exact(a);
        }
        let sum = value.add(Wide::ONE);
        let log = if value.exp >= -1 {
            let mut m = Wide { exp: 0, ..sum };
            let mut exponent = sum.exp;
            if m.mant >> 64 >= 0xb504_f333_f9de_6484 {
                m.exp = -1;
                exponent += 1;
            }
            let z = m.sub(Wide::ONE).div(m.add(Wide::ONE));
            logarithm_of_quotient(z).add(Wide::integer(exponent.into()))
        } else {
            logarithm_of_quotient(value.div(sum.add(Wide::ONE)))
        };
        self.nearly(log.mul(Wide::from_operand(&y)))
    }

    /// The angle of the point `b`, `a` (FPATAN: the arc tangent of `a / b`, in the quadrant that the
    /// signs give).
    pub fn arc_tangent(&mut self, a: F80, b: F80) -> F80 {
        let (y, x) = (self.unpack(a), self.unpack(b));
        self.rounded_up = false;
        if let Some(nan) = self.not_a_number([&x, &y]) {
            return nan;
        }
        self.report_denormals([&x, &y]);
        if self.stopped() {
            return a;
        }
        let angle = match (y.kind, x.kind) {
            (Kind::Infinity, Kind::Infinity) if x.sign => PI.sub(QUARTER_PI),
            (Kind::Infinity, Kind::Infinity) => QUARTER_PI,
            (Kind::Infinity, _) => HALF_PI,
            (Kind::Zero, _) | (_, Kind::Infinity) if x.sign => PI,
            (Kind::Zero, _) | (_, Kind::Infinity) => return F80::zero(y.sign),
            (_, Kind::Zero) => HALF_PI,
            _ => {
                let (up, across) = (Wide::from_operand(&y).abs(), Wide::from_operand(&x).abs());
                match (across.smaller(up), x.sign) {
                    (false, false) => arc_tangent(up.div(across)),
                    (false, true) => PI.sub(arc_tangent(up.div(across))),
                    (true, false) => HALF_PI.sub(arc_tangent(across.div(up))),
                    (true, true) => HALF_PI.add(arc_tangent(across.div(up))),
                }
            }
        };
        self.nearly(Wide {
            sign: y.sign,
            ..angle
        })
    }

    /// The sine (FSIN).
    pub fn sine(&mut self, a: F80) -> F80 {
        self.trigonometric(a, |quotient, rest| match quotient {
            0 => sine(rest),
            1 => cosine(rest),
            2 => sine(rest).neg(),
            _ => cosine(rest).neg(),
        })
    }

    /// The cosine (FCOS).
    pub fn cosine(&mut self, a: F80) -> F80 {
        if self.unpack(a).is_zero() {
            self.rounded_up = false;
            return F80::ONE;
        }
        self.trigonometric(a, |quotient, rest| match quotient {
            0 => cosine(rest),
            1 => sine(rest).neg(),
            2 => cosine(rest).neg(),
            _ => sine(rest),
        })
    }

    /// The tangent (FPTAN).
    pub fn tangent(&mut self, a: F80) -> F80 {
        self.trigonometric(a, |quotient, rest| {
            let (sine, cosine) = (sine(rest), cosine(rest));
            if quotient & 1 == 0 {
                sine.div(cosine)
            } else {
                cosine.div(sine).neg()
            }
        })
    }

    /// A function of an angle, given as [`reduce`] gives it. Zero is its own sine and tangent.
    fn trigonometric(&mut self, a: F80, function: impl FnOnce(u32, Wide) -> Wide) -> F80 {
        let x = self.unpack(a);
        if x.is_infinite() {
            return self.invalid();
        }
        if let Some(result) = self.early(&x) {
            return result;
        }
        // The caller has asked whether it is out of range.
        if x.is_zero() || a.exponent() >= 0x3fff + 63 {
            return a;
        }
        let (quotient, rest) = reduce(&x);
        self.nearly(function(quotient, rest))
    }
}
