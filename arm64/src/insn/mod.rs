//! A64 instructions (Arm ARM C4, C6, C7): one file an encoding group.
//!
//! Each group has `decode(word, mode)`, which finds the instruction's [`Def`] or says that the word
//! is unallocated, and beside it the semantics, generic over [`Emit`].

pub mod address;
pub mod alu;
pub mod atomic;
pub mod branch;
pub(crate) mod bti;
pub mod dp_imm;
pub mod dp_reg;
pub mod exclusive;
pub mod features;
mod flags;
mod fp_bf16;
mod fp_complex;
mod fp_host;
mod fp_lanes;
mod fp_long;
pub mod fp_scalar;
pub mod fp_vector;
pub mod info;
pub mod ldst;
pub mod ldst_simd;
pub mod ldst_struct;
mod mops;
mod pauth;
mod simd_crypto;
mod simd_emit;
mod simd_move;
mod simd_plan;
mod simd_scalar;
mod simd_shuffle;
mod simd_vector;
pub mod system;

use crate::{Arm64, Cpu, exceptions};
use understudy_engine::arch::{Def, Insn};
use understudy_engine::def;
use understudy_engine::emit::{Effects, Emit, Helper, Stop};

/// What decoding leaves of an instruction: the word, and an immediate where making it takes work
/// (a bitmask, an offset).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operands {
    /// The instruction.
    pub word: u32,
    /// Its immediate, as the group's file says.
    pub imm: u64,
}

impl Operands {
    /// Bits `low` and up, `count` of them.
    #[inline(always)]
    pub const fn bits(&self, low: u32, count: u32) -> u32 {
        self.word >> low & ((1 << count) - 1)
    }
    /// Whether the bit is set.
    #[inline(always)]
    pub const fn bit(&self, bit: u32) -> bool {
        self.word >> bit & 1 != 0
    }
    /// Field Rd or Rt, bits 4:0.
    #[inline(always)]
    pub const fn rd(&self) -> u32 {
        self.bits(0, 5)
    }
    /// Field Rn, bits 9:5.
    #[inline(always)]
    pub const fn rn(&self) -> u32 {
        self.bits(5, 5)
    }
    /// Field Ra or Rt2, bits 14:10.
    #[inline(always)]
    pub const fn ra(&self) -> u32 {
        self.bits(10, 5)
    }
    /// Field Rm or Rs, bits 20:16.
    #[inline(always)]
    pub const fn rm(&self) -> u32 {
        self.bits(16, 5)
    }
    /// Bit 31: whether the operation is on 64 bits.
    #[inline(always)]
    pub const fn sf(&self) -> bool {
        self.bit(31)
    }
}

/// A decoded instruction, before it is put into a block: its definition and its immediate.
pub type Decoded = (&'static Def<Arm64>, u64);

/// The mode of a block ([`understudy_engine::arch::Arch::mode`]).
pub mod mode {
    /// The block runs at EL1.
    pub const EL1: u32 = 1 << 0;
    /// Data accesses are big-endian (SCTLR_EL1.EE or E0E, as the level has it).
    pub const BIG_ENDIAN: u32 = 1 << 1;
    /// FP and Advanced SIMD instructions are trapped (CPACR_EL1.FPEN).
    pub const FP_TRAP: u32 = 1 << 2;
    /// Unaligned data accesses fault (SCTLR_EL1.A).
    pub const ALIGNED: u32 = 1 << 3;
    /// PSTATE.IL is set: every instruction takes an Illegal Execution State exception.
    pub const ILLEGAL: u32 = 1 << 4;
    /// SP is checked for alignment when an address is based on it (SCTLR_EL1.SA or SA0).
    pub const SP_ALIGNED: u32 = 1 << 5;
    /// Unprivileged loads and stores (LDTR...) have EL1's rights (PSTATE.UAO at EL1).
    pub const UAO: u32 = 1 << 6;
    /// Indirect branches look at what they lead to (FEAT_BTI).
    pub const BTI: u32 = 1 << 7;
    /// The lowest bit of those that number what is hidden ([`super::features::hidden`]).
    pub const HIDDEN: u32 = 8;
}

/// The helper that takes the Undefined Instruction exception.
pub static UNDEFINED: Helper<Arm64> = Helper {
    name: "undefined",
    call: |cpu, _| Err(exceptions::undefined(cpu)),
    effects: Effects::ANY,
};

/// An unallocated encoding, or an instruction that this vCPU does not have.
pub fn udf<E: Emit<Arch = Arm64>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    e.call(&UNDEFINED, &[])?;
    e.end_block();
    Ok(())
}

/// The helper that takes the trap of an FP or Advanced SIMD instruction.
static FP_TRAP: Helper<Arm64> = Helper {
    name: "fp_trap",
    call: |cpu, _| Err(exceptions::fp_access(cpu)),
    effects: Effects::ANY,
};

fn trapped<E: Emit<Arch = Arm64>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    e.call(&FP_TRAP, &[])?;
    e.end_block();
    Ok(())
}

/// What an allocated FP or Advanced SIMD instruction is while these are trapped.
fn fp_trap() -> &'static Def<Arm64> {
    def!(Arm64, "trapped FP", trapped, ends)
}

/// The helper that takes the Illegal Execution State exception.
static ILLEGAL: Helper<Arm64> = Helper {
    name: "illegal",
    call: |cpu, _| Err(exceptions::illegal_state(cpu)),
    effects: Effects::ANY,
};

fn illegal<E: Emit<Arch = Arm64>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    e.call(&ILLEGAL, &[])?;
    e.end_block();
    Ok(())
}

/// Decodes an instruction word (Arm ARM C4.1).
pub fn decode(mode: u32, word: u32) -> Insn<Arm64> {
    let decoded = if mode & mode::ILLEGAL != 0 {
        Some((def!(Arm64, "illegal state", illegal, ends), 0))
    } else {
        decode_group(mode, word).map(|decoded| match mode >> mode::HIDDEN {
            0 => decoded,
            _ => features::decode(mode, word, decoded),
        })
    };
    let (def, imm) = decoded.unwrap_or((def!(Arm64, "UDF", udf, ends), 0));
    Insn::new(def, Operands { word, imm }, 4)
}

/// The group of encodings is told by bits 28:25.
fn decode_group(mode: u32, word: u32) -> Option<Decoded> {
    match word >> 25 & 15 {
        0b1000 | 0b1001 => dp_imm::decode(mode, word),
        0b1010 | 0b1011 => branch::decode(mode, word),
        0b0101 | 0b1101 => dp_reg::decode(mode, word),
        0b0111 | 0b1111 => simd_fp(mode, word),
        0b0100 | 0b0110 | 0b1100 | 0b1110 => ldst::decode(mode, word),
        // 0b0000: reserved, and SME; 0b0010: SVE; 0b0001 and 0b0011: unallocated.
        _ => None,
    }
}

/// Data processing of scalar FP and Advanced SIMD.
fn simd_fp(mode: u32, word: u32) -> Option<Decoded> {
    let decoded = fp_scalar::decode(word)
        .or_else(|| fp_vector::decode(word))
        .or_else(|| fp_complex::decode(word))
        .or_else(|| fp_long::decode(word))
        .or_else(|| fp_bf16::decode(word))
        .or_else(|| simd_move::decode(word))
        .or_else(|| simd_vector::decode(word))
        .or_else(|| simd_scalar::decode(word))
        .or_else(|| simd_crypto::decode(word))?;
    Some(if mode & mode::FP_TRAP != 0 {
        (fp_trap(), 0)
    } else {
        decoded
    })
}

/// What a helper gives: a value, or the way the instruction ended.
pub type Outcome = Result<u64, Stop>;

const _: fn(&mut Cpu, [u64; 4]) -> Outcome = UNDEFINED.call;
