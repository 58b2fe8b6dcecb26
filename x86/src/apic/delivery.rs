//! Messages between local APICs, and from IOAPIC and devices to them: whom they mean (SDM vol. 3A,
//! 11.6.2 and 11.12.10), and what they do there (11.5, 11.8.4).

use super::{Apic, event, lvt, registers::reg};
use crate::machine::Machine;
use crate::vcpu::peer::Peer;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use understudy_engine::request::INTERRUPT;

/// How a message is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// The vector, to all that are meant.
    Fixed = 0,
    /// The vector, to one of them.
    Lowest = 1,
    /// A system-management interrupt: there are none.
    Smi = 2,
    /// Reserved (remote read).
    Reserved = 3,
    /// A non-maskable interrupt.
    Nmi = 4,
    /// INIT.
    Init = 5,
    /// Start-up; in a local vector table reserved.
    StartUp = 6,
    /// An interrupt of the PICs, whose vector they tell themselves.
    ExtInt = 7,
}

impl Mode {
    /// The mode of a field's low three bits.
    pub fn of(bits: u32) -> Mode {
        match bits & 7 {
            0 => Mode::Fixed,
            1 => Mode::Lowest,
            2 => Mode::Smi,
            3 => Mode::Reserved,
            4 => Mode::Nmi,
            5 => Mode::Init,
            6 => Mode::StartUp,
            _ => Mode::ExtInt,
        }
    }
}

/// Who is meant whatever the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shorthand {
    /// Nobody: the destination counts.
    None = 0,
    /// The sender.
    Itself = 1,
    /// All.
    All = 2,
    /// All but the sender.
    Others = 3,
}

impl Shorthand {
    /// The shorthand of a field's low two bits.
    pub fn of(bits: u32) -> Shorthand {
        match bits & 3 {
            0 => Shorthand::None,
            1 => Shorthand::Itself,
            2 => Shorthand::All,
            _ => Shorthand::Others,
        }
    }
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The vector.
    pub vector: u8,
    /// How it is delivered.
    pub mode: Mode,
    /// The destination is a logical one.
    pub logical: bool,
    /// The line goes up (INIT can also go down, which does nothing).
    pub assert: bool,
    /// Level-triggered.
    pub level: bool,
    /// Who is meant in any case.
    pub shorthand: Shorthand,
    /// Who is meant.
    pub destination: u32,
    /// A device's message is for one of those that are meant.
    pub hint: bool,
}

/// In xAPIC mode: all.
const ALL: u32 = 0xff;
/// In x2APIC mode: all.
const ALL_X2APIC: u32 = u32::MAX;
/// DFR of the flat model.
const FLAT: u32 = u32::MAX;
/// DFR of the cluster model.
const CLUSTER: u32 = 0x0fff_ffff;

impl Apic {
    /// Whether a destination means it.
    pub(crate) fn is_meant(&self, machine: &Machine, source: Option<&Apic>, m: &Message) -> bool {
        let itself = source.is_some_and(|source| source.id == self.id);
        match m.shorthand {
            Shorthand::Itself => return itself,
            Shorthand::All => return true,
            Shorthand::Others => return !itself,
            Shorthand::None => {}
        }
        let mut destination = m.destination;
        let x2apic = self.x2apic();
        let quirk = !machine.apic.no_broadcast_quirk.load(Ordering::Relaxed);
        if x2apic && destination == ALL && source.is_none() && quirk {
            destination = ALL_X2APIC;
        }
        let all = if x2apic { ALL_X2APIC } else { ALL };
        if destination == all {
            return true;
        }
        if !m.logical {
            // In xAPIC mode one with a longer id is found by that one too.
            let longer = self.id > 0xff && destination == self.id;
            return if x2apic {
                destination == self.id
            } else {
                longer || destination == self.get(reg::ID) >> 24
            };
        }
        let id = self.get(reg::LDR);
        if x2apic {
            return id >> 16 == destination >> 16 && id & destination & 0xffff != 0;
        }
        let id = id >> 24;
        match self.get(reg::DFR) {
            FLAT => id & destination != 0,
            CLUSTER => id >> 4 == destination >> 4 && id & destination & 0xf != 0,
            _ => false,
        }
    }

    /// Takes a message; false if it is lost. The vCPU has then to be told.
    fn accept(&self, mode: Mode, vector: u8, assert: bool, level: bool) -> bool {
        match mode {
            Mode::Fixed | Mode::Lowest => {
                if level && !assert || !self.enabled() {
                    return false;
                }
                self.set_vector(reg::TMR, vector, level);
                self.set_vector(reg::IRR, vector, true);
            }
            Mode::Nmi => self.note(event::NMI),
            // The end of a level-triggered INIT is for the bus's arbitration only.
            Mode::Init if level && !assert => return false,
            Mode::Init => {
                // It is no news what was told before.
                self.take_noted(event::SIPI);
                self.note(event::INIT);
            }
            Mode::StartUp => {
                self.sipi.store(vector, Ordering::SeqCst);
                self.note(event::SIPI);
            }
            Mode::Smi | Mode::Reserved | Mode::ExtInt => return false,
        }
        true
    }
}

impl Peer {
    fn accept(&self, m: &Message) -> bool {
        let accepted = self.apic().accept(m.mode, m.vector, m.assert, m.level);
        if accepted {
            self.post(INTERRUPT);
        }
        accepted
    }

    /// Delivers what an entry of its local vector table says (SDM vol. 3A, 11.5.1).
    pub(crate) fn deliver_local(&self, offset: u32) -> bool {
        let apic = self.apic();
        let entry = apic.get(offset);
        if !apic.enabled() || entry & lvt::MASKED != 0 {
            return false;
        }
        let level = entry & lvt::LEVEL != 0;
        let accepted = apic.accept(Mode::of(entry >> 8), entry as u8, true, level);
        if accepted {
            self.post(INTERRUPT);
        }
        accepted
    }

    /// A tick of the PIT, where LINT0 is a watchdog's NMI.
    pub(crate) fn tick_watchdog(&self) {
        if self.apic().get(reg::LVT0) & lvt::MODE == lvt::NMI {
            self.deliver_local(reg::LVT0);
        }
    }
}

/// Delivers a message, of a local APIC or of another. Gives how many have accepted it, or -1 if it
/// means nobody.
pub fn deliver(machine: &Machine, source: Option<&Apic>, message: &Message) -> i32 {
    let mut message = *message;
    let mut one = message.mode == Mode::Lowest || message.hint;
    if one && !message.logical && message.destination == ALL {
        // All of them cannot be one.
        message.mode = Mode::Fixed;
        one = message.hint;
    }
    let mut count = -1;
    let mut candidates: Vec<Arc<Peer>> = Vec::new();
    machine.vcpus.each(|peer| {
        let apic = peer.apic();
        if !apic.in_kernel() || !apic.enabled() || !apic.is_meant(machine, source, &message) {
            return;
        }
        if !one {
            count = count.max(0) + i32::from(peer.accept(&message));
        } else if apic.software_enabled() {
            candidates.push(peer.clone());
        }
    });
    // KVM's choice, which spreads vectors: any would do.
    let choice = usize::from(message.vector).checked_rem(candidates.len());
    if let Some(peer) = choice.and_then(|index| candidates.get(index)) {
        count = i32::from(peer.accept(&message));
    }
    count
}

/// Delivers a message to the vCPU with this x2APIC ID, and gives how many that was.
pub(crate) fn deliver_to(machine: &Machine, id: u32, message: &Message) -> u64 {
    let mut count = 0;
    machine.vcpus.each(|peer| {
        let apic = peer.apic();
        if apic.in_kernel() && apic.enabled() && apic.id() == id {
            count += u64::from(peer.accept(message));
        }
    });
    count
}

impl Machine {
    /// Delivers the message that a device writes to an address (SDM vol. 3A, 11.11; KVM API 4.70,
    /// "KVM_SIGNAL_MSI"). Gives how many vCPUs have accepted it, or -1 if it means none.
    pub fn signal_msi(&self, address: u64, data: u32) -> i32 {
        deliver(self, None, &self.message(address, data))
    }

    /// What a device's message means.
    pub(crate) fn message(&self, address: u64, data: u32) -> Message {
        let low = address as u32;
        let mut destination = low >> 12 & 0xff;
        if self.apic.ids_of_32_bits.load(Ordering::Relaxed) {
            destination |= (address >> 32) as u32 & 0xffff_ff00;
        }
        Message {
            vector: data as u8,
            mode: Mode::of(data >> 8),
            logical: low & 1 << 2 != 0,
            assert: true,
            level: data & 1 << 15 != 0,
            shorthand: Shorthand::None,
            destination,
            hint: low & 1 << 3 != 0,
        }
    }

    /// Whether an address of a device's message has bits that must not be set (KVM API 4.52).
    pub fn is_msi_valid(&self, address: u64) -> bool {
        let long = self.apic.ids_of_32_bits.load(Ordering::Relaxed);
        !long || address >> 32 & 0xff == 0
    }
}
