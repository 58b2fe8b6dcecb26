//! What `KVM_CHECK_EXTENSION` answers (api.rst 4.4).
//!
//! The values are those of KVM of Linux 6.12 on the host that is modelled. What this KVM does not
//! have is 0.

mod arm64;
mod x86;

use understudy_abi::cap::*;
use understudy_abi::common::DirtyLogFlags;

use crate::dirty_ring;
use crate::guest::Guest;
use crate::system::{Kvm, Limits, limits};
use crate::vm::Vm;

/// On the system. Unknown capabilities are 0.
pub fn of_system(system: &Kvm, capability: u32) -> i32 {
    let of_both = in_common(limits(system.guest()), capability);
    of_both.unwrap_or_else(|| of_architecture(system, capability))
}

/// What both architectures have.
fn in_common(limits: &Limits, capability: u32) -> Option<i32> {
    Some(match capability {
        KVM_CAP_USER_MEMORY
        | KVM_CAP_USER_MEMORY2
        | KVM_CAP_DESTROY_MEMORY_REGION_WORKS
        | KVM_CAP_JOIN_MEMORY_REGIONS_WORKS
        | KVM_CAP_SYNC_MMU
        | KVM_CAP_READONLY_MEM
        | KVM_CAP_INTERNAL_ERROR_DATA
        | KVM_CAP_CHECK_EXTENSION_VM
        | KVM_CAP_ENABLE_CAP_VM
        | KVM_CAP_HALT_POLL
        | KVM_CAP_BINARY_STATS_FD
        | KVM_CAP_COALESCED_PIO
        | KVM_CAP_IOEVENTFD
        | KVM_CAP_IOEVENTFD_ANY_LENGTH
        | KVM_CAP_MP_STATE
        | KVM_CAP_IMMEDIATE_EXIT
        | KVM_CAP_VCPU_EVENTS
        | KVM_CAP_VCPU_ATTRIBUTES
        | KVM_CAP_SET_GUEST_DEBUG
        | KVM_CAP_STEAL_TIME => 1,
        KVM_CAP_NR_VCPUS => nr_vcpus(limits),
        KVM_CAP_MAX_VCPUS => limits.max_vcpus as i32,
        KVM_CAP_MAX_VCPU_ID => limits.max_vcpu_id as i32,
        KVM_CAP_NR_MEMSLOTS => limits.nr_memslots.into(),
        KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 => DirtyLogFlags::all().bits() as i32,
        KVM_CAP_DIRTY_LOG_RING_ACQ_REL => dirty_ring::MAX_SIZE as i32,
        _ => return None,
    })
}

fn of_architecture(system: &Kvm, capability: u32) -> i32 {
    match system.guest() {
        Guest::Arm64 => arm64::of_system(system, capability),
        Guest::X86_64 => x86::of_system(system, capability),
    }
}

/// On a VM.
pub fn of_vm(vm: &Vm, capability: u32) -> i32 {
    match (vm.guest(), capability) {
        (Guest::X86_64, capability) if x86::is_private_memory(capability) => 0,
        _ => of_system(&vm.system, capability),
    }
}

/// How many vCPUs a VM should have at most: the host's processors.
fn nr_vcpus(limits: &Limits) -> i32 {
    let host = std::thread::available_parallelism().map_or(1, |n| n.get());
    host.min(limits.max_vcpus as usize) as i32
}
