//! `understudy run`.

use std::io::Write;

use clap::{Args, ValueEnum};
use understudy_vmm::{Error, demo};

/// What to run.
#[derive(Debug, Args)]
pub struct Run {
    /// The guest's architecture
    #[arg(long, value_enum, default_value_t = Arch::Arm64)]
    arch: Arch,
    /// What to show
    #[arg(long, value_enum, default_value_t = Demo::Debug)]
    demo: Demo,
}

/// Demonstrations.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Demo {
    /// A debugged guest with two processes
    Debug,
    /// A guest that uses a feature which its ID registers hide
    Fidelity,
}

/// Architectures of guests that run.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Arch {
    /// AArch64
    Arm64,
    /// x86-64
    #[value(name = "x86-64")]
    X86_64,
}

/// Runs the embedded demonstration, which prints what happens as it happens.
pub fn run(arguments: &Run) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match (arguments.arch, arguments.demo) {
        (Arch::Arm64, Demo::Debug) => drop(demo::arm64::run(&mut out)?),
        (Arch::X86_64, Demo::Debug) => drop(demo::x86::run(&mut out)?),
        (Arch::Arm64, Demo::Fidelity) => demo::arm64::fidelity::run(&mut out)?,
        (Arch::X86_64, Demo::Fidelity) => {
            let missing = "the demonstration of fidelity has an arm64 guest only";
            return Err(Error::Unavailable(missing));
        }
    }
    Ok(out.flush()?)
}
