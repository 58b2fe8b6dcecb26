//! System instructions: hints, barriers, PSTATE, system registers, maintenance (Arm ARM C4.1.93,
//! classes "Hints" to "System register move").

use super::alu::{Flags, set_flags};
use super::{Decoded, Operands, Outcome, flags, fp_trap, mode, pauth};
use crate::fp::{fpcr, fpsr};
use crate::mmu::tlbi;
use crate::regs::{self, read_x, write_x};
use crate::state::pstate;
use crate::{Arm64, Cpu, exceptions, interrupts, sysregs};
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Cmp, Effects, Emit, Helper, Slot, SlotSet, Unary};

/// Decodes an instruction of these classes: bits 31:24 are 0xd5.
pub fn decode(mode: u32, o: &Operands) -> Option<Decoded> {
    if o.bits(22, 2) != 0 {
        return None;
    }
    if o.bits(6, 16) == WAIT_WITH_TIMEOUT {
        let def = match o.bit(5) {
            true => def!(Arm64, "WFIT", wfit, ends),
            false => def!(Arm64, "WFET", wfet, ends),
        };
        return Some((def, 0));
    }
    let def = match (o.bits(19, 2), o.bit(21)) {
        (0b00, false) if o.rd() == 31 => match (o.bits(16, 3), o.bits(12, 4)) {
            (0b011, 0b0010) => Some(hint(o)),
            (0b011, 0b0011) => barrier(o),
            (_, 0b0100) => return pstate_immediate(mode, o),
            _ => None,
        },
        (0b00, _) => None,
        (0b01, false) => Some(maintenance(o)),
        // No system instruction of this processor has a result.
        (0b01, true) => None,
        (_, false) => Some(msr(mode, o)),
        (_, true) => Some(mrs(mode, o)),
    };
    def.map(|def| (def, 0))
}

/// Bits 21:6 of WFET and WFIT (FEAT_WFxT).
const WAIT_WITH_TIMEOUT: u32 = 0b0000_1100_0100_0000;

type Definition = &'static Def<Arm64>;

fn hint(o: &Operands) -> Definition {
    match o.bits(5, 7) {
        0b000_0010 => def!(Arm64, "WFE", wfe, ends),
        0b000_0011 => def!(Arm64, "WFI", wfi, ends),
        0b001_0000 => def!(Arm64, "ESB", esb, ends),
        // YIELD; SEV and SEVL, as WFE never waits; CSDB, PSB CSYNC, and all that is not
        // allocated.
        _ => pauth::hint(o).unwrap_or_else(no_operation),
    }
}

/// A hint that says nothing here.
pub(super) fn no_operation() -> Definition {
    def!(Arm64, "NOP", nop)
}

/// Does nothing.
pub fn nop<E: Emit<Arch = Arm64>>(_: &mut E, _: &Operands) -> Result<(), E::Stop> {
    Ok(())
}

/// An instruction that is one call of a helper with its word, and a block's end.
macro_rules! helpers {
    ($($static:ident $name:literal $f:ident($call:expr);)*) => {$(
        static $static: Helper<Arm64> = Helper {
            name: $name,
            call: $call,
            effects: Effects::ANY,
        };
        fn $f<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
            let word = e.imm(o.word as u64);
            e.call(&$static, &[word])?;
            e.end_block();
            Ok(())
        }
    )*};
}

helpers! {
    WFE "wfe" wfe(|cpu, _| interrupts::wait_for_event(cpu));
    WFI "wfi" wfi(|cpu, _| interrupts::wait_for_interrupt(cpu));
    ESB "esb" esb(|cpu, _| interrupts::synchronize_errors(cpu));
    PSTATE "msr pstate" msr_pstate(|cpu, [word, ..]| set_pstate(cpu, word as u32));
}

static WFIT: Helper<Arm64> = Helper {
    name: "wfit",
    call: |cpu, [until, register, ..]| {
        interrupts::wait_for_interrupt_until(cpu, until, register as u32)
    },
    effects: Effects::ANY,
};

fn wfit<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let until = read_x(e, o.rd());
    let register = e.imm(o.rd() as u64);
    e.call(&WFIT, &[until, register])?;
    e.end_block();
    Ok(())
}

/// As [`wfe`], which never waits.
fn wfet<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    wfe(e, o)
}

fn barrier(o: &Operands) -> Option<Definition> {
    Some(match o.bits(5, 3) {
        0b010 => def!(Arm64, "CLREX", clrex),
        0b100 => def!(Arm64, "DSB", dsb),
        // Where the host keeps loads in order, and stores, only a store before a load needs more.
        0b101 if cfg!(target_arch = "x86_64") && o.bits(8, 2) != 0b11 => {
            def!(Arm64, "DMB", nop)
        }
        0b101 => def!(Arm64, "DMB", fence),
        0b110 => def!(Arm64, "ISB", isb, ends),
        // Nothing here runs ahead of what comes before it.
        0b111 if o.bits(8, 4) == 0 => def!(Arm64, "SB", nop),
        _ => return None,
    })
}

fn clrex<E: Emit<Arch = Arm64>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let open = e.imm(regs::MONITOR_OPEN);
    e.put(regs::MONITOR, open);
    Ok(())
}

fn fence<E: Emit<Arch = Arm64>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    e.fence();
    Ok(())
}

static COMPLETE: Helper<Arm64> = Helper {
    name: "dsb",
    call: |cpu, _| {
        tlbi::complete(cpu);
        Ok(0)
    },
    effects: Effects {
        reads: SlotSet::NONE,
        writes: SlotSet::NONE,
        stops: true,
    },
};

fn dsb<E: Emit<Arch = Arm64>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    e.fence();
    e.call(&COMPLETE, &[])?;
    Ok(())
}

fn isb<E: Emit<Arch = Arm64>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    e.end_block();
    Ok(())
}

static DAIF_SET: Helper<Arm64> = Helper {
    name: "msr daifset",
    call: |cpu, [masks, ..]| {
        exceptions::change_pstate(cpu, masks, !0);
        Ok(0)
    },
    effects: Effects::PURE,
};

fn daif_set<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    // D, A, I and F are bits 3 to 0 of the immediate.
    let masks = e.imm(o.bits(8, 4) as u64 * pstate::F);
    e.call(&DAIF_SET, &[masks])?;
    Ok(())
}

/// The fields of PSTATE that MSR (immediate) names by op1 and op2.
mod field {
    pub const UAO: (u32, u32) = (0b000, 0b011);
    pub const PAN: (u32, u32) = (0b000, 0b100);
    pub const SPSEL: (u32, u32) = (0b000, 0b101);
    pub const SSBS: (u32, u32) = (0b011, 0b001);
    pub const DIT: (u32, u32) = (0b011, 0b010);
    pub const DAIFSET: (u32, u32) = (0b011, 0b110);
    pub const DAIFCLR: (u32, u32) = (0b011, 0b111);
}

fn pstate_immediate(mode: u32, o: &Operands) -> Option<Decoded> {
    let el1 = mode & mode::EL1 != 0;
    match (o.bits(16, 3), o.bits(5, 3)) {
        field::UAO | field::PAN | field::SPSEL if el1 => {}
        // To mask more neither needs a look at what is pending nor changes the mode, and it is
        // frequent: the block goes on.
        field::DAIFSET if el1 => return Some((def!(Arm64, "MSR DAIFSet", daif_set), 0)),
        (0b000, op2 @ 0b000..=0b010) if o.bits(8, 4) == 0 => {
            return flags::decode_plain(op2).map(|def| (def, 0));
        }
        field::SSBS | field::DIT | field::DAIFSET | field::DAIFCLR => {}
        _ => return None,
    }
    Some((def!(Arm64, "MSR (immediate)", msr_pstate, ends), 0))
}

fn set_pstate(cpu: &mut Cpu, word: u32) -> Outcome {
    let o = Operands { word, imm: 0 };
    let imm = o.bits(8, 4) as u64;
    let flag = if imm & 1 != 0 { !0 } else { 0 };
    // D, A, I and F are bits 3 to 0 of the immediate.
    let masks = imm * pstate::F;
    match (o.bits(16, 3), o.bits(5, 3)) {
        field::UAO => exceptions::change_pstate(cpu, pstate::UAO, flag),
        field::PAN => exceptions::change_pstate(cpu, pstate::PAN, flag),
        field::DIT => exceptions::change_pstate(cpu, pstate::DIT, flag),
        field::SSBS => exceptions::change_pstate(cpu, pstate::SSBS, flag),
        field::SPSEL => exceptions::select_sp(cpu, imm & 1 != 0),
        _ if cpu.state.el == 0 && !sysregs::el0_masks_interrupts(cpu) => {
            return Err(exceptions::system_trapped(cpu, word));
        }
        field::DAIFSET => exceptions::change_pstate(cpu, masks, !0),
        _ => exceptions::change_pstate(cpu, masks, 0),
    }
    Ok(0)
}

static SYS: Helper<Arm64> = Helper {
    name: "sys",
    call: |cpu, [word, value, ..]| sysregs::sys(cpu, word as u32, value).map(|()| 0),
    effects: Effects::ANY,
};

/// SYS: the word without Rt, from which a definition is found.
fn maintenance(o: &Operands) -> Definition {
    match encoding(o.word) {
        DC_ZVA => def!(Arm64, "DC ZVA", sys),
        _ => def!(Arm64, "SYS", sys_ends, ends),
    }
}

fn sys<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let word = e.imm(o.word as u64);
    let value = read_x(e, o.rd());
    e.call(&SYS, &[word, value])?;
    Ok(())
}

fn sys_ends<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    sys(e, o)?;
    e.end_block();
    Ok(())
}

/// op0, op1, CRn, CRm and op2 of a word, in bits 15:14, 13:11, 10:7, 6:3 and 2:0.
const fn encoding(word: u32) -> u32 {
    word >> 5 & 0xffff
}

const fn op(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

const DC_ZVA: u32 = op(1, 3, 7, 4, 1);
const NZCV: u32 = op(3, 3, 4, 2, 0);
const FPCR: u32 = op(3, 3, 4, 4, 0);
const FPSR: u32 = op(3, 3, 4, 4, 1);
const TPIDR_EL0: u32 = op(3, 3, 13, 0, 2);
const TPIDRRO_EL0: u32 = op(3, 3, 13, 0, 3);
const TPIDR_EL1: u32 = op(3, 0, 13, 0, 4);

static MRS: Helper<Arm64> = Helper {
    name: "mrs",
    call: |cpu, [word, ..]| sysregs::read(cpu, word as u32),
    effects: Effects::ANY,
};

static MSR: Helper<Arm64> = Helper {
    name: "msr",
    call: |cpu, [word, value, ..]| sysregs::write(cpu, word as u32, value).map(|()| 0),
    effects: Effects::ANY,
};

/// The slot that is the register, if one is.
fn slot(mode: u32, encoding: u32, write: bool) -> Option<Slot> {
    let el1 = mode & mode::EL1 != 0;
    match encoding {
        TPIDR_EL0 => Some(regs::TPIDR_EL0),
        TPIDRRO_EL0 if el1 || !write => Some(regs::TPIDRRO_EL0),
        TPIDR_EL1 if el1 => Some(regs::TPIDR_EL1),
        FPCR => Some(regs::FPCR),
        FPSR => Some(regs::FPSR),
        _ => None,
    }
}

fn mrs(mode: u32, o: &Operands) -> Definition {
    match encoding(o.word) {
        NZCV => def!(Arm64, "MRS NZCV", mrs_nzcv),
        FPCR | FPSR if mode & mode::FP_TRAP != 0 => fp_trap(),
        encoding if slot(mode, encoding, false).is_some() => def!(Arm64, "MRS", mrs_slot),
        _ => def!(Arm64, "MRS", mrs_other),
    }
}

fn msr(mode: u32, o: &Operands) -> Definition {
    match encoding(o.word) {
        NZCV => def!(Arm64, "MSR NZCV", msr_nzcv),
        FPCR | FPSR if mode & mode::FP_TRAP != 0 => fp_trap(),
        encoding if slot(mode, encoding, true).is_some() => def!(Arm64, "MSR", msr_slot),
        _ => def!(Arm64, "MSR (register)", msr_other, ends),
    }
}

fn mrs_slot<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let slot = slot(e.mode(), encoding(o.word), false).unwrap_or(regs::ZERO);
    let value = e.get(slot);
    write_x(e, o.rd(), value);
    Ok(())
}

fn msr_slot<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let slot = slot(e.mode(), encoding(o.word), true).unwrap_or(regs::SINK);
    let value = read_x(e, o.rd());
    let value = match encoding(o.word) {
        FPCR => e.and_imm(value, fpcr::MASK.into()),
        FPSR => e.and_imm(value, fpsr::MASK.into()),
        _ => value,
    };
    e.put(slot, value);
    Ok(())
}

fn mrs_nzcv<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let zero = e.imm(0);
    let (n, z) = (e.get(regs::N), e.get(regs::Z));
    let (c, v) = (e.get(regs::C), e.get(regs::V));
    let z = e.compare(Cmp::Eq, z, zero);
    let (n, v) = (e.shr_imm(n, 63), e.shr_imm(v, 63));
    let (n, z, c, v) = (
        e.shl_imm(n, 31),
        e.shl_imm(z, 30),
        e.shl_imm(c, 29),
        e.shl_imm(v, 28),
    );
    let (nz, cv) = (e.or(n, z), e.or(c, v));
    let value = e.or(nz, cv);
    write_x(e, o.rd(), value);
    Ok(())
}

fn msr_nzcv<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read_x(e, o.rd());
    let n = e.shl_imm(value, 63 - 31);
    let clear = e.unary(Unary::Not, value);
    let z = e.and_imm(clear, 1 << 30);
    let c = e.shr_imm(value, 29);
    let c = e.and_imm(c, 1);
    let v = e.shl_imm(value, 63 - 28);
    set_flags(e, Flags { n, z, c, v });
    Ok(())
}

fn mrs_other<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let word = e.imm(o.word as u64);
    let value = e.call(&MRS, &[word])?;
    write_x(e, o.rd(), value);
    Ok(())
}

fn msr_other<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let word = e.imm(o.word as u64);
    let value = read_x(e, o.rd());
    e.call(&MSR, &[word, value])?;
    e.end_block();
    Ok(())
}
