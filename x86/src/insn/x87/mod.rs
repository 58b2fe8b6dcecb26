//! The x87's instructions (SDM vol. 1, 5.2 and chapter 8; AMD APM vol. 5).
//!
//! ```text
//!   decode ──► Form, packed into Operands::imm ──► RUN: one helper, by the form's operation
//!              operation, ST(i), pops, operand in memory, opcode
//! ```
//!
//! - `arith.rs`: arithmetic and comparisons of the stack's values
//! - `transfer.rs`: loads, stores and moves
//! - `functions.rs`: instructions that work on ST(0), the transcendental ones among them
//! - `control.rs`: control and status words, the environment, the whole state
//!
//! **Exceptions.** What an instruction meets is kept in FSW. If it is not masked, the next instruction
//! that waits is #MF: that is part of the mode of blocks ([`fpu::update_pending`]).
//!
//! **Pointers.** Instructions that are no control instructions leave opcode, instruction pointer and,
//! if they have an operand in memory, its pointer. FNSTENV and FNSAVE give them; FXSAVE and the XSAVE
//! family, as AMD has them, only while an exception waits, and zeros else.

mod arith;
mod control;
mod form;
mod functions;
mod transfer;

pub(super) use form::definition;

use super::operand::{linear, offset, write_reg};
use super::{Loc, Operands};
use crate::fp::{Env, F80, PE};
use crate::fpu::{self, Fpu, fsw};
use crate::regs::{self, CARRY, LESS, SIGN, ZERO};
use crate::{Cpu, X86, state};
use form::Form;
use understudy_engine::emit::{Effects, Emit, Helper, SlotSet, Stop};

/// An instruction at hand.
struct At {
    form: Form,
    /// The linear address of the operand in memory.
    address: u64,
    /// Its offset.
    offset: u64,
}

/// Slots: the status flags, for the comparisons that set them.
const FLAGS: SlotSet = SlotSet::range(16, 22);

static RUN: Helper<X86> = Helper {
    name: "x87",
    call: |cpu, [form, address, offset, condition]| {
        let at = At {
            form: Form::unpack(form),
            address,
            offset,
        };
        let value = run(cpu, &at, condition)?;
        fpu::update_pending(cpu);
        Ok(value)
    },
    effects: Effects {
        reads: FLAGS,
        writes: FLAGS,
        stops: true,
    },
};

fn run(cpu: &mut Cpu, at: &At, condition: u64) -> Result<u64, Stop> {
    match at.form.op {
        op if op.is_control() => return control::run(cpu, at),
        op if op.transfers() => transfer::run(cpu, at, condition)?,
        op if op.is_function() => functions::run(cpu, at),
        _ => arith::run(cpu, at)?,
    }
    Ok(0)
}

/// Keeps what FNSTENV will say of this instruction.
fn keep_pointers(cpu: &mut Cpu, at: &At) {
    let ip = state::rip(cpu);
    let cs = cpu.state.segmentation.segments[crate::segments::seg::CS as usize].selector;
    let ds = cpu.state.segmentation.segments[usize::from(at.form.segment) % 6].selector;
    let fpu = &mut cpu.state.fpu;
    fpu.ip = ip;
    fpu.cs = cs;
    fpu.opcode = at.form.opcode;
    if at.form.memory.is_some() {
        fpu.dp = at.offset;
        fpu.ds = ds;
    }
}

/// Takes over what an operation has met. Whether there is a result.
fn met(fpu: &mut Fpu, env: &Env) -> bool {
    fpu.status |= u16::from(env.flags);
    let up = env.rounded_up && env.flags & PE != 0;
    fpu.set_codes(fsw::C1, if up { fsw::C1 } else { 0 });
    env.unmasked() & crate::fp::PRE == 0
}

/// Puts the result of an operation into ST(n), if there is one, and pops.
fn conclude(fpu: &mut Fpu, env: &Env, n: u8, value: F80, pops: u8) {
    if met(fpu, env) {
        fpu.set(n, value);
        fpu.pop(pops);
    }
}

/// The address of the operand in memory, if there is one, and its offset.
fn place<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    form: &Form,
) -> Result<(E::Val, E::Val), E::Stop> {
    if form.memory.is_none() {
        let zero = e.imm(0);
        return Ok((zero, zero));
    }
    let offset = offset(e, o);
    let at = linear(e, o.via, offset, form.bytes(), form.writes())?;
    Ok((at, offset))
}

/// Any instruction but those below.
fn execute<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let form = Form::unpack(o.imm);
    let (at, offset) = place(e, o, &form)?;
    let imm = e.imm(o.imm);
    e.call(&RUN, &[imm, at, offset])?;
    Ok(())
}

/// FCMOVcc.
fn conditional_move<E: Emit<Arch = X86>, const CODE: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let condition = super::alu::condition(e, CODE);
    let (imm, zero) = (e.imm(o.imm), e.imm(0));
    e.call(&RUN, &[imm, zero, zero, condition])?;
    Ok(())
}

/// FNSTSW AX.
fn status_to_register<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let imm = e.imm(o.imm);
    let value = e.call(&RUN, &[imm])?;
    write_reg(e, Loc::reg(0), value, 1);
    Ok(())
}

/// Sets the status flags as FCOMI does: ZF, PF and CF from `bits`, the others to 0.
fn set_compared(cpu: &mut Cpu, zero: bool, parity: bool, carry: bool) {
    cpu.set_slot(CARRY, carry.into());
    cpu.set_slot(ZERO, (!zero).into());
    // Bit 63 is SF, and the low byte's parity is PF.
    cpu.set_slot(SIGN, (!parity).into());
    cpu.set_slot(LESS, 0);
    cpu.set_slot(regs::ADJUST, 0);
}
