//! The table of vector operations: mnemonic, meaning, element sizes.

use super::lane::Operands;
use super::{arith, estimate, multiply, permute, shift};
use crate::crypto::{aes, sha1, sha256};

/// An operation's function: reads its operands, sets `qc` if an element saturated, returns the
/// result before it is cut to the destination's length.
pub type Kernel = fn(&mut Operands) -> u128;

/// One row an operation: its name, the Arm ARM's mnemonic, and for which element sizes (B, H, S, D)
/// it exists. Widening and narrowing operations are listed under the smaller size.
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

        static KERNELS: [[Option<Kernel>; 4]; Op::ALL.len()] =
            [$(operations!(@$sizes $($f)+),)+];
    };
    (@bhsd $p:ident::$f:ident $($c:expr),*) => {
        [Some($p::$f::<u8, $($c),*>), Some($p::$f::<u16, $($c),*>),
         Some($p::$f::<u32, $($c),*>), Some($p::$f::<u64, $($c),*>)]
    };
    (@bhs $p:ident::$f:ident $($c:expr),*) => {
        [Some($p::$f::<u8, $($c),*>), Some($p::$f::<u16, $($c),*>),
         Some($p::$f::<u32, $($c),*>), None]
    };
    (@hs $p:ident::$f:ident $($c:expr),*) => {
        [None, Some($p::$f::<u16, $($c),*>), Some($p::$f::<u32, $($c),*>), None]
    };
    (@bh $p:ident::$f:ident $($c:expr),*) => {
        [Some($p::$f::<u8, $($c),*>), Some($p::$f::<u16, $($c),*>), None, None]
    };
    (@b $p:ident::$f:ident $($c:expr),*) => { [Some($p::$f::<u8, $($c),*>), None, None, None] };
    (@d $p:ident::$f:ident $($c:expr),*) => { [None, None, None, Some($p::$f::<u64, $($c),*>)] };
    (@only_b $f:path) => { [Some($f), None, None, None] };
    (@only_s $f:path) => { [None, None, Some($f), None] };
    (@b_and_d $b:path, $d:path) => { [Some($b), None, None, Some($d)] };
}

const S: bool = false;
const U: bool = true;
const ROUND: bool = true;
const PLAIN: bool = false;
const SATURATE: bool = true;
const WRAP: bool = false;

impl Op {
    /// The function for elements of `8 << size` bits, or `None` where the instruction set reserves
    /// that size.
    ///
    /// Operations on whole vectors (bitwise ones, EXT, AES) exist under size 0 only, SHA and dot
    /// products under size 2.
    #[inline]
    pub fn kernel(self, size: u32) -> Option<Kernel> {
        KERNELS[self as usize].get(size as usize).copied().flatten()
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
    Cmgt "CMGT (register)": bhsd(arith::cmgt S);
    Cmhi "CMHI": bhsd(arith::cmgt U);
    Cmge "CMGE (register)": bhsd(arith::cmge S);
    Cmhs "CMHS": bhsd(arith::cmge U);
    Sshl "SSHL": bhsd(shift::shl_register S, PLAIN, WRAP);
    Ushl "USHL": bhsd(shift::shl_register U, PLAIN, WRAP);
    SqshlRegister "SQSHL (register)": bhsd(shift::shl_register S, PLAIN, SATURATE);
    UqshlRegister "UQSHL (register)": bhsd(shift::shl_register U, PLAIN, SATURATE);
    Srshl "SRSHL": bhsd(shift::shl_register S, ROUND, WRAP);
    Urshl "URSHL": bhsd(shift::shl_register U, ROUND, WRAP);
    Sqrshl "SQRSHL": bhsd(shift::shl_register S, ROUND, SATURATE);
    Uqrshl "UQRSHL": bhsd(shift::shl_register U, ROUND, SATURATE);
    Smax "SMAX": bhs(arith::max S);
    Umax "UMAX": bhs(arith::max U);
    Smin "SMIN": bhs(arith::min S);
    Umin "UMIN": bhs(arith::min U);
    Sabd "SABD": bhs(arith::abd S);
    Uabd "UABD": bhs(arith::abd U);
    Saba "SABA": bhs(arith::aba S);
    Uaba "UABA": bhs(arith::aba U);
    Add "ADD (vector)": bhsd(arith::add);
    Sub "SUB (vector)": bhsd(arith::sub);
    Cmtst "CMTST": bhsd(arith::cmtst);
    Cmeq "CMEQ (register)": bhsd(arith::cmeq);
    Mla "MLA": bhs(multiply::mla);
    Mls "MLS": bhs(multiply::mls);
    Mul "MUL": bhs(multiply::mul);
    Pmul "PMUL": only_b(multiply::pmul);
    Smaxp "SMAXP": bhs(arith::maxp S);
    Umaxp "UMAXP": bhs(arith::maxp U);
    Sminp "SMINP": bhs(arith::minp S);
    Uminp "UMINP": bhs(arith::minp U);
    Sqdmulh "SQDMULH": hs(multiply::qdmulh PLAIN);
    Sqrdmulh "SQRDMULH": hs(multiply::qdmulh ROUND);
    Addp "ADDP (vector)": bhsd(arith::addp);
    And "AND (vector)": only_b(arith::and);
    Bic "BIC (vector, register)": only_b(arith::bic);
    Orr "ORR (vector, register)": only_b(arith::orr);
    Orn "ORN (vector)": only_b(arith::orn);
    Eor "EOR (vector)": only_b(arith::eor);
    Bsl "BSL": only_b(arith::bsl);
    Bit "BIT": only_b(arith::bit);
    Bif "BIF": only_b(arith::bif);
    // The extension: rounding doubling accumulation, dot products.
    Sqrdmlah "SQRDMLAH": hs(multiply::qrdmlah);
    Sqrdmlsh "SQRDMLSH": hs(multiply::qrdmlsh);
    Sdot "SDOT": only_s(multiply::dot::<S>);
    Udot "UDOT": only_s(multiply::dot::<U>);
    // Three registers of different types.
    Saddl "SADDL": bhs(arith::addl S);
    Uaddl "UADDL": bhs(arith::addl U);
    Saddw "SADDW": bhs(arith::addw S);
    Uaddw "UADDW": bhs(arith::addw U);
    Ssubl "SSUBL": bhs(arith::subl S);
    Usubl "USUBL": bhs(arith::subl U);
    Ssubw "SSUBW": bhs(arith::subw S);
    Usubw "USUBW": bhs(arith::subw U);
    Addhn "ADDHN": bhs(arith::addhn PLAIN);
    Raddhn "RADDHN": bhs(arith::addhn ROUND);
    Sabal "SABAL": bhs(arith::abal S);
    Uabal "UABAL": bhs(arith::abal U);
    Subhn "SUBHN": bhs(arith::subhn PLAIN);
    Rsubhn "RSUBHN": bhs(arith::subhn ROUND);
    Sabdl "SABDL": bhs(arith::abdl S);
    Uabdl "UABDL": bhs(arith::abdl U);
    Smlal "SMLAL": bhs(multiply::mlal S);
    Umlal "UMLAL": bhs(multiply::mlal U);
    Smlsl "SMLSL": bhs(multiply::mlsl S);
    Umlsl "UMLSL": bhs(multiply::mlsl U);
    Smull "SMULL": bhs(multiply::mull S);
    Umull "UMULL": bhs(multiply::mull U);
    Sqdmlal "SQDMLAL": hs(multiply::qdmlal);
    Sqdmlsl "SQDMLSL": hs(multiply::qdmlsl);
    Sqdmull "SQDMULL": hs(multiply::qdmull);
    Pmull "PMULL": b_and_d(multiply::pmull8, multiply::pmull64);
    // Two registers.
    Rev64 "REV64": bhs(permute::rev 64);
    Rev32 "REV32 (vector)": bh(permute::rev 32);
    Rev16 "REV16 (vector)": b(permute::rev 16);
    Saddlp "SADDLP": bhs(arith::addlp S, false);
    Uaddlp "UADDLP": bhs(arith::addlp U, false);
    Sadalp "SADALP": bhs(arith::addlp S, true);
    Uadalp "UADALP": bhs(arith::addlp U, true);
    Suqadd "SUQADD": bhsd(arith::addmixed S);
    Usqadd "USQADD": bhsd(arith::addmixed U);
    Cls "CLS (vector)": bhs(arith::cls);
    Clz "CLZ (vector)": bhs(arith::clz);
    Cnt "CNT": b(arith::cnt);
    Not "NOT": only_b(arith::not);
    Rbit "RBIT (vector)": b(arith::rbit);
    Sqabs "SQABS": bhsd(arith::qabs);
    Sqneg "SQNEG": bhsd(arith::qneg);
    CmltZero "CMLT (zero)": bhsd(arith::cmlt0);
    CmleZero "CMLE (zero)": bhsd(arith::cmle0);
    Abs "ABS": bhsd(arith::abs);
    Neg "NEG (vector)": bhsd(arith::neg);
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
    AddpScalar "ADDP (scalar)": d(arith::addp_scalar);
    // Shifts by an immediate. The narrowing ones with immediate 0 are XTN, SQXTN, UQXTN, SQXTUN;
    // USHLL by the element size is SHLL.
    Sshr "SSHR": bhsd(shift::shr S, PLAIN);
    Ushr "USHR": bhsd(shift::shr U, PLAIN);
    Srshr "SRSHR": bhsd(shift::shr S, ROUND);
    Urshr "URSHR": bhsd(shift::shr U, ROUND);
    Ssra "SSRA": bhsd(shift::sra S, PLAIN);
    Usra "USRA": bhsd(shift::sra U, PLAIN);
    Srsra "SRSRA": bhsd(shift::sra S, ROUND);
    Ursra "URSRA": bhsd(shift::sra U, ROUND);
    Sri "SRI": bhsd(shift::sri);
    Shl "SHL": bhsd(shift::shl);
    Sli "SLI": bhsd(shift::sli);
    Sqshlu "SQSHLU": bhsd(shift::qshlu);
    Sqshl "SQSHL (immediate)": bhsd(shift::qshl S);
    Uqshl "UQSHL (immediate)": bhsd(shift::qshl U);
    Shrn "SHRN": bhs(shift::shrn PLAIN);
    Rshrn "RSHRN": bhs(shift::shrn ROUND);
    Sqshrun "SQSHRUN": bhs(shift::qshrn S, U, PLAIN);
    Sqrshrun "SQRSHRUN": bhs(shift::qshrn S, U, ROUND);
    Sqshrn "SQSHRN": bhs(shift::qshrn S, S, PLAIN);
    Uqshrn "UQSHRN": bhs(shift::qshrn U, U, PLAIN);
    Sqrshrn "SQRSHRN": bhs(shift::qshrn S, S, ROUND);
    Uqrshrn "UQRSHRN": bhs(shift::qshrn U, U, ROUND);
    Sshll "SSHLL": bhs(shift::shll S);
    Ushll "USHLL": bhs(shift::shll U);
    // Permutes.
    Zip1 "ZIP1": bhsd(permute::zip 0);
    Zip2 "ZIP2": bhsd(permute::zip 1);
    Uzp1 "UZP1": bhsd(permute::uzp 0);
    Uzp2 "UZP2": bhsd(permute::uzp 1);
    Trn1 "TRN1": bhsd(permute::trn 0);
    Trn2 "TRN2": bhsd(permute::trn 1);
    Ext "EXT": only_b(permute::ext);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_find_their_operations() {
        for (number, op) in Op::ALL.iter().enumerate() {
            assert_eq!(Op::from_number(number as u8), Some(*op));
            assert!(
                (0..4).any(|size| op.kernel(size).is_some()),
                "{}",
                op.mnemonic()
            );
        }
        assert_eq!(Op::from_number(Op::ALL.len() as u8), None);
        assert!(Op::Shadd.kernel(3).is_none());
        assert!(Op::Add.kernel(4).is_none());
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
