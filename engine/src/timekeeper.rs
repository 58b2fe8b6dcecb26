//! A machine's timekeeper: a thread, begun when it is first needed, that rings alarms when their time
//! has come.
//!
//! Times are nanoseconds of the host's monotonic clock ([`now`]). The thread asks for no slack of its
//! waits, and sleeps a little ahead of none: an alarm rings some microseconds late, never early.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// The host's monotonic clock, in nanoseconds.
pub fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

/// The host processor's own counter, where programs can read it as such: the TSC of x86-64.
pub fn counter() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction.
    return Some(unsafe { std::arch::x86_64::_rdtsc() });
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// Something that is to happen at a time.
pub trait Alarm: Send + Sync {
    /// Its time has come; it may also ring when it has been set to another time meanwhile, and then
    /// has to look. Gives the time at which to ring next. Called on the timekeeper's thread, which
    /// holds no lock.
    fn ring(&self) -> Option<u64>;
}

/// The thread's handle.
#[derive(Default)]
pub struct Timekeeper(Arc<Shared>);

#[derive(Default)]
struct Shared {
    calls: Mutex<Calls>,
    changed: Condvar,
}

#[derive(Default)]
struct Calls {
    due: HashMap<usize, (u64, Weak<dyn Alarm>)>,
    /// When the thread wakes, while it sleeps; else 0.
    wakes: u64,
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

    /// Rings an alarm at a time, instead of what was asked for this key before.
    pub fn set(&self, key: usize, at: u64, alarm: Weak<dyn Alarm>) {
        let mut calls = self.0.calls();
        calls.due.insert(key, (at, alarm));
        if !calls.running {
            let shared = self.0.clone();
            let thread = std::thread::Builder::new().name("timekeeper".into());
            calls.running = thread.spawn(move || keep(&shared)).is_ok();
        }
        let sooner = at < calls.wakes;
        drop(calls);
        if sooner {
            self.0.changed.notify_one();
        }
    }

    /// What was asked for this key is not wanted any more. It may be ringing just now.
    pub fn cancel(&self, key: usize) {
        self.0.calls().due.remove(&key);
    }
}

impl std::fmt::Debug for Timekeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timekeeper").finish_non_exhaustive()
    }
}

impl Drop for Timekeeper {
    fn drop(&mut self) {
        self.0.calls().ended = true;
        self.0.changed.notify_one();
    }
}

fn keep(shared: &Shared) {
    // Without it alarms ring 50 us late: no more than that is lost.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let mut calls = shared.calls();
    while !calls.ended {
        let time = now();
        let due: Vec<_> = calls.due.extract_if(|_, call| call.0 <= time).collect();
        if !due.is_empty() {
            drop(calls);
            for (key, (_, alarm)) in due {
                ring(shared, key, &alarm);
            }
            calls = shared.calls();
            continue;
        }
        let next = calls.due.values().map(|call| call.0).min();
        let next = next.unwrap_or(u64::MAX);
        calls.wakes = next;
        let left = Duration::from_nanos((next - time).min(3_600_000_000_000));
        calls = shared
            .changed
            .wait_timeout(calls, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        calls.wakes = 0;
    }
}

/// Rings an alarm, and sets it to its next time, unless it has been set to a sooner one meanwhile.
fn ring(shared: &Shared, key: usize, alarm: &Weak<dyn Alarm>) {
    let next = alarm.upgrade().and_then(|alarm| alarm.ring());
    if let Some(next) = next {
        let mut calls = shared.calls();
        let call = calls.due.entry(key).or_insert((next, alarm.clone()));
        call.0 = call.0.min(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{Sender, channel};

    struct Bell {
        left: AtomicU64,
        rung: Sender<u64>,
    }

    impl Alarm for Bell {
        fn ring(&self) -> Option<u64> {
            let time = now();
            let _ = self.rung.send(time);
            let left = self.left.fetch_sub(1, Ordering::Relaxed);
            (left > 1).then_some(time + 1_000_000)
        }
    }

    #[test]
    fn an_alarm_rings_again_until_it_is_over() {
        let (rung, ear) = channel();
        let keeper = Timekeeper::new();
        let bell = Arc::new(Bell {
            left: AtomicU64::new(3),
            rung,
        });
        let begin = now();
        let weak: Weak<dyn Alarm> = Arc::<Bell>::downgrade(&bell);
        keeper.set(7, begin + 50_000_000_000, weak.clone());
        keeper.set(7, begin + 1_000_000, weak.clone());
        for nth in 1..=3 {
            let at = ear.recv().expect("it rings");
            assert!(at >= begin + nth * 1_000_000, "not early");
        }
        // One that is gone, and one that is not wanted, do not ring.
        keeper.set(7, now() + 1_000_000, weak);
        keeper.cancel(7);
        keeper.set(8, now() + 1_000, Weak::<Bell>::new());
        let none = ear.recv_timeout(Duration::from_millis(20));
        assert!(none.is_err());
    }
}
