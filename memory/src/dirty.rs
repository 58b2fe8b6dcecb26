#![forbid(unsafe_code)]
//! The dirty log: one bit a page of a slot, set by whoever stores, fetched by user space
//! (KVM API 4.8 `KVM_GET_DIRTY_LOG`, 4.117 `KVM_CLEAR_DIRTY_LOG`).
//!
//! No write may be lost, which asks for an order on both sides. A writer stores first and marks
//! after; the mark is a read-modify-write with release ordering. A reader takes the bits with
//! acquire ordering and then looks at the pages. So a store either is visible to the reader whose
//! bit it set, or its mark comes after the reader took the bits and is there for the next.
//!
//! Where the vCPUs have dirty rings (8.29), a second bitmap has the pages that are in one of them. A
//! page goes in when its bit is set first, and the bit goes when user space has reset the entry; only
//! then user space looks at the page, so that the same order holds.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::ring;

/// The setting of `KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2` (KVM API 7.16) of a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ManualProtect {
    /// `KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE`, bit 0: fetching the log does not clear it.
    pub enable: bool,
    /// `KVM_DIRTY_LOG_INITIALLY_SET`, bit 1: a new log has every bit set.
    pub initially_set: bool,
}

/// Why a dirty log call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DirtyLogError {
    /// The slot number or the address space is beyond the limits.
    #[error("no such slot or address space")]
    BadSlot,
    /// The slot does not exist or is not logged.
    #[error("the slot keeps no dirty log")]
    NoLog,
    /// The first page or the number of pages is no multiple of 64, or lies beyond the slot.
    #[error("bad range of pages")]
    BadRange,
    /// The vCPUs have dirty rings, and there is no bitmap beside them.
    #[error("there are dirty rings instead")]
    Rings,
}

impl DirtyLogError {
    /// The errno with which KVM refuses such a call.
    pub fn errno(self) -> i32 {
        match self {
            DirtyLogError::NoLog => libc::ENOENT,
            DirtyLogError::Rings => libc::ENXIO,
            DirtyLogError::BadSlot | DirtyLogError::BadRange => libc::EINVAL,
        }
    }
}

/// The pages of one slot that were written, bit `n` of word `n / 64` for page `n`.
#[derive(Debug)]
pub(crate) struct DirtyBitmap {
    words: Box<[AtomicU64]>,
}

impl DirtyBitmap {
    /// A bitmap for so many pages, every bit clear or every bit set; `None` without memory for it.
    pub(crate) fn new(pages: u64, set: bool) -> Option<Self> {
        let count = usize::try_from(pages.div_ceil(64)).ok()?;
        let mut words = Vec::new();
        words.try_reserve_exact(count).ok()?;
        words.extend((0..count as u64).map(|word| {
            let left = pages - word * 64;
            AtomicU64::new(match (set, left) {
                (false, _) => 0,
                (true, 64..) => u64::MAX,
                (true, _) => (1 << left) - 1,
            })
        }));
        Some(DirtyBitmap {
            words: words.into_boxed_slice(),
        })
    }

    /// Marks a page; false if it was marked. To be called after the store that dirtied it.
    pub(crate) fn mark(&self, page: u64) -> bool {
        let bit = 1 << (page % 64);
        // Not skipped where the bit is seen set: that load could be older than a reader's taking of
        // the bits, while the store before it is younger.
        self.words
            .get((page / 64) as usize)
            .is_some_and(|word| word.fetch_or(bit, Ordering::AcqRel) & bit == 0)
    }

    /// Forgets a mark.
    fn unmark(&self, page: u64) {
        if let Some(word) = self.words.get((page / 64) as usize) {
            word.fetch_and(!(1 << (page % 64)), Ordering::AcqRel);
        }
    }

    /// The bits as they are.
    pub(crate) fn snapshot(&self) -> Vec<u64> {
        self.words
            .iter()
            .map(|word| word.load(Ordering::Acquire))
            .collect()
    }

    /// The bits as they were, and every one clear.
    pub(crate) fn take(&self) -> Vec<u64> {
        self.words
            .iter()
            .map(|word| match word.load(Ordering::Relaxed) {
                0 => 0,
                _ => word.swap(0, Ordering::AcqRel),
            })
            .collect()
    }

    /// Clears the bits that `bits` has set, `bits[0]` being word `first_word`.
    pub(crate) fn clear(&self, first_word: usize, bits: &[u64]) {
        for (word, &bits) in self.words.iter().skip(first_word).zip(bits) {
            if bits != 0 {
                word.fetch_and(!bits, Ordering::AcqRel);
            }
        }
    }
}

/// Where the dirty pages of a virtual machine are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tracking {
    /// In the slots' bitmaps.
    #[default]
    Bitmap,
    /// In the vCPUs' rings (`KVM_CAP_DIRTY_LOG_RING`).
    Rings,
    /// In the rings what vCPUs write, in the bitmaps what is written without one
    /// (`KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP`).
    RingsAndBitmap,
}

impl Tracking {
    pub(crate) fn has_bitmap(self) -> bool {
        self != Tracking::Rings
    }

    fn has_rings(self) -> bool {
        self != Tracking::Bitmap
    }
}

/// What a slot with `KVM_MEM_LOG_DIRTY_PAGES` keeps.
#[derive(Debug)]
pub(crate) struct DirtyLog {
    /// What user space fetches.
    bitmap: Option<DirtyBitmap>,
    /// The pages that are in a ring, as far as user space has not reset their entries.
    in_rings: Option<DirtyBitmap>,
}

impl DirtyLog {
    /// A log of so many pages; `set` is `KVM_DIRTY_LOG_INITIALLY_SET`. `None` without memory for it.
    pub(crate) fn new(pages: u64, tracking: Tracking, set: bool) -> Option<DirtyLog> {
        let bitmap = |set| DirtyBitmap::new(pages, set);
        Some(DirtyLog {
            bitmap: match tracking.has_bitmap() {
                true => Some(bitmap(set)?),
                false => None,
            },
            in_rings: match tracking.has_rings() {
                true => Some(bitmap(false)?),
                false => None,
            },
        })
    }

    /// The bitmap.
    pub(crate) fn bitmap(&self) -> Option<&DirtyBitmap> {
        self.bitmap.as_ref()
    }

    /// Marks a page of the slot, in the ring of the vCPU that this thread works for if there is one.
    pub(crate) fn mark(&self, slot: u32, page: u64) {
        if let Some(in_rings) = &self.in_rings
            && ring::with_current(|ring| {
                if in_rings.mark(page) {
                    ring.push(slot, page);
                }
            })
            .is_some()
        {
            return;
        }
        if let Some(bitmap) = &self.bitmap {
            bitmap.mark(page);
        }
    }

    /// A page's entry in a ring has been reset.
    pub(crate) fn left_ring(&self, page: u64) {
        if let Some(in_rings) = &self.in_rings {
            in_rings.unmark(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_beyond_the_last_page_stay_clear() {
        for pages in [1, 63, 64, 65, 127, 128] {
            let ones: u32 = DirtyBitmap::new(pages, true)
                .expect("memory for three words")
                .snapshot()
                .iter()
                .map(|word| word.count_ones())
                .sum();
            assert_eq!(u64::from(ones), pages);
        }
    }

    #[test]
    fn take_clears_and_snapshot_does_not() {
        let bitmap = DirtyBitmap::new(130, false).expect("memory for three words");
        bitmap.mark(0);
        bitmap.mark(129);
        bitmap.mark(1 << 40);
        assert_eq!(bitmap.snapshot(), [1, 0, 2]);
        assert_eq!(bitmap.take(), [1, 0, 2]);
        assert_eq!(bitmap.take(), [0, 0, 0]);
    }

    #[test]
    fn clear_touches_only_the_words_and_bits_asked_for() {
        let bitmap = DirtyBitmap::new(192, true).expect("memory for three words");
        bitmap.clear(1, &[0xff, 1, u64::MAX]);
        assert_eq!(bitmap.snapshot(), [u64::MAX, !0xff, !1]);
    }
}
