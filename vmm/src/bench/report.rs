//! What the benchmark prints: a table, or the same as JSON.

use std::fmt;

use serde::Serialize;

use super::Way;

/// A proposal must not make a debug exit more expensive than this, in nanoseconds.
const DEBUG_EXIT_LIMIT: f64 = 10.0;
/// What an exit may pay that stores nothing.
const UNRELATED_LIMIT: f64 = 2.0;

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct DebugExit {
    /// Where.
    #[serde(rename = "where")]
    pub place: Where,
    /// Processes of the guest.
    pub processes: usize,
    /// Timings of which medians are given.
    pub timings: u32,
    /// Debug exits for each way, about.
    pub events_a_way: u32,
    /// Understudy, and the machine's own KVM.
    pub engines: Vec<Engine>,
}

/// The machine and the versions.
#[derive(Clone, Debug, Serialize)]
pub struct Where {
    /// The processor's name.
    pub cpu: String,
    /// The kernel's release.
    pub kernel: String,
    /// The kernel's KVM for this processor, as far as it can be seen.
    pub kvm_modules: Vec<String>,
    /// Understudy's version.
    pub understudy: &'static str,
    /// Runnable tasks over the last minute, with this one.
    pub load: String,
}

/// An engine, or why there is none.
#[derive(Clone, Debug, Serialize)]
pub struct Engine {
    /// Its name.
    pub name: &'static str,
    /// The ways that it has.
    pub measured: Vec<Measured>,
    /// Why nothing was measured.
    pub unavailable: Option<String>,
}

/// A way's numbers, medians of all timings.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// The way.
    pub way: Way,
    /// The proposal that it is.
    pub proposal: Option<&'static str>,
    /// Debug exits a second of processor time.
    pub events_a_second: f64,
    /// Nanoseconds for a debug exit with what is learnt.
    pub event_ns: f64,
    /// Of those, what it takes over the bare exit.
    pub over_bare_ns: f64,
    /// Nanoseconds for an exit that has nothing to do with debugging: a port's.
    pub unrelated_exit_ns: f64,
    /// Of those, what this way adds.
    pub unrelated_over_bare_ns: f64,
}

impl Where {
    /// This machine.
    pub(super) fn here() -> Where {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let cpu = cpuinfo.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == "model name").then(|| value.trim().to_owned())
        });
        let modules = std::fs::read_dir("/sys/module").into_iter().flatten();
        let names = modules.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut kvm_modules: Vec<String> = names.filter(|name| name.starts_with("kvm_")).collect();
        kvm_modules.sort();
        let load = read("/proc/loadavg");
        Where {
            cpu: cpu.unwrap_or_else(|| std::env::consts::ARCH.into()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            kvm_modules,
            understudy: env!("CARGO_PKG_VERSION"),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let modules = match self.kvm_modules.as_slice() {
            [] => "no KVM module to be seen".to_owned(),
            modules => modules.join(", "),
        };
        write!(
            f,
            "{}, Linux {}, {modules}; Understudy {}; load {}",
            self.cpu, self.kernel, self.understudy, self.load
        )
    }
}

impl Engine {
    fn of(&self, way: Way) -> Option<&Measured> {
        self.measured.iter().find(|measured| measured.way == way)
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.name)?;
        if let Some(reason) = &self.unavailable {
            return writeln!(f, "   nothing was measured: {reason}");
        }
        writeln!(
            f,
            "   {:<34} {:>9} {:>9} {:>10} {:>10} {:>7}",
            "CR3 by", "events/s", "ns/event", "over bare", "port exit", "pays"
        )?;
        for way in Way::ALL {
            write!(f, "   {:<34} ", way.label())?;
            match self.of(way) {
                Some(of) => writeln!(
                    f,
                    "{:>9.0} {:>9.0} {:>10.1} {:>10.0} {:>7.1}",
                    of.events_a_second,
                    of.event_ns,
                    of.over_bare_ns,
                    of.unrelated_exit_ns,
                    of.unrelated_over_bare_ns,
                )?,
                None => writeln!(
                    f,
                    "{:>9} {:>9} {:>10} {:>10} {:>7}",
                    "-", "-", "-", "-", "-"
                )?,
            }
        }
        Ok(())
    }

    /// Whether the proposals cost what they may.
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proposals = || self.measured.iter().filter(|of| of.proposal.is_some());
        let most = |of: fn(&Measured) -> f64| proposals().map(of).fold(f64::MIN, f64::max);
        if proposals().next().is_none() {
            return Ok(());
        }
        let mut line = |what, most: f64, limit: f64| {
            let met = if most <= limit { "yes" } else { "no" };
            writeln!(f, "   {what:<56} {met}: {most:.1} ns at most")
        };
        line(
            "a proposal costs at most 10 ns over the bare debug exit:",
            most(|of| of.over_bare_ns),
            DEBUG_EXIT_LIMIT,
        )?;
        line(
            "an exit that is not asked for pays less than 2 ns:",
            most(|of| of.unrelated_over_bare_ns),
            UNRELATED_LIMIT,
        )
    }
}

impl fmt::Display for DebugExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.place)?;
        writeln!(
            f,
            "a guest with {} processes, breakpoints on an instruction; {} events a way; processor time, medians of {} timings",
            self.processes, self.events_a_way, self.timings
        )?;
        for engine in &self.engines {
            engine.table(f)?;
        }
        writeln!(f)?;
        for engine in &self.engines {
            engine.verdict(f)?;
        }
        Ok(())
    }
}
