//! Accesses of 16 bytes that reach a device. User space gets two of 8 bytes, as KVM gives them to it
//! (KVM API 5, "KVM_EXIT_MMIO": at most 8 bytes): the instruction is run once more with accesses of that
//! size. An operand that must be aligned has been found to be so before.

use crate::{Cpu, insn, vcpu};
use understudy_engine::emit::Stop;

/// Runs the instruction at [`Cpu::pc`] with accesses of 8 bytes.
pub(crate) fn run(cpu: &mut Cpu) -> Stop {
    // Not again from within: one of 8 bytes that a page's end splits cannot be had.
    if std::mem::replace(&mut cpu.state.halves, true) {
        return vcpu::internal_error(cpu);
    }
    let result = attempt(cpu);
    cpu.state.halves = false;
    match result {
        Ok(()) => Stop::Redirect,
        Err(stop) => stop,
    }
}

fn attempt(cpu: &mut Cpu) -> Result<(), Stop> {
    let (bytes, length) = insn::fetch_bytes(cpu)?;
    let mut insn = insn::decode_whole(cpu.state.mode, &bytes[..length]);
    insn.operands.simd = insn.operands.simd.split();
    cpu.pc = cpu.interpret_one(&insn)?;
    Ok(())
}
