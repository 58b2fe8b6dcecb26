//! The debug registers, and who may access them (SDM vol. 3B, 18.2; vol. 2, MOV to and from debug
//! registers).

use super::guest::control;
use super::{BD, breakpoints, take};
use crate::exceptions::{self, Event, Fault, Kind, vector};
use crate::exit::{DebugExit, Exit};
use crate::state::{self, cr4};
use crate::{Cpu, debug};
use understudy_engine::emit::Stop;

/// DR6: bits that are always 1, RTM and BLD among them, as there is neither.
pub const DR6: u64 = 0xffff_0ff0;
/// DR6: bits that can be written.
const DR6_WRITABLE: u64 = 0xe00f;
/// DR7: the bit that is always 1.
pub const DR7: u64 = 0x400;
/// DR7: bits that can be written.
const DR7_WRITABLE: u64 = 0xffff_23ff;
/// DR7: MOV DR is stopped.
pub const GD: u64 = 1 << 13;

/// `struct kvm_debugregs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugRegs {
    /// `db`.
    pub db: [u64; 4],
    /// `dr6`.
    pub dr6: u64,
    /// `dr7`.
    pub dr7: u64,
    /// `flags`.
    pub flags: u64,
}

/// `KVM_GET_DEBUGREGS`.
pub fn get(cpu: &Cpu) -> DebugRegs {
    let state = &cpu.state.debug;
    DebugRegs {
        db: state.db,
        dr6: state.dr6,
        dr7: state.dr7,
        flags: 0,
    }
}

/// RESET and INIT (SDM vol. 3A, table 10-1).
pub fn reset(cpu: &mut Cpu) {
    let state = &mut cpu.state.debug;
    (state.db, state.dr6, state.dr7) = ([0; 4], DR6, DR7);
    debug::disarm(cpu);
    breakpoints::update(cpu);
}

/// `KVM_SET_DEBUGREGS`: false, with nothing changed, where it gives `EINVAL`. What is reserved in the low
/// halves is kept as it is.
#[must_use]
pub fn set(cpu: &mut Cpu, wanted: &DebugRegs) -> bool {
    if wanted.flags != 0 || wanted.dr6 >> 32 != 0 || wanted.dr7 >> 32 != 0 {
        return false;
    }
    let state = &mut cpu.state.debug;
    (state.db, state.dr6, state.dr7) = (wanted.db, wanted.dr6, wanted.dr7);
    breakpoints::update(cpu);
    true
}

/// DR6 and DR7 as the guest's #DB leaves them. Conditions that no longer hold are cleared only of
/// breakpoints.
pub(crate) fn report(cpu: &mut Cpu, bits: u64) {
    let state = &mut cpu.state.debug;
    state.dr6 = state.dr6 & !15 | DR6 | bits;
    entered(cpu);
}

/// The handler of #DB may access debug registers.
pub(crate) fn entered(cpu: &mut Cpu) {
    if cpu.state.debug.dr7 & GD != 0 {
        cpu.state.debug.dr7 &= !GD;
        breakpoints::update(cpu);
    }
}

/// The checks of MOV DR, in their order. Gives the register: 4 and 5 are 6 and 7 without CR4.DE.
fn check(cpu: &mut Cpu, number: u64) -> Result<u64, Stop> {
    if number > 7 || cpu.state.cr4 & cr4::DE != 0 && matches!(number, 4 | 5) {
        return Err(exceptions::raise(cpu, Fault::new(vector::UD)));
    }
    if cpu.state.cpl != 0 {
        return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
    }
    let state = &cpu.state.debug;
    if state.guest.has(control::USE_HW_BP) && state.breakpoints.dr7 & GD != 0 {
        let exit = DebugExit {
            exception: vector::DB.into(),
            pc: cpu.pc,
            dr6: Some(DR6 | BD),
            dr7: Some(state.breakpoints.dr7),
        };
        cpu.state.exit = Some(Exit::Debug(exit));
        return Err(Stop::Exit);
    }
    if state.dr7 & GD != 0 {
        if state.guest.control == 0 {
            return Err(take(cpu, BD, Kind::Fault));
        }
        // KVM's emulator finds it, and gives it to the guest, without RF.
        report(cpu, BD);
        let event = Event {
            vector: vector::DB,
            code: None,
            rip: state::rip(cpu),
            kind: Kind::Trap,
        };
        return Err(exceptions::deliver(cpu, event));
    }
    if state.guest.control != 0 {
        debug::by_emulator(cpu)?;
    }
    Ok(if number < 4 { number } else { number | 2 })
}

/// MOV from a debug register.
pub(crate) fn read(cpu: &mut Cpu, number: u64) -> Result<u64, Stop> {
    let number = check(cpu, number)?;
    let state = &cpu.state.debug;
    Ok(match number {
        6 => state.dr6,
        7 => state.dr7,
        number => state.db[number as usize & 3],
    })
}

/// MOV to a debug register.
pub(crate) fn write(cpu: &mut Cpu, number: u64, value: u64) -> Result<u64, Stop> {
    let number = check(cpu, number)?;
    if number >= 6 && value >> 32 != 0 {
        return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
    }
    let state = &mut cpu.state.debug;
    match number {
        6 => state.dr6 = value & DR6_WRITABLE | DR6,
        7 => state.dr7 = value & DR7_WRITABLE | DR7,
        number => state.db[number as usize & 3] = value,
    }
    if number != 6 {
        breakpoints::update(cpu);
    }
    Ok(0)
}
