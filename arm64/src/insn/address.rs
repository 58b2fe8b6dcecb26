//! Addresses of loads and stores: their forms, and what all of them have in common.

use super::alu::extend;
use super::{Operands, info, mode};
use crate::Arm64;
use crate::regs::{self, read_x, x, x_sp};
use understudy_engine::emit::{Binary, Emit, Mem, Order, Size, Unary};

/// Base register plus the offset in the immediate.
pub const OFFSET: u32 = 0;
/// The same, and the sum is written back.
pub const PRE: u32 = 1;
/// The base register alone; the sum is written back.
pub const POST: u32 = 2;
/// Base register plus a 64-bit register, shifted left by the amount in the immediate.
pub const REGISTER: u32 = 3;
/// Base register plus the extended low half of a register, shifted left likewise.
pub const EXTENDED: u32 = 4;

/// The base is not SP, data are little-endian, alignment is not checked.
pub const PLAIN: u32 = 0;
/// The same, but the base is SP, and its alignment is checked.
pub const STACK: u32 = 1;
/// All else.
pub const ANY: u32 = 2;

/// Which of [`PLAIN`], [`STACK`] and [`ANY`] an access with base Rn is in this mode.
pub fn form(mode: u32, o: &Operands) -> u32 {
    let stack = o.rn() == 31;
    if mode & (mode::BIG_ENDIAN | mode::ALIGNED) != 0 || stack && mode & mode::SP_ALIGNED == 0 {
        ANY
    } else if stack {
        STACK
    } else {
        PLAIN
    }
}

/// The immediate of a load or store: its offset (or shift), and its [`Mem::info`].
pub fn immediate(offset: i32, info: u32) -> u64 {
    offset as u32 as u64 | (info as u64) << 32
}

/// [`Mem::info`] that an immediate holds, with [`info::STACK`] if it applies.
#[inline(always)]
fn information(o: &Operands, stack: bool) -> u32 {
    (o.imm >> 32) as u32 | if stack { info::STACK } else { 0 }
}

/// Whether the base is SP and its alignment is checked.
#[inline(always)]
pub fn checks_stack<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands, form: u32) -> bool {
    match form {
        PLAIN => false,
        STACK => true,
        _ => o.rn() == 31 && e.mode() & mode::SP_ALIGNED != 0,
    }
}

/// The [`Mem`] of an ordinary access.
#[inline(always)]
pub fn mem<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands, size: Size, form: u32) -> Mem {
    let stack = checks_stack(e, o, form);
    let mem = Mem::new(size).info(information(o, stack));
    if form == ANY && e.mode() & mode::ALIGNED != 0 {
        mem.aligned()
    } else {
        mem
    }
}

/// The [`Mem`] of an access that must be aligned in any case.
#[inline(always)]
pub fn aligned_mem<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    size: Size,
    order: Order,
) -> Mem {
    let stack = checks_stack(e, o, ANY);
    let info = information(o, stack);
    Mem::new(size).info(info).aligned().order(order)
}

/// The base register.
#[inline(always)]
pub fn base<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands, form: u32) -> E::Val {
    e.get(match form {
        PLAIN => x(o.rn()),
        STACK => regs::SP,
        _ => x_sp(o.rn()),
    })
}

/// `address`, unless SP is misaligned and must not be.
#[inline(always)]
pub fn checked<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    base: E::Val,
    address: E::Val,
    form: u32,
) -> E::Val {
    if checks_stack(e, o, form) {
        let misaligned = e.and_imm(base, 15);
        let nowhere = e.imm(info::NOWHERE);
        e.select(misaligned, nowhere, address)
    } else {
        address
    }
}

/// The address of an access, and what is written back to the base register by [`write_back`].
#[inline(always)]
pub fn address<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    addressing: u32,
    form: u32,
) -> (E::Val, E::Val) {
    let base = base(e, o, form);
    let offset = o.imm as i32;
    let sum = match addressing {
        REGISTER => {
            let index = read_x(e, o.rm());
            let index = e.shl_imm(index, offset as u32 & 7);
            e.add(base, index)
        }
        EXTENDED => {
            let index = extend(e, o.rm(), o.bits(13, 3), offset as u32 & 7);
            e.add(base, index)
        }
        _ => e.add_imm(base, offset as i64 as u64),
    };
    let address = if addressing == POST { base } else { sum };
    (checked(e, o, base, address, form), sum)
}

/// Writes the base register, after all else that the instruction does.
#[inline(always)]
pub fn write_back<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    sum: E::Val,
    addressing: u32,
    form: u32,
) {
    if matches!(addressing, PRE | POST) {
        let slot = match form {
            PLAIN => x(o.rn()),
            STACK => regs::SP,
            _ => x_sp(o.rn()),
        };
        e.put(slot, sum);
    }
}

/// A value of `size` as it is in little-endian memory when the mode says that data are big-endian.
#[inline(always)]
pub fn order<E: Emit<Arch = Arm64>>(e: &mut E, value: E::Val, size: Size, form: u32) -> E::Val {
    if form == ANY && e.mode() & mode::BIG_ENDIAN != 0 {
        reverse(e, value, size)
    } else {
        value
    }
}

/// The bytes of a value of `size` in reverse order.
#[inline(always)]
pub fn reverse<E: Emit<Arch = Arm64>>(e: &mut E, value: E::Val, size: Size) -> E::Val {
    let value = e.unary(Unary::Bswap, value);
    e.shr_imm(value, 64 - 8 * size.bytes() as u32)
}

/// Reverses the bytes of each element of 8 bytes, elements of `1 << log2` bytes each.
pub fn reverse_elements<E: Emit<Arch = Arm64>>(e: &mut E, value: E::Val, log2: u32) -> E::Val {
    let mut swap_parts = |value: E::Val, shift: u32, mask: u64| {
        let low = e.and_imm(value, mask);
        let low = e.shl_imm(low, shift);
        let high = e.shr_imm(value, shift);
        let high = e.and_imm(high, mask);
        e.or(low, high)
    };
    match log2 {
        0 => value,
        1 => swap_parts(value, 8, 0x00ff_00ff_00ff_00ff),
        2 => {
            let value = e.unary(Unary::Bswap, value);
            let half = e.imm(32);
            e.binary(Binary::Ror, value, half)
        }
        _ => e.unary(Unary::Bswap, value),
    }
}
