//! From bytes to an instruction's semantics: `iced-x86` decodes, and this chooses.
//!
//! What is not listed in [`choose`] is not there yet: to the guest it is an instruction that KVM fails
//! to emulate.

use super::arith::{self, ADC, ADD, AND, CMP, OR, SBB, SUB, TEST, XOR};
use super::bits::Count;
use super::shift::Shift;
use super::string::{Op, Repeat};
use super::{Loc, NO_REG, Operands, RIP, mode, operand};
use super::{bcd, debug, emulator, features, inspect, machine, ports, segments, wait};
use super::{
    bits, bmi, control, controls, exchange, moves, muldiv, page_end, shift, stack, string, system,
};
use super::{refuse, x87, xsave};
use crate::X86;
use crate::fpu::Needs;
use crate::segments::seg;
use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use understudy_engine::arch::{Def, Insn};
use understudy_engine::def;

type Definition = &'static Def<X86>;

/// Operands of an instruction that has none.
const NOTHING: Operands = Operands {
    imm: 0,
    disp: 0,
    a: Loc::NONE,
    b: Loc::NONE,
    c: Loc::NONE,
    base: NO_REG,
    index: NO_REG,
    scale: 0,
    via: super::via::FLAT,
    address: 3,
    size: 3,
    length: 0,
    simd: super::simd::NONE,
};

fn decoder(mode: u32, bytes: &[u8]) -> Decoder<'_> {
    let bits = if mode & mode::CODE64 != 0 {
        64
    } else if mode & mode::CODE32 != 0 {
        32
    } else {
        16
    };
    // The instruction pointer is 0: what is relative to it stays so.
    Decoder::with_ip(bits, bytes, 0, DecoderOptions::NONE)
}

/// Decodes, if the bytes are there.
fn instruction(mode: u32, bytes: &[u8]) -> Result<Instruction, (DecoderError, usize)> {
    let mut decoder = decoder(mode, bytes);
    let insn = decoder.decode();
    match decoder.last_error() {
        DecoderError::None => Ok(insn),
        error => Err((error, insn.len().max(1))),
    }
}

/// Decodes an instruction that ends with its page at the latest.
pub fn decode(mode: u32, bytes: &[u8]) -> Insn<X86> {
    match instruction(mode, bytes) {
        Ok(insn) => finish(mode, &insn, bytes),
        Err((DecoderError::NoMoreBytes, _)) => {
            let length = bytes.len().min(page_end::MAX_LENGTH) as u8;
            let def = def!(X86, "(page end)", page_end::page_end, ends);
            Insn::new(def, Operands { length, ..NOTHING }, length)
        }
        Err((_, length)) => invalid(length),
    }
}

/// Whether no more bytes are needed to decode the instruction.
pub fn is_whole(mode: u32, bytes: &[u8]) -> bool {
    !matches!(
        instruction(mode, bytes),
        Err((DecoderError::NoMoreBytes, _))
    )
}

/// Whether these bytes tell which instruction it is: all but displacement and immediate are there.
pub fn is_known(mode: u32, bytes: &[u8]) -> bool {
    let mut padded = [0; page_end::MAX_LENGTH];
    padded[..bytes.len()].copy_from_slice(bytes);
    let mut decoder = decoder(mode, &padded);
    let insn = decoder.decode();
    let offsets = decoder.get_constant_offsets(&insn);
    let head = if offsets.has_displacement() {
        offsets.displacement_offset()
    } else if offsets.has_immediate() {
        offsets.immediate_offset()
    } else {
        insn.len()
    };
    head <= bytes.len()
}

/// Decodes an instruction of which all bytes are there.
pub fn decode_whole(mode: u32, bytes: &[u8]) -> Insn<X86> {
    match instruction(mode, bytes) {
        Ok(insn) => finish(mode, &insn, bytes),
        Err((_, length)) => invalid(length),
    }
}

/// Decodes an instruction and takes its LOCK prefix away, or makes of XCHG with memory its like.
pub fn decode_unlocked(mode: u32, bytes: &[u8]) -> Option<Insn<X86>> {
    let mut insn = instruction(mode, bytes).ok()?;
    let exchanges = insn.mnemonic() == Mnemonic::Xchg;
    // It is as atomic without the prefix here.
    let pairs = insn.mnemonic() == Mnemonic::Cmpxchg8b;
    if !insn.has_lock_prefix() && !exchanges && !pairs {
        return None;
    }
    insn.set_has_lock_prefix(false);
    let mut result = finish(mode, &insn, bytes);
    if exchanges {
        let def = exchange::unlocked(result.operands.size);
        result = Insn::new(def, result.operands, result.length);
    }
    Some(result)
}

fn invalid(length: usize) -> Insn<X86> {
    let length = length as u8;
    let operands = Operands { length, ..NOTHING };
    let def = if usize::from(length) >= page_end::MAX_LENGTH {
        def!(X86, "(too long)", system::too_long, ends)
    } else {
        def!(X86, "(undefined)", system::undefined, ends)
    };
    Insn::new(def, operands, length)
}

fn finish(mode: u32, insn: &Instruction, bytes: &[u8]) -> Insn<X86> {
    let mut operands = operands(mode, insn);
    let length = operands.length;
    let floating = x87::definition(mode, insn, bytes, &mut operands)
        .or_else(|| xsave::definition(mode, insn, &mut operands));
    if let Some(def) = floating {
        return Insn::new(def, operands, length);
    }
    let (def, operands) = choose(mode, insn, operands);
    Insn::new(def, operands, length)
}

/// Base-2 logarithm of a number of bytes, up to 8.
fn log2(bytes: usize) -> u8 {
    bytes.max(1).trailing_zeros().min(3) as u8
}

fn register(register: Register) -> Option<Loc> {
    use Register::{AH, BH, CH, DH};
    if !register.is_gpr() {
        return None;
    }
    Some(match register {
        AH | CH | DH | BH => Loc::high((register as u8).wrapping_sub(AH as u8)),
        _ => Loc::reg(register.full_register().number() as u8),
    })
}

fn location(insn: &Instruction, index: u32) -> Loc {
    if index >= insn.op_count() {
        return Loc::NONE;
    }
    match insn.op_kind(index) {
        OpKind::Register => register(insn.op_register(index)).unwrap_or(Loc::NONE),
        OpKind::Memory => Loc::MEM,
        OpKind::Immediate8
        | OpKind::Immediate8_2nd
        | OpKind::Immediate16
        | OpKind::Immediate32
        | OpKind::Immediate64
        | OpKind::Immediate8to16
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64 => Loc::IMM,
        _ => Loc::NONE,
    }
}

/// Bytes of an operand.
fn bytes(insn: &Instruction, index: u32) -> usize {
    if index >= insn.op_count() {
        return 0;
    }
    match insn.op_kind(index) {
        OpKind::Register => insn.op_register(index).size(),
        OpKind::NearBranch16 => 2,
        OpKind::NearBranch32 => 4,
        OpKind::NearBranch64 => 8,
        OpKind::Immediate8 => 1,
        _ => insn.memory_size().size(),
    }
}

/// The number of a segment register.
fn segment(register: Register) -> u8 {
    match register {
        Register::ES => seg::ES,
        Register::CS => seg::CS,
        Register::SS => seg::SS,
        Register::FS => seg::FS,
        Register::GS => seg::GS,
        _ => seg::DS,
    }
}

fn operands(mode: u32, insn: &Instruction) -> Operands {
    let mut o = NOTHING;
    o.length = insn.len() as u8;
    o.a = location(insn, 0);
    o.b = location(insn, 1);
    o.c = location(insn, 2);
    o.size = log2(bytes(insn, 0));
    o.via = operand::via(mode, segment(insn.memory_segment()));
    if !emulator::knows(mode, insn) {
        o.via |= super::via::UNKNOWN;
    }
    o.address = default_address(mode);
    for index in 0..insn.op_count() {
        match insn.op_kind(index) {
            OpKind::Memory => memory(mode, insn, &mut o),
            OpKind::MemorySegSI | OpKind::MemoryESDI => o.address = 1,
            OpKind::MemorySegESI | OpKind::MemoryESEDI => o.address = 2,
            OpKind::MemorySegRSI | OpKind::MemoryESRDI => o.address = 3,
            OpKind::NearBranch16 => {
                // Relative to the instruction's start: the pointer wraps at 64 KiB anyway.
                o.imm = i64::from(insn.near_branch16() as i16) as u64;
            }
            OpKind::NearBranch32 => o.imm = i64::from(insn.near_branch32() as i32) as u64,
            OpKind::NearBranch64 => o.imm = insn.near_branch64(),
            _ if location(insn, index) == Loc::IMM => o.imm = insn.immediate(index),
            _ => {}
        }
    }
    o
}

fn default_address(mode: u32) -> u8 {
    if mode & mode::CODE64 != 0 {
        3
    } else if mode & mode::CODE32 != 0 {
        2
    } else {
        1
    }
}

fn memory(mode: u32, insn: &Instruction, o: &mut Operands) {
    let (base, index) = (insn.memory_base(), insn.memory_index());
    o.disp = insn.memory_displacement64();
    o.scale = insn.memory_index_scale().trailing_zeros() as u8;
    let size = |register: Register| log2(register.size());
    o.address = match (base, index, insn.memory_displ_size()) {
        (Register::None, Register::None, 2) => 1,
        (Register::None, Register::None, 4) if mode & mode::CODE64 == 0 => 2,
        // A displacement alone is sign-extended to 64 bits, unless the address has 32.
        (Register::None, Register::None, _) => default_address(mode),
        (Register::None, index, _) => size(index),
        (base, _, _) => size(base),
    };
    o.base = match base {
        Register::None => NO_REG,
        Register::RIP | Register::EIP => RIP,
        base => base.full_register().number() as u8,
    };
    if base == Register::EIP {
        o.disp = insn.memory_displacement32().into();
    }
    o.index = match index {
        Register::None => NO_REG,
        index => index.full_register().number() as u8,
    };
}

/// The condition in the low bits of the opcode of Jcc, SETcc and CMOVcc.
fn condition(insn: &Instruction) -> u8 {
    use iced_x86::ConditionCode;
    match insn.condition_code() {
        ConditionCode::o => 0,
        ConditionCode::no => 1,
        ConditionCode::b => 2,
        ConditionCode::ae => 3,
        ConditionCode::e => 4,
        ConditionCode::ne => 5,
        ConditionCode::be => 6,
        ConditionCode::a => 7,
        ConditionCode::s => 8,
        ConditionCode::ns => 9,
        ConditionCode::p => 10,
        ConditionCode::np => 11,
        ConditionCode::l => 12,
        ConditionCode::ge => 13,
        ConditionCode::le => 14,
        ConditionCode::g | ConditionCode::None => 15,
    }
}

fn absent() -> Definition {
    def!(X86, "(absent)", system::absent, ends)
}

/// The semantics of an instruction, and its operands as they have them.
fn choose(mode: u32, insn: &Instruction, mut o: Operands) -> (Definition, Operands) {
    use Mnemonic as M;
    if let Some(chosen) = super::simd::choose(mode, insn, o) {
        return chosen;
    }
    let lock = insn.has_lock_prefix();
    let size = o.size;
    let def = match insn.mnemonic() {
        M::Add => arith::definition(ADD, size, lock),
        M::Or => arith::definition(OR, size, lock),
        M::Adc => arith::definition(ADC, size, lock),
        M::Sbb => arith::definition(SBB, size, lock),
        M::And => arith::definition(AND, size, lock),
        M::Sub => arith::definition(SUB, size, lock),
        M::Xor => arith::definition(XOR, size, lock),
        M::Cmp => arith::definition(CMP, size, lock),
        M::Test => arith::definition(TEST, size, lock),
        M::Inc => arith::increment(false, size, lock),
        M::Dec => arith::increment(true, size, lock),
        M::Not => arith::complement(false, size, lock),
        M::Neg => arith::complement(true, size, lock),
        M::Adcx => arith::add_extended(false, size),
        M::Adox => arith::add_extended(true, size),
        M::Cbw => arith::extension(false, 1),
        M::Cwde => arith::extension(false, 2),
        M::Cdqe => arith::extension(false, 3),
        M::Cwd => arith::extension(true, 1),
        M::Cdq => arith::extension(true, 2),
        M::Cqo => arith::extension(true, 3),

        M::Mov if o.a != Loc::NONE && o.b != Loc::NONE => moves::mov(&o),
        M::Mov if control_register(insn, 1).is_some() => {
            o.imm = control_register(insn, 1).unwrap_or(0);
            o.size = default_address(mode).max(2);
            existing(o.imm, def!(X86, "MOV CR", controls::from_control))
        }
        M::Mov if control_register(insn, 0).is_some() => {
            o.imm = control_register(insn, 0).unwrap_or(0);
            o.size = default_address(mode).max(2);
            existing(o.imm, def!(X86, "MOV CR", controls::to_control, ends))
        }
        M::Mov if debug_register(insn, 1).is_some() => {
            o.imm = debug_register(insn, 1).unwrap_or(0);
            o.size = default_address(mode).max(2);
            def!(X86, "MOV DR", debug::from_register)
        }
        M::Mov if debug_register(insn, 0).is_some() => {
            o.imm = debug_register(insn, 0).unwrap_or(0);
            o.size = default_address(mode).max(2);
            def!(X86, "MOV DR", debug::to_register, ends)
        }
        M::Mov if segment_register(insn, 1).is_some() => {
            o.imm = segment_register(insn, 1).unwrap_or(0);
            def!(X86, "MOV Sreg", segments::mov_from)
        }
        M::Mov if segment_register(insn, 0).is_some_and(|number| number != u64::from(seg::CS)) => {
            o.imm = segment_register(insn, 0).unwrap_or(0);
            def!(X86, "MOV Sreg", segments::mov_to, ends)
        }
        M::Mov if segment_register(insn, 0).is_some() => {
            def!(X86, "(undefined)", system::undefined, ends)
        }
        M::Push | M::Pop if segment_register(insn, 0).is_some() => {
            o.imm = segment_register(insn, 0).unwrap_or(0);
            o.size = (insn.stack_pointer_increment().unsigned_abs()).trailing_zeros() as u8;
            if insn.mnemonic() == M::Push {
                def!(X86, "PUSH Sreg", segments::push)
            } else {
                def!(X86, "POP Sreg", segments::pop, ends)
            }
        }
        M::Lds | M::Les | M::Lfs | M::Lgs | M::Lss => {
            o.imm = u64::from(match insn.mnemonic() {
                M::Lds => seg::DS,
                M::Les => seg::ES,
                M::Lfs => seg::FS,
                M::Lgs => seg::GS,
                _ => seg::SS,
            });
            def!(X86, "LDS", segments::load_pointer, ends)
        }
        M::Jmp | M::Call if insn.is_jmp_far() || insn.is_call_far() => {
            (o.imm, o.size) = match insn.op_kind(0) {
                OpKind::FarBranch16 => (insn.far_branch16().into(), 1),
                _ => (insn.far_branch32().into(), 2),
            };
            o.disp = insn.far_branch_selector().into();
            far(insn.mnemonic())
        }
        M::Jmp | M::Call if insn.is_jmp_far_indirect() || insn.is_call_far_indirect() => {
            o.size = log2(insn.memory_size().size() - 2);
            far(insn.mnemonic())
        }
        M::Retf => {
            o.size = far_return_size(insn);
            def!(X86, "RETF", segments::return_far, ends)
        }
        M::Iret | M::Iretd | M::Iretq => {
            o.size = stack_operand(insn, M::Iret, M::Iretd);
            def!(X86, "IRET", segments::interrupt_return, ends)
        }
        M::Sysenter => def!(X86, "SYSENTER", segments::system_enter, ends),
        M::Sysexit | M::Sysexitq => def!(X86, "SYSEXIT", segments::system_leave, ends),
        M::Syscall => def!(X86, "SYSCALL", segments::system_call, ends),
        M::Sysret | M::Sysretq => {
            o.size = if insn.mnemonic() == M::Sysretq { 3 } else { 2 };
            def!(X86, "SYSRET", segments::system_return, ends)
        }
        M::Swapgs => def!(X86, "SWAPGS", segments::swap_gs, ends),
        M::Rdfsbase => def!(X86, "RDFSBASE", segments::read_base, [false]),
        M::Rdgsbase => def!(X86, "RDGSBASE", segments::read_base, [true]),
        M::Wrfsbase => def!(X86, "WRFSBASE", segments::write_base, [false]),
        M::Wrgsbase => def!(X86, "WRGSBASE", segments::write_base, [true]),
        M::Lgdt | M::Lidt => {
            use iced_x86::Code::{Lgdt_m1632_16, Lidt_m1632_16};
            let short = matches!(insn.code(), Lgdt_m1632_16 | Lidt_m1632_16);
            o.size = if short { 1 } else { 2 };
            if insn.mnemonic() == M::Lgdt {
                def!(X86, "LGDT", segments::load_table, [false], ends)
            } else {
                def!(X86, "LIDT", segments::load_table, [true], ends)
            }
        }
        M::Sgdt => def!(X86, "SGDT", segments::store_table, [false]),
        M::Sidt => def!(X86, "SIDT", segments::store_table, [true]),
        M::Ltr => def!(X86, "LTR", segments::load_system, [true], ends),
        M::Lldt => def!(X86, "LLDT", segments::load_system, [false], ends),
        M::Str => def!(X86, "STR", segments::store_system, [true]),
        M::Sldt => def!(X86, "SLDT", segments::store_system, [false]),
        M::Lar => def!(X86, "LAR", inspect::load, [false]),
        M::Lsl => def!(X86, "LSL", inspect::load, [true]),
        M::Verr => def!(X86, "VERR", inspect::verify, [false]),
        M::Verw => def!(X86, "VERW", inspect::verify, [true]),
        M::Rdmsr => def!(X86, "RDMSR", machine::rdmsr, ends),
        M::Wrmsr => def!(X86, "WRMSR", machine::wrmsr, ends),
        M::Vmcall => def!(X86, "VMCALL", machine::vmcall, ends),
        M::Vmmcall => def!(X86, "VMMCALL", machine::vmmcall, ends),
        M::Cpuid => def!(X86, "CPUID", machine::cpuid, ends),
        M::In => {
            o.c = o.b;
            def!(X86, "IN", machine::port, [true], ends)
        }
        M::Out => {
            o.size = log2(bytes(insn, 1));
            o.c = o.a;
            def!(X86, "OUT", machine::port, [false], ends)
        }
        M::Insb | M::Insw | M::Insd | M::Outsb | M::Outsw | M::Outsd => {
            o.size = log2(insn.memory_size().size());
            let input = matches!(insn.mnemonic(), M::Insb | M::Insw | M::Insd);
            match (input, insn.has_rep_prefix() || insn.has_repne_prefix()) {
                (true, true) => def!(X86, "INS", ports::string, [true, true], ends),
                (true, false) => def!(X86, "INS", ports::string, [true, false], ends),
                (false, true) => def!(X86, "OUTS", ports::string, [false, true], ends),
                (false, false) => def!(X86, "OUTS", ports::string, [false, false], ends),
            }
        }
        M::Clts => def!(X86, "CLTS", controls::clts, ends),
        M::Lmsw => def!(X86, "LMSW", controls::lmsw, ends),
        M::Smsw => def!(X86, "SMSW", controls::smsw),
        M::Invlpg => def!(X86, "INVLPG", controls::invlpg, ends),
        M::Invpcid => def!(X86, "INVPCID", controls::invpcid, ends),
        M::Invd | M::Wbinvd | M::Wbnoinvd => def!(X86, "WBINVD", controls::cache),
        M::Clac => def!(X86, "CLAC", controls::access_control, [false], ends),
        M::Stac => def!(X86, "STAC", controls::access_control, [true], ends),
        M::Rdpkru => def!(X86, "RDPKRU", controls::protection_keys, [false], ends),
        M::Wrpkru => def!(X86, "WRPKRU", controls::protection_keys, [true], ends),
        M::Movzx => moves::extend(false, log2(bytes(insn, 1))),
        M::Movsx | M::Movsxd => moves::extend(true, log2(bytes(insn, 1))),
        M::Movbe => moves::swapped(size),
        M::Movnti => def!(X86, "MOVNTI", moves::movnti),
        M::Lea => def!(X86, "LEA", moves::lea),
        M::Bswap => def!(X86, "BSWAP", moves::bswap),
        M::Xlatb => def!(X86, "XLAT", moves::xlat),
        M::Xchg if o.a != Loc::MEM && o.b != Loc::MEM => {
            def!(X86, "XCHG", moves::exchange_registers)
        }
        M::Xchg => {
            if o.b == Loc::MEM {
                (o.a, o.b) = (o.b, o.a);
            }
            exchange::exchange(size)
        }
        M::Xadd => exchange::add(size, lock),
        M::Cmpxchg => exchange::compare(size, lock),
        M::Cmpxchg8b | M::Cmpxchg16b => {
            o.size = if insn.mnemonic() == M::Cmpxchg8b {
                2
            } else {
                3
            };
            def!(X86, "CMPXCHG8B", exchange::compare_pairs)
        }

        M::Rol => shift::definition(0, size),
        M::Ror => shift::definition(1, size),
        M::Rcl => shift::definition(2, size),
        M::Rcr => shift::definition(3, size),
        M::Shl | M::Sal => shift::definition(4, size),
        M::Shr => shift::definition(5, size),
        M::Sar => shift::definition(7, size),
        M::Shld => shift::double(false, size),
        M::Shrd => shift::double(true, size),
        M::Rorx => shift::without_flags(Shift::Rotate, size),
        M::Shlx => shift::without_flags(Shift::Left, size),
        M::Shrx => shift::without_flags(Shift::Right, size),
        M::Sarx => shift::without_flags(Shift::Signed, size),

        M::Mul => muldiv::multiply(false, size),
        M::Imul if insn.op_count() == 1 => muldiv::multiply(true, size),
        M::Imul => muldiv::multiply_into(size),
        M::Div => muldiv::division(false, size),
        M::Idiv => muldiv::division(true, size),

        M::Bt => bits::test(0, size, lock),
        M::Bts => bits::test(1, size, lock),
        M::Btr => bits::test(2, size, lock),
        M::Btc => bits::test(3, size, lock),
        M::Bsf => bits::scan(false, size),
        M::Bsr => bits::scan(true, size),
        M::Popcnt => bits::count(Count::Ones, size),
        M::Lzcnt => bits::count(Count::Leading, size),
        M::Tzcnt => bits::count(Count::Trailing, size),
        M::Crc32 => bits::crc(log2(bytes(insn, 1))),
        M::Andn => bmi::and_not(size),
        M::Blsi => bmi::lowest(3, size),
        M::Blsmsk => bmi::lowest(2, size),
        M::Blsr => bmi::lowest(1, size),
        M::Bextr if insn.op_kind(2) == OpKind::Register => bmi::extract(size),
        M::Bzhi => bmi::zero_high(size),
        M::Mulx => bmi::multiply(size),
        M::Pdep => bmi::scatter(false, size),
        M::Pext => bmi::scatter(true, size),

        M::Push | M::Pop if o.a != Loc::NONE => {
            o.size = (insn.stack_pointer_increment().unsigned_abs()).trailing_zeros() as u8;
            match (insn.mnemonic(), o.a) {
                (M::Push, _) => def!(X86, "PUSH", stack::push),
                (_, Loc::MEM) => def!(X86, "POP", stack::pop_memory),
                _ => def!(X86, "POP", stack::pop),
            }
        }
        M::Pusha | M::Pushad => {
            o.size = if insn.mnemonic() == M::Pusha { 1 } else { 2 };
            def!(X86, "PUSHA", stack::all, [false])
        }
        M::Popa | M::Popad => {
            o.size = if insn.mnemonic() == M::Popa { 1 } else { 2 };
            def!(X86, "POPA", stack::all, [true])
        }
        M::Aaa => def!(X86, "AAA", bcd::adjust, [false, false]),
        M::Aas => def!(X86, "AAS", bcd::adjust, [false, true]),
        M::Daa => def!(X86, "DAA", bcd::adjust, [true, false]),
        M::Das => def!(X86, "DAS", bcd::adjust, [true, true]),
        M::Aam => def!(X86, "AAM", bcd::digits, [true]),
        M::Aad => def!(X86, "AAD", bcd::digits, [false]),
        M::Bound => def!(X86, "BOUND", bcd::bound),
        M::Arpl => def!(X86, "ARPL", bcd::arpl),
        M::Salc => def!(X86, "SALC", bcd::salc),
        M::Into => def!(X86, "INTO", control::into, ends),
        M::Pushf | M::Pushfd | M::Pushfq => {
            o.size = stack_operand(insn, M::Pushf, M::Pushfd);
            def!(X86, "PUSHF", stack::pushf)
        }
        M::Popf | M::Popfd | M::Popfq => {
            o.size = stack_operand(insn, M::Popf, M::Popfd);
            def!(X86, "POPF", stack::popf, ends)
        }
        M::Enter => {
            o.size = frame_size(insn);
            o.imm = u64::from(insn.immediate16()) | u64::from(insn.immediate8_2nd()) << 16;
            def!(X86, "ENTER", stack::enter)
        }
        M::Leave => {
            o.size = frame_size(insn);
            def!(X86, "LEAVE", moves::leave)
        }

        M::Jmp if insn.is_jmp_short_or_near() => def!(X86, "JMP", control::jmp, ends),
        M::Jmp if insn.is_jmp_near_indirect() => def!(X86, "JMP", control::jmp_indirect, ends),
        M::Call if insn.is_call_near() => def!(X86, "CALL", control::call, ends),
        M::Call if insn.is_call_near_indirect() => {
            def!(X86, "CALL", control::call_indirect, ends)
        }
        M::Ret => {
            o.size = return_size(insn);
            def!(X86, "RET", control::ret, ends)
        }
        M::Jcxz | M::Jecxz | M::Jrcxz => {
            o.address = count_size(insn);
            def!(X86, "JRCXZ", control::jcxz, ends)
        }
        M::Loop | M::Loope | M::Loopne => {
            o.address = count_size(insn);
            control::repeat(match insn.mnemonic() {
                M::Loop => None,
                M::Loope => Some(true),
                _ => Some(false),
            })
        }
        _ if insn.is_jcc_short_or_near() => control::conditional(condition(insn)),
        M::Int => def!(X86, "INT", control::int, ends),
        M::Int3 => def!(X86, "INT3", debug::int3, ends),
        M::Int1 => def!(X86, "INT1", debug::int1, ends),

        M::Clc => def!(X86, "CLC", system::set_carry, [false]),
        M::Stc => def!(X86, "STC", system::set_carry, [true]),
        M::Cmc => def!(X86, "CMC", system::cmc),
        M::Cld => def!(X86, "CLD", system::set_direction, [false]),
        M::Std => def!(X86, "STD", system::set_direction, [true]),
        M::Lahf => def!(X86, "LAHF", system::lahf),
        M::Sahf => def!(X86, "SAHF", system::sahf),
        M::Cli => def!(X86, "CLI", system::cli, ends),
        M::Sti => def!(X86, "STI", system::sti, ends),
        M::Wait => refuse::refused(mode, Needs::Wait).unwrap_or(def!(X86, "FWAIT", system::nop)),
        M::Hlt => def!(X86, "HLT", system::hlt, ends),
        M::Ud0 | M::Ud1 | M::Ud2 => def!(X86, "UD", system::undefined, ends),
        M::Nop
        | M::Pause
        | M::Endbr64
        | M::Endbr32
        | M::Prefetch
        | M::Prefetchw
        | M::Prefetchwt1
        | M::Prefetchnta
        | M::Prefetcht0
        | M::Prefetcht1
        | M::Prefetcht2
        | M::Cldemote => def!(X86, "NOP", system::nop),
        M::Lfence | M::Mfence | M::Sfence => def!(X86, "FENCE", system::fence),
        M::Clflush | M::Clflushopt | M::Clwb => def!(X86, "CLFLUSH", system::cache_line),
        M::Monitor => {
            o.address = monitor_address(insn, mode);
            o.via = operand::via(mode, segment(insn.segment_prefix()));
            def!(X86, "MONITOR", wait::monitor)
        }
        M::Mwait => def!(X86, "MWAIT", wait::mwait, ends),
        M::Rdpmc => def!(X86, "RDPMC", wait::rdpmc, ends),
        M::Rdpid => def!(X86, "RDPID", wait::rdpid),
        M::Rdtsc => def!(X86, "RDTSC", system::time_stamp, [false]),
        M::Rdtscp => def!(X86, "RDTSCP", system::time_stamp, [true]),
        M::Rdrand | M::Rdseed => def!(X86, "RDRAND", system::random),

        mnemonic => match by_name(mnemonic) {
            Some(Group::Set) => bits::set(condition(insn)),
            Some(Group::Move) => bits::conditional_move(condition(insn), size),
            Some(Group::String(op)) => {
                o.size = log2(insn.memory_size().size());
                let repeat = match (insn.has_repne_prefix(), insn.has_rep_prefix()) {
                    (true, _) => Repeat::WhileDifferent,
                    (_, true) => Repeat::WhileEqual,
                    _ => Repeat::Once,
                };
                string::definition(op, repeat, o.size)
            }
            None => features::refused(insn).unwrap_or_else(absent),
        },
    };
    (def, o)
}

/// The number of the control register that is this operand.
fn control_register(insn: &Instruction, index: u32) -> Option<u64> {
    let register = insn.op_register(index);
    (insn.op_kind(index) == OpKind::Register && register.is_cr()).then(|| register.number() as u64)
}

/// The number of the debug register that is this operand.
fn debug_register(insn: &Instruction, index: u32) -> Option<u64> {
    let register = insn.op_register(index);
    (insn.op_kind(index) == OpKind::Register && register.is_dr()).then(|| register.number() as u64)
}

/// The number of the segment register that is this operand.
fn segment_register(insn: &Instruction, index: u32) -> Option<u64> {
    let register = insn.op_register(index);
    (insn.op_kind(index) == OpKind::Register && register.is_segment_register())
        .then(|| segment(register).into())
}

/// A far JMP or CALL.
fn far(mnemonic: Mnemonic) -> Definition {
    if mnemonic == Mnemonic::Call {
        def!(X86, "CALL far", segments::far, [true], ends)
    } else {
        def!(X86, "JMP far", segments::far, [false], ends)
    }
}

fn far_return_size(insn: &Instruction) -> u8 {
    use iced_x86::Code;
    match insn.code() {
        Code::Retfw | Code::Retfw_imm16 => 1,
        Code::Retfd | Code::Retfd_imm16 => 2,
        _ => 3,
    }
}

/// The instruction, if the control register exists.
fn existing(number: u64, def: Definition) -> Definition {
    match number {
        0 | 2 | 3 | 4 | 8 => def,
        _ => def!(X86, "(undefined)", system::undefined, ends),
    }
}

/// The size of the address that MONITOR has in RAX.
fn monitor_address(insn: &Instruction, mode: u32) -> u8 {
    use iced_x86::Code;
    match insn.code() {
        Code::Monitorw => 1,
        Code::Monitord => 2,
        Code::Monitorq => 3,
        _ => default_address(mode),
    }
}

/// Groups of which each member has a mnemonic of its own.
enum Group {
    Set,
    Move,
    String(Op),
}

fn by_name(mnemonic: Mnemonic) -> Option<Group> {
    use Mnemonic as M;
    Some(match mnemonic {
        M::Seto
        | M::Setno
        | M::Setb
        | M::Setae
        | M::Sete
        | M::Setne
        | M::Setbe
        | M::Seta
        | M::Sets
        | M::Setns
        | M::Setp
        | M::Setnp
        | M::Setl
        | M::Setge
        | M::Setle
        | M::Setg => Group::Set,
        M::Cmovo
        | M::Cmovno
        | M::Cmovb
        | M::Cmovae
        | M::Cmove
        | M::Cmovne
        | M::Cmovbe
        | M::Cmova
        | M::Cmovs
        | M::Cmovns
        | M::Cmovp
        | M::Cmovnp
        | M::Cmovl
        | M::Cmovge
        | M::Cmovle
        | M::Cmovg => Group::Move,
        M::Movsb | M::Movsw | M::Movsd | M::Movsq => Group::String(Op::Movs),
        M::Stosb | M::Stosw | M::Stosd | M::Stosq => Group::String(Op::Stos),
        M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq => Group::String(Op::Lods),
        M::Scasb | M::Scasw | M::Scasd | M::Scasq => Group::String(Op::Scas),
        M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq => Group::String(Op::Cmps),
        _ => return None,
    })
}

fn stack_operand(insn: &Instruction, word: Mnemonic, double: Mnemonic) -> u8 {
    match insn.mnemonic() {
        m if m == word => 1,
        m if m == double => 2,
        _ => 3,
    }
}

fn frame_size(insn: &Instruction) -> u8 {
    use iced_x86::Code;
    match insn.code() {
        Code::Enterw_imm16_imm8 | Code::Leavew => 1,
        Code::Enterd_imm16_imm8 | Code::Leaved => 2,
        _ => 3,
    }
}

fn return_size(insn: &Instruction) -> u8 {
    use iced_x86::Code;
    match insn.code() {
        Code::Retnw | Code::Retnw_imm16 => 1,
        Code::Retnd | Code::Retnd_imm16 => 2,
        _ => 3,
    }
}

/// The size of the counter of LOOP and JRCXZ.
fn count_size(insn: &Instruction) -> u8 {
    use iced_x86::Code;
    match insn.code() {
        Code::Jcxz_rel8_16
        | Code::Jcxz_rel8_32
        | Code::Loop_rel8_16_CX
        | Code::Loop_rel8_32_CX
        | Code::Loope_rel8_16_CX
        | Code::Loope_rel8_32_CX
        | Code::Loopne_rel8_16_CX
        | Code::Loopne_rel8_32_CX => 1,
        Code::Jecxz_rel8_16
        | Code::Jecxz_rel8_32
        | Code::Jecxz_rel8_64
        | Code::Loop_rel8_16_ECX
        | Code::Loop_rel8_32_ECX
        | Code::Loop_rel8_64_ECX
        | Code::Loope_rel8_16_ECX
        | Code::Loope_rel8_32_ECX
        | Code::Loope_rel8_64_ECX
        | Code::Loopne_rel8_16_ECX
        | Code::Loopne_rel8_32_ECX
        | Code::Loopne_rel8_64_ECX => 2,
        _ => 3,
    }
}
