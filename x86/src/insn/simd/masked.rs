//! Loads and stores of some lanes only: VMASKMOVx, VPMASKMOVx, MASKMOVDQU, and gathers (SDM vol. 2).
//! What is not selected is not accessed, so that it cannot fault.

use super::{finish, half_of};
use crate::insn::operand::{linear, load, store, zx};
use crate::insn::{NO_REG, Operands};
use crate::regs::{RDI, gpr, scratch};
use crate::{Cpu, X86};
use understudy_engine::emit::{Effects, Emit, Helper, SlotSet, Stop};

use super::float::{operand as scratch_operand, set_result};

/// How lanes in memory are reached.
#[derive(Clone, Copy)]
struct Reach {
    /// Base-2 logarithm of the bytes of a lane.
    size: u8,
    via: u8,
    /// Base-2 logarithm of the bytes of an address.
    address: u8,
    /// How many lanes.
    count: u8,
}

impl Reach {
    fn of(o: &Operands, size: u8, count: usize) -> Reach {
        Reach {
            size,
            via: o.via,
            address: o.address,
            count: count as u8,
        }
    }

    fn pack(self) -> u64 {
        u64::from(u32::from_le_bytes([
            self.size,
            self.via,
            self.address,
            self.count,
        ]))
    }

    fn unpack(info: u64) -> Reach {
        let [size, via, address, count] = (info as u32).to_le_bytes();
        Reach {
            size: size & 3,
            via,
            address,
            count: count.min(32),
        }
    }

    /// The linear address of an offset.
    fn linear(self, cpu: &mut Cpu, offset: u64, write: bool) -> Result<u64, Stop> {
        let offset = zx(cpu, offset, self.address);
        linear(cpu, self.via, offset, 1 << self.size, write)
    }
}

/// A lane of up to four slots.
fn lane(slots: [u64; 4], size: u8, index: usize) -> u64 {
    let bit = index << (size + 3);
    slots[(bit / 64) & 3] >> (bit % 64) & (u64::MAX >> (64 - (8 << size)))
}

/// Sets a lane of up to four slots.
fn set_lane(slots: &mut [u64; 4], size: u8, index: usize, value: u64) {
    let bit = index << (size + 3);
    let mask = u64::MAX >> (64 - (8 << size));
    let slot = &mut slots[(bit / 64) & 3];
    *slot = *slot & !(mask << (bit % 64)) | (value & mask) << (bit % 64);
}

/// Whether a lane of a mask selects.
fn selects(mask: [u64; 4], size: u8, index: usize) -> bool {
    lane(mask, size, index) >> ((8u32 << size) - 1) != 0
}

/// Loads the lanes at an offset that the first scratch register selects; the others are zero.
static LOAD: Helper<X86> = Helper {
    name: "masked_load",
    call: |cpu, [offset, info, ..]| {
        let reach = Reach::unpack(info);
        let mask = scratch_operand(cpu, scratch::A);
        let mut result = [0; 4];
        for i in 0..usize::from(reach.count) {
            if selects(mask, reach.size, i) {
                let offset = offset.wrapping_add((i << reach.size) as u64);
                let at = reach.linear(cpu, offset, false)?;
                let value = load(cpu, at, reach.size, reach.via, false)?;
                set_lane(&mut result, reach.size, i, value);
            }
        }
        set_result(cpu, result);
        Ok(0)
    },
    effects: Effects {
        reads: scratch::OPERANDS,
        writes: scratch::RESULT,
        stops: true,
    },
};

/// Stores the lanes of the second scratch register that the first selects.
static STORE: Helper<X86> = Helper {
    name: "masked_store",
    call: |cpu, [offset, info, ..]| {
        let reach = Reach::unpack(info);
        let mask = scratch_operand(cpu, scratch::A);
        let data = scratch_operand(cpu, scratch::B);
        for i in 0..usize::from(reach.count) {
            if selects(mask, reach.size, i) {
                let offset = offset.wrapping_add((i << reach.size) as u64);
                let at = reach.linear(cpu, offset, true)?;
                let value = lane(data, reach.size, i);
                store(cpu, at, value, reach.size, reach.via)?;
            }
        }
        Ok(0)
    },
    effects: Effects {
        reads: SlotSet::ALL,
        writes: SlotSet::NONE,
        stops: true,
    },
};

/// VMASKMOVPS and its like, from memory. The immediate is the size of a lane.
pub(super) fn load_lanes<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let offset = crate::insn::operand::offset(e, o);
    for half in 0..p.halves() {
        let mask = e.vec_get(half_of(p.n, half));
        e.vec_put(scratch::half(scratch::A, half), mask);
    }
    let reach = Reach::of(o, p.imm, (16 * p.halves()) >> p.imm);
    let info = e.imm(reach.pack());
    e.call(&LOAD, &[offset, info])?;
    let result = [0, 1].map(|half| e.vec_get(scratch::half(scratch::R, half)));
    finish(e, p, result);
    Ok(())
}

/// VMASKMOVPS and its like, to memory. The immediate is the size of a lane.
pub(super) fn store_lanes<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let offset = crate::insn::operand::offset(e, o);
    for half in 0..p.halves() {
        let (mask, data) = (e.vec_get(half_of(p.n, half)), e.vec_get(half_of(p.m, half)));
        e.vec_put(scratch::half(scratch::A, half), mask);
        e.vec_put(scratch::half(scratch::B, half), data);
    }
    let reach = Reach::of(o, p.imm, (16 * p.halves()) >> p.imm);
    let info = e.imm(reach.pack());
    e.call(&STORE, &[offset, info])?;
    Ok(())
}

/// MASKMOVDQU: bytes of the first operand that the second selects, to where rDI points.
pub(super) fn store_bytes<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let (data, mask) = (e.vec_get(half_of(p.n, 0)), e.vec_get(half_of(p.m, 0)));
    store_selected(e, o, data, mask, 16)
}

/// Stores so many bytes of `data` where `mask` selects them, to where rDI points.
pub(super) fn store_selected<E: Emit<Arch = X86>>(
    e: &mut E,
    o: &Operands,
    data: E::Vec,
    mask: E::Vec,
    count: usize,
) -> Result<(), E::Stop> {
    let offset = e.get(RDI);
    e.vec_put(scratch::half(scratch::A, 0), mask);
    e.vec_put(scratch::half(scratch::B, 0), data);
    let info = e.imm(Reach::of(o, 0, count).pack());
    e.call(&STORE, &[offset, info])?;
    Ok(())
}

/// What a gather works on, beside its base.
#[derive(Clone, Copy)]
struct Gather {
    reach: Reach,
    /// Numbers of the destination, the mask and the index.
    registers: [u8; 3],
    /// Base-2 logarithm of the bytes of an index.
    index_size: u8,
    scale: u8,
}

impl Gather {
    fn pack(self) -> u64 {
        let [d, k, x] = self.registers.map(|number| u64::from(number & 15));
        self.reach.pack()
            | d << 32
            | k << 36
            | x << 40
            | u64::from(self.index_size) << 44
            | u64::from(self.scale) << 48
    }

    fn unpack(info: u64) -> Gather {
        let field = |bit: u32| (info >> bit & 15) as u8;
        Gather {
            reach: Reach::unpack(info),
            registers: [field(32), field(36), field(40)],
            index_size: field(44),
            scale: field(48) & 3,
        }
    }
}

fn register(cpu: &Cpu, number: u8) -> [u64; 4] {
    let first = half_of(number, 0);
    let second = half_of(number, 1);
    [first, first.next(), second, second.next()].map(|slot| cpu.slot(slot))
}

fn set_register(cpu: &mut Cpu, number: u8, value: [u64; 4]) {
    let first = half_of(number, 0);
    let second = half_of(number, 1);
    let slots = [first, first.next(), second, second.next()];
    for (slot, value) in slots.into_iter().zip(value) {
        cpu.set_slot(slot, value);
    }
}

/// What is loaded is in the destination at once, and no longer in the mask: an instruction that has
/// faulted goes on where it was.
static GATHER: Helper<X86> = Helper {
    name: "gather",
    call: |cpu, [base, info, ..]| {
        let gather = Gather::unpack(info);
        let [d, k, x] = gather.registers;
        let reach = gather.reach;
        let (size, count) = (reach.size, usize::from(reach.count));
        let index = register(cpu, x);
        for i in 0..count {
            let mut mask = register(cpu, k);
            if !selects(mask, size, i) {
                continue;
            }
            let index = lane(index, gather.index_size, i);
            let index = if gather.index_size == 2 {
                index as i32 as u64
            } else {
                index
            };
            let at = reach.linear(cpu, base.wrapping_add(index << gather.scale), false)?;
            let value = load(cpu, at, size, reach.via, false)?;
            let mut result = register(cpu, d);
            set_lane(&mut result, size, i, value);
            set_register(cpu, d, result);
            set_lane(&mut mask, size, i, 0);
            set_register(cpu, k, mask);
        }
        let mut result = register(cpu, d);
        for i in count..(32 >> size) {
            set_lane(&mut result, size, i, 0);
        }
        set_register(cpu, d, result);
        set_register(cpu, k, [0; 4]);
        Ok(0)
    },
    effects: Effects {
        reads: SlotSet::ALL,
        writes: SlotSet::range(32, 96),
        stops: true,
    },
};

/// VPGATHERxx and VGATHERxxx. `INDEX` and `SIZE`: base-2 logarithms of the bytes of indices and lanes.
pub(super) fn gather<E: Emit<Arch = X86>, const INDEX: u8, const SIZE: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let p = &o.simd;
    let larger = if INDEX > SIZE { INDEX } else { SIZE };
    let gather = Gather {
        reach: Reach::of(o, SIZE, (16 * p.halves()) >> larger),
        registers: [p.d, p.m, o.index],
        index_size: INDEX,
        scale: o.scale,
    };
    let base = match o.base {
        NO_REG => e.imm(o.disp),
        number => {
            // All of its bits: the sum is what is cut to the address's size.
            let register = e.get(gpr(number));
            e.add_imm(register, o.disp)
        }
    };
    let info = e.imm(gather.pack());
    e.call(&GATHER, &[base, info])?;
    Ok(())
}
