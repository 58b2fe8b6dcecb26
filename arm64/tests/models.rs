//! The ID registers of the models that the reference KVM has run on, beside `neoverse-n1`, compared
//! with what it read and would take there: `data/cortex-*.txt`, whose heads say how to read them.
//! Only a model's own differences are let pass.
//!
//! Proves IDR-1, IDR-7 to IDR-9, IDR-16, IDR-19, IDR-30.

use std::sync::Arc;
use understudy_abi::arm64::{VcpuFeatures, reg};
use understudy_arm64::machine::{Machine, Model, Settings};
use understudy_arm64::sysregs::id::fields::{self, Field};
use understudy_arm64::sysregs::user::{self, Error};
use understudy_arm64::sysregs::{Encoding, id};
use understudy_arm64::vcpu::Vcpu;
use understudy_memory::{GuestMemory, Limits};

const MODELS: &[(&str, &str)] = &[
    ("cortex-a72", include_str!("data/cortex-a72.txt")),
    ("cortex-a76", include_str!("data/cortex-a76.txt")),
    ("max", include_str!("data/max.txt")),
];

/// Where our `max` is another CPU than QEMU's: what each has that the other has not.
const MAX_DIFFERS: &[(Field, u64, &str)] = &[
    (fields::PFR0_SEL2, 0, "there is no Secure state"),
    (fields::PFR0_RAS, 1, "there are no error records"),
    (fields::PFR0_EL2, 1, "no AArch32 state"),
    (fields::PFR0_EL1, 1, "no AArch32 state"),
    (fields::PFR0_EL0, 1, "no AArch32 state"),
    (fields::DFR0_DEBUGVER, 8, "DBG-20: v8.2 is the proposal's"),
    (fields::ISAR1_SPECRES, 0, "nothing is predicted"),
    (fields::ISAR2_CSSC, 1, "QEMU 7.2 does not have it"),
    (fields::ISAR2_BC, 1, "QEMU 7.2 does not have it"),
    (fields::ISAR2_MOPS, 1, "QEMU 7.2 does not have it"),
    (fields::ISAR2_WFXT, 2, "QEMU 7.2 does not have it"),
    (fields::MMFR0_ECV, 1, "QEMU 7.2 does not have it"),
    (fields::MMFR0_TGRAN4_2, 0, "as TGran4"),
    (fields::MMFR0_TGRAN64_2, 0, "as TGran64"),
    (fields::MMFR0_TGRAN16_2, 0, "as TGran16"),
    (fields::MMFR0_TGRAN4, 0, "no 52-bit addresses"),
    (fields::MMFR0_TGRAN16, 1, "no 52-bit addresses"),
    (fields::MMFR0_SNSMEM, 0, "there is no Secure state"),
    (fields::MMFR0_PARANGE, 5, "no 52-bit addresses"),
    (fields::MMFR1_PAN, 3, "QEMU 7.2 does not have EPAN"),
    (
        fields::MMFR1_HPDS,
        2,
        "QEMU 7.2 has no hints of the page's attributes, which are ignored",
    ),
    (fields::MMFR1_HCX, 0, "there is no EL2"),
    (fields::MMFR2_FWB, 0, "there is no stage 2"),
    (
        fields::MMFR2_IDS,
        0,
        "KVM's handling of ID registers is EL2's, which is not there",
    ),
    (fields::MMFR2_VARANGE, 0, "no 52-bit addresses"),
];

/// The fields whose values here are not the reference's, and what they are.
fn differences(name: &str) -> Vec<(Field, u64)> {
    let model = Model::by_name(name).expect("it comes with Understudy");
    let own = model.registers().differences.iter();
    let own = own.map(|row| (row.field, row.ours));
    let max = MAX_DIFFERS.iter().filter(|_| name == "max");
    own.chain(max.map(|(field, ours, _)| (*field, *ours)))
        .collect()
}

fn facts<'a>(text: &'a str, kind: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    let lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    lines.filter(move |words| words[0] == kind)
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .unwrap_or_else(|_| panic!("a number: {text}"))
}

fn register(text: &str) -> Encoding {
    let parts: Vec<u16> = text.split('.').map(|part| part.parse().unwrap()).collect();
    Encoding::new(parts[0], parts[1], parts[2], parts[3], parts[4])
}

fn vcpu(model: &str) -> Vcpu {
    let memory = Arc::new(GuestMemory::new(Limits::arm64(40)));
    let settings = Settings {
        model: Model::by_name(model).expect("it comes with Understudy"),
        ..Settings::default()
    };
    let machine = Machine::new(memory, settings);
    let mut vcpu = Vcpu::new(&machine, 0);
    assert!(machine.fix_features(VcpuFeatures::PSCI_0_2));
    vcpu.init(VcpuFeatures::PSCI_0_2);
    vcpu
}

#[test]
fn values_and_masks_are_the_references() {
    for (name, text) in MODELS {
        let vcpu = vcpu(name);
        let machine = vcpu.machine();
        let mut compared = 0;
        for words in facts(text, "value") {
            let register = register(words[1]);
            let mut value = number(words[2]);
            for (field, ours) in differences(name) {
                if field.register == register {
                    assert_ne!(
                        field.get(value),
                        ours,
                        "{name} {} is no difference",
                        field.name
                    );
                    value = field.set(value, ours);
                }
            }
            let ours = user::get(vcpu.cpu(), user::id_of(register));
            assert_eq!(ours, Ok(value), "{name} {}", words[1]);
            compared += 1;
        }
        assert!(compared > 35, "{compared}");
        let masks = machine.id.writable_masks();
        let mut theirs = [0; id::MASKS];
        for words in facts(text, "mask") {
            theirs[id::mask_index(register(words[1]))] = number(words[2]);
        }
        assert_eq!(masks, theirs, "{name}");
        for words in facts(text, "firmware") {
            let ssbs = machine.id.field(&id::fields::PFR1_SSBS) != 0;
            let ours = machine.firmware_register(reg::fw_reg(number(words[1]) as u16), ssbs);
            assert_eq!(ours, Some(number(words[2])), "{name} {}", words[1]);
        }
    }
}

#[test]
fn limits_are_the_references() {
    for (name, text) in MODELS {
        for phase in ["before", "after"] {
            let mut vcpu = vcpu(name);
            if phase == "after" {
                vcpu.first_run().unwrap();
            }
            let mut compared = 0;
            for words in facts(text, "set").filter(|words| words[1] == phase) {
                let register = register(words[2]);
                let old = user::get(vcpu.cpu(), user::id_of(register)).expect("listed");
                for low in words[3].split(',').map(number) {
                    // A field that is 0 here has no less to try.
                    let gone = differences(name).iter().any(|(field, ours)| {
                        let there = field.register == register;
                        there && u64::from(field.low) == low && (*ours == 0 || *name == "max")
                    });
                    if gone {
                        continue;
                    }
                    let field = old >> low & 0xf;
                    let mut tried = vec![field.wrapping_sub(1), 0, field + 1];
                    if field == 0 {
                        tried.remove(1);
                    }
                    assert_eq!(tried.len(), words[4..].len(), "{name} {} {low}", words[2]);
                    for (value, want) in tried.into_iter().zip(&words[4..]) {
                        let value = old & !(0xf << low) | (value & 0xf) << low;
                        let got = write(&mut vcpu, register, old, value);
                        assert_eq!(got, *want, "{name} {phase} {} [{low}] {value:#x}", words[2]);
                        compared += 1;
                    }
                }
            }
            assert!(compared > 1000, "{compared}");
        }
    }
}

/// What a write gives, as the facts spell it; the old value is restored.
fn write(vcpu: &mut Vcpu, register: Encoding, old: u64, value: u64) -> String {
    let id = user::id_of(register);
    let result = user::set(vcpu.cpu_mut(), id, value);
    let now = user::get(vcpu.cpu(), id).expect("readable");
    let left = result.is_ok() && now == old && value != old;
    let kept = if result.is_ok() && !left { value } else { old };
    assert_eq!(now, kept, "{register}");
    if now != old {
        user::set(vcpu.cpu_mut(), id, old).expect("the old value can be restored");
    }
    match result {
        Ok(()) if left => ".=",
        Ok(()) => ".",
        Err(Error::Inval) => "I",
        Err(Error::Busy) => "B",
        Err(Error::NoEnt) => "N",
        Err(Error::Perm) => "P",
        Err(Error::TooBig) => "2",
    }
    .to_string()
}
