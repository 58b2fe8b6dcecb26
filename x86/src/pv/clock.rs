//! kvmclock: nanoseconds since the VM began, which the guest computes from its time stamp counter (KVM's
//! `Documentation/virt/kvm/x86/msr.rst`; KVM API 4.29, "KVM_GET_CLOCK").
//!
//! ```text
//!   time = system_time + ((TSC - tsc_timestamp) << shift) * multiplier >> 32
//! ```
//!
//! All vCPUs have the same two points in time in their structures, so that no two of them disagree.

use crate::Cpu;
use crate::machine::Machine;
use crate::tsc::count;
use crate::vcpu::Vcpu;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use understudy_abi::common::ClockFlags;
use understudy_abi::x86::kvm_clock_data;
use understudy_engine::request::INTERRUPT;
use understudy_engine::timekeeper;

/// `PVCLOCK_TSC_STABLE_BIT`.
const STABLE: u8 = 1 << 0;
/// `PVCLOCK_GUEST_STOPPED`.
const STOPPED: u8 = 1 << 1;
/// The MSR's bit that says that there is a structure.
const ENABLED: u64 = 1 << 0;

/// A time by the host's clock, and by the VM's.
#[derive(Clone, Copy, Debug)]
struct Point {
    host: u64,
    guest: u64,
}

/// A VM's clock.
#[derive(Debug)]
pub struct Clock {
    point: Mutex<Point>,
    /// Counts changes of it.
    changes: AtomicU64,
    /// MSR_KVM_WALL_CLOCK.
    pub(crate) wall: AtomicU64,
}

impl Default for Clock {
    /// One that begins now.
    fn default() -> Clock {
        Clock {
            point: Mutex::new(Point {
                host: timekeeper::now(),
                guest: 0,
            }),
            changes: AtomicU64::new(1),
            wall: AtomicU64::new(0),
        }
    }
}

/// Shift and multiplier that make nanoseconds of a counter of this rate.
fn scale(khz: u32) -> (i8, u32) {
    const SECOND: u64 = 1_000_000_000;
    let (mut rate, mut shift) = (u64::from(khz.max(1)) * 1000, 0);
    while rate > 2 * SECOND {
        rate >>= 1;
        shift -= 1;
    }
    while rate <= SECOND {
        rate <<= 1;
        shift += 1;
    }
    (shift, ((SECOND << 32) / rate) as u32)
}

/// The nanoseconds of so many counts, as the guest computes them.
fn nanoseconds(counts: u64, khz: u32) -> u64 {
    let (shift, multiplier) = scale(khz);
    let shifted = if shift < 0 {
        counts >> -shift
    } else {
        counts << shift
    };
    ((u128::from(shifted) * u128::from(multiplier)) >> 32) as u64
}

impl Clock {
    fn point(&self) -> Point {
        *self.point.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it shows at a time of the host's, to a guest with a counter of this rate.
    fn at(&self, host: u64, khz: u32) -> u64 {
        let point = self.point();
        let counts = count(host, khz).wrapping_sub(count(point.host, khz));
        point.guest.wrapping_add(nanoseconds(counts, khz))
    }
}

fn real_time() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

impl Machine {
    /// `KVM_GET_CLOCK`.
    pub fn clock(&self) -> kvm_clock_data {
        let (host, khz) = (timekeeper::now(), self.tsc.khz());
        let flags = ClockFlags::TSC_STABLE | ClockFlags::REALTIME | ClockFlags::HOST_TSC;
        kvm_clock_data {
            clock: self.pv.clock.at(host, khz),
            flags: flags.bits(),
            realtime: real_time(),
            host_tsc: count(host, khz),
            ..Default::default()
        }
    }

    /// `KVM_SET_CLOCK`; false for `EINVAL`. With a wall clock's time, what has passed since is added.
    #[must_use]
    pub fn set_clock(&self, wanted: &kvm_clock_data) -> bool {
        let Some(flags) = ClockFlags::from_bits(wanted.flags) else {
            return false;
        };
        let mut guest = wanted.clock;
        if flags.contains(ClockFlags::REALTIME) {
            guest = guest.wrapping_add(real_time().saturating_sub(wanted.realtime));
        }
        let clock = &self.pv.clock;
        *clock.point.lock().unwrap_or_else(PoisonError::into_inner) = Point {
            host: timekeeper::now(),
            guest,
        };
        clock.changes.fetch_add(1, Ordering::SeqCst);
        self.vcpus.broadcast(None, INTERRUPT);
        true
    }
}

/// A vCPU's structure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PerVcpu {
    /// MSR_KVM_SYSTEM_TIME.
    pub(crate) msr: u64,
    /// The change of the VM's clock that it has seen.
    seen: u64,
    /// `KVM_KVMCLOCK_CTRL`.
    stopped: bool,
}

/// Writes MSR_KVM_SYSTEM_TIME.
pub(super) fn enable(cpu: &mut Cpu, value: u64) {
    cpu.state.pv.clock.msr = value;
    forget(cpu);
    service(cpu);
}

/// The structure has to be written again.
pub(crate) fn forget(cpu: &mut Cpu) {
    cpu.state.pv.clock.seen = 0;
}

/// Writes the structure if it is out of date.
pub(crate) fn service(cpu: &mut Cpu) {
    let clock = &cpu.state.machine.pv.clock;
    let changes = clock.changes.load(Ordering::SeqCst);
    let own = &mut cpu.state.pv.clock;
    if own.msr & ENABLED == 0 || own.seen == changes {
        return;
    }
    own.seen = changes;
    let stopped = std::mem::take(&mut own.stopped);
    let (at, point) = (own.msr & !ENABLED, clock.point());
    let tsc = cpu.state.tsc;
    let (shift, multiplier) = scale(tsc.khz());
    let memory = &cpu.state.memory;
    // Where there is no memory nobody reads it.
    let version = memory.load::<u32>(at).unwrap_or(0) | 1;
    let old = memory.load::<u8>(at.wrapping_add(29)).unwrap_or(0);
    let flags = STABLE | old & STOPPED | if stopped { STOPPED } else { 0 };
    let mut body = [0; 24];
    body[..8].copy_from_slice(&tsc.at(point.host).to_le_bytes());
    body[8..16].copy_from_slice(&point.guest.to_le_bytes());
    body[16..20].copy_from_slice(&multiplier.to_le_bytes());
    body[20..22].copy_from_slice(&[shift as u8, flags]);
    let _ = memory
        .store(at, version)
        .and_then(|()| memory.write(at.wrapping_add(8), &body))
        .and_then(|()| memory.store(at, version.wrapping_add(1)));
}

/// Writes MSR_KVM_WALL_CLOCK: the time of day at which the VM's clock was 0 is stored there.
pub(super) fn write_wall_clock(cpu: &mut Cpu, at: u64) {
    let machine = &cpu.state.machine;
    machine.pv.clock.wall.store(at, Ordering::SeqCst);
    if at == 0 {
        return;
    }
    let data = machine.clock();
    let epoch = data.realtime.wrapping_sub(data.clock);
    let memory = &cpu.state.memory;
    let version = memory.load::<u32>(at).unwrap_or(0) | 1;
    let seconds = (epoch / 1_000_000_000) as u32;
    let rest = (epoch % 1_000_000_000) as u32;
    let _ = memory
        .store(at, version)
        .and_then(|()| memory.store(at.wrapping_add(4), seconds))
        .and_then(|()| memory.store(at.wrapping_add(8), rest))
        .and_then(|()| memory.store(at, version.wrapping_add(1)));
}

impl Vcpu {
    /// `KVM_KVMCLOCK_CTRL`: the guest is told that it was stopped. False, for `EINVAL`, if it has no
    /// clock.
    #[must_use]
    pub fn kvmclock_ctrl(&mut self) -> bool {
        let own = &mut self.cpu_mut().state.pv.clock;
        if own.msr & ENABLED == 0 {
            return false;
        }
        (own.stopped, own.seen) = (true, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_make_nanoseconds() {
        assert_eq!(scale(1_000_000), (1, 0x8000_0000));
        for khz in [1, 1000, 62_500, 1_000_000, 2_445_426, 5_000_000] {
            let ns = nanoseconds(u64::from(khz) * 1000 * 10, khz);
            assert!(
                (9_999_999_900..=10_000_000_000).contains(&ns),
                "{khz}: {ns}"
            );
        }
    }
}
