//! Locked instructions that no atomic access of the host can do: the operand crosses a page, or is
//! a device's (SDM vol. 3A, 9.1.2). They are run once more without LOCK, which other processors can
//! tell apart; where hardware splits a lock it is so slow that programs avoid it.

use crate::insn;
use crate::{Cpu, vcpu};
use understudy_engine::emit::Stop;

/// Runs the instruction at [`Cpu::pc`] as if it had no LOCK prefix.
pub(crate) fn run_without(cpu: &mut Cpu) -> Stop {
    // Not again from within: what is atomic without the prefix cannot be had.
    if std::mem::replace(&mut cpu.state.unlocked, true) {
        return vcpu::internal_error(cpu);
    }
    let result = attempt(cpu);
    cpu.state.unlocked = false;
    match result {
        Ok(()) => Stop::Redirect,
        Err(stop) => stop,
    }
}

fn attempt(cpu: &mut Cpu) -> Result<(), Stop> {
    let (bytes, length) = insn::fetch_bytes(cpu)?;
    match insn::decode_unlocked(cpu.state.mode, &bytes[..length]) {
        Some(insn) => cpu.pc = cpu.interpret_one(&insn)?,
        None => return Err(vcpu::internal_error(cpu)),
    }
    Ok(())
}
