//! The values of a vCPU's system registers.

use super::traps::Traps;
use std::ops::{Index, IndexMut};

macro_rules! registers {
    ($($name:ident),* $(,)?) => {
        /// A system register that is storage of the vCPU's own.
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum Reg { $($name),* }
        impl Reg {
            /// All of them.
            pub const ALL: &[Reg] = &[$(Reg::$name),*];
        }
    };
}

registers! {
    SCTLR_EL1, ACTLR_EL1, CPACR_EL1, TTBR0_EL1, TTBR1_EL1, TCR_EL1, TCR2_EL1, MAIR_EL1,
    AMAIR_EL1, PIRE0_EL1, PIR_EL1, VBAR_EL1, ESR_EL1, FAR_EL1, AFSR0_EL1, AFSR1_EL1, ELR_EL1,
    SPSR_EL1, PAR_EL1, CONTEXTIDR_EL1, CNTKCTL_EL1, CSSELR_EL1, CLIDR_EL1, DISR_EL1,
    APIAKEYLO_EL1, APIAKEYHI_EL1, APIBKEYLO_EL1, APIBKEYHI_EL1, APDAKEYLO_EL1, APDAKEYHI_EL1,
    APDBKEYLO_EL1, APDBKEYHI_EL1, APGAKEYLO_EL1, APGAKEYHI_EL1,
    MDSCR_EL1, MDCCINT_EL1, OSLSR_EL1,
    DBGVCR32_EL2, DACR32_EL2, IFSR32_EL2, FPEXC32_EL2,
    SPSR_abt, SPSR_und, SPSR_irq, SPSR_fiq,
    DBGBVR0_EL1, DBGBVR1_EL1, DBGBVR2_EL1, DBGBVR3_EL1, DBGBVR4_EL1, DBGBVR5_EL1, DBGBVR6_EL1,
    DBGBVR7_EL1, DBGBVR8_EL1, DBGBVR9_EL1, DBGBVR10_EL1, DBGBVR11_EL1, DBGBVR12_EL1,
    DBGBVR13_EL1, DBGBVR14_EL1, DBGBVR15_EL1,
    DBGBCR0_EL1, DBGBCR1_EL1, DBGBCR2_EL1, DBGBCR3_EL1, DBGBCR4_EL1, DBGBCR5_EL1, DBGBCR6_EL1,
    DBGBCR7_EL1, DBGBCR8_EL1, DBGBCR9_EL1, DBGBCR10_EL1, DBGBCR11_EL1, DBGBCR12_EL1,
    DBGBCR13_EL1, DBGBCR14_EL1, DBGBCR15_EL1,
    DBGWVR0_EL1, DBGWVR1_EL1, DBGWVR2_EL1, DBGWVR3_EL1, DBGWVR4_EL1, DBGWVR5_EL1, DBGWVR6_EL1,
    DBGWVR7_EL1, DBGWVR8_EL1, DBGWVR9_EL1, DBGWVR10_EL1, DBGWVR11_EL1, DBGWVR12_EL1,
    DBGWVR13_EL1, DBGWVR14_EL1, DBGWVR15_EL1,
    DBGWCR0_EL1, DBGWCR1_EL1, DBGWCR2_EL1, DBGWCR3_EL1, DBGWCR4_EL1, DBGWCR5_EL1, DBGWCR6_EL1,
    DBGWCR7_EL1, DBGWCR8_EL1, DBGWCR9_EL1, DBGWCR10_EL1, DBGWCR11_EL1, DBGWCR12_EL1,
    DBGWCR13_EL1, DBGWCR14_EL1, DBGWCR15_EL1,
}

impl Reg {
    /// DBGBVR`n`_EL1; `n` is taken modulo 16, here and in the next three.
    #[inline(always)]
    pub const fn dbgbvr(n: usize) -> Reg {
        Reg::ALL[Reg::DBGBVR0_EL1 as usize + n % 16]
    }
    /// DBGBCR`n`_EL1.
    #[inline(always)]
    pub const fn dbgbcr(n: usize) -> Reg {
        Reg::ALL[Reg::DBGBCR0_EL1 as usize + n % 16]
    }
    /// DBGWVR`n`_EL1.
    #[inline(always)]
    pub const fn dbgwvr(n: usize) -> Reg {
        Reg::ALL[Reg::DBGWVR0_EL1 as usize + n % 16]
    }
    /// DBGWCR`n`_EL1.
    #[inline(always)]
    pub const fn dbgwcr(n: usize) -> Reg {
        Reg::ALL[Reg::DBGWCR0_EL1 as usize + n % 16]
    }
}

/// CSSELR_EL1 has room for this many caches: seven levels, data and instructions.
pub const CACHES: usize = 14;

/// What a vCPU has of system registers, beyond those that are slots of the register file.
#[derive(Clone, Debug)]
pub struct SysRegs {
    values: [u64; Reg::ALL.len()],
    /// CCSIDR_EL1 by CSSELR_EL1, once user space has set any (KVM_REG_ARM_DEMUX).
    pub(super) ccsidr: Option<[u32; CACHES]>,
    /// The registers that identify the vCPU have their values.
    pub(super) identified: bool,
    /// What EL2 traps; see [`super::traps::update`].
    pub traps: Traps,
    /// KVM watches for the guest to turn its caches on; one of the things that the traps depend on.
    pub(super) watch_caches: bool,
    /// The instruction at hand was trapped and emulated by KVM: set by an access, cleared by
    /// whoever wants to know, before the instruction.
    pub emulated: bool,
}

impl Index<Reg> for SysRegs {
    type Output = u64;
    #[inline(always)]
    fn index(&self, reg: Reg) -> &u64 {
        &self.values[reg as usize]
    }
}

impl IndexMut<Reg> for SysRegs {
    #[inline(always)]
    fn index_mut(&mut self, reg: Reg) -> &mut u64 {
        &mut self.values[reg as usize]
    }
}

impl Default for SysRegs {
    /// All registers 0; [`super::reset`] gives them their values.
    fn default() -> Self {
        SysRegs {
            values: [0; Reg::ALL.len()],
            ccsidr: None,
            identified: false,
            traps: Traps::default(),
            watch_caches: false,
            emulated: false,
        }
    }
}
