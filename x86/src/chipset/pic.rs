//! The two 8259A interrupt controllers, as a PC has them: the second one's output is input 2 of the
//! first, and PIIX's ELCR registers choose which inputs are level-triggered (Intel 8259A data sheet;
//! 82371SB data sheet, 3.1.4).
//!
//! The state is kept in the form of the KVM API's image.

use understudy_abi::x86::kvm_pic_state;

/// What a caller has to do after an access, when it has let go of the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acked {
    /// Inputs, of both controllers, whose interrupt is over.
    pub inputs: u16,
    /// Inputs that have been unmasked.
    pub unmasked: u16,
}

/// The stage of an initialisation: which ICW comes next.
const OPERATING: u8 = 0;
const ICW2: u8 = 1;
const ICW3: u8 = 2;
const ICW4: u8 = 3;

/// The input of the first controller that the second is at.
const CASCADE: u8 = 2;

/// Inputs that can be level-triggered; the others belong to devices of the board.
const ELCR_MASKS: [u8; 2] = [0xf8, 0xde];

/// Both controllers.
#[derive(Clone, Copy, Debug)]
pub struct Pics {
    chips: [kvm_pic_state; 2],
    /// Who holds each input high: a bit a source.
    lines: [u8; 16],
    acked: Acked,
}

impl Default for Pics {
    fn default() -> Pics {
        let chip = |elcr_mask| kvm_pic_state {
            elcr_mask,
            ..kvm_pic_state::default()
        };
        Pics {
            chips: ELCR_MASKS.map(chip),
            lines: [0; 16],
            acked: Acked::default(),
        }
    }
}

/// How far an input is from the one of the highest priority; 8 for none.
fn distance(chip: &kvm_pic_state, inputs: u8) -> u8 {
    let turned = inputs.rotate_right(u32::from(chip.priority_add & 7));
    turned.trailing_zeros() as u8
}

/// The input whose interrupt a controller asks for.
fn wanted(chip: &kvm_pic_state) -> Option<u8> {
    let asked = distance(chip, chip.irr & !chip.imr);
    let mut served = chip.isr;
    if chip.special_mask != 0 {
        served &= !chip.imr;
    }
    // Special fully nested: the second controller may interrupt itself.
    if chip.special_fully_nested_mode != 0 && chip.elcr_mask == ELCR_MASKS[0] {
        served &= !(1 << CASCADE);
    }
    (asked < distance(chip, served)).then_some((asked + chip.priority_add) & 7)
}

/// An input changes. Gives whether this asks for an interrupt, or -1 if it is masked.
fn set_input(chip: &mut kvm_pic_state, input: u8, high: bool) -> i32 {
    let bit = 1 << input;
    let mut news = 1;
    let level = chip.elcr & bit != 0;
    if high {
        if level || chip.last_irr & bit == 0 {
            news = i32::from(chip.irr & bit == 0);
            chip.irr |= bit;
        }
        chip.last_irr |= bit;
    } else {
        if level {
            chip.irr &= !bit;
        }
        chip.last_irr &= !bit;
    }
    if chip.imr & bit != 0 { -1 } else { news }
}

/// A number of a boolean field.
fn is(value: bool) -> u8 {
    u8::from(value)
}

impl Pics {
    /// Whether there is an interrupt for the vCPU.
    pub fn output(&self) -> bool {
        wanted(&self.chips[0]).is_some()
    }

    /// The second controller's output goes to the first.
    fn cascade(&mut self) {
        let output = wanted(&self.chips[1]).is_some();
        set_input(&mut self.chips[0], CASCADE, output);
    }

    /// A source sets an input, 0 to 15. Gives 1 if that asks for an interrupt, 0 if one is asked for
    /// already, -1 if it is masked.
    pub fn set(&mut self, input: u8, source: u8, high: bool) -> i32 {
        let input = input & 15;
        let (lines, bit) = (&mut self.lines[usize::from(input)], 1 << (source & 7));
        *lines = if high { *lines | bit } else { *lines & !bit };
        let high = *lines != 0;
        let result = set_input(&mut self.chips[usize::from(input / 8)], input & 7, high);
        self.cascade();
        result
    }

    /// The input's interrupt is over.
    fn over(&mut self, which: usize, input: u8) {
        self.chips[which].isr &= !(1 << input);
        self.acked.inputs |= 1 << (usize::from(input) + 8 * which);
    }

    /// The vCPU takes an input's interrupt.
    fn take(&mut self, which: usize, input: u8) {
        let chip = &mut self.chips[which];
        let bit = 1 << input;
        chip.isr |= bit;
        // A level stays until it is taken away.
        if chip.elcr & bit == 0 {
            chip.irr &= !bit;
        }
        if chip.auto_eoi != 0 {
            if chip.rotate_on_auto_eoi != 0 {
                chip.priority_add = (input + 1) & 7;
            }
            self.over(which, input);
        }
    }

    /// The vCPU takes the interrupt, and gets the vector. If there is none any more, it is the one of
    /// input 7.
    pub fn acknowledge(&mut self) -> u8 {
        let vector = match wanted(&self.chips[0]) {
            Some(CASCADE) => {
                self.take(0, CASCADE);
                let second = wanted(&self.chips[1]);
                if let Some(input) = second {
                    self.take(1, input);
                }
                self.chips[1].irq_base.wrapping_add(second.unwrap_or(7))
            }
            Some(input) => {
                self.take(0, input);
                self.chips[0].irq_base.wrapping_add(input)
            }
            None => self.chips[0].irq_base.wrapping_add(7),
        };
        self.cascade();
        vector
    }

    /// What has happened to inputs since the last call.
    pub fn acked(&mut self) -> Acked {
        std::mem::take(&mut self.acked)
    }

    /// ICW1: begins an initialisation.
    fn initialise(&mut self, which: usize, value: u8) {
        let chip = &mut self.chips[which];
        let edges = chip.irr & !chip.elcr;
        let over = chip.isr | edges;
        *chip = kvm_pic_state {
            irr: chip.irr & !edges,
            init_state: ICW2,
            init4: value & 1,
            irq_base: chip.irq_base,
            elcr: chip.elcr,
            elcr_mask: chip.elcr_mask,
            ..kvm_pic_state::default()
        };
        for input in (0..8).filter(|input| over & 1 << input != 0) {
            self.over(which, input);
        }
    }

    /// OCW2: ends of interrupts and priorities.
    fn operate(&mut self, which: usize, value: u8) {
        let command = value >> 5;
        let input = match command {
            // Of the highest priority that is served.
            1 | 5 => {
                let chip = &self.chips[which];
                let distance = distance(chip, chip.isr);
                if distance == 8 {
                    return;
                }
                (distance + chip.priority_add) & 7
            }
            _ => value & 7,
        };
        match command {
            0 | 4 => self.chips[which].rotate_on_auto_eoi = command >> 2,
            1 | 3 => self.over(which, input),
            5 | 7 => {
                self.chips[which].priority_add = (input + 1) & 7;
                self.over(which, input);
            }
            6 => self.chips[which].priority_add = (input + 1) & 7,
            _ => {}
        }
    }

    fn write_command(&mut self, which: usize, value: u8) {
        if value & 0x10 != 0 {
            self.initialise(which, value);
        } else if value & 0x08 != 0 {
            let chip = &mut self.chips[which];
            chip.poll |= is(value & 4 != 0);
            if value & 2 != 0 {
                chip.read_reg_select = value & 1;
            }
            if value & 0x40 != 0 {
                chip.special_mask = value >> 5 & 1;
            }
        } else {
            self.operate(which, value);
        }
    }

    fn write_data(&mut self, which: usize, value: u8) {
        let chip = &mut self.chips[which];
        match chip.init_state {
            ICW2 => {
                chip.irq_base = value & 0xf8;
                chip.init_state = ICW3;
            }
            // How they are cascaded is known.
            ICW3 => chip.init_state = if chip.init4 != 0 { ICW4 } else { OPERATING },
            ICW4 => {
                chip.special_fully_nested_mode = value >> 4 & 1;
                chip.auto_eoi = value >> 1 & 1;
                chip.init_state = OPERATING;
            }
            _ => {
                let unmasked = chip.imr & !value;
                chip.imr = value;
                self.acked.unmasked |= u16::from(unmasked) << (8 * which);
            }
        }
    }

    /// The answer to a poll: the interrupt is taken by it.
    fn poll(&mut self, which: usize) -> u8 {
        let answer = match wanted(&self.chips[which]) {
            Some(input) => {
                self.take(which, input);
                0x80 | input
            }
            None => 7,
        };
        self.chips[which].poll = 0;
        self.cascade();
        answer
    }

    /// Reads a port of a controller, or an ELCR register; none if it is no such port.
    pub fn read(&mut self, port: u16) -> Option<u8> {
        let which = usize::from(port >= 0x80 && port != 0x4d0);
        Some(match port {
            0x20 | 0x21 | 0xa0 | 0xa1 if self.chips[which].poll != 0 => self.poll(which),
            0x21 | 0xa1 => self.chips[which].imr,
            0x20 | 0xa0 => {
                let chip = &self.chips[which];
                if chip.read_reg_select != 0 {
                    chip.isr
                } else {
                    chip.irr
                }
            }
            0x4d0 | 0x4d1 => self.chips[which].elcr,
            _ => return None,
        })
    }

    /// Writes a port of a controller, or an ELCR register; false if it is no such port.
    pub fn write(&mut self, port: u16, value: u8) -> bool {
        let which = usize::from(port >= 0x80 && port != 0x4d0);
        match port {
            0x20 | 0xa0 => self.write_command(which, value),
            0x21 | 0xa1 => self.write_data(which, value),
            0x4d0 | 0x4d1 => self.chips[which].elcr = value & self.chips[which].elcr_mask,
            _ => return false,
        }
        self.cascade();
        true
    }

    /// The image of a controller (KVM API 4.26, "KVM_GET_IRQCHIP").
    pub fn image(&self, which: usize) -> kvm_pic_state {
        self.chips[which & 1]
    }

    /// Sets a controller to an image (KVM API 4.27, "KVM_SET_IRQCHIP").
    pub fn set_image(&mut self, which: usize, image: &kvm_pic_state) {
        let which = which & 1;
        self.chips[which] = kvm_pic_state {
            priority_add: image.priority_add & 7,
            elcr: image.elcr & ELCR_MASKS[which],
            elcr_mask: ELCR_MASKS[which],
            init_state: image.init_state & 3,
            ..*image
        };
        self.cascade();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both initialised as a PC's firmware does, vectors from 0x20 on, with this ICW4.
    fn pics(icw4: u8) -> Pics {
        let mut pics = Pics::default();
        for (command, base, cascade) in [(0x20, 0x20, 4), (0xa0, 0x28, 2)] {
            assert!(pics.write(command, 0x11));
            for value in [base, cascade, icw4, 0] {
                assert!(pics.write(command + 1, value));
            }
        }
        pics
    }

    #[test]
    fn an_edge_is_one_interrupt_until_it_is_over() {
        let mut pics = pics(1);
        assert_eq!(pics.set(1, 0, true), 1);
        assert_eq!((pics.output(), pics.acknowledge()), (true, 0x21));
        assert!(!pics.output(), "it is served");
        assert_eq!(pics.read(0x20), Some(0), "IRR");
        pics.write(0x20, 0x0b);
        assert_eq!(pics.read(0x20), Some(2), "ISR");
        pics.set(1, 0, false);
        assert_eq!(pics.set(1, 0, true), 1);
        assert!(!pics.output(), "one of the same priority waits");
        pics.write(0x20, 0x20);
        assert_eq!(pics.acked().inputs, 2);
        assert_eq!((pics.output(), pics.acknowledge()), (true, 0x21));
    }

    #[test]
    fn a_higher_priority_is_nested_and_a_lower_one_waits() {
        let mut pics = pics(1);
        pics.set(5, 0, true);
        assert_eq!(pics.acknowledge(), 0x25);
        pics.set(6, 0, true);
        assert!(!pics.output());
        pics.set(0, 0, true);
        assert_eq!(pics.acknowledge(), 0x20);
        // A specific end of the lower one; then of the highest that is left.
        pics.write(0x20, 0x65);
        assert!(!pics.output());
        pics.write(0x20, 0x20);
        assert_eq!(pics.acknowledge(), 0x26);
    }

    #[test]
    fn the_second_controller_is_input_two() {
        let mut pics = pics(1);
        pics.set(12, 0, true);
        assert_eq!((pics.output(), pics.acknowledge()), (true, 0x2c));
        pics.write(0xa0, 0x20);
        pics.write(0x20, 0x20);
        assert_eq!(pics.acked().inputs, 1 << 12 | 1 << 2);
        // One that is gone when it is asked for is spurious.
        pics.write(0x4d1, 0xff);
        assert_eq!(pics.read(0x4d1), Some(0xde));
        pics.set(14, 0, true);
        pics.set(14, 0, false);
        assert!(!pics.output() || pics.acknowledge() == 0x2f);
        assert_eq!(pics.acknowledge() & 7, 7);
    }

    #[test]
    fn a_level_asks_again_until_it_is_low() {
        let mut pics = pics(1);
        pics.write(0x4d0, 0xff);
        assert_eq!(pics.read(0x4d0), Some(0xf8));
        assert_eq!(pics.set(5, 0, true), 1);
        assert_eq!(pics.set(5, 1, true), 0, "it is high already");
        assert_eq!(pics.acknowledge(), 0x25);
        pics.set(5, 0, false);
        pics.write(0x20, 0x20);
        assert_eq!(pics.acknowledge(), 0x25, "the other source holds it");
        pics.set(5, 1, false);
        pics.write(0x20, 0x20);
        assert!(!pics.output());
    }

    #[test]
    fn masks_polls_and_rotation() {
        let mut pics = pics(1);
        pics.write(0x21, 0xfd);
        assert_eq!(pics.set(0, 0, true), -1);
        assert!(!pics.output());
        pics.write(0x21, 0xfc);
        assert_eq!(pics.acked().unmasked, 1);
        assert!(pics.output());
        pics.write(0x20, 0x0c);
        assert_eq!(pics.read(0x20), Some(0x80));
        assert!(!pics.output());
        // Rotate on end: input 0 has the lowest priority then.
        pics.write(0x20, 0xa0);
        pics.set(0, 0, false);
        pics.set(0, 0, true);
        pics.set(1, 0, true);
        assert_eq!((pics.acknowledge(), pics.output()), (0x21, false));
        // With the special mask, what is masked does not stand in the way.
        pics.write(0x21, 0xfe);
        pics.write(0x20, 0x68);
        pics.write(0x21, 0x02);
        assert_eq!(pics.acknowledge(), 0x20);
    }

    #[test]
    fn automatic_ends_serve_nothing() {
        let mut pics = pics(3);
        pics.set(3, 0, true);
        assert_eq!(pics.acknowledge(), 0x23);
        assert_eq!((pics.image(0).isr, pics.acked().inputs), (0, 8));
        pics.write(0x20, 0x0b);
        assert_eq!(pics.read(0x20), Some(0));
    }
}
