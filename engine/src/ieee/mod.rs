//! What IEEE 754 says of arithmetic, for the semantics of any architecture: an operation is exact, on
//! integers, and is rounded once.
//!
//! ```text
//!   operands ──► the architecture ──► Real ──────────► in_units ──► the architecture ──► result
//!                unpacks: formats,    exact sums,      Rest,        packs: tininess,
//!                denormals, NaNs      products ...     Rounding     overflow, flags
//! ```
//!
//! Where the host's own arithmetic provably gives the same it is had first ([`host`]).
//!
//! Formats, the choice among NaNs, flushing of denormals and exceptions are the architecture's own: the
//! standard leaves them open, or the architecture has modes that it does not know.

#![forbid(unsafe_code)]

pub mod host;
mod real;

#[cfg(test)]
mod tests;

pub use real::{Real, Rest};

use core::cmp::Ordering;

/// How a result that is not representable is rounded (IEEE 754-2019, 4.3), under the names of the Arm
/// ARM's "FPRounding".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Rounding {
    /// To nearest, a tie to the even neighbour: "roundTiesToEven".
    #[default]
    TieEven,
    /// Towards plus infinity: "roundTowardPositive".
    PosInf,
    /// Towards minus infinity: "roundTowardNegative".
    NegInf,
    /// Towards zero: "roundTowardZero".
    Zero,
    /// To nearest, a tie away from zero: "roundTiesToAway". Arm has it for integral results only.
    TieAway,
    /// To odd ("von Neumann"): truncate, then set the lowest bit if that was inexact. Not IEEE 754's;
    /// Arm's FCVTXN and BFloat16 arithmetic.
    Odd,
}

impl Rounding {
    /// Whether a number too large for its format becomes an infinity, rather than the largest number
    /// (IEEE 754-2019, 7.4).
    #[inline]
    pub const fn overflows_to_infinity(self, sign: bool) -> bool {
        match self {
            Rounding::TieEven | Rounding::TieAway => true,
            Rounding::PosInf => !sign,
            Rounding::NegInf => sign,
            Rounding::Zero | Rounding::Odd => false,
        }
    }
}

/// How two values compare: the four relations of IEEE 754-2019, 5.11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The first is less.
    Less,
    /// They are equal; so are zeros of either sign.
    Equal,
    /// The first is greater.
    Greater,
    /// One is not a number.
    Unordered,
}

impl From<Ordering> for Comparison {
    #[inline]
    fn from(order: Ordering) -> Comparison {
        match order {
            Ordering::Less => Comparison::Less,
            Ordering::Equal => Comparison::Equal,
            Ordering::Greater => Comparison::Greater,
        }
    }
}
