//! AESE, AESD, AESMC, AESIMC: the steps of FIPS 197, a half of a round each.

use crate::simd::Operands;
use understudy_engine::aes;

/// AESE: AddRoundKey (`d ^ n`), ShiftRows, SubBytes.
pub fn aese(o: &mut Operands) -> u128 {
    aes::sub_bytes_shift_rows(o.d ^ o.n)
}

/// AESD: AddRoundKey (`d ^ n`), InvShiftRows, InvSubBytes.
pub fn aesd(o: &mut Operands) -> u128 {
    aes::inverse_sub_bytes_shift_rows(o.d ^ o.n)
}

/// AESMC: MixColumns of `n`.
pub fn aesmc(o: &mut Operands) -> u128 {
    aes::mix_columns(o.n)
}

/// AESIMC: InvMixColumns of `n`.
pub fn aesimc(o: &mut Operands) -> u128 {
    aes::inverse_mix_columns(o.n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use understudy_engine::gf256;

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
                word = aes::sub_word(u32::from_le_bytes(word)).to_le_bytes();
                word[0] ^= rcon;
                rcon = gf256::multiply(rcon, 2, aes::POLYNOMIAL);
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
}
