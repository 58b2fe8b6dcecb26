//! The handler of SIGSEGV and SIGBUS, and what it looks up.
//!
//! Everything that it calls is async-signal-safe: it reads static tables and the interrupted
//! thread's registers, and takes no lock.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use libc::{c_int, c_void, sigaction, siginfo_t};

/// The type of libc's `sigaction` function.
pub type Sigaction =
    unsafe extern "C" fn(signal: c_int, act: *const sigaction, oldact: *mut sigaction) -> c_int;

/// The signals that a bad access raises.
const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

static INSTALL: Once = Once::new();

/// What each of [`SIGNALS`] did before us, or would do now if we were not there. Null until
/// installed; never freed, since a handler on another thread may be reading it.
static CHAINED: [AtomicPtr<sigaction>; 2] = [const { AtomicPtr::new(ptr::null_mut()) }; 2];

/// libc's `sigaction`, for the handler's own use.
static SIGACTION: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Installs the handler, once in the process. Done by [`crate::GuestMemory::new`]; to be called
/// before any other use of the accessors.
pub fn install() {
    install_with(libc::sigaction);
}

/// As [`install`], with a function that is libc's own `sigaction`: for a library that interposes
/// the name, and must call it first. The first call decides.
pub fn install_with(sigaction: Sigaction) {
    INSTALL.call_once(|| {
        SIGACTION.store(sigaction as *mut c_void, Ordering::Release);
        for (&signal, chained) in SIGNALS.iter().zip(&CHAINED) {
            let mut old = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: a zeroed `sigaction` is a valid one; `old` has room for one.
            unsafe {
                sigaction(signal, ptr::null(), old.as_mut_ptr());
                chained.store(
                    Box::into_raw(Box::new(old.assume_init())),
                    Ordering::Release,
                );

                set_handler(signal, &*chained.load(Ordering::Acquire));
            }
        }
    });
}

/// Makes [`handler`] the process's, under the conditions that the action it chains to asked for:
/// what is blocked meanwhile is the kernel's work.
///
/// # Safety
///
/// `SIGACTION` is set.
unsafe fn set_handler(signal: c_int, chained: &sigaction) {
    let asked = match chained.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => 0,
        _ => chained.sa_flags & (libc::SA_NODEFER | libc::SA_RESTART),
    };
    // SAFETY: a zeroed `sigaction` is a valid one; the caller's promise for the pointer.
    unsafe {
        let mut new: libc::sigaction = MaybeUninit::zeroed().assume_init();
        new.sa_sigaction = handler as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | asked;
        new.sa_mask = chained.sa_mask;
        let sigaction = SIGACTION.load(Ordering::Acquire);
        let sigaction = std::mem::transmute::<*mut c_void, Sigaction>(sigaction);
        sigaction(signal, &new, ptr::null_mut());
    }
}

fn index_of(signal: c_int) -> Option<usize> {
    SIGNALS.iter().position(|&s| s == signal)
}

/// What a fault that is none of ours leads to: the action that the program set for SIGSEGV or
/// SIGBUS. `None` for another signal, or before [`install`].
pub fn chained_action(signal: c_int) -> Option<sigaction> {
    let chained = CHAINED[index_of(signal)?].load(Ordering::Acquire);
    // SAFETY: either null or a box that is never freed.
    unsafe { chained.as_ref() }.copied()
}

/// Replaces that action, for a program that sets its own handler of SIGSEGV or SIGBUS after
/// [`install`]. Returns the one before; `None`, and nothing is done, where [`chained_action`] is.
pub fn set_chained_action(signal: c_int, action: sigaction) -> Option<sigaction> {
    let old = chained_action(signal)?;
    // The old box stays: a handler may be reading it. A program sets few handlers.
    CHAINED[index_of(signal)?].store(Box::into_raw(Box::new(action)), Ordering::Release);
    // SAFETY: there is a chained action only once `install_with` has set `SIGACTION`.
    unsafe { set_handler(signal, &action) };
    Some(old)
}

/// Unblocks SIGSEGV and SIGBUS for the calling thread, where a guest is about to run: the kernel
/// kills a thread that faults with the signal blocked, instead of calling the handler.
pub fn unblock_signals() {
    // SAFETY: `set` is initialised by `sigemptyset`.
    unsafe {
        let mut set = MaybeUninit::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        for signal in SIGNALS {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
    }
}

/// Code that is not in the exception table, but may fault on guest memory: what a compiler
/// emitted. Dropping it removes the range.
#[derive(Debug)]
pub struct CodeRange {
    slot: usize,
}

/// There is no room for another code range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many code ranges")]
pub struct TooManyCodeRanges;

struct RangeSlot {
    /// First address; 0 where the slot is free, [`CLAIMED`] while it is being filled.
    start: AtomicUsize,
    end: AtomicUsize,
    resume_at: AtomicUsize,
}

const CLAIMED: usize = usize::MAX;

static RANGES: [RangeSlot; 1024] = [const {
    RangeSlot {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        resume_at: AtomicUsize::new(0),
    }
}; 1024];

/// How many of [`RANGES`] were ever used.
static RANGES_USED: AtomicUsize = AtomicUsize::new(0);

/// Has faults of the code at `start..start + len` continue at `resume_at`, with the registers as
/// they were but two: on x86-64 RAX is the address of the instruction that faulted and RDX that of
/// the memory it wanted, on AArch64 X0 and X1.
///
/// # Errors
///
/// [`TooManyCodeRanges`] beyond 1,024 at a time.
///
/// # Safety
///
/// Until the range is dropped, the code there must be such that continuing at `resume_at` with its
/// stack and registers is sound, for each of its instructions that can fault.
pub unsafe fn register_code_range(
    start: *const u8,
    len: usize,
    resume_at: *const u8,
) -> Result<CodeRange, TooManyCodeRanges> {
    install();
    for (slot, range) in RANGES.iter().enumerate() {
        let claimed =
            range
                .start
                .compare_exchange(0, CLAIMED, Ordering::Acquire, Ordering::Relaxed);
        if claimed.is_ok() {
            range
                .end
                .store(start.addr().saturating_add(len), Ordering::Relaxed);
            range.resume_at.store(resume_at.addr(), Ordering::Relaxed);
            range.start.store(start.addr(), Ordering::Release);
            RANGES_USED.fetch_max(slot + 1, Ordering::Release);
            return Ok(CodeRange { slot });
        }
    }
    Err(TooManyCodeRanges)
}

impl Drop for CodeRange {
    fn drop(&mut self) {
        RANGES[self.slot].start.store(0, Ordering::Release);
    }
}

fn resume_of_range(pc: usize) -> Option<usize> {
    let used = RANGES_USED.load(Ordering::Acquire).min(RANGES.len());
    RANGES[..used].iter().find_map(|range| {
        let start = range.start.load(Ordering::Acquire);
        let inside = start != 0 && start <= pc && pc < range.end.load(Ordering::Relaxed);
        inside.then(|| range.resume_at.load(Ordering::Relaxed))
    })
}

/// One entry of the exception table: three addresses, each relative to where it stands.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[repr(C)]
struct Entry {
    start: i32,
    end: i32,
    fixup: i32,
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn fixup_of(pc: usize) -> Option<usize> {
    unsafe extern "C" {
        #[link_name = "__start_understudy_faults"]
        static START: Entry;
        #[link_name = "__stop_understudy_faults"]
        static STOP: Entry;
    }
    // The linker defines both symbols where the section exists: make sure that it does, also in a
    // program that inlined no accessor.
    // SAFETY: emits no instruction, and nothing into the section.
    unsafe {
        core::arch::asm!(
            ".pushsection understudy_faults, \"aR\", @progbits",
            ".popsection",
            options(nomem, nostack, preserves_flags)
        );
    }
    let absolute = |field: &i32| {
        ptr::from_ref(field)
            .addr()
            .wrapping_add_signed(*field as isize)
    };
    // SAFETY: the linker places the section's entries, and nothing else, between the two.
    let table = unsafe {
        let (start, stop) = (&raw const START, &raw const STOP);
        std::slice::from_raw_parts(start, (stop.addr() - start.addr()) / size_of::<Entry>())
    };
    table
        .iter()
        .find(|entry| absolute(&entry.start) <= pc && pc < absolute(&entry.end))
        .map(|entry| absolute(&entry.fixup))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn fixup_of(_: usize) -> Option<usize> {
    None
}

/// The interrupted thread's registers that a fault concerns.
#[cfg(target_arch = "x86_64")]
mod context {
    use libc::{c_void, ucontext_t};

    pub unsafe fn pc(context: *mut c_void) -> usize {
        // SAFETY: the kernel passes a `ucontext_t` to a handler with SA_SIGINFO.
        unsafe {
            (*context.cast::<ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] as usize
        }
    }

    pub unsafe fn set_pc(context: *mut c_void, pc: usize) {
        // SAFETY: as above.
        unsafe {
            (*context.cast::<ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] = pc as i64;
        }
    }

    pub unsafe fn set_arguments(context: *mut c_void, first: usize, second: usize) {
        // SAFETY: as above.
        unsafe {
            let registers = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
            registers[libc::REG_RAX as usize] = first as i64;
            registers[libc::REG_RDX as usize] = second as i64;
        }
    }
}

/// The interrupted thread's registers that a fault concerns.
#[cfg(target_arch = "aarch64")]
mod context {
    use libc::{c_void, ucontext_t};

    pub unsafe fn pc(context: *mut c_void) -> usize {
        // SAFETY: the kernel passes a `ucontext_t` to a handler with SA_SIGINFO.
        unsafe { (*context.cast::<ucontext_t>()).uc_mcontext.pc as usize }
    }

    pub unsafe fn set_pc(context: *mut c_void, pc: usize) {
        // SAFETY: as above.
        unsafe { (*context.cast::<ucontext_t>()).uc_mcontext.pc = pc as u64 };
    }

    pub unsafe fn set_arguments(context: *mut c_void, first: usize, second: usize) {
        // SAFETY: as above.
        unsafe {
            let registers = &mut (*context.cast::<ucontext_t>()).uc_mcontext.regs;
            registers[0] = first as u64;
            registers[1] = second as u64;
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod context {
    use libc::c_void;

    pub unsafe fn pc(_: *mut c_void) -> usize {
        0
    }

    pub unsafe fn set_pc(_: *mut c_void, _: usize) {}

    pub unsafe fn set_arguments(_: *mut c_void, _: usize, _: usize) {}
}

extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes both to a handler with SA_SIGINFO; `si_addr` is set where the
    // kernel itself raised these signals, which a positive code says.
    unsafe {
        let raised_by_kernel = (*info).si_code > 0;
        if raised_by_kernel {
            let pc = context::pc(context);
            if let Some(fixup) = fixup_of(pc) {
                return context::set_pc(context, fixup);
            }
            if let Some(resume_at) = resume_of_range(pc) {
                context::set_arguments(context, pc, (*info).si_addr().addr());
                return context::set_pc(context, resume_at);
            }
        }
        chain(signal, info, context, raised_by_kernel);
    }
}

/// Does what would have happened without us.
///
/// # Safety
///
/// The arguments are those of a signal handler with SA_SIGINFO.
unsafe fn chain(signal: c_int, info: *mut siginfo_t, context: *mut c_void, by_kernel: bool) {
    let action = chained_action(signal);
    let handler = action.map_or(libc::SIG_DFL, |action| action.sa_sigaction);
    match (handler, action) {
        (libc::SIG_IGN, _) if !by_kernel => {}
        (libc::SIG_DFL | libc::SIG_IGN, _) | (_, None) => {
            // The default action, taken as the instruction faults again; a signal that somebody
            // sent is sent again. (The kernel does not let a fault be ignored either.)
            // SAFETY: a zeroed action is the default one; the pointer is `install_with`'s.
            unsafe {
                let sigaction = SIGACTION.load(Ordering::Acquire);
                if !sigaction.is_null() {
                    let sigaction = std::mem::transmute::<*mut c_void, Sigaction>(sigaction);
                    let default: libc::sigaction = MaybeUninit::zeroed().assume_init();
                    sigaction(signal, &default, ptr::null_mut());
                }
                if !by_kernel {
                    libc::raise(signal);
                }
            }
        }
        (handler, Some(action)) if action.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: the program registered a function of this type with SA_SIGINFO.
            let handler = unsafe {
                std::mem::transmute::<usize, extern "C" fn(c_int, *mut siginfo_t, *mut c_void)>(
                    handler,
                )
            };
            handler(signal, info, context);
        }
        (handler, Some(_)) => {
            // SAFETY: the program registered a function of this type without SA_SIGINFO.
            let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
            handler(signal);
        }
    }
}
