//! Slots, the dirty log and accesses by guest-physical address.

mod common;

use std::collections::BTreeMap;

use common::Pages;
use proptest::prelude::*;
use understudy_memory::{
    AccessError, Change, DirtyLogError, GuestMemory, Limits, ManualProtect, PAGE_SIZE, RegionError,
    RegionFlags, UserRegion,
};

const LOG: u32 = RegionFlags::LOG_DIRTY_PAGES.bits();
const READONLY: u32 = RegionFlags::READONLY.bits();

fn memory() -> GuestMemory {
    GuestMemory::new(Limits::arm64(40))
}

fn region(slot: u32, flags: u32, gpa: u64, size: u64, hva: u64) -> UserRegion {
    UserRegion {
        slot,
        flags,
        guest_phys_addr: gpa,
        memory_size: size,
        userspace_addr: hva,
    }
}

/// The reference KVM's answers (`reference/arm64/probe-guest-neoverse-n1.txt`, "memory region").
#[test]
fn regions_are_refused_as_kvm_refuses_them() {
    let memory = memory();
    let (hva, size) = (0x7000_0000, 0x4000);
    let good = region(1, 0, 0x4000_0000, size, hva);
    assert_eq!(memory.set_region(&good), Ok(Change::Created));
    assert_eq!(memory.set_region(&good), Ok(Change::Nothing));

    let refused = |change: &dyn Fn(&mut UserRegion), errno: i32| {
        let generation = memory.generation();
        let mut bad = good;
        change(&mut bad);
        let error = memory.set_region(&bad).expect_err("refused");
        assert_eq!(error.errno(), errno, "{bad:x?}: {error}");
        assert_eq!(memory.generation(), generation, "nothing changed");
    };
    refused(&|r| r.memory_size *= 2, libc::EINVAL);
    refused(&|r| r.userspace_addr += 0x1000, libc::EINVAL);
    refused(&|r| r.flags = READONLY, libc::EINVAL);
    refused(&|r| r.flags = 1 << 2, libc::EINVAL);
    refused(&|r| r.guest_phys_addr += 1, libc::EINVAL);
    refused(&|r| r.memory_size += 1, libc::EINVAL);
    refused(&|r| r.userspace_addr += 1, libc::EINVAL);
    refused(&|r| r.userspace_addr = !0xfff, libc::EINVAL);
    refused(&|r| r.slot = 32767, libc::EINVAL);
    refused(&|r| r.slot = 40000, libc::EINVAL);
    refused(&|r| r.slot = 1 << 16 | 2, libc::EINVAL);
    refused(&|r| (r.slot, r.memory_size) = (2, 0), libc::EINVAL);
    refused(
        &|r| (r.slot, r.guest_phys_addr) = (2, 0x4000_3000),
        libc::EEXIST,
    );
    refused(
        &|r| (r.slot, r.guest_phys_addr) = (2, 0x3fff_d000),
        libc::EEXIST,
    );
    refused(
        &|r| (r.slot, r.guest_phys_addr) = (2, (1 << 40) - 0x1000),
        libc::EFAULT,
    );
    refused(&|r| r.guest_phys_addr = (1 << 40) - 0x1000, libc::EFAULT);
    refused(&|r| (r.slot, r.guest_phys_addr) = (2, !0xfff), libc::EINVAL);
    refused(&|r| (r.slot, r.memory_size) = (2, 1 << 43), libc::EINVAL);

    let moved = region(1, 0, 0x4000_1000, size, hva);
    assert_eq!(memory.set_region(&moved), Ok(Change::Moved));
    assert!(memory.lookup(0x4000_0000).is_none());
    assert_eq!(
        memory.lookup(0x4000_1fff).expect("moved there").host.addr() as u64,
        hva
    );
    let logged = region(1, LOG, 0x4000_1000, size, hva);
    assert_eq!(memory.set_region(&logged), Ok(Change::FlagsOnly));
    assert!(memory.lookup(0x4000_1000).expect("still there").logging);
    assert_eq!(
        memory.set_region(&region(1, 0, 0, 0, 0)),
        Ok(Change::Deleted)
    );
    assert_eq!(
        memory.set_region(&region(1, 0, 0, 0, 0)),
        Err(RegionError::NothingToDelete)
    );
    assert!(memory.lookup(0x4000_1000).is_none());
}

#[test]
fn a_region_may_end_where_the_physical_space_does() {
    let memory = memory();
    let last = region(0, 0, (1 << 40) - 0x1000, 0x1000, 0x7000_0000);
    assert_eq!(memory.set_region(&last), Ok(Change::Created));
    assert!(memory.lookup((1 << 40) - 1).is_some());
    assert!(memory.lookup(1 << 40).is_none());
    assert!(memory.lookup(u64::MAX).is_none());
}

#[test]
fn every_one_of_32767_slots_can_be_used() {
    let memory = memory();
    for slot in 0..32767u32 {
        let gpa = u64::from(slot) * 0x2000;
        let added = memory.set_region(&region(slot, 0, gpa, 0x1000, 0x10_0000 + gpa));
        assert_eq!(added, Ok(Change::Created));
    }
    let one_more = region(32767, 0, 1 << 39, 0x1000, 0x1000);
    assert_eq!(memory.set_region(&one_more), Err(RegionError::BadSlot));
    assert!(memory.lookup(32766 * 0x2000).is_some());
    assert!(memory.lookup(32766 * 0x2000 + 0x1000).is_none());
}

#[test]
fn accesses_cross_pages_and_slots() {
    let (low, high) = (Pages::new(1), Pages::new(1));
    let memory = memory();
    // Neighbours for the guest, but not here.
    memory
        .set_region(&region(0, 0, 0x1000, 0x1000, low.address()))
        .expect("good");
    memory
        .set_region(&region(1, 0, 0x2000, 0x1000, high.address()))
        .expect("good");
    memory
        .store(0x1ffd, 0x1122_3344_5566_7788u64)
        .expect("both are there");
    assert_eq!(memory.load::<u64>(0x1ffd), Ok(0x1122_3344_5566_7788));
    assert_eq!(memory.load::<u8>(0x1fff), Ok(0x66));
    assert_eq!(memory.load::<u8>(0x2000), Ok(0x55));
    assert_eq!(memory.load::<u32>(0x2fff), Err(AccessError::NoSlot));
    assert_eq!(
        memory.read(u64::MAX - 1, &mut [0; 4]),
        Err(AccessError::NoSlot)
    );

    let bytes: Vec<u8> = (0..100).collect();
    memory.write(0x1fd0, &bytes).expect("both are there");
    let mut back = vec![0; 100];
    memory.read(0x1fd0, &mut back).expect("both are there");
    assert_eq!(back, bytes);

    assert_eq!(memory.compare_exchange(0x2000, 48u8, 7), Ok(48));
    assert_eq!(
        memory.compare_exchange(0x2000, 48u8, 9),
        Ok(7),
        "no match, no store"
    );
    assert_eq!(memory.load::<u8>(0x2000), Ok(7));
}

#[test]
fn a_read_only_slot_can_only_be_read() {
    let pages = Pages::new(1);
    let memory = memory();
    memory
        .set_region(&region(0, READONLY, 0, 0x1000, pages.address()))
        .expect("good");
    assert_eq!(memory.load::<u64>(8), Ok(0));
    assert_eq!(memory.store(8, 1u64), Err(AccessError::ReadOnly));
    assert_eq!(
        memory.compare_exchange(8, 0u64, 1),
        Err(AccessError::ReadOnly)
    );
    assert_eq!(memory.write(8, &[1]), Err(AccessError::ReadOnly));
    assert_eq!(memory.load::<u64>(8), Ok(0));
}

#[test]
fn memory_that_user_space_took_away_is_a_host_fault() {
    let pages = Pages::new(2);
    let memory = memory();
    memory
        .set_region(&region(0, LOG, 0, 0x2000, pages.address()))
        .expect("good");
    pages.protect(1, libc::PROT_NONE);
    assert_eq!(memory.load::<u32>(0x1000), Err(AccessError::HostFault));
    assert_eq!(memory.store(0x1000, 0u32), Err(AccessError::HostFault));
    assert_eq!(
        memory.compare_exchange(0x1000, 0u32, 0),
        Err(AccessError::HostFault)
    );
    assert_eq!(
        memory.read(0xff0, &mut [0; 32]),
        Err(AccessError::HostFault)
    );
    assert_eq!(
        memory.get_dirty_log(0),
        Ok(vec![0]),
        "what was not stored is not dirty"
    );
}

#[test]
fn stores_are_logged_by_page() {
    let pages = Pages::new(66);
    let memory = memory();
    memory
        .set_region(&region(3, 0, 0x10_0000, 66 << 12, pages.address()))
        .expect("good");
    assert_eq!(memory.get_dirty_log(3), Err(DirtyLogError::NoLog));
    assert_eq!(memory.get_dirty_log(4), Err(DirtyLogError::NoLog));
    assert_eq!(
        memory.get_dirty_log(1 << 16 | 3),
        Err(DirtyLogError::BadSlot)
    );
    assert_eq!(memory.get_dirty_log(32767), Err(DirtyLogError::BadSlot));
    assert_eq!(DirtyLogError::NoLog.errno(), libc::ENOENT);
    assert_eq!(DirtyLogError::BadSlot.errno(), libc::EINVAL);

    memory
        .set_region(&region(3, LOG, 0x10_0000, 66 << 12, pages.address()))
        .expect("good");
    assert_eq!(memory.dirty_log_bytes(3), Ok(16));
    assert_eq!(memory.get_dirty_log(3), Ok(vec![0, 0]));
    memory.store(0x10_0000, 1u8).expect("there");
    memory.store(0x10_1ffe, 1u32).expect("there");
    memory.compare_exchange(0x14_1000, 0u64, 1).expect("there");
    memory
        .compare_exchange(0x14_0000, 1u64, 1)
        .expect("there, and no match");
    memory.mark_dirty(0x10_8fff);
    memory.mark_dirty(0x50_0000);
    assert_eq!(memory.get_dirty_log(3), Ok(vec![0b1_0000_0111, 0b10]));
    assert_eq!(memory.get_dirty_log(3), Ok(vec![0, 0]));

    // A move with logging on keeps the log; switching it off drops it.
    memory.mark_dirty(0x10_0000);
    memory
        .set_region(&region(3, LOG, 0x20_0000, 66 << 12, pages.address()))
        .expect("good");
    assert_eq!(memory.get_dirty_log(3), Ok(vec![1, 0]));
    memory.mark_dirty(0x20_0000);
    memory
        .set_region(&region(3, 0, 0x20_0000, 66 << 12, pages.address()))
        .expect("good");
    memory
        .set_region(&region(3, LOG, 0x20_0000, 66 << 12, pages.address()))
        .expect("good");
    assert_eq!(memory.get_dirty_log(3), Ok(vec![0, 0]));
}

/// KVM API 7.16 and 4.117.
#[test]
fn a_log_under_manual_protection_is_cleared_by_hand() {
    let memory = memory();
    memory.set_manual_protect(ManualProtect {
        enable: true,
        initially_set: true,
    });
    memory
        .set_region(&region(0, LOG, 0, 130 << 12, 0x7000_0000))
        .expect("good");
    let all = vec![u64::MAX, u64::MAX, 3];
    assert_eq!(memory.get_dirty_log(0), Ok(all.clone()));
    assert_eq!(memory.get_dirty_log(0), Ok(all));

    let bad = [
        (1, 64),
        (32, 64),
        (192, 0),
        (64, 67),
        (0, 131),
        (0, 1),
        (64, 65),
        (1 << 40, 64),
    ];
    for (first, pages) in bad {
        let refused = memory.clear_dirty_log(0, first, pages, &[u64::MAX; 3]);
        assert_eq!(refused, Err(DirtyLogError::BadRange), "{first} {pages}");
    }
    assert_eq!(
        memory.clear_dirty_log(1, 0, 64, &[1]),
        Err(DirtyLogError::NoLog)
    );

    assert_eq!(memory.clear_dirty_log_words(0, 64, 66), Ok(2));
    memory
        .clear_dirty_log(0, 64, 66, &[0xff, u64::MAX])
        .expect("a good range");
    assert_eq!(memory.get_dirty_log(0), Ok(vec![u64::MAX, !0xff, 0]));
    memory
        .clear_dirty_log(0, 0, 64, &[u64::MAX])
        .expect("a good range");
    memory
        .clear_dirty_log(0, 128, 0, &[])
        .expect("an empty range");
    assert_eq!(memory.get_dirty_log(0), Ok(vec![0, !0xff, 0]));
    memory.set_manual_protect(ManualProtect::default());
    assert_eq!(memory.get_dirty_log(0), Ok(vec![0, !0xff, 0]));
    assert_eq!(memory.get_dirty_log(0), Ok(vec![0, 0, 0]));
}

#[test]
fn no_store_is_missing_from_the_log() {
    const PAGES: u64 = 8;
    let pages = Pages::new(PAGES as usize);
    let memory = memory();
    memory
        .set_region(&region(0, LOG, 0, PAGES << 12, pages.address()))
        .expect("good");
    let seen = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for value in 1..=30_000u64 {
                memory.store((value % PAGES) << 12, value).expect("there");
            }
        });
        // A copy that is refreshed only where the log says so must end up equal.
        let mut copy = [0u64; PAGES as usize];
        loop {
            let done = writer.is_finished();
            let log = memory.get_dirty_log(0).expect("logged")[0];
            for (page, copy) in copy.iter_mut().enumerate() {
                if log >> page & 1 == 1 {
                    *copy = memory.load((page as u64) << 12).expect("there");
                }
            }
            if done {
                return copy;
            }
        }
    });
    for (page, seen) in seen.iter().enumerate() {
        assert_eq!(memory.load((page as u64) << 12), Ok(*seen));
    }
}

#[test]
fn lookups_see_a_whole_change_or_none() {
    let memory = memory();
    memory
        .set_region(&region(0, 0, 0x10000, 0x1000, 0x5000_0000))
        .expect("good");
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            for round in 0..2000u64 {
                let gpa = if round % 2 == 0 { 0x20000 } else { 0x10000 };
                memory
                    .set_region(&region(0, 0, gpa, 0x1000, 0x5000_0000))
                    .expect("good");
            }
        });
        while !mover.is_finished() {
            for gpa in [0x10000, 0x20000] {
                if let Some(page) = memory.lookup(gpa) {
                    assert_eq!(page.host.addr(), 0x5000_0000);
                }
            }
        }
    });
    assert_eq!(memory.generation(), 2002);
}

/// A slot of the model: where it is, its size, its backing and its flags.
type Model = BTreeMap<u32, (u64, u64, u64, u32)>;

proptest! {
    /// Any sequence of calls leaves the slots that KVM's rules, told plainly, leave.
    #[test]
    fn slots_follow_the_rules(
        calls in prop::collection::vec((0u32..4, 0u32..4, 0u64..12, 0u64..5, 0u64..2), 1..60)
    ) {
        let memory = memory();
        let mut model = Model::new();
        for (slot, flags, page, pages, backing) in calls {
            let (gpa, size, hva) = (page << 12, pages << 12, 0x7000_0000 + (backing << 30));
            let old = model.get(&slot).copied();
            let overlaps = model.iter().any(|(&id, &(start, len, ..))| {
                id != slot && start < gpa + size && gpa < start + len
            });
            let errno = match old {
                None if size == 0 => Some(libc::EINVAL),
                Some(_) if size == 0 => None,
                Some((_, len, host, old_flags))
                    if len != size || host != hva || (old_flags ^ flags) & READONLY != 0 =>
                {
                    Some(libc::EINVAL)
                }
                _ if overlaps => Some(libc::EEXIST),
                _ => None,
            };
            let result = memory.set_region(&region(slot, flags, gpa, size, hva));
            prop_assert_eq!(result.err().map(RegionError::errno), errno);
            if errno.is_none() {
                if size == 0 {
                    model.remove(&slot);
                } else {
                    model.insert(slot, (gpa, size, hva, flags));
                }
            }
            for gpa in (0..17 * PAGE_SIZE).step_by(PAGE_SIZE as usize) {
                let want = model.values().find(|(start, len, ..)| (*start..start + len).contains(&gpa));
                let found = memory.lookup(gpa + 5);
                prop_assert_eq!(found.is_some(), want.is_some());
                if let (Some(page), Some((start, _, host, flags))) = (found, want) {
                    prop_assert_eq!(page.host.addr() as u64, host + (gpa - start));
                    prop_assert_eq!(page.readonly, flags & READONLY != 0);
                    prop_assert_eq!(page.logging, flags & LOG != 0);
                }
            }
        }
    }
}
