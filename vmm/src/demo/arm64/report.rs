//! What only this demonstration prints.

use std::fmt;
use std::io::{self, Write};

/// The kind of a debug exit, by the exception class of its syndrome (ESR-8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A hardware breakpoint: EC 0x30.
    Breakpoint,
    /// A software step: EC 0x32.
    Step,
    /// A watchpoint: EC 0x34.
    Watchpoint,
    /// A BRK instruction: EC 0x3C.
    Brk,
}

impl Kind {
    /// The kind of this syndrome.
    pub fn of(esr: u64) -> Option<Kind> {
        Some(match esr >> 26 & 0x3f {
            0x30 => Kind::Breakpoint,
            0x32 => Kind::Step,
            0x34 => Kind::Watchpoint,
            0x3c => Kind::Brk,
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Breakpoint => "breakpoint",
            Kind::Step => "step",
            Kind::Watchpoint => "watchpoint",
            Kind::Brk => "BRK",
        })
    }
}

/// A debug exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its kind.
    pub kind: Kind,
    /// Where the guest is: at the instruction, or after it for a step (DBG-22).
    pub pc: u64,
    /// The syndrome, all 64 bits (ESR-2).
    pub esr: u64,
    /// The address of a watchpoint's access.
    pub far: Option<u64>,
    /// CONTEXTIDR_EL1: the process, as the guest's kernel numbers them.
    pub process: u64,
    /// The ASID of TTBR0_EL1.
    pub asid: u64,
}

impl Event {
    /// What the syndrome's ISS says.
    fn iss(&self) -> String {
        match self.kind {
            Kind::Brk => format!("BRK #{:#x}", self.esr & 0xffff),
            Kind::Watchpoint => {
                let access = if self.esr & 1 << 6 != 0 {
                    "store"
                } else {
                    "load"
                };
                format!("{access} by EL0")
            }
            Kind::Breakpoint => "from EL0".into(),
            Kind::Step => match self.esr >> 24 & 1 {
                1 => "one instruction".into(),
                _ => "trapped or emulated".into(),
            },
        }
    }
}

/// The outcome of one crossing of the guest's breakpoint.
pub fn os_lock(out: &mut impl Write, (oslsr, hits): (u64, u64)) -> io::Result<()> {
    let state = if oslsr & 2 != 0 { "set" } else { "clear" };
    let taken = match hits {
        0 => "no breakpoint exception",
        _ => "the breakpoint exception is taken by the guest",
    };
    writeln!(out, "   OS Lock {state:<6} OSLSR_EL1 {oslsr:#x}   {taken}")
}

/// The heads of the columns of [`event`].
pub fn columns(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "   process  exit        PC          ESR                 syndrome         FAR"
    )
}

/// A line for a debug exit.
pub fn event(out: &mut impl Write, event: &Event) -> io::Result<()> {
    let far = event.far.map(|far| format!("{far:#x}")).unwrap_or_default();
    let line = format!(
        "   {:<8} {:<11} {:<#11x} {:#018x}  {:<16} {far}",
        event.process,
        event.kind,
        event.pc,
        event.esr,
        event.iss(),
    );
    writeln!(out, "{}", line.trim_end())
}
