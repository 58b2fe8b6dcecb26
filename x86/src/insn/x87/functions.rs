//! Instructions on ST(0), and ST(1) with some (SDM vol. 1, 5.2.2 to 5.2.4; vol. 2).

use super::form::Op;
use super::{At, arith, conclude, keep_pointers, met};
use crate::Cpu;
use crate::fp::{Env, F80, PRE};
use crate::fpu::{Fpu, fsw};

/// FXAM's class of ST(0) (SDM vol. 2, table 3-37).
fn class(fpu: &Fpu) -> u16 {
    let Some(value) = fpu.get(0) else {
        return fsw::C3 | fsw::C0;
    };
    let leading = value.significand >> 63 != 0;
    match (value.exponent(), value.significand) {
        (0, 0) => fsw::C3,
        (0, _) => fsw::C3 | fsw::C2,
        (_, _) if !leading => 0,
        (0x7fff, significand) if significand << 1 == 0 => fsw::C2 | fsw::C0,
        (0x7fff, _) => fsw::C0,
        _ => fsw::C2,
    }
}

/// Values of one operand, on top of the stack.
fn one(fpu: &mut Fpu, mut env: Env, function: impl FnOnce(&mut Env, F80) -> F80) {
    match fpu.get(0) {
        Some(value) => {
            let result = function(&mut env, value);
            conclude(fpu, &env, 0, result, 0);
        }
        None => {
            if fpu.stack_fault(false) {
                fpu.set(0, F80::INDEFINITE);
            }
        }
    }
}

/// A value of ST(0) and ST(1), into the one and no pop, or into the other and a pop.
fn two(fpu: &mut Fpu, mut env: Env, pops: u8, function: impl FnOnce(&mut Env, F80, F80) -> F80) {
    match (fpu.get(0), fpu.get(1)) {
        (Some(a), Some(b)) => {
            let result = function(&mut env, a, b);
            conclude(fpu, &env, pops, result, pops);
        }
        _ => {
            if fpu.stack_fault(false) {
                fpu.set(pops, F80::INDEFINITE);
                fpu.pop(pops);
            }
        }
    }
}

/// Two values of ST(0): the first replaces it, the second is pushed.
fn pair(fpu: &mut Fpu, mut env: Env, function: impl FnOnce(&mut Env, F80) -> Option<(F80, F80)>) {
    let Some(value) = fpu.get(0) else {
        if fpu.stack_fault(false) {
            fpu.set(0, F80::INDEFINITE);
            fpu.push(F80::INDEFINITE);
        }
        return;
    };
    if fpu.get(7).is_some() {
        if fpu.stack_fault(true) {
            fpu.set(0, F80::INDEFINITE);
            fpu.push(F80::INDEFINITE);
        }
        return;
    }
    let result = function(&mut env, value);
    if met(fpu, &env)
        && let Some((first, second)) = result
    {
        fpu.set(0, first);
        fpu.push(second);
    }
}

fn remainder(fpu: &mut Fpu, mut env: Env, nearest: bool) {
    let (Some(a), Some(b)) = (fpu.get(0), fpu.get(1)) else {
        if fpu.stack_fault(false) {
            fpu.set(0, F80::INDEFINITE);
        }
        fpu.set_codes(fsw::C2, 0);
        return;
    };
    let result = env.remainder(a, b, nearest);
    conclude(fpu, &env, 0, result.value, 0);
    if result.value.exponent() == 0x7fff || env.unmasked() & PRE != 0 {
        fpu.set_codes(fsw::C2, 0);
        return;
    }
    let bit = |n: u32, code| {
        if result.quotient >> n & 1 != 0 {
            code
        } else {
            0
        }
    };
    let partial = if result.partial { fsw::C2 } else { 0 };
    let codes = bit(2, fsw::C0) | bit(1, fsw::C3) | bit(0, fsw::C1) | partial;
    fpu.set_codes(fsw::CODES, codes);
}

/// Whether an argument of a trigonometric function is out of range: then C2 is set, and nothing else
/// happens.
fn out_of_range(fpu: &mut Fpu) -> bool {
    let value = fpu.get(0).unwrap_or_default();
    let supported = value.significand >> 63 != 0;
    let too_large = supported && (0x3fff + 63..0x7fff).contains(&value.exponent());
    fpu.set_codes(fsw::C2, if too_large { fsw::C2 } else { 0 });
    if too_large {
        fpu.set_codes(fsw::C1, 0);
    }
    too_large
}

fn trigonometric(fpu: &mut Fpu, env: Env, op: Op) {
    let pushes = matches!(op, Op::SineCosine | Op::Tangent);
    if pushes && fpu.get(7).is_some() {
        fpu.set_codes(fsw::C2, 0);
    } else if out_of_range(fpu) {
        return;
    }
    match op {
        Op::Sine => one(fpu, env, |env, x| env.sine(x)),
        Op::Cosine => one(fpu, env, |env, x| env.cosine(x)),
        Op::SineCosine => pair(fpu, env, |env, x| Some((env.sine(x), env.cosine(x)))),
        _ => pair(fpu, env, |env, x| {
            let tangent = env.tangent(x);
            // A NaN is given twice.
            let not_number = tangent.exponent() == 0x7fff;
            Some((tangent, if not_number { tangent } else { F80::ONE }))
        }),
    }
}

pub(super) fn run(cpu: &mut Cpu, at: &At) {
    keep_pointers(cpu, at);
    let fpu = &mut cpu.state.fpu;
    let env = Env::x87(fpu.control);
    match at.form.op {
        Op::Test => arith::test(fpu, env),
        Op::Examine => {
            let sign = fpu.st[fpu.index(0)].negative();
            let codes = class(fpu) | if sign { fsw::C1 } else { 0 };
            fpu.set_codes(fsw::CODES, codes);
        }
        Op::Abs => one(fpu, env, |_, value| value.abs()),
        Op::ChangeSign => one(fpu, env, |_, value| value.neg()),
        Op::Sqrt => one(fpu, env, |env, value| env.sqrt(value)),
        Op::RoundInt => one(fpu, env, |env, value| env.round_int(value, env.rounding)),
        Op::PowerMinusOne => one(fpu, env, |env, value| env.power_minus_one(value)),
        Op::Scale => two(fpu, env, 0, |env, a, b| env.scale(a, b)),
        Op::Logarithm => two(fpu, env, 1, |env, a, b| env.logarithm(a, b)),
        Op::LogarithmPlusOne => two(fpu, env, 1, |env, a, b| env.logarithm_plus_one(a, b)),
        Op::ArcTangent => two(fpu, env, 1, |env, a, b| env.arc_tangent(b, a)),
        Op::Extract => pair(fpu, env, |env, value| Some(env.extract(value))),
        Op::Remainder => remainder(fpu, env, false),
        Op::RemainderNearest => remainder(fpu, env, true),
        op => trigonometric(fpu, env, op),
    }
}
