//! Operations on 128-bit vectors, and what each gives.
//!
//! A vector is a `u128`; lane 0 is its low bits. Each operation is defined here once, for the
//! interpreter; [`crate::compile`] chooses host instructions that give the same, and the recorder
//! leaves vectors unfolded. Lanes are of 8, 16, 32 or 64 bits ([`Size`]).

use crate::emit::Size;

/// An operation on two vectors, lane by lane. Comparisons give all ones where they hold, else 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum VecBinary {
    /// Sum, modulo the lane's size.
    Add,
    /// Difference, modulo the lane's size.
    Sub,
    /// Product, modulo the lane's size.
    Mul,
    /// Bitwise and.
    And,
    /// Bitwise inclusive or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Bitwise and with the second operand's complement.
    AndNot,
    /// Equal.
    Eq,
    /// Signed greater.
    SGt,
    /// Signed greater or equal.
    SGe,
    /// Unsigned greater.
    UGt,
    /// Unsigned greater or equal.
    UGe,
    /// Signed minimum.
    SMin,
    /// Signed maximum.
    SMax,
    /// Unsigned minimum.
    UMin,
    /// Unsigned maximum.
    UMax,
}

/// An operation on one vector, lane by lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum VecUnary {
    /// Bitwise complement.
    Not,
    /// Two's complement.
    Neg,
    /// Absolute value; the least value stays as it is.
    Abs,
    /// Number of ones in each byte; lanes are bytes, whatever the size given.
    Popcnt8,
    /// The low 64 bits; the others are cleared. No lanes.
    Low,
}

/// A shift of each lane by a constant below the lane's bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum VecShift {
    /// To the left.
    Shl,
    /// To the right, zeros coming in.
    Shr,
    /// To the right, the sign coming in.
    Sar,
}

macro_rules! lanes {
    ($size:expr, $f:ident $(, $argument:expr)*) => {
        match $size {
            Size::B1 => $f!(u8, i8, 16 $(, $argument)*),
            Size::B2 => $f!(u16, i16, 8 $(, $argument)*),
            Size::B4 => $f!(u32, i32, 4 $(, $argument)*),
            Size::B8 => $f!(u64, i64, 2 $(, $argument)*),
        }
    };
}

macro_rules! split {
    ($t:ty, $count:literal, $v:expr) => {{
        let bytes = $v.to_le_bytes();
        let lanes: [$t; $count] = std::array::from_fn(|i| {
            let mut lane = [0; size_of::<$t>()];
            lane.copy_from_slice(&bytes[i * size_of::<$t>()..][..size_of::<$t>()]);
            <$t>::from_le_bytes(lane)
        });
        lanes
    }};
}

macro_rules! join {
    ($t:ty, $lanes:expr) => {{
        let mut bytes = [0; 16];
        for (to, lane) in bytes.chunks_exact_mut(size_of::<$t>()).zip($lanes) {
            to.copy_from_slice(&lane.to_le_bytes());
        }
        u128::from_le_bytes(bytes)
    }};
}

impl VecBinary {
    /// What the operation gives.
    pub fn eval(self, size: Size, a: u128, b: u128) -> u128 {
        macro_rules! each {
            ($u:ty, $s:ty, $count:literal, $f:expr) => {{
                let (a, b) = (split!($u, $count, a), split!($u, $count, b));
                let f: fn($u, $u) -> $u = $f;
                let d: [$u; $count] = std::array::from_fn(|i| f(a[i], b[i]));
                join!($u, d)
            }};
        }
        macro_rules! compute {
            ($u:ty, $s:ty, $count:literal) => {
                match self {
                    VecBinary::Add => each!($u, $s, $count, |a, b| a.wrapping_add(b)),
                    VecBinary::Sub => each!($u, $s, $count, |a, b| a.wrapping_sub(b)),
                    VecBinary::Mul => each!($u, $s, $count, |a, b| a.wrapping_mul(b)),
                    VecBinary::Eq => each!($u, $s, $count, |a, b| mask(a == b) as $u),
                    VecBinary::SGt => {
                        each!($u, $s, $count, |a, b| mask(a as $s > b as $s) as $u)
                    }
                    VecBinary::SGe => {
                        each!($u, $s, $count, |a, b| mask(a as $s >= b as $s) as $u)
                    }
                    VecBinary::UGt => each!($u, $s, $count, |a, b| mask(a > b) as $u),
                    VecBinary::UGe => each!($u, $s, $count, |a, b| mask(a >= b) as $u),
                    VecBinary::SMin => {
                        each!($u, $s, $count, |a, b| (a as $s).min(b as $s) as $u)
                    }
                    VecBinary::SMax => {
                        each!($u, $s, $count, |a, b| (a as $s).max(b as $s) as $u)
                    }
                    VecBinary::UMin => each!($u, $s, $count, |a, b| a.min(b)),
                    VecBinary::UMax => each!($u, $s, $count, |a, b| a.max(b)),
                    VecBinary::And => a & b,
                    VecBinary::Or => a | b,
                    VecBinary::Xor => a ^ b,
                    VecBinary::AndNot => a & !b,
                }
            };
        }
        lanes!(size, compute)
    }
}

/// All ones or zero.
#[inline(always)]
fn mask(condition: bool) -> u64 {
    (condition as u64).wrapping_neg()
}

impl VecUnary {
    /// What the operation gives.
    pub fn eval(self, size: Size, a: u128) -> u128 {
        macro_rules! compute {
            ($u:ty, $s:ty, $count:literal) => {
                match self {
                    VecUnary::Not => !a,
                    VecUnary::Low => a as u64 as u128,
                    VecUnary::Popcnt8 => {
                        join!(u8, split!(u8, 16, a).map(|a| a.count_ones() as u8))
                    }
                    VecUnary::Neg => join!($u, split!($u, $count, a).map(|a| a.wrapping_neg())),
                    VecUnary::Abs => {
                        let abs = |a| (a as $s).wrapping_abs() as $u;
                        join!($u, split!($u, $count, a).map(abs))
                    }
                }
            };
        }
        lanes!(size, compute)
    }
}

impl VecShift {
    /// What the shift gives; the amount is taken modulo the lane's bits.
    pub fn eval(self, size: Size, a: u128, amount: u32) -> u128 {
        macro_rules! compute {
            ($u:ty, $s:ty, $count:literal) => {{
                let lanes = split!($u, $count, a);
                match self {
                    VecShift::Shl => join!($u, lanes.map(|a| a.wrapping_shl(amount))),
                    VecShift::Shr => join!($u, lanes.map(|a| a.wrapping_shr(amount))),
                    VecShift::Sar => {
                        join!($u, lanes.map(|a| (a as $s).wrapping_shr(amount) as $u))
                    }
                }
            }};
        }
        lanes!(size, compute)
    }
}

/// Byte `i` of the result is the byte of `b:a` that `indices[i]` (0 to 31) names.
pub fn shuffle(a: u128, b: u128, indices: [u8; 16]) -> u128 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    u128::from_le_bytes(indices.map(|i| {
        let i = i as usize & 31;
        if i < 16 { a[i] } else { b[i - 16] }
    }))
}

/// The lanes of `size` in the low or the high half, each in one of twice the size.
pub fn widen(size: Size, signed: bool, high: bool, a: u128) -> u128 {
    let half = if high { (a >> 64) as u64 } else { a as u64 };
    macro_rules! compute {
        ($count:literal, $from:ty, $sign:ty, $to:ty) => {{
            let lanes: [$from; $count] =
                std::array::from_fn(|i| (half >> (64 / $count * i)) as $from);
            join!(
                $to,
                lanes.map(|lane| if signed {
                    lane as $sign as $to
                } else {
                    lane as $to
                })
            )
        }};
    }
    match size {
        Size::B1 => compute!(8, u8, i8, u16),
        Size::B2 => compute!(4, u16, i16, u32),
        _ => compute!(2, u32, i32, u64),
    }
}

/// The low bits of `value` in every lane.
#[inline(always)]
pub fn splat(size: Size, value: u64) -> u128 {
    let one = value & size.mask();
    let half = one.wrapping_mul(u64::MAX / size.mask());
    half as u128 | (half as u128) << 64
}

/// A lane, zero-extended; `index` is taken modulo the number of lanes.
#[inline(always)]
pub fn lane(size: Size, index: u32, a: u128) -> u64 {
    (a >> ((index * 8 * size.bytes() as u32) & 127)) as u64 & size.mask()
}

/// `a` with one lane replaced by the low bits of `value`.
#[inline(always)]
pub fn with_lane(size: Size, index: u32, a: u128, value: u64) -> u128 {
    let at = (index * 8 * size.bytes() as u32) & 127;
    a & !((size.mask() as u128) << at) | ((value & size.mask()) as u128) << at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_separate() {
        let a = 0x00ff_8000_7fff_ffff_0000_0001_8000_0000;
        assert_eq!(
            VecBinary::Add.eval(Size::B2, a, splat(Size::B2, 1)),
            0x0100_8001_8000_0000_0001_0002_8001_0001
        );
        assert_eq!(
            VecBinary::SGt.eval(Size::B8, a, 0),
            !0 << 64 | 0xffff_ffff_ffff_ffff
        );
        assert_eq!(VecBinary::UGt.eval(Size::B4, 0, a), 0);
        assert_eq!(VecBinary::SMin.eval(Size::B4, a, 0) as u64, 0x8000_0000);
        assert_eq!(
            VecUnary::Abs.eval(Size::B4, a) as u64,
            0x0000_0001_8000_0000
        );
        assert_eq!(
            VecShift::Sar.eval(Size::B4, a, 31) as u64,
            0x0000_0000_ffff_ffff
        );
    }

    #[test]
    fn bytes_are_chosen_from_both() {
        let indices = std::array::from_fn(|i| 31 - 2 * i as u8);
        let a = u128::from_le_bytes(std::array::from_fn(|i| i as u8));
        let b = u128::from_le_bytes(std::array::from_fn(|i| 16 + i as u8));
        assert_eq!(shuffle(a, b, indices).to_le_bytes(), indices);
    }

    #[test]
    fn widening_takes_one_half() {
        let a = 0x8000_0000_0000_0001_0000_0000_ffff_fffe;
        assert_eq!(widen(Size::B4, true, false, a), 0xffff_ffff_ffff_fffe);
        assert_eq!(widen(Size::B4, false, true, a), 0x8000_0000 << 64 | 1);
        assert_eq!(
            widen(Size::B1, true, false, a) as u64,
            0xffff_ffff_ffff_fffe
        );
    }

    #[test]
    fn single_lanes() {
        assert_eq!(lane(Size::B2, 7, 0xabcd << 112), 0xabcd);
        assert_eq!(with_lane(Size::B1, 15, !0, 0x1_00), !0 >> 8);
        assert_eq!(with_lane(Size::B8, 1, 5, 7), 7 << 64 | 5);
    }
}
