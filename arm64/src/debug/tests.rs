//! The debug unit, run: the scenarios of requirements 2.6 and 6.5, and what the reference KVM's
//! `probe-guest` printed for the same guests. Each in the interpreter and in compiled code.

use super::*;
use crate::exit::Mmio;
use crate::testing::{Bare, DATA, RAM};
use understudy_engine::run::Tier;

const NOP: u32 = 0xd503_201f;
const ADD_X3: u32 = 0x9100_0463; // add x3, x3, #1
const LDR_X1_X2: u32 = 0xf940_0041; // ldr x1, [x2]
const STR_X1_X2: u32 = 0xf900_0041; // str x1, [x2]
const STR_W1_X2: u32 = 0xb900_0041; // str w1, [x2]
const STR_X1_X20: u32 = 0xf900_0281; // str x1, [x20]: the guest's exit
const STRB_X21: u32 = 0x3900_02a1; // strb w1, [x21]: a vector was taken
const LDXR_X1_X2: u32 = 0xc85f_7c41;
const ERET: u32 = 0xd69f_03e0;
const B_OVER_TWO: u32 = 0x1400_0003; // b .+12

const fn brk(imm: u32) -> u32 {
    0xd420_0000 | imm << 5
}

const fn svc(imm: u32) -> u32 {
    0xd400_0001 | imm << 5
}

const EXIT: u64 = 0x0900_0000;
const TRAP: u64 = 0x0900_1000;
const VECTORS: u64 = RAM + 0x4000;

/// PSTATE at EL1 with everything masked.
const MASKED: u64 = 0x3c5;
/// The same with debug exceptions unmasked.
const UNMASKED: u64 = 0x1c5;

/// A guest at EL1, as `probe-guest` has it: X20 is an address that ends it, vector n stores to X21.
struct Guest(Bare);

impl Guest {
    fn new(tier: Tier, words: &[u32]) -> Guest {
        let mut bare = Bare::reset();
        bare.vcpu.engine.set_tier(tier);
        for n in 0..16u32 {
            let vector = STRB_X21 | n << 10;
            bare.write(VECTORS + 0x80 * n as u64, &vector.to_le_bytes());
        }
        bare.code(words);
        bare.set_x(20, EXIT);
        bare.set_x(21, TRAP);
        bare.set_x(2, DATA);
        let mut guest = Guest(bare);
        guest.cpu().state.sys[Reg::VBAR_EL1] = VECTORS;
        exceptions::set_pstate(guest.cpu(), MASKED);
        guest
    }

    fn cpu(&mut self) -> &mut Cpu {
        self.0.cpu()
    }

    fn set(&mut self, reg: Reg, value: u64) {
        self.cpu().state.sys[reg] = value;
        changed(self.cpu());
    }

    fn get(&mut self, reg: Reg) -> u64 {
        self.cpu().state.sys[reg]
    }

    fn run(&mut self) -> Exit {
        step::begin_run(self.cpu());
        self.0.vcpu.engine.run();
        step::end_run(self.cpu());
        self.cpu()
            .state
            .exit
            .take()
            .expect("a run ends with an exit")
    }

    /// PC from the beginning of the code.
    fn pc(&mut self) -> u64 {
        self.cpu().pc.wrapping_sub(RAM)
    }

    /// Runs to a debug exit; its syndrome, far, and the PC.
    fn debug(&mut self) -> (u64, Option<u64>, u64) {
        match self.run() {
            Exit::Debug { esr, far } => (esr, far, self.pc()),
            exit => panic!("{exit:x?} at {:#x}", self.pc()),
        }
    }

    /// Runs to the store that ends the guest.
    fn ends(&mut self) {
        match self.run() {
            Exit::Mmio(Mmio { address: EXIT, .. }) => {}
            exit => panic!("{exit:x?} at {:#x}", self.pc()),
        }
    }

    /// Runs to a vector; its offset, and ESR_EL1.
    fn vector(&mut self) -> (u64, u64) {
        match self.run() {
            Exit::Mmio(Mmio { address, .. }) if address & !0xf == TRAP => {
                ((address - TRAP) * 0x80, self.get(Reg::ESR_EL1))
            }
            exit => panic!("{exit:x?} at {:#x}", self.pc()),
        }
    }

    /// Goes on as a handler would by ERET, with this SPSR_EL1.
    fn eret(&mut self, spsr: u64) {
        self.cpu().state.sys[Reg::SPSR_EL1] = spsr;
        exceptions::exception_return(self.cpu());
    }

    /// Completes the access of an MMIO exit.
    fn complete(&mut self) {
        self.cpu().pc += 4;
        step::emulated(self.cpu());
    }

    fn debug_with(&mut self, user: GuestDebug) {
        set_guest_debug(self.cpu(), user);
    }
}

fn tiers(test: impl Fn(Tier)) {
    test(Tier::Interpret);
    test(Tier::Compile(1));
}

const ENABLE: GuestDebug = GuestDebug {
    enable: true,
    single_step: false,
    use_sw_bp: false,
    use_hw: false,
    breakpoints: [Comparator {
        value: 0,
        control: 0,
    }; API_SLOTS],
    watchpoints: [Comparator {
        value: 0,
        control: 0,
    }; API_SLOTS],
};
const STEP: GuestDebug = GuestDebug {
    single_step: true,
    ..ENABLE
};

fn breakpoint(slot: usize, value: u64, control: u64) -> GuestDebug {
    let mut user = GuestDebug {
        use_hw: true,
        ..ENABLE
    };
    user.breakpoints[slot] = Comparator { value, control };
    user
}

fn watchpoint(slot: usize, value: u64, control: u64) -> GuestDebug {
    let mut user = GuestDebug {
        use_hw: true,
        ..ENABLE
    };
    user.watchpoints[slot] = Comparator { value, control };
    user
}

const PLAIN: [u32; 6] = [NOP, NOP, ADD_X3, NOP, STR_X1_X20, NOP];
const WATCH: [u32; 8] = [
    NOP, LDR_X1_X2, NOP, STR_X1_X2, NOP, STR_W1_X2, NOP, STR_X1_X20,
];

// What user space debugs.

/// DBG-21, DBG-22, ESR-8: BRK is an exit with or without USE_SW_BP, at the instruction, time and
/// again; without ENABLE it is the guest's (DBG-20).
#[test]
fn brk_goes_to_user_space_while_it_debugs() {
    tiers(|tier| {
        let mut guest = Guest::new(tier, &[NOP, brk(0x123), NOP, STR_X1_X20]);
        assert_eq!(guest.vector(), (0x200, 0xf200_0123));
        assert_eq!(guest.get(Reg::ELR_EL1), RAM + 4);
        assert_eq!(guest.get(Reg::SPSR_EL1), MASKED);

        for use_sw_bp in [false, true] {
            let mut guest = Guest::new(tier, &[NOP, brk(0x123), NOP, STR_X1_X20]);
            guest.debug_with(GuestDebug {
                use_sw_bp,
                ..ENABLE
            });
            for _ in 0..2 {
                assert_eq!(guest.debug(), (0xf200_0123, None, 4));
            }
            guest.cpu().pc += 4;
            guest.ends();
        }

        let mut guest = Guest::new(tier, &[NOP, brk(0x123)]);
        guest.debug_with(GuestDebug {
            enable: false,
            use_sw_bp: true,
            ..ENABLE
        });
        assert_eq!(guest.vector(), (0x200, 0xf200_0123));
    });
}

/// Which controls of a breakpoint match at EL1, as the reference has it.
#[test]
fn user_breakpoint_controls() {
    let hits = [
        (0x1e7, true),            // EL1 and EL0
        (0x1e5, false),           // EL0
        (0x1e3, true),            // EL1
        (0x1e1, false),           // reserved in AArch64
        (0x1e6, false),           // not enabled
        (0x25, false),            // EL0, one byte
        (0x1e7 | 1 << 20, false), // linked to one that has no context
        (0x21e7, true),           // HMC
        (0x7, false),             // no byte
    ];
    tiers(|tier| {
        for (control, hit) in hits {
            let mut guest = Guest::new(tier, &PLAIN);
            guest.debug_with(breakpoint(0, RAM + 8, control));
            if hit {
                for _ in 0..2 {
                    assert_eq!(guest.debug(), (0xc200_0022, None, 8), "{control:#x}");
                }
                assert_eq!(guest.0.x(3), 0);
                guest.debug_with(ENABLE);
            }
            guest.ends();
            assert_eq!(guest.0.x(3), 1);
        }
    });
}

/// Six breakpoints; slots 6 to 15 are accepted and do nothing.
#[test]
fn user_breakpoint_slots() {
    tiers(|tier| {
        for slot in 0..API_SLOTS {
            let mut guest = Guest::new(tier, &PLAIN);
            guest.debug_with(breakpoint(slot, RAM + 8, 0x1e7));
            if slot < 6 {
                assert_eq!(guest.debug(), (0xc200_0022, None, 8), "{slot}");
            } else {
                guest.ends();
            }
        }
    });
}

/// Which controls of a watchpoint match, at which instruction, with which address (ESR-7, ESR-8,
/// DBG-22: at the accessing instruction, which has done nothing).
#[test]
fn user_watchpoint_controls() {
    const READ: u64 = 0xd200_0022;
    const WRITE: u64 = 0xd200_0062;
    let cases = [
        (0x1fef, (READ, Some(DATA), 4)),
        (0x1ff7, (WRITE, Some(DATA), 12)),
        (0x1fff, (READ, Some(DATA), 4)),
        (0x37, (WRITE, Some(DATA), 12)),
        (0x1017, (WRITE, Some(DATA + 7), 12)),
        (0x1ff, (READ, Some(DATA), 4)),
        // Four bytes at the second word, loads and stores: not the store of the first.
        (0x1e1f, (READ, Some(DATA + 4), 4)),
    ];
    tiers(|tier| {
        for (control, exit) in cases {
            let mut guest = Guest::new(tier, &WATCH);
            guest.0.set_x(1, 0x55);
            guest.debug_with(watchpoint(0, DATA, control));
            for _ in 0..2 {
                assert_eq!(guest.debug(), exit, "{control:#x}");
            }
            assert_eq!(guest.0.read_u64(DATA), 0);
            guest.debug_with(ENABLE);
            guest.ends();
        }
    });
}

/// Four watchpoints, and accesses that only touch the watched bytes, across pages too.
#[test]
fn user_watchpoint_slots_and_overlaps() {
    tiers(|tier| {
        for slot in 0..API_SLOTS {
            let mut guest = Guest::new(tier, &WATCH);
            guest.debug_with(watchpoint(slot, DATA, 0x1fef));
            if slot < 4 {
                assert_eq!(guest.debug(), (0xd200_0022, Some(DATA), 4), "{slot}");
            } else {
                guest.ends();
            }
        }
        // The last byte of a page; the access begins seven bytes before it. Aligned it must be, as
        // there is no translation.
        let mut guest = Guest::new(tier, &WATCH);
        guest.0.set_x(2, DATA + 0xff8);
        guest.debug_with(watchpoint(3, DATA + 0xff8, 0x1017));
        assert_eq!(guest.debug(), (0xd200_0062, Some(DATA + 0xfff), 12));
        // A neighbour of what is watched, in the same page.
        let mut guest = Guest::new(tier, &WATCH);
        guest.debug_with(watchpoint(3, DATA + 8, 0x1fff));
        guest.ends();
    });
}

/// The address mask of a watchpoint.
#[test]
fn user_watchpoint_mask() {
    tiers(|tier| {
        for (log2, offset, hit) in [
            (3, 8, false),
            (4, 8, true),
            (4, 16, false),
            (12, 0xff8, true),
            (12, 0x1000, false),
            (14, 0x3ff8, true),
            (31, 0x1000, true),
        ] {
            let mut guest = Guest::new(tier, &WATCH);
            guest.0.set_x(2, DATA + offset);
            guest.debug_with(watchpoint(0, DATA, 0x1fff | log2 << 24));
            if hit {
                let far = Some(DATA + offset);
                assert_eq!(guest.debug(), (0xd200_0022, far, 4), "{log2} {offset:#x}");
            } else {
                guest.ends();
            }
        }
    });
}

/// The fault of a watched access comes before the watchpoint.
#[test]
fn aborts_come_before_watchpoints() {
    tiers(|tier| {
        let mut guest = Guest::new(tier, &WATCH);
        guest.0.set_x(2, 1 << 40);
        guest.debug_with(watchpoint(0, 1 << 40, 0x1fff));
        assert_eq!(guest.vector(), (0x200, 0x9600_0010));
    });
}

/// Single steps over ordinary instructions: at the next one, ISV set.
#[test]
fn user_steps() {
    tiers(|tier| {
        for pstate in [MASKED, 0x5] {
            let words = [NOP, ADD_X3, ADD_X3, STR_X1_X20];
            let mut guest = Guest::new(tier, &words);
            exceptions::set_pstate(guest.cpu(), pstate);
            guest.debug_with(STEP);
            for n in 1..=3 {
                assert_eq!(guest.debug(), (0xcb00_0022, None, 4 * n));
                // DBG-23: nothing of it shows.
                assert_eq!(exceptions::pstate(guest.cpu()), pstate);
                assert_eq!(guest.get(Reg::MDSCR_EL1), 0);
            }
            guest.ends();
            assert_eq!(guest.0.x(3), 2);
        }
    });
}

/// A taken branch, an exception return and a load-exclusive are stepped like the rest; the last is
/// told (EX).
#[test]
fn user_steps_over_branches() {
    tiers(|tier| {
        let mut guest = Guest::new(tier, &[NOP, B_OVER_TWO, NOP, NOP, ADD_X3]);
        guest.debug_with(STEP);
        assert_eq!(guest.debug(), (0xcb00_0022, None, 4));
        assert_eq!(guest.debug(), (0xcb00_0022, None, 16));
        assert_eq!(guest.debug(), (0xcb00_0022, None, 20));

        let mut guest = Guest::new(tier, &[NOP, ERET, NOP, ADD_X3]);
        guest.set(Reg::ELR_EL1, RAM + 12);
        guest.set(Reg::SPSR_EL1, MASKED);
        guest.debug_with(STEP);
        assert_eq!(guest.debug(), (0xcb00_0022, None, 4));
        assert_eq!(guest.debug(), (0xcb00_0022, None, 12));
        assert_eq!(guest.debug(), (0xcb00_0022, None, 16));

        let mut guest = Guest::new(tier, &[LDXR_X1_X2, NOP]);
        guest.debug_with(STEP);
        assert_eq!(guest.debug(), (0xcb00_0062, None, 4));
        // An exit and an entry open the monitor.
        assert_eq!(guest.debug(), (0xcb00_0022, None, 8));
    });
}

/// A step into an exception is over at the vector, with ISV clear. SPSR_EL1.SS tells what was
/// executed: the call, but not the undefined instruction.
#[test]
fn user_steps_into_exceptions() {
    tiers(|tier| {
        for (word, esr, spsr, elr) in [
            (svc(5), 0x5600_0005, MASKED, 8),
            (0, 0x0200_0000, 0x20_03c5, 4),
        ] {
            let mut guest = Guest::new(tier, &[NOP, word, NOP, STR_X1_X20]);
            guest.debug_with(STEP);
            assert_eq!(guest.debug(), (0xcb00_0022, None, 4));
            assert_eq!(guest.debug(), (0xca00_0022, None, 0x4200));
            assert_eq!(guest.vector(), (0x200, esr));
            assert_eq!(guest.get(Reg::SPSR_EL1), spsr);
            assert_eq!(guest.get(Reg::ELR_EL1), RAM + elr);
        }
    });
}

/// A step does not get past BRK.
#[test]
fn user_steps_onto_brk() {
    tiers(|tier| {
        let mut guest = Guest::new(tier, &[NOP, brk(7), NOP]);
        guest.debug_with(STEP);
        assert_eq!(guest.debug(), (0xcb00_0022, None, 4));
        for _ in 0..3 {
            assert_eq!(guest.debug(), (0xf200_0007, None, 4));
        }
    });
}

/// DBG-24: an access that user space emulates is one step, which is over as soon as the guest is
/// entered again.
#[test]
fn user_steps_over_mmio() {
    tiers(|tier| {
        let mut guest = Guest::new(tier, &[NOP, STR_W1_X2, ADD_X3, STR_X1_X20]);
        guest.0.set_x(2, 0x900_2000);
        guest.debug_with(STEP);
        assert_eq!(guest.debug(), (0xcb00_0022, None, 4));
        assert!(matches!(guest.run(), Exit::Mmio(_)));
        assert_eq!(guest.pc(), 4);
        guest.complete();
        assert_eq!(guest.debug(), (0xca00_0022, None, 8));
        assert_eq!(guest.debug(), (0xcb00_0022, None, 12));
        guest.ends();
    });
}

/// DBG-20: a step that is pending is forgotten when debugging ends.
#[test]
fn pending_step_is_forgotten() {
    tiers(|tier| {
        let mut guest = Guest::new(tier, &[STR_W1_X2, ADD_X3, STR_X1_X20]);
        guest.0.set_x(2, 0x900_2000);
        guest.debug_with(STEP);
        assert!(matches!(guest.run(), Exit::Mmio(_)));
        guest.complete();
        guest.debug_with(GuestDebug::default());
        guest.debug_with(STEP);
        assert_eq!(guest.debug(), (0xcb00_0022, None, 8));
    });
}

/// DBG-21, DBG-23: the guest's own breakpoints exit while it is debugged without USE_HW, whatever
/// it masks; its own steps are not made.
#[test]
fn own_debug_exceptions_go_to_user_space() {
    tiers(|tier| {
        let mut guest = Guest::new(tier, &PLAIN);
        guest.set(Reg::DBGBVR0_EL1, RAM + 8);
        guest.set(Reg::DBGBCR0_EL1, 0x1e7);
        guest.set(Reg::MDSCR_EL1, mdscr::MDE | mdscr::SS | mdscr::KDE);
        exceptions::set_pstate(guest.cpu(), UNMASKED | pstate::SS);
        guest.debug_with(ENABLE);
        assert_eq!(guest.debug(), (0xc200_0022, None, 8));
        // DBG-25: with USE_HW they don't count, but they are there.
        guest.debug_with(GuestDebug {
            use_hw: true,
            ..ENABLE
        });
        guest.ends();
        assert_eq!(guest.get(Reg::DBGBVR0_EL1), RAM + 8);
        assert_eq!(guest.get(Reg::DBGBCR0_EL1), 0x1e7);
        assert_eq!(
            guest.get(Reg::MDSCR_EL1),
            mdscr::MDE | mdscr::SS | mdscr::KDE
        );
        assert_eq!(exceptions::pstate(guest.cpu()), UNMASKED | pstate::SS);
    });
}

/// OSL-8, OSL-30: the guest's lock does not hold up user space.
#[test]
fn os_lock_does_not_mask_user_space() {
    tiers(|tier| {
        let mut guest = Guest::new(tier, &PLAIN);
        os_lock::write_oslar(guest.cpu(), 1);
        guest.debug_with(breakpoint(5, RAM + 8, 0x1e7));
        assert_eq!(guest.debug(), (0xc200_0022, None, 8));
        guest.debug_with(STEP);
        assert_eq!(guest.debug(), (0xcb00_0022, None, 12));
        // Without USE_HW the guest's own don't count while it is locked (table 2.4).
        let mut guest = Guest::new(tier, &PLAIN);
        guest.set(Reg::DBGBVR0_EL1, RAM + 8);
        guest.set(Reg::DBGBCR0_EL1, 0x1e7);
        guest.set(Reg::MDSCR_EL1, mdscr::MDE | mdscr::KDE);
        os_lock::write_oslar(guest.cpu(), 1);
        guest.debug_with(ENABLE);
        guest.ends();
    });
}

// The guest's own.

/// Test 1 of requirements 2.6 and 7 (OSL-21): BRK, with the lock open and closed.
#[test]
fn brk_unlocked_and_locked() {
    tiers(|tier| {
        for locked in [0, 1] {
            let mut guest = Guest::new(tier, &[NOP, brk(0)]);
            os_lock::write_oslar(guest.cpu(), locked);
            assert_eq!(guest.vector(), (0x200, 0xf200_0000));
            assert_eq!(guest.get(Reg::ELR_EL1), RAM + 4);
        }
    });
}

fn with_breakpoint(tier: Tier, n: usize, words: &[u32]) -> Guest {
    let mut guest = Guest::new(tier, words);
    guest.set(Reg::dbgbvr(n), RAM + 4);
    guest.set(Reg::dbgbcr(n), 0x1e7);
    guest.set(Reg::MDSCR_EL1, mdscr::MDE | mdscr::KDE);
    exceptions::set_pstate(guest.cpu(), UNMASKED);
    guest
}

/// Tests 2 to 4: a breakpoint on a NOP, on an SVC, on a BRK, for each of the six; the handler goes
/// on with PSTATE.D set.
#[test]
fn own_breakpoints() {
    tiers(|tier| {
        for n in 0..BREAKPOINTS {
            for (word, then) in [
                (NOP, None),
                (svc(3), Some(0x5600_0003)),
                (brk(9), Some(0xf200_0009)),
            ] {
                let mut guest = with_breakpoint(tier, n, &[NOP, word, NOP, STR_X1_X20]);
                assert_eq!(guest.vector(), (0x200, 0xc600_0022));
                assert_eq!(guest.get(Reg::ELR_EL1), RAM + 4);
                assert_eq!(guest.get(Reg::SPSR_EL1), UNMASKED);
                guest.eret(MASKED);
                match then {
                    Some(esr) => assert_eq!(guest.vector(), (0x200, esr)),
                    None => guest.ends(),
                }
            }
        }
    });
}

/// KDE and PSTATE.D decide at EL1; at EL0 neither does, and the class says where it was.
#[test]
fn own_breakpoints_are_masked() {
    tiers(|tier| {
        for (mdscr, pstate, esr) in [
            (
                mdscr::MDE | mdscr::KDE,
                UNMASKED,
                Some((0x200, 0xc600_0022)),
            ),
            (mdscr::MDE | mdscr::KDE, MASKED, None),
            (mdscr::MDE, UNMASKED, None),
            (mdscr::KDE, UNMASKED, None),
            (mdscr::MDE, 0x3c0, Some((0x400, 0xc200_0022))),
            (mdscr::KDE, 0x3c0, None),
        ] {
            let mut guest = with_breakpoint(tier, 0, &PLAIN);
            guest.set(Reg::MDSCR_EL1, mdscr);
            exceptions::set_pstate(guest.cpu(), pstate);
            match esr {
                Some(esr) => assert_eq!(guest.vector(), esr, "{mdscr:#x} {pstate:#x}"),
                None => guest.ends(),
            }
        }
    });
}

/// Test 8 (OSL-20, OSL-22): a locked breakpoint does not fire, keeps its registers, and fires when
/// the lock opens (OSL-24: whatever else is unmasked; OSL-25: by these bits of MDSCR_EL1).
#[test]
fn os_lock_suppresses_breakpoints() {
    tiers(|tier| {
        let mut guest = with_breakpoint(tier, 0, &PLAIN);
        os_lock::write_oslar(guest.cpu(), 1);
        guest.ends();
        assert_eq!(guest.get(Reg::MDSCR_EL1), mdscr::MDE | mdscr::KDE);
        // OSL-22: what is written while it is locked is stored.
        guest.set(Reg::DBGBVR0_EL1, RAM + 8);
        guest.cpu().pc = RAM;
        guest.ends();
        os_lock::write_oslar(guest.cpu(), 0);
        guest.cpu().pc = RAM;
        assert_eq!(guest.vector(), (0x200, 0xc600_0022));
        assert_eq!(guest.get(Reg::ELR_EL1), RAM + 8);
    });
}

/// Tests 5 and 9 (OSL-20): a watchpoint, for each of the four; locked, the store is done.
#[test]
fn own_watchpoints() {
    tiers(|tier| {
        for n in 0..WATCHPOINTS {
            for locked in [0, 1] {
                let mut guest = Guest::new(tier, &[NOP, STR_X1_X2, STR_X1_X20]);
                guest.0.set_x(1, 0x1234);
                guest.set(Reg::dbgwvr(n), DATA);
                guest.set(Reg::dbgwcr(n), 0x1ff7);
                guest.set(Reg::MDSCR_EL1, mdscr::MDE | mdscr::KDE);
                exceptions::set_pstate(guest.cpu(), UNMASKED);
                os_lock::write_oslar(guest.cpu(), locked);
                if locked == 0 {
                    assert_eq!(guest.vector(), (0x200, 0xd600_0062));
                    assert_eq!(guest.get(Reg::FAR_EL1), DATA);
                    assert_eq!(guest.get(Reg::ELR_EL1), RAM + 4);
                    guest.eret(MASKED);
                }
                guest.ends();
                assert_eq!(guest.0.read_u64(DATA), 0x1234);
            }
        }
    });
}

/// Tests 6 and 10 (OSL-20, OSL-23): the guest steps itself at EL1; locked it does not, and
/// PSTATE.SS is left alone.
#[test]
fn own_steps() {
    tiers(|tier| {
        let words = [ADD_X3, ADD_X3, NOP, STR_X1_X20];
        let mut guest = Guest::new(tier, &words);
        guest.set(Reg::MDSCR_EL1, mdscr::SS | mdscr::KDE);
        // Unmasking with PSTATE.SS clear: the exception is pending at once, without a syndrome.
        exceptions::set_pstate(guest.cpu(), UNMASKED);
        assert_eq!(guest.vector(), (0x200, 0xce00_0022));
        for n in 0..3 {
            assert_eq!(guest.get(Reg::ELR_EL1), RAM + 4 * n);
            guest.eret(UNMASKED | pstate::SS);
            assert_eq!(guest.vector(), (0x200, 0xcf00_0022));
        }
        assert_eq!(guest.get(Reg::ELR_EL1), RAM + 12);
        assert_eq!(guest.0.x(3), 2);
        guest.eret(MASKED);
        guest.ends();

        let mut guest = Guest::new(tier, &words);
        guest.set(Reg::MDSCR_EL1, mdscr::SS | mdscr::KDE);
        os_lock::write_oslar(guest.cpu(), 1);
        exceptions::set_pstate(guest.cpu(), UNMASKED | pstate::SS);
        guest.ends();
        assert_eq!(exceptions::pstate(guest.cpu()), UNMASKED | pstate::SS);
        assert_eq!(guest.get(Reg::MDSCR_EL1), mdscr::SS | mdscr::KDE);
    });
}

/// A kernel steps its process: the class is that of a lower level, and an exception that the
/// process takes comes first, to be returned from with the step still to be made.
#[test]
fn own_steps_of_el0() {
    tiers(|tier| {
        const EL0: u64 = 0x3c0;
        let mut guest = Guest::new(tier, &[ADD_X3, 0, svc(1), NOP]);
        guest.set(Reg::MDSCR_EL1, mdscr::SS);
        guest.cpu().state.sys[Reg::ELR_EL1] = RAM;
        guest.eret(EL0 | pstate::SS);
        assert_eq!(guest.vector(), (0x400, 0xcb00_0022));
        assert_eq!(guest.get(Reg::ELR_EL1), RAM + 4);
        assert_eq!(guest.get(Reg::SPSR_EL1), EL0);
        // Undefined: not executed, so SPSR_EL1.SS is set.
        guest.eret(EL0 | pstate::SS);
        assert_eq!(guest.vector(), (0x400, 0x0200_0000));
        assert_eq!(guest.get(Reg::SPSR_EL1), EL0 | pstate::SS);
        // The call: executed. Returning with SS clear, the step is pending.
        guest.cpu().state.sys[Reg::ELR_EL1] = RAM + 8;
        guest.eret(EL0 | pstate::SS);
        assert_eq!(guest.vector(), (0x400, 0x5600_0001));
        assert_eq!(guest.get(Reg::SPSR_EL1), EL0);
        guest.eret(EL0);
        assert_eq!(guest.vector(), (0x400, 0xca00_0022));
        assert_eq!(guest.get(Reg::ELR_EL1), RAM + 12);
    });
}

/// Test 11: breakpoints and watchpoints that are linked to a context, over every number.
#[test]
fn linked_to_a_context() {
    tiers(|tier| {
        for context_breakpoint in 0..BREAKPOINTS {
            for address in (0..BREAKPOINTS).filter(|n| *n != context_breakpoint) {
                for context in [0x77, 0x78] {
                    let mut guest = with_breakpoint(tier, address, &PLAIN);
                    let link = (context_breakpoint as u64) << 16;
                    guest.set(Reg::dbgbcr(address), 0x1e7 | 1 << 20 | link);
                    guest.set(Reg::dbgbvr(context_breakpoint), 0x77);
                    guest.set(Reg::dbgbcr(context_breakpoint), 0x1e7 | 3 << 20);
                    guest.set(Reg::CONTEXTIDR_EL1, context);
                    if context_breakpoint >= 4 && context == 0x77 {
                        assert_eq!(guest.vector(), (0x200, 0xc600_0022));
                        assert_eq!(guest.get(Reg::ELR_EL1), RAM + 4);
                    } else {
                        guest.ends();
                    }
                }
            }
        }
        for n in 0..WATCHPOINTS {
            for context in [0x77, 0x78] {
                let mut guest = Guest::new(tier, &[NOP, STR_X1_X2, STR_X1_X20]);
                guest.set(Reg::dbgwvr(n), DATA);
                guest.set(Reg::dbgwcr(n), 0x1ff7 | 1 << 20 | 5 << 16);
                guest.set(Reg::DBGBVR5_EL1, 0x77);
                guest.set(Reg::DBGBCR5_EL1, 0x1e7 | 3 << 20);
                guest.set(Reg::CONTEXTIDR_EL1, context);
                guest.set(Reg::MDSCR_EL1, mdscr::MDE | mdscr::KDE);
                exceptions::set_pstate(guest.cpu(), UNMASKED);
                if context == 0x77 {
                    assert_eq!(guest.vector(), (0x200, 0xd600_0062));
                } else {
                    guest.ends();
                }
            }
        }
    });
}

/// An unlinked context breakpoint matches every instruction in its context.
#[test]
fn context_breakpoint() {
    tiers(|tier| {
        for n in 0..BREAKPOINTS {
            let mut guest = with_breakpoint(tier, n, &PLAIN);
            guest.set(Reg::dbgbvr(n), 5);
            guest.set(Reg::dbgbcr(n), 0x1e7 | 2 << 20);
            guest.set(Reg::CONTEXTIDR_EL1, 5);
            if n >= 4 {
                assert_eq!(guest.vector(), (0x200, 0xc600_0022));
                assert_eq!(guest.get(Reg::ELR_EL1), RAM);
            } else {
                guest.ends();
            }
        }
    });
}

// The OS Lock's registers.

/// OSL-1, OSL-2, OSL-9: only bit 0 of OSLAR_EL1 counts, only OSLSR_EL1.OSLK changes, and at once.
#[test]
fn oslar_sets_oslk() {
    let mut guest = Guest::new(Tier::Interpret, &[NOP]);
    guest.set(Reg::OSLSR_EL1, os_lock::UNLOCKED);
    for (written, value) in [(1, 0xa), (!0, 0xa), (0, 0x8), (!1, 0x8), (0xc5ac_ce55, 0xa)] {
        os_lock::write_oslar(guest.cpu(), written);
        assert_eq!(guest.get(Reg::OSLSR_EL1), value);
        assert_eq!(os_lock::locked(guest.cpu()), value == 0xa);
    }
}

/// OSL-6: 0x8 and 0xa, and nothing else.
#[test]
fn valid_values_of_oslsr() {
    for bit in 0..64 {
        assert_eq!(os_lock::valid_oslsr(0x8 ^ 1 << bit), bit == 1);
    }
    for (value, valid) in [(0x8, true), (0xa, true), (0, false), (2, false), (9, false)] {
        assert_eq!(os_lock::valid_oslsr(value), valid, "{value:#x}");
    }
}

/// Where nothing is debugged, nothing of it is in the way: no page is careful, and the TLB keeps
/// the data.
#[test]
fn nothing_is_paid_while_nothing_is_on() {
    let mut guest = with_breakpoint(Tier::Interpret, 0, &PLAIN);
    guest.set(Reg::dbgwvr(0), DATA);
    guest.set(Reg::dbgwcr(0), 0x1fff);
    let careful = |guest: &mut Guest| {
        let effective = guest.cpu().state.debug.effective;
        (
            effective.breakpoint_in_page(RAM),
            effective.watchpoint_in_page(DATA),
            step::stepping(guest.cpu()),
        )
    };
    assert_eq!(careful(&mut guest), (true, true, false));
    os_lock::write_oslar(guest.cpu(), 1);
    assert_eq!(careful(&mut guest), (false, false, false));
    os_lock::write_oslar(guest.cpu(), 0);
    guest.set(Reg::MDSCR_EL1, mdscr::KDE);
    assert_eq!(careful(&mut guest), (false, false, false));
}
