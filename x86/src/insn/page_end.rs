//! Instructions that begin in one page and end in the next. A block knows one page only, so such an
//! instruction is fetched and decoded each time that it runs, and interpreted.

use super::{Operands, decode};
use crate::{Cpu, X86, emulation, mmu, vcpu};
use std::ops::Range;
use understudy_engine::emit::{Effects, Emit, Helper, Stop};

/// Bytes of the longest instruction.
pub const MAX_LENGTH: usize = 15;

/// The bytes of the instruction at [`Cpu::pc`], and of what follows it: from the second page only if
/// the first one does not hold all of it.
pub fn fetch_bytes(cpu: &mut Cpu) -> Result<([u8; MAX_LENGTH], usize), Stop> {
    fetch_until(cpu, decode::is_whole)
}

/// The same, but of the second page only if the first one does not tell which instruction it is.
pub fn bytes_to_know(cpu: &mut Cpu) -> Result<([u8; MAX_LENGTH], usize), Stop> {
    fetch_until(cpu, decode::is_known)
}

fn fetch_until(
    cpu: &mut Cpu,
    enough: fn(u32, &[u8]) -> bool,
) -> Result<([u8; MAX_LENGTH], usize), Stop> {
    let pc = cpu.pc;
    let first = ((4096 - pc % 4096) as usize).min(MAX_LENGTH);
    let mut bytes = [0; MAX_LENGTH];
    fetch_part(cpu, pc, &mut bytes, 0..first)?;
    if enough(cpu.state.mode, &bytes[..first]) {
        return Ok((bytes, first));
    }
    let next = pc.wrapping_add(first as u64);
    let next = if cpu.state.code64() {
        next
    } else {
        next & 0xffff_ffff
    };
    fetch_part(cpu, next, &mut bytes, first..MAX_LENGTH)?;
    Ok((bytes, MAX_LENGTH))
}

/// Fetches those of the bytes that are in one page.
fn fetch_part(
    cpu: &mut Cpu,
    address: u64,
    bytes: &mut [u8; MAX_LENGTH],
    part: Range<usize>,
) -> Result<(), Stop> {
    let physical = mmu::fetch_physical(cpu, address)?;
    let begun = part.start;
    if cpu.state.memory.lookup(physical).is_none() {
        return Err(emulation::unfetched(cpu, physical, &bytes[..begun]));
    }
    if cpu.state.memory.read(physical, &mut bytes[part]).is_err() {
        return Err(vcpu::host_fault(cpu));
    }
    Ok(())
}

/// Bytes of the instruction at [`Cpu::pc`].
pub fn length_here(cpu: &mut Cpu) -> Result<u64, Stop> {
    let (bytes, length) = fetch_bytes(cpu)?;
    Ok(decode::decode_whole(cpu.state.mode, &bytes[..length])
        .length
        .into())
}

fn run(cpu: &mut Cpu) -> Result<u64, Stop> {
    let (bytes, length) = fetch_bytes(cpu)?;
    let insn = decode::decode_whole(cpu.state.mode, &bytes[..length]);
    cpu.interpret_one(&insn)
}

static RUN: Helper<X86> = Helper {
    name: "page_end",
    call: |cpu, _| run(cpu),
    effects: Effects::ANY,
};

/// An instruction of which the page holds the first bytes only.
pub fn page_end<E: Emit<Arch = X86>>(e: &mut E, _: &Operands) -> Result<(), E::Stop> {
    let next = e.call(&RUN, &[])?;
    e.jump_to(next);
    Ok(())
}
