use super::fields::{Policy, registers as at};
use super::*;
use crate::sysregs::models::{self, NEOVERSE_N1};

fn vm() -> IdRegisters {
    let id = IdRegisters::new(&NEOVERSE_N1, Proposals::empty());
    id.initialise(OptIns::empty());
    id
}

/// IDR-15: each row has a most that the software CPU can do.
#[test]
fn rows_are_well_formed() {
    for field in FIELDS {
        assert!(index(field.register).is_some(), "{field:?}");
        assert!(
            field.width >= 1 && field.low + field.width <= 64,
            "{field:?}"
        );
        assert_eq!(field.get(field.mask()), field.mask() >> field.low);
        assert!(field.set(0, field.at_most) == field.at_most << field.low);
    }
    for register in (0..COUNT).map(encoding) {
        let mut seen = 0;
        for field in fields_of(register) {
            assert_eq!(seen & field.mask(), 0, "{field:?} overlaps another");
            seen |= field.mask();
        }
    }
}

#[test]
fn encodings_and_indices_are_inverse() {
    for i in 0..COUNT {
        assert_eq!(index(encoding(i)), Some(i));
    }
    // IDR-1: CRm 0 is not among them.
    for op2 in 0..8 {
        assert_eq!(index(Encoding::new(3, 0, 0, 0, op2)), None);
    }
    assert_eq!(index(Encoding::new(3, 1, 0, 1, 0)), None);
}

/// IDR-30: both mask columns of requirements 4.4.
#[test]
fn masks_follow_from_the_policies() {
    let table = [
        (
            at::ID_AA64PFR0,
            0xffff_00f0_0f00_ffff,
            0xff0f_00f0_0f00_ffff,
        ),
        (
            at::ID_AA64PFR1,
            0x0000_000f_0000_00ff,
            0x0000_0000_0000_00ff,
        ),
        (
            at::ID_AA64PFR2,
            0x0000_000f_0000_0000,
            0x0000_000f_0000_0000,
        ),
        (
            at::ID_AA64ZFR0,
            0x0ff0_ff0f_0fff_00ff,
            0x0ff0_ff0f_0fff_00ff,
        ),
        (
            at::ID_AA64FPFR0,
            0x0000_0000_f000_0003,
            0x0000_0000_f000_0003,
        ),
        (
            at::ID_AA64DFR0,
            0x0000_00f0_00f0_0f0f,
            0x0000_00f0_00f0_0f0f,
        ),
        (
            at::ID_AA64ISAR0,
            0xffff_ffff_ffff_fff0,
            0xffff_ffff_f0ff_fff0,
        ),
        (
            at::ID_AA64ISAR1,
            0xffff_ffff_00ff_f00f,
            0x0fff_ffff_00ff_f00f,
        ),
        (
            at::ID_AA64ISAR2,
            0xffff_0fff_ffff_00ff,
            0x0fff_0000_f0ff_00ff,
        ),
        (
            at::ID_AA64MMFR0,
            0xff00_f000_ffff_ff0f,
            0xff00_f000_ffff_ff0f,
        ),
        (
            at::ID_AA64MMFR1,
            0xffff_f0f0_0fff_f00f,
            0xf0f0_f0f0_0fff_f00f,
        ),
        (
            at::ID_AA64MMFR2,
            0xf0ff_000f_f00f_ffff,
            0xf0ff_000f_f00f_ffff,
        ),
        (
            at::ID_AA64MMFR3,
            0x0000_0000_000f_0f0f,
            0x0000_0000_000f_0f0f,
        ),
        (at::CTR, 0x0000_0000_300f_000f, 0x0000_0000_300f_000f),
    ];
    for (register, advertised, effective) in table {
        let mask = |which: fn(Policy) -> bool| {
            let fields = fields_of(register).filter(|field| which(field.policy));
            fields.fold(0, |mask, field| mask | field.mask())
        };
        assert_eq!(mask(Policy::advertised), advertised, "{register}");
        assert_eq!(mask(Policy::effective), effective, "{register}");
        assert_eq!(vm().writable_masks()[mask_index(register)], advertised);
    }
}

/// Requirements 4.8, "check features".
#[test]
fn signed_fields_compare_as_signed() {
    let signed = Field {
        low: 60,
        ..fields::MMFR0_TGRAN4
    };
    let unsigned = Field {
        signed: false,
        ..signed
    };
    assert_eq!(signed.number(signed.get(0xf << 60)), -1);
    assert_eq!(signed.number(7), 7);
    assert_eq!(unsigned.number(unsigned.get(0xf << 60)), 15);
}

/// IDR-16, IDR-19, and the vectors of requirements 4.8 for one field.
#[test]
fn each_policy_takes_what_it_takes() {
    let fits = |field: &Field, value, limit| {
        check(field.register, field.set(0, value), field.set(0, limit)).is_ok()
    };
    let lower = &fields::ISAR0_TS;
    for (value, limit, ok) in [
        (0, 0, true),
        (1, 1, true),
        (1, 2, true),
        (2, 1, false),
        (15, 1, false),
    ] {
        assert_eq!(fits(lower, value, limit), ok, "lower {value} {limit}");
    }
    let signed = &fields::MMFR0_TGRAN4;
    for (value, limit, ok) in [
        (0xf, 0xf, true),
        (0xf, 0, true),
        (0, 0xf, false),
        (1, 0xf, false),
        (0xf, 0xe, false),
    ] {
        assert_eq!(
            fits(signed, value, limit),
            ok,
            "signed lower {value} {limit}"
        );
    }
    let higher = &fields::MMFR1_SPECSEI;
    for (value, limit, ok) in [(0, 0, true), (2, 1, true), (1, 2, false)] {
        assert_eq!(fits(higher, value, limit), ok, "higher {value} {limit}");
    }
    let exact = &fields::FPFR0_F8CVT;
    for (value, limit, ok) in [(0, 1, true), (1, 1, true), (0, 0, true), (1, 0, false)] {
        assert_eq!(fits(exact, value, limit), ok, "exact {value} {limit}");
    }
    for field in [&fields::PFR0_RAS, &fields::PFR0_MPAM, &fields::PFR0_RME] {
        assert!(fits(field, 1, 1));
        assert!(!fits(field, 0, 1));
        assert!(!fits(field, 1, 0));
    }
    // Bits in no row.
    assert!(check(at::ID_AA64MMFR0, 1 << 48, 0).is_err());
    assert!(check(Encoding::new(3, 0, 0, 5, 2), 1, 0).is_err());
    assert!(check(Encoding::new(3, 0, 0, 5, 2), 0, 0).is_ok());
}

/// Where a VM differs from the CPU, the model says so and why; and nothing else differs.
#[test]
fn differences_of_the_models_are_listed() {
    for model in models::ALL {
        let all = IdRegisters::new(model, Proposals::empty());
        let registers = (0..COUNT).map(encoding);
        let mut different = Vec::new();
        for register in registers.filter(|register| !is_aarch32(*register)) {
            let (host, ours) = (model.id(register), all.limit(register, OptIns::all()));
            let mut explained = 0;
            for field in fields_of(register) {
                // What KVM hides is not for the model to list.
                if matches!(field.policy, Policy::Hidden | Policy::Unknown) {
                    explained |= field.mask();
                } else if field.get(host) != field.get(ours) {
                    different.push((*field, field.get(ours)));
                    explained |= field.mask();
                }
            }
            assert_eq!((host ^ ours) & !explained, 0, "{}: {register}", model.name);
        }
        let listed = model.differences.iter();
        let listed: Vec<_> = listed.map(|row| (row.field, row.ours)).collect();
        for row in &different {
            assert!(
                listed.contains(row),
                "{}: {row:?} is not listed",
                model.name
            );
        }
        assert_eq!(listed.len(), different.len(), "{}", model.name);
    }
}

/// The debug unit is that of the model.
#[test]
fn the_debug_unit_has_as_many_comparators_as_the_model_says() {
    let dfr0 = NEOVERSE_N1.id(at::ID_AA64DFR0);
    let count = |field: &Field| field.get(dfr0) as usize + 1;
    assert_eq!(count(&fields::DFR0_BRPS), crate::debug::BREAKPOINTS);
    assert_eq!(
        count(&fields::DFR0_CTX_CMPS),
        crate::debug::CONTEXT_BREAKPOINTS
    );
    assert_eq!(count(&fields::DFR0_WRPS), crate::debug::WATCHPOINTS);
}

#[test]
fn a_failing_set_changes_nothing_and_lowered_fields_rise_again() {
    let id = vm();
    let register = at::ID_AA64ISAR0;
    let initial = id.get(register);
    let lowered = fields::ISAR0_ATOMIC.set(initial, 0);
    assert_eq!(id.set(register, lowered), Ok(()));
    assert_eq!(id.get(register), lowered);
    // IDR-9.
    let higher = fields::ISAR0_TLB.set(lowered, 1);
    assert_eq!(id.set(register, higher), Err(Error::Inval));
    assert_eq!(id.get(register), lowered);
    // IDR-19.
    assert_eq!(id.set(register, initial), Ok(()));
    assert_eq!(id.get(register), initial);
}

/// IDR-3, IDR-7, IDR-8.
#[test]
fn the_first_run_freezes() {
    let id = vm();
    let register = at::ID_AA64MMFR1;
    let lowered = fields::MMFR1_PAN.set(id.get(register), 1);
    assert_eq!(id.set(register, lowered), Ok(()));
    id.initialise(OptIns::empty());
    assert_eq!(
        id.get(register),
        lowered,
        "a later KVM_ARM_VCPU_INIT keeps it"
    );
    assert!(!id.frozen());
    id.freeze();
    assert!(id.frozen());
    assert_eq!(id.set(register, lowered), Ok(()));
    assert_eq!(
        id.set(register, fields::MMFR1_PAN.set(lowered, 0)),
        Err(Error::Busy)
    );
    assert_eq!(id.get(register), lowered);
    // A register that reads as zero, and one that no Armv8 has.
    assert_eq!(id.set(Encoding::new(3, 0, 0, 6, 7), 1), Err(Error::Busy));
    assert_eq!(id.set(at::ID_AA64DFR0, 0), Err(Error::Inval));
    id.initialise(OptIns::empty());
    assert_eq!(id.get(register), lowered);
}

/// IDR-23: with the device the field stays, without it the first run clears it.
#[test]
fn the_gic_field_follows_the_device() {
    let without = vm();
    assert_eq!(without.field(&fields::PFR0_GIC), 1);
    without.freeze();
    assert_eq!(without.field(&fields::PFR0_GIC), 0);

    let with = vm();
    with.set_gic_v3();
    with.freeze();
    assert_eq!(with.field(&fields::PFR0_GIC), 1);

    // The user may lower it, with the device, too.
    let lowered = vm();
    lowered.set_gic_v3();
    let value = fields::PFR0_GIC.set(lowered.get(at::ID_AA64PFR0), 0);
    assert_eq!(lowered.set(at::ID_AA64PFR0, value), Ok(()));
    lowered.freeze();
    assert_eq!(lowered.field(&fields::PFR0_GIC), 0);
}

/// IDR-12: an IMPLEMENTATION DEFINED PMU, which KVM once handed out, is stored as none.
#[test]
fn an_unknown_pmu_is_none() {
    let id = vm();
    let value = id.get(at::ID_AA64DFR0);
    assert_eq!(
        id.set(at::ID_AA64DFR0, fields::DFR0_PMUVER.set(value, 0xf)),
        Ok(())
    );
    assert_eq!(id.get(at::ID_AA64DFR0), value);
}

/// OSL-40 to OSL-43: the proposal's initial values, and those of older hosts within the limits.
#[test]
fn exposed_debug_begins_with_v8_2_and_takes_older_images() {
    let id = IdRegisters::new(&NEOVERSE_N1, Proposals::EXPOSED_DEBUG);
    id.initialise(OptIns::empty());
    let register = at::ID_AA64DFR0;
    let initial = id.get(register);
    assert_eq!(fields::DFR0_DEBUGVER.get(initial), 8);
    assert_eq!(fields::DFR0_DOUBLELOCK.get(initial), 0xf);
    let old = fields::DFR0_DOUBLELOCK.set(fields::DFR0_DEBUGVER.set(initial, 6), 0);
    assert_eq!(id.set(register, old), Ok(()));
    assert_eq!(id.get(register), old);
    assert_eq!(id.set(register, initial), Ok(()));
    for too_low in [0, 5] {
        let value = fields::DFR0_DEBUGVER.set(initial, too_low);
        assert_eq!(id.set(register, value), Err(Error::Inval));
    }
    let above = fields::DFR0_DEBUGVER.set(initial, 9);
    assert_eq!(id.set(register, above), Err(Error::Inval));
}

/// IDR-10: whoever wins, nothing changes once the VM counts as having run.
#[test]
fn a_set_and_the_first_run_do_not_mix() {
    for round in 0..200 {
        let id = vm();
        let register = at::ID_AA64ISAR0;
        let lowered = fields::ISAR0_DP.set(id.get(register), 0);
        std::thread::scope(|scope| {
            let setter = scope.spawn(|| {
                if round % 2 == 0 {
                    std::thread::yield_now();
                }
                id.set(register, lowered)
            });
            id.freeze();
            let seen = id.get(register);
            let result = setter.join().expect("does not panic");
            assert_eq!(id.get(register), seen);
            match result {
                Ok(()) => assert_eq!(seen, lowered),
                Err(error) => assert_eq!((error, seen != lowered), (Error::Busy, true)),
            }
        });
    }
}

/// IDR-34.
#[test]
fn aarch32_registers_ignore_writes() {
    let id = vm();
    let known = (0..COUNT)
        .map(encoding)
        .filter(|register| is_aarch32(*register));
    let known: Vec<_> = known.collect();
    assert_eq!(known.len(), 20);
    for frozen in [false, true] {
        if frozen {
            id.freeze();
        }
        for register in &known {
            assert_eq!(id.set(*register, 0xffff_ffff), Ok(()));
            assert_eq!(id.get(*register), 0);
        }
    }
    let others = [(1, 3), (3, 3), (3, 5), (3, 7)];
    for (crm, op2) in others {
        let register = Encoding::new(3, 0, 0, crm, op2);
        assert_eq!(vm().set(register, 1), Err(Error::Inval));
        assert_eq!(vm().set(register, 0), Ok(()));
    }
}
