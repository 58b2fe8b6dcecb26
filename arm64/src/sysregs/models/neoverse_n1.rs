//! Arm Neoverse N1 r4p1: Armv8.2, on a machine without a Secure state.
//!
//! Where a VM's registers differ from these, [`DIFFERENCES`] says so, and why.

use super::Model;
use crate::sysregs::encoding::Encoding;
use crate::sysregs::id::fields::{self, Field};

const fn id(crm: u16, op2: u16) -> Encoding {
    Encoding::new(3, 0, 0, crm, op2)
}

/// The model.
pub static NEOVERSE_N1: Model = Model {
    name: "neoverse-n1",
    midr: 0x414f_d0c1,
    revidr: 0,
    aidr: 0,
    ctr: 0x9444_c004,
    dczid: 4,
    sctlr: 0x00c5_0078,
    id: &[
        (id(1, 0), 0x0001_0131),           // ID_PFR0_EL1
        (id(1, 1), 0x1001_0000),           // ID_PFR1_EL1
        (id(1, 2), 0x0401_0088),           // ID_DFR0_EL1
        (id(1, 4), 0x1020_1105),           // ID_MMFR0_EL1
        (id(1, 5), 0x4000_0000),           // ID_MMFR1_EL1
        (id(1, 6), 0x0126_0000),           // ID_MMFR2_EL1
        (id(1, 7), 0x0212_2211),           // ID_MMFR3_EL1
        (id(2, 0), 0x0210_1110),           // ID_ISAR0_EL1
        (id(2, 1), 0x1311_2111),           // ID_ISAR1_EL1
        (id(2, 2), 0x2123_2042),           // ID_ISAR2_EL1
        (id(2, 3), 0x0111_2131),           // ID_ISAR3_EL1
        (id(2, 4), 0x0001_0142),           // ID_ISAR4_EL1
        (id(2, 5), 0x0101_1121),           // ID_ISAR5_EL1
        (id(2, 6), 0x0002_1110),           // ID_MMFR4_EL1
        (id(2, 7), 0x0000_0010),           // ID_ISAR6_EL1
        (id(3, 0), 0x1011_0222),           // MVFR0_EL1
        (id(3, 1), 0x1321_1111),           // MVFR1_EL1
        (id(3, 2), 0x0000_0043),           // MVFR2_EL1
        (id(3, 4), 0x0000_0011),           // ID_PFR2_EL1
        (id(4, 0), 0x1100_0000_1111_0112), // ID_AA64PFR0_EL1
        (id(4, 1), 0x0000_0000_0000_0020), // ID_AA64PFR1_EL1
        (id(5, 0), 0x0000_0001_1030_5408), // ID_AA64DFR0_EL1
        (id(6, 0), 0x0000_1000_1021_1120), // ID_AA64ISAR0_EL1
        (id(6, 1), 0x0000_0000_0010_0001), // ID_AA64ISAR1_EL1
        (id(7, 0), 0x0000_0000_0010_1125), // ID_AA64MMFR0_EL1
        (id(7, 1), 0x0000_0000_1021_2122), // ID_AA64MMFR1_EL1
        (id(7, 2), 0x0000_0000_0000_1011), // ID_AA64MMFR2_EL1
    ],
};

/// A field in which the software CPU offers less than the real one.
#[derive(Debug)]
pub struct Difference {
    /// The field.
    pub field: Field,
    /// The software CPU's value.
    pub ours: u64,
    /// Why.
    pub reason: &'static str,
}

/// Where a VM's ID registers differ from what KVM on the real CPU would give it, all opt-ins
/// granted. The AArch32 ID registers (CRm 1 to 3) are all 0, for the first reason.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        field: fields::PFR0_EL0,
        ours: 1,
        reason: "the software CPU has no AArch32 state, so EL0 is AArch64 only",
    },
    Difference {
        field: fields::DFR0_PMUVER,
        ours: 0,
        reason: "there is no performance monitor: KVM_ARM_VCPU_PMU_V3 is refused",
    },
];
