//! The local APIC as guests see it, in both tiers.

use std::time::{Duration, Instant};
use understudy_engine::emit::Slot;
use understudy_engine::run::Tier;
use understudy_x86::chipset::Chipset;
use understudy_x86::cpuid::Entry;
use understudy_x86::exit::Exit;
use understudy_x86::mp::MpState;
use understudy_x86::regs::{self, RAX, RBX, RCX, RDI, RDX, RSI, RSP, flag};
use understudy_x86::testing::{Bare, CODE, DATA, GDT, TABLES, wrmsr};
use understudy_x86::vcpu::Vcpu;

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];
const R8: Slot = regs::gpr(8);
const R9: Slot = regs::gpr(9);
const APIC: u64 = 0xfee0_0000;

/// mov dword [rbx + offset], value: RBX has the page's address.
fn put(offset: u32, value: u32) -> Vec<u8> {
    let bytes = [offset.to_le_bytes(), value.to_le_bytes()].concat();
    [&[0xc7, 0x83], &bytes[..]].concat()
}

/// mov eax, [rbx + offset]
fn get(offset: u32) -> Vec<u8> {
    [&[0x8b, 0x83], &offset.to_le_bytes()[..]].concat()
}

/// out 0x80, al: an exit.
const END: [u8; 2] = [0xe6, 0x80];
/// sti
const STI: [u8; 1] = [0xfb];
/// inc r8
const INC_R8: [u8; 3] = [0x49, 0xff, 0xc0];
/// iretq
const IRET: [u8; 2] = [0x48, 0xcf];

/// CPUID with x2APIC and TSC deadline.
fn features() -> Vec<Entry> {
    vec![Entry {
        function: 1,
        index: None,
        values: [0, 0, 1 << 21 | 1 << 24, 0],
    }]
}

/// A machine with interrupt controllers; each vector's handler appends it at R9 and ends it, and the
/// local APIC is enabled by software.
fn machine(code: &[Vec<u8>]) -> Bare {
    let mut m = Bare::with(|machine| assert!(machine.create_chipset(Chipset::new(None))));
    m.vcpu.set_cpuid(features());
    let all = [&put(0xf0, 0x1ff)[..], &code.concat(), &END].concat();
    m.code_at(CODE, &all);
    m.set(RBX, APIC);
    m.set(R9, DATA);
    m
}

/// Handlers of these vectors.
fn note(m: &mut Bare, vectors: &[u8]) {
    for (index, vector) in (0..).zip(vectors) {
        // mov byte [r9], vector; inc r9; inc r8
        let code = [0x41, 0xc6, 0x01, *vector, 0x49, 0xff, 0xc1];
        let code = [&code[..], &INC_R8, &put(0xb0, 0), &IRET].concat();
        m.handle(*vector, index, &code);
    }
}

/// The vectors that were noted.
fn noted(m: &Bare) -> Vec<u8> {
    let count = (m.get(R9) - DATA) as usize;
    m.read::<64>(DATA)[..count].to_vec()
}

fn ended(m: &mut Bare, tier: Tier) {
    let exit = m.run(tier);
    assert!(matches!(exit, Exit::Io(io) if io.port == 0x80), "{exit:?}");
}

/// ICR: to itself.
const SELF: u32 = 1 << 18 | 1 << 14;

/// SDM vol. 3A, 11.8.3: by priority, above that of the task.
#[test]
fn vectors_are_taken_by_priority() {
    for tier in TIERS {
        let mut m = machine(&[
            put(0x80, 0x50),
            put(0x300, SELF | 0x41),
            put(0x300, SELF | 0x55),
            put(0x300, SELF | 0x62),
            put(0x300, SELF | 0x95),
            put(0x300, SELF | 0x95),
            STI.into(),
            vec![0x90],
            get(0xa0),
            // mov edx, eax; xor eax, eax; mov cr8, rax
            vec![0x89, 0xc2, 0x31, 0xc0, 0x44, 0x0f, 0x22, 0xc0, 0x90],
            get(0x80),
        ]);
        m.set_flags(0);
        note(&mut m, &[0x41, 0x55, 0x62, 0x95]);
        ended(&mut m, tier);
        assert_eq!(noted(&m), [0x95, 0x62, 0x55, 0x41], "{tier:?}");
        assert_eq!((m.get(RDX), m.get(RAX)), (0x50, 0), "PPR, TPR");
    }
}

/// SDM vol. 3A, 11.8.4: one of a higher class is nested, one of the same class waits for EOI.
#[test]
fn handlers_are_nested_by_class() {
    for tier in TIERS {
        let mut m = machine(&[STI.into(), vec![0x90], put(0x300, SELF | 0x55), vec![0x90]]);
        m.set_flags(0);
        note(&mut m, &[0x59, 0x61, 0x21]);
        // The handler of 0x55 raises three, opens, and only then says EOI.
        let code = [
            put(0x300, SELF | 0x21),
            put(0x300, SELF | 0x59),
            put(0x300, SELF | 0x61),
            STI.into(),
            vec![0x90, 0x41, 0xc6, 0x01, 0x55, 0x49, 0xff, 0xc1],
            put(0xb0, 0),
            IRET.into(),
        ];
        m.handle(0x55, 9, &code.concat()[..]);
        ended(&mut m, tier);
        assert_eq!(noted(&m), [0x61, 0x55, 0x59, 0x21], "{tier:?}");
    }
}

/// SDM vol. 3A, 11.12: the registers as MSRs, and 64 bits of ICR.
#[test]
fn x2apic_registers_are_msrs() {
    for tier in TIERS {
        let mut m = machine(&[
            wrmsr(0x1b, 0xfee0_0d00),
            wrmsr(0x80f, 0x1ff),
            // Self IPI; ICR to id 0.
            wrmsr(0x83f, 0x77),
            vec![0x90],
            wrmsr(0x830, 1 << 14 | 0x78),
            vec![0x90],
            // The page is a hole now.
            get(0x20),
            vec![0x89, 0xc6],
            // rdmsr of the version
            vec![0xb9, 3, 8, 0, 0, 0x0f, 0x32],
        ]);
        let end = [
            0x49, 0xff, 0xc0, 0xb9, 0x0b, 8, 0, 0, 0x31, 0xc0, 0x31, 0xd2,
        ];
        let end = [&end[..], &[0x0f, 0x30], &IRET].concat();
        m.handle(0x77, 0, &end);
        m.handle(0x78, 1, &end);
        ended(&mut m, tier);
        assert_eq!((m.get(R8), m.get(RAX)), (2, 0x5_0014), "{tier:?}");
        assert_eq!(m.get(RSI), 0xffff_ffff);
        let image = m.vcpu.lapic().expect("it is in the kernel");
        assert_eq!(image.regs[0x300], 0x78);
    }
}

/// What IA32_APIC_BASE does not have, and changes of mode that there are not: #GP.
#[test]
fn bad_bases_are_refused() {
    for (value, good) in [
        (0xfee0_0900u64, true),
        (0xfee0_0d00, true),
        (0xfee0_0500, false),
        (0xfee0_0901, false),
        (1 << 60, false),
        (0, true),
    ] {
        let mut m = machine(&[vec![0x0f, 0x30]]);
        m.handle(13, 0, &[0xb0, 1, 0xe6, 0x81]);
        m.set(RCX, 0x1b);
        m.set(RAX, value & 0xffff_ffff);
        m.set(RDX, value >> 32);
        let exit = m.run(Tier::Interpret);
        let port = if good { 0x80 } else { 0x81 };
        assert!(matches!(exit, Exit::Io(io) if io.port == port), "{value:x}");
        assert_eq!(
            m.vcpu.peer().apic().base() == value,
            good || value == 0xfee0_0900
        );
    }
    // From disabled to x2APIC, and from x2APIC to xAPIC, only user space can go.
    let mut m = machine(&[]);
    let cpu = m.vcpu.cpu_mut();
    for value in [0xfee0_0d00, 0xfee0_0900, 0xfee0_0100, 0xfee0_0d00] {
        assert!(understudy_x86::apic::write_base(cpu, value, true).is_some());
    }
    assert!(understudy_x86::apic::write_base(cpu, 0xfee0_0900, false).is_none());
    assert!(understudy_x86::apic::write_base(cpu, 0xfee0_0100, false).is_some());
    assert!(understudy_x86::apic::write_base(cpu, 0xfee0_0d00, false).is_none());
}

/// SDM vol. 3A, 11.5.4: one-shot, periodic and TSC-deadline mode, while the guest runs and while it
/// has halted.
#[test]
fn the_timer_interrupts() {
    // loop: cmp r8, 5; jb loop. And with sti; hlt; cli in it.
    let spin = vec![0x49, 0x83, 0xf8, 5, 0x72, 0xfa];
    let halt = vec![0xfb, 0xf4, 0xfa, 0x49, 0x83, 0xf8, 5, 0x72, 0xf7];
    for tier in TIERS {
        for wait in [&spin, &halt] {
            let mut m = machine(&[
                put(0x3e0, 0xb),
                put(0x320, 1 << 17 | 0x60),
                put(0x380, 1_000_000),
                wait.clone(),
            ]);
            note(&mut m, &[0x60]);
            let begin = Instant::now();
            ended(&mut m, tier);
            // A sixth may come before the guest has looked, if its thread has to wait for the host.
            let noted = noted(&m);
            assert!(noted.len() >= 5 && noted.iter().all(|vector| *vector == 0x60));
            let least = Duration::from_millis(noted.len() as u64);
            assert!(begin.elapsed() >= least, "{tier:?} {noted:?}");
        }
        // One shot: the count is 0 after it. Then a deadline 1 ms ahead.
        let mut m = machine(&[
            put(0x3e0, 0),
            put(0x320, 0x61),
            put(0x380, 500_000),
            vec![0xfb, 0xf4, 0xfa],
            get(0x390),
            vec![0x89, 0xc6],
            put(0x320, 2 << 17 | 0x62),
            // mov ecx, 0x6e0; rdtsc; add eax, 1000000; adc edx, 0; wrmsr; sti; hlt; rdmsr
            vec![0xb9, 0xe0, 6, 0, 0, 0x0f, 0x31, 0x05, 0x40, 0x42, 0x0f, 0],
            vec![0x83, 0xd2, 0, 0x0f, 0x30, 0xfb, 0xf4, 0x0f, 0x32],
        ]);
        m.set_flags(0);
        note(&mut m, &[0x61, 0x62]);
        let begin = Instant::now();
        ended(&mut m, tier);
        assert!(begin.elapsed() >= Duration::from_millis(1));
        assert_eq!(noted(&m), [0x61, 0x62], "{tier:?}");
        assert_eq!((m.get(RSI), m.get(RAX)), (0, 0));
    }
}

/// A halted vCPU is woken by another's messages, as often as they come; and by NMI.
#[test]
fn messages_wake_a_halted_vcpu() {
    for tier in TIERS {
        let mut m = machine(&[]);
        let mut other = m.another();
        assert_eq!(other.mp_state(), MpState::Uninitialized);
        assert!(other.set_mp_state(MpState::Runnable));
        // loop: mov rdx, [rcx]; send; wait until [rcx] has changed; dec rdi; jnz
        let send = [
            vec![0x48, 0x8b, 0x11],
            put(0x310, 1 << 24),
            put(0x300, 1 << 14 | 0x55),
            vec![0x48, 0x3b, 0x11, 0x74, 0xfb, 0x48, 0xff, 0xcf, 0x75, 0xdf],
        ];
        m.code_at(CODE, &[&send.concat()[..], &END].concat());
        let rounds = 300;
        m.set(RCX, DATA);
        m.set(RDI, rounds);
        // enable; loop: sti; hlt; cli; inc r8; jmp
        let halter = [
            &put(0xf0, 0x1ff)[..],
            &[0xfb, 0xf4, 0xfa, 0x49, 0xff, 0xc0, 0xeb, 0xf8],
        ];
        m.write(CODE + 0x1000, &halter.concat());
        // inc qword [rcx]
        m.handle(
            0x55,
            0,
            &[&[0x48, 0xff, 0x01][..], &put(0xb0, 0), &IRET].concat(),
        );
        m.handle(2, 1, &[0xb0, 2, 0xe6, 0x82]);
        let cpu = other.cpu_mut();
        cpu.pc = CODE + 0x1000;
        cpu.set_slot(RCX, DATA);
        cpu.set_slot(RBX, APIC);
        cpu.set_slot(RSP, DATA + 0x8000);
        other.engine.set_tier(tier);
        std::thread::scope(|scope| {
            let halted = scope.spawn(|| (other.run(), other));
            // It has to be there before the first is sent.
            std::thread::sleep(Duration::from_millis(5));
            ended(&mut m, tier);
            assert_eq!(m.read_u64(DATA), rounds);
            // ICR: NMI.
            m.code_at(CODE, &[&put(0x300, 1 << 14 | 4 << 8)[..], &END].concat());
            ended(&mut m, tier);
            let (exit, other) = halted.join().expect("the thread ends");
            assert!(matches!(exit, Exit::Io(io) if io.port == 0x82), "{exit:?}");
            assert!(other.cpu().slot(R8) > 0, "it was woken");
        });
    }
}

/// A kick ends the wait of a halted vCPU, which goes on waiting.
#[test]
fn a_kick_ends_a_halt() {
    let mut m = machine(&[vec![0xf4]]);
    let peer = m.vcpu.peer().clone();
    let mut halted = 0;
    while halted < 3 {
        let exit = std::thread::scope(|scope| {
            let halted = scope.spawn(|| m.run_on());
            std::thread::sleep(Duration::from_millis(2));
            peer.kick();
            halted.join().expect("the thread ends")
        });
        assert_eq!(exit, Exit::Interrupted);
        // It may be kicked before it gets there; never out of there.
        let now = m.vcpu.mp_state() == MpState::Halted;
        assert!(now || halted == 0);
        halted += u32::from(now);
    }
    // User space makes it go on.
    assert!(m.vcpu.set_mp_state(MpState::Runnable));
    let exit = m.run_on();
    assert!(matches!(exit, Exit::Io(_)));
}

/// SDM vol. 3A, 9.4.4: INIT and start-up messages, and from real mode to 64-bit mode.
#[test]
fn an_application_processor_starts_up() {
    const LONG: u64 = CODE + 0x2000;
    for tier in TIERS {
        let mut m = machine(&[
            put(0x300, 3 << 18 | 1 << 14 | 5 << 8),
            put(0x300, 3 << 18 | 1 << 14 | 6 << 8 | 8),
            // cmp dword [rcx], 0; jz
            vec![0x83, 0x39, 0, 0x74, 0xfb],
        ]);
        m.set(RCX, DATA);
        let word = |value: u64| (value as u32).to_le_bytes();
        let real = [
            // cli; xor ax, ax; mov ds, ax; lgdt [0x8100]
            &[
                0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x66, 0x0f, 0x01, 0x16, 0, 0x81,
            ][..],
            // mov eax, cr4; or eax, PAE; mov cr4, eax
            &[0x0f, 0x20, 0xe0, 0x66, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0],
            // mov eax, TABLES; mov cr3, eax
            &[0x66, 0xb8],
            &word(TABLES),
            &[0x0f, 0x22, 0xd8],
            // mov ecx, EFER; rdmsr; or eax, LME; wrmsr
            &[0x66, 0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32],
            &[0x66, 0x0d, 0, 1, 0, 0, 0x0f, 0x30],
            // mov eax, cr0; or eax, PE and PG; mov cr0, eax; jmp far
            &[
                0x0f, 0x20, 0xc0, 0x66, 0x0d, 1, 0, 0, 0x80, 0x0f, 0x22, 0xc0,
            ],
            &[0x66, 0xea],
            &word(LONG),
            &[8, 0],
        ];
        m.write(0x8000, &real.concat());
        m.write(0x8100, &[&[0x4f, 0][..], &GDT.to_le_bytes()].concat());
        // mov eax, 0x1234; mov [DATA], eax; cli; hlt
        let long = [0xb8, 0x34, 0x12, 0, 0, 0x89, 0x04, 0x25];
        m.write(LONG, &[&long[..], &word(DATA), &[0xfa, 0xf4]].concat());
        let mut ap = Vcpu::new(&m.vcpu.cpu().state.machine.clone(), 1);
        ap.engine.set_tier(tier);
        // Something that INIT takes away.
        ap.cpu_mut().set_slot(R8, 5);
        ap.cpu_mut().state.cr2 = 5;
        let peer = ap.peer().clone();
        std::thread::scope(|scope| {
            let starting = scope.spawn(|| {
                assert_eq!(ap.run(), Exit::Again);
                let exit = ap.run();
                (exit, ap)
            });
            // Its two messages are two: the second waits until the first has been taken.
            std::thread::sleep(Duration::from_millis(5));
            ended(&mut m, tier);
            assert_eq!(m.read_u64(DATA), 0x1234);
            // It halts, without interrupts.
            std::thread::sleep(Duration::from_millis(2));
            peer.kick();
            let (exit, mut ap) = starting.join().expect("the thread ends");
            assert_eq!(exit, Exit::Interrupted);
            assert_eq!(ap.mp_state(), MpState::Halted);
            assert_eq!((ap.cpu().slot(R8), ap.cpu().state.cr2), (0, 0));
            assert_eq!(ap.cpu().state.rflags & flag::IF, 0);
        });
    }
}

/// A vCPU that waits for INIT is let go by a kick, too.
#[test]
fn a_kick_ends_the_wait_for_init() {
    let m = machine(&[]);
    let mut ap = Vcpu::new(&m.vcpu.cpu().state.machine.clone(), 1);
    ap.peer().kick();
    assert_eq!(ap.run(), Exit::Interrupted);
    assert_eq!(ap.mp_state(), MpState::Uninitialized);
}

/// KVM API 4.57: what is read is what was written, and the timer goes on.
#[test]
fn an_image_is_taken_over() {
    let mut m = machine(&[
        put(0x320, 0x10060),
        put(0x3e0, 0xb),
        put(0x380, 0x4000_0000),
    ]);
    ended(&mut m, Tier::Interpret);
    let image = m.vcpu.lapic().expect("it is in the kernel");
    let mut other = machine(&[]);
    assert!(other.vcpu.set_lapic(&image));
    let again = other.vcpu.lapic().expect("it is in the kernel");
    let word = |image: &understudy_abi::x86::kvm_lapic_state, at: usize| {
        image.regs[at..]
            .first_chunk()
            .copied()
            .map(u32::from_le_bytes)
    };
    for at in (0..0x400).step_by(16).filter(|at| *at != 0x390) {
        assert_eq!(word(&image, at), word(&again, at), "{at:x}");
    }
    let (old, new) = (word(&image, 0x390), word(&again, 0x390));
    assert!(new < old && new > Some(0x3000_0000));
    // Without a local APIC there is none.
    let mut bare = Bare::new();
    assert!(bare.vcpu.lapic().is_none() && !bare.vcpu.set_lapic(&image));
    assert!(!bare.vcpu.set_mp_state(MpState::Halted));
}

/// KVM_SET_VAPIC_ADDR: what the guest writes into its page counts as soon as KVM looks, which
/// KVM_HC_VAPIC_POLL_IRQ asks it to.
#[test]
fn tpr_in_a_page_lets_interrupts_in_when_they_are_polled() {
    const PAGE: u64 = DATA + 0x800;
    // mov byte [rdi], 0; mov eax, 1; vmmcall
    let lower = vec![0xc6, 0x07, 0];
    let poll = vec![0xb8, 1, 0, 0, 0, 0x0f, 0x01, 0xd9, 0x90];
    for tier in TIERS {
        for (polls, taken) in [(vec![], &[][..]), (poll.clone(), &[0x61])] {
            let mut m = machine(&[
                STI.into(),
                put(0x300, SELF | 0x61),
                vec![0x90],
                // mov esi, [rdi]
                vec![0x8b, 0x37],
                lower.clone(),
                polls,
            ]);
            m.set_flags(0);
            note(&mut m, &[0x61]);
            m.set(RDI, PAGE);
            m.write(PAGE, &[0xf0]);
            assert!(m.vcpu.set_vapic(PAGE));
            ended(&mut m, tier);
            assert_eq!(noted(&m), taken, "{tier:?}");
            assert_eq!(m.get(RSI), 0x6100_00f0, "TPR, and what waits");
        }
    }
}
