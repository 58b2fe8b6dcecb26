//! MONITOR and MWAIT as KVM treats them, RDPMC, RDPID (SDM vol. 2; KVM API 7.30,
//! "KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS").

use super::operand::{linear, load, read_reg, write_reg};
use super::system::undefined_here;
use super::{Loc, Operands};
use crate::cpuid::{self, feature};
use crate::exceptions::{self, Fault, vector};
use crate::quirks::quirk;
use crate::regs::RCX;
use crate::{X86, debug, idle};
use understudy_engine::emit::{Effects, Emit, Helper};

const GP: Fault = Fault::with_code(vector::GP, 0);

/// The checks, which are the processor's own but for the last, which KVM makes where it intercepts them:
/// RCX may have these bits.
static ALLOWED: Helper<X86> = Helper {
    name: "monitor_allowed",
    call: |cpu, [extensions, ..]| {
        if cpu.state.cpl != 0 {
            return Err(undefined_here(cpu));
        }
        if cpu.slot(RCX) & 0xffff_ffff & !extensions != 0 {
            return Err(exceptions::raise(cpu, GP));
        }
        if idle::has_mwait(cpu) {
            return Ok(0);
        }
        let never = cpu.state.quirks.has(quirk::MWAIT_NEVER_UD_FAULTS);
        let values = cpuid::query(cpu, 1, 0);
        let (_, _, register, bit) = feature::MWAIT;
        if !never && values[register] >> bit & 1 == 0 {
            return Err(undefined_here(cpu));
        }
        debug::by_kvm(cpu);
        Ok(0)
    },
    effects: Effects::ANY,
};

/// MONITOR: the byte must be there to be read. RAX is an offset in `via`.
pub fn monitor<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let none = e.imm(0);
    e.call(&ALLOWED, &[none])?;
    let offset = read_reg(e, Loc::reg(0), o.address);
    let at = linear(e, o.via, offset, 1, false)?;
    load(e, at, 0, o.via, false)?;
    e.call(&WATCH, &[at])?;
    Ok(())
}

static WATCH: Helper<X86> = Helper {
    name: "monitor",
    call: |cpu, [address, ..]| {
        idle::monitor(cpu, address);
        Ok(0)
    },
    effects: Effects::ANY,
};

static WAIT: Helper<X86> = Helper {
    name: "mwait",
    call: |cpu, _| {
        idle::mwait(cpu, cpu.slot(RCX) & MASKED != 0);
        Ok(0)
    },
    effects: Effects::ANY,
};

/// RCX of MWAIT: interrupts end it though they are masked.
const MASKED: u64 = 1;

/// MWAIT: goes on at once where KVM intercepts it.
pub fn mwait<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let extensions = e.imm(MASKED);
    e.call(&ALLOWED, &[extensions])?;
    e.call(&WAIT, &[])?;
    e.end_block();
    Ok(())
}

static REFUSE: Helper<X86> = Helper {
    name: "general_protection",
    call: |cpu, _| Err(exceptions::raise(cpu, GP)),
    effects: Effects::ANY,
};

/// RDPMC: there is no performance counter.
pub fn rdpmc<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    e.call(&REFUSE, &[])?;
    e.end_block();
    Ok(())
}

static AUX: Helper<X86> = Helper {
    name: "tsc_aux",
    call: |cpu, _| Ok(cpu.state.tsc_aux.into()),
    effects: Effects::PURE,
};

/// RDPID.
pub fn rdpid<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let aux = e.call(&AUX, &[])?;
    write_reg(e, o.a, aux, o.size);
    Ok(())
}
