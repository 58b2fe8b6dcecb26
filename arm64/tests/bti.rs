//! Branch target identification, in both tiers: what each kind of indirect branch may lead to.

use understudy_arm64::sysregs::Reg;
use understudy_arm64::testing::{Bare, RAM, RAM_SIZE};

const BTI: u32 = 0xd503_241f;
const BTI_C: u32 = 0xd503_245f;
const BTI_J: u32 = 0xd503_249f;
const BTI_JC: u32 = 0xd503_24df;
const PACIASP: u32 = 0xd503_233f;
const NOP: u32 = 0xd503_201f;

/// BR X1, BR X16, BLR X1 and the BTYPE that they leave.
const BRANCHES: [(u32, u64); 3] = [(0xd61f_0020, 3), (0xd61f_0200, 1), (0xd63f_0020, 2)];
const RET: u32 = 0xd65f_0020;

const GP: u64 = 1 << 50;

/// Has the block descriptor of RAM guard its pages.
fn guard(machine: &mut Bare) {
    let place = RAM + RAM_SIZE + 8 * (RAM >> 30);
    let descriptor = machine.read_u64(place) | GP;
    machine.write(place, &descriptor.to_le_bytes());
}

/// Branches over an instruction to `landing`.
fn run(branch: u32, landing: u32, prepare: impl Fn(&mut Bare)) -> Bare {
    let words = [branch, NOP, landing];
    let end = Bare::both(&words, |machine| {
        for n in [1, 16] {
            machine.set_x(n, RAM + 8);
        }
        prepare(machine);
    });
    if end.exception().is_none() {
        assert!(end.at_end(&words), "{branch:x} {landing:x}");
    }
    end
}

fn lands(branch: u32, kind: u64, landing: u32, prepare: impl Fn(&mut Bare)) -> bool {
    let mut end = run(branch, landing, prepare);
    let Some((_, class, iss, _)) = end.exception() else {
        return true;
    };
    assert_eq!((class, iss), (0x0d, kind), "{branch:x} {landing:x}");
    let sys = &end.cpu().state.sys;
    assert_eq!(sys[Reg::ELR_EL1], RAM + 8);
    assert_eq!(sys[Reg::SPSR_EL1] >> 10 & 3, kind);
    false
}

#[test]
fn each_landing_suits_its_branches() {
    for (branch, kind) in BRANCHES {
        for (landing, suits) in [
            (BTI, false),
            (BTI_C, kind != 3),
            (BTI_J, kind != 2),
            (BTI_JC, true),
            (PACIASP, true),
            (NOP, false),
        ] {
            assert_eq!(
                lands(branch, kind, landing, guard),
                suits,
                "{kind} {landing:x}"
            );
        }
        // SCTLR_EL1.BT1: PACIASP is for calls only.
        let strict = |machine: &mut Bare| {
            guard(machine);
            machine.set_control(1 << 36);
        };
        assert_eq!(lands(branch, kind, PACIASP, strict), kind != 3);
    }
    assert!(lands(RET, 0, NOP, guard), "a return needs no landing");
}

#[test]
fn pages_that_are_not_guarded_take_all() {
    for (branch, kind) in BRANCHES {
        assert!(lands(branch, kind, NOP, |_| ()));
        let end = run(branch, NOP, |_| ());
        let links = kind == 2;
        assert_eq!(end.x(30), if links { RAM + 4 } else { 0 });
    }
}

/// An exception return restores PSTATE.BTYPE, which is looked at where it leads.
#[test]
fn returns_restore_the_kind() {
    const ERET: u32 = 0xd69f_03e0;
    for (landing, suits) in [(NOP, false), (BTI_C, true), (BTI_J, false)] {
        let words = [ERET, NOP, landing];
        let mut end = Bare::both(&words, |machine| {
            guard(machine);
            let sys = &mut machine.cpu().state.sys;
            sys[Reg::ELR_EL1] = RAM + 8;
            sys[Reg::SPSR_EL1] = 5 | 2 << 10;
        });
        assert_eq!(end.at_end(&words), suits, "{landing:x}");
        if !suits {
            assert_eq!(
                end.exception().map(|(_, class, iss, _)| (class, iss)),
                Some((0x0d, 2))
            );
            assert_eq!(end.cpu().state.sys[Reg::SPSR_EL1] >> 10 & 3, 2);
        }
    }
}
