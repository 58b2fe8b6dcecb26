//! Floating point as the SDM defines it (vol. 1, chapters 4, 8 and 11), for binary16, binary32,
//! binary64 and x87's 80 bits.
//!
//! A value is its bit pattern: `u16`, `u32`, `u64` or [`F80`] (trait [`Float`]). Each operation is a
//! method of [`Env`], which holds what MXCSR or the x87's control word say, and collects the exceptions:
//!
//! ```text
//!   operands ──► unpack ──────► exact result ─────► round ──► result
//!                │ DAZ          (sign, integer,     │ RC, PC, FTZ, masks
//!                ▼              exponent, sticky)   ▼
//!                IE, DE, ZE                         OE, UE, PE, C1
//! ```
//!
//! `round.rs` has the two ends, everything else is exact integer arithmetic between them, most of it
//! [`understudy_engine::ieee`]'s, but for the x87's transcendental functions, which are series of 128
//! bits (`transcendental.rs`). Where the host's own `f32` and `f64` provably give the same bits and
//! flags they are used instead ([`understudy_engine::ieee::host`]); the tests run both, and the host's
//! SSE and x87 units beside them.
//!
//! **Exceptions that are not masked.** An operation always gives a value. The caller asks
//! [`Env::unmasked`]: after an SSE operation nothing is written then; after one of the x87 it depends
//! ([`PRE`] says which exceptions come before a result).

mod arith;
mod compare;
mod convert;
mod format;
mod round;
mod transcendental;
mod wide;
mod x87;

pub use format::{F80, Float};
pub use understudy_engine::ieee::{Comparison, Rounding};
pub use x87::Remainder;

/// Invalid operation. Bits of MXCSR's and FSW's low six (SDM vol. 1, 4.9.1).
pub const IE: u8 = 1 << 0;
/// Denormal operand.
pub const DE: u8 = 1 << 1;
/// Division by zero.
pub const ZE: u8 = 1 << 2;
/// Overflow.
pub const OE: u8 = 1 << 3;
/// Underflow.
pub const UE: u8 = 1 << 4;
/// Inexact ("precision").
pub const PE: u8 = 1 << 5;
/// All six.
pub const ALL: u8 = 0x3f;
/// Those that are found before there is a result: unmasked, they keep it from being made.
pub const PRE: u8 = IE | DE | ZE;

/// Fields of MXCSR (SDM vol. 1, 10.2.3).
pub mod mxcsr {
    /// Denormal operands are zeros.
    pub const DAZ: u32 = 1 << 6;
    /// The lowest of the six masks.
    pub const MASKS_SHIFT: u32 = 7;
    /// The lower bit of the rounding control.
    pub const RC_SHIFT: u32 = 13;
    /// Tiny results are zeros.
    pub const FTZ: u32 = 1 << 15;
    /// The bits that exist; the others must be 0 (`MXCSR_MASK`).
    pub const MASK: u32 = 0xffff;
    /// What it holds after reset.
    pub const RESET: u32 = 0x1f80;
}

/// The rounding that the two bits of RC ask for (SDM vol. 1, table 4-8).
#[inline]
pub const fn rounding_control(rc: u32) -> Rounding {
    match rc & 3 {
        0 => Rounding::TieEven,
        1 => Rounding::NegInf,
        2 => Rounding::PosInf,
        _ => Rounding::Zero,
    }
}

/// Which unit's rules are followed where the two differ: the choice among NaNs, and who has denormal
/// operands reported (SDM vol. 1, tables 4-7, 8-10 and 11-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// SSE and AVX.
    Sse,
    /// The x87.
    X87,
}

/// What operations depend on, and the exceptions that they have met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Env {
    /// Whose rules.
    pub unit: Unit,
    /// Rounding control.
    pub rounding: Rounding,
    /// The exceptions that are masked.
    pub masked: u8,
    /// Denormals are zeros.
    pub daz: bool,
    /// Flush to zero.
    pub ftz: bool,
    /// Bits of the significand that sums, products, quotients and roots of [`F80`] are rounded to:
    /// 24, 53 or 64 (precision control).
    pub precision: u32,
    /// Exceptions met so far.
    pub flags: u8,
    /// Those that need not be found out: they are masked, and reported already.
    pub known: u8,
    /// The last result was rounded away from zero (C1 of the x87).
    pub rounded_up: bool,
    /// An operand was a denormal before it was extended ([`Env::extend`]).
    pub extended_denormal: bool,
}

impl Env {
    /// Operations of SSE under this MXCSR. What its flags tell already may be missing from
    /// [`Env::flags`].
    #[inline]
    pub const fn sse(value: u32) -> Env {
        let masked = (value >> mxcsr::MASKS_SHIFT) as u8 & ALL;
        Env {
            unit: Unit::Sse,
            rounding: rounding_control(value >> mxcsr::RC_SHIFT),
            masked,
            daz: value & mxcsr::DAZ != 0,
            ftz: value & mxcsr::FTZ != 0,
            precision: 64,
            flags: 0,
            known: value as u8 & masked & PE,
            rounded_up: false,
            extended_denormal: false,
        }
    }

    /// Operations of the x87 under this control word (SDM vol. 1, 8.1.5).
    #[inline]
    pub const fn x87(control: u16) -> Env {
        Env {
            unit: Unit::X87,
            rounding: rounding_control(control as u32 >> 10),
            masked: control as u8 & ALL,
            daz: false,
            ftz: false,
            precision: match control >> 8 & 3 {
                0 => 24,
                2 => 53,
                _ => 64,
            },
            flags: 0,
            known: 0,
            rounded_up: false,
            extended_denormal: false,
        }
    }

    /// The exceptions met that are not masked.
    #[inline]
    pub const fn unmasked(&self) -> u8 {
        self.flags & !self.masked
    }

    #[inline]
    fn raise(&mut self, flags: u8) {
        self.flags |= flags;
    }

    /// Whether an exception that is not masked keeps the operation from having a result.
    #[inline]
    fn stopped(&self) -> bool {
        self.unmasked() & PRE != 0
    }
}
