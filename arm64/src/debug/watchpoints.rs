//! Watchpoints (Arm ARM D2.10).
//!
//! A page with a watched byte is kept out of the TLB, so that each access to it comes by here.

use super::{Comparator, Effective, FAULT_STATUS, enabled, route};
use crate::Cpu;
use crate::exceptions::class;
use understudy_engine::arch::AccessKind;
use understudy_engine::emit::Stop;

/// Bits of an address that are compared: 48:0. Those above are a sign extension or a tag.
const ADDRESS: u64 = (1 << 49) - 1;

/// ISS.WnR of a Watchpoint exception: the access was a write.
const WNR: u64 = 1 << 6;
/// ISS.CM of a Watchpoint exception: it was a cache maintenance instruction.
const CM: u64 = 1 << 8;

/// The bytes that a watchpoint watches: `bytes` of them in the block of `mask + 1` bytes at `base`,
/// which is a multiple of that size.
struct Watched {
    base: u64,
    mask: u64,
    /// Which of the eight bytes of a doubleword, bit by bit.
    bytes: u8,
}

impl Comparator {
    fn watched(self) -> Watched {
        let log2 = self.field(24, 5);
        // Values 1 and 2 are reserved; they mean what 0 does.
        if log2 >= 3 {
            let mask = (1u64 << log2) - 1;
            return Watched {
                base: self.value & ADDRESS & !mask,
                mask,
                bytes: !0,
            };
        }
        let select = self.field(5, 8) as u8;
        // With bit 2 of the address set, only four bytes from there can be selected.
        let bytes = if self.value & 4 != 0 {
            select << 4
        } else {
            select
        };
        Watched {
            base: self.value & ADDRESS & !7,
            mask: 7,
            bytes,
        }
    }

    /// LSC: whether reads, and writes, are watched.
    fn watches(self, kind: AccessKind) -> bool {
        let wanted = match kind {
            AccessKind::Load => 1,
            AccessKind::Store => 2,
            AccessKind::Atomic => 3,
        };
        self.field(3, 2) & wanted != 0
    }
}

impl Watched {
    /// The first watched byte of `address..address + length`. An access goes round at the end of
    /// the address space like the address itself.
    fn first(&self, address: u64, length: u64) -> Option<u64> {
        let mut offset = 0;
        while offset < length {
            let at = address.wrapping_add(offset) & ADDRESS;
            if (at ^ self.base) & !self.mask & ADDRESS == 0 && self.bytes >> (at & 7) & 1 != 0 {
                return Some(address.wrapping_add(offset));
            }
            offset += 1;
        }
        None
    }
}

impl Effective {
    /// Whether any byte of the 4 KiB page of `address` may be watched.
    pub fn watchpoint_in_page(&self, address: u64) -> bool {
        self.any_watchpoint
            && self.watchpoints.iter().any(|w| {
                let Watched { base, mask, .. } = w.watched();
                w.enabled() && (base ^ address) & ADDRESS & !(mask | 0xfff) == 0
            })
    }
}

/// The address that FAR has where an access is watched: that of the first watched byte it touches.
/// `privileged` is whether the access has EL1's rights.
pub fn hit(
    cpu: &Cpu,
    address: u64,
    length: u64,
    kind: AccessKind,
    privileged: bool,
) -> Option<u64> {
    let effective = &cpu.state.debug.effective;
    if !effective.any_watchpoint || !enabled(cpu) {
        return None;
    }
    effective.watchpoints.iter().find_map(|w| {
        let linked = w.field(20, 1) != 0;
        if w.enabled() && w.watches(kind) && effective.state_matches(cpu, *w, linked, privileged) {
            w.watched().first(address, length)
        } else {
            None
        }
    })
}

/// Takes the Watchpoint exception for an access with this FAR.
#[cold]
pub fn take(cpu: &mut Cpu, far: u64, kind: AccessKind, cache: bool) -> Stop {
    let mut iss = FAULT_STATUS;
    if kind.writes() {
        iss |= WNR;
    }
    if cache {
        iss |= CM;
    }
    route(cpu, class::WATCHPOINT, iss, Some(far))
}
