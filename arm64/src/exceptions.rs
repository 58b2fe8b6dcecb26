//! Exceptions (Arm ARM D1.3): how they are taken to EL1, and how the guest returns from them.

use crate::{Arm64, Cpu};
use understudy_engine::emit::Stop;

/// Takes the exception of an undefined instruction at `cpu.pc` (EC 0).
#[cold]
pub fn undefined(cpu: &mut Cpu) -> Stop {
    let _: &mut understudy_engine::cpu::Cpu<Arm64> = cpu;
    Stop::Exit
}

/// Exception classes (ESR_ELx.EC).
pub mod class {
    /// Data Abort.
    pub const DATA_ABORT: u64 = 0x24;
}

/// ESR_ELx.IL.
pub const IL: u64 = 1 << 25;

/// A syndrome with the class for the exception level that the exception is taken from, given the
/// one for a lower level.
pub fn syndrome_from(cpu: &Cpu, lower: u64, iss: u64) -> u64 {
    (lower + (cpu.state.el == 1) as u64) << 26 | IL | iss
}

/// Takes a synchronous exception.
pub fn take(cpu: &mut Cpu, _: u64, _: Option<u64>) -> Stop {
    undefined(cpu)
}

/// WFI or WFE at EL0 that is trapped.
pub fn wait_trapped(cpu: &mut Cpu, _: bool) -> Stop {
    undefined(cpu)
}

/// An IRQ, which is not masked.
pub fn irq(cpu: &mut Cpu) -> Stop {
    undefined(cpu)
}

/// An FIQ, which is not masked.
pub fn fiq(cpu: &mut Cpu) -> Stop {
    undefined(cpu)
}

/// An SError interrupt, which is not masked, with this ISS.
pub fn serror(cpu: &mut Cpu, _: u64) -> Stop {
    undefined(cpu)
}

/// SVC.
pub fn supervisor_call(cpu: &mut Cpu, _: u16) -> Stop {
    undefined(cpu)
}

/// BRK.
pub fn software_breakpoint(cpu: &mut Cpu, _: u16) -> Stop {
    undefined(cpu)
}

/// ERET.
pub fn exception_return(cpu: &mut Cpu) -> Stop {
    undefined(cpu)
}

/// PSTATE.IL is set.
pub fn illegal_state(cpu: &mut Cpu) -> Stop {
    undefined(cpu)
}

/// The stack pointer is misaligned.
pub fn sp_alignment(cpu: &mut Cpu) -> Stop {
    undefined(cpu)
}

/// MSR, MRS or system instruction `word` at EL0 that a control of EL1 traps (EC 0x18).
pub fn system_trapped(cpu: &mut Cpu, _: u32) -> Stop {
    undefined(cpu)
}

/// An instruction that CPACR_EL1.FPEN traps.
pub fn fp_access(cpu: &mut Cpu) -> Stop {
    undefined(cpu)
}

/// Changes the bits of [`crate::state::State::pstate`] that are in `mask` (MSR to a field of
/// PSTATE).
pub fn change_pstate(cpu: &mut Cpu, mask: u64, value: u64) {
    let mask = mask & crate::state::pstate::HELD;
    cpu.state.pstate = cpu.state.pstate & !mask | value & mask;
}

/// Selects the stack pointer (MSR SPSel), at EL1.
pub fn select_sp(cpu: &mut Cpu, own: bool) {
    use crate::regs::{SP, SP_EL0, SP_EL1};
    if cpu.state.spsel != own {
        let (from, to) = if own {
            (SP_EL0, SP_EL1)
        } else {
            (SP_EL1, SP_EL0)
        };
        cpu.set_slot(from, cpu.slot(SP));
        cpu.set_slot(SP, cpu.slot(to));
        cpu.state.spsel = own;
    }
}
