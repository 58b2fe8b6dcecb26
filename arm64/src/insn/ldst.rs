//! Loads and stores of general-purpose registers: single, pairs, literals, unprivileged
//! (Arm ARM C4.1.94). Exclusives and atomics are in [`super::exclusive`] and [`super::atomic`],
//! those of vector registers in [`super::ldst_simd`] and [`super::ldst_struct`].

use super::address::{
    ANY, EXTENDED, OFFSET, POST, PRE, REGISTER, address, form, immediate, mem, order, write_back,
};
use super::alu::pick;
use super::system::nop;
use super::{
    Decoded, Operands, atomic, exclusive, fp_trap, info, ldst_simd, ldst_struct, mode, mops, pauth,
};
use crate::Arm64;
use crate::exit::syndrome;
use crate::regs::{read_x, write_x};
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Emit, Size, Unary};

/// Decodes an instruction of this group: bit 27 is set and bit 25 is clear.
pub fn decode(mode: u32, word: u32) -> Option<Decoded> {
    let o = Operands { word, imm: 0 };
    if o.bits(27, 5) == 0b00011 && o.bits(24, 2) == 0b01 && !o.bit(21) && o.bits(10, 2) == 0b01 {
        return mops::decode(&o);
    }
    if o.bit(26) {
        let decoded = match o.bits(27, 3) {
            0b001 if !o.bit(31) => ldst_struct::decode(mode, &o),
            0b001 => None,
            _ => ldst_simd::decode(mode, &o),
        };
        return decoded.map(|decoded| match mode & mode::FP_TRAP {
            0 => decoded,
            _ => (fp_trap(), 0),
        });
    }
    match (o.bits(27, 3), o.bit(24)) {
        (0b001, false) => exclusive::decode(&o),
        (0b011, false) => literal(&o),
        (0b101, _) => pair(mode, &o),
        (0b111, false) if o.bit(21) && o.bits(10, 2) == 0b00 => atomic::decode(&o),
        (0b111, false) if o.bit(21) && o.bit(10) => pauth::load(&o),
        (0b111, _) => single(mode, &o),
        (0b011, true) if !o.bit(21) && o.bits(10, 2) == 0b00 => exclusive::unscaled(&o),
        // Those of FEAT_MTE.
        _ => None,
    }
}

type Definition = &'static Def<Arm64>;

/// How a value is extended that was loaded.
const ZERO: u32 = 0;
const SIGNED_32: u32 = 1;
const SIGNED_64: u32 = 2;

/// What a load or store of one register does, from its word.
#[derive(Clone, Copy)]
struct Shape {
    store: bool,
    size: Size,
    extension: u32,
    addressing: u32,
    unprivileged: bool,
}

impl Shape {
    /// None for a prefetch, and for what is unallocated.
    #[inline(always)]
    fn of(o: &Operands) -> Option<Shape> {
        let size = o.bits(30, 2);
        let extension = match (o.bits(22, 2), size) {
            (0b00 | 0b01, _) => ZERO,
            (0b10, 0..=2) => SIGNED_64,
            (0b11, 0..=1) => SIGNED_32,
            _ => return None,
        };
        let (addressing, unprivileged) = match (o.bit(24), o.bit(21), o.bits(10, 2)) {
            (true, _, _) | (false, false, 0b00) => (OFFSET, false),
            (false, false, 0b01) => (POST, false),
            (false, false, 0b10) => (OFFSET, true),
            (false, false, _) => (PRE, false),
            (false, true, 0b10) if o.bits(13, 2) == 0b11 => (REGISTER, false),
            (false, true, 0b10) if o.bit(14) => (EXTENDED, false),
            // Extensions from less than 32 bits.
            _ => return None,
        };
        Some(Shape {
            store: o.bits(22, 2) == 0,
            size: Size::from_log2(size),
            extension,
            addressing,
            unprivileged,
        })
    }
}

/// The offset of a load or store of one register whose elements have `1 << scale` bytes, or the
/// shift of its index.
pub(super) fn offset(o: &Operands, scale: u32) -> i32 {
    if o.bit(24) {
        (o.bits(10, 12) << scale) as i32
    } else if o.bit(21) {
        if o.bit(12) { scale as i32 } else { 0 }
    } else {
        (o.bits(12, 9) << 23) as i32 >> 23
    }
}

/// [`info`] of a load or store of one register, from its word.
fn information(o: &Operands, shape: &Shape) -> u32 {
    let log2 = shape.size as u32;
    if matches!(shape.addressing, PRE | POST) {
        return log2;
    }
    let wide = shape.extension == SIGNED_64 || log2 == 3;
    syndrome::register(shape.size, o.rd(), shape.extension != ZERO, wide) | log2
}

fn single(mode: u32, o: &Operands) -> Option<Decoded> {
    let Some(shape) = Shape::of(o) else {
        return prefetch(o);
    };
    let imm = immediate(offset(o, shape.size as u32), information(o, &shape));
    let form = form(mode, o);
    if form == ANY || shape.unprivileged {
        return Some((any(&shape), imm));
    }
    macro_rules! by {
        ($name:literal, $f:ident, $($fixed:literal)*) => {
            pick!(
                $name,
                $f,
                [$({$fixed}: (),)* {0 1 2 3 4}: shape.addressing, {0 1}: form]
            )
        };
    }
    let def = match (shape.store, shape.size, shape.extension) {
        (true, Size::B1, _) => by!("STRB", store, 0),
        (true, Size::B2, _) => by!("STRH", store, 1),
        (true, Size::B4, _) => by!("STR", store, 2),
        (true, Size::B8, _) => by!("STR", store, 3),
        (false, Size::B1, ZERO) => by!("LDRB", load, 0 0),
        (false, Size::B2, ZERO) => by!("LDRH", load, 1 0),
        (false, Size::B4, ZERO) => by!("LDR", load, 2 0),
        (false, Size::B8, _) => by!("LDR", load, 3 0),
        (false, Size::B1, SIGNED_32) => by!("LDRSB", load, 0 1),
        (false, Size::B2, SIGNED_32) => by!("LDRSH", load, 1 1),
        (false, Size::B1, _) => by!("LDRSB", load, 0 2),
        (false, Size::B2, _) => by!("LDRSH", load, 1 2),
        (false, Size::B4, _) => by!("LDRSW", load, 2 2),
    };
    Some((def, imm))
}

fn any(shape: &Shape) -> Definition {
    match (shape.store, shape.unprivileged) {
        (true, false) => def!(Arm64, "STR", store_any),
        (true, true) => def!(Arm64, "STTR", store_any),
        (false, false) => def!(Arm64, "LDR", load_any),
        (false, true) => def!(Arm64, "LDTR", load_any),
    }
}

/// PRFM and PRFUM, which do nothing, not even fault.
fn prefetch(o: &Operands) -> Option<Decoded> {
    if o.bits(30, 2) != 3 || o.bits(22, 2) != 0b10 {
        return None;
    }
    match (o.bit(24), o.bit(21), o.bits(10, 2)) {
        (true, _, _) | (false, false, 0b00) => {}
        (false, true, 0b10) if o.bit(14) => {}
        _ => return None,
    }
    Some((def!(Arm64, "PRFM", nop), 0))
}

#[inline(always)]
fn extended<E: Emit<Arch = Arm64>>(e: &mut E, value: E::Val, size: Size, extension: u32) -> E::Val {
    let op = match size {
        Size::B1 => Unary::Sext8,
        Size::B2 => Unary::Sext16,
        _ => Unary::Sext32,
    };
    match extension {
        ZERO => value,
        SIGNED_32 => {
            let value = e.unary(op, value);
            e.zext32(value)
        }
        _ => e.unary(op, value),
    }
}

/// Whether an unprivileged access has other rights than the current level's.
fn as_unprivileged<E: Emit<Arch = Arm64>>(e: &mut E, shape: &Shape) -> bool {
    shape.unprivileged && e.mode() & (mode::EL1 | mode::UAO) == mode::EL1
}

#[inline(always)]
fn load_shape<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    shape: Shape,
    form: u32,
) -> Result<(), E::Stop> {
    let (address, sum) = address(e, o, shape.addressing, form);
    let mut mem = mem(e, o, shape.size, form);
    if form == ANY && as_unprivileged(e, &shape) {
        mem = mem.unprivileged();
    }
    let value = e.load(address, mem)?;
    let value = order(e, value, shape.size, form);
    let value = extended(e, value, shape.size, shape.extension);
    write_x(e, o.rd(), value);
    write_back(e, o, sum, shape.addressing, form);
    Ok(())
}

#[inline(always)]
fn store_shape<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    shape: Shape,
    form: u32,
) -> Result<(), E::Stop> {
    let (address, sum) = address(e, o, shape.addressing, form);
    let mut mem = mem(e, o, shape.size, form);
    if form == ANY && as_unprivileged(e, &shape) {
        mem = mem.unprivileged();
    }
    let value = read_x(e, o.rd());
    let value = order(e, value, shape.size, form);
    e.store(address, value, mem)?;
    write_back(e, o, sum, shape.addressing, form);
    Ok(())
}

fn load<
    E: Emit<Arch = Arm64>,
    const SIZE: u32,
    const EXTENSION: u32,
    const ADDRESSING: u32,
    const FORM: u32,
>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let shape = Shape {
        store: false,
        size: Size::from_log2(SIZE),
        extension: EXTENSION,
        addressing: ADDRESSING,
        unprivileged: false,
    };
    load_shape(e, o, shape, FORM)
}

fn store<E: Emit<Arch = Arm64>, const SIZE: u32, const ADDRESSING: u32, const FORM: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let shape = Shape {
        store: true,
        size: Size::from_log2(SIZE),
        extension: ZERO,
        addressing: ADDRESSING,
        unprivileged: false,
    };
    store_shape(e, o, shape, FORM)
}

fn load_any<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    match Shape::of(o) {
        Some(shape) => load_shape(e, o, shape, ANY),
        None => super::udf(e, o),
    }
}

fn store_any<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    match Shape::of(o) {
        Some(shape) => store_shape(e, o, shape, ANY),
        None => super::udf(e, o),
    }
}

/// LDR (literal): the offset is from the instruction's own address.
fn literal(o: &Operands) -> Option<Decoded> {
    let (size, signed, def) = match o.bits(30, 2) {
        0b00 => (Size::B4, false, def!(Arm64, "LDR (literal)", ldr_literal)),
        0b01 => (Size::B8, false, def!(Arm64, "LDR (literal)", ldr_literal)),
        0b10 => (Size::B4, true, def!(Arm64, "LDRSW (literal)", ldr_literal)),
        _ => return Some((def!(Arm64, "PRFM (literal)", nop), 0)),
    };
    let wide = o.bits(30, 2) != 0;
    let info = syndrome::register(size, o.rd(), signed, wide) | size as u32;
    Some((def, immediate(literal_offset(o), info)))
}

/// The offset of a literal.
pub(super) fn literal_offset(o: &Operands) -> i32 {
    (o.bits(5, 19) << 13) as i32 >> 11
}

fn ldr_literal<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let size = if o.bits(30, 2) == 1 {
        Size::B8
    } else {
        Size::B4
    };
    let address = literal_address(e, o);
    let mem = literal_mem(e, o, size);
    let value = e.load(address, mem)?;
    let value = order(e, value, size, ANY);
    let value = if o.bits(30, 2) == 2 {
        e.sext32(value)
    } else {
        value
    };
    write_x(e, o.rd(), value);
    Ok(())
}

/// The address of a literal.
pub(super) fn literal_address<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> E::Val {
    let pc = e.pc();
    e.add_imm(pc, o.imm as i32 as i64 as u64)
}

/// The access to a literal, which is not based on SP whatever bits 9:5 hold.
pub(super) fn literal_mem<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    size: Size,
) -> understudy_engine::emit::Mem {
    let mut mem = mem(e, o, size, ANY);
    mem.info &= !info::STACK;
    mem
}

fn pair(mode: u32, o: &Operands) -> Option<Decoded> {
    let size = match (o.bits(30, 2), o.bit(22), o.bits(23, 2)) {
        (0b00, _, _) => Size::B4,
        (0b01, true, 0b01..=0b11) => Size::B4,
        (0b10, _, _) => Size::B8,
        // STGP (FEAT_MTE), and unallocated ones.
        _ => return None,
    };
    let imm = immediate(pair_offset(o, size as u32), size as u32);
    let form = form(mode, o);
    if form == ANY {
        return Some((
            match o.bit(22) {
                true => def!(Arm64, "LDP", load_pair_any),
                false => def!(Arm64, "STP", store_pair_any),
            },
            imm,
        ));
    }
    let addressing = pair_addressing(o);
    let wide = size == Size::B8;
    let def = match (o.bits(30, 2), o.bit(22)) {
        (0b01, _) => {
            pick!("LDPSW", load_pair, [{false}: wide, {true}: (), {0 1 2}: addressing, {0 1}: form])
        }
        (_, true) => pick!("LDP", load_pair, [wide, {false}: (), {0 1 2}: addressing, {0 1}: form]),
        (_, false) => pick!("STP", store_pair, [wide, {0 1 2}: addressing, {0 1}: form]),
    };
    Some((def, imm))
}

/// The offset of a pair whose elements have `1 << scale` bytes.
pub(super) fn pair_offset(o: &Operands, scale: u32) -> i32 {
    ((o.bits(15, 7) << 25) as i32 >> 25) << scale
}

/// How a pair is addressed: bits 24:23; 0b00 is that of the non-temporal ones.
#[inline(always)]
pub(super) fn pair_addressing(o: &Operands) -> u32 {
    match o.bits(23, 2) {
        0b01 => POST,
        0b11 => PRE,
        _ => OFFSET,
    }
}

#[inline(always)]
fn load_two<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    size: Size,
    signed: bool,
    addressing: u32,
    form: u32,
) -> Result<(), E::Stop> {
    let (address, sum) = address(e, o, addressing, form);
    let mem = mem(e, o, size, form);
    let (first, second) = e.load_pair(address, mem)?;
    let (first, second) = (order(e, first, size, form), order(e, second, size, form));
    let extension = if signed { SIGNED_64 } else { ZERO };
    let first = extended(e, first, size, extension);
    let second = extended(e, second, size, extension);
    write_x(e, o.rd(), first);
    write_x(e, o.ra(), second);
    write_back(e, o, sum, addressing, form);
    Ok(())
}

#[inline(always)]
fn store_two<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    size: Size,
    addressing: u32,
    form: u32,
) -> Result<(), E::Stop> {
    let (address, sum) = address(e, o, addressing, form);
    let mem = mem(e, o, size, form);
    let (first, second) = (read_x(e, o.rd()), read_x(e, o.ra()));
    let first = order(e, first, size, form);
    let second = order(e, second, size, form);
    e.store_pair(address, (first, second), mem)?;
    write_back(e, o, sum, addressing, form);
    Ok(())
}

fn load_pair<
    E: Emit<Arch = Arm64>,
    const WIDE: bool,
    const SIGNED: bool,
    const ADDRESSING: u32,
    const FORM: u32,
>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let size = if WIDE { Size::B8 } else { Size::B4 };
    load_two(e, o, size, SIGNED, ADDRESSING, FORM)
}

fn store_pair<E: Emit<Arch = Arm64>, const WIDE: bool, const ADDRESSING: u32, const FORM: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let size = if WIDE { Size::B8 } else { Size::B4 };
    store_two(e, o, size, ADDRESSING, FORM)
}

fn pair_size(o: &Operands) -> Size {
    if o.bit(31) { Size::B8 } else { Size::B4 }
}

fn load_pair_any<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    load_two(e, o, pair_size(o), o.bit(30), pair_addressing(o), ANY)
}

fn store_pair_any<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    store_two(e, o, pair_size(o), pair_addressing(o), ANY)
}
