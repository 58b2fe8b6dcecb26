//! Every instruction against another implementation of the architecture: random words of each
//! encoding class, run on random operands here and under qemu-user, must leave the same state, and
//! what is unallocated must be undefined in both.
//!
//! Needs `qemu-user` and `gcc-aarch64-linux-gnu`; without them the tests say what is missing and
//! prove nothing. `UNDERSTUDY_DIFFERENTIAL_SCALE=20` generates twenty times the words,
//! `UNDERSTUDY_DIFFERENTIAL_SEED=7` others.

mod random;
mod rows;
mod rows_integer;
mod runner;

use random::Random;
use rows::Row;
use runner::{BATCH, DATA, DATA_SIZE, Runner, SLOT, SLOTS, State, pristine};
use std::collections::BTreeSet;
use std::sync::Arc;
use understudy_arm64::fp::fpcr;
use understudy_arm64::insn::features::Fidelity;
use understudy_arm64::simd::Op;
use understudy_arm64::sysregs::IdRegisters;
use understudy_arm64::sysregs::id::fields::OptIns;
use understudy_arm64::{Arm64, Cpu, insn, machine, regs, testing, vcpu};
use understudy_engine::arch::Insn;
use understudy_engine::emit::Stop;
use understudy_engine::single::Single;
use understudy_memory::{GuestMemory, Limits, UserRegion};

/// Operand sets for each word.
const CASES: usize = 4;
/// Differences that are shown for a class before the rest is only counted.
const SHOWN: usize = 6;

/// QEMU's model with all that it has, but for SVE: its signal frames hold the vector registers twice.
const MAX: &str = "max,sve=off,sme=off";
/// The model whose instructions, and no others, are those of Armv8.2.
const ARMV8_2: &str = "neoverse-n1";

/// The mode in which a host CPU model's instructions are decoded; all there are for [`MAX`].
fn features(cpu: &str) -> u32 {
    let Some(model) = machine::Model::by_name(cpu) else {
        return 0;
    };
    let id = IdRegisters::new(model.registers(), machine::Proposals::empty());
    id.initialise(OptIns::all());
    insn::features::hidden(&id, Fidelity::Kvm)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

/// The processor, and the data that it can reach.
struct Machine {
    cpu: Cpu,
    memory: Arc<GuestMemory>,
    _pages: Box<[Page]>,
}

#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Page(#[allow(dead_code, reason = "the guest's")] [u8; 4096]);

impl Machine {
    fn new() -> Machine {
        // The page after the data is for the translation table.
        let size = DATA_SIZE + 4096;
        let mut pages = vec![Page([0; 4096]); (size / 4096) as usize].into_boxed_slice();
        let memory = Arc::new(GuestMemory::new(Limits::arm64(40)));
        memory
            .set_region(&UserRegion {
                slot: 0,
                flags: 0,
                guest_phys_addr: DATA,
                memory_size: size,
                userspace_addr: (&raw mut *pages).cast::<u8>() as u64,
            })
            .expect("the region is a valid one");
        let settings = machine::Settings::default();
        let mut cpu = vcpu::new_cpu(&machine::Machine::new(memory.clone(), settings), 0);
        testing::translate_flat(&mut cpu, &memory, DATA + DATA_SIZE);
        let machine = Machine {
            cpu,
            memory,
            _pages: pages,
        };
        for i in 0..DATA_SIZE / 8 {
            machine.set(i, pristine(i));
        }
        machine
    }

    fn get(&self, index: u64) -> u64 {
        self.memory.load(DATA + 8 * index).expect("it is there")
    }

    fn set(&self, index: u64, value: u64) {
        let stored = self.memory.store(DATA + 8 * index, value);
        stored.expect("it is there");
    }

    /// As `compare_data` of the runner.
    fn changes(&self) -> (u64, [u64; 8]) {
        let mut data = vec![0; DATA_SIZE as usize];
        self.memory.read(DATA, &mut data).expect("it is all there");
        let words = data
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
        let mut window = [0; 8];
        let Some(first) = words
            .enumerate()
            .find(|(i, word)| *word != pristine(*i as u64))
        else {
            return (u64::MAX, window);
        };
        let first = first.0 as u64;
        for (i, word) in (first..DATA_SIZE / 8).zip(&mut window) {
            *word = self.get(i);
        }
        for i in (first..DATA_SIZE / 8).take(16) {
            self.set(i, pristine(i));
        }
        (8 * first, window)
    }
}

/// A tier that runs single instructions.
trait Tier {
    fn name(&self) -> &'static str;
    /// Makes ready to run this instruction at this address.
    fn prepare(&mut self, mode: u32, address: u64, insn: &Insn<Arm64>);
    /// Runs it. The vCPU has its address, and then the next one's.
    fn run(&mut self, cpu: &mut Cpu) -> Result<(), Stop>;
}

#[derive(Default)]
struct Interpreter(Option<Insn<Arm64>>);

impl Tier for Interpreter {
    fn name(&self) -> &'static str {
        "interpreter"
    }
    fn prepare(&mut self, _: u32, _: u64, insn: &Insn<Arm64>) {
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
    fn prepare(&mut self, mode: u32, address: u64, insn: &Insn<Arm64>) {
        Single::prepare(self, mode, address, insn).expect("the instruction compiles");
    }
    fn run(&mut self, cpu: &mut Cpu) -> Result<(), Stop> {
        Single::run(self, cpu)
    }
}

/// Runs the instruction by itself.
///
/// `refused` is the signal that stands for an access that has not been made.
fn run(
    tier: &mut dyn Tier,
    machine: &mut Machine,
    decoded: &Insn<Arm64>,
    case: &State,
    refused: (u64, u64),
) -> State {
    let cpu = &mut machine.cpu;
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
    cpu.set_slot(regs::MONITOR, regs::MONITOR_OPEN);
    cpu.pc = start;
    let (mut signal, mut address) = (0, 0);
    if decoded.def.name == "UDF" {
        signal = SIGILL;
    } else if let Err(stop) = tier.run(cpu) {
        assert!(case.signal != 0, "{decoded:?} stopped: {stop:?}");
        (signal, address) = match refused.0 {
            SIGSEGV | SIGBUS => refused,
            _ => (SIGSEGV, 0),
        };
        cpu.pc = start;
    }
    let (changed, window) = match case.signal {
        0 => (u64::MAX, [0; 8]),
        _ => machine.changes(),
    };
    let cpu = &machine.cpu;
    State {
        x: std::array::from_fn(|n| cpu.slot(regs::x(n as u32))),
        sp: cpu.slot(regs::SP),
        pc: cpu.pc,
        nzcv: regs::nzcv(cpu),
        fpcr: regs::fpcr(cpu),
        fpsr: regs::fpsr(cpu),
        signal,
        address,
        changed,
        window,
        v: std::array::from_fn(|n| regs::vector(cpu, n as u32)),
    }
}

const SIGILL: u64 = 4;
const SIGBUS: u64 = 7;
const SIGSEGV: u64 = 11;

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

fn check(runner: &mut Runner, row: &Row, r: &mut Random, scale: usize, features: u32) -> Tally {
    let mut tally = Tally::default();
    let mut machine = Machine::new();
    // In this mode accesses take their shortest ways, and the stack is always aligned.
    let mode = if row.memory {
        insn::mode::SP_ALIGNED
    } else {
        0
    } | features;
    let mut tiers: [Box<dyn Tier>; 2] = [
        Box::new(Interpreter::default()),
        Box::new(Single::new().expect("this host can compile")),
    ];
    let defined = |word: u32| insn::decode(mode, word).def.name != "UDF";
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
            .map(|i| {
                let mut state = random::state(r, row.memory);
                state.pc = (i / CASES) as u64;
                if !row.flushes {
                    state.fpcr &= !u64::from(fpcr::FZ);
                }
                for x in state.x.iter_mut().filter(|_| row.memory) {
                    // There the runner has its own code and data.
                    if matches!(*x & !0 >> 8, 0x30_0000..0x60_0000 | 0x1f00_0000..0x2100_0000) {
                        *x = 0;
                    }
                    if row.aligned {
                        *x &= !15;
                    }
                }
                state
            })
            .collect();
        let outcomes = runner.run(&words, &cases);
        for (i, word) in words.iter().enumerate() {
            let decoded = insn::decode(mode, *word);
            let cases = &cases[i * CASES..][..CASES];
            let outcomes = &outcomes[i * CASES..][..CASES];
            let ran = outcomes.iter().filter(|o| o.signal == 0).count();
            tally.defined += ran;
            if ran > 0 {
                tally.names.insert(decoded.def.name);
            }
            for tier in &mut tiers {
                tier.prepare(mode, SLOTS + SLOT * i as u64, &decoded);
                let differing = cases.iter().zip(outcomes).find_map(|(case, theirs)| {
                    let refused = (theirs.signal, theirs.address);
                    let ours = run(&mut **tier, &mut machine, &decoded, case, refused);
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
                        "  {word:08x} {} ({})  V{n}={:x} V{m}={:x} FPCR={:x} X{n}={:x} X{m}={:x} SP={:x}\n    {}\n",
                        decoded.def.name,
                        tier.name(),
                        case.v[n],
                        case.v[m],
                        case.fpcr,
                        case.x.get(n).unwrap_or(&0),
                        case.x.get(m).unwrap_or(&0),
                        case.sp,
                        lines.join("\n    ")
                    );
                }
            }
        }
    }
    tally
}

/// Checks the rows against this model of QEMU's; gives the names of the instructions that ran, none
/// if this machine lacks what it takes.
fn check_all(cpu: &str, rows: &[Row]) -> Option<BTreeSet<&'static str>> {
    let mut runner = match Runner::start(cpu) {
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
        let tally = check(&mut runner, row, &mut r, scale, features(cpu));
        println!(
            "{}: {} words, {} defined runs, {} differences\n{}",
            row.name,
            row.words * scale,
            tally.defined,
            tally.wrong,
            tally.report
        );
        // A class of which nothing ran has not been compared.
        assert_eq!(
            tally.defined == 0,
            row.none,
            "{}: whether no word of it is defined there",
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
    let Some(names) = check_all(MAX, rows::SIMD) else {
        return;
    };
    let ops = Op::ALL.iter().map(|op| op.mnemonic());
    for name in ops.chain(rows::EMITTED_CRYPTOGRAPHY.iter().copied()) {
        assert!(names.contains(name), "{name} was not run");
    }
}

#[test]
fn floating_point() {
    let Some(names) = check_all(MAX, rows::FLOATING_POINT) else {
        return;
    };
    for name in rows::EXTENSIONS {
        assert!(names.contains(name), "{name} was not run");
    }
}

#[test]
fn integer() {
    check_all(ARMV8_2, rows_integer::INTEGER);
}

#[test]
fn loads_and_stores() {
    check_all(ARMV8_2, rows_integer::MEMORY);
}

/// What came after Armv8.2, as far as QEMU 7.2 has it.
#[test]
fn later_than_armv8_2() {
    check_all(MAX, rows_integer::LATER);
}
