//! Instructions that belong to a feature of which an ID register field tells (Arm ARM A2, "FEAT_"),
//! and what becomes of them where a VM's registers hide the feature.
//!
//! ```text
//!   first KVM_RUN: host model, ID registers ─► features that the vCPU has not
//!                                                  │ Fidelity::Kvm: that the host has not
//!                                                  ▼
//!   a block is decoded, with the number of that set in its mode:
//!        absent in the host, Strict   the feature's instructions are UNDEFINED
//!        Report                       they run, and each use is counted by word and PC
//! ```
//!
//! So nothing is asked while code runs, and code of a VM that hides nothing is the same as ever. What
//! hardware can trap, and KVM has it trap, is not here: see [`crate::sysregs::traps`].

use super::system::no_operation;
use super::{Decoded, Operands, decode_group, mode, udf};
use crate::state::pstate;
use crate::sysregs::id::fields::{self, Field};
use crate::sysregs::id::{IdRegisters, attainable};
use crate::{Arm64, Cpu};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError, RwLock};
use understudy_engine::def;
use understudy_engine::emit::{Effects, Emit, Helper};

/// What is done about features that a VM hides and hardware could not trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Fidelity {
    /// Nothing, as KVM can do nothing: their instructions run (IDR-14).
    #[default]
    Kvm,
    /// Their instructions are UNDEFINED, as on a CPU that does not have them (TRAP-6).
    Strict,
    /// Their instructions run, and each use is counted ([`Uses`]).
    Report,
}

impl Fidelity {
    /// All of them, by name.
    pub const ALL: &[(&str, Fidelity)] = &[
        ("kvm", Fidelity::Kvm),
        ("strict", Fidelity::Strict),
        ("report", Fidelity::Report),
    ];

    /// The one of this name.
    pub fn by_name(name: &str) -> Option<Fidelity> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, fidelity)| *fidelity)
    }
}

/// A feature, and its instructions.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// The manual's name.
    pub name: &'static str,
    /// The field that tells of it.
    pub field: Field,
    /// Another that does, for another variant of it.
    pub or: Option<Field>,
    /// The fields' least value with it.
    pub least: i64,
    /// Bits of PSTATE that belong to it.
    pstate: u64,
    /// Its encodings: a word is one of them if, under the mask, it has the value.
    encodings: &'static [(u32, u32)],
}

const fn feature(
    name: &'static str,
    field: Field,
    least: i64,
    encodings: &'static [(u32, u32)],
) -> Feature {
    Feature {
        name,
        field,
        or: None,
        least,
        pstate: 0,
        encodings,
    }
}

/// The feature with bits of PSTATE of its own.
const fn with_pstate(mut feature: Feature, pstate: u64) -> Feature {
    feature.pstate = pstate;
    feature
}

/// The feature that a second field tells of as well.
const fn with_variant(mut feature: Feature, or: Field) -> Feature {
    feature.or = Some(or);
    feature
}

/// Hints, which are NOPs where their feature is not there.
const HINTS: (u32, u32) = (0xffff_f01f, 0xd503_201f);

/// FCVT from half precision, which is older than FEAT_FP16 and looks like one of its instructions.
const FCVT_FROM_HALF: (u32, u32) = (0xfffe_7c00, 0x1ee2_4000);

/// THE table of features. There are 64 at most.
pub const FEATURES: &[Feature] = &[
    feature(
        "FEAT_LSE",
        fields::ISAR0_ATOMIC,
        2,
        &[
            (0x3fa0_7c00, 0x08a0_7c00), // CAS
            (0xbfa0_7c00, 0x0820_7c00), // CASP
            (0x3f20_8c00, 0x3820_0000), // LDADD and the like
            (0x3f20_fc00, 0x3820_8000), // SWP
        ],
    ),
    feature(
        "FEAT_LRCPC",
        fields::ISAR1_LRCPC,
        1,
        &[(0x3fe0_fc00, 0x38a0_c000)],
    ),
    feature(
        "FEAT_CRC32",
        fields::ISAR0_CRC32,
        1,
        &[(0x7fe0_e000, 0x1ac0_4000)],
    ),
    feature(
        "FEAT_DotProd",
        fields::ISAR0_DP,
        1,
        &[
            (0x9f20_fc00, 0x0e00_9400),
            (0x9f00_f400, 0x0f00_e000), // by element
        ],
    ),
    feature(
        "FEAT_RDM",
        fields::ISAR0_RDM,
        1,
        &[
            (0xbf20_f400, 0x2e00_8400),
            (0xff20_f400, 0x7e00_8400), // scalar
            (0xbf00_d400, 0x2f00_d000), // by element
            (0xff00_d400, 0x7f00_d000), // scalar by element
        ],
    ),
    feature(
        "FEAT_AES",
        fields::ISAR0_AES,
        1,
        &[(0xffff_cc00, 0x4e28_4800)],
    ),
    feature(
        "FEAT_PMULL",
        fields::ISAR0_AES,
        2,
        &[(0xbfe0_fc00, 0x0ee0_e000)],
    ),
    feature(
        "FEAT_SHA1",
        fields::ISAR0_SHA1,
        1,
        &[
            (0xffe0_cc00, 0x5e00_0000), // SHA1C, SHA1P, SHA1M, SHA1SU0
            (0xffff_ec00, 0x5e28_0800), // SHA1H, SHA1SU1
        ],
    ),
    feature(
        "FEAT_SHA256",
        fields::ISAR0_SHA2,
        1,
        &[
            (0xffe0_cc00, 0x5e00_4000), // SHA256H, SHA256H2, SHA256SU1
            (0xffff_fc00, 0x5e28_2800), // SHA256SU0
        ],
    ),
    feature(
        "FEAT_SHA512",
        fields::ISAR0_SHA2,
        2,
        &[
            (0xffe0_f800, 0xce60_8000), // SHA512H, SHA512H2
            (0xffe0_fc00, 0xce60_8800), // SHA512SU1
            (0xffff_fc00, 0xcec0_8000), // SHA512SU0
        ],
    ),
    feature(
        "FEAT_SHA3",
        fields::ISAR0_SHA3,
        1,
        &[
            (0xffc0_8000, 0xce00_0000), // EOR3, BCAX
            (0xffe0_fc00, 0xce60_8c00), // RAX1
            (0xffe0_0000, 0xce80_0000), // XAR
        ],
    ),
    feature(
        "FEAT_SM3",
        fields::ISAR0_SM3,
        1,
        &[
            (0xffe0_8000, 0xce40_0000), // SM3SS1
            (0xffe0_c000, 0xce40_8000), // SM3TT1A and the like
            (0xffe0_f800, 0xce60_c000), // SM3PARTW1, SM3PARTW2
        ],
    ),
    feature(
        "FEAT_SM4",
        fields::ISAR0_SM4,
        1,
        &[
            (0xffff_fc00, 0xcec0_8400), // SM4E
            (0xffe0_fc00, 0xce60_c800), // SM4EKEY
        ],
    ),
    feature(
        "FEAT_FP16",
        fields::PFR0_FP,
        1,
        &[
            (0x7fe0_0000, 0x1ee0_0000), // scalar: data processing, conversions
            (0x7fe0_0000, 0x1ec0_0000), // fixed point
            (0xffc0_0000, 0x1fc0_0000), // fused multiplication and addition
            (0x9f60_c400, 0x0e40_0400), // three registers
            (0xdf60_c400, 0x5e40_0400),
            (0x9f7e_0c00, 0x0e78_0800), // two registers
            (0xdf7e_0c00, 0x5e78_0800),
            (0xbf7f_cc00, 0x0e30_c800), // across lanes
            (0xff7f_cc00, 0x5e30_c800), // pairwise
            (0x9fc0_3400, 0x0f00_1000), // by element
            (0xdfc0_3400, 0x5f00_1000),
            (0xbff8_fc00, 0x0f00_fc00), // FMOV (immediate)
            (0x9ff0_e400, 0x0f10_e400), // fixed point
            (0xdff0_e400, 0x5f10_e400),
            (0xbfe0_e400, 0x2e40_c400), // FCMLA
            (0xbfe0_ec00, 0x2e40_e400), // FCADD
            (0xbfc0_9400, 0x2f40_1000), // FCMLA (by element)
        ],
    ),
    feature(
        "FEAT_FRINTTS",
        fields::ISAR1_FRINTTS,
        1,
        &[
            (0xffbe_7c00, 0x1e28_4000), // scalar
            (0x9fbf_ec00, 0x0e21_e800),
        ],
    ),
    feature(
        "FEAT_JSCVT",
        fields::ISAR1_JSCVT,
        1,
        &[(0xffff_fc00, 0x1e7e_0000)],
    ),
    feature(
        "FEAT_FHM",
        fields::ISAR0_FHM,
        1,
        &[
            (0xbf60_fc00, 0x0e20_ec00), // FMLAL, FMLSL
            (0xbf60_fc00, 0x2e20_cc00), // FMLAL2, FMLSL2
            (0xbfc0_b400, 0x0f80_0000), // by element
            (0xbfc0_b400, 0x2f80_8000),
        ],
    ),
    feature(
        "FEAT_I8MM",
        fields::ISAR1_I8MM,
        1,
        &[
            (0xbfe0_fc00, 0x0e80_9c00), // USDOT
            (0xdfe0_fc00, 0x4e80_a400), // SMMLA, UMMLA
            (0xffe0_fc00, 0x4e80_ac00), // USMMLA
            (0xbf40_f400, 0x0f00_f000), // SUDOT, USDOT (by element)
        ],
    ),
    feature(
        "FEAT_BF16",
        fields::ISAR1_BF16,
        1,
        &[
            (0xbf60_fc00, 0x2e40_fc00), // BFDOT, BFMLALB, BFMLALT
            (0xffe0_fc00, 0x6e40_ec00), // BFMMLA
            (0xbf40_f400, 0x0f40_f000), // by element
            (0xffff_fc00, 0x1e63_4000), // BFCVT
            (0xbfff_fc00, 0x0ea1_6800), // BFCVTN
        ],
    ),
    feature(
        "FEAT_FCMA",
        fields::ISAR1_FCMA,
        1,
        &[
            (0xbf20_e400, 0x2e00_c400), // FCMLA
            (0xbf20_ec00, 0x2e00_e400), // FCADD
            (0xbf00_9400, 0x2f00_1000), // by element
        ],
    ),
    feature(
        "FEAT_DPB",
        fields::ISAR1_DPB,
        1,
        &[(0xffff_ffe0, 0xd50b_7c20)],
    ), // DC CVAP
    feature(
        "FEAT_DPB2",
        fields::ISAR1_DPB,
        2,
        &[(0xffff_ffe0, 0xd50b_7d20)],
    ), // DC CVADP
    with_pstate(
        feature(
            "FEAT_UAO",
            fields::MMFR2_UAO,
            1,
            &[
                (0xffff_f0ff, 0xd500_407f), // MSR UAO, #imm
                (0xffdf_ffe0, 0xd518_4280), // MRS, MSR
            ],
        ),
        pstate::UAO,
    ),
    with_pstate(
        feature(
            "FEAT_PAN",
            fields::MMFR1_PAN,
            1,
            &[
                (0xffff_f0ff, 0xd500_409f), // MSR PAN, #imm
                (0xffdf_ffe0, 0xd518_4260), // MRS, MSR
            ],
        ),
        pstate::PAN,
    ),
    feature(
        "FEAT_SSBS2",
        fields::PFR1_SSBS,
        2,
        &[
            (0xffff_f0ff, 0xd503_403f), // MSR SSBS, #imm
            (0xffdf_ffe0, 0xd51b_42c0), // MRS, MSR
        ],
    ),
    with_pstate(
        feature("FEAT_SSBS", fields::PFR1_SSBS, 1, &[]),
        pstate::SSBS,
    ),
    with_pstate(
        feature(
            "FEAT_DIT",
            fields::PFR0_DIT,
            1,
            &[
                (0xffff_f0ff, 0xd503_405f), // MSR DIT, #imm
                (0xffdf_ffe0, 0xd51b_42a0), // MRS, MSR
            ],
        ),
        pstate::DIT,
    ),
    // Its instructions are hints that mean nothing to a CPU without it.
    with_pstate(feature("FEAT_BTI", fields::PFR1_BT, 1, &[]), pstate::BTYPE),
    feature(
        "FEAT_FlagM",
        fields::ISAR0_TS,
        1,
        &[
            (0xffe0_7c10, 0xba00_0400), // RMIF
            (0xffff_bc1f, 0x3a00_080d), // SETF8, SETF16
            (0xffff_ffff, 0xd500_401f), // CFINV
        ],
    ),
    feature(
        "FEAT_FlagM2",
        fields::ISAR0_TS,
        2,
        &[
            (0xffff_ffff, 0xd500_403f), // XAFLAG
            (0xffff_ffff, 0xd500_405f), // AXFLAG
        ],
    ),
    feature(
        "FEAT_RNG",
        fields::ISAR0_RNDR,
        1,
        &[(0xffff_ffc0, 0xd53b_2400)],
    ),
    feature(
        "FEAT_SB",
        fields::ISAR1_SB,
        1,
        &[(0xffff_ffff, 0xd503_30ff)],
    ),
    feature(
        "FEAT_LRCPC2",
        fields::ISAR1_LRCPC,
        2,
        &[(0x3f20_0c00, 0x1900_0000)],
    ),
    feature(
        "FEAT_WFxT",
        fields::ISAR2_WFXT,
        2,
        &[(0xffff_ffc0, 0xd503_1000)],
    ),
    feature(
        "FEAT_MOPS",
        fields::ISAR2_MOPS,
        1,
        &[(0xfb20_0c00, 0x1900_0400)],
    ),
    feature(
        "FEAT_HBC",
        fields::ISAR2_BC,
        1,
        &[(0xff00_0010, 0x5400_0010)],
    ),
    feature(
        "FEAT_CSSC",
        fields::ISAR2_CSSC,
        1,
        &[
            (0x7fff_f800, 0x5ac0_1800), // CTZ, CNT
            (0x7fff_fc00, 0x5ac0_2000), // ABS
            (0x7fe0_f000, 0x1ac0_6000), // SMAX and the like
            (0x7ff0_0000, 0x11c0_0000), // with an immediate
        ],
    ),
    feature(
        "FEAT_ECV",
        fields::MMFR0_ECV,
        1,
        &[
            (0xffff_ffe0, 0xd53b_e0a0), // MRS CNTPCTSS_EL0
            (0xffff_ffe0, 0xd53b_e0c0), // MRS CNTVCTSS_EL0
        ],
    ),
    with_variant(
        feature(
            "FEAT_PAuth",
            fields::ISAR1_APA,
            1,
            &[
                (0xffff_0000, 0xdac1_0000), // PACIA to XPACD
                (0xfe1f_f800, 0xd61f_0800), // BRAA to ERETAB
                (0xff20_0400, 0xf820_0400), // LDRAA, LDRAB
                (0xffff_ffff, 0xd503_20ff), // XPACLRI
                (0xffff_ff3f, 0xd503_211f), // PACIA1716 to AUTIB1716
                (0xffff_ff1f, 0xd503_231f), // PACIAZ to AUTIBSP
                (0xffdf_ff80, 0xd518_2100), // APIAKeyLo_EL1 to APIBKeyHi_EL1
                (0xffdf_ff80, 0xd518_2200), // APDAKeyLo_EL1 to APDBKeyHi_EL1
            ],
        ),
        fields::ISAR1_API,
    ),
    with_variant(
        feature(
            "FEAT_PAuth, generic",
            fields::ISAR1_GPA,
            1,
            &[
                (0xffe0_fc00, 0x9ac0_3000), // PACGA
                (0xffdf_ffc0, 0xd518_2300), // APGAKeyLo_EL1, APGAKeyHi_EL1
            ],
        ),
        fields::ISAR1_GPI,
    ),
    feature(
        "FEAT_TLBIOS",
        fields::ISAR0_TLB,
        1,
        &[(0xffff_ff00, 0xd508_8100)],
    ),
    feature(
        "FEAT_TLBIRANGE",
        fields::ISAR0_TLB,
        2,
        &[
            (0xffff_ff00, 0xd508_8200),
            (0xffff_ff00, 0xd508_8500), // to the Outer Shareable domain
            (0xffff_ff00, 0xd508_8600),
        ],
    ),
];

impl Feature {
    fn has(&self, word: u32) -> bool {
        let one = |(mask, value): &(u32, u32)| word & mask == *value;
        word & FCVT_FROM_HALF.0 != FCVT_FROM_HALF.1 && self.encodings.iter().any(one)
    }

    /// Whether a CPU whose fields have these values has the feature.
    fn offered(&self, value: impl Fn(&Field) -> u64) -> bool {
        let says = |field: &Field| field.number(value(field)) >= self.least;
        says(&self.field) || self.or.as_ref().is_some_and(says)
    }
}

/// The features that a vCPU has not. Bit `n` is feature `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Hidden {
    /// Their instructions are UNDEFINED.
    undefined: u64,
    /// Their instructions run, and are counted.
    reported: u64,
}

/// What is hidden by number, for all vCPUs of this process; 0 stands for nothing. They are few: two
/// for each way to lower a model, and decoding alone asks.
static HIDDEN: RwLock<Vec<Hidden>> = RwLock::new(Vec::new());

impl Hidden {
    fn number(self) -> u32 {
        if self == Hidden::default() {
            return 0;
        }
        let mut all = HIDDEN.write().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|known| *known == self);
        let index = known.unwrap_or_else(|| {
            all.push(self);
            all.len() - 1
        });
        index as u32 + 1
    }

    fn of(mode: u32) -> Hidden {
        let all = HIDDEN.read().unwrap_or_else(PoisonError::into_inner);
        let index = (mode >> mode::HIDDEN).checked_sub(1);
        let found = index.and_then(|index| all.get(index as usize));
        found.copied().unwrap_or_default()
    }
}

/// The features in a set, one bit each.
fn in_set(set: u64) -> impl Iterator<Item = &'static Feature> {
    let all = FEATURES.iter().enumerate();
    all.filter(move |(n, _)| set >> n & 1 != 0)
        .map(|(_, feature)| feature)
}

/// The bits of a block's mode that say what a vCPU with these ID registers has not: what its host
/// model has not, and what is hidden, if that is to be noticed.
pub fn hidden(id: &IdRegisters, fidelity: Fidelity) -> u32 {
    let mut all = Hidden::default();
    for (n, feature) in FEATURES.iter().enumerate() {
        let absent = !feature.offered(|field| attainable(id.model(), field));
        let hidden = !feature.offered(|field| id.field(field));
        match fidelity {
            _ if absent => all.undefined |= 1 << n,
            Fidelity::Strict if hidden => all.undefined |= 1 << n,
            Fidelity::Report if hidden => all.reported |= 1 << n,
            _ => {}
        }
    }
    all.number() << mode::HIDDEN
}

/// Whether a vCPU with these ID registers has what the field tells of from `least` on: a control in
/// a register, say, that no instruction stands for.
pub fn offers(id: &IdRegisters, fidelity: Fidelity, field: &Field, least: i64) -> bool {
    let has = |value| field.number(value) >= least;
    let hidden = fidelity == Fidelity::Strict && !has(id.field(field));
    has(attainable(id.model(), field)) && !hidden
}

/// The bits of PSTATE that do not exist in a mode.
pub fn hidden_pstate(mode: u32) -> u64 {
    in_set(Hidden::of(mode).undefined).fold(0, |bits, feature| bits | feature.pstate)
}

/// Decodes a word in a mode that hides features; `decoded` is what it is without that.
pub(super) fn decode(mode: u32, word: u32, decoded: Decoded) -> Decoded {
    let hidden = Hidden::of(mode);
    let one_of = |set| in_set(set).any(|feature| feature.has(word));
    if one_of(hidden.undefined) {
        return match word & HINTS.0 == HINTS.1 {
            true => (no_operation(), 0),
            false => (def!(Arm64, "UDF", udf, ends), 0),
        };
    }
    match (one_of(hidden.reported), decoded.0.ends_block) {
        (false, _) => decoded,
        (true, false) => (def!(Arm64, "reported", reported), decoded.1),
        (true, true) => (def!(Arm64, "reported", reported, ends), decoded.1),
    }
}

static USED: Helper<Arm64> = Helper {
    name: "hidden feature used",
    call: |cpu: &mut Cpu, [word, ..]| {
        if let Some(uses) = cpu.state.machine.uses.get() {
            uses.count(word as u32, cpu.pc);
        }
        Ok(0)
    },
    effects: Effects::PURE,
};

fn reported<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let word = e.imm(o.word as u64);
    e.call(&USED, &[word])?;
    match decode_group(e.mode(), o.word) {
        Some((def, _)) => e.instruction(def, o),
        None => udf(e, o),
    }
}

/// How often instructions were used whose feature the VM hides ([`Fidelity::Report`]).
#[derive(Debug, Default)]
pub struct Uses(Mutex<BTreeMap<(u64, u32), u64>>);

/// One instruction of a hidden feature.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    /// Its address.
    pub pc: u64,
    /// Its word.
    pub word: u32,
    /// How often it was begun.
    pub count: u64,
}

impl Use {
    /// The features that it belongs to.
    pub fn features(&self) -> impl Iterator<Item = &'static Feature> {
        FEATURES.iter().filter(|feature| feature.has(self.word))
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = super::decode(mode::EL1, self.word).def.name;
        write!(f, "{name} ({:#010x}) at {:#x}", self.word, self.pc)?;
        for feature in self.features() {
            write!(f, ", {} ({})", feature.name, feature.field.name)?;
        }
        write!(f, ": {} times", self.count)
    }
}

impl Uses {
    fn count(&self, word: u32, pc: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry((pc, word)).or_default() += 1;
    }

    /// All, by address.
    pub fn all(&self) -> Vec<Use> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let uses = all.iter().map(|((pc, word), count)| Use {
            pc: *pc,
            word: *word,
            count: *count,
        });
        uses.collect()
    }
}

#[cfg(test)]
mod tests;
