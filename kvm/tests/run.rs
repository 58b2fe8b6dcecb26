//! `KVM_RUN`: what a guest's doings leave in `kvm_run`, and in which order (ESR-2 to ESR-7, tests
//! (i) to (iv) of requirements, section 3).

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{CODE, Guest, HOLE, Mapping, Memory};
use understudy_abi::arm64::device::*;
use understudy_abi::arm64::reg::core;
use understudy_abi::arm64::{
    GuestDebugControl, kvm_debug_exit_arch, kvm_guest_debug, kvm_smccc_filter, kvm_vcpu_init,
};
use understudy_abi::cap::*;
use understudy_abi::common::*;
use understudy_abi::exit::*;
use understudy_abi::ioctl as request;
use understudy_abi::run::{self, Page, Run};
use understudy_kvm::{Errno, Object, signal};

const NOP: u32 = 0xd503_201f;
const WFI: u32 = 0xd503_207f;
const B_SELF: u32 = 0x1400_0000;
const HVC: u32 = 0xd400_0002;
const SMC: u32 = 0xd400_0003;
const LDR_W1_X2: u32 = 0xb940_0041;
const LDRSB_X1_X2: u32 = 0x3980_0041;
const LDRSH_W1_X2: u32 = 0x79c0_0041;
const LDR_X1_X2: u32 = 0xf940_0041;
const STR_X1_X2: u32 = 0xf900_0041;
const STRB_W1_X2: u32 = 0x3900_0041;
const LDP_X3_X4_X2: u32 = 0xa940_1043;

const fn brk(immediate: u32) -> u32 {
    0xd420_0000 | immediate << 5
}

impl Guest {
    fn mmio(&self) -> mmio {
        self.run.exit()
    }

    fn debug(&self, control: GuestDebugControl, change: impl FnOnce(&mut kvm_guest_debug)) {
        let mut debug = kvm_guest_debug {
            control: control.bits(),
            ..kvm_guest_debug::default()
        };
        change(&mut debug);
        let set = request::arm64::KVM_SET_GUEST_DEBUG;
        self.program.with(self.vcpu, set, &mut debug).unwrap();
    }
}

fn guest_at_hole(code: &[u32]) -> Guest {
    let guest = Guest::new(code);
    guest.set(core::x(2), HOLE);
    guest
}

#[test]
fn a_store_to_no_memory_is_an_mmio_exit_and_is_over_at_the_next_run() {
    let guest = guest_at_hole(&[STR_X1_X2, STRB_W1_X2, B_SELF]);
    guest.set(core::x(1), 0x1122_3344_5566_7788);
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    let exit = guest.mmio();
    assert_eq!((exit.phys_addr, exit.len, exit.is_write), (HOLE, 8, 1));
    assert_eq!(exit.data, 0x1122_3344_5566_7788u64.to_le_bytes());
    assert_eq!(guest.get(core::PC), CODE, "still at the instruction");
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    let exit = guest.mmio();
    assert_eq!((exit.phys_addr, exit.len, exit.is_write), (HOLE, 1, 1));
    // Bytes that are not written keep what was there.
    assert_eq!(exit.data, 0x1122_3344_5566_7788u64.to_le_bytes());
    assert_eq!(guest.get(core::PC), CODE + 4);
}

#[test]
fn a_load_from_no_memory_gets_what_user_space_answers() {
    for (code, answer, length, value) in [
        (
            LDR_X1_X2,
            0x8877_6655_4433_2211u64,
            8,
            0x8877_6655_4433_2211,
        ),
        (LDR_W1_X2, 0x8877_6655_4433_2211, 4, 0x4433_2211),
        // KVM of Linux 6.12 extends the sign, and then masks it off again.
        (LDRSB_X1_X2, 0x80, 1, 0x80),
        (LDRSH_W1_X2, 0x8000, 2, 0x8000),
    ] {
        let guest = guest_at_hole(&[code, STR_X1_X2, B_SELF]);
        assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
        let exit = guest.mmio();
        assert_eq!((exit.phys_addr, exit.len, exit.is_write), (HOLE, length, 0));
        let data = run::EXIT_UNION + std::mem::offset_of!(mmio, data);
        guest.run.write(data, &answer.to_le_bytes());
        assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
        assert_eq!(u64::from_le_bytes(guest.mmio().data), value, "{code:#x}");
    }
}

/// ESR-6: the read is completed, then `immediate_exit` returns, and neither `exit_reason` nor
/// `flags` are touched; they are cleared when the guest really runs.
#[test]
fn immediate_exit_completes_mmio_and_clears_nothing() {
    let guest = guest_at_hole(&[LDR_X1_X2, B_SELF]);
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    let data = run::EXIT_UNION + std::mem::offset_of!(mmio, data);
    guest.run.write(data, &[0xabu8; 8]);
    guest.run.set_flags(0x55);
    guest.run.write(run::IMMEDIATE_EXIT, &1u8);
    assert_eq!(guest.enter(), Err(Errno::EINTR));
    assert_eq!(
        guest.run.exit_reason(),
        KVM_EXIT_MMIO,
        "stale, as KVM leaves it"
    );
    assert_eq!(guest.run.flags(), 0x55);
    assert_eq!(guest.get(core::x(1)), u64::from_ne_bytes([0xab; 8]));
    assert_eq!(guest.get(core::PC), CODE + 4);
    // Again: there is nothing to complete any more.
    guest.run.write(data, &[0xcdu8; 8]);
    assert_eq!(guest.enter(), Err(Errno::EINTR));
    assert_eq!(guest.get(core::x(1)), u64::from_ne_bytes([0xab; 8]));
    assert_eq!(guest.get(core::PC), CODE + 4);
}

#[test]
fn an_access_without_syndrome_is_enosys_or_an_exit() {
    let guest = guest_at_hole(&[LDP_X3_X4_X2, B_SELF]);
    assert_eq!(guest.enter(), Err(Errno::ENOSYS));
    assert_eq!(guest.get(core::PC), CODE);
    let mut cap = kvm_enable_cap {
        cap: KVM_CAP_ARM_NISV_TO_USER,
        ..kvm_enable_cap::default()
    };
    let enable = request::KVM_ENABLE_CAP;
    guest.program.with(guest.vm, enable, &mut cap).unwrap();
    assert_eq!(guest.enter(), Ok(KVM_EXIT_ARM_NISV));
    let exit: arm_nisv = guest.run.exit();
    assert_eq!(exit.fault_ipa & !0xfff, HOLE);
}

/// Tests (i) to (iii) of requirements, section 3; ESR-2, ESR-3, ESR-5, ESR-7; ESR-9: the syndrome is
/// the CPU's, nothing of it is hidden.
#[test]
fn a_debug_exit_has_both_halves_of_the_syndrome_and_the_flag_goes_again() {
    let guest = guest_at_hole(&[NOP, brk(0x123), STR_X1_X2, B_SELF]);
    guest.debug(GuestDebugControl::ENABLE, |_| ());
    guest.run.write(run::EXIT_UNION, &[0xffu8; 256]);
    assert_eq!(guest.enter(), Ok(KVM_EXIT_DEBUG));
    let exit: kvm_debug_exit_arch = guest.run.exit();
    assert_eq!(guest.run.flags(), 1);
    assert_eq!(exit.hsr, 0xf200_0123);
    assert_eq!(exit.hsr_high, 0, "overwritten, not left as padding");
    assert_eq!(exit.far, u64::MAX, "left as it was");
    assert_eq!(guest.get(core::PC), CODE + 4, "DBG-22: the BRK itself");
    guest.set(core::PC, CODE + 8);
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(guest.run.flags(), 0);
}

/// Test (iv): a watchpoint's exit has the address, and the access is not done.
#[test]
fn a_watchpoint_exit_has_the_address() {
    let guest = Guest::new(&[NOP, STR_X1_X2, B_SELF]);
    guest.set(core::x(2), CODE + 0x8000);
    guest.set(core::x(1), 0x77);
    let control = GuestDebugControl::ENABLE | GuestDebugControl::USE_HW;
    guest.debug(control, |debug| {
        debug.arch.dbg_wvr[0] = CODE + 0x8000;
        debug.arch.dbg_wcr[0] = 0x1ff7; // all bytes, stores, EL1, enabled
    });
    assert_eq!(guest.enter(), Ok(KVM_EXIT_DEBUG));
    let exit: kvm_debug_exit_arch = guest.run.exit();
    assert_eq!(exit.hsr >> 26, 0x34);
    assert_eq!(exit.far, CODE + 0x8000);
    assert_eq!(guest.get(core::PC), CODE + 4);
    assert_eq!(guest.memory.word(0x8000), 0);
}

/// DBG-20: a bit that KVM does not know is EINVAL, and nothing changes; ENABLE clear ends it all.
#[test]
fn guest_debug_control_bits() {
    let guest = Guest::new(&[brk(1), B_SELF]);
    let set = |control| {
        let mut debug = kvm_guest_debug {
            control,
            ..kvm_guest_debug::default()
        };
        let set = request::arm64::KVM_SET_GUEST_DEBUG;
        guest.program.with(guest.vcpu, set, &mut debug)
    };
    for bit in 0..32 {
        let known = [0, 1, 16, 17].contains(&bit);
        let expected = if known { Ok(0) } else { Err(Errno::EINVAL) };
        assert_eq!(set(1 << bit), expected, "{bit}");
        assert_eq!(set(1 << bit | 1), expected, "{bit}");
    }
    assert_eq!(set(1), Ok(0));
    assert_eq!(set(1 << 5), Err(Errno::EINVAL));
    assert_eq!(guest.enter(), Ok(KVM_EXIT_DEBUG), "still enabled");
}

#[test]
fn system_events_and_hypercalls() {
    // PSCI SYSTEM_OFF.
    let guest = Guest::new(&[HVC, B_SELF]);
    guest.set(core::x(0), 0x8400_0008);
    guest.run.write(run::EXIT_UNION, &[0xffu8; 256]);
    assert_eq!(guest.enter(), Ok(KVM_EXIT_SYSTEM_EVENT));
    let event: system_event = guest.run.exit();
    assert_eq!((event.r#type, event.ndata), (KVM_SYSTEM_EVENT_SHUTDOWN, 1));
    assert_eq!(event.data, [0; 16]);

    // A call that a filter sends to user space.
    let guest = Guest::new(&[SMC, B_SELF]);
    let mut filter = kvm_smccc_filter {
        base: 0xc600_0000,
        nr_functions: 16,
        action: 2,
        pad: [0; 15],
    };
    let mut attr = kvm_device_attr {
        flags: 0,
        group: KVM_ARM_VM_SMCCC_CTRL,
        attr: KVM_ARM_VM_SMCCC_FILTER,
        addr: &raw mut filter as u64,
    };
    let set = request::KVM_SET_DEVICE_ATTR;
    let has = request::KVM_HAS_DEVICE_ATTR;
    assert_eq!(guest.program.with(guest.vm, has, &mut attr), Ok(0));
    assert_eq!(guest.program.with(guest.vm, set, &mut attr), Ok(0));
    assert_eq!(
        guest.program.with(guest.vm, set, &mut attr),
        Err(Errno::EEXIST)
    );
    guest.set(core::x(0), 0xc600_0003);
    guest.run.write(run::EXIT_UNION, &[0xffu8; 256]);
    assert_eq!(guest.enter(), Ok(KVM_EXIT_HYPERCALL));
    let call: hypercall = guest.run.exit();
    assert_eq!((call.nr, call.flags), (0xc600_0003, 1));
    assert_eq!((call.args, call.ret), ([0; 6], 0));
    assert_eq!(guest.get(core::PC), CODE + 4);
    let mut other = kvm_smccc_filter {
        base: 0xc600_1000,
        ..filter
    };
    attr.addr = &raw mut other as u64;
    assert_eq!(
        guest.program.with(guest.vm, set, &mut attr),
        Err(Errno::EBUSY)
    );
}

#[test]
fn coalesced_writes_do_not_exit_until_the_ring_is_full() {
    // str x1, [x2]; add x1, x1, #1; b .-8
    let guest = guest_at_hole(&[STR_X1_X2, 0x9100_0421, 0x17ff_fffe]);
    let mut zone = kvm_coalesced_mmio_zone {
        addr: HOLE,
        size: 0x1000,
        pio: 0,
    };
    let register = request::KVM_REGISTER_COALESCED_MMIO;
    guest.program.with(guest.vm, register, &mut zone).unwrap();
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(guest.get(core::x(1)), KVM_COALESCED_MMIO_MAX as u64 - 1);
    // The ring is on the page that is said to be shared.
    let Object::Vcpu(vcpu) = guest.program.object(guest.vcpu) else {
        panic!("a vCPU");
    };
    let (offset, page) = vcpu.coalesced_mmio_page();
    assert_eq!(offset, 4096);
    let ring = Run(Mapping::of(page, 4096));
    let head: kvm_coalesced_mmio_ring = ring.read(0);
    assert_eq!(
        (head.first, head.last as usize),
        (0, KVM_COALESCED_MMIO_MAX - 1)
    );
    for n in 0..KVM_COALESCED_MMIO_MAX - 1 {
        let entry: kvm_coalesced_mmio = ring.read(8 + n * 24);
        assert_eq!((entry.phys_addr, entry.len), (HOLE, 8));
        assert_eq!(u64::from_le_bytes(entry.data), n as u64);
    }
    // User space takes them all, and ends it: every write exits.
    ring.0.store(0, &head.last.to_ne_bytes());
    let unregister = request::KVM_UNREGISTER_COALESCED_MMIO;
    guest.program.with(guest.vm, unregister, &mut zone).unwrap();
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(guest.get(core::x(1)), KVM_COALESCED_MMIO_MAX as u64);
}

#[test]
fn the_dirty_log_has_each_page_that_was_written_once() {
    // str x1, [x2]; str x1, [x3]; then out, twice.
    let guest = Guest::new(&[
        STR_X1_X2,
        STR_X1_X2,
        0xf900_0061,
        0xf900_0081,
        0x17ff_fffe,
        B_SELF,
    ]);
    let pages = Memory::new(200 * 4096);
    let base = 0x5000_0000;
    let flags = MemFlags::LOG_DIRTY_PAGES.bits();
    guest.program.slot(guest.vm, 1, flags, base, &pages);
    guest.set(core::x(2), base + 3 * 4096);
    guest.set(core::x(3), base + 130 * 4096 + 8);
    guest.set(core::x(4), HOLE);
    let get = || {
        let mut words = [u64::MAX; 4];
        let mut log = kvm_dirty_log {
            slot: 1,
            padding1: 0,
            dirty_bitmap: words.as_mut_ptr() as u64,
        };
        let get = request::KVM_GET_DIRTY_LOG;
        guest.program.with(guest.vm, get, &mut log).unwrap();
        words
    };
    assert_eq!(get(), [0; 4]);
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(get(), [1 << 3, 0, 1 << 2, 0]);
    assert_eq!(get(), [0; 4]);
    // The guest goes round its loop: the stores are logged again, although the vCPU knew the pages.
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(get(), [0, 0, 1 << 2, 0]);

    // With the manual mode, fetching forgets nothing, and clearing what it is told.
    let mut cap = kvm_enable_cap {
        cap: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
        args: [1, 0, 0, 0],
        ..kvm_enable_cap::default()
    };
    let enable = request::KVM_ENABLE_CAP;
    guest.program.with(guest.vm, enable, &mut cap).unwrap();
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(get(), [0, 0, 1 << 2, 0]);
    assert_eq!(get(), [0, 0, 1 << 2, 0]);
    let clear = |first_page, num_pages, mut bits: u64| {
        let mut log = kvm_clear_dirty_log {
            slot: 1,
            num_pages,
            first_page,
            dirty_bitmap: &raw mut bits as u64,
        };
        let clear = request::KVM_CLEAR_DIRTY_LOG;
        guest.program.with(guest.vm, clear, &mut log)
    };
    assert_eq!(clear(1, 64, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(clear(0, 63, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(clear(256, 64, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(clear(128, 64, !(1 << 2)), Ok(0));
    assert_eq!(get(), [0, 0, 1 << 2, 0]);
    assert_eq!(clear(128, 64, u64::MAX), Ok(0));
    assert_eq!(get(), [0; 4]);
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(get(), [0, 0, 1 << 2, 0]);
}

#[test]
fn memory_that_is_not_there_is_efault() {
    let guest = Guest::new(&[LDR_X1_X2, B_SELF]);
    let pages = Memory::new(4096);
    guest.program.slot(guest.vm, 1, 0, 0x5000_0000, &pages);
    guest.set(core::x(2), 0x5000_0000);
    drop(pages);
    assert_eq!(guest.enter(), Err(Errno::EFAULT));
    assert_eq!(guest.get(core::PC), CODE);
}

#[test]
fn a_deleted_slot_is_no_memory_at_once() {
    let guest = Guest::new(&[LDR_X1_X2, STR_X1_X2, B_SELF]);
    let pages = Memory::new(4096);
    guest.program.slot(guest.vm, 1, 0, 0x5000_0000, &pages);
    guest.set(core::x(2), 0x5000_0000);
    let mut delete = kvm_userspace_memory_region {
        slot: 1,
        guest_phys_addr: 0x5000_0000,
        ..kvm_userspace_memory_region::default()
    };
    let region = request::KVM_SET_USER_MEMORY_REGION;
    guest.program.with(guest.vm, region, &mut delete).unwrap();
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(guest.mmio().phys_addr, 0x5000_0000);
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(number: libc::c_int) {
    INTERRUPTED.store(true, Ordering::SeqCst);
    assert_eq!(signal::interrupt(number), signal::Disposition::Deliver);
}

/// A signal ends a run, whether the guest loops or sleeps.
#[test]
fn a_signal_ends_a_run() {
    // SAFETY: the handler only calls what may be called in one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
    }
    for code in [B_SELF, WFI] {
        let guest = Guest::new(&[code, B_SELF]);
        INTERRUPTED.store(false, Ordering::SeqCst);
        // SAFETY: the thread that is signalled waits for this one.
        let me = unsafe { libc::pthread_self() } as u64;
        let done = AtomicBool::new(false);
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                // One that comes before the run has begun is none.
                while !done.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                    // SAFETY: the thread lives.
                    unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
                }
            });
            let result = guest.enter();
            done.store(true, Ordering::SeqCst);
            result
        });
        assert_eq!(result, Err(Errno::EINTR));
        assert_eq!(guest.run.exit_reason(), KVM_EXIT_INTR);
        assert!(INTERRUPTED.load(Ordering::SeqCst));
        // It does not end the next run, too.
        guest.memory.put(0, &[STR_X1_X2]);
        guest.set(core::PC, CODE);
        guest.set(core::x(2), HOLE);
        assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    }
}

/// `KVM_SET_SIGNAL_MASK`: what the mask lets through and the thread does not ends the run, and is
/// to stay pending.
#[test]
fn a_signal_that_only_the_runs_mask_lets_through_is_deferred() {
    static DEFERRED: AtomicBool = AtomicBool::new(false);
    extern "C" fn handler(number: libc::c_int) {
        if signal::interrupt(number) == signal::Disposition::Defer {
            DEFERRED.store(true, Ordering::SeqCst);
        }
    }
    let guest = Guest::new(&[B_SELF]);
    // SAFETY: the handler only calls what may be called in one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut());
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut set, libc::SIGUSR2);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2);
    }
    assert!(!DEFERRED.load(Ordering::SeqCst));
    #[repr(C)]
    struct Mask(u32, [u8; 8]);
    let mut mask = Mask(8, [0; 8]);
    let set = request::KVM_SET_SIGNAL_MASK;
    guest.program.with(guest.vcpu, set, &mut mask).unwrap();
    assert_eq!(guest.enter(), Err(Errno::EINTR));
    assert!(DEFERRED.load(Ordering::SeqCst));
}

/// A vCPU that is off does not run its guest, but can be kicked.
#[test]
fn a_stopped_vcpu_waits() {
    let guest = Guest::new(&[STR_X1_X2]);
    let set = |state| {
        let mut mp = kvm_mp_state { mp_state: state };
        let set = request::KVM_SET_MP_STATE;
        guest.program.with(guest.vcpu, set, &mut mp).unwrap();
    };
    set(5);
    let Object::Vcpu(vcpu) = guest.program.object(guest.vcpu) else {
        panic!("a vCPU");
    };
    let peer = vcpu.peer().clone();
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            peer.kick();
        });
        guest.enter()
    });
    assert_eq!(result, Err(Errno::EINTR));
    assert_eq!(guest.get(core::PC), CODE, "it did not run");
    set(0);
    guest.set(core::x(2), HOLE);
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
}

/// A second KVM_ARM_VCPU_INIT resets, and KVM_IRQ_LINE reaches a sleeping vCPU.
#[test]
fn irq_line_wakes_from_wfi() {
    // wfi; then a store to user space.
    let guest = guest_at_hole(&[WFI, STR_X1_X2, B_SELF]);
    std::thread::scope(|scope| {
        let Object::Vm(vm) = guest.program.object(guest.vm) else {
            panic!("a VM");
        };
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            let peers = vm.peers();
            let understudy_kvm::Peer::Arm64(peer) = &peers[0] else {
                panic!("the guest is an arm64 one");
            };
            peer.set_line(understudy_arm64::vcpu::peer::Line::Irq, true);
        });
        assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    });
    assert_eq!(guest.get(core::PC), CODE + 4);
    let mut init = kvm_vcpu_init {
        target: 5,
        features: [4, 0, 0, 0, 0, 0, 0],
    };
    let request = request::arm64::KVM_ARM_VCPU_INIT;
    guest.program.with(guest.vcpu, request, &mut init).unwrap();
    assert_eq!(guest.get(core::PC), 0);
    assert_eq!(guest.get(core::PSTATE), 0x3c5);
}

/// ESR-11: what the guest's CPU does not know is the guest's own exception, and no exit.
#[test]
fn an_unknown_instruction_is_the_guests_own_exception() {
    const UDF: u32 = 0;
    // The handler for exceptions of the current level, on SP_ELx, is at 0x200 of the vectors.
    let mut code = vec![0xd503_201f; 0x300 / 4];
    code[0] = UDF;
    code[0x200 / 4] = STR_X1_X2;
    let guest = guest_at_hole(&code);
    let vbar = understudy_abi::arm64::reg::sys_reg(3, 0, 12, 0, 0);
    let esr = understudy_abi::arm64::reg::sys_reg(3, 0, 5, 2, 0);
    guest.set(vbar, guest.get(core::PC));
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(guest.mmio().phys_addr, HOLE);
    assert_eq!(guest.get(esr), 0x0200_0000);
}
