//! The immediates of MOVI, MVNI, ORR, BIC and FMOV (vector, immediate).

/// `AdvSIMDExpandImm`: the 64 bits that op, cmode and imm8 stand for, or `None` where op is 1,
/// cmode 15 (FMOV of doubles) and the vector short, which the caller has to tell by Q: the value
/// is given regardless.
///
/// MVNI and BIC invert the result, which is not done here.
pub fn expand(op: u32, cmode: u32, imm8: u32) -> u64 {
    let byte = u64::from(imm8 & 0xff);
    let words = |word: u64| word | word << 32;
    let halves = |half: u64| half.wrapping_mul(0x0001_0001_0001_0001);
    match cmode & 15 {
        shifted @ 0..=7 => words(byte << (8 * (shifted >> 1))),
        shifted @ 8..=11 => halves(byte << (8 * ((shifted >> 1) & 1))),
        12 => words(byte << 8 | 0xff),
        13 => words(byte << 16 | 0xffff),
        14 if op & 1 == 0 => byte.wrapping_mul(0x0101_0101_0101_0101),
        14 => (0..8).fold(0, |sum, i| {
            sum | if byte >> i & 1 == 1 {
                0xff << (8 * i)
            } else {
                0
            }
        }),
        _ if op & 1 == 0 => words(expand_fp(byte, 32)),
        _ => expand_fp(byte, 64),
    }
}

/// `VFPExpandImm`: sign, a 3-bit exponent whose top bit is inverted and repeated, 4 fraction bits;
/// `bits` is 16, 32 or 64.
pub fn expand_fp(imm8: u64, bits: u32) -> u64 {
    let exponent_bits = match bits {
        16 => 5,
        32 => 8,
        _ => 11,
    };
    let fraction_bits = bits - exponent_bits - 1;
    let high = imm8 >> 6 & 1;
    let repeated = if high == 1 {
        (1 << (exponent_bits - 3)) - 1
    } else {
        0
    };
    let exponent = (high ^ 1) << (exponent_bits - 1) | repeated << 2 | (imm8 >> 4 & 3);
    (imm8 >> 7 & 1) << (bits - 1) | exponent << fraction_bits | (imm8 & 15) << (fraction_bits - 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cmode() {
        assert_eq!(expand(0, 0, 0xab), 0x0000_00ab_0000_00ab);
        assert_eq!(expand(0, 6, 0xab), 0xab00_0000_ab00_0000);
        assert_eq!(expand(0, 8, 0xab), 0x00ab_00ab_00ab_00ab);
        assert_eq!(expand(0, 10, 0xab), 0xab00_ab00_ab00_ab00);
        assert_eq!(expand(0, 12, 0xab), 0x0000_abff_0000_abff);
        assert_eq!(expand(1, 13, 0xab), 0x00ab_ffff_00ab_ffff);
        assert_eq!(expand(0, 14, 0xab), 0xabab_abab_abab_abab);
        assert_eq!(expand(1, 14, 0b1000_0110), 0xff00_0000_00ff_ff00);
    }

    #[test]
    fn floating_point_immediates() {
        let single = |v: f32| u64::from(v.to_bits()) << 32 | u64::from(v.to_bits());
        assert_eq!(expand(0, 15, 0x70), single(1.0));
        assert_eq!(expand(0, 15, 0x00), single(2.0));
        assert_eq!(expand(0, 15, 0xff), single(-1.9375));
        assert_eq!(expand(1, 15, 0x40), 0.125f64.to_bits());
        assert_eq!(expand(1, 15, 0xbf), (-31.0f64).to_bits());
        assert_eq!(expand_fp(0x70, 16), 0x3c00);
    }
}
