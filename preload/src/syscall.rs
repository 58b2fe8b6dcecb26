//! libc's `syscall`, for programs that call what they could call by name.

use std::ffi::{c_int, c_long, c_uint};

use crate::{descriptors, fail, ioctl, open, pass_through, real, registry, settings};

/// The errno with which the kernel refuses a call that libc has no name for here.
fn kernel_result(result: Result<i64, c_int>) -> c_long {
    result.unwrap_or_else(|errno| fail(errno).into())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    // Close to nothing may be added for programs that never touch /dev/kvm.
    match number {
        libc::SYS_openat => {
            let path = b as *const std::ffi::c_char;
            // SAFETY: the kernel's own contract: a C string, or null.
            let path = unsafe { path.as_ref().map(|path| std::ffi::CStr::from_ptr(path)) };
            let kvm = path.is_some_and(|path| open::is_kvm(a as c_int, path));
            if kvm && !settings::ours() {
                // SAFETY: the caller's promise to `syscall`.
                let fd = unsafe { real::syscall(number, a, b, c, d, e, f) };
                return pass_through::opened(fd as c_int).into();
            }
            if kvm {
                return kernel_result(open::open_system(c as c_int).map(i64::from));
            }
        }
        libc::SYS_ioctl => {
            if let Some(result) = ioctl::try_ioctl(a as c_int, b as u32, c as u64) {
                return kernel_result(result.map_err(|errno| errno.number()));
            }
            // SAFETY: the caller's promise to `syscall`.
            return unsafe { ioctl::host(a as c_int, b, c as u64) }.into();
        }
        libc::SYS_close => registry::remove(a as c_int),
        libc::SYS_close_range => {
            descriptors::close_range_begins(a as c_uint, b as c_uint, c as c_int);
        }
        libc::SYS_read | libc::SYS_write if descriptors::has_no_bytes(a as c_int) => {
            return fail(libc::EINVAL).into();
        }
        _ => {}
    }
    // SAFETY: the caller's promise to `syscall`.
    unsafe { real::syscall(number, a, b, c, d, e, f) }
}
