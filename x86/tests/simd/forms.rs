//! The forms: each SIMD instruction that the decoder knows of the features below, with registers and
//! memory in several arrangements.

use iced_x86::{
    Code, CpuidFeature, Encoder, EncodingKind, Instruction, MemoryOperand, OpCodeOperandKind,
    OpKind, Register,
};

/// Where an instruction's operands are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrangement {
    /// Registers with low numbers.
    Low,
    /// Registers with high numbers.
    High,
    /// The same register everywhere.
    Same,
    /// Memory, at a multiple of 32.
    Aligned,
    /// Memory, at no multiple of anything.
    Unaligned,
}

pub const ARRANGEMENTS: [Arrangement; 5] = [
    Arrangement::Low,
    Arrangement::High,
    Arrangement::Same,
    Arrangement::Aligned,
    Arrangement::Unaligned,
];

/// The number of the register that gathers have as an index.
pub const INDEX: usize = 5;

fn wanted(feature: CpuidFeature) -> bool {
    use CpuidFeature as F;
    matches!(
        feature,
        F::MMX
            | F::SSE
            | F::SSE2
            | F::SSE3
            | F::SSSE3
            | F::SSE4_1
            | F::SSE4_2
            | F::AES
            | F::PCLMULQDQ
            | F::SHA
            | F::AVX
            | F::AVX2
            | F::FMA
            | F::F16C
            | F::VAES
            | F::VPCLMULQDQ
    )
}

/// Whether the host has what the instruction is of.
pub fn here(code: Code) -> bool {
    code.cpuid_features().iter().all(|feature| match feature {
        CpuidFeature::SSE3 => is_x86_feature_detected!("sse3"),
        CpuidFeature::SSSE3 => is_x86_feature_detected!("ssse3"),
        CpuidFeature::SSE4_1 => is_x86_feature_detected!("sse4.1"),
        CpuidFeature::SSE4_2 => is_x86_feature_detected!("sse4.2"),
        CpuidFeature::AES => is_x86_feature_detected!("aes"),
        CpuidFeature::PCLMULQDQ => is_x86_feature_detected!("pclmulqdq"),
        CpuidFeature::SHA => is_x86_feature_detected!("sha"),
        CpuidFeature::AVX => is_x86_feature_detected!("avx"),
        CpuidFeature::AVX2 => is_x86_feature_detected!("avx2"),
        CpuidFeature::FMA => is_x86_feature_detected!("fma"),
        CpuidFeature::F16C => is_x86_feature_detected!("f16c"),
        CpuidFeature::VAES => is_x86_feature_detected!("vaes"),
        CpuidFeature::VPCLMULQDQ => is_x86_feature_detected!("vpclmulqdq"),
        _ => true,
    })
}

/// All instructions to be compared.
pub fn all() -> Vec<Code> {
    let others = [
        Code::Ldmxcsr_m32,
        Code::Stmxcsr_m32,
        Code::VEX_Vldmxcsr_m32,
        Code::VEX_Vstmxcsr_m32,
        Code::Emms,
        Code::VEX_Vzeroupper,
        Code::VEX_Vzeroall,
    ];
    Code::values()
        .filter(|code| {
            let op = code.op_code();
            let encoding = matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
            let features = code.cpuid_features();
            let vector = op.op_kinds().iter().any(|kind| {
                let name = format!("{kind:?}");
                ["mm_", "xmm_", "ymm_"].iter().any(|p| name.starts_with(p))
            });
            encoding
                && op.is_instruction()
                && op.mode64()
                && !features.is_empty()
                && features.iter().all(|f| wanted(*f))
                && (vector || others.contains(code))
        })
        .collect()
}

/// Whether the instruction estimates, so that its result is not the host's to the bit.
pub fn estimates(code: Code) -> bool {
    let name = format!("{:?}", code.mnemonic());
    name.contains("Rcp") || name.contains("Rsqrt") || name.contains("rcp") || name.contains("rsqrt")
}

/// Whether MXCSR has a bearing on the instruction.
pub fn is_float(code: Code) -> bool {
    let name = format!("{:?}", code.mnemonic()).to_lowercase();
    let name = name.strip_prefix('v').unwrap_or(&name);
    let starts = [
        "add", "sub", "mul", "div", "min", "max", "sqrt", "cmp", "round", "rcp", "rsqrt", "hadd",
        "hsub", "dpp", "fm", "fnm", "cvt", "comis", "ucomis", "ldmx", "stmx",
    ];
    starts.iter().any(|start| name.starts_with(start))
}

fn register(kind: OpCodeOperandKind, at: usize, arrangement: Arrangement) -> Option<Register> {
    use OpCodeOperandKind as K;
    let number = match arrangement {
        Arrangement::Same => 2,
        Arrangement::High => 9 + at as u32,
        _ => 1 + at as u32,
    };
    let general = match arrangement {
        Arrangement::High => 9 + at as u32,
        _ => at as u32,
    };
    Some(match kind {
        K::xmm_reg | K::xmm_rm | K::xmm_vvvv | K::xmm_is4 | K::xmm_or_mem => {
            Register::XMM0 + number
        }
        K::ymm_reg | K::ymm_rm | K::ymm_vvvv | K::ymm_is4 | K::ymm_or_mem => {
            Register::YMM0 + number
        }
        K::mm_reg | K::mm_rm | K::mm_or_mem => Register::MM0 + number % 8,
        K::r32_reg | K::r32_rm | K::r32_or_mem | K::r32_vvvv => Register::EAX + general,
        K::r64_reg | K::r64_rm | K::r64_or_mem | K::r64_vvvv => Register::RAX + general,
        _ => return None,
    })
}

/// The bytes of a form; none if the instruction has no such arrangement.
pub fn encode(code: Code, arrangement: Arrangement, imm: u8) -> Option<Vec<u8>> {
    use OpCodeOperandKind as K;
    let in_memory = matches!(arrangement, Arrangement::Aligned | Arrangement::Unaligned);
    let displacement = if arrangement == Arrangement::Aligned {
        0x40
    } else {
        0x43
    };
    let mut insn = Instruction::default();
    insn.set_code(code);
    let kinds = code.op_code().op_kinds();
    let mut has_memory = false;
    let mut vectors = 0;
    for (at, kind) in kinds.iter().enumerate() {
        let index = at as u32;
        let choice = matches!(
            kind,
            K::xmm_or_mem | K::ymm_or_mem | K::mm_or_mem | K::r32_or_mem | K::r64_or_mem
        );
        match kind {
            _ if choice && !in_memory => {
                insn.set_op_register(index, register(*kind, at, arrangement)?);
                vectors += 1;
            }
            K::mem | K::mem_vsib32x | K::mem_vsib64x | K::mem_vsib32y | K::mem_vsib64y => {
                if !in_memory {
                    return None;
                }
                let vsib = match kind {
                    K::mem_vsib32x | K::mem_vsib64x => Register::XMM5,
                    K::mem_vsib32y | K::mem_vsib64y => Register::YMM5,
                    _ => Register::None,
                };
                set_memory(&mut insn, index, vsib, displacement);
                has_memory = true;
            }
            _ if choice => {
                set_memory(&mut insn, index, Register::None, displacement);
                has_memory = true;
            }
            K::imm8 => {
                insn.set_op_kind(index, OpKind::Immediate8);
                insn.set_immediate8(imm);
            }
            K::seg_rDI => insn.set_op_kind(index, OpKind::MemorySegRDI),
            _ => {
                insn.set_op_register(index, register(*kind, at, arrangement)?);
                vectors += 1;
            }
        }
    }
    if in_memory && !has_memory && arrangement == Arrangement::Unaligned {
        return None;
    }
    if in_memory && !has_memory {
        // Those without operands have one form.
        let none = kinds.is_empty();
        if !none {
            return None;
        }
    }
    if !in_memory && vectors == 0 {
        return None;
    }
    let mut encoder = Encoder::new(64);
    encoder.encode(&insn, 0).ok()?;
    Some(encoder.take_buffer())
}

fn set_memory(insn: &mut Instruction, index: u32, vsib: Register, displacement: i64) {
    let memory = MemoryOperand::with_base_index_scale_displ_size(
        Register::RBX,
        vsib,
        if vsib == Register::None { 1 } else { 4 },
        displacement,
        1,
    );
    insn.set_op_kind(index, OpKind::Memory);
    insn.set_memory_base(memory.base);
    insn.set_memory_index(memory.index);
    insn.set_memory_index_scale(memory.scale);
    insn.set_memory_displ_size(memory.displ_size);
    insn.set_memory_displacement64(displacement as u64);
}
