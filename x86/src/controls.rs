//! Control registers: what may be written to them, and what follows (SDM vol. 3A, 2.5, and vol. 2,
//! MOV to control registers; AMD APM vol. 2, 3.1).

use crate::cpuid::{self, Feature, feature};
use crate::exceptions::{Fault, vector};
use crate::exit::Exit;
use crate::mmu;
use crate::segments::{rights, seg};
use crate::state::{self, cr0, cr4, efer};
use crate::{Cpu, interrupts, vcpu};

const GP: Fault = Fault::with_code(vector::GP, 0);

/// Bits of CR0 that exist.
const CR0: u64 = 0xe005_003f;
/// CR3: what is loaded does not empty the TLB.
const NO_FLUSH: u64 = 1 << 63;

/// Bits of CR4 that this processor has.
const CR4: u64 = cr4::VME
    | cr4::PVI
    | cr4::TSD
    | cr4::DE
    | cr4::PSE
    | cr4::PAE
    | cr4::MCE
    | cr4::PGE
    | cr4::PCE
    | cr4::OSFXSR
    | cr4::OSXMMEXCPT
    | cr4::UMIP
    | cr4::LA57
    | cr4::FSGSBASE
    | cr4::PCIDE
    | cr4::OSXSAVE
    | cr4::SMEP
    | cr4::SMAP
    | cr4::PKE;

/// Bits of CR4 that are there only if CPUID says so to the guest.
const CR4_FEATURES: [(u64, Feature); 8] = [
    (cr4::UMIP, feature::UMIP),
    (cr4::LA57, feature::LA57),
    (cr4::FSGSBASE, feature::FSGSBASE),
    (cr4::PCIDE, feature::PCID),
    (cr4::OSXSAVE, feature::XSAVE),
    (cr4::SMEP, feature::SMEP),
    (cr4::SMAP, feature::SMAP),
    (cr4::PKE, feature::PKU),
];

/// Whether the guest may have these bits of CR4.
pub fn cr4_is_allowed(cpu: &Cpu, value: u64) -> bool {
    // As long as user space has not said what there is, all is there that could be (KVM API 4.14).
    let has = |feature| cpu.state.cpuid.is_empty() || cpuid::has(cpu, feature);
    let missing = |(bit, feature): &(u64, Feature)| value & bit != 0 && !has(*feature);
    value & !CR4 == 0 && !CR4_FEATURES.iter().any(missing)
}

/// Bits of CR4 on which translations depend.
const CR4_TRANSLATION: u64 =
    cr4::PSE | cr4::PAE | cr4::PGE | cr4::LA57 | cr4::PCIDE | cr4::SMEP | cr4::SMAP | cr4::PKE;

/// Writes CR0 as the guest does.
pub fn set_cr0(cpu: &mut Cpu, value: u64) -> Result<(), Fault> {
    let state = &cpu.state;
    let old = state.cr0;
    let on = |bit| value & bit != 0;
    let bad = value >> 32 != 0
        || on(cr0::PG) && !on(cr0::PE)
        || on(cr0::NW) && !on(cr0::CD)
        || !on(cr0::PG) && (state.code64() || state.cr4 & cr4::PCIDE != 0);
    let code = &state.segmentation.segments[seg::CS as usize];
    let enters = on(cr0::PG) && old & cr0::PG == 0 && state.efer & efer::LME != 0;
    if bad || enters && (state.cr4 & cr4::PAE == 0 || code.rights & rights::L != 0) {
        return Err(GP);
    }
    let state = &mut cpu.state;
    state.cr0 = value & CR0 | cr0::ET;
    if enters {
        state.efer |= efer::LMA;
    } else if !on(cr0::PG) {
        state.efer &= !efer::LMA;
    }
    if (old ^ value) & (cr0::PE | cr0::PG | cr0::WP) != 0 {
        mmu::flush(cpu);
    }
    state::changed(cpu);
    Ok(())
}

/// Writes CR3 as the guest does.
pub fn set_cr3(cpu: &mut Cpu, value: u64) -> Result<(), Fault> {
    let pcide = cpu.state.cr4 & cr4::PCIDE != 0;
    let bits = mmu::physical_bits(cpu);
    let keep = pcide && value & NO_FLUSH != 0;
    let address = if pcide { value & !NO_FLUSH } else { value };
    if cpu.state.long_mode() && address >> bits != 0 {
        return Err(GP);
    }
    cpu.state.cr3 = address;
    match (pcide, keep) {
        (_, true) => {}
        (true, _) => mmu::flush_pcid(cpu, (address & 0xfff) as u16),
        (false, _) => mmu::flush(cpu),
    }
    state::changed(cpu);
    Ok(())
}

/// Writes CR4 as the guest does.
pub fn set_cr4(cpu: &mut Cpu, value: u64) -> Result<(), Fault> {
    let state = &cpu.state;
    let old = state.cr4;
    let changes = old ^ value;
    let long = state.long_mode();
    let paging = state.cr0 & cr0::PG != 0;
    let begins_pcid = changes & value & cr4::PCIDE != 0;
    if !cr4_is_allowed(cpu, value)
        || long && paging && (value & cr4::PAE == 0 || changes & cr4::LA57 != 0)
        || begins_pcid && (!long || state.cr3 & 0xfff != 0)
    {
        return Err(GP);
    }
    cpu.state.cr4 = value;
    if changes & CR4_TRANSLATION != 0 {
        mmu::flush(cpu);
    }
    state::changed(cpu);
    Ok(())
}

/// CR8: of the local APIC, if that is not user space's.
#[inline]
pub fn cr8(cpu: &Cpu) -> u64 {
    let apic = cpu.state.peer.apic();
    if apic.in_kernel() {
        apic.cr8()
    } else {
        cpu.state.cr8
    }
}

/// Sets CR8.
pub fn set_cr8(cpu: &mut Cpu, value: u64) -> Result<(), Fault> {
    if value >> 4 != 0 {
        return Err(GP);
    }
    let apic = cpu.state.peer.apic();
    if apic.in_kernel() {
        apic.set_cr8(value);
        interrupts::look(cpu);
    } else {
        cpu.state.cr8 = value;
    }
    Ok(())
}

/// Writes a control register, by its number. Only those that exist get here.
pub(crate) fn write(cpu: &mut Cpu, number: u64, value: u64) -> Result<(), Fault> {
    match number {
        0 => set_cr0(cpu, value),
        2 => {
            cpu.state.cr2 = value;
            Ok(())
        }
        3 => set_cr3(cpu, value),
        4 => set_cr4(cpu, value),
        _ => {
            let lower = value < cr8(cpu);
            set_cr8(cpu, value)?;
            if lower && !cpu.state.peer.apic().in_kernel() {
                cpu.state.exit = Some(Exit::SetTpr);
                vcpu::leave(cpu);
            }
            Ok(())
        }
    }
}

/// Reads a control register, by its number.
pub(crate) fn read(cpu: &Cpu, number: u64) -> u64 {
    match number {
        0 => cpu.state.cr0,
        2 => cpu.state.cr2,
        3 => cpu.state.cr3,
        4 => cpu.state.cr4,
        _ => cr8(cpu),
    }
}

/// INVPCID (SDM vol. 2).
pub(crate) fn invalidate(cpu: &mut Cpu, kind: u64, pcid: u64, address: u64) -> Result<(), Fault> {
    let enabled = cpu.state.cr4 & cr4::PCIDE != 0;
    if kind > 3 || kind < 2 && (pcid >> 12 != 0 || pcid != 0 && !enabled) {
        return Err(GP);
    }
    match kind {
        0 if !mmu::canonical(cpu, address) => return Err(GP),
        0 => mmu::flush_page(cpu, address),
        1 => mmu::flush_pcid(cpu, pcid as u16),
        _ => mmu::flush(cpu),
    }
    Ok(())
}
