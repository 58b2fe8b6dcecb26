//! A machine's timekeeper: a thread, begun when it is first needed, that makes the request
//! [`TIMER`] of vCPUs when their time has come.

use super::{NS_PER_INCREMENT, host_count};
use crate::machine::TIMER;
use crate::vcpu::peer::Peer;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// The thread's handle.
#[derive(Debug, Default)]
pub struct Timekeeper(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    calls: Mutex<Calls>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Calls {
    /// The host's count at which to call, by index of the vCPU.
    due: Vec<Option<(u64, Weak<Peer>)>>,
    running: bool,
    ended: bool,
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timekeeper {
    /// A timekeeper without a thread.
    pub fn new() -> Timekeeper {
        Timekeeper::default()
    }

    /// Makes the request of `peer` when the host's counter has reached `at`, instead of what was
    /// asked for this vCPU before.
    pub(crate) fn call_at(&self, at: u64, peer: Arc<Peer>) {
        let mut calls = self.0.calls();
        let index = peer.index();
        if calls.due.len() <= index {
            calls.due.resize_with(index + 1, || None);
        }
        calls.due[index] = Some((at, Arc::downgrade(&peer)));
        if !calls.running {
            let shared = self.0.clone();
            let thread = std::thread::Builder::new().name("timekeeper".into());
            calls.running = thread.spawn(move || keep(&shared)).is_ok();
        }
        drop(calls);
        self.0.changed.notify_one();
    }
}

impl Drop for Timekeeper {
    fn drop(&mut self) {
        self.0.calls().ended = true;
        self.0.changed.notify_one();
    }
}

fn keep(shared: &Shared) {
    let mut calls = shared.calls();
    while !calls.ended {
        let now = host_count();
        let mut next = u64::MAX;
        for call in &mut calls.due {
            match call {
                Some((at, peer)) if *at <= now => {
                    if let Some(peer) = peer.upgrade() {
                        peer.post(TIMER);
                    }
                    *call = None;
                }
                Some((at, _)) => next = next.min(*at),
                None => {}
            }
        }
        let left = (next - now).min(3600 * super::FREQUENCY);
        let left = Duration::from_nanos(left * NS_PER_INCREMENT);
        calls = shared
            .changed
            .wait_timeout(calls, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}
