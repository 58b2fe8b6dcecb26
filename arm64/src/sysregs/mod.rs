//! System registers (Arm ARM D23): their storage.

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
    SCTLR_EL1, ACTLR_EL1, CPACR_EL1, TTBR0_EL1, TTBR1_EL1, TCR_EL1, MAIR_EL1, AMAIR_EL1,
    VBAR_EL1, ESR_EL1, FAR_EL1, AFSR0_EL1, AFSR1_EL1, ELR_EL1, SPSR_EL1, PAR_EL1,
    CONTEXTIDR_EL1, CNTKCTL_EL1, CSSELR_EL1, MDSCR_EL1, OSLSR_EL1, DISR_EL1,
}

/// The values of a vCPU's system registers.
#[derive(Clone, Debug)]
pub struct SysRegs([u64; Reg::ALL.len()]);

impl Index<Reg> for SysRegs {
    type Output = u64;
    #[inline(always)]
    fn index(&self, reg: Reg) -> &u64 {
        &self.0[reg as usize]
    }
}

impl IndexMut<Reg> for SysRegs {
    #[inline(always)]
    fn index_mut(&mut self, reg: Reg) -> &mut u64 {
        &mut self.0[reg as usize]
    }
}

impl Default for SysRegs {
    fn default() -> Self {
        SysRegs([0; Reg::ALL.len()])
    }
}
