//! The x86-64 vCPU: everything between an instruction's bytes and an exit, and nothing of KVM's API.
#![forbid(unsafe_code)]

pub mod apic;
pub mod chipset;
pub mod controls;
pub mod cpuid;
pub mod debug;
mod descriptors;
mod devices;
mod emulation;
pub mod events;
pub mod exceptions;
pub mod exit;
pub mod features;
pub mod fp;
pub mod fpu;
pub mod hypercalls;
pub mod idle;
pub mod insn;
pub mod interrupts;
mod io;
mod locked;
pub mod machine;
pub mod mmu;
pub mod mp;
pub mod msrs;
pub mod pv;
pub mod quirks;
pub mod regs;
pub mod segments;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transfers;
pub mod tsc;
pub mod vcpu;
pub mod xsave;

use understudy_engine::arch::{AccessKind, Arch, Fetch, Insn, Target};
use understudy_engine::emit::{Mem, Stop};

/// The architecture, for the engine. Its program counter is the linear address, CS.base + RIP: a
/// page of code begins where a page of memory does.
#[derive(Debug)]
pub enum X86 {}

/// A vCPU's state, hot and cold.
pub type Cpu = understudy_engine::cpu::Cpu<X86>;

/// Whether a repeated string instruction is left after each element.
pub(crate) fn by_elements(cpu: &Cpu) -> bool {
    debug::traps(cpu) || vcpu::unsettled(cpu)
}

impl Arch for X86 {
    type Operands = insn::Operands;
    type State = state::State;
    const INSN_ALIGN: u64 = 1;
    const LEAVES_BLOCKS: bool = true;

    #[inline(always)]
    fn mode(cpu: &Cpu) -> u32 {
        cpu.state.mode
    }

    fn decode(mode: u32, bytes: &[u8]) -> Insn<Self> {
        insn::decode(mode, bytes)
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
        if mem.info & insn::info::UNKNOWN != 0 {
            let write = mem.info & insn::info::WRITES != 0;
            return Err(emulation::unknown(cpu, physical, write));
        }
        vcpu::device_load(cpu, physical, mem)
    }

    fn device_store(cpu: &mut Cpu, physical: u64, value: u64, mem: Mem) -> Result<(), Stop> {
        if mem.info & insn::info::UNKNOWN != 0 {
            return Err(emulation::unknown(cpu, physical, true));
        }
        vcpu::device_store(cpu, physical, value, mem)
    }

    fn device_load_parts(
        cpu: &mut Cpu,
        address: u64,
        bytes: u64,
        _: u64,
        mem: Mem,
    ) -> Result<u128, Stop> {
        mmu::parts::load(cpu, address, bytes, mem)
    }

    fn device_store_parts(
        cpu: &mut Cpu,
        address: u64,
        bytes: u64,
        _: u64,
        value: u128,
        mem: Mem,
    ) -> Result<(), Stop> {
        mmu::parts::store(cpu, address, bytes, value, mem)
    }

    fn device_other(cpu: &mut Cpu, physical: u64, mem: Mem, kind: AccessKind) -> Stop {
        if mem.info & insn::info::UNKNOWN != 0 {
            return emulation::unknown(cpu, physical, true);
        }
        if kind == AccessKind::Atomic {
            return locked::run_without(cpu);
        }
        vcpu::internal_error(cpu)
    }

    fn service(cpu: &mut Cpu) -> Result<(), Stop> {
        vcpu::service(cpu)
    }

    #[inline(always)]
    fn stepping(cpu: &Cpu) -> bool {
        vcpu::stepping(cpu)
    }

    fn before_insn(cpu: &mut Cpu) -> Result<(), Stop> {
        interrupts::before_insn(cpu);
        debug::before_insn(cpu)
    }

    fn after_insn(cpu: &mut Cpu, stop: Option<Stop>) {
        vcpu::after_insn(cpu, stop);
    }
}
