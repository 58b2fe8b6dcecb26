//! The way in for arm64 programs.
//!
//! Such a program runs in qemu-aarch64, and this library is loaded into qemu itself. Inside the
//! program a stub (`preload/stub.c`) takes the place of libc's `open`, `ioctl` and `syscall`. It
//! passes what is for us through `getxattr`, which qemu hands to the host's libc with the pointers
//! it got, as long as the program's addresses are the host's (qemu's guest_base is 0):
//!
//! ```text
//!   getxattr("/understudy/tunnel", request, NULL, 0)
//!                                     └ { name[16], self, operation, arguments[4], result }
//! ```
//!
//! The stub's first call checks that both sides see the request at the same address.

use std::ffi::{CStr, c_char, c_int, c_void};

use libc::{size_t, ssize_t};

use crate::{fail, ioctl, open, real};

/// The path that is never a file's.
const PATH: &CStr = c"/understudy/tunnel";

/// What a request begins with. Its last byte is the version of this protocol.
const NAME: [u8; 16] = *b"understudy-call1";

/// A call of the stub's; the same structure is in `stub.c`.
#[repr(C)]
struct Request {
    /// [`NAME`], followed by a zero byte for qemu, which takes it for a string.
    name: [u8; 16],
    end: u64,
    /// The request's own address, as the program sees it.
    address: u64,
    operation: u64,
    arguments: [u64; 4],
    /// What the function returns; a negative number is an errno.
    result: i64,
}

/// Nothing but the check of the address.
const HELLO: u64 = 0;
/// `openat(directory, path, flags)`, for a path that may be `/dev/kvm`: ENOENT if it is not.
const OPEN: u64 = 1;
/// `ioctl(fd, request, argument)`.
const IOCTL: u64 = 2;
/// `userfaultfd(flags)`, which qemu does not have.
const USERFAULTFD: u64 = 3;

/// UFFD_USER_MODE_ONLY: all that an unprivileged user may have, and all that we need, as the guest
/// runs in user mode.
const UFFD_USER_MODE_ONLY: u64 = 1;

/// The result of a call to libc, as the kernel gives it.
fn kernel_result(result: i64) -> i64 {
    match result {
        // SAFETY: no condition.
        -1 => -i64::from(unsafe { *libc::__errno_location() }),
        result => result,
    }
}

fn userfaultfd(flags: u64) -> i64 {
    // SAFETY: the call takes no pointer.
    let call = |flags: u64| unsafe {
        kernel_result(real::syscall(
            libc::SYS_userfaultfd,
            flags as i64,
            0,
            0,
            0,
            0,
            0,
        ))
    };
    match call(flags) {
        errno if errno == -i64::from(libc::EPERM) => call(flags | UFFD_USER_MODE_ONLY),
        fd => fd,
    }
}

/// # Safety
///
/// The arguments are those of the operation.
unsafe fn perform(request: &Request) -> i64 {
    let [a, b, c, _] = request.arguments;
    match request.operation {
        HELLO => 0,
        OPEN => {
            // SAFETY: the stub passes what the program gave as a path.
            let path = unsafe { CStr::from_ptr(b as *const c_char) };
            match open::is_kvm(a as c_int, path) {
                true => open::open_system(c as c_int).map_or_else(|e| -i64::from(e), i64::from),
                false => -i64::from(libc::ENOENT),
            }
        }
        IOCTL => match ioctl::try_ioctl(a as c_int, b as u32, c) {
            Some(result) => result.unwrap_or_else(|errno| -i64::from(errno.number())),
            // SAFETY: the program's own call.
            None => kernel_result(unsafe { real::ioctl(a as c_int, b as i64, c) }.into()),
        },
        USERFAULTFD => userfaultfd(a),
        _ => -i64::from(libc::ENOSYS),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getxattr(
    path: *const c_char,
    name: *const c_char,
    value: *mut c_void,
    size: size_t,
) -> ssize_t {
    // SAFETY: null or a C string, as `getxattr` asks.
    let tunnel = !path.is_null() && unsafe { CStr::from_ptr(path) } == PATH;
    if !tunnel || name.is_null() {
        // SAFETY: the caller's promise to `getxattr`.
        return unsafe { real::getxattr(path, name, value, size) };
    }
    let request = name.cast_mut().cast::<Request>();
    // SAFETY: the name is a C string. If it begins with ours, a request is there: the stub's.
    unsafe {
        let begins = CStr::from_ptr(name).to_bytes() == NAME;
        if !begins || !request.is_aligned() || (*request).address != request.addr() as u64 {
            return fail(libc::EPROTO) as ssize_t;
        }
        (*request).result = perform(&*request);
    }
    0
}
