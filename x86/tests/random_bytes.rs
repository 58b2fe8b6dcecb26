//! Whatever bytes a guest runs, in whatever mode: the vCPU leaves with an exit, and both tiers agree.

use understudy_engine::emit::Slot;
use understudy_engine::run::Tier;
use understudy_x86::exit::Exit;
use understudy_x86::regs::{self, flag};
use understudy_x86::segments::{rights, seg};
use understudy_x86::state::{self, cr0, cr4, xcr0};
use understudy_x86::testing::{Bare, CODE, CODE_SIZE, DATA};

fn bits(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*seed ^ *seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Opcodes that most of the bytes are made of, so that instructions other than the common ones are
/// met often: prefixes, and the two-byte map.
const FREQUENT: [u8; 16] = [
    0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0x0f, 0x0f, 0x0f, 0x64, 0xc4, 0x8e, 0xcf, 0xff, 0x41, 0x4c,
];

fn machine(seed: u64, tier: Tier) -> (Bare, Vec<u8>) {
    let mut seed = seed;
    let kind = bits(&mut seed) % 4;
    let (mut machine, at) = if kind == 3 {
        (Bare::real(0x1_0000), 0x1_0000)
    } else {
        (Bare::new(), CODE + CODE_SIZE - 0x1000 - 24)
    };
    for number in 0..16 {
        let value = match bits(&mut seed) % 4 {
            0 => DATA + bits(&mut seed) % 0x8000,
            1 => bits(&mut seed) % 0x100,
            _ => bits(&mut seed),
        };
        machine.set(regs::gpr(number), value);
    }
    machine.set(regs::RSP, if kind == 3 { 0x8000 } else { DATA + 0x8000 });
    machine.set(regs::RCX, bits(&mut seed) % 100);
    let code: Vec<u8> = (0..40)
        .map(|_| match bits(&mut seed) {
            byte if byte % 3 == 0 => FREQUENT[(byte >> 8) as usize % FREQUENT.len()],
            byte => (byte >> 8) as u8,
        })
        .collect();
    machine.code_at(at, &code);
    if kind == 1 {
        machine.set_level(3);
    }
    if kind == 2 {
        // 32-bit code without paging, whose data segment has a limit.
        let state = &mut machine.cpu().state;
        (state.efer, state.cr4) = (0, 0);
        state.cr0 = cr0::PE | cr0::ET;
        let code = &mut state.segmentation.segments[seg::CS as usize];
        code.rights = code.rights & !rights::L | rights::DB;
        state.segmentation.segments[seg::DS as usize].limit = (DATA + 0x7fff) as u32;
    }
    if seed.is_multiple_of(2) {
        let state = &mut machine.cpu().state;
        state.cr4 |= cr4::OSFXSR | cr4::OSXSAVE;
        state.xcr0 = xcr0::X87 | xcr0::SSE | xcr0::AVX;
    }
    let flags = bits(&mut seed) & (flag::STATUS | flag::DF);
    understudy_x86::regs::set_rflags(machine.cpu(), flags | flag::ONE);
    state::changed(machine.cpu());
    machine.vcpu.engine.set_tier(tier);
    (machine, code)
}

/// Runs, and ends from outside what never ends.
fn run(machine: &mut Bare, milliseconds: u64) -> Exit {
    let requests = machine.cpu().requests().clone();
    let (done, waits) = std::sync::mpsc::channel();
    let watch = std::thread::spawn(move || {
        let time = std::time::Duration::from_millis(milliseconds);
        if waits.recv_timeout(time).is_err() {
            requests.post(understudy_engine::request::EXIT);
        }
    });
    let exit = machine.run_on();
    done.send(()).ok();
    watch.join().expect("the thread only waits");
    exit
}

/// What can be told apart from outside.
fn observe(machine: &Bare) -> (Vec<u64>, Vec<u8>) {
    let cpu = machine.vcpu.cpu();
    let mut all: Vec<u64> = (0..16).map(|n| machine.get(regs::gpr(n))).collect();
    all.extend([cpu.pc, machine.flags(), cpu.state.cr2, cpu.state.cr0]);
    all.extend((0..64).map(|n| machine.get(Slot::new(32 + n))));
    all.extend([u64::from(cpu.state.mxcsr), u64::from(cpu.state.fpu.top)]);
    all.extend(
        cpu.state
            .segmentation
            .segments
            .iter()
            .map(|s| u64::from(s.selector)),
    );
    (all, machine.read::<0x1_0000>(DATA).to_vec())
}

#[test]
fn any_bytes_end_in_an_exit_and_the_tiers_agree() {
    let mut compared = 0;
    for seed in 0..1500 {
        let (mut interpreted, code) = machine(seed, Tier::Interpret);
        let exit = run(&mut interpreted, 20);
        // Time and chance are no two times the same.
        let unsteady = code
            .windows(2)
            .any(|pair| matches!(pair, [0x0f, 0x31 | 0xc7] | [0x01, 0xf9]));
        if unsteady || exit == Exit::Interrupted {
            continue;
        }
        let (mut compiled, _) = machine(seed, Tier::Compile(1));
        let other = run(&mut compiled, 200);
        if other == Exit::Interrupted {
            // Code that changes itself all the time is compiled all the time.
            continue;
        }
        assert_eq!(other, exit, "{seed}: {code:02x?}");
        let (a, b) = (observe(&interpreted), observe(&compiled));
        assert_eq!(a.0, b.0, "{seed}: {code:02x?}");
        assert!(a.1 == b.1, "memory, {seed}: {code:02x?}");
        compared += 1;
    }
    assert!(compared > 1000, "{compared}");
}
