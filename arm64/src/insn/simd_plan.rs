//! What a vector instruction reads, which [`Op`] it applies, and what it writes; and how the
//! operations are carried out that are one call.
//!
//! ```text
//!   decode ──► Plan ──packed into Operands::imm──► run() ──► VECTOR_OPERATION helper
//!                          │                                   │
//!                          │  V<n>, V<m>, V<d> ──Part──► Operands ──Op::kernel──► result
//!                          │                                   ──Part──► V<d>, FPSR.QC
//!                          └──► simd_emit, for operations without a kernel
//! ```
//!
//! A *part* is the piece of a register that an instruction uses: the Arm ARM's `datasize`, `Q`,
//! `part` and scalar forms, so that one function for each operation serves them all.

use super::{Decoded, Operands, simd_emit};
use crate::regs::{self, FP_STATUS, VECTORS};
use crate::simd::lane::{self, low_bits};
use crate::simd::{self, Op};
use crate::{Arm64, Cpu};
use understudy_engine::arch::Def;
use understudy_engine::emit::{Effects, Emit, Helper};
use understudy_engine::ir::Recorder;

/// Which piece of a vector register is read (moved to bit 0, the rest zero), or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// All 128 bits.
    Full = 0,
    /// The low 64 bits; a write clears the others.
    Low = 1,
    /// The high 64 bits; a write keeps the others.
    High = 2,
    /// The low byte; a write clears the others.
    Byte = 3,
    /// The low 16 bits; a write clears the others.
    Half = 4,
    /// The low 32 bits; a write clears the others.
    Word = 5,
    /// Nothing: reads as zero.
    Zero = 6,
    /// Reads as one element, [`Plan::index`], in every place.
    Spread = 7,
}

impl Part {
    const ALL: [Part; 8] = [
        Part::Full,
        Part::Low,
        Part::High,
        Part::Byte,
        Part::Half,
        Part::Word,
        Part::Zero,
        Part::Spread,
    ];

    /// The vector of 128 or 64 bits that Q says.
    pub const fn vector(q: bool) -> Part {
        if q { Part::Full } else { Part::Low }
    }

    /// The half that Q says, for widening and narrowing instructions and their `2` forms.
    pub const fn half(q: bool) -> Part {
        if q { Part::High } else { Part::Low }
    }

    /// The low element of `8 << size` bits; size 4 is the whole register.
    pub const fn scalar(size: u32) -> Part {
        match size {
            0 => Part::Byte,
            1 => Part::Half,
            2 => Part::Word,
            3 => Part::Low,
            _ => Part::Full,
        }
    }

    #[inline(always)]
    fn of(self, register: u128) -> u128 {
        match self {
            Part::Full => register,
            Part::Low => register as u64 as u128,
            Part::High => register >> 64,
            Part::Byte => register as u8 as u128,
            Part::Half => register as u16 as u128,
            Part::Word => register as u32 as u128,
            Part::Zero | Part::Spread => 0,
        }
    }
}

/// One vector instruction, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is computed.
    pub op: Op,
    /// The logarithm of the element's bytes, as [`Op::kernel`] takes it.
    pub size: u32,
    /// [`simd::Operands::q`].
    pub q: bool,
    /// [`simd::Operands::imm`], below 128.
    pub imm: u32,
    /// The part of the first source that is read.
    pub n: Part,
    /// The part of the second source that is read.
    pub m: Part,
    /// The element that [`Part::Spread`] reads, of `8 << size` bits.
    pub index: u32,
    /// The part of the destination that is written. Of an old value, the operation sees as much.
    pub d: Part,
    /// The registers' numbers: destination, first source, second source.
    pub registers: [u32; 3],
}

impl Plan {
    /// The plan of an instruction whose vectors all have the length that Q (bit 30) says, with the
    /// registers in their usual places.
    pub fn new(word: u32, op: Op, size: u32) -> Plan {
        let q = word >> 30 & 1 != 0;
        let part = Part::vector(q);
        Plan {
            op,
            size,
            q,
            imm: 0,
            n: part,
            m: part,
            index: 0,
            d: part,
            registers: [word & 31, word >> 5 & 31, word >> 16 & 31],
        }
    }

    /// The same with these parts.
    pub const fn parts(mut self, d: Part, n: Part, m: Part) -> Plan {
        (self.d, self.n, self.m) = (d, n, m);
        self
    }

    /// The same with this immediate.
    pub const fn imm(mut self, imm: u32) -> Plan {
        self.imm = imm;
        self
    }

    /// Makes an instruction of it, or `None` where the operation does not exist for the size.
    pub fn decoded(self) -> Option<Decoded> {
        if !self.op.exists(self.size) {
            return None;
        }
        let def = match self.op.kernel(self.size) {
            Some(_) => &DEFS[self.op as usize],
            None => simd_emit::definition(self.op),
        };
        Some((def, self.pack()))
    }

    /// ```text
    ///   7:0 op   9:8 size   10 q   17:11 imm   20:18 n   23:21 m   26:24 d   30:27 index
    ///   36:32 Rd   41:37 Rn   46:42 Rm
    /// ```
    fn pack(self) -> u64 {
        let [rd, rn, rm] = self.registers.map(u64::from);
        self.op as u64
            | u64::from(self.size & 3) << 8
            | u64::from(self.q) << 10
            | u64::from(self.imm & 0x7f) << 11
            | (self.n as u64) << 18
            | (self.m as u64) << 21
            | (self.d as u64) << 24
            | u64::from(self.index & 15) << 27
            | rd << 32
            | rn << 37
            | rm << 42
    }

    /// The plan that was packed.
    #[inline(always)]
    pub fn unpack(packed: u64) -> Option<Plan> {
        let bits = |low: u32, count: u32| (packed >> low) as u32 & ((1 << count) - 1);
        let part = |low: u32| Part::ALL[bits(low, 3) as usize];
        Some(Plan {
            op: Op::from_number(packed as u8)?,
            size: bits(8, 2),
            q: bits(10, 1) != 0,
            imm: bits(11, 7),
            n: part(18),
            m: part(21),
            index: bits(27, 4),
            d: part(24),
            registers: [bits(32, 5), bits(37, 5), bits(42, 5)],
        })
    }

    #[inline(always)]
    fn execute(self, cpu: &mut Cpu) -> Option<()> {
        let [rd, rn, rm] = self.registers;
        let kernel = self.op.kernel(self.size)?;
        let old = regs::vector(cpu, rd);
        let m = regs::vector(cpu, rm);
        let mut operands = simd::Operands {
            d: if self.d == Part::High {
                0
            } else {
                self.d.of(old)
            },
            n: self.n.of(regs::vector(cpu, rn)),
            m: match self.m {
                Part::Spread => lane::replicate(lane::element(m, self.size, self.index), self.size),
                part => part.of(m),
            },
            imm: self.imm,
            q: self.q,
            qc: false,
        };
        let result = kernel(&mut operands);
        let new = match self.d {
            Part::High => old & low_bits(64) | result << 64,
            part => part.of(result),
        };
        regs::set_vector(cpu, rd, new);
        if operands.qc {
            cpu.set_slot(regs::FPSR, cpu.slot(regs::FPSR) | FPSR_QC);
        }
        Some(())
    }
}

/// FPSR.QC: an element saturated since the bit was last cleared.
const FPSR_QC: u64 = crate::fp::fpsr::QC as u64;

static VECTOR_OPERATION: Helper<Arm64> = Helper {
    name: "vector_operation",
    call: |cpu, [packed, ..]| {
        // Every packed plan was made by `decoded`, so it always exists.
        let done = Plan::unpack(packed).and_then(|plan| plan.execute(cpu));
        debug_assert!(done.is_some());
        Ok(0)
    },
    effects: Effects {
        reads: VECTORS.and(FP_STATUS),
        writes: VECTORS.and(FP_STATUS),
        stops: false,
    },
};

/// Carries out the [`Plan`] in the operands' immediate.
pub fn run<E: Emit<Arch = Arm64>>(e: &mut E, o: &Operands) -> Result<(), E::Stop> {
    let packed = e.imm(o.imm);
    e.call(&VECTOR_OPERATION, &[packed])?;
    Ok(())
}

/// A definition for each [`Op`], by its number.
static DEFS: [Def<Arm64>; Op::ALL.len()] = {
    let mut defs = [const {
        Def {
            name: "",
            interpret: run::<Cpu>,
            record: run::<Recorder<Arm64>>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_everything() {
        for op in Op::ALL {
            for size in 0..4 {
                let plan = Plan {
                    op: *op,
                    size,
                    q: size & 1 == 0,
                    imm: 64 + size,
                    n: Part::Word,
                    m: Part::Spread,
                    index: 15 - size,
                    d: Part::High,
                    registers: [31, 17, 1 + size],
                };
                assert_eq!(Plan::unpack(plan.pack()), Some(plan));
            }
        }
        assert!(Op::ALL.len() <= 255);
        assert_eq!(Plan::unpack(255), None);
    }
}
