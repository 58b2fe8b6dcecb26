//! Loads and stores of Advanced SIMD structures, LD1 to LD4 and ST1 to ST4 (Arm ARM C4.1.94,
//! "Advanced SIMD load/store multiple structures" and "single structure").
//!
//! Multiple structures move as words of eight bytes, whatever their elements are. Where there is
//! more than one element in a structure, a load puts the words into the registers as they come, and
//! a helper sorts them there; for a store a helper gives the words one by one.

use super::address::{ANY, base, checked, form, immediate, mem, order, reverse_elements};
use super::alu::pick;
use super::{Decoded, Operands, mode};
use crate::Arm64;
use crate::regs::{VECTORS, read_x, set_vector, v_high, v_low, vector, x_sp};
use understudy_engine::arch::Def;
use understudy_engine::emit::{Binary, Effects, Emit, Helper, Mem, Size, Slot, SlotSet};

/// Decodes an instruction of these classes: bits 31 and 29:25 are 0b0 and 0b00110.
pub fn decode(mode: u32, o: &Operands) -> Option<Decoded> {
    // Without post-index there is no Rm.
    if !o.bit(23) && o.rm() != 0 {
        return None;
    }
    let form = form(mode, o);
    let def: &'static Def<Arm64> = if o.bit(24) {
        let single = Single::of(o)?;
        let imm = immediate(0, single.scale);
        return Some((
            match o.bit(22) {
                true => pick!("LD1-4 (single structure)", load_single, [{0 1 2}: form]),
                false => pick!("ST1-4 (single structure)", store_single, [{0 1 2}: form]),
            },
            imm,
        ));
    } else if o.bit(21) {
        return None;
    } else {
        Multiple::of(o)?;
        match o.bit(22) {
            true => pick!("LD1-4 (multiple structures)", load_multiple, [{0 1 2}: form]),
            false => pick!("ST1-4 (multiple structures)", store_multiple, [{0 1 2}: form]),
        }
    };
    Some((def, immediate(0, o.bits(10, 2))))
}

/// What an instruction on multiple structures moves.
#[derive(Clone, Copy)]
struct Multiple {
    /// Registers.
    registers: u32,
    /// Elements of a structure: as many as registers, or 1.
    elements: u32,
    /// Words of eight bytes.
    words: u32,
}

impl Multiple {
    fn of(o: &Operands) -> Option<Multiple> {
        let (registers, elements) = match o.bits(12, 4) {
            0b0000 => (4, 4),
            0b0010 => (4, 1),
            0b0100 => (3, 3),
            0b0110 => (3, 1),
            0b0111 => (1, 1),
            0b1000 => (2, 2),
            0b1010 => (2, 1),
            _ => return None,
        };
        let quad = o.bit(30);
        // One element of 64 bits in each register, more than one register: reserved.
        if !quad && o.bits(10, 2) == 3 && elements > 1 {
            return None;
        }
        Some(Multiple {
            registers,
            elements,
            words: registers << quad as u32,
        })
    }

    /// The slot for a word, in the order of memory if elements are not interleaved.
    fn slot(&self, o: &Operands, word: u32) -> Slot {
        match (o.bit(30), word & 1) {
            (false, _) => v_low(o.rd() + word),
            (true, 0) => v_low(o.rd() + word / 2),
            (true, _) => v_high(o.rd() + word / 2),
        }
    }
}

/// The address, the access, and what is written back.
#[inline(always)]
fn place<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    bytes: u32,
    size: Size,
    form: u32,
) -> (E::Val, Mem, E::Val) {
    let base = base(e, o, form);
    let sum = if o.rm() == 31 {
        e.add_imm(base, bytes as u64)
    } else {
        let offset = read_x(e, o.rm());
        e.add(base, offset)
    };
    let address = checked(e, o, base, base, form);
    (address, mem(e, o, size, form), sum)
}

#[inline(always)]
fn post_index<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands, sum: E::Val) {
    if o.bit(23) {
        e.put(x_sp(o.rn()), sum);
    }
}

/// A word as it is in the other place, memory or register.
#[inline(always)]
fn swapped<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands, word: E::Val, form: u32) -> E::Val {
    if form == ANY && e.mode() & mode::BIG_ENDIAN != 0 {
        reverse_elements(e, word, o.bits(10, 2))
    } else {
        word
    }
}

fn load_multiple<E: Emit<Arch = Arm64>, const FORM: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let Some(multiple) = Multiple::of(o) else {
        return super::udf(e, o);
    };
    let (address, mem, sum) = place(e, o, 8 * multiple.words, Size::B8, FORM);
    let zero = e.imm(0);
    let mut words = [zero; 8];
    for (i, pair) in words[..multiple.words as usize].chunks_mut(2).enumerate() {
        let at = e.add_imm(address, 16 * i as u64);
        match pair {
            [first, second] => (*first, *second) = e.load_pair(at, mem)?,
            [only] => *only = e.load(at, mem)?,
            _ => {}
        }
    }
    for (word, i) in words.into_iter().zip(0..multiple.words) {
        let word = swapped(e, o, word, FORM);
        e.put(multiple.slot(o, i), word);
    }
    if !o.bit(30) {
        for n in 0..multiple.registers {
            e.put(v_high(o.rd() + n), zero);
        }
    }
    if multiple.elements > 1 {
        let word = e.imm(o.word as u64);
        e.call(&DEINTERLEAVE, &[word])?;
    }
    post_index(e, o, sum);
    Ok(())
}

fn store_multiple<E: Emit<Arch = Arm64>, const FORM: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let Some(multiple) = Multiple::of(o) else {
        return super::udf(e, o);
    };
    let (address, mem, sum) = place(e, o, 8 * multiple.words, Size::B8, FORM);
    for i in (0..multiple.words).step_by(2) {
        let at = e.add_imm(address, 8 * i as u64);
        let first = word_of(e, o, &multiple, i)?;
        let first = swapped(e, o, first, FORM);
        if i + 1 < multiple.words {
            let second = word_of(e, o, &multiple, i + 1)?;
            let second = swapped(e, o, second, FORM);
            e.store_pair(at, (first, second), mem)?;
        } else {
            e.store(at, first, mem)?;
        }
    }
    post_index(e, o, sum);
    Ok(())
}

/// Word `i` of what is stored.
fn word_of<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    multiple: &Multiple,
    i: u32,
) -> Result<E::Val, E::Stop> {
    if multiple.elements == 1 {
        return Ok(e.get(multiple.slot(o, i)));
    }
    let (word, i) = (e.imm(o.word as u64), e.imm(i as u64));
    e.call(&INTERLEAVED, &[word, i])
}

/// Where an element is in a register, and where in memory, in bytes: calls `f` with register, byte
/// in the register, byte in memory, for each byte.
fn each_byte(o: &Operands, multiple: &Multiple, mut f: impl FnMut(u32, u32, u32)) {
    let element = 1 << o.bits(10, 2);
    let register = 8 << o.bits(30, 1);
    for n in 0..multiple.registers {
        for byte in 0..register {
            let (lane, within) = (byte / element, byte % element);
            f(n, byte, (lane * multiple.elements + n) * element + within);
        }
    }
}

/// Sorts the words of a load, which are in the registers in the order of memory.
static DEINTERLEAVE: Helper<Arm64> = Helper {
    name: "deinterleave",
    call: |cpu, [word, ..]| {
        let o = Operands {
            word: word as u32,
            imm: 0,
        };
        let Some(multiple) = Multiple::of(&o) else {
            return Ok(0);
        };
        let mut memory = [0u8; 64];
        for (i, to) in (0..multiple.words).zip(memory.chunks_exact_mut(8)) {
            to.copy_from_slice(&cpu.slot(multiple.slot(&o, i)).to_le_bytes());
        }
        let mut registers = [[0u8; 16]; 4];
        each_byte(&o, &multiple, |n, byte, from| {
            registers[n as usize & 3][byte as usize & 15] = memory[from as usize & 63];
        });
        for (n, value) in (0..multiple.registers).zip(registers) {
            set_vector(cpu, o.rd() + n, u128::from_le_bytes(value));
        }
        Ok(0)
    },
    effects: Effects {
        reads: VECTORS,
        writes: VECTORS,
        stops: false,
    },
};

/// Word number `i` of what a store writes.
static INTERLEAVED: Helper<Arm64> = Helper {
    name: "interleaved",
    call: |cpu, [word, i, ..]| {
        let o = Operands {
            word: word as u32,
            imm: 0,
        };
        let Some(multiple) = Multiple::of(&o) else {
            return Ok(0);
        };
        let mut result = 0;
        each_byte(&o, &multiple, |n, byte, to| {
            if to as u64 / 8 == i {
                let value = (vector(cpu, o.rd() + n) >> (8 * byte)) as u8;
                result |= (value as u64) << (8 * (to % 8));
            }
        });
        Ok(result)
    },
    effects: Effects {
        reads: VECTORS,
        writes: SlotSet::NONE,
        stops: false,
    },
};

/// What an instruction on a single structure moves.
#[derive(Clone, Copy)]
struct Single {
    /// Base-2 logarithm of an element's bytes.
    scale: u32,
    /// Elements of the structure, each of a register of its own.
    elements: u32,
    /// The lane, or none for all lanes.
    lane: Option<u32>,
}

impl Single {
    fn of(o: &Operands) -> Option<Single> {
        let (q, s, size) = (o.bits(30, 1), o.bits(12, 1), o.bits(10, 2));
        let (scale, lane) = match o.bits(14, 2) {
            0 => (0, Some(q << 3 | s << 2 | size)),
            1 if size & 1 == 0 => (1, Some(q << 2 | s << 1 | size >> 1)),
            2 if size == 0 => (2, Some(q << 1 | s)),
            2 if size == 1 && s == 0 => (3, Some(q)),
            3 if o.bit(22) && s == 0 => (size, None),
            _ => return None,
        };
        Some(Single {
            scale,
            elements: (o.bits(13, 1) << 1 | o.bits(21, 1)) + 1,
            lane,
        })
    }

    /// The half of a register that has the lane, and the lane's lowest bit in it.
    fn half(&self, n: u32, lane: u32) -> (Slot, u32) {
        let byte = lane << self.scale;
        if byte < 8 {
            (v_low(n), 8 * byte)
        } else {
            (v_high(n), 8 * (byte - 8))
        }
    }
}

fn load_single<E: Emit<Arch = Arm64>, const FORM: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let Some(single) = Single::of(o) else {
        return super::udf(e, o);
    };
    let size = Size::from_log2(single.scale);
    let bytes = single.elements << single.scale;
    let (address, mem, sum) = place(e, o, bytes, size, FORM);
    let zero = e.imm(0);
    let mut values = [zero; 4];
    let values = &mut values[..single.elements as usize];
    for (i, value) in values.iter_mut().enumerate() {
        let at = e.add_imm(address, (i as u64) << single.scale);
        let found = e.load(at, mem)?;
        *value = order(e, found, size, FORM);
    }
    for (n, value) in (o.rd()..).zip(values) {
        match single.lane {
            None => {
                // Times a one in each lane.
                let ones = e.imm(!0 / size.mask());
                let all = e.binary(Binary::Mul, *value, ones);
                e.put(v_low(n), all);
                e.put(v_high(n), if o.bit(30) { all } else { zero });
            }
            Some(lane) => {
                let (slot, shift) = single.half(n, lane);
                let old = e.get(slot);
                let kept = e.and_imm(old, !(size.mask() << shift));
                let value = e.shl_imm(*value, shift);
                let new = e.or(kept, value);
                e.put(slot, new);
            }
        }
    }
    post_index(e, o, sum);
    Ok(())
}

fn store_single<E: Emit<Arch = Arm64>, const FORM: u32>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let Some((single, lane)) = Single::of(o).and_then(|s| Some((s, s.lane?))) else {
        return super::udf(e, o);
    };
    let size = Size::from_log2(single.scale);
    let bytes = single.elements << single.scale;
    let (address, mem, sum) = place(e, o, bytes, size, FORM);
    for i in 0..single.elements {
        let (slot, shift) = single.half(o.rd() + i, lane);
        let value = e.get(slot);
        let value = e.shr_imm(value, shift);
        let value = order(e, value, size, FORM);
        let at = e.add_imm(address, (i as u64) << single.scale);
        e.store(at, value, mem)?;
    }
    post_index(e, o, sum);
    Ok(())
}
