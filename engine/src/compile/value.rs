//! Computed values, integer and floating-point: from the operations of `ir` to Cranelift's.

use super::runtime::*;
use super::*;

impl<A: Arch> Lower<'_, '_, A> {
    pub(super) fn extend(&mut self, ty: Type, value: clif::Value, signed: bool) -> clif::Value {
        let narrow = self.b.ins().ireduce(ty, value);
        if signed {
            self.b.ins().sextend(I64, narrow)
        } else {
            self.b.ins().uextend(I64, narrow)
        }
    }

    pub(super) fn unary(&mut self, op: Unary, a: ir::Value) -> clif::Value {
        let a = self.value(a);
        match op {
            Unary::Not => self.b.ins().bnot(a),
            Unary::Neg => self.b.ins().ineg(a),
            Unary::Zext8 => self.extend(I8, a, false),
            Unary::Zext16 => self.extend(I16, a, false),
            Unary::Zext32 => self.extend(I32, a, false),
            Unary::Sext8 => self.extend(I8, a, true),
            Unary::Sext16 => self.extend(I16, a, true),
            Unary::Sext32 => self.extend(I32, a, true),
            Unary::Clz => self.b.ins().clz(a),
            Unary::Ctz => self.b.ins().ctz(a),
            Unary::Popcnt => self.b.ins().popcnt(a),
            Unary::Bswap => self.b.ins().bswap(a),
            Unary::Rbit => self.b.ins().bitrev(a),
        }
    }

    pub(super) fn binary(&mut self, op: Binary, a: ir::Value, b: ir::Value) -> clif::Value {
        let (a, b) = (self.value(a), self.value(b));
        match op {
            Binary::Add => self.b.ins().iadd(a, b),
            Binary::Sub => self.b.ins().isub(a, b),
            Binary::Mul => self.b.ins().imul(a, b),
            Binary::UMulH => self.b.ins().umulhi(a, b),
            Binary::SMulH => self.b.ins().smulhi(a, b),
            Binary::And => self.b.ins().band(a, b),
            Binary::Or => self.b.ins().bor(a, b),
            Binary::Xor => self.b.ins().bxor(a, b),
            Binary::Shl => self.b.ins().ishl(a, b),
            Binary::Shr => self.b.ins().ushr(a, b),
            Binary::Sar => self.b.ins().sshr(a, b),
            Binary::Ror => self.b.ins().rotr(a, b),
            Binary::Ror32 => {
                let narrow = self.b.ins().ireduce(I32, a);
                let rotated = self.b.ins().rotr(narrow, b);
                self.b.ins().uextend(I64, rotated)
            }
            // Cranelift's divisions trap where ours are defined: keep those divisors from it.
            Binary::UDiv => {
                let zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
                let (one, nought) = (self.imm(1), self.imm(0));
                let divisor = self.b.ins().select(zero, one, b);
                let quotient = self.b.ins().udiv(a, divisor);
                self.b.ins().select(zero, nought, quotient)
            }
            Binary::SDiv => {
                let zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
                let minus_one = self.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
                let either = self.b.ins().bor(zero, minus_one);
                let (one, nought) = (self.imm(1), self.imm(0));
                let divisor = self.b.ins().select(either, one, b);
                let quotient = self.b.ins().sdiv(a, divisor);
                let negated = self.b.ins().ineg(a);
                let quotient = self.b.ins().select(minus_one, negated, quotient);
                self.b.ins().select(zero, nought, quotient)
            }
        }
    }

    pub(super) fn float(
        &mut self,
        i: usize,
        op: FloatOp,
        format: FloatFormat,
        operands: [ir::Value; 3],
    ) -> clif::Value {
        let integers = operands.map(|v| self.value(v));
        if op == FloatOp::MulAdd && !self.fused {
            let target = match format {
                FloatFormat::Single => mul_add_single as *const () as u64,
                FloatFormat::Double => mul_add_double as *const () as u64,
            };
            let result = self.call(false, target, &integers, true);
            return result.expect("the call has a result");
        }
        let (bits, ty, other) = match format {
            FloatFormat::Single => (I32, F32, F64),
            FloatFormat::Double => (I64, F64, F32),
        };
        if op == FloatOp::FromSigned {
            let result = self.b.ins().fcvt_from_sint(ty, integers[0]);
            return self.float_bits(result);
        }
        let [a, b, c] = integers.map(|v| {
            if let Some(float) = self.floats.get(&v)
                && self.b.func.dfg.value_type(*float) == ty
            {
                return *float;
            }
            let v = if bits == I64 {
                v
            } else {
                self.b.ins().ireduce(bits, v)
            };
            self.b.ins().bitcast(ty, MemFlagsData::new(), v)
        });
        let ins = self.b.ins();
        let result = match op {
            FloatOp::Add => ins.fadd(a, b),
            FloatOp::Sub => ins.fsub(a, b),
            FloatOp::Mul => ins.fmul(a, b),
            FloatOp::Div => ins.fdiv(a, b),
            FloatOp::Sqrt => ins.sqrt(a),
            FloatOp::MulAdd => ins.fma(a, b, c),
            FloatOp::Convert if other == F64 => ins.fpromote(other, a),
            FloatOp::Convert => ins.fdemote(other, a),
            FloatOp::ToSigned | FloatOp::FromSigned => return ins.fcvt_to_sint_sat(I64, a),
            FloatOp::Less | FloatOp::Equal => {
                let code = if op == FloatOp::Less {
                    FloatCC::LessThan
                } else {
                    FloatCC::Equal
                };
                let condition = ins.fcmp(code, a, b);
                self.conditions.insert(i as u32, condition);
                return self.b.ins().uextend(I64, condition);
            }
        };
        self.float_bits(result)
    }

    /// A floating-point value's bits, zero-extended.
    pub(super) fn float_bits(&mut self, value: clif::Value) -> clif::Value {
        let single = self.b.func.dfg.value_type(value) == F32;
        let ty = if single { I32 } else { I64 };
        let bits = self.b.ins().bitcast(ty, MemFlagsData::new(), value);
        let bits = if single {
            self.b.ins().uextend(I64, bits)
        } else {
            bits
        };
        self.floats.insert(bits, value);
        bits
    }
}
