//! Table lookup. Other moves between lanes are emitted, see `insn::simd_shuffle`.

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
