//! Events that user space sets: what is refused, what is delivered, and that no state of them does harm
//! (SYNC-5, SYNC-6; KVM API 4.31 and 4.32).

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use understudy_engine::run::Tier;
use understudy_x86::events::{Events, Exception, Interrupt, Nmi, Smi, queue_interrupt, valid};
use understudy_x86::exit::Exit;
use understudy_x86::regs::{RAX, RBX, RSP, flag};
use understudy_x86::testing::{Bare, CODE, DATA};

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];

fn machine(tier: Tier) -> Bare {
    let mut m = Bare::new();
    // inc ebx; inc ebx
    m.code_at(CODE, &[0xff, 0xc3, 0xff, 0xc3]);
    m.set_flags(0);
    m.vcpu.engine.set_tier(tier);
    m
}

fn exception(nr: u8) -> Exception {
    Exception {
        injected: true,
        nr,
        ..Exception::default()
    }
}

/// SYNC-6: what KVM_SET_VCPU_EVENTS refuses.
#[test]
fn what_is_refused_changes_nothing() {
    let mut m = machine(Tier::Interpret);
    let before = m.vcpu.events();
    assert_eq!(
        before.flags,
        valid::NMI_PENDING | valid::SHADOW | valid::SMM
    );
    let smi = |smi: Smi| Events {
        flags: valid::SMM,
        smi,
        ..Events::default()
    };
    let bad = [
        Events {
            flags: 1 << 6,
            ..Events::default()
        },
        Events {
            flags: valid::PAYLOAD,
            ..Events::default()
        },
        Events {
            flags: valid::TRIPLE_FAULT,
            ..Events::default()
        },
        Events {
            exception: exception(2),
            ..Events::default()
        },
        Events {
            exception: exception(32),
            ..Events::default()
        },
        Events {
            exception: exception(255),
            ..Events::default()
        },
        smi(Smi {
            smm: true,
            ..Smi::default()
        }),
        smi(Smi {
            pending: true,
            ..Smi::default()
        }),
    ];
    for wanted in bad {
        let wanted = Events {
            nmi: Nmi {
                masked: true,
                ..Nmi::default()
            },
            ..wanted
        };
        assert!(!m.vcpu.set_events(&wanted), "{wanted:?}");
        assert_eq!(m.vcpu.events(), before);
    }
    // A vector that is not injected does not count.
    let wanted = Events {
        exception: Exception {
            nr: 255,
            ..Exception::default()
        },
        ..Events::default()
    };
    assert!(m.vcpu.set_events(&wanted));
}

/// SYNC-5, DBG-7.
#[test]
fn exceptions_are_delivered_at_the_next_entry() {
    for tier in TIERS {
        let mut m = machine(tier);
        let wanted = Events {
            exception: Exception {
                has_error_code: true,
                error_code: 0x1234,
                ..exception(13)
            },
            ..Events::default()
        };
        assert!(m.vcpu.set_events(&wanted));
        let got = m.vcpu.events();
        assert_eq!(got.exception, wanted.exception);
        // SYNC-5: KVM_SET_REGS drops what is pending, not what is injected.
        m.vcpu.set_rip_and_rflags(CODE + 2, flag::ONE);
        m.run_on();
        assert_eq!((m.exception(), m.error_code()), (Some(13), 0x1234));
        let rsp = m.get(RSP);
        assert_eq!(m.read_u64(rsp + 8), CODE + 2);
        // It is what was injected that counts: no RF.
        assert_eq!(m.read_u64(rsp + 24), flag::ONE);
        assert_eq!(m.get(RBX), 0);
        let got = m.vcpu.events().exception;
        assert!(!got.injected && !got.pending && got.nr == 13);
    }
}

/// SYNC-5.
#[test]
fn pending_exceptions_have_payloads() {
    for tier in TIERS {
        let pending = |nr, payload| Events {
            flags: valid::PAYLOAD,
            exception: Exception {
                injected: true,
                pending: true,
                nr,
                has_payload: true,
                payload,
                has_error_code: nr == 14,
                error_code: 6,
            },
            ..Events::default()
        };
        let mut m = machine(tier);
        m.cpu().state.events.payload = true;
        assert!(m.vcpu.set_events(&pending(14, 0x5555)));
        let got = m.vcpu.events();
        assert_eq!(got.flags & valid::PAYLOAD, valid::PAYLOAD);
        // Pending, and so not injected.
        assert!(got.exception.pending && !got.exception.injected && got.exception.has_payload);
        assert_eq!(m.cpu().state.cr2, 0);
        m.run_on();
        assert_eq!((m.exception(), m.error_code()), (Some(14), 6));
        assert_eq!(m.cpu().state.cr2, 0x5555);
        let rsp = m.get(RSP);
        assert_eq!(m.read_u64(rsp + 24), flag::ONE | flag::RF);
        // Of a #DB it is what changes in DR6.
        let mut m = machine(tier);
        m.cpu().state.events.payload = true;
        assert!(m.vcpu.set_events(&pending(1, 0x4002)));
        m.run_on();
        assert_eq!(m.exception(), Some(1));
        assert_eq!(m.vcpu.debugregs().dr6, 0xffff_4ff2);
        // KVM_SET_REGS drops it.
        let mut m = machine(tier);
        m.cpu().state.events.payload = true;
        assert!(m.vcpu.set_events(&pending(14, 0)));
        m.vcpu.set_rip_and_rflags(CODE, flag::ONE);
        assert_eq!(m.run_on(), Exit::Hlt);
        assert!(m.at_end());
    }
}

#[test]
fn interrupts_nmis_and_shadows() {
    for tier in TIERS {
        // Injected ones pass IF.
        let interrupt = |soft| Interrupt {
            injected: true,
            nr: 0x55,
            soft,
            shadow: 0,
        };
        for (soft, rip) in [(false, CODE), (true, CODE + 2)] {
            let mut m = machine(tier);
            let wanted = Events {
                interrupt: interrupt(soft),
                ..Events::default()
            };
            assert!(m.vcpu.set_events(&wanted));
            assert_eq!(m.vcpu.events().interrupt.injected, !soft);
            m.run_on();
            assert_eq!((m.exception(), m.read_u64(m.get(RSP))), (Some(0x55), rip));
        }
        let mut m = machine(tier);
        queue_interrupt(m.cpu(), 0x66);
        assert!(m.vcpu.events().interrupt.injected);
        m.run_on();
        assert_eq!(m.exception(), Some(0x66));
        // An NMI that is injected, although one is being handled.
        let mut m = machine(tier);
        let nmi = |injected, pending| Nmi {
            injected,
            pending,
            masked: true,
        };
        let wanted = Events {
            nmi: nmi(true, 0),
            ..Events::default()
        };
        assert!(m.vcpu.set_events(&wanted));
        m.run_on();
        assert_eq!(m.exception(), Some(2));
        assert!(m.vcpu.events().nmi.masked);
        // One that waits: while masked it does.
        let mut m = machine(tier);
        let wanted = Events {
            flags: valid::NMI_PENDING,
            nmi: nmi(false, 1),
            ..Events::default()
        };
        assert!(m.vcpu.set_events(&wanted));
        assert_eq!(m.run_on(), Exit::Hlt);
        assert!(m.at_end());
        assert_eq!(m.vcpu.events().nmi, nmi(false, 1));
        // A shadow keeps an interrupt away for an instruction.
        for shadow in [1, 2, 3] {
            let mut m = machine(tier);
            m.set_flags(flag::IF);
            let wanted = Events {
                flags: valid::SHADOW,
                interrupt: Interrupt {
                    shadow,
                    ..Interrupt::default()
                },
                ..Events::default()
            };
            assert!(m.vcpu.set_events(&wanted));
            assert_eq!(m.vcpu.events().interrupt.shadow, 3);
            assert!(m.vcpu.inject(0x77));
            m.run_on();
            assert_eq!((m.exception(), m.get(RBX)), (Some(0x77), 1));
        }
    }
}

#[test]
fn a_triple_fault_is_a_shutdown() {
    for tier in TIERS {
        let mut m = machine(tier);
        m.cpu().state.events.triple_fault_event = true;
        let wanted = Events {
            flags: valid::TRIPLE_FAULT,
            triple_fault: true,
            ..Events::default()
        };
        assert!(m.vcpu.set_events(&wanted));
        assert!(m.vcpu.events().triple_fault);
        assert_eq!(m.run_on(), Exit::Shutdown);
        assert!(!m.vcpu.events().triple_fault);
        assert_eq!(m.run_on(), Exit::Hlt);
    }
}

/// A generator.
struct Random(SplitMix64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn flag(&mut self) -> bool {
        self.bits() & 1 != 0
    }
    fn events(&mut self) -> Events {
        let vector = |random: &mut Random| match random.bits() % 3 {
            0 => 255,
            1 => (random.bits() % 34) as u8,
            _ => random.bits() as u8,
        };
        Events {
            flags: (self.bits() % 0x41) as u32,
            exception: Exception {
                injected: self.flag(),
                pending: self.flag(),
                nr: vector(self),
                has_error_code: self.flag(),
                error_code: self.bits() as u32,
                has_payload: self.flag(),
                payload: self.bits(),
            },
            interrupt: Interrupt {
                injected: self.flag(),
                nr: vector(self),
                soft: self.flag(),
                shadow: self.bits() as u8,
            },
            nmi: Nmi {
                injected: self.flag(),
                pending: self.bits() as u8,
                masked: self.flag(),
            },
            sipi_vector: self.bits() as u32,
            smi: Smi {
                smm: self.bits().is_multiple_of(8),
                pending: self.bits().is_multiple_of(8),
                inside_nmi: self.bits().is_multiple_of(8),
                latched_init: self.flag(),
            },
            triple_fault: self.bits().is_multiple_of(8),
        }
    }
}

/// SYNC-6.
#[test]
fn sync_6_no_state_of_events_does_harm() {
    // Whatever two threads make of the page that KVM_RUN takes them from: refused, or run.
    let mut random = Random(SplitMix64::seed_from_u64(7));
    for tier in TIERS {
        let mut m = machine(tier);
        m.cpu().state.events.payload = true;
        m.cpu().state.events.triple_fault_event = true;
        let (mut taken, mut ran) = (0, 0);
        for _ in 0..20_000 {
            let wanted = random.events();
            taken += u32::from(m.vcpu.set_events(&wanted));
            // A stack that is there, or is not.
            let stack = if random.bits().is_multiple_of(8) {
                1 << 40
            } else {
                DATA + 0x8000
            };
            m.set(RSP, stack);
            m.set(RAX, random.bits());
            m.vcpu
                .set_rip_and_rflags(CODE, random.bits() & 0x25_0ed7 | flag::ONE);
            let exit = m.vcpu.run();
            ran += u32::from(exit == Exit::Hlt);
            let fine = matches!(exit, Exit::Hlt | Exit::Shutdown);
            assert!(fine, "{exit:?} after {wanted:?}");
            m.vcpu.events();
        }
        assert!(taken > 1000 && ran > 1000, "{taken} {ran}");
    }
}
