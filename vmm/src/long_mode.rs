//! x86-64 guests that begin in 64-bit mode, without firmware: the tables that the mode needs, and the
//! special registers that turn it on (SDM vol. 3A, 3.4, 4.5 and 7.7).
//!
//! ```text
//!  guest-physical
//!  0x1000  GDT, and the TSS at 0x1800
//!  0x2000  IDT
//!  0x3000  the kernel's stack, downwards from 0x4000
//! ```
//!
//! The rest is the guest's. [`AddressSpace`] maps the first 2 MiB for the kernel, where they are, and
//! single pages for processes.

use understudy_abi::x86::{kvm_dtable, kvm_segment, kvm_sregs};

const GDT: u64 = 0x1000;
const TSS: u64 = 0x1800;
const IDT: u64 = 0x2000;
/// The top of the stack that the kernel has, and that interrupts of processes begin with.
pub(crate) const KERNEL_STACK: u64 = 0x4000;
/// Bytes that one address space's tables take.
pub(crate) const TABLES_SIZE: u64 = 0x4000;

/// Selectors of the GDT.
pub(crate) mod selector {
    pub(crate) const CODE: u16 = 0x08;
    pub(crate) const DATA: u16 = 0x10;
    pub(crate) const USER_CODE: u16 = 0x1b;
    pub(crate) const USER_DATA: u16 = 0x23;
    pub(crate) const TSS: u16 = 0x28;
}

/// Page-table entries (SDM vol. 3A, 4.5.4).
mod entry {
    pub(super) const PRESENT: u64 = 1 << 0;
    pub(super) const WRITABLE: u64 = 1 << 1;
    pub(super) const LEVEL_3: u64 = 1 << 2;
    pub(super) const LARGE: u64 = 1 << 7;
}

/// Writes eight bytes of guest memory.
pub(crate) fn put(ram: &mut [u8], address: u64, value: u64) {
    ram[address as usize..][..8].copy_from_slice(&value.to_le_bytes());
}

/// Writes bytes of guest memory.
pub(crate) fn write(ram: &mut [u8], address: u64, bytes: &[u8]) {
    ram[address as usize..][..bytes.len()].copy_from_slice(bytes);
}

/// Writes GDT and TSS.
pub(crate) fn descriptors(ram: &mut [u8]) {
    let descriptors = [
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00af_fb00_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x0000_8b00_0000_0067 | TSS << 16,
        0,
    ];
    for (i, descriptor) in (0..).zip(descriptors) {
        put(ram, GDT + 8 * i, descriptor);
    }
    put(ram, TSS + 4, KERNEL_STACK);
}

/// Writes an interrupt gate that code of level `dpl` may use (SDM vol. 3A, 7.14.1).
pub(crate) fn gate(ram: &mut [u8], vector: u8, handler: u64, dpl: u64) {
    let at = IDT + 16 * u64::from(vector);
    let kind = 0x8e00 | dpl << 13;
    let low = handler & 0xffff | u64::from(selector::CODE) << 16;
    put(ram, at, low | kind << 32 | (handler >> 16 & 0xffff) << 48);
    put(ram, at + 8, handler >> 32);
}

/// The tables of an address space, at `cr3`.
///
/// ```text
///  PML4 ─► PDPT ─► PD ─┬─ 0: 2 MiB, the kernel's
///                      └─ 2: the page table of 0x40_0000 to 0x60_0000
/// ```
pub(crate) struct AddressSpace {
    /// Its CR3: the guest-physical address of its first table.
    pub(crate) cr3: u64,
}

/// The first linear address that [`AddressSpace::map`] can map.
pub(crate) const USER: u64 = 0x40_0000;

impl AddressSpace {
    /// Writes the tables, in [`TABLES_SIZE`] bytes from `cr3` on.
    pub(crate) fn new(ram: &mut [u8], cr3: u64) -> AddressSpace {
        use entry::*;
        let table = PRESENT | WRITABLE | LEVEL_3;
        put(ram, cr3, (cr3 + 0x1000) | table);
        put(ram, cr3 + 0x1000, (cr3 + 0x2000) | table);
        put(ram, cr3 + 0x2000, LARGE | PRESENT | WRITABLE);
        put(ram, cr3 + 0x2000 + 8 * (USER >> 21), (cr3 + 0x3000) | table);
        AddressSpace { cr3 }
    }

    /// Maps a page of the 2 MiB from [`USER`] on, for level 3.
    pub(crate) fn map(&self, ram: &mut [u8], linear: u64, physical: u64, writable: bool) {
        let rights = if writable { entry::WRITABLE } else { 0 };
        let index = linear >> 12 & 0x1ff;
        let page = physical | entry::PRESENT | entry::LEVEL_3 | rights;
        put(ram, self.cr3 + 0x3000 + 8 * index, page);
    }
}

fn segment(selector: u16, kind: u8, long: u8) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        r#type: kind,
        present: 1,
        dpl: (selector & 3) as u8,
        db: 1 - long,
        s: 1,
        l: long,
        g: 1,
        ..kvm_segment::default()
    }
}

/// The special registers as they are, but in 64-bit mode at level 0, in this address space.
pub(crate) fn sregs(old: &kvm_sregs, cr3: u64) -> kvm_sregs {
    const CR0_PE: u64 = 1 << 0;
    const CR0_ET: u64 = 1 << 4;
    const CR0_WP: u64 = 1 << 16;
    const CR0_PG: u64 = 1 << 31;
    const CR4_PAE: u64 = 1 << 5;
    const EFER_LME: u64 = 1 << 8;
    const EFER_LMA: u64 = 1 << 10;
    // Code: executable, readable, accessed. Data: writable, accessed.
    let data = segment(selector::DATA, 3, 0);
    kvm_sregs {
        cs: segment(selector::CODE, 11, 1),
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        tr: kvm_segment {
            base: TSS,
            limit: 0x67,
            selector: selector::TSS,
            r#type: 11,
            present: 1,
            ..kvm_segment::default()
        },
        gdt: kvm_dtable {
            base: GDT,
            limit: 0x37,
            padding: [0; 3],
        },
        idt: kvm_dtable {
            base: IDT,
            limit: 0xfff,
            padding: [0; 3],
        },
        cr0: CR0_PE | CR0_ET | CR0_WP | CR0_PG,
        cr3,
        cr4: CR4_PAE,
        efer: EFER_LME | EFER_LMA,
        ..*old
    }
}
