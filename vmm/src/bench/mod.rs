//! What it costs to learn a guest's CR3 at each debug exit, by each [`Way`], on Understudy and on the
//! machine's own KVM (requirements 6.1).
//!
//! ```text
//!  for each round, for each way, for each of its guests:
//!     n breakpoints, the way on and off ─► ns an event ─┐
//!     n port exits,  the way on and off ─► ns an exit  ─┴─► medians, and medians of the differences
//! ```
//!
//! A guest is its own peer: it is measured with its way on and off in turn, as what an exit takes differs
//! between guests by tens of nanoseconds, with where their memory happens to lie. Only the field of the
//! exit cannot be switched off: its guests have bare ones beside them, and there are several of each.
//! Time is that of the processor for the vCPU's thread: other work on the machine changes it little.

mod guest;
mod ours;
#[cfg(target_arch = "x86_64")]
mod real;
mod report;
mod way;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::error::Error;
use guest::{CYCLE, Load, PROCESSES, process_of};
pub use report::{DebugExit, Engine, Measured, Where};
pub use way::Way;

/// Rounds that count, at least; one more comes before them.
const ROUNDS: u32 = 21;
/// Events that are timed together, at most: the machine's speed changes, and a way is on and off in turn
/// as often as can be.
const TIMED: u32 = 512;
/// Guests of each way.
const GUESTS: u32 = 4;
/// Runs before anything is timed: code has then been compiled.
const WARM_UP: u32 = 4000;

/// What is measured, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Breakpoints for each way, and as many port exits; as many of both without it.
    pub events: u32,
}

impl Options {
    /// How many events are timed together: as many of each process.
    fn count(&self) -> u32 {
        whole_cycles((self.events / (2 * ROUNDS * GUESTS)).min(TIMED))
    }

    /// How many rounds that makes.
    fn rounds(&self) -> u32 {
        (self.events / (2 * self.count() * GUESTS)).max(ROUNDS)
    }
}

/// A guest that runs one way.
trait Subject: Sized {
    /// The guest; none if the engine does not have the way.
    fn new(way: Way, load: Load) -> Result<Option<Self>, Error>;
    /// Has its way on, or off: its exits are bare then, as far as [`Way::switches`] says.
    fn switch(&mut self, on: bool);
    /// Has it meet so many breakpoints, and learns each one's CR3.
    fn events(&mut self, count: u32, seen: &mut Seen) -> Result<(), Error>;
    /// Has it leave by so many writes to a port.
    fn exits(&mut self, count: u32) -> Result<(), Error>;
}

/// How often each process was seen.
#[derive(Debug, Default)]
struct Seen {
    by_process: [u64; PROCESSES],
    strangers: u64,
}

impl Seen {
    #[inline]
    fn note(&mut self, cr3: u64) {
        match process_of(cr3) {
            Some(process) => self.by_process[process] += 1,
            None => self.strangers += 1,
        }
    }

    /// That each CR3 was a process's, each process was seen, and each as often as it should be.
    fn check(&self, way: Way, events: u64) -> Result<(), Error> {
        let sum: u64 = self.by_process.iter().sum();
        let each = events / PROCESSES as u64;
        let fair = self.by_process.iter().all(|n| *n == each);
        if self.strangers == 0 && sum == events && fair {
            return Ok(());
        }
        let seen = format!("{} gave CR3s as {self:?}, of {events} events", way.label());
        Err(Error::Unexpected(seen))
    }
}

/// Processor time of this thread.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// At least so many events, with which each process has as many as the others.
fn whole_cycles(events: u32) -> u32 {
    events.max(1).next_multiple_of(CYCLE)
}

/// Nanoseconds of each of `count` things that are done.
fn timed(count: u32, work: impl FnOnce() -> Result<(), Error>) -> Result<f64, Error> {
    let began = now();
    work()?;
    Ok((now() - began).as_nanos() as f64 / f64::from(count))
}

/// What something took with a way on, and off, in nanoseconds.
type Pair = (f64, f64);

/// A guest, and the one that is measured instead of it when its way is off, if it cannot be.
struct Guest<S> {
    own: S,
    bare: Option<S>,
}

impl<S: Subject> Guest<S> {
    fn new(way: Way, load: Load) -> Result<Option<Guest<S>>, Error> {
        let Some(own) = S::new(way, load)? else {
            return Ok(None);
        };
        let bare = match way.switches() {
            true => None,
            false => S::new(Way::Bare, load)?,
        };
        Ok(Some(Guest { own, bare }))
    }

    /// Times `count` things with the way on, off, off and on, or the other way round: what becomes faster
    /// or slower meanwhile, as caches fill, is as much in the one as in the other.
    fn pair(
        &mut self,
        count: u32,
        on_first: bool,
        mut work: impl FnMut(&mut S) -> Result<(), Error>,
    ) -> Result<Pair, Error> {
        let mut took = [0.0; 2];
        for on in [on_first, !on_first, !on_first, on_first] {
            let guest = match &mut self.bare {
                Some(bare) if !on => bare,
                _ => &mut self.own,
            };
            guest.switch(on);
            // The host's processor learns what comes.
            work(guest)?;
            took[usize::from(on)] += timed(count, || work(guest))? / 2.0;
        }
        Ok((took[1], took[0]))
    }
}

/// A way's guests, and what they have taken so far.
struct Runner<S> {
    way: Way,
    /// Those that meet breakpoints, and those that write to a port.
    guests: Vec<[Guest<S>; 2]>,
    seen: Seen,
    events: u64,
    of_events: Vec<Pair>,
    of_exits: Vec<Pair>,
}

impl<S: Subject> Runner<S> {
    fn new(way: Way) -> Result<Option<Runner<S>>, Error> {
        let mut guests = Vec::new();
        for _ in 0..GUESTS {
            let breakpoints = Guest::new(way, Load::Breakpoints)?;
            let ports = Guest::new(way, Load::Ports)?;
            let (Some(breakpoints), Some(ports)) = (breakpoints, ports) else {
                return Ok(None);
            };
            guests.push([breakpoints, ports]);
        }
        Ok(Some(Runner {
            way,
            guests,
            seen: Seen::default(),
            events: 0,
            of_events: Vec::new(),
            of_exits: Vec::new(),
        }))
    }

    fn round(&mut self, count: u32, on_first: bool) -> Result<(), Error> {
        for [breakpoints, ports] in &mut self.guests {
            let seen = &mut self.seen;
            let event = breakpoints.pair(count, on_first, |guest| guest.events(count, seen))?;
            let exit = ports.pair(count, on_first, |guest| guest.exits(count))?;
            self.events += 8 * u64::from(count);
            self.of_events.push(event);
            self.of_exits.push(exit);
        }
        Ok(())
    }
}

/// The median.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of what things took with the way on, and of the differences to it off.
fn medians(pairs: &[Pair]) -> Pair {
    let on = pairs.iter().map(|(on, _)| *on);
    let over = pairs.iter().map(|(on, off)| on - off);
    (median(on), median(over))
}

/// Runs the ways in turn on an engine.
fn measure<S: Subject>(options: &Options) -> Result<Vec<Measured>, Error> {
    let count = options.count();
    let mut runners = Vec::new();
    for way in Way::ALL {
        runners.extend(Runner::<S>::new(way)?);
    }
    for runner in &mut runners {
        runner.round(whole_cycles(WARM_UP.min(options.events)), true)?;
        runner.of_events.clear();
        runner.of_exits.clear();
    }
    for round in 0..options.rounds() {
        for runner in &mut runners {
            runner.round(count, round % 2 == 0)?;
        }
    }
    let measured = runners.iter().map(|runner| {
        runner.seen.check(runner.way, runner.events)?;
        let (event_ns, over_bare_ns) = medians(&runner.of_events);
        let (unrelated_exit_ns, unrelated_over_bare_ns) = medians(&runner.of_exits);
        Ok(Measured {
            way: runner.way,
            proposal: runner.way.proposal(),
            events_a_second: 1e9 / event_ns,
            event_ns,
            over_bare_ns,
            unrelated_exit_ns,
            unrelated_over_bare_ns,
        })
    });
    measured.collect()
}

#[cfg(target_arch = "x86_64")]
fn on_this_machine(options: &Options) -> Result<Vec<Measured>, Error> {
    measure::<real::Real>(options)
}

#[cfg(not(target_arch = "x86_64"))]
fn on_this_machine(_: &Options) -> Result<Vec<Measured>, Error> {
    Err(Error::Unavailable("this machine runs no x86-64 guests"))
}

/// Measures. A `/dev/kvm` that cannot be used is no error, and reported as such.
///
/// # Errors
///
/// [`Error`], where Understudy's own guest cannot be run, or a way gives a wrong CR3.
pub fn debug_exit(options: &Options) -> Result<DebugExit, Error> {
    let ours = Engine {
        name: "understudy",
        measured: measure::<ours::Ours>(options)?,
        unavailable: None,
    };
    let (measured, unavailable) = match on_this_machine(options) {
        Ok(measured) => (measured, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let real = Engine {
        name: "/dev/kvm",
        measured,
        unavailable,
    };
    Ok(DebugExit {
        place: Where::here(),
        processes: PROCESSES,
        timings: options.rounds() * GUESTS,
        events_a_way: options.events,
        engines: vec![ours, real],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CR3-1, SYNC-1, SYNC-12, SYNC-20, SYNC-21: each way gives the CR3 of the process whose turn it is.
    #[test]
    fn each_way_tells_the_processes_apart() {
        let options = Options { events: 2000 };
        let report = debug_exit(&options).expect("it can be measured");
        let ways: Vec<Way> = report.engines[0].measured.iter().map(|m| m.way).collect();
        assert_eq!(ways, Way::ALL);
        let text = report.to_string();
        for way in Way::ALL {
            assert!(text.contains(way.label()), "{text}");
        }
    }

    #[test]
    fn a_wrong_cr3_is_noticed() {
        let mut seen = Seen::default();
        for turn in 0..400 {
            seen.note(guest::cr3_of(turn % PROCESSES));
        }
        assert!(seen.check(Way::Field, 400).is_ok());
        assert!(seen.check(Way::Field, 401).is_err());
        seen.note(0);
        assert!(seen.check(Way::Field, 401).is_err());
    }
}
