//! Hypercalls: VMMCALL, and VMCALL, which KVM makes VMMCALL of on AMD's processors (KVM's
//! `Documentation/virt/kvm/x86/hypercalls.rst`).

use crate::Cpu;
use crate::debug;
use crate::exceptions::{self, Fault, vector};
use crate::insn::{operand, via};
use crate::quirks::quirk;
use crate::regs::{RAX, RBX, RCX, RDX, RSI};
use understudy_engine::emit::Stop;

/// `-KVM_ENOSYS`: there is no such call.
pub const ENOSYS: u64 = 1000u64.wrapping_neg();
/// `-KVM_EPERM`: the caller may not.
pub const EPERM: u64 = 1u64.wrapping_neg();

/// A call, as RAX says, with the arguments in RBX, RCX, RDX and RSI. Gives what RAX gets, or leaves.
pub type Hypercall = fn(&mut Cpu, u64, [u64; 4]) -> Result<u64, Stop>;

/// The bytes of VMMCALL.
const VMMCALL: [u8; 3] = [0x0f, 0x01, 0xd9];

/// VMMCALL.
pub(crate) fn call(cpu: &mut Cpu) -> Result<u64, Stop> {
    debug::by_kvm(cpu);
    let wide = cpu.state.code64();
    let value = |slot| {
        let value = cpu.slot(slot);
        if wide { value } else { value & 0xffff_ffff }
    };
    let (number, arguments) = (value(RAX), [RBX, RCX, RDX, RSI].map(value));
    let result = match cpu.state.hypercall {
        _ if cpu.state.cpl != 0 => EPERM,
        Some(hypercall) => hypercall(cpu, number, arguments)?,
        None => ENOSYS,
    };
    let result = if wide { result } else { result & 0xffff_ffff };
    cpu.set_slot(RAX, result);
    Ok(0)
}

/// VMCALL: patched, and run again.
pub(crate) fn fix(cpu: &mut Cpu) -> Stop {
    if cpu.state.cpl != 0 {
        return exceptions::raise(cpu, Fault::with_code(vector::GP, 0));
    }
    if !cpu.state.quirks.has(quirk::FIX_HYPERCALL_INSN) {
        return exceptions::raise(cpu, Fault::new(vector::UD));
    }
    match patch(cpu) {
        Ok(()) => Stop::Redirect,
        Err(stop) => stop,
    }
}

fn patch(cpu: &mut Cpu) -> Result<(), Stop> {
    debug::by_emulator(cpu)?;
    for (at, byte) in (cpu.pc..).zip(VMMCALL) {
        operand::store(cpu, at, byte.into(), 0, via::FLAT)?;
    }
    Ok(())
}
