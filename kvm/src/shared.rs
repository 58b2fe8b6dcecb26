//! Pages that a VM or vCPU shares with its user: `kvm_run`, the rings of coalesced MMIO and of dirty
//! pages, statistics.
//!
//! They lie in memfds, so that the program maps them as it would map KVM's descriptors. Both sides
//! may write at any time; every access here is therefore an atomic one, of the largest naturally
//! aligned size that fits, and none of it is ever a Rust reference to plain memory.

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use understudy_abi::run::Page;

use crate::errno::Errno;

/// A mapping of a memfd. It stays when the descriptor is closed.
#[derive(Debug)]
pub(crate) struct SharedPages {
    /// The first page: what is aligned in the mapping is aligned in memory.
    start: NonNull<u8>,
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
    #[inline(always)]
    fn range(&self, offset: usize, length: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(length)?;
        debug_assert!(end <= self.length);
        // SAFETY: the offset lies within the mapping.
        (end <= self.length).then(|| unsafe { self.start.add(offset) })
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
    fn u8(&self, offset: usize) -> Option<&AtomicU8> {
        let at = self.range(offset, 1)?.cast::<AtomicU8>();
        // SAFETY: as above.
        Some(unsafe { at.as_ref() })
    }
}

impl SharedPages {
    /// Stores words at an offset that is a multiple of 8.
    #[inline(always)]
    pub(crate) fn store_words<const N: usize>(&self, offset: usize, words: [u64; N]) {
        for (to, word) in self.words(offset, N).iter().zip(words) {
            to.store(word, Ordering::Relaxed);
        }
    }

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
        if offset.is_multiple_of(16) && from.len() >= 32 {
            let (wide, rest) = from.as_chunks::<32>();
            let stored = self.store_wide(offset, wide);
            offset += 32 * stored;
            from = if stored == 0 { from } else { rest };
        }
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

#[cfg(target_arch = "x86_64")]
impl SharedPages {
    /// Stores so many times 32 bytes at an offset that is a multiple of 16, in half the time that words
    /// take. Gives how many were stored: all or none.
    #[inline]
    fn store_wide(&self, offset: usize, from: &[[u8; 32]]) -> usize {
        let Some(to) = self.range(offset, size_of_val(from)) else {
            return 0;
        };
        if from.is_empty() || !offset.is_multiple_of(16) {
            return 0;
        }
        // SAFETY: both ranges are valid for the whole length, which is not 0. The stores are the
        // processor's own, not the language's, as another process's would be: what is mapped here is
        // never behind a reference to plain memory, and all else goes by atomics.
        unsafe {
            std::arch::asm!(
                "2:",
                "movups {low}, [{from}]",
                "movups {high}, [{from} + 16]",
                "movaps [{to}], {low}",
                "movaps [{to} + 16], {high}",
                "add {from}, 32",
                "add {to}, 32",
                "dec {left}",
                "jnz 2b",
                low = out(xmm_reg) _,
                high = out(xmm_reg) _,
                from = inout(reg) from.as_ptr() => _,
                to = inout(reg) to.as_ptr() => _,
                left = inout(reg) from.len() => _,
                options(nostack),
            );
        }
        from.len()
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl SharedPages {
    /// Elsewhere, words are stored.
    fn store_wide(&self, _: usize, _: &[[u8; 32]]) -> usize {
        0
    }
}

/// Offset and length of nearly all accesses are constants, so that one access is all that is left of
/// these functions where they are inlined.
impl Page for SharedPages {
    #[inline(always)]
    fn load(&self, offset: usize, into: &mut [u8]) {
        match into {
            [byte] => *byte = self.u8(offset).map_or(0, |a| a.load(Ordering::Relaxed)),
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
