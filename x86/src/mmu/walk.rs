//! The walk of the guest's tables: 32-bit, PAE, 4-level and 5-level paging (SDM vol. 3A, 4.3 to 4.6),
//! the rights of accesses (4.6), page faults (4.7), accessed and dirty flags (4.8).
//!
//! The page-directory-pointer entries of PAE paging are read from memory at each walk, as AMD's
//! processors do (APM vol. 2, 5.2.3), and may not have been loaded by MOV CR3.

use crate::exceptions::code;
use crate::regs::flag;
use crate::state::{State, cr0, cr4, efer};
use understudy_memory::{AccessError, GuestMemory};

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Reads data.
    Read,
    /// Writes data.
    Write,
    /// Fetches an instruction.
    Execute,
}

/// An access, as far as its translation depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// What it does.
    pub what: Use,
    /// It has the rights of CPL 3.
    pub user: bool,
    /// The processor makes it by itself (a descriptor table, a TSS): RFLAGS.AC does not count.
    pub implicit: bool,
}

/// Where a linear page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Guest-physical address of the 4 KiB that the access is in.
    pub frame: u64,
    /// Bytes of the page that maps it.
    pub bytes: u64,
}

/// Why there is no translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A page fault with this error code.
    PageFault(u32),
    /// A table is where there is no memory.
    NoTable,
    /// The memory behind a slot is not there.
    Host,
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Failure {
        match error {
            AccessError::HostFault => Failure::Host,
            AccessError::NoSlot | AccessError::ReadOnly => Failure::NoTable,
        }
    }
}

/// Bits of a table's entry.
mod entry {
    pub const P: u64 = 1 << 0;
    pub const RW: u64 = 1 << 1;
    pub const US: u64 = 1 << 2;
    pub const A: u64 = 1 << 5;
    pub const D: u64 = 1 << 6;
    pub const PS: u64 = 1 << 7;
    pub const NX: u64 = 1 << 63;
    pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
}

/// How the tables are built (SDM vol. 3A, table 4-1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Two levels of 4-byte entries.
    Legacy,
    /// Three levels, the first of four entries.
    Pae,
    /// Four or five levels.
    Long(u32),
}

/// One level of the tables.
struct Level {
    /// Lowest bit of the address that chooses the entry.
    shift: u32,
    /// Bits of the address that do.
    bits: u32,
}

impl Kind {
    fn of(state: &State) -> Kind {
        if state.long_mode() {
            Kind::Long(4 + (state.cr4 & cr4::LA57 != 0) as u32)
        } else if state.cr4 & cr4::PAE != 0 {
            Kind::Pae
        } else {
            Kind::Legacy
        }
    }

    fn levels(self) -> u32 {
        match self {
            Kind::Legacy => 2,
            Kind::Pae => 3,
            Kind::Long(levels) => levels,
        }
    }

    /// The level that is `left` above the last.
    fn level(self, left: u32) -> Level {
        let (bits, first) = match self {
            Kind::Legacy => (10, 12),
            Kind::Pae | Kind::Long(_) => (9, 12),
        };
        Level {
            shift: first + bits * left,
            bits: if self == Kind::Pae && left == 2 {
                2
            } else {
                bits
            },
        }
    }

    fn entry_bytes(self) -> u64 {
        if self == Kind::Legacy { 4 } else { 8 }
    }

    /// Where the first table is.
    fn root(self, cr3: u64) -> u64 {
        match self {
            Kind::Legacy => cr3 & 0xffff_f000,
            Kind::Pae => cr3 & 0xffff_ffe0,
            Kind::Long(_) => cr3 & entry::ADDRESS,
        }
    }

    /// Whether an entry `left` above the last may map a page, given CR4.
    fn may_be_large(self, left: u32, cr4: u64) -> bool {
        match self {
            Kind::Legacy => left == 1 && cr4 & cr4::PSE != 0,
            Kind::Pae => left == 1,
            Kind::Long(_) => left == 1 || left == 2,
        }
    }

    /// Bits that an entry must not have set.
    fn reserved(self, state: &State, left: u32, leaf: bool, physical_bits: u32) -> u64 {
        let beyond = entry::ADDRESS & !((1u64 << physical_bits) - 1);
        let nx = if state.efer & efer::NXE == 0 {
            entry::NX
        } else {
            0
        };
        match self {
            // The page's address has bits 39:32 at 20:13; bit 21 is reserved.
            Kind::Legacy if leaf && left == 1 => {
                let above = physical_bits.clamp(32, 40) - 32;
                1 << 21 | (0xff << above & 0xff) << 13
            }
            Kind::Legacy => 0,
            Kind::Pae if left == 2 => !0 << 52 | beyond | 0x1e6,
            _ => {
                let large = match (leaf, left) {
                    (true, 1) => 0x1f_e000,
                    (true, 2) => 0x3fff_e000,
                    _ => 0,
                };
                let never_large = if !leaf && left >= 3 { entry::PS } else { 0 };
                let high = if self == Kind::Pae { 0x7ff << 52 } else { 0 };
                beyond | nx | large | never_large | high
            }
        }
    }
}

fn load(memory: &GuestMemory, kind: Kind, at: u64) -> Result<u64, Failure> {
    Ok(match kind {
        Kind::Legacy => u64::from(memory.load::<u32>(at)?),
        _ => memory.load::<u64>(at)?,
    })
}

/// Sets flags of an entry that must still be what it was. False if it is not.
fn mark(
    memory: &GuestMemory,
    kind: Kind,
    at: u64,
    value: u64,
    flags: u64,
) -> Result<bool, Failure> {
    Ok(match kind {
        Kind::Legacy => {
            let (old, new) = (value as u32, (value | flags) as u32);
            memory.compare_exchange(at, old, new)? == old
        }
        _ => memory.compare_exchange(at, value, value | flags)? == value,
    })
}

/// The error code of a page fault, but for P, RSVD and PK (SDM vol. 3A, 4.7).
fn error_code(state: &State, access: Access) -> u32 {
    let mut error = 0;
    if access.what == Use::Write {
        error |= code::WRITE;
    }
    if access.user {
        error |= code::USER;
    }
    // Told only where fetches have rights of their own.
    let pae = state.cr4 & cr4::PAE != 0 && state.efer & efer::NXE != 0;
    if access.what == Use::Execute && (pae || state.cr4 & cr4::SMEP != 0) {
        error |= code::FETCH;
    }
    error
}

/// What the entries on the way to a page allow together.
#[derive(Clone, Copy)]
struct Rights {
    write: bool,
    user: bool,
    no_execute: bool,
    key: u32,
}

/// The bits that a denied access adds to the error code, P apart; none if it is allowed (SDM vol.
/// 3A, 4.6.1 and 4.6.2). A protection key is named even where the access is denied anyway.
fn denied(state: &State, access: Access, rights: Rights) -> Option<u32> {
    let protect = access.user || state.cr0 & cr0::WP != 0;
    let write = access.what == Use::Write;
    if access.what == Use::Execute {
        let kept = !access.user && rights.user && state.cr4 & cr4::SMEP != 0;
        let no = access.user && !rights.user || rights.no_execute || kept;
        return no.then_some(0);
    }
    let smap = !access.user && rights.user && state.cr4 & cr4::SMAP != 0;
    let kept = smap && (access.implicit || state.rflags & flag::AC == 0);
    let no = access.user && !rights.user || kept || write && protect && !rights.write;
    let keys = rights.user && state.cr4 & cr4::PKE != 0 && state.long_mode();
    let bits = state.pkru >> (2 * rights.key);
    let key = keys && (bits & 1 != 0 || bits & 2 != 0 && write && protect);
    (no || key).then_some(if key { code::KEY } else { 0 })
}

/// Translates a linear address, and marks the entries that were used.
pub fn walk(state: &State, address: u64, access: Access) -> Result<Page, Failure> {
    if state.cr0 & cr0::PG == 0 {
        return Ok(Page {
            frame: address & 0xffff_f000,
            bytes: 4096,
        });
    }
    let kind = Kind::of(state);
    // An entry that another processor changes between reading and marking is read again.
    loop {
        if let Some(page) = attempt(state, kind, address, access)? {
            return Ok(page);
        }
    }
}

fn attempt(
    state: &State,
    kind: Kind,
    address: u64,
    access: Access,
) -> Result<Option<Page>, Failure> {
    let memory = &*state.memory;
    let physical_bits = memory.limits().physical_address_bits.clamp(32, 52);
    let error = error_code(state, access);
    let mut table = kind.root(state.cr3);
    let mut used = [(0, 0); 5];
    let mut rights = Rights {
        write: true,
        user: true,
        no_execute: false,
        key: 0,
    };
    for (left, used_entry) in (0..kind.levels()).rev().zip(0..) {
        let level = kind.level(left);
        let index = address >> level.shift & ((1 << level.bits) - 1);
        let at = table + index * kind.entry_bytes();
        let value = load(memory, kind, at)?;
        if value & entry::P == 0 {
            return Err(Failure::PageFault(error));
        }
        let large = value & entry::PS != 0 && kind.may_be_large(left, state.cr4);
        let leaf = left == 0 || large;
        if value & kind.reserved(state, left, leaf, physical_bits) != 0 {
            let error = error | code::PRESENT | code::RESERVED;
            return Err(Failure::PageFault(error));
        }
        // Entries of the first level of PAE have neither rights nor flags.
        if kind != Kind::Pae || left != 2 {
            rights.write &= value & entry::RW != 0;
            rights.user &= value & entry::US != 0;
            rights.no_execute |= kind != Kind::Legacy && value & entry::NX != 0;
            used[used_entry] = (at, value);
        }
        if !leaf {
            table = value
                & if kind == Kind::Legacy {
                    0xffff_f000
                } else {
                    entry::ADDRESS
                };
            continue;
        }
        rights.key = (value >> 59 & 15) as u32;
        if let Some(bits) = denied(state, access, rights) {
            return Err(Failure::PageFault(error | code::PRESENT | bits));
        }
        for (i, (at, value)) in used.iter().enumerate().take(used_entry + 1) {
            let mut flags = if *at == 0 && *value == 0 { 0 } else { entry::A };
            if i == used_entry && access.what == Use::Write {
                flags |= entry::D;
            }
            if value & flags != flags && !mark(memory, kind, *at, *value, flags)? {
                return Ok(None);
            }
        }
        let bytes = 1 << level.shift;
        let mut first = value & entry::ADDRESS & !(bytes - 1);
        if kind == Kind::Legacy {
            first = value & 0xffff_f000 & !(bytes - 1);
            if large {
                first |= (value >> 13 & 0xff) << 32;
            }
        }
        return Ok(Some(Page {
            frame: first | address & (bytes - 1) & !0xfff,
            bytes,
        }));
    }
    Err(Failure::NoTable)
}
