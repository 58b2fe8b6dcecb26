//! `understudy cpu common`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use understudy_arm64::sysregs::id::fields::{FIELDS, Field, Policy};
use understudy_arm64::sysregs::id::fields_of;
use understudy_arm64::sysregs::models;
use understudy_arm64::sysregs::user::id_of;

use super::{OptInArguments, View, identity, print, register_name, shown};

/// `cpu common`'s arguments.
#[derive(Debug, Args)]
pub struct Common {
    /// The models: names, or files
    #[arg(required = true)]
    models: Vec<String>,
    #[command(flatten)]
    opt_in: OptInArguments,
    /// QEMU's list instead of Firecracker's template
    #[arg(long)]
    qemu: bool,
}

/// A field that is not the same on all models, and the value to give it, if they have one in common.
type Row = (&'static Field, Option<u64>);

pub(super) fn common(arguments: &Common) -> Result<ExitCode, String> {
    let opt_ins = arguments.opt_in.get();
    let views: Vec<View> = arguments
        .models
        .iter()
        .map(|model| View::new(model, opt_ins))
        .collect::<Result<_, _>>()?;
    let rows: Vec<Row> = FIELDS
        .iter()
        .filter(|field| {
            views
                .iter()
                .any(|v| v.id.field(field) != views[0].id.field(field))
        })
        .map(|field| (field, greatest(&views, field)))
        .collect();
    print(&match arguments.qemu {
        true => qemu(&rows),
        false => firecracker(&rows),
    })?;
    let mut status = ExitCode::SUCCESS;
    for (field, _) in rows.iter().filter(|(_, value)| value.is_none()) {
        let each = views.iter();
        let each: Vec<String> = each
            .map(|view| format!("{} on {}", shown(field, view.id.field(field)), view.name()))
            .collect();
        eprintln!(
            "understudy: {} stays different: {}; KVM takes no value on all of them",
            models::field_name(field),
            each.join(", ")
        );
        status = ExitCode::FAILURE;
    }
    for (n, (name, first)) in identity(views[0].model).into_iter().enumerate() {
        if views.iter().any(|view| identity(view.model)[n].1 != first) {
            eprintln!("understudy: {name} stays different: KVM has it from the host");
        }
    }
    Ok(status)
}

/// The greatest value that KVM takes on each of the models. What is greatest is the field's affair:
/// all ones can mean less than 0, and where higher is safe the least promises most.
fn greatest(views: &[View], field: &Field) -> Option<u64> {
    let taken: Vec<Vec<u64>> = views.iter().map(|view| view.takes(field)).collect();
    let (first, others) = taken.split_first()?;
    let all = first.iter().copied();
    all.filter(|value| others.iter().all(|taken| taken.contains(value)))
        .max_by_key(|value| match field.policy {
            Policy::Higher => -field.number(*value),
            _ => field.number(*value),
        })
}

/// Bits that are the same on all models are left as they are.
fn firecracker(rows: &[Row]) -> String {
    let mut modifiers = Vec::new();
    for (register, _) in models::id_registers() {
        let mut bitmap = ['x'; 64];
        for field in fields_of(register) {
            let Some((_, Some(value))) = rows.iter().find(|(other, _)| *other == field) else {
                continue;
            };
            for bit in 0..field.width {
                let place = 63 - (field.low + bit) as usize;
                bitmap[place] = if value >> bit & 1 == 0 { '0' } else { '1' };
            }
        }
        if bitmap.iter().any(|bit| *bit != 'x') {
            let bitmap: String = bitmap.iter().collect();
            modifiers.push(json!({
                "addr": format!("{:#018x}", id_of(register)),
                "bitmap": format!("0b{bitmap}"),
            }));
        }
    }
    super::json(&json!({ "reg_modifiers": modifiers }))
}

fn qemu(rows: &[Row]) -> String {
    let mut text = String::new();
    for (field, value) in rows {
        if let Some(value) = value {
            let (register, name) = (register_name(field.register), field.name);
            let name = name.to_ascii_uppercase();
            let _ = writeln!(text, "SYSREG_{register}_{name}={value:#x}");
        }
    }
    text
}
