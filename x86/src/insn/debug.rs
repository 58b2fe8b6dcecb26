//! MOV to and from debug registers, INT1 and INT3 (SDM vol. 2; vol. 3B, 18.2 and 18.3).

use super::Operands;
use super::operand::{read_reg, write_reg};
use crate::debug::{self, guest, registers};
use crate::exceptions::{self, Event, Kind, vector};
use crate::exit::{DebugExit, Exit};
use crate::{Cpu, X86, state};
use understudy_engine::emit::{Effects, Emit, Helper, Stop};

static READ: Helper<X86> = Helper {
    name: "read_debug_register",
    call: |cpu, [number, ..]| registers::read(cpu, number),
    effects: Effects::ANY,
};

static WRITE: Helper<X86> = Helper {
    name: "write_debug_register",
    call: |cpu, [number, value, ..]| registers::write(cpu, number, value),
    effects: Effects::ANY,
};

/// MOV from a debug register, whose number is `imm`.
pub fn from_register<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let number = e.imm(o.imm);
    let value = e.call(&READ, &[number])?;
    write_reg(e, o.a, value, o.size);
    Ok(())
}

/// MOV to a debug register.
pub fn to_register<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let number = e.imm(o.imm);
    let value = read_reg(e, o.b, o.size);
    e.call(&WRITE, &[number, value])?;
    e.end_block();
    Ok(())
}

/// INT3: user space's, if it has asked for it.
fn breakpoint(cpu: &mut Cpu, length: u64) -> Stop {
    if guest::takes_breakpoints(cpu) {
        cpu.state.exit = Some(Exit::Debug(DebugExit {
            exception: vector::BP.into(),
            pc: cpu.pc,
            dr6: None,
            dr7: None,
        }));
        return Stop::Exit;
    }
    let event = Event {
        vector: vector::BP,
        code: None,
        rip: state::rip(cpu).wrapping_add(length),
        kind: Kind::Software,
    };
    exceptions::deliver(cpu, event)
}

static INT3: Helper<X86> = Helper {
    name: "int3",
    call: |cpu, [length, ..]| Err(breakpoint(cpu, length)),
    effects: Effects::ANY,
};

/// INT3, the instruction of one byte.
pub fn int3<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let length = e.imm(u64::from(o.length));
    e.call(&INT3, &[length])?;
    e.end_block();
    Ok(())
}

static INT1: Helper<X86> = Helper {
    name: "int1",
    call: |cpu, [length, ..]| {
        let start = cpu.pc;
        cpu.pc = start.wrapping_add(length);
        let stop = debug::int1(cpu);
        Err(stop)
    },
    effects: Effects::ANY,
};

/// INT1: a #DB behind it, of which DR6 says nothing.
pub fn int1<E: Emit<Arch = X86>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let length = e.imm(u64::from(o.length));
    e.call(&INT1, &[length])?;
    e.end_block();
    Ok(())
}
