//! Pages that a VM or vCPU shares with its user: `kvm_run`, the rings of coalesced MMIO and of dirty
//! pages, statistics.
//!
//! They lie in memfds, so that the program maps them as it would map KVM's descriptors. Both sides
//! may write at any time; every access here is therefore an atomic one, of the largest naturally
//! aligned size that fits, and none of it is ever a Rust reference to plain memory.

use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use understudy_abi::PAGE_SIZE;
use understudy_abi::run::Page;

use crate::errno::Errno;

/// A mapping of a memfd. It stays when the descriptor is closed.
#[derive(Debug)]
pub(crate) struct SharedPages {
    /// The first page: what is aligned in the mapping is aligned in memory.
    start: NonNull<u8>,
    /// Not 0; what is mapped are whole pages, of which the last may have less of the memfd.
    length: usize,
}

// SAFETY: the memory is mapped until the value is dropped, and only accessed atomically.
unsafe impl Send for SharedPages {}
// SAFETY: as above.
unsafe impl Sync for SharedPages {}

impl SharedPages {
    /// A new memfd of `length` bytes, all zero, and a mapping of it. The size is sealed: whoever
    /// gets the descriptor cannot take the memory away from under the mapping.
    pub(crate) fn new(name: &str, length: usize) -> Result<(SharedPages, OwnedFd), Errno> {
        let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&fd, length as u64)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let pages = SharedPages::map(fd.as_fd(), 0, length)?;
        Ok((pages, fd))
    }

    /// Another mapping of a part of such a memfd, from an offset of whole pages on.
    pub(crate) fn map(fd: impl AsFd, offset: usize, length: usize) -> Result<SharedPages, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                MapFlags::SHARED,
                fd,
                offset as u64,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::ENOMEM)?;
        Ok(SharedPages { start, length })
    }

    /// Bytes.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The first byte of an access, if all of it lies in the pages. A caller that asks for more has
    /// a defect; it then gets nothing rather than somebody else's memory.
    ///
    /// There is one whole page at least, and most accesses are of fields of `kvm_run`, at offsets known
    /// to the compiler: nothing is left to be tested of them.
    #[inline(always)]
    fn range(&self, offset: usize, length: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(length)?;
        debug_assert!(end <= self.length);
        // SAFETY: the offset lies within the mapping.
        (end <= PAGE_SIZE || end <= self.length).then(|| unsafe { self.start.add(offset) })
    }

    /// The 4 bytes at an offset that is a multiple of 4.
    #[inline(always)]
    pub(crate) fn u32(&self, offset: usize) -> Option<&AtomicU32> {
        let at = self.range(offset, 4)?.cast::<AtomicU32>();
        if !offset.is_multiple_of(4) {
            return None;
        }
        // SAFETY: mapped as long as `self` lives, aligned, and accessed by atomics alone.
        Some(unsafe { at.as_ref() })
    }

    /// The 8 bytes at an offset that is a multiple of 8.
    #[inline(always)]
    pub(crate) fn u64(&self, offset: usize) -> Option<&AtomicU64> {
        let at = self.range(offset, 8)?.cast::<AtomicU64>();
        if !offset.is_multiple_of(8) {
            return None;
        }
        // SAFETY: as above.
        Some(unsafe { at.as_ref() })
    }

    /// So many times 8 bytes at an offset that is a multiple of 8; none if that is not all in the
    /// pages.
    #[inline(always)]
    fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        let at = match self.range(offset, count.saturating_mul(8)) {
            Some(at) if count > 0 => at.cast::<AtomicU64>(),
            _ => return &[],
        };
        if !offset.is_multiple_of(8) {
            return &[];
        }
        // SAFETY: mapped as long as `self` lives, aligned, and accessed by atomics alone.
        unsafe { std::slice::from_raw_parts(at.as_ptr(), count) }
    }

    #[inline(always)]
    fn u16(&self, offset: usize) -> Option<&AtomicU16> {
        let at = self.range(offset, 2)?.cast::<AtomicU16>();
        if !offset.is_multiple_of(2) {
            return None;
        }
        // SAFETY: as above.
        Some(unsafe { at.as_ref() })
    }

    #[inline(always)]
    fn u8(&self, offset: usize) -> Option<&AtomicU8> {
        let at = self.range(offset, 1)?.cast::<AtomicU8>();
        // SAFETY: as above.
        Some(unsafe { at.as_ref() })
    }
}

impl SharedPages {
    /// [`Page::load`] of any length at any offset.
    #[inline(never)]
    fn load_any(&self, mut offset: usize, mut into: &mut [u8]) {
        // All but the ends of large structures goes by here.
        if offset.is_multiple_of(8) && into.len() >= 16 {
            let (to, rest) = into.as_chunks_mut::<8>();
            let words = self.words(offset, to.len());
            offset += 8 * to.len();
            for (to, word) in to.iter_mut().zip(words) {
                *to = word.load(Ordering::Relaxed).to_ne_bytes();
            }
            into = rest;
        }
        while !into.is_empty() {
            let done = match (offset % 8, into.len()) {
                (0, 8..) => 8,
                (0 | 4, 4..) => 4,
                _ => 1,
            };
            self.load(offset, &mut into[..done]);
            offset += done;
            into = &mut into[done..];
        }
    }

    /// [`Page::store`] of any length at any offset.
    #[inline(never)]
    fn store_any(&self, mut offset: usize, mut from: &[u8]) {
        if offset.is_multiple_of(8) && from.len() >= 16 {
            let (words, rest) = from.as_chunks::<8>();
            for (word, from) in self.words(offset, words.len()).iter().zip(words) {
                word.store(u64::from_ne_bytes(*from), Ordering::Relaxed);
            }
            offset += 8 * words.len();
            from = rest;
        }
        while !from.is_empty() {
            let done = match (offset % 8, from.len()) {
                (0, 8..) => 8,
                (0 | 4, 4..) => 4,
                _ => 1,
            };
            self.store(offset, &from[..done]);
            offset += done;
            from = &from[done..];
        }
    }
}

/// `N` bytes of the pages, which are looked for once: what is stored one after the other then takes a
/// store each.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a, const N: usize> {
    /// A multiple of 16.
    start: NonNull<u8>,
    pages: PhantomData<&'a SharedPages>,
}

impl SharedPages {
    /// The bytes at an offset that is a multiple of 16, if they are all in the pages.
    #[inline(always)]
    pub(crate) fn part<const N: usize>(&self, offset: usize) -> Option<Part<'_, N>> {
        let start = self.range(offset, N)?;
        offset.is_multiple_of(16).then_some(Part {
            start,
            pages: PhantomData,
        })
    }
}

impl<const N: usize> Part<'_, N> {
    /// Stores words at an offset that is a multiple of 8.
    #[inline(always)]
    pub(crate) fn store_words<const WORDS: usize>(self, offset: usize, words: [u64; WORDS]) {
        assert!(offset.is_multiple_of(8) && offset <= N && 8 * WORDS <= N - offset);
        for (at, word) in words.into_iter().enumerate() {
            // SAFETY: it lies in the part, is aligned, mapped as long as the pages are borrowed, and
            // accessed by atomics alone.
            let to = unsafe { self.start.add(offset + 8 * at).cast::<AtomicU64>().as_ref() };
            to.store(word, Ordering::Relaxed);
        }
    }

    /// Stores so many times 32 bytes at an offset that is a multiple of 16, with half the instructions
    /// that words take.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn store_wide<const PIECES: usize>(self, offset: usize, from: &[[u8; 32]; PIECES]) {
        use std::arch::x86_64::_mm_loadu_si128;
        assert!(offset.is_multiple_of(16) && offset <= N && 32 * PIECES <= N - offset);
        for (at, from) in from.iter().enumerate() {
            let (halves, _) = from.as_chunks::<16>();
            // SAFETY: it lies in the part. The stores are the processor's own, not the language's, as
            // another process's would be: what is mapped here is never behind a reference to plain
            // memory, and all else goes by atomics. 16 bytes are read from 16.
            unsafe {
                std::arch::asm!(
                    "movaps [{to}], {low}",
                    "movaps [{to} + 16], {high}",
                    to = in(reg) self.start.add(offset + 32 * at).as_ptr(),
                    low = in(xmm_reg) _mm_loadu_si128(halves[0].as_ptr().cast()),
                    high = in(xmm_reg) _mm_loadu_si128(halves[1].as_ptr().cast()),
                    options(nostack, preserves_flags),
                );
            }
        }
    }

    /// Elsewhere, words are stored.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn store_wide<const PIECES: usize>(self, offset: usize, from: &[[u8; 32]; PIECES]) {
        for (at, word) in from.as_flattened().as_chunks::<8>().0.iter().enumerate() {
            self.store_words(offset + 8 * at, [u64::from_ne_bytes(*word)]);
        }
    }
}

/// Offset and length of nearly all accesses are constants, so that one access is all that is left of
/// these functions where they are inlined.
impl Page for SharedPages {
    #[inline(always)]
    fn load(&self, offset: usize, into: &mut [u8]) {
        match into {
            [byte] => *byte = self.u8(offset).map_or(0, |a| a.load(Ordering::Relaxed)),
            [_, _] if offset.is_multiple_of(2) => {
                let half = self.u16(offset).map_or(0, |a| a.load(Ordering::Relaxed));
                into.copy_from_slice(&half.to_ne_bytes());
            }
            [_, _, _, _] if offset.is_multiple_of(4) => {
                let word = self.u32(offset).map_or(0, |a| a.load(Ordering::Relaxed));
                into.copy_from_slice(&word.to_ne_bytes());
            }
            [_, _, _, _, _, _, _, _] if offset.is_multiple_of(8) => {
                let word = self.u64(offset).map_or(0, |a| a.load(Ordering::Relaxed));
                into.copy_from_slice(&word.to_ne_bytes());
            }
            _ => self.load_any(offset, into),
        }
    }

    #[inline(always)]
    fn store(&self, offset: usize, from: &[u8]) {
        match *from {
            [byte] => {
                if let Some(to) = self.u8(offset) {
                    to.store(byte, Ordering::Relaxed);
                }
            }
            [a, b] if offset.is_multiple_of(2) => {
                if let Some(to) = self.u16(offset) {
                    to.store(u16::from_ne_bytes([a, b]), Ordering::Relaxed);
                }
            }
            [a, b, c, d] if offset.is_multiple_of(4) => {
                if let Some(to) = self.u32(offset) {
                    to.store(u32::from_ne_bytes([a, b, c, d]), Ordering::Relaxed);
                }
            }
            [a, b, c, d, e, f, g, h] if offset.is_multiple_of(8) => {
                if let Some(to) = self.u64(offset) {
                    let value = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                    to.store(value, Ordering::Relaxed);
                }
            }
            _ => self.store_any(offset, from),
        }
    }
}

impl Drop for SharedPages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference to it outlives it.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok());
    }
}

/// A descriptor that only stands for an object: there is nothing to read in it.
pub(crate) fn placeholder(name: &str) -> Result<OwnedFd, Errno> {
    Ok(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_and_length_round_trips() {
        let (pages, fd) = SharedPages::new("test", 4096).unwrap();
        let pattern: Vec<u8> = (1..=40).collect();
        for offset in (0..17).chain([4096 - 40]) {
            for length in 0..=pattern.len() {
                pages.store(0, &[0; 128]);
                pages.store(offset, &pattern[..length]);
                let mut back = vec![0xff; length];
                pages.load(offset, &mut back);
                assert_eq!(back, pattern[..length], "{offset} {length}");
                if offset > 0 && offset < 17 {
                    let (mut before, mut after) = ([0xff], [0xff]);
                    pages.load(offset - 1, &mut before);
                    pages.load(offset + length, &mut after);
                    assert_eq!((before, after), ([0], [0]));
                }
            }
        }
        // Another mapping of the descriptor sees the same bytes.
        let other = SharedPages::map(&fd, 0, 4096).unwrap();
        pages.store(100, &[1, 2, 3]);
        let mut seen = [0; 3];
        other.load(100, &mut seen);
        assert_eq!(seen, [1, 2, 3]);
    }

    #[test]
    fn the_size_is_sealed() {
        let (_pages, fd) = SharedPages::new("test", 8192).unwrap();
        assert!(rustix::fs::ftruncate(&fd, 0).is_err());
        assert!(rustix::fs::ftruncate(&fd, 1 << 20).is_err());
    }
}
