//! String instructions (SDM vol. 1, 5.1.8), alone and repeated.
//!
//! A repeated one can be interrupted between elements: registers are then as they are between two
//! repetitions, RIP is still at the instruction, and so it goes on later. A fault leaves what the
//! elements before have done, but the flags as they were before the instruction.

use super::alu;
use super::arith::sized;
use super::operand::{linear, load, mask, read_reg, store, via, write_reg, zx};
use super::{Loc, Operands, mode, via};
use crate::regs::{DIRECTION, RCX, RDI, RSI};
use crate::segments::seg;
use crate::{Cpu, X86, debug};
use understudy_engine::access;
use understudy_engine::arch::Def;
use understudy_engine::emit::{Effects, Emit, Helper, Size, Stop};

/// The instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Op {
    /// Memory at RSI to memory at RDI.
    Movs,
    /// The accumulator to memory at RDI.
    Stos,
    /// Memory at RSI to the accumulator.
    Lods,
    /// Compares the accumulator with memory at RDI.
    Scas,
    /// Compares memory at RSI with memory at RDI.
    Cmps,
}

/// How an instruction is repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Repeat {
    /// Not at all.
    Once,
    /// REP, or REPE for comparisons.
    WhileEqual,
    /// REPNE.
    WhileDifferent,
}

/// Elements after which the dispatcher looks around.
const TURNS: u32 = 4096;

/// What the helper needs to know, in one word.
#[derive(Clone, Copy)]
struct How {
    op: Op,
    repeat: Repeat,
    size: u8,
    address: u8,
    /// How RSI's segment is gone through.
    source: u8,
}

impl How {
    fn pack(op: Op, repeat: Repeat, o: &Operands) -> u64 {
        let bytes = [op as u8, repeat as u8, o.size, o.address, o.via];
        bytes
            .into_iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(byte))
    }

    fn unpack(word: u64) -> How {
        let [op, repeat, size, address, source, ..] = word.to_le_bytes();
        How {
            op: match op {
                0 => Op::Movs,
                1 => Op::Stos,
                2 => Op::Lods,
                3 => Op::Scas,
                _ => Op::Cmps,
            },
            repeat: match repeat {
                0 => Repeat::Once,
                1 => Repeat::WhileEqual,
                _ => Repeat::WhileDifferent,
            },
            size: size & 3,
            address,
            source,
        }
    }
}

impl How {
    fn load(&self, cpu: &mut Cpu, offset: u64, through: u8) -> Result<u64, Stop> {
        let at = linear(cpu, through, offset, 1 << self.size, false)?;
        load(cpu, at, self.size, through, false)
    }

    fn store(&self, cpu: &mut Cpu, offset: u64, value: u64, through: u8) -> Result<(), Stop> {
        let at = linear(cpu, through, offset, 1 << self.size, true)?;
        store(cpu, at, value, self.size, through)
    }

    /// One element. Gives what a comparison compares.
    fn element(&self, cpu: &mut Cpu) -> Result<(u64, u64), Stop> {
        let (rsi, rdi) = (cpu.slot(RSI), cpu.slot(RDI));
        let (si, di) = (zx(cpu, rsi, self.address), zx(cpu, rdi, self.address));
        let destination = via(cpu.state.mode, seg::ES);
        let accumulator = cpu.slot(crate::regs::RAX) & mask(self.size);
        let (compared, uses_si, uses_di) = match self.op {
            Op::Movs => {
                let value = self.load(cpu, si, self.source)?;
                self.store(cpu, di, value, destination)?;
                ((0, 0), true, true)
            }
            Op::Stos => {
                self.store(cpu, di, accumulator, destination)?;
                ((0, 0), false, true)
            }
            Op::Lods => {
                let value = self.load(cpu, si, self.source)?;
                write_reg(cpu, Loc::reg(0), value, self.size);
                ((0, 0), true, false)
            }
            Op::Scas => {
                let value = self.load(cpu, di, destination)?;
                ((accumulator, value), false, true)
            }
            Op::Cmps => {
                let first = self.load(cpu, si, self.source)?;
                let second = self.load(cpu, di, destination)?;
                ((first, second), true, true)
            }
        };
        let step = 1u64 << self.size;
        let step = if cpu.slot(DIRECTION) != 0 {
            step.wrapping_neg()
        } else {
            step
        };
        if uses_si {
            write_reg(cpu, Loc::reg(6), rsi.wrapping_add(step), self.address);
        }
        if uses_di {
            write_reg(cpu, Loc::reg(7), rdi.wrapping_add(step), self.address);
        }
        Ok(compared)
    }

    /// As many elements at once as lie in the pages at hand, where that is the same as one after the
    /// other. Gives how many.
    fn many(&self, cpu: &mut Cpu) -> Result<u64, Stop> {
        let mode = cpu.state.mode;
        let destination = via(mode, seg::ES);
        let plain = |through: u8| through & via::CHECKED == 0;
        let possible = matches!(self.op, Op::Movs | Op::Stos)
            && cpu.slot(DIRECTION) == 0
            && mode & mode::ALIGNED == 0
            && plain(destination)
            && plain(self.source)
            && !crate::by_elements(cpu);
        if !possible {
            return Ok(0);
        }
        let (rsi, rdi) = (cpu.slot(RSI), cpu.slot(RDI));
        let (si, di) = (zx(cpu, rsi, self.address), zx(cpu, rdi, self.address));
        let to = linear(cpu, destination, di, 1, true)?;
        let from = linear(cpu, self.source, si, 1, false)?;
        let room = |at: u64| 4096 - at % 4096;
        let room = match self.op {
            Op::Movs => room(to).min(room(from)),
            _ => room(to),
        };
        let left = read_reg(cpu, Loc::reg(1), self.address);
        let count = left.min(room >> self.size);
        let bytes = count << self.size;
        // No pointer wraps within a page but at the very end of the address space.
        let last = mask(self.address) - 4096;
        if count < 2 || si > last || di > last {
            return Ok(0);
        }
        let done = match self.op {
            Op::Movs => access::copy(cpu, to, from, bytes as usize)?,
            _ => {
                let value = cpu.slot(crate::regs::RAX);
                let size = Size::from_log2(u32::from(self.size));
                access::fill(cpu, to, value, size, bytes as usize)?
            }
        };
        if !done {
            return Ok(0);
        }
        if self.op == Op::Movs {
            write_reg(cpu, Loc::reg(6), rsi.wrapping_add(bytes), self.address);
        }
        write_reg(cpu, Loc::reg(7), rdi.wrapping_add(bytes), self.address);
        let rcx = cpu.slot(RCX).wrapping_sub(count);
        write_reg(cpu, Loc::reg(1), rcx, self.address);
        Ok(count)
    }

    fn compares(&self) -> bool {
        matches!(self.op, Op::Scas | Op::Cmps)
    }

    fn set_flags(&self, cpu: &mut Cpu, (a, b): (u64, u64)) {
        if self.compares() {
            let (_, flags) = alu::sub(cpu, a, b, self.size);
            alu::set_flags(cpu, flags);
        }
    }

    fn run(&self, cpu: &mut Cpu) -> Result<u64, Stop> {
        if self.repeat == Repeat::Once {
            let compared = self.element(cpu)?;
            self.set_flags(cpu, compared);
            return Ok(0);
        }
        let mut turns = 0;
        if read_reg(cpu, Loc::reg(1), self.address) == 0 {
            return Ok(0);
        }
        loop {
            let many = self.many(cpu)?;
            if many != 0 {
                let left = read_reg(cpu, Loc::reg(1), self.address);
                if left == 0 {
                    return Ok(0);
                }
                if cpu.requests().any() {
                    debug::unfinished(cpu);
                    return Err(Stop::Redirect);
                }
            }
            let compared = self.element(cpu)?;
            let left = cpu.slot(RCX).wrapping_sub(1);
            write_reg(cpu, Loc::reg(1), left, self.address);
            let left = zx(cpu, left, self.address);
            let equal = compared.0 == compared.1;
            let ends = self.compares() && equal == (self.repeat == Repeat::WhileDifferent);
            if left == 0 || ends {
                self.set_flags(cpu, compared);
                return Ok(0);
            }
            turns += 1;
            let look = cpu.requests().any() || cpu.leaving() || crate::by_elements(cpu);
            if look || turns == TURNS {
                debug::unfinished(cpu);
                self.set_flags(cpu, compared);
                return Err(Stop::Redirect);
            }
        }
    }
}

static STRING: Helper<X86> = Helper {
    name: "string",
    call: |cpu, [how, ..]| How::unpack(how).run(cpu),
    effects: Effects::ANY,
};

/// The instruction for an operation that is repeated so.
pub fn definition(op: Op, repeat: Repeat, size: u8) -> &'static Def<X86> {
    macro_rules! repeated {
        ($name:literal, $op:tt) => {
            match repeat {
                Repeat::Once => sized!($name, string, [$op, 0], size),
                Repeat::WhileEqual => sized!($name, string, [$op, 1], size),
                Repeat::WhileDifferent => sized!($name, string, [$op, 2], size),
            }
        };
    }
    match op {
        Op::Movs => repeated!("MOVS", 0),
        Op::Stos => repeated!("STOS", 1),
        Op::Lods => repeated!("LODS", 2),
        Op::Scas => repeated!("SCAS", 3),
        Op::Cmps => repeated!("CMPS", 4),
    }
}

fn string<E: Emit<Arch = X86>, const OP: u8, const REPEAT: u8, const S: u8>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let word = u64::from(OP) | u64::from(REPEAT) << 8 | How::pack(Op::Movs, Repeat::Once, o);
    let how = e.imm(word);
    e.call(&STRING, &[how])?;
    Ok(())
}
