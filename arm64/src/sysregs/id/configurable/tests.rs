//! The vectors of the series' own unit tests (requirements 4.5 and 4.8), and what its selftest checks.

use super::super::OptIns;
use super::fields::FIELDS;
use super::*;
use crate::machine::Proposals;
use crate::sysregs::models::NEOVERSE_N1;

fn vcpu() -> IdRegisters {
    let id = IdRegisters::new(&NEOVERSE_N1, Proposals::ID_REG_CONFIGURABLE);
    id.initialise(OptIns::empty());
    id
}

/// Section 4.8, "check one": by type, value and limit; IDR-16.
#[test]
fn each_check_allows_what_it_allows() {
    use Check::*;
    for (check, value, limit, allowed) in [
        (LowerSafe, 0, 0, true),
        (LowerSafe, -1, -1, true),
        (LowerSafe, 1, 1, true),
        (LowerSafe, 1, 2, true),
        (LowerSafe, -1, 0, true),
        (LowerSafe, 2, 1, false),
        (LowerSafe, -1, -2, false),
        (HigherSafe, 0, 0, true),
        (HigherSafe, -1, -1, true),
        (HigherSafe, 1, 1, true),
        (HigherSafe, 2, 1, true),
        (HigherSafe, -1, -2, true),
        (HigherSafe, 1, 2, false),
        (HigherSafe, -1, 0, false),
        (HigherOrZeroSafe, 0, 0, true),
        (HigherOrZeroSafe, 2, 1, true),
        (HigherOrZeroSafe, -1, -2, true),
        (HigherOrZeroSafe, 0, 2, true),
        (HigherOrZeroSafe, 1, 2, false),
        (HigherOrZeroSafe, -1, 0, false),
        (Exact, 1, 1, true),
        (Exact, 0, 1, false),
        (Exact, 2, 1, false),
        (ExactOrZeroSafe, 0, 2, true),
        (ExactOrZeroSafe, 2, 2, true),
        (ExactOrZeroSafe, 1, 2, false),
        (Ignore, 5, 1, true),
        (Ignore, -1, 0, true),
    ] {
        assert_eq!(
            check.allows(value, limit),
            allowed,
            "{check:?} {value} {limit}"
        );
    }
}

/// Section 4.8, "check features": at either end of the register, with either sign; IDR-16, IDR-17.
#[test]
fn fields_are_found_at_both_ends_and_extended_by_their_sign() {
    for shift in [0, 60] {
        for (check, signed, value, limit, fits) in [
            (Check::LowerSafe, false, 1, 0xf, true),
            (Check::LowerSafe, true, 1, 0xf, false),
            (Check::HigherSafe, false, 1, 0xf, false),
            (Check::HigherSafe, true, 1, 0xf, true),
        ] {
            let of = |low| {
                if low == shift {
                    (check, signed)
                } else {
                    (Check::LowerSafe, false)
                }
            };
            assert_eq!(within(value << shift, limit << shift, of), fits);
            assert!(within(limit << shift, limit << shift, of));
            // A field that nobody has described.
            assert!(!within(value << shift | 1 << 32, limit << shift, of));
        }
    }
}

fn outcome(register: Encoding, values: &[(&Field, u64)], asked: Asked) -> Result<(), Error> {
    let value = values
        .iter()
        .fold(0, |register, (field, value)| field.set(register, *value));
    rule(register, value, 0, asked)
}

fn asked(opt_ins: OptIns) -> Asked {
    Asked {
        opt_ins,
        gic_v3: false,
    }
}

const NONE: Asked = Asked {
    opt_ins: OptIns::empty(),
    gic_v3: false,
};

/// Section 4.8, ID_AA64PFR0_EL1 and ID_AA64PFR1_EL1; IDR-22, IDR-24.
#[test]
fn processor_features_agree_with_each_other_and_with_what_was_asked_for() {
    use super::fields::{PFR0_ADVSIMD, PFR0_FP, PFR0_GIC, PFR0_SVE, PFR1_MTE};
    let at = registers::ID_AA64PFR0;
    let sve = asked(OptIns::SVE);
    let gic = Asked {
        gic_v3: true,
        ..NONE
    };
    for (values, asked, expected) in [
        (&[][..], NONE, Ok(())),
        (&[(&PFR0_FP, 1)], NONE, Err(Error::Inval)),
        (&[(&PFR0_ADVSIMD, 1)], NONE, Err(Error::Inval)),
        (&[(&PFR0_FP, 0xf), (&PFR0_ADVSIMD, 0xf)], NONE, Ok(())),
        (&[(&PFR0_SVE, 1)], NONE, Err(Error::Perm)),
        (&[(&PFR0_SVE, 1)], sve, Ok(())),
        (&[], sve, Err(Error::Perm)),
        (
            &[(&PFR0_SVE, 1), (&PFR0_FP, 0xf), (&PFR0_ADVSIMD, 0xf)],
            sve,
            Err(Error::Inval),
        ),
        (&[(&PFR0_GIC, 1)], NONE, Err(Error::Perm)),
        (&[(&PFR0_GIC, 1)], gic, Ok(())),
        (&[], gic, Err(Error::Perm)),
    ] {
        assert_eq!(outcome(at, values, asked), expected, "{values:?}");
    }
    let at = registers::ID_AA64PFR1;
    let mte = asked(OptIns::MTE);
    assert_eq!(outcome(at, &[(&PFR1_MTE, 1)], NONE), Err(Error::Perm));
    assert_eq!(outcome(at, &[], mte), Err(Error::Perm));
    assert_eq!(outcome(at, &[(&PFR1_MTE, 2)], mte), Ok(()));
}

/// Section 4.8, ID_AA64ISAR0_EL1.
#[test]
fn hashes_come_in_the_combinations_that_there_are() {
    use super::fields::{ISAR0_SHA1, ISAR0_SHA2, ISAR0_SHA3, ISAR0_SM3, ISAR0_SM4};
    let outcome = |values: &[(&Field, u64)]| outcome(registers::ID_AA64ISAR0, values, NONE);
    for (sm3, sm4) in [(0, 0), (1, 1), (0, 1), (1, 0), (2, 1)] {
        let expected = if sm3 == sm4 {
            Ok(())
        } else {
            Err(Error::Inval)
        };
        assert_eq!(outcome(&[(&ISAR0_SM3, sm3), (&ISAR0_SM4, sm4)]), expected);
    }
    for (sha1, sha2, sha3, fits) in [
        (1, 0, 0, false),
        (0, 1, 0, false),
        (1, 1, 0, true),
        (1, 2, 0, false),
        (1, 1, 1, false),
        (1, 2, 1, true),
        (1, 1, 2, true),
        (3, 3, 3, true),
        (0, 0, 2, false),
    ] {
        let expected = if fits { Ok(()) } else { Err(Error::Inval) };
        let values = [
            (&ISAR0_SHA1, sha1),
            (&ISAR0_SHA2, sha2),
            (&ISAR0_SHA3, sha3),
        ];
        assert_eq!(outcome(&values), expected, "{sha1} {sha2} {sha3}");
    }
}

/// Section 4.8, ID_AA64ISAR1_EL1: one algorithm for addresses and one for data, or none.
#[test]
fn pointer_authentication_has_one_algorithm_of_each_kind() {
    use super::fields::{ISAR1_APA, ISAR1_API, ISAR1_GPA, ISAR1_GPI};
    let all = [&ISAR1_APA, &ISAR1_API, &ISAR1_GPA, &ISAR1_GPI];
    for bits in 0..16u64 {
        let values: Vec<_> = (0..4).map(|n| (all[n], bits >> n & 1)).collect();
        let (address, generic) = (bits & 3, bits >> 2);
        let with = match (address, generic) {
            (3, _) | (_, 3) => Err(Error::Inval),
            (0, _) | (_, 0) => Err(Error::Perm),
            _ => Ok(()),
        };
        let at = registers::ID_AA64ISAR1;
        assert_eq!(
            outcome(at, &values, asked(OptIns::PTRAUTH)),
            with,
            "{bits:#b}"
        );
        let without = match (address, generic) {
            (3, _) | (_, 3) => Err(Error::Inval),
            (0, 0) => Ok(()),
            _ => Err(Error::Perm),
        };
        assert_eq!(outcome(at, &values, NONE), without, "{bits:#b}");
    }
}

/// Section 4.8, ID_AA64DFR0_EL1, ID_DFR0_EL1 and MVFR1_EL1.
#[test]
fn debug_and_monitors_agree() {
    use super::fields::{DFR0_BRPS, DFR0_CTX_CMPS, DFR0_PMUVER};
    let at = registers::ID_AA64DFR0;
    let pmu = asked(OptIns::PMU);
    for (values, asked, expected) in [
        (&[(&DFR0_CTX_CMPS, 1), (&DFR0_BRPS, 1)][..], NONE, Ok(())),
        (
            &[(&DFR0_CTX_CMPS, 2), (&DFR0_BRPS, 1)],
            NONE,
            Err(Error::Inval),
        ),
        (&[(&DFR0_PMUVER, 0xf)], NONE, Ok(())),
        (&[(&DFR0_PMUVER, 1)], NONE, Err(Error::Perm)),
        (&[(&DFR0_PMUVER, 1)], pmu, Ok(())),
        (&[], pmu, Err(Error::Perm)),
    ] {
        assert_eq!(outcome(at, values, asked), expected, "{values:?}");
    }
    for (perf_mon, asked, expected) in [
        (0, NONE, Ok(())),
        (1, pmu, Err(Error::Inval)),
        (2, NONE, Err(Error::Inval)),
        (3, NONE, Err(Error::Perm)),
        (3, pmu, Ok(())),
        (0xf, pmu, Err(Error::Perm)),
    ] {
        let value = perf_mon << 24;
        assert_eq!(
            rule(registers::ID_DFR0, value, 0, asked),
            expected,
            "{perf_mon}"
        );
    }
    for (fphp, simdhp, fits) in [
        (0, 0, true),
        (2, 1, true),
        (3, 2, true),
        (1, 1, false),
        (2, 2, false),
        (3, 3, false),
        (0xf, 0xf, false),
    ] {
        let expected = if fits { Ok(()) } else { Err(Error::Inval) };
        let value = fphp << 24 | simdhp << 20;
        assert_eq!(rule(registers::MVFR1, value, 0, NONE), expected);
    }
}

/// Section 4.5: stage 2, its limit, stage 1, its limit.
#[test]
fn granules_of_stage_2() {
    let fits = |field: &Field, (t2, t2_limit, t1, t1_limit): (u64, u64, i64, i64)| {
        let register = |t2: u64, t1: i64| t2 << field.low | (t1 as u64 & 0xf) << (field.low - 12);
        stage_2_granule(field, register(t2, t1), register(t2_limit, t1_limit))
    };
    for field in [&fields::MMFR0_TGRAN4_2, &fields::MMFR0_TGRAN64_2] {
        for (vector, expected) in [
            ((2, 2, 0, 0), true),
            ((2, 1, 0, 0), false),
            ((1, 2, 0, 0), true),
            ((0, 0, 0, 0), true),
            ((0, 1, -1, 0), true),
            ((0, 1, 0, 0), false),
            ((0, 2, -1, 0), true),
            ((0, 2, 1, 0), false),
            ((1, 0, 0, -1), true),
            ((1, 0, 0, 0), true),
            ((2, 0, 0, -1), false),
            ((2, 0, 0, 0), true),
            ((2, 0, 0, 2), true),
        ] {
            assert_eq!(fits(field, vector), expected, "{} {vector:?}", field.name);
        }
    }
    for (vector, expected) in [
        ((2, 2, 0, 0), true),
        ((2, 1, 0, 0), false),
        ((1, 2, 0, 0), true),
        ((0, 0, 0, 0), true),
        ((0, 1, 0, 0), true),
        ((0, 1, 1, 0), false),
        ((0, 2, 0, 0), true),
        ((0, 2, 2, 0), false),
        ((1, 0, 0, 0), true),
        ((1, 0, 0, 1), true),
        ((2, 0, 0, 0), false),
        ((2, 0, 0, 1), true),
        ((2, 0, 0, 2), true),
    ] {
        assert_eq!(
            fits(&fields::MMFR0_TGRAN16_2, vector),
            expected,
            "{vector:?}"
        );
    }
}

/// IDR-40 to IDR-43: value and limit of the field that is refined, and of its fraction.
#[test]
fn fractions() {
    for main in [(1, 2), (2, 2)] {
        for fraction in [(0, 1), (1, 1), (2, 1)] {
            let expected = main != (2, 2) || fraction != (2, 1);
            assert_eq!(
                fraction_fits(main, fraction),
                expected,
                "{main:?} {fraction:?}"
            );
        }
    }
    let kvm = IdRegisters::new(&NEOVERSE_N1, Proposals::empty());
    assert!(kvm.fractions_fit());
    // Set in any order; the first run looks at them.
    let id = vcpu();
    let pfr1 = id.get(registers::ID_AA64PFR1);
    assert!(id.fractions_fit());
    let refined = fields::PFR1_RAS_FRAC.set(pfr1, 1);
    assert_eq!(id.set(registers::ID_AA64PFR1, refined), Ok(()));
    assert!(!id.fractions_fit());
    let pfr0 = id.get(registers::ID_AA64PFR0);
    let lower = fields::PFR0_RAS.set(pfr0, 0);
    assert_eq!(id.set(registers::ID_AA64PFR0, lower), Ok(()));
    assert!(id.fractions_fit());
    let higher = fields::PFR0_RAS.set(pfr0, 2);
    assert_eq!(id.set(registers::ID_AA64PFR0, higher), Err(Error::TooBig));
}

/// The series' id_reg_test: each of the 56 registers can be cleared and restored (IDR-1, IDR-6); one
/// above a limit is E2BIG and changes nothing (IDR-7, IDR-9); after the first run only the same
/// value is taken, and another is EINVAL (IDR-8).
#[test]
fn every_register_can_be_cleared_and_restored() {
    let id = vcpu();
    let all = (0..super::super::COUNT - 1).map(super::super::encoding);
    for register in all.clone() {
        let initial = id.get(register);
        assert_eq!(id.set(register, 0), Ok(()), "{register:?}");
        assert_eq!(id.get(register), 0);
        assert_eq!(id.set(register, initial), Ok(()), "{register:?}");
        if !known(register, OptIns::empty()) {
            assert_eq!(id.set(register, 1), Err(Error::Inval), "{register:?}");
        }
        assert_eq!(id.get(register), initial);
    }
    for field in FIELDS {
        let register = field.register;
        if field.check != Check::LowerSafe || !known(register, OptIns::empty()) {
            continue;
        }
        let limit = id.limit(register, OptIns::empty());
        let above = field.number(field.get(limit)) + 1;
        if above < 8 {
            let value = field.set(id.get(register), above as u64);
            assert_eq!(id.set(register, value), Err(Error::TooBig), "{field:?}");
        }
    }
    id.freeze();
    for register in all {
        let value = id.get(register);
        assert_eq!(id.set(register, value), Ok(()), "{register:?}");
        if known(register, OptIns::empty()) && value != 0 {
            assert_eq!(id.set(register, 0), Err(Error::Inval), "{register:?}");
        }
    }
}

/// IDR-3, IDR-18: the initial value is the limit without what was not asked for; a later initialisation keeps
/// what was written. The series presents Armv8.0 debugging, and no GIC without the device.
#[test]
fn initial_values_are_limits_less_what_was_not_asked_for() {
    let id = vcpu();
    assert_eq!(id.field(&fields::DFR0_DEBUGVER), 6);
    assert_eq!(id.field(&fields::DFR0_PMUVER), 0);
    assert_eq!(id.field(&fields::PFR0_GIC), 0);
    assert_eq!(id.field(&fields::PFR0_EL2), 1);
    let isar0 = registers::ID_AA64ISAR0;
    let lower = fields::ISAR0_ATOMIC.set(id.get(isar0), 0);
    assert_eq!(id.set(isar0, lower), Ok(()));
    id.initialise(OptIns::empty());
    assert_eq!(id.get(isar0), lower);
}

/// IDR-33: without AArch32 at EL0, the AArch32 registers need not agree with what was asked for.
#[test]
fn aarch32_registers_of_a_cpu_without_aarch32_are_not_compared() {
    let id = IdRegisters::new(&NEOVERSE_N1, Proposals::ID_REG_CONFIGURABLE);
    id.initialise(OptIns::PMU);
    assert_eq!(id.set(registers::ID_DFR0, 0), Ok(()));
    assert_eq!(id.set(registers::ID_DFR0, 3 << 24), Err(Error::TooBig));
}
