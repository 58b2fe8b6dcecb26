//! Port input and output, and who may do it (SDM vol. 1, chapter 19).

use crate::exceptions::{Fault, Trouble, vector};
use crate::exit::{Exit, Io};
use crate::regs::flag;
use crate::segments::rights;
use crate::{Cpu, insn, mmu};
use understudy_engine::emit::Stop;

/// Checks that the current level may use `bytes` ports from `port` on.
pub(crate) fn check(cpu: &mut Cpu, port: u16, bytes: u8) -> Result<(), Trouble> {
    const GP: Fault = Fault::with_code(vector::GP, 0);
    let iopl = (cpu.state.rflags & flag::IOPL) >> 12;
    if !cpu.state.protected() || u64::from(cpu.state.cpl) <= iopl {
        return Ok(());
    }
    let tr = cpu.state.tr;
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

/// An access of a port that user space has to complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) io: Io,
    /// Bytes of the instruction.
    pub(crate) length: u64,
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

/// IN or OUT: leaves with RIP at the instruction, unless a device answers.
pub(crate) fn access(cpu: &mut Cpu, io: Io, length: u64) -> Result<Stop, Trouble> {
    check(cpu, io.port, io.size)?;
    if answered(cpu, &io) {
        cpu.pc = cpu.pc.wrapping_add(length);
        return Ok(Stop::Redirect);
    }
    cpu.state.io = Some(Pending { io, length });
    cpu.state.exit = Some(Exit::Io(io));
    Ok(Stop::Exit)
}
