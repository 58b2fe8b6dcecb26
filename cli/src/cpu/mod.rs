//! `understudy cpu`: host CPU models, what a VM on them can present, and templates that lower it.
//!
//! Nothing is listed here: fields, their limits, what KVM lets user space do with them and what
//! that traps are asked of the tables and the checks that a VM runs on.

mod check;
mod common;
mod diff;
mod meaning;
mod show;
mod template;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use understudy_arm64::machine::{Model, Proposals};
use understudy_arm64::sysregs::Encoding;
use understudy_arm64::sysregs::id::IdRegisters;
use understudy_arm64::sysregs::id::fields::{Field, OptIns, Policy};
use understudy_arm64::sysregs::models;

/// `understudy cpu`'s commands.
#[derive(Debug, Subcommand)]
pub enum Cpu {
    /// The models that come with Understudy
    List(show::List),
    /// A model's registers and fields: value, limit, what may be written, what that traps
    Show(show::Show),
    /// Apply a CPU template (Firecracker's JSON or QEMU's SYSREG list) and say what KVM makes of
    /// it. Status 0: all was accepted; 1: not all; 2: bad input
    Check(check::Check),
    /// Fields in which VMs on two models differ. Status 0: none; 1: some; 2: bad input
    Diff(diff::Diff),
    /// The greatest CPU that VMs on all these models can present, as a Firecracker template.
    /// Status 0: they are the same then; 1: some fields stay different; 2: bad input
    Common(common::Common),
}

/// Runs one. The error is bad input, in a line.
pub fn run(command: &Cpu) -> Result<ExitCode, String> {
    match command {
        Cpu::List(arguments) => show::list(arguments),
        Cpu::Show(arguments) => show::show(arguments),
        Cpu::Check(arguments) => check::check(arguments),
        Cpu::Diff(arguments) => diff::diff(arguments),
        Cpu::Common(arguments) => common::common(arguments),
    }
}

/// What a VM asks for.
#[derive(Debug, Args)]
struct OptInArguments {
    /// What the VM asks for: pmu, sve, ptrauth, mte, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = opt_in)]
    opt_in: Vec<OptIns>,
}

impl OptInArguments {
    fn get(&self) -> OptIns {
        self.opt_in.iter().copied().collect()
    }
}

fn opt_in(name: &str) -> Result<OptIns, String> {
    let found = OptIns::from_name(&name.to_ascii_uppercase());
    found.ok_or_else(|| {
        let names: Vec<String> = OptIns::all()
            .iter_names()
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect();
        format!(
            "nothing to ask for is called {name}: there are {}",
            names.join(", ")
        )
    })
}

/// A VM's ID registers on a model.
struct View {
    model: &'static models::Model,
    opt_ins: OptIns,
    id: IdRegisters,
}

impl View {
    fn new(option: &str, opt_ins: OptIns) -> Result<View, String> {
        Ok(View::of(Model::find(option)?, opt_ins))
    }

    fn of(model: Model, opt_ins: OptIns) -> View {
        let model = model.registers();
        let id = IdRegisters::new(model, Proposals::empty());
        id.initialise(opt_ins);
        View { model, opt_ins, id }
    }

    fn name(&self) -> &'static str {
        &self.model.name
    }

    /// What the CPU itself says.
    fn host(&self, field: &Field) -> u64 {
        field.get(self.model.id(field.register))
    }

    /// The most that the VM can have.
    fn limit(&self, field: &Field) -> u64 {
        field.get(self.id.limit(field.register, self.opt_ins))
    }

    /// The values that KVM_SET_ONE_REG takes and keeps in the field of a new VM.
    fn takes(&self, field: &Field) -> Vec<u64> {
        let register = field.register;
        let initial = self.id.get(register);
        let values = (0..1 << field.width).filter(|value| {
            let wanted = field.set(initial, *value);
            let kept = self.id.set(register, wanted).is_ok() && self.id.get(register) == wanted;
            // What was accepted and not kept has changed the value as well.
            kept & self.id.set(register, initial).is_ok()
        });
        values.collect()
    }
}

/// Model, registers and fields that are not ID registers of the table: what identifies the CPU.
fn identity(model: &models::Model) -> [(&'static str, u64); 5] {
    [
        ("MIDR_EL1", model.midr),
        ("REVIDR_EL1", model.revidr),
        ("AIDR_EL1", model.aidr),
        ("DCZID_EL0", model.dczid),
        ("SCTLR_EL1", model.sctlr),
    ]
}

/// A field's value; one that means less than 0 with that number.
fn shown(field: &Field, value: u64) -> String {
    match field.number(value) {
        number if number < 0 => format!("{value:#x} ({number})"),
        _ => format!("{value:#x}"),
    }
}

/// What KVM lets user space do with a field, in words.
fn rule(field: &Field, limit: u64) -> String {
    let limit = shown(field, limit);
    match field.policy {
        Policy::Locked => format!("locked: it stays {limit}"),
        Policy::Lower => format!("lower is safe: {limit} at most"),
        Policy::Higher => format!("higher is safe: {limit} at least"),
        Policy::Exact(safe) => format!("{limit} or {safe:#x}, nothing else"),
        Policy::Hidden => "hidden by KVM: it is 0".to_string(),
        Policy::Unknown => "KVM does not know it: it is 0".to_string(),
    }
}

/// One word for it.
fn policy_name(policy: Policy) -> &'static str {
    match policy {
        Policy::Locked => "locked",
        Policy::Lower => "lower",
        Policy::Higher => "higher",
        Policy::Exact(_) => "exact",
        Policy::Hidden => "hidden",
        Policy::Unknown => "unknown",
    }
}

fn bits(field: &Field) -> String {
    format!("{}:{}", field.low + field.width - 1, field.low)
}

/// Values as a list, runs of them as `1-3`.
fn ranges(values: &[u64]) -> String {
    let runs = values.chunk_by(|a, b| a + 1 == *b);
    let runs: Vec<String> = runs
        .filter_map(|run| match run {
            [] => None,
            [one] => Some(format!("{one:#x}")),
            [first, .., last] => Some(format!("{first:#x}-{last:#x}")),
        })
        .collect();
    runs.join(", ")
}

fn register_name(register: Encoding) -> String {
    models::register_name(register)
}

fn json(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// Prints it. Who does not read on, as `head`, has read enough.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(()),
    }
}
