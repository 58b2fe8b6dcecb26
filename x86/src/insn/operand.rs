//! Reading and writing operands: registers and their parts, immediates, memory (SDM vol. 1, 3.7).

use super::{Loc, NO_REG, Operands, RIP, info, mode, via};
use crate::X86;
use crate::regs::{FS_BASE, GS_BASE, RSP, gpr};
use crate::segments::{LINEAR, seg};
use understudy_engine::emit::{Align, Emit, Mem, Order, Size, Unary};

/// The order that the architecture gives every load and store (SDM vol. 3A, 9.2.2), where the host's own
/// processor does not.
const LOAD_ORDER: Order = if cfg!(target_arch = "x86_64") {
    Order::Relaxed
} else {
    Order::Acquire
};
const STORE_ORDER: Order = if cfg!(target_arch = "x86_64") {
    Order::Relaxed
} else {
    Order::Release
};

/// Bits of an operand of this size.
pub const fn width(size: u8) -> u32 {
    8 << size
}

/// All bits of an operand of this size.
pub const fn mask(size: u8) -> u64 {
    !0 >> (64 - width(size))
}

/// Zero-extends an operand.
#[inline(always)]
pub fn zx<E: Emit<Arch = X86>>(e: &mut E, value: E::Val, size: u8) -> E::Val {
    match size {
        0 => e.unary(Unary::Zext8, value),
        1 => e.unary(Unary::Zext16, value),
        2 => e.unary(Unary::Zext32, value),
        _ => value,
    }
}

/// Sign-extends an operand.
#[inline(always)]
pub fn sx<E: Emit<Arch = X86>>(e: &mut E, value: E::Val, size: u8) -> E::Val {
    match size {
        0 => e.unary(Unary::Sext8, value),
        1 => e.unary(Unary::Sext16, value),
        2 => e.unary(Unary::Sext32, value),
        _ => value,
    }
}

/// What a register operand holds, zero-extended.
#[inline(always)]
pub fn read_reg<E: Emit<Arch = X86>>(e: &mut E, loc: Loc, size: u8) -> E::Val {
    match loc.low_reg() {
        Some(number) => {
            let value = e.get(gpr(number));
            zx(e, value, size)
        }
        None => {
            let value = e.get(gpr(loc.number()));
            let value = e.shr_imm(value, 8);
            e.unary(Unary::Zext8, value)
        }
    }
}

/// Sets a register operand: 32 bits clear what is above them, less keep it.
#[inline(always)]
pub fn write_reg<E: Emit<Arch = X86>>(e: &mut E, loc: Loc, value: E::Val, size: u8) {
    let slot = gpr(loc.number());
    let value = match (size, loc.low_reg()) {
        (3, _) => value,
        (2, _) => e.zext32(value),
        (_, Some(_)) => {
            let old = e.get(slot);
            let kept = e.and_imm(old, !mask(size));
            let new = zx(e, value, size);
            e.or(kept, new)
        }
        (_, None) => {
            let old = e.get(slot);
            let kept = e.and_imm(old, !0xff00);
            let new = e.unary(Unary::Zext8, value);
            let new = e.shl_imm(new, 8);
            e.or(kept, new)
        }
    };
    e.put(slot, value);
}

/// The effective address: an offset in the segment.
#[inline(always)]
pub fn offset<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> E::Val {
    let mut value = match o.base {
        NO_REG => e.imm(o.disp),
        RIP => {
            let pc = e.pc();
            e.add_imm(pc, o.disp)
        }
        base => {
            let base = e.get(gpr(base));
            e.add_imm(base, o.disp)
        }
    };
    if o.index != NO_REG {
        let index = e.get(gpr(o.index));
        let index = e.shl_imm(index, u32::from(o.scale));
        value = e.add(value, index);
    }
    zx(e, value, o.address)
}

/// The linear address of an offset in a segment.
#[inline(always)]
pub fn linear<E: Emit<Arch = X86>>(
    e: &mut E,
    via: u8,
    offset: E::Val,
    bytes: u64,
    write: bool,
) -> Result<E::Val, E::Stop> {
    if via & via::CHECKED != 0 {
        let number = e.imm(u64::from(via & 7));
        let (bytes, write) = (e.imm(bytes), e.imm(write as u64));
        return e.call(&LINEAR, &[offset, number, bytes, write]);
    }
    if via & via::BASE != 0 {
        let slot = if via & 7 == seg::FS { FS_BASE } else { GS_BASE };
        let base = e.get(slot);
        return Ok(e.add(base, offset));
    }
    Ok(offset)
}

/// How memory of this size is accessed through a segment.
#[inline(always)]
fn access<E: Emit<Arch = X86>>(e: &E, size: u8, via: u8, order: Order, extra: u32) -> Mem {
    let mut mem = Mem::new(Size::from_log2(u32::from(size))).order(order);
    if e.mode() & mode::ALIGNED != 0 {
        mem.align = Align::Natural;
    }
    if via & via::STACK != 0 {
        mem.info |= info::STACK;
    }
    if via & via::UNKNOWN != 0 {
        mem.info |= info::UNKNOWN;
    }
    mem.info |= extra;
    mem
}

/// The linear address of the operand in memory.
#[inline(always)]
pub fn address<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    size: u8,
    write: bool,
) -> Result<E::Val, E::Stop> {
    let offset = offset(e, o);
    linear(e, o.via, offset, 1 << size, write)
}

/// Loads from a linear address, zero-extended; `writes` if the instruction then stores there.
#[inline(always)]
pub fn load<E: Emit<Arch = X86>>(
    e: &mut E,
    address: E::Val,
    size: u8,
    via: u8,
    writes: bool,
) -> Result<E::Val, E::Stop> {
    let extra = if writes { info::WRITES } else { 0 };
    let mem = access(e, size, via, LOAD_ORDER, extra);
    e.load(address, mem)
}

/// Stores to a linear address.
#[inline(always)]
pub fn store<E: Emit<Arch = X86>>(
    e: &mut E,
    address: E::Val,
    value: E::Val,
    size: u8,
    via: u8,
) -> Result<(), E::Stop> {
    let mem = access(e, size, via, STORE_ORDER, 0);
    e.store(address, value, mem)
}

/// How 16 bytes are accessed: `aligned` if an address that is no multiple of 16 is #GP.
#[inline(always)]
fn pair_access<E: Emit<Arch = X86>>(e: &E, via: u8, order: Order, aligned: bool) -> Mem {
    let mut mem = access(e, 3, via, order, 0);
    if aligned {
        mem = mem.aligned();
        mem.info |= info::VECTOR;
    }
    mem
}

/// Loads 16 bytes from a linear address.
#[inline(always)]
pub fn load_pair<E: Emit<Arch = X86>>(
    e: &mut E,
    address: E::Val,
    via: u8,
    aligned: bool,
) -> Result<(E::Val, E::Val), E::Stop> {
    let mem = pair_access(e, via, LOAD_ORDER, aligned);
    e.load_pair(address, mem)
}

/// Stores 16 bytes to a linear address.
#[inline(always)]
pub fn store_pair<E: Emit<Arch = X86>>(
    e: &mut E,
    address: E::Val,
    values: (E::Val, E::Val),
    via: u8,
    aligned: bool,
) -> Result<(), E::Stop> {
    let mem = pair_access(e, via, STORE_ORDER, aligned);
    e.store_pair(address, values, mem)
}

/// How a locked access is made.
#[inline(always)]
pub fn locked<E: Emit<Arch = X86>>(e: &E, size: u8, via: u8) -> Mem {
    access(e, size, via, Order::AcqRel, info::WRITES)
}

/// What an operand holds, zero-extended.
#[inline(always)]
pub fn read<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    loc: Loc,
    size: u8,
) -> Result<E::Val, E::Stop> {
    match loc {
        Loc::MEM => {
            let at = address(e, o, size, false)?;
            load(e, at, size, o.via, false)
        }
        Loc::IMM => Ok(e.imm(o.imm & mask(size))),
        _ => Ok(read_reg(e, loc, size)),
    }
}

/// Sets an operand.
#[inline(always)]
pub fn write<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    loc: Loc,
    value: E::Val,
    size: u8,
) -> Result<(), E::Stop> {
    if loc == Loc::MEM {
        let at = address(e, o, size, true)?;
        return store(e, at, value, size, o.via);
    }
    write_reg(e, loc, value, size);
    Ok(())
}

/// The value of an operand that will be written, and its address if it is in memory.
pub type ToWrite<V> = (V, Option<V>);

/// An operand that is read and then written: its value, and its address if it is in memory.
#[inline(always)]
pub fn read_to_write<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    size: u8,
) -> Result<ToWrite<E::Val>, E::Stop> {
    if o.a == Loc::MEM {
        let at = address(e, o, size, true)?;
        return Ok((load(e, at, size, o.via, true)?, Some(at)));
    }
    Ok((read_reg(e, o.a, size), None))
}

/// Writes the operand that [`read_to_write`] has read.
#[inline(always)]
pub fn write_back<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    at: Option<E::Val>,
    value: E::Val,
    size: u8,
) -> Result<(), E::Stop> {
    match at {
        Some(at) => store(e, at, value, size, o.via),
        None => {
            write_reg(e, o.a, value, size);
            Ok(())
        }
    }
}

/// The size of stack pointers in this mode.
#[inline(always)]
pub fn stack_size(mode: u32) -> u8 {
    if mode & mode::STACK64 != 0 {
        3
    } else if mode & mode::STACK32 != 0 {
        2
    } else {
        1
    }
}

/// How a segment is gone through in this mode, where it is not FS or GS.
pub const fn via(mode: u32, number: u8) -> u8 {
    let stack = if number == seg::SS { via::STACK } else { 0 };
    if mode & mode::CODE64 != 0 {
        match number {
            seg::FS | seg::GS => number | via::BASE,
            _ => via::FLAT | stack,
        }
    } else if mode & mode::FLAT != 0 && number < seg::FS {
        via::FLAT | stack
    } else {
        number | via::CHECKED | stack
    }
}

/// Sets the stack pointer.
#[inline(always)]
pub fn set_stack_pointer<E: Emit<Arch = X86>>(e: &mut E, value: E::Val) {
    let size = stack_size(e.mode());
    write_reg(e, Loc::reg(4), value, size);
}

/// Stores a value below the stack pointer, and gives what the pointer is then.
#[inline(always)]
pub fn push_value<E: Emit<Arch = X86>>(
    e: &mut E,
    value: E::Val,
    size: u8,
) -> Result<E::Val, E::Stop> {
    let mode = e.mode();
    let via = via(mode, seg::SS);
    let pointer = e.get(RSP);
    let new = e.add_imm(pointer, 0u64.wrapping_sub(1 << size));
    let offset = zx(e, new, stack_size(mode));
    let at = linear(e, via, offset, 1 << size, true)?;
    store(e, at, value, size, via)?;
    Ok(new)
}

/// Loads the value at the stack pointer plus `above`.
#[inline(always)]
pub fn stack_value<E: Emit<Arch = X86>>(
    e: &mut E,
    above: u64,
    size: u8,
) -> Result<E::Val, E::Stop> {
    let mode = e.mode();
    let via = via(mode, seg::SS);
    let pointer = e.get(RSP);
    let pointer = e.add_imm(pointer, above);
    let offset = zx(e, pointer, stack_size(mode));
    let at = linear(e, via, offset, 1 << size, false)?;
    load(e, at, size, via, false)
}
