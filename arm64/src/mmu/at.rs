//! Address translation instructions, and what they leave in PAR_EL1 (Arm ARM D8.3, C5.5).

use super::fault::Fault;
use super::{Access, Use, page};
use crate::Cpu;
use crate::sysregs::Reg;
use understudy_engine::arch::AccessKind;
use understudy_engine::emit::Stop;

/// PAR_EL1.F: the translation was aborted.
const F: u64 = 1 << 0;
/// PAR_EL1.NS: the address is Non-secure.
const NS: u64 = 1 << 9;
/// Bit 11 is RES1.
const RES1: u64 = 1 << 11;

/// What is asked: the rights of which level, to do what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// EL1's rights (S1E1*); else those of EL0 (S1E0*).
    pub privileged: bool,
    /// A write (S1E*W); else a read.
    pub write: bool,
    /// PSTATE.PAN counts (S1E1RP, S1E1WP).
    pub pan: bool,
}

/// AT S1E*: translates `address` as asked, and sets PAR_EL1. Nothing is marked in a descriptor.
///
/// # Errors
///
/// The exception of a walk that met an external abort.
pub fn translate(cpu: &mut Cpu, address: u64, question: Question) -> Result<(), Stop> {
    let kind = if question.write {
        AccessKind::Store
    } else {
        AccessKind::Load
    };
    let access = Access {
        what: Use::Data(kind),
        privileged: question.privileged,
        pan: question.pan && super::pan(cpu),
        unaligned: false,
        looks: true,
    };
    let par = match page(cpu, address, access) {
        Ok(page) => {
            // Device memory, and Normal memory without any cache, is Outer Shareable.
            let outer = page.device() || page.memory == 0x44;
            let shareability = if outer { 2 } else { page.shareability as u64 };
            (page.memory as u64) << 56 | page.frame | RES1 | NS | shareability << 7
        }
        Err(abort) => match abort.fault {
            Fault::External { .. } | Fault::Host => return Err(abort.maintenance(cpu, address)),
            fault => F | fault.status() << 1 | RES1,
        },
    };
    cpu.state.sys[Reg::PAR_EL1] = par;
    Ok(())
}
