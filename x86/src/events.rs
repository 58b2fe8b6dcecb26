//! Events that user space queues: what `KVM_GET_VCPU_EVENTS` and `KVM_SET_VCPU_EVENTS` carry (KVM API 4.31
//! and 4.32), and exceptions that wait for the next entry.
//!
//! ```text
//!   set ─┐                          injected: delivered as it is
//!   queue ├─► exception ─► service ─┤
//!         │                         pending: RF, DR6 and CR2 follow from it
//!         └─► NMI, interrupt ─► service, if there is no exception
//! ```
//!
//! Exceptions of the guest's own instructions never wait: they are delivered where they arise.

use crate::exceptions::{self, Event, Kind, vector};
use crate::exit::Exit;
use crate::interrupts::{self, NMI, Shadow};
use crate::{Cpu, debug, insn, state};
use understudy_engine::emit::Stop;
use understudy_engine::request::INTERRUPT;

/// Bits of [`Events::flags`] (`KVM_VCPUEVENT_VALID_*`).
pub mod valid {
    /// `nmi.pending` counts.
    pub const NMI_PENDING: u32 = 1 << 0;
    /// `sipi_vector` counts. It is never given.
    pub const SIPI_VECTOR: u32 = 1 << 1;
    /// `interrupt.shadow` counts.
    pub const SHADOW: u32 = 1 << 2;
    /// `smi` counts.
    pub const SMM: u32 = 1 << 3;
    /// `exception.pending` and the payload count.
    pub const PAYLOAD: u32 = 1 << 4;
    /// `triple_fault.pending` counts.
    pub const TRIPLE_FAULT: u32 = 1 << 5;
}

/// `KVM_X86_SHADOW_INT_MOV_SS`.
const MOV_SS: u8 = 1;
/// `KVM_X86_SHADOW_INT_STI`. AMD's processors do not tell the two apart: both are given.
const STI: u8 = 2;

/// `exception`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exception {
    /// It is delivered as it is.
    pub injected: bool,
    /// It is delivered with what follows from it.
    pub pending: bool,
    /// The vector.
    pub nr: u8,
    /// `has_error_code`.
    pub has_error_code: bool,
    /// `error_code`.
    pub error_code: u32,
    /// `exception_has_payload`.
    pub has_payload: bool,
    /// `exception_payload`: the change of DR6, or CR2.
    pub payload: u64,
}

/// `interrupt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupt {
    /// It is delivered, whatever masks interrupts.
    pub injected: bool,
    /// The vector.
    pub nr: u8,
    /// It is an INT n, which it skips.
    pub soft: bool,
    /// What keeps interrupts from the next instruction.
    pub shadow: u8,
}

/// `nmi`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nmi {
    /// It is delivered, whatever masks it.
    pub injected: bool,
    /// How many wait.
    pub pending: u8,
    /// One is being handled.
    pub masked: bool,
}

/// `smi`. There is no system-management mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Smi {
    /// `smm`.
    pub smm: bool,
    /// `pending`.
    pub pending: bool,
    /// `smm_inside_nmi`.
    pub inside_nmi: bool,
    /// `latched_init`.
    pub latched_init: bool,
}

/// `struct kvm_vcpu_events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// [`valid`].
    pub flags: u32,
    /// `exception`, and its payload.
    pub exception: Exception,
    /// `interrupt`.
    pub interrupt: Interrupt,
    /// `nmi`.
    pub nmi: Nmi,
    /// `sipi_vector`: the local APIC's, which the caller keeps.
    pub sipi_vector: u32,
    /// `smi`.
    pub smi: Smi,
    /// `triple_fault.pending`.
    pub triple_fault: bool,
}

/// What this part keeps of a vCPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventState {
    exception: Exception,
    interrupt: Option<(u8, bool)>,
    nmi: bool,
    triple_fault: bool,
    /// `KVM_CAP_EXCEPTION_PAYLOAD` is on.
    pub payload: bool,
    /// `KVM_CAP_X86_TRIPLE_FAULT_EVENT` is on.
    pub triple_fault_event: bool,
}

/// Whether an exception or a triple fault waits that has not been injected yet.
pub(crate) fn exception_waits(cpu: &Cpu) -> bool {
    cpu.state.events.exception.pending || cpu.state.events.triple_fault
}

/// Queues an exception for the next entry; it is raised at the instruction at [`Cpu::pc`].
pub(crate) fn queue(cpu: &mut Cpu, nr: u8, code: Option<u32>) {
    cpu.state.events.exception = Exception {
        pending: true,
        nr,
        has_error_code: code.is_some(),
        error_code: code.unwrap_or(0),
        ..Exception::default()
    };
    cpu.requests().post(INTERRUPT);
}

/// Has the vCPU shut down at the next entry.
pub(crate) fn queue_triple_fault(cpu: &mut Cpu) {
    cpu.state.events.triple_fault = true;
    cpu.requests().post(INTERRUPT);
}

/// Queues an external interrupt that is taken at the next entry, whatever masks it: `KVM_INTERRUPT`
/// without an interrupt controller in the kernel (KVM API 4.16).
pub fn queue_interrupt(cpu: &mut Cpu, vector: u8) {
    cpu.state.events.interrupt = Some((vector, false));
    cpu.requests().post(INTERRUPT);
}

/// The external interrupt that is being injected, if there is one (`interrupt_bitmap` of
/// `KVM_GET_SREGS`).
pub fn injected_interrupt(cpu: &Cpu) -> Option<u8> {
    let injected = cpu.state.events.interrupt;
    injected.and_then(|(vector, soft)| (!soft).then_some(vector))
}

/// `KVM_SET_REGS` has set RIP: an exception that has not been injected is dropped (SYNC-5).
pub(crate) fn registers_set(cpu: &mut Cpu) {
    cpu.state.events.exception.pending = false;
}

/// Whether user space cannot know such an exception, as it does not say how long its instruction is.
fn is_soft(nr: u8) -> bool {
    matches!(nr, vector::BP | vector::OF)
}

/// RESET and INIT: nothing is queued any more.
pub fn reset(cpu: &mut Cpu) {
    cpu.state.events = EventState {
        payload: cpu.state.events.payload,
        triple_fault_event: cpu.state.events.triple_fault_event,
        ..EventState::default()
    };
}

/// `KVM_GET_VCPU_EVENTS`.
pub fn get(cpu: &mut Cpu) -> Events {
    let payload = cpu.state.events.payload;
    if !payload && cpu.state.events.exception.pending {
        deliver_payload(cpu);
    }
    let events = &cpu.state.events;
    let mut exception = events.exception;
    if is_soft(exception.nr) {
        (exception.injected, exception.pending) = (false, false);
    } else if !payload {
        // Who does not know of pending ones takes them for injected.
        exception.injected |= exception.pending;
    }
    let shadow = match cpu.state.interrupts.shadow {
        Shadow::None => 0,
        _ => MOV_SS | STI,
    };
    let mut flags = valid::NMI_PENDING | valid::SHADOW | valid::SMM;
    if payload {
        flags |= valid::PAYLOAD;
    }
    if events.triple_fault_event {
        flags |= valid::TRIPLE_FAULT;
    }
    let (nr, soft) = events.interrupt.unwrap_or((0, false));
    Events {
        flags,
        exception,
        interrupt: Interrupt {
            injected: events.interrupt.is_some() && !soft,
            nr,
            soft: false,
            shadow,
        },
        nmi: Nmi {
            injected: events.nmi,
            pending: cpu.state.interrupts.nmi.into(),
            masked: cpu.state.interrupts.nmi_blocked,
        },
        sipi_vector: 0,
        smi: Smi::default(),
        triple_fault: events.triple_fault && events.triple_fault_event,
    }
}

/// `KVM_SET_VCPU_EVENTS`: false, with nothing changed, where it gives `EINVAL` (SYNC-6). `sipi_vector`
/// is the caller's.
#[must_use]
pub fn set(cpu: &mut Cpu, wanted: &Events) -> bool {
    const KNOWN: u32 = (valid::TRIPLE_FAULT << 1) - 1;
    let has = |bit| wanted.flags & bit != 0;
    let enabled = &cpu.state.events;
    let mut exception = wanted.exception;
    if !has(valid::PAYLOAD) {
        exception.pending = false;
    } else if exception.pending {
        exception.injected = false;
    }
    exception.has_payload &= exception.pending;
    let some = exception.injected || exception.pending;
    let smi = &wanted.smi;
    if wanted.flags & !KNOWN != 0
        || has(valid::PAYLOAD) && !enabled.payload
        || has(valid::TRIPLE_FAULT) && !enabled.triple_fault_event
        || some && (exception.nr > 31 || exception.nr == NMI)
        || has(valid::SMM) && (smi.smm || smi.pending || smi.inside_nmi)
    {
        return false;
    }
    let events = &mut cpu.state.events;
    events.exception = exception;
    let interrupt = &wanted.interrupt;
    events.interrupt = interrupt.injected.then_some((interrupt.nr, interrupt.soft));
    events.nmi = wanted.nmi.injected;
    if has(valid::TRIPLE_FAULT) {
        events.triple_fault = wanted.triple_fault;
    }
    if has(valid::SHADOW) {
        let shadow = match interrupt.shadow {
            0 => Shadow::None,
            STI => Shadow::Sti,
            _ => Shadow::MovSs,
        };
        interrupts::cast_shadow(cpu, shadow);
    }
    let interrupts = &mut cpu.state.interrupts;
    if has(valid::NMI_PENDING) {
        interrupts.nmi = wanted.nmi.pending != 0;
    }
    interrupts.nmi_blocked = wanted.nmi.masked;
    cpu.requests().post(INTERRUPT);
    true
}

/// What a pending exception does to DR6 or CR2.
fn deliver_payload(cpu: &mut Cpu) {
    let exception = &mut cpu.state.events.exception;
    if !std::mem::take(&mut exception.has_payload) {
        return;
    }
    let payload = std::mem::take(&mut exception.payload);
    match exception.nr {
        vector::DB => debug::registers::report(cpu, payload),
        vector::PF => cpu.state.cr2 = payload,
        _ => {}
    }
}

/// Whether RF is set in what an exception pushes that is raised here: it is of the class of faults, and
/// no #DB, of which that cannot be told.
fn is_fault(nr: u8) -> bool {
    !matches!(
        nr,
        vector::DB | vector::BP | vector::OF | vector::DF | vector::MC
    )
}

/// Takes what is queued.
pub(crate) fn service(cpu: &mut Cpu) -> Result<(), Stop> {
    let events = &mut cpu.state.events;
    if std::mem::take(&mut events.triple_fault) {
        cpu.state.exit = Some(Exit::Shutdown);
        return Err(Stop::Exit);
    }
    let exception = events.exception;
    if exception.injected || exception.pending {
        // Of what else was injected nothing remains after the entry.
        (events.interrupt, events.nmi) = (None, false);
        return Err(take_exception(cpu, exception));
    }
    if std::mem::take(&mut events.nmi) {
        events.interrupt = None;
        cpu.state.interrupts.nmi_blocked = true;
        return Err(take_external(cpu, NMI));
    }
    match events.interrupt.take() {
        Some((vector, true)) => Err(take_soft(cpu, vector)),
        Some((vector, false)) => Err(take_external(cpu, vector)),
        None => Ok(()),
    }
}

fn take_exception(cpu: &mut Cpu, exception: Exception) -> Stop {
    if exception.pending {
        deliver_payload(cpu);
    }
    cpu.state.events.exception = Exception {
        nr: exception.nr,
        ..Exception::default()
    };
    if is_soft(exception.nr) {
        return take_soft(cpu, exception.nr);
    }
    let faults = exception.pending && is_fault(exception.nr);
    if faults {
        debug::injected(cpu);
    }
    let event = Event {
        vector: exception.nr,
        code: exception.has_error_code.then_some(exception.error_code),
        rip: state::rip(cpu),
        kind: if faults { Kind::Fault } else { Kind::Trap },
    };
    exceptions::deliver(cpu, event)
}

fn take_external(cpu: &mut Cpu, vector: u8) -> Stop {
    let event = Event {
        vector,
        code: None,
        rip: state::rip(cpu),
        kind: Kind::External,
    };
    exceptions::deliver(cpu, event)
}

/// A software interrupt or exception: the instruction at RIP is what it comes from, and is skipped.
fn take_soft(cpu: &mut Cpu, vector: u8) -> Stop {
    let length = match insn::length_here(cpu) {
        Ok(length) => length,
        Err(stop) => return stop,
    };
    let event = Event {
        vector,
        code: None,
        rip: state::rip(cpu).wrapping_add(length),
        kind: Kind::Software,
    };
    exceptions::deliver(cpu, event)
}
