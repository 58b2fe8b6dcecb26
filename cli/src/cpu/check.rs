//! `understudy cpu check`: what KVM makes of a CPU template.
//!
//! ```text
//!   template ─► KVM_CREATE_VM, KVM_CREATE_VCPU, KVM_ARM_VCPU_INIT with its features
//!                  each modifier ─► KVM_GET_ONE_REG, KVM_SET_ONE_REG, KVM_GET_ONE_REG
//!                                            │ refused: field by field, the same way
//!                                            ▼
//!                             accepted, left as it is, or errno, field, limit and rule
//! ```

use std::fmt::Write;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use understudy_abi::arm64::{VcpuFeatures, kvm_vcpu_init};
use understudy_arm64::machine::{Model, Proposals};
use understudy_arm64::sysregs::Encoding;
use understudy_arm64::sysregs::id::fields::{Field, OptIns};
use understudy_arm64::sysregs::id::fields_of;
use understudy_arm64::sysregs::models;
use understudy_arm64::sysregs::user::id_of;
use understudy_kvm::{Errno, Kvm, VcpuFd, VmFd};

use super::template::{Features, Modifier, Template};
use super::{View, policy_name, print, ranges, register_name, rule, shown};

/// Bits of a guest-physical address, where the host has as many.
const IPA_BITS: i32 = 40;

/// `cpu check`'s arguments.
#[derive(Debug, Args)]
pub struct Check {
    /// The template's file; - is standard input
    template: PathBuf,
    /// The model to apply it to: a name, or a file
    #[arg(long)]
    model: String,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// What became of a part of the template.
struct Verdict {
    what: String,
    /// The value before, asked for and afterwards, of a register that can be read.
    values: Option<[u128; 3]>,
    result: Result<(), Errno>,
    /// Which fields were refused.
    refused: Vec<Refused>,
    note: Option<String>,
}

/// A field that KVM does not let have a value.
struct Refused {
    field: &'static Field,
    wanted: u64,
    limit: u64,
    /// What it lets it have.
    takes: Vec<u64>,
}

impl Verdict {
    fn word(&self) -> &'static str {
        match (self.result, self.values) {
            (Err(_), _) => "refused",
            (Ok(()), Some([_, asked, after])) if asked != after => "left",
            _ => "accepted",
        }
    }
}

pub(super) fn check(arguments: &Check) -> Result<ExitCode, String> {
    let model = Model::find(&arguments.model).map_err(|error| format!("--model: {error}"))?;
    let file = arguments.template.display().to_string();
    let text = if file == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(&arguments.template)
    };
    let template = Template::parse(&file, &text.map_err(|error| format!("{file}: {error}"))?)?;
    let verdicts = apply(model, &template)?;
    print(&match arguments.json {
        true => super::json(&programs(model, &verdicts)),
        false => people(model, &verdicts),
    })?;
    let all = verdicts.iter().all(|verdict| verdict.word() == "accepted");
    Ok(ExitCode::from(u8::from(!all)))
}

/// Why there is no VM at all: that is this host's fault, not the template's.
fn no_vm(errno: Errno) -> String {
    format!("a VM to try the template on: {errno:?}")
}

fn vm(kvm: &Kvm) -> Result<VmFd, String> {
    let bits = kvm.get_host_ipa_limit().min(IPA_BITS);
    kvm.create_vm_with_ipa_size(bits as u32).map_err(no_vm)
}

fn apply(model: Model, template: &Template) -> Result<Vec<Verdict>, String> {
    let kvm = Kvm::with(model, Proposals::empty());
    let mut verdicts = Vec::new();
    for capability in &template.kvm_capabilities {
        let has = !capability.needed || kvm.check_extension_raw(capability.number) > 0;
        verdicts.push(Verdict {
            what: format!("capability {}", capability.number),
            values: None,
            result: has.then_some(()).ok_or(Errno::EINVAL),
            refused: Vec::new(),
            note: (!has).then(|| "the host does not have it".to_string()),
        });
    }
    let mut init = kvm_vcpu_init::default();
    vm(&kvm)?.get_preferred_target(&mut init).map_err(no_vm)?;
    init.features[0] |= VcpuFeatures::PSCI_0_2.bits();
    for features in &template.vcpu_features {
        verdicts.push(try_features(&vm(&kvm)?, &mut init, features)?);
    }
    let vm = vm(&kvm)?;
    let vcpu = vm.create_vcpu(0).map_err(no_vm)?;
    vcpu.vcpu_init(&init).map_err(no_vm)?;
    let view = View::of(model, opt_ins(&init));
    for modifier in &template.reg_modifiers {
        verdicts.push(try_modifier(&vcpu, &view, modifier));
    }
    Ok(verdicts)
}

/// Tries features on a vCPU of its own, and keeps them if KVM has them.
fn try_features(
    vm: &VmFd,
    init: &mut kvm_vcpu_init,
    features: &Features,
) -> Result<Verdict, String> {
    let mut tried = *init;
    let word = &mut tried.features[features.index];
    let before = u128::from(*word);
    let asked = features.bitmap.apply(before);
    *word = asked as u32;
    let vcpu = vm.create_vcpu(0).map_err(no_vm)?;
    let result = vcpu.vcpu_init(&tried);
    let mut note = None;
    if result.is_ok() {
        *init = tried;
    } else {
        note = Some(match features.index {
            0 => {
                let new = (asked & !before) as u32;
                let names: Vec<_> = VcpuFeatures::from_bits_retain(new)
                    .iter_names()
                    .map(|(name, _)| name)
                    .collect();
                format!(
                    "KVM_ARM_VCPU_INIT does not take {new:#x} {}",
                    names.join(" | ")
                )
            }
            _ => "KVM knows no features there".to_string(),
        });
    }
    Ok(Verdict {
        what: format!("vcpu_features[{}]", features.index),
        values: Some([before, asked, if result.is_ok() { asked } else { before }]),
        result,
        refused: Vec::new(),
        note,
    })
}

fn opt_ins(init: &kvm_vcpu_init) -> OptIns {
    let features = VcpuFeatures::from_bits_retain(init.features[0]);
    let mut opt_ins = OptIns::empty();
    opt_ins.set(OptIns::PMU, features.contains(VcpuFeatures::PMU_V3));
    opt_ins.set(OptIns::SVE, features.contains(VcpuFeatures::SVE));
    opt_ins.set(
        OptIns::PTRAUTH,
        features.contains(VcpuFeatures::PTRAUTH_ADDRESS),
    );
    opt_ins
}

fn get(vcpu: &VcpuFd, id: u64) -> Result<u128, Errno> {
    let mut bytes = [0; 16];
    vcpu.get_one_reg(id, &mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

fn set(vcpu: &VcpuFd, id: u64, value: u128) -> Result<(), Errno> {
    vcpu.set_one_reg(id, &value.to_le_bytes()).map(|_| ())
}

fn try_modifier(vcpu: &VcpuFd, view: &View, modifier: &Modifier) -> Verdict {
    let id = modifier.id;
    let register = Encoding::from_bits(id as u16);
    let system = id == id_of(register);
    let mut verdict = Verdict {
        what: match (system, modifier.field) {
            (true, Some(field)) => models::field_name(field),
            (true, None) => register_name(register),
            (false, _) => format!("{id:#018x}"),
        },
        values: None,
        result: Ok(()),
        refused: Vec::new(),
        note: None,
    };
    let before = match get(vcpu, id) {
        Ok(before) => before,
        Err(errno) => {
            verdict.result = Err(errno);
            verdict.note = Some("KVM_GET_ONE_REG: the vCPU has no such register".to_string());
            return verdict;
        }
    };
    let asked = modifier.bitmap.apply(before);
    verdict.result = set(vcpu, id, asked);
    let after = get(vcpu, id).unwrap_or(before);
    verdict.values = Some([before, asked, after]);
    if verdict.result.is_ok() {
        if asked != after {
            verdict.note = Some("KVM took the write and did not keep the value".to_string());
        }
        return verdict;
    }
    if !system {
        return verdict;
    }
    let mut known = 0;
    for field in fields_of(register) {
        known |= field.mask();
        let wanted = field.get(asked as u64);
        if wanted == field.get(before as u64) {
            continue;
        }
        let alone = field.set(before as u64, wanted);
        match set(vcpu, id, alone.into()) {
            // What one field alone may have is no verdict on the whole: as it was.
            Ok(()) => drop(set(vcpu, id, before)),
            Err(_) => verdict.refused.push(Refused {
                field,
                wanted,
                limit: view.limit(field),
                takes: view.takes(field),
            }),
        }
    }
    let others = (asked ^ before) as u64 & !known;
    verdict.note = if known == 0 {
        Some("KVM refuses the value as a whole".to_string())
    } else if others != 0 {
        Some(format!(
            "KVM lets no bits but those of its fields change: {others:#x}"
        ))
    } else if verdict.refused.is_empty() {
        Some("KVM refuses the value as a whole".to_string())
    } else {
        None
    };
    verdict
}

fn people(model: Model, verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        let _ = write!(text, "{:<9} {}", verdict.word(), verdict.what);
        if let Some([before, asked, after]) = verdict.values {
            let _ = write!(text, " {before:#x} -> {asked:#x}");
            if after != asked {
                let _ = write!(text, ", is {after:#x}");
            }
        }
        if let Err(errno) = verdict.result {
            let _ = write!(text, ": {errno:?}");
        }
        text.push('\n');
        for refused in &verdict.refused {
            let Refused {
                field,
                wanted,
                limit,
                takes,
            } = refused;
            let name = models::field_name(field);
            let (wanted, rule) = (shown(field, *wanted), rule(field, *limit));
            let _ = write!(text, "          {name} = {wanted}: {rule}");
            let _ = match takes.len() {
                0 | 1 => writeln!(text),
                _ => writeln!(text, "; KVM takes {}", ranges(takes)),
            };
        }
        if let Some(note) = &verdict.note {
            let _ = writeln!(text, "          {note}");
        }
    }
    let accepted = verdicts.iter().filter(|v| v.word() == "accepted").count();
    let (all, name) = (verdicts.len(), model.name());
    let _ = writeln!(text, "{accepted} of {all} accepted on {name}");
    text
}

fn programs(model: Model, verdicts: &[Verdict]) -> Value {
    let hex = |value: u128| format!("{value:#x}");
    let rows: Vec<Value> = verdicts
        .iter()
        .map(|verdict| {
            let refused = verdict.refused.iter().map(|refused| {
                json!({
                    "field": models::field_name(refused.field),
                    "wanted": refused.wanted,
                    "limit": refused.limit,
                    "accepted": refused.takes,
                    "policy": policy_name(refused.field.policy),
                    "rule": rule(refused.field, refused.limit),
                })
            });
            json!({
                "what": verdict.what,
                "result": verdict.word(),
                "errno": verdict.result.err().map(|errno| format!("{errno:?}")),
                "before": verdict.values.map(|values| hex(values[0])),
                "asked": verdict.values.map(|values| hex(values[1])),
                "after": verdict.values.map(|values| hex(values[2])),
                "refused": refused.collect::<Vec<_>>(),
                "note": verdict.note,
            })
        })
        .collect();
    let all = verdicts.iter().all(|v| v.word() == "accepted");
    json!({ "model": model.name(), "accepted": all, "modifiers": rows })
}
