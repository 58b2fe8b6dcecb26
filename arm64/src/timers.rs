//! The generic timer (Arm ARM D12): the counters, and the EL1 virtual and physical timers.
//!
//! The physical counter counts the host's monotonic clock at [`FREQUENCY`]; the virtual one begins
//! at 0 when the machine gets its last vCPU, or where user space sets it. A timer's output is high
//! while it is enabled, not masked and its counter has reached its compare value. While a vCPU
//! runs, the machine's timekeeper wakes it when a timer fires.

use crate::Cpu;
use crate::machine::TIMER;
use crate::sysregs::Reg;
use crate::vcpu::peer::Peer;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use understudy_abi::arm64::{DeviceIrqLevel, reg};
use understudy_engine::timekeeper::{self, Alarm};

/// CNTFRQ_EL0: increments a second, 62.5 MHz, 16 ns each; what the reference machine has.
pub const FREQUENCY: u64 = 62_500_000;
const NS_PER_INCREMENT: u64 = 1_000_000_000 / FREQUENCY;

/// CNTx_CTL_EL0.ENABLE.
const ENABLE: u64 = 1 << 0;
/// CNTx_CTL_EL0.IMASK.
const IMASK: u64 = 1 << 1;
/// CNTx_CTL_EL0.ISTATUS.
const ISTATUS: u64 = 1 << 2;

/// A timer, with the counter that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The EL1 virtual timer: CNTVCT_EL0, CNTV_*_EL0.
    Virtual = 0,
    /// The EL1 physical timer: CNTPCT_EL0, CNTP_*_EL0.
    Physical = 1,
}

impl Timer {
    const BOTH: [Timer; 2] = [Timer::Virtual, Timer::Physical];
}

/// The host's counter, which the guest's are derived from.
pub fn host_count() -> u64 {
    timekeeper::now() / NS_PER_INCREMENT
}

/// What a machine subtracts from the host's counter.
#[derive(Debug)]
pub struct Counters {
    offsets: [AtomicU64; 2],
    /// User space has set the offset of both (`KVM_ARM_SET_COUNTER_OFFSET`), which then stays.
    fixed: AtomicBool,
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

impl Counters {
    /// No offsets.
    pub fn new() -> Counters {
        Counters {
            offsets: [AtomicU64::new(0), AtomicU64::new(0)],
            fixed: AtomicBool::new(false),
        }
    }

    /// What is subtracted for this timer's counter.
    pub fn offset(&self, timer: Timer) -> u64 {
        self.offsets[timer as usize].load(Ordering::Relaxed)
    }

    /// A vCPU has been made: the virtual counter begins at 0, unless user space has set it.
    pub(crate) fn vcpu_made(&self) {
        if !self.fixed.load(Ordering::Relaxed) {
            self.offsets[0].store(host_count(), Ordering::Relaxed);
            self.offsets[1].store(0, Ordering::Relaxed);
        }
    }

    /// Sets the offset of both counters (KVM API 4.138, "KVM_ARM_SET_COUNTER_OFFSET"); from then on
    /// writes of the counters by `KVM_SET_ONE_REG` do nothing. No vCPU may be running (`EBUSY`),
    /// which the caller sees to.
    pub fn set_offset(&self, offset: u64) {
        self.fixed.store(true, Ordering::Relaxed);
        for o in &self.offsets {
            o.store(offset, Ordering::Relaxed);
        }
    }

    /// Sets a counter to a value (`KVM_REG_ARM_TIMER_CNT`, `KVM_REG_ARM_PTIMER_CNT`).
    pub fn set_count(&self, timer: Timer, value: u64) {
        if !self.fixed.load(Ordering::Relaxed) {
            let offset = host_count().wrapping_sub(value);
            self.offsets[timer as usize].store(offset, Ordering::Relaxed);
        }
    }
}

/// What this part keeps of a vCPU.
#[derive(Debug, Default)]
pub struct TimerState {
    /// CNTV_CTL_EL0 and CNTP_CTL_EL0, without ISTATUS.
    ctl: [u64; 2],
    /// CNTV_CVAL_EL0 and CNTP_CVAL_EL0.
    cval: [u64; 2],
    /// The host's count at which the timekeeper is asked to call; none if it is not.
    armed: Option<u64>,
}

/// CNTVCT_EL0 or CNTPCT_EL0.
pub fn count(cpu: &Cpu, timer: Timer) -> u64 {
    host_count().wrapping_sub(cpu.state.machine.counters.offset(timer))
}

impl TimerState {
    /// Whether the timer's condition is met, with its counter at `count`.
    fn met(&self, timer: Timer, count: u64) -> bool {
        self.cval[timer as usize] <= count
    }

    /// Whether the timer, once its condition is met, raises its interrupt.
    fn can_fire(&self, timer: Timer) -> bool {
        self.ctl[timer as usize] & (ENABLE | IMASK) == ENABLE
    }

    /// Whether a timer can raise its interrupt at all.
    #[inline]
    fn any(&self) -> bool {
        Timer::BOTH.into_iter().any(|timer| self.can_fire(timer))
    }

    /// Disables both timers, as a reset does; the compare values stay.
    pub(crate) fn reset(&mut self) {
        self.ctl = [0; 2];
    }

    /// Drops the bits that CNTx_CTL_EL0 does not have, which last only until it is used.
    pub(crate) fn load(&mut self) {
        for ctl in &mut self.ctl {
            *ctl &= ENABLE | IMASK;
        }
    }
}

/// CNTx_CTL_EL0 as the guest reads it. ISTATUS is UNKNOWN while the timer is disabled, and is 0
/// then.
pub fn read_ctl(cpu: &Cpu, timer: Timer) -> u64 {
    let ctl = cpu.state.timer.ctl[timer as usize] & (ENABLE | IMASK);
    let met = ctl & ENABLE != 0 && cpu.state.timer.met(timer, count(cpu, timer));
    ctl | if met { ISTATUS } else { 0 }
}

/// Writes CNTx_CTL_EL0 as the guest does.
pub fn write_ctl(cpu: &mut Cpu, timer: Timer, value: u64) {
    cpu.state.timer.ctl[timer as usize] = value & (ENABLE | IMASK);
    changed(cpu);
}

/// CNTx_CVAL_EL0.
pub fn read_cval(cpu: &Cpu, timer: Timer) -> u64 {
    cpu.state.timer.cval[timer as usize]
}

/// Writes CNTx_CVAL_EL0.
pub fn write_cval(cpu: &mut Cpu, timer: Timer, value: u64) {
    cpu.state.timer.cval[timer as usize] = value;
    changed(cpu);
}

/// CNTx_TVAL_EL0: the low 32 bits of what is left.
pub fn read_tval(cpu: &Cpu, timer: Timer) -> u64 {
    read_cval(cpu, timer).wrapping_sub(count(cpu, timer)) & 0xffff_ffff
}

/// Writes CNTx_TVAL_EL0: sets the compare value that far, signed, from now.
pub fn write_tval(cpu: &mut Cpu, timer: Timer, value: u64) {
    let cval = count(cpu, timer).wrapping_add(value as i32 as u64);
    write_cval(cpu, timer, cval);
}

/// A register of the generic timer that EL0 may be kept from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum El0Register {
    /// CNTFRQ_EL0.
    Frequency,
    /// CNTVCT_EL0 or CNTPCT_EL0.
    Counter(Timer),
    /// CNTx_CTL_EL0, CNTx_CVAL_EL0, CNTx_TVAL_EL0.
    Timer(Timer),
}

/// Whether CNTKCTL_EL1 lets EL0 access the register; if not the access is trapped to EL1.
pub fn el0_may(cpu: &Cpu, register: El0Register) -> bool {
    const EL0PCTEN: u64 = 1 << 0;
    const EL0VCTEN: u64 = 1 << 1;
    const EL0VTEN: u64 = 1 << 8;
    const EL0PTEN: u64 = 1 << 9;
    let enabling = match register {
        El0Register::Frequency => EL0PCTEN | EL0VCTEN,
        El0Register::Counter(Timer::Physical) => EL0PCTEN,
        El0Register::Counter(Timer::Virtual) => EL0VCTEN,
        El0Register::Timer(Timer::Virtual) => EL0VTEN,
        El0Register::Timer(Timer::Physical) => EL0PTEN,
    };
    cpu.state.sys[Reg::CNTKCTL_EL1] & enabling != 0
}

/// Reads a timer register by its `KVM_GET_ONE_REG` id; none if it is no such register.
///
/// Unlike for the guest, ISTATUS is told of a disabled timer, too.
pub fn get_one_reg(cpu: &Cpu, id: u64) -> Option<u64> {
    let ctl = |timer| {
        let met = cpu.state.timer.met(timer, count(cpu, timer));
        cpu.state.timer.ctl[timer as usize] | if met { ISTATUS } else { 0 }
    };
    Some(match id {
        reg::KVM_REG_ARM_TIMER_CTL => ctl(Timer::Virtual),
        reg::KVM_REG_ARM_TIMER_CNT => count(cpu, Timer::Virtual),
        reg::KVM_REG_ARM_TIMER_CVAL => read_cval(cpu, Timer::Virtual),
        reg::KVM_REG_ARM_PTIMER_CTL => ctl(Timer::Physical),
        reg::KVM_REG_ARM_PTIMER_CNT => count(cpu, Timer::Physical),
        reg::KVM_REG_ARM_PTIMER_CVAL => read_cval(cpu, Timer::Physical),
        _ => return None,
    })
}

/// Sets a timer register by its `KVM_SET_ONE_REG` id; false if it is no such register.
pub fn set_one_reg(cpu: &mut Cpu, id: u64, value: u64) -> bool {
    let ctl = value & 0xffff_ffff & !ISTATUS;
    match id {
        reg::KVM_REG_ARM_TIMER_CTL => cpu.state.timer.ctl[0] = ctl,
        reg::KVM_REG_ARM_TIMER_CVAL => cpu.state.timer.cval[0] = value,
        reg::KVM_REG_ARM_TIMER_CNT => cpu.state.machine.counters.set_count(Timer::Virtual, value),
        reg::KVM_REG_ARM_PTIMER_CTL => cpu.state.timer.ctl[1] = ctl,
        reg::KVM_REG_ARM_PTIMER_CVAL => cpu.state.timer.cval[1] = value,
        reg::KVM_REG_ARM_PTIMER_CNT => cpu.state.machine.counters.set_count(Timer::Physical, value),
        _ => return false,
    }
    true
}

/// The timers' outputs.
#[inline]
pub fn outputs(cpu: &Cpu) -> DeviceIrqLevel {
    // Each entry of the guest asks; to read the clock is not free.
    if !cpu.state.timer.any() {
        return DeviceIrqLevel::empty();
    }
    let now = host_count();
    let high = |timer| {
        let count = now.wrapping_sub(cpu.state.machine.counters.offset(timer));
        cpu.state.timer.can_fire(timer) && cpu.state.timer.met(timer, count)
    };
    let mut level = DeviceIrqLevel::empty();
    level.set(DeviceIrqLevel::EL1_VTIMER, high(Timer::Virtual));
    level.set(DeviceIrqLevel::EL1_PTIMER, high(Timer::Physical));
    level
}

/// The host's count at which the next output goes high; none if none will without the guest's
/// doing.
fn next(cpu: &Cpu) -> Option<u64> {
    if !cpu.state.timer.any() {
        return None;
    }
    let now = host_count();
    Timer::BOTH
        .into_iter()
        .filter(|timer| cpu.state.timer.can_fire(*timer))
        .filter_map(|timer| {
            let offset = cpu.state.machine.counters.offset(timer);
            let left = read_cval(cpu, timer).checked_sub(now.wrapping_sub(offset))?;
            (left > 0).then(|| now.saturating_add(left))
        })
        .min()
}

/// How long until the next output goes high.
pub(crate) fn until_next(cpu: &Cpu) -> Option<Duration> {
    let left = next(cpu)?.saturating_sub(host_count());
    Some(Duration::from_nanos(left.saturating_mul(NS_PER_INCREMENT)))
}

/// How long until a counter reaches a value; none if it has.
pub(crate) fn left_until(cpu: &Cpu, timer: Timer, value: u64) -> Option<Duration> {
    let left = value
        .checked_sub(count(cpu, timer))
        .filter(|left| *left != 0)?;
    Some(Duration::from_nanos(left.saturating_mul(NS_PER_INCREMENT)))
}

impl Alarm for Peer {
    fn ring(&self) -> Option<u64> {
        self.post(TIMER);
        None
    }
}

/// The guest has written a timer's register: an output may have changed, and when the next does.
fn changed(cpu: &mut Cpu) {
    cpu.requests().post(TIMER);
}

/// Has the timekeeper make the request [`TIMER`] when the next output goes high.
pub(crate) fn arm(cpu: &mut Cpu) {
    let next = next(cpu);
    if next != cpu.state.timer.armed {
        cpu.state.timer.armed = next;
        if let Some(at) = next {
            let peer = &cpu.state.peer;
            let at = at.saturating_mul(NS_PER_INCREMENT);
            let alarm: Weak<dyn Alarm> = Arc::<Peer>::downgrade(peer);
            cpu.state.machine.timekeeper.set(peer.index(), at, alarm);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::vcpu::tests::{machine, vcpu};
    use crate::{interrupts, machine};
    use understudy_engine::emit::Stop;

    const FAR: u64 = 1 << 62;

    #[test]
    fn a_new_vcpu_restarts_the_virtual_counter() {
        let machine = machine();
        let mut first = vcpu(&machine, 0);
        set_one_reg(first.cpu_mut(), reg::KVM_REG_ARM_TIMER_CNT, FAR);
        assert!(count(first.cpu(), Timer::Virtual) >= FAR);
        let physical = count(first.cpu(), Timer::Physical);
        assert!(physical <= host_count());
        let second = vcpu(&machine, 1);
        assert!(count(first.cpu(), Timer::Virtual) < FAR);
        let virtual_count = count(second.cpu(), Timer::Virtual);
        assert!(count(first.cpu(), Timer::Virtual) >= virtual_count);

        // An offset for the whole VM stays, whoever writes a counter or makes a vCPU.
        machine.counters.set_offset(5u64.wrapping_neg());
        let mut third = vcpu(&machine, 2);
        for (id, timer) in [
            (reg::KVM_REG_ARM_TIMER_CNT, Timer::Virtual),
            (reg::KVM_REG_ARM_PTIMER_CNT, Timer::Physical),
        ] {
            let before = host_count();
            assert!(set_one_reg(third.cpu_mut(), id, FAR));
            let now = get_one_reg(third.cpu(), id).expect("it is a timer's register");
            assert!((before + 5..=host_count() + 5).contains(&now));
            assert!(count(third.cpu(), timer) >= now);
        }
    }

    #[test]
    fn control_tells_the_status() {
        let machine = machine();
        let mut vcpu = vcpu(&machine, 0);
        for timer in Timer::BOTH {
            let cpu = vcpu.cpu_mut();
            // Out of reset: disabled, and the condition is met, as only user space sees.
            let ids = [reg::KVM_REG_ARM_TIMER_CTL, reg::KVM_REG_ARM_PTIMER_CTL];
            let id = ids[timer as usize];
            assert_eq!(read_ctl(cpu, timer), 0);
            assert_eq!(get_one_reg(cpu, id), Some(4));
            write_ctl(cpu, timer, 0x5555_5555_5555_5555);
            assert_eq!(read_ctl(cpu, timer), ENABLE | ISTATUS);
            assert!(!outputs(cpu).is_empty());
            write_ctl(cpu, timer, ENABLE | IMASK);
            assert_eq!(read_ctl(cpu, timer), ENABLE | IMASK | ISTATUS);
            assert!(outputs(cpu).is_empty());
            write_cval(cpu, timer, !0);
            assert_eq!(read_ctl(cpu, timer), ENABLE | IMASK);
            assert_eq!(get_one_reg(cpu, id), Some(ENABLE | IMASK));

            // Bits that the register has not are dropped by the next run only.
            assert!(set_one_reg(cpu, id, !0));
            assert_eq!(get_one_reg(cpu, id), Some(0xffff_fffb));
            assert_eq!(read_ctl(cpu, timer), ENABLE | IMASK);
            cpu.state.timer.load();
            assert_eq!(get_one_reg(cpu, id), Some(ENABLE | IMASK));
            write_ctl(cpu, timer, 0);
        }
    }

    #[test]
    fn tval_is_what_is_left() {
        let machine = machine();
        let mut vcpu = vcpu(&machine, 0);
        for timer in Timer::BOTH {
            let cpu = vcpu.cpu_mut();
            let before = count(cpu, timer);
            write_tval(cpu, timer, 0xabcd_0000_7000_0000);
            let after = count(cpu, timer);
            let cval = read_cval(cpu, timer);
            assert!((before + 0x7000_0000..=after + 0x7000_0000).contains(&cval));
            let left = read_tval(cpu, timer);
            assert!(left <= 0x7000_0000 && left > 0);
            // Negative: it was due that long ago.
            write_tval(cpu, timer, 0xffff_fff0);
            assert!(read_cval(cpu, timer) <= count(cpu, timer) - 16);
            assert!(read_tval(cpu, timer) >= 0x8000_0000);
        }
    }

    #[test]
    fn el0_may_what_cntkctl_says() {
        let machine = machine();
        let mut vcpu = vcpu(&machine, 0);
        let cpu = vcpu.cpu_mut();
        let all = [
            El0Register::Frequency,
            El0Register::Counter(Timer::Virtual),
            El0Register::Counter(Timer::Physical),
            El0Register::Timer(Timer::Virtual),
            El0Register::Timer(Timer::Physical),
        ];
        for (bits, expected) in [
            (0, [false, false, false, false, false]),
            (1 << 0, [true, false, true, false, false]),
            (1 << 1, [true, true, false, false, false]),
            (1 << 8, [false, false, false, true, false]),
            (1 << 9, [false, false, false, false, true]),
            (0xfc, [false; 5]),
        ] {
            cpu.state.sys[Reg::CNTKCTL_EL1] = bits;
            assert_eq!(
                all.map(|register| el0_may(cpu, register)),
                expected,
                "{bits:#x}"
            );
        }
    }

    #[test]
    fn user_space_is_told_of_an_output_once() {
        let machine = machine();
        let mut vcpu = vcpu(&machine, 0);
        write_ctl(vcpu.cpu_mut(), Timer::Virtual, ENABLE);
        assert_eq!(vcpu.run(), Exit::Interrupted);
        assert_eq!(vcpu.device_irq_level(), DeviceIrqLevel::EL1_VTIMER);
        // User space knows now; the guest's turning the other one on is news.
        let cpu = vcpu.cpu_mut();
        assert_eq!(interrupts::service(cpu), Ok(()));
        write_ctl(cpu, Timer::Physical, ENABLE);
        assert_eq!(interrupts::service(cpu), Err(Stop::Exit));
        assert_eq!(cpu.state.exit.take(), Some(Exit::Interrupted));
        cpu.state.interrupts.reported = outputs(cpu);
        // Its turning one off is told with the next other event.
        write_ctl(cpu, Timer::Physical, 0);
        assert_eq!(interrupts::service(cpu), Ok(()));
        cpu.requests().post(understudy_engine::request::INTERRUPT);
        assert_eq!(interrupts::service(cpu), Err(Stop::Exit));
        cpu.state.exit = None;
        // And user space may have its own idea of what it was told.
        vcpu.set_device_irq_level(DeviceIrqLevel::all());
        assert_eq!(
            vcpu.device_irq_level(),
            DeviceIrqLevel::EL1_VTIMER | DeviceIrqLevel::EL1_PTIMER
        );
    }

    #[test]
    fn waiting_for_an_interrupt_ends_with_the_timer() {
        let machine = machine();
        let mut vcpu = vcpu(&machine, 0);
        for timer in Timer::BOTH {
            let cpu = vcpu.cpu_mut();
            write_tval(cpu, timer, FREQUENCY / 500);
            write_ctl(cpu, timer, ENABLE);
            assert_eq!(interrupts::service(cpu), Ok(()));
            assert_eq!(interrupts::wait_for_interrupt(cpu), Ok(0));
            assert!(read_ctl(cpu, timer) & ISTATUS != 0);
            write_ctl(cpu, timer, 0);
        }
    }

    #[test]
    fn the_timekeeper_calls_a_vcpu_that_runs() {
        let machine = machine();
        let mut vcpu = vcpu(&machine, 0);
        let cpu = vcpu.cpu_mut();
        write_tval(cpu, Timer::Virtual, FREQUENCY / 500);
        write_ctl(cpu, Timer::Virtual, ENABLE);
        assert_eq!(interrupts::service(cpu), Ok(()));
        assert_eq!(cpu.requests().pending() & machine::TIMER, 0);
        // Asked for later, it calls later: not the first time.
        write_tval(cpu, Timer::Virtual, FREQUENCY / 100);
        assert_eq!(interrupts::service(cpu), Ok(()));
        while cpu.requests().pending() & machine::TIMER == 0 {
            std::thread::yield_now();
        }
        assert_eq!(outputs(cpu), DeviceIrqLevel::EL1_VTIMER);
        assert_eq!(interrupts::service(cpu), Err(Stop::Exit));
    }
}
