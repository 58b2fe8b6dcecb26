//! Loads, stores, constants and moves (SDM vol. 1, 5.2.1 and 5.2.5).

use super::form::{Memory, Op};
use super::{At, keep_pointers, met};
use crate::Cpu;
use crate::fp::{Env, F80, IE, OE, PRE, Rounding, UE};
use crate::fpu::{Fpu, fsw};
use crate::insn::operand;
use understudy_engine::emit::Stop;
use understudy_engine::ieee::Rest;

/// One above the largest decimal of 18 digits.
const BCD_LIMIT: u64 = 1_000_000_000_000_000_000;
/// The packed decimal indefinite (SDM vol. 1, 4.7).
const BCD_INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

fn load(cpu: &mut Cpu, at: &At, offset: u64, size: u8) -> Result<u64, Stop> {
    operand::load(
        cpu,
        at.address.wrapping_add(offset),
        size,
        at.form.via,
        false,
    )
}

fn store(cpu: &mut Cpu, at: &At, offset: u64, value: u64, size: u8) -> Result<(), Stop> {
    let address = at.address.wrapping_add(offset);
    operand::store(cpu, address, value, size, at.form.via)
}

/// Ten bytes.
fn load_ten(cpu: &mut Cpu, at: &At) -> Result<F80, Stop> {
    Ok(F80 {
        significand: load(cpu, at, 0, 3)?,
        sign_exponent: load(cpu, at, 8, 1)? as u16,
    })
}

fn store_ten(cpu: &mut Cpu, at: &At, value: F80) -> Result<(), Stop> {
    store(cpu, at, 0, value.significand, 3)?;
    store(cpu, at, 8, value.sign_exponent.into(), 1)
}

/// A packed decimal as a number. Digits above 9 count what they are.
fn from_decimal(env: &mut Env, bytes: [u8; 10]) -> F80 {
    let magnitude = bytes[..9].iter().rev().fold(0u64, |sum, byte| {
        let pair = u64::from(byte >> 4) * 10 + u64::from(byte & 15);
        sum.wrapping_mul(100).wrapping_add(pair)
    });
    env.from_magnitude(bytes[9] >> 7 != 0, magnitude)
}

fn to_decimal(sign: bool, mut magnitude: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    for byte in &mut bytes[..9] {
        let pair = (magnitude % 100) as u8;
        *byte = pair / 10 * 16 + pair % 10;
        magnitude /= 100;
    }
    bytes[9] = (sign as u8) << 7;
    bytes
}

/// A constant, rounded from three more bits than it has, in the rounding mode (SDM vol. 1, 8.3.8).
fn constant(env: &Env, op: Op) -> F80 {
    // The significand rounded down, whether the exact value is past the middle of the next, exponent.
    let (significand, above, exponent) = match op {
        Op::One => return F80::ONE,
        Op::Zero => return F80::default(),
        Op::Log2Of10 => (0xd49a_784b_cd1b_8afe, false, 0x4000),
        Op::Log2OfE => (0xb8aa_3b29_5c17_f0bb, true, 0x3fff),
        Op::Pi => (0xc90f_daa2_2168_c234, true, 0x4000),
        Op::Log10Of2 => (0x9a20_9a84_fbcf_f798, true, 0x3ffd),
        _ => (0xb172_17f7_d1cf_79ab, true, 0x3ffe),
    };
    let rest = if above {
        Rest::AboveHalf
    } else {
        Rest::BelowHalf
    };
    let up = rest.rounds_up(env.rounding, false, significand.into());
    F80::new(false, exponent, significand + u64::from(up))
}

/// Pushes a value, if there is a register for it.
fn push(fpu: &mut Fpu, value: F80) {
    if fpu.get(7).is_some() {
        if fpu.stack_fault(true) {
            fpu.push(F80::INDEFINITE);
        }
    } else {
        fpu.set_codes(fsw::C1, 0);
        fpu.push(value);
    }
}

/// FLD, FILD, FBLD.
fn load_value(cpu: &mut Cpu, at: &At) -> Result<(), Stop> {
    let mut env = Env::x87(cpu.state.fpu.control);
    let value = match at.form.memory {
        None => {
            keep_pointers(cpu, at);
            let fpu = &mut cpu.state.fpu;
            match fpu.get(at.form.i) {
                Some(value) => push(fpu, value),
                None => {
                    if fpu.stack_fault(false) {
                        fpu.push(F80::INDEFINITE);
                    }
                }
            }
            return Ok(());
        }
        Some(Memory::Single) => {
            let bits = load(cpu, at, 0, 2)? as u32;
            env.convert(bits)
        }
        Some(Memory::Double) => {
            let bits = load(cpu, at, 0, 3)?;
            env.convert(bits)
        }
        Some(Memory::Extended) => load_ten(cpu, at)?,
        Some(Memory::Bcd) => from_decimal(&mut env, load_ten(cpu, at)?.to_bytes()),
        Some(Memory::Int16) => env.from_signed((load(cpu, at, 0, 1)? as i16).into()),
        Some(Memory::Int32) => env.from_signed((load(cpu, at, 0, 2)? as i32).into()),
        Some(_) => env.from_signed(load(cpu, at, 0, 3)? as i64),
    };
    keep_pointers(cpu, at);
    let fpu = &mut cpu.state.fpu;
    if fpu.get(7).is_some() {
        push(fpu, value);
    } else {
        met(fpu, &env);
        // A denormal is loaded also where that is an exception.
        if env.unmasked() & IE == 0 {
            fpu.push(value);
        }
    }
    Ok(())
}

/// The bits that a store writes, in as many bytes as it has. An invalid operation gives the indefinite.
fn to_memory(env: &mut Env, form: &super::Form, value: F80) -> [u8; 10] {
    let rounding = if form.op == Op::StoreTruncated {
        Rounding::Zero
    } else {
        env.rounding
    };
    let low = |bits: u64| {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&bits.to_le_bytes());
        bytes
    };
    match form.memory {
        Some(Memory::Single) => low(env.convert::<F80, u32>(value).into()),
        Some(Memory::Double) => low(env.convert::<F80, u64>(value)),
        Some(Memory::Int16) => low(env.to_signed(value, 16, rounding) as u64),
        Some(Memory::Int32) => low(env.to_signed(value, 32, rounding) as u64),
        Some(Memory::Int64) => low(env.to_signed(value, 64, rounding) as u64),
        Some(Memory::Bcd) => match env.to_magnitude(value, BCD_LIMIT) {
            Some((sign, magnitude)) => to_decimal(sign, magnitude),
            None => BCD_INDEFINITE,
        },
        _ => value.to_bytes(),
    }
}

/// What an empty register stores, if an invalid operation is masked.
fn indefinite(form: &super::Form) -> [u8; 10] {
    match form.memory {
        Some(Memory::Extended) => F80::INDEFINITE.to_bytes(),
        // Not a number: of integers and decimals the indefinite, too.
        _ => to_memory(&mut Env::x87(0x37f), form, F80::INDEFINITE),
    }
}

/// FST, FIST, FISTTP, FBSTP.
fn store_value(cpu: &mut Cpu, at: &At) -> Result<(), Stop> {
    let form = &at.form;
    let mut env = Env::x87(cpu.state.fpu.control);
    let value = cpu.state.fpu.get(0);
    if form.memory.is_none() {
        keep_pointers(cpu, at);
        let fpu = &mut cpu.state.fpu;
        match value {
            None if form.op == Op::StoreNoFault => {
                fpu.set_codes(fsw::C1, 0);
                fpu.pop(form.pops);
            }
            None => {
                if fpu.stack_fault(false) {
                    fpu.set(form.i, F80::INDEFINITE);
                    fpu.pop(form.pops);
                }
            }
            Some(value) => {
                fpu.set_codes(fsw::C1, 0);
                fpu.set(form.i, value);
                fpu.pop(form.pops);
            }
        }
        return Ok(());
    }
    let (bytes, stores) = match value {
        Some(value) => {
            let bytes = to_memory(&mut env, form, value);
            // Memory has no place for a result whose exponent was adjusted, which is not made then.
            let unmade = env.unmasked() & (OE | UE);
            if unmade != 0 {
                env.flags = unmade;
                env.rounded_up = false;
            }
            (bytes, env.unmasked() & (PRE | OE | UE) == 0)
        }
        None => (indefinite(form), cpu.state.fpu.masks_invalid()),
    };
    if stores {
        let number = F80::from_bytes(bytes);
        match form.bytes() {
            10 => store_ten(cpu, at, number)?,
            bytes => store(cpu, at, 0, number.significand, bytes.trailing_zeros() as u8)?,
        }
    }
    keep_pointers(cpu, at);
    let fpu = &mut cpu.state.fpu;
    if value.is_some() {
        met(fpu, &env);
    } else {
        fpu.stack_fault(false);
    }
    if stores {
        fpu.pop(form.pops);
    }
    Ok(())
}

pub(super) fn run(cpu: &mut Cpu, at: &At, condition: u64) -> Result<(), Stop> {
    match at.form.op {
        Op::Load => return load_value(cpu, at),
        Op::Store | Op::StoreTruncated | Op::StoreNoFault => return store_value(cpu, at),
        _ => {}
    }
    keep_pointers(cpu, at);
    let env = Env::x87(cpu.state.fpu.control);
    let (i, fpu) = (at.form.i, &mut cpu.state.fpu);
    let (first, other) = (fpu.get(0), fpu.get(i));
    match at.form.op {
        Op::Exchange => {
            let full = first.is_some() && other.is_some();
            if !full && !fpu.stack_fault(false) {
                return Ok(());
            }
            if full {
                fpu.set_codes(fsw::C1, 0);
            }
            fpu.set(0, other.unwrap_or(F80::INDEFINITE));
            fpu.set(i, first.unwrap_or(F80::INDEFINITE));
        }
        Op::MoveIf => match (first, other) {
            (Some(_), Some(value)) => {
                if condition != 0 {
                    fpu.set(0, value);
                }
            }
            _ => {
                if fpu.stack_fault(false) {
                    fpu.set(0, F80::INDEFINITE);
                }
            }
        },
        op => {
            let value = constant(&env, op);
            push(fpu, value);
        }
    }
    Ok(())
}
