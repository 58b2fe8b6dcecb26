//! The time stamp counter (SDM vol. 3B, 18.17).

use crate::Cpu;
use std::time::Instant;

/// A counter of constant rate.
#[derive(Clone, Copy, Debug)]
pub struct Tsc {
    start: Instant,
    /// What it held at `start`.
    offset: u64,
    /// Its rate.
    khz: u64,
}

impl Default for Tsc {
    /// One that starts now, at 0, and counts nanoseconds.
    fn default() -> Tsc {
        Tsc {
            start: Instant::now(),
            offset: 0,
            khz: 1_000_000,
        }
    }
}

impl Tsc {
    /// What it holds now.
    pub fn now(&self) -> u64 {
        let counted = self.start.elapsed().as_nanos() * u128::from(self.khz) / 1_000_000;
        self.offset.wrapping_add(counted as u64)
    }

    /// Its rate, in kHz.
    pub fn khz(&self) -> u64 {
        self.khz
    }

    /// Sets what it holds now.
    pub fn set(&mut self, value: u64) {
        self.start = Instant::now();
        self.offset = value;
    }
}

/// What a guest reads.
pub(crate) fn read(cpu: &Cpu) -> u64 {
    cpu.state.tsc.now()
}

/// When a guest's counter holds a value, by the host's monotonic clock; now, if it has held it.
pub(crate) fn when(cpu: &Cpu, value: u64) -> u64 {
    let left = value.saturating_sub(cpu.state.tsc.now());
    let ns = u128::from(left) * 1_000_000 / u128::from(cpu.state.tsc.khz.max(1));
    let ns = u64::try_from(ns).unwrap_or(u64::MAX);
    understudy_engine::timekeeper::now().saturating_add(ns)
}
