//! SYSENTER and SYSEXIT, and SYSCALL and SYSRET outside IA-32e mode, on AMD's processors (AMD APM vol. 3;
//! SDM vol. 2). SYSENTER is not there in IA-32e mode.

use super::{GP, fixed};
use crate::exceptions::{Fault, Trouble, vector};
use crate::regs::{self, RCX, RDX, RSP, flag};
use crate::segments::{rights, seg};
use crate::{Cpu, state};

const UD: Fault = Fault::new(vector::UD);

/// Flat 32-bit segments of a level.
fn load(cpu: &mut Cpu, code: u16, stack: u16, cpl: u8) {
    let segments = &mut cpu.state.segmentation.segments;
    let kind = rights::CODE_READ_ACCESSED | rights::DB;
    segments[seg::CS as usize] = fixed(code, kind, cpl);
    let kind = rights::DATA_WRITE_ACCESSED | rights::DB;
    segments[seg::SS as usize] = fixed(stack, kind, cpl);
    cpu.state.cpl = cpl;
    state::changed(cpu);
}

/// Clears flags on the way in.
fn mask(cpu: &mut Cpu) {
    cpu.state.rflags &= !(flag::VM | flag::IF | flag::RF);
}

/// SYSENTER.
pub(crate) fn enter(cpu: &mut Cpu) -> Result<(), Trouble> {
    let msrs = &cpu.state.msrs;
    let (code, rsp, rip) = (
        msrs.sysenter_cs as u16 & !3,
        msrs.sysenter_esp,
        msrs.sysenter_eip,
    );
    if cpu.state.long_mode() {
        return Err(UD.into());
    }
    if !cpu.state.protected() || code == 0 {
        return Err(GP.into());
    }
    mask(cpu);
    load(cpu, code, code.wrapping_add(8), 0);
    cpu.set_slot(RSP, rsp & 0xffff_ffff);
    state::set_rip(cpu, rip & 0xffff_ffff);
    Ok(())
}

/// SYSEXIT.
pub(crate) fn leave(cpu: &mut Cpu) -> Result<(), Trouble> {
    let code = cpu.state.msrs.sysenter_cs as u16 & !3;
    if cpu.state.long_mode() {
        return Err(UD.into());
    }
    if !cpu.state.protected() || code == 0 || cpu.state.cpl != 0 {
        return Err(GP.into());
    }
    let (rip, rsp) = (cpu.slot(RDX), cpu.slot(RCX));
    load(cpu, code.wrapping_add(16) | 3, code.wrapping_add(24) | 3, 3);
    cpu.set_slot(RSP, rsp & 0xffff_ffff);
    state::set_rip(cpu, rip & 0xffff_ffff);
    Ok(())
}

/// SYSCALL in protected mode, EFER.SCE being set.
pub(super) fn call(cpu: &mut Cpu, length: u64) -> Result<(), Trouble> {
    if !cpu.state.protected() {
        return Err(UD.into());
    }
    let star = cpu.state.msrs.star;
    let next = state::rip(cpu).wrapping_add(length);
    cpu.set_slot(RCX, next & 0xffff_ffff);
    mask(cpu);
    let code = (star >> 32) as u16 & !3;
    load(cpu, code, code.wrapping_add(8), 0);
    state::set_rip(cpu, star & 0xffff_ffff);
    Ok(())
}

/// SYSRET in protected mode, at CPL 0, EFER.SCE being set.
pub(super) fn back(cpu: &mut Cpu) -> Result<(), Trouble> {
    let base = (cpu.state.msrs.star >> 48) as u16;
    let rip = cpu.slot(RCX);
    let flags = regs::rflags(cpu) | flag::IF;
    regs::set_rflags(cpu, flags);
    load(cpu, base | 3, base.wrapping_add(8) | 3, 3);
    state::set_rip(cpu, rip & 0xffff_ffff);
    Ok(())
}
