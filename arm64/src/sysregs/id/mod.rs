//! The ID registers of a VM: what they can be, what they are, and when they can still be changed.
//!
//! ```text
//!   model's values ─► KVM hides, software CPU cannot ─► limit ─► initial value
//!   (the host CPU)    (fields.rs, opt-ins)                │          │ first VCPU_INIT
//!                                                         ▼          ▼
//!   KVM_SET_ONE_REG ──────────────────────────────────► check ─► the VM's value
//!                                                                   │ first KVM_RUN
//!                                                                   ▼
//!                                                                frozen
//! ```
//!
//! The registers belong to the VM (requirements IDR-2): a value set through one vCPU is every
//! vCPU's. Under the proposal `arm64-id-reg-configurable` each vCPU has its own, with other limits
//! and other rules ([`configurable`]).

pub mod configurable;
pub mod fields;

use super::encoding::Encoding;
use super::models::Model;
use super::user::Error;
use crate::machine::Proposals;
use fields::{FIELDS, Field, OptIns, Policy};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Registers with CRn 0 and CRm 1 to 7, and CTR_EL0 after them.
const COUNT: usize = 57;

/// Size of the array that KVM_ARM_GET_REG_WRITABLE_MASKS fills: op1 0, 1 and 3, CRm and op2 0 to 7.
pub const MASKS: usize = 3 * 8 * 8;

/// CLIDR_EL1: all but RES0.
const CLIDR_MASK: u64 = 0x0000_7fff_ffff_ffff;

/// The least ID_AA64DFR0_EL1.DebugVer (and ID_DFR0_EL1.CopDbg) there is: Armv8.0.
const DEBUG_V8: u64 = 6;

/// The AArch32 ID registers that there are; the other places with CRm 1 to 3 read as zero on any
/// CPU.
pub fn is_aarch32(register: Encoding) -> bool {
    matches!(
        (register.crm(), register.op2()),
        (1, 0..=2 | 4..=7) | (2, _) | (3, 0..=2 | 4 | 6)
    )
}

fn index(register: Encoding) -> Option<usize> {
    if register == fields::registers::CTR {
        return Some(COUNT - 1);
    }
    let place = (register.op0(), register.op1(), register.crn());
    (place == (3, 0, 0) && (1..8).contains(&register.crm()))
        .then(|| (register.crm() as usize - 1) << 3 | register.op2() as usize)
}

fn encoding(index: usize) -> Encoding {
    if index == COUNT - 1 {
        return fields::registers::CTR;
    }
    Encoding::new(3, 0, 0, (index >> 3) as u16 + 1, index as u16 & 7)
}

/// The fields of a register.
pub fn fields_of(register: Encoding) -> impl Iterator<Item = &'static Field> {
    FIELDS
        .iter()
        .filter(move |field| field.register == register)
}

#[derive(Debug, Default)]
struct State {
    /// What the VM has asked for; none before the first KVM_ARM_VCPU_INIT.
    opt_ins: Option<OptIns>,
    gic_v3: bool,
    frozen: bool,
}

/// The ID registers of a VM.
#[derive(Debug)]
pub struct IdRegisters {
    model: &'static Model,
    proposals: Proposals,
    values: [AtomicU64; COUNT],
    state: Mutex<State>,
}

impl IdRegisters {
    /// The registers of a VM, or of a vCPU, on this host, with these proposals (requirements 0.2).
    pub fn new(model: &'static Model, proposals: Proposals) -> IdRegisters {
        let registers = IdRegisters {
            model,
            proposals,
            values: [const { AtomicU64::new(0) }; COUNT],
            state: Mutex::default(),
        };
        registers.store_initial(OptIns::empty(), false);
        registers
    }

    /// The host.
    pub fn model(&self) -> &'static Model {
        self.model
    }

    /// Whether the proposal `arm64-exposed-debug` is on.
    pub fn exposed_debug(&self) -> bool {
        self.proposals.contains(Proposals::EXPOSED_DEBUG)
    }

    /// Whether the proposal `arm64-id-reg-configurable` is on.
    pub fn configurable(&self) -> bool {
        self.proposals.contains(Proposals::ID_REG_CONFIGURABLE)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A KVM_ARM_VCPU_INIT: the VM's first computes the registers' initial values, later ones
    /// leave them alone (IDR-3).
    pub fn initialise(&self, opt_ins: OptIns) {
        let mut state = self.state();
        if state.opt_ins.is_none() {
            state.opt_ins = Some(opt_ins);
            self.store_initial(opt_ins, state.gic_v3);
        }
    }

    /// An in-kernel GICv3 was created (IDR-23).
    pub fn set_gic_v3(&self) {
        self.state().gic_v3 = true;
        self.change(&fields::PFR0_GIC, 1);
    }

    /// The first KVM_RUN of any vCPU: from now on the values stay (IDR-8). Without an in-kernel
    /// GICv3 the registers say so from here on.
    pub fn freeze(&self) {
        let mut state = self.state();
        if !state.frozen {
            state.frozen = true;
            if !state.gic_v3 && !self.configurable() {
                self.change(&fields::PFR0_GIC, 0);
            }
        }
    }

    /// Whether a vCPU of the VM has run.
    pub fn frozen(&self) -> bool {
        self.state().frozen
    }

    /// The value of a register, as the guest and user space read it; 0 if it is not one of these.
    #[inline]
    pub fn get(&self, register: Encoding) -> u64 {
        index(register).map_or(0, |i| self.values[i].load(Ordering::Relaxed))
    }

    /// The value of a field.
    pub fn field(&self, field: &Field) -> u64 {
        field.get(self.get(field.register))
    }

    /// Whether the field says at least `least`, sign considered (TRAP-4).
    pub fn at_least(&self, field: &Field, least: i64) -> bool {
        field.number(self.field(field)) >= least
    }

    fn change(&self, field: &Field, value: u64) {
        if let Some(i) = index(field.register) {
            let old = self.values[i].load(Ordering::Relaxed);
            self.values[i].store(field.set(old, value), Ordering::Relaxed);
        }
    }

    fn store_initial(&self, opt_ins: OptIns, gic_v3: bool) {
        for (i, value) in self.values.iter().enumerate() {
            value.store(self.limit(encoding(i), opt_ins), Ordering::Relaxed);
        }
        if self.configurable() {
            for field in FIELDS.iter().filter(|f| !opt_ins.contains(f.opt_in)) {
                self.change(field, 0);
            }
            self.change(&fields::PFR0_GIC, 0);
        }
        if gic_v3 {
            self.change(&fields::PFR0_GIC, 1);
        }
        if self.exposed_debug() {
            // OSL-40: v8.2 debug, in which the OS Double Lock may be absent.
            self.change(&fields::DFR0_DEBUGVER, 8);
            self.change(&fields::DFR0_DOUBLELOCK, 0xf);
        }
    }

    /// The highest value that a field can have in this VM.
    fn field_limit(&self, field: &Field, opt_ins: OptIns) -> u64 {
        if self.configurable() {
            return configurable::field_limit(self.model, field, self.exposed_debug());
        }
        let hidden = matches!(field.policy, Policy::Hidden | Policy::Unknown);
        if hidden || !opt_ins.contains(field.opt_in) {
            return 0;
        }
        attainable(self.model, field)
    }

    /// The highest value that a register can have in a VM that has asked for this.
    pub fn limit(&self, register: Encoding, opt_ins: OptIns) -> u64 {
        let mut limit = if register == fields::registers::CTR {
            1 << 31
        } else {
            0
        };
        for field in fields_of(register) {
            limit = field.set(limit, self.field_limit(field, opt_ins));
        }
        limit
    }

    /// Whether the VM's EL0 has AArch32 state. Without it the AArch32 ID registers read as zero and
    /// ignore writes (IDR-34).
    fn aarch32_at_el0(&self) -> bool {
        self.field_limit(&fields::PFR0_EL0, OptIns::empty()) > 1
    }

    /// KVM_SET_ONE_REG: checks and stores a value (IDR-7, IDR-9, IDR-10).
    ///
    /// # Errors
    /// `EBUSY` for a change after the first run, `EINVAL` for a value that the VM cannot have; those
    /// of [`configurable`] under its proposal.
    pub fn set(&self, register: Encoding, value: u64) -> Result<(), Error> {
        let Some(i) = index(register) else {
            return Err(Error::NoEnt);
        };
        if self.configurable() {
            let state = self.state();
            let old = self.values[i].load(Ordering::Relaxed);
            configurable::check(self, &state, register, old, value)?;
            self.values[i].store(value, Ordering::Relaxed);
            return Ok(());
        }
        if is_aarch32(register) && !self.aarch32_at_el0() {
            return Ok(());
        }
        let value = self.accept_migrated(register, value)?;
        let state = self.state();
        if state.frozen {
            let same = self.values[i].load(Ordering::Relaxed) == value;
            return if same { Ok(()) } else { Err(Error::Busy) };
        }
        let limit = self.limit(register, state.opt_ins.unwrap_or_default());
        check(register, value, limit)?;
        self.values[i].store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Values that KVM once handed out and that mean something else now (IDR-12), and those that
    /// no Armv8 CPU has (OSL-43).
    fn accept_migrated(&self, register: Encoding, value: u64) -> Result<u64, Error> {
        let mut value = value;
        let mut forget = |field: &Field, old: u64| {
            if field.register == register && field.get(value) == old {
                value = field.set(value, 0);
            }
        };
        for mpam in [&fields::PFR0_MPAM, &fields::PFR1_MPAM_FRAC] {
            forget(mpam, mpam.get(self.model.id(mpam.register)));
        }
        forget(&fields::DFR0_PMUVER, 0xf);
        let debug = &fields::DFR0_DEBUGVER;
        if register == debug.register && debug.get(value) < DEBUG_V8 {
            return Err(Error::Inval);
        }
        Ok(value)
    }

    /// KVM_ARM_GET_REG_WRITABLE_MASKS, range 0 (IDR-30 to IDR-32): the bits that user space may
    /// try to change, by [`mask_index`].
    pub fn writable_masks(&self) -> [u64; MASKS] {
        let mut masks = [0; MASKS];
        for field in FIELDS.iter().filter(|field| field.policy.advertised()) {
            masks[mask_index(field.register)] |= field.mask();
        }
        masks[mask_index(super::table::CLIDR_EL1)] = CLIDR_MASK;
        if self.aarch32_at_el0() {
            for register in (0..COUNT).map(encoding).filter(|r| is_aarch32(*r)) {
                masks[mask_index(register)] = 0xffff_ffff;
            }
        }
        masks
    }
}

/// What the host has of a field, or as much of that as the software CPU can do.
pub fn attainable(model: &Model, field: &Field) -> u64 {
    let host = field.get(model.id(field.register));
    if field.number(host) > field.number(field.at_most) {
        field.at_most
    } else {
        host
    }
}

/// Where a register is in the array of writable masks: op1 (3 counts as 2), CRm, op2.
pub fn mask_index(register: Encoding) -> usize {
    let op1 = match register.op1() {
        3 => 2,
        op1 => op1 as usize & 1,
    };
    op1 << 6 | (register.crm() as usize & 7) << 3 | register.op2() as usize
}

/// Whether a VM whose limit is `limit` can have `value` (IDR-16, IDR-19).
fn check(register: Encoding, value: u64, limit: u64) -> Result<(), Error> {
    let mut known = 0;
    for field in fields_of(register) {
        known |= field.mask();
        let (wanted, most) = (field.get(value), field.get(limit));
        let (number, bound) = (field.number(wanted), field.number(most));
        let fits = wanted == most
            || match field.policy {
                Policy::Lower => number <= bound,
                Policy::Higher => number >= bound,
                Policy::Exact(safe) => wanted == safe,
                Policy::Locked | Policy::Hidden | Policy::Unknown => false,
            };
        if !fits {
            return Err(Error::Inval);
        }
    }
    if (value ^ limit) & !known != 0 {
        return Err(Error::Inval);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
