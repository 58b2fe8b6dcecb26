//! Extensions of Advanced SIMD and floating point, by hand-worked examples in both tiers. Every
//! encoding is compared with another implementation in `differential`; these need nothing.

use understudy_arm64::testing::Bare;
use understudy_arm64::{fp::fpsr, regs};

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
