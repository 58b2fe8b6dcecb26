//! The embedded demonstrations: guests with two processes, watched by a debugger that knows which
//! process each debug exit came from.
//!
//! Each has three sections, and the guest says where it is:
//!
//! 1. The guest's own debug registers.
//! 2. Debugging from outside (KVM_SET_GUEST_DEBUG): breakpoints on a function that both processes
//!    call, on a variable that each has in its own memory, by an instruction; and steps.
//! 3. A loop, with no debugging in use, for the speed.

pub mod arm64;
mod report;
pub mod x86;

use std::io::Write;
use std::time::{Duration, Instant};

use crate::error::Error;

/// The last section's loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop {
    /// Guest instructions.
    pub instructions: u64,
    /// How long they took.
    pub time: Duration,
    began: Option<Instant>,
}

impl Loop {
    /// Of so many guest instructions, still to be run.
    fn new(instructions: u64) -> Loop {
        Loop {
            instructions,
            time: Duration::ZERO,
            began: None,
        }
    }

    /// The guest is about to begin it.
    fn begin(&mut self, out: &mut impl Write) -> Result<(), Error> {
        report::heading(out, "3. A loop, with no debugging in use")?;
        self.began = Some(Instant::now());
        Ok(())
    }

    /// The guest has ended it, with this result.
    fn end(&mut self, out: &mut impl Write, result: u64) -> Result<(), Error> {
        let began = self.began.take();
        let began =
            began.ok_or_else(|| Error::Unexpected("its loop ended before it began".into()))?;
        self.time = began.elapsed();
        Ok(report::speed(out, self, result)?)
    }

    /// Guest instructions a second.
    pub fn instructions_a_second(&self) -> f64 {
        self.instructions as f64 / self.time.as_secs_f64().max(1e-9)
    }
}
