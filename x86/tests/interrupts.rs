//! Interrupts, and what stands in their way, in both tiers.

use understudy_engine::run::Tier;
use understudy_x86::exit::Exit;
use understudy_x86::regs::{RAX, RBX, RCX, RSP, flag};
use understudy_x86::testing::{Bare, CODE, DATA, HANDLERS};

const TIERS: [Tier; 3] = [Tier::Interpret, Tier::Compile(1), Tier::Compile(2)];

fn machine(code: &[u8], flags: u64) -> Bare {
    let mut machine = Bare::new();
    machine.code_at(CODE, code);
    machine.set_flags(flags);
    machine
}

/// Where the interrupt came: the RIP that was pushed.
fn interrupted(machine: &Bare) -> u64 {
    machine.read_u64(machine.get(RSP))
}

#[test]
fn an_interrupt_is_taken_at_once_if_it_may_be() {
    for tier in TIERS {
        let mut machine = machine(&[0xff, 0xc0], flag::IF);
        assert!(machine.vcpu.ready());
        assert!(machine.vcpu.inject(0x55));
        assert!(!machine.vcpu.inject(0x56), "one waits");
        machine.run(tier);
        assert_eq!(machine.exception(), Some(0x55));
        assert_eq!((interrupted(&machine), machine.get(RAX)), (CODE, 0));
        let flags = machine.read_u64(machine.get(RSP) + 16);
        assert_eq!(flags, flag::ONE | flag::IF, "RF is not set");
    }
}

#[test]
fn sti_lets_one_instruction_pass() {
    for tier in TIERS {
        // sti; inc eax; inc eax
        let mut machine = machine(&[0xfb, 0xff, 0xc0, 0xff, 0xc0], 0);
        assert!(machine.vcpu.inject(0x55) && !machine.vcpu.ready());
        machine.run(tier);
        assert_eq!(machine.exception(), Some(0x55), "{tier:?}");
        assert_eq!((interrupted(&machine), machine.get(RAX)), (CODE + 3, 1));
    }
}

#[test]
fn a_load_of_ss_lets_one_instruction_pass() {
    for tier in TIERS {
        // cli; sti; mov ss, bx; mov rsp, rcx; inc eax: the interrupt waits for the whole stack.
        let code = [0xfa, 0xfb, 0x8e, 0xd3, 0x48, 0x89, 0xcc, 0xff, 0xc0];
        let mut machine = machine(&code, 0);
        machine.set(RBX, 0x10);
        machine.set(RCX, DATA + 0x1000);
        assert!(machine.vcpu.inject(0x55));
        machine.run(tier);
        assert_eq!(machine.exception(), Some(0x55), "{tier:?}");
        assert_eq!(machine.get(RSP), DATA + 0x1000 - 40, "{tier:?}");
        assert_eq!(interrupted(&machine), CODE + 7);
    }
}

#[test]
fn popf_and_iret_open_the_window() {
    for tier in TIERS {
        // pushf; or word [rsp], IF; popf; inc eax
        let code = [
            0x9c, 0x66, 0x81, 0x0c, 0x24, 0, 2, 0x9d, 0xff, 0xc0, 0xff, 0xc0,
        ];
        let mut machine = machine(&code, 0);
        machine.vcpu.request_window(true);
        assert_eq!(machine.run(tier), Exit::IrqWindowOpen);
        assert_eq!((machine.rip(), machine.get(RAX)), (CODE + 8, 0), "{tier:?}");
        machine.vcpu.request_window(false);
        assert!(machine.vcpu.ready() && machine.vcpu.inject(0x77));
        // The handler: iretq.
        machine.write(HANDLERS + 0x77, &[0x48]);
        machine.write(HANDLERS + 0x78, &[0xcf]);
        assert_eq!(machine.run_on(), Exit::Hlt);
        assert_eq!(machine.get(RAX), 2, "{tier:?}");
        assert!(machine.at_end());
    }
}

#[test]
fn an_nmi_waits_for_the_end_of_the_one_before() {
    for tier in TIERS {
        let mut machine = machine(&[0xff, 0xc0], 0);
        machine.vcpu.nmi();
        machine.run(tier);
        assert_eq!(machine.exception(), Some(2));
        // A second one: not in the handler, but after its IRET, which comes now.
        machine.vcpu.nmi();
        machine.write(HANDLERS + 3, &[0x48, 0xcf]);
        let rsp = machine.get(RSP);
        machine.run_on();
        assert_eq!(machine.exception(), Some(2), "{tier:?}");
        assert_eq!((machine.get(RSP), interrupted(&machine)), (rsp, CODE));
        assert_eq!(machine.get(RAX), 0);
    }
}

#[test]
fn a_repeated_string_is_interrupted_between_elements() {
    for tier in TIERS {
        // rep stosb, of more than the guest has time for before another thread interrupts it.
        let mut machine = machine(&[0xf3, 0xaa], flag::IF);
        machine.set(RCX, u64::MAX >> 1);
        machine.set(understudy_x86::regs::RDI, DATA);
        let requests = machine.cpu().requests().clone();
        requests.post(understudy_engine::request::EXIT);
        assert_eq!(machine.run(tier), Exit::Interrupted);
        // It faults at the end of what is mapped, or is stopped: RCX and RDI belong together.
        let thread = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(1));
            requests.post(understudy_engine::request::EXIT);
        });
        machine.run_on();
        thread.join().expect("the thread only posts");
        let done = machine.get(understudy_x86::regs::RDI) - DATA;
        assert_eq!(machine.get(RCX), (u64::MAX >> 1) - done, "{tier:?}");
    }
}

/// Sets TF, and has the trap's handler count in R15 and return: what RIPs it came from.
fn steps(code: &[u8], prepare: impl Fn(&mut Bare)) -> (Vec<u64>, Bare) {
    let end = Bare::both(code, |m| {
        // The handler, where those of other vectors are not used: push rax; mov rax, [rsp + 8];
        // mov [r15], rax; add r15, 8; pop rax; iretq.
        let handler = [
            0x50, 0x48, 0x8b, 0x44, 0x24, 0x08, 0x49, 0x89, 0x07, 0x49, 0x83, 0xc7, 0x08, 0x58,
            0x48, 0xcf,
        ];
        m.write(HANDLERS + 0x200, &handler);
        m.write(
            understudy_x86::testing::IDT + 16,
            &((HANDLERS + 0x200) as u16).to_le_bytes(),
        );
        m.set(understudy_x86::regs::gpr(15), DATA + 0x4000);
        m.set_flags(flag::TF);
        prepare(m);
    });
    let count = (end.get(understudy_x86::regs::gpr(15)) - DATA - 0x4000) / 8;
    let rips = (0..count).map(|i| end.read_u64(DATA + 0x4000 + 8 * i) - CODE);
    (rips.collect(), end)
}

#[test]
fn a_trap_follows_each_instruction_while_tf_is_set() {
    // inc eax; jmp over a byte; mov ss, bx; inc eax; rep stosb of three; inc eax
    let code = [
        0xff, 0xc0, 0xeb, 0x01, 0x90, 0x8e, 0xd3, 0xff, 0xc0, 0xf3, 0xaa, 0xff, 0xc0,
    ];
    let (rips, end) = steps(&code, |m| {
        m.set(RBX, 0x10);
        m.set(RCX, 3);
        m.set(understudy_x86::regs::RDI, DATA);
    });
    // None after the load of SS; one for each element.
    assert_eq!(rips, [2, 5, 9, 9, 9, 11, 13]);
    assert!(end.at_end());
    assert_eq!(
        (end.get(RAX) & 0xff, end.vcpu.cpu().state.debug.dr6),
        (3, 0xffff_4ff0)
    );
}

#[test]
fn popf_is_stepped_by_what_tf_was_before() {
    // pushf; and word [rsp], !TF; popf; inc eax; pushf; or word [rsp], TF; popf; inc eax; inc eax
    let code = [
        0x9c, 0x66, 0x81, 0x24, 0x24, 0xff, 0xfe, 0x9d, 0xff, 0xc0, 0x9c, 0x66, 0x81, 0x0c, 0x24,
        0, 1, 0x9d, 0xff, 0xc0, 0xff, 0xc0,
    ];
    let (rips, end) = steps(&code, |_| ());
    assert_eq!(rips, [1, 7, 8, 20, 22]);
    assert!(end.at_end());
}

#[test]
fn a_handler_is_not_stepped() {
    // int 0x40, of which the handler is: iretq; then inc eax.
    let (rips, end) = steps(&[0xcd, 0x40, 0xff, 0xc0], |m| {
        m.write(HANDLERS + 0x40, &[0x48, 0xcf]);
    });
    // Its IRET gives TF back, which counts from the next instruction on.
    assert_eq!(rips, [4]);
    assert!(end.at_end());
}
