//! THE table of system instructions (SYS): one row an instruction. An encoding without a row is
//! UNDEFINED. None of them has a result, so SYSL always is.

use super::encoding::Encoding;
use super::register::El0;
use super::special::{el0_maintenance, el0_zero};
use super::traps::{self, Accesses};
use crate::Cpu;
use crate::mmu::at::{self, Question};
use crate::mmu::{cache_ops, tlbi};
use understudy_engine::emit::Stop;

/// A system instruction.
#[derive(Debug)]
pub struct Instruction {
    /// Its encoding.
    pub encoding: Encoding,
    /// The manual's name.
    pub name: &'static str,
    /// Whether EL0 has it.
    pub el0: El0,
    /// Which group of trapped instructions it belongs to.
    pub trap: Accesses,
    /// What it does, given Xt.
    pub run: fn(&mut Cpu, u64) -> Result<(), Stop>,
}

type Run = fn(&mut Cpu, u64) -> Result<(), Stop>;

const fn row(op: [u16; 4], name: &'static str, run: Run) -> Instruction {
    Instruction {
        encoding: Encoding::new(1, op[0], op[1], op[2], op[3]),
        name,
        el0: El0::Undefined,
        trap: Accesses::empty(),
        run,
    }
}

const fn el0(mut row: Instruction, may: fn(&Cpu) -> bool) -> Instruction {
    row.el0 = El0::If(may);
    row
}

const fn trap(mut row: Instruction, accesses: Accesses) -> Instruction {
    row.trap = accesses;
    row
}

/// TLBI to the Outer Shareable domain: here, no different from the Inner one.
const fn outer(op: [u16; 4], name: &'static str, run: Run) -> Instruction {
    trap(row(op, name, run), Accesses::TTLBOS)
}

/// TLBI by range. What is in the range is found by forgetting all.
const fn range(op: [u16; 4], name: &'static str) -> Instruction {
    let run = if op[2] == 6 {
        tlbi_all::<false>
    } else {
        tlbi_all::<true>
    };
    let accesses = if op[2] == 5 {
        Accesses::TLBIRANGE.union(Accesses::TTLBOS)
    } else {
        Accesses::TLBIRANGE
    };
    trap(row(op, name, run), accesses)
}

/// The rows, by encoding.
#[rustfmt::skip]
pub static INSTRUCTIONS: &[Instruction] = &[
    row([0, 7, 1, 0], "IC IALLUIS", ic_all::<true>),
    row([0, 7, 5, 0], "IC IALLU", ic_all::<false>),
    row([0, 7, 6, 1], "DC IVAC", cache_ops::invalidate),
    trap(row([0, 7, 6, 2], "DC ISW", set_way), Accesses::TSW),
    row([0, 7, 8, 0], "AT S1E1R", translate::<{ EL1 }>),
    row([0, 7, 8, 1], "AT S1E1W", translate::<{ EL1 | WRITE }>),
    row([0, 7, 8, 2], "AT S1E0R", translate::<0>),
    row([0, 7, 8, 3], "AT S1E0W", translate::<WRITE>),
    trap(row([0, 7, 9, 0], "AT S1E1RP", translate::<{ EL1 | PAN }>), Accesses::ATS1E1P),
    trap(row([0, 7, 9, 1], "AT S1E1WP", translate::<{ EL1 | WRITE | PAN }>), Accesses::ATS1E1P),
    trap(row([0, 7, 10, 2], "DC CSW", set_way), Accesses::TSW),
    trap(row([0, 7, 14, 2], "DC CISW", set_way), Accesses::TSW),
    outer([0, 8, 1, 0], "TLBI VMALLE1OS", tlbi_all::<true>),
    outer([0, 8, 1, 1], "TLBI VAE1OS", tlbi_va::<true>),
    outer([0, 8, 1, 2], "TLBI ASIDE1OS", tlbi_asid::<true>),
    outer([0, 8, 1, 3], "TLBI VAAE1OS", tlbi_vaa::<true>),
    outer([0, 8, 1, 5], "TLBI VALE1OS", tlbi_va::<true>),
    outer([0, 8, 1, 7], "TLBI VAALE1OS", tlbi_vaa::<true>),
    range([0, 8, 2, 1], "TLBI RVAE1IS"),
    range([0, 8, 2, 3], "TLBI RVAAE1IS"),
    range([0, 8, 2, 5], "TLBI RVALE1IS"),
    range([0, 8, 2, 7], "TLBI RVAALE1IS"),
    row([0, 8, 3, 0], "TLBI VMALLE1IS", tlbi_all::<true>),
    row([0, 8, 3, 1], "TLBI VAE1IS", tlbi_va::<true>),
    row([0, 8, 3, 2], "TLBI ASIDE1IS", tlbi_asid::<true>),
    row([0, 8, 3, 3], "TLBI VAAE1IS", tlbi_vaa::<true>),
    row([0, 8, 3, 5], "TLBI VALE1IS", tlbi_va::<true>),
    row([0, 8, 3, 7], "TLBI VAALE1IS", tlbi_vaa::<true>),
    range([0, 8, 5, 1], "TLBI RVAE1OS"),
    range([0, 8, 5, 3], "TLBI RVAAE1OS"),
    range([0, 8, 5, 5], "TLBI RVALE1OS"),
    range([0, 8, 5, 7], "TLBI RVAALE1OS"),
    range([0, 8, 6, 1], "TLBI RVAE1"),
    range([0, 8, 6, 3], "TLBI RVAAE1"),
    range([0, 8, 6, 5], "TLBI RVALE1"),
    range([0, 8, 6, 7], "TLBI RVAALE1"),
    row([0, 8, 7, 0], "TLBI VMALLE1", tlbi_all::<false>),
    row([0, 8, 7, 1], "TLBI VAE1", tlbi_va::<false>),
    row([0, 8, 7, 2], "TLBI ASIDE1", tlbi_asid::<false>),
    row([0, 8, 7, 3], "TLBI VAAE1", tlbi_vaa::<false>),
    row([0, 8, 7, 5], "TLBI VALE1", tlbi_va::<false>),
    row([0, 8, 7, 7], "TLBI VAALE1", tlbi_vaa::<false>),
    el0(row([3, 7, 4, 1], "DC ZVA", cache_ops::zero), el0_zero),
    el0(row([3, 7, 5, 1], "IC IVAU", cache_ops::invalidate_instructions_at), el0_maintenance),
    el0(row([3, 7, 10, 1], "DC CVAC", cache_ops::clean), el0_maintenance),
    el0(row([3, 7, 11, 1], "DC CVAU", cache_ops::clean), el0_maintenance),
    el0(row([3, 7, 12, 1], "DC CVAP", cache_ops::clean), el0_maintenance),
    el0(row([3, 7, 13, 1], "DC CVADP", cache_ops::clean), el0_maintenance),
    el0(row([3, 7, 14, 1], "DC CIVAC", cache_ops::clean), el0_maintenance),
];

/// The instruction with this encoding.
pub fn find(encoding: Encoding) -> Option<&'static Instruction> {
    let found = INSTRUCTIONS.binary_search_by_key(&encoding, |row| row.encoding);
    found.ok().map(|i| &INSTRUCTIONS[i])
}

const EL1: u32 = 1 << 0;
const WRITE: u32 = 1 << 1;
const PAN: u32 = 1 << 2;

fn translate<const Q: u32>(cpu: &mut Cpu, address: u64) -> Result<(), Stop> {
    let question = Question {
        privileged: Q & EL1 != 0,
        write: Q & WRITE != 0,
        pan: Q & PAN != 0,
    };
    at::translate(cpu, address, question)
}

fn ic_all<const BROADCAST: bool>(cpu: &mut Cpu, _: u64) -> Result<(), Stop> {
    cache_ops::invalidate_instructions(cpu, BROADCAST);
    Ok(())
}

fn tlbi_all<const BROADCAST: bool>(cpu: &mut Cpu, _: u64) -> Result<(), Stop> {
    tlbi::all(cpu, BROADCAST);
    Ok(())
}

fn tlbi_va<const BROADCAST: bool>(cpu: &mut Cpu, operand: u64) -> Result<(), Stop> {
    tlbi::address(cpu, operand, tlbi::Asids::One, BROADCAST);
    Ok(())
}

fn tlbi_vaa<const BROADCAST: bool>(cpu: &mut Cpu, operand: u64) -> Result<(), Stop> {
    tlbi::address(cpu, operand, tlbi::Asids::All, BROADCAST);
    Ok(())
}

fn tlbi_asid<const BROADCAST: bool>(cpu: &mut Cpu, operand: u64) -> Result<(), Stop> {
    tlbi::asid(cpu, operand, BROADCAST);
    Ok(())
}

/// By set and way: there are no caches. KVM takes it as the sign that the guest is about to turn
/// its caches on or off, and watches for that.
fn set_way(cpu: &mut Cpu, _: u64) -> Result<(), Stop> {
    if !cpu.state.sys.watch_caches {
        cpu.state.sys.watch_caches = true;
        traps::update(cpu);
    }
    Ok(())
}
