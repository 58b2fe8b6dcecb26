//! Whether a vCPU runs: HLT, INIT and start-up messages (SDM vol. 3A, 9.4 and 10.1; KVM API 4.38,
//! "KVM_GET_MP_STATE"). With a local APIC of user space's, HLT is an exit, and a vCPU always runs. Where KVM
//! does not intercept HLT, it is [`crate::idle`]'s.
//!
//! ```text
//!   Uninitialized ──INIT──► InitReceived ──SIPI──► Runnable ──HLT──► Halted
//!         the first INIT ends the run (EAGAIN)        ▲                │ interrupt, NMI
//!                                                     └────────────────┘
//! ```

use crate::apic::{Apic, event, tpr};
use crate::debug::registers;
use crate::exit::Exit;
use crate::interrupts::{self, InterruptState};
use crate::regs;
use crate::segments::seg;
use crate::state::{self, State, cr0};
use crate::vcpu::Vcpu;
use crate::{Cpu, events, idle, mmu, pv, vcpu};
use std::time::Duration;
use understudy_engine::emit::Stop;
use understudy_engine::request::EXIT;
use understudy_engine::sleep::Woken;

/// Whether a vCPU runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum MpState {
    /// `KVM_MP_STATE_RUNNABLE`.
    #[default]
    Runnable = 0,
    /// `KVM_MP_STATE_UNINITIALIZED`: it waits for INIT.
    Uninitialized = 1,
    /// `KVM_MP_STATE_INIT_RECEIVED`: it waits for a start-up message.
    InitReceived = 2,
    /// `KVM_MP_STATE_HALTED`: it has executed HLT.
    Halted = 3,
    /// `KVM_MP_STATE_SIPI_RECEIVED`, which is only ever set: it starts up.
    SipiReceived = 4,
}

impl MpState {
    /// The state of this number (`kvm_mp_state`).
    pub fn from_number(number: u32) -> Option<MpState> {
        Some(match number {
            0 => MpState::Runnable,
            1 => MpState::Uninitialized,
            2 => MpState::InitReceived,
            3 => MpState::Halted,
            4 => MpState::SipiReceived,
            _ => return None,
        })
    }

    /// How a vCPU begins.
    pub(crate) fn initial(state: &State) -> MpState {
        let apic = state.peer.apic();
        if apic.in_kernel() && !apic.is_boot_cpu(&state.machine) {
            MpState::Uninitialized
        } else {
            MpState::Runnable
        }
    }
}

/// HLT, at the end of the instruction. True if the vCPU waits, which it does before the next one.
pub(crate) fn halt(cpu: &mut Cpu) -> bool {
    let in_kernel = cpu.state.peer.apic().in_kernel();
    if in_kernel {
        cpu.state.mp = MpState::Halted;
        vcpu::leave(cpu);
    }
    in_kernel
}

/// A trap behind HLT ends it.
pub(crate) fn wake(cpu: &mut Cpu) {
    idle::wake(cpu);
    if cpu.state.mp == MpState::Halted {
        cpu.state.mp = MpState::Runnable;
    }
}

/// Whether there is an INIT or a start-up message.
fn messages(cpu: &Cpu) -> bool {
    cpu.state.peer.apic().noted(event::INIT | event::SIPI) != 0
}

/// Whether there is something that ends a vCPU's wait.
fn ready(cpu: &Cpu) -> bool {
    messages(cpu) || cpu.state.mp == MpState::Halted && halt_ends(cpu)
}

/// Whether there is something that ends a halt.
fn halt_ends(cpu: &Cpu) -> bool {
    if events::exception_waits(cpu) {
        return true;
    }
    let apic = cpu.state.peer.apic();
    let interrupts = &cpu.state.interrupts;
    let nmi = interrupts.nmi || apic.noted(event::NMI) != 0;
    apic.noted(event::KICK) != 0
        || nmi && !interrupts.nmi_blocked
        || interrupts::open(cpu) && interrupts::waits(cpu)
}

/// The same of a wait of the processor's own ([`idle`]), which whatever KVM has to do ends, too: an exit
/// that user space has asked for, say. `masked` if an interrupt does though interrupts are masked.
pub(crate) fn idle_ends(cpu: &Cpu, masked: bool) -> bool {
    messages(cpu)
        || halt_ends(cpu)
        || cpu.state.interrupts.window && interrupts::open(cpu)
        || masked && interrupts::waits(cpu)
}

/// Sleeps until it `ends`, or until somebody wants the vCPU to leave; once only if there is a `time`.
pub(crate) fn wait(cpu: &mut Cpu, time: Option<Duration>, ends: impl Fn(&Cpu) -> bool) {
    let peer = cpu.state.peer.clone();
    peer.requests().leave();
    loop {
        let seen = peer.sleeper().seen();
        if ends(cpu) || peer.requests().pending() & EXIT != 0 {
            break;
        }
        if peer.sleeper().sleep(seen, time) == Woken::Signal {
            peer.requests().post(EXIT);
        }
        if time.is_some() {
            break;
        }
    }
    peer.sleeper().awake();
    peer.requests().enter();
}

/// Takes INIT and start-up messages.
fn accept(cpu: &mut Cpu) {
    let peer = cpu.state.peer.clone();
    let apic = peer.apic();
    if apic.take_noted(event::INIT) != 0 {
        initialise(cpu, apic);
    }
    if apic.take_noted(event::SIPI) != 0 && cpu.state.mp == MpState::InitReceived {
        let code = &mut cpu.state.segmentation.segments[seg::CS as usize];
        code.selector = u16::from(apic.sipi()) << 8;
        code.base = u64::from(apic.sipi()) << 12;
        cpu.state.mp = MpState::Runnable;
        state::changed(cpu);
        state::set_rip(cpu, 0);
    }
}

/// Looks after INIT and start-up messages, and waits if the vCPU does not run.
pub(crate) fn service(cpu: &mut Cpu) -> Result<(), Stop> {
    idle::service(cpu)?;
    if cpu.state.mp == MpState::Runnable && !messages(cpu) {
        return Ok(());
    }
    let first = cpu.state.mp == MpState::Uninitialized;
    accept(cpu);
    while cpu.state.mp != MpState::Runnable {
        wait(cpu, None, ready);
        let ready = ready(cpu);
        accept(cpu);
        if ready && cpu.state.mp == MpState::Halted {
            cpu.state.peer.apic().take_noted(event::KICK);
            cpu.state.mp = MpState::Runnable;
        }
        if cpu.requests().take(EXIT) != 0 {
            cpu.state.exit = Some(Exit::Interrupted);
            return Err(Stop::Exit);
        }
        if first {
            break;
        }
    }
    if first {
        cpu.state.exit = Some(Exit::Again);
        return Err(Stop::Exit);
    }
    Ok(())
}

/// INIT (SDM vol. 3A, table 10-1): as after power-up, but for the TSC, most MSRs, and what caches and
/// floating point hold.
fn initialise(cpu: &mut Cpu, apic: &Apic) {
    let machine = cpu.state.machine.clone();
    apic.reset(&machine);
    let new = State::new(machine.clone(), cpu.state.peer.clone());
    let state = &mut cpu.state;
    state.segmentation = new.segmentation;
    state.cr0 = state.cr0 & (cr0::NW | cr0::CD) | cr0::ET;
    (state.cr2, state.cr3, state.cr4, state.cr8) = (0, 0, 0, 0);
    (state.efer, state.rflags, state.cpl) = (0, 0, 0);
    state.interrupts = InterruptState {
        window: state.interrupts.window,
        ..InterruptState::default()
    };
    vcpu::forget_accesses(state);
    tpr::reset(cpu);
    // What user space asks of debugging stays.
    registers::reset(cpu);
    events::reset(cpu);
    for number in 0..16 {
        cpu.set_slot(regs::gpr(number), 0);
    }
    for slot in [regs::FS_BASE, regs::GS_BASE] {
        cpu.set_slot(slot, 0);
    }
    registers::reset(cpu);
    events::reset(cpu);
    pv::reset(cpu);
    vcpu::reset(cpu);
    mmu::flush(cpu);
    cpu.state.mp = if apic.is_boot_cpu(&machine) {
        MpState::Runnable
    } else {
        MpState::InitReceived
    };
}

impl Vcpu {
    /// `KVM_GET_MP_STATE`.
    pub fn mp_state(&mut self) -> MpState {
        accept(&mut self.engine.cpu);
        let state = &mut self.engine.cpu.state;
        let kicked = state.peer.apic().noted(event::KICK) != 0;
        if kicked && state.mp == MpState::Halted {
            state.mp = MpState::Runnable;
        }
        state.mp
    }

    /// `KVM_SET_MP_STATE`; false for `EINVAL`: only a vCPU with a local APIC can be anything but
    /// runnable.
    #[must_use]
    pub fn set_mp_state(&mut self, wanted: MpState) -> bool {
        let state = &mut self.engine.cpu.state;
        let apic = state.peer.apic();
        if wanted != MpState::Runnable && !apic.in_kernel() {
            return false;
        }
        state.mp = wanted;
        if wanted == MpState::SipiReceived {
            state.mp = MpState::InitReceived;
            apic.note(event::SIPI);
        }
        true
    }
}
