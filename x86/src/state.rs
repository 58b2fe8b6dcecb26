//! The architectural state of a vCPU beyond its register file, and what blocks depend on of it.

use crate::Cpu;
use crate::apic::tpr;
use crate::cpuid;
use crate::debug::DebugState;
use crate::events::EventState;
use crate::exit::Exit;
use crate::fp;
use crate::fpu::Fpu;
use crate::hypercalls::Hypercall;
use crate::idle::Idle;
use crate::insn::mode;
use crate::interrupts::{self, InterruptState};
use crate::io::{Input, Pending};
use crate::machine::Machine;
use crate::mmu::{self, MmuState};
use crate::mp::MpState;
use crate::msrs::Msrs;
use crate::msrs::exits::{self, MsrExits};
use crate::pv::{self, Pv};
use crate::quirks::Quirks;
use crate::regs::{self, flag};
use crate::segments::{Segment, Segmentation, Versioned, rights, seg};
use crate::tsc::Tsc;
use crate::vcpu::Devices;
use crate::vcpu::peer::Peer;
use std::sync::Arc;
use understudy_memory::GuestMemory;

/// Bits of CR0 (SDM vol. 3A, 2.5).
pub mod cr0 {
    /// Protection enable.
    pub const PE: u64 = 1 << 0;
    /// Monitor coprocessor: TS counts for FWAIT, too.
    pub const MP: u64 = 1 << 1;
    /// Emulation: there is no x87.
    pub const EM: u64 = 1 << 2;
    /// Task switched.
    pub const TS: u64 = 1 << 3;
    /// Extension type: always 1.
    pub const ET: u64 = 1 << 4;
    /// Exceptions of the x87 are #MF.
    pub const NE: u64 = 1 << 5;
    /// Write protect.
    pub const WP: u64 = 1 << 16;
    /// Alignment mask.
    pub const AM: u64 = 1 << 18;
    /// Not write-through.
    pub const NW: u64 = 1 << 29;
    /// Cache disable.
    pub const CD: u64 = 1 << 30;
    /// Paging.
    pub const PG: u64 = 1 << 31;
}

/// Bits of CR4 (SDM vol. 3A, 2.5).
pub mod cr4 {
    /// Virtual-8086 mode extensions.
    pub const VME: u64 = 1 << 0;
    /// Protected-mode virtual interrupts.
    pub const PVI: u64 = 1 << 1;
    /// Time stamps for CPL 0 only.
    pub const TSD: u64 = 1 << 2;
    /// Debugging extensions.
    pub const DE: u64 = 1 << 3;
    /// Page size extensions.
    pub const PSE: u64 = 1 << 4;
    /// Physical address extension.
    pub const PAE: u64 = 1 << 5;
    /// Machine-check enable.
    pub const MCE: u64 = 1 << 6;
    /// Page global enable.
    pub const PGE: u64 = 1 << 7;
    /// Performance counters for all levels.
    pub const PCE: u64 = 1 << 8;
    /// FXSAVE, FXRSTOR and SSE.
    pub const OSFXSR: u64 = 1 << 9;
    /// SIMD floating-point exceptions are taken.
    pub const OSXMMEXCPT: u64 = 1 << 10;
    /// User-mode instruction prevention.
    pub const UMIP: u64 = 1 << 11;
    /// 57-bit linear addresses.
    pub const LA57: u64 = 1 << 12;
    /// RDFSBASE and its like.
    pub const FSGSBASE: u64 = 1 << 16;
    /// PCID enable.
    pub const PCIDE: u64 = 1 << 17;
    /// XSAVE, and more state.
    pub const OSXSAVE: u64 = 1 << 18;
    /// Supervisor-mode execution prevention.
    pub const SMEP: u64 = 1 << 20;
    /// Supervisor-mode access prevention.
    pub const SMAP: u64 = 1 << 21;
    /// Protection keys for user pages.
    pub const PKE: u64 = 1 << 22;
}

/// Bits of EFER (SDM vol. 3A, 2.2.1).
pub mod efer {
    /// SYSCALL enable.
    pub const SCE: u64 = 1 << 0;
    /// IA-32e mode enable.
    pub const LME: u64 = 1 << 8;
    /// IA-32e mode active.
    pub const LMA: u64 = 1 << 10;
    /// No-execute enable.
    pub const NXE: u64 = 1 << 11;
}

/// Bits of XCR0 (SDM vol. 3A, 2.6).
pub mod xcr0 {
    /// The x87: always 1.
    pub const X87: u64 = 1 << 0;
    /// SSE: XMM registers and MXCSR.
    pub const SSE: u64 = 1 << 1;
    /// AVX: upper halves of YMM registers.
    pub const AVX: u64 = 1 << 2;
    /// Protection keys: PKRU.
    pub const PKRU: u64 = 1 << 9;
}

/// Everything of a vCPU that the engine does not know.
pub struct State {
    /// What it is a vCPU of.
    pub machine: Arc<Machine>,
    /// The vCPU as others reach it.
    pub peer: Arc<Peer>,
    /// The guest's memory.
    pub memory: Arc<GuestMemory>,
    /// The bits of RFLAGS that [`flag::HELD`] has; the others are in slots.
    pub rflags: u64,
    /// Segment and system-table registers.
    pub segmentation: Versioned<Segmentation>,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// CR8, the priority that interrupts must exceed, without a local APIC ([`crate::controls::cr8`]).
    pub cr8: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// XCR0. [`changed`] is to be called after.
    pub xcr0: u64,
    /// PKRU.
    pub pkru: u32,
    /// MXCSR. [`changed`] is to be called after.
    pub mxcsr: u32,
    /// The x87 and MMX.
    pub fpu: Fpu,
    /// IA32_TSC_AUX.
    pub tsc_aux: u32,
    /// Model-specific registers that are storage.
    pub msrs: Msrs,
    /// What user space sees of accesses of model-specific registers.
    pub msr_exits: MsrExits,
    /// The one that it has to complete.
    pub(crate) msr_pending: Option<exits::Pending>,
    /// KVM's quirks.
    pub quirks: Quirks,
    /// What KVM's emulator fails to do is always user space's (`KVM_CAP_EXIT_ON_EMULATION_FAILURE`).
    pub exit_on_emulation_failure: bool,
    /// The hypercalls that there are.
    pub hypercall: Option<Hypercall>,
    /// What CPUID gives.
    pub cpuid: Vec<cpuid::Entry>,
    /// Current privilege level.
    pub cpl: u8,
    /// The mode of blocks, derived ([`changed`]).
    pub mode: u32,
    /// Address translation.
    pub mmu: MmuState,
    /// The time stamp counter.
    pub tsc: Tsc,
    /// Debug registers, breakpoints, single stepping.
    pub debug: DebugState,
    /// Events that user space has queued.
    pub events: EventState,
    /// What it has enabled of what KVM offers.
    pub pv: Pv,
    /// Whether it runs.
    pub mp: MpState,
    /// Waits of the processor's own.
    pub(crate) idle: Idle,
    /// What user space does about TPR.
    pub(crate) tpr: tpr::Help,
    /// Interrupts that wait.
    pub interrupts: InterruptState,
    /// Accesses of devices under way.
    pub(crate) devices: Devices,
    /// The access of a port that user space has to complete.
    pub(crate) io: Option<Pending>,
    /// What it has given for an INS.
    pub(crate) input: Input,
    /// An instruction is being run without its LOCK prefix.
    pub(crate) unlocked: bool,
    /// Why [`understudy_engine::run::Engine::run`] was left.
    pub exit: Option<Exit>,
}

impl State {
    /// The state after reset, with paging and protection off (SDM vol. 3A, table 10-1).
    pub fn new(machine: Arc<Machine>, peer: Arc<Peer>) -> State {
        State {
            memory: machine.memory.clone(),
            machine,
            peer,
            rflags: 0,
            segmentation: Versioned::new(Segmentation::reset()),
            cr0: cr0::ET | cr0::NW | cr0::CD,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            cr8: 0,
            efer: 0,
            xcr0: xcr0::X87,
            pkru: 0,
            mxcsr: fp::mxcsr::RESET,
            fpu: Fpu::default(),
            tsc_aux: 0,
            msrs: Msrs::default(),
            msr_exits: MsrExits::default(),
            msr_pending: None,
            quirks: Quirks::default(),
            exit_on_emulation_failure: false,
            hypercall: Some(pv::hypercalls::hypercall),
            cpuid: Vec::new(),
            cpl: 0,
            mode: 0,
            mmu: MmuState::default(),
            tsc: Tsc::default(),
            debug: DebugState::default(),
            events: EventState::default(),
            pv: Pv::default(),
            mp: MpState::default(),
            idle: Idle::default(),
            tpr: tpr::Help::default(),
            interrupts: InterruptState::default(),
            devices: Devices::default(),
            io: None,
            input: Input::default(),
            unlocked: false,
            exit: None,
        }
    }

    /// Whether the processor is in IA-32e mode: 64-bit or compatibility.
    pub fn long_mode(&self) -> bool {
        self.efer & efer::LMA != 0
    }

    /// Whether it is in protected mode, IA-32e mode included, and not in virtual-8086 mode.
    pub fn protected(&self) -> bool {
        self.cr0 & cr0::PE != 0 && self.rflags & flag::VM == 0
    }

    /// Whether it runs 64-bit code.
    pub fn code64(&self) -> bool {
        self.long_mode() && self.segmentation.segments[seg::CS as usize].rights & rights::L != 0
    }
}

/// The mode of blocks, from what it depends on.
fn block_mode(state: &State) -> u32 {
    let code = &state.segmentation.segments[seg::CS as usize];
    let mut result = 0;
    if state.code64() {
        result |= mode::CODE64 | mode::STACK64;
    } else {
        if code.rights & rights::DB != 0 {
            result |= mode::CODE32;
        }
        if state.segmentation.segments[seg::SS as usize].rights & rights::DB != 0 {
            result |= mode::STACK32;
        }
        if state.segmentation.segments[..4].iter().all(Segment::flat) {
            result |= mode::FLAT;
        }
    }
    if state.protected() {
        result |= mode::PROTECTED;
    }
    if state.cpl == 3 {
        result |= mode::USER;
        if state.cr0 & cr0::AM != 0 && state.rflags & flag::AC != 0 {
            result |= mode::ALIGNED;
        }
    }
    let avx = xcr0::SSE | xcr0::AVX;
    let xsave = state.cr4 & cr4::OSXSAVE != 0;
    let masks = u32::from(fp::ALL) << fp::mxcsr::MASKS_SHIFT;
    let controls = state.mxcsr & !u32::from(fp::ALL);
    for (on, bit) in [
        (state.cr0 & cr0::EM != 0, mode::EM),
        (state.cr0 & cr0::TS != 0, mode::TS),
        (state.cr0 & cr0::MP != 0, mode::MP),
        (state.cr4 & cr4::OSFXSR != 0, mode::FXSR),
        (xsave, mode::XSAVE),
        (xsave && state.xcr0 & avx == avx, mode::AVX),
        (x87_waits(state), mode::X87_PENDING),
        (controls & masks == masks, mode::SSE_MASKED),
        (controls == masks, mode::SSE_PLAIN),
    ] {
        if on {
            result |= bit;
        }
    }
    result
}

/// Whether an exception of the x87 waits to be taken as #MF. With CR0.NE clear it would be an
/// interrupt by way of pins, which a VM has not: it goes on as if IGNNE# were asserted (SDM vol. 1,
/// 8.7.2).
pub(crate) fn x87_waits(state: &State) -> bool {
    state.fpu.pending() && state.cr0 & cr0::NE != 0
}

/// To be called when anything has changed that decoding, emitted code or the rights of accesses
/// depend on: control registers, segments, CPL, RFLAGS, MXCSR.
pub fn changed(cpu: &mut Cpu) {
    cpu.state.mode = block_mode(&cpu.state);
    set_precision(cpu);
    mmu::update_context(cpu);
    interrupts::look(cpu);
}

/// To be called by a helper that may stop when MXCSR may have changed, or what waits of the x87: both are
/// part of the mode of blocks, so that instructions pay nothing for looking at them.
pub(crate) fn floating_changed(cpu: &mut Cpu) {
    set_precision(cpu);
    if block_mode(&cpu.state) != cpu.state.mode {
        changed(cpu);
        cpu.leave_after_insn();
    }
}

fn set_precision(cpu: &mut Cpu) {
    let known = cpu.state.mxcsr as u8 & fp::PE != 0;
    cpu.set_slot(regs::PRECISION, known.into());
}

/// RIP.
pub fn rip(cpu: &Cpu) -> u64 {
    if cpu.state.code64() {
        cpu.pc
    } else {
        cpu.pc
            .wrapping_sub(cpu.state.segmentation.segments[seg::CS as usize].base)
            & 0xffff_ffff
    }
}

/// Sets RIP: the vCPU goes on there.
pub fn set_rip(cpu: &mut Cpu, rip: u64) {
    cpu.pc = if cpu.state.code64() {
        rip
    } else {
        linear_of_rip(cpu, rip)
    };
}

/// The linear address of an instruction pointer outside 64-bit mode.
pub(crate) fn linear_of_rip(cpu: &Cpu, rip: u64) -> u64 {
    let base = cpu.state.segmentation.segments[seg::CS as usize].base;
    base.wrapping_add(rip & 0xffff_ffff) & 0xffff_ffff
}

/// The current value of a segment register with its base.
#[inline]
pub fn segment(cpu: &Cpu, number: u8) -> Segment {
    let mut segment = cpu.state.segmentation.segments[number as usize % 6];
    match number {
        seg::FS => segment.base = cpu.slot(regs::FS_BASE),
        seg::GS => segment.base = cpu.slot(regs::GS_BASE),
        _ => {}
    }
    segment
}

/// Sets a segment register, hidden part included. [`changed`] is the caller's.
pub fn set_segment(cpu: &mut Cpu, number: u8, segment: Segment) {
    cpu.state.segmentation.segments[number as usize % 6] = segment;
    match number {
        seg::FS => cpu.set_slot(regs::FS_BASE, segment.base),
        seg::GS => cpu.set_slot(regs::GS_BASE, segment.base),
        _ => {}
    }
}
