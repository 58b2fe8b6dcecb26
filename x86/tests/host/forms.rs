//! The forms of instructions that are compared: their bytes, made here from the opcode maps (SDM
//! vol. 2, appendix A), where they have memory, and which flags they leave undefined.

use super::processor::Registers;
use understudy_x86::regs::flag::{AF, CF, OF, PF, SF, STATUS, ZF};

/// Inputs of each form.
pub const TURNS: usize = 24;

/// What of memory a form uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// None, or the stack at RSP.
    None,
    /// RBX is the address.
    Rbx,
    /// The same, a multiple of 16.
    Aligned,
    /// RBX, with a bit number in RDX.
    BitString,
    /// RSI and RDI, with a count in RCX.
    Strings,
    /// RBX plus AL.
    Table,
    /// RBP is in the stack.
    Frame,
}

/// The flags that are undefined, of the count of a shift where there is one.
type Undefined = Box<dyn Fn(&Registers) -> u64>;
type Faults = Box<dyn Fn(&Registers, &[u8]) -> bool>;

/// A form.
pub struct Form {
    pub name: String,
    pub code: Vec<u8>,
    /// Where the code is in its part of memory.
    pub offset: u64,
    /// How much of the code is run.
    pub end: u64,
    pub memory: Memory,
    pub fix: fn(&mut Registers),
    pub faults: Option<Faults>,
    undefined: Undefined,
    feature: Feature,
}

/// What the host must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Feature {
    Any,
    Bmi1,
    Bmi2,
    Adx,
    Abm,
    Movbe,
    Sse42,
}

impl Form {
    /// Code that uses no memory but what it says, and that defines every flag.
    pub fn plain(name: &str, code: Vec<u8>) -> Form {
        let mut list = List::default();
        list.add(name, code, Memory::None, 0);
        list.0.remove(0)
    }

    pub fn undefined(&self, before: &Registers) -> u64 {
        (self.undefined)(before)
    }

    /// Whether the host has it.
    pub fn here(&self) -> bool {
        match self.feature {
            Feature::Any => true,
            Feature::Bmi1 => is_x86_feature_detected!("bmi1"),
            Feature::Bmi2 => is_x86_feature_detected!("bmi2"),
            Feature::Adx => is_x86_feature_detected!("adx"),
            Feature::Abm => is_x86_feature_detected!("lzcnt"),
            Feature::Movbe => is_x86_feature_detected!("movbe"),
            Feature::Sse42 => is_x86_feature_detected!("sse4.2"),
        }
    }
}

/// The second operand of a ModRM byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rm {
    /// A register.
    R(u8),
    /// Memory at RBX + 24.
    M,
}

const BOTH: [Rm; 2] = [Rm::R(9), Rm::M];

#[derive(Default)]
struct List(Vec<Form>);

impl List {
    fn add(&mut self, name: &str, code: Vec<u8>, memory: Memory, undefined: u64) -> &mut Form {
        self.0.push(Form {
            name: name.into(),
            end: code.len() as u64,
            code,
            offset: 0,
            memory,
            fix: |_| (),
            faults: None,
            undefined: Box::new(move |_| undefined),
            feature: Feature::Any,
        });
        self.0.last_mut().expect("it was just added")
    }

    /// An instruction with a ModRM byte.
    fn modrm(&mut self, name: &str, insn: &Insn, undefined: u64) -> &mut Form {
        let memory = if insn.rm == Rm::M {
            Memory::Rbx
        } else {
            Memory::None
        };
        let name = format!("{name} {insn:?}");
        self.add(&name, insn.bytes(), memory, undefined)
    }
}

/// An instruction with a ModRM byte.
#[derive(Clone, Debug)]
struct Insn {
    prefix: Vec<u8>,
    /// The opcode of the 16-, 32- and 64-bit forms.
    opcode: Vec<u8>,
    /// Base-2 logarithm of the operand's bytes; of a byte, the opcode is one less.
    size: u8,
    reg: u8,
    rm: Rm,
    imm: Vec<u8>,
    /// Byte registers 4 to 7 are AH to BH: no REX prefix.
    high: bool,
}

impl Insn {
    fn new(opcode: &[u8], size: u8, reg: u8, rm: Rm) -> Insn {
        Insn {
            prefix: vec![],
            opcode: opcode.into(),
            size,
            reg,
            rm,
            imm: vec![],
            high: false,
        }
    }
    fn imm(mut self, imm: &[u8]) -> Insn {
        self.imm = imm.into();
        self
    }
    fn prefix(mut self, byte: u8) -> Insn {
        self.prefix.push(byte);
        self
    }
    fn bytes(&self) -> Vec<u8> {
        let mut code = vec![];
        if self.size == 1 {
            code.push(0x66);
        }
        code.extend(&self.prefix);
        let number = match self.rm {
            Rm::R(number) => number,
            Rm::M => 3,
        };
        let rex = 0x40 | if self.size == 3 { 8 } else { 0 } | (self.reg >> 3) << 2 | number >> 3;
        if rex != 0x40 || self.size == 0 && !self.high {
            code.push(rex);
        }
        let mut opcode = self.opcode.clone();
        if self.size == 0
            && let Some(last) = opcode.last_mut()
        {
            *last -= 1;
        }
        code.extend(opcode);
        match self.rm {
            Rm::R(number) => code.push(0xc0 | (self.reg & 7) << 3 | number & 7),
            Rm::M => code.extend([0x40 | (self.reg & 7) << 3 | 3, 24]),
        }
        code.extend(&self.imm);
        code
    }
}

/// The bytes of an immediate for an operand of this size.
fn immediate(size: u8, value: u32) -> Vec<u8> {
    let bytes = [1, 2, 4, 4][usize::from(size)];
    value.to_le_bytes()[..bytes].to_vec()
}

/// All forms.
pub fn all() -> Vec<Form> {
    let mut list = List::default();
    arithmetic(&mut list);
    shifts(&mut list);
    multiplications(&mut list);
    bits(&mut list);
    moves(&mut list);
    conditions(&mut list);
    exchanges(&mut list);
    stack(&mut list);
    strings(&mut list);
    addresses(&mut list);
    vex(&mut list);
    list.0
}

fn arithmetic(list: &mut List) {
    const NAMES: [&str; 8] = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];
    for (op, name) in (0..).zip(NAMES) {
        let undefined = if [1, 4, 6].contains(&op) { AF } else { 0 };
        for size in 0..4 {
            for rm in BOTH {
                for opcode in [op * 8 + 1, op * 8 + 3] {
                    let insn = Insn::new(&[opcode], size, 2, rm);
                    list.modrm(name, &insn, undefined);
                }
                let insn = Insn::new(&[0x81], size, op, rm).imm(&immediate(size, 0x8765_4321));
                list.modrm(name, &insn, undefined);
                if size != 0 {
                    let insn = Insn::new(&[0x83], size, op, rm).imm(&[0x9c]);
                    list.modrm(name, &insn, undefined);
                }
            }
            let same = Insn::new(&[op * 8 + 1], size, 6, Rm::R(6));
            list.modrm(name, &same, undefined);
            if op != 7 {
                for reg in [1, 13] {
                    let insn = Insn::new(&[op * 8 + 1], size, reg, Rm::M).prefix(0xf0);
                    list.modrm(&format!("lock {name}"), &insn, undefined);
                }
            }
            let mut code = immediate(size, 0x1234_567f);
            code.insert(0, op * 8 + if size == 0 { 4 } else { 5 });
            match size {
                1 => code.insert(0, 0x66),
                3 => code.insert(0, 0x48),
                _ => {}
            }
            list.add(
                &format!("{name} accumulator {size}"),
                code,
                Memory::None,
                undefined,
            );
        }
        for (reg, rm) in [(4, 5), (7, 1), (3, 6)] {
            let mut insn = Insn::new(&[op * 8 + 1], 0, reg, Rm::R(rm));
            insn.high = true;
            list.modrm(&format!("{name} high"), &insn, undefined);
        }
    }
    for size in 0..4 {
        for rm in BOTH {
            list.modrm("test", &Insn::new(&[0x85], size, 2, rm), AF);
            let insn = Insn::new(&[0xf7], size, 0, rm).imm(&immediate(size, 0x8000_f0f0));
            list.modrm("test", &insn, AF);
            for (name, opcode, op) in [
                ("inc", 0xff, 0),
                ("dec", 0xff, 1),
                ("not", 0xf7, 2),
                ("neg", 0xf7, 3),
            ] {
                let insn = Insn::new(&[opcode], size, op, rm);
                list.modrm(name, &insn, 0);
                if rm == Rm::M {
                    list.modrm(&format!("lock {name}"), &insn.prefix(0xf0), 0);
                }
            }
        }
    }
    for (name, code) in [
        ("cbw", &[0x66, 0x98][..]),
        ("cwde", &[0x98]),
        ("cdqe", &[0x48, 0x98]),
        ("cwd", &[0x66, 0x99]),
        ("cdq", &[0x99]),
        ("cqo", &[0x48, 0x99]),
        ("lahf", &[0x9f]),
        ("sahf", &[0x9e]),
        ("clc", &[0xf8]),
        ("stc", &[0xf9]),
        ("cmc", &[0xf5]),
        ("std", &[0xfd]),
        ("std; cld", &[0xfd, 0xfc]),
        ("nop", &[0x90]),
        ("pause", &[0xf3, 0x90]),
        ("nop m", &[0x0f, 0x1f, 0x44, 0, 0]),
        ("mfence", &[0x0f, 0xae, 0xf0]),
        ("lfence", &[0x0f, 0xae, 0xe8]),
        ("sfence", &[0x0f, 0xae, 0xf8]),
    ] {
        list.add(name, code.into(), Memory::None, 0);
    }
    for size in [2, 3] {
        for rm in BOTH {
            let adcx = Insn::new(&[0x0f, 0x38, 0xf6], size, 2, rm).prefix(0x66);
            list.modrm("adcx", &adcx, 0).feature = Feature::Adx;
            let adox = Insn::new(&[0x0f, 0x38, 0xf6], size, 2, rm).prefix(0xf3);
            list.modrm("adox", &adox, 0).feature = Feature::Adx;
        }
    }
}

/// What shifts leave undefined: AF, OF unless by one place, CF beyond the operand's bits; of no
/// places, nothing. Rotates leave OF only.
fn shifted(rotates: bool, size: u8, count: u64) -> u64 {
    let bits = 8 << size;
    let count = count & if size == 3 { 63 } else { 31 };
    let beyond = if !rotates && count >= bits { CF } else { 0 };
    let overflow = if count == 1 { 0 } else { OF };
    let adjust = if rotates { 0 } else { AF };
    if count == 0 {
        0
    } else {
        beyond | overflow | adjust
    }
}

fn shifts(list: &mut List) {
    const NAMES: [&str; 8] = ["rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"];
    for (op, name) in (0..).zip(NAMES) {
        let rotates = op < 4;
        for size in 0..4 {
            for rm in BOTH {
                for count in [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63] {
                    let insn = Insn::new(&[0xc1], size, op, rm).imm(&[count]);
                    let undefined = shifted(rotates, size, u64::from(count));
                    list.modrm(name, &insn, undefined);
                }
                let undefined = shifted(rotates, size, 1);
                list.modrm(name, &Insn::new(&[0xd1], size, op, rm), undefined);
                let form = list.modrm(name, &Insn::new(&[0xd3], size, op, rm), 0);
                form.undefined = Box::new(move |r| shifted(rotates, size, r.gpr[1]));
            }
        }
    }
    for (name, opcode) in [("shld", 0xa4), ("shrd", 0xac)] {
        for size in 1..4 {
            for rm in BOTH {
                for count in [0, 1, 3, 16, 31, 33, 63] {
                    // More places than a word has give what no manual says.
                    if size == 1 && count & 31 > 16 {
                        continue;
                    }
                    let insn = Insn::new(&[0x0f, opcode], size, 2, rm).imm(&[count]);
                    list.modrm(name, &insn, shifted(false, size, u64::from(count)) & !CF);
                }
                let form = list.modrm(name, &Insn::new(&[0x0f, opcode + 1], size, 2, rm), 0);
                form.undefined = Box::new(move |r| shifted(false, size, r.gpr[1]) & !CF);
                if size == 1 {
                    form.fix = |r| r.gpr[1] %= 17;
                }
            }
        }
    }
}

/// The divisor, and whether the division faults.
fn division_faults(size: u8, signed: bool, in_memory: bool) -> Faults {
    Box::new(move |before, data| {
        let bits = 8u32 << size;
        let mask = u64::MAX >> (64 - bits);
        let divisor = if in_memory {
            let at = (before.gpr[3] + 24 - understudy_x86::testing::DATA) as usize;
            u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"))
        } else {
            before.gpr[9]
        } & mask;
        let (low, high) = if size == 0 {
            (before.gpr[0] & 0xff, before.gpr[0] >> 8 & 0xff)
        } else {
            (before.gpr[0] & mask, before.gpr[2] & mask)
        };
        let dividend = u128::from(high) << bits | u128::from(low);
        if divisor == 0 {
            return true;
        }
        if signed {
            let extend = |value: u128, bits: u32| (value << (128 - bits)) as i128 >> (128 - bits);
            let dividend = extend(dividend, 2 * bits);
            let divisor = extend(u128::from(divisor), bits);
            let limit = 1i128 << (bits - 1);
            !dividend
                .checked_div(divisor)
                .is_some_and(|q| (-limit..limit).contains(&q))
        } else {
            dividend / u128::from(divisor) > u128::from(mask)
        }
    })
}

fn multiplications(list: &mut List) {
    const OTHERS: u64 = SF | ZF | AF | PF;
    for size in 0..4 {
        for rm in BOTH {
            list.modrm("mul", &Insn::new(&[0xf7], size, 4, rm), OTHERS);
            list.modrm("imul", &Insn::new(&[0xf7], size, 5, rm), OTHERS);
            for (name, op) in [("div", 6), ("idiv", 7)] {
                for small in [false, true] {
                    let insn = Insn::new(&[0xf7], size, op, rm);
                    let form = list.modrm(name, &insn, STATUS);
                    form.faults = Some(division_faults(size, op == 7, rm == Rm::M));
                    if small {
                        form.fix = |r| {
                            r.gpr[2] = (r.gpr[0] as i32 >> 31) as u64;
                            r.gpr[0] &= !0x8080;
                        };
                    }
                }
            }
        }
    }
    for size in 1..4 {
        for rm in BOTH {
            list.modrm("imul", &Insn::new(&[0x0f, 0xaf], size, 2, rm), OTHERS);
            let insn = Insn::new(&[0x6b], size, 2, rm).imm(&[0xf3]);
            list.modrm("imul", &insn, OTHERS);
            let insn = Insn::new(&[0x69], size, 10, rm).imm(&immediate(size, 0x8001_7fff));
            list.modrm("imul", &insn, OTHERS);
        }
    }
}

fn bits(list: &mut List) {
    const BIT: u64 = OF | SF | AF | PF;
    for size in 1..4 {
        for (name, op) in [("bt", 4), ("bts", 5), ("btr", 6), ("btc", 7)] {
            for rm in BOTH {
                let insn = Insn::new(&[0x0f, 0x83 | op << 3], size, 2, rm);
                let form = list.modrm(name, &insn, BIT);
                if rm == Rm::M {
                    form.memory = Memory::BitString;
                }
                for number in [0, 7, 15, 33, 77] {
                    let insn = Insn::new(&[0x0f, 0xba], size, op, rm).imm(&[number]);
                    list.modrm(name, &insn, BIT);
                }
            }
            if op != 4 {
                let insn = Insn::new(&[0x0f, 0x83 | op << 3], size, 2, Rm::M).prefix(0xf0);
                list.modrm(&format!("lock {name}"), &insn, BIT).memory = Memory::BitString;
            }
        }
        for rm in BOTH {
            let scan = STATUS & !ZF;
            list.modrm("bsf", &Insn::new(&[0x0f, 0xbc], size, 2, rm), scan);
            list.modrm("bsr", &Insn::new(&[0x0f, 0xbd], size, 2, rm), scan);
            let insn = Insn::new(&[0x0f, 0xb8], size, 2, rm).prefix(0xf3);
            list.modrm("popcnt", &insn, 0).feature = Feature::Abm;
            let others = OF | SF | PF | AF;
            let insn = Insn::new(&[0x0f, 0xbc], size, 2, rm).prefix(0xf3);
            list.modrm("tzcnt", &insn, others).feature = Feature::Bmi1;
            let insn = Insn::new(&[0x0f, 0xbd], size, 2, rm).prefix(0xf3);
            list.modrm("lzcnt", &insn, others).feature = Feature::Abm;
        }
    }
    for rm in BOTH {
        for size in 0..4 {
            let insn = Insn::new(&[0x0f, 0x38, 0xf1], size, 2, rm).prefix(0xf2);
            list.modrm("crc32", &insn, 0).feature = Feature::Sse42;
        }
    }
}

fn moves(list: &mut List) {
    for size in 0..4 {
        for rm in BOTH {
            list.modrm("mov", &Insn::new(&[0x89], size, 2, rm), 0);
            list.modrm("mov", &Insn::new(&[0x8b], size, 2, rm), 0);
            let insn = Insn::new(&[0xc7], size, 0, rm).imm(&immediate(size, 0x89ab_cdef));
            list.modrm("mov", &insn, 0);
        }
        if size != 0 {
            for (name, opcode) in [("movzx", 0xb6), ("movsx", 0xbe)] {
                for rm in BOTH {
                    list.modrm(name, &Insn::new(&[0x0f, opcode], size, 2, rm), 0);
                    list.modrm(name, &Insn::new(&[0x0f, opcode + 1], size, 2, rm), 0);
                }
            }
            for opcode in [0xf0, 0xf1] {
                let insn = Insn::new(&[0x0f, 0x38, opcode], size, 2, Rm::M);
                list.modrm("movbe", &insn, 0).feature = Feature::Movbe;
            }
        }
    }
    for (reg, rm) in [(4, 1), (0, 7), (5, 6)] {
        let mut insn = Insn::new(&[0x89], 0, reg, Rm::R(rm));
        insn.high = true;
        list.modrm("mov high", &insn, 0);
    }
    list.modrm("movsxd", &Insn::new(&[0x63], 3, 2, Rm::R(9)), 0);
    list.modrm("movsxd", &Insn::new(&[0x63], 2, 2, Rm::M), 0);
    for size in [2, 3] {
        list.modrm("movnti", &Insn::new(&[0x0f, 0xc3], size, 2, Rm::M), 0);
    }
    list.add(
        "mov imm64",
        vec![0x49, 0xba, 1, 2, 3, 4, 5, 6, 7, 0x88],
        Memory::None,
        0,
    );
    list.add("mov imm32", vec![0xbe, 1, 2, 3, 0x84], Memory::None, 0);
    list.add("mov imm8", vec![0xb7, 0x91], Memory::None, 0);
    list.add("bswap", vec![0x0f, 0xca], Memory::None, 0);
    list.add("bswap", vec![0x49, 0x0f, 0xc9], Memory::None, 0);
    list.add("xlat", vec![0xd7], Memory::Table, 0);
    list.add("clflush", vec![0x0f, 0xae, 0x3b], Memory::Rbx, 0);
}

fn conditions(list: &mut List) {
    for code in 0..16 {
        for rm in BOTH {
            // Its byte form has the opcode that is given.
            let insn = Insn::new(&[0x0f, 0x91 + code], 0, 0, rm);
            list.modrm("setcc", &insn, 0);
            for size in 1..4 {
                list.modrm("cmovcc", &Insn::new(&[0x0f, 0x40 + code], size, 2, rm), 0);
            }
        }
        // Over MOV AL, 5; alone, and after a comparison.
        list.add("jcc", vec![0x70 + code, 2, 0xb0, 5], Memory::None, 0);
        let near = vec![0x0f, 0x80 + code, 2, 0, 0, 0, 0xb0, 5];
        list.add("jcc", near, Memory::None, 0);
        for compare in [0x39, 0x29, 0x01] {
            let after = vec![0x4c, compare, 0xca, 0x70 + code, 2, 0xb0, 5];
            list.add("cmp; jcc", after, Memory::None, 0);
            let after = vec![0x66, compare, 0xf2, 0x70 + code, 2, 0xb0, 5];
            list.add("cmp; jcc", after, Memory::None, 0);
        }
        let after = vec![0xff, 0xca, 0x70 + code, 2, 0xb0, 5];
        list.add("dec; jcc", after, Memory::None, 0);
        let after = vec![0x48, 0x85, 0xd2, 0x70 + code, 2, 0xb0, 5];
        list.add("test; jcc", after, Memory::None, AF);
    }
    // INC RAX; LOOPcc to it.
    for opcode in [0xe0, 0xe1, 0xe2] {
        for prefix in [None, Some(0x67)] {
            let mut code = vec![0x48, 0xff, 0xc0];
            code.extend(prefix);
            let back = 0u8.wrapping_sub(code.len() as u8 + 2);
            code.extend([opcode, back]);
            list.add("loop", code, Memory::None, 0).fix = |r| r.gpr[1] = 1 + r.gpr[1] % 20;
        }
    }
    list.add("jrcxz", vec![0xe3, 2, 0xb0, 5], Memory::None, 0);
    list.add("jecxz", vec![0x67, 0xe3, 2, 0xb0, 5], Memory::None, 0);
    // JMP over MOV AL, 5; CALL of what follows it.
    list.add("jmp", vec![0xeb, 2, 0xb0, 5], Memory::None, 0);
    list.add("jmp", vec![0xe9, 2, 0, 0, 0, 0xb0, 5], Memory::None, 0);
    list.add("call", vec![0xe8, 2, 0, 0, 0, 0xb0, 5], Memory::None, 0);
    // LEA RAX, [RIP + 3]; JMP or CALL RAX; over one byte.
    let lea = [0x48, 0x8d, 0x05, 3, 0, 0, 0];
    list.add(
        "jmp rax",
        [&lea[..], &[0xff, 0xe0, 0xf9]].concat(),
        Memory::None,
        0,
    );
    list.add(
        "call rax",
        [&lea[..], &[0xff, 0xd0, 0xf9]].concat(),
        Memory::None,
        0,
    );
    // LEA RAX, [RIP + 3]; PUSH RAX; RET; and the same with RET 16.
    let push = [0x48, 0x8d, 0x05, 3, 0, 0, 0, 0x50, 0xc3, 0xf9];
    list.add("ret", push.into(), Memory::None, 0);
    let push = [0x48, 0x8d, 0x05, 4, 0, 0, 0, 0x50, 0xc2, 16, 0];
    list.add("ret 16", push.into(), Memory::None, 0);
    // A function: CALL over JMP to the end; INC RAX; RET.
    let function = vec![0xe8, 2, 0, 0, 0, 0xeb, 4, 0x48, 0xff, 0xc0, 0xc3];
    list.add("call; ret", function, Memory::None, 0);
    // Instructions that end in the next page.
    for (name, code) in [
        ("add at page's end", &[0x48, 0x81, 0xc2, 1, 2, 3, 4][..]),
        ("jmp at page's end", &[0xe9, 2, 0, 0, 0, 0xb0, 5]),
        ("call at page's end", &[0xe8, 2, 0, 0, 0, 0xb0, 5]),
        ("mov at page's end", &[0x4c, 0x89, 0x4b, 8]),
        ("rep movsb at page's end", &[0xf3, 0xa4]),
    ] {
        for before in 1..code.len().min(5) as u64 {
            let memory = match name {
                "mov at page's end" => Memory::Rbx,
                "rep movsb at page's end" => Memory::Strings,
                _ => Memory::None,
            };
            list.add(name, code.into(), memory, 0).offset = 0x1000 - before;
        }
    }
}

fn exchanges(list: &mut List) {
    for size in 0..4 {
        for rm in BOTH {
            list.modrm("xchg", &Insn::new(&[0x87], size, 2, rm), 0);
            list.modrm("xadd", &Insn::new(&[0x0f, 0xc1], size, 2, rm), 0);
            list.modrm("cmpxchg", &Insn::new(&[0x0f, 0xb1], size, 2, rm), 0);
        }
        for (name, opcode) in [("lock xadd", 0xc1), ("lock cmpxchg", 0xb1)] {
            let insn = Insn::new(&[0x0f, opcode], size, 2, Rm::M).prefix(0xf0);
            list.modrm(name, &insn, 0);
        }
        list.modrm("xadd same", &Insn::new(&[0x0f, 0xc1], size, 6, Rm::R(6)), 0);
        let into = Insn::new(&[0x0f, 0xb1], size, 2, Rm::R(0));
        list.modrm("cmpxchg accumulator", &into, 0);
        // One that is equal: MOV the accumulator from memory before.
        let mut code = Insn::new(&[0x8b], size, 0, Rm::M).bytes();
        code.extend(
            Insn::new(&[0x0f, 0xb1], size, 2, Rm::M)
                .prefix(0xf0)
                .bytes(),
        );
        list.add("mov; lock cmpxchg", code, Memory::Rbx, 0);
    }
    list.add("xchg rax, r10", vec![0x49, 0x92], Memory::None, 0);
    list.add("xchg eax, esi", vec![0x96], Memory::None, 0);
    for lock in [false, true] {
        for wide in [false, true] {
            for equal in [false, true] {
                let mut code = vec![];
                if equal {
                    let w = if wide { 0x48 } else { 0x40 };
                    let second = if wide { 8 } else { 4 };
                    code.extend([w, 0x8b, 0x03, w, 0x8b, 0x53, second]);
                }
                code.extend(lock.then_some(0xf0));
                code.extend(wide.then_some(0x48));
                code.extend([0x0f, 0xc7, 0x0b]);
                list.add("cmpxchg8b", code, Memory::Aligned, 0);
            }
        }
    }
}

fn stack(list: &mut List) {
    for (name, code, memory) in [
        ("push r", &[0x52][..], Memory::None),
        ("push rsp", &[0x54], Memory::None),
        ("push r9", &[0x41, 0x51], Memory::None),
        ("push word", &[0x66, 0x52], Memory::None),
        ("push imm8", &[0x6a, 0x85], Memory::None),
        ("push imm32", &[0x68, 1, 2, 3, 0x84], Memory::None),
        ("push imm16", &[0x66, 0x68, 1, 0x82], Memory::None),
        ("push m", &[0xff, 0x33], Memory::Rbx),
        ("push m16", &[0x66, 0xff, 0x33], Memory::Rbx),
        ("push [rsp]", &[0xff, 0x34, 0x24], Memory::None),
        ("pop r", &[0x5a], Memory::None),
        ("pop r9", &[0x41, 0x59], Memory::None),
        ("pop word", &[0x66, 0x5a], Memory::None),
        ("pop m", &[0x8f, 0x03], Memory::Rbx),
        ("pop m16", &[0x66, 0x8f, 0x03], Memory::Rbx),
        ("pop [rsp + 16]", &[0x8f, 0x44, 0x24, 16], Memory::None),
        ("push; pop rsp", &[0x54, 0x5c], Memory::None),
        ("pushf; pop rax", &[0x9c, 0x58], Memory::None),
        ("pushfw", &[0x66, 0x9c], Memory::None),
        // PUSHF; XOR of the status flags and DF; POPF.
        (
            "popf",
            &[0x9c, 0x48, 0x81, 0x34, 0x24, 0xd5, 0x0c, 0, 0, 0x9d],
            Memory::None,
        ),
        (
            "popfw",
            &[0x9c, 0x66, 0x81, 0x34, 0x24, 0xd5, 0x0c, 0x66, 0x9d],
            Memory::None,
        ),
        ("leave", &[0xc9], Memory::Frame),
        ("leave word", &[0x66, 0xc9], Memory::Frame),
        ("enter", &[0xc8, 0x20, 0x01, 0], Memory::Frame),
        ("enter 1", &[0xc8, 0x20, 0, 1], Memory::Frame),
        ("enter 4", &[0xc8, 0x18, 0, 4], Memory::Frame),
        ("enter word 3", &[0x66, 0xc8, 0x18, 0, 3], Memory::Frame),
    ] {
        list.add(name, code.into(), memory, 0);
    }
}

fn strings(list: &mut List) {
    for (name, opcode) in [
        ("movs", 0xa4),
        ("cmps", 0xa6),
        ("stos", 0xaa),
        ("lods", 0xac),
        ("scas", 0xae),
    ] {
        for size in 0..4 {
            for repeat in [None, Some(0xf3), Some(0xf2)] {
                if repeat == Some(0xf2) && !matches!(opcode, 0xa6 | 0xae) {
                    continue;
                }
                for down in [false, true] {
                    for short in [false, true] {
                        let mut code = vec![];
                        code.extend(down.then_some(0xfd));
                        code.extend(short.then_some(0x67));
                        code.extend(repeat);
                        code.extend((size == 1).then_some(0x66));
                        code.extend((size == 3).then_some(0x48));
                        code.push(opcode + u8::from(size != 0));
                        list.add(name, code, Memory::Strings, 0);
                    }
                }
            }
        }
    }
}

/// LEA shows each kind of address.
fn addresses(list: &mut List) {
    for (name, code) in [
        ("[rbx]", &[0x48, 0x8d, 0x13][..]),
        ("[rbx + 8]", &[0x48, 0x8d, 0x53, 0xf8]),
        ("[rbx + disp32]", &[0x48, 0x8d, 0x93, 1, 2, 3, 0x84]),
        ("[rip + disp32]", &[0x48, 0x8d, 0x15, 1, 2, 3, 0x84]),
        ("[eip + disp32]", &[0x67, 0x48, 0x8d, 0x15, 1, 2, 3, 0x84]),
        ("[disp32]", &[0x48, 0x8d, 0x14, 0x25, 1, 2, 3, 0x84]),
        (
            "[a32 disp32]",
            &[0x67, 0x48, 0x8d, 0x14, 0x25, 1, 2, 3, 0x84],
        ),
        ("[rbx + rcx * 4]", &[0x48, 0x8d, 0x14, 0x8b]),
        ("[rbx + rcx * 8 + 8]", &[0x48, 0x8d, 0x54, 0xcb, 8]),
        (
            "[r13 + r12 * 2 + disp32]",
            &[0x4b, 0x8d, 0x94, 0x65, 1, 2, 3, 4],
        ),
        (
            "[rcx * 8 + disp32]",
            &[0x48, 0x8d, 0x14, 0xcd, 1, 2, 3, 0x84],
        ),
        ("[ebx + ecx * 4]", &[0x67, 0x48, 0x8d, 0x14, 0x8b]),
        (
            "[ecx * 2 + disp32]",
            &[0x67, 0x8d, 0x14, 0x4d, 1, 2, 3, 0x84],
        ),
        ("edx, [rbx + rcx]", &[0x8d, 0x14, 0x0b]),
        ("dx, [rbx + rcx]", &[0x66, 0x8d, 0x14, 0x0b]),
    ] {
        list.add(&format!("lea {name}"), code.into(), Memory::None, 0);
    }
}

/// An instruction with a VEX prefix: opcode map, prefix (0, 66, F3, F2 by number), vvvv.
fn vex_bytes(map: u8, pp: u8, opcode: u8, wide: bool, reg: u8, v: u8, rm: Rm) -> Vec<u8> {
    let number = match rm {
        Rm::R(number) => number,
        Rm::M => 3,
    };
    let r = (!reg >> 3 & 1) << 7;
    let b = (!number >> 3 & 1) << 5;
    let mut code = vec![
        0xc4,
        r | 0x40 | b | map,
        u8::from(wide) << 7 | (!v & 15) << 3 | pp,
        opcode,
    ];
    match rm {
        Rm::R(number) => code.push(0xc0 | (reg & 7) << 3 | number & 7),
        Rm::M => code.extend([0x40 | (reg & 7) << 3 | 3, 24]),
    }
    code
}

fn vex(list: &mut List) {
    use Feature::{Bmi1, Bmi2};
    for rm in BOTH {
        let memory = if rm == Rm::M {
            Memory::Rbx
        } else {
            Memory::None
        };
        for wide in [false, true] {
            let mut add = |name: &str, code, undefined, feature| {
                let name = format!("{name} {wide} {rm:?}");
                list.add(&name, code, memory, undefined).feature = feature;
            };
            let of = |map, pp, opcode, reg, v| vex_bytes(map, pp, opcode, wide, reg, v, rm);
            add("andn", of(2, 0, 0xf2, 2, 14), AF | PF, Bmi1);
            add("blsr", of(2, 0, 0xf3, 1, 14), AF | PF, Bmi1);
            add("blsmsk", of(2, 0, 0xf3, 2, 14), AF | PF, Bmi1);
            add("blsi", of(2, 0, 0xf3, 3, 14), AF | PF, Bmi1);
            add("bextr", of(2, 0, 0xf7, 2, 14), AF | SF | PF, Bmi1);
            add("bzhi", of(2, 0, 0xf5, 2, 14), AF | PF, Bmi2);
            add("pext", of(2, 2, 0xf5, 2, 14), 0, Bmi2);
            add("pdep", of(2, 3, 0xf5, 2, 14), 0, Bmi2);
            add("mulx", of(2, 3, 0xf6, 2, 14), 0, Bmi2);
            add("mulx same", of(2, 3, 0xf6, 14, 14), 0, Bmi2);
            add("sarx", of(2, 2, 0xf7, 2, 14), 0, Bmi2);
            add("shlx", of(2, 1, 0xf7, 2, 14), 0, Bmi2);
            add("shrx", of(2, 3, 0xf7, 2, 14), 0, Bmi2);
            for places in [0, 1, 31, 33, 63] {
                let mut code = of(3, 3, 0xf0, 2, 0);
                code.push(places);
                add("rorx", code, 0, Bmi2);
            }
        }
    }
}
