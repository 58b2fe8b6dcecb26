//! What is remembered of walks, and the numbers of contexts.

use super::walk::{Page, rights};

/// Sets of the cache, a power of two.
const SETS: usize = 256;
/// Entries of a set.
const WAYS: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Bits 55:12 of the address, shifted down, and a bit that no address has.
    tag: u64,
    asid: u16,
    page: Page,
}

const EMPTY: Entry = Entry {
    tag: 0,
    asid: 0,
    page: Page {
        frame: 0,
        rights: 0,
        level: 0,
        block: 0,
        memory: 0,
        shareability: 0,
    },
};

/// The addresses that blocks have been used for in one half of the address space.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    first: u64,
    last: u64,
}

const NOWHERE: Bounds = Bounds { first: !0, last: 0 };

/// A cache behind the engine's TLB, of 4 KiB pages with their rights: it spares the walk, and it
/// serves all exception levels.
#[derive(Debug)]
pub(super) struct PageCache {
    entries: Box<[[Entry; WAYS]; SETS]>,
    /// Where the next entry of a full set goes.
    turn: usize,
    /// By bit 55.
    large: [Bounds; 2],
    used: bool,
}

impl Default for PageCache {
    fn default() -> Self {
        PageCache {
            entries: Box::new([[EMPTY; WAYS]; SETS]),
            turn: 0,
            large: [NOWHERE; 2],
            used: false,
        }
    }
}

/// The tag of an address, whose bits 63:56 are like bit 55.
fn tag(address: u64) -> u64 {
    address << 8 >> 20 | 1 << 63
}

fn set(tag: u64) -> usize {
    tag as usize % SETS
}

/// Whether the address is one that the walk may have taken: others are not found.
fn canonical(address: u64) -> bool {
    ((address as i64) << 8 >> 8) as u64 == address
}

impl PageCache {
    /// The page of an address.
    pub(super) fn find(&self, address: u64, asid: u16) -> Option<Page> {
        if !canonical(address) {
            return None;
        }
        let tag = tag(address);
        self.entries[set(tag)]
            .iter()
            .find(|e| e.tag == tag && (e.asid == asid || e.page.rights & rights::GLOBAL != 0))
            .map(|e| e.page)
    }

    /// Keeps a page; what was known of the address goes.
    pub(super) fn insert(&mut self, address: u64, asid: u16, page: Page) {
        if page.block != 0 {
            let large = &mut self.large[(address >> 55 & 1) as usize];
            let (at, mask) = (address << 8 >> 8, (1u64 << page.block) - 1);
            large.first = large.first.min(at & !mask);
            large.last = large.last.max(at | mask);
        }
        if !canonical(address) {
            return;
        }
        self.used = true;
        let tag = tag(address);
        let turn = self.turn % WAYS;
        let ways = &mut self.entries[set(tag)];
        let global = page.rights & rights::GLOBAL != 0;
        let mut place = None;
        for (i, e) in ways.iter_mut().enumerate() {
            let clashes =
                e.tag == tag && (e.asid == asid || global || e.page.rights & rights::GLOBAL != 0);
            if clashes {
                *e = EMPTY;
            }
            if e.tag == 0 {
                place = Some(i);
            }
        }
        let place = place.unwrap_or_else(|| {
            self.turn = self.turn.wrapping_add(1);
            turn
        });
        ways[place] = Entry { tag, asid, page };
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        if self.used {
            self.entries.fill([EMPTY; WAYS]);
            self.used = false;
        }
        self.large = [NOWHERE; 2];
    }

    /// Forgets the 4 KiB page of an address.
    pub(super) fn clear_page(&mut self, address: u64) {
        let tag = tag(address);
        for e in self.entries[set(tag)].iter_mut().filter(|e| e.tag == tag) {
            *e = EMPTY;
        }
    }

    /// Forgets the pages of an ASID that are not global.
    pub(super) fn clear_asid(&mut self, asid: u16) {
        for e in self.entries.iter_mut().flatten() {
            if e.asid == asid && e.page.rights & rights::GLOBAL == 0 {
                *e = EMPTY;
            }
        }
    }

    /// Whether `address` may be part of a block.
    pub(super) fn may_be_block(&self, address: u64) -> bool {
        let large = &self.large[(address >> 55 & 1) as usize];
        (large.first..=large.last).contains(&(address << 8 >> 8))
    }
}

/// Contexts that an ASID takes: EL0, EL1, EL1 with PAN.
const RIGHTS: u64 = 4;
/// ASIDs that have numbers at once. The last number of all is the engine's own.
const NUMBERS: u16 = 1024;

/// The engine's TLB contexts: `4 * n` for EL0 and for accesses with its rights, `4 * n + 1` for EL1,
/// `4 * n + 2` for EL1 with PAN, where `n` is the number of the ASID.
#[derive(Debug)]
pub(super) struct Contexts {
    /// Number of each ASID, plus 1; 0 for none.
    numbers: Box<[u16]>,
    /// How many numbers are given.
    given: u16,
    current: u64,
}

impl Default for Contexts {
    fn default() -> Self {
        let mut contexts = Contexts {
            numbers: vec![0; 1 << 16].into(),
            given: 0,
            current: 0,
        };
        contexts.select(0);
        contexts
    }
}

impl Contexts {
    /// Makes an ASID the current one. Whether the TLB must be emptied, as all numbers were taken
    /// back.
    pub(super) fn select(&mut self, asid: u16) -> bool {
        let mut emptied = false;
        let mut number = self.numbers[asid as usize];
        if number == 0 {
            if self.given == NUMBERS {
                self.numbers.fill(0);
                self.given = 0;
                emptied = true;
            }
            self.given += 1;
            number = self.given;
            self.numbers[asid as usize] = number;
        }
        self.current = (number as u64 - 1) * RIGHTS;
        emptied
    }

    /// The context of EL0 with the current ASID.
    pub(super) fn current(&self) -> u64 {
        self.current
    }

    /// Whether a context is one of this ASID.
    pub(super) fn of_asid(&self, asid: u16) -> impl Fn(u64) -> bool + use<> {
        let number = self.numbers[asid as usize] as u64;
        move |context| context / RIGHTS + 1 == number
    }
}
