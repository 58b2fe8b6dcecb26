//! The local APIC's registers as the guest accesses them, in its page or as MSRs (SDM vol. 3A, 11.4.1
//! and 11.12.1).

use super::delivery::{self, Message, Mode, Shorthand};
use super::{Apic, CPUID_TSC_DEADLINE, base, lvt, timer, told, tpr};
use crate::quirks::quirk;
use crate::{Cpu, interrupts};

/// Registers of the page that there are or may be.
pub const COUNT: usize = 64;
/// Bytes of the page.
pub const PAGE: u64 = 0x1000;

/// Offsets in the page.
pub mod reg {
    /// Local APIC ID.
    pub const ID: u32 = 0x20;
    /// Local APIC version.
    pub const VERSION: u32 = 0x30;
    /// Task priority.
    pub const TPR: u32 = 0x80;
    /// Arbitration priority.
    pub const APR: u32 = 0x90;
    /// Processor priority.
    pub const PPR: u32 = 0xa0;
    /// End of interrupt.
    pub const EOI: u32 = 0xb0;
    /// Logical destination.
    pub const LDR: u32 = 0xd0;
    /// Destination format.
    pub const DFR: u32 = 0xe0;
    /// Spurious-interrupt vector.
    pub const SVR: u32 = 0xf0;
    /// In service, 8 words.
    pub const ISR: u32 = 0x100;
    /// Trigger mode, 8 words.
    pub const TMR: u32 = 0x180;
    /// Interrupt request, 8 words.
    pub const IRR: u32 = 0x200;
    /// Error status.
    pub const ESR: u32 = 0x280;
    /// Interrupt command, low half.
    pub const ICR: u32 = 0x300;
    /// Interrupt command, high half.
    pub const ICR2: u32 = 0x310;
    /// Local vector table: timer.
    pub const LVT_TIMER: u32 = 0x320;
    /// Local vector table: thermal sensor.
    pub const LVT_THERMAL: u32 = 0x330;
    /// Local vector table: performance counters.
    pub const LVT_PERFORMANCE: u32 = 0x340;
    /// Local vector table: LINT0.
    pub const LVT0: u32 = 0x350;
    /// Local vector table: LINT1.
    pub const LVT1: u32 = 0x360;
    /// Local vector table: error.
    pub const LVT_ERROR: u32 = 0x370;
    /// The timer's initial count.
    pub const INITIAL_COUNT: u32 = 0x380;
    /// The timer's current count.
    pub const CURRENT_COUNT: u32 = 0x390;
    /// The timer's divide configuration.
    pub const DIVIDE: u32 = 0x3e0;
    /// Self IPI, in x2APIC mode.
    pub const SELF_IPI: u32 = 0x3f0;
}

/// SVR: software has enabled the local APIC.
pub(super) const SVR_ENABLED: u32 = 1 << 8;
/// SVR: EOI is not told to IOAPICs.
pub(crate) const SVR_NO_BROADCAST: u32 = 1 << 12;
/// ICR: delivery status.
const BUSY: u32 = 1 << 12;
/// ICR in x2APIC mode: bits that there are not.
const ICR_RESERVED: u64 = 0xfff3_2000;

/// Whether a register can be read.
fn readable(apic: &Apic, offset: u32) -> bool {
    match offset {
        reg::APR | reg::DFR | reg::ICR2 => !apic.x2apic(),
        reg::ID
        | reg::VERSION
        | reg::TPR
        | reg::PPR
        | reg::LDR
        | reg::SVR..reg::ESR
        | reg::ESR
        | reg::ICR
        | reg::LVT_TIMER..=reg::CURRENT_COUNT
        | reg::DIVIDE => offset & 0xf == 0,
        _ => false,
    }
}

/// What a register gives; none if it cannot be read.
pub(super) fn read(apic: &Apic, offset: u32) -> Option<u32> {
    if !readable(apic, offset) {
        return None;
    }
    Some(match offset {
        reg::APR => 0,
        reg::PPR => {
            apic.priority();
            apic.get(reg::PPR)
        }
        reg::CURRENT_COUNT => apic.current_count(),
        _ => apic.get(offset),
    })
}

/// The guest has read a register.
pub(super) fn read_by_guest(cpu: &mut Cpu, offset: u32) {
    if offset == reg::TPR {
        tpr::accessed(cpu, false);
    }
}

/// The bits that an entry of the local vector table has; none if there is no such entry.
fn lvt_bits(cpu: &Cpu, offset: u32) -> Option<u32> {
    /// Vector, delivery status, mask.
    const ALL: u32 = 0xff | 1 << 12 | lvt::MASKED;
    Some(match offset {
        reg::LVT_TIMER if told(cpu, CPUID_TSC_DEADLINE) => ALL | 3 << 17,
        reg::LVT_TIMER => ALL | 1 << 17,
        reg::LVT_THERMAL | reg::LVT_PERFORMANCE => ALL | lvt::MODE,
        // Polarity, remote IRR and trigger mode.
        reg::LVT0 | reg::LVT1 => ALL | lvt::MODE | 7 << 13,
        reg::LVT_ERROR => ALL,
        _ => return None,
    })
}

/// Writes a register; none if that cannot be done.
pub(super) fn write(cpu: &mut Cpu, offset: u32, value: u32) -> Option<()> {
    let peer = cpu.state.peer.clone();
    let apic = peer.apic();
    let x2apic = apic.x2apic();
    match offset {
        reg::ID if !x2apic => apic.set(reg::ID, value & 0xff00_0000),
        reg::TPR => {
            apic.set(reg::TPR, value & 0xff);
            interrupts::look(cpu);
            tpr::accessed(cpu, true);
        }
        reg::EOI => end_of_interrupt(cpu),
        reg::LDR if !x2apic => apic.set(reg::LDR, value & 0xff00_0000),
        reg::DFR if !x2apic => apic.set(reg::DFR, value | 0x0fff_ffff),
        reg::SVR => write_svr(apic, value),
        reg::ICR => {
            let value = value & !BUSY;
            send(cpu, value, apic.get(reg::ICR2));
            apic.set(reg::ICR, value);
        }
        reg::ICR2 if !x2apic => apic.set(reg::ICR2, value & 0xff00_0000),
        reg::LVT_TIMER..=reg::LVT_ERROR => {
            let bits = lvt_bits(cpu, offset)?;
            let masked = if apic.software_enabled() {
                0
            } else {
                lvt::MASKED
            };
            apic.set(offset, (value | masked) & bits);
            if offset == reg::LVT_TIMER {
                apic.timer_mode_written();
            }
            // The PICs may have got through.
            interrupts::look(cpu);
        }
        reg::INITIAL_COUNT => timer::write_initial_count(cpu, value),
        reg::DIVIDE => timer::write_divide(cpu, value & 0xb),
        // No errors are noted.
        reg::ESR if x2apic && value != 0 => return None,
        reg::ESR => {}
        reg::SELF_IPI if x2apic && value <= 0xff => {
            let to_self = (Shorthand::Itself as u32) << 18;
            send(cpu, to_self | value, 0);
        }
        _ => return None,
    }
    Some(())
}

/// SVR. What software disables masks its local vectors (SDM vol. 3A, 11.4.7.2).
fn write_svr(apic: &Apic, value: u32) {
    let directed = apic.get(reg::VERSION) & 1 << 24 != 0;
    let bits = 0x3ff | if directed { SVR_NO_BROADCAST } else { 0 };
    apic.set(reg::SVR, value & bits);
    if value & SVR_ENABLED == 0 {
        for offset in (reg::LVT_TIMER..=reg::LVT_ERROR).step_by(16) {
            apic.set(offset, apic.get(offset) | lvt::MASKED);
        }
    }
}

/// Sends what ICR says (SDM vol. 3A, 11.6.1).
fn send(cpu: &mut Cpu, low: u32, high: u32) {
    let peer = cpu.state.peer.clone();
    let apic = peer.apic();
    let message = Message {
        vector: low as u8,
        mode: Mode::of(low >> 8),
        logical: low & 1 << 11 != 0,
        assert: low & 1 << 14 != 0,
        level: low & 1 << 15 != 0,
        shorthand: Shorthand::of(low >> 18),
        destination: if apic.x2apic() { high } else { high >> 24 },
        hint: false,
    };
    delivery::deliver(&cpu.state.machine, Some(apic), &message);
}

/// Writes ICR in x2APIC mode; none for #GP.
pub(super) fn write_icr(cpu: &mut Cpu, value: u64) -> Option<()> {
    if value & ICR_RESERVED != 0 {
        return None;
    }
    let (low, high) = (value as u32 & !BUSY, (value >> 32) as u32);
    send(cpu, low, high);
    let apic = cpu.state.peer.apic();
    apic.set(reg::ICR, low);
    apic.set(reg::ICR2, high);
    Some(())
}

/// ICR in x2APIC mode.
pub(super) fn read_icr(apic: &Apic) -> u64 {
    u64::from(apic.get(reg::ICR2)) << 32 | u64::from(apic.get(reg::ICR))
}

/// EOI (SDM vol. 3A, 11.8.5): the interrupt of the highest priority is over.
fn end_of_interrupt(cpu: &mut Cpu) {
    let peer = cpu.state.peer.clone();
    let apic = peer.apic();
    let Some(vector) = apic.highest(reg::ISR) else {
        return;
    };
    apic.set_vector(reg::ISR, vector, false);
    apic.priority();
    interrupts::look(cpu);
    let level = apic.has_vector(reg::TMR, vector);
    let quiet = apic.get(reg::SVR) & SVR_NO_BROADCAST != 0;
    let machine = cpu.state.machine.clone();
    if let Some(chipset) = machine.chipset()
        && chipset.end_of_interrupt(&machine, apic, vector, level, quiet)
    {
        interrupts::tell_eoi(cpu, vector);
    }
}

/// Whether an address is in the page of this vCPU's local APIC, and what is there answers.
enum Page {
    /// It is not.
    Elsewhere,
    /// The registers.
    Registers(u32),
    /// None: reads give ones (`KVM_X86_QUIRK_LAPIC_MMIO_HOLE`).
    Hole,
}

fn page(cpu: &Cpu, address: u64) -> Page {
    let apic = cpu.state.peer.apic();
    let value = apic.base();
    let start = value & !0 << 12 & !(0xfff << 52);
    if !apic.in_kernel() || address.wrapping_sub(start) >= PAGE {
        return Page::Elsewhere;
    }
    if value & (base::ENABLE | base::X2APIC) == base::ENABLE {
        return Page::Registers((address - start) as u32);
    }
    if cpu.state.quirks.has(quirk::LAPIC_MMIO_HOLE) {
        Page::Hole
    } else {
        Page::Elsewhere
    }
}

/// A load from the page (SDM vol. 3A, 11.4.1); false if this is not it. What cannot be read gives 0.
pub(crate) fn load(cpu: &mut Cpu, address: u64, data: &mut [u8]) -> bool {
    match page(cpu, address) {
        Page::Elsewhere => return false,
        Page::Hole => data.fill(0xff),
        Page::Registers(offset) => {
            data.fill(0);
            let within = (offset & 0xf) as usize;
            let value = read(cpu.state.peer.apic(), offset & !0xf);
            let bytes = value.unwrap_or(0).to_le_bytes();
            if let Some(part) = bytes.get(within..within + data.len()) {
                data.copy_from_slice(part);
            }
            read_by_guest(cpu, offset & !0xf);
        }
    }
    true
}

/// A store to the page; false if this is not it. One that is not of a whole register does nothing.
pub(crate) fn store(cpu: &mut Cpu, address: u64, data: &[u8]) -> bool {
    match page(cpu, address) {
        Page::Elsewhere => return false,
        Page::Registers(offset) if offset & 0xf == 0 => {
            if let Ok(bytes) = <[u8; 4]>::try_from(data) {
                // What cannot be written is left alone.
                let _ = write(cpu, offset, u32::from_le_bytes(bytes));
            }
        }
        Page::Hole | Page::Registers(_) => {}
    }
    true
}
