//! Interrupts into the vCPU (Arm ARM D1.3.6, asynchronous exceptions), and waiting for them (WFI
//! and WFE, D1.6).
//!
//! ```text
//!   Peer::set_line ─┐
//!   timer fires ────┼─► request word ─► service() ─► irq() / fiq() / serror(), if not masked
//!   unmasked ───────┘
//! ```
//!
//! A line that is high and masked is not looked at again until it is unmasked, which makes the
//! request INTERRUPT.

use crate::machine::{NEW_EPOCH, POWER, TIMER};
use crate::state::pstate;
use crate::sysregs::Reg;
use crate::timers::{self, Timer};
use crate::vcpu::peer::{Line, MpState};
use crate::{Cpu, exceptions, exit::Exit, mmu};
use std::time::Duration;
use understudy_abi::arm64::DeviceIrqLevel;
use understudy_engine::emit::Stop;
use understudy_engine::request::{EXIT, FLUSH_STORES, FLUSH_TLB, INTERRUPT};
use understudy_engine::sleep::Woken;

/// What this part keeps of a vCPU.
#[derive(Clone, Copy, Debug)]
pub struct InterruptState {
    /// The ISS of the SError interrupt that is pending (HCR_EL2.VSE, VSESR_EL2).
    pub serror: Option<u64>,
    /// The timer outputs that user space knows of, as there is no in-kernel interrupt controller
    /// (`s.regs.device_irq_level`).
    pub reported: DeviceIrqLevel,
}

impl Default for InterruptState {
    fn default() -> Self {
        InterruptState {
            serror: None,
            reported: DeviceIrqLevel::empty(),
        }
    }
}

/// Whether the vCPU has reason to run on from a WFI: a line that is high, masked or not, or a timer
/// output that user space is to be told of. (A pending SError interrupt is none, for KVM.)
fn wakes(cpu: &Cpu) -> bool {
    cpu.state.peer.lines() != 0 || timers::outputs(cpu) != cpu.state.interrupts.reported
}

/// Whether the vCPU is to be run by user space after it was suspended.
pub(crate) fn runnable(cpu: &Cpu) -> bool {
    wakes(cpu) && cpu.state.peer.mp_state() != MpState::Stopped
}

/// Waits until there is an interrupt, or something else for the run loop to look after.
pub(crate) fn wait(cpu: &mut Cpu) {
    sleep_until(
        cpu,
        |_| None,
        |cpu| wakes(cpu) || cpu.requests().pending() & (EXIT | POWER) != 0,
    );
}

/// Sleeps, outside guest code, until the condition holds, which is asked after `limit` at the latest.
/// A signal is an [`EXIT`] request.
fn sleep_until(
    cpu: &mut Cpu,
    limit: impl Fn(&Cpu) -> Option<Duration>,
    mut ready: impl FnMut(&Cpu) -> bool,
) {
    let peer = cpu.state.peer.clone();
    peer.requests().leave();
    loop {
        let seen = peer.sleeper().seen();
        if ready(cpu) {
            break;
        }
        let timeout = [timers::until_next(cpu), limit(cpu)]
            .into_iter()
            .flatten()
            .min();
        if peer.sleeper().sleep(seen, timeout) == Woken::Signal {
            peer.requests().post(EXIT);
        }
    }
    peer.sleeper().awake();
    peer.requests().enter();
}

/// SCTLR_EL1.nTWI: WFI at EL0 is not trapped.
const NTWI: u64 = 1 << 16;
/// ESR_ELx.ISS.TI of WFI and WFIT.
const TI_WFI: u64 = 0b00;
const TI_WFIT: u64 = 0b10;

/// Whether EL1 traps a wait that is about to begin.
fn wait_traps(cpu: &Cpu) -> bool {
    cpu.state.el == 0 && cpu.state.sys[Reg::SCTLR_EL1] & NTWI == 0 && !wakes(cpu)
}

/// WFI: returns when there is something to do. `cpu.pc` is the instruction's own address; it ends
/// its block.
pub fn wait_for_interrupt(cpu: &mut Cpu) -> Result<u64, Stop> {
    if wait_traps(cpu) {
        return Err(exceptions::wait_trapped(cpu, TI_WFI, None));
    }
    crate::vcpu::emulated(cpu);
    wait(cpu);
    Ok(0)
}

/// WFIT (FEAT_WFxT): the same, but it also ends when CNTVCT_EL0 has reached `until`, which X`register`
/// holds.
pub fn wait_for_interrupt_until(cpu: &mut Cpu, until: u64, register: u32) -> Result<u64, Stop> {
    let left = |cpu: &Cpu| timers::left_until(cpu, Timer::Virtual, until);
    if left(cpu).is_none() {
        return Ok(0);
    }
    if wait_traps(cpu) {
        return Err(exceptions::wait_trapped(cpu, TI_WFIT, Some(register)));
    }
    crate::vcpu::emulated(cpu);
    sleep_until(cpu, left, |cpu| {
        let over = left(cpu).is_none();
        over || wakes(cpu) || cpu.requests().pending() & (EXIT | POWER) != 0
    });
    Ok(0)
}

/// WFE, which lets other threads run. There always is an event, so it neither waits nor is trapped.
pub fn wait_for_event(_: &mut Cpu) -> Result<u64, Stop> {
    std::thread::yield_now();
    Ok(0)
}

/// ESB (FEAT_RAS): a pending SError interrupt that is masked is recorded in DISR_EL1 instead of
/// being taken. Ends its block, so that one that is not masked is taken before the next
/// instruction.
pub fn synchronize_errors(cpu: &mut Cpu) -> Result<u64, Stop> {
    /// DISR_EL1.A: an SError interrupt was deferred. IDS and the ISS below it are as in ESR_EL1.
    const A: u64 = 1 << 31;
    if cpu.state.pstate & pstate::A != 0
        && let Some(iss) = cpu.state.interrupts.serror.take()
    {
        cpu.state.sys[Reg::DISR_EL1] = A | iss;
    }
    Ok(0)
}

/// Serves all requests that are made of the vCPU, in KVM's order, and takes the interrupt that is
/// due. See [`understudy_engine::arch::Arch::service`].
pub(crate) fn service(cpu: &mut Cpu) -> Result<(), Stop> {
    loop {
        if cpu.requests().take(EXIT) != 0 {
            cpu.state.exit = Some(Exit::Interrupted);
            return Err(Stop::Exit);
        }
        let all = POWER | NEW_EPOCH | FLUSH_TLB | FLUSH_STORES | INTERRUPT | TIMER;
        let taken = cpu.requests().take(all);
        if taken & FLUSH_TLB != 0 {
            mmu::flush_requested(cpu);
        }
        if taken & FLUSH_STORES != 0 {
            cpu.tlb().clear_stores();
        }
        if taken & NEW_EPOCH != 0 {
            cpu.new_epoch();
        }
        if taken & POWER != 0 && !power(cpu)? {
            continue;
        }
        if cpu.dirty_ring_full() {
            return Err(crate::vcpu::dirty_ring_full(cpu));
        }
        crate::pvtime::update(cpu);
        timers::arm(cpu);
        let (outputs, reported) = (timers::outputs(cpu), cpu.state.interrupts.reported);
        // The guest's own turning off of a timer is no event: it shows at the next other one.
        if !reported.contains(outputs) || taken != TIMER && outputs != reported {
            cpu.state.exit = Some(Exit::Interrupted);
            return Err(Stop::Exit);
        }
        return take(cpu);
    }
}

/// Follows the power state; false if the requests are to be looked at again.
fn power(cpu: &mut Cpu) -> Result<bool, Stop> {
    match cpu.state.peer.mp_state() {
        MpState::Runnable => {}
        MpState::Stopped => {
            sleep_until(
                cpu,
                |_| None,
                |cpu| {
                    cpu.requests().pending() & EXIT != 0
                        || cpu.state.peer.mp_state() != MpState::Stopped
                },
            );
            cpu.requests().post(POWER);
            return Ok(false);
        }
        MpState::Suspended => {
            // A reset that was asked for comes first.
            reset_on_entry(cpu);
            wait(cpu);
            // The state stays until user space changes it.
            cpu.requests().post(POWER);
            if runnable(cpu) {
                cpu.state.exit = Some(Exit::SystemEvent(crate::exit::SystemEvent {
                    kind: understudy_abi::exit::KVM_SYSTEM_EVENT_WAKEUP,
                    data: None,
                }));
                return Err(Stop::Exit);
            }
            return Ok(false);
        }
    }
    reset_on_entry(cpu);
    Ok(true)
}

/// Makes the reset that a PSCI CPU_ON has asked for.
pub(crate) fn reset_on_entry(cpu: &mut Cpu) {
    if let Some(entry) = cpu.state.peer.take_entry() {
        crate::vcpu::reset(cpu, Some(entry));
    }
}

/// Takes the interrupt with the highest priority that is pending and not masked. Priorities are
/// IMPLEMENTATION DEFINED; these are the reference machine's.
fn take(cpu: &mut Cpu) -> Result<(), Stop> {
    let lines = cpu.state.peer.lines();
    let open = |mask| cpu.state.pstate & mask == 0;
    if lines & Line::Irq as u32 != 0 && open(pstate::I) {
        return Err(exceptions::irq(cpu));
    }
    if lines & Line::Fiq as u32 != 0 && open(pstate::F) {
        return Err(exceptions::fiq(cpu));
    }
    if let Some(iss) = cpu.state.interrupts.serror
        && open(pstate::A)
    {
        cpu.state.interrupts.serror = None;
        return Err(exceptions::serror(cpu, iss));
    }
    Ok(())
}
