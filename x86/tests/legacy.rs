//! Real mode, and 16- and 32-bit protected mode, in both tiers.

use understudy_x86::exit::Exit;
use understudy_x86::regs::{RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, flag};
use understudy_x86::segments::{Segment, rights, seg};
use understudy_x86::state;
use understudy_x86::testing::{Bare, CODE, DATA, GDT, HANDLERS, IDT, TSS, selector};

/// Linear address of the segments of [`real`].
const BASE: u64 = 0x1_0000;

fn real() -> Bare {
    let mut machine = Bare::real(BASE);
    machine.set(RSP, 0x8000);
    // The handler of vector n is a HLT at 0x2000:n.
    for vector in 0..256u64 {
        let entry = 0x2000u32 << 16 | vector as u32;
        machine.write(4 * vector, &entry.to_le_bytes());
        machine.write(0x2_0000 + vector, &[0xf4]);
    }
    machine
}

fn words<const N: usize>(machine: &Bare, at: u64) -> [u16; N] {
    std::array::from_fn(|i| u16::from_le_bytes(machine.read(at + 2 * i as u64)))
}

#[test]
fn real_mode_interrupts_and_their_return() {
    // int 0x21, of which the handler is: iret.
    let end = Bare::both_at(BASE, &[0xcd, 0x21], real, |m| {
        m.write(0x2_0021, &[0xcf]);
        m.set_flags(flag::IF | flag::CF);
    });
    assert!(end.at_end());
    assert_eq!(end.get(RSP), 0x8000);
    let frame = words::<3>(&end, BASE + 0x7ffa);
    assert_eq!(frame, [2, 0x1000, (flag::ONE | flag::IF | flag::CF) as u16]);
    assert_eq!(end.flags(), flag::ONE | flag::IF | flag::CF);
}

#[test]
fn real_mode_faults_have_no_error_code() {
    // div bl, by 0; mov ax, [0xffff], over the segment's end.
    for (code, vector) in [(&[0xf6, 0xf3][..], 0), (&[0xa1, 0xff, 0xff], 13)] {
        let end = Bare::both_at(BASE, code, real, |_| ());
        assert_eq!(end.exit, Some(Exit::Hlt));
        assert_eq!(end.vcpu.cpu().pc, 0x2_0000 + vector + 1);
        assert_eq!(words::<2>(&end, BASE + 0x7ffa), [0, 0x1000]);
    }
    let end = Bare::both_at(BASE, &[0xf6, 0xf3], real, |m| {
        m.cpu().state.segmentation.idtr.limit = 0;
    });
    assert_eq!(end.exit, Some(Exit::Shutdown));
}

#[test]
fn real_mode_segments_keep_their_limits() {
    // mov ax, 0x3000; mov ds, ax; mov al, [5]; mov es, ax: and with a limit of 4 GiB ("unreal"),
    // mov cl, [ebx].
    let code = [0xb8, 0, 0x30, 0x8e, 0xd8, 0xa0, 5, 0, 0x67, 0x8a, 0x0b];
    let end = Bare::both_at(BASE, &code, real, |m| {
        m.cpu().state.segmentation.segments[seg::DS as usize].limit = u32::MAX;
        m.write(0x3_0005, &[0x12]);
        m.write(0x10_0010, &[0x34]);
        m.set(RBX, 0xd_0010);
    });
    assert!(end.at_end());
    assert_eq!((end.get(RAX), end.get(RCX)), (0x3012, 0x34));
}

#[test]
fn addresses_of_16_bits_wrap() {
    // mov [bp + si], al; lea cx, [bx + di - 1]
    let code = [0x88, 0x02, 0x8d, 0x49, 0xff];
    let end = Bare::both_at(BASE, &code, real, |m| {
        m.set(RBP, 0xfff0);
        m.set(RSI, 0x20);
        m.set(RBX, 0x8000);
        m.set(RDI, 0x8000);
        m.set(RAX, 0x77);
    });
    assert!(end.at_end());
    assert_eq!((end.read::<1>(BASE + 0x10), end.get(RCX)), ([0x77], 0xffff));
}

#[test]
fn far_calls_and_string_copies_in_real_mode() {
    // call 0x4000:0x10, where: rep movsb; retf.
    let end = Bare::both_at(BASE, &[0x9a, 0x10, 0, 0, 0x40], real, |m| {
        m.write(0x4_0010, &[0xf3, 0xa4, 0xcb]);
        m.write(BASE + 0x100, b"understudy");
        m.set(RSI, 0x100);
        m.set(RDI, 0x200);
        m.set(RCX, 10);
    });
    assert!(end.at_end());
    assert_eq!(&end.read::<10>(BASE + 0x200), b"understudy");
    assert_eq!((end.get(RCX), end.get(RSP)), (0, 0x8000));
}

#[test]
fn from_real_to_protected_to_64_bit_mode() {
    // The way a kernel goes: lgdt; CR0.PE; a far jump to 32-bit code; PAE, CR3, LME, PG; a far jump
    // to 64-bit code.
    let at = 0x8000u64;
    let mut code = vec![0x66, 0x0f, 0x01, 0x16, 0x00, 0x81];
    code.extend([0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0]);
    code.extend([0x66, 0xea]);
    code.extend((at as u32 + 22).to_le_bytes());
    code.extend([0x18, 0]);
    assert_eq!(code.len(), 22);
    // mov eax, 0x10; mov ds, eax; mov ss, eax; mov eax, cr4; or eax, 0x20; mov cr4, eax
    code.extend([0xb8, 0x10, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xd0]);
    code.extend([0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0]);
    // mov eax, 0x9000; mov cr3, eax; mov ecx, 0xc0000080; rdmsr; or eax, 0x100; wrmsr
    code.extend([
        0xb8, 0, 0x90, 0, 0, 0x0f, 0x22, 0xd8, 0xb9, 0x80, 0, 0, 0xc0,
    ]);
    code.extend([0x0f, 0x32, 0x0d, 0, 1, 0, 0, 0x0f, 0x30]);
    // mov eax, cr0; or eax, 1 << 31; mov cr0, eax; far jump
    code.extend([
        0x0f, 0x20, 0xc0, 0x0d, 0, 0, 0, 0x80, 0x0f, 0x22, 0xc0, 0xea,
    ]);
    let next = at as u32 + code.len() as u32 + 6;
    code.extend(next.to_le_bytes());
    code.extend([8, 0]);
    // movabs r9, 0x1122334455667788
    code.extend([0x49, 0xb9, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
    let end = Bare::both_at(
        at,
        &code,
        || Bare::real(0),
        |m| {
            let mut put = |at: u64, value: u64| m.write(at, &value.to_le_bytes());
            put(0x8200 + 8, 0x00af_9b00_0000_ffff);
            put(0x8200 + 0x10, 0x00cf_9300_0000_ffff);
            put(0x8200 + 0x18, 0x00cf_9b00_0000_ffff);
            put(0x9000, 0xa007);
            put(0xa000, 0x87);
            m.write(0x8100, &0x1fu16.to_le_bytes());
            m.write(0x8102, &0x8200u32.to_le_bytes());
            m.set(RSP, 0x7000);
        },
    );
    assert!(end.at_end(), "{:?} {:x}", end.exit, end.rip());
    assert_eq!(end.get(understudy_x86::regs::gpr(9)), 0x1122_3344_5566_7788);
    assert!(end.vcpu.cpu().state.code64());
}

fn protected() -> Bare {
    Bare::protected()
}

fn doubles<const N: usize>(machine: &Bare, at: u64) -> [u32; N] {
    std::array::from_fn(|i| u32::from_le_bytes(machine.read(at + 4 * i as u64)))
}

#[test]
fn protected_mode_faults_at_the_same_level() {
    // mov eax, [ebx] with a limit: #GP and its code.
    let end = Bare::both_at(CODE, &[0x8b, 0x03], protected, |m| {
        m.cpu().state.segmentation.segments[seg::DS as usize].limit = 0xff;
        state::changed(m.cpu());
        m.set(RBX, 0x100);
    });
    assert_eq!(end.exception(), Some(13));
    let rsp = DATA + 0x8000 - 16;
    assert_eq!(end.get(RSP), rsp);
    let flags = (flag::ONE | flag::IF | flag::RF) as u32;
    let cs = u32::from(selector::CODE32);
    assert_eq!(doubles::<4>(&end, rsp), [0, CODE as u32, cs, flags]);
}

#[test]
fn protected_mode_goes_out_and_comes_back_in() {
    // iret to level 3; there: int 0x40, whose handler is an iret; then int 0x41, a HLT.
    let code = [0xcf, 0xcd, 0x40, 0xcd, 0x41];
    let end = Bare::both_at(CODE, &code, protected, |m| {
        m.write(HANDLERS + 0x40, &[0xcf]);
        let frame = [
            CODE as u32 + 1,
            u32::from(selector::USER_CODE32),
            flag::IF as u32 | 2,
            DATA as u32 + 0x2000,
            u32::from(selector::USER_DATA),
        ];
        let rsp = m.get(RSP);
        for (i, word) in (0..).zip(frame) {
            m.write(rsp + 4 * i, &word.to_le_bytes());
        }
    });
    assert_eq!(end.exception(), Some(0x41));
    let rsp = DATA + 0x4000 - 20;
    assert_eq!(end.get(RSP), rsp);
    let expected = [
        CODE as u32 + 5,
        u32::from(selector::USER_CODE32),
        flag::IF as u32 | 2,
        DATA as u32 + 0x2000,
        u32::from(selector::USER_DATA),
    ];
    assert_eq!(doubles::<5>(&end, rsp), expected);
    let state = &end.vcpu.cpu().state;
    assert_eq!(
        state.segmentation.segments[seg::SS as usize].selector,
        selector::DATA
    );
    // Data segments of level 0 were taken away on the way out.
    assert_eq!(state.segmentation.segments[seg::DS as usize].selector, 0);
    assert_eq!(state.cpl, 0);
}

#[test]
fn a_gate_of_16_bits_pushes_words() {
    let end = Bare::both_at(CODE, &[0xcd, 0x30], protected, |m| {
        // To offset 0x30 of a 16-bit segment that begins at the handlers.
        let low = HANDLERS & 0xff_ffff;
        let segment = 0x0000_9b00_0000_ffff | low << 16 | (HANDLERS >> 24) << 56;
        m.write(GDT + u64::from(selector::CODE16), &segment.to_le_bytes());
        let gate = 0x30 | u64::from(selector::CODE16) << 16 | 0xe600 << 32;
        m.write(IDT + 8 * 0x30, &gate.to_le_bytes());
    });
    assert_eq!(end.exception(), Some(0x30));
    let frame = words::<3>(&end, end.get(RSP));
    let expected = [
        CODE as u16 + 2,
        selector::CODE32,
        (flag::ONE | flag::IF) as u16,
    ];
    assert_eq!((frame, end.get(RSP)), (expected, DATA + 0x8000 - 6));
}

#[test]
fn a_bad_inner_stack_leaves_no_way_to_a_handler() {
    for ss in [0, 0x23, 0x68] {
        let end = Bare::both_at(CODE, &[0xcd, 0x40], protected, |m| {
            m.write(TSS + 8, &u16::to_le_bytes(ss));
            let flat = |selector: u16, kind: u32| Segment {
                selector,
                base: 0,
                limit: u32::MAX,
                rights: rights::P | rights::S | rights::G | rights::DB | kind | 3 << 5,
            };
            let state = &mut m.cpu().state;
            let code = flat(selector::USER_CODE32, rights::CODE_READ_ACCESSED);
            state.segmentation.segments[seg::CS as usize] = code;
            state.segmentation.segments[seg::SS as usize] = flat(selector::USER_DATA, 3);
            state.cpl = 3;
            state::changed(m.cpu());
        });
        // The handler of #TS needs that stack, too: a double fault, and a third one.
        assert_eq!(end.exit, Some(Exit::Shutdown), "{ss:x}");
    }
}

#[test]
fn limits_of_code_are_those_of_jumps() {
    // jmp ecx
    let end = Bare::both_at(CODE, &[0xff, 0xe1], protected, |m| {
        m.cpu().state.segmentation.segments[seg::CS as usize].limit = CODE as u32 + 0xfff;
        state::changed(m.cpu());
        m.set(RCX, CODE + 0x1000);
        m.set(RDX, 0);
    });
    assert_eq!(end.exception(), Some(13));
    assert_eq!(doubles::<2>(&end, end.get(RSP)), [0, CODE as u32]);
}

#[test]
fn all_registers_are_pushed_and_popped() {
    // pusha; mov bp, ax; popa; into
    let code = [0x60, 0x89, 0xc5, 0x61, 0xce];
    for overflow in [0, flag::OF] {
        let end = Bare::both_at(BASE, &code, real, |m| {
            for number in [0, 1, 2, 3, 5, 6, 7] {
                m.set(
                    understudy_x86::regs::gpr(number),
                    0x1110 + u64::from(number),
                );
            }
            m.set_flags(overflow);
        });
        assert_eq!((end.get(RBP), end.get(RAX)), (0x1115, 0x1110));
        if overflow == 0 {
            assert!(end.at_end());
            let pushed = words::<8>(&end, BASE + 0x7ff0);
            let expected = [
                0x1117, 0x1116, 0x1115, 0x8000, 0x1113, 0x1112, 0x1111, 0x1110,
            ];
            assert_eq!(pushed[..], expected[..]);
        } else {
            assert_eq!(end.vcpu.cpu().pc, 0x2_0004 + 1);
        }
    }
}
