//! Advanced SIMD copy, scalar copy, modified immediate and table lookup (Arm ARM C4.1.96).

use super::simd_shuffle::replicate;
use super::{Decoded, Operands};
use crate::Arm64;
use crate::regs::{self, VECTORS, read_x, v_high, v_low, write};
use crate::simd::lane::low_bits;
use crate::simd::{immediate, permute};
use understudy_engine::def;
use understudy_engine::emit::{Effects, Emit, Helper, Size, Unary};
use understudy_engine::vector::{VecBinary, VecUnary};

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

/// Writes a vector to V<d>, cut to the length that Q says.
#[inline(always)]
fn put<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands, value: E::Vec) {
    let value = if o.bit(30) {
        value
    } else {
        e.vec_unary(VecUnary::Low, Size::B8, value)
    };
    e.vec_put(v_low(o.rd()), value);
}

#[inline(always)]
fn unpacked(o: &Operands) -> (Size, u32) {
    let imm = o.imm as u32;
    (Size::from_log2(imm), imm >> 4 & 15)
}

/// The element that the immediate names, zero-extended.
#[inline(always)]
fn get_element<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> E::Val {
    let (size, index) = unpacked(o);
    let vector = e.vec_get(v_low(o.rn()));
    e.vec_lane(size, index, vector)
}

fn dup_element<E: Emit<Arch = Arm64>, const SCALAR: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let (size, index) = unpacked(o);
    if SCALAR {
        let (value, zero) = (get_element(e, o), e.imm(0));
        e.put(v_low(o.rd()), value);
        e.put(v_high(o.rd()), zero);
    } else {
        let vector = e.vec_get(v_low(o.rn()));
        let spread = e.vec_shuffle(vector, vector, replicate(size as u32, index));
        put(e, o, spread);
    }
    Ok(())
}

fn dup_general<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (size, _) = unpacked(o);
    let value = read_x(e, o.rn());
    let spread = e.vec_splat(size, value);
    put(e, o, spread);
    Ok(())
}

fn ins_general<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (size, index) = unpacked(o);
    let (value, old) = (read_x(e, o.rn()), e.vec_get(v_low(o.rd())));
    let new = e.vec_with_lane(size, index, old, value);
    e.vec_put(v_low(o.rd()), new);
    Ok(())
}

fn ins_element<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (size, index) = unpacked(o);
    let (source, old) = (e.vec_get(v_low(o.rn())), e.vec_get(v_low(o.rd())));
    let value = e.vec_lane(size, o.imm as u32 >> 8, source);
    let new = e.vec_with_lane(size, index, old, value);
    e.vec_put(v_low(o.rd()), new);
    Ok(())
}

fn umov<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = get_element(e, o);
    write(e, o.rd(), value, true);
    Ok(())
}

fn smov<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (size, _) = unpacked(o);
    let value = get_element(e, o);
    let extension = match size {
        Size::B1 => Unary::Sext8,
        Size::B2 => Unary::Sext16,
        _ => Unary::Sext32,
    };
    let value = e.unary(extension, value);
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

/// The immediate in both halves of a vector.
#[inline(always)]
fn vector_immediate<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> E::Vec {
    e.vec_imm(u128::from(o.imm) << 64 | u128::from(o.imm))
}

fn set_immediate<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let high = if o.bit(30) { o.imm } else { 0 };
    let vector = e.vec_imm(u128::from(high) << 64 | u128::from(o.imm));
    e.vec_put(v_low(o.rd()), vector);
    Ok(())
}

fn or_immediate<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (imm, old) = (vector_immediate(e, o), e.vec_get(v_low(o.rd())));
    let new = e.vec_binary(VecBinary::Or, Size::B8, old, imm);
    put(e, o, new);
    Ok(())
}

fn bic_immediate<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (imm, old) = (vector_immediate(e, o), e.vec_get(v_low(o.rd())));
    let new = e.vec_binary(VecBinary::And, Size::B8, old, imm);
    put(e, o, new);
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
