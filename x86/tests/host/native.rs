//! Runs a few instructions on the host's own processor, at the addresses that the guest has them at.

use super::forms::Form;
use std::sync::{Mutex, MutexGuard};
use understudy_x86::testing::{CODE, CODE_SIZE, DATA, DATA_SIZE};

/// General-purpose registers, in the order of their numbers, and RFLAGS.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    pub gpr: [u64; 16],
    pub flags: u64,
}

/// What the code below works on.
#[repr(C)]
struct Frame {
    gpr: [u64; 16],
    flags: u64,
    code: u64,
    host_rsp: u64,
}

static mut FRAME: Frame = Frame {
    gpr: [0; 16],
    flags: 0,
    code: 0,
    host_rsp: 0,
};

static LOCK: Mutex<()> = Mutex::new(());

std::arch::global_asm!(
    // Loads flags and registers, and goes to the code, which comes back to `host_back` with all of
    // them as the code has left them. Neither touches memory but FRAME.
    ".globl understudy_host_run",
    "understudy_host_run:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rip + {frame} + 144], rsp",
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
    ".globl understudy_host_back",
    "understudy_host_back:",
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
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    frame = sym FRAME,
);

unsafe extern "C" {
    fn understudy_host_run();
    fn understudy_host_back();
}

/// The host's processor, with the guest's code and data mapped.
pub struct Host {
    _lock: MutexGuard<'static, ()>,
}

fn map(address: u64, size: u64, protection: i32) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let at = address as *mut libc::c_void;
    // SAFETY: the mapping replaces none.
    let mapped = unsafe { libc::mmap(at, size as usize, protection, flags, -1, 0) };
    assert_eq!(mapped, at, "the address is free in the host");
}

impl Host {
    pub fn new() -> Host {
        let lock = LOCK.lock().unwrap_or_else(|e| e.into_inner());
        let data = libc::PROT_READ | libc::PROT_WRITE;
        map(CODE, CODE_SIZE, data | libc::PROT_EXEC);
        map(DATA, DATA_SIZE, data);
        Host { _lock: lock }
    }

    /// Runs code that ends by falling off its end, and gives registers and data afterwards.
    pub fn run(&mut self, form: &Form, before: &Registers, data: &[u8]) -> (Registers, Vec<u8>) {
        // JMP to what stands after it.
        let mut code = form.code[..form.end as usize].to_vec();
        code.extend([0xff, 0x25, 0, 0, 0, 0]);
        code.extend((understudy_host_back as *const () as u64).to_le_bytes());
        let start = CODE + form.offset;
        assert!(code.len() < 256 && data.len() as u64 == DATA_SIZE);
        // SAFETY: both ranges are mapped and nobody else's; the lock keeps FRAME for this thread. The
        // code is a form of the list, of which none leaves the data and its own page, and none that
        // faults gets here.
        unsafe {
            std::ptr::copy_nonoverlapping(code.as_ptr(), start as *mut u8, code.len());
            std::ptr::copy_nonoverlapping(data.as_ptr(), DATA as *mut u8, data.len());
            let frame = &raw mut FRAME;
            (*frame).gpr = before.gpr;
            (*frame).flags = before.flags;
            (*frame).code = start;
            understudy_host_run();
            let after = Registers {
                gpr: (*frame).gpr,
                flags: (*frame).flags,
            };
            let mut memory = vec![0; data.len()];
            std::ptr::copy_nonoverlapping(DATA as *const u8, memory.as_mut_ptr(), memory.len());
            (after, memory)
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for (address, size) in [(CODE, CODE_SIZE), (DATA, DATA_SIZE)] {
            // SAFETY: what `new` has mapped, which nothing points into any more.
            unsafe { libc::munmap(address as *mut libc::c_void, size as usize) };
        }
    }
}
