//! The generic timer's registers, as rows of the table. What they do is in [`crate::timers`].

use crate::Cpu;
use crate::timers::{self, El0Register, FREQUENCY, Timer};
use understudy_engine::emit::Stop;

/// [`Timer::Physical`], as an argument of the functions below.
pub(super) const PHYSICAL: bool = true;
/// [`Timer::Virtual`].
pub(super) const VIRTUAL: bool = false;

const fn timer(physical: bool) -> Timer {
    if physical {
        Timer::Physical
    } else {
        Timer::Virtual
    }
}

pub(super) fn frequency(_: &mut Cpu) -> Result<u64, Stop> {
    Ok(FREQUENCY)
}

pub(super) fn count<const T: bool>(cpu: &mut Cpu) -> Result<u64, Stop> {
    Ok(timers::count(cpu, timer(T)))
}

pub(super) fn tval<const T: bool>(cpu: &mut Cpu) -> Result<u64, Stop> {
    Ok(timers::read_tval(cpu, timer(T)))
}

pub(super) fn set_tval<const T: bool>(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    timers::write_tval(cpu, timer(T), value);
    Ok(())
}

pub(super) fn ctl<const T: bool>(cpu: &mut Cpu) -> Result<u64, Stop> {
    Ok(timers::read_ctl(cpu, timer(T)))
}

pub(super) fn set_ctl<const T: bool>(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    timers::write_ctl(cpu, timer(T), value);
    Ok(())
}

pub(super) fn cval<const T: bool>(cpu: &mut Cpu) -> Result<u64, Stop> {
    Ok(timers::read_cval(cpu, timer(T)))
}

pub(super) fn set_cval<const T: bool>(cpu: &mut Cpu, value: u64) -> Result<(), Stop> {
    timers::write_cval(cpu, timer(T), value);
    Ok(())
}

pub(super) fn el0_frequency(cpu: &Cpu) -> bool {
    timers::el0_may(cpu, El0Register::Frequency)
}

pub(super) fn el0_count<const T: bool>(cpu: &Cpu) -> bool {
    timers::el0_may(cpu, El0Register::Counter(timer(T)))
}

pub(super) fn el0_timer<const T: bool>(cpu: &Cpu) -> bool {
    timers::el0_may(cpu, El0Register::Timer(timer(T)))
}
