//! Arithmetic and comparisons of floating point (SDM vol. 1, 11.4 and 11.5; vol. 2).
//!
//! Which way is taken follows from the block's mode, which knows MXCSR's controls:
//!
//! ```text
//!   all exceptions masked ──► 64 bits at a time: a helper that never stops, and before it, where MXCSR
//!                             is otherwise as after reset, the host's own floating point (float_host.rs)
//!   else                  ──► all of the instruction at once in a helper: an exception leaves the
//!                             destination as it is
//! ```

use super::emit;
use super::float_host::{host, inexact_known, masked, plain};
use super::{MEM, Op, Shuffle, finish, half_of, source};
use crate::exceptions::{self, Fault, vector};
use crate::fp::{self, Comparison, Env, Rounding};
use crate::insn::Operands;
use crate::insn::operand::{address, load};
use crate::regs::{self, scratch};
use crate::state::cr4;
use crate::{Cpu, X86};
use understudy_engine::emit::{Effects, Emit, Helper, Size, SlotSet, Stop};

/// An operation of floating point, on which lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Float {
    /// What is done.
    pub(super) kind: Kind,
    /// Of doubles, not singles.
    pub(super) double: bool,
}

/// What is done with one lane of each source, *a*, *b* and *c*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// *a + b*.
    Add,
    /// *a - b*.
    Sub,
    /// *a * b*.
    Mul,
    /// *a / b*.
    Div,
    /// The lesser.
    Min,
    /// The greater.
    Max,
    /// The root of *b*.
    Sqrt,
    /// All ones where the predicate holds that is the immediate.
    Compare,
    /// *b*, rounded to an integral value.
    Round,
    /// About 1 / *b*.
    Reciprocal,
    /// About 1 / root of *b*.
    ReciprocalRoot,
    /// *a - b* in even lanes, *a + b* in odd ones.
    SubAdd,
    /// *a * b + c*.
    MulAdd,
    /// *a * b - c*.
    MulSub,
    /// *c - a * b*.
    NegMulAdd,
    /// *-(a * b) - c*.
    NegMulSub,
    /// *a * b - c* in even lanes, *a * b + c* in odd ones.
    MulSubAdd,
    /// *a * b + c* in even lanes, *a * b - c* in odd ones.
    MulAddSub,
}

impl Kind {
    const ALL: [Kind; 18] = [
        Kind::Add,
        Kind::Sub,
        Kind::Mul,
        Kind::Div,
        Kind::Min,
        Kind::Max,
        Kind::Sqrt,
        Kind::Compare,
        Kind::Round,
        Kind::Reciprocal,
        Kind::ReciprocalRoot,
        Kind::SubAdd,
        Kind::MulAdd,
        Kind::MulSub,
        Kind::NegMulAdd,
        Kind::NegMulSub,
        Kind::MulSubAdd,
        Kind::MulAddSub,
    ];

    /// The operation in a lane of this number: those that alternate become one or the other.
    pub(super) fn in_lane(self, lane: u32) -> Kind {
        match (self, lane & 1) {
            (Kind::SubAdd, 0) => Kind::Sub,
            (Kind::SubAdd, _) => Kind::Add,
            (Kind::MulSubAdd, 0) | (Kind::MulAddSub, 1) => Kind::MulSub,
            (Kind::MulSubAdd | Kind::MulAddSub, _) => Kind::MulAdd,
            (kind, _) => kind,
        }
    }

    /// Whether the product is negated, and the addend, if this is a fused multiply-add.
    pub(super) fn fused(self) -> Option<(bool, bool)> {
        match self {
            Kind::MulAdd => Some((false, false)),
            Kind::MulSub => Some((false, true)),
            Kind::NegMulAdd => Some((true, false)),
            Kind::NegMulSub => Some((true, true)),
            _ => None,
        }
    }
}

/// A format that SSE computes in.
pub(super) trait Lane: fp::Float {
    const SIGN: u64;
    fn of(bits: u64) -> Self;
    fn bits(self) -> u64;
}

impl Lane for u32 {
    const SIGN: u64 = 1 << 31;
    fn of(bits: u64) -> u32 {
        bits as u32
    }
    fn bits(self) -> u64 {
        self.into()
    }
}

impl Lane for u64 {
    const SIGN: u64 = 1 << 63;
    fn of(bits: u64) -> u64 {
        bits
    }
    fn bits(self) -> u64 {
        self
    }
}

/// The relations for which the predicates hold (SDM vol. 2, CMPPD, table 3-1): less, equal, greater,
/// unordered, from bit 0.
pub(super) const PREDICATES: [u8; 16] = [
    0b0010, 0b0001, 0b0011, 0b1000, 0b1101, 0b1110, 0b1100, 0b0111, 0b1010, 0b1001, 0b1011, 0b0000,
    0b0101, 0b0110, 0b0100, 0b1111,
];
/// Those of the first sixteen for which a quiet NaN is an invalid operation; of the others, the others.
const SIGNALLING: u16 = 0b0110_0110_0110_0110;

fn compare<F: Lane>(env: &mut Env, imm: u8, a: F, b: F) -> bool {
    let signals = (SIGNALLING >> (imm & 15) & 1 != 0) != (imm & 16 != 0);
    let relation = match env.compare(a, b, signals) {
        Comparison::Less => 0,
        Comparison::Equal => 1,
        Comparison::Greater => 2,
        Comparison::Unordered => 3,
    };
    PREDICATES[usize::from(imm & 15)] >> relation & 1 != 0
}

/// The rounding of ROUNDSD and VCVTPS2PH: the immediate's, or MXCSR's.
pub(super) fn immediate_rounding(env: &Env, imm: u8) -> Rounding {
    if imm & 4 != 0 {
        env.rounding
    } else {
        fp::rounding_control(imm.into())
    }
}

/// RCPPS and RSQRTPS, whose results are the implementation's within 1.5 * 2^-12: here, the nearest
/// number. Denormals are zeros, as sources and as results; no exceptions.
fn estimate(b: u32, root: bool) -> u32 {
    let sign = b & 0x8000_0000;
    let value = f32::from_bits(b);
    if value.is_nan() {
        return b | 0x0040_0000;
    }
    if !value.is_normal() && !value.is_infinite() {
        return sign | 0x7f80_0000;
    }
    if root && sign != 0 {
        return 0xffc0_0000;
    }
    let wide = f64::from(value);
    let result = (1.0 / if root { wide.sqrt() } else { wide }) as f32;
    if result.is_normal() {
        result.to_bits()
    } else {
        sign
    }
}

/// One lane.
#[inline(always)]
fn lane<F: Lane>(env: &mut Env, kind: Kind, imm: u8, a: F, b: F, c: F) -> F {
    match kind {
        Kind::Add => env.add(a, b),
        Kind::Sub => env.sub(a, b),
        Kind::Mul => env.mul(a, b),
        Kind::Div => env.div(a, b),
        Kind::Min => env.min(a, b),
        Kind::Max => env.max(a, b),
        Kind::Sqrt => env.sqrt(b),
        Kind::Compare => {
            let holds = compare(env, imm, a, b);
            F::of(if holds { u64::MAX } else { 0 })
        }
        Kind::Round => {
            let before = env.flags;
            let rounding = immediate_rounding(env, imm);
            let result = env.round_int(b, rounding);
            if imm & 8 != 0 {
                env.flags &= !fp::PE | before;
            }
            result
        }
        Kind::Reciprocal => F::of(estimate(b.bits() as u32, false).into()),
        Kind::ReciprocalRoot => F::of(estimate(b.bits() as u32, true).into()),
        _ => {
            let negate = kind.fused().unwrap_or((false, false));
            env.mul_add(a, b, c, negate)
        }
    }
}

/// How 64 bits of lanes are worked on.
#[derive(Clone, Copy)]
struct How {
    kind: Kind,
    double: bool,
    /// Only the lowest lane.
    scalar: bool,
    imm: u8,
}

impl How {
    fn pack(self) -> u64 {
        u64::from(self.double)
            | u64::from(self.scalar) << 1
            | u64::from(self.imm) << 8
            | (self.kind as u64) << 16
    }

    fn unpack(info: u64) -> How {
        How {
            kind: Kind::ALL[(info >> 16 & 0xff) as usize % Kind::ALL.len()],
            double: info & 1 != 0,
            scalar: info & 2 != 0,
            imm: (info >> 8) as u8,
        }
    }

    /// The lanes in number `chunk` of the 64-bit parts of the sources.
    #[inline]
    fn apply(self, env: &mut Env, chunk: u32, [a, b, c]: [u64; 3]) -> u64 {
        if self.double {
            return lane(env, self.kind.in_lane(chunk), self.imm, a, b, c);
        }
        let low = self.kind.in_lane(0);
        let low = lane(env, low, self.imm, a as u32, b as u32, c as u32);
        if self.scalar {
            return low.into();
        }
        let [a, b, c] = [a, b, c].map(|v| (v >> 32) as u32);
        let high = lane(env, self.kind.in_lane(1), self.imm, a, b, c);
        u64::from(low) | u64::from(high) << 32
    }
}

/// Adds to MXCSR's flags.
#[inline]
pub(super) fn accumulate(cpu: &mut Cpu, flags: u8) {
    cpu.state.mxcsr |= u32::from(flags);
    if flags & fp::PE != 0 {
        cpu.set_slot(regs::PRECISION, 1);
    }
}

/// The exceptions of operations that are made at once. Found beforehand and not masked, one keeps those
/// of results from being found (SDM vol. 1, 4.9.2).
pub(super) fn found(env: &Env) -> u8 {
    if env.unmasked() & fp::PRE != 0 {
        env.flags & fp::PRE
    } else {
        env.flags
    }
}

/// The end of an instruction: its flags, or its exception.
pub(super) fn report(cpu: &mut Cpu, env: &Env) -> Result<(), Stop> {
    deliver(cpu, found(env), env.masked)
}

/// Sets flags, and takes the exception for those that are not masked (SDM vol. 1, 11.5.2; vol. 3A, 6.15,
/// #XM).
pub(super) fn deliver(cpu: &mut Cpu, flags: u8, masked: u8) -> Result<(), Stop> {
    accumulate(cpu, flags);
    if flags & !masked == 0 {
        return Ok(());
    }
    let vector = if cpu.state.cr4 & cr4::OSXMMEXCPT != 0 {
        vector::XM
    } else {
        vector::UD
    };
    Err(exceptions::raise(cpu, Fault::new(vector)))
}

/// What helpers of operations without unmasked exceptions touch, beside their arguments.
pub(super) const MASKED: Effects = Effects {
    reads: SlotSet::NONE,
    writes: SlotSet::range(24, 25),
    stops: false,
};

/// 64 bits of an operation whose exceptions are masked.
static CHUNK: Helper<X86> = Helper {
    name: "sse_float",
    call: |cpu, [a, b, c, info]| {
        let mut env = Env::sse(cpu.state.mxcsr);
        let result = How::unpack(info).apply(&mut env, (info >> 32) as u32, [a, b, c]);
        accumulate(cpu, env.flags);
        Ok(result)
    },
    effects: MASKED,
};

/// Slots of an operand in scratch.
pub(super) fn operand(cpu: &Cpu, place: u8) -> [u64; 4] {
    std::array::from_fn(|i| {
        let slot = scratch::half(place, i / 2);
        cpu.slot(if i % 2 == 0 { slot } else { slot.next() })
    })
}

/// Sets slots of the result in scratch.
pub(super) fn set_result(cpu: &mut Cpu, result: [u64; 4]) {
    for (i, value) in result.into_iter().enumerate() {
        let slot = scratch::half(scratch::R, i / 2);
        cpu.set_slot(if i % 2 == 0 { slot } else { slot.next() }, value);
    }
}

/// What helpers touch that work on scratch registers and may give an exception.
pub(super) const WHOLE_EFFECTS: Effects = Effects {
    reads: scratch::OPERANDS,
    writes: scratch::RESULT.and(SlotSet::range(24, 25)),
    stops: true,
};

/// All of an operation: so many times 64 bits of the operands in scratch.
static WHOLE: Helper<X86> = Helper {
    name: "sse_float_all",
    call: |cpu, [info, count, ..]| {
        let [a, b, c] = [scratch::A, scratch::B, scratch::C].map(|place| operand(cpu, place));
        let mut env = Env::sse(cpu.state.mxcsr);
        let how = How::unpack(info);
        let mut result = [0; 4];
        for i in 0..(count as usize).min(4) {
            result[i] = how.apply(&mut env, i as u32, [a[i], b[i], c[i]]);
        }
        report(cpu, &env)?;
        set_result(cpu, result);
        Ok(0)
    },
    effects: WHOLE_EFFECTS,
};

/// 64 bits of an operation whose exceptions are masked.
fn chunk<E: Emit<Arch = X86>>(
    e: &mut E,
    how: How,
    number: u32,
    operands: [E::Val; 3],
) -> Result<E::Val, E::Stop> {
    let [a, b, c] = operands;
    let info = e.imm(how.pack() | u64::from(number) << 32);
    let arguments = [a, b, c, info];
    let mode = e.mode();
    let lane = if how.double { number } else { 0 };
    let key = |lane| (how.kind.in_lane(lane), how.double, how.imm);
    if !plain(mode) {
        return e.helper(&CHUNK, arguments);
    }
    let Some((mut result, mut certain)) = host(e, key(lane), operands) else {
        return e.helper(&CHUNK, arguments);
    };
    if !how.double && !how.scalar {
        let upper = operands.map(|v| e.shr_imm(v, 32));
        if let Some((high, good)) = host(e, key(1), upper) {
            let high = e.shl_imm(high, 32);
            result = e.or(result, high);
            certain = e.and(certain, good);
        }
    }
    if !matches!(how.kind, Kind::Min | Kind::Max | Kind::Compare) {
        let known = inexact_known(e);
        certain = e.and(certain, known);
    }
    e.helper_unless(certain, result, &CHUNK, arguments)
}

/// The operands of a fused multiply-add in the order *a*, *b*, *c*: the immediate is 0 for forms 132, 1
/// for 213, 2 for 231.
fn fused_order<T: Copy>(order: u8, [d, n, m]: [T; 3]) -> [T; 3] {
    match order {
        0 => [d, m, n],
        1 => [n, d, m],
        _ => [n, m, d],
    }
}

fn how(o: &Operands, scalar: bool) -> How {
    let Op::Float(Float { kind, double }) = o.simd.op else {
        // Others have no such shape.
        return How {
            kind: Kind::Add,
            double: true,
            scalar,
            imm: 0,
        };
    };
    let legacy = !o.simd.vex && kind == Kind::Compare;
    How {
        kind,
        double,
        scalar,
        imm: o.simd.imm & if legacy { 7 } else { 0xff },
    }
}

/// The operation on all lanes. `PAIRS`: on neighbouring lanes, of the first source and then of the second
/// (HADDPS and its like).
pub(super) fn packed<E: Emit<Arch = X86>, const PAIRS: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let p = &o.simd;
    let how = how(o, false);
    let m = source(e, o)?;
    let mut operands = [[m[0]; 3]; 2];
    for half in 0..p.halves() {
        let (a, b) = (e.vec_get(half_of(p.n, half)), m[half]);
        let c = e.vec_get(half_of(p.d, half));
        operands[half] = if how.kind.in_lane(0).fused().is_some() {
            fused_order(p.imm, [c, a, b])
        } else if PAIRS {
            let (even, odd) = if how.double {
                (Shuffle::UnpackLow(Size::B8), Shuffle::UnpackHigh(Size::B8))
            } else {
                (Shuffle::FloatDwords, Shuffle::FloatDwords)
            };
            let even = emit::half(e, Op::Shuffle(even), 0x88, half, [a, b, b])?;
            let odd = emit::half(e, Op::Shuffle(odd), 0xdd, half, [a, b, b])?;
            [even, odd, odd]
        } else {
            [a, b, b]
        };
    }
    let mut result = m;
    if masked(e.mode()) {
        for half in 0..p.halves() {
            let mut values = [e.imm(0); 2];
            for (i, value) in values.iter_mut().enumerate() {
                let operands = operands[half].map(|v| e.vec_lane(Size::B8, i as u32, v));
                *value = chunk(e, how, (2 * half + i) as u32, operands)?;
            }
            result[half] = vector(e, values);
        }
    } else {
        for (half, operands) in operands.into_iter().enumerate().take(p.halves()) {
            let places = [scratch::A, scratch::B, scratch::C];
            for (place, value) in places.into_iter().zip(operands) {
                e.vec_put(scratch::half(place, half), value);
            }
        }
        let (info, count) = (e.imm(how.pack()), e.imm(2 * p.halves() as u64));
        e.call(&WHOLE, &[info, count])?;
        result = [0, 1].map(|half| e.vec_get(scratch::half(scratch::R, half)));
    }
    finish(e, p, result);
    Ok(())
}

/// A vector of two values.
#[inline(always)]
pub(super) fn vector<E: Emit<Arch = X86>>(e: &mut E, [low, high]: [E::Val; 2]) -> E::Vec {
    let v = e.vec_splat(Size::B8, low);
    e.vec_with_lane(Size::B8, 1, v, high)
}

/// The second source of a scalar operation: as many bits as `bytes` has, whatever above them.
#[inline(always)]
pub(super) fn scalar_source<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    bytes: u8,
) -> Result<E::Val, E::Stop> {
    if o.simd.m == MEM {
        let at = address(e, o, bytes, false)?;
        return load(e, at, bytes, o.via, false);
    }
    Ok(e.get(half_of(o.simd.m, 0)))
}

/// Writes the lowest lane; the others come from the first source.
#[inline(always)]
pub(super) fn finish_scalar<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    double: bool,
    result: E::Val,
) {
    let p = &o.simd;
    let first = half_of(p.n, 0);
    let low = if double {
        result
    } else {
        let old = e.get(first);
        let above = e.and_imm(old, !0xffff_ffff);
        let low = e.zext32(result);
        e.or(above, low)
    };
    let to = half_of(p.d, 0);
    if p.d != p.n {
        let high = e.get(first.next());
        e.put(to, low);
        e.put(to.next(), high);
    } else {
        e.put(to, low);
    }
    if p.vex {
        let zero = e.vec_imm(0);
        e.vec_put(half_of(p.d, 1), zero);
    }
}

/// The operation on the lowest lane.
pub(super) fn scalar<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let how = how(o, true);
    let b = scalar_source(e, o, 2 + u8::from(how.double))?;
    let a = e.get(half_of(p.n, 0));
    let operands = if how.kind.fused().is_some() {
        let d = e.get(half_of(p.d, 0));
        fused_order(p.imm, [d, a, b])
    } else {
        [a, b, b]
    };
    let result = if masked(e.mode()) {
        chunk(e, how, 0, operands)?
    } else {
        let places = [scratch::A, scratch::B, scratch::C];
        for (place, value) in places.into_iter().zip(operands) {
            e.put(scratch::half(place, 0), value);
        }
        let (info, count) = (e.imm(how.pack()), e.imm(1));
        e.call(&WHOLE, &[info, count])?;
        e.get(scratch::half(scratch::R, 0))
    };
    // The others of a fused operation are the destination's, of which the first source is another.
    let mut to = *o;
    if how.kind.fused().is_some() {
        to.simd.n = p.d;
    }
    finish_scalar(e, &to, how.double, result);
    Ok(())
}
