//! Instructions that choose bytes of their sources, as their immediate says (SDM vol. 2: PSHUFD,
//! SHUFPS, PUNPCKx, PALIGNR, PBLENDW and their like).

use understudy_engine::emit::Size;

/// A choice of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shuffle {
    /// PSHUFD, and VPERMILPS with an immediate.
    Dwords,
    /// PSHUFLW.
    LowWords,
    /// PSHUFHW.
    HighWords,
    /// VPERMILPD with an immediate.
    Qwords,
    /// SHUFPS.
    FloatDwords,
    /// SHUFPD.
    FloatQwords,
    /// PUNPCKLx, UNPCKLPx, MOVLHPS.
    UnpackLow(Size),
    /// PUNPCKHx, UNPCKHPx.
    UnpackHigh(Size),
    /// MOVHLPS.
    HighToLow,
    /// PALIGNR.
    Align,
    /// PSLLDQ.
    BytesLeft,
    /// PSRLDQ.
    BytesRight,
    /// PBLENDW, BLENDPS, BLENDPD, VPBLENDD.
    Blend(Size),
    /// MOVSS and MOVSD of registers: the lowest lane of *b*.
    Lowest(Size),
    /// MOVSLDUP, MOVDDUP.
    DuplicateEven(Size),
    /// MOVSHDUP.
    DuplicateOdd(Size),
}

/// What the 32 bytes are that are chosen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// *a*, then *b*.
    Both,
    /// *b*.
    Second,
    /// *b*, then *a*.
    SecondAndFirst,
    /// *a*, then zeros.
    FirstAndZero,
    /// *b*, then zeros.
    SecondAndZero,
}

/// The bytes that lanes of this size are made of, of which `lane` tells the source's number.
fn lanes(size: Size, lane: impl Fn(usize) -> usize) -> [u8; 16] {
    let bytes = size.bytes() as usize;
    std::array::from_fn(|i| (lane(i / bytes) * bytes + i % bytes) as u8)
}

/// The bytes of half number `half`, and what they are chosen from.
pub(super) fn plan(kind: Shuffle, imm: u8, half: usize) -> ([u8; 16], Source) {
    use Shuffle::*;
    let imm = usize::from(imm);
    let pair = |i: usize| imm >> (2 * i) & 3;
    let count = |size: Size| 16 / size.bytes() as usize;
    match kind {
        Dwords => (lanes(Size::B4, pair), Source::Second),
        LowWords => {
            let lane = |i| if i < 4 { pair(i) } else { i };
            (lanes(Size::B2, lane), Source::Second)
        }
        HighWords => {
            let lane = |i| if i < 4 { i } else { 4 + pair(i - 4) };
            (lanes(Size::B2, lane), Source::Second)
        }
        Qwords => {
            let lane = |i| imm >> (2 * half + i) & 1;
            (lanes(Size::B8, lane), Source::Second)
        }
        FloatDwords => {
            let lane = |i| if i < 2 { pair(i) } else { 4 + pair(i) };
            (lanes(Size::B4, lane), Source::Both)
        }
        FloatQwords => {
            let lane = |i| 2 * i + (imm >> (2 * half + i) & 1);
            (lanes(Size::B8, lane), Source::Both)
        }
        UnpackLow(size) => {
            let lane = |i| i / 2 + i % 2 * count(size);
            (lanes(size, lane), Source::Both)
        }
        UnpackHigh(size) => {
            let lane = |i| i / 2 + i % 2 * count(size) + count(size) / 2;
            (lanes(size, lane), Source::Both)
        }
        HighToLow => (
            lanes(Size::B8, |i| if i == 0 { 3 } else { 1 }),
            Source::Both,
        ),
        Align if imm < 16 => (lanes(Size::B1, |i| i + imm), Source::SecondAndFirst),
        Align => {
            let lane = |i: usize| (i + imm - 16).min(16);
            (lanes(Size::B1, lane), Source::FirstAndZero)
        }
        BytesLeft => {
            let lane = |i: usize| i.checked_sub(imm).unwrap_or(16);
            (lanes(Size::B1, lane), Source::SecondAndZero)
        }
        BytesRight => (
            lanes(Size::B1, |i| (i + imm).min(16)),
            Source::SecondAndZero,
        ),
        Blend(size) => {
            // Eight bits for words serve both halves; of fewer, each half has its own.
            let first = if size == Size::B2 {
                0
            } else {
                half * count(size)
            };
            let lane = |i| i + (imm >> (first + i) & 1) * count(size);
            (lanes(size, lane), Source::Both)
        }
        Lowest(size) => {
            let lane = |i| if i == 0 { count(size) } else { i };
            (lanes(size, lane), Source::Both)
        }
        DuplicateEven(size) => (lanes(size, |i| i & !1), Source::Second),
        DuplicateOdd(size) => (lanes(size, |i| i | 1), Source::Second),
    }
}
