//! The floating-point operations, compared with QEMU's user-mode emulator instruction by
//! instruction: result, FPSR and condition flags, under every kind of FPCR.

mod qemu;
#[path = "qemu/values.rs"]
mod values;

use qemu::Record;
use understudy_arm64::fp::{Float, Fp, Rounding};
use values::Random;

/// What an operation does to the registers: V0 is its destination, V1 to V3 its operands.
type Semantics = Box<dyn Fn(&mut Fp, &mut Record)>;

struct Operation {
    name: String,
    word: u32,
    semantics: Semantics,
}

fn op(name: String, word: u32, semantics: impl Fn(&mut Fp, &mut Record) + 'static) -> Operation {
    Operation {
        name,
        word,
        semantics: Box::new(semantics),
    }
}

fn get<F: Float>(record: &Record, v: usize) -> F {
    F::from_bits(record.v[v] as u64)
}

fn set<F: Float>(record: &mut Record, value: F) {
    record.v[0] = value.bits().into();
}

const N: u32 = 1 << 5;
const M: u32 = 2 << 16;
const A: u32 = 3 << 10;

fn conversion<F: Float, G: Float>(ftype: u32, opcode: u32) -> Operation {
    let word = 0x1e20_4000 | ftype << 22 | opcode << 15 | N;
    op(format!("FCVT {} to {}", F::BITS, G::BITS), word, |fp, r| {
        let result: G = fp.convert(get::<F>(r, 1));
        set(r, result);
    })
}

fn operations<F: Float>() -> Vec<Operation> {
    let ftype = match F::BITS {
        16 => 3,
        32 => 0,
        _ => 1,
    };
    let mut all = Vec::new();
    let mut add = |name: &str, word: u32, f: fn(&mut Fp, [F; 4]) -> F| {
        all.push(op(format!("{name} {}", F::BITS), word, move |fp, r| {
            let result = f(fp, [get(r, 0), get(r, 1), get(r, 2), get(r, 3)]);
            set(r, result);
        }));
    };
    // Two sources.
    let word = |opcode: u32| 0x1e20_0800 | ftype << 22 | M | opcode << 12 | N;
    add("FMUL", word(0), |fp, [_, a, b, _]| fp.mul(a, b));
    add("FDIV", word(1), |fp, [_, a, b, _]| fp.div(a, b));
    add("FADD", word(2), |fp, [_, a, b, _]| fp.add(a, b));
    add("FSUB", word(3), |fp, [_, a, b, _]| fp.sub(a, b));
    add("FMAX", word(4), |fp, [_, a, b, _]| fp.max(a, b));
    add("FMIN", word(5), |fp, [_, a, b, _]| fp.min(a, b));
    add("FMAXNM", word(6), |fp, [_, a, b, _]| fp.max_num(a, b));
    add("FMINNM", word(7), |fp, [_, a, b, _]| fp.min_num(a, b));
    add("FNMUL", word(8), |fp, [_, a, b, _]| fp.mul(a, b).neg());
    // Three sources.
    let word = |o1: u32, o0: u32| 0x1f00_0000 | ftype << 22 | o1 << 21 | M | o0 << 15 | A | N;
    add("FMADD", word(0, 0), |fp, [_, a, b, c]| fp.mul_add(c, a, b));
    add("FMSUB", word(0, 1), |fp, [_, a, b, c]| {
        fp.mul_add(c, a.neg(), b)
    });
    add("FNMADD", word(1, 0), |fp, [_, a, b, c]| {
        fp.mul_add(c.neg(), a.neg(), b)
    });
    add("FNMSUB", word(1, 1), |fp, [_, a, b, c]| {
        fp.mul_add(c.neg(), a, b)
    });
    // One source.
    let word = |opcode: u32| 0x1e20_4000 | ftype << 22 | opcode << 15 | N;
    add("FSQRT", word(3), |fp, [_, a, ..]| fp.sqrt(a));
    add("FRINTN", word(8), |fp, [_, a, ..]| {
        fp.round_int(a, Rounding::TieEven, false)
    });
    add("FRINTP", word(9), |fp, [_, a, ..]| {
        fp.round_int(a, Rounding::PosInf, false)
    });
    add("FRINTM", word(10), |fp, [_, a, ..]| {
        fp.round_int(a, Rounding::NegInf, false)
    });
    add("FRINTZ", word(11), |fp, [_, a, ..]| {
        fp.round_int(a, Rounding::Zero, false)
    });
    add("FRINTA", word(12), |fp, [_, a, ..]| {
        fp.round_int(a, Rounding::TieAway, false)
    });
    add("FRINTX", word(14), |fp, [_, a, ..]| {
        fp.round_int(a, fp.rounding_mode(), true)
    });
    add("FRINTI", word(15), |fp, [_, a, ..]| {
        fp.round_int(a, fp.rounding_mode(), false)
    });
    // Scalar Advanced SIMD: one encoding for halves, one for the others.
    let word = |half: u32, other: u32| match F::BITS {
        16 => half | N,
        32 => other | N,
        _ => other | 1 << 22 | N,
    };
    add(
        "FMULX",
        word(0x5e40_1c00, 0x5e20_dc00) | M,
        |fp, [_, a, b, _]| fp.mulx(a, b),
    );
    add(
        "FRECPS",
        word(0x5e40_3c00, 0x5e20_fc00) | M,
        |fp, [_, a, b, _]| fp.recip_step_fused(a, b),
    );
    add(
        "FRSQRTS",
        word(0x5ec0_3c00, 0x5ea0_fc00) | M,
        |fp, [_, a, b, _]| fp.rsqrt_step_fused(a, b),
    );
    fn all_ones<F: Float>(condition: bool) -> F {
        F::from_bits(if condition { u64::MAX } else { 0 })
    }
    add(
        "FCMEQ",
        word(0x5e40_2400, 0x5e20_e400) | M,
        |fp, [_, a, b, _]| all_ones(fp.compare_eq(a, b)),
    );
    add(
        "FCMGE",
        word(0x7e40_2400, 0x7e20_e400) | M,
        |fp, [_, a, b, _]| all_ones(fp.compare_ge(a, b)),
    );
    add(
        "FACGT",
        word(0x7ec0_2c00, 0x7ea0_ec00) | M,
        |fp, [_, a, b, _]| all_ones(fp.compare_gt(a.abs(), b.abs())),
    );
    add(
        "FRECPE",
        word(0x5ef9_d800, 0x5ea1_d800),
        |fp, [_, a, ..]| fp.recip_estimate(a),
    );
    add(
        "FRSQRTE",
        word(0x7ef9_d800, 0x7ea1_d800),
        |fp, [_, a, ..]| fp.rsqrt_estimate(a),
    );
    add(
        "FRECPX",
        word(0x5ef9_f800, 0x5ea1_f800),
        |fp, [_, a, ..]| fp.recpx(a),
    );

    for (name, signal, opcode2) in [("FCMP", false, 0), ("FCMPE", true, 0x10)] {
        let word = 0x1e20_2000 | ftype << 22 | M | N | opcode2;
        all.push(op(format!("{name} {}", F::BITS), word, move |fp, r| {
            r.nzcv = u64::from(fp.compare(get::<F>(r, 1), get(r, 2), signal).nzcv()) << 28;
        }));
    }
    for (sf, width) in [(0u32, 32), (1, 64)] {
        for unsigned in [false, true] {
            let u = u32::from(unsigned);
            let rows = [
                ("FCVTN", 0, u, Rounding::TieEven),
                ("FCVTP", 1, u, Rounding::PosInf),
                ("FCVTM", 2, u, Rounding::NegInf),
                ("FCVTZ", 3, u, Rounding::Zero),
                ("FCVTA", 0, 4 + u, Rounding::TieAway),
            ];
            for (name, rmode, opcode, rounding) in rows {
                let word = 0x1e20_0000 | sf << 31 | ftype << 22 | rmode << 19 | opcode << 16 | N;
                let name = format!("{name}{} {} to {width}", ["S", "U"][u as usize], F::BITS);
                all.push(op(name, word, move |fp, r| {
                    r.x[0] = fp.to_fixed(get::<F>(r, 1), width, 0, unsigned, rounding);
                }));
            }
            let word = 0x1e20_0000 | sf << 31 | ftype << 22 | (2 + u) << 16 | N;
            let name = format!("{}CVTF {width} to {}", ["S", "U"][u as usize], F::BITS);
            all.push(op(name.clone(), word, move |fp, r| {
                let result: F = fp.from_fixed(r.x[1], width, 0, unsigned, fp.rounding_mode());
                set(r, result);
            }));
            for fbits in [1, 5, 16, 31, 32, 40, 63, 64] {
                if fbits > width {
                    continue;
                }
                let scale = 64 - fbits;
                let word = 0x1e00_0000 | sf << 31 | ftype << 22 | scale << 10 | N;
                all.push(op(
                    format!("{name} #{fbits}"),
                    word | (2 + u) << 16,
                    move |fp, r| {
                        let result: F =
                            fp.from_fixed(r.x[1], width, fbits, unsigned, fp.rounding_mode());
                        set(r, result);
                    },
                ));
                let name = format!(
                    "FCVTZ{} {} to {width} #{fbits}",
                    ["S", "U"][u as usize],
                    F::BITS
                );
                all.push(op(name, word | 3 << 19 | u << 16, move |fp, r| {
                    r.x[0] = fp.to_fixed(get::<F>(r, 1), width, fbits, unsigned, Rounding::Zero);
                }));
            }
        }
    }
    all
}

fn work<F: Float>(random: &mut Random, operations: &[Operation]) -> Vec<(u32, Vec<Record>)> {
    let mut record = || {
        let a: F = random.value();
        let b: F = random.related(a);
        let c: F = random.related(b);
        let noise = random.next();
        Record {
            x: [noise, random.integer(), 0, 0],
            v: [
                u128::from(noise) << 64 | u128::from(noise),
                a.bits().into(),
                b.bits().into(),
                c.bits().into(),
            ],
            fpcr: random.fpcr().into(),
            fpsr: random.fpsr().into(),
            nzcv: 0,
        }
    };
    let count = std::env::var("FP_QEMU_RECORDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(400);
    operations
        .iter()
        .map(|o| (o.word, (0..count).map(|_| record()).collect()))
        .collect()
}

fn check(operations: &[Operation], work: &[(u32, Vec<Record>)]) {
    let results = qemu::run(work).expect("QEMU runs the oracle");
    let mut wrong = 0;
    for ((operation, (_, before)), after) in operations.iter().zip(work).zip(&results) {
        let mut shown = 0;
        for (before, after) in before.iter().zip(after) {
            let mut fp = Fp {
                fpcr: before.fpcr as u32,
                fpsr: before.fpsr as u32,
            };
            let mut ours = *before;
            (operation.semantics)(&mut fp, &mut ours);
            ours.fpsr = fp.fpsr.into();
            if ours != *after {
                wrong += 1;
                shown += 1;
                if shown <= 3 {
                    eprintln!(
                        "{}\n before {before:x?}\n   ours {ours:x?}\n   QEMU {after:x?}",
                        operation.name
                    );
                }
            }
        }
    }
    assert_eq!(wrong, 0, "results that differ from QEMU's");
}

fn compare<F: Float>(seed: u64, extra: Vec<Operation>) {
    if let Some(reason) = qemu::missing() {
        eprintln!("skipped: {reason}");
        return;
    }
    let mut operations = operations::<F>();
    operations.extend(extra);
    let work = work::<F>(&mut Random::new(seed), &operations);
    check(&operations, &work);
}

#[test]
fn half_precision() {
    compare::<u16>(
        1,
        vec![conversion::<u16, u32>(3, 4), conversion::<u16, u64>(3, 5)],
    );
}

#[test]
fn single_precision() {
    let extra = vec![conversion::<u32, u16>(0, 7), conversion::<u32, u64>(0, 5)];
    compare::<u32>(2, extra);
}

#[test]
fn double_precision() {
    let mut extra = vec![conversion::<u64, u16>(1, 7), conversion::<u64, u32>(1, 4)];
    extra.push(op("FCVTXN".into(), 0x7e61_6800 | N, |fp, r| {
        let result: u32 = fp.convert_in(get::<u64>(r, 1), Rounding::Odd);
        set(r, result);
    }));
    compare::<u64>(3, extra);
}
