//! Advanced SIMD data processing on scalars (Arm ARM C4.1.96, the classes named "Advanced SIMD
//! scalar ..."), except floating point and copies: each is the vector operation on element 0.

use super::Decoded;
use super::simd_plan::{Part, Plan};
use super::simd_vector::{element, shift_amounts};
use crate::simd::Op;

const fn field(word: u32, low: u32, count: u32) -> u32 {
    word >> low & ((1 << count) - 1)
}

/// Decodes an instruction of these classes; `None` if the word is of another or unallocated.
pub fn decode(word: u32) -> Option<Decoded> {
    // 01 U 1111 ...
    if word & 0xde00_0000 != 0x5e00_0000 {
        return None;
    }
    if word & 1 << 24 != 0 {
        return match word & 1 << 10 {
            0 => indexed(word),
            _ if word & 1 << 23 == 0 => shift_immediate(word),
            _ => None,
        };
    }
    match (field(word, 21, 1), field(word, 10, 2)) {
        (1, 0b01 | 0b11) => three_same(word),
        (1, 0b00) => three_different(word),
        (1, 0b10) => match field(word, 17, 4) {
            0b0000 => two_register(word),
            0b1000 => pairwise(word),
            _ => None,
        },
        (0, 0b01 | 0b11) if word & 1 << 15 != 0 => three_extra(word),
        _ => None,
    }
}

/// An operation on elements of one size.
fn scalar(word: u32, op: Op, size: u32) -> Plan {
    let part = Part::scalar(size);
    Plan::new(word, op, size).parts(part, part, part)
}

/// "Advanced SIMD scalar three same", without floating point.
fn three_same(word: u32) -> Option<Decoded> {
    let size = field(word, 22, 2);
    let unsigned = field(word, 29, 1) != 0;
    let pick = |signed, other| if unsigned { other } else { signed };
    let (op, any_size) = match field(word, 11, 5) {
        0b00001 => (pick(Op::Sqadd, Op::Uqadd), true),
        0b00101 => (pick(Op::Sqsub, Op::Uqsub), true),
        0b00110 => (pick(Op::Cmgt, Op::Cmhi), false),
        0b00111 => (pick(Op::Cmge, Op::Cmhs), false),
        0b01000 => (pick(Op::Sshl, Op::Ushl), false),
        0b01001 => (pick(Op::SqshlRegister, Op::UqshlRegister), true),
        0b01010 => (pick(Op::Srshl, Op::Urshl), false),
        0b01011 => (pick(Op::Sqrshl, Op::Uqrshl), true),
        0b10000 => (pick(Op::Add, Op::Sub), false),
        0b10001 => (pick(Op::Cmtst, Op::Cmeq), false),
        0b10110 => (pick(Op::Sqdmulh, Op::Sqrdmulh), true),
        _ => return None,
    };
    if !any_size && size != 3 {
        return None;
    }
    scalar(word, op, size).decoded()
}

/// "Advanced SIMD scalar three same extra": FEAT_RDM.
fn three_extra(word: u32) -> Option<Decoded> {
    let op = match (field(word, 29, 1), field(word, 11, 4)) {
        (1, 0b0000) => Op::Sqrdmlah,
        (1, 0b0001) => Op::Sqrdmlsh,
        _ => return None,
    };
    scalar(word, op, field(word, 22, 2)).decoded()
}

/// "Advanced SIMD scalar three different".
fn three_different(word: u32) -> Option<Decoded> {
    let size = field(word, 22, 2);
    let op = match (field(word, 29, 1), field(word, 12, 4)) {
        (0, 0b1001) => Op::Sqdmlal,
        (0, 0b1011) => Op::Sqdmlsl,
        (0, 0b1101) => Op::Sqdmull,
        _ => return None,
    };
    let narrow = Part::scalar(size);
    scalar(word, op, size)
        .parts(Part::scalar(size + 1), narrow, narrow)
        .decoded()
}

/// "Advanced SIMD scalar two-register miscellaneous", without floating point.
fn two_register(word: u32) -> Option<Decoded> {
    let size = field(word, 22, 2);
    let unsigned = field(word, 29, 1) != 0;
    let pick = |signed, other| if unsigned { other } else { signed };
    let narrow = |op| {
        let plan = Plan::new(word, op, size);
        plan.parts(Part::scalar(size), Part::scalar(size + 1), Part::Zero)
            .decoded()
    };
    let (op, any_size) = match field(word, 12, 5) {
        0b00011 => (pick(Op::Suqadd, Op::Usqadd), true),
        0b00111 => (pick(Op::Sqabs, Op::Sqneg), true),
        0b01000 => (pick(Op::Cmgt, Op::Cmge), false),
        0b01001 => (pick(Op::Cmeq, Op::CmleZero), false),
        0b01010 if !unsigned => (Op::CmltZero, false),
        0b01011 => (pick(Op::Abs, Op::Neg), false),
        0b10010 if unsigned => return narrow(Op::Sqshrun),
        0b10100 => return narrow(pick(Op::Sqshrn, Op::Uqshrn)),
        _ => return None,
    };
    if !any_size && size != 3 {
        return None;
    }
    let part = Part::scalar(size);
    scalar(word, op, size)
        .parts(part, part, Part::Zero)
        .decoded()
}

/// "Advanced SIMD scalar pairwise", without floating point.
fn pairwise(word: u32) -> Option<Decoded> {
    if (field(word, 29, 1), field(word, 12, 5)) != (0, 0b11011) {
        return None;
    }
    let plan = Plan::new(word, Op::AddpScalar, field(word, 22, 2));
    plan.parts(Part::Low, Part::Full, Part::Zero).decoded()
}

/// "Advanced SIMD scalar shift by immediate", without conversions.
fn shift_immediate(word: u32) -> Option<Decoded> {
    let (size, left, right) = shift_amounts(word)?;
    let unsigned = field(word, 29, 1) != 0;
    let pick = |signed, other| if unsigned { other } else { signed };
    let narrow = |op| {
        let plan = Plan::new(word, op, size).imm(right);
        plan.parts(Part::scalar(size), Part::scalar(size + 1), Part::Zero)
            .decoded()
    };
    let (op, amount, any_size) = match field(word, 11, 5) {
        0b00000 => (pick(Op::Sshr, Op::Ushr), right, false),
        0b00010 => (pick(Op::Ssra, Op::Usra), right, false),
        0b00100 => (pick(Op::Srshr, Op::Urshr), right, false),
        0b00110 => (pick(Op::Srsra, Op::Ursra), right, false),
        0b01000 if unsigned => (Op::Sri, right, false),
        0b01010 => (pick(Op::Shl, Op::Sli), left, false),
        0b01100 if unsigned => (Op::Sqshlu, left, true),
        0b01110 => (pick(Op::Sqshl, Op::Uqshl), left, true),
        0b10000 if unsigned => return narrow(Op::Sqshrun),
        0b10001 if unsigned => return narrow(Op::Sqrshrun),
        0b10010 => return narrow(pick(Op::Sqshrn, Op::Uqshrn)),
        0b10011 => return narrow(pick(Op::Sqrshrn, Op::Uqrshrn)),
        _ => return None,
    };
    if !any_size && size != 3 {
        return None;
    }
    let part = Part::scalar(size);
    scalar(word, op, size)
        .parts(part, part, Part::Zero)
        .imm(amount)
        .decoded()
}

/// "Advanced SIMD scalar x indexed element", without floating point.
fn indexed(word: u32) -> Option<Decoded> {
    let size = field(word, 22, 2);
    let (op, long) = match (field(word, 29, 1), field(word, 12, 4)) {
        (0, 0b0011) => (Op::Sqdmlal, true),
        (0, 0b0111) => (Op::Sqdmlsl, true),
        (0, 0b1011) => (Op::Sqdmull, true),
        (0, 0b1100) => (Op::Sqdmulh, false),
        (0, 0b1101) => (Op::Sqrdmulh, false),
        (1, 0b1101) => (Op::Sqrdmlah, false),
        (1, 0b1111) => (Op::Sqrdmlsh, false),
        _ => return None,
    };
    let (register, index) = element(word, size)?;
    let d = Part::scalar(if long { size + 1 } else { size });
    let mut plan = Plan::new(word, op, size).parts(d, Part::scalar(size), Part::Spread);
    plan.index = index;
    plan.registers[2] = register;
    plan.decoded()
}
