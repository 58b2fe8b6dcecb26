//! Instructions that KVM's emulator knows, and those that it does not, where there is no memory (KVM API 5,
//! "KVM_EXIT_INTERNAL_ERROR", and 7.29, "KVM_CAP_EXIT_ON_EMULATION_FAILURE"), in both tiers. Which are
//! which was seen on Linux 6.12.117's KVM/AMD.

use understudy_engine::run::Tier;
use understudy_x86::exceptions::vector;
use understudy_x86::exit::{EmulationFailure, Exit, Mmio};
use understudy_x86::regs::{RAX, RBX, RDI, RDX};
use understudy_x86::state::{self, cr4};
use understudy_x86::testing::{Bare, CODE, END};

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];
/// EXITINFO1 of a read, a write and a fetch.
const READ: u64 = 0x1_0000_0004;
const WRITE: u64 = 0x1_0000_0006;
const FETCH: u64 = 0x1_0000_0014;

/// A machine about to run this on memory that there is not, at [RBX].
fn machine(code: &[u8]) -> Bare {
    let mut m = Bare::new();
    m.code_at(CODE, code);
    m.set(RBX, END);
    m.cpu().state.cr4 |= cr4::OSFXSR;
    state::changed(m.cpu());
    m
}

fn failure(exit: Exit) -> EmulationFailure {
    match exit {
        Exit::EmulationFailure(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// A CMPXCHG8B of a device is a read and a write, and tells what it found.
#[test]
fn an_exchange_of_pairs_with_a_device() {
    for (found, written) in [(0, 0x55), (0x1_0000_0002, 0x1_0000_0002)] {
        for tier in TIERS {
            let mut m = machine(&[0xf0, 0x0f, 0xc7, 0x0f]);
            m.set(RDI, END);
            m.set(RBX, 0x55);
            assert!(matches!(m.run(tier), Exit::Mmio(read) if !read.is_write));
            m.vcpu.complete_mmio(&u64::to_le_bytes(found));
            let write = Mmio {
                address: END,
                length: 8,
                is_write: true,
                data: u64::to_le_bytes(written),
            };
            assert_eq!(m.run_on(), Exit::Mmio(write));
            assert_eq!((m.get(RAX), m.get(RDX)), (found & 0xffff_ffff, found >> 32));
            assert_eq!(m.run_on(), Exit::Hlt);
        }
    }
}

#[test]
fn the_emulator_knows_these() {
    let read = |code: &'static [u8], length| (code, length, false);
    let write = |code: &'static [u8], length| (code, length, true);
    for (code, length, is_write) in [
        // fnstcw; fnstsw
        write(&[0xd9, 0x3b], 2),
        write(&[0xdd, 0x3b], 2),
        // add [rbx], eax; bt [rbx], eax; shld [rbx], eax, 3; xchg [rbx], eax; lock xadd [rbx], eax
        read(&[0x01, 0x03], 4),
        read(&[0x0f, 0xa3, 0x03], 4),
        read(&[0x0f, 0xa4, 0x03, 3], 4),
        read(&[0x87, 0x03], 4),
        read(&[0xf0, 0x0f, 0xc1, 0x03], 4),
        // cmpxchg8b, and with lock
        read(&[0x0f, 0xc7, 0x0b], 8),
        read(&[0xf0, 0x0f, 0xc7, 0x0b], 8),
        // bsf; tzcnt; lzcnt; movbe; cmovz; setz
        read(&[0x0f, 0xbc, 0x03], 4),
        read(&[0xf3, 0x0f, 0xbc, 0x03], 4),
        read(&[0xf3, 0x0f, 0xbd, 0x03], 4),
        read(&[0x0f, 0x38, 0xf0, 0x03], 4),
        read(&[0x0f, 0x44, 0x03], 4),
        write(&[0x0f, 0x94, 0x03], 1),
        // movq mm0, [rbx]; movq [rbx], mm0; movups; movupd; movaps; movdqa; movdqu
        read(&[0x0f, 0x6f, 0x03], 8),
        write(&[0x0f, 0x7f, 0x03], 8),
        read(&[0x0f, 0x10, 0x03], 8),
        write(&[0x66, 0x0f, 0x11, 0x03], 8),
        read(&[0x0f, 0x28, 0x03], 8),
        read(&[0x66, 0x0f, 0x6f, 0x03], 8),
        write(&[0xf3, 0x0f, 0x7f, 0x03], 8),
        // movntps; movntpd; movntdq; movnti
        write(&[0x0f, 0x2b, 0x03], 8),
        write(&[0x66, 0x0f, 0x2b, 0x03], 8),
        write(&[0x66, 0x0f, 0xe7, 0x03], 8),
        write(&[0x0f, 0xc3, 0x03], 4),
        // push [rbx]; call [rbx]; mov fs, [rbx]; lldt [rbx]; lmsw [rbx]
        read(&[0xff, 0x33], 8),
        read(&[0xff, 0x13], 8),
        read(&[0x8e, 0x23], 2),
        read(&[0x0f, 0x00, 0x13], 2),
        read(&[0x0f, 0x01, 0x33], 2),
    ] {
        for tier in TIERS {
            let mut m = machine(code);
            match m.run(tier) {
                Exit::Mmio(Mmio {
                    address: END,
                    length: found,
                    is_write: writes,
                    ..
                }) => assert_eq!((found, writes), (length, is_write), "{code:x?}"),
                other => panic!("{code:x?}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_emulator_does_not_know_these() {
    let codes: &[(&[u8], u64)] = &[
        // fld; fst; fldcw; fld m80; fbld; fnsave
        (&[0xd9, 0x03], READ),
        (&[0xd9, 0x13], WRITE),
        (&[0xd9, 0x2b], READ),
        (&[0xdb, 0x2b], READ),
        (&[0xdf, 0x23], READ),
        (&[0xdd, 0x33], WRITE),
        // popcnt; crc32; adcx; lar; lsl; verr
        (&[0xf3, 0x0f, 0xb8, 0x03], READ),
        (&[0xf2, 0x0f, 0x38, 0xf1, 0x03], READ),
        (&[0x66, 0x0f, 0x38, 0xf6, 0x03], READ),
        (&[0x0f, 0x02, 0x03], READ),
        (&[0x0f, 0x03, 0x03], READ),
        (&[0x0f, 0x00, 0x23], READ),
        // movss; movsd; movd; movq xmm; movlps; lddqu; movntdqa; movntq
        (&[0xf3, 0x0f, 0x10, 0x03], READ),
        (&[0xf2, 0x0f, 0x10, 0x03], READ),
        (&[0x0f, 0x6e, 0x03], READ),
        (&[0xf3, 0x0f, 0x7e, 0x03], READ),
        (&[0x66, 0x0f, 0xd6, 0x03], WRITE),
        (&[0x0f, 0x12, 0x03], READ),
        (&[0xf2, 0x0f, 0xf0, 0x03], READ),
        (&[0x66, 0x0f, 0x38, 0x2a, 0x03], READ),
        (&[0x0f, 0xe7, 0x03], WRITE),
        // paddb; addps; pshufb; ldmxcsr; stmxcsr
        (&[0x66, 0x0f, 0xfc, 0x03], READ),
        (&[0x0f, 0x58, 0x03], READ),
        (&[0x66, 0x0f, 0x38, 0x00, 0x03], READ),
        (&[0x0f, 0xae, 0x13], READ),
        (&[0x0f, 0xae, 0x1b], WRITE),
        // In 64-bit mode also fxsave, and cmpxchg16b with lock and without.
        (&[0x0f, 0xae, 0x03], WRITE),
        (&[0xf0, 0x48, 0x0f, 0xc7, 0x0b], WRITE),
        (&[0x48, 0x0f, 0xc7, 0x0b], WRITE),
    ];
    for &(code, error) in codes {
        for tier in TIERS {
            let mut m = machine(code);
            let found = failure(m.run(tier));
            assert_eq!((found.error, found.address), (error, END), "{code:x?}");
            assert_eq!(found.insn_size, 15);
            assert_eq!(&found.insn_bytes[..code.len()], code);
            assert_eq!(m.rip(), CODE);
            // The guest gets #UD if it goes on.
            assert_eq!(m.run_on(), Exit::Hlt);
            assert_eq!(m.exception(), Some(vector::UD), "{code:x?}");
        }
    }
}

/// Elsewhere they are what they are: beside memory, and at the end of it.
#[test]
fn memory_is_not_asked() {
    for tier in TIERS {
        // fld dword [rbx]
        let mut m = machine(&[0xd9, 0x03]);
        m.set(RBX, END - 4);
        assert_eq!(m.run(tier), Exit::Hlt);
        assert!(m.at_end());
        m.cpu().pc = CODE;
        m.set(RBX, END - 3);
        let found = failure(m.run_on());
        assert_eq!((found.error, found.address), (READ, END));
        // movlps [rbx], xmm0, across the end: nothing is stored.
        let mut m = machine(&[0x0f, 0x13, 0x03]);
        m.set(RBX, END - 2);
        m.write(END - 2, &[0x11, 0x22]);
        let found = failure(m.run(tier));
        assert_eq!((found.error, found.address), (WRITE, END));
        assert_eq!(m.read::<2>(END - 2), [0x11, 0x22]);
        // maskmovdqu, of which one lane is selected: xmm0 is of ones behind pcmpeqb.
        let mut m = machine(&[0x66, 0x0f, 0x74, 0xc0, 0x66, 0x0f, 0xf7, 0xc0]);
        m.set(RDI, END);
        assert_eq!(failure(m.run(tier)).error, WRITE);
        assert_eq!(m.rip(), CODE + 4);
    }
}

/// At CPL 3 it is #UD alone, unless user space asks for exits; then there is no #UD anywhere.
#[test]
fn who_is_told_depends_on_the_level() {
    for tier in TIERS {
        for (level, asked) in [(3, false), (3, true), (0, true)] {
            let mut m = machine(&[0xd9, 0x03]);
            m.set_level(level);
            m.cpu().state.exit_on_emulation_failure = asked;
            let exit = m.run(tier);
            if asked {
                assert_eq!(failure(exit).address, END);
                // As in KVM's own test: user space goes on behind it.
                m.cpu().pc = CODE + 2;
                m.run_on();
                assert_ne!(m.exception(), Some(vector::UD));
            } else {
                assert_eq!(exit, Exit::Hlt);
                assert_eq!(m.exception(), Some(vector::UD));
            }
        }
    }
}

/// Bytes of the next page are told of only if they are needed to tell which instruction it is.
#[test]
fn at_the_end_of_a_page() {
    // fld dword [END]: opcode, ModRM, SIB, and four bytes of displacement.
    let code = |at: u64| {
        let mut code = vec![0xd9, 0x04, 0x25];
        code.extend((END as u32).to_le_bytes());
        let mut m = machine(&[]);
        m.code_at(CODE + at, &code);
        m.write(CODE + at + 7, &[0x55; 8]);
        m.cpu().pc = CODE + at;
        m
    };
    for tier in TIERS {
        for (at, size) in [(0xff8, 8), (0xffc, 4), (0xfff, 15)] {
            let mut m = code(at);
            m.vcpu.engine.set_tier(tier);
            let found = failure(m.run_on());
            assert_eq!(usize::from(found.insn_size), size);
            assert_eq!(found.insn_bytes[0], 0xd9);
            assert!(found.insn_bytes[size..].iter().all(|byte| *byte == 0x90));
            assert_eq!(found.insn_bytes[size - 1] == 0x55, size > 7);
        }
    }
}

/// A fetch from where there is no memory, and one that goes on there.
#[test]
fn fetches() {
    for tier in TIERS {
        // jmp rbx
        let mut m = machine(&[0xff, 0xe3]);
        let found = failure(m.run(tier));
        let expected = EmulationFailure {
            insn_size: 0,
            insn_bytes: [0x90; 15],
            error: FETCH,
            address: END,
        };
        assert_eq!(found, expected);
        assert_eq!(m.rip(), END);
        let mut m = machine(&[]);
        m.write(END - 2, &[0x48, 0xc7]);
        m.cpu().pc = END - 2;
        m.vcpu.engine.set_tier(tier);
        m.cpu().state.exit_on_emulation_failure = true;
        let found = failure(m.run_on());
        assert_eq!(
            (found.insn_size, found.error, found.address),
            (2, FETCH, END)
        );
        assert_eq!(found.insn_bytes[..3], [0x48, 0xc7, 0x90]);
    }
}
