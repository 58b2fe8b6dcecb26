//! Segment descriptors and their tables (SDM vol. 3A, 3.4.5 and 3.5).

use crate::exceptions::{Fault, Trouble, vector};
use crate::interrupts::{self, Shadow};
use crate::segments::{Segment, rights, seg};
use crate::{Cpu, mmu, state};

/// A descriptor in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    /// Its linear address.
    pub(crate) address: u64,
    /// Its first eight bytes.
    pub(crate) bits: u64,
}

/// Reads the descriptor that a selector names; none if that is beyond the table's limit.
pub(crate) fn read(cpu: &mut Cpu, selector: u16) -> Result<Option<Descriptor>, Trouble> {
    let offset = u64::from(selector & !7);
    let local = selector & 4 != 0;
    let ldtr = &cpu.state.segmentation.ldtr;
    let (base, limit, usable) = if local {
        let usable = ldtr.rights & rights::UNUSABLE == 0;
        (ldtr.base, u64::from(ldtr.limit), usable)
    } else {
        let gdtr = &cpu.state.segmentation.gdtr;
        (gdtr.base, u64::from(gdtr.limit), true)
    };
    if !usable || offset + 7 > limit {
        return Ok(None);
    }
    let mut bytes = [0; 8];
    let mut address = base.wrapping_add(offset);
    if !cpu.state.long_mode() {
        address &= 0xffff_ffff;
    }
    mmu::system_read(cpu, address, false, &mut bytes)?;
    let bits = u64::from_le_bytes(bytes);
    Ok(Some(Descriptor { address, bits }))
}

/// The hidden part of a segment register that is loaded from a descriptor.
pub(crate) fn segment(selector: u16, bits: u64) -> Segment {
    let rights = (bits >> 40) as u32 & 0xf0ff;
    let limit = (bits & 0xffff | bits >> 32 & 0xf_0000) as u32;
    let limit = if rights & rights::G != 0 {
        limit << 12 | 0xfff
    } else {
        limit
    };
    Segment {
        selector,
        base: bits >> 16 & 0xff_ffff | bits >> 32 & 0xff00_0000,
        limit,
        rights,
    }
}

/// Sets the accessed flag of a code or data descriptor.
pub(crate) fn set_accessed(cpu: &mut Cpu, address: u64, bits: u64) -> Result<(), Trouble> {
    let kind = (bits >> 40) as u8;
    if kind & 1 == 0 {
        mmu::system_write_level(cpu, address.wrapping_add(5), 0, &[kind | 1])?;
    }
    Ok(())
}

/// A fault whose error code names a selector.
pub(crate) fn selector_fault(vector: u8, selector: u16) -> Fault {
    Fault::with_code(vector, u32::from(selector & !3))
}

/// The descriptor of a selector that must be within its table, as a segment.
pub(crate) fn lookup(cpu: &mut Cpu, selector: u16) -> Result<(Segment, Descriptor), Trouble> {
    match read(cpu, selector)? {
        Some(descriptor) => Ok((segment(selector, descriptor.bits), descriptor)),
        None => Err(selector_fault(vector::GP, selector).into()),
    }
}

/// Whether a segment holds code, or data.
pub(crate) fn is_code(segment: &Segment) -> bool {
    segment.rights & (rights::S | rights::CODE) == rights::S | rights::CODE
}

/// Whether a segment is one of data that can be written.
pub(crate) fn is_writable(segment: &Segment) -> bool {
    segment.rights & (rights::S | rights::CODE | rights::RW) == rights::S | rights::RW
}

/// A stack segment for a level: from its selector, which may be null in 64-bit mode below level 3.
pub(crate) fn stack(
    cpu: &mut Cpu,
    selector: u16,
    cpl: u8,
    may_be_null: bool,
) -> Result<(Segment, Option<Descriptor>), Trouble> {
    let rpl = (selector & 3) as u8;
    if selector & !3 == 0 {
        if may_be_null && cpl != 3 && rpl == cpl {
            return Ok((Segment::null(selector), None));
        }
        return Err(Fault::with_code(vector::GP, 0).into());
    }
    let (segment, descriptor) = lookup(cpu, selector)?;
    if rpl != cpl || !is_writable(&segment) || segment.dpl() != cpl {
        return Err(selector_fault(vector::GP, selector).into());
    }
    if segment.rights & rights::P == 0 {
        return Err(selector_fault(vector::SS, selector).into());
    }
    Ok((segment, Some(descriptor)))
}

/// Loads a segment register but CS, as MOV and POP do (SDM vol. 2, MOV).
pub(crate) fn load(cpu: &mut Cpu, number: u8, selector: u16) -> Result<(), Trouble> {
    if !cpu.state.protected() {
        // The limit and the rights stay as they are ("unreal mode").
        let mut segment = state::segment(cpu, number);
        segment.selector = selector;
        segment.base = u64::from(selector) << 4;
        if number == seg::SS {
            interrupts::cast_shadow(cpu, Shadow::MovSs);
        }
        state::set_segment(cpu, number, segment);
        state::changed(cpu);
        return Ok(());
    }
    let cpl = cpu.state.cpl;
    let (segment, descriptor) = if number == seg::SS {
        let long = cpu.state.code64();
        stack(cpu, selector, cpl, long)?
    } else if selector & !3 == 0 {
        (Segment::null(selector), None)
    } else {
        let (segment, descriptor) = lookup(cpu, selector)?;
        let code = segment.rights & rights::CODE != 0;
        let conforming = code && segment.rights & rights::DOWN != 0;
        let readable = !code || segment.rights & rights::RW != 0;
        let rpl = (selector & 3) as u8;
        let allowed = conforming || rpl.max(cpl) <= segment.dpl();
        if segment.rights & rights::S == 0 || !readable || !allowed {
            return Err(selector_fault(vector::GP, selector).into());
        }
        if segment.rights & rights::P == 0 {
            return Err(selector_fault(vector::NP, selector).into());
        }
        (segment, Some(descriptor))
    };
    if let Some(Descriptor { address, bits }) = descriptor {
        set_accessed(cpu, address, bits)?;
    }
    if number == seg::SS {
        interrupts::cast_shadow(cpu, Shadow::MovSs);
    }
    let accessed = descriptor.is_some() as u32;
    let rights = segment.rights | accessed;
    state::set_segment(cpu, number, Segment { rights, ..segment });
    state::changed(cpu);
    Ok(())
}

/// Loads TR or LDTR (SDM vol. 2, LTR and LLDT).
pub(crate) fn load_system(cpu: &mut Cpu, task: bool, selector: u16) -> Result<(), Trouble> {
    if selector & !3 == 0 {
        if task {
            return Err(Fault::with_code(vector::GP, 0).into());
        }
        cpu.state.segmentation.ldtr = Segment::null(selector);
        return Ok(());
    }
    if selector & 4 != 0 {
        return Err(selector_fault(vector::GP, selector).into());
    }
    let (mut segment, descriptor) = lookup(cpu, selector)?;
    let kind = segment.rights & (rights::S | rights::TYPE);
    let long = cpu.state.long_mode();
    let right = match kind {
        rights::LDT => !task,
        // Available TSSs, of 16 and 32 or 64 bits.
        1 => task && !long,
        9 => task,
        _ => false,
    };
    if !right {
        return Err(selector_fault(vector::GP, selector).into());
    }
    if segment.rights & rights::P == 0 {
        return Err(selector_fault(vector::NP, selector).into());
    }
    if long {
        let mut high = [0; 8];
        let at = descriptor.address.wrapping_add(8);
        mmu::system_read(cpu, at, false, &mut high)?;
        let high = u64::from_le_bytes(high);
        segment.base |= high << 32;
        if !mmu::canonical(cpu, segment.base) || high >> 40 & 31 != 0 {
            return Err(selector_fault(vector::GP, selector).into());
        }
    }
    if task {
        segment.rights |= 2;
        let kind = (descriptor.bits >> 40) as u8 | 2;
        mmu::system_write_level(cpu, descriptor.address.wrapping_add(5), 0, &[kind])?;
        cpu.state.segmentation.tr = segment;
    } else {
        cpu.state.segmentation.ldtr = segment;
    }
    Ok(())
}
