//! The three formats, as bit patterns.

use core::fmt::Debug;

use super::{Fp, fpcr, fpsr};
use understudy_engine::ieee::host;

/// A floating-point format whose values are held as their bit patterns.
///
/// `u16` is binary16, `u32` binary32 and `u64` binary64 (Arm ARM A1.5, "Floating-point support").
pub trait Float: Copy + Eq + Debug + Send + Sync + 'static {
    /// Width of the format in bits: the pseudocode's N.
    const BITS: u32;
    /// Width of the fraction field in bits: the pseudocode's F.
    const FRAC: u32;
    /// Width of the exponent field in bits: the pseudocode's E.
    const EXP: u32 = Self::BITS - Self::FRAC - 1;
    /// Whether this is binary16, which has fields of FPCR to itself: FZ16 and AHP.
    const IS_HALF: bool = false;
    /// The exponent of the smallest normal number: "minimum_exp" of FPRoundBase.
    const MIN_EXP: i32 = 2 - (1 << (Self::EXP - 1));
    /// The exponent field with every bit set, as an integer.
    const EXP_MAX: u64 = (1 << Self::EXP) - 1;
    /// The fraction field's mask.
    const FRAC_MASK: u64 = (1 << Self::FRAC) - 1;
    /// The sign bit's mask.
    const SIGN: u64 = 1 << (Self::BITS - 1);
    /// The fraction's top bit: set in a quiet NaN.
    const QUIET: u64 = 1 << (Self::FRAC - 1);

    /// The bit pattern, zero-extended.
    fn bits(self) -> u64;
    /// The value of the low [`Float::BITS`] bits of `bits`.
    fn from_bits(bits: u64) -> Self;

    /// Put a value together from its fields; each is masked to its width.
    fn pack(sign: bool, exp: u64, frac: u64) -> Self {
        let sign = if sign { Self::SIGN } else { 0 };
        Self::from_bits(sign | (exp & Self::EXP_MAX) << Self::FRAC | frac & Self::FRAC_MASK)
    }
    /// The sign bit.
    fn sign(self) -> bool {
        self.bits() & Self::SIGN != 0
    }
    /// The exponent field.
    fn exp(self) -> u64 {
        self.bits() >> Self::FRAC & Self::EXP_MAX
    }
    /// The fraction field.
    fn frac(self) -> u64 {
        self.bits() & Self::FRAC_MASK
    }
    /// "FPZero".
    fn zero(sign: bool) -> Self {
        Self::pack(sign, 0, 0)
    }
    /// "FPInfinity".
    fn infinity(sign: bool) -> Self {
        Self::pack(sign, Self::EXP_MAX, 0)
    }
    /// "FPMaxNormal": the largest finite number.
    fn max_normal(sign: bool) -> Self {
        Self::pack(sign, Self::EXP_MAX - 1, Self::FRAC_MASK)
    }
    /// "FPDefaultNaN": positive, quiet, no payload.
    fn default_nan() -> Self {
        Self::pack(false, Self::EXP_MAX, Self::QUIET)
    }
    /// "FPTwo".
    fn two(sign: bool) -> Self {
        Self::pack(sign, 1 << (Self::EXP - 1), 0)
    }
    /// "FPOnePointFive".
    fn one_point_five(sign: bool) -> Self {
        Self::pack(sign, (1 << (Self::EXP - 1)) - 1, Self::QUIET)
    }
    /// "FPNeg": the sign flipped, of NaNs too.
    fn neg(self) -> Self {
        Self::from_bits(self.bits() ^ Self::SIGN)
    }
    /// "FPAbs": the sign cleared, of NaNs too.
    fn abs(self) -> Self {
        Self::from_bits(self.bits() & !Self::SIGN)
    }
    /// Whether this is a NaN of either kind.
    fn is_nan(self) -> bool {
        self.exp() == Self::EXP_MAX && self.frac() != 0
    }
    /// Whether this is a signalling NaN.
    fn is_snan(self) -> bool {
        self.is_nan() && self.bits() & Self::QUIET == 0
    }

    /// `a + b` by the host, where that gives the bits and flags that Arm defines.
    fn host_add(_fp: &mut Fp, _a: Self, _b: Self) -> Option<Self> {
        None
    }
    /// `a * b` by the host, on the terms of [`Float::host_add`].
    fn host_mul(_fp: &mut Fp, _a: Self, _b: Self) -> Option<Self> {
        None
    }
    /// `a / b` by the host, on the terms of [`Float::host_add`].
    fn host_div(_fp: &mut Fp, _a: Self, _b: Self) -> Option<Self> {
        None
    }
    /// The square root by the host, on the terms of [`Float::host_add`].
    fn host_sqrt(_fp: &mut Fp, _a: Self) -> Option<Self> {
        None
    }
    /// `addend + a * b`, rounded once, by the host, on the terms of [`Float::host_add`].
    fn host_mul_add(_fp: &mut Fp, _addend: Self, _a: Self, _b: Self) -> Option<Self> {
        None
    }
}

/// Asks the host, if FPCR rounds as it does: whether IXC is set already. FZ, DN and AHP have no bearing
/// on the operands that it takes and the results that it gives.
#[inline(always)]
fn ask_host(fp: &Fp) -> Option<bool> {
    (fp.fpcr & fpcr::RMODE == 0).then_some(fp.fpsr & fpsr::IXC != 0)
}

/// Takes the host's answer.
#[inline(always)]
fn take<F>(fp: &mut Fp, (result, inexact): (F, bool)) -> Option<F> {
    if inexact {
        fp.fpsr |= fpsr::IXC;
    }
    Some(result)
}

/// The operations that the host has. No closures: they might not be inlined.
macro_rules! host {
    ($add:ident, $mul:ident, $div:ident, $sqrt:ident, $mul_add:ident) => {
        #[inline(always)]
        fn host_add(fp: &mut Fp, a: Self, b: Self) -> Option<Self> {
            let known = ask_host(fp)?;
            take(fp, host::$add(a, b, known)?)
        }
        #[inline(always)]
        fn host_mul(fp: &mut Fp, a: Self, b: Self) -> Option<Self> {
            let known = ask_host(fp)?;
            take(fp, host::$mul(a, b, known)?)
        }
        #[inline(always)]
        fn host_div(fp: &mut Fp, a: Self, b: Self) -> Option<Self> {
            let known = ask_host(fp)?;
            take(fp, host::$div(a, b, known)?)
        }
        #[inline(always)]
        fn host_sqrt(fp: &mut Fp, a: Self) -> Option<Self> {
            let known = ask_host(fp)?;
            take(fp, host::$sqrt(a, known)?)
        }
        #[inline(always)]
        fn host_mul_add(fp: &mut Fp, addend: Self, a: Self, b: Self) -> Option<Self> {
            let known = ask_host(fp)?;
            take(fp, host::$mul_add(a, b, addend, known)?)
        }
    };
}

impl Float for u16 {
    const BITS: u32 = 16;
    const FRAC: u32 = 10;
    const IS_HALF: bool = true;
    fn bits(self) -> u64 {
        self.into()
    }
    fn from_bits(bits: u64) -> u16 {
        bits as u16
    }
}

impl Float for u32 {
    const BITS: u32 = 32;
    const FRAC: u32 = 23;
    fn bits(self) -> u64 {
        self.into()
    }
    fn from_bits(bits: u64) -> u32 {
        bits as u32
    }
    host!(add32, mul32, div32, sqrt32, mul_add32);
}

impl Float for u64 {
    const BITS: u32 = 64;
    const FRAC: u32 = 52;
    fn bits(self) -> u64 {
        self
    }
    fn from_bits(bits: u64) -> u64 {
        bits
    }
    host!(add64, mul64, div64, sqrt64, mul_add64);
}
