//! Model-specific registers: one table, a row a register (SDM vol. 4; AMD APM vol. 2, appendix A).

use crate::exceptions::{Fault, vector};
use crate::regs::{FS_BASE, GS_BASE};
use crate::state::{self, cr0, efer};
use crate::{Cpu, apic, mmu};

/// Registers that are no more than storage.
#[derive(Clone, Copy, Debug)]
pub struct Msrs {
    /// STAR: the selectors of SYSCALL and SYSRET.
    pub star: u64,
    /// LSTAR: the target of SYSCALL in 64-bit mode.
    pub lstar: u64,
    /// CSTAR: the target of SYSCALL in compatibility mode.
    pub cstar: u64,
    /// SFMASK: the flags that SYSCALL clears.
    pub sfmask: u64,
    /// KERNEL_GS_BASE: what SWAPGS exchanges GS.base with.
    pub kernel_gs_base: u64,
    /// IA32_SYSENTER_CS.
    pub sysenter_cs: u64,
    /// IA32_SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// IA32_SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// IA32_PAT. Memory types make no difference here.
    pub pat: u64,
}

impl Default for Msrs {
    fn default() -> Msrs {
        Msrs {
            star: 0,
            lstar: 0,
            cstar: 0,
            sfmask: 0,
            kernel_gs_base: 0,
            sysenter_cs: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            pat: 0x0007_0406_0007_0406,
        }
    }
}

/// A register.
pub struct Msr {
    /// What RDMSR and WRMSR take in ECX.
    pub number: u32,
    /// The manual's name.
    pub name: &'static str,
    /// Reads it.
    pub read: fn(&Cpu) -> u64,
    /// Writes it; none if the value may not be written.
    pub write: fn(&mut Cpu, u64) -> Option<()>,
}

/// A row of a register that holds any value, or only canonical addresses.
macro_rules! stored {
    ($number:literal, $name:literal, $field:ident) => {
        Msr {
            number: $number,
            name: $name,
            read: |cpu| cpu.state.msrs.$field,
            write: |cpu, value| {
                cpu.state.msrs.$field = value;
                Some(())
            },
        }
    };
    ($number:literal, $name:literal, $field:ident, address) => {
        Msr {
            number: $number,
            name: $name,
            read: |cpu| cpu.state.msrs.$field,
            write: |cpu, value| {
                if !mmu::canonical(cpu, value) {
                    return None;
                }
                cpu.state.msrs.$field = value;
                Some(())
            },
        }
    };
}

/// All registers.
pub static TABLE: &[Msr] = &[
    Msr {
        number: 0x10,
        name: "IA32_TIME_STAMP_COUNTER",
        read: |cpu| cpu.state.tsc.now(),
        write: |cpu, value| {
            cpu.state.tsc.set(value);
            apic::timer::tsc_changed(cpu);
            Some(())
        },
    },
    stored!(0x174, "IA32_SYSENTER_CS", sysenter_cs),
    stored!(0x175, "IA32_SYSENTER_ESP", sysenter_esp, address),
    stored!(0x176, "IA32_SYSENTER_EIP", sysenter_eip, address),
    Msr {
        number: 0x277,
        name: "IA32_PAT",
        read: |cpu| cpu.state.msrs.pat,
        write: |cpu, value| {
            // Each byte is one of the memory types, of which 2 and 3 do not exist.
            let good = |kind: u8| matches!(kind, 0 | 1 | 4..=7);
            value.to_le_bytes().into_iter().all(good).then_some(())?;
            cpu.state.msrs.pat = value;
            Some(())
        },
    },
    Msr {
        number: 0xc000_0080,
        name: "IA32_EFER",
        read: |cpu| cpu.state.efer,
        write: set_efer,
    },
    stored!(0xc000_0081, "IA32_STAR", star),
    stored!(0xc000_0082, "IA32_LSTAR", lstar, address),
    stored!(0xc000_0083, "IA32_CSTAR", cstar, address),
    Msr {
        number: 0xc000_0084,
        name: "IA32_FMASK",
        read: |cpu| cpu.state.msrs.sfmask,
        write: |cpu, value| {
            cpu.state.msrs.sfmask = value & 0xffff_ffff;
            Some(())
        },
    },
    Msr {
        number: 0xc000_0100,
        name: "IA32_FS_BASE",
        read: |cpu| cpu.slot(FS_BASE),
        write: |cpu, value| base(cpu, value).map(|()| cpu.set_slot(FS_BASE, value)),
    },
    Msr {
        number: 0xc000_0101,
        name: "IA32_GS_BASE",
        read: |cpu| cpu.slot(GS_BASE),
        write: |cpu, value| base(cpu, value).map(|()| cpu.set_slot(GS_BASE, value)),
    },
    stored!(0xc000_0102, "IA32_KERNEL_GS_BASE", kernel_gs_base, address),
    Msr {
        number: 0xc000_0103,
        name: "IA32_TSC_AUX",
        read: |cpu| u64::from(cpu.state.tsc_aux),
        write: |cpu, value| {
            cpu.state.tsc_aux = u32::try_from(value).ok()?;
            Some(())
        },
    },
];

fn base(cpu: &Cpu, value: u64) -> Option<()> {
    mmu::canonical(cpu, value).then_some(())
}

/// EFER (SDM vol. 3A, 2.2.1): LMA follows LME and paging, and LME stays while paging is on.
fn set_efer(cpu: &mut Cpu, value: u64) -> Option<()> {
    const BITS: u64 = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    let old = cpu.state.efer;
    let paging = cpu.state.cr0 & cr0::PG != 0;
    if value & !BITS != 0 || paging && (old ^ value) & efer::LME != 0 {
        return None;
    }
    cpu.state.efer = value & !efer::LMA | old & efer::LMA;
    if (old ^ value) & efer::NXE != 0 {
        mmu::flush(cpu);
    }
    state::changed(cpu);
    Some(())
}

/// The tables, each in order.
static TABLES: &[&[Msr]] = &[TABLE, apic::msrs::TABLE];

/// The register of this number.
pub fn find(number: u32) -> Option<&'static Msr> {
    TABLES.iter().find_map(|table| {
        let index = table.binary_search_by_key(&number, |msr| msr.number);
        index.ok().map(|index| &table[index])
    })
}

const GP: Fault = Fault::with_code(vector::GP, 0);

/// RDMSR.
pub(crate) fn read(cpu: &Cpu, number: u32) -> Result<u64, Fault> {
    if apic::msrs::X2APIC.contains(&number) {
        return apic::msrs::read(cpu, number).ok_or(GP);
    }
    match find(number) {
        Some(msr) => Ok((msr.read)(cpu)),
        None => Err(GP),
    }
}

/// WRMSR.
pub(crate) fn write(cpu: &mut Cpu, number: u32, value: u64) -> Result<(), Fault> {
    if apic::msrs::X2APIC.contains(&number) {
        return apic::msrs::write(cpu, number, value).ok_or(GP);
    }
    let msr = find(number).ok_or(GP)?;
    (msr.write)(cpu, value).ok_or(GP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order() {
        for table in TABLES {
            assert!(table.is_sorted_by_key(|msr| msr.number));
            assert!(table.iter().all(|msr| find(msr.number).is_some()));
        }
    }
}
