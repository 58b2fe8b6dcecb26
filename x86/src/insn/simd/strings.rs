//! PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM (SDM vol. 2, 4.1).

use super::lanes::{join8, join16, split8, split16};
use super::{Simd, finish, half_of, source};
use crate::X86;
use crate::insn::Operands;
use crate::regs::{ADJUST, CARRY, LESS, RAX, RCX, RDX, SIGN, ZERO, scratch};
use understudy_engine::emit::{Effects, Emit, Helper};

/// Lanes of a string, as numbers, and how many of them are valid.
fn elements(v: u128, imm: u8) -> Vec<i32> {
    match imm & 3 {
        0 => split8(v).map(i32::from).to_vec(),
        1 => split16(v).map(i32::from).to_vec(),
        2 => split8(v).map(|b| i32::from(b as i8)).to_vec(),
        _ => split16(v).map(|w| i32::from(w as i16)).to_vec(),
    }
}

/// The result of an aggregation, a bit for each lane, and the lengths of both strings.
fn aggregate(imm: u8, a: &[i32], b: &[i32], [len_a, len_b]: [usize; 2]) -> u32 {
    let count = a.len();
    let holds = |i: usize| match imm >> 2 & 3 {
        0 => i < len_b && a[..len_a].contains(&b[i]),
        1 => {
            i < len_b
                && a[..len_a]
                    .chunks_exact(2)
                    .any(|r| (r[0]..=r[1]).contains(&b[i]))
        }
        2 if i < len_a && i < len_b => a[i] == b[i],
        2 => i >= len_a && i >= len_b,
        // Where the second string begins with what is left of the first.
        _ => (0..len_a.min(count - i)).all(|j| i + j < len_b && a[j] == b[i + j]),
    };
    let bits = (0..count).fold(0, |bits, i| bits | u32::from(holds(i)) << i);
    match imm >> 4 & 3 {
        1 => !bits & ((1 << count) - 1),
        3 => bits ^ ((1 << len_b) - 1),
        _ => bits,
    }
}

/// An explicit length: its magnitude, at most all lanes.
fn explicit(length: u64, count: usize) -> usize {
    (length as i64).unsigned_abs().min(count as u64) as usize
}

/// Bits 7:0 of the result are ECX, if that is asked for; bits 8 to 11 CF, ZF, SF and OF. The mask goes to
/// scratch.
static COMPARE: Helper<X86> = Helper {
    name: "pcmpstr",
    call: |cpu, [info, first, second, _]| {
        let imm = info as u8;
        let (is_explicit, wide) = (info >> 8 & 1 != 0, info >> 9 & 1 != 0);
        let [v, w] = [scratch::A, scratch::B].map(|p| cpu.vec_get(scratch::half(p, 0)));
        let (a, b) = (elements(v, imm), elements(w, imm));
        let count = a.len();
        let lengths = if is_explicit {
            [first, second].map(|length| {
                let length = if wide { length } else { length as i32 as u64 };
                explicit(length, count)
            })
        } else {
            [&a, &b].map(|s| s.iter().position(|lane| *lane == 0).unwrap_or(count))
        };
        let bits = aggregate(imm, &a, &b, lengths);
        let mask = match imm >> 6 & 1 {
            0 => bits.into(),
            _ if count == 16 => join8(std::array::from_fn(|i| 0xff * (bits >> i & 1) as u8)),
            _ => join16(std::array::from_fn(|i| 0xffff * (bits >> i & 1) as u16)),
        };
        cpu.vec_put(scratch::half(scratch::R, 0), mask);
        let index = match (bits, imm >> 6 & 1) {
            (0, _) => count as u32,
            (_, 0) => bits.trailing_zeros(),
            _ => 31 - bits.leading_zeros(),
        };
        let flags = [
            bits != 0,
            lengths[1] < count,
            lengths[0] < count,
            bits & 1 != 0,
        ];
        let flags = (8..)
            .zip(flags)
            .fold(0, |all, (bit, set)| all | u64::from(set) << bit);
        Ok(u64::from(index) | flags)
    },
    effects: Effects {
        reads: scratch::OPERANDS,
        writes: scratch::RESULT,
        stops: false,
    },
};

/// `EXPLICIT`: lengths are in RAX and RDX, of which `WIDE` says whether 64 bits count. `MASK`: XMM0 is
/// the result, else ECX.
pub(super) fn compare<
    E: Emit<Arch = X86>,
    const EXPLICIT: bool,
    const WIDE: bool,
    const MASK: bool,
>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let p = &o.simd;
    let [b, _] = source(e, o)?;
    let a = e.vec_get(half_of(p.n, 0));
    e.vec_put(scratch::half(scratch::A, 0), a);
    e.vec_put(scratch::half(scratch::B, 0), b);
    let info = u64::from(p.imm) | u64::from(EXPLICIT) << 8 | u64::from(WIDE) << 9;
    let info = e.imm(info);
    let (first, second) = (e.get(RAX), e.get(RDX));
    let found = e.call(&COMPARE, &[info, first, second])?;
    if MASK {
        let mask = e.vec_get(scratch::half(scratch::R, 0));
        finish(e, &Simd { d: 0, ..*p }, [mask; 2]);
    } else {
        let index = e.and_imm(found, 0xff);
        e.put(RCX, index);
    }
    let mut bit = |number| {
        let bit = e.shr_imm(found, number);
        e.and_imm(bit, 1)
    };
    let [carry, zero, sign, overflow] = [8, 9, 10, 11].map(&mut bit);
    e.put(CARRY, carry);
    let one = e.imm(1);
    let not_zero = e.xor(zero, one);
    e.put(ZERO, not_zero);
    let less = e.xor(sign, overflow);
    e.put(LESS, less);
    // Of odd parity.
    let top = e.shl_imm(sign, 63);
    let sign = e.or(top, one);
    e.put(SIGN, sign);
    let none = e.imm(0);
    e.put(ADJUST, none);
    Ok(())
}
