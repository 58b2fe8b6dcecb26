//! The capabilities of KVM on arm64.
//!
//! What this KVM does not have (in-kernel interrupt controller and what belongs to it, the PMU) is 0,
//! as on a host that does not have it. So is the capability of a proposal that is not implemented,
//! switched on or not.

use understudy_abi::arm64::{GuestDebugControl, KVM_COALESCED_MMIO_PAGE_OFFSET};
use understudy_abi::cap::*;
use understudy_abi::proposals::KVM_CAP_ARM_ID_REG_CONFIGURABLE;
use understudy_arm64::machine::Proposals;
use understudy_arm64::sysregs::id::fields;

use crate::system::Kvm;

/// Sizes of blocks in KVM's guest-physical map with 4 KiB pages: 4 KiB, 2 MiB, 1 GiB.
const BLOCK_SIZES: i32 = 1 << 12 | 1 << 21 | 1 << 30;

/// On the system, beside what both architectures have.
pub(super) fn of_system(system: &Kvm, capability: u32) -> i32 {
    match capability {
        KVM_CAP_SYSTEM_EVENT_DATA
        | KVM_CAP_DEVICE_CTRL
        | KVM_CAP_ONE_REG
        | KVM_CAP_ARM_PSCI
        | KVM_CAP_ARM_PSCI_0_2
        | KVM_CAP_ARM_IRQ_LINE_LAYOUT_2
        | KVM_CAP_ARM_NISV_TO_USER
        | KVM_CAP_ARM_INJECT_EXT_DABT
        | KVM_CAP_ARM_SYSTEM_SUSPEND
        | KVM_CAP_ARM_USER_IRQ
        | KVM_CAP_PTP_KVM
        | KVM_CAP_COUNTER_OFFSET
        | KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES => 1,
        KVM_CAP_ARM_PTRAUTH_ADDRESS | KVM_CAP_ARM_PTRAUTH_GENERIC => system.has_pauth() as i32,
        KVM_CAP_ARM_INJECT_SERROR_ESR => system.id_field(&fields::PFR0_RAS).min(1) as i32,
        KVM_CAP_COALESCED_MMIO => KVM_COALESCED_MMIO_PAGE_OFFSET as i32,
        KVM_CAP_ARM_VM_IPA_SIZE => system.ipa_limit() as i32,
        KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES => BLOCK_SIZES,
        KVM_CAP_SET_GUEST_DEBUG2 => GuestDebugControl::all().bits() as i32,
        // The host's, whatever a VM's ID registers say.
        KVM_CAP_GUEST_DEBUG_HW_BPS => system.id_field(&fields::DFR0_BRPS) as i32 + 1,
        KVM_CAP_GUEST_DEBUG_HW_WPS => system.id_field(&fields::DFR0_WRPS) as i32 + 1,
        KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP => 1,
        KVM_CAP_ARM_ID_REG_CONFIGURABLE => {
            let on = Proposals::ID_REG_CONFIGURABLE;
            system.host.proposals.contains(on) as i32
        }
        _ => 0,
    }
}
