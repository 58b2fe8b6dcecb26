//! A vCPU, as the KVM API's implementation drives it.
//!
//! ```text
//!   Vcpu::new ─► init ─► (set registers) ─► run ─► Exit ─┐
//!                                            ▲           │ Mmio: complete_mmio
//!                                            └───────────┘
//! ```

pub mod core_regs;
pub mod peer;
#[cfg(test)]
pub(crate) mod tests;

use crate::debug::{self, GuestDebug, step};
use crate::exit::{Exit, Mmio, syndrome};
use crate::machine::{self, Machine, POWER};
use crate::pvtime::{self, PvTimeError};
use crate::state::State;
use crate::sysregs::{self, Reg};
use crate::{Arm64, Cpu, exceptions, interrupts, mmu, regs, timers};
use peer::{Entry, MpState, Peer};
use std::sync::Arc;
use understudy_abi::arm64::{DeviceIrqLevel, VcpuFeatures};
use understudy_engine::arch::{AccessKind, Arch};
use understudy_engine::bus::Space;
use understudy_engine::emit::{Mem, Stop};
use understudy_engine::run::Engine;

/// PSTATE out of reset: EL1h, everything masked.
pub const RESET_PSTATE: u64 = 0x3c5;

/// ESR_ELx.ISS of the SError interrupt that user space injects without a syndrome: ISV, which
/// here means that the rest is IMPLEMENTATION DEFINED.
const SERROR_IMPLEMENTATION_DEFINED: u64 = 1 << 24;
/// The ISS, bits 24:0.
const ISS: u64 = (1 << 25) - 1;
/// Data fault status code: synchronous external abort.
const EXTERNAL_ABORT: u64 = 0x10;

/// What the run loop keeps of a vCPU between two runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunState {
    /// The load or store that user space emulates: its address's length and [`Mem::info`].
    mmio: Option<(Mmio, Mem)>,
    /// An external abort that user space has injected, for the next run.
    abort: bool,
    /// The last exception taken to EL2, as KVM has it in the vCPU: ESR_EL2.IL, FAR_EL2.
    pub fault: Fault,
}

/// What the last abort taken to EL2 said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// ESR_EL2.IL: whether there was an exit to EL2 at all, as each sets it.
    pub il: bool,
    /// FAR_EL2: the virtual address of the last access that left the guest's memory.
    pub address: u64,
}

/// Why a vCPU cannot be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// It has not had `KVM_ARM_VCPU_INIT`: `ENOEXEC`.
    NotInitialized,
    /// A fractional ID field is above its limit, and the field that it refines is not below its own
    /// (IDR-41): `EPERM`.
    Fraction,
}

/// Events that are pending (`struct kvm_vcpu_events`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// `serror_pending`, with `serror_esr`: the ISS that the guest will find.
    pub serror: Option<u64>,
}

/// Events to make pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetEvents {
    /// `serror_pending`.
    pub serror: bool,
    /// `serror_esr`, where `serror_has_esr` is set.
    pub serror_esr: Option<u64>,
    /// `ext_dabt_pending`.
    pub external_abort: bool,
}

/// A vCPU.
pub struct Vcpu {
    /// The processor and what runs it.
    pub engine: Engine<Arm64>,
    initialized: Option<VcpuFeatures>,
    has_run: bool,
}

impl Vcpu {
    /// The vCPU of number `id` (`KVM_CREATE_VCPU`), added to its machine. It is not initialised.
    pub fn new(machine: &Arc<Machine>, id: u32) -> Vcpu {
        let state = State::new(machine.clone(), add(machine, id));
        let requests = state.peer.requests().clone();
        let mut engine = Engine::new(state, requests);
        mmu::controls_changed(&mut engine.cpu);
        Vcpu {
            engine,
            initialized: None,
            has_run: false,
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

    /// The machine.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.engine.cpu.state.machine
    }

    /// The features it was initialised with; none if it was not.
    pub fn features(&self) -> Option<VcpuFeatures> {
        self.initialized
    }

    /// Whether it has been run.
    pub fn has_run(&self) -> bool {
        self.has_run
    }

    /// Resets the vCPU with these features, which the caller has checked and fixed
    /// ([`Machine::fix_features`]), and stops it if they have POWER_OFF (KVM API 4.82,
    /// "KVM_ARM_VCPU_INIT").
    pub fn init(&mut self, features: VcpuFeatures) {
        self.initialized = Some(features);
        self.engine.cpu.state.features = features;
        let id = &self.engine.cpu.state.id;
        id.initialise(machine::opt_ins(features));
        reset(&mut self.engine.cpu, None);
        self.peer()
            .set_mp_state(if features.contains(VcpuFeatures::POWER_OFF) {
                MpState::Stopped
            } else {
                MpState::Runnable
            });
    }

    /// What `KVM_RUN` does before anything else when it is called for the first time; to be called
    /// at the beginning of each. From its success on the machine counts as having run (IDR-8).
    pub fn first_run(&mut self) -> Result<(), NotReady> {
        if self.initialized.is_none() {
            return Err(NotReady::NotInitialized);
        }
        if !self.has_run {
            if !self.engine.cpu.state.id.fractions_fit() {
                return Err(NotReady::Fraction);
            }
            self.has_run = true;
            self.machine().set_has_run();
            self.engine.cpu.state.id.freeze();
            sysregs::first_run(&mut self.engine.cpu);
        }
        Ok(())
    }

    /// Runs the guest until there is something for user space to do.
    pub fn run(&mut self) -> Exit {
        step::begin_run(&mut self.engine.cpu);
        self.settle();
        self.engine.cpu.state.timer.load();
        // There may be an interrupt or a timer to look after that nobody made a request for: user
        // space has written registers.
        self.peer().requests().post(POWER);
        self.engine.run();
        step::end_run(&mut self.engine.cpu);
        self.update_device_irq_level();
        self.engine
            .cpu
            .state
            .exit
            .take()
            .unwrap_or(Exit::InternalError { suberror: 0 })
    }

    fn update_device_irq_level(&mut self) {
        let level = timers::outputs(&self.engine.cpu);
        self.engine.cpu.state.interrupts.reported = level;
    }

    /// Completes the access of the last [`Exit::Mmio`] with what user space has put into `data`:
    /// the register gets the value that was read, and the instruction is over (ESR-6, first step of
    /// `KVM_RUN`). Does nothing if no access is open, or if an external abort was injected instead.
    pub fn complete_mmio(&mut self, data: &[u8; 8]) {
        let Some((mmio, mem)) = self.engine.cpu.state.run.mmio.take() else {
            return;
        };
        if self.engine.cpu.state.run.abort {
            return;
        }
        let cpu = &mut self.engine.cpu;
        if !mmio.is_write {
            let value = u64::from_le_bytes(*data);
            let value = if Arm64::mode(cpu) & crate::insn::mode::BIG_ENDIAN != 0 {
                value.swap_bytes() >> (64 - 8 * mem.size.bytes())
            } else {
                value
            };
            let value = loaded(value, mem);
            cpu.set_slot(regs::x_write(syndrome::srt(mem.info)), value);
        }
        cpu.pc = cpu.pc.wrapping_add(4);
        emulated(cpu);
    }

    /// Takes the exception that user space has injected, which [`Vcpu::run`] does first. Also to be
    /// called where a `KVM_RUN` ends before it runs anything (`immediate_exit`).
    pub fn settle(&mut self) {
        let cpu = &mut self.engine.cpu;
        if std::mem::take(&mut cpu.state.run.abort) {
            let (esr, far) = (cpu.state.sys[Reg::ESR_EL1], cpu.state.sys[Reg::FAR_EL1]);
            exceptions::take(cpu, esr, Some(far));
        }
    }

    /// Resets the vCPU if a PSCI CPU_ON has asked for that since it last ran. Its registers are to
    /// be read and written after this only.
    pub fn settle_reset(&mut self) {
        interrupts::reset_on_entry(&mut self.engine.cpu);
    }

    /// Debugs the guest as user space asks, from the next run on (KVM API 4.87,
    /// "KVM_SET_GUEST_DEBUG"). The caller has checked the control bits (DBG-20).
    pub fn set_guest_debug(&mut self, user: GuestDebug) {
        debug::set_guest_debug(&mut self.engine.cpu, user);
    }

    /// What is pending (KVM API 4.31, "KVM_GET_VCPU_EVENTS").
    pub fn events(&self) -> Events {
        Events {
            serror: self.engine.cpu.state.interrupts.serror,
        }
    }

    /// Makes events pending (KVM API 4.32, "KVM_SET_VCPU_EVENTS"). False, with nothing done, where
    /// the SError interrupt's syndrome has bits outside the ISS (`EINVAL`).
    #[must_use]
    pub fn set_events(&mut self, events: SetEvents) -> bool {
        let cpu = &mut self.engine.cpu;
        if events.serror {
            let iss = events.serror_esr.unwrap_or(SERROR_IMPLEMENTATION_DEFINED);
            if iss & !ISS != 0 {
                return false;
            }
            cpu.state.interrupts.serror = Some(iss);
        }
        if events.external_abort {
            // The syndrome is there at once, the rest of the exception with the next run.
            let Fault { il, address } = cpu.state.run.fault;
            let class = exceptions::class::DATA_ABORT;
            let mut esr = exceptions::syndrome_from(cpu, class, EXTERNAL_ABORT);
            if !il {
                esr &= !exceptions::IL;
            }
            cpu.state.sys[Reg::ESR_EL1] = esr;
            cpu.state.sys[Reg::FAR_EL1] = address;
            cpu.state.run.abort = true;
        }
        true
    }

    /// The timer outputs that user space is told of, where there is no in-kernel interrupt
    /// controller (`s.regs.device_irq_level` after a run).
    pub fn device_irq_level(&self) -> DeviceIrqLevel {
        self.engine.cpu.state.interrupts.reported
    }

    /// What `s.regs.device_irq_level` holds before a run: a run ends when the outputs differ.
    pub fn set_device_irq_level(&mut self, level: DeviceIrqLevel) {
        let timers = DeviceIrqLevel::EL1_VTIMER | DeviceIrqLevel::EL1_PTIMER;
        self.engine.cpu.state.interrupts.reported = level & timers;
    }

    /// Where the guest's stolen time is told (`KVM_ARM_VCPU_PVTIME_IPA`); [`pvtime::NO_ADDRESS`] if
    /// nowhere.
    pub fn pvtime_address(&self) -> u64 {
        self.engine.cpu.state.pvtime.address()
    }

    /// Sets where the guest's stolen time is told, once.
    pub fn set_pvtime_address(&mut self, address: u64) -> Result<(), PvTimeError> {
        let memory = self.machine().memory.clone();
        pvtime::set_address(&mut self.engine.cpu.state.pvtime, address, |address| {
            pvtime::in_slot(&memory, address)
        })
    }
}

/// Adds a vCPU to a machine.
fn add(machine: &Machine, id: u32) -> Arc<Peer> {
    machine.counters.vcpu_made();
    machine.vcpus.add(|index| Peer::new(index, id))
}

/// The processor of a new vCPU by itself, to run single instructions on.
pub fn new_cpu(machine: &Arc<Machine>, id: u32) -> Cpu {
    let state = State::new(machine.clone(), add(machine, id));
    let requests = state.peer.requests().clone();
    let mut cpu = Cpu::new(state, requests);
    mmu::controls_changed(&mut cpu);
    cpu
}

/// Notes that KVM emulates the instruction at hand, or has skipped it: to a software step it is
/// already over (the step's syndrome then has ISV clear).
pub fn emulated(cpu: &mut Cpu) {
    step::emulated(cpu);
}

/// Resets the vCPU to what `KVM_ARM_VCPU_INIT` leaves, or to the entry of a PSCI CPU_ON.
pub(crate) fn reset(cpu: &mut Cpu, entry: Option<Entry>) {
    let Cpu { regs, pc, .. } = cpu;
    *regs = [0; 128];
    *pc = 0;
    cpu.set_slot(regs::MONITOR, regs::MONITOR_OPEN);
    regs::set_fpcr(cpu, 0);
    regs::set_fpsr(cpu, 0);
    let known = core_regs::set_pstate(cpu, RESET_PSTATE);
    debug_assert!(known);
    cpu.state.run = RunState {
        fault: cpu.state.run.fault,
        ..RunState::default()
    };
    cpu.state.timer.reset();
    sysregs::reset(cpu);
    if let Some(entry) = entry {
        const EE: u64 = 1 << 25;
        cpu.pc = entry.pc;
        core_regs::set_x(cpu, 0, entry.x0);
        if entry.big_endian {
            cpu.state.sys[Reg::SCTLR_EL1] |= EE;
        }
    }
    mmu::controls_changed(cpu);
    debug::changed(cpu);
    mmu::flush(cpu);
}

/// What a register gets from a load of `mem` that found `value`: zero-extended even by LDRSB, LDRSH
/// and LDRSW. The architecture sign-extends; KVM 6.12 does so too, and then masks the value to the
/// access's size.
fn loaded(value: u64, mem: Mem) -> u64 {
    value & mem.size.mask()
}

/// A load from where there is no memory. See [`Arch::device_load`].
pub(crate) fn device_load(cpu: &mut Cpu, address: u64, mem: Mem) -> Result<u64, Stop> {
    if mem.info & syndrome::ISV == 0 {
        return Err(Arm64::device_other(cpu, address, mem, AccessKind::Load));
    }
    cpu.state.run.fault.il = true;
    let length = mem.size.bytes();
    let mut data = [0; 8];
    if let Some(bus) = cpu.state.machine.bus.get()
        && bus.read(
            cpu.state.index(),
            Space::Memory,
            address,
            &mut data[..length as usize],
        )
    {
        emulated(cpu);
        return Ok(u64::from_le_bytes(data));
    }
    Err(mmio(cpu, address, mem, None))
}

/// A store to where there is no memory. See [`Arch::device_store`].
pub(crate) fn device_store(cpu: &mut Cpu, address: u64, value: u64, mem: Mem) -> Result<(), Stop> {
    if mem.info & syndrome::ISV == 0 {
        return Err(Arm64::device_other(cpu, address, mem, AccessKind::Store));
    }
    cpu.state.run.fault.il = true;
    let length = mem.size.bytes();
    let data = (value & mem.size.mask()).to_le_bytes();
    if let Some(bus) = cpu.state.machine.bus.get()
        && bus.write(
            cpu.state.index(),
            Space::Memory,
            address,
            &data[..length as usize],
        )
    {
        emulated(cpu);
        return Ok(());
    }
    Err(mmio(cpu, address, mem, Some(data)))
}

fn mmio(cpu: &mut Cpu, address: u64, mem: Mem, written: Option<[u8; 8]>) -> Stop {
    let mmio = Mmio {
        address,
        length: mem.size.bytes() as u32,
        is_write: written.is_some(),
        data: written.unwrap_or_default(),
    };
    cpu.state.run.mmio = Some((mmio, mem));
    cpu.state.exit = Some(Exit::Mmio(mmio));
    Stop::Exit
}

/// An access to where there is no memory by an instruction that has no syndrome. See
/// [`Arch::device_other`].
pub(crate) fn device_other(cpu: &mut Cpu, address: u64, mem: Mem, kind: AccessKind) -> Stop {
    /// WnR: the access was a write.
    const WNR: u64 = 1 << 6;
    /// Translation fault, level 1: the first level of stage 2 has nothing there.
    const TRANSLATION_FAULT: u64 = 0x05;
    cpu.state.run.fault.il = true;
    cpu.state.exit = Some(if cpu.state.machine.nisv_to_user() {
        let cache = u64::from(mem.info & syndrome::CACHE);
        let write = if kind.writes() { WNR } else { 0 };
        Exit::NisV {
            esr_iss: TRANSLATION_FAULT | cache | write,
            fault_ipa: address,
        }
    } else {
        Exit::NoSyndrome
    });
    Stop::Exit
}

/// User space has to make room in the dirty ring first.
pub(crate) fn dirty_ring_full(cpu: &mut Cpu) -> Stop {
    cpu.state.exit = Some(Exit::DirtyRingFull);
    Stop::Exit
}

/// The memory behind a slot is not there. See [`Arch::host_fault`].
pub(crate) fn host_fault(cpu: &mut Cpu) -> Stop {
    cpu.state.exit = Some(Exit::Fault);
    Stop::Exit
}
