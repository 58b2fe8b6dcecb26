//! Instructions that belong to a feature which this processor does not have, and so are what they are
//! on processors without it: undefined, or no operation.

use super::{machine, system};
use crate::X86;
use iced_x86::{CpuidFeature, Instruction, Mnemonic};
use understudy_engine::arch::Def;
use understudy_engine::def;

/// Whether the feature is one that is nowhere advertised, neither by AMD's processors up to AVX2 nor by
/// KVM for them.
pub fn is_absent(feature: CpuidFeature) -> bool {
    use CpuidFeature as F;
    matches!(
        feature,
        // Virtualization, and what isolates guests and enclaves: there is no nesting.
        F::SVM
            | F::SKINIT_or_SVM
            | F::SEV_ES
            | F::SEV_SNP
            | F::RMPQUERY
            | F::INVLPGB
            | F::VMX
            | F::INVEPT
            | F::INVVPID
            | F::TDX
            | F::SMX
            | F::SGX1
            | F::OSS
            | F::PCONFIG
            | F::TSE
            | F::KL
            | F::AESKLE
            | F::WIDE_KL
            // System-management mode is never entered.
            | F::SMM
            // Transactions.
            | F::RTM
            | F::HLE_or_RTM
            | F::TSXLDTRK
            // What later processors have for systems.
            | F::CLZERO
            | F::MONITORX
            | F::MCOMMIT
            | F::RDPRU
            | F::WAITPKG
            | F::ENQCMD
            | F::MOVDIRI
            | F::MOVDIR64B
            | F::PTWRITE
            | F::SERIALIZE
            | F::HRESET
            | F::UINTR
            | F::FRED
            | F::LKGS
            | F::MSRLIST
            | F::WRMSRNS
            | F::CMPCCXADD
            | F::RAO_INT
            | F::CET_SS
            | F::MPX
            | F::LWP
            | F::TBM
            | F::XOP
            | F::FMA4
            | F::D3NOW
            | F::D3NOWEXT
            // Vectors beyond AVX2.
            | F::AVX512F
            | F::AVX512BW
            | F::AVX512CD
            | F::AVX512DQ
            | F::AVX512ER
            | F::AVX512PF
            | F::AVX512VL
            | F::AVX512_BF16
            | F::AVX512_BITALG
            | F::AVX512_FP16
            | F::AVX512_IFMA
            | F::AVX512_VBMI
            | F::AVX512_VBMI2
            | F::AVX512_VNNI
            | F::AVX512_VP2INTERSECT
            | F::AVX512_VPOPCNTDQ
            | F::AVX_IFMA
            | F::AVX_NE_CONVERT
            | F::AVX_VNNI
            | F::AVX_VNNI_INT8
            | F::AVX_VNNI_INT16
            | F::AMX_TILE
            | F::AMX_INT8
            | F::AMX_BF16
            | F::AMX_FP16
            | F::AMX_COMPLEX
            | F::GFNI
            | F::SHA512
            | F::SM3
            | F::SM4
            | F::SSE4A
            // Other vendors'.
            | F::PADLOCK_ACE
            | F::PADLOCK_GMI
            | F::PADLOCK_PHE
            | F::PADLOCK_PMM
            | F::PADLOCK_RNG
            | F::PADLOCK_UNDOC
    )
}

/// What an instruction of an absent feature is; none if it is of no such feature.
pub(super) fn refused(insn: &Instruction) -> Option<&'static Def<X86>> {
    use Mnemonic as M;
    Some(match insn.mnemonic() {
        // Encoded where processors without them do nothing.
        M::Rdsspd
        | M::Rdsspq
        | M::Reservednop
        | M::Prefetchit0
        | M::Prefetchit1
        | M::Bndcl
        | M::Bndcn
        | M::Bndcu
        | M::Bndldx
        | M::Bndmk
        | M::Bndmov
        | M::Bndstx => def!(X86, "NOP", system::nop),
        // Outside an encrypted guest it is VMMCALL.
        M::Vmgexit => def!(X86, "VMMCALL", machine::vmmcall, ends),
        _ if insn.cpuid_features().iter().any(|f| is_absent(*f)) => {
            def!(X86, "(undefined)", system::undefined, ends)
        }
        _ => return None,
    })
}
