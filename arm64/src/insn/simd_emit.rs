//! Vector operations that are emitted, so that compiled code carries them out in host vectors.
//!
//! Each works on whole registers: what the parts of its [`Plan`] leave out is computed too, where
//! it does no harm, and cut off at the end. Widening operations take the half that they are told,
//! narrowing ones and those that move lanes are shuffles of bytes.

use super::Operands;
use super::simd_plan::{Part, Plan};
use super::simd_shuffle;
use crate::regs::v_low;
use crate::simd::Op;
use crate::{Arm64, Cpu};
use understudy_engine::arch::Def;
use understudy_engine::emit::{Emit, Size};
use understudy_engine::ir::Recorder;
use understudy_engine::vector::{VecBinary, VecShift, VecUnary, splat};

/// The definition of an operation that is emitted.
pub fn definition(op: Op) -> &'static Def<Arm64> {
    &DEFS[op as usize]
}

/// A definition for each [`Op`], by its number. They have one function in common, which looks at
/// the operation when it runs: one for each would multiply what has to be compiled.
static DEFS: [Def<Arm64>; Op::ALL.len()] = {
    let mut defs = [const {
        Def {
            name: "",
            interpret: emitted::<Cpu>,
            record: emitted::<Recorder<Arm64>>,
            ends_block: false,
        }
    }; Op::ALL.len()];
    let mut i = 0;
    while i < defs.len() {
        defs[i].name = Op::ALL[i].mnemonic();
        i += 1;
    }
    defs
};

/// An operation in the making.
struct Emitter<'a, E: Emit> {
    e: &'a mut E,
    plan: Plan,
    size: Size,
}

fn emitted<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    if let Some(plan) = Plan::unpack(o.imm) {
        let size = Size::from_log2(plan.size);
        Emitter { e, plan, size }.emit();
    }
    Ok(())
}

/// The size of lanes twice as wide.
fn wide(size: Size) -> Size {
    Size::from_log2(size as u32 + 1)
}

impl<E: Emit<Arch = Arm64>> Emitter<'_, E> {
    fn emit(mut self) {
        use Op::*;
        let result = match self.plan.op {
            Add | Sub | Mul | And | Bic | Orr | Eor | Cmgt | Cmhi | Cmge | Cmhs | Cmeq | Smax
            | Umax | Smin | Umin => {
                let (n, m) = (self.n(), self.m());
                if self.plan.op == Orr && self.plan.registers[1] == self.plan.registers[2] {
                    n // MOV (vector)
                } else {
                    self.binary(n, m)
                }
            }
            Mla | Mls => {
                let (n, m, d) = (self.n(), self.m(), self.d());
                let product = self.op2(VecBinary::Mul, n, m);
                let op = if self.plan.op == Mla {
                    VecBinary::Add
                } else {
                    VecBinary::Sub
                };
                self.op2(op, d, product)
            }
            Orn => {
                let (n, m) = (self.n(), self.m());
                let m = self.e.vec_unary(VecUnary::Not, self.size, m);
                self.op2(VecBinary::Or, n, m)
            }
            Bsl => {
                let (n, m, d) = (self.n(), self.m(), self.d());
                self.e.vec_select(d, n, m)
            }
            Bit => {
                let (n, m, d) = (self.n(), self.m(), self.d());
                self.e.vec_select(m, n, d)
            }
            Bif => {
                let (n, m, d) = (self.n(), self.m(), self.d());
                self.e.vec_select(m, d, n)
            }
            Not => self.unary(VecUnary::Not),
            Neg => self.unary(VecUnary::Neg),
            Abs => self.unary(VecUnary::Abs),
            Cnt => self.unary(VecUnary::Popcnt8),
            CmltZero => {
                let (zero, n) = (self.e.vec_imm(0), self.n());
                self.op2(VecBinary::SGt, zero, n)
            }
            CmleZero => {
                let (zero, n) = (self.e.vec_imm(0), self.n());
                self.op2(VecBinary::SGe, zero, n)
            }
            Cmtst => {
                let (n, m, zero) = (self.n(), self.m(), self.e.vec_imm(0));
                let common = self.op2(VecBinary::And, n, m);
                let none = self.op2(VecBinary::Eq, common, zero);
                self.e.vec_unary(VecUnary::Not, self.size, none)
            }
            Sabd | Uabd | Saba | Uaba => {
                let (n, m) = (self.n(), self.m());
                let (min, max) = if matches!(self.plan.op, Sabd | Saba) {
                    (VecBinary::SMin, VecBinary::SMax)
                } else {
                    (VecBinary::UMin, VecBinary::UMax)
                };
                let (low, high) = (self.op2(min, n, m), self.op2(max, n, m));
                let difference = self.op2(VecBinary::Sub, high, low);
                if matches!(self.plan.op, Saba | Uaba) {
                    let d = self.d();
                    self.op2(VecBinary::Add, d, difference)
                } else {
                    difference
                }
            }
            Smaxp | Umaxp | Sminp | Uminp | Addp => {
                let (n, m) = (self.n(), self.m());
                let even = simd_shuffle::indices(Uzp1, self.plan.size, self.plan.q);
                let odd = simd_shuffle::indices(Uzp2, self.plan.size, self.plan.q);
                let (a, b) = (
                    self.e.vec_shuffle(n, m, even),
                    self.e.vec_shuffle(n, m, odd),
                );
                self.binary(a, b)
            }
            AddpScalar => {
                let n = self.n();
                let indices = std::array::from_fn(|i| (i as u8 + 8) & 15);
                let high = self.e.vec_shuffle(n, n, indices);
                self.op2(VecBinary::Add, n, high)
            }
            Sshr | Ushr => self.shifted_right(),
            Ssra | Usra => {
                let (shifted, d) = (self.shifted_right(), self.d());
                self.op2(VecBinary::Add, d, shifted)
            }
            Shl => {
                let n = self.n();
                self.e.vec_shift(VecShift::Shl, self.size, n, self.plan.imm)
            }
            Sli => {
                let (n, d) = (self.n(), self.d());
                let shifted = self.e.vec_shift(VecShift::Shl, self.size, n, self.plan.imm);
                let kept = self.e.vec_imm(splat(self.size, (1 << self.plan.imm) - 1));
                self.e.vec_select(kept, d, shifted)
            }
            Sri => {
                let (shifted, d) = (self.shifted_right(), self.d());
                let all = self.size.mask();
                let filled = all.checked_shr(self.plan.imm).unwrap_or(0);
                let kept = self.e.vec_imm(splat(self.size, all & !filled));
                self.e.vec_select(kept, d, shifted)
            }
            Sshll | Ushll => {
                let n = self.n_widened(self.plan.op == Sshll);
                self.e
                    .vec_shift(VecShift::Shl, wide(self.size), n, self.plan.imm)
            }
            Saddl | Uaddl | Ssubl | Usubl | Smull | Umull => {
                let (n, m) = self.both_widened();
                self.wide_binary(n, m)
            }
            Saddw | Uaddw | Ssubw | Usubw => {
                let n = self.e.vec_get(v_low(self.plan.registers[1]));
                let m = self.m_widened(matches!(self.plan.op, Saddw | Ssubw));
                self.wide_binary(n, m)
            }
            Smlal | Umlal | Smlsl | Umlsl => {
                let (n, m) = self.both_widened();
                let (product, d) = (self.wide_op2(VecBinary::Mul, n, m), self.d());
                self.wide_binary(d, product)
            }
            Sabdl | Uabdl | Sabal | Uabal => {
                let (n, m) = self.both_widened();
                let difference = self.wide_op2(VecBinary::Sub, n, m);
                let difference = self.e.vec_unary(VecUnary::Abs, wide(self.size), difference);
                if matches!(self.plan.op, Sabal | Uabal) {
                    let d = self.d();
                    self.wide_op2(VecBinary::Add, d, difference)
                } else {
                    difference
                }
            }
            Shrn | Rshrn => {
                let n = self.n();
                let n = if self.plan.op == Rshrn {
                    self.rounded(n, self.plan.imm)
                } else {
                    n
                };
                let n = self
                    .e
                    .vec_shift(VecShift::Shr, wide(self.size), n, self.plan.imm);
                return self.narrow(n);
            }
            Addhn | Raddhn | Subhn | Rsubhn => {
                let (n, m) = (self.n(), self.m());
                let bits = 8 << self.plan.size;
                let sum = self.wide_binary(n, m);
                let sum = if matches!(self.plan.op, Raddhn | Rsubhn) {
                    self.rounded(sum, bits)
                } else {
                    sum
                };
                let high = self.e.vec_shift(VecShift::Shr, wide(self.size), sum, bits);
                return self.narrow(high);
            }
            Saddlp | Uaddlp | Sadalp | Uadalp => {
                let n = self.n();
                let bits = 8 << self.plan.size;
                let signed = matches!(self.plan.op, Saddlp | Sadalp);
                let right = if signed { VecShift::Sar } else { VecShift::Shr };
                let odd = self.e.vec_shift(right, wide(self.size), n, bits);
                let even = self.e.vec_shift(VecShift::Shl, wide(self.size), n, bits);
                let even = self.e.vec_shift(right, wide(self.size), even, bits);
                let sum = self.wide_op2(VecBinary::Add, even, odd);
                if matches!(self.plan.op, Sadalp | Uadalp) {
                    let d = self.d();
                    self.wide_op2(VecBinary::Add, d, sum)
                } else {
                    sum
                }
            }
            Ext => {
                let (n, m) = (self.n(), self.m());
                let indices = simd_shuffle::extract(self.plan.imm, self.plan.q);
                self.e.vec_shuffle(n, m, indices)
            }
            // The others of the list above: permutes and reversals.
            op => {
                let (n, m) = (self.n(), self.m());
                let indices = simd_shuffle::indices(op, self.plan.size, self.plan.q);
                self.e.vec_shuffle(n, m, indices)
            }
        };
        self.put(result);
    }

    /// Writes the destination: all of it, or the low half and zeros.
    fn put(&mut self, result: E::Vec) {
        let result = match self.plan.d {
            Part::Full => result,
            _ => self.e.vec_unary(VecUnary::Low, Size::B8, result),
        };
        self.e.vec_put(v_low(self.plan.registers[0]), result);
    }

    /// Writes the low parts of the wide lanes: to the low half and zeros above, or to the high
    /// half.
    fn narrow(&mut self, result: E::Vec) {
        let even = simd_shuffle::indices(Op::Uzp1, self.plan.size, true);
        let to = v_low(self.plan.registers[0]);
        let result = if self.plan.d == Part::High {
            // Of the low parts of `result` and `result`, the second copy stays.
            let indices = std::array::from_fn(|i| if i < 8 { i as u8 } else { 16 + even[i - 8] });
            let d = self.e.vec_get(to);
            self.e.vec_shuffle(d, result, indices)
        } else {
            let zero = self.e.vec_imm(0);
            self.e.vec_shuffle(result, zero, even)
        };
        self.e.vec_put(to, result);
    }

    fn n(&mut self) -> E::Vec {
        self.e.vec_get(v_low(self.plan.registers[1]))
    }

    fn m(&mut self) -> E::Vec {
        match self.plan.m {
            Part::Zero => self.e.vec_imm(0),
            part => {
                let m = self.e.vec_get(v_low(self.plan.registers[2]));
                if part == Part::Spread {
                    self.spread(m)
                } else {
                    m
                }
            }
        }
    }

    fn d(&mut self) -> E::Vec {
        self.e.vec_get(v_low(self.plan.registers[0]))
    }

    /// The plan's element in every lane.
    fn spread(&mut self, m: E::Vec) -> E::Vec {
        let indices = simd_shuffle::replicate(self.plan.size, self.plan.index);
        self.e.vec_shuffle(m, m, indices)
    }

    fn n_widened(&mut self, signed: bool) -> E::Vec {
        let n = self.n();
        self.e
            .vec_widen(self.size, signed, self.plan.n == Part::High, n)
    }

    fn m_widened(&mut self, signed: bool) -> E::Vec {
        let m = self.m();
        self.e
            .vec_widen(self.size, signed, self.plan.m == Part::High, m)
    }

    fn both_widened(&mut self) -> (E::Vec, E::Vec) {
        use Op::*;
        let signed = matches!(
            self.plan.op,
            Saddl | Ssubl | Smull | Smlal | Smlsl | Sabdl | Sabal
        );
        (self.n_widened(signed), self.m_widened(signed))
    }

    fn op2(&mut self, op: VecBinary, a: E::Vec, b: E::Vec) -> E::Vec {
        self.e.vec_binary(op, self.size, a, b)
    }

    fn wide_op2(&mut self, op: VecBinary, a: E::Vec, b: E::Vec) -> E::Vec {
        self.e.vec_binary(op, wide(self.size), a, b)
    }

    fn unary(&mut self, op: VecUnary) -> E::Vec {
        let n = self.n();
        self.e.vec_unary(op, self.size, n)
    }

    /// The instruction's own operation on lanes of its size.
    fn binary(&mut self, a: E::Vec, b: E::Vec) -> E::Vec {
        let op = match self.plan.op {
            Op::Add | Op::Addp => VecBinary::Add,
            Op::Sub => VecBinary::Sub,
            Op::Mul => VecBinary::Mul,
            Op::And => VecBinary::And,
            Op::Bic => VecBinary::AndNot,
            Op::Orr => VecBinary::Or,
            Op::Eor => VecBinary::Xor,
            Op::Cmgt => VecBinary::SGt,
            Op::Cmhi => VecBinary::UGt,
            Op::Cmge => VecBinary::SGe,
            Op::Cmhs => VecBinary::UGe,
            Op::Cmeq => VecBinary::Eq,
            Op::Smax | Op::Smaxp => VecBinary::SMax,
            Op::Umax | Op::Umaxp => VecBinary::UMax,
            Op::Smin | Op::Sminp => VecBinary::SMin,
            _ => VecBinary::UMin,
        };
        self.op2(op, a, b)
    }

    /// The instruction's own operation on lanes of twice its size.
    fn wide_binary(&mut self, a: E::Vec, b: E::Vec) -> E::Vec {
        use Op::*;
        let op = match self.plan.op {
            Ssubl | Usubl | Ssubw | Usubw | Subhn | Rsubhn | Smlsl | Umlsl => VecBinary::Sub,
            Smull | Umull => VecBinary::Mul,
            _ => VecBinary::Add,
        };
        self.wide_op2(op, a, b)
    }

    /// `n` shifted right by the immediate, which may be the whole of an element.
    fn shifted_right(&mut self) -> E::Vec {
        let n = self.n();
        let bits = 8 << self.plan.size;
        if matches!(self.plan.op, Op::Sshr | Op::Ssra) {
            let amount = self.plan.imm.min(bits - 1);
            self.e.vec_shift(VecShift::Sar, self.size, n, amount)
        } else if self.plan.imm == bits {
            self.e.vec_imm(0)
        } else {
            self.e.vec_shift(VecShift::Shr, self.size, n, self.plan.imm)
        }
    }

    /// Wide lanes with half a unit of the bits above a shift by `amount`, which is not 0.
    fn rounded(&mut self, n: E::Vec, amount: u32) -> E::Vec {
        let half = self.e.vec_imm(splat(wide(self.size), 1 << (amount - 1)));
        self.wide_op2(VecBinary::Add, n, half)
    }
}
