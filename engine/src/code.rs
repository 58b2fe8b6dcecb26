//! Memory for machine code.
//!
//! One memfd, mapped twice: where code is written it cannot be executed, where it is executed it
//! cannot be written. An arena is filled from the start and emptied as a whole. Pages that were
//! never written take no memory.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{NonNull, null_mut};

/// Bytes of an arena.
pub const SIZE: usize = 16 << 20;

/// An arena for machine code.
pub struct Arena {
    write: NonNull<u8>,
    execute: NonNull<u8>,
    used: usize,
}

// SAFETY: the arena owns both mappings.
unsafe impl Send for Arena {}

fn map(fd: &OwnedFd, protection: i32) -> io::Result<NonNull<u8>> {
    // SAFETY: maps new memory at an address of the kernel's choice.
    let address = unsafe {
        libc::mmap(
            null_mut(),
            SIZE,
            protection,
            libc::MAP_SHARED,
            fd.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

impl Arena {
    /// An empty arena; fails as memfd_create and mmap do.
    pub fn new() -> io::Result<Arena> {
        // SAFETY: the name is a C string; the descriptor is nobody else's.
        let fd = unsafe {
            let fd = libc::memfd_create(c"understudy-code".as_ptr(), libc::MFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        // SAFETY: the descriptor is open.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), SIZE as libc::off_t) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let write = map(&fd, libc::PROT_READ | libc::PROT_WRITE)?;
        match map(&fd, libc::PROT_READ | libc::PROT_EXEC) {
            Ok(execute) => Ok(Arena {
                write,
                execute,
                used: 0,
            }),
            Err(error) => {
                // SAFETY: mapped above, and not handed out.
                unsafe { libc::munmap(write.as_ptr().cast(), SIZE) };
                Err(error)
            }
        }
    }

    /// Puts code into the arena: the address to execute it at, or none if there is no room.
    pub fn add(&mut self, code: &[u8]) -> Option<NonNull<u8>> {
        let start = self.used.next_multiple_of(32);
        let end = start.checked_add(code.len()).filter(|end| *end <= SIZE)?;
        // SAFETY: the range lies in both mappings; nothing executes there yet.
        let execute = unsafe {
            let to = self.write.as_ptr().add(start);
            std::ptr::copy_nonoverlapping(code.as_ptr(), to, code.len());
            self.execute.add(start)
        };
        self.used = end;
        Some(execute)
    }

    /// Forgets all code but the first `keep` bytes. None of the rest may be executed again.
    pub fn truncate(&mut self, keep: usize) {
        self.used = self.used.min(keep);
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: both mappings are this arena's, and nothing executes in it any more.
        unsafe {
            libc::munmap(self.write.as_ptr().cast(), SIZE);
            libc::munmap(self.execute.as_ptr().cast(), SIZE);
        }
    }
}
