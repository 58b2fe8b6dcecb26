//! Operations on integers that are computed by helpers: functions of up to three vectors and an
//! immediate, and of nothing else.

use super::crypto;
use super::lanes::*;
use crate::X86;
use crate::regs::scratch;
use understudy_engine::emit::{Effects, Emit, Helper};

/// All operations: variant, and function of the immediate, *a*, *b* and *c*.
macro_rules! operations {
    ($($variant:ident $name:literal $f:expr;)*) => {
        /// An operation that a helper computes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Pure {
            $(#[doc = $name] $variant,)*
        }

        static HELPERS: &[Helper<X86>] = &[$(Helper {
            name: $name,
            call: |cpu, [imm, ..]| {
                let f: fn(u8, u128, u128, u128) -> u128 = $f;
                let [a, b, c] = [scratch::A, scratch::B, scratch::C]
                    .map(|place| cpu.vec_get(scratch::half(place, 0)));
                cpu.vec_put(scratch::half(scratch::R, 0), f(imm as u8, a, b, c));
                Ok(0)
            },
            effects: Effects {
                reads: scratch::OPERANDS,
                writes: scratch::RESULT,
                stops: false,
            },
        },)*];
    };
}

impl Pure {
    /// The helper: operands and result are in the first half of each scratch register.
    pub(super) fn helper(self) -> &'static Helper<X86> {
        &HELPERS[self as usize]
    }
}

operations! {
    AddBytes "PADDSB" |_, a, b, _| zip8(a, b, |a, b| (a as i8).saturating_add(b as i8) as u8);
    AddWords "PADDSW" |_, a, b, _| zip16(a, b, |a, b| (a as i16).saturating_add(b as i16) as u16);
    SubtractBytes "PSUBSB" |_, a, b, _| zip8(a, b, |a, b| (a as i8).saturating_sub(b as i8) as u8);
    SubtractWords "PSUBSW" |_, a, b, _| {
        zip16(a, b, |a, b| (a as i16).saturating_sub(b as i16) as u16)
    };
    SumOfDifferences "PSADBW" |_, a, b, _| {
        let differences = split8(zip8(a, b, u8::abs_diff)).map(u64::from);
        let sum = |half: usize| differences[8 * half..][..8].iter().sum();
        join64([sum(0), sum(1)])
    };
    MultiplyAddBytes "PMADDUBSW" |_, a, b, _| {
        let (a, b) = (split8(a), split8(b).map(|b| b as i8));
        let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        join16(std::array::from_fn(|i| saturate16(product(2 * i) + product(2 * i + 1))))
    };
    MultiplyRound "PMULHRSW" |_, a, b, _| zip16(a, b, |a, b| {
        let product = i32::from(a as i16) * i32::from(b as i16);
        (((product >> 14) + 1) >> 1) as u16
    });
    ShuffleBytes "PSHUFB" |_, a, b, _| {
        let a = split8(a);
        map8(b, |i| if i & 0x80 != 0 { 0 } else { a[usize::from(i & 15)] })
    };
    AddPairsWords "PHADDW" |_, a, b, _| pairs16(a, b, |a, b| a.wrapping_add(b));
    AddPairsSaturated "PHADDSW" |_, a, b, _| pairs16(a, b, i16::saturating_add);
    SubtractPairsWords "PHSUBW" |_, a, b, _| pairs16(a, b, |a, b| a.wrapping_sub(b));
    SubtractPairsSaturated "PHSUBSW" |_, a, b, _| pairs16(a, b, i16::saturating_sub);
    AddPairsDwords "PHADDD" |_, a, b, _| pairs32(a, b, |a, b| a.wrapping_add(b));
    SubtractPairsDwords "PHSUBD" |_, a, b, _| pairs32(a, b, |a, b| a.wrapping_sub(b));
    SignBytes "PSIGNB" |_, a, b, _| zip8(a, b, |a, b| a.wrapping_mul((b as i8).signum() as u8));
    SignWords "PSIGNW" |_, a, b, _| zip16(a, b, |a, b| a.wrapping_mul((b as i16).signum() as u16));
    SignDwords "PSIGND" |_, a, b, _| zip32(a, b, |a, b| a.wrapping_mul((b as i32).signum() as u32));
    BlockDifferences "MPSADBW" |imm, a, b, _| {
        let (a, b) = (split8(a), split8(b));
        let (from, block) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
        join16(std::array::from_fn(|i| {
            let difference = |k: usize| u16::from(a[from + i + k].abs_diff(b[block + k]));
            (0..4).map(difference).sum()
        }))
    };
    LeastWord "PHMINPOSUW" |_, _, b, _| {
        let lanes = split16(b);
        let (index, least) = (0..).zip(lanes).min_by_key(|(_, lane)| *lane).unwrap_or((0, 0));
        u128::from(least) | index << 16
    };
    LeftWords "PSLLW" |_, a, b, _| map16(a, |a| a.checked_shl(count(b)).unwrap_or(0));
    LeftDwords "PSLLD" |_, a, b, _| map32(a, |a| a.checked_shl(count(b)).unwrap_or(0));
    LeftQwords "PSLLQ" |_, a, b, _| map64(a, |a| a.checked_shl(count(b)).unwrap_or(0));
    RightWords "PSRLW" |_, a, b, _| map16(a, |a| a.checked_shr(count(b)).unwrap_or(0));
    RightDwords "PSRLD" |_, a, b, _| map32(a, |a| a.checked_shr(count(b)).unwrap_or(0));
    RightQwords "PSRLQ" |_, a, b, _| map64(a, |a| a.checked_shr(count(b)).unwrap_or(0));
    SignedWords "PSRAW" |_, a, b, _| map16(a, |a| (a as i16 >> count(b).min(15)) as u16);
    SignedDwords "PSRAD" |_, a, b, _| map32(a, |a| (a as i32 >> count(b).min(31)) as u32);
    LeftEachDword "VPSLLVD" |_, a, b, _| zip32(a, b, |a, b| a.checked_shl(b).unwrap_or(0));
    RightEachDword "VPSRLVD" |_, a, b, _| zip32(a, b, |a, b| a.checked_shr(b).unwrap_or(0));
    SignedEachDword "VPSRAVD" |_, a, b, _| zip32(a, b, |a, b| (a as i32 >> b.min(31)) as u32);
    LeftEachQword "VPSLLVQ" |_, a, b, _| {
        zip64(a, b, |a, b| a.checked_shl(b.min(64) as u32).unwrap_or(0))
    };
    RightEachQword "VPSRLVQ" |_, a, b, _| {
        zip64(a, b, |a, b| a.checked_shr(b.min(64) as u32).unwrap_or(0))
    };
    PermuteDwords "VPERMILPS" |_, a, b, _| {
        let a = split32(a);
        map32(b, |i| a[(i & 3) as usize])
    };
    PermuteQwords "VPERMILPD" |_, a, b, _| {
        let a = split64(a);
        map64(b, |i| a[(i >> 1 & 1) as usize])
    };
    PermuteAcross "VPERMD" |_, a, b, c| {
        let (low, high) = (split32(a), split32(b));
        map32(c, |i| if i & 4 == 0 { low[(i & 3) as usize] } else { high[(i & 3) as usize] })
    };
    InsertFloat "INSERTPS" |imm, a, b, _| {
        let mut lanes = split32(a);
        lanes[usize::from(imm >> 4 & 3)] = split32(b)[usize::from(imm >> 6)];
        join32(std::array::from_fn(|i| if imm >> i & 1 != 0 { 0 } else { lanes[i] }))
    };
    AesEncrypt "AESENC" |_, a, b, _| crypto::encrypt(a, b, false);
    AesEncryptLast "AESENCLAST" |_, a, b, _| crypto::encrypt(a, b, true);
    AesDecrypt "AESDEC" |_, a, b, _| crypto::decrypt(a, b, false);
    AesDecryptLast "AESDECLAST" |_, a, b, _| crypto::decrypt(a, b, true);
    AesInverseMix "AESIMC" |_, _, b, _| crypto::inverse_mix(b);
    AesKey "AESKEYGENASSIST" |imm, _, b, _| crypto::key(b, imm);
    MultiplyCarryless "PCLMULQDQ" |imm, a, b, _| crypto::multiply(a, b, imm);
    Sha1Rounds "SHA1RNDS4" |imm, a, b, _| crypto::sha1_rounds(a, b, imm);
    Sha1Next "SHA1NEXTE" |_, a, b, _| crypto::sha1_next(a, b);
    Sha1First "SHA1MSG1" |_, a, b, _| crypto::sha1_first(a, b);
    Sha1Second "SHA1MSG2" |_, a, b, _| crypto::sha1_second(a, b);
    Sha256Rounds "SHA256RNDS2" |_, a, b, c| crypto::sha256_rounds(a, b, c);
    Sha256First "SHA256MSG1" |_, a, b, _| crypto::sha256_first(a, b);
    Sha256Second "SHA256MSG2" |_, a, b, _| crypto::sha256_second(a, b);
}

fn saturate16(value: i32) -> u16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16 as u16
}

/// The count of a shift: the low 64 bits.
fn count(b: u128) -> u32 {
    (b as u64).min(255) as u32
}

/// A function of neighbouring words, of *a* and then of *b*.
fn pairs16(a: u128, b: u128, f: impl Fn(i16, i16) -> i16) -> u128 {
    let (a, b) = (split16(a).map(|v| v as i16), split16(b).map(|v| v as i16));
    join16(std::array::from_fn(|i| {
        let (from, at) = if i < 4 { (&a, 2 * i) } else { (&b, 2 * i - 8) };
        f(from[at], from[at + 1]) as u16
    }))
}

/// The same of double words.
fn pairs32(a: u128, b: u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    let (a, b) = (split32(a), split32(b));
    join32([f(a[0], a[1]), f(a[2], a[3]), f(b[0], b[1]), f(b[2], b[3])])
}
