//! System instructions on control registers, on the TLB and on rights of pages (SDM vol. 1, 5.20).

use super::operand::{linear, load, offset, read, read_reg, write, write_reg};
use super::system::undefined_here;
use super::{Loc, Operands};
use crate::exceptions::{self, Fault, vector};
use crate::regs::{RAX, RCX, RDX, flag};
use crate::state::{self, cr0, cr4};
use crate::{Cpu, X86, controls, debug, mmu};
use understudy_engine::emit::{Effects, Emit, Helper, Stop};

const GP: Fault = Fault::with_code(vector::GP, 0);

/// #GP unless CPL is 0.
pub(super) fn privileged(cpu: &mut Cpu) -> Result<(), Stop> {
    if cpu.state.cpl == 0 {
        return Ok(());
    }
    Err(exceptions::raise(cpu, GP))
}

/// The result of a write that may fault.
pub(super) fn done(cpu: &mut Cpu, result: Result<(), Fault>) -> Result<u64, Stop> {
    match result {
        Ok(()) => Ok(0),
        Err(fault) => Err(exceptions::raise(cpu, fault)),
    }
}

static READ: Helper<X86> = Helper {
    name: "read_control",
    call: |cpu, [number, ..]| {
        privileged(cpu)?;
        if number == 4 {
            debug::by_emulator(cpu)?;
        }
        Ok(controls::read(cpu, number))
    },
    effects: Effects::ANY,
};

static WRITE: Helper<X86> = Helper {
    name: "write_control",
    call: |cpu, [number, value, ..]| {
        privileged(cpu)?;
        // Of CR0 only what changes more than two bits is intercepted.
        let selected = (cpu.state.cr0 ^ value) & !(cr0::MP | cr0::TS) != 0;
        if matches!(number, 4 | 8) || number == 0 && selected {
            debug::by_emulator(cpu)?;
        }
        let result = controls::write(cpu, number, value);
        done(cpu, result)
    },
    effects: Effects::ANY,
};

/// MOV from a control register, whose number is `imm`.
pub fn from_control<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let number = e.imm(o.imm);
    let value = e.call(&READ, &[number])?;
    write_reg(e, o.a, value, o.size);
    Ok(())
}

/// MOV to a control register.
pub fn to_control<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let number = e.imm(o.imm);
    let value = read_reg(e, o.b, o.size);
    e.call(&WRITE, &[number, value])?;
    e.end_block();
    Ok(())
}

static CLTS: Helper<X86> = Helper {
    name: "clts",
    call: |cpu, _| {
        privileged(cpu)?;
        cpu.state.cr0 &= !cr0::TS;
        state::changed(cpu);
        Ok(0)
    },
    effects: Effects::ANY,
};

/// CLTS.
pub fn clts<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    e.call(&CLTS, &[])?;
    e.end_block();
    Ok(())
}

static LMSW: Helper<X86> = Helper {
    name: "lmsw",
    call: |cpu, [value, ..]| {
        privileged(cpu)?;
        let old = cpu.state.cr0;
        // PE can be set, and not cleared.
        let value = old & !0xe | value & 0xf;
        let result = controls::set_cr0(cpu, value);
        done(cpu, result)
    },
    effects: Effects::ANY,
};

/// LMSW.
pub fn lmsw<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = read(e, o, o.a, 1)?;
    e.call(&LMSW, &[value])?;
    e.end_block();
    Ok(())
}

/// #GP where UMIP keeps an instruction from CPL 1 to 3.
pub(super) static UMIP: Helper<X86> = Helper {
    name: "umip",
    call: |cpu, _| {
        if cpu.state.cr4 & cr4::UMIP != 0 {
            privileged(cpu)?;
        }
        Ok(cpu.state.cr0)
    },
    effects: Effects::ANY,
};

/// SMSW: 16 bits into memory, all that a register has into one.
pub fn smsw<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = e.call(&UMIP, &[])?;
    let size = if o.a == Loc::MEM { 1 } else { o.size };
    write(e, o, o.a, value, size)
}

static INVLPG: Helper<X86> = Helper {
    name: "invlpg",
    call: |cpu, [address, ..]| {
        privileged(cpu)?;
        // One that is not canonical has no translation.
        mmu::flush_page(cpu, address);
        Ok(0)
    },
    effects: Effects::ANY,
};

/// INVLPG. The segment's base counts, its limit does not.
pub fn invlpg<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let offset = offset(e, o);
    let via = o.via & !super::via::CHECKED;
    let address = if o.via & super::via::CHECKED != 0 {
        let number = e.imm(u64::from(o.via & 7));
        let base = e.call(&BASE, &[number])?;
        e.add(base, offset)
    } else {
        linear(e, via, offset, 1, false)?
    };
    e.call(&INVLPG, &[address])?;
    e.end_block();
    Ok(())
}

static BASE: Helper<X86> = Helper {
    name: "segment_base",
    call: |cpu, [number, ..]| Ok(state::segment(cpu, number as u8).base),
    effects: Effects::ANY,
};

static INVPCID: Helper<X86> = Helper {
    name: "invpcid",
    call: |cpu, [kind, pcid, address, _]| {
        privileged(cpu)?;
        let result = controls::invalidate(cpu, kind, pcid, address);
        done(cpu, result)
    },
    effects: Effects::ANY,
};

/// INVPCID.
pub fn invpcid<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let kind = read_reg(e, o.a, o.size);
    let offset = offset(e, o);
    let at = linear(e, o.via, offset, 16, false)?;
    let pcid = load(e, at, 3, o.via, false)?;
    let above = e.add_imm(at, 8);
    let address = load(e, above, 3, o.via, false)?;
    e.call(&INVPCID, &[kind, pcid, address])?;
    e.end_block();
    Ok(())
}

static PRIVILEGED: Helper<X86> = Helper {
    name: "privileged",
    call: |cpu, _| {
        privileged(cpu)?;
        debug::by_kvm(cpu);
        Ok(0)
    },
    effects: Effects::ANY,
};

/// WBINVD and INVD: there is no cache to write back.
pub fn cache<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    e.call(&PRIVILEGED, &[])?;
    Ok(())
}

static ACCESS: Helper<X86> = Helper {
    name: "set_access_control",
    call: |cpu, [set, ..]| {
        if cpu.state.cpl != 0 {
            return Err(undefined_here(cpu));
        }
        if set != 0 {
            cpu.state.rflags |= flag::AC;
        } else {
            cpu.state.rflags &= !flag::AC;
        }
        state::changed(cpu);
        Ok(0)
    },
    effects: Effects::ANY,
};

/// STAC, or CLAC.
pub fn access_control<E: Emit<Arch = X86>, const SET: bool>(
    e: &mut E,
    _: &Operands,
) -> Result<(), E::Stop> {
    let set = e.imm(u64::from(SET));
    e.call(&ACCESS, &[set])?;
    e.end_block();
    Ok(())
}

static KEYS: Helper<X86> = Helper {
    name: "protection_keys",
    call: |cpu, [write, ..]| {
        if cpu.state.cr4 & cr4::PKE == 0 {
            return Err(undefined_here(cpu));
        }
        let rdx = cpu.slot(RDX) as u32;
        if cpu.slot(RCX) as u32 != 0 || write != 0 && rdx != 0 {
            return Err(exceptions::raise(cpu, GP));
        }
        if write != 0 {
            cpu.state.pkru = cpu.slot(RAX) as u32;
            mmu::flush(cpu);
        } else {
            cpu.set_slot(RAX, u64::from(cpu.state.pkru));
            cpu.set_slot(RDX, 0);
        }
        Ok(0)
    },
    effects: Effects::ANY,
};

/// RDPKRU, or WRPKRU.
pub fn protection_keys<E: Emit<Arch = X86>, const WRITE: bool>(
    e: &mut E,
    _: &Operands,
) -> Result<(), E::Stop> {
    let write = e.imm(u64::from(WRITE));
    e.call(&KEYS, &[write])?;
    e.end_block();
    Ok(())
}
