//! `understudy bench`.

use std::io::Write;

use clap::{Args, Subcommand};
use understudy_vmm::{Error, bench};

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// What it costs to learn an x86-64 guest's CR3 at each debug exit, by each way that there is, on
    /// Understudy and on the machine's own /dev/kvm
    DebugExit(DebugExit),
}

/// How to measure it.
#[derive(Debug, Args)]
pub struct DebugExit {
    /// Debug exits for each way
    #[arg(long, default_value_t = 82_000, value_parser = clap::value_parser!(u32).range(200..))]
    events: u32,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Measures, and prints what came of it.
pub fn run(what: &Bench) -> Result<(), Error> {
    let Bench::DebugExit(arguments) = what;
    let report = bench::debug_exit(&bench::Options {
        events: arguments.events,
    })?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let json = serde_json::to_string_pretty(&report).map_err(std::io::Error::from)?;
        writeln!(out, "{json}")?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(out.flush()?)
}
