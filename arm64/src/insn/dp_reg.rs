//! Data processing on registers (Arm ARM C4.1.95).

use super::alu::{
    add_flags, add_with_carry, condition, extend, min_max, pick, set_flags, set_logical_flags,
    shift, shift_constant,
};
use super::{Decoded, Operands, flags, pauth};
use crate::regs::{read, read_x, write, write_x, x_sp};
use crate::{Arm64, regs};
use understudy_engine::def;
use understudy_engine::emit::{Binary, Effects, Emit, Helper, Unary};

/// Decodes an instruction of this group: bits 27:25 are 0b101.
pub fn decode(_mode: u32, word: u32) -> Option<Decoded> {
    let o = Operands { word, imm: 0 };
    let def = match (o.bit(28), o.bits(21, 4)) {
        (false, 0b0000..=0b0111) => logical(&o),
        (false, op2) if op2 & 1 == 0 => add_sub_shifted(&o),
        (false, _) => add_sub_extended(&o),
        (true, 0b0000) if o.bits(10, 6) != 0 => flags::decode_register(&o),
        (true, 0b0000) => carry(&o),
        (true, 0b0010) => conditional_compare(&o),
        (true, 0b0100) => conditional_select(&o),
        (true, 0b0110) if o.bit(30) => one_source(&o),
        (true, 0b0110) => two_source(&o),
        (true, 0b1000..) => three_source(&o),
        _ => None,
    };
    def.map(|def| (def, 0))
}

type Definition = Option<&'static understudy_engine::arch::Def<Arm64>>;

fn logical(o: &Operands) -> Definition {
    if !o.sf() && o.bit(15) {
        return None;
    }
    // Most are not shifted.
    let plain = o.bits(10, 6) == 0;
    if plain && o.bits(29, 2) == 0b01 && o.rn() == 31 && !o.bit(21) {
        return Some(pick!("MOV (register)", mov, [o.sf()]));
    }
    Some(match (o.bits(29, 2), o.bit(21)) {
        (0b00, false) => pick!("AND (shifted register)", and_reg, [o.sf(), false, plain]),
        (0b00, true) => pick!("BIC (shifted register)", and_reg, [o.sf(), true, plain]),
        (0b01, false) => pick!("ORR (shifted register)", orr_reg, [o.sf(), false, plain]),
        (0b01, true) => pick!("ORN (shifted register)", orr_reg, [o.sf(), true, plain]),
        (0b10, false) => pick!("EOR (shifted register)", eor_reg, [o.sf(), false, plain]),
        (0b10, true) => pick!("EON (shifted register)", eor_reg, [o.sf(), true, plain]),
        (_, false) => pick!("ANDS (shifted register)", ands_reg, [o.sf(), false, plain]),
        (_, true) => pick!("BICS (shifted register)", ands_reg, [o.sf(), true, plain]),
    })
}

fn mov<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_x(e, o.rm());
    write(e, o.rd(), value, SF);
    Ok(())
}

/// Rm, shifted as the instruction says.
#[inline(always)]
fn shifted<E: Emit<Arch = Arm64>, const SF: bool, const PLAIN: bool>(
    e: &mut E,
    o: &Operands,
) -> E::Val {
    let value = read_x(e, o.rm());
    if PLAIN {
        value
    } else {
        shift_constant(e, value, o.bits(22, 2), o.bits(10, 6), SF)
    }
}

#[inline(always)]
fn logical_reg<E: Emit<Arch = Arm64>, const SF: bool, const NOT: bool, const PLAIN: bool>(
    e: &mut E,
    o: &Operands,
    op: Binary,
) -> E::Val {
    let a = read_x(e, o.rn());
    let b = shifted::<E, SF, PLAIN>(e, o);
    let b = if NOT { e.unary(Unary::Not, b) } else { b };
    let result = e.binary(op, a, b);
    if SF { result } else { e.zext32(result) }
}

macro_rules! logical {
    ($($name:ident $op:ident)*) => {$(
        fn $name<E: Emit<Arch = Arm64>, const SF: bool, const NOT: bool, const PLAIN: bool>(
            e: &mut E,
            o: &Operands,
        ) -> Result<(), E::Stop> {
            let result = logical_reg::<E, SF, NOT, PLAIN>(e, o, Binary::$op);
            write_x(e, o.rd(), result);
            Ok(())
        }
    )*};
}
logical! { and_reg And orr_reg Or eor_reg Xor }

fn ands_reg<E: Emit<Arch = Arm64>, const SF: bool, const NOT: bool, const PLAIN: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let result = logical_reg::<E, SF, NOT, PLAIN>(e, o, Binary::And);
    set_logical_flags(e, result, SF);
    write_x(e, o.rd(), result);
    Ok(())
}

fn add_sub_shifted(o: &Operands) -> Definition {
    if o.bits(22, 2) == 0b11 || !o.sf() && o.bit(15) {
        return None;
    }
    let plain = o.bits(10, 6) == 0;
    Some(match (o.bit(29), o.bit(30)) {
        (false, false) => pick!("ADD (shifted register)", add_reg, [o.sf(), false, plain]),
        (false, true) => pick!("SUB (shifted register)", add_reg, [o.sf(), true, plain]),
        (true, false) => pick!("ADDS (shifted register)", adds_reg, [o.sf(), false, plain]),
        (true, true) => pick!("SUBS (shifted register)", adds_reg, [o.sf(), true, plain]),
    })
}

fn add_reg<E: Emit<Arch = Arm64>, const SF: bool, const SUB: bool, const PLAIN: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let a = read_x(e, o.rn());
    let b = shifted::<E, SF, PLAIN>(e, o);
    let result = e.binary(if SUB { Binary::Sub } else { Binary::Add }, a, b);
    write(e, o.rd(), result, SF);
    Ok(())
}

fn adds_reg<E: Emit<Arch = Arm64>, const SF: bool, const SUB: bool, const PLAIN: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let a = read(e, o.rn(), SF);
    let b = shifted::<E, SF, PLAIN>(e, o);
    let b = if SF { b } else { e.zext32(b) };
    let (result, flags) = add_flags::<E, SF, SUB>(e, a, b);
    set_flags(e, flags);
    write(e, o.rd(), result, SF);
    Ok(())
}

fn add_sub_extended(o: &Operands) -> Definition {
    if o.bits(22, 2) != 0 || o.bits(10, 3) > 4 {
        return None;
    }
    Some(match (o.bit(29), o.bit(30)) {
        (false, false) => pick!("ADD (extended register)", add_ext, [o.sf(), false]),
        (false, true) => pick!("SUB (extended register)", add_ext, [o.sf(), true]),
        (true, false) => pick!("ADDS (extended register)", adds_ext, [o.sf(), false]),
        (true, true) => pick!("SUBS (extended register)", adds_ext, [o.sf(), true]),
    })
}

fn add_ext<E: Emit<Arch = Arm64>, const SF: bool, const SUB: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let a = e.get(x_sp(o.rn()));
    let b = extend(e, o.rm(), o.bits(13, 3), o.bits(10, 3));
    let result = e.binary(if SUB { Binary::Sub } else { Binary::Add }, a, b);
    let result = if SF { result } else { e.zext32(result) };
    e.put(x_sp(o.rd()), result);
    Ok(())
}

fn adds_ext<E: Emit<Arch = Arm64>, const SF: bool, const SUB: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let a = e.get(x_sp(o.rn()));
    let b = extend(e, o.rm(), o.bits(13, 3), o.bits(10, 3));
    let (a, b) = if SF {
        (a, b)
    } else {
        (e.zext32(a), e.zext32(b))
    };
    let (result, flags) = add_flags::<E, SF, SUB>(e, a, b);
    set_flags(e, flags);
    write(e, o.rd(), result, SF);
    Ok(())
}

fn carry(o: &Operands) -> Definition {
    if o.bits(10, 6) != 0 {
        return None;
    }
    Some(match (o.bit(29), o.bit(30)) {
        (false, false) => pick!("ADC", adc, [o.sf(), false, false]),
        (false, true) => pick!("SBC", adc, [o.sf(), true, false]),
        (true, false) => pick!("ADCS", adc, [o.sf(), false, true]),
        (true, true) => pick!("SBCS", adc, [o.sf(), true, true]),
    })
}

fn adc<E: Emit<Arch = Arm64>, const SF: bool, const SUB: bool, const FLAGS: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let a = read(e, o.rn(), SF);
    let b = read_x(e, o.rm());
    let b = if SUB { e.unary(Unary::Not, b) } else { b };
    let b = if SF { b } else { e.zext32(b) };
    let (result, flags) = add_with_carry::<E, SF>(e, a, b);
    if FLAGS {
        set_flags(e, flags);
    }
    write(e, o.rd(), result, SF);
    Ok(())
}

fn conditional_compare(o: &Operands) -> Definition {
    if !o.bit(29) || o.bit(10) || o.bit(4) {
        return None;
    }
    Some(match (o.bit(30), o.bit(11)) {
        (false, false) => pick!("CCMN (register)", ccmp, [o.sf(), false, false]),
        (false, true) => pick!("CCMN (immediate)", ccmp, [o.sf(), false, true]),
        (true, false) => pick!("CCMP (register)", ccmp, [o.sf(), true, false]),
        (true, true) => pick!("CCMP (immediate)", ccmp, [o.sf(), true, true]),
    })
}

fn ccmp<E: Emit<Arch = Arm64>, const SF: bool, const SUB: bool, const IMM: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let holds = condition(e, o.bits(12, 4));
    let a = read(e, o.rn(), SF);
    let b = if IMM {
        e.imm(o.rm() as u64)
    } else {
        read(e, o.rm(), SF)
    };
    let (_, mut flags) = add_flags::<E, SF, SUB>(e, a, b);
    let [v, c, z, n] = [0, 1, 2, 3].map(|bit| o.bit(bit) as u64);
    let otherwise = [n << 63, z ^ 1, c, v << 63];
    let [n, z, c, v] = otherwise.map(|flag| e.imm(flag));
    flags.n = e.select(holds, flags.n, n);
    flags.z = e.select(holds, flags.z, z);
    flags.c = e.select(holds, flags.c, c);
    flags.v = e.select(holds, flags.v, v);
    set_flags(e, flags);
    Ok(())
}

fn conditional_select(o: &Operands) -> Definition {
    if o.bit(29) || o.bit(11) {
        return None;
    }
    Some(match (o.bit(30), o.bit(10)) {
        (false, false) => pick!("CSEL", csel, [o.sf(), false, false]),
        (false, true) => pick!("CSINC", csel, [o.sf(), false, true]),
        (true, false) => pick!("CSINV", csel, [o.sf(), true, false]),
        (true, true) => pick!("CSNEG", csel, [o.sf(), true, true]),
    })
}

fn csel<E: Emit<Arch = Arm64>, const SF: bool, const NOT: bool, const INC: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let holds = condition(e, o.bits(12, 4));
    let (a, b) = (read_x(e, o.rn()), read_x(e, o.rm()));
    let b = match (NOT, INC) {
        (false, false) => b,
        (false, true) => e.add_imm(b, 1),
        (true, false) => e.unary(Unary::Not, b),
        (true, true) => e.unary(Unary::Neg, b),
    };
    let result = e.select(holds, a, b);
    write(e, o.rd(), result, SF);
    Ok(())
}

fn one_source(o: &Operands) -> Definition {
    if !o.bit(29) && o.bits(16, 5) == 1 && o.sf() {
        return pauth::one_source(o);
    }
    if o.bit(29) || o.bits(16, 5) != 0 {
        return None;
    }
    Some(match (o.bits(10, 6), o.sf()) {
        (0b000000, sf) => pick!("RBIT", rbit, [sf]),
        (0b000001, sf) => pick!("REV16", rev16, [sf]),
        (0b000010, true) => def!(Arm64, "REV32", rev32),
        (0b000010, false) => pick!("REV", rev, [false]),
        (0b000011, true) => pick!("REV", rev, [true]),
        (0b000100, sf) => pick!("CLZ", clz, [sf]),
        (0b000101, sf) => pick!("CLS", cls, [sf]),
        (0b000110, sf) => pick!("CTZ", ctz, [sf]),
        (0b000111, sf) => pick!("CNT", cnt, [sf]),
        (0b001000, sf) => pick!("ABS", abs, [sf]),
        _ => return None,
    })
}

fn rbit<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_x(e, o.rn());
    let value = e.unary(Unary::Rbit, value);
    let value = if SF { value } else { e.shr_imm(value, 32) };
    write_x(e, o.rd(), value);
    Ok(())
}

fn rev<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_x(e, o.rn());
    let value = e.unary(Unary::Bswap, value);
    let value = if SF { value } else { e.shr_imm(value, 32) };
    write_x(e, o.rd(), value);
    Ok(())
}

fn rev16<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_x(e, o.rn());
    let low = e.and_imm(value, 0x00ff_00ff_00ff_00ff);
    let low = e.shl_imm(low, 8);
    let high = e.shr_imm(value, 8);
    let high = e.and_imm(high, 0x00ff_00ff_00ff_00ff);
    let result = e.or(low, high);
    write(e, o.rd(), result, SF);
    Ok(())
}

fn rev32<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_x(e, o.rn());
    let value = e.unary(Unary::Bswap, value);
    let half = e.imm(32);
    let value = e.binary(Binary::Ror, value, half);
    write_x(e, o.rd(), value);
    Ok(())
}

fn clz<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read(e, o.rn(), SF);
    let zeros = e.unary(Unary::Clz, value);
    let zeros = if SF {
        zeros
    } else {
        e.add_imm(zeros, 32u64.wrapping_neg())
    };
    write_x(e, o.rd(), zeros);
    Ok(())
}

fn cls<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_x(e, o.rn());
    let value = if SF { value } else { e.sext32(value) };
    // A bit that equals the one above it becomes 0, and so does the top one.
    let next = e.sar_imm(value, 1);
    let changes = e.xor(value, next);
    let same = e.unary(Unary::Clz, changes);
    let beyond: u64 = if SF { 1 } else { 33 };
    let same = e.add_imm(same, beyond.wrapping_neg());
    write_x(e, o.rd(), same);
    Ok(())
}

fn ctz<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_x(e, o.rn());
    let value = if SF {
        value
    } else {
        // A one above bit 31 ends the count.
        let end = e.imm(1 << 32);
        e.or(value, end)
    };
    let zeros = e.unary(Unary::Ctz, value);
    write_x(e, o.rd(), zeros);
    Ok(())
}

fn cnt<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read(e, o.rn(), SF);
    let ones = e.unary(Unary::Popcnt, value);
    write_x(e, o.rd(), ones);
    Ok(())
}

fn abs<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_x(e, o.rn());
    let value = if SF { value } else { e.sext32(value) };
    let negated = e.unary(Unary::Neg, value);
    let result = min_max::<E, true, true, true>(e, value, negated);
    write(e, o.rd(), result, SF);
    Ok(())
}

fn min_max_reg<E: Emit<Arch = Arm64>, const SF: bool, const SIGNED: bool, const MAX: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let (a, b) = (read_x(e, o.rn()), read_x(e, o.rm()));
    let result = min_max::<E, SF, SIGNED, MAX>(e, a, b);
    write(e, o.rd(), result, SF);
    Ok(())
}

fn two_source(o: &Operands) -> Definition {
    if o.bit(29) {
        return None;
    }
    Some(match (o.bits(10, 6), o.sf()) {
        (0b000010, sf) => pick!("UDIV", udiv, [sf]),
        (0b000011, sf) => pick!("SDIV", sdiv, [sf]),
        (0b001000, sf) => pick!("LSLV", shift_reg, [sf, {0}: 0]),
        (0b001001, sf) => pick!("LSRV", shift_reg, [sf, {1}: 1]),
        (0b001010, sf) => pick!("ASRV", shift_reg, [sf, {2}: 2]),
        (0b001011, sf) => pick!("RORV", shift_reg, [sf, {3}: 3]),
        (0b001100, true) => def!(Arm64, "PACGA", pauth::pacga),
        (0b011000, sf) => pick!("SMAX (register)", min_max_reg, [sf, true, true]),
        (0b011001, sf) => pick!("UMAX (register)", min_max_reg, [sf, false, true]),
        (0b011010, sf) => pick!("SMIN (register)", min_max_reg, [sf, true, false]),
        (0b011011, sf) => pick!("UMIN (register)", min_max_reg, [sf, false, false]),
        (0b010000..=0b010010, false) | (0b010011, true) => def!(Arm64, "CRC32", crc32, [false]),
        (0b010100..=0b010110, false) | (0b010111, true) => def!(Arm64, "CRC32C", crc32, [true]),
        _ => return None,
    })
}

fn udiv<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (a, b) = (read(e, o.rn(), SF), read(e, o.rm(), SF));
    let result = e.binary(Binary::UDiv, a, b);
    write_x(e, o.rd(), result);
    Ok(())
}

fn sdiv<E: Emit<Arch = Arm64>, const SF: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (a, b) = (read_x(e, o.rn()), read_x(e, o.rm()));
    let (a, b) = if SF {
        (a, b)
    } else {
        (e.sext32(a), e.sext32(b))
    };
    let result = e.binary(Binary::SDiv, a, b);
    write(e, o.rd(), result, SF);
    Ok(())
}

fn shift_reg<E: Emit<Arch = Arm64>, const SF: bool, const KIND: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let (value, amount) = (read_x(e, o.rn()), read_x(e, o.rm()));
    // The shifts of 64 bits take their amount modulo 64 by themselves.
    let amount = if SF { amount } else { e.and_imm(amount, 31) };
    let result = shift(e, value, KIND, amount, SF);
    write(e, o.rd(), result, SF);
    Ok(())
}

/// A step of a CRC, bits in reversed order: `polynomial` is reversed, too (Arm ARM pseudocode
/// Poly32Mod2).
const fn crc_table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { polynomial } else { 0 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

static CRC32_TABLE: [u32; 256] = crc_table(0x04c1_1db7u32.reverse_bits());
static CRC32C_TABLE: [u32; 256] = crc_table(0x1edc_6f41u32.reverse_bits());

fn crc(table: &[u32; 256], accumulator: u64, value: u64, bytes: u64) -> u64 {
    let mut crc = accumulator as u32;
    for byte in value.to_le_bytes().into_iter().take(bytes as usize) {
        crc = crc >> 8 ^ table[(crc as u8 ^ byte) as usize];
    }
    crc as u64
}

static CRC32: Helper<Arm64> = Helper {
    name: "crc32",
    call: |_, [accumulator, value, bytes, _]| Ok(crc(&CRC32_TABLE, accumulator, value, bytes)),
    effects: Effects::PURE,
};

static CRC32C: Helper<Arm64> = Helper {
    name: "crc32c",
    call: |_, [accumulator, value, bytes, _]| Ok(crc(&CRC32C_TABLE, accumulator, value, bytes)),
    effects: Effects::PURE,
};

fn crc32<E: Emit<Arch = Arm64>, const C: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (accumulator, value) = (read_x(e, o.rn()), read_x(e, o.rm()));
    let bytes = e.imm(1 << o.bits(10, 2));
    let helper = if C { &CRC32C } else { &CRC32 };
    let result = e.call(helper, &[accumulator, value, bytes])?;
    regs::write_x(e, o.rd(), result);
    Ok(())
}

fn three_source(o: &Operands) -> Definition {
    if o.bits(29, 2) != 0 {
        return None;
    }
    Some(match (o.bits(21, 3), o.bit(15), o.sf()) {
        (0b000, false, sf) => pick!("MADD", madd, [sf, false]),
        (0b000, true, sf) => pick!("MSUB", madd, [sf, true]),
        (0b001, false, true) => pick!("SMADDL", maddl, [true, false]),
        (0b001, true, true) => pick!("SMSUBL", maddl, [true, true]),
        (0b010, false, true) => def!(Arm64, "SMULH", mulh, [true]),
        (0b101, false, true) => pick!("UMADDL", maddl, [false, false]),
        (0b101, true, true) => pick!("UMSUBL", maddl, [false, true]),
        (0b110, false, true) => def!(Arm64, "UMULH", mulh, [false]),
        _ => return None,
    })
}

fn madd<E: Emit<Arch = Arm64>, const SF: bool, const SUB: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let (a, b, c) = (read_x(e, o.rn()), read_x(e, o.rm()), read_x(e, o.ra()));
    let product = e.binary(Binary::Mul, a, b);
    let result = e.binary(if SUB { Binary::Sub } else { Binary::Add }, c, product);
    write(e, o.rd(), result, SF);
    Ok(())
}

fn maddl<E: Emit<Arch = Arm64>, const SIGNED: bool, const SUB: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let (a, b, c) = (read_x(e, o.rn()), read_x(e, o.rm()), read_x(e, o.ra()));
    let wide = if SIGNED { Unary::Sext32 } else { Unary::Zext32 };
    let (a, b) = (e.unary(wide, a), e.unary(wide, b));
    let product = e.binary(Binary::Mul, a, b);
    let result = e.binary(if SUB { Binary::Sub } else { Binary::Add }, c, product);
    write_x(e, o.rd(), result);
    Ok(())
}

fn mulh<E: Emit<Arch = Arm64>, const SIGNED: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (a, b) = (read_x(e, o.rn()), read_x(e, o.rm()));
    let result = e.binary(if SIGNED { Binary::SMulH } else { Binary::UMulH }, a, b);
    write_x(e, o.rd(), result);
    Ok(())
}
