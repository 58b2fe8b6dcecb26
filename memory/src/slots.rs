#![forbid(unsafe_code)]
//! The slots of a virtual machine, and the host page behind a guest-physical address.
//!
//! Slots change rarely and are looked up at every TLB miss, so a lookup reads an immutable,
//! sorted snapshot without taking a lock, and a change swaps in a new one.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use imbl::OrdMap;

use crate::dirty::{DirtyLog, DirtyLogError, ManualProtect, Tracking};
use crate::region::{Change, Limits, RegionError, RegionFlags, UserRegion};
use crate::{PAGE_SHIFT, PAGE_SIZE};

/// One slot, as the last change left it.
#[derive(Debug, Clone)]
struct Slot {
    flags: RegionFlags,
    /// Number and address space, as in [`UserRegion::slot`].
    id: u32,
    /// First guest-physical address.
    start: u64,
    /// Bytes, never 0.
    size: u64,
    /// Where `start` is in this process.
    host: u64,
    /// Shared with the snapshots before and after, so that a mark made through an old one counts.
    log: Option<Arc<DirtyLog>>,
}

impl Slot {
    fn contains(&self, gpa: u64) -> bool {
        gpa.wrapping_sub(self.start) < self.size
    }
}

/// What is kept of the slots beside the snapshot.
#[derive(Debug, Default)]
struct Slots {
    /// Where in the snapshot each is.
    starts: HashMap<u16, u64>,
    /// How those with a log keep it.
    tracking: Tracking,
}

/// The slots by their first guest-physical address. A clone shares all of the tree but the path to
/// what is then changed, so a change takes no longer where there are 32,767 slots.
type Snapshot = OrdMap<u64, Slot>;

/// The slot that has this guest-physical address.
fn find(snapshot: &Snapshot, gpa: u64) -> Option<&Slot> {
    snapshot
        .get_prev(&gpa)
        .map(|(_, slot)| slot)
        .filter(|slot| slot.contains(gpa))
}

/// The host page behind a guest-physical one, as [`GuestMemory::lookup`] found it.
///
/// It holds until [`GuestMemory::generation`] changes. `host` is a user's address: only the
/// accessors of [`crate::host`] may follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The first byte of the page in this process, a multiple of [`PAGE_SIZE`].
    pub host: *mut u8,
    /// The slot is [`RegionFlags::READONLY`]: a guest's store becomes an MMIO exit.
    pub readonly: bool,
    /// The slot is [`RegionFlags::LOG_DIRTY_PAGES`]: every store must be followed by
    /// [`GuestMemory::mark_dirty`], also one to a page that was marked before, since the log may
    /// have been fetched and cleared in between.
    pub logging: bool,
}

/// One guest-physical address space of a virtual machine.
///
/// Shared between the virtual machine and its vCPUs with an [`Arc`].
///
/// ```
/// use understudy_memory::{GuestMemory, Limits, UserRegion};
///
/// #[repr(align(4096))]
/// struct Backing([u8; 8192]);
/// let mut backing = Box::new(Backing([0; 8192]));
///
/// let memory = GuestMemory::new(Limits::arm64(40));
/// memory.set_region(&UserRegion {
///     slot: 0,
///     flags: 0,
///     guest_phys_addr: 0x4000_0000,
///     memory_size: 8192,
///     userspace_addr: (&raw mut *backing) as u64,
/// })?;
/// memory.store::<u32>(0x4000_0ffe, 0x1234_5678).expect("both pages are there");
/// assert_eq!(memory.load::<u16>(0x4000_1000), Ok(0x1234));
/// assert!(memory.lookup(0x4000_2000).is_none());
/// # Ok::<(), understudy_memory::RegionError>(())
/// ```
pub struct GuestMemory {
    limits: Limits,
    snapshot: ArcSwap<Snapshot>,
    generation: AtomicU64,
    /// Its lock serialises changes and dirty log calls, as KVM's `slots_lock` does.
    slots: Mutex<Slots>,
    /// [`ManualProtect`], as the bits of `KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2`.
    manual_protect: AtomicU8,
    /// How many changes of the host's mappings are under way.
    host_changes: AtomicUsize,
}

impl GuestMemory {
    /// An address space without memory.
    pub fn new(limits: Limits) -> Self {
        crate::host::install();
        GuestMemory {
            limits,
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            generation: AtomicU64::new(1),
            slots: Mutex::default(),
            manual_protect: AtomicU8::new(0),
            host_changes: AtomicUsize::new(0),
        }
    }

    /// The limits that [`GuestMemory::set_region`] holds callers to.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Creates, deletes, moves or changes the flags of a slot: `KVM_SET_USER_MEMORY_REGION`
    /// (KVM API 4.35).
    ///
    /// # Errors
    ///
    /// [`RegionError`], each with KVM's errno; the slots are then as before.
    pub fn set_region(&self, region: &UserRegion) -> Result<Change, RegionError> {
        let flags = region.check(&self.limits)?;
        let mut slots = self.lock();
        let mut snapshot = Snapshot::clone(&self.snapshot.load());
        let old = slots
            .starts
            .get(&region.id())
            .and_then(|start| snapshot.get(start))
            .cloned();

        if region.memory_size == 0 {
            let old = old.ok_or(RegionError::NothingToDelete)?;
            slots.starts.remove(&region.id());
            snapshot.remove(&old.start);
            self.publish(snapshot);
            return Ok(Change::Deleted);
        }

        let change = match &old {
            None => Change::Created,
            Some(old) => {
                if region.userspace_addr != old.host
                    || region.memory_size != old.size
                    || (flags ^ old.flags).contains(RegionFlags::READONLY)
                {
                    return Err(RegionError::Immutable);
                }
                if region.guest_phys_addr != old.start {
                    Change::Moved
                } else if flags != old.flags {
                    Change::FlagsOnly
                } else {
                    return Ok(Change::Nothing);
                }
            }
        };
        if matches!(change, Change::Created | Change::Moved) {
            let mut others = snapshot.clone();
            if let Some(old) = &old {
                others.remove(&old.start);
            }
            // Only the last slot that starts before this one ends can reach into it.
            let last = region.guest_phys_addr + (region.memory_size - 1);
            if let Some((start, other)) = others.get_prev(&last)
                && start + (other.size - 1) >= region.guest_phys_addr
            {
                return Err(RegionError::Overlap);
            }
        }
        if !self.within_physical_space(region) {
            return Err(RegionError::BeyondPhysicalSpace);
        }

        let log = match old.as_ref().and_then(|old| old.log.clone()) {
            _ if !flags.contains(RegionFlags::LOG_DIRTY_PAGES) => None,
            Some(log) => Some(log),
            None => {
                let pages = region.memory_size >> PAGE_SHIFT;
                let set = self.manual_protect().initially_set;
                let log = DirtyLog::new(pages, slots.tracking, set);
                let log = log.ok_or(RegionError::NoMemory)?;
                Some(Arc::new(log))
            }
        };

        if let Some(old) = old {
            snapshot.remove(&old.start);
        }
        let start = region.guest_phys_addr;
        let (size, host) = (region.memory_size, region.userspace_addr);
        snapshot.insert(
            start,
            Slot {
                flags,
                id: region.slot,
                start,
                size,
                host,
                log,
            },
        );
        slots.starts.insert(region.id(), start);
        self.publish(snapshot);
        Ok(change)
    }

    fn within_physical_space(&self, region: &UserRegion) -> bool {
        let last_page = (region.guest_phys_addr + (region.memory_size - 1)) >> PAGE_SHIFT;
        last_page < 1u64 << self.limits.physical_address_bits.clamp(PAGE_SHIFT, 52) >> PAGE_SHIFT
    }

    /// Swaps in new slots, and only then the generation that tells of them: whoever sees the new
    /// generation looks up the new slots.
    fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // Nothing between two changes of the map can panic, so a poisoned lock has a good map.
        self.slots
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A number that is another one after each change of the slots, never 0. Read it *before*
    /// [`GuestMemory::lookup`] to know how long the answer holds.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The host page behind the page that contains this guest-physical address.
    pub fn lookup(&self, gpa: u64) -> Option<Page> {
        let snapshot = self.snapshot.load();
        let slot = find(&snapshot, gpa)?;
        let offset = (gpa - slot.start) & !(PAGE_SIZE - 1);
        Some(Page {
            host: (slot.host + offset) as *mut u8,
            readonly: slot.flags.contains(RegionFlags::READONLY),
            logging: slot.log.is_some(),
        })
    }

    /// Whether a slot's memory is in `length` bytes of host addresses from `start` on.
    pub fn has_host_range(&self, start: u64, length: u64) -> bool {
        let end = start.saturating_add(length);
        let slots = self.snapshot.load();
        slots
            .values()
            .any(|slot| slot.host < end && start < slot.host.saturating_add(slot.size))
    }

    /// The host's mappings of slots are about to change (the kernel's `invalidate_range_start`):
    /// until the matching [`GuestMemory::end_host_change`], no vCPU may keep a host address beyond
    /// one access ([`GuestMemory::host_is_changing`]). The caller then has the vCPUs forget those
    /// that they have.
    pub fn begin_host_change(&self) {
        self.host_changes.fetch_add(1, Ordering::SeqCst);
    }

    /// A change is over.
    pub fn end_host_change(&self) {
        self.host_changes.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether the host's mappings are changing. To be read before [`GuestMemory::lookup`].
    #[inline]
    pub fn host_is_changing(&self) -> bool {
        self.host_changes.load(Ordering::SeqCst) != 0
    }

    /// Marks the page that contains this guest-physical address as written, where its slot keeps a
    /// dirty log: in the bitmap, or the ring of the vCPU that this thread works for
    /// ([`crate::ring`]). To be called after the store.
    pub fn mark_dirty(&self, gpa: u64) {
        let snapshot = self.snapshot.load();
        if let Some(slot) = find(&snapshot, gpa)
            && let Some(log) = &slot.log
        {
            log.mark(slot.id, (gpa - slot.start) >> PAGE_SHIFT);
        }
    }

    /// The setting of `KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2`.
    pub fn manual_protect(&self) -> ManualProtect {
        let bits = self.manual_protect.load(Ordering::Acquire);
        ManualProtect {
            enable: bits & 1 != 0,
            initially_set: bits & 2 != 0,
        }
    }

    /// Changes that setting, for logs fetched or created from now on.
    pub fn set_manual_protect(&self, setting: ManualProtect) {
        let bits = u8::from(setting.enable) | u8::from(setting.initially_set) << 1;
        self.manual_protect.store(bits, Ordering::Release);
    }

    /// The dirty log of a slot (number and address space as in [`UserRegion::slot`]), which is
    /// also cleared, unless [`ManualProtect::enable`] is set: `KVM_GET_DIRTY_LOG` (KVM API 4.8).
    /// Bit `n` of word `n / 64` is page `n`; as many words as hold the slot's pages.
    ///
    /// # Errors
    ///
    /// [`DirtyLogError::Rings`], [`DirtyLogError::BadSlot`] and [`DirtyLogError::NoLog`].
    pub fn get_dirty_log(&self, slot: u32) -> Result<Vec<u64>, DirtyLogError> {
        let slots = self.lock_for_bitmaps()?;
        let (log, _) = self.log_of(&slots, slot)?;
        let bitmap = log.bitmap().ok_or(DirtyLogError::NoLog)?;
        Ok(if self.manual_protect().enable {
            bitmap.snapshot()
        } else {
            bitmap.take()
        })
    }

    /// Bytes in the bitmap that [`GuestMemory::get_dirty_log`] gives for this slot.
    ///
    /// # Errors
    ///
    /// As [`GuestMemory::get_dirty_log`].
    pub fn dirty_log_bytes(&self, slot: u32) -> Result<u64, DirtyLogError> {
        let (_, pages) = self.log_of(&*self.lock_for_bitmaps()?, slot)?;
        Ok(pages.div_ceil(64) * 8)
    }

    /// The number of words that [`GuestMemory::clear_dirty_log`] reads for this range, once the
    /// range is found good. KVM checks in this order: the range first, the caller's bitmap after.
    ///
    /// # Errors
    ///
    /// [`DirtyLogError`], whichever the range deserves.
    pub fn clear_dirty_log_words(
        &self,
        slot: u32,
        first_page: u64,
        num_pages: u32,
    ) -> Result<usize, DirtyLogError> {
        self.range_of_log(&*self.lock_for_bitmaps()?, slot, first_page, num_pages)
            .map(|(_, words)| words)
    }

    /// Clears the bits of a range of a slot's dirty log that are set in `bits`:
    /// `KVM_CLEAR_DIRTY_LOG` (KVM API 4.117). `first_page` is a multiple of 64, and so is
    /// `num_pages` unless the range ends where the slot does. Bit 0 of `bits[0]` is `first_page`.
    ///
    /// # Errors
    ///
    /// As [`GuestMemory::clear_dirty_log_words`].
    pub fn clear_dirty_log(
        &self,
        slot: u32,
        first_page: u64,
        num_pages: u32,
        bits: &[u64],
    ) -> Result<(), DirtyLogError> {
        let slots = self.lock_for_bitmaps()?;
        let (log, words) = self.range_of_log(&slots, slot, first_page, num_pages)?;
        let bitmap = log.bitmap().ok_or(DirtyLogError::NoLog)?;
        bitmap.clear((first_page / 64) as usize, &bits[..words.min(bits.len())]);
        Ok(())
    }

    /// From now on dirty pages go into the rings of vCPUs, of which there must be none yet
    /// (`KVM_CAP_DIRTY_LOG_RING`, KVM API 8.29).
    ///
    /// # Errors
    ///
    /// [`RegionError::NoMemory`]; nothing has changed then.
    pub fn use_dirty_rings(&self) -> Result<(), RegionError> {
        let mut slots = self.lock();
        let mut snapshot = Snapshot::clone(&self.snapshot.load());
        let logged: Vec<Slot> = snapshot
            .values()
            .filter(|slot| slot.log.is_some())
            .cloned()
            .collect();
        for slot in logged {
            let log = DirtyLog::new(slot.size >> PAGE_SHIFT, Tracking::Rings, false);
            let log = Some(Arc::new(log.ok_or(RegionError::NoMemory)?));
            snapshot.insert(slot.start, Slot { log, ..slot });
        }
        slots.tracking = Tracking::Rings;
        self.publish(snapshot);
        Ok(())
    }

    /// Beside the rings there are bitmaps for what is written without a vCPU
    /// (`KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP`). False, with nothing done, without rings or if there are
    /// slots.
    #[must_use]
    pub fn use_bitmap_beside_rings(&self) -> bool {
        let mut slots = self.lock();
        let can = slots.tracking != Tracking::Bitmap && slots.starts.is_empty();
        if can {
            slots.tracking = Tracking::RingsAndBitmap;
        }
        can
    }

    /// Entries of rings have been reset: the next store to each of these pages (slot, as in
    /// [`UserRegion::slot`], and page of it) is told of again, once the vCPUs ask before stores. What is
    /// no page of a slot is passed over.
    pub fn left_rings(&self, pages: &[(u32, u64)]) {
        let slots = self.lock();
        for &(slot, page) in pages {
            if let Ok((log, count)) = self.log_of(&slots, slot)
                && page < count
            {
                log.left_ring(page);
            }
        }
    }

    /// The lock, unless there are rings and no bitmaps.
    fn lock_for_bitmaps(&self) -> Result<MutexGuard<'_, Slots>, DirtyLogError> {
        let slots = self.lock();
        match slots.tracking.has_bitmap() {
            true => Ok(slots),
            false => Err(DirtyLogError::Rings),
        }
    }

    fn range_of_log(
        &self,
        slots: &Slots,
        slot: u32,
        first_page: u64,
        num_pages: u32,
    ) -> Result<(Arc<DirtyLog>, usize), DirtyLogError> {
        self.check_slot(slot)?;
        if !first_page.is_multiple_of(64) {
            return Err(DirtyLogError::BadRange);
        }
        let (log, pages) = self.log_of(slots, slot)?;
        let left = pages
            .checked_sub(first_page)
            .ok_or(DirtyLogError::BadRange)?;
        let num_pages = u64::from(num_pages);
        if num_pages > left || (num_pages < left && !num_pages.is_multiple_of(64)) {
            return Err(DirtyLogError::BadRange);
        }
        Ok((log, num_pages.div_ceil(64) as usize))
    }

    fn check_slot(&self, slot: u32) -> Result<u16, DirtyLogError> {
        let id = (slot & 0xffff) as u16;
        if (slot >> 16) as u16 != self.limits.address_space || id >= self.limits.user_slots {
            return Err(DirtyLogError::BadSlot);
        }
        Ok(id)
    }

    /// A slot's log and the number of its pages.
    fn log_of(&self, slots: &Slots, slot: u32) -> Result<(Arc<DirtyLog>, u64), DirtyLogError> {
        let id = self.check_slot(slot)?;
        let snapshot = self.snapshot.load();
        let start = slots.starts.get(&id).ok_or(DirtyLogError::NoLog)?;
        let slot = snapshot.get(start).ok_or(DirtyLogError::NoLog)?;
        let log = slot.log.clone().ok_or(DirtyLogError::NoLog)?;
        Ok((log, slot.size >> PAGE_SHIFT))
    }
}

impl fmt::Debug for GuestMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestMemory")
            .field("limits", &self.limits)
            .field("generation", &self.generation())
            .field("slots", &*self.snapshot.load())
            .finish_non_exhaustive()
    }
}
