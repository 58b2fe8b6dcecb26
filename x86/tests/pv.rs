//! What KVM offers to a guest that knows of it: kvmclock, steal time, hypercalls; and the counter that
//! the clock is computed from.

use std::sync::atomic::Ordering;
use std::time::Duration;
use understudy_abi::common::ClockFlags;
use understudy_engine::run::Tier;
use understudy_x86::chipset::Chipset;
use understudy_x86::exit::Exit;
use understudy_x86::msrs::{self, By, Failure};
use understudy_x86::regs::{RAX, RBX, RCX, RDX, RSI};
use understudy_x86::testing::{Bare, CODE, DATA};
use understudy_x86::{hypercalls, pv, tsc};

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];
const SYSTEM_TIME: u32 = 0x4b56_4d01;
const STEAL_TIME: u32 = 0x4b56_4d03;

fn word<const N: usize>(m: &Bare, at: u64) -> u64 {
    let mut bytes = [0; 8];
    bytes[..N].copy_from_slice(&m.read::<N>(at));
    u64::from_le_bytes(bytes)
}

/// The time that a guest computes of its structure and its counter.
fn guest_time(m: &mut Bare) -> u64 {
    assert_eq!(word::<4>(m, DATA) & 1, 0, "the version is even");
    let (start, time) = (m.read_u64(DATA + 8), m.read_u64(DATA + 16));
    let (multiplier, shift) = (word::<4>(m, DATA + 24), m.read::<1>(DATA + 28)[0] as i8);
    let counts = m.cpu().state.tsc.now().wrapping_sub(start);
    let counts = if shift < 0 {
        counts >> -shift
    } else {
        counts << shift
    };
    time + ((u128::from(counts) * u128::from(multiplier)) >> 32) as u64
}

/// KVM API 4.29 and 4.30: the guest's clock is the one that user space reads and sets, at any rate.
#[test]
fn the_clock_is_the_same_for_guest_and_user() {
    for khz in [0, 999_999, 2_445_426, 123_000] {
        let mut m = Bare::new();
        m.vcpu.set_tsc_khz(khz);
        let machine = m.cpu().state.machine.clone();
        machine.tsc.set_khz(khz);
        msrs::write(m.cpu(), SYSTEM_TIME, DATA | 1, By::Guest).expect("it is there");
        let first = word::<4>(&m, DATA);
        for base in [0, 180_000_000_000] {
            let mut wanted = machine.clock();
            (wanted.clock, wanted.flags) = (base, 0);
            assert!(machine.set_clock(&wanted));
            let start = machine.clock();
            let all = ClockFlags::TSC_STABLE | ClockFlags::REALTIME | ClockFlags::HOST_TSC;
            assert_eq!(start.flags, all.bits());
            m.code_at(CODE, &[0x90]);
            m.run(Tier::Interpret);
            let time = guest_time(&mut m);
            let end = machine.clock();
            assert!(
                (start.clock..=end.clock).contains(&time),
                "{khz}: {start:?} {time}"
            );
            assert!((base..base + 10_000_000_000).contains(&time));
        }
        assert!(word::<4>(&m, DATA) > first);
        assert_eq!(m.read::<1>(DATA + 29)[0], 1, "it is stable");
        // A wall clock's time in the past: what has passed since is added.
        let mut wanted = machine.clock();
        wanted.realtime -= 100_000_000_000;
        (wanted.clock, wanted.flags) = (0, ClockFlags::REALTIME.bits());
        assert!(machine.set_clock(&wanted));
        assert!(machine.clock().clock >= 100_000_000_000);
        wanted.flags = 1;
        assert!(!machine.set_clock(&wanted));
        // The guest is told that it was stopped, until it says that it knows.
        assert!(m.vcpu.kvmclock_ctrl());
        m.cpu().pc = CODE;
        m.run(Tier::Interpret);
        assert_eq!(m.read::<1>(DATA + 29)[0], 3);
    }
    assert!(!Bare::new().vcpu.kvmclock_ctrl());
}

/// The time of day at which the clock was 0.
#[test]
fn the_wall_clock_is_stored() {
    let mut m = Bare::new();
    msrs::write(m.cpu(), 0x11, DATA, By::Guest).expect("it is there");
    let now = std::time::SystemTime::now();
    let now = now
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is late");
    let seconds = word::<4>(&m, DATA + 4);
    assert!(now.as_secs() - 5 <= seconds && seconds <= now.as_secs());
    assert_eq!(msrs::read(m.cpu(), 0x4b56_4d00, By::Guest), Ok(DATA));
    assert_eq!(word::<4>(&m, DATA) & 1, 0);
}

/// MSR_KVM_STEAL_TIME: the version is even while the guest runs, and goes up with each run.
#[test]
fn steal_time_is_kept() {
    let mut m = Bare::new();
    let bad = msrs::write(m.cpu(), STEAL_TIME, DATA | 0x3e, By::Host);
    assert_eq!(bad, Err(Failure::Invalid));
    msrs::write(m.cpu(), STEAL_TIME, DATA | 1, By::Host).expect("it is there");
    let mut last = 0;
    for _ in 0..3 {
        // mov al, [rbx]: the vCPU is not preempted while it runs.
        m.code_at(CODE, &[0x8a, 0x03]);
        m.set(RBX, DATA + 16);
        m.run(Tier::Interpret);
        assert_eq!((m.get(RAX) & 0xff, m.read::<1>(DATA + 16)[0]), (0, 1));
        let version = word::<4>(&m, DATA + 8);
        assert!(version > last && version & 1 == 0);
        last = version;
    }
}

/// KVM_CAP_ENFORCE_PV_FEATURE_CPUID: what CPUID does not announce is not there.
#[test]
fn features_can_be_enforced() {
    let mut m = Bare::new();
    let all = (0x11..=0x12).chain(0x4b56_4d00..=0x4b56_4d07);
    for number in all.clone() {
        assert!(msrs::read(m.cpu(), number, By::Guest).is_ok(), "{number:x}");
    }
    let state = &mut m.cpu().state;
    state.pv.enforce = true;
    state.cpuid.retain(|entry| entry.function != 0x4000_0001);
    for number in all {
        for by in [By::Guest, By::Host] {
            assert_eq!(msrs::read(m.cpu(), number, by), Err(Failure::Invalid));
            assert_eq!(msrs::write(m.cpu(), number, 1, by), Err(Failure::Invalid));
        }
    }
    for number in [5, 10, 11] {
        let result = pv::hypercalls::hypercall(m.cpu(), number, [0; 4]);
        assert_eq!(result, Ok(hypercalls::ENOSYS));
    }
}

/// VMMCALL, with the number in RAX.
fn call(number: u64, arguments: [u64; 4], tier: Tier) -> (Exit, Bare) {
    let mut m = Bare::with(|machine| {
        assert!(machine.create_chipset(Chipset::new(None)));
        machine.pv.exits.store(1 << 12, Ordering::Relaxed);
    });
    m.code_at(CODE, &[0x0f, 0x01, 0xd9, 0xe6, 0x80]);
    m.set_flags(0);
    for (slot, value) in [RAX, RBX, RCX, RDX, RSI]
        .into_iter()
        .zip([number].into_iter().chain(arguments))
    {
        m.set(slot, value);
    }
    let exit = m.run(tier);
    (exit, m)
}

#[test]
fn hypercalls_do_what_they_are_asked_for() {
    for tier in TIERS {
        assert_eq!(call(99, [0; 4], tier).1.get(RAX), hypercalls::ENOSYS);
        assert_eq!(call(11, [0; 4], tier).1.get(RAX), 0);
        // Vector 0x55 to ids 0 and 1, of which there is the first.
        let (_, m) = call(10, [3, 0, 0, 0x55], tier);
        assert_eq!(m.get(RAX), 1);
        let image = m.vcpu.lapic().expect("it is in the kernel");
        assert_eq!(image.regs[0x220 + 0x15 / 8], 1 << (0x15 % 8));
        // The counter at a time of day.
        let (_, m) = call(9, [DATA, 0, 0, 0], tier);
        assert!(m.get(RAX) == 0 && m.read_u64(DATA) > 1_600_000_000);
        assert_eq!(
            call(9, [DATA, 1, 0, 0], tier).1.get(RAX),
            95u64.wrapping_neg()
        );
        // User space's.
        let (exit, mut m) = call(12, [DATA, 4, 1, 0], tier);
        let Exit::Hypercall(exit) = exit else {
            panic!("{exit:?}");
        };
        assert_eq!(
            (exit.number, exit.arguments[..3].to_vec()),
            (12, vec![DATA, 4, 1])
        );
        assert!(exit.long_mode);
        m.vcpu.complete_hypercall(7);
        assert!(matches!(m.run_on(), Exit::Io(_)));
        assert_eq!(m.get(RAX), 7);
        assert_eq!(
            call(12, [1, 4, 1, 0], tier).1.get(RAX),
            22u64.wrapping_neg()
        );
    }
}

/// SDM vol. 3B, 18.17.3, and KVM's tsc_msrs_test: who changes what.
#[test]
fn the_counter_and_its_adjustment_belong_together() {
    const UNIT: u64 = 1 << 34;
    let round = |value: u64| value.wrapping_add(UNIT / 2) / UNIT;
    let mut m = Bare::new();
    let read =
        |m: &mut Bare| [0x10, 0x3b].map(|n| round(msrs::read(m.cpu(), n, By::Host).unwrap_or(0)));
    let write = |m: &mut Bare, number, value: u64, by| {
        msrs::write(m.cpu(), number, value * UNIT, by).expect("it is there");
        read(m)
    };
    assert_eq!(write(&mut m, 0x10, 1, By::Guest), [1, 1]);
    assert_eq!(write(&mut m, 0x3b, 2, By::Guest), [2, 2]);
    assert_eq!(write(&mut m, 0x10, 66, By::Host), [66, 2]);
    assert_eq!(write(&mut m, 0x3b, 9, By::Host), [66, 9]);
    assert_eq!(write(&mut m, 0x3b, 2, By::Host), [66, 2]);
    assert_eq!(write(&mut m, 0x3b, 3, By::Guest), [67, 3]);
    assert_eq!(
        write(&mut m, 0x10, 4, By::Guest),
        [4, 4u64.wrapping_sub(64) & (!0 >> 34)]
    );
}

/// vCPUs that are made, or set by user space, one after the other have the same counter.
#[test]
fn counters_are_in_step() {
    let mut m = Bare::new();
    std::thread::sleep(Duration::from_millis(1));
    let mut other = m.another();
    assert_eq!(tsc::offset(m.cpu()), tsc::offset(other.cpu()));
    for value in [1 << 40, (1 << 40) + 1000] {
        for cpu in [m.cpu(), other.cpu_mut()] {
            msrs::write(cpu, 0x10, value, By::Host).expect("it is there");
        }
        assert_eq!(tsc::offset(m.cpu()), tsc::offset(other.cpu()));
    }
    let offset = tsc::offset(m.cpu()).wrapping_add(1 << 50);
    tsc::set_offset(m.cpu(), offset);
    assert!(m.cpu().state.tsc.now() - other.cpu().state.tsc.now() > 1 << 49);
}
