//! Advanced SIMD: the arithmetic of the vector instructions, as pure functions on 128-bit values.
//!
//! ```text
//!   instruction word --insn::simd_*--> Op, element size, operand shapes
//!                                        |
//!              registers --shapes--> Operands --Op::kernel(size)--> 128-bit result, QC
//! ```
//!
//! A vector register is a `u128` whose bits 7:0 are byte 0, as the Arm ARM numbers them. Operations
//! are generic functions over [`Lane`], one for each meaning of the Arm ARM's pseudocode, with the
//! sign as a const parameter; [`Op`] is the table that gives them their mnemonics and tells which
//! element sizes each has. They know nothing of registers: what an instruction reads (the upper
//! half for a `2` form, one element spread over the vector for a by-element form, one element for
//! a scalar form) is prepared in [`Operands`], and what it writes is cut out of the result by the
//! caller. Lanes that a caller has zeroed never set QC, so a 64-bit or scalar form needs only to
//! zero what it does not use.
//!
//! Floating-point arithmetic is not here, but for [`bf16`], which has no use for FPCR and FPSR.

#![forbid(unsafe_code)]

pub mod arith;
pub mod bf16;
pub mod estimate;
pub mod immediate;
pub mod lane;
pub mod multiply;
pub mod ops;
pub mod permute;
pub mod shift;

pub use lane::{Lane, Operands, Widen};
pub use ops::{Kernel, Op};
