//! MRS, MSR (register), SYS and SYSL: what the guest's accesses do (Arm ARM C5.2, D23).
//!
//! ```text
//!   word ─► row ─► EL0 may? ─► trapped? ─► the row's read or write
//!             │none    │no         │and undefined
//!             ▼        ▼           ▼
//!        UNDEFINED  UNDEFINED,  UNDEFINED
//!                   or trap to EL1
//! ```

use super::encoding::Encoding;
use super::register::{El0, Read, Register, Write};
use super::storage::Reg;
use super::traps::{self, Accesses};
use super::{instructions, table};
use crate::{Cpu, exceptions};
use understudy_engine::emit::Stop;

/// SCTLR_EL1.M and SCTLR_EL1.C: the guest runs with its caches on.
const SCTLR_CACHES: u64 = 1 << 2 | 1 << 0;

/// MRS: what `word`, the instruction, gives.
///
/// # Errors
/// The exception that it took.
pub fn read(cpu: &mut Cpu, word: u32) -> Result<u64, Stop> {
    let Some(register) = table::find(Encoding::of(word)) else {
        return Err(exceptions::undefined(cpu));
    };
    if matches!(register.read, Read::Undefined) || !present(cpu, register) {
        return Err(exceptions::undefined(cpu));
    }
    admit(cpu, register.el0, false, register.trap, word)?;
    match register.read {
        Read::Undefined => Err(exceptions::undefined(cpu)),
        Read::Constant(value) => Ok(value),
        Read::Stored(reg) => Ok(cpu.state.sys[reg]),
        Read::Slot(slot) => Ok(cpu.slot(slot)),
        Read::Id => Ok(cpu.state.id.get(register.encoding)),
        Read::By(read) => read(cpu),
    }
}

/// MSR (register): `word` is the instruction.
///
/// # Errors
/// The exception that it took.
pub fn write(cpu: &mut Cpu, word: u32, value: u64) -> Result<(), Stop> {
    let Some(register) = table::find(Encoding::of(word)) else {
        return Err(exceptions::undefined(cpu));
    };
    if matches!(register.write, Write::Undefined) || !present(cpu, register) {
        return Err(exceptions::undefined(cpu));
    }
    let accesses = register.trap.union(register.trap_write);
    admit(cpu, register.el0, true, accesses, word)?;
    match register.write {
        Write::Undefined => return Err(exceptions::undefined(cpu)),
        Write::Ignored => (),
        Write::Stored(reg) => cpu.state.sys[reg] = value,
        Write::Then(reg, then) => {
            cpu.state.sys[reg] = value;
            then(cpu);
        }
        Write::Slot(slot) => cpu.set_slot(slot, value),
        Write::By(write) => write(cpu, value)?,
    }
    if register.trap_write.contains(Accesses::TVM) {
        watch_caches(cpu);
    }
    Ok(())
}

/// SYS: `word` is the instruction, `value` its operand Xt.
///
/// # Errors
/// The exception that it took, or the exit that it ended in.
pub fn sys(cpu: &mut Cpu, word: u32, value: u64) -> Result<(), Stop> {
    let Some(instruction) = instructions::find(Encoding::of(word)) else {
        return Err(exceptions::undefined(cpu));
    };
    admit(cpu, instruction.el0, true, instruction.trap, word)?;
    (instruction.run)(cpu, value)
}

/// Whether the processor has the register.
fn present(cpu: &Cpu, register: &Register) -> bool {
    register.present.is_none_or(|present| present(cpu))
}

/// Whether the access may go on; otherwise takes its exception.
fn admit(cpu: &mut Cpu, el0: El0, writes: bool, accesses: Accesses, word: u32) -> Result<(), Stop> {
    if cpu.state.el == 0 {
        match el0 {
            El0::Undefined => return Err(exceptions::undefined(cpu)),
            El0::ReadOnly if writes => return Err(exceptions::undefined(cpu)),
            El0::Allowed | El0::ReadOnly => (),
            El0::If(may) if may(cpu) => (),
            El0::If(_) => return Err(exceptions::system_trapped(cpu, word)),
        }
    }
    let traps = cpu.state.sys.traps;
    if traps.undefined.intersects(accesses) {
        return Err(exceptions::undefined(cpu));
    }
    cpu.state.sys.emulated |= traps.emulated.intersects(accesses);
    Ok(())
}

/// KVM watches the registers that control translation until a write to one finds the caches on.
fn watch_caches(cpu: &mut Cpu) {
    let on = cpu.state.sys[Reg::SCTLR_EL1] & SCTLR_CACHES == SCTLR_CACHES;
    if cpu.state.sys.watch_caches && on {
        cpu.state.sys.watch_caches = false;
        traps::update(cpu);
    }
}
