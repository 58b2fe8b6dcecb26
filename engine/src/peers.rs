//! The vCPUs of a VM, as other threads reach them: another vCPU, a timer, an ioctl, a signal handler.
//!
//! ```text
//!   another thread ── post ──► Requests   which the vCPU looks at on every back edge
//!                  └─ wake ──► Sleeper    where it waits while it has nothing to run
//! ```

use crate::request::{EXIT, Requests};
use crate::sleep::Sleeper;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// What reaches a vCPU. An architecture adds to it what others may know of its vCPUs, and stands for
/// it by [`Deref`].
#[derive(Debug)]
pub struct Handle {
    index: usize,
    id: u32,
    requests: Arc<Requests>,
    sleeper: Sleeper,
}

impl Handle {
    /// Of the vCPU with this index in its machine and the number that `KVM_CREATE_VCPU` was given.
    pub fn new(index: usize, id: u32) -> Handle {
        Handle {
            index,
            id,
            requests: Arc::new(Requests::new()),
            sleeper: Sleeper::new(),
        }
    }

    /// Index of the vCPU in its machine.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The number that `KVM_CREATE_VCPU` was given (KVM API 4.7): what `KVM_IRQ_LINE` of arm64 names
    /// the vCPU by, and x86's initial APIC ID.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The request word.
    pub fn requests(&self) -> &Arc<Requests> {
        &self.requests
    }

    /// Where it sleeps.
    pub fn sleeper(&self) -> &Sleeper {
        &self.sleeper
    }

    /// Makes a request, and wakes the vCPU if it sleeps. Safe in a signal handler.
    pub fn post(&self, bits: u32) {
        self.requests.post(bits);
        self.sleeper.wake();
    }

    /// Has the vCPU's run return as interrupted as soon as it can, the next one if there is none now.
    /// Safe in a signal handler.
    pub fn kick(&self) {
        self.post(EXIT);
    }
}

/// The vCPUs of a machine, in the order of their making. None is ever taken away.
#[derive(Debug)]
pub struct Peers<P>(RwLock<Vec<Arc<P>>>);

impl<P> Default for Peers<P> {
    fn default() -> Self {
        Peers(RwLock::default())
    }
}

impl<P> Peers<P> {
    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<P>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<P>> {
        self.read().clone()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// Does something if there are none, and before there is one.
    pub fn if_empty<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        let none = self.read();
        none.is_empty().then(f)
    }

    /// Adds one, which is made of its index.
    pub fn add(&self, peer: impl FnOnce(usize) -> P) -> Arc<P> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let peer = Arc::new(peer(all.len()));
        all.push(peer.clone());
        peer
    }

    /// Calls `f` with each, without a copy of the list.
    pub fn each(&self, f: impl FnMut(&Arc<P>)) {
        self.read().iter().for_each(f);
    }
}

impl<P: Deref<Target = Handle>> Peers<P> {
    /// Makes a request of every vCPU but the one with this index. One that waits for an interrupt
    /// goes on doing so, and looks at the request before it runs guest code again.
    pub fn broadcast(&self, me: Option<usize>, bits: u32) {
        self.each(|peer| {
            if Some(peer.index()) != me {
                peer.requests().post(bits);
            }
        });
    }

    /// The same, and returns once each has taken it or is not running guest code. `idle` is called
    /// meanwhile: it serves the caller's own requests of the same kind, so that two callers don't
    /// wait for each other.
    pub fn broadcast_and_wait(&self, me: Option<usize>, bits: u32, mut idle: impl FnMut()) {
        self.broadcast(me, bits);
        for peer in self.all() {
            if Some(peer.index()) != me {
                peer.requests().post_and_wait(bits, &mut idle);
            }
        }
    }
}
