//! Load-exclusive and store-exclusive, load-acquire and store-release, compare-and-swap
//! (Arm ARM C4.1.94, classes with bits 29:24 0b001000).
//!
//! The local monitor keeps the address that a load-exclusive marked and what it found there, as it
//! is in memory. A store-exclusive to that address is a compare-and-swap with what was found: it
//! fails if memory has changed meanwhile, and like most emulations it does not notice a change there
//! and back.

use super::address::{ANY, aligned_mem, base, checked, immediate, order};
use super::{Decoded, Operands, Outcome, info, mode};
use crate::exit::syndrome;
use crate::regs::{self, GENERAL, read_x, write_x, x, x_write};
use crate::{Arm64, Cpu, exceptions};
use understudy_engine::access;
use understudy_engine::arch::{AccessKind, Arch};
use understudy_engine::def;
use understudy_engine::emit::{Effects, Emit, Helper, Mem, Order, Size, SlotSet, Unary};

/// Decodes an instruction of these classes.
pub fn decode(o: &Operands) -> Option<Decoded> {
    let size = o.bits(30, 2);
    let (o2, load, o1) = (o.bit(23), o.bit(22), o.bit(21));
    let plain = immediate(0, size);
    match (o2, o1) {
        (false, false) if load => Some((def!(Arm64, "LDXR", ldxr), plain)),
        (false, false) => Some((def!(Arm64, "STXR", stxr), plain)),
        (false, true) if size >= 2 => {
            let imm = immediate(0, size + 1);
            Some(match load {
                true => (def!(Arm64, "LDXP", ldxp), imm),
                false => (def!(Arm64, "STXP", stxp), imm),
            })
        }
        (false, true) => {
            let even = o.rm() & 1 == 0 && o.rd() & 1 == 0;
            let imm = immediate(0, 3 + (size & 1));
            (even && o.ra() == 31).then_some((def!(Arm64, "CASP", casp), imm))
        }
        (true, false) => {
            let size = Size::from_log2(size);
            let syndrome = syndrome::register(size, o.rd(), false, size == Size::B8);
            let imm = immediate(0, syndrome | syndrome::AR | size as u32);
            Some(match (load, o.bit(15)) {
                (true, true) => (def!(Arm64, "LDAR", ldar), imm),
                (true, false) => (def!(Arm64, "LDLAR", ldar), imm),
                (false, true) => (def!(Arm64, "STLR", stlr), imm),
                (false, false) => (def!(Arm64, "STLLR", stlr), imm),
            })
        }
        (true, true) => (o.ra() == 31).then_some((def!(Arm64, "CAS", cas), plain)),
    }
}

/// Decodes LDAPUR and STLUR (FEAT_LRCPC2, "LDAPR/STLR (unscaled immediate)").
pub(super) fn unscaled(o: &Operands) -> Option<Decoded> {
    let log2 = o.bits(30, 2);
    let (def, signed, wide) = match (o.bits(22, 2), log2) {
        (0b00, _) => (def!(Arm64, "STLUR", stlur), false, log2 == 3),
        (0b01, _) => (def!(Arm64, "LDAPUR", ldapur), false, log2 == 3),
        (0b10, 0..=2) => (def!(Arm64, "LDAPURS", ldapur), true, true),
        (0b11, 0..=1) => (def!(Arm64, "LDAPURS", ldapur), true, false),
        _ => return None,
    };
    let offset = (o.bits(12, 9) << 23) as i32 >> 23;
    let size = Size::from_log2(log2);
    let syndrome = syndrome::register(size, o.rd(), signed, wide);
    Some((def, immediate(offset, syndrome | syndrome::AR | log2)))
}

fn unscaled_place<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    ordering: Order,
) -> (E::Val, Mem) {
    let base = base(e, o, ANY);
    let address = e.add_imm(base, o.imm as i32 as i64 as u64);
    let address = checked(e, o, base, address, ANY);
    (address, aligned_mem(e, o, size(o), ordering))
}

fn ldapur<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (address, mem) = unscaled_place(e, o, Order::Acquire);
    let value = e.load(address, mem)?;
    let value = order(e, value, mem.size, ANY);
    let signed = match mem.size {
        Size::B1 => Unary::Sext8,
        Size::B2 => Unary::Sext16,
        _ => Unary::Sext32,
    };
    let value = match o.bits(22, 2) {
        0b01 => value,
        0b10 => e.unary(signed, value),
        _ => {
            let value = e.unary(signed, value);
            e.zext32(value)
        }
    };
    write_x(e, o.rd(), value);
    Ok(())
}

fn stlur<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (address, mem) = unscaled_place(e, o, Order::Release);
    let value = read_x(e, o.rd());
    let value = order(e, value, mem.size, ANY);
    e.store(address, value, mem)
}

/// The size of the access, or of each half of a pair.
fn size(o: &Operands) -> Size {
    Size::from_log2(o.bits(30, 2))
}

/// Base register as an address, and the access.
fn place<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    size: Size,
    ordering: Order,
) -> (E::Val, Mem) {
    let base = base(e, o, ANY);
    let address = checked(e, o, base, base, ANY);
    (address, aligned_mem(e, o, size, ordering))
}

/// Acquire for a load-exclusive with bit 15 set.
fn acquire(o: &Operands) -> Order {
    if o.bit(15) {
        Order::Acquire
    } else {
        Order::Relaxed
    }
}

fn ldxr<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let size = size(o);
    let (address, mem) = place(e, o, size, acquire(o));
    let found = e.load(address, mem)?;
    e.put(regs::MONITOR, address);
    e.put(regs::MONITOR_LOW, found);
    let value = order(e, found, size, ANY);
    write_x(e, o.rd(), value);
    Ok(())
}

fn ldxp<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let size = size(o);
    let (address, first, second);
    if size == Size::B8 {
        let (at, mem) = place(e, o, size, acquire(o));
        address = at;
        (first, second) = e.load_pair(address, mem)?;
    } else {
        // Two words are one access.
        let (at, mem) = place(e, o, Size::B8, acquire(o));
        address = at;
        let both = e.load(address, mem)?;
        first = e.zext32(both);
        second = e.shr_imm(both, 32);
    }
    e.put(regs::MONITOR, address);
    e.put(regs::MONITOR_LOW, first);
    e.put(regs::MONITOR_HIGH, second);
    let first = order(e, first, size, ANY);
    let second = order(e, second, size, ANY);
    write_x(e, o.rd(), first);
    write_x(e, o.ra(), second);
    Ok(())
}

const MONITOR: SlotSet = SlotSet::range(42, 45);

/// Store-exclusive: address, one or two values as they are to be in memory, and size with
/// [`Mem::info`] above it. Gives 0 if it has stored, 1 if not.
static STORE_EXCLUSIVE: Helper<Arm64> = Helper {
    name: "store_exclusive",
    call: |cpu, [address, first, second, what]| {
        let size = Size::from_log2(what as u32);
        let mem = Mem::new(size)
            .info((what >> 32) as u32)
            .aligned()
            .order(Order::AcqRel);
        let pair = what & PAIR != 0;
        store_exclusive(cpu, address, (first, second), pair, mem)
    },
    effects: Effects {
        reads: MONITOR.and(GENERAL),
        writes: MONITOR,
        stops: true,
    },
};

/// In the last argument of [`STORE_EXCLUSIVE`]: it is one of a pair.
const PAIR: u64 = 1 << 2;

fn store_exclusive(cpu: &mut Cpu, address: u64, new: (u64, u64), pair: bool, mem: Mem) -> Outcome {
    if info::stack_misaligned(cpu, mem) {
        return Err(exceptions::sp_alignment(cpu));
    }
    let bytes = mem.size.bytes() << pair as u32;
    if address & (bytes - 1) != 0 {
        Arm64::check_access(cpu, address, bytes, mem, AccessKind::Store)?;
    }
    if cpu.slot(regs::MONITOR) != address {
        cpu.set_slot(regs::MONITOR, regs::MONITOR_OPEN);
        return Ok(1);
    }
    let mask = mem.size.mask();
    let expected = (
        cpu.slot(regs::MONITOR_LOW) & mask,
        cpu.slot(regs::MONITOR_HIGH) & mask,
    );
    let stored = if pair {
        access::compare_exchange_pair(cpu, address, expected, new, mem)? == expected
    } else {
        access::compare_exchange(cpu, address, expected.0, new.0, mem)? == expected.0
    };
    cpu.set_slot(regs::MONITOR, regs::MONITOR_OPEN);
    Ok(!stored as u64)
}

fn stxr<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let size = size(o);
    let (address, mem) = place(e, o, size, Order::AcqRel);
    let value = read_x(e, o.rd());
    let value = order(e, value, size, ANY);
    let zero = e.imm(0);
    let what = e.imm(size as u64 | (mem.info as u64) << 32);
    let status = e.call(&STORE_EXCLUSIVE, &[address, value, zero, what])?;
    write_x(e, o.rm(), status);
    Ok(())
}

fn stxp<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let size = size(o);
    let (address, mem) = place(e, o, size, Order::AcqRel);
    let (first, second) = (read_x(e, o.rd()), read_x(e, o.ra()));
    let first = order(e, first, size, ANY);
    let second = order(e, second, size, ANY);
    let what = e.imm(size as u64 | PAIR | (mem.info as u64) << 32);
    let status = e.call(&STORE_EXCLUSIVE, &[address, first, second, what])?;
    write_x(e, o.rm(), status);
    Ok(())
}

fn ldar<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let size = size(o);
    let (address, mem) = place(e, o, size, Order::Acquire);
    let value = e.load(address, mem)?;
    let value = order(e, value, size, ANY);
    write_x(e, o.rd(), value);
    Ok(())
}

fn stlr<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let size = size(o);
    let (address, mem) = place(e, o, size, Order::Release);
    let value = read_x(e, o.rd());
    let value = order(e, value, size, ANY);
    e.store(address, value, mem)
}

fn cas<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let size = size(o);
    let (address, mem) = place(e, o, size, Order::AcqRel);
    let (expected, new) = (read_x(e, o.rm()), read_x(e, o.rd()));
    let expected = order(e, expected, size, ANY);
    let new = order(e, new, size, ANY);
    let found = e.compare_exchange(address, expected, new, mem)?;
    let found = order(e, found, size, ANY);
    write_x(e, o.rm(), found);
    Ok(())
}

/// CASP: address, word, [`Mem::info`], and whether data are big-endian.
static CASP: Helper<Arm64> = Helper {
    name: "casp",
    call: |cpu, [address, word, info, big_endian]| {
        let o = Operands {
            word: word as u32,
            imm: 0,
        };
        let size = if o.bit(30) { Size::B8 } else { Size::B4 };
        let mem = Mem::new(size)
            .info(info as u32)
            .aligned()
            .order(Order::AcqRel);
        let in_order = |value: u64| {
            if big_endian != 0 {
                Unary::Bswap.eval(value) >> (64 - 8 * size.bytes())
            } else {
                value & size.mask()
            }
        };
        let pair = |cpu: &Cpu, n| (in_order(cpu.slot(x(n))), in_order(cpu.slot(x(n + 1))));
        let (expected, new) = (pair(cpu, o.rm()), pair(cpu, o.rd()));
        let found = access::compare_exchange_pair(cpu, address, expected, new, mem)?;
        cpu.set_slot(x_write(o.rm()), in_order(found.0));
        cpu.set_slot(x_write(o.rm() + 1), in_order(found.1));
        Ok(0)
    },
    effects: Effects {
        reads: GENERAL,
        writes: GENERAL,
        stops: true,
    },
};

fn casp<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let size = if o.bit(30) { Size::B8 } else { Size::B4 };
    let (address, mem) = place(e, o, size, Order::AcqRel);
    let word = e.imm(o.word as u64);
    let info = e.imm(mem.info as u64);
    let big_endian = e.imm((e.mode() & mode::BIG_ENDIAN) as u64);
    e.call(&CASP, &[address, word, info, big_endian])?;
    Ok(())
}
