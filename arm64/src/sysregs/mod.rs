//! System registers (Arm ARM D23): their storage.

use crate::{Cpu, exceptions};
use std::ops::{Index, IndexMut};
use understudy_engine::emit::Stop;

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

/// MRS: what the register that the word names holds, or the exception that is due.
pub fn read(cpu: &mut Cpu, _word: u32) -> Result<u64, Stop> {
    Err(exceptions::undefined(cpu))
}

/// MSR (register): writes the register that the word names, or takes the exception that is due.
pub fn write(cpu: &mut Cpu, _word: u32, _value: u64) -> Result<(), Stop> {
    Err(exceptions::undefined(cpu))
}

/// SYS: cache and TLB maintenance, address translation, DC ZVA; `value` is that of Xt.
pub fn sys(cpu: &mut Cpu, _word: u32, _value: u64) -> Result<(), Stop> {
    Err(exceptions::undefined(cpu))
}

/// Whether EL0 may change the masks of interrupts (SCTLR_EL1.UMA).
pub fn el0_masks_interrupts(cpu: &Cpu) -> bool {
    cpu.state.sys[Reg::SCTLR_EL1] >> 9 & 1 != 0
}
