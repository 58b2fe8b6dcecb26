//! The integer classes: data processing, branches, loads and stores.

use super::rows::{Row, field};

/// Data processing, branches, and what of the system instructions EL0 has everywhere.
pub const INTEGER: &[Row] = &[
    Row::new(
        "PC-rel. addressing",
        "oii 10000 iiiiiiiiiiiiiiiiiii ddddd",
        100,
    ),
    Row::new(
        "Add/subtract (immediate)",
        "zoS 100010 siiiiiiiiiiii nnnnn ddddd",
        400,
    ),
    Row::new(
        "Add/subtract (immediate, with tags)",
        "zoS 100011 siiiiiiiiiiii nnnnn ddddd",
        50,
    )
    .none(),
    Row::new(
        "Logical (immediate)",
        "zoo 100100 Nrrrrrrssssss nnnnn ddddd",
        1000,
    ),
    Row::new(
        "Move wide (immediate)",
        "zoo 100101 hhiiiiiiiiiiiiiiii ddddd",
        300,
    ),
    Row::new("Bitfield", "zoo 100110 Nrrrrrrssssss nnnnn ddddd", 1500),
    Row::new("Extract", "zoo 100111 Nommmmmssssss nnnnn ddddd", 600),
    Row::new(
        "Logical (shifted register)",
        "zoo 01010 ssNmmmmmiiiiii nnnnn ddddd",
        1500,
    ),
    Row::new(
        "Add/subtract (shifted register)",
        "zoS 01011 ss0mmmmmiiiiii nnnnn ddddd",
        1000,
    ),
    Row::new(
        "Add/subtract (extended register)",
        "zoS 01011 oo1mmmmmoooiii nnnnn ddddd",
        1000,
    ),
    Row::new(
        "Add/subtract (with carry)",
        "zoS 11010000 mmmmm 000000 nnnnn ddddd",
        300,
    ),
    Row::new(
        "Add/subtract with carry's neighbours",
        "zoS 11010000 mmmmm oooooo nnnnn ddddd",
        200,
    ),
    Row::new(
        "Conditional compare (register, immediate)",
        "zoS 11010010 mmmmm cccci o nnnnn o vvvv",
        800,
    ),
    Row::new(
        "Conditional select",
        "zoS 11010100 mmmmm cccc oo nnnnn ddddd",
        800,
    ),
    Row::new(
        "Data-processing (1 source)",
        "z1S 11010110 ooooo oooooo nnnnn ddddd",
        300,
    ),
    Row::new(
        "Data-processing (1 source), allocated",
        "z10 11010110 00000 000ooo nnnnn ddddd",
        400,
    ),
    Row::new(
        "Data-processing (2 source)",
        "z00 11010110 mmmmm oooooo nnnnn ddddd",
        1500,
    ),
    Row::new(
        "Data-processing (3 source)",
        "zoo 11011 ooommmmm o aaaaa nnnnn ddddd",
        1000,
    ),
    // Targets are within the region of the runner's code, and at no other word's slot.
    Row::new(
        "Unconditional branch (immediate)",
        "o 00101 00000000000iiiiiiiiiiiiiii",
        100,
    )
    .only(off_slot_26),
    Row::new(
        "Unconditional branch (immediate), back",
        "o 00101 11111111111iiiiiiiiiiiiiii",
        100,
    )
    .only(off_slot_26),
    Row::new(
        "Compare and branch",
        "z 011010 o 0000iiiiiiiiiiiiiii ttttt",
        300,
    )
    .only(off_slot_19),
    Row::new(
        "Compare and branch, back",
        "z 011010 o 1111iiiiiiiiiiiiiii ttttt",
        300,
    )
    .only(off_slot_19),
    Row::new(
        "Conditional branch",
        "0101010o 0000iiiiiiiiiiiiiii o cccc",
        300,
    )
    .only(off_slot_19),
    Row::new(
        "Test and branch",
        "b 011011 o bbbbb iiiiiiiiiiiiii ttttt",
        400,
    )
    .only(off_slot_14),
    Row::new("Hints", "1101 0101 0000 0011 0010 iiii iii 11111", 100).only(|w| {
        // Not WFE and WFI, which wait; nor those that sign with pointer authentication.
        !matches!(field(w, 5, 7), 2 | 3)
    }),
    Row::new("Barriers", "1101 0101 0000 0011 0011 cccc ooo 11111", 100),
    Row::new(
        "MRS, MSR: NZCV",
        "1101 0101 00o1 1011 0100 0010 000 ttttt",
        100,
    ),
    Row::new(
        "MRS: FPCR, FPSR",
        "1101 0101 0011 1011 0100 0100 00o ttttt",
        50,
    ),
    Row::new("MSR: FPSR", "1101 0101 0001 1011 0100 0100 001 ttttt", 50),
    Row::new(
        "Undefined: data processing (immediate)",
        "ooo 100 oooooooooooooooooooooooooo",
        400,
    )
    .undefined(),
    Row::new(
        "Undefined: data processing (register)",
        "ooo o101 ooooooooooooooooooooooooo",
        800,
    )
    .undefined(),
    Row::new(
        "Undefined: branches, exceptions, system",
        "ooo 101 oooooooooooooooooooooooooo",
        1500,
    )
    .undefined(),
    Row::new(
        "Undefined: system",
        "1101 0101 00 oooooooooooooooooooooo",
        400,
    )
    .undefined(),
    Row::new(
        "Undefined: branches (register)",
        "1101 011 oooo ooooo oooooo ooooo ooooo",
        400,
    )
    .undefined(),
    Row::new(
        "Undefined: exceptions",
        "1101 0100 ooo iiiiiiiiiiiiiiii ooo oo",
        300,
    )
    .undefined(),
    Row::new(
        "Undefined: loads and stores",
        "oooo 1o0 ooooooooooooooooooooooooo",
        3000,
    )
    .undefined(),
    Row::new(
        "Undefined: exclusives",
        "oo 001000 oooooooooooooooooooooooo",
        800,
    )
    .undefined(),
    Row::new(
        "Undefined: atomics",
        "oo 111o 00 oo1 ooooo oooo 00 ooooo ooooo",
        800,
    )
    .undefined(),
    Row::new("Reserved", "0oo 0000 ooooooooooooooooooooooooo", 100).none(),
];

fn off_slot_26(word: u32) -> bool {
    !field(word, 0, 26).is_multiple_of(8)
}
fn off_slot_19(word: u32) -> bool {
    !field(word, 5, 19).is_multiple_of(8)
}
fn off_slot_14(word: u32) -> bool {
    !field(word, 5, 14).is_multiple_of(8)
}

/// Loads and stores.
pub const MEMORY: &[Row] = &[
    Row::new(
        "Load/store register (unsigned immediate)",
        "zz 111 0 01 oo iiiiiiiiiiii nnnnn ttttt",
        1000,
    )
    .memory(),
    Row::new(
        "Load/store register (unscaled, pre, post)",
        "zz 111 0 00 oo 0 iiiiiiiii oo nnnnn ttttt",
        1500,
    )
    .memory()
    .only(tame_write_back),
    Row::new(
        "Load/store register (register offset)",
        "zz 111 0 00 oo 1 mmmmm ooo s 10 nnnnn ttttt",
        1000,
    )
    .memory(),
    Row::new(
        "Load/store pair",
        "oo 101 0 0 ooL iiiiiii uuuuu nnnnn ttttt",
        1500,
    )
    .memory()
    .only(tame_pair),
    Row::new(
        "Load/store register (unsigned immediate, SIMD&FP)",
        "zz 111 1 01 oo iiiiiiiiiiii nnnnn ttttt",
        800,
    )
    .memory(),
    Row::new(
        "Load/store register (unscaled, pre, post, SIMD&FP)",
        "zz 111 1 00 oo 0 iiiiiiiii oo nnnnn ttttt",
        1000,
    )
    .memory(),
    Row::new(
        "Load/store register (register offset, SIMD&FP)",
        "zz 111 1 00 oo 1 mmmmm ooo s 10 nnnnn ttttt",
        800,
    )
    .memory(),
    Row::new(
        "Load/store pair (SIMD&FP)",
        "oo 101 1 0 ooL iiiiiii uuuuu nnnnn ttttt",
        1000,
    )
    .memory()
    .only(|w| field(w, 0, 5) != field(w, 10, 5)),
    Row::new(
        "Advanced SIMD load/store multiple structures",
        "0Q 0011000 L 000000 oooo zz nnnnn ttttt",
        800,
    )
    .memory(),
    Row::new(
        "Advanced SIMD load/store multiple structures (post-indexed)",
        "0Q 0011001 L 0 mmmmm oooo zz nnnnn ttttt",
        800,
    )
    .memory(),
    Row::new(
        "Advanced SIMD load/store single structure",
        "0Q 0011010 Lr 00000 ooo S zz nnnnn ttttt",
        1000,
    )
    .memory(),
    Row::new(
        "Advanced SIMD load/store single structure (post-indexed)",
        "0Q 0011011 Lr mmmmm ooo S zz nnnnn ttttt",
        1000,
    )
    .memory(),
    Row::new(
        "Advanced SIMD load/store structures, reserved",
        "oQ 00110oo oo xxxxx oooo oo nnnnn ttttt",
        300,
    )
    .memory()
    .only(|w| {
        field(w, 31, 1) == 1
            || field(w, 23, 1) == 0 && field(w, 16, 5) != 0
            || field(w, 24, 1) == 0 && field(w, 21, 1) == 1
    })
    .none(),
    // QEMU 7.2 faults where a load-exclusive or atomic access is not aligned, as the processor
    // does, but not for all that are only ordered.
    Row::new(
        "Load exclusive",
        "zz 001000 0 1 o 11111 o uuuuu nnnnn ttttt",
        600,
    )
    .memory()
    .aligned()
    .only(tame_exclusive),
    Row::new(
        "Store exclusive, without a mark",
        "zz 001000 0 0 0 sssss o 11111 nnnnn ttttt",
        300,
    )
    .memory()
    .aligned(),
    Row::new(
        "Store exclusive pair, without a mark",
        "1z 001000 0 0 1 sssss o uuuuu nnnnn ttttt",
        300,
    )
    .memory()
    .aligned(),
    Row::new(
        "Load-acquire, store-release",
        "zz 001000 1 L 0 11111 o 11111 nnnnn ttttt",
        400,
    )
    .memory()
    .aligned(),
    Row::new(
        "Compare and swap",
        "zz 001000 1 L 1 sssss o 11111 nnnnn ttttt",
        600,
    )
    .memory()
    .aligned(),
    Row::new(
        "Compare and swap pair",
        "0z 001000 0 L 1 sssss o 11111 nnnnn ttttt",
        600,
    )
    .memory()
    .aligned(),
    Row::new(
        "Compare and swap, reserved",
        "zz 001000 o L 1 sssss o uuuuu nnnnn ttttt",
        100,
    )
    .memory()
    .only(|w| field(w, 10, 5) != 31 && (field(w, 23, 1) == 1 || field(w, 31, 1) == 0))
    .none(),
    Row::new(
        "Atomic memory operations",
        "zz 111 0 00 AR 1 sssss 0 ooo 00 nnnnn ttttt",
        1500,
    )
    .memory()
    .aligned(),
    Row::new(
        "Swap, LDAPR, and their neighbours",
        "zz 111 0 00 AR 1 sssss 1 ooo 00 nnnnn ttttt",
        500,
    )
    .memory()
    .aligned(),
    Row::new(
        "Load/store register (pac)",
        "zz 111 0 00 oo 1 iiiiiiiii o1 nnnnn ttttt",
        50,
    )
    .none(),
    Row::new(
        "LDAPR/STLR (unscaled), memory tags",
        "zz 011 0 01 oo iiiiiiiiiiii nnnnn ttttt",
        50,
    )
    .none(),
];

/// Not where the register that is transferred is also written back: what happens then is a choice.
fn tame_write_back(word: u32) -> bool {
    field(word, 10, 1) == 0 || field(word, 5, 5) == 31 || field(word, 5, 5) != field(word, 0, 5)
}

/// The same, and not where both registers of a load are one.
fn tame_pair(word: u32) -> bool {
    let (t, n, t2) = (field(word, 0, 5), field(word, 5, 5), field(word, 10, 5));
    t != t2 && (n == 31 || field(word, 23, 1) == 0 || t != n && t2 != n)
}

/// No pair of one register, and no pair of bytes or halves.
fn tame_exclusive(word: u32) -> bool {
    match field(word, 21, 1) {
        0 => field(word, 10, 5) == 31,
        _ => field(word, 0, 5) != field(word, 10, 5) && field(word, 31, 1) == 1,
    }
}

/// Integer instructions of features later than Armv8.2.
pub const LATER: &[Row] = &[
    Row::new("RMIF", "10111010000 iiiiii 00001 nnnnn 0 mmmm", 500),
    Row::new(
        "SETF8, SETF16",
        "00111010000 00000 0 s 00 10 nnnnn 01101",
        300,
    ),
    Row::new(
        "RMIF, SETF8 and SETF16's neighbours",
        "zoS 11010000 mmmmm oooooo nnnnn ddddd",
        300,
    ),
    Row::new(
        "CFINV, XAFLAG, AXFLAG",
        "1101010100000 000 0100 cccc 0 oo 11111",
        300,
    )
    // op2 3 is UAO, at EL1.
    .only(|w| field(w, 5, 2) != 3),
    Row::new("SB", "11010101000000110011 0000 111 11111", 10),
    Row::new(
        "MSR (immediate): DIT",
        "1101010100000 011 0100 000i 010 11111",
        10,
    ),
    Row::new(
        "LDAPR/STLR (unscaled immediate)",
        "zz 011001 oo 0 iiiiiiiii 00 nnnnn ttttt",
        1500,
    )
    .memory()
    .aligned()
    // Aligned as the address is, it stays so; and what QEMU does with unaligned ones is FEAT_LSE2's.
    .only(|w| field(w, 12, 4) == 0),
];
