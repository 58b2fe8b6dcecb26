//! Why a vCPU stopped running its guest (KVM API 5, "The kvm_run structure").

pub use understudy_engine::bus::Mmio;

/// What the caller of [`crate::vcpu::Vcpu::run`] has to look after, each named for what `KVM_RUN`
/// gives for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Somebody asked for it: `EINTR`, `KVM_EXIT_INTR`.
    Interrupted,
    /// A vCPU that had not been initialised has got INIT: `EAGAIN`.
    Again,
    /// `KVM_EXIT_IOAPIC_EOI`: the IOAPIC of user space has to know of the EOI of this vector.
    IoapicEoi(u8),
    /// `KVM_EXIT_HYPERCALL`, with RIP at the instruction; the next run begins with
    /// [`crate::vcpu::Vcpu::complete_hypercall`].
    Hypercall(HypercallExit),
    /// `KVM_EXIT_HLT`, with RIP past the instruction.
    Hlt,
    /// `KVM_EXIT_IRQ_WINDOW_OPEN`: an interrupt could be taken now.
    IrqWindowOpen,
    /// `KVM_EXIT_SET_TPR`: CR8 has been lowered, which the interrupt controller in user space has to
    /// know. RIP is past the instruction.
    SetTpr,
    /// `KVM_EXIT_TPR_ACCESS`, with RIP past the instruction.
    TprAccess(TprAccess),
    /// `KVM_EXIT_SHUTDOWN`: a triple fault.
    Shutdown,
    /// `KVM_EXIT_MMIO`. After a read RIP is still at the instruction, and the next run begins with
    /// [`crate::vcpu::Vcpu::complete_mmio`]; after a write it is past it.
    Mmio(Mmio),
    /// `KVM_EXIT_IO`, with RIP at the instruction, or past an OUTS that is not repeated; the next run
    /// begins with [`crate::vcpu::Vcpu::complete_io`].
    Io(Io),
    /// `KVM_EXIT_DEBUG`.
    Debug(DebugExit),
    /// `KVM_EXIT_X86_RDMSR`, with RIP at the instruction; the next run begins with
    /// [`crate::vcpu::Vcpu::complete_msr`].
    Rdmsr(MsrExit),
    /// `KVM_EXIT_X86_WRMSR`, likewise.
    Wrmsr(MsrExit),
    /// `KVM_EXIT_FAIL_ENTRY`: the processor refuses the state.
    FailEntry {
        /// `hardware_entry_failure_reason`.
        reason: u64,
    },
    /// The host memory behind a slot is not there: `EFAULT`.
    Fault,
    /// `KVM_EXIT_DIRTY_RING_FULL`, before the next instruction.
    DirtyRingFull,
    /// `KVM_EXIT_INTERNAL_ERROR`: what KVM's instruction emulator fails to do.
    EmulationFailure(EmulationFailure),
    /// `KVM_EXIT_INTERNAL_ERROR`: what this processor does not have.
    InternalError {
        /// `suberror`.
        suberror: u32,
    },
}

/// `KVM_INTERNAL_ERROR_EMULATION`.
pub const EMULATION: u32 = 1;

/// `hardware_entry_failure_reason` of a state that VMRUN finds invalid.
pub const VMRUN_INVALID: u64 = 0xffff_ffff;

/// The union's member for `KVM_EXIT_DEBUG`. What is none is not written (DBG-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebugExit {
    /// `exception`: 1 or 3.
    pub exception: u32,
    /// `pc`: a linear address.
    pub pc: u64,
    /// `dr6`.
    pub dr6: Option<u64>,
    /// `dr7`.
    pub dr7: Option<u64>,
}

/// The union's member for `KVM_EXIT_INTERNAL_ERROR` of [`EMULATION`], `emulation_failure`, and what KVM tells
/// of the #VMEXIT behind it: a nested page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmulationFailure {
    /// `insn_size`: bytes that were fetched, of the instruction and behind it.
    pub insn_size: u8,
    /// `insn_bytes`.
    pub insn_bytes: [u8; 15],
    /// EXITINFO1, an error code.
    pub error: u64,
    /// EXITINFO2, the guest-physical address.
    pub address: u64,
}

/// The union's member for `KVM_EXIT_TPR_ACCESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TprAccess {
    /// `rip`: the instruction.
    pub rip: u64,
    /// `is_write`.
    pub is_write: bool,
}

/// EXITCODE of a nested page fault (AMD APM vol. 2, appendix C).
pub const VMEXIT_NPF: u64 = 0x400;

/// The union's member for `KVM_EXIT_X86_RDMSR` and `KVM_EXIT_X86_WRMSR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsrExit {
    /// `index`.
    pub index: u32,
    /// `data`: what is written; 0 where it is read.
    pub data: u64,
    /// `reason`: one of [`crate::msrs::reason`].
    pub reason: u32,
}

/// The union's member for `KVM_EXIT_IO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// `direction`: `KVM_EXIT_IO_IN`, or `KVM_EXIT_IO_OUT`.
    pub is_in: bool,
    /// `size`: 1, 2 or 4.
    pub size: u8,
    /// `port`.
    pub port: u16,
    /// `count`: 1, or more elements of an INS that is repeated.
    pub count: u32,
    /// What is written.
    pub data: u64,
}

/// The union's member for `KVM_EXIT_HYPERCALL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HypercallExit {
    /// `nr`.
    pub number: u64,
    /// `args`.
    pub arguments: [u64; 6],
    /// `flags`: `KVM_EXIT_HYPERCALL_LONG_MODE`.
    pub long_mode: bool,
}
