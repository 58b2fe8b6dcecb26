//! What an access to memory tells of its instruction besides its syndrome.
//!
//! ```text
//!   Mem::info   24          14         8          4     2     0
//!              │ exit::syndrome │ … │ CACHE │ … │ STACK │ ALIGN │
//! ```

use crate::{Cpu, regs};
use understudy_engine::emit::Mem;

/// In [`Mem::info`]: the address is based on SP, whose alignment is checked before anything else
/// ([`stack_misaligned`]).
pub const STACK: u32 = 1 << 4;
/// In [`Mem::info`]: base-2 logarithm of [`alignment`].
pub const ALIGN: u32 = 7;

/// The alignment in bytes that the access must have where SCTLR_EL1.A is set, and wherever
/// [`Mem::align`] demands one: that of an element, or of all for an exclusive or atomic pair.
pub const fn alignment(mem: Mem) -> u64 {
    1 << (mem.info & ALIGN)
}

/// Whether the access must take an SP alignment fault, before anything else is looked at. The
/// address it has then is [`NOWHERE`].
pub fn stack_misaligned(cpu: &Cpu, mem: Mem) -> bool {
    mem.info & STACK != 0 && cpu.slot(regs::SP) & 15 != 0
}

/// The address that an access gets when the stack pointer on which it is based is misaligned: no
/// translation ever maps it, so that the access goes the slow way and is found there.
pub const NOWHERE: u64 = 0x0048_0000_0000_0000;
