//! Integer and system instructions of features later than Armv8.2 that qemu-user may not have, in both
//! tiers, against what Rust's own operations give.

use understudy_arm64::testing::{Bare, DATA};
use understudy_engine::run::Tier;

const X: [u64; 8] = [
    0,
    1,
    !0,
    1 << 63,
    0x8000_0000,
    0x7fff_ffff,
    0xffff_ffff_8000_0000,
    0x1234_5678_9abc_def0,
];

/// X0 after the word, with X1 and X2.
fn run(word: u32, a: u64, b: u64) -> u64 {
    let end = Bare::both(&[word], |machine| {
        machine.set_x(1, a);
        machine.set_x(2, b);
    });
    end.x(0)
}

#[test]
fn common_short_sequences() {
    for a in X {
        let w = a as u32;
        // CTZ, CNT, ABS X0, X1 and W0, W1
        assert_eq!(run(0xdac0_1820, a, 0), a.trailing_zeros().into());
        assert_eq!(run(0x5ac0_1820, a, 0), w.trailing_zeros().into());
        assert_eq!(run(0xdac0_1c20, a, 0), a.count_ones().into());
        assert_eq!(run(0x5ac0_1c20, a, 0), w.count_ones().into());
        assert_eq!(run(0xdac0_2020, a, 0), (a as i64).unsigned_abs());
        assert_eq!(run(0x5ac0_2020, a, 0), (w as i32).unsigned_abs().into());
        for b in X {
            let (s, t, v) = (a as i64, b as i64, b as u32);
            // SMAX, UMAX, SMIN, UMIN X0, X1, X2 and W0, W1, W2
            assert_eq!(run(0x9ac2_6020, a, b), s.max(t) as u64);
            assert_eq!(run(0x9ac2_6420, a, b), a.max(b));
            assert_eq!(run(0x9ac2_6820, a, b), s.min(t) as u64);
            assert_eq!(run(0x9ac2_6c20, a, b), a.min(b));
            let (s, t) = (w as i32, v as i32);
            assert_eq!(run(0x1ac2_6020, a, b), (s.max(t) as u32).into());
            assert_eq!(run(0x1ac2_6420, a, b), w.max(v).into());
            assert_eq!(run(0x1ac2_6820, a, b), (s.min(t) as u32).into());
            assert_eq!(run(0x1ac2_6c20, a, b), w.min(v).into());
        }
        // SMAX X0, X1, #-1; UMAX X0, X1, #255; SMIN W0, W1, #-1; UMIN W0, W1, #255
        assert_eq!(run(0x91c3_fc20, a, 0), (a as i64).max(-1) as u64);
        assert_eq!(run(0x91c7_fc20, a, 0), a.max(255));
        assert_eq!(run(0x11cb_fc20, a, 0), ((w as i32).min(-1) as u32).into());
        assert_eq!(run(0x11cf_fc20, a, 0), w.min(255).into());
    }
}

#[test]
fn consistent_conditional_branches_are_conditional_branches() {
    // CMP X1, X2; BC.LT +8; MOV X0, #1; NOP
    let words = [0xeb02_003f, 0x5400_005b, 0xd280_0020, 0xd503_201f];
    for (a, b) in [(1, 2), (2, 1), (!0, 1)] {
        let end = Bare::both(&words, |machine| {
            machine.set_x(1, a);
            machine.set_x(2, b);
        });
        assert_eq!(end.x(0) == 0, (a as i64) < b as i64);
    }
}

#[test]
fn random_numbers_are_told_to_be_there() {
    // SUBS XZR, XZR, XZR (all flags of equality); MRS X0, RNDR; MRS X1, NZCV; MRS X2, RNDRRS
    let words = [0xeb1f_03ff, 0xd53b_2400, 0xd53b_4201, 0xd53b_2422];
    for tier in [Tier::Interpret, Tier::Compile(1)] {
        let mut end = Bare::new();
        end.code(&words);
        end.run(tier);
        assert_eq!(end.x(1), 0);
        assert_ne!(end.x(0), end.x(2));
    }
}

#[test]
fn waits_end_by_their_time() {
    // MRS X1, CNTVCT_EL0; ADD X2, X1, #2000; WFIT X2; MRS X3, CNTVCTSS_EL0; WFET X2
    let words = [
        0xd53b_e041,
        0x911f_4022,
        0xd503_1022,
        0xd53b_e0c3,
        0xd503_1002,
    ];
    for tier in [Tier::Interpret, Tier::Compile(1)] {
        let mut end = Bare::new();
        end.code(&words);
        end.run(tier);
        assert!(end.x(3) >= end.x(2), "{} {}", end.x(2), end.x(3));
    }
}

#[test]
fn dit_is_kept_and_read_back() {
    // MSR DIT, #1; MRS X0, DIT; MSR DIT, #0; MRS X1, DIT; MSR DIT, X0; MRS X2, DIT
    let words = [
        0xd503_415f,
        0xd53b_42a0,
        0xd503_405f,
        0xd53b_42a1,
        0xd51b_42a0,
        0xd53b_42a2,
    ];
    let end = Bare::both(&words, |_| ());
    assert_eq!((end.x(0), end.x(1), end.x(2)), (1 << 24, 0, 1 << 24));
}

#[test]
fn unscaled_ordered_accesses() {
    // STLUR X1, [X2, #-8]; LDAPURSB W0, [X2, #-8]; LDAPURSW X3, [X2, #-8]; LDAPURH W4, [X2, #-6]
    let words = [0xd91f_8041, 0x19df_8040, 0x999f_8043, 0x595f_a044];
    let end = Bare::both(&words, |machine| {
        machine.set_x(1, 0x1234_5678_89ab_cd80);
        machine.set_x(2, DATA + 64);
    });
    assert_eq!(end.x(0), 0xffff_ff80);
    assert_eq!(end.x(3), 0xffff_ffff_89ab_cd80);
    assert_eq!(end.x(4), 0x89ab);
}
