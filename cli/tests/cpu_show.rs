//! `understudy cpu list` and `cpu show`, and `understudy exec`'s --cpu and --proposals.

mod common;

use common::{model_file, understudy};
use serde_json::Value;

fn register<'a>(shown: &'a Value, name: &str) -> &'a Value {
    let registers = shown["registers"].as_array().expect("registers");
    let mut registers = registers.iter();
    registers.find(|r| r["name"] == name).expect("a register")
}

fn field<'a>(shown: &'a Value, name: &str, field: &str) -> &'a Value {
    let fields = register(shown, name)["fields"].as_array().expect("fields");
    let mut fields = fields.iter();
    fields.find(|f| f["name"] == field).expect("a field")
}

#[test]
fn list_has_the_models_and_the_default() {
    let run = understudy(&["cpu", "list"]);
    assert_eq!(run.status, 0);
    for model in ["neoverse-n1", "cortex-a72", "cortex-a76"] {
        assert!(run.out.lines().any(|line| line.starts_with(model)));
        // Each can be shown.
        assert_eq!(understudy(&["cpu", "show", model]).status, 0);
    }
    let list = understudy(&["cpu", "list", "--json"]).json();
    let default = list.as_array().expect("models").iter();
    let default: Vec<_> = default.filter(|m| m["default"] == true).collect();
    assert_eq!(default.len(), 1);
    assert_eq!(default[0]["name"], "neoverse-n1");
}

#[test]
fn show_says_value_limit_what_is_written_and_what_is_trapped() {
    let run = understudy(&["cpu", "show", "neoverse-n1", "--json"]);
    assert_eq!(run.status, 0);
    let shown = run.json();
    assert_eq!(shown["identity"]["MIDR_EL1"], "0x00000000414fd0c1");
    let isar0 = register(&shown, "ID_AA64ISAR0_EL1");
    assert_eq!(isar0["value"], "0x0000100010211120");
    let atomic = field(&shown, "ID_AA64ISAR0_EL1", "Atomic");
    assert_eq!(atomic["value"], 2);
    assert_eq!(atomic["limit"], 2);
    assert_eq!(atomic["accepted"], serde_json::json!([0, 1, 2]));
    assert_eq!(atomic["writable"], true);
    assert_eq!(atomic["meaning"], "FEAT_LSE");
    assert_eq!(atomic["traps"], serde_json::json!([]));
    let fp = field(&shown, "ID_AA64PFR0_EL1", "FP");
    assert_eq!(
        (&fp["policy"], &fp["writable"]),
        (&"locked".into(), &false.into())
    );
    let lo = field(&shown, "ID_AA64MMFR1_EL1", "LO");
    assert_eq!(lo["traps"], serde_json::json!(["TLOR"]));
    let el0 = field(&shown, "ID_AA64PFR0_EL1", "EL0");
    assert_eq!((&el0["cpu"], &el0["limit"]), (&2.into(), &1.into()));
    assert!(el0["difference"].as_str().expect("why").contains("AArch32"));
    let pmu = field(&shown, "ID_AA64DFR0_EL1", "PMUVer");
    assert_eq!(pmu["opt_in"], "pmu");

    let people = understudy(&["cpu", "show", "neoverse-n1", "--opt-in", "pmu,sve"]);
    assert_eq!(people.status, 0);
    assert!(
        people.out.contains("lowered, it traps TLOR"),
        "{}",
        people.out
    );
    assert!(!people.out.contains("needs --opt-in pmu"));
    let all = understudy(&["cpu", "show", "neoverse-n1", "--all"]);
    assert!(all.out.contains("SPECRES") && !people.out.contains("RNDR"));
}

#[test]
fn a_users_model_is_shown_and_a_bad_one_refused() {
    let file = model_file("ID_AA64PFR0_EL1 = { EL1 = 1, EL0 = 1 }");
    let path = file.path().to_str().expect("UTF-8");
    let run = understudy(&["cpu", "show", path]);
    assert_eq!((run.status, &*run.err), (0, ""));
    assert!(run.out.starts_with("mine: "));

    let file = model_file("ID_AA64ISAR1_EL1 = { SPECRES = 1 }");
    let path = file.path().to_str().expect("UTF-8");
    let run = understudy(&["cpu", "show", path]);
    assert_eq!((run.status, &*run.out), (2, ""));
    let place = format!("understudy: {path}:11:32: ID_AA64ISAR1_EL1.SPECRES is 0x1");
    assert!(run.err.starts_with(&place), "{}", run.err);
    for command in [
        &["exec", "--guest", "arm64", "--cpu", path, "true"][..],
        &["cpu", "diff", path, path],
    ] {
        let run = understudy(command);
        assert_eq!(run.status, 2);
        assert!(run.err.contains("SPECRES"), "{}", run.err);
    }
}

#[test]
fn unknown_names_are_refused_in_words() {
    for (arguments, expected) in [
        (
            &["cpu", "show", "cortex-a1000"][..],
            "no host CPU model cortex-a1000: there are neoverse-n1, ",
        ),
        (&["cpu", "show", "./absent.toml"], "./absent.toml: "),
        (
            &["cpu", "show", "neoverse-n1", "--opt-in", "sme"],
            "there are pmu, sve, ptrauth, mte",
        ),
    ] {
        let run = understudy(arguments);
        assert_eq!((run.status, &*run.out), (2, ""), "{arguments:?}");
        assert!(run.err.contains(expected), "{}", run.err);
    }
}
