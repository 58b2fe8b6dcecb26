//! THE table of ID register fields: one row a field.
//!
//! ```text
//!   IDENTIFIER = register field  high:low  signedness  policy  at most  [opt-in] [, check]
//! ```
//!
//! - *Policy*: what KVM lets user space do with the field, see [`Policy`].
//! - *At most*: the highest value that the software CPU can honour. A host model that says more is
//!   lowered to it, and so never promises what is not there.
//! - *Opt-in*: what a VM has to ask for; without it the field is 0.
//! - *Check*: what the proposal `arm64-id-reg-configurable` checks of the field ([`Check`]); without
//!   one in the row, `LowerSafe`.
//!
//! Bits of a register that are in no row are 0 and stay so. Limits, initial values, writable masks,
//! the checks of KVM_SET_ONE_REG and the traps all follow from these rows and a model's values.

use crate::sysregs::encoding::Encoding;
use bitflags::bitflags;

/// What KVM (Linux 6.12) lets user space do with a field (requirements 4.2 and 4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// It has the limit's value, and no other.
    Locked,
    /// Any value up to the limit.
    Lower,
    /// Any value from the limit up.
    Higher,
    /// The limit, or this value.
    Exact(u64),
    /// KVM hides it: the limit is 0.
    Hidden,
    /// KVM says that it is writable and does not know it: the limit is 0 (IDR-30).
    Unknown,
}

impl Policy {
    /// Whether KVM_ARM_GET_REG_WRITABLE_MASKS has the field.
    pub const fn advertised(self) -> bool {
        !matches!(self, Policy::Locked | Policy::Hidden)
    }

    /// Whether the field can really have another value than its limit, if that allows for one.
    pub const fn effective(self) -> bool {
        self.advertised() && !matches!(self, Policy::Unknown)
    }
}

/// How the proposal `arm64-id-reg-configurable` compares a field with its limit (requirements 4.2).
/// The limit itself always passes (IDR-16).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Check {
    /// Up to the limit.
    #[default]
    LowerSafe,
    /// From the limit up.
    HigherSafe,
    /// 0, or from the limit up.
    HigherOrZeroSafe,
    /// Only the limit.
    Exact,
    /// 0 or the limit.
    ExactOrZeroSafe,
    /// Anything; the register's own rule or the first run looks at it.
    Ignore,
}

impl Check {
    /// Whether a field whose limit is `limit` can be `value`, both as [`Field::number`] has them.
    pub const fn allows(self, value: i64, limit: i64) -> bool {
        value == limit
            || match self {
                Check::LowerSafe => value < limit,
                Check::HigherSafe => value > limit,
                Check::HigherOrZeroSafe => value == 0 || value > limit,
                Check::Exact => false,
                Check::ExactOrZeroSafe => value == 0,
                Check::Ignore => true,
            }
    }
}

bitflags! {
    /// What a VM asks for before it has the fields that say so (requirements 4.3).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OptIns: u8 {
        /// KVM_ARM_VCPU_PMU_V3.
        const PMU = 1 << 0;
        /// KVM_ARM_VCPU_SVE.
        const SVE = 1 << 1;
        /// KVM_ARM_VCPU_PTRAUTH_ADDRESS and KVM_ARM_VCPU_PTRAUTH_GENERIC.
        const PTRAUTH = 1 << 2;
        /// KVM_CAP_ARM_MTE.
        const MTE = 1 << 3;
    }
}

/// A field of an ID register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// The register.
    pub register: Encoding,
    /// The field's name in the manual.
    pub name: &'static str,
    /// Its lowest bit.
    pub low: u32,
    /// Its width in bits, 1 to 4.
    pub width: u32,
    /// Whether all ones mean less than 0 (IDR-16).
    pub signed: bool,
    /// What user space may do with it.
    pub policy: Policy,
    /// What the software CPU can do at most.
    pub at_most: u64,
    /// What it takes to have it.
    pub opt_in: OptIns,
    /// What the proposal `arm64-id-reg-configurable` checks.
    pub check: Check,
}

impl Field {
    /// The field's bits in its register.
    pub const fn mask(&self) -> u64 {
        ((1 << self.width) - 1) << self.low
    }

    /// The field's value in a value of its register.
    pub const fn get(&self, register: u64) -> u64 {
        (register & self.mask()) >> self.low
    }

    /// The register's value with the field's replaced.
    pub const fn set(&self, register: u64, value: u64) -> u64 {
        register & !self.mask() | value << self.low & self.mask()
    }

    /// A field's value as a number that compares as the field's do.
    pub const fn number(&self, value: u64) -> i64 {
        let value = value as i64;
        if self.signed {
            value << (64 - self.width) >> (64 - self.width)
        } else {
            value
        }
    }
}

macro_rules! signedness {
    (U) => {
        false
    };
    (S) => {
        true
    };
}

macro_rules! opt_in {
    () => {
        OptIns::empty()
    };
    ($opt_in:ident) => {
        OptIns::$opt_in
    };
}

macro_rules! check {
    () => {
        Check::LowerSafe
    };
    ($check:ident) => {
        Check::$check
    };
}

macro_rules! fields {
    ($($id:ident = $register:ident $name:ident $high:literal:$low:literal $sign:ident
       $policy:ident$(($safe:literal))? $at_most:literal $($opt_in:ident)? $(, $check:ident)?;)*) => {
        $(
            #[doc = concat!(stringify!($register), "_EL1.", stringify!($name))]
            pub const $id: Field = Field {
                register: registers::$register,
                name: stringify!($name),
                low: $low,
                width: $high - $low + 1,
                signed: signedness!($sign),
                policy: Policy::$policy$(($safe))?,
                at_most: $at_most,
                opt_in: opt_in!($($opt_in)?),
                check: check!($($check)?),
            };
        )*
        /// All rows.
        pub const FIELDS: &[Field] = &[$($id),*];
    };
}

/// Where the ID registers with fields are.
#[allow(missing_docs)]
pub mod registers {
    use super::Encoding;
    const fn id(crm: u16, op2: u16) -> Encoding {
        Encoding::new(3, 0, 0, crm, op2)
    }
    pub const ID_DFR0: Encoding = id(1, 2);
    pub const ID_MMFR0: Encoding = id(1, 4);
    pub const MVFR1: Encoding = id(3, 1);
    pub const ID_AA64PFR0: Encoding = id(4, 0);
    pub const ID_AA64PFR1: Encoding = id(4, 1);
    pub const ID_AA64PFR2: Encoding = id(4, 2);
    pub const ID_AA64ZFR0: Encoding = id(4, 4);
    pub const ID_AA64FPFR0: Encoding = id(4, 7);
    pub const ID_AA64DFR0: Encoding = id(5, 0);
    pub const ID_AA64DFR1: Encoding = id(5, 1);
    pub const ID_AA64ISAR0: Encoding = id(6, 0);
    pub const ID_AA64ISAR1: Encoding = id(6, 1);
    pub const ID_AA64ISAR2: Encoding = id(6, 2);
    pub const ID_AA64MMFR0: Encoding = id(7, 0);
    pub const ID_AA64MMFR1: Encoding = id(7, 1);
    pub const ID_AA64MMFR2: Encoding = id(7, 2);
    pub const ID_AA64MMFR3: Encoding = id(7, 3);
    pub const CTR: Encoding = Encoding::new(3, 3, 0, 0, 1);
}

#[rustfmt::skip]
fields! {
    PFR0_CSV3      = ID_AA64PFR0 CSV3        63:60 U Lower   1;
    PFR0_CSV2      = ID_AA64PFR0 CSV2        59:56 U Lower   1;
    PFR0_RME       = ID_AA64PFR0 RME         55:52 U Unknown 0;
    PFR0_DIT       = ID_AA64PFR0 DIT         51:48 U Lower   1;
    PFR0_AMU       = ID_AA64PFR0 AMU         47:44 U Hidden  0;
    PFR0_MPAM      = ID_AA64PFR0 MPAM        43:40 U Hidden  0;
    PFR0_SEL2      = ID_AA64PFR0 SEL2        39:36 U Lower   0;
    PFR0_SVE       = ID_AA64PFR0 SVE         35:32 U Locked  0 SVE;
    PFR0_RAS       = ID_AA64PFR0 RAS         31:28 U Locked  1;
    PFR0_GIC       = ID_AA64PFR0 GIC         27:24 U Lower   1;
    PFR0_ADVSIMD   = ID_AA64PFR0 AdvSIMD     23:20 S Locked  1;
    PFR0_FP        = ID_AA64PFR0 FP          19:16 S Locked  1;
    PFR0_EL3       = ID_AA64PFR0 EL3         15:12 U Lower   1;
    PFR0_EL2       = ID_AA64PFR0 EL2         11:8  U Lower   1;
    PFR0_EL1       = ID_AA64PFR0 EL1          7:4  U Lower   1;
    PFR0_EL0       = ID_AA64PFR0 EL0          3:0  U Lower   1;

    PFR1_CSV2_FRAC = ID_AA64PFR1 CSV2_frac   35:32 U Unknown 0, Ignore;
    PFR1_MPAM_FRAC = ID_AA64PFR1 MPAM_frac   19:16 U Hidden  0, Ignore;
    PFR1_RAS_FRAC  = ID_AA64PFR1 RAS_frac    15:12 U Locked  0, Ignore;
    PFR1_MTE       = ID_AA64PFR1 MTE         11:8  U Locked  0 MTE;
    PFR1_SSBS      = ID_AA64PFR1 SSBS         7:4  U Lower   2;
    PFR1_BT        = ID_AA64PFR1 BT           3:0  U Lower   1;

    PFR2_FPMR      = ID_AA64PFR2 FPMR        35:32 U Lower   0;

    ZFR0_F64MM     = ID_AA64ZFR0 F64MM       59:56 U Lower   0 SVE;
    ZFR0_F32MM     = ID_AA64ZFR0 F32MM       55:52 U Lower   0 SVE;
    ZFR0_I8MM      = ID_AA64ZFR0 I8MM        47:44 U Lower   0 SVE;
    ZFR0_SM4       = ID_AA64ZFR0 SM4         43:40 U Lower   0 SVE;
    ZFR0_SHA3      = ID_AA64ZFR0 SHA3        35:32 U Lower   0 SVE;
    ZFR0_B16B16    = ID_AA64ZFR0 B16B16      27:24 U Lower   0 SVE;
    ZFR0_BF16      = ID_AA64ZFR0 BF16        23:20 U Lower   0 SVE;
    ZFR0_BITPERM   = ID_AA64ZFR0 BitPerm     19:16 U Lower   0 SVE;
    ZFR0_AES       = ID_AA64ZFR0 AES          7:4  U Lower   0 SVE;
    ZFR0_SVEVER    = ID_AA64ZFR0 SVEver       3:0  U Lower   0 SVE;

    FPFR0_F8CVT    = ID_AA64FPFR0 F8CVT      31:31 U Exact(0) 0;
    FPFR0_F8FMA    = ID_AA64FPFR0 F8FMA      30:30 U Exact(0) 0;
    FPFR0_F8DP4    = ID_AA64FPFR0 F8DP4      29:29 U Exact(0) 0;
    FPFR0_F8DP2    = ID_AA64FPFR0 F8DP2      28:28 U Exact(0) 0;
    FPFR0_F8E4M3   = ID_AA64FPFR0 F8E4M3      1:1  U Exact(0) 0;
    FPFR0_F8E5M2   = ID_AA64FPFR0 F8E5M2      0:0  U Exact(0) 0;

    DFR0_DOUBLELOCK = ID_AA64DFR0 DoubleLock 39:36 S Lower   0;
    DFR0_PMSVER    = ID_AA64DFR0 PMSVer      35:32 U Hidden  0;
    DFR0_CTX_CMPS  = ID_AA64DFR0 CTX_CMPs    31:28 U Locked  15;
    DFR0_WRPS      = ID_AA64DFR0 WRPs        23:20 U Lower   15;
    DFR0_BRPS      = ID_AA64DFR0 BRPs        15:12 U Locked  15;
    DFR0_PMUVER    = ID_AA64DFR0 PMUVer      11:8  U Lower   0 PMU;
    DFR0_TRACEVER  = ID_AA64DFR0 TraceVer     7:4  U Locked  0;
    DFR0_DEBUGVER  = ID_AA64DFR0 DebugVer     3:0  U Lower   8;

    ISAR0_RNDR     = ID_AA64ISAR0 RNDR       63:60 U Lower   1;
    ISAR0_TLB      = ID_AA64ISAR0 TLB        59:56 U Lower   2;
    ISAR0_TS       = ID_AA64ISAR0 TS         55:52 U Lower   2;
    ISAR0_FHM      = ID_AA64ISAR0 FHM        51:48 U Lower   1;
    ISAR0_DP       = ID_AA64ISAR0 DP         47:44 U Lower   1;
    ISAR0_SM4      = ID_AA64ISAR0 SM4        43:40 U Lower   1;
    ISAR0_SM3      = ID_AA64ISAR0 SM3        39:36 U Lower   1;
    ISAR0_SHA3     = ID_AA64ISAR0 SHA3       35:32 U Lower   1;
    ISAR0_RDM      = ID_AA64ISAR0 RDM        31:28 U Lower   1;
    ISAR0_TME      = ID_AA64ISAR0 TME        27:24 U Unknown 0;
    ISAR0_ATOMIC   = ID_AA64ISAR0 Atomic     23:20 U Lower   2;
    ISAR0_CRC32    = ID_AA64ISAR0 CRC32      19:16 U Lower   1;
    ISAR0_SHA2     = ID_AA64ISAR0 SHA2       15:12 U Lower   2;
    ISAR0_SHA1     = ID_AA64ISAR0 SHA1       11:8  U Lower   1;
    ISAR0_AES      = ID_AA64ISAR0 AES         7:4  U Lower   2;

    ISAR1_LS64     = ID_AA64ISAR1 LS64       63:60 U Unknown 0;
    ISAR1_XS       = ID_AA64ISAR1 XS         59:56 U Lower   0;
    ISAR1_I8MM     = ID_AA64ISAR1 I8MM       55:52 U Lower   1;
    ISAR1_DGH      = ID_AA64ISAR1 DGH        51:48 U Lower   1;
    ISAR1_BF16     = ID_AA64ISAR1 BF16       47:44 U Lower   1;
    ISAR1_SPECRES  = ID_AA64ISAR1 SPECRES    43:40 U Lower   0;
    ISAR1_SB       = ID_AA64ISAR1 SB         39:36 U Lower   1;
    ISAR1_FRINTTS  = ID_AA64ISAR1 FRINTTS    35:32 U Lower   1;
    ISAR1_GPI      = ID_AA64ISAR1 GPI        31:28 U Locked  1 PTRAUTH;
    ISAR1_GPA      = ID_AA64ISAR1 GPA        27:24 U Locked  1 PTRAUTH;
    ISAR1_LRCPC    = ID_AA64ISAR1 LRCPC      23:20 U Lower   2;
    ISAR1_FCMA     = ID_AA64ISAR1 FCMA       19:16 U Lower   1;
    ISAR1_JSCVT    = ID_AA64ISAR1 JSCVT      15:12 U Lower   1;
    ISAR1_API      = ID_AA64ISAR1 API        11:8  U Locked  1 PTRAUTH, ExactOrZeroSafe;
    ISAR1_APA      = ID_AA64ISAR1 APA         7:4  U Locked  1 PTRAUTH, ExactOrZeroSafe;
    ISAR1_DPB      = ID_AA64ISAR1 DPB         3:0  U Lower   2;

    ISAR2_ATS1A    = ID_AA64ISAR2 ATS1A      63:60 U Unknown 0;
    ISAR2_LUT      = ID_AA64ISAR2 LUT        59:56 U Lower   0;
    ISAR2_CSSC     = ID_AA64ISAR2 CSSC       55:52 U Lower   1;
    ISAR2_RPRFM    = ID_AA64ISAR2 RPRFM      51:48 U Lower   0;
    ISAR2_PRFMSLC  = ID_AA64ISAR2 PRFMSLC    43:40 U Unknown 0;
    ISAR2_SYSINSTR = ID_AA64ISAR2 SYSINSTR_128 39:36 U Unknown 0;
    ISAR2_SYSREG   = ID_AA64ISAR2 SYSREG_128 35:32 U Unknown 0;
    ISAR2_CLRBHB   = ID_AA64ISAR2 CLRBHB     31:28 U Lower   0;
    ISAR2_PAC_FRAC = ID_AA64ISAR2 PAC_frac   27:24 U Unknown 0;
    ISAR2_BC       = ID_AA64ISAR2 BC         23:20 U Lower   1;
    ISAR2_MOPS     = ID_AA64ISAR2 MOPS       19:16 U Lower   1;
    ISAR2_APA3     = ID_AA64ISAR2 APA3       15:12 U Locked  0 PTRAUTH;
    ISAR2_GPA3     = ID_AA64ISAR2 GPA3       11:8  U Locked  0 PTRAUTH;
    ISAR2_RPRES    = ID_AA64ISAR2 RPRES       7:4  U Lower   0;
    ISAR2_WFXT     = ID_AA64ISAR2 WFxT        3:0  U Lower   2;

    MMFR0_ECV      = ID_AA64MMFR0 ECV        63:60 U Lower   1;
    MMFR0_FGT      = ID_AA64MMFR0 FGT        59:56 U Lower   0;
    MMFR0_EXS      = ID_AA64MMFR0 ExS        47:44 U Lower   0;
    MMFR0_TGRAN4_2 = ID_AA64MMFR0 TGran4_2   43:40 U Locked  0, Ignore;
    MMFR0_TGRAN64_2 = ID_AA64MMFR0 TGran64_2 39:36 U Locked  0, Ignore;
    MMFR0_TGRAN16_2 = ID_AA64MMFR0 TGran16_2 35:32 U Locked  0, Ignore;
    MMFR0_TGRAN4   = ID_AA64MMFR0 TGran4     31:28 S Lower   0;
    MMFR0_TGRAN64  = ID_AA64MMFR0 TGran64    27:24 S Lower   0;
    MMFR0_TGRAN16  = ID_AA64MMFR0 TGran16    23:20 U Lower   1;
    MMFR0_BIGENDEL0 = ID_AA64MMFR0 BigEndEL0 19:16 U Lower   1;
    MMFR0_SNSMEM   = ID_AA64MMFR0 SNSMem     15:12 U Lower   1;
    MMFR0_BIGEND   = ID_AA64MMFR0 BigEnd     11:8  U Lower   1;
    MMFR0_ASIDBITS = ID_AA64MMFR0 ASIDBits    7:4  U Locked  2;
    MMFR0_PARANGE  = ID_AA64MMFR0 PARange     3:0  U Lower   5;

    MMFR1_ECBHB    = ID_AA64MMFR1 ECBHB      63:60 U Lower   0;
    MMFR1_CMOW     = ID_AA64MMFR1 CMOW       59:56 U Unknown 0;
    MMFR1_TIDCP1   = ID_AA64MMFR1 TIDCP1     55:52 U Lower   0;
    MMFR1_NTLBPA   = ID_AA64MMFR1 nTLBPA     51:48 U Unknown 0;
    MMFR1_AFP      = ID_AA64MMFR1 AFP        47:44 U Lower   0;
    MMFR1_HCX      = ID_AA64MMFR1 HCX        43:40 U Locked  0;
    MMFR1_ETS      = ID_AA64MMFR1 ETS        39:36 U Lower   1;
    MMFR1_TWED     = ID_AA64MMFR1 TWED       35:32 U Locked  0;
    MMFR1_XNX      = ID_AA64MMFR1 XNX        31:28 U Locked  1;
    MMFR1_SPECSEI  = ID_AA64MMFR1 SpecSEI    27:24 U Higher  1;
    MMFR1_PAN      = ID_AA64MMFR1 PAN        23:20 U Lower   3;
    MMFR1_LO       = ID_AA64MMFR1 LO         19:16 U Lower   1;
    MMFR1_HPDS     = ID_AA64MMFR1 HPDS       15:12 U Lower   2;
    MMFR1_VH       = ID_AA64MMFR1 VH         11:8  U Locked  1;
    MMFR1_VMIDBITS = ID_AA64MMFR1 VMIDBits    7:4  U Locked  2;
    MMFR1_HAFDBS   = ID_AA64MMFR1 HAFDBS      3:0  U Lower   2;

    MMFR2_E0PD     = ID_AA64MMFR2 E0PD       63:60 U Lower   1;
    MMFR2_EVT      = ID_AA64MMFR2 EVT        59:56 U Locked  0;
    MMFR2_BBM      = ID_AA64MMFR2 BBM        55:52 U Lower   2;
    MMFR2_TTL      = ID_AA64MMFR2 TTL        51:48 U Lower   1;
    MMFR2_FWB      = ID_AA64MMFR2 FWB        43:40 U Locked  0;
    MMFR2_IDS      = ID_AA64MMFR2 IDS        39:36 U Locked  0;
    MMFR2_AT       = ID_AA64MMFR2 AT         35:32 U Lower   0;
    MMFR2_ST       = ID_AA64MMFR2 ST         31:28 U Lower   1;
    MMFR2_NV       = ID_AA64MMFR2 NV         27:24 U Locked  0;
    MMFR2_CCIDX    = ID_AA64MMFR2 CCIDX      23:20 U Hidden  0;
    MMFR2_VARANGE  = ID_AA64MMFR2 VARange    19:16 U Lower   0;
    MMFR2_IESB     = ID_AA64MMFR2 IESB       15:12 U Lower   1;
    MMFR2_LSM      = ID_AA64MMFR2 LSM        11:8  U Lower   0;
    MMFR2_UAO      = ID_AA64MMFR2 UAO         7:4  U Lower   1;
    MMFR2_CNP      = ID_AA64MMFR2 CnP         3:0  U Lower   1;

    MMFR3_S1POE    = ID_AA64MMFR3 S1POE      19:16 U Lower   0;
    MMFR3_S1PIE    = ID_AA64MMFR3 S1PIE      11:8  U Lower   0;
    MMFR3_TCRX     = ID_AA64MMFR3 TCRX        3:0  U Lower   0;

    CTR_DIC        = CTR DIC                 29:29 U Lower   0;
    CTR_IDC        = CTR IDC                 28:28 U Lower   1;
    CTR_CWG        = CTR CWG                 27:24 U Locked  9;
    CTR_ERG        = CTR ERG                 23:20 U Locked  9;
    CTR_DMINLINE   = CTR DminLine            19:16 U Lower   9;
    CTR_L1IP       = CTR L1Ip                15:14 U Locked  3;
    CTR_IMINLINE   = CTR IminLine             3:0  U Lower   9;
}
