//! Vector elements, and the loops over them.

/// What one vector operation reads, and the saturation flag it may raise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operands {
    /// The destination register's old value, for operations that accumulate or insert.
    pub d: u128,
    /// The first source (Vn).
    pub n: u128,
    /// The second source (Vm).
    pub m: u128,
    /// The immediate: a shift amount in bits, or EXT's position in bytes.
    pub imm: u32,
    /// The vector is 128 bits long (the Q bit), otherwise 64. Only operations whose lanes move
    /// (pairs, permutes, reductions) look at it.
    pub q: bool,
    /// Set when an element saturated (FPSR.QC); never cleared here.
    pub qc: bool,
}

impl Operands {
    /// The vector's length in bytes: 8 or 16.
    pub fn bytes(&self) -> usize {
        if self.q { 16 } else { 8 }
    }
}

/// An element type: `u8`, `u16`, `u32` or `u64`.
///
/// Elements are computed with as integers of unbounded size, as the pseudocode does; an `i128` holds
/// every intermediate that occurs (the compiler narrows it where it need not be so wide).
pub trait Lane: Copy + Default + PartialEq + Send + Sync + 'static {
    /// The element size in bits.
    const BITS: u32;
    /// All elements of a 128-bit vector, element 0 first.
    type Array: Copy + AsRef<[Self]> + AsMut<[Self]>;
    /// The elements of a vector.
    fn split(vector: u128) -> Self::Array;
    /// The vector of these elements.
    fn join(elements: Self::Array) -> u128;
    /// The low bits of an integer: `x<esize-1:0>`.
    fn of(x: i128) -> Self;
    /// The element as an unsigned integer: `UInt(x)`.
    fn uint(self) -> i128;
    /// The element as a signed integer: `SInt(x)`.
    fn sint(self) -> i128;
    /// `Int(x, unsigned)`.
    #[inline(always)]
    fn int<const UNSIGNED: bool>(self) -> i128 {
        if UNSIGNED { self.uint() } else { self.sint() }
    }
    /// `SatQ(x, esize, unsigned)`: the nearest value that an element can hold; sets `qc` if that is
    /// not `x`.
    #[inline(always)]
    fn sat<const UNSIGNED: bool>(x: i128, qc: &mut bool) -> Self {
        let (low, high) = if UNSIGNED {
            (0, (1i128 << Self::BITS) - 1)
        } else {
            (
                -(1i128 << (Self::BITS - 1)),
                (1i128 << (Self::BITS - 1)) - 1,
            )
        };
        let clamped = x.clamp(low, high);
        *qc |= clamped != x;
        Self::of(clamped)
    }
    /// All ones if `condition`, otherwise zero: what a comparison writes.
    #[inline(always)]
    fn mask(condition: bool) -> Self {
        Self::of(-i128::from(condition))
    }
}

/// An element type that has one of twice its size.
pub trait Widen: Lane {
    /// The element type of twice the size.
    type Wide: Lane;
}

macro_rules! lane {
    ($unsigned:ty, $signed:ty, $count:literal) => {
        impl Lane for $unsigned {
            const BITS: u32 = <$unsigned>::BITS;
            type Array = [$unsigned; $count];
            #[inline(always)]
            fn split(vector: u128) -> Self::Array {
                let bytes = vector.to_le_bytes();
                std::array::from_fn(|i| {
                    const SIZE: usize = size_of::<$unsigned>();
                    let mut element = [0; SIZE];
                    element.copy_from_slice(&bytes[i * SIZE..][..SIZE]);
                    <$unsigned>::from_le_bytes(element)
                })
            }
            #[inline(always)]
            fn join(elements: Self::Array) -> u128 {
                let mut bytes = [0; 16];
                for (to, element) in bytes.chunks_exact_mut(size_of::<$unsigned>()).zip(elements) {
                    to.copy_from_slice(&element.to_le_bytes());
                }
                u128::from_le_bytes(bytes)
            }
            #[inline(always)]
            fn of(x: i128) -> Self {
                x as $unsigned
            }
            #[inline(always)]
            fn uint(self) -> i128 {
                i128::from(self)
            }
            #[inline(always)]
            fn sint(self) -> i128 {
                i128::from(self as $signed)
            }
        }
    };
}

lane!(u8, i8, 16);
lane!(u16, i16, 8);
lane!(u32, i32, 4);
lane!(u64, i64, 2);

impl Widen for u8 {
    type Wide = u16;
}
impl Widen for u16 {
    type Wide = u32;
}
impl Widen for u32 {
    type Wide = u64;
}

/// Applies `f` to each element.
#[inline(always)]
pub fn map1<L: Lane>(n: u128, mut f: impl FnMut(L) -> L) -> u128 {
    let mut d = L::split(n);
    for d in d.as_mut() {
        *d = f(*d);
    }
    L::join(d)
}

/// Applies `f` to each pair of corresponding elements.
#[inline(always)]
pub fn map2<L: Lane>(n: u128, m: u128, mut f: impl FnMut(L, L) -> L) -> u128 {
    let (mut d, m) = (L::split(n), L::split(m));
    for (d, m) in d.as_mut().iter_mut().zip(m.as_ref()) {
        *d = f(*d, *m);
    }
    L::join(d)
}

/// Applies `f` to each triple of corresponding elements.
#[inline(always)]
pub fn map3<L: Lane>(d: u128, n: u128, m: u128, mut f: impl FnMut(L, L, L) -> L) -> u128 {
    let (mut d, n, m) = (L::split(d), L::split(n), L::split(m));
    for ((d, n), m) in d.as_mut().iter_mut().zip(n.as_ref()).zip(m.as_ref()) {
        *d = f(*d, *n, *m);
    }
    L::join(d)
}

/// Applies `f` to each element of `d` and the elements of half its size in the low halves of `n`
/// and `m`.
#[inline(always)]
pub fn widen3<L: Widen>(
    d: u128,
    n: u128,
    m: u128,
    mut f: impl FnMut(L::Wide, L, L) -> L::Wide,
) -> u128 {
    let (mut d, n, m) = (L::Wide::split(d), L::split(n), L::split(m));
    for ((d, n), m) in d.as_mut().iter_mut().zip(n.as_ref()).zip(m.as_ref()) {
        *d = f(*d, *n, *m);
    }
    L::Wide::join(d)
}

/// Applies `f` to each pair of wide elements; the results, of half the size, fill the low half.
#[inline(always)]
pub fn narrow2<L: Widen>(n: u128, m: u128, mut f: impl FnMut(L::Wide, L::Wide) -> L) -> u128 {
    let (n, m) = (L::Wide::split(n), L::Wide::split(m));
    let mut d = L::split(0);
    for ((d, n), m) in d.as_mut().iter_mut().zip(n.as_ref()).zip(m.as_ref()) {
        *d = f(*n, *m);
    }
    L::join(d)
}

/// Element 0 of `n` in every element: DUP.
#[inline]
pub fn replicate(n: u128, size: u32) -> u128 {
    const EACH: [u128; 4] = [
        0x0101_0101_0101_0101_0101_0101_0101_0101,
        0x0001_0001_0001_0001_0001_0001_0001_0001,
        0x0000_0001_0000_0001_0000_0001_0000_0001,
        0x0000_0000_0000_0001_0000_0000_0000_0001,
    ];
    element(n, size, 0).wrapping_mul(EACH[size as usize & 3])
}

/// Element `index` of `n`, in the low bits; `size` is the logarithm of its bytes (0 to 3).
#[inline]
pub fn element(n: u128, size: u32, index: u32) -> u128 {
    let bits = 8 << (size & 3);
    (n >> ((bits * index) & 127)) & low_bits(bits)
}

/// `d` with element `index` replaced by the low bits of `value`: INS.
#[inline]
pub fn insert(d: u128, size: u32, index: u32, value: u128) -> u128 {
    let bits = 8 << (size & 3);
    let (mask, at) = (low_bits(bits), (bits * index) & 127);
    (d & !(mask << at)) | ((value & mask) << at)
}

/// The low `bits` bits set, for 1 to 128.
#[inline]
pub fn low_bits(bits: u32) -> u128 {
    u128::MAX >> (128 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_zero_is_in_the_low_bits() {
        let v = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;
        assert_eq!(<u8 as Lane>::split(v), std::array::from_fn(|i| i as u8));
        assert_eq!(<u16 as Lane>::split(v)[1], 0x0302);
        assert_eq!(<u32 as Lane>::split(v)[3], 0x0f0e_0d0c);
        for joined in [
            u8::join(u8::split(v)),
            u16::join(u16::split(v)),
            u32::join(u32::split(v)),
            u64::join(u64::split(v)),
        ] {
            assert_eq!(joined, v);
        }
    }

    #[test]
    fn saturation_is_reported_once_it_happens() {
        let mut qc = false;
        assert_eq!(u8::sat::<false>(127, &mut qc), 0x7f);
        assert_eq!(u8::sat::<true>(255, &mut qc), 0xff);
        assert_eq!(u64::sat::<true>(u64::MAX.into(), &mut qc), u64::MAX);
        assert!(!qc);
        assert_eq!(u8::sat::<false>(-129, &mut qc), 0x80);
        assert!(qc);
        qc = false;
        assert_eq!(u8::sat::<true>(-1, &mut qc), 0);
        assert!(qc);
        assert_eq!(u64::sat::<false>(1 << 63, &mut qc), i64::MAX as u64);
    }

    #[test]
    fn elements_are_taken_put_and_spread() {
        let v = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;
        assert_eq!(element(v, 0, 15), 0x0f);
        assert_eq!(element(v, 3, 1), 0x0f0e_0d0c_0b0a_0908);
        assert_eq!(insert(v, 1, 7, 0x1_abcd) >> 112, 0xabcd);
        assert_eq!(insert(v, 1, 7, 0xabcd) << 16, v << 16);
        assert_eq!(replicate(v, 2), 0x0302_0100_0302_0100_0302_0100_0302_0100);
        assert_eq!(replicate(u128::MAX, 3), u128::MAX);
    }
}
