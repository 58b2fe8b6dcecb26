//! The system registers of the model `neoverse-n1`, compared with what the reference KVM's are:
//! `data/neoverse-n1.txt`, whose head says how to read it. What differs on purpose is in
//! [`DIFFERENCES`], with its reason; a difference that is no longer one fails, too.
//!
//! Proves OSL-3, OSL-4, OSL-6, OSL-7, IDR-1, IDR-3, IDR-5 to IDR-9, IDR-30 to IDR-32, IDR-34.

use std::collections::BTreeSet;
use std::sync::Arc;
use understudy_abi::arm64::VcpuFeatures;
use understudy_arm64::machine::{Machine, Settings};
use understudy_arm64::sysregs::encoding::READ;
use understudy_arm64::sysregs::user::{self, Error};
use understudy_arm64::sysregs::{self, Encoding, Reg, id};
use understudy_arm64::vcpu::Vcpu;
use understudy_arm64::{Arm64, insn};
use understudy_engine::arch::Arch;
use understudy_memory::{GuestMemory, Limits};

const FACTS: &str = include_str!("data/neoverse-n1.txt");

/// Where the guest's MRS gives something else than on the reference.
const DIFFERENCES: &[(&[&str], &str)] = &[
    (
        &["3.0.0.4.0"],
        "ID_AA64PFR0_EL1.EL0 is 1: the software CPU has no AArch32 state",
    ),
    (
        &[
            "3.0.0.1.0",
            "3.0.0.1.1",
            "3.0.0.1.2",
            "3.0.0.1.4",
            "3.0.0.1.5",
            "3.0.0.1.6",
            "3.0.0.1.7",
            "3.0.0.2.0",
            "3.0.0.2.1",
            "3.0.0.2.2",
            "3.0.0.2.3",
            "3.0.0.2.4",
            "3.0.0.2.5",
            "3.0.0.2.6",
            "3.0.0.2.7",
            "3.0.0.3.0",
            "3.0.0.3.1",
            "3.0.0.3.2",
            "3.0.0.3.4",
        ],
        "the AArch32 ID registers are 0, for the same reason",
    ),
    (
        &[
            "2.0.1.4.4",
            "2.0.7.8.6",
            "2.0.7.9.6",
            "2.0.7.14.6",
            "2.3.0.4.0",
            "2.3.0.5.0",
        ],
        "KVM emulates these debug registers; the reference's QEMU does not have them, so that they \
         are undefined before KVM sees them",
    ),
    (
        &[
            "3.0.5.3.1",
            "3.0.5.4.0",
            "3.0.5.4.1",
            "3.0.5.4.2",
            "3.0.5.4.3",
            "3.0.5.5.0",
            "3.0.5.5.1",
        ],
        "KVM emulates the error record registers; the same",
    ),
    (
        &["3.1.0.0.0"],
        "CCSIDR_EL1 of a cache that there is not is UNKNOWN; KVM leaves Xt as it was, here it is 0",
    ),
    (
        &["3.0.4.0.0", "3.0.4.0.1", "3.0.5.2.0", "3.0.12.0.0"],
        "not a register's own: SPSR_EL1, ELR_EL1, ESR_EL1 and VBAR_EL1 hold what the reference's \
         program, and the exceptions that it took, have left there",
    ),
];

/// Lines with this first word, split.
fn facts(kind: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = FACTS
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
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

fn text(encoding: Encoding) -> String {
    let (op0, op1, crn, crm, op2) = (
        encoding.op0(),
        encoding.op1(),
        encoding.crn(),
        encoding.crm(),
        encoding.op2(),
    );
    format!("{op0}.{op1}.{crn}.{crm}.{op2}")
}

/// MRS X0 of this register; MSR and SYS with bit 21 clear.
fn word(encoding: Encoding) -> u32 {
    0xd500_0000 | READ | u32::from(encoding.bits()) << 5
}

fn vcpu() -> Vcpu {
    let memory = Arc::new(GuestMemory::new(Limits::arm64(40)));
    let machine = Machine::new(memory, Settings::default());
    let mut vcpu = Vcpu::new(&machine, 0);
    assert!(machine.fix_features(VcpuFeatures::PSCI_0_2));
    vcpu.init(VcpuFeatures::PSCI_0_2);
    vcpu
}

/// Whether the id is of a system register, or of one behind CSSELR_EL1; the timer's registers, which
/// have ids of system registers, are in the list before those.
fn is_ours(id: u64) -> bool {
    let class = id >> 16 & 0xfff;
    let timer = id & 0xff80 == 0xdf00 && class == 0x13;
    (class == 0x13 || class == 0x11) && !timer
}

fn differs(register: &str) -> bool {
    let mut all = DIFFERENCES
        .iter()
        .flat_map(|(registers, _)| registers.iter());
    all.any(|different| *different == register)
}

#[test]
fn the_list_and_the_reset_values_are_the_references() {
    let vcpu = vcpu();
    let theirs: Vec<(u64, u64)> = facts("list")
        .filter(|words| words[2] != "-")
        .map(|words| (u64::from_str_radix(words[1], 16).unwrap(), words[2]))
        .filter(|(id, _)| is_ours(*id))
        .map(|(id, value)| (id, number(value)))
        .collect();
    let ids: Vec<u64> = theirs.iter().map(|(id, _)| *id).collect();
    assert!(ids.len() > 150);
    assert_eq!(user::list(vcpu.cpu()), ids);
    for (id, value) in theirs {
        let mut value = value;
        if id == user::id_of(register("3.0.0.4.0")) {
            value = value & !0xf | 1;
        }
        assert_eq!(user::get(vcpu.cpu(), id), Ok(value), "{id:#x}");
    }
}

#[test]
fn the_writable_masks_are_the_references() {
    let vcpu = vcpu();
    let masks = vcpu.machine().id.writable_masks();
    let mut theirs = [0; id::MASKS];
    for words in facts("mask") {
        theirs[id::mask_index(register(words[1]))] = number(words[2]);
    }
    assert_eq!(masks, theirs);
}

/// What a write that the reference probed gives here, as the facts spell it.
fn try_write(vcpu: &mut Vcpu, id: u64, value: u64) -> String {
    let old = user::get(vcpu.cpu(), id).expect("readable");
    let result = user::set(vcpu.cpu_mut(), id, value);
    let now = user::get(vcpu.cpu(), id).expect("readable");
    let letter = match result {
        Ok(()) => ".",
        Err(Error::Inval) => "I",
        Err(Error::Busy) => "B",
        Err(Error::NoEnt) => "N",
        Err(Error::Perm) => "P",
        Err(Error::TooBig) => "2",
    };
    let expected = if result.is_ok() { value } else { old };
    let kept = if now == expected {
        String::new()
    } else {
        format!("={now:#x}")
    };
    if now != old {
        user::set(vcpu.cpu_mut(), id, old).expect("the old value can be restored");
        assert_eq!(user::get(vcpu.cpu(), id), Ok(old), "restored");
    }
    letter.to_string() + &kept.replace("=0x0", "=0")
}

fn compare_writes(phase: &str, vcpu: &mut Vcpu) {
    let mut compared = 0;
    for words in facts("set").filter(|words| words[1] == phase) {
        let name = words[2];
        let id = user::id_of(register(name));
        let old = user::get(vcpu.cpu(), id).expect("listed");
        if !differs(name) {
            assert_eq!(old, number(words[3]), "{phase} {name}");
        }
        let probe = |value: u64| (value, ());
        let mut writes = Vec::new();
        match words[4] {
            "same" => writes.push(probe(old)),
            "zero" => writes.push(probe(0)),
            "one" => writes.push(probe(1)),
            "ones" => writes.push(probe(!0)),
            kind if kind.starts_with("bit") => {
                writes.push(probe(old ^ 1 << number(&kind[3..])));
            }
            fields => {
                for low in fields.split(',').map(number) {
                    let field = old >> low & 0xf;
                    let with = |value: u64| old & !(0xf << low) | (value & 0xf) << low;
                    let mut results = words[5..].iter();
                    let values = [field.wrapping_sub(1), 0, field + 1];
                    for (i, value) in values.into_iter().enumerate() {
                        if i == 1 && field == 0 {
                            continue;
                        }
                        let want = *results.next().expect("a result for each");
                        let got = try_write(vcpu, id, with(value));
                        assert_eq!(got, want, "{phase} {name} [{low}] {value:#x}");
                        compared += 1;
                    }
                }
            }
        }
        for (value, ()) in writes {
            let got = try_write(vcpu, id, value);
            assert_eq!(got, words[5], "{phase} {name} {}", words[4]);
            compared += 1;
        }
    }
    assert!(compared > 2000, "{compared}");
}

#[test]
fn writes_before_the_first_run_are_the_references() {
    compare_writes("before", &mut vcpu());
}

#[test]
fn writes_after_the_first_run_are_the_references() {
    let mut vcpu = vcpu();
    vcpu.first_run().unwrap();
    compare_writes("after", &mut vcpu);
}

#[test]
fn absent_registers_are_enoent() {
    let mut vcpu = vcpu();
    let absent: Vec<&str> = facts("absent")
        .flat_map(|words| words[1..].to_vec())
        .collect();
    assert!(absent.len() > 100);
    for name in absent {
        let id = user::id_of(register(name));
        assert_eq!(user::get(vcpu.cpu(), id), Err(Error::NoEnt), "{name}");
        assert_eq!(
            user::set(vcpu.cpu_mut(), id, 0),
            Err(Error::NoEnt),
            "{name}"
        );
    }
    // OSLAR_EL1 and OSDLR_EL1 are the guest's only; malformed ids are nobody's.
    for id in [
        0x6030_0000_0013_8084,
        0x6030_0000_0013_809c,
        0x6020_0000_0013_c080,
        0x6030_0000_1013_c080,
        0x6030_0000_0011_0000,
        0x6020_0000_0011_000e,
        0x6020_0000_0011_0100,
    ] {
        assert_eq!(user::get(vcpu.cpu(), id), Err(Error::NoEnt), "{id:#x}");
        assert_eq!(
            user::set(vcpu.cpu_mut(), id, 0),
            Err(Error::NoEnt),
            "{id:#x}"
        );
    }
}

/// The encodings that the reference's guest has read.
fn probed() -> Vec<Encoding> {
    let mut all = Vec::new();
    let mut add = |op0, op1, crn, crm, op2| all.push(Encoding::new(op0, op1, crn, crm, op2));
    for op1 in 0..4 {
        for place in 0..64 {
            add(3, op1, 0, place >> 3, place & 7);
        }
    }
    for place in 0..128 {
        add(2, 0, 0, place >> 3, place & 7);
    }
    for crm in 0..5 {
        add(2, 0, 1, crm, if crm == 0 { 0 } else { 4 });
    }
    for (op1, crn, crm, op2) in [(0, 7, 8, 6), (0, 7, 9, 6), (0, 7, 14, 6)] {
        add(2, op1, crn, crm, op2);
    }
    for crm in [1, 4, 5] {
        add(2, 3, 0, crm, 0);
    }
    for (op1, crns) in [(0, 1..16), (3, 2..15)] {
        for crn in crns {
            for place in 0..128 {
                if (op1, crn) != (3, 14) || place < 64 {
                    add(3, op1, crn, place >> 3, place & 7);
                }
            }
        }
    }
    for place in 0..32 {
        add(3, 4, 1, place >> 3, place & 7);
    }
    add(3, 6, 1, 1, 0);
    add(3, 5, 1, 0, 0);
    add(3, 7, 14, 2, 1);
    all
}

#[test]
fn the_guest_reads_what_the_references_reads() {
    let mut vcpu = vcpu();
    vcpu.first_run().unwrap();
    let theirs: std::collections::BTreeMap<String, &str> = facts("guest")
        .map(|words| (words[1].to_string(), words[2]))
        .collect();
    let mut different = BTreeSet::new();
    let encodings = probed();
    assert_eq!(encodings.len(), 3950);
    for encoding in encodings {
        let name = text(encoding);
        let cpu = vcpu.cpu_mut();
        let decoded = insn::decode(Arm64::mode(cpu), word(encoding)).def.name;
        let ours = match sysregs::read(cpu, word(encoding)) {
            // Of a feature that the host does not have.
            Ok(_) if decoded == "UDF" => "undefined".to_string(),
            Ok(value) => format!("{value:#x}").replace("0x0", "0"),
            Err(_) => exception(&mut vcpu),
        };
        let want = match theirs.get(&name) {
            Some(&"-") if ours.starts_with("0x") => continue,
            Some(value) => value,
            None => "undefined",
        };
        if ours != want {
            assert!(differs(&name), "{name}: {ours}, on the reference {want}");
            different.insert(name);
        }
    }
    for (registers, reason) in DIFFERENCES {
        for register in *registers {
            assert!(
                different.contains(*register),
                "no longer different: {register} ({reason})"
            );
        }
    }
}

/// Which exception was taken, and the vCPU as before.
fn exception(vcpu: &mut Vcpu) -> String {
    let esr = vcpu.cpu().state.sys[Reg::ESR_EL1];
    let features = vcpu.features().unwrap();
    vcpu.init(features);
    match esr {
        0x0200_0000 => "undefined".to_string(),
        0x1fe0_0000 => "trap".to_string(),
        _ => format!("exception {esr:#x}"),
    }
}

#[test]
fn the_guest_writes_what_the_references_writes() {
    const VALUE: u64 = 0x5555_5555_5555_5554;
    for words in facts("write") {
        let mut vcpu = vcpu();
        vcpu.first_run().unwrap();
        let encoding = register(words[1]);
        let word = word(encoding) & !READ;
        let cpu = vcpu.cpu_mut();
        let result = match encoding.op0() {
            1 => sysregs::sys(cpu, word, VALUE),
            _ => sysregs::write(cpu, word, VALUE),
        };
        let ours = match result {
            Err(_) => exception(&mut vcpu),
            Ok(()) if words[2] == "-" => "-".to_string(),
            Ok(()) => {
                let id = user::id_of(register(words[2]));
                let timer = understudy_arm64::timers::get_one_reg(vcpu.cpu(), id);
                let value = timer.map_or_else(|| user::get(vcpu.cpu(), id), Ok).unwrap();
                format!("{value:#x}").replace("0x0", "0")
            }
        };
        assert_eq!(ours, words[3], "MSR {}", words[1]);
    }
}
