//! The capabilities of KVM on arm64.
//!
//! What this KVM does not have (in-kernel interrupt controller and what belongs to it, the PMU) is 0, as on a host that does not have it. So is the capability of a proposal that is not
//! implemented, switched on or not.

use understudy_abi::arm64::{GuestDebugControl, KVM_COALESCED_MMIO_PAGE_OFFSET};
use understudy_abi::cap::*;
use understudy_abi::common::DirtyLogFlags;
use understudy_abi::proposals::KVM_CAP_ARM_ID_REG_CONFIGURABLE;
use understudy_arm64::machine::Proposals;
use understudy_arm64::sysregs::id::fields;

use super::nr_vcpus;
use crate::dirty_ring;
use crate::guest::Guest;
use crate::system::{Kvm, limits};

/// Sizes of blocks in KVM's guest-physical map with 4 KiB pages: 4 KiB, 2 MiB, 1 GiB.
const BLOCK_SIZES: i32 = 1 << 12 | 1 << 21 | 1 << 30;

/// On the system.
pub(super) fn of_system(system: &Kvm, capability: u32) -> i32 {
    let limits = limits(Guest::Arm64);
    match capability {
        KVM_CAP_USER_MEMORY
        | KVM_CAP_USER_MEMORY2
        | KVM_CAP_DESTROY_MEMORY_REGION_WORKS
        | KVM_CAP_JOIN_MEMORY_REGIONS_WORKS
        | KVM_CAP_SYNC_MMU
        | KVM_CAP_READONLY_MEM
        | KVM_CAP_INTERNAL_ERROR_DATA
        | KVM_CAP_SYSTEM_EVENT_DATA
        | KVM_CAP_CHECK_EXTENSION_VM
        | KVM_CAP_ENABLE_CAP_VM
        | KVM_CAP_HALT_POLL
        | KVM_CAP_BINARY_STATS_FD
        | KVM_CAP_DEVICE_CTRL
        | KVM_CAP_COALESCED_PIO
        | KVM_CAP_IOEVENTFD
        | KVM_CAP_IOEVENTFD_ANY_LENGTH
        | KVM_CAP_MP_STATE
        | KVM_CAP_IMMEDIATE_EXIT
        | KVM_CAP_VCPU_EVENTS
        | KVM_CAP_VCPU_ATTRIBUTES
        | KVM_CAP_ONE_REG
        | KVM_CAP_SET_GUEST_DEBUG
        | KVM_CAP_ARM_PSCI
        | KVM_CAP_ARM_PSCI_0_2
        | KVM_CAP_ARM_IRQ_LINE_LAYOUT_2
        | KVM_CAP_ARM_NISV_TO_USER
        | KVM_CAP_ARM_INJECT_EXT_DABT
        | KVM_CAP_ARM_SYSTEM_SUSPEND
        | KVM_CAP_ARM_USER_IRQ
        | KVM_CAP_PTP_KVM
        | KVM_CAP_STEAL_TIME
        | KVM_CAP_COUNTER_OFFSET
        | KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES => 1,
        KVM_CAP_ARM_PTRAUTH_ADDRESS | KVM_CAP_ARM_PTRAUTH_GENERIC => system.has_pauth() as i32,
        KVM_CAP_ARM_INJECT_SERROR_ESR => system.id_field(&fields::PFR0_RAS).min(1) as i32,
        KVM_CAP_COALESCED_MMIO => KVM_COALESCED_MMIO_PAGE_OFFSET as i32,
        KVM_CAP_NR_VCPUS => nr_vcpus(limits),
        KVM_CAP_MAX_VCPUS => limits.max_vcpus as i32,
        KVM_CAP_MAX_VCPU_ID => limits.max_vcpu_id as i32,
        KVM_CAP_NR_MEMSLOTS => limits.nr_memslots.into(),
        KVM_CAP_ARM_VM_IPA_SIZE => system.ipa_limit() as i32,
        KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES => BLOCK_SIZES,
        KVM_CAP_SET_GUEST_DEBUG2 => GuestDebugControl::all().bits() as i32,
        // The host's, whatever a VM's ID registers say.
        KVM_CAP_GUEST_DEBUG_HW_BPS => system.id_field(&fields::DFR0_BRPS) as i32 + 1,
        KVM_CAP_GUEST_DEBUG_HW_WPS => system.id_field(&fields::DFR0_WRPS) as i32 + 1,
        KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 => DirtyLogFlags::all().bits() as i32,
        KVM_CAP_DIRTY_LOG_RING_ACQ_REL => dirty_ring::MAX_SIZE as i32,
        KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP => 1,
        KVM_CAP_ARM_ID_REG_CONFIGURABLE => {
            let on = Proposals::ID_REG_CONFIGURABLE;
            system.host.proposals.contains(on) as i32
        }
        _ => 0,
    }
}
