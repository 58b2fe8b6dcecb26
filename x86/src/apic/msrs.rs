//! The local APIC's MSRs (SDM vol. 3A, 11.12.1.2 and 11.5.4.1): IA32_APIC_BASE, IA32_TSC_DEADLINE, and
//! the registers in x2APIC mode.

use super::registers::{self, reg};
use super::{timer, write_base};
use crate::Cpu;
use crate::msrs::{By, Msr};

/// The rows.
pub static TABLE: &[Msr] = &[
    Msr {
        number: 0x1b,
        count: 1,
        name: "IA32_APIC_BASE",
        listed: false,
        read: |cpu, _, _| Some(cpu.state.peer.apic().base()),
        write: |cpu, _, value, by| write_base(cpu, value, by == By::Host),
    },
    Msr {
        number: 0x6e0,
        count: 1,
        name: "IA32_TSC_DEADLINE",
        listed: true,
        read: |cpu, _, _| Some(cpu.state.peer.apic().deadline()),
        write: |cpu, _, value, _| {
            timer::write_deadline(cpu, value);
            Some(())
        },
    },
    Msr {
        number: *X2APIC.start(),
        count: *X2APIC.end() - *X2APIC.start() + 1,
        name: "x2APIC",
        listed: false,
        read: |cpu, number, _| read(cpu, number),
        write: |cpu, number, value, _| write(cpu, number, value),
    },
];

/// The numbers of the registers in x2APIC mode.
const X2APIC: std::ops::RangeInclusive<u32> = 0x800..=0x8ff;

/// Reads a register of [`X2APIC`]; none for #GP.
fn read(cpu: &Cpu, number: u32) -> Option<u64> {
    let apic = cpu.state.peer.apic();
    if !apic.in_kernel() || !apic.x2apic() {
        return None;
    }
    match (number - X2APIC.start()) << 4 {
        reg::ICR => Some(registers::read_icr(apic)),
        offset => registers::read(apic, offset).map(u64::from),
    }
}

/// Writes a register of [`X2APIC`]; none for #GP.
fn write(cpu: &mut Cpu, number: u32, value: u64) -> Option<()> {
    let apic = cpu.state.peer.apic();
    if !apic.in_kernel() || !apic.x2apic() {
        return None;
    }
    match (number - X2APIC.start()) << 4 {
        reg::ICR => registers::write_icr(cpu, value),
        offset => registers::write(cpu, offset, u32::try_from(value).ok()?),
    }
}

/// The guest has read the register of this number.
pub(crate) fn read_by_guest(cpu: &mut Cpu, number: u32) {
    if X2APIC.contains(&number) {
        registers::read_by_guest(cpu, (number - X2APIC.start()) << 4);
    }
}
