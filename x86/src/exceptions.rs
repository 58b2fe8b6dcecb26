//! Exceptions and their delivery (SDM vol. 3A, chapter 6).
//!
//! ```text
//!   raise(fault) ─► deliver ─► gate, stack, pushes ─► Stop::Redirect: the handler runs
//!                     ▲              │ fault on the way
//!                     └── double? ◄──┘
//!                          │ triple
//!                          ▼
//!                     Exit::Shutdown
//! ```

mod legacy;
mod long;

/// The stacks that a TSS has.
pub(crate) mod stacks {
    pub(crate) use super::legacy::inner;
    pub(crate) use super::long::tss_stack as long;
}

use crate::exit::Exit;
use crate::interrupts::Shadow;
use crate::mmu::walk::Failure;
use crate::mmu::{self, SystemFailure};
use crate::regs::{self, flag};
use crate::state::cr0;
use crate::{Cpu, debug, state};
use understudy_engine::emit::Stop;

/// Exception vectors (SDM vol. 3A, table 6-1).
pub mod vector {
    /// Divide error.
    pub const DE: u8 = 0;
    /// Debug.
    pub const DB: u8 = 1;
    /// Breakpoint.
    pub const BP: u8 = 3;
    /// Overflow.
    pub const OF: u8 = 4;
    /// BOUND range exceeded.
    pub const BR: u8 = 5;
    /// Invalid opcode.
    pub const UD: u8 = 6;
    /// Device not available.
    pub const NM: u8 = 7;
    /// Double fault.
    pub const DF: u8 = 8;
    /// Invalid TSS.
    pub const TS: u8 = 10;
    /// Segment not present.
    pub const NP: u8 = 11;
    /// Stack-segment fault.
    pub const SS: u8 = 12;
    /// General protection.
    pub const GP: u8 = 13;
    /// Page fault.
    pub const PF: u8 = 14;
    /// An exception of the x87.
    pub const MF: u8 = 16;
    /// Alignment check.
    pub const AC: u8 = 17;
    /// Machine check.
    pub const MC: u8 = 18;
    /// An exception of SSE or AVX.
    pub const XM: u8 = 19;
}

/// Bits of a page fault's error code (SDM vol. 3A, figure 4-12).
pub mod code {
    /// The page was present.
    pub const PRESENT: u32 = 1 << 0;
    /// The access was a write.
    pub const WRITE: u32 = 1 << 1;
    /// The access had a user's rights.
    pub const USER: u32 = 1 << 2;
    /// A reserved bit was set in an entry.
    pub const RESERVED: u32 = 1 << 3;
    /// The access was an instruction fetch.
    pub const FETCH: u32 = 1 << 4;
    /// A protection key forbade it.
    pub const KEY: u32 = 1 << 5;
}

/// An exception of the class of faults: the instruction has not been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its vector.
    pub vector: u8,
    /// Its error code, if it has one.
    pub code: Option<u32>,
    /// What CR2 gets.
    pub cr2: Option<u64>,
}

impl Fault {
    /// One without an error code.
    pub const fn new(vector: u8) -> Fault {
        Fault {
            vector,
            code: None,
            cr2: None,
        }
    }

    /// One with an error code.
    pub const fn with_code(vector: u8, code: u32) -> Fault {
        Fault {
            vector,
            code: Some(code),
            cr2: None,
        }
    }

    /// A page fault.
    pub const fn page(address: u64, code: u32) -> Fault {
        Fault {
            vector: vector::PF,
            code: Some(code),
            cr2: Some(address),
        }
    }
}

/// Why something did not go on: a fault, or the vCPU has to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Fault(Fault),
    Stop(Stop),
    /// Memory that the processor needs is not there.
    Memory(Failure),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Trouble {
        Trouble::Fault(fault)
    }
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Trouble {
        Trouble::Stop(stop)
    }
}

impl From<SystemFailure> for Trouble {
    fn from(SystemFailure(address, failure): SystemFailure) -> Trouble {
        match failure {
            Failure::PageFault(code) => Trouble::Fault(Fault::page(address, code)),
            other => Trouble::Memory(other),
        }
    }
}

/// What is delivered through a gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) vector: u8,
    pub(crate) code: Option<u32>,
    /// The instruction pointer that is pushed.
    pub(crate) rip: u64,
    pub(crate) kind: Kind,
}

/// Where an event comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// An instruction that is run again: RFLAGS.RF is set in what is pushed.
    Fault,
    /// An instruction that is over, or must not be run again; or that is run again if the handler sets
    /// RFLAGS.RF, at a breakpoint.
    Trap,
    /// INT n, INT3, INTO: the gate's DPL counts, and faults on the way are not external.
    Software,
    /// Outside.
    External,
}

impl Event {
    /// EXT of the error codes of faults on the way.
    fn external(&self) -> u32 {
        (self.kind != Kind::Software) as u32
    }
}

/// Takes an exception at the instruction at [`Cpu::pc`].
#[cold]
pub fn raise(cpu: &mut Cpu, fault: Fault) -> Stop {
    if let Some(cr2) = fault.cr2 {
        cpu.state.cr2 = cr2;
    }
    debug::fault(cpu, fault.vector);
    let event = Event {
        vector: fault.vector,
        code: fault.code,
        rip: state::rip(cpu),
        kind: if fault.vector == vector::DB {
            Kind::Trap
        } else {
            Kind::Fault
        },
    };
    deliver(cpu, event)
}

/// What the helper of an instruction gives for trouble.
pub(crate) fn trouble(cpu: &mut Cpu, trouble: Trouble) -> Stop {
    match trouble {
        Trouble::Fault(fault) => raise(cpu, fault),
        Trouble::Stop(stop) => stop,
        Trouble::Memory(failure) => mmu::fail(cpu, 0, failure),
    }
}

/// The classes by which two exceptions make a double fault (SDM vol. 3A, table 6-5).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

fn class(event: &Event) -> Class {
    match event.vector {
        _ if matches!(event.kind, Kind::Software | Kind::External) => Class::Benign,
        vector::DE | vector::TS | vector::NP | vector::SS | vector::GP => Class::Contributory,
        vector::PF => Class::PageFault,
        vector::DF => Class::DoubleFault,
        _ => Class::Benign,
    }
}

/// Delivers an event, or what becomes of it.
pub(crate) fn deliver(cpu: &mut Cpu, mut event: Event) -> Stop {
    loop {
        let fault = match attempt(cpu, &event) {
            Ok(()) => {
                if event.vector == vector::DB && event.kind != Kind::Software {
                    debug::registers::entered(cpu);
                }
                return Stop::Redirect;
            }
            Err(Trouble::Fault(fault)) => fault,
            Err(other) => return trouble(cpu, other),
        };
        if let Some(cr2) = fault.cr2 {
            cpu.state.cr2 = cr2;
        }
        let second = Event {
            vector: fault.vector,
            code: fault.code,
            // Of a software interrupt, the instruction's own.
            rip: state::rip(cpu),
            kind: Kind::Fault,
        };
        let serial = match (class(&event), class(&second)) {
            (Class::DoubleFault, Class::Contributory | Class::PageFault) => {
                cpu.state.exit = Some(Exit::Shutdown);
                return Stop::Exit;
            }
            (Class::Contributory, Class::Contributory) => false,
            (Class::PageFault, Class::Contributory | Class::PageFault) => false,
            _ => true,
        };
        event = if serial {
            second
        } else {
            Event {
                vector: vector::DF,
                code: Some(0),
                kind: Kind::Trap,
                ..second
            }
        };
    }
}

/// Delivers an event, unless there is a fault on the way; nothing has changed then.
fn attempt(cpu: &mut Cpu, event: &Event) -> Result<(), Trouble> {
    if cpu.state.long_mode() {
        long::deliver(cpu, event)
    } else if cpu.state.cr0 & cr0::PE != 0 {
        legacy::protected(cpu, event)
    } else {
        legacy::real(cpu, event)
    }
}

/// RFLAGS as it is pushed (SDM vol. 3B, 18.3.1.1, of RF).
fn pushed_flags(cpu: &Cpu, event: &Event) -> u64 {
    let flags = regs::rflags(cpu);
    match event.kind {
        Kind::Fault => flags | flag::RF,
        Kind::Software => flags & !flag::RF,
        _ if debug::is_unfinished(cpu) => flags | flag::RF,
        Kind::Trap | Kind::External => flags,
    }
}

/// RFLAGS in the handler.
fn enter_flags(cpu: &mut Cpu, masks: bool) {
    let mut cleared = flag::TF | flag::NT | flag::RF | flag::VM;
    if masks {
        cleared |= flag::IF;
    }
    cpu.state.rflags &= !cleared;
    // The event has passed it, also where the instruction in it could not be fetched.
    cpu.state.interrupts.shadow = Shadow::None;
    debug::disarm(cpu);
}
