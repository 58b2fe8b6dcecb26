//! Floating point as the Arm Architecture Reference Manual (DDI 0487) defines it: its shared
//! pseudocode ("FPAdd", "FPMulAdd", "FPRoundInt", ...) over the three formats of Armv8.2.
//!
//! A floating-point value is its bit pattern: `u16` is binary16, `u32` binary32, `u64` binary64
//! (trait [`Float`]); BFloat16 is a type of its own ([`bf16::Bf16`]). Every operation is a method of [`Fp`], which holds the two registers that an
//! operation reads and writes:
//!
//! ```text
//!   operands ──► unpack ──────► exact result ─────► round ──► result
//!                │ FZ, FZ16,    (sign, integer,     │ RMode, FZ, FZ16, AHP
//!                │ AHP          exponent, sticky)   │
//!                ▼                                  ▼
//!                FPSR.IDC       FPSR.IOC, DZC       FPSR.OFC, UFC, IXC
//! ```
//!
//! `unpack` and `round` are in `round.rs`, and everything else is exact integer arithmetic between
//! them, most of it [`understudy_engine::ieee`]'s. Where the host's own `f32` and `f64` provably give
//! the same bits and flags they are used instead ([`understudy_engine::ieee::host`]); the tests run both
//! ways and compare.
//!
//! What is not here, because the modelled processors lack it: trapped exceptions (FPCR.IOE and its
//! fellows are RAZ/WI), FEAT_AFP, FEAT_EBF16.

mod arith;
pub mod bf16;
mod compare;
mod convert;
mod estimate;
mod format;
mod round;

#[cfg(test)]
mod tests;

pub use format::Float;
pub use understudy_engine::ieee::{Comparison, Rounding};

/// Fields of FPCR (Arm ARM D19.2, "FPCR, Floating-point Control Register").
pub mod fpcr {
    /// Flush-to-zero for half precision (FEAT_FP16).
    pub const FZ16: u32 = 1 << 19;
    /// Lowest bit of RMode, the two-bit rounding mode.
    pub const RMODE_SHIFT: u32 = 22;
    /// Rounding mode: 0 nearest even, 1 plus infinity, 2 minus infinity, 3 zero.
    pub const RMODE: u32 = 3 << RMODE_SHIFT;
    /// Flush-to-zero for single and double precision.
    pub const FZ: u32 = 1 << 24;
    /// Default NaN: a NaN result is the default NaN, whatever the operands.
    pub const DN: u32 = 1 << 25;
    /// Alternative half precision: conversions take exponent 31 of a half for a number.
    pub const AHP: u32 = 1 << 26;
    /// The bits that a processor with FEAT_FP16 but without trapped floating-point exceptions
    /// implements; the others are RAZ/WI (traps, Len, Stride) or RES0.
    pub const MASK: u32 = FZ16 | RMODE | FZ | DN | AHP;
}

/// Fields of FPSR (Arm ARM D19.2, "FPSR, Floating-point Status Register"): all cumulative.
pub mod fpsr {
    /// Invalid operation.
    pub const IOC: u32 = 1 << 0;
    /// Division by zero.
    pub const DZC: u32 = 1 << 1;
    /// Overflow.
    pub const OFC: u32 = 1 << 2;
    /// Underflow.
    pub const UFC: u32 = 1 << 3;
    /// Inexact.
    pub const IXC: u32 = 1 << 4;
    /// Input denormal: an operand was flushed to zero.
    pub const IDC: u32 = 1 << 7;
    /// Saturation, set by integer instructions of Advanced SIMD.
    pub const QC: u32 = 1 << 27;
    /// N, Z, C and V of AArch32's comparisons: bits that AArch64 only keeps, on a processor that
    /// has AArch32 at EL0.
    pub const NZCV: u32 = 0xf << 28;
    /// The bits that exist.
    pub const MASK: u32 = IOC | DZC | OFC | UFC | IXC | IDC | QC | NZCV;
}

/// The floating-point registers that an operation depends on and changes.
///
/// Operations never look at FPCR bits outside [`fpcr::MASK`] and only ever set bits of FPSR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fp {
    /// Control: see [`fpcr`].
    pub fpcr: u32,
    /// Status: see [`fpsr`].
    pub fpsr: u32,
}

impl Fp {
    /// Operations under `fpcr`, with no cumulative flag set yet.
    pub fn new(fpcr: u32) -> Fp {
        Fp { fpcr, fpsr: 0 }
    }

    /// "FPRoundingMode": the mode that FPCR.RMode selects.
    pub fn rounding_mode(&self) -> Rounding {
        match (self.fpcr & fpcr::RMODE) >> fpcr::RMODE_SHIFT {
            0 => Rounding::TieEven,
            1 => Rounding::PosInf,
            2 => Rounding::NegInf,
            _ => Rounding::Zero,
        }
    }

    /// "FPProcessException" without traps: accumulate `flags` into FPSR.
    fn raise(&mut self, flags: u32) {
        self.fpsr |= flags;
    }
}
