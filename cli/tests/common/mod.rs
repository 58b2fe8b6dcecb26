//! Running the `understudy` command.

#![allow(dead_code)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What it printed and its status.
pub struct Run {
    pub out: String,
    pub err: String,
    pub status: i32,
}

impl Run {
    /// What it printed, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

fn run(output: Output) -> Run {
    Run {
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
        status: output.status.code().expect("it ended by itself"),
    }
}

/// Runs it.
pub fn understudy(arguments: &[&str]) -> Run {
    understudy_reads(arguments, "")
}

/// Runs it with this on standard input.
pub fn understudy_reads(arguments: &[&str], input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_understudy"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may have said what is wrong with its arguments, and be gone.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    run(child.wait_with_output().expect("it ends"))
}

/// A user's model, with these lines of its own in [registers].
pub fn model_file(registers: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new()
        .suffix(".toml")
        .tempfile()
        .expect("a file");
    write!(
        file,
        "name = \"mine\"\n\
         [mitigations]\n\
         spectre-v2 = \"unaffected\"\n\
         spectre-v4 = \"unaffected\"\n\
         spectre-bhb = \"unaffected\"\n\
         [registers]\n\
         MIDR_EL1 = 0x410f_d000\n\
         CTR_EL0 = 0x8444_c004\n\
         DCZID_EL0 = 4\n\
         SCTLR_EL1 = 0x00c5_0078\n\
         {registers}\n"
    )
    .expect("written");
    file
}
