//! `understudy cpu check`: both kinds of template, and malformed ones.

mod common;

use common::{understudy, understudy_reads};
use serde_json::{Value, json};

fn check(template: &str) -> (i32, Value) {
    let arguments = ["cpu", "check", "-", "--model", "neoverse-n1", "--json"];
    let run = understudy_reads(&arguments, template);
    assert_eq!(run.err, "", "{template}");
    (run.status, run.json())
}

fn firecracker(address: &str, bitmap: &str) -> String {
    json!({ "reg_modifiers": [{ "addr": address, "bitmap": bitmap }] }).to_string()
}

#[test]
fn what_kvm_accepts_is_accepted() {
    // ID_AA64ISAR0_EL1.Atomic 0, and AdvSIMD as it is.
    for template in [
        firecracker("0x603000000013c030", "0b0000xxxxxxxxxxxxxxxxxxxx"),
        firecracker("6931039826524487728", "0b0000_xxxx_xxxx_xxxx_xxxx_xxxx"),
        "SYSREG_ID_AA64ISAR0_EL1_ATOMIC=0".to_string(),
        "# a comment\n\nSYSREG_ID_AA64ISAR0_EL1_Atomic=0x0 , SYSREG_ID_AA64PFR0_EL1_ADVSIMD=1\n"
            .to_string(),
        "SYSREG_ID_AA64ISAR0_EL1=0x0000100010011120".to_string(),
    ] {
        let (status, checked) = check(&template);
        assert_eq!(status, 0, "{checked}");
        assert_eq!(checked["accepted"], true);
        let first = &checked["modifiers"][0];
        assert_eq!(first["result"], "accepted");
        assert_eq!(first["before"], "0x100010211120");
        assert_eq!(first["after"], "0x100010011120");
    }
    // A core register, which is no system register: X1.
    let (status, checked) = check(&firecracker("0x6030000000100002", "0b101"));
    assert_eq!(
        (status, &checked["modifiers"][0]["after"]),
        (0, &"0x5".into())
    );
}

#[test]
fn what_kvm_refuses_is_refused_with_field_limit_and_rule() {
    for (property, errno, field, limit, policy) in [
        (
            "ID_AA64ISAR0_EL1_ATOMIC=3",
            "EINVAL",
            "ID_AA64ISAR0_EL1.Atomic",
            2,
            "lower",
        ),
        (
            "ID_AA64ISAR0_EL1_RNDR=1",
            "EINVAL",
            "ID_AA64ISAR0_EL1.RNDR",
            0,
            "lower",
        ),
        (
            "ID_AA64PFR0_EL1_FP=0xf",
            "EINVAL",
            "ID_AA64PFR0_EL1.FP",
            1,
            "locked",
        ),
        (
            "ID_AA64DFR0_EL1_DEBUGVER=5",
            "EINVAL",
            "ID_AA64DFR0_EL1.DebugVer",
            8,
            "lower",
        ),
        (
            "ID_AA64PFR0_EL1_AMU=1",
            "EINVAL",
            "ID_AA64PFR0_EL1.AMU",
            0,
            "hidden",
        ),
        (
            "ID_AA64ISAR1_EL1_LS64=1",
            "EINVAL",
            "ID_AA64ISAR1_EL1.LS64",
            0,
            "unknown",
        ),
    ] {
        let (status, checked) = check(&format!("SYSREG_{property}"));
        assert_eq!(status, 1, "{checked}");
        let first = &checked["modifiers"][0];
        assert_eq!(
            (&first["result"], &first["errno"]),
            (&"refused".into(), &errno.into())
        );
        assert_eq!(first["before"], first["after"]);
        let refused = first["refused"].as_array().expect("fields");
        assert_eq!(refused.len(), 1, "{checked}");
        assert_eq!(refused[0]["field"], field);
        assert_eq!(refused[0]["limit"], limit);
        assert_eq!(refused[0]["policy"], policy);
    }
    // Several fields of one value are each named, and what is allowed among them is not.
    let (_, checked) = check("SYSREG_ID_AA64DFR0_EL1=0");
    let refused = checked["modifiers"][0]["refused"]
        .as_array()
        .expect("fields");
    let names: Vec<_> = refused
        .iter()
        .filter_map(|row| row["field"].as_str())
        .collect();
    let expected = ["CTX_CMPs", "BRPs", "DebugVer"].map(|name| format!("ID_AA64DFR0_EL1.{name}"));
    assert_eq!(names, expected);
    // Bits without field, registers that are not there, and one that is the host's.
    let (status, checked) = check("SYSREG_ID_AA64DFR1_EL1=1,SYSREG_MIDR_EL1=0");
    assert_eq!(status, 1);
    assert_eq!(checked["modifiers"][0]["errno"], "EINVAL");
    assert_eq!(checked["modifiers"][1]["errno"], "EINVAL");
    let (status, checked) = check(&firecracker("0x603000000013ffff", "0b1"));
    assert_eq!(status, 1);
    assert_eq!(checked["modifiers"][0]["errno"], "ENOENT");
}

#[test]
fn what_kvm_takes_and_does_not_keep_is_left() {
    let (status, checked) = check(
        "SYSREG_ID_PFR0_EL1=7,SYSREG_ID_AA64DFR0_EL1_PMUVER=15,SYSREG_ID_AA64MMFR1_EL1_PAN=1",
    );
    assert_eq!(status, 1);
    let results: Vec<_> = (0..3).map(|n| &checked["modifiers"][n]["result"]).collect();
    assert_eq!(results, ["left", "left", "accepted"]);
    assert_eq!(checked["modifiers"][0]["after"], "0x0");
}

#[test]
fn vcpu_features_and_capabilities_are_tried_first() {
    // PMU_V3, and PSCI 0.1, of which KVM has only the latter; POWER_OFF; a word that KVM knows
    // nothing of.
    let template = json!({
        "kvm_capabilities": ["70", "!171", "102"],
        "vcpu_features": [
            { "index": 0, "bitmap": "0b1xxx" },
            { "index": 0, "bitmap": "0b1" },
            { "index": 1, "bitmap": "0b1" },
        ],
    });
    let (status, checked) = check(&template.to_string());
    assert_eq!(status, 1);
    let rows = checked["modifiers"].as_array().expect("rows");
    let results: Vec<_> = rows.iter().map(|row| &row["result"]).collect();
    let expected = [
        "accepted", "accepted", "accepted", "refused", "accepted", "refused",
    ];
    assert_eq!(results, expected, "{checked}");
    assert_eq!(rows[3]["errno"], "EINVAL");
    assert!(rows[3]["note"].as_str().expect("why").contains("PMU_V3"));
    assert_eq!(rows[5]["errno"], "ENOENT");
    assert_eq!(check(r#"{"kvm_capabilities": ["100000"]}"#).0, 1);
    assert_eq!(check("{}").0, 0);
}

#[test]
fn people_are_told_in_lines() {
    let arguments = ["cpu", "check", "-", "--model", "cortex-a72"];
    let run = understudy_reads(&arguments, "SYSREG_ID_AA64DFR0_EL1_WRPs=4");
    assert_eq!(run.status, 1);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(
        lines,
        [
            "refused   ID_AA64DFR0_EL1.WRPs 0x10305006 -> 0x10405006, is 0x10305006: EINVAL",
            "          ID_AA64DFR0_EL1.WRPs = 0x4: lower is safe: 0x3 at most; KVM takes 0x0-0x3",
            "0 of 1 accepted on cortex-a72",
        ]
    );
}

#[test]
fn malformed_templates_are_refused_with_place_and_remedy() {
    let modifier = |address: &str, bitmap: &str| firecracker(address, bitmap);
    for (template, expected) in [
        (
            String::new(),
            "-: no template: neither Firecracker's JSON nor",
        ),
        ("{".to_string(), "-:1:1: EOF while parsing"),
        ("[1]".to_string(), "-:1:"),
        (
            r#"{"reg_modifier": []}"#.to_string(),
            "unknown field `reg_modifier`, expected one of",
        ),
        (
            "{\"reg_modifiers\": [\n{\"addr\": \"0x603000000013c030\"}]}".to_string(),
            "-:2:30: missing field `bitmap`",
        ),
        (
            "{\"reg_modifiers\": [\n {\"addr\": 5}]}".to_string(),
            "-:2:11: invalid type: integer `5`, expected a string with a register's id",
        ),
        (
            modifier("0x60300000zz", "0b1"),
            "addr: `0x60300000zz` is not a register's id, like 0x6030",
        ),
        (
            modifier("0x13c030", "0b1"),
            "addr: `0x13c030` is not a register's id",
        ),
        (
            modifier("0x603000000013c030", "0b12"),
            "bitmap: `0b12` has a `2`: there are 0, 1 and x",
        ),
        (
            modifier("0x603000000013c030", "0b"),
            "bitmap: `0b` has no bits",
        ),
        (
            modifier("0x603000000013c030", &"x".repeat(65)),
            "bitmap: it has 65 bits, and the register 0x603000000013c030 has 64",
        ),
        (
            modifier("0x603000000013c030", &"x".repeat(129)),
            "more than 128 bits",
        ),
        (
            r#"{"vcpu_features": [{"index": 7, "bitmap": "0b1"}]}"#.to_string(),
            "index: 7 is not one of 0 to 6",
        ),
        (
            r#"{"vcpu_features": [{"index": -1, "bitmap": "0b1"}]}"#.to_string(),
            "-:1:",
        ),
        (
            r#"{"kvm_capabilities": ["psci"]}"#.to_string(),
            "kvm_capabilities: `psci` is not a capability's number",
        ),
        (
            "SYSREG_ID_AA64ISAR0_EL1_ATOMIC".to_string(),
            "-:1:1: `SYSREG_ID_AA64ISAR0_EL1_ATOMIC` has no value",
        ),
        (
            "\nID_AA64ISAR0_EL1_ATOMIC=0".to_string(),
            "-:2:1: `ID_AA64ISAR0_EL1_ATOMIC` does not begin with SYSREG_",
        ),
        (
            "SYSREG_MIDR_EL1=1, SYSREG_ID_AA64ISAR0_EL1_ATOMIC=two".to_string(),
            "-:1:20: SYSREG_ID_AA64ISAR0_EL1_ATOMIC: `two` is not a value",
        ),
        (
            "SYSREG_ID_AA64ISAR0_EL1_ATOMIC=16".to_string(),
            "0x10 does not fit, as Atomic has 4 bits: 0 to 0xf",
        ),
        (
            "SYSREG_ID_AA64ISAR0_EL1_ATOM=1".to_string(),
            "has no field ATOM that is known here: there are RNDR,",
        ),
        (
            "SYSREG_ID_AA64ISAR9_EL1=1".to_string(),
            "no register is called so",
        ),
        (
            "SYSREG_ID_AA64ISAR0_EL1=+1".to_string(),
            "`+1` is not a value",
        ),
        (
            "SYSREG_ID_AA64ISAR0_EL1=0x10000000000000000".to_string(),
            "up to 64 bits",
        ),
    ] {
        let run = understudy_reads(&["cpu", "check", "-", "--model", "neoverse-n1"], &template);
        assert_eq!((run.status, &*run.out), (2, ""), "{template}");
        assert!(run.err.starts_with("understudy: -:"), "{}", run.err);
        assert!(run.err.contains(expected), "{}: not {expected}", run.err);
        assert_eq!(run.err.lines().count(), 1);
    }
    let run = understudy(&["cpu", "check", "/nonexistent", "--model", "neoverse-n1"]);
    assert_eq!(run.status, 2);
    assert!(run.err.starts_with("understudy: /nonexistent: "));
    let run = understudy_reads(&["cpu", "check", "-", "--model", "none"], "{}");
    assert_eq!(run.status, 2);
    assert!(run.err.contains("--model: no host CPU model none"));
}
