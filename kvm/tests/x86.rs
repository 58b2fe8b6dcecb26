//! VMs of x86-64 guests, by ioctls: exits, sync regs (requirements 6.2, 6.3), and debug exits with the
//! proposals (6.1). The guests are real-mode code at address 0.

mod common;

use std::mem::offset_of;

use common::{Program, SYSTEM, X86Guest as Guest};
use understudy_abi::ioctl::x86::*;
use understudy_abi::ioctl::{self as request, KVM_RUN};
use understudy_abi::proposals::{
    KVM_CAP_X86_GUEST_DEBUG_CR3, KVM_CAP_X86_SYNC_REGS_CONDITIONAL, KVM_CAP_X86_SYNC_REGS_DEBUG,
    KVM_SAVE_REGS_ON_EXIT, KVM_SYNC_REGS_CONDITIONAL, KVM_SYNC_REGS_DEBUG, kvm_debug_exit_arch_cr3,
};
use understudy_abi::run::{
    EXIT_UNION, IMMEDIATE_EXIT, KVM_DIRTY_REGS, KVM_VALID_REGS, Page, SYNC_REGS,
};
use understudy_abi::x86::*;
use understudy_abi::{cap, exit};
use understudy_kvm::x86::Proposals;
use understudy_kvm::{Errno, Kvm};

const REGS: u64 = SyncRegs::REGS.bits();
const SREGS: u64 = SyncRegs::SREGS.bits();
const EVENTS: u64 = SyncRegs::EVENTS.bits();
const ALL: u64 = REGS | SREGS | EVENTS;
/// A value of CR3, with the bits of a PCID: without paging it means nothing to the guest.
const CR3: u64 = 0x0012_3456;

impl Guest {
    fn new(code: &[u8]) -> Guest {
        Guest::with(code, Proposals::empty())
    }

    fn with(code: &[u8], proposals: Proposals) -> Guest {
        let guest = Guest::of(Program::on(Kvm::x86(proposals)), &[(0, code)], |_, _| ());
        let mut sregs = guest.sregs();
        sregs.cr3 = CR3;
        guest.ioctl(KVM_SET_SREGS, &mut sregs).unwrap();
        guest
    }

    fn regs(&self) -> kvm_regs {
        let mut regs = kvm_regs::default();
        self.ioctl(KVM_GET_REGS, &mut regs).unwrap();
        regs
    }

    fn set_regs(&self, regs: &kvm_regs) {
        let mut regs = *regs;
        self.ioctl(KVM_SET_REGS, &mut regs).unwrap();
    }

    fn sregs(&self) -> kvm_sregs {
        let mut sregs = kvm_sregs::default();
        self.ioctl(KVM_GET_SREGS, &mut sregs).unwrap();
        sregs
    }

    fn events(&self) -> kvm_vcpu_events {
        let mut events = kvm_vcpu_events::default();
        self.ioctl(KVM_GET_VCPU_EVENTS, &mut events).unwrap();
        events
    }

    fn debug(&self, control: GuestDebugControl) {
        let mut debug = kvm_guest_debug {
            control: control.bits(),
            ..kvm_guest_debug::default()
        };
        self.ioctl(KVM_SET_GUEST_DEBUG, &mut debug).unwrap();
    }

    fn valid(&self, valid: u64) {
        self.run.write(KVM_VALID_REGS, &valid);
    }

    fn dirty(&self, dirty: u64) {
        self.run.write(KVM_DIRTY_REGS, &dirty);
    }

    fn area(&self) -> kvm_sync_regs {
        self.run.sync_regs()
    }

    fn poison(&self) {
        self.run
            .0
            .store(SYNC_REGS, &[0x55; size_of::<kvm_sync_regs>()]);
    }

    /// Which sets the area has as the ioctls give them; the others must be poison.
    fn stored(&self) -> u64 {
        let area = self.area();
        let poison = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0x55);
        let mut bytes = [0; size_of::<kvm_sync_regs>()];
        self.run.0.load(SYNC_REGS, &mut bytes);
        let mut stored = 0;
        let mut look = |bit, same: bool, offset: usize, size: usize| {
            if same {
                stored |= bit;
            } else {
                assert!(poison(&bytes[offset..offset + size]), "half a set");
            }
        };
        let of = offset_of!(kvm_sync_regs, regs);
        look(REGS, area.regs == self.regs(), of, size_of::<kvm_regs>());
        let of = offset_of!(kvm_sync_regs, sregs);
        let same = area.sregs == self.sregs();
        look(SREGS, same, of, size_of::<kvm_sregs>());
        let of = offset_of!(kvm_sync_regs, events);
        let same = area.events == self.events();
        look(EVENTS, same, of, size_of::<kvm_vcpu_events>());
        stored
    }
}

/// mov dx, 0x3f8; mov al, 'a'; out dx, al; in al, dx; mov [0x4000], al (no memory there); mov bl,
/// [0x4001]; hlt
const DEVICES: &[u8] = &[
    0xba, 0xf8, 0x03, 0xb0, b'a', 0xee, 0xec, 0xa2, 0x00, 0x40, 0x8a, 0x1e, 0x01, 0x40, 0xf4,
];

#[test]
fn ports_and_devices_are_user_spaces() {
    let guest = Guest::new(DEVICES);
    let run = &guest.run;
    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_IO));
    let io: exit::io = run.exit();
    assert_eq!((io.direction, io.size, io.port, io.count), (1, 1, 0x3f8, 1));
    assert_eq!(run.read::<u8>(io.data_offset as usize), b'a');
    assert_eq!(guest.regs().rip, 5, "facts: rip at the instruction");

    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_IO));
    let io: exit::io = run.exit();
    assert_eq!((io.direction, io.size, io.port, io.count), (0, 1, 0x3f8, 1));
    run.write(io.data_offset as usize, &b'z');

    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_MMIO));
    let mmio: exit::mmio = run.exit();
    assert_eq!((mmio.phys_addr, mmio.len, mmio.is_write), (0x4000, 1, 1));
    assert_eq!(mmio.data[0], b'z');

    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_MMIO));
    let mmio: exit::mmio = run.exit();
    assert_eq!((mmio.phys_addr, mmio.len, mmio.is_write), (0x4001, 1, 0));
    run.write(EXIT_UNION + offset_of!(exit::mmio, data), &7u8);

    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_HLT));
    let regs = guest.regs();
    assert_eq!((regs.rbx, regs.rip), (7, DEVICES.len() as u64));
    assert_eq!(guest.memory.word(0) & 0xff, 0xba);
}

/// SYNC-9: a run that immediate_exit ends completes what is open, and leaves the exit reason alone.
#[test]
fn immediate_exit_completes_and_ends() {
    let guest = Guest::new(DEVICES);
    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_IO));
    guest.run.write(IMMEDIATE_EXIT, &1u8);
    assert_eq!(guest.enter(), Err(Errno::EINTR));
    assert_eq!(guest.regs().rip, 6, "the OUT is over");
    assert_eq!(guest.run.exit_reason(), exit::KVM_EXIT_IO);
}

/// nop; out 0x10, al; jmp back: exits for ever.
const OUTS: &[u8] = &[0x90, 0xe6, 0x10, 0xeb, 0xfb];

/// SYNC-1, SYNC-7, SYNC-8, SYNC-11.
#[test]
fn sync_regs_are_stored_as_the_ioctls_give_them() {
    let guest = Guest::new(OUTS);
    for valid in 0..=ALL {
        guest.poison();
        guest.valid(valid);
        assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_IO));
        assert_eq!(guest.stored(), valid);
        assert_eq!(guest.run.read::<u64>(KVM_VALID_REGS), valid);
        // Where immediate_exit ends it, too.
        guest.poison();
        guest.run.write(IMMEDIATE_EXIT, &1u8);
        assert_eq!(guest.enter(), Err(Errno::EINTR));
        guest.run.write(IMMEDIATE_EXIT, &0u8);
        assert_eq!(guest.stored(), valid);
        // But not where KVM_RUN refuses its argument.
        guest.poison();
        let bad = guest.program.call(guest.vcpu, KVM_RUN, 1);
        assert_eq!(bad, Err(Errno::EINVAL));
        assert_eq!(guest.stored(), 0);
    }
}

/// SYNC-2, SYNC-7: what is known of a bad mask is stored all the same.
#[test]
fn bits_that_there_are_not_are_refused_as_far_as_kvm_looks() {
    let guest = Guest::new(OUTS);
    for bit in 3..64 {
        let looked_at = bit < 32;
        let expected = match looked_at {
            true => Err(Errno::EINVAL),
            false => Ok(exit::KVM_EXIT_IO),
        };
        let before = guest.regs().rip;
        guest.poison();
        guest.valid(1 << bit | REGS);
        assert_eq!(guest.enter(), expected, "valid bit {bit}");
        assert_eq!(guest.stored(), REGS, "valid bit {bit}");
        if looked_at {
            assert_eq!(guest.regs().rip, before, "nothing has run");
        }
        guest.valid(0);
        guest.dirty(1 << bit);
        assert_eq!(guest.enter(), expected, "dirty bit {bit}");
        guest.dirty(0);
    }
}

/// SYNC-1, SYNC-4, SYNC-5.
#[test]
fn dirty_registers_are_loaded_in_order() {
    let guest = Guest::new(OUTS);
    guest.valid(ALL);
    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_IO));
    let area = guest.area();
    let mut changed = area;
    changed.regs.rbx = 0x0bad_1dea;
    changed.regs.rflags = 0;
    // Without its bit nothing is loaded.
    guest.run.set_sync_regs(&changed);
    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_IO));
    assert_eq!(guest.regs().rbx, 0);
    guest.run.set_sync_regs(&changed);
    guest.dirty(REGS);
    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_IO));
    assert_eq!(guest.run.read::<u64>(KVM_DIRTY_REGS), 0);
    let regs = guest.regs();
    assert_eq!((regs.rbx, regs.rflags & 2), (0x0bad_1dea, 2));
    // Registers are taken before special ones, which cannot be, stay dirty.
    changed.regs.rbx = 1;
    changed.sregs.cr4 = u64::MAX;
    guest.run.set_sync_regs(&changed);
    guest.dirty(ALL);
    assert_eq!(guest.enter(), Err(Errno::EINVAL));
    assert_eq!(guest.run.read::<u64>(KVM_DIRTY_REGS), SREGS | EVENTS);
    assert_eq!((guest.regs().rbx, guest.sregs().cr4), (1, 0));
    // Events that cannot be: those stay.
    changed.sregs.cr4 = 0;
    changed.events.flags = !0;
    guest.run.set_sync_regs(&changed);
    guest.dirty(ALL);
    assert_eq!(guest.enter(), Err(Errno::EINVAL));
    assert_eq!(guest.run.read::<u64>(KVM_DIRTY_REGS), EVENTS);
}

/// SYNC-12, SYNC-13, SYNC-16 to SYNC-18, SYNC-20, SYNC-21.
#[test]
fn conditional_sync_regs_are_stored_by_exit_reason() {
    let proposals = Proposals::SYNC_REGS_CONDITIONAL | Proposals::SYNC_REGS_DEBUG;
    let guest = Guest::with(OUTS, proposals);
    let bitmap = |reasons: &[u32]| {
        let mut words = [0u64; 16];
        for reason in reasons {
            words[*reason as usize / 64] |= 1 << (reason % 64);
        }
        guest.run.write(KVM_SAVE_REGS_ON_EXIT, &words);
    };
    let step = GuestDebugControl::ENABLE | GuestDebugControl::SINGLESTEP;
    let both = [KVM_SYNC_REGS_CONDITIONAL, KVM_SYNC_REGS_DEBUG];
    for condition in both {
        bitmap(&[exit::KVM_EXIT_DEBUG]);
        guest.valid(condition | SREGS);
        guest.debug(GuestDebugControl::empty());
        guest.poison();
        assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_IO));
        assert_eq!(guest.stored(), 0, "not asked for");
        guest.debug(step);
        assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_DEBUG));
        assert_eq!(guest.stored(), SREGS);
        assert_eq!(
            guest.run.read::<u64>(688),
            CR3,
            "SYNC-21: its place in kvm_run"
        );
        // SYNC-16: the reason that is there counts, whoever wrote it.
        guest.poison();
        guest.run.write(IMMEDIATE_EXIT, &1u8);
        assert_eq!(guest.enter(), Err(Errno::EINTR));
        guest.run.write(IMMEDIATE_EXIT, &0u8);
        assert_eq!(guest.stored(), SREGS);
        // SYNC-13: it is no set of registers.
        guest.dirty(condition);
        assert_eq!(guest.enter(), Err(Errno::EINVAL));
        guest.dirty(0);
    }
    // The bitmap may change between runs, and means nothing without its bit.
    guest.debug(GuestDebugControl::empty());
    guest.poison();
    bitmap(&[exit::KVM_EXIT_IO]);
    guest.valid(KVM_SYNC_REGS_CONDITIONAL | REGS);
    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_IO));
    assert_eq!(guest.stored(), REGS);
    guest.poison();
    bitmap(&[]);
    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_IO));
    assert_eq!(guest.stored(), 0);
    guest.valid(REGS);
    assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_IO));
    assert_eq!(guest.stored(), REGS);
}

/// CR3-1 to CR3-3, DBG-5.
#[test]
fn debug_exits_have_cr3_where_that_is_asked_for() {
    const MARK: u64 = 0x5a5a_5a5a_5a5a_5a5a;
    let at = EXIT_UNION + offset_of!(kvm_debug_exit_arch_cr3, cr3);
    let step = GuestDebugControl::ENABLE | GuestDebugControl::SINGLESTEP;
    for (proposals, cr3) in [
        (Proposals::empty(), MARK),
        (Proposals::GUEST_DEBUG_CR3, CR3),
    ] {
        let guest = Guest::with(&[0x90, 0x90, 0xcc], proposals);
        guest.run.write(at, &MARK);
        guest.debug(step);
        for pc in [1, 2] {
            assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_DEBUG));
            let exit: kvm_debug_exit_arch = guest.run.exit();
            let expected = (1, pc, 0xffff_4ff0);
            assert_eq!((exit.exception, exit.pc, exit.dr6), expected);
            assert_eq!(guest.run.read::<u64>(at), cr3);
        }
        guest.debug(GuestDebugControl::ENABLE | GuestDebugControl::USE_SW_BP);
        guest.run.write(at, &MARK);
        assert_eq!(guest.enter(), Ok(exit::KVM_EXIT_DEBUG));
        let exit: kvm_debug_exit_arch = guest.run.exit();
        assert_eq!((exit.exception, exit.pc), (3, 2));
        assert_eq!(guest.run.read::<u64>(at), cr3);
    }
}

#[test]
fn capabilities_say_which_proposals_are_on() {
    let all = [
        (KVM_CAP_X86_GUEST_DEBUG_CR3, Proposals::GUEST_DEBUG_CR3),
        (
            KVM_CAP_X86_SYNC_REGS_CONDITIONAL,
            Proposals::SYNC_REGS_CONDITIONAL,
        ),
        (KVM_CAP_X86_SYNC_REGS_DEBUG, Proposals::SYNC_REGS_DEBUG),
    ];
    for (_, on) in all {
        let guest = Guest::with(OUTS, on);
        for fd in [SYSTEM, guest.vm] {
            let check = |capability: u32| {
                let request = request::KVM_CHECK_EXTENSION;
                guest.program.call(fd, request, capability.into())
            };
            for (capability, proposal) in all {
                assert_eq!(check(capability), Ok((proposal == on).into()));
            }
            assert_eq!(check(cap::KVM_CAP_SYNC_REGS), Ok(ALL as i64));
            assert_eq!(check(cap::KVM_CAP_SET_GUEST_DEBUG2), Ok(0x1f_0003));
        }
    }
}

/// facts: an unknown request is ENOTTY on a VM, EINVAL on the others.
#[test]
fn what_kvm_does_not_know_is_refused() {
    let guest = Guest::new(OUTS);
    let unknown = request::io(0xf7);
    for (fd, errno) in [
        (SYSTEM, Errno::EINVAL),
        (guest.vm, Errno::ENOTTY),
        (guest.vcpu, Errno::EINVAL),
    ] {
        assert_eq!(guest.program.call(fd, unknown, 0), Err(errno));
    }
    let mut debug = kvm_guest_debug::default();
    let on_vm = guest
        .program
        .with(guest.vm, KVM_SET_GUEST_DEBUG, &mut debug);
    assert_eq!(on_vm, Err(Errno::ENOTTY));
    for kind in 1..4 {
        let create = guest.program.call(SYSTEM, request::KVM_CREATE_VM, kind);
        assert_eq!(create, Err(Errno::EINVAL));
    }
}

/// Registers in which nonsense has been set neither crash nor hang.
#[test]
fn garbage_registers_end_in_an_exit() {
    let guest = Guest::new(OUTS);
    let mut seed = 0x1234_5678_9abc_def0_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..2000 {
        let mut bytes = [0; size_of::<kvm_sregs>()];
        for word in bytes.chunks_mut(8) {
            let value = random().to_le_bytes();
            let sparse = random() % 3 == 0;
            for (to, from) in word.iter_mut().zip(value) {
                *to = if sparse { 0 } else { from };
            }
        }
        let mut sregs: kvm_sregs = zerocopy::FromBytes::read_from_bytes(&bytes[..]).unwrap();
        sregs.cr0 &= 0xe005_003f;
        sregs.cr4 &= 0x77_3fff;
        sregs.efer &= 0xd01;
        let set = guest.ioctl(KVM_SET_SREGS, &mut sregs);
        assert!(matches!(set, Ok(0) | Err(Errno::EINVAL)), "{set:?}");
        guest.set_regs(&kvm_regs {
            rip: random() & 0xffff,
            rflags: random(),
            rsp: random(),
            ..kvm_regs::default()
        });
        let peer = match guest.program.object(guest.vcpu) {
            understudy_kvm::Object::Vcpu(vcpu) => vcpu.peer().clone(),
            _ => unreachable!(),
        };
        // One that does run is stopped.
        let stop = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_micros(200));
            peer.kick();
        });
        let _ = guest.enter();
        stop.join().unwrap();
    }
}
