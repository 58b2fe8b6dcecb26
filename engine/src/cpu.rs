//! A vCPU's hot state: what the interpreter and compiled code work on.

use crate::arch::{Arch, Insn};
use crate::chain::{Link, Links};
use crate::emit::{Slot, Stop};
use crate::request::{DIRTY_RING_FULL, Requests};
use crate::tlb::{Entry, Tlb};
use std::sync::Arc;

/// A vCPU. The first fields are known to compiled code by their offsets.
#[repr(C)]
pub struct Cpu<A: Arch> {
    /// The register file.
    pub regs: [u64; Slot::COUNT],
    /// Address of the instruction being executed or, between instructions, of the next.
    pub pc: u64,
    /// TLB context of accesses at the current privilege level.
    pub context: u64,
    /// TLB context of accesses with the unprivileged level's rights.
    pub context_unprivileged: u64,
    /// Guest instructions executed so far; counted by the block, when it begins.
    pub instructions: u64,
    pub(crate) tlb_base: *const Entry,
    pub(crate) request_word: *const u32,
    pub(crate) links_base: *const Link,
    /// What ended the instruction that compiled code was in; 0 if nothing.
    pub(crate) status: u64,
    /// What a slow path of compiled code gave.
    pub(crate) results: [u64; 2],
    epoch: u64,
    fetch_flush: bool,
    pub(crate) leave: bool,
    pub(crate) mode: u32,
    pub(crate) length: u64,
    tlb: Tlb,
    pub(crate) links: Links,
    requests: Arc<Requests>,
    /// The rest of the architectural state.
    pub state: A::State,
}

// SAFETY: the raw pointers lead into `tlb` and `links` (boxes of this value's own), to code that is
// kept with it, and into `requests` (shared, and made of atomics).
unsafe impl<A: Arch> Send for Cpu<A> where A::State: Send {}

impl<A: Arch> Cpu<A> {
    /// A vCPU with all slots 0.
    pub fn new(state: A::State, requests: Arc<Requests>) -> Cpu<A> {
        let tlb = Tlb::new();
        let links = Links::new();
        Cpu {
            regs: [0; Slot::COUNT],
            pc: 0,
            context: 0,
            context_unprivileged: 0,
            instructions: 0,
            tlb_base: tlb.base(),
            request_word: requests.word(),
            links_base: links.base(),
            status: 0,
            results: [0; 2],
            epoch: 0,
            fetch_flush: false,
            leave: false,
            mode: 0,
            length: A::INSN_ALIGN,
            tlb,
            links,
            requests,
            state,
        }
    }

    /// What a slot holds.
    #[inline(always)]
    pub fn slot(&self, slot: Slot) -> u64 {
        self.regs[slot.index()]
    }

    /// Sets a slot.
    #[inline(always)]
    pub fn set_slot(&mut self, slot: Slot, value: u64) {
        self.regs[slot.index()] = value;
    }

    /// The TLB for data accesses.
    #[inline(always)]
    pub fn tlb(&mut self) -> &mut Tlb {
        &mut self.tlb
    }

    /// The same, to look only.
    #[inline(always)]
    pub(crate) fn tlb_ref(&self) -> &Tlb {
        &self.tlb
    }

    /// What others want of this vCPU.
    pub fn requests(&self) -> &Arc<Requests> {
        &self.requests
    }

    /// Whether the vCPU may dirty no further page until user space has made room in its dirty ring
    /// (KVM API 8.29). To be asked before accesses that are translated anew, and by [`Arch::service`];
    /// costs nothing where there is no ring.
    pub fn dirty_ring_full(&self) -> bool {
        if self.requests.pending() & DIRTY_RING_FULL == 0 {
            return false;
        }
        let full = understudy_memory::ring::is_full();
        if !full {
            self.requests.take(DIRTY_RING_FULL);
        }
        full
    }

    /// Whether [`Arch::service`] is due.
    #[inline(always)]
    pub(crate) fn requests_pending(&self) -> bool {
        self.requests.any()
    }

    /// Begins a new epoch: blocks compare their source bytes before they run again, as somebody
    /// may have changed code.
    pub fn new_epoch(&mut self) {
        self.epoch += 1;
    }

    /// The instruction at hand, a store or a helper that may stop, has stored over code: blocks
    /// compare their source bytes before they run again, beginning with the next instruction. The
    /// architecture must have [`Arch::LEAVES_BLOCKS`].
    pub fn code_written(&mut self) {
        self.new_epoch();
        self.leave_after_insn();
    }

    /// Has the dispatcher look around after the instruction at hand, a store or a helper that may
    /// stop. The architecture must have [`Arch::LEAVES_BLOCKS`].
    pub fn leave_after_insn(&mut self) {
        debug_assert!(A::LEAVES_BLOCKS);
        self.leave = true;
    }

    /// Whether [`Cpu::leave_after_insn`] has been called by the instruction at hand.
    pub fn leaving(&self) -> bool {
        self.leave
    }

    /// Runs an instruction that is in no block, and gives the address of the next. [`Cpu::pc`], which
    /// stays, is the instruction's own address.
    pub fn interpret_one(&mut self, insn: &Insn<A>) -> Result<u64, Stop> {
        let (pc, length) = (self.pc, self.length);
        self.length = insn.length as u64;
        let result = (insn.interpret)(self, &insn.operands);
        self.length = length;
        result?;
        let next = self.pc.wrapping_add(insn.length as u64);
        self.pc = pc;
        Ok(next)
    }

    /// The epoch, see [`crate::block`].
    #[inline(always)]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Forgets the translations of instruction fetches, before the next block.
    pub fn flush_fetches(&mut self) {
        self.fetch_flush = true;
    }

    #[inline(always)]
    pub(crate) fn take_fetch_flush(&mut self) -> bool {
        std::mem::take(&mut self.fetch_flush)
    }

    /// Forgets all translations, of data and of instructions.
    pub fn flush_all(&mut self) {
        self.tlb.clear();
        self.fetch_flush = true;
    }

    /// The mode of the block that is being run.
    pub fn block_mode(&self) -> u32 {
        self.mode
    }
}
