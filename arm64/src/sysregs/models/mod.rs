//! Host CPU models: the ID registers of the machine that KVM would run on.

pub mod neoverse_n1;

use super::encoding::Encoding;

/// A host CPU, by its registers.
///
/// The values are the CPU's own. What KVM hides of them, and what the software CPU cannot do, is
/// taken away where [`super::id::IdRegisters`] computes a VM's values from them.
#[derive(Debug)]
pub struct Model {
    /// Its name in Understudy's options.
    pub name: &'static str,
    /// MIDR_EL1.
    pub midr: u64,
    /// REVIDR_EL1.
    pub revidr: u64,
    /// AIDR_EL1.
    pub aidr: u64,
    /// CTR_EL0. Bit 31 is RES1.
    pub ctr: u64,
    /// DCZID_EL0, with DZP clear.
    pub dczid: u64,
    /// SCTLR_EL1 out of reset.
    pub sctlr: u64,
    /// The ID registers with CRn 0 and CRm 1 to 7 that are not 0.
    pub id: &'static [(Encoding, u64)],
}

impl Model {
    /// The CPU's value of an ID register with CRn 0 and CRm 1 to 7, or of CTR_EL0.
    pub fn id(&self, register: Encoding) -> u64 {
        if register == super::id::fields::registers::CTR {
            return self.ctr;
        }
        let found = self.id.iter().find(|(encoding, _)| *encoding == register);
        found.map_or(0, |(_, value)| *value)
    }
}
