//! LDMXCSR and STMXCSR (SDM vol. 2).

use crate::exceptions::{self, Fault, vector};
use crate::insn::Operands;
use crate::insn::operand::{address, load, store};
use crate::{X86, fp, state};
use understudy_engine::emit::{Effects, Emit, Helper};

static LOAD: Helper<X86> = Helper {
    name: "ldmxcsr",
    call: |cpu, [value, ..]| {
        let value = value as u32;
        if value & !fp::mxcsr::MASK != 0 {
            return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
        }
        cpu.state.mxcsr = value;
        state::changed(cpu);
        Ok(0)
    },
    effects: Effects::ANY,
};

static STORE: Helper<X86> = Helper {
    name: "stmxcsr",
    call: |cpu, _| Ok(cpu.state.mxcsr.into()),
    effects: Effects::PURE,
};

/// LDMXCSR: what blocks are compiled for follows from it.
pub(super) fn load_mxcsr<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let at = address(e, o, 2, false)?;
    let value = load(e, at, 2, o.via, false)?;
    e.call(&LOAD, &[value])?;
    e.end_block();
    Ok(())
}

/// STMXCSR.
pub(super) fn store_mxcsr<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let at = address(e, o, 2, true)?;
    let value = e.call(&STORE, &[])?;
    store(e, at, value, 2, o.via)
}
