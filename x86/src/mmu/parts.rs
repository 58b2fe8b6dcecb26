//! Accesses with a part where there is no memory: they cross from or into a device's page, or have more
//! than 8 bytes. KVM makes an access of a device of each part that it has in a page, 8 bytes at a time.

use super::{PAGE, code_written, fail, physical};
use crate::insn::{info, mode};
use crate::{Cpu, emulation, vcpu};
use understudy_engine::emit::{Mem, Stop};

use super::walk::Use;

/// A part: how many bytes stand before it, how many it has, and where it is.
#[derive(Clone, Copy)]
struct Part {
    before: u64,
    bytes: u64,
    physical: u64,
}

/// The parts of an access, all of them translated before anything is done.
fn parts(cpu: &mut Cpu, address: u64, bytes: u64, what: Use, mem: Mem) -> Result<Vec<Part>, Stop> {
    let mut all = Vec::new();
    let mut before = 0;
    while before < bytes {
        let at = address.wrapping_add(before);
        let at = if cpu.state.mode & mode::CODE64 == 0 {
            at & 0xffff_ffff
        } else {
            at
        };
        let bytes = (bytes - before).min(8).min(PAGE - at % PAGE);
        let physical = match physical(cpu, at, what) {
            Ok(physical) => physical,
            Err(failure) => return Err(fail(cpu, at, failure)),
        };
        all.push(Part {
            before,
            bytes,
            physical,
        });
        before += bytes;
    }
    let write = what == Use::Write;
    let first = all.iter().find(|part| !has_memory(cpu, part, write));
    if let Some(first) = first
        && mem.info & info::UNKNOWN != 0
    {
        return Err(emulation::unknown(cpu, first.physical, write));
    }
    Ok(all)
}

/// Whether a part is memory's, and not a device's.
fn has_memory(cpu: &Cpu, part: &Part, write: bool) -> bool {
    let slot = cpu.state.memory.lookup(part.physical);
    slot.is_some_and(|slot| !(write && slot.readonly))
}

/// A load of up to 16 bytes.
pub(crate) fn load(cpu: &mut Cpu, address: u64, bytes: u64, mem: Mem) -> Result<u128, Stop> {
    let writes = mem.info & info::WRITES != 0;
    let what = if writes { Use::Write } else { Use::Read };
    let mut value = 0;
    for part in parts(cpu, address, bytes, what, mem)? {
        let low = if has_memory(cpu, &part, false) {
            let mut bytes = [0; 8];
            let read = cpu
                .state
                .memory
                .read(part.physical, &mut bytes[..part.bytes as usize]);
            if read.is_err() {
                return Err(vcpu::host_fault(cpu));
            }
            u64::from_le_bytes(bytes)
        } else {
            vcpu::device_read(cpu, part.physical, part.bytes)?
        };
        value |= u128::from(low) << (8 * part.before);
    }
    Ok(value)
}

/// A store.
pub(crate) fn store(
    cpu: &mut Cpu,
    address: u64,
    bytes: u64,
    value: u128,
    mem: Mem,
) -> Result<(), Stop> {
    for part in parts(cpu, address, bytes, Use::Write, mem)? {
        let value = (value >> (8 * part.before)) as u64 & !0 >> (64 - 8 * part.bytes);
        if !has_memory(cpu, &part, true) {
            vcpu::device_write(cpu, part.physical, value, part.bytes)?;
            continue;
        }
        if cpu.state.machine.holds_code(part.physical & !(PAGE - 1)) {
            code_written(cpu);
        }
        let bytes = &value.to_le_bytes()[..part.bytes as usize];
        if cpu.state.memory.write(part.physical, bytes).is_err() {
            return Err(vcpu::host_fault(cpu));
        }
    }
    Ok(())
}
