//! LAR, LSL, VERR and VERW: what a selector would give, told by ZF (SDM vol. 2).

use super::Operands;
use super::operand::{read, write_reg};
use super::system::undefined_here;
use crate::descriptors;
use crate::exceptions::{Trouble, trouble};
use crate::regs::{ZERO, gpr};
use crate::segments::rights;
use crate::{Cpu, X86};
use understudy_engine::emit::{Effects, Emit, Helper};

/// What is asked.
const LAR: u64 = 0;
const LSL: u64 = 1;
const VERR: u64 = 2;

/// Of a value: there is one.
const FOUND: u64 = 1 << 32;

/// The types of system descriptors that LAR and LSL give something for.
fn system(kind: u32, what: u64, long: bool) -> bool {
    match kind {
        2 | 9 | 11 => true,
        12 => what == LAR,
        1 | 3 => !long,
        4 | 5 => what == LAR && !long,
        _ => false,
    }
}

fn inspect(cpu: &mut Cpu, selector: u16, what: u64) -> Result<u64, Trouble> {
    if selector & !3 == 0 {
        return Ok(0);
    }
    let Some(descriptor) = descriptors::read(cpu, selector)? else {
        return Ok(0);
    };
    let segment = descriptors::segment(selector, descriptor.bits);
    let code = segment.rights & rights::CODE != 0;
    let able = segment.rights & rights::RW != 0;
    let known = if segment.rights & rights::S == 0 {
        let kind = segment.rights & rights::TYPE;
        what < VERR && system(kind, what, cpu.state.long_mode())
    } else {
        match what {
            LAR | LSL => true,
            VERR => !code || able,
            _ => !code && able,
        }
    };
    let conforming = descriptors::is_code(&segment) && segment.rights & rights::DOWN != 0;
    let level = cpu.state.cpl.max((selector & 3) as u8);
    if !known || !conforming && segment.dpl() < level {
        return Ok(0);
    }
    Ok(FOUND
        | match what {
            LAR => descriptor.bits >> 32 & 0x00f0_ff00,
            LSL => u64::from(segment.limit),
            _ => 0,
        })
}

static INSPECT: Helper<X86> = Helper {
    name: "inspect",
    call: |cpu, [selector, what, ..]| {
        if !cpu.state.protected() {
            return Err(undefined_here(cpu));
        }
        match inspect(cpu, selector as u16, what) {
            Ok(value) => Ok(value),
            Err(error) => Err(trouble(cpu, error)),
        }
    },
    effects: Effects::ANY,
};

/// Asks of a selector, sets ZF, and gives the value and whether there is one.
fn ask<E: Emit<Arch = X86>>(
    e: &mut E,
    selector: E::Val,
    what: u64,
) -> Result<(E::Val, E::Val), E::Stop> {
    let what = e.imm(what);
    let value = e.call(&INSPECT, &[selector, what])?;
    let found = e.shr_imm(value, 32);
    let one = e.imm(1);
    let not = e.xor(found, one);
    e.put(ZERO, not);
    Ok((value, found))
}

/// LAR, or LSL: the destination stays where there is nothing.
pub fn load<E: Emit<Arch = X86>, const LIMIT: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let selector = read(e, o, o.b, 1)?;
    let (value, found) = ask(e, selector, if LIMIT { LSL } else { LAR })?;
    let value = e.zext32(value);
    let slot = gpr(o.a.number());
    let old = e.get(slot);
    write_reg(e, o.a, value, o.size);
    let new = e.get(slot);
    let result = e.select(found, new, old);
    e.put(slot, result);
    Ok(())
}

/// VERR, or VERW.
pub fn verify<E: Emit<Arch = X86>, const WRITE: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let selector = read(e, o, o.a, 1)?;
    ask(e, selector, VERR + u64::from(WRITE))?;
    Ok(())
}
