//! The software TLB: from a virtual page, in a translation context, to host memory.
//!
//! ```text
//!  address  63                    12 11        0
//!          ┌────────────────────────┬───────────┐
//!          │      virtual page      │  offset   │   index = virtual page mod ENTRIES
//!          └────────────────────────┴───────────┘
//!  tag     ┌────────────────────────┬───────────┐
//!          │      virtual page      │  context  │   one for loads, one for stores
//!          └────────────────────────┴───────────┘
//!  host address = address + addend
//! ```
//!
//! A *context* names what else a translation depends on: the architecture gives one number to each
//! combination of address-space identifier, privilege and whatever changes rights without a TLB
//! maintenance operation. So a change of address space empties nothing.
//!
//! An access whose last byte is on another page than its first compares unequal, as the tag is
//! compared with the page of the *last* byte and the entry is chosen by the first. What must be seen
//! (the first store to a page whose dirtying is logged, a watchpoint) is kept out of the TLB instead
//! of being tested for.

use crate::sparse::{Item, Sparse};

/// Bytes of the pages that the TLB keeps, whatever the guest's granule.
pub const PAGE_SIZE: u64 = 4096;
/// The offset's bits of an address.
pub const PAGE_MASK: u64 = PAGE_SIZE - 1;
/// Number of entries, a power of two.
pub const ENTRIES: usize = 512;
/// Contexts are below this.
pub const CONTEXTS: u64 = 0xfff;

/// No address compares equal to this: it has the context that no access has.
const INVALID: u64 = 0xfff;

/// One entry. Compiled code knows the layout.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    /// Tag of the page where loads may go ahead.
    pub load: u64,
    /// Tag of the page where stores may go ahead.
    pub store: u64,
    /// What to add to an address to make it a host address.
    pub addend: u64,
    /// Whether the entry is in use. It also pads the entry to a power of two.
    used: u64,
}

impl Entry {
    /// Base-2 logarithm of an entry's size.
    pub const SIZE_LOG2: u32 = size_of::<Entry>().trailing_zeros();
    /// Base-2 logarithm of a page's size.
    pub const PAGE_SHIFT: u32 = PAGE_SIZE.trailing_zeros();
}

impl Item for Entry {
    const VACANT: Entry = Entry {
        load: INVALID,
        store: INVALID,
        addend: 0,
        used: 0,
    };

    fn is_vacant(&self) -> bool {
        self.used == 0
    }
}

/// A vCPU's TLB for data accesses.
pub struct Tlb {
    entries: Sparse<Entry, ENTRIES>,
}

impl Default for Tlb {
    fn default() -> Self {
        Self::new()
    }
}

impl Tlb {
    /// An empty one.
    pub fn new() -> Tlb {
        Tlb {
            entries: Sparse::new(),
        }
    }

    #[inline(always)]
    fn index(address: u64) -> usize {
        (address / PAGE_SIZE) as usize % ENTRIES
    }

    /// The host address for a load of `bytes` at `address`, if it is known.
    #[inline(always)]
    pub fn load(&self, context: u64, address: u64, bytes: u64) -> Option<*mut u8> {
        let entry = self.entries.get(Self::index(address));
        let last = address.wrapping_add(bytes - 1);
        (last & !PAGE_MASK | context == entry.load)
            .then(|| address.wrapping_add(entry.addend) as *mut u8)
    }

    /// The host address for a store of `bytes` at `address`, if it is known.
    #[inline(always)]
    pub fn store(&self, context: u64, address: u64, bytes: u64) -> Option<*mut u8> {
        let entry = self.entries.get(Self::index(address));
        let last = address.wrapping_add(bytes - 1);
        (last & !PAGE_MASK | context == entry.store)
            .then(|| address.wrapping_add(entry.addend) as *mut u8)
    }

    /// Keeps a translation of `address`'s page to the host page at `host`.
    pub fn insert(&mut self, context: u64, address: u64, host: *mut u8, loads: bool, stores: bool) {
        let page = address & !PAGE_MASK;
        let tag = page | context;
        let addend = (host as u64).wrapping_sub(page);
        let index = Self::index(address);
        let entry = self.entries.get(index);
        // What an earlier access found out about the same page stays.
        let same = entry.addend == addend;
        let keep_load = same && entry.load == tag;
        let keep_store = same && entry.store == tag;
        let entry = Entry {
            load: if loads || keep_load { tag } else { INVALID },
            store: if stores || keep_store { tag } else { INVALID },
            addend,
            used: 1,
        };
        self.entries.set(index, entry);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Forgets the page of `address` in every context. Bits of `address` outside `mask` are not
    /// compared (tags in the top byte).
    pub fn clear_page(&mut self, address: u64, mask: u64) {
        let entry = self.entries.get_mut(Self::index(address));
        let differs = |tag: u64| (tag ^ address) & mask & !PAGE_MASK != 0;
        if !differs(entry.load) || !differs(entry.store) {
            (entry.load, entry.store) = (INVALID, INVALID);
        }
    }

    /// Forgets whatever `forget` says of a context.
    pub fn clear_contexts(&mut self, forget: impl Fn(u64) -> bool) {
        self.entries.each(|entry| {
            for tag in [&mut entry.load, &mut entry.store] {
                if *tag != INVALID && forget(*tag & PAGE_MASK) {
                    *tag = INVALID;
                }
            }
        });
    }

    /// Forbids stores without asking, everywhere (dirty logging has begun anew).
    pub fn clear_stores(&mut self) {
        self.entries.each(|entry| entry.store = INVALID);
    }

    /// Address of the first entry, for compiled code.
    pub fn base(&self) -> *const Entry {
        self.entries.base()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_inserted_and_nothing_else() {
        let mut page = vec![0u8; 2 * PAGE_SIZE as usize];
        let host = page.as_mut_ptr();
        let mut tlb = Tlb::new();
        assert_eq!(tlb.load(0, 0, 1), None);
        tlb.insert(3, 0x1234_5000, host, true, false);
        assert_eq!(tlb.load(3, 0x1234_5ff8, 8), Some(host.wrapping_add(0xff8)));
        assert_eq!(tlb.load(3, 0x1234_5ff9, 8), None, "crosses the page");
        assert_eq!(tlb.load(2, 0x1234_5000, 8), None, "another context");
        assert_eq!(tlb.store(3, 0x1234_5000, 8), None, "not for stores");
        tlb.insert(3, 0x1234_5000, host, false, true);
        assert!(tlb.load(3, 0x1234_5000, 8).is_some() && tlb.store(3, 0x1234_5000, 8).is_some());
        tlb.clear_stores();
        assert!(tlb.load(3, 0x1234_5000, 8).is_some() && tlb.store(3, 0x1234_5000, 8).is_none());
        tlb.clear_page(0xff00_0000_1234_5000, !0 >> 8);
        assert_eq!(tlb.load(3, 0x1234_5000, 8), None);
    }

    #[test]
    fn an_access_at_the_end_of_the_address_space_does_not_match_page_zero() {
        let mut tlb = Tlb::new();
        tlb.insert(0, !PAGE_MASK, std::ptr::null_mut(), true, true);
        assert_eq!(tlb.load(0, !3, 8), None);
        assert!(tlb.load(0, !7, 8).is_some());
    }
}
