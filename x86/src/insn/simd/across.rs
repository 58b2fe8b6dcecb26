//! AVX2's instructions that move data between the halves of registers, and extensions of lanes (SDM
//! vol. 2: VPERMx, VINSERTx128, VEXTRACTx128, PMOVSXxx, PMOVZXxx).

use super::emit;
use super::pure::Pure;
use super::{MEM, Op, finish, half_of, source, vector_address};
use crate::X86;
use crate::insn::Operands;
use crate::insn::operand::store_pair;
use understudy_engine::emit::{Emit, Size};

/// VPERMQ and VPERMPD: each quadword is one of four.
pub(super) fn permute_qwords<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let [low, high] = source(e, o)?;
    let result = [0, 1].map(|half| {
        let order = std::array::from_fn(|i| {
            let from = p.imm >> (4 * half + 2 * (i / 8)) & 3;
            8 * from + (i % 8) as u8
        });
        e.vec_shuffle(low, high, order)
    });
    finish(e, p, result);
    Ok(())
}

/// VPERMD and VPERMPS: each double word is one of eight, as the first source says.
pub(super) fn permute_dwords<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let m = source(e, o)?;
    let mut result = m;
    for (half, result) in result.iter_mut().enumerate() {
        let index = e.vec_get(half_of(p.n, half));
        let op = Op::Pure(Pure::PermuteAcross);
        *result = emit::half(e, op, 0, half, [m[0], m[1], index])?;
    }
    finish(e, p, result);
    Ok(())
}

/// VPERM2F128 and VPERM2I128: each half is one of four, or zero.
pub(super) fn permute_halves<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let m = source(e, o)?;
    let result = [0, 1].map(|half| {
        let control = p.imm >> (4 * half);
        match control & 0xb {
            0 => e.vec_get(half_of(p.n, 0)),
            1 => e.vec_get(half_of(p.n, 1)),
            2 => m[0],
            3 => m[1],
            _ => e.vec_imm(0),
        }
    });
    finish(e, p, result);
    Ok(())
}

/// VINSERTF128 and VINSERTI128.
pub(super) fn insert_half<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let [new, _] = source(e, o)?;
    let mut result = [0, 1].map(|half| e.vec_get(half_of(p.n, half)));
    result[usize::from(p.imm & 1)] = new;
    finish(e, p, result);
    Ok(())
}

/// VEXTRACTF128 and VEXTRACTI128.
pub(super) fn extract_half<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let slot = half_of(p.m, usize::from(p.imm & 1));
    if p.d == MEM {
        let at = vector_address(e, o, 16, true)?;
        let (low, high) = (e.get(slot), e.get(slot.next()));
        return store_pair(e, at, (low, high), o.via, false);
    }
    let value = e.vec_get(slot);
    finish(e, p, [value; 2]);
    Ok(())
}

/// PMOVSXxx, or PMOVZXxx: the lowest lanes of size `FROM`, in lanes of size `TO`.
pub(super) fn extend<E: Emit<Arch = X86>, const SIGNED: bool, const FROM: u8, const TO: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let p = &o.simd;
    let [m, _] = source(e, o)?;
    let mut result = [m; 2];
    for (half, result) in result.iter_mut().enumerate().take(p.halves()) {
        // Where the lanes begin that this half is made of.
        let first = (half * 16) >> (TO - FROM);
        let order = std::array::from_fn(|i| ((i + first) % 16) as u8);
        let mut v = if first == 0 {
            m
        } else {
            e.vec_shuffle(m, m, order)
        };
        for size in FROM..TO {
            v = e.vec_widen(Size::from_log2(size.into()), SIGNED, false, v);
        }
        *result = v;
    }
    finish(e, p, result);
    Ok(())
}
