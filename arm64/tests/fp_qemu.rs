//! Floating-point instructions, compared with QEMU's user-mode emulator: general and vector
//! registers, flags and FPSR, under every kind of FPCR, on operands at which results change.
//!
//! Words are drawn at random from each encoding class of the manual. Every one that is allocated
//! here is executed three ways: by QEMU, by the interpreter, and as recorded for the compiler.
//! `FP_QEMU_WORDS` and `FP_QEMU_RECORDS` ask for more words and more operands for each.

mod qemu;
#[path = "qemu/values.rs"]
mod values;

use std::sync::Arc;

use qemu::Record;
use understudy_arm64::fp::Float;
use understudy_arm64::{Arm64, Cpu, insn, machine, regs, state};
use understudy_engine::arch::Insn;
use understudy_engine::ir::{self, Op};
use understudy_engine::request::Requests;
use understudy_memory::{GuestMemory, Limits};
use values::Random;

/// A class of encodings, most significant bit first: `0` and `1` are fixed; `d`, `n`, `m` and `a`
/// are register fields, which name V0 to V3 or X0 to X3; others are random.
struct Class {
    name: &'static str,
    pattern: &'static str,
}

const CLASSES: &[Class] = &[
    Class {
        name: "Floating-point data-processing (1 source)",
        pattern: "00011110 tt 1 oooooo 10000 nnnnn ddddd",
    },
    Class {
        name: "Floating-point data-processing (2 source)",
        pattern: "00011110 tt 1 mmmmm oooo 10 nnnnn ddddd",
    },
    Class {
        name: "Floating-point data-processing (3 source)",
        pattern: "00011111 tt o mmmmm o aaaaa nnnnn ddddd",
    },
    Class {
        name: "Floating-point compare",
        pattern: "00011110 tt 1 mmmmm 001000 nnnnn oo000",
    },
    Class {
        name: "Floating-point conditional compare",
        pattern: "00011110 tt 1 mmmmm cccc 01 nnnnn offff",
    },
    Class {
        name: "Floating-point conditional select",
        pattern: "00011110 tt 1 mmmmm cccc 11 nnnnn ddddd",
    },
    Class {
        name: "Floating-point immediate",
        pattern: "00011110 tt 1 iiiiiiii 10000000 ddddd",
    },
    Class {
        name: "Conversion between floating-point and fixed-point",
        pattern: "s0011110 tt 0 rr ooo ffffff nnnnn ddddd",
    },
    Class {
        name: "Conversion between floating-point and integer",
        pattern: "s0011110 tt 1 rr ooo 000000 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD three same",
        pattern: "0qu01110 zz 1 mmmmm 11ooo 1 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD three same (FP16)",
        pattern: "0qu01110 z10 mmmmm 00 ooo 1 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD two-register miscellaneous",
        pattern: "0qu01110 zz 10000 ooooo 10 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD two-register miscellaneous (FP16)",
        pattern: "0qu01110 z111100 ooooo 10 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD across lanes",
        pattern: "0qu01110 zz 11000 ooooo 10 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD vector x indexed element",
        // M, which is part of a register or of an index, is left clear in the former case.
        pattern: "0qu01111 zz l 0 mmmm oooo h 0 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD vector x indexed element (half)",
        pattern: "0qu01111 00 l M mmmm oooo h 0 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD shift by immediate",
        pattern: "0qu011110 iiiiiii 111oo 1 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD scalar three same",
        pattern: "01u11110 zz 1 mmmmm 11ooo 1 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD scalar three same (FP16)",
        pattern: "01u11110 z10 mmmmm 00 ooo 1 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD scalar two-register miscellaneous",
        pattern: "01u11110 zz 10000 ooooo 10 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD scalar two-register miscellaneous (FP16)",
        pattern: "01u11110 z111100 ooooo 10 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD scalar pairwise",
        pattern: "01u11110 zz 11000 ooooo 10 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD scalar x indexed element",
        pattern: "01u11111 zz l 0 mmmm oooo h 0 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD scalar x indexed element (half)",
        pattern: "01u11111 00 l M mmmm oooo h 0 nnnnn ddddd",
    },
    Class {
        name: "Advanced SIMD scalar shift by immediate",
        pattern: "01u111110 iiiiiii 111oo 1 nnnnn ddddd",
    },
];

impl Class {
    fn word(&self, random: &mut Random) -> u32 {
        let letters: Vec<char> = self.pattern.chars().filter(|c| *c != ' ').collect();
        assert_eq!(letters.len(), 32, "{}", self.name);
        let mut word = 0;
        for (i, letter) in letters.iter().enumerate() {
            // A register field's upper bits are zero.
            let register = "dnma".contains(*letter);
            let upper = register && letters.get(i + 2) == Some(letter);
            let bit = match letter {
                '0' => 0,
                '1' => 1,
                _ if upper => 0,
                _ => random.next() as u32 >> 31,
            };
            word = word << 1 | bit;
        }
        word
    }
}

fn new_cpu() -> Cpu {
    let machine = machine::Machine {
        memory: Arc::new(GuestMemory::new(Limits::arm64(40))),
    };
    let state = state::State {
        machine: Arc::new(machine),
        index: 0,
        el: 1,
        spsel: true,
        pstate: 0,
        fpcr: 0,
        fpsr: 0,
        sys: Default::default(),
        mmu: Default::default(),
        debug: Default::default(),
        timer: Default::default(),
        exit: None,
    };
    Cpu::new(state, Arc::new(Requests::new()))
}

fn load(cpu: &mut Cpu, record: &Record) {
    for i in 0..4 {
        cpu.set_slot(regs::x(i), record.x[i as usize]);
        regs::set_vector(cpu, i, record.v[i as usize]);
    }
    regs::set_nzcv(cpu, record.nzcv);
    (cpu.state.fpcr, cpu.state.fpsr) = (record.fpcr, record.fpsr);
}

fn save(cpu: &Cpu) -> Record {
    Record {
        x: core::array::from_fn(|i| cpu.slot(regs::x(i as u32))),
        v: core::array::from_fn(|i| regs::vector(cpu, i as u32)),
        fpcr: cpu.state.fpcr,
        fpsr: cpu.state.fpsr,
        nzcv: regs::nzcv(cpu),
    }
}

/// FCVTZS (scalar, fixed-point) to a half: QEMU 7.2 extends the sign beyond the element's 16 bits,
/// where the Arm ARM clears the rest of the register.
fn wrong_in_qemu(word: u32) -> bool {
    word & 0xfff0_fc00 == 0x5f10_fc00
}

/// Executes what was recorded of an instruction, as the compiler would translate it.
fn evaluate(cpu: &mut Cpu, block: &ir::Block<Arm64>) {
    let mut values = vec![0; block.ops.len()];
    for (i, op) in block.ops.iter().enumerate() {
        let value = |v: &ir::Value| values[v.0 as usize];
        values[i] = match op {
            Op::Insn { .. } => 0,
            Op::Imm(value) => *value,
            Op::Get(slot) => cpu.slot(*slot),
            Op::Put(slot, v) => {
                cpu.set_slot(*slot, value(v));
                0
            }
            Op::Unary(op, a) => op.eval(value(a)),
            Op::Binary(op, a, b) => op.eval(value(a), value(b)),
            Op::Compare(op, a, b) => op.eval(value(a), value(b)),
            Op::Select(c, a, b) => value(if value(c) != 0 { a } else { b }),
            Op::Helper(helper, arguments) => {
                let arguments = (*arguments).map(|v| values[v.0 as usize]);
                (helper.call)(cpu, arguments).expect("floating point does not stop")
            }
            op => panic!("{op} in a floating-point instruction"),
        };
    }
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

fn vector<F: Float>(random: &mut Random, other: u128) -> u128 {
    (0..128 / F::BITS).fold(0, |v, i| {
        let other = F::from_bits((other >> (i * F::BITS)) as u64);
        v | u128::from(random.related(other).bits()) << (i * F::BITS)
    })
}

fn record(random: &mut Random) -> Record {
    let make = match random.below(8) {
        0..=1 => vector::<u16>,
        2..=4 => vector::<u32>,
        _ => vector::<u64>,
    };
    let seed = random.next().into();
    let d = make(random, seed);
    let n = make(random, d);
    let m = make(random, n);
    let a = make(random, n);
    let mut v = [d, n, m, a];
    if random.below(4) == 0 {
        // Integers, for conversions.
        v[1] = u128::from(random.integer()) | u128::from(random.integer()) << 64;
    }
    Record {
        x: core::array::from_fn(|_| random.integer()),
        v,
        fpcr: random.fpcr().into(),
        fpsr: random.fpsr().into(),
        nzcv: random.next() & 0xf000_0000,
    }
}

fn check(insn: &Insn<Arm64>, word: u32, before: &Record, theirs: &Record, cpu: &mut Cpu) -> bool {
    load(cpu, before);
    (insn.interpret)(cpu, &insn.operands).expect("floating point does not stop");
    let interpreted = save(cpu);
    load(cpu, before);
    evaluate(cpu, &ir::record(0, 0, std::slice::from_ref(insn)));
    let recorded = save(cpu);
    let same = interpreted == *theirs && recorded == *theirs;
    if !same {
        eprintln!(
            "{word:08x} {}\n     before {before:x?}\ninterpreted {interpreted:x?}\n   recorded {recorded:x?}\n       QEMU {theirs:x?}",
            insn.def.name
        );
    }
    same
}

#[test]
fn instructions_do_what_they_do_in_qemu() {
    if let Some(reason) = qemu::missing() {
        eprintln!("skipped: {reason}");
        return;
    }
    let (words, records) = (
        setting("FP_QEMU_WORDS", 100),
        setting("FP_QEMU_RECORDS", 16),
    );
    let cpu = &mut new_cpu();
    for (seed, class) in CLASSES.iter().enumerate() {
        let random = &mut Random::new(seed as u64 + 1);
        let mut work = Vec::new();
        let mut drawn = 0;
        while work.len() < words {
            let word = class.word(random);
            drawn += 1;
            // A class none of whose words is allocated would prove nothing.
            assert!(drawn < words * 500, "{}: too few words are allocated", class.name);
            if insn::decode(0, word).def.name != "UDF" && !wrong_in_qemu(word) {
                work.push((word, (0..records).map(|_| record(random)).collect::<Vec<_>>()));
            }
        }
        let results = qemu::run(&work).expect("QEMU runs the oracle");
        let (mut wrong, mut names) = (0, std::collections::BTreeSet::new());
        for ((word, before), theirs) in work.iter().zip(&results) {
            let insn = insn::decode(0, *word);
            names.insert(insn.def.name);
            for (before, theirs) in before.iter().zip(theirs) {
                if wrong < 5 && !check(&insn, *word, before, theirs, cpu) {
                    wrong += 1;
                }
            }
        }
        println!("{}: {drawn} words drawn, {} run: {names:?}", class.name, work.len());
        assert_eq!(wrong, 0, "{}", class.name);
    }
}
