//! Manipulation of the flags (FEAT_FlagM and FEAT_FlagM2; Arm ARM C4.1.95 "Rotate right into flags"
//! and "Evaluate into flags", and the classes of CFINV, XAFLAG and AXFLAG).

use super::Operands;
use super::alu::{Flags, set_flags};
use crate::Arm64;
use crate::regs::{self, read_x};
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Binary, Cmp, Emit};

type Definition = Option<&'static Def<Arm64>>;

/// Those that take a register: bits 28:21 are 0b11010000 and bits 15:10 are not those of ADC.
pub(super) fn decode_register(o: &Operands) -> Definition {
    if o.bits(10, 5) == 0b00001 && o.bits(29, 3) == 0b101 && !o.bit(4) {
        return Some(def!(Arm64, "RMIF", rmif));
    }
    match (o.bits(29, 3), o.bits(15, 6), o.bits(10, 5), o.rd()) {
        (0b001, 0, 0b00010, 0b01101) => Some(def!(Arm64, "SETF8", setf, [8])),
        (0b001, 0, 0b10010, 0b01101) => Some(def!(Arm64, "SETF16", setf, [16])),
        _ => None,
    }
}

/// CFINV, XAFLAG and AXFLAG, which stand among MSR (immediate) with op1 0: by their op2.
pub(super) fn decode_plain(op2: u32) -> Definition {
    match op2 {
        0b000 => Some(def!(Arm64, "CFINV", cfinv)),
        0b001 => Some(def!(Arm64, "XAFLAG", xaflag)),
        0b010 => Some(def!(Arm64, "AXFLAG", axflag)),
        _ => None,
    }
}

/// The flags as 0 or 1 each: N, Z, C, V.
#[inline(always)]
fn get<E: Emit<Arch = Arm64>>(e: &mut E) -> [E::Val; 4] {
    let zero = e.imm(0);
    let (n, z) = (e.get(regs::N), e.get(regs::Z));
    let (c, v) = (e.get(regs::C), e.get(regs::V));
    let z = e.compare(Cmp::Eq, z, zero);
    [e.shr_imm(n, 63), z, c, e.shr_imm(v, 63)]
}

/// Sets the flags from values that are 0 or 1.
#[inline(always)]
fn put<E: Emit<Arch = Arm64>>(e: &mut E, [n, z, c, v]: [E::Val; 4]) {
    let n = e.shl_imm(n, 63);
    let z = not(e, z);
    let v = e.shl_imm(v, 63);
    set_flags(e, Flags { n, z, c, v });
}

/// The other one of 0 and 1.
#[inline(always)]
fn not<E: Emit<Arch = Arm64>>(e: &mut E, flag: E::Val) -> E::Val {
    let one = e.imm(1);
    e.xor(flag, one)
}

fn rmif<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_x(e, o.rn());
    let amount = e.imm(o.bits(15, 6) as u64);
    let value = e.binary(Binary::Ror, value, amount);
    let old = get(e);
    let mut new = old;
    for (flag, bit) in new.iter_mut().zip([3, 2, 1, 0]) {
        if o.bit(bit) {
            let moved = e.shr_imm(value, bit);
            *flag = e.and_imm(moved, 1);
        }
    }
    put(e, new);
    Ok(())
}

fn setf<E: Emit<Arch = Arm64>, const WIDTH: u32>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_x(e, o.rn());
    // The sign to bit 63, the bit above it shifted out.
    let n = e.shl_imm(value, 64 - WIDTH);
    let above = e.shl_imm(value, 63 - WIDTH);
    let v = e.xor(n, above);
    e.put(regs::N, n);
    e.put(regs::Z, n);
    e.put(regs::V, v);
    Ok(())
}

fn cfinv<E: Emit<Arch = Arm64>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let c = e.get(regs::C);
    let c = not(e, c);
    e.put(regs::C, c);
    Ok(())
}

/// From the form in which x86-like floating point comparisons leave the flags to Arm's.
fn xaflag<E: Emit<Arch = Arm64>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let [_, z, c, _] = get(e);
    let (no_z, no_c) = (not(e, z), not(e, c));
    let new = [e.and(no_c, no_z), e.and(z, c), e.or(c, z), e.and(no_c, z)];
    put(e, new);
    Ok(())
}

/// From Arm's form of the flags of a floating point comparison to the x86-like one.
fn axflag<E: Emit<Arch = Arm64>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let [_, z, c, v] = get(e);
    let ordered = not(e, v);
    let zero = e.imm(0);
    let new = [zero, e.or(z, v), e.and(c, ordered), zero];
    put(e, new);
    Ok(())
}
