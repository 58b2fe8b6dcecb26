//! What `KVM_CHECK_EXTENSION` answers (api.rst 4.4).
//!
//! The values are those of KVM of Linux 6.12 on the host that is modelled. What this KVM does not
//! have is 0.

mod arm64;
mod x86;

use crate::guest::Guest;
use crate::system::{Kvm, Limits};
use crate::vm::Vm;

/// On the system. Unknown capabilities are 0.
pub fn of_system(system: &Kvm, capability: u32) -> i32 {
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
