//! Which blocks are compiled together, where their code is, and the thread that makes it.
//!
//! A region begins at a block that has become hot and takes in the blocks of the same page that it
//! reaches and that have run at least once; what never ran stays outside. It may be entered at its
//! first block and where a call or a trip through the dispatcher comes back to.

use crate::arch::{Arch, Fetch};
use crate::block::{Cache, PageIndex};
use crate::chain::{self, Link};
use crate::code::Arena;
use crate::compile::{CompileError, Compiler, Enter, Region, SlowPaths};
use crate::cpu::Cpu;
use crate::ir::{self, End};
use crate::request::{COMPILED, Requests};
use crate::tlb::PAGE_SIZE;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Blocks of a region at most.
const MAX_BLOCKS: usize = 48;
/// Instructions of a region at most.
const MAX_INSTRUCTIONS: u32 = 400;

/// What a block knows of the region that it is an entry of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    region: u32,
    number: u32,
}

struct Compiled {
    code: NonNull<u8>,
    page: PageIndex,
    /// The page's version that it was made from.
    version: u32,
    /// The region's blocks: each must be what it was, in the epoch it is run in.
    blocks: Box<[u32]>,
    epoch: u64,
}

/// A region on its way through the compiler.
struct Job {
    generation: u64,
    page: PageIndex,
    version: u32,
    blocks: Box<[u32]>,
    entries: Vec<u32>,
    code: Result<Vec<u8>, CompileError>,
}

/// An arena with what all regions need.
pub(crate) struct Prepared {
    pub(crate) arena: Arena,
    pub(crate) slow: SlowPaths,
    pub(crate) enter: Enter,
    /// Bytes of the arena that are not regions.
    pub(crate) keep: usize,
}

/// Hot code of a vCPU.
pub(crate) struct Regions {
    requests: Arc<Requests>,
    compiled: Vec<Compiled>,
    arena: Option<Prepared>,
    /// Increases whenever the block cache is emptied: older jobs are void.
    generation: u64,
    done: Arc<Mutex<Vec<Job>>>,
    /// No code can be made on this host, or for want of memory.
    disabled: bool,
}

type Task = Box<dyn FnOnce(&mut Compiler) + Send>;

/// The compiler's thread, one for the process; none where the host cannot compile.
fn compiler_thread() -> Option<&'static Sender<Task>> {
    static THREAD: OnceLock<Option<Sender<Task>>> = OnceLock::new();
    THREAD
        .get_or_init(|| {
            let mut compiler = Compiler::new().ok()?;
            let (sender, receiver): (Sender<Task>, Receiver<Task>) = channel();
            std::thread::Builder::new()
                .name("understudy-compiler".into())
                .spawn(move || {
                    block_signals();
                    for task in receiver {
                        task(&mut compiler);
                    }
                })
                .ok()?;
            Some(sender)
        })
        .as_ref()
}

/// The program's signals are not for a thread of ours.
fn block_signals() {
    // SAFETY: the set is initialised before it is used; blocking signals in this thread is all.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

impl Regions {
    pub(crate) fn new(requests: Arc<Requests>) -> Self {
        Regions {
            requests,
            compiled: Vec::new(),
            arena: None,
            generation: 0,
            done: Arc::default(),
            disabled: false,
        }
    }

    /// The block cache has been emptied: so are the regions.
    pub(crate) fn clear(&mut self) {
        self.compiled.clear();
        self.generation += 1;
        if let Some(prepared) = &mut self.arena {
            prepared.arena.truncate(prepared.keep);
        }
    }

    /// The arena, once it is needed.
    fn arena<A: Arch>(&mut self) -> Option<SlowPaths> {
        if self.arena.is_none() && !self.disabled {
            self.arena = Self::prepare::<A>();
            self.disabled = self.arena.is_none();
        }
        self.arena.as_ref().map(|prepared| prepared.slow)
    }

    pub(crate) fn prepare<A: Arch>() -> Option<Prepared> {
        let mut arena = Arena::new().ok()?;
        let mut compiler = Compiler::new().ok()?;
        let [load, load_pair, store, store_pair, helper] = compiler.slow_paths::<A>().ok()?;
        let enter = arena.add(&compiler.enter().ok()?)?;
        // SAFETY: the code was made for this signature by `Compiler::enter`.
        let enter = unsafe { std::mem::transmute::<NonNull<u8>, Enter>(enter) };
        let mut add = |code: Vec<u8>| Some(arena.add(&code)?.as_ptr() as u64);
        let slow = SlowPaths {
            load: add(load)?,
            load_pair: add(load_pair)?,
            store: add(store)?,
            store_pair: add(store_pair)?,
            helper: add(helper)?,
        };
        let keep = arena.used();
        Some(Prepared {
            arena,
            slow,
            enter,
            keep,
        })
    }

    /// Has the region that begins at `offset` compiled; `now` waits for it. False if there was no
    /// room: then the block cache and the regions must be emptied.
    #[cold]
    #[inline(never)]
    pub(crate) fn request<A: Arch>(
        &mut self,
        cache: &mut Cache<A>,
        page: PageIndex,
        mode: u32,
        offset: u32,
        now: bool,
    ) -> bool {
        let Some(slow) = self.arena::<A>() else {
            return true;
        };
        let region = gather(cache, page, mode, offset);
        let blocks = region.blocks.keys().copied().collect();
        let entries = region.entries.clone();
        let mut job = Job {
            generation: self.generation,
            page,
            version: cache.version(page),
            blocks,
            entries,
            code: Ok(Vec::new()),
        };
        if now {
            job.code = Compiler::new().and_then(|mut c| c.region(&region, slow));
            return self.install(cache, job);
        }
        let (done, requests) = (self.done.clone(), self.requests.clone());
        let task = move |compiler: &mut Compiler| {
            job.code = compiler.region(&region, slow);
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(job);
            requests.post(COMPILED);
        };
        match compiler_thread().map(|t| t.send(Box::new(task))) {
            Some(Ok(())) => {}
            _ => self.disabled = true,
        }
        true
    }

    /// Takes over what the compiler's thread has made. False if there was no room: then the block
    /// cache and the regions must be emptied.
    #[cold]
    #[inline(never)]
    pub(crate) fn collect<A: Arch>(&mut self, cache: &mut Cache<A>) -> bool {
        let jobs = std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner));
        jobs.into_iter().all(|job| self.install(cache, job))
    }

    fn install<A: Arch>(&mut self, cache: &mut Cache<A>, job: Job) -> bool {
        if job.generation != self.generation || job.version != cache.version(job.page) {
            return true;
        }
        // What cannot be compiled goes on being interpreted.
        let (Ok(code), Some(prepared)) = (job.code, &mut self.arena) else {
            return true;
        };
        let Some(code) = prepared.arena.add(&code) else {
            return false;
        };
        let region = self.compiled.len() as u32;
        self.compiled.push(Compiled {
            code,
            page: job.page,
            version: job.version,
            blocks: job.blocks,
            epoch: 0,
        });
        for (number, offset) in job.entries.iter().enumerate() {
            if let Some(block) = cache.peek(job.page, *offset) {
                block.region = Some(Entry {
                    region,
                    number: number as u32,
                });
            }
        }
        true
    }

    /// Runs a region, if its source is still what it was; none if it is not.
    ///
    /// # Safety
    ///
    /// `fetch` is what the architecture said of the page, and `cpu` is the vCPU of this cache at the entry's block.
    #[inline(always)]
    pub(crate) unsafe fn run<A: Arch>(
        &mut self,
        cache: &mut Cache<A>,
        cpu: &mut Cpu<A>,
        entry: Entry,
        fetch: &Fetch,
        epoch: u64,
    ) -> Option<u64> {
        let region = self.compiled.get_mut(entry.region as usize)?;
        if region.epoch != epoch {
            for offset in &region.blocks {
                // SAFETY: passed on from the caller.
                if !unsafe { cache.unchanged(region.page, *offset as u64, fetch.host, epoch) } {
                    return None;
                }
            }
            // A block that has been decoded anew is unchanged since, but not what was compiled.
            if region.version != cache.version(region.page) {
                return None;
            }
            region.epoch = epoch;
        }
        let code = region.code.as_ptr().cast_const();
        let number = entry.number as u64;
        let key = chain::key(cpu.context, cpu.mode);
        cpu.links.insert(
            Link {
                pc: cpu.pc,
                key,
                code,
                entry: number,
            },
            A::INSN_ALIGN,
        );
        let enter = self.arena.as_ref()?.enter;
        Some(enter((&raw mut *cpu).cast(), number, code))
    }
}

/// Gathers the region that begins at `offset`.
fn gather<A: Arch>(cache: &mut Cache<A>, page: PageIndex, mode: u32, offset: u32) -> Region<A> {
    let mut blocks = BTreeMap::new();
    let mut entries = vec![offset];
    let mut instructions = 0;
    let mut todo = std::collections::VecDeque::from([offset]);
    while let Some(offset) = todo.pop_front() {
        if blocks.contains_key(&offset) {
            continue;
        }
        let Some(block) = cache.peek(page, offset) else {
            continue;
        };
        let recorded = ir::record(mode, offset, &block.insns);
        let end = offset + block.length();
        instructions += recorded.instructions;
        let (next, comes_back) = match recorded.end {
            End::Jump(to) => (vec![to], to != end as i64),
            End::Branch(_, taken, next) => (vec![taken, next], false),
            End::JumpTo(_) | End::Dispatch(_) => (vec![], true),
        };
        blocks.insert(offset, recorded);
        if blocks.len() >= MAX_BLOCKS || instructions >= MAX_INSTRUCTIONS {
            break;
        }
        let within = |to: &i64| (0..PAGE_SIZE as i64).contains(to);
        todo.extend(next.into_iter().filter(within).map(|to| to as u32));
        if comes_back && within(&(end as i64)) && cache.peek(page, end).is_some() {
            if !entries.contains(&end) {
                entries.push(end);
            }
            todo.push_back(end);
        }
    }
    entries.retain(|entry| blocks.contains_key(entry));
    Region {
        blocks,
        entries,
        mode,
    }
}
