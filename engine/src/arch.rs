//! What an architecture provides to the engine.

use crate::cpu::Cpu;
use crate::emit::{Mem, Stop};
use crate::ir::Recorder;
use std::convert::Infallible;

/// An architecture: how its instructions are decoded, its addresses translated, its events taken.
///
/// All functions are associated ones over [`Cpu`], so that the engine owns the hot state.
pub trait Arch: Sized + 'static {
    /// What decoding leaves of an instruction for its semantics.
    type Operands: Copy + Send + Sync + std::fmt::Debug + 'static;
    /// The architectural state beyond the register file.
    type State;

    /// Bytes that any instruction's address is a multiple of.
    const INSN_ALIGN: u64;

    /// Whether [`Cpu::leave_after_insn`] is used: a block can end behind any instruction that
    /// stores. If not, no code is made for that.
    const LEAVES_BLOCKS: bool = false;

    /// The mode under which blocks are translated and kept: all that decoding and emitted code
    /// depend on and that is not in a slot (exception level, endianness, traps...).
    fn mode(cpu: &Cpu<Self>) -> u32;

    /// Decodes the instruction at the start of `bytes`, which lie in one page and are at least
    /// [`Arch::INSN_ALIGN`] long. Always gives something: an undefined instruction's semantics is
    /// its exception.
    fn decode(mode: u32, bytes: &[u8]) -> Insn<Self>;

    /// Translates `cpu.pc` for an instruction fetch, or takes the exception that is due.
    fn fetch(cpu: &mut Cpu<Self>) -> Result<Fetch, Stop>;

    /// The checks due before translation of a data access that is not in the TLB: alignment,
    /// watchpoints on the whole range. Takes the exception that is due. Called once an access.
    fn check_access(
        cpu: &mut Cpu<Self>,
        address: u64,
        bytes: u64,
        mem: Mem,
        kind: AccessKind,
    ) -> Result<(), Stop>;

    /// Translates a data address for an access of `bytes` that lie in one page, or takes the
    /// exception that is due.
    fn translate(
        cpu: &mut Cpu<Self>,
        address: u64,
        bytes: u64,
        mem: Mem,
        kind: AccessKind,
    ) -> Result<Target, Stop>;

    /// An access to `target` failed in the host: the memory behind the slot is not there.
    fn host_fault(cpu: &mut Cpu<Self>, address: u64) -> Stop;

    /// A load from where there is no memory. Gives the value, or leaves so that it can be had.
    fn device_load(cpu: &mut Cpu<Self>, physical: u64, mem: Mem) -> Result<u64, Stop>;

    /// A store to where there is no memory.
    fn device_store(cpu: &mut Cpu<Self>, physical: u64, value: u64, mem: Mem) -> Result<(), Stop>;

    /// A load of `bytes`, up to 16, of which one part at least is where there is no memory: it crosses a
    /// page, or is one of a pair. `physical` is where the first such part is.
    fn device_load_parts(
        cpu: &mut Cpu<Self>,
        address: u64,
        bytes: u64,
        physical: u64,
        mem: Mem,
    ) -> Result<u128, Stop> {
        let _ = (address, bytes);
        Err(Self::device_other(cpu, physical, mem, AccessKind::Load))
    }

    /// Such a store.
    fn device_store_parts(
        cpu: &mut Cpu<Self>,
        address: u64,
        bytes: u64,
        physical: u64,
        value: u128,
        mem: Mem,
    ) -> Result<(), Stop> {
        let _ = (address, bytes, value);
        Err(Self::device_other(cpu, physical, mem, AccessKind::Store))
    }

    /// An access to where there is no memory, of a kind that devices don't take: it is atomic, or has
    /// parts and the architecture makes nothing of them.
    fn device_other(cpu: &mut Cpu<Self>, physical: u64, mem: Mem, kind: AccessKind) -> Stop;

    /// Looks after everything that [`Cpu::requests`] announces and takes a pending interrupt.
    /// Called on entry, and between blocks whenever the request word is not 0.
    fn service(cpu: &mut Cpu<Self>) -> Result<(), Stop>;

    /// Whether instructions must now be run one at a time, between [`Arch::before_insn`] and
    /// [`Arch::after_insn`] (software step).
    fn stepping(cpu: &Cpu<Self>) -> bool;

    /// Before an instruction that is run by itself: takes the debug exception that is due.
    fn before_insn(cpu: &mut Cpu<Self>) -> Result<(), Stop>;

    /// After an instruction that was run by itself; `stop` is what it ended with.
    fn after_insn(cpu: &mut Cpu<Self>, stop: Option<Stop>);
}

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessKind {
    /// It reads.
    Load,
    /// It writes.
    Store,
    /// It reads and writes, atomically.
    Atomic,
}

impl AccessKind {
    /// Whether memory is written.
    pub fn writes(self) -> bool {
        self != AccessKind::Load
    }
}

/// Where a data address leads.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// To guest memory.
    Memory(Frame),
    /// To no memory slot: this guest-physical address.
    Device(u64),
}

/// A page of guest memory as one vCPU may use it.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Host address of the first byte of the 4 KiB that the access is in.
    pub host: *mut u8,
    /// Whether later loads from the page may be done without asking.
    pub cache_loads: bool,
    /// Whether later stores to the page may be done without asking (not while they must still be
    /// logged, nor where a watchpoint is).
    pub cache_stores: bool,
}

/// Where instructions come from.
#[derive(Clone, Copy, Debug)]
pub struct Fetch {
    /// Host address of the first byte of the page.
    pub host: *const u8,
    /// Guest-physical address of the page.
    pub physical: u64,
    /// Instructions of this page are run one at a time, between [`Arch::before_insn`] and
    /// [`Arch::after_insn`]: it has a breakpoint.
    pub careful: bool,
    /// Whether the translation may be kept.
    pub cache: bool,
}

/// A kind of instruction: its name, and its semantics for either tier. Made by [`crate::def!`].
pub struct Def<A: Arch> {
    /// The manual's name of the instruction.
    pub name: &'static str,
    /// Its semantics, computing.
    pub interpret: fn(&mut Cpu<A>, &A::Operands) -> Result<(), Stop>,
    /// Its semantics, recorded.
    pub record: fn(&mut Recorder<A>, &A::Operands) -> Result<(), Infallible>,
    /// Whether a block ends with it.
    pub ends_block: bool,
}

/// A decoded instruction.
pub struct Insn<A: Arch> {
    /// [`Def::interpret`] of `def`, at hand.
    pub interpret: fn(&mut Cpu<A>, &A::Operands) -> Result<(), Stop>,
    /// What is left of its encoding.
    pub operands: A::Operands,
    /// Its kind.
    pub def: &'static Def<A>,
    /// Its length in bytes.
    pub length: u8,
}

impl<A: Arch> Insn<A> {
    /// An instruction of `length` bytes.
    #[inline]
    pub fn new(def: &'static Def<A>, operands: A::Operands, length: u8) -> Insn<A> {
        Insn {
            interpret: def.interpret,
            operands,
            def,
            length,
        }
    }
}

impl<A: Arch> Clone for Insn<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Arch> Copy for Insn<A> {}

impl<A: Arch> std::fmt::Debug for Insn<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:x?}", self.def.name, self.operands)
    }
}

/// The [`Def`] of an instruction: `def!(Arch, "NAME", function)` or, for functions with further
/// generic arguments, `def!(Arch, "NAME", function, [true, 3])`; `ends` at the end where a block
/// ends with the instruction. The function is `fn f<E: Emit<Arch = Arch>, ...>(&mut E, &Operands)
/// -> Result<(), E::Stop>`.
#[macro_export]
macro_rules! def {
    ($arch:ty, $name:expr, $($f:ident)::+ $(, [$($g:tt),*])?) => {
        $crate::def!(@ $arch, $name, $($f)::+, [$($($g),*)?], false)
    };
    ($arch:ty, $name:expr, $($f:ident)::+ $(, [$($g:tt),*])?, ends) => {
        $crate::def!(@ $arch, $name, $($f)::+, [$($($g),*)?], true)
    };
    (@ $arch:ty, $name:expr, $($f:ident)::+, [$($g:tt),*], $ends:expr) => {{
        static DEF: $crate::arch::Def<$arch> = $crate::arch::Def {
            name: $name,
            interpret: $($f)::+::<$crate::cpu::Cpu<$arch> $(, $g)*>,
            record: $($f)::+::<$crate::ir::Recorder<$arch> $(, $g)*>,
            ends_block: $ends,
        };
        &DEF
    }};
}
