//! Exchanges with memory: XCHG, XADD, CMPXCHG, CMPXCHG8B and CMPXCHG16B (SDM vol. 2).

use super::alu::{self, set_flags};
use super::arith::sized;
use super::operand::{
    address, linear, locked, offset, read_reg, read_to_write, write_back, write_reg,
};
use super::{Loc, Operands};
use crate::exceptions::{self, Fault, vector};
use crate::regs::{RAX, RBX, RCX, RDX, ZERO, gpr};
use crate::{Cpu, X86};
use understudy_engine::access;
use understudy_engine::arch::Def;
use understudy_engine::emit::{Cmp, Effects, Emit, Helper, Mem, Order, Rmw, Size, Stop};

/// XCHG with memory, which is always locked.
pub fn exchange(size: u8) -> &'static Def<X86> {
    sized!("XCHG", xchg, [], size)
}

fn xchg<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let at = address(e, o, S, true)?;
    let value = read_reg(e, o.b, S);
    let mem = locked(e, S, o.via);
    let old = e.rmw(Rmw::Swap, at, value, mem)?;
    write_reg(e, o.b, old, S);
    Ok(())
}

/// The same in two accesses, where no atomic one can be made.
pub fn unlocked(size: u8) -> &'static Def<X86> {
    sized!("XCHG", xchg_unlocked, [], size)
}

fn xchg_unlocked<E: Emit<Arch = X86>, const S: u8>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_reg(e, o.b, S);
    let (old, at) = read_to_write(e, o, S)?;
    write_back(e, o, at, value, S)?;
    write_reg(e, o.b, old, S);
    Ok(())
}

/// XADD.
pub fn add(size: u8, lock: bool) -> &'static Def<X86> {
    if lock {
        sized!("XADD", xadd, [true], size)
    } else {
        sized!("XADD", xadd, [false], size)
    }
}

fn xadd<E: Emit<Arch = X86>, const LOCK: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let b = read_reg(e, o.b, S);
    if LOCK {
        let at = address(e, o, S, true)?;
        let mem = locked(e, S, o.via);
        let a = e.rmw(Rmw::Add, at, b, mem)?;
        let (_, flags) = alu::add(e, a, b, S);
        write_reg(e, o.b, a, S);
        set_flags(e, flags);
        return Ok(());
    }
    let (a, at) = read_to_write(e, o, S)?;
    let (sum, flags) = alu::add(e, a, b, S);
    match at {
        Some(_) => {
            write_back(e, o, at, sum, S)?;
            write_reg(e, o.b, a, S);
        }
        None => {
            // If both are the same register, it gets the sum.
            write_reg(e, o.b, a, S);
            write_reg(e, o.a, sum, S);
        }
    }
    set_flags(e, flags);
    Ok(())
}

/// CMPXCHG.
pub fn compare(size: u8, lock: bool) -> &'static Def<X86> {
    if lock {
        sized!("CMPXCHG", cmpxchg, [true], size)
    } else {
        sized!("CMPXCHG", cmpxchg, [false], size)
    }
}

fn cmpxchg<E: Emit<Arch = X86>, const LOCK: bool, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let accumulator = read_reg(e, Loc::reg(0), S);
    let new = read_reg(e, o.b, S);
    let (found, equal) = if LOCK {
        let at = address(e, o, S, true)?;
        let mem = locked(e, S, o.via);
        let found = e.compare_exchange(at, accumulator, new, mem)?;
        (found, e.compare(Cmp::Eq, found, accumulator))
    } else {
        let (found, at) = read_to_write(e, o, S)?;
        let equal = e.compare(Cmp::Eq, found, accumulator);
        if at.is_some() {
            // Memory is written either way.
            let value = e.select(equal, new, found);
            write_back(e, o, at, value, S)?;
        } else {
            select_reg(e, o.a, equal, new, S);
        }
        (found, equal)
    };
    let (_, flags) = alu::sub(e, accumulator, found, S);
    let one = e.imm(1);
    let differ = e.xor(equal, one);
    // A destination that is the accumulator has got the new value.
    if o.a != Loc::reg(0) || o.a == Loc::MEM {
        select_reg(e, Loc::reg(0), differ, found, S);
    }
    set_flags(e, flags);
    Ok(())
}

/// Sets a register where the condition is not 0; if not, all of it stays.
#[inline(always)]
fn select_reg<E: Emit<Arch = X86>>(
    e: &mut E,
    loc: Loc,
    condition: E::Val,
    value: E::Val,
    size: u8,
) {
    let slot = gpr(loc.number());
    let old = e.get(slot);
    write_reg(e, loc, value, size);
    let new = e.get(slot);
    let result = e.select(condition, new, old);
    e.put(slot, result);
}

fn atomic(size: Size) -> Mem {
    Mem::new(size)
        .order(Order::AcqRel)
        .info(super::info::WRITES)
}

/// Negates memory; gives what it held.
pub static NEGATE: Helper<X86> = Helper {
    name: "negate",
    call: |cpu, [at, size, ..]| {
        let mem = atomic(Size::from_log2(size as u32));
        let mut old = access::load(cpu, at, mem)?;
        loop {
            let new = old.wrapping_neg() & mem.size.mask();
            let found = access::compare_exchange(cpu, at, old, new, mem)?;
            if found == old {
                return Ok(old);
            }
            old = found;
        }
    },
    effects: Effects::ANY,
};

fn compare_pair(cpu: &mut Cpu, at: u64, size: u8, via: u8) -> Result<u64, Stop> {
    let mem = locked(cpu, size, via);
    let half = mem.size;
    if half == Size::B8 && at & 15 != 0 {
        return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
    }
    let mask = half.mask();
    let pair = |cpu: &Cpu, low, high| (cpu.slot(low) & mask, cpu.slot(high) & mask);
    let expected = pair(cpu, RAX, RDX);
    let new = pair(cpu, RBX, RCX);
    let found = if half == Size::B4 && (at & 4095 > 4088 || cpu.state.unlocked) {
        // No atomic access crosses a page, or is a device's.
        let whole = Mem::new(Size::B8);
        let found = access::load(cpu, at, whole.info(super::info::WRITES))?;
        let found = (found & mask, found >> 32);
        let value = if found == expected { new } else { found };
        access::store(cpu, at, value.0 | value.1 << 32, whole)?;
        found
    } else {
        access::compare_exchange_pair(cpu, at, expected, new, mem)?
    };
    let equal = found == expected;
    if !equal {
        cpu.set_slot(RAX, found.0);
        cpu.set_slot(RDX, found.1);
    }
    Ok(u64::from(equal))
}

static PAIR: Helper<X86> = Helper {
    name: "compare_exchange_pair",
    call: |cpu, [at, size, via, ..]| compare_pair(cpu, at, size as u8, via as u8),
    effects: Effects::ANY,
};

/// CMPXCHG8B and CMPXCHG16B: the operands' size is that of a half.
pub fn compare_pairs<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let offset = offset(e, o);
    let at = linear(e, o.via, offset, 2 << o.size, true)?;
    let (size, via) = (e.imm(u64::from(o.size)), e.imm(u64::from(o.via)));
    let equal = e.call(&PAIR, &[at, size, via])?;
    // ZF alone.
    let one = e.imm(1);
    let differ = e.xor(equal, one);
    e.put(ZERO, differ);
    Ok(())
}
