//! AESE, AESD, AESMC, AESIMC: the steps of FIPS 197 on a state whose byte `r + 4c` is row r of
//! column c.

use crate::simd::Operands;

/// The product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
const fn gf_mul(a: u8, b: u8) -> u8 {
    let (mut product, mut a, mut bit) = (0, a, 0);
    while bit < 8 {
        if b >> bit & 1 == 1 {
            product ^= a;
        }
        a = (a << 1) ^ if a >> 7 == 1 { 0x1b } else { 0 };
        bit += 1;
    }
    product
}

/// SubBytes of one byte: the inverse in GF(2^8), then the affine map.
const fn sub_byte(x: u8) -> u8 {
    // x^254 is the inverse (and 0 for 0): the product of x^2, x^4 ... x^128.
    let (mut inverse, mut power, mut i) = (1, x, 1);
    while i < 8 {
        power = gf_mul(power, power);
        inverse = gf_mul(inverse, power);
        i += 1;
    }
    inverse
        ^ inverse.rotate_left(1)
        ^ inverse.rotate_left(2)
        ^ inverse.rotate_left(3)
        ^ inverse.rotate_left(4)
        ^ 0x63
}

const SBOX: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = sub_byte(i as u8);
        i += 1;
    }
    table
};

const INVERSE_SBOX: [u8; 256] = {
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
            gf_mul(x, factors[0]),
            gf_mul(x, factors[1]),
            gf_mul(x, factors[2]),
            gf_mul(x, factors[3]),
        ]);
        i += 1;
    }
    table
}

static MIX: [u32; 256] = columns([2, 1, 1, 3]);
static INVERSE_MIX: [u32; 256] = columns([14, 9, 13, 11]);

/// Moves row r by `r * by` columns to the left, and substitutes each byte.
fn shift_rows_and_sub(state: u128, by: usize, table: &[u8; 256]) -> u128 {
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

/// AESE: AddRoundKey (`d ^ n`), ShiftRows, SubBytes.
pub fn aese(o: &mut Operands) -> u128 {
    shift_rows_and_sub(o.d ^ o.n, 1, &SBOX)
}

/// AESD: AddRoundKey (`d ^ n`), InvShiftRows, InvSubBytes.
pub fn aesd(o: &mut Operands) -> u128 {
    shift_rows_and_sub(o.d ^ o.n, 3, &INVERSE_SBOX)
}

/// AESMC: MixColumns of `n`.
pub fn aesmc(o: &mut Operands) -> u128 {
    mix(o.n, &MIX)
}

/// AESIMC: InvMixColumns of `n`.
pub fn aesimc(o: &mut Operands) -> u128 {
    mix(o.n, &INVERSE_MIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(f: fn(&mut Operands) -> u128, d: u128, n: u128) -> u128 {
        f(&mut Operands {
            d,
            n,
            ..Default::default()
        })
    }

    /// The round keys of FIPS 197 section 5.2 for 128 bits.
    fn expand(key: [u8; 16]) -> [u128; 11] {
        let mut words: Vec<[u8; 4]> = key.chunks(4).map(|w| w.try_into().unwrap()).collect();
        let mut rcon = 1;
        for i in 4..44 {
            let mut word: [u8; 4] = words[i - 1];
            if i % 4 == 0 {
                word.rotate_left(1);
                word = word.map(|b| SBOX[usize::from(b)]);
                word[0] ^= rcon;
                rcon = gf_mul(rcon, 2);
            }
            words.push(std::array::from_fn(|b| word[b] ^ words[i - 4][b]));
        }
        std::array::from_fn(|r| {
            u128::from_le_bytes(words[4 * r..4 * r + 4].concat().try_into().unwrap())
        })
    }

    /// FIPS 197 appendix C.1, encrypted and decrypted with the instructions as software uses them.
    #[test]
    fn fips_197_example() {
        let keys = expand(std::array::from_fn(|i| i as u8));
        let plain = u128::from_le_bytes(std::array::from_fn(|i| 0x11 * i as u8));
        let cipher = u128::from_le_bytes([
            0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4,
            0xc5, 0x5a,
        ]);
        let mut state = plain;
        for key in &keys[..9] {
            state = run(aesmc, 0, run(aese, state, *key));
        }
        assert_eq!(run(aese, state, keys[9]) ^ keys[10], cipher);

        let mut state = run(aesd, cipher, keys[10]);
        for key in keys[1..10].iter().rev() {
            state = run(aesd, run(aesimc, 0, state), run(aesimc, 0, *key));
        }
        assert_eq!(state ^ keys[0], plain);
    }

    #[test]
    fn substitution_boxes() {
        assert_eq!((SBOX[0], SBOX[0x53], SBOX[0xff]), (0x63, 0xed, 0x16));
        assert!((0..=255u8).all(|x| INVERSE_SBOX[usize::from(SBOX[usize::from(x)])] == x));
    }
}
