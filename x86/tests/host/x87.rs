//! The x87's instructions against the host's: the whole state is loaded by FRSTOR, an instruction is
//! run, and FNSAVE tells what it has left, pointers and status word included.

use super::forms::Form;
use super::processor::{Host, Registers};
use super::values::Values;
use super::{machines, run};
use understudy_engine::run::Tier;
use understudy_x86::exit::Exit;
use understudy_x86::fp::F80;
use understudy_x86::regs::flag;
use understudy_x86::testing::{Bare, DATA, DATA_SIZE};

/// Where FRSTOR finds the state before.
const BEFORE: usize = 0x100;
/// The instruction's operand in memory.
const OPERAND: usize = 0x200;
/// Where FNSAVE puts the state after.
const AFTER: usize = 0x400;
/// Bytes of the state.
const IMAGE: usize = 108;

/// Inputs of each form; a search for what is rare asks for more (`UNDERSTUDY_TURNS`).
fn turns() -> usize {
    let asked = std::env::var("UNDERSTUDY_TURNS").ok();
    asked.and_then(|turns| turns.parse().ok()).unwrap_or(40)
}

/// What values an instruction is given, and how near its result has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Any; the same bits.
    Exact,
    /// Near integers.
    Integers,
    /// From -1 to 1; one unit in the last place.
    Small,
    /// Around 1; one unit.
    Logarithm,
    /// Angles; one unit.
    Angle,
    /// Any; one unit.
    Near,
}

struct Case {
    name: String,
    code: Vec<u8>,
    kind: Kind,
    /// What of the status word is not compared.
    undefined: u16,
}

impl Case {
    fn near(&self) -> bool {
        !matches!(self.kind, Kind::Exact | Kind::Integers)
    }
}

const C1: u16 = 1 << 9;

/// ModRM, SIB and displacement of the operand in memory.
fn absolute(reg: u8, offset: usize) -> Vec<u8> {
    let mut bytes = vec![reg << 3 | 4, 0x25];
    bytes.extend((DATA as u32 + offset as u32).to_le_bytes());
    bytes
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, code: Vec<u8>, kind, undefined| {
        cases.push(Case {
            name,
            code,
            kind,
            undefined,
        });
    };
    // Everything in memory but control instructions, which have tests of their own.
    for first in 0xd8..=0xdf_u8 {
        for reg in 0..8 {
            let control = matches!((first, reg), (0xd9, 4..=7) | (0xdd, 4 | 6 | 7));
            // What is no instruction.
            let absent = matches!((first, reg), (0xd9, 1) | (0xdb, 4 | 6) | (0xdd, 5));
            if control || absent {
                continue;
            }
            for kind in [Kind::Exact, Kind::Integers] {
                let mut code = vec![first];
                code.extend(absolute(reg, OPERAND));
                add(format!("{first:02x}/{reg} memory"), code, kind, 0);
            }
        }
    }
    for first in 0xd8..=0xdf_u8 {
        for second in 0xc0..=0xff_u8 {
            let (reg, i) = (second >> 3 & 7, second & 7);
            let kind = match (first, second) {
                // FNOP; FCHS, FABS, FTST, FXAM; constants; F2XM1 and all that follows.
                (0xd9, 0xd1..=0xd7 | 0xe2 | 0xe3 | 0xe6 | 0xe7 | 0xef) => continue,
                (0xd9, 0xf0) => Kind::Small,
                (0xd9, 0xf1 | 0xf9) => Kind::Logarithm,
                (0xd9, 0xf2 | 0xfb | 0xfe | 0xff) => Kind::Angle,
                (0xd9, 0xf3) => Kind::Near,
                (0xd9, 0xfc) => Kind::Integers,
                (0xd9, _) => Kind::Exact,
                (0xda, 0xe0..=0xe8 | 0xea..) => continue,
                // FNCLEX and FNINIT are compared; the others are of coprocessors of the past.
                (0xdb, 0xe0 | 0xe1 | 0xe4..=0xe7 | 0xf8..) => continue,
                (0xdd, 0xf0..) => continue,
                (0xde, 0xd8 | 0xda..=0xdf) => continue,
                (0xdf, 0xe1..=0xe7 | 0xf8..) => continue,
                _ => Kind::Exact,
            };
            // Registers other than these add nothing.
            if i > 3 && reg < 4 && i != 7 {
                continue;
            }
            let undefined = if kind == Kind::Exact || kind == Kind::Integers {
                0
            } else {
                C1
            };
            add(
                format!("{first:02x} {second:02x}"),
                vec![first, second],
                kind,
                undefined,
            );
        }
    }
    for (prefix, name) in [(None, "long"), (Some(0x66), "short")] {
        for (first, reg, what) in [
            (0xd9, 6, "FNSTENV"),
            (0xdd, 6, "FNSAVE"),
            (0xd9, 4, "FLDENV"),
            (0xdd, 4, "FRSTOR"),
        ] {
            let mut code = Vec::from_iter(prefix);
            code.push(first);
            // What was loaded before, in this format.
            let from = if reg == 4 { BEFORE } else { OPERAND };
            code.extend(absolute(reg, from));
            add(format!("{what} {name}"), code, Kind::Exact, 0);
        }
    }
    for (first, reg, what) in [(0xd9, 7, "FNSTCW"), (0xd9, 5, "FLDCW"), (0xdd, 7, "FNSTSW")] {
        let mut code = vec![first];
        code.extend(absolute(reg, OPERAND));
        add(what.into(), code, Kind::Exact, 0);
    }
    cases
}

fn value(values: &mut Values, kind: Kind) -> F80 {
    let random = values.bits();
    let choice = random % 16;
    let fraction = values.fraction(63);
    let sign = random >> 40 & 1 != 0;
    let near = |exponent: u64, leading: bool| {
        F80::new(sign, exponent as u16, (leading as u64) << 63 | fraction)
    };
    if choice == 0 {
        // With any leading bit: unsupported, and pseudo-denormal.
        let exponent = values.exponent(0x7fff, 63);
        return near(exponent, random >> 41 & 1 != 0);
    }
    let exponent = match kind {
        Kind::Small if choice < 14 => 0x3ffe - values.bits() % 70,
        Kind::Logarithm if choice < 12 => 0x3fff - 3 + values.bits() % 6,
        Kind::Angle if choice < 14 => 0x3fff - 10 + values.bits() % 74,
        Kind::Near if choice < 14 => 0x3fff - 40 + values.bits() % 80,
        Kind::Integers if choice < 14 => 0x3fff - 2 + values.bits() % 68,
        _ => values.exponent(0x7fff, 63),
    };
    near(exponent, exponent != 0)
}

fn image(values: &mut Values, kind: Kind) -> Vec<u8> {
    let bits = values.bits();
    let masks = if bits & 3 == 0 {
        bits >> 8 & 0x3f
    } else {
        0x3f
    };
    let control = masks | (bits >> 16 & 15) << 8 | 0x40;
    // Nothing waits.
    let exceptions = if bits >> 20 & 1 != 0 {
        bits >> 24 & masks & 0x3f
    } else {
        0
    };
    let status = exceptions | (bits >> 32 & 0x7f) << 8 | bits >> 31 & 0x40;
    let tags = match bits >> 40 & 7 {
        0 => values.bits() & 0xffff,
        1 => 0xffff,
        2 => 3 << (values.bits() % 8 * 2),
        _ => 0,
    };
    let mut words = [0u32; 7];
    words[0] = control as u32;
    words[1] = status as u32;
    words[2] = tags as u32;
    words[3..].copy_from_slice(&[0x1234_5678, 0x0555_0000, 0x8765_4321, 0]);
    let mut image: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut stack = [F80::default(); 8];
    for to in &mut stack {
        *to = value(values, kind);
    }
    if values.bits().is_multiple_of(3) {
        // Of nearly the same magnitude, or with the distance that remainders take at once.
        let by = values.bits() % 70;
        let exponent = (u64::from(stack[0].exponent()) + by).min(0x7fff);
        stack[1] = F80::new(
            stack[1].negative(),
            exponent as u16,
            stack[1].significand | 1 << 63,
        );
        if by & 1 == 0 {
            stack.swap(0, 1);
        }
    }
    if values.bits().is_multiple_of(8) {
        stack[1] = stack[0];
    }
    image.extend(stack.iter().flat_map(|value| value.to_bytes()));
    image
}

fn operand(values: &mut Values, case: &Case) -> Vec<u8> {
    let integers = case.kind == Kind::Integers;
    match case.code[0] {
        0xd8 | 0xd9 if integers => values.near_integer(8, 23).to_le_bytes().to_vec(),
        0xd8 | 0xd9 => values.float(8, 23).to_le_bytes().to_vec(),
        0xdc | 0xdd if integers => values.near_integer(11, 52).to_le_bytes().to_vec(),
        0xdc | 0xdd => values.float(11, 52).to_le_bytes().to_vec(),
        0xdb if values.bits() & 1 == 0 => value(values, Kind::Exact).to_bytes().to_vec(),
        0xdf => {
            // Decimal digits, or integers.
            let mut bytes = vec![0; 16];
            for byte in &mut bytes {
                let pair = values.bits() % 100;
                *byte = (pair / 10 * 16 + pair % 10) as u8;
            }
            bytes
        }
        _ => values.integer().to_le_bytes().to_vec(),
    }
}

fn word(image: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([image[at], image[at + 1]])
}

fn register(image: &[u8], n: usize) -> F80 {
    let at = 28 + 10 * n;
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&image[at..at + 10]);
    F80::from_bytes(bytes)
}

/// Whether two values are at most one unit in the last place from each other.
fn close(a: F80, b: F80) -> bool {
    if a == b {
        return true;
    }
    let flat = |value: F80| {
        let magnitude =
            i128::from(value.exponent()) << 63 | i128::from(value.significand & (u64::MAX >> 1));
        if value.negative() {
            -magnitude
        } else {
            magnitude
        }
    };
    (flat(a) - flat(b)).abs() <= 1
}

struct Run<'a> {
    case: &'a Case,
    data: Vec<u8>,
}

/// What differs after a run, if anything.
fn compare(
    this: &Run,
    tier: Tier,
    machine: &Bare,
    after: &Registers,
    memory: &[u8],
) -> Result<(), String> {
    let case = this.case;
    let same = |what: &str, ours: u64, theirs: u64| {
        if ours == theirs {
            return Ok(());
        }
        Err(format!("{what} {ours:x}, not {theirs:x} {tier:?}"))
    };
    if machine.exit != Some(Exit::Hlt) || machine.exception().is_some() {
        let exception = machine.exception();
        return Err(format!("{:?}, exception {exception:?}", machine.exit));
    }
    let ours = machine.read::<{ DATA_SIZE as usize }>(DATA);
    let (mine, theirs) = (&ours[AFTER..AFTER + IMAGE], &memory[AFTER..AFTER + IMAGE]);
    let status = |image| u64::from(word(image, 4) & !case.undefined);
    same("FSW", status(mine), status(theirs))?;
    for n in 0..8 {
        let (a, b) = (register(mine, n), register(theirs, n));
        let good = if case.near() { close(a, b) } else { a == b };
        if !good {
            return Err(format!("ST({n}) {a:?}, not {b:?}"));
        }
    }
    // Control and tag words, and the pointers but for the selectors.
    for at in [0, 2, 6, 8, 10, 12, 14, 18, 20, 22, 26] {
        let what = format!("environment at {at}");
        same(&what, word(mine, at).into(), word(theirs, at).into())?;
    }
    let (a, b) = (machine.flags(), after.flags);
    same("flags", a & flag::STATUS, b & flag::STATUS)?;
    let rax = machine.get(understudy_x86::regs::RAX);
    same("RAX", rax, after.gpr[0])?;
    for at in (OPERAND..AFTER).filter(|at| !selector(case, at - OPERAND)) {
        let what = format!("memory at {}", at - OPERAND);
        same(&what, ours[at].into(), memory[at].into())?;
    }
    Ok(())
}

/// Whether this byte of what an environment stores belongs to a selector.
fn selector(case: &Case, at: usize) -> bool {
    if case.name.contains("long") {
        matches!(at, 16 | 17 | 24 | 25)
    } else {
        case.name.contains("short") && matches!(at, 8 | 9 | 12 | 13)
    }
}

impl Run<'_> {
    fn describe(&self) -> String {
        let image = &self.data[BEFORE..BEFORE + IMAGE];
        let stack: Vec<F80> = (0..8).map(|n| register(image, n)).collect();
        format!(
            "{} {:02x?}\n  FCW {:04x} FSW {:04x} FTW {:04x} {stack:?}\n  memory {:02x?}",
            self.case.name,
            self.case.code,
            word(image, 0),
            word(image, 4),
            word(image, 8),
            &self.data[OPERAND..OPERAND + 16],
        )
    }
}

/// A case on all inputs; the first difference.
fn check(
    case: &Case,
    host: &mut Host,
    machines: &mut [(Tier, Bare); 2],
    values: &mut Values,
) -> Result<(), String> {
    let mut code = vec![0xdd];
    code.extend(absolute(4, BEFORE));
    code.extend(&case.code);
    code.push(0xdd);
    code.extend(absolute(6, AFTER));
    let form = Form::plain(&case.name, code);
    for _ in 0..turns() {
        let mut gpr = [0; 16];
        for value in &mut gpr {
            *value = values.bits();
        }
        gpr[4] = DATA + DATA_SIZE / 2;
        let flags = values.bits() & flag::STATUS | flag::ONE | flag::IF;
        let mut data = vec![0; DATA_SIZE as usize];
        data[BEFORE..BEFORE + IMAGE].copy_from_slice(&image(values, case.kind));
        let bytes = operand(values, case);
        data[OPERAND..OPERAND + bytes.len()].copy_from_slice(&bytes);
        let before = Registers { gpr, flags };
        let this = Run { case, data };
        for (tier, machine) in &mut *machines {
            run(machine, &form, &before, &this.data);
            // Where the host's kernel has switched threads in between, its pointers are lost.
            let differs = (0..3).map_while(|_| {
                let (after, memory) = host.run(&form, &before, &this.data);
                compare(&this, *tier, machine, &after, &memory).err()
            });
            if let Some(difference) = differs.collect::<Vec<_>>().get(2) {
                return Err(format!("{difference}: {}", this.describe()));
            }
        }
    }
    Ok(())
}

/// Every instruction, in both tiers.
#[test]
fn x87_agrees_with_the_host() {
    let mut host = Host::new();
    let mut values = Values::new(3);
    let mut machines = machines();
    let check = |case| check(&case, &mut host, &mut machines, &mut values).err();
    let differ: Vec<String> = cases().into_iter().filter_map(check).collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
