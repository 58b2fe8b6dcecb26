//! HLT and MWAIT where KVM leaves them to the processor (KVM API 7.13, "KVM_CAP_X86_DISABLE_EXITS").
//!
//! ```text
//!   HLT ─────────────► waits ─► interrupt, NMI, INIT ─► the next instruction
//!   MONITOR ─► MWAIT ──┘  │
//!                         └──► a kick: the vCPU leaves, and is past the instruction
//! ```
//!
//! User space is not told: there is no `KVM_EXIT_HLT`, and the vCPU stays runnable. An AMD processor
//! forgets that it waits when it leaves its guest, so every exit ends it (APM vol. 2, 15.9). PAUSE and the
//! MSRs of C-states have no exits here in the first place.

use crate::exit::Exit;
use crate::mmu::{self, walk::Use};
use crate::{Cpu, mp, vcpu};
use std::sync::atomic::Ordering;
use std::time::Duration;
use understudy_engine::emit::Stop;
use understudy_engine::request::EXIT;

/// `KVM_X86_DISABLE_EXITS_*`.
pub mod exits {
    /// MONITOR and MWAIT.
    pub const MWAIT: u64 = 1 << 0;
    /// HLT.
    pub const HLT: u64 = 1 << 1;
    /// PAUSE.
    pub const PAUSE: u64 = 1 << 2;
    /// Accesses of the MSRs of C-states, which only Intel's processors have.
    pub const CSTATE: u64 = 1 << 3;
    /// All that there are.
    pub const ALL: u64 = MWAIT | HLT | PAUSE | CSTATE;
}

/// Bytes that MONITOR watches (CPUID leaf 5).
const LINE: u64 = 64;

/// What the vCPU waits for.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// HLT: an event.
    Event,
    /// MWAIT: an event, or a store to the line; or an interrupt although interrupts are masked.
    Store { line: Option<Line>, masked: bool },
}

/// A watched line, and what it held when MONITOR was executed.
#[derive(Clone, Copy, Debug)]
struct Line {
    physical: u64,
    bytes: [u8; LINE as usize],
}

/// What this part keeps of a vCPU.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Idle {
    /// [`exits`] that its VM had disabled when the vCPU was made.
    disabled: u64,
    waits: Option<Wait>,
    monitored: Option<Line>,
}

/// The vCPU is new: what is disabled later is not for it.
pub(crate) fn begin(cpu: &mut Cpu) {
    let machine = &cpu.state.machine;
    cpu.state.idle.disabled = machine.disabled_exits.load(Ordering::SeqCst);
}

/// HLT, at the end of the instruction. False if KVM intercepts it.
pub(crate) fn halt(cpu: &mut Cpu) -> bool {
    let direct = cpu.state.idle.disabled & exits::HLT != 0;
    if direct {
        cpu.state.idle.waits = Some(Wait::Event);
        vcpu::leave(cpu);
    }
    direct
}

/// Whether MONITOR and MWAIT are the processor's.
pub(crate) fn has_mwait(cpu: &Cpu) -> bool {
    cpu.state.idle.disabled & exits::MWAIT != 0
}

/// MONITOR of a linear address, which can be read.
pub(crate) fn monitor(cpu: &mut Cpu, address: u64) {
    if has_mwait(cpu) {
        cpu.state.idle.monitored = line(cpu, address);
    }
}

fn line(cpu: &mut Cpu, address: u64) -> Option<Line> {
    let physical = mmu::physical(cpu, address, Use::Read).ok()? & !(LINE - 1);
    let mut bytes = [0; LINE as usize];
    // What is no memory is not watched: MWAIT goes on at once.
    cpu.state.memory.read(physical, &mut bytes).ok()?;
    Some(Line { physical, bytes })
}

/// MWAIT; `masked` if interrupts end it though they are masked.
pub(crate) fn mwait(cpu: &mut Cpu, masked: bool) {
    if has_mwait(cpu) {
        let line = cpu.state.idle.monitored.take();
        cpu.state.idle.waits = Some(Wait::Store { line, masked });
        vcpu::leave(cpu);
    }
}

/// Something ends the wait, or the vCPU has left its guest.
pub(crate) fn wake(cpu: &mut Cpu) {
    cpu.state.idle.waits = None;
}

/// Waits, if the vCPU is to.
pub(crate) fn service(cpu: &mut Cpu) -> Result<(), Stop> {
    let Some(wait) = cpu.state.idle.waits.take() else {
        return Ok(());
    };
    match wait {
        Wait::Event => mp::wait(cpu, None, |cpu| mp::idle_ends(cpu, false)),
        Wait::Store { line, masked } => wait_for_store(cpu, line, masked),
    }
    if cpu.requests().take(EXIT) != 0 {
        cpu.state.exit = Some(Exit::Interrupted);
        return Err(Stop::Exit);
    }
    Ok(())
}

/// Nobody tells of stores: the line is looked at in ever longer intervals, for about a millisecond. MWAIT
/// may end without a reason (SDM vol. 2, MWAIT), so a store that is not seen is no loss.
fn wait_for_store(cpu: &mut Cpu, line: Option<Line>, masked: bool) {
    const FIRST: Duration = Duration::from_micros(8);
    let Some(line) = line else {
        return;
    };
    let ends = |cpu: &Cpu| {
        let mut now = [0; LINE as usize];
        let read = cpu.state.memory.read(line.physical, &mut now);
        read.is_err() || now != line.bytes || mp::idle_ends(cpu, masked)
    };
    for doubled in 0..7 {
        if ends(cpu) || cpu.requests().pending() & EXIT != 0 {
            break;
        }
        mp::wait(cpu, Some(FIRST * (1 << doubled)), ends);
    }
}
