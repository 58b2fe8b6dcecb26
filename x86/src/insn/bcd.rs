//! Decimal arithmetic, BOUND, ARPL and SALC: what 64-bit mode does not have (SDM vol. 1, 5.1.4 and 5.1.7;
//! vol. 2). Flags that the manual leaves undefined stay, or are clear.

use super::operand::{read_reg, read_to_write, sx, write_back, zx};
use super::system::undefined_here;
use super::{Loc, Operands};
use crate::exceptions::{self, Fault, vector};
use crate::regs::{self, RAX, ZERO, flag};
use crate::{Cpu, X86};
use understudy_engine::emit::{Effects, Emit, Helper};

fn al(cpu: &Cpu) -> u8 {
    cpu.slot(RAX) as u8
}

fn ah(cpu: &Cpu) -> u8 {
    (cpu.slot(RAX) >> 8) as u8
}

/// Sets AX, and these of the status flags.
fn set(cpu: &mut Cpu, al: u8, ah: u8, changed: u64, flags: u64) {
    let rest = cpu.slot(RAX) & !0xffff;
    cpu.set_slot(RAX, rest | u64::from(ah) << 8 | u64::from(al));
    let old = regs::rflags(cpu);
    regs::set_flag_slots(cpu, old & !changed | flags);
}

/// SF, ZF and PF of a byte.
fn of_result(value: u8) -> u64 {
    let bit = |set: bool, bit: u64| if set { bit } else { 0 };
    bit(value & 0x80 != 0, flag::SF)
        | bit(value == 0, flag::ZF)
        | bit(value.count_ones().is_multiple_of(2), flag::PF)
}

const BOTH: u64 = flag::CF | flag::AF;

/// AAA, or AAS.
fn unpacked(cpu: &mut Cpu, subtracts: bool) {
    let ax = cpu.slot(RAX) as u16;
    let adjusts = ax & 15 > 9 || regs::rflags(cpu) & flag::AF != 0;
    let (ax, flags) = match (adjusts, subtracts) {
        (false, _) => (ax, 0),
        (true, false) => (ax.wrapping_add(0x106), BOTH),
        (true, true) => (ax.wrapping_sub(0x106), BOTH),
    };
    set(cpu, ax as u8 & 15, (ax >> 8) as u8, BOTH, flags);
}

/// DAA, or DAS.
fn packed(cpu: &mut Cpu, subtracts: bool) {
    let (old, before) = (al(cpu), regs::rflags(cpu));
    let step = |value: u8, by: u8| {
        if subtracts {
            value.overflowing_sub(by)
        } else {
            value.overflowing_add(by)
        }
    };
    let (mut value, mut flags) = (old, 0);
    if old & 15 > 9 || before & flag::AF != 0 {
        let (new, carries) = step(value, 6);
        value = new;
        flags |= flag::AF;
        if carries && subtracts {
            flags |= flag::CF;
        }
    }
    if old > 0x99 || before & flag::CF != 0 {
        value = step(value, 0x60).0;
        flags |= flag::CF;
    }
    let flags = flags | of_result(value);
    let ah = ah(cpu);
    set(cpu, value, ah, flag::STATUS, flags);
}

static DECIMAL: Helper<X86> = Helper {
    name: "decimal_adjust",
    call: |cpu, [packs, subtracts, ..]| {
        if packs != 0 {
            packed(cpu, subtracts != 0);
        } else {
            unpacked(cpu, subtracts != 0);
        }
        Ok(0)
    },
    effects: Effects::ANY,
};

/// AAA, AAS, DAA and DAS.
pub fn adjust<E: Emit<Arch = X86>, const PACKED: bool, const SUBTRACTS: bool>(
    e: &mut E,
    _: &Operands,
) -> Result<(), E::Stop> {
    let (packed, subtracts) = (e.imm(PACKED.into()), e.imm(SUBTRACTS.into()));
    e.call(&DECIMAL, &[packed, subtracts])?;
    Ok(())
}

static DIGITS: Helper<X86> = Helper {
    name: "decimal_digits",
    call: |cpu, [base, divides, ..]| {
        let base = base as u8;
        let (low, high) = (al(cpu), ah(cpu));
        if divides != 0 {
            let Some(quotient) = low.checked_div(base) else {
                return Err(exceptions::raise(cpu, Fault::new(vector::DE)));
            };
            let rest = low % base;
            set(cpu, rest, quotient, flag::STATUS, of_result(rest));
        } else {
            let value = low.wrapping_add(high.wrapping_mul(base));
            set(cpu, value, 0, flag::STATUS, of_result(value));
        }
        Ok(0)
    },
    effects: Effects::ANY,
};

/// AAM, or AAD; `imm` is the base.
pub fn digits<E: Emit<Arch = X86>, const DIVIDES: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let (base, divides) = (e.imm(o.imm & 0xff), e.imm(DIVIDES.into()));
    e.call(&DIGITS, &[base, divides])?;
    Ok(())
}

static BOUNDS: Helper<X86> = Helper {
    name: "bounds",
    call: |cpu, [index, low, high, _]| {
        let [index, low, high] = [index, low, high].map(|value| value as i64);
        if index < low || index > high {
            return Err(exceptions::raise(cpu, Fault::new(vector::BR)));
        }
        Ok(0)
    },
    effects: Effects::ANY,
};

/// BOUND: #BR where a register is not within the two bounds in memory.
pub fn bound<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let index = read_reg(e, o.a, o.size);
    let index = sx(e, index, o.size);
    let offset = super::operand::offset(e, o);
    let at = super::operand::linear(e, o.via, offset, 2 << o.size, false)?;
    let low = super::operand::load(e, at, o.size, o.via, false)?;
    let above = e.add_imm(at, 1 << o.size);
    let high = super::operand::load(e, above, o.size, o.via, false)?;
    let (low, high) = (sx(e, low, o.size), sx(e, high, o.size));
    e.call(&BOUNDS, &[index, low, high])?;
    Ok(())
}

static PROTECTED: Helper<X86> = Helper {
    name: "protected",
    call: |cpu, _| {
        if !cpu.state.protected() {
            return Err(undefined_here(cpu));
        }
        Ok(0)
    },
    effects: Effects::ANY,
};

/// ARPL: raises the RPL of a selector to that of another one.
pub fn arpl<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    e.call(&PROTECTED, &[])?;
    let (selector, at) = read_to_write(e, o, 1)?;
    let other = read_reg(e, o.b, 1);
    let (mine, theirs) = (e.and_imm(selector, 3), e.and_imm(other, 3));
    let less = e.compare(understudy_engine::emit::Cmp::Ult, mine, theirs);
    let rest = e.and_imm(selector, !3);
    let raised = e.or(rest, theirs);
    let value = e.select(less, raised, selector);
    write_back(e, o, at, value, 1)?;
    // ZF is set where this is 0.
    let one = e.imm(1);
    let not = e.xor(less, one);
    e.put(ZERO, not);
    Ok(())
}

/// SALC: all bits of AL become CF.
pub fn salc<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let carry = e.get(regs::CARRY);
    let zero = e.imm(0);
    let value = e.sub(zero, carry);
    let value = zx(e, value, 0);
    super::operand::write_reg(e, Loc::reg(0), value, 0);
    Ok(())
}
