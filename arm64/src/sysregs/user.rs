//! KVM_GET_ONE_REG, KVM_SET_ONE_REG and KVM_GET_REG_LIST for system registers (KVM API 4.68 to
//! 4.70).

use super::encoding::Encoding;
use super::id::attainable;
use super::id::fields::Field;
use super::register::{Register, User};
use super::storage::{CACHES, Reg};
use super::table;
use crate::Cpu;
use crate::debug::os_lock;
use crate::exceptions;
use crate::insn::features;
use crate::mmu;
use crate::pauth::PauthState;
use understudy_abi::arm64::reg::{
    KVM_REG_ARCH_MASK, KVM_REG_ARM_COPROC_MASK, KVM_REG_ARM_DEMUX, KVM_REG_ARM_DEMUX_ID_CCSIDR,
    KVM_REG_ARM_DEMUX_ID_MASK, KVM_REG_ARM_DEMUX_VAL_MASK, KVM_REG_ARM64, KVM_REG_ARM64_SYSREG,
    KVM_REG_SIZE_MASK, KVM_REG_SIZE_U32, KVM_REG_SIZE_U64, ccsidr,
};

/// Why a register was not read or set: KVM's errno.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Error {
    /// `ENOENT`: there is no such register, or this vCPU does not have it.
    NoEnt,
    /// `EINVAL`: the id is malformed, or the register cannot have this value.
    Inval,
    /// `EBUSY`: it can no longer be changed, as the VM has run.
    Busy,
    /// `EPERM`: it contradicts what the vCPU was asked for, or cannot be changed now.
    Perm,
    /// `E2BIG`: a field is above its limit (`arm64-id-reg-configurable`).
    TooBig,
}

/// The id of a system register.
pub const fn id_of(encoding: Encoding) -> u64 {
    KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM64_SYSREG | encoding.bits() as u64
}

/// Whether the vCPU shows the register to user space.
fn shown(cpu: &Cpu, register: &Register) -> bool {
    match register.user {
        User::Hidden => false,
        User::If(_, has) => has(cpu),
        _ => true,
    }
}

fn find(cpu: &Cpu, id: u64) -> Result<&'static Register, Error> {
    let encoding = Encoding::from_bits(id as u16);
    if id != id_of(encoding) {
        return Err(Error::NoEnt);
    }
    table::find(encoding)
        .filter(|register| shown(cpu, register))
        .ok_or(Error::NoEnt)
}

/// Reads a system register by its id; also one of the cache size registers behind CSSELR_EL1.
///
/// # Errors
/// `NoEnt` if there is none.
pub fn get(cpu: &Cpu, id: u64) -> Result<u64, Error> {
    if id & KVM_REG_ARM_COPROC_MASK == KVM_REG_ARM_DEMUX {
        return Ok(read_ccsidr(cpu, demux(id)?).into());
    }
    let register = find(cpu, id)?;
    match register.user {
        User::Hidden => Err(Error::NoEnt),
        User::Stored(reg) | User::Checked(reg, _, _) | User::Then(reg, _) | User::If(reg, _) => {
            Ok(cpu.state.sys[reg])
        }
        User::Slot(slot) => Ok(cpu.slot(slot)),
        User::Id => Ok(cpu.state.id.get(register.encoding)),
        User::Invariant(value) | User::By(value, _) => Ok(value(cpu)),
    }
}

/// Sets a system register by its id.
///
/// # Errors
/// `NoEnt` if there is none, `Inval` if it cannot have this value, `Busy` if it can no longer be
/// changed. The register is as it was, then.
pub fn set(cpu: &mut Cpu, id: u64, value: u64) -> Result<(), Error> {
    if id & KVM_REG_ARM_COPROC_MASK == KVM_REG_ARM_DEMUX {
        return set_ccsidr(cpu, demux(id)?, value as u32);
    }
    let register = find(cpu, id)?;
    match register.user {
        User::Hidden => return Err(Error::NoEnt),
        User::Stored(reg) | User::If(reg, _) => cpu.state.sys[reg] = value,
        User::Checked(reg, check, then) => {
            check(cpu, value)?;
            cpu.state.sys[reg] = value;
            then(cpu);
        }
        User::Then(reg, then) => {
            cpu.state.sys[reg] = value;
            then(cpu);
        }
        User::Slot(slot) => cpu.set_slot(slot, value),
        User::Id => return cpu.state.id.set(register.encoding, value),
        User::By(_, set) => set(cpu, value),
        User::Invariant(own) if own(cpu) == value => (),
        User::Invariant(_) => return Err(Error::Inval),
    }
    Ok(())
}

/// The ids of the system registers, in KVM's order: those that never change, all others by their
/// encoding, and the cache size registers.
pub fn list(cpu: &Cpu) -> Vec<u64> {
    let invariant = |register: &&Register| matches!(register.user, User::Invariant(_));
    let all = || {
        let all = table::REGISTERS.iter();
        all.filter(|register| shown(cpu, register))
    };
    let ids = all().filter(invariant);
    let ids = ids.chain(all().filter(|register| !invariant(register)));
    let mut ids: Vec<u64> = ids.map(|register| id_of(register.encoding)).collect();
    ids.extend((0..CACHES).map(|cache| ccsidr(cache as u8)));
    ids
}

/// Which cache a KVM_REG_ARM_DEMUX id is about.
fn demux(id: u64) -> Result<usize, Error> {
    let class = KVM_REG_ARM64 | KVM_REG_SIZE_U32 | KVM_REG_ARM_DEMUX | KVM_REG_ARM_DEMUX_ID_CCSIDR;
    let cache = (id & KVM_REG_ARM_DEMUX_VAL_MASK) as usize;
    debug_assert_eq!(
        class & (KVM_REG_ARCH_MASK | KVM_REG_SIZE_MASK | KVM_REG_ARM_DEMUX_ID_MASK),
        KVM_REG_ARM64 | KVM_REG_SIZE_U32
    );
    if id & !KVM_REG_ARM_DEMUX_VAL_MASK == class && cache < CACHES {
        Ok(cache)
    } else {
        Err(Error::NoEnt)
    }
}

/// Base-2 logarithm of the bytes in a line of the cache that CSSELR_EL1 names, from CTR_EL0.
fn line_log2(cpu: &Cpu, csselr: usize) -> u32 {
    use super::id::fields::{CTR_DMINLINE, CTR_IMINLINE};
    let instruction = csselr & 1 != 0;
    let field = if instruction {
        &CTR_IMINLINE
    } else {
        &CTR_DMINLINE
    };
    cpu.state.id.field(field) as u32 + 2
}

/// CCSIDR_EL1 for a value of CSSELR_EL1: what user space has set, or one set of one way of lines as
/// long as CTR_EL0 says. As the geometry of a host's caches says nothing about a vCPU's, KVM hands
/// out no other.
pub(super) fn read_ccsidr(cpu: &Cpu, csselr: usize) -> u32 {
    match &cpu.state.sys.ccsidr {
        Some(values) => values[csselr % CACHES],
        None => line_log2(cpu, csselr).saturating_sub(4),
    }
}

fn set_ccsidr(cpu: &mut Cpu, csselr: usize, value: u32) -> Result<(), Error> {
    // LineSize, bits 2:0, is the logarithm less 4; lines cannot be shorter than CTR_EL0 says.
    if (value & 7) + 4 < line_log2(cpu, csselr) {
        return Err(Error::Inval);
    }
    if read_ccsidr(cpu, csselr) != value {
        let mut values = [0; CACHES];
        for (cache, old) in values.iter_mut().enumerate() {
            *old = read_ccsidr(cpu, cache);
        }
        values[csselr % CACHES] = value;
        cpu.state.sys.ccsidr = Some(values);
    }
    Ok(())
}

/// Whether OSLSR_EL1 can have this value: locked or unlocked, and nothing else (OSL-6).
pub(super) fn check_oslsr(_: &Cpu, value: u64) -> Result<(), Error> {
    if os_lock::valid_oslsr(value) {
        Ok(())
    } else {
        Err(Error::Inval)
    }
}

/// Whether CLIDR_EL1 can have this value: no RES0 bits, and where data caches have to be cleaned to
/// the point of unification it has to say which.
pub(super) fn check_clidr(cpu: &Cpu, value: u64) -> Result<(), Error> {
    let id = &cpu.state.id;
    let level = |low: u32| value >> low & 7;
    let (louis, loc, louu) = (level(21), level(24), level(27));
    let clean = id.field(&super::id::fields::CTR_IDC) == 0;
    if value >> 47 != 0 || clean && (loc == 0 || louis == 0 && louu == 0) {
        return Err(Error::Inval);
    }
    Ok(())
}

/// Applies what the first run of a vCPU does to its registers: those that the processor does not
/// implement lose what user space may have put there. What the ID registers hide is hidden from here on.
pub fn first_run(cpu: &mut Cpu) {
    super::traps::update(cpu);
    let fidelity = cpu.state.machine.settings.fidelity;
    cpu.state.hidden_features = features::hidden(&cpu.state.id, fidelity);
    cpu.state.absent_pstate = features::hidden_pstate(cpu.state.hidden_features);
    exceptions::drop_absent(cpu);
    let offers = |field: &Field, least| features::offers(&cpu.state.id, fidelity, field, least);
    let features = mmu::Features::new(offers);
    mmu::set_features(cpu, features);
    let model = cpu.state.id.model();
    let host = |field: &Field, least| field.number(attainable(model, field)) >= least;
    cpu.state.pauth = PauthState::new(host, super::special::has_pauth(cpu));
    exceptions::synchronize(cpu);
    for unimplemented in [Reg::AFSR0_EL1, Reg::AFSR1_EL1] {
        cpu.state.sys[unimplemented] = 0;
    }
}
