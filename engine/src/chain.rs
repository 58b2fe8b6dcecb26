//! How compiled code gets from one region to the next without the dispatcher.
//!
//! A small cache, by target address, of the regions that the dispatcher has entered lately. An entry
//! is good for one mode and TLB context. All are forgotten when a new epoch begins, when a fetch
//! translation is forgotten, and when regions go.

use crate::sparse::{Item, Sparse};

/// Number of entries, a power of two.
pub(crate) const LINKS: usize = 1024;

/// One entry. Compiled code knows the layout.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Link {
    /// The target's virtual address.
    pub(crate) pc: u64,
    /// What [`key`] makes of context and mode.
    pub(crate) key: u64,
    /// The region's code.
    pub(crate) code: *const u8,
    /// The number of its entry.
    pub(crate) entry: u64,
}

impl Link {
    /// Base-2 logarithm of an entry's size.
    pub(crate) const SIZE_LOG2: u32 = size_of::<Link>().trailing_zeros();
}

impl Item for Link {
    /// No context has this many bits set: equal to no key.
    const VACANT: Link = Link {
        pc: 0,
        key: !0,
        code: std::ptr::null(),
        entry: 0,
    };

    fn is_vacant(&self) -> bool {
        self.key == Link::VACANT.key
    }
}

/// Context and mode in one word.
pub(crate) const fn key(context: u64, mode: u32) -> u64 {
    context | (mode as u64) << 12
}

/// A vCPU's links: every KVM_RUN forgets them.
pub(crate) struct Links(Sparse<Link, LINKS>);

impl Links {
    pub(crate) fn new() -> Links {
        Links(Sparse::new())
    }

    pub(crate) fn base(&self) -> *const Link {
        self.0.base()
    }

    /// Keeps a link; `align` is that of instructions.
    pub(crate) fn insert(&mut self, link: Link, align: u64) {
        self.0.set((link.pc / align) as usize % LINKS, link);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
