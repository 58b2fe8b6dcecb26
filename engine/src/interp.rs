//! The interpreter: [`Emit`] where values are numbers and every operation happens at once.

use crate::access;
use crate::arch::{Arch, Def};
use crate::cpu::Cpu;
use crate::emit::{Binary, Cmp, Emit, Helper, Mem, Rmw, Size, Slot, Stop, Unary};
use crate::float::{FloatFormat, FloatOp};
use crate::vector::{self, VecBinary, VecShift, VecUnary};

impl<A: Arch> Emit for Cpu<A> {
    type Arch = A;
    type Val = u64;
    type Vec = u128;
    type Stop = Stop;
    const COMPILES: bool = false;

    #[inline(always)]
    fn mode(&self) -> u32 {
        self.mode
    }
    #[inline(always)]
    fn imm(&mut self, value: u64) -> u64 {
        value
    }
    #[inline(always)]
    fn instruction(&mut self, def: &'static Def<A>, operands: &A::Operands) -> Result<(), Stop> {
        (def.interpret)(self, operands)
    }
    #[inline(always)]
    fn get(&mut self, slot: Slot) -> u64 {
        self.slot(slot)
    }
    #[inline(always)]
    fn put(&mut self, slot: Slot, value: u64) {
        self.set_slot(slot, value);
    }
    #[inline(always)]
    fn unary(&mut self, op: Unary, a: u64) -> u64 {
        op.eval(a)
    }
    #[inline(always)]
    fn binary(&mut self, op: Binary, a: u64, b: u64) -> u64 {
        op.eval(a, b)
    }
    #[inline(always)]
    fn compare(&mut self, op: Cmp, a: u64, b: u64) -> u64 {
        op.eval(a, b)
    }
    #[inline(always)]
    fn float(&mut self, op: FloatOp, format: FloatFormat, operands: [u64; 3]) -> u64 {
        op.eval(format, operands)
    }
    #[inline(always)]
    fn select(&mut self, condition: u64, a: u64, b: u64) -> u64 {
        if condition != 0 { a } else { b }
    }

    #[inline(always)]
    fn vec_get(&mut self, slot: Slot) -> u128 {
        self.slot(slot) as u128 | (self.slot(slot.next()) as u128) << 64
    }
    #[inline(always)]
    fn vec_put(&mut self, slot: Slot, value: u128) {
        self.set_slot(slot, value as u64);
        self.set_slot(slot.next(), (value >> 64) as u64);
    }
    #[inline(always)]
    fn vec_imm(&mut self, value: u128) -> u128 {
        value
    }
    #[inline(always)]
    fn vec_unary(&mut self, op: VecUnary, size: Size, a: u128) -> u128 {
        op.eval(size, a)
    }
    #[inline(always)]
    fn vec_binary(&mut self, op: VecBinary, size: Size, a: u128, b: u128) -> u128 {
        op.eval(size, a, b)
    }
    #[inline(always)]
    fn vec_shift(&mut self, op: VecShift, size: Size, a: u128, amount: u32) -> u128 {
        op.eval(size, a, amount)
    }
    #[inline(always)]
    fn vec_select(&mut self, mask: u128, a: u128, b: u128) -> u128 {
        a & mask | b & !mask
    }
    #[inline(always)]
    fn vec_shuffle(&mut self, a: u128, b: u128, indices: [u8; 16]) -> u128 {
        vector::shuffle(a, b, indices)
    }
    #[inline(always)]
    fn vec_widen(&mut self, size: Size, signed: bool, high: bool, a: u128) -> u128 {
        vector::widen(size, signed, high, a)
    }
    #[inline(always)]
    fn vec_splat(&mut self, size: Size, value: u64) -> u128 {
        vector::splat(size, value)
    }
    #[inline(always)]
    fn vec_lane(&mut self, size: Size, index: u32, a: u128) -> u64 {
        vector::lane(size, index, a)
    }
    #[inline(always)]
    fn vec_with_lane(&mut self, size: Size, index: u32, a: u128, value: u64) -> u128 {
        vector::with_lane(size, index, a, value)
    }

    #[inline(always)]
    fn load(&mut self, address: u64, mem: Mem) -> Result<u64, Stop> {
        access::load(self, address, mem)
    }
    #[inline(always)]
    fn store(&mut self, address: u64, value: u64, mem: Mem) -> Result<(), Stop> {
        access::store(self, address, value, mem)
    }
    #[inline(always)]
    fn load_pair(&mut self, address: u64, mem: Mem) -> Result<(u64, u64), Stop> {
        access::load_pair(self, address, mem)
    }
    #[inline(always)]
    fn store_pair(&mut self, address: u64, values: (u64, u64), mem: Mem) -> Result<(), Stop> {
        access::store_pair(self, address, values, mem)
    }
    #[inline(always)]
    fn rmw(&mut self, op: Rmw, address: u64, operand: u64, mem: Mem) -> Result<u64, Stop> {
        access::rmw(self, op, address, operand, mem)
    }
    #[inline(always)]
    fn compare_exchange(
        &mut self,
        address: u64,
        expected: u64,
        new: u64,
        mem: Mem,
    ) -> Result<u64, Stop> {
        access::compare_exchange(self, address, expected, new, mem)
    }
    #[inline(always)]
    fn fence(&mut self) {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }

    #[inline(always)]
    fn helper(&mut self, helper: &'static Helper<A>, arguments: [u64; 4]) -> Result<u64, Stop> {
        (helper.call)(self, arguments)
    }

    #[inline(always)]
    fn helper_unless(
        &mut self,
        condition: u64,
        value: u64,
        helper: &'static Helper<A>,
        arguments: [u64; 4],
    ) -> Result<u64, Stop> {
        if condition != 0 {
            Ok(value)
        } else {
            (helper.call)(self, arguments)
        }
    }

    #[inline(always)]
    fn pc(&mut self) -> u64 {
        self.pc
    }
    // The loop adds the length after each instruction, so a target stands that much lower.
    #[inline(always)]
    fn jump(&mut self, offset: i64) {
        self.jump_to(self.pc.wrapping_add_signed(offset));
    }
    #[inline(always)]
    fn branch(&mut self, condition: u64, offset: i64) {
        let next = self.pc.wrapping_add(self.length);
        let target = self.pc.wrapping_add_signed(offset);
        self.jump_to(if condition != 0 { target } else { next });
    }
    #[inline(always)]
    fn jump_to(&mut self, target: u64) {
        self.pc = target.wrapping_sub(self.length);
    }
    #[inline(always)]
    fn end_block(&mut self) {}
}
