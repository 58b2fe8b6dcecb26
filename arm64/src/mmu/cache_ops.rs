//! Cache maintenance (Arm ARM D7.5). There are no caches, so what is left is the faults, DC ZVA,
//! and the code that may have changed.
//!
//! The caller has looked at what SCTLR_EL1 traps from EL0 (UCI, DZE).

use super::fault::Abort;
use super::{Access, Use, access, check_access, page, physical, translate};
use crate::debug::watchpoints;
use crate::{Arm64, Cpu};
use understudy_engine::arch::{AccessKind, Arch, Target};
use understudy_engine::emit::{Emit, Mem, Size, Stop};

/// Bytes that DC ZVA clears (DCZID_EL0.BS is 4), and that a cache line has (CTR_EL0).
pub const LINE: u64 = 64;

/// DC CVAC, CVAU, CVAP, CIVAC.
///
/// # Errors
///
/// The abort that is due. An address in no memory slot is none: KVM skips the instruction.
pub fn clean(cpu: &mut Cpu, address: u64) -> Result<(), Stop> {
    let mem = Mem::new(Size::B1);
    let access = access(cpu, Use::Maintain, mem, false);
    maintain(cpu, address, access).map_err(|abort| abort.maintenance(cpu, address))
}

/// DC IVAC: as [`clean`], but it needs the right to write, and counts as a write for watchpoints.
///
/// # Errors
///
/// The abort or the watchpoint that is due.
pub fn invalidate(cpu: &mut Cpu, address: u64) -> Result<(), Stop> {
    let mem = Mem::new(Size::B1);
    let access = Access {
        looks: true,
        ..access(cpu, Use::Data(AccessKind::Store), mem, false)
    };
    maintain(cpu, address, access).map_err(|abort| abort.maintenance(cpu, address))?;
    let line = address & !(LINE - 1);
    match watchpoints::hit(cpu, line, LINE, AccessKind::Store, true) {
        Some(far) => Err(watchpoints::take(cpu, far, AccessKind::Store, true)),
        None => Ok(()),
    }
}

fn maintain(cpu: &mut Cpu, address: u64, access: Access) -> Result<(), Abort> {
    let page = page(cpu, address, access)?;
    physical(cpu, page, address).map(|_| ())
}

/// DC ZVA: clears the block that `address` is in.
///
/// # Errors
///
/// The exception that is due, or the exit of an access that no device takes.
pub fn zero(cpu: &mut Cpu, address: u64) -> Result<(), Stop> {
    let block = address & !(LINE - 1);
    let wide = Mem::new(Size::B8);
    let context = cpu.context;
    if cpu.tlb().store(context, block, LINE).is_none() {
        // As one access of 64 bytes: with Device memory it cannot be.
        let mem = Mem::new(Size::B1);
        check_access(cpu, block, LINE, mem, AccessKind::Store)?;
        let aligned = access(cpu, Use::Data(AccessKind::Store), mem, true);
        if let Err(abort) = page(cpu, block, aligned) {
            return Err(abort.data(cpu, address));
        }
        if let Target::Device(physical) = translate(cpu, address, 1, mem, AccessKind::Store)? {
            return Err(Arm64::device_other(cpu, physical, mem, AccessKind::Store));
        }
    }
    for offset in (0..LINE).step_by(16) {
        cpu.store_pair(block + offset, (0, 0), wide)?;
    }
    Ok(())
}

/// IC IVAU: code at `address` may have changed.
///
/// # Errors
///
/// The abort that is due.
pub fn invalidate_instructions_at(cpu: &mut Cpu, address: u64) -> Result<(), Stop> {
    clean(cpu, address)?;
    invalidate_instructions(cpu, true);
    Ok(())
}

/// IC IALLU, and, `broadcast` to the VM's other vCPUs, IC IALLUIS: code may have changed.
pub fn invalidate_instructions(cpu: &mut Cpu, broadcast: bool) {
    cpu.new_epoch();
    if broadcast {
        let index = cpu.state.index();
        cpu.state.machine.new_code_epoch(Some(index));
    }
}
