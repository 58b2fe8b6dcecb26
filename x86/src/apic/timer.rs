//! The local APIC's timer (SDM vol. 3A, 11.5.4): one-shot, periodic, and at a value of the TSC.
//!
//! While it runs, the machine's timekeeper has an alarm for it, which delivers the interrupt on its
//! own thread: the vCPU need not be running.

use super::{Apic, lvt, registers::reg};
use crate::vcpu::peer::Peer;
use crate::{Cpu, tsc};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use understudy_engine::timekeeper::{self, Alarm};

/// Nanoseconds between ticks of a periodic timer at least, as KVM's `min_timer_period_us` has it by
/// default: the machine must have time for something else.
pub(crate) const MIN_PERIOD: u64 = 200_000;

/// LVT timer: bits of the mode.
const MODE: u32 = 3 << 17;
const PERIODIC: u32 = 1 << 17;
const TSC_DEADLINE: u32 = 2 << 17;

/// The state of a timer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer {
    /// When it fires, by the host's monotonic clock.
    target: Option<u64>,
    /// Nanoseconds that the initial count takes.
    period: u64,
    /// IA32_TSC_DEADLINE.
    deadline: u64,
    /// The mode that was set last.
    mode: u32,
}

impl Timer {
    /// It does not fire any more.
    pub(super) fn stop(&mut self) {
        *self = Timer {
            mode: self.mode,
            ..Timer::default()
        };
    }
}

impl Apic {
    pub(super) fn timer(&self) -> MutexGuard<'_, Timer> {
        self.timer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By what the bus's cycles are divided (SDM vol. 3A, figure 11-10).
    fn divisor(&self) -> u64 {
        let value = self.get(reg::DIVIDE);
        let code = value & 3 | value >> 1 & 4;
        1 << ((code + 1) & 7)
    }

    /// Nanoseconds that so many counts take.
    fn duration(&self, count: u32) -> u64 {
        u64::from(count)
            .saturating_mul(self.bus_cycle)
            .saturating_mul(self.divisor())
    }

    /// The current count.
    pub(super) fn current_count(&self) -> u32 {
        let timer = *self.timer();
        let Some(target) = timer.target else {
            return 0;
        };
        if timer.mode == TSC_DEADLINE || timer.period == 0 {
            return 0;
        }
        let left = target.saturating_sub(timekeeper::now()) % timer.period.max(1);
        let each = self.bus_cycle.saturating_mul(self.divisor());
        (left / each.max(1)).min(u64::from(u32::MAX)) as u32
    }

    /// The entry of the local vector table has been written. To and from TSC-deadline mode the timer
    /// is stopped.
    pub(super) fn timer_mode_written(&self) {
        let mode = self.get(reg::LVT_TIMER) & MODE;
        let mut timer = self.timer();
        if (mode == TSC_DEADLINE) != (timer.mode == TSC_DEADLINE) {
            timer.stop();
            self.set(reg::INITIAL_COUNT, 0);
        }
        timer.mode = mode;
    }

    /// IA32_TSC_DEADLINE: 0 unless it is used.
    pub(super) fn deadline(&self) -> u64 {
        self.timer().deadline
    }

    /// Begins to count down from `left`, of an initial count that stands already.
    fn start(&self, left: u64) {
        let mut timer = self.timer();
        timer.period = self.duration(self.get(reg::INITIAL_COUNT));
        if timer.mode == PERIODIC && timer.period != 0 {
            timer.period = timer.period.max(MIN_PERIOD);
        }
        timer.target = (timer.period != 0).then(|| timekeeper::now().saturating_add(left));
    }

    /// What the registers of an image say, `current` being the current count.
    pub(super) fn restart(&self, current: u32) {
        self.timer_mode_written();
        let stopped = self.timer().mode == TSC_DEADLINE;
        if !stopped {
            let full = self.duration(self.get(reg::INITIAL_COUNT));
            let left = match current {
                0 => full,
                _ => self.duration(current).min(full),
            };
            self.start(left);
        }
    }
}

/// The initial count: the timer begins anew, or is stopped by 0.
pub(super) fn write_initial_count(cpu: &mut Cpu, value: u32) {
    let apic = cpu.state.peer.apic();
    if apic.timer().mode == TSC_DEADLINE {
        return;
    }
    apic.set(reg::INITIAL_COUNT, value);
    apic.start(apic.duration(value));
    arm(cpu);
}

/// The divide configuration: what is left is counted at the new rate.
pub(super) fn write_divide(cpu: &mut Cpu, value: u32) {
    let apic = cpu.state.peer.apic();
    let old = apic.divisor();
    apic.set(reg::DIVIDE, value);
    let new = apic.divisor();
    let timer = *apic.timer();
    if new != old
        && timer.mode != TSC_DEADLINE
        && let Some(target) = timer.target
    {
        let left = target.saturating_sub(timekeeper::now());
        apic.start((u128::from(left) * u128::from(new) / u128::from(old)) as u64);
        arm(cpu);
    }
}

/// IA32_TSC_DEADLINE, which counts only in that mode.
pub(super) fn write_deadline(cpu: &mut Cpu, value: u64) {
    let apic = cpu.state.peer.apic();
    if apic.timer().mode == TSC_DEADLINE {
        let at = (value != 0).then(|| tsc::when(cpu, value));
        let mut timer = apic.timer();
        (timer.deadline, timer.target) = (value, at);
        drop(timer);
        arm(cpu);
    }
}

/// The vCPU's TSC has jumped: a deadline is at another time now.
pub(crate) fn tsc_changed(cpu: &mut Cpu) {
    let value = cpu.state.peer.apic().deadline();
    if value != 0 {
        write_deadline(cpu, value);
    }
}

/// Has the timer's alarm set.
pub(super) fn arm(cpu: &Cpu) {
    let peer = &cpu.state.peer;
    let target = peer.apic().timer().target;
    let Some(target) = target else {
        return;
    };
    let next = if target <= timekeeper::now() {
        peer.ring()
    } else {
        Some(target)
    };
    if let Some(next) = next {
        let alarm: Weak<dyn Alarm> = Arc::<Peer>::downgrade(peer);
        let keeper = &cpu.state.machine.timekeeper;
        keeper.set(peer.index(), next, alarm);
    }
}

impl Alarm for Peer {
    fn ring(&self) -> Option<u64> {
        let apic = self.apic();
        let mut timer = apic.timer();
        let (target, now) = (timer.target?, timekeeper::now());
        if target > now {
            return Some(target);
        }
        timer.target = None;
        timer.deadline = 0;
        if timer.mode == PERIODIC && timer.period != 0 {
            // Ticks that nobody was there for are one.
            let missed = (now - target) / timer.period;
            timer.target = Some(target + (missed + 1) * timer.period);
        }
        let next = timer.target;
        drop(timer);
        if apic.get(reg::LVT_TIMER) & lvt::MASKED == 0 {
            self.deliver_local(reg::LVT_TIMER);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divide_configuration_is_that_of_the_manual() {
        let bare = crate::testing::Bare::new();
        let apic = bare.vcpu.peer().apic();
        let table = [
            (0, 2),
            (1, 4),
            (2, 8),
            (3, 16),
            (8, 32),
            (9, 64),
            (10, 128),
            (11, 1),
        ];
        for (value, divisor) in table {
            apic.set(reg::DIVIDE, value);
            assert_eq!(apic.divisor(), divisor);
        }
    }
}
