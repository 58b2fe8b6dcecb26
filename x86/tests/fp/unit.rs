//! One SSE instruction on the host's processor, under a given MXCSR.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Registers around the instruction.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Data {
    pub xmm: [u128; 3],
    pub rax: u64,
    pub flags: u64,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    pub mxcsr: u32,
    /// It met an exception that is not masked.
    pub trapped: bool,
}

static LOCK: Mutex<()> = Mutex::new(());
/// Bytes of the instruction, for the handler.
static LENGTH: AtomicUsize = AtomicUsize::new(0);
static TRAPPED: AtomicBool = AtomicBool::new(false);

/// SIGFPE: masks everything and goes on after the instruction.
extern "C" fn skip(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    TRAPPED.store(true, Ordering::Relaxed);
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel gives a signal's handler its context, with the state of floating point.
    unsafe {
        (*context).uc_mcontext.gregs[libc::REG_RIP as usize] +=
            LENGTH.load(Ordering::Relaxed) as i64;
        (*(*context).uc_mcontext.fpregs).mxcsr |= 0x1f80;
    }
}

/// The host's SSE unit.
pub struct Unit {
    _lock: MutexGuard<'static, ()>,
    code: *mut u8,
    old: libc::sigaction,
    last: Vec<u8>,
}

const PAGE: usize = 4096;

impl Unit {
    pub fn new() -> Unit {
        let lock = LOCK.lock().unwrap_or_else(|e| e.into_inner());
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping.
        let code = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, -1, 0) };
        assert_ne!(code, libc::MAP_FAILED);
        // SAFETY: zeros are a valid sigaction; the handler only touches its context and two atomics.
        let old = unsafe {
            let mut new: libc::sigaction = std::mem::zeroed();
            new.sa_sigaction = skip as *const () as usize;
            new.sa_flags = libc::SA_SIGINFO;
            let mut old = std::mem::zeroed();
            assert_eq!(libc::sigaction(libc::SIGFPE, &new, &mut old), 0);
            old
        };
        Unit {
            _lock: lock,
            code: code.cast(),
            old,
            last: Vec::new(),
        }
    }

    /// Runs an instruction on XMM0 to XMM2 and RAX, which touches nothing else but flags.
    pub fn run(&mut self, instruction: &[u8], mxcsr: u32, mut data: Data) -> (Data, Status) {
        if self.last != instruction {
            self.last = instruction.to_vec();
            let mut code = Vec::new();
            // ldmxcsr [rdi]; movups xmm0..2, [rsi + 16 n]; mov rax, [rsi + 48]
            code.extend([0x0f, 0xae, 0x17, 0x0f, 0x10, 0x06, 0x0f, 0x10, 0x4e, 0x10]);
            code.extend([0x0f, 0x10, 0x56, 0x20, 0x48, 0x8b, 0x46, 0x30]);
            code.extend(instruction);
            // pushf; pop rcx; stmxcsr [rdi]; ldmxcsr [rdi + 4]
            code.extend([0x9c, 0x59, 0x0f, 0xae, 0x1f, 0x0f, 0xae, 0x57, 0x04]);
            // movups [rsi], xmm0; mov [rsi + 48], rax; mov [rsi + 56], rcx; ret
            code.extend([0x0f, 0x11, 0x06, 0x48, 0x89, 0x46, 0x30]);
            code.extend([0x48, 0x89, 0x4e, 0x38, 0xc3]);
            assert!(code.len() < PAGE);
            // SAFETY: the page is this value's own, and nothing runs in it now.
            unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), self.code, code.len()) };
        }
        LENGTH.store(instruction.len(), Ordering::Relaxed);
        TRAPPED.store(false, Ordering::Relaxed);
        let mut control = [mxcsr, 0x1f80];
        // SAFETY: the code above, which keeps to its two arguments and to registers that a call may
        // change, and sets MXCSR back. The lock keeps the statics for this thread.
        unsafe {
            let run: extern "C" fn(*mut [u32; 2], *mut Data) = std::mem::transmute(self.code);
            run(&mut control, &mut data);
        }
        let status = Status {
            mxcsr: control[0],
            trapped: TRAPPED.load(Ordering::Relaxed),
        };
        (data, status)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // SAFETY: the mapping and the handler of `new`.
        unsafe {
            libc::sigaction(libc::SIGFPE, &self.old, std::ptr::null_mut());
            libc::munmap(self.code.cast(), PAGE);
        }
    }
}
