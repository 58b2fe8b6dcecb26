//! Advanced SIMD data processing on vectors (Arm ARM C4.1.96, the classes named "Advanced SIMD
//! ..."), except floating point, copies, immediates and table lookups.

use super::Decoded;
use super::simd_plan::{Part, Plan};
use crate::simd::Op;

const fn field(word: u32, low: u32, count: u32) -> u32 {
    word >> low & ((1 << count) - 1)
}

/// Decodes an instruction of these classes; `None` if the word is of another or unallocated.
pub fn decode(word: u32) -> Option<Decoded> {
    // 0 Q U 0111 ...
    if word & 0x9e00_0000 != 0x0e00_0000 {
        return None;
    }
    if word & 1 << 24 != 0 {
        return match word & 1 << 10 {
            0 => indexed(word),
            _ if word & 1 << 23 == 0 && field(word, 19, 4) != 0 => shift_immediate(word),
            _ => None,
        };
    }
    match (field(word, 21, 1), field(word, 10, 2)) {
        (1, 0b01 | 0b11) => three_same(word),
        (1, 0b00) => three_different(word),
        (1, 0b10) => match field(word, 17, 4) {
            0b0000 => two_register(word),
            0b1000 => across_lanes(word),
            _ => None,
        },
        (0, 0b01 | 0b11) if word & 1 << 15 != 0 => three_extra(word),
        (0, 0b10) if word & 1 << 15 == 0 && word & 1 << 29 == 0 => permute(word),
        (0, 0b00 | 0b10) if word & 1 << 15 == 0 && word & 1 << 29 != 0 => extract(word),
        _ => None,
    }
}

/// An operation on vectors of the length that Q says. Vectors of one doubleword do not exist.
fn same(word: u32, op: Op, size: u32) -> Option<Decoded> {
    if size == 3 && word & 1 << 30 == 0 {
        return None;
    }
    Plan::new(word, op, size).decoded()
}

/// "Advanced SIMD three same", opcodes below 0b11000.
fn three_same(word: u32) -> Option<Decoded> {
    let size = field(word, 22, 2);
    let unsigned = field(word, 29, 1) != 0;
    let pick = |signed, other| if unsigned { other } else { signed };
    let op = match field(word, 11, 5) {
        0b00000 => pick(Op::Shadd, Op::Uhadd),
        0b00001 => pick(Op::Sqadd, Op::Uqadd),
        0b00010 => pick(Op::Srhadd, Op::Urhadd),
        0b00011 => {
            let op = [
                pick(Op::And, Op::Eor),
                pick(Op::Bic, Op::Bsl),
                pick(Op::Orr, Op::Bit),
                pick(Op::Orn, Op::Bif),
            ][size as usize];
            return same(word, op, 0);
        }
        0b00100 => pick(Op::Shsub, Op::Uhsub),
        0b00101 => pick(Op::Sqsub, Op::Uqsub),
        0b00110 => pick(Op::Cmgt, Op::Cmhi),
        0b00111 => pick(Op::Cmge, Op::Cmhs),
        0b01000 => pick(Op::Sshl, Op::Ushl),
        0b01001 => pick(Op::SqshlRegister, Op::UqshlRegister),
        0b01010 => pick(Op::Srshl, Op::Urshl),
        0b01011 => pick(Op::Sqrshl, Op::Uqrshl),
        0b01100 => pick(Op::Smax, Op::Umax),
        0b01101 => pick(Op::Smin, Op::Umin),
        0b01110 => pick(Op::Sabd, Op::Uabd),
        0b01111 => pick(Op::Saba, Op::Uaba),
        0b10000 => pick(Op::Add, Op::Sub),
        0b10001 => pick(Op::Cmtst, Op::Cmeq),
        0b10010 => pick(Op::Mla, Op::Mls),
        0b10011 => pick(Op::Mul, Op::Pmul),
        0b10100 => pick(Op::Smaxp, Op::Umaxp),
        0b10101 => pick(Op::Sminp, Op::Uminp),
        0b10110 => pick(Op::Sqdmulh, Op::Sqrdmulh),
        0b10111 if !unsigned => Op::Addp,
        _ => return None,
    };
    same(word, op, size)
}

/// "Advanced SIMD three-register extension": FEAT_RDM, FEAT_DotProd, FEAT_I8MM, and of FEAT_BF16
/// what does not look at FPCR.
fn three_extra(word: u32) -> Option<Decoded> {
    let size = field(word, 22, 2);
    let q = word & 1 << 30 != 0;
    let op = match (field(word, 29, 1), field(word, 11, 4)) {
        (1, 0b0000) => Op::Sqrdmlah,
        (1, 0b0001) => Op::Sqrdmlsh,
        (0, 0b0010) => Op::Sdot,
        (1, 0b0010) => Op::Udot,
        (0, 0b0011) => Op::Usdot,
        (0, 0b0100) if q => Op::Smmla,
        (1, 0b0100) if q => Op::Ummla,
        (0, 0b0101) if q => Op::Usmmla,
        (1, 0b1101) if q && size == 1 => return same(word, Op::Bfmmla, 2),
        (1, 0b1111) if size == 1 => return same(word, Op::Bfdot, 2),
        _ => return None,
    };
    same(word, op, size)
}

/// "Advanced SIMD three different".
fn three_different(word: u32) -> Option<Decoded> {
    let size = field(word, 22, 2);
    let q = word & 1 << 30 != 0;
    let unsigned = field(word, 29, 1) != 0;
    let pick = |signed, other| if unsigned { other } else { signed };
    let (half, full) = (Part::half(q), Part::Full);
    let long = (full, half, half);
    let wide = (full, full, half);
    let narrow = (half, full, full);
    let (op, (d, n, m)) = match field(word, 12, 4) {
        0b0000 => (pick(Op::Saddl, Op::Uaddl), long),
        0b0001 => (pick(Op::Saddw, Op::Uaddw), wide),
        0b0010 => (pick(Op::Ssubl, Op::Usubl), long),
        0b0011 => (pick(Op::Ssubw, Op::Usubw), wide),
        0b0100 => (pick(Op::Addhn, Op::Raddhn), narrow),
        0b0101 => (pick(Op::Sabal, Op::Uabal), long),
        0b0110 => (pick(Op::Subhn, Op::Rsubhn), narrow),
        0b0111 => (pick(Op::Sabdl, Op::Uabdl), long),
        0b1000 => (pick(Op::Smlal, Op::Umlal), long),
        0b1001 if !unsigned => (Op::Sqdmlal, long),
        0b1010 => (pick(Op::Smlsl, Op::Umlsl), long),
        0b1011 if !unsigned => (Op::Sqdmlsl, long),
        0b1100 => (pick(Op::Smull, Op::Umull), long),
        0b1101 if !unsigned => (Op::Sqdmull, long),
        0b1110 if !unsigned => (Op::Pmull, long),
        _ => return None,
    };
    Plan::new(word, op, size).parts(d, n, m).decoded()
}

/// "Advanced SIMD two-register miscellaneous", without the floating-point opcodes.
fn two_register(word: u32) -> Option<Decoded> {
    let size = field(word, 22, 2);
    let q = word & 1 << 30 != 0;
    let unsigned = field(word, 29, 1) != 0;
    let pick = |signed, other| if unsigned { other } else { signed };
    let with_zero = |op| {
        let plan = Plan::new(word, op, size);
        let allocated = q || size < 3;
        allocated.then(|| plan.parts(plan.d, plan.n, Part::Zero).decoded())?
    };
    let narrow = |op| {
        Plan::new(word, op, size)
            .parts(Part::half(q), Part::Full, Part::Zero)
            .decoded()
    };
    let op = match field(word, 12, 5) {
        0b00000 => pick(Op::Rev64, Op::Rev32),
        0b00001 if !unsigned => Op::Rev16,
        0b00010 => pick(Op::Saddlp, Op::Uaddlp),
        0b00011 => pick(Op::Suqadd, Op::Usqadd),
        0b00100 => pick(Op::Cls, Op::Clz),
        0b00101 => match (unsigned, size) {
            (false, 0) => Op::Cnt,
            (true, 0) => Op::Not,
            // RBIT's size field holds 1, though its elements are bytes.
            (true, 1) => return same(word, Op::Rbit, 0),
            _ => return None,
        },
        0b00110 => pick(Op::Sadalp, Op::Uadalp),
        0b00111 => pick(Op::Sqabs, Op::Sqneg),
        0b01000 => return with_zero(pick(Op::Cmgt, Op::Cmge)),
        0b01001 if !unsigned => return with_zero(Op::Cmeq),
        0b01001 => Op::CmleZero,
        0b01010 if !unsigned => Op::CmltZero,
        0b01011 => pick(Op::Abs, Op::Neg),
        0b10010 => return narrow(pick(Op::Shrn, Op::Sqshrun)),
        0b10011 if unsigned => {
            let plan = Plan::new(word, Op::Ushll, size).imm(8 << size);
            return plan.parts(Part::Full, Part::half(q), Part::Zero).decoded();
        }
        0b10100 => return narrow(pick(Op::Sqshrn, Op::Uqshrn)),
        0b11100 if size == 2 => pick(Op::Urecpe, Op::Ursqrte),
        _ => return None,
    };
    same(word, op, size)
}

/// "Advanced SIMD across lanes", without the floating-point opcodes.
fn across_lanes(word: u32) -> Option<Decoded> {
    let size = field(word, 22, 2);
    let q = word & 1 << 30 != 0;
    let unsigned = field(word, 29, 1) != 0;
    let pick = |signed, other| if unsigned { other } else { signed };
    let (op, to) = match field(word, 12, 5) {
        0b00011 => (pick(Op::Saddlv, Op::Uaddlv), size + 1),
        0b01010 => (pick(Op::Smaxv, Op::Umaxv), size),
        0b11010 => (pick(Op::Sminv, Op::Uminv), size),
        0b11011 if !unsigned => (Op::Addv, size),
        _ => return None,
    };
    if size == 2 && !q {
        return None;
    }
    Plan::new(word, op, size)
        .parts(Part::scalar(to), Part::vector(q), Part::Zero)
        .decoded()
}

/// The second source of a by-element instruction: register and index, for elements of 16 or 32
/// bits (size 1, 2).
pub(super) fn element(word: u32, size: u32) -> Option<(u32, u32)> {
    let (h, l, m) = (field(word, 11, 1), field(word, 21, 1), field(word, 20, 1));
    match size {
        1 => Some((field(word, 16, 4), h << 2 | l << 1 | m)),
        2 => Some((field(word, 16, 5), h << 1 | l)),
        _ => None,
    }
}

/// "Advanced SIMD vector x indexed element", without floating point.
fn indexed(word: u32) -> Option<Decoded> {
    let mut size = field(word, 22, 2);
    let q = word & 1 << 30 != 0;
    let unsigned = field(word, 29, 1) != 0;
    let pick = |signed, other| if unsigned { other } else { signed };
    let (op, long) = match field(word, 12, 4) {
        0b0000 if unsigned => (Op::Mla, false),
        0b0010 => (pick(Op::Smlal, Op::Umlal), true),
        0b0011 if !unsigned => (Op::Sqdmlal, true),
        0b0100 if unsigned => (Op::Mls, false),
        0b0110 => (pick(Op::Smlsl, Op::Umlsl), true),
        0b0111 if !unsigned => (Op::Sqdmlsl, true),
        0b1000 if !unsigned => (Op::Mul, false),
        0b1010 => (pick(Op::Smull, Op::Umull), true),
        0b1011 if !unsigned => (Op::Sqdmull, true),
        0b1100 if !unsigned => (Op::Sqdmulh, false),
        0b1101 => (pick(Op::Sqrdmulh, Op::Sqrdmlah), false),
        0b1110 => (pick(Op::Sdot, Op::Udot), false),
        0b1111 if unsigned => (Op::Sqrdmlsh, false),
        0b1111 => {
            // The size tells which; the element is four bytes, or two BFloat16.
            let op = match size {
                0b00 => Op::Sudot,
                0b01 => Op::Bfdot,
                0b10 => Op::Usdot,
                _ => return None,
            };
            size = 2;
            (op, false)
        }
        _ => return None,
    };
    let (register, index) = element(word, size)?;
    let vector = Part::vector(q);
    let (d, n) = if long {
        (Part::Full, Part::half(q))
    } else {
        (vector, vector)
    };
    let mut plan = Plan::new(word, op, size).parts(d, n, Part::Spread);
    plan.index = index;
    plan.registers[2] = register;
    plan.decoded()
}

/// An immediate shift's element size and the amounts that immh:immb stands for, to the left and to
/// the right.
pub(super) fn shift_amounts(word: u32) -> Option<(u32, u32, u32)> {
    let immh_immb = field(word, 16, 7);
    let size = (immh_immb >> 3).checked_ilog2()?;
    let bits = 8 << size;
    Some((size, immh_immb - bits, 2 * bits - immh_immb))
}

/// "Advanced SIMD shift by immediate", without conversions.
fn shift_immediate(word: u32) -> Option<Decoded> {
    let (size, left, right) = shift_amounts(word)?;
    let q = word & 1 << 30 != 0;
    let unsigned = field(word, 29, 1) != 0;
    let pick = |signed, other| if unsigned { other } else { signed };
    let narrow = |op| {
        let plan = Plan::new(word, op, size).imm(right);
        plan.parts(Part::half(q), Part::Full, Part::Zero).decoded()
    };
    let (op, amount) = match field(word, 11, 5) {
        0b00000 => (pick(Op::Sshr, Op::Ushr), right),
        0b00010 => (pick(Op::Ssra, Op::Usra), right),
        0b00100 => (pick(Op::Srshr, Op::Urshr), right),
        0b00110 => (pick(Op::Srsra, Op::Ursra), right),
        0b01000 if unsigned => (Op::Sri, right),
        0b01010 => (pick(Op::Shl, Op::Sli), left),
        0b01100 if unsigned => (Op::Sqshlu, left),
        0b01110 => (pick(Op::Sqshl, Op::Uqshl), left),
        0b10000 => return narrow(pick(Op::Shrn, Op::Sqshrun)),
        0b10001 => return narrow(pick(Op::Rshrn, Op::Sqrshrun)),
        0b10010 => return narrow(pick(Op::Sqshrn, Op::Uqshrn)),
        0b10011 => return narrow(pick(Op::Sqrshrn, Op::Uqrshrn)),
        0b10100 => {
            let plan = Plan::new(word, pick(Op::Sshll, Op::Ushll), size).imm(left);
            return plan.parts(Part::Full, Part::half(q), Part::Zero).decoded();
        }
        _ => return None,
    };
    if size == 3 && !q {
        return None;
    }
    let plan = Plan::new(word, op, size).imm(amount);
    plan.parts(plan.d, plan.n, Part::Zero).decoded()
}

/// "Advanced SIMD permute".
fn permute(word: u32) -> Option<Decoded> {
    let op = match field(word, 12, 3) {
        0b001 => Op::Uzp1,
        0b010 => Op::Trn1,
        0b011 => Op::Zip1,
        0b101 => Op::Uzp2,
        0b110 => Op::Trn2,
        0b111 => Op::Zip2,
        _ => return None,
    };
    same(word, op, field(word, 22, 2))
}

/// "Advanced SIMD extract".
fn extract(word: u32) -> Option<Decoded> {
    let imm = field(word, 11, 4);
    if field(word, 22, 2) != 0 || (imm >= 8 && word & 1 << 30 == 0) {
        return None;
    }
    Plan::new(word, Op::Ext, 0).imm(imm).decoded()
}
