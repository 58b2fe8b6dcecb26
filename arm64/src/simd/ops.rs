//! The table of vector operations: mnemonic, meaning, element sizes.

use super::lane::Operands;
use super::{arith, bf16, estimate, multiply, shift};
use crate::crypto::{aes, sha1, sha256, sha512, sm3, sm4};

/// An operation's function: reads its operands, sets `qc` if an element saturated, returns the
/// result before it is cut to the destination's length.
pub type Kernel = fn(&mut Operands) -> u128;

/// One row an operation: its name, the Arm ARM's mnemonic, for which element sizes (B, H, S, D) it
/// exists, and its function unless it is emitted. Widening and narrowing operations are listed under the smaller size.
macro_rules! operations {
    ($($name:ident $mnemonic:literal: $sizes:ident($($f:tt)+);)+) => {
        /// A vector operation. Its element size is chosen separately, see [`Op::kernel`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Op {
            $(#[doc = $mnemonic] $name,)+
        }

        impl Op {
            /// Every operation, in the order of their numbers.
            pub const ALL: &[Op] = &[$(Op::$name,)+];

            /// The Arm ARM's mnemonic.
            pub const fn mnemonic(self) -> &'static str {
                match self { $(Op::$name => $mnemonic,)+ }
            }
        }

        static ROWS: [Row; Op::ALL.len()] = [$(operations!(@$sizes $($f)+),)+];
    };
    (@emitted $sizes:literal) => { Row::Emitted($sizes) };
    (@bhsd $p:ident::$f:ident $($c:expr),*) => {
        Row::Kernels([Some($p::$f::<u8, $($c),*>), Some($p::$f::<u16, $($c),*>),
         Some($p::$f::<u32, $($c),*>), Some($p::$f::<u64, $($c),*>)])
    };
    (@bhs $p:ident::$f:ident $($c:expr),*) => {
        Row::Kernels([Some($p::$f::<u8, $($c),*>), Some($p::$f::<u16, $($c),*>),
         Some($p::$f::<u32, $($c),*>), None])
    };
    (@hs $p:ident::$f:ident $($c:expr),*) => {
        Row::Kernels([None, Some($p::$f::<u16, $($c),*>), Some($p::$f::<u32, $($c),*>), None])
    };
    (@bh $p:ident::$f:ident $($c:expr),*) => {
        Row::Kernels([Some($p::$f::<u8, $($c),*>), Some($p::$f::<u16, $($c),*>), None, None])
    };
    (@b $p:ident::$f:ident $($c:expr),*) => { Row::Kernels([Some($p::$f::<u8, $($c),*>), None, None, None]) };
    (@d $p:ident::$f:ident $($c:expr),*) => { Row::Kernels([None, None, None, Some($p::$f::<u64, $($c),*>)]) };
    (@only_b $f:path) => { Row::Kernels([Some($f), None, None, None]) };
    (@only_s $f:path) => { Row::Kernels([None, None, Some($f), None]) };
    (@only_d $f:path) => { Row::Kernels([None, None, None, Some($f)]) };
    (@b_and_d $b:path, $d:path) => { Row::Kernels([Some($b), None, None, Some($d)]) };
}

/// How an operation is carried out.
enum Row {
    /// By one of these functions, by element size.
    Kernels([Option<Kernel>; 4]),
    /// By what [`crate::insn`] emits for it; bit n is set if it exists with elements of `8 << n` bits.
    Emitted(u8),
}

const S: bool = false;
const U: bool = true;
const ROUND: bool = true;
const PLAIN: bool = false;
const SATURATE: bool = true;
const WRAP: bool = false;

impl Op {
    /// The function for elements of `8 << size` bits, or `None` where the instruction set reserves
    /// that size, and for an operation that is emitted.
    ///
    /// Operations on whole vectors (bitwise ones, EXT, AES) exist under size 0 only, SHA, dot and matrix
    /// products under size 2, SHA512 under size 3.
    #[inline]
    pub fn kernel(self, size: u32) -> Option<Kernel> {
        match &ROWS[self as usize] {
            Row::Kernels(kernels) => kernels.get(size as usize).copied().flatten(),
            Row::Emitted(_) => None,
        }
    }

    /// Whether the instruction set has the operation with elements of `8 << size` bits.
    pub fn exists(self, size: u32) -> bool {
        match &ROWS[self as usize] {
            Row::Kernels(_) => self.kernel(size).is_some(),
            Row::Emitted(sizes) => size < 4 && sizes >> size & 1 != 0,
        }
    }

    /// The operation of this number, `op as u8`.
    #[inline]
    pub fn from_number(number: u8) -> Option<Op> {
        Op::ALL.get(usize::from(number)).copied()
    }
}

operations! {
    // Three registers of the same type.
    Shadd "SHADD": bhs(arith::hadd S);
    Uhadd "UHADD": bhs(arith::hadd U);
    Sqadd "SQADD": bhsd(arith::qadd S);
    Uqadd "UQADD": bhsd(arith::qadd U);
    Srhadd "SRHADD": bhs(arith::rhadd S);
    Urhadd "URHADD": bhs(arith::rhadd U);
    Shsub "SHSUB": bhs(arith::hsub S);
    Uhsub "UHSUB": bhs(arith::hsub U);
    Sqsub "SQSUB": bhsd(arith::qsub S);
    Uqsub "UQSUB": bhsd(arith::qsub U);
    Cmgt "CMGT (register)": emitted(0b1111);
    Cmhi "CMHI": emitted(0b1111);
    Cmge "CMGE (register)": emitted(0b1111);
    Cmhs "CMHS": emitted(0b1111);
    Sshl "SSHL": bhsd(shift::shl_register S, PLAIN, WRAP);
    Ushl "USHL": bhsd(shift::shl_register U, PLAIN, WRAP);
    SqshlRegister "SQSHL (register)": bhsd(shift::shl_register S, PLAIN, SATURATE);
    UqshlRegister "UQSHL (register)": bhsd(shift::shl_register U, PLAIN, SATURATE);
    Srshl "SRSHL": bhsd(shift::shl_register S, ROUND, WRAP);
    Urshl "URSHL": bhsd(shift::shl_register U, ROUND, WRAP);
    Sqrshl "SQRSHL": bhsd(shift::shl_register S, ROUND, SATURATE);
    Uqrshl "UQRSHL": bhsd(shift::shl_register U, ROUND, SATURATE);
    Smax "SMAX": emitted(0b0111);
    Umax "UMAX": emitted(0b0111);
    Smin "SMIN": emitted(0b0111);
    Umin "UMIN": emitted(0b0111);
    Sabd "SABD": emitted(0b0111);
    Uabd "UABD": emitted(0b0111);
    Saba "SABA": emitted(0b0111);
    Uaba "UABA": emitted(0b0111);
    Add "ADD (vector)": emitted(0b1111);
    Sub "SUB (vector)": emitted(0b1111);
    Cmtst "CMTST": emitted(0b1111);
    Cmeq "CMEQ (register)": emitted(0b1111);
    Mla "MLA": emitted(0b0111);
    Mls "MLS": emitted(0b0111);
    Mul "MUL": emitted(0b0111);
    Pmul "PMUL": only_b(multiply::pmul);
    Smaxp "SMAXP": emitted(0b0111);
    Umaxp "UMAXP": emitted(0b0111);
    Sminp "SMINP": emitted(0b0111);
    Uminp "UMINP": emitted(0b0111);
    Sqdmulh "SQDMULH": hs(multiply::qdmulh PLAIN);
    Sqrdmulh "SQRDMULH": hs(multiply::qdmulh ROUND);
    Addp "ADDP (vector)": emitted(0b1111);
    And "AND (vector)": emitted(0b0001);
    Bic "BIC (vector, register)": emitted(0b0001);
    Orr "ORR (vector, register)": emitted(0b0001);
    Orn "ORN (vector)": emitted(0b0001);
    Eor "EOR (vector)": emitted(0b0001);
    Bsl "BSL": emitted(0b0001);
    Bit "BIT": emitted(0b0001);
    Bif "BIF": emitted(0b0001);
    // The extension: rounding doubling accumulation, dot products, matrices.
    Sqrdmlah "SQRDMLAH": hs(multiply::qrdmlah);
    Sqrdmlsh "SQRDMLSH": hs(multiply::qrdmlsh);
    Sdot "SDOT": only_s(multiply::dot::<S, S>);
    Udot "UDOT": only_s(multiply::dot::<U, U>);
    Usdot "USDOT": only_s(multiply::dot::<U, S>);
    Sudot "SUDOT": only_s(multiply::dot::<S, U>);
    Smmla "SMMLA": only_s(multiply::matrix::<S, S>);
    Ummla "UMMLA": only_s(multiply::matrix::<U, U>);
    Usmmla "USMMLA": only_s(multiply::matrix::<U, S>);
    Bfdot "BFDOT": only_s(bf16::dot);
    Bfmmla "BFMMLA": only_s(bf16::matrix);
    // Three registers of different types.
    Saddl "SADDL": emitted(0b0111);
    Uaddl "UADDL": emitted(0b0111);
    Saddw "SADDW": emitted(0b0111);
    Uaddw "UADDW": emitted(0b0111);
    Ssubl "SSUBL": emitted(0b0111);
    Usubl "USUBL": emitted(0b0111);
    Ssubw "SSUBW": emitted(0b0111);
    Usubw "USUBW": emitted(0b0111);
    Addhn "ADDHN": emitted(0b0111);
    Raddhn "RADDHN": emitted(0b0111);
    Sabal "SABAL": emitted(0b0111);
    Uabal "UABAL": emitted(0b0111);
    Subhn "SUBHN": emitted(0b0111);
    Rsubhn "RSUBHN": emitted(0b0111);
    Sabdl "SABDL": emitted(0b0111);
    Uabdl "UABDL": emitted(0b0111);
    Smlal "SMLAL": emitted(0b0111);
    Umlal "UMLAL": emitted(0b0111);
    Smlsl "SMLSL": emitted(0b0111);
    Umlsl "UMLSL": emitted(0b0111);
    Smull "SMULL": emitted(0b0111);
    Umull "UMULL": emitted(0b0111);
    Sqdmlal "SQDMLAL": hs(multiply::qdmlal);
    Sqdmlsl "SQDMLSL": hs(multiply::qdmlsl);
    Sqdmull "SQDMULL": hs(multiply::qdmull);
    Pmull "PMULL": b_and_d(multiply::pmull8, multiply::pmull64);
    // Two registers.
    Rev64 "REV64": emitted(0b0111);
    Rev32 "REV32 (vector)": emitted(0b0011);
    Rev16 "REV16 (vector)": emitted(0b0001);
    Saddlp "SADDLP": emitted(0b0111);
    Uaddlp "UADDLP": emitted(0b0111);
    Sadalp "SADALP": emitted(0b0111);
    Uadalp "UADALP": emitted(0b0111);
    Suqadd "SUQADD": bhsd(arith::addmixed S);
    Usqadd "USQADD": bhsd(arith::addmixed U);
    Cls "CLS (vector)": bhs(arith::cls);
    Clz "CLZ (vector)": bhs(arith::clz);
    Cnt "CNT": emitted(0b0001);
    Not "NOT": emitted(0b0001);
    Rbit "RBIT (vector)": b(arith::rbit);
    Sqabs "SQABS": bhsd(arith::qabs);
    Sqneg "SQNEG": bhsd(arith::qneg);
    CmltZero "CMLT (zero)": emitted(0b1111);
    CmleZero "CMLE (zero)": emitted(0b1111);
    Abs "ABS": emitted(0b1111);
    Neg "NEG (vector)": emitted(0b1111);
    Urecpe "URECPE": only_s(estimate::urecpe);
    Ursqrte "URSQRTE": only_s(estimate::ursqrte);
    // Across lanes, and the scalar pair.
    Saddlv "SADDLV": bhs(arith::addlv S);
    Uaddlv "UADDLV": bhs(arith::addlv U);
    Smaxv "SMAXV": bhs(arith::maxv S);
    Umaxv "UMAXV": bhs(arith::maxv U);
    Sminv "SMINV": bhs(arith::minv S);
    Uminv "UMINV": bhs(arith::minv U);
    Addv "ADDV": bhs(arith::addv);
    AddpScalar "ADDP (scalar)": emitted(0b1000);
    // Shifts by an immediate. The narrowing ones with immediate 0 are XTN, SQXTN, UQXTN, SQXTUN;
    // USHLL by the element size is SHLL.
    Sshr "SSHR": emitted(0b1111);
    Ushr "USHR": emitted(0b1111);
    Srshr "SRSHR": bhsd(shift::shr S, ROUND);
    Urshr "URSHR": bhsd(shift::shr U, ROUND);
    Ssra "SSRA": emitted(0b1111);
    Usra "USRA": emitted(0b1111);
    Srsra "SRSRA": bhsd(shift::sra S, ROUND);
    Ursra "URSRA": bhsd(shift::sra U, ROUND);
    Sri "SRI": emitted(0b1111);
    Shl "SHL": emitted(0b1111);
    Sli "SLI": emitted(0b1111);
    Sqshlu "SQSHLU": bhsd(shift::qshlu);
    Sqshl "SQSHL (immediate)": bhsd(shift::qshl S);
    Uqshl "UQSHL (immediate)": bhsd(shift::qshl U);
    Shrn "SHRN": emitted(0b0111);
    Rshrn "RSHRN": emitted(0b0111);
    Sqshrun "SQSHRUN": bhs(shift::qshrn S, U, PLAIN);
    Sqrshrun "SQRSHRUN": bhs(shift::qshrn S, U, ROUND);
    Sqshrn "SQSHRN": bhs(shift::qshrn S, S, PLAIN);
    Uqshrn "UQSHRN": bhs(shift::qshrn U, U, PLAIN);
    Sqrshrn "SQRSHRN": bhs(shift::qshrn S, S, ROUND);
    Uqrshrn "UQRSHRN": bhs(shift::qshrn U, U, ROUND);
    Sshll "SSHLL": emitted(0b0111);
    Ushll "USHLL": emitted(0b0111);
    // Permutes.
    Zip1 "ZIP1": emitted(0b1111);
    Zip2 "ZIP2": emitted(0b1111);
    Uzp1 "UZP1": emitted(0b1111);
    Uzp2 "UZP2": emitted(0b1111);
    Trn1 "TRN1": emitted(0b1111);
    Trn2 "TRN2": emitted(0b1111);
    Ext "EXT": emitted(0b0001);
    // Cryptography.
    Aese "AESE": only_b(aes::aese);
    Aesd "AESD": only_b(aes::aesd);
    Aesmc "AESMC": only_b(aes::aesmc);
    Aesimc "AESIMC": only_b(aes::aesimc);
    Sha1c "SHA1C": only_s(sha1::sha1c);
    Sha1p "SHA1P": only_s(sha1::sha1p);
    Sha1m "SHA1M": only_s(sha1::sha1m);
    Sha1su0 "SHA1SU0": only_s(sha1::sha1su0);
    Sha1su1 "SHA1SU1": only_s(sha1::sha1su1);
    Sha1h "SHA1H": only_s(sha1::sha1h);
    Sha256h "SHA256H": only_s(sha256::sha256h);
    Sha256h2 "SHA256H2": only_s(sha256::sha256h2);
    Sha256su0 "SHA256SU0": only_s(sha256::sha256su0);
    Sha256su1 "SHA256SU1": only_s(sha256::sha256su1);
    Sha512h "SHA512H": only_d(sha512::sha512h);
    Sha512h2 "SHA512H2": only_d(sha512::sha512h2);
    Sha512su0 "SHA512SU0": only_d(sha512::sha512su0);
    Sha512su1 "SHA512SU1": only_d(sha512::sha512su1);
    Sm3tt1a "SM3TT1A": only_s(sm3::sm3tt1a);
    Sm3tt1b "SM3TT1B": only_s(sm3::sm3tt1b);
    Sm3tt2a "SM3TT2A": only_s(sm3::sm3tt2a);
    Sm3tt2b "SM3TT2B": only_s(sm3::sm3tt2b);
    Sm3partw1 "SM3PARTW1": only_s(sm3::sm3partw1);
    Sm3partw2 "SM3PARTW2": only_s(sm3::sm3partw2);
    Sm4e "SM4E": only_s(sm4::sm4e);
    Sm4ekey "SM4EKEY": only_s(sm4::sm4ekey);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_find_their_operations() {
        for (number, op) in Op::ALL.iter().enumerate() {
            assert_eq!(Op::from_number(number as u8), Some(*op));
            assert!((0..4).any(|size| op.exists(size)), "{}", op.mnemonic());
        }
        assert_eq!(Op::from_number(Op::ALL.len() as u8), None);
        assert!(!Op::Shadd.exists(3) && Op::Shadd.kernel(2).is_some());
        assert!(Op::Add.exists(3) && !Op::Add.exists(4) && Op::Add.kernel(3).is_none());
    }

    #[test]
    fn zeroed_lanes_never_saturate() {
        for op in Op::ALL {
            for kernel in (0..4).filter_map(|size| op.kernel(size)) {
                for imm in 0..8 {
                    let mut o = Operands {
                        imm,
                        q: true,
                        ..Default::default()
                    };
                    kernel(&mut o);
                    assert!(!o.qc, "{}", op.mnemonic());
                }
            }
        }
    }
}
