//! Advanced SIMD instructions that are emitted, by hand-worked examples in both tiers. Every
//! encoding is compared with another implementation in `differential`; these need nothing.

use dynasmrt::{VecAssembler, aarch64::Aarch64Relocation, dynasm};
use std::sync::Arc;
use understudy_arm64::machine::{Machine, Settings};
use understudy_arm64::{Arm64, Cpu, insn, regs, vcpu};
use understudy_engine::single::Single;
use understudy_memory::{GuestMemory, Limits};

/// V0 after the instruction, from these V0, V1, V2, the same in both tiers.
fn run(word: u32, v: [u128; 3]) -> u128 {
    let memory = Arc::new(GuestMemory::new(Limits::arm64(40)));
    let machine = Machine::new(memory, Settings::default());
    let decoded = insn::decode(0, word);
    let start = |cpu: &mut Cpu| {
        for (n, v) in v.iter().enumerate() {
            regs::set_vector(cpu, n as u32, *v);
        }
        cpu.set_slot(regs::x(1), 0xffff_ffff_ffff_ff80);
        cpu.pc = 0x1000;
    };
    let mut cpu = vcpu::new_cpu(&machine, 0);
    start(&mut cpu);
    (decoded.interpret)(&mut cpu, &decoded.operands).expect("it is no branch");
    let interpreted = (regs::vector(&cpu, 0), cpu.slot(regs::x(0)));
    let mut single: Single<Arm64> = Single::new().expect("this host can compile");
    single
        .prepare(0, 0x1000, &decoded)
        .expect("the instruction compiles");
    start(&mut cpu);
    single.run(&mut cpu).expect("it is no branch");
    assert_eq!(
        interpreted,
        (regs::vector(&cpu, 0), cpu.slot(regs::x(0))),
        "{word:08x}"
    );
    assert_eq!(cpu.pc, 0x1004);
    interpreted.0
}

/// `check!(V0, V1, V2 => instruction => V0)`.
macro_rules! check {
    ($d:expr, $n:expr, $m:expr => $($insn:tt)*) => {
        check!(@ [$d, $n, $m] [] $($insn)*)
    };
    (@ $v:tt [$($insn:tt)*] => $result:expr) => {{
        let mut assembler: VecAssembler<Aarch64Relocation> = VecAssembler::new(0);
        dynasm!(assembler ; .arch aarch64 ; $($insn)*);
        let code = assembler.finalize().expect("nothing is relocated");
        let word = u32::from_le_bytes(code.try_into().expect("one instruction"));
        let (got, expected): (u128, u128) = (run(word, $v), $result);
        assert_eq!(got, expected, "{}: {got:x} {expected:x}", stringify!($($insn)*));
    }};
    (@ $v:tt [$($insn:tt)*] $next:tt $($rest:tt)*) => {
        check!(@ $v [$($insn)* $next] $($rest)*)
    };
}

const N: u128 = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;
const M: u128 = 0x1f1e_1d1c_1b1a_1918_1716_1514_1312_1110;
const ONES: u128 = u128::MAX;

#[test]
fn sums_and_products_wrap_in_their_elements() {
    check!(0, 0x00ff_80ff, 0x0001_8001 => add v0.b8, v1.b8, v2.b8 => 0);
    check!(0, ONES, 1 => add v0.d2, v1.d2, v2.d2 => ONES << 64);
    check!(0, 0, ONES => sub v0.h4, v1.h4, v2.h4 => 0x0001_0001_0001_0001);
    check!(1, 0xffff_ffff, 0xffff_ffff => mla v0.s2, v1.s2, v2.s2 => 2);
    check!(1, 0xffff_ffff, 0xffff_ffff => mls v0.s4, v1.s4, v2.s4 => 0);
    check!(0, 0x0310, 0x0510 => mul v0.b16, v1.b16, v2.b16 => 0x0f00);
    check!(0, 3, N => mul v0.s2, v1.s2, v2.s[2] => 0x211e_1b18);
    check!(0, ONES, 0 => add d0, d1, d2 => u64::MAX.into());
}

#[test]
fn comparisons_write_masks() {
    let n = 0x0000_0001_ffff_ffff;
    check!(0, n, 0 => cmgt v0.s2, v1.s2, v2.s2 => 0xffff_ffff_0000_0000);
    check!(0, n, 0 => cmhi v0.s4, v1.s4, v2.s4 => 0xffff_ffff_ffff_ffff);
    check!(0, 1 << 127, 1 => cmhi v0.d2, v1.d2, v2.d2 => ONES << 64);
    check!(0, n, 0 => cmlt v0.s4, v1.s4, 0 => 0xffff_ffff);
    check!(0, n, 0 => cmle v0.d2, v1.d2, 0 => ONES << 64);
    check!(0, 0x0102, 0x0101 => cmtst v0.b8, v1.b8, v2.b8 => 0xff00);
    check!(0, n, n => cmeq d0, d1, d2 => u64::MAX.into());
}

#[test]
fn pairs_come_from_n_then_m() {
    let (n, m) = (0x0004_0003_0002_0001, 0x0008_0007_0006_0005);
    check!(0, n, m => addp v0.h4, v1.h4, v2.h4 => 0x000f_000b_0007_0003);
    check!(0, n, m => addp v0.h8, v1.h8, v2.h8 => 0x000f_000b_0000_0000_0007_0003);
    check!(0, n, m => umaxp v0.h4, v1.h4, v2.h4 => 0x0008_0006_0004_0002);
    check!(0, n, m => sminp v0.h4, v1.h4, v2.h4 => 0x0007_0005_0003_0001);
    check!(0, 1 << 64 | 2, 0 => addp d0, v1.d2 => 3);
    check!(1, 0xff_ff, 0 => uadalp v0.h4, v1.b8 => 0x1ff);
    check!(0, 0xff_ff, 0 => saddlp v0.h4, v1.b8 => 0xfffe);
}

#[test]
fn differences_are_absolute() {
    check!(0, 0x80, 0x7f => sabd v0.b8, v1.b8, v2.b8 => 0xff);
    check!(0, 0x00, 0x7f => uabd v0.b8, v1.b8, v2.b8 => 0x7f);
    check!(0, 0x80, 0x7f => sabdl v0.h8, v1.b8, v2.b8 => 0xff);
    check!(1, 0, 2 => uaba v0.s4, v1.s4, v2.s4 => 3);
    check!(1, 0, 2 << 64 => uabal2 v0.d2, v1.s4, v2.s4 => 3);
}

#[test]
fn wide_and_narrow() {
    check!(0, 0xff, 0xff => saddl v0.h8, v1.b8, v2.b8 => 0xfffe);
    check!(0, 0, 1 => usubw v0.h8, v1.h8, v2.b8 => 0xffff);
    check!(0, 0xffff_ffff, 0xffff_ffff => umull v0.d2, v1.s2, v2.s2 => 0xffff_fffe_0000_0001);
    check!(1, 0xffff_ffff << 64, 2 << 64 => smlsl2 v0.d2, v1.s4, v2.s4 => 3);
    check!(ONES, 0x0180_ffff, 0x0000_0001 => addhn v0.b8, v1.h8, v2.h8 => 0x0100);
    check!(ONES, 0x0180_ffff, 0 => raddhn2 v0.b16, v1.h8, v2.h8 => 0x0200 << 64 | u128::from(u64::MAX));
    check!(0, 0, 1 => rsubhn v0.s2, v1.d2, v2.d2 => 0);
    check!(0, 0x80, 0 => sshll v0.h8, v1.b8, 7 => 0xc000);
    check!(0, 0xffff_ffff << 64, 0 => shll2 v0.d2, v1.s4, 32 => 0xffff_ffff << 32);
    check!(0, 0x1ff, 0 => rshrn v0.b8, v1.h8, 1 => 0);
    check!(7, N, 0 => xtn2 v0.h8, v1.s4 => 0x0d0c_0908_0504_0100 << 64 | 7);
}

#[test]
fn shifts_by_whole_elements() {
    check!(0, 0x80, 0 => sshr v0.b8, v1.b8, 8 => 0xff);
    check!(0, ONES, 0 => ushr v0.d2, v1.d2, 64 => 0);
    check!(0xff, 0x80, 0 => usra v0.b8, v1.b8, 7 => 0);
    check!(5, ONES, 0 => sri d0, d1, 64 => 5);
    check!(0xaa, 0xff, 0 => sri v0.b8, v1.b8, 4 => 0xaf);
    check!(0x5a, 0xff, 0 => sli v0.b8, v1.b8, 4 => 0xfa);
    check!(0x5a, 0x12, 0 => sli v0.b8, v1.b8, 0 => 0x12);
    check!(0, 3, 0 => shl d0, d1, 63 => 1 << 63);
}

#[test]
fn lanes_move() {
    check!(0, N, M => zip1 v0.b16, v1.b16, v2.b16 => 0x1707_1606_1505_1404_1303_1202_1101_1000);
    check!(0, N, M => uzp2 v0.h4, v1.h4, v2.h4 => 0x1716_1312_0706_0302);
    check!(0, N, M => trn2 v0.s4, v1.s4, v2.s4 => 0x1f1e_1d1c_0f0e_0d0c_1716_1514_0706_0504);
    check!(0, N, M => ext v0.b16, v1.b16, v2.b16, 15 => M << 8 | 0x0f);
    check!(0, N, M => ext v0.b8, v1.b8, v2.b8, 3 => 0x1211_1007_0605_0403);
    check!(0, N, 0 => rev32 v0.h8, v1.h8 => 0x0d0c_0f0e_0908_0b0a_0504_0706_0100_0302);
    check!(0, N, 0 => dup v0.h4, v1.h[7] => 0x0f0e_0f0e_0f0e_0f0e);
    check!(ONES, N, 0 => mov v0.b[15], v1.b[3] => 0x03 << 120 | ONES >> 8);
    check!(0, 0, 0 => dup v0.h8, w1 => u128::MAX / 0xffff * 0xff80);
    check!(ONES, 0, 0 => mov v0.s[1], w1 => ONES & !(0x7f << 32));
}

#[test]
fn selections_and_counts() {
    check!(0b0011, 0b0101, 0b1001 => bsl v0.b8, v1.b8, v2.b8 => 0b1001);
    check!(0b0011, 0b0101, 0b1001 => bit v0.b8, v1.b8, v2.b8 => 0b0011);
    check!(0b0011, 0b0101, 0b1001 => bif v0.b8, v1.b8, v2.b8 => 0b0101);
    check!(0, 0b0101, 0b1001 => bic v0.b16, v1.b16, v2.b16 => 0b0100);
    check!(0, 0b0101, 0b1001 => orn v0.b16, v1.b16, v2.b16 => !0b1000);
    check!(0, 0x01_ffff_8000, 0 => cnt v0.b16, v1.b16 => 0x01_0808_0100);
    check!(0, 0x8000_ffff, 0 => abs v0.h4, v1.h4 => 0x8000_0001);
    check!(0, 0x8000_ffff, 0 => neg v0.h4, v1.h4 => 0x8000_0001);
    check!(ONES, 0, 0 => movi d0, 0xff00_0000_00ff_ff00 => 0xff00_0000_00ff_ff00);
    check!(ONES, 0, 0 => bic v0.s4, 0xab, lsl 24 => u128::MAX / 0xffff_ffff * 0x54ff_ffff);
}
