//! What running guest code on the host's own processor takes: the guest's code and data at the
//! addresses that the guest has them at, and a routine that goes there with all general registers set.

use std::sync::{Mutex, MutexGuard};
use understudy_x86::testing::{CODE, CODE_SIZE, DATA, DATA_SIZE};

/// What a [`routine`] works on; the beginning of what its `frame` has.
#[repr(C)]
pub struct General {
    /// The general registers in the order of their numbers, before and afterwards.
    pub gpr: [u64; 16],
    /// RFLAGS.
    pub flags: u64,
    /// Where the code is.
    pub code: u64,
    /// The host's stack meanwhile.
    pub host_rsp: u64,
}

impl General {
    pub const ZERO: General = General {
        gpr: [0; 16],
        flags: 0,
        code: 0,
        host_rsp: 0,
    };
}

/// Defines the functions `$run`, which loads flags and registers of `$frame` and goes to its code, and
/// `$back`, where that code has to go: all registers are stored as it has left them, and `$run` returns.
/// Neither touches memory but `$frame`, where `$before` and `$after` can save and load more.
macro_rules! routine {
    ($run:ident, $back:ident, $frame:path, [$($before:literal)*], [$($after:literal)*]) => {
        std::arch::global_asm!(
            concat!(".globl ", stringify!($run)),
            concat!(stringify!($run), ":"),
            "push rbx",
            "push rbp",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "mov [rip + {frame} + 144], rsp",
            $($before,)*
            "push qword ptr [rip + {frame} + 128]",
            "popfq",
            "mov rax, [rip + {frame}]",
            "mov rcx, [rip + {frame} + 8]",
            "mov rdx, [rip + {frame} + 16]",
            "mov rbx, [rip + {frame} + 24]",
            "mov rsp, [rip + {frame} + 32]",
            "mov rbp, [rip + {frame} + 40]",
            "mov rsi, [rip + {frame} + 48]",
            "mov rdi, [rip + {frame} + 56]",
            "mov r8, [rip + {frame} + 64]",
            "mov r9, [rip + {frame} + 72]",
            "mov r10, [rip + {frame} + 80]",
            "mov r11, [rip + {frame} + 88]",
            "mov r12, [rip + {frame} + 96]",
            "mov r13, [rip + {frame} + 104]",
            "mov r14, [rip + {frame} + 112]",
            "mov r15, [rip + {frame} + 120]",
            "jmp qword ptr [rip + {frame} + 136]",
            concat!(".globl ", stringify!($back)),
            concat!(stringify!($back), ":"),
            "mov [rip + {frame}], rax",
            "mov [rip + {frame} + 8], rcx",
            "mov [rip + {frame} + 16], rdx",
            "mov [rip + {frame} + 24], rbx",
            "mov [rip + {frame} + 32], rsp",
            "mov [rip + {frame} + 40], rbp",
            "mov [rip + {frame} + 48], rsi",
            "mov [rip + {frame} + 56], rdi",
            "mov [rip + {frame} + 64], r8",
            "mov [rip + {frame} + 72], r9",
            "mov [rip + {frame} + 80], r10",
            "mov [rip + {frame} + 88], r11",
            "mov [rip + {frame} + 96], r12",
            "mov [rip + {frame} + 104], r13",
            "mov [rip + {frame} + 112], r14",
            "mov [rip + {frame} + 120], r15",
            "mov rsp, [rip + {frame} + 144]",
            "pushfq",
            "pop qword ptr [rip + {frame} + 128]",
            "cld",
            $($after,)*
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbp",
            "pop rbx",
            "ret",
            frame = sym $frame,
        );

        unsafe extern "C" {
            fn $run();
            fn $back();
        }
    };
}
pub(crate) use routine;

static LOCK: Mutex<()> = Mutex::new(());

/// The guest's code and data, mapped for this thread alone.
pub struct Mapped {
    _lock: MutexGuard<'static, ()>,
}

fn map(address: u64, size: u64, protection: i32) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let at = address as *mut libc::c_void;
    // SAFETY: the mapping replaces none.
    let mapped = unsafe { libc::mmap(at, size as usize, protection, flags, -1, 0) };
    assert_eq!(mapped, at, "the address is free in the host");
}

impl Mapped {
    pub fn new() -> Mapped {
        let lock = LOCK.lock().unwrap_or_else(|e| e.into_inner());
        let data = libc::PROT_READ | libc::PROT_WRITE;
        map(CODE, CODE_SIZE, data | libc::PROT_EXEC);
        map(DATA, DATA_SIZE, data);
        Mapped { _lock: lock }
    }

    /// Puts code at `start`, which goes to `back` behind its end, and fills the data.
    pub fn fill(&mut self, start: u64, code: &[u8], back: u64, data: &[u8]) {
        // JMP to what stands after it.
        let mut code = code.to_vec();
        code.extend([0xff, 0x25, 0, 0, 0, 0]);
        code.extend(back.to_le_bytes());
        assert!(start >= CODE && start + 256 <= CODE + CODE_SIZE);
        assert!(code.len() < 256 && data.len() as u64 == DATA_SIZE);
        // SAFETY: both ranges are mapped, and nobody else's while the lock is held.
        unsafe {
            std::ptr::copy_nonoverlapping(code.as_ptr(), start as *mut u8, code.len());
            std::ptr::copy_nonoverlapping(data.as_ptr(), DATA as *mut u8, data.len());
        }
    }

    /// The data.
    pub fn data(&self) -> Vec<u8> {
        let mut data = vec![0; DATA_SIZE as usize];
        // SAFETY: as above.
        unsafe {
            std::ptr::copy_nonoverlapping(DATA as *const u8, data.as_mut_ptr(), data.len());
        }
        data
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        for (address, size) in [(CODE, CODE_SIZE), (DATA, DATA_SIZE)] {
            // SAFETY: what `new` has mapped, which nothing points into any more.
            unsafe { libc::munmap(address as *mut libc::c_void, size as usize) };
        }
    }
}
