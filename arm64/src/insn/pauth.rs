//! Instructions of pointer authentication (FEAT_PAuth): among data processing with one and two sources,
//! hints, branches to registers, and loads (Arm ARM C4.1). What they compute is in [`crate::pauth`].

use super::address::{ANY, base, checked, mem, order};
use super::{Decoded, Operands, bti};
use crate::exit::syndrome;
use crate::pauth::{self, Key};
use crate::regs::{self, read_x, write_x, x_sp};
use crate::{Arm64, exceptions};
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Effects, Emit, Helper, Size, SlotSet};

type Definition = &'static Def<Arm64>;

/// A function of its arguments that may be UNDEFINED.
const TRAPPED: Effects = Effects {
    reads: SlotSet::NONE,
    writes: SlotSet::NONE,
    stops: true,
};

macro_rules! helpers {
    ($($static:ident $name:literal $call:expr;)*) => {$(
        static $static: Helper<Arm64> = Helper {
            name: $name,
            call: $call,
            effects: TRAPPED,
        };
    )*};
}

helpers! {
    SIGN "pac" |cpu, [pointer, modifier, key, _]| {
        pauth::sign(cpu, pointer, modifier, Key::new(key as u32))
    };
    AUTHENTICATE "aut" |cpu, [pointer, modifier, key, _]| {
        pauth::authenticate(cpu, pointer, modifier, Key::new(key as u32))
    };
    STRIP "xpac" |cpu, [pointer, data, ..]| pauth::strip(cpu, pointer, data != 0);
    GENERIC "pacga" |cpu, [data, modifier, ..]| pauth::generic(cpu, data, modifier);
}

/// Those with one source: bits 20:16 are 0b00001, sf is set.
pub(super) fn one_source(o: &Operands) -> Option<Definition> {
    let zero = o.rn() == 31;
    Some(match o.bits(10, 6) {
        0b000000..=0b000011 => def!(Arm64, "PACIA", convert, [true]),
        0b000100..=0b000111 => def!(Arm64, "AUTIA", convert, [false]),
        0b001000..=0b001011 if zero => def!(Arm64, "PACIZA", convert, [true]),
        0b001100..=0b001111 if zero => def!(Arm64, "AUTIZA", convert, [false]),
        0b010000 if zero => def!(Arm64, "XPACI", xpac),
        0b010001 if zero => def!(Arm64, "XPACD", xpac),
        _ => return None,
    })
}

/// Signs or authenticates `pointer`.
#[inline(always)]
fn apply<E: Emit<Arch = Arm64>>(
    e: &mut E,
    sign: bool,
    pointer: E::Val,
    modifier: E::Val,
    key: u32,
) -> Result<E::Val, E::Stop> {
    let key = e.imm(key as u64);
    let helper = if sign { &SIGN } else { &AUTHENTICATE };
    e.call(helper, &[pointer, modifier, key])
}

fn convert<E: Emit<Arch = Arm64>, const SIGN: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let pointer = read_x(e, o.rd());
    let modifier = if o.bit(13) {
        e.imm(0)
    } else {
        e.get(x_sp(o.rn()))
    };
    let result = apply(e, SIGN, pointer, modifier, o.bits(10, 2))?;
    write_x(e, o.rd(), result);
    Ok(())
}

fn xpac<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let pointer = read_x(e, o.rd());
    let data = e.imm(o.bits(10, 1) as u64);
    let result = e.call(&STRIP, &[pointer, data])?;
    write_x(e, o.rd(), result);
    Ok(())
}

/// PACGA.
pub(super) fn pacga<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let data = read_x(e, o.rn());
    let modifier = e.get(x_sp(o.rm()));
    let result = e.call(&GENERIC, &[data, modifier])?;
    write_x(e, o.rd(), result);
    Ok(())
}

/// The hints, by CRm and op2.
pub(super) fn hint(o: &Operands) -> Option<Definition> {
    Some(match (o.bits(8, 4), o.bits(5, 3)) {
        (0b0000, 0b111) => def!(Arm64, "XPACLRI", xpaclri),
        (0b0001, 0b000) | (0b0001, 0b010) => def!(Arm64, "PACIA1716", by_hint, [true]),
        (0b0001, 0b100) | (0b0001, 0b110) => def!(Arm64, "AUTIA1716", by_hint, [false]),
        (0b0011, 0b000) | (0b0011, 0b010) => def!(Arm64, "PACIAZ", by_hint, [true]),
        (0b0011, 0b001) | (0b0011, 0b011) => def!(Arm64, "PACIASP", by_hint, [true]),
        (0b0011, 0b100) | (0b0011, 0b110) => def!(Arm64, "AUTIAZ", by_hint, [false]),
        (0b0011, 0b101) | (0b0011, 0b111) => def!(Arm64, "AUTIASP", by_hint, [false]),
        _ => return None,
    })
}

fn by_hint<E: Emit<Arch = Arm64>, const SIGN: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    // CRm 0b0001: X17 with X16; else X30 with SP or zero.
    let (n, modifier) = match (o.bits(8, 4), o.bit(5)) {
        (0b0001, _) => (17, read_x(e, 16)),
        (_, true) => (30, e.get(regs::SP)),
        (_, false) => (30, e.imm(0)),
    };
    let pointer = read_x(e, n);
    let result = apply(e, SIGN, pointer, modifier, o.bits(6, 1))?;
    write_x(e, n, result);
    Ok(())
}

fn xpaclri<E: Emit<Arch = Arm64>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let pointer = read_x(e, 30);
    let data = e.imm(0);
    let result = e.call(&STRIP, &[pointer, data])?;
    write_x(e, 30, result);
    Ok(())
}

/// Branches whose target is authenticated: bit 11 is set.
pub(super) fn branch(el1: bool, o: &Operands) -> Option<Definition> {
    if o.rm() != 0b11111 || o.bits(11, 5) != 1 {
        return None;
    }
    let zero = o.rd() == 0b11111;
    let plain = o.rn() == 0b11111 && zero;
    Some(match (o.bit(24), o.bits(21, 3)) {
        (true, 0b000) => def!(Arm64, "BRAA", braa, [false], ends),
        (false, 0b000) if zero => def!(Arm64, "BRAAZ", braa, [false], ends),
        (true, 0b001) => def!(Arm64, "BLRAA", braa, [true], ends),
        (false, 0b001) if zero => def!(Arm64, "BLRAAZ", braa, [true], ends),
        (false, 0b010) if plain => def!(Arm64, "RETAA", retaa, ends),
        (false, 0b100) if plain && el1 => def!(Arm64, "ERETAA", eretaa, ends),
        _ => return None,
    })
}

fn braa<E: Emit<Arch = Arm64>, const LINK: bool>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let pointer = read_x(e, o.rn());
    let modifier = if o.bit(24) {
        e.get(x_sp(o.rd()))
    } else {
        e.imm(0)
    };
    let target = apply(e, false, pointer, modifier, o.bits(10, 1))?;
    bti::looks::<E, LINK>(e, o, target)?;
    if LINK {
        let pc = e.pc();
        let next = e.add_imm(pc, 4);
        write_x(e, 30, next);
    }
    e.jump_to(target);
    Ok(())
}

fn retaa<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let pointer = read_x(e, 30);
    let modifier = e.get(regs::SP);
    let target = apply(e, false, pointer, modifier, o.bits(10, 1))?;
    e.jump_to(target);
    Ok(())
}

static ERETAA: Helper<Arm64> = Helper {
    name: "eretaa",
    call: |cpu, [key, ..]| {
        let modifier = cpu.slot(regs::SP);
        Err(exceptions::authenticated_return(
            cpu,
            modifier,
            Key::new(key as u32),
        ))
    },
    effects: Effects::ANY,
};

fn eretaa<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let key = e.imm(o.bits(10, 1) as u64);
    e.call(&ERETAA, &[key])?;
    e.end_block();
    Ok(())
}

/// LDRAA and LDRAB: size 3, opc in bits 23:22 as M and S, bits 21 and 10 set.
pub(super) fn load(o: &Operands) -> Option<Decoded> {
    if o.bits(30, 2) != 3 {
        return None;
    }
    let offset = ((o.bits(22, 1) << 9 | o.bits(12, 9)) << 22) as i32 >> 19;
    let register = match o.bit(11) {
        true => 0,
        false => syndrome::register(Size::B8, o.rd(), false, true),
    };
    let imm = super::address::immediate(offset, register | Size::B8 as u32);
    Some((def!(Arm64, "LDRAA", ldraa), imm))
}

fn ldraa<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let pointer = base(e, o, ANY);
    let zero = e.imm(0);
    let key = Key::Da as u32 + o.bits(23, 1);
    let pointer = apply(e, false, pointer, zero, key)?;
    let sum = e.add_imm(pointer, o.imm as i32 as i64 as u64);
    let address = checked(e, o, pointer, sum, ANY);
    let mem = mem(e, o, Size::B8, ANY);
    let value = e.load(address, mem)?;
    let value = order(e, value, Size::B8, ANY);
    write_x(e, o.rd(), value);
    if o.bit(11) {
        e.put(x_sp(o.rn()), sum);
    }
    Ok(())
}
