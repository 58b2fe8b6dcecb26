//! One instruction by itself in compiled form, for tests that compare it with the interpreter and
//! with other implementations.

use crate::arch::{Arch, Insn};
use crate::compile::{self, CompileError, Compiler, Region};
use crate::cpu::Cpu;
use crate::emit::Stop;
use crate::ir;
use crate::region::{Prepared, Regions};
use crate::tlb::PAGE_MASK;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A place for one compiled instruction.
pub struct Single<A: Arch> {
    compiler: Compiler,
    prepared: Prepared,
    code: Option<NonNull<u8>>,
    arch: PhantomData<A>,
}

impl<A: Arch> Single<A> {
    /// An empty place; fails where no code can be made.
    pub fn new() -> Result<Single<A>, CompileError> {
        let prepared = Regions::prepare::<A>();
        Ok(Single {
            compiler: Compiler::new()?,
            prepared: prepared.ok_or(CompileError("no memory for code".into()))?,
            code: None,
            arch: PhantomData,
        })
    }

    /// Compiles the instruction that is at this address, in place of the one before.
    pub fn prepare(&mut self, mode: u32, pc: u64, insn: &Insn<A>) -> Result<(), CompileError> {
        let offset = (pc & PAGE_MASK) as u32;
        let region = Region {
            blocks: [(offset, ir::record(mode, offset, &[*insn]))].into(),
            entries: vec![offset],
            mode,
        };
        let code = self.compiler.region(&region, self.prepared.slow)?;
        self.prepared.arena.truncate(self.prepared.keep);
        self.code = self.prepared.arena.add(&code);
        Ok(())
    }

    /// Runs it; [`Cpu::pc`] must be at the address that it was prepared for, or at the same place
    /// in another page. Nothing is done if none was prepared.
    pub fn run(&mut self, cpu: &mut Cpu<A>) -> Result<(), Stop> {
        let Some(code) = self.code else {
            return Ok(());
        };
        // The code goes on to no other region, as the vCPU knows of none.
        compile::outcome((self.prepared.enter)(
            (&raw mut *cpu).cast(),
            0,
            code.as_ptr(),
        ))
    }
}
