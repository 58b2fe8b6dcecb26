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
pub mod interrupts;
pub mod machine;
pub mod mmu;
pub mod pauth;
mod psci;
pub mod pvtime;
pub mod regs;
pub mod simd;
pub mod smccc;
pub mod state;
pub mod sysregs;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
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

    #[inline(always)]
    fn mode(cpu: &Cpu) -> u32 {
        cpu.state.mmu.mode
    }

    fn decode(mode: u32, bytes: &[u8]) -> Insn<Self> {
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(bytes) {
            *to = *from;
        }
        insn::decode(mode, u32::from_le_bytes(word))
    }

    fn fetch(cpu: &mut Cpu) -> Result<Fetch, Stop> {
        mmu::fetch(cpu)
    }

    fn check_access(
        cpu: &mut Cpu,
        address: u64,
        bytes: u64,
        mem: Mem,
        kind: AccessKind,
    ) -> Result<(), Stop> {
        mmu::check_access(cpu, address, bytes, mem, kind)
    }

    fn translate(
        cpu: &mut Cpu,
        address: u64,
        bytes: u64,
        mem: Mem,
        kind: AccessKind,
    ) -> Result<Target, Stop> {
        mmu::translate(cpu, address, bytes, mem, kind)
    }

    fn host_fault(cpu: &mut Cpu, _: u64) -> Stop {
        vcpu::host_fault(cpu)
    }

    fn device_load(cpu: &mut Cpu, physical: u64, mem: Mem) -> Result<u64, Stop> {
        vcpu::device_load(cpu, physical, mem)
    }

    fn device_store(cpu: &mut Cpu, physical: u64, value: u64, mem: Mem) -> Result<(), Stop> {
        vcpu::device_store(cpu, physical, value, mem)
    }

    fn device_other(cpu: &mut Cpu, physical: u64, mem: Mem, kind: AccessKind) -> Stop {
        vcpu::device_other(cpu, physical, mem, kind)
    }

    fn service(cpu: &mut Cpu) -> Result<(), Stop> {
        interrupts::service(cpu)
    }

    #[inline(always)]
    fn stepping(cpu: &Cpu) -> bool {
        debug::step::stepping(cpu)
    }

    fn before_insn(cpu: &mut Cpu) -> Result<(), Stop> {
        debug::before_insn(cpu)
    }

    fn after_insn(cpu: &mut Cpu, stop: Option<Stop>) {
        debug::step::after(cpu, stop);
    }
}
