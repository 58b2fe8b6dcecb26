//! A vCPU's dirty ring (api.rst 8.29): the pages that it was the first to write.
//!
//! ```text
//!   vCPU's mapping from page KVM_DIRTY_LOG_PAGE_OFFSET on
//!   ┌───────┬───────┬───────┬───────┬───────┬───
//!   │   0   │ RESET │ RESET │ DIRTY │ DIRTY │ 0 ..   the vCPU's thread fills `dirty` and moves it on;
//!   └───────┴───────┴───────┴───────┴───────┴───     user space makes DIRTY RESET;
//!             reset           ...       dirty        KVM_RESET_DIRTY_RINGS takes what is RESET
//! ```
//! What lies between `kvm_run`'s pages and the ring, where KVM has nothing, are zeros that nobody reads.
//!
//! Either side publishes an entry by its flags, written with release ordering and read with acquire
//! ordering. User space may write anything there at any time: what it breaks is its own ring.

use std::mem::{offset_of, size_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use understudy_abi::PAGE_SIZE;
use understudy_abi::common::{
    KVM_DIRTY_GFN_F_DIRTY, KVM_DIRTY_GFN_F_RESET, KVM_DIRTY_LOG_PAGE_OFFSET, kvm_dirty_gfn,
};
use understudy_engine::request::{DIRTY_RING_FULL, Requests};
use understudy_memory::ring::DirtyRing;

use crate::errno::Errno;
use crate::shared::SharedPages;

/// Where the ring is in a vCPU's descriptor, in bytes.
pub(crate) const OFFSET: usize = KVM_DIRTY_LOG_PAGE_OFFSET * PAGE_SIZE;
/// Bytes of an entry.
const ENTRY: usize = size_of::<kvm_dirty_gfn>();
/// Bytes of a ring, at most: the value of the capability.
pub(crate) const MAX_SIZE: u32 = 65536 * ENTRY as u32;
/// Entries that are kept for what an instruction dirties once the ring is full
/// (`KVM_DIRTY_RING_RSVD_ENTRIES`; more where the processor keeps a log of its own).
const RESERVED: u32 = 64;

/// Checks the size that a program asks for.
pub(crate) fn check_size(size: u32) -> Result<(), Errno> {
    if !size.is_power_of_two() || size < RESERVED * ENTRY as u32 || size < PAGE_SIZE as u32 {
        return Err(Errno::EINVAL);
    }
    if size > MAX_SIZE {
        return Err(Errno::E2BIG);
    }
    Ok(())
}

/// A ring.
#[derive(Debug)]
pub(crate) struct Ring {
    pages: SharedPages,
    /// How many entries there are, a power of two.
    entries: u32,
    /// Counts the entries that were filled. Only the thread that is in the vCPU's ioctl adds to it.
    dirty: AtomicU32,
    /// Counts those that were reset.
    reset: AtomicU32,
    requests: Arc<Requests>,
}

/// The fields of an entry.
struct Entry<'a> {
    flags: &'a AtomicU32,
    slot: &'a AtomicU32,
    offset: &'a AtomicU64,
}

impl Ring {
    /// The ring that lies in these pages, which are all zero. The vCPU is told by `requests` when it is
    /// full.
    pub(crate) fn new(pages: SharedPages, requests: Arc<Requests>) -> Ring {
        Ring {
            entries: (pages.length() / ENTRY) as u32,
            pages,
            dirty: AtomicU32::new(0),
            reset: AtomicU32::new(0),
            requests,
        }
    }

    /// Bytes.
    pub(crate) fn size(&self) -> usize {
        self.pages.length()
    }

    /// The entry that this count comes to.
    fn entry(&self, count: u32) -> Option<Entry<'_>> {
        let at = (count & (self.entries - 1)) as usize * ENTRY;
        Some(Entry {
            flags: self.pages.u32(at + offset_of!(kvm_dirty_gfn, flags))?,
            slot: self.pages.u32(at + offset_of!(kvm_dirty_gfn, slot))?,
            offset: self.pages.u64(at + offset_of!(kvm_dirty_gfn, offset))?,
        })
    }

    /// Takes the entries that user space has harvested, and adds their pages (slot, page of it) to
    /// `pages`. The caller keeps others from doing the same.
    pub(crate) fn take_harvested(&self, pages: &mut Vec<(u32, u64)>) {
        // No more than all, as user space may go on making them.
        for _ in 0..self.entries {
            let count = self.reset.load(Ordering::Relaxed);
            let Some(entry) = self.entry(count) else {
                return;
            };
            if entry.flags.load(Ordering::Acquire) & KVM_DIRTY_GFN_F_RESET == 0 {
                return;
            }
            let slot = entry.slot.load(Ordering::Relaxed);
            let page = entry.offset.load(Ordering::Relaxed);
            entry.flags.store(0, Ordering::Release);
            // Whoever counts the entry as free finds it free.
            self.reset.store(count.wrapping_add(1), Ordering::Release);
            pages.push((slot, page));
        }
    }
}

impl DirtyRing for Ring {
    fn push(&self, slot: u32, page: u64) {
        let count = self.dirty.load(Ordering::Relaxed);
        let Some(entry) = self.entry(count) else {
            return;
        };
        entry.slot.store(slot, Ordering::Relaxed);
        entry.offset.store(page, Ordering::Relaxed);
        entry.flags.store(KVM_DIRTY_GFN_F_DIRTY, Ordering::Release);
        self.dirty.store(count.wrapping_add(1), Ordering::Relaxed);
        if self.is_full() {
            self.requests.post(DIRTY_RING_FULL);
        }
    }

    fn is_full(&self) -> bool {
        let reset = self.reset.load(Ordering::Acquire);
        // As in KVM, a count of those reset that user space has driven past it is a full ring too.
        let used = self.dirty.load(Ordering::Relaxed).wrapping_sub(reset);
        used >= self.entries - RESERVED
    }
}
