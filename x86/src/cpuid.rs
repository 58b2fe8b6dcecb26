//! CPUID: exactly what user space has set, but for the bits that mirror control registers and
//! IA32_APIC_BASE (SDM vol. 2, CPUID; KVM API 4.13, "KVM_SET_CPUID2").

use crate::Cpu;
use crate::state::cr4;

/// One leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What EAX asks for.
    pub function: u32,
    /// What ECX asks for, if that counts (`KVM_CPUID_FLAG_SIGNIFCANT_INDEX`).
    pub index: Option<u32>,
    /// EAX, EBX, ECX and EDX.
    pub values: [u32; 4],
}

/// ECX of leaf 1: CR4.OSXSAVE is set.
const OSXSAVE: u32 = 1 << 27;
/// EDX of leaf 1: the local APIC is enabled.
const APIC: u32 = 1 << 9;
/// ECX of leaf 7: CR4.PKE is set.
const OSPKE: u32 = 1 << 4;

fn find(entries: &[Entry], function: u32, index: u32) -> Option<&Entry> {
    entries.iter().find(|entry| {
        entry.function == function && entry.index.is_none_or(|wanted| wanted == index)
    })
}

/// Whether leaf 0 names AMD, or Hygon: what is out of range gives zeros then, and not the last basic
/// leaf.
fn is_amd(entries: &[Entry]) -> bool {
    find(entries, 0, 0).is_some_and(|entry| {
        let [_, b, c, d] = entry.values;
        let name = [b, d, c].map(u32::to_le_bytes).concat();
        name == b"AuthenticAMD" || name == b"HygonGenuine"
    })
}

/// EAX, EBX, ECX and EDX for what is asked in EAX and ECX.
pub fn query(cpu: &Cpu, function: u32, index: u32) -> [u32; 4] {
    let entries = &cpu.state.cpuid;
    let mut found = find(entries, function, index);
    if found.is_none() && !is_amd(entries) {
        let class = function & 0xc000_0000;
        let highest = find(entries, class, 0).map_or(0, |entry| entry.values[0]);
        let basic = find(entries, 0, 0).map_or(0, |entry| entry.values[0]);
        if function > highest {
            found = find(entries, basic, index);
        }
    }
    let Some(entry) = found else {
        return [0; 4];
    };
    let mut values = entry.values;
    let mirror = |value: &mut u32, bit: u32, on: bool| {
        *value &= !bit;
        *value |= if on { bit } else { 0 };
    };
    match (entry.function, entry.index.unwrap_or(0)) {
        (1, _) => {
            mirror(&mut values[2], OSXSAVE, cpu.state.cr4 & cr4::OSXSAVE != 0);
            mirror(&mut values[3], APIC, cpu.state.peer.apic().enabled());
        }
        (7, 0) => mirror(&mut values[2], OSPKE, cpu.state.cr4 & cr4::PKE != 0),
        _ => {}
    }
    values
}
