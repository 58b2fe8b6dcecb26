//! How a vCPU's thread waits for something to happen, and how others wake it.
//!
//! ```text
//!   the vCPU's thread                      another thread, a signal handler
//!   seen ─ is there reason to go on? ─┐    change something, then wake
//!                            no: sleep┘◄──────────────────────────┘
//! ```

use rustix::thread::futex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Where one vCPU's thread sleeps.
#[derive(Debug, Default)]
pub struct Sleeper {
    /// Counts what may have woken the vCPU; it sleeps on this.
    events: AtomicU32,
    /// Whether somebody has to wake it: it sleeps, or looks whether it is to.
    dozing: AtomicBool,
}

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// By an event, or the time is over: look again.
    Event,
    /// By a signal to the thread.
    Signal,
}

/// A number of [`Sleeper`]'s events: see [`Sleeper::sleep`].
#[derive(Clone, Copy, Debug)]
pub struct Seen(u32);

impl Sleeper {
    /// Nothing has happened yet.
    pub const fn new() -> Sleeper {
        Sleeper {
            events: AtomicU32::new(0),
            dozing: AtomicBool::new(false),
        }
    }

    /// Ends the sleep that is going on, or the one that is about to begin. Safe in a signal handler.
    pub fn wake(&self) {
        // In this order, and the other way round in `seen`: either this sees that it dozes, or it
        // sees this event.
        self.events.fetch_add(1, Ordering::SeqCst);
        if !self.dozing.load(Ordering::SeqCst) {
            return;
        }
        // Nobody waits, or the wait ends: there is no failure that matters.
        let _ = futex::wake(&self.events, futex::Flags::PRIVATE, u32::MAX >> 1);
    }

    /// What to hand to [`Sleeper::sleep`], taken before looking whether there is reason to. Who then
    /// does not sleep says [`Sleeper::awake`].
    pub fn seen(&self) -> Seen {
        self.dozing.store(true, Ordering::SeqCst);
        Seen(self.events.load(Ordering::SeqCst))
    }

    /// Sleeps until something happens after `seen` was taken, at most for `time`.
    pub fn sleep(&self, seen: Seen, time: Option<Duration>) -> Woken {
        // A wait without timeout would go on after a signal whose handler has SA_RESTART.
        let time = time.unwrap_or(Duration::from_secs(3600));
        let time = futex::Timespec {
            tv_sec: time.as_secs().min(3600) as i64,
            tv_nsec: time.subsec_nanos().into(),
        };
        match futex::wait(&self.events, futex::Flags::PRIVATE, seen.0, Some(&time)) {
            Err(rustix::io::Errno::INTR) => Woken::Signal,
            _ => Woken::Event,
        }
    }

    /// There is no sleep to be woken from any more.
    pub fn awake(&self) {
        self.dozing.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn an_event_after_the_look_ends_the_sleep() {
        let sleeper = Arc::new(Sleeper::new());
        let seen = sleeper.seen();
        sleeper.wake();
        // The event was before the sleep, which does not begin then.
        assert_eq!(sleeper.sleep(seen, None), Woken::Event);
        let seen = sleeper.seen();
        let waker = {
            let sleeper = sleeper.clone();
            std::thread::spawn(move || sleeper.wake())
        };
        assert_eq!(sleeper.sleep(seen, None), Woken::Event);
        waker.join().expect("the waker ends");
        let nothing = sleeper.sleep(sleeper.seen(), Some(Duration::from_micros(10)));
        assert_eq!(nothing, Woken::Event);
    }
}
