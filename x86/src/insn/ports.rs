//! INS and OUTS, alone and repeated (SDM vol. 2; vol. 1, 19.3).
//!
//! As with KVM, whose emulator runs them: a repeated INS asks user space for as many elements as lie in
//! its page, and stores them when it is begun again; OUTS leaves after each element. In between RF is
//! set, so that the instruction's breakpoint is not met again.

use super::operand::{linear, load, mask, read_reg, store, via, write_reg, zx};
use super::{Loc, Operands};
use crate::exceptions::trouble;
use crate::exit::{Exit, Io};
use crate::io::{self, Access, Pending};
use crate::regs::{DIRECTION, RCX, RDI, RSI, flag};
use crate::segments::seg;
use crate::{Cpu, X86, debug};
use understudy_engine::emit::{Effects, Emit, Helper, Stop};

/// Bytes that KVM asks for at a time.
const AHEAD: u64 = 1024;

/// What the helper needs to know, in one word.
#[derive(Clone, Copy)]
struct How {
    repeats: bool,
    size: u8,
    address: u8,
    /// How RSI's segment is gone through.
    source: u8,
}

impl How {
    fn pack(repeats: bool, o: &Operands) -> u64 {
        let bytes = [repeats.into(), o.size, o.address, o.via, 0, 0, 0, 0];
        u64::from_le_bytes(bytes)
    }

    fn unpack(word: u64) -> How {
        let [repeats, size, address, source, ..] = word.to_le_bytes();
        How {
            repeats: repeats != 0,
            size,
            address,
            source,
        }
    }

    fn left(&self, cpu: &mut Cpu) -> u64 {
        read_reg(cpu, Loc::reg(1), self.address)
    }

    /// What a pointer moves by.
    fn step(&self, cpu: &Cpu) -> u64 {
        let step = 1u64 << self.size;
        if cpu.slot(DIRECTION) != 0 {
            step.wrapping_neg()
        } else {
            step
        }
    }

    /// One element less is to do.
    fn count(&self, cpu: &mut Cpu) {
        let left = cpu.slot(RCX).wrapping_sub(1);
        write_reg(cpu, Loc::reg(1), left, self.address);
    }

    /// How many elements user space is asked for.
    fn ahead(&self, cpu: &mut Cpu) -> u32 {
        if !self.repeats {
            return 1;
        }
        let rdi = cpu.slot(RDI);
        let at = zx(cpu, rdi, self.address) % 4096;
        let bytes = if cpu.slot(DIRECTION) != 0 {
            at + 1
        } else {
            4096 - at
        };
        let most = bytes.min(AHEAD) >> self.size;
        self.left(cpu).min(most).max(1) as u32
    }

    /// Between two elements: the instruction goes on where it is.
    fn between(cpu: &mut Cpu) {
        cpu.state.rflags |= flag::RF;
        debug::keep_resuming(cpu);
    }

    fn input(&self, cpu: &mut Cpu) -> Result<u64, Stop> {
        debug::by_emulator(cpu)?;
        if self.repeats && self.left(cpu) == 0 {
            io::forget_input(cpu);
            return Ok(0);
        }
        let bytes = 1 << self.size;
        let port = cpu.slot(crate::regs::RDX) as u16;
        io::check(cpu, port, bytes).map_err(|error| trouble(cpu, error))?;
        if !io::has_input(cpu, bytes) {
            let io = Io {
                is_in: true,
                size: bytes,
                port,
                count: self.ahead(cpu),
                data: 0,
            };
            return Err(leave(cpu, io, Access::InString));
        }
        while let Some(value) = io::peek_input(cpu, bytes) {
            let through = via(cpu.state.mode, seg::ES);
            let rdi = cpu.slot(RDI);
            let di = zx(cpu, rdi, self.address);
            let at = linear(cpu, through, di, bytes.into(), true)?;
            store(cpu, at, value, self.size, through)?;
            io::take_input(cpu, bytes);
            let step = self.step(cpu);
            write_reg(cpu, Loc::reg(7), rdi.wrapping_add(step), self.address);
            if !self.repeats {
                io::forget_input(cpu);
                return Ok(0);
            }
            self.count(cpu);
            // User space may have lowered RCX meanwhile. It is over when it is begun with none left,
            // which a single step shows.
            if self.left(cpu) == 0 {
                io::forget_input(cpu);
            }
        }
        How::between(cpu);
        Err(Stop::Redirect)
    }

    fn output(&self, cpu: &mut Cpu, length: u64) -> Result<u64, Stop> {
        debug::by_emulator(cpu)?;
        if self.repeats && self.left(cpu) == 0 {
            return Ok(0);
        }
        let bytes = 1 << self.size;
        let port = cpu.slot(crate::regs::RDX) as u16;
        io::check(cpu, port, bytes).map_err(|error| trouble(cpu, error))?;
        let rsi = cpu.slot(RSI);
        let si = zx(cpu, rsi, self.address);
        let at = linear(cpu, self.source, si, bytes.into(), false)?;
        let data = load(cpu, at, self.size, self.source, false)? & mask(self.size);
        let step = self.step(cpu);
        write_reg(cpu, Loc::reg(6), rsi.wrapping_add(step), self.address);
        if self.repeats {
            self.count(cpu);
            How::between(cpu);
        } else {
            cpu.pc = cpu.pc.wrapping_add(length);
        }
        debug::emulator_left(cpu);
        let io = Io {
            is_in: false,
            size: bytes,
            port,
            count: 1,
            data,
        };
        Err(leave(cpu, io, Access::OutString))
    }
}

fn leave(cpu: &mut Cpu, io: Io, access: Access) -> Stop {
    if io::string_answered(cpu, &io, access) {
        return Stop::Redirect;
    }
    cpu.state.io = Some(Pending {
        io,
        access,
        length: 0,
        pc: cpu.pc,
    });
    cpu.state.exit = Some(Exit::Io(io));
    Stop::Exit
}

static INS: Helper<X86> = Helper {
    name: "ins",
    call: |cpu, [how, ..]| How::unpack(how).input(cpu),
    effects: Effects::ANY,
};

static OUTS: Helper<X86> = Helper {
    name: "outs",
    call: |cpu, [how, length, ..]| How::unpack(how).output(cpu, length),
    effects: Effects::ANY,
};

/// INS, or OUTS.
pub fn string<E: Emit<Arch = X86>, const IN: bool, const REPEATS: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let (how, length) = (e.imm(How::pack(REPEATS, o)), e.imm(u64::from(o.length)));
    e.call(if IN { &INS } else { &OUTS }, &[how, length])?;
    e.end_block();
    Ok(())
}
