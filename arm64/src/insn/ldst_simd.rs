//! Loads and stores of FP and Advanced SIMD registers: single, pairs, literals (Arm ARM C4.1.94).
//! Those of structures are in [`super::ldst_struct`].

use super::address::{ANY, EXTENDED, OFFSET, POST, PRE, REGISTER};
use super::address::{address, form, immediate, mem, order, write_back};
use super::alu::pick;
use super::ldst::{
    literal_address, literal_mem, literal_offset, offset, pair_addressing, pair_offset,
};
use super::{Decoded, Operands, mode};
use crate::Arm64;
use crate::regs::{v_high, v_low};
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Emit, Mem, Size};

/// Decodes an instruction of these classes: bit 26 is set.
pub fn decode(mode: u32, o: &Operands) -> Option<Decoded> {
    match (o.bits(27, 3), o.bit(24)) {
        (0b011, false) => literal(o),
        (0b101, _) => pair(mode, o),
        (0b111, _) => single(mode, o),
        _ => None,
    }
}

type Definition = &'static Def<Arm64>;

/// Base-2 logarithm of the bytes of a Q register.
const Q: u32 = 4;

/// What a load or store of V`n` gives or takes: `1 << scale` bytes.
#[inline(always)]
fn load_v<E: Emit<Arch = Arm64>>(
    e: &mut E,
    n: u32,
    address: E::Val,
    scale: u32,
    mem: Mem,
    form: u32,
) -> Result<(), E::Stop> {
    let (low, high) = load_value(e, address, scale, mem, form)?;
    e.put(v_low(n), low);
    e.put(v_high(n), high);
    Ok(())
}

#[inline(always)]
fn load_value<E: Emit<Arch = Arm64>>(
    e: &mut E,
    address: E::Val,
    scale: u32,
    mem: Mem,
    form: u32,
) -> Result<(E::Val, E::Val), E::Stop> {
    if scale != Q {
        let value = e.load(address, mem)?;
        let zero = e.imm(0);
        return Ok((order(e, value, mem.size, form), zero));
    }
    let (first, second) = e.load_pair(address, mem)?;
    let first = order(e, first, Size::B8, form);
    let second = order(e, second, Size::B8, form);
    Ok(halves(e, first, second, form))
}

/// The low and the high half of a Q register, from the half at the lower address and the other, or
/// the reverse of that.
#[inline(always)]
fn halves<E: Emit<Arch = Arm64>, T>(e: &mut E, first: T, second: T, form: u32) -> (T, T) {
    if form == ANY && e.mode() & mode::BIG_ENDIAN != 0 {
        (second, first)
    } else {
        (first, second)
    }
}

#[inline(always)]
fn store_v<E: Emit<Arch = Arm64>>(
    e: &mut E,
    n: u32,
    address: E::Val,
    scale: u32,
    mem: Mem,
    form: u32,
) -> Result<(), E::Stop> {
    let low = e.get(v_low(n));
    let low = order(e, low, mem.size, form);
    if scale != Q {
        return e.store(address, low, mem);
    }
    let high = e.get(v_high(n));
    let high = order(e, high, mem.size, form);
    let values = halves(e, low, high, form);
    e.store_pair(address, values, mem)
}

/// The size of each access that an access of `1 << scale` bytes is made of.
#[inline(always)]
fn size(scale: u32) -> Size {
    Size::from_log2(if scale == Q { 3 } else { scale })
}

/// Base-2 logarithm of the bytes that a single load or store transfers.
fn scale(o: &Operands) -> Option<u32> {
    match (o.bits(30, 2), o.bit(23)) {
        (size, false) => Some(size),
        (0b00, true) => Some(Q),
        _ => None,
    }
}

/// How a single load or store is addressed.
#[inline(always)]
fn addressing(o: &Operands) -> Option<u32> {
    Some(match (o.bit(24), o.bit(21), o.bits(10, 2)) {
        (true, _, _) | (false, false, 0b00) => OFFSET,
        (false, false, 0b01) => POST,
        (false, false, 0b11) => PRE,
        (false, true, 0b10) if o.bits(13, 2) == 0b11 => REGISTER,
        (false, true, 0b10) if o.bit(14) => EXTENDED,
        _ => return None,
    })
}

fn single(mode: u32, o: &Operands) -> Option<Decoded> {
    let scale = scale(o)?;
    addressing(o)?;
    let imm = immediate(offset(o, scale), scale);
    let form = form(mode, o);
    let def: Definition = if o.bit(22) {
        pick!("LDR (SIMD&FP)", load, [{0 1 2 3 4}: scale, {0 1 2}: form])
    } else {
        pick!("STR (SIMD&FP)", store, [{0 1 2 3 4}: scale, {0 1 2}: form])
    };
    Some((def, imm))
}

fn load<E: Emit<Arch = Arm64>, const SCALE: u32, const FORM: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let addressing = addressing(o).unwrap_or(OFFSET);
    let (address, sum) = address(e, o, addressing, FORM);
    let mem = mem(e, o, size(SCALE), FORM);
    load_v(e, o.rd(), address, SCALE, mem, FORM)?;
    write_back(e, o, sum, addressing, FORM);
    Ok(())
}

fn store<E: Emit<Arch = Arm64>, const SCALE: u32, const FORM: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let addressing = addressing(o).unwrap_or(OFFSET);
    let (address, sum) = address(e, o, addressing, FORM);
    let mem = mem(e, o, size(SCALE), FORM);
    store_v(e, o.rd(), address, SCALE, mem, FORM)?;
    write_back(e, o, sum, addressing, FORM);
    Ok(())
}

/// Base-2 logarithm of the bytes of a literal, or of each half of a pair.
#[inline(always)]
fn wide_scale(o: &Operands) -> u32 {
    2 + o.bits(30, 2)
}

fn literal(o: &Operands) -> Option<Decoded> {
    if o.bits(30, 2) == 0b11 {
        return None;
    }
    let imm = immediate(literal_offset(o), wide_scale(o));
    Some((def!(Arm64, "LDR (literal, SIMD&FP)", ldr_literal), imm))
}

fn ldr_literal<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let scale = wide_scale(o);
    let address = literal_address(e, o);
    let mem = literal_mem(e, o, size(scale));
    load_v(e, o.rd(), address, scale, mem, ANY)
}

fn pair(mode: u32, o: &Operands) -> Option<Decoded> {
    if o.bits(30, 2) == 0b11 {
        return None;
    }
    let scale = wide_scale(o);
    let imm = immediate(pair_offset(o, scale), scale);
    let form = form(mode, o);
    let def: Definition = if o.bit(22) {
        pick!("LDP (SIMD&FP)", load_pair, [{2 3 4}: scale, {0 1 2}: form])
    } else {
        pick!("STP (SIMD&FP)", store_pair, [{2 3 4}: scale, {0 1 2}: form])
    };
    Some((def, imm))
}

fn load_pair<E: Emit<Arch = Arm64>, const SCALE: u32, const FORM: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let addressing = pair_addressing(o);
    let (address, sum) = address(e, o, addressing, FORM);
    let mem = mem(e, o, size(SCALE), FORM);
    let (first, second) = if SCALE == Q {
        let first = load_value(e, address, Q, mem, FORM)?;
        let next = e.add_imm(address, 16);
        (first, load_value(e, next, Q, mem, FORM)?)
    } else {
        let (first, second) = e.load_pair(address, mem)?;
        let first = order(e, first, mem.size, FORM);
        let second = order(e, second, mem.size, FORM);
        let zero = e.imm(0);
        ((first, zero), (second, zero))
    };
    for (n, (low, high)) in [(o.rd(), first), (o.ra(), second)] {
        e.put(v_low(n), low);
        e.put(v_high(n), high);
    }
    write_back(e, o, sum, addressing, FORM);
    Ok(())
}

fn store_pair<E: Emit<Arch = Arm64>, const SCALE: u32, const FORM: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let addressing = pair_addressing(o);
    let (address, sum) = address(e, o, addressing, FORM);
    let mem = mem(e, o, size(SCALE), FORM);
    if SCALE == Q {
        store_v(e, o.rd(), address, Q, mem, FORM)?;
        let next = e.add_imm(address, 16);
        store_v(e, o.ra(), next, Q, mem, FORM)?;
    } else {
        let (first, second) = (e.get(v_low(o.rd())), e.get(v_low(o.ra())));
        let first = order(e, first, mem.size, FORM);
        let second = order(e, second, mem.size, FORM);
        e.store_pair(address, (first, second), mem)?;
    }
    write_back(e, o, sum, addressing, FORM);
    Ok(())
}
