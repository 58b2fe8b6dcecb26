//! The proposals for x86-64 guests: names, capabilities, and the bits of `kvm_valid_regs` that they
//! add (requirements 0.2).

use bitflags::bitflags;
use understudy_abi::proposals::{
    KVM_CAP_X86_GUEST_DEBUG_CR3, KVM_CAP_X86_SYNC_REGS_CONDITIONAL, KVM_CAP_X86_SYNC_REGS_DEBUG,
    KVM_SYNC_REGS_CONDITIONAL, KVM_SYNC_REGS_DEBUG, name,
};

bitflags! {
    /// Proposals that are switched on for x86-64 guests.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Proposals: u32 {
        /// `x86-guest-debug-cr3`: a debug exit has the guest's CR3 (CR3-1).
        const GUEST_DEBUG_CR3 = 1 << 0;
        /// `x86-sync-regs-conditional`: registers are stored by exit reason (SYNC-12).
        const SYNC_REGS_CONDITIONAL = 1 << 1;
        /// `x86-sync-regs-debug`: registers are stored on debug exits (SYNC-20).
        const SYNC_REGS_DEBUG = 1 << 2;
    }
}

/// By name and capability.
const ALL: [(&str, u32, Proposals); 3] = [
    (
        name::X86_GUEST_DEBUG_CR3,
        KVM_CAP_X86_GUEST_DEBUG_CR3,
        Proposals::GUEST_DEBUG_CR3,
    ),
    (
        name::X86_SYNC_REGS_CONDITIONAL,
        KVM_CAP_X86_SYNC_REGS_CONDITIONAL,
        Proposals::SYNC_REGS_CONDITIONAL,
    ),
    (
        name::X86_SYNC_REGS_DEBUG,
        KVM_CAP_X86_SYNC_REGS_DEBUG,
        Proposals::SYNC_REGS_DEBUG,
    ),
];

impl Proposals {
    /// The proposal of this name, if it is one of this architecture.
    pub fn by_name(proposal: &str) -> Option<Proposals> {
        let found = ALL.iter().find(|(name, ..)| *name == proposal);
        found.map(|(.., proposal)| *proposal)
    }

    /// The names of this architecture's proposals.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|(name, ..)| *name)
    }

    /// The proposal that a capability stands for.
    pub fn of_capability(capability: u32) -> Option<Proposals> {
        let found = ALL.iter().find(|(_, of, _)| *of == capability);
        found.map(|(.., proposal)| *proposal)
    }

    /// The bits of `kvm_valid_regs` that these proposals add. `kvm_dirty_regs` never has them
    /// (SYNC-13).
    pub fn valid_regs(self) -> u64 {
        let bit = |proposal, bit| if self.contains(proposal) { bit } else { 0 };
        bit(Self::SYNC_REGS_CONDITIONAL, KVM_SYNC_REGS_CONDITIONAL)
            | bit(Self::SYNC_REGS_DEBUG, KVM_SYNC_REGS_DEBUG)
    }
}
