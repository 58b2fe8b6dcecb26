//! 128 bits as lanes.

/// The lanes of a vector, the lowest first, and back.
macro_rules! lanes {
    ($lane:ty, $count:literal, $split:ident, $join:ident, $map:ident, $zip:ident) => {
        #[doc = concat!("The lanes of type ", stringify!($lane), ".")]
        #[inline(always)]
        pub(super) fn $split(v: u128) -> [$lane; $count] {
            std::array::from_fn(|i| (v >> (i as u32 * <$lane>::BITS)) as $lane)
        }
        #[doc = concat!("A vector of lanes of type ", stringify!($lane), ".")]
        #[inline(always)]
        pub(super) fn $join(lanes: [$lane; $count]) -> u128 {
            let mut v = 0;
            for lane in lanes.into_iter().rev() {
                v = (v << (<$lane>::BITS - 1)) << 1 | u128::from(lane);
            }
            v
        }
        /// A function of each lane.
        #[allow(dead_code, reason = "made for each size")]
        #[inline(always)]
        pub(super) fn $map(a: u128, f: impl Fn($lane) -> $lane) -> u128 {
            $join($split(a).map(f))
        }
        /// A function of each two lanes.
        #[allow(dead_code, reason = "made for each size")]
        #[inline(always)]
        pub(super) fn $zip(a: u128, b: u128, f: impl Fn($lane, $lane) -> $lane) -> u128 {
            let (a, b) = ($split(a), $split(b));
            $join(std::array::from_fn(|i| f(a[i], b[i])))
        }
    };
}

lanes!(u8, 16, split8, join8, map8, zip8);
lanes!(u16, 8, split16, join16, map16, zip16);
lanes!(u32, 4, split32, join32, map32, zip32);
lanes!(u64, 2, split64, join64, map64, zip64);
