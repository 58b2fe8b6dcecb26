//! Data processing on immediates and registers, in both tiers (Arm ARM C6.2).

use dynasmrt::{VecAssembler, aarch64::Aarch64Relocation, dynasm};
use understudy_arm64::testing::Bare;

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

/// Runs code with these values in X1, X2 and X3 and these flags.
fn run(words: &[u32], x: [u64; 3], nzcv: u64) -> Bare {
    let end = Bare::both(words, |machine| {
        machine.set_x(0, 0x5555_5555_5555_5555);
        for (n, x) in (1..).zip(x) {
            machine.set_x(n, x);
        }
        machine.set_nzcv(nzcv);
    });
    assert!(end.at_end(words), "{words:08x?} did not reach its end");
    end
}

/// X0 and the flags after code.
#[track_caller]
fn gives(words: &[u32], x: [u64; 3], nzcv: u64, x0: u64, flags: u64) {
    let end = run(words, x, nzcv);
    assert_eq!(
        (end.x(0), end.nzcv()),
        (x0, flags),
        "X0 and NZCV, got {:#x} {:#06b}",
        end.x(0),
        end.nzcv()
    );
}

const N: u64 = 8;
const Z: u64 = 4;
const C: u64 = 2;
const V: u64 = 1;

#[test]
fn sums_and_their_flags() {
    let adds = code!(adds x0, x1, x2);
    gives(&adds, [1, 2, 0], 15, 3, 0);
    gives(&adds, [!0, 1, 0], 0, 0, Z | C);
    gives(&adds, [i64::MAX as u64, 1, 0], 0, 1 << 63, N | V);
    gives(&adds, [1 << 63, 1 << 63, 0], 0, 0, Z | C | V);
    gives(&adds, [!0, !0, 0], 0, !1, N | C);
    let adds = code!(adds w0, w1, w2);
    gives(&adds, [0xaaaa_aaaa_ffff_ffff, 1, 0], 0, 0, Z | C);
    gives(&adds, [0x7fff_ffff, 0xf_0000_0001, 0], 0, 1 << 31, N | V);
    gives(&adds, [1 << 31, 1 << 31, 0], 0, 0, Z | C | V);
    let subs = code!(subs x0, x1, x2);
    gives(&subs, [5, 5, 0], 0, 0, Z | C);
    gives(&subs, [5, 6, 0], 0, !0, N);
    gives(&subs, [1 << 63, 1, 0], 0, i64::MAX as u64, C | V);
    gives(&subs, [0, 1 << 63, 0], 0, 1 << 63, N | V);
    let subs = code!(subs w0, w1, w2, lsl 4);
    gives(&subs, [0x1_0000_0010, 1, 0], 0, 0, Z | C);
    gives(&subs, [0, 1, 0], 0, 0xffff_fff0, N);
    gives(
        &code!(subs w0, w1, w2, lsr 1),
        [4, 0xf_0000_0008, 0],
        0,
        0,
        Z | C,
    );
    gives(
        &code!(subs w0, w1, w2, asr 31),
        [4, 0x8000_0000, 0],
        0,
        5,
        0,
    );
    gives(&code!(add x0, x1, x2, asr 60), [4, 1 << 63, 0], 7, !3, 7);
    gives(&code!(sub w0, w1, w2), [0, 1, 0], 5, 0xffff_ffff, 5);
    gives(
        &code!(adds x0, x1, 0xfff, lsl 12),
        [1, 0, 0],
        0,
        0xff_f001,
        0,
    );
    gives(&code!(subs w0, w1, 1), [0, 0, 0], 0, 0xffff_ffff, N);
    gives(&code!(sub x0, x1, 1), [0, 0, 0], 0, !0, 0);
    gives(&code!(add w0, w1, 1), [!0, 0, 0], 0, 0, 0);
}

#[test]
fn the_stack_pointer_where_31_means_it() {
    let end = run(
        &code!(mov sp, x1; add sp, sp, 0x10; sub x0, sp, 8),
        [0x1000, 0, 0],
        0,
    );
    assert_eq!((end.sp(), end.x(0)), (0x1010, 0x1008));
    let end = run(
        &code!(mov x0, sp; add sp, sp, w1, uxtw 2; cmp sp, x2),
        [!0, 3, 0],
        0,
    );
    assert_eq!(end.sp(), end.x(0).wrapping_add(0x3_ffff_fffc));
    // AND to SP; ANDS to XZR.
    let end = run(
        &code!(and sp, x1, 0xfff0; ands xzr, x1, 1),
        [0x1_2345, 0, 0],
        0,
    );
    assert_eq!((end.sp(), end.nzcv()), (0x2340, 0));
    gives(&code!(add x0, x1, xzr), [7, 0, 0], 0, 7, 0);
}

#[test]
fn extended_registers() {
    let x = [0x100, 0xffff_ffff_8765_43f1, 0];
    gives(&code!(add x0, x1, w2, uxtb), x, 0, 0x1f1, 0);
    gives(&code!(add x0, x1, w2, uxth 1), x, 0, 0x100 + 2 * 0x43f1, 0);
    gives(&code!(add x0, x1, w2, uxtw), x, 0, 0x8765_44f1, 0);
    gives(
        &code!(add x0, x1, x2, uxtx 4),
        x,
        0,
        0xffff_fff8_7654_4010,
        0,
    );
    gives(&code!(add x0, x1, w2, sxtb), x, 0, 0xf1, 0);
    gives(&code!(add w0, w1, w2, sxth 3), x, 0, 0x100 + 8 * 0x43f1, 0);
    gives(&code!(add x0, x1, w2, sxtw), x, 0, 0xffff_ffff_8765_44f1, 0);
    gives(
        &code!(subs w0, w1, w2, sxtb),
        [0xfff1, 0xf1, 0],
        0,
        0x1_0000,
        0,
    );
    gives(&code!(subs x0, x1, w2, sxtb), [!14, 0xf1, 0], 0, 0, Z | C);
}

#[test]
fn carries() {
    gives(&code!(adc x0, x1, x2), [1, 2, 0], C, 4, C);
    gives(&code!(adcs x0, x1, x2), [!0, 0, 0], C, 0, Z | C);
    gives(&code!(adcs x0, x1, x2), [!0, !0, 0], C, !0, N | C);
    gives(
        &code!(adcs w0, w1, w2),
        [0x7fff_ffff, 0, 0],
        C,
        1 << 31,
        N | V,
    );
    gives(
        &code!(adcs w0, w1, w2),
        [0xffff_ffff, !0, 0],
        C,
        0xffff_ffff,
        N | C,
    );
    gives(&code!(sbcs x0, x1, x2), [5, 5, 0], C, 0, Z | C);
    gives(&code!(sbcs x0, x1, x2), [5, 5, 0], 0, !0, N);
    gives(
        &code!(sbcs w0, w1, w2),
        [1 << 31, 1, 0],
        C,
        0x7fff_ffff,
        C | V,
    );
    gives(&code!(sbc w0, w1, w2), [0, 0, 0], 0, 0xffff_ffff, 0);
}

#[test]
fn logic() {
    let x = [0xff00_ff00_ff00_ff00, 0x0ff0_0ff0_8ff0_0ff0, 0];
    gives(&code!(and x0, x1, x2), x, 5, 0x0f00_0f00_8f00_0f00, 5);
    gives(&code!(bic x0, x1, x2), x, 0, 0xf000_f000_7000_f000, 0);
    gives(&code!(orr w0, w1, w2), x, 0, 0xfff0_fff0, 0);
    gives(&code!(orn x0, x1, x2), x, 0, !0x00f0_00f0_00f0_00f0, 0);
    gives(&code!(eor w0, w1, w2, ror 4), x, 0, 0xf7ff_ffff, 0);
    gives(&code!(eon w0, w1, w2, asr 4), x, 0, 0xf800_0000, 0);
    gives(&code!(ands w0, w1, w2), x, 15, 0x8f00_0f00, N);
    gives(&code!(bics x0, x1, x1), x, 15, 0, Z);
    gives(&code!(mvn w0, w2), x, 0, 0x700f_f00f, 0);
    gives(&code!(mov w0, w2), x, 0, 0x8ff0_0ff0, 0);
    gives(&code!(and w0, w1, 0xff00ff), [!0, 0, 0], 0, 0xff_00ff, 0);
    gives(
        &code!(orr x0, x1, 0x5555555555555555),
        [2, 0, 0],
        0,
        0x5555_5555_5555_5557,
        0,
    );
    gives(
        &code!(eor w0, w1, 0x80000001),
        [!0, 0, 0],
        0,
        0x7fff_fffe,
        0,
    );
    gives(
        &code!(ands w0, w1, 0x80000000),
        [!0, 0, 0],
        15,
        0x8000_0000,
        N,
    );
    gives(&code!(ands x0, x1, 0xff), [!0 << 8, 0, 0], 15, 0, Z);
}

#[test]
fn moves_of_immediates() {
    gives(&code!(movz x0, 0x1234, lsl 48), [0; 3], 0, 0x1234 << 48, 0);
    gives(&code!(movn w0, 0), [0; 3], 0, 0xffff_ffff, 0);
    gives(&code!(movn x0, 0xffff, lsl 16), [0; 3], 0, !0xffff_0000, 0);
    gives(
        &code!(movk x0, 0x1234, lsl 32),
        [0; 3],
        0,
        0x5555_1234_5555_5555,
        0,
    );
    gives(&code!(movk w0, 0x1234, lsl 16), [0; 3], 0, 0x1234_5555, 0);
    let here = run(&code!(nop; adr x0, 0x10; adrp x1, 0x3000), [0; 3], 0);
    assert_eq!((here.x(0), here.x(1)), (0x4000_0014, 0x4000_3000));
}

#[test]
fn bitfields() {
    let x = [0x1234_5678_9abc_def0, 0, 0];
    gives(&code!(ubfx x0, x1, 4, 8), x, 0, 0xef, 0);
    gives(&code!(sbfx x0, x1, 4, 8), x, 0, !0x10, 0);
    gives(&code!(sbfx w0, w1, 4, 8), x, 0, 0xffff_ffef, 0);
    gives(&code!(ubfiz x0, x1, 40, 12), x, 0, 0xef0 << 40, 0);
    gives(&code!(sbfiz x0, x1, 8, 12), x, 0, (!0xfff | 0xef0) << 8, 0);
    gives(&code!(sbfiz w0, w1, 8, 12), x, 0, 0xfffe_f000, 0);
    gives(&code!(bfi x0, x1, 60, 4), x, 0, 0x0555_5555_5555_5555, 0);
    gives(&code!(bfi w0, w1, 4, 8), x, 0, 0x5555_5f05, 0);
    gives(&code!(bfxil x0, x1, 32, 32), x, 0, 0x5555_5555_1234_5678, 0);
    gives(&code!(lsl x0, x1, 4), x, 0, 0x2345_6789_abcd_ef00, 0);
    gives(&code!(lsr w0, w1, 31), x, 0, 1, 0);
    gives(&code!(asr w0, w1, 28), x, 0, 0xffff_fff9, 0);
    gives(&code!(asr x0, x1, 63), x, 0, 0, 0);
    gives(&code!(sxtw x0, w1), x, 0, 0xffff_ffff_9abc_def0, 0);
    gives(&code!(sxth w0, w1), x, 0, 0xffff_def0, 0);
    gives(&code!(uxtb w0, w1), x, 0, 0xf0, 0);
}

#[test]
fn extracts() {
    let x = [0x1111_2222_3333_4444, 0x5555_6666_7777_8888, 0];
    gives(&code!(extr x0, x1, x2, 16), x, 0, 0x4444_5555_6666_7777, 0);
    gives(&code!(extr x0, x1, x2, 0), x, 0, 0x5555_6666_7777_8888, 0);
    gives(&code!(extr w0, w1, w2, 12), x, 0, 0x4447_7778, 0);
    gives(&code!(ror x0, x1, 4), x, 0, 0x4111_1222_2333_3444, 0);
    gives(&code!(ror w0, w1, 31), x, 0, 0x6666_8888, 0);
}

#[test]
fn shifts_by_registers() {
    let x = [0x8000_0000_8000_0001, 33, 64];
    gives(&code!(lsl x0, x1, x2), x, 0, 1 << 33 | 1 << 31 << 33, 0);
    gives(&code!(lsl w0, w1, w2), x, 0, 2, 0);
    gives(&code!(lsr w0, w1, w2), x, 0, 0x4000_0000, 0);
    gives(&code!(asr w0, w1, w2), x, 0, 0xc000_0000, 0);
    gives(&code!(asr x0, x1, x2), x, 0, 0xffff_ffff_c000_0000, 0);
    gives(&code!(ror w0, w1, w2), x, 0, 0xc000_0000, 0);
    gives(&code!(ror x0, x1, x3), x, 0, x[0], 0);
    gives(&code!(lsr x0, x1, x3), x, 0, x[0], 0);
}

#[test]
fn conditions() {
    // Each condition under each combination of flags, against C1.2.4's table.
    for flags in 0..16 {
        let [v, c, z, n] = [0, 1, 2, 3].map(|bit| flags >> bit & 1 != 0);
        let holds = [z, c, n, v, c && !z, n == v, !z && n == v, true];
        for condition in 0..16u32 {
            let expected = holds[condition as usize / 2] != (condition & 1 != 0 && condition < 14);
            // CSEL X0, X1, X2, condition
            gives(
                &[0x9a82_0020 | condition << 12],
                [1, 0, 0],
                flags,
                expected as u64,
                flags,
            );
            // B.condition +8; MOV X0, XZR; NOP: X0 keeps its value if the branch is taken.
            let branch = [0x5400_0040 | condition, 0xaa1f_03e0, 0xd503_201f];
            let kept = if expected { 0x5555_5555_5555_5555 } else { 0 };
            gives(&branch, [0; 3], flags, kept, flags);
        }
    }
}

#[test]
fn selects_and_compares() {
    let x = [10, 20, 0];
    gives(&code!(csinc x0, x1, x2, eq), x, 0, 21, 0);
    gives(&code!(csinv w0, w1, w2, eq), x, 0, 0xffff_ffeb, 0);
    gives(&code!(csneg x0, x1, x2, eq), x, 0, 20u64.wrapping_neg(), 0);
    gives(&code!(csneg x0, x1, x2, eq), x, Z, 10, Z);
    gives(&code!(cset x0, ne), x, 0, 1, 0);
    gives(&code!(csetm w0, ne), x, 0, 0xffff_ffff, 0);
    let kept = 0x5555_5555_5555_5555;
    gives(&code!(ccmp x1, x2, 0b0101, eq), x, Z, kept, N);
    gives(&code!(ccmp x1, x2, 0b0101, ne), x, Z, kept, Z | V);
    gives(&code!(ccmp x1, x2, 0b1010, ne), x, Z, kept, N | C);
    gives(&code!(ccmp w1, 10, 0, al), x, 0, kept, Z | C);
    gives(
        &code!(ccmn w1, 10, 15, hi),
        [0xffff_fff6, 0, 0],
        C,
        kept,
        Z | C,
    );
    gives(&code!(ccmn w1, w2, 15, hi), x, Z | C, kept, 15);
}

#[test]
fn bits_and_bytes() {
    let x = [0x0123_4567_89ab_cdef, 0, 0];
    gives(&code!(rbit x0, x1), x, 0, 0xf7b3_d591_e6a2_c480, 0);
    gives(&code!(rbit w0, w1), x, 0, 0xf7b3_d591, 0);
    gives(&code!(rev x0, x1), x, 0, 0xefcd_ab89_6745_2301, 0);
    gives(&code!(rev w0, w1), x, 0, 0xefcd_ab89, 0);
    gives(&code!(rev16 x0, x1), x, 0, 0x2301_6745_ab89_efcd, 0);
    gives(&code!(rev16 w0, w1), x, 0, 0xab89_efcd, 0);
    gives(&code!(rev32 x0, x1), x, 0, 0x6745_2301_efcd_ab89, 0);
    gives(&code!(clz x0, x1), x, 0, 7, 0);
    gives(&code!(clz w0, w1), [0xffff_ffff_0000_0010, 0, 0], 0, 27, 0);
    gives(&code!(clz w0, w1), [0; 3], 0, 32, 0);
    gives(&code!(cls x0, x1), [0; 3], 0, 63, 0);
    gives(&code!(cls x0, x1), [!0 << 10, 0, 0], 0, 53, 0);
    gives(&code!(cls w0, w1), [0xffff_fff0, 0, 0], 0, 27, 0);
    gives(&code!(cls w0, w1), x, 0, 0, 0);
}

#[test]
fn products_and_quotients() {
    let x = [0xffff_ffff_ffff_fffd, 5, 100];
    gives(&code!(madd x0, x1, x2, x3), x, 0, 85, 0);
    gives(&code!(msub w0, w1, w2, w3), x, 0, 115, 0);
    gives(&code!(smaddl x0, w1, w2, x3), x, 0, 85, 0);
    gives(
        &code!(umaddl x0, w1, w2, x3),
        x,
        0,
        100 + 5 * 0xffff_fffd,
        0,
    );
    gives(&code!(smsubl x0, w1, w2, x3), x, 0, 115, 0);
    gives(
        &code!(umsubl x0, w1, w2, x3),
        x,
        0,
        100u64.wrapping_sub(5 * 0xffff_fffd),
        0,
    );
    gives(&code!(smulh x0, x1, x2), x, 0, !0, 0);
    gives(&code!(umulh x0, x1, x2), x, 0, 4, 0);
    gives(&code!(udiv x0, x1, x2), x, 0, 0x3333_3333_3333_3332, 0);
    gives(&code!(sdiv x0, x1, x2), [!16, 5, 0], 0, !2, 0);
    gives(&code!(udiv x0, x1, x3), [9, 9, 0], 0, 0, 0);
    gives(
        &code!(sdiv w0, w1, w2),
        [0x8000_0000, 0xffff_ffff, 0],
        0,
        0x8000_0000,
        0,
    );
    gives(&code!(sdiv x0, x1, x2), [1 << 63, !0, 0], 0, 1 << 63, 0);
    gives(
        &code!(sdiv w0, w1, w2),
        [0xf_ffff_fff8, 3, 0],
        0,
        0xffff_fffe,
        0,
    );
}

#[test]
fn checksums() {
    // The check values of CRC-32 and CRC-32C are those of the digits 1 to 9.
    let digits = u64::from_le_bytes(*b"12345678");
    let x = [0xffff_ffff, digits, b'9' as u64];
    gives(
        &code!(crc32x w0, w1, x2; crc32b w0, w0, w3; mvn w0, w0),
        x,
        0,
        0xcbf4_3926,
        0,
    );
    gives(
        &code!(crc32cx w0, w1, x2; crc32cb w0, w0, w3; mvn w0, w0),
        x,
        0,
        0xe306_9283,
        0,
    );
    let words = code!(crc32w w0, w1, w2; lsr x2, x2, 32; crc32h w0, w0, w2; lsr x2, x2, 16;
        crc32h w0, w0, w2; crc32b w0, w0, w3; mvn w0, w0);
    gives(&words, x, 0, 0xcbf4_3926, 0);
}
