//! BFMLALB and BFMLALT of FEAT_BF16: singles plus the products of every second BFloat16 (Arm ARM C4.1,
//! in "Advanced SIMD three-register extension" and "Advanced SIMD vector x indexed element").
//!
//! They are FMLA on singles, whose upper halves BFloat16 values are. The feature's conversions are
//! with the other conversions, BFDOT and BFMMLA with the operations that do not look at FPCR.

use super::fp_lanes::{Fmla, on_elements};
use super::{Decoded, Operands};
use crate::Arm64;
use crate::regs::{v_high, v_low};
use understudy_engine::def;
use understudy_engine::emit::{Binary, Emit};

/// Decodes one of these instructions; `None` if the word is another one or unallocated.
pub fn decode(word: u32) -> Option<Decoded> {
    // Q tells which elements are multiplied; the vectors have 128 bits.
    let top = word >> 30 & 1 == 1;
    let def = if word & 0xbfe0_fc00 == 0x2ec0_fc00 {
        match top {
            false => def!(Arm64, "BFMLALB", vector, [false]),
            true => def!(Arm64, "BFMLALT", vector, [true]),
        }
    } else if word & 0xbfc0_f400 == 0x0fc0_f000 {
        match top {
            false => def!(Arm64, "BFMLALB (by element)", element, [false]),
            true => def!(Arm64, "BFMLALT (by element)", element, [true]),
        }
    } else {
        return None;
    };
    Some((def, 0))
}

/// The upper halves of both singles in 64 bits.
const UPPER: u64 = 0xffff_0000_ffff_0000;

/// The upper or lower element of each pair, as singles.
fn every_second<E: Emit<Arch = Arm64>>(e: &mut E, half: E::Val, top: bool) -> E::Val {
    let half = if top { half } else { e.shl_imm(half, 16) };
    e.and_imm(half, UPPER)
}

fn accumulate<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    m: [E::Val; 2],
    top: bool,
) -> Result<(), E::Stop> {
    let [low, high] = [v_low, v_high].map(|half| {
        let (d, n) = (e.get(half(o.rd())), e.get(half(o.rn())));
        (d, every_second(e, n, top))
    });
    let low = on_elements::<E, u32, Fmla>(e, [low.0, low.1, m[0]])?;
    let high = on_elements::<E, u32, Fmla>(e, [high.0, high.1, m[1]])?;
    e.put(v_low(o.rd()), low);
    e.put(v_high(o.rd()), high);
    Ok(())
}

fn vector<E: Emit<Arch = Arm64>, const TOP: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let m = [v_low, v_high].map(|half| {
        let m = e.get(half(o.rm()));
        every_second(e, m, TOP)
    });
    accumulate(e, o, m, TOP)
}

fn element<E: Emit<Arch = Arm64>, const TOP: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    // Of V0 to V15, element H:L:M.
    let register = o.bits(16, 4);
    let slot = e.get(if o.bit(11) {
        v_high(register)
    } else {
        v_low(register)
    });
    let value = e.shr_imm(slot, 32 * o.bits(21, 1) + 16 * o.bits(20, 1));
    let value = e.and_imm(value, 0xffff);
    let places = e.imm(0x0001_0000_0001_0000);
    let m = e.binary(Binary::Mul, value, places);
    accumulate(e, o, [m; 2], TOP)
}
