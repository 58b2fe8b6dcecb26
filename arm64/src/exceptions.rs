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
