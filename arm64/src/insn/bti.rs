//! Branch target identification (FEAT_BTI; Arm ARM D8.4.5): what an indirect branch may lead to in a
//! guarded page.
//!
//! ```text
//!   BR, BLR ─► target's page guarded? ─no─► goes on
//!                  │ yes
//!                  ▼
//!             the instruction there suits? ─yes─► goes on: it clears PSTATE.BTYPE in any case
//!                  │ no; or it cannot be fetched; or it is stepped
//!                  ▼
//!             PSTATE.BTYPE is set, and looked at when the instruction is fetched
//! ```
//!
//! So no block has to look at PSTATE.BTYPE. Only the modes of a CPU that has the feature pay: a
//! helper for each BR and BLR.

use super::{Operands, Outcome};
use crate::regs::{read_x, write_x};
use crate::sysregs::Reg;
use crate::{Arm64, Cpu, debug, exceptions, mmu, regs};
use understudy_engine::emit::{Effects, Emit, Helper};

/// PSTATE.BTYPE after a branch with BR to code through X16 or X17, or from a page that is not guarded.
const JUMP_TO_CALL: u64 = 0b01;
/// After BLR.
const CALL: u64 = 0b10;
/// After any other BR.
const JUMP: u64 = 0b11;

/// Whether an instruction of a guarded page suits a branch of this kind (BTypeCompatible).
pub(crate) fn suits(cpu: &Cpu, word: u32, kind: u64) -> bool {
    /// SCTLR_EL1.BT0 and BT1: PACIASP and PACIBSP are no landing place for [`JUMP`].
    const BT0: u64 = 1 << 35;
    const BT1: u64 = 1 << 36;
    let strict = if cpu.state.el == 0 { BT0 } else { BT1 };
    match word {
        0xd503_245f => kind != JUMP, // BTI c
        0xd503_249f => kind != CALL, // BTI j
        0xd503_24df => true,         // BTI jc
        // PACIASP, PACIBSP
        0xd503_233f | 0xd503_237f => kind != JUMP || cpu.state.sys[Reg::SCTLR_EL1] & strict == 0,
        // BRK and HLT have their own exceptions.
        _ => matches!(word & 0xffe0_001f, 0xd420_0000 | 0xd440_0000),
    }
}

/// Target, register number, whether it links.
static LOOK: Helper<Arm64> = Helper {
    name: "branch target",
    call: |cpu, [target, register, link, _]| look(cpu, target, register, link != 0),
    effects: Effects::ANY,
};

fn look(cpu: &mut Cpu, target: u64, register: u64, link: bool) -> Outcome {
    let kind = match (link, register) {
        (true, _) => CALL,
        (false, 16 | 17) => JUMP_TO_CALL,
        (false, _) if mmu::guarded(cpu, cpu.pc) == Some(true) => JUMP,
        (false, _) => JUMP_TO_CALL,
    };
    let stepped = debug::step::stepping(cpu);
    if !stepped && target & 3 == 0 && mmu::suits(cpu, target, kind) == Some(true) {
        return Ok(0);
    }
    if link {
        let next = cpu.pc.wrapping_add(4);
        cpu.set_slot(regs::x_write(30), next);
    }
    Err(exceptions::branch_with_type(cpu, target, kind))
}

/// Looks at the target of an indirect branch, where the mode says so.
#[inline(always)]
pub(super) fn looks<E: Emit<Arch = Arm64>, const LINK: bool>(
    e: &mut E,
    o: &Operands,
    target: E::Val,
) -> Result<(), E::Stop> {
    if e.mode() & super::mode::BTI != 0 {
        let register = e.imm(o.rn() as u64);
        let link = e.imm(LINK as u64);
        e.call(&LOOK, &[target, register, link])?;
    }
    Ok(())
}

/// BR and BLR.
pub(super) fn br<E: Emit<Arch = Arm64>, const LINK: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let target = read_x(e, o.rn());
    looks::<E, LINK>(e, o, target)?;
    if LINK {
        let pc = e.pc();
        let next = e.add_imm(pc, 4);
        write_x(e, 30, next);
    }
    e.jump_to(target);
    Ok(())
}
