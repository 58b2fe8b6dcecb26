//! Dirty rings: which page goes into which, and what becomes of the log (KVM API 8.29).

mod common;

use std::sync::{Arc, Mutex};

use common::Pages;
use understudy_memory::ring::{self, DirtyRing, RingInUse};
use understudy_memory::{
    DirtyLogError, GuestMemory, Limits, ManualProtect, RegionFlags, UserRegion,
};

/// A ring that keeps all, and is full with so many.
struct Ring(Mutex<Vec<(u32, u64)>>, usize);

impl Ring {
    fn new() -> Arc<Ring> {
        Arc::new(Ring(Mutex::default(), 4))
    }

    fn take(&self) -> Vec<(u32, u64)> {
        std::mem::take(&mut self.0.lock().expect("nobody panicked"))
    }
}

impl DirtyRing for Ring {
    fn push(&self, slot: u32, page: u64) {
        self.0.lock().expect("nobody panicked").push((slot, page));
    }

    fn is_full(&self) -> bool {
        self.0.lock().expect("nobody panicked").len() >= self.1
    }
}

fn slot(pages: &Pages, slot: u32, gpa: u64, flags: RegionFlags) -> UserRegion {
    UserRegion {
        slot,
        flags: flags.bits(),
        guest_phys_addr: gpa,
        memory_size: pages.len as u64,
        userspace_addr: pages.address(),
    }
}

const LOG: RegionFlags = RegionFlags::LOG_DIRTY_PAGES;

/// A slot of number 3 at 0x10000 that is logged, and one of number 4 at 0 that is not.
fn memory(logged: &Pages, plain: &Pages) -> GuestMemory {
    let memory = GuestMemory::new(Limits::x86(40));
    memory.use_dirty_rings().expect("there is memory");
    let none = RegionFlags::empty();
    for region in [slot(logged, 3, 0x10000, LOG), slot(plain, 4, 0, none)] {
        memory.set_region(&region).expect("a good slot");
    }
    memory
}

#[test]
fn a_page_goes_into_the_ring_once_until_its_entry_is_reset() {
    let (logged, plain) = (Pages::new(8), Pages::new(2));
    let memory = memory(&logged, &plain);
    let ring = Ring::new();
    let in_use = RingInUse::begin(ring.clone());
    let store = |gpa: u64| memory.store(gpa, 1u32).expect("it is memory");
    store(0x12004);
    store(0x12ffc);
    memory.write(0x14ffe, &[1; 4]).expect("it is memory");
    store(0x1000);
    assert_eq!(ring.take(), [(3, 2), (3, 4), (3, 5)]);
    store(0x12000);
    assert_eq!(ring.take(), []);
    // Also what is no page of a slot with a log.
    memory.left_rings(&[
        (3, 2),
        (3, 8),
        (3, u64::MAX),
        (4, 0),
        (5, 0),
        (1 << 16 | 3, 4),
        (u32::MAX, 4),
    ]);
    store(0x12000);
    store(0x14000);
    assert_eq!(ring.take(), [(3, 2)]);
    drop(in_use);
    memory.left_rings(&[(3, 2)]);
    store(0x12000);
    assert_eq!(ring.take(), [], "no vCPU has written it");
}

#[test]
fn the_ring_in_use_is_the_threads_own() {
    let (logged, plain) = (Pages::new(8), Pages::new(2));
    let memory = memory(&logged, &plain);
    let (ours, theirs) = (Ring::new(), Ring::new());
    let in_use = RingInUse::begin(ours.clone());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(!ring::is_full());
            let _in_use = RingInUse::begin(theirs.clone());
            for page in 0..4u64 {
                memory.store(0x10000 + page * 4096, 1u8).expect("memory");
            }
            assert!(ring::is_full());
        });
    });
    memory.store(0x10000, 1u8).expect("memory");
    memory.store(0x14000, 1u8).expect("memory");
    assert!(!ring::is_full());
    assert_eq!(theirs.take(), [(3, 0), (3, 1), (3, 2), (3, 3)]);
    assert_eq!(ours.take(), [(3, 4)]);
    let inner = RingInUse::begin(theirs.clone());
    memory.store(0x15000, 1u8).expect("memory");
    drop(inner);
    memory.store(0x16000, 1u8).expect("memory");
    assert_eq!((theirs.take(), ours.take()), (vec![(3, 5)], vec![(3, 6)]));
    drop(in_use);
}

/// kvm_amd of Linux 6.12.117 gives ENXIO, whatever the slot and the range.
#[test]
fn rings_take_the_bitmaps_place() {
    let pages = Pages::new(8);
    let memory = GuestMemory::new(Limits::x86(40));
    memory.set_region(&slot(&pages, 3, 0, LOG)).expect("good");
    assert!(!memory.use_bitmap_beside_rings(), "there are no rings");
    assert_eq!(memory.get_dirty_log(3), Ok(vec![0]));
    memory.use_dirty_rings().expect("there is memory");
    for number in [3, 4, 77777] {
        assert_eq!(memory.get_dirty_log(number), Err(DirtyLogError::Rings));
        let words = memory.clear_dirty_log_words(number, 1, 64);
        assert_eq!(words, Err(DirtyLogError::Rings));
        let cleared = memory.clear_dirty_log(number, 0, 8, &[1]);
        assert_eq!(cleared, Err(DirtyLogError::Rings));
    }
    assert_eq!(DirtyLogError::Rings.errno(), libc::ENXIO);
    assert!(!memory.use_bitmap_beside_rings(), "there is a slot");
    // The slot that was there has its pages told of too.
    let ring = Ring::new();
    let _in_use = RingInUse::begin(ring.clone());
    memory.store(0x7000, 1u8).expect("memory");
    assert_eq!(ring.take(), [(3, 7)]);
}

/// With the bitmap beside the rings it has what no vCPU has written (KVM API 8.29).
#[test]
fn what_no_vcpu_writes_is_in_the_bitmap_beside_the_rings() {
    let pages = Pages::new(8);
    let memory = GuestMemory::new(Limits::arm64(40));
    memory.use_dirty_rings().expect("there is memory");
    assert!(memory.use_bitmap_beside_rings());
    memory.set_region(&slot(&pages, 3, 0, LOG)).expect("good");
    memory.store(0x1000, 1u8).expect("memory");
    let ring = Ring::new();
    let in_use = RingInUse::begin(ring.clone());
    memory.store(0x1000, 1u8).expect("memory");
    memory.store(0x2000, 1u8).expect("memory");
    drop(in_use);
    assert_eq!(ring.take(), [(3, 1), (3, 2)]);
    assert_eq!(memory.get_dirty_log(3), Ok(vec![2]));
    assert_eq!(memory.get_dirty_log(3), Ok(vec![0]));
    memory.set_manual_protect(ManualProtect {
        enable: true,
        initially_set: true,
    });
    memory.store(0x4000, 1u8).expect("memory");
    memory
        .clear_dirty_log(3, 0, 8, &[0x10])
        .expect("a good range");
    assert_eq!(memory.get_dirty_log(3), Ok(vec![0]));
}

/// A log that is switched off and on again begins anew, and one that goes on keeps what it knows.
#[test]
fn a_slots_log_ends_with_its_flag() {
    let pages = Pages::new(8);
    let memory = GuestMemory::new(Limits::x86(40));
    memory.use_dirty_rings().expect("there is memory");
    let ring = Ring::new();
    let _in_use = RingInUse::begin(ring.clone());
    let mut region = slot(&pages, 3, 0, LOG);
    memory.set_region(&region).expect("good");
    memory.store(0x1000, 1u8).expect("memory");
    region.guest_phys_addr = 0x10000;
    memory.set_region(&region).expect("it moves");
    memory.store(0x11000, 1u8).expect("memory");
    assert_eq!(ring.take(), [(3, 1)], "its entry is still there");
    for flags in [RegionFlags::empty(), LOG] {
        region.flags = flags.bits();
        memory.set_region(&region).expect("good");
        memory.store(0x11000, 1u8).expect("memory");
    }
    assert_eq!(ring.take(), [(3, 1)]);
}
