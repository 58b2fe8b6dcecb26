//! Complex numbers, FEAT_FCMA: FCADD and FCMLA (Arm ARM C4.1, in "Advanced SIMD three-register
//! extension" and "Advanced SIMD vector x indexed element").
//!
//! A complex number is a pair of elements, the real part first. The second source is turned by a
//! multiple of 90 degrees, which exchanges its parts and flips signs, and then added, or multiplied by
//! one part of the first source:
//!
//! ```text
//!   FCADD         n + turned(m)
//!   FCMLA         d + part(n) * turned(m)
//!   turned(m)     0: (re, im)   90: (-im, re)   180: (-re, -im)   270: (im, -re)
//!   part(n)       0, 180: re    90, 270: im
//! ```
//!
//! So the operands are made ready, and FADD and FMLA do the rest, on 64 bits at a time.

use core::marker::PhantomData;

use super::fp_lanes::{Fadd, Fmla, Format, on_elements, write_vector};
use super::{Decoded, Operands};
use crate::fp::Float;
use crate::regs::{v_high, v_low};
use crate::{Arm64, Cpu};
use understudy_engine::arch::Def;
use understudy_engine::emit::{Binary, Emit};
use understudy_engine::ir::Recorder;

const fn field(word: u32, low: u32, count: u32) -> u32 {
    word >> low & ((1 << count) - 1)
}

macro_rules! shape {
    ($format:expr, $name:ident) => {
        match $format {
            Format::Half => Shapes::<u16>::$name,
            Format::Single => Shapes::<u32>::$name,
            Format::Double => Shapes::<u64>::$name,
        }
    };
}
/// Decodes an instruction on complex numbers; `None` if the word is another one or unallocated.
pub fn decode(word: u32) -> Option<Decoded> {
    let q = field(word, 30, 1) == 1;
    let format = match field(word, 22, 2) {
        0b01 => Format::Half,
        0b10 => Format::Single,
        0b11 if q => Format::Double,
        _ => return None,
    };
    let def = if word & 0xbf20_ec00 == 0x2e00_e400 {
        shape!(format, FCADD)
    } else if word & 0xbf20_e400 == 0x2e00_c400 {
        shape!(format, FCMLA)
    } else if word & 0xbf00_9400 == 0x2f00_1000 {
        // Of half precision, the index may not lie beyond the vector; of single, it is H.
        let (h, l) = (field(word, 11, 1), field(word, 21, 1));
        match format {
            Format::Half if q || h == 0 => Shapes::<u16>::FCMLA_ELEMENT,
            Format::Single if q && l == 0 => Shapes::<u32>::FCMLA_ELEMENT,
            _ => return None,
        }
    } else {
        return None;
    };
    Some((def, 0))
}

/// The definitions of one format.
struct Shapes<F>(PhantomData<F>);

macro_rules! definition {
    ($name:ident, $text:literal, $function:ident) => {
        const $name: &'static Def<Arm64> = &Def {
            name: $text,
            interpret: $function::<Cpu, F>,
            record: $function::<Recorder<Arm64>, F>,
            ends_block: false,
        };
    };
}

impl<F: Float> Shapes<F> {
    definition!(FCADD, "FCADD", fcadd);
    definition!(FCMLA, "FCMLA", fcmla);
    definition!(FCMLA_ELEMENT, "FCMLA (by element)", fcmla_element);
}

/// The halves of a register. Pairs of doubles take both, of smaller elements one or two pairs each.
type Halves<V> = [V; 2];

fn halves<E: Emit<Arch = Arm64>>(e: &mut E, register: u32) -> Halves<E::Val> {
    [e.get(v_low(register)), e.get(v_high(register))]
}

/// The real parts' places in 64 bits.
const fn real_places<F: Float>() -> u64 {
    u64::MAX / ((1 << F::BITS) + 1)
}

/// Each pair with its parts exchanged.
fn exchanged<E: Emit<Arch = Arm64>, F: Float>(
    e: &mut E,
    [low, high]: Halves<E::Val>,
) -> Halves<E::Val> {
    if F::BITS == 64 {
        return [high, low];
    }
    [low, high].map(|half| {
        let real = e.and_imm(half, real_places::<F>());
        let real = e.shl_imm(real, F::BITS);
        let imaginary = e.shr_imm(half, F::BITS);
        let imaginary = e.and_imm(imaginary, real_places::<F>());
        e.or(real, imaginary)
    })
}

/// One part of each pair, in both places.
fn repeated<E: Emit<Arch = Arm64>, F: Float>(
    e: &mut E,
    halves: Halves<E::Val>,
    imaginary: bool,
) -> Halves<E::Val> {
    if F::BITS == 64 {
        return [halves[usize::from(imaginary)]; 2];
    }
    halves.map(|half| {
        let part = if imaginary {
            e.shr_imm(half, F::BITS)
        } else {
            half
        };
        let part = e.and_imm(part, real_places::<F>());
        let twice = e.imm((1 << F::BITS) + 1);
        e.binary(Binary::Mul, part, twice)
    })
}

/// "FPNeg" of each real part, or each imaginary one, or both.
fn negated<E: Emit<Arch = Arm64>, F: Float>(
    e: &mut E,
    [low, high]: Halves<E::Val>,
    real: bool,
    imaginary: bool,
) -> Halves<E::Val> {
    let signs = [real, imaginary].map(|part| if part { F::SIGN } else { 0 });
    let [low_signs, high_signs] = if F::BITS == 64 {
        signs
    } else {
        let in_pair = signs[0] | signs[1] << F::BITS;
        let pairs = if F::BITS == 16 { 0x1_0000_0001 } else { 1 };
        [in_pair * pairs; 2]
    };
    let [low_signs, high_signs] = [low_signs, high_signs].map(|signs| e.imm(signs));
    [e.xor(low, low_signs), e.xor(high, high_signs)]
}

/// Numbers turned by `quarters` times 90 degrees.
fn turned<E: Emit<Arch = Arm64>, F: Float>(
    e: &mut E,
    halves: Halves<E::Val>,
    quarters: u32,
) -> Halves<E::Val> {
    let halves = if quarters % 2 == 1 {
        exchanged::<E, F>(e, halves)
    } else {
        halves
    };
    negated::<E, F>(e, halves, matches!(quarters, 1 | 2), quarters >= 2)
}

fn fcadd<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (n, m) = (halves(e, o.rn()), halves(e, o.rm()));
    let m = turned::<E, F>(e, m, if o.bit(12) { 3 } else { 1 });
    write_vector(e, o, |e, half| {
        on_elements::<E, F, Fadd>(e, [n[half], n[half], m[half]])
    })
}

fn fcmla<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let m = halves(e, o.rm());
    accumulate::<E, F>(e, o, m, o.bits(11, 2))
}

fn fcmla_element<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let m = halves(e, o.rm());
    let pair = if F::BITS == 16 {
        // H:L.
        let half = m[o.bits(11, 1) as usize];
        let pair = e.shr_imm(half, 32 * o.bits(21, 1));
        let pair = e.zext32(pair);
        let twice = e.imm(0x1_0000_0001);
        e.binary(Binary::Mul, pair, twice)
    } else {
        m[o.bits(11, 1) as usize]
    };
    accumulate::<E, F>(e, o, [pair; 2], o.bits(13, 2))
}

fn accumulate<E: Emit<Arch = Arm64>, F: Float>(
    e: &mut E,
    o: &Operands,
    m: Halves<E::Val>,
    quarters: u32,
) -> Result<(), E::Stop> {
    let (d, n) = (halves(e, o.rd()), halves(e, o.rn()));
    let n = repeated::<E, F>(e, n, quarters % 2 == 1);
    let m = turned::<E, F>(e, m, quarters);
    write_vector(e, o, |e, half| {
        on_elements::<E, F, Fmla>(e, [d[half], n[half], m[half]])
    })
}
