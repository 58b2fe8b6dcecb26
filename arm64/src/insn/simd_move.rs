//! Advanced SIMD copy, scalar copy, modified immediate and table lookup (Arm ARM C4.1.96).

use super::{Decoded, Operands};
use crate::Arm64;
use crate::regs::{self, VECTORS, read_x, v_high, v_low, write};
use crate::simd::lane::low_bits;
use crate::simd::{immediate, permute};
use understudy_engine::def;
use understudy_engine::emit::{Binary, Effects, Emit, Helper, Slot, Unary};

const fn field(word: u32, low: u32, count: u32) -> u32 {
    word >> low & ((1 << count) - 1)
}

/// Decodes an instruction of these classes; `None` if the word is of another or unallocated.
pub fn decode(word: u32) -> Option<Decoded> {
    if word & 0x9fe0_8400 == 0x0e00_0400 {
        copy(word)
    } else if word & 0xffe0_fc00 == 0x5e00_0400 {
        let (size, index) = element(field(word, 16, 5))?;
        Some((
            def!(Arm64, "DUP (element)", dup_element, [true]),
            packed(size, index, 0),
        ))
    } else if word & 0x9ff8_0400 == 0x0f00_0400 {
        modified_immediate(word)
    } else if word & 0xbfe0_8c00 == 0x0e00_0000 {
        let def = if word & 1 << 12 == 0 {
            def!(Arm64, "TBL", table)
        } else {
            def!(Arm64, "TBX", table)
        };
        Some((def, 0))
    } else {
        None
    }
}

/// Size and index of the element that imm5 stands for.
fn element(imm5: u32) -> Option<(u32, u32)> {
    let size = imm5.trailing_zeros();
    (size < 4).then(|| (size, imm5 >> (size + 1)))
}

/// An element's size and index, and that of a second element, as an immediate: 3:0, 7:4, 11:8.
fn packed(size: u32, index: u32, second: u32) -> u64 {
    u64::from(size | index << 4 | second << 8)
}

fn copy(word: u32) -> Option<Decoded> {
    let (q, op, imm4) = (word & 1 << 30 != 0, word & 1 << 29 != 0, field(word, 11, 4));
    let (size, index) = element(field(word, 16, 5))?;
    let whole = packed(size, index, 0);
    Some(match (op, imm4) {
        (false, 0b0000) if q || size < 3 => {
            (def!(Arm64, "DUP (element)", dup_element, [false]), whole)
        }
        (false, 0b0001) if q || size < 3 => (def!(Arm64, "DUP (general)", dup_general), whole),
        (false, 0b0011) if q => (def!(Arm64, "INS (general)", ins_general), whole),
        (false, 0b0101) if size < 2 + u32::from(q) => (def!(Arm64, "SMOV", smov), whole),
        (false, 0b0111) if (size == 3) == q => (def!(Arm64, "UMOV", umov), whole),
        // Bits of imm4 below the element's size are ignored.
        (true, _) if q => (
            def!(Arm64, "INS (element)", ins_element),
            packed(size, index, imm4 >> size),
        ),
        _ => return None,
    })
}

/// The half of V`n` that holds an element, and the element's place in it.
#[inline(always)]
fn place(n: u32, size: u32, index: u32) -> (Slot, u32) {
    let bit = index << (3 + size);
    (if bit < 64 { v_low(n) } else { v_high(n) }, bit & 63)
}

/// The all-ones element.
#[inline(always)]
fn ones(size: u32) -> u64 {
    low_bits(8 << size) as u64
}

/// An element, zero-extended.
#[inline(always)]
fn get_element<E: Emit<Arch = Arm64>>(e: &mut E, n: u32, size: u32, index: u32) -> E::Val {
    let (slot, at) = place(n, size, index);
    let half = e.get(slot);
    let moved = e.shr_imm(half, at);
    if size == 3 {
        moved
    } else {
        e.and_imm(moved, ones(size))
    }
}

/// Replaces an element by the low bits of `value`.
#[inline(always)]
fn put_element<E: Emit<Arch = Arm64>>(e: &mut E, d: u32, size: u32, index: u32, value: E::Val) {
    let (slot, at) = place(d, size, index);
    let new = if size == 3 {
        value
    } else {
        let half = e.get(slot);
        let kept = e.and_imm(half, !(ones(size) << at));
        let value = e.and_imm(value, ones(size));
        let value = e.shl_imm(value, at);
        e.or(kept, value)
    };
    e.put(slot, new);
}

/// Writes the zero-extended `element` to every element of V<d> of the length that Q says.
#[inline(always)]
fn spread<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands, size: u32, element: E::Val) {
    let half = if size == 3 {
        element
    } else {
        let each = e.imm(u64::MAX / ones(size));
        e.binary(Binary::Mul, element, each)
    };
    let high = if o.bit(30) { half } else { e.imm(0) };
    e.put(v_low(o.rd()), half);
    e.put(v_high(o.rd()), high);
}

#[inline(always)]
fn unpacked(o: &Operands) -> (u32, u32) {
    let imm = o.imm as u32;
    (imm & 3, imm >> 4 & 15)
}

fn dup_element<E: Emit<Arch = Arm64>, const SCALAR: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let (size, index) = unpacked(o);
    let value = get_element(e, o.rn(), size, index);
    if SCALAR {
        let zero = e.imm(0);
        e.put(v_low(o.rd()), value);
        e.put(v_high(o.rd()), zero);
    } else {
        spread(e, o, size, value);
    }
    Ok(())
}

fn dup_general<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (size, _) = unpacked(o);
    let value = read_x(e, o.rn());
    let value = if size == 3 {
        value
    } else {
        e.and_imm(value, ones(size))
    };
    spread(e, o, size, value);
    Ok(())
}

fn ins_general<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (size, index) = unpacked(o);
    let value = read_x(e, o.rn());
    put_element(e, o.rd(), size, index, value);
    Ok(())
}

fn ins_element<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (size, index) = unpacked(o);
    let value = get_element(e, o.rn(), size, o.imm as u32 >> 8);
    put_element(e, o.rd(), size, index, value);
    Ok(())
}

fn umov<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (size, index) = unpacked(o);
    let value = get_element(e, o.rn(), size, index);
    write(e, o.rd(), value, true);
    Ok(())
}

fn smov<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (size, index) = unpacked(o);
    let (slot, at) = place(o.rn(), size, index);
    let half = e.get(slot);
    let moved = e.shr_imm(half, at);
    let extension = [Unary::Sext8, Unary::Sext16, Unary::Sext32][size.min(2) as usize];
    let value = e.unary(extension, moved);
    write(e, o.rd(), value, o.bit(30));
    Ok(())
}

/// "Advanced SIMD modified immediate". The immediate left for the semantics is the 64 bits that
/// each half of the vector is combined with, inverted already where the instruction inverts it.
fn modified_immediate(word: u32) -> Option<Decoded> {
    let (q, op, cmode) = (word & 1 << 30 != 0, field(word, 29, 1), field(word, 12, 4));
    let imm8 = field(word, 16, 3) << 5 | field(word, 5, 5);
    if word & 1 << 11 != 0 {
        let half = immediate::expand_fp(u64::from(imm8), 16);
        let def = def!(Arm64, "FMOV (vector, immediate)", set_immediate);
        return ((op, cmode) == (0, 15)).then_some((def, half.wrapping_mul(0x0001_0001_0001_0001)));
    }
    let imm = immediate::expand(op, cmode, imm8);
    Some(match (op, cmode) {
        (1, 15) if !q => return None,
        (_, 15) => (def!(Arm64, "FMOV (vector, immediate)", set_immediate), imm),
        (0, 1 | 3 | 5 | 7 | 9 | 11) => (def!(Arm64, "ORR (vector, immediate)", or_immediate), imm),
        (_, 1 | 3 | 5 | 7 | 9 | 11) => {
            (def!(Arm64, "BIC (vector, immediate)", bic_immediate), !imm)
        }
        (0, _) | (_, 14) => (def!(Arm64, "MOVI", set_immediate), imm),
        _ => (def!(Arm64, "MVNI", set_immediate), !imm),
    })
}

fn set_immediate<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let low = e.imm(o.imm);
    let high = e.imm(if o.bit(30) { o.imm } else { 0 });
    e.put(v_low(o.rd()), low);
    e.put(v_high(o.rd()), high);
    Ok(())
}

/// Combines each half of V<d> with the immediate.
#[inline(always)]
fn with_immediate<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands, op: Binary) {
    let imm = e.imm(o.imm);
    let low = e.get(v_low(o.rd()));
    let low = e.binary(op, low, imm);
    let high = if o.bit(30) {
        let high = e.get(v_high(o.rd()));
        e.binary(op, high, imm)
    } else {
        e.imm(0)
    };
    e.put(v_low(o.rd()), low);
    e.put(v_high(o.rd()), high);
}

fn or_immediate<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    with_immediate(e, o, Binary::Or);
    Ok(())
}

fn bic_immediate<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    with_immediate(e, o, Binary::And);
    Ok(())
}

static TABLE: Helper<Arm64> = Helper {
    name: "table_lookup",
    call: |cpu, [word, ..]| {
        let o = Operands {
            word: word as u32,
            imm: 0,
        };
        let registers: [u128; 4] = std::array::from_fn(|i| regs::vector(cpu, o.rn() + i as u32));
        let old = if o.bit(12) {
            regs::vector(cpu, o.rd())
        } else {
            0
        };
        let count = o.bits(13, 2) as usize + 1;
        let found = permute::table(&registers[..count], regs::vector(cpu, o.rm()), old);
        let kept = low_bits(if o.bit(30) { 128 } else { 64 });
        regs::set_vector(cpu, o.rd(), found & kept);
        Ok(0)
    },
    effects: Effects {
        reads: VECTORS,
        writes: VECTORS,
        stops: false,
    },
};

fn table<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let word = e.imm(u64::from(o.word));
    e.call(&TABLE, &[word])?;
    Ok(())
}
