//! AES, SHA-1, SHA-256 and carry-less products (SDM vol. 1, 12.13 and 5.12 to 5.18; FIPS 197 and
//! 180-4).

use super::lanes::*;
use understudy_engine::aes;

/// AESENC, and AESENCLAST.
pub(super) fn encrypt(state: u128, key: u128, last: bool) -> u128 {
    let state = aes::sub_bytes_shift_rows(state);
    let mixed = if last { state } else { aes::mix_columns(state) };
    mixed ^ key
}

/// AESDEC, and AESDECLAST.
pub(super) fn decrypt(state: u128, key: u128, last: bool) -> u128 {
    let state = aes::inverse_sub_bytes_shift_rows(state);
    let mixed = if last { state } else { inverse_mix(state) };
    mixed ^ key
}

/// AESIMC.
pub(super) fn inverse_mix(state: u128) -> u128 {
    aes::inverse_mix_columns(state)
}

/// AESKEYGENASSIST.
pub(super) fn key(b: u128, constant: u8) -> u128 {
    let [_, x1, _, x3] = split32(b).map(aes::sub_word);
    let rotated = |x: u32| x.rotate_right(8) ^ u32::from(constant);
    join32([x1, rotated(x1), x3, rotated(x3)])
}

/// PCLMULQDQ.
pub(super) fn multiply(a: u128, b: u128, imm: u8) -> u128 {
    let a = split64(a)[usize::from(imm & 1)];
    let b = split64(b)[usize::from(imm >> 4 & 1)];
    (0..64)
        .filter(|bit| b >> bit & 1 != 0)
        .fold(0, |sum, bit| sum ^ u128::from(a) << bit)
}

/// SHA1RNDS4: four rounds, of which `imm` chooses function and constant. Lane 3 is A, and W0.
pub(super) fn sha1_rounds(a: u128, b: u128, imm: u8) -> u128 {
    const CONSTANTS: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];
    let kind = usize::from(imm & 3);
    let [mut d, mut c, mut b1, mut a1] = split32(a);
    let mut e = 0u32;
    for w in split32(b).into_iter().rev() {
        let f = match kind {
            0 => b1 & c ^ !b1 & d,
            2 => b1 & c ^ b1 & d ^ c & d,
            _ => b1 ^ c ^ d,
        };
        // W0 has E in it already.
        let next = f
            .wrapping_add(a1.rotate_left(5))
            .wrapping_add(w)
            .wrapping_add(e)
            .wrapping_add(CONSTANTS[kind]);
        (e, d, c, b1, a1) = (d, c, b1.rotate_left(30), a1, next);
    }
    join32([d, c, b1, a1])
}

/// SHA1NEXTE.
pub(super) fn sha1_next(a: u128, b: u128) -> u128 {
    let e = split32(a)[3].rotate_left(30);
    let [w0, w1, w2, w3] = split32(b);
    join32([w0, w1, w2, w3.wrapping_add(e)])
}

/// SHA1MSG1.
pub(super) fn sha1_first(a: u128, b: u128) -> u128 {
    a ^ (a << 64 | b >> 64)
}

/// SHA1MSG2.
pub(super) fn sha1_second(a: u128, b: u128) -> u128 {
    let [a3, a2, a1, a0] = split32(a);
    let [w15, w14, w13, _] = split32(b);
    let w16 = (a0 ^ w13).rotate_left(1);
    let w17 = (a1 ^ w14).rotate_left(1);
    let w18 = (a2 ^ w15).rotate_left(1);
    let w19 = (a3 ^ w16).rotate_left(1);
    join32([w19, w18, w17, w16])
}

fn small_sigma0(w: u32) -> u32 {
    w.rotate_right(7) ^ w.rotate_right(18) ^ w >> 3
}

fn small_sigma1(w: u32) -> u32 {
    w.rotate_right(17) ^ w.rotate_right(19) ^ w >> 10
}

/// SHA256RNDS2: *a* holds CDGH, *b* ABEF, *c* two words to which the constants are added.
pub(super) fn sha256_rounds(a: u128, b: u128, c: u128) -> u128 {
    let [mut h, mut g, mut d, mut c1] = split32(a);
    let [mut f, mut e, mut b1, mut a1] = split32(b);
    for wk in split32(c).into_iter().take(2) {
        let choice = e & f ^ !e & g;
        let majority = a1 & b1 ^ a1 & c1 ^ b1 & c1;
        let sigma1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let sigma0 = a1.rotate_right(2) ^ a1.rotate_right(13) ^ a1.rotate_right(22);
        let t1 = h.wrapping_add(sigma1).wrapping_add(choice).wrapping_add(wk);
        let t2 = sigma0.wrapping_add(majority);
        (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
        (d, c1, b1, a1) = (c1, b1, a1, t1.wrapping_add(t2));
    }
    join32([f, e, b1, a1])
}

/// SHA256MSG1.
pub(super) fn sha256_first(a: u128, b: u128) -> u128 {
    let [w0, w1, w2, w3] = split32(a);
    let [w4, ..] = split32(b);
    let next = |w: u32, after: u32| w.wrapping_add(small_sigma0(after));
    join32([next(w0, w1), next(w1, w2), next(w2, w3), next(w3, w4)])
}

/// SHA256MSG2.
pub(super) fn sha256_second(a: u128, b: u128) -> u128 {
    let [a0, a1, a2, a3] = split32(a);
    let [.., w14, w15] = split32(b);
    let w16 = a0.wrapping_add(small_sigma1(w14));
    let w17 = a1.wrapping_add(small_sigma1(w15));
    let w18 = a2.wrapping_add(small_sigma1(w16));
    let w19 = a3.wrapping_add(small_sigma1(w17));
    join32([w16, w17, w18, w19])
}
