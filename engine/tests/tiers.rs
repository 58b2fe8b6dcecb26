//! The interpreter and compiled code agree, on random programs of a toy architecture.

mod toy;

use proptest::prelude::*;
use toy::{Toy, machine, op};
use understudy_engine::run::{Engine, Tier};

/// An instruction that ends no block, touching slots below 12 (12 to 15 steer the program).
fn straight() -> impl Strategy<Value = [u8; 4]> {
    (0..op::STRAIGHT, any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(o, a, b, c)| {
        let low = |x: u8| x & 0xf0 | ((x & 15) % 12);
        [
            o,
            low(a),
            low(b),
            if (op::UNARY..18).contains(&o) {
                c
            } else {
                low(c)
            },
        ]
    })
}

fn offset(o: u8, a: u8, by: i16) -> [u8; 4] {
    let [b, c] = by.to_le_bytes();
    [o, a, b, c]
}

/// A loop of blocks that run `turns` times, jump forward over each other, and call a function.
fn program() -> impl Strategy<Value = Vec<[u8; 4]>> {
    let block = proptest::collection::vec(straight(), 1..12);
    (
        proptest::collection::vec((block, 0u8..4, 0..12u8), 1..8),
        3u8..12,
    )
        .prop_map(|(blocks, turns)| {
            let mut code = vec![
                offset(op::IMMEDIATE, 13, turns as i16),
                offset(op::IMMEDIATE, 12, 0),
            ];
            let start = code.len() as i16;
            for (block, kind, slot) in &blocks {
                match kind {
                    0 => code.push(offset(op::BRANCH, *slot, block.len() as i16 + 1)),
                    1 => code.push(offset(op::CALL, 14, 2)),
                    2 => code.push(offset(op::JUMP, 0, 1)),
                    _ => code.push([op::DISPATCH, 3, 4, 0]),
                }
                if *kind == 1 {
                    // The call goes over a jump over the function, which returns to that jump.
                    code.push(offset(op::JUMP, 0, block.len() as i16 + 2));
                    code.extend(block);
                    code.push([op::JUMP_TO, 14, 0, 0]);
                } else {
                    code.extend(block);
                }
            }
            // 13 -= 1 (slot 12 holds 1); again while it is not 0.
            code.push([op::BINARY + 1, 13, 13, 12]);
            let back = start - code.len() as i16;
            code.push(offset(op::BRANCH, 13, back));
            code.push([op::HALT, 0, 0, 0]);
            code
        })
}

fn finish(program: &[[u8; 4]], slots: &[u64; 12], tier: Tier) -> Engine<Toy> {
    let mut engine = machine(4, program, tier);
    engine.cpu.regs[..12].copy_from_slice(slots);
    engine.cpu.regs[7] &= 0x2fff;
    // Programs that store over themselves may run for ever.
    for _ in 0..3 {
        if !engine.cpu.state.halted {
            engine.run();
        }
    }
    engine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn tiers_agree(program in program(), slots in proptest::array::uniform12(any::<u64>())) {
        // The code is on the last of four pages, where no store goes but one that runs over the end
        // of the third: programs that change themselves have no epoch to tell.
        const START: usize = 3 * 1024 + 8;
        let mut whole = vec![[op::HALT, 0, 0, 0]; START];
        whole[0] = offset(op::JUMP, 0, START as i16);
        whole.extend(program);
        let program = whole;
        let interpreted = finish(&program, &slots, Tier::Interpret);
        for after in [1, 2, 3] {
            let compiled = finish(&program, &slots, Tier::Compile(after));
            prop_assert_eq!(interpreted.cpu.regs, compiled.cpu.regs);
            prop_assert_eq!(interpreted.cpu.pc, compiled.cpu.pc);
            prop_assert_eq!(interpreted.cpu.instructions, compiled.cpu.instructions);
            prop_assert_eq!(&interpreted.cpu.state.device, &compiled.cpu.state.device);
            for (a, b) in interpreted.cpu.state.memory.iter().zip(&compiled.cpu.state.memory) {
                prop_assert!(a.0 == b.0);
            }
        }
    }
}

#[test]
fn changed_code_is_seen_in_the_next_epoch() {
    for tier in [Tier::Interpret, Tier::Compile(1), Tier::Compile(2)] {
        // Ten turns of: slot 1 += slot 2, or -= once the instruction has been changed.
        let program = [
            [op::BINARY, 1, 1, 2],
            [op::BINARY + 1, 13, 13, 12],
            offset(op::BRANCH, 13, -2),
            [op::HALT, 0, 0, 0],
        ];
        let mut engine = machine(1, &program, tier);
        engine.cpu.regs[2] = 3;
        engine.cpu.regs[12] = 1;
        for (opcode, expected) in [(op::BINARY, 30), (op::BINARY + 1, 0), (op::BINARY, 30)] {
            engine.cpu.state.memory[0].0[0] = opcode;
            engine.cpu.regs[13] = 10;
            engine.cpu.pc = 0;
            engine.run();
            assert_eq!(engine.cpu.regs[1], expected, "{tier:?}");
        }
    }
}

/// The instruction as the four bytes that a store of 32 bits writes.
fn word(insn: [u8; 4]) -> u64 {
    u32::from_le_bytes(insn).into()
}

#[test]
fn a_store_over_the_next_instruction_is_seen_at_once() {
    for tier in [Tier::Interpret, Tier::Compile(1), Tier::Compile(2)] {
        // Ten turns: slot 1 += slot 2, and -= after the store over it; the next store undoes that.
        let program = [
            [op::STORE + 2, 5, 3, 0],
            [op::BINARY, 1, 1, 2],
            [op::STORE + 2, 6, 3, 0],
            [op::BINARY + 1, 13, 13, 12],
            offset(op::BRANCH, 13, -4),
            [op::HALT, 0, 0, 0],
        ];
        let mut engine = machine(1, &program, tier);
        engine.cpu.regs[2] = 3;
        engine.cpu.regs[3] = 4;
        engine.cpu.regs[5] = word([op::BINARY + 1, 1, 1, 2]);
        engine.cpu.regs[6] = word([op::BINARY, 1, 1, 2]);
        engine.cpu.regs[12] = 1;
        engine.cpu.regs[13] = 10;
        engine.run();
        assert_eq!(engine.cpu.regs[1] as i64, -30, "{tier:?}");
        assert_eq!(engine.cpu.regs[13], 0, "{tier:?}");
    }
}

#[test]
fn a_call_that_stores_over_code_goes_on_where_it_calls() {
    for tier in [Tier::Interpret, Tier::Compile(1)] {
        // The store is the last of its block: a jump follows in the same one.
        let program = [
            [op::STORE + 2, 5, 3, 0],
            offset(op::JUMP, 0, 2),
            [op::HALT, 0, 0, 0],
            [op::BINARY, 1, 1, 2],
            [op::HALT, 0, 0, 0],
        ];
        let mut engine = machine(1, &program, tier);
        engine.cpu.regs[1] = 1;
        engine.cpu.regs[2] = 3;
        engine.cpu.regs[3] = 12;
        engine.cpu.regs[5] = word([op::BINARY + 2, 1, 1, 2]);
        engine.run();
        assert_eq!((engine.cpu.regs[1], engine.cpu.pc), (3, 16), "{tier:?}");
    }
}

#[test]
fn a_block_that_was_decoded_anew_is_not_run_as_it_was_compiled() {
    // 0: the entry of a region; 8: a block of it, which changes, and is run by itself first.
    let program = [
        [op::BINARY + 1, 13, 13, 12],
        offset(op::JUMP, 0, 1),
        [op::BINARY, 1, 1, 2],
        offset(op::BRANCH, 13, -3),
        [op::HALT, 0, 0, 0],
    ];
    let mut engine = machine(1, &program, Tier::Compile(3));
    engine.cpu.regs[2] = 3;
    engine.cpu.regs[12] = 1;
    engine.cpu.regs[13] = 6;
    engine.run();
    assert_eq!(engine.cpu.regs[1], 18);
    engine.cpu.state.memory[0].0[8] = op::BINARY + 1;
    engine.cpu.regs[1] = 0;
    engine.cpu.regs[13] = 1;
    engine.cpu.pc = 8;
    engine.run();
    assert_eq!(engine.cpu.regs[1] as i64, -6);
}

#[test]
fn a_request_ends_a_compiled_loop() {
    let mut engine = machine(1, &[offset(op::JUMP, 0, 0)], Tier::Compile(1));
    let requests = engine.cpu.requests().clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        requests.post(understudy_engine::request::EXIT);
    });
    engine.run();
    assert_eq!(engine.cpu.pc, 0);
    assert!(engine.cpu.instructions > 1);
    thread.join().expect("the thread only posts");
}

#[test]
fn code_is_compiled_on_the_other_thread() {
    let program = [
        [op::BINARY, 1, 1, 2],
        [op::BINARY + 1, 13, 13, 12],
        offset(op::BRANCH, 13, -2),
        [op::HALT, 0, 0, 0],
    ];
    let mut engine = machine(1, &program, Tier::Adaptive(10));
    engine.cpu.regs[2] = 1;
    engine.cpu.regs[12] = 1;
    engine.cpu.regs[13] = 50_000_000;
    engine.run();
    assert_eq!(engine.cpu.regs[1], 50_000_000);
    assert_eq!(engine.cpu.instructions, 150_000_001);
}
