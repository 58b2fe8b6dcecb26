//! The architectural state of a vCPU beyond its register file.

use crate::debug::DebugState;
use crate::exit::Exit;
use crate::interrupts::InterruptState;
use crate::machine::Machine;
use crate::mmu::MmuState;
use crate::pauth::PauthState;
use crate::pvtime::PvTimeState;
use crate::sysregs::IdRegisters;
use crate::sysregs::SysRegs;
use crate::timers::TimerState;
use crate::vcpu::RunState;
use crate::vcpu::peer::Peer;
use std::sync::Arc;
use understudy_abi::arm64::VcpuFeatures;

/// PSTATE, except for the flags, which are in slots, and what stands in [`State::el`] and
/// [`State::spsel`] (Arm ARM D1.4). Bit positions are those of SPSR_EL1.
pub mod pstate {
    /// Software step.
    pub const SS: u64 = 1 << 21;
    /// Illegal execution state.
    pub const IL: u64 = 1 << 20;
    /// Privileged access never.
    pub const PAN: u64 = 1 << 22;
    /// User access override.
    pub const UAO: u64 = 1 << 23;
    /// How the last branch was made, if it was an indirect one (FEAT_BTI), until the
    /// next instruction.
    pub const BTYPE: u64 = 3 << BTYPE_SHIFT;
    /// The lowest bit of [`BTYPE`].
    pub const BTYPE_SHIFT: u32 = 10;
    /// Data-independent timing. The time that an instruction takes here never is.
    pub const DIT: u64 = 1 << 24;
    /// Speculative store bypass safe.
    pub const SSBS: u64 = 1 << 12;
    /// Debug exceptions are masked.
    pub const D: u64 = 1 << 9;
    /// SError interrupts are masked.
    pub const A: u64 = 1 << 8;
    /// IRQs are masked.
    pub const I: u64 = 1 << 7;
    /// FIQs are masked.
    pub const F: u64 = 1 << 6;
    /// All that [`super::State::pstate`] holds.
    pub const HELD: u64 = SS | IL | PAN | UAO | DIT | SSBS | BTYPE | D | A | I | F;
}

/// Everything of a vCPU that the engine does not know.
pub struct State {
    /// The VM that this vCPU is part of.
    pub machine: Arc<Machine>,
    /// The ID registers: the VM's, or the vCPU's own under `arm64-id-reg-configurable`.
    pub id: Arc<IdRegisters>,
    /// What of a block's mode hides features ([`crate::insn::features::hidden`]); fixed by the first
    /// run.
    pub hidden_features: u32,
    /// Bits of PSTATE that the vCPU does not have ([`crate::insn::features::hidden_pstate`]); fixed
    /// likewise.
    pub absent_pstate: u64,
    /// This vCPU as others reach it.
    pub peer: Arc<Peer>,
    /// The features of the last `KVM_ARM_VCPU_INIT`.
    pub features: VcpuFeatures,
    /// Current exception level, 0 or 1.
    pub el: u8,
    /// PSTATE.SP: whether the current level uses its own stack pointer. Always false at EL0.
    pub spsel: bool,
    /// The bits of PSTATE that [`pstate::HELD`] has.
    pub pstate: u64,
    /// System registers that are no more than storage.
    pub sys: SysRegs,
    /// Address translation.
    pub mmu: MmuState,
    /// Breakpoints, watchpoints, software step, the OS Lock, and what user space debugs.
    pub debug: DebugState,
    /// Pointer authentication.
    pub pauth: PauthState,
    /// The generic timer.
    pub timer: TimerState,
    /// Interrupts that are pending.
    pub interrupts: InterruptState,
    /// The account of stolen time.
    pub pvtime: PvTimeState,
    /// What the run loop keeps between two runs.
    pub run: RunState,
    /// Why [`understudy_engine::run::Engine::run`] was left.
    pub exit: Option<Exit>,
}

impl State {
    /// The state of a vCPU that was never reset.
    pub fn new(machine: Arc<Machine>, peer: Arc<Peer>) -> State {
        State {
            id: machine.id_registers(),
            hidden_features: 0,
            absent_pstate: 0,
            machine,
            peer,
            features: VcpuFeatures::empty(),
            el: 1,
            spsel: true,
            pstate: pstate::HELD & !(pstate::SS | pstate::IL | pstate::DIT | pstate::BTYPE),
            sys: SysRegs::default(),
            mmu: MmuState::default(),
            debug: DebugState::default(),
            pauth: PauthState::default(),
            timer: TimerState::default(),
            interrupts: InterruptState::default(),
            pvtime: PvTimeState::default(),
            run: RunState::default(),
            exit: None,
        }
    }

    /// Index of the vCPU in its VM.
    pub fn index(&self) -> usize {
        self.peer.index()
    }
}
