//! Data processing with an immediate (Arm ARM C4.1.92).

use super::alu::{add_flags, pick, set_flags, set_logical_flags};
use super::{Decoded, Operands, alu};
use crate::Arm64;
use crate::regs::{read, read_x, write, write_x, x_sp};
use understudy_engine::def;
use understudy_engine::emit::{Binary, Emit};

/// Decodes an instruction of this group: bits 28:26 are 0b100.
pub fn decode(_mode: u32, word: u32) -> Option<Decoded> {
    let o = Operands { word, imm: 0 };
    match o.bits(23, 3) {
        0b000 | 0b001 => Some(pc_relative(&o)),
        0b010 => Some(add_sub(&o)),
        0b100 => logical(&o),
        0b101 => move_wide(&o),
        0b110 => bitfield(&o),
        0b111 => extract(&o),
        0b011 if o.bit(22) => min_max(&o),
        // 0b011, bit 22 clear: with tags (FEAT_MTE).
        _ => None,
    }
}

/// SMAX, UMAX, SMIN and UMIN with an immediate (FEAT_CSSC).
fn min_max(o: &Operands) -> Option<Decoded> {
    let imm = o.bits(10, 8) as u64;
    let signed = imm as i8 as u64;
    match (o.bits(29, 2), o.bits(18, 4)) {
        (0, 0b0000) => Some((
            pick!("SMAX (immediate)", min_max_imm, [o.sf(), true, true]),
            signed,
        )),
        (0, 0b0001) => Some((
            pick!("UMAX (immediate)", min_max_imm, [o.sf(), false, true]),
            imm,
        )),
        (0, 0b0010) => Some((
            pick!("SMIN (immediate)", min_max_imm, [o.sf(), true, false]),
            signed,
        )),
        (0, 0b0011) => Some((
            pick!("UMIN (immediate)", min_max_imm, [o.sf(), false, false]),
            imm,
        )),
        _ => None,
    }
}

fn min_max_imm<E: Emit<Arch = Arm64>, const SF: bool, const SIGNED: bool, const MAX: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let a = read_x(e, o.rn());
    let b = e.imm(o.imm);
    let result = alu::min_max::<E, SF, SIGNED, MAX>(e, a, b);
    write(e, o.rd(), result, SF);
    Ok(())
}

fn pc_relative(o: &Operands) -> Decoded {
    let imm = (o.bits(5, 19) << 2 | o.bits(29, 2)) as i64;
    let imm = imm << 43 >> 43;
    if o.bit(31) {
        (def!(Arm64, "ADRP", adrp), (imm << 12) as u64)
    } else {
        (def!(Arm64, "ADR", adr), imm as u64)
    }
}

fn adr<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let pc = e.pc();
    let result = e.add_imm(pc, o.imm);
    write_x(e, o.rd(), result);
    Ok(())
}

fn adrp<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let pc = e.pc();
    let page = e.and_imm(pc, !0xfff);
    let result = e.add_imm(page, o.imm);
    write_x(e, o.rd(), result);
    Ok(())
}

fn add_sub(o: &Operands) -> Decoded {
    let imm = (o.bits(10, 12) as u64) << (12 * o.bits(22, 1));
    match (o.bit(29), o.bit(30)) {
        (false, false) => (pick!("ADD (immediate)", add_imm, [o.sf()]), imm),
        (false, true) => (
            pick!("SUB (immediate)", add_imm, [o.sf()]),
            imm.wrapping_neg(),
        ),
        (true, false) => (pick!("ADDS (immediate)", adds_imm, [o.sf(), false]), imm),
        (true, true) => (pick!("SUBS (immediate)", adds_imm, [o.sf(), true]), imm),
    }
}

fn add_imm<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let a = e.get(x_sp(o.rn()));
    let result = e.add_imm(a, o.imm);
    let result = if SF { result } else { e.zext32(result) };
    e.put(x_sp(o.rd()), result);
    Ok(())
}

fn adds_imm<E: Emit<Arch = Arm64>, const SF: bool, const SUB: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let a = e.get(x_sp(o.rn()));
    let a = if SF { a } else { e.zext32(a) };
    let b = e.imm(o.imm);
    let (result, flags) = add_flags::<E, SF, SUB>(e, a, b);
    set_flags(e, flags);
    write(e, o.rd(), result, SF);
    Ok(())
}

/// The immediate of a logical instruction: a run of ones, rotated in an element of 2 to 64 bits,
/// and the element repeated (Arm ARM pseudocode DecodeBitMasks). None if it is reserved.
pub fn bitmask(n: u32, immr: u32, imms: u32) -> Option<u64> {
    let length = ((n & 1) << 6 | !imms & 0x3f)
        .checked_ilog2()
        .filter(|&length| length > 0)?;
    let size = 1u32 << length;
    let (ones, rotation) = (imms & (size - 1), immr & (size - 1));
    if ones == size - 1 {
        return None;
    }
    let mask = !0u64 >> (64 - size);
    let element = (1u64 << (ones + 1)) - 1;
    let rotated = match rotation {
        0 => element,
        r => (element >> r | element << (size - r)) & mask,
    };
    // Dividing all ones by the ones of an element leaves a one at the start of each.
    Some(rotated.wrapping_mul(!0 / mask))
}

fn logical(o: &Operands) -> Option<Decoded> {
    if !o.sf() && o.bit(22) {
        return None;
    }
    let imm = bitmask(o.bits(22, 1), o.bits(16, 6), o.bits(10, 6))?;
    let imm = if o.sf() { imm } else { imm & 0xffff_ffff };
    // An AND with an immediate of 32 bits clears the upper half by itself; the others must.
    let def = match o.bits(29, 2) {
        0b00 => def!(Arm64, "AND (immediate)", and_imm, [true]),
        0b01 if o.rn() == 31 => def!(Arm64, "MOV (bitmask immediate)", mov_sp),
        0b01 => pick!("ORR (immediate)", orr_imm, [o.sf()]),
        0b10 => pick!("EOR (immediate)", eor_imm, [o.sf()]),
        _ => pick!("ANDS (immediate)", ands_imm, [o.sf()]),
    };
    Some((def, imm))
}

fn mov_sp<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = e.imm(o.imm);
    e.put(x_sp(o.rd()), value);
    Ok(())
}

macro_rules! logical {
    ($($name:ident $op:ident)*) => {$(
        fn $name<E: Emit<Arch = Arm64>, const SF: bool>(
            e: &mut E,
            o: &Operands,
        ) -> Result<(), E::Stop> {
            let (a, b) = (read_x(e, o.rn()), e.imm(o.imm));
            let result = e.binary(Binary::$op, a, b);
            let result = if SF { result } else { e.zext32(result) };
            e.put(x_sp(o.rd()), result);
            Ok(())
        }
    )*};
}
logical! { and_imm And orr_imm Or eor_imm Xor }

fn ands_imm<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let a = read_x(e, o.rn());
    let result = e.and_imm(a, o.imm);
    set_logical_flags(e, result, SF);
    write_x(e, o.rd(), result);
    Ok(())
}

fn move_wide(o: &Operands) -> Option<Decoded> {
    if !o.sf() && o.bit(22) {
        return None;
    }
    let imm = (o.bits(5, 16) as u64) << (16 * o.bits(21, 2));
    match o.bits(29, 2) {
        0b00 => {
            let width = if o.sf() { !0 } else { 0xffff_ffff };
            Some((def!(Arm64, "MOVN", mov), !imm & width))
        }
        0b10 => Some((def!(Arm64, "MOVZ", mov), imm)),
        0b11 => Some((pick!("MOVK", movk, [o.sf()]), imm)),
        _ => None,
    }
}

fn mov<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = e.imm(o.imm);
    write_x(e, o.rd(), value);
    Ok(())
}

fn movk<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let old = read_x(e, o.rd());
    let kept = e.and_imm(old, !(0xffff << (16 * o.bits(21, 2))));
    let imm = e.imm(o.imm);
    let result = e.or(kept, imm);
    write(e, o.rd(), result, SF);
    Ok(())
}

/// The bitfield moves are two shifts: left until the field's top is bit 63, then right until it is
/// where it belongs. The immediate holds the amounts, in bits 5:0 and 13:8.
fn bitfield(o: &Operands) -> Option<Decoded> {
    let (immr, imms) = (o.bits(16, 6), o.bits(10, 6));
    if o.bit(22) != o.sf() || !o.sf() && (immr | imms) & 0x20 != 0 {
        return None;
    }
    let width = if o.sf() { 64 } else { 32 };
    let left = 63 - imms;
    let right = left + immr - if imms < immr { width } else { 0 };
    let imm = (left | right << 8) as u64;
    match o.bits(29, 2) {
        0b00 => Some((pick!("SBFM", sbfm, [o.sf()]), imm)),
        0b01 => Some((pick!("BFM", bfm, [o.sf()]), imm)),
        0b10 => Some((def!(Arm64, "UBFM", ubfm), imm)),
        _ => None,
    }
}

#[inline(always)]
fn amounts(o: &Operands) -> (u32, u32) {
    (o.imm as u32 & 63, (o.imm >> 8) as u32 & 63)
}

fn sbfm<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (left, right) = amounts(o);
    let value = read_x(e, o.rn());
    let value = e.shl_imm(value, left);
    let value = e.sar_imm(value, right);
    write(e, o.rd(), value, SF);
    Ok(())
}

fn ubfm<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (left, right) = amounts(o);
    let value = read_x(e, o.rn());
    let value = e.shl_imm(value, left);
    let value = e.shr_imm(value, right);
    write_x(e, o.rd(), value);
    Ok(())
}

fn bfm<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (left, right) = amounts(o);
    let mask = !0u64 << left >> right;
    let value = read_x(e, o.rn());
    let value = e.shl_imm(value, left);
    let value = e.shr_imm(value, right);
    let old = read_x(e, o.rd());
    let kept = e.and_imm(old, !mask);
    let result = e.or(kept, value);
    write(e, o.rd(), result, SF);
    Ok(())
}

fn extract(o: &Operands) -> Option<Decoded> {
    let lsb = o.bits(10, 6);
    if o.bits(29, 2) != 0 || o.bit(22) != o.sf() || o.bit(21) || !o.sf() && lsb & 0x20 != 0 {
        return None;
    }
    Some((pick!("EXTR", extr, [o.sf()]), lsb as u64))
}

fn extr<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let lsb = o.imm as u32 & 63;
    let (high, low) = (read(e, o.rn(), SF), read(e, o.rm(), SF));
    let result = if SF {
        let low = e.shr_imm(low, lsb);
        // By 64 in two steps, as for the shift by 0 nothing of the upper register is taken.
        let high = e.shl_imm(high, 63 - lsb);
        let high = e.shl_imm(high, 1);
        e.or(low, high)
    } else {
        let high = e.shl_imm(high, 32);
        let both = e.or(high, low);
        let both = e.shr_imm(both, lsb);
        e.zext32(both)
    };
    write_x(e, o.rd(), result);
    Ok(())
}
