//! What instructions of floating point are where control registers do not allow them: #UD, #NM, or #MF
//! for an earlier one. It is decided when they are decoded, as [`super::mode`] has all it depends on.

use super::{Operands, system};
use crate::X86;
use crate::exceptions::{self, Fault, vector};
use crate::fpu::{self, Needs, Refusal};
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::{Effects, Emit, Helper};

static RAISE: Helper<X86> = Helper {
    name: "refuse",
    call: |cpu, [vector, ..]| Err(exceptions::raise(cpu, Fault::new(vector as u8))),
    effects: Effects::ANY,
};

fn raise<E: Emit<Arch = X86>, const VECTOR: u8>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let vector = e.imm(u64::from(VECTOR));
    e.call(&RAISE, &[vector])?;
    e.end_block();
    Ok(())
}

/// What an instruction with these needs is instead, if they are not met.
pub(crate) fn refused(mode: u32, needs: Needs) -> Option<&'static Def<X86>> {
    const NM: u8 = vector::NM;
    const MF: u8 = vector::MF;
    Some(match fpu::refusal(mode, needs)? {
        Refusal::Undefined => def!(X86, "(undefined)", system::undefined, ends),
        Refusal::NotAvailable => def!(X86, "(not available)", raise, [NM], ends),
        Refusal::Pending => def!(X86, "(x87 exception)", raise, [MF], ends),
    })
}
