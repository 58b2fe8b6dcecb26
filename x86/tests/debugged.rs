//! Generated guests end the same whether they are debugged or not: run freely, stepped by user space,
//! stepped by themselves, stopped at breakpoints on each instruction, and watched; in both tiers.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use understudy_engine::run::Tier;
use understudy_x86::debug::guest::{GuestDebug, control};
use understudy_x86::exit::{DebugExit, Exit};
use understudy_x86::regs::{RBX, RCX, RDI, RSI, flag, gpr};
use understudy_x86::testing::{Bare, CODE, DATA, HANDLERS, IDT};

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];
const PROGRAMS: u64 = 24;

/// A generator.
struct Random(SplitMix64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn below(&mut self, end: u64) -> u8 {
        (self.bits() % end) as u8
    }
}

/// An instruction. RBX, RSI and RDI lead into the data; R15 is the handler's; RSP stays balanced.
fn instruction(random: &mut Random) -> Vec<u8> {
    // RAX, RDX, RBP
    let reg = [0, 2, 5][random.below(3) as usize];
    let other = [0, 2, 5][random.below(3) as usize];
    let offset = random.below(64) & !7;
    match random.below(18) {
        // An operation of two registers, of a register and memory, of memory and a register.
        0..=2 => vec![0x48, random.below(8) << 3 | 1, 0xc0 | reg << 3 | other],
        3 => vec![random.below(8) << 3 | 3, 0x43 | reg << 3, offset],
        4 => vec![0x48, random.below(8) << 3 | 1, 0x43 | reg << 3, offset],
        // MOV both ways.
        5 => vec![0x48, 0x89, 0x43 | reg << 3, offset],
        6 => vec![0x8b, 0x43 | reg << 3, offset],
        // PUSH and POP.
        7 => vec![0x50 | reg, 0x58 | other],
        // LOCK XADD, and SHL by CL.
        8 => vec![0xf0, 0x48, 0x0f, 0xc1, 0x43 | reg << 3, offset],
        9 => vec![0x48, 0xd3, 0xe0 | reg],
        // mov ecx, 3; rep movsb, or rep stosb.
        10 => vec![0xb9, 3, 0, 0, 0, 0xf3, 0xa4],
        11 => vec![0xb9, 5, 0, 0, 0, 0xf3, 0xaa],
        // A branch over two bytes, forwards.
        12 => vec![0x70 | random.below(16), 2, 0xff, 0xc0],
        // mov ecx, 4; loop: inc edx; dec ecx; jnz loop
        13 => vec![0xb9, 4, 0, 0, 0, 0xff, 0xc2, 0xff, 0xc9, 0x75, 0xfa],
        // cpuid, and rbx again; cli; a load of SS.
        14 => vec![0x53, 0x31, 0xc0, 0x0f, 0xa2, 0x5b],
        15 => vec![0xfa],
        16 => vec![0x50, 0xb8, 0x10, 0, 0, 0, 0x8e, 0xd0, 0x58],
        // call over: next: pop rax
        _ => vec![0xe8, 0, 0, 0, 0, 0x58],
    }
}

fn program(seed: u64) -> Vec<u8> {
    let mut random = Random(SplitMix64::seed_from_u64(seed));
    (0..24).flat_map(|_| instruction(&mut random)).collect()
}

fn machine(tier: Tier, code: &[u8], seed: u64) -> Bare {
    let mut m = Bare::new();
    m.code_at(CODE, code);
    let mut random = Random(SplitMix64::seed_from_u64(seed));
    for number in [0, 2, 5] {
        m.set(gpr(number), random.bits());
    }
    m.set(RBX, DATA + 0x100);
    m.set(RSI, DATA + 0x110);
    m.set(RDI, DATA + 0x120);
    m.set(RCX, 7);
    m.set_flags(0);
    m.vcpu.engine.set_tier(tier);
    m
}

/// All that the program can have changed, but what its debugging does.
fn outcome(m: &Bare) -> (Vec<u64>, u64, Vec<u8>) {
    assert!(m.at_end(), "{:?} at {:x}", m.exit, m.rip());
    let registers = (0..15).map(|number| m.get(gpr(number))).collect();
    let flags = m.flags() & !(flag::TF | flag::RF);
    (registers, flags, m.read::<0x1000>(DATA).to_vec())
}

fn ask(m: &mut Bare, control: u32, debugreg: [u64; 8]) {
    let wanted = GuestDebug { control, debugreg };
    m.vcpu.set_guest_debug(&wanted).expect("none waits");
}

fn debug_exit(m: &mut Bare) -> Option<DebugExit> {
    match m.run_on() {
        Exit::Debug(exit) => Some(exit),
        Exit::Hlt => None,
        exit => panic!("{exit:?}"),
    }
}

/// The addresses behind each step.
fn steps(tier: Tier, code: &[u8], seed: u64) -> (Vec<u64>, Bare) {
    let mut m = machine(tier, code, seed);
    ask(&mut m, control::ENABLE | control::SINGLESTEP, [0; 8]);
    let mut all = vec![];
    while let Some(exit) = debug_exit(&mut m) {
        assert_eq!(exit.dr6, Some(0xffff_4ff0));
        all.push(exit.pc);
    }
    (all, m)
}

#[test]
fn stepped_guests_end_the_same() {
    for seed in 0..PROGRAMS {
        let code = program(seed);
        let [interpreted, compiled] = TIERS.map(|tier| {
            let mut m = machine(tier, &code, seed);
            m.run_on();
            outcome(&m)
        });
        assert_eq!(interpreted, compiled, "{seed}");
        let [(first, m), (second, n)] = TIERS.map(|tier| steps(tier, &code, seed));
        assert_eq!(first, second, "{seed}");
        assert_eq!(
            (outcome(&m), outcome(&n)),
            (interpreted.clone(), interpreted.clone())
        );

        // By itself: the handler of #DB notes RIP at R15 and goes on.
        for tier in TIERS {
            let mut m = machine(tier, &code, seed);
            let handler = [
                0x50, 0x48, 0x8b, 0x44, 0x24, 0x08, 0x49, 0x89, 0x07, 0x49, 0x83, 0xc7, 0x08, 0x58,
                0x48, 0xcf,
            ];
            m.write(HANDLERS + 0x200, &handler);
            m.write(IDT + 16, &((HANDLERS + 0x200) as u16).to_le_bytes());
            m.set(gpr(15), DATA + 0x2000);
            m.set_flags(flag::TF);
            m.run_on();
            let count = (m.get(gpr(15)) - DATA - 0x2000) / 8;
            let noted: Vec<_> = (0..count)
                .map(|i| m.read_u64(DATA + 0x2000 + 8 * i))
                .collect();
            assert_eq!(noted, first, "{seed} {tier:?}");
            let (registers, flags, data) = outcome(&m);
            assert_eq!((flags, registers), (interpreted.1, interpreted.0.clone()));
            // The stack is elsewhere.
            assert_eq!(data, interpreted.2);
        }
    }
}

#[test]
fn guests_with_breakpoints_on_all_they_run_end_the_same() {
    for seed in 0..PROGRAMS {
        let code = program(seed);
        let mut free = machine(Tier::Interpret, &code, seed);
        free.run_on();
        let free = outcome(&free);
        let (visited, _) = steps(Tier::Interpret, &code, seed);
        let mut places: Vec<u64> = visited.clone();
        places.sort_unstable();
        places.dedup();
        for tier in TIERS {
            for four in places.chunks(4) {
                let mut m = machine(tier, &code, seed);
                let mut debugreg = [0; 8];
                debugreg[..four.len()].copy_from_slice(four);
                debugreg[7] = 0xff >> (8 - 2 * four.len());
                ask(&mut m, control::ENABLE | control::USE_HW_BP, debugreg);
                let mut hits = 0;
                while let Some(exit) = debug_exit(&mut m) {
                    hits += 1;
                    let n = four.iter().position(|place| *place == exit.pc);
                    let bit = 1 << n.expect("it is one of them");
                    assert_eq!(exit.dr6, Some(0xffff_0ff0 | bit));
                    let (rip, flags) = (m.rip(), m.vcpu.rflags());
                    m.vcpu.set_rip_and_rflags(rip, flags | flag::RF);
                }
                assert_eq!(outcome(&m), free, "{seed} {tier:?}");
                assert!(hits >= four.len() - 1, "{seed}");
            }
        }
    }
}

#[test]
fn watched_guests_end_the_same() {
    for seed in 0..PROGRAMS {
        let code = program(seed);
        let mut free = machine(Tier::Interpret, &code, seed);
        free.run_on();
        let free = outcome(&free);
        for dr7 in [0x1u64 | 0xb << 16, 0x4 | 0x9 << 20, 0x55 | 0xbbbb << 16] {
            let all = TIERS.map(|tier| {
                let mut m = machine(tier, &code, seed);
                let data = DATA + 0x100;
                let debugreg = [data, data + 8, data + 16, data + 32, 0, 0, 0, dr7];
                ask(&mut m, control::ENABLE | control::USE_HW_BP, debugreg);
                let mut hits = vec![];
                while let Some(exit) = debug_exit(&mut m) {
                    hits.push((exit.pc, exit.dr6));
                }
                assert_eq!(outcome(&m), free, "{seed} {tier:?}");
                hits
            });
            assert_eq!(all[0], all[1], "{seed} {dr7:x}");
        }
    }
}
