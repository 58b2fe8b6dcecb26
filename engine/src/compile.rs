//! The region compiler: from recorded blocks to machine code, by way of Cranelift.
//!
//! ```text
//!  ir::Block, ir::Block, ...      the blocks of one page that reach each other
//!      │ dirty-slot analysis      which slots may be newer in host registers than in memory
//!      ▼
//!  Cranelift function             a slot is an SSA variable: it lives in a host register across
//!      │                          back edges; fast paths of memory accesses are inline
//!      ▼
//!  machine code                   position-independent, calls by absolute address
//! ```
//!
//! The code takes the vCPU and the number of one of the region's entries. It returns [`DISPATCH`] with
//! [`Cpu::pc`] set, or what a stop left in `cpu.status`; or it goes on, by a tail call, to the region
//! at the branch's target if `chain` knows one.
//!
//! State is written back late: on the way out, before a helper that may look, and on the slow paths
//! of memory accesses, which are cold code and are called with a convention that preserves all
//! registers, so that a TLB miss costs the hot path no spills.

mod helper;
mod memory;
mod runtime;
mod value;
mod vector;

use self::runtime::*;
use crate::arch::Arch;
use crate::chain::{self, LINKS, Link};
use crate::cpu::Cpu;
use crate::emit::{
    Align, Binary, Cmp, Effects, Helper, Mem, Order, Rmw, Size, Slot, SlotSet, Stop, Unary,
};
use crate::float::{FloatFormat, FloatOp};
use crate::ir::{self, End, Op};
use crate::tlb::{ENTRIES, Entry, PAGE_MASK};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64, I64X2};
use cranelift_codegen::ir::{
    self as clif, AbiParam, AtomicRmwOp, InstBuilder, MemFlagsData, SigRef, Signature, Type,
    UserFuncName,
};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, control::ControlPlane};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Switch, Variable};
use std::collections::{BTreeMap, HashMap};
use std::mem::offset_of;

/// The region has been left; look at [`Cpu::pc`] and go on.
pub const DISPATCH: u64 = 0;
const REDIRECT: u64 = 1;
const EXIT: u64 = 2;
/// The instruction is to be completed, and then the region to be left.
const LEAVE: u64 = 3;

/// What compiled code's return value says.
pub fn outcome(status: u64) -> Result<(), Stop> {
    match status {
        DISPATCH => Ok(()),
        REDIRECT => Err(Stop::Redirect),
        _ => Err(Stop::Exit),
    }
}

fn status(stop: Stop) -> u64 {
    match stop {
        Stop::Redirect => REDIRECT,
        Stop::Exit => EXIT,
    }
}

/// Blocks to be compiled as one.
pub struct Region<A: Arch> {
    /// The blocks, by offset in the page.
    pub blocks: BTreeMap<u32, ir::Block<A>>,
    /// Offsets at which the region may be entered; the index is the entry's number.
    pub entries: Vec<u32>,
    /// The mode of the blocks.
    pub mode: u32,
}

/// A compiler for the machine that this runs on.
pub struct Compiler {
    isa: OwnedTargetIsa,
    /// The host has an instruction for fused multiplication and addition.
    fused: bool,
    context: Context,
    builder: FunctionBuilderContext,
}

/// The compiler has failed; the message is Cranelift's.
#[derive(Clone, Debug)]
pub struct CompileError(pub String);

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the region compiler failed: {}", self.0)
    }
}

impl std::error::Error for CompileError {}

fn error(e: impl std::fmt::Display) -> CompileError {
    CompileError(e.to_string())
}

/// Addresses of the functions that compiled code calls with the convention that preserves all
/// registers; see [`Compiler::slow_paths`].
#[derive(Clone, Copy, Debug)]
pub struct SlowPaths {
    /// `(cpu, address, mem)`
    pub load: u64,
    /// `(cpu, address, mem)`
    pub load_pair: u64,
    /// `(cpu, address, value, mem)`
    pub store: u64,
    /// `(cpu, address, value, value, mem)`
    pub store_pair: u64,
    /// `(cpu, helper, a, b, c, d)`, for helpers that do not stop.
    pub helper: u64,
}

/// The function by which Rust runs a region: the vCPU, the entry's number, the region's code.
pub type Enter = extern "C" fn(*mut (), u64, *const u8) -> u64;

impl Compiler {
    /// A compiler for the host; fails where Cranelift has no back end for it.
    pub fn new() -> Result<Compiler, CompileError> {
        let mut flags = settings::builder();
        for (name, value) in [
            ("opt_level", "speed"),
            (
                "enable_verifier",
                if cfg!(debug_assertions) {
                    "true"
                } else {
                    "false"
                },
            ),
            ("unwind_info", "false"),
            ("enable_probestack", "false"),
            ("is_pic", "false"),
            // Tail calls need them.
            ("preserve_frame_pointers", "true"),
        ] {
            flags.set(name, value).map_err(error)?;
        }
        let isa = cranelift_native::builder()
            .map_err(error)?
            .finish(settings::Flags::new(flags))
            .map_err(error)?;
        // Of the back ends, only that of x86-64 has it as an option.
        let fused = isa
            .isa_flags()
            .iter()
            .find(|flag| flag.name == "has_fma")
            .is_none_or(|flag| flag.as_bool() == Some(true));
        Ok(Compiler {
            isa,
            fused,
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
        })
    }

    /// Machine code of the functions that compiled regions call on their slow paths: each saves all
    /// registers and goes on to Rust. In the order of [`SlowPaths`]' fields.
    pub fn slow_paths<A: Arch>(&mut self) -> Result<[Vec<u8>; 5], CompileError> {
        let targets: [(u64, usize); 5] = [
            (slow_load::<A> as *const () as u64, 3),
            (slow_load_pair::<A> as *const () as u64, 3),
            (slow_store::<A> as *const () as u64, 4),
            (slow_store_pair::<A> as *const () as u64, 5),
            (slow_helper::<A> as *const () as u64, 6),
        ];
        let mut code = [const { Vec::new() }; 5];
        for (code, (target, parameters)) in code.iter_mut().zip(targets) {
            self.context.clear();
            self.context.func.signature = signature(CallConv::PreserveAll, parameters, false);
            self.context.func.name = UserFuncName::default();
            let mut b = FunctionBuilder::new(&mut self.context.func, &mut self.builder);
            let block = b.create_block();
            b.append_block_params_for_function_params(block);
            b.switch_to_block(block);
            let arguments = b.block_params(block).to_vec();
            let sig = b.import_signature(signature(CallConv::SystemV, parameters, false));
            let callee = b.ins().iconst(I64, target as i64);
            b.ins().call_indirect(sig, callee, &arguments);
            b.ins().return_(&[]);
            b.seal_all_blocks();
            b.finalize(self.isa.frontend_config());
            *code = self.finish()?;
        }
        Ok(code)
    }

    /// Machine code of [`Enter`].
    pub fn enter(&mut self) -> Result<Vec<u8>, CompileError> {
        self.context.clear();
        self.context.func.signature = signature(CallConv::SystemV, 3, true);
        self.context.func.name = UserFuncName::default();
        let mut b = FunctionBuilder::new(&mut self.context.func, &mut self.builder);
        let block = b.create_block();
        b.append_block_params_for_function_params(block);
        b.switch_to_block(block);
        let [cpu, entry, code] = *b.block_params(block) else {
            return Err(error("the signature has three parameters"));
        };
        let sig = b.import_signature(signature(CallConv::Tail, 2, true));
        let call = b.ins().call_indirect(sig, code, &[cpu, entry]);
        let status = b.inst_results(call)[0];
        b.ins().return_(&[status]);
        b.seal_all_blocks();
        b.finalize(self.isa.frontend_config());
        self.finish()
    }

    fn finish(&mut self) -> Result<Vec<u8>, CompileError> {
        let code = self
            .context
            .compile(&*self.isa, &mut ControlPlane::default())
            .map_err(|e| error(format!("{:?}", e.inner)))?;
        debug_assert!(
            code.buffer.relocs().is_empty(),
            "all calls are by absolute address"
        );
        Ok(code.code_buffer().to_vec())
    }

    /// Compiles a region.
    pub fn region<A: Arch>(
        &mut self,
        region: &Region<A>,
        slow: SlowPaths,
    ) -> Result<Vec<u8>, CompileError> {
        self.context.clear();
        self.context.func.name = UserFuncName::default();
        self.context.func.signature = signature(CallConv::Tail, 2, true);
        let b = FunctionBuilder::new(&mut self.context.func, &mut self.builder);
        Lower::new(b, region, slow, self.fused).run(self.isa.frontend_config());
        self.finish()
    }
}

fn signature(convention: CallConv, parameters: usize, returns: bool) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params = vec![AbiParam::new(I64); parameters];
    if returns {
        signature.returns.push(AbiParam::new(I64));
    }
    signature
}

/// The slots that may be newer in variables than in memory after `block`, if `dirty` are before it.
fn dirty_after<A: Arch>(block: &ir::Block<A>, mut dirty: SlotSet) -> SlotSet {
    for op in &block.ops {
        match op {
            Op::Put(slot, _) => dirty.0 |= 1 << slot.index(),
            Op::VecPut(slot, _) => dirty.0 |= 3 << slot.index(),
            Op::Helper(helper, _) => dirty = after_helper(helper.effects, dirty),
            _ => {}
        }
    }
    dirty
}

fn after_helper(effects: Effects, dirty: SlotSet) -> SlotSet {
    let written_back = if effects.stops {
        SlotSet::ALL
    } else {
        effects.reads.and(effects.writes)
    };
    SlotSet(dirty.0 & !written_back.0)
}

/// The slots, and those that make pairs with them.
fn whole_pairs(slots: SlotSet) -> SlotSet {
    const EVEN: u128 = u128::MAX / 3;
    let pairs = (slots.0 | slots.0 >> 1) & EVEN;
    SlotSet(pairs | pairs << 1)
}

/// The blocks of the region that `block` may go on to.
fn successors<A: Arch>(region: &Region<A>, block: &ir::Block<A>) -> Vec<u32> {
    let to = |offset: i64| {
        u32::try_from(offset)
            .ok()
            .filter(|o| region.blocks.contains_key(o))
    };
    match block.end {
        End::Jump(offset) => to(offset).into_iter().collect(),
        End::Branch(_, taken, next) => to(taken).into_iter().chain(to(next)).collect(),
        End::JumpTo(_) => region
            .entries
            .iter()
            .copied()
            .take(RETURN_TARGETS)
            .collect(),
        End::Dispatch(_) => Vec::new(),
    }
}

/// An indirect branch compares its target with at most so many entries of its own region.
const RETURN_TARGETS: usize = 8;

struct Lower<'a, 'r, A: Arch> {
    b: FunctionBuilder<'a>,
    region: &'r Region<A>,
    slow: SlowPaths,
    /// The host has an instruction for fused multiplication and addition.
    fused: bool,
    cpu: clif::Value,
    base: clif::Value,
    context: clif::Value,
    context_unprivileged: clif::Value,
    tlb: clif::Value,
    request: clif::Value,
    slots: HashMap<Slot, Variable>,
    /// Pairs of slots that are one variable, as the region uses them as vectors, by the first.
    vectors: HashMap<Slot, Variable>,
    count: Variable,
    dirty: SlotSet,
    blocks: BTreeMap<u32, clif::Block>,
    values: Vec<Option<clif::Value>>,
    /// The operation is 0 or 1 and stands also as an 8-bit value.
    conditions: HashMap<u32, clif::Value>,
    /// Values that stand also in floating-point registers.
    floats: HashMap<clif::Value, clif::Value>,
    offset: u32,
    /// The offset of the block that is being emitted.
    block: u32,
    /// The rest of an instruction is emitted once more, after which the region is left.
    leaving: bool,
    signatures: HashMap<(bool, usize, bool), SigRef>,
    /// Goes on at the address that is its parameter, with all written back.
    chain: clif::Block,
}

fn plain() -> MemFlagsData {
    MemFlagsData::trusted()
}

fn guest() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

impl<'a, 'r, A: Arch> Lower<'a, 'r, A> {
    fn new(
        mut b: FunctionBuilder<'a>,
        region: &'r Region<A>,
        slow: SlowPaths,
        fused: bool,
    ) -> Self {
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let cpu = b.block_params(entry)[0];
        let count = b.declare_var(I64);
        let chain = b.create_block();
        Lower {
            chain,
            region,
            slow,
            fused,
            cpu,
            base: cpu,
            context: cpu,
            context_unprivileged: cpu,
            tlb: cpu,
            request: cpu,
            slots: HashMap::new(),
            vectors: HashMap::new(),
            count,
            dirty: SlotSet::NONE,
            blocks: BTreeMap::new(),
            values: Vec::new(),
            conditions: HashMap::new(),
            floats: HashMap::new(),
            offset: 0,
            block: 0,
            leaving: false,
            signatures: HashMap::new(),
            b,
        }
    }

    fn field(&mut self, ty: Type, offset: usize) -> clif::Value {
        self.b.ins().load(ty, plain(), self.cpu, offset as i32)
    }

    fn set_field(&mut self, offset: usize, value: clif::Value) {
        self.b.ins().store(plain(), value, self.cpu, offset as i32);
    }

    fn imm(&mut self, value: i64) -> clif::Value {
        self.b.ins().iconst(I64, value)
    }

    fn run(mut self, config: cranelift_codegen::isa::TargetFrontendConfig) {
        let dirty_in = self.analyse();
        self.prologue();
        let region = self.region;
        for (offset, block) in &region.blocks {
            let to = self.blocks[offset];
            self.b.switch_to_block(to);
            self.dirty = dirty_in[offset];
            self.block(block);
        }
        self.chain();
        self.b.seal_all_blocks();
        self.b.finalize(config);
    }

    /// For each block, the slots that may be dirty when it begins.
    fn analyse(&self) -> BTreeMap<u32, SlotSet> {
        let mut dirty: BTreeMap<u32, SlotSet> = self
            .region
            .blocks
            .keys()
            .map(|o| (*o, SlotSet::NONE))
            .collect();
        loop {
            let mut changed = false;
            for (offset, block) in &self.region.blocks {
                let after = dirty_after(block, dirty[offset]);
                for to in successors(self.region, block) {
                    if let Some(before) = dirty.get_mut(&to) {
                        let union = before.and(after);
                        changed |= union != *before;
                        *before = union;
                    }
                }
            }
            if !changed {
                return dirty;
            }
        }
    }

    /// Loads what the region needs and goes to the entry that the caller asked for.
    fn prologue(&mut self) {
        let entry_number = {
            let block = self.b.current_block().expect("the entry block is current");
            self.b.block_params(block)[1]
        };
        let pc = self.field(I64, offset_of!(Cpu<A>, pc));
        self.base = self.b.ins().band_imm_s(pc, !PAGE_MASK as i64);
        self.context = self.field(I64, offset_of!(Cpu<A>, context));
        self.context_unprivileged = self.field(I64, offset_of!(Cpu<A>, context_unprivileged));
        self.tlb = self.field(I64, offset_of!(Cpu<A>, tlb_base));
        self.request = self.field(I64, offset_of!(Cpu<A>, request_word));
        let count = self.field(I64, offset_of!(Cpu<A>, instructions));
        self.b.def_var(self.count, count);

        let (mut used, mut vectors) = (SlotSet::NONE, SlotSet::NONE);
        for op in self.region.blocks.values().flat_map(|b| &b.ops) {
            match op {
                Op::Get(slot) | Op::Put(slot, _) => used.0 |= 1 << slot.index(),
                Op::VecGet(slot) | Op::VecPut(slot, _) => vectors.0 |= 3 << slot.index(),
                _ => {}
            }
        }
        for index in 0..Slot::COUNT as u8 {
            let slot = Slot::new(index);
            if vectors.contains(slot) {
                if slot == slot.pair() {
                    let variable = self.b.declare_var(I64X2);
                    self.vectors.insert(slot, variable);
                    let value = self.load_vector(slot);
                    self.b.def_var(variable, value);
                }
            } else if used.contains(slot) {
                let variable = self.b.declare_var(I64);
                self.slots.insert(slot, variable);
                let value = self.field(I64, 8 * slot.index());
                self.b.def_var(variable, value);
            }
        }

        // Regions may follow each other for ever: each looks for a reason to leave.
        let word = self.b.ins().atomic_load(I32, plain(), self.request);
        let leave = self.b.create_block();
        let stay = self.b.create_block();
        self.b.set_cold_block(leave);
        self.b.ins().brif(word, leave, &[], stay, &[]);
        self.b.switch_to_block(leave);
        self.return_to_dispatcher(pc);
        self.b.switch_to_block(stay);

        for offset in self.region.blocks.keys() {
            self.blocks.insert(*offset, self.b.create_block());
        }
        let first = self
            .region
            .entries
            .first()
            .and_then(|o| self.blocks.get(o))
            .copied();
        let Some(first) = first else {
            let zero = self.imm(DISPATCH as i64);
            self.b.ins().return_(&[zero]);
            return;
        };
        if self.region.entries.len() == 1 {
            self.b.ins().jump(first, &[]);
            return;
        }
        let mut switch = Switch::new();
        for (number, offset) in self.region.entries.iter().enumerate().skip(1) {
            if let Some(block) = self.blocks.get(offset) {
                switch.set_entry(number as u128, *block);
            }
        }
        switch.emit(&mut self.b, entry_number, first);
    }

    fn block(&mut self, block: &ir::Block<A>) {
        self.values = vec![None; block.ops.len()];
        self.conditions.clear();
        self.offset = block.offset;
        self.block = block.offset;
        let count = self.b.use_var(self.count);
        let count = self.b.ins().iadd_imm_s(count, block.instructions as i64);
        self.b.def_var(self.count, count);
        let mut i = 0;
        while let Some(op) = block.ops.get(i) {
            if let [
                Op::LoadPair(address, mem),
                Op::Second,
                Op::Put(low, a),
                Op::Put(high, b),
                ..,
            ] = &block.ops[i..]
                && (a.0 as usize, b.0 as usize) == (i, i + 1)
                && self.load_whole(*address, *mem, (*low, *high), i)
            {
                i += 4;
                continue;
            }
            i += match (op, block.ops.get(i + 1)) {
                (Op::Put(low, a), Some(Op::Put(high, b))) if self.put_pair(*low, *high, *a, *b) => {
                    2
                }
                _ => {
                    self.op(i, op);
                    1
                }
            };
        }
        match block.end {
            End::Jump(to) => self.go(to, block.offset),
            End::Branch(condition, taken, next) => {
                let condition = self.condition(condition);
                let yes = self.b.create_block();
                let no = self.b.create_block();
                self.b.ins().brif(condition, yes, &[], no, &[]);
                self.b.switch_to_block(yes);
                self.go(taken, block.offset);
                self.b.switch_to_block(no);
                self.go(next, block.offset);
            }
            End::JumpTo(target) => {
                let target = self.value(target);
                for offset in successors(self.region, block) {
                    let expected = self.at(offset as i64);
                    let same = self.b.ins().icmp(IntCC::Equal, target, expected);
                    let yes = self.b.create_block();
                    let no = self.b.create_block();
                    self.b.ins().brif(same, yes, &[], no, &[]);
                    self.b.switch_to_block(yes);
                    self.poll_and_go(offset);
                    self.b.switch_to_block(no);
                }
                self.leave(target);
            }
            End::Dispatch(to) => {
                let target = self.at(to);
                self.dispatch(target);
            }
        }
    }

    /// The address at this offset from the page's start.
    fn at(&mut self, offset: i64) -> clif::Value {
        self.b.ins().iadd_imm_s(self.base, offset)
    }

    /// Goes on at `to`, which may be in the region; `from` is where the block began.
    fn go(&mut self, to: i64, from: u32) {
        match u32::try_from(to)
            .ok()
            .filter(|to| self.blocks.contains_key(to))
        {
            Some(to) if to > from => {
                let block = self.blocks[&to];
                self.b.ins().jump(block, &[]);
            }
            Some(to) => self.poll_and_go(to),
            None => {
                let target = self.at(to);
                self.leave(target);
            }
        }
    }

    /// Goes on at a block of the region, unless there is a reason to leave.
    fn poll_and_go(&mut self, to: u32) {
        let word = self.b.ins().atomic_load(I32, plain(), self.request);
        let leave = self.b.create_block();
        self.b.set_cold_block(leave);
        let block = self.blocks[&to];
        self.b.ins().brif(word, leave, &[], block, &[]);
        self.b.switch_to_block(leave);
        let target = self.at(to as i64);
        self.dispatch(target);
    }

    /// Leaves the region; the vCPU goes on at `target`, in the same mode.
    fn leave(&mut self, target: clif::Value) {
        self.write_back(SlotSet::ALL);
        self.b.ins().jump(self.chain, &[target.into()]);
    }

    /// Leaves the region for the dispatcher, which goes on at `target`.
    fn dispatch(&mut self, target: clif::Value) {
        self.write_back(SlotSet::ALL);
        self.return_to_dispatcher(target);
    }

    fn return_to_dispatcher(&mut self, target: clif::Value) {
        self.set_field(offset_of!(Cpu<A>, pc), target);
        let count = self.b.use_var(self.count);
        self.set_field(offset_of!(Cpu<A>, instructions), count);
        let status = self.imm(DISPATCH as i64);
        self.b.ins().return_(&[status]);
    }

    /// The block that looks for a region at the target that it is given.
    fn chain(&mut self) {
        self.b.switch_to_block(self.chain);
        let target = self.b.append_block_param(self.chain, I64);
        self.set_field(offset_of!(Cpu<A>, pc), target);
        let count = self.b.use_var(self.count);
        self.set_field(offset_of!(Cpu<A>, instructions), count);

        let shift = A::INSN_ALIGN.trailing_zeros();
        let index = if shift >= Link::SIZE_LOG2 {
            self.b
                .ins()
                .ushr_imm_u(target, (shift - Link::SIZE_LOG2) as i64)
        } else {
            self.b
                .ins()
                .ishl_imm_u(target, (Link::SIZE_LOG2 - shift) as i64)
        };
        let index = self
            .b
            .ins()
            .band_imm_s(index, ((LINKS - 1) << Link::SIZE_LOG2) as i64);
        let links = self.field(I64, offset_of!(Cpu<A>, links_base));
        let link = self.b.ins().iadd(links, index);
        let pc = self
            .b
            .ins()
            .load(I64, plain(), link, offset_of!(Link, pc) as i32);
        let key = self
            .b
            .ins()
            .load(I64, plain(), link, offset_of!(Link, key) as i32);
        let mode = chain::key(0, self.region.mode) as i64;
        let expected = self.b.ins().bor_imm_s(self.context, mode);
        let other_pc = self.b.ins().bxor(pc, target);
        let other_key = self.b.ins().bxor(key, expected);
        let differs = self.b.ins().bor(other_pc, other_key);
        let unknown = self.b.create_block();
        let known = self.b.create_block();
        self.b.ins().brif(differs, unknown, &[], known, &[]);

        self.b.switch_to_block(known);
        let code = self
            .b
            .ins()
            .load(I64, plain(), link, offset_of!(Link, code) as i32);
        let entry = self
            .b
            .ins()
            .load(I64, plain(), link, offset_of!(Link, entry) as i32);
        let sig = self.b.import_signature(signature(CallConv::Tail, 2, true));
        self.b
            .ins()
            .return_call_indirect(sig, code, &[self.cpu, entry]);

        self.b.switch_to_block(unknown);
        let status = self.imm(DISPATCH as i64);
        self.b.ins().return_(&[status]);
    }

    /// Leaves the region, if the call just made has ended the instruction, or asks to leave behind
    /// it. All is written back. `stores` is the operation, if it may ask that, and its result.
    fn check_status(&mut self, stores: Option<(usize, Option<clif::Value>)>) {
        let status = self.field(I64, offset_of!(Cpu<A>, status));
        let stop = self.b.create_block();
        let go_on = self.b.create_block();
        self.b.set_cold_block(stop);
        self.b.ins().brif(status, stop, &[], go_on, &[]);
        self.b.switch_to_block(stop);
        let zero = self.imm(0);
        self.set_field(offset_of!(Cpu<A>, status), zero);
        if let Some((at, result)) = stores.filter(|_| A::LEAVES_BLOCKS) {
            let leaves = self.b.ins().icmp_imm_s(IntCC::Equal, status, LEAVE as i64);
            let finish = self.b.create_block();
            let stop = self.b.create_block();
            self.b.set_cold_block(finish);
            self.b.set_cold_block(stop);
            self.b.ins().brif(leaves, finish, &[], stop, &[]);
            self.b.switch_to_block(finish);
            if self.leaving {
                self.b.ins().jump(go_on, &[]);
            } else {
                self.finish_insn(at, result);
            }
            self.b.switch_to_block(stop);
        }
        let count = self.b.use_var(self.count);
        self.set_field(offset_of!(Cpu<A>, instructions), count);
        self.b.ins().return_(&[status]);
        self.b.switch_to_block(go_on);
    }

    /// On a cold path: emits once more what is left of the instruction behind operation `at`, and the
    /// way out.
    fn finish_insn(&mut self, at: usize, result: Option<clif::Value>) {
        let region = self.region;
        let block = &region.blocks[&self.block];
        let saved = (self.dirty, self.values.clone(), self.conditions.clone());
        self.leaving = true;
        self.values[at] = result;
        let is_insn = |i: &usize| matches!(block.ops[*i], Op::Insn { .. });
        let next = (at + 1..block.ops.len()).find(is_insn);
        for i in at + 1..next.unwrap_or(block.ops.len()) {
            self.op(i, &block.ops[i]);
        }
        let target = match (next.map(|i| &block.ops[i]), block.end) {
            (Some(Op::Insn { offset, .. }), _) => self.at(*offset as i64),
            (_, End::Jump(to) | End::Dispatch(to)) => self.at(to),
            (_, End::JumpTo(target)) => self.value(target),
            (_, End::Branch(condition, taken, next)) => {
                let condition = self.condition(condition);
                let (taken, next) = (self.at(taken), self.at(next));
                self.b.ins().select(condition, taken, next)
            }
        };
        self.dispatch(target);
        self.leaving = false;
        (self.dirty, self.values, self.conditions) = saved;
    }

    /// Stores the dirty ones of these slots. They stay dirty for what follows: on another path to
    /// the same place they may not have been stored.
    fn write_back(&mut self, slots: SlotSet) {
        let slots = SlotSet(slots.0 & self.dirty.0);
        for index in 0..Slot::COUNT as u8 {
            let slot = Slot::new(index);
            if let Some(variable) = self.vectors.get(&slot).copied() {
                if slots.contains(slot) || slots.contains(slot.next()) {
                    let value = self.b.use_var(variable);
                    self.store_vector(slot, value);
                }
            } else if slots.contains(slot)
                && let Some(variable) = self.slots.get(&slot).copied()
            {
                let value = self.b.use_var(variable);
                self.set_field(8 * slot.index(), value);
            }
        }
    }

    fn set_pc(&mut self) {
        let pc = self.at(self.offset as i64);
        self.set_field(offset_of!(Cpu<A>, pc), pc);
    }

    fn value(&mut self, value: ir::Value) -> clif::Value {
        self.values[value.0 as usize].expect("operands come before their uses")
    }

    /// A value as a condition: not 0.
    fn condition(&mut self, value: ir::Value) -> clif::Value {
        match self.conditions.get(&value.0) {
            Some(condition) => *condition,
            None => self.value(value),
        }
    }

    fn op(&mut self, i: usize, op: &Op<A>) {
        let result = match *op {
            Op::Insn { offset, .. } => {
                self.offset = offset;
                return;
            }
            Op::Imm(value) => self.imm(value as i64),
            Op::Get(slot) => self.get(slot),
            Op::Put(slot, value) => {
                let value = self.value(value);
                self.put(slot, value);
                self.dirty.0 |= 1 << slot.index();
                return;
            }
            Op::Unary(op, a) => self.unary(op, a),
            Op::Binary(op, a, b) => self.binary(op, a, b),
            Op::Compare(op, a, b) => {
                let (a, b) = (self.value(a), self.value(b));
                let code = match op {
                    Cmp::Eq => IntCC::Equal,
                    Cmp::Ne => IntCC::NotEqual,
                    Cmp::Ult => IntCC::UnsignedLessThan,
                    Cmp::Ule => IntCC::UnsignedLessThanOrEqual,
                    Cmp::Slt => IntCC::SignedLessThan,
                    Cmp::Sle => IntCC::SignedLessThanOrEqual,
                };
                let condition = self.b.ins().icmp(code, a, b);
                self.conditions.insert(i as u32, condition);
                self.b.ins().uextend(I64, condition)
            }
            Op::Float(op, format, operands) => self.float(i, op, format, operands),
            Op::Select(condition, a, b) => {
                let condition = self.condition(condition);
                let (a, b) = (self.value(a), self.value(b));
                self.b.ins().select(condition, a, b)
            }
            Op::VecPut(slot, value) => {
                let value = self.value(value);
                self.b.def_var(self.vectors[&slot], value);
                self.dirty.0 |= 3 << slot.index();
                return;
            }
            Op::VecGet(slot) => self.b.use_var(self.vectors[&slot]),
            Op::VecImm(_)
            | Op::VecUnary(..)
            | Op::VecBinary(..)
            | Op::VecShift(..)
            | Op::VecSelect(..)
            | Op::VecShuffle(..)
            | Op::VecWiden(..)
            | Op::VecSplat(..)
            | Op::VecLane(..)
            | Op::VecWithLane(..) => self.vector_op(op),
            Op::Load(address, mem) => self.load(address, mem),
            Op::LoadPair(address, mem) => {
                let (first, second) = self.load_pair(address, mem);
                self.values[i + 1] = Some(second);
                first
            }
            Op::Second => return,
            Op::Store(address, value, mem) => return self.store(i, address, value, mem),
            Op::StorePair(address, a, b, mem) => {
                return self.store_pair(i, address, (a, b), mem);
            }
            Op::Rmw(op, address, operand, mem) => self.rmw(i, op, address, operand, mem),
            Op::CompareExchange(address, expected, new, mem) => {
                self.compare_exchange(i, address, expected, new, mem)
            }
            Op::Fence => {
                self.b.ins().fence();
                return;
            }
            Op::Helper(helper, arguments) => self.helper(i, helper, arguments),
            Op::HelperUnless(condition, value, helper, arguments) => {
                self.helper_unless(condition, value, helper, arguments)
            }
            Op::Pc => self.at(self.offset as i64),
        };
        self.values[i] = Some(result);
    }
}
