//! Operations on integers and bits, over the engine's vectors; what those do not have goes to helpers.

use super::shuffle;
use super::{Op, Pure};
use crate::X86;
use crate::regs::scratch;
use understudy_engine::emit::{Binary, Emit, Size};
use understudy_engine::vector::{VecBinary, VecShift, VecUnary, splat};

/// An operation on one half; `half` is its number, which the immediates of some take in.
#[inline]
pub(super) fn half<E: Emit<Arch = X86>>(
    e: &mut E,
    op: Op,
    imm: u8,
    half: usize,
    [a, b, c]: [E::Vec; 3],
) -> Result<E::Vec, E::Stop> {
    Ok(match op {
        Op::Move => b,
        Op::Binary(op, size) => e.vec_binary(op, size, a, b),
        Op::AndNot => e.vec_binary(VecBinary::AndNot, Size::B8, b, a),
        Op::Abs(size) => e.vec_unary(VecUnary::Abs, size, b),
        Op::Shift(op, size) => shift(e, op, size, b, imm),
        Op::Shuffle(kind) => {
            let (order, source) = shuffle::plan(kind, imm, half);
            match source {
                shuffle::Source::Both => e.vec_shuffle(a, b, order),
                shuffle::Source::Second => e.vec_shuffle(b, b, order),
                shuffle::Source::SecondAndFirst => e.vec_shuffle(b, a, order),
                shuffle::Source::FirstAndZero => {
                    let zero = e.vec_imm(0);
                    e.vec_shuffle(a, zero, order)
                }
                shuffle::Source::SecondAndZero => {
                    let zero = e.vec_imm(0);
                    e.vec_shuffle(b, zero, order)
                }
            }
        }
        Op::Select(size) => {
            let zero = e.vec_imm(0);
            let negative = e.vec_binary(VecBinary::SGt, size, zero, c);
            e.vec_select(negative, b, a)
        }
        Op::MultiplyHigh { signed } => {
            let [low, high] = products(e, signed, a, b);
            // The upper half of each product.
            e.vec_shuffle(
                low,
                high,
                std::array::from_fn(|i| (i * 2 - i % 2 + 2) as u8),
            )
        }
        Op::MultiplyAdd => {
            let [low, high] = products(e, true, a, b);
            let pick = |odd: usize| std::array::from_fn(|i| (8 * (i / 4) + 4 * odd + i % 4) as u8);
            let even = e.vec_shuffle(low, high, pick(0));
            let odd = e.vec_shuffle(low, high, pick(1));
            e.vec_binary(VecBinary::Add, Size::B4, even, odd)
        }
        Op::MultiplyLong { signed } => {
            let mut product = |lane| {
                let [a, b] = [a, b].map(|v| {
                    let value = e.vec_lane(Size::B4, lane, v);
                    if signed { e.sext32(value) } else { value }
                });
                e.binary(Binary::Mul, a, b)
            };
            let (low, high) = (product(0), product(2));
            let vector = e.vec_splat(Size::B8, low);
            e.vec_with_lane(Size::B8, 1, vector, high)
        }
        Op::Pack { from, signed } => {
            let [a, b] = [a, b].map(|v| clamp(e, from, signed, v));
            let narrow = from.bytes() as usize / 2;
            let order = std::array::from_fn(|i| (i / narrow * 2 * narrow + i % narrow) as u8);
            e.vec_shuffle(a, b, order)
        }
        Op::Average(size) => {
            // (a | b) - (a ^ b) / 2 is the mean, rounded up.
            let either = e.vec_binary(VecBinary::Or, size, a, b);
            let differs = e.vec_binary(VecBinary::Xor, size, a, b);
            let half = e.vec_shift(VecShift::Shr, size, differs, 1);
            e.vec_binary(VecBinary::Sub, size, either, half)
        }
        Op::AddSaturated(size) => {
            let room = e.vec_unary(VecUnary::Not, size, a);
            let b = e.vec_binary(VecBinary::UMin, size, room, b);
            e.vec_binary(VecBinary::Add, size, a, b)
        }
        Op::SubtractSaturated(size) => {
            let a = e.vec_binary(VecBinary::UMax, size, a, b);
            e.vec_binary(VecBinary::Sub, size, a, b)
        }
        Op::Pure(pure) => {
            for (place, vector) in [(scratch::A, a), (scratch::B, b), (scratch::C, c)] {
                e.vec_put(scratch::half(place, 0), vector);
            }
            // Of MPSADBW, the upper half has three bits of its own.
            let imm = match pure {
                Pure::BlockDifferences => imm >> (3 * half),
                _ => imm,
            };
            let imm = e.imm(imm.into());
            e.call(pure.helper(), &[imm])?;
            e.vec_get(scratch::half(scratch::R, 0))
        }
        // Of its own shapes.
        Op::Float(_) => b,
    })
}

/// A shift by more than a lane has bits leaves zeros, or signs.
fn shift<E: Emit<Arch = X86>>(e: &mut E, op: VecShift, size: Size, b: E::Vec, by: u8) -> E::Vec {
    let last = 8 * size.bytes() as u32 - 1;
    let by = u32::from(by);
    if by <= last {
        e.vec_shift(op, size, b, by)
    } else if op == VecShift::Sar {
        e.vec_shift(op, size, b, last)
    } else {
        e.vec_imm(0)
    }
}

/// The products of words as double words: of the low words, and of the high ones.
fn products<E: Emit<Arch = X86>>(e: &mut E, signed: bool, a: E::Vec, b: E::Vec) -> [E::Vec; 2] {
    [false, true].map(|high| {
        let a = e.vec_widen(Size::B2, signed, high, a);
        let b = e.vec_widen(Size::B2, signed, high, b);
        e.vec_binary(VecBinary::Mul, Size::B4, a, b)
    })
}

/// Signed lanes, limited to what lanes of half the size hold.
fn clamp<E: Emit<Arch = X86>>(e: &mut E, size: Size, signed: bool, v: E::Vec) -> E::Vec {
    let bits = 4 * size.bytes();
    let (low, high) = if signed {
        ((1u64 << (bits - 1)).wrapping_neg(), (1 << (bits - 1)) - 1)
    } else {
        (0, (1 << bits) - 1)
    };
    let high = e.vec_imm(splat(size, high));
    let v = e.vec_binary(VecBinary::SMin, size, v, high);
    let low = e.vec_imm(splat(size, low));
    e.vec_binary(VecBinary::SMax, size, v, low)
}
