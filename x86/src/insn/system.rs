//! Flag control, miscellaneous and system instructions (SDM vol. 1, 5.1.9 to 5.1.15 and 5.10).

use super::operand::{read, read_reg, write_reg};
use super::{Loc, Operands};
use crate::exceptions::{self, Fault, vector};
use crate::exit::Exit;
use crate::interrupts::{self, Shadow};
use crate::regs::{
    ADJUST, CARRY, DIRECTION, LESS, RAX, RCX, RDX, SIGN, ZERO, flag, low_flags, set_low_flags,
};
use crate::state::cr4;
use crate::{Cpu, X86, debug, idle, mp, state, tsc, vcpu};
use understudy_engine::emit::{Effects, Emit, Helper, SlotSet, Stop};

/// An instruction that does nothing.
pub fn nop<E: Emit<Arch = X86>>(_: &mut E, _: &Operands) -> Result<(), E::Stop> {
    Ok(())
}

/// A fence: no access passes it.
pub fn fence<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    e.fence();
    Ok(())
}

/// CLFLUSH and its like: the byte must be there to be read, and that is all.
pub fn cache_line<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    read(e, o, Loc::MEM, 0)?;
    Ok(())
}

/// CMC.
pub fn cmc<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let (carry, one) = (e.get(CARRY), e.imm(1));
    let value = e.xor(carry, one);
    e.put(CARRY, value);
    Ok(())
}

/// CLC, or STC.
pub fn set_carry<E: Emit<Arch = X86>, const VALUE: bool>(
    e: &mut E,
    _: &Operands,
) -> Result<(), E::Stop> {
    let value = e.imm(u64::from(VALUE));
    e.put(CARRY, value);
    Ok(())
}

/// CLD, or STD.
pub fn set_direction<E: Emit<Arch = X86>, const VALUE: bool>(
    e: &mut E,
    _: &Operands,
) -> Result<(), E::Stop> {
    let value = e.imm(u64::from(VALUE));
    e.put(DIRECTION, value);
    Ok(())
}

/// LAHF.
pub fn lahf<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let flags = low_flags(e);
    write_reg(e, Loc::high(0), flags, 0);
    Ok(())
}

/// SAHF.
pub fn sahf<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let value = read_reg(e, Loc::high(0), 0);
    set_low_flags(e, value);
    Ok(())
}

/// The helper of an instruction that changes what blocks depend on, or leaves.
macro_rules! leaves {
    ($($(#[$doc:meta])* $static:ident $name:literal $f:ident($call:expr);)*) => {$(
        static $static: Helper<X86> = Helper {
            name: $name,
            call: $call,
            effects: Effects::ANY,
        };
        $(#[$doc])*
        pub fn $f<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
            let (imm, length) = (e.imm(o.imm), e.imm(u64::from(o.length)));
            e.call(&$static, &[imm, length])?;
            e.end_block();
            Ok(())
        }
    )*};
}

/// #UD.
pub(super) fn undefined_here(cpu: &mut Cpu) -> Stop {
    exceptions::raise(cpu, Fault::new(vector::UD))
}

leaves! {
    /// An invalid opcode: #UD.
    UNDEFINED "undefined" undefined(|cpu, _| {
        Err(undefined_here(cpu))
    });
    /// More than 15 bytes: #GP.
    TOO_LONG "too_long" too_long(|cpu, _| {
        Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)))
    });
    /// An instruction that this processor does not have yet.
    ABSENT "absent" absent(|cpu, _| Err(vcpu::internal_error(cpu)));
    /// HLT.
    HALT "hlt" hlt(|cpu, [_, length, ..]| Err(halt(cpu, length)));
    /// CLI.
    CLI "cli" cli(|cpu, _| set_interrupts(cpu, false));
    /// STI.
    STI "sti" sti(|cpu, _| set_interrupts(cpu, true));
}

fn halt(cpu: &mut Cpu, length: u64) -> Stop {
    if cpu.state.cpl != 0 {
        return exceptions::raise(cpu, Fault::with_code(vector::GP, 0));
    }
    cpu.pc = cpu.pc.wrapping_add(length);
    if idle::halt(cpu) {
        return Stop::Redirect;
    }
    debug::by_kvm(cpu);
    if mp::halt(cpu) {
        return Stop::Redirect;
    }
    cpu.state.exit = Some(Exit::Hlt);
    Stop::Exit
}

fn set_interrupts(cpu: &mut Cpu, on: bool) -> Result<u64, Stop> {
    let iopl = (cpu.state.rflags & flag::IOPL) >> 12;
    if u64::from(cpu.state.cpl) > iopl {
        return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
    }
    if on {
        if cpu.state.rflags & flag::IF == 0 {
            interrupts::cast_shadow(cpu, Shadow::Sti);
        }
        cpu.state.rflags |= flag::IF;
    } else {
        cpu.state.rflags &= !flag::IF;
    }
    state::changed(cpu);
    Ok(0)
}

static TIME_STAMP: Helper<X86> = Helper {
    name: "time_stamp",
    call: |cpu, [aux, ..]| {
        if cpu.state.cr4 & cr4::TSD != 0 && cpu.state.cpl != 0 {
            return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
        }
        let now = tsc::read(cpu);
        cpu.set_slot(RAX, now & 0xffff_ffff);
        cpu.set_slot(RDX, now >> 32);
        if aux != 0 {
            cpu.set_slot(RCX, u64::from(cpu.state.tsc_aux));
        }
        Ok(0)
    },
    effects: Effects {
        reads: SlotSet::range(0, 3),
        writes: SlotSet::range(0, 3),
        stops: true,
    },
};

/// RDTSC, or RDTSCP.
pub fn time_stamp<E: Emit<Arch = X86>, const AUX: bool>(
    e: &mut E,
    _: &Operands,
) -> Result<(), E::Stop> {
    let aux = e.imm(u64::from(AUX));
    e.call(&TIME_STAMP, &[aux])?;
    Ok(())
}

static RANDOM: Helper<X86> = Helper {
    name: "random",
    call: |_, _| {
        let mut bytes = [0; 8];
        // Fails nowhere that has the call; then the guest sees that there was no number.
        let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
        Ok(if filled == Ok(8) {
            u64::from_le_bytes(bytes)
        } else {
            0
        })
    },
    effects: Effects::PURE,
};

/// RDRAND and RDSEED. A number that is 0 is not given: CF is clear then, and the guest tries again.
pub fn random<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let value = e.call(&RANDOM, &[])?;
    write_reg(e, o.a, value, o.size);
    let zero = e.imm(0);
    let one = e.imm(1);
    let some = e.compare(understudy_engine::emit::Cmp::Ne, value, zero);
    e.put(CARRY, some);
    e.put(LESS, zero);
    // Neither zero nor negative, of odd parity.
    e.put(ZERO, one);
    e.put(SIGN, one);
    e.put(ADJUST, zero);
    Ok(())
}
