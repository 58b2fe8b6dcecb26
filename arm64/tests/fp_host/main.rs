//! Directed rounding and exception flags against an x86-64 host's own SSE unit.
//!
//! Two rules differ by architecture and are left out of the comparison: which NaN comes out, and
//! Underflow where a tiny result rounds to the smallest normal number (x86 looks after rounding,
//! Arm before).

#![cfg(target_arch = "x86_64")]

mod values;

use std::arch::asm;

use understudy_arm64::fp::{Float, Fp, Rounding, fpcr, fpsr};
use values::Random;

/// Run `body` under an MXCSR with every exception masked, and return the one after it.
macro_rules! sse {
    ($rmode:expr, $($code:tt)*) => {{
        // x86 numbers "down" 1 and "up" 2, Arm the other way around.
        let rounding = [0u32, 2, 1, 3][$rmode as usize];
        let (mut saved, mut mxcsr) = (0u32, 0x1f80 | rounding << 13);
        // SAFETY: MXCSR is as before when the block ends, and only scratch registers are written.
        unsafe {
            asm!(
                "stmxcsr [{saved}]", "ldmxcsr [{mxcsr}]",
                $($code)*,
                saved = in(reg) &mut saved, mxcsr = in(reg) &mut mxcsr,
            );
            asm!("stmxcsr [{mxcsr}]", "ldmxcsr [{saved}]",
                saved = in(reg) &saved, mxcsr = in(reg) &mut mxcsr);
        }
        mxcsr
    }};
}

macro_rules! binary {
    ($name:ident, $float:ty, $code:literal) => {
        fn $name(rmode: u32, a: $float, b: $float) -> ($float, u32) {
            let mut result = a;
            let flags = sse!(rmode, $code, r = inout(xmm_reg) result, b = in(xmm_reg) b);
            (result, flags)
        }
    };
}
binary!(add64, f64, "addsd {r}, {b}");
binary!(sub64, f64, "subsd {r}, {b}");
binary!(mul64, f64, "mulsd {r}, {b}");
binary!(div64, f64, "divsd {r}, {b}");
binary!(sqrt64, f64, "sqrtsd {r}, {b}");
binary!(add32, f32, "addss {r}, {b}");
binary!(sub32, f32, "subss {r}, {b}");
binary!(mul32, f32, "mulss {r}, {b}");
binary!(div32, f32, "divss {r}, {b}");
binary!(sqrt32, f32, "sqrtss {r}, {b}");

fn to_integer(rmode: u32, a: f64) -> (i64, u32) {
    let mut result = 0;
    let flags = sse!(rmode, "cvtsd2si {r}, {a}", r = inout(reg) result, a = in(xmm_reg) a);
    (result, flags)
}

fn to_single(rmode: u32, a: f64) -> (f32, u32) {
    let mut result = 0.0;
    let flags = sse!(rmode, "cvtsd2ss {r}, {a}", r = inout(xmm_reg) result, a = in(xmm_reg) a);
    (result, flags)
}

/// MXCSR's flags as FPSR's; x86's denormal-operand flag has no counterpart without flushing.
fn flags(mxcsr: u32) -> u32 {
    [
        (0, fpsr::IOC),
        (2, fpsr::DZC),
        (3, fpsr::OFC),
        (4, fpsr::UFC),
        (5, fpsr::IXC),
    ]
    .into_iter()
    .filter(|(bit, _)| mxcsr >> bit & 1 == 1)
    .fold(0, |all, (_, flag)| all | flag)
}

fn agree<F: Float>(what: &str, operands: [F; 2], ours: (F, u32), host: (F, u32)) {
    let ((result, fpsr), (host, mxcsr)) = (ours, host);
    if host.is_nan() {
        assert!(result.is_nan(), "{what} {operands:x?}");
    } else {
        assert_eq!(result, host, "{what} {operands:x?}");
    }
    let smallest_normal = result.exp() == 1 && result.frac() == 0;
    let compared = if smallest_normal { !fpsr::UFC } else { !0 };
    assert_eq!(
        fpsr & compared,
        flags(mxcsr) & compared,
        "flags of {what} {operands:x?}"
    );
}

#[test]
fn directed_rounding_is_the_processors() {
    let random = &mut Random::new(11);
    for _ in 0..200_000 {
        let rmode = random.below(4) as u32;
        let ours = |operation: &dyn Fn(&mut Fp) -> u64| {
            let mut fp = Fp::new(rmode << fpcr::RMODE_SHIFT);
            (operation(&mut fp), fp.fpsr)
        };
        let a: u64 = random.value();
        let b: u64 = random.related(a);
        let (x, y) = (f64::from_bits(a), f64::from_bits(b));
        let host = |(result, flags): (f64, u32)| (result.to_bits(), flags);
        agree(
            "FADD",
            [a, b],
            ours(&|fp| fp.add(a, b)),
            host(add64(rmode, x, y)),
        );
        agree(
            "FSUB",
            [a, b],
            ours(&|fp| fp.sub(a, b)),
            host(sub64(rmode, x, y)),
        );
        agree(
            "FMUL",
            [a, b],
            ours(&|fp| fp.mul(a, b)),
            host(mul64(rmode, x, y)),
        );
        agree(
            "FDIV",
            [a, b],
            ours(&|fp| fp.div(a, b)),
            host(div64(rmode, x, y)),
        );
        agree(
            "FSQRT",
            [a, a],
            ours(&|fp| fp.sqrt(a)),
            host(sqrt64(rmode, x, x)),
        );

        let ours = |operation: &dyn Fn(&mut Fp) -> u32| {
            let mut fp = Fp::new(rmode << fpcr::RMODE_SHIFT);
            (operation(&mut fp), fp.fpsr)
        };
        let host = |(result, flags): (f32, u32)| (result.to_bits(), flags);
        agree(
            "FCVT",
            [a as u32, 0],
            ours(&|fp| fp.convert(a)),
            host(to_single(rmode, x)),
        );
        let a: u32 = random.value();
        let b: u32 = random.related(a);
        let (x, y) = (f32::from_bits(a), f32::from_bits(b));
        agree(
            "FADD",
            [a, b],
            ours(&|fp| fp.add(a, b)),
            host(add32(rmode, x, y)),
        );
        agree(
            "FSUB",
            [a, b],
            ours(&|fp| fp.sub(a, b)),
            host(sub32(rmode, x, y)),
        );
        agree(
            "FMUL",
            [a, b],
            ours(&|fp| fp.mul(a, b)),
            host(mul32(rmode, x, y)),
        );
        agree(
            "FDIV",
            [a, b],
            ours(&|fp| fp.div(a, b)),
            host(div32(rmode, x, y)),
        );
        agree(
            "FSQRT",
            [a, a],
            ours(&|fp| fp.sqrt(a)),
            host(sqrt32(rmode, x, x)),
        );
    }
}

#[test]
fn conversion_to_integers_is_the_processors() {
    let random = &mut Random::new(12);
    for _ in 0..200_000 {
        let a: u64 = random.value();
        let mut fp = Fp::new((random.below(4) as u32) << fpcr::RMODE_SHIFT);
        let rounding = fp.rounding_mode();
        let (host, mxcsr) = to_integer(fp.fpcr >> fpcr::RMODE_SHIFT, f64::from_bits(a));
        let ours = fp.to_fixed(a, 64, 0, false, rounding) as i64;
        // x86 has one answer for whatever does not fit.
        if fp.fpsr & fpsr::IOC == 0 {
            assert_eq!(ours, host, "{a:x} {rounding:?}");
        } else {
            assert_eq!(host, i64::MIN, "{a:x} {rounding:?}");
        }
        assert_eq!(fp.fpsr, flags(mxcsr), "{a:x} {rounding:?}");
        assert_ne!(rounding, Rounding::Odd);
    }
}
