//! Structures and flags of an arm64 guest (`arch/arm64/include/uapi/asm/kvm.h` of Linux 6.12).

pub mod device;
pub mod psci;
pub mod reg;

use bitflags::bitflags;
use zerocopy::byteorder::{ByteOrder, NativeEndian, U32};

use crate::layout::structures;

/// Debug registers of each of the four kinds, at most (`KVM_ARM_MAX_DBG_REGS`).
pub const KVM_ARM_MAX_DBG_REGS: usize = 16;
/// Banked SPSRs of a guest: EL1, and AArch32's ABT, UND, IRQ, FIQ.
pub const KVM_NR_SPSR: usize = 5;
/// The page of a vCPU's mapping that holds the ring of coalesced MMIO.
pub const KVM_COALESCED_MMIO_PAGE_OFFSET: usize = 1;
/// The one target that KVM prefers on any Armv8 CPU since Linux 4.2.
pub const KVM_ARM_TARGET_GENERIC_V8: u32 = 5;
/// Targets are below this number.
pub const KVM_ARM_NUM_TARGETS: u32 = 6;
/// The bits of `KVM_CREATE_VM`'s argument that hold the size of the guest-physical address space.
pub const KVM_VM_TYPE_ARM_IPA_SIZE_MASK: u64 = 0xff;
/// `hardware_entry_failure_reason`: the physical CPU cannot run this vCPU.
pub const KVM_EXIT_FAIL_ENTRY_CPU_UNSUPPORTED: u64 = 1 << 0;
/// `data[0]` of a reset event: it came from PSCI SYSTEM_RESET2.
pub const KVM_SYSTEM_EVENT_RESET_FLAG_PSCI_RESET2: u64 = 1 << 0;

bitflags! {
    /// `kvm_run.flags` on arm64.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct RunFlags: u16 {
        /// `KVM_DEBUG_ARCH_HSR_HIGH_VALID`: `hsr_high` of a debug exit is valid (ESR-3).
        const HSR_HIGH_VALID = 1 << 0;
    }
}

bitflags! {
    /// The bits of [`kvm_vcpu_init`]'s `features[0]` (IDR-20).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct VcpuFeatures: u32 {
        /// `KVM_ARM_VCPU_POWER_OFF`: begins powered off.
        const POWER_OFF = 1 << 0;
        /// `KVM_ARM_VCPU_EL1_32BIT`: AArch32 at EL1.
        const EL1_32BIT = 1 << 1;
        /// `KVM_ARM_VCPU_PSCI_0_2`: PSCI 0.2 or later, not 0.1.
        const PSCI_0_2 = 1 << 2;
        /// `KVM_ARM_VCPU_PMU_V3`: has a PMU.
        const PMU_V3 = 1 << 3;
        /// `KVM_ARM_VCPU_SVE`: has SVE.
        const SVE = 1 << 4;
        /// `KVM_ARM_VCPU_PTRAUTH_ADDRESS`: authenticates addresses.
        const PTRAUTH_ADDRESS = 1 << 5;
        /// `KVM_ARM_VCPU_PTRAUTH_GENERIC`: authenticates data.
        const PTRAUTH_GENERIC = 1 << 6;
        /// `KVM_ARM_VCPU_HAS_EL2`: nested virtualisation.
        const HAS_EL2 = 1 << 7;
    }
}

bitflags! {
    /// `control` of [`kvm_guest_debug`] on arm64 (DBG-20).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct GuestDebugControl: u32 {
        /// `KVM_GUESTDBG_ENABLE`: all debug exceptions exit.
        const ENABLE = crate::common::KVM_GUESTDBG_ENABLE;
        /// `KVM_GUESTDBG_SINGLESTEP`: exit after each instruction.
        const SINGLESTEP = crate::common::KVM_GUESTDBG_SINGLESTEP;
        /// `KVM_GUESTDBG_USE_SW_BP`: BRK exits, as with [`Self::ENABLE`] alone.
        const USE_SW_BP = 1 << 16;
        /// `KVM_GUESTDBG_USE_HW`: use the registers of `arch` for those of the guest.
        const USE_HW = 1 << 17;
    }
}

bitflags! {
    /// `device_irq_level` of [`kvm_sync_regs`] (8.9): lines of in-kernel devices that are high.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct DeviceIrqLevel: u64 {
        /// `KVM_ARM_DEV_EL1_VTIMER`: the virtual timer.
        const EL1_VTIMER = 1 << 0;
        /// `KVM_ARM_DEV_EL1_PTIMER`: the physical timer.
        const EL1_PTIMER = 1 << 1;
        /// `KVM_ARM_DEV_PMU`: the performance monitor.
        const PMU = 1 << 2;
    }
}

bitflags! {
    /// `flags` of [`crate::exit::hypercall`] on arm64.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct HypercallExitFlags: u64 {
        /// `KVM_HYPERCALL_EXIT_SMC`: SMC, not HVC.
        const SMC = 1 << 0;
        /// `KVM_HYPERCALL_EXIT_16BIT`: a 16-bit instruction.
        const INSN_16BIT = 1 << 1;
    }
}

structures! {
    /// `struct user_pt_regs`.
    pub struct user_pt_regs {
        /// X0 to X30.
        pub regs: [u64; 31],
        /// SP_EL0.
        pub sp: u64,
        /// PC.
        pub pc: u64,
        /// PSTATE in the form of SPSR_ELx.
        pub pstate: u64,
    }

    /// `struct user_fpsimd_state`.
    pub struct user_fpsimd_state {
        /// V0 to V31.
        pub vregs: [u128; 32],
        /// FPSR.
        pub fpsr: u32,
        /// FPCR.
        pub fpcr: u32,
        /// Reserved.
        pub reserved: [u32; 2],
    }

    /// `struct kvm_regs`: never copied as a whole; its word offsets are the ids of core registers
    /// ([`reg::core`]).
    pub struct kvm_regs {
        /// The registers of EL0.
        pub regs: user_pt_regs,
        /// SP_EL1.
        pub sp_el1: u64,
        /// ELR_EL1.
        pub elr_el1: u64,
        /// SPSR_EL1, SPSR_abt, SPSR_und, SPSR_irq, SPSR_fiq.
        pub spsr: [u64; KVM_NR_SPSR],
        /// Padding, for the alignment of `fp_regs`.
        pub pad: u64,
        /// Vector registers.
        pub fp_regs: user_fpsimd_state,
    }

    /// Empty.
    pub struct kvm_sregs {}

    /// Empty.
    pub struct kvm_fpu {}

    /// For `KVM_ARM_VCPU_INIT` and `KVM_ARM_PREFERRED_TARGET`.
    pub struct kvm_vcpu_init {
        /// [`KVM_ARM_TARGET_GENERIC_V8`].
        pub target: u32,
        /// [`VcpuFeatures`] in the first word, the rest is 0.
        pub features: [u32; 7],
    }

    /// The debug registers that user space lends, by kind.
    pub struct kvm_guest_debug_arch {
        /// DBGBCR`n`_EL1.
        pub dbg_bcr: [u64; KVM_ARM_MAX_DBG_REGS],
        /// DBGBVR`n`_EL1.
        pub dbg_bvr: [u64; KVM_ARM_MAX_DBG_REGS],
        /// DBGWCR`n`_EL1.
        pub dbg_wcr: [u64; KVM_ARM_MAX_DBG_REGS],
        /// DBGWVR`n`_EL1.
        pub dbg_wvr: [u64; KVM_ARM_MAX_DBG_REGS],
    }

    /// For `KVM_SET_GUEST_DEBUG` (api.rst 4.87).
    pub struct kvm_guest_debug {
        /// [`GuestDebugControl`].
        pub control: u32,
        /// Not looked at.
        pub pad: u32,
        /// Used with [`GuestDebugControl::USE_HW`].
        pub arch: kvm_guest_debug_arch,
    }

    /// The union's member for `KVM_EXIT_DEBUG`. The syndrome is two words, the low one first, in
    /// either byte order: see [`syndrome_bytes`].
    pub struct kvm_debug_exit_arch {
        /// ESR bits 31:0.
        pub hsr: u32,
        /// ESR bits 63:32, valid where `kvm_run.flags` has [`RunFlags::HSR_HIGH_VALID`].
        pub hsr_high: u32,
        /// The address of a watchpoint's access; else what was there before (ESR-7).
        pub far: u64,
    }

    /// The sync area.
    pub struct kvm_sync_regs {
        /// [`DeviceIrqLevel`].
        pub device_irq_level: u64,
    }

    /// For `KVM_ARM_VCPU_PMU_V3_FILTER`.
    pub struct kvm_pmu_event_filter {
        /// The first event.
        pub base_event: u16,
        /// How many.
        pub nevents: u16,
        /// 0 allow, 1 deny.
        pub action: u8,
        /// Must be 0.
        pub pad: [u8; 3],
    }

    /// `exception` of [`kvm_vcpu_events`].
    pub struct kvm_vcpu_events_exception {
        /// 1: an SError is pending.
        pub serror_pending: u8,
        /// 1: `serror_esr` is its syndrome.
        pub serror_has_esr: u8,
        /// 1: inject an external data abort (never read back).
        pub ext_dabt_pending: u8,
        /// Must be 0.
        pub pad: [u8; 5],
        /// The instruction-specific syndrome, bits 24:0.
        pub serror_esr: u64,
    }

    /// For `KVM_GET_VCPU_EVENTS` and `KVM_SET_VCPU_EVENTS` (api.rst 4.31).
    pub struct kvm_vcpu_events {
        /// What is pending.
        pub exception: kvm_vcpu_events_exception,
        /// Must be 0.
        pub reserved: [u32; 12],
    }

    /// For `KVM_ARM_MTE_COPY_TAGS`.
    pub struct kvm_arm_copy_mte_tags {
        /// Guest-physical address.
        pub guest_ipa: u64,
        /// Bytes of memory.
        pub length: u64,
        /// Pointer to one byte a tag.
        pub addr: u64,
        /// 0 to the guest, 1 from it.
        pub flags: u64,
        /// Must be 0.
        pub reserved: [u64; 2],
    }

    /// For `KVM_ARM_SET_COUNTER_OFFSET` (4.138).
    pub struct kvm_arm_counter_offset {
        /// What is subtracted from the host's counter, for both of the guest's.
        pub counter_offset: u64,
        /// Must be 0.
        pub reserved: u64,
    }

    /// For `KVM_ARM_SET_DEVICE_ADDR` (4.85).
    pub struct kvm_arm_device_addr {
        /// Device (31:16) and kind of address (15:0).
        pub id: u64,
        /// Guest-physical address.
        pub addr: u64,
    }

    /// For the attribute `KVM_ARM_VM_SMCCC_FILTER`.
    pub struct kvm_smccc_filter {
        /// The first function id.
        pub base: u32,
        /// How many.
        pub nr_functions: u32,
        /// One of [`smccc_filter_action`].
        pub action: u8,
        /// Must be 0.
        pub pad: [u8; 15],
    }

    /// For `KVM_ARM_GET_REG_WRITABLE_MASKS` (4.139, IDR-32).
    pub struct reg_mask_range {
        /// Pointer to [`KVM_ARM_FEATURE_ID_RANGE_SIZE`] masks of 8 bytes.
        pub addr: u64,
        /// [`KVM_ARM_FEATURE_ID_RANGE`].
        pub range: u32,
        /// Must be 0.
        pub reserved: [u32; 13],
    }
}

/// The first 8 bytes of [`kvm_debug_exit_arch`] in a given byte order: two words, the low half of
/// the syndrome first (ESR-2). One 64-bit word would put the high half there on a big-endian
/// host, where old programs read `hsr`.
pub fn syndrome_bytes<O: ByteOrder>(esr: u64) -> [u8; 8] {
    let words = [U32::<O>::new(esr as u32), U32::<O>::new((esr >> 32) as u32)];
    zerocopy::transmute!(words)
}

/// [`syndrome_bytes`] in the host's byte order, as `kvm_run` has them.
pub fn native_syndrome_bytes(esr: u64) -> [u8; 8] {
    syndrome_bytes::<NativeEndian>(esr)
}

/// Actions of [`kvm_smccc_filter`].
pub mod smccc_filter_action {
    /// KVM handles the call, as without a filter.
    pub const KVM_SMCCC_FILTER_HANDLE: u8 = 0;
    /// The guest gets NOT_SUPPORTED.
    pub const KVM_SMCCC_FILTER_DENY: u8 = 1;
    /// `KVM_EXIT_HYPERCALL`.
    pub const KVM_SMCCC_FILTER_FWD_TO_USER: u8 = 2;
}

/// The only range of `KVM_ARM_GET_REG_WRITABLE_MASKS`.
pub const KVM_ARM_FEATURE_ID_RANGE: u32 = 0;
/// Registers of that range: op1 0, 1, 3; CRm 0 to 7; op2 0 to 7.
pub const KVM_ARM_FEATURE_ID_RANGE_SIZE: usize = 3 * 8 * 8;

/// The index of a feature ID register (op0 3, CRn 0) in that range.
pub const fn feature_id_range_index(op1: u32, crm: u32, op2: u32) -> usize {
    let op1 = match op1 & 3 {
        3 => 2,
        n => n,
    };
    (op1 << 6 | (crm & 7) << 3 | op2 & 7) as usize
}

/// `irq` of `KVM_IRQ_LINE` on arm64 (api.rst 4.25).
pub mod irq_line {
    /// Bits 31:28: the vCPU's number divided by 256.
    pub const KVM_ARM_IRQ_VCPU2_SHIFT: u32 = 28;
    /// Mask of that field, shifted down.
    pub const KVM_ARM_IRQ_VCPU2_MASK: u32 = 0xf;
    /// Bits 27:24: what kind of interrupt.
    pub const KVM_ARM_IRQ_TYPE_SHIFT: u32 = 24;
    /// Mask of that field, shifted down.
    pub const KVM_ARM_IRQ_TYPE_MASK: u32 = 0xf;
    /// Bits 23:16: the vCPU's number modulo 256.
    pub const KVM_ARM_IRQ_VCPU_SHIFT: u32 = 16;
    /// Mask of that field, shifted down.
    pub const KVM_ARM_IRQ_VCPU_MASK: u32 = 0xff;
    /// Bits 15:0: the interrupt.
    pub const KVM_ARM_IRQ_NUM_MASK: u32 = 0xffff;
    /// Kind: an input of the vCPU itself, where KVM has no interrupt controller.
    pub const KVM_ARM_IRQ_TYPE_CPU: u32 = 0;
    /// Kind: a shared peripheral interrupt.
    pub const KVM_ARM_IRQ_TYPE_SPI: u32 = 1;
    /// Kind: a private peripheral interrupt.
    pub const KVM_ARM_IRQ_TYPE_PPI: u32 = 2;
    /// The vCPU's IRQ input.
    pub const KVM_ARM_IRQ_CPU_IRQ: u32 = 0;
    /// The vCPU's FIQ input.
    pub const KVM_ARM_IRQ_CPU_FIQ: u32 = 1;
}
