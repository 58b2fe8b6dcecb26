//! Runs an instruction on the host's own processor with all of the state that XSAVE knows, at the
//! addresses that the guest has it at. A fault is caught, and its vector given.

use std::sync::{Mutex, MutexGuard};
use understudy_x86::testing::{CODE, CODE_SIZE, DATA, DATA_SIZE};

/// What an instruction can read and write, memory aside.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub gpr: [u64; 16],
    pub flags: u64,
    pub mxcsr: u32,
    pub ymm: [[u64; 4]; 16],
    /// The registers of the x87 by number, significand and exponent.
    pub st: [(u64, u16); 8],
    pub top: u8,
    pub valid: u8,
}

/// XSAVE's area: legacy, header, upper halves (SDM vol. 1, 13.4).
#[repr(C, align(64))]
struct Area([u8; 1024]);

#[repr(C, align(64))]
struct Frame {
    gpr: [u64; 16],
    flags: u64,
    code: u64,
    host_rsp: u64,
    signal: u64,
    _pad: [u64; 4],
    before: Area,
    after: Area,
    host: Area,
}

static mut FRAME: Frame = Frame {
    gpr: [0; 16],
    flags: 0,
    code: 0,
    host_rsp: 0,
    signal: 0,
    _pad: [0; 4],
    before: Area([0; 1024]),
    after: Area([0; 1024]),
    host: Area([0; 1024]),
};

static LOCK: Mutex<()> = Mutex::new(());

std::arch::global_asm!(
    // As in host/native.rs, with XRSTOR before and XSAVE after. The areas are at 192, 1216 and 2240.
    ".globl understudy_simd_run",
    "understudy_simd_run:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rip + {frame} + 144], rsp",
    "mov eax, 7",
    "xor edx, edx",
    "xsave [rip + {frame} + 2240]",
    "xrstor [rip + {frame} + 192]",
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
    ".globl understudy_simd_back",
    "understudy_simd_back:",
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
    "mov eax, 7",
    "xor edx, edx",
    "xsave [rip + {frame} + 1216]",
    "xrstor [rip + {frame} + 2240]",
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
    fn understudy_simd_run();
    fn understudy_simd_back();
}

extern "C" fn caught(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a ucontext; FRAME is this thread's while code runs, which is the only
    // time that this is entered.
    unsafe {
        let frame = &raw mut FRAME;
        (*frame).signal = signal as u64;
        let context = context.cast::<libc::ucontext_t>();
        let rip = &mut (*context).uc_mcontext.gregs[libc::REG_RIP as usize];
        let code = CODE as i64..(CODE + CODE_SIZE) as i64;
        if !code.contains(rip) {
            libc::abort();
        }
        *rip = understudy_simd_back as *const () as i64;
    }
}

/// The host's processor, with the guest's code and data mapped.
pub struct Host {
    _lock: MutexGuard<'static, ()>,
    _stack: Vec<u8>,
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
        let mut stack = vec![0; 1 << 16];
        // SAFETY: the stack lives as long as `Host`, which stays in this thread (it holds a guard); the
        // handler leaves this process or goes on at code of ours.
        unsafe {
            let alternative = libc::stack_t {
                ss_sp: stack.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: stack.len(),
            };
            assert_eq!(libc::sigaltstack(&alternative, std::ptr::null_mut()), 0);
            for signal in [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGBUS] {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = caught as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
            }
        }
        Host {
            _lock: lock,
            _stack: stack,
        }
    }

    /// Runs code that ends by falling off its end. Gives what there is afterwards, and the vector of the
    /// exception, if there was one.
    pub fn run(
        &mut self,
        code: &[u8],
        before: &State,
        data: &[u8],
    ) -> (State, Vec<u8>, Option<u8>) {
        // JMP to what stands after it.
        let mut code = code.to_vec();
        code.extend([0xff, 0x25, 0, 0, 0, 0]);
        code.extend((understudy_simd_back as *const () as u64).to_le_bytes());
        assert!(code.len() < 256 && data.len() as u64 == DATA_SIZE);
        // SAFETY: both ranges are mapped and nobody else's; the lock keeps FRAME for this thread. The
        // code is of the list of forms, of which none leaves the data.
        unsafe {
            std::ptr::copy_nonoverlapping(code.as_ptr(), CODE as *mut u8, code.len());
            std::ptr::copy_nonoverlapping(data.as_ptr(), DATA as *mut u8, data.len());
            let frame = &raw mut FRAME;
            (*frame).gpr = before.gpr;
            (*frame).flags = before.flags;
            (*frame).code = CODE;
            (*frame).signal = 0;
            (*frame).before = area(before);
            (*frame).after = Area([0; 1024]);
            (*frame).host = Area([0; 1024]);
            understudy_simd_run();
            let vector = match (*frame).signal as i32 {
                0 => None,
                libc::SIGFPE => Some(19),
                libc::SIGILL => Some(6),
                libc::SIGSEGV => Some(13),
                other => Some(other as u8),
            };
            let mut after = state(&(*frame).after);
            after.gpr = (*frame).gpr;
            after.flags = (*frame).flags;
            let mut memory = vec![0; data.len()];
            std::ptr::copy_nonoverlapping(DATA as *const u8, memory.as_mut_ptr(), memory.len());
            (after, memory, vector)
        }
    }
}

fn area(state: &State) -> Area {
    let mut area = Area([0; 1024]);
    let mut put = |at: usize, bytes: &[u8]| area.0[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &0x37fu16.to_le_bytes());
    put(2, &(u16::from(state.top) << 11).to_le_bytes());
    put(4, &[state.valid]);
    put(24, &state.mxcsr.to_le_bytes());
    for i in 0..8 {
        let (significand, exponent) = state.st[(usize::from(state.top) + i) & 7];
        put(32 + 16 * i, &significand.to_le_bytes());
        put(40 + 16 * i, &exponent.to_le_bytes());
    }
    for (i, ymm) in state.ymm.iter().enumerate() {
        for (k, value) in ymm.iter().enumerate() {
            let at = if k < 2 { 160 } else { 576 - 16 };
            put(at + 16 * i + 8 * k, &value.to_le_bytes());
        }
    }
    put(512, &7u64.to_le_bytes());
    area
}

fn state(area: &Area) -> State {
    let u64_at = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&area.0[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let status = u64_at(0) >> 16;
    let top = (status >> 11 & 7) as u8;
    let mut st = [(0, 0); 8];
    for i in 0..8 {
        let value = (u64_at(32 + 16 * i), u64_at(40 + 16 * i) as u16);
        st[(usize::from(top) + i) & 7] = value;
    }
    let slot = |i: usize, k: usize| {
        let at = if k < 2 { 160 } else { 576 - 16 };
        u64_at(at + 16 * i + 8 * k)
    };
    State {
        gpr: [0; 16],
        flags: 0,
        mxcsr: u64_at(24) as u32,
        ymm: std::array::from_fn(|i| std::array::from_fn(|k| slot(i, k))),
        st,
        top,
        valid: area.0[4],
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
