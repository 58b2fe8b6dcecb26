//! `KVM_GET_ONE_REG` (api.rst 4.69), `KVM_SET_ONE_REG` (4.68) and `KVM_GET_REG_LIST` (4.84).
//!
//! ```text
//!   id ── class ── core        here: X, SP, PC, PSTATE, SPSR, V, FPSR, FPCR
//!                  firmware    arm64: PSCI version, workarounds, bitmaps
//!                  timer       arm64 (system register ids, of which two are swapped)
//!                  system      arm64: the table of system registers, and CCSIDR
//! ```
//!
//! The order in which KVM looks shows in the errno: a wrong architecture or high bit is EINVAL;
//! a system or firmware register that is set is read from user space (EFAULT) before it is looked
//! up (ENOENT), one that is got is looked up first.

use std::mem::size_of;
use std::sync::Arc;

use understudy_abi::arm64::reg::*;
use understudy_abi::arm64::{KVM_NR_SPSR, kvm_regs};
use understudy_abi::common::{kvm_one_reg, kvm_reg_list};
use understudy_abi::ioctl::{KVM_GET_ONE_REG, KVM_GET_REG_LIST, KVM_SET_ONE_REG};
use understudy_arm64::smccc::{FIRMWARE_REGISTERS, SetError};
use understudy_arm64::sysregs::Reg;
use understudy_arm64::sysregs::id::fields;
use understudy_arm64::sysregs::user::{self as sysregs, Error};
use understudy_arm64::vcpu::core_regs;
use understudy_arm64::{Cpu, regs, timers};
use zerocopy::IntoBytes;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::user::User;
use crate::vcpu::Vcpu;
use crate::vcpu::arm64::State;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_ONE_REG: Vcpu get, "reads a register",
        ENOEXEC "the vCPU is not initialised",
        EFAULT "the argument cannot be read or the value not written",
        EINVAL "the id is of another architecture, or of no core register",
        ENOENT "the vCPU has no such register"),
    row!(KVM_SET_ONE_REG: Vcpu set, "writes a register",
        ENOEXEC "the vCPU is not initialised",
        EFAULT "the argument or the value cannot be read",
        EINVAL "the id is of another architecture or of no core register, or the register cannot \
                have this value",
        ENOENT "the vCPU has no such register",
        EBUSY "the VM has run, and the register cannot change any more",
        EPERM "the register cannot have this value with the vCPU's features",
        E2BIG "arm64-id-reg-configurable: a field is above its limit"),
    row!(KVM_GET_REG_LIST: Vcpu list, "the ids of all registers",
        ENOEXEC "the vCPU is not initialised",
        EFAULT "the argument cannot be read or written",
        E2BIG "there are more than fit; n says how many"),
];

/// A register's value, at most 16 bytes: the low ones of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) u128);

impl Value {
    /// As many bytes as the register has, in the host's order.
    pub(crate) fn to_ne_bytes_of(self, size: usize) -> Vec<u8> {
        match size {
            4 => (self.0 as u32).to_ne_bytes().to_vec(),
            8 => (self.0 as u64).to_ne_bytes().to_vec(),
            _ => self.0.to_ne_bytes().to_vec(),
        }
    }

    fn from_ne_bytes(bytes: &[u8]) -> Value {
        match *bytes {
            [a, b, c, d] => Value(u32::from_ne_bytes([a, b, c, d]).into()),
            [a, b, c, d, e, f, g, h] => Value(u64::from_ne_bytes([a, b, c, d, e, f, g, h]).into()),
            _ => {
                let mut all = [0; 16];
                for (to, from) in all.iter_mut().zip(bytes) {
                    *to = *from;
                }
                Value(u128::from_ne_bytes(all))
            }
        }
    }
}

/// A core register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Core {
    X(u32),
    Sp(u8),
    Pc,
    Pstate,
    Elr,
    Spsr(Reg),
    V(u32),
    Fpsr,
    Fpcr,
}

/// The SPSRs in the order of `kvm_regs.spsr`.
const SPSRS: [Reg; KVM_NR_SPSR] = [
    Reg::SPSR_EL1,
    Reg::SPSR_abt,
    Reg::SPSR_und,
    Reg::SPSR_irq,
    Reg::SPSR_fiq,
];

impl Core {
    /// All of them with their ids, in the order of the list.
    fn all() -> impl Iterator<Item = (u64, Core)> {
        let x = (0..31).map(|n| (core::x(n), Core::X(n as u32)));
        let special = [
            (core::SP_EL0, Core::Sp(0)),
            (core::PC, Core::Pc),
            (core::PSTATE, Core::Pstate),
            (core::SP_EL1, Core::Sp(1)),
            (core::ELR_EL1, Core::Elr),
        ];
        let spsr = (0..)
            .zip(SPSRS)
            .map(|(n, reg)| (core::spsr(n), Core::Spsr(reg)));
        let v = (0..32).map(|n| (core::v(n), Core::V(n as u32)));
        let fp = [(core::FPSR, Core::Fpsr), (core::FPCR, Core::Fpcr)];
        x.chain(special).chain(spsr).chain(v).chain(fp)
    }

    fn find(id: u64) -> Result<Core, Errno> {
        /// Words of 4 bytes that the structure has.
        const WORDS: u64 = (size_of::<kvm_regs>() / 4) as u64;
        let offset = id & !(KVM_REG_ARCH_MASK | KVM_REG_SIZE_MASK | KVM_REG_ARM_CORE);
        let words = size_of_id(id) as u64 / 4;
        if offset >= WORDS || offset + words >= WORDS {
            return Err(Errno::ENOENT);
        }
        let mut all = Core::all();
        let found = all.find(|(of, _)| *of == id);
        found.map(|(_, core)| core).ok_or(Errno::EINVAL)
    }

    fn get(self, cpu: &Cpu) -> Value {
        Value(match self {
            Core::X(n) => core_regs::x(cpu, n).into(),
            Core::Sp(el) => core_regs::sp(cpu, el).into(),
            Core::Pc => cpu.pc.into(),
            Core::Pstate => core_regs::pstate(cpu).into(),
            Core::Elr => cpu.state.sys[Reg::ELR_EL1].into(),
            Core::Spsr(reg) => cpu.state.sys[reg].into(),
            Core::V(n) => {
                let (low, high) = (cpu.slot(regs::v_low(n)), cpu.slot(regs::v_high(n)));
                u128::from(low) | u128::from(high) << 64
            }
            Core::Fpsr => regs::fpsr(cpu).into(),
            Core::Fpcr => regs::fpcr(cpu).into(),
        })
    }

    fn set(self, cpu: &mut Cpu, Value(value): Value) -> Result<(), Errno> {
        let low = value as u64;
        match self {
            Core::X(n) => core_regs::set_x(cpu, n, low),
            Core::Sp(el) => core_regs::set_sp(cpu, el, low),
            Core::Pc => cpu.pc = low,
            Core::Pstate => {
                if !core_regs::set_pstate(cpu, low) {
                    return Err(Errno::EINVAL);
                }
            }
            Core::Elr => cpu.state.sys[Reg::ELR_EL1] = low,
            Core::Spsr(reg) => cpu.state.sys[reg] = low,
            Core::V(n) => {
                cpu.set_slot(regs::v_low(n), low);
                cpu.set_slot(regs::v_high(n), (value >> 64) as u64);
            }
            Core::Fpsr => regs::set_fpsr(cpu, low),
            Core::Fpcr => regs::set_fpcr(cpu, low),
        }
        Ok(())
    }
}

impl From<Error> for Errno {
    fn from(error: Error) -> Self {
        match error {
            Error::NoEnt => Errno::ENOENT,
            Error::Inval => Errno::EINVAL,
            Error::Busy => Errno::EBUSY,
            Error::TooBig => Errno::E2BIG,
            Error::Perm => Errno::EPERM,
        }
    }
}

impl From<SetError> for Errno {
    fn from(error: SetError) -> Self {
        match error {
            SetError::NoSuchRegister => Errno::ENOENT,
            SetError::Invalid => Errno::EINVAL,
            SetError::HasRun => Errno::EBUSY,
            SetError::Exists => Errno::EEXIST,
        }
    }
}

/// Ids of timer registers, in the order of the list.
const TIMERS: [u64; 6] = [
    KVM_REG_ARM_TIMER_CTL,
    KVM_REG_ARM_TIMER_CNT,
    KVM_REG_ARM_TIMER_CVAL,
    KVM_REG_ARM_PTIMER_CTL,
    KVM_REG_ARM_PTIMER_CNT,
    KVM_REG_ARM_PTIMER_CVAL,
];

/// EINVAL for an id that is not arm64's.
fn check(id: u64) -> Result<(), Errno> {
    match (id & !KVM_REG_SIZE_MASK) >> 32 == KVM_REG_ARM64 >> 32 {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    }
}

impl State {
    fn get_one_reg(&self, id: u64) -> Result<Value, Errno> {
        check(id)?;
        let cpu = self.cpu.cpu();
        match id & KVM_REG_ARM_COPROC_MASK {
            KVM_REG_ARM_CORE => match Core::find(id)? {
                Core::Pstate => Ok(Value((core_regs::pstate(cpu) | self.pstate_kept).into())),
                core => Ok(core.get(cpu)),
            },
            KVM_REG_ARM_FW | KVM_REG_ARM_FW_FEAT_BMAP => {
                let value = self.cpu.machine().firmware_register(id, self.has_ssbs());
                Ok(Value(value.ok_or(Errno::ENOENT)?.into()))
            }
            KVM_REG_ARM64_SVE => Err(Errno::ENOENT),
            _ => match timers::get_one_reg(cpu, id) {
                Some(value) => Ok(Value(value.into())),
                None => Ok(Value(sysregs::get(cpu, id)?.into())),
            },
        }
    }

    /// Whether the guest's ID registers have SSBS, on which a firmware register depends.
    fn has_ssbs(&self) -> bool {
        self.cpu.cpu().state.id.at_least(&fields::PFR1_SSBS, 1)
    }

    /// Sets a register to what `value` gives, which is called with the size of the register.
    fn set_one_reg(
        &mut self,
        id: u64,
        value: impl FnOnce(usize) -> Result<Value, Errno>,
    ) -> Result<(), Errno> {
        check(id)?;
        match id & KVM_REG_ARM_COPROC_MASK {
            KVM_REG_ARM_CORE => {
                let core = Core::find(id)?;
                let value = value(size_of_id(id))?;
                core.set(self.cpu.cpu_mut(), value)?;
                if core == Core::Pstate {
                    self.pstate_kept = value.0 as u64 & !core_regs::pstate(self.cpu.cpu());
                }
                Ok(())
            }
            KVM_REG_ARM_FW | KVM_REG_ARM_FW_FEAT_BMAP => {
                if size_of_id(id) != size_of::<u64>() {
                    return Err(Errno::ENOENT);
                }
                let Value(value) = value(size_of::<u64>())?;
                let machine = self.cpu.machine().clone();
                Ok(machine.set_firmware_register(id, value as u64, self.has_ssbs())?)
            }
            KVM_REG_ARM64_SVE => Err(Errno::ENOENT),
            class => {
                let size = match class {
                    KVM_REG_ARM_DEMUX => size_of::<u32>(),
                    _ => size_of::<u64>(),
                };
                let Value(value) = value(size)?;
                let cpu = self.cpu.cpu_mut();
                if timers::set_one_reg(cpu, id, value as u64) {
                    return Ok(());
                }
                Ok(sysregs::set(cpu, id, value as u64)?)
            }
        }
    }

    fn reg_list(&self) -> Vec<u64> {
        let core = Core::all().map(|(id, _)| id);
        let firmware = FIRMWARE_REGISTERS.iter().copied();
        core.chain(firmware)
            .chain(TIMERS)
            .chain(sysregs::list(self.cpu.cpu()))
            .collect()
    }
}

impl Vcpu {
    pub(crate) fn get_one_reg(&self, id: u64) -> Result<Value, Errno> {
        self.lock_initialized()?.get_one_reg(id)
    }

    pub(crate) fn set_one_reg(&self, id: u64, bytes: &[u8]) -> Result<(), Errno> {
        let value = Value::from_ne_bytes(bytes);
        self.lock_initialized()?.set_one_reg(id, |_| Ok(value))
    }

    pub(crate) fn reg_list(&self) -> Result<Vec<u64>, Errno> {
        Ok(self.lock_initialized()?.reg_list())
    }
}

fn get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let state = vcpu.lock_initialized()?;
    let reg: kvm_one_reg = call.read()?;
    let value = state.get_one_reg(reg.id)?;
    User::at(reg.addr).copy_to(&value.to_ne_bytes_of(size_of_id(reg.id)))?;
    Ok(0)
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.lock_initialized()?;
    let reg: kvm_one_reg = call.read()?;
    state.set_one_reg(reg.id, |size| {
        let mut bytes = [0; 16];
        let bytes = bytes.get_mut(..size).ok_or(Errno::EINVAL)?;
        User::at(reg.addr).copy_from(bytes)?;
        Ok(Value::from_ne_bytes(bytes))
    })?;
    Ok(0)
}

fn list(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let state = vcpu.lock_initialized()?;
    let head: kvm_reg_list = call.read()?;
    let ids = state.reg_list();
    call.write(&kvm_reg_list {
        n: ids.len() as u64,
    })?;
    // KVM keeps n in 32 bits.
    if ((head.n as u32) as usize) < ids.len() {
        return Err(Errno::E2BIG);
    }
    let to = call.user().offset(size_of::<kvm_reg_list>());
    to.copy_to(ids.as_bytes())?;
    Ok(0)
}
