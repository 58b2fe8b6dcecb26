//! BFloat16 (Arm ARM A1.5.4): binary32 with 16 fraction bits fewer, and the arithmetic of BFDOT and
//! BFMMLA, which has rules of its own where FPCR.EBF does not exist:
//!
//! ```text
//!   addend + (a[0] * b[0] + a[1] * b[1])    each operation rounded to odd, in binary32
//! ```
//!
//! Denormals are zeros, on the way in and out. Every NaN is the default NaN. Overflow gives an
//! infinity, and a sum of exactly zero is positive unless both terms are negative zeros. FPCR is not
//! looked at, and FPSR not changed.

use super::{Float, Fp, Rounding, fpcr, fpsr};
use understudy_engine::ieee::Real;

/// A BFloat16 value. Conversions to it obey FPCR as those to singles do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bf16(u16);

impl Float for Bf16 {
    const BITS: u32 = 16;
    const FRAC: u32 = 7;
    fn bits(self) -> u64 {
        self.0.into()
    }
    fn from_bits(bits: u64) -> Bf16 {
        Bf16(bits as u16)
    }
}

impl Bf16 {
    /// The same value as a single.
    fn single(self) -> u32 {
        u32::from(self.0) << 16
    }
}

/// "BFDotAdd" without FPCR.EBF.
pub fn dot_add(addend: u32, a: [Bf16; 2], b: [Bf16; 2]) -> u32 {
    add(addend, add(mul(a[0], b[0]), mul(a[1], b[1])))
}

/// FPCR as BFDOT and BFMMLA have it; the rounding mode is given apart.
fn fixed() -> Fp {
    Fp::new(fpcr::FZ | fpcr::DN)
}

/// "BFRound". `value` is not zero.
fn round(value: Real) -> u32 {
    let mut fp = fixed();
    let result = fp.round_in(value, Rounding::Odd);
    if fp.fpsr & fpsr::OFC != 0 {
        return u32::infinity(value.sign);
    }
    result
}

/// "BFMulH".
fn mul(a: Bf16, b: Bf16) -> u32 {
    let mut fp = fixed();
    let (x, y) = (fp.unpack(a.single()), fp.unpack(b.single()));
    let sign = x.sign != y.sign;
    match (x.is_inf() || y.is_inf(), x.is_zero() || y.is_zero()) {
        _ if x.is_nan() || y.is_nan() => u32::default_nan(),
        (true, true) => u32::default_nan(),
        (true, false) => u32::infinity(sign),
        (false, true) => u32::zero(sign),
        (false, false) => round(x.real().product(y.real())),
    }
}

/// "BFAdd".
fn add(a: u32, b: u32) -> u32 {
    let mut fp = fixed();
    let (x, y) = (fp.unpack(a), fp.unpack(b));
    if x.is_nan() || y.is_nan() {
        return u32::default_nan();
    }
    match (x.is_inf(), y.is_inf()) {
        (true, true) if x.sign != y.sign => u32::default_nan(),
        (true, _) => u32::infinity(x.sign),
        (_, true) => u32::infinity(y.sign),
        _ if x.is_zero() && y.is_zero() => u32::zero(x.sign && y.sign),
        _ => {
            let sum = x.real().sum(y.real());
            if sum.mant == 0 {
                u32::zero(false)
            } else {
                round(sum)
            }
        }
    }
}
