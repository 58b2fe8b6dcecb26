//! guest_memfd (api.rst 4.142): memory for a guest alone, which user space cannot map.
//!
//! Only VMs with private memory bind slots to one, and of those there is none: what there is of a
//! guest_memfd is what the program sees of its descriptor. That is a memfd which has the file's size
//! and mode and is sealed; what the kernel's file answers otherwise, whoever stands behind the
//! program's calls asks here.

use std::os::fd::OwnedFd;

use libc::{FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, c_int};
use rustix::fs::{MemfdFlags, Mode, SealFlags};
use understudy_abi::PAGE_SIZE;
use understudy_abi::common::kvm_create_guest_memfd;

use crate::errno::Errno;

/// A guest_memfd, shared by its descriptors.
#[derive(Debug)]
pub struct GuestMemfd {
    /// Bytes, a multiple of [`PAGE_SIZE`].
    size: i64,
}

/// Whether this many bytes, or this offset, are whole pages.
fn is_aligned(bytes: i64) -> bool {
    bytes % PAGE_SIZE as i64 == 0
}

impl GuestMemfd {
    /// `KVM_CREATE_GUEST_MEMFD`. As the kernel's, the descriptor stays open over `exec`.
    pub(crate) fn new(args: &kvm_create_guest_memfd) -> Result<(GuestMemfd, OwnedFd), Errno> {
        let size = i64::try_from(args.size).map_err(|_| Errno::EINVAL)?;
        if args.flags != 0 || size == 0 || !is_aligned(size) {
            return Err(Errno::EINVAL);
        }
        let fd = rustix::fs::memfd_create("[kvm-gmem]", MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&fd, args.size)?;
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals)?;
        Ok((GuestMemfd { size }, fd))
    }

    /// `fallocate` on its descriptor. There is nothing to allocate or free, as no guest can have come
    /// to the memory.
    ///
    /// # Errors
    ///
    /// EINVAL for a range that cannot be, is not of whole pages or, where it is to be allocated, ends
    /// behind the file; EOPNOTSUPP for a mode other than `FALLOC_FL_KEEP_SIZE`, alone or with
    /// `FALLOC_FL_PUNCH_HOLE`; EFBIG for a range that no file can have.
    pub fn fallocate(&self, mode: c_int, offset: i64, length: i64) -> Result<(), Errno> {
        const PUNCH: c_int = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
        if offset < 0 || length <= 0 {
            return Err(Errno::EINVAL);
        }
        if mode != FALLOC_FL_KEEP_SIZE && mode != PUNCH {
            return Err(Errno::EOPNOTSUPP);
        }
        let end = offset.checked_add(length).ok_or(Errno::EFBIG)?;
        if !is_aligned(offset) || !is_aligned(length) || (mode != PUNCH && end > self.size) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}
