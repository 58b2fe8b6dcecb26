//! KVM's MSRs (KVM's `Documentation/virt/kvm/x86/msr.rst`).

use super::{clock, feature, has, steal};
use crate::Cpu;
use crate::msrs::Msr;
use std::sync::atomic::Ordering;

/// MSRs that are storage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    async_pf: u64,
    async_pf_int: u64,
    eoi: u64,
    poll: u64,
}

impl Default for Stored {
    fn default() -> Stored {
        Stored {
            async_pf: 0,
            async_pf_int: 0,
            eoi: 0,
            poll: 1,
        }
    }
}

/// A row of a register that is there if the guest has a feature.
macro_rules! row {
    ($number:literal, $name:literal, $bit:expr, $read:expr, $write:expr) => {
        Msr {
            number: $number,
            count: 1,
            name: $name,
            listed: true,
            read: |cpu, _, _| {
                let read: fn(&Cpu) -> u64 = $read;
                has(cpu, $bit).then(|| read(cpu))
            },
            write: |cpu, _, value, _| {
                let write: fn(&mut Cpu, u64) -> Option<()> = $write;
                if has(cpu, $bit) {
                    write(cpu, value)
                } else {
                    None
                }
            },
        }
    };
}

fn wall(cpu: &Cpu) -> u64 {
    cpu.state.machine.pv.clock.wall.load(Ordering::SeqCst)
}

fn set_wall(cpu: &mut Cpu, value: u64) -> Option<()> {
    clock::write_wall_clock(cpu, value);
    Some(())
}

fn set_time(cpu: &mut Cpu, value: u64) -> Option<()> {
    clock::enable(cpu, value);
    Some(())
}

/// The first registers of the clock.
pub static OLD: &[Msr] = &[
    row!(
        0x11,
        "MSR_KVM_WALL_CLOCK",
        feature::CLOCKSOURCE,
        wall,
        set_wall
    ),
    row!(
        0x12,
        "MSR_KVM_SYSTEM_TIME",
        feature::CLOCKSOURCE,
        |cpu| cpu.state.pv.clock.msr,
        set_time
    ),
];

/// All others.
pub static TABLE: &[Msr] = &[
    row!(
        0x4b56_4d00,
        "MSR_KVM_WALL_CLOCK_NEW",
        feature::CLOCKSOURCE2,
        wall,
        set_wall
    ),
    row!(
        0x4b56_4d01,
        "MSR_KVM_SYSTEM_TIME_NEW",
        feature::CLOCKSOURCE2,
        |cpu| cpu.state.pv.clock.msr,
        set_time
    ),
    row!(
        0x4b56_4d02,
        "MSR_KVM_ASYNC_PF_EN",
        feature::ASYNC_PF,
        |cpu| cpu.state.pv.msrs.async_pf,
        set_async_pf
    ),
    row!(
        0x4b56_4d03,
        "MSR_KVM_STEAL_TIME",
        feature::STEAL_TIME,
        |cpu| cpu.state.pv.steal.msr,
        steal::enable
    ),
    row!(
        0x4b56_4d04,
        "MSR_KVM_PV_EOI_EN",
        feature::PV_EOI,
        |cpu| cpu.state.pv.msrs.eoi,
        |cpu, value| {
            // Bit 0 enables, bit 1 is no address.
            (value & 2 == 0).then_some(())?;
            cpu.state.pv.msrs.eoi = value;
            Some(())
        }
    ),
    row!(
        0x4b56_4d05,
        "MSR_KVM_POLL_CONTROL",
        feature::POLL_CONTROL,
        |cpu| cpu.state.pv.msrs.poll,
        |cpu, value| {
            (value <= 1).then_some(())?;
            cpu.state.pv.msrs.poll = value;
            Some(())
        }
    ),
    row!(
        0x4b56_4d06,
        "MSR_KVM_ASYNC_PF_INT",
        feature::ASYNC_PF_INT,
        |cpu| cpu.state.pv.msrs.async_pf_int,
        |cpu, value| {
            let in_kernel = cpu.state.peer.apic().in_kernel();
            (value >> 8 == 0 && (in_kernel || value == 0)).then_some(())?;
            cpu.state.pv.msrs.async_pf_int = value;
            Some(())
        }
    ),
    row!(
        0x4b56_4d07,
        "MSR_KVM_ASYNC_PF_ACK",
        feature::ASYNC_PF_INT,
        |_| 0,
        |_, _| Some(())
    ),
];

fn set_async_pf(cpu: &mut Cpu, value: u64) -> Option<()> {
    const RESERVED: u64 = 0x30;
    const AS_EXIT: u64 = 1 << 2;
    const AS_INTERRUPT: u64 = 1 << 3;
    let lacks = |bit, feature| value & bit != 0 && !has(cpu, feature);
    let in_kernel = cpu.state.peer.apic().in_kernel();
    if value & RESERVED != 0
        || lacks(AS_EXIT, feature::ASYNC_PF_VMEXIT)
        || lacks(AS_INTERRUPT, feature::ASYNC_PF_INT)
        || !in_kernel && value != 0
    {
        return None;
    }
    cpu.state.pv.msrs.async_pf = value;
    Some(())
}
