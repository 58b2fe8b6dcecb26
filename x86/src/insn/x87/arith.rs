//! Arithmetic and comparisons (SDM vol. 1, 5.2.2 and 5.2.3).

use super::form::{Memory, Op};
use super::{At, conclude, keep_pointers, met, set_compared};
use crate::Cpu;
use crate::fp::{Comparison, Env, F80};
use crate::fpu::{Fpu, fsw};
use crate::insn::operand;
use understudy_engine::emit::Stop;

/// The operand in memory, extended.
fn operand(cpu: &mut Cpu, at: &At, env: &mut Env, memory: Memory) -> Result<F80, Stop> {
    let mut load = |size| operand::load(cpu, at.address, size, at.form.via, false);
    Ok(match memory {
        Memory::Single => env.extend(load(2)? as u32),
        Memory::Double => env.extend(load(3)?),
        Memory::Int16 => env.from_signed((load(1)? as i16).into()),
        Memory::Int32 => env.from_signed((load(2)? as i32).into()),
        _ => env.from_signed(load(3)? as i64),
    })
}

pub(super) fn run(cpu: &mut Cpu, at: &At) -> Result<(), Stop> {
    let form = &at.form;
    let mut env = Env::x87(cpu.state.fpu.control);
    let (to, source) = match form.memory {
        Some(memory) => (0, Some(operand(cpu, at, &mut env, memory)?)),
        None if form.into_i => (form.i, cpu.state.fpu.get(0)),
        None => (0, cpu.state.fpu.get(form.i)),
    };
    keep_pointers(cpu, at);
    if form.op >= Op::Com {
        compare(cpu, at, env, source);
        return Ok(());
    }
    let fpu = &mut cpu.state.fpu;
    let (Some(a), Some(b)) = (fpu.get(to), source) else {
        if fpu.stack_fault(false) {
            fpu.set(to, F80::INDEFINITE);
            fpu.pop(form.pops);
        }
        return Ok(());
    };
    let value = match form.op {
        Op::Add => env.add(a, b),
        Op::Mul => env.mul(a, b),
        Op::Sub => env.sub(a, b),
        Op::SubReversed => env.sub(b, a),
        Op::Div => env.div(a, b),
        _ => env.div(b, a),
    };
    conclude(fpu, &env, to, value, form.pops);
    Ok(())
}

/// C3, C2 and C0 of a comparison (SDM vol. 1, table 8-6).
pub(super) fn codes(comparison: Comparison) -> u16 {
    match comparison {
        Comparison::Greater => 0,
        Comparison::Less => fsw::C0,
        Comparison::Equal => fsw::C3,
        Comparison::Unordered => fsw::C3 | fsw::C2 | fsw::C0,
    }
}

/// Compares ST(0) with a value, which is none where a register is empty. Also gives whether the
/// instruction is completed: condition codes are set even where an exception is not masked.
fn compared(fpu: &mut Fpu, mut env: Env, with: Option<F80>, signals: bool) -> (Comparison, bool) {
    let (Some(a), Some(b)) = (fpu.get(0), with) else {
        return (Comparison::Unordered, fpu.stack_fault(false));
    };
    let comparison = env.compare(a, b, signals);
    (comparison, met(fpu, &env))
}

fn compare(cpu: &mut Cpu, at: &At, env: Env, with: Option<F80>) {
    let form = &at.form;
    let signals = matches!(form.op, Op::Com | Op::Comi);
    let fpu = &mut cpu.state.fpu;
    let c1 = fpu.status & fsw::C1;
    let full = fpu.get(0).is_some() && with.is_some();
    let (comparison, done) = compared(fpu, env, with, signals);
    if done {
        fpu.pop(form.pops);
    }
    let codes = codes(comparison);
    if matches!(form.op, Op::Com | Op::Ucom) {
        fpu.set_codes(fsw::C0 | fsw::C2 | fsw::C3, codes);
    } else {
        if full {
            // Only the stack's fault changes it here.
            fpu.set_codes(fsw::C1, c1);
        }
        let on = |code| codes & code != 0;
        set_compared(cpu, on(fsw::C3), on(fsw::C2), on(fsw::C0));
    }
}

/// FTST.
pub(super) fn test(fpu: &mut Fpu, env: Env) {
    let (comparison, _) = compared(fpu, env, Some(F80::default()), true);
    fpu.set_codes(fsw::C0 | fsw::C2 | fsw::C3, codes(comparison));
}
