//! The vocabulary in which each instruction's meaning is written, once.
//!
//! ```text
//!  decode ──► Insn ──► semantics: fn f<E: Emit>(e: &mut E, o: &Operands)
//!                                   │
//!                     ┌─────────────┴──────────────┐
//!               E = Cpu<A>                   E = Recorder<A>
//!          values are numbers,            values name operations,
//!          the function computes          the function leaves IR behind
//!               (interpreter)              (compiled by the region compiler)
//! ```
//!
//! All values are 64 bits wide. Narrow arithmetic is 64-bit arithmetic followed by an extension,
//! which both tiers fold. State that instructions share lives in [`Slot`]s of the register file.
//! Operations are *total*: what one host leaves undefined (a shift by 64, a division by zero) has
//! one definition here, in [`Binary::eval`] and [`Unary::eval`], which the interpreter runs and the
//! tests of the compiler compare with.

use crate::arch::{Arch, Def};
use crate::cpu::Cpu;
use crate::float::{FloatFormat, FloatOp};
use crate::vector::{VecBinary, VecShift, VecUnary};

/// One 64-bit register of the register file that all tiers share.
///
/// The architecture decides what each means. There are [`Slot::COUNT`] of them; 128-bit vector
/// registers take two each, low half first, at an even index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Slot(u8);

impl Slot {
    /// How many slots a register file has.
    pub const COUNT: usize = 128;

    /// The slot with this index, taken modulo [`Slot::COUNT`].
    #[inline(always)]
    pub const fn new(index: u8) -> Slot {
        Slot(index & (Slot::COUNT as u8 - 1))
    }

    /// The slot after this one.
    #[inline(always)]
    pub const fn next(self) -> Slot {
        Slot::new(self.0.wrapping_add(1))
    }

    /// The first slot of the pair that this one is in: the even one.
    #[inline(always)]
    pub const fn pair(self) -> Slot {
        Slot::new(self.0 & !1)
    }

    /// The index, below [`Slot::COUNT`].
    #[inline(always)]
    pub const fn index(self) -> usize {
        (self.0 & (Slot::COUNT as u8 - 1)) as usize
    }
}

/// A set of [`Slot`]s, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlotSet(pub u128);

impl SlotSet {
    /// No slot.
    pub const NONE: SlotSet = SlotSet(0);
    /// Every slot.
    pub const ALL: SlotSet = SlotSet(!0);

    /// The slots from `first` up to, not including, `end`.
    pub const fn range(first: u8, end: u8) -> SlotSet {
        let mut set = 0;
        let mut i = first;
        while i < end {
            set |= 1 << i;
            i += 1;
        }
        SlotSet(set)
    }

    /// This set and `other` together.
    pub const fn and(self, other: SlotSet) -> SlotSet {
        SlotSet(self.0 | other.0)
    }

    /// Whether `slot` is in the set.
    pub const fn contains(self, slot: Slot) -> bool {
        self.0 >> slot.index() & 1 != 0
    }
}

/// An operation on two values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Binary {
    /// Sum, modulo 2^64.
    Add,
    /// Difference, modulo 2^64.
    Sub,
    /// Low half of the product.
    Mul,
    /// High half of the unsigned product.
    UMulH,
    /// High half of the signed product.
    SMulH,
    /// Unsigned quotient; 0 where the divisor is 0.
    UDiv,
    /// Signed quotient, rounded to zero; 0 where the divisor is 0, and the dividend where it overflows.
    SDiv,
    /// Bitwise and.
    And,
    /// Bitwise inclusive or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left by the amount modulo 64.
    Shl,
    /// Logical shift right by the amount modulo 64.
    Shr,
    /// Arithmetic shift right by the amount modulo 64.
    Sar,
    /// Rotate right by the amount modulo 64.
    Ror,
    /// Rotate the low 32 bits right by the amount modulo 32; the upper half of the result is 0.
    Ror32,
}

impl Binary {
    /// What the operation gives.
    #[inline(always)]
    pub fn eval(self, a: u64, b: u64) -> u64 {
        match self {
            Binary::Add => a.wrapping_add(b),
            Binary::Sub => a.wrapping_sub(b),
            Binary::Mul => a.wrapping_mul(b),
            Binary::UMulH => ((a as u128 * b as u128) >> 64) as u64,
            Binary::SMulH => ((a as i64 as i128 * b as i64 as i128) >> 64) as u64,
            Binary::UDiv => a.checked_div(b).unwrap_or(0),
            Binary::SDiv if b == 0 => 0,
            Binary::SDiv => (a as i64).wrapping_div(b as i64) as u64,
            Binary::And => a & b,
            Binary::Or => a | b,
            Binary::Xor => a ^ b,
            Binary::Shl => a << (b & 63),
            Binary::Shr => a >> (b & 63),
            Binary::Sar => ((a as i64) >> (b & 63)) as u64,
            Binary::Ror => a.rotate_right((b & 63) as u32),
            Binary::Ror32 => (a as u32).rotate_right((b & 31) as u32) as u64,
        }
    }
}

/// An operation on one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Unary {
    /// Bitwise complement.
    Not,
    /// Two's complement.
    Neg,
    /// The low 8 bits, zero-extended.
    Zext8,
    /// The low 16 bits, zero-extended.
    Zext16,
    /// The low 32 bits, zero-extended.
    Zext32,
    /// The low 8 bits, sign-extended.
    Sext8,
    /// The low 16 bits, sign-extended.
    Sext16,
    /// The low 32 bits, sign-extended.
    Sext32,
    /// Number of leading zeros; 64 for 0.
    Clz,
    /// Number of trailing zeros; 64 for 0.
    Ctz,
    /// Number of ones.
    Popcnt,
    /// The eight bytes in reverse order.
    Bswap,
    /// The 64 bits in reverse order.
    Rbit,
}

impl Unary {
    /// What the operation gives.
    #[inline(always)]
    pub fn eval(self, a: u64) -> u64 {
        match self {
            Unary::Not => !a,
            Unary::Neg => a.wrapping_neg(),
            Unary::Zext8 => a as u8 as u64,
            Unary::Zext16 => a as u16 as u64,
            Unary::Zext32 => a as u32 as u64,
            Unary::Sext8 => a as i8 as u64,
            Unary::Sext16 => a as i16 as u64,
            Unary::Sext32 => a as i32 as u64,
            Unary::Clz => a.leading_zeros() as u64,
            Unary::Ctz => a.trailing_zeros() as u64,
            Unary::Popcnt => a.count_ones() as u64,
            Unary::Bswap => a.swap_bytes(),
            Unary::Rbit => a.reverse_bits(),
        }
    }
}

/// A comparison of two values; it gives 1 where it holds, else 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Cmp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Unsigned less.
    Ult,
    /// Unsigned less or equal.
    Ule,
    /// Signed less.
    Slt,
    /// Signed less or equal.
    Sle,
}

impl Cmp {
    /// What the comparison gives, 1 or 0.
    #[inline(always)]
    pub fn eval(self, a: u64, b: u64) -> u64 {
        (match self {
            Cmp::Eq => a == b,
            Cmp::Ne => a != b,
            Cmp::Ult => a < b,
            Cmp::Ule => a <= b,
            Cmp::Slt => (a as i64) < b as i64,
            Cmp::Sle => a as i64 <= b as i64,
        }) as u64
    }
}

/// How many bytes of memory an access takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Size {
    /// One byte.
    B1 = 0,
    /// Two bytes.
    B2 = 1,
    /// Four bytes.
    B4 = 2,
    /// Eight bytes.
    B8 = 3,
}

impl Size {
    /// The size with this base-2 logarithm, taken modulo 4.
    #[inline(always)]
    pub const fn from_log2(log2: u32) -> Size {
        match log2 & 3 {
            0 => Size::B1,
            1 => Size::B2,
            2 => Size::B4,
            _ => Size::B8,
        }
    }

    /// The size in bytes.
    #[inline(always)]
    pub const fn bytes(self) -> u64 {
        1 << self as u8
    }

    /// All bits that a value of this size can have.
    #[inline(always)]
    pub const fn mask(self) -> u64 {
        !0 >> (64 - 8 * self.bytes())
    }
}

/// How an access to memory is ordered with the vCPU's other accesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Order {
    /// Not at all.
    Relaxed,
    /// Before all that follow it (a load).
    Acquire,
    /// After all that precede it (a store).
    Release,
    /// Both.
    AcqRel,
}

/// All that an access to memory needs to say, apart from address and value.
///
/// Values are little-endian; the semantics of a big-endian access reverses the bytes itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Mem {
    /// Bytes of the access, or of each half of a pair.
    pub size: Size,
    /// Whether an address that is no multiple of `align` faults, whatever the memory.
    pub align: Align,
    /// The access has the rights of the unprivileged level ([`Cpu::context_unprivileged`]).
    pub unprivileged: bool,
    /// Ordering.
    pub order: Order,
    /// For the architecture's own use when the access goes the slow way: what its syndrome says.
    pub info: u32,
}

/// The alignment an access demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Align {
    /// None, as long as the memory takes it.
    Any,
    /// That of the whole access; otherwise an alignment fault is due.
    Natural,
}

impl Mem {
    /// An ordinary access of this size: any alignment, current privilege, unordered.
    pub const fn new(size: Size) -> Mem {
        Mem {
            size,
            align: Align::Any,
            unprivileged: false,
            order: Order::Relaxed,
            info: 0,
        }
    }

    /// The same with this [`Mem::info`].
    pub const fn info(mut self, info: u32) -> Mem {
        self.info = info;
        self
    }

    /// The same with natural alignment demanded.
    pub const fn aligned(mut self) -> Mem {
        self.align = Align::Natural;
        self
    }

    /// The same with this order.
    pub const fn order(mut self, order: Order) -> Mem {
        self.order = order;
        self
    }

    /// The same with the unprivileged level's rights.
    pub const fn unprivileged(mut self) -> Mem {
        self.unprivileged = true;
        self
    }
}

/// An atomic read-modify-write; each gives the value that memory held before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Rmw {
    /// Sum.
    Add,
    /// Memory and not operand.
    Clr,
    /// Exclusive or.
    Eor,
    /// Inclusive or.
    Set,
    /// Signed maximum.
    SMax,
    /// Signed minimum.
    SMin,
    /// Unsigned maximum.
    UMax,
    /// Unsigned minimum.
    UMin,
    /// The operand itself.
    Swap,
}

impl Rmw {
    /// The value memory gets, from the one it held and the operand, both of `size`.
    #[inline(always)]
    pub fn eval(self, old: u64, operand: u64, size: Size) -> u64 {
        let sign = |v: u64| {
            let s = 64 - 8 * size.bytes() as u32;
            ((v << s) as i64) >> s
        };
        let (old, operand) = (old & size.mask(), operand & size.mask());
        let new = match self {
            Rmw::Add => old.wrapping_add(operand),
            Rmw::Clr => old & !operand,
            Rmw::Eor => old ^ operand,
            Rmw::Set => old | operand,
            Rmw::SMax => sign(old).max(sign(operand)) as u64,
            Rmw::SMin => sign(old).min(sign(operand)) as u64,
            Rmw::UMax => old.max(operand),
            Rmw::UMin => old.min(operand),
            Rmw::Swap => operand,
        };
        new & size.mask()
    }
}

/// Why an instruction did not run to its end in the ordinary way.
///
/// In both cases the vCPU's state is precise, [`Cpu::pc`] included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Go on at [`Cpu::pc`], which has changed (an exception was taken, an exception return made).
    Redirect,
    /// Leave [`crate::run::Engine::run`]; the architecture has noted why.
    Exit,
}

/// What a [`Helper`] may touch, so that compiled code keeps the rest in registers across the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effects {
    /// Slots it may read.
    pub reads: SlotSet,
    /// Slots it may write.
    pub writes: SlotSet,
    /// Whether it may return a [`Stop`]; then all slots are in memory at the call.
    pub stops: bool,
}

impl Effects {
    /// A function of its arguments (and of state outside the slots): touches no slot, never stops.
    pub const PURE: Effects = Effects {
        reads: SlotSet::NONE,
        writes: SlotSet::NONE,
        stops: false,
    };
    /// Anything at all.
    pub const ANY: Effects = Effects {
        reads: SlotSet::ALL,
        writes: SlotSet::ALL,
        stops: true,
    };
}

/// A piece of semantics that is too rare or too large to emit: an ordinary function that every tier
/// calls. [`Cpu::pc`] is the address of the instruction when it is called.
pub struct Helper<A: Arch> {
    /// Its name, for listings.
    pub name: &'static str,
    /// The function, of up to four values.
    pub call: fn(&mut Cpu<A>, [u64; 4]) -> Result<u64, Stop>,
    /// What it may touch.
    pub effects: Effects,
}

impl<A: Arch> std::fmt::Debug for Helper<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What instructions are made of. See the module's head.
///
/// A method that can stop returns `Result<_, Self::Stop>`; semantics pass it on with `?`. In the
/// recorder it never fails. A stop may happen only before the instruction has changed any slot or
/// memory that a repetition would notice.
pub trait Emit: Sized {
    /// The architecture.
    type Arch: Arch;
    /// A 64-bit value.
    type Val: Copy;
    /// A 128-bit vector.
    type Vec: Copy;
    /// The way out of an instruction; uninhabited where nothing runs yet.
    type Stop;
    /// Whether this emits code rather than computing. For choices of form only, never of meaning.
    const COMPILES: bool;

    /// The mode in which the block is translated ([`Arch::mode`]), a constant of the block.
    fn mode(&self) -> u32;
    /// A constant.
    fn imm(&mut self, value: u64) -> Self::Val;
    /// All that another definition says of these operands; for definitions that add to it.
    fn instruction(
        &mut self,
        def: &'static Def<Self::Arch>,
        operands: &<Self::Arch as Arch>::Operands,
    ) -> Result<(), Self::Stop>;
    /// What a slot holds.
    fn get(&mut self, slot: Slot) -> Self::Val;
    /// Sets a slot.
    fn put(&mut self, slot: Slot, value: Self::Val);
    /// An operation on one value.
    fn unary(&mut self, op: Unary, a: Self::Val) -> Self::Val;
    /// An operation on two values.
    fn binary(&mut self, op: Binary, a: Self::Val, b: Self::Val) -> Self::Val;
    /// A comparison: 1 or 0.
    fn compare(&mut self, op: Cmp, a: Self::Val, b: Self::Val) -> Self::Val;
    /// An operation of the host's floating point.
    fn float(&mut self, op: FloatOp, format: FloatFormat, operands: [Self::Val; 3]) -> Self::Val;
    /// `a` where `condition` is not 0, else `b`.
    fn select(&mut self, condition: Self::Val, a: Self::Val, b: Self::Val) -> Self::Val;

    /// What two slots hold as a vector: `slot`, at an even index, the low half, and the next.
    fn vec_get(&mut self, slot: Slot) -> Self::Vec;
    /// Sets the two slots, of which `slot`, at an even index, is the first.
    fn vec_put(&mut self, slot: Slot, value: Self::Vec);
    /// A constant vector.
    fn vec_imm(&mut self, value: u128) -> Self::Vec;
    /// An operation on one vector.
    fn vec_unary(&mut self, op: VecUnary, size: Size, a: Self::Vec) -> Self::Vec;
    /// An operation on two vectors.
    fn vec_binary(&mut self, op: VecBinary, size: Size, a: Self::Vec, b: Self::Vec) -> Self::Vec;
    /// A shift of every lane by the same amount, below the lane's bits.
    fn vec_shift(&mut self, op: VecShift, size: Size, a: Self::Vec, amount: u32) -> Self::Vec;
    /// Bits of `a` where `mask` has ones, else of `b`.
    fn vec_select(&mut self, mask: Self::Vec, a: Self::Vec, b: Self::Vec) -> Self::Vec;
    /// Bytes of `b:a`, see [`crate::vector::shuffle`].
    fn vec_shuffle(&mut self, a: Self::Vec, b: Self::Vec, indices: [u8; 16]) -> Self::Vec;
    /// Lanes of 8, 16 or 32 bits of one half, extended, see [`crate::vector::widen`].
    fn vec_widen(&mut self, size: Size, signed: bool, high: bool, a: Self::Vec) -> Self::Vec;
    /// The low bits of a value in every lane.
    fn vec_splat(&mut self, size: Size, value: Self::Val) -> Self::Vec;
    /// A lane, zero-extended.
    fn vec_lane(&mut self, size: Size, index: u32, a: Self::Vec) -> Self::Val;
    /// The vector with one lane replaced by the low bits of `value`.
    fn vec_with_lane(
        &mut self,
        size: Size,
        index: u32,
        a: Self::Vec,
        value: Self::Val,
    ) -> Self::Vec;

    /// Loads, zero-extended.
    fn load(&mut self, address: Self::Val, mem: Mem) -> Result<Self::Val, Self::Stop>;
    /// Stores the low bytes of `value`.
    fn store(&mut self, address: Self::Val, value: Self::Val, mem: Mem) -> Result<(), Self::Stop>;
    /// Loads two values that lie one after the other.
    fn load_pair(
        &mut self,
        address: Self::Val,
        mem: Mem,
    ) -> Result<(Self::Val, Self::Val), Self::Stop>;
    /// Stores two values one after the other.
    fn store_pair(
        &mut self,
        address: Self::Val,
        values: (Self::Val, Self::Val),
        mem: Mem,
    ) -> Result<(), Self::Stop>;
    /// Atomic read-modify-write; gives the old value, zero-extended.
    fn rmw(
        &mut self,
        op: Rmw,
        address: Self::Val,
        operand: Self::Val,
        mem: Mem,
    ) -> Result<Self::Val, Self::Stop>;
    /// Atomic compare-and-swap; gives the value found, zero-extended.
    fn compare_exchange(
        &mut self,
        address: Self::Val,
        expected: Self::Val,
        new: Self::Val,
        mem: Mem,
    ) -> Result<Self::Val, Self::Stop>;
    /// A barrier between all accesses before and all accesses after.
    fn fence(&mut self);

    /// Calls a helper.
    fn helper(
        &mut self,
        helper: &'static Helper<Self::Arch>,
        arguments: [Self::Val; 4],
    ) -> Result<Self::Val, Self::Stop>;

    /// `value` where `condition` is not 0; else what the helper gives, which is not called otherwise.
    /// The helper never stops.
    fn helper_unless(
        &mut self,
        condition: Self::Val,
        value: Self::Val,
        helper: &'static Helper<Self::Arch>,
        arguments: [Self::Val; 4],
    ) -> Result<Self::Val, Self::Stop>;

    /// The address of this instruction.
    fn pc(&mut self) -> Self::Val;
    /// Goes on at this instruction's address plus `offset`. Ends the block.
    fn jump(&mut self, offset: i64);
    /// The same where `condition` is not 0; else the next instruction follows. Ends the block.
    fn branch(&mut self, condition: Self::Val, offset: i64);
    /// Goes on at `target`. Ends the block.
    fn jump_to(&mut self, target: Self::Val);
    /// Goes on at the next instruction, but through the dispatcher: the mode, the translation of
    /// addresses or what interrupts are masked may have changed. Ends the block.
    fn end_block(&mut self);

    /// Sum.
    #[inline(always)]
    fn add(&mut self, a: Self::Val, b: Self::Val) -> Self::Val {
        self.binary(Binary::Add, a, b)
    }
    /// Difference.
    #[inline(always)]
    fn sub(&mut self, a: Self::Val, b: Self::Val) -> Self::Val {
        self.binary(Binary::Sub, a, b)
    }
    /// Bitwise and.
    #[inline(always)]
    fn and(&mut self, a: Self::Val, b: Self::Val) -> Self::Val {
        self.binary(Binary::And, a, b)
    }
    /// Bitwise inclusive or.
    #[inline(always)]
    fn or(&mut self, a: Self::Val, b: Self::Val) -> Self::Val {
        self.binary(Binary::Or, a, b)
    }
    /// Bitwise exclusive or.
    #[inline(always)]
    fn xor(&mut self, a: Self::Val, b: Self::Val) -> Self::Val {
        self.binary(Binary::Xor, a, b)
    }
    /// Sum with a constant.
    #[inline(always)]
    fn add_imm(&mut self, a: Self::Val, b: u64) -> Self::Val {
        let b = self.imm(b);
        self.binary(Binary::Add, a, b)
    }
    /// Bitwise and with a constant.
    #[inline(always)]
    fn and_imm(&mut self, a: Self::Val, b: u64) -> Self::Val {
        let b = self.imm(b);
        self.binary(Binary::And, a, b)
    }
    /// Shift left by a constant below 64.
    #[inline(always)]
    fn shl_imm(&mut self, a: Self::Val, amount: u32) -> Self::Val {
        let b = self.imm(amount as u64);
        self.binary(Binary::Shl, a, b)
    }
    /// Logical shift right by a constant below 64.
    #[inline(always)]
    fn shr_imm(&mut self, a: Self::Val, amount: u32) -> Self::Val {
        let b = self.imm(amount as u64);
        self.binary(Binary::Shr, a, b)
    }
    /// Arithmetic shift right by a constant below 64.
    #[inline(always)]
    fn sar_imm(&mut self, a: Self::Val, amount: u32) -> Self::Val {
        let b = self.imm(amount as u64);
        self.binary(Binary::Sar, a, b)
    }
    /// The low 32 bits, zero-extended.
    #[inline(always)]
    fn zext32(&mut self, a: Self::Val) -> Self::Val {
        self.unary(Unary::Zext32, a)
    }
    /// The low 32 bits, sign-extended.
    #[inline(always)]
    fn sext32(&mut self, a: Self::Val) -> Self::Val {
        self.unary(Unary::Sext32, a)
    }
    /// Calls a helper with fewer than four arguments.
    #[inline(always)]
    fn call(
        &mut self,
        helper: &'static Helper<Self::Arch>,
        arguments: &[Self::Val],
    ) -> Result<Self::Val, Self::Stop> {
        let zero = self.imm(0);
        let mut all = [zero; 4];
        for (to, from) in all.iter_mut().zip(arguments) {
            *to = *from;
        }
        self.helper(helper, all)
    }
}
