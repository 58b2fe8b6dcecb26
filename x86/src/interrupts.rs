//! Interrupts into the vCPU: external ones, as controllers or user space have them, and NMIs (SDM vol. 3A, 6.3
//! and 6.7), and the instruction that stands in their way after STI and MOV SS (6.8.3).
//!
//! ```text
//!   Vcpu::inject ─────┐
//!   Vcpu::nmi ────────┤
//!   local APIC, PICs ─┼─► request INTERRUPT ─► service(), if IF is set and nothing stands in the way
//!   unmasked ─────────┘
//! ```
//!
//! What is masked is not looked at again until something has changed that may unmask it, which makes
//! the request ([`crate::state::changed`]). The instruction in a shadow is run by itself.

use crate::apic::event;
use crate::debug::guest::control;
use crate::exceptions::{self, Event};
use crate::exit::Exit;
use crate::regs::flag;
use crate::{Cpu, state, vcpu};
use understudy_engine::emit::Stop;
use understudy_engine::request::INTERRUPT;

/// What keeps interrupts away for the length of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Shadow {
    /// Nothing.
    #[default]
    None,
    /// STI has set IF.
    Sti,
    /// SS has been loaded.
    MovSs,
}

/// What this part keeps of a vCPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct InterruptState {
    /// The vector of the external interrupt that waits.
    pub external: Option<u8>,
    /// An NMI waits.
    pub nmi: bool,
    /// An NMI is being handled: the next one waits for IRET.
    pub nmi_blocked: bool,
    /// User space wants to know when an interrupt could be taken (`request_interrupt_window`).
    pub window: bool,
    /// What keeps them away from the next instruction.
    pub shadow: Shadow,
    /// The instruction in the shadow has begun.
    pub(crate) in_shadow: bool,
}

/// The vector of NMIs.
pub(crate) const NMI: u8 = 2;

/// Whether an external interrupt would be taken now.
pub fn open(cpu: &Cpu) -> bool {
    cpu.state.rflags & flag::IF != 0 && cpu.state.interrupts.shadow == Shadow::None
}

/// Has what waits looked at again, before the next block.
pub(crate) fn look(cpu: &mut Cpu) {
    let interrupts = &cpu.state.interrupts;
    let waits = interrupts.external.is_some() || interrupts.nmi || interrupts.window;
    if waits || in_kernel(cpu) {
        cpu.requests().post(INTERRUPT);
    }
}

/// Whether local APIC or PICs have something to be looked at.
fn in_kernel(cpu: &Cpu) -> bool {
    let Some(chipset) = cpu.state.machine.chipset() else {
        return false;
    };
    let apic = cpu.state.peer.apic();
    apic.attention() || chipset.output() && apic.accepts_pic()
}

/// Whether an external interrupt waits that priorities let through.
pub(crate) fn waits(cpu: &Cpu) -> bool {
    let apic = cpu.state.peer.apic();
    let Some(chipset) = cpu.state.machine.chipset() else {
        return cpu.state.interrupts.external.is_some();
    };
    let pics = cpu.state.interrupts.external.is_some() || chipset.output();
    pics && apic.accepts_pic() || apic.pending().is_some()
}

/// The vCPU takes the external interrupt that waits; those of the PICs come first.
fn acknowledge(cpu: &mut Cpu) -> Option<u8> {
    let peer = &cpu.state.peer;
    let Some(chipset) = cpu.state.machine.chipset() else {
        return cpu.state.interrupts.external.take();
    };
    if peer.apic().accepts_pic() {
        if let Some(vector) = cpu.state.interrupts.external.take() {
            return Some(vector);
        }
        if chipset.output() {
            return Some(chipset.acknowledge(&cpu.state.machine));
        }
    }
    peer.apic().acknowledge()
}

/// The IOAPIC of user space has to know of an EOI, before the next instruction.
pub(crate) fn tell_eoi(cpu: &mut Cpu, vector: u8) {
    cpu.state.exit = Some(Exit::IoapicEoi(vector));
    vcpu::leave(cpu);
}

/// Keeps interrupts away from the next instruction.
pub(crate) fn cast_shadow(cpu: &mut Cpu, shadow: Shadow) {
    cpu.state.interrupts.shadow = shadow;
    cpu.state.interrupts.in_shadow = false;
}

/// Before an instruction that is run by itself.
pub(crate) fn before_insn(cpu: &mut Cpu) {
    let interrupts = &mut cpu.state.interrupts;
    interrupts.in_shadow = interrupts.shadow != Shadow::None;
}

/// After it: the shadow that it was in has passed.
pub(crate) fn after_insn(cpu: &mut Cpu) {
    let interrupts = &mut cpu.state.interrupts;
    if std::mem::take(&mut interrupts.in_shadow) {
        interrupts.shadow = Shadow::None;
        look(cpu);
    }
}

/// Takes an interrupt that waits, if it may be.
pub(crate) fn service(cpu: &mut Cpu) -> Result<(), Stop> {
    if cpu.state.interrupts.shadow != Shadow::None {
        return Ok(());
    }
    let noted = cpu.state.peer.apic().take_noted(event::NMI) != 0;
    let interrupts = &mut cpu.state.interrupts;
    interrupts.nmi |= noted;
    let blocked = cpu.state.debug.guest.has(control::BLOCKIRQ);
    if interrupts.nmi && !interrupts.nmi_blocked && !blocked {
        interrupts.nmi = false;
        interrupts.nmi_blocked = true;
        look(cpu);
        return Err(take(cpu, NMI));
    }
    if !open(cpu) {
        return Ok(());
    }
    // Those of an interrupt controller in the kernel only; user space's own are its business (DBG-8).
    if blocked && cpu.state.machine.chipset().is_some() {
        return Ok(());
    }
    if let Some(vector) = acknowledge(cpu) {
        look(cpu);
        return Err(take(cpu, vector));
    }
    if cpu.state.interrupts.window {
        cpu.state.exit = Some(Exit::IrqWindowOpen);
        return Err(Stop::Exit);
    }
    Ok(())
}

fn take(cpu: &mut Cpu, vector: u8) -> Stop {
    let event = Event {
        vector,
        code: None,
        rip: state::rip(cpu),
        kind: exceptions::Kind::External,
    };
    exceptions::deliver(cpu, event)
}
