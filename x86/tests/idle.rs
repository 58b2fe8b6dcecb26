//! HLT and MWAIT that KVM does not intercept (KVM API 7.13, "KVM_CAP_X86_DISABLE_EXITS"), in both tiers.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use understudy_engine::run::Tier;
use understudy_x86::chipset::Chipset;
use understudy_x86::exit::Exit;
use understudy_x86::idle::exits;
use understudy_x86::mp::MpState;
use understudy_x86::quirks::quirk;
use understudy_x86::regs::{RAX, RBX, RCX, flag};
use understudy_x86::testing::{Bare, CODE, DATA, END, wrmsr};

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];
/// hlt
const HLT: u8 = 0xf4;
/// out 0x80, al
const OUT: [u8; 2] = [0xe6, 0x80];
/// monitor
const MONITOR: [u8; 3] = [0x0f, 0x01, 0xc8];
/// mwait
const MWAIT: [u8; 3] = [0x0f, 0x01, 0xc9];

/// A machine whose vCPU has no exits of this kind.
fn without(bits: u64, code: &[&[u8]]) -> Bare {
    let mut m = Bare::with(|machine| machine.disabled_exits.store(bits, Ordering::SeqCst));
    m.code_at(CODE, &code.concat());
    m
}

fn is_port(exit: &Exit) -> bool {
    matches!(exit, Exit::Io(io) if io.port == 0x80)
}

/// Runs, and kicks as soon as the vCPU may have halted.
fn kicked(m: &mut Bare) -> Exit {
    let peer = m.vcpu.peer().clone();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| m.run_on());
        std::thread::sleep(Duration::from_millis(5));
        peer.kick();
        run.join().expect("the thread ends")
    })
}

/// As kvm_amd does it: the vCPU waits in its guest and stays runnable, and a kick leaves with RIP past
/// the instruction, so that the guest goes on.
#[test]
fn a_halt_is_no_exit_and_a_kick_ends_it() {
    for tier in TIERS {
        // inc eax; hlt; inc eax; out
        let mut m = without(
            exits::HLT,
            &[&[0xff, 0xc0, HLT], &[0xff, 0xc0, HLT], &[0xff, 0xc0], &OUT],
        );
        m.vcpu.engine.set_tier(tier);
        let mut kicks = 0;
        loop {
            let exit = kicked(&mut m);
            if exit != Exit::Interrupted {
                assert!(is_port(&exit), "{exit:?}");
                break;
            }
            kicks += 1;
            assert_eq!(m.vcpu.mp_state(), MpState::Runnable);
            // It may be kicked before it has begun.
            let expected = if m.get(RAX) == 0 {
                CODE
            } else {
                CODE + 3 * m.get(RAX)
            };
            assert_eq!(m.rip(), expected);
        }
        assert!(kicks >= 2);
        assert_eq!(m.get(RAX), 3);
    }
}

/// SDM vol. 2, HLT: an enabled interrupt and an NMI end it; a masked interrupt does not.
#[test]
fn events_end_it() {
    for tier in TIERS {
        // sti; hlt; out
        let mut m = without(exits::HLT, &[&[0xfb, HLT], &OUT]);
        // mov eax, 7; iretq
        m.handle(0x40, 0, &[0xb8, 7, 0, 0, 0, 0x48, 0xcf]);
        m.handle(2, 1, &[0xb8, 2, 0, 0, 0, 0x48, 0xcf]);
        m.set_flags(0);
        assert!(m.vcpu.inject(0x40));
        assert!(is_port(&m.run(tier)));
        assert_eq!(m.get(RAX), 7);
        // hlt; out, with interrupts masked: an NMI that waits.
        let mut m = without(exits::HLT, &[&[HLT], &OUT]);
        m.handle(2, 1, &[0xb8, 2, 0, 0, 0, 0x48, 0xcf]);
        m.set_flags(0);
        m.vcpu.engine.set_tier(tier);
        assert!(m.vcpu.inject(0x40));
        assert_eq!(kicked(&mut m), Exit::Interrupted);
        assert_eq!(m.get(RAX), 0);
        // One that user space wants to know of is as good.
        let mut m = without(exits::HLT, &[&[0xfb, HLT], &OUT]);
        m.set_flags(0);
        m.vcpu.request_window(true);
        assert_eq!(m.run(tier), Exit::IrqWindowOpen);
        m.vcpu.request_window(false);
        assert!(is_port(&m.run_on()));
    }
}

/// The local APIC's timer, and another vCPU's NMI, where interrupts are the kernel's.
#[test]
fn the_local_apic_ends_it() {
    for tier in TIERS {
        let mut m = Bare::with(|machine| {
            assert!(machine.create_chipset(Chipset::new(Some(24))));
            machine.disabled_exits.store(exits::HLT, Ordering::SeqCst);
        });
        // x2APIC mode; software-enabled; LVT timer one-shot, vector 0x61; initial count; sti; hlt; out
        let code = [
            wrmsr(0x1b, 0xfee0_0d00),
            wrmsr(0x80f, 0x1ff),
            wrmsr(0x83e, 0xb),
            wrmsr(0x832, 0x61),
            wrmsr(0x838, 2_000_000),
            vec![0xfb, HLT],
            OUT.to_vec(),
        ];
        m.code_at(CODE, &code.concat());
        m.handle(0x61, 0, &[0xbb, 9, 0, 0, 0, 0x48, 0xcf]);
        m.set_flags(0);
        let begin = Instant::now();
        assert!(is_port(&m.run(tier)), "{tier:?}");
        assert!(begin.elapsed() >= Duration::from_millis(2));
        assert_eq!(m.get(RBX), 9);
        assert_eq!(m.vcpu.mp_state(), MpState::Runnable);
    }
}

/// A trap behind it does, too: single steps of the guest's own.
#[test]
fn a_trap_ends_it() {
    for tier in TIERS {
        let mut m = without(exits::HLT, &[&[HLT], &OUT]);
        m.handle(1, 0, &OUT);
        m.set_flags(flag::TF);
        assert!(is_port(&m.run(tier)));
        assert_ne!(m.rip(), CODE + 1, "its handler");
    }
}

/// What is disabled once there is a vCPU is not for that one; and PAUSE has no exits anyway.
#[test]
fn a_vcpu_keeps_the_exits_that_it_was_made_with() {
    for tier in TIERS {
        for bits in [0, exits::MWAIT | exits::PAUSE | exits::CSTATE] {
            // pause; hlt
            let mut m = without(bits, &[&[0xf3, 0x90, HLT]]);
            let machine = m.cpu().state.machine.clone();
            machine.disabled_exits.store(exits::ALL, Ordering::SeqCst);
            assert_eq!(m.run(tier), Exit::Hlt);
            assert_eq!(m.rip(), CODE + 3);
        }
    }
}

/// SDM vol. 2, MONITOR and MWAIT, by the processor itself: they do not ask what CPUID says, and they wait,
/// if only for a while.
#[test]
fn monitor_and_mwait_are_the_processors() {
    for tier in TIERS {
        // monitor; mwait; out; hlt, of DATA
        let code: &[&[u8]] = &[
            &[0x48, 0x89, 0xd8],
            &MONITOR,
            &[0x48, 0x83, 0xe0, 0],
            &MWAIT,
            &OUT,
        ];
        let prepare = |m: &mut Bare| {
            m.set(RBX, DATA);
            m.set_flags(0);
            m.cpu().state.quirks.disabled = quirk::MWAIT_NEVER_UD_FAULTS;
        };
        let mut m = without(exits::MWAIT, code);
        prepare(&mut m);
        let begin = Instant::now();
        assert!(is_port(&m.run(tier)));
        assert!(begin.elapsed() >= Duration::from_micros(500));
        // Intercepted, they are not there.
        let mut m = without(exits::HLT, code);
        prepare(&mut m);
        m.handle(6, 0, &OUT);
        assert!(is_port(&m.run(tier)));
        assert_ne!(m.rip(), CODE + 13);
        // Without MONITOR, of a device, and with an interrupt that is masked but wanted: at once.
        for (at, extensions) in [(DATA, 0), (END, 0), (DATA, 1)] {
            let mut m = without(exits::MWAIT, &[&[0x31, 0xc9], &MWAIT, &OUT]);
            m.set(RBX, at);
            m.set_flags(0);
            m.set(RCX, extensions);
            assert!(is_port(&m.run(tier)));
        }
        // mov ecx, 1; mwait, behind monitor
        let mut m = without(
            exits::MWAIT,
            &[&[0x48, 0x89, 0xd8], &MONITOR, &[0xb1, 1], &MWAIT, &OUT],
        );
        prepare(&mut m);
        assert!(m.vcpu.inject(0x40));
        assert!(is_port(&m.run(tier)));
        // A bit that there is not.
        let mut m = without(exits::MWAIT, &[&[0xb1, 2], &MWAIT]);
        m.handle(13, 0, &OUT);
        assert!(is_port(&m.run(tier)));
    }
}

/// As often as the guest waits.
#[test]
fn a_kick_ends_mwait() {
    // monitor; again: mwait; jmp again
    let mut m = without(
        exits::MWAIT,
        &[
            &[0x48, 0x89, 0xd8],
            &MONITOR,
            &MONITOR,
            &MWAIT,
            &[0xeb, 0xf8],
        ],
    );
    m.set(RBX, DATA);
    m.set_flags(0);
    assert_eq!(kicked(&mut m), Exit::Interrupted);
}
