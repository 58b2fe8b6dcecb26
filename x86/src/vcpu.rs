//! A vCPU, as the KVM API's implementation drives it.
//!
//! ```text
//!   Vcpu::new ─► (set registers) ─► run ─► Exit ─┐
//!                                    ▲           │ Mmio: complete_mmio
//!                                    └───────────┘
//! ```
//!
//! **Devices.** An instruction that reads a device leaves with [`Exit::Mmio`] and is run again, by itself,
//! with the data that user space has given; it may read several times, so all of it is kept until the
//! instruction is over. One that writes goes on to its end, and the vCPU leaves after it.

pub mod peer;

use crate::apic::tpr;
use crate::debug::guest::{self, Busy, GuestDebug};
use crate::debug::registers::{self, DebugRegs};
use crate::events::{self, Events};
use crate::exit::{EMULATION, Exit, Mmio, VMRUN_INVALID};
use crate::interrupts::{self, Shadow};
use crate::io;
use crate::machine::{LEAVE, Machine, NEW_EPOCH, TELL_EPOCH};
use crate::mmu;
use crate::mp::{self, MpState};
use crate::msrs::exits;
use crate::pv;
use crate::regs::flag;
use crate::state::{self, State, cr0};
use crate::{Cpu, X86, debug, devices, idle};
use peer::Peer;
use std::collections::VecDeque;
use std::sync::Arc;
use understudy_engine::emit::{Mem, Stop};
use understudy_engine::request::{EXIT, FLUSH_STORES, FLUSH_TLB, INTERRUPT};
use understudy_engine::run::Engine;

/// The accesses of devices of the instruction at hand.
#[derive(Debug, Default)]
pub struct Devices {
    /// What user space has given for its reads so far, in their order.
    read: Vec<(u64, u64)>,
    /// How many of them the instruction has taken since it was begun again.
    taken: usize,
    /// Its writes, for user space.
    written: VecDeque<Mmio>,
}

/// A vCPU.
pub struct Vcpu {
    /// The processor and what runs it.
    pub engine: Engine<X86>,
    /// The read that user space has to complete.
    pending: Option<Mmio>,
}

impl Vcpu {
    /// The vCPU of number `id` (`KVM_CREATE_VCPU`), added to its machine, as it is after reset.
    pub fn new(machine: &Arc<Machine>, id: u32) -> Vcpu {
        let peer = machine.add(id);
        let requests = peer.requests().clone();
        let mut engine = Engine::new(State::new(machine.clone(), peer), requests);
        reset(&mut engine.cpu);
        engine.cpu.state.tsc = machine.new_tsc();
        idle::begin(&mut engine.cpu);
        engine.cpu.state.mp = MpState::initial(&engine.cpu.state);
        Vcpu {
            engine,
            pending: None,
        }
    }

    /// The processor.
    pub fn cpu(&self) -> &Cpu {
        &self.engine.cpu
    }

    /// The processor.
    pub fn cpu_mut(&mut self) -> &mut Cpu {
        &mut self.engine.cpu
    }

    /// The vCPU as other threads reach it.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.engine.cpu.state.peer
    }

    /// Runs the guest until there is something for user space to do.
    pub fn run(&mut self) -> Exit {
        let devices = &mut self.engine.cpu.state.devices;
        devices.taken = 0;
        if let Some(next) = devices.written.pop_front() {
            return Exit::Mmio(next);
        }
        if guest::refused(&self.engine.cpu) {
            return Exit::FailEntry {
                reason: VMRUN_INVALID,
            };
        }
        let state = &self.engine.cpu.state;
        if state.rflags & flag::VM != 0 && state.cr0 & cr0::PE != 0 && !state.long_mode() {
            // Virtual-8086 mode is not there, and only user space can have asked for it.
            return Exit::InternalError {
                suberror: EMULATION,
            };
        }
        idle::wake(&mut self.engine.cpu);
        pv::begin(&mut self.engine.cpu);
        tpr::give(&mut self.engine.cpu);
        self.engine.run();
        pv::end(&mut self.engine.cpu);
        tpr::take(&mut self.engine.cpu);
        let exit = self.engine.cpu.state.exit.take();
        if let Some(Exit::Mmio(mmio)) = exit
            && !mmio.is_write
        {
            self.pending = Some(mmio);
        }
        exit.unwrap_or(Exit::InternalError { suberror: 0 })
    }

    /// Queues an external interrupt (KVM API 4.16, "KVM_INTERRUPT"). False, with nothing done, if one
    /// waits already (`EEXIST`).
    #[must_use]
    pub fn inject(&mut self, vector: u8) -> bool {
        let waits = &mut self.engine.cpu.state.interrupts.external;
        if waits.is_some() {
            return false;
        }
        *waits = Some(vector);
        interrupts::look(&mut self.engine.cpu);
        true
    }

    /// Queues an NMI (KVM API 4.64, "KVM_NMI").
    pub fn nmi(&mut self) {
        self.engine.cpu.state.interrupts.nmi = true;
        interrupts::look(&mut self.engine.cpu);
    }

    /// Asks for [`Exit::IrqWindowOpen`] as soon as an interrupt could be taken
    /// (`request_interrupt_window`), or no longer does.
    pub fn request_window(&mut self, wanted: bool) {
        let chipset = self.engine.cpu.state.machine.chipset();
        let user = chipset.is_none_or(|chipset| chipset.is_split());
        self.engine.cpu.state.interrupts.window = wanted && user;
        interrupts::look(&mut self.engine.cpu);
    }

    /// Whether an interrupt that is injected now would be taken at once
    /// (`ready_for_interrupt_injection`).
    pub fn ready(&self) -> bool {
        let cpu = &self.engine.cpu;
        match cpu.state.machine.chipset() {
            // Nobody has to know.
            Some(chipset) if !chipset.is_split() => return true,
            Some(_) if !cpu.state.peer.apic().accepts_pic() => return false,
            _ => {}
        }
        interrupts::open(cpu) && cpu.state.interrupts.external.is_none()
    }

    /// Completes the access of the last [`Exit::Io`]: an IN with what user space has put into `data`.
    /// Does nothing if none is open, or if RIP has changed since.
    pub fn complete_io(&mut self, data: u64) {
        self.complete_io_elements(&data.to_le_bytes());
    }

    /// The same with all elements that an INS has asked for, one after the other.
    pub fn complete_io_elements(&mut self, data: &[u8]) {
        io::complete(&mut self.engine.cpu, data);
    }

    /// Completes the access of the last [`Exit::Rdmsr`] or [`Exit::Wrmsr`]: with a #GP for the guest if
    /// user space has set `error`, or with the `data` that a read gives. Does nothing if none is open.
    pub fn complete_msr(&mut self, error: bool, data: u64) {
        exits::complete(&mut self.engine.cpu, error, data);
    }

    /// Completes the read of the last [`Exit::Mmio`] with what user space has put into `data`; does
    /// nothing if none is open.
    pub fn complete_mmio(&mut self, data: &[u8; 8]) {
        if let Some(mmio) = self.pending.take() {
            let value = u64::from_le_bytes(*data);
            let devices = &mut self.engine.cpu.state.devices;
            devices.read.push((mmio.address, value));
        }
    }
}

/// Registers as the KVM API has them.
impl Vcpu {
    /// `KVM_SET_GUEST_DEBUG`.
    pub fn set_guest_debug(&mut self, wanted: &GuestDebug) -> Result<(), Busy> {
        guest::set(&mut self.engine.cpu, wanted)
    }

    /// `KVM_GET_DEBUGREGS`.
    pub fn debugregs(&self) -> DebugRegs {
        registers::get(&self.engine.cpu)
    }

    /// `KVM_SET_DEBUGREGS`; false for `EINVAL`.
    #[must_use]
    pub fn set_debugregs(&mut self, wanted: &DebugRegs) -> bool {
        registers::set(&mut self.engine.cpu, wanted)
    }

    /// `KVM_GET_VCPU_EVENTS`.
    pub fn events(&mut self) -> Events {
        events::get(&mut self.engine.cpu)
    }

    /// `KVM_SET_VCPU_EVENTS`; false for `EINVAL`.
    #[must_use]
    pub fn set_events(&mut self, wanted: &Events) -> bool {
        events::set(&mut self.engine.cpu, wanted)
    }

    /// RFLAGS as `KVM_GET_REGS` gives them: without the TF of user space's own single steps.
    pub fn rflags(&self) -> u64 {
        guest::flags(&self.engine.cpu)
    }

    /// RIP and RFLAGS as `KVM_SET_REGS` sets them, after the other registers. An exception that has not
    /// been injected yet is dropped.
    pub fn set_rip_and_rflags(&mut self, rip: u64, rflags: u64) {
        let cpu = &mut self.engine.cpu;
        state::set_rip(cpu, rip);
        guest::set_flags(cpu, rflags);
        events::registers_set(cpu);
    }
}

/// Makes of a new processor one that has been reset: at 0xfffffff0, RDX telling the family.
pub(crate) fn reset(cpu: &mut Cpu) {
    crate::regs::set_flag_slots(cpu, 0);
    cpu.set_slot(crate::regs::RDX, 0x600);
    state::changed(cpu);
    state::set_rip(cpu, 0xfff0);
}

/// Forgets the accesses under way.
pub(crate) fn forget_accesses(state: &mut State) {
    state.devices = Devices::default();
    state.io = None;
    state.input = Default::default();
    state.msr_pending = None;
}

/// Whether the instruction at hand is to be run by itself.
#[inline(always)]
pub(crate) fn stepping(cpu: &Cpu) -> bool {
    debug::stepping(cpu) || unsettled(cpu)
}

/// Whether something is to be done after the instruction at hand.
#[inline(always)]
pub(crate) fn unsettled(cpu: &Cpu) -> bool {
    has_read_device(cpu) || cpu.state.interrupts.shadow != Shadow::None
}

/// [`understudy_engine::arch::Arch::after_insn`].
pub(crate) fn after_insn(cpu: &mut Cpu, stop: Option<Stop>) {
    interrupts::after_insn(cpu);
    debug::after_insn(cpu, stop);
    // An instruction that left to read again keeps what it has got.
    let waits = stop == Some(Stop::Exit) && matches!(cpu.state.exit, Some(Exit::Mmio(_)));
    if !waits {
        cpu.state.devices.read.clear();
    }
}

/// [`understudy_engine::arch::Arch::service`].
pub(crate) fn service(cpu: &mut Cpu) -> Result<(), Stop> {
    let epochs = NEW_EPOCH | TELL_EPOCH;
    let taken = cpu
        .requests()
        .take(EXIT | FLUSH_TLB | FLUSH_STORES | INTERRUPT | LEAVE | epochs);
    if taken & TELL_EPOCH != 0 {
        let me = cpu.state.peer.index();
        cpu.state.machine.vcpus.broadcast(Some(me), NEW_EPOCH);
    }
    if taken & NEW_EPOCH != 0 {
        cpu.new_epoch();
    }
    if taken & FLUSH_TLB != 0 {
        mmu::flush_requested(cpu);
    }
    if taken & FLUSH_STORES != 0 {
        cpu.tlb().clear_stores();
    }
    if let Some(mmio) = cpu.state.devices.written.pop_front() {
        // A signal is looked at by the next run.
        cpu.requests().post(taken & EXIT);
        cpu.state.exit = Some(Exit::Mmio(mmio));
        return Err(Stop::Exit);
    }
    if cpu.state.exit.is_some() {
        // A signal is looked at by the next run.
        cpu.requests().post(taken & (EXIT | INTERRUPT));
        return Err(Stop::Exit);
    }
    if taken & EXIT != 0 {
        cpu.state.exit = Some(Exit::Interrupted);
        cpu.requests().post(taken & INTERRUPT);
        return Err(Stop::Exit);
    }
    mp::service(cpu)?;
    if cpu.dirty_ring_full() {
        return Err(dirty_ring_full(cpu));
    }
    pv::clock::service(cpu);
    debug::service(cpu)?;
    events::service(cpu)?;
    tpr::take(cpu);
    let result = interrupts::service(cpu);
    tpr::give(cpu);
    result
}

/// Has the exit made that is noted, before the next instruction.
pub(crate) fn leave(cpu: &mut Cpu) {
    cpu.requests().post(LEAVE);
}

fn mmio(address: u64, bytes: u64, written: Option<u64>) -> Mmio {
    Mmio {
        address,
        length: bytes as u32,
        is_write: written.is_some(),
        data: written.unwrap_or(0).to_le_bytes(),
    }
}

/// [`understudy_engine::arch::Arch::device_load`].
pub(crate) fn device_load(cpu: &mut Cpu, address: u64, mem: Mem) -> Result<u64, Stop> {
    device_read(cpu, address, mem.size.bytes())
}

/// Reads so many bytes, up to 8, of a device.
pub(crate) fn device_read(cpu: &mut Cpu, address: u64, bytes: u64) -> Result<u64, Stop> {
    debug::by_emulator(cpu)?;
    let devices = &mut cpu.state.devices;
    if let Some((at, value)) = devices.read.get(devices.taken).copied()
        && at == address
    {
        devices.taken += 1;
        return Ok(value & !0 >> (64 - 8 * bytes));
    }
    let mut data = [0; 8];
    if devices::load(cpu, address, &mut data[..bytes as usize]) {
        return Ok(u64::from_le_bytes(data));
    }
    let devices = &mut cpu.state.devices;
    devices.read.truncate(devices.taken);
    cpu.state.exit = Some(Exit::Mmio(mmio(address, bytes, None)));
    Err(Stop::Exit)
}

/// [`understudy_engine::arch::Arch::device_store`].
pub(crate) fn device_store(cpu: &mut Cpu, address: u64, value: u64, mem: Mem) -> Result<(), Stop> {
    device_write(cpu, address, value, mem.size.bytes())
}

/// Writes so many bytes, up to 8, of a device.
pub(crate) fn device_write(
    cpu: &mut Cpu,
    address: u64,
    value: u64,
    bytes: u64,
) -> Result<(), Stop> {
    debug::by_emulator(cpu)?;
    if devices::store(cpu, address, &value.to_le_bytes()[..bytes as usize]) {
        // What follows from it, an interrupt say, comes before the next instruction.
        if cpu.requests().any() {
            cpu.leave_after_insn();
        }
        return Ok(());
    }
    let written = mmio(address, bytes, Some(value));
    cpu.state.devices.written.push_back(written);
    debug::device_written(cpu);
    cpu.requests().post(LEAVE);
    cpu.leave_after_insn();
    Ok(())
}

/// The software CPU cannot go on.
pub(crate) fn internal_error(cpu: &mut Cpu) -> Stop {
    let suberror = EMULATION;
    cpu.state.exit = Some(Exit::InternalError { suberror });
    Stop::Exit
}

/// User space has to make room in the dirty ring first.
pub(crate) fn dirty_ring_full(cpu: &mut Cpu) -> Stop {
    cpu.state.exit = Some(Exit::DirtyRingFull);
    Stop::Exit
}

/// Whether the instruction at hand has read a device, so that it must not be begun again.
pub(crate) fn has_read_device(cpu: &Cpu) -> bool {
    !cpu.state.devices.read.is_empty()
}

/// The memory behind a slot is not there.
pub(crate) fn host_fault(cpu: &mut Cpu) -> Stop {
    cpu.state.exit = Some(Exit::Fault);
    Stop::Exit
}
