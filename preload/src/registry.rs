//! Which of the process's descriptors stand for objects of KVM's.
//!
//! Looked up at every `close`, `read` and `ioctl` of the program, by handlers of signals too: a
//! lookup takes no lock, and a change is a new table that takes the old one's place.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI32, Ordering};

use arc_swap::ArcSwap;
use understudy_kvm::Object;

use crate::pass_through;

/// What a descriptor stands for.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// An object of Understudy's KVM.
    Ours(Object),
    /// One of the kernel's, to which proposals are added.
    Host(pass_through::Object),
}

type Table = HashMap<RawFd, Known>;

static TABLE: LazyLock<ArcSwap<Table>> = LazyLock::new(ArcSwap::default);

/// The process whose table it is. The child of a `vfork` runs in its parent's memory until it
/// calls `exec`: what it does to its descriptors must not change its parent's table.
static OWNER: AtomicI32 = AtomicI32::new(0);

/// Has the child of a `fork` own its copy of the table.
pub(crate) fn watch_forks() {
    unsafe extern "C" fn own() {
        // SAFETY: no condition.
        OWNER.store(unsafe { libc::getpid() }, Ordering::Relaxed);
    }
    // SAFETY: the handler is async-signal-safe.
    unsafe {
        own();
        libc::pthread_atfork(None, None, Some(own));
    }
}

fn is_owner() -> bool {
    // SAFETY: no condition.
    OWNER.load(Ordering::Relaxed) == unsafe { libc::getpid() }
}

/// What a descriptor stands for.
pub(crate) fn find(fd: RawFd) -> Option<Known> {
    TABLE.load().get(&fd).cloned()
}

/// The object of ours that it stands for.
pub(crate) fn ours(fd: RawFd) -> Option<Object> {
    match find(fd)? {
        Known::Ours(object) => Some(object),
        Known::Host(_) => None,
    }
}

/// Whether a descriptor stands for anything.
pub(crate) fn has(fd: RawFd) -> bool {
    TABLE.load().contains_key(&fd)
}

/// Whether no descriptor stands for anything.
pub(crate) fn is_empty() -> bool {
    TABLE.load().is_empty()
}

/// From now on the descriptor stands for that object.
pub(crate) fn insert(fd: RawFd, object: Known) {
    if is_owner() {
        TABLE.rcu(|table| {
            let mut table = Table::clone(table);
            table.insert(fd, object.clone());
            table
        });
    }
}

/// From now on the descriptor stands for nothing, as it is about to be closed or replaced.
pub(crate) fn remove(fd: RawFd) {
    if has(fd) && is_owner() {
        TABLE.rcu(|table| {
            let mut table = Table::clone(table);
            table.remove(&fd);
            table
        });
    }
}

/// The same for a range.
pub(crate) fn remove_range(range: std::ops::RangeInclusive<RawFd>) {
    if !is_empty() && is_owner() {
        TABLE.rcu(|table| {
            let mut table = Table::clone(table);
            table.retain(|fd, _| !range.contains(fd));
            table
        });
    }
}
