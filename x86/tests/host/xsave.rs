//! FXSAVE, FXRSTOR and the XSAVE family against the host's: a state is loaded by one, and saved by
//! another.

use super::forms::Form;
use super::processor::{Host, Registers};
use super::values::Values;
use super::{machines, run};
use understudy_x86::exit::Exit;
use understudy_x86::regs::flag;
use understudy_x86::state::{self, cr4};
use understudy_x86::testing::{Bare, DATA, DATA_SIZE};

/// The area that is loaded.
const FROM: usize = 0x1000;
/// The area that is saved into.
const TO: usize = 0x2000;
/// An area that brings everything back to what it is initially.
const INITIAL: usize = 0x3000;
const HEADER: usize = 512;
const SIZE: usize = 832;

/// REX.W, if asked for, two bytes of opcode, and the area.
fn instruction(wide: bool, opcode: [u8; 2], reg: u8, area: usize) -> Vec<u8> {
    let mut code = if wide { vec![0x48] } else { Vec::new() };
    code.extend(opcode);
    code.extend([reg << 3 | 4, 0x25]);
    code.extend((DATA as u32 + area as u32).to_le_bytes());
    code
}

/// Names, opcodes, and whether the host has them.
fn saves() -> Vec<(&'static str, [u8; 2], u8)> {
    let mut saves = vec![("FXSAVE", [0x0f, 0xae], 0), ("XSAVE", [0x0f, 0xae], 4)];
    if is_x86_feature_detected!("xsaveopt") {
        saves.push(("XSAVEOPT", [0x0f, 0xae], 6));
    }
    if is_x86_feature_detected!("xsavec") {
        saves.push(("XSAVEC", [0x0f, 0xc7], 4));
    }
    saves
}

/// An area with any contents that may be loaded.
fn area(values: &mut Values, compacted: bool) -> [u8; SIZE] {
    let mut area = [0; SIZE];
    for word in area.chunks_exact_mut(8) {
        let value = values.bits();
        word.copy_from_slice(&value.to_le_bytes());
    }
    let bits = values.bits();
    // All exceptions are masked: nothing waits, and pointers are hidden.
    let hides = bits & 1 == 0;
    if hides {
        area[0] |= 0x3f;
    } else {
        // One that is not masked.
        area[0] &= !1;
        area[2] |= 1;
    }
    for n in 0..8 {
        // What is reserved is not kept.
        area[32 + 16 * n + 10..32 + 16 * n + 16].fill(0);
    }
    let mxcsr = bits >> 8 & 0xffff;
    area[24..28].copy_from_slice(&(mxcsr as u32).to_le_bytes());
    area[HEADER..576].fill(0);
    let format = if compacted { 7 } else { 0 };
    let present = bits >> 32 & 7;
    area[HEADER..HEADER + 8].copy_from_slice(&present.to_le_bytes());
    if compacted {
        area[HEADER + 8..HEADER + 16].copy_from_slice(&(format | 1u64 << 63).to_le_bytes());
    }
    area
}

fn prepare(machine: &mut Bare) {
    let state = &mut machine.cpu().state;
    state.cr4 |= cr4::OSFXSR | cr4::OSXSAVE;
    state.xcr0 = 7;
    state::changed(machine.cpu());
}

/// FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XSAVEC and XRSTOR, with offsets of 64 bits and with selectors.
#[test]
fn xsave_agrees_with_the_host() {
    if !is_x86_feature_detected!("xsave") || !is_x86_feature_detected!("avx") {
        println!("skipped: the host has no XSAVE, or no AVX");
        return;
    }
    let mut host = Host::new();
    let mut machines = machines();
    for (_, machine) in &mut machines {
        prepare(machine);
    }
    let mut values = Values::new(11);
    for (name, opcode, reg) in saves() {
        for (wide, fx) in [(true, false), (false, false), (true, true), (false, true)] {
            let load = if fx { 1 } else { 5 };
            // EAX is all ones: everything becomes initial; then it is what EBX is.
            let mut initial = vec![0x83, 0xc8, 0xff];
            initial.extend(instruction(true, [0x0f, 0xae], 5, INITIAL));
            initial.extend([0x89, 0xd8]);
            let mut code = initial.clone();
            code.extend(instruction(wide, [0x0f, 0xae], load, FROM));
            code.extend(instruction(wide, opcode, reg, TO));
            code.extend(initial);
            let form = Form::plain(name, code);
            for turn in 0..40 {
                let mut data = vec![0; DATA_SIZE as usize];
                let compacted =
                    opcode[1] == 0xc7 || is_x86_feature_detected!("xsavec") && turn & 1 == 1;
                data[FROM..FROM + SIZE].copy_from_slice(&area(&mut values, compacted));
                for at in (TO..TO + SIZE).step_by(8) {
                    let value = values.bits();
                    data[at..at + 8].copy_from_slice(&value.to_le_bytes());
                }
                data[INITIAL + 24..INITIAL + 28].copy_from_slice(&0x1f80u32.to_le_bytes());
                let mut gpr = [0; 16];
                gpr[3] = values.bits() & 7;
                gpr[4] = DATA + DATA_SIZE / 2;
                let before = Registers {
                    gpr,
                    flags: flag::ONE | flag::IF,
                };
                let (_, theirs) = host.run(&form, &before, &data);
                for (tier, machine) in &mut machines {
                    run(machine, &form, &before, &data);
                    let context = || format!("{name} {wide} {fx} {tier:?}, EAX {:x}", gpr[3]);
                    assert_eq!(machine.exit, Some(Exit::Hlt), "{}", context());
                    assert_eq!(machine.exception(), None, "{}", context());
                    let ours = machine.read::<{ DATA_SIZE as usize }>(DATA);
                    for at in 0..SIZE {
                        let (a, b) = (ours[TO + at], theirs[TO + at]);
                        // AMD's MXCSR has one bit more, which this processor does not have.
                        let mask = (28..32).contains(&at);
                        assert!(
                            a == b || mask,
                            "at {at} {a:02x}, not {b:02x}: {}",
                            context()
                        );
                    }
                }
            }
        }
    }
}
