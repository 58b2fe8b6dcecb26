//! Products of halves added to singles, FEAT_FHM: FMLAL, FMLAL2, FMLSL and FMLSL2 (Arm ARM C4.1, in
//! "Advanced SIMD three same" and "Advanced SIMD vector x indexed element").
//!
//! Of the first source, and of the second if it is a vector, the lower or, in the `2` forms, the upper
//! half counts: of 64 bits where Q is clear, else of 128.

use super::fp_lanes::{EFFECTS, with_fp, write_vector};
use super::{Decoded, Operands};
use crate::Arm64;
use crate::fp::Float;
use crate::regs::{v_high, v_low};
use understudy_engine::def;
use understudy_engine::emit::{Binary, Emit, Helper};

/// Decodes one of these instructions; `None` if the word is another one or unallocated.
pub fn decode(word: u32) -> Option<Decoded> {
    let def = if word & 0xbf60_fc00 == 0x0e20_ec00 {
        match word >> 23 & 1 {
            0 => def!(Arm64, "FMLAL", vector, [false]),
            _ => def!(Arm64, "FMLSL", vector, [false]),
        }
    } else if word & 0xbf60_fc00 == 0x2e20_cc00 {
        match word >> 23 & 1 {
            0 => def!(Arm64, "FMLAL2", vector, [true]),
            _ => def!(Arm64, "FMLSL2", vector, [true]),
        }
    } else if word & 0xbfc0_b400 == 0x0f80_0000 {
        match word >> 14 & 1 {
            0 => def!(Arm64, "FMLAL (by element)", element, [false]),
            _ => def!(Arm64, "FMLSL (by element)", element, [false]),
        }
    } else if word & 0xbfc0_b400 == 0x2f80_8000 {
        match word >> 14 & 1 {
            0 => def!(Arm64, "FMLAL2 (by element)", element, [true]),
            _ => def!(Arm64, "FMLSL2 (by element)", element, [true]),
        }
    } else {
        return None;
    };
    Some((def, 0))
}

/// Two elements of d, and the two of n and of m that belong to them; the last argument is the sign to
/// flip in n.
static MULTIPLY_ADD: Helper<Arm64> = Helper {
    name: "FPMulAddH",
    call: |cpu, [d, n, m, flip]| {
        Ok(with_fp(cpu, |fp| {
            (0..2).fold(0, |result, i| {
                let half = |value: u64| (value >> (16 * i)) as u16;
                let addend = (d >> (32 * i)) as u32;
                let sum = fp.mul_add_half(addend, half(n ^ flip), half(m));
                result | u64::from(sum) << (32 * i)
            })
        }))
    },
    effects: EFFECTS,
};

/// The part of a register that counts, at bit 0 and with other bits above it where Q is clear.
fn part<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands, register: u32, upper: bool) -> E::Val {
    match (o.bit(30), upper) {
        (true, true) => e.get(v_high(register)),
        (false, true) => {
            let low = e.get(v_low(register));
            e.shr_imm(low, 32)
        }
        _ => e.get(v_low(register)),
    }
}

/// `Rd = Rd + n * m`, or minus, for parts of 64 bits.
fn accumulate<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    n: E::Val,
    m: E::Val,
    subtract: bool,
) -> Result<(), E::Stop> {
    let d = [e.get(v_low(o.rd())), e.get(v_high(o.rd()))];
    let signs = (u16::SIGN << 16 | u16::SIGN) * u64::from(subtract);
    let flip = e.imm(signs);
    write_vector(e, o, |e, half| {
        let [n, m] = [n, m].map(|v| e.shr_imm(v, 32 * half as u32));
        e.helper(&MULTIPLY_ADD, [d[half], n, m, flip])
    })
}

fn vector<E: Emit<Arch = Arm64>, const UPPER: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let (n, m) = (part(e, o, o.rn(), UPPER), part(e, o, o.rm(), UPPER));
    accumulate(e, o, n, m, o.bit(23))
}

fn element<E: Emit<Arch = Arm64>, const UPPER: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let n = part(e, o, o.rn(), UPPER);
    // Of V0 to V15, element H:L:M.
    let register = o.bits(16, 4);
    let slot = e.get(if o.bit(11) {
        v_high(register)
    } else {
        v_low(register)
    });
    let value = e.shr_imm(slot, 32 * o.bits(21, 1) + 16 * o.bits(20, 1));
    let value = e.and_imm(value, 0xffff);
    let places = e.imm(0x0001_0001_0001_0001);
    let m = e.binary(Binary::Mul, value, places);
    accumulate(e, o, n, m, o.bit(14))
}
