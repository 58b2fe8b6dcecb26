//! `understudy cpu diff` and `cpu common`.

mod common;

use common::{model_file, understudy, understudy_reads};

#[test]
fn diff_has_the_fields_that_differ() {
    let run = understudy(&["cpu", "diff", "neoverse-n1", "cortex-a76"]);
    assert_eq!(run.status, 1);
    let rows: Vec<Vec<&str>> = run
        .out
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows,
        [
            &["neoverse-n1", "cortex-a76"][..],
            &["MIDR_EL1", "0x414fd0c1", "0x414fd0b1"],
            &["ID_AA64PFR1_EL1.SSBS", "0x2", "0x1"],
            &["ID_AA64MMFR0_EL1.PARange", "0x5", "0x2"],
        ]
    );
    let json = understudy(&["cpu", "diff", "neoverse-n1", "cortex-a76", "--json"]).json();
    assert_eq!(json["different"][2]["field"], "ID_AA64MMFR0_EL1.PARange");
    assert_eq!(json["different"][2]["a"], 5);
    let same = understudy(&["cpu", "diff", "neoverse-n1", "neoverse-n1"]);
    assert_eq!(
        (same.status, &*same.out),
        (0, "neoverse-n1 and neoverse-n1 are the same\n")
    );
    assert_eq!(
        understudy(&["cpu", "diff", "neoverse-n1", "none"]).status,
        2
    );
}

/// A template of `common` is accepted on each of its models.
fn accepted_everywhere(models: &[&str], template: &str) {
    for model in models {
        let run = understudy_reads(&["cpu", "check", "-", "--model", model], template);
        assert_eq!(run.status, 0, "{model}: {}{}", run.out, run.err);
    }
}

#[test]
fn common_is_accepted_on_all_and_makes_them_the_same() {
    let models = ["neoverse-n1", "cortex-a76"];
    let run = understudy(&["cpu", "common", "neoverse-n1", "cortex-a76"]);
    assert_eq!(run.status, 0, "{}", run.err);
    assert!(run.err.contains("MIDR_EL1 stays different"), "{}", run.err);
    let template = run.json();
    let modifiers = template["reg_modifiers"].as_array().expect("modifiers");
    assert_eq!(modifiers.len(), 2);
    assert_eq!(modifiers[0]["addr"], "0x603000000013c021");
    let bitmap = modifiers[0]["bitmap"].as_str().expect("bits");
    assert_eq!((bitmap.len(), &bitmap[58..]), (66, "0001xxxx"[..].trim()));
    accepted_everywhere(&models, &run.out);
    let qemu = understudy(&["cpu", "common", "neoverse-n1", "cortex-a76", "--qemu"]);
    assert_eq!(
        qemu.out,
        "SYSREG_ID_AA64PFR1_EL1_SSBS=0x1\nSYSREG_ID_AA64MMFR0_EL1_PARANGE=0x2\n"
    );
    accepted_everywhere(&models, &qemu.out);
}

#[test]
fn fields_that_kvm_locks_stay_different_and_are_told() {
    let models = ["neoverse-n1", "cortex-a72", "cortex-a76"];
    let run = understudy(&["cpu", "common", "neoverse-n1", "cortex-a72", "cortex-a76"]);
    assert_eq!(run.status, 1);
    assert!(run.err.contains(
        "ID_AA64PFR0_EL1.RAS stays different: 0x1 on neoverse-n1, 0x0 on cortex-a72, 0x1 on cortex-a76"
    ));
    accepted_everywhere(&models, &run.out);
    let qemu = understudy(&[
        "cpu",
        "common",
        "neoverse-n1",
        "cortex-a72",
        "cortex-a76",
        "--qemu",
    ]);
    assert!(!qemu.out.contains("RAS"));
    accepted_everywhere(&models, &qemu.out);
}

#[test]
fn signed_fields_have_the_less_of_both() {
    let file = model_file("ID_AA64MMFR0_EL1 = { TGran4 = 0xf, TGran64 = 0, PARange = 2 }");
    let path = file.path().to_str().expect("UTF-8");
    let run = understudy(&["cpu", "common", "cortex-a76", path, "--qemu"]);
    assert!(
        run.out.contains("SYSREG_ID_AA64MMFR0_EL1_TGRAN4=0xf\n"),
        "{}",
        run.out
    );
    assert!(!run.out.contains("TGRAN64"));
    accepted_everywhere(&["cortex-a76", path], &run.out);
    let one = understudy(&["cpu", "common", "cortex-a76"]);
    assert_eq!(one.status, 0);
    assert_eq!(one.json()["reg_modifiers"], serde_json::json!([]));
    assert_eq!(understudy(&["cpu", "common"]).status, 2);
    assert_eq!(
        understudy(&["cpu", "common", "cortex-a76", "none"]).status,
        2
    );
}
