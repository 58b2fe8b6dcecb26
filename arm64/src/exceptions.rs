//! Exceptions (Arm ARM D1.3): how they are taken to EL1, and how the guest returns from them.

use crate::{Arm64, Cpu};
use understudy_engine::emit::Stop;

/// Takes the exception of an undefined instruction at `cpu.pc` (EC 0).
#[cold]
pub fn undefined(cpu: &mut Cpu) -> Stop {
    let _: &mut understudy_engine::cpu::Cpu<Arm64> = cpu;
    Stop::Exit
}
