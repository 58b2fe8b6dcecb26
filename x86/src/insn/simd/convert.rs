//! Conversions of floating point (SDM vol. 1, 11.6 and 14.4; vol. 2, CVTxx2xx): between formats, and to
//! and from integers.
//!
//! An element is converted by a helper, or by the host on the terms of `float_host.rs`. Packed forms whose
//! exceptions are not all masked are converted by one helper as a whole.

use super::float::{
    MASKED, WHOLE_EFFECTS, finish_scalar, immediate_rounding, operand, report, scalar_source,
    set_result,
};
use super::float_host::{format, inexact_known, masked, ordinary, sound};
use super::{MEM, finish, half_of, source};
use crate::fp::{Env, Rounding};
use crate::insn::operand::{read, write};
use crate::insn::{Loc, Operands, mode};
use crate::regs::scratch;
use crate::{Cpu, X86};
use understudy_engine::emit::{Cmp, Effects, Emit, Helper, Size, Stop};
use understudy_engine::float::FloatOp;

/// What an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Type {
    /// binary16.
    Half,
    /// binary32.
    Single,
    /// binary64.
    Double,
    /// A signed integer of 32 bits.
    Int,
    /// A signed integer of 64 bits.
    Long,
}

impl Type {
    const ALL: [Type; 5] = [
        Type::Half,
        Type::Single,
        Type::Double,
        Type::Int,
        Type::Long,
    ];

    const fn from_number(number: u64) -> Type {
        Type::ALL[number as usize % Type::ALL.len()]
    }

    /// Base-2 logarithm of its bytes.
    const fn bytes(self) -> u8 {
        match self {
            Type::Half => 1,
            Type::Single | Type::Int => 2,
            Type::Double | Type::Long => 3,
        }
    }

    const fn is_integer(self) -> bool {
        matches!(self, Type::Int | Type::Long)
    }
}

/// A conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Conversion {
    from: Type,
    to: Type,
    /// Towards zero, whatever MXCSR says.
    truncates: bool,
    /// The immediate that VCVTPS2PH has.
    imm: u8,
}

impl Conversion {
    fn pack(self) -> u64 {
        self.from as u64
            | (self.to as u64) << 8
            | u64::from(self.truncates) << 16
            | u64::from(self.imm) << 24
    }

    fn unpack(info: u64) -> Conversion {
        Conversion {
            from: Type::from_number(info & 0xff),
            to: Type::from_number(info >> 8 & 0xff),
            truncates: info >> 16 & 1 != 0,
            imm: (info >> 24) as u8,
        }
    }

    /// The conversion of one element, which is in the low bits.
    fn apply(self, env: &mut Env, value: u64) -> u64 {
        let rounding = if self.truncates {
            Rounding::Zero
        } else {
            env.rounding
        };
        let width = 8 << self.to.bytes();
        let mask = u64::MAX >> (64 - width);
        let result = match (self.from, self.to) {
            (Type::Single, Type::Int | Type::Long) => {
                env.to_signed(value as u32, width, rounding) as u64
            }
            (Type::Double, Type::Int | Type::Long) => env.to_signed(value, width, rounding) as u64,
            (Type::Int, Type::Single) => env.from_signed::<u32>((value as i32).into()).into(),
            (Type::Int, Type::Double) => env.from_signed((value as i32).into()),
            (Type::Long, Type::Single) => env.from_signed::<u32>(value as i64).into(),
            (Type::Long, Type::Double) => env.from_signed(value as i64),
            (Type::Single, Type::Double) => env.convert::<u32, u64>(value as u32),
            (Type::Double, Type::Single) => env.convert::<u64, u32>(value).into(),
            (Type::Half, Type::Single) => env.convert::<u16, u32>(value as u16).into(),
            (Type::Single, Type::Half) => {
                let before = env.rounding;
                env.rounding = immediate_rounding(env, self.imm);
                let result = env.convert::<u32, u16>(value as u32);
                env.rounding = before;
                result.into()
            }
            // There are no others.
            _ => value,
        };
        result & mask
    }
}

fn element_helper(cpu: &mut Cpu, [value, info, ..]: [u64; 4]) -> Result<u64, Stop> {
    let mut env = Env::sse(cpu.state.mxcsr);
    let result = Conversion::unpack(info).apply(&mut env, value);
    report(cpu, &env)?;
    Ok(result)
}

static ELEMENT: Helper<X86> = Helper {
    name: "sse_convert",
    call: element_helper,
    effects: MASKED,
};

static ELEMENT_UNMASKED: Helper<X86> = Helper {
    name: "sse_convert_unmasked",
    call: element_helper,
    effects: Effects {
        stops: true,
        ..MASKED
    },
};

/// As many elements as the second argument says, from the first scratch register.
static ALL: Helper<X86> = Helper {
    name: "sse_convert_all",
    call: |cpu, [info, count, ..]| {
        let conversion = Conversion::unpack(info);
        let mut env = Env::sse(cpu.state.mxcsr);
        let a = operand(cpu, scratch::A);
        let mut result = [0; 4];
        let (from, to) = (8 << conversion.from.bytes(), 8 << conversion.to.bytes());
        for i in 0..(count as usize).min(8) {
            let bit = i * from;
            let value = a[(bit / 64) & 3] >> (bit % 64);
            let bit = i * to;
            result[(bit / 64) & 3] |= conversion.apply(&mut env, value) << (bit % 64);
        }
        report(cpu, &env)?;
        set_result(cpu, result);
        Ok(0)
    },
    effects: WHOLE_EFFECTS,
};

/// The host's result, and whether (1 or 0) it is certain; none if the host has none.
fn host<E: Emit<Arch = X86>>(
    e: &mut E,
    conversion: Conversion,
    value: E::Val,
) -> Option<(E::Val, E::Val)> {
    let Conversion {
        from,
        to,
        truncates,
        ..
    } = conversion;
    let known = inexact_known(e);
    Some(match (from, to) {
        (Type::Int, Type::Double) => {
            let value = e.sext32(value);
            let result = e.float(FloatOp::FromSigned, format(true), [value; 3]);
            (result, e.imm(1))
        }
        (Type::Int | Type::Long, to) => {
            let value = if from == Type::Int {
                e.sext32(value)
            } else {
                value
            };
            let double = to == Type::Double;
            let result = e.float(FloatOp::FromSigned, format(double), [value; 3]);
            (result, known)
        }
        (Type::Single | Type::Double, Type::Int | Type::Long) if truncates => {
            let double = from == Type::Double;
            let result = e.float(FloatOp::ToSigned, format(double), [value; 3]);
            let result = if to == Type::Int {
                e.zext32(result)
            } else {
                result
            };
            // The magnitude of 2^31, or of 2^63.
            let exponent = if to == Type::Int { 31 } else { 63 };
            let limit = if double {
                (1023 + exponent) << 53
            } else {
                (127 + exponent) << 56
            };
            let magnitude = e.shl_imm(value, if double { 1 } else { 33 });
            let limit = e.imm(limit);
            let fits = e.compare(Cmp::Ult, magnitude, limit);
            (result, e.and(fits, known))
        }
        (Type::Single, Type::Double) => {
            let result = e.float(FloatOp::Convert, format(false), [value; 3]);
            (result, ordinary(e, false, value))
        }
        (Type::Double, Type::Single) => {
            let result = e.float(FloatOp::Convert, format(true), [value; 3]);
            let good = sound(e, false, result);
            (result, e.and(good, known))
        }
        _ => return None,
    })
}

/// One element.
fn element<E: Emit<Arch = X86>>(
    e: &mut E,
    conversion: Conversion,
    value: E::Val,
) -> Result<E::Val, E::Stop> {
    let mode = e.mode();
    let info = e.imm(conversion.pack());
    let arguments = [value, info, info, info];
    if !masked(mode) {
        return e.helper(&ELEMENT_UNMASKED, arguments);
    }
    if mode & mode::SSE_PLAIN != 0
        && let Some((result, certain)) = host(e, conversion, value)
    {
        return e.helper_unless(certain, result, &ELEMENT, arguments);
    }
    e.helper(&ELEMENT, arguments)
}

/// The lowest lane from a register or memory; the other lanes from the first source: CVTSI2SD, CVTSS2SD
/// and their like.
pub(super) fn to_lane<E: Emit<Arch = X86>, const FROM: u8, const TO: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let conversion = Conversion {
        from: Type::from_number(FROM.into()),
        to: Type::from_number(TO.into()),
        truncates: false,
        imm: 0,
    };
    let value = if conversion.from.is_integer() {
        let from = match (o.simd.m, o.b) {
            (MEM, _) => Loc::MEM,
            (_, Loc::NONE) => o.c,
            (_, register) => register,
        };
        read(e, o, from, conversion.from.bytes())?
    } else {
        scalar_source(e, o, conversion.from.bytes())?
    };
    let result = element(e, conversion, value)?;
    finish_scalar(e, o, conversion.to == Type::Double, result);
    Ok(())
}

/// A general-purpose register from the lowest lane: CVTSD2SI and its like.
pub(super) fn to_register<E: Emit<Arch = X86>, const FROM: u8, const TRUNCATES: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let conversion = Conversion {
        from: Type::from_number(FROM.into()),
        to: if o.size == 3 { Type::Long } else { Type::Int },
        truncates: TRUNCATES,
        imm: 0,
    };
    let value = scalar_source(e, o, conversion.from.bytes())?;
    let result = element(e, conversion, value)?;
    write(e, o, o.a, result, o.size.max(2))
}

/// All lanes: as many as the wider type has in the operand that is wider.
pub(super) fn packed<E: Emit<Arch = X86>, const FROM: u8, const TO: u8, const TRUNCATES: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let p = &o.simd;
    let conversion = Conversion {
        from: Type::from_number(FROM.into()),
        to: Type::from_number(TO.into()),
        truncates: TRUNCATES,
        imm: p.imm,
    };
    let m = source(e, o)?;
    let (from, to) = (conversion.from.bytes(), conversion.to.bytes());
    let count = (16usize << u8::from(p.wide)) >> from.max(to);
    let [low, high] = elements(e, conversion, m, count)?;
    // A narrowing conversion gives less than the operand's size, with zeros above.
    let mut to_write = *o;
    to_write.simd.wide = count << to > 16;
    if p.d == MEM {
        return store(e, o, [low, high], count << to);
    }
    finish(e, &to_write.simd, [low, high]);
    Ok(())
}

/// VCVTPS2PH to memory.
fn store<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    [low, _]: [E::Vec; 2],
    bytes: usize,
) -> Result<(), E::Stop> {
    use crate::insn::operand::{address, store, store_pair};
    let (first, second) = (e.vec_lane(Size::B8, 0, low), e.vec_lane(Size::B8, 1, low));
    if bytes == 8 {
        let at = address(e, o, 3, true)?;
        return store(e, at, first, 3, o.via);
    }
    let at = super::vector_address(e, o, 16, true)?;
    store_pair(e, at, (first, second), o.via, false)
}

/// So many elements, converted, with zeros above them.
fn elements<E: Emit<Arch = X86>>(
    e: &mut E,
    conversion: Conversion,
    m: [E::Vec; 2],
    count: usize,
) -> Result<[E::Vec; 2], E::Stop> {
    let mode = e.mode();
    let (from, to) = (conversion.from.bytes(), conversion.to.bytes());
    let zero = e.vec_imm(0);
    if masked(mode) && mode & mode::SSE_PLAIN != 0 && conversion.from != Type::Half {
        let (from, to) = (Size::from_log2(from.into()), Size::from_log2(to.into()));
        let place = |i: usize, size: Size| {
            let bytes = i * size.bytes() as usize;
            (bytes / 16, (bytes % 16) as u32 / size.bytes() as u32)
        };
        let mut result = [zero; 2];
        for i in 0..count {
            let (half, index) = place(i, from);
            let value = e.vec_lane(from, index, m[half & 1]);
            let value = element(e, conversion, value)?;
            let (half, index) = place(i, to);
            result[half & 1] = e.vec_with_lane(to, index, result[half & 1], value);
        }
        return Ok(result);
    }
    for (half, m) in m.into_iter().enumerate() {
        e.vec_put(scratch::half(scratch::A, half), m);
    }
    let (info, count) = (e.imm(conversion.pack()), e.imm(count as u64));
    e.call(&ALL, &[info, count])?;
    Ok([0, 1].map(|half| e.vec_get(scratch::half(scratch::R, half))))
}

/// Two elements of an MMX operand or result, on which `mmx.rs` builds.
pub(super) fn two<E: Emit<Arch = X86>, const FROM: u8, const TO: u8, const TRUNCATES: bool>(
    e: &mut E,
    value: E::Vec,
) -> Result<E::Vec, E::Stop> {
    let conversion = Conversion {
        from: Type::from_number(FROM.into()),
        to: Type::from_number(TO.into()),
        truncates: TRUNCATES,
        imm: 0,
    };
    let [low, _] = elements(e, conversion, [value; 2], 2)?;
    Ok(low)
}

/// The register that a conversion from MMX merges with.
pub(super) fn merge_low<E: Emit<Arch = X86>>(e: &mut E, number: u8, value: E::Vec) {
    let low = e.vec_lane(Size::B8, 0, value);
    e.put(half_of(number, 0), low);
}
