//! The run loop of a vCPU: from block to block, until something is to be asked of the caller.

use crate::arch::{Arch, Fetch};
use crate::block::{Cache, PageIndex};
use crate::compile;
use crate::cpu::Cpu;
use crate::emit::Stop;
use crate::region::Regions;
use crate::request::{COMPILED, Requests};
use crate::sparse::Sparse;
use crate::tlb::{PAGE_MASK, PAGE_SIZE};
use std::sync::Arc;

/// Entries of the TLB for instruction fetches.
const FETCH_ENTRIES: usize = 256;

#[derive(Clone, Copy)]
struct FetchEntry {
    /// Virtual page and context, as in [`crate::tlb`].
    tag: u64,
    mode: u32,
    page: PageIndex,
    fetch: Fetch,
}

/// A vCPU with all that it runs by.
pub struct Engine<A: Arch> {
    /// The state.
    pub cpu: Cpu<A>,
    cache: Cache<A>,
    /// By page, and one more for a translation that may not be kept.
    fetches: Sparse<Option<FetchEntry>, { FETCH_ENTRIES + 1 }>,
    regions: Regions,
    tier: Tier,
    epoch: u64,
}

/// How code is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// Interpreted, always.
    Interpret,
    /// Compiled when a block runs for the so-many-th time, 1 being the first, and waited for.
    Compile(u32),
    /// Interpreted until it has run so often, then compiled on another thread.
    Adaptive(u32),
}

impl Default for Tier {
    fn default() -> Self {
        Tier::Adaptive(2000)
    }
}

impl Tier {
    /// What the environment variable `UNDERSTUDY_TIER` says: `interpret`, `compile` (each block, when
    /// it first runs) or `adaptive`; the default for anything else, and without it.
    pub fn from_environment() -> Tier {
        match std::env::var("UNDERSTUDY_TIER").as_deref() {
            Ok("interpret") => Tier::Interpret,
            Ok("compile") => Tier::Compile(1),
            _ => Tier::default(),
        }
    }
}

// SAFETY: the raw pointers in `fetches` are addresses of guest memory, used under the same rules on
// any thread.
unsafe impl<A: Arch> Send for Engine<A> where A::State: Send {}

impl<A: Arch> Engine<A> {
    /// A vCPU with this state that others reach by `requests`.
    pub fn new(state: A::State, requests: Arc<Requests>) -> Engine<A> {
        Engine {
            regions: Regions::new(requests.clone()),
            tier: Tier::from_environment(),
            cpu: Cpu::new(state, requests),
            cache: Cache::new(),
            fetches: Sparse::new(),
            epoch: 0,
        }
    }

    /// Decides how code is run from now on.
    pub fn set_tier(&mut self, tier: Tier) {
        self.tier = tier;
        self.clear();
    }

    /// Forgets all that was decoded and compiled.
    fn clear(&mut self) {
        self.cache.clear();
        self.regions.clear();
        self.flush_fetches();
    }

    fn flush_fetches(&mut self) {
        self.fetches.clear();
        self.cpu.links.clear();
    }

    /// Runs until there is something to ask of the caller; the architecture has noted what.
    ///
    /// Each call begins a new epoch, as the caller may have written to guest memory.
    pub fn run(&mut self) {
        self.cpu.new_epoch();
        self.cpu.requests().enter();
        if A::service(&mut self.cpu) != Err(Stop::Exit) {
            while self.turn().is_ok() {}
        }
        self.cpu.requests().leave();
    }

    /// Runs until the next time that the dispatcher has to look around.
    fn turn(&mut self) -> Result<(), Stop> {
        loop {
            if self.cpu.requests_pending() {
                if self.cpu.requests().take(COMPILED) != 0 && !self.regions.collect(&mut self.cache)
                {
                    self.clear();
                }
                match A::service(&mut self.cpu) {
                    Err(Stop::Exit) => return Err(Stop::Exit),
                    Ok(()) | Err(Stop::Redirect) => {}
                }
            }
            if self.cpu.take_fetch_flush() {
                self.flush_fetches();
            }
            if self.epoch != self.cpu.epoch() {
                self.epoch = self.cpu.epoch();
                self.cpu.links.clear();
            }
            self.cpu.leave = false;
            if A::stepping(&self.cpu) {
                self.step()?;
                continue;
            }
            match self.block() {
                Ok(()) | Err(Stop::Redirect) => {}
                Err(Stop::Exit) => return Err(Stop::Exit),
            }
        }
    }

    /// The page that `pc` is in: its index in `fetches`.
    #[inline(always)]
    fn fetch(&mut self) -> Result<usize, Stop> {
        let mode = A::mode(&self.cpu);
        self.cpu.mode = mode;
        let pc = self.cpu.pc;
        let tag = pc & !PAGE_MASK | self.cpu.context;
        let index = (pc / PAGE_SIZE) as usize % FETCH_ENTRIES;
        match self.fetches.get(index) {
            Some(entry)
                if entry.tag == tag && entry.mode == mode && pc & (A::INSN_ALIGN - 1) == 0 =>
            {
                Ok(index)
            }
            _ => self.fetch_slow(tag, mode, index),
        }
    }

    #[cold]
    fn fetch_slow(&mut self, tag: u64, mode: u32, index: usize) -> Result<usize, Stop> {
        let fetch = A::fetch(&mut self.cpu)?;
        if self.cache.full() {
            self.clear();
        }
        let page = self.cache.page(fetch.physical, mode);
        let entry = FetchEntry {
            tag,
            mode,
            page,
            fetch,
        };
        let index = if fetch.cache { index } else { FETCH_ENTRIES };
        self.fetches.set(index, Some(entry));
        Ok(index)
    }

    /// Runs one block.
    #[inline(always)]
    fn block(&mut self) -> Result<(), Stop> {
        let index = self.fetch()?;
        // Used where it is: to copy it costs as much as a short block.
        let Some(entry) = self.fetches.get(index) else {
            return Ok(());
        };
        if entry.fetch.careful {
            return self.one(index);
        }
        let (mode, host, page) = (entry.mode, entry.fetch.host, entry.page);
        // SAFETY: `host` is what the architecture's fetch gave; entries are flushed when the
        // translation changes.
        let block = unsafe {
            self.cache
                .block(entry.page, self.cpu.pc, mode, host, self.epoch)
        };
        let Some(block) = block else {
            let pc = self.cpu.pc;
            return Err(A::host_fault(&mut self.cpu, pc));
        };
        if let Some(region) = block.region {
            let (cache, cpu) = (&mut self.cache, &mut self.cpu);
            // SAFETY: `host` as above; the vCPU is at the block.
            if let Some(status) = unsafe {
                self.regions
                    .run(cache, cpu, region, &entry.fetch, self.epoch)
            } {
                return compile::outcome(status);
            }
            return self.out_of_date(page);
        }
        block.count += 1;
        let hot = match self.tier {
            Tier::Adaptive(threshold) => block.count == threshold,
            Tier::Compile(count) => block.count == count,
            Tier::Interpret => false,
        };
        if hot {
            let offset = (self.cpu.pc & PAGE_MASK) as u32;
            let now = matches!(self.tier, Tier::Compile(_));
            if !self
                .regions
                .request(&mut self.cache, page, mode, offset, now)
            {
                self.clear();
            }
            return Ok(());
        }
        interpret(&mut self.cpu, &block.insns)
    }

    /// The block at hand is as it was, but others of its region have changed.
    #[cold]
    fn out_of_date(&mut self, page: PageIndex) -> Result<(), Stop> {
        let offset = (self.cpu.pc & PAGE_MASK) as u32;
        if let Some(block) = self.cache.peek(page, offset) {
            block.region = None;
            block.count = 0;
        }
        Ok(())
    }

    /// Runs one instruction by itself, between the architecture's two hooks.
    fn one(&mut self, index: usize) -> Result<(), Stop> {
        let Some(entry) = *self.fetches.get(index) else {
            return Ok(());
        };
        A::before_insn(&mut self.cpu)?;
        let (mode, host) = (entry.mode, entry.fetch.host);
        // SAFETY: as in `block`.
        let block = unsafe {
            self.cache
                .block(entry.page, self.cpu.pc, mode, host, self.epoch)
        };
        let result = match block {
            Some(block) => interpret(&mut self.cpu, &block.insns[..1]),
            None => {
                let pc = self.cpu.pc;
                Err(A::host_fault(&mut self.cpu, pc))
            }
        };
        A::after_insn(&mut self.cpu, result.err());
        result
    }

    /// One instruction while the architecture says that it is stepping.
    fn step(&mut self) -> Result<(), Stop> {
        let result = match self.fetch() {
            Ok(index) => self.one(index),
            Err(stop) => {
                A::after_insn(&mut self.cpu, Some(stop));
                Err(stop)
            }
        };
        match result {
            Ok(()) | Err(Stop::Redirect) => Ok(()),
            Err(Stop::Exit) => Err(Stop::Exit),
        }
    }
}

/// Runs decoded instructions one after the other.
#[inline(always)]
fn interpret<A: Arch>(cpu: &mut Cpu<A>, insns: &[crate::arch::Insn<A>]) -> Result<(), Stop> {
    cpu.instructions += insns.len() as u64;
    for insn in insns {
        cpu.length = insn.length as u64;
        (insn.interpret)(cpu, &insn.operands)?;
        cpu.pc = cpu.pc.wrapping_add(insn.length as u64);
        if A::LEAVES_BLOCKS && cpu.leave {
            break;
        }
    }
    Ok(())
}
