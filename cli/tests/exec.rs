//! `understudy exec`: what is said of options and programs that are wrong, before anything runs.

mod common;

use common::{model_file, understudy};

/// A program that there is.
const PROGRAM: &str = env!("CARGO_BIN_EXE_understudy");

/// What it said of these arguments; it must not have run anything.
fn refused(arguments: &[&str]) -> String {
    let run = understudy(arguments);
    assert_eq!((run.status, run.out.as_str()), (2, ""), "{}", run.err);
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    run.err
}

#[test]
fn settings_that_are_wrong_are_named_before_the_program_runs() {
    let said = refused(&["exec", "--guest", "arm64", "--cpu", "pentium", PROGRAM]);
    assert!(
        said.contains("UNDERSTUDY_CPU: no host CPU model pentium"),
        "{said}"
    );
    assert!(said.contains("neoverse-n1"), "{said}");
    let said = refused(&[
        "exec",
        "--guest",
        "arm64",
        "--proposals",
        "arm64-more",
        PROGRAM,
    ]);
    assert!(said.contains("no proposal arm64-more"), "{said}");
    assert!(said.contains("arm64-id-reg-configurable"), "{said}");
    let said = refused(&["exec", "--guest", "arm64", "--fidelity", "lax", PROGRAM]);
    assert!(
        said.contains("no fidelity lax: there are kvm, strict and report"),
        "{said}"
    );
    let kvm = [
        "exec",
        "--engine",
        "kvm",
        "--proposals",
        "arm64-exposed-debug",
        PROGRAM,
    ];
    let said = refused(&kvm);
    assert!(said.contains("x86-guest-debug-cr3"), "{said}");
    let said = refused(&["exec", "--guest", "x86-64", "--cpu", "max", PROGRAM]);
    assert!(said.contains("are for arm64 guests"), "{said}");
    let model = model_file("ID_AA64MMFR7_EL1 = 1");
    let path = model.path().to_str().unwrap();
    let said = refused(&["exec", "--guest", "arm64", "--cpu", path, PROGRAM]);
    assert!(
        said.contains(path) && said.contains("ID_AA64MMFR7_EL1"),
        "{said}"
    );
}

#[test]
fn a_program_that_is_not_there_or_none_is_named() {
    let said = refused(&["exec", "nonesuch-program"]);
    assert!(
        said.contains("nonesuch-program: not found in PATH"),
        "{said}"
    );
    let said = refused(&["exec", "./Cargo.toml"]);
    assert!(
        said.contains("not a 64-bit little-endian ELF program"),
        "{said}"
    );
}
