//! Software Step (Arm ARM D2.12), the guest's own and user space's (DBG-22 to DBG-24).
//!
//! ```text
//!                     exceptions enabled, SS on
//!   inactive ────────────────┬────────────────────────┐
//!      ▲                     ▼                        ▼
//!      │          active-not-pending  ── step ──► active-pending ── Software Step exception
//!      │            (PSTATE.SS = 1)               (PSTATE.SS = 0)           │
//!      └────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! PSTATE.SS is the state. It is the guest's, except in a run in which user space steps: then it
//! is lent, and given back when the run ends (OSL-23, DBG-23).

use super::{FAULT_STATUS, enabled, enabled_from, route};
use crate::exceptions::class;
use crate::state::pstate;
use crate::{Cpu, regs};
use understudy_engine::emit::Stop;

/// ISS.ISV of a Software Step exception: EX is valid.
const ISV: u64 = 1 << 24;
/// ISS.EX: a load-exclusive was stepped.
const EX: u64 = 1 << 6;

/// What is known of a step beyond PSTATE.SS.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// Whether the state machine is active: SS is on, and exceptions are enabled.
    active: bool,
    /// An instruction is being stepped.
    running: bool,
    /// ISS of the exception that is pending, without its status.
    iss: u64,
    /// Whether a load-exclusive had marked an address before the instruction.
    marked: bool,
    /// Active-pending when the last run ended, while user space steps.
    owed: bool,
    /// The run ends with the Software Step exception.
    taken: bool,
    /// The guest's PSTATE.SS while a run has borrowed it.
    lent: Option<u64>,
}

/// Brings up to date whether instructions are stepped: after a change of what counts, of the
/// exception level or of PSTATE.D.
#[inline]
pub fn update(cpu: &mut Cpu) {
    cpu.state.debug.step.active = cpu.state.debug.effective.ss && enabled(cpu);
}

/// [`understudy_engine::arch::Arch::stepping`].
#[inline(always)]
pub fn stepping(cpu: &Cpu) -> bool {
    cpu.state.debug.step.active
}

/// Whether the Software Step exception is due before anything else, the fetch included.
#[inline]
pub fn pending(cpu: &Cpu) -> bool {
    cpu.state.debug.step.active && cpu.state.pstate & pstate::SS == 0
}

/// Takes the exception that is pending.
#[cold]
pub fn take(cpu: &mut Cpu) -> Stop {
    let step = &mut cpu.state.debug.step;
    let iss = std::mem::take(&mut step.iss);
    step.running = false;
    step.taken = true;
    route(cpu, class::SOFTWARE_STEP, iss | FAULT_STATUS, None)
}

/// Before an instruction: the exception that is pending, or the step begins.
pub fn before(cpu: &mut Cpu) -> Result<(), Stop> {
    if pending(cpu) {
        return Err(take(cpu));
    }
    if cpu.state.debug.step.active {
        let marked = cpu.slot(regs::MONITOR) != regs::MONITOR_OPEN;
        cpu.state.sys.emulated = false;
        let step = &mut cpu.state.debug.step;
        step.running = true;
        step.iss = 0;
        step.marked = marked;
    }
    Ok(())
}

/// [`understudy_engine::arch::Arch::after_insn`]. An instruction that ended in an exit is not over;
/// one that ended in an exception or a return has its state from there.
pub fn after(cpu: &mut Cpu, stop: Option<Stop>) {
    if !std::mem::take(&mut cpu.state.debug.step.running) || stop.is_some() {
        return;
    }
    let exclusive = !cpu.state.debug.step.marked && cpu.slot(regs::MONITOR) != regs::MONITOR_OPEN;
    cpu.state.debug.step.iss = match (cpu.state.sys.emulated, exclusive) {
        (true, _) => 0,
        (false, false) => ISV,
        (false, true) => ISV | EX,
    };
    cpu.state.pstate &= !pstate::SS;
}

/// KVM has completed the instruction at hand, or the one that the last run ended in the middle of
/// (an MMIO access, a hypercall): it counts as stepped, without a syndrome (DBG-24).
pub fn emulated(cpu: &mut Cpu) {
    let step = &mut cpu.state.debug.step;
    step.iss = 0;
    step.running = false;
    if step.lent.is_none() && cpu.state.debug.user.single_step {
        // Between two runs; PSTATE.SS is the guest's.
        step.owed = true;
    } else {
        cpu.state.pstate &= !pstate::SS;
    }
}

/// An instruction that left by a branch of its own is over.
pub(crate) fn branched(cpu: &mut Cpu) {
    let step = &mut cpu.state.debug.step;
    if std::mem::take(&mut step.running) {
        step.iss = ISV;
        cpu.state.pstate &= !pstate::SS;
    }
}

/// An exception was taken to EL1: if the next instruction is to be stepped, that is without a
/// syndrome.
pub(crate) fn interrupted(cpu: &mut Cpu) {
    cpu.state.debug.step.iss = 0;
}

/// An exception return was made; it counts as stepped if it was being stepped.
pub(crate) fn returned(cpu: &mut Cpu) {
    let step = &mut cpu.state.debug.step;
    step.iss = if step.running { ISV } else { 0 };
}

/// PSTATE.SS after a return with `spsr` to `el` (DebugExceptionReturnSS): that of the SPSR where
/// stepping begins, 0 where it was on already.
pub(crate) fn after_return(cpu: &Cpu, spsr: u64, el: u8) -> bool {
    cpu.state.debug.effective.ss
        && !enabled(cpu)
        && enabled_from(cpu, el, spsr & pstate::D != 0)
        && spsr & pstate::SS != 0
}

/// A run of the guest begins (`KVM_RUN`): where user space steps, PSTATE.SS is lent to it. To be
/// called before an instruction of the last run is completed. As KVM enters a guest by an exception
/// return, the local exclusive monitor opens.
pub fn begin_run(cpu: &mut Cpu) {
    cpu.set_slot(regs::MONITOR, regs::MONITOR_OPEN);
    let user = cpu.state.debug.user;
    cpu.state.debug.step.taken = false;
    if !user.single_step {
        return;
    }
    cpu.state.debug.step.lent = Some(cpu.state.pstate & pstate::SS);
    if cpu.state.debug.step.owed {
        cpu.state.pstate &= !pstate::SS;
    } else {
        cpu.state.pstate |= pstate::SS;
    }
    update(cpu);
}

/// The run ends: what was lent is given back.
pub fn end_run(cpu: &mut Cpu) {
    let Some(lent) = cpu.state.debug.step.lent.take() else {
        return;
    };
    let step = &mut cpu.state.debug.step;
    step.owed = cpu.state.pstate & pstate::SS == 0 && !step.taken;
    cpu.state.pstate = cpu.state.pstate & !pstate::SS | lent;
}

/// Forgets a step that is pending: user space has stopped debugging.
pub(super) fn forget(cpu: &mut Cpu) {
    cpu.state.debug.step.owed = false;
    cpu.state.debug.step.iss = 0;
}
