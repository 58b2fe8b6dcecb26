//! Address translation (Arm ARM D8): the EL1&0 regime's stage 1, and what KVM makes of addresses
//! that it leads to.
//!
//! ```text
//!   virtual address
//!        │ engine's TLB, by page and context ─────────────── hit ──► host memory
//!        ▼ miss
//!   Arch::translate, Arch::fetch
//!        │ cache.rs, by page and ASID ───────────┐ hit
//!        ▼ miss                                  ▼
//!   walk.rs: tables in guest memory ──► Page: frame, rights, attributes
//!        │ fault.rs: aborts to EL1               │ rights of this access
//!        ▼                                       ▼
//!                             intermediate physical address
//!                  ┌─────────────────────┼───────────────────────┐
//!               a slot             no slot, read-only       beyond the VM's
//!            host memory              Target::Device        IPA size: abort
//! ```
//!
//! **Contexts.** What the engine's TLB keeps is tagged with a context: a number for the ASID, and
//! two bits for the rights. So a change of the address space, of the exception level or of
//! PSTATE.PAN empties nothing. An ASID gets its number when it is first current; when the numbers
//! run out all are taken back and the TLB is emptied.
//!
//! **Maintenance.** Both TLBs hold 4 KiB pages, whatever the guest's granule and blocks, and
//! nothing of the upper levels. Where a half of the address space has had a block entry, an
//! invalidation by address within its blocks' bounds empties everything ([`tlbi`]).

pub mod at;
mod cache;
pub mod cache_ops;
mod fault;
mod regime;
pub mod tlbi;
mod walk;

#[cfg(test)]
mod tests;

use crate::Cpu;
use crate::debug::{step, watchpoints};
use crate::exceptions;
use crate::insn::info;
use crate::state::pstate;
use crate::sysregs::Reg;
use cache::{Contexts, PageCache};
use fault::{Abort, Fault};
pub use regime::Features;
use regime::Regime;
use understudy_engine::arch::{AccessKind, Fetch, Frame, Target};
use understudy_engine::emit::{Align, Mem, Stop};
use understudy_memory::AccessError;
use walk::Page;

/// Bits of a physical address that the processor has (ID_AA64MMFR0_EL1.PARange of the model).
pub const PHYSICAL_BITS: u32 = 48;
/// Bytes of the pages that translations are kept by.
const PAGE: u64 = 4096;

/// SCTLR_EL1 bits that translation depends on.
mod sctlr {
    pub const M: u64 = 1 << 0;
    pub const WXN: u64 = 1 << 19;
    pub const EE: u64 = 1 << 25;
    pub const EPAN: u64 = 1 << 57;
}

/// What this part keeps of a vCPU.
#[derive(Debug, Default)]
pub struct MmuState {
    /// The mode of blocks ([`crate::insn::mode`]), see [`exceptions::synchronize`].
    pub mode: u32,
    features: Features,
    regime: Regime,
    contexts: Contexts,
    pages: PageCache,
    /// [`understudy_memory::GuestMemory::generation`] when code was last compared with memory.
    generation: u64,
    /// A broadcast TLBI has been sent that a DSB has to wait for.
    broadcast: bool,
}

/// What an access is, for its rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    Data(AccessKind),
    Execute,
    /// Cache maintenance by address that needs no right at EL1, and that to read at EL0.
    Maintain,
}

/// An access, as far as its translation depends on it.
#[derive(Clone, Copy, Debug)]
struct Access {
    what: Use,
    /// It has EL1's rights.
    privileged: bool,
    /// PSTATE.PAN counts.
    pan: bool,
    /// It faults in Device memory, as it is not aligned.
    unaligned: bool,
    /// It leaves no trace: neither in descriptors nor in the TLB (AT).
    looks: bool,
}

/// SCTLR_EL1, TCR_EL1 or MAIR_EL1 has been written: computes what is derived from them, and forgets
/// the translations that no longer hold.
pub fn controls_changed(cpu: &mut Cpu) {
    let sys = &cpu.state.sys;
    let new = Regime::new(sys, cpu.state.mmu.features);
    if new != cpu.state.mmu.regime {
        let translations = !new.same_translations(&cpu.state.mmu.regime);
        cpu.state.mmu.regime = new;
        if translations {
            flush(cpu);
        }
    }
    bases_changed(cpu);
    exceptions::synchronize(cpu);
}

/// It is known from here on which controls the CPU has.
pub fn set_features(cpu: &mut Cpu, features: Features) {
    cpu.state.mmu.features = features;
    controls_changed(cpu);
}

/// TTBR0_EL1 or TTBR1_EL1 has been written. What the TLB holds for the ASID stays: to forget it is
/// the guest's business (Arm ARM D8.13).
pub fn bases_changed(cpu: &mut Cpu) {
    let sys = &cpu.state.sys;
    let mmu = &mut cpu.state.mmu;
    mmu.regime
        .set_bases(sys[Reg::TTBR0_EL1], sys[Reg::TTBR1_EL1]);
    if mmu.contexts.select(mmu.regime.asid) {
        cpu.flush_all();
    }
    update_contexts(cpu);
}

/// Brings the contexts of the engine's TLB up to date with ASID, exception level, PAN and UAO.
pub(crate) fn update_contexts(cpu: &mut Cpu) {
    let user = cpu.state.mmu.contexts.current();
    let context = match (cpu.state.el, cpu.state.pstate & pstate::PAN) {
        (0, _) => user,
        (_, 0) => user + 1,
        _ => user + 2,
    };
    cpu.context = context;
    cpu.context_unprivileged = if cpu.state.el == 1 && cpu.state.pstate & pstate::UAO != 0 {
        context
    } else {
        user
    };
}

/// Forgets all translations of this vCPU.
pub fn flush(cpu: &mut Cpu) {
    cpu.state.mmu.pages.clear();
    cpu.flush_all();
}

/// Serves a request to forget all translations
/// ([`understudy_engine::request::FLUSH_TLB`]): of another vCPU's TLBI, or because memory slots have
/// changed. In the second case blocks are compared with memory again.
pub fn flush_requested(cpu: &mut Cpu) {
    flush(cpu);
    let generation = cpu.state.machine.memory.generation();
    if std::mem::replace(&mut cpu.state.mmu.generation, generation) != generation {
        cpu.new_epoch();
    }
}

/// Whether the half of the address space that a pointer to data, or to instructions, is in has tags,
/// and the lowest bit that is not translated.
pub(crate) fn pointer(cpu: &Cpu, pointer: u64, data: bool) -> (bool, u32) {
    let half = cpu.state.mmu.regime.half(pointer);
    let tagged = if data {
        half.top_byte_ignored
    } else {
        half.instruction_tags
    };
    // A size that is none counts as the nearest that is one.
    let bits = if half.input_bits == 0 {
        48
    } else {
        half.input_bits
    };
    (tagged, bits)
}

/// Whether either half has tags.
pub(crate) fn any_tag(cpu: &Cpu, data: bool) -> bool {
    [0, !0].into_iter().any(|half| pointer(cpu, half, data).0)
}

/// Whether an access has EL1's rights.
fn privileged(cpu: &Cpu, mem: Mem) -> bool {
    cpu.state.el == 1 && (!mem.unprivileged || cpu.state.pstate & pstate::UAO != 0)
}

/// Whether EL1 is kept from what EL0 may access: PSTATE.PAN, which has no effect without translation.
fn pan(cpu: &Cpu) -> bool {
    cpu.state.mmu.regime.on && cpu.state.pstate & pstate::PAN != 0
}

/// An access by an instruction at the current level.
fn access(cpu: &Cpu, what: Use, mem: Mem, unaligned: bool) -> Access {
    let privileged = privileged(cpu, mem);
    Access {
        what,
        privileged,
        pan: privileged && pan(cpu),
        unaligned,
        looks: false,
    }
}

/// Translates to a guest-physical page: from the cache, or by a walk. Marks the descriptor as the
/// access makes necessary.
fn page(cpu: &mut Cpu, address: u64, access: Access) -> Result<Page, Abort> {
    let mmu = &mut cpu.state.mmu;
    let data = access.what != Use::Execute;
    if !mmu.regime.on {
        let page = mmu.regime.flat(address, data)?;
        return match page.fault(access) {
            Some((fault, write)) => Err(Abort { fault, write }),
            None => Ok(page),
        };
    }
    let address = mmu.regime.untagged(address, data);
    if mmu.regime.half(address).no_el0 && !access.privileged {
        let write = matches!(access.what, Use::Data(AccessKind::Store));
        return Err(Abort {
            fault: Fault::Translation(0),
            write,
        });
    }
    if let Some(page) = mmu.pages.find(address, mmu.regime.asid)
        && page.fault(access).is_none()
        && !page.to_mark(access)
    {
        return Ok(page);
    }
    let page = walk::walk(&mmu.regime, &cpu.state.machine.memory, address, access)?;
    if !access.looks {
        mmu.pages.insert(address, mmu.regime.asid, page);
    }
    Ok(page)
}

/// The guest-physical address of `address` on `page`, which the VM must have room for.
fn physical(cpu: &Cpu, page: Page, address: u64) -> Result<u64, Abort> {
    let physical = page.frame | address & (PAGE - 1);
    let bits = cpu.state.machine.memory.limits().physical_address_bits;
    if bits < 64 && physical >> bits != 0 {
        // KVM reports the guest-physical address.
        return Err(Abort::read(Fault::External {
            far: Some(physical),
        }));
    }
    Ok(physical)
}

/// An instruction fetch at the current level.
fn fetching(cpu: &Cpu) -> Access {
    Access {
        what: Use::Execute,
        privileged: cpu.state.el == 1,
        pan: false,
        unaligned: false,
        looks: false,
    }
}

/// Whether the page that instructions at an address come from is guarded; none if they cannot be
/// fetched, or only with a trace of it.
pub(crate) fn guarded(cpu: &mut Cpu, address: u64) -> Option<bool> {
    let looks = Access {
        looks: true,
        ..fetching(cpu)
    };
    Some(page(cpu, address, looks).ok()?.guarded())
}

/// Whether the instruction at an address suits an indirect branch of this kind (BTypeCompatible); none
/// if it cannot be fetched.
pub(crate) fn suits(cpu: &mut Cpu, address: u64, kind: u64) -> Option<bool> {
    let looks = Access {
        looks: true,
        ..fetching(cpu)
    };
    let page = page(cpu, address, looks).ok()?;
    if !page.guarded() {
        return Some(true);
    }
    let physical = physical(cpu, page, address).ok()?;
    let word: u32 = cpu.state.machine.memory.load(physical).ok()?;
    Some(crate::insn::bti::suits(cpu, word, kind))
}

/// [`understudy_engine::arch::Arch::fetch`].
pub(crate) fn fetch(cpu: &mut Cpu) -> Result<Fetch, Stop> {
    if step::pending(cpu) {
        return Err(step::take(cpu));
    }
    if cpu.pc & 3 != 0 {
        return Err(exceptions::pc_alignment(cpu));
    }
    // A tag in the top byte does not reach the PC (AArch64.BranchAddr). What is fetched under the
    // tagged address is not kept, so that every branch to it comes by here.
    let untagged = cpu.state.mmu.regime.untagged(cpu.pc, false);
    let tagged = untagged != cpu.pc;
    cpu.pc = untagged;

    let address = cpu.pc;
    let access = fetching(cpu);
    let physical = page(cpu, address, access).and_then(|page| physical(cpu, page, address));
    let physical = match physical {
        Ok(physical) => physical,
        Err(abort) => return Err(abort.instruction(cpu, address)),
    };
    let Some(memory) = cpu.state.machine.memory.lookup(physical) else {
        let abort = Abort::read(Fault::External { far: None });
        return Err(abort.instruction(cpu, address));
    };
    if cpu.state.pstate & pstate::BTYPE != 0 {
        let kind = (cpu.state.pstate & pstate::BTYPE) >> pstate::BTYPE_SHIFT;
        if !suits(cpu, address, kind).unwrap_or(true) {
            return Err(exceptions::branch_target(cpu));
        }
        cpu.state.pstate &= !pstate::BTYPE;
    }
    Ok(Fetch {
        host: memory.host,
        physical: physical & !(PAGE - 1),
        careful: cpu.state.debug.effective().breakpoint_in_page(address),
        cache: !tagged,
    })
}

/// [`understudy_engine::arch::Arch::check_access`]: the alignment of the stack pointer, that which the
/// instruction demands, and watchpoints. These last come after the faults of translation, so for a watched access the pages are
/// looked at first.
pub(crate) fn check_access(
    cpu: &mut Cpu,
    address: u64,
    bytes: u64,
    mem: Mem,
    kind: AccessKind,
) -> Result<(), Stop> {
    if info::stack_misaligned(cpu, mem) {
        return Err(exceptions::sp_alignment(cpu));
    }
    if mem.align == Align::Natural && address & (info::alignment(mem) - 1) != 0 {
        let write = kind.writes();
        return Err(Abort {
            fault: Fault::Alignment,
            write,
        }
        .data(cpu, address));
    }
    if !cpu.state.debug.effective().any_watchpoint {
        return Ok(());
    }
    let Some(far) = watchpoints::hit(cpu, address, bytes, kind, privileged(cpu, mem)) else {
        return Ok(());
    };
    let mut at = address;
    let mut left = bytes;
    while left != 0 {
        let part = left.min(PAGE - at % PAGE);
        translate(cpu, at, part, mem, kind)?;
        at = at.wrapping_add(part);
        left -= part;
    }
    Err(watchpoints::take(cpu, far, kind, false))
}

/// [`understudy_engine::arch::Arch::translate`].
pub(crate) fn translate(
    cpu: &mut Cpu,
    address: u64,
    bytes: u64,
    mem: Mem,
    kind: AccessKind,
) -> Result<Target, Stop> {
    if cpu.dirty_ring_full() {
        return Err(crate::vcpu::dirty_ring_full(cpu));
    }
    // A part of an access that crosses a page is whole only if the access is aligned.
    let unaligned = (address | bytes) & (info::alignment(mem) - 1) != 0;
    let access = access(cpu, Use::Data(kind), mem, unaligned);
    let found =
        page(cpu, address, access).and_then(|page| Ok((page, physical(cpu, page, address)?)));
    let (page, physical) = match found {
        Ok(found) => found,
        Err(abort) => return Err(abort.data(cpu, address)),
    };
    let memory = &cpu.state.machine.memory;
    let slot = match memory.lookup(physical) {
        Some(slot) if !(slot.readonly && kind.writes()) => slot,
        slot => {
            // Stage 2 takes an atomic access for a read as long as its page is not there (Arm ARM,
            // ESR_EL2, ISS of a Data Abort, WnR), so KVM makes the page present before it finds it
            // read-only.
            if slot.is_some() && kind == AccessKind::Atomic {
                match memory.load::<u8>(physical) {
                    Err(AccessError::HostFault) => return Err(crate::vcpu::host_fault(cpu)),
                    Ok(_) | Err(AccessError::NoSlot | AccessError::ReadOnly) => {}
                }
            }
            cpu.state.run.fault.address = address;
            return Ok(Target::Device(physical));
        }
    };
    let logged = if slot.logging && kind.writes() {
        memory.mark_dirty(physical);
        true
    } else {
        !slot.logging
    };
    // In Device memory each access is looked at, for its alignment. (Without translation all is
    // Device memory, but then no unaligned access gets to the TLB.)
    let free = (!page.device() || !cpu.state.mmu.regime.on)
        && !memory.host_is_changing()
        && !cpu.state.debug.effective().watchpoint_in_page(address);
    let may = |kind| {
        let access = Access {
            what: Use::Data(kind),
            unaligned: false,
            ..access
        };
        free && page.fault(access).is_none() && !page.to_mark(access)
    };
    Ok(Target::Memory(Frame {
        host: slot.host,
        cache_loads: may(AccessKind::Load),
        // Only once a store has shown that the host lets it be written.
        cache_stores: kind.writes() && may(AccessKind::Store) && logged && !slot.readonly,
    }))
}
