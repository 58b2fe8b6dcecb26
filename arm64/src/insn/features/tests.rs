//! The table of features against the decoder, and what hiding does.

use super::*;
use crate::insn;
use crate::machine::Proposals;
use crate::sysregs::id::fields::OptIns;
use crate::sysregs::models::{MAX, NEOVERSE_N1};

/// A word of each row, by its feature and the name that the decoder gives it.
const WORDS: &[(u32, &str)] = &[
    (0xf822_0024, "FEAT_LSE"),            // LDADD X2, X4, [X1]
    (0x7822_8025, "FEAT_LSE"),            // SWPH W2, W5, [X1]
    (0xc8a4_7c22, "FEAT_LSE"),            // CAS X4, X2, [X1]
    (0x4824_7c22, "FEAT_LSE"),            // CASP X4, X5, X2, X3, [X1]
    (0xb8bf_c020, "FEAT_LRCPC"),          // LDAPR W0, [X1]
    (0x9ac3_4c41, "FEAT_CRC32"),          // CRC32X W1, W2, X3
    (0x1ac3_5041, "FEAT_CRC32"),          // CRC32CB W1, W2, W3
    (0x4e82_9420, "FEAT_DotProd"),        // SDOT V0.4S, V1.16B, V2.16B
    (0x6f82_e020, "FEAT_DotProd"),        // UDOT V0.4S, V1.16B, V2.4B[0]
    (0x6e82_8420, "FEAT_RDM"),            // SQRDMLAH V0.4S, V1.4S, V2.4S
    (0x7e82_8c20, "FEAT_RDM"),            // SQRDMLSH S0, S1, S2
    (0x6f82_d020, "FEAT_RDM"),            // SQRDMLAH V0.4S, V1.4S, V2.S[0]
    (0x7f82_f020, "FEAT_RDM"),            // SQRDMLSH S0, S1, V2.S[0]
    (0x4e28_4820, "FEAT_AES"),            // AESE V0.16B, V1.16B
    (0x4e28_7820, "FEAT_AES"),            // AESIMC V0.16B, V1.16B
    (0x0ee2_e020, "FEAT_PMULL"),          // PMULL V0.1Q, V1.1D, V2.1D
    (0x5e02_0020, "FEAT_SHA1"),           // SHA1C Q0, S1, V2.4S
    (0x5e28_0820, "FEAT_SHA1"),           // SHA1H S0, S1
    (0x5e02_4020, "FEAT_SHA256"),         // SHA256H Q0, Q1, V2.4S
    (0x5e28_2820, "FEAT_SHA256"),         // SHA256SU0 V0.4S, V1.4S
    (0x1ee2_2820, "FEAT_FP16"),           // FADD H0, H1, H2
    (0x1fc2_0c20, "FEAT_FP16"),           // FMADD H0, H1, H2, H3
    (0x1ee2_0020, "FEAT_FP16"),           // SCVTF H0, W1
    (0x4e42_1420, "FEAT_FP16"),           // FADD V0.8H, V1.8H, V2.8H
    (0x4ef8_f820, "FEAT_FP16"),           // FABS V0.8H, V1.8H
    (0x4e30_c820, "FEAT_FP16"),           // FMAXNMV H0, V1.8H
    (0x4f02_1020, "FEAT_FP16"),           // FMLA V0.8H, V1.8H, V2.H[0]
    (0x4f00_fc00, "FEAT_FP16"),           // FMOV V0.8H, #2.0
    (0xd50b_7c21, "FEAT_DPB"),            // DC CVAP, X1
    (0xd50b_7d21, "FEAT_DPB2"),           // DC CVADP, X1
    (0xd500_417f, "FEAT_UAO"),            // MSR UAO, #1
    (0xd538_4281, "FEAT_UAO"),            // MRS X1, UAO
    (0xd500_419f, "FEAT_PAN"),            // MSR PAN, #1
    (0xd518_4261, "FEAT_PAN"),            // MSR PAN, X1
    (0xd503_413f, "FEAT_SSBS2"),          // MSR SSBS, #1
    (0xd53b_42c1, "FEAT_SSBS2"),          // MRS X1, SSBS
    (0xdac1_0020, "FEAT_PAuth"),          // PACIA X0, X1
    (0xdac1_47e0, "FEAT_PAuth"),          // XPACD X0
    (0xd71f_0801, "FEAT_PAuth"),          // BRAA X0, X1
    (0xd63f_0c1f, "FEAT_PAuth"),          // BLRABZ X0
    (0xd69f_0bff, "FEAT_PAuth"),          // ERETAA
    (0xf820_1420, "FEAT_PAuth"),          // LDRAA X0, [X1, #8]
    (0xf8a0_1c20, "FEAT_PAuth"),          // LDRAB X0, [X1, #8]!
    (0xd518_2101, "FEAT_PAuth"),          // MSR APIAKeyLo_EL1, X1
    (0xd538_2261, "FEAT_PAuth"),          // MRS X1, APDBKeyHi_EL1
    (0x9ac2_3020, "FEAT_PAuth, generic"), // PACGA X0, X1, X2
    (0xd518_2321, "FEAT_PAuth, generic"), // MSR APGAKeyHi_EL1, X1
    (0xd503_415f, "FEAT_DIT"),            // MSR DIT, #1
    (0xd53b_42a0, "FEAT_DIT"),            // MRS X0, DIT
    (0xba02_8423, "FEAT_FlagM"),          // RMIF X1, #5, #3
    (0x3a00_082d, "FEAT_FlagM"),          // SETF8 W1
    (0x3a00_482d, "FEAT_FlagM"),          // SETF16 W1
    (0xd500_401f, "FEAT_FlagM"),          // CFINV
    (0xd500_403f, "FEAT_FlagM2"),         // XAFLAG
    (0xd500_405f, "FEAT_FlagM2"),         // AXFLAG
    (0xd53b_2400, "FEAT_RNG"),            // MRS X0, RNDR
    (0xd53b_2421, "FEAT_RNG"),            // MRS X1, RNDRRS
    (0xd503_30ff, "FEAT_SB"),             // SB
    (0xd940_8020, "FEAT_LRCPC2"),         // LDAPUR X0, [X1, #8]
    (0x191f_8020, "FEAT_LRCPC2"),         // STLURB W0, [X1, #-8]
    (0x9980_8020, "FEAT_LRCPC2"),         // LDAPURSW X0, [X1, #8]
    (0xd503_1003, "FEAT_WFxT"),           // WFET X3
    (0xd503_1024, "FEAT_WFxT"),           // WFIT X4
    (0x1901_0440, "FEAT_MOPS"),           // CPYFP [X0]!, [X1]!, X2!
    (0x1d81_0440, "FEAT_MOPS"),           // CPYE [X0]!, [X1]!, X2!
    (0x19c2_4420, "FEAT_MOPS"),           // SETM [X0]!, X1!, X2
    (0x5400_0010, "FEAT_HBC"),            // BC.EQ .
    (0xdac0_1820, "FEAT_CSSC"),           // CTZ X0, X1
    (0x5ac0_1c20, "FEAT_CSSC"),           // CNT W0, W1
    (0xdac0_2020, "FEAT_CSSC"),           // ABS X0, X1
    (0x9ac2_6020, "FEAT_CSSC"),           // SMAX X0, X1, X2
    (0x1ac2_6c20, "FEAT_CSSC"),           // UMIN W0, W1, W2
    (0x91cf_fc20, "FEAT_CSSC"),           // UMIN X0, X1, #255
    (0xd53b_e0a0, "FEAT_ECV"),            // MRS X0, CNTPCTSS_EL0
    (0xd53b_e0c0, "FEAT_ECV"),            // MRS X0, CNTVCTSS_EL0
    (0xd508_8120, "FEAT_TLBIOS"),         // TLBI VAE1OS, X0
    (0xd508_85e0, "FEAT_TLBIRANGE"),      // TLBI RVAALE1OS, X0
    (0xd508_8220, "FEAT_TLBIRANGE"),      // TLBI RVAE1IS, X0
    (0xd508_8620, "FEAT_TLBIRANGE"),      // TLBI RVAE1, X0
    (0xce62_8420, "FEAT_SHA512"),         // SHA512H2 Q0, Q1, V2.2D
    (0xce62_8820, "FEAT_SHA512"),         // SHA512SU1 V0.2D, V1.2D, V2.2D
    (0xcec0_8020, "FEAT_SHA512"),         // SHA512SU0 V0.2D, V1.2D
    (0xce22_0c20, "FEAT_SHA3"),           // BCAX V0.16B, V1.16B, V2.16B, V3.16B
    (0xce62_8c20, "FEAT_SHA3"),           // RAX1 V0.2D, V1.2D, V2.2D
    (0xce82_fc20, "FEAT_SHA3"),           // XAR V0.2D, V1.2D, V2.2D, #63
    (0xce42_0c20, "FEAT_SM3"),            // SM3SS1 V0.4S, V1.4S, V2.4S, V3.4S
    (0xce42_bc20, "FEAT_SM3"),            // SM3TT2B V0.4S, V1.4S, V2.S[3]
    (0xce62_c420, "FEAT_SM3"),            // SM3PARTW2 V0.4S, V1.4S, V2.4S
    (0xcec0_8420, "FEAT_SM4"),            // SM4E V0.4S, V1.4S
    (0xce62_c820, "FEAT_SM4"),            // SM4EKEY V0.4S, V1.4S, V2.4S
    (0x1e68_c020, "FEAT_FRINTTS"),        // FRINT32X D0, D1
    (0x6e21_f820, "FEAT_FRINTTS"),        // FRINT64X V0.4S, V1.4S
    (0x1e7e_0020, "FEAT_JSCVT"),          // FJCVTZS W0, D1
    (0x6ec2_cc20, "FEAT_FCMA"),           // FCMLA V0.2D, V1.2D, V2.2D, #90
    (0x6e82_f420, "FEAT_FCMA"),           // FCADD V0.4S, V1.4S, V2.4S, #270
    (0x6f82_7820, "FEAT_FCMA"),           // FCMLA V0.4S, V1.4S, V2.S[1], #270
    (0x4ea2_ec20, "FEAT_FHM"),            // FMLSL V0.4S, V1.4H, V2.4H
    (0x2e22_cc20, "FEAT_FHM"),            // FMLAL2 V0.2S, V1.2H, V2.2H
    (0x4fb2_0820, "FEAT_FHM"),            // FMLAL V0.4S, V1.4H, V2.H[7]
    (0x6f82_c020, "FEAT_FHM"),            // FMLSL2 V0.4S, V1.4H, V2.H[0]
    (0x4e82_9c20, "FEAT_I8MM"),           // USDOT V0.4S, V1.16B, V2.16B
    (0x6e82_a420, "FEAT_I8MM"),           // UMMLA V0.4S, V1.16B, V2.16B
    (0x4e82_ac20, "FEAT_I8MM"),           // USMMLA V0.4S, V1.16B, V2.16B
    (0x4f22_f820, "FEAT_I8MM"),           // SUDOT V0.4S, V1.16B, V2.4B[3]
    (0x6e42_fc20, "FEAT_BF16"),           // BFDOT V0.4S, V1.8H, V2.8H
    (0x6ec2_fc20, "FEAT_BF16"),           // BFMLALT V0.4S, V1.8H, V2.8H
    (0x6e42_ec20, "FEAT_BF16"),           // BFMMLA V0.4S, V1.8H, V2.8H
    (0x4f62_f820, "FEAT_BF16"),           // BFDOT V0.4S, V1.8H, V2.2H[3]
    (0x0ff2_f820, "FEAT_BF16"),           // BFMLALB V0.4S, V1.8H, V2.H[7]
    (0x1e63_4020, "FEAT_BF16"),           // BFCVT H0, S1
    (0x4ea1_6820, "FEAT_BF16"),           // BFCVTN2 V0.8H, V1.4S
];

/// Words of two features: complex numbers of half precision take FEAT_FP16, too.
const HALF_COMPLEX: &[u32] = &[
    0x2e42_c420, // FCMLA V0.4H, V1.4H, V2.4H, #0
    0x6e42_f420, // FCADD V0.8H, V1.8H, V2.8H, #270
    0x2f62_1020, // FCMLA V0.4H, V1.4H, V2.H[1], #0
];

/// Words that look like those, and are of the base architecture.
const OTHERS: &[u32] = &[
    0xf940_0020, // LDR X0, [X1]
    0xc85f_7c20, // LDXR X0, [X1]
    0xc8df_fc20, // LDAR X0, [X1]
    0x9ac2_0c20, // SDIV X0, X1, X2
    0x1ee2_4020, // FCVT S0, H1
    0x1ee2_c020, // FCVT D0, H1
    0x1e23_c020, // FCVT H0, S1
    0x4e22_d420, // FADD V0.4S, V1.4S, V2.4S
    0x4e62_8420, // ADD V0.8H, V1.8H, V2.8H
    0x0e22_e020, // PMULL V0.8H, V1.8B, V2.8B
    0x4f00_f400, // FMOV V0.4S, #2.0
    0x4e30_a820, // SMAXV B0, V1.16B
    0x4f42_d020, // SQRDMULH V0.8H, V1.8H, V2.H[0]
    0xd50b_7a21, // DC CVAC, X1
    0xd503_201f, // NOP
    0xd503_20df, // DGH, which is a hint
    0xd503_3fdf, // ISB
    0x5400_0000, // B.EQ .
    0x9a02_0020, // ADC X0, X1, X2
    0xd503_241f, // BTI
    0xd61f_0020, // BR X1
    0xf862_6820, // LDR X0, [X1, X2]
    0xdac0_1420, // CLS X0, X1
    0xd508_871f, // TLBI VMALLE1
    0xd53b_e040, // MRS X0, CNTVCT_EL0
];

fn id(hide: &[(Field, u64)]) -> IdRegisters {
    let id = IdRegisters::new(&MAX, Proposals::ID_REG_CONFIGURABLE);
    id.initialise(OptIns::empty());
    for (field, value) in hide {
        let register = field.set(id.get(field.register), *value);
        assert_eq!(id.set(field.register, register), Ok(()));
    }
    id
}

#[test]
fn each_word_belongs_to_its_feature_alone() {
    for (word, name) in WORDS {
        let of: Vec<_> = FEATURES.iter().filter(|f| f.has(*word)).collect();
        let names: Vec<_> = of.iter().map(|feature| feature.name).collect();
        assert_eq!(names, [*name], "{word:#x}");
        assert_ne!(insn::decode(mode::EL1, *word).def.name, "UDF", "{word:#x}");
    }
    for word in HALF_COMPLEX {
        let of = FEATURES.iter().filter(|f| f.has(*word));
        let names: Vec<_> = of.map(|feature| feature.name).collect();
        assert_eq!(names, ["FEAT_FP16", "FEAT_FCMA"], "{word:#x}");
        assert_ne!(insn::decode(mode::EL1, *word).def.name, "UDF", "{word:#x}");
    }
    for word in OTHERS {
        assert!(FEATURES.iter().all(|f| !f.has(*word)), "{word:#x}");
        assert_ne!(insn::decode(mode::EL1, *word).def.name, "UDF", "{word:#x}");
    }
    for feature in FEATURES {
        let some = WORDS.iter().any(|(_, name)| *name == feature.name);
        assert_eq!(some, !feature.encodings.is_empty(), "{}", feature.name);
    }
}

/// TRAP-6: each feature, hidden by the lowest value of its field.
#[test]
fn strict_takes_away_what_is_hidden_and_nothing_else() {
    for (n, feature) in FEATURES.iter().enumerate() {
        let below = (feature.least - 1).max(0) as u64;
        let mut hide = vec![(feature.field, below)];
        match feature.name {
            "FEAT_FP16" => hide = vec![], // one register with Advanced SIMD: below
            "FEAT_SHA1" => hide.push((fields::ISAR0_SHA2, 0)),
            "FEAT_SHA256" => hide.push((fields::ISAR0_SHA1, 0)),
            _ => {}
        }
        if hide.is_empty() {
            continue;
        }
        let id = IdRegisters::new(&MAX, Proposals::empty());
        id.initialise(OptIns::empty());
        for (field, value) in &hide {
            let register = field.set(id.get(field.register), *value);
            assert_eq!(id.set(field.register, register), Ok(()), "{}", feature.name);
        }
        assert_eq!(hidden(&id, Fidelity::Kvm), 0);
        let bits = hidden(&id, Fidelity::Strict);
        let gone = Hidden::of(bits).undefined;
        assert_ne!(gone >> n & 1, 0, "{}", feature.name);
        for (word, name) in WORDS {
            let owner = FEATURES.iter().position(|f| f.name == *name);
            let gone = gone >> owner.expect("a feature") & 1 != 0;
            let decoded = insn::decode(bits | mode::EL1, *word).def.name;
            assert_eq!(decoded == "UDF", gone, "{word:#x} without {}", feature.name);
        }
        for word in OTHERS {
            assert_ne!(insn::decode(bits | mode::EL1, *word).def.name, "UDF");
        }
    }
}

#[test]
fn half_precision_goes_with_the_field_of_floating_point() {
    let both = FEATURES.iter().position(|f| f.name == "FEAT_FP16");
    let bit = 1 << both.expect("a feature");
    // FP and AdvSIMD can only be lowered together.
    let id = IdRegisters::new(&MAX, Proposals::ID_REG_CONFIGURABLE);
    id.initialise(OptIns::empty());
    let register = fields::PFR0_FP.register;
    let lower = fields::PFR0_ADVSIMD.set(fields::PFR0_FP.set(id.get(register), 0), 0);
    assert_eq!(id.set(register, lower), Ok(()));
    let strict = |id: &IdRegisters| Hidden::of(hidden(id, Fidelity::Strict)).undefined;
    // What was not asked for is hidden in any case.
    let before = strict(&super::tests::id(&[]));
    assert_eq!(strict(&id), before | bit);
    assert_eq!(before & bit, 0);
    let bits = hidden(&id, Fidelity::Strict);
    for word in HALF_COMPLEX {
        assert_eq!(insn::decode(bits | mode::EL1, *word).def.name, "UDF");
    }
    assert_ne!(insn::decode(bits | mode::EL1, 0x6e82_f420).def.name, "UDF");
}

/// A feature that the host model has not is absent, whatever is done about hidden ones.
#[test]
fn what_the_model_lacks_is_undefined() {
    let id = IdRegisters::new(&NEOVERSE_N1, Proposals::empty());
    id.initialise(OptIns::empty());
    for fidelity in [Fidelity::Kvm, Fidelity::Strict] {
        let bits = hidden(&id, fidelity) | mode::EL1;
        assert_eq!(insn::decode(bits, 0x1e7e_0020).def.name, "UDF"); // FJCVTZS W0, D1
        assert_ne!(insn::decode(bits, 0x4e22_d420).def.name, "UDF"); // FADD V0.4S, V1.4S, V2.4S
    }
}

/// What a feature adds to floating point and Advanced SIMD is trapped as all of it is.
#[test]
fn extensions_of_floating_point_are_trapped_with_it() {
    let data_processing = |word: &u32| word >> 25 & 7 == 7;
    let words = WORDS.iter().map(|(word, _)| word).chain(HALF_COMPLEX);
    let mut trapped = 0;
    for word in words.filter(|word| data_processing(word)) {
        let name = insn::decode(mode::EL1 | mode::FP_TRAP, *word).def.name;
        assert_eq!(name, "trapped FP", "{word:#x}");
        trapped += 1;
    }
    assert!(trapped > 40, "{trapped}");
}
