//! Segment registers with their hidden parts, and the checks of accesses through them (SDM vol. 3A,
//! 3.4 and 5.3).

use crate::exceptions::{self, Fault, vector};
use crate::{Cpu, state};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use understudy_engine::emit::{Effects, Helper, SlotSet, Stop};

/// Numbers of the segment registers, as instructions encode them.
pub mod seg {
    /// ES.
    pub const ES: u8 = 0;
    /// CS.
    pub const CS: u8 = 1;
    /// SS.
    pub const SS: u8 = 2;
    /// DS.
    pub const DS: u8 = 3;
    /// FS.
    pub const FS: u8 = 4;
    /// GS.
    pub const GS: u8 = 5;
}

/// Access rights of a segment, at the bits that they have in bytes 5 and 6 of its descriptor.
pub mod rights {
    /// Type of an accessed data segment that can be written.
    pub const DATA_WRITE_ACCESSED: u32 = 3;
    /// Type of an accessed code segment that can be read.
    pub const CODE_READ_ACCESSED: u32 = 11;
    /// Type of a local descriptor table.
    pub const LDT: u32 = 2;
    /// Type of a busy 32- or 64-bit TSS.
    pub const TSS_BUSY: u32 = 11;
    /// The type.
    pub const TYPE: u32 = 15;
    /// Of a type: it is a code segment.
    pub const CODE: u32 = 8;
    /// Of a type of a data segment: it grows downwards.
    pub const DOWN: u32 = 4;
    /// Of a type: data can be written, code can be read.
    pub const RW: u32 = 2;
    /// Code or data, no system segment.
    pub const S: u32 = 1 << 4;
    /// Present.
    pub const P: u32 = 1 << 7;
    /// 64-bit code.
    pub const L: u32 = 1 << 13;
    /// 32-bit code or stack; 4 GiB as upper bound.
    pub const DB: u32 = 1 << 14;
    /// The limit counts pages.
    pub const G: u32 = 1 << 15;
    /// The register holds no segment.
    pub const UNUSABLE: u32 = 1 << 16;
}

/// A segment register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The visible part.
    pub selector: u16,
    /// Linear address of its offset 0.
    pub base: u64,
    /// The last offset, in bytes.
    pub limit: u32,
    /// [`rights`].
    pub rights: u32,
}

impl Segment {
    /// A register that a null selector has been loaded into.
    pub(crate) fn null(selector: u16) -> Segment {
        Segment {
            selector,
            base: 0,
            limit: 0,
            rights: rights::UNUSABLE,
        }
    }

    /// The descriptor privilege level.
    pub fn dpl(&self) -> u8 {
        (self.rights >> 5 & 3) as u8
    }

    /// Whether offsets are linear addresses, and all of them allowed for reading, and for writing if
    /// it is data.
    pub fn flat(&self) -> bool {
        let code = self.rights & rights::CODE != 0;
        let down = !code && self.rights & rights::DOWN != 0;
        let all = rights::P | rights::S | rights::RW;
        self.base == 0
            && self.limit == u32::MAX
            && !down
            && self.rights & (all | rights::UNUSABLE) == all
    }

    /// Whether an access of `bytes` at `offset` lies within the limit.
    pub fn within(&self, offset: u64, bytes: u64) -> bool {
        let last = offset.wrapping_add(bytes - 1);
        let down = self.rights & (rights::CODE | rights::DOWN) == rights::DOWN;
        if last < offset {
            return false;
        }
        if down {
            let top = if self.rights & rights::DB != 0 {
                0xffff_ffff
            } else {
                0xffff
            };
            offset > self.limit as u64 && last <= top
        } else {
            last <= self.limit as u64
        }
    }
}

/// A part of the state that shows whether it may have been changed, to those who keep something that
/// follows from it.
#[derive(Debug)]
pub struct Versioned<T> {
    value: T,
    version: u64,
}

impl<T> Versioned<T> {
    /// No other begins with the same version, so that one may take another's place.
    pub(crate) fn new(value: T) -> Versioned<T> {
        static FIRST: AtomicU64 = AtomicU64::new(1 << 40);
        let version = FIRST.fetch_add(1 << 40, Ordering::Relaxed);
        Versioned { value, version }
    }

    /// A number that is another one whenever the value may be.
    #[inline(always)]
    pub fn version(&self) -> u64 {
        self.version
    }
}

impl<T> Deref for Versioned<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Versioned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        self.version += 1;
        &mut self.value
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Linear address of the table.
    pub base: u64,
    /// Its last byte's offset.
    pub limit: u16,
}

/// The segment registers, and the system-table registers (SDM vol. 3A, 2.4 and 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// ES, CS, SS, DS, FS, GS, in the order of their encoding. The bases of FS and GS are in slots.
    pub segments: [Segment; 6],
    /// The local descriptor table.
    pub ldtr: Segment,
    /// The task state segment.
    pub tr: Segment,
    /// The global descriptor table.
    pub gdtr: Table,
    /// The interrupt descriptor table.
    pub idtr: Table,
}

impl Segmentation {
    /// What they hold after reset (SDM vol. 3A, table 10-1).
    pub(crate) fn reset() -> Segmentation {
        let present = |selector, base, kind| Segment {
            selector,
            base,
            limit: 0xffff,
            rights: rights::P | kind,
        };
        let data = present(0, 0, rights::S | rights::DATA_WRITE_ACCESSED);
        let mut segments = [data; 6];
        segments[seg::CS as usize] =
            present(0xf000, 0xffff_0000, rights::S | rights::CODE_READ_ACCESSED);
        let table = Table {
            base: 0,
            limit: 0xffff,
        };
        Segmentation {
            segments,
            ldtr: present(0, 0, rights::LDT),
            tr: present(0, 0, rights::TSS_BUSY),
            gdtr: table,
            idtr: table,
        }
    }
}

/// The linear address of an access of `bytes` at `offset`, outside 64-bit mode: the segment is
/// checked (SDM vol. 3A, 5.3 to 5.5, and 21.1 for real mode).
pub fn linear(cpu: &Cpu, number: u8, offset: u64, bytes: u64, write: bool) -> Result<u64, Fault> {
    let segment = state::segment(cpu, number);
    let vector = if number == seg::SS {
        vector::SS
    } else {
        vector::GP
    };
    let code = segment.rights & rights::CODE != 0;
    let unable = segment.rights & rights::RW == 0;
    let forbidden = cpu.state.protected()
        && (segment.rights & rights::UNUSABLE != 0 || write && code || (write || code) && unable);
    if forbidden || !segment.within(offset, bytes) {
        return Err(Fault::with_code(vector, 0));
    }
    Ok(segment.base.wrapping_add(offset) & 0xffff_ffff)
}

/// The helper for the above: offset, segment, bytes, whether it writes.
pub(crate) static LINEAR: Helper<crate::X86> = Helper {
    name: "linear",
    call: |cpu, [offset, number, bytes, write]| {
        linear(cpu, number as u8, offset, bytes, write != 0)
            .map_err(|fault| -> Stop { exceptions::raise(cpu, fault) })
    },
    effects: Effects {
        reads: SlotSet::NONE,
        writes: SlotSet::NONE,
        stops: true,
    },
};
