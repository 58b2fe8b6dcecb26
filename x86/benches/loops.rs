//! How fast small loops run in each tier: `cargo bench -p understudy-x86`.

use understudy_engine::run::Tier;
use understudy_x86::regs::{RAX, RBX, RCX, ymm};
use understudy_x86::state::{self, cr4};
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
    // mulsd xmm4, xmm5; addsd xmm6, xmm4; subsd xmm7, xmm5; dec rcx; jnz
    let double = vec![
        0xf2, 0x0f, 0x59, 0xe5, 0xf2, 0x0f, 0x58, 0xf4, 0xf2, 0x0f, 0x5c, 0xfd, 0x48, 0xff, 0xc9,
        0x75, 0xef,
    ];
    // movdqu xmm0, [rbx]; paddd xmm1, xmm0; pxor xmm2, xmm1; pshufd xmm3, xmm1, 0x1b;
    // movdqu [rbx + 16], xmm2; dec rcx; jnz
    let vector = vec![
        0xf3, 0x0f, 0x6f, 0x03, 0x66, 0x0f, 0xfe, 0xc8, 0x66, 0x0f, 0xef, 0xd1, 0x66, 0x0f, 0x70,
        0xd9, 0x1b, 0xf3, 0x0f, 0x7f, 0x53, 0x10, 0x48, 0xff, 0xc9, 0x75, 0xe5,
    ];
    // mulps xmm0, xmm1; addpd xmm2, xmm3; dec rcx; jnz
    let packed = vec![
        0x0f, 0x59, 0xc1, 0x66, 0x0f, 0x58, 0xd3, 0x48, 0xff, 0xc9, 0x75, 0xf4,
    ];
    for (name, code, insns) in [
        ("integer", integer, 8),
        ("memory", memory, 7),
        ("double", double, 5),
        ("vector", vector, 7),
        ("packed", packed, 4),
    ] {
        for (tier, turns) in [
            (Tier::Interpret, 3_000_000u64),
            (Tier::Compile(1), 100_000_000),
        ] {
            let mut machine = Bare::new();
            machine.code_at(CODE, &code);
            machine.set(RAX, 1);
            machine.set(RBX, DATA);
            machine.set(RCX, turns);
            enable_sse(&mut machine);
            let start = std::time::Instant::now();
            machine.run(tier);
            let time = start.elapsed().as_secs_f64();
            assert!(machine.at_end());
            let speed = (turns * insns) as f64 / time / 1e6;
            println!("{name} {tier:?}: {speed:.0} million instructions a second");
        }
    }
}

/// SSE may be used, and its registers hold ordinary numbers.
fn enable_sse(machine: &mut Bare) {
    machine.cpu().state.cr4 |= cr4::OSFXSR;
    state::changed(machine.cpu());
    let singles = |value: f32| u64::from(value.to_bits()) << 32 | u64::from(value.to_bits());
    for (number, value) in [
        (0, singles(1.1)),
        (1, singles(1.0)),
        (2, 0.5f64.to_bits()),
        (3, 0.1f64.to_bits()),
        (4, 1.1f64.to_bits()),
        (5, 1.0f64.to_bits()),
        (6, 0.5f64.to_bits()),
        (7, 0.1f64.to_bits()),
    ] {
        machine.set(ymm(number), value);
        machine.set(ymm(number).next(), value);
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
