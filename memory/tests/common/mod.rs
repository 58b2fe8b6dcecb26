//! Memory to test on: pages of the process that a test may take away again.
#![allow(dead_code, reason = "each test program uses its part of it")]

/// Mapped pages, unmapped when dropped.
pub struct Pages {
    pub ptr: *mut u8,
    pub len: usize,
}

impl Pages {
    /// So many anonymous, zeroed pages.
    pub fn new(count: usize) -> Self {
        let len = count * 4096;
        // SAFETY: a new mapping where the kernel likes it.
        let ptr = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(ptr, libc::MAP_FAILED);
        Pages {
            ptr: ptr.cast(),
            len,
        }
    }

    /// Changes the protection of one page.
    pub fn protect(&self, page: usize, protection: i32) {
        assert!(page * 4096 < self.len);
        // SAFETY: a page of this mapping, which only the accessors under test use.
        let result =
            unsafe { libc::mprotect(self.ptr.wrapping_add(page * 4096).cast(), 4096, protection) };
        assert_eq!(result, 0);
    }

    pub fn at(&self, offset: usize) -> *mut u8 {
        self.ptr.wrapping_add(offset)
    }

    pub fn address(&self) -> u64 {
        self.ptr.addr() as u64
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this object's own.
        unsafe { libc::munmap(self.ptr.cast(), self.len) };
    }
}
