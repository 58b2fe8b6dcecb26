//! `pthread_cancel` of a thread that runs a vCPU.
//!
//! In the kernel, `KVM_RUN` is a system call, at whose end an asynchronous cancellation takes effect.
//! Here the guest runs in the thread itself, with locks held: the thread is not to end in the midst of
//! it. So while it is in `KVM_RUN` its cancellation is deferred, and whoever cancels it ends the run.

use std::ffi::c_int;

use libc::pthread_t;

use crate::real;

/// `PTHREAD_CANCEL_DEFERRED`.
const DEFERRED: c_int = 0;

unsafe extern "C-unwind" {
    /// libc's function.
    fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int;
}

/// The thread cannot be cancelled asynchronously until this is dropped. A cancellation that came
/// meanwhile takes effect then.
pub(crate) struct Deferred {
    before: c_int,
}

impl Deferred {
    /// Defers it.
    pub(crate) fn begin() -> Deferred {
        let mut before = DEFERRED;
        // SAFETY: it writes the integer.
        unsafe { pthread_setcanceltype(DEFERRED, &raw mut before) };
        Deferred { before }
    }

    /// Ends it, with nothing left to be dropped in this thread's frames above the caller's.
    pub(crate) fn end(self) {
        if self.before != DEFERRED {
            // SAFETY: the type is the one that the thread had.
            unsafe { pthread_setcanceltype(self.before, std::ptr::null_mut()) };
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cancel(thread: pthread_t) -> c_int {
    // SAFETY: the caller's promise to `pthread_cancel`.
    let result = unsafe { real::pthread_cancel(thread) };
    understudy_kvm::signal::cancelled(thread);
    result
}
