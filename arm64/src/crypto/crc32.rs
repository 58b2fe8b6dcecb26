//! CRC32B, CRC32H, CRC32W, CRC32X and CRC32CB, CRC32CH, CRC32CW, CRC32CX.
//!
//! The Arm ARM reverses operands and result around a division by the polynomial; dividing by the
//! reversed polynomial from the other end, as here, is the same. The instructions neither preset
//! nor complement the accumulator.

const fn table(reversed_polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut remainder = i as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = remainder & 1;
            remainder = (remainder >> 1) ^ (reversed_polynomial & carry.wrapping_neg());
            bit += 1;
        }
        table[i] = remainder;
        i += 1;
    }
    table
}

/// 0x04C11DB7, reversed.
static CRC32: [u32; 256] = table(0xedb8_8320);
/// 0x1EDC6F41 (Castagnoli), reversed.
static CRC32C: [u32; 256] = table(0x82f6_3b78);

fn update(table: &[u32; 256], acc: u32, value: u64, bytes: u32) -> u32 {
    value
        .to_le_bytes()
        .into_iter()
        .take(bytes as usize)
        .fold(acc, |acc, byte| {
            (acc >> 8) ^ table[usize::from(acc as u8 ^ byte)]
        })
}

/// CRC32B, H, W, X: `acc` updated with the low `bytes` (1, 2, 4, 8) of `value`.
pub fn crc32(acc: u32, value: u64, bytes: u32) -> u32 {
    update(&CRC32, acc, value, bytes)
}

/// CRC32CB, CH, CW, CX: `acc` updated with the low `bytes` (1, 2, 4, 8) of `value`.
pub fn crc32c(acc: u32, value: u64, bytes: u32) -> u32 {
    update(&CRC32C, acc, value, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of both polynomials: the CRC of "123456789", preset and complemented.
    #[test]
    fn check_values() {
        for (f, check) in [
            (crc32 as fn(u32, u64, u32) -> u32, 0xcbf4_3926),
            (crc32c, 0xe306_9283),
        ] {
            let first = f(!0, u64::from_le_bytes(*b"12345678"), 8);
            assert_eq!(!f(first, b'9'.into(), 1), check);
            let words = f(f(!0, 0x3433_3231, 4), 0x3837_3635, 4);
            assert_eq!(words, first);
            let halves = f(f(words, 0x4139, 2), 0, 0);
            assert_eq!(halves, f(f(first, 0x39, 1), 0x41, 1));
        }
    }

    #[test]
    fn only_the_low_bytes_count() {
        assert_eq!(crc32(7, 0xffff_ff00, 1), crc32(7, 0, 1));
    }
}
