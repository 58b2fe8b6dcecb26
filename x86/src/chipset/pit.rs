//! The 8254 timer, and the port of the speaker (Intel 8254 data sheet; KVM API 4.71 to 4.73).
//!
//! A channel's count is not counted: it follows from when it was loaded. Channel 0 has an alarm of the
//! machine's timekeeper, whose ticks are interrupt 0. A guest that is too slow for its ticks gets those
//! that it has missed later (`KVM_REINJECT_CONTROL`).
//!
//! As in KVM, counts are binary also where BCD is asked for, and the gates of channels 0 and 1 are high.

use crate::apic::timer::MIN_PERIOD;
use crate::machine::Machine;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use understudy_abi::x86::{PitFlags, kvm_pit_channel_state, kvm_pit_state2};
use understudy_engine::timekeeper::{self, Alarm};

/// Ticks a second.
const HERTZ: u64 = 1_193_182;
const NS: u64 = 1_000_000_000;

/// Ports of the channels; the control word's is the one after them.
pub const PORTS: std::ops::RangeInclusive<u16> = 0x40..=0x43;
/// The port of the speaker.
pub const SPEAKER: u16 = 0x61;

/// Which byte comes next, and what is accessed: only the high one, both; else the low one.
const HIGH: u8 = 2;
const BOTH: u8 = 3;
/// The high one of both.
const SECOND: u8 = 4;

/// The counters and what is set of them.
#[derive(Clone, Copy, Debug)]
pub struct Pit {
    channels: [kvm_pit_channel_state; 3],
    flags: PitFlags,
    /// Ticks that are late are made up for.
    reinject: bool,
    /// When channel 0 ticks next.
    target: Option<u64>,
    /// Nanoseconds between its ticks; 0 if there is but one.
    period: u64,
    /// Ticks that have not been taken.
    pending: u64,
    /// The guest has taken the last one.
    taken: bool,
}

impl Default for Pit {
    fn default() -> Pit {
        let channel = |gate| kvm_pit_channel_state {
            mode: 0xff,
            gate,
            count: 0x1_0000,
            ..Default::default()
        };
        Pit {
            channels: [channel(1), channel(1), channel(0)],
            flags: PitFlags::empty(),
            reinject: true,
            target: None,
            period: 0,
            pending: 0,
            taken: true,
        }
    }
}

/// Ticks of a channel since it was loaded.
fn elapsed(channel: &kvm_pit_channel_state, now: u64) -> u64 {
    let ns = now.saturating_sub(channel.count_load_time as u64);
    (u128::from(ns) * u128::from(HERTZ) / u128::from(NS)) as u64
}

/// The reload value, which is never 0.
fn reload(channel: &kvm_pit_channel_state) -> u64 {
    match channel.count {
        0 => 0x1_0000,
        count => u64::from(count.min(0x1_0000)),
    }
}

fn count(channel: &kvm_pit_channel_state, now: u64) -> u16 {
    let (ticks, reload) = (elapsed(channel, now), reload(channel));
    (match channel.mode {
        0 | 1 | 4 | 5 => reload.wrapping_sub(ticks),
        3 => reload - ticks.wrapping_mul(2) % reload,
        _ => reload - ticks % reload,
    }) as u16
}

fn output(channel: &kvm_pit_channel_state, now: u64) -> bool {
    let (ticks, reload) = (elapsed(channel, now), reload(channel));
    match channel.mode {
        1 => ticks < reload,
        2 => ticks != 0 && ticks.is_multiple_of(reload),
        3 => ticks % reload < reload.div_ceil(2),
        4 | 5 => ticks == reload,
        _ => ticks >= reload,
    }
}

fn latch(channel: &mut kvm_pit_channel_state, now: u64) {
    if channel.count_latched == 0 {
        channel.latched_count = count(channel, now);
        channel.count_latched = channel.rw_mode;
    }
}

fn latch_status(channel: &mut kvm_pit_channel_state, now: u64) {
    if channel.status_latched == 0 {
        let out = u8::from(output(channel, now));
        let set = (channel.rw_mode & 3) << 4 | (channel.mode & 7) << 1 | channel.bcd & 1;
        channel.status = out << 7 | set;
        channel.status_latched = 1;
    }
}

impl Pit {
    /// A channel is loaded: it counts anew.
    fn load(&mut self, index: usize, value: u32, now: u64) {
        let channel = &mut self.channels[index];
        channel.count = if value == 0 { 0x1_0000 } else { value };
        channel.count_load_time = now as i64;
        if index == 0 {
            self.start(now);
        }
    }

    /// Sets when channel 0 ticks.
    fn start(&mut self, now: u64) {
        let channel = &self.channels[0];
        let ns = reload(channel) * NS / HERTZ;
        let periodic = matches!(channel.mode, 2 | 3);
        let ticks = matches!(channel.mode, 0..=4) && !self.flags.contains(PitFlags::HPET_LEGACY);
        self.period = if periodic { ns.max(MIN_PERIOD) } else { 0 };
        self.target = ticks.then(|| now + ns.max(self.period));
        self.reset_pending();
    }

    /// No tick is late.
    fn reset_pending(&mut self) {
        (self.pending, self.taken) = (0, true);
    }

    fn write_control(&mut self, value: u8, now: u64) {
        if value >> 6 == 3 {
            // Read back: latches of several channels.
            for (i, channel) in self.channels.iter_mut().enumerate() {
                if value & 2 << i != 0 {
                    if value & 0x20 == 0 {
                        latch(channel, now);
                    }
                    if value & 0x10 == 0 {
                        latch_status(channel, now);
                    }
                }
            }
            return;
        }
        let channel = &mut self.channels[usize::from(value >> 6)];
        match value >> 4 & 3 {
            0 => latch(channel, now),
            access => {
                channel.rw_mode = access;
                channel.read_state = access;
                channel.write_state = access;
                let mode = value >> 1 & 7;
                channel.mode = if mode > 5 { mode - 4 } else { mode };
                channel.bcd = value & 1;
            }
        }
    }

    fn write_count(&mut self, index: usize, value: u8, now: u64) {
        let channel = &mut self.channels[index];
        let wide = u32::from(value);
        match channel.write_state {
            HIGH => self.load(index, wide << 8, now),
            BOTH => {
                channel.write_latch = value;
                channel.write_state = SECOND;
            }
            SECOND => {
                channel.write_state = BOTH;
                let low = u32::from(channel.write_latch);
                self.load(index, low | wide << 8, now);
            }
            _ => self.load(index, wide, now),
        }
    }

    fn read_count(&mut self, index: usize, now: u64) -> u8 {
        let channel = &mut self.channels[index];
        if std::mem::take(&mut channel.status_latched) != 0 {
            return channel.status;
        }
        let [low, high] = channel.latched_count.to_le_bytes();
        match channel.count_latched {
            0 => {}
            BOTH => {
                channel.count_latched = HIGH;
                return low;
            }
            which => {
                channel.count_latched = 0;
                return if which == HIGH { high } else { low };
            }
        }
        let [low, high] = count(channel, now).to_le_bytes();
        match channel.read_state {
            BOTH => {
                channel.read_state = SECOND;
                low
            }
            SECOND => {
                channel.read_state = BOTH;
                high
            }
            HIGH => high,
            _ => low,
        }
    }

    /// Writes a port of [`PORTS`].
    pub fn write(&mut self, port: u16, value: u8, now: u64) {
        match port & 3 {
            3 => self.write_control(value, now),
            index => self.write_count(index.into(), value, now),
        }
    }

    /// Reads a port of [`PORTS`]; the control word cannot be read.
    pub fn read(&mut self, port: u16, now: u64) -> u8 {
        match port & 3 {
            3 => 0,
            index => self.read_count(index.into(), now),
        }
    }

    /// Reads the speaker's port: its data, the gate and the output of channel 2, and a clock.
    pub fn read_speaker(&self, now: u64) -> u8 {
        let data = self.flags.contains(PitFlags::SPEAKER_DATA_ON);
        let channel = &self.channels[2];
        let out = u8::from(output(channel, now));
        let refresh = (now >> 14) as u8 & 1;
        u8::from(data) << 1 | channel.gate & 1 | out << 5 | refresh << 4
    }

    /// Writes the speaker's port.
    pub fn write_speaker(&mut self, value: u8, now: u64) {
        self.flags.set(PitFlags::SPEAKER_DATA_ON, value & 2 != 0);
        let channel = &mut self.channels[2];
        let rises = channel.gate & 1 == 0 && value & 1 != 0;
        if rises && matches!(channel.mode, 1 | 2 | 3 | 5) {
            channel.count_load_time = now as i64;
        }
        channel.gate = value & 1;
    }

    /// Its image (KVM API 4.72, "KVM_GET_PIT2").
    pub fn image(&self) -> kvm_pit_state2 {
        kvm_pit_state2 {
            channels: self.channels,
            flags: self.flags.bits(),
            reserved: [0; 9],
        }
    }

    /// Sets it to an image (KVM API 4.73, "KVM_SET_PIT2"): all channels are loaded anew.
    fn set_image(&mut self, image: &kvm_pit_state2, now: u64) {
        self.channels = image.channels;
        self.flags = PitFlags::from_bits_truncate(image.flags);
        for index in 0..3 {
            let count = self.channels[index].count.min(0x1_0000);
            self.load(index, count, now);
        }
    }

    /// Channel 0's time has come. Gives whether there is to be an interrupt now.
    fn tick(&mut self, now: u64) -> bool {
        let Some(target) = self.target.filter(|target| *target <= now) else {
            return false;
        };
        let mut ticks = 1;
        self.target = None;
        if let Some(missed) = (now - target).checked_div(self.period) {
            ticks += missed;
            self.target = Some(target + ticks * self.period);
        }
        if !self.reinject {
            return true;
        }
        self.pending = self.pending.saturating_add(ticks);
        std::mem::take(&mut self.taken)
    }

    /// The guest has taken a tick. Gives whether there is to be another now.
    fn take(&mut self) -> bool {
        self.taken = true;
        self.pending = self.pending.saturating_sub(1);
        self.reinject && self.pending > 0 && std::mem::take(&mut self.taken)
    }
}

/// The timer in its machine.
pub struct Device {
    pit: Mutex<Pit>,
    /// The speaker's port is here too (`KVM_PIT_SPEAKER_DUMMY`).
    speaker: bool,
    alarm: Arc<Tick>,
    /// Held while interrupt 0 goes up and down: two at a time would be one.
    pulse: Mutex<()>,
}

/// Channel 0.
struct Tick(Weak<Machine>);

impl Device {
    /// A timer that has not been loaded.
    pub(crate) fn new(machine: &Arc<Machine>, speaker: bool) -> Device {
        Device {
            pit: Mutex::default(),
            speaker,
            alarm: Arc::new(Tick(Arc::downgrade(machine))),
            pulse: Mutex::new(()),
        }
    }

    fn pit(&self) -> MutexGuard<'_, Pit> {
        self.pit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a port; none if it is none of its.
    pub(crate) fn read(&self, port: u16) -> Option<u8> {
        let now = timekeeper::now();
        match port {
            SPEAKER if self.speaker => Some(self.pit().read_speaker(now)),
            _ if PORTS.contains(&port) => Some(self.pit().read(port, now)),
            _ => None,
        }
    }

    /// Writes a port; false if it is none of its.
    pub(crate) fn write(&self, machine: &Machine, port: u16, value: u8) -> bool {
        let now = timekeeper::now();
        match port {
            SPEAKER if self.speaker => self.pit().write_speaker(value, now),
            _ if PORTS.contains(&port) => {
                let mut pit = self.pit();
                let old = pit.target;
                pit.write(port, value, now);
                let changed = pit.target != old;
                drop(pit);
                if changed {
                    self.arm(machine);
                }
            }
            _ => return false,
        }
        true
    }

    fn arm(&self, machine: &Machine) {
        // Below the vCPUs' indices there is no such key.
        const KEY: usize = usize::MAX;
        let target = self.pit().target;
        match target {
            Some(at) => {
                let alarm: Weak<dyn Alarm> = Arc::<Tick>::downgrade(&self.alarm);
                machine.timekeeper.set(KEY, at, alarm);
            }
            None => machine.timekeeper.cancel(KEY),
        }
    }

    /// Its image.
    pub fn image(&self) -> kvm_pit_state2 {
        self.pit().image()
    }

    /// Sets it to an image.
    pub fn set_image(&self, machine: &Machine, image: &kvm_pit_state2) {
        self.pit().set_image(image, timekeeper::now());
        self.arm(machine);
    }

    /// Whether ticks that are late are made up for (KVM API 4.99, "KVM_REINJECT_CONTROL").
    pub fn set_reinject(&self, reinject: bool) {
        let mut pit = self.pit();
        if pit.reinject != reinject {
            pit.reinject = reinject;
            pit.reset_pending();
        }
    }

    /// Interrupt 0 is over.
    pub(crate) fn acked(&self, machine: &Machine) {
        let again = self.pit().take();
        if again {
            self.pulse(machine);
        }
    }

    /// Interrupt 0, and the watchdogs that it drives.
    fn pulse(&self, machine: &Machine) {
        let pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        machine.set_irq(0, super::source::PIT, true);
        machine.set_irq(0, super::source::PIT, false);
        drop(pulse);
        machine.vcpus.each(|peer| peer.tick_watchdog());
    }

    /// Interrupt 0 has been unmasked: the guest does not want what came before.
    pub(crate) fn unmasked(&self) {
        self.pit().reset_pending();
    }
}

impl Alarm for Tick {
    fn ring(&self) -> Option<u64> {
        let machine = self.0.upgrade()?;
        let device = machine.chipset()?.pit()?;
        let mut pit = device.pit();
        let interrupt = pit.tick(timekeeper::now());
        let next = pit.target;
        drop(pit);
        if interrupt {
            device.pulse(&machine);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nanoseconds of so many ticks.
    fn ticks(count: u64) -> u64 {
        (count * NS).div_ceil(HERTZ)
    }

    fn loaded(control: u8, count: u16) -> Pit {
        let mut pit = Pit::default();
        let channel = control >> 6;
        pit.write(0x43, control, 0);
        for byte in count.to_le_bytes() {
            pit.write(0x40 + u16::from(channel), byte, 0);
        }
        pit
    }

    #[test]
    fn a_channel_counts_down_from_what_was_loaded() {
        // Channel 2, both bytes, mode 0.
        let mut pit = loaded(0xb0, 1000);
        let mut at = |now| u16::from_le_bytes([pit.read(0x42, now), pit.read(0x42, now)]);
        assert_eq!(at(0), 1000);
        assert_eq!(at(ticks(10)), 990);
        assert_eq!(at(ticks(1001)), 0xffff);
        // Mode 3 counts by twos, and begins anew.
        let mut pit = loaded(0xb6, 1000);
        let mut at = |now| u16::from_le_bytes([pit.read(0x42, now), pit.read(0x42, now)]);
        assert_eq!([at(ticks(100)), at(ticks(600))], [800, 800]);
    }

    #[test]
    fn counts_and_status_are_latched() {
        let mut pit = loaded(0xb4, 500);
        // Read back: count and status of channel 2, twice; the second does nothing.
        pit.write(0x43, 0xc8, ticks(10));
        pit.write(0x43, 0xc8, ticks(20));
        let read = [0; 3].map(|_: u8| pit.read(0x42, ticks(30)));
        assert_eq!(read, [0x34, (490u16 & 0xff) as u8, 1]);
        assert_eq!(pit.read(0x42, ticks(30)), (470u16 & 0xff) as u8);
    }

    #[test]
    fn the_speaker_shows_the_second_channel() {
        let mut pit = loaded(0xb0, 100);
        pit.write_speaker(3, 0);
        assert_eq!(pit.read_speaker(0) & 0x23, 3);
        assert_eq!(pit.read_speaker(ticks(100)) & 0x23, 0x23);
        pit.write_speaker(0, 0);
        assert_eq!(pit.read_speaker(0) & 3, 0);
    }

    #[test]
    fn late_ticks_are_made_up_for() {
        let mut pit = loaded(0x34, 10_000);
        let each = pit.period;
        let begin = pit.target.expect("it is periodic");
        assert!(!pit.tick(begin - 1));
        assert!(pit.tick(begin));
        assert!(!pit.tick(begin + 2 * each), "the first was not taken");
        assert_eq!(pit.target, Some(begin + 3 * each));
        assert!(pit.take() && pit.take() && !pit.take());
        pit.reinject = false;
        assert!(pit.tick(begin + 3 * each) && pit.tick(begin + 4 * each) && !pit.take());
    }

    #[test]
    fn one_shot_modes_tick_once() {
        let mut pit = loaded(0x30, 10);
        assert!(pit.tick(ticks(10)) && pit.target.is_none());
        let mut fifth = loaded(0x3a, 10);
        assert!(!fifth.tick(ticks(20)));
    }

    #[test]
    fn any_image_is_taken() {
        let mut pit = Pit::default();
        let channel = kvm_pit_channel_state {
            count: u32::MAX,
            read_state: 0xff,
            write_state: 0xff,
            rw_mode: 0xff,
            mode: 0xff,
            count_latched: 0xff,
            count_load_time: i64::MIN,
            ..Default::default()
        };
        let image = kvm_pit_state2 {
            channels: [channel; 3],
            flags: u32::MAX,
            reserved: [0; 9],
        };
        pit.set_image(&image, 5);
        for port in 0x40..0x43 {
            pit.read(port, 7);
            pit.write(port, 0, 7);
            pit.write(0x43, 0xff, 7);
        }
    }
}
