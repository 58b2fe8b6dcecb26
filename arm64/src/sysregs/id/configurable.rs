//! The proposal `arm64-id-reg-configurable` (requirements, section 4, the columns of RFC v3): ID
//! registers of each vCPU, every field of which can be lowered, and checked for sense.
//!
//! ```text
//!   KVM_SET_ONE_REG ─► run already? another value: EINVAL
//!          │
//!          ├─► sixteen fields, each by its Check against the limit      E2BIG
//!          ├─► the register's rule: fields against each other           EINVAL
//!          └─►                      fields against what was asked for   EPERM
//!
//!   first KVM_RUN ───► fractional fields against the fields they refine EPERM
//! ```
//!
//! The limits are the host's values, as far as the software CPU has what they say; what a vCPU has to
//! ask for is in the limit, but not in the initial value.

use super::fields::{self, Check, Field, OptIns, registers};
use super::{Encoding, IdRegisters, State, attainable, fields_of, is_aarch32};
use crate::sysregs::models::Model;
use crate::sysregs::user::Error;

/// The series presents Armv8.0 debugging.
const DEBUG_VERSION: u64 = 6;

/// The highest value that a field can have.
pub(super) fn field_limit(model: &Model, field: &Field, exposed_debug: bool) -> u64 {
    let limit = attainable(model, field);
    if *field == fields::DFR0_DEBUGVER && !exposed_debug {
        return limit.min(DEBUG_VERSION);
    }
    limit
}

/// Whether the series knows the register. The others read as zero and take nothing else (IDR-7).
fn known(register: Encoding, opt_ins: OptIns) -> bool {
    match register {
        registers::ID_AA64ZFR0 => opt_ins.contains(OptIns::SVE),
        registers::ID_AA64PFR0
        | registers::ID_AA64PFR1
        | registers::ID_AA64DFR0
        | registers::ID_AA64DFR1
        | registers::ID_AA64ISAR0
        | registers::ID_AA64ISAR1
        | registers::ID_AA64MMFR0
        | registers::ID_AA64MMFR1
        | registers::ID_AA64MMFR2 => true,
        other => is_aarch32(other),
    }
}

/// How the four bits from `low` on are checked, and whether they are signed. Bits that are in no row
/// of the table are checked like a field, too (IDR-17).
fn check_of(register: Encoding, low: u32) -> (Check, bool) {
    if let Some(field) = fields_of(register).find(|field| field.low == low) {
        return (field.check, field.signed);
    }
    // InnerShr and OuterShr.
    let signed = register == registers::ID_MMFR0 && matches!(low, 28 | 8);
    (Check::LowerSafe, signed)
}

fn number(nibble: u64, signed: bool) -> i64 {
    let nibble = (nibble & 0xf) as i64;
    if signed { nibble << 60 >> 60 } else { nibble }
}

/// Whether every field of `value` is one that `limit` allows (IDR-16, IDR-17).
pub(super) fn within(value: u64, limit: u64, check: impl Fn(u32) -> (Check, bool)) -> bool {
    (0..64).step_by(4).all(|low| {
        let (check, signed) = check(low);
        check.allows(number(value >> low, signed), number(limit >> low, signed))
    })
}

/// What a vCPU has asked for, and its VM.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) opt_ins: OptIns,
    pub(super) gic_v3: bool,
}

/// KVM_SET_ONE_REG of a register that is `old`: whether it can become `value`.
pub(super) fn check(
    id: &IdRegisters,
    state: &State,
    register: Encoding,
    old: u64,
    value: u64,
) -> Result<(), Error> {
    if state.frozen && value != old {
        return Err(Error::Inval);
    }
    let asked = Asked {
        opt_ins: state.opt_ins.unwrap_or_default(),
        gic_v3: state.gic_v3,
    };
    if register == registers::CTR || !known(register, asked.opt_ins) {
        return if value == old {
            Ok(())
        } else {
            Err(Error::Inval)
        };
    }
    let limit = id.limit(register, asked.opt_ins);
    if !within(value, limit, |low| check_of(register, low)) {
        return Err(Error::TooBig);
    }
    if is_aarch32(register) && !id.aarch32_at_el0() {
        // What they would have to agree with is not theirs (IDR-33).
        return Ok(());
    }
    rule(register, value, limit, asked)
}

/// EINVAL if a condition of the architecture does not hold.
fn consistent(condition: bool) -> Result<(), Error> {
    if condition { Ok(()) } else { Err(Error::Inval) }
}

/// EPERM if a field contradicts what was asked for.
fn as_asked(condition: bool) -> Result<(), Error> {
    if condition { Ok(()) } else { Err(Error::Perm) }
}

/// The register's own rule (requirements 4.4), after its fields have been checked.
pub(super) fn rule(register: Encoding, value: u64, limit: u64, asked: Asked) -> Result<(), Error> {
    let get = |field: &Field| field.get(value);
    let signed = |field: &Field| field.number(field.get(value));
    let has = |opt_in| asked.opt_ins.contains(opt_in);
    match register {
        registers::ID_AA64PFR0 => {
            let (fp, simd) = (signed(&fields::PFR0_FP), signed(&fields::PFR0_ADVSIMD));
            let sve = get(&fields::PFR0_SVE) != 0;
            consistent(fp == simd && (!sve || fp >= 0))?;
            as_asked(sve == has(OptIns::SVE))?;
            as_asked((get(&fields::PFR0_GIC) != 0) == asked.gic_v3)
        }
        registers::ID_AA64PFR1 => as_asked((get(&fields::PFR1_MTE) != 0) == has(OptIns::MTE)),
        registers::ID_AA64DFR0 => {
            consistent(get(&fields::DFR0_CTX_CMPS) <= get(&fields::DFR0_BRPS))?;
            let pmu = !matches!(get(&fields::DFR0_PMUVER), 0 | 0xf);
            as_asked(pmu == has(OptIns::PMU))
        }
        registers::ID_AA64ISAR0 => {
            let (sha1, sha2) = (get(&fields::ISAR0_SHA1), get(&fields::ISAR0_SHA2));
            let sha3 = get(&fields::ISAR0_SHA3);
            consistent(
                get(&fields::ISAR0_SM3) == get(&fields::ISAR0_SM4)
                    && (sha1 == 0) == (sha2 == 0)
                    && (sha2 == 2) == (sha3 == 1)
                    && (sha3 == 0 || sha1 != 0),
            )
        }
        registers::ID_AA64ISAR1 => {
            let is = |field| get(field) != 0;
            let (apa, api) = (is(&fields::ISAR1_APA), is(&fields::ISAR1_API));
            let (gpa, gpi) = (is(&fields::ISAR1_GPA), is(&fields::ISAR1_GPI));
            consistent(!(apa && api || gpa && gpi))?;
            let (address, generic) = (apa || api, gpa || gpi);
            as_asked(address == generic && address == has(OptIns::PTRAUTH))
        }
        registers::ID_AA64MMFR0 => {
            let granules = [
                &fields::MMFR0_TGRAN4_2,
                &fields::MMFR0_TGRAN64_2,
                &fields::MMFR0_TGRAN16_2,
            ];
            let fits = granules
                .iter()
                .all(|field| stage_2_granule(field, value, limit));
            if fits { Ok(()) } else { Err(Error::TooBig) }
        }
        registers::ID_DFR0 => {
            let perf_mon = value >> 24 & 0xf;
            consistent(!matches!(perf_mon, 1 | 2))?;
            as_asked((!matches!(perf_mon, 0 | 0xf)) == has(OptIns::PMU))
        }
        registers::MVFR1 => consistent(matches!(value >> 20 & 0xff, 0x00 | 0x21 | 0x32)),
        _ => Ok(()),
    }
}

/// Whether a granule's field for stage 2 is within its limit (requirements 4.5). 0 in it refers to the
/// granule's field for stage 1, which is twelve bits below.
fn stage_2_granule(field: &Field, value: u64, limit: u64) -> bool {
    let stage_1 = |register: u64| {
        let nibble = register >> (field.low - 12);
        if *field == fields::MMFR0_TGRAN16_2 {
            number(nibble, false) + 1
        } else {
            number(nibble, true) + 2
        }
    };
    let (wanted, most) = (field.get(value) as i64, field.get(limit) as i64);
    match (wanted, most) {
        (0, 0) => true,
        (0, most) => stage_1(value) <= most,
        (wanted, 0) => wanted <= stage_1(limit),
        (wanted, most) => wanted <= most,
    }
}

/// The fields that refine another: IDR-40.
const FRACTIONS: [(&Field, &Field); 3] = [
    (&fields::PFR0_RAS, &fields::PFR1_RAS_FRAC),
    (&fields::PFR0_MPAM, &fields::PFR1_MPAM_FRAC),
    (&fields::PFR0_CSV2, &fields::PFR1_CSV2_FRAC),
];

/// Whether a fractional field is what its limit allows: any value where the field that it refines is
/// below its own limit (IDR-41). Each pair is value and limit.
pub(super) const fn fraction_fits(main: (u64, u64), fraction: (u64, u64)) -> bool {
    main.0 != main.1 || fraction.0 <= fraction.1
}

impl IdRegisters {
    /// The check of the first KVM_RUN, which fails with EPERM where it says false (IDR-41). Always
    /// true without the proposal (IDR-43).
    pub fn fractions_fit(&self) -> bool {
        let opt_ins = self.state().opt_ins.unwrap_or_default();
        let pair = |field: &Field| {
            let limit = field.get(self.limit(field.register, opt_ins));
            (self.field(field), limit)
        };
        !self.configurable()
            || FRACTIONS
                .iter()
                .all(|(main, fraction)| fraction_fits(pair(main), pair(fraction)))
    }
}

#[cfg(test)]
mod tests;
