//! Port input and output, and who may do it (SDM vol. 1, chapter 19).

use crate::exceptions::{Fault, Trouble, vector};
use crate::exit::{Exit, Io};
use crate::quirks::quirk;
use crate::regs::flag;
use crate::segments::rights;
use crate::{Cpu, debug, insn, mmu};
use std::collections::VecDeque;
use understudy_engine::emit::Stop;

/// Checks that the current level may use `bytes` ports from `port` on.
pub(crate) fn check(cpu: &mut Cpu, port: u16, bytes: u8) -> Result<(), Trouble> {
    const GP: Fault = Fault::with_code(vector::GP, 0);
    let iopl = (cpu.state.rflags & flag::IOPL) >> 12;
    if !cpu.state.protected() || u64::from(cpu.state.cpl) <= iopl {
        return Ok(());
    }
    let tr = cpu.state.segmentation.tr;
    // Only a 32- or 64-bit TSS has the bitmap.
    let limit = u64::from(tr.limit);
    if tr.rights & rights::TYPE & 8 == 0 || limit < 0x67 {
        return Err(GP.into());
    }
    let mut offset = [0; 2];
    mmu::system_read(cpu, tr.base.wrapping_add(0x66), false, &mut offset)?;
    let at = u64::from(u16::from_le_bytes(offset)) + u64::from(port / 8);
    // Two bytes are always read.
    if at + 1 > limit {
        return Err(GP.into());
    }
    let mut bits = [0; 2];
    mmu::system_read(cpu, tr.base.wrapping_add(at), false, &mut bits)?;
    let wanted = ((1u16 << bytes) - 1) << (port % 8);
    if u16::from_le_bytes(bits) & wanted != 0 {
        return Err(GP.into());
    }
    Ok(())
}

/// The port of KVM's quirk ([`quirk::OUT_7E_INC_RIP`]).
const PORT_7E: u16 = 0x7e;

/// How an access of a port goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// IN, or OUT: what user space completes is over.
    Plain,
    /// INS is begun again with what user space has given.
    InString,
    /// OUTS has done all that it does for this element.
    OutString,
}

/// An access of a port that user space has to complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) io: Io,
    pub(crate) access: Access,
    /// Bytes of the instruction.
    pub(crate) length: u64,
    /// Where the vCPU was left: elsewhere there is nothing to complete.
    pub(crate) pc: u64,
}

/// What user space has given for an INS.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: VecDeque<u8>,
    pc: u64,
}

/// Whether the INS at hand has been given an element.
pub(crate) fn has_input(cpu: &Cpu, bytes: u8) -> bool {
    let input = &cpu.state.input;
    input.pc == cpu.pc && input.bytes.len() >= bytes.into()
}

/// The next element.
pub(crate) fn peek_input(cpu: &Cpu, bytes: u8) -> Option<u64> {
    let each = cpu.state.input.bytes.iter().take(bytes.into());
    has_input(cpu, bytes).then(|| {
        each.rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte))
    })
}

/// It has been stored.
pub(crate) fn take_input(cpu: &mut Cpu, bytes: u8) {
    let all = &mut cpu.state.input.bytes;
    all.drain(..all.len().min(bytes.into()));
}

/// The instruction is over.
pub(crate) fn forget_input(cpu: &mut Cpu) {
    cpu.state.input.bytes.clear();
}

/// User space has completed the access that was left for, with what it has given.
pub(crate) fn complete(cpu: &mut Cpu, data: &[u8]) {
    let Some(pending) = cpu.state.io.take().filter(|pending| pending.pc == cpu.pc) else {
        return;
    };
    let io = pending.io;
    match pending.access {
        Access::Plain => {
            if io.is_in {
                let given = data.iter().take(io.size.into());
                let value = given
                    .rev()
                    .fold(0, |value, byte| value << 8 | u64::from(*byte));
                insn::complete_in(cpu, io.size, value);
            }
            cpu.pc = cpu.pc.wrapping_add(pending.length);
            debug::completed(cpu);
        }
        Access::InString => {
            let bytes = io.count as usize * usize::from(io.size);
            let given = data.iter().copied().chain(std::iter::repeat(0));
            cpu.state.input = Input {
                bytes: given.take(bytes).collect(),
                pc: cpu.pc,
            };
        }
        Access::OutString => debug::element_completed(cpu),
    }
}

/// Whether a device without exits has done it.
fn answered(cpu: &mut Cpu, io: &Io) -> bool {
    let (machine, me) = (&cpu.state.machine, cpu.state.peer.index());
    let mut data = io.data.to_le_bytes();
    let bytes = &mut data[..usize::from(io.size.min(8))];
    if !io.is_in {
        return machine.port_write(me, io.port, bytes);
    }
    let answered = machine.port_read(me, io.port, bytes);
    if answered {
        insn::complete_in(cpu, io.size, u64::from_le_bytes(data));
    }
    answered
}

/// The same for INS and OUTS: what INS gets is taken when it is begun again.
pub(crate) fn string_answered(cpu: &mut Cpu, io: &Io, access: Access) -> bool {
    let size = usize::from(io.size.min(8));
    if access == Access::OutString {
        let (machine, me) = (&cpu.state.machine, cpu.state.peer.index());
        let data = io.data.to_le_bytes();
        return machine.port_write(me, io.port, &data[..size]);
    }
    let mut bytes = VecDeque::new();
    for _ in 0..io.count {
        let (machine, me) = (&cpu.state.machine, cpu.state.peer.index());
        let mut data = [0; 8];
        if !machine.port_read(me, io.port, &mut data[..size]) {
            return false;
        }
        bytes.extend(&data[..size]);
    }
    cpu.state.input = Input { bytes, pc: cpu.pc };
    true
}

/// IN or OUT: leaves with RIP at the instruction, unless a device answers, or by KVM's quirk past it.
pub(crate) fn access(cpu: &mut Cpu, io: Io, length: u64) -> Result<Stop, Trouble> {
    check(cpu, io.port, io.size)?;
    debug::by_kvm(cpu);
    if answered(cpu, &io) {
        cpu.pc = cpu.pc.wrapping_add(length);
        return Ok(Stop::Redirect);
    }
    if !io.is_in && io.port == PORT_7E && cpu.state.quirks.has(quirk::OUT_7E_INC_RIP) {
        cpu.pc = cpu.pc.wrapping_add(length);
        cpu.state.exit = Some(Exit::Io(io));
        debug::completed_early(cpu);
        return Ok(Stop::Exit);
    }
    cpu.state.io = Some(Pending {
        io,
        access: Access::Plain,
        length,
        pc: cpu.pc,
    });
    cpu.state.exit = Some(Exit::Io(io));
    Ok(Stop::Exit)
}
