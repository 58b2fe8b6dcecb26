//! Why a vCPU stopped running its guest (KVM API 5, "The kvm_run structure").

pub use understudy_engine::bus::Mmio;

/// What the caller of [`crate::vcpu::Vcpu::run`] has to look after, each named for what
/// `KVM_RUN` gives for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Somebody asked for it: a signal, a kick, or the level of a device's interrupt changed while
    /// there is no in-kernel interrupt controller. `EINTR`, `exit_reason` `KVM_EXIT_INTR`.
    Interrupted,
    /// `KVM_EXIT_MMIO`: an access of a device. The PC is still at the instruction; the next run
    /// must begin with [`crate::vcpu::Vcpu::complete_mmio`].
    Mmio(Mmio),
    /// `KVM_EXIT_ARM_NISV`: an access to no memory slot by an instruction that hardware describes
    /// with no syndrome, on a machine with [`crate::machine::Machine::set_nisv_to_user`].
    NisV {
        /// `esr_iss`: bits of the ISS that are valid without ISV, and no others.
        esr_iss: u64,
        /// `fault_ipa`: the guest-physical address of the page.
        fault_ipa: u64,
    },
    /// The same without that capability: `ENOSYS`.
    NoSyndrome,
    /// The host memory behind a slot is not there: `EFAULT`.
    Fault,
    /// `KVM_EXIT_DIRTY_RING_FULL`, before the next instruction.
    DirtyRingFull,
    /// `KVM_EXIT_DEBUG` (ESR-1 to ESR-8).
    Debug {
        /// The syndrome, all 64 bits of it: `hsr` and `hsr_high`.
        esr: u64,
        /// The address of a watchpoint's access; `far` is left as it was otherwise (ESR-7).
        far: Option<u64>,
    },
    /// `KVM_EXIT_SYSTEM_EVENT`.
    SystemEvent(SystemEvent),
    /// `KVM_EXIT_HYPERCALL`: an SMCCC call that the machine's filter sends to user space, which
    /// writes the results to X0 to X3 itself. The PC is past the instruction.
    Hypercall {
        /// `nr`: the function id.
        function: u32,
        /// `flags`: `KVM_HYPERCALL_EXIT_SMC`; never the bit for 16-bit instructions.
        smc: bool,
    },
    /// `KVM_EXIT_FAIL_ENTRY`: the vCPU cannot be run as it is.
    FailEntry {
        /// `hardware_entry_failure_reason`.
        reason: u64,
    },
    /// `KVM_EXIT_INTERNAL_ERROR`: the software CPU cannot go on, which is its own fault.
    InternalError {
        /// `suberror`.
        suberror: u32,
    },
}

/// The union's member for `KVM_EXIT_SYSTEM_EVENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemEvent {
    /// `type`: one of `KVM_SYSTEM_EVENT_*`.
    pub kind: u32,
    /// `data[0]`, where `ndata` is 1.
    pub data: Option<u64>,
}

/// [`understudy_engine::emit::Mem::info`] of a load or store: what the syndrome of a data abort
/// taken to EL2 would say of the instruction (Arm ARM, ISS encoding for an exception from a Data
/// Abort). Bit positions are those of the ISS.
///
/// An instruction that has none of it, ISV clear, (pairs, writeback, vectors, exclusives, atomics,
/// DC ZVA) leaves `info` 0, or [`syndrome::CACHE`] for cache maintenance.
pub mod syndrome {
    use understudy_engine::emit::Size;

    /// ISV: the fields SAS to AR are valid.
    pub const ISV: u32 = 1 << 24;
    /// SSE: the loaded value is sign-extended.
    pub const SSE: u32 = 1 << 21;
    /// SF: the register is 64 bits wide.
    pub const SF: u32 = 1 << 15;
    /// AR: the instruction has acquire or release semantics.
    pub const AR: u32 = 1 << 14;
    /// CM: cache maintenance or address translation instruction.
    pub const CACHE: u32 = 1 << 8;

    /// What a load or store of one general-purpose register says: of `size`, to or from register
    /// `rt` (31 is XZR), sign-extended or not, 64 bits wide or not.
    pub const fn register(size: Size, rt: u32, sign_extended: bool, sf: bool) -> u32 {
        ISV | (size as u32) << 22
            | if sign_extended { SSE } else { 0 }
            | (rt & 31) << 16
            | if sf { SF } else { 0 }
    }

    /// SRT: the register that is loaded or stored.
    pub const fn srt(info: u32) -> u32 {
        info >> 16 & 31
    }

    /// SAS: how much is accessed.
    pub const fn size(info: u32) -> Size {
        Size::from_log2(info >> 22)
    }
}
