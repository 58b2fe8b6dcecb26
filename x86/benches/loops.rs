//! How fast two small loops run in each tier: `cargo bench -p understudy-x86`.

use understudy_engine::run::Tier;
use understudy_x86::regs::{RAX, RBX, RCX};
use understudy_x86::testing::{Bare, CODE, DATA};

fn main() {
    // add rax, rcx; xor rdx, rax; lea rsi, [rdx + rax * 2]; cmp rsi, rbx; setl dl; sub rdi, rsi; dec rcx;
    // jnz
    let integer = vec![
        0x48, 0x01, 0xc8, 0x48, 0x31, 0xc2, 0x48, 0x8d, 0x34, 0x42, 0x48, 0x39, 0xde, 0x0f, 0x9c,
        0xc2, 0x48, 0x29, 0xf7, 0x48, 0xff, 0xc9, 0x75, 0xe8,
    ];
    // mov rax, [rbx + 8]; add [rbx + 16], rax; mov edx, [rbx]; add edx, 3; mov [rbx], edx; dec rcx; jnz
    let memory = vec![
        0x48, 0x8b, 0x43, 0x08, 0x48, 0x01, 0x43, 0x10, 0x8b, 0x13, 0x83, 0xc2, 0x03, 0x89, 0x13,
        0x48, 0xff, 0xc9, 0x75, 0xec,
    ];
    for (name, code, insns) in [("integer", integer, 8), ("memory", memory, 7)] {
        for (tier, turns) in [
            (Tier::Interpret, 3_000_000u64),
            (Tier::Compile(1), 100_000_000),
        ] {
            let mut machine = Bare::new();
            machine.code_at(CODE, &code);
            machine.set(RAX, 1);
            machine.set(RBX, DATA);
            machine.set(RCX, turns);
            let start = std::time::Instant::now();
            machine.run(tier);
            let time = start.elapsed().as_secs_f64();
            assert!(machine.at_end());
            let speed = (turns * insns) as f64 / time / 1e6;
            println!("{name} {tier:?}: {speed:.0} million instructions a second");
        }
    }
}

#[test]
#[ignore = "it measures"]
fn copies() {
    // 1: mov rsi, rbx; lea rdi, [rbx + 0x4000]; mov ecx, 0x3000; rep movsb; dec rdx; jnz 1b
    let code = [
        0x48, 0x89, 0xde, 0x48, 0x8d, 0xbb, 0, 0x40, 0, 0, 0xb9, 0, 0x30, 0, 0, 0xf3, 0xa4, 0x48,
        0xff, 0xca, 0x75, 0xea,
    ];
    let turns = 100_000;
    let mut machine = Bare::new();
    machine.code_at(CODE, &code);
    machine.set(RBX, DATA);
    machine.set(RDX, turns);
    let start = std::time::Instant::now();
    machine.run(Tier::Compile(1));
    let time = start.elapsed().as_secs_f64();
    assert!(machine.at_end());
    let speed = (turns * 0x3000) as f64 / time / 1e9;
    println!("rep movsb: {speed:.1} GB a second");
}
