//! Binary arithmetic and logical instructions (SDM vol. 1, 5.1.2 and 5.1.4).

use super::alu::{self, Flags, set_flags};
use super::operand::{
    address, locked, mask, read, read_reg, read_to_write, sx, write_back, write_reg, zx,
};
use super::{Loc, Operands};
use crate::X86;
use crate::regs::CARRY;
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Binary, Cmp, Emit, Rmw};

/// The operations, by the number that opcodes have for them; TEST has none.
pub const ADD: u8 = 0;
/// Inclusive or.
pub const OR: u8 = 1;
/// Sum with carry.
pub const ADC: u8 = 2;
/// Difference with borrow.
pub const SBB: u8 = 3;
/// And.
pub const AND: u8 = 4;
/// Difference.
pub const SUB: u8 = 5;
/// Exclusive or.
pub const XOR: u8 = 6;
/// Comparison.
pub const CMP: u8 = 7;
/// Comparison by and.
pub const TEST: u8 = 8;

/// The [`Def`] of a function with a size as its last generic argument.
macro_rules! sized {
    ($name:expr, $f:ident, [$($g:tt),*], $size:expr) => {
        match $size {
            0 => understudy_engine::def!($crate::X86, $name, $f, [$($g,)* 0]),
            1 => understudy_engine::def!($crate::X86, $name, $f, [$($g,)* 1]),
            2 => understudy_engine::def!($crate::X86, $name, $f, [$($g,)* 2]),
            _ => understudy_engine::def!($crate::X86, $name, $f, [$($g,)* 3]),
        }
    };
}
pub(crate) use sized;

/// The instruction for an operation.
pub fn definition(op: u8, size: u8, lock: bool) -> &'static Def<X86> {
    macro_rules! operation {
        ($name:literal, $op:tt) => {
            if lock {
                sized!($name, alu_locked, [$op], size)
            } else {
                sized!($name, alu, [$op], size)
            }
        };
    }
    match op {
        ADD => operation!("ADD", 0),
        OR => operation!("OR", 1),
        ADC => operation!("ADC", 2),
        SBB => operation!("SBB", 3),
        AND => operation!("AND", 4),
        SUB => operation!("SUB", 5),
        XOR => operation!("XOR", 6),
        CMP => sized!("CMP", alu, [7], size),
        _ => sized!("TEST", alu, [8], size),
    }
}

/// The result of an operation on zero-extended operands, and its flags.
#[inline(always)]
fn compute<E: Emit<Arch = X86>, const OP: u8, const S: u8>(
    e: &mut E,
    a: E::Val,
    b: E::Val,
) -> (E::Val, Flags<E::Val>) {
    let logical = |e: &mut E, op: Binary| {
        let result = e.binary(op, a, b);
        (result, alu::logic(e, result, S))
    };
    match OP {
        ADD => alu::add(e, a, b, S),
        ADC => {
            let carry = e.get(CARRY);
            alu::add_carry(e, a, b, carry, S)
        }
        SBB => {
            let borrow = e.get(CARRY);
            alu::sub_borrow(e, a, b, borrow, S)
        }
        SUB | CMP => alu::sub(e, a, b, S),
        OR => logical(e, Binary::Or),
        XOR => logical(e, Binary::Xor),
        _ => logical(e, Binary::And),
    }
}

fn alu<E: Emit<Arch = X86>, const OP: u8, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    if OP == CMP || OP == TEST {
        let a = read(e, o, o.a, S)?;
        let b = read(e, o, o.b, S)?;
        let (_, flags) = compute::<E, OP, S>(e, a, b);
        set_flags(e, flags);
        return Ok(());
    }
    let (a, at) = read_to_write(e, o, S)?;
    // Known to be 0, whatever the register holds.
    let b = if OP == XOR && o.b == o.a {
        a
    } else {
        read(e, o, o.b, S)?
    };
    let (result, flags) = if (OP == XOR || OP == SUB) && o.b == o.a {
        let zero = e.imm(0);
        (zero, alu::logic(e, zero, S))
    } else {
        compute::<E, OP, S>(e, a, b)
    };
    write_back(e, o, at, result, S)?;
    set_flags(e, flags);
    Ok(())
}

/// With LOCK: the operand is in memory.
fn alu_locked<E: Emit<Arch = X86>, const OP: u8, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let at = address(e, o, S, true)?;
    let b = read(e, o, o.b, S)?;
    let mem = locked(e, S, o.via);
    let with_carry = |e: &mut E| {
        let carry = e.get(CARRY);
        e.add(b, carry)
    };
    let negated = |e: &mut E, value: E::Val| {
        let zero = e.imm(0);
        e.sub(zero, value)
    };
    let (op, operand) = match OP {
        ADD => (Rmw::Add, b),
        OR => (Rmw::Set, b),
        XOR => (Rmw::Eor, b),
        ADC => (Rmw::Add, with_carry(e)),
        SBB => {
            let sum = with_carry(e);
            (Rmw::Add, negated(e, sum))
        }
        SUB => (Rmw::Add, negated(e, b)),
        _ => {
            let ones = e.imm(!0);
            (Rmw::Clr, e.xor(b, ones))
        }
    };
    let a = e.rmw(op, at, operand, mem)?;
    let (_, flags) = compute::<E, OP, S>(e, a, b);
    set_flags(e, flags);
    Ok(())
}

/// INC, or DEC: CF is kept.
pub fn increment(decrement: bool, size: u8, lock: bool) -> &'static Def<X86> {
    match (decrement, lock) {
        (false, false) => sized!("INC", step, [false, false], size),
        (true, false) => sized!("DEC", step, [true, false], size),
        (false, true) => sized!("INC", step, [false, true], size),
        (true, true) => sized!("DEC", step, [true, true], size),
    }
}

fn step<E: Emit<Arch = X86>, const DOWN: bool, const LOCK: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let by = if DOWN { !0 } else { 1 };
    let a = if LOCK {
        let at = address(e, o, S, true)?;
        let operand = e.imm(by);
        let mem = locked(e, S, o.via);
        e.rmw(Rmw::Add, at, operand, mem)?
    } else {
        let (a, at) = read_to_write(e, o, S)?;
        let result = e.add_imm(a, by);
        write_back(e, o, at, result, S)?;
        a
    };
    let result = e.add_imm(a, by);
    let signed = sx(e, a, S);
    // The true result is negative.
    let limit = e.imm(if DOWN { 1 } else { !0 });
    let less = e.compare(Cmp::Slt, signed, limit);
    let one = e.imm(1);
    let adjust = e.xor(a, result);
    let adjust = e.xor(adjust, one);
    let result = sx(e, result, S);
    let flags = Flags {
        carry: None,
        less,
        result,
        adjust,
    };
    set_flags(e, flags);
    Ok(())
}

/// NOT, or NEG.
pub fn complement(negate: bool, size: u8, lock: bool) -> &'static Def<X86> {
    match (negate, lock) {
        (false, false) => sized!("NOT", not, [false], size),
        (false, true) => sized!("NOT", not, [true], size),
        (true, false) => sized!("NEG", neg, [], size),
        (true, true) => sized!("NEG", neg_locked, [], size),
    }
}

fn not<E: Emit<Arch = X86>, const LOCK: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let ones = e.imm(mask(S));
    if LOCK {
        let at = address(e, o, S, true)?;
        let mem = locked(e, S, o.via);
        e.rmw(Rmw::Eor, at, ones, mem)?;
        return Ok(());
    }
    let (a, at) = read_to_write(e, o, S)?;
    let result = e.xor(a, ones);
    write_back(e, o, at, result, S)
}

fn neg<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (a, at) = read_to_write(e, o, S)?;
    let zero = e.imm(0);
    let (result, flags) = alu::sub(e, zero, a, S);
    write_back(e, o, at, result, S)?;
    set_flags(e, flags);
    Ok(())
}

/// No atomic operation negates: it is tried until nobody has come between.
fn neg_locked<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let at = address(e, o, S, true)?;
    let size = e.imm(u64::from(S));
    let a = e.call(&super::exchange::NEGATE, &[at, size])?;
    let zero = e.imm(0);
    let (_, flags) = alu::sub(e, zero, a, S);
    set_flags(e, flags);
    Ok(())
}

/// ADCX, or ADOX: the carry goes through one flag only.
pub fn add_extended(overflow: bool, size: u8) -> &'static Def<X86> {
    if overflow {
        sized!("ADOX", adx, [true], size)
    } else {
        sized!("ADCX", adx, [false], size)
    }
}

fn adx<E: Emit<Arch = X86>, const OVERFLOW: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let a = read_reg(e, o.a, S);
    let b = read(e, o, o.b, S)?;
    let carry = if OVERFLOW {
        crate::regs::overflow(e)
    } else {
        e.get(CARRY)
    };
    let (sum, flags) = alu::add_carry(e, a, b, carry, S);
    write_reg(e, o.a, sum, S);
    let Some(carry) = flags.carry else {
        return Ok(());
    };
    let old = e.get(CARRY);
    if OVERFLOW {
        alu::set_carry_and_overflow(e, old, carry);
    } else {
        e.put(CARRY, carry);
    }
    Ok(())
}

/// CBW, CWDE and CDQE: the accumulator's lower half, of `size`, extended into it.
pub fn extend_accumulator<E: Emit<Arch = X86>, const S: u8>(
    e: &mut E,
    _: &Operands,
) -> Result<(), E::Stop> {
    let half = read_reg(e, Loc::reg(0), S - 1);
    let value = sx(e, half, S - 1);
    write_reg(e, Loc::reg(0), value, S);
    Ok(())
}

/// CWD, CDQ and CQO: the accumulator's sign in all of RDX.
pub fn sign_into_dx<E: Emit<Arch = X86>, const S: u8>(
    e: &mut E,
    _: &Operands,
) -> Result<(), E::Stop> {
    let value = read_reg(e, Loc::reg(0), S);
    let value = sx(e, value, S);
    let sign = e.sar_imm(value, 63);
    let sign = zx(e, sign, S);
    write_reg(e, Loc::reg(2), sign, S);
    Ok(())
}

/// The instructions without operands that extend the accumulator, by its size.
pub fn extension(into_dx: bool, size: u8) -> &'static Def<X86> {
    match (into_dx, size) {
        (false, 1) => def!(X86, "CBW", extend_accumulator, [1]),
        (false, 2) => def!(X86, "CWDE", extend_accumulator, [2]),
        (false, _) => def!(X86, "CDQE", extend_accumulator, [3]),
        (true, 1) => def!(X86, "CWD", sign_into_dx, [1]),
        (true, 2) => def!(X86, "CDQ", sign_into_dx, [2]),
        (true, _) => def!(X86, "CQO", sign_into_dx, [3]),
    }
}
