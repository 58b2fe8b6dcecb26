//! The AArch64 vCPU: everything between an instruction word and an exit, and nothing of KVM's API.
//!
//! The vCPU runs EL1 and EL0; EL2 is this crate.
#![forbid(unsafe_code)]

pub mod crypto;
pub mod debug;
pub mod exceptions;
pub mod exit;
pub mod fp;
pub mod insn;
pub mod machine;
pub mod mmu;
pub mod regs;
pub mod simd;
pub mod state;
pub mod sysregs;
pub mod timers;
pub mod vcpu;

use understudy_engine::arch::{AccessKind, Arch, Fetch, Insn, Target};
use understudy_engine::emit::{Mem, Stop};

/// The architecture, for the engine.
#[derive(Debug)]
pub enum Arm64 {}

/// A vCPU's state, hot and cold.
pub type Cpu = understudy_engine::cpu::Cpu<Arm64>;

impl Arch for Arm64 {
    type Operands = insn::Operands;
    type State = state::State;
    const INSN_ALIGN: u64 = 4;

    fn mode(_cpu: &Cpu) -> u32 {
        insn::mode::EL1
    }

    fn decode(mode: u32, bytes: &[u8]) -> Insn<Self> {
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(bytes) {
            *to = *from;
        }
        insn::decode(mode, u32::from_le_bytes(word))
    }

    fn fetch(_cpu: &mut Cpu) -> Result<Fetch, Stop> {
        Err(Stop::Exit)
    }

    fn check_access(_: &mut Cpu, _: u64, _: u64, _: Mem, _: AccessKind) -> Result<(), Stop> {
        Ok(())
    }

    fn translate(_: &mut Cpu, _: u64, _: u64, _: Mem, _: AccessKind) -> Result<Target, Stop> {
        Err(Stop::Exit)
    }

    fn host_fault(_: &mut Cpu, _: u64) -> Stop {
        Stop::Exit
    }

    fn device_load(_: &mut Cpu, _: u64, _: Mem) -> Result<u64, Stop> {
        Err(Stop::Exit)
    }

    fn device_store(_: &mut Cpu, _: u64, _: u64, _: Mem) -> Result<(), Stop> {
        Err(Stop::Exit)
    }

    fn device_other(_: &mut Cpu, _: u64, _: Mem, _: AccessKind) -> Stop {
        Stop::Exit
    }

    fn service(_: &mut Cpu) -> Result<(), Stop> {
        Err(Stop::Exit)
    }

    fn stepping(_: &Cpu) -> bool {
        false
    }

    fn before_insn(_: &mut Cpu) -> Result<(), Stop> {
        Ok(())
    }

    fn after_insn(_: &mut Cpu, _: Option<Stop>) {}
}
