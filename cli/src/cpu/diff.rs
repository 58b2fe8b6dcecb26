//! `understudy cpu diff`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use understudy_arm64::sysregs::id::fields::FIELDS;
use understudy_arm64::sysregs::models;

use super::{OptInArguments, View, identity, print, shown};

/// `cpu diff`'s arguments.
#[derive(Debug, Args)]
pub struct Diff {
    /// A model: a name, or a file
    a: String,
    /// Another
    b: String,
    #[command(flatten)]
    opt_in: OptInArguments,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) fn diff(arguments: &Diff) -> Result<ExitCode, String> {
    let opt_ins = arguments.opt_in.get();
    let a = View::new(&arguments.a, opt_ins)?;
    let b = View::new(&arguments.b, opt_ins)?;
    let mut rows = Vec::new();
    for ((name, of_a), (_, of_b)) in identity(a.model).into_iter().zip(identity(b.model)) {
        if of_a != of_b {
            rows.push((name.to_string(), of_a, of_b, None));
        }
    }
    for field in FIELDS {
        let (of_a, of_b) = (a.id.field(field), b.id.field(field));
        if of_a != of_b {
            rows.push((models::field_name(field), of_a, of_b, Some(field)));
        }
    }
    let mut text = String::new();
    if arguments.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, of_a, of_b, _)| json!({"field": name, "a": of_a, "b": of_b}))
            .collect();
        text = super::json(&json!({"a": a.name(), "b": b.name(), "different": rows}));
    } else {
        let _ = writeln!(text, "{:<30} {:<18} {}", "", a.name(), b.name());
        for (name, of_a, of_b, field) in &rows {
            let word = |value| match field {
                Some(field) => shown(field, value),
                None => format!("{value:#x}"),
            };
            let _ = writeln!(text, "{name:<30} {:<18} {}", word(*of_a), word(*of_b));
        }
        if rows.is_empty() {
            text = format!("{} and {} are the same\n", a.name(), b.name());
        }
    }
    print(&text)?;
    Ok(ExitCode::from(u8::from(!rows.is_empty())))
}
