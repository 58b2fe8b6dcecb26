//! MMX, SSE to SSE4.2, AES, PCLMULQDQ, SHA, AVX, AVX2, FMA and F16C (SDM vol. 1, 5.4 to 5.8, 5.12 to
//! 5.15).
//!
//! ```text
//!   mnemonic ──table.rs──► Op, and a shape ──► shape's semantics ──► Op on each half of 128 bits
//!   (legacy and VEX        lanewise, insert,    registers, memory,    emit.rs: vectors of the host
//!    forms alike)          store, ...           upper halves          pure.rs: helpers
//! ```
//!
//! An operation is written once: of one half of a YMM register, which is what nearly all of AVX works
//! on; MMX registers are the low parts of such halves. Legacy forms leave bits 255:128 of the
//! destination as they are, VEX forms of 128 bits clear them (SDM vol. 1, 14.1.3): see [`finish`].
//!
//! Operands and results of helpers are handed over in slots of their own ([`scratch`]), so that each
//! helper says exactly what it touches, and compiled code keeps all registers.

mod across;
mod compare;
mod controls;
mod convert;
mod crypto;
mod dot;
mod emit;
mod float;
mod float_host;
mod lanes;
mod masked;
mod mmx;
mod moves;
mod pure;
mod shuffle;
mod strings;
mod table;

pub(crate) use table::choose;

use super::Operands;
use super::operand::{self, address, load, load_pair};
use crate::X86;
use crate::regs::{scratch, ymm};
use float::Float;
use pure::Pure;
use shuffle::Shuffle;
use understudy_engine::emit::{Emit, Size, Slot};
use understudy_engine::vector::{VecBinary, VecShift};

/// [`Simd::d`] or [`Simd::m`]: the operand is in memory.
pub(crate) const MEM: u8 = 0xff;

/// What decoding leaves of a SIMD instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Simd {
    /// What is done.
    op: Op,
    /// Number of the destination.
    d: u8,
    /// Number of the first source: of legacy forms, the destination.
    n: u8,
    /// Number of the second source.
    m: u8,
    /// Number of the third source.
    k: u8,
    /// The immediate.
    imm: u8,
    /// Base-2 logarithm of the bytes of `m`.
    bytes: u8,
    /// 256 bits.
    wide: bool,
    /// The form is VEX-encoded.
    vex: bool,
    /// The operand in memory must be aligned.
    aligned: bool,
}

/// Of an instruction that is no SIMD instruction.
pub(crate) const NONE: Simd = Simd {
    op: Op::Move,
    d: 0,
    n: 0,
    m: 0,
    k: 0,
    imm: 0,
    bytes: 4,
    wide: false,
    vex: false,
    aligned: false,
};

/// An operation on 128 bits: of the first source *a*, the second *b*, the third *c*, and the immediate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// *b*.
    Move,
    /// A vector operation of the engine.
    Binary(VecBinary, Size),
    /// PANDN.
    AndNot,
    /// PABSx of *b*.
    Abs(Size),
    /// *b* shifted by the immediate.
    Shift(VecShift, Size),
    /// A choice of bytes that the immediate determines.
    Shuffle(Shuffle),
    /// Lanes of *b* where *c* is negative, else of *a*.
    Select(Size),
    /// PMULHW, or PMULHUW.
    MultiplyHigh { signed: bool },
    /// PMADDWD.
    MultiplyAdd,
    /// PMULDQ, or PMULUDQ.
    MultiplyLong { signed: bool },
    /// PACKxSxx: signed lanes to lanes of half the size, saturated to signed or unsigned ones.
    Pack { from: Size, signed: bool },
    /// PAVGx.
    Average(Size),
    /// PADDUSx.
    AddSaturated(Size),
    /// PSUBUSx.
    SubtractSaturated(Size),
    /// A function that a helper computes.
    Pure(Pure),
    /// A function of floating point.
    Float(Float),
}

/// Bits 127:0 or 255:128 of a register.
#[inline(always)]
fn half_of(number: u8, half: usize) -> Slot {
    Slot::new(ymm(number).index() as u8 + 2 * half as u8)
}

impl Simd {
    /// How many halves are worked on.
    #[inline(always)]
    fn halves(&self) -> usize {
        1 + usize::from(self.wide)
    }
}

/// The address of the operand in memory, `bytes` long.
#[inline(always)]
fn vector_address<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    bytes: u64,
    write: bool,
) -> Result<E::Val, E::Stop> {
    let offset = operand::offset(e, o);
    let address = operand::linear(e, o.via, offset, bytes, write)?;
    if o.simd.aligned && bytes == 32 {
        // Odd if it is no multiple of 32, so that it is none of 16 either.
        let middle = e.shr_imm(address, 4);
        let middle = e.and_imm(middle, 1);
        return Ok(e.or(address, middle));
    }
    Ok(address)
}

/// Sixteen bytes of memory as a vector, by way of a scratch register.
#[inline(always)]
fn load_half<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    address: E::Val,
    half: usize,
) -> Result<E::Vec, E::Stop> {
    let (low, high) = load_pair(e, address, o.via, o.simd.aligned)?;
    let slot = scratch::half(scratch::M, half);
    e.put(slot, low);
    e.put(slot.next(), high);
    Ok(e.vec_get(slot))
}

/// A value of up to 64 bits as a vector, zeros above it.
#[inline(always)]
fn extended<E: Emit<Arch = X86>>(e: &mut E, value: E::Val) -> E::Vec {
    let zero = e.vec_imm(0);
    e.vec_with_lane(Size::B8, 0, zero, value)
}

/// The second source, in halves.
#[inline(always)]
fn source<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<[E::Vec; 2], E::Stop> {
    let p = &o.simd;
    if p.m != MEM {
        let low = e.vec_get(half_of(p.m, 0));
        let high = if p.bytes == 5 {
            e.vec_get(half_of(p.m, 1))
        } else {
            low
        };
        return Ok([low, high]);
    }
    if p.bytes < 4 {
        let at = address(e, o, p.bytes, false)?;
        let value = load(e, at, p.bytes, o.via, false)?;
        let low = extended(e, value);
        return Ok([low; 2]);
    }
    let at = vector_address(e, o, 1 << p.bytes, false)?;
    let low = load_half(e, o, at, 0)?;
    if p.bytes == 4 {
        return Ok([low; 2]);
    }
    let at = e.add_imm(at, 16);
    let high = load_half(e, o, at, 1)?;
    Ok([low, high])
}

/// Writes the destination. A legacy form leaves the upper half as it is.
#[inline(always)]
fn finish<E: Emit<Arch = X86>>(e: &mut E, p: &Simd, result: [E::Vec; 2]) {
    e.vec_put(half_of(p.d, 0), result[0]);
    if p.wide {
        e.vec_put(half_of(p.d, 1), result[1]);
    } else if p.vex {
        let zero = e.vec_imm(0);
        e.vec_put(half_of(p.d, 1), zero);
    }
}

/// Each half of the destination from the same halves of the sources.
fn lanewise<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let m = source(e, o)?;
    let mut result = m;
    for half in 0..p.halves() {
        let a = e.vec_get(half_of(p.n, half));
        let c = match p.op {
            Op::Select(_) | Op::Pure(_) => e.vec_get(half_of(p.k, half)),
            _ => a,
        };
        result[half] = emit::half(e, p.op, p.imm, half, [a, m[half], c])?;
    }
    finish(e, p, result);
    Ok(())
}
