//! The time stamp counter (SDM vol. 3B, 18.17).
//!
//! It follows from the host's monotonic clock, so that it is the same on any host: what counts at a VM's
//! rate, plus an offset of the vCPU's own. The offsets of a VM's vCPUs are the same as long as nobody
//! writes their counters apart. Where the host has such a counter itself, an offset of 0 is its value, as
//! with KVM: programs compare the two.

use crate::machine::Machine;
use crate::{Cpu, apic, pv};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use understudy_engine::timekeeper;

/// The host's rate in kHz, or 1 GHz if it does not tell: the rate of a VM for which none is set.
pub fn host_khz() -> u32 {
    static KHZ: OnceLock<u32> = OnceLock::new();
    const UNKNOWN: u32 = 1_000_000;
    *KHZ.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("cpu MHz"));
        let value = line.and_then(|line| line.split(':').nth(1));
        let mhz: Option<f64> = value.and_then(|value| value.trim().parse().ok());
        let khz = mhz.map_or(UNKNOWN, |mhz| (mhz * 1000.0) as u32);
        // Nothing else is a processor that programs know.
        if (100_000..20_000_000).contains(&khz) {
            khz
        } else {
            UNKNOWN
        }
    })
}

/// What the host's counter is ahead of one that began with its monotonic clock.
fn ahead() -> u64 {
    static AHEAD: OnceLock<u64> = OnceLock::new();
    *AHEAD.get_or_init(|| {
        let (ns, counter) = (timekeeper::now(), timekeeper::counter());
        counter.map_or(0, |counter| {
            counter.wrapping_sub(since_boot(ns, host_khz()))
        })
    })
}

fn since_boot(ns: u64, khz: u32) -> u64 {
    (u128::from(ns) * u128::from(khz) / 1_000_000) as u64
}

/// What the host's counter, run at a rate, holds at a time of its monotonic clock.
pub(crate) fn count(ns: u64, khz: u32) -> u64 {
    let host = host_khz();
    let ahead = match khz == host {
        true => ahead(),
        false => (u128::from(ahead()) * u128::from(khz) / u128::from(host)) as u64,
    };
    since_boot(ns, khz).wrapping_add(ahead)
}

/// A vCPU's counter.
#[derive(Clone, Copy, Debug)]
pub struct Tsc {
    offset: u64,
    khz: u32,
}

impl Default for Tsc {
    /// The host's own.
    fn default() -> Tsc {
        Tsc {
            offset: 0,
            khz: host_khz(),
        }
    }
}

impl Tsc {
    /// What it holds now.
    pub fn now(&self) -> u64 {
        self.at(timekeeper::now())
    }

    /// What it holds at a time of the host's monotonic clock.
    pub fn at(&self, ns: u64) -> u64 {
        count(ns, self.khz).wrapping_add(self.offset)
    }

    /// Its rate, in kHz (KVM API 4.56, "KVM_GET_TSC_KHZ").
    pub fn khz(&self) -> u32 {
        self.khz
    }
}

/// What a VM knows of its vCPUs' counters, to keep them in step.
#[derive(Debug)]
pub struct Shared {
    /// The rate of vCPUs to come, in kHz (`KVM_SET_TSC_KHZ` of the VM).
    khz: AtomicU32,
    last: Mutex<Last>,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            khz: AtomicU32::new(host_khz()),
            last: Mutex::default(),
        }
    }
}

impl Shared {
    /// The rate of vCPUs to come, in kHz.
    pub fn khz(&self) -> u32 {
        self.khz.load(Ordering::Relaxed)
    }

    /// Sets it; 0 is the host's (KVM API 4.55, "KVM_SET_TSC_KHZ").
    pub fn set_khz(&self, khz: u32) {
        let khz = if khz == 0 { host_khz() } else { khz };
        self.khz.store(khz, Ordering::Relaxed);
    }
}

/// The write that others are held against.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    khz: u32,
    ns: u64,
    value: u64,
    /// The offset that all vCPUs in step have.
    offset: u64,
    /// User space has written one.
    by_user: bool,
}

impl Last {
    /// The offset for a counter of this rate that is to hold a value now, or none, if it is new. What
    /// differs from the others by less than a second is meant to be in step with them (`KVM_SET_MSRS`
    /// of each vCPU, one after the other); so is 0, which a new vCPU has.
    fn offset(&mut self, khz: u32, value: Option<u64>, ns: u64) -> u64 {
        let wanted = value.unwrap_or(0);
        let expected = self
            .value
            .wrapping_add(count(ns.wrapping_sub(self.ns), khz));
        let second = u64::from(khz) * 1000;
        let near =
            wanted < expected.saturating_add(second) && wanted.saturating_add(second) > expected;
        let in_step = khz == self.khz && (wanted == 0 || self.by_user && near);
        let offset = wanted.wrapping_sub(count(ns, khz));
        *self = Last {
            khz,
            ns,
            value: wanted,
            offset: if in_step { self.offset } else { offset },
            by_user: self.by_user || value.is_some(),
        };
        self.offset
    }
}

impl Machine {
    fn tsc_offset(&self, khz: u32, value: Option<u64>) -> u64 {
        let mut last = self.tsc.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.offset(khz, value, timekeeper::now())
    }

    /// The counter of a new vCPU: 0, or in step with the others.
    pub(crate) fn new_tsc(&self) -> Tsc {
        let khz = self.tsc.khz();
        let offset = self.tsc_offset(khz, None);
        Tsc { offset, khz }
    }
}

/// User space writes the counter.
pub(crate) fn write_by_user(cpu: &mut Cpu, value: u64) {
    let khz = cpu.state.tsc.khz;
    cpu.state.tsc.offset = cpu.state.machine.tsc_offset(khz, Some(value));
    changed(cpu);
}

/// The guest moves the counter.
pub(crate) fn adjust(cpu: &mut Cpu, change: u64) {
    let offset = &mut cpu.state.tsc.offset;
    *offset = offset.wrapping_add(change);
    changed(cpu);
}

/// Sets the rate in kHz, 0 being the host's (KVM API 4.55, "KVM_SET_TSC_KHZ" of a vCPU).
pub fn set_khz(cpu: &mut Cpu, khz: u32) {
    cpu.state.tsc.khz = if khz == 0 { host_khz() } else { khz };
    changed(cpu);
}

/// The offset (`KVM_VCPU_TSC_OFFSET`; KVM's `Documentation/virt/kvm/devices/vcpu.rst`, 4.1).
pub fn offset(cpu: &Cpu) -> u64 {
    cpu.state.tsc.offset
}

/// Sets the offset. vCPUs that are made later are in step with it.
pub fn set_offset(cpu: &mut Cpu, offset: u64) {
    let (ns, tsc) = (timekeeper::now(), &mut cpu.state.tsc);
    tsc.offset = offset;
    let (khz, value) = (tsc.khz, tsc.at(ns));
    let shared = &cpu.state.machine.tsc;
    *shared.last.lock().unwrap_or_else(PoisonError::into_inner) = Last {
        khz,
        ns,
        value,
        offset,
        by_user: true,
    };
    changed(cpu);
}

/// What depends on the counter follows it.
fn changed(cpu: &mut Cpu) {
    apic::timer::tsc_changed(cpu);
    pv::clock::forget(cpu);
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
    timekeeper::now().saturating_add(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_that_are_near_are_in_step() {
        const KHZ: u32 = 2_000_000;
        let mut last = Last::default();
        let first = last.offset(KHZ, None, 1_000);
        assert_eq!(first.wrapping_add(count(1_000, KHZ)), 0);
        assert_eq!(
            last.offset(KHZ, None, 9_000),
            first,
            "a new vCPU is in step"
        );
        let restored = last.offset(KHZ, Some(1 << 40), 10_000);
        assert_ne!(restored, first);
        assert_eq!(last.offset(KHZ, Some((1 << 40) + 77), 20_000), restored);
        let apart = last.offset(KHZ, Some(1 << 41), 30_000);
        assert_ne!(apart, restored);
        // Of another rate none is.
        assert_ne!(last.offset(KHZ / 2, Some(1 << 41), 30_000), apart);
    }
}
