//! DPPS and DPPD (SDM vol. 2; vol. 1, 12.4).

use super::float::{Lane, WHOLE_EFFECTS, deliver, found, operand, set_result};
use super::{finish, half_of, source};
use crate::X86;
use crate::fp::Env;
use crate::insn::Operands;
use crate::regs::scratch;
use understudy_engine::emit::{Emit, Helper};

/// DPPS and DPPD: products of the lanes that the immediate's upper bits name, and their sum in the lanes
/// that the lower ones name; and the exceptions met. Each stage is made for all lanes, and an exception
/// that is not masked keeps the next from being made.
fn dot<F: Lane>(env: &mut Env, imm: u8, halves: usize, [a, b]: [[u64; 4]; 2]) -> ([u64; 4], u8) {
    let bits = 64 - F::SIGN.leading_zeros() as usize;
    let lanes = 128 / bits;
    let lane = |v: [u64; 4], i: usize| F::of(v[(i * bits / 64) & 3] >> (i * bits % 64));
    let mut values = [F::of(0); 8];
    for (i, value) in values.iter_mut().enumerate().take(halves * lanes) {
        if imm >> (4 + i % lanes) & 1 != 0 {
            *value = env.mul(lane(a, i), lane(b, i));
        }
    }
    let mut flags = found(env);
    // Sums of neighbours, until there is one in each half.
    let mut count = halves * lanes;
    while count > halves && env.unmasked() == 0 {
        count /= 2;
        env.flags = 0;
        for i in 0..count {
            values[i] = env.add(values[2 * i], values[2 * i + 1]);
        }
        flags |= found(env);
    }
    let mut result = [0; 4];
    for i in (0..halves * lanes).filter(|i| imm >> (i % lanes) & 1 != 0) {
        result[(i * bits / 64) & 3] |= values[i / lanes].bits() << (i * bits % 64);
    }
    (result, flags)
}

static DOT: Helper<X86> = Helper {
    name: "dot_product",
    call: |cpu, [info, halves, ..]| {
        let operands = [operand(cpu, scratch::A), operand(cpu, scratch::B)];
        let mut env = Env::sse(cpu.state.mxcsr);
        let (imm, halves) = ((info >> 8) as u8, (halves as usize).clamp(1, 2));
        let (result, flags) = if info & 1 != 0 {
            dot::<u64>(&mut env, imm, halves, operands)
        } else {
            dot::<u32>(&mut env, imm, halves, operands)
        };
        deliver(cpu, flags, env.masked)?;
        set_result(cpu, result);
        Ok(0)
    },
    effects: WHOLE_EFFECTS,
};

/// DPPS, or DPPD.
pub(super) fn dot_product<E: Emit<Arch = X86>, const DOUBLE: bool>(
    e: &mut E,
    o: &Operands,
) -> Result<(), E::Stop> {
    let p = &o.simd;
    let m = source(e, o)?;
    for (half, m) in m.into_iter().enumerate().take(p.halves()) {
        let a = e.vec_get(half_of(p.n, half));
        e.vec_put(scratch::half(scratch::A, half), a);
        e.vec_put(scratch::half(scratch::B, half), m);
    }
    let info = e.imm(u64::from(DOUBLE) | u64::from(p.imm) << 8);
    let halves = e.imm(p.halves() as u64);
    e.call(&DOT, &[info, halves])?;
    let result = [0, 1].map(|half| e.vec_get(scratch::half(scratch::R, half)));
    finish(e, p, result);
    Ok(())
}
