//! Control transfers within a code segment, and software interrupts (SDM vol. 1, 5.1.7).

use super::alu::condition;
use super::operand::{push_value, read, set_stack_pointer, stack_value, zx};
use super::{Loc, Operands, mode};
use crate::exceptions::{self, Event, Fault, Kind, vector};
use crate::regs::{RCX, RSP};
use crate::segments::seg;
use crate::{Cpu, X86, state};
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Cmp, Effects, Emit, Helper, SlotSet, Stop};

/// Whether instruction pointers are linear addresses, any of which may be gone to: what is wrong
/// with one is found when it is fetched from.
fn free(mode: u32) -> bool {
    mode & (mode::CODE64 | mode::FLAT) != 0
}

const READS_STATE: Effects = Effects {
    reads: SlotSet::NONE,
    writes: SlotSet::NONE,
    stops: true,
};

/// The linear address of an instruction pointer, which the code segment must have.
fn near(cpu: &mut Cpu, target: u64) -> Result<u64, Stop> {
    if target > u64::from(cpu.state.segmentation.segments[seg::CS as usize].limit) {
        return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
    }
    Ok(state::linear_of_rip(cpu, target))
}

static NEAR: Helper<X86> = Helper {
    name: "near",
    call: |cpu, [target, ..]| near(cpu, target),
    effects: READS_STATE,
};

static INSTRUCTION_POINTER: Helper<X86> = Helper {
    name: "rip",
    call: |cpu, _| Ok(state::rip(cpu)),
    effects: READS_STATE,
};

/// RIP of this instruction plus a distance.
#[inline(always)]
fn rip_plus<E: Emit<Arch = X86>>(e: &mut E, distance: u64, size: u8) -> Result<E::Val, E::Stop> {
    let rip = if free(e.mode()) {
        e.pc()
    } else {
        e.call(&INSTRUCTION_POINTER, &[])?
    };
    let rip = e.add_imm(rip, distance);
    Ok(zx(e, rip, size))
}

/// Whether a direct branch needs no check: its operand has all bits of an instruction pointer.
fn direct(mode: u32, o: &Operands) -> bool {
    free(mode) && o.size == if mode & mode::CODE64 != 0 { 3 } else { 2 }
}

/// Goes on at an instruction pointer.
#[inline(always)]
fn go<E: Emit<Arch = X86>>(e: &mut E, target: E::Val) -> Result<(), E::Stop> {
    let target = if free(e.mode()) {
        target
    } else {
        e.call(&NEAR, &[target])?
    };
    e.jump_to(target);
    Ok(())
}

/// Goes on at the instruction's target if the condition holds.
#[inline(always)]
fn branch<E: Emit<Arch = X86>>(e: &mut E, holds: E::Val, o: &Operands) -> Result<(), E::Stop> {
    if direct(e.mode(), o) {
        e.branch(holds, o.imm as i64);
        return Ok(());
    }
    let taken = rip_plus(e, o.imm, o.size)?;
    let next = rip_plus(e, u64::from(o.length), 2)?;
    let target = e.select(holds, taken, next);
    go(e, target)
}

/// JMP to a distance.
pub fn jmp<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    if direct(e.mode(), o) {
        e.jump(o.imm as i64);
        return Ok(());
    }
    let target = rip_plus(e, o.imm, o.size)?;
    go(e, target)
}

/// JMP to an address in a register or in memory.
pub fn jmp_indirect<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let target = read(e, o, o.a, o.size)?;
    go(e, target)
}

/// CALL of a distance.
pub fn call<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let next = rip_plus(e, u64::from(o.length), 3)?;
    if direct(e.mode(), o) {
        let pointer = push_value(e, next, o.size)?;
        set_stack_pointer(e, pointer);
        e.jump(o.imm as i64);
        return Ok(());
    }
    let target = rip_plus(e, o.imm, o.size)?;
    call_target(e, next, target, o.size)
}

/// CALL of an address in a register or in memory.
pub fn call_indirect<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let target = read(e, o, o.a, o.size)?;
    let next = rip_plus(e, u64::from(o.length), 3)?;
    call_target(e, next, target, o.size)
}

#[inline(always)]
fn call_target<E: Emit<Arch = X86>>(
    e: &mut E,
    next: E::Val,
    target: E::Val,
    size: u8,
) -> Result<(), E::Stop> {
    // The target is checked before anything is pushed.
    let target = if free(e.mode()) {
        target
    } else {
        e.call(&NEAR, &[target])?
    };
    let pointer = push_value(e, next, size)?;
    set_stack_pointer(e, pointer);
    e.jump_to(target);
    Ok(())
}

/// RET, which takes `imm` bytes more off the stack.
pub fn ret<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let target = stack_value(e, 0, o.size)?;
    let target = if free(e.mode()) {
        target
    } else {
        e.call(&NEAR, &[target])?
    };
    let pointer = e.get(RSP);
    let above = e.add_imm(pointer, (1 << o.size) + (o.imm & 0xffff));
    set_stack_pointer(e, above);
    e.jump_to(target);
    Ok(())
}

/// Jcc.
pub fn conditional(code: u8) -> &'static Def<X86> {
    macro_rules! all {
        ($($code:tt)*) => {
            match code {
                $($code => def!(X86, "Jcc", jcc, [$code], ends),)*
                _ => def!(X86, "Jcc", jcc, [15], ends),
            }
        };
    }
    all!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

fn jcc<E: Emit<Arch = X86>, const CODE: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let holds = condition(e, CODE);
    branch(e, holds, o)
}

/// JCXZ, JECXZ and JRCXZ, by the size of the address.
pub fn jcxz<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let count = e.get(RCX);
    let count = zx(e, count, o.address);
    let zero = e.imm(0);
    let holds = e.compare(Cmp::Eq, count, zero);
    branch(e, holds, o)
}

/// LOOP; LOOPE and LOOPNE go on only while ZF is as they say.
pub fn repeat(zero: Option<bool>) -> &'static Def<X86> {
    match zero {
        None => def!(X86, "LOOP", repeat_while, [15], ends),
        Some(true) => def!(X86, "LOOPE", repeat_while, [4], ends),
        Some(false) => def!(X86, "LOOPNE", repeat_while, [5], ends),
    }
}

fn repeat_while<E: Emit<Arch = X86>, const CODE: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let count = e.get(RCX);
    let count = e.add_imm(count, !0);
    let left = zx(e, count, o.address);
    let zero = e.imm(0);
    let mut holds = e.compare(Cmp::Ne, left, zero);
    if CODE != 15 {
        let also = condition(e, CODE);
        holds = e.and(holds, also);
    }
    if direct(e.mode(), o) {
        super::operand::write_reg(e, Loc::reg(1), count, o.address);
        e.branch(holds, o.imm as i64);
        return Ok(());
    }
    let taken = rip_plus(e, o.imm, o.size)?;
    let next = rip_plus(e, u64::from(o.length), 2)?;
    let target = e.select(holds, taken, next);
    let target = if free(e.mode()) {
        target
    } else {
        e.call(&NEAR, &[target])?
    };
    super::operand::write_reg(e, Loc::reg(1), count, o.address);
    e.jump_to(target);
    Ok(())
}

/// INT n and INTO: the gate's privilege counts.
fn interrupt(cpu: &mut Cpu, number: u8, length: u64) -> Stop {
    let event = Event {
        vector: number,
        code: None,
        rip: state::rip(cpu).wrapping_add(length),
        kind: Kind::Software,
    };
    exceptions::deliver(cpu, event)
}

static INTERRUPT: Helper<X86> = Helper {
    name: "interrupt",
    call: |cpu, [number, length, ..]| Err(interrupt(cpu, number as u8, length)),
    effects: Effects::ANY,
};

/// INT n.
pub fn int<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (number, length) = (e.imm(o.imm & 0xff), e.imm(u64::from(o.length)));
    e.call(&INTERRUPT, &[number, length])?;
    e.end_block();
    Ok(())
}

static OVERFLOW: Helper<X86> = Helper {
    name: "into",
    call: |cpu, [length, ..]| {
        if crate::regs::rflags(cpu) & crate::regs::flag::OF == 0 {
            return Ok(0);
        }
        Err(interrupt(cpu, vector::OF, length))
    },
    effects: Effects::ANY,
};

/// INTO.
pub fn into<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let length = e.imm(u64::from(o.length));
    e.call(&OVERFLOW, &[length])?;
    e.end_block();
    Ok(())
}
