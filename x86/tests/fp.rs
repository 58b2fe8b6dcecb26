//! The arithmetic of `fp` against the host's own SSE unit: real instructions under every control of
//! MXCSR, on generated values; results and flags must be the same, and so whether an exception that
//! is not masked is met. Elsewhere than on x86-64 hosts there is nothing to compare with.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[path = "fp/operations.rs"]
mod operations;
#[path = "fp/unit.rs"]
mod unit;
#[path = "fp/values.rs"]
mod values;

use operations::Operation;
use understudy_x86::fp::Env;
use unit::{Data, Unit};
use values::Values;

/// Inputs of each operation.
const TURNS: usize = 40_000;

/// An MXCSR with no flag set, or with that of PE: any rounding, DAZ and FTZ, and now and then an
/// exception that is not masked.
fn mxcsr(values: &mut Values) -> u32 {
    let bits = values.bits() as u32;
    let rounding = bits & 0x6000;
    let masks = if bits >> 20 & 3 == 0 {
        bits & 0x1f80
    } else {
        0x1f80
    };
    let flush = match bits >> 22 & 7 {
        0 => 0x8000,
        1 => 0x40,
        2 => 0x8040,
        _ => 0,
    };
    rounding | masks | flush | bits & 0x20
}

fn check(unit: &mut Unit, operation: &Operation, values: &mut Values) {
    let control = mxcsr(values);
    let before = operation.inputs(values);
    let (after, theirs) = unit.run(&operation.code, control, before);
    let mut env = Env::sse(control);
    let ours = (operation.ours)(&mut env, &before);
    let flags = u32::from(env.flags) | control & 0x20;
    let context = || {
        format!(
            "{} of {:x?}, {:#x} under {control:#06x}",
            operation.name, before.xmm, before.rax
        )
    };
    assert_eq!(
        flags,
        theirs.mxcsr & 0x3f,
        "flags {flags:#x}, not {:#x}: {}",
        theirs.mxcsr & 0x3f,
        context()
    );
    assert_eq!(env.unmasked() != 0, theirs.trapped, "a trap: {}", context());
    if !theirs.trapped {
        let theirs = (operation.result)(&after);
        assert_eq!(ours, theirs, "{ours:#x}, not {theirs:#x}: {}", context());
    }
}

/// All operations.
#[test]
fn agrees_with_the_host_sse_unit() {
    let mut unit = Unit::new();
    let mut values = Values::new(7);
    for operation in operations::all() {
        if !operation.here() {
            println!("skipped: {} (the host does not have it)", operation.name);
            continue;
        }
        for _ in 0..TURNS {
            check(&mut unit, &operation, &mut values);
        }
    }
}

/// The harness itself.
#[test]
fn an_instruction_that_does_nothing_changes_nothing() {
    let mut unit = Unit::new();
    let before = Data {
        xmm: [1, 2, 3],
        rax: 4,
        flags: 0,
    };
    // NOP.
    let (after, status) = unit.run(&[0x90], 0x1f80, before);
    assert_eq!((after.xmm[0], after.rax), (1, 4));
    assert_eq!(status.mxcsr, 0x1f80);
    assert!(!status.trapped);
}
