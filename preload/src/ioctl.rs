//! `ioctl` on what [`crate::registry`] knows.

use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use understudy_abi::ioctl::KVM_RUN;
use understudy_kvm::{Descriptors, Errno, Object};

use crate::cancel::Deferred;
use crate::registry::Known;
use crate::{fail, pass_through, real, registry};

/// New descriptors go to the process's own.
struct Process;

impl Descriptors for Process {
    fn install(&self, object: Object, fd: OwnedFd) -> Result<RawFd, Errno> {
        let fd = fd.into_raw_fd();
        registry::insert(fd, Known::Ours(object));
        Ok(fd)
    }
}

thread_local! {
    static UNBLOCKED: Cell<bool> = const { Cell::new(false) };
}

/// Performs an ioctl if the descriptor is one of ours.
pub(crate) fn try_ioctl(fd: RawFd, request: u32, arg: u64) -> Option<Result<i64, Errno>> {
    let object = registry::ours(fd)?;
    if request == KVM_RUN && !UNBLOCKED.replace(true) {
        understudy_memory::host::unblock_signals();
    }
    Some(understudy_kvm::ioctl(&object, &Process, request, arg))
}

/// `ioctl` on what is not ours.
///
/// # Safety
///
/// The kernel's contract of the request.
pub(crate) unsafe fn host(fd: RawFd, request: c_long, arg: u64) -> c_int {
    match registry::find(fd) {
        // SAFETY: the caller's promise.
        Some(Known::Host(object)) => unsafe {
            pass_through::ioctl(&object, fd, request as u32, arg)
        },
        // SAFETY: as above.
        _ => unsafe { real::ioctl(fd, request, arg) },
    }
}

// A thread that is cancelled ends where its `KVM_RUN` does, by an unwinding through here.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn ioctl(fd: c_int, request: c_long, arg: u64) -> c_int {
    if request as u32 == KVM_RUN {
        let deferred = Deferred::begin();
        // SAFETY: the caller's promise.
        let result = unsafe { perform(fd, request, arg) };
        deferred.end();
        return result;
    }
    // SAFETY: the caller's promise.
    unsafe { perform(fd, request, arg) }
}

/// # Safety
///
/// The kernel's contract of the request.
unsafe fn perform(fd: c_int, request: c_long, arg: u64) -> c_int {
    // The kernel takes the request as 32 bits, whatever the caller had above them.
    match try_ioctl(fd, request as u32, arg) {
        Some(Ok(value)) => value as c_int,
        Some(Err(errno)) => fail(errno.number()),
        // SAFETY: the caller's promise to `ioctl`.
        None => unsafe { host(fd, request, arg) },
    }
}
