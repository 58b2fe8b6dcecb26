//! Bit and byte instructions (SDM vol. 1, 5.1.6).

use super::alu::{self, condition};
use super::arith::sized;
use super::operand::{
    address, linear, load, locked, mask, offset, read, read_reg, store, sx, width, write, write_reg,
};
use super::{Loc, Operands};
use crate::X86;
use crate::regs::{ADJUST, CARRY, LESS, SIGN, ZERO};
use understudy_engine::arch::Def;
use understudy_engine::emit::{Binary, Cmp, Effects, Emit, Helper, Rmw, Unary};

/// BT, BTS, BTR and BTC, by their number in the opcode's extension less 4.
pub fn test(op: u8, size: u8, lock: bool) -> &'static Def<X86> {
    macro_rules! operation {
        ($name:literal, $op:tt) => {
            if lock {
                sized!($name, bit, [$op, true], size)
            } else {
                sized!($name, bit, [$op, false], size)
            }
        };
    }
    match op & 3 {
        0 => sized!("BT", bit, [0, false], size),
        1 => operation!("BTS", 1),
        2 => operation!("BTR", 2),
        _ => operation!("BTC", 3),
    }
}

fn bit<E: Emit<Arch = X86>, const OP: u8, const LOCK: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let number = read(e, o, o.b, S)?;
    let place = e.and_imm(number, u64::from(width(S)) - 1);
    let one = e.imm(1);
    let bit = e.binary(Binary::Shl, one, place);
    let at = if o.a != Loc::MEM {
        None
    } else if o.b == Loc::IMM {
        Some(address(e, o, S, OP != 0)?)
    } else {
        // The number reaches beyond the operand: by so many operands of its size.
        let offset = offset(e, o);
        let signed = sx(e, number, S);
        let operands = e.sar_imm(signed, u32::from(S) + 3);
        let bytes = e.shl_imm(operands, u32::from(S));
        let offset = e.add(offset, bytes);
        let offset = super::operand::zx(e, offset, o.address);
        Some(linear(e, o.via, offset, 1 << S, OP != 0)?)
    };
    let old = match at {
        Some(at) if LOCK => {
            let op = match OP {
                1 => Rmw::Set,
                2 => Rmw::Clr,
                _ => Rmw::Eor,
            };
            let mem = locked(e, S, o.via);
            e.rmw(op, at, bit, mem)?
        }
        Some(at) => load(e, at, S, o.via, OP != 0)?,
        None => read_reg(e, o.a, S),
    };
    if OP != 0 && !LOCK {
        let new = match OP {
            1 => e.or(old, bit),
            2 => {
                let others = e.unary(Unary::Not, bit);
                e.and(old, others)
            }
            _ => e.xor(old, bit),
        };
        match at {
            Some(at) => store(e, at, new, S, o.via)?,
            None => write_reg(e, o.a, new, S),
        }
    }
    let out = e.binary(Binary::Shr, old, place);
    let carry = e.and_imm(out, 1);
    let overflow = crate::regs::overflow(e);
    alu::set_carry_and_overflow(e, carry, overflow);
    Ok(())
}

/// BSF, or BSR.
pub fn scan(reverse: bool, size: u8) -> &'static Def<X86> {
    if reverse {
        sized!("BSR", scan_bits, [true], size)
    } else {
        sized!("BSF", scan_bits, [false], size)
    }
}

/// Where the source is 0 the destination stays as it is (AMD APM vol. 3; Intel's processors do so,
/// too).
fn scan_bits<E: Emit<Arch = X86>, const REVERSE: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let source = read(e, o, o.b, S)?;
    let found = if REVERSE {
        let leading = e.unary(Unary::Clz, source);
        let top = e.imm(63);
        e.sub(top, leading)
    } else {
        e.unary(Unary::Ctz, source)
    };
    let zero = e.imm(0);
    let none = e.compare(Cmp::Eq, source, zero);
    let slot = crate::regs::gpr(o.a.number());
    let old = e.get(slot);
    write_reg(e, o.a, found, S);
    let new = e.get(slot);
    let result = e.select(none, old, new);
    e.put(slot, result);
    e.put(ZERO, source);
    Ok(())
}

/// POPCNT, LZCNT and TZCNT.
pub fn count(op: Count, size: u8) -> &'static Def<X86> {
    match op {
        Count::Ones => sized!("POPCNT", count_bits, [0], size),
        Count::Leading => sized!("LZCNT", count_bits, [1], size),
        Count::Trailing => sized!("TZCNT", count_bits, [2], size),
    }
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// Ones.
    Ones,
    /// Leading zeros.
    Leading,
    /// Trailing zeros.
    Trailing,
}

fn count_bits<E: Emit<Arch = X86>, const OP: u8, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let source = read(e, o, o.b, S)?;
    let zero = e.imm(0);
    let result = match OP {
        0 => e.unary(Unary::Popcnt, source),
        1 => {
            let leading = e.unary(Unary::Clz, source);
            e.add_imm(leading, u64::from(width(S)).wrapping_sub(64))
        }
        _ => {
            let bits = e.imm(!mask(S));
            let stopped = e.or(source, bits);
            e.unary(Unary::Ctz, stopped)
        }
    };
    write_reg(e, o.a, result, S);
    if OP == 0 {
        let one = e.imm(1);
        e.put(CARRY, zero);
        e.put(LESS, zero);
        e.put(ZERO, source);
        // Neither negative nor of even parity.
        e.put(SIGN, one);
        e.put(ADJUST, zero);
    } else {
        let none = e.compare(Cmp::Eq, source, zero);
        e.put(ZERO, result);
        e.put(CARRY, none);
    }
    Ok(())
}

macro_rules! by_condition {
    ($name:literal, $f:ident, [$($g:tt),*], $code:expr) => {
        match $code {
            0 => understudy_engine::def!(X86, $name, $f, [0 $(, $g)*]),
            1 => understudy_engine::def!(X86, $name, $f, [1 $(, $g)*]),
            2 => understudy_engine::def!(X86, $name, $f, [2 $(, $g)*]),
            3 => understudy_engine::def!(X86, $name, $f, [3 $(, $g)*]),
            4 => understudy_engine::def!(X86, $name, $f, [4 $(, $g)*]),
            5 => understudy_engine::def!(X86, $name, $f, [5 $(, $g)*]),
            6 => understudy_engine::def!(X86, $name, $f, [6 $(, $g)*]),
            7 => understudy_engine::def!(X86, $name, $f, [7 $(, $g)*]),
            8 => understudy_engine::def!(X86, $name, $f, [8 $(, $g)*]),
            9 => understudy_engine::def!(X86, $name, $f, [9 $(, $g)*]),
            10 => understudy_engine::def!(X86, $name, $f, [10 $(, $g)*]),
            11 => understudy_engine::def!(X86, $name, $f, [11 $(, $g)*]),
            12 => understudy_engine::def!(X86, $name, $f, [12 $(, $g)*]),
            13 => understudy_engine::def!(X86, $name, $f, [13 $(, $g)*]),
            14 => understudy_engine::def!(X86, $name, $f, [14 $(, $g)*]),
            _ => understudy_engine::def!(X86, $name, $f, [15 $(, $g)*]),
        }
    };
}

/// SETcc.
pub fn set(code: u8) -> &'static Def<X86> {
    by_condition!("SETcc", setcc, [], code)
}

fn setcc<E: Emit<Arch = X86>, const CODE: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let holds = condition(e, CODE);
    write(e, o, o.a, holds, 0)
}

/// CMOVcc.
pub fn conditional_move(code: u8, size: u8) -> &'static Def<X86> {
    match size {
        1 => by_condition!("CMOVcc", cmov, [1], code),
        2 => by_condition!("CMOVcc", cmov, [2], code),
        _ => by_condition!("CMOVcc", cmov, [3], code),
    }
}

/// A 32-bit destination is zero-extended even if nothing is moved.
fn cmov<E: Emit<Arch = X86>, const CODE: u8, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let source = read(e, o, o.b, S)?;
    let old = read_reg(e, o.a, S);
    let holds = condition(e, CODE);
    let value = e.select(holds, source, old);
    write_reg(e, o.a, value, S);
    Ok(())
}

/// CRC32 (polynomial 0x11edc6f41, reflected).
static CRC32: Helper<X86> = Helper {
    name: "crc32",
    call: |_, [crc, data, bytes, _]| {
        let mut crc = crc as u32;
        for byte in data.to_le_bytes().into_iter().take(bytes as usize) {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                let poly = if crc & 1 != 0 { 0x82f6_3b78 } else { 0 };
                crc = crc >> 1 ^ poly;
            }
        }
        Ok(u64::from(crc))
    },
    effects: Effects::PURE,
};

/// CRC32 of a source of this size.
pub fn crc(size: u8) -> &'static Def<X86> {
    sized!("CRC32", crc32, [], size)
}

fn crc32<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let data = read(e, o, o.b, S)?;
    let crc = read_reg(e, o.a, 2);
    let bytes = e.imm(1 << S);
    let result = e.call(&CRC32, &[crc, data, bytes])?;
    write_reg(e, o.a, result, 3);
    Ok(())
}
