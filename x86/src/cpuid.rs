//! CPUID: exactly what user space has set, but for the bits that mirror control registers and
//! IA32_APIC_BASE (SDM vol. 2, CPUID; KVM API 4.13, "KVM_SET_CPUID2").

use crate::features::{Register, bits};
use crate::quirks::quirk;
use crate::state::cr4;
use crate::{Cpu, msrs, xsave};

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
/// ECX of leaf 1: IA32_MISC_ENABLE has MONITOR and MWAIT.
const MWAIT: u32 = 1 << 3;
/// EDX of leaf 1: the local APIC is enabled.
const APIC: u32 = 1 << 9;
/// ECX of leaf 7: CR4.PKE is set.
const OSPKE: u32 = 1 << 4;

fn find(entries: &[Entry], function: u32, index: u32) -> Option<&Entry> {
    entries.iter().find(|entry| {
        entry.function == function && entry.index.is_none_or(|wanted| wanted == index)
    })
}

/// A bit that a leaf has: leaf, index, register from EAX on, bit.
pub type Feature = (u32, u32, usize, u32);

/// Bits that accesses depend on.
pub mod feature {
    use super::Feature;

    const EBX: usize = 1;
    const ECX: usize = 2;
    const EDX: usize = 3;

    /// Process-context identifiers.
    pub const PCID: Feature = (1, 0, ECX, 17);
    /// XSAVE, XRSTOR, XGETBV and XSETBV.
    pub const XSAVE: Feature = (1, 0, ECX, 26);
    /// RDFSBASE and its like.
    pub const FSGSBASE: Feature = (7, 0, EBX, 0);
    /// Supervisor-mode execution prevention.
    pub const SMEP: Feature = (7, 0, EBX, 7);
    /// Supervisor-mode access prevention.
    pub const SMAP: Feature = (7, 0, EBX, 20);
    /// User-mode instruction prevention.
    pub const UMIP: Feature = (7, 0, ECX, 2);
    /// Protection keys for user pages.
    pub const PKU: Feature = (7, 0, ECX, 3);
    /// 57-bit linear addresses.
    pub const LA57: Feature = (7, 0, ECX, 16);
    /// SSE3.
    pub const SSE3: Feature = (1, 0, ECX, 0);
    /// MONITOR and MWAIT.
    pub const MWAIT: Feature = (1, 0, ECX, 3);
    /// IBRS and IBPB, Intel's.
    pub const SPEC_CTRL: Feature = (7, 0, EDX, 26);
    /// STIBP, Intel's.
    pub const INTEL_STIBP: Feature = (7, 0, EDX, 27);
    /// IA32_FLUSH_CMD.
    pub const FLUSH_L1D: Feature = (7, 0, EDX, 28);
    /// IA32_ARCH_CAPABILITIES.
    pub const ARCH_CAPABILITIES: Feature = (7, 0, EDX, 29);
    /// SSBD, Intel's.
    pub const SPEC_CTRL_SSBD: Feature = (7, 0, EDX, 31);
    /// XSAVES and IA32_XSS.
    pub const XSAVES: Feature = (0xd, 1, 0, 3);
    /// OS-visible workarounds.
    pub const OSVW: Feature = (0x8000_0001, 0, ECX, 9);
    /// IBPB, AMD's.
    pub const AMD_IBPB: Feature = (0x8000_0008, 0, EBX, 12);
    /// IBRS, AMD's.
    pub const AMD_IBRS: Feature = (0x8000_0008, 0, EBX, 14);
    /// STIBP, AMD's.
    pub const AMD_STIBP: Feature = (0x8000_0008, 0, EBX, 15);
    /// SSBD, AMD's.
    pub const AMD_SSBD: Feature = (0x8000_0008, 0, EBX, 24);
    /// MSR_AMD64_VIRT_SPEC_CTRL.
    pub const VIRT_SSBD: Feature = (0x8000_0008, 0, EBX, 25);
}

/// Whether the guest has been given this bit.
pub fn has(cpu: &Cpu, (function, index, register, bit): Feature) -> bool {
    let entry = find(&cpu.state.cpuid, function, index);
    entry.is_some_and(|entry| entry.values[register] >> bit & 1 != 0)
}

/// Whether leaf 0 names a vendor whose processors are Intel's or like them.
pub fn is_intel(cpu: &Cpu) -> bool {
    find(&cpu.state.cpuid, 0, 0).is_some_and(|entry| {
        let [_, b, c, d] = entry.values;
        let name = [b, d, c].map(u32::to_le_bytes).concat();
        let names: [&[u8]; 3] = [b"GenuineIntel", b"CentaurHauls", b"  Shanghai  "];
        names.contains(&&name[..])
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
    found.map_or([0; 4], |entry| current(cpu, entry))
}

/// What an entry gives now: with the bits that mirror control registers.
pub fn current(cpu: &Cpu, entry: &Entry) -> [u32; 4] {
    let mut values = entry.values;
    let mirror = |value: &mut u32, bit: u32, on: bool| {
        *value &= !bit;
        *value |= if on { bit } else { 0 };
    };
    match (entry.function, entry.index.unwrap_or(0)) {
        (1, _) => {
            mirror(&mut values[2], OSXSAVE, cpu.state.cr4 & cr4::OSXSAVE != 0);
            if !cpu.state.quirks.has(quirk::MISC_ENABLE_NO_MWAIT) {
                mirror(
                    &mut values[2],
                    MWAIT,
                    cpu.state.msrs.misc_enable & msrs::MWAIT != 0,
                );
            }
            mirror(&mut values[3], APIC, cpu.state.peer.apic().enabled());
        }
        (0xd, 0) => values[1] = xsave::size(cpu.state.xcr0),
        // XSAVEC, or XSAVES: the compacted format.
        (0xd, 1) if values[0] & 0xa != 0 => {
            values[1] = xsave::compacted_size(cpu.state.xcr0);
        }
        (7, 0) => mirror(&mut values[2], OSPKE, cpu.state.cr4 & cr4::PKE != 0),
        _ => {}
    }
    values
}

/// The four characters groups of "AuthenticAMD" in EBX, ECX and EDX.
const VENDOR: [u32; 3] = [
    u32::from_le_bytes(*b"Auth"),
    u32::from_le_bytes(*b"cAMD"),
    u32::from_le_bytes(*b"enti"),
];

/// Family 17h, model 1, stepping 2: the first of AMD's that has most of what there is.
const SIGNATURE: u32 = 0x0080_0f12;
/// Bits of a physical, and of a linear address.
const ADDRESS_BITS: u32 = 57 << 8 | PHYSICAL_BITS;
/// Bits of a guest-physical address (leaf 0x80000008, EAX bits 7:0).
pub const PHYSICAL_BITS: u32 = 48;

/// Leaf 0xd: the components, and the bytes that the area has for all of them.
fn xsave_leaf() -> [u32; 4] {
    let size = xsave::size(xsave::COMPONENTS);
    [xsave::COMPONENTS as u32, size, size, 0]
}

/// The highest leaf of each range.
const BASIC: u32 = 0xd;
const EXTENDED: u32 = 0x8000_0021;
/// "KVMKVMKVM" in EBX, ECX and EDX.
pub(crate) const KVM: [u32; 3] = [
    u32::from_le_bytes(*b"KVMK"),
    u32::from_le_bytes(*b"VMKV"),
    u32::from_le_bytes(*b"M\0\0\0"),
];

/// Everything that a guest can be given: what `KVM_GET_SUPPORTED_CPUID` says (KVM API 4.46). Leaves that
/// have nothing are there, as in KVM.
pub fn supported() -> Vec<Entry> {
    let leaf = |function, values| Entry {
        function,
        index: None,
        values,
    };
    let sub = |function, index, values| Entry {
        function,
        index: Some(index),
        values,
    };
    let have = |function, index| {
        [Register::Eax, Register::Ebx, Register::Ecx, Register::Edx]
            .map(|register| bits(function, index, register))
    };
    let [vendor_b, vendor_c, vendor_d] = VENDOR;
    let mut entries = vec![leaf(0, [BASIC, vendor_b, vendor_c, vendor_d])];
    let [_, _, c, d] = have(1, 0);
    // CLFLUSH works on 64 bytes.
    entries.push(leaf(1, [SIGNATURE, 8 << 8, c, d]));
    for function in 2..=BASIC {
        let values = have(function, 0);
        entries.push(match function {
            4 | 7 | 0xb => sub(function, 0, values),
            // The APIC timer always runs.
            6 => leaf(6, [1 << 2, 0, 0, 0]),
            0xd => sub(0xd, 0, xsave_leaf()),
            _ => leaf(function, values),
        });
    }
    // With the bytes that the compacted format has for all of them.
    let [a, ..] = have(0xd, 1);
    let size = xsave::compacted_size(xsave::COMPONENTS);
    entries.push(sub(0xd, 1, [a, size, 0, 0]));
    // The upper halves of the YMM registers: 256 bytes, behind the legacy area and the header.
    entries.push(sub(0xd, 2, [256, 576, 0, 0]));
    // PKRU.
    entries.push(sub(0xd, 9, [8, xsave::PKRU as u32, 0, 0]));
    let [kvm_b, kvm_c, kvm_d] = KVM;
    entries.push(leaf(0x4000_0000, [0x4000_0001, kvm_b, kvm_c, kvm_d]));
    entries.push(leaf(0x4000_0001, have(0x4000_0001, 0)));
    entries.push(leaf(0x8000_0000, [EXTENDED, vendor_b, vendor_c, vendor_d]));
    let [_, b, c, d] = have(0x8000_0001, 0);
    entries.push(leaf(0x8000_0001, [SIGNATURE, b, c, d]));
    for function in 0x8000_0002..=EXTENDED {
        let values = have(function, 0);
        entries.push(match function {
            0x8000_0008 => {
                let [_, b, c, d] = values;
                leaf(function, [ADDRESS_BITS, b, c, d])
            }
            0x8000_001d => sub(function, 0, values),
            _ => leaf(function, values),
        });
    }
    entries
}
