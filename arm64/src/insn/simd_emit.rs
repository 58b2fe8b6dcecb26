//! Vector operations that are emitted: bitwise ones, sums and differences, on 64-bit halves.
//!
//! Elements narrower than 64 bits are added side by side: the carries out of each element are kept
//! from the next by leaving the top bit of each out of the sum and putting it in by exclusive or.

use super::simd_plan::Plan;
use super::{Decoded, Operands};
use crate::Arm64;
use crate::regs::{v_high, v_low};
use crate::simd::Op;
use understudy_engine::def;
use understudy_engine::emit::{Emit, Unary};

/// Makes an instruction of a plan whose parts are all the vector of the length that Q says.
pub fn decoded(plan: Plan) -> Option<Decoded> {
    let def = match (plan.op, plan.size) {
        (Op::And, _) => def!(Arm64, "AND (vector)", bitwise, [AND]),
        (Op::Bic, _) => def!(Arm64, "BIC (vector, register)", bitwise, [BIC]),
        (Op::Orr, _) if plan.registers[1] == plan.registers[2] => {
            def!(Arm64, "MOV (vector)", bitwise, [MOV])
        }
        (Op::Orr, _) => def!(Arm64, "ORR (vector, register)", bitwise, [ORR]),
        (Op::Orn, _) => def!(Arm64, "ORN (vector)", bitwise, [ORN]),
        (Op::Eor, _) => def!(Arm64, "EOR (vector)", bitwise, [EOR]),
        (Op::Bsl, _) => def!(Arm64, "BSL", bitwise, [BSL]),
        (Op::Bit, _) => def!(Arm64, "BIT", bitwise, [BIT]),
        (Op::Bif, _) => def!(Arm64, "BIF", bitwise, [BIF]),
        (Op::Not, _) => def!(Arm64, "NOT", bitwise, [NOT]),
        (Op::Add, 0) => def!(Arm64, "ADD (vector)", add, [0]),
        (Op::Add, 1) => def!(Arm64, "ADD (vector)", add, [1]),
        (Op::Add, 2) => def!(Arm64, "ADD (vector)", add, [2]),
        (Op::Add, 3) => def!(Arm64, "ADD (vector)", add, [3]),
        (Op::Sub, 0) => def!(Arm64, "SUB (vector)", sub, [0]),
        (Op::Sub, 1) => def!(Arm64, "SUB (vector)", sub, [1]),
        (Op::Sub, 2) => def!(Arm64, "SUB (vector)", sub, [2]),
        (Op::Sub, 3) => def!(Arm64, "SUB (vector)", sub, [3]),
        _ => return plan.decoded(),
    };
    Some((def, 0))
}

/// Applies `f` to both halves of V<d>, V<n>, V<m> (field Rm), or to the low one and clears the
/// high one where Q is 0.
#[inline(always)]
fn halves<E: Emit<Arch = Arm64>>(
    e: &mut E,
    o: &Operands,
    f: impl Fn(&mut E, E::Val, E::Val, E::Val) -> E::Val,
) {
    let (d, n, m) = (
        e.get(v_low(o.rd())),
        e.get(v_low(o.rn())),
        e.get(v_low(o.rm())),
    );
    let low = f(e, d, n, m);
    let high = if o.bit(30) {
        let (d, n, m) = (
            e.get(v_high(o.rd())),
            e.get(v_high(o.rn())),
            e.get(v_high(o.rm())),
        );
        f(e, d, n, m)
    } else {
        e.imm(0)
    };
    e.put(v_low(o.rd()), low);
    e.put(v_high(o.rd()), high);
}

const AND: u32 = 0;
const BIC: u32 = 1;
const ORR: u32 = 2;
const ORN: u32 = 3;
const EOR: u32 = 4;
const BSL: u32 = 5;
const BIT: u32 = 6;
const BIF: u32 = 7;
const NOT: u32 = 8;
const MOV: u32 = 9;

fn bitwise<E: Emit<Arch = Arm64>, const OP: u32>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    // `a` where `mask` has ones, else `b`.
    let choose = |e: &mut E, mask, a, b| {
        let difference = e.xor(a, b);
        let chosen = e.and(difference, mask);
        e.xor(chosen, b)
    };
    halves(e, o, |e, d, n, m| match OP {
        AND => e.and(n, m),
        BIC => {
            let m = e.unary(Unary::Not, m);
            e.and(n, m)
        }
        ORR => e.or(n, m),
        ORN => {
            let m = e.unary(Unary::Not, m);
            e.or(n, m)
        }
        EOR => e.xor(n, m),
        BSL => choose(e, d, n, m),
        BIT => choose(e, m, n, d),
        BIF => choose(e, m, d, n),
        NOT => e.unary(Unary::Not, n),
        _ => n,
    });
    Ok(())
}

/// The top bit of each element of `8 << size` bits.
const fn tops(size: u32) -> u64 {
    match size {
        0 => 0x8080_8080_8080_8080,
        1 => 0x8000_8000_8000_8000,
        2 => 0x8000_0000_8000_0000,
        _ => 0,
    }
}

fn add<E: Emit<Arch = Arm64>, const SIZE: u32>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    halves(e, o, |e, _, n, m| {
        if SIZE == 3 {
            return e.add(n, m);
        }
        let (a, b) = (e.and_imm(n, !tops(SIZE)), e.and_imm(m, !tops(SIZE)));
        let sum = e.add(a, b);
        let top = e.xor(n, m);
        let top = e.and_imm(top, tops(SIZE));
        e.xor(sum, top)
    });
    Ok(())
}

fn sub<E: Emit<Arch = Arm64>, const SIZE: u32>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    halves(e, o, |e, _, n, m| {
        if SIZE == 3 {
            return e.sub(n, m);
        }
        // With its top bit set, no element borrows from the next.
        let tops_set = e.imm(tops(SIZE));
        let (a, b) = (e.or(n, tops_set), e.and_imm(m, !tops(SIZE)));
        let difference = e.sub(a, b);
        let top = e.xor(n, m);
        let top = e.xor(top, tops_set);
        let top = e.and(top, tops_set);
        e.xor(difference, top)
    });
    Ok(())
}
