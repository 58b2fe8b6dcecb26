//! What a comparison with user-mode emulation cannot show of loads and stores: both byte orders,
//! alignment, rights, the exclusive monitor, what is reported of an access. In both tiers.

use dynasmrt::{VecAssembler, aarch64::Aarch64Relocation, dynasm};
use understudy_arm64::exit::Exit;
use understudy_arm64::regs;
use understudy_arm64::testing::{Bare, DATA, DATA_SIZE, USER};
use understudy_engine::run::Tier;

/// The words of an assembled program.
macro_rules! code {
    ($($t:tt)*) => {{
        let mut ops: VecAssembler<Aarch64Relocation> = VecAssembler::new(0);
        dynasm!(ops; .arch aarch64; $($t)*);
        let bytes = ops.finalize().expect("it assembles");
        bytes
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")))
            .collect::<Vec<u32>>()
    }};
}

/// SCTLR_EL1.EE and E0E.
const BIG_ENDIAN: u64 = 1 << 25 | 1 << 24;
/// SCTLR_EL1.A.
const ALIGNED: u64 = 1 << 1;

/// Bytes 0, 1, 2... at [`DATA`], where X1 points; X2 and X3 as given.
fn bytes(machine: &mut Bare) {
    let bytes: Vec<u8> = (0..=255).collect();
    machine.write(DATA, &bytes);
    machine.set_x(1, DATA);
    machine.set_x(2, 0x1122_3344_5566_7788);
    machine.set_x(3, 0x99aa_bbcc_ddee_ff00);
    machine.set_v(2, 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    machine.set_v(3, 0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20);
}

#[track_caller]
fn run(words: &[u32], prepare: impl Fn(&mut Bare)) -> Bare {
    let end = Bare::both(words, |machine| {
        bytes(machine);
        prepare(machine);
    });
    assert!(end.at_end(words), "{:x?}", end.exception());
    end
}

/// The exception's vector, class, ISS and FAR of code that takes one; it must leave X0 alone.
#[track_caller]
fn takes(words: &[u32], prepare: impl Fn(&mut Bare)) -> (u64, u64, u64, u64) {
    let end = Bare::both(words, |machine| {
        bytes(machine);
        machine.set_x(0, 0x5a5a);
        prepare(machine);
    });
    assert_eq!(end.x(0), 0x5a5a);
    end.exception().expect("it takes an exception")
}

fn big(machine: &mut Bare) {
    machine.set_control(BIG_ENDIAN);
}

#[test]
fn addressing() {
    let words = code!(ldr x4, [x1, 8]; ldr w5, [x1, -4]!; ldrb w6, [x1], 5; ldrh w7, [x1, x8, lsl 1];
        ldr x9, [x1, w10, sxtw 3]; ldur x11, [x1, 1]);
    let end = run(&words, |machine| {
        machine.write(DATA - 8, &[0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7]);
        machine.set_x(8, 2);
        machine.set_x(10, 0xffff_ffff);
    });
    assert_eq!(end.x(4), 0x0f0e_0d0c_0b0a_0908);
    assert_eq!(end.x(5), 0xf7f6_f5f4);
    assert_eq!(end.x(6), 0xf4);
    assert_eq!(end.x(1), DATA + 1);
    assert_eq!(end.x(7), 0x0605);
    assert_eq!(end.x(9), 0x00f7_f6f5_f4f3_f2f1);
    assert_eq!(end.x(11), 0x0908_0706_0504_0302);
}

#[test]
fn pairs_and_literals() {
    // LDR X4, . - 8; LDRSW X5, . - 12; LDR W6, . - 12, after the data.
    let words = [
        0x1400_0003, // B .+12
        0x8586_8788,
        0x8182_8384,
        0x58ff_ffc4,
        0x98ff_ffa5,
        0x18ff_ffa6,
        0xd503_201f,
    ];
    let end = run(&words, |_| {});
    assert_eq!(end.x(4), 0x8182_8384_8586_8788);
    assert_eq!(end.x(5), 0xffff_ffff_8586_8788);
    assert_eq!(end.x(6), 0x8182_8384);
    let words = code!(ldp x4, x5, [x1, 8]; ldpsw x6, x7, [x1, 0x80]; stp w2, w3, [x1, 4]!; stnp x2, x3, [x1, 0x40];
        ldp w8, w9, [x1], 8);
    let end = run(&words, |_| {});
    assert_eq!(
        (end.x(4), end.x(5)),
        (0x0f0e_0d0c_0b0a_0908, 0x1716_1514_1312_1110)
    );
    assert_eq!(
        (end.x(6), end.x(7)),
        (0xffff_ffff_8382_8180, 0xffff_ffff_8786_8584)
    );
    assert_eq!(
        (end.x(8), end.x(9), end.x(1)),
        (0x5566_7788, 0xddee_ff00, DATA + 12)
    );
    assert_eq!(end.read_u64(DATA + 4), 0xddee_ff00_5566_7788);
    assert_eq!(end.read_u64(DATA + 0x4c), 0x99aa_bbcc_ddee_ff00);
}

#[test]
fn big_endian_general_registers() {
    let words = code!(ldr x4, [x1]; ldr w5, [x1, 4]; ldrh w6, [x1, 2]; ldrsb x7, [x1, 0x80];
        ldrsw x8, [x1, 0xf0]; ldp x9, x10, [x1, 8]; ldp w11, w12, [x1, 16]);
    let end = run(&words, big);
    let x = [4, 5, 6, 7, 8, 9, 10, 11, 12].map(|n| end.x(n));
    assert_eq!(
        x,
        [
            0x0001_0203_0405_0607,
            0x0405_0607,
            0x0203,
            !0x7f,
            0xffff_ffff_f0f1_f2f3,
            0x0809_0a0b_0c0d_0e0f,
            0x1011_1213_1415_1617,
            0x1011_1213,
            0x1415_1617
        ]
    );
    let words = code!(str x2, [x1]; str w2, [x1, 8]; strh w2, [x1, 12]; strb w2, [x1, 14]; stp x2, x3, [x1, 16]);
    let end = run(&words, big);
    assert_eq!(
        end.read(DATA),
        [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]
    );
    assert_eq!(
        end.read(DATA + 8),
        [0x55, 0x66, 0x77, 0x88, 0x77, 0x88, 0x88, 15]
    );
    assert_eq!(end.read_u64(DATA + 16).swap_bytes(), 0x1122_3344_5566_7788);
    assert_eq!(end.read_u64(DATA + 24).swap_bytes(), 0x99aa_bbcc_ddee_ff00);
    // The literal is data, too.
    let words = [0x1400_0002, 0x0102_0304, 0x18ff_ffe4];
    assert_eq!(run(&words, big).x(4), 0x0403_0201);
}

#[test]
fn big_endian_vectors() {
    let words = code!(ldr q4, [x1]; ldr d5, [x1, 8]; ldr h6, [x1, 2]; ldp q7, q8, [x1, 16]; ldp s9, s10, [x1, 4]);
    let end = run(&words, big);
    assert_eq!(end.v(4), 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
    assert_eq!(end.v(5), 0x0809_0a0b_0c0d_0e0f);
    assert_eq!(end.v(6), 0x0203);
    assert_eq!(end.v(7), 0x1011_1213_1415_1617_1819_1a1b_1c1d_1e1f);
    assert_eq!(end.v(8), 0x2021_2223_2425_2627_2829_2a2b_2c2d_2e2f);
    assert_eq!((end.v(9), end.v(10)), (0x0405_0607, 0x0809_0a0b));
    let end = run(&code!(str q2, [x1]; stp d2, d3, [x1, 16]), big);
    assert_eq!(end.read_u64(DATA).swap_bytes(), 0x0102_0304_0506_0708);
    assert_eq!(end.read_u64(DATA + 8).swap_bytes(), 0x090a_0b0c_0d0e_0f10);
    assert_eq!(end.read_u64(DATA + 16).swap_bytes(), 0x090a_0b0c_0d0e_0f10);
    assert_eq!(end.read_u64(DATA + 24).swap_bytes(), 0x191a_1b1c_1d1e_1f20);
}

#[test]
fn big_endian_structures_keep_their_lanes_in_order() {
    // LD1 {v4.8h}, [x1]; LD2 {v5.4s, v6.4s}, [x1]; LD1R {v7.2d}, [x1]; LD1 {v8.h}[1], [x1]
    let words = [0x4c40_7424, 0x4c40_8825, 0x4d40_cc27, 0x0d40_4828];
    let end = run(&words, |machine| {
        big(machine);
        machine.set_v(8, 0);
    });
    assert_eq!(end.v(4), 0x0e0f_0c0d_0a0b_0809_0607_0405_0203_0001);
    assert_eq!(end.v(5), 0x1819_1a1b_1011_1213_0809_0a0b_0001_0203);
    assert_eq!(end.v(6), 0x1c1d_1e1f_1415_1617_0c0d_0e0f_0405_0607);
    assert_eq!(end.v(7), 0x0001_0203_0405_0607_0001_0203_0405_0607);
    assert_eq!(end.v(8), 0x0001_0000);
    // ST2 {v2.8h, v3.8h}, [x1]
    let end = run(&[0x4c00_8422], big);
    assert_eq!(
        end.read(DATA),
        [0x0f, 0x10, 0x1f, 0x20, 0x0d, 0x0e, 0x1d, 0x1e]
    );
}

#[test]
fn big_endian_atomics() {
    let one = |machine: &mut Bare| {
        big(machine);
        machine.write(DATA, &[0, 0, 0, 0, 0, 0, 0, 0xff]);
        machine.set_x(2, 1);
    };
    // LDADD X2, X4, [X1]
    let end = run(&[0xf822_0024], one);
    assert_eq!((end.x(4), end.read(DATA)), (0xff, [0, 0, 0, 0, 0, 0, 1, 0]));
    // LDSET W2, W4, [X1]; SWPH W2, W5, [X1]; LDSMAXB W3, W6, [X1]
    let end = run(&[0xb822_3024, 0x7822_8025, 0x3823_4026], one);
    assert_eq!((end.x(4), end.x(5), end.x(6)), (0, 0, 0));
    assert_eq!(end.read(DATA), [0, 1, 0, 1, 0, 0, 0, 0xff]);
    // CAS X4, X2, [X1] with what is there; CASP X4, X5, X2, X3, [X1] after
    let end = run(&[0xc8a4_7c22, 0x4824_7c22], |machine| {
        one(machine);
        machine.set_x(4, 0xff);
        machine.set_x(5, 0x0809_0a0b_0c0d_0e0f);
    });
    assert_eq!((end.x(4), end.x(5)), (1, 0x0809_0a0b_0c0d_0e0f));
    assert_eq!(end.read_u64(DATA).swap_bytes(), 1);
}

#[test]
fn store_exclusive_needs_its_mark() {
    let words = code!(ldxr x4, [x1]; stxr w5, x2, [x1]; stxr w6, x3, [x1]; ldr x7, [x1]);
    let end = run(&words, |_| {});
    assert_eq!((end.x(5), end.x(6)), (0, 1));
    assert_eq!(
        (end.x(4), end.x(7)),
        (0x0706_0504_0302_0100, 0x1122_3344_5566_7788)
    );

    let words = code!(ldaxr w4, [x1]; clrex; stlxr w5, w2, [x1]);
    let end = run(&words, |_| {});
    assert_eq!((end.x(5), end.read_u64(DATA)), (1, 0x0706_0504_0302_0100));

    // Another address; and the same, but memory has changed.
    let words = code!(ldxr x4, [x1]; add x8, x1, 8; stxr w5, x2, [x8]);
    assert_eq!(run(&words, |_| {}).x(5), 1);
    let words = code!(ldxr x4, [x1]; str x2, [x1]; stxr w5, x3, [x1]);
    let end = run(&words, |_| {});
    assert_eq!((end.x(5), end.read_u64(DATA)), (1, 0x1122_3344_5566_7788));

    let words = code!(ldxrb w4, [x1]; stxrb w5, w2, [x1]; ldxrh w6, [x1]; stxrh w7, w3, [x1]);
    let end = run(&words, big);
    assert_eq!((end.x(4), end.x(5), end.x(6), end.x(7)), (0, 0, 0x8801, 0));
    assert_eq!(end.read(DATA), [0xff, 0, 2, 3]);
}

#[test]
fn exclusive_pairs() {
    let words =
        code!(ldxp x4, x5, [x1]; stxp w6, x2, x3, [x1]; ldxp w7, w8, [x1]; stlxp w9, w3, w2, [x1]);
    let end = run(&words, |_| {});
    assert_eq!(
        (end.x(4), end.x(5)),
        (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)
    );
    assert_eq!((end.x(6), end.x(9)), (0, 0));
    assert_eq!((end.x(7), end.x(8)), (0x5566_7788, 0x1122_3344));
    assert_eq!(end.read_u64(DATA), 0x5566_7788_ddee_ff00);
    assert_eq!(end.read_u64(DATA + 8), 0x99aa_bbcc_ddee_ff00);
    let end = run(&words, big);
    assert_eq!(
        (end.x(4), end.x(6), end.x(9)),
        (0x0001_0203_0405_0607, 0, 0)
    );
    assert_eq!((end.x(7), end.x(8)), (0x1122_3344, 0x5566_7788));
    assert_eq!(end.read_u64(DATA).swap_bytes(), 0xddee_ff00_5566_7788);
}

#[test]
fn exception_return_opens_the_monitor() {
    // LDXR; ERET to the next instruction; STXR
    let words = [
        0xc85f_7c24, // LDXR X4, [X1]
        0xd518_4027, // MSR ELR_EL1, X7
        0xd518_4008, // MSR SPSR_EL1, X8
        0xd69f_03e0, // ERET
        0xc805_7c22, // STXR W5, X2, [X1]
    ];
    let end = run(&words, |machine| {
        machine.set_x(7, understudy_arm64::testing::RAM + 16);
        // EL1h.
        machine.set_x(8, 5);
    });
    assert_eq!(
        (end.x(5), end.vcpu.engine.cpu.slot(regs::MONITOR)),
        (1, regs::MONITOR_OPEN)
    );
}

/// Data abort without a change of exception level, alignment fault; WnR is bit 6.
const ALIGNMENT: (u64, u64) = (0x25, 0x21);
const WRITE: u64 = 1 << 6;

#[test]
fn exclusives_and_atomics_must_be_aligned() {
    let odd = |machine: &mut Bare| machine.set_x(1, DATA + 4);
    for (words, iss) in [
        (code!(ldxr x0, [x1]), ALIGNMENT.1),
        (code!(ldxp w0, w4, [x1]), ALIGNMENT.1),
        (code!(ldar x0, [x1]), ALIGNMENT.1),
        (code!(stlr x2, [x1]), ALIGNMENT.1 | WRITE),
        (code!(stxr w0, x2, [x1]), ALIGNMENT.1 | WRITE),
        // LDADD X2, X0, [X1]; CAS X0, X2, [X1]; LDAPR X0, [X1]
        (vec![0xf822_0020], ALIGNMENT.1 | WRITE),
        (vec![0xc8a0_7c22], ALIGNMENT.1 | WRITE),
        (vec![0xf8bf_c020], ALIGNMENT.1),
    ] {
        let (vector, class, got, far) = takes(&words, odd);
        assert_eq!(
            (vector, class, got, far),
            (0x200, ALIGNMENT.0, iss, DATA + 4),
            "{words:x?}"
        );
    }
    // A pair as a whole.
    let half = |machine: &mut Bare| machine.set_x(1, DATA + 8);
    assert_eq!(takes(&code!(ldxp x0, x4, [x1]), half).2, ALIGNMENT.1);
    // CASP X4, X5, X2, X3, [X1]
    assert_eq!(takes(&[0x4824_7c22], half).2, ALIGNMENT.1 | WRITE);
}

#[test]
fn alignment_of_elements_where_it_is_checked() {
    let checked = |offset: u64| {
        move |machine: &mut Bare| {
            machine.set_control(ALIGNED);
            machine.set_x(1, DATA + offset);
        }
    };
    // Multiples of the element suffice.
    run(&code!(ldp x4, x5, [x1]), checked(8));
    run(&code!(stp w4, w5, [x1]), checked(4));
    // LD1 {v4.16b}, [x1]
    run(&[0x4c40_7024], checked(1));
    for (words, offset) in [
        (code!(ldr x0, [x1]), 4),
        (code!(ldp x0, x4, [x1]), 4),
        (code!(ldr q4, [x1]), 8),
        (code!(ldp q4, q5, [x1]), 8),
        // LD1 {v4.8h}, [x1]
        (vec![0x4c40_7424], 1),
    ] {
        let (_, class, iss, far) = takes(&words, checked(offset));
        assert_eq!(
            (class, iss, far),
            (ALIGNMENT.0, ALIGNMENT.1, DATA + offset),
            "{words:x?}"
        );
    }
}

#[test]
fn the_stack_pointer_must_be_aligned() {
    let sp = |machine: &mut Bare| machine.set_sp(DATA + 8);
    for words in [
        code!(ldr x0, [sp]),
        code!(str x2, [sp, -16]!),
        code!(ldp x0, x4, [sp], 16),
        code!(ldr x0, [sp, x2]),
        code!(ldr q4, [sp]),
        code!(ldxr x0, [sp]),
        code!(stxr w0, x2, [sp]),
        code!(ldar x0, [sp]),
        // LDADD X2, X0, [SP]; CASP X4, X5, X2, X3, [SP]; LD1 {v4.16b}, [SP]
        vec![0xf822_03e0],
        vec![0x4824_7fe2],
        vec![0x4c40_73e4],
    ] {
        let (vector, class, iss, _) = takes(&words, sp);
        assert_eq!((vector, class, iss), (0x200, 0x26, 0), "{words:x?}");
    }
    // PRFM checks nothing, and arithmetic on SP neither.
    run(&[0xf980_03e0, 0x9100_07ff, 0xd100_07e0], sp);
}

#[test]
fn unprivileged_accesses() {
    // At EL1 memory of EL1 alone is out of reach for them, and that of EL0 is in reach.
    let (_, class, iss, far) = takes(&code!(ldtr x0, [x1]), |_| {});
    assert_eq!(
        (class, iss, far),
        (0x25, 0x0d, DATA),
        "permission fault, level 1"
    );
    let (_, class, iss, _) = takes(&code!(sttrb w2, [x1, 1]), |_| {});
    assert_eq!((class, iss), (0x25, 0x0d | WRITE));
    let words = code!(ldtr x4, [x1]; sttrh w2, [x1, 8]; ldtrsw x5, [x1, 8]; ldr x6, [x1, 8]);
    let end = run(&words, |machine| machine.set_x(1, DATA + USER));
    assert_eq!(end.x(4), 0x0706_0504_0302_0100);
    assert_eq!((end.x(5), end.x(6)), (0x0b0a_7788, 0x0f0e_0d0c_0b0a_7788));
    // With PSTATE.UAO they are like others.
    let words = [0xd500_417f, 0xf840_0824];
    assert_eq!(run(&words, |_| {}).x(4), 0x0706_0504_0302_0100);
    // At EL0 they are like others.
    let end = run(&code!(ldtr x4, [x1]), |machine| {
        machine.enter_el0();
        machine.set_x(1, DATA + USER);
    });
    assert_eq!(end.x(4), 0x0706_0504_0302_0100);
}

#[test]
fn trapped_floating_point() {
    let off = |machine: &mut Bare| {
        machine.cpu().state.sys[understudy_arm64::sysregs::Reg::CPACR_EL1] = 0;
        machine.set_control(0);
    };
    // LDR, STP, LD1, ADD (vector), FADD, MRS X0, FPCR
    for word in [
        0x3dc0_0020,
        0xad00_0820,
        0x4c40_7024,
        0x4e22_8420,
        0x1e62_2820,
        0xd53b_4400,
    ] {
        let (_, class, iss, _) = takes(&[word], off);
        assert_eq!((class, iss), (0x07, 1 << 24 | 0xe << 20), "{word:x}");
    }
    // What is not allocated stays undefined.
    for word in [0x3dc0_0020 | 0x4000_0000 | 0x0080_0000, 0x0c40_1024] {
        assert_eq!(takes(&[word], off).1, 0, "{word:x}");
    }
}

#[test]
fn accesses_that_cross_pages() {
    let at = DATA + 0x1000 - 3;
    let there = move |machine: &mut Bare| machine.set_x(1, at);
    let words = code!(str x2, [x1]; ldr x4, [x1]);
    let end = run(&words, there);
    assert_eq!(end.x(4), 0x1122_3344_5566_7788);
    let words = code!(stp x2, x3, [x1]; ldp x4, x5, [x1]; str q3, [x1]; ldr q5, [x1]);
    let end = run(&words, there);
    assert_eq!(
        (end.x(4), end.x(5)),
        (0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00)
    );
    assert_eq!(end.v(5), 0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20);
}

/// The MMIO exit of one instruction with X1 at an address where there is nothing, in both tiers.
fn mmio(words: &[u32]) -> Option<Exit> {
    let mut end = Bare::both(words, |machine| {
        bytes(machine);
        machine.set_x(1, DATA + DATA_SIZE + 0x10_0000);
    });
    end.cpu().state.exit.take()
}

#[test]
fn what_devices_are_told() {
    for (words, length, data) in [
        (code!(str x2, [x1]), 8, 0x1122_3344_5566_7788),
        (code!(strb w2, [x1, 3]), 1, 0x88),
        (code!(sturh w2, [x1, 1]), 2, 0x7788),
        (code!(str w3, [x1, x4]), 4, 0xddee_ff00),
        (code!(stlr w2, [x1]), 4, 0x5566_7788),
        (code!(str xzr, [x1]), 8, 0),
    ] {
        let Some(Exit::Mmio(exit)) = mmio(&words) else {
            panic!("{words:x?} is no MMIO exit");
        };
        assert!(exit.is_write);
        assert_eq!(
            (exit.length, u64::from_le_bytes(exit.data)),
            (length, data),
            "{words:x?}"
        );
    }
    for words in [
        code!(ldr x2, [x1]),
        code!(ldrsb w2, [x1]),
        code!(ldar w2, [x1]),
    ] {
        let Some(Exit::Mmio(exit)) = mmio(&words) else {
            panic!("{words:x?} is no MMIO exit");
        };
        assert!(!exit.is_write);
    }
    // No valid syndrome: write-back, pairs, vectors, exclusives, atomics.
    for words in [
        code!(str x2, [x1], 8),
        code!(ldr x2, [x1, 8]!),
        code!(ldp x2, x3, [x1]),
        code!(str d2, [x1]),
        code!(str q2, [x1]),
        code!(ldxr x2, [x1]),
        vec![0xf822_0024],
        vec![0xc8a4_7c22],
    ] {
        assert_eq!(mmio(&words), Some(Exit::NoSyndrome), "{words:x?}");
    }
}

#[test]
fn a_value_from_a_device_reaches_the_register() {
    // User space completes the load as the syndrome describes it.
    for (words, little, big) in [
        (
            code!(ldr x2, [x1]),
            0x8877_6655_4433_8281,
            0x8182_3344_5566_7788,
        ),
        // Zero-extended, as KVM 6.12 masks the value after it has sign-extended it.
        (code!(ldrsb w2, [x1]), 0x81, 0x81),
        (code!(ldrsh x2, [x1]), 0x8281, 0x8182),
        (code!(ldrsw x2, [x1]), 0x4433_8281, 0x8182_3344),
        (code!(ldrb w2, [x1]), 0x81, 0x81),
        (code!(ldar w2, [x1]), 0x4433_8281, 0x8182_3344),
    ] {
        for (control, value) in [(0, little), (BIG_ENDIAN, big)] {
            let mut machine = Bare::new();
            machine.set_control(control);
            machine.set_x(1, DATA + DATA_SIZE + 0x10_0000);
            machine.code(&words);
            machine.run(Tier::Interpret);
            machine
                .vcpu
                .complete_mmio(&0x8877_6655_4433_8281u64.to_le_bytes());
            assert_eq!(machine.x(2), value, "{words:x?}");
            assert!(machine.at_end(&words));
        }
    }
}
