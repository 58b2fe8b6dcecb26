//! The classes named "Cryptographic ..." (Arm ARM C4.1.96): AES, SHA1 to SHA3, SM3 and SM4. SHA3 is
//! bitwise operations and rotations, and emitted; so is SM3SS1. The others are calls.

use super::simd_plan::{Part, Plan};
use super::{Decoded, Operands};
use crate::Arm64;
use crate::regs::{v_high, v_low};
use crate::simd::Op;
use understudy_engine::def;
use understudy_engine::emit::{Binary, Emit, Size};
use understudy_engine::vector::{VecBinary, VecShift};

/// Decodes an instruction of these classes; `None` if the word is of another or unallocated.
pub fn decode(word: u32) -> Option<Decoded> {
    if word >> 24 == 0xce {
        return sha512_and_others(word);
    }
    let opcode = word >> 12 & 31;
    let (d, n, m) = (Part::Full, Part::Full, Part::Full);
    // Size is 0 in all that is allocated.
    let plan = if word & 0xfffe_0c00 == 0x4e28_0800 {
        let op = match opcode {
            0b00100 => Op::Aese,
            0b00101 => Op::Aesd,
            0b00110 => Op::Aesmc,
            0b00111 => Op::Aesimc,
            _ => return None,
        };
        Plan::new(word, op, 0).parts(d, n, Part::Zero)
    } else if word & 0xffe0_8c00 == 0x5e00_0000 {
        let op = match opcode & 7 {
            0b000 => Op::Sha1c,
            0b001 => Op::Sha1p,
            0b010 => Op::Sha1m,
            0b011 => Op::Sha1su0,
            0b100 => Op::Sha256h,
            0b101 => Op::Sha256h2,
            0b110 => Op::Sha256su1,
            _ => return None,
        };
        Plan::new(word, op, 2).parts(d, n, m)
    } else if word & 0xfffe_0c00 == 0x5e28_0800 {
        match opcode {
            0b00000 => Plan::new(word, Op::Sha1h, 2).parts(Part::Word, Part::Word, Part::Zero),
            0b00001 => Plan::new(word, Op::Sha1su1, 2).parts(d, n, Part::Zero),
            0b00010 => Plan::new(word, Op::Sha256su0, 2).parts(d, n, Part::Zero),
            _ => return None,
        }
    } else {
        return None;
    };
    plan.decoded()
}

/// The classes of four registers, XAR, SM3's of three registers, and SHA512's of three and two.
fn sha512_and_others(word: u32) -> Option<Decoded> {
    let (class, low) = (word >> 21 & 7, word >> 10 & 63);
    let three = |op, size| Plan::new(word, op, size).parts(Part::Full, Part::Full, Part::Full);
    let two = |op, size| Plan::new(word, op, size).parts(Part::Full, Part::Full, Part::Zero);
    let plan = match (class, low) {
        (0b000, 0..=31) => return Some((def!(Arm64, "EOR3", eor3), 0)),
        (0b001, 0..=31) => return Some((def!(Arm64, "BCAX", bcax), 0)),
        (0b010, 0..=31) => return Some((def!(Arm64, "SM3SS1", sm3ss1), 0)),
        (0b010, 0b10_0000..=0b10_1111) => {
            let op = [Op::Sm3tt1a, Op::Sm3tt1b, Op::Sm3tt2a, Op::Sm3tt2b][low as usize & 3];
            three(op, 2).imm(low >> 2 & 3)
        }
        (0b011, 0b10_0000) => three(Op::Sha512h, 3),
        (0b011, 0b10_0001) => three(Op::Sha512h2, 3),
        (0b011, 0b10_0010) => three(Op::Sha512su1, 3),
        (0b011, 0b10_0011) => return Some((def!(Arm64, "RAX1", rax1), 0)),
        (0b011, 0b11_0000) => three(Op::Sm3partw1, 2),
        (0b011, 0b11_0001) => three(Op::Sm3partw2, 2),
        (0b011, 0b11_0010) => three(Op::Sm4ekey, 2),
        (0b100, _) => return Some((def!(Arm64, "XAR", xar), 0)),
        (0b110, 0b10_0000) if word >> 16 & 31 == 0 => two(Op::Sha512su0, 3),
        (0b110, 0b10_0001) if word >> 16 & 31 == 0 => two(Op::Sm4e, 2),
        _ => return None,
    };
    plan.decoded()
}

fn bitwise<E: Emit<Arch = Arm64>>(e: &mut E, op: VecBinary, a: E::Vec, b: E::Vec) -> E::Vec {
    e.vec_binary(op, Size::B8, a, b)
}

fn eor3<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let [n, m, a] = [o.rn(), o.rm(), o.ra()].map(|register| e.vec_get(v_low(register)));
    let two = bitwise(e, VecBinary::Xor, n, m);
    let three = bitwise(e, VecBinary::Xor, two, a);
    e.vec_put(v_low(o.rd()), three);
    Ok(())
}

fn bcax<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let [n, m, a] = [o.rn(), o.rm(), o.ra()].map(|register| e.vec_get(v_low(register)));
    let cleared = bitwise(e, VecBinary::AndNot, m, a);
    let result = bitwise(e, VecBinary::Xor, n, cleared);
    e.vec_put(v_low(o.rd()), result);
    Ok(())
}

/// Both doublewords rotated to the right; `amount` is below 64.
fn rotated<E: Emit<Arch = Arm64>>(e: &mut E, value: E::Vec, amount: u32) -> E::Vec {
    if amount == 0 {
        return value;
    }
    let low = e.vec_shift(VecShift::Shr, Size::B8, value, amount);
    let high = e.vec_shift(VecShift::Shl, Size::B8, value, 64 - amount);
    bitwise(e, VecBinary::Or, low, high)
}

fn rax1<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let [n, m] = [o.rn(), o.rm()].map(|register| e.vec_get(v_low(register)));
    let rotated = rotated(e, m, 63);
    let result = bitwise(e, VecBinary::Xor, n, rotated);
    e.vec_put(v_low(o.rd()), result);
    Ok(())
}

fn xar<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let [n, m] = [o.rn(), o.rm()].map(|register| e.vec_get(v_low(register)));
    let either = bitwise(e, VecBinary::Xor, n, m);
    let result = rotated(e, either, o.bits(10, 6));
    e.vec_put(v_low(o.rd()), result);
    Ok(())
}

/// SM3SS1: SS1 of a round from the top words, a in Vn, e in Vm and the constant in Va.
fn sm3ss1<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let [n, m, a] = [o.rn(), o.rm(), o.ra()].map(|register| {
        let high = e.get(v_high(register));
        e.shr_imm(high, 32)
    });
    let (by_12, by_7, zero) = (e.imm(32 - 12), e.imm(32 - 7), e.imm(0));
    let n = e.binary(Binary::Ror32, n, by_12);
    let sum = e.add(n, m);
    let sum = e.add(sum, a);
    let result = e.binary(Binary::Ror32, sum, by_7);
    let top = e.shl_imm(result, 32);
    e.put(v_low(o.rd()), zero);
    e.put(v_high(o.rd()), top);
    Ok(())
}
