//! The arm64 guest's demonstration. It says by MMIO stores where it is:
//!
//! 1. The OS Lock. The guest sets a breakpoint of its own and crosses it twice: with the lock set no
//!    exception comes, with the lock clear one does (OSL-20).
//! 2. A hardware breakpoint, a watchpoint, a BRK, steps. The process is read from CONTEXTIDR_EL1 and
//!    TTBR0_EL1's ASID.

pub mod fidelity;
mod guest;
mod report;

use super::{Loop, report as common};
use crate::error::{Error, named};
use crate::machine::Machine;
use guest::Word;
pub use report::Event;
use report::Kind;
use std::io::Write;
use understudy_abi::arm64::{
    GuestDebugControl, KVM_ARM_MAX_DBG_REGS, kvm_debug_exit_arch, kvm_guest_debug,
    kvm_guest_debug_arch, kvm_vcpu_init, reg,
};
use understudy_kvm::{Kvm, VcpuExit};

/// DBGBCR<n>_EL1: enabled, for EL0, all four bytes (Arm ARM D23.3).
const BREAKPOINT_EL0: u64 = 0xf << 5 | 0b10 << 1 | 1;
/// DBGWCR<n>_EL1: enabled, for EL0, stores, all eight bytes.
const WATCHPOINT_EL0_STORES: u64 = 0xff << 5 | 0b10 << 3 | 0b10 << 1 | 1;
/// Steps that are shown after the first BRK.
const STEPS: u32 = 3;

/// What the demonstration has seen.
#[derive(Debug)]
pub struct Summary {
    /// The debug exits, in order.
    pub events: Vec<Event>,
    /// OSLSR_EL1 and the guest's count of its own breakpoint exceptions: locked, then unlocked.
    pub os_lock: Vec<(u64, u64)>,
    /// The loop.
    pub timed: Loop,
}

/// A machine with this image at the beginning of its memory, that begins at `start`.
fn machine(kvm: &Kvm, image: &[u8], start: u64) -> Result<Machine, Error> {
    let machine = Machine::new(kvm, image, guest::RAM, guest::RAM_SIZE)?;
    let (vm, vcpu) = (&machine.vm, &machine.vcpu);
    let mut init = kvm_vcpu_init {
        target: 0,
        features: [0; 7],
    };
    named(
        "KVM_ARM_PREFERRED_TARGET",
        vm.get_preferred_target(&mut init),
    )?;
    // PSCI 0.2 and later, for SYSTEM_OFF.
    init.features[0] |= 1 << 2;
    named("KVM_ARM_VCPU_INIT", vcpu.vcpu_init(&init))?;
    named(
        "KVM_SET_ONE_REG",
        vcpu.set_one_reg(reg::core::PC, &start.to_le_bytes()),
    )?;
    Ok(machine)
}

/// Shows the demonstration, writing each event to `out` as it happens.
///
/// # Errors
///
/// [`Error`].
pub fn run(out: &mut impl Write) -> Result<Summary, Error> {
    let (image, start) = guest::image();
    let kvm = named("opening KVM", Kvm::new())?;
    let mut show = Show {
        machine: machine(&kvm, &image, start)?,
        summary: Summary::empty(),
        debugging: Debugging::Off,
    };
    common::heading(out, "1. The OS Lock: a breakpoint of the guest's own")?;
    loop {
        match show.next()? {
            Stop::Said(Word::OsLockStatus, value) => show.summary.os_lock.push((value, 0)),
            Stop::Said(Word::Hits, hits) => {
                if let Some(last) = show.summary.os_lock.last_mut() {
                    last.1 = hits;
                    report::os_lock(out, *last)?;
                }
            }
            Stop::Said(Word::Processes, _) => {
                common::heading(out, "2. Two processes, debugged from outside")?;
                report::columns(out)?;
                show.debug(Debugging::Breakpoints)?;
            }
            Stop::Debug(exit) => {
                let event = show.event(&exit)?;
                let stepped_over = show.debugging == Debugging::Over;
                if !stepped_over {
                    report::event(out, &event)?;
                    show.summary.events.push(event.clone());
                }
                show.after(&event)?;
            }
            Stop::Said(Word::LoopBegins, _) => {
                show.debug(Debugging::Off)?;
                show.summary.timed.begin(out)?;
            }
            Stop::Said(Word::LoopEnds, value) => show.summary.timed.end(out, value)?,
            Stop::Off => {
                let processes = show.summary.events.iter().map(|event| event.process);
                common::summary(out, processes, "powered off", &show.summary.timed)?;
                return Ok(show.summary);
            }
        }
    }
}

impl Summary {
    fn empty() -> Summary {
        Summary {
            events: Vec::new(),
            os_lock: Vec::new(),
            timed: Loop::new(guest::LOOP_INSTRUCTIONS),
        }
    }
}

/// What the guest is asked to stop for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Debugging {
    /// Nothing.
    Off,
    /// The breakpoint, the watchpoint, BRK.
    Breakpoints,
    /// One step, to get over an instruction that has just stopped.
    Over,
    /// So many more steps, to be shown.
    Steps(u32),
}

/// Why the vCPU stopped.
enum Stop {
    Said(Word, u64),
    Debug(kvm_debug_exit_arch),
    Off,
}

struct Show {
    machine: Machine,
    summary: Summary,
    debugging: Debugging,
}

impl Show {
    /// Runs the guest to its next stop.
    fn next(&mut self) -> Result<Stop, Error> {
        match named("KVM_RUN", self.machine.vcpu.run())? {
            VcpuExit::MmioWrite(address, data) => {
                let word = Word::from_address(address)
                    .ok_or_else(|| Error::Unexpected(format!("a store to {address:#x}")))?;
                let mut bytes = [0; 8];
                bytes[..data.len()].copy_from_slice(data);
                Ok(Stop::Said(word, u64::from_le_bytes(bytes)))
            }
            VcpuExit::Debug(exit) => Ok(Stop::Debug(exit)),
            VcpuExit::SystemEvent(..) => Ok(Stop::Off),
            other => Err(Error::Unexpected(format!("{other:?}"))),
        }
    }

    fn register(&self, id: u64) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        named(
            "KVM_GET_ONE_REG",
            self.machine.vcpu.get_one_reg(id, &mut bytes),
        )?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// What a debug exit tells, and what the registers add.
    fn event(&self, exit: &kvm_debug_exit_arch) -> Result<Event, Error> {
        let esr = exit.hsr as u64 | (exit.hsr_high as u64) << 32;
        let kind = Kind::of(esr)
            .ok_or_else(|| Error::Unexpected(format!("a debug exit with syndrome {esr:#x}")))?;
        Ok(Event {
            kind,
            pc: self.register(reg::core::PC)?,
            esr,
            far: (kind == Kind::Watchpoint).then_some(exit.far),
            process: self.register(reg::sys_reg(3, 0, 13, 0, 1))?,
            asid: self.register(reg::sys_reg(3, 0, 2, 0, 0))? >> 48,
        })
    }

    /// What comes after an event: on, over the instruction, or step by step.
    fn after(&mut self, event: &Event) -> Result<(), Error> {
        match (self.debugging, event.kind) {
            // A BRK is skipped by the debugger; the first one is followed by steps.
            (_, Kind::Brk) => {
                let pc = event.pc + 4;
                let vcpu = &self.machine.vcpu;
                named(
                    "KVM_SET_ONE_REG",
                    vcpu.set_one_reg(reg::core::PC, &pc.to_le_bytes()),
                )?;
                let first = self
                    .summary
                    .events
                    .iter()
                    .filter(|e| e.kind == Kind::Brk)
                    .count()
                    == 1;
                self.debug(if first {
                    Debugging::Steps(STEPS)
                } else {
                    Debugging::Breakpoints
                })
            }
            (_, Kind::Breakpoint | Kind::Watchpoint) => self.debug(Debugging::Over),
            (Debugging::Steps(left), Kind::Step) if left > 1 => {
                self.debug(Debugging::Steps(left - 1))
            }
            (_, Kind::Step) => self.debug(Debugging::Breakpoints),
        }
    }

    /// KVM_SET_GUEST_DEBUG.
    fn debug(&mut self, debugging: Debugging) -> Result<(), Error> {
        let none = [0; KVM_ARM_MAX_DBG_REGS];
        let mut arch = kvm_guest_debug_arch {
            dbg_bcr: none,
            dbg_bvr: none,
            dbg_wcr: none,
            dbg_wvr: none,
        };
        let control = match debugging {
            Debugging::Off => GuestDebugControl::empty(),
            Debugging::Breakpoints => {
                arch.dbg_bcr[0] = BREAKPOINT_EL0;
                arch.dbg_bvr[0] = guest::USER_FUNCTION;
                arch.dbg_wcr[0] = WATCHPOINT_EL0_STORES;
                arch.dbg_wvr[0] = guest::USER_DATA;
                GuestDebugControl::ENABLE | GuestDebugControl::USE_SW_BP | GuestDebugControl::USE_HW
            }
            Debugging::Over | Debugging::Steps(_) => {
                GuestDebugControl::ENABLE | GuestDebugControl::SINGLESTEP
            }
        };
        self.debugging = debugging;
        let settings = kvm_guest_debug {
            control: control.bits(),
            pad: 0,
            arch,
        };
        named(
            "KVM_SET_GUEST_DEBUG",
            self.machine.vcpu.set_guest_debug(&settings),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_lock_and_each_process_by_name() {
        let mut out = Vec::new();
        let summary = run(&mut out).expect("the demonstration runs");
        // OSL-20, OSL-22: locked, OSLSR_EL1 is 0xa and no exception came; unlocked, one did.
        assert_eq!(summary.os_lock, [(0xa, 0), (0x8, 1)]);
        let kinds = |process| -> Vec<Kind> {
            summary
                .events
                .iter()
                .filter(|e| e.process == process)
                .map(|e| e.kind)
                .collect()
        };
        let turn = [Kind::Breakpoint, Kind::Watchpoint, Kind::Brk];
        assert_eq!(kinds(2), [turn, turn].concat());
        assert!(kinds(1).starts_with(&turn));
        for event in &summary.events {
            assert_eq!(event.process, event.asid);
            match event.kind {
                // DBG-22, ESR-8.
                Kind::Breakpoint => {
                    assert_eq!((event.pc, event.esr), (guest::USER_FUNCTION, 0xc200_0022))
                }
                Kind::Watchpoint => assert_eq!(
                    (event.pc, event.esr, event.far),
                    (
                        guest::USER_FUNCTION + 8,
                        0xd200_0062,
                        Some(guest::USER_DATA)
                    )
                ),
                Kind::Brk => assert_eq!(event.esr, 0xf200_002a),
                Kind::Step => assert_eq!(event.esr >> 26, 0x32),
            }
        }
        assert!(String::from_utf8_lossy(&out).contains("OS Lock"));
    }
}
