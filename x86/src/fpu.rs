//! The x87's registers, which are MMX's too (SDM vol. 1, 8.1 and 9.2; AMD APM vol. 1, 6.2), and
//! what has to be so that floating point may be used at all (SDM vol. 3A, 2.5 and 13.1).
//!
//! ```text
//!   st[0..8]  R0 to R7, in the order in which they are; ST(n) is R((top + n) mod 8), MMn is Rn's
//!             significand
//! ```

use crate::fp::F80;
use crate::insn::mode;
use crate::{Cpu, state};

/// Bits of the status word (SDM vol. 1, figure 8-4).
pub mod fsw {
    /// The six exceptions.
    pub const EXCEPTIONS: u16 = 0x3f;
    /// Of an invalid operation: the stack's fault.
    pub const SF: u16 = 1 << 6;
    /// An exception is not masked.
    pub const ES: u16 = 1 << 7;
    /// Condition code 0.
    pub const C0: u16 = 1 << 8;
    /// Condition code 1: rounded up, or the stack's overflow.
    pub const C1: u16 = 1 << 9;
    /// Condition code 2.
    pub const C2: u16 = 1 << 10;
    /// The lowest bit of TOP.
    pub const TOP_SHIFT: u32 = 11;
    /// TOP.
    pub const TOP: u16 = 7 << TOP_SHIFT;
    /// Condition code 3.
    pub const C3: u16 = 1 << 14;
    /// Busy: the same as ES.
    pub const B: u16 = 1 << 15;
    /// The condition codes.
    pub const CODES: u16 = C0 | C1 | C2 | C3;
}

/// The x87's registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fpu {
    /// R0 to R7.
    pub st: [F80; 8],
    /// Which of them is ST(0).
    pub top: u8,
    /// Which are not empty, a bit each.
    pub valid: u8,
    /// FCW.
    pub control: u16,
    /// FSW without TOP, ES and B.
    pub status: u16,
    /// FOP: the low three bits of the first byte of the opcode, and the second.
    pub opcode: u16,
    /// FIP: the offset of the last instruction that is no control instruction.
    pub ip: u64,
    /// FDP: the offset of the last operand in memory.
    pub dp: u64,
    /// FCS: the code segment's selector then.
    pub cs: u16,
    /// FDS: the selector of the operand's segment.
    pub ds: u16,
}

impl Default for Fpu {
    /// As FNINIT leaves them, all zero, which is how KVM makes a vCPU.
    fn default() -> Fpu {
        Fpu {
            st: [F80::default(); 8],
            top: 0,
            valid: 0,
            control: 0x37f,
            status: 0,
            opcode: 0,
            ip: 0,
            dp: 0,
            cs: 0,
            ds: 0,
        }
    }
}

/// Bits of FCW that can be set; the one of them that always is, is 0x40.
pub const CONTROL_MASK: u16 = 0x1f7f;

impl Fpu {
    /// FNINIT (SDM vol. 2, FINIT): what the registers hold stays.
    pub fn init(&mut self) {
        *self = Fpu {
            st: self.st,
            ..Fpu::default()
        };
    }

    /// The number of the register that is ST(n).
    #[inline]
    pub const fn index(&self, n: u8) -> usize {
        (self.top.wrapping_add(n) & 7) as usize
    }

    /// Whether an exception is not masked: FSW.ES.
    #[inline]
    pub const fn pending(&self) -> bool {
        self.status & !self.control & fsw::EXCEPTIONS != 0
    }

    /// FSW.
    pub const fn status_word(&self) -> u16 {
        let summary = if self.pending() { fsw::ES | fsw::B } else { 0 };
        self.status | summary | (self.top as u16 & 7) << fsw::TOP_SHIFT
    }

    /// Sets FSW. ES and B follow from the rest.
    pub const fn set_status_word(&mut self, value: u16) {
        self.status = value & !(fsw::TOP | fsw::ES | fsw::B);
        self.top = (value >> fsw::TOP_SHIFT & 7) as u8;
    }

    /// Sets FCW.
    pub const fn set_control_word(&mut self, value: u16) {
        self.control = value & CONTROL_MASK | 0x40;
    }

    /// ST(n), if it is not empty.
    #[inline]
    pub const fn get(&self, n: u8) -> Option<F80> {
        let index = self.index(n);
        if self.valid >> index & 1 != 0 {
            Some(self.st[index])
        } else {
            None
        }
    }

    /// Sets ST(n), which is not empty then.
    #[inline]
    pub const fn set(&mut self, n: u8, value: F80) {
        let index = self.index(n);
        self.st[index] = value;
        self.valid |= 1 << index;
    }

    /// Makes ST(n) empty.
    #[inline]
    pub const fn free(&mut self, n: u8) {
        self.valid &= !(1 << self.index(n));
    }

    /// Pops the stack so many times.
    #[inline]
    pub const fn pop(&mut self, times: u8) {
        let mut left = times;
        while left != 0 {
            self.free(0);
            self.top = self.top.wrapping_add(1) & 7;
            left -= 1;
        }
    }

    /// Pushes a value onto the stack, over whatever is there.
    #[inline]
    pub const fn push(&mut self, value: F80) {
        self.top = self.top.wrapping_sub(1) & 7;
        self.set(0, value);
    }

    /// Sets those condition codes of `mask` that `value` has, and clears the others.
    #[inline]
    pub const fn set_codes(&mut self, mask: u16, value: u16) {
        self.status = self.status & !mask | value & mask;
    }

    /// Whether an invalid operation is masked.
    #[inline]
    pub const fn masks_invalid(&self) -> bool {
        self.control & 1 != 0
    }

    /// The stack's fault, an underflow or an overflow. Gives whether it is masked (SDM vol. 1,
    /// 8.5.1.1).
    pub const fn stack_fault(&mut self, overflow: bool) -> bool {
        self.status |= fsw::SF | crate::fp::IE as u16;
        self.set_codes(fsw::C1, if overflow { fsw::C1 } else { 0 });
        self.masks_invalid()
    }

    /// The tag word: two bits a register, as FNSTENV computes them (SDM vol. 1, figure 8-7).
    pub fn tag_word(&self) -> u16 {
        (0..8).fold(0, |word, n| {
            let value = self.st[n as usize];
            let tag = if self.valid >> n & 1 == 0 {
                3
            } else if value.significand == 0 && value.exponent() == 0 {
                1
            } else if matches!(value.exponent(), 0 | 0x7fff) || value.significand >> 63 == 0 {
                2
            } else {
                0
            };
            word | tag << (2 * n)
        })
    }

    /// Sets which registers are empty from a tag word.
    pub fn set_tag_word(&mut self, word: u16) {
        self.valid = (0..8).fold(0, |valid, n| {
            let empty = word >> (2 * n) & 3 == 3;
            valid | (!empty as u8) << n
        });
    }

    /// MMn.
    #[inline]
    pub const fn mmx(&self, n: u8) -> u64 {
        self.st[(n & 7) as usize].significand
    }

    /// Sets MMn. [`Fpu::enter_mmx`] is the caller's.
    #[inline]
    pub const fn set_mmx(&mut self, n: u8, value: u64) {
        self.st[(n & 7) as usize] = F80 {
            significand: value,
            sign_exponent: 0xffff,
        };
    }

    /// What every instruction of MMX does, but EMMS: TOP is 0, and no register is empty (SDM vol. 1,
    /// 9.5.1).
    #[inline]
    pub const fn enter_mmx(&mut self) {
        self.top = 0;
        self.valid = 0xff;
    }

    /// EMMS: every register is empty.
    #[inline]
    pub const fn leave_mmx(&mut self) {
        self.top = 0;
        self.valid = 0;
    }
}

/// To be called when [`Fpu::pending`] may have changed, by a helper that may stop: it is part of the
/// mode of blocks, so that instructions which do not meet an exception pay nothing for it.
#[inline]
pub fn update_pending(cpu: &mut Cpu) {
    let waits = state::x87_waits(&cpu.state);
    if waits != (cpu.state.mode & mode::X87_PENDING != 0) {
        state::changed(cpu);
        cpu.leave_after_insn();
    }
}

/// What instructions of a kind need of CR0, CR4 and XCR0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// The x87.
    X87,
    /// The x87's instructions that do not wait: FNINIT, FNCLEX, FNSTCW, FNSTSW, FNSTENV, FNSAVE.
    X87NoWait,
    /// FWAIT.
    Wait,
    /// MMX.
    Mmx,
    /// SSE.
    Sse,
    /// SSE with an operand of MMX.
    SseMmx,
    /// AVX.
    Avx,
    /// FXSAVE and FXRSTOR.
    Fxsave,
    /// The XSAVE family, but XGETBV and XSETBV.
    Xsave,
}

/// The exception that an instruction gives in this mode instead of being executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// #UD.
    Undefined,
    /// #NM.
    NotAvailable,
    /// #MF: an exception of an earlier instruction waits.
    Pending,
}

/// Whether instructions of this kind can be executed in this mode; what instead, if not (SDM vol. 3A,
/// 2.5 and 13.1; vol. 1, 13.5.1 and 14.5; vol. 2, table 2-22).
pub const fn refusal(mode: u32, needs: Needs) -> Option<Refusal> {
    const fn on(mode: u32, bits: u32) -> bool {
        mode & bits != 0
    }
    let task = on(mode, mode::TS);
    let emulated = on(mode, mode::EM);
    let (undefined, absent, waits) = match needs {
        Needs::X87 => (false, emulated || task, true),
        Needs::X87NoWait => (false, emulated || task, false),
        Needs::Wait => (false, on(mode, mode::MP) && task, true),
        Needs::Mmx => (emulated, task, true),
        Needs::Sse => (emulated || !on(mode, mode::FXSR), task, false),
        Needs::SseMmx => (emulated || !on(mode, mode::FXSR), task, true),
        Needs::Avx => (
            !on(mode, mode::AVX) || !on(mode, mode::PROTECTED),
            task,
            false,
        ),
        Needs::Fxsave => (false, emulated || task, false),
        Needs::Xsave => (!on(mode, mode::XSAVE), task, false),
    };
    if undefined {
        Some(Refusal::Undefined)
    } else if absent {
        Some(Refusal::NotAvailable)
    } else if waits && on(mode, mode::X87_PENDING) {
        Some(Refusal::Pending)
    } else {
        None
    }
}
