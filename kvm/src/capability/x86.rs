//! The capabilities of KVM on x86-64.
//!
//! What is not implemented (Hyper-V, Xen, nested virtualisation, the PMU, SMM) is 0, as on a host
//! that does not have it, and so is the capability of a proposal that is not switched on.

use understudy_abi::cap::*;
use understudy_abi::common::{ClockFlags, KVM_MEMORY_ATTRIBUTE_PRIVATE};
use understudy_abi::x86::{
    GuestDebugControl, KVM_COALESCED_MMIO_PAGE_OFFSET, KVM_X86_DEFAULT_VM, SyncRegs,
};

use understudy_x86::chipset::routing::GSIS;
use understudy_x86::idle::exits;

use crate::dirty_ring;
use crate::ioctl::x86::enable_cap::{HYPERCALLS, QUIRKS, X2APIC_API};
use crate::system::Kvm;
use crate::x86::Proposals;

/// Whether a capability is the system's, but not one of its VMs': they have no private memory.
pub(super) fn is_private_memory(capability: u32) -> bool {
    matches!(capability, KVM_CAP_GUEST_MEMFD | KVM_CAP_MEMORY_ATTRIBUTES)
}

/// On the system, beside what both architectures have.
pub(super) fn of_system(system: &Kvm, capability: u32) -> i32 {
    match capability {
        KVM_CAP_IRQFD
        | KVM_CAP_IRQFD_RESAMPLE
        | KVM_CAP_IOEVENTFD_NO_LENGTH
        | KVM_CAP_HLT
        | KVM_CAP_SREGS2
        | KVM_CAP_EXT_CPUID
        | KVM_CAP_XSAVE
        | KVM_CAP_XCRS
        | KVM_CAP_IRQCHIP
        | KVM_CAP_MMU_SHADOW_CACHE_CONTROL
        | KVM_CAP_PRE_FAULT_MEMORY
        | KVM_CAP_GET_TSC_KHZ
        | KVM_CAP_TSC_CONTROL
        | KVM_CAP_VM_TSC_CONTROL
        | KVM_CAP_TSC_DEADLINE_TIMER
        | KVM_CAP_CLOCKSOURCE
        | KVM_CAP_KVMCLOCK_CTRL
        | KVM_CAP_ASYNC_PF
        | KVM_CAP_ASYNC_PF_INT
        | KVM_CAP_ENFORCE_PV_FEATURE_CPUID
        | KVM_CAP_ENABLE_CAP
        | KVM_CAP_SYS_ATTRIBUTES
        | KVM_CAP_SET_TSS_ADDR
        | KVM_CAP_SET_IDENTITY_MAP_ADDR
        | KVM_CAP_PIT
        | KVM_CAP_PIT2
        | KVM_CAP_PIT_STATE2
        | KVM_CAP_REINJECT_CONTROL
        | KVM_CAP_IRQ_INJECT_STATUS
        | KVM_CAP_SIGNAL_MSI
        | KVM_CAP_SPLIT_IRQCHIP
        | KVM_CAP_IOAPIC_POLARITY_IGNORED
        | KVM_CAP_SET_BOOT_CPU_ID
        | KVM_CAP_X86_APIC_BUS_CYCLES_NS
        | KVM_CAP_MSR_PLATFORM_INFO
        | KVM_CAP_EXT_EMUL_CPUID
        | KVM_CAP_DEBUGREGS
        | KVM_CAP_X86_ROBUST_SINGLESTEP
        | KVM_CAP_USER_NMI
        | KVM_CAP_EXCEPTION_PAYLOAD
        | KVM_CAP_X86_TRIPLE_FAULT_EVENT
        | KVM_CAP_X86_USER_SPACE_MSR
        | KVM_CAP_X86_MSR_FILTER
        | KVM_CAP_GET_MSR_FEATURES
        | KVM_CAP_DISABLE_QUIRKS
        | KVM_CAP_EXIT_ON_EMULATION_FAILURE
        | KVM_CAP_VAPIC
        | KVM_CAP_NOP_IO_DELAY
        | KVM_CAP_PCI_SEGMENT => 1,
        KVM_CAP_MCE => 32,
        KVM_CAP_DIRTY_LOG_RING => dirty_ring::MAX_SIZE as i32,
        KVM_CAP_VM_TYPES => 1 << KVM_X86_DEFAULT_VM,
        KVM_CAP_GUEST_MEMFD => 1,
        KVM_CAP_MEMORY_ATTRIBUTES => KVM_MEMORY_ATTRIBUTE_PRIVATE as i32,
        KVM_CAP_ADJUST_CLOCK => ClockFlags::all().bits() as i32,
        KVM_CAP_EXIT_HYPERCALL => HYPERCALLS as i32,
        KVM_CAP_IRQ_ROUTING => GSIS as i32,
        KVM_CAP_X2APIC_API => X2APIC_API as i32,
        KVM_CAP_XSAVE2 => 4096,
        KVM_CAP_X86_DISABLE_EXITS => exits::ALL as i32,
        KVM_CAP_DISABLE_QUIRKS2 => QUIRKS as i32,
        KVM_CAP_COALESCED_MMIO => KVM_COALESCED_MMIO_PAGE_OFFSET as i32,
        KVM_CAP_SET_GUEST_DEBUG2 => GuestDebugControl::all().bits() as i32,
        KVM_CAP_SYNC_REGS => SyncRegs::all().bits() as i32,
        proposal => Proposals::of_capability(proposal)
            .is_some_and(|proposal| system.host.x86_proposals.contains(proposal))
            .into(),
    }
}
