//! The `understudy` command.

#![forbid(unsafe_code)]

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
    /// Host CPU models, and templates that lower what VMs on them present
    #[command(subcommand)]
    Cpu(cpu::Cpu),
    /// Run an unmodified program with Understudy behind /dev/kvm
    Exec(exec::Exec),
    /// Run a guest: so far the embedded demonstration, of a debugged guest with two processes
    Run(run::Run),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Subcommands::Cpu(command) => cpu::run(&command).unwrap_or_else(|error| {
            eprintln!("understudy: {error}");
            ExitCode::from(2)
        }),
        Subcommands::Exec(arguments) => {
            eprintln!("understudy: {}", exec::exec(&arguments));
            ExitCode::from(2)
        }
        Subcommands::Run(arguments) => match run::run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("understudy: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
