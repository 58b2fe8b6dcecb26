//! A signal for the program ends `KVM_RUN` with EINTR.
//!
//! The guest runs in user space, so a handler that returns would let it go on. Each handler that
//! the program sets is therefore called through [`trampoline`], which tells the vCPU first. A
//! signal that is ignored, or has no handler, does not end `KVM_RUN` (in the kernel neither, or the
//! process ends), but for those without a handler that the thread blocks and `KVM_SET_SIGNAL_MASK` lets
//! through: to them [`trampoline`] is given ([`catch`]), and does what the kernel would by default.
//!
//! SIGSEGV and SIGBUS are also how guest memory that is not there shows: their handler is
//! [`understudy_memory::host`]'s, and the program's stands behind it.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::{SA_RESTART, SA_SIGINFO, SIG_DFL, SIG_ERR, SIG_IGN, sigaction as Action, siginfo_t};
use understudy_kvm::signal::{Disposition, interrupt};
use understudy_memory::host::{chained_action, set_chained_action};

use crate::real;

/// What the program set for a signal. All else (mask, flags) is as the kernel has it.
struct Handler {
    /// The kernel calls [`trampoline`]; if not, the rest means nothing.
    ours: AtomicBool,
    /// The program's, or `SIG_DFL`.
    address: AtomicUsize,
    /// SA_SIGINFO was among the flags; [`trampoline`] always is called with it.
    info: AtomicBool,
}

static HANDLERS: [Handler; 65] = [const {
    Handler {
        ours: AtomicBool::new(false),
        address: AtomicUsize::new(SIG_DFL),
        info: AtomicBool::new(false),
    }
}; 65];

extern "C" fn trampoline(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: no condition.
    let errno = unsafe { *libc::__errno_location() };
    match interrupt(signal) {
        Disposition::Deliver => {
            let Some(handler) = HANDLERS.get(signal as usize) else {
                return;
            };
            let address = handler.address.load(Ordering::Acquire);
            if address == SIG_DFL {
                take_default_action(signal, handler);
            } else {
                // SAFETY: the program's handler; one without SA_SIGINFO takes the first argument
                // and leaves the registers of the others alone, as when the kernel calls it.
                unsafe {
                    let handler = std::mem::transmute::<
                        usize,
                        extern "C" fn(c_int, *mut siginfo_t, *mut c_void),
                    >(address);
                    handler(signal, info, context);
                }
            }
        }
        // SAFETY: the kernel's arguments.
        Disposition::Defer => unsafe { send_again(signal, info, context) },
    }
    // SAFETY: no condition.
    unsafe { *libc::__errno_location() = errno };
}

/// Has the kernel do what it does with a signal by default, when the handler has returned.
fn take_default_action(signal: c_int, handler: &Handler) {
    handler.ours.store(false, Ordering::Release);
    // SAFETY: a zeroed action is the default one; the others have no condition.
    unsafe {
        real::sigaction(signal, &std::mem::zeroed(), ptr::null_mut());
        let (process, thread) = (libc::getpid(), libc::syscall(libc::SYS_gettid));
        libc::syscall(libc::SYS_tgkill, process, thread, signal);
    }
}

/// Has [`trampoline`] called for a signal that has no handler. The program sees no difference.
pub(crate) fn catch(signal: c_int) {
    let Some(handler) = HANDLERS.get(signal as usize) else {
        return;
    };
    if handler.ours.load(Ordering::Acquire) || chained_action(signal).is_some() {
        return;
    }
    // SAFETY: a zeroed action is a valid one.
    let mut action: Action = unsafe { std::mem::zeroed() };
    // SAFETY: a valid place.
    let known = unsafe { real::sigaction(signal, ptr::null(), &mut action) } == 0;
    if !known || action.sa_sigaction != SIG_DFL {
        return;
    }
    action.sa_sigaction = trampoline as *const () as usize;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    handler.info.store(false, Ordering::Release);
    handler.address.store(SIG_DFL, Ordering::Release);
    // SAFETY: a valid action.
    let set = unsafe { real::sigaction(signal, &action, ptr::null_mut()) } == 0;
    handler.ours.store(set, Ordering::Release);
}

/// Leaves the signal pending for this thread, blocked when the handler has returned.
///
/// # Safety
///
/// The arguments are those of a handler with SA_SIGINFO.
unsafe fn send_again(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the sets are initialised before use. Of `uc_sigmask` the kernel has stored the first
    // eight bytes, which is where a signal's bit is.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
        libc::sigaddset(
            &mut (*context.cast::<libc::ucontext_t>()).uc_sigmask,
            signal,
        );
        let (process, thread) = (libc::getpid(), libc::syscall(libc::SYS_gettid));
        let sent = libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, signal, info);
        if sent != 0 {
            libc::syscall(libc::SYS_tgkill, process, thread, signal);
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int {
    // SAFETY: each is null or a valid action, as `sigaction` asks.
    let new = unsafe { new.as_ref() };
    let set_old = |action: Action| {
        if !old.is_null() {
            // SAFETY: as above.
            unsafe { *old = action };
        }
    };
    if let Some(before) = chained_action(signal) {
        if let Some(new) = new {
            set_chained_action(signal, *new);
        }
        set_old(before);
        return 0;
    }
    let Some(handler) = HANDLERS.get(signal as usize) else {
        // SAFETY: libc refuses the number.
        return unsafe { real::sigaction(signal, ptr::null(), old) };
    };
    let before = (
        handler.address.load(Ordering::Acquire),
        handler.info.load(Ordering::Acquire),
    );
    let is_handler = |address| address != SIG_DFL && address != SIG_IGN;
    let handled = new.copied().map(|mut new| {
        if is_handler(new.sa_sigaction) {
            handler
                .info
                .store(new.sa_flags & SA_SIGINFO != 0, Ordering::Release);
            handler.address.store(new.sa_sigaction, Ordering::Release);
            new.sa_sigaction = trampoline as *const () as usize;
            new.sa_flags |= SA_SIGINFO;
        }
        new
    });
    let new = handled.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: valid actions.
    let (result, mut kernels) = unsafe {
        let mut kernels = std::mem::zeroed::<Action>();
        (real::sigaction(signal, new, &mut kernels), kernels)
    };
    if result != 0 {
        handler.info.store(before.1, Ordering::Release);
        handler.address.store(before.0, Ordering::Release);
        return result;
    }
    if let Some(new) = &handled {
        let ours = is_handler(new.sa_sigaction);
        handler.ours.store(ours, Ordering::Release);
    }
    if kernels.sa_sigaction == trampoline as *const () as usize {
        kernels.sa_sigaction = before.0;
        if before.0 == SIG_DFL {
            kernels.sa_flags = 0;
        } else if !before.1 {
            kernels.sa_flags &= !SA_SIGINFO;
        }
    }
    set_old(kernels);
    0
}

/// `signal` as BSD has it: the handler stays, and system calls are restarted.
#[unsafe(no_mangle)]
unsafe extern "C" fn signal(signal: c_int, handler: usize) -> usize {
    // SAFETY: a zeroed action is a valid one.
    unsafe {
        let mut new: Action = std::mem::zeroed();
        new.sa_sigaction = handler;
        new.sa_flags = SA_RESTART;
        libc::sigemptyset(&mut new.sa_mask);
        libc::sigaddset(&mut new.sa_mask, signal);
        let mut old: Action = std::mem::zeroed();
        match sigaction(signal, &new, &mut old) {
            0 => old.sa_sigaction,
            _ => SIG_ERR,
        }
    }
}
