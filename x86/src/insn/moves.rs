//! Data transfer instructions (SDM vol. 1, 5.1.1), LEA and XLAT.

use super::arith::sized;
use super::operand::{
    linear, load, offset, read, read_reg, stack_size, store, sx, write, write_reg, zx,
};
use super::{Loc, Operands};
use crate::X86;
use crate::regs::{RBX, gpr};
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Emit, Unary};

/// MOV, by where the operands are, which are the most frequent instructions.
pub fn mov(o: &Operands) -> &'static Def<X86> {
    match (o.a, o.b) {
        (Loc::MEM, _) => sized!("MOV", mov_to_memory, [], o.size),
        (_, Loc::MEM) => sized!("MOV", mov_from_memory, [], o.size),
        (_, Loc::IMM) => sized!("MOV", mov_immediate, [], o.size),
        _ => sized!("MOV", mov_register, [], o.size),
    }
}

fn mov_to_memory<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = if o.b == Loc::IMM {
        e.imm(o.imm)
    } else {
        read_reg(e, o.b, S)
    };
    write(e, o, Loc::MEM, value, S)
}

fn mov_from_memory<E: Emit<Arch = X86>, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let value = read(e, o, Loc::MEM, S)?;
    write_loaded(e, o.a, value, S);
    Ok(())
}

/// Sets a register to a value that is zero-extended already.
#[inline(always)]
fn write_loaded<E: Emit<Arch = X86>>(e: &mut E, loc: Loc, value: E::Val, size: u8) {
    if size == 2 {
        e.put(gpr(loc.number()), value);
    } else {
        write_reg(e, loc, value, size);
    }
}

fn mov_immediate<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = e.imm(o.imm);
    write_reg(e, o.a, value, S);
    Ok(())
}

fn mov_register<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_reg(e, o.b, S);
    write_loaded(e, o.a, value, S);
    Ok(())
}

/// MOVZX, or MOVSX and MOVSXD: from a source of `from` to the operand's size.
pub fn extend(signed: bool, from: u8) -> &'static Def<X86> {
    match (signed, from) {
        (false, 0) => def!(X86, "MOVZX", movx, [false, 0]),
        (false, _) => def!(X86, "MOVZX", movx, [false, 1]),
        (true, 0) => def!(X86, "MOVSX", movx, [true, 0]),
        (true, 1) => def!(X86, "MOVSX", movx, [true, 1]),
        (true, _) => def!(X86, "MOVSXD", movx, [true, 2]),
    }
}

fn movx<E: Emit<Arch = X86>, const SIGNED: bool, const FROM: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let value = read(e, o, o.b, FROM)?;
    let value = if SIGNED { sx(e, value, FROM) } else { value };
    write_reg(e, o.a, value, o.size);
    Ok(())
}

/// LEA.
pub fn lea<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = offset(e, o);
    write_reg(e, o.a, value, o.size);
    Ok(())
}

/// MOVBE.
pub fn swapped(size: u8) -> &'static Def<X86> {
    sized!("MOVBE", movbe, [], size)
}

fn movbe<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read(e, o, o.b, S)?;
    let value = reversed(e, value, S);
    write(e, o, o.a, value, S)
}

/// The bytes of an operand in reverse order.
#[inline(always)]
fn reversed<E: Emit<Arch = X86>>(e: &mut E, value: E::Val, size: u8) -> E::Val {
    let value = e.unary(Unary::Bswap, value);
    e.shr_imm(value, 64 - super::operand::width(size))
}

/// BSWAP. Of 16 bits the result is undefined; processors give 0.
pub fn bswap<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = if o.size == 1 {
        e.imm(0)
    } else {
        let value = read_reg(e, o.a, o.size);
        reversed(e, value, o.size)
    };
    write_reg(e, o.a, value, o.size);
    Ok(())
}

/// XLAT: the byte at RBX plus AL.
pub fn xlat<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (base, index) = (e.get(RBX), read_reg(e, Loc::reg(0), 0));
    let offset = e.add(base, index);
    let offset = zx(e, offset, o.address);
    let at = linear(e, o.via, offset, 1, false)?;
    let value = load(e, at, 0, o.via, false)?;
    write_reg(e, Loc::reg(0), value, 0);
    Ok(())
}

/// XCHG of two registers.
pub fn exchange_registers<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (a, b) = (read_reg(e, o.a, o.size), read_reg(e, o.b, o.size));
    write_reg(e, o.a, b, o.size);
    write_reg(e, o.b, a, o.size);
    Ok(())
}

/// LEAVE.
pub fn leave<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    use crate::regs::RBP;
    let mode = e.mode();
    let pointer = stack_size(mode);
    let via = super::operand::via(mode, crate::segments::seg::SS);
    let frame = e.get(RBP);
    let offset = zx(e, frame, pointer);
    let at = linear(e, via, offset, 1 << o.size, false)?;
    let value = load(e, at, o.size, via, false)?;
    let above = e.add_imm(frame, 1 << o.size);
    super::operand::set_stack_pointer(e, above);
    write_reg(e, Loc::reg(5), value, o.size);
    Ok(())
}

/// MOVNTI: a store, for which no cache matters.
pub fn movnti<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_reg(e, o.b, o.size);
    let at = super::operand::address(e, o, o.size, true)?;
    store(e, at, value, o.size, o.via)
}
