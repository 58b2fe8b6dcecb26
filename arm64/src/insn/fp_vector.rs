//! Floating point in Advanced SIMD, on vectors and on scalars (Arm ARM C4.1, the classes named
//! "Advanced SIMD ..."): arithmetic, comparisons and conversions. The integer parts of the same
//! classes are in `simd_vector.rs` and `simd_scalar.rs`.

use super::fp_lanes::*;
use super::{Decoded, Operands};
use crate::fp::bf16::Bf16;
use crate::fp::{Float, Rounding};
use crate::regs::{v_high, v_low};
use crate::{Arm64, Cpu};
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Binary, Emit, Helper, Stop};

const fn field(word: u32, low: u32, count: u32) -> u32 {
    word >> low & ((1 << count) - 1)
}

/// Decodes a floating-point instruction of these classes; `None` if the word is another one or
/// unallocated.
pub fn decode(word: u32) -> Option<Decoded> {
    // 0 Q U 0111 0, 01 U 1111 0, and the same with bit 24 set.
    let scalar = match word & 0x9e00_0000 {
        0x0e00_0000 => false,
        0x1e00_0000 if field(word, 30, 1) == 1 => true,
        _ => return None,
    };
    let class = Class {
        word,
        scalar,
        q: field(word, 30, 1) == 1,
        // The two bits that tell operations apart beside the opcode: U, and bit 23.
        u: field(word, 29, 1),
        a: field(word, 23, 1),
    };
    if field(word, 24, 1) == 1 {
        return match field(word, 10, 1) {
            0 => class.indexed(),
            _ if class.a == 0 => class.shift_immediate(),
            _ => None,
        };
    }
    match (field(word, 21, 1), field(word, 10, 2)) {
        (1, 0b01 | 0b11) if field(word, 14, 2) == 0b11 => class.three_same(class.size()?),
        // "Three same FP16": bits 15:14 are clear, the format is in place of bit 22.
        (0, 0b01 | 0b11) if field(word, 14, 2) == 0 && field(word, 22, 1) == 1 => {
            class.three_same(Format::Half)
        }
        (1, 0b10) => match field(word, 17, 4) {
            0b0000 => class.two_register(),
            // "Two-register miscellaneous FP16".
            0b1100 if field(word, 22, 1) == 1 => class.unary(Format::Half),
            0b1000 if scalar => class.scalar_pairwise(),
            0b1000 => class.across_lanes(),
            _ => None,
        },
        _ => None,
    }
}

struct Class {
    word: u32,
    scalar: bool,
    q: bool,
    u: u32,
    a: u32,
}

impl Class {
    /// Single or double by bit 22. Vectors of one double do not exist.
    fn size(&self) -> Option<Format> {
        match field(self.word, 22, 1) {
            0 => Some(Format::Single),
            _ if self.q => Some(Format::Double),
            _ => None,
        }
    }

    /// The operation on scalars or vectors, as the word says.
    fn elementwise<O: Operation>(&self, format: Format) -> Option<&'static Def<Arm64>> {
        Some(if self.scalar {
            scalar_form::<O>(format)
        } else {
            vector_form::<O>(format)
        })
    }

    fn vectors<O: Operation>(&self, format: Format) -> Option<&'static Def<Arm64>> {
        (!self.scalar).then(|| vector_form::<O>(format))
    }

    fn pairs<O: Operation>(&self, format: Format) -> Option<&'static Def<Arm64>> {
        (!self.scalar).then(|| pairwise_form::<O>(format))
    }

    /// "Advanced SIMD (scalar) three same", opcodes from 0b11000.
    fn three_same(&self, f: Format) -> Option<Decoded> {
        let def = match (field(self.word, 11, 3), self.u, self.a) {
            (0b000, 0, 0) => self.vectors::<Fmaxnm>(f),
            (0b000, 0, 1) => self.vectors::<Fminnm>(f),
            (0b000, 1, 0) => self.pairs::<Fmaxnm>(f),
            (0b000, 1, 1) => self.pairs::<Fminnm>(f),
            (0b001, 0, 0) => self.vectors::<Fmla>(f),
            (0b001, 0, 1) => self.vectors::<Fmls>(f),
            (0b010, 0, 0) => self.vectors::<Fadd>(f),
            (0b010, 0, 1) => self.vectors::<Fsub>(f),
            (0b010, 1, 0) => self.pairs::<Fadd>(f),
            (0b010, 1, 1) => self.elementwise::<Fabd>(f),
            (0b011, 0, 0) => self.elementwise::<Fmulx>(f),
            (0b011, 1, 0) => self.vectors::<Fmul>(f),
            (0b100, 0, 0) => self.elementwise::<Fcmeq>(f),
            (0b100, 1, 0) => self.elementwise::<Fcmge>(f),
            (0b100, 1, 1) => self.elementwise::<Fcmgt>(f),
            (0b101, 1, 0) => self.elementwise::<Facge>(f),
            (0b101, 1, 1) => self.elementwise::<Facgt>(f),
            (0b110, 0, 0) => self.vectors::<Fmax>(f),
            (0b110, 0, 1) => self.vectors::<Fmin>(f),
            (0b110, 1, 0) => self.pairs::<Fmax>(f),
            (0b110, 1, 1) => self.pairs::<Fmin>(f),
            (0b111, 0, 0) => self.elementwise::<Frecps>(f),
            (0b111, 0, 1) => self.elementwise::<Frsqrts>(f),
            (0b111, 1, 0) => self.vectors::<Fdiv>(f),
            _ => None,
        }?;
        Some((def, 0))
    }

    /// "Advanced SIMD (scalar) two-register miscellaneous", the floating-point opcodes.
    fn two_register(&self) -> Option<Decoded> {
        let double = field(self.word, 22, 1) == 1;
        let def = match (field(self.word, 12, 5), self.u, self.a, double) {
            (0b10110, 0, 0, false) if !self.scalar => def!(Arm64, "FCVTN", narrow, [0]),
            (0b10110, 0, 0, true) if !self.scalar => def!(Arm64, "FCVTN", narrow, [1]),
            (0b10110, 0, 1, false) if !self.scalar => def!(Arm64, "BFCVTN", narrow, [3]),
            (0b10110, 1, 0, true) if self.scalar => def!(Arm64, "FCVTXN (scalar)", fcvtxn_scalar),
            (0b10110, 1, 0, true) => def!(Arm64, "FCVTXN", narrow, [2]),
            (0b10111, 0, 0, false) if !self.scalar => def!(Arm64, "FCVTL", widen, [false]),
            (0b10111, 0, 0, true) if !self.scalar => def!(Arm64, "FCVTL", widen, [true]),
            (0b11110, 0, 0, _) => self.vectors::<Frint32z>(self.size()?)?,
            (0b11110, 1, 0, _) => self.vectors::<Frint32x>(self.size()?)?,
            (0b11111, 0, 0, _) => self.vectors::<Frint64z>(self.size()?)?,
            (0b11111, 1, 0, _) => self.vectors::<Frint64x>(self.size()?)?,
            _ => return self.unary(self.size()?),
        };
        Some((def, 0))
    }

    fn unary(&self, f: Format) -> Option<Decoded> {
        let def = match (field(self.word, 12, 5), self.u, self.a) {
            (0b01100, 0, 1) => self.elementwise::<FcmgtZero>(f),
            (0b01100, 1, 1) => self.elementwise::<FcmgeZero>(f),
            (0b01101, 0, 1) => self.elementwise::<FcmeqZero>(f),
            (0b01101, 1, 1) => self.elementwise::<FcmleZero>(f),
            (0b01110, 0, 1) => self.elementwise::<FcmltZero>(f),
            (0b01111, 0, 1) if !self.scalar => {
                return Some((def!(Arm64, "FABS (vector)", clear_sign), sign_mask(f)));
            }
            (0b01111, 1, 1) if !self.scalar => {
                return Some((def!(Arm64, "FNEG (vector)", flip_sign), sign_mask(f)));
            }
            (0b11000, 0, 0) => self.vectors::<Frintn>(f),
            (0b11000, 0, 1) => self.vectors::<Frintp>(f),
            (0b11000, 1, 0) => self.vectors::<Frinta>(f),
            (0b11001, 0, 0) => self.vectors::<Frintm>(f),
            (0b11001, 0, 1) => self.vectors::<Frintz>(f),
            (0b11001, 1, 0) => self.vectors::<Frintx>(f),
            (0b11001, 1, 1) => self.vectors::<Frinti>(f),
            (0b11010, 0, 0) => self.elementwise::<Fcvtns>(f),
            (0b11010, 0, 1) => self.elementwise::<Fcvtps>(f),
            (0b11010, 1, 0) => self.elementwise::<Fcvtnu>(f),
            (0b11010, 1, 1) => self.elementwise::<Fcvtpu>(f),
            (0b11011, 0, 0) => self.elementwise::<Fcvtms>(f),
            (0b11011, 0, 1) => self.elementwise::<Fcvtzs>(f),
            (0b11011, 1, 0) => self.elementwise::<Fcvtmu>(f),
            (0b11011, 1, 1) => self.elementwise::<Fcvtzu>(f),
            (0b11100, 0, 0) => self.elementwise::<Fcvtas>(f),
            (0b11100, 1, 0) => self.elementwise::<Fcvtau>(f),
            (0b11101, 0, 0) => self.elementwise::<Scvtf>(f),
            (0b11101, 0, 1) => self.elementwise::<Frecpe>(f),
            (0b11101, 1, 0) => self.elementwise::<Ucvtf>(f),
            (0b11101, 1, 1) => self.elementwise::<Frsqrte>(f),
            (0b11111, 0, 1) if self.scalar => Some(scalar_form::<Frecpx>(f)),
            (0b11111, 1, 1) => self.vectors::<Fsqrt>(f),
            _ => None,
        }?;
        Some((def, 0))
    }

    /// "Advanced SIMD scalar pairwise".
    fn scalar_pairwise(&self) -> Option<Decoded> {
        let f = match (self.u, field(self.word, 22, 1)) {
            (0, 0) => Format::Half,
            (1, 0) => Format::Single,
            (1, _) => Format::Double,
            _ => return None,
        };
        let def = match (field(self.word, 12, 5), self.a) {
            (0b01100, 0) => scalar_pairwise_form::<Fmaxnm>(f),
            (0b01100, _) => scalar_pairwise_form::<Fminnm>(f),
            (0b01101, 0) => scalar_pairwise_form::<Fadd>(f),
            (0b01111, 0) => scalar_pairwise_form::<Fmax>(f),
            (0b01111, _) => scalar_pairwise_form::<Fmin>(f),
            _ => return None,
        };
        Some((def, 0))
    }

    /// "Advanced SIMD across lanes".
    fn across_lanes(&self) -> Option<Decoded> {
        let f = match (self.u, field(self.word, 22, 1)) {
            (0, 0) => Format::Half,
            (1, 0) if self.q => Format::Single,
            _ => return None,
        };
        let def = match (field(self.word, 12, 5), self.a) {
            (0b01100, 0) => across_form::<Fmaxnm>(f),
            (0b01100, _) => across_form::<Fminnm>(f),
            (0b01111, 0) => across_form::<Fmax>(f),
            (0b01111, _) => across_form::<Fmin>(f),
            _ => return None,
        };
        Some((def, 0))
    }

    /// "Advanced SIMD (scalar) x indexed element".
    fn indexed(&self) -> Option<Decoded> {
        let [h, l, m] = [11, 21, 20].map(|bit| field(self.word, bit, 1));
        let rm = field(self.word, 16, 4);
        let (f, register, index) = match (field(self.word, 22, 2), l) {
            (0b00, _) => (Format::Half, rm, h << 2 | l << 1 | m),
            (0b10, _) => (Format::Single, m << 4 | rm, h << 1 | l),
            (0b11, 0) if self.q => (Format::Double, m << 4 | rm, h),
            _ => return None,
        };
        let def = match (field(self.word, 12, 4), self.u) {
            (0b0001, 0) => self.by_element::<Fmla>(f),
            (0b0101, 0) => self.by_element::<Fmls>(f),
            (0b1001, 0) => self.by_element::<Fmul>(f),
            (0b1001, 1) => self.by_element::<Fmulx>(f),
            _ => return None,
        };
        Some((def, element_operand(register, index)))
    }

    fn by_element<O: Operation>(&self, format: Format) -> &'static Def<Arm64> {
        if self.scalar {
            scalar_element_form::<O>(format)
        } else {
            element_form::<O>(format)
        }
    }

    /// "Advanced SIMD (scalar) shift by immediate", the conversions.
    fn shift_immediate(&self) -> Option<Decoded> {
        let (f, bits) = match field(self.word, 19, 4) {
            0b0010 | 0b0011 => (Format::Half, 16),
            0b0100..=0b0111 => (Format::Single, 32),
            0b1000.. if self.q => (Format::Double, 64),
            _ => return None,
        };
        let def = match (field(self.word, 11, 5), self.u) {
            (0b11100, 0) => self.elementwise::<Scvtf>(f),
            (0b11100, _) => self.elementwise::<Ucvtf>(f),
            (0b11111, 0) => self.elementwise::<Fcvtzs>(f),
            (0b11111, _) => self.elementwise::<Fcvtzu>(f),
            _ => None,
        }?;
        Some((def, u64::from(2 * bits - field(self.word, 16, 7))))
    }
}

/// The sign bit of each element in 64 bits.
fn sign_mask(format: Format) -> u64 {
    match format {
        Format::Half => 0x8000_8000_8000_8000,
        Format::Single => 0x8000_0000_8000_0000,
        Format::Double => 1 << 63,
    }
}

fn with_mask<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands, op: Binary, mask: u64) {
    let mask = e.imm(mask);
    let low = e.get(v_low(o.rn()));
    let low = e.binary(op, low, mask);
    let high = if o.bit(30) {
        let high = e.get(v_high(o.rn()));
        e.binary(op, high, mask)
    } else {
        e.imm(0)
    };
    e.put(v_low(o.rd()), low);
    e.put(v_high(o.rd()), high);
}

fn clear_sign<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    with_mask(e, o, Binary::And, !o.imm);
    Ok(())
}

fn flip_sign<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    with_mask(e, o, Binary::Xor, o.imm);
    Ok(())
}

/// Each element of `A` in `high:low` as the narrower `B`, in FPCR's mode or to odd.
fn narrowed<A: Float, B: Float, const ODD: bool>(
    cpu: &mut Cpu,
    [low, high, ..]: [u64; 4],
) -> Result<u64, Stop> {
    let wide = u128::from(low) | u128::from(high) << 64;
    Ok(with_fp(cpu, |fp| {
        let rounding = if ODD {
            Rounding::Odd
        } else {
            fp.rounding_mode()
        };
        (0..64 / B::BITS).fold(0, |result, i| {
            let element = A::from_bits((wide >> (i * A::BITS)) as u64);
            let element: B = fp.convert_in(element, rounding);
            result | element.bits() << (i * B::BITS)
        })
    }))
}

/// Each element of `A` in the low half of the argument as the wider `B`.
fn widened<A: Float, B: Float>(cpu: &mut Cpu, [low, ..]: [u64; 4]) -> Result<u64, Stop> {
    Ok(with_fp(cpu, |fp| {
        (0..64 / B::BITS).fold(0, |result, i| {
            let element: B = fp.convert(A::from_bits(low >> (i * A::BITS)));
            result | element.bits() << (i * B::BITS)
        })
    }))
}

static NARROW: [Helper<Arm64>; 4] = [
    Helper {
        name: "FCVTN.S",
        call: narrowed::<u32, u16, false>,
        effects: EFFECTS,
    },
    Helper {
        name: "FCVTN.D",
        call: narrowed::<u64, u32, false>,
        effects: EFFECTS,
    },
    Helper {
        name: "FCVTXN",
        call: narrowed::<u64, u32, true>,
        effects: EFFECTS,
    },
    Helper {
        name: "BFCVTN",
        call: narrowed::<u32, Bf16, false>,
        effects: EFFECTS,
    },
];

static WIDEN: [Helper<Arm64>; 2] = [
    Helper {
        name: "FCVTL.H",
        call: widened::<u16, u32>,
        effects: EFFECTS,
    },
    Helper {
        name: "FCVTL.S",
        call: widened::<u32, u64>,
        effects: EFFECTS,
    },
];

fn narrow<E: Emit<Arch = Arm64>, const KIND: usize>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let (low, high) = (e.get(v_low(o.rn())), e.get(v_high(o.rn())));
    let result = e.call(&NARROW[KIND], &[low, high])?;
    if o.bit(30) {
        e.put(v_high(o.rd()), result);
    } else {
        write_scalar(e, o.rd(), result);
    }
    Ok(())
}

fn fcvtxn_scalar<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let low = e.get(v_low(o.rn()));
    let zero = e.imm(0);
    let result = e.call(&NARROW[2], &[low, zero])?;
    write_scalar(e, o.rd(), result);
    Ok(())
}

fn widen<E: Emit<Arch = Arm64>, const DOUBLE: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let source = e.get(if o.bit(30) {
        v_high(o.rn())
    } else {
        v_low(o.rn())
    });
    let helper = &WIDEN[usize::from(DOUBLE)];
    let low = e.call(helper, &[source])?;
    let upper = e.shr_imm(source, 32);
    let high = e.call(helper, &[upper])?;
    e.put(v_low(o.rd()), low);
    e.put(v_high(o.rd()), high);
    Ok(())
}
