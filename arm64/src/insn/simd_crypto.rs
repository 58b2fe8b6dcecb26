//! Cryptographic AES, three-register SHA and two-register SHA (Arm ARM C4.1.96).
//!
//! SHA3, SHA512, SM3 and SM4 are not part of the host models and stay unallocated.

use super::Decoded;
use super::simd_plan::{Part, Plan};
use crate::simd::Op;

/// Decodes an instruction of these classes; `None` if the word is of another or unallocated.
pub fn decode(word: u32) -> Option<Decoded> {
    let opcode = word >> 12 & 31;
    let (d, n, m) = (Part::Full, Part::Full, Part::Full);
    // Size is 0 in all that is allocated.
    let plan = if word & 0xfffe_0c00 == 0x4e28_0800 {
        let op = match opcode {
            0b00100 => Op::Aese,
            0b00101 => Op::Aesd,
            0b00110 => Op::Aesmc,
            0b00111 => Op::Aesimc,
            _ => return None,
        };
        Plan::new(word, op, 0).parts(d, n, Part::Zero)
    } else if word & 0xffe0_8c00 == 0x5e00_0000 {
        let op = match opcode & 7 {
            0b000 => Op::Sha1c,
            0b001 => Op::Sha1p,
            0b010 => Op::Sha1m,
            0b011 => Op::Sha1su0,
            0b100 => Op::Sha256h,
            0b101 => Op::Sha256h2,
            0b110 => Op::Sha256su1,
            _ => return None,
        };
        Plan::new(word, op, 2).parts(d, n, m)
    } else if word & 0xfffe_0c00 == 0x5e28_0800 {
        match opcode {
            0b00000 => Plan::new(word, Op::Sha1h, 2).parts(Part::Word, Part::Word, Part::Zero),
            0b00001 => Plan::new(word, Op::Sha1su1, 2).parts(d, n, Part::Zero),
            0b00010 => Plan::new(word, Op::Sha256su0, 2).parts(d, n, Part::Zero),
            _ => return None,
        }
    } else {
        return None;
    };
    plan.decoded()
}
