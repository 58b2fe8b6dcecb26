//! What compiled code is made from: the operations of a block, as [`Emit`] named them.
//!
//! The recorder runs the same semantics as the interpreter, but leaves a list of operations. Values
//! are numbers of operations. The list has a text form, [`Block`]'s `Display`:
//!
//! ```text
//! block +0x10:
//!   0x10 ADD (immediate)
//!     v0 = get r1
//!     v1 = imm 0x1
//!     v2 = add v0, v1
//!     put r1, v2
//! ```
//!
//! Recording needs no vCPU, so it happens on the compiler's thread. Constants are folded as they
//! are recorded, with the interpreter's own definitions.

use crate::arch::{Arch, Def, Insn};
use crate::emit::{Binary, Cmp, Emit, Helper, Mem, Rmw, Size, Slot, Unary};
use crate::float::{FloatFormat, FloatOp};
use crate::vector::{VecBinary, VecShift, VecUnary};
use std::convert::Infallible;
use std::fmt;

/// A value: the number of the operation that gives it; the second result of a pair load is the
/// operation after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Value(pub u32);

/// One operation of a [`Block`].
#[derive(Clone, Copy, Debug)]
pub enum Op<A: Arch> {
    /// An instruction begins, at this offset from the page's start.
    Insn {
        /// From the start of the page.
        offset: u32,
        /// The manual's name.
        name: &'static str,
    },
    /// A constant.
    Imm(u64),
    /// What a slot holds.
    Get(Slot),
    /// Sets a slot.
    Put(Slot, Value),
    /// An operation on one value.
    Unary(Unary, Value),
    /// An operation on two values.
    Binary(Binary, Value, Value),
    /// A comparison.
    Compare(Cmp, Value, Value),
    /// An operation of the host's floating point.
    Float(FloatOp, FloatFormat, [Value; 3]),
    /// Choice by a condition.
    Select(Value, Value, Value),
    /// What two slots hold, the first of them given.
    VecGet(Slot),
    /// Sets two slots, the first of them given.
    VecPut(Slot, Value),
    /// A constant vector.
    VecImm(u128),
    /// An operation on one vector.
    VecUnary(VecUnary, Size, Value),
    /// An operation on two vectors.
    VecBinary(VecBinary, Size, Value, Value),
    /// A shift of each lane.
    VecShift(VecShift, Size, Value, u32),
    /// Choice by the bits of a mask.
    VecSelect(Value, Value, Value),
    /// A choice of bytes.
    VecShuffle(Value, Value, [u8; 16]),
    /// Lanes of this size, signed or not, of the high half or the low one, extended.
    VecWiden(Size, bool, bool, Value),
    /// A value in every lane.
    VecSplat(Size, Value),
    /// A lane.
    VecLane(Size, u32, Value),
    /// A vector with a lane replaced.
    VecWithLane(Size, u32, Value, Value),
    /// A load.
    Load(Value, Mem),
    /// A store: address, value.
    Store(Value, Value, Mem),
    /// A load of two values; the second is the next operation, [`Op::Second`].
    LoadPair(Value, Mem),
    /// The second value of the pair load before it.
    Second,
    /// A store of two values.
    StorePair(Value, Value, Value, Mem),
    /// Read-modify-write: address, operand.
    Rmw(Rmw, Value, Value, Mem),
    /// Compare-and-swap: address, expected, new.
    CompareExchange(Value, Value, Value, Mem),
    /// A barrier.
    Fence,
    /// A helper's call.
    Helper(&'static Helper<A>, [Value; 4]),
    /// A helper's call where the first value is 0, else the second value.
    HelperUnless(Value, Value, &'static Helper<A>, [Value; 4]),
    /// The address of the instruction.
    Pc,
}

/// How a block ends. Offsets are from the start of the page, and may lie outside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At this offset.
    Jump(i64),
    /// At the first offset if the value is not 0, else at the second.
    Branch(Value, i64, i64),
    /// At this address.
    JumpTo(Value),
    /// At this offset, but through the dispatcher.
    Dispatch(i64),
}

/// The recorded operations of a block of instructions.
pub struct Block<A: Arch> {
    /// Offset of the first instruction from the start of its page.
    pub offset: u32,
    /// Number of instructions.
    pub instructions: u32,
    /// The operations.
    pub ops: Vec<Op<A>>,
    /// The end.
    pub end: End,
}

/// An [`Emit`] that leaves operations behind.
pub struct Recorder<A: Arch> {
    mode: u32,
    offset: i64,
    length: i64,
    ops: Vec<Op<A>>,
    end: Option<End>,
}

/// Records the block made of `instructions`, the first of which lies at `offset` from the start of
/// its page.
pub fn record<A: Arch>(mode: u32, offset: u32, instructions: &[Insn<A>]) -> Block<A> {
    let mut recorder = Recorder {
        mode,
        offset: offset as i64,
        length: 0,
        ops: Vec::with_capacity(64),
        end: None,
    };
    for insn in instructions {
        recorder.length = insn.length as i64;
        recorder.ops.push(Op::Insn {
            offset: recorder.offset as u32,
            name: insn.def.name,
        });
        let Ok(()) = (insn.def.record)(&mut recorder, &insn.operands);
        recorder.offset += recorder.length;
    }
    Block {
        offset,
        instructions: instructions.len() as u32,
        end: recorder.end.unwrap_or(End::Jump(recorder.offset)),
        ops: recorder.ops,
    }
}

impl<A: Arch> Recorder<A> {
    fn push(&mut self, op: Op<A>) -> Value {
        self.ops.push(op);
        Value(self.ops.len() as u32 - 1)
    }

    fn constant(&self, value: Value) -> Option<u64> {
        match self.ops[value.0 as usize] {
            Op::Imm(value) => Some(value),
            _ => None,
        }
    }
}

impl<A: Arch> Emit for Recorder<A> {
    type Arch = A;
    type Val = Value;
    type Vec = Value;
    type Stop = Infallible;
    const COMPILES: bool = true;

    fn mode(&self) -> u32 {
        self.mode
    }
    fn imm(&mut self, value: u64) -> Value {
        self.push(Op::Imm(value))
    }
    fn instruction(
        &mut self,
        def: &'static Def<A>,
        operands: &A::Operands,
    ) -> Result<(), Infallible> {
        (def.record)(self, operands)
    }
    fn get(&mut self, slot: Slot) -> Value {
        self.push(Op::Get(slot))
    }
    fn put(&mut self, slot: Slot, value: Value) {
        self.push(Op::Put(slot, value));
    }
    fn unary(&mut self, op: Unary, a: Value) -> Value {
        match self.constant(a) {
            Some(a) => self.imm(op.eval(a)),
            None => self.push(Op::Unary(op, a)),
        }
    }
    fn binary(&mut self, op: Binary, a: Value, b: Value) -> Value {
        match (self.constant(a), self.constant(b)) {
            (Some(a), Some(b)) => self.imm(op.eval(a, b)),
            (None, Some(0)) if matches!(op, Binary::Add | Binary::Sub | Binary::Or) => a,
            (None, Some(0)) if matches!(op, Binary::Shl | Binary::Shr | Binary::Sar) => a,
            _ => self.push(Op::Binary(op, a, b)),
        }
    }
    fn compare(&mut self, op: Cmp, a: Value, b: Value) -> Value {
        match (self.constant(a), self.constant(b)) {
            (Some(a), Some(b)) => self.imm(op.eval(a, b)),
            _ => self.push(Op::Compare(op, a, b)),
        }
    }
    fn float(&mut self, op: FloatOp, format: FloatFormat, operands: [Value; 3]) -> Value {
        self.push(Op::Float(op, format, operands))
    }
    fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        match self.constant(condition) {
            Some(0) => b,
            Some(_) => a,
            None => self.push(Op::Select(condition, a, b)),
        }
    }

    fn vec_get(&mut self, slot: Slot) -> Value {
        self.push(Op::VecGet(slot.pair()))
    }
    fn vec_put(&mut self, slot: Slot, value: Value) {
        self.push(Op::VecPut(slot.pair(), value));
    }
    fn vec_imm(&mut self, value: u128) -> Value {
        self.push(Op::VecImm(value))
    }
    fn vec_unary(&mut self, op: VecUnary, size: Size, a: Value) -> Value {
        self.push(Op::VecUnary(op, size, a))
    }
    fn vec_binary(&mut self, op: VecBinary, size: Size, a: Value, b: Value) -> Value {
        self.push(Op::VecBinary(op, size, a, b))
    }
    fn vec_shift(&mut self, op: VecShift, size: Size, a: Value, amount: u32) -> Value {
        match amount {
            0 => a,
            _ => self.push(Op::VecShift(op, size, a, amount)),
        }
    }
    fn vec_select(&mut self, mask: Value, a: Value, b: Value) -> Value {
        self.push(Op::VecSelect(mask, a, b))
    }
    fn vec_shuffle(&mut self, a: Value, b: Value, indices: [u8; 16]) -> Value {
        self.push(Op::VecShuffle(a, b, indices))
    }
    fn vec_widen(&mut self, size: Size, signed: bool, high: bool, a: Value) -> Value {
        self.push(Op::VecWiden(size, signed, high, a))
    }
    fn vec_splat(&mut self, size: Size, value: Value) -> Value {
        self.push(Op::VecSplat(size, value))
    }
    fn vec_lane(&mut self, size: Size, index: u32, a: Value) -> Value {
        self.push(Op::VecLane(size, index, a))
    }
    fn vec_with_lane(&mut self, size: Size, index: u32, a: Value, value: Value) -> Value {
        self.push(Op::VecWithLane(size, index, a, value))
    }

    fn load(&mut self, address: Value, mem: Mem) -> Result<Value, Infallible> {
        Ok(self.push(Op::Load(address, mem)))
    }
    fn store(&mut self, address: Value, value: Value, mem: Mem) -> Result<(), Infallible> {
        self.push(Op::Store(address, value, mem));
        Ok(())
    }
    fn load_pair(&mut self, address: Value, mem: Mem) -> Result<(Value, Value), Infallible> {
        let first = self.push(Op::LoadPair(address, mem));
        Ok((first, self.push(Op::Second)))
    }
    fn store_pair(
        &mut self,
        address: Value,
        values: (Value, Value),
        mem: Mem,
    ) -> Result<(), Infallible> {
        self.push(Op::StorePair(address, values.0, values.1, mem));
        Ok(())
    }
    fn rmw(
        &mut self,
        op: Rmw,
        address: Value,
        operand: Value,
        mem: Mem,
    ) -> Result<Value, Infallible> {
        Ok(self.push(Op::Rmw(op, address, operand, mem)))
    }
    fn compare_exchange(
        &mut self,
        address: Value,
        expected: Value,
        new: Value,
        mem: Mem,
    ) -> Result<Value, Infallible> {
        Ok(self.push(Op::CompareExchange(address, expected, new, mem)))
    }
    fn fence(&mut self) {
        self.push(Op::Fence);
    }
    fn helper(
        &mut self,
        helper: &'static Helper<A>,
        arguments: [Value; 4],
    ) -> Result<Value, Infallible> {
        Ok(self.push(Op::Helper(helper, arguments)))
    }
    fn helper_unless(
        &mut self,
        condition: Value,
        value: Value,
        helper: &'static Helper<A>,
        arguments: [Value; 4],
    ) -> Result<Value, Infallible> {
        match self.constant(condition) {
            Some(0) => self.helper(helper, arguments),
            Some(_) => Ok(value),
            None => Ok(self.push(Op::HelperUnless(condition, value, helper, arguments))),
        }
    }

    fn pc(&mut self) -> Value {
        self.push(Op::Pc)
    }
    fn jump(&mut self, offset: i64) {
        self.end = Some(End::Jump(self.offset + offset));
    }
    fn branch(&mut self, condition: Value, offset: i64) {
        let taken = self.offset + offset;
        let next = self.offset + self.length;
        self.end = Some(match self.constant(condition) {
            Some(0) => End::Jump(next),
            Some(_) => End::Jump(taken),
            None => End::Branch(condition, taken, next),
        });
    }
    fn jump_to(&mut self, target: Value) {
        self.end = Some(End::JumpTo(target));
    }
    fn end_block(&mut self) {
        self.end = Some(End::Dispatch(self.offset + self.length));
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

fn lower(name: impl fmt::Debug) -> String {
    format!("{name:?}").to_lowercase()
}

impl<A: Arch> fmt::Display for Op<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mem = |m: &Mem| {
            format!(
                "{}{}{}",
                8 * m.size.bytes(),
                if m.unprivileged { " unprivileged" } else { "" },
                match m.order {
                    crate::emit::Order::Relaxed => String::new(),
                    order => format!(" {}", lower(order)),
                }
            )
        };
        let bits = |size: &Size| 8 * size.bytes();
        match self {
            Op::Insn { offset, name } => write!(f, "{offset:#x} {name}"),
            Op::Imm(value) => write!(f, "imm {value:#x}"),
            Op::Get(slot) => write!(f, "get r{}", slot.index()),
            Op::Put(slot, value) => write!(f, "put r{}, {value}", slot.index()),
            Op::Unary(op, a) => write!(f, "{} {a}", lower(op)),
            Op::Binary(op, a, b) => write!(f, "{} {a}, {b}", lower(op)),
            Op::Compare(op, a, b) => write!(f, "{} {a}, {b}", lower(op)),
            Op::Float(op, format, [a, b, c]) => {
                write!(f, "{}_{} {a}, {b}, {c}", lower(op), lower(format))
            }
            Op::Select(c, a, b) => write!(f, "select {c}, {a}, {b}"),
            Op::VecGet(slot) => write!(f, "vec_get r{}", slot.index()),
            Op::VecPut(slot, value) => write!(f, "vec_put r{}, {value}", slot.index()),
            Op::VecImm(value) => write!(f, "vec_imm {value:#x}"),
            Op::VecUnary(op, size, a) => write!(f, "vec_{}{} {a}", lower(op), bits(size)),
            Op::VecBinary(op, size, a, b) => {
                write!(f, "vec_{}{} {a}, {b}", lower(op), bits(size))
            }
            Op::VecShift(op, size, a, n) => write!(f, "vec_{}{} {a}, {n}", lower(op), bits(size)),
            Op::VecSelect(m, a, b) => write!(f, "vec_select {m}, {a}, {b}"),
            Op::VecShuffle(a, b, indices) => write!(f, "vec_shuffle {a}, {b}, {indices:?}"),
            Op::VecWiden(size, signed, high, a) => write!(
                f,
                "vec_{}widen{}{} {a}",
                if *signed { "s" } else { "u" },
                bits(size),
                if *high { "_high" } else { "" }
            ),
            Op::VecSplat(size, a) => write!(f, "vec_splat{} {a}", bits(size)),
            Op::VecLane(size, i, a) => write!(f, "vec_lane{} {a}[{i}]", bits(size)),
            Op::VecWithLane(size, i, a, v) => {
                write!(f, "vec_with_lane{} {a}[{i}], {v}", bits(size))
            }
            Op::Load(a, m) => write!(f, "load{} [{a}]", mem(m)),
            Op::Store(a, v, m) => write!(f, "store{} [{a}], {v}", mem(m)),
            Op::LoadPair(a, m) => write!(f, "load_pair{} [{a}]", mem(m)),
            Op::Second => f.write_str("second"),
            Op::StorePair(a, v, w, m) => write!(f, "store_pair{} [{a}], {v}, {w}", mem(m)),
            Op::Rmw(op, a, v, m) => write!(f, "rmw_{}{} [{a}], {v}", lower(op), mem(m)),
            Op::CompareExchange(a, x, n, m) => {
                write!(f, "compare_exchange{} [{a}], {x}, {n}", mem(m))
            }
            Op::Fence => f.write_str("fence"),
            Op::Helper(h, [a, b, c, d]) => write!(f, "helper {}({a}, {b}, {c}, {d})", h.name),
            Op::HelperUnless(c, v, h, [a, b, d, e]) => {
                write!(f, "{v} if {c} else helper {}({a}, {b}, {d}, {e})", h.name)
            }
            Op::Pc => f.write_str("pc"),
        }
    }
}

impl<A: Arch> fmt::Display for Block<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "block +{:#x}:", self.offset)?;
        for (i, op) in self.ops.iter().enumerate() {
            match op {
                Op::Insn { .. } => writeln!(f, "  {op}")?,
                Op::Put(..) | Op::VecPut(..) | Op::Store(..) | Op::StorePair(..) | Op::Fence => {
                    writeln!(f, "    {op}")?;
                }
                _ => writeln!(f, "    v{i} = {op}")?,
            }
        }
        match self.end {
            End::Jump(to) => writeln!(f, "  jump {to:+#x}"),
            End::Branch(c, to, next) => writeln!(f, "  branch {c}, {to:+#x}, {next:+#x}"),
            End::JumpTo(to) => writeln!(f, "  jump_to {to}"),
            End::Dispatch(to) => writeln!(f, "  dispatch {to:+#x}"),
        }
    }
}
