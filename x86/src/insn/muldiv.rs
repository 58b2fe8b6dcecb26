//! Multiplications and divisions (SDM vol. 1, 5.1.2).

use super::alu::set_carry_overflow;
use super::arith::sized;
use super::operand::{mask, read, read_reg, sx, width, write_reg, zx};
use super::{Loc, Operands};
use crate::exceptions::{self, Fault, vector};
use crate::regs::{RAX, RDX};
use crate::{Cpu, X86};
use understudy_engine::arch::Def;
use understudy_engine::emit::{Binary, Cmp, Effects, Emit, Helper, SlotSet, Stop};

/// MUL, or IMUL of one operand.
pub fn multiply(signed: bool, size: u8) -> &'static Def<X86> {
    if signed {
        sized!("IMUL", mul, [true], size)
    } else {
        sized!("MUL", mul, [false], size)
    }
}

fn mul<E: Emit<Arch = X86>, const SIGNED: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let b = read(e, o, o.a, S)?;
    let a = read_reg(e, Loc::reg(0), S);
    let (a, b) = if SIGNED {
        (sx(e, a, S), sx(e, b, S))
    } else {
        (a, b)
    };
    let low = e.binary(Binary::Mul, a, b);
    let high = if S == 3 {
        let op = if SIGNED { Binary::SMulH } else { Binary::UMulH };
        e.binary(op, a, b)
    } else if SIGNED {
        e.sar_imm(low, width(S))
    } else {
        e.shr_imm(low, width(S))
    };
    // CF and OF: the upper half is more than an extension of the lower.
    let expected = if SIGNED {
        let low = sx(e, low, S);
        e.sar_imm(low, 63)
    } else {
        e.imm(0)
    };
    let more = e.compare(Cmp::Ne, high, expected);
    if S == 0 {
        write_reg(e, Loc::reg(0), low, 1);
    } else {
        write_reg(e, Loc::reg(0), low, S);
        write_reg(e, Loc::reg(2), high, S);
    }
    set_carry_overflow(e, more);
    Ok(())
}

/// IMUL of two or three operands: a product of the last two into the first.
pub fn multiply_into(size: u8) -> &'static Def<X86> {
    sized!("IMUL", imul, [], size)
}

fn imul<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (first, second) = if o.c == Loc::NONE {
        (o.a, o.b)
    } else {
        (o.b, o.c)
    };
    let a = read(e, o, first, S)?;
    let b = read(e, o, second, S)?;
    let (a, b) = (sx(e, a, S), sx(e, b, S));
    let low = e.binary(Binary::Mul, a, b);
    let kept = sx(e, low, S);
    let more = if S == 3 {
        let high = e.binary(Binary::SMulH, a, b);
        let sign = e.sar_imm(low, 63);
        e.compare(Cmp::Ne, high, sign)
    } else {
        e.compare(Cmp::Ne, low, kept)
    };
    write_reg(e, o.a, low, S);
    set_carry_overflow(e, more);
    Ok(())
}

/// Divides RDX:RAX, or AX, by the divisor.
fn divide(cpu: &mut Cpu, divisor: u64, size: u8, signed: bool) -> Result<u64, Stop> {
    let bits = width(size);
    let (low, high) = if size == 0 {
        (cpu.slot(RAX) & 0xff, cpu.slot(RAX) >> 8 & 0xff)
    } else {
        (cpu.slot(RAX) & mask(size), cpu.slot(RDX) & mask(size))
    };
    let dividend = u128::from(high) << bits | u128::from(low);
    let result = if signed {
        let unused = 128 - 2 * bits;
        let dividend = (dividend << unused) as i128 >> unused;
        let unused = 64 - bits;
        let divisor = i128::from((divisor << unused) as i64 >> unused);
        let quotient = dividend.checked_div(divisor);
        let limit = 1i128 << (bits - 1);
        quotient
            .filter(|quotient| (-limit..limit).contains(quotient))
            .map(|quotient| (quotient as u64, (dividend % divisor) as u64))
    } else {
        let divisor = u128::from(divisor & mask(size));
        let quotient = dividend.checked_div(divisor);
        quotient
            .filter(|quotient| *quotient <= u128::from(mask(size)))
            .map(|quotient| (quotient as u64, (dividend % divisor) as u64))
    };
    let Some((quotient, remainder)) = result else {
        return Err(exceptions::raise(cpu, Fault::new(vector::DE)));
    };
    if size == 0 {
        let both = quotient & 0xff | (remainder & 0xff) << 8;
        write_reg(cpu, Loc::reg(0), both, 1);
    } else {
        write_reg(cpu, Loc::reg(0), quotient, size);
        write_reg(cpu, Loc::reg(2), remainder, size);
    }
    Ok(0)
}

static DIVIDE: Helper<X86> = Helper {
    name: "divide",
    call: |cpu, [divisor, size, signed, _]| divide(cpu, divisor, size as u8, signed != 0),
    effects: Effects {
        reads: SlotSet::range(0, 3),
        writes: SlotSet::range(0, 3),
        stops: true,
    },
};

/// DIV, or IDIV.
pub fn division(signed: bool, size: u8) -> &'static Def<X86> {
    if signed {
        sized!("IDIV", div, [true], size)
    } else {
        sized!("DIV", div, [false], size)
    }
}

fn div<E: Emit<Arch = X86>, const SIGNED: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let divisor = read(e, o, o.a, S)?;
    let divisor = zx(e, divisor, S);
    let (size, signed) = (e.imm(u64::from(S)), e.imm(u64::from(SIGNED)));
    e.call(&DIVIDE, &[divisor, size, signed])?;
    Ok(())
}
