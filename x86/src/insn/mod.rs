//! Instructions: what decoding leaves of them, and their semantics over
//! [`Emit`](understudy_engine::emit::Emit) (SDM vol. 2).
//!
//! ```text
//!   bytes ──iced-x86──► Instruction ──decode.rs──► Operands, and the Def of its semantics
//! ```
//!
//! Files are named for the groups of SDM vol. 1, 5.1 (general-purpose instructions).

pub mod alu;
mod arith;
mod bcd;
mod bits;
mod bmi;
mod control;
mod controls;
mod debug;
mod decode;
mod emulator;
mod exchange;
pub mod features;
mod inspect;
mod machine;
mod moves;
mod muldiv;
pub(crate) mod operand;
mod page_end;
mod ports;
pub(crate) mod refuse;
mod segments;
mod shift;
mod simd;
mod stack;
mod string;
mod system;
mod wait;
mod x87;
mod xsave;

pub(crate) use machine::complete as complete_in;
pub(crate) use page_end::{MAX_LENGTH, bytes_to_know, fetch_bytes, length_here};

use crate::X86;
use understudy_engine::arch::Insn;

/// The mode of a block ([`understudy_engine::arch::Arch::mode`]).
pub mod mode {
    /// 64-bit code.
    pub const CODE64: u32 = 1 << 0;
    /// Otherwise: 32-bit code; if not, 16-bit.
    pub const CODE32: u32 = 1 << 1;
    /// The stack pointer is RSP.
    pub const STACK64: u32 = 1 << 2;
    /// Otherwise: it is ESP; if not, SP.
    pub const STACK32: u32 = 1 << 3;
    /// CPL is 3.
    pub const USER: u32 = 1 << 4;
    /// CR0.PE, and not virtual-8086 mode.
    pub const PROTECTED: u32 = 1 << 5;
    /// ES, CS, SS and DS are flat: offsets are linear addresses.
    pub const FLAT: u32 = 1 << 6;
    /// Data accesses must be aligned (CR0.AM, RFLAGS.AC, CPL 3).
    pub const ALIGNED: u32 = 1 << 7;
    /// CR0.EM.
    pub const EM: u32 = 1 << 8;
    /// CR0.TS.
    pub const TS: u32 = 1 << 9;
    /// CR0.MP.
    pub const MP: u32 = 1 << 10;
    /// CR4.OSFXSR.
    pub const FXSR: u32 = 1 << 11;
    /// CR4.OSXSAVE.
    pub const XSAVE: u32 = 1 << 12;
    /// CR4.OSXSAVE, and XCR0 has SSE and AVX.
    pub const AVX: u32 = 1 << 13;
    /// The next x87 or MMX instruction that waits is #MF.
    pub const X87_PENDING: u32 = 1 << 14;
    /// MXCSR masks all exceptions.
    pub const SSE_MASKED: u32 = 1 << 15;
    /// It does, and rounds to nearest, and neither DAZ nor FTZ is set.
    pub const SSE_PLAIN: u32 = 1 << 16;
}

/// [`understudy_engine::emit::Mem::info`] of data accesses.
pub mod info {
    /// Through SS: faults are #SS.
    pub const STACK: u32 = 1 << 0;
    /// A load whose instruction writes the same place: it faults as a write.
    pub const WRITES: u32 = 1 << 1;
    /// Of a vector whose address must be a multiple of 16: #GP otherwise.
    pub const VECTOR: u32 = 1 << 2;
    /// By an instruction that KVM's emulator does not know.
    pub const UNKNOWN: u32 = 1 << 3;
}

/// Where an operand is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loc(u8);

impl Loc {
    /// In memory, where base, index and displacement say.
    pub const MEM: Loc = Loc(32);
    /// In the instruction.
    pub const IMM: Loc = Loc(33);
    /// Nowhere.
    pub const NONE: Loc = Loc(34);

    /// In a general-purpose register, below 16.
    pub const fn reg(number: u8) -> Loc {
        Loc(number & 15)
    }
    /// In AH, CH, DH or BH.
    pub const fn high(number: u8) -> Loc {
        Loc(16 | number & 3)
    }
    /// The number of the register, if it is in one and not in its second byte.
    #[inline(always)]
    pub(crate) const fn low_reg(self) -> Option<u8> {
        if self.0 < 16 { Some(self.0) } else { None }
    }
    /// The number of the register; of those in memory, whatever.
    #[inline(always)]
    pub(crate) const fn number(self) -> u8 {
        if self.0 < 16 { self.0 } else { self.0 & 3 }
    }
}

/// How the offset of an operand in memory becomes a linear address: bits 2:0 are the segment's
/// number.
pub mod via {
    /// By nothing: it is one.
    pub const FLAT: u8 = 7;
    /// The base is added (FS and GS in 64-bit mode).
    pub const BASE: u8 = 1 << 3;
    /// The segment is checked.
    pub const CHECKED: u8 = 1 << 4;
    /// It is the stack's segment, which faults with #SS.
    pub const STACK: u8 = 1 << 5;
    /// The instruction is none that KVM's emulator knows.
    pub const UNKNOWN: u8 = 1 << 6;
}

/// What decoding leaves of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    /// The immediate, extended to 64 bits; a branch's distance from the instruction's start.
    pub imm: u64,
    /// Displacement of the operand in memory; from the instruction's start if `base` is [`RIP`].
    pub disp: u64,
    /// First operand.
    pub a: Loc,
    /// Second operand.
    pub b: Loc,
    /// Third operand.
    pub c: Loc,
    /// Number of the base register; [`NO_REG`], or [`RIP`].
    pub base: u8,
    /// Number of the index register, or [`NO_REG`].
    pub index: u8,
    /// Base-2 logarithm of what the index is multiplied by.
    pub scale: u8,
    /// [`via`].
    pub via: u8,
    /// Base-2 logarithm of the bytes of an address: 1, 2 or 3.
    pub address: u8,
    /// Base-2 logarithm of the bytes of an operand.
    pub size: u8,
    /// Bytes of the instruction.
    pub length: u8,
    /// Of SIMD instructions, the operation and its registers.
    pub(crate) simd: simd::Simd,
}

/// [`Operands::base`] or [`Operands::index`]: there is none.
pub const NO_REG: u8 = 0xff;
/// [`Operands::base`]: the instruction pointer.
pub const RIP: u8 = 0xfe;

/// Decodes the instruction at the start of `bytes`, which end with their page at the latest.
pub fn decode(mode: u32, bytes: &[u8]) -> Insn<X86> {
    decode::decode(mode, bytes)
}

/// The same without its LOCK prefix; none if it cannot be had.
pub(crate) fn decode_unlocked(mode: u32, bytes: &[u8]) -> Option<Insn<X86>> {
    decode::decode_unlocked(mode, bytes)
}
