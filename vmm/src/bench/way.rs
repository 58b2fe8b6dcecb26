//! The ways of learning a guest's CR3 at a debug exit.

use serde::Serialize;
use understudy_abi::exit::KVM_EXIT_DEBUG;
use understudy_abi::proposals::{KVM_SYNC_REGS_CONDITIONAL, KVM_SYNC_REGS_DEBUG, name};
use understudy_abi::x86::SyncRegs;
use understudy_kvm::x86::Proposals;

/// A way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// It is not learnt: the exit alone.
    Bare,
    /// By a KVM_GET_SREGS at each debug exit.
    GetSregs,
    /// The exit has it (CR3-1).
    Field,
    /// Special registers are stored on every exit (SYNC-1).
    SyncAll,
    /// On the exits whose reason user space asks for (SYNC-12).
    SyncConditional,
    /// On debug exits (SYNC-20).
    SyncDebug,
}

impl Way {
    /// All of them; [`Way::Bare`] first.
    pub const ALL: [Way; 6] = [
        Way::Bare,
        Way::GetSregs,
        Way::Field,
        Way::SyncAll,
        Way::SyncConditional,
        Way::SyncDebug,
    ];

    /// What the table calls it.
    pub fn label(self) -> &'static str {
        match self {
            Way::Bare => "not learnt: the bare exit",
            Way::GetSregs => "KVM_GET_SREGS at each debug exit",
            Way::Field => "a field of the exit",
            Way::SyncAll => "sync SREGS on every exit",
            Way::SyncConditional => "sync SREGS on the exits asked for",
            Way::SyncDebug => "sync SREGS on debug exits",
        }
    }

    /// The proposal that it needs, if it is none of Linux's.
    pub fn proposal(self) -> Option<&'static str> {
        match self {
            Way::Bare | Way::GetSregs | Way::SyncAll => None,
            Way::Field => Some(name::X86_GUEST_DEBUG_CR3),
            Way::SyncConditional => Some(name::X86_SYNC_REGS_CONDITIONAL),
            Way::SyncDebug => Some(name::X86_SYNC_REGS_DEBUG),
        }
    }

    /// Whether it is a setting of the vCPU or a call, which can be left out of a run. The field is
    /// part of each exit of a system.
    pub(super) fn switches(self) -> bool {
        self != Way::Field
    }

    /// The same as a setting of a system.
    pub(super) fn proposals(self) -> Proposals {
        let proposal = self.proposal().and_then(Proposals::by_name);
        proposal.unwrap_or_default()
    }

    /// `kvm_valid_regs`.
    pub(super) fn valid_regs(self) -> u64 {
        let sregs = SyncRegs::SREGS.bits();
        match self {
            Way::Bare | Way::GetSregs | Way::Field => 0,
            Way::SyncAll => sregs,
            Way::SyncConditional => sregs | KVM_SYNC_REGS_CONDITIONAL,
            Way::SyncDebug => sregs | KVM_SYNC_REGS_DEBUG,
        }
    }

    /// `kvm_save_regs_on_exit`.
    pub(super) fn save_regs_on_exit(self) -> [u64; 16] {
        let mut reasons = [0; 16];
        if self == Way::SyncConditional {
            reasons[0] = 1 << KVM_EXIT_DEBUG;
        }
        reasons
    }
}
