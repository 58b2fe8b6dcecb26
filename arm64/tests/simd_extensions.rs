//! Extensions of Advanced SIMD and floating point, by hand-worked examples in both tiers. Every
//! encoding is compared with another implementation in `differential`; these need nothing.

use understudy_arm64::fp::{fpcr, fpsr};
use understudy_arm64::regs;
use understudy_arm64::testing::Bare;

/// What an instruction leaves: V0, FPSR, X0, NZCV.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    v: u128,
    fpsr: u32,
    x: u64,
    nzcv: u32,
}

/// Runs it with these V0 to V3.
fn run(word: u32, fpcr: u32, v: [u128; 4]) -> Left {
    let end = Bare::both(&[word], |machine| {
        let cpu = &mut machine.vcpu.engine.cpu;
        for (n, v) in (0..).zip(v) {
            regs::set_vector(cpu, n, v);
        }
        regs::set_fpcr(cpu, fpcr.into());
    });
    let cpu = &end.vcpu.engine.cpu;
    Left {
        v: regs::vector(cpu, 0),
        fpsr: regs::fpsr(cpu) as u32,
        x: end.x(0),
        nzcv: (regs::nzcv(cpu) >> 28) as u32,
    }
}

const ONES: u128 = u128::MAX;

/// Four singles as a vector, element 0 first.
fn singles(elements: [f32; 4]) -> u128 {
    let bits = elements.map(f32::to_bits);
    (0..4).fold(0, |v, i| v | u128::from(bits[i]) << (32 * i))
}

#[test]
fn rounding_to_integers_of_a_size() {
    // FRINT32Z D0, D1
    let n = u128::from(1e10f64.to_bits());
    let left = run(0x1e68_4020, 0, [ONES, n, 0, 0]);
    assert_eq!(left.v, u128::from((-2147483648f64).to_bits()));
    assert_eq!(left.fpsr, fpsr::IOC);
    // FRINT64X V0.4S, V1.4S
    let n = singles([1.5, 2.5, -0.25, 1e19]);
    let left = run(0x6e21_f820, 0, [ONES, n, 0, 0]);
    assert_eq!(left.v, singles([2.0, 2.0, -0.0, -9.223372e18]));
    assert_eq!(left.fpsr, fpsr::IOC | fpsr::IXC);
    // FRINT32X V0.2S, V1.2S
    let left = run(0x2e21_e820, 0, [ONES, n, 0, 0]);
    assert_eq!(left.v, singles([2.0, 2.0, 0.0, 0.0]));
}

#[test]
fn javascript_conversion_sets_z_where_it_is_exact() {
    // FJCVTZS W0, D1
    let convert = |n: f64| run(0x1e7e_0020, 0, [0, n.to_bits().into(), 0, 0]);
    let (exact, wrapped) = (convert(-5.0), convert(4294967301.0));
    assert_eq!((exact.x, exact.nzcv, exact.fpsr), (0xffff_fffb, 0b0100, 0));
    assert_eq!((wrapped.x, wrapped.nzcv), (5, 0));
    assert_eq!(wrapped.fpsr, fpsr::IOC);
}

/// Two doubles as a vector, element 0 first.
fn doubles([low, high]: [f64; 2]) -> u128 {
    u128::from(low.to_bits()) | u128::from(high.to_bits()) << 64
}

#[test]
fn complex_numbers_are_added_and_multiplied_in_quarter_turns() {
    let (d, n, m) = (
        singles([100.0, 200.0, 0.0, -0.0]),
        singles([1.0, 2.0, 5.0, 6.0]),
        singles([10.0, 20.0, 7.0, -8.0]),
    );
    let v = |word| run(word, 0, [d, n, m, 0]).v;
    // FCADD V0.4S, V1.4S, V2.4S, #90 and #270
    assert_eq!(v(0x6e82_e420), singles([-19.0, 12.0, 13.0, 13.0]));
    assert_eq!(v(0x6e82_f420), singles([21.0, -8.0, -3.0, -1.0]));
    // FCMLA V0.2S, V1.2S, V2.2S, #0, #90, #180, #270
    assert_eq!(v(0x2e82_c420), singles([110.0, 220.0, 0.0, 0.0]));
    assert_eq!(v(0x2e82_cc20), singles([60.0, 220.0, 0.0, 0.0]));
    assert_eq!(v(0x2e82_d420), singles([90.0, 180.0, 0.0, 0.0]));
    assert_eq!(v(0x2e82_dc20), singles([140.0, 180.0, 0.0, 0.0]));
    // FCMLA V0.4S, V1.4S, V2.S[1], #90
    assert_eq!(v(0x6f82_3820), singles([116.0, 214.0, 48.0, 42.0]));
    let (d, n, m) = (
        doubles([100.0, 200.0]),
        doubles([1.0, 2.0]),
        doubles([10.0, 20.0]),
    );
    // FCMLA V0.2D, V1.2D, V2.2D, #90; FCADD #270
    let left = run(0x6ec2_cc20, 0, [d, n, m, 0]);
    assert_eq!(left.v, doubles([60.0, 220.0]));
    let left = run(0x6ec2_f420, 0, [d, n, m, 0]);
    assert_eq!(left.v, doubles([21.0, -8.0]));
    // FCMLA V0.4H, V1.4H, V2.H[1], #0: real parts 1.0 and 2.0 times (3.0, 4.0)
    let (n, m) = (0x7c00_4000_7c00_3c00, 0x4400_4200 << 32);
    let left = run(0x2f62_1020, 0, [0, n, m, 0]);
    assert_eq!(left.v, 0x4800_4600_4400_4200);
    // The sign of a NaN is flipped, too: FCADD V0.2S, V1.2S, V2.2S, #90
    let left = run(0x2e82_e420, 0, [0, 0, 0x7fc0_0001 << 32, 0]);
    assert_eq!((left.v, left.fpsr), (0xffc0_0001, 0));
}

#[test]
fn sha3_combines_and_rotates() {
    let (n, m, a) = (
        0x0f0f << 64 | 0x0f,
        0x3333 << 64 | 0x33,
        0x5555 << 64 | 0x55,
    );
    let v = |word| run(word, 0, [ONES, n, m, a]).v;
    // EOR3 V0.16B, V1.16B, V2.16B, V3.16B; BCAX of the same
    assert_eq!(v(0xce02_0c20), 0x6969 << 64 | 0x69);
    assert_eq!(v(0xce22_0c20), 0x2d2d << 64 | 0x2d);
    // XAR V0.2D, V1.2D, V2.2D, #4 and #0
    let low: u128 = 0xc << 60 | 0x3;
    assert_eq!(v(0xce82_1020), (0xc << 60 | 0x3c3) << 64 | low);
    assert_eq!(v(0xce82_0020), 0x3c3c << 64 | 0x3c);
    // RAX1 V0.2D, V1.2D, V2.2D
    let top = 1 << 63;
    let left = run(0xce62_8c20, 0, [ONES, 1, top, 0]);
    assert_eq!(left.v, 0);
    // SM3SS1 V0.4S, V1.4S, V2.4S, V3.4S
    let (n, m, a) = (
        0x0010_0000 << 96 | 7,
        0x10 << 96,
        u128::from(u32::MAX) << 96,
    );
    let left = run(0xce42_0c20, 0, [ONES, n, m, a]);
    assert_eq!(left.v, 0x800 << 96);
}

#[test]
fn products_of_halves_are_added_to_singles() {
    // 1.0, 2.0, 3.0, 4.0; then 8.0 below, and below that 2^-24, a denormal.
    let n = 0x4800_0001_4800_0001_4400_4200_4000_3c00;
    let m = 0x4000_4000_4000_4000_4000_4000_4000_4000;
    let d = singles([0.5; 4]);
    // FMLAL V0.4S, V1.4H, V2.4H; FMLSL; FMLAL2; FMLAL2 V0.2S, V1.2H, V2.2H
    let left = run(0x4e22_ec20, 0, [d, n, m, 0]);
    assert_eq!((left.v, left.fpsr), (singles([2.5, 4.5, 6.5, 8.5]), 0));
    let left = run(0x4ea2_ec20, 0, [d, n, m, 0]);
    assert_eq!(left.v, singles([-1.5, -3.5, -5.5, -7.5]));
    let tiny = 0.5 + 2f32.powi(-23);
    let left = run(0x6e22_cc20, 0, [d, n, m, 0]);
    assert_eq!(left.v, singles([tiny, 16.5, tiny, 16.5]));
    let left = run(0x2e22_cc20, 0, [d, n, m, 0]);
    assert_eq!(left.v, singles([6.5, 8.5, 0.0, 0.0]));
    // FPCR.FZ16 flushes halves, silently.
    let left = run(0x6e22_cc20, fpcr::FZ16, [d, n, m, 0]);
    assert_eq!((left.v, left.fpsr), (singles([0.5, 16.5, 0.5, 16.5]), 0));
    // FMLAL V0.4S, V1.4H, V2.H[7]; a signalling NaN is Invalid Operation.
    let left = run(0x4fb2_0820, 0, [d, n, 0x7d01 << 112, 0]);
    let nan: u128 = 0x7f80_0000 | 0x101 << 13 | 1 << 22;
    assert_eq!(left.v, nan * 0x1_0000_0001_0000_0001_0000_0001);
    assert_eq!(left.fpsr, fpsr::IOC);
}

#[test]
fn bytes_of_either_sign_are_multiplied() {
    let v = |word, n, m| run(word, 0, [1, n, m, 0]).v;
    // USDOT V0.4S, V1.16B, V2.16B; V2.4B[3]; SUDOT V0.4S, V1.16B, V2.4B[3]
    assert_eq!(v(0x4e82_9c20, 0xff, 0x80), 0xffff_8081);
    assert_eq!(v(0x4fa2_f820, 0xff, 0x80 << 96), 0xffff_8081);
    assert_eq!(v(0x4f22_f820, 0xff, 0x80 << 96), 0xffff_ff81);
    // USMMLA V0.4S, V1.16B, V2.16B: rows (2, 3) and (255), by rows (4, 5) and (-1).
    let (n, m) = (0xff << 64 | 0x0302, 0xff << 64 | 0x0504);
    let product = [1 + 23, -2i32, 255 * 4, -255];
    let product = (0..).zip(product).fold(0, |v, (i, element)| {
        v | u128::from(element as u32) << (32 * i)
    });
    assert_eq!(v(0x4e82_ac20, n, m), product);
}

/// BFloat16 values as a vector, element 0 first.
fn bf16(elements: &[f32]) -> u128 {
    let bits = elements.iter().map(|element| element.to_bits() >> 16);
    (0..)
        .zip(bits)
        .fold(0, |v, (i, bits)| v | u128::from(bits) << (16 * i))
}

#[test]
fn dot_products_of_bfloat16_have_rules_of_their_own() {
    let dot = |d: f32, n: [f32; 2], m: [f32; 2]| {
        // BFDOT V0.2S, V1.4H, V2.4H: FPCR has no effect, and no flag is set.
        let v = [u128::from(d.to_bits()), bf16(&n), bf16(&m), 0];
        let left = run(0x2e42_fc20, 0, v);
        assert_eq!(left, run(0x2e42_fc20, fpcr::RMODE | fpcr::AHP, v));
        assert_eq!(left.fpsr, 0);
        left.v as u32
    };
    assert_eq!(dot(1.0, [2.0, 3.0], [4.0, -5.0]), (-6f32).to_bits());
    // To odd: 1 + 2^-30 has a last bit of one, 1 - 2^-30 is all ones below.
    let small = 2f32.powi(-15);
    assert_eq!(dot(1.0, [small, 0.0], [small, 0.0]), 0x3f80_0001);
    assert_eq!(dot(1.0, [small, 0.0], [-small, 0.0]), 0x3f7f_ffff);
    // Overflow is an infinity, a tiny product zero, every NaN the default one.
    assert_eq!(
        dot(0.0, [1e38, 0.0], [-1e38, 0.0]),
        f32::NEG_INFINITY.to_bits()
    );
    let tiny = f32::MIN_POSITIVE;
    assert_eq!(dot(-0.0, [-tiny, -0.0], [tiny, 1.0]), 1 << 31);
    assert_eq!(dot(f32::from_bits(1), [0.0; 2], [0.0; 2]), 0);
    assert_eq!(dot(-f32::NAN, [0.0; 2], [0.0; 2]), 0x7fc0_0000);
    assert_eq!(dot(0.0, [f32::INFINITY, 0.0], [0.0; 2]), 0x7fc0_0000);
    assert_eq!(dot(2.0, [1.0, 0.0], [-2.0, 0.0]), 0);
    // BFMMLA V0.4S, V1.8H, V2.8H
    let n = bf16(&[1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 0.0]);
    let m = bf16(&[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, -2.0]);
    let left = run(0x6e42_ec20, 0, [singles([0.5; 4]), n, m, 0]);
    assert_eq!(left.v, singles([10.5, -7.5, 5.5, 0.5]));
    // BFDOT V0.4S, V1.8H, V2.2H[3]
    let m = bf16(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 10.0]);
    let left = run(0x4f62_f820, 0, [0, n, m, 0]);
    assert_eq!(left.v, singles([21.0, 43.0, 5.0, 0.0]));
}

#[test]
fn bfloat16_is_converted_and_accumulated_as_singles_are() {
    // BFCVT H0, S1: to nearest, or as FPCR says.
    let n = u128::from(0x3f80_8001u32);
    let left = run(0x1e63_4020, 0, [ONES, n, 0, 0]);
    assert_eq!((left.v, left.fpsr), (0x3f81, fpsr::IXC));
    let left = run(0x1e63_4020, fpcr::RMODE, [ONES, n, 0, 0]);
    assert_eq!((left.v, left.fpsr), (0x3f80, fpsr::IXC));
    // FZ, and not FZ16; AHP is for halves.
    let left = run(0x1e63_4020, fpcr::FZ16 | fpcr::AHP, [0, 0x0040_0000, 0, 0]);
    assert_eq!((left.v, left.fpsr), (0x0040, 0));
    let left = run(0x1e63_4020, fpcr::FZ, [0, 0x0040_0000, 0, 0]);
    assert_eq!((left.v, left.fpsr), (0, fpsr::IDC));
    let left = run(0x1e63_4020, 0, [0, 0xff81_2345, 0, 0]);
    assert_eq!((left.v, left.fpsr), (0xffc1, fpsr::IOC));
    // BFCVTN2 V0.8H, V1.4S keeps the lower half; BFCVTN V0.4H, V1.4S clears the upper one.
    let n = singles([1.0, -2.0, 0.5, f32::INFINITY]);
    let left = run(0x4ea1_6820, 0, [ONES, n, 0, 0]);
    let narrow = bf16(&[1.0, -2.0, 0.5, f32::INFINITY]);
    assert_eq!(left.v, narrow << 64 | u128::from(u64::MAX));
    let left = run(0x0ea1_6820, 0, [ONES, n, 0, 0]);
    assert_eq!(left.v, narrow);
    // BFMLALB, BFMLALT V0.4S, V1.8H, V2.8H; BFMLALT V0.4S, V1.8H, V2.H[7]
    let n = bf16(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let d = singles([0.5; 4]);
    let left = run(0x2ec2_fc20, 0, [d, n, n, 0]);
    assert_eq!(left.v, singles([1.5, 9.5, 25.5, 49.5]));
    let left = run(0x6ec2_fc20, 0, [d, n, n, 0]);
    assert_eq!(left.v, singles([4.5, 16.5, 36.5, 64.5]));
    let left = run(0x4ff2_f820, 0, [d, n, n, 0]);
    assert_eq!(left.v, singles([16.5, 32.5, 48.5, 64.5]));
}
