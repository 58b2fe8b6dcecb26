//! Guest debug: what `KVM_SET_GUEST_DEBUG` asks for (KVM API 4.87), as KVM on AMD's processors does it.
//!
//! **Single steps** are TF itself, as there: user space does not see it while it asks for them, the
//! guest does (PUSHF, the frames of its handlers). So a step over what clears TF (POPF, a handler, SYSCALL
//! with TF in SFMASK) ends them, and so does what KVM's emulator runs, and `KVM_SET_REGS` to another
//! RIP, until they are asked for again.

use super::breakpoints;
use crate::exceptions::vector;
use crate::regs::{self, flag};
use crate::{Cpu, events, state};

/// Bits of [`GuestDebug::control`] (`KVM_GUESTDBG_*`).
pub mod control {
    /// The others count.
    pub const ENABLE: u32 = 1 << 0;
    /// Stop after each instruction.
    pub const SINGLESTEP: u32 = 1 << 1;
    /// INT3 is user space's.
    pub const USE_SW_BP: u32 = 1 << 16;
    /// `debugreg` has breakpoints.
    pub const USE_HW_BP: u32 = 1 << 17;
    /// Give the guest a #DB.
    pub const INJECT_DB: u32 = 1 << 18;
    /// Give the guest a #BP.
    pub const INJECT_BP: u32 = 1 << 19;
    /// Keep interrupts away.
    pub const BLOCKIRQ: u32 = 1 << 20;
}

/// `struct kvm_guest_debug`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestDebug {
    /// `control`. Bits that nobody knows are kept and do nothing (DBG-1).
    pub control: u32,
    /// `arch.debugreg`: 0 to 3, and 7, count.
    pub debugreg: [u64; 8],
}

impl GuestDebug {
    /// Whether any of these is asked for.
    #[inline(always)]
    pub(crate) fn has(&self, bits: u32) -> bool {
        self.control & bits != 0
    }
}

/// An exception waits already: `EBUSY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// `KVM_SET_GUEST_DEBUG`; nothing changes if it fails.
pub fn set(cpu: &mut Cpu, wanted: &GuestDebug) -> Result<(), Busy> {
    if wanted.has(control::INJECT_DB | control::INJECT_BP) {
        if events::exception_waits(cpu) {
            return Err(Busy);
        }
        let db = wanted.has(control::INJECT_DB);
        events::queue(cpu, if db { vector::DB } else { vector::BP }, None);
    }
    let flags = flags(cpu);
    cpu.state.debug.guest = if wanted.has(control::ENABLE) {
        *wanted
    } else {
        GuestDebug::default()
    };
    cpu.state.debug.step_rip = cpu.pc;
    breakpoints::update(cpu);
    set_flags(cpu, flags);
    Ok(())
}

/// RFLAGS as user space sees them: without the TF that is its own (SYNC-10).
pub fn flags(cpu: &Cpu) -> u64 {
    let flags = regs::rflags(cpu);
    if cpu.state.debug.guest.has(control::SINGLESTEP) {
        flags & !flag::TF
    } else {
        flags
    }
}

/// Sets RFLAGS for user space: with TF where single steps were asked for.
pub fn set_flags(cpu: &mut Cpu, flags: u64) {
    let debug = &cpu.state.debug;
    let steps = debug.guest.has(control::SINGLESTEP) && cpu.pc == debug.step_rip;
    regs::set_rflags(cpu, if steps { flags | flag::TF } else { flags });
    state::changed(cpu);
}

/// Whether NMIs and the interrupts of the controllers of this machine have to wait (DBG-8).
pub fn blocks_interrupts(cpu: &Cpu) -> bool {
    cpu.state.debug.guest.has(control::BLOCKIRQ)
}

/// Whether INT3 is user space's.
pub(crate) fn takes_breakpoints(cpu: &Cpu) -> bool {
    cpu.state.debug.guest.has(control::USE_SW_BP)
}

/// Whether the processor refuses to run with these registers: VMRUN's check of DR7 (AMD APM vol. 2,
/// 15.5.1).
pub(crate) fn refused(cpu: &Cpu) -> bool {
    cpu.state.debug.breakpoints.dr7 >> 32 != 0
}
