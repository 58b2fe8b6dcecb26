//! "Data Processing -- Scalar Floating-Point" (Arm ARM C4.1): arithmetic, comparison, selection,
//! and moves and conversions between formats and from and to general registers.

use super::fp_lanes::*;
use super::{Decoded, Operands, alu, fp_host};
use crate::fp::bf16::Bf16;
use crate::fp::{Comparison, Float, Rounding};
use crate::regs::{self, v_high, v_low};
use crate::simd::immediate::expand_fp;
use crate::{Arm64, Cpu};
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Binary, Emit, Helper, Stop};
use understudy_engine::ir::Recorder;

const fn field(word: u32, low: u32, count: u32) -> u32 {
    word >> low & ((1 << count) - 1)
}

/// The field `ptype`, bits 23:22.
fn ptype(word: u32) -> Option<Format> {
    match field(word, 22, 2) {
        0b00 => Some(Format::Single),
        0b01 => Some(Format::Double),
        0b11 => Some(Format::Half),
        _ => None,
    }
}

fn bits(format: Format) -> u32 {
    match format {
        Format::Half => 16,
        Format::Single => 32,
        Format::Double => 64,
    }
}

/// Decodes an instruction of this group; `None` if the word is of another or unallocated.
pub fn decode(word: u32) -> Option<Decoded> {
    // M and S, bits 31 and 29, are zero but for sf in conversions.
    match word & 0x7f00_0000 {
        0x1f00_0000 if word >> 31 == 0 => return three_sources(word),
        0x1e00_0000 => {}
        _ => return None,
    }
    if field(word, 21, 1) == 0 {
        return fixed_point(word);
    }
    if field(word, 10, 6) == 0 {
        return integer(word);
    }
    if word >> 31 != 0 {
        return None;
    }
    match field(word, 10, 2) {
        0b01 => conditional_compare(word),
        0b10 => two_sources(word),
        0b11 => conditional_select(word),
        _ if field(word, 12, 1) == 1 => immediate(word),
        _ if field(word, 13, 1) == 1 => compare(word),
        _ if field(word, 14, 1) == 1 => one_source(word),
        _ => None,
    }
}

/// "Floating-point data-processing (3 source)".
fn three_sources(word: u32) -> Option<Decoded> {
    let f = ptype(word)?;
    let def = match (field(word, 21, 1), field(word, 15, 1)) {
        (0, 0) => fused_form::<Fmadd>(f),
        (0, _) => fused_form::<Fmsub>(f),
        (_, 0) => fused_form::<Fnmadd>(f),
        _ => fused_form::<Fnmsub>(f),
    };
    Some((def, 0))
}

/// "Floating-point data-processing (2 source)".
fn two_sources(word: u32) -> Option<Decoded> {
    let f = ptype(word)?;
    let def = match field(word, 12, 4) {
        0b0000 => scalar_form::<Fmul>(f),
        0b0001 => scalar_form::<Fdiv>(f),
        0b0010 => scalar_form::<Fadd>(f),
        0b0011 => scalar_form::<Fsub>(f),
        0b0100 => scalar_form::<Fmax>(f),
        0b0101 => scalar_form::<Fmin>(f),
        0b0110 => scalar_form::<Fmaxnm>(f),
        0b0111 => scalar_form::<Fminnm>(f),
        0b1000 => scalar_form::<Fnmul>(f),
        _ => return None,
    };
    Some((def, 0))
}

/// "Floating-point data-processing (1 source)".
fn one_source(word: u32) -> Option<Decoded> {
    let f = ptype(word)?;
    let all = u64::MAX >> (64 - bits(f));
    let sign = all ^ all >> 1;
    let def = match (field(word, 15, 6), f) {
        (0b000000, _) => return Some((def!(Arm64, "FMOV (register)", keep_bits), all)),
        (0b000001, _) => return Some((def!(Arm64, "FABS (scalar)", keep_bits), all ^ sign)),
        (0b000010, _) => return Some((def!(Arm64, "FNEG (scalar)", flip_sign), sign)),
        (0b000011, _) => scalar_form::<Fsqrt>(f),
        (0b000100, Format::Half) => def!(Arm64, "FCVT", convert, [0]),
        (0b000100, Format::Double) => def!(Arm64, "FCVT", convert, [1]),
        (0b000101, Format::Half) => def!(Arm64, "FCVT", convert, [2]),
        (0b000101, Format::Single) => def!(Arm64, "FCVT", convert, [3]),
        (0b000110, Format::Double) => def!(Arm64, "BFCVT", convert, [6]),
        (0b000111, Format::Single) => def!(Arm64, "FCVT", convert, [4]),
        (0b000111, Format::Double) => def!(Arm64, "FCVT", convert, [5]),
        (0b001000, _) => scalar_form::<Frintn>(f),
        (0b001001, _) => scalar_form::<Frintp>(f),
        (0b001010, _) => scalar_form::<Frintm>(f),
        (0b001011, _) => scalar_form::<Frintz>(f),
        (0b001100, _) => scalar_form::<Frinta>(f),
        (0b001110, _) => scalar_form::<Frintx>(f),
        (0b001111, _) => scalar_form::<Frinti>(f),
        (0b010000.., Format::Half) => return None,
        (0b010000, _) => scalar_form::<Frint32z>(f),
        (0b010001, _) => scalar_form::<Frint32x>(f),
        (0b010010, _) => scalar_form::<Frint64z>(f),
        (0b010011, _) => scalar_form::<Frint64x>(f),
        _ => return None,
    };
    Some((def, 0))
}

/// FMOV and FABS: the immediate is what is kept of the source.
fn keep_bits<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let n = e.get(v_low(o.rn()));
    let result = e.and_imm(n, o.imm);
    write_scalar(e, o.rd(), result);
    Ok(())
}

/// FNEG: the immediate is the sign bit.
fn flip_sign<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let n = e.get(v_low(o.rn()));
    let sign = e.imm(o.imm);
    let flipped = e.binary(Binary::Xor, n, sign);
    // The sign is the element's top bit.
    let result = e.and_imm(flipped, o.imm | (o.imm - 1));
    write_scalar(e, o.rd(), result);
    Ok(())
}

fn converted<A: Float, B: Float>(cpu: &mut Cpu, [n, ..]: [u64; 4]) -> Result<u64, Stop> {
    Ok(with_fp(cpu, |fp| fp.convert::<A, B>(A::from_bits(n))).bits())
}

/// Numbers of two of the conversions in [`CONVERT`].
const DOUBLE_TO_SINGLE: usize = 1;
const SINGLE_TO_DOUBLE: usize = 3;

static CONVERT: [Helper<Arm64>; 7] = [
    Helper {
        name: "FCVT S, H",
        call: converted::<u16, u32>,
        effects: EFFECTS,
    },
    Helper {
        name: "FCVT S, D",
        call: converted::<u64, u32>,
        effects: EFFECTS,
    },
    Helper {
        name: "FCVT D, H",
        call: converted::<u16, u64>,
        effects: EFFECTS,
    },
    Helper {
        name: "FCVT D, S",
        call: converted::<u32, u64>,
        effects: EFFECTS,
    },
    Helper {
        name: "FCVT H, S",
        call: converted::<u32, u16>,
        effects: EFFECTS,
    },
    Helper {
        name: "FCVT H, D",
        call: converted::<u64, u16>,
        effects: EFFECTS,
    },
    Helper {
        name: "BFCVT",
        call: converted::<u32, Bf16>,
        effects: EFFECTS,
    },
];

fn convert<E: Emit<Arch = Arm64>, const KIND: usize>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let n = e.get(v_low(o.rn()));
    let zero = e.imm(0);
    let arguments = [n, zero, zero, zero];
    let helper = &CONVERT[KIND];
    let result = match KIND {
        DOUBLE_TO_SINGLE => {
            let (result, certain) = fp_host::narrow(e, n);
            e.helper_unless(certain, result, helper, arguments)?
        }
        SINGLE_TO_DOUBLE => {
            let (result, certain) = fp_host::widen(e, n);
            e.helper_unless(certain, result, helper, arguments)?
        }
        _ => e.helper(helper, arguments)?,
    };
    write_scalar(e, o.rd(), result);
    Ok(())
}

/// "Floating-point immediate".
fn immediate(word: u32) -> Option<Decoded> {
    let f = ptype(word)?;
    if field(word, 5, 5) != 0 {
        return None;
    }
    let value = expand_fp(field(word, 13, 8).into(), bits(f));
    Some((
        def!(Arm64, "FMOV (scalar, immediate)", move_immediate),
        value,
    ))
}

fn move_immediate<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = e.imm(o.imm);
    write_scalar(e, o.rd(), value);
    Ok(())
}

/// The helpers and definitions of one format.
struct Shapes<F>(core::marker::PhantomData<F>);

macro_rules! helper {
    ($name:ident, $text:literal, $function:ident) => {
        const $name: &'static Helper<Arm64> = &Helper {
            name: $text,
            call: $function::<F>,
            effects: EFFECTS,
        };
    };
}

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
    helper!(COMPARED, "FPCompare", compared);
    helper!(TO_FIXED, "FPToFixed", to_fixed);
    helper!(FROM_FIXED, "FixedToFP", from_fixed);
    definition!(FCMP, "FCMP", fcmp);
    definition!(FCCMP, "FCCMP", fccmp);
    definition!(FCSEL, "FCSEL", fcsel);
    definition!(TO_GENERAL, "FCVT (to general)", to_general);
    definition!(FROM_GENERAL, "CVTF (from general)", from_general);
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

/// "Floating-point compare": FCMP and FCMPE, with a register or zero.
fn compare(word: u32) -> Option<Decoded> {
    let f = ptype(word)?;
    if field(word, 14, 2) != 0 || field(word, 0, 3) != 0 {
        return None;
    }
    Some((shape!(f, FCMP), 0))
}

/// "Floating-point conditional compare": FCCMP and FCCMPE.
fn conditional_compare(word: u32) -> Option<Decoded> {
    Some((shape!(ptype(word)?, FCCMP), 0))
}

/// "Floating-point conditional select".
fn conditional_select(word: u32) -> Option<Decoded> {
    Some((shape!(ptype(word)?, FCSEL), 0))
}

/// The third argument of the helper [`compared`]: quiet NaNs are invalid.
const SIGNAL: u64 = 1;
/// The third argument of the helper [`compared`]: the comparison takes place.
const HOLDS: u64 = 2;
/// The third argument of the helper [`compared`]: where the flags are for when it does not.
const OTHERWISE: u32 = 2;

/// NZCV in bits 3 to 0.
fn compared<F: Float>(cpu: &mut Cpu, [n, m, how, _]: [u64; 4]) -> Result<u64, Stop> {
    if how & HOLDS == 0 {
        return Ok(how >> OTHERWISE);
    }
    let (n, m) = (F::from_bits(n), F::from_bits(m));
    let comparison = with_fp(cpu, |fp| fp.compare(n, m, how & SIGNAL != 0));
    Ok(nzcv(comparison))
}

/// The condition flags of an outcome, `N:Z:C:V` in bits 3 to 0 (Arm ARM, "FPCompare").
fn nzcv(comparison: Comparison) -> u64 {
    match comparison {
        Comparison::Less => 0b1000,
        Comparison::Equal => 0b0110,
        Comparison::Greater => 0b0010,
        Comparison::Unordered => 0b0011,
    }
}

/// Set PSTATE.{N,Z,C,V} from bits 3 to 0.
fn set_flags<E: Emit<Arch = Arm64>>(e: &mut E, nzcv: E::Val) {
    // N and V are the top bits of their slots, Z is a slot that is 0.
    let n = e.shl_imm(nzcv, 60);
    let z = e.and_imm(nzcv, 0b0100);
    let z_clear = e.imm(0b0100);
    let z = e.binary(Binary::Xor, z, z_clear);
    let c = e.shr_imm(nzcv, 1);
    let c = e.and_imm(c, 1);
    let v = e.shl_imm(nzcv, 63);
    alu::set_flags(e, alu::Flags { n, z, c, v });
}

fn fcmp<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let n = e.get(v_low(o.rn()));
    let m = if o.bit(3) {
        e.imm(0)
    } else {
        e.get(v_low(o.rm()))
    };
    let how = e.imm(HOLDS | if o.bit(4) { SIGNAL } else { 0 });
    let zero = e.imm(0);
    let arguments = [n, m, how, zero];
    let helper = Shapes::<F>::COMPARED;
    let nzcv = match fp_host::compare::<E, F>(e, n, m) {
        Some((nzcv, certain)) => e.helper_unless(certain, nzcv, helper, arguments)?,
        None => e.helper(helper, arguments)?,
    };
    set_flags(e, nzcv);
    Ok(())
}

fn fccmp<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let condition = alu::condition(e, o.bits(12, 4));
    let n = e.get(v_low(o.rn()));
    let m = e.get(v_low(o.rm()));
    let compare = e.imm(HOLDS | if o.bit(4) { SIGNAL } else { 0 });
    let flags = e.imm(u64::from(o.bits(0, 4)) << OTHERWISE);
    let how = e.select(condition, compare, flags);
    let nzcv = e.call(Shapes::<F>::COMPARED, &[n, m, how])?;
    set_flags(e, nzcv);
    Ok(())
}

fn fcsel<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let condition = alu::condition(e, o.bits(12, 4));
    let n = e.get(v_low(o.rn()));
    let m = e.get(v_low(o.rm()));
    let result = e.select(condition, n, m);
    let result = e.and_imm(result, !0 >> (64 - F::BITS));
    write_scalar(e, o.rd(), result);
    Ok(())
}

/// How a conversion between a format and fixed point is done; the immediate of its instruction
/// and an argument of its helper.
///
/// ```text
///   6:0 width of the integer   13:7 fraction bits   14 unsigned   17:15 rounding
/// ```
#[derive(Clone, Copy)]
struct Fixed {
    width: u32,
    fbits: u32,
    unsigned: bool,
    /// `None` for FPCR's mode.
    rounding: Option<Rounding>,
}

impl Fixed {
    const ROUNDINGS: [Option<Rounding>; 6] = [
        Some(Rounding::TieEven),
        Some(Rounding::PosInf),
        Some(Rounding::NegInf),
        Some(Rounding::Zero),
        Some(Rounding::TieAway),
        None,
    ];

    fn pack(self) -> u64 {
        let rounding = Self::ROUNDINGS
            .iter()
            .position(|r| *r == self.rounding)
            .unwrap_or(0);
        u64::from(self.width | self.fbits << 7 | u32::from(self.unsigned) << 14)
            | (rounding as u64) << 15
    }

    #[inline(always)]
    fn unpack(packed: u64) -> Fixed {
        let packed = packed as u32;
        Fixed {
            width: field(packed, 0, 7),
            fbits: field(packed, 7, 7),
            unsigned: field(packed, 14, 1) == 1,
            rounding: Self::ROUNDINGS
                .get(field(packed, 15, 3) as usize)
                .copied()
                .flatten(),
        }
    }
}

/// "Conversion between floating-point and fixed-point".
fn fixed_point(word: u32) -> Option<Decoded> {
    let f = ptype(word)?;
    let sf = word >> 31 == 1;
    let scale = field(word, 10, 6);
    if field(word, 29, 1) != 0 || !sf && scale < 32 {
        return None;
    }
    let unsigned = field(word, 16, 1) == 1;
    let fixed = Fixed {
        width: if sf { 64 } else { 32 },
        fbits: 64 - scale,
        unsigned,
        rounding: None,
    };
    match (field(word, 19, 2), field(word, 17, 2)) {
        (0b00, 0b01) => Some((shape!(f, FROM_GENERAL), fixed.pack())),
        (0b11, 0b00) => {
            let fixed = Fixed {
                rounding: Some(Rounding::Zero),
                ..fixed
            };
            Some((shape!(f, TO_GENERAL), fixed.pack()))
        }
        _ => None,
    }
}

/// "Conversion between floating-point and integer", FMOV included.
fn integer(word: u32) -> Option<Decoded> {
    let sf = word >> 31 == 1;
    let (rmode, opcode) = (field(word, 19, 2), field(word, 16, 3));
    if word & 0xffff_fc00 == 0x1e7e_0000 {
        return Some((def!(Arm64, "FJCVTZS", to_javascript), 0));
    }
    if opcode >= 0b110 {
        return general_move(word, sf, rmode, opcode == 0b111);
    }
    let f = ptype(word)?;
    let width = if sf { 64 } else { 32 };
    let fixed = |rounding| {
        Fixed {
            width,
            fbits: 0,
            unsigned: opcode & 1 == 1,
            rounding,
        }
        .pack()
    };
    let rounding = match (rmode, opcode >> 1) {
        (0b00, 0b01) => return Some((shape!(f, FROM_GENERAL), fixed(None))),
        (0b00, 0b00) => Rounding::TieEven,
        (0b01, 0b00) => Rounding::PosInf,
        (0b10, 0b00) => Rounding::NegInf,
        (0b11, 0b00) => Rounding::Zero,
        (0b00, 0b10) => Rounding::TieAway,
        _ => return None,
    };
    Some((shape!(f, TO_GENERAL), fixed(Some(rounding))))
}

fn to_fixed<F: Float>(cpu: &mut Cpu, [n, how, ..]: [u64; 4]) -> Result<u64, Stop> {
    let Fixed {
        width,
        fbits,
        unsigned,
        rounding,
    } = Fixed::unpack(how);
    Ok(with_fp(cpu, |fp| {
        let rounding = rounding.unwrap_or(fp.rounding_mode());
        fp.to_fixed(F::from_bits(n), width, fbits, unsigned, rounding)
    }))
}

fn from_fixed<F: Float>(cpu: &mut Cpu, [n, how, ..]: [u64; 4]) -> Result<u64, Stop> {
    let Fixed {
        width,
        fbits,
        unsigned,
        rounding,
    } = Fixed::unpack(how);
    Ok(with_fp(cpu, |fp| {
        let rounding = rounding.unwrap_or(fp.rounding_mode());
        fp.from_fixed::<F>(n, width, fbits, unsigned, rounding)
            .bits()
    }))
}

fn to_general<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let n = e.get(v_low(o.rn()));
    let how = e.imm(o.imm);
    let zero = e.imm(0);
    let (helper, arguments) = (Shapes::<F>::TO_FIXED, [n, how, zero, zero]);
    let fixed = Fixed::unpack(o.imm);
    let host = if fixed.fbits == 0 && fixed.rounding == Some(Rounding::Zero) {
        fp_host::to_integer::<E, F>(e, n, fixed.width, fixed.unsigned)
    } else {
        None
    };
    let result = match host {
        Some((result, certain)) => e.helper_unless(certain, result, helper, arguments)?,
        None => e.helper(helper, arguments)?,
    };
    regs::write_x(e, o.rd(), result);
    Ok(())
}

/// The helper of FJCVTZS: the result, and above it, in bit 32, Z.
static TO_JAVASCRIPT: Helper<Arm64> = Helper {
    name: "FPToFixedJS",
    call: |cpu, [n, ..]| {
        let (result, exact) = with_fp(cpu, |fp| fp.to_fixed_js(n));
        Ok(u64::from(result) | u64::from(exact) << 32)
    },
    effects: EFFECTS,
};

/// FJCVTZS: sets Z, and clears N, C and V.
fn to_javascript<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let n = e.get(v_low(o.rn()));
    let both = e.call(&TO_JAVASCRIPT, &[n])?;
    let z = e.shr_imm(both, 32);
    let nzcv = e.shl_imm(z, 2);
    set_flags(e, nzcv);
    regs::write(e, o.rd(), both, false);
    Ok(())
}

fn from_general<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let n = regs::read_x(e, o.rn());
    let how = e.imm(o.imm);
    let zero = e.imm(0);
    let (helper, arguments) = (Shapes::<F>::FROM_FIXED, [n, how, zero, zero]);
    let fixed = Fixed::unpack(o.imm);
    let host = if fixed.fbits == 0 {
        fp_host::from_integer::<E, F>(e, n, fixed.width, fixed.unsigned)
    } else {
        None
    };
    let result = match host {
        Some((result, certain)) => e.helper_unless(certain, result, helper, arguments)?,
        None => e.helper(helper, arguments)?,
    };
    write_scalar(e, o.rd(), result);
    Ok(())
}

/// FMOV between general and floating-point registers; `to_fp` is its direction.
fn general_move(word: u32, sf: bool, rmode: u32, to_fp: bool) -> Option<Decoded> {
    let width = match (sf, field(word, 22, 2), rmode) {
        (_, 0b11, 0b00) => 16,
        (false, 0b00, 0b00) => 32,
        (true, 0b01, 0b00) => 64,
        (true, 0b10, 0b01) if to_fp => {
            return Some((def!(Arm64, "FMOV (general, top half)", top_from_general), 0));
        }
        (true, 0b10, 0b01) => {
            return Some((def!(Arm64, "FMOV (general, top half)", top_to_general), 0));
        }
        _ => return None,
    };
    let def = if to_fp {
        def!(Arm64, "FMOV (general)", move_from_general)
    } else {
        def!(Arm64, "FMOV (general)", move_to_general)
    };
    Some((def, u64::MAX >> (64 - width)))
}

fn move_from_general<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let n = regs::read_x(e, o.rn());
    let result = e.and_imm(n, o.imm);
    write_scalar(e, o.rd(), result);
    Ok(())
}

fn move_to_general<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let n = e.get(v_low(o.rn()));
    let result = e.and_imm(n, o.imm);
    regs::write_x(e, o.rd(), result);
    Ok(())
}

fn top_from_general<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let n = regs::read_x(e, o.rn());
    e.put(v_high(o.rd()), n);
    Ok(())
}

fn top_to_general<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let n = e.get(v_high(o.rn()));
    regs::write_x(e, o.rd(), n);
    Ok(())
}
