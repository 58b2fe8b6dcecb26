//! Address translation (SDM vol. 3A, chapter 4).
//!
//! ```text
//!   linear address
//!        │ engine's TLB, by page and context ─────── hit ──► host memory
//!        ▼ miss
//!   Arch::check_access: canonical? aligned, where that is asked for?
//!        ▼
//!   Arch::translate, Arch::fetch ──► walk.rs: the guest's tables ──► page fault
//!        │
//!   guest-physical address ──► a slot: host memory; none, or read-only: a device
//! ```
//!
//! **Contexts.** The engine's TLB tags what it keeps with a number for the PCID and the rights:
//! user, supervisor, and supervisor kept from user pages (SMAP). A change of CPL or AC empties nothing.
//!
//! **Code.** A store to a page that code was fetched from never gets into the TLB. So it is seen, and
//! the code is compared with memory before it runs again (SDM vol. 3A, 12.1.3).

pub(crate) mod parts;
pub mod walk;

#[cfg(test)]
mod tests;

use crate::debug::breakpoints;
use crate::exceptions::{self, Fault, vector};
use crate::insn::{info, mode};
use crate::machine::TELL_EPOCH;
use crate::regs::flag;
use crate::state::cr4;
use crate::{Cpu, emulation, vcpu};
use understudy_engine::arch::{AccessKind, Fetch, Frame, Target};
use understudy_engine::emit::{Align, Mem, Stop};
use understudy_engine::request::FLUSH_STORES;
use walk::{Access, Failure, Page, Use};

const PAGE: u64 = 4096;

/// Contexts of one address space.
const RIGHTS: u64 = 3;
/// Address spaces that have contexts at a time.
const SPACES: usize = 1024;

/// What this part keeps of a vCPU.
#[derive(Debug, Default)]
pub struct MmuState {
    /// The PCIDs that have contexts; the index is the number of the address space.
    spaces: Vec<u16>,
    /// Lowest and highest linear address in a large page, in either half of the address space.
    large: [Option<(u64, u64)>; 2],
    /// [`understudy_memory::GuestMemory::generation`] when slots were last looked at.
    generation: u64,
}

/// Bits of a physical address.
pub(crate) fn physical_bits(cpu: &Cpu) -> u8 {
    let limits = cpu.state.memory.limits();
    limits.physical_address_bits.clamp(32, 52) as u8
}

/// Whether a linear address is canonical (SDM vol. 1, 3.3.7.1).
pub fn canonical(cpu: &Cpu, address: u64) -> bool {
    to_canonical(cpu, address) == address
}

/// The canonical address with these low bits.
pub(crate) fn to_canonical(cpu: &Cpu, address: u64) -> u64 {
    let unused = if cpu.state.cr4 & cr4::LA57 != 0 {
        7
    } else {
        16
    };
    ((address << unused) as i64 >> unused) as u64
}

/// Brings the context of the engine's TLB up to date with the address space, CPL and AC.
pub(crate) fn update_context(cpu: &mut Cpu) {
    let state = &cpu.state;
    let pcid = if state.cr4 & cr4::PCIDE != 0 {
        (state.cr3 & 0xfff) as u16
    } else {
        0
    };
    let spaces = &mut cpu.state.mmu.spaces;
    let space = match spaces.iter().position(|space| *space == pcid) {
        Some(space) => space,
        None => {
            if spaces.len() == SPACES {
                spaces.clear();
                cpu.flush_all();
            }
            let spaces = &mut cpu.state.mmu.spaces;
            spaces.push(pcid);
            spaces.len() - 1
        }
    };
    let state = &cpu.state;
    let rights = if state.cpl == 3 {
        0
    } else if state.cr4 & cr4::SMAP != 0 && state.rflags & flag::AC == 0 {
        2
    } else {
        1
    };
    cpu.context = space as u64 * RIGHTS + rights;
    cpu.context_unprivileged = cpu.context;
}

/// Forgets all translations.
pub fn flush(cpu: &mut Cpu) {
    cpu.state.mmu.large = [None; 2];
    cpu.flush_all();
}

/// Forgets the translations of one PCID (SDM vol. 3A, 4.10.4.1). Global ones go, too, which is
/// allowed.
pub fn flush_pcid(cpu: &mut Cpu, pcid: u16) {
    let spaces = &cpu.state.mmu.spaces;
    if let Some(space) = spaces.iter().position(|space| *space == pcid) {
        let first = space as u64 * RIGHTS;
        cpu.tlb()
            .clear_contexts(|context| (first..first + RIGHTS).contains(&context));
        cpu.flush_fetches();
    }
}

/// Forgets the translation of one page, in all address spaces: INVLPG and more.
pub fn flush_page(cpu: &mut Cpu, address: u64) {
    let half = cpu.state.mmu.large[(address >> 63) as usize];
    if half.is_some_and(|(low, high)| (low..=high).contains(&address)) {
        // The page may be part of a larger one, of which the TLB knows nothing.
        return flush(cpu);
    }
    cpu.tlb().clear_page(address, !0);
    cpu.flush_fetches();
}

/// Serves a request to forget all translations, as memory slots may have changed.
pub(crate) fn flush_requested(cpu: &mut Cpu) {
    flush(cpu);
    let generation = cpu.state.memory.generation();
    if std::mem::replace(&mut cpu.state.mmu.generation, generation) != generation {
        cpu.new_epoch();
    }
}

/// How an access at the current privilege level is made.
fn access(cpu: &Cpu, what: Use) -> Access {
    Access {
        what,
        user: cpu.state.cpl == 3,
        implicit: false,
    }
}

fn page(cpu: &mut Cpu, address: u64, access: Access) -> Result<Page, Failure> {
    let page = walk::walk(&cpu.state, address, access)?;
    if page.bytes > PAGE {
        let first = address & !(page.bytes - 1);
        let last = first | (page.bytes - 1);
        let half = &mut cpu.state.mmu.large[(address >> 63) as usize];
        let (low, high) = half.unwrap_or((first, last));
        *half = Some((low.min(first), high.max(last)));
    }
    Ok(page)
}

/// The guest-physical address behind a linear one, for data.
pub(crate) fn physical(cpu: &mut Cpu, address: u64, what: Use) -> Result<u64, Failure> {
    let access = access(cpu, what);
    Ok(page(cpu, address, access)?.frame + address % PAGE)
}

/// What a failed translation leads to.
pub(crate) fn fail(cpu: &mut Cpu, address: u64, failure: Failure) -> Stop {
    match failure {
        Failure::PageFault(code) => exceptions::raise(cpu, Fault::page(address, code)),
        Failure::NoTable => vcpu::internal_error(cpu),
        Failure::Host => vcpu::host_fault(cpu),
    }
}

/// [`understudy_engine::arch::Arch::fetch`].
pub(crate) fn fetch(cpu: &mut Cpu) -> Result<Fetch, Stop> {
    // A breakpoint comes before the fault of the fetch, after which RF would keep it away.
    breakpoints::code(cpu)?;
    let mut cache = true;
    if cpu.state.mode & mode::CODE64 != 0 {
        if !canonical(cpu, cpu.pc) {
            return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
        }
    } else if cpu.pc >> 32 != 0 {
        // Linear addresses wrap at 4 GiB. What is fetched so is not kept, so that each branch to it
        // comes by here.
        cpu.pc &= 0xffff_ffff;
        cache = false;
    }
    let address = cpu.pc;
    let physical = fetch_physical(cpu, address)?;
    let Some(memory) = cpu.state.memory.lookup(physical) else {
        return Err(emulation::unfetched(cpu, physical, &[]));
    };
    publish_code(cpu, physical);
    Ok(Fetch {
        host: memory.host,
        physical: physical & !(PAGE - 1),
        careful: breakpoints::careful(cpu, address),
        cache,
    })
}

/// Has stores to a page seen from now on, before code is read from it.
pub(crate) fn publish_code(cpu: &mut Cpu, physical: u64) {
    let (machine, me) = (cpu.state.machine.clone(), cpu.state.peer.index());
    let new = machine.publish_code(me, physical & !(PAGE - 1), || {
        if cpu.requests().take(FLUSH_STORES) != 0 {
            cpu.tlb().clear_stores();
        }
    });
    if new {
        // It may be in the TLB for stores.
        cpu.tlb().clear_stores();
    }
}

/// The instruction at hand stores over code: this vCPU notices at once, the others when it is over.
fn code_written(cpu: &mut Cpu) {
    cpu.code_written();
    cpu.requests().post(TELL_EPOCH);
}

/// The guest-physical address of an instruction's byte, or its page fault.
pub(crate) fn fetch_physical(cpu: &mut Cpu, address: u64) -> Result<u64, Stop> {
    let access = access(cpu, Use::Execute);
    match page(cpu, address, access) {
        Ok(page) => Ok(page.frame | address & (PAGE - 1)),
        Err(failure) => Err(fail(cpu, address, failure)),
    }
}

/// [`understudy_engine::arch::Arch::check_access`]: canonical addresses, and alignment where CR0.AM and
/// RFLAGS.AC ask for it (SDM vol. 3A, 6.15, #AC).
pub(crate) fn check_access(
    cpu: &mut Cpu,
    address: u64,
    bytes: u64,
    mem: Mem,
    kind: AccessKind,
) -> Result<(), Stop> {
    if cpu.state.mode & mode::CODE64 != 0 {
        let last = address.wrapping_add(bytes - 1);
        if !canonical(cpu, address) || !canonical(cpu, last) {
            let stack = mem.info & info::STACK != 0;
            let vector = if stack { vector::SS } else { vector::GP };
            return Err(exceptions::raise(cpu, Fault::with_code(vector, 0)));
        }
    }
    let aligned = address & (bytes - 1) == 0;
    if mem.info & info::VECTOR != 0 && !aligned {
        return Err(exceptions::raise(cpu, Fault::with_code(vector::GP, 0)));
    }
    if mem.align == Align::Natural && cpu.state.mode & mode::ALIGNED != 0 && !aligned {
        return Err(exceptions::raise(cpu, Fault::with_code(vector::AC, 0)));
    }
    breakpoints::data(cpu, address, bytes, mem, kind)
}

/// [`understudy_engine::arch::Arch::translate`].
pub(crate) fn translate(
    cpu: &mut Cpu,
    address: u64,
    _: u64,
    mem: Mem,
    kind: AccessKind,
) -> Result<Target, Stop> {
    if cpu.dirty_ring_full() && !vcpu::has_read_device(cpu) {
        return Err(vcpu::dirty_ring_full(cpu));
    }
    // Linear addresses wrap at 4 GiB outside 64-bit mode.
    let address = if cpu.state.mode & mode::CODE64 == 0 {
        address & 0xffff_ffff
    } else {
        address
    };
    // The load of an instruction that writes the same place faults as a write.
    let write = kind.writes() || mem.info & info::WRITES != 0;
    let access = access(cpu, if write { Use::Write } else { Use::Read });
    let page = match page(cpu, address, access) {
        Ok(page) => page,
        Err(failure) => return Err(fail(cpu, address, failure)),
    };
    let physical = page.frame | address & (PAGE - 1);
    let memory = &cpu.state.memory;
    let slot = match memory.lookup(physical) {
        Some(slot) if !(slot.readonly && kind.writes()) => slot,
        _ => return Ok(Target::Device(physical)),
    };
    let logged = if slot.logging && kind.writes() {
        memory.mark_dirty(physical);
        true
    } else {
        !slot.logging
    };
    let free = !memory.host_is_changing() && !breakpoints::watched(cpu, address);
    let code = kind.writes() && cpu.state.machine.holds_code(physical & !(PAGE - 1));
    if code {
        code_written(cpu);
    }
    Ok(Target::Memory(Frame {
        host: slot.host,
        cache_loads: free,
        cache_stores: free && kind.writes() && logged && !slot.readonly && !code,
    }))
}

/// Translates an access that the processor makes by itself: to its tables with the rights of level
/// 0, to a stack with those of its level.
fn system_physical(cpu: &mut Cpu, address: u64, what: Use, cpl: u8) -> Result<u64, SystemFailure> {
    let access = Access {
        what,
        user: cpl == 3,
        implicit: cpl != 3,
    };
    match page(cpu, address, access) {
        Ok(page) => Ok(page.frame | address & (PAGE - 1)),
        Err(failure) => Err(SystemFailure(address, failure)),
    }
}

/// Reads bytes as the processor itself does.
pub(crate) fn system_read(
    cpu: &mut Cpu,
    address: u64,
    user: bool,
    bytes: &mut [u8],
) -> Result<(), SystemFailure> {
    let cpl = if user { 3 } else { 0 };
    let mut done = 0;
    while done < bytes.len() {
        let at = address.wrapping_add(done as u64);
        let part = (bytes.len() - done).min((PAGE - at % PAGE) as usize);
        let physical = system_physical(cpu, at, Use::Read, cpl)?;
        let to = &mut bytes[done..done + part];
        let read = cpu.state.memory.read(physical, to);
        read.map_err(|error| SystemFailure(at, error.into()))?;
        done += part;
    }
    Ok(())
}

/// Writes at most a page's bytes as the processor itself does, with the rights of a level. Nothing
/// is written if any page faults.
pub(crate) fn system_write_level(
    cpu: &mut Cpu,
    address: u64,
    cpl: u8,
    bytes: &[u8],
) -> Result<(), SystemFailure> {
    let first = bytes.len().min((PAGE - address % PAGE) as usize);
    let (low, high) = bytes.split_at(first);
    let mut parts = [(0, low), (0, high)];
    let mut at = address;
    for (physical, part) in &mut parts {
        if !part.is_empty() {
            *physical = system_physical(cpu, at, Use::Write, cpl)?;
        }
        at = at.wrapping_add(part.len() as u64);
    }
    for (physical, part) in parts {
        if cpu.state.machine.holds_code(physical & !(PAGE - 1)) {
            code_written(cpu);
        }
        let written = cpu.state.memory.write(physical, part);
        written.map_err(|error| SystemFailure(address, error.into()))?;
    }
    Ok(())
}

/// A failed access of the processor's own, with its address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemFailure(pub u64, pub Failure);
