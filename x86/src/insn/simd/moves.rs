//! Moves between vector registers, memory and general-purpose registers (SDM vol. 1, 5.5.1.1, 5.6.1.1,
//! 5.10.1; vol. 2).

use super::{MEM, extended, finish, half_of, source, vector_address};
use crate::X86;
use crate::insn::operand::{address, load, load_pair, read, store, store_pair, write, zx};
use crate::insn::{Loc, Operands};
use understudy_engine::emit::{Emit, Size};

/// Loads all of a register: MOVAPS and its like, from memory.
pub(super) fn load_all<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let at = vector_address(e, o, 16 * p.halves() as u64, false)?;
    let (low, high) = load_pair(e, at, o.via, p.aligned)?;
    let upper = if p.wide {
        let at = e.add_imm(at, 16);
        Some(load_pair(e, at, o.via, p.aligned)?)
    } else {
        None
    };
    let slot = half_of(p.d, 0);
    e.put(slot, low);
    e.put(slot.next(), high);
    let slot = half_of(p.d, 1);
    if let Some((low, high)) = upper {
        e.put(slot, low);
        e.put(slot.next(), high);
    } else if p.vex {
        let zero = e.vec_imm(0);
        e.vec_put(slot, zero);
    }
    Ok(())
}

/// Stores all of a register: MOVAPS and its like, to memory.
pub(super) fn store_all<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let at = vector_address(e, o, 16 * p.halves() as u64, true)?;
    for half in 0..p.halves() {
        let slot = half_of(p.m, half);
        let (low, high) = (e.get(slot), e.get(slot.next()));
        let at = e.add_imm(at, 16 * half as u64);
        store_pair(e, at, (low, high), o.via, p.aligned)?;
    }
    Ok(())
}

/// The second source, of up to 64 bits: a general-purpose register if `o.b` is one, else memory or the
/// low bits of a vector register.
#[inline(always)]
fn scalar<E: Emit<Arch = X86>>(e: &mut E, o: &Operands, from: Loc) -> Result<E::Val, E::Stop> {
    let p = &o.simd;
    match from {
        Loc::MEM => {
            let at = address(e, o, p.bytes, false)?;
            load(e, at, p.bytes, o.via, false)
        }
        Loc::NONE => {
            let value = e.get(half_of(p.m, 0));
            Ok(zx(e, value, p.bytes))
        }
        register => read(e, o, register, p.bytes),
    }
}

/// A value, and zeros above it: MOVD, MOVQ, and MOVSS and MOVSD from memory.
pub(super) fn set_low<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = scalar(e, o, o.b)?;
    let low = extended(e, value);
    finish(e, &o.simd, [low; 2]);
    Ok(())
}

/// One lane from elsewhere, the others from the first source: PINSRx, MOVLPS, MOVHPS. The immediate is
/// the lane's number.
pub(super) fn insert<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let from = match (p.m, o.b) {
        (MEM, _) => Loc::MEM,
        // Of a VEX form, the third operand.
        (_, Loc::NONE) => o.c,
        (_, register) => register,
    };
    let value = scalar(e, o, from)?;
    let size = Size::from_log2(p.bytes.into());
    let lanes = 16 / size.bytes() as u32;
    let old = e.vec_get(half_of(p.n, 0));
    let new = e.vec_with_lane(size, u32::from(p.imm) % lanes, old, value);
    finish(e, p, [new; 2]);
    Ok(())
}

/// One lane to memory or to a general-purpose register, zero-extended: MOVD, MOVQ, MOVSS, MOVSD, MOVLPS
/// and MOVHPS to memory, PEXTRx, EXTRACTPS. The immediate is the lane's number.
pub(super) fn extract<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let size = Size::from_log2(p.bytes.into());
    let lanes = 16 / size.bytes() as u32;
    let vector = e.vec_get(half_of(p.m, 0));
    let value = e.vec_lane(size, u32::from(p.imm) % lanes, vector);
    if o.a == Loc::MEM {
        let at = address(e, o, p.bytes, true)?;
        return store(e, at, value, p.bytes, o.via);
    }
    write(e, o, o.a, value, 3)
}

/// The sign of each lane as a bit of a general-purpose register: PMOVMSKB, MOVMSKPS, MOVMSKPD.
pub(super) fn signs<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let mut result = e.imm(0);
    for quarter in 0..2 * p.halves() {
        let half = half_of(p.m, quarter / 2);
        let slot = if quarter % 2 == 0 { half } else { half.next() };
        let value = e.get(slot);
        let bits = sign_bits(e, value, p.bytes);
        let shifted = e.shl_imm(bits, (quarter as u32) << (3 - p.bytes));
        result = e.or(result, shifted);
    }
    write(e, o, o.a, result, 3)
}

/// The signs of the lanes of 64 bits, in the low bits.
pub(super) fn sign_bits<E: Emit<Arch = X86>>(e: &mut E, value: E::Val, size: u8) -> E::Val {
    match size {
        0 => {
            // Bit 8 i of what is left goes to bit 56 + i, and no two meet.
            let signs = e.shr_imm(value, 7);
            let signs = e.and_imm(signs, 0x0101_0101_0101_0101);
            let gather = e.imm(0x0102_0408_1020_4080);
            let product = e.binary(understudy_engine::emit::Binary::Mul, signs, gather);
            e.shr_imm(product, 56)
        }
        2 => {
            let high = e.shr_imm(value, 62);
            let high = e.and_imm(high, 2);
            let low = e.shr_imm(value, 31);
            let low = e.and_imm(low, 1);
            e.or(high, low)
        }
        _ => e.shr_imm(value, 63),
    }
}

/// One lane in all lanes: VBROADCASTx, VPBROADCASTx. MOVDDUP and its like are lanewise.
pub(super) fn broadcast<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let from = if p.m == MEM { Loc::MEM } else { Loc::NONE };
    let value = scalar(e, o, from)?;
    let all = e.vec_splat(Size::from_log2(p.bytes.into()), value);
    finish(e, p, [all; 2]);
    Ok(())
}

/// 128 bits in both halves: VBROADCASTF128, VBROADCASTI128.
pub(super) fn broadcast_half<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let m = source(e, o)?;
    finish(e, &o.simd, m);
    Ok(())
}

/// VZEROUPPER, and VZEROALL if `ALL`.
pub(super) fn zero<E: Emit<Arch = X86>, const ALL: bool>(
    e: &mut E,
    _: &Operands,
) -> Result<(), E::Stop> {
    let zero = e.vec_imm(0);
    let registers = if e.mode() & crate::insn::mode::CODE64 != 0 {
        16
    } else {
        8
    };
    for number in 0..registers {
        if ALL {
            e.vec_put(half_of(number, 0), zero);
        }
        e.vec_put(half_of(number, 1), zero);
    }
    Ok(())
}
