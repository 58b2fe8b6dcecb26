//! Function ids of the Power State Coordination Interface (Arm DEN 0022) and its return values.
//!
//! A 64-bit function has bit 30 set: [`fn64`].

/// The 64-bit form of a 32-bit function id.
pub const fn fn64(function: u32) -> u32 {
    function | 0x4000_0000
}

/// PSCI_VERSION.
pub const PSCI_VERSION: u32 = 0x8400_0000;
/// CPU_SUSPEND.
pub const CPU_SUSPEND: u32 = 0x8400_0001;
/// CPU_OFF.
pub const CPU_OFF: u32 = 0x8400_0002;
/// CPU_ON.
pub const CPU_ON: u32 = 0x8400_0003;
/// AFFINITY_INFO.
pub const AFFINITY_INFO: u32 = 0x8400_0004;
/// MIGRATE.
pub const MIGRATE: u32 = 0x8400_0005;
/// MIGRATE_INFO_TYPE.
pub const MIGRATE_INFO_TYPE: u32 = 0x8400_0006;
/// MIGRATE_INFO_UP_CPU.
pub const MIGRATE_INFO_UP_CPU: u32 = 0x8400_0007;
/// SYSTEM_OFF.
pub const SYSTEM_OFF: u32 = 0x8400_0008;
/// SYSTEM_RESET.
pub const SYSTEM_RESET: u32 = 0x8400_0009;
/// PSCI_FEATURES.
pub const PSCI_FEATURES: u32 = 0x8400_000a;
/// SYSTEM_SUSPEND.
pub const SYSTEM_SUSPEND: u32 = 0x8400_000e;
/// SYSTEM_RESET2.
pub const SYSTEM_RESET2: u32 = 0x8400_0012;

/// KVM's PSCI 0.1: CPU_SUSPEND.
pub const KVM_PSCI_FN_CPU_SUSPEND: u32 = 0x95c1_ba5e;
/// KVM's PSCI 0.1: CPU_OFF.
pub const KVM_PSCI_FN_CPU_OFF: u32 = 0x95c1_ba5f;
/// KVM's PSCI 0.1: CPU_ON.
pub const KVM_PSCI_FN_CPU_ON: u32 = 0x95c1_ba60;
/// KVM's PSCI 0.1: MIGRATE.
pub const KVM_PSCI_FN_MIGRATE: u32 = 0x95c1_ba61;

/// SUCCESS.
pub const PSCI_RET_SUCCESS: i64 = 0;
/// NOT_SUPPORTED.
pub const PSCI_RET_NOT_SUPPORTED: i64 = -1;
/// INVALID_PARAMETERS.
pub const PSCI_RET_INVALID_PARAMS: i64 = -2;
/// DENIED.
pub const PSCI_RET_DENIED: i64 = -3;
/// ALREADY_ON.
pub const PSCI_RET_ALREADY_ON: i64 = -4;
/// ON_PENDING.
pub const PSCI_RET_ON_PENDING: i64 = -5;
/// INTERNAL_FAILURE.
pub const PSCI_RET_INTERNAL_FAILURE: i64 = -6;
/// NOT_PRESENT.
pub const PSCI_RET_NOT_PRESENT: i64 = -7;
/// DISABLED.
pub const PSCI_RET_DISABLED: i64 = -8;
/// INVALID_ADDRESS.
pub const PSCI_RET_INVALID_ADDRESS: i64 = -9;

/// AFFINITY_INFO: on.
pub const AFFINITY_LEVEL_ON: i64 = 0;
/// AFFINITY_INFO: off.
pub const AFFINITY_LEVEL_OFF: i64 = 1;
/// AFFINITY_INFO: about to be on.
pub const AFFINITY_LEVEL_ON_PENDING: i64 = 2;

/// A PSCI version as PSCI_VERSION returns it.
pub const fn version(major: u16, minor: u16) -> u32 {
    (major as u32) << 16 | minor as u32
}
