//! libc's own functions, behind the names that this library takes.

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{iovec, mode_t, off64_t, sigaction as Sigaction, size_t, ssize_t};

/// The next definition of a symbol after ours. Looked up once; async-signal-safe from then on.
fn next(cell: &AtomicPtr<c_void>, name: &CStr) -> *mut c_void {
    let known = cell.load(Ordering::Relaxed);
    if !known.is_null() {
        return known;
    }
    // SAFETY: a valid string; RTLD_NEXT needs no handle.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    cell.store(found, Ordering::Relaxed);
    found
}

/// Defines functions that call the next definition of their name, or fail with ENOSYS where libc
/// has none.
macro_rules! next {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty;)*) => {$(
        #[doc = concat!("libc's `", stringify!($name), "`, with its contract.")]
        pub(crate) unsafe extern "C" fn $name($($arg: $ty),*) -> $ret {
            static CELL: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
            const NAME: &CStr = match CStr::from_bytes_with_nul(
                concat!(stringify!($name), "\0").as_bytes(),
            ) {
                Ok(name) => name,
                Err(_) => c"",
            };
            let function = next(&CELL, NAME);
            if function.is_null() {
                return crate::fail(libc::ENOSYS) as $ret;
            }
            // SAFETY: libc's function of this name has this type. (Where it is variadic, the
            // arguments are passed in the same registers on the hosts that we have.)
            unsafe {
                let function: unsafe extern "C" fn($($ty),*) -> $ret =
                    std::mem::transmute(function);
                function($($arg),*)
            }
        }
    )*};
}

next! {
    openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    access(path: *const c_char, mode: c_int) -> c_int;
    faccessat(dir: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int;
    ioctl(fd: c_int, request: c_long, arg: u64) -> c_int;
    mmap64(
        addr: *mut c_void, length: size_t, prot: c_int, flags: c_int, fd: c_int, offset: off64_t
    ) -> isize;
    munmap(addr: *mut c_void, length: size_t) -> c_int;
    mprotect(addr: *mut c_void, length: size_t, prot: c_int) -> c_int;
    mremap(
        old: *mut c_void, old_length: size_t, length: size_t, flags: c_int, new: *mut c_void
    ) -> isize;
    close(fd: c_int) -> c_int;
    close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int;
    closefrom(low: c_int) -> c_int;
    dup(fd: c_int) -> c_int;
    dup2(old: c_int, new: c_int) -> c_int;
    dup3(old: c_int, new: c_int, flags: c_int) -> c_int;
    fcntl64(fd: c_int, command: c_int, arg: u64) -> c_int;
    read(fd: c_int, buffer: *mut c_void, count: size_t) -> ssize_t;
    readv(fd: c_int, vector: *const iovec, count: c_int) -> ssize_t;
    pread64(fd: c_int, buffer: *mut c_void, count: size_t, offset: off64_t) -> ssize_t;
    write(fd: c_int, buffer: *const c_void, count: size_t) -> ssize_t;
    writev(fd: c_int, vector: *const iovec, count: c_int) -> ssize_t;
    pwrite64(fd: c_int, buffer: *const c_void, count: size_t, offset: off64_t) -> ssize_t;
    lseek64(fd: c_int, offset: off64_t, whence: c_int) -> off64_t;
    ftruncate64(fd: c_int, length: off64_t) -> c_int;
    fallocate64(fd: c_int, mode: c_int, offset: off64_t, length: off64_t) -> c_int;
    pthread_cancel(thread: libc::pthread_t) -> c_int;
    sigaction(signal: c_int, action: *const Sigaction, old: *mut Sigaction) -> c_int;
    syscall(
        number: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long
    ) -> c_long;
    getxattr(
        path: *const c_char, name: *const c_char, value: *mut c_void, size: size_t
    ) -> ssize_t;
}
