//! The x86-64 guest's demonstration. It says by OUT where it is:
//!
//! 1. The guest's own debug registers. It meets a breakpoint of its own twice: first the #DB is its
//!    own, then it is stepped from outside, and all #DBs are user space's (DBG-6).
//! 2. Breakpoints on an instruction and on data, an INT3, steps. The process is told by the CR3 that
//!    each exit has (`x86-guest-debug-cr3`, CR3-1): no further ioctl is made for it.

mod guest;
mod report;

use super::{Loop, report as common};
use crate::error::{Error, named};
use crate::long_mode;
use crate::machine::Machine;
use guest::{Image, Word};
pub use report::{Event, Kind, Own};
use std::io::Write;
use understudy_abi::x86::{
    GuestDebugControl, kvm_debug_exit_arch, kvm_guest_debug, kvm_guest_debug_arch, kvm_regs,
};
use understudy_kvm::x86::Proposals;
use understudy_kvm::{Kvm, VcpuExit};

/// #BP.
const BP: u32 = 3;
/// DR6: a single step.
const BS: u64 = 1 << 14;
/// RFLAGS.RF.
const RF: u64 = 1 << 16;
/// Steps that are shown after the first INT3.
const STEPS: u32 = 3;
/// DR7 of the debugging from outside: breakpoint 0 on an instruction, 1 on stores of eight bytes.
const DR7: u64 = 1 << 10 | 0b1111 | 0b1001 << 20;
/// The breakpoint on data, in DR7 and in DR6.
const DATA_BREAKPOINT: usize = 1;

/// What the demonstration has seen.
#[derive(Debug)]
pub struct Summary {
    /// The debug exits of the processes, in order.
    pub events: Vec<Event>,
    /// The guest's own breakpoint: taken by the guest, then by user space.
    pub own: Vec<Own>,
    /// The loop.
    pub timed: Loop,
}

/// What the guest is asked to stop for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Debugging {
    /// Nothing.
    Off,
    /// Each instruction, until its own breakpoint is met.
    Own,
    /// The breakpoints, INT3.
    Breakpoints,
    /// So many more steps, to be shown.
    Steps(u32),
}

/// Why the vCPU stopped.
enum Stop {
    Said(Word, u64),
    Debug(kvm_debug_exit_arch),
    Halted,
}

struct Show {
    machine: Machine,
    image: Image,
    summary: Summary,
    debugging: Debugging,
    own: Own,
}

/// Shows the demonstration, writing each event to `out` as it happens.
///
/// # Errors
///
/// [`Error`].
pub fn run(out: &mut impl Write) -> Result<Summary, Error> {
    let mut show = Show::new()?;
    common::heading(out, "1. The guest's own debug registers")?;
    loop {
        match show.next()? {
            Stop::Said(Word::OwnDr6, value) if !show.own.by_user_space => show.own.dr6 = value,
            // The handler has not been called again.
            Stop::Said(Word::OwnDr6, _) => {}
            Stop::Said(Word::OwnDr7, value) => show.own.dr7 = value,
            Stop::Said(Word::Handled, value) => {
                show.own.handled = value;
                report::own(out, &show.own)?;
                show.summary.own.push(show.own);
            }
            Stop::Said(Word::OwnAgain, _) => show.debug(Debugging::Own)?,
            Stop::Debug(exit) if show.debugging == Debugging::Own => show.own_breakpoint(&exit)?,
            Stop::Said(Word::Processes, _) => {
                common::heading(out, "2. Two processes, debugged from outside")?;
                report::columns(out)?;
                show.debug(Debugging::Breakpoints)?;
            }
            Stop::Debug(exit) => {
                let event = show.event(&exit)?;
                report::event(out, &event)?;
                show.summary.events.push(event.clone());
                show.after(&event)?;
            }
            Stop::Said(Word::LoopBegins, _) => {
                show.debug(Debugging::Off)?;
                show.summary.timed.begin(out)?;
            }
            Stop::Said(Word::LoopEnds, value) => show.summary.timed.end(out, value)?,
            Stop::Halted => {
                let processes = show.summary.events.iter().map(|event| event.process);
                common::summary(out, processes, "halted", &show.summary.timed)?;
                return Ok(show.summary);
            }
        }
    }
}

impl Show {
    /// The machine, in 64-bit mode, at its first instruction.
    fn new() -> Result<Show, Error> {
        let kvm = Kvm::x86(Proposals::GUEST_DEBUG_CR3);
        let image = guest::image();
        let machine = Machine::new(&kvm, &image.ram, 0, guest::RAM_SIZE)?;
        let vcpu = &machine.vcpu;
        let old = named("KVM_GET_SREGS", vcpu.get_sregs())?;
        let sregs = long_mode::sregs(&old, guest::CR3[0]);
        named("KVM_SET_SREGS", vcpu.set_sregs(&sregs))?;
        let regs = kvm_regs {
            rip: image.start,
            ..kvm_regs::default()
        };
        named("KVM_SET_REGS", vcpu.set_regs(&regs))?;
        Ok(Show {
            machine,
            image,
            summary: Summary {
                events: Vec::new(),
                own: Vec::new(),
                timed: Loop::new(guest::LOOP_INSTRUCTIONS),
            },
            debugging: Debugging::Off,
            own: Own {
                dr6: 0,
                dr7: 0,
                by_user_space: false,
                handled: 0,
            },
        })
    }

    /// Runs the guest to its next stop.
    fn next(&mut self) -> Result<Stop, Error> {
        match named("KVM_RUN", self.machine.vcpu.run())? {
            VcpuExit::IoOut(port, data) => {
                let word = Word::from_port(port)
                    .ok_or_else(|| Error::Unexpected(format!("an OUT to port {port:#x}")))?;
                let mut bytes = [0; 8];
                bytes[..data.len().min(8)].copy_from_slice(&data[..data.len().min(8)]);
                Ok(Stop::Said(word, u64::from_le_bytes(bytes)))
            }
            VcpuExit::X86Debug(exit) => Ok(Stop::Debug(exit)),
            VcpuExit::Hlt => Ok(Stop::Halted),
            other => Err(Error::Unexpected(format!("{other:?}"))),
        }
    }

    /// Has the guest go on with other registers.
    fn change_registers(&self, change: impl FnOnce(&mut kvm_regs)) -> Result<(), Error> {
        let vcpu = &self.machine.vcpu;
        let mut regs = named("KVM_GET_REGS", vcpu.get_regs())?;
        change(&mut regs);
        named("KVM_SET_REGS", vcpu.set_regs(&regs))
    }

    /// A stop on the way to the guest's own breakpoint, or there: it goes on past it.
    fn own_breakpoint(&mut self, exit: &kvm_debug_exit_arch) -> Result<(), Error> {
        if exit.dr6 & BS != 0 {
            return Ok(());
        }
        if exit.pc != self.image.crossed {
            return Err(Error::Unexpected(format!("a #DB at {:#x}", exit.pc)));
        }
        self.own.dr6 = exit.dr6;
        self.own.by_user_space = true;
        self.debug(Debugging::Off)?;
        self.change_registers(|regs| regs.rflags |= RF)
    }

    /// What a debug exit tells.
    fn event(&self, exit: &kvm_debug_exit_arch) -> Result<Event, Error> {
        let hit = |n: usize| exit.dr6 >> n & 1 != 0;
        let kind = match exit.exception {
            BP => Kind::Int3,
            _ if exit.dr6 & BS != 0 => Kind::Step,
            _ if hit(DATA_BREAKPOINT) => Kind::DataBreakpoint,
            _ => Kind::Breakpoint,
        };
        let cr3 = self.machine.vcpu.debug_exit_cr3();
        let process = guest::CR3.iter().zip(1..).find(|(of, _)| **of == cr3);
        let (_, process) =
            process.ok_or_else(|| Error::Unexpected(format!("a debug exit with CR3 {cr3:#x}")))?;
        Ok(Event {
            kind,
            pc: exit.pc,
            dr6: (kind != Kind::Int3).then_some(exit.dr6),
            data: (kind == Kind::DataBreakpoint).then_some(guest::USER_DATA),
            cr3,
            process,
        })
    }

    /// What comes after an event: on, over the instruction, or step by step.
    fn after(&mut self, event: &Event) -> Result<(), Error> {
        match (self.debugging, event.kind) {
            // An INT3 is skipped by the debugger (DBG-7); the first one is followed by steps.
            (_, Kind::Int3) => {
                self.change_registers(|regs| regs.rip += 1)?;
                let events = &self.summary.events;
                let all = events.iter().filter(|event| event.kind == Kind::Int3);
                match all.count() {
                    1 => self.debug(Debugging::Steps(STEPS)),
                    _ => Ok(()),
                }
            }
            (_, Kind::Breakpoint) => self.change_registers(|regs| regs.rflags |= RF),
            // The store is done.
            (_, Kind::DataBreakpoint) => Ok(()),
            (Debugging::Steps(left), Kind::Step) if left > 1 => {
                self.debug(Debugging::Steps(left - 1))
            }
            (_, Kind::Step) => self.debug(Debugging::Breakpoints),
        }
    }

    /// KVM_SET_GUEST_DEBUG.
    fn debug(&mut self, debugging: Debugging) -> Result<(), Error> {
        let mut debugreg = [0; 8];
        let control = match debugging {
            Debugging::Off => GuestDebugControl::empty(),
            Debugging::Breakpoints => {
                debugreg[0] = self.image.function;
                debugreg[DATA_BREAKPOINT] = guest::USER_DATA;
                debugreg[7] = DR7;
                GuestDebugControl::ENABLE
                    | GuestDebugControl::USE_SW_BP
                    | GuestDebugControl::USE_HW_BP
            }
            Debugging::Own | Debugging::Steps(_) => {
                GuestDebugControl::ENABLE | GuestDebugControl::SINGLESTEP
            }
        };
        self.debugging = debugging;
        let settings = kvm_guest_debug {
            control: control.bits(),
            pad: 0,
            arch: kvm_guest_debug_arch { debugreg },
        };
        let set = self.machine.vcpu.set_guest_debug(&settings);
        named("KVM_SET_GUEST_DEBUG", set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_who_takes_a_debug_exception_and_each_process_by_name() {
        let mut out = Vec::new();
        let summary = run(&mut out).expect("the demonstration runs");
        // DBG-6: with no debugging from outside the #DB is the guest's, else user space's; what the
        // guest has in its registers stays (DBG-3).
        let own = |by_user_space| Own {
            dr6: 0xffff_0ff1,
            dr7: guest::OWN_DR7,
            by_user_space,
            handled: 1,
        };
        assert_eq!(summary.own, [own(false), own(true)]);
        let kinds = |process| -> Vec<Kind> {
            let of = summary.events.iter().filter(|e| e.process == process);
            of.map(|event| event.kind).collect()
        };
        let turn = [Kind::Breakpoint, Kind::DataBreakpoint, Kind::Int3];
        let steps = [Kind::Step; STEPS as usize];
        assert_eq!(kinds(1), [&turn[..], &steps, &turn].concat());
        assert_eq!(kinds(2), [turn, turn].concat());
        let function = guest::image().function;
        for event in &summary.events {
            // CR3-1: every exit has the CR3 of its process.
            assert_eq!(event.cr3, guest::CR3[event.process as usize - 1]);
            // DBG-5.
            match event.kind {
                Kind::Breakpoint => {
                    assert_eq!((event.pc, event.dr6), (function, Some(0xffff_0ff1)))
                }
                Kind::DataBreakpoint => {
                    assert_eq!((event.pc, event.dr6), (function + 9, Some(0xffff_0ff2)))
                }
                Kind::Int3 => assert_eq!((event.pc, event.dr6), (long_mode::USER + 10, None)),
                Kind::Step => assert_eq!(event.dr6, Some(0xffff_4ff0)),
            }
        }
        let text = String::from_utf8_lossy(&out);
        assert!(text.contains("user space takes the #DB"), "{text}");
    }
}
