//! What both demonstrations print alike.

use std::io::{self, Write};

use super::Loop;

/// A section's heading.
pub(super) fn heading(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "\n{text}")
}

/// The loop's time.
pub(super) fn speed(out: &mut impl Write, timed: &Loop, result: u64) -> io::Result<()> {
    writeln!(
        out,
        "   {} million guest instructions in {:.2} s: {:.0} million a second (result {result:#x})",
        timed.instructions / 1_000_000,
        timed.time.as_secs_f64(),
        timed.instructions_a_second() / 1e6,
    )
}

/// The last lines: debug exits by process, how the guest ended, the loop.
pub(super) fn summary(
    out: &mut impl Write,
    processes: impl Iterator<Item = u64>,
    ending: &str,
    timed: &Loop,
) -> io::Result<()> {
    let mut of = [0usize; 2];
    let mut all = 0;
    for process in processes {
        all += 1;
        if let Some(count) = of.get_mut((process as usize).wrapping_sub(1)) {
            *count += 1;
        }
    }
    heading(out, "Summary")?;
    let [one, two] = of;
    writeln!(
        out,
        "   {all} debug exits: {one} from process 1, {two} from process 2; the guest {ending}"
    )?;
    writeln!(
        out,
        "   {:.0} million guest instructions a second",
        timed.instructions_a_second() / 1e6
    )
}
