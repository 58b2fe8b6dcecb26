//! `understudy cpu list` and `cpu show`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use understudy_arm64::machine::Model;
use understudy_arm64::sysregs::id::fields::Field;
use understudy_arm64::sysregs::id::{fields_of, is_aarch32};
use understudy_arm64::sysregs::models;
use understudy_arm64::sysregs::traps::{Accesses, Inputs, Traps};

use super::meaning::meaning;
use super::{OptInArguments, View, bits, identity, policy_name, print, ranges, shown};

/// `cpu list`'s arguments.
#[derive(Debug, Args)]
pub struct List {
    /// For programs
    #[arg(long)]
    json: bool,
}

/// `cpu show`'s arguments.
#[derive(Debug, Args)]
pub struct Show {
    /// The model: a name, or a file
    model: String,
    #[command(flatten)]
    opt_in: OptInArguments,
    /// Also fields that are 0 on the CPU
    #[arg(long)]
    all: bool,
    /// For programs; all fields
    #[arg(long)]
    json: bool,
}

pub(super) fn list(arguments: &List) -> Result<ExitCode, String> {
    let mut text = String::new();
    let mut rows = Vec::new();
    for model in Model::all().map(Model::registers) {
        let default = *model.name == *Model::default().name();
        let mark = if default { " (default)" } else { "" };
        let _ = writeln!(text, "{:<14} {}{mark}", model.name, model.description);
        rows.push(json!({
            "name": model.name,
            "description": model.description,
            "default": default,
        }));
    }
    if arguments.json {
        text = super::json(&rows.into());
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What is trapped, and UNDEFINED, once the field is as low as KVM lets it be.
fn traps(view: &View, field: &Field, takes: &[u64]) -> Accesses {
    let undefined = || Traps::compute(&view.id, Inputs::default()).undefined;
    let Some(least) = takes.iter().min_by_key(|value| field.number(**value)) else {
        return Accesses::empty();
    };
    let initial = view.id.get(field.register);
    let before = undefined();
    let _ = view.id.set(field.register, field.set(initial, *least));
    let after = undefined();
    let _ = view.id.set(field.register, initial);
    after - before
}

fn names(accesses: Accesses) -> Vec<&'static str> {
    accesses.iter_names().map(|(name, _)| name).collect()
}

pub(super) fn show(arguments: &Show) -> Result<ExitCode, String> {
    let view = View::new(&arguments.model, arguments.opt_in.get())?;
    let text = if arguments.json {
        super::json(&programs(&view))
    } else {
        people(&view, arguments.all)
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn people(view: &View, all: bool) -> String {
    let model = view.model;
    let mut text = String::new();
    let _ = writeln!(text, "{}: {}\n", model.name, model.description);
    for (name, value) in identity(model) {
        let _ = writeln!(text, "{name:<16} {value:#018x}");
    }
    for (register, name) in models::id_registers() {
        let host = model.id(register);
        let shown_fields: Vec<&Field> = fields_of(register)
            .filter(|field| all || view.host(field) != 0 || view.limit(field) != 0)
            .collect();
        if shown_fields.is_empty() && host == 0 {
            continue;
        }
        let value = view.id.get(register);
        if !is_aarch32(register) {
            text.push('\n');
        }
        let _ = write!(text, "{name:<16} {value:#018x}");
        let _ = match host == value {
            true => writeln!(text),
            false => writeln!(text, "  the CPU's own: {host:#018x}"),
        };
        for field in shown_fields {
            let takes = view.takes(field);
            let value = view.id.field(field);
            let others: Vec<u64> = takes.iter().copied().filter(|v| *v != value).collect();
            let _ = write!(
                text,
                "  {:>5} {:<12} {:<9}",
                bits(field),
                field.name,
                shown(field, value)
            );
            let _ = match others.is_empty() {
                true => write!(text, " {:<17}", "fixed"),
                false => write!(text, " {:<17}", format!("or {}", ranges(&others))),
            };
            let mut notes = Vec::new();
            notes.extend(meaning(field, value).map(str::to_string));
            let host = view.host(field);
            if host != view.limit(field) {
                notes.push(format!("the CPU has {}", shown(field, host)));
            }
            if !view.opt_ins.contains(field.opt_in) {
                let (name, _) = field.opt_in.iter_names().next().unwrap_or_default();
                notes.push(format!("needs --opt-in {}", name.to_ascii_lowercase()));
            }
            if models::hidden(field) {
                notes.push("hidden by KVM".to_string());
            }
            if let Some(row) = difference(view, field) {
                notes.push(row.reason.clone());
            }
            let traps = traps(view, field, &takes);
            if !traps.is_empty() {
                notes.push(format!("lowered, it traps {}", names(traps).join(", ")));
            }
            text.push_str(&notes.join("; "));
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
    }
    text
}

fn difference(view: &View, field: &Field) -> Option<&'static models::Difference> {
    let mut rows = view.model.differences.iter();
    rows.find(|row| row.field == *field)
}

fn programs(view: &View) -> Value {
    let model = view.model;
    let registers: Vec<Value> = models::id_registers()
        .map(|(register, name)| {
            let fields: Vec<Value> = fields_of(register)
                .map(|field| {
                    let takes = view.takes(field);
                    let mut opt_in = field.opt_in.iter_names();
                    let opt_in = opt_in.next().map(|(name, _)| name.to_ascii_lowercase());
                    json!({
                        "name": field.name,
                        "high": field.low + field.width - 1,
                        "low": field.low,
                        "signed": field.signed,
                        "cpu": view.host(field),
                        "value": view.id.field(field),
                        "limit": view.limit(field),
                        "meaning": meaning(field, view.id.field(field)),
                        "policy": policy_name(field.policy),
                        "accepted": takes,
                        "writable": takes.iter().any(|v| *v != view.id.field(field)),
                        "opt_in": opt_in,
                        "traps": names(traps(view, field, &takes)),
                        "difference": difference(view, field).map(|row| &row.reason),
                    })
                })
                .collect();
            json!({
                "name": name,
                "cpu": hex(model.id(register)),
                "value": hex(view.id.get(register)),
                "fields": fields,
            })
        })
        .collect();
    let identity: serde_json::Map<String, Value> = identity(model)
        .into_iter()
        .map(|(name, value)| (name.to_string(), hex(value).into()))
        .collect();
    json!({
        "name": model.name,
        "description": model.description,
        "identity": identity,
        "registers": registers,
    })
}

/// Registers in JSON are strings: many readers' numbers have 53 bits.
fn hex(value: u64) -> String {
    format!("{value:#018x}")
}
