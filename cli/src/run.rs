//! `understudy run`.

use std::io::Write;

use clap::{Args, ValueEnum};
use understudy_vmm::demo::{self, DemoError};

/// What to run.
#[derive(Debug, Args)]
pub struct Run {
    /// The guest's architecture
    #[arg(long, value_enum, default_value_t = Arch::Arm64)]
    arch: Arch,
}

/// Architectures of guests that run.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Arch {
    /// AArch64
    Arm64,
}

/// Runs the embedded demonstration, which prints what happens as it happens.
pub fn run(arguments: &Run) -> Result<(), DemoError> {
    let mut out = std::io::stdout().lock();
    match arguments.arch {
        Arch::Arm64 => demo::run(&mut out)?,
    };
    Ok(out.flush()?)
}
