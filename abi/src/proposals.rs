//! Numbers and structures of proposals that no kernel has merged (requirements 0.2).
//!
//! Some collide with what a kernel has since given the same number to, so each is off unless its
//! proposal is switched on by name.

use crate::layout::structures;
use crate::run::kvm_run;

/// `arm64-id-reg-configurable`: ID registers can be lowered (RFC v3 of the series). Upstream later
/// gave 207 to `KVM_CAP_VM_GPA_BITS`.
pub const KVM_CAP_ARM_ID_REG_CONFIGURABLE: u32 = 207;

/// `x86-guest-debug-cr3`: a debug exit has the guest's CR3 (CR3-2). Upstream later gave 245 to
/// `KVM_CAP_ARM_SEA_TO_USER`.
pub const KVM_CAP_X86_GUEST_DEBUG_CR3: u32 = 245;

/// `x86-sync-regs-conditional`: sync registers are stored by exit reason (SYNC-12). The proposal
/// assigned no number: this one is Understudy's own, far above any kernel's.
pub const KVM_CAP_X86_SYNC_REGS_CONDITIONAL: u32 = 0x1_0001;

/// `x86-sync-regs-debug`: sync registers are stored on debug exits only (SYNC-20). Understudy's own
/// number.
pub const KVM_CAP_X86_SYNC_REGS_DEBUG: u32 = 0x1_0002;

/// A bit of `kvm_valid_regs`: store only where [`kvm_run_conditional`] says so (SYNC-13). It is no
/// set of registers, and `kvm_dirty_regs` refuses it.
pub const KVM_SYNC_REGS_CONDITIONAL: u64 = 1 << 63;

/// A bit of `kvm_valid_regs`: store only on `KVM_EXIT_DEBUG` (SYNC-20). The proposal gave no
/// number; this one is Understudy's own.
pub const KVM_SYNC_REGS_DEBUG: u64 = 1 << 62;

structures! {
    /// `x86-guest-debug-cr3`: the union's member for `KVM_EXIT_DEBUG` (CR3-1).
    pub struct kvm_debug_exit_arch_cr3 {
        /// As without the proposal.
        pub arch: crate::x86::kvm_debug_exit_arch,
        /// CR3, whole: the PCID is not masked.
        pub cr3: u64,
    }

    /// `x86-sync-regs-conditional`: `kvm_run` with its appendix (SYNC-12).
    pub struct kvm_run_conditional {
        /// As without the proposal.
        pub run: kvm_run,
        /// Written by user space: exit reason `r` stores if bit `r % 64` of word `r / 64` is set.
        pub kvm_save_regs_on_exit: [u64; 16],
    }
}

/// The offset of the bitmap in `kvm_run`.
pub const KVM_SAVE_REGS_ON_EXIT: usize =
    core::mem::offset_of!(kvm_run_conditional, kvm_save_regs_on_exit);

/// Names under which proposals are switched on, as `UNDERSTUDY_PROPOSALS` lists them.
pub mod name {
    /// OSLSR_EL1 resets to locked, DebugVer 8 and DoubleLock 0xF are initial values.
    pub const ARM64_EXPOSED_DEBUG: &str = "arm64-exposed-debug";
    /// Series c, RFC v3.
    pub const ARM64_ID_REG_CONFIGURABLE: &str = "arm64-id-reg-configurable";
    /// CR3 in debug exits.
    pub const X86_GUEST_DEBUG_CR3: &str = "x86-guest-debug-cr3";
    /// Sync registers by exit reason.
    pub const X86_SYNC_REGS_CONDITIONAL: &str = "x86-sync-regs-conditional";
    /// Sync registers on debug exits.
    pub const X86_SYNC_REGS_DEBUG: &str = "x86-sync-regs-debug";

    /// All of them.
    pub const ALL: &[&str] = &[
        ARM64_EXPOSED_DEBUG,
        ARM64_ID_REG_CONFIGURABLE,
        X86_GUEST_DEBUG_CR3,
        X86_SYNC_REGS_CONDITIONAL,
        X86_SYNC_REGS_DEBUG,
    ];
}
