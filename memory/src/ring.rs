#![forbid(unsafe_code)]
//! Dirty rings (KVM API 8.29): a page that a vCPU dirties goes into that vCPU's ring.
//!
//! A store to guest memory does not say who makes it, and nearly always nobody has to know. So, as in
//! KVM, a vCPU's thread says so for itself while it is in one of the vCPU's ioctls, and whoever marks
//! a page of a slot with a log asks.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

/// A vCPU's ring, as memory sees it.
pub trait DirtyRing: Send + Sync {
    /// Adds a page of a slot (number and address space as in [`crate::UserRegion::slot`]).
    fn push(&self, slot: u32, page: u64);

    /// Whether user space has to make room before the vCPU runs on. There is then still room for what
    /// the instruction at hand dirties.
    fn is_full(&self) -> bool;
}

thread_local! {
    static CURRENT: Cell<Option<Arc<dyn DirtyRing>>> = const { Cell::new(None) };
}

/// While it lives, this thread works for the vCPU whose ring it is.
#[must_use = "the ring is in use until this is dropped"]
pub struct RingInUse {
    before: Option<Arc<dyn DirtyRing>>,
    /// Of this thread.
    here: PhantomData<*const ()>,
}

impl RingInUse {
    /// From now on pages that this thread dirties go into that ring.
    pub fn begin(ring: Arc<dyn DirtyRing>) -> RingInUse {
        RingInUse {
            before: CURRENT.replace(Some(ring)),
            here: PhantomData,
        }
    }
}

impl Drop for RingInUse {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// Calls `f` with the ring of the vCPU that this thread works for, if there is one.
pub(crate) fn with_current<R>(f: impl FnOnce(&dyn DirtyRing) -> R) -> Option<R> {
    let ring = CURRENT.take()?;
    let result = f(&*ring);
    CURRENT.set(Some(ring));
    Some(result)
}

/// [`DirtyRing::is_full`] of that ring; false if there is none.
pub fn is_full() -> bool {
    with_current(|ring| ring.is_full()).unwrap_or(false)
}
