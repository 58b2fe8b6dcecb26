//! What it costs to learn a guest's CR3 at each debug exit, by each [`Way`], on Understudy and on the
//! machine's own KVM (requirements 6.1).
//!
//! ```text
//!  for each round, for each way:   n breakpoints ─► ns an event ──┐ minus the bare exit's in the
//!                                  n port exits  ─► ns an exit  ──┘ same round
//!  the medians of all rounds
//! ```
//!
//! Each way has VMs of its own, so that nothing is switched on that it does not need, and takes its
//! turn in each round, so that what disturbs one disturbs all. Time is that of the processor for the
//! vCPU's thread: other work on the machine changes it little.

mod guest;
mod ours;
#[cfg(target_arch = "x86_64")]
mod real;
mod report;
mod way;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::error::Error;
use guest::{Load, PROCESSES, process_of};
pub use report::{DebugExit, Engine, Measured, Where};
pub use way::Way;

/// Rounds that count; one more comes before them.
const ROUNDS: usize = 41;
/// Runs before anything is timed: code has then been compiled.
const WARM_UP: u32 = 4000;

/// What is measured, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Breakpoints for each way, and as many port exits.
    pub events: u32,
}

/// A guest that runs one way.
trait Subject: Sized {
    /// The guest; none if the engine does not have the way.
    fn new(way: Way, load: Load) -> Result<Option<Self>, Error>;
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
        let fair = self
            .by_process
            .iter()
            .all(|n| n.abs_diff(events / PROCESSES as u64) <= 32);
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

/// Nanoseconds of each of `count` things that are done.
fn timed(count: u32, work: impl FnOnce() -> Result<(), Error>) -> Result<f64, Error> {
    let began = now();
    work()?;
    Ok((now() - began).as_nanos() as f64 / f64::from(count))
}

/// A way's guests, and what they have taken so far, in nanoseconds.
struct Runner<S> {
    way: Way,
    breakpoints: S,
    ports: S,
    seen: Seen,
    events: u64,
    of_events: Vec<f64>,
    of_exits: Vec<f64>,
}

impl<S: Subject> Runner<S> {
    fn new(way: Way) -> Result<Option<Runner<S>>, Error> {
        let breakpoints = S::new(way, Load::Breakpoints)?;
        let ports = S::new(way, Load::Ports)?;
        let (Some(breakpoints), Some(ports)) = (breakpoints, ports) else {
            return Ok(None);
        };
        Ok(Some(Runner {
            way,
            breakpoints,
            ports,
            seen: Seen::default(),
            events: 0,
            of_events: Vec::new(),
            of_exits: Vec::new(),
        }))
    }

    fn round(&mut self, count: u32) -> Result<(), Error> {
        let event = timed(count, || self.breakpoints.events(count, &mut self.seen))?;
        let exit = timed(count, || self.ports.exits(count))?;
        self.events += u64::from(count);
        self.of_events.push(event);
        self.of_exits.push(exit);
        Ok(())
    }
}

/// The median.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of the differences of the same rounds.
fn over(values: &[f64], base: &[f64]) -> f64 {
    median(values.iter().zip(base).map(|(value, base)| value - base))
}

/// Runs the ways in turn on an engine.
fn measure<S: Subject>(options: &Options) -> Result<Vec<Measured>, Error> {
    let count = (options.events / ROUNDS as u32).max(PROCESSES as u32);
    let mut runners = Vec::new();
    for way in Way::ALL {
        runners.extend(Runner::<S>::new(way)?);
    }
    for runner in &mut runners {
        runner.round(WARM_UP.min(options.events.max(1)))?;
        runner.of_events.clear();
        runner.of_exits.clear();
    }
    for _ in 0..ROUNDS {
        for runner in &mut runners {
            runner.round(count)?;
        }
    }
    let Some(bare) = runners.first() else {
        return Ok(Vec::new());
    };
    let measured = runners.iter().map(|runner| {
        runner.seen.check(runner.way, runner.events)?;
        let ns = median(runner.of_events.iter().copied());
        Ok(Measured {
            way: runner.way,
            proposal: runner.way.proposal(),
            events_a_second: 1e9 / ns,
            event_ns: ns,
            over_bare_ns: over(&runner.of_events, &bare.of_events),
            unrelated_exit_ns: median(runner.of_exits.iter().copied()),
            unrelated_over_bare_ns: over(&runner.of_exits, &bare.of_exits),
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
        rounds: ROUNDS,
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
