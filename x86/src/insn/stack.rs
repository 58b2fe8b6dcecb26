//! The stack: PUSH, POP, PUSHF, POPF, ENTER (SDM vol. 1, chapter 6).

use super::operand::{
    linear, load, offset, push_value, read, set_stack_pointer, stack_size, stack_value, store, via,
    write_reg, zx,
};
use super::{Loc, Operands};
use crate::exceptions::{self, Fault, vector};
use crate::regs::{self, RBP, RSP, STATUS, flag, gpr};
use crate::segments::seg;
use crate::{Cpu, X86, state};
use understudy_engine::emit::{Effects, Emit, Helper, SlotSet, Stop};

/// PUSH of a register, an immediate or memory.
pub fn push<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read(e, o, o.a, o.size)?;
    let pointer = push_value(e, value, o.size)?;
    set_stack_pointer(e, pointer);
    Ok(())
}

/// POP into a register.
pub fn pop<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = stack_value(e, 0, o.size)?;
    let pointer = e.get(RSP);
    let above = e.add_imm(pointer, 1 << o.size);
    set_stack_pointer(e, above);
    // POP RSP: what was popped is what counts.
    write_reg(e, o.a, value, o.size);
    Ok(())
}

/// POP into memory: an address that is based on RSP counts from the incremented pointer.
pub fn pop_memory<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = stack_value(e, 0, o.size)?;
    let pointer = e.get(RSP);
    let mut offset = offset(e, o);
    if o.base == 4 {
        offset = e.add_imm(offset, 1 << o.size);
        offset = zx(e, offset, o.address);
    }
    let at = linear(e, o.via, offset, 1 << o.size, true)?;
    store(e, at, value, o.size, o.via)?;
    let above = e.add_imm(pointer, 1 << o.size);
    set_stack_pointer(e, above);
    Ok(())
}

/// RFLAGS as PUSHF pushes it, and with it the check of IOPL in virtual-8086 mode.
static PUSHED: Helper<X86> = Helper {
    name: "pushed_flags",
    call: |cpu, _| {
        let iopl = cpu.state.rflags & flag::IOPL;
        if cpu.state.rflags & flag::VM != 0 && iopl != flag::IOPL {
            return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
        }
        Ok(regs::rflags(cpu) & !(flag::RF | flag::VM))
    },
    effects: Effects {
        reads: STATUS.and(SlotSet::range(21, 22)),
        writes: SlotSet::NONE,
        stops: true,
    },
};

/// PUSHF.
pub fn pushf<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let flags = e.call(&PUSHED, &[])?;
    let pointer = push_value(e, flags, o.size)?;
    set_stack_pointer(e, pointer);
    Ok(())
}

/// Sets RFLAGS as POPF does: which flags change depends on CPL and IOPL (SDM vol. 2, POPF).
fn set_popped(cpu: &mut Cpu, value: u64, size: u8) {
    let old = regs::rflags(cpu);
    let iopl = (cpu.state.rflags & flag::IOPL) >> 12;
    let cpl = u64::from(cpu.state.cpl);
    let mut changes = flag::STATUS | flag::DF | flag::TF | flag::NT;
    if size != 1 {
        changes |= flag::AC | flag::ID;
    }
    if cpl <= iopl {
        changes |= flag::IF;
    }
    if cpl == 0 {
        changes |= flag::IOPL;
    }
    let mut new = old & !changes | value & changes;
    if size != 1 {
        new &= !flag::RF;
    }
    regs::set_rflags(cpu, new);
    state::changed(cpu);
}

static SET_POPPED: Helper<X86> = Helper {
    name: "set_popped_flags",
    call: |cpu, [value, size, ..]| {
        let iopl = cpu.state.rflags & flag::IOPL;
        if cpu.state.rflags & flag::VM != 0 && iopl != flag::IOPL {
            return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
        }
        set_popped(cpu, value, size as u8);
        Ok(0)
    },
    effects: Effects::ANY,
};

/// POPF.
pub fn popf<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = stack_value(e, 0, o.size)?;
    let size = e.imm(u64::from(o.size));
    e.call(&SET_POPPED, &[value, size])?;
    let pointer = e.get(RSP);
    let above = e.add_imm(pointer, 1 << o.size);
    set_stack_pointer(e, above);
    e.end_block();
    Ok(())
}

/// ENTER: `imm` is the frame's size, and above it, from bit 16 on, the nesting level.
fn enter_frame(cpu: &mut Cpu, imm: u64, size: u8) -> Result<u64, Stop> {
    let (bytes, level) = (imm & 0xffff, imm >> 16 & 31);
    let step = 1u64 << size;
    let mode = cpu.state.mode;
    let pointer = stack_size(mode);
    let stack = via(mode, seg::SS);
    let rbp = cpu.slot(RBP);
    let mut rsp = cpu.slot(RSP);
    let mut push = |cpu: &mut Cpu, value: u64| -> Result<(), Stop> {
        rsp = rsp.wrapping_sub(step);
        let offset = zx(cpu, rsp, pointer);
        let at = linear(cpu, stack, offset, step, true)?;
        store(cpu, at, value, size, stack)
    };
    push(cpu, rbp)?;
    let mut frame = rbp;
    let top = cpu.slot(RSP).wrapping_sub(step);
    if level > 0 {
        for _ in 1..level {
            frame = frame.wrapping_sub(step);
            let offset = zx(cpu, frame, pointer);
            let at = linear(cpu, stack, offset, step, false)?;
            let value = load(cpu, at, size, stack, false)?;
            push(cpu, value)?;
        }
        push(cpu, top)?;
    }
    let end = rsp.wrapping_sub(bytes);
    // The last byte of the new frame must be there (SDM vol. 2, ENTER).
    let offset = zx(cpu, end, pointer);
    let at = linear(cpu, stack, offset, step, true)?;
    load(cpu, at, size, stack, true)?;
    write_reg(cpu, Loc::reg(4), end, pointer);
    write_reg(cpu, Loc::reg(5), top, size);
    Ok(0)
}

static ENTER: Helper<X86> = Helper {
    name: "enter",
    call: |cpu, [imm, size, ..]| enter_frame(cpu, imm, size as u8),
    effects: Effects::ANY,
};

/// ENTER.
pub fn enter<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (imm, size) = (e.imm(o.imm), e.imm(u64::from(o.size)));
    e.call(&ENTER, &[imm, size])?;
    Ok(())
}

/// PUSHA: all registers, and the stack pointer as it was before.
fn push_all(cpu: &mut Cpu, size: u8) -> Result<u64, Stop> {
    let mode = cpu.state.mode;
    let stack = via(mode, seg::SS);
    let mut rsp = cpu.slot(RSP);
    for number in 0..8 {
        let value = cpu.slot(gpr(number));
        rsp = rsp.wrapping_sub(1 << size);
        let offset = zx(cpu, rsp, stack_size(mode));
        let at = linear(cpu, stack, offset, 1 << size, true)?;
        store(cpu, at, value, size, stack)?;
    }
    set_stack_pointer(cpu, rsp);
    Ok(0)
}

/// POPA: all registers but the stack pointer.
fn pop_all(cpu: &mut Cpu, size: u8) -> Result<u64, Stop> {
    let mut values = [0; 8];
    for (above, value) in (0..).zip(values.iter_mut().rev()) {
        *value = stack_value(cpu, above << size, size)?;
    }
    let rsp = cpu.slot(RSP).wrapping_add(8 << size);
    for (number, value) in (0..).zip(values) {
        if number != 4 {
            write_reg(cpu, Loc::reg(number), value, size);
        }
    }
    set_stack_pointer(cpu, rsp);
    Ok(0)
}

static ALL: Helper<X86> = Helper {
    name: "push_or_pop_all",
    call: |cpu, [pops, size, ..]| {
        if pops != 0 {
            pop_all(cpu, size as u8)
        } else {
            push_all(cpu, size as u8)
        }
    },
    effects: Effects::ANY,
};

/// PUSHA, or POPA.
pub fn all<E: Emit<Arch = X86>, const POPS: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (pops, size) = (e.imm(u64::from(POPS)), e.imm(u64::from(o.size)));
    e.call(&ALL, &[pops, size])?;
    Ok(())
}
