//! What blocks of code must see to: stores over code, page faults, devices, interrupts of strings,
//! locked accesses that no atomic one can make. In both tiers.

use understudy_engine::run::Tier;
use understudy_x86::exit::{Exit, Mmio};
use understudy_x86::regs::{RAX, RBX, RCX, RDI, RDX, RSI, RSP};
use understudy_x86::testing::{Bare, CODE, DATA};

const TIERS: [Tier; 3] = [Tier::Interpret, Tier::Compile(1), Tier::Compile(2)];
/// Where there is no memory.
const DEVICE: u64 = 0x2000_0000;

#[test]
fn a_store_over_the_next_instruction_is_seen() {
    // mov byte [rip + 0], 0x43 over the opcode's ModRM: inc ecx becomes inc ebx.
    let code = [0xc6, 0x05, 0x01, 0, 0, 0, 0xc3, 0xff, 0xc1];
    let end = Bare::both(&code, |_| ());
    assert_eq!((end.get(RCX), end.get(RBX)), (0, 1));
    assert!(end.at_end());
}

#[test]
fn a_loop_that_changes_itself_is_seen_each_time() {
    // 1: add eax, 1 (the immediate is at 2); add byte [rip - 8], 1; dec ecx; jnz 1b.
    let code = [
        0x83, 0xc0, 0x01, 0x80, 0x05, 0xf8, 0xff, 0xff, 0xff, 0x01, 0xff, 0xc9, 0x75, 0xf2,
    ];
    let end = Bare::both(&code, |machine| machine.set(RCX, 50));
    assert_eq!(end.get(RAX), (1..=50).sum::<u64>());
}

#[test]
fn a_call_that_pushes_over_code_goes_on_where_it_calls() {
    // call 1f; hlt; 1: the return address lies over the NOPs after it, which become what it is.
    let mut code = vec![0xe8, 1, 0, 0, 0, 0xf4];
    code.extend([0x90; 16]);
    let end = Bare::both(&code, |machine| machine.set(RSP, CODE + 0x800));
    assert!(end.at_end());
    assert_eq!(end.read_u64(CODE + 0x7f8), CODE + 5);
}

#[test]
fn another_machine_word_of_code_is_compiled_again() {
    for tier in TIERS {
        let mut machine = Bare::new();
        machine.vcpu.engine.set_tier(tier);
        for (opcode, expected) in [(0xc0u8, 1), (0xc8, -1i32), (0xc0, 1)] {
            // inc eax, or dec eax, ten times.
            machine.code_at(CODE, &[0xff, opcode, 0xff, 0xc9, 0x75, 0xfa]);
            machine.set(RAX, 0);
            machine.set(RCX, 10);
            machine.run_on();
            assert_eq!(machine.get(RAX) as i32, 10 * expected, "{tier:?}");
        }
    }
}

#[test]
fn a_read_of_a_device_is_completed_by_user_space() {
    for tier in TIERS {
        let mut machine = Bare::new();
        // add eax, [rbx]; add eax, [rbx]
        machine.code_at(CODE, &[0x03, 0x03, 0x03, 0x03]);
        machine.set(RBX, DEVICE);
        machine.set(RAX, 1);
        let mmio = Exit::Mmio(Mmio {
            address: DEVICE,
            length: 4,
            is_write: false,
            data: [0; 8],
        });
        assert_eq!(machine.run(tier), mmio);
        assert_eq!(machine.rip(), CODE);
        machine.vcpu.complete_mmio(&10u64.to_le_bytes());
        assert_eq!(machine.run_on(), mmio);
        assert_eq!((machine.rip(), machine.get(RAX)), (CODE + 2, 11));
        machine.vcpu.complete_mmio(&100u64.to_le_bytes());
        assert_eq!(machine.run_on(), Exit::Hlt);
        assert_eq!(machine.get(RAX), 111);
    }
}

#[test]
fn a_write_to_a_device_leaves_behind_the_instruction() {
    for tier in TIERS {
        let mut machine = Bare::new();
        // add [rbx], ecx; inc edx: a read, then a write, with flags after it.
        machine.code_at(CODE, &[0x01, 0x0b, 0xff, 0xc2]);
        machine.set(RBX, DEVICE);
        machine.set(RCX, 0xffff_ffff);
        let read = machine.run(tier);
        assert!(matches!(
            read,
            Exit::Mmio(Mmio {
                is_write: false,
                ..
            })
        ));
        machine.vcpu.complete_mmio(&1u64.to_le_bytes());
        let write = Exit::Mmio(Mmio {
            address: DEVICE,
            length: 4,
            is_write: true,
            data: [0; 8],
        });
        assert_eq!(machine.run_on(), write, "{tier:?}");
        assert_eq!((machine.rip(), machine.get(RDX)), (CODE + 2, 0));
        assert_eq!(machine.flags() & 0x41, 0x41, "CF and ZF, {tier:?}");
        assert_eq!(machine.run_on(), Exit::Hlt);
        assert_eq!(machine.get(RDX), 1);
    }
}

#[test]
fn a_repeated_store_to_a_device_leaves_for_each_element() {
    for tier in TIERS {
        let mut machine = Bare::new();
        machine.code_at(CODE, &[0xf3, 0xab]);
        machine.set(RDI, DEVICE);
        machine.set(RAX, 0x1122_3344);
        machine.set(RCX, 3);
        for element in 0..3 {
            let exit = if element == 0 {
                machine.run(tier)
            } else {
                machine.run_on()
            };
            let Exit::Mmio(mmio) = exit else {
                panic!("{exit:?}");
            };
            assert_eq!((mmio.address, mmio.is_write), (DEVICE + 4 * element, true));
            assert_eq!(machine.get(RCX), 2 - element);
        }
        assert_eq!(machine.run_on(), Exit::Hlt);
    }
}

#[test]
fn a_string_that_faults_leaves_what_it_has_done() {
    // rep movsb to the end of what is mapped.
    let end = Bare::both(&[0xf3, 0xa4], |machine| {
        machine.set(RSI, DATA);
        machine.set(RDI, 0xffff_fffc);
        machine.set(RCX, 8);
        // The first four go to a device: make it the page fault at 4 GiB at once.
        machine.set(RDI, 1 << 32);
    });
    assert_eq!(end.exception(), Some(14));
    assert_eq!(
        (end.get(RCX), end.get(RSI), end.get(RDI)),
        (8, DATA, 1 << 32)
    );
    assert_eq!(end.error_code(), 2);
    assert_eq!(end.vcpu.cpu().state.cr2, 1 << 32);
}

#[test]
fn a_fault_is_at_the_instruction_and_changes_nothing() {
    // mov rax, 5; push [rbx]: the load faults, and RSP stays.
    let code = [0x48, 0xc7, 0xc0, 5, 0, 0, 0, 0xff, 0x33];
    let end = Bare::both(&code, |machine| machine.set(RBX, 1 << 40));
    assert_eq!(end.exception(), Some(14));
    let frame = end.get(RSP);
    assert_eq!(end.read_u64(frame + 8), CODE + 7);
    assert_eq!(end.read_u64(frame + 32), DATA + 0x8000);
    // RFLAGS.RF of a fault.
    assert_eq!(end.read_u64(frame + 24) & 1 << 16, 1 << 16);
    assert_eq!(end.get(RAX), 5);
}

#[test]
fn addresses_that_are_not_canonical_fault_by_segment() {
    let load = Bare::both(&[0x8b, 0x03], |machine| machine.set(RBX, 1 << 63));
    assert_eq!((load.exception(), load.error_code()), (Some(13), 0));
    // mov eax, [rsp]: the frame needs another stack, so that is IST's: a double fault here.
    let stack = Bare::both(&[0x8b, 0x04, 0x24], |machine| machine.set(RSP, 1 << 63));
    assert_eq!(stack.exit, Some(Exit::Shutdown));
    let jump = Bare::both(&[0xff, 0xe3], |machine| machine.set(RBX, 1 << 63));
    assert_eq!(jump.exception(), Some(13));
    assert_eq!(jump.read_u64(jump.get(RSP) + 8), 1 << 63);
}

#[test]
fn locked_accesses_may_cross_pages() {
    // lock add [rbx], eax; lock xadd [rbx], ecx; xchg [rbx], edx
    let code = [0xf0, 0x01, 0x03, 0xf0, 0x0f, 0xc1, 0x0b, 0x87, 0x13];
    let end = Bare::both(&code, |machine| {
        machine.write(DATA + 0xffe, &0x1111_1111u32.to_le_bytes());
        machine.set(RBX, DATA + 0xffe);
        machine.set(RAX, 1);
        machine.set(RCX, 2);
        machine.set(RDX, 7);
    });
    assert!(end.at_end());
    assert_eq!((end.get(RCX), end.get(RDX)), (0x1111_1112, 0x1111_1114));
    assert_eq!(end.read::<4>(DATA + 0xffe), 7u32.to_le_bytes());
}

#[test]
fn invalid_opcodes_and_interrupts_are_delivered() {
    for (code, vector) in [
        (&[0x0f, 0x0b][..], 6),
        (&[0xf0, 0x90], 6),
        (&[0xcc], 3),
        (&[0xcd, 0x80], 0x80),
        (&[0x66; 15], 13),
    ] {
        let end = Bare::both(code, |_| ());
        assert_eq!(end.exception(), Some(vector), "{code:x?}");
        let after = if vector == 6 || vector == 13 {
            0
        } else {
            code.len() as u64
        };
        let rip = end.get(RSP) + if vector == 13 { 8 } else { 0 };
        assert_eq!(end.read_u64(rip), CODE + after, "{code:x?}");
    }
}

#[test]
fn real_mode_counts_from_the_segment() {
    // mov [0x100], ax; call 1f; hlt; 1: pop cx; jmp short to the end.
    let code = [0xa3, 0, 1, 0xe8, 1, 0, 0xf4, 0x59, 0xeb, 0];
    let real = || Bare::real(0x1_0000);
    let end = Bare::both_at(0x1_0000, &code, real, |machine| {
        machine.set(RAX, 0x1234);
        machine.set(RSP, 0x8000);
    });
    assert!(end.at_end());
    assert_eq!(end.read::<2>(0x1_0100), [0x34, 0x12]);
    assert_eq!((end.get(RCX), end.get(RSP)), (6, 0x8000));
    assert_eq!(end.rip(), 11);
}

#[test]
fn alignment_is_checked_where_it_is_asked_for() {
    use understudy_x86::regs::flag;
    use understudy_x86::state::{self, cr0};
    // mov eax, [rbx]; int 0x80
    let run = |level: u8, am: u64, ac: u64, address: u64| {
        let end = Bare::both(&[0x8b, 0x03, 0xcd, 0x80], |m| {
            m.set_level(level);
            m.cpu().state.cr0 |= am;
            m.cpu().state.rflags |= ac;
            state::changed(m.cpu());
            m.set(RBX, address);
        });
        end.exception()
    };
    assert_eq!(run(3, cr0::AM, flag::AC, DATA + 2), Some(17));
    assert_eq!(run(3, cr0::AM, flag::AC, DATA + 4), Some(0x80));
    for (level, am, ac) in [(0, cr0::AM, flag::AC), (3, 0, flag::AC), (3, cr0::AM, 0)] {
        assert_eq!(run(level, am, ac, DATA + 2), Some(0x80));
    }
}

/// What a string instruction does, one element after the other.
fn expected(data: &[u8], from: usize, to: usize, bytes: usize) -> Vec<u8> {
    let mut data = data.to_vec();
    for i in 0..bytes {
        data[to + i] = data[from + i];
    }
    data
}

#[test]
fn long_strings_are_as_short_ones() {
    let data: Vec<u8> = (0..0x8000u32).map(|i| ((i * i) >> 5) as u8).collect();
    let base = DATA + 0x4000;
    for (from, to, count) in [
        (0x10, 0x4003, 10_000),
        // Overlapping, either way: by one byte it fills.
        (0x100, 0x101, 9_000),
        (0x100, 0x180, 9_000),
        (0x180, 0x100, 9_000),
        (0xfff, 0x2ffe, 4_099),
    ] {
        for (code, size) in [(&[0xf3, 0xa4][..], 1), (&[0xf3, 0x48, 0xa5], 8)] {
            let count = count / size;
            let end = Bare::both(code, |m| {
                m.write(base, &data);
                m.set(RSI, base + from);
                m.set(RDI, base + to);
                m.set(RCX, count);
            });
            assert!(end.at_end());
            let now = end.read::<0x8000>(base);
            let (from, to, bytes) = (from as usize, to as usize, (count * size) as usize);
            let whole = if size == 8 && to > from && to - from < 8 {
                // Elements overlap themselves.
                continue;
            } else {
                expected(&data, from, to, bytes)
            };
            assert!(now[..] == whole[..], "{from:x} {to:x} {size}");
            assert_eq!(end.get(RCX), 0);
            assert_eq!(end.get(RSI), base + (from + bytes) as u64);
            assert_eq!(end.get(RDI), base + (to + bytes) as u64);
        }
    }
    // rep stosd, over three pages.
    let end = Bare::both(&[0xf3, 0xab], |m| {
        m.set(RAX, 0x1122_3344);
        m.set(RDI, base + 0x123);
        m.set(RCX, 2500);
    });
    let now = end.read::<10_000>(base + 0x123);
    assert!(now.chunks(4).all(|c| c == [0x44, 0x33, 0x22, 0x11]));
    assert_eq!(end.read::<4>(base + 0x123 + 10_000), [0; 4]);
    assert_eq!((end.get(RCX), end.get(RDI)), (0, base + 0x123 + 10_000));
}
