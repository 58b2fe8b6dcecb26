//! TLB maintenance (Arm ARM D8.14).
//!
//! A broadcast instruction (the Inner Shareable ones) is complete only after a DSB, so the DSB asks
//! the VM's other vCPUs to forget all of their translations ([`complete`]), once for all before it.

use super::{PAGE, flush, flush_requested};
use crate::Cpu;
use understudy_engine::request::{FLUSH_TLB, INTERRUPT};

/// Which translations a TLBI by address concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asids {
    /// Those of the ASID in the operand, and global ones (VAE1, VALE1).
    One,
    /// Those of every ASID (VAAE1, VAALE1).
    All,
}

/// VMALLE1, VMALLE1IS: everything.
pub fn all(cpu: &mut Cpu, broadcast: bool) {
    flush(cpu);
    tell(cpu, broadcast);
}

/// ASIDE1, ASIDE1IS: all that is not global of the ASID in bits 63:48 of the operand.
pub fn asid(cpu: &mut Cpu, operand: u64, broadcast: bool) {
    let asid = (operand >> 48) as u16 & cpu.state.mmu.regime.asid_mask();
    let of_asid = cpu.state.mmu.contexts.of_asid(asid);
    cpu.tlb().clear_contexts(of_asid);
    cpu.state.mmu.pages.clear_asid(asid);
    cpu.flush_fetches();
    tell(cpu, broadcast);
}

/// VAE1, VAAE1, VALE1, VAALE1 and their broadcasting forms: the page, or block, of the address in
/// bits 43:0 of the operand. Nothing is kept of the upper levels, so all levels and the last are the
/// same; and what is forgotten of other ASIDs costs no more than a walk, so `_asids` are all.
pub fn address(cpu: &mut Cpu, operand: u64, _asids: Asids, broadcast: bool) {
    // Above bit 43 there is a hint of the level (FEAT_TTL), and the ASID.
    let address = ((operand << 20) as i64 >> 8) as u64;
    // Bits 55:12 of the address; those above do not select an entry.
    let mask = !0 >> 8;
    let granule = 1 << cpu.state.mmu.regime.half(address).granule;
    let address = address & !(granule - 1);
    if cpu.state.mmu.pages.may_be_block(address) {
        flush(cpu);
    } else {
        let mut offset = 0;
        while offset < granule {
            let at = address.wrapping_add(offset);
            cpu.tlb().clear_page(at, mask);
            cpu.state.mmu.pages.clear_page(at);
            offset += PAGE;
        }
        cpu.flush_fetches();
    }
    tell(cpu, broadcast);
}

fn tell(cpu: &mut Cpu, broadcast: bool) {
    cpu.state.mmu.broadcast |= broadcast;
}

/// DSB: has the VM's other vCPUs do what broadcast instructions before it have told them, and
/// returns when each has done so, or is not running guest code and will before it does.
pub fn complete(cpu: &mut Cpu) {
    if !std::mem::take(&mut cpu.state.mmu.broadcast) {
        return;
    }
    let machine = cpu.state.machine.clone();
    let index = cpu.state.index();
    // Others may be waiting for this vCPU, which serves them meanwhile: it holds no translation.
    machine
        .vcpus
        .broadcast_and_wait(Some(index), FLUSH_TLB, || {
            if cpu.requests().take(FLUSH_TLB) != 0 {
                flush_requested(cpu);
                // Where instructions come from is looked up again by the dispatcher.
                cpu.requests().post(INTERRUPT);
            }
        });
}
