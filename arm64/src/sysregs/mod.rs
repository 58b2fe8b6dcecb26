//! System registers (Arm ARM D23).
//!
//! ```text
//!                    table.rs: one row a register
//!              ┌──────────────┼─────────────────────┐
//!          guest.rs         mod.rs               user.rs
//!        MRS, MSR, SYS      reset      KVM_{GET,SET}_ONE_REG, KVM_GET_REG_LIST
//!              │                                    │
//!         traps.rs: what EL2 traps ◄──── id/: the VM's ID registers, one row a field
//!                                                   ▲
//!                                        models/: the host CPUs
//! ```

pub mod encoding;
mod guest;
mod guest_id;
pub mod id;
pub mod instructions;
pub mod models;
pub mod register;
mod special;
pub mod storage;
pub mod table;
mod timers;
pub mod traps;
pub mod user;

pub use encoding::Encoding;
pub use guest::{read, sys, write};
pub use guest_id::mpidr_of;
pub use id::IdRegisters;
pub use special::el0_masks_interrupts;
pub use storage::{Reg, SysRegs};
pub use user::first_run;

use crate::Cpu;
use register::{Read, Reset};

/// Gives the system registers their values after a reset: KVM_ARM_VCPU_INIT and PSCI CPU_ON. What
/// identifies the processor stays as it is, once it has its values: the VM's ID registers (IDR-3),
/// and the vCPU's MPIDR_EL1, CLIDR_EL1 and those behind CSSELR_EL1.
pub fn reset(cpu: &mut Cpu) {
    for register in table::REGISTERS {
        let value = match register.reset {
            Reset::None => continue,
            Reset::To(value) => value,
            Reset::By(value) => value(cpu),
            Reset::Once(_) if cpu.state.sys.identified => continue,
            Reset::Once(value) => value(cpu),
        };
        if let (None, Read::Slot(slot)) = (register.storage(), register.read) {
            cpu.set_slot(slot, value);
        } else if let Some(reg) = register.storage() {
            cpu.state.sys[reg] = value;
        }
    }
    for reg in [Reg::SPSR_abt, Reg::SPSR_und, Reg::SPSR_irq, Reg::SPSR_fiq] {
        cpu.state.sys[reg] = 0;
    }
    if !std::mem::replace(&mut cpu.state.sys.identified, true) {
        let id = cpu.state.peer.id();
        cpu.state.peer.set_mpidr(guest_id::mpidr_of(id));
    }
    cpu.state.sys.watch_caches = true;
    special::breakpoints_changed(cpu);
    special::translation_changed(cpu);
}

/// The name of a register or system instruction, for those who print one.
pub fn name(encoding: Encoding) -> Option<&'static str> {
    let register = table::find(encoding).map(|register| register.name);
    register.or_else(|| instructions::find(encoding).map(|instruction| instruction.name))
}

#[cfg(test)]
mod tests;
