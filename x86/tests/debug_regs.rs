//! What the kernel's selftest `debug_regs` does, through the crate's interface (DBG-10), in both tiers.

use understudy_engine::run::Tier;
use understudy_x86::debug::guest::{GuestDebug, control};
use understudy_x86::exit::{DebugExit, Exit};
use understudy_x86::regs::RAX;
use understudy_x86::testing::{Bare, CODE, DATA};

const ENABLE: u32 = control::ENABLE;

fn ask(machine: &mut Bare, control: u32, registers: &[(usize, u64)]) {
    let mut debugreg = [0; 8];
    for (number, value) in registers {
        debugreg[*number] = *value;
    }
    let wanted = GuestDebug { control, debugreg };
    machine.vcpu.set_guest_debug(&wanted).expect("none waits");
}

fn skip(machine: &mut Bare, bytes: i64) {
    let (rip, flags) = (machine.rip(), machine.vcpu.rflags());
    let rip = rip.wrapping_add_signed(bytes);
    machine.vcpu.set_rip_and_rflags(rip, flags);
}

fn debug_exit(exit: Exit) -> DebugExit {
    match exit {
        Exit::Debug(exit) => exit,
        exit => panic!("{exit:?} is no debug exit"),
    }
}

/// DBG-10, and with it DBG-1, DBG-3 to DBG-6 and DBG-8: what the selftest asserts, exit by exit.
#[test]
fn dbg_10_the_selftest_debug_regs() {
    // int3; nop; mov rax, 1234; mov [DATA], rax; sti; xor eax, eax; cpuid; mov ecx, 0x277; rdmsr;
    // cli; mov rax, dr0; out 0x21, al
    let mut code = vec![0xcc, 0x90, 0x48, 0xc7, 0xc0, 0xd2, 4, 0, 0];
    code.extend([0x48, 0x89, 0x04, 0x25]);
    code.extend((DATA as u32).to_le_bytes());
    let start = code.len() as u64;
    code.extend([
        0xfb, 0x31, 0xc0, 0x0f, 0xa2, 0xb9, 0x77, 2, 0, 0, 0x0f, 0x32, 0xfa,
    ]);
    let end = code.len() as u64;
    code.extend([0x0f, 0x21, 0xc0, 0xe6, 0x21]);
    for tier in [Tier::Interpret, Tier::Compile(1)] {
        let mut m = Bare::new();
        m.code_at(CODE, &code);
        m.set_flags(0);
        m.vcpu.engine.set_tier(tier);

        // DBG-6: INT3 is user space's; DR6 and DR7 are not written (DBG-5).
        ask(&mut m, ENABLE | control::USE_SW_BP, &[]);
        let exit = debug_exit(m.run_on());
        assert_eq!((exit.exception, exit.pc), (3, CODE));
        assert_eq!((exit.dr6, exit.dr7), (None, None));
        skip(&mut m, 1);

        // DBG-3, DBG-5: a breakpoint on an instruction, again and again.
        for n in 0..4 {
            let dr7 = 0x400 | 1 << (2 * n + 1);
            ask(
                &mut m,
                ENABLE | control::USE_HW_BP,
                &[(n, CODE + 1), (7, dr7)],
            );
            for _ in 0..2 {
                let exit = debug_exit(m.run_on());
                assert_eq!((exit.exception, exit.pc), (1, CODE + 1), "{tier:?} {n}");
                assert_eq!(exit.dr6, Some(0xffff_0ff0 | 1 << n));
                assert_eq!(exit.dr7, Some(dr7));
            }
        }
        skip(&mut m, 1);

        // One on data: behind the access.
        for n in 0..4 {
            let dr7 = 0x400 | 1 << (2 * n + 1) | 0xd_0000 << (4 * n);
            ask(&mut m, ENABLE | control::USE_HW_BP, &[(n, DATA), (7, dr7)]);
            let exit = debug_exit(m.run_on());
            assert_eq!((exit.exception, exit.pc), (1, CODE + start), "{tier:?} {n}");
            assert_eq!(exit.dr6, Some(0xffff_0ff0 | 1 << n));
            assert_eq!(exit.dr7, Some(dr7));
            assert_eq!(m.read_u64(DATA), 1234);
            m.write(DATA, &[0; 8]);
            skip(&mut m, -15);
        }
        skip(&mut m, 15);

        // DBG-4, DBG-8: single steps, over which an NMI waits.
        m.vcpu.nmi();
        let mut pc = CODE + start;
        for (length, by_kvm) in [
            (1, false),
            (2, false),
            (2, true),
            (5, false),
            (2, true),
            (1, false),
        ] {
            pc += length;
            let asked = ENABLE | control::SINGLESTEP | control::BLOCKIRQ;
            ask(&mut m, asked, &[(7, 0x400)]);
            let exit = debug_exit(m.run_on());
            assert_eq!((exit.exception, exit.pc), (1, pc), "{tier:?}");
            assert_eq!(exit.dr6, Some(0xffff_4ff0));
            // What KVM runs itself says nothing of DR7.
            assert_eq!(exit.dr7, (!by_kvm).then_some(0x400));
        }

        // DR7.GD of user space: at the MOV DR.
        ask(&mut m, ENABLE | control::USE_HW_BP, &[(7, 0x2400)]);
        m.vcpu.cpu_mut().state.interrupts.nmi = false;
        let exit = debug_exit(m.run_on());
        assert_eq!((exit.exception, exit.pc), (1, CODE + end));
        assert_eq!((exit.dr6, exit.dr7), (Some(0xffff_2ff0), Some(0x2400)));

        // DBG-1: off, and on to the end.
        ask(&mut m, 0, &[]);
        assert!(matches!(m.run_on(), Exit::Io(_)));
        assert_eq!(m.get(RAX), 0);
    }
}
