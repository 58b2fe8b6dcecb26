//! The four formats, as bit patterns (SDM vol. 1, 4.2.2).

use super::{Env, PE, Rounding};
use core::fmt::Debug;
use understudy_engine::ieee::host;

/// The 80-bit format of the x87, whose significand has its leading bit written out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct F80 {
    /// The significand, its leading bit, the "integer bit", at the top.
    pub significand: u64,
    /// The sign at bit 15, and the biased exponent.
    pub sign_exponent: u16,
}

impl F80 {
    /// The exponent's bias.
    pub const BIAS: i32 = 0x3fff;
    /// 1.
    pub const ONE: F80 = F80::new(false, 0x3fff, 1 << 63);
    /// The indefinite: what an invalid operation gives (SDM vol. 1, table 4-3).
    pub const INDEFINITE: F80 = F80::new(true, 0x7fff, 3 << 62);

    /// From its fields.
    pub const fn new(sign: bool, exponent: u16, significand: u64) -> F80 {
        F80 {
            significand,
            sign_exponent: (sign as u16) << 15 | exponent & 0x7fff,
        }
    }

    /// From ten bytes of memory.
    pub fn from_bytes(bytes: [u8; 10]) -> F80 {
        let [a, b, c, d, e, f, g, h, i, j] = bytes;
        F80 {
            significand: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            sign_exponent: u16::from_le_bytes([i, j]),
        }
    }

    /// The ten bytes that memory gets.
    pub fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.significand.to_le_bytes());
        bytes[8..].copy_from_slice(&self.sign_exponent.to_le_bytes());
        bytes
    }

    /// The exponent field.
    pub const fn exponent(self) -> u16 {
        self.sign_exponent & 0x7fff
    }

    /// The sign bit.
    pub const fn negative(self) -> bool {
        self.sign_exponent >> 15 != 0
    }

    /// The same with the other sign, of NaNs too.
    pub const fn neg(self) -> F80 {
        F80 {
            sign_exponent: self.sign_exponent ^ 0x8000,
            ..self
        }
    }

    /// The same without its sign, of NaNs too.
    pub const fn abs(self) -> F80 {
        F80 {
            sign_exponent: self.sign_exponent & 0x7fff,
            ..self
        }
    }
}

impl Debug for F80 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:04x}.{:016x}", self.sign_exponent, self.significand)
    }
}

/// A format whose values are held as their bit patterns.
pub trait Float: Copy + Eq + Debug + Send + Sync + 'static {
    /// Bits of the significand below its leading bit.
    const FRACTION: u32;
    /// The largest exponent field, that of infinities and NaNs.
    const EXPONENT_MAX: u32;
    /// Whether this is x87's: its leading bit is written out.
    const EXTENDED: bool = false;
    /// Whether this is binary16: neither DAZ nor FTZ concerns it.
    const HALF: bool = false;
    /// The exponent of the smallest normal number.
    const EXPONENT_MIN: i32 = 1 - Self::BIAS;
    /// The exponent's bias.
    const BIAS: i32 = Self::EXPONENT_MAX as i32 >> 1;
    /// The significand's leading bit.
    const LEADING: u64 = 1 << Self::FRACTION;
    /// The bit below it, which is set in a quiet NaN.
    const QUIET: u64 = Self::LEADING >> 1;

    /// Sign, exponent field, and significand with its leading bit (of a denormal: without).
    fn fields(self) -> (bool, u32, u64);
    /// The value of these fields. A leading bit that the format does not write is ignored.
    fn from_fields(sign: bool, exponent: u32, significand: u64) -> Self;

    /// Zero.
    #[inline]
    fn zero(sign: bool) -> Self {
        Self::from_fields(sign, 0, 0)
    }
    /// Infinity.
    #[inline]
    fn infinity(sign: bool) -> Self {
        Self::from_fields(sign, Self::EXPONENT_MAX, Self::LEADING)
    }
    /// The QNaN floating-point indefinite.
    #[inline]
    fn indefinite() -> Self {
        Self::from_fields(true, Self::EXPONENT_MAX, Self::LEADING | Self::QUIET)
    }

    /// `a + b` by the host, where that gives the same bits and flags.
    #[inline]
    fn host_add(_: &mut Env, _: Self, _: Self) -> Option<Self> {
        None
    }
    /// `a - b` by the host, on the terms of [`Float::host_add`].
    #[inline]
    fn host_sub(_: &mut Env, _: Self, _: Self) -> Option<Self> {
        None
    }
    /// `a * b` by the host, on the terms of [`Float::host_add`].
    #[inline]
    fn host_mul(_: &mut Env, _: Self, _: Self) -> Option<Self> {
        None
    }
    /// `a / b` by the host, on the terms of [`Float::host_add`].
    #[inline]
    fn host_div(_: &mut Env, _: Self, _: Self) -> Option<Self> {
        None
    }
    /// The square root by the host, on the terms of [`Float::host_add`].
    #[inline]
    fn host_sqrt(_: &mut Env, _: Self) -> Option<Self> {
        None
    }
    /// `a * b + c`, rounded once, by the host, on the terms of [`Float::host_add`].
    #[inline]
    fn host_mul_add(_: &mut Env, _: Self, _: Self, _: Self) -> Option<Self> {
        None
    }
}

/// The fields of a format that does not write the leading bit.
macro_rules! fields {
    ($bits:ty, $fraction:literal, $max:literal) => {
        const FRACTION: u32 = $fraction;
        const EXPONENT_MAX: u32 = $max;

        #[inline]
        fn fields(self) -> (bool, u32, u64) {
            let exponent = (self >> $fraction) as u32 & $max;
            let fraction = u64::from(self) & (Self::LEADING - 1);
            let leading = if exponent != 0 { Self::LEADING } else { 0 };
            (
                self >> (<$bits>::BITS - 1) != 0,
                exponent,
                fraction | leading,
            )
        }

        #[inline]
        fn from_fields(sign: bool, exponent: u32, significand: u64) -> $bits {
            (sign as $bits) << (<$bits>::BITS - 1)
                | ((exponent & $max) as $bits) << $fraction
                | (significand & (Self::LEADING - 1)) as $bits
        }
    };
}

/// Asks the host, if RC rounds as it does: whether PE need not be found out ([`Env::known`]). DAZ, FTZ and
/// the masks have no bearing on the operands that it takes and the results that it gives, whose only
/// exception can be PE.
#[inline(always)]
fn ask_host(env: &Env) -> Option<bool> {
    matches!(env.rounding, Rounding::TieEven).then_some(env.known & PE != 0)
}

/// Takes the host's answer.
#[inline(always)]
fn take<F>(env: &mut Env, (result, inexact): (F, bool)) -> Option<F> {
    if inexact {
        env.raise(PE);
    }
    Some(result)
}

/// The operations that the host has. No closures: they might not be inlined.
macro_rules! host {
    ($bits:ty, $($name:ident $to:ident($($x:ident),*);)*) => {$(
        #[inline(always)]
        fn $name(env: &mut Env, $($x: $bits),*) -> Option<$bits> {
            let known = ask_host(env)?;
            take(env, host::$to($($x),*, known)?)
        }
    )*};
}

impl Float for u16 {
    const HALF: bool = true;
    fields!(u16, 10, 0x1f);
}

impl Float for u32 {
    fields!(u32, 23, 0xff);
    host! { u32,
        host_add add32(a, b);
        host_sub sub32(a, b);
        host_mul mul32(a, b);
        host_div div32(a, b);
        host_sqrt sqrt32(a);
        host_mul_add mul_add32(a, b, c);
    }
}

impl Float for u64 {
    fields!(u64, 52, 0x7ff);
    host! { u64,
        host_add add64(a, b);
        host_sub sub64(a, b);
        host_mul mul64(a, b);
        host_div div64(a, b);
        host_sqrt sqrt64(a);
        host_mul_add mul_add64(a, b, c);
    }
}

impl Float for F80 {
    const FRACTION: u32 = 63;
    const EXPONENT_MAX: u32 = 0x7fff;
    const EXTENDED: bool = true;

    #[inline]
    fn fields(self) -> (bool, u32, u64) {
        (self.negative(), self.exponent().into(), self.significand)
    }

    #[inline]
    fn from_fields(sign: bool, exponent: u32, significand: u64) -> F80 {
        F80::new(sign, exponent as u16, significand)
    }
}
