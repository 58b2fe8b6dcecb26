//! The steps of AES (FIPS 197, section 5) on a state of 16 bytes, as a little-endian number: byte
//! `r + 4c` is row r of column c. An architecture's instructions are these in its own order.

#![forbid(unsafe_code)]

use crate::gf256;

/// The field's polynomial, x^8 + x^4 + x^3 + x + 1 (FIPS 197, 4.2), without x^8.
pub const POLYNOMIAL: u8 = 0x1b;

static SBOX: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        // The inverse, then the affine map.
        let x = gf256::invert(i as u8, POLYNOMIAL);
        table[i] =
            x ^ x.rotate_left(1) ^ x.rotate_left(2) ^ x.rotate_left(3) ^ x.rotate_left(4) ^ 0x63;
        i += 1;
    }
    table
};

static INVERSE_SBOX: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[SBOX[i] as usize] = i as u8;
        i += 1;
    }
    table
};

/// One column times a circulant matrix whose first column is `factors`, as a table by the byte's
/// value, for row 0; the other rows' are rotations of it.
const fn columns(factors: [u8; 4]) -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let x = i as u8;
        table[i] = u32::from_le_bytes([
            gf256::multiply(x, factors[0], POLYNOMIAL),
            gf256::multiply(x, factors[1], POLYNOMIAL),
            gf256::multiply(x, factors[2], POLYNOMIAL),
            gf256::multiply(x, factors[3], POLYNOMIAL),
        ]);
        i += 1;
    }
    table
}

static MIX: [u32; 256] = columns([2, 1, 1, 3]);
static INVERSE_MIX: [u32; 256] = columns([14, 9, 13, 11]);

/// Substitutes each byte, and moves row r by `r * by` columns to the left.
fn substitute_and_shift(state: u128, by: usize, table: &[u8; 256]) -> u128 {
    let state = state.to_le_bytes();
    u128::from_le_bytes(std::array::from_fn(|i| {
        let (row, column) = (i % 4, i / 4);
        table[usize::from(state[row + 4 * ((column + by * row) % 4)])]
    }))
}

fn mix(state: u128, table: &[u32; 256]) -> u128 {
    let mut mixed = 0;
    for column in (0..4).rev() {
        let bytes = ((state >> (32 * column)) as u32).to_le_bytes();
        let sum = (0..4).fold(0, |sum, row| {
            sum ^ table[usize::from(bytes[row])].rotate_left(8 * row as u32)
        });
        mixed = mixed << 32 | u128::from(sum);
    }
    mixed
}

/// SubBytes and ShiftRows, in either order.
pub fn sub_bytes_shift_rows(state: u128) -> u128 {
    substitute_and_shift(state, 1, &SBOX)
}

/// InvSubBytes and InvShiftRows, in either order.
pub fn inverse_sub_bytes_shift_rows(state: u128) -> u128 {
    substitute_and_shift(state, 3, &INVERSE_SBOX)
}

/// MixColumns.
pub fn mix_columns(state: u128) -> u128 {
    mix(state, &MIX)
}

/// InvMixColumns.
pub fn inverse_mix_columns(state: u128) -> u128 {
    mix(state, &INVERSE_MIX)
}

/// SubWord of the key expansion: SubBytes of four bytes.
pub fn sub_word(word: u32) -> u32 {
    let bytes = word.to_le_bytes();
    u32::from_le_bytes(bytes.map(|byte| SBOX[usize::from(byte)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitution_boxes() {
        assert_eq!((SBOX[0], SBOX[0x53], SBOX[0xff]), (0x63, 0xed, 0x16));
        assert!((0..=255u8).all(|x| INVERSE_SBOX[usize::from(SBOX[usize::from(x)])] == x));
    }
}
