//! What a program does to descriptors as such: it closes and duplicates them, and may try to use them
//! as files. `/dev/kvm`, VMs, vCPUs and guest_memfds have nothing to read or write: EINVAL, as in KVM,
//! or ESPIPE at an offset. None can be truncated, and a guest_memfd alone has a size to allocate in.

use std::ffi::{c_int, c_uint, c_void};
use std::os::fd::RawFd;

use libc::{iovec, off64_t, size_t, ssize_t};
use understudy_kvm::Object;

use crate::{fail, real, registry};

/// `new` is a duplicate of `old`, if the call that made it succeeded.
fn duplicated(old: RawFd, new: RawFd) -> RawFd {
    if new >= 0
        && let Some(object) = registry::find(old)
    {
        registry::insert(new, object);
    }
    new
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    registry::remove(fd);
    // SAFETY: the caller's promise to `close`.
    unsafe { real::close(fd) }
}

/// What is forgotten when the kernel closes the descriptors from `first` to `last`.
pub(crate) fn close_range_begins(first: c_uint, last: c_uint, flags: c_int) {
    if flags & libc::CLOSE_RANGE_CLOEXEC as c_int == 0 && first <= last {
        let limit = |fd: c_uint| fd.min(RawFd::MAX as c_uint) as RawFd;
        registry::remove_range(limit(first)..=limit(last));
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    close_range_begins(first, last, flags);
    // SAFETY: the caller's promise to `close_range`.
    unsafe { real::close_range(first, last, flags) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn closefrom(low: c_int) {
    registry::remove_range(low.max(0)..=RawFd::MAX);
    // SAFETY: the caller's promise to `closefrom`. It returns nothing.
    unsafe { real::closefrom(low) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup(fd: c_int) -> c_int {
    // SAFETY: no condition.
    duplicated(fd, unsafe { real::dup(fd) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup2(old: c_int, new: c_int) -> c_int {
    if old == new {
        // SAFETY: no condition.
        return unsafe { real::dup2(old, new) };
    }
    replaced(old, new, || {
        // SAFETY: the caller's promise to `dup2`.
        unsafe { real::dup2(old, new) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int {
    replaced(old, new, || {
        // SAFETY: the caller's promise to `dup3`.
        unsafe { real::dup3(old, new, flags) }
    })
}

/// Makes `new` a duplicate of `old`. Where that fails, `new` is what it was.
fn replaced(old: RawFd, new: RawFd, duplicate: impl FnOnce() -> RawFd) -> RawFd {
    let result = duplicate();
    if result >= 0 {
        match registry::find(old) {
            Some(object) => registry::insert(new, object),
            None => registry::remove(new),
        }
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, arg: u64) -> c_int {
    // SAFETY: the caller's promise to `fcntl`.
    let result = unsafe { real::fcntl64(fd, command, arg) };
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => duplicated(fd, result),
        _ => result,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl(fd: c_int, command: c_int, arg: u64) -> c_int {
    // SAFETY: the same function on 64-bit hosts.
    unsafe { fcntl64(fd, command, arg) }
}

/// Whether the descriptor is one that has no bytes.
pub(crate) fn has_no_bytes(fd: RawFd) -> bool {
    matches!(
        registry::ours(fd),
        Some(Object::System(_) | Object::Vm(_) | Object::Vcpu(_) | Object::GuestMemfd(_))
    )
}

/// With what an access of bytes at an offset fails, if the descriptor is one that has none.
fn no_bytes_at(fd: RawFd) -> Option<c_int> {
    match registry::ours(fd)? {
        Object::System(_) => Some(libc::EINVAL),
        Object::Vm(_) | Object::Vcpu(_) | Object::GuestMemfd(_) => Some(libc::ESPIPE),
        Object::Stats => None,
    }
}

/// Defines functions that move bytes.
macro_rules! transfers {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(fd: c_int, $($arg: $ty),*) -> ssize_t {
            if has_no_bytes(fd) {
                return fail(libc::EINVAL) as ssize_t;
            }
            // SAFETY: the caller's promise to a function of this name.
            unsafe { real::$name(fd, $($arg),*) }
        }
    )*};
}

transfers! {
    read(buffer: *mut c_void, count: size_t);
    readv(vector: *const iovec, count: c_int);
    write(buffer: *const c_void, count: size_t);
    writev(vector: *const iovec, count: c_int);
}

/// As `transfers`, where the name with 64 is the same function on 64-bit hosts.
macro_rules! transfers_at {
    ($($name:ident $name64:ident($buffer:ty);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            fd: c_int, buffer: $buffer, count: size_t, offset: off64_t,
        ) -> ssize_t {
            if let Some(errno) = no_bytes_at(fd) {
                return fail(errno) as ssize_t;
            }
            // SAFETY: the caller's promise to a function of this name.
            unsafe { real::$name64(fd, buffer, count, offset) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name64(
            fd: c_int, buffer: $buffer, count: size_t, offset: off64_t,
        ) -> ssize_t {
            // SAFETY: the caller's promise to a function of this name.
            unsafe { $name(fd, buffer, count, offset) }
        }
    )*};
}

transfers_at! {
    pread pread64(*mut c_void);
    pwrite pwrite64(*const c_void);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lseek64(fd: c_int, offset: off64_t, whence: c_int) -> off64_t {
    if let Some(Object::GuestMemfd(_)) = registry::ours(fd) {
        return fail(libc::ESPIPE).into();
    }
    // SAFETY: no condition.
    unsafe { real::lseek64(fd, offset, whence) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lseek(fd: c_int, offset: off64_t, whence: c_int) -> off64_t {
    // SAFETY: the same function on 64-bit hosts.
    unsafe { lseek64(fd, offset, whence) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, length: off64_t) -> c_int {
    if registry::ours(fd).is_some() {
        return fail(libc::EINVAL);
    }
    // SAFETY: the caller's promise to `ftruncate`.
    unsafe { real::ftruncate64(fd, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate(fd: c_int, length: off64_t) -> c_int {
    // SAFETY: the same function on 64-bit hosts.
    unsafe { ftruncate64(fd, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fallocate64(
    fd: c_int,
    mode: c_int,
    offset: off64_t,
    length: off64_t,
) -> c_int {
    match registry::ours(fd) {
        // SAFETY: the caller's promise to `fallocate`.
        None => unsafe { real::fallocate64(fd, mode, offset, length) },
        Some(Object::GuestMemfd(memfd)) => match memfd.fallocate(mode, offset, length) {
            Ok(()) => 0,
            Err(errno) => fail(errno.number()),
        },
        Some(_) => fail(libc::ENODEV),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fallocate(fd: c_int, mode: c_int, offset: off64_t, length: off64_t) -> c_int {
    // SAFETY: the same function on 64-bit hosts.
    unsafe { fallocate64(fd, mode, offset, length) }
}
