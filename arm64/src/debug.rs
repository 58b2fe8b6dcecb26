//! Self-hosted debug (Arm ARM D2), and what user space debugs (KVM API 4.87,
//! `KVM_SET_GUEST_DEBUG`).
//!
//! ```text
//!   MDSCR_EL1  OSLSR_EL1  DBGB/WxR<n>_EL1        GuestDebug
//!        └──────────┬──────────┘                     │
//!                   └────────► changed() ◄───────────┘
//!                                  │
//!                              Effective: is SS on, which breakpoints and watchpoints
//!                              count, who gets the exceptions
//!                 ┌────────────────┼──────────────────┐
//!        Arch::stepping()    Fetch::careful     pages kept out of the TLB
//!          (step)            (breakpoints)        (watchpoints)
//! ```
//!
//! What counts is computed in one place, [`changed`], when something that it depends on changes:
//! the table of requirements 2.4. The guest's registers are never touched for it (OSL-22, DBG-23,
//! DBG-25). While nothing is on, nothing is paid: code runs through the same blocks, and data
//! accesses through the same TLB entries, as they would without a debug unit.

pub mod breakpoints;
pub mod os_lock;
pub mod step;
pub mod watchpoints;

use crate::Cpu;
use crate::exceptions::{self, class};
use crate::exit::Exit;
use crate::state::pstate;
use crate::sysregs::{Reg, traps};
use step::Step;
use understudy_engine::emit::Stop;

/// Breakpoints of the processor (ID_AA64DFR0_EL1.BRPs + 1).
pub const BREAKPOINTS: usize = 6;
/// How many of them, the last ones, can compare contexts (ID_AA64DFR0_EL1.CTX_CMPs + 1).
pub const CONTEXT_BREAKPOINTS: usize = 2;
/// Watchpoints of the processor (ID_AA64DFR0_EL1.WRPs + 1).
pub const WATCHPOINTS: usize = 4;
/// Register pairs of each kind that the KVM API has, whatever the processor has.
pub const API_SLOTS: usize = 16;

/// MDSCR_EL1: fields (OSL-25).
pub mod mdscr {
    /// Software step.
    pub const SS: u64 = 1 << 0;
    /// EL0 accesses to the Debug Communications Channel are trapped.
    pub const TDCC: u64 = 1 << 12;
    /// Debug exceptions other than BRK can be taken from the level they are taken to.
    pub const KDE: u64 = 1 << 13;
    /// Breakpoint and watchpoint exceptions are enabled.
    pub const MDE: u64 = 1 << 15;
}

/// DFSC and IFSC of a debug exception.
pub const FAULT_STATUS: u64 = 0x22;

/// A breakpoint or watchpoint as it is programmed: DBGBVR and DBGBCR, or DBGWVR and DBGWCR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Comparator {
    /// The value register.
    pub value: u64,
    /// The control register.
    pub control: u64,
}

impl Comparator {
    /// The E bit.
    pub const fn enabled(self) -> bool {
        self.control & 1 != 0
    }

    /// `count` bits of the control register from bit `low`.
    const fn field(self, low: u32, count: u32) -> u64 {
        self.control >> low & ((1 << count) - 1)
    }
}

/// What user space has asked for with `KVM_SET_GUEST_DEBUG` (section 6.5 of the requirements).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GuestDebug {
    /// KVM_GUESTDBG_ENABLE. While it is clear, nothing else counts.
    pub enable: bool,
    /// KVM_GUESTDBG_SINGLESTEP.
    pub single_step: bool,
    /// KVM_GUESTDBG_USE_SW_BP. BRK is a debug exit with or without it (DBG-21).
    pub use_sw_bp: bool,
    /// KVM_GUESTDBG_USE_HW: the comparators below are used instead of the guest's.
    pub use_hw: bool,
    /// `dbg_bvr` and `dbg_bcr`. Those that the processor does not have do nothing.
    pub breakpoints: [Comparator; API_SLOTS],
    /// `dbg_wvr` and `dbg_wcr`, likewise.
    pub watchpoints: [Comparator; API_SLOTS],
}

/// What counts at present, all in all (requirements 2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effective {
    /// MDSCR_EL1.SS.
    pub ss: bool,
    /// Debug exceptions go to user space: KVM's MDCR_EL2.TDE.
    pub to_user: bool,
    /// The breakpoints that count, linked ones included; others are all zero.
    pub breakpoints: [Comparator; BREAKPOINTS],
    /// The watchpoints that count; others are all zero.
    pub watchpoints: [Comparator; WATCHPOINTS],
    /// Whether there is any enabled breakpoint.
    pub any_breakpoint: bool,
    /// Whether there is any enabled watchpoint.
    pub any_watchpoint: bool,
}

/// What this part keeps of a vCPU. The debug registers themselves are in [`crate::sysregs`].
#[derive(Clone, Copy, Debug, Default)]
pub struct DebugState {
    user: GuestDebug,
    effective: Effective,
    step: Step,
}

impl DebugState {
    /// What counts at present.
    pub fn effective(&self) -> &Effective {
        &self.effective
    }

    /// What user space has asked for.
    pub fn user(&self) -> &GuestDebug {
        &self.user
    }
}

/// Debugs the guest as user space asks, from the next run on. Without
/// [`GuestDebug::enable`] nothing is debugged, and a step that was pending is forgotten (DBG-20).
pub fn set_guest_debug(cpu: &mut Cpu, user: GuestDebug) {
    if user.enable {
        cpu.state.debug.user = user;
    } else {
        cpu.state.debug.user = GuestDebug::default();
        step::forget(cpu);
    }
    changed(cpu);
}

/// Computes what counts anew. To be called after a change of MDSCR_EL1, OSLSR_EL1, a breakpoint or
/// watchpoint register.
pub fn changed(cpu: &mut Cpu) {
    let new = effective(cpu);
    let old = std::mem::replace(&mut cpu.state.debug.effective, new);
    if (old.breakpoints, old.to_user) != (new.breakpoints, new.to_user) {
        cpu.flush_fetches();
    }
    if old.watchpoints != new.watchpoints {
        cpu.flush_all();
    }
    traps::update(cpu);
    step::update(cpu);
}

/// The table of requirements 2.4.
fn effective(cpu: &Cpu) -> Effective {
    let user = &cpu.state.debug.user;
    let sys = &cpu.state.sys;
    let locked = os_lock::locked(cpu);
    let guest = if locked { 0 } else { sys[Reg::MDSCR_EL1] };
    let own = user.enable && user.use_hw;
    let mut new = Effective {
        ss: if user.enable {
            user.single_step
        } else {
            guest & mdscr::SS != 0
        },
        to_user: user.enable,
        ..Effective::default()
    };
    if !own && guest & mdscr::MDE == 0 {
        return new;
    }
    for (n, to) in new.breakpoints.iter_mut().enumerate() {
        let guest = Comparator {
            value: sys[Reg::dbgbvr(n)],
            control: sys[Reg::dbgbcr(n)],
        };
        let from = if own { user.breakpoints[n] } else { guest };
        if from.enabled() {
            *to = from;
            new.any_breakpoint = true;
        }
    }
    for (n, to) in new.watchpoints.iter_mut().enumerate() {
        let guest = Comparator {
            value: sys[Reg::dbgwvr(n)],
            control: sys[Reg::dbgwcr(n)],
        };
        let from = if own { user.watchpoints[n] } else { guest };
        if from.enabled() {
            *to = from;
            new.any_watchpoint = true;
        }
    }
    new
}

/// Whether debug exceptions other than BRK are enabled at this exception level with this
/// PSTATE.D (AArch64.GenerateDebugExceptionsFrom). The OS Lock is not asked: what it locks does not
/// count in the first place.
fn enabled_from(cpu: &Cpu, el: u8, masked: bool) -> bool {
    cpu.state.debug.effective.to_user
        || el == 0
        || cpu.state.sys[Reg::MDSCR_EL1] & mdscr::KDE != 0 && !masked
}

/// The same for the level the vCPU is at.
fn enabled(cpu: &Cpu) -> bool {
    enabled_from(cpu, cpu.state.el, cpu.state.pstate & pstate::D != 0)
}

/// Takes a debug exception of this class (that for a lower exception level, ESR-8): to user space
/// if it debugs the guest, else to the guest's EL1. `far` is the address of a watchpoint's access.
#[cold]
pub fn route(cpu: &mut Cpu, class: u64, iss: u64, far: Option<u64>) -> Stop {
    if cpu.state.debug.effective.to_user {
        let esr = exceptions::syndrome(class, iss);
        cpu.state.exit = Some(Exit::Debug { esr, far });
        return Stop::Exit;
    }
    let esr = if class == class::BRK64 {
        exceptions::syndrome(class, iss)
    } else {
        exceptions::syndrome_from(cpu, class, iss)
    };
    exceptions::take(cpu, esr, far)
}

/// [`understudy_engine::arch::Arch::before_insn`]: the exceptions that are due before the
/// instruction at the PC, which is run by itself: Software Step, then Breakpoint.
pub fn before_insn(cpu: &mut Cpu) -> Result<(), Stop> {
    step::before(cpu)?;
    if cpu.state.debug.effective.any_breakpoint
        && enabled(cpu)
        && breakpoints::hit(cpu, cpu.pc).is_some()
    {
        return Err(route(cpu, class::BREAKPOINT, FAULT_STATUS, None));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
