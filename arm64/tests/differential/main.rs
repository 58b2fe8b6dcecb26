//! Every instruction against another implementation of the architecture: random words of each
//! encoding class, run on random operands here and under qemu-user, must leave the same state, and
//! what is unallocated must be undefined in both.
//!
//! Needs `qemu-user` and `gcc-aarch64-linux-gnu`; without them the tests say what is missing and
//! prove nothing. `UNDERSTUDY_DIFFERENTIAL_SCALE=20` generates twenty times the words,
//! `UNDERSTUDY_DIFFERENTIAL_SEED=7` others.

mod random;
mod rows;
mod runner;

use random::Random;
use rows::Row;
use runner::{BATCH, Runner, SLOT, SLOTS, State};
use std::collections::BTreeSet;
use std::sync::Arc;
use understudy_arm64::simd::Op;
use understudy_arm64::{Arm64, Cpu, insn, machine, regs, vcpu};
use understudy_engine::arch::Insn;
use understudy_engine::emit::Stop;
use understudy_engine::single::Single;
use understudy_memory::{GuestMemory, Limits};

/// Operand sets for each word.
const CASES: usize = 4;
/// Differences that are shown for a class before the rest is only counted.
const SHOWN: usize = 6;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

fn new_cpu() -> Cpu {
    let memory = Arc::new(GuestMemory::new(Limits::arm64(40)));
    let machine = machine::Machine::new(memory, machine::Settings::default());
    let mut cpu = vcpu::new_cpu(&machine, 0);
    cpu.state.pstate = 0;
    cpu
}

/// A tier that runs single instructions.
trait Tier {
    fn name(&self) -> &'static str;
    /// Makes ready to run this instruction at this address.
    fn prepare(&mut self, address: u64, insn: &Insn<Arm64>);
    /// Runs it. The vCPU has its address, and then the next one's.
    fn run(&mut self, cpu: &mut Cpu) -> Result<(), Stop>;
}

#[derive(Default)]
struct Interpreter(Option<Insn<Arm64>>);

impl Tier for Interpreter {
    fn name(&self) -> &'static str {
        "interpreter"
    }
    fn prepare(&mut self, _: u64, insn: &Insn<Arm64>) {
        self.0 = Some(*insn);
    }
    fn run(&mut self, cpu: &mut Cpu) -> Result<(), Stop> {
        let insn = self.0.expect("prepared");
        (insn.interpret)(cpu, &insn.operands)?;
        cpu.pc = cpu.pc.wrapping_add(4);
        Ok(())
    }
}

impl Tier for Single<Arm64> {
    fn name(&self) -> &'static str {
        "compiler"
    }
    fn prepare(&mut self, address: u64, insn: &Insn<Arm64>) {
        Single::prepare(self, 0, address, insn).expect("the instruction compiles");
    }
    fn run(&mut self, cpu: &mut Cpu) -> Result<(), Stop> {
        Single::run(self, cpu)
    }
}

/// Runs the instruction by itself.
fn run(tier: &mut dyn Tier, cpu: &mut Cpu, decoded: &Insn<Arm64>, case: &State) -> State {
    let start = SLOTS + SLOT * case.pc;
    for (n, x) in case.x.iter().enumerate() {
        cpu.set_slot(regs::x(n as u32), *x);
    }
    cpu.set_slot(regs::SP, case.sp);
    regs::set_nzcv(cpu, case.nzcv);
    for (n, v) in case.v.iter().enumerate() {
        regs::set_vector(cpu, n as u32, *v);
    }
    regs::set_fpcr(cpu, case.fpcr);
    regs::set_fpsr(cpu, case.fpsr);
    cpu.pc = start;
    let mut signal = 0;
    if decoded.def.name == "UDF" {
        signal = SIGILL;
    } else {
        let result = tier.run(cpu);
        assert!(result.is_ok(), "{decoded:?} stopped: {result:?}");
    }
    State {
        x: std::array::from_fn(|n| cpu.slot(regs::x(n as u32))),
        sp: cpu.slot(regs::SP),
        pc: cpu.pc,
        nzcv: regs::nzcv(cpu),
        fpcr: regs::fpcr(cpu),
        fpsr: regs::fpsr(cpu),
        signal,
        address: 0,
        changed: u64::MAX,
        window: case.window,
        v: std::array::from_fn(|n| regs::vector(cpu, n as u32)),
    }
}

const SIGILL: u64 = 4;

/// Where two states differ, one line a place.
fn differences(case: &State, ours: &State, theirs: &State) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |name: String, before: u128, ours: u128, theirs: u128| {
        if ours != theirs {
            lines.push(format!(
                "{name}: was {before:x}, is {ours:x} here, {theirs:x} there"
            ));
        }
    };
    compare("signal".into(), 0, ours.signal.into(), theirs.signal.into());
    for n in 0..31 {
        compare(
            format!("X{n}"),
            case.x[n].into(),
            ours.x[n].into(),
            theirs.x[n].into(),
        );
    }
    let scalars = |s: &State| [s.sp, s.pc, s.nzcv, s.fpcr, s.fpsr, s.address, s.changed];
    let names = ["SP", "PC", "NZCV", "FPCR", "FPSR", "fault", "changed data"];
    let (before, ours_s, theirs_s) = (scalars(case), scalars(ours), scalars(theirs));
    for (i, name) in names.iter().enumerate() {
        compare(
            (*name).into(),
            before[i].into(),
            ours_s[i].into(),
            theirs_s[i].into(),
        );
    }
    for n in 0..8 {
        compare(
            format!("data+{}", 8 * n),
            0,
            ours.window[n].into(),
            theirs.window[n].into(),
        );
    }
    for n in 0..32 {
        compare(format!("V{n}"), case.v[n], ours.v[n], theirs.v[n]);
    }
    lines
}

/// What came of a row.
#[derive(Default)]
struct Tally {
    /// Words whose outcome differs.
    wrong: usize,
    /// Runs that were not undefined there.
    defined: usize,
    /// The first differences.
    report: String,
    /// The instructions that were run.
    names: BTreeSet<&'static str>,
}

fn check(runner: &mut Runner, row: &Row, r: &mut Random, scale: usize) -> Tally {
    let mut tally = Tally::default();
    let mut cpu = new_cpu();
    let mut tiers: [Box<dyn Tier>; 2] = [
        Box::new(Interpreter::default()),
        Box::new(Single::new().expect("this host can compile")),
    ];
    let defined = |word: u32| insn::decode(0, word).def.name != "UDF";
    let mut left = row.words * scale;
    while left > 0 {
        // Of some classes most words are unallocated: every second should not be.
        let word = |i| {
            let mut words = (0..1000).map(|_| row.word(r));
            let first = words.next().expect("there are 1000");
            if i % 2 == 0 {
                first
            } else {
                words.find(|w| defined(*w)).unwrap_or(first)
            }
        };
        let words: Vec<u32> = (0..left.min(BATCH / CASES)).map(word).collect();
        left -= words.len();
        let cases: Vec<State> = (0..words.len() * CASES)
            .map(|i| State {
                pc: (i / CASES) as u64,
                ..random::state(r, row.memory)
            })
            .collect();
        let outcomes = runner.run(&words, &cases);
        for (i, word) in words.iter().enumerate() {
            let decoded = insn::decode(0, *word);
            let cases = &cases[i * CASES..][..CASES];
            let outcomes = &outcomes[i * CASES..][..CASES];
            let ran = outcomes.iter().filter(|o| o.signal == 0).count();
            tally.defined += ran;
            if ran > 0 {
                tally.names.insert(decoded.def.name);
            }
            for tier in &mut tiers {
                tier.prepare(SLOTS + SLOT * i as u64, &decoded);
                let differing = cases.iter().zip(outcomes).find_map(|(case, theirs)| {
                    let ours = run(&mut **tier, &mut cpu, &decoded, case);
                    let lines = differences(case, &ours, theirs);
                    (!lines.is_empty()).then_some((case, lines))
                });
                let Some((case, lines)) = differing else {
                    continue;
                };
                tally.wrong += 1;
                if tally.wrong <= SHOWN {
                    let [n, m] = [5, 16].map(|at| (word >> at & 31) as usize);
                    tally.report += &format!(
                        "  {word:08x} {} ({})  V{n}={:x} V{m}={:x} FPCR={:x}\n    {}\n",
                        decoded.def.name,
                        tier.name(),
                        case.v[n],
                        case.v[m],
                        case.fpcr,
                        lines.join("\n    ")
                    );
                }
            }
        }
    }
    tally
}

/// Checks the rows; gives the names of the instructions that ran, none if this machine lacks what
/// it takes.
fn check_all(rows: &[Row]) -> Option<BTreeSet<&'static str>> {
    let mut runner = match Runner::start() {
        Ok(runner) => runner,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return None;
        }
    };
    let scale = setting("UNDERSTUDY_DIFFERENTIAL_SCALE", 1) as usize;
    let seed = setting("UNDERSTUDY_DIFFERENTIAL_SEED", 1);
    let mut failures = 0;
    let mut names = BTreeSet::new();
    for (i, row) in rows.iter().enumerate() {
        let mut r = Random::new(seed.wrapping_mul(1000).wrapping_add(i as u64));
        let tally = check(&mut runner, row, &mut r, scale);
        println!(
            "{}: {} words, {} defined runs, {} differences\n{}",
            row.name,
            row.words * scale,
            tally.defined,
            tally.wrong,
            tally.report
        );
        // A class of which nothing ran has not been compared.
        assert!(
            tally.defined > 0,
            "{}: no word of it is defined there",
            row.name
        );
        failures += tally.wrong;
        names.extend(tally.names);
    }
    assert_eq!(failures, 0, "differences; the first are above");
    Some(names)
}

#[test]
fn advanced_simd_and_cryptography() {
    let Some(names) = check_all(rows::SIMD) else {
        return;
    };
    for op in Op::ALL {
        assert!(
            names.contains(op.mnemonic()),
            "{} was not run",
            op.mnemonic()
        );
    }
}

#[test]
fn floating_point() {
    check_all(rows::FLOATING_POINT);
}
