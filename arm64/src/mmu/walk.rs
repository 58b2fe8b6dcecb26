//! Translation table walks (Arm ARM D8.2 to D8.6).
//!
//! ```text
//!             63 62 61 60 59 58   51 50        47          12 11 10 9  8 7  6 5 4   2 1 0
//!   table    ┌──┬─────┬──┬──┬──┬───────────────┬─────────────┬──────────────────────┬─┬─┐
//!            │NS│ AP  │XN│PX│  │               │ next table  │                      │1│1│
//!            └──┴─────┴──┴──┴──┴───────────────┴─────────────┴──────────────────────┴─┴─┘
//!   page,    ┌─────────────┬──┬──┬──┬──┬───────┬─────────────┬──┬──┬────┬────┬──┬────┬─┬─┐
//!   block    │             │UX│PX│Ct│DB│       │ frame       │nG│AF│ SH │ AP │NS│Attr│t│1│
//!            └─────────────┴──┴──┴──┴──┴───────┴─────────────┴──┴──┴────┴────┴──┴────┴─┴─┘
//! ```

use super::fault::{Abort, Fault};
use super::regime::{Half, Regime};
use super::{Access, PHYSICAL_BITS, Use};
use understudy_engine::arch::AccessKind;
use understudy_memory::{AccessError, GuestMemory};

/// What a page may be used for, and what else is to be known of it.
pub(super) mod rights {
    /// EL1 may read.
    pub const READ: u16 = 1 << 0;
    /// EL1 may write.
    pub const WRITE: u16 = 1 << 1;
    /// EL1 may execute.
    pub const EXECUTE: u16 = 1 << 2;
    /// EL0 may read.
    pub const USER_READ: u16 = 1 << 3;
    /// EL0 may write.
    pub const USER_WRITE: u16 = 1 << 4;
    /// EL0 may execute.
    pub const USER_EXECUTE: u16 = 1 << 5;
    /// The right to write has to be noted in the descriptor when it is first used.
    pub const CLEAN: u16 = 1 << 6;
    /// It is Device memory.
    pub const DEVICE: u16 = 1 << 7;
    /// It is the same for all ASIDs.
    pub const GLOBAL: u16 = 1 << 8;
    /// PSTATE.PAN keeps EL1 from it.
    pub const PRIVATE: u16 = 1 << 9;
    /// Indirect branches to it have to meet an instruction that is meant for them.
    pub const GUARDED: u16 = 1 << 10;
    /// All that there is to do.
    pub const ALL: u16 = READ | WRITE | EXECUTE | USER_READ | USER_WRITE | USER_EXECUTE;
}

/// 4 KiB of the address space, translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Page {
    /// Guest-physical address of its first byte.
    pub(super) frame: u64,
    /// Of [`rights`].
    pub(super) rights: u16,
    /// The level of its descriptor.
    pub(super) level: u8,
    /// Bits of an address within what the descriptor maps, if that is a block; else 0.
    pub(super) block: u8,
    /// Its attribute of MAIR_EL1.
    pub(super) memory: u8,
    /// SH of its descriptor.
    pub(super) shareability: u8,
}

impl Page {
    /// Whether it is Device memory.
    pub(super) fn device(&self) -> bool {
        self.rights & rights::DEVICE != 0
    }

    /// Whether it is guarded (FEAT_BTI).
    pub(super) fn guarded(&self) -> bool {
        self.has(rights::GUARDED)
    }

    fn has(&self, right: u16) -> bool {
        self.rights & right != 0
    }

    /// The fault of this access to the page, and whether it is for its writing.
    pub(super) fn fault(&self, access: Access) -> Option<(Fault, bool)> {
        let Access {
            what,
            privileged,
            pan,
            ..
        } = access;
        if access.unaligned && self.device() {
            let write = matches!(what, Use::Data(kind) if kind.writes());
            return Some((Fault::Alignment, write));
        }
        let pan = pan && self.has(rights::PRIVATE);
        let readable = !pan
            && self.has(if privileged {
                rights::READ
            } else {
                rights::USER_READ
            });
        let writable = !pan
            && self.has(if privileged {
                rights::WRITE
            } else {
                rights::USER_WRITE
            });
        let (allowed, write) = match what {
            Use::Data(AccessKind::Load) => (readable, false),
            Use::Data(AccessKind::Store) => (writable, true),
            Use::Data(AccessKind::Atomic) => (readable && writable, readable),
            Use::Execute if privileged => (self.has(rights::EXECUTE), false),
            Use::Execute => (self.has(rights::USER_EXECUTE), false),
            Use::Maintain => (privileged || readable, false),
        };
        (!allowed).then_some((Fault::Permission(self.level as u32), write))
    }

    /// Whether the access has to be noted in the descriptor first.
    pub(super) fn to_mark(self, access: Access) -> bool {
        self.has(rights::CLEAN)
            && matches!(access.what, Use::Data(kind) if kind.writes())
            && !access.looks
    }
}

/// Descriptor bits.
const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
const AP_USER: u64 = 1 << 6;
const AP_READ_ONLY: u64 = 1 << 7;
const ACCESSED: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
const GUARDED: u64 = 1 << 50;
const DIRTY_MODIFIER: u64 = 1 << 51;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;

/// What the tables on the way have taken away.
#[derive(Clone, Copy, Default)]
struct Withheld {
    user: bool,
    write: bool,
    execute: bool,
    user_execute: bool,
}

/// A descriptor of a page or block.
struct Leaf {
    descriptor: u64,
    /// Its guest-physical address.
    at: u64,
    level: u32,
    withheld: Withheld,
}

/// Walks the tables for `address`. The fault is the first that the access meets, in the order of
/// Arm ARM D8.15.3; without one, the descriptor is marked as the access makes necessary.
pub(super) fn walk(
    regime: &Regime,
    memory: &GuestMemory,
    address: u64,
    access: Access,
) -> Result<Page, Abort> {
    // Of an atomic access, what a read would meet too is reported as the read's.
    let write = matches!(access.what, Use::Data(AccessKind::Store));
    loop {
        let leaf = find(regime, memory, address).map_err(|fault| Abort { fault, write })?;
        if leaf.descriptor & ACCESSED == 0 && !regime.access_flag {
            return Err(Abort {
                fault: Fault::AccessFlag(leaf.level),
                write,
            });
        }
        let mut page = page_of(regime, &leaf, address);
        if let Some((fault, write)) = page.fault(access) {
            return Err(Abort { fault, write });
        }
        if access.looks {
            return Ok(page);
        }
        let mut marked = leaf.descriptor | ACCESSED;
        if page.to_mark(access) {
            marked &= !AP_READ_ONLY;
            page.rights &= !rights::CLEAN;
        }
        if marked == leaf.descriptor {
            return Ok(page);
        }
        let order = |descriptor: u64| swapped(regime, descriptor);
        match memory.compare_exchange(leaf.at, order(leaf.descriptor), order(marked)) {
            Ok(found) if found == order(leaf.descriptor) => return Ok(page),
            // Somebody has changed it meanwhile.
            Ok(_) => {}
            Err(error) => {
                return Err(Abort {
                    fault: failed(error),
                    write,
                });
            }
        }
    }
}

/// A descriptor as it lies in little-endian memory, and back.
fn swapped(regime: &Regime, descriptor: u64) -> u64 {
    if regime.big_endian {
        descriptor.swap_bytes()
    } else {
        descriptor
    }
}

/// What KVM makes of a table that is in no memory, or in memory that hardware cannot write.
fn failed(error: AccessError) -> Fault {
    match error {
        AccessError::HostFault => Fault::Host,
        AccessError::NoSlot | AccessError::ReadOnly => Fault::External { far: None },
    }
}

/// Finds the page or block descriptor.
fn find(regime: &Regime, memory: &GuestMemory, address: u64) -> Result<Leaf, Fault> {
    let half = regime.half(address);
    if half.disabled || !in_range(half, address) {
        return Err(Fault::Translation(0));
    }
    let mut level = half.first_level();
    let mut shift = half.granule + (3 - level) * half.stride();
    // A first table may be smaller, and then has that alignment, but never under 64 bytes.
    let first_bits = half.input_bits - shift;
    let mut table = half.base & !((8u64 << first_bits).max(64) - 1);
    if too_large(regime, table) {
        return Err(Fault::AddressSize(0));
    }
    let mut index_bits = first_bits;
    let mut withheld = Withheld::default();
    loop {
        let index = address >> shift & ((1 << index_bits) - 1);
        let at = table | index << 3;
        let limit = memory.limits().physical_address_bits;
        if limit < 64 && at >> limit != 0 {
            return Err(Fault::External {
                far: Some(at & !0xfff | address & 0xfff),
            });
        }
        let descriptor: u64 = swapped(regime, memory.load(at).map_err(failed)?);
        if descriptor & VALID == 0 {
            return Err(Fault::Translation(level));
        }
        let table_or_page = descriptor & TABLE_OR_PAGE != 0;
        let leaf = if level == 3 {
            table_or_page
        } else {
            !table_or_page
        };
        if leaf {
            if !may_be_leaf(half, level) {
                return Err(Fault::Translation(level));
            }
            if too_large(regime, output(descriptor, shift)) {
                return Err(Fault::AddressSize(level));
            }
            return Ok(Leaf {
                descriptor,
                at,
                level,
                withheld,
            });
        }
        if level == 3 {
            return Err(Fault::Translation(3));
        }
        table = output(descriptor, half.granule);
        if too_large(regime, table) {
            return Err(Fault::AddressSize(level));
        }
        if !half.flat_rights {
            withheld.user |= descriptor >> 61 & 1 != 0;
            withheld.write |= descriptor >> 62 & 1 != 0;
            withheld.user_execute |= descriptor >> 60 & 1 != 0;
            withheld.execute |= descriptor >> 59 & 1 != 0;
        }
        level += 1;
        shift -= half.stride();
        index_bits = half.stride();
    }
}

/// Whether the bits above those that are translated are all like bit 55. A tag has been taken off.
fn in_range(half: &Half, address: u64) -> bool {
    if half.input_bits == 0 {
        return false;
    }
    let above = address as i64 >> half.input_bits;
    above == if address >> 55 & 1 != 0 { -1 } else { 0 }
}

/// Levels that have pages or blocks: 3, and 2, and 1 where the granule is 4 KiB.
fn may_be_leaf(half: &Half, level: u32) -> bool {
    level >= if half.granule == 12 { 1 } else { 2 }
}

/// The address in a descriptor.
fn output(descriptor: u64, shift: u32) -> u64 {
    descriptor & ((1 << PHYSICAL_BITS) - 1) & !((1 << shift) - 1)
}

fn too_large(regime: &Regime, address: u64) -> bool {
    address >> regime.output_bits != 0
}

/// What a descriptor says of the 4 KiB of `address` (Arm ARM D8.4).
fn page_of(regime: &Regime, leaf: &Leaf, address: u64) -> Page {
    let half = regime.half(address);
    let shift = half.granule + (3 - leaf.level) * half.stride();
    let descriptor = leaf.descriptor;
    let bit = |mask: u64| descriptor & mask != 0;
    let withheld = leaf.withheld;

    let user = bit(AP_USER) && !withheld.user;
    // Hardware that manages the dirty state takes DBM for the right to write.
    let clean = regime.dirty_state && bit(AP_READ_ONLY) && bit(DIRTY_MODIFIER);
    let write = (!bit(AP_READ_ONLY) || clean) && !withheld.write;
    let user_write = user && write;
    let execute = !(bit(PXN) || withheld.execute || user_write || regime.wxn && write);
    let user_execute = !(bit(UXN) || withheld.user_execute || regime.wxn && user_write);

    let memory = (regime.mair >> (8 * (descriptor >> 2 & 7))) as u8;
    let mut page_rights = rights::READ;
    for (holds, right) in [
        (write, rights::WRITE),
        (execute, rights::EXECUTE),
        (user, rights::USER_READ),
        (user || regime.epan && user_execute, rights::PRIVATE),
        (user_write, rights::USER_WRITE),
        (user_execute, rights::USER_EXECUTE),
        (clean && write, rights::CLEAN),
        // Attr 0b0000dd0x; with other low bits UNPREDICTABLE.
        (memory & 0xf0 == 0, rights::DEVICE),
        (!bit(NOT_GLOBAL), rights::GLOBAL),
        (regime.guards && bit(GUARDED), rights::GUARDED),
    ] {
        if holds {
            page_rights |= right;
        }
    }
    let offset = address & ((1 << shift) - 1) & !0xfff;
    Page {
        frame: output(descriptor, shift) | offset,
        rights: page_rights,
        level: leaf.level as u8,
        block: if leaf.level < 3 { shift as u8 } else { 0 },
        memory,
        shareability: (descriptor >> 8 & 3) as u8,
    }
}
