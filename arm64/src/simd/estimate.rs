//! Reciprocal estimates in fixed point: URECPE, URSQRTE, and the tables behind FRECPE and FRSQRTE.

use super::lane::{Operands, map1};

/// `RecipEstimate`: of a value 256 to 511, in units of 1/512, the reciprocal's nearest estimate,
/// 256 to 511, in units of 1/256.
pub fn recip_estimate(a: u32) -> u32 {
    let a = a * 2 + 1;
    ((1 << 19) / a).div_ceil(2)
}

/// `RecipSqrtEstimate`: of a value 128 to 511, in units of 1/512, the reciprocal square root's
/// nearest estimate, 256 to 511, in units of 1/256.
pub fn recip_sqrt_estimate(a: u32) -> u32 {
    let a = if a < 256 {
        a * 2 + 1
    } else {
        ((a >> 1 << 1) + 1) * 2
    };
    let mut b = 512;
    while a * (b + 1) * (b + 1) < 1 << 28 {
        b += 1;
    }
    u32::midpoint(b, 1)
}

/// URECPE: `UnsignedRecipEstimate` of each word.
pub fn urecpe(o: &mut Operands) -> u128 {
    map1::<u32>(o.n, |n| {
        if n >> 31 == 0 {
            u32::MAX
        } else {
            recip_estimate(n >> 23) << 23
        }
    })
}

/// URSQRTE: `UnsignedRSqrtEstimate` of each word.
pub fn ursqrte(o: &mut Operands) -> u128 {
    map1::<u32>(o.n, |n| {
        if n >> 30 == 0 {
            u32::MAX
        } else {
            recip_sqrt_estimate(n >> 23) << 23
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_within_their_range_and_error() {
        for a in 256..512 {
            let estimate = recip_estimate(a);
            assert!((256..512).contains(&estimate));
            let exact = 512.0 / (f64::from(a) + 0.5) * 256.0;
            assert!(
                (f64::from(estimate) - exact).abs() <= 0.5 + 1e-9,
                "{a}: {estimate} {exact}"
            );
        }
        for a in 128..512 {
            let estimate = recip_sqrt_estimate(a);
            assert!((256..512).contains(&estimate));
            let middle = if a < 256 {
                f64::from(a) + 0.5
            } else {
                f64::from(a & !1) + 1.0
            };
            let exact = (512.0 / middle).sqrt() * 256.0;
            assert!(
                (f64::from(estimate) - exact).abs() <= 1.0,
                "{a}: {estimate} {exact}"
            );
        }
    }

    #[test]
    fn values_below_the_range_give_ones() {
        let mut o = Operands {
            n: 0x7fff_ffff_8000_0000_3fff_ffff_4000_0000,
            ..Default::default()
        };
        let all = urecpe(&mut o);
        assert_eq!(all >> 96, 0xffff_ffff);
        assert_eq!((all >> 64) as u32, 0xff80_0000);
        assert_eq!((ursqrte(&mut o) >> 32) as u32, 0xffff_ffff);
        assert_eq!(ursqrte(&mut o) as u32, 0xff80_0000);
    }
}
