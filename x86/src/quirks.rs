//! KVM's quirks: where it does other than the processor would, unless user space says not to (KVM API
//! 7.30, "KVM_CAP_DISABLE_QUIRKS2").

/// `KVM_X86_QUIRK_*`.
pub mod quirk {
    /// LINT0 is enabled after reset.
    pub const LINT0_REENABLED: u64 = 1 << 0;
    /// CR0.CD and CR0.NW are cleared.
    pub const CD_NW_CLEARED: u64 = 1 << 1;
    /// The local APIC's page is there in x2APIC mode, too.
    pub const LAPIC_MMIO_HOLE: u64 = 1 << 2;
    /// OUT to port 0x7e is over before the exit.
    pub const OUT_7E_INC_RIP: u64 = 1 << 3;
    /// CPUID's MWAIT does not follow IA32_MISC_ENABLE.
    pub const MISC_ENABLE_NO_MWAIT: u64 = 1 << 4;
    /// VMCALL becomes VMMCALL.
    pub const FIX_HYPERCALL_INSN: u64 = 1 << 5;
    /// MONITOR and MWAIT are there, whatever CPUID says.
    pub const MWAIT_NEVER_UD_FAULTS: u64 = 1 << 6;
    /// A slot that goes takes all translations with it. Nobody can tell, here or there.
    pub const SLOT_ZAP_ALL: u64 = 1 << 7;
    /// The MSRs that tell of the processor begin as the host's.
    pub const STUFF_FEATURE_MSRS: u64 = 1 << 8;
    /// The guest's PAT does not count: memory types make no difference here.
    pub const IGNORE_GUEST_PAT: u64 = 1 << 9;
    /// For guests that use VMX, which there is not.
    pub const VMCS12_ALLOW_FREEZE_IN_SMM: u64 = 1 << 10;
    /// All that KVM of Linux 6.12.117 knows, whatever the processor.
    pub const ALL: u64 = (VMCS12_ALLOW_FREEZE_IN_SMM << 1) - 1;
}

/// Which quirks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Those that user space has disabled. Several calls add up.
    pub disabled: u64,
}

impl Quirks {
    /// Whether KVM does so.
    pub fn has(&self, quirk: u64) -> bool {
        self.disabled & quirk == 0
    }
}
