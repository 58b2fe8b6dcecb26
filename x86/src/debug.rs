//! Debug registers, breakpoints and single stepping (SDM vol. 3B, chapter 18; AMD APM vol. 2, 13.1), and
//! guest debug as `KVM_SET_GUEST_DEBUG` asks for it.
//!
//! ```text
//!   registers.rs     MOV DR, DR6, DR7                    guest.rs   what user space asks for
//!         └──────────────┬────────────────────────────────────┘
//!                        ▼
//!   breakpoints.rs   those in force: DR0 to DR3 and DR7, or user space's
//!                        │
//!   code: the page is marked, its instructions are run one at a time
//!   data: the page is kept out of the TLB; an instruction that touches it is begun again, by itself
//!                        ▼
//!   after_insn: one #DB for all that the instruction has caused
//! ```
//!
//! Nothing of this is asked for by instructions as long as it is not used. What is run by itself goes
//! through `before_insn` and `after_insn`: whatever runs while TF or RF is set, in a page with an
//! instruction breakpoint, or begun again for a data breakpoint.

pub(crate) mod breakpoints;
pub mod guest;
pub mod registers;

use crate::exceptions::{self, Event, Kind, vector};
use crate::exit::{DebugExit, Exit};
use crate::interrupts::Shadow;
use crate::regs::flag;
use crate::{Cpu, mp, state, vcpu};
use breakpoints::Breakpoints;
use guest::{GuestDebug, control};
use registers::{DR6, DR7};
use understudy_engine::emit::Stop;

/// DR6: MOV DR was stopped by DR7.GD.
pub(crate) const BD: u64 = 1 << 13;
/// DR6: a single step.
pub(crate) const BS: u64 = 1 << 14;

/// Who runs an instruction on a machine with KVM/AMD. It decides what a debug exit says of DR7, and
/// whether stepping goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ran {
    /// The processor.
    Cpu,
    /// KVM, which then skips it.
    Kvm,
    /// KVM's instruction emulator, which writes RFLAGS as it believes them to be.
    Emulator,
}

/// What this part keeps of a vCPU.
#[derive(Clone, Copy, Debug)]
pub struct DebugState {
    /// DR0 to DR3, as the guest has them.
    pub db: [u64; 4],
    /// DR6, as the guest has it.
    pub dr6: u64,
    /// DR7, as the guest has it. [`registers::set`] is to be used.
    pub dr7: u64,
    /// What user space asks for.
    pub(crate) guest: GuestDebug,
    /// The breakpoints in force, derived ([`breakpoints::update`]).
    pub(crate) breakpoints: Breakpoints,
    /// Linear RIP when user space asked for single steps.
    step_rip: u64,
    /// TF was set when the instruction at hand began.
    armed: bool,
    /// RF was.
    resuming: bool,
    /// An instruction is being run by itself.
    inside: bool,
    /// The next one is to be.
    alone: bool,
    /// Where it began.
    start: u64,
    /// Breakpoints that it has met, as in DR6.
    hits: u64,
    /// Those met by the load of SS before it.
    carried: u64,
    /// Who runs it.
    ran: Ran,
    /// The instruction that user space has completed was stepped.
    completed: bool,
    /// A repeated string instruction that has begun stands here.
    unfinished: Option<u64>,
}

impl Default for DebugState {
    fn default() -> DebugState {
        DebugState {
            db: [0; 4],
            dr6: DR6,
            dr7: DR7,
            guest: GuestDebug::default(),
            breakpoints: Breakpoints::default(),
            step_rip: 0,
            armed: false,
            resuming: false,
            inside: false,
            alone: false,
            start: 0,
            hits: 0,
            carried: 0,
            ran: Ran::Cpu,
            completed: false,
            unfinished: None,
        }
    }
}

/// Whether instructions are run one at a time.
#[inline(always)]
pub(crate) fn stepping(cpu: &Cpu) -> bool {
    cpu.state.rflags & (flag::TF | flag::RF) != 0 || cpu.state.debug.alone
}

/// Whether a repeated string instruction is left after each element: there may be a trap.
pub(crate) fn traps(cpu: &Cpu) -> bool {
    cpu.state.rflags & flag::TF != 0 || cpu.state.debug.hits != 0
}

/// Before an instruction that is run by itself: takes the breakpoint that is on it.
pub(crate) fn before_insn(cpu: &mut Cpu) -> Result<(), Stop> {
    breakpoints::code(cpu)?;
    let (flags, pc) = (cpu.state.rflags, cpu.pc);
    let debug = &mut cpu.state.debug;
    debug.armed = flags & flag::TF != 0;
    debug.resuming = flags & flag::RF != 0;
    debug.hits = std::mem::take(&mut debug.carried);
    debug.ran = Ran::Cpu;
    debug.start = pc;
    debug.inside = true;
    Ok(())
}

/// An exception or interrupt has been delivered, or SYSCALL has cleared TF: there is no trap.
pub(crate) fn disarm(cpu: &mut Cpu) {
    let debug = &mut cpu.state.debug;
    debug.armed = false;
    debug.resuming = false;
    debug.hits = 0;
    debug.carried = 0;
    debug.unfinished = None;
}

/// RF has been set for the next instruction.
pub(crate) fn keep_resuming(cpu: &mut Cpu) {
    cpu.state.debug.resuming = false;
}

/// A repeated string instruction is left with elements still to do: what interrupts it pushes RF, as
/// its breakpoint has been met (SDM vol. 3B, 18.3.1.1).
pub(crate) fn unfinished(cpu: &mut Cpu) {
    let pc = cpu.pc;
    let debug = &mut cpu.state.debug;
    debug.resuming = false;
    debug.unfinished = debug.breakpoints.code.then_some(pc);
}

/// Whether RF is pushed for such an instruction.
pub(crate) fn is_unfinished(cpu: &Cpu) -> bool {
    cpu.state.debug.unfinished == Some(cpu.pc)
}

/// The instruction at hand is one that KVM intercepts and runs itself.
pub(crate) fn by_kvm(cpu: &mut Cpu) {
    cpu.state.debug.ran = Ran::Kvm;
}

/// The instruction at hand is one that KVM's emulator runs: it stops behind it as long as user space
/// asks for single steps, whatever TF is, and what it accesses meets no data breakpoint.
pub(crate) fn by_emulator(cpu: &mut Cpu) -> Result<(), Stop> {
    let asked = cpu.state.debug.guest.has(control::SINGLESTEP);
    if asked {
        by_itself(cpu)?;
        cpu.state.debug.armed = true;
    }
    cpu.state.debug.ran = Ran::Emulator;
    cpu.state.debug.hits = 0;
    Ok(())
}

/// The emulator leaves for user space behind the instruction, and so does not stop for the step.
pub(crate) fn emulator_left(cpu: &mut Cpu) {
    if cpu.state.debug.guest.has(control::SINGLESTEP) {
        cpu.state.debug.armed = false;
        forget_step(cpu);
    }
}

/// The same, but the instruction is not over yet: it has written to a device.
pub(crate) fn device_written(cpu: &mut Cpu) {
    if cpu.state.debug.guest.has(control::SINGLESTEP) {
        cpu.state.debug.armed = false;
    }
}

/// Has the instruction at hand begun again, by itself, if it is not already.
pub(crate) fn by_itself(cpu: &mut Cpu) -> Result<(), Stop> {
    let debug = &mut cpu.state.debug;
    if debug.inside {
        return Ok(());
    }
    debug.alone = true;
    Err(Stop::Redirect)
}

/// After an instruction that was run by itself.
pub(crate) fn after_insn(cpu: &mut Cpu, stop: Option<Stop>) {
    let pc = cpu.pc;
    let debug = &mut cpu.state.debug;
    let armed = std::mem::take(&mut debug.armed);
    let resuming = std::mem::take(&mut debug.resuming);
    let hits = std::mem::take(&mut debug.hits);
    debug.inside = false;
    debug.alone = false;
    let left = stop == Some(Stop::Exit);
    if resuming && !(left && pc == debug.start) {
        cpu.state.rflags &= !flag::RF;
    }
    // One that has left is completed by user space.
    if left {
        return;
    }
    if cpu.state.interrupts.shadow == Shadow::MovSs {
        cpu.state.debug.carried = hits;
        return;
    }
    let bits = hits | if armed { BS } else { 0 };
    let emulated = cpu.state.debug.ran == Ran::Emulator;
    if bits != 0 && trap(cpu, bits) == Stop::Exit {
        vcpu::leave(cpu);
    }
    // The emulator has hidden TF from itself, and sets it again only where stepping began.
    if emulated && cpu.state.debug.guest.has(control::SINGLESTEP) {
        forget_step(cpu);
    }
}

/// TF is gone, unless the vCPU is where single steps were asked for.
fn forget_step(cpu: &mut Cpu) {
    if cpu.pc != cpu.state.debug.step_rip {
        cpu.state.rflags &= !flag::TF;
    }
}

/// A fault is about to be raised at the instruction at hand. Those that KVM raises itself, as it runs the
/// instruction or intercepts the fault, push RFLAGS as the emulator leaves it.
pub(crate) fn fault(cpu: &mut Cpu, vector: u8) {
    let debug = &cpu.state.debug;
    let by_kvm = vector == vector::UD || debug.inside && debug.ran != Ran::Cpu;
    if by_kvm {
        injected(cpu);
    }
}

/// KVM injects a fault, with RF set in RFLAGS as user space would see it.
pub(crate) fn injected(cpu: &mut Cpu) {
    if cpu.state.debug.guest.has(control::SINGLESTEP) {
        forget_step(cpu);
    }
}

/// User space has completed an access of a port, or of a model-specific register.
pub(crate) fn completed(cpu: &mut Cpu) {
    cpu.state.rflags &= !flag::RF;
    cpu.state.debug.ran = Ran::Kvm;
    cpu.state.debug.completed = cpu.state.rflags & flag::TF != 0;
}

/// An access of a port is over before user space is told of it. A step of user space's takes the place of
/// that exit, and the access is lost, as in KVM.
pub(crate) fn completed_early(cpu: &mut Cpu) {
    completed(cpu);
    if cpu.state.debug.guest.has(control::SINGLESTEP)
        && std::mem::take(&mut cpu.state.debug.completed)
    {
        cpu.state.exit = None;
        trap(cpu, BS);
    }
}

/// User space has taken an element of an OUTS. Of user space's own steps there is none here.
pub(crate) fn element_completed(cpu: &mut Cpu) {
    let flags = cpu.state.rflags;
    if !cpu.state.debug.guest.has(control::SINGLESTEP) {
        completed(cpu);
        cpu.state.rflags = flags;
    }
}

/// INT1, which [`Cpu::pc`] is past.
pub(crate) fn int1(cpu: &mut Cpu) -> Stop {
    cpu.state.debug.ran = Ran::Cpu;
    trap(cpu, 0)
}

/// Takes the trap of an instruction that user space has completed.
pub(crate) fn service(cpu: &mut Cpu) -> Result<(), Stop> {
    if std::mem::take(&mut cpu.state.debug.completed) {
        return Err(trap(cpu, BS));
    }
    Ok(())
}

/// Takes the #DB that follows an instruction.
pub(crate) fn trap(cpu: &mut Cpu, bits: u64) -> Stop {
    take(cpu, bits, Kind::Trap)
}

/// Takes a #DB: user space's, or the guest's.
pub(crate) fn take(cpu: &mut Cpu, bits: u64, kind: Kind) -> Stop {
    let debug = &cpu.state.debug;
    // What KVM has run itself it checks for its own steps only.
    let by_cpu = debug.ran == Ran::Cpu || bits & !BS != 0;
    let asked = if by_cpu {
        control::SINGLESTEP | control::USE_HW_BP
    } else {
        control::SINGLESTEP
    };
    if debug.guest.has(asked) {
        let exit = DebugExit {
            exception: vector::DB.into(),
            pc: cpu.pc,
            dr6: Some(DR6 | bits),
            dr7: by_cpu.then_some(debug.breakpoints.dr7),
        };
        // Another reason to leave is told first.
        cpu.state.exit.get_or_insert(Exit::Debug(exit));
        return Stop::Exit;
    }
    registers::report(cpu, bits);
    mp::wake(cpu);
    let event = Event {
        vector: vector::DB,
        code: None,
        rip: state::rip(cpu),
        kind,
    };
    exceptions::deliver(cpu, event)
}
