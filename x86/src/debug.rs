//! The single-step trap of RFLAGS.TF (SDM vol. 3B, 18.3.1.4). Breakpoints, and with them MOV DR, are
//! not there yet.
//!
//! While TF is set the dispatcher runs one instruction at a time. The trap follows each that TF was
//! set before; not one whose exception was delivered instead, nor the load of SS, whose next
//! instruction's it then is.

use crate::exceptions::{self, Event, Kind, vector};
use crate::interrupts::Shadow;
use crate::regs::flag;
use crate::{Cpu, state, vcpu};
use understudy_engine::emit::Stop;

/// DR6 after reset: bits that are always 1.
pub const DR6: u64 = 0xffff_0ff0;
/// DR6: a single step.
const BS: u64 = 1 << 14;

/// What this part keeps of a vCPU.
#[derive(Clone, Copy, Debug)]
pub struct DebugState {
    /// DR6.
    pub dr6: u64,
    /// TF was set when the instruction at hand began.
    armed: bool,
    /// The instruction that user space has completed was stepped.
    completed: bool,
}

impl Default for DebugState {
    fn default() -> DebugState {
        DebugState {
            dr6: DR6,
            armed: false,
            completed: false,
        }
    }
}

/// Whether instructions are run one at a time.
#[inline(always)]
pub(crate) fn stepping(cpu: &Cpu) -> bool {
    cpu.state.rflags & flag::TF != 0
}

/// Before an instruction that is run by itself.
pub(crate) fn before_insn(cpu: &mut Cpu) {
    cpu.state.debug.armed = stepping(cpu);
}

/// An exception or interrupt has been delivered, or SYSCALL has cleared TF: there is no trap.
pub(crate) fn disarm(cpu: &mut Cpu) {
    cpu.state.debug.armed = false;
}

/// After an instruction that was run by itself.
pub(crate) fn after_insn(cpu: &mut Cpu, stop: Option<Stop>) {
    let armed = std::mem::take(&mut cpu.state.debug.armed);
    // One that has left is completed by user space.
    if !armed || stop == Some(Stop::Exit) || cpu.state.interrupts.shadow == Shadow::MovSs {
        return;
    }
    if take(cpu) == Stop::Exit {
        vcpu::leave(cpu);
    }
}

/// User space has completed an access of a port.
pub(crate) fn completed(cpu: &mut Cpu) {
    cpu.state.debug.completed = stepping(cpu);
}

/// Takes the trap of an instruction that user space has completed.
pub(crate) fn service(cpu: &mut Cpu) -> Result<(), Stop> {
    if std::mem::take(&mut cpu.state.debug.completed) {
        return Err(take(cpu));
    }
    Ok(())
}

fn take(cpu: &mut Cpu) -> Stop {
    cpu.state.debug.dr6 |= BS;
    let event = Event {
        vector: vector::DB,
        code: None,
        rip: state::rip(cpu),
        kind: Kind::Trap,
    };
    exceptions::deliver(cpu, event)
}
