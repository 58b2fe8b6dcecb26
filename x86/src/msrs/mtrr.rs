//! Memory type range registers (SDM vol. 3A, 12.11). Types make no difference here: they are storage.

use super::{By, Msr};
use crate::Cpu;

/// Pairs of variable range registers (`KVM_NR_VAR_MTRR`).
const VARIABLE: usize = 8;

/// The numbers of the fixed range registers.
const FIXED: [u32; 11] = [
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
];

/// The registers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mtrrs {
    variable: [u64; 2 * VARIABLE],
    fixed: [u64; FIXED.len()],
    default: u64,
}

/// Whether a memory type may be used.
fn is_type(value: u64) -> bool {
    matches!(value, 0 | 1 | 4 | 5 | 6)
}

fn read_fixed(cpu: &Cpu, number: u32, _: By) -> Option<u64> {
    let at = FIXED.iter().position(|fixed| *fixed == number)?;
    Some(cpu.state.msrs.mtrrs.fixed[at])
}

fn write_fixed(cpu: &mut Cpu, number: u32, value: u64, _: By) -> Option<()> {
    let at = FIXED.iter().position(|fixed| *fixed == number)?;
    let bytes = value.to_le_bytes();
    bytes.into_iter().all(|b| is_type(b.into())).then_some(())?;
    cpu.state.msrs.mtrrs.fixed[at] = value;
    Some(())
}

fn write_variable(cpu: &mut Cpu, number: u32, value: u64, _: By) -> Option<()> {
    let bits = cpu.state.memory.limits().physical_address_bits;
    let reserved = (!0u64).unbounded_shl(bits);
    let base = number & 1 == 0;
    let bad = if base {
        !is_type(value & 0xff) || value & 0xf00 != 0
    } else {
        value & 0x7ff != 0
    };
    if bad || value & reserved != 0 {
        return None;
    }
    cpu.state.msrs.mtrrs.variable[number as usize % (2 * VARIABLE)] = value;
    Some(())
}

/// A row of fixed range registers.
macro_rules! fixed {
    ($number:literal, $count:literal, $name:literal) => {
        Msr {
            number: $number,
            count: $count,
            name: $name,
            listed: false,
            read: read_fixed,
            write: write_fixed,
        }
    };
}

/// The rows.
pub static TABLE: &[Msr] = &[
    Msr {
        number: 0xfe,
        count: 1,
        name: "IA32_MTRRCAP",
        listed: false,
        // Write-combining, fixed ranges, and how many variable ones.
        read: |_, _, _| Some(0x500 | VARIABLE as u64),
        write: |_, _, _, _| None,
    },
    Msr {
        number: 0x200,
        count: 2 * VARIABLE as u32,
        name: "IA32_MTRR_PHYSBASE0",
        listed: false,
        read: |cpu, number, _| {
            let at = number as usize % (2 * VARIABLE);
            Some(cpu.state.msrs.mtrrs.variable[at])
        },
        write: write_variable,
    },
    fixed!(0x250, 1, "IA32_MTRR_FIX64K_00000"),
    fixed!(0x258, 2, "IA32_MTRR_FIX16K_80000"),
    fixed!(0x268, 8, "IA32_MTRR_FIX4K_C0000"),
    Msr {
        number: 0x2ff,
        count: 1,
        name: "IA32_MTRR_DEF_TYPE",
        listed: false,
        read: |cpu, _, _| Some(cpu.state.msrs.mtrrs.default),
        write: |cpu, _, value, _| {
            (value & !0xcff == 0 && is_type(value & 0xff)).then_some(())?;
            cpu.state.msrs.mtrrs.default = value;
            Some(())
        },
    },
];
