//! Why `KVM_RUN` returned, and the member of `kvm_run`'s union that says more.
//!
//! Each structure here lies at [`crate::run::EXIT_UNION`]. `KVM_EXIT_DEBUG`'s member differs by
//! architecture: [`crate::arm64::kvm_debug_exit_arch`], [`crate::x86::kvm_debug_exit_arch`].

use crate::layout::{numbers, structures};

numbers! {
    /// The exit reasons and their names.
    u32;
    /// Nothing has been said: the value at the start of each run.
    KVM_EXIT_UNKNOWN = 0;
    /// An exception that KVM does not handle.
    KVM_EXIT_EXCEPTION = 1;
    /// x86: a port access; [`io`].
    KVM_EXIT_IO = 2;
    /// A hypercall for user space; [`hypercall`].
    KVM_EXIT_HYPERCALL = 3;
    /// A debug event.
    KVM_EXIT_DEBUG = 4;
    /// x86: HLT without an in-kernel interrupt controller.
    KVM_EXIT_HLT = 5;
    /// An access to no memory; [`mmio`].
    KVM_EXIT_MMIO = 6;
    /// x86: an interrupt can be injected.
    KVM_EXIT_IRQ_WINDOW_OPEN = 7;
    /// The guest cannot go on (x86: triple fault).
    KVM_EXIT_SHUTDOWN = 8;
    /// The guest could not be entered; [`fail_entry`].
    KVM_EXIT_FAIL_ENTRY = 9;
    /// A signal, or `immediate_exit`.
    KVM_EXIT_INTR = 10;
    /// x86: the task priority register was lowered.
    KVM_EXIT_SET_TPR = 11;
    /// x86: the task priority register was accessed.
    KVM_EXIT_TPR_ACCESS = 12;
    /// A non-maskable interrupt.
    KVM_EXIT_NMI = 16;
    /// KVM itself failed; [`internal`].
    KVM_EXIT_INTERNAL_ERROR = 17;
    /// A watchdog expired.
    KVM_EXIT_WATCHDOG = 21;
    /// Power off, reset, suspend, ...; [`system_event`].
    KVM_EXIT_SYSTEM_EVENT = 24;
    /// x86: an end of interrupt for the IOAPIC of user space.
    KVM_EXIT_IOAPIC_EOI = 26;
    /// x86: Hyper-V.
    KVM_EXIT_HYPERV = 27;
    /// arm64: an MMIO access without a usable syndrome; [`arm_nisv`].
    KVM_EXIT_ARM_NISV = 28;
    /// x86: RDMSR; [`msr`].
    KVM_EXIT_X86_RDMSR = 29;
    /// x86: WRMSR; [`msr`].
    KVM_EXIT_X86_WRMSR = 30;
    /// The dirty ring is full.
    KVM_EXIT_DIRTY_RING_FULL = 31;
    /// x86, SEV-ES: the application processor is in reset hold.
    KVM_EXIT_AP_RESET_HOLD = 32;
    /// x86: a bus lock.
    KVM_EXIT_X86_BUS_LOCK = 33;
    /// x86: Xen.
    KVM_EXIT_XEN = 34;
    /// x86: the guest ran too long without an exit.
    KVM_EXIT_NOTIFY = 37;
    /// A memory fault that KVM cannot resolve; [`memory_fault`].
    KVM_EXIT_MEMORY_FAULT = 39;
}

structures! {
    /// [`KVM_EXIT_UNKNOWN`].
    pub struct hw {
        /// What the hardware said.
        pub hardware_exit_reason: u64,
    }

    /// [`KVM_EXIT_FAIL_ENTRY`].
    pub struct fail_entry {
        /// arm64: [`crate::arm64::KVM_EXIT_FAIL_ENTRY_CPU_UNSUPPORTED`].
        pub hardware_entry_failure_reason: u64,
        /// The physical CPU.
        pub cpu: u32,
        /// Padding.
        pub pad: u32,
    }

    /// [`KVM_EXIT_EXCEPTION`].
    pub struct ex {
        /// The vector.
        pub exception: u32,
        /// Its error code.
        pub error_code: u32,
    }

    /// [`KVM_EXIT_IO`].
    pub struct io {
        /// [`KVM_EXIT_IO_IN`] or [`KVM_EXIT_IO_OUT`].
        pub direction: u8,
        /// Bytes of one item.
        pub size: u8,
        /// The port.
        pub port: u16,
        /// How many items.
        pub count: u32,
        /// Where the items are, from the start of `kvm_run`.
        pub data_offset: u64,
    }

    /// [`KVM_EXIT_MMIO`].
    pub struct mmio {
        /// Guest-physical address.
        pub phys_addr: u64,
        /// The data, in the order of memory; of a read, what user space answers.
        pub data: [u8; 8],
        /// Bytes.
        pub len: u32,
        /// 1 for a write, 0 for a read.
        pub is_write: u8,
        /// Padding.
        pub pad: [u8; 3],
    }

    /// [`KVM_EXIT_HYPERCALL`].
    pub struct hypercall {
        /// The function.
        pub nr: u64,
        /// Its arguments (not filled on arm64).
        pub args: [u64; 6],
        /// Its result (x86).
        pub ret: u64,
        /// arm64: `HypercallExitFlags`; x86: bit 0 for long mode.
        pub flags: u64,
    }

    /// [`KVM_EXIT_TPR_ACCESS`].
    pub struct tpr_access {
        /// The accessing instruction.
        pub rip: u64,
        /// 1 for a write.
        pub is_write: u32,
        /// Padding.
        pub pad: u32,
    }

    /// [`KVM_EXIT_INTERNAL_ERROR`].
    pub struct internal {
        /// One of the `KVM_INTERNAL_ERROR_*`.
        pub suberror: u32,
        /// How many of `data` are valid.
        pub ndata: u32,
        /// Per suberror.
        pub data: [u64; 16],
    }

    /// [`KVM_EXIT_INTERNAL_ERROR`] with [`KVM_INTERNAL_ERROR_EMULATION`].
    pub struct emulation_failure {
        /// [`KVM_INTERNAL_ERROR_EMULATION`].
        pub suberror: u32,
        /// How many `u64` follow.
        pub ndata: u32,
        /// Bit 0: the instruction's bytes are valid.
        pub flags: u64,
        /// How many bytes the instruction has.
        pub insn_size: u8,
        /// The bytes.
        pub insn_bytes: [u8; 15],
    }

    /// [`KVM_EXIT_SYSTEM_EVENT`].
    pub struct system_event {
        /// One of the `KVM_SYSTEM_EVENT_*`.
        pub r#type: u32,
        /// How many of `data` are valid.
        pub ndata: u32,
        /// Per type and architecture; `data[0]` was once called `flags`.
        pub data: [u64; 16],
    }

    /// [`KVM_EXIT_IOAPIC_EOI`].
    pub struct eoi {
        /// The vector.
        pub vector: u8,
    }

    /// [`KVM_EXIT_ARM_NISV`].
    pub struct arm_nisv {
        /// The instruction-specific syndrome, ESR bits 24:0.
        pub esr_iss: u64,
        /// The guest-physical address.
        pub fault_ipa: u64,
    }

    /// [`KVM_EXIT_X86_RDMSR`] and [`KVM_EXIT_X86_WRMSR`].
    pub struct msr {
        /// In: not 0 to inject #GP.
        pub error: u8,
        /// Padding.
        pub pad: [u8; 7],
        /// Why it exited: 1 invalid, 2 unknown, 4 filtered.
        pub reason: u32,
        /// Which MSR.
        pub index: u32,
        /// Its value.
        pub data: u64,
    }

    /// [`KVM_EXIT_NOTIFY`].
    pub struct notify {
        /// Bit 0: the guest's context is lost.
        pub flags: u32,
    }

    /// [`KVM_EXIT_MEMORY_FAULT`].
    pub struct memory_fault {
        /// Bit 3: the access was to private memory.
        pub flags: u64,
        /// Guest-physical address.
        pub gpa: u64,
        /// Bytes.
        pub size: u64,
    }
}

/// IN.
pub const KVM_EXIT_IO_IN: u8 = 0;
/// OUT.
pub const KVM_EXIT_IO_OUT: u8 = 1;

/// An instruction could not be emulated.
pub const KVM_INTERNAL_ERROR_EMULATION: u32 = 1;
/// Exceptions at once that cannot be delivered.
pub const KVM_INTERNAL_ERROR_SIMUL_EX: u32 = 2;
/// An unexpected exit while an event was delivered.
pub const KVM_INTERNAL_ERROR_DELIVERY_EV: u32 = 3;
/// An exit that was not expected.
pub const KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: u32 = 4;

/// The guest powered off.
pub const KVM_SYSTEM_EVENT_SHUTDOWN: u32 = 1;
/// The guest reset.
pub const KVM_SYSTEM_EVENT_RESET: u32 = 2;
/// The guest crashed.
pub const KVM_SYSTEM_EVENT_CRASH: u32 = 3;
/// arm64: a wake-up event arrived for a suspended vCPU.
pub const KVM_SYSTEM_EVENT_WAKEUP: u32 = 4;
/// The guest asked to suspend the system.
pub const KVM_SYSTEM_EVENT_SUSPEND: u32 = 5;
/// x86, SEV: the guest terminated itself.
pub const KVM_SYSTEM_EVENT_SEV_TERM: u32 = 6;
