//! The Power State Coordination Interface, versions 0.1 to 1.1 (Arm DEN 0022), as KVM has it.
//!
//! Suspending is waiting for an interrupt, whatever the state asked for. Whatever ends the system
//! stops every vCPU and leaves the rest to user space.

use crate::exit::{Exit, SystemEvent};
use crate::machine::Machine;
use crate::smccc::{argument, give};
use crate::sysregs::Reg;
use crate::vcpu::core_regs;
use crate::vcpu::peer::{Entry, MpState};
use crate::{Cpu, interrupts};
use understudy_abi::arm64::KVM_SYSTEM_EVENT_RESET_FLAG_PSCI_RESET2;
use understudy_abi::arm64::psci::*;
use understudy_abi::exit::{
    KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN, KVM_SYSTEM_EVENT_SUSPEND,
};

/// CPU_SUSPEND, 64-bit.
const CPU_SUSPEND64: u32 = fn64(CPU_SUSPEND);
/// CPU_ON, 64-bit.
const CPU_ON64: u32 = fn64(CPU_ON);
/// AFFINITY_INFO, 64-bit.
const AFFINITY_INFO64: u32 = fn64(AFFINITY_INFO);
/// SYSTEM_SUSPEND, 64-bit.
const SYSTEM_SUSPEND64: u32 = fn64(SYSTEM_SUSPEND);
/// SYSTEM_RESET2, 64-bit.
const SYSTEM_RESET2_64: u32 = fn64(SYSTEM_RESET2);
/// SMCCC_VERSION, which PSCI_FEATURES tells of.
const SMCCC_VERSION: u32 = 0x8000_0000;
/// MIGRATE_INFO_TYPE: there is no trusted OS that would have to migrate.
const TOS_MP: u64 = 2;
/// SYSTEM_RESET2: types from here on are the vendor's.
const RESET_TYPE_VENDOR: u32 = 1 << 31;
/// The affinity fields of MPIDR_EL1: Aff3 (39:32), Aff2 to Aff0 (23:0).
const AFFINITY: u64 = 0xff_00ff_ffff;

/// A return value as a register holds it.
const fn value(result: i64) -> u64 {
    result as u64
}

/// Makes the PSCI call `function`, whose arguments are in X1 to X3; gives the exit if user space
/// has to do something.
pub(crate) fn call(cpu: &mut Cpu, function: u32) -> Option<Exit> {
    let version = cpu.state.machine.psci_version();
    match (version >> 16, version & 0xffff) {
        (1, minor) => call_1_x(cpu, function, minor),
        (_, 2) => call_0_2(cpu, function),
        _ => call_0_1(cpu, function),
    }
}

fn finish(cpu: &mut Cpu, result: u64) -> Option<Exit> {
    give(cpu, [result, 0, 0, 0]);
    None
}

/// The arguments of a 32-bit function are 32 bits wide.
fn narrow(cpu: &mut Cpu) {
    for n in 1..4 {
        let value = argument(cpu, n) as u32;
        core_regs::set_x(cpu, n, value.into());
    }
}

fn call_0_1(cpu: &mut Cpu, function: u32) -> Option<Exit> {
    let result = match function {
        KVM_PSCI_FN_CPU_OFF => cpu_off(cpu),
        KVM_PSCI_FN_CPU_ON => cpu_on(cpu, PSCI_RET_INVALID_PARAMS),
        _ => value(PSCI_RET_NOT_SUPPORTED),
    };
    finish(cpu, result)
}

fn call_0_2(cpu: &mut Cpu, function: u32) -> Option<Exit> {
    if let CPU_ON | AFFINITY_INFO = function {
        narrow(cpu);
    }
    let result = match function {
        PSCI_VERSION => version(0, 2).into(),
        CPU_SUSPEND | CPU_SUSPEND64 => {
            interrupts::wait(cpu);
            value(PSCI_RET_SUCCESS)
        }
        CPU_OFF => cpu_off(cpu),
        CPU_ON | CPU_ON64 => cpu_on(cpu, PSCI_RET_ALREADY_ON),
        AFFINITY_INFO | AFFINITY_INFO64 => affinity_info(cpu),
        MIGRATE_INFO_TYPE => TOS_MP,
        SYSTEM_OFF => return Some(end(cpu, KVM_SYSTEM_EVENT_SHUTDOWN)),
        SYSTEM_RESET => return Some(end(cpu, KVM_SYSTEM_EVENT_RESET)),
        _ => value(PSCI_RET_NOT_SUPPORTED),
    };
    finish(cpu, result)
}

fn call_1_x(cpu: &mut Cpu, function: u32, minor: u32) -> Option<Exit> {
    let suspends = cpu.state.machine.system_suspend();
    let result = match function {
        PSCI_VERSION => version(1, minor as u16).into(),
        PSCI_FEATURES => match argument(cpu, 1) as u32 {
            PSCI_VERSION | CPU_SUSPEND | CPU_SUSPEND64 | CPU_OFF | CPU_ON | CPU_ON64
            | AFFINITY_INFO | AFFINITY_INFO64 | MIGRATE_INFO_TYPE | SYSTEM_OFF | SYSTEM_RESET
            | PSCI_FEATURES | SMCCC_VERSION => 0,
            SYSTEM_SUSPEND | SYSTEM_SUSPEND64 if suspends => 0,
            SYSTEM_RESET2 | SYSTEM_RESET2_64 if minor >= 1 => 0,
            _ => value(PSCI_RET_NOT_SUPPORTED),
        },
        SYSTEM_SUSPEND | SYSTEM_SUSPEND64 => {
            if function == SYSTEM_SUSPEND {
                narrow(cpu);
            }
            if suspends {
                // The registers stay: user space reads the entry point in them.
                return Some(Exit::SystemEvent(SystemEvent {
                    kind: KVM_SYSTEM_EVENT_SUSPEND,
                    data: None,
                }));
            }
            value(PSCI_RET_NOT_SUPPORTED)
        }
        SYSTEM_RESET2 | SYSTEM_RESET2_64 => {
            if function == SYSTEM_RESET2 {
                narrow(cpu);
            }
            match (minor, argument(cpu, 1) as u32) {
                (0, _) => value(PSCI_RET_NOT_SUPPORTED),
                (_, 0 | RESET_TYPE_VENDOR..) => {
                    core_regs::set_x(cpu, 0, value(PSCI_RET_INTERNAL_FAILURE));
                    let flags = KVM_SYSTEM_EVENT_RESET_FLAG_PSCI_RESET2;
                    return Some(stop_all(cpu, KVM_SYSTEM_EVENT_RESET, flags));
                }
                _ => value(PSCI_RET_INVALID_PARAMS),
            }
        }
        _ => return call_0_2(cpu, function),
    };
    finish(cpu, result)
}

/// Stops the caller; it waits in the run loop until somebody switches it on.
fn cpu_off(cpu: &mut Cpu) -> u64 {
    cpu.state.peer.set_mp_state(MpState::Stopped);
    value(PSCI_RET_SUCCESS)
}

fn cpu_on(cpu: &mut Cpu, not_off: i64) -> u64 {
    let target = argument(cpu, 1);
    if target & !AFFINITY != 0 {
        return value(PSCI_RET_INVALID_PARAMS);
    }
    let machine = cpu.state.machine.clone();
    let mut found = None;
    machine.vcpus.each(|peer| {
        if found.is_none() && peer.mpidr() & AFFINITY == target {
            found = Some(peer.clone());
        }
    });
    let Some(peer) = found else {
        return value(PSCI_RET_INVALID_PARAMS);
    };
    let entry = Entry {
        pc: argument(cpu, 2),
        x0: argument(cpu, 3),
        big_endian: is_big_endian(cpu),
    };
    value(if peer.power_on(entry) {
        PSCI_RET_SUCCESS
    } else {
        not_off
    })
}

/// Whether data is big-endian at the level that the caller runs at.
fn is_big_endian(cpu: &Cpu) -> bool {
    const EE: u64 = 1 << 25;
    const E0E: u64 = 1 << 24;
    let bit = if cpu.state.el == 0 { E0E } else { EE };
    cpu.state.sys[Reg::SCTLR_EL1] & bit != 0
}

fn affinity_info(cpu: &Cpu) -> u64 {
    let (target, lowest) = (argument(cpu, 1), argument(cpu, 2));
    if target & !AFFINITY != 0 || lowest > 3 {
        return value(PSCI_RET_INVALID_PARAMS);
    }
    let mask = AFFINITY & (!0 << (8 * lowest));
    let (mut matching, mut on) = (false, false);
    cpu.state.machine.vcpus.each(|peer| {
        if peer.mpidr() & mask == target & mask {
            matching = true;
            on |= peer.mp_state() != MpState::Stopped;
        }
    });
    value(match (matching, on) {
        (false, _) => PSCI_RET_INVALID_PARAMS,
        (true, true) => AFFINITY_LEVEL_ON,
        (true, false) => AFFINITY_LEVEL_OFF,
    })
}

/// SYSTEM_OFF and SYSTEM_RESET. The caller does not go on; if user space runs it nevertheless, it
/// finds that the call has failed.
fn end(cpu: &mut Cpu, kind: u32) -> Exit {
    give(cpu, [value(PSCI_RET_INTERNAL_FAILURE), 0, 0, 0]);
    stop_all(cpu, kind, 0)
}

fn stop_all(cpu: &Cpu, kind: u32, flags: u64) -> Exit {
    let machine: &Machine = &cpu.state.machine;
    machine
        .vcpus
        .each(|peer| peer.set_mp_state(MpState::Stopped));
    Exit::SystemEvent(SystemEvent {
        kind,
        data: Some(flags),
    })
}
