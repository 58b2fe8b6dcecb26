//! Which instructions KVM's instruction emulator knows. Where an access finds no memory, KVM runs the
//! instruction itself, and what is not here it fails to ([`crate::emulation`]). Seen on Linux 6.12.117's
//! KVM/AMD, instruction by instruction, as far as its processor has them.

use super::mode;
use iced_x86::{Code, ConditionCode, Instruction, Mnemonic};

/// Whether it knows an instruction that has an operand in memory.
pub(super) fn knows(mode: u32, insn: &Instruction) -> bool {
    use Mnemonic as M;
    match insn.mnemonic() {
        // SETcc and CMOVcc.
        _ if insn.condition_code() != ConditionCode::None => true,
        M::Add | M::Or | M::Adc | M::Sbb | M::And | M::Sub | M::Xor | M::Cmp | M::Test => true,
        M::Inc | M::Dec | M::Not | M::Neg | M::Mul | M::Imul | M::Div | M::Idiv => true,
        M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shl | M::Sal | M::Shr | M::Sar => true,
        M::Shld | M::Shrd | M::Bt | M::Bts | M::Btr | M::Btc => true,
        // It takes TZCNT and LZCNT for BSF and BSR.
        M::Bsf | M::Bsr | M::Tzcnt | M::Lzcnt => true,
        M::Mov | M::Movzx | M::Movsx | M::Movsxd | M::Movbe | M::Movnti | M::Xlatb => true,
        M::Xchg | M::Xadd | M::Cmpxchg | M::Cmpxchg8b => true,
        M::Push | M::Pop | M::Call | M::Jmp => true,
        M::Lds | M::Les | M::Lfs | M::Lgs | M::Lss => true,
        M::Sldt | M::Str | M::Lldt | M::Ltr | M::Smsw | M::Lmsw => true,
        M::Sgdt | M::Sidt | M::Lgdt | M::Lidt => true,
        M::Insb | M::Insw | M::Insd | M::Outsb | M::Outsw | M::Outsd => true,
        M::Movsb | M::Movsw | M::Movsq | M::Stosb | M::Stosw | M::Stosd | M::Stosq => true,
        M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq => true,
        M::Cmpsb | M::Cmpsw | M::Cmpsq => true,
        M::Scasb | M::Scasw | M::Scasd | M::Scasq => true,
        // Not SSE's of these names.
        M::Movsd => insn.code() == Code::Movsd_m32_m32,
        M::Cmpsd => insn.code() == Code::Cmpsd_m32_m32,
        M::Movq => matches!(insn.code(), Code::Movq_mm_mmm64 | Code::Movq_mmm64_mm),
        M::Movups | M::Movupd | M::Movaps | M::Movapd | M::Movdqu | M::Movdqa => true,
        M::Movntps | M::Movntpd | M::Movntdq => true,
        M::Fnstcw | M::Fnstsw => true,
        M::Fxsave | M::Fxrstor => mode & mode::CODE64 == 0,
        _ => false,
    }
}
