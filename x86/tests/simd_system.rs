//! What SIMD instructions need, and what keeps them from being executed (SDM vol. 1, 11.5 and 14.8;
//! vol. 2, 2.4 and 2.5; vol. 3A, 13.1), in both tiers.

use understudy_engine::run::Tier;
use understudy_x86::exit::Exit;
use understudy_x86::regs::{RAX, RBX, RCX, ymm};
use understudy_x86::state::{self, cr0, cr4, xcr0};
use understudy_x86::testing::{Bare, CODE, DATA, END};

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];

/// Has everything enabled.
fn enable(m: &mut Bare) {
    let state = &mut m.cpu().state;
    state.cr4 |= cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::OSXSAVE;
    state.xcr0 = xcr0::X87 | xcr0::SSE | xcr0::AVX;
    state::changed(m.cpu());
}

fn run(code: &[u8], prepare: impl Fn(&mut Bare)) -> Bare {
    Bare::both(code, |m| {
        enable(m);
        m.set(RBX, DATA);
        prepare(m);
        state::changed(m.cpu());
    })
}

// paddb mm0, mm1; addps xmm0, xmm1; cvtpi2ps xmm0, mm1; vaddps xmm0, xmm0, xmm1
const MMX: &[u8] = &[0x0f, 0xfc, 0xc1];
const SSE: &[u8] = &[0x0f, 0x58, 0xc1];
const BOTH: &[u8] = &[0x0f, 0x2a, 0xc1];
const AVX: &[u8] = &[0xc5, 0xf8, 0x58, 0xc1];

#[test]
fn control_registers_decide_whether_there_is_simd() {
    type Change = fn(&mut Bare);
    // Exceptions of MMX, SSE, SSE with MMX, AVX.
    let cases: [(&str, Change, [Option<u8>; 4]); 7] = [
        ("all enabled", |_| (), [None; 4]),
        (
            "CR0.EM",
            |m| m.cpu().state.cr0 |= cr0::EM,
            [Some(6), Some(6), Some(6), None],
        ),
        ("CR0.TS", |m| m.cpu().state.cr0 |= cr0::TS, [Some(7); 4]),
        (
            "CR0.EM and CR0.TS",
            |m| m.cpu().state.cr0 |= cr0::EM | cr0::TS,
            [Some(6), Some(6), Some(6), Some(7)],
        ),
        (
            "no CR4.OSFXSR",
            |m| m.cpu().state.cr4 &= !cr4::OSFXSR,
            [None, Some(6), Some(6), None],
        ),
        (
            "no CR4.OSXSAVE",
            |m| m.cpu().state.cr4 &= !cr4::OSXSAVE,
            [None, None, None, Some(6)],
        ),
        (
            "XCR0 without AVX",
            |m| m.cpu().state.xcr0 = 3,
            [None, None, None, Some(6)],
        ),
    ];
    for (name, change, expected) in cases {
        for (code, expected) in [MMX, SSE, BOTH, AVX].into_iter().zip(expected) {
            let end = run(code, change);
            assert_eq!(end.exception(), expected, "{name}: {code:x?}");
            assert_eq!(end.at_end(), expected.is_none(), "{name}: {code:x?}");
        }
    }
    // An exception of the x87 waits: MMX instructions take it, SSE's do not.
    for (code, expected) in [(MMX, Some(16)), (SSE, None), (BOTH, Some(16)), (AVX, None)] {
        let end = run(code, |m| {
            let state = &mut m.cpu().state;
            state.cr0 |= cr0::NE;
            state.fpu.control &= !1;
            state.fpu.status |= 1;
        });
        assert_eq!(end.exception(), expected, "{code:x?}");
    }
    // In real mode there is no VEX prefix: with a register it is LDS's opcode, undefined.
    let end = Bare::both_at(
        0x1_0000,
        AVX,
        || Bare::real(0x1_0000),
        |m| {
            m.set(understudy_x86::regs::RSP, 0x8000);
            m.write(4 * 6, &0x2000_0006u32.to_le_bytes());
            m.write(0x2_0006, &[0xf4]);
        },
    );
    assert_eq!(end.vcpu.cpu().pc, 0x2_0007);
}

#[test]
fn exceptions_that_are_not_masked_leave_the_destination() {
    let one = 1f32.to_bits();
    // divss xmm0, xmm1, with ZE not masked; then the same without CR4.OSXMMEXCPT.
    for (known, expected) in [(true, 19), (false, 6)] {
        let end = run(&[0xf3, 0x0f, 0x5e, 0xc1], |m| {
            m.cpu().state.mxcsr = 0x1f80 & !(1 << 9);
            m.set(ymm(0), one.into());
            if !known {
                m.cpu().state.cr4 &= !cr4::OSXMMEXCPT;
            }
        });
        assert_eq!(end.exception(), Some(expected));
        assert_eq!(end.get(ymm(0)), one.into());
        assert_eq!(end.vcpu.cpu().state.mxcsr, 0x1d84);
        assert_eq!(end.read_u64(end.get(understudy_x86::regs::RSP)), CODE);
    }
}

#[test]
fn mxcsr_takes_effect_at_once() {
    let divide = [0xf3, 0x0f, 0x5e, 0xc1];
    let masks = (0x1f80u32 & !(1 << 9)).to_le_bytes();
    // ldmxcsr [rbx]; divss xmm0, xmm1
    let ldmxcsr = [&[0x0f, 0xae, 0x13][..], &divide].concat();
    // fxrstor [rbx]; divss xmm0, xmm1
    let fxrstor = [&[0x0f, 0xae, 0x0b][..], &divide].concat();
    // xrstor [rbx]; divss xmm0, xmm1
    let xrstor = [&[0x0f, 0xae, 0x2b][..], &divide].concat();
    for (code, at, eax) in [(ldmxcsr, 0, 0), (fxrstor, 24, 0), (xrstor, 24, 2)] {
        let end = run(&code, |m| {
            m.set(RAX, eax);
            m.set(ymm(0), 1f32.to_bits().into());
            m.write(DATA + at, &masks);
            m.write(DATA + 160, &1f32.to_bits().to_le_bytes());
            m.write(DATA + 512, &[2]);
        });
        assert_eq!(end.exception(), Some(19), "{code:x?}");
        assert_eq!(end.vcpu.cpu().state.mxcsr, 0x1d84);
    }
    // Bits that do not exist: #GP.
    let end = run(&[0x0f, 0xae, 0x13], |m| {
        m.write(DATA, &0x1_1f80u32.to_le_bytes());
    });
    assert_eq!((end.exception(), end.error_code()), (Some(13), 0));
    // stmxcsr [rbx] after an inexact product: mulss xmm0, xmm0
    let end = run(&[0xf3, 0x0f, 0x59, 0xc0, 0x0f, 0xae, 0x1b], |m| {
        m.set(ymm(0), 1.1f32.to_bits().into());
    });
    assert_eq!(end.read_u64(DATA) as u32, 0x1fa0);
}

#[test]
fn vectors_cross_pages_and_are_aligned_where_they_must_be() {
    // movups xmm0, [rbx]; vmovups ymm1, [rbx]; vmovups [rbx + 0x2000], ymm1; movups [rbx + 0x2040], xmm0
    let code = [
        0x0f, 0x10, 0x03, 0xc5, 0xfc, 0x10, 0x0b, 0xc5, 0xfc, 0x11, 0x8b, 0, 0x20, 0, 0, 0x0f,
        0x11, 0x83, 0x40, 0x20, 0, 0,
    ];
    for at in (0xfc0..0x1001).step_by(3) {
        let end = run(&code, |m| {
            m.set(RBX, DATA + at);
            let bytes: Vec<u8> = (0..32).map(|i| (i * 7 + 1) as u8).collect();
            m.write(DATA + at, &bytes);
        });
        assert!(end.at_end());
        let expected: [u8; 32] = end.read(DATA + at);
        assert_eq!(end.read::<32>(DATA + at + 0x2000), expected);
        assert_eq!(end.read::<16>(DATA + at + 0x2040), expected[..16]);
    }
    // vmovaps ymm0, [rbx]; vmovaps [rbx], ymm0; movaps xmm0, [rbx]; vmovaps xmm0, [rbx];
    // vpaddb ymm0, ymm0, [rbx]
    for (code, alignment) in [
        (&[0xc5, 0xfc, 0x28, 0x03][..], 32),
        (&[0xc5, 0xfc, 0x29, 0x03], 32),
        (&[0x0f, 0x28, 0x03], 16),
        (&[0xc5, 0xf8, 0x28, 0x03], 16),
        (&[0xc5, 0xfd, 0xfc, 0x03], 1),
    ] {
        for at in [0, 8, 16, 32, 33, 48] {
            let end = run(code, |m| m.set(RBX, DATA + at));
            let expected = (at % alignment != 0).then_some(13);
            assert_eq!(end.exception(), expected, "{code:x?} at {at}");
        }
    }
}

#[test]
fn a_gather_that_faults_keeps_what_it_has() {
    // vpgatherqq ymm0, [rbx + ymm1], ymm2
    let code = [0xc4, 0xe2, 0xed, 0x90, 0x04, 0x0b];
    let code = [&code[..3], &[0x91], &code[4..]].concat();
    let end = run(&code, |m| {
        let indices = [0, 8, 1 << 60, 16];
        for (i, index) in (0..).zip(indices) {
            m.set(understudy_engine::emit::Slot::new(36 + i), index);
            m.set(understudy_engine::emit::Slot::new(40 + i), !0);
            m.set(understudy_engine::emit::Slot::new(32 + i), 0xaa);
            m.write(DATA + 8 * u64::from(i), &(u64::from(i) + 1).to_le_bytes());
        }
    });
    assert_eq!(end.exception(), Some(13));
    let register =
        |first: u8| [0, 1, 2, 3].map(|i| end.get(understudy_engine::emit::Slot::new(first + i)));
    assert_eq!(register(32), [1, 2, 0xaa, 0xaa]);
    assert_eq!(register(40), [0, 0, !0, !0]);
}

#[test]
fn masked_lanes_are_not_accessed() {
    // vmaskmovps xmm0, xmm1, [rbx]; vmaskmovps [rbx], xmm1, xmm0, at an address that is not canonical.
    let code = [0xc4, 0xe2, 0x71, 0x2c, 0x03, 0xc4, 0xe2, 0x71, 0x2e, 0x03];
    for (mask, expected) in [(0, None), (1u64 << 63, Some(13))] {
        let end = run(&code, |m| {
            m.set(RBX, 1 << 60);
            m.set(ymm(1), mask);
        });
        assert_eq!(end.exception(), expected);
    }
}

#[test]
fn vectors_in_a_device_are_two_accesses() {
    // movups xmm0, [rbx]; movups [rbx + 16], xmm0
    let code = [0x0f, 0x10, 0x03, 0x0f, 0x11, 0x43, 0x10];
    let device = END + 0x1000;
    for tier in TIERS {
        let mut m = Bare::new();
        enable(&mut m);
        m.code_at(CODE, &code);
        m.set(RBX, device);
        let mut exit = m.run(tier);
        for i in 0..2 {
            let Exit::Mmio(mmio) = exit else {
                panic!("{exit:?}")
            };
            assert_eq!((mmio.address, mmio.length), (device + 8 * i, 8));
            assert!(!mmio.is_write);
            m.vcpu.complete_mmio(&(0x1111 * (i + 1)).to_le_bytes());
            exit = m.run_on();
        }
        for i in 0..2 {
            let Exit::Mmio(mmio) = exit else {
                panic!("{exit:?}")
            };
            assert_eq!((mmio.address, mmio.length), (device + 16 + 8 * i, 8));
            assert!(mmio.is_write);
            assert_eq!(mmio.data, (0x1111 * (i + 1)).to_le_bytes());
            exit = m.run_on();
        }
        assert_eq!(exit, Exit::Hlt);
        assert!(m.at_end());
    }
}

#[test]
fn code_of_32_bits_has_eight_registers() {
    // vzeroall; movups xmm1, [ebx]; pshufd xmm2, xmm1, 0
    let code = [
        0xc5, 0xfc, 0x77, 0x0f, 0x10, 0x0b, 0x66, 0x0f, 0x70, 0xd1, 0,
    ];
    let end = Bare::both_at(CODE, &code, Bare::protected, |m| {
        enable(m);
        m.set(RBX, DATA);
        m.write(DATA, &0x0123_4567u32.to_le_bytes());
        m.set(ymm(7), 7);
        m.set(ymm(8), 8);
        m.set(RCX, 5);
    });
    assert!(end.at_end());
    assert_eq!((end.get(ymm(7)), end.get(ymm(8))), (0, 8));
    assert_eq!(end.get(ymm(2)), 0x0123_4567_0123_4567);
}
