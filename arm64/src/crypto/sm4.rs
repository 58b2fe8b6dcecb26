//! SM4E, SM4EKEY: four rounds of GB/T 32907-2016's SM4, of a block and of its key schedule.

use crate::simd::{Lane, Operands};
use understudy_engine::gf256;

/// The field's polynomial, x^8 + x^7 + x^6 + x^5 + x^4 + x^2 + 1, without x^8.
const POLYNOMIAL: u8 = 0xf5;

/// The affine map before and after the inversion.
const fn affine(x: u8) -> u8 {
    x ^ x.rotate_left(1) ^ x.rotate_left(3) ^ x.rotate_left(6) ^ x.rotate_left(7) ^ 0xd3
}

/// The standard's table of substitutions, which is an inversion in GF(2^8) between affine maps.
const SBOX: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let x = affine(i as u8);
        table[i] = affine(gf256::invert(x, POLYNOMIAL));
        i += 1;
    }
    table
};

/// Four rounds on the state with these round keys, and this linear map after the substitutions.
fn rounds(state: u128, keys: u128, linear: fn(u32) -> u32) -> u128 {
    let mut x = u32::split(state);
    for key in u32::split(keys) {
        let mixed = x[1] ^ x[2] ^ x[3] ^ key;
        let substituted = mixed.to_le_bytes().map(|byte| SBOX[usize::from(byte)]);
        let next = x[0] ^ linear(u32::from_le_bytes(substituted));
        x = [x[1], x[2], x[3], next];
    }
    u32::join(x)
}

/// SM4E: rounds of the block `d` with the round keys `n`.
pub fn sm4e(o: &mut Operands) -> u128 {
    rounds(o.d, o.n, |b| {
        b ^ b.rotate_left(2) ^ b.rotate_left(10) ^ b.rotate_left(18) ^ b.rotate_left(24)
    })
}

/// SM4EKEY: the next four round keys after `n`, with the constants `m`.
pub fn sm4ekey(o: &mut Operands) -> u128 {
    rounds(o.n, o.m, |b| b ^ b.rotate_left(13) ^ b.rotate_left(23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitutions_are_the_standards() {
        assert_eq!(SBOX[..8], [0xd6, 0x90, 0xe9, 0xfe, 0xcc, 0xe1, 0x3d, 0xb7]);
        assert_eq!(SBOX[0xef], 0x84);
        assert_eq!(SBOX[255], 0x48);
    }

    /// GB/T 32907's first example: the key encrypts itself.
    #[test]
    fn block_of_the_standard() {
        let text = [0x0123_4567u32, 0x89ab_cdef, 0xfedc_ba98, 0x7654_3210];
        let fk = [0xa3b1_bac6u32, 0x56aa_3350, 0x677d_9197, 0xb270_22dc];
        let mut key = u32::join(std::array::from_fn(|i| text[i] ^ fk[i]));
        let mut state = u32::join(text);
        for i in 0..8 {
            let constants = std::array::from_fn(|j| {
                let bytes = std::array::from_fn(|k| (16 * i + 4 * j + k) as u8);
                u32::from_be_bytes(bytes.map(|byte: u8| byte.wrapping_mul(7)))
            });
            key = sm4ekey(&mut Operands {
                n: key,
                m: u32::join(constants),
                ..Default::default()
            });
            state = sm4e(&mut Operands {
                d: state,
                n: key,
                ..Default::default()
            });
        }
        let mut end = u32::split(state);
        end.reverse();
        assert_eq!(end, [0x681e_df34, 0xd206_965e, 0x86b3_e94f, 0x536e_4246]);
    }
}
