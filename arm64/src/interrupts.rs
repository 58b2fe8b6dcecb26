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
use crate::vcpu::peer::{Line, MpState, Woken};
use crate::{Cpu, exceptions, exit::Exit, timers};
use understudy_abi::arm64::DeviceIrqLevel;
use understudy_engine::emit::Stop;
use understudy_engine::request::{EXIT, FLUSH_STORES, FLUSH_TLB, INTERRUPT};

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
    sleep_until(cpu, |cpu| {
        wakes(cpu) || cpu.requests().pending() & (EXIT | POWER) != 0
    });
}

/// Sleeps, outside guest code, until the condition holds. A signal is an [`EXIT`] request.
fn sleep_until(cpu: &mut Cpu, mut ready: impl FnMut(&Cpu) -> bool) {
    let peer = cpu.state.peer.clone();
    peer.requests().leave();
    loop {
        let seen = peer.seen();
        if ready(cpu) {
            break;
        }
        if peer.sleep(seen, timers::until_next(cpu)) == Woken::Signal {
            peer.requests().post(EXIT);
        }
    }
    peer.requests().enter();
}

/// WFI. Ends its block; the PC is still at the instruction, which is complete on return.
pub fn wfi(cpu: &mut Cpu) -> Result<(), Stop> {
    const NTWI: u64 = 1 << 16;
    if cpu.state.el == 0 && cpu.state.sys[crate::sysregs::Reg::SCTLR_EL1] & NTWI == 0 {
        // Not trapped if the instruction would not wait.
        if !wakes(cpu) {
            return Err(exceptions::wait_trapped(cpu, false));
        }
        return Ok(());
    }
    crate::vcpu::emulated(cpu);
    wait(cpu);
    Ok(())
}

/// WFE: lets other threads run. There is always an event, so it neither waits nor is trapped.
pub fn wfe(_: &mut Cpu) -> Result<(), Stop> {
    std::thread::yield_now();
    Ok(())
}

/// Serves all requests that are made of the vCPU, in KVM's order, and takes the interrupt that is
/// due. See [`understudy_engine::arch::Arch::service`].
pub(crate) fn service(cpu: &mut Cpu) -> Result<(), Stop> {
    loop {
        if cpu.requests().take(EXIT) != 0 {
            cpu.state.exit = Some(Exit::Interrupted);
            return Err(Stop::Exit);
        }
        let requests = cpu.requests().clone();
        let taken = requests.take(POWER | NEW_EPOCH | FLUSH_TLB | FLUSH_STORES | INTERRUPT | TIMER);
        if taken & FLUSH_TLB != 0 {
            cpu.flush_all();
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
        crate::pvtime::update(cpu);
        timers::arm(cpu);
        if timers::outputs(cpu) != cpu.state.interrupts.reported {
            cpu.state.exit = Some(Exit::Interrupted);
            return Err(Stop::Exit);
        }
        return take(cpu);
    }
}

/// Follows the power state; false if the requests are to be looked at again.
fn power(cpu: &mut Cpu) -> Result<bool, Stop> {
    let peer = cpu.state.peer.clone();
    match peer.mp_state() {
        MpState::Runnable => {}
        MpState::Stopped => {
            sleep_until(cpu, |cpu| {
                cpu.requests().pending() & EXIT != 0
                    || cpu.state.peer.mp_state() != MpState::Stopped
            });
            peer.requests().post(POWER);
            return Ok(false);
        }
        MpState::Suspended => {
            // A reset that was asked for comes first.
            reset_on_entry(cpu);
            wait(cpu);
            // The state stays until user space changes it.
            peer.requests().post(POWER);
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

fn reset_on_entry(cpu: &mut Cpu) {
    if let Some(entry) = cpu.state.peer.take_entry() {
        crate::vcpu::reset(cpu, Some(entry));
    }
}

/// Takes the interrupt with the highest priority that is pending and not masked.
fn take(cpu: &mut Cpu) -> Result<(), Stop> {
    let lines = cpu.state.peer.lines();
    let open = |mask| cpu.state.pstate & mask == 0;
    if let Some(iss) = cpu.state.interrupts.serror
        && open(pstate::A)
    {
        cpu.state.interrupts.serror = None;
        return Err(exceptions::serror(cpu, iss));
    }
    if lines & Line::Fiq as u32 != 0 && open(pstate::F) {
        return Err(exceptions::fiq(cpu));
    }
    if lines & Line::Irq as u32 != 0 && open(pstate::I) {
        return Err(exceptions::irq(cpu));
    }
    Ok(())
}
