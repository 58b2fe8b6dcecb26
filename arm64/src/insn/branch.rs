//! Branches and exception generation (Arm ARM C4.1.93); the system instructions of this group are
//! in [`super::system`].

use super::alu::{condition, pick};
use super::{Decoded, Operands, bti, mode, pauth, system};
use crate::regs::{read, read_x, write_x};
use crate::smccc::{self, Conduit};
use crate::{Arm64, exceptions};
use understudy_engine::def;
use understudy_engine::emit::{Cmp, Effects, Emit, Helper};

/// Decodes an instruction of this group: bits 28:26 are 0b101.
pub fn decode(mode: u32, word: u32) -> Option<Decoded> {
    let o = Operands { word, imm: 0 };
    match o.bits(29, 3) {
        0b000 => Some((def!(Arm64, "B", b, ends), offset(&o, 0, 26))),
        0b100 => Some((def!(Arm64, "BL", bl, ends), offset(&o, 0, 26))),
        0b001 | 0b101 if !o.bit(25) => Some((compare_and_branch(&o), offset(&o, 5, 19))),
        0b001 | 0b101 => Some((test_and_branch(&o), offset(&o, 5, 14))),
        // Bit 4: BC.cond (FEAT_HBC), whose hint is not needed here.
        0b010 if o.bits(24, 2) == 0 => Some((conditional(&o), offset(&o, 5, 19))),
        0b110 if o.bit(25) => register(mode, &o),
        0b110 if o.bit(24) => system::decode(mode, &o),
        0b110 => exception(mode, &o),
        _ => None,
    }
}

/// A signed number of instructions, as an offset in bytes.
fn offset(o: &Operands, low: u32, count: u32) -> u64 {
    let field = o.bits(low, count) as i64;
    (field << (64 - count) >> (62 - count)) as u64
}

fn b<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    e.jump(o.imm as i64);
    Ok(())
}

/// Sets X30 to the address of the next instruction.
#[inline(always)]
fn link<E: Emit<Arch = Arm64>>(e: &mut E) {
    let pc = e.pc();
    let next = e.add_imm(pc, 4);
    write_x(e, 30, next);
}

fn bl<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    link(e);
    e.jump(o.imm as i64);
    Ok(())
}

type Definition = &'static understudy_engine::arch::Def<Arm64>;

fn conditional(o: &Operands) -> Definition {
    if o.bit(4) {
        return pick!("BC.cond", b_cond, [{0 1 2 3 4 5 6 7 8 9 10 11 12 13 14}: o.bits(0, 4)], ends);
    }
    pick!("B.cond", b_cond, [{0 1 2 3 4 5 6 7 8 9 10 11 12 13 14}: o.bits(0, 4)], ends)
}

fn b_cond<E: Emit<Arch = Arm64>, const CONDITION: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let holds = condition(e, CONDITION);
    e.branch(holds, o.imm as i64);
    Ok(())
}

fn compare_and_branch(o: &Operands) -> Definition {
    if o.bit(24) {
        pick!("CBNZ", cb, [o.sf(), true], ends)
    } else {
        pick!("CBZ", cb, [o.sf(), false], ends)
    }
}

fn cb<E: Emit<Arch = Arm64>, const SF: bool, const NONZERO: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let value = read(e, o.rd(), SF);
    branch_if::<E, NONZERO>(e, value, o);
    Ok(())
}

/// Branches if the value is, or is not, 0.
#[inline(always)]
fn branch_if<E: Emit<Arch = Arm64>, const NONZERO: bool>(e: &mut E, value: E::Val, o: &Operands) {
    let zero = e.imm(0);
    let holds = e.compare(if NONZERO { Cmp::Ne } else { Cmp::Eq }, value, zero);
    e.branch(holds, o.imm as i64);
}

fn test_and_branch(o: &Operands) -> Definition {
    if o.bit(24) {
        pick!("TBNZ", tb, [o.bit(31), true], ends)
    } else {
        pick!("TBZ", tb, [o.bit(31), false], ends)
    }
}

fn tb<E: Emit<Arch = Arm64>, const HIGH: bool, const NONZERO: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let value = read_x(e, o.rd());
    let bit = o.bits(19, 5) + if HIGH { 32 } else { 0 };
    let value = e.and_imm(value, 1 << bit);
    branch_if::<E, NONZERO>(e, value, o);
    Ok(())
}

/// Unconditional branches to a register, and ERET.
fn register(mode: u32, o: &Operands) -> Option<Decoded> {
    if o.bit(11) {
        return pauth::branch(mode & mode::EL1 != 0, o).map(|def| (def, 0));
    }
    if o.rm() != 0b11111 || o.bits(10, 6) != 0 || o.bits(0, 5) != 0 {
        return None;
    }
    let def = match o.bits(21, 4) {
        0b0000 if mode & mode::BTI != 0 => def!(Arm64, "BR", bti::br, [false], ends),
        0b0001 if mode & mode::BTI != 0 => def!(Arm64, "BLR", bti::br, [true], ends),
        0b0000 => def!(Arm64, "BR", br, ends),
        0b0001 => def!(Arm64, "BLR", blr, ends),
        0b0010 => def!(Arm64, "RET", br, ends),
        0b0100 if o.rn() == 0b11111 && mode & mode::EL1 != 0 => def!(Arm64, "ERET", eret, ends),
        // DRPS is only for Debug state.
        _ => return None,
    };
    Some((def, 0))
}

fn br<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let target = read_x(e, o.rn());
    e.jump_to(target);
    Ok(())
}

fn blr<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let target = read_x(e, o.rn());
    link(e);
    e.jump_to(target);
    Ok(())
}

/// The helper of an instruction whose way out is a [`understudy_engine::emit::Stop`].
macro_rules! leaves {
    ($($static:ident $name:literal $f:ident($call:expr);)*) => {$(
        static $static: Helper<Arm64> = Helper {
            name: $name,
            call: $call,
            effects: Effects::ANY,
        };
        fn $f<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
            let imm = e.imm(o.imm);
            e.call(&$static, &[imm])?;
            e.end_block();
            Ok(())
        }
    )*};
}

leaves! {
    ERET "eret" eret(|cpu, _| Err(exceptions::exception_return(cpu)));
    SVC "svc" svc(|cpu, [imm, ..]| Err(exceptions::supervisor_call(cpu, imm as u16)));
    BRK "brk" brk(|cpu, [imm, ..]| Err(exceptions::software_breakpoint(cpu, imm as u16)));
    HVC "hvc" hvc(|cpu, [imm, ..]| smccc::call(cpu, Conduit::Hvc, imm as u32).map(|()| 0));
    SMC "smc" smc(|cpu, [imm, ..]| smccc::call(cpu, Conduit::Smc, imm as u32).map(|()| 0));
}

fn exception(mode: u32, o: &Operands) -> Option<Decoded> {
    if o.bits(2, 3) != 0 {
        return None;
    }
    let el1 = mode & mode::EL1 != 0;
    let def = match (o.bits(21, 3), o.bits(0, 2)) {
        (0b000, 0b01) => def!(Arm64, "SVC", svc, ends),
        (0b000, 0b10) if el1 => def!(Arm64, "HVC", hvc, ends),
        (0b000, 0b11) if el1 => def!(Arm64, "SMC", smc, ends),
        (0b001, 0b00) => def!(Arm64, "BRK", brk, ends),
        // HLT and DCPS<n> are undefined as no external debugger has enabled halting.
        _ => return None,
    };
    Some((def, o.bits(5, 16) as u64))
}
