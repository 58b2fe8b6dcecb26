//! Segment descriptors and their tables (SDM vol. 3A, 3.4.5 and 3.5).

use crate::exceptions::Trouble;
use crate::segments::{Segment, rights};
use crate::{Cpu, mmu};

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
    let ldtr = &cpu.state.ldtr;
    let (base, limit, usable) = if local {
        let usable = ldtr.rights & rights::UNUSABLE == 0;
        (ldtr.base, u64::from(ldtr.limit), usable)
    } else {
        let gdtr = &cpu.state.gdtr;
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
