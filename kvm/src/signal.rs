//! How a signal ends a `KVM_RUN`.
//!
//! In the kernel a pending signal makes `KVM_RUN` return EINTR. Here the guest runs on the
//! caller's thread in user space: the signal's handler interrupts it, returns, and the guest would
//! go on. So whoever has the handlers in hand (the preloaded library wraps `sigaction`) calls
//! [`interrupt`] from them.
//!
//! ```text
//!   KVM_RUN ── Running::begin ──── guest ──────────────┐   ┌── guest looks at its requests: EINTR
//!                                        signal ► handler ─┘
//!                                                  └ interrupt() posts a request to the vCPU
//! ```
//!
//! `KVM_SET_SIGNAL_MASK` (api.rst 4.21) has the thread run its guest under another mask. A signal
//! which that mask lets through, and the thread's own does not, ends `KVM_RUN` in the kernel
//! *without its handler being called*: it is pending again once the mask is back. That is
//! [`Disposition::Defer`]. It needs no handler at all then, so here it is given one ([`catch_by`]).

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::sync::atomic::{Ordering, compiler_fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use understudy_engine::request::{EXIT, Requests};

use crate::guest::Peer;

/// What the handler of a signal shall do after [`interrupt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Call the program's handler.
    Deliver,
    /// Don't: block the signal in the interrupted context's mask and send it to the thread again,
    /// that it is pending when `KVM_RUN` has returned.
    Defer,
}

/// What [`catch_by`] has set.
static CATCH: OnceLock<fn(i32)> = OnceLock::new();

/// Sets what is called with each signal that a vCPU's mask lets through and its thread's own does not,
/// before it can come: it sees to it that the signal has a handler which calls [`interrupt`]. Once only.
pub fn catch_by(catch: fn(i32)) {
    // The first one stays.
    let _ = CATCH.set(catch);
}

/// The vCPU that each thread has run last, by its `pthread_t`: who cancels a thread has to end its
/// `KVM_RUN` ([`cancelled`]).
static LAST: Mutex<Vec<(libc::pthread_t, Peer)>> = Mutex::new(Vec::new());

fn last() -> MutexGuard<'static, Vec<(libc::pthread_t, Peer)>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

fn this_thread() -> libc::pthread_t {
    // SAFETY: no condition.
    unsafe { libc::pthread_self() }
}

/// Takes a thread out of [`LAST`] when it ends.
struct Entry;

impl Drop for Entry {
    fn drop(&mut self) {
        let me = this_thread();
        last().retain(|(thread, _)| *thread != me);
        drop(VCPU.take().map(ManuallyDrop::into_inner));
    }
}

thread_local! {
    /// The request word of the vCPU that this thread has run last.
    static NOTED: Cell<*const Requests> = const { Cell::new(std::ptr::null()) };
    /// That vCPU. Dropped by [`ENTRY`] alone, so that first use in a handler does nothing that is not
    /// safe there.
    static VCPU: RefCell<Option<ManuallyDrop<Peer>>> = const { RefCell::new(None) };
    static ENTRY: Entry = const { Entry };
}

/// Notes that this thread runs a vCPU, if it is not the one that it ran last.
#[inline]
fn note(peer: &Peer) {
    let requests: *const Requests = &**peer.requests();
    if NOTED.replace(requests) != requests {
        note_another(peer);
    }
}

#[cold]
fn note_another(peer: &Peer) {
    ENTRY.with(|_| ());
    let me = this_thread();
    let mut all = last();
    all.retain(|(thread, _)| *thread != me);
    all.push((me, peer.clone()));
    drop(all);
    let old = VCPU.replace(Some(ManuallyDrop::new(peer.clone())));
    drop(old.map(ManuallyDrop::into_inner));
}

/// To be called when a thread has been asked to end (`pthread_cancel`) that must not do so in the
/// midst of a `KVM_RUN`: ends the `KVM_RUN` that it is in.
pub fn cancelled(thread: libc::pthread_t) {
    let all = last();
    if let Some((_, peer)) = all.iter().find(|(of, _)| *of == thread) {
        peer.kick();
    }
}

thread_local! {
    /// Whether this thread runs its [`VCPU`].
    static RUNNING: Cell<bool> = const { Cell::new(false) };
    /// A handler has interrupted the run that is going on.
    static INTERRUPTED: Cell<bool> = const { Cell::new(false) };
    /// The thread's own signal mask, bit `n - 1` for signal `n`, while a vCPU's own is in force.
    static OWN_MASK: Cell<Option<u64>> = const { Cell::new(None) };
}

/// To be called from every handler of a signal on the thread that it was delivered to. Ends the
/// `KVM_RUN` that the thread is in, if any. Async-signal-safe.
pub fn interrupt(signal: i32) -> Disposition {
    if RUNNING.try_with(Cell::get) != Ok(true) {
        return Disposition::Deliver;
    }
    let kicked = VCPU.try_with(|vcpu| match vcpu.try_borrow().as_deref() {
        Ok(Some(peer)) => {
            let _ = INTERRUPTED.try_with(|interrupted| interrupted.set(true));
            peer.kick();
            true
        }
        _ => false,
    });
    if kicked != Ok(true) {
        return Disposition::Deliver;
    }
    let blocked = OWN_MASK.try_with(Cell::get).ok().flatten().unwrap_or(0);
    match signal {
        1..=64 if blocked >> (signal - 1) & 1 != 0 => Disposition::Defer,
        _ => Disposition::Deliver,
    }
}

/// A `KVM_RUN` on this thread, until it is dropped.
pub(crate) struct Running {
    restore: Option<u64>,
}

impl Running {
    /// Begins it: from here on signals reach the vCPU. `mask` is that of `KVM_SET_SIGNAL_MASK`.
    #[inline]
    pub(crate) fn begin(peer: &Peer, mask: Option<u64>) -> Running {
        note(peer);
        RUNNING.set(true);
        // A handler that interrupts what follows sees it.
        compiler_fence(Ordering::SeqCst);
        let restore = mask.map(|mask| {
            let own = mask::get();
            if let Some(catch) = CATCH.get() {
                let mut through = own & !mask;
                while through != 0 {
                    catch(through.trailing_zeros() as i32 + 1);
                    through &= through - 1;
                }
            }
            OWN_MASK.set(Some(own));
            mask::set(mask);
            own
        });
        Running { restore }
    }
}

impl Drop for Running {
    #[inline]
    fn drop(&mut self) {
        if let Some(own) = self.restore {
            mask::set(own);
            OWN_MASK.set(None);
        }
        compiler_fence(Ordering::SeqCst);
        RUNNING.set(false);
        // A signal that came too late to end this run was handled all the same, and is none for
        // the next.
        if INTERRUPTED.replace(false) {
            VCPU.with_borrow(|vcpu| {
                if let Some(peer) = vcpu {
                    peer.requests().take(EXIT);
                }
            });
        }
    }
}

/// The thread's signal mask, as the kernel's 64 bits.
mod mask {
    use std::mem::MaybeUninit;

    /// The thread's mask.
    pub(super) fn get() -> u64 {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the call only writes the set, which is plain bytes and was zeroed before.
        let set = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
            set.assume_init()
        };
        (1..=64).fold(0, |mask, signal| {
            // SAFETY: the set is initialised; for a number that is no signal this is -1.
            let member = unsafe { libc::sigismember(&set, signal) } == 1;
            mask | (member as u64) << (signal - 1)
        })
    }

    /// Sets the thread's mask. SIGKILL and SIGSTOP cannot be blocked, SIGSEGV and SIGBUS must not
    /// be: guest memory that is not there raises them.
    pub(super) fn set(mask: u64) {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initialises the set that the other calls then use.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in (1..=64).filter(|signal| mask >> (signal - 1) & 1 != 0) {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::sigdelset(set.as_mut_ptr(), libc::SIGSEGV);
            libc::sigdelset(set.as_mut_ptr(), libc::SIGBUS);
            libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
        }
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn round_trips() {
            std::thread::spawn(|| {
                super::set(1 << (libc::SIGUSR1 - 1) | 1 << (libc::SIGTERM - 1));
                assert_eq!(
                    super::get(),
                    1 << (libc::SIGUSR1 - 1) | 1 << (libc::SIGTERM - 1)
                );
                super::set(0);
                assert_eq!(super::get(), 0);
            })
            .join()
            .unwrap();
        }
    }
}
