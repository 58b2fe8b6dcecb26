//! The integer instructions against the host's own processor: each form is run there, interpreted,
//! and compiled, on generated inputs, and registers, memory and the flags that the manual defines must
//! be the same. Elsewhere than on x86-64 hosts there is nothing to compare with.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[path = "host/forms.rs"]
mod forms;
mod native;
#[path = "host/processor.rs"]
mod processor;
#[path = "fp/values.rs"]
#[allow(dead_code, reason = "shared with the tests of the arithmetic alone")]
mod values;
#[path = "host/x87.rs"]
mod x87;
#[path = "host/xsave.rs"]
mod xsave;

use forms::{Form, Memory};
use processor::{Host, Registers};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use understudy_engine::run::Tier;
use understudy_x86::exit::Exit;
use understudy_x86::regs::{self, flag};
use understudy_x86::testing::{Bare, CODE, DATA, DATA_SIZE};

/// A generator of test inputs.
struct Inputs(SplitMix64);

impl Inputs {
    fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A value near one of those at which instructions change what they do, or any.
    fn value(&mut self) -> u64 {
        const EDGES: [u64; 12] = [
            0,
            1,
            0x7f,
            0x80,
            0xff,
            0x7fff,
            0x8000,
            0xffff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            1 << 63,
        ];
        let choice = self.bits();
        let edge = EDGES[(choice >> 8) as usize % EDGES.len()];
        match choice % 6 {
            0 => edge,
            1 => edge.wrapping_neg(),
            2 => edge.wrapping_add(self.bits() % 3).wrapping_sub(1),
            3 => self.bits() % 70,
            _ => self.bits(),
        }
    }

    fn registers(&mut self, form: &Form) -> Registers {
        let mut gpr = [0; 16];
        for value in &mut gpr {
            *value = self.value();
        }
        // RSP in the middle of the data; RSI, RDI and RBX where the form says.
        gpr[4] = DATA + DATA_SIZE / 2;
        match form.memory {
            Memory::None => {}
            Memory::Rbx => gpr[3] = DATA + 0x1000 + self.bits() % 64,
            Memory::Aligned => gpr[3] = DATA + 0x1000 + self.bits() % 4 * 16,
            Memory::BitString => {
                gpr[3] = DATA + 0x4000;
                gpr[2] = (self.bits() as i64 >> 50) as u64;
            }
            Memory::Strings => {
                gpr[6] = DATA + 0x2000 + self.bits() % 64;
                gpr[7] = DATA + 0x2000 + self.bits() % 64;
                gpr[1] = self.bits() % 12;
            }
            Memory::Table => {
                gpr[3] = DATA + 0x1000;
            }
            Memory::Frame => {
                gpr[5] = DATA + DATA_SIZE / 2 + 0x100 + self.bits() % 64;
            }
        }
        let flags = self.bits() & flag::STATUS | flag::ONE | flag::IF;
        Registers { gpr, flags }
    }
}

/// A machine for each tier. Code that was compiled is used again while a form stays the same.
fn machines() -> [(Tier, Bare); 2] {
    [Tier::Interpret, Tier::Compile(1)].map(|tier| {
        let mut machine = Bare::new();
        machine.vcpu.engine.set_tier(tier);
        (tier, machine)
    })
}

fn run(machine: &mut Bare, form: &Form, before: &Registers, data: &[u8]) {
    machine.write(DATA, data);
    machine.code_at(CODE + form.offset, &form.code);
    for (number, value) in (0..).zip(before.gpr) {
        machine.set(regs::gpr(number), value);
    }
    machine.set_flags(before.flags);
    machine.run_on();
}

fn check(host: &mut Host, machines: &mut [(Tier, Bare); 2], form: &Form, inputs: &mut Inputs) {
    let mut before = inputs.registers(form);
    (form.fix)(&mut before);
    let mut data = vec![0; DATA_SIZE as usize];
    for word in data.chunks_exact_mut(8) {
        word.copy_from_slice(&inputs.value().to_le_bytes());
    }
    if form.memory == Memory::Strings {
        // Comparisons find something equal now and then.
        for byte in &mut data[0x1f00..0x2200] {
            *byte &= 1;
        }
    }
    let faults = form
        .faults
        .as_ref()
        .is_some_and(|faults| faults(&before, &data));
    let expected = (!faults).then(|| host.run(form, &before, &data));
    for (tier, machine) in machines {
        run(machine, form, &before, &data);
        let context = || {
            format!(
                "{} {tier:?}: {:02x?}\nfrom {before:x?}",
                form.name, form.code
            )
        };
        let Some((after, memory)) = &expected else {
            assert_eq!(machine.exception(), Some(0), "{}", context());
            continue;
        };
        assert_eq!(machine.exit, Some(Exit::Hlt), "{}", context());
        assert_eq!(
            machine.rip(),
            CODE + form.offset + form.end + 1,
            "{}",
            context()
        );
        let mut gpr = [0; 16];
        for (number, value) in (0..).zip(&mut gpr) {
            *value = machine.get(regs::gpr(number));
        }
        for (number, (ours, theirs)) in gpr.iter().zip(&after.gpr).enumerate() {
            assert_eq!(
                ours,
                theirs,
                "register {number}, here and there: {}",
                context()
            );
        }
        let defined = !form.undefined(&before) & (flag::STATUS | flag::DF);
        let (ours, theirs) = (machine.flags() & defined, after.flags & defined);
        assert_eq!(
            ours,
            theirs,
            "flags {ours:#x}, not {theirs:#x}: {}",
            context()
        );
        let ours = machine.read::<{ DATA_SIZE as usize }>(DATA);
        let differs = (0..ours.len()).find(|at| ours[*at] != memory[*at]);
        assert_eq!(
            differs,
            None,
            "the first byte of memory that differs: {}",
            context()
        );
    }
}

#[test]
fn forms_agree_with_the_host() {
    let mut host = Host::new();
    let mut inputs = Inputs(SplitMix64::seed_from_u64(1));
    let forms = forms::all();
    let mut machines = machines();
    let mut run = 0;
    for form in &forms {
        if !form.here() {
            continue;
        }
        run += 1;
        for _ in 0..forms::TURNS {
            check(&mut host, &mut machines, form, &mut inputs);
        }
    }
    println!("{run} of {} forms", forms.len());
}
