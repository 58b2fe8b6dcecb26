//! The operations that are compared: the instruction, made here from the opcode map, and ours.

use super::unit::Data;
use super::values::Values;
use understudy_x86::fp::{Comparison, Env, Float, Rounding, rounding_control};

type Ours = Box<dyn Fn(&mut Env, &Data) -> u64>;

/// What the operands are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Single,
    Double,
    Half,
    Integer,
    /// Near an integer.
    SingleInteger,
    DoubleInteger,
}

/// An operation.
pub struct Operation {
    pub name: String,
    pub code: Vec<u8>,
    pub ours: Ours,
    pub result: fn(&Data) -> u64,
    of: Of,
}

impl Operation {
    pub fn inputs(&self, values: &mut Values) -> Data {
        let integer = values.integer();
        let floats = match self.of {
            Of::Single => values.floats(8, 23),
            Of::Double => values.floats(11, 52),
            Of::Half => values.floats(5, 10),
            Of::Integer => [0; 3],
            Of::SingleInteger => [0, values.near_integer(8, 23), 0],
            Of::DoubleInteger => [0, values.near_integer(11, 52), 0],
        };
        Data {
            xmm: floats.map(u128::from),
            rax: integer,
            flags: 0,
        }
    }

    /// Whether the host has it.
    pub fn here(&self) -> bool {
        match self.code.first() {
            Some(0xc4) => is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c"),
            _ => is_x86_feature_detected!("sse4.1"),
        }
    }
}

fn single(data: &Data) -> u64 {
    data.xmm[0] as u32 as u64
}
fn double(data: &Data) -> u64 {
    data.xmm[0] as u64
}
fn rax(data: &Data) -> u64 {
    data.rax
}
fn eax(data: &Data) -> u64 {
    data.rax as u32 as u64
}
fn half(data: &Data) -> u64 {
    data.xmm[0] as u16 as u64
}
/// ZF, PF, CF.
fn flags(data: &Data) -> u64 {
    data.flags & 0x45
}

fn compared(comparison: Comparison) -> u64 {
    match comparison {
        Comparison::Greater => 0,
        Comparison::Less => 1,
        Comparison::Equal => 0x40,
        Comparison::Unordered => 0x45,
    }
}

trait Operand: Float {
    const DOUBLE: bool;
    fn of(value: u128) -> Self;
    fn to(self) -> u64;
}
impl Operand for u32 {
    const DOUBLE: bool = false;
    fn of(value: u128) -> u32 {
        value as u32
    }
    fn to(self) -> u64 {
        self.into()
    }
}
impl Operand for u64 {
    const DOUBLE: bool = true;
    fn of(value: u128) -> u64 {
        value as u64
    }
    fn to(self) -> u64 {
        self
    }
}

#[derive(Default)]
struct List(Vec<Operation>);

impl List {
    fn add(
        &mut self,
        name: &str,
        code: &[u8],
        of: Of,
        result: fn(&Data) -> u64,
        ours: impl Fn(&mut Env, &Data) -> u64 + 'static,
    ) {
        self.0.push(Operation {
            name: name.into(),
            code: code.to_vec(),
            ours: Box::new(ours),
            result,
            of,
        });
    }

    fn arithmetic<F: Operand>(&mut self) {
        let (prefix, kind, result): (u8, Of, fn(&Data) -> u64) = if F::DOUBLE {
            (0xf2, Of::Double, double)
        } else {
            (0xf3, Of::Single, single)
        };
        let a = |data: &Data| F::of(data.xmm[0]);
        let b = |data: &Data| F::of(data.xmm[1]);
        let op = |opcode| [prefix, 0x0f, opcode, 0xc1];
        self.add("ADD", &op(0x58), kind, result, move |env, data| {
            env.add(a(data), b(data)).to()
        });
        self.add("SUB", &op(0x5c), kind, result, move |env, data| {
            env.sub(a(data), b(data)).to()
        });
        self.add("MUL", &op(0x59), kind, result, move |env, data| {
            env.mul(a(data), b(data)).to()
        });
        self.add("DIV", &op(0x5e), kind, result, move |env, data| {
            env.div(a(data), b(data)).to()
        });
        self.add("SQRT", &op(0x51), kind, result, move |env, data| {
            env.sqrt(b(data)).to()
        });
        self.add("MIN", &op(0x5d), kind, result, move |env, data| {
            env.min(a(data), b(data)).to()
        });
        self.add("MAX", &op(0x5f), kind, result, move |env, data| {
            env.max(a(data), b(data)).to()
        });
        // UCOMIS and COMIS.
        for (name, opcode, signals) in [("UCOMI", 0x2e, false), ("COMI", 0x2f, true)] {
            let code = if F::DOUBLE {
                vec![0x66, 0x0f, opcode, 0xc1]
            } else {
                vec![0x0f, opcode, 0xc1]
            };
            self.add(name, &code, kind, flags, move |env, data| {
                compared(env.compare(a(data), b(data), signals))
            });
        }
        let near = if F::DOUBLE {
            Of::DoubleInteger
        } else {
            Of::SingleInteger
        };
        for of in [kind, near] {
            for imm in 0..5 {
                let code = [0x66, 0x0f, 0x3a, 0x0a + F::DOUBLE as u8, 0xc1, imm];
                self.add("ROUND", &code, of, result, move |env, data| {
                    let rounding = if imm == 4 {
                        env.rounding
                    } else {
                        rounding_control(imm.into())
                    };
                    env.round_int(b(data), rounding).to()
                });
            }
            for (name, opcode, truncates) in [("CVT to", 0x2d, false), ("CVTT to", 0x2c, true)] {
                let rounding = move |env: &Env| {
                    if truncates {
                        Rounding::Zero
                    } else {
                        env.rounding
                    }
                };
                let code = [prefix, 0x0f, opcode, 0xc1];
                self.add(name, &code, of, eax, move |env, data| {
                    let rounding = rounding(env);
                    env.to_signed(b(data), 32, rounding) as u32 as u64
                });
                let code = [prefix, 0x48, 0x0f, opcode, 0xc1];
                self.add(name, &code, of, rax, move |env, data| {
                    let rounding = rounding(env);
                    env.to_signed(b(data), 64, rounding) as u64
                });
            }
        }
        let from = [prefix, 0x0f, 0x2a, 0xc0];
        self.add("CVT from", &from, Of::Integer, result, |env, data| {
            env.from_signed::<F>((data.rax as i32).into()).to()
        });
        let from = [prefix, 0x48, 0x0f, 0x2a, 0xc0];
        self.add("CVT from", &from, Of::Integer, result, |env, data| {
            env.from_signed::<F>(data.rax as i64).to()
        });
        // VFMADD, VFMSUB, VFNMADD, VFNMSUB; 132: 0 * 2 + 1; 213: 1 * 0 + 2; 231: 1 * 2 + 0.
        let negations = [(false, false), (false, true), (true, false), (true, true)];
        for (form, order) in [(0x90, [0, 2, 1]), (0xa0, [1, 0, 2]), (0xb0, [1, 2, 0])] {
            for (opcode, negate) in (0x9..).step_by(2).zip(negations) {
                let third = if F::DOUBLE { 0xf1 } else { 0x71 };
                let code = [0xc4, 0xe2, third, form + opcode, 0xc2];
                self.add("FMA", &code, kind, result, move |env, data| {
                    let [x, y, z] = order.map(|n: usize| F::of(data.xmm[n]));
                    env.mul_add(x, y, z, negate).to()
                });
            }
        }
    }
}

pub fn all() -> Vec<Operation> {
    let mut list = List::default();
    list.arithmetic::<u32>();
    list.arithmetic::<u64>();
    let up = [0xf3, 0x0f, 0x5a, 0xc1];
    list.add("CVTSS2SD", &up, Of::Single, double, |env, data| {
        env.convert::<u32, u64>(data.xmm[1] as u32)
    });
    let down = [0xf2, 0x0f, 0x5a, 0xc1];
    list.add("CVTSD2SS", &down, Of::Double, single, |env, data| {
        env.convert::<u64, u32>(data.xmm[1] as u64).into()
    });
    let up = [0xc4, 0xe2, 0x79, 0x13, 0xc1];
    list.add("VCVTPH2PS", &up, Of::Half, single, |env, data| {
        env.convert::<u16, u32>(data.xmm[1] as u16).into()
    });
    let down = [0xc4, 0xe3, 0x79, 0x1d, 0xc8, 4];
    list.add("VCVTPS2PH", &down, Of::Single, half, |env, data| {
        env.convert::<u32, u16>(data.xmm[1] as u32).into()
    });
    list.0
}
