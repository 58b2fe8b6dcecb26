//! `KVM_GET_SREGS` (api.rst 4.13), `KVM_SET_SREGS` (4.14), and their successors with the PAE
//! page-directory pointers, `KVM_GET_SREGS2` (4.131) and `KVM_SET_SREGS2` (4.132).
//!
//! What a segment register can hold is what AMD's VMCB can: the attributes are stored as they are, an
//! unusable segment is one that is not present, and SS has the privilege level.

use std::mem::offset_of;
use std::sync::Arc;

use understudy_abi::ioctl::x86::{KVM_GET_SREGS, KVM_GET_SREGS2, KVM_SET_SREGS, KVM_SET_SREGS2};
use understudy_abi::x86::{
    KVM_SREGS2_FLAGS_PDPTRS_VALID, kvm_dtable, kvm_segment, kvm_sregs, kvm_sregs2,
};
use understudy_x86::regs::{FS_BASE, GS_BASE};
use understudy_x86::segments::{Segment, Table, rights, seg};
use understudy_x86::state::{self, cr0, cr4, efer};
use understudy_x86::{Cpu, apic, controls, events, mmu};
use zerocopy::IntoBytes;

use crate::errno::Errno;
use crate::shared::SharedPages;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;
use crate::vcpu::x86::State;
use crate::x86::PHYSICAL_BITS;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_SREGS: Vcpu get, "segments, tables and control registers",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_SREGS: Vcpu set, "sets segments, tables and control registers",
        EFAULT "the argument cannot be read",
        EINVAL "the control registers cannot be so together, or the APIC's base cannot be"),
    row!(KVM_GET_SREGS2: Vcpu get2, "the same with the PAE page-directory pointers",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_SREGS2: Vcpu set2, "sets the same with the PAE page-directory pointers",
        EFAULT "the argument cannot be read",
        EINVAL "as KVM_SET_SREGS, or flags has a bit that there is not"),
];

/// Descriptor attributes, at their bits in [`Segment::rights`].
mod attribute {
    pub(super) const S: u32 = 4;
    pub(super) const DPL: u32 = 5;
    pub(super) const P: u32 = 7;
    pub(super) const AVL: u32 = 12;
    pub(super) const L: u32 = 13;
    pub(super) const DB: u32 = 14;
    pub(super) const G: u32 = 15;
}

fn to_user(segment: &Segment) -> kvm_segment {
    let bit = |bit: u32| (segment.rights >> bit & 1) as u8;
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        r#type: (segment.rights & rights::TYPE) as u8,
        present: bit(attribute::P),
        dpl: segment.dpl(),
        db: bit(attribute::DB),
        s: bit(attribute::S),
        l: bit(attribute::L),
        g: bit(attribute::G),
        avl: bit(attribute::AVL),
        unusable: bit(rights::UNUSABLE.trailing_zeros()),
        padding: 0,
    }
}

fn from_user(user: &kvm_segment) -> Segment {
    let bit = |value: u8, bit: u32| u32::from(value & 1) << bit;
    let usable = user.present & 1 != 0 && user.unusable == 0;
    let unusable = if usable { 0 } else { rights::UNUSABLE };
    Segment {
        selector: user.selector,
        base: user.base,
        limit: user.limit,
        rights: u32::from(user.r#type) & rights::TYPE
            | bit(user.s, attribute::S)
            | u32::from(user.dpl & 3) << attribute::DPL
            | bit(usable.into(), attribute::P)
            | bit(user.avl, attribute::AVL)
            | bit(user.l, attribute::L)
            | bit(user.db, attribute::DB)
            | bit(user.g, attribute::G)
            | unusable,
    }
}

fn table_to_user(table: &Table) -> kvm_dtable {
    kvm_dtable {
        base: table.base,
        limit: table.limit,
        padding: [0; 3],
    }
}

fn table_from_user(table: &kvm_dtable) -> Table {
    Table {
        base: table.base,
        limit: table.limit,
    }
}

/// CS to SS as the structures name them, and by number.
fn segments(sregs: &mut kvm_sregs) -> [(u8, &mut kvm_segment); 6] {
    [
        (seg::CS, &mut sregs.cs),
        (seg::DS, &mut sregs.ds),
        (seg::ES, &mut sregs.es),
        (seg::FS, &mut sregs.fs),
        (seg::GS, &mut sregs.gs),
        (seg::SS, &mut sregs.ss),
    ]
}

/// Bytes of the structure that segments and tables are, in pieces of 32.
const SEGMENTS: usize = offset_of!(kvm_sregs, cr0) / 32;

/// What comes behind them: control registers, EFER and the APIC's base.
#[inline(always)]
fn control(cpu: &Cpu, common: Common) -> [u64; 7] {
    let state = &cpu.state;
    [
        state.cr0,
        state.cr2,
        state.cr3,
        state.cr4,
        common.cr8,
        state.efer,
        common.apic_base,
    ]
}

/// The interrupt that is being injected: which word of `interrupt_bitmap` it makes not 0, and the word.
#[inline(always)]
fn interrupt(cpu: &Cpu) -> Option<(usize, u64)> {
    let vector = events::injected_interrupt(cpu)?;
    Some((usize::from(vector) / 64, 1 << (vector % 64)))
}

/// What SREGS and `kvm_run` itself have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    /// CR8.
    pub(crate) cr8: u64,
    /// IA32_APIC_BASE.
    pub(crate) apic_base: u64,
}

impl Common {
    /// Those of a vCPU.
    #[inline(always)]
    pub(crate) fn of(cpu: &Cpu) -> Common {
        Common {
            cr8: controls::cr8(cpu),
            apic_base: cpu.state.peer.apic().base(),
        }
    }
}

/// FS.base and GS.base, which are registers of their own, at their offsets.
#[inline(always)]
fn bases(cpu: &Cpu) -> [(usize, u64); 2] {
    [
        (offset_of!(kvm_sregs, fs.base), cpu.slot(FS_BASE)),
        (offset_of!(kvm_sregs, gs.base), cpu.slot(GS_BASE)),
    ]
}

/// The structure as it was put together last. Most of it is segments and tables, which are the same at
/// most exits, and take longer to put together than all else that an exit stores.
#[derive(Debug, Default)]
pub(crate) struct Image {
    sregs: kvm_sregs,
    /// The version that its segments and tables are of.
    version: u64,
}

impl Image {
    /// Brings segments and tables up to date.
    #[inline(always)]
    fn update(&mut self, cpu: &Cpu) {
        let version = cpu.state.segmentation.version();
        if version != self.version {
            self.set_segments(cpu);
            self.version = version;
        }
    }

    #[cold]
    fn set_segments(&mut self, cpu: &Cpu) {
        let from = &cpu.state.segmentation;
        let sregs = &mut self.sregs;
        for (number, to) in segments(sregs) {
            *to = to_user(&state::segment(cpu, number));
        }
        sregs.tr = to_user(&from.tr);
        sregs.ldt = to_user(&from.ldtr);
        sregs.gdt = table_to_user(&from.gdtr);
        sregs.idt = table_to_user(&from.idtr);
    }

    /// The registers.
    fn of(&mut self, cpu: &Cpu) -> kvm_sregs {
        self.update(cpu);
        let mut sregs = self.sregs;
        let bytes = sregs.as_mut_bytes();
        for (offset, base) in bases(cpu) {
            bytes[offset..][..8].copy_from_slice(&base.to_ne_bytes());
        }
        let control = control(cpu, Common::of(cpu));
        bytes[32 * SEGMENTS..][..size_of_val(&control)].copy_from_slice(control.as_bytes());
        if let Some((at, word)) = interrupt(cpu) {
            sregs.interrupt_bitmap[at] = word;
        }
        sregs
    }

    /// Stores the registers at an offset of `kvm_run`.
    #[inline(always)]
    fn store(&mut self, cpu: &Cpu, common: Common, page: &SharedPages, at: usize) {
        const BITMAP: usize = offset_of!(kvm_sregs, interrupt_bitmap);
        self.update(cpu);
        let Some(to) = page.part::<{ size_of::<kvm_sregs>() }>(at) else {
            return;
        };
        let (segments, _) = self.sregs.as_bytes().as_chunks::<32>();
        if let Some(segments) = segments.first_chunk::<SEGMENTS>() {
            to.store_wide(0, segments);
        }
        for (offset, base) in bases(cpu) {
            to.store_words(offset, [base]);
        }
        to.store_words(32 * SEGMENTS, control(cpu, common));
        to.store_words(BITMAP, [0; 4]);
        if let Some((word, bit)) = interrupt(cpu) {
            to.store_words(BITMAP + 8 * (word % 4), [bit]);
        }
    }
}

const _: () = {
    assert!(offset_of!(kvm_sregs, cr0) == 32 * SEGMENTS);
    assert!(offset_of!(kvm_sregs, interrupt_bitmap) == 32 * SEGMENTS + 7 * 8);
};

/// Bits of EFER that can be set.
const EFER: u64 = efer::SCE | efer::LME | efer::LMA | efer::NXE;

/// Whether the processor can have these control registers together (SYNC-4, SYNC-6).
fn valid(cpu: &Cpu, sregs: &kvm_sregs) -> bool {
    let long = sregs.efer & efer::LMA != 0;
    let on = |bit| sregs.cr0 & bit != 0;
    let modes = if sregs.efer & efer::LME != 0 && on(cr0::PG) {
        sregs.cr4 & cr4::PAE != 0 && long && sregs.cr3 >> PHYSICAL_BITS == 0
    } else {
        !long && sregs.cs.l == 0
    };
    let cr0 =
        sregs.cr0 >> 32 == 0 && (on(cr0::PE) || !on(cr0::PG)) && (on(cr0::CD) || !on(cr0::NW));
    modes && cr0 && controls::cr4_is_allowed(cpu, sregs.cr4)
}

/// Sets the registers, which are [`valid`].
fn write(cpu: &mut Cpu, sregs: &kvm_sregs) {
    let mut sregs = *sregs;
    for (number, segment) in segments(&mut sregs) {
        state::set_segment(cpu, number, from_user(segment));
    }
    let state = &mut cpu.state;
    state.cpl = sregs.ss.dpl & 3;
    let to = &mut state.segmentation;
    to.tr = from_user(&sregs.tr);
    to.ldtr = from_user(&sregs.ldt);
    to.gdtr = table_from_user(&sregs.gdt);
    to.idtr = table_from_user(&sregs.idt);
    state.cr0 = sregs.cr0 | cr0::ET;
    state.cr2 = sregs.cr2;
    state.cr3 = sregs.cr3;
    state.cr4 = sregs.cr4;
    state.efer = sregs.efer & EFER;
    // A value that CR8 cannot have is ignored.
    let _ = controls::set_cr8(cpu, sregs.cr8);
    mmu::flush(cpu);
    state::changed(cpu);
}

impl State {
    /// What `KVM_GET_SREGS` gives.
    pub(crate) fn sregs(&mut self) -> kvm_sregs {
        self.sregs.of(self.cpu.cpu())
    }

    /// Stores the same at an offset of `kvm_run`.
    #[inline(always)]
    pub(crate) fn store_sregs(&mut self, common: Common, page: &SharedPages, at: usize) {
        self.sregs.store(self.cpu.cpu(), common, page, at);
    }

    /// What `KVM_SET_SREGS` does. Nothing is changed where it fails.
    pub(crate) fn set_sregs(&mut self, sregs: &kvm_sregs) -> Result<(), Errno> {
        if !valid(self.cpu.cpu(), sregs) {
            return Err(Errno::EINVAL);
        }
        apic::write_base(self.cpu.cpu_mut(), sregs.apic_base, true).ok_or(Errno::EINVAL)?;
        // The linear address of the next instruction depends on what is about to change.
        let cpu = self.cpu.cpu_mut();
        let rip = state::rip(cpu);
        write(cpu, sregs);
        state::set_rip(cpu, rip);
        // Of several, the lowest.
        let words = (0..).zip(sregs.interrupt_bitmap);
        let vector = words
            .filter(|(_, word)| *word != 0)
            .map(|(at, word)| 64 * at + word.trailing_zeros() as u8)
            .next();
        if let Some(vector) = vector {
            events::queue_interrupt(cpu, vector);
        }
        Ok(())
    }
}

impl State {
    /// Sets CR8, which a run begins with where the interrupt controller is user space's.
    pub(crate) fn set_cr8(&mut self, value: u64) -> Result<(), Errno> {
        controls::set_cr8(self.cpu.cpu_mut(), value).map_err(|_| Errno::EINVAL)
    }
}

fn get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    call.write(&vcpu.x86()?.sregs())?;
    Ok(0)
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    state.set_sregs(&call.read()?)?;
    Ok(0)
}

fn get2(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let sregs = state.sregs();
    let mut result = kvm_sregs2 {
        cs: sregs.cs,
        ds: sregs.ds,
        es: sregs.es,
        fs: sregs.fs,
        gs: sregs.gs,
        ss: sregs.ss,
        tr: sregs.tr,
        ldt: sregs.ldt,
        gdt: sregs.gdt,
        idt: sregs.idt,
        cr0: sregs.cr0,
        cr2: sregs.cr2,
        cr3: sregs.cr3,
        cr4: sregs.cr4,
        cr8: sregs.cr8,
        efer: sregs.efer,
        apic_base: sregs.apic_base,
        flags: 0,
        pdptrs: [0; 4],
    };
    if pae(&sregs) {
        result.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
        // They are read from memory by each walk, as with AMD's nested paging.
        let mut bytes = [0; 32];
        let memory = &state.cpu.cpu().state.memory;
        if memory.read(sregs.cr3 & 0xffff_ffe0, &mut bytes).is_ok() {
            for (pointer, bytes) in result.pdptrs.iter_mut().zip(bytes.as_chunks().0) {
                *pointer = u64::from_le_bytes(*bytes);
            }
        }
    }
    call.write(&result)?;
    Ok(0)
}

/// Whether translation is by PAE paging, which has page-directory pointers.
fn pae(sregs: &kvm_sregs) -> bool {
    sregs.cr0 & cr0::PG != 0 && sregs.cr4 & cr4::PAE != 0 && sregs.efer & efer::LMA == 0
}

fn set2(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let new: kvm_sregs2 = call.read()?;
    if new.flags & !KVM_SREGS2_FLAGS_PDPTRS_VALID != 0 {
        return Err(Errno::EINVAL);
    }
    let sregs = kvm_sregs {
        cs: new.cs,
        ds: new.ds,
        es: new.es,
        fs: new.fs,
        gs: new.gs,
        ss: new.ss,
        tr: new.tr,
        ldt: new.ldt,
        gdt: new.gdt,
        idt: new.idt,
        cr0: new.cr0,
        cr2: new.cr2,
        cr3: new.cr3,
        cr4: new.cr4,
        cr8: new.cr8,
        efer: new.efer,
        apic_base: new.apic_base,
        interrupt_bitmap: [0; 4],
    };
    // Pointers that are given are those of PAE paging.
    if new.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID != 0 && !pae(&sregs) {
        return Err(Errno::EINVAL);
    }
    state.set_sregs(&sregs)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attribute_is_where_the_structure_has_it() {
        for rights in 0..1 << 17 {
            let segment = Segment {
                selector: 0x1234,
                base: 0x1122_3344_5566_7788,
                limit: 0x9abc_def0,
                rights,
            };
            let user = to_user(&segment);
            let bit = |n: u32| (rights >> n & 1) as u8;
            assert_eq!(
                (user.base, user.limit, user.selector, user.padding),
                (segment.base, segment.limit, segment.selector, 0)
            );
            assert_eq!(
                [user.r#type, user.s, user.dpl, user.present],
                [(rights & 15) as u8, bit(4), segment.dpl(), bit(7)],
                "{rights:#x}"
            );
            assert_eq!(
                [user.avl, user.l, user.db, user.g, user.unusable],
                [bit(12), bit(13), bit(14), bit(15), bit(16)],
                "{rights:#x}"
            );
        }
    }
}
