//! Flags from vectors: PTEST and its like, COMISD and its like (SDM vol. 2: PTEST, VTESTPS, COMISD).

use super::float::{MASKED, report, scalar_source};
use super::float_host::{format, masked, ordinary, plain};
use super::{half_of, source};
use crate::fp::{Comparison, Env};
use crate::insn::Operands;
use crate::regs::{ADJUST, CARRY, LESS, SIGN, ZERO};
use crate::{Cpu, X86};
use understudy_engine::emit::{Cmp, Effects, Emit, Helper, Size, Stop};
use understudy_engine::float::FloatOp;
use understudy_engine::vector::{VecBinary, splat};

/// ZF: are there no ones that both sources have; CF: are there none that only the second has. Of lanes of
/// single or double precision only signs count.
pub(super) fn test<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let p = &o.simd;
    let m = source(e, o)?;
    let counted = match p.imm {
        2 => splat(Size::B4, 1 << 31),
        3 => splat(Size::B8, 1 << 63),
        _ => !0,
    };
    let mut found = [e.imm(0), e.imm(0)];
    for half in 0..p.halves() {
        let n = e.vec_get(half_of(p.n, half));
        let counted = e.vec_imm(counted);
        let m = e.vec_binary(VecBinary::And, Size::B8, m[half], counted);
        for (found, op) in found.iter_mut().zip([VecBinary::And, VecBinary::AndNot]) {
            let v = e.vec_binary(op, Size::B8, m, n);
            for lane in 0..2 {
                let bits = e.vec_lane(Size::B8, lane, v);
                *found = e.or(*found, bits);
            }
        }
    }
    let zero = e.imm(0);
    let carry = e.compare(Cmp::Eq, found[1], zero);
    // ZF follows from the slot's being 0.
    set_flags(e, found[0], carry, None);
    Ok(())
}

/// Sets ZF, where `zero` is 0, and CF, and PF, if that is given; the others are cleared.
pub(super) fn set_flags<E: Emit<Arch = X86>>(
    e: &mut E,
    zero: E::Val,
    carry: E::Val,
    parity: Option<E::Val>,
) {
    e.put(ZERO, zero);
    e.put(CARRY, carry);
    let none = e.imm(0);
    e.put(LESS, none);
    e.put(ADJUST, none);
    // Positive, and of odd parity unless PF is to be set.
    let one = e.imm(1);
    let sign = match parity {
        Some(parity) => e.xor(parity, one),
        None => one,
    };
    e.put(SIGN, sign);
}

/// COMISD's flags, at the bits that they have in RFLAGS.
fn relation(cpu: &mut Cpu, [a, b, info, _]: [u64; 4]) -> Result<u64, Stop> {
    let mut env = Env::sse(cpu.state.mxcsr);
    let signals = info & 2 != 0;
    let found = if info & 1 != 0 {
        env.compare(a, b, signals)
    } else {
        env.compare(a as u32, b as u32, signals)
    };
    report(cpu, &env)?;
    Ok(match found {
        Comparison::Less => 1,
        Comparison::Equal => 1 << 6,
        Comparison::Greater => 0,
        Comparison::Unordered => 1 | 1 << 2 | 1 << 6,
    })
}

static COMPARE: Helper<X86> = Helper {
    name: "sse_compare",
    call: relation,
    effects: MASKED,
};

static COMPARE_UNMASKED: Helper<X86> = Helper {
    name: "sse_compare_unmasked",
    call: relation,
    effects: Effects {
        stops: true,
        ..MASKED
    },
};

/// COMISx and UCOMISx.
pub(super) fn flags<E: Emit<Arch = X86>, const SIGNALS: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let p = &o.simd;
    let double = p.bytes == 3;
    let b = scalar_source(e, o, p.bytes)?;
    let a = e.get(half_of(p.n, 0));
    let info = e.imm(u64::from(double) | u64::from(SIGNALS) << 1);
    let arguments = [a, b, info, info];
    let mode = e.mode();
    let found = if !masked(mode) {
        e.helper(&COMPARE_UNMASKED, arguments)?
    } else if !plain(mode) {
        e.helper(&COMPARE, arguments)?
    } else {
        let less = e.float(FloatOp::Less, format(double), [a, b, b]);
        let equal = e.float(FloatOp::Equal, format(double), [a, b, b]);
        let zf = e.shl_imm(equal, 6);
        let found = e.or(less, zf);
        let (x, y) = (ordinary(e, double, a), ordinary(e, double, b));
        let certain = e.and(x, y);
        e.helper_unless(certain, found, &COMPARE, arguments)?
    };
    let carry = e.and_imm(found, 1);
    let parity = e.shr_imm(found, 2);
    let parity = e.and_imm(parity, 1);
    let equal = e.and_imm(found, 1 << 6);
    let set = e.imm(1 << 6);
    let zero = e.xor(equal, set);
    set_flags(e, zero, carry, Some(parity));
    Ok(())
}
