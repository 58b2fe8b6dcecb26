//! ZIP, UZP, TRN, REV, EXT and DUP as choices of bytes out of `m:n`: index 0 to 15 is a byte of n,
//! 16 to 31 one of m.

use crate::simd::Op;

/// For each permuting operation, element size (0 to 3) and Q, which bytes it chooses.
static PERMUTES: [[[[u8; 16]; 2]; 4]; 9] = {
    let mut table = [[[[0; 16]; 2]; 4]; 9];
    let mut i = 0;
    while i < 9 * 4 * 2 {
        let (number, size, q) = (i / 8, i / 2 % 4, i % 2);
        table[number][size][q] = compute(number, 1 << size, if q == 1 { 16 } else { 8 });
        i += 1;
    }
    table
};

/// The row of [`PERMUTES`] for an operation; 0 for those that are not listed.
const fn row(op: Op) -> usize {
    match op {
        Op::Zip2 => 1,
        Op::Uzp1 => 2,
        Op::Uzp2 => 3,
        Op::Trn1 => 4,
        Op::Trn2 => 5,
        Op::Rev64 => 6,
        Op::Rev32 => 7,
        Op::Rev16 => 8,
        _ => 0,
    }
}

/// The bytes of a vector of `bytes` bytes in elements of `element`.
const fn compute(row: usize, element: usize, bytes: usize) -> [u8; 16] {
    let count = bytes / element;
    let part = row % 2;
    let mut indices = [0; 16];
    let mut byte = 0;
    while byte < bytes {
        let e = byte / element;
        // Register (0 for n, 1 for m) and element that element `e` comes from.
        let (register, from) = match row {
            0 | 1 => (e % 2, part * count / 2 + e / 2),
            2 | 3 => (2 * e / count, 2 * e % count + part),
            4 | 5 => (e % 2, e - e % 2 + part),
            _ => {
                let container = (8 >> (row - 6)) / element;
                // A container is at least one element: larger elements are not allocated.
                let container = if container == 0 { 1 } else { container };
                (0, e - e % container + (container - 1 - e % container))
            }
        };
        indices[byte] = (16 * register + from * element + byte % element) as u8;
        byte += 1;
    }
    indices
}

/// ZIP, UZP, TRN, REV with elements of `8 << size` bits. Bytes above a 64-bit vector are of no
/// meaning.
#[inline(always)]
pub fn indices(op: Op, size: u32, q: bool) -> [u8; 16] {
    PERMUTES[row(op)][size as usize & 3][usize::from(q)]
}

/// EXT, from byte `start` of `m:n`.
#[inline(always)]
pub fn extract(start: u32, q: bool) -> [u8; 16] {
    std::array::from_fn(|i| {
        let byte = i as u8 + start as u8;
        // In a 64-bit vector, m follows after the eighth byte of n.
        if q || byte < 8 {
            byte & 31
        } else {
            (byte + 8) & 31
        }
    })
}

/// DUP of element `index` of n.
#[inline(always)]
pub fn replicate(size: u32, index: u32) -> [u8; 16] {
    let mask = (1 << (size & 3)) - 1;
    std::array::from_fn(|i| ((index << (size & 3)) as u8 & 15) | (i as u8 & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutes() {
        assert_eq!(
            indices(Op::Zip1, 0, true),
            [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23]
        );
        assert_eq!(
            indices(Op::Zip2, 0, false)[..8],
            [4, 20, 5, 21, 6, 22, 7, 23]
        );
        assert_eq!(
            indices(Op::Zip2, 3, true)[..],
            [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31]
        );
        assert_eq!(indices(Op::Uzp1, 0, true)[6..10], [12, 14, 16, 18]);
        assert_eq!(
            indices(Op::Uzp2, 1, false)[..8],
            [2, 3, 6, 7, 18, 19, 22, 23]
        );
        assert_eq!(
            indices(Op::Trn1, 0, false)[..8],
            [0, 16, 2, 18, 4, 20, 6, 22]
        );
        assert_eq!(
            indices(Op::Trn2, 2, true),
            [4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31]
        );
        assert_eq!(indices(Op::Rev64, 1, true)[..8], [6, 7, 4, 5, 2, 3, 0, 1]);
        assert_eq!(indices(Op::Rev16, 0, false)[..8], [1, 0, 3, 2, 5, 4, 7, 6]);
    }

    #[test]
    fn extraction_and_replication() {
        assert_eq!(extract(3, true)[12..], [15, 16, 17, 18]);
        assert_eq!(extract(3, false)[..8], [3, 4, 5, 6, 7, 16, 17, 18]);
        assert_eq!(replicate(1, 7)[..4], [14, 15, 14, 15]);
        assert_eq!(replicate(3, 1)[7..9], [15, 8]);
    }
}
