//! Exceptions (Arm ARM D1.3): how they are taken to EL1, and how the guest returns from them.
//!
//! ```text
//!   undefined()  supervisor_call()  data_abort() ...          irq()  fiq()  serror()
//!        └───────────┬──────────────┘                                 │
//!              ESR_EL1, FAR_EL1                                       │
//!                    └──────────────► enter() ◄──────────────────────┘
//!                          SPSR_EL1 ◄ PSTATE, ELR_EL1 ◄ PC, PC ◄ VBAR_EL1 + vector
//!   exception_return():    PSTATE ◄ SPSR_EL1, PC ◄ ELR_EL1
//! ```
//!
//! Nothing else changes the exception level or the stack pointer in use. A function that takes an
//! exception gives the [`Stop`] to leave the instruction with; the preferred return address is
//! [`Cpu::pc`] unless its comment says otherwise.
//!
//! Syndromes are 64 bits wide from where they are made to where they are read (ESR-1):
//!
//! ```text
//!   63        37 36    32 31    26 25 24               0
//!  ┌────────────┬────────┬────────┬──┬──────────────────┐
//!  │    RES0    │  ISS2  │   EC   │IL│       ISS        │
//!  └────────────┴────────┴────────┴──┴──────────────────┘
//! ```

use crate::pauth::{self, Key};
use crate::state::pstate;
use crate::sysregs::Reg;
use crate::{Cpu, debug, insn, mmu, regs};
use understudy_engine::emit::Stop;
use understudy_engine::request::INTERRUPT;

/// Exception classes (ESR_ELx.EC). Where the manual has one for a lower and one for the same
/// exception level, the name is that of the lower, and the other is one more.
pub mod class {
    /// Unknown reason: an undefined instruction.
    pub const UNKNOWN: u64 = 0x00;
    /// Trapped WFI or WFE.
    pub const WFX: u64 = 0x01;
    /// Access to FP or Advanced SIMD trapped by CPACR_EL1.FPEN.
    pub const FP_ACCESS: u64 = 0x07;
    /// Branch Target Exception (FEAT_BTI).
    pub const BRANCH_TARGET: u64 = 0x0d;
    /// Illegal Execution state.
    pub const ILLEGAL_STATE: u64 = 0x0e;
    /// SVC in AArch64 state.
    pub const SVC64: u64 = 0x15;
    /// Trapped MSR, MRS or system instruction.
    pub const SYS64: u64 = 0x18;
    /// Instruction Abort.
    pub const INSTRUCTION_ABORT: u64 = 0x20;
    /// PC alignment fault.
    pub const PC_ALIGNMENT: u64 = 0x22;
    /// Data Abort.
    pub const DATA_ABORT: u64 = 0x24;
    /// SP alignment fault.
    pub const SP_ALIGNMENT: u64 = 0x26;
    /// Memory Copy or Memory Set instruction (FEAT_MOPS).
    pub const MOPS: u64 = 0x27;
    /// SError interrupt.
    pub const SERROR: u64 = 0x2f;
    /// Breakpoint.
    pub const BREAKPOINT: u64 = 0x30;
    /// Software Step.
    pub const SOFTWARE_STEP: u64 = 0x32;
    /// Watchpoint.
    pub const WATCHPOINT: u64 = 0x34;
    /// BRK in AArch64 state.
    pub const BRK64: u64 = 0x3c;
}

/// ESR_ELx.IL: the instruction is 32 bits long, or the length does not matter.
pub const IL: u64 = 1 << 25;

/// SCTLR_EL1.SPAN: PSTATE.PAN is left as it is by an exception.
const SCTLR_SPAN: u64 = 1 << 23;
/// SCTLR_EL1.DSSBS: PSTATE.SSBS after an exception.
const SCTLR_DSSBS: u64 = 1 << 44;

/// PSTATE.M: the exception level and stack pointer of SPSR_ELx.
const M_EL1H: u64 = 5;
const M_EL1T: u64 = 4;

/// ESR_ELx.ISS of a trapped instruction that is not conditional: CV set, COND 0b1110.
const UNCONDITIONAL: u64 = 1 << 24 | 0xe << 20;

/// Which of the four entries of a vector table (Arm ARM D1.3.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
enum Vector {
    Synchronous = 0x000,
    Irq = 0x080,
    Fiq = 0x100,
    SError = 0x180,
}

/// A syndrome: this class, instruction-specific part and IL set.
#[inline]
pub const fn syndrome(class: u64, iss: u64) -> u64 {
    class << 26 | IL | iss
}

/// A syndrome with the class for the exception level that the exception is taken from, given the
/// one for a lower level.
#[inline]
pub fn syndrome_from(cpu: &Cpu, lower: u64, iss: u64) -> u64 {
    syndrome(lower + (cpu.state.el == 1) as u64, iss)
}

/// PSTATE as SPSR_EL1 has it on an exception, and the KVM API in `regs.pstate`.
pub fn pstate(cpu: &Cpu) -> u64 {
    let state = &cpu.state;
    let m = match (state.el, state.spsel) {
        (0, _) => 0,
        (_, false) => M_EL1T,
        (_, true) => M_EL1H,
    };
    regs::nzcv(cpu) | state.pstate & pstate::HELD | m
}

/// Sets all of PSTATE, in the same form. The mode must be one of EL0, EL1t and EL1h.
pub fn set_pstate(cpu: &mut Cpu, value: u64) {
    regs::set_nzcv(cpu, value);
    cpu.state.pstate = value & held(cpu);
    let el = (value >> 2 & 3) as u8;
    set_level(cpu, el.min(1), el != 0 && value & 1 != 0);
    synchronize(cpu);
    branched(cpu);
    unmasked(cpu);
}

/// Where PSTATE.BTYPE is set, the next instruction is fetched anew, and so looked at.
fn branched(cpu: &mut Cpu) {
    if cpu.state.pstate & pstate::BTYPE != 0 {
        cpu.flush_fetches();
    }
}

/// An indirect branch to `target` whose kind the instruction there may not suit, or that has first to
/// be told of otherwise: goes there with PSTATE.BTYPE set.
pub fn branch_with_type(cpu: &mut Cpu, target: u64, kind: u64) -> Stop {
    cpu.pc = target;
    cpu.state.pstate |= kind << pstate::BTYPE_SHIFT & pstate::BTYPE;
    debug::step::branched(cpu);
    branched(cpu);
    Stop::Redirect
}

/// Branch Target exception: an instruction in a guarded page that PSTATE.BTYPE does not suit.
#[cold]
pub fn branch_target(cpu: &mut Cpu) -> Stop {
    let kind = (cpu.state.pstate & pstate::BTYPE) >> pstate::BTYPE_SHIFT;
    take(cpu, syndrome(class::BRANCH_TARGET, kind), None)
}

/// The bits of PSTATE beside the flags, level and stack pointer that the vCPU has.
fn held(cpu: &Cpu) -> u64 {
    pstate::HELD & !cpu.state.absent_pstate
}

/// The vCPU has lost bits of PSTATE: none of them stays set.
pub(crate) fn drop_absent(cpu: &mut Cpu) {
    cpu.state.pstate &= held(cpu);
}

/// Changes the bits of [`crate::state::State::pstate`] that are in `mask` (MSR to a field of
/// PSTATE).
pub fn change_pstate(cpu: &mut Cpu, mask: u64, value: u64) {
    let mask = mask & held(cpu);
    let before = cpu.state.pstate;
    cpu.state.pstate = before & !mask | value & mask;
    synchronize(cpu);
    if before & !cpu.state.pstate & (pstate::A | pstate::I | pstate::F) != 0 {
        unmasked(cpu);
    }
}

/// Selects the stack pointer (MSR SPSel), at EL1.
pub fn select_sp(cpu: &mut Cpu, own: bool) {
    let el = cpu.state.el;
    set_level(cpu, el, el != 0 && own);
}

/// Sets exception level and stack pointer, and exchanges the stack pointers accordingly.
fn set_level(cpu: &mut Cpu, el: u8, spsel: bool) {
    let bank = |own: bool| if own { regs::SP_EL1 } else { regs::SP_EL0 };
    if cpu.state.spsel != spsel {
        let current = cpu.slot(regs::SP);
        cpu.set_slot(bank(cpu.state.spsel), current);
        let next = cpu.slot(bank(spsel));
        cpu.set_slot(regs::SP, next);
    }
    cpu.state.el = el;
    cpu.state.spsel = spsel;
}

/// Brings up to date what is derived from the exception level, PSTATE, SCTLR_EL1 and CPACR_EL1: the
/// mode of blocks, the TLB contexts, whether instructions are stepped.
pub fn synchronize(cpu: &mut Cpu) {
    cpu.state.mmu.mode = mode(cpu);
    mmu::update_contexts(cpu);
    debug::step::update(cpu);
}

/// The mode of blocks, see [`insn::mode`].
fn mode(cpu: &Cpu) -> u32 {
    let sctlr = cpu.state.sys[Reg::SCTLR_EL1];
    let fpen = cpu.state.sys[Reg::CPACR_EL1] >> 20 & 3;
    let el1 = cpu.state.el == 1;
    let when = |condition: bool, bit: u32| if condition { bit } else { 0 };
    let bit = |el1_bit: u32, el0_bit: u32| sctlr >> if el1 { el1_bit } else { el0_bit } & 1 != 0;
    when(el1, insn::mode::EL1)
        | when(bit(25, 24), insn::mode::BIG_ENDIAN)
        | when(fpen & 1 == 0 || fpen == 1 && !el1, insn::mode::FP_TRAP)
        // Without translation all data is in Device memory, where every access must be aligned.
        | when(sctlr & 1 << 1 != 0 || sctlr & 1 == 0, insn::mode::ALIGNED)
        | when(cpu.state.pstate & pstate::IL != 0, insn::mode::ILLEGAL)
        | when(bit(3, 4), insn::mode::SP_ALIGNED)
        | when(el1 && cpu.state.pstate & pstate::UAO != 0, insn::mode::UAO)
        | when(cpu.state.absent_pstate & pstate::BTYPE == 0, insn::mode::BTI)
        | cpu.state.hidden_features
}

/// Asks for a look at the interrupts that are pending, as some are no longer masked.
fn unmasked(cpu: &mut Cpu) {
    if cpu.state.peer.lines() != 0 || cpu.state.interrupts.serror.is_some() {
        cpu.requests().post(INTERRUPT);
    }
}

/// Enters EL1 through a vector (AArch64.TakeException).
fn enter(cpu: &mut Cpu, vector: Vector) -> Stop {
    let spsr = pstate(cpu);
    let base = match (cpu.state.el, cpu.state.spsel) {
        (0, _) => 0x400,
        (_, true) => 0x200,
        (_, false) => 0,
    };
    let sctlr = cpu.state.sys[Reg::SCTLR_EL1];
    let sys = &mut cpu.state.sys;
    sys[Reg::SPSR_EL1] = spsr;
    sys[Reg::ELR_EL1] = cpu.pc;
    let pc = (sys[Reg::VBAR_EL1] & !0x7ff).wrapping_add(base + vector as u64);

    let kept = if sctlr & SCTLR_SPAN != 0 {
        spsr & pstate::PAN
    } else {
        pstate::PAN
    };
    let ssbs = if sctlr & SCTLR_DSSBS != 0 {
        pstate::SSBS
    } else {
        0
    };
    let kept = (kept | ssbs | spsr & pstate::DIT) & held(cpu);
    cpu.state.pstate = kept | pstate::D | pstate::A | pstate::I | pstate::F;
    set_level(cpu, 1, true);
    cpu.pc = pc;
    synchronize(cpu);
    debug::step::interrupted(cpu);
    Stop::Redirect
}

/// Takes a synchronous exception with this syndrome, and FAR_EL1 if the class has one.
#[cold]
pub fn take(cpu: &mut Cpu, esr: u64, far: Option<u64>) -> Stop {
    cpu.state.sys[Reg::ESR_EL1] = esr;
    if let Some(far) = far {
        cpu.state.sys[Reg::FAR_EL1] = far;
    }
    enter(cpu, Vector::Synchronous)
}

/// Takes the exception of an undefined instruction (EC 0, ESR-10).
#[cold]
pub fn undefined(cpu: &mut Cpu) -> Stop {
    take(cpu, syndrome(class::UNKNOWN, 0), None)
}

/// SVC. The preferred return address is the next instruction.
#[cold]
pub fn supervisor_call(cpu: &mut Cpu, imm: u16) -> Stop {
    cpu.pc = cpu.pc.wrapping_add(4);
    // A call counts as executed: the step that it was is over (SSAdvance).
    cpu.state.pstate &= !pstate::SS;
    take(cpu, syndrome(class::SVC64, imm as u64), None)
}

/// BRK: an exception whatever is masked or locked (OSL-21), to user space where it debugs (DBG-21).
#[cold]
pub fn software_breakpoint(cpu: &mut Cpu, imm: u16) -> Stop {
    debug::route(cpu, class::BRK64, imm as u64, None)
}

/// A Memory Copy or Memory Set instruction whose registers are of the other option, or of another
/// processor's prologue.
#[cold]
pub fn memory_operation(cpu: &mut Cpu, iss: u64) -> Stop {
    take(cpu, syndrome(class::MOPS, iss), None)
}

/// An instruction in Illegal Execution state.
#[cold]
pub fn illegal_state(cpu: &mut Cpu) -> Stop {
    take(cpu, syndrome(class::ILLEGAL_STATE, 0), None)
}

/// An instruction that CPACR_EL1.FPEN traps.
#[cold]
pub fn fp_access(cpu: &mut Cpu) -> Stop {
    take(cpu, syndrome(class::FP_ACCESS, UNCONDITIONAL), None)
}

/// WFI or, if `event`, WFE at EL0 that SCTLR_EL1.nTWI or nTWE traps.
#[cold]
pub fn wait_trapped(cpu: &mut Cpu, kind: u64, register: Option<u32>) -> Stop {
    /// RV: RN holds the register with the time.
    const RV: u64 = 1 << 2;
    let register = register.map_or(0, |n| (n as u64) << 5 | RV);
    take(
        cpu,
        syndrome(class::WFX, UNCONDITIONAL | register | kind),
        None,
    )
}

/// MSR, MRS or system instruction `word` at EL0 that a control of EL1 traps (EC 0x18).
#[cold]
pub fn system_trapped(cpu: &mut Cpu, word: u32) -> Stop {
    let field = |low: u32, count: u32| (word >> low & ((1 << count) - 1)) as u64;
    let iss = field(19, 2) << 20 // Op0
        | field(5, 3) << 17 // Op2
        | field(16, 3) << 14 // Op1
        | field(12, 4) << 10 // CRn
        | field(0, 5) << 5 // Rt
        | field(8, 4) << 1 // CRm
        | field(21, 1); // Direction
    take(cpu, syndrome(class::SYS64, iss), None)
}

/// SP is not a multiple of 16 where an address is based on it.
#[cold]
pub fn sp_alignment(cpu: &mut Cpu) -> Stop {
    take(cpu, syndrome(class::SP_ALIGNMENT, 0), None)
}

/// The PC is not a multiple of 4.
#[cold]
pub fn pc_alignment(cpu: &mut Cpu) -> Stop {
    let far = cpu.pc;
    take(cpu, syndrome(class::PC_ALIGNMENT, 0), Some(far))
}

/// Instruction Abort with this ISS.
#[cold]
pub fn instruction_abort(cpu: &mut Cpu, address: u64, iss: u64) -> Stop {
    let esr = syndrome_from(cpu, class::INSTRUCTION_ABORT, iss);
    take(cpu, esr, Some(address))
}

/// Data Abort with this ISS.
#[cold]
pub fn data_abort(cpu: &mut Cpu, address: u64, iss: u64) -> Stop {
    let esr = syndrome_from(cpu, class::DATA_ABORT, iss);
    take(cpu, esr, Some(address))
}

/// An IRQ, which is not masked.
pub fn irq(cpu: &mut Cpu) -> Stop {
    enter(cpu, Vector::Irq)
}

/// An FIQ, which is not masked.
pub fn fiq(cpu: &mut Cpu) -> Stop {
    enter(cpu, Vector::Fiq)
}

/// An SError interrupt, which is not masked, with this ISS.
pub fn serror(cpu: &mut Cpu, iss: u64) -> Stop {
    cpu.state.sys[Reg::ESR_EL1] = syndrome(class::SERROR, iss);
    enter(cpu, Vector::SError)
}

/// Whether a return with this SPSR_EL1 is illegal (IllegalExceptionReturn): to a level that is
/// above EL1, to AArch32, or to a mode there is not.
fn illegal_return(spsr: u64) -> bool {
    !matches!(spsr & 0x1f, 0 | M_EL1T | M_EL1H)
}

/// ERETAA and ERETAB at EL1: ELR_EL1 is authenticated.
pub fn authenticated_return(cpu: &mut Cpu, modifier: u64, key: Key) -> Stop {
    let target = cpu.state.sys[Reg::ELR_EL1];
    match pauth::authenticate(cpu, target, modifier, key) {
        Ok(target) => return_to(cpu, target),
        Err(stop) => stop,
    }
}

/// ERET at EL1.
pub fn exception_return(cpu: &mut Cpu) -> Stop {
    let target = cpu.state.sys[Reg::ELR_EL1];
    return_to(cpu, target)
}

/// AArch64.ExceptionReturn.
fn return_to(cpu: &mut Cpu, target: u64) -> Stop {
    let spsr = cpu.state.sys[Reg::SPSR_EL1];
    let before = cpu.state.pstate;
    let illegal = illegal_return(spsr);
    let el = if illegal { 1 } else { (spsr >> 2 & 1) as u8 };
    let ss = debug::step::after_return(cpu, spsr, el);

    regs::set_nzcv(cpu, spsr);
    cpu.set_slot(regs::MONITOR, regs::MONITOR_OPEN);
    // What an illegal return does not restore.
    let reinstated = pstate::PAN | pstate::D | pstate::A | pstate::I | pstate::F;
    let mut held = if illegal {
        let kept = pstate::UAO | pstate::DIT | pstate::SSBS;
        spsr & reinstated & held(cpu) | before & kept | pstate::IL
    } else {
        spsr & (held(cpu) & !pstate::SS)
    };
    if ss {
        held |= pstate::SS;
    }
    cpu.state.pstate = held;
    if !illegal {
        set_level(cpu, el, el == 1 && spsr & 1 != 0);
    }
    cpu.pc = target;
    synchronize(cpu);
    branched(cpu);
    debug::step::returned(cpu);
    if before & !held & (pstate::A | pstate::I | pstate::F) != 0 {
        unmasked(cpu);
    }
    Stop::Redirect
}

#[cfg(test)]
mod tests;
