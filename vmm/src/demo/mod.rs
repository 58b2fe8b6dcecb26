//! The embedded demonstration: a guest with two processes, watched by a debugger that knows which
//! process each debug exit came from.
//!
//! Three sections, in which the guest says by MMIO stores where it is:
//!
//! 1. The OS Lock. The guest sets a breakpoint of its own and crosses it twice: with the lock set no
//!    exception comes, with the lock clear one does (OSL-20).
//! 2. Debugging from outside (KVM_SET_GUEST_DEBUG): a hardware breakpoint on a function that both
//!    processes call, a watchpoint on a variable that each has in its own memory, a BRK, and steps.
//!    The process is read from CONTEXTIDR_EL1 and TTBR0_EL1's ASID.
//! 3. A loop, with no debugging in use, for the speed.

pub mod fidelity;
mod guest;
mod report;

use guest::Word;
pub use report::Event;
use report::Kind;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use understudy_abi::arm64::{
    GuestDebugControl, KVM_ARM_MAX_DBG_REGS, kvm_debug_exit_arch, kvm_guest_debug,
    kvm_guest_debug_arch, kvm_vcpu_init, reg,
};
use understudy_abi::common::kvm_userspace_memory_region;
use understudy_kvm::{Errno, Kvm, VcpuExit, VcpuFd, VmFd};

/// The demonstration could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// An ioctl failed.
    #[error("{call}: {errno}")]
    Ioctl {
        /// The ioctl's name.
        call: &'static str,
        /// What it gave.
        errno: Errno,
    },
    /// There is no memory for the guest.
    #[error("no memory for the guest: {0}")]
    Memory(io::Error),
    /// The guest did what it must not.
    #[error("the guest left its script: {0}")]
    Unexpected(String),
    /// The output went away.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Adds the ioctl's name to its errno.
fn named<T>(call: &'static str, result: Result<T, Errno>) -> Result<T, DemoError> {
    result.map_err(|errno| DemoError::Ioctl { call, errno })
}

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
    /// How long the loop took.
    pub loop_time: Duration,
}

impl Summary {
    /// Guest instructions a second in the loop.
    pub fn instructions_a_second(&self) -> f64 {
        guest::LOOP_INSTRUCTIONS as f64 / self.loop_time.as_secs_f64().max(1e-9)
    }
}

/// A VM with one vCPU and the demonstration's guest in its memory.
struct Machine {
    vcpu: VcpuFd,
    _vm: VmFd,
    // Last, so that the memory outlives the slot.
    _memory: memmap2::MmapMut,
}

/// A machine with this image at the beginning of its memory, that begins at `start`.
fn machine(kvm: &Kvm, image: &[u8], start: u64) -> Result<Machine, DemoError> {
    let mut memory = memmap2::MmapMut::map_anon(guest::RAM_SIZE).map_err(DemoError::Memory)?;
    memory[..image.len()].copy_from_slice(image);

    let vm = named("KVM_CREATE_VM", kvm.create_vm())?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: guest::RAM,
        memory_size: guest::RAM_SIZE as u64,
        userspace_addr: memory.as_mut_ptr() as u64,
    };
    // SAFETY: the mapping is used by nothing else from here on, and outlives the VM.
    named("KVM_SET_USER_MEMORY_REGION", unsafe {
        vm.set_user_memory_region(region)
    })?;
    let vcpu = named("KVM_CREATE_VCPU", vm.create_vcpu(0))?;
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
    Ok(Machine {
        vcpu,
        _vm: vm,
        _memory: memory,
    })
}

/// Shows the demonstration, writing each event to `out` as it happens.
///
/// # Errors
///
/// [`DemoError`].
pub fn run(out: &mut impl Write) -> Result<Summary, DemoError> {
    let (image, start) = guest::image();
    let kvm = named("opening KVM", Kvm::new())?;
    let mut show = Show {
        machine: machine(&kvm, &image, start)?,
        summary: Summary::empty(),
        debugging: Debugging::Off,
    };
    let mut loop_began = None;
    report::heading(out, "1. The OS Lock: a breakpoint of the guest's own")?;
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
                report::heading(out, "2. Two processes, debugged from outside")?;
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
                report::heading(out, "3. A loop, with no debugging in use")?;
                loop_began = Some(Instant::now());
            }
            Stop::Said(Word::LoopEnds, value) => {
                let began = loop_began.take().ok_or_else(|| {
                    DemoError::Unexpected("its loop ended before it began".into())
                })?;
                show.summary.loop_time = began.elapsed();
                report::speed(out, &show.summary, value)?;
            }
            Stop::Off => {
                report::summary(out, &show.summary)?;
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
            loop_time: Duration::ZERO,
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
    fn next(&mut self) -> Result<Stop, DemoError> {
        match named("KVM_RUN", self.machine.vcpu.run())? {
            VcpuExit::MmioWrite(address, data) => {
                let word = Word::from_address(address)
                    .ok_or_else(|| DemoError::Unexpected(format!("a store to {address:#x}")))?;
                let mut bytes = [0; 8];
                bytes[..data.len()].copy_from_slice(data);
                Ok(Stop::Said(word, u64::from_le_bytes(bytes)))
            }
            VcpuExit::Debug(exit) => Ok(Stop::Debug(exit)),
            VcpuExit::SystemEvent(..) => Ok(Stop::Off),
            other => Err(DemoError::Unexpected(format!("{other:?}"))),
        }
    }

    fn register(&self, id: u64) -> Result<u64, DemoError> {
        let mut bytes = [0; 8];
        named(
            "KVM_GET_ONE_REG",
            self.machine.vcpu.get_one_reg(id, &mut bytes),
        )?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// What a debug exit tells, and what the registers add.
    fn event(&self, exit: &kvm_debug_exit_arch) -> Result<Event, DemoError> {
        let esr = exit.hsr as u64 | (exit.hsr_high as u64) << 32;
        let kind = Kind::of(esr)
            .ok_or_else(|| DemoError::Unexpected(format!("a debug exit with syndrome {esr:#x}")))?;
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
    fn after(&mut self, event: &Event) -> Result<(), DemoError> {
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
    fn debug(&mut self, debugging: Debugging) -> Result<(), DemoError> {
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
