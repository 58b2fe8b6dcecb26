//! A toy architecture that has one instruction for each thing that `Emit` can say.
//!
//! An instruction is four bytes: opcode, a, b, c; a to c are slots, or b and c an offset. Memory is
//! one flat piece of the host's. Slots 0 to 15 are used, the rest is left alone.

use understudy_engine::arch::{AccessKind, Arch, Fetch, Frame, Insn, Target};
use understudy_engine::cpu::Cpu;
use understudy_engine::def;
use understudy_engine::emit::*;
use understudy_engine::float::{FloatFormat, FloatOp};
use understudy_engine::run::{Engine, Tier};
use understudy_engine::tlb::{PAGE_MASK, PAGE_SIZE};

#[derive(Debug)]
pub enum Toy {}

/// Guest addresses run from 0 to the end of the memory; device addresses from there on.
pub struct State {
    pub memory: Vec<Page>,
    /// What the last device access was, and how many instructions were single-stepped.
    pub device: Vec<(u64, u64)>,
    pub halted: bool,
    /// Pages that code was fetched from, a bit each.
    pub code: u64,
}

#[repr(C, align(4096))]
#[derive(Clone)]
pub struct Page(pub [u8; PAGE_SIZE as usize]);

#[derive(Clone, Copy, Debug)]
pub struct Operands(pub [u8; 4]);

impl Operands {
    fn slot(&self, i: usize) -> Slot {
        Slot::new(self.0[i] & 15)
    }
    fn offset(&self) -> i64 {
        i16::from_le_bytes([self.0[2], self.0[3]]) as i64 * 4
    }
}

const BINARY: [Binary; 15] = [
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::UMulH,
    Binary::SMulH,
    Binary::UDiv,
    Binary::SDiv,
    Binary::And,
    Binary::Or,
    Binary::Xor,
    Binary::Shl,
    Binary::Shr,
    Binary::Sar,
    Binary::Ror,
    Binary::Ror32,
];
const UNARY: [Unary; 13] = [
    Unary::Not,
    Unary::Neg,
    Unary::Zext8,
    Unary::Zext16,
    Unary::Zext32,
    Unary::Sext8,
    Unary::Sext16,
    Unary::Sext32,
    Unary::Clz,
    Unary::Ctz,
    Unary::Popcnt,
    Unary::Bswap,
    Unary::Rbit,
];
const CMP: [Cmp; 6] = [Cmp::Eq, Cmp::Ne, Cmp::Ult, Cmp::Ule, Cmp::Slt, Cmp::Sle];
const RMW: [Rmw; 9] = [
    Rmw::Add,
    Rmw::Clr,
    Rmw::Eor,
    Rmw::Set,
    Rmw::SMax,
    Rmw::SMin,
    Rmw::UMax,
    Rmw::UMin,
    Rmw::Swap,
];

const FLOAT: [FloatOp; 11] = [
    FloatOp::Add,
    FloatOp::Sub,
    FloatOp::Mul,
    FloatOp::Div,
    FloatOp::Sqrt,
    FloatOp::MulAdd,
    FloatOp::Less,
    FloatOp::Equal,
    FloatOp::Convert,
    FloatOp::FromSigned,
    FloatOp::ToSigned,
];

type R<E> = Result<(), <E as Emit>::Stop>;

fn binary<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let (a, b) = (e.get(o.slot(2)), e.get(o.slot(3)));
    let r = e.binary(BINARY[o.0[0] as usize % 15], a, b);
    e.put(o.slot(1), r);
    Ok(())
}
fn unary<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let a = e.get(o.slot(2));
    let r = e.unary(UNARY[o.0[3] as usize % 13], a);
    e.put(o.slot(1), r);
    Ok(())
}
fn compare<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let (a, b) = (e.get(o.slot(2)), e.get(o.slot(3)));
    let c = e.compare(CMP[o.0[0] as usize % 6], a, b);
    let x = e.add(c, a);
    let r = e.select(c, b, x);
    e.put(o.slot(1), r);
    Ok(())
}
fn immediate<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let v = e.imm(o.offset() as u64);
    let one = e.imm(1);
    let r = e.add(v, one);
    e.put(o.slot(1), r);
    Ok(())
}
fn mem(o: &Operands) -> Mem {
    let m = Mem::new(Size::from_log2(o.0[0] as u32));
    if o.0[0] & 4 != 0 { m.aligned() } else { m }
}
fn load<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let a = e.get(o.slot(2));
    let a = e.and_imm(a, 0x7fff);
    let r = e.load(a, mem(o))?;
    e.put(o.slot(1), r);
    Ok(())
}
fn store<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let (v, a) = (e.get(o.slot(1)), e.get(o.slot(2)));
    let a = e.and_imm(a, 0x6fff);
    e.store(a, v, mem(o))
}
fn load_pair<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let a = e.get(o.slot(2));
    let a = e.and_imm(a, 0x2fff);
    let (x, y) = e.load_pair(a, mem(o))?;
    e.put(o.slot(1), x);
    e.put(o.slot(3), y);
    Ok(())
}
fn store_pair<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let (v, w, a) = (e.get(o.slot(1)), e.get(o.slot(3)), e.get(o.slot(2)));
    let a = e.and_imm(a, 0x2fff);
    e.store_pair(a, (v, w), mem(o))
}
fn rmw<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let (v, a) = (e.get(o.slot(3)), e.get(o.slot(2)));
    let a = e.and_imm(a, 0x2ff8);
    let r = e.rmw(RMW[(o.0[1] >> 4) as usize % 9], a, v, mem(o))?;
    e.put(o.slot(1), r);
    Ok(())
}
fn compare_exchange<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let (x, n, a) = (e.get(o.slot(3)), e.get(o.slot(1)), e.get(o.slot(2)));
    let a = e.and_imm(a, 0x2ff8);
    let r = e.compare_exchange(a, x, n, mem(o))?;
    e.put(o.slot(1), r);
    e.fence();
    Ok(())
}
static SUM: Helper<Toy> = Helper {
    name: "sum",
    call: |cpu, [a, b, c, d]| {
        let sum = a.wrapping_add(b).wrapping_add(c).wrapping_add(d);
        let r = sum.wrapping_add(cpu.slot(Slot::new(7)));
        cpu.set_slot(Slot::new(8), r ^ cpu.pc);
        Ok(r.rotate_left(7))
    },
    effects: Effects {
        reads: SlotSet::range(7, 8),
        writes: SlotSet::range(8, 9),
        stops: false,
    },
};
static HALT: Helper<Toy> = Helper {
    name: "halt",
    call: |cpu, [odd, ..]| {
        if odd & 1 == 0 {
            return Ok(5);
        }
        cpu.state.halted = true;
        Err(Stop::Exit)
    },
    effects: Effects::ANY,
};
fn helper<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let (a, b) = (e.get(o.slot(2)), e.get(o.slot(3)));
    let r = e.call(&SUM, &[a, b])?;
    e.put(o.slot(1), r);
    Ok(())
}
/// The result, or that of a helper where it is not a number: tiers need not agree on which NaN.
fn float<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let op = FLOAT[o.0[0] as usize % FLOAT.len()];
    let (format, other) = if o.0[1] & 16 == 0 {
        (FloatFormat::Double, FloatFormat::Single)
    } else {
        (FloatFormat::Single, FloatFormat::Double)
    };
    let [a, b, c] = [2, 3, 1].map(|i| e.get(o.slot(i)));
    let r = e.float(op, format, [a, b, c]);
    let of = if op == FloatOp::Convert {
        other
    } else {
        format
    };
    let number = e.float(FloatOp::Equal, of, [r, r, r]);
    let r = e.helper_unless(number, r, &SUM, [a, b, c, b])?;
    e.put(o.slot(1), r);
    Ok(())
}
fn maybe_halt<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let a = e.get(o.slot(2));
    let r = e.call(&HALT, &[a])?;
    e.put(o.slot(1), r);
    Ok(())
}
fn pc<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let pc = e.pc();
    e.put(o.slot(1), pc);
    Ok(())
}
fn halt<E: Emit<Arch = Toy>>(e: &mut E, _: &Operands) -> R<E> {
    let one = e.imm(1);
    e.call(&HALT, &[one])?;
    e.end_block();
    Ok(())
}
fn jump<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    e.jump(o.offset());
    Ok(())
}
fn call<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let pc = e.pc();
    let back = e.add_imm(pc, 4);
    e.put(o.slot(1), back);
    e.jump(o.offset());
    Ok(())
}
fn branch<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let a = e.get(o.slot(1));
    e.branch(a, o.offset());
    Ok(())
}
fn jump_to<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let a = e.get(o.slot(1));
    e.jump_to(a);
    Ok(())
}
fn dispatch<E: Emit<Arch = Toy>>(e: &mut E, o: &Operands) -> R<E> {
    let a = e.get(o.slot(2));
    e.put(o.slot(1), a);
    e.end_block();
    Ok(())
}

/// First opcodes of the kinds.
#[allow(dead_code)]
pub mod op {
    pub const BINARY: u8 = 0;
    pub const UNARY: u8 = 15;
    pub const COMPARE: u8 = 18;
    pub const IMMEDIATE: u8 = 24;
    pub const LOAD: u8 = 32;
    pub const STORE: u8 = 40;
    pub const LOAD_PAIR: u8 = 48;
    pub const STORE_PAIR: u8 = 56;
    pub const RMW: u8 = 64;
    pub const COMPARE_EXCHANGE: u8 = 72;
    pub const HELPER: u8 = 80;
    pub const MAYBE_HALT: u8 = 81;
    pub const PC: u8 = 82;
    pub const DISPATCH: u8 = 83;
    pub const FLOAT: u8 = 84;
    /// All below end no block but `DISPATCH`, and need no care about targets.
    pub const STRAIGHT: u8 = 95;
    pub const JUMP: u8 = 95;
    pub const CALL: u8 = 96;
    pub const BRANCH: u8 = 97;
    pub const JUMP_TO: u8 = 98;
    pub const HALT: u8 = 99;
}

impl Arch for Toy {
    type Operands = Operands;
    type State = State;
    const INSN_ALIGN: u64 = 4;
    const LEAVES_BLOCKS: bool = true;

    fn mode(_: &Cpu<Self>) -> u32 {
        0
    }

    fn decode(_: u32, bytes: &[u8]) -> Insn<Self> {
        let o = Operands([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let def = match o.0[0] {
            0..15 => def!(Toy, "BINARY", binary),
            15..18 => def!(Toy, "UNARY", unary),
            18..24 => def!(Toy, "COMPARE", compare),
            24..32 => def!(Toy, "IMMEDIATE", immediate),
            32..40 => def!(Toy, "LOAD", load),
            40..48 => def!(Toy, "STORE", store),
            48..56 => def!(Toy, "LOAD_PAIR", load_pair),
            56..64 => def!(Toy, "STORE_PAIR", store_pair),
            64..72 => def!(Toy, "RMW", rmw),
            72..80 => def!(Toy, "COMPARE_EXCHANGE", compare_exchange),
            80 => def!(Toy, "HELPER", helper),
            81 => def!(Toy, "MAYBE_HALT", maybe_halt),
            82 => def!(Toy, "PC", pc),
            83 => def!(Toy, "DISPATCH", dispatch, ends),
            84..95 => def!(Toy, "FLOAT", float),
            95 => def!(Toy, "JUMP", jump, ends),
            96 => def!(Toy, "CALL", call, ends),
            97 => def!(Toy, "BRANCH", branch, ends),
            98 => def!(Toy, "JUMP_TO", jump_to, ends),
            _ => def!(Toy, "HALT", halt, ends),
        };
        Insn::new(def, o, 4)
    }

    fn fetch(cpu: &mut Cpu<Self>) -> Result<Fetch, Stop> {
        let physical = cpu.pc & !PAGE_MASK;
        match cpu.state.memory.get_mut((physical / PAGE_SIZE) as usize) {
            Some(page) if cpu.pc & 3 == 0 => {
                let host = page.0.as_ptr();
                cpu.state.code |= 1 << (physical / PAGE_SIZE);
                cpu.tlb().clear_stores();
                Ok(Fetch {
                    host,
                    physical,
                    careful: false,
                    cache: true,
                })
            }
            _ => {
                cpu.state.halted = true;
                Err(Stop::Exit)
            }
        }
    }

    fn check_access(
        cpu: &mut Cpu<Self>,
        address: u64,
        bytes: u64,
        mem: Mem,
        kind: AccessKind,
    ) -> Result<(), Stop> {
        let aligned = mem.align == Align::Natural || kind == AccessKind::Atomic;
        if aligned && address & (bytes - 1) != 0 {
            cpu.state.halted = true;
            return Err(Stop::Exit);
        }
        Ok(())
    }

    fn translate(
        cpu: &mut Cpu<Self>,
        address: u64,
        _: u64,
        _: Mem,
        kind: AccessKind,
    ) -> Result<Target, Stop> {
        let page = (address / PAGE_SIZE) as usize;
        let code = page < 64 && cpu.state.code >> page & 1 != 0;
        if code && kind.writes() {
            cpu.code_written();
        }
        Ok(match cpu.state.memory.get_mut(page) {
            Some(page) => Target::Memory(Frame {
                host: page.0.as_mut_ptr(),
                cache_loads: true,
                cache_stores: !code,
            }),
            None => Target::Device(address),
        })
    }

    fn host_fault(_: &mut Cpu<Self>, _: u64) -> Stop {
        Stop::Exit
    }

    fn device_load(cpu: &mut Cpu<Self>, physical: u64, _: Mem) -> Result<u64, Stop> {
        cpu.state.device.push((physical, cpu.pc));
        Ok(physical)
    }

    fn device_store(cpu: &mut Cpu<Self>, physical: u64, value: u64, _: Mem) -> Result<(), Stop> {
        cpu.state.device.push((physical, value));
        Ok(())
    }

    fn device_other(cpu: &mut Cpu<Self>, _: u64, _: Mem, _: AccessKind) -> Stop {
        cpu.state.halted = true;
        Stop::Exit
    }

    fn service(cpu: &mut Cpu<Self>) -> Result<(), Stop> {
        match cpu.requests().take(understudy_engine::request::EXIT) {
            0 => Ok(()),
            _ => Err(Stop::Exit),
        }
    }

    fn stepping(_: &Cpu<Self>) -> bool {
        false
    }

    fn before_insn(_: &mut Cpu<Self>) -> Result<(), Stop> {
        Ok(())
    }

    fn after_insn(_: &mut Cpu<Self>, _: Option<Stop>) {}
}

/// A machine of `pages` pages with the program at its beginning.
pub fn machine(pages: usize, program: &[[u8; 4]], tier: Tier) -> Engine<Toy> {
    let mut memory = vec![Page([0; PAGE_SIZE as usize]); pages];
    for (i, insn) in program.iter().enumerate() {
        let at = i * 4;
        memory[at / 4096].0[at % 4096..at % 4096 + 4].copy_from_slice(insn);
    }
    let state = State {
        memory,
        device: Vec::new(),
        halted: false,
        code: 0,
    };
    let mut engine = Engine::new(state, Default::default());
    engine.set_tier(tier);
    engine
}
