//! The block cache: decoded instructions, kept by guest-physical page and mode.
//!
//! Nothing in a block depends on the virtual address it runs at, so processes share the blocks of
//! the code they share, and a change of translation costs none. A block ends at a branch, at the
//! end of its page, or after [`MAX_INSTRUCTIONS`].
//!
//! Whether the code is still what was decoded is asked once in each *epoch*: a new epoch begins
//! when somebody may have changed code (KVM_RUN, an instruction-cache maintenance operation), and in
//! it a block compares its source bytes before its first run.

use crate::arch::{Arch, Insn};
use crate::tlb::{PAGE_MASK, PAGE_SIZE};
use std::collections::HashMap;
use understudy_memory::host;

/// A block ends after this many instructions.
pub const MAX_INSTRUCTIONS: usize = 64;

/// A block of instructions, as decoded.
pub struct Block<A: Arch> {
    /// The instructions.
    pub insns: Box<[Insn<A>]>,
    /// The bytes they were decoded from.
    source: Box<[u8]>,
    epoch: u64,
    /// How often it ran in the interpreter.
    pub(crate) count: u32,
    /// The compiled region that it is an entry of.
    pub(crate) region: Option<crate::region::Entry>,
}

/// The blocks of one page in one mode.
pub struct Page<A: Arch> {
    /// By offset from the start of the page, in units of [`Arch::INSN_ALIGN`].
    blocks: Box<[Option<Box<Block<A>>>]>,
    /// Increases whenever a block is decoded anew: what was compiled before is void.
    version: u32,
}

/// Index of a [`Page`] in a [`Cache`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageIndex(u32);

/// All blocks of a vCPU.
pub struct Cache<A: Arch> {
    pages: Vec<Page<A>>,
    index: HashMap<(u64, u32), PageIndex>,
    blocks: usize,
}

/// Blocks that a cache holds at most; then it is emptied.
const CAPACITY: usize = 64 * 1024;

impl<A: Arch> Default for Cache<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Arch> Cache<A> {
    /// An empty cache.
    pub fn new() -> Cache<A> {
        Cache {
            pages: Vec::new(),
            index: HashMap::new(),
            blocks: 0,
        }
    }

    /// Whether the cache holds as much as it may and must be emptied.
    pub fn full(&self) -> bool {
        self.blocks >= CAPACITY
    }

    /// Forgets all blocks; every [`PageIndex`] is void.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The page at this physical address in this mode.
    pub fn page(&mut self, physical: u64, mode: u32) -> PageIndex {
        *self.index.entry((physical, mode)).or_insert_with(|| {
            let blocks = (0..PAGE_SIZE / A::INSN_ALIGN).map(|_| None).collect();
            self.pages.push(Page { blocks, version: 0 });
            PageIndex(self.pages.len() as u32 - 1)
        })
    }

    /// The block at `offset` in `page`, which is decoded if need be, and again if its source,
    /// at `host`, is not the same in this epoch.
    ///
    /// # Safety
    ///
    /// `host` is the address of the page in the host, as the architecture's fetch gave it.
    #[inline(always)]
    pub unsafe fn block(
        &mut self,
        page: PageIndex,
        offset: u64,
        mode: u32,
        host: *const u8,
        epoch: u64,
    ) -> Option<&mut Block<A>> {
        let slot = &mut self.pages[page.0 as usize].blocks
            [((offset & PAGE_MASK) / A::INSN_ALIGN) as usize];
        let current = match slot {
            Some(block) if block.epoch == epoch => true,
            // SAFETY: passed on from the caller.
            Some(block) => unsafe { block.check(offset, host, epoch) },
            None => false,
        };
        if !current {
            // SAFETY: passed on from the caller.
            let block = unsafe { decode(offset, mode, host, epoch) }?;
            let fresh = self.slot(page, offset).replace(Box::new(block)).is_none();
            self.blocks += fresh as usize;
            self.pages[page.0 as usize].version += !fresh as u32;
        }
        self.slot(page, offset).as_deref_mut()
    }
}

impl<A: Arch> Cache<A> {
    fn slot(&mut self, page: PageIndex, offset: u64) -> &mut Option<Box<Block<A>>> {
        &mut self.pages[page.0 as usize].blocks[((offset & PAGE_MASK) / A::INSN_ALIGN) as usize]
    }

    /// The version of the page's code.
    pub(crate) fn version(&self, page: PageIndex) -> u32 {
        self.pages[page.0 as usize].version
    }

    /// The block at `offset` in `page`, if it has been decoded.
    pub(crate) fn peek(&mut self, page: PageIndex, offset: u32) -> Option<&mut Block<A>> {
        self.slot(page, offset as u64).as_deref_mut()
    }

    /// Whether the block at `offset` is what it was when it was decoded, in this epoch. It is
    /// forgotten if not.
    ///
    /// # Safety
    ///
    /// As for [`Cache::block`].
    pub(crate) unsafe fn unchanged(
        &mut self,
        page: PageIndex,
        offset: u64,
        host: *const u8,
        epoch: u64,
    ) -> bool {
        let slot = self.slot(page, offset);
        let same = match slot {
            // SAFETY: passed on from the caller.
            Some(block) => block.epoch == epoch || unsafe { block.check(offset, host, epoch) },
            None => return false,
        };
        if !same {
            // It must not get into a region again.
            *slot = None;
            self.blocks -= 1;
            self.pages[page.0 as usize].version += 1;
        }
        same
    }
}

impl<A: Arch> Block<A> {
    /// Bytes of the block.
    pub(crate) fn length(&self) -> u32 {
        self.source.len() as u32
    }

    /// Compares the source; the block is good for this epoch if it is the same.
    ///
    /// # Safety
    ///
    /// As for [`Cache::block`].
    #[cold]
    unsafe fn check(&mut self, offset: u64, host: *const u8, epoch: u64) -> bool {
        let host = host.wrapping_add((offset & PAGE_MASK) as usize);
        // SAFETY: passed on from the caller; the source lies in the page.
        let same = unsafe { is_same(&self.source, host) };
        if same {
            self.epoch = epoch;
        }
        same
    }
}

/// Whether this is the code. Most blocks are short: they are compared in a few loads.
///
/// # Safety
///
/// `code` and the bytes after it lie in one page that the architecture's fetch gave.
unsafe fn is_same(source: &[u8], code: *const u8) -> bool {
    let same = |at: usize, expected: u64, bytes: usize| {
        // SAFETY: passed on from the caller; the access is guarded.
        let now = unsafe { host::load(code.wrapping_add(at), bytes, host::Order::Relaxed) };
        now == Ok(expected)
    };
    let (words, rest) = source.as_chunks::<8>();
    let tail = 8 * words.len();
    let mut words = words.iter().map(|word| u64::from_ne_bytes(*word)).zip(0..);
    let mut rest = rest.iter().zip(tail..);
    words.all(|(word, n)| same(8 * n, word, 8))
        && rest.all(|(byte, at)| same(at, u64::from(*byte), 1))
}

/// Reads code.
///
/// # Safety
///
/// `from` and the bytes after it lie in one page that the architecture's fetch gave.
unsafe fn read(from: *const u8, to: &mut [u8]) -> Result<(), host::HostFault> {
    // SAFETY: passed on from the caller; the access is guarded.
    unsafe { host::copy_from(from, to) }
}

/// Decodes the block at `offset`; none if the page cannot be read.
///
/// # Safety
///
/// As for [`Cache::block`].
#[cold]
unsafe fn decode<A: Arch>(offset: u64, mode: u32, host: *const u8, epoch: u64) -> Option<Block<A>> {
    let offset = (offset & PAGE_MASK) as usize;
    let mut source = vec![0; (PAGE_SIZE as usize - offset).min(MAX_INSTRUCTIONS * 16)];
    // SAFETY: passed on from the caller; the bytes lie in the page.
    unsafe { read(host.wrapping_add(offset), &mut source) }.ok()?;
    let mut insns = Vec::new();
    let mut at = 0;
    while insns.len() < MAX_INSTRUCTIONS && at < source.len() {
        let insn = A::decode(mode, &source[at..]);
        at += insn.length as usize;
        insns.push(insn);
        if insn.def.ends_block {
            break;
        }
    }
    source.truncate(at);
    Some(Block {
        insns: insns.into(),
        source: source.into(),
        epoch,
        count: 0,
        region: None,
    })
}
