//! What KVM offers to a guest that knows of it (KVM's `Documentation/virt/kvm/x86/`: `cpuid.rst`,
//! `msr.rst`, `hypercalls.rst`). What is offered stands in [`crate::features`], leaf 0x4000_0001.
//!
//! Asynchronous page faults can be switched on, and never come; nor is the end of an interrupt ever told
//! by memory (PV EOI), as no exit would be saved by either.

pub mod clock;
pub mod hypercalls;
pub mod msrs;
pub mod steal;

use crate::Cpu;
use crate::cpuid;
use std::sync::atomic::AtomicU64;

/// Bits of EAX of leaf 0x4000_0001 (`KVM_FEATURE_*`).
pub mod feature {
    /// `CLOCKSOURCE`: kvmclock by its first MSRs.
    pub const CLOCKSOURCE: u32 = 0;
    /// `CLOCKSOURCE2`: kvmclock.
    pub const CLOCKSOURCE2: u32 = 3;
    /// `ASYNC_PF`.
    pub const ASYNC_PF: u32 = 4;
    /// `STEAL_TIME`.
    pub const STEAL_TIME: u32 = 5;
    /// `PV_EOI`.
    pub const PV_EOI: u32 = 6;
    /// `PV_UNHALT`: `KVM_HC_KICK_CPU`.
    pub const PV_UNHALT: u32 = 7;
    /// `ASYNC_PF_VMEXIT`.
    pub const ASYNC_PF_VMEXIT: u32 = 10;
    /// `PV_SEND_IPI`.
    pub const PV_SEND_IPI: u32 = 11;
    /// `POLL_CONTROL`.
    pub const POLL_CONTROL: u32 = 12;
    /// `PV_SCHED_YIELD`.
    pub const PV_SCHED_YIELD: u32 = 13;
    /// `ASYNC_PF_INT`.
    pub const ASYNC_PF_INT: u32 = 14;
}

/// What a VM has of this.
#[derive(Debug, Default)]
pub struct Shared {
    /// Hypercalls that are user space's, a bit each (`KVM_CAP_EXIT_HYPERCALL`).
    pub exits: AtomicU64,
    /// Its clock.
    pub clock: clock::Clock,
}

/// What a vCPU has of this.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pv {
    /// Features that CPUID does not announce are not there (`KVM_CAP_ENFORCE_PV_FEATURE_CPUID`).
    pub enforce: bool,
    pub(crate) clock: clock::PerVcpu,
    pub(crate) steal: steal::Steal,
    pub(crate) msrs: msrs::Stored,
    /// A hypercall is user space's.
    pub(crate) hypercall: bool,
}

/// The leaf that has the features, of leaves that may be several hypervisors': the one behind KVM's
/// signature.
pub fn features_leaf<'a>(leaves: impl IntoIterator<Item = &'a cpuid::Entry>) -> Option<u32> {
    let of_kvm = |leaf: &&cpuid::Entry| {
        let [_, signature @ ..] = leaf.values;
        (0x4000_0000..0x4001_0000).contains(&leaf.function)
            && leaf.function & 0xff == 0
            && signature == cpuid::KVM
    };
    let bases = leaves.into_iter().filter(of_kvm);
    bases.map(|leaf| leaf.function | 1).min()
}

/// Whether the guest may use a feature.
pub(crate) fn has(cpu: &Cpu, bit: u32) -> bool {
    const EAX: usize = 0;
    let announced = |leaf| cpuid::has(cpu, (leaf, 0, EAX, bit));
    !cpu.state.pv.enforce || features_leaf(&cpu.state.cpuid).is_some_and(announced)
}

/// INIT: what was enabled is not any more.
pub(crate) fn reset(cpu: &mut Cpu) {
    cpu.state.pv = Pv {
        enforce: cpu.state.pv.enforce,
        ..Pv::default()
    };
}

/// A run begins.
pub(crate) fn begin(cpu: &mut Cpu) {
    if cpu.state.pv.steal.enabled() {
        steal::record(cpu);
    }
}

/// A run ends.
pub(crate) fn end(cpu: &mut Cpu) {
    if cpu.state.pv.steal.enabled() {
        steal::leave(cpu);
    }
}
