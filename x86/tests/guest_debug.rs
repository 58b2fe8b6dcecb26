//! Guest debug as KVM on AMD's processors has it: what `facts.md` of the reference says of single steps,
//! the guest's own debug registers, and injection, in both tiers.

use understudy_engine::run::Tier;
use understudy_x86::chipset::Chipset;
use understudy_x86::debug::guest::{Busy, GuestDebug, control};
use understudy_x86::debug::registers::DebugRegs;
use understudy_x86::exit::{DebugExit, Exit, Io, Mmio, VMRUN_INVALID};
use understudy_x86::mp::MpState;
use understudy_x86::regs::{RAX, RBX, RCX, RDI, RDX, RSI, RSP, flag};
use understudy_x86::testing::{Bare, CODE, DATA, END, HANDLERS};

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];
const ENABLE: u32 = control::ENABLE;
const STEP: u32 = control::ENABLE | control::SINGLESTEP;
const HW: u32 = control::ENABLE | control::USE_HW_BP;

/// A device's page.
const DEVICE: u64 = END + 0x1000;

fn ask(m: &mut Bare, control: u32, registers: &[(usize, u64)]) {
    let mut debugreg = [0; 8];
    for (number, value) in registers {
        debugreg[*number] = *value;
    }
    let wanted = GuestDebug { control, debugreg };
    m.vcpu.set_guest_debug(&wanted).expect("none waits");
}

fn machine(tier: Tier, code: &[u8]) -> Bare {
    let mut m = Bare::new();
    m.code_at(CODE, code);
    m.set_flags(0);
    m.vcpu.engine.set_tier(tier);
    m
}

/// What an exit is, with addresses from the code's start on.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Event {
    /// A single step; DR7 is written.
    Step(u64),
    /// A single step of what KVM has run.
    StepKvm(u64),
    /// A breakpoint: the address, and its bits in DR6.
    Hit(u64, u64),
    Out(u64),
    In(u64),
    Read(u64),
    Write(u64),
    Hlt(u64),
    Other,
}
use Event::{Hit, Hlt, In, Other, Out, Read, Step, StepKvm, Write};

fn event(m: &Bare, exit: Exit) -> Event {
    let rip = m.rip().wrapping_sub(CODE);
    match exit {
        Exit::Debug(DebugExit {
            exception: 1,
            pc,
            dr6: Some(0xffff_4ff0),
            dr7,
        }) => {
            let pc = pc.wrapping_sub(CODE);
            assert_eq!(pc, rip);
            dr7.map_or(StepKvm(pc), |_| Step(pc))
        }
        Exit::Debug(DebugExit {
            exception: 1,
            pc,
            dr6: Some(dr6),
            dr7: Some(_),
        }) => Hit(pc.wrapping_sub(CODE), dr6 ^ 0xffff_0ff0),
        Exit::Io(Io { is_in: false, .. }) => Out(rip),
        Exit::Io(_) => In(rip),
        Exit::Mmio(Mmio { is_write, .. }) if is_write => Write(rip),
        Exit::Mmio(_) => Read(rip),
        Exit::Hlt => Hlt(rip),
        _ => Other,
    }
}

/// Runs to the HLT at the end, or so often, and gives all exits. Accesses of devices are completed.
fn events(m: &mut Bare, before_each: impl Fn(&mut Bare), most: usize) -> Vec<Event> {
    let mut all = vec![];
    while all.len() < most {
        before_each(m);
        let exit = m.run_on();
        all.push(event(m, exit));
        match exit {
            Exit::Io(_) => m.vcpu.complete_io_elements(&[0x11; 8]),
            Exit::Mmio(_) => m.vcpu.complete_mmio(&[0x22; 8]),
            Exit::Hlt => break,
            _ => {}
        }
    }
    all
}

/// The exits when single steps are asked for once, and when they are asked for before each run.
fn stepped(code: &[u8], prepare: impl Fn(&mut Bare)) -> [Vec<Event>; 2] {
    let both = TIERS.map(|tier| {
        [false, true].map(|again| {
            let mut m = machine(tier, code);
            prepare(&mut m);
            ask(&mut m, STEP, &[]);
            let ask = |m: &mut Bare| {
                if again {
                    ask(m, STEP, &[]);
                }
            };
            events(&mut m, ask, 40)
        })
    });
    let [interpreted, compiled] = both;
    assert_eq!(interpreted, compiled, "the tiers differ");
    interpreted
}

/// DBG-4, DBG-5: one request steps on, over what KVM runs itself, too.
#[test]
fn dbg_4_steps_go_on_over_what_kvm_skips() {
    // nop; cpuid; in al, 0x21; out 0x21, al; rdmsr; wrmsr; vmmcall; wbinvd; monitor; mwait; nop
    let code = [
        0x90, 0x0f, 0xa2, 0xe4, 0x21, 0xe6, 0x21, 0xb9, 0x77, 2, 0, 0, 0x0f, 0x32, 0x0f, 0x30,
        0x0f, 0x01, 0xd9, 0x0f, 0x09, 0x31, 0xc9, 0x0f, 0x01, 0xc9, 0x90,
    ];
    let expected = vec![
        Step(1),
        StepKvm(3),
        In(3),
        StepKvm(5),
        Out(5),
        StepKvm(7),
        Step(12),
        StepKvm(14),
        StepKvm(16),
        StepKvm(19),
        StepKvm(21),
        Step(23),
        StepKvm(26),
        Step(27),
        Hlt(28),
    ];
    for events in stepped(&code, |_| ()) {
        assert_eq!(events, expected);
    }
}

/// DBG-4: it has to be asked again behind what the emulator runs.
#[test]
fn steps_are_lost_behind_what_the_emulator_writes_back() {
    // mov eax, [rbx]; nop
    let [once, again] = stepped(&[0x8b, 0x03, 0x90], |m| m.set(RBX, DEVICE));
    assert_eq!(once, [Read(0), StepKvm(2), Hlt(4)]);
    assert_eq!(again, [Read(0), StepKvm(2), Step(3), Hlt(4)]);
    // mov [rbx], eax; nop: no step behind the write.
    let [once, again] = stepped(&[0x89, 0x03, 0x90], |m| m.set(RBX, DEVICE));
    assert_eq!(once, [Write(2), Hlt(4)]);
    assert_eq!(again, [Write(2), Step(3), Hlt(4)]);
    // add [rbx], eax
    let [once, again] = stepped(&[0x01, 0x03, 0x90], |m| m.set(RBX, DEVICE));
    assert_eq!(once, [Read(0), Write(2), Hlt(4)]);
    assert_eq!(again, [Read(0), Write(2), Step(3), Hlt(4)]);
    // mov cr8, rax; nop, without a change that user space hears of
    let [once, again] = stepped(&[0x44, 0x0f, 0x22, 0xc0, 0x90], |_| ());
    assert_eq!(once, [StepKvm(4), Hlt(6)]);
    assert_eq!(again, [StepKvm(4), Step(5), Hlt(6)]);
    // mov dr0, rax; nop
    let [once, again] = stepped(&[0x0f, 0x23, 0xc0, 0x90], |_| ());
    assert_eq!(once, [StepKvm(3), Hlt(5)]);
    assert_eq!(again, [StepKvm(3), Step(4), Hlt(5)]);
    // mov cr0, rax; nop, without a change: the processor's own.
    let [once, _] = stepped(&[0x0f, 0x22, 0xc0, 0x90], |m| {
        let cr0 = m.cpu().state.cr0;
        m.set(RAX, cr0);
    });
    assert_eq!(once, [Step(3), Step(4), Hlt(5)]);
    // vmcall, patched to vmmcall: a step with RIP unchanged
    let [once, again] = stepped(&[0x0f, 0x01, 0xc1, 0x90], |_| ());
    // Where stepping was asked for here, TF stays.
    assert_eq!(once, [StepKvm(0), StepKvm(3), Step(4), Hlt(5)]);
    assert_eq!(again, [StepKvm(0), StepKvm(3), Step(4), Hlt(5)]);
    // nop; vmcall; nop
    let [once, again] = stepped(&[0x90, 0x0f, 0x01, 0xc1, 0x90], |_| ());
    assert_eq!(once, [Step(1), StepKvm(1), Hlt(6)]);
    assert_eq!(again, [Step(1), StepKvm(1), StepKvm(4), Step(5), Hlt(6)]);
}

/// DBG-4.
#[test]
fn steps_over_repeated_strings() {
    let strings = |m: &mut Bare| {
        m.set(RCX, 3);
        m.set(RDX, 0x21);
        m.set(RSI, DATA);
        m.set(RDI, DATA + 0x100);
    };
    // rep movsb: each iteration.
    let expected = [Step(0), Step(0), Step(2), Hlt(3)];
    for events in stepped(&[0xf3, 0xa4], strings) {
        assert_eq!(events, expected);
    }
    // nop; rep outsb: an exit an element, no step between, one behind.
    let [once, again] = stepped(&[0x90, 0xf3, 0x6e, 0x90], strings);
    assert_eq!(once, [Step(1), Out(1), Out(1), Out(1), StepKvm(3), Hlt(5)]);
    assert_eq!(
        again,
        [Step(1), Out(1), Out(1), Out(1), StepKvm(3), Step(4), Hlt(5)]
    );
    // nop; rep insb: one exit, a step at the same place, and one behind.
    let [once, again] = stepped(&[0x90, 0xf3, 0x6c, 0x90], strings);
    assert_eq!(once, [Step(1), In(1), StepKvm(1), StepKvm(3), Hlt(5)]);
    assert_eq!(
        again,
        [Step(1), In(1), StepKvm(1), StepKvm(3), Step(4), Hlt(5)]
    );
}

/// DBG-4.
#[test]
fn steps_over_hlt_shadows_and_transfers() {
    // nop; hlt; nop: none for the HLT itself.
    for tier in TIERS {
        let mut m = machine(tier, &[0x90, 0xf4, 0x90]);
        ask(&mut m, STEP, &[]);
        let all = [0; 4].map(|_| {
            let exit = m.run_on();
            event(&m, exit)
        });
        assert_eq!(all, [Step(1), Hlt(2), Step(3), Hlt(4)]);
    }
    // mov ss, ax; nop; nop: none behind the load. The same before CPUID.
    let ss = |m: &mut Bare| m.set(RAX, 0x10);
    for events in stepped(&[0x8e, 0xd0, 0x90, 0x90], ss) {
        assert_eq!(events, [Step(3), Step(4), Hlt(5)]);
    }
    for events in stepped(&[0x8e, 0xd0, 0x0f, 0xa2, 0x90], ss) {
        assert_eq!(events, [StepKvm(4), Step(5), Hlt(6)]);
    }
    // sti; nop: the processor stops behind STI.
    for events in stepped(&[0xfb, 0x90], |_| ()) {
        assert_eq!(events, [Step(1), Step(2), Hlt(3)]);
    }
    // push 0x10 and RSP, pushf, CS and RIP; iretq; nop
    let code = [
        0x6a, 0x10, 0x54, 0x9c, 0x6a, 0x08, 0x53, 0x48, 0xcf, 0x90, 0x90,
    ];
    let to = |m: &mut Bare| m.set(RBX, CODE + 10);
    for events in stepped(&code, to) {
        let pushes = [2, 3, 4, 6, 7].map(Step).to_vec();
        assert_eq!(
            events,
            [&pushes[..], &[Step(10), Step(11), Hlt(12)]].concat()
        );
    }
    // syscall: at its target, unless SFMASK has TF, and then it is over.
    for (mask, expected) in [
        (0, &[Step(4), Step(5), Hlt(6)][..]),
        (flag::TF, &[Hlt(6)][..]),
    ] {
        let [events, again] = stepped(&[0x0f, 0x05, 0x90, 0x90, 0x90], |m| {
            let state = &mut m.cpu().state;
            state.efer |= 1;
            state.msrs.star = 0x08 << 32;
            state.msrs.lstar = CODE + 4;
            state.msrs.sfmask = mask;
        });
        assert_eq!((&events[..], &again[..]), (expected, expected));
    }
}

/// DBG-4: with a local APIC the vCPU stops behind HLT, and waits in the next run.
#[test]
fn a_step_over_a_hlt_that_waits() {
    for tier in TIERS {
        let mut m = Bare::with(|machine| assert!(machine.create_chipset(Chipset::new(None))));
        m.code_at(CODE, &[0xf4, 0x90]);
        m.set_flags(0);
        m.vcpu.engine.set_tier(tier);
        ask(&mut m, STEP, &[]);
        let exit = m.run_on();
        assert_eq!(event(&m, exit), StepKvm(1));
        assert_eq!(m.vcpu.mp_state(), MpState::Halted);
        ask(&mut m, control::INJECT_DB, &[]);
        // The handler's HLT waits, too.
        let peer = m.vcpu.peer().clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            peer.kick();
        });
        m.run_on();
        thread.join().expect("the thread only kicks");
        assert_eq!(m.cpu().pc, HANDLERS + 2, "{tier:?}");
    }
}

/// DBG-4, SYNC-10: TF is the guest's to see, and hidden from user space.
#[test]
fn handlers_run_unstepped_and_see_tf() {
    // int 0x40, whose handler is: mov rbx, [rsp + 16]; iretq. Then: nop.
    for events in stepped(&[0xcd, 0x40, 0x90], |m| {
        let handler = [0x48, 0x8b, 0x5c, 0x24, 0x10, 0x48, 0xcf];
        m.write(HANDLERS + 0x40, &handler);
    }) {
        // IRETQ gives TF back, which counts behind the next instruction.
        assert_eq!(events, [Step(3), Hlt(4)]);
    }
    for tier in TIERS {
        // pushf: the guest sees TF, user space does not (SYNC-10).
        let mut m = machine(tier, &[0x9c, 0x90]);
        ask(&mut m, STEP, &[]);
        assert_eq!(m.vcpu.rflags(), flag::ONE);
        m.run_on();
        assert_eq!(m.vcpu.rflags(), flag::ONE);
        assert_eq!(m.read_u64(m.get(RSP)), flag::ONE | flag::TF);
        // KVM_SET_REGS to another RIP ends it.
        let rip = m.rip();
        m.vcpu.set_rip_and_rflags(rip, flag::ONE);
        let exit = m.run_on();
        assert_eq!(event(&m, exit), Hlt(3));

        // popf that clears TF ends it, too; one that sets it changes nothing.
        for (flags, expected) in [
            (0, &[Step(1), Hlt(3)][..]),
            (flag::TF, &[Step(1), Step(2), Hlt(3)]),
        ] {
            let mut m = machine(tier, &[0x9d, 0x90]);
            let rsp = m.get(RSP);
            m.write(rsp, &(flag::ONE | flags).to_le_bytes());
            ask(&mut m, STEP, &[]);
            let all = events(&mut m, |_| (), 9);
            assert_eq!(all, expected, "{flags:x}");
        }
    }
}

/// DBG-4.
#[test]
fn faults_of_stepped_instructions_push_tf_as_kvm_has_it() {
    // nop; ud2, or rdmsr of what is not there: KVM raises it, with TF only where it was asked for. div bl:
    // the processor does.
    for (code, vector, at) in [
        (&[0x0f, 0x0b][..], 6, 0),
        (&[0x0f, 0x32], 13, 8),
        (&[0xf6, 0xf3], 0, 0),
    ] {
        for again in [false, true] {
            for tier in TIERS {
                let mut m = machine(tier, &[&[0x90], code].concat());
                m.set(RCX, 0xdead);
                ask(&mut m, STEP, &[]);
                m.run_on();
                if again {
                    ask(&mut m, STEP, &[]);
                }
                m.run_on();
                assert_eq!(m.exception(), Some(vector));
                let tf = if again || vector == 0 { flag::TF } else { 0 };
                let pushed = m.read_u64(m.get(RSP) + 16 + at);
                assert_eq!(pushed, flag::ONE | flag::RF | tf, "{vector} {again}");
            }
        }
    }
}

/// DBG-6: whose a #DB is.
#[test]
fn dbg_6_the_guests_own_tf() {
    for tier in TIERS {
        for (control, to_user) in [
            (0, false),
            (ENABLE, false),
            (ENABLE | control::USE_SW_BP, false),
            (HW, true),
        ] {
            let mut m = machine(tier, &[0x90, 0x90]);
            ask(&mut m, control, &[]);
            m.set_flags(flag::TF);
            let exit = m.run_on();
            if to_user {
                let expected = DebugExit {
                    exception: 1,
                    pc: CODE + 1,
                    dr6: Some(0xffff_4ff0),
                    dr7: Some(0),
                };
                assert_eq!(exit, Exit::Debug(expected));
                assert_eq!(m.vcpu.rflags(), flag::ONE | flag::TF);
                assert_eq!(m.vcpu.debugregs().dr6, 0xffff_0ff0);
            } else {
                assert_eq!((exit, m.exception()), (Exit::Hlt, Some(1)));
                assert_eq!(m.vcpu.debugregs().dr6, 0xffff_4ff0);
            }
        }
    }
}

/// DBG-1.
#[test]
fn dbg_1_what_is_not_enabled_does_nothing() {
    for tier in TIERS {
        for (control, registers) in [
            (control::SINGLESTEP, &[][..]),
            (control::USE_HW_BP, &[(0, CODE), (7, 1)]),
            (ENABLE, &[(0, CODE), (7, 1)]),
            (1 << 5 | 1 << 31, &[]),
            (HW, &[(0, 1 << 60), (7, 1)]),
        ] {
            let mut m = machine(tier, &[0x90]);
            ask(&mut m, control, registers);
            assert_eq!(m.run_on(), Exit::Hlt, "{control:x}");
            assert!(m.at_end());
        }
        // DR7's upper half: VMRUN refuses it, again and again.
        let mut m = machine(tier, &[0x90]);
        ask(&mut m, HW, &[(7, 1 << 32)]);
        let reason = VMRUN_INVALID;
        assert_eq!(m.run_on(), Exit::FailEntry { reason });
        assert_eq!(m.run_on(), Exit::FailEntry { reason });
        assert_eq!(m.rip(), CODE);
    }
}

/// DBG-3, DBG-5.
#[test]
fn dbg_3_breakpoints_of_user_space() {
    for tier in TIERS {
        // inc ebx; inc ebx; inc ebx
        let code = [0xff, 0xc3, 0xff, 0xc3, 0xff, 0xc3];
        let mut m = machine(tier, &code);
        ask(
            &mut m,
            HW,
            &[(0, CODE + 2), (1, CODE + 2), (3, CODE + 4), (7, 0x45)],
        );
        let exit = m.run_on();
        assert_eq!((event(&m, exit), m.get(RBX)), (Hit(2, 3), 1));
        // RF passes it; it is cleared behind the instruction.
        m.vcpu.set_rip_and_rflags(CODE + 2, flag::ONE | flag::RF);
        let exit = m.run_on();
        assert_eq!((event(&m, exit), m.get(RBX)), (Hit(4, 8), 2));
        assert_eq!(m.vcpu.rflags() & flag::RF, 0);
        // A step onto a breakpoint: the step, then the breakpoint.
        let mut m = machine(tier, &code);
        ask(&mut m, HW | STEP, &[(0, CODE + 2), (7, 1)]);
        let all = events(&mut m, |_| (), 3);
        assert_eq!(all, [Step(2), Hit(2, 1), Hit(2, 1)]);
        // Not behind a load of SS.
        let mut m = machine(tier, &[0x8e, 0xd0, 0x90, 0x90]);
        m.set(RAX, 0x10);
        ask(&mut m, HW, &[(0, CODE + 2), (1, CODE + 3), (7, 5)]);
        let exit = m.run_on();
        assert_eq!(event(&m, exit), Hit(3, 2));
    }
}

/// DBG-3, DBG-5.
#[test]
fn data_breakpoints_by_kind_and_size() {
    // Kind (1 write, 3 both), size field, the breakpoint's offset; hit by a write, and by a read of 4
    // bytes at 8.
    for (kind, size, at, write, read) in [
        (1u64, 0u64, 8, true, false),
        (3, 0, 11, true, true),
        (1, 1, 12, false, false),
        (1, 1, 6, false, false),
        (1, 1, 11, true, false),
        (3, 3, 10, true, true),
        (3, 2, 12, true, true),
        (3, 2, 16, false, false),
        (2, 0, 8, false, false),
    ] {
        for tier in TIERS {
            // mov [rbx + 8], ecx; mov eax, [rbx + 8]; inc edi
            let code = [0x89, 0x4b, 0x08, 0x8b, 0x43, 0x08, 0xff, 0xc7];
            let mut m = machine(tier, &code);
            m.set(RBX, DATA);
            m.set(RCX, 0x55);
            let dr7 = 1 << 4 | (size << 2 | kind) << 24;
            ask(&mut m, HW, &[(2, DATA + at), (7, dr7)]);
            let mut expected = vec![];
            if write {
                expected.push(Hit(3, 4));
            }
            if read {
                expected.push(Hit(6, 4));
            }
            expected.push(Hlt(9));
            assert_eq!(
                events(&mut m, |_| (), 9),
                expected,
                "{kind} {size} {at} {tier:?}"
            );
            assert_eq!((m.get(RAX), m.get(RDI)), (0x55, 1));
        }
    }
}

/// DBG-3.
#[test]
fn data_breakpoints_on_stacks_atomics_strings_and_pages_ends() {
    for tier in TIERS {
        // push rax; pop rcx; lock inc dword [rbx]; rep stosb; mov [rbx + 4094], eax
        let code = [
            0x50, 0x59, 0xf0, 0xff, 0x03, 0xf3, 0xaa, 0x89, 0x83, 0xfe, 0x0f, 0, 0,
        ];
        let mut m = machine(tier, &code);
        let stack = m.get(RSP) - 8;
        m.set(RAX, 3);
        m.set(RBX, DATA);
        m.set(RDI, DATA + 0x100);
        // Writes at the stack, at RBX, at the second byte of the string, and at the next page.
        let registers = [
            (0, stack),
            (1, DATA),
            (2, DATA + 0x101),
            (3, DATA + 0x1000),
            (7, 0x55 | 0x1111 << 16),
        ];
        ask(&mut m, HW, &registers);
        let all = events(&mut m, |_| (), 9);
        assert_eq!(all, [Hit(1, 1), Hit(5, 2), Hit(5, 4), Hit(13, 8), Hlt(14)]);
        assert_eq!(m.read::<3>(DATA + 0x100), [3; 3]);
        assert_eq!(m.read::<4>(DATA + 0xffe), [3, 0, 0, 0]);
        assert_eq!(m.read::<1>(DATA), [1]);
        // What the load of SS meets is told behind the next instruction.
        let mut m = machine(tier, &[0x8e, 0x13, 0x90, 0x90]);
        m.set(RBX, DATA);
        m.write(DATA, &[0x10]);
        ask(&mut m, HW, &[(0, DATA), (7, 1 | 3 << 16)]);
        assert_eq!(events(&mut m, |_| (), 9), [Hit(3, 1), Hlt(5)]);
    }
}

/// DBG-3, DBG-6: user space's registers are in force, the guest's own are what it reads.
#[test]
fn the_guests_mov_dr_is_its_own() {
    for tier in TIERS {
        // mov rax, dr0; mov dr1, rcx; mov rdx, dr7; mov dr7, rsi
        let code = [
            0x0f, 0x21, 0xc0, 0x0f, 0x23, 0xc9, 0x0f, 0x21, 0xfa, 0x0f, 0x23, 0xfe,
        ];
        let mut m = machine(tier, &code);
        let own = DebugRegs {
            db: [0x5555, 0, 0, 0],
            dr6: 0xffff_0ff0,
            dr7: 0x400,
            flags: 0,
        };
        assert!(m.vcpu.set_debugregs(&own));
        ask(&mut m, HW, &[(0, 0x1000), (7, 0x402)]);
        m.set(RCX, 0x7777);
        m.set(RSI, 0x401);
        assert_eq!(m.run_on(), Exit::Hlt);
        assert_eq!((m.get(RAX), m.get(RDX)), (0x5555, 0x400));
        let found = m.vcpu.debugregs();
        assert_eq!(found.db, [0x5555, 0x7777, 0, 0]);
        assert_eq!(found.dr7, 0x401);
        // The guest's own DR7.GD gives the guest its #DB, also under guest debug.
        for control in [0, HW, STEP] {
            let mut m = machine(tier, &[0x0f, 0x21, 0xc0]);
            assert!(m.vcpu.set_debugregs(&DebugRegs { dr7: 0x2400, ..own }));
            ask(&mut m, control, &[]);
            m.run_on();
            assert_eq!(m.exception(), Some(1), "{control:x}");
            assert_eq!(m.read_u64(m.get(RSP)), CODE);
            // Under guest debug it is the emulator's, and pushes no RF.
            let rf = m.read_u64(m.get(RSP) + 16) & flag::RF != 0;
            assert_eq!(rf, control == 0);
            let found = m.vcpu.debugregs();
            assert_eq!((found.dr6, found.dr7), (0xffff_2ff0, 0x400));
        }
    }
}

/// DBG-2, DBG-7, SYNC-5.
#[test]
fn dbg_2_injection() {
    for tier in TIERS {
        for control in [0, ENABLE] {
            let mut m = machine(tier, &[0x90, 0x90]);
            let both = control::INJECT_DB | control::INJECT_BP;
            ask(&mut m, control | both, &[]);
            let again = GuestDebug {
                control: control::INJECT_BP,
                ..GuestDebug::default()
            };
            assert_eq!(m.vcpu.set_guest_debug(&again), Err(Busy));
            // Pending ones are told as injected.
            let events = m.vcpu.events();
            assert_eq!(events.exception.nr, 1);
            assert!(events.exception.injected && events.exception.pending);
            // To switch debugging off takes nothing back.
            ask(&mut m, 0, &[]);
            m.run_on();
            assert_eq!((m.exception(), m.read_u64(m.get(RSP))), (Some(1), CODE));
            assert_eq!(m.vcpu.debugregs().dr6, 0xffff_0ff0);
        }
        // KVM_SET_REGS drops it (SYNC-5).
        let mut m = machine(tier, &[0x90, 0x90]);
        ask(&mut m, control::INJECT_DB, &[]);
        m.vcpu.set_rip_and_rflags(CODE + 1, flag::ONE);
        assert_eq!(m.run_on(), Exit::Hlt);
        assert!(m.at_end());
        // A #BP skips the instruction that it comes from, and user space does not see it wait.
        let mut m = machine(tier, &[0xcc, 0x90]);
        ask(&mut m, control::INJECT_BP, &[]);
        let events = m.vcpu.events();
        assert!(!events.exception.injected && !events.exception.pending);
        m.run_on();
        assert_eq!((m.exception(), m.read_u64(m.get(RSP))), (Some(3), CODE + 1));
    }
}

/// DBG-8.
#[test]
fn dbg_8_blockirq() {
    for tier in TIERS {
        let mut m = machine(tier, &[0x90, 0x90]);
        m.set_flags(flag::IF);
        m.vcpu.nmi();
        ask(&mut m, ENABLE | control::BLOCKIRQ, &[]);
        assert_eq!(m.run_on(), Exit::Hlt);
        assert!(m.at_end());
        assert_eq!(m.vcpu.events().nmi.pending, 1);
        // It was kept.
        m.vcpu.set_rip_and_rflags(CODE, flag::ONE);
        ask(&mut m, 0, &[]);
        m.run_on();
        assert_eq!(m.exception(), Some(2));
        // It needs ENABLE, and is not about what user space injects.
        let mut m = machine(tier, &[0x90]);
        m.vcpu.nmi();
        ask(&mut m, control::BLOCKIRQ, &[]);
        m.run_on();
        assert_eq!(m.exception(), Some(2));
        let mut m = machine(tier, &[0x90]);
        m.set_flags(flag::IF);
        ask(&mut m, ENABLE | control::BLOCKIRQ, &[]);
        assert!(m.vcpu.inject(0x55));
        m.run_on();
        assert_eq!(m.exception(), Some(0x55));
    }
}

/// DBG-6.
#[test]
fn icebp_and_int3() {
    for tier in TIERS {
        for (control, to_user) in [(0, false), (control::USE_SW_BP | ENABLE, false), (HW, true)] {
            let mut m = machine(tier, &[0xf1, 0x90]);
            ask(&mut m, control, &[]);
            let exit = m.run_on();
            if to_user {
                assert_eq!(event(&m, exit), Hit(1, 0));
            } else {
                assert_eq!((m.exception(), m.read_u64(m.get(RSP))), (Some(1), CODE + 1));
            }
        }
        // cd 03 is no INT3; an INT3 without ENABLE, or for hardware's breakpoints, is the guest's.
        for (code, control) in [
            (&[0xcd, 3][..], ENABLE | control::USE_SW_BP),
            (&[0xcc], control::USE_SW_BP),
            (&[0xcc], HW),
            (&[0xcc], STEP),
        ] {
            let mut m = machine(tier, code);
            ask(&mut m, control, &[]);
            assert_eq!(m.run_on(), Exit::Hlt);
            assert_eq!(m.exception(), Some(3));
        }
        // Again and again, until RIP changes.
        let mut m = machine(tier, &[0xcc, 0x90]);
        ask(&mut m, ENABLE | control::USE_SW_BP, &[]);
        for _ in 0..2 {
            let Exit::Debug(exit) = m.run_on() else {
                panic!("INT3 is user space's");
            };
            assert_eq!((exit.exception, exit.pc), (3, CODE));
        }
    }
}

#[test]
fn set_debugregs_checks_the_upper_halves_only() {
    let mut m = Bare::new();
    let good = DebugRegs {
        db: [1 << 60, 2, 3, 4],
        dr6: 0x1234,
        dr7: 0x5678,
        flags: 0,
    };
    assert!(m.vcpu.set_debugregs(&good));
    assert_eq!(m.vcpu.debugregs(), good);
    for bad in [
        DebugRegs { flags: 1, ..good },
        DebugRegs {
            dr6: 1 << 32,
            ..good
        },
        DebugRegs {
            dr7: 1 << 63,
            ..good
        },
    ] {
        assert!(!m.vcpu.set_debugregs(&bad));
    }
    assert_eq!(m.vcpu.debugregs(), good);
}
