//! Floating-point operations on elements, and the shapes of instructions that apply them.
//!
//! ```text
//!   decode ──► form::<Operation>(format) ──► a shape's semantics ──► Operation's helper
//!              scalar, vector, element,      registers to            one element, or all
//!              pairwise, ...                 64-bit values           elements of 64 bits
//! ```
//!
//! No instruction here moves values between the halves of a register but pairwise ones, so that
//! everything is done in pieces of 64 bits: helpers take and give slots' values and touch no slot
//! but FPCR and FPSR.

use core::marker::PhantomData;

use super::Operands;
use super::fp_host::{Host, apply};
use crate::fp::{Float, Fp, Rounding};
use crate::regs::{self, v_high, v_low};
use crate::{Arm64, Cpu};
use understudy_engine::arch::Def;
use understudy_engine::emit::{Binary, Effects, Emit, Helper, Stop};
use understudy_engine::float::FloatOp;
use understudy_engine::ir::Recorder;

/// What floating-point helpers touch, beside their arguments.
pub(super) const EFFECTS: Effects = Effects {
    reads: regs::FP_CONTROL_STATUS,
    writes: regs::FP_STATUS,
    stops: false,
};

/// The format of an instruction's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Half,
    Single,
    Double,
}

/// Run `operation` under the vCPU's FPCR, and accumulate its flags in FPSR.
#[inline(always)]
pub(super) fn with_fp<T>(cpu: &mut Cpu, operation: impl FnOnce(&mut Fp) -> T) -> T {
    let mut fp = Fp {
        fpcr: cpu.slot(regs::FPCR) as u32,
        fpsr: cpu.slot(regs::FPSR) as u32,
    };
    let result = operation(&mut fp);
    cpu.set_slot(regs::FPSR, fp.fpsr.into());
    result
}

/// An operation on corresponding elements of up to three registers.
pub(super) trait Operation: 'static {
    /// The Arm ARM's mnemonic.
    const NAME: &'static str;
    /// How the host computes it, if it has it.
    const HOST: Option<Host> = None;
    /// `[d, n, m]` are elements of the old destination (or of the addend), the first and the
    /// second source; `imm` is the instruction's immediate.
    fn apply<F: Float>(fp: &mut Fp, operands: [F; 3], imm: u32) -> F;
}

macro_rules! operations {
    ($($name:ident $mnemonic:literal $([$host:expr])?: |$fp:ident, $operands:pat_param, $imm:pat_param| $body:expr;)+) => {
        $(
            #[doc = $mnemonic]
            pub(super) enum $name {}
            impl Operation for $name {
                const NAME: &'static str = $mnemonic;
                $(const HOST: Option<Host> = Some($host);)?
                #[inline(always)]
                fn apply<F: Float>($fp: &mut Fp, $operands: [F; 3], $imm: u32) -> F {
                    $body
                }
            }
        )+
    };
}

/// All ones where a comparison holds, else zero.
#[inline(always)]
fn mask<F: Float>(holds: bool) -> F {
    F::from_bits(if holds { u64::MAX } else { 0 })
}

/// A fixed-point or integer element of the operand's own size.
#[inline(always)]
fn to_fixed<F: Float>(fp: &mut Fp, n: F, fbits: u32, unsigned: bool, rounding: Rounding) -> F {
    F::from_bits(fp.to_fixed(n, F::BITS, fbits, unsigned, rounding))
}

operations! {
    Fadd "FADD" [Host::new(FloatOp::Add)]: |fp, [_, n, m], _| fp.add(n, m);
    Fsub "FSUB" [Host::new(FloatOp::Sub)]: |fp, [_, n, m], _| fp.sub(n, m);
    Fmul "FMUL" [Host::new(FloatOp::Mul)]: |fp, [_, n, m], _| fp.mul(n, m);
    Fnmul "FNMUL" [Host::new(FloatOp::Mul).negated()]: |fp, [_, n, m], _| fp.mul(n, m).neg();
    Fmulx "FMULX" [Host::new(FloatOp::Mul)]: |fp, [_, n, m], _| fp.mulx(n, m);
    Fdiv "FDIV" [Host::new(FloatOp::Div)]: |fp, [_, n, m], _| fp.div(n, m);
    Fmax "FMAX": |fp, [_, n, m], _| fp.max(n, m);
    Fmin "FMIN": |fp, [_, n, m], _| fp.min(n, m);
    Fmaxnm "FMAXNM": |fp, [_, n, m], _| fp.max_num(n, m);
    Fminnm "FMINNM": |fp, [_, n, m], _| fp.min_num(n, m);
    Fabd "FABD" [Host::new(FloatOp::Sub).magnitude()]: |fp, [_, n, m], _| fp.sub(n, m).abs();
    Frecps "FRECPS": |fp, [_, n, m], _| fp.recip_step_fused(n, m);
    Frsqrts "FRSQRTS": |fp, [_, n, m], _| fp.rsqrt_step_fused(n, m);
    Fmla "FMLA" [Host::new(FloatOp::MulAdd)]: |fp, [d, n, m], _| fp.mul_add(d, n, m);
    Fmls "FMLS" [Host::new(FloatOp::MulAdd).negate_n()]: |fp, [d, n, m], _| fp.mul_add(d, n.neg(), m);
    Fmadd "FMADD" [Host::new(FloatOp::MulAdd)]: |fp, [d, n, m], _| fp.mul_add(d, n, m);
    Fmsub "FMSUB" [Host::new(FloatOp::MulAdd).negate_n()]: |fp, [d, n, m], _| fp.mul_add(d, n.neg(), m);
    Fnmadd "FNMADD" [Host::new(FloatOp::MulAdd).negate_n().negate_d()]: |fp, [d, n, m], _| fp.mul_add(d.neg(), n.neg(), m);
    Fnmsub "FNMSUB" [Host::new(FloatOp::MulAdd).negate_d()]: |fp, [d, n, m], _| fp.mul_add(d.neg(), n, m);
    Fcmeq "FCMEQ (register)": |fp, [_, n, m], _| mask(fp.compare_eq(n, m));
    Fcmge "FCMGE (register)": |fp, [_, n, m], _| mask(fp.compare_ge(n, m));
    Fcmgt "FCMGT (register)": |fp, [_, n, m], _| mask(fp.compare_gt(n, m));
    Facge "FACGE": |fp, [_, n, m], _| mask(fp.compare_ge(n.abs(), m.abs()));
    Facgt "FACGT": |fp, [_, n, m], _| mask(fp.compare_gt(n.abs(), m.abs()));
    FcmeqZero "FCMEQ (zero)": |fp, [_, n, _], _| mask(fp.compare_eq(n, F::zero(false)));
    FcmgeZero "FCMGE (zero)": |fp, [_, n, _], _| mask(fp.compare_ge(n, F::zero(false)));
    FcmgtZero "FCMGT (zero)": |fp, [_, n, _], _| mask(fp.compare_gt(n, F::zero(false)));
    FcmleZero "FCMLE (zero)": |fp, [_, n, _], _| mask(fp.compare_ge(F::zero(false), n));
    FcmltZero "FCMLT (zero)": |fp, [_, n, _], _| mask(fp.compare_gt(F::zero(false), n));
    Fsqrt "FSQRT" [Host::new(FloatOp::Sqrt)]: |fp, [_, n, _], _| fp.sqrt(n);
    Frecpe "FRECPE": |fp, [_, n, _], _| fp.recip_estimate(n);
    Frsqrte "FRSQRTE": |fp, [_, n, _], _| fp.rsqrt_estimate(n);
    Frecpx "FRECPX": |fp, [_, n, _], _| fp.recpx(n);
    Frintn "FRINTN": |fp, [_, n, _], _| fp.round_int(n, Rounding::TieEven, false);
    Frintp "FRINTP": |fp, [_, n, _], _| fp.round_int(n, Rounding::PosInf, false);
    Frintm "FRINTM": |fp, [_, n, _], _| fp.round_int(n, Rounding::NegInf, false);
    Frintz "FRINTZ": |fp, [_, n, _], _| fp.round_int(n, Rounding::Zero, false);
    Frinta "FRINTA": |fp, [_, n, _], _| fp.round_int(n, Rounding::TieAway, false);
    Frintx "FRINTX": |fp, [_, n, _], _| fp.round_int(n, fp.rounding_mode(), true);
    Frinti "FRINTI": |fp, [_, n, _], _| fp.round_int(n, fp.rounding_mode(), false);
    Frint32z "FRINT32Z": |fp, [_, n, _], _| fp.round_int_n(n, Rounding::Zero, 32);
    Frint32x "FRINT32X": |fp, [_, n, _], _| fp.round_int_n(n, fp.rounding_mode(), 32);
    Frint64z "FRINT64Z": |fp, [_, n, _], _| fp.round_int_n(n, Rounding::Zero, 64);
    Frint64x "FRINT64X": |fp, [_, n, _], _| fp.round_int_n(n, fp.rounding_mode(), 64);
    // Conversions within an element's size; the immediate counts fraction bits.
    Fcvtns "FCVTNS": |fp, [_, n, _], _| to_fixed(fp, n, 0, false, Rounding::TieEven);
    Fcvtnu "FCVTNU": |fp, [_, n, _], _| to_fixed(fp, n, 0, true, Rounding::TieEven);
    Fcvtps "FCVTPS": |fp, [_, n, _], _| to_fixed(fp, n, 0, false, Rounding::PosInf);
    Fcvtpu "FCVTPU": |fp, [_, n, _], _| to_fixed(fp, n, 0, true, Rounding::PosInf);
    Fcvtms "FCVTMS": |fp, [_, n, _], _| to_fixed(fp, n, 0, false, Rounding::NegInf);
    Fcvtmu "FCVTMU": |fp, [_, n, _], _| to_fixed(fp, n, 0, true, Rounding::NegInf);
    Fcvtas "FCVTAS": |fp, [_, n, _], _| to_fixed(fp, n, 0, false, Rounding::TieAway);
    Fcvtau "FCVTAU": |fp, [_, n, _], _| to_fixed(fp, n, 0, true, Rounding::TieAway);
    Fcvtzs "FCVTZS": |fp, [_, n, _], fbits| to_fixed(fp, n, fbits, false, Rounding::Zero);
    Fcvtzu "FCVTZU": |fp, [_, n, _], fbits| to_fixed(fp, n, fbits, true, Rounding::Zero);
    Scvtf "SCVTF": |fp, [_, n, _], fbits| {
        fp.from_fixed(n.bits(), F::BITS, fbits, false, fp.rounding_mode())
    };
    Ucvtf "UCVTF": |fp, [_, n, _], fbits| {
        fp.from_fixed(n.bits(), F::BITS, fbits, true, fp.rounding_mode())
    };
}

/// Apply an operation to each element of format `F` in 64 bits.
#[inline(always)]
pub(super) fn each<F: Float>(
    fp: &mut Fp,
    [d, n, m]: [u64; 3],
    apply: impl Fn(&mut Fp, [F; 3]) -> F,
) -> u64 {
    let mut result = 0;
    let mut at = 0;
    while at < 64 {
        let operands = [d, n, m].map(|slot| F::from_bits(slot >> at));
        result |= apply(fp, operands).bits() << at;
        at += F::BITS;
    }
    result
}

/// The helpers and definitions of one operation in one format.
struct Shapes<F, O>(PhantomData<(F, O)>);

/// The arguments of every helper here: d, n, m and the immediate.
type Arguments = [u64; 4];

#[inline(never)]
fn on_scalar<F: Float, O: Operation>(
    cpu: &mut Cpu,
    [d, n, m, imm]: Arguments,
) -> Result<u64, Stop> {
    let operands = [d, n, m].map(F::from_bits);
    Ok(with_fp(cpu, |fp| O::apply(fp, operands, imm as u32)).bits())
}

#[inline(never)]
fn on_vector<F: Float, O: Operation>(
    cpu: &mut Cpu,
    [d, n, m, imm]: Arguments,
) -> Result<u64, Stop> {
    Ok(with_fp(cpu, |fp| {
        each(fp, [d, n, m], |fp, operands: [F; 3]| {
            O::apply(fp, operands, imm as u32)
        })
    }))
}

/// Elements 2i and 2i + 1 of `high:low` are the operands of element i.
#[inline(never)]
fn on_pairs<F: Float, O: Operation>(
    cpu: &mut Cpu,
    [low, high, ..]: Arguments,
) -> Result<u64, Stop> {
    let pairs = u128::from(low) | u128::from(high) << 64;
    let element = |i: u32| F::from_bits((pairs >> (i * F::BITS)) as u64);
    Ok(with_fp(cpu, |fp| {
        (0..64 / F::BITS).fold(0, |result, i| {
            let operands = [F::from_bits(0), element(2 * i), element(2 * i + 1)];
            result | O::apply(fp, operands, 0).bits() << (i * F::BITS)
        })
    }))
}

/// "Reduce": the operation on all elements of `high:low`, of as many as `count`, by halves.
#[inline(never)]
fn on_all<F: Float, O: Operation>(
    cpu: &mut Cpu,
    [low, high, count, _]: Arguments,
) -> Result<u64, Stop> {
    fn reduce<F: Float, O: Operation>(fp: &mut Fp, elements: &[F]) -> F {
        match elements {
            [] => F::zero(false),
            [one] => *one,
            _ => {
                let (first, second) = elements.split_at(elements.len() / 2);
                let n = reduce::<F, O>(fp, first);
                let m = reduce::<F, O>(fp, second);
                O::apply(fp, [F::zero(false), n, m], 0)
            }
        }
    }
    let vector = u128::from(low) | u128::from(high) << 64;
    let elements: [F; 8] = core::array::from_fn(|i| {
        F::from_bits(vector.checked_shr(i as u32 * F::BITS).unwrap_or(0) as u64)
    });
    Ok(with_fp(cpu, |fp| {
        reduce::<F, O>(fp, &elements[..(count as usize).min(8)])
    })
    .bits())
}

macro_rules! helper {
    ($name:ident, $function:ident) => {
        const $name: &'static Helper<Arm64> = &Helper {
            name: O::NAME,
            call: $function::<F, O>,
            effects: EFFECTS,
        };
    };
}

macro_rules! definition {
    ($name:ident, $function:ident) => {
        const $name: &'static Def<Arm64> = &Def {
            name: O::NAME,
            interpret: $function::<Cpu, F, O>,
            record: $function::<Recorder<Arm64>, F, O>,
            ends_block: false,
        };
    };
}

impl<F: Float, O: Operation> Shapes<F, O> {
    helper!(ON_SCALAR, on_scalar);
    helper!(ON_VECTOR, on_vector);
    helper!(ON_PAIRS, on_pairs);
    helper!(ON_ALL, on_all);
    definition!(SCALAR, scalar);
    definition!(FUSED, fused);
    definition!(VECTOR, vector);
    definition!(ELEMENT, element);
    definition!(SCALAR_ELEMENT, scalar_element);
    definition!(PAIRWISE, pairwise);
    definition!(SCALAR_PAIRWISE, scalar_pairwise);
    definition!(ACROSS, across);
}

macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident $definition:ident;)+) => {
        $(
            $(#[$doc])*
            pub(super) fn $name<O: Operation>(format: Format) -> &'static Def<Arm64> {
                match format {
                    Format::Half => Shapes::<u16, O>::$definition,
                    Format::Single => Shapes::<u32, O>::$definition,
                    Format::Double => Shapes::<u64, O>::$definition,
                }
            }
        )+
    };
}

forms! {
    /// On element 0: `Rd = op(Rd, Rn, Rm)`.
    scalar_form SCALAR;
    /// Of three sources: `Rd = op(Ra, Rn, Rm)`.
    fused_form FUSED;
    /// On the vectors that Q says.
    vector_form VECTOR;
    /// The same, with one element of Rm for each of Rn; see [`element_operand`].
    element_form ELEMENT;
    /// On element 0, with one element of Rm.
    scalar_element_form SCALAR_ELEMENT;
    /// On pairs of neighbours in `Rm:Rn`.
    pairwise_form PAIRWISE;
    /// On elements 0 and 1 of Rn.
    scalar_pairwise_form SCALAR_PAIRWISE;
    /// On all elements of Rn.
    across_form ACROSS;
}

/// The operation on all elements of format `F` in 64 bits, without an immediate.
#[inline(always)]
pub(super) fn on_elements<E: Emit<Arch = Arm64>, F: Float, O: Operation>(
    e: &mut E,
    operands: [E::Val; 3],
) -> Result<E::Val, E::Stop> {
    let imm = e.imm(0);
    apply::<E, F, O, true>(e, Shapes::<F, O>::ON_VECTOR, operands, imm)
}

/// Write a vector of the length that Q says, of which the function makes half 0 and half 1.
#[inline(always)]
pub(super) fn write_vector<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    mut half: impl FnMut(&mut E, usize) -> Result<E::Val, E::Stop>,
) -> Result<(), E::Stop> {
    let low = half(e, 0)?;
    let high = if o.bit(30) { half(e, 1)? } else { e.imm(0) };
    e.put(v_low(o.rd()), low);
    e.put(v_high(o.rd()), high);
    Ok(())
}

/// Write a scalar: the rest of the register is cleared.
#[inline(always)]
pub(super) fn write_scalar<E: Emit<Arch = Arm64>>(e: &mut E, rd: u32, value: E::Val) {
    let zero = e.imm(0);
    e.put(v_low(rd), value);
    e.put(v_high(rd), zero);
}

fn scalar<E: Emit<Arch = Arm64>, F: Float, O: Operation>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let d = e.get(v_low(o.rd()));
    let n = e.get(v_low(o.rn()));
    let m = e.get(v_low(o.rm()));
    let imm = e.imm(o.imm);
    let result = apply::<E, F, O, false>(e, Shapes::<F, O>::ON_SCALAR, [d, n, m], imm)?;
    write_scalar(e, o.rd(), result);
    Ok(())
}

fn fused<E: Emit<Arch = Arm64>, F: Float, O: Operation>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let a = e.get(v_low(o.ra()));
    let n = e.get(v_low(o.rn()));
    let m = e.get(v_low(o.rm()));
    let imm = e.imm(0);
    let result = apply::<E, F, O, false>(e, Shapes::<F, O>::ON_SCALAR, [a, n, m], imm)?;
    write_scalar(e, o.rd(), result);
    Ok(())
}

fn vector<E: Emit<Arch = Arm64>, F: Float, O: Operation>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let imm = e.imm(o.imm);
    let halves = [v_low, v_high].map(|half| [o.rd(), o.rn(), o.rm()].map(half));
    let [d, n, m] = halves[0].map(|slot| e.get(slot));
    let low = apply::<E, F, O, true>(e, Shapes::<F, O>::ON_VECTOR, [d, n, m], imm)?;
    let high = if o.bit(30) {
        let [d, n, m] = halves[1].map(|slot| e.get(slot));
        apply::<E, F, O, true>(e, Shapes::<F, O>::ON_VECTOR, [d, n, m], imm)?
    } else {
        e.imm(0)
    };
    e.put(v_low(o.rd()), low);
    e.put(v_high(o.rd()), high);
    Ok(())
}

/// The immediate of an instruction by element: its register in bits 4:0, the element's index in
/// bits 7:5.
pub(super) fn element_operand(register: u32, index: u32) -> u64 {
    u64::from(register | index << 5)
}

/// The selected element of Rm, at bit 0 and with other bits above it.
#[inline(always)]
fn selected<E: Emit<Arch = Arm64>, F: Float>(e: &mut E, o: &Operands) -> E::Val {
    let (register, index) = (o.imm as u32 & 31, o.imm as u32 >> 5);
    let in_slot = 64 / F::BITS;
    let slot = if index < in_slot {
        v_low(register)
    } else {
        v_high(register)
    };
    let value = e.get(slot);
    e.shr_imm(value, index % in_slot * F::BITS)
}

fn element<E: Emit<Arch = Arm64>, F: Float, O: Operation>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let m = selected::<E, F>(e, o);
    let m = if F::BITS < 64 {
        let m = e.and_imm(m, !0 >> (64 - F::BITS));
        let places = e.imm(if F::BITS == 16 {
            0x0001_0001_0001_0001
        } else {
            0x1_0000_0001
        });
        e.binary(Binary::Mul, m, places)
    } else {
        m
    };
    let imm = e.imm(0);
    let (d, n) = (e.get(v_low(o.rd())), e.get(v_low(o.rn())));
    let low = apply::<E, F, O, true>(e, Shapes::<F, O>::ON_VECTOR, [d, n, m], imm)?;
    let high = if o.bit(30) {
        let (d, n) = (e.get(v_high(o.rd())), e.get(v_high(o.rn())));
        apply::<E, F, O, true>(e, Shapes::<F, O>::ON_VECTOR, [d, n, m], imm)?
    } else {
        e.imm(0)
    };
    e.put(v_low(o.rd()), low);
    e.put(v_high(o.rd()), high);
    Ok(())
}

fn scalar_element<E: Emit<Arch = Arm64>, F: Float, O: Operation>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let m = selected::<E, F>(e, o);
    let (d, n) = (e.get(v_low(o.rd())), e.get(v_low(o.rn())));
    let imm = e.imm(0);
    let result = apply::<E, F, O, false>(e, Shapes::<F, O>::ON_SCALAR, [d, n, m], imm)?;
    write_scalar(e, o.rd(), result);
    Ok(())
}

fn pairwise<E: Emit<Arch = Arm64>, F: Float, O: Operation>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let zero = e.imm(0);
    let (n, m) = (e.get(v_low(o.rn())), e.get(v_low(o.rm())));
    let (low, high) = if o.bit(30) {
        let (n_high, m_high) = (e.get(v_high(o.rn())), e.get(v_high(o.rm())));
        let low = e.helper(Shapes::<F, O>::ON_PAIRS, [n, n_high, zero, zero])?;
        (
            low,
            e.helper(Shapes::<F, O>::ON_PAIRS, [m, m_high, zero, zero])?,
        )
    } else {
        (
            e.helper(Shapes::<F, O>::ON_PAIRS, [n, m, zero, zero])?,
            zero,
        )
    };
    e.put(v_low(o.rd()), low);
    e.put(v_high(o.rd()), high);
    Ok(())
}

fn scalar_pairwise<E: Emit<Arch = Arm64>, F: Float, O: Operation>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let zero = e.imm(0);
    let first = e.get(v_low(o.rn()));
    let second = if F::BITS < 64 {
        e.shr_imm(first, F::BITS)
    } else {
        e.get(v_high(o.rn()))
    };
    let result =
        apply::<E, F, O, false>(e, Shapes::<F, O>::ON_SCALAR, [zero, first, second], zero)?;
    write_scalar(e, o.rd(), result);
    Ok(())
}

fn across<E: Emit<Arch = Arm64>, F: Float, O: Operation>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let bits = if o.bit(30) { 128 } else { 64 };
    let count = e.imm((bits / F::BITS).into());
    let zero = e.imm(0);
    let (low, high) = (e.get(v_low(o.rn())), e.get(v_high(o.rn())));
    let result = e.helper(Shapes::<F, O>::ON_ALL, [low, high, count, zero])?;
    write_scalar(e, o.rd(), result);
    Ok(())
}
