//! From a mnemonic to an operation and its shape; legacy and VEX forms have one row together.

use super::float::{self, Kind};
use super::{
    Float, MEM, Op, Pure, Shuffle, Simd, across, compare, controls, convert, dot, masked, mmx,
    moves, strings,
};
use super::{NONE, lanewise};
use crate::X86;
use crate::fpu::Needs;
use crate::insn::{Operands, mode, refuse};
use iced_x86::{EncodingKind, Instruction, Mnemonic, OpKind, Register};
use understudy_engine::arch::Def;
use understudy_engine::def;
use understudy_engine::emit::Size;
use understudy_engine::vector::{VecBinary, VecShift};

type Definition = &'static Def<X86>;

/// The semantics of a SIMD instruction, and its operands; none if it is another instruction.
pub(crate) fn choose(
    mode: u32,
    insn: &Instruction,
    mut o: Operands,
) -> Option<(Definition, Operands)> {
    // The mnemonics of others may be the same.
    let known = matches!(insn.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
    if !known || insn.is_string_instruction() {
        return None;
    }
    let shape = Shape::of(insn);
    o.simd = shape.operands(insn);
    addresses(mode, insn, &mut o);
    let def = definition(insn, &shape, &mut o)?;
    match refuse::refused(mode, shape.needs()) {
        Some(refused) => Some((refused, o)),
        None => Some((def, o)),
    }
}

/// What addresses need that `decode.rs` does not know of: an index that is a vector, and rDI.
fn addresses(mode: u32, insn: &Instruction, o: &mut Operands) {
    if insn.is_vsib() && insn.memory_base() == Register::None {
        let short = insn.memory_displ_size() == 4 || mode & mode::CODE64 == 0;
        o.address = if short { 2 } else { 3 };
    }
    match insn.op0_kind() {
        OpKind::MemorySegDI => o.address = 1,
        OpKind::MemorySegEDI => o.address = 2,
        OpKind::MemorySegRDI => o.address = 3,
        _ => {}
    }
}

/// Which registers an instruction has.
struct Shape {
    mm: bool,
    xmm: bool,
    ymm: bool,
    vex: bool,
    /// Its last operand is an immediate.
    immediate: bool,
}

impl Shape {
    fn of(insn: &Instruction) -> Shape {
        let mut shape = Shape {
            mm: insn.mnemonic() == Mnemonic::Emms,
            xmm: false,
            ymm: false,
            vex: insn.encoding() == EncodingKind::VEX,
            immediate: false,
        };
        for index in 0..insn.op_count() {
            if insn.op_kind(index) == OpKind::Register {
                let register = insn.op_register(index);
                shape.mm |= register.is_mm();
                shape.xmm |= register.is_xmm();
                shape.ymm |= register.is_ymm();
            }
            shape.immediate = insn.op_kind(index) == OpKind::Immediate8;
        }
        shape.ymm |= insn.is_vsib() && insn.memory_index().is_ymm();
        shape.ymm |= shape.vex && insn.memory_size().size() == 32;
        shape
    }

    fn needs(&self) -> Needs {
        match self {
            Shape { vex: true, .. } => Needs::Avx,
            Shape {
                mm: true,
                xmm: true,
                ..
            } => Needs::SseMmx,
            Shape { mm: true, .. } => Needs::Mmx,
            _ => Needs::Sse,
        }
    }

    /// Registers and immediate, as most instructions have them.
    fn operands(&self, insn: &Instruction) -> Simd {
        let mut p = NONE;
        let mut operands = [(0, 0); 4];
        let mut count = 0;
        for index in 0..insn.op_count() {
            let operand = match insn.op_kind(index) {
                OpKind::Register => {
                    let register = insn.op_register(index);
                    let number = register.number() as u8;
                    (number, register.size().trailing_zeros() as u8)
                }
                OpKind::Memory => {
                    let bytes = insn.memory_size().size().max(1);
                    (MEM, bytes.trailing_zeros().min(5) as u8)
                }
                OpKind::Immediate8 => {
                    p.imm = insn.immediate(index) as u8;
                    continue;
                }
                _ => continue,
            };
            if let Some(place) = operands.get_mut(count) {
                *place = operand;
                count += 1;
            }
        }
        if !self.vex {
            // What follows is XMM0, of which the instructions that have it know.
            count = count.min(2);
        }
        let [first, second, third, fourth] = operands;
        (p.d, p.n) = (first.0, first.0);
        (p.m, p.bytes) = match count {
            0 | 1 => first,
            2 => second,
            _ => {
                p.n = second.0;
                third
            }
        };
        if count == 4 {
            p.k = fourth.0;
        }
        p.vex = self.vex;
        p.wide = self.ymm;
        p.aligned = aligned(insn, self.vex);
        p
    }
}

/// Whether an operand of 16 or 32 bytes in memory must be aligned (SDM vol. 1, 14.9 and 10.4.1).
fn aligned(insn: &Instruction, vex: bool) -> bool {
    use Mnemonic as M;
    if vex {
        return matches!(
            insn.mnemonic(),
            M::Vmovaps
                | M::Vmovapd
                | M::Vmovdqa
                | M::Vmovntps
                | M::Vmovntpd
                | M::Vmovntdq
                | M::Vmovntdqa
        );
    }
    !matches!(
        insn.mnemonic(),
        M::Movups
            | M::Movupd
            | M::Movdqu
            | M::Lddqu
            | M::Pcmpestri
            | M::Pcmpestri64
            | M::Pcmpestrm
            | M::Pcmpestrm64
            | M::Pcmpistri
            | M::Pcmpistrm
    )
}

/// The operation of instructions that work on each half by itself.
fn lanes(insn: &Instruction, immediate: bool) -> Option<Op> {
    use Mnemonic as M;
    let by = |with_immediate: Op, without: Pure| {
        if immediate {
            with_immediate
        } else {
            Op::Pure(without)
        }
    };
    Some(match insn.mnemonic() {
        M::Paddb | M::Vpaddb => Op::Binary(VecBinary::Add, Size::B1),
        M::Paddw | M::Vpaddw => Op::Binary(VecBinary::Add, Size::B2),
        M::Paddd | M::Vpaddd => Op::Binary(VecBinary::Add, Size::B4),
        M::Paddq | M::Vpaddq => Op::Binary(VecBinary::Add, Size::B8),
        M::Psubb | M::Vpsubb => Op::Binary(VecBinary::Sub, Size::B1),
        M::Psubw | M::Vpsubw => Op::Binary(VecBinary::Sub, Size::B2),
        M::Psubd | M::Vpsubd => Op::Binary(VecBinary::Sub, Size::B4),
        M::Psubq | M::Vpsubq => Op::Binary(VecBinary::Sub, Size::B8),
        M::Pmullw | M::Vpmullw => Op::Binary(VecBinary::Mul, Size::B2),
        M::Pmulld | M::Vpmulld => Op::Binary(VecBinary::Mul, Size::B4),
        M::Pcmpeqb | M::Vpcmpeqb => Op::Binary(VecBinary::Eq, Size::B1),
        M::Pcmpeqw | M::Vpcmpeqw => Op::Binary(VecBinary::Eq, Size::B2),
        M::Pcmpeqd | M::Vpcmpeqd => Op::Binary(VecBinary::Eq, Size::B4),
        M::Pcmpeqq | M::Vpcmpeqq => Op::Binary(VecBinary::Eq, Size::B8),
        M::Pcmpgtb | M::Vpcmpgtb => Op::Binary(VecBinary::SGt, Size::B1),
        M::Pcmpgtw | M::Vpcmpgtw => Op::Binary(VecBinary::SGt, Size::B2),
        M::Pcmpgtd | M::Vpcmpgtd => Op::Binary(VecBinary::SGt, Size::B4),
        M::Pcmpgtq | M::Vpcmpgtq => Op::Binary(VecBinary::SGt, Size::B8),
        M::Pminsb | M::Vpminsb => Op::Binary(VecBinary::SMin, Size::B1),
        M::Pminsw | M::Vpminsw => Op::Binary(VecBinary::SMin, Size::B2),
        M::Pminsd | M::Vpminsd => Op::Binary(VecBinary::SMin, Size::B4),
        M::Pminub | M::Vpminub => Op::Binary(VecBinary::UMin, Size::B1),
        M::Pminuw | M::Vpminuw => Op::Binary(VecBinary::UMin, Size::B2),
        M::Pminud | M::Vpminud => Op::Binary(VecBinary::UMin, Size::B4),
        M::Pmaxsb | M::Vpmaxsb => Op::Binary(VecBinary::SMax, Size::B1),
        M::Pmaxsw | M::Vpmaxsw => Op::Binary(VecBinary::SMax, Size::B2),
        M::Pmaxsd | M::Vpmaxsd => Op::Binary(VecBinary::SMax, Size::B4),
        M::Pmaxub | M::Vpmaxub => Op::Binary(VecBinary::UMax, Size::B1),
        M::Pmaxuw | M::Vpmaxuw => Op::Binary(VecBinary::UMax, Size::B2),
        M::Pmaxud | M::Vpmaxud => Op::Binary(VecBinary::UMax, Size::B4),
        M::Pand | M::Vpand | M::Andps | M::Vandps | M::Andpd | M::Vandpd => {
            Op::Binary(VecBinary::And, Size::B8)
        }
        M::Por | M::Vpor | M::Orps | M::Vorps | M::Orpd | M::Vorpd => {
            Op::Binary(VecBinary::Or, Size::B8)
        }
        M::Pxor | M::Vpxor | M::Xorps | M::Vxorps | M::Xorpd | M::Vxorpd => {
            Op::Binary(VecBinary::Xor, Size::B8)
        }
        M::Pandn | M::Vpandn | M::Andnps | M::Vandnps | M::Andnpd | M::Vandnpd => Op::AndNot,
        M::Pabsb | M::Vpabsb => Op::Abs(Size::B1),
        M::Pabsw | M::Vpabsw => Op::Abs(Size::B2),
        M::Pabsd | M::Vpabsd => Op::Abs(Size::B4),
        M::Pblendvb | M::Vpblendvb => Op::Select(Size::B1),
        M::Blendvps | M::Vblendvps => Op::Select(Size::B4),
        M::Blendvpd | M::Vblendvpd => Op::Select(Size::B8),
        M::Pmulhw | M::Vpmulhw => Op::MultiplyHigh { signed: true },
        M::Pmulhuw | M::Vpmulhuw => Op::MultiplyHigh { signed: false },
        M::Pmaddwd | M::Vpmaddwd => Op::MultiplyAdd,
        M::Pmuldq | M::Vpmuldq => Op::MultiplyLong { signed: true },
        M::Pmuludq | M::Vpmuludq => Op::MultiplyLong { signed: false },
        M::Packsswb | M::Vpacksswb => Op::Pack {
            from: Size::B2,
            signed: true,
        },
        M::Packssdw | M::Vpackssdw => Op::Pack {
            from: Size::B4,
            signed: true,
        },
        M::Packuswb | M::Vpackuswb => Op::Pack {
            from: Size::B2,
            signed: false,
        },
        M::Packusdw | M::Vpackusdw => Op::Pack {
            from: Size::B4,
            signed: false,
        },
        M::Pavgb | M::Vpavgb => Op::Average(Size::B1),
        M::Paddusb | M::Vpaddusb => Op::AddSaturated(Size::B1),
        M::Psubusb | M::Vpsubusb => Op::SubtractSaturated(Size::B1),
        M::Pavgw | M::Vpavgw => Op::Average(Size::B2),
        M::Paddusw | M::Vpaddusw => Op::AddSaturated(Size::B2),
        M::Psubusw | M::Vpsubusw => Op::SubtractSaturated(Size::B2),
        M::Paddsb | M::Vpaddsb => Op::Pure(Pure::AddBytes),
        M::Paddsw | M::Vpaddsw => Op::Pure(Pure::AddWords),
        M::Psubsb | M::Vpsubsb => Op::Pure(Pure::SubtractBytes),
        M::Psubsw | M::Vpsubsw => Op::Pure(Pure::SubtractWords),
        M::Psadbw | M::Vpsadbw => Op::Pure(Pure::SumOfDifferences),
        M::Pmaddubsw | M::Vpmaddubsw => Op::Pure(Pure::MultiplyAddBytes),
        M::Pmulhrsw | M::Vpmulhrsw => Op::Pure(Pure::MultiplyRound),
        M::Pshufb | M::Vpshufb => Op::Pure(Pure::ShuffleBytes),
        M::Phaddw | M::Vphaddw => Op::Pure(Pure::AddPairsWords),
        M::Phaddsw | M::Vphaddsw => Op::Pure(Pure::AddPairsSaturated),
        M::Phsubw | M::Vphsubw => Op::Pure(Pure::SubtractPairsWords),
        M::Phsubsw | M::Vphsubsw => Op::Pure(Pure::SubtractPairsSaturated),
        M::Phaddd | M::Vphaddd => Op::Pure(Pure::AddPairsDwords),
        M::Phsubd | M::Vphsubd => Op::Pure(Pure::SubtractPairsDwords),
        M::Psignb | M::Vpsignb => Op::Pure(Pure::SignBytes),
        M::Psignw | M::Vpsignw => Op::Pure(Pure::SignWords),
        M::Psignd | M::Vpsignd => Op::Pure(Pure::SignDwords),
        M::Phminposuw | M::Vphminposuw => Op::Pure(Pure::LeastWord),
        M::Vpsllvd => Op::Pure(Pure::LeftEachDword),
        M::Vpsrlvd => Op::Pure(Pure::RightEachDword),
        M::Vpsravd => Op::Pure(Pure::SignedEachDword),
        M::Vpsllvq => Op::Pure(Pure::LeftEachQword),
        M::Vpsrlvq => Op::Pure(Pure::RightEachQword),
        M::Insertps | M::Vinsertps => Op::Pure(Pure::InsertFloat),
        M::Aesenc | M::Vaesenc => Op::Pure(Pure::AesEncrypt),
        M::Aesenclast | M::Vaesenclast => Op::Pure(Pure::AesEncryptLast),
        M::Aesdec | M::Vaesdec => Op::Pure(Pure::AesDecrypt),
        M::Aesdeclast | M::Vaesdeclast => Op::Pure(Pure::AesDecryptLast),
        M::Aesimc | M::Vaesimc => Op::Pure(Pure::AesInverseMix),
        M::Aeskeygenassist | M::Vaeskeygenassist => Op::Pure(Pure::AesKey),
        M::Pclmulqdq | M::Vpclmulqdq => Op::Pure(Pure::MultiplyCarryless),
        M::Sha1rnds4 => Op::Pure(Pure::Sha1Rounds),
        M::Sha1nexte => Op::Pure(Pure::Sha1Next),
        M::Sha1msg1 => Op::Pure(Pure::Sha1First),
        M::Sha1msg2 => Op::Pure(Pure::Sha1Second),
        M::Sha256rnds2 => Op::Pure(Pure::Sha256Rounds),
        M::Sha256msg1 => Op::Pure(Pure::Sha256First),
        M::Sha256msg2 => Op::Pure(Pure::Sha256Second),
        M::Pshufd | M::Vpshufd => Op::Shuffle(Shuffle::Dwords),
        M::Pshuflw | M::Vpshuflw | M::Pshufw => Op::Shuffle(Shuffle::LowWords),
        M::Pshufhw | M::Vpshufhw => Op::Shuffle(Shuffle::HighWords),
        M::Shufps | M::Vshufps => Op::Shuffle(Shuffle::FloatDwords),
        M::Shufpd | M::Vshufpd => Op::Shuffle(Shuffle::FloatQwords),
        M::Punpcklbw | M::Vpunpcklbw => Op::Shuffle(Shuffle::UnpackLow(Size::B1)),
        M::Punpcklwd | M::Vpunpcklwd => Op::Shuffle(Shuffle::UnpackLow(Size::B2)),
        M::Punpckldq | M::Vpunpckldq | M::Unpcklps | M::Vunpcklps => {
            Op::Shuffle(Shuffle::UnpackLow(Size::B4))
        }
        M::Punpcklqdq | M::Vpunpcklqdq | M::Unpcklpd | M::Vunpcklpd | M::Movlhps | M::Vmovlhps => {
            Op::Shuffle(Shuffle::UnpackLow(Size::B8))
        }
        M::Punpckhbw | M::Vpunpckhbw => Op::Shuffle(Shuffle::UnpackHigh(Size::B1)),
        M::Punpckhwd | M::Vpunpckhwd => Op::Shuffle(Shuffle::UnpackHigh(Size::B2)),
        M::Punpckhdq | M::Vpunpckhdq | M::Unpckhps | M::Vunpckhps => {
            Op::Shuffle(Shuffle::UnpackHigh(Size::B4))
        }
        M::Punpckhqdq | M::Vpunpckhqdq | M::Unpckhpd | M::Vunpckhpd => {
            Op::Shuffle(Shuffle::UnpackHigh(Size::B8))
        }
        M::Movhlps | M::Vmovhlps => Op::Shuffle(Shuffle::HighToLow),
        M::Palignr | M::Vpalignr => Op::Shuffle(Shuffle::Align),
        M::Pslldq | M::Vpslldq => Op::Shuffle(Shuffle::BytesLeft),
        M::Psrldq | M::Vpsrldq => Op::Shuffle(Shuffle::BytesRight),
        M::Pblendw | M::Vpblendw => Op::Shuffle(Shuffle::Blend(Size::B2)),
        M::Blendps | M::Vblendps | M::Vpblendd => Op::Shuffle(Shuffle::Blend(Size::B4)),
        M::Blendpd | M::Vblendpd => Op::Shuffle(Shuffle::Blend(Size::B8)),
        M::Movsldup | M::Vmovsldup => Op::Shuffle(Shuffle::DuplicateEven(Size::B4)),
        M::Movddup | M::Vmovddup => Op::Shuffle(Shuffle::DuplicateEven(Size::B8)),
        M::Movshdup | M::Vmovshdup => Op::Shuffle(Shuffle::DuplicateOdd(Size::B4)),
        M::Psllw | M::Vpsllw => by(Op::Shift(VecShift::Shl, Size::B2), Pure::LeftWords),
        M::Pslld | M::Vpslld => by(Op::Shift(VecShift::Shl, Size::B4), Pure::LeftDwords),
        M::Psllq | M::Vpsllq => by(Op::Shift(VecShift::Shl, Size::B8), Pure::LeftQwords),
        M::Psrlw | M::Vpsrlw => by(Op::Shift(VecShift::Shr, Size::B2), Pure::RightWords),
        M::Psrld | M::Vpsrld => by(Op::Shift(VecShift::Shr, Size::B4), Pure::RightDwords),
        M::Psrlq | M::Vpsrlq => by(Op::Shift(VecShift::Shr, Size::B8), Pure::RightQwords),
        M::Psraw | M::Vpsraw => by(Op::Shift(VecShift::Sar, Size::B2), Pure::SignedWords),
        M::Psrad | M::Vpsrad => by(Op::Shift(VecShift::Sar, Size::B4), Pure::SignedDwords),
        M::Vpermilps => by(Op::Shuffle(Shuffle::Dwords), Pure::PermuteDwords),
        M::Vpermilpd => by(Op::Shuffle(Shuffle::Qwords), Pure::PermuteQwords),
        // The immediate of the lower half is that of the upper, three bits up.
        M::Mpsadbw | M::Vmpsadbw => Op::Pure(Pure::BlockDifferences),
        _ => return None,
    })
}

/// Kind, whether of doubles, and whether scalar.
fn arithmetic(insn: &Instruction) -> Option<(Kind, bool, bool)> {
    use Mnemonic as M;
    Some(match insn.mnemonic() {
        M::Addps | M::Vaddps => (Kind::Add, false, false),
        M::Addpd | M::Vaddpd => (Kind::Add, true, false),
        M::Addss | M::Vaddss => (Kind::Add, false, true),
        M::Addsd | M::Vaddsd => (Kind::Add, true, true),
        M::Subps | M::Vsubps => (Kind::Sub, false, false),
        M::Subpd | M::Vsubpd => (Kind::Sub, true, false),
        M::Subss | M::Vsubss => (Kind::Sub, false, true),
        M::Subsd | M::Vsubsd => (Kind::Sub, true, true),
        M::Mulps | M::Vmulps => (Kind::Mul, false, false),
        M::Mulpd | M::Vmulpd => (Kind::Mul, true, false),
        M::Mulss | M::Vmulss => (Kind::Mul, false, true),
        M::Mulsd | M::Vmulsd => (Kind::Mul, true, true),
        M::Divps | M::Vdivps => (Kind::Div, false, false),
        M::Divpd | M::Vdivpd => (Kind::Div, true, false),
        M::Divss | M::Vdivss => (Kind::Div, false, true),
        M::Divsd | M::Vdivsd => (Kind::Div, true, true),
        M::Minps | M::Vminps => (Kind::Min, false, false),
        M::Minpd | M::Vminpd => (Kind::Min, true, false),
        M::Minss | M::Vminss => (Kind::Min, false, true),
        M::Minsd | M::Vminsd => (Kind::Min, true, true),
        M::Maxps | M::Vmaxps => (Kind::Max, false, false),
        M::Maxpd | M::Vmaxpd => (Kind::Max, true, false),
        M::Maxss | M::Vmaxss => (Kind::Max, false, true),
        M::Maxsd | M::Vmaxsd => (Kind::Max, true, true),
        M::Sqrtps | M::Vsqrtps => (Kind::Sqrt, false, false),
        M::Sqrtpd | M::Vsqrtpd => (Kind::Sqrt, true, false),
        M::Sqrtss | M::Vsqrtss => (Kind::Sqrt, false, true),
        M::Sqrtsd | M::Vsqrtsd => (Kind::Sqrt, true, true),
        M::Cmpps | M::Vcmpps => (Kind::Compare, false, false),
        M::Cmppd | M::Vcmppd => (Kind::Compare, true, false),
        M::Cmpss | M::Vcmpss => (Kind::Compare, false, true),
        M::Cmpsd | M::Vcmpsd => (Kind::Compare, true, true),
        M::Roundps | M::Vroundps => (Kind::Round, false, false),
        M::Roundpd | M::Vroundpd => (Kind::Round, true, false),
        M::Roundss | M::Vroundss => (Kind::Round, false, true),
        M::Roundsd | M::Vroundsd => (Kind::Round, true, true),
        M::Rcpps | M::Vrcpps => (Kind::Reciprocal, false, false),
        M::Rcpss | M::Vrcpss => (Kind::Reciprocal, false, true),
        M::Rsqrtps | M::Vrsqrtps => (Kind::ReciprocalRoot, false, false),
        M::Rsqrtss | M::Vrsqrtss => (Kind::ReciprocalRoot, false, true),
        M::Addsubps | M::Vaddsubps => (Kind::SubAdd, false, false),
        M::Addsubpd | M::Vaddsubpd => (Kind::SubAdd, true, false),
        _ => return None,
    })
}

/// Kind, whether of doubles, whether scalar, and the order of operands: 0 for 132, 1 for 213, 2 for 231.
fn fused(insn: &Instruction) -> Option<(Kind, bool, bool, u8)> {
    use Mnemonic as M;
    Some(match insn.mnemonic() {
        M::Vfmadd132ps => (Kind::MulAdd, false, false, 0),
        M::Vfmadd213ps => (Kind::MulAdd, false, false, 1),
        M::Vfmadd231ps => (Kind::MulAdd, false, false, 2),
        M::Vfmadd132pd => (Kind::MulAdd, true, false, 0),
        M::Vfmadd213pd => (Kind::MulAdd, true, false, 1),
        M::Vfmadd231pd => (Kind::MulAdd, true, false, 2),
        M::Vfmadd132ss => (Kind::MulAdd, false, true, 0),
        M::Vfmadd213ss => (Kind::MulAdd, false, true, 1),
        M::Vfmadd231ss => (Kind::MulAdd, false, true, 2),
        M::Vfmadd132sd => (Kind::MulAdd, true, true, 0),
        M::Vfmadd213sd => (Kind::MulAdd, true, true, 1),
        M::Vfmadd231sd => (Kind::MulAdd, true, true, 2),
        M::Vfmsub132ps => (Kind::MulSub, false, false, 0),
        M::Vfmsub213ps => (Kind::MulSub, false, false, 1),
        M::Vfmsub231ps => (Kind::MulSub, false, false, 2),
        M::Vfmsub132pd => (Kind::MulSub, true, false, 0),
        M::Vfmsub213pd => (Kind::MulSub, true, false, 1),
        M::Vfmsub231pd => (Kind::MulSub, true, false, 2),
        M::Vfmsub132ss => (Kind::MulSub, false, true, 0),
        M::Vfmsub213ss => (Kind::MulSub, false, true, 1),
        M::Vfmsub231ss => (Kind::MulSub, false, true, 2),
        M::Vfmsub132sd => (Kind::MulSub, true, true, 0),
        M::Vfmsub213sd => (Kind::MulSub, true, true, 1),
        M::Vfmsub231sd => (Kind::MulSub, true, true, 2),
        M::Vfnmadd132ps => (Kind::NegMulAdd, false, false, 0),
        M::Vfnmadd213ps => (Kind::NegMulAdd, false, false, 1),
        M::Vfnmadd231ps => (Kind::NegMulAdd, false, false, 2),
        M::Vfnmadd132pd => (Kind::NegMulAdd, true, false, 0),
        M::Vfnmadd213pd => (Kind::NegMulAdd, true, false, 1),
        M::Vfnmadd231pd => (Kind::NegMulAdd, true, false, 2),
        M::Vfnmadd132ss => (Kind::NegMulAdd, false, true, 0),
        M::Vfnmadd213ss => (Kind::NegMulAdd, false, true, 1),
        M::Vfnmadd231ss => (Kind::NegMulAdd, false, true, 2),
        M::Vfnmadd132sd => (Kind::NegMulAdd, true, true, 0),
        M::Vfnmadd213sd => (Kind::NegMulAdd, true, true, 1),
        M::Vfnmadd231sd => (Kind::NegMulAdd, true, true, 2),
        M::Vfnmsub132ps => (Kind::NegMulSub, false, false, 0),
        M::Vfnmsub213ps => (Kind::NegMulSub, false, false, 1),
        M::Vfnmsub231ps => (Kind::NegMulSub, false, false, 2),
        M::Vfnmsub132pd => (Kind::NegMulSub, true, false, 0),
        M::Vfnmsub213pd => (Kind::NegMulSub, true, false, 1),
        M::Vfnmsub231pd => (Kind::NegMulSub, true, false, 2),
        M::Vfnmsub132ss => (Kind::NegMulSub, false, true, 0),
        M::Vfnmsub213ss => (Kind::NegMulSub, false, true, 1),
        M::Vfnmsub231ss => (Kind::NegMulSub, false, true, 2),
        M::Vfnmsub132sd => (Kind::NegMulSub, true, true, 0),
        M::Vfnmsub213sd => (Kind::NegMulSub, true, true, 1),
        M::Vfnmsub231sd => (Kind::NegMulSub, true, true, 2),
        M::Vfmaddsub132ps => (Kind::MulSubAdd, false, false, 0),
        M::Vfmaddsub213ps => (Kind::MulSubAdd, false, false, 1),
        M::Vfmaddsub231ps => (Kind::MulSubAdd, false, false, 2),
        M::Vfmaddsub132pd => (Kind::MulSubAdd, true, false, 0),
        M::Vfmaddsub213pd => (Kind::MulSubAdd, true, false, 1),
        M::Vfmaddsub231pd => (Kind::MulSubAdd, true, false, 2),
        M::Vfmsubadd132ps => (Kind::MulAddSub, false, false, 0),
        M::Vfmsubadd213ps => (Kind::MulAddSub, false, false, 1),
        M::Vfmsubadd231ps => (Kind::MulAddSub, false, false, 2),
        M::Vfmsubadd132pd => (Kind::MulAddSub, true, false, 0),
        M::Vfmsubadd213pd => (Kind::MulAddSub, true, false, 1),
        M::Vfmsubadd231pd => (Kind::MulAddSub, true, false, 2),
        _ => return None,
    })
}

fn definition(insn: &Instruction, shape: &Shape, o: &mut Operands) -> Option<Definition> {
    let p = &mut o.simd;
    if let Some(op) = lanes(insn, shape.immediate) {
        p.op = op;
        if op == Op::Pure(Pure::InsertFloat) && p.m == MEM {
            // There is one lane to choose from.
            p.imm &= 0x3f;
        }
        return Some(if shape.mm {
            def!(X86, "MMX", mmx::lanewise)
        } else {
            def!(X86, "SIMD", lanewise)
        });
    }
    let arithmetic = arithmetic(insn).map(|(kind, double, scalar)| (kind, double, scalar, p.imm));
    if let Some((kind, double, scalar, imm)) = arithmetic.or_else(|| fused(insn)) {
        p.op = Op::Float(Float { kind, double });
        p.imm = imm;
        return Some(if scalar {
            def!(X86, "SIMD float scalar", float::scalar)
        } else {
            def!(X86, "SIMD float", float::packed, [false])
        });
    }
    moving(insn, shape, p).or_else(|| others(insn, shape, p))
}

/// Moves.
fn moving(insn: &Instruction, shape: &Shape, p: &mut Simd) -> Option<Definition> {
    use Mnemonic as M;
    let mut sized = |size: u8, def: Definition| {
        p.bytes = size;
        def
    };
    Some(match insn.mnemonic() {
        M::Movaps
        | M::Vmovaps
        | M::Movapd
        | M::Vmovapd
        | M::Movups
        | M::Vmovups
        | M::Movupd
        | M::Vmovupd
        | M::Movdqa
        | M::Vmovdqa
        | M::Movdqu
        | M::Vmovdqu
        | M::Lddqu
        | M::Vlddqu
        | M::Movntps
        | M::Vmovntps
        | M::Movntpd
        | M::Vmovntpd
        | M::Movntdq
        | M::Vmovntdq
        | M::Movntdqa
        | M::Vmovntdqa => {
            p.op = Op::Move;
            if p.d == MEM {
                def!(X86, "MOVAPS", moves::store_all)
            } else if p.m == MEM {
                def!(X86, "MOVAPS", moves::load_all)
            } else {
                def!(X86, "MOVAPS", lanewise)
            }
        }
        M::Movd | M::Vmovd | M::Movq | M::Vmovq | M::Movntq => {
            let size = if matches!(insn.mnemonic(), M::Movd | M::Vmovd) {
                2
            } else {
                3
            };
            let to = if insn.op0_kind() == OpKind::Register {
                insn.op0_register()
            } else {
                Register::None
            };
            sized(
                size,
                if to.is_mm() {
                    def!(X86, "MOVQ", mmx::set_all, [false])
                } else if shape.mm {
                    def!(X86, "MOVQ", mmx::read_all)
                } else if to.is_xmm() {
                    def!(X86, "MOVQ", moves::set_low)
                } else {
                    p.imm = 0;
                    def!(X86, "MOVQ", moves::extract)
                },
            )
        }
        M::Movss | M::Vmovss | M::Movsd | M::Vmovsd => {
            let single = matches!(insn.mnemonic(), M::Movss | M::Vmovss);
            let size = if single { 2 } else { 3 };
            p.bytes = size;
            if p.d == MEM {
                def!(X86, "MOVSD", moves::extract)
            } else if p.m == MEM {
                def!(X86, "MOVSD", moves::set_low)
            } else {
                p.op = Op::Shuffle(Shuffle::Lowest(Size::from_log2(size.into())));
                p.bytes = 4;
                def!(X86, "MOVSD", lanewise)
            }
        }
        M::Movlps
        | M::Vmovlps
        | M::Movlpd
        | M::Vmovlpd
        | M::Movhps
        | M::Vmovhps
        | M::Movhpd
        | M::Vmovhpd => {
            let high = matches!(
                insn.mnemonic(),
                M::Movhps | M::Vmovhps | M::Movhpd | M::Vmovhpd
            );
            p.imm = high.into();
            p.bytes = 3;
            if p.d == MEM {
                def!(X86, "MOVHPS", moves::extract)
            } else {
                def!(X86, "MOVHPS", moves::insert)
            }
        }
        M::Movq2dq => def!(X86, "MOVQ2DQ", mmx::to_xmm),
        M::Movdq2q => def!(X86, "MOVDQ2Q", mmx::set_all, [true]),
        M::Pinsrw if shape.mm => def!(X86, "PINSRW", mmx::insert),
        M::Pinsrb | M::Vpinsrb => sized(0, def!(X86, "PINSRB", moves::insert)),
        M::Pinsrw | M::Vpinsrw => sized(1, def!(X86, "PINSRW", moves::insert)),
        M::Pinsrd | M::Vpinsrd => sized(2, def!(X86, "PINSRD", moves::insert)),
        M::Pinsrq | M::Vpinsrq => sized(3, def!(X86, "PINSRQ", moves::insert)),
        M::Pextrw if shape.mm => def!(X86, "PEXTRW", mmx::extract),
        M::Pextrb | M::Vpextrb => sized(0, def!(X86, "PEXTRB", moves::extract)),
        M::Pextrw | M::Vpextrw => sized(1, def!(X86, "PEXTRW", moves::extract)),
        M::Pextrd | M::Vpextrd | M::Extractps | M::Vextractps => {
            sized(2, def!(X86, "PEXTRD", moves::extract))
        }
        M::Pextrq | M::Vpextrq => sized(3, def!(X86, "PEXTRQ", moves::extract)),
        M::Pmovmskb if shape.mm => def!(X86, "PMOVMSKB", mmx::signs),
        M::Pmovmskb | M::Vpmovmskb => sized(0, def!(X86, "PMOVMSKB", moves::signs)),
        M::Movmskps | M::Vmovmskps => sized(2, def!(X86, "MOVMSKPS", moves::signs)),
        M::Movmskpd | M::Vmovmskpd => sized(3, def!(X86, "MOVMSKPD", moves::signs)),
        M::Vpbroadcastb => sized(0, def!(X86, "VPBROADCASTB", moves::broadcast)),
        M::Vpbroadcastw => sized(1, def!(X86, "VPBROADCASTW", moves::broadcast)),
        M::Vpbroadcastd | M::Vbroadcastss => sized(2, def!(X86, "VBROADCASTSS", moves::broadcast)),
        M::Vpbroadcastq | M::Vbroadcastsd => sized(3, def!(X86, "VBROADCASTSD", moves::broadcast)),
        M::Vbroadcastf128 | M::Vbroadcasti128 => {
            def!(X86, "VBROADCASTF128", moves::broadcast_half)
        }
        M::Maskmovq => def!(X86, "MASKMOVQ", mmx::store_bytes),
        M::Maskmovdqu | M::Vmaskmovdqu => def!(X86, "MASKMOVDQU", masked::store_bytes),
        M::Vmaskmovps | M::Vpmaskmovd | M::Vmaskmovpd | M::Vpmaskmovq => {
            let singles = matches!(insn.mnemonic(), M::Vmaskmovps | M::Vpmaskmovd);
            p.imm = if singles { 2 } else { 3 };
            if p.d == MEM {
                def!(X86, "VMASKMOV", masked::store_lanes)
            } else {
                def!(X86, "VMASKMOV", masked::load_lanes)
            }
        }
        _ => return None,
    })
}

/// What is left.
fn others(insn: &Instruction, shape: &Shape, p: &mut Simd) -> Option<Definition> {
    use Mnemonic as M;
    let mut with = |imm: u8, def: Definition| {
        p.imm = imm;
        def
    };
    Some(match insn.mnemonic() {
        M::Ptest | M::Vptest => with(0, def!(X86, "PTEST", compare::test)),
        M::Vtestps => with(2, def!(X86, "VTESTPS", compare::test)),
        M::Vtestpd => with(3, def!(X86, "VTESTPD", compare::test)),
        M::Comiss | M::Vcomiss | M::Comisd | M::Vcomisd => {
            p.bytes = scalar_size(insn);
            def!(X86, "COMISD", compare::flags, [true])
        }
        M::Ucomiss | M::Vucomiss | M::Ucomisd | M::Vucomisd => {
            p.bytes = scalar_size(insn);
            def!(X86, "UCOMISD", compare::flags, [false])
        }
        M::Haddps | M::Vhaddps | M::Haddpd | M::Vhaddpd => {
            let double = matches!(insn.mnemonic(), M::Haddpd | M::Vhaddpd);
            p.op = Op::Float(Float {
                kind: Kind::Add,
                double,
            });
            def!(X86, "HADDPS", float::packed, [true])
        }
        M::Hsubps | M::Vhsubps | M::Hsubpd | M::Vhsubpd => {
            let double = matches!(insn.mnemonic(), M::Hsubpd | M::Vhsubpd);
            p.op = Op::Float(Float {
                kind: Kind::Sub,
                double,
            });
            def!(X86, "HSUBPS", float::packed, [true])
        }
        M::Dpps | M::Vdpps => def!(X86, "DPPS", dot::dot_product, [false]),
        M::Dppd | M::Vdppd => def!(X86, "DPPD", dot::dot_product, [true]),
        M::Vpermq | M::Vpermpd => def!(X86, "VPERMQ", across::permute_qwords),
        M::Vpermd | M::Vpermps => def!(X86, "VPERMD", across::permute_dwords),
        M::Vperm2f128 | M::Vperm2i128 => def!(X86, "VPERM2F128", across::permute_halves),
        M::Vinsertf128 | M::Vinserti128 => def!(X86, "VINSERTF128", across::insert_half),
        M::Vextractf128 | M::Vextracti128 => {
            p.wide = false;
            def!(X86, "VEXTRACTF128", across::extract_half)
        }
        M::Pmovsxbw | M::Vpmovsxbw => def!(X86, "PMOVSX", across::extend, [true, 0, 1]),
        M::Pmovsxbd | M::Vpmovsxbd => def!(X86, "PMOVSX", across::extend, [true, 0, 2]),
        M::Pmovsxbq | M::Vpmovsxbq => def!(X86, "PMOVSX", across::extend, [true, 0, 3]),
        M::Pmovsxwd | M::Vpmovsxwd => def!(X86, "PMOVSX", across::extend, [true, 1, 2]),
        M::Pmovsxwq | M::Vpmovsxwq => def!(X86, "PMOVSX", across::extend, [true, 1, 3]),
        M::Pmovsxdq | M::Vpmovsxdq => def!(X86, "PMOVSX", across::extend, [true, 2, 3]),
        M::Pmovzxbw | M::Vpmovzxbw => def!(X86, "PMOVZX", across::extend, [false, 0, 1]),
        M::Pmovzxbd | M::Vpmovzxbd => def!(X86, "PMOVZX", across::extend, [false, 0, 2]),
        M::Pmovzxbq | M::Vpmovzxbq => def!(X86, "PMOVZX", across::extend, [false, 0, 3]),
        M::Pmovzxwd | M::Vpmovzxwd => def!(X86, "PMOVZX", across::extend, [false, 1, 2]),
        M::Pmovzxwq | M::Vpmovzxwq => def!(X86, "PMOVZX", across::extend, [false, 1, 3]),
        M::Pmovzxdq | M::Vpmovzxdq => def!(X86, "PMOVZX", across::extend, [false, 2, 3]),
        M::Cvtdq2ps | M::Vcvtdq2ps => def!(X86, "CVTDQ2PS", convert::packed, [3, 1, false]),
        M::Cvtps2dq | M::Vcvtps2dq => def!(X86, "CVTPS2DQ", convert::packed, [1, 3, false]),
        M::Cvttps2dq | M::Vcvttps2dq => def!(X86, "CVTTPS2DQ", convert::packed, [1, 3, true]),
        M::Cvtdq2pd | M::Vcvtdq2pd => def!(X86, "CVTDQ2PD", convert::packed, [3, 2, false]),
        M::Cvtpd2dq | M::Vcvtpd2dq => def!(X86, "CVTPD2DQ", convert::packed, [2, 3, false]),
        M::Cvttpd2dq | M::Vcvttpd2dq => def!(X86, "CVTTPD2DQ", convert::packed, [2, 3, true]),
        M::Cvtps2pd | M::Vcvtps2pd => def!(X86, "CVTPS2PD", convert::packed, [1, 2, false]),
        M::Cvtpd2ps | M::Vcvtpd2ps => def!(X86, "CVTPD2PS", convert::packed, [2, 1, false]),
        M::Vcvtph2ps => def!(X86, "VCVTPH2PS", convert::packed, [0, 1, false]),
        M::Vcvtps2ph => def!(X86, "VCVTPS2PH", convert::packed, [1, 0, false]),
        M::Cvtss2sd | M::Vcvtss2sd => def!(X86, "CVTSS2SD", convert::to_lane, [1, 2]),
        M::Cvtsd2ss | M::Vcvtsd2ss => def!(X86, "CVTSD2SS", convert::to_lane, [2, 1]),
        M::Cvtss2si | M::Vcvtss2si => def!(X86, "CVTSS2SI", convert::to_register, [1, false]),
        M::Cvttss2si | M::Vcvttss2si => def!(X86, "CVTTSS2SI", convert::to_register, [1, true]),
        M::Cvtsd2si | M::Vcvtsd2si => def!(X86, "CVTSD2SI", convert::to_register, [2, false]),
        M::Cvttsd2si | M::Vcvttsd2si => def!(X86, "CVTTSD2SI", convert::to_register, [2, true]),
        M::Cvtsi2ss | M::Vcvtsi2ss if p.bytes == 3 => {
            def!(X86, "CVTSI2SS", convert::to_lane, [4, 1])
        }
        M::Cvtsi2ss | M::Vcvtsi2ss => def!(X86, "CVTSI2SS", convert::to_lane, [3, 1]),
        M::Cvtsi2sd | M::Vcvtsi2sd if p.bytes == 3 => {
            def!(X86, "CVTSI2SD", convert::to_lane, [4, 2])
        }
        M::Cvtsi2sd | M::Vcvtsi2sd => def!(X86, "CVTSI2SD", convert::to_lane, [3, 2]),
        M::Cvtpi2ps => def!(X86, "CVTPI2PS", mmx::to_floats, [1]),
        M::Cvtpi2pd => def!(X86, "CVTPI2PD", mmx::to_floats, [2]),
        M::Cvtps2pi => def!(X86, "CVTPS2PI", mmx::from_floats, [1, false]),
        M::Cvttps2pi => def!(X86, "CVTTPS2PI", mmx::from_floats, [1, true]),
        M::Cvtpd2pi => def!(X86, "CVTPD2PI", mmx::from_floats, [2, false]),
        M::Cvttpd2pi => def!(X86, "CVTTPD2PI", mmx::from_floats, [2, true]),
        M::Vgatherdps | M::Vpgatherdd => def!(X86, "VGATHER", masked::gather, [2, 2]),
        M::Vgatherdpd | M::Vpgatherdq => def!(X86, "VGATHER", masked::gather, [2, 3]),
        M::Vgatherqps | M::Vpgatherqd => def!(X86, "VGATHER", masked::gather, [3, 2]),
        M::Vgatherqpd | M::Vpgatherqq => def!(X86, "VGATHER", masked::gather, [3, 3]),
        M::Pcmpestri | M::Vpcmpestri => {
            def!(X86, "PCMPESTRI", strings::compare, [true, false, false])
        }
        M::Pcmpestri64 | M::Vpcmpestri64 => {
            def!(X86, "PCMPESTRI", strings::compare, [true, true, false])
        }
        M::Pcmpestrm | M::Vpcmpestrm => {
            def!(X86, "PCMPESTRM", strings::compare, [true, false, true])
        }
        M::Pcmpestrm64 | M::Vpcmpestrm64 => {
            def!(X86, "PCMPESTRM", strings::compare, [true, true, true])
        }
        M::Pcmpistri | M::Vpcmpistri => {
            def!(X86, "PCMPISTRI", strings::compare, [false, false, false])
        }
        M::Pcmpistrm | M::Vpcmpistrm => {
            def!(X86, "PCMPISTRM", strings::compare, [false, false, true])
        }
        M::Ldmxcsr | M::Vldmxcsr => def!(X86, "LDMXCSR", controls::load_mxcsr, ends),
        M::Stmxcsr | M::Vstmxcsr => def!(X86, "STMXCSR", controls::store_mxcsr),
        M::Vzeroupper => def!(X86, "VZEROUPPER", moves::zero, [false]),
        M::Vzeroall => def!(X86, "VZEROALL", moves::zero, [true]),
        M::Emms if shape.mm => def!(X86, "EMMS", mmx::leave),
        _ => return None,
    })
}

/// Base-2 logarithm of the bytes that COMISx compares.
fn scalar_size(insn: &Instruction) -> u8 {
    use Mnemonic as M;
    if matches!(
        insn.mnemonic(),
        M::Comiss | M::Vcomiss | M::Ucomiss | M::Vucomiss
    ) {
        2
    } else {
        3
    }
}
