//! Words that nobody chose, as a guest that jumps into nothing would run them: whatever they are, the
//! vCPU goes on or leaves with an exit, and the process lives. At EL1, so that they may also change
//! the translation, the vectors and the debug registers under their own feet.

use proptest::prelude::*;
use std::time::Duration;
use understudy_arm64::testing::{Bare, DATA, DATA_SIZE};
use understudy_engine::run::Tier;

/// Top bytes of allocated groups (Arm ARM C4.1): data processing, branches and system, loads and
/// stores, SIMD and floating point.
const TOPS: [u32; 43] = [
    0x10, 0x11, 0x12, 0x13, 0x14, 0x33, 0x34, 0x36, 0x54, 0x5a, 0x91, 0x92, 0x93, 0x9a, 0x9b, 0xd4,
    0xd5, 0xd5, 0xd5, 0xd6, 0xf8, 0xf9, 0xb8, 0xb9, 0x38, 0x39, 0xa8, 0xa9, 0x08, 0x48, 0xc8, 0x0c,
    0x0d, 0x4c, 0x1e, 0x1f, 0x0e, 0x4e, 0x6e, 0x5e, 0x2f, 0x4f, 0xce,
];

fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        1 => any::<u32>(),
        // MSR and MRS of any register, SYS, hints, barriers.
        1 => any::<u32>().prop_map(|word| 0xd500_0000 | word & 0x3f_ffff),
        6 => (prop::sample::select(&TOPS[..]), any::<u32>())
            .prop_map(|(top, word)| top << 24 | word & 0xff_ffff),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_words_end_somewhere(
        words in prop::collection::vec(word(), 1..12),
        registers in prop::array::uniform31(0..DATA_SIZE),
    ) {
        for tier in [Tier::Interpret, Tier::Compile(1)] {
            let mut machine = Bare::new();
            for (n, offset) in (0..).zip(registers) {
                machine.set_x(n, DATA + offset);
            }
            machine.code(&words);
            // Ends a loop, and a wait for an interrupt.
            let peer = machine.vcpu.peer().clone();
            let end = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(3));
                peer.kick();
            });
            machine.vcpu.engine.set_tier(tier);
            machine.vcpu.run();
            end.join().expect("the kick ends");
        }
    }
}
