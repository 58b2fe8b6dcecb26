//! The I/O APIC: 24 inputs, each with an entry of a table that says which message it sends (82093AA
//! data sheet; KVM API 4.26, "KVM_GET_IRQCHIP").
//!
//! A message of a level-triggered input is sent once (remote IRR), until the EOI of its vector comes
//! back; if the input is still high then, it is sent again.

use crate::apic::delivery::{Message, Mode, Shorthand};
use understudy_abi::x86::{KVM_IOAPIC_NUM_PINS, kvm_ioapic_state};

/// Where it lies after reset.
pub const ADDRESS: u64 = 0xfec0_0000;
/// Bytes of its registers.
pub const SIZE: u64 = 0x100;
/// Its inputs.
pub const PINS: usize = KVM_IOAPIC_NUM_PINS;

/// Bits of an entry of the table.
mod entry {
    pub(super) const LOGICAL: u64 = 1 << 11;
    pub(super) const STATUS: u64 = 1 << 12;
    pub(super) const REMOTE_IRR: u64 = 1 << 14;
    pub(super) const LEVEL: u64 = 1 << 15;
    pub(super) const MASKED: u64 = 1 << 16;
    pub(super) const READ_ONLY: u64 = STATUS | REMOTE_IRR;
}

/// The version: 0x11, with the number of the last entry.
const VERSION: u32 = 0x11 | (PINS as u32 - 1) << 16;

/// The I/O APIC.
#[derive(Clone, Copy, Debug)]
pub struct Ioapic {
    /// Where it lies, which user space may change.
    address: u64,
    id: u32,
    select: u32,
    /// Inputs that are high.
    high: u32,
    table: [u64; PINS],
    /// Who holds each input high: a bit a source.
    lines: [u8; PINS],
}

impl Default for Ioapic {
    fn default() -> Ioapic {
        Ioapic {
            address: ADDRESS,
            id: 0,
            select: 0,
            high: 0,
            table: [entry::MASKED; PINS],
            lines: [0; PINS],
        }
    }
}

/// Sends a message; gives how many have accepted it, or -1.
pub type Send<'a> = &'a mut dyn FnMut(&Message) -> i32;

impl Ioapic {
    fn level(&self, pin: usize) -> bool {
        self.table[pin] & entry::LEVEL != 0
    }

    /// Sends what an input's entry says, if nothing stands in the way.
    fn service(&mut self, pin: usize, send: Send) -> i32 {
        let bits = self.table[pin];
        let level = self.level(pin);
        if bits & entry::MASKED != 0 || level && bits & entry::REMOTE_IRR != 0 {
            return -1;
        }
        let count = send(&Message {
            vector: bits as u8,
            mode: Mode::of((bits >> 8) as u32),
            logical: bits & entry::LOGICAL != 0,
            assert: true,
            level,
            shorthand: Shorthand::None,
            destination: (bits >> 56) as u32,
            hint: false,
        });
        if level && count != 0 {
            self.table[pin] |= entry::REMOTE_IRR;
        }
        count
    }

    /// A source sets an input. Gives how many vCPUs were interrupted, 0 if an edge has already asked,
    /// -1 if it is masked.
    pub fn set(&mut self, pin: usize, source: u8, high: bool, send: Send) -> i32 {
        let Some(lines) = self.lines.get_mut(pin) else {
            return -1;
        };
        let bit = 1 << (source & 7);
        *lines = if high { *lines | bit } else { *lines & !bit };
        let mask = 1 << pin;
        if *lines == 0 {
            self.high &= !mask;
            return 1;
        }
        let old = self.high;
        self.high |= mask;
        if !self.level(pin) && old == self.high {
            return 0;
        }
        self.service(pin, send)
    }

    /// The EOI of a vector: gives the inputs that send it.
    pub fn end_of_interrupt(&mut self, vector: u8, level: bool, quiet: bool, send: Send) -> u32 {
        let mut acked = 0;
        for pin in 0..PINS {
            if self.table[pin] as u8 != vector {
                continue;
            }
            acked |= 1 << pin;
            if level && !quiet && self.level(pin) {
                self.table[pin] &= !entry::REMOTE_IRR;
                if self.high & 1 << pin != 0 {
                    self.service(pin, send);
                }
            }
        }
        acked
    }

    /// The vectors of all entries, a bit each.
    pub fn vectors(&self) -> [u64; 4] {
        let mut all = [0; 4];
        for bits in self.table {
            let vector = bits as u8;
            all[usize::from(vector / 64)] |= 1 << (vector % 64);
        }
        all
    }

    fn read_register(&self) -> u32 {
        match self.select {
            0 | 2 => self.id << 24,
            1 => VERSION,
            select => {
                let index = (select as usize).wrapping_sub(0x10) / 2;
                let bits = self.table.get(index).copied().unwrap_or(u64::MAX);
                (bits >> (32 * (select & 1))) as u32
            }
        }
    }

    /// Gives the input that has been unmasked, as a bit.
    fn write_register(&mut self, value: u32, send: Send) -> u32 {
        if self.select == 0 {
            self.id = value >> 24 & 0xf;
        }
        let pin = (self.select as usize).wrapping_sub(0x10) / 2;
        let Some(bits) = self.table.get_mut(pin).filter(|_| self.select >= 0x10) else {
            return 0;
        };
        let old = *bits;
        let shift = 32 * (self.select & 1);
        let new = old & !(0xffff_ffff << shift) | u64::from(value) << shift;
        *bits = new & !entry::READ_ONLY | old & entry::READ_ONLY;
        // Software clears remote IRR so.
        if new & entry::LEVEL == 0 {
            *bits &= !entry::REMOTE_IRR;
        }
        if self.level(pin) && self.high & 1 << pin != 0 {
            self.service(pin, send);
        }
        u32::from(old & !new & entry::MASKED != 0) << pin
    }

    /// Where it lies.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// A load from its registers.
    pub fn load(&self, offset: u64, data: &mut [u8]) {
        let value = match offset & 0xf0 {
            0x00 => self.select,
            0x10 => self.read_register(),
            _ => 0,
        };
        let bytes = u64::from(value).to_le_bytes();
        for (to, from) in data.iter_mut().zip(bytes) {
            *to = from;
        }
    }

    /// A store to its registers. Gives the input that this has unmasked, as a bit.
    pub fn store(&mut self, offset: u64, data: &[u8], send: Send) -> u32 {
        let mut bytes = [0; 4];
        for (to, from) in bytes.iter_mut().zip(data) {
            *to = *from;
        }
        let value = u32::from_le_bytes(bytes);
        match offset & 0xf0 {
            0x00 => self.select = value & 0xff,
            0x10 => return self.write_register(value, send),
            _ => {}
        }
        0
    }

    /// Its image.
    pub fn image(&self) -> kvm_ioapic_state {
        kvm_ioapic_state {
            base_address: self.address,
            ioregsel: self.select,
            id: self.id,
            irr: self.high,
            pad: 0,
            redirtbl: self.table,
        }
    }

    /// Sets it to an image (KVM API 4.27, "KVM_SET_IRQCHIP"): inputs that are high there are so again, as
    /// far as user space holds them.
    pub fn set_image(&mut self, image: &kvm_ioapic_state, send: Send) {
        self.address = image.base_address;
        self.select = image.ioregsel & 0xff;
        self.id = image.id & 0xf;
        self.table = image.redirtbl;
        self.high = 0;
        self.lines = [0; PINS];
        for pin in (0..PINS).filter(|pin| image.irr & 1 << pin != 0) {
            self.set(pin, 0, true, send);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(ioapic: &mut Ioapic, register: u32, value: u32, sent: &mut Vec<u8>) -> u32 {
        let mut send = |m: &Message| {
            sent.push(m.vector);
            1
        };
        ioapic.store(0, &register.to_le_bytes(), &mut send);
        ioapic.store(0x10, &value.to_le_bytes(), &mut send)
    }

    fn read(ioapic: &mut Ioapic, register: u32) -> u32 {
        let mut bytes = [0; 4];
        ioapic.store(0, &register.to_le_bytes(), &mut |_| 0);
        ioapic.load(0x10, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn a_level_is_sent_once_until_its_end() {
        let (mut ioapic, mut sent) = (Ioapic::default(), Vec::new());
        assert_eq!(read(&mut ioapic, 1), 0x17_0011);
        let unmasked = write(&mut ioapic, 0x10 + 2 * 5, 0x8077, &mut sent);
        assert_eq!(unmasked, 1 << 5);
        let mut send = |m: &Message| {
            sent.push(m.vector);
            1
        };
        assert_eq!(ioapic.set(5, 0, true, &mut send), 1);
        assert_eq!(ioapic.set(5, 1, true, &mut send), -1);
        assert_eq!(ioapic.image().redirtbl[5], 0xc077);
        // Still high at the end: again. Then the last source lets go.
        assert_eq!(ioapic.end_of_interrupt(0x77, true, false, &mut send), 32);
        ioapic.set(5, 0, false, &mut send);
        ioapic.end_of_interrupt(0x77, true, false, &mut send);
        ioapic.set(5, 1, false, &mut send);
        ioapic.end_of_interrupt(0x77, true, false, &mut send);
        assert_eq!(ioapic.image().redirtbl[5], 0x8077);
        assert_eq!(sent, [0x77; 3]);
    }

    #[test]
    fn an_edge_is_sent_when_it_comes() {
        let (mut ioapic, mut sent) = (Ioapic::default(), Vec::new());
        assert_eq!(ioapic.set(3, 0, true, &mut |_| 1), -1, "masked");
        write(&mut ioapic, 0x16, 0x33, &mut sent);
        assert!(sent.is_empty(), "the edge is lost");
        assert_eq!(ioapic.set(3, 0, true, &mut |_| 1), 0, "it is none");
        ioapic.set(3, 0, false, &mut |_| 1);
        assert_eq!(ioapic.set(3, 0, true, &mut |_| 1), 1);
        // A level that is high when it is unmasked is sent then.
        write(&mut ioapic, 0x16, 0x1_8033, &mut sent);
        write(&mut ioapic, 0x16, 0x8034, &mut sent);
        assert_eq!(sent, [0x34]);
        // The destination, and what is behind the table.
        write(&mut ioapic, 0x17, 0x0300_0000, &mut sent);
        assert_eq!(read(&mut ioapic, 0x17), 0x0300_0000);
        assert_eq!(read(&mut ioapic, 0x40), u32::MAX);
    }
}
