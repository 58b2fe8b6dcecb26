//! Identification of the processor, its place and its caches.

use super::id::fields;
use super::storage::{CACHES, Reg};
use super::user;
use crate::Cpu;
use understudy_engine::emit::Stop;

/// DCZID_EL0.DZP: DC ZVA is prohibited.
const DCZID_DZP: u64 = 1 << 4;

pub(super) fn user_midr(cpu: &Cpu) -> u64 {
    cpu.state.id.model().midr
}

pub(super) fn midr(cpu: &mut Cpu) -> Result<u64, Stop> {
    Ok(user_midr(cpu))
}

pub(super) fn user_revidr(cpu: &Cpu) -> u64 {
    cpu.state.id.model().revidr
}

pub(super) fn revidr(cpu: &mut Cpu) -> Result<u64, Stop> {
    Ok(user_revidr(cpu))
}

pub(super) fn user_aidr(cpu: &Cpu) -> u64 {
    cpu.state.id.model().aidr
}

pub(super) fn aidr(cpu: &mut Cpu) -> Result<u64, Stop> {
    Ok(user_aidr(cpu))
}

/// MPIDR_EL1 of vCPU `id` out of reset: 16 vCPUs in Aff0, 256 of these in Aff1, the rest in Aff2. Bit 31 is
/// RES1.
pub const fn mpidr_of(id: u32) -> u64 {
    let id = id as u64;
    1 << 31 | id >> 12 << 16 & 0xff_0000 | (id >> 4 & 0xff) << 8 | id & 0xf
}

pub(super) fn user_mpidr(cpu: &Cpu) -> u64 {
    cpu.state.peer.mpidr()
}

pub(super) fn set_mpidr(cpu: &mut Cpu, value: u64) {
    cpu.state.peer.set_mpidr(value);
}

pub(super) fn mpidr(cpu: &mut Cpu) -> Result<u64, Stop> {
    Ok(user_mpidr(cpu))
}

pub(super) fn reset_sctlr(cpu: &Cpu) -> u64 {
    cpu.state.id.model().sctlr
}

/// CLIDR_EL1 out of reset: as few caches as CTR_EL0 allows for. KVM does not tell of the host's.
pub(super) fn reset_clidr(cpu: &Cpu) -> u64 {
    const INSTRUCTION: u64 = 1;
    const DATA: u64 = 2;
    const UNIFIED: u64 = 4;
    const LOUIS: u32 = 21;
    const LOC: u32 = 24;
    const LOUU: u32 = 27;
    let id = &cpu.state.id;
    // Ctype<n> is 3 bits wide, Ctype1 the lowest.
    let ctype = |level: u64| 3 * (level as u32 - 1);
    // Instruction caches need no invalidation, data caches no cleaning, to the point of unification.
    let dic = id.field(&fields::CTR_DIC) != 0;
    let idc = id.field(&fields::CTR_IDC) != 0;
    let loc = if idc && !dic { 2 } else { 1 };
    let data = if idc {
        UNIFIED << ctype(loc)
    } else {
        DATA << ctype(1) | 1 << LOUU | 1 << LOUIS
    };
    data | if dic { 0 } else { INSTRUCTION << ctype(1) } | loc << LOC
}

/// CCSIDR_EL1: of the cache that CSSELR_EL1 selects; UNKNOWN, here 0, where there is none.
pub(super) fn read_ccsidr(cpu: &mut Cpu) -> Result<u64, Stop> {
    let selected = (cpu.state.sys[Reg::CSSELR_EL1] & 0xf) as usize;
    Ok(if selected < CACHES {
        user::read_ccsidr(cpu, selected).into()
    } else {
        0
    })
}

/// DCZID_EL0: EL0 has DC ZVA only with SCTLR_EL1.DZE.
pub(super) fn read_dczid(cpu: &mut Cpu) -> Result<u64, Stop> {
    let prohibited = cpu.state.el == 0 && !super::special::el0_zero(cpu);
    Ok(cpu.state.id.model().dczid | if prohibited { DCZID_DZP } else { 0 })
}
