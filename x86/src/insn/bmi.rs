//! BMI1 and BMI2 (SDM vol. 1, 5.1.16).

use super::Operands;
use super::alu::{self, set_flags};
use super::operand::{read, read_reg, width, write_reg};
use crate::X86;
use crate::regs::RDX;
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Binary, Cmp, Effects, Emit, Helper, Unary};

macro_rules! wide {
    ($name:literal, $f:ident, [$($g:tt),*], $size:expr) => {
        if $size == 2 {
            def!(X86, $name, $f, [$($g,)* 2])
        } else {
            def!(X86, $name, $f, [$($g,)* 3])
        }
    };
}

/// ANDN.
pub fn and_not(size: u8) -> &'static Def<X86> {
    wide!("ANDN", andn, [], size)
}

fn andn<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let b = read_reg(e, o.b, S);
    let c = read(e, o, o.c, S)?;
    let not = e.unary(Unary::Not, b);
    let result = e.and(not, c);
    write_reg(e, o.a, result, S);
    let flags = alu::logic(e, result, S);
    set_flags(e, flags);
    Ok(())
}

/// BLSI, BLSMSK and BLSR, by the number in the opcode's extension.
pub fn lowest(op: u8, size: u8) -> &'static Def<X86> {
    match op {
        3 => wide!("BLSI", lowest_bit, [3], size),
        2 => wide!("BLSMSK", lowest_bit, [2], size),
        _ => wide!("BLSR", lowest_bit, [1], size),
    }
}

fn lowest_bit<E: Emit<Arch = X86>, const OP: u8, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let a = read(e, o, o.b, S)?;
    let result = match OP {
        3 => {
            let negated = e.unary(Unary::Neg, a);
            e.and(a, negated)
        }
        op => {
            let below = e.add_imm(a, !0);
            let op = if op == 2 { Binary::Xor } else { Binary::And };
            e.binary(op, a, below)
        }
    };
    write_reg(e, o.a, result, S);
    let mut flags = alu::logic(e, result, S);
    let zero = e.imm(0);
    let op = if OP == 3 { Cmp::Ne } else { Cmp::Eq };
    flags.carry = Some(e.compare(op, a, zero));
    set_flags(e, flags);
    Ok(())
}

/// BEXTR.
pub fn extract(size: u8) -> &'static Def<X86> {
    wide!("BEXTR", bextr, [], size)
}

fn bextr<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let a = read(e, o, o.b, S)?;
    let control = read_reg(e, o.c, S);
    let start = e.unary(Unary::Zext8, control);
    let length = e.shr_imm(control, 8);
    let length = e.unary(Unary::Zext8, length);
    let (zero, limit) = (e.imm(0), e.imm(64));
    let moved = e.binary(Binary::Shr, a, start);
    let inside = e.compare(Cmp::Ult, start, limit);
    let moved = e.select(inside, moved, zero);
    let result = low_bits(e, moved, length);
    write_reg(e, o.a, result, S);
    let flags = alu::logic(e, result, S);
    set_flags(e, flags);
    Ok(())
}

/// The low `count` bits of a value, all of them from 64 on.
#[inline(always)]
fn low_bits<E: Emit<Arch = X86>>(e: &mut E, value: E::Val, count: E::Val) -> E::Val {
    let (ones, limit) = (e.imm(!0), e.imm(64));
    let above = e.binary(Binary::Shl, ones, count);
    let below = e.unary(Unary::Not, above);
    let kept = e.and(value, below);
    let fewer = e.compare(Cmp::Ult, count, limit);
    e.select(fewer, kept, value)
}

/// BZHI.
pub fn zero_high(size: u8) -> &'static Def<X86> {
    wide!("BZHI", bzhi, [], size)
}

fn bzhi<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let a = read(e, o, o.b, S)?;
    let index = read_reg(e, o.c, S);
    let count = e.unary(Unary::Zext8, index);
    let result = low_bits(e, a, count);
    write_reg(e, o.a, result, S);
    let last = e.imm(u64::from(width(S)) - 1);
    let mut flags = alu::logic(e, result, S);
    flags.carry = Some(e.compare(Cmp::Ult, last, count));
    set_flags(e, flags);
    Ok(())
}

/// MULX.
pub fn multiply(size: u8) -> &'static Def<X86> {
    wide!("MULX", mulx, [], size)
}

fn mulx<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let a = e.get(RDX);
    let a = super::operand::zx(e, a, S);
    let b = read(e, o, o.c, S)?;
    let low = e.binary(Binary::Mul, a, b);
    let high = if S == 3 {
        e.binary(Binary::UMulH, a, b)
    } else {
        e.shr_imm(low, 32)
    };
    // If both go to the same register, it gets the high half.
    write_reg(e, o.b, low, S);
    write_reg(e, o.a, high, S);
    Ok(())
}

static PDEP: Helper<X86> = Helper {
    name: "pdep",
    call: |_, [source, mask, ..]| {
        let (mut result, mut mask, mut source) = (0, mask, source);
        while mask != 0 {
            let lowest = mask & mask.wrapping_neg();
            if source & 1 != 0 {
                result |= lowest;
            }
            source >>= 1;
            mask ^= lowest;
        }
        Ok(result)
    },
    effects: Effects::PURE,
};

static PEXT: Helper<X86> = Helper {
    name: "pext",
    call: |_, [source, mask, ..]| {
        let (mut result, mut mask, mut place) = (0, mask, 0);
        while mask != 0 {
            let lowest = mask & mask.wrapping_neg();
            if source & lowest != 0 {
                result |= 1 << place;
            }
            place += 1;
            mask ^= lowest;
        }
        Ok(result)
    },
    effects: Effects::PURE,
};

/// PDEP, or PEXT.
pub fn scatter(gather: bool, size: u8) -> &'static Def<X86> {
    if gather {
        wide!("PEXT", pdep_pext, [true], size)
    } else {
        wide!("PDEP", pdep_pext, [false], size)
    }
}

fn pdep_pext<E: Emit<Arch = X86>, const GATHER: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let source = read_reg(e, o.b, S);
    let mask = read(e, o, o.c, S)?;
    let helper = if GATHER { &PEXT } else { &PDEP };
    let result = e.call(helper, &[source, mask])?;
    write_reg(e, o.a, result, S);
    Ok(())
}
