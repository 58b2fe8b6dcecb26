//! Moves between lanes: ZIP, UZP, TRN, EXT, REV, table lookup.

use super::lane::{Lane, Operands, low_bits};

/// How many elements the vector has.
fn count<L: Lane>(o: &Operands) -> usize {
    o.bytes() * 8 / L::BITS as usize
}

fn gather<L: Lane>(o: &Operands, mut from: impl FnMut(&[L], &[L], usize) -> L) -> u128 {
    let (n, m) = (L::split(o.n), L::split(o.m));
    let mut d = L::split(0);
    for (e, d) in d.as_mut()[..count::<L>(o)].iter_mut().enumerate() {
        *d = from(n.as_ref(), m.as_ref(), e);
    }
    L::join(d)
}

/// ZIP1 (`PART` 0), ZIP2 (1): interleaves the lower or upper halves.
pub fn zip<L: Lane, const PART: usize>(o: &mut Operands) -> u128 {
    let base = PART * count::<L>(o) / 2;
    gather::<L>(o, |n, m, e| {
        if e % 2 == 0 {
            n[base + e / 2]
        } else {
            m[base + e / 2]
        }
    })
}

/// UZP1 (`PART` 0), UZP2 (1): the even or odd elements of `n`, then of `m`.
pub fn uzp<L: Lane, const PART: usize>(o: &mut Operands) -> u128 {
    let half = count::<L>(o) / 2;
    gather::<L>(o, |n, m, e| {
        if e < half {
            n[2 * e + PART]
        } else {
            m[2 * (e - half) + PART]
        }
    })
}

/// TRN1 (`PART` 0), TRN2 (1): the even or odd elements of `n` and `m` in turn.
pub fn trn<L: Lane, const PART: usize>(o: &mut Operands) -> u128 {
    gather::<L>(o, |n, m, e| {
        if e % 2 == 0 {
            n[e + PART]
        } else {
            m[e - 1 + PART]
        }
    })
}

/// EXT: the vector that begins `imm` bytes into `m:n`.
pub fn ext(o: &mut Operands) -> u128 {
    let (bits, by) = (8 * o.bytes() as u32, 8 * o.imm);
    if by == 0 {
        return o.n;
    }
    let (n, m) = (o.n & low_bits(bits), o.m & low_bits(bits));
    ((n >> (by & 127)) | (m << ((bits - by) & 127))) & low_bits(bits)
}

/// REV16, REV32, REV64: reverses the elements in each container of `CONTAINER` bits.
pub fn rev<L: Lane, const CONTAINER: usize>(o: &mut Operands) -> u128 {
    let mut d = L::split(o.n);
    for container in d.as_mut().chunks_exact_mut(CONTAINER / L::BITS as usize) {
        container.reverse();
    }
    L::join(d)
}

/// TBL, TBX: each byte of `indices` selects a byte of `table`; an index beyond it leaves the byte
/// of `old` (zero for TBL).
pub fn table(table: &[u128], indices: u128, old: u128) -> u128 {
    let (indices, mut d) = (indices.to_le_bytes(), old.to_le_bytes());
    for (d, index) in d.iter_mut().zip(indices) {
        if let Some(register) = table.get(usize::from(index >> 4)) {
            *d = (register >> (8 * (index & 15))) as u8;
        }
    }
    u128::from_le_bytes(d)
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: u128 = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;
    const M: u128 = 0x1f1e_1d1c_1b1a_1918_1716_1514_1312_1110;

    fn on(q: bool, imm: u32) -> Operands {
        Operands {
            n: N,
            m: M,
            q,
            imm,
            ..Default::default()
        }
    }

    #[test]
    fn interleaving() {
        assert_eq!(
            zip::<u8, 0>(&mut on(true, 0)),
            0x1707_1606_1505_1404_1303_1202_1101_1000
        );
        assert_eq!(zip::<u8, 1>(&mut on(false, 0)), 0x1707_1606_1505_1404);
        assert_eq!(zip::<u64, 1>(&mut on(true, 0)), M >> 64 << 64 | N >> 64);
        assert_eq!(
            uzp::<u8, 0>(&mut on(true, 0)),
            0x1e1c_1a18_1614_1210_0e0c_0a08_0604_0200
        );
        assert_eq!(uzp::<u16, 1>(&mut on(false, 0)), 0x1716_1312_0706_0302);
        assert_eq!(trn::<u8, 0>(&mut on(false, 0)), 0x1606_1404_1202_1000);
        assert_eq!(
            trn::<u32, 1>(&mut on(true, 0)),
            0x1f1e_1d1c_0f0e_0d0c_1716_1514_0706_0504
        );
    }

    #[test]
    fn extraction_crosses_the_registers() {
        assert_eq!(ext(&mut on(true, 0)), N);
        assert_eq!(ext(&mut on(true, 15)), M << 8 | 0x0f);
        assert_eq!(ext(&mut on(false, 3)), 0x1211_1007_0605_0403);
    }

    #[test]
    fn reversal_within_containers() {
        assert_eq!(
            rev::<u8, 16>(&mut on(true, 0)),
            0x0e0f_0c0d_0a0b_0809_0607_0405_0203_0001
        );
        assert_eq!(
            rev::<u16, 32>(&mut on(true, 0)),
            0x0d0c_0f0e_0908_0b0a_0504_0706_0100_0302
        );
        assert_eq!(
            rev::<u32, 64>(&mut on(true, 0)),
            0x0b0a_0908_0f0e_0d0c_0302_0100_0706_0504
        );
    }

    #[test]
    fn lookups_beyond_the_table_leave_the_old_byte() {
        let indices = 0xff40_2010_1f00;
        assert_eq!(table(&[N, M], indices, 0), 0x0010_1f00);
        assert_eq!(
            table(&[N], indices, u128::MAX) & 0xffff_ffff_ffff,
            0xffff_ffff_ff00
        );
        assert_eq!(table(&[N, M, N, M], 0x3f, 0), 0x1f);
    }
}
