//! docs/id-registers.md is what the tables say: it is made here, and has to be as it would be made.
//! `UNDERSTUDY_WRITE_DOCS=1 cargo test --workspace --test reference_page` writes it.

use std::fmt::Write;
use std::path::Path;

use understudy_arm64::insn::features::FEATURES;
use understudy_arm64::sysregs::id::fields::{Check, FIELDS, Field, Policy};
use understudy_arm64::sysregs::models::{most, register_name};
use understudy_arm64::sysregs::traps::removed_with;

const HEAD: &str = "\
# ID registers, field by field

Made from the tables `arm64/src/sysregs/id/fields.rs`, `arm64/src/insn/features.rs` and
`arm64/src/sysregs/traps.rs` by `arm64/tests/reference_page.rs`, which also holds the two together.
`understudy cpu show MODEL` says the same of one model, with its values.

- *Most*: what the software CPU can do. A host model that says more is lowered to it.
- *Linux 6.12*: what KVM_SET_ONE_REG takes. *lower*: any value up to the limit; *higher*: from the
  limit up; *locked*: the limit; *0 or limit*; *hidden*: 0, as KVM hides it; *unknown*: said to be
  writable, and 0.
- *arm64-id-reg-configurable*: the check of that proposal.
- *Asked for by*: the field is 0 in a VM that has not asked.
- *Strict*: features whose instructions are UNDEFINED with `--fidelity strict` where the field is
  lower (in brackets: than what). *Traps*: what KVM has EL2 trap then.

";

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::Locked => "locked",
        Policy::Lower => "lower",
        Policy::Higher => "higher",
        Policy::Exact(_) => "0 or limit",
        Policy::Hidden => "hidden",
        Policy::Unknown => "unknown",
    }
}

fn check(check: Check) -> &'static str {
    match check {
        Check::LowerSafe => "lower",
        Check::HigherSafe => "higher",
        Check::HigherOrZeroSafe => "higher or 0",
        Check::Exact => "limit",
        Check::ExactOrZeroSafe => "0 or limit",
        Check::Ignore => "by its register's rule",
    }
}

fn features(field: &Field) -> String {
    let of_it = FEATURES
        .iter()
        .filter(|feature| feature.field == *field || feature.or.as_ref() == Some(field));
    let names: Vec<String> = of_it
        .map(|feature| format!("{} ({})", feature.name, feature.least))
        .collect();
    names.join(", ")
}

fn page() -> String {
    let mut page = HEAD.to_string();
    let mut last = None;
    for field in FIELDS {
        if last.replace(field.register) != Some(field.register) {
            let name = register_name(field.register);
            let _ = writeln!(page, "## {name}\n");
            page += "| bits | field | most | Linux 6.12 | arm64-id-reg-configurable | asked for by | strict | traps |\n";
            page += "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
        }
        let _ = writeln!(
            page,
            "| {}:{} | {}{} | {:#x} | {} | {} | {} | {} | {} |",
            field.low + field.width - 1,
            field.low,
            field.name,
            if field.signed { " (signed)" } else { "" },
            most(field),
            policy(field.policy),
            check(field.check),
            field
                .opt_in
                .iter_names()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
                .join(", "),
            features(field),
            removed_with(field)
                .iter_names()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
                .join(", "),
        );
        let next = FIELDS
            .iter()
            .position(|other| other == field)
            .and_then(|i| FIELDS.get(i + 1));
        if next.is_none_or(|next| next.register != field.register) {
            page.push('\n');
        }
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

#[test]
fn the_page_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/id-registers.md");
    let made = page();
    if std::env::var_os("UNDERSTUDY_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).expect("docs can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/id-registers.md is not what the tables say: \
         UNDERSTUDY_WRITE_DOCS=1 cargo test --workspace --test reference_page"
    );
}
