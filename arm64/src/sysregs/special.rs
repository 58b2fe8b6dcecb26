//! System registers that are more than storage: PSTATE's fields, the OS Lock, FPCR and FPSR, and
//! what depends on a register's new value.

use super::id::fields::{self, Field, OptIns};
use super::storage::Reg;
use crate::debug::{self, mdscr, os_lock};
use crate::machine::opt_ins;
use crate::state::pstate;
use crate::vcpu::peer::Line;
use crate::{Cpu, exceptions, mmu, regs};
use understudy_engine::emit::Stop;

/// DBGAUTHSTATUS_EL1: invasive and non-invasive debug of the one Security state by an external
/// debugger is implemented and, as there is none, disabled.
pub const DBGAUTHSTATUS: u64 = 0xa;

/// ICC_SRE_EL1: system registers, no bypass. What KVM lets a guest without GIC see.
pub const ICC_SRE: u64 = 7;

const SCTLR_UMA: u64 = 1 << 9;
const SCTLR_DZE: u64 = 1 << 14;
const SCTLR_UCT: u64 = 1 << 15;
const SCTLR_UCI: u64 = 1 << 26;

/// Nothing depends on the register.
pub(super) fn nothing(_: &mut Cpu) {}

/// SCTLR_EL1, TCR_EL1 or MAIR_EL1 has changed.
pub(super) fn translation_changed(cpu: &mut Cpu) {
    mmu::controls_changed(cpu);
}

/// TTBR0_EL1 or TTBR1_EL1 has changed.
pub(super) fn bases_changed(cpu: &mut Cpu) {
    mmu::bases_changed(cpu);
}

/// Whether the VM has asked for pointer authentication.
pub(super) fn has_pauth(cpu: &Cpu) -> bool {
    opt_ins(cpu.state.features).contains(OptIns::PTRAUTH)
}

/// A register has changed that the mode of blocks depends on.
pub(super) fn mode_changed(cpu: &mut Cpu) {
    exceptions::synchronize(cpu);
}

/// A register of the debug unit has changed.
pub(super) fn breakpoints_changed(cpu: &mut Cpu) {
    debug::changed(cpu);
}

/// OSLSR_EL1 out of reset (OSL-4, D1).
pub(super) fn reset_oslsr(cpu: &Cpu) -> u64 {
    let locked = cpu.state.id.exposed_debug();
    os_lock::UNLOCKED | if locked { os_lock::OSLK } else { 0 }
}

/// OSLAR_EL1: bit 0 is the lock (OSL-2).
pub(super) fn write_oslar(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    os_lock::write_oslar(cpu, value);
    Ok(())
}

/// DBGBCR<n>_EL1: BAS, bits 8:5, selects halfwords in pairs, so bits 6 and 8 are copies of 5 and 7.
pub(super) fn write_bcr<const N: usize>(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    let pairs = value & (1 << 5 | 1 << 7);
    cpu.state.sys[Reg::dbgbcr(N)] = value & !(1 << 6 | 1 << 8) | pairs << 1;
    breakpoints_changed(cpu);
    Ok(())
}

/// ID_AA64DFR0_EL1.BRPs of the host CPU: it has breakpoint `N`.
pub(super) fn has_breakpoint<const N: u64>(cpu: &Cpu) -> bool {
    N <= host_field(cpu, &fields::DFR0_BRPS)
}

/// ID_AA64DFR0_EL1.WRPs of the host CPU: it has watchpoint `N`.
pub(super) fn has_watchpoint<const N: u64>(cpu: &Cpu) -> bool {
    N <= host_field(cpu, &fields::DFR0_WRPS)
}

fn host_field(cpu: &Cpu, field: &Field) -> u64 {
    field.get(cpu.state.id.model().id(field.register))
}

/// MDSCR_EL1.TDCC: EL0's accesses to the debug communications channel are trapped.
pub(super) fn el0_dcc(cpu: &Cpu) -> bool {
    cpu.state.sys[Reg::MDSCR_EL1] & mdscr::TDCC == 0
}

/// SCTLR_EL1.UMA: EL0 has DAIF, and MSR DAIFSet and DAIFClr.
pub fn el0_masks_interrupts(cpu: &Cpu) -> bool {
    cpu.state.sys[Reg::SCTLR_EL1] & SCTLR_UMA != 0
}

/// SCTLR_EL1.DZE: EL0 has DC ZVA.
pub(super) fn el0_zero(cpu: &Cpu) -> bool {
    cpu.state.sys[Reg::SCTLR_EL1] & SCTLR_DZE != 0
}

/// SCTLR_EL1.UCI: EL0 has cache maintenance.
pub(super) fn el0_maintenance(cpu: &Cpu) -> bool {
    cpu.state.sys[Reg::SCTLR_EL1] & SCTLR_UCI != 0
}

/// SCTLR_EL1.UCT: EL0 has CTR_EL0.
pub(super) fn el0_ctr(cpu: &Cpu) -> bool {
    cpu.state.sys[Reg::SCTLR_EL1] & SCTLR_UCT != 0
}

/// SP_EL0 is UNDEFINED while it is the current stack pointer.
pub(super) fn read_sp_el0(cpu: &mut Cpu) -> Result<u64, Stop> {
    if cpu.state.spsel {
        Ok(cpu.slot(regs::SP_EL0))
    } else {
        Err(exceptions::undefined(cpu))
    }
}

pub(super) fn write_sp_el0(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    if cpu.state.spsel {
        cpu.set_slot(regs::SP_EL0, value);
        Ok(())
    } else {
        Err(exceptions::undefined(cpu))
    }
}

pub(super) fn read_spsel(cpu: &mut Cpu) -> Result<u64, Stop> {
    Ok(cpu.state.spsel.into())
}

pub(super) fn write_spsel(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    exceptions::select_sp(cpu, value & 1 != 0);
    Ok(())
}

/// CurrentEL: the level in bits 3:2.
pub(super) fn read_current_el(cpu: &mut Cpu) -> Result<u64, Stop> {
    Ok((cpu.state.el as u64) << 2)
}

fn read_field(cpu: &Cpu, field: u64) -> Result<u64, Stop> {
    Ok(cpu.state.pstate & field)
}

fn write_field(cpu: &mut Cpu, field: u64, value: u64) -> Result<(), Stop> {
    exceptions::change_pstate(cpu, field, value);
    Ok(())
}

pub(super) fn read_pan(cpu: &mut Cpu) -> Result<u64, Stop> {
    read_field(cpu, pstate::PAN)
}

pub(super) fn write_pan(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    write_field(cpu, pstate::PAN, value)
}

pub(super) fn read_uao(cpu: &mut Cpu) -> Result<u64, Stop> {
    read_field(cpu, pstate::UAO)
}

pub(super) fn write_uao(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    write_field(cpu, pstate::UAO, value)
}

pub(super) fn read_dit(cpu: &mut Cpu) -> Result<u64, Stop> {
    read_field(cpu, pstate::DIT)
}

pub(super) fn write_dit(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    write_field(cpu, pstate::DIT, value)
}

/// RNDR and RNDRRS: a random number, and NZCV clear; or 0 and Z set where the host has none.
pub(super) fn read_random(cpu: &mut Cpu) -> Result<u64, Stop> {
    const Z: u64 = 1 << 30;
    let mut bytes = [0; 8];
    let read = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    let got = read.is_ok_and(|count| count == bytes.len());
    regs::set_nzcv(cpu, if got { 0 } else { Z });
    Ok(if got { u64::from_le_bytes(bytes) } else { 0 })
}

pub(super) fn read_ssbs(cpu: &mut Cpu) -> Result<u64, Stop> {
    read_field(cpu, pstate::SSBS)
}

pub(super) fn write_ssbs(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    write_field(cpu, pstate::SSBS, value)
}

const DAIF: u64 = pstate::D | pstate::A | pstate::I | pstate::F;

pub(super) fn read_daif(cpu: &mut Cpu) -> Result<u64, Stop> {
    read_field(cpu, DAIF)
}

pub(super) fn write_daif(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    write_field(cpu, DAIF, value)
}

pub(super) fn read_nzcv(cpu: &mut Cpu) -> Result<u64, Stop> {
    Ok(regs::nzcv(cpu))
}

pub(super) fn write_nzcv(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    regs::set_nzcv(cpu, value);
    Ok(())
}

/// FPCR and FPSR are trapped with the instructions that use them (CPACR_EL1.FPEN).
fn fp_access(cpu: &mut Cpu) -> Result<(), Stop> {
    let fpen = cpu.state.sys[Reg::CPACR_EL1] >> 20 & 3;
    match (fpen, cpu.state.el) {
        (3, _) | (1, 1) => Ok(()),
        _ => Err(exceptions::fp_access(cpu)),
    }
}

pub(super) fn read_fpcr(cpu: &mut Cpu) -> Result<u64, Stop> {
    fp_access(cpu)?;
    Ok(regs::fpcr(cpu))
}

pub(super) fn write_fpcr(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    fp_access(cpu)?;
    regs::set_fpcr(cpu, value);
    Ok(())
}

pub(super) fn read_fpsr(cpu: &mut Cpu) -> Result<u64, Stop> {
    fp_access(cpu)?;
    Ok(regs::fpsr(cpu))
}

pub(super) fn write_fpsr(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    fp_access(cpu)?;
    regs::set_fpsr(cpu, value);
    Ok(())
}

/// ISR_EL1: which interrupts are pending, in the bits of PSTATE's masks: A 8, I 7, F 6.
pub(super) fn read_isr(cpu: &mut Cpu) -> Result<u64, Stop> {
    let lines = cpu.state.peer.lines();
    let when = |pending, bit| if pending { bit } else { 0 };
    Ok(when(cpu.state.interrupts.serror.is_some(), pstate::A)
        | when(lines & Line::Irq as u32 != 0, pstate::I)
        | when(lines & Line::Fiq as u32 != 0, pstate::F))
}
