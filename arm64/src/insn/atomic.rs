//! Atomic memory operations (FEAT_LSE), and LDAPR (FEAT_LRCPC) (Arm ARM C4.1.94, "Atomic memory
//! operations").

use super::address::{ANY, aligned_mem, base, checked, immediate, order};
use super::{Decoded, Operands, mode};
use crate::Arm64;
use crate::exit::syndrome;
use crate::regs::{GENERAL, read_x, write_x};
use understudy_engine::access;
use understudy_engine::def;
use understudy_engine::emit::{Effects, Emit, Helper, Mem, Order, Rmw, Size, Unary};

/// Decodes an instruction of this class.
pub fn decode(o: &Operands) -> Option<Decoded> {
    let size = Size::from_log2(o.bits(30, 2));
    let imm = immediate(0, size as u32);
    let name = match (o.bit(15), o.bits(12, 3)) {
        (false, 0b000) => def!(Arm64, "LDADD", rmw),
        (false, 0b001) => def!(Arm64, "LDCLR", rmw),
        (false, 0b010) => def!(Arm64, "LDEOR", rmw),
        (false, 0b011) => def!(Arm64, "LDSET", rmw),
        (false, 0b100) => def!(Arm64, "LDSMAX", rmw),
        (false, 0b101) => def!(Arm64, "LDSMIN", rmw),
        (false, 0b110) => def!(Arm64, "LDUMAX", rmw),
        (false, _) => def!(Arm64, "LDUMIN", rmw),
        (true, 0b000) => def!(Arm64, "SWP", rmw),
        (true, 0b100) if o.bits(22, 2) == 0b10 && o.rm() == 31 => {
            let syndrome = syndrome::register(size, o.rd(), false, size == Size::B8);
            let imm = immediate(0, syndrome | syndrome::AR | size as u32);
            return Some((def!(Arm64, "LDAPR", ldapr), imm));
        }
        _ => return None,
    };
    Some((name, imm))
}

/// The operation, as o3 and opc say.
fn operation(o: &Operands) -> Rmw {
    match (o.bit(15), o.bits(12, 3)) {
        (true, _) => Rmw::Swap,
        (_, 0b000) => Rmw::Add,
        (_, 0b001) => Rmw::Clr,
        (_, 0b010) => Rmw::Eor,
        (_, 0b011) => Rmw::Set,
        (_, 0b100) => Rmw::SMax,
        (_, 0b101) => Rmw::SMin,
        (_, 0b110) => Rmw::UMax,
        _ => Rmw::UMin,
    }
}

fn place<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands, ordering: Order) -> (E::Val, Mem) {
    let base = base(e, o, ANY);
    let address = checked(e, o, base, base, ANY);
    let size = Size::from_log2(o.bits(30, 2));
    (address, aligned_mem(e, o, size, ordering))
}

fn rmw<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (address, mem) = place(e, o, Order::AcqRel);
    let operand = read_x(e, o.rm());
    let op = operation(o);
    let arithmetic = matches!(op, Rmw::Add | Rmw::SMax | Rmw::SMin | Rmw::UMax | Rmw::UMin);
    let old = if e.mode() & mode::BIG_ENDIAN != 0 && arithmetic {
        let word = e.imm(o.word as u64);
        let info = e.imm(mem.info as u64);
        e.call(&REVERSED, &[address, operand, word, info])?
    } else {
        let operand = order(e, operand, mem.size, ANY);
        let old = e.rmw(op, address, operand, mem)?;
        order(e, old, mem.size, ANY)
    };
    write_x(e, o.rd(), old);
    Ok(())
}

/// Arithmetic on big-endian memory: address, operand, word, [`Mem::info`].
static REVERSED: Helper<Arm64> = Helper {
    name: "rmw_big_endian",
    call: |cpu, [address, operand, word, info]| {
        let o = Operands {
            word: word as u32,
            imm: 0,
        };
        let size = Size::from_log2(o.bits(30, 2));
        let mem = Mem::new(size)
            .info(info as u32)
            .aligned()
            .order(Order::AcqRel);
        let reversed = |value| Unary::Bswap.eval(value) >> (64 - 8 * size.bytes());
        let op = operation(&o);
        let mut expected = 0;
        loop {
            let new = op.eval(reversed(expected), operand, size);
            let found = access::compare_exchange(cpu, address, expected, reversed(new), mem)?;
            if found == expected {
                return Ok(reversed(found));
            }
            expected = found;
        }
    },
    effects: Effects {
        reads: GENERAL,
        writes: understudy_engine::emit::SlotSet::NONE,
        stops: true,
    },
};

fn ldapr<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let (address, mem) = place(e, o, Order::Acquire);
    let value = e.load(address, mem)?;
    let value = order(e, value, mem.size, ANY);
    write_x(e, o.rd(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::address::reverse;
    use super::*;

    #[test]
    fn reversing_twice_changes_nothing() {
        // What the big-endian helper relies on.
        let mut cpu = crate::testing::Bare::new();
        let value = cpu.cpu().imm(0x1234);
        let once = reverse(cpu.cpu(), value, Size::B2);
        assert_eq!((once, reverse(cpu.cpu(), once, Size::B2)), (0x3412, 0x1234));
    }
}
