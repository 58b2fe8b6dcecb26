//! Host CPU models: the identity of the machine that KVM would run on.
//!
//! ```text
//!   neoverse-n1.toml, ... (built in)  ─┐
//!                                      ├─► file.rs: parsed, held against fields.rs ─► Model
//!   a user's model.toml               ─┘        │
//!                                               ▼
//!                             Error: file, line, field, what would be right
//! ```
//!
//! A model has the values of the CPU itself. What KVM hides of them is taken away where
//! [`super::id::IdRegisters`] computes a VM's values. What the software CPU cannot do is taken away
//! there as well, and a model has to own up to it: a field that says more than the software CPU can
//! do is among the model's [differences](Model::differences), or the model is refused.

mod file;
#[cfg(test)]
mod tests;

pub use file::Error;

use super::encoding::Encoding;
use super::id::fields::{Field, Policy, registers};
use super::table;
use crate::debug;
use std::path::Path;
use std::sync::LazyLock;

/// A host CPU, by its registers.
#[derive(Debug)]
pub struct Model {
    /// Its name in Understudy's options.
    pub name: String,
    /// What it is, in a line.
    pub description: String,
    /// MIDR_EL1.
    pub midr: u64,
    /// REVIDR_EL1.
    pub revidr: u64,
    /// AIDR_EL1.
    pub aidr: u64,
    /// CTR_EL0. Bit 31 is RES1.
    pub ctr: u64,
    /// DCZID_EL0, with DZP clear.
    pub dczid: u64,
    /// SCTLR_EL1 out of reset.
    pub sctlr: u64,
    /// The ID registers with CRn 0 and CRm 1 to 7 that are not 0.
    pub id: Vec<(Encoding, u64)>,
    /// How it is about the attacks on speculation.
    pub mitigations: Mitigations,
    /// Where a VM's ID registers differ from what KVM on the real CPU would give it, all opt-ins
    /// granted.
    pub differences: Vec<Difference>,
}

/// A field in which the software CPU offers less than the real one.
#[derive(Debug)]
pub struct Difference {
    /// The field.
    pub field: Field,
    /// The software CPU's value.
    pub ours: u64,
    /// Why.
    pub reason: String,
}

/// How a machine is about one of the attacks on speculation, as Linux would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spectre {
    /// It is affected, and nothing can be done.
    Vulnerable,
    /// It is affected, and there is a remedy.
    Mitigated,
    /// It is not affected.
    Unaffected,
}

/// The attacks that a guest asks its firmware about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mitigations {
    /// Spectre v2: branch target injection.
    pub v2: Spectre,
    /// Spectre v4: speculative store bypass.
    pub v4: Spectre,
    /// Branch history injection.
    pub bhb: Spectre,
}

impl Model {
    /// The CPU's value of an ID register with CRn 0 and CRm 1 to 7, or of CTR_EL0.
    pub fn id(&self, register: Encoding) -> u64 {
        if register == registers::CTR {
            return self.ctr;
        }
        let found = self.id.iter().find(|(encoding, _)| *encoding == register);
        found.map_or(0, |(_, value)| *value)
    }

    /// Reads a model from text; `file` is what errors call it.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(file: &str, text: &str) -> Result<Model, Error> {
        file::parse(file, text)
    }

    /// Reads a model's file.
    ///
    /// # Errors
    /// That it cannot be read, or the first thing that is wrong with it.
    pub fn load(path: &Path) -> Result<Model, Error> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => file::parse(&file, &text),
            Err(error) => Err(Error::whole(&file, error.to_string())),
        }
    }
}

/// The most that the software CPU can make of a field.
pub fn most(field: &Field) -> u64 {
    let comparators = if *field == super::id::fields::DFR0_BRPS {
        debug::BREAKPOINTS
    } else if *field == super::id::fields::DFR0_CTX_CMPS {
        debug::CONTEXT_BREAKPOINTS
    } else if *field == super::id::fields::DFR0_WRPS {
        debug::WATCHPOINTS
    } else {
        return field.at_most;
    };
    field.at_most.min(comparators as u64 - 1)
}

/// Whether KVM shows the field to no VM, so that it does not matter what the CPU says in it.
pub fn hidden(field: &Field) -> bool {
    matches!(field.policy, Policy::Hidden | Policy::Unknown)
}

/// The manual's name of a register.
pub fn register_name(register: Encoding) -> String {
    table::find(register).map_or_else(|| register.to_string(), |row| row.name.to_string())
}

/// The manual's name of a field, `REGISTER.FIELD`.
pub fn field_name(field: &Field) -> String {
    format!("{}.{}", register_name(field.register), field.name)
}

/// Whether a register is among those that a model has fields of, or AArch32's.
fn is_id(register: Encoding) -> bool {
    let place = (register.op0(), register.op1(), register.crn());
    register == registers::CTR || place == (3, 0, 0) && (1..8).contains(&register.crm())
}

/// The rows of the register table that are ID registers, CTR_EL0 last.
pub fn id_registers() -> impl Iterator<Item = (Encoding, &'static str)> {
    let rows = table::REGISTERS.iter().filter(|row| is_id(row.encoding));
    rows.map(|row| (row.encoding, row.name))
}

macro_rules! built_in {
    ($($id:ident $file:literal)*) => {
        $(
            #[doc = concat!("The model of `", $file, "`.")]
            pub static $id: LazyLock<Model> =
                LazyLock::new(|| built_in($file, include_str!($file)));
        )*

        /// The models that come with Understudy.
        pub static ALL: &[&LazyLock<Model>] = &[$(&$id),*];
    };
}

built_in! {
    NEOVERSE_N1 "neoverse-n1.toml"
    CORTEX_A72 "cortex-a72.toml"
    CORTEX_A76 "cortex-a76.toml"
    NEOVERSE_V1 "neoverse-v1.toml"
    MAX "max.toml"
}

/// A test parses all of them, so that none is wrong when it matters.
fn built_in(file: &str, text: &str) -> Model {
    file::parse(file, text).unwrap_or_else(|error| panic!("{error}"))
}
