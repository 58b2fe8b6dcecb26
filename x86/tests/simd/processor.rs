//! Runs an instruction on the host's own processor with all of the state that XSAVE knows, at the
//! addresses that the guest has it at. A fault is caught, and its vector given.

use super::native::{General, Mapped, routine};
use understudy_x86::testing::{CODE, CODE_SIZE};

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
    general: General,
    signal: u64,
    _pad: [u64; 4],
    before: Area,
    after: Area,
    host: Area,
}

static mut FRAME: Frame = Frame {
    general: General::ZERO,
    signal: 0,
    _pad: [0; 4],
    before: Area([0; 1024]),
    after: Area([0; 1024]),
    host: Area([0; 1024]),
};

// The areas are at 192, 1216 and 2240.
routine!(
    understudy_simd_run,
    understudy_simd_back,
    FRAME,
    [
        "mov eax, 7"
        "xor edx, edx"
        "xsave [rip + {frame} + 2240]"
        "xrstor [rip + {frame} + 192]"
    ],
    [
        "mov eax, 7"
        "xor edx, edx"
        "xsave [rip + {frame} + 1216]"
        "xrstor [rip + {frame} + 2240]"
    ]
);

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
    mapped: Mapped,
    _stack: Vec<u8>,
}

impl Host {
    pub fn new() -> Host {
        let mapped = Mapped::new();
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
            mapped,
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
        let back = understudy_simd_back as *const () as u64;
        self.mapped.fill(CODE, code, back, data);
        // SAFETY: the mapping keeps FRAME for this thread. The code is of the list of forms, of which none
        // leaves the data; the handler of signals goes on behind what faults.
        unsafe {
            let frame = &raw mut FRAME;
            (*frame).general.gpr = before.gpr;
            (*frame).general.flags = before.flags;
            (*frame).general.code = CODE;
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
            after.gpr = (*frame).general.gpr;
            after.flags = (*frame).general.flags;
            (after, self.mapped.data(), vector)
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
