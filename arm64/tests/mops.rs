//! Memory Copy and Memory Set instructions, in both tiers, against what Rust's slices do.

use understudy_arm64::testing::{Bare, DATA, RAM, USER};

/// P, M and E of CPY and CPYF [X0]!, [X1]!, X2!; and of SET [X0]!, X1!, X2.
const CPY: [u32; 3] = [0x1d01_0440, 0x1d41_0440, 0x1d81_0440];
const CPYF: [u32; 3] = [0x1901_0440, 0x1941_0440, 0x1981_0440];
const SET: [u32; 3] = [0x19c2_0420, 0x19c2_4420, 0x19c2_8420];

const BYTES: usize = 0x6000;

fn pattern() -> Vec<u8> {
    (0..BYTES).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn memory(machine: &Bare) -> Vec<u8> {
    machine.read::<BYTES>(DATA).to_vec()
}

#[test]
fn copies_are_those_of_slices() {
    for (to, from, size) in [
        (0x2000, 0x100, 0x1000),
        (0x2001, 0x103, 0x1ffd),
        (0x100, 0x103, 0x800), // overlapping, forward
        (0x108, 0x100, 0x800), // overlapping, backward
        (0x103, 0x100, 0x801),
        (0x40, 0x40, 0x100),
        (0x40, 0x80, 0),
        (0x40, 0x81, 7),
    ] {
        let end = Bare::both(&CPY, |machine| {
            machine.write(DATA, &pattern());
            machine.set_x(0, DATA + to as u64);
            machine.set_x(1, DATA + from as u64);
            machine.set_x(2, size as u64);
        });
        assert!(end.at_end(&CPY));
        let mut expected = pattern();
        expected.copy_within(from..from + size, to);
        assert!(memory(&end) == expected, "{to:x} {from:x} {size:x}");
        assert_eq!(end.x(2), 0);
        // Option B: the registers have advanced; backwards, they are where they began.
        let overlaps = from < to && to < from + size;
        let (moved, nzcv) = if overlaps { (0, 0xa) } else { (size, 0x2) };
        assert_eq!(end.x(0), DATA + (to + moved) as u64);
        assert_eq!(end.x(1), DATA + (from + moved) as u64);
        assert_eq!(end.nzcv(), nzcv);
    }
}

#[test]
fn forward_copies_repeat_what_overlaps() {
    let end = Bare::both(&CPYF, |machine| {
        machine.write(DATA, &pattern());
        machine.set_x(0, DATA + 3);
        machine.set_x(1, DATA);
        machine.set_x(2, 30);
    });
    let mut expected = pattern();
    for i in 0..30 {
        expected[i + 3] = expected[i];
    }
    assert!(memory(&end) == expected);
}

#[test]
fn sets_fill() {
    for (to, size, value) in [(0, BYTES, 0x5a5), (3, 0x1001, 0xff), (5, 0, 1), (1, 2, 0)] {
        let end = Bare::both(&SET, |machine| {
            machine.write(DATA, &pattern());
            machine.set_x(0, DATA + to as u64);
            machine.set_x(1, size as u64);
            machine.set_x(2, value);
        });
        let mut expected = pattern();
        expected[to..to + size].fill(value as u8);
        assert!(memory(&end) == expected, "{to:x} {size:x}");
        assert_eq!((end.x(0), end.x(1)), (DATA + (to + size) as u64, 0));
    }
}

/// A fault leaves registers from which the instruction goes on, and says where.
#[test]
fn faults_say_what_is_left() {
    // Not mapped.
    const END: u64 = USER + RAM + (1 << 30);
    let end = Bare::both(&SET, |machine| {
        machine.set_x(0, END);
        machine.set_x(1, 16);
        machine.set_x(2, 1);
    });
    let (_, class, iss, far) = end.exception().expect("an exception");
    // A store, level 1, without a syndrome of the instruction.
    assert_eq!((class, iss, far), (0x25, 1 << 6 | 0b000101, END));
    assert_eq!((end.x(0), end.x(1)), (END, 16));
}

#[test]
fn the_other_option_is_an_exception() {
    // SETM with PSTATE.C clear, and CPYE
    for (word, iss) in [
        (SET[1], 1 << 24 | 1 << 17 | 2 << 5 | 1),
        (CPY[2], 1 << 18 | 1 << 17 | 1 << 5 | 2),
    ] {
        let end = Bare::both(&[word], |machine| machine.set_nzcv(0));
        let taken = end.exception().map(|(_, class, iss, _)| (class, iss));
        assert_eq!(taken, Some((0x27, iss)), "{word:x}");
    }
}

#[test]
fn what_is_constrained_is_undefined_and_el0_needs_leave() {
    // One register twice; the zero register; SETGP.
    for word in [
        0x1900_0440,
        0x1901_045f,
        0x191f_0440,
        0x19c2_07e0,
        0x1dc2_0420,
    ] {
        let end = Bare::both(&[word], |_| ());
        assert_eq!(
            end.exception().map(|(_, class, ..)| class),
            Some(0),
            "{word:x}"
        );
    }
    for enabled in [false, true] {
        let end = Bare::both(&SET[..1], |machine| {
            machine.set_control(if enabled { 1 << 33 } else { 0 });
            machine.enter_el0();
        });
        assert_eq!(end.exception().is_none(), enabled);
    }
}
