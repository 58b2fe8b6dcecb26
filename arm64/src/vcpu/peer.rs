//! What other threads can see and do of a vCPU.

use crate::machine::POWER;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use understudy_engine::peers::Handle;
use understudy_engine::request::INTERRUPT;

/// Whether a vCPU runs (KVM API 4.38, "KVM_GET_MP_STATE").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MpState {
    /// `KVM_MP_STATE_RUNNABLE`.
    Runnable,
    /// `KVM_MP_STATE_STOPPED`: off (PSCI).
    Stopped,
    /// `KVM_MP_STATE_SUSPENDED`: waits for what wakes it, which is then reported.
    Suspended,
}

/// How a vCPU begins when PSCI CPU_ON has switched it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The PC.
    pub pc: u64,
    /// X0: the caller's context id.
    pub x0: u64,
    /// Data at EL1 is big-endian, as the caller's was.
    pub big_endian: bool,
}

/// A line into the vCPU (`KVM_IRQ_LINE` of type CPU).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Line {
    /// IRQ.
    Irq = 1 << 0,
    /// FIQ.
    Fiq = 1 << 1,
}

/// A vCPU as others reach it.
#[derive(Debug)]
pub struct Peer {
    handle: Handle,
    /// MPIDR_EL1, which is a register of the vCPU but by which others find it.
    mpidr: AtomicU64,
    lines: AtomicU32,
    state: AtomicU8,
    /// Held while the power state changes.
    entry: Mutex<Option<Entry>>,
    /// Whether there is an entry.
    entering: AtomicBool,
}

impl Peer {
    /// A vCPU that is to be run and has no interrupts.
    pub(crate) fn new(index: usize, id: u32) -> Peer {
        Peer {
            handle: Handle::new(index, id),
            mpidr: AtomicU64::new(0),
            lines: AtomicU32::new(0),
            state: AtomicU8::new(MpState::Runnable as u8),
            entry: Mutex::new(None),
            entering: AtomicBool::new(false),
        }
    }

    /// MPIDR_EL1.
    pub fn mpidr(&self) -> u64 {
        self.mpidr.load(Ordering::Relaxed)
    }

    /// Sets MPIDR_EL1.
    pub fn set_mpidr(&self, value: u64) {
        self.mpidr.store(value, Ordering::Relaxed);
    }

    /// The lines that are high, bits of [`Line`].
    pub fn lines(&self) -> u32 {
        self.lines.load(Ordering::SeqCst)
    }

    /// Sets the level of a line.
    pub fn set_line(&self, line: Line, level: bool) {
        let bit = line as u32;
        let old = if level {
            self.lines.fetch_or(bit, Ordering::SeqCst)
        } else {
            self.lines.fetch_and(!bit, Ordering::SeqCst)
        };
        if (old & bit != 0) != level {
            self.post(INTERRUPT);
        }
    }

    /// Whether the vCPU runs.
    pub fn mp_state(&self) -> MpState {
        match self.state.load(Ordering::SeqCst) {
            0 => MpState::Runnable,
            1 => MpState::Stopped,
            _ => MpState::Suspended,
        }
    }

    /// Sets whether the vCPU runs. Takes effect at once, also on one that is running.
    pub fn set_mp_state(&self, state: MpState) {
        let entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.store(state as u8, Ordering::SeqCst);
        drop(entry);
        self.post(POWER);
    }

    /// Switches the vCPU on with this entry, if it is off; says whether it was (PSCI CPU_ON).
    pub(crate) fn power_on(&self, entry: Entry) -> bool {
        let mut pending = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mp_state() != MpState::Stopped {
            return false;
        }
        *pending = Some(entry);
        self.entering.store(true, Ordering::SeqCst);
        self.state.store(MpState::Runnable as u8, Ordering::SeqCst);
        drop(pending);
        self.post(POWER);
        true
    }

    /// The entry that PSCI CPU_ON has asked for, once.
    pub(crate) fn take_entry(&self) -> Option<Entry> {
        if !self.entering.load(Ordering::SeqCst) {
            return None;
        }
        let mut entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        self.entering.store(false, Ordering::SeqCst);
        entry.take()
    }
}

impl Deref for Peer {
    type Target = Handle;

    #[inline]
    fn deref(&self) -> &Handle {
        &self.handle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_makes_a_request_when_it_changes() {
        let peer = Peer::new(0, 0);
        for (line, level, changes) in [
            (Line::Irq, true, true),
            (Line::Irq, true, false),
            (Line::Fiq, false, false),
            (Line::Fiq, true, true),
            (Line::Irq, false, true),
            (Line::Irq, false, false),
        ] {
            peer.set_line(line, level);
            assert_eq!(peer.lines() & line as u32 != 0, level);
            assert_eq!(peer.requests().take(INTERRUPT) != 0, changes);
        }
        assert_eq!(peer.lines(), Line::Fiq as u32);
    }

    #[test]
    fn only_a_stopped_vcpu_is_switched_on() {
        let entry = Entry {
            pc: 4,
            x0: 5,
            big_endian: true,
        };
        let peer = Peer::new(0, 0);
        for state in [MpState::Runnable, MpState::Suspended] {
            peer.set_mp_state(state);
            assert!(!peer.power_on(entry));
            assert_eq!(peer.take_entry(), None);
            assert_eq!(peer.mp_state(), state);
        }
        peer.set_mp_state(MpState::Stopped);
        peer.requests().take(POWER);
        assert!(peer.power_on(entry));
        assert_eq!(peer.requests().pending(), POWER);
        assert_eq!(peer.mp_state(), MpState::Runnable);
        assert_eq!(peer.take_entry(), Some(entry));
        assert_eq!(peer.take_entry(), None);
    }
}
