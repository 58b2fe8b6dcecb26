//! What decoding leaves of an x87 instruction.

use super::super::{Loc, Operands, refuse};
use super::{conditional_move, execute, status_to_register};
use crate::X86;
use crate::fpu::Needs;
use crate::segments::seg;
use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind};
use understudy_engine::arch::Def;
use understudy_engine::def;

/// Defines [`Op`] and the table of its values.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What an instruction does; whence, whither and what it pops the rest of [`Form`] says.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
        #[repr(u8)]
        pub(super) enum Op { $($(#[$doc])* $name,)* }
        const OPERATIONS: &[Op] = &[$(Op::$name,)*];
    };
}

operations! {
    Add, Mul, Sub, SubReversed, Div, DivReversed,
    Com, Ucom, Comi, Ucomi,
    // Functions.
    Test, Examine, Abs, ChangeSign, Sqrt, RoundInt, Scale, Extract, Remainder, RemainderNearest,
    PowerMinusOne, Logarithm, LogarithmPlusOne, Sine, Cosine, SineCosine, Tangent, ArcTangent,
    // Transfers.
    Load, Store, StoreTruncated, StoreNoFault, Exchange, MoveIf,
    One, Log2Of10, Log2OfE, Pi, Log10Of2, LnOf2, Zero,
    // Controls.
    Free, FreePop, Increment, Decrement, Nop,
    Init, ClearExceptions, LoadControl, StoreControl, StoreStatus,
    LoadEnvironment, StoreEnvironment, Save, Restore,
}

impl Op {
    pub(super) fn is_control(self) -> bool {
        self >= Op::Free
    }
    pub(super) fn transfers(self) -> bool {
        self >= Op::Load && !self.is_control()
    }
    pub(super) fn is_function(self) -> bool {
        self >= Op::Test && self < Op::Load
    }
}

/// An operand in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Memory {
    Single,
    Double,
    Extended,
    Int16,
    Int32,
    Int64,
    Bcd,
    Word,
    /// The 16-bit format of the environment or the whole state.
    Short,
    /// Their 32-bit format.
    Long,
}

const MEMORIES: [Memory; 10] = [
    Memory::Single,
    Memory::Double,
    Memory::Extended,
    Memory::Int16,
    Memory::Int32,
    Memory::Int64,
    Memory::Bcd,
    Memory::Word,
    Memory::Short,
    Memory::Long,
];

/// An instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) op: Op,
    /// ST(i).
    pub(super) i: u8,
    /// How often the stack is popped.
    pub(super) pops: u8,
    /// The destination is ST(i), and the source ST(0).
    pub(super) into_i: bool,
    pub(super) memory: Option<Memory>,
    /// [`super::super::via`].
    pub(super) via: u8,
    /// The segment of the operand in memory.
    pub(super) segment: u8,
    /// FOP.
    pub(super) opcode: u16,
}

impl Form {
    /// As the immediate of [`Operands`].
    fn pack(&self) -> u64 {
        let memory = self.memory.map_or(15, |memory| memory as u64);
        self.op as u64
            | u64::from(self.i) << 8
            | u64::from(self.pops) << 11
            | u64::from(self.into_i) << 13
            | memory << 14
            | u64::from(self.via) << 18
            | u64::from(self.segment) << 26
            | u64::from(self.opcode) << 29
    }

    pub(super) fn unpack(bits: u64) -> Form {
        let op = OPERATIONS.get((bits & 0xff) as usize);
        Form {
            op: op.copied().unwrap_or(Op::Nop),
            i: (bits >> 8 & 7) as u8,
            pops: (bits >> 11 & 3) as u8,
            into_i: bits >> 13 & 1 != 0,
            memory: MEMORIES.get((bits >> 14 & 15) as usize).copied(),
            via: (bits >> 18) as u8,
            segment: (bits >> 26 & 7) as u8,
            opcode: (bits >> 29 & 0x7ff) as u16,
        }
    }

    /// Bytes of the operand in memory.
    pub(super) fn bytes(&self) -> u64 {
        let whole = matches!(self.op, Op::Save | Op::Restore);
        match self.memory {
            None => 0,
            Some(Memory::Int16 | Memory::Word) => 2,
            Some(Memory::Single | Memory::Int32) => 4,
            Some(Memory::Double | Memory::Int64) => 8,
            Some(Memory::Extended | Memory::Bcd) => 10,
            Some(Memory::Short) => 14 + if whole { 80 } else { 0 },
            Some(Memory::Long) => 28 + if whole { 80 } else { 0 },
        }
    }

    /// Whether memory is written.
    pub(super) fn writes(&self) -> bool {
        use Op::{
            Save, Store, StoreControl, StoreEnvironment, StoreNoFault, StoreStatus, StoreTruncated,
        };
        matches!(
            self.op,
            Store
                | StoreTruncated
                | StoreNoFault
                | StoreControl
                | StoreStatus
                | StoreEnvironment
                | Save
        )
    }
}

fn memory(size: MemorySize) -> Memory {
    match size {
        MemorySize::Float32 => Memory::Single,
        MemorySize::Float64 => Memory::Double,
        MemorySize::Float80 => Memory::Extended,
        MemorySize::Int16 => Memory::Int16,
        MemorySize::Int32 => Memory::Int32,
        MemorySize::Int64 => Memory::Int64,
        MemorySize::Bcd => Memory::Bcd,
        MemorySize::FpuEnv14 | MemorySize::FpuState94 => Memory::Short,
        MemorySize::FpuEnv28 | MemorySize::FpuState108 => Memory::Long,
        _ => Memory::Word,
    }
}

/// The operation of a mnemonic, and what it pops.
fn operation(mnemonic: Mnemonic) -> Option<(Op, u8)> {
    use Mnemonic as M;
    Some(match mnemonic {
        M::Fadd | M::Fiadd => (Op::Add, 0),
        M::Faddp => (Op::Add, 1),
        M::Fmul | M::Fimul => (Op::Mul, 0),
        M::Fmulp => (Op::Mul, 1),
        M::Fsub | M::Fisub => (Op::Sub, 0),
        M::Fsubp => (Op::Sub, 1),
        M::Fsubr | M::Fisubr => (Op::SubReversed, 0),
        M::Fsubrp => (Op::SubReversed, 1),
        M::Fdiv | M::Fidiv => (Op::Div, 0),
        M::Fdivp => (Op::Div, 1),
        M::Fdivr | M::Fidivr => (Op::DivReversed, 0),
        M::Fdivrp => (Op::DivReversed, 1),
        M::Fcom | M::Ficom => (Op::Com, 0),
        M::Fcomp | M::Ficomp => (Op::Com, 1),
        M::Fcompp => (Op::Com, 2),
        M::Fucom => (Op::Ucom, 0),
        M::Fucomp => (Op::Ucom, 1),
        M::Fucompp => (Op::Ucom, 2),
        M::Fcomi => (Op::Comi, 0),
        M::Fcomip => (Op::Comi, 1),
        M::Fucomi => (Op::Ucomi, 0),
        M::Fucomip => (Op::Ucomi, 1),
        M::Ftst => (Op::Test, 0),
        M::Fxam => (Op::Examine, 0),
        M::Fabs => (Op::Abs, 0),
        M::Fchs => (Op::ChangeSign, 0),
        M::Fsqrt => (Op::Sqrt, 0),
        M::Frndint => (Op::RoundInt, 0),
        M::Fscale => (Op::Scale, 0),
        M::Fxtract => (Op::Extract, 0),
        M::Fprem => (Op::Remainder, 0),
        M::Fprem1 => (Op::RemainderNearest, 0),
        M::F2xm1 => (Op::PowerMinusOne, 0),
        M::Fyl2x => (Op::Logarithm, 1),
        M::Fyl2xp1 => (Op::LogarithmPlusOne, 1),
        M::Fsin => (Op::Sine, 0),
        M::Fcos => (Op::Cosine, 0),
        M::Fsincos => (Op::SineCosine, 0),
        M::Fptan => (Op::Tangent, 0),
        M::Fpatan => (Op::ArcTangent, 1),
        M::Fld | M::Fild | M::Fbld => (Op::Load, 0),
        M::Fst | M::Fist => (Op::Store, 0),
        M::Fstp | M::Fistp | M::Fbstp => (Op::Store, 1),
        M::Fstpnce => (Op::StoreNoFault, 1),
        M::Fisttp => (Op::StoreTruncated, 1),
        M::Fxch => (Op::Exchange, 0),
        M::Fcmovb
        | M::Fcmove
        | M::Fcmovbe
        | M::Fcmovu
        | M::Fcmovnb
        | M::Fcmovne
        | M::Fcmovnbe
        | M::Fcmovnu => (Op::MoveIf, 0),
        M::Fld1 => (Op::One, 0),
        M::Fldl2t => (Op::Log2Of10, 0),
        M::Fldl2e => (Op::Log2OfE, 0),
        M::Fldpi => (Op::Pi, 0),
        M::Fldlg2 => (Op::Log10Of2, 0),
        M::Fldln2 => (Op::LnOf2, 0),
        M::Fldz => (Op::Zero, 0),
        M::Ffree => (Op::Free, 0),
        M::Ffreep => (Op::FreePop, 0),
        M::Fincstp => (Op::Increment, 0),
        M::Fdecstp => (Op::Decrement, 0),
        // The second line is of coprocessors of the past, and does nothing.
        M::Fnop | M::Fneni | M::Fndisi | M::Fnsetpm => (Op::Nop, 0),
        M::Fninit => (Op::Init, 0),
        M::Fnclex => (Op::ClearExceptions, 0),
        M::Fldcw => (Op::LoadControl, 0),
        M::Fnstcw => (Op::StoreControl, 0),
        M::Fnstsw => (Op::StoreStatus, 0),
        M::Fldenv => (Op::LoadEnvironment, 0),
        M::Fnstenv => (Op::StoreEnvironment, 0),
        M::Fnsave => (Op::Save, 0),
        M::Frstor => (Op::Restore, 0),
        _ => return None,
    })
}

/// The condition of FCMOVcc, as Jcc encodes it.
fn condition(mnemonic: Mnemonic) -> &'static Def<X86> {
    use Mnemonic as M;
    macro_rules! by_code {
        ($($name:ident $code:literal)*) => {
            match mnemonic {
                $(M::$name => def!(X86, "FCMOVcc", conditional_move, [$code]),)*
                _ => def!(X86, "FCMOVcc", conditional_move, [11]),
            }
        };
    }
    by_code!(Fcmovb 2 Fcmovnb 3 Fcmove 4 Fcmovne 5 Fcmovbe 6 Fcmovnbe 7 Fcmovu 10)
}

/// FOP: the low three bits of the opcode's first byte, and the second (SDM vol. 1, 8.1.9).
fn opcode(bytes: &[u8]) -> u16 {
    // Prefixes and REX are none of these.
    let first = bytes.iter().position(|byte| byte & 0xf8 == 0xd8);
    let two = first.and_then(|at| bytes.get(at..at + 2));
    two.map_or(0, |two| u16::from_be_bytes([two[0] & 7, two[1]]))
}

/// The semantics of an instruction of the x87, if it is one.
pub(in super::super) fn definition(
    mode: u32,
    insn: &Instruction,
    bytes: &[u8],
    o: &mut Operands,
) -> Option<&'static Def<X86>> {
    let mnemonic = insn.mnemonic();
    let (op, pops) = operation(mnemonic)?;
    let needs = match op {
        Op::Init
        | Op::ClearExceptions
        | Op::StoreControl
        | Op::StoreStatus
        | Op::StoreEnvironment
        | Op::Save => Needs::X87NoWait,
        _ => Needs::X87,
    };
    if let Some(refused) = refuse::refused(mode, needs) {
        return Some(refused);
    }
    let in_memory = (0..insn.op_count()).any(|index| insn.op_kind(index) == OpKind::Memory);
    let register = |index| {
        let register = insn.op_register(index);
        (insn.op_kind(index) == OpKind::Register && register.is_st())
            .then(|| register.number() as u8)
    };
    // Of two stack registers one is ST(0).
    let (first, second) = (register(0), register(1));
    let into_i = second == Some(0) && first.is_some();
    let i = match (first, second) {
        _ if pops == 2 => 1,
        (Some(0), Some(i)) => i,
        (Some(i), _) => i,
        _ => 0,
    };
    let form = Form {
        op,
        i,
        pops,
        into_i,
        memory: in_memory.then(|| memory(insn.memory_size())),
        via: o.via,
        segment: match insn.memory_segment() {
            iced_x86::Register::ES => seg::ES,
            iced_x86::Register::CS => seg::CS,
            iced_x86::Register::SS => seg::SS,
            iced_x86::Register::FS => seg::FS,
            iced_x86::Register::GS => seg::GS,
            _ => seg::DS,
        },
        opcode: opcode(bytes),
    };
    o.a = if in_memory { Loc::MEM } else { Loc::NONE };
    o.imm = form.pack();
    Some(match op {
        Op::MoveIf => condition(mnemonic),
        Op::StoreStatus if !in_memory => def!(X86, "FNSTSW", status_to_register),
        op if op.is_control() => def!(X86, "x87 control", execute),
        op if op.transfers() => def!(X86, "x87 transfer", execute),
        op if op.is_function() => def!(X86, "x87 function", execute),
        _ => def!(X86, "x87 arithmetic", execute),
    })
}
