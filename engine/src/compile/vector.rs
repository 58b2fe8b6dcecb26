//! Host instructions for vector operations.
//!
//! A vector value is of type `i64x2`, whatever its lanes; it is cast where an operation has others.
//! Both forms of access to a pair of slots, as one vector and as two values, work on the same
//! variable: see [`Lower::get`].

use super::memory::Reach;
use super::runtime::pack;
use super::{Lower, guest};
use crate::arch::Arch;
use crate::cpu::Cpu;
use crate::emit::{Mem, Size, Slot};
use crate::ir::{self, Op};
use crate::vector::{VecBinary, VecShift, VecUnary};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8X16, I16X8, I32, I32X4, I64X2};
use cranelift_codegen::ir::{
    self as clif, Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode, Type,
};
use std::mem::offset_of;

/// The vector type with lanes of this size.
fn lanes(size: Size) -> Type {
    match size {
        Size::B1 => I8X16,
        Size::B2 => I16X8,
        Size::B4 => I32X4,
        Size::B8 => I64X2,
    }
}

impl<A: Arch> Lower<'_, '_, A> {
    /// Loads a pair of slots. The register file is aligned for 64-bit values only.
    pub(super) fn load_vector(&mut self, slot: Slot) -> clif::Value {
        let offset = offset_of!(Cpu<A>, regs) + 8 * slot.index();
        let flags = MemFlagsData::new().with_notrap();
        self.b.ins().load(I64X2, flags, self.cpu, offset as i32)
    }

    /// Stores a pair of slots.
    pub(super) fn store_vector(&mut self, slot: Slot, value: clif::Value) {
        let offset = offset_of!(Cpu<A>, regs) + 8 * slot.index();
        let flags = MemFlagsData::new().with_notrap();
        self.b.ins().store(flags, value, self.cpu, offset as i32);
    }

    /// What a slot holds, be it a variable or half of one.
    pub(super) fn get(&mut self, slot: Slot) -> clif::Value {
        match self.vectors.get(&slot.pair()).copied() {
            Some(pair) => {
                let vector = self.b.use_var(pair);
                self.b.ins().extractlane(vector, slot.index() as u8 & 1)
            }
            None => self.b.use_var(self.slots[&slot]),
        }
    }

    /// Sets a slot, be it a variable or half of one.
    pub(super) fn put(&mut self, slot: Slot, value: clif::Value) {
        match self.vectors.get(&slot.pair()).copied() {
            Some(pair) => {
                let vector = self.b.use_var(pair);
                let index = slot.index() as u8 & 1;
                let vector = self.b.ins().insertlane(vector, value, index);
                self.b.def_var(pair, vector);
            }
            None => self.b.def_var(self.slots[&slot], value),
        }
    }

    /// Sets two slots at once if they are one variable: what a vector held before does not matter
    /// then. False if they are not.
    pub(super) fn put_pair(&mut self, low: Slot, high: Slot, a: ir::Value, b: ir::Value) -> bool {
        if low != low.pair() || high != low.next() {
            return false;
        }
        let Some(pair) = self.vectors.get(&low).copied() else {
            return false;
        };
        let (a, b) = (self.value(a), self.value(b));
        let mut vector = self.b.ins().scalar_to_vector(I64X2, a);
        if !self.is_zero(b) {
            vector = self.b.ins().insertlane(vector, b, 1);
        }
        self.b.def_var(pair, vector);
        self.dirty.0 |= 3 << low.index();
        true
    }

    /// Loads two 64-bit values, operations `i` and `i + 1`, to two slots as one vector, if they are
    /// one variable. False if they are not.
    pub(super) fn load_whole(
        &mut self,
        address: ir::Value,
        mem: Mem,
        (low, high): (Slot, Slot),
        i: usize,
    ) -> bool {
        let pair = self.vectors.get(&low).copied();
        let Some(pair) = pair.filter(|_| high == low.next() && mem.size == Size::B8) else {
            return false;
        };
        let address = self.value(address);
        let vector = self.access(
            address,
            Reach::load(16, mem),
            &[I64X2],
            None,
            |l, host| vec![l.b.ins().load(I64X2, guest(), host, 0)],
            |l| {
                let (cpu, target) = (l.cpu, l.slow.load_pair);
                let mem = l.imm(pack(mem));
                l.call(true, target, &[cpu, address, mem], false);
            },
        )[0];
        for lane in 0..2 {
            self.values[i + lane] = Some(self.b.ins().extractlane(vector, lane as u8));
        }
        self.b.def_var(pair, vector);
        self.dirty.0 |= 3 << low.index();
        true
    }

    /// The vector that these are the two halves of, if there is one.
    pub(super) fn whole(&self, low: clif::Value, high: clif::Value) -> Option<clif::Value> {
        let dfg = &self.b.func.dfg;
        let source = |half, lane| match dfg.insts[dfg.value_def(half).inst()?] {
            InstructionData::BinaryImm8 {
                opcode: Opcode::Extractlane,
                arg,
                imm,
            } if imm == lane => Some(dfg.resolve_aliases(arg)),
            _ => None,
        };
        let vector = source(low, 0).filter(|v| source(high, 1) == Some(*v))?;
        (dfg.value_type(vector) == I64X2).then_some(vector)
    }

    fn is_zero(&self, value: clif::Value) -> bool {
        let dfg = &self.b.func.dfg;
        let instruction = dfg.value_def(value).inst().map(|inst| &dfg.insts[inst]);
        matches!(
            instruction,
            Some(InstructionData::UnaryImm { opcode: Opcode::Iconst, imm }) if imm.bits() == 0
        )
    }

    fn cast(&mut self, ty: Type, value: clif::Value) -> clif::Value {
        if self.b.func.dfg.value_type(value) == ty {
            return value;
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        self.b.ins().bitcast(ty, flags, value)
    }

    fn vector_imm(&mut self, value: u128) -> clif::Value {
        let constant = value.to_le_bytes().to_vec().into();
        let constant = self.b.func.dfg.constants.insert(constant);
        self.b.ins().vconst(I64X2, constant)
    }

    pub(super) fn vector_op(&mut self, op: &Op<A>) -> clif::Value {
        let result = match *op {
            Op::VecImm(value) => self.vector_imm(value),
            Op::VecUnary(op, size, a) => {
                let a = self.value(a);
                self.vector_unary(op, size, a)
            }
            Op::VecBinary(op, size, a, b) => {
                let (a, b) = (self.value(a), self.value(b));
                let (a, b) = (self.cast(lanes(size), a), self.cast(lanes(size), b));
                self.vector_binary(op, size, a, b)
            }
            Op::VecShift(op, size, a, amount) => {
                let a = self.value(a);
                let a = self.cast(lanes(size), a);
                let amount = self.b.ins().iconst(I32, i64::from(amount));
                match op {
                    VecShift::Shl => self.b.ins().ishl(a, amount),
                    VecShift::Shr => self.b.ins().ushr(a, amount),
                    VecShift::Sar => self.b.ins().sshr(a, amount),
                }
            }
            Op::VecSelect(mask, a, b) => {
                let (mask, a, b) = (self.value(mask), self.value(a), self.value(b));
                self.b.ins().bitselect(mask, a, b)
            }
            Op::VecShuffle(a, b, indices) => {
                let (a, b) = (self.value(a), self.value(b));
                self.vector_shuffle(a, b, indices)
            }
            Op::VecWiden(size, signed, high, a) => {
                let a = self.value(a);
                let a = self.cast(lanes(size), a);
                match (signed, high) {
                    (true, false) => self.b.ins().swiden_low(a),
                    (true, true) => self.b.ins().swiden_high(a),
                    (false, false) => self.b.ins().uwiden_low(a),
                    (false, true) => self.b.ins().uwiden_high(a),
                }
            }
            Op::VecSplat(size, value) => {
                let value = self.value(value);
                let (_, value) = self.narrow(size, value);
                self.b.ins().splat(lanes(size), value)
            }
            Op::VecLane(size, index, a) => {
                let a = self.value(a);
                let a = self.cast(lanes(size), a);
                let count = 16 / size.bytes() as u32;
                let value = self.b.ins().extractlane(a, (index % count) as u8);
                return self.widen(size, value);
            }
            Op::VecWithLane(size, index, a, value) => {
                let (a, value) = (self.value(a), self.value(value));
                let (a, (_, value)) = (self.cast(lanes(size), a), self.narrow(size, value));
                let count = 16 / size.bytes() as u32;
                self.b.ins().insertlane(a, value, (index % count) as u8)
            }
            _ => unreachable!("only vector operations come here"),
        };
        self.cast(I64X2, result)
    }

    fn vector_shuffle(&mut self, a: clif::Value, b: clif::Value, indices: [u8; 16]) -> clif::Value {
        let (a, b) = (self.cast(I8X16, a), self.cast(I8X16, b));
        let mask = self
            .b
            .func
            .dfg
            .immediates
            .push(indices.map(|i| i & 31).to_vec().into());
        self.b.ins().shuffle(a, b, mask)
    }

    fn vector_unary(&mut self, op: VecUnary, size: Size, a: clif::Value) -> clif::Value {
        match op {
            VecUnary::Not => self.b.ins().bnot(a),
            VecUnary::Low => {
                let low = self.vector_imm(u64::MAX.into());
                self.b.ins().band(a, low)
            }
            VecUnary::Neg => {
                let a = self.cast(lanes(size), a);
                self.b.ins().ineg(a)
            }
            VecUnary::Abs => {
                let a = self.cast(lanes(size), a);
                self.b.ins().iabs(a)
            }
            VecUnary::Popcnt8 => {
                let a = self.cast(I8X16, a);
                self.b.ins().popcnt(a)
            }
        }
    }

    fn vector_binary(
        &mut self,
        op: VecBinary,
        size: Size,
        a: clif::Value,
        b: clif::Value,
    ) -> clif::Value {
        let ins = |l: &mut Self, code| {
            let mask = l.b.ins().icmp(code, a, b);
            l.cast(I64X2, mask)
        };
        match op {
            VecBinary::Add => self.b.ins().iadd(a, b),
            VecBinary::Sub => self.b.ins().isub(a, b),
            // No host multiplies bytes: the even and the odd ones are multiplied as halfwords.
            VecBinary::Mul if size == Size::B1 => {
                let (a, b) = (self.cast(I16X8, a), self.cast(I16X8, b));
                let eight = self.b.ins().iconst(I32, 8);
                let even = self.b.ins().imul(a, b);
                let (a, b) = (self.b.ins().ushr(a, eight), self.b.ins().ushr(b, eight));
                let odd = self.b.ins().imul(a, b);
                let odd = self.b.ins().ishl(odd, eight);
                let even = self.b.ins().ishl(even, eight);
                let even = self.b.ins().ushr(even, eight);
                self.b.ins().bor(even, odd)
            }
            VecBinary::Mul => self.b.ins().imul(a, b),
            VecBinary::And => self.b.ins().band(a, b),
            VecBinary::Or => self.b.ins().bor(a, b),
            VecBinary::Xor => self.b.ins().bxor(a, b),
            VecBinary::AndNot => self.b.ins().band_not(a, b),
            VecBinary::Eq => ins(self, IntCC::Equal),
            VecBinary::SGt => ins(self, IntCC::SignedGreaterThan),
            VecBinary::SGe => ins(self, IntCC::SignedGreaterThanOrEqual),
            VecBinary::UGt | VecBinary::UGe if size == Size::B8 => {
                // As signed numbers, with the order of the halves' signs exchanged.
                let sign = self.vector_imm(1 << 127 | 1 << 63);
                let (a, b) = (self.b.ins().bxor(a, sign), self.b.ins().bxor(b, sign));
                let code = if op == VecBinary::UGt {
                    IntCC::SignedGreaterThan
                } else {
                    IntCC::SignedGreaterThanOrEqual
                };
                self.b.ins().icmp(code, a, b)
            }
            VecBinary::UGt => ins(self, IntCC::UnsignedGreaterThan),
            VecBinary::UGe => ins(self, IntCC::UnsignedGreaterThanOrEqual),
            // Hosts have no extremes of 64-bit lanes.
            VecBinary::SMin | VecBinary::SMax | VecBinary::UMin | VecBinary::UMax
                if size == Size::B8 =>
            {
                let greater = match op {
                    VecBinary::SMin | VecBinary::SMax => VecBinary::SGt,
                    _ => VecBinary::UGt,
                };
                let mask = self.vector_binary(greater, size, a, b);
                match op {
                    VecBinary::SMax | VecBinary::UMax => self.b.ins().bitselect(mask, a, b),
                    _ => self.b.ins().bitselect(mask, b, a),
                }
            }
            VecBinary::SMin => self.b.ins().smin(a, b),
            VecBinary::SMax => self.b.ins().smax(a, b),
            VecBinary::UMin => self.b.ins().umin(a, b),
            VecBinary::UMax => self.b.ins().umax(a, b),
        }
    }
}
