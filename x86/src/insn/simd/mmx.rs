//! MMX, and what SSE adds to it (SDM vol. 1, chapter 9; 5.4, 5.5.2): its registers are the significands
//! of the x87's, so they are no slots, and helpers read and write them.
//!
//! An operation is that of an XMM register on the low 64 bits; where that is not so (what packs or
//! interleaves) it is made of one that is.

use super::pure::Pure;
use super::{MEM, Op, Shuffle, convert, emit, extended, finish, half_of, masked};
use crate::X86;
use crate::insn::operand::{address, load, read, store, write};
use crate::insn::{Loc, Operands};
use understudy_engine::emit::{Effects, Emit, Helper, Size};
use understudy_engine::vector::VecBinary;

static GET: Helper<X86> = Helper {
    name: "mmx_get",
    call: |cpu, [number, ..]| Ok(cpu.state.fpu.mmx(number as u8)),
    effects: Effects::PURE,
};

static SET: Helper<X86> = Helper {
    name: "mmx_set",
    call: |cpu, [number, value, ..]| {
        cpu.state.fpu.enter_mmx();
        cpu.state.fpu.set_mmx(number as u8, value);
        Ok(0)
    },
    effects: Effects::PURE,
};

static ENTER: Helper<X86> = Helper {
    name: "mmx_enter",
    call: |cpu, _| {
        cpu.state.fpu.enter_mmx();
        Ok(0)
    },
    effects: Effects::PURE,
};

static LEAVE: Helper<X86> = Helper {
    name: "mmx_leave",
    call: |cpu, _| {
        cpu.state.fpu.leave_mmx();
        Ok(0)
    },
    effects: Effects::PURE,
};

fn get<E: Emit<Arch = X86>>(e: &mut E, number: u8) -> Result<E::Val, E::Stop> {
    let number = e.imm(number.into());
    e.call(&GET, &[number])
}

fn set<E: Emit<Arch = X86>>(e: &mut E, number: u8, value: E::Val) -> Result<(), E::Stop> {
    let number = e.imm(number.into());
    e.call(&SET, &[number, value])?;
    Ok(())
}

fn enter<E: Emit<Arch = X86>>(e: &mut E) -> Result<(), E::Stop> {
    e.call(&ENTER, &[])?;
    Ok(())
}

/// EMMS.
pub(super) fn leave<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    e.call(&LEAVE, &[])?;
    Ok(())
}

/// The second source: of memory, as many bytes as the form has.
fn source<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<E::Val, E::Stop> {
    let p = &o.simd;
    if p.m == MEM {
        let at = address(e, o, p.bytes, false)?;
        return load(e, at, p.bytes, o.via, false);
    }
    get(e, p.m)
}

/// An operation on 64 bits.
fn apply<E: Emit<Arch = X86>>(
    e: &mut E,
    op: Op,
    imm: u8,
    [a, b]: [E::Val; 2],
) -> Result<E::Val, E::Stop> {
    let (low, high) = (extended(e, a), extended(e, b));
    let mut take = 0;
    let mut operands = [low, high];
    let mut op = op;
    match op {
        Op::Pack { .. }
        | Op::Pure(
            Pure::AddPairsWords
            | Pure::AddPairsDwords
            | Pure::AddPairsSaturated
            | Pure::SubtractPairsWords
            | Pure::SubtractPairsDwords
            | Pure::SubtractPairsSaturated,
        ) => {
            let both = e.vec_with_lane(Size::B8, 1, low, b);
            operands = [both, both];
        }
        Op::Shuffle(Shuffle::UnpackHigh(size)) => {
            op = Op::Shuffle(Shuffle::UnpackLow(size));
            take = 1;
        }
        Op::Shuffle(Shuffle::Align) => {
            let both = e.vec_with_lane(Size::B8, 1, high, a);
            op = Op::Shuffle(Shuffle::BytesRight);
            operands = [both, both];
        }
        Op::Pure(Pure::ShuffleBytes) => {
            let kept = e.vec_imm(0x8787_8787_8787_8787);
            operands[1] = e.vec_binary(VecBinary::And, Size::B8, high, kept);
        }
        _ => {}
    }
    let [a, b] = operands;
    let result = emit::half(e, op, imm, 0, [a, b, b])?;
    Ok(e.vec_lane(Size::B8, take, result))
}

/// The destination from itself and the second source.
pub(super) fn lanewise<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let b = source(e, o)?;
    let a = get(e, p.n)?;
    let result = apply(e, p.op, p.imm, [a, b])?;
    set(e, p.d, result)
}

/// MOVD and MOVQ from a general-purpose register or memory, MOVDQ2Q, and MOVQ from a register.
pub(super) fn set_all<E: Emit<Arch = X86>, const XMM: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let p = &o.simd;
    let value = match o.b {
        Loc::NONE if XMM => e.get(half_of(p.m, 0)),
        Loc::NONE => get(e, p.m)?,
        from => read(e, o, from, p.bytes)?,
    };
    set(e, p.d, value)
}

/// MOVD, MOVQ and MOVNTQ to memory or to a general-purpose register.
pub(super) fn read_all<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let value = get(e, p.m)?;
    if o.a == Loc::MEM {
        let at = address(e, o, p.bytes, true)?;
        store(e, at, value, p.bytes, o.via)?;
    } else {
        write(e, o, o.a, value, p.bytes)?;
    }
    enter(e)
}

/// MOVQ2DQ.
pub(super) fn to_xmm<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = get(e, o.simd.m)?;
    enter(e)?;
    let low = extended(e, value);
    finish(e, &o.simd, [low; 2]);
    Ok(())
}

/// PINSRW.
pub(super) fn insert<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let from = if p.m == MEM { Loc::MEM } else { o.b };
    let value = read(e, o, from, 1)?;
    let old = get(e, p.n)?;
    let old = extended(e, old);
    let new = e.vec_with_lane(Size::B2, u32::from(p.imm & 3), old, value);
    let new = e.vec_lane(Size::B8, 0, new);
    set(e, p.d, new)
}

/// PEXTRW.
pub(super) fn extract<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let value = get(e, p.m)?;
    let value = e.shr_imm(value, 16 * u32::from(p.imm & 3));
    let value = e.and_imm(value, 0xffff);
    enter(e)?;
    write(e, o, o.a, value, 3)
}

/// PMOVMSKB.
pub(super) fn signs<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = get(e, o.simd.m)?;
    let bits = super::moves::sign_bits(e, value, 0);
    enter(e)?;
    write(e, o, o.a, bits, 3)
}

/// MASKMOVQ.
pub(super) fn store_bytes<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (data, mask) = (get(e, o.simd.n)?, get(e, o.simd.m)?);
    let (data, mask) = (extended(e, data), extended(e, mask));
    masked::store_selected(e, o, data, mask, 8)?;
    enter(e)
}

/// CVTPI2PS: two lanes of the destination. CVTPI2PD: all of it. Where the source is in memory neither
/// changes the state of the x87 (AMD's processors; Intel's do for CVTPI2PS); otherwise also an instruction
/// does that ends with an exception of SSE.
pub(super) fn to_floats<E: Emit<Arch = X86>, const TO: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let p = &o.simd;
    let value = source(e, o)?;
    let double = TO == convert::Type::Double as u8;
    if p.m != MEM {
        enter(e)?;
    }
    let value = extended(e, value);
    let result = convert::two::<E, { convert::Type::Int as u8 }, TO, false>(e, value)?;
    if double {
        finish(e, p, [result; 2]);
    } else {
        convert::merge_low(e, p.d, result);
    }
    Ok(())
}

/// CVTPS2PI, CVTPD2PI and those that truncate.
pub(super) fn from_floats<E: Emit<Arch = X86>, const FROM: u8, const TRUNCATES: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let [value, _] = super::source(e, o)?;
    enter(e)?;
    let result = convert::two::<E, FROM, { convert::Type::Int as u8 }, TRUNCATES>(e, value)?;
    let result = e.vec_lane(Size::B8, 0, result);
    set(e, o.simd.d, result)
}
