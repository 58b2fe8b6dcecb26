//! Model-specific registers: one table, a row a register or a range of them (SDM vol. 4; AMD APM vol. 2,
//! appendix A), as KVM 6.12 gives them to a guest of an AMD machine without a PMU and without nesting.
//!
//! ```text
//!   RDMSR, WRMSR ─► exits.rs: may the guest? ─► find ─► Msr::read, Msr::write (by the guest)
//!        ▲                │ no, or it failed                  ▲
//!        └── #GP ◄────────┴─► Exit::Rdmsr, Exit::Wrmsr        │ (by user space)
//!                                        KVM_GET_MSRS, KVM_SET_MSRS
//! ```
//!
//! The rows are in several tables, one a part of the processor: [`TABLES`] lists them.

pub mod exits;
pub mod mce;
mod mtrr;
mod table;

use crate::{Cpu, apic, pv};
pub use exits::reason;
pub(crate) use table::MWAIT;
pub use table::Msrs;

/// Who accesses a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// RDMSR or WRMSR.
    Guest,
    /// User space.
    Host,
}

/// A register, or several one after the other.
pub struct Msr {
    /// What RDMSR and WRMSR take in ECX, of the first.
    pub number: u32,
    /// How many there are.
    pub count: u32,
    /// The manual's name.
    pub name: &'static str,
    /// Whether it is in `KVM_GET_MSR_INDEX_LIST`.
    pub listed: bool,
    /// Reads the register of this number; none if it cannot be read.
    pub read: fn(&Cpu, u32, By) -> Option<u64>,
    /// Writes it; none if the value may not be written.
    pub write: fn(&mut Cpu, u32, u64, By) -> Option<()>,
}

/// All registers. Each table is in the order of numbers.
pub static TABLES: &[&[Msr]] = &[
    table::TABLE,
    mtrr::TABLE,
    mce::TABLE,
    apic::msrs::TABLE,
    pv::msrs::OLD,
    pv::msrs::TABLE,
];

/// Why an access failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// There is no such register.
    Unknown,
    /// The register cannot be accessed so.
    Invalid,
}

/// The row of the register of this number.
pub fn find(number: u32) -> Option<&'static Msr> {
    TABLES.iter().find_map(|table| {
        let after = table.partition_point(|msr| msr.number <= number);
        let msr = &table[after.checked_sub(1)?];
        (number - msr.number < msr.count).then_some(msr)
    })
}

/// Reads a register: `KVM_GET_MSRS`, and what RDMSR does if it may.
pub fn read(cpu: &Cpu, number: u32, by: By) -> Result<u64, Failure> {
    let msr = find(number).ok_or(Failure::Unknown)?;
    (msr.read)(cpu, number, by).ok_or(Failure::Invalid)
}

/// MSR_PLATFORM_INFO.
const PLATFORM_INFO: u32 = 0xce;

/// Writes a register: `KVM_SET_MSRS`, and what WRMSR does if it may.
pub fn write(cpu: &mut Cpu, number: u32, value: u64, by: By) -> Result<(), Failure> {
    let msr = find(number).ok_or(Failure::Unknown)?;
    let written = (msr.write)(cpu, number, value, by);
    // What user space is told to save, it may restore; but CPUID faulting that is on keeps its offer.
    let restored = by == By::Host && msr.listed && value == 0 && number != PLATFORM_INFO;
    written.or(restored.then_some(())).ok_or(Failure::Invalid)
}

/// The numbers of `KVM_GET_MSR_INDEX_LIST`.
pub fn index_list() -> impl Iterator<Item = u32> {
    let rows = TABLES.iter().copied().flatten();
    rows.filter(|msr| msr.listed)
        .flat_map(|msr| msr.number..msr.number + msr.count)
}

/// `KVM_GET_MSR_FEATURE_INDEX_LIST`, and what `KVM_GET_MSRS` of the system gives for each.
pub const FEATURES: &[(u32, u64)] = &[
    (0x8b, table::MICROCODE),
    (0xce, table::CPUID_FAULT),
    (0x10a, table::ARCH_CAPABILITIES),
    (0x345, 0),
    (0xc001_1029, table::LFENCE_SERIALIZES),
];

/// Whether a guest accesses it without KVM, on AMD's processors.
pub(crate) fn is_direct(number: u32) -> bool {
    matches!(number, 0x174 | 0xc000_0081..=0xc000_0084 | 0xc000_0100..=0xc000_0102)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_is_in_order_and_no_number_is_in_two() {
        let mut all = vec![];
        for table in TABLES {
            assert!(table.is_sorted_by_key(|msr| msr.number));
            for msr in table.iter() {
                all.extend(msr.number..msr.number + msr.count);
                let last = msr.number + msr.count - 1;
                for number in [msr.number, last] {
                    assert_eq!(find(number).map(|found| found.name), Some(msr.name));
                }
            }
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(find(0xdead_beef).is_none() && find(0x474f_4f00).is_none());
    }
}
