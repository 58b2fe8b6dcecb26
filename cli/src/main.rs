//! The `understudy` command.

#![forbid(unsafe_code)]

mod bench;
mod cpu;
mod exec;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The Linux KVM API in user space, on software CPUs.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Measure
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Host CPU models, and templates that lower what VMs on them present
    #[command(subcommand)]
    Cpu(cpu::Cpu),
    /// Run an unmodified program with Understudy behind /dev/kvm
    Exec(exec::Exec),
    /// Run a guest: so far embedded demonstrations, of debugged guests with two processes
    Run(run::Run),
}

/// What the process ends with, and why it failed.
fn finish(result: Result<(), understudy_vmm::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("understudy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Subcommands::Bench(what) => finish(bench::run(&what)),
        Subcommands::Cpu(command) => cpu::run(&command).unwrap_or_else(|error| {
            eprintln!("understudy: {error}");
            ExitCode::from(2)
        }),
        Subcommands::Exec(arguments) => {
            eprintln!("understudy: {}", exec::exec(&arguments));
            ExitCode::from(2)
        }
        Subcommands::Run(arguments) => finish(run::run(&arguments)),
    }
}
