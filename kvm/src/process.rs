//! Which process this is: a VM belongs to the process that made it, and not to one that it forks.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// A number that each fork changes in the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Generation {
    /// This process's.
    pub(crate) fn now() -> Generation {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| {
            // SAFETY: the handler only adds to an atomic. That the call fails means that a child
            // takes its parent's VMs for its own, which harms only the two.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
        Generation(GENERATION.load(Ordering::Relaxed))
    }
}

unsafe extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
