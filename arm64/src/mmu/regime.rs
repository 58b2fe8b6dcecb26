//! The EL1&0 translation regime as SCTLR_EL1, TCR_EL1, MAIR_EL1 and the TTBRs have it
//! (Arm ARM D8.1, D8.2).

use super::fault::{Abort, Fault};
use super::walk::{Page, rights};
use super::{PHYSICAL_BITS, sctlr};
use crate::sysregs::id::fields::{self, Field};
use crate::sysregs::{Reg, SysRegs};

/// The smallest TxSZ: without FEAT_LVA.
const LEAST_TXSZ: u32 = 16;
/// The largest TxSZ, without FEAT_TTST.
const MOST_TXSZ: u32 = 39;

/// Controls of translation that not every CPU has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// FEAT_TTST: TxSZ goes up to 48, or 47 with the 64 KiB granule.
    pub small_tables: bool,
    /// FEAT_E0PD: TCR_EL1.E0PD0 and E0PD1.
    pub e0pd: bool,
    /// FEAT_PAN3: SCTLR_EL1.EPAN.
    pub epan: bool,
    /// FEAT_BTI: pages are guarded by GP.
    pub bti: bool,
    /// FEAT_PAuth: TCR_EL1.TBID0 and TBID1.
    pub pauth: bool,
    /// FEAT_HPDS: TCR_EL1.HPD0 and HPD1.
    pub hpds: bool,
    /// Hardware updates of the Access flag: TCR_EL1.HA (FEAT_HAFDBS).
    pub access_flag: bool,
    /// Hardware updates of the dirty state: TCR_EL1.HD (FEAT_HAFDBS).
    pub dirty_state: bool,
}

impl Features {
    /// Those that a CPU has which answers the question whether its field has at least a value.
    pub fn new(offers: impl Fn(&Field, i64) -> bool) -> Features {
        Features {
            small_tables: offers(&fields::MMFR2_ST, 1),
            e0pd: offers(&fields::MMFR2_E0PD, 1),
            epan: offers(&fields::MMFR1_PAN, 3),
            bti: offers(&fields::PFR1_BT, 1),
            pauth: [fields::ISAR1_APA, fields::ISAR1_API]
                .iter()
                .any(|field| offers(field, 1)),
            hpds: offers(&fields::MMFR1_HPDS, 1),
            access_flag: offers(&fields::MMFR1_HAFDBS, 1),
            dirty_state: offers(&fields::MMFR1_HAFDBS, 2),
        }
    }
}

/// All of them, until it is known what CPU it is.
impl Default for Features {
    fn default() -> Features {
        Features::new(|_, _| true)
    }
}

/// One half of the address space: what TTBR0_EL1, or TTBR1_EL1, translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Half {
    /// Physical address of the first table.
    pub(super) base: u64,
    /// Bits of an address that are translated: 64 - TxSZ; 0 where TxSZ is no size.
    pub(super) input_bits: u32,
    /// Bits of an address within a page: 12, 14 or 16.
    pub(super) granule: u32,
    /// Walks are disabled: EPDx.
    pub(super) disabled: bool,
    /// The attributes of table descriptors are ignored: HPDx.
    pub(super) flat_rights: bool,
    /// The top byte of addresses is ignored: TBIx.
    pub(super) top_byte_ignored: bool,
    /// So is that of addresses of instructions: TBIx without TBIDx.
    pub(super) instruction_tags: bool,
    /// EL0's accesses fault: E0PDx.
    pub(super) no_el0: bool,
}

impl Half {
    fn new(size: u64, granule: u32, features: Features) -> Half {
        let size = size as u32 & 0x3f;
        let most = match (features.small_tables, granule) {
            (false, _) => MOST_TXSZ,
            (true, 16) => 47,
            (true, _) => 48,
        };
        let valid = (LEAST_TXSZ..=most).contains(&size);
        Half {
            input_bits: if valid { 64 - size } else { 0 },
            granule,
            ..Half::default()
        }
    }

    /// Bits that one level of tables translates.
    pub(super) fn stride(&self) -> u32 {
        self.granule - 3
    }

    /// The level at which the walk begins.
    pub(super) fn first_level(&self) -> u32 {
        4 - (self.input_bits - self.granule).div_ceil(self.stride())
    }
}

/// The regime.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Regime {
    /// SCTLR_EL1.M.
    pub(super) on: bool,
    /// The lower half, and the upper.
    pub(super) halves: [Half; 2],
    /// SCTLR_EL1.WXN.
    pub(super) wxn: bool,
    /// PSTATE.PAN keeps EL1 also from what EL0 may only execute: SCTLR_EL1.EPAN.
    pub(super) epan: bool,
    /// Descriptors guard pages: GP.
    pub(super) guards: bool,
    /// Descriptors are big-endian: SCTLR_EL1.EE.
    pub(super) big_endian: bool,
    /// Hardware sets the Access flag: TCR_EL1.HA.
    pub(super) access_flag: bool,
    /// Hardware manages the dirty state: TCR_EL1.HD, with HA.
    pub(super) dirty_state: bool,
    /// Bits of an output address: TCR_EL1.IPS, at most what the processor has.
    pub(super) output_bits: u32,
    /// MAIR_EL1.
    pub(super) mair: u64,
    /// The current ASID.
    pub(super) asid: u16,
    asid_in_ttbr1: bool,
    asid_16_bits: bool,
}

impl Regime {
    /// The regime of these registers.
    pub(super) fn new(sys: &SysRegs, features: Features) -> Regime {
        let control = sys[Reg::SCTLR_EL1];
        let tcr = sys[Reg::TCR_EL1];
        let bit = |n: u32| tcr >> n & 1 != 0;
        let lower = match tcr >> 14 & 3 {
            1 => 16,
            2 => 14,
            _ => 12,
        };
        let upper = match tcr >> 30 & 3 {
            1 => 14,
            3 => 16,
            _ => 12,
        };
        let output_bits = match tcr >> 32 & 7 {
            0 => 32,
            1 => 36,
            2 => 40,
            3 => 42,
            4 => 44,
            _ => 48,
        };
        let halves = [
            Half {
                disabled: bit(7),
                flat_rights: features.hpds && bit(41),
                top_byte_ignored: bit(37),
                instruction_tags: bit(37) && !(features.pauth && bit(51)),
                no_el0: features.e0pd && bit(55),
                ..Half::new(tcr, lower, features)
            },
            Half {
                disabled: bit(23),
                flat_rights: features.hpds && bit(42),
                top_byte_ignored: bit(38),
                instruction_tags: bit(38) && !(features.pauth && bit(52)),
                no_el0: features.e0pd && bit(56),
                ..Half::new(tcr >> 16, upper, features)
            },
        ];
        let mut regime = Regime {
            on: control & sctlr::M != 0,
            halves,
            wxn: control & sctlr::WXN != 0,
            big_endian: control & sctlr::EE != 0,
            guards: features.bti,
            epan: features.epan && control & sctlr::EPAN != 0,
            access_flag: features.access_flag && bit(39),
            dirty_state: features.dirty_state && bit(39) && bit(40),
            output_bits: PHYSICAL_BITS.min(output_bits),
            mair: sys[Reg::MAIR_EL1],
            asid: 0,
            asid_in_ttbr1: bit(22),
            asid_16_bits: bit(36),
        };
        regime.set_bases(sys[Reg::TTBR0_EL1], sys[Reg::TTBR1_EL1]);
        regime
    }

    /// Bits of an ASID that count: TCR_EL1.AS.
    pub(super) fn asid_mask(&self) -> u16 {
        if self.asid_16_bits { 0xffff } else { 0xff }
    }

    /// Takes over the TTBRs.
    pub(super) fn set_bases(&mut self, ttbr0: u64, ttbr1: u64) {
        for (half, ttbr) in self.halves.iter_mut().zip([ttbr0, ttbr1]) {
            // BADDR, and CnP, which says nothing to a processor that shares no TLB.
            half.base = ttbr & ((1 << PHYSICAL_BITS) - 2);
        }
        let asid = (if self.asid_in_ttbr1 { ttbr1 } else { ttbr0 }) >> 48;
        self.asid = asid as u16 & self.asid_mask();
    }

    /// Whether a translation made in one regime holds in the other, where it has the same ASID.
    pub(super) fn same_translations(&self, other: &Regime) -> bool {
        let plain = |regime: &Regime| {
            let mut plain = *regime;
            plain.halves.iter_mut().for_each(|half| half.base = 0);
            plain.asid = 0;
            plain.asid_in_ttbr1 = false;
            plain
        };
        plain(self) == plain(other)
    }

    /// The half that an address is in: bit 55 decides.
    pub(super) fn half(&self, address: u64) -> &Half {
        &self.halves[(address >> 55 & 1) as usize]
    }

    /// The address, of data or of instructions, without a tag: with an ignored top byte, its sign
    /// extension from bit 55.
    pub(super) fn untagged(&self, address: u64, data: bool) -> u64 {
        let half = self.half(address);
        if data && half.top_byte_ignored || half.instruction_tags {
            ((address as i64) << 8 >> 8) as u64
        } else {
            address
        }
    }

    /// Translation while the MMU is off (AArch64.S1DisabledOutput): the same address, in
    /// Device-nGnRnE memory for data.
    pub(super) fn flat(&self, address: u64, data: bool) -> Result<Page, Abort> {
        let half = self.half(address);
        let significant = if data && half.top_byte_ignored || half.instruction_tags {
            address << 8 >> 8
        } else {
            address
        };
        if significant >> PHYSICAL_BITS != 0 {
            return Err(Abort::read(Fault::AddressSize(0)));
        }
        Ok(Page {
            frame: significant & !0xfff,
            rights: rights::ALL | rights::DEVICE | rights::GLOBAL,
            level: 0,
            block: 0,
            memory: 0,
            shareability: 2,
        })
    }
}
