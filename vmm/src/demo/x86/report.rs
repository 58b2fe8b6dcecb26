//! What only this demonstration prints.

use std::fmt;
use std::io::{self, Write};

/// The kind of a debug exit (DBG-5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A breakpoint on an instruction.
    Breakpoint,
    /// A breakpoint on data.
    DataBreakpoint,
    /// An INT3.
    Int3,
    /// A single step.
    Step,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Breakpoint => "breakpoint",
            Kind::DataBreakpoint => "data breakpoint",
            Kind::Int3 => "INT3",
            Kind::Step => "step",
        })
    }
}

/// A debug exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its kind.
    pub kind: Kind,
    /// Where the guest is: at the instruction, or after it for data and steps (DBG-5).
    pub pc: u64,
    /// DR6, which an INT3 does not have.
    pub dr6: Option<u64>,
    /// The address of a breakpoint on data.
    pub data: Option<u64>,
    /// CR3, as the exit has it (CR3-1).
    pub cr3: u64,
    /// The process whose CR3 it is.
    pub process: u64,
}

/// DR6 in words: which breakpoints, a step, a guarded debug register (SDM vol. 3B, 18.2.3).
fn decoded(dr6: u64) -> String {
    let named = [
        (0, "B0"),
        (1, "B1"),
        (2, "B2"),
        (3, "B3"),
        (13, "BD"),
        (14, "BS"),
    ];
    let set = named.into_iter().filter(|(bit, _)| dr6 >> bit & 1 != 0);
    let names: Vec<&str> = set.map(|(_, name)| name).collect();
    names.join(" ")
}

/// DR6 as a number and in words.
fn dr6(value: Option<u64>) -> String {
    match value {
        Some(dr6) => format!("{dr6:#010x} {}", decoded(dr6)),
        None => "-".into(),
    }
}

/// Who has taken the #DB of the guest's own breakpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// DR6 as it has found it.
    pub dr6: u64,
    /// The guest's DR7, as it reads it afterwards.
    pub dr7: u64,
    /// Whether it was user space.
    pub by_user_space: bool,
    /// How many the guest has handled by then.
    pub handled: u64,
}

/// A line for it.
pub fn own(out: &mut impl Write, own: &Own) -> io::Result<()> {
    let (when, who) = if own.by_user_space {
        ("stepped from outside", "user space takes the #DB")
    } else {
        ("not debugged", "the guest takes its #DB")
    };
    writeln!(
        out,
        "   {when:<21} DR6 {:<14} {who:<25} its DR7 {:#x}, #DBs it has handled {}",
        dr6(Some(own.dr6)),
        own.dr7,
        own.handled,
    )
}

/// The heads of the columns of [`event`].
pub fn columns(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "   process  exit             PC        DR6            data      CR3"
    )
}

/// A line for a debug exit.
pub fn event(out: &mut impl Write, event: &Event) -> io::Result<()> {
    let data = event.data.map(|at| format!("{at:#x}")).unwrap_or_default();
    writeln!(
        out,
        "   {:<8} {:<16} {:<#9x} {:<14} {data:<9} {:#x}",
        event.process,
        event.kind,
        event.pc,
        dr6(event.dr6),
        event.cr3,
    )
}
