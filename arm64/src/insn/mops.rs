//! Memory Copy and Memory Set instructions (FEAT_MOPS; Arm ARM C4.1.94, "Memory Copy and Memory Set").
//!
//! Three instructions do the work of one: a prologue, a main part and an epilogue. How they divide it
//! is the processor's choice. Here it is the manual's option B (registers advance, PSTATE.C is set):
//!
//! ```text
//!   CPYP, SETP   size limited, direction in PSTATE.N           nothing is moved
//!   CPYM, SETM   all of it
//!   CPYE, SETE   what is left: all, if a debugger or another CPU's main part came between
//! ```
//!
//! Registers say after each access what is left, so that faults and interrupts find a state from which
//! the instruction goes on.

use super::{Decoded, Operands, Outcome};
use crate::regs::{self, x, x_write};
use crate::sysregs::Reg;
use crate::{Arm64, Cpu, exceptions};
use understudy_engine::access;
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Effects, Emit, Helper, Mem, Size, Stop};

/// Decodes an instruction of the class: bits 31:27 are 0b00011, bits 25:24 0b01, bit 21 0, bits 11:10
/// 0b01.
pub(super) fn decode(o: &Operands) -> Option<Decoded> {
    let stage = Stage::of(o);
    let set = stage.set();
    let (d, s, n) = (o.rd(), o.rm(), o.rn());
    let differ = d != s && d != n && s != n;
    // The value that is set may be XZR; nothing else may be.
    let known = d != 31 && n != 31 && (set || s != 31);
    // SETG is FEAT_MTE's.
    if !differ || !known || set && (o.bit(26) || o.bits(14, 2) == 3) {
        return None;
    }
    let def: &'static Def<Arm64> = match (stage, o.bit(26)) {
        (Stage::SetPrologue, _) => def!(Arm64, "SETP", mops, ends),
        (Stage::SetMain, _) => def!(Arm64, "SETM", mops, ends),
        (Stage::SetEpilogue, _) => def!(Arm64, "SETE", mops, ends),
        (Stage::Prologue, false) => def!(Arm64, "CPYFP", mops, ends),
        (Stage::Main, false) => def!(Arm64, "CPYFM", mops, ends),
        (Stage::Epilogue, false) => def!(Arm64, "CPYFE", mops, ends),
        (Stage::Prologue, true) => def!(Arm64, "CPYP", mops, ends),
        (Stage::Main, true) => def!(Arm64, "CPYM", mops, ends),
        (Stage::Epilogue, true) => def!(Arm64, "CPYE", mops, ends),
    };
    Some((def, 0))
}

/// Which part of the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Prologue,
    Main,
    Epilogue,
    SetPrologue,
    SetMain,
    SetEpilogue,
}

impl Stage {
    fn of(o: &Operands) -> Stage {
        match (o.bits(22, 2), o.bits(14, 2)) {
            (0b00, _) => Stage::Prologue,
            (0b01, _) => Stage::Main,
            (0b10, _) => Stage::Epilogue,
            (_, 0b00) => Stage::SetPrologue,
            (_, 0b01) => Stage::SetMain,
            _ => Stage::SetEpilogue,
        }
    }

    fn set(self) -> bool {
        matches!(
            self,
            Stage::SetPrologue | Stage::SetMain | Stage::SetEpilogue
        )
    }

    fn prologue(self) -> bool {
        matches!(self, Stage::Prologue | Stage::SetPrologue)
    }
}

static MOPS: Helper<Arm64> = Helper {
    name: "mops",
    call: |cpu, [word, ..]| {
        let o = Operands {
            word: word as u32,
            imm: 0,
        };
        run(cpu, &o)
    },
    effects: Effects::ANY,
};

fn mops<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let word = e.imm(o.word as u64);
    e.call(&MOPS, &[word])?;
    e.end_block();
    Ok(())
}

/// PSTATE.NZCV after the prologue: C, option B; with N, backwards.
const FORWARD: u64 = 1 << 29;
const BACKWARD: u64 = 1 << 31 | 1 << 29;

fn run(cpu: &mut Cpu, o: &Operands) -> Outcome {
    /// SCTLR_EL1.MSCEn: EL0 has these instructions.
    const MSCEN: u64 = 1 << 33;
    if cpu.state.el == 0 && cpu.state.sys[Reg::SCTLR_EL1] & MSCEN == 0 {
        return Err(exceptions::undefined(cpu));
    }
    let stage = Stage::of(o);
    if stage.prologue() {
        begin(cpu, o, stage);
        return Ok(0);
    }
    if regs::nzcv(cpu) & FORWARD == 0 {
        return Err(wrong_option(cpu, o, stage));
    }
    match stage.set() {
        true => set(cpu, o),
        false => copy(cpu, o),
    }
}

/// The prologue.
fn begin(cpu: &mut Cpu, o: &Operands, stage: Stage) {
    /// The most that CPYP copies.
    const MOST: u64 = 0x007f_ffff_ffff_ffff;
    let size = cpu.slot(x(o.rn()));
    if stage.set() || !o.bit(26) {
        cpu.set_slot(x_write(o.rn()), size.min(i64::MAX as u64));
        regs::set_nzcv(cpu, FORWARD);
        return;
    }
    let size = if size >> 55 != 0 { MOST } else { size };
    let (to, from) = (cpu.slot(x(o.rd())), cpu.slot(x(o.rm())));
    let address = |pointer: u64| pointer & (!0 >> 8);
    // Where the destination begins within the source, its end is copied first.
    let ahead = address(to).wrapping_sub(address(from)) & (!0 >> 8);
    let backward = ahead != 0 && ahead < size;
    if backward {
        cpu.set_slot(x_write(o.rd()), to.wrapping_add(size));
        cpu.set_slot(x_write(o.rm()), from.wrapping_add(size));
    }
    cpu.set_slot(x_write(o.rn()), size);
    regs::set_nzcv(cpu, if backward { BACKWARD } else { FORWARD });
}

/// The prologue was another processor's, with option A.
fn wrong_option(cpu: &mut Cpu, o: &Operands, stage: Stage) -> Stop {
    let epilogue = matches!(stage, Stage::Epilogue | Stage::SetEpilogue);
    // MemInst, Options, FromEpilogue, WrongOption, OptionA, and the registers.
    let options = match stage.set() {
        true => o.bits(12, 2),
        false => o.bits(12, 4),
    };
    let iss = (stage.set() as u64) << 24
        | u64::from(options) << 19
        | (epilogue as u64) << 18
        | 1 << 17
        | u64::from(o.rd()) << 10
        | u64::from(o.rm()) << 5
        | u64::from(o.rn());
    exceptions::memory_operation(cpu, iss)
}

/// Bytes after which interrupts and other requests are looked at.
const TURN: u64 = 1 << 16;

/// Has the instruction run again, if there is work left.
fn again(left: u64) -> Outcome {
    match left {
        0 => Ok(0),
        _ => Err(Stop::Redirect),
    }
}

/// An access of these bytes, with the unprivileged level's rights if the option says so.
fn mem(size: Size, unprivileged: bool) -> Mem {
    let mem = Mem::new(size);
    if unprivileged {
        mem.unprivileged()
    } else {
        mem
    }
}

/// The size of the next access: 8 bytes where all addresses allow it.
fn next(left: u64, addresses: u64) -> Size {
    match left >= 8 && addresses & 7 == 0 {
        true => Size::B8,
        false => Size::B1,
    }
}

fn set(cpu: &mut Cpu, o: &Operands) -> Outcome {
    let value = cpu.slot(x(o.rm())) & 0xff;
    let value = value * 0x0101_0101_0101_0101;
    let end = cpu.slot(x(o.rn())).saturating_sub(TURN);
    loop {
        let (to, left) = (cpu.slot(x(o.rd())), cpu.slot(x(o.rn())));
        if left <= end {
            return again(left);
        }
        let size = next(left, to);
        let value = value & size.mask();
        access::store(cpu, to, value, mem(size, o.bit(12)))?;
        cpu.set_slot(x_write(o.rd()), to.wrapping_add(size.bytes()));
        cpu.set_slot(x_write(o.rn()), left - size.bytes());
    }
}

fn copy(cpu: &mut Cpu, o: &Operands) -> Outcome {
    let backward = o.bit(26) && regs::nzcv(cpu) & BACKWARD == BACKWARD;
    let (writes, reads) = (o.bit(12), o.bit(13));
    let end = cpu.slot(x(o.rn())).saturating_sub(TURN);
    loop {
        let (to, from) = (cpu.slot(x(o.rd())), cpu.slot(x(o.rm())));
        let left = cpu.slot(x(o.rn()));
        if left <= end {
            return again(left);
        }
        // Eight bytes at once only where they do not overlap.
        let apart = to.abs_diff(from) >= 8;
        let size = match apart {
            true => next(left, to | from),
            false => Size::B1,
        };
        let step = match backward {
            true => size.bytes().wrapping_neg(),
            false => size.bytes(),
        };
        let at = |pointer: u64| {
            if backward {
                pointer.wrapping_add(step)
            } else {
                pointer
            }
        };
        let value = access::load(cpu, at(from), mem(size, reads))?;
        access::store(cpu, at(to), value, mem(size, writes))?;
        cpu.set_slot(x_write(o.rd()), to.wrapping_add(step));
        cpu.set_slot(x_write(o.rm()), from.wrapping_add(step));
        cpu.set_slot(x_write(o.rn()), left - size.bytes());
    }
}
