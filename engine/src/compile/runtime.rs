//! What compiled code calls. A panic cannot unwind through it, so `extern "C"` ends the process.

use super::*;
use crate::access;

pub(super) extern "C" fn slow_load<A: Arch>(cpu: &mut Cpu<A>, address: u64, mem: u64) {
    match access::load_slow(cpu, address, unpack(mem)) {
        Ok(value) => cpu.results[0] = value,
        Err(stop) => cpu.status = status(stop),
    }
}

pub(super) extern "C" fn slow_load_pair<A: Arch>(cpu: &mut Cpu<A>, address: u64, mem: u64) {
    match access::load_pair_slow(cpu, address, unpack(mem)) {
        Ok((a, b)) => cpu.results = [a, b],
        Err(stop) => cpu.status = status(stop),
    }
}

/// The status after what may have asked to leave behind the instruction.
fn finished<A: Arch>(cpu: &mut Cpu<A>) -> u64 {
    if std::mem::take(&mut cpu.leave) {
        LEAVE
    } else {
        DISPATCH
    }
}

pub(super) extern "C" fn slow_store<A: Arch>(cpu: &mut Cpu<A>, address: u64, value: u64, mem: u64) {
    cpu.status = match access::store_slow(cpu, address, value, unpack(mem)) {
        Ok(()) => finished(cpu),
        Err(stop) => status(stop),
    };
}

pub(super) extern "C" fn slow_store_pair<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    a: u64,
    b: u64,
    mem: u64,
) {
    cpu.status = match access::store_pair_slow(cpu, address, (a, b), unpack(mem)) {
        Ok(()) => finished(cpu),
        Err(stop) => status(stop),
    };
}

pub(super) extern "C" fn slow_helper<A: Arch>(
    cpu: &mut Cpu<A>,
    helper: &'static Helper<A>,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
) {
    match (helper.call)(cpu, [a, b, c, d]) {
        Ok(value) => cpu.results[0] = value,
        Err(stop) => cpu.status = status(stop),
    }
}

pub(super) extern "C" fn slow_rmw<A: Arch>(
    cpu: &mut Cpu<A>,
    op: u64,
    address: u64,
    operand: u64,
    mem: u64,
) -> u64 {
    // Every operation is in the table, as `rmw_number` made the number from one.
    let op = RMW.get(op as usize).copied().unwrap_or(Rmw::Swap);
    match access::rmw(cpu, op, address, operand, unpack(mem)) {
        Ok(value) => {
            if A::LEAVES_BLOCKS {
                cpu.status = finished(cpu);
            }
            value
        }
        Err(stop) => {
            cpu.status = status(stop);
            0
        }
    }
}

pub(super) extern "C" fn slow_compare_exchange<A: Arch>(
    cpu: &mut Cpu<A>,
    address: u64,
    expected: u64,
    new: u64,
    mem: u64,
) -> u64 {
    match access::compare_exchange(cpu, address, expected, new, unpack(mem)) {
        Ok(value) => {
            if A::LEAVES_BLOCKS {
                cpu.status = finished(cpu);
            }
            value
        }
        Err(stop) => {
            cpu.status = status(stop);
            0
        }
    }
}

pub(super) extern "C" fn call_helper<A: Arch>(
    cpu: &mut Cpu<A>,
    helper: &'static Helper<A>,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
) -> u64 {
    match (helper.call)(cpu, [a, b, c, d]) {
        Ok(value) => {
            if A::LEAVES_BLOCKS {
                cpu.status = finished(cpu);
            }
            value
        }
        Err(stop) => {
            cpu.status = status(stop);
            0
        }
    }
}

const RMW: [Rmw; 9] = [
    Rmw::Add,
    Rmw::Clr,
    Rmw::Eor,
    Rmw::Set,
    Rmw::SMax,
    Rmw::SMin,
    Rmw::UMax,
    Rmw::UMin,
    Rmw::Swap,
];

pub(super) extern "C" fn mul_add_single(a: u64, b: u64, c: u64) -> u64 {
    FloatOp::MulAdd.eval(FloatFormat::Single, [a, b, c])
}

pub(super) extern "C" fn mul_add_double(a: u64, b: u64, c: u64) -> u64 {
    FloatOp::MulAdd.eval(FloatFormat::Double, [a, b, c])
}

pub(super) fn rmw_number(op: Rmw) -> i64 {
    RMW.iter().position(|x| *x == op).unwrap_or(RMW.len()) as i64
}

/// A [`Mem`] in one word: `info` above, the rest in the low byte.
pub(super) fn pack(mem: Mem) -> i64 {
    let order = match mem.order {
        Order::Relaxed => 0,
        Order::Acquire => 1,
        Order::Release => 2,
        Order::AcqRel => 3,
    };
    mem.size as i64
        | ((mem.align == Align::Natural) as i64) << 2
        | (mem.unprivileged as i64) << 3
        | order << 4
        | (mem.info as i64) << 8
}

pub(super) fn unpack(word: u64) -> Mem {
    Mem {
        size: Size::from_log2(word as u32),
        align: if word & 4 != 0 {
            Align::Natural
        } else {
            Align::Any
        },
        unprivileged: word & 8 != 0,
        order: match word >> 4 & 3 {
            0 => Order::Relaxed,
            1 => Order::Acquire,
            2 => Order::Release,
            _ => Order::AcqRel,
        },
        info: (word >> 8) as u32,
    }
}
