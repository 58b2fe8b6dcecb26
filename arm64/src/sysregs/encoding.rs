//! How a system register is named in an instruction and in a KVM register id.

use std::fmt;

/// The name of a system register or system instruction: op0, op1, CRn, CRm and op2.
///
/// ```text
///   15 14 13  11 10   7 6    3 2   0
///   op0   op1    CRn    CRm    op2
/// ```
///
/// These are bits 20:5 of MRS, MSR, SYS and SYSL (Arm ARM C5.1.2), and bits 15:0 of the id in
/// KVM_GET_ONE_REG (`KVM_REG_ARM64_SYSREG`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Encoding(u16);

impl Encoding {
    /// The encoding with these fields; bits beyond a field's width are dropped.
    pub const fn new(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> Encoding {
        Encoding((op0 & 3) << 14 | (op1 & 7) << 11 | (crn & 15) << 7 | (crm & 15) << 3 | (op2 & 7))
    }

    /// The encoding in an instruction word.
    #[inline(always)]
    pub const fn of(word: u32) -> Encoding {
        Encoding((word >> 5) as u16)
    }

    /// The encoding with this packed form.
    pub const fn from_bits(bits: u16) -> Encoding {
        Encoding(bits)
    }

    /// The packed form.
    #[inline(always)]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Field op0: 1 for system instructions, 2 for debug registers, 3 for all others.
    pub const fn op0(self) -> u16 {
        self.0 >> 14
    }

    /// Field op1.
    pub const fn op1(self) -> u16 {
        self.0 >> 11 & 7
    }

    /// Field CRn.
    pub const fn crn(self) -> u16 {
        self.0 >> 7 & 15
    }

    /// Field CRm.
    pub const fn crm(self) -> u16 {
        self.0 >> 3 & 15
    }

    /// Field op2.
    pub const fn op2(self) -> u16 {
        self.0 & 7
    }
}

/// Bit 21 of MRS, MSR, SYS and SYSL: the register, or the instruction's result, is read.
pub const READ: u32 = 1 << 21;

/// The ISS of a trapped MSR, MRS or system instruction, EC 0x18 (Arm ARM, ESR_EL1).
pub const fn syndrome(word: u32) -> u64 {
    let e = Encoding::of(word);
    let rt = (word & 31) as u64;
    (e.op0() as u64) << 20
        | (e.op2() as u64) << 17
        | (e.op1() as u64) << 14
        | (e.crn() as u64) << 10
        | rt << 5
        | (e.crm() as u64) << 1
        | (word & READ != 0) as u64
}

impl fmt::Display for Encoding {
    /// As assemblers take it: `S3_0_C1_C0_0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (op0, op1, crn, crm, op2) =
            (self.op0(), self.op1(), self.crn(), self.crm(), self.op2());
        write!(f, "S{op0}_{op1}_C{crn}_C{crm}_{op2}")
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_instruction() {
        // mrs x3, sctlr_el1
        let word = 0xd538_1003;
        let e = Encoding::of(word);
        assert_eq!(e, Encoding::new(3, 0, 1, 0, 0));
        assert_eq!(e.bits(), 0xc080);
        assert_eq!(e.to_string(), "S3_0_C1_C0_0");
        assert_eq!(syndrome(word), 3 << 20 | 1 << 10 | 3 << 5 | 1);
        // msr oslar_el1, x1
        let e = Encoding::of(0xd510_1081);
        assert_eq!(
            (e.op0(), e.op1(), e.crn(), e.crm(), e.op2()),
            (2, 0, 1, 0, 4)
        );
        assert_eq!(e.bits(), 0x8084);
        assert_eq!(syndrome(0xd510_1081) & 1, 0);
    }
}
