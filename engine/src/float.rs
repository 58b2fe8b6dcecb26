//! The host's floating point, as an operation of [`crate::emit::Emit`].
//!
//! These are IEEE 754's operations in the mode in which a Rust program runs: rounding to nearest
//! even, denormals kept, no traps; and no flags are had from them. What else an architecture
//! defines (modes, flags, which NaN) is for its semantics, which look at the result and call a
//! helper where it is not beyond doubt ([`crate::emit::Emit::helper_unless`]).

/// An operation on up to three values of one format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum FloatOp {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// The square root of `a`.
    Sqrt,
    /// `a * b + c`, rounded once.
    MulAdd,
    /// 1 where `a` is less than `b`, else 0; also 0 where one is not a number.
    Less,
    /// 1 where `a` equals `b`, else 0; also 0 where one is not a number.
    Equal,
    /// `a` in the other format.
    Convert,
    /// From `a`, a signed integer of 64 bits.
    FromSigned,
    /// `a` truncated to a signed integer of 64 bits; the nearest one where it does not fit, 0 where
    /// it is not a number.
    ToSigned,
}

/// The format of an operation's floating-point operands, or of its result if it has no such
/// operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum FloatFormat {
    /// 32 bits, in the low half of a value; the other half of an operand is ignored and of a result
    /// is zero.
    Single,
    /// 64 bits.
    Double,
}

impl FloatOp {
    /// What the operation gives. Which NaN it gives, where it gives one, is not defined and may
    /// differ from tier to tier.
    #[inline(always)]
    pub fn eval(self, format: FloatFormat, [a, b, c]: [u64; 3]) -> u64 {
        match format {
            FloatFormat::Single => {
                let [x, y, z] = [a, b, c].map(|bits| f32::from_bits(bits as u32));
                let result = match self {
                    FloatOp::Add => x + y,
                    FloatOp::Sub => x - y,
                    FloatOp::Mul => x * y,
                    FloatOp::Div => x / y,
                    FloatOp::Sqrt => x.sqrt(),
                    FloatOp::MulAdd => x.mul_add(y, z),
                    FloatOp::FromSigned => a as i64 as f32,
                    FloatOp::Less => return u64::from(x < y),
                    FloatOp::Equal => return u64::from(x == y),
                    FloatOp::Convert => return f64::from(x).to_bits(),
                    FloatOp::ToSigned => return x as i64 as u64,
                };
                u64::from(result.to_bits())
            }
            FloatFormat::Double => {
                let [x, y, z] = [a, b, c].map(f64::from_bits);
                let result = match self {
                    FloatOp::Add => x + y,
                    FloatOp::Sub => x - y,
                    FloatOp::Mul => x * y,
                    FloatOp::Div => x / y,
                    FloatOp::Sqrt => x.sqrt(),
                    FloatOp::MulAdd => x.mul_add(y, z),
                    FloatOp::FromSigned => a as i64 as f64,
                    FloatOp::Less => return u64::from(x < y),
                    FloatOp::Equal => return u64::from(x == y),
                    FloatOp::Convert => return u64::from((x as f32).to_bits()),
                    FloatOp::ToSigned => return x as i64 as u64,
                };
                result.to_bits()
            }
        }
    }
}
