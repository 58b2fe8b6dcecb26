//! What EL2 traps: KVM's HCR_EL2, MDCR_EL2 and fine-grained trap registers, as one value.
//!
//! A software CPU has no EL2 to program. What those registers decide, and a guest or its debugger
//! can see, is two things for each group of accesses: whether it is UNDEFINED, because the VM's ID
//! registers do not offer what it belongs to, and whether KVM emulates it, which shows while user
//! space steps the guest (the exception's syndrome then has ISV clear).

use super::id::fields::Field;
use super::id::{IdRegisters, fields};
use crate::Cpu;
use crate::debug::os_lock;
use bitflags::bitflags;

bitflags! {
    /// Groups of system register accesses and system instructions that are trapped together. The
    /// names are those of the controls in Arm ARM D23.2 and D23.3.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Accesses: u32 {
        /// REVIDR_EL1 and AIDR_EL1.
        const TID1 = 1 << 0;
        /// CTR_EL0, CCSIDR_EL1, CLIDR_EL1 and CSSELR_EL1.
        const TID2 = 1 << 1;
        /// The ID registers with CRn 0 and CRm 1 to 7.
        const TID3 = 1 << 2;
        /// ACTLR_EL1.
        const TACR = 1 << 3;
        /// Cache maintenance by set and way.
        const TSW = 1 << 4;
        /// Writes to the registers that control translation.
        const TVM = 1 << 5;
        /// The LORegion registers.
        const TLOR = 1 << 6;
        /// The error record registers.
        const TERR = 1 << 7;
        /// Breakpoint, watchpoint and other debug registers.
        const TDA = 1 << 8;
        /// OS Lock, OS Double Lock and powerdown control.
        const TDOSA = 1 << 9;
        /// The debug ROM address.
        const TDRA = 1 << 10;
        /// TLB maintenance for the Outer Shareable domain.
        const TTLBOS = 1 << 11;
        /// TLB maintenance by range of addresses.
        const TLBIRANGE = 1 << 12;
        /// AT S1E1RP and AT S1E1WP.
        const ATS1E1P = 1 << 13;
        /// TCR2_EL1.
        const TCR2 = 1 << 14;
        /// PIR_EL1 and PIRE0_EL1.
        const PIR = 1 << 15;
    }
}

/// What KVM would have EL2 trap while a vCPU runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traps {
    /// Accesses that take the guest to its Undefined Instruction exception (TRAP-5).
    pub undefined: Accesses,
    /// Accesses that KVM emulates.
    pub emulated: Accesses,
}

/// What traps depend on besides the VM's ID registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inputs {
    /// User space debugs the vCPU (KVM_GUESTDBG_ENABLE).
    pub host_debug: bool,
    /// OSLSR_EL1.OSLK.
    pub os_lock: bool,
    /// The guest runs with its caches off, so that KVM watches for it to turn them on.
    pub watch_caches: bool,
}

/// What becomes undefined where the proposal `arm64-id-reg-configurable` has a feature taken away
/// that the host has (requirements section 5, the column of the series).
#[derive(Clone, Copy, Debug)]
struct Removal {
    /// The field that says so.
    field: Field,
    /// Its least value with the feature, sign considered (TRAP-4).
    least: i64,
    /// What EL2 then traps.
    accesses: Accesses,
}

impl Removal {
    /// Whether it is to be trapped, by the host's and the guest's value of the register (TRAP-1).
    fn active(&self, host: u64, guest: u64) -> bool {
        let says = |register| self.field.number(self.field.get(register)) >= self.least;
        host != guest && says(host) && !says(guest)
    }
}

/// The features of the series that the software CPU has. What it does not have (AMU, MTE, PMU, SPE,
/// trace, pointer authentication) is undefined in any case.
const REMOVALS: &[Removal] = &[
    Removal {
        field: fields::PFR0_RAS,
        least: 1,
        accesses: Accesses::TERR,
    },
    Removal {
        field: fields::MMFR1_LO,
        least: 1,
        accesses: Accesses::TLOR,
    },
];

/// What KVM (Linux 6.12) has undefined where a field is less than this (requirements section 5).
const UPSTREAM: &[(Field, i64, Accesses)] = &[
    (fields::MMFR1_LO, 1, Accesses::TLOR),
    (fields::ISAR0_TLB, 1, Accesses::TTLBOS),
    (fields::ISAR0_TLB, 2, Accesses::TLBIRANGE),
    (fields::MMFR1_PAN, 2, Accesses::ATS1E1P),
    (fields::MMFR3_TCRX, 1, Accesses::TCR2),
    (fields::MMFR3_S1PIE, 1, Accesses::PIR),
];

/// The accesses that become undefined when a field is lowered.
pub fn removed_with(field: &Field) -> Accesses {
    let upstream = UPSTREAM.iter().filter(|(of, ..)| of == field);
    let upstream = upstream.map(|(_, _, accesses)| *accesses);
    let series = REMOVALS.iter().filter(|removal| removal.field == *field);
    let series = series.map(|removal| removal.accesses);
    upstream.chain(series).collect()
}

impl Traps {
    /// The traps of a vCPU (requirements section 5, the upstream column; with
    /// `arm64-id-reg-configurable`, the series' column on top).
    pub fn compute(id: &IdRegisters, inputs: Inputs) -> Traps {
        // Accesses that KVM always sees, and that it then emulates unless a line below says that
        // they are undefined.
        let mut emulated = Accesses::TID1
            | Accesses::TID2
            | Accesses::TID3
            | Accesses::TACR
            | Accesses::TSW
            | Accesses::TLOR
            | Accesses::TERR
            | Accesses::TDOSA
            | Accesses::TDRA;
        emulated.set(Accesses::TDA, inputs.host_debug || inputs.os_lock);
        emulated.set(Accesses::TVM, inputs.watch_caches);

        let mut undefined = Accesses::empty();
        for (field, least, accesses) in UPSTREAM {
            undefined.set(*accesses, !id.at_least(field, *least));
        }
        if id.configurable() {
            for removal in REMOVALS {
                let register = removal.field.register;
                undefined.set(
                    removal.accesses,
                    removal.active(id.model().id(register), id.get(register)),
                );
            }
        }
        Traps {
            undefined,
            emulated: emulated.difference(undefined),
        }
    }
}

/// Computes the vCPU's traps anew. To be called whenever something that they depend on has changed:
/// at the first run, when user space starts or stops debugging, and with the OS Lock.
pub fn update(cpu: &mut Cpu) {
    let inputs = Inputs {
        host_debug: cpu.state.debug.user().enable,
        os_lock: os_lock::locked(cpu),
        watch_caches: cpu.state.sys.watch_caches,
    };
    cpu.state.sys.traps = Traps::compute(&cpu.state.id, inputs);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TRAP-4, TRAP-8, without the predicates: descriptors A and C of the series' unit test.
    #[test]
    fn a_feature_that_is_below_its_least_value_is_trapped() {
        let field = |low, signed| Field {
            low,
            signed,
            ..fields::PFR0_RAS
        };
        let a = Removal {
            field: field(60, false),
            least: 2,
            accesses: Accesses::TERR,
        };
        let c = Removal {
            field: field(4, true),
            least: 0,
            accesses: Accesses::TLOR,
        };
        let host = 0x7777_7777_7777_7777;
        for (guest, expected) in [
            (host, (false, false)),
            (1, (true, false)),
            (0, (true, false)),
            (0xf0, (true, true)),
        ] {
            let active = (a.active(host, guest), c.active(host, guest));
            assert_eq!(active, expected, "{guest:#x}");
        }
        // A host without the feature has nothing to trap.
        assert!(!a.active(0, 1));
    }
}
