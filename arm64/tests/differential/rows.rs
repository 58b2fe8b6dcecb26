//! What is generated: one row an encoding class.

use super::random::Random;

/// An encoding class whose words are generated.
pub struct Row {
    /// The Arm ARM's name of the class.
    pub name: &'static str,
    /// 32 characters, most significant bit first: `0` and `1` are fixed, others random; blanks are
    /// for the reader.
    pub pattern: &'static str,
    /// Which of the words are wanted.
    pub wanted: fn(u32) -> bool,
    /// Whether the instructions access memory.
    pub memory: bool,
    /// Whether all addresses must be aligned.
    pub aligned: bool,
    /// Whether none of the words is allocated.
    pub none: bool,
    /// Whether denormals may be flushed (FPCR.FZ).
    pub flushes: bool,
    /// How many words are generated at scale 1.
    pub words: usize,
}

impl Row {
    /// A class without memory accesses, all of whose words are wanted.
    pub const fn new(name: &'static str, pattern: &'static str, words: usize) -> Row {
        Row {
            name,
            pattern,
            wanted: |_| true,
            memory: false,
            aligned: false,
            none: false,
            flushes: true,
            words,
        }
    }

    /// The same with only these words.
    pub const fn only(mut self, wanted: fn(u32) -> bool) -> Row {
        self.wanted = wanted;
        self
    }

    /// The same with accesses to memory.
    pub const fn memory(mut self) -> Row {
        self.memory = true;
        self
    }

    /// The same with aligned addresses only.
    pub const fn aligned(mut self) -> Row {
        self.aligned = true;
        self
    }

    /// The same with FPCR.FZ clear.
    pub const fn without_flushing(mut self) -> Row {
        self.flushes = false;
        self
    }

    /// The same, of which nothing is allocated.
    pub const fn none(mut self) -> Row {
        self.none = true;
        self
    }

    /// Only those that are undefined here, which must be so there.
    pub const fn undefined(self) -> Row {
        self.only(|word| !allocated(word)).none()
    }

    /// The mask of the fixed bits, and their value.
    pub fn fixed(&self) -> (u32, u32) {
        let bits = self.pattern.chars().filter(|c| !c.is_whitespace());
        let (mask, value, count) = bits.fold((0, 0, 0), |(mask, value, count), c| {
            let fixed = matches!(c, '0' | '1');
            (
                mask << 1 | u32::from(fixed),
                value << 1 | u32::from(c == '1'),
                count + 1,
            )
        });
        assert_eq!(count, 32, "{}: {}", self.name, self.pattern);
        (mask, value)
    }

    /// A random word of the class.
    pub fn word(&self, r: &mut Random) -> u32 {
        let (mask, value) = self.fixed();
        for _ in 0..100_000 {
            let word = value | r.bits() as u32 & !mask;
            if (self.wanted)(word) {
                return word;
            }
        }
        panic!("{}: no word is wanted", self.name);
    }
}

/// `count` bits of a word from `low`.
pub const fn field(word: u32, low: u32, count: u32) -> u32 {
    word >> low & ((1 << count) - 1)
}

/// Advanced SIMD on integers, and cryptography: whole classes, their unallocated words included,
/// but without the opcodes for floating point.
pub const SIMD: &[Row] = &[
    Row::new(
        "Advanced SIMD three same",
        "0QU 01110 zz 1 mmmmm ooooo 1 nnnnn ddddd",
        1500,
    )
    .only(|w| field(w, 11, 5) < 0b11000),
    Row::new(
        "Advanced SIMD three-register extension",
        "0QU 01110 zz 0 mmmmm 1 oooo 1 nnnnn ddddd",
        400,
    )
    .only(|w| field(w, 11, 4) < 0b1000 || matches!(field(w, 11, 4), 0b1101 | 0b1111)),
    Row::new(
        "Advanced SIMD three different",
        "0QU 01110 zz 1 mmmmm oooo 00 nnnnn ddddd",
        800,
    ),
    Row::new(
        "Advanced SIMD two-register miscellaneous",
        "0QU 01110 zz 10000 ooooo 10 nnnnn ddddd",
        1200,
    )
    .only(integer_two_register),
    Row::new(
        "Advanced SIMD across lanes",
        "0QU 01110 zz 11000 ooooo 10 nnnnn ddddd",
        500,
    )
    .only(|w| !matches!(field(w, 12, 5), 0b01100 | 0b01111)),
    Row::new(
        "Advanced SIMD vector x indexed element",
        "0QU 01111 zz LMmmmm oooo H 0 nnnnn ddddd",
        1000,
    )
    .only(integer_by_element),
    Row::new(
        "Advanced SIMD shift by immediate",
        "0QU 011110 iiiiiii ooooo 1 nnnnn ddddd",
        2000,
    )
    .only(|w| field(w, 19, 4) != 0 && integer_shift(w)),
    Row::new(
        "Advanced SIMD modified immediate",
        "0Qo 0111100000 abc cccc o 1 defgh ddddd",
        600,
    )
    // Unallocated, but QEMU 7.2 takes it for FMOV (vector, immediate) of doubles.
    .only(|w| field(w, 29, 1) != 1 || field(w, 11, 5) != 0b11111),
    Row::new(
        "Advanced SIMD copy",
        "0Qo 01110000 iiiii 0 jjjj 1 nnnnn ddddd",
        800,
    ),
    Row::new(
        "Advanced SIMD permute",
        "0Q0 01110 zz 0 mmmmm 0 ooo 10 nnnnn ddddd",
        400,
    ),
    Row::new(
        "Advanced SIMD extract",
        "0Q1 01110 zz 0 mmmmm 0 iiii 0 nnnnn ddddd",
        300,
    ),
    Row::new(
        "Advanced SIMD table lookup",
        "0Q0 01110 zz 0 mmmmm 0 ll o 00 nnnnn ddddd",
        300,
    ),
    Row::new(
        "Advanced SIMD scalar three same",
        "01U 11110 zz 1 mmmmm ooooo 1 nnnnn ddddd",
        1200,
    )
    .only(|w| field(w, 11, 5) < 0b11000),
    Row::new(
        "Advanced SIMD scalar three same extra",
        "01U 11110 zz 0 mmmmm 1 oooo 1 nnnnn ddddd",
        300,
    ),
    Row::new(
        "Advanced SIMD scalar three different",
        "01U 11110 zz 1 mmmmm oooo 00 nnnnn ddddd",
        300,
    ),
    Row::new(
        "Advanced SIMD scalar two-register miscellaneous",
        "01U 11110 zz 10000 ooooo 10 nnnnn ddddd",
        800,
    )
    .only(integer_two_register),
    Row::new(
        "Advanced SIMD scalar pairwise",
        "01U 11110 zz 11000 ooooo 10 nnnnn ddddd",
        200,
    )
    .only(|w| !matches!(field(w, 12, 5), 0b01100 | 0b01101 | 0b01111)),
    Row::new(
        "Advanced SIMD scalar shift by immediate",
        "01U 111110 iiiiiii ooooo 1 nnnnn ddddd",
        1200,
    )
    .only(integer_shift),
    Row::new(
        "Advanced SIMD scalar x indexed element",
        "01U 11111 zz LMmmmm oooo H 0 nnnnn ddddd",
        500,
    )
    .only(integer_by_element),
    Row::new(
        "Advanced SIMD scalar copy",
        "01o 11110000 iiiii 0 jjjj 1 nnnnn ddddd",
        200,
    ),
    Row::new(
        "Cryptographic AES",
        "01001110 zz 10100 ooooo 10 nnnnn ddddd",
        200,
    ),
    Row::new(
        "Cryptographic AES, allocated",
        "01001110 00 10100 001oo 10 nnnnn ddddd",
        100,
    ),
    Row::new(
        "Cryptographic three-register SHA",
        "01011110 zz 0 mmmmm 0 ooo 00 nnnnn ddddd",
        300,
    ),
    Row::new(
        "Cryptographic two-register SHA",
        "01011110 zz 10100 ooooo 10 nnnnn ddddd",
        200,
    ),
    Row::new(
        "Cryptographic two-register SHA, allocated",
        "01011110 00 10100 000oo 10 nnnnn ddddd",
        100,
    ),
    Row::new(
        "Cryptographic four-register, three-register and two-register SHA512, SM3, SM4",
        "11001110 ooo mmmmm ooaaaa nnnnn ddddd",
        800,
    ),
    Row::new(
        "Cryptographic two-register SHA512",
        "11001110 110 00000 10ooaa nnnnn ddddd",
        200,
    ),
    Row::new(
        "Cryptographic three-register SHA512, SM3, SM4",
        "11001110 011 mmmmm 1o00oo nnnnn ddddd",
        500,
    ),
];

/// Floating point: "Data Processing -- Scalar Floating-Point", and what [`SIMD`] leaves out of the
/// classes of Advanced SIMD.
pub const FLOATING_POINT: &[Row] = &[
    Row::new(
        "Floating-point data-processing (1 source)",
        "M0S11110 tt 1 oooooo 10000 nnnnn ddddd",
        800,
    ),
    Row::new(
        "Floating-point data-processing (2 source)",
        "M0S11110 tt 1 mmmmm oooo 10 nnnnn ddddd",
        600,
    ),
    Row::new(
        "Floating-point data-processing (3 source)",
        "M0S11111 tt o mmmmm o aaaaa nnnnn ddddd",
        600,
    ),
    Row::new(
        "Floating-point compare",
        "M0S11110 tt 1 mmmmm oo 1000 nnnnn ooooo",
        400,
    ),
    Row::new(
        "Floating-point conditional compare",
        "M0S11110 tt 1 mmmmm cccc 01 nnnnn offff",
        400,
    ),
    Row::new(
        "Floating-point conditional select",
        "M0S11110 tt 1 mmmmm cccc 11 nnnnn ddddd",
        300,
    ),
    Row::new(
        "Floating-point immediate",
        "M0S11110 tt 1 iiiiiiii 100 iiiii ddddd",
        300,
    ),
    Row::new(
        "Conversion between floating-point and fixed-point",
        "s0S11110 tt 0 rr ooo ffffff nnnnn ddddd",
        1000,
    ),
    Row::new(
        "Conversion between floating-point and integer",
        "s0S11110 tt 1 rr ooo 000000 nnnnn ddddd",
        1000,
    )
    // FJCVTZS: below.
    .only(|w| w & 0xffff_fc00 != 0x1e7e_0000),
    // QEMU 7.2 sets Z for a denormal that is flushed, where the Arm ARM clears it.
    Row::new("FJCVTZS", "0001111001111110000000 nnnnn ddddd", 300).without_flushing(),
    Row::new(
        "Advanced SIMD three same, floating point",
        "0QU 01110 zz 1 mmmmm 11ooo 1 nnnnn ddddd",
        1000,
    ),
    Row::new(
        "FMLAL, FMLSL, FMLAL2, FMLSL2",
        "0QU 01110 s0 1 mmmmm 11o011 nnnnn ddddd",
        500,
    ),
    Row::new("BFCVT", "0001111001100011010000 nnnnn ddddd", 200),
    Row::new("BFCVTN", "0Q00111010100001011010 nnnnn ddddd", 200),
    Row::new(
        "BFMLALB, BFMLALT",
        "0Q101110110 mmmmm 111111 nnnnn ddddd",
        200,
    ),
    Row::new(
        "BFMLALB, BFMLALT (by element)",
        "0Q00111111 LMmmmm 1111 H 0 nnnnn ddddd",
        200,
    ),
    Row::new("BFDOT", "0Q101110010 mmmmm 111111 nnnnn ddddd", 200),
    Row::new("BFMMLA", "01101110010 mmmmm 111011 nnnnn ddddd", 200),
    Row::new(
        "Advanced SIMD three same (FP16)",
        "0QU 01110 z10 mmmmm 00 ooo 1 nnnnn ddddd",
        800,
    ),
    Row::new(
        "Advanced SIMD three-register extension, floating point",
        "0QU 01110 zz 0 mmmmm 11ooo 1 nnnnn ddddd",
        800,
    ),
    Row::new(
        "Advanced SIMD two-register miscellaneous, floating point",
        "0QU 01110 zz 10000 ooooo 10 nnnnn ddddd",
        1600,
    )
    .only(|w| !integer_two_register(w)),
    Row::new(
        "Advanced SIMD two-register miscellaneous (FP16)",
        "0QU 01110 z111100 ooooo 10 nnnnn ddddd",
        1200,
    )
    .only(allocated),
    Row::new(
        "Advanced SIMD across lanes, floating point",
        "0QU 01110 zz 11000 011oo 10 nnnnn ddddd",
        200,
    )
    // As for the scalar pairs.
    .only(|w| field(w, 29, 1) == 1 || field(w, 22, 1) == 0),
    Row::new(
        "Advanced SIMD vector x indexed element, floating point",
        "0QU 01111 zz LMmmmm oooo H 0 nnnnn ddddd",
        900,
    )
    .only(|w| !integer_by_element(w)),
    Row::new(
        "Advanced SIMD shift by immediate, floating point",
        "0QU 011110 iiiiiii 111oo 1 nnnnn ddddd",
        600,
    )
    .only(|w| field(w, 19, 4) != 0),
    Row::new(
        "Advanced SIMD scalar three same, floating point",
        "01U 11110 zz 1 mmmmm 11ooo 1 nnnnn ddddd",
        400,
    ),
    Row::new(
        "Advanced SIMD scalar three same (FP16)",
        "01U 11110 z10 mmmmm 00 ooo 1 nnnnn ddddd",
        300,
    ),
    Row::new(
        "Advanced SIMD scalar two-register miscellaneous, floating point",
        "01U 11110 zz 10000 ooooo 10 nnnnn ddddd",
        800,
    )
    .only(|w| !integer_two_register(w)),
    Row::new(
        "Advanced SIMD scalar two-register miscellaneous (FP16)",
        "01U 11110 z111100 ooooo 10 nnnnn ddddd",
        600,
    )
    .only(allocated),
    Row::new(
        "Advanced SIMD scalar pairwise, floating point",
        "01U 11110 zz 11000 011oo 10 nnnnn ddddd",
        300,
    )
    // The size of a half is 0 or 2; QEMU 7.2 takes 1 and 3 for the same.
    .only(|w| field(w, 29, 1) == 1 || field(w, 22, 1) == 0),
    Row::new(
        "Advanced SIMD scalar x indexed element, floating point",
        "01U 11111 zz LMmmmm oooo H 0 nnnnn ddddd",
        300,
    )
    .only(|w| !integer_by_element(w)),
    Row::new(
        "Advanced SIMD scalar shift by immediate, floating point",
        "01U 111110 iiiiiii 111oo 1 nnnnn ddddd",
        400,
    )
    // FCVTZS to a half: QEMU 7.2 extends the sign beyond the element's 16 bits, where the Arm ARM
    // clears the rest of the register.
    .only(|w| w & 0xfff0_fc00 != 0x5f10_fc00),
];

/// Instructions without an [`Op`](understudy_arm64::simd::Op), each of which must be among those that
/// were run.
pub const EMITTED_CRYPTOGRAPHY: &[&str] = &["EOR3", "BCAX", "RAX1", "XAR", "SM3SS1"];

/// Instructions of features with few words, each of which must be among those that were run.
pub const EXTENSIONS: &[&str] = &[
    "FRINT32Z",
    "FRINT32X",
    "FRINT64Z",
    "FRINT64X",
    "FJCVTZS",
    "FCADD",
    "FCMLA",
    "FCMLA (by element)",
    "FMLAL",
    "FMLSL",
    "FMLAL2",
    "FMLSL2",
    "FMLAL (by element)",
    "FMLSL (by element)",
    "FMLAL2 (by element)",
    "FMLSL2 (by element)",
    "BFCVT",
    "BFCVTN",
    "BFMLALB",
    "BFMLALT",
    "BFMLALB (by element)",
    "BFMLALT (by element)",
];

/// Words that exist here; for classes in which QEMU 7.2 aborts at those that do not exist.
fn allocated(word: u32) -> bool {
    understudy_arm64::insn::decode(0, word).def.name != "UDF"
}

/// Two-register opcodes that are not conversions, roundings, comparisons, square roots...
fn integer_two_register(word: u32) -> bool {
    match field(word, 12, 5) {
        0b01100..=0b01111 | 0b10110 | 0b10111 => false,
        0b11000.. => field(word, 12, 5) == 0b11100 && field(word, 23, 1) == 1,
        _ => true,
    }
}

/// By-element opcodes that are not FMUL, FMULX, FMLA, FMLS, FMLAL, FCMLA or BFMLAL.
fn integer_by_element(word: u32) -> bool {
    if word & 0x3fc0_f400 == 0x0fc0_f000 {
        return false;
    }
    !matches!(
        (field(word, 29, 1), field(word, 12, 4)),
        (0, 0b0000 | 0b0001 | 0b0100 | 0b0101 | 0b1001)
            | (
                1,
                0b0001 | 0b0011 | 0b0101 | 0b0111 | 0b1000 | 0b1001 | 0b1100
            )
    )
}

/// Shifts that are not SCVTF, UCVTF, FCVTZS, FCVTZU.
fn integer_shift(word: u32) -> bool {
    !matches!(field(word, 11, 5), 0b11100 | 0b11111)
}
