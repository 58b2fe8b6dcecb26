//! The vCPU without a guest: what user space does between runs, and the hooks that a guest's
//! accesses come by.

use super::*;
use crate::exit::SystemEvent;
use crate::machine::Settings;
use crate::smccc::{self, Conduit};
use crate::state::pstate;
use std::sync::Mutex;
use understudy_abi::arm64::psci::*;
use understudy_engine::bus::Bus;
use understudy_engine::emit::Size;
use understudy_memory::{GuestMemory, Limits, UserRegion};

/// A machine with a page of memory at [`PAGE`].
pub(crate) fn machine() -> Arc<Machine> {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let memory = GuestMemory::new(Limits::arm64(40));
    // Its address has to stay good as long as anybody may have the machine.
    let page = Box::leak(Box::new(Page([0xaa; 4096])));
    memory
        .set_region(&UserRegion {
            slot: 0,
            flags: 0,
            guest_phys_addr: PAGE,
            memory_size: 4096,
            userspace_addr: page.0.as_mut_ptr() as u64,
        })
        .expect("the region is good");
    Machine::new(Arc::new(memory), Settings::default())
}

/// Where [`machine`] has memory.
pub(crate) const PAGE: u64 = 0x4000_0000;
/// Where it has none.
const HOLE: u64 = 0x900_2000;

/// A vCPU that was initialised with PSCI 0.2.
pub(crate) fn vcpu(machine: &Arc<Machine>, id: u32) -> Vcpu {
    let mut vcpu = Vcpu::new(machine, id);
    assert!(machine.fix_features(VcpuFeatures::PSCI_0_2));
    vcpu.init(VcpuFeatures::PSCI_0_2);
    vcpu
}

/// Makes the call with X0 to X3; gives them afterwards.
fn hvc(vcpu: &mut Vcpu, arguments: [u64; 4]) -> Result<[u64; 4], Exit> {
    let cpu = vcpu.cpu_mut();
    for (n, value) in arguments.into_iter().enumerate() {
        core_regs::set_x(cpu, n as u32, value);
    }
    let result = smccc::call(cpu, Conduit::Hvc, 0);
    let results = [0, 1, 2, 3].map(|n| core_regs::x(cpu, n));
    match result {
        Ok(()) => Ok(results),
        Err(Stop::Redirect) => panic!("a call takes no exception"),
        Err(Stop::Exit) => Err(cpu.state.exit.take().expect("an exit was noted")),
    }
}

#[test]
fn reset_leaves_what_kvm_does() {
    let machine = machine();
    let mut vcpu = vcpu(&machine, 0);
    let cpu = vcpu.cpu_mut();
    for n in 0..31 {
        core_regs::set_x(cpu, n, 1);
    }
    core_regs::set_sp(cpu, 0, 2);
    core_regs::set_sp(cpu, 1, 3);
    cpu.pc = 4;
    regs::set_fpcr(cpu, 1 << 24);
    regs::set_fpsr(cpu, 1);
    regs::set_vector(cpu, 31, 7);
    assert!(core_regs::set_pstate(cpu, 0xf000_0000));
    vcpu.init(VcpuFeatures::PSCI_0_2);
    let cpu = vcpu.cpu();
    assert!((0..31).all(|n| core_regs::x(cpu, n) == 0));
    assert_eq!([0, 1].map(|el| core_regs::sp(cpu, el)), [0, 0]);
    assert_eq!((cpu.pc, regs::fpcr(cpu), regs::fpsr(cpu)), (0, 0, 0));
    assert_eq!(regs::vector(cpu, 31), 0);
    assert_eq!(core_regs::pstate(cpu), 0x3c5);
    assert_eq!(cpu.slot(regs::MONITOR), regs::MONITOR_OPEN);
}

#[test]
fn pstate_has_three_modes() {
    let machine = machine();
    let mut vcpu = vcpu(&machine, 0);
    let cpu = vcpu.cpu_mut();
    core_regs::set_sp(cpu, 0, 0x100);
    core_regs::set_sp(cpu, 1, 0x200);
    for value in [0, 4, 5, 0xf000_03c5, 0x6020_0000] {
        assert!(core_regs::set_pstate(cpu, value), "{value:#x}");
        assert_eq!(core_regs::pstate(cpu), value);
        // Whichever is the current one, both stack pointers keep their values.
        assert_eq!([0, 1].map(|el| core_regs::sp(cpu, el)), [0x100, 0x200]);
        let current = if value & 1 != 0 { 0x200 } else { 0x100 };
        assert_eq!(cpu.slot(regs::SP), current);
    }
    for value in [1, 2, 3, 6, 7, 8, 9, 0xd, 0x10, 0x13, 0x1f] {
        assert!(!core_regs::set_pstate(cpu, value), "{value:#x}");
        assert_eq!(core_regs::pstate(cpu), 0x6020_0000);
    }
}

#[test]
fn power_off_is_no_feature_of_the_machine() {
    let machine = machine();
    let mut first = Vcpu::new(&machine, 0);
    let off = VcpuFeatures::PSCI_0_2 | VcpuFeatures::POWER_OFF;
    assert_eq!(first.first_run(), Err(NotReady::NotInitialized));
    assert!(!machine.has_run());
    assert!(machine.fix_features(off));
    first.init(off);
    assert_eq!(first.peer().mp_state(), MpState::Stopped);
    // IDR-21: other features are refused from now on; POWER_OFF is not one of them.
    assert!(machine.fix_features(VcpuFeatures::PSCI_0_2));
    assert!(!machine.fix_features(VcpuFeatures::PMU_V3));
    first.init(VcpuFeatures::PSCI_0_2);
    assert_eq!(first.peer().mp_state(), MpState::Runnable);
    assert_eq!(first.first_run(), Ok(()));
    assert!(machine.has_run());
}

#[test]
fn mmio_load_is_completed_by_the_next_run() {
    let machine = machine();
    let mut vcpu = vcpu(&machine, 0);
    let bytes = [0x85, 0x86, 0x87, 0xf8, 0x89, 0x8a, 0x8b, 0x8c];
    for (size, expected) in [
        (Size::B1, 0x85),
        (Size::B2, 0x8685),
        (Size::B4, 0xf887_8685),
        (Size::B8, 0x8c8b_8a89_f887_8685),
    ] {
        for sign_extended in [false, true] {
            let mem = Mem::new(size).info(syndrome::register(size, 7, sign_extended, true));
            let cpu = vcpu.cpu_mut();
            cpu.pc = PAGE;
            core_regs::set_x(cpu, 7, !0);
            assert_eq!(device_load(cpu, HOLE, mem), Err(Stop::Exit));
            assert_eq!(
                cpu.state.exit.take(),
                Some(Exit::Mmio(Mmio {
                    address: HOLE,
                    length: size.bytes() as u32,
                    is_write: false,
                    data: [0; 8],
                }))
            );
            assert_eq!(cpu.pc, PAGE);
            vcpu.complete_mmio(&bytes);
            // Not sign-extended, as with KVM.
            assert_eq!(core_regs::x(vcpu.cpu(), 7), expected);
            assert_eq!(vcpu.cpu().pc, PAGE + 4);
            // It is completed once.
            vcpu.complete_mmio(&[0; 8]);
            assert_eq!(core_regs::x(vcpu.cpu(), 7), expected);
            assert_eq!(vcpu.cpu().pc, PAGE + 4);
        }
    }
}

#[test]
fn mmio_store_tells_what_is_written() {
    let machine = machine();
    let mut vcpu = vcpu(&machine, 0);
    let mem = Mem::new(Size::B4).info(syndrome::register(Size::B4, 31, false, false));
    let cpu = vcpu.cpu_mut();
    cpu.pc = PAGE;
    cpu.state.pstate |= pstate::SS;
    let stop = device_store(cpu, HOLE + 1, 0x1122_3344_5566_7788, mem);
    assert_eq!(stop, Err(Stop::Exit));
    let exit = cpu.state.exit.take();
    let Some(Exit::Mmio(mmio)) = exit else {
        panic!("{exit:?}");
    };
    assert_eq!(
        (mmio.address, mmio.length, mmio.is_write),
        (HOLE + 1, 4, true)
    );
    assert_eq!(mmio.data, [0x88, 0x77, 0x66, 0x55, 0, 0, 0, 0]);
    vcpu.complete_mmio(&[0; 8]);
    assert_eq!(vcpu.cpu().pc, PAGE + 4);
    // The instruction is over for a software step, too, and was none of the processor's own.
    assert_eq!(vcpu.cpu().state.pstate & pstate::SS, 0);
}

#[test]
fn an_access_without_syndrome_is_the_machines_choice() {
    let machine = machine();
    let mut vcpu = vcpu(&machine, 0);
    let plain = Mem::new(Size::B8);
    let cpu = vcpu.cpu_mut();
    assert_eq!(device_load(cpu, HOLE, plain), Err(Stop::Exit));
    assert_eq!(cpu.state.exit.take(), Some(Exit::NoSyndrome));
    machine.set_nisv_to_user();
    for (kind, cache, esr_iss) in [
        (AccessKind::Load, 0, 0x5),
        (AccessKind::Store, 0, 0x45),
        (AccessKind::Atomic, 0, 0x45),
        (AccessKind::Store, syndrome::CACHE, 0x145),
    ] {
        assert_eq!(device_other(cpu, HOLE, plain.info(cache), kind), Stop::Exit);
        let fault_ipa = HOLE;
        assert_eq!(
            cpu.state.exit.take(),
            Some(Exit::NisV { esr_iss, fault_ipa })
        );
    }
    // There is nothing to complete.
    let pc = cpu.pc;
    vcpu.complete_mmio(&[0; 8]);
    assert_eq!(vcpu.cpu().pc, pc);
}

/// Answers at one address.
#[derive(Default)]
struct Device(Mutex<Vec<u8>>);

impl Bus for Device {
    fn read(&self, vcpu: usize, _: Space, address: u64, data: &mut [u8]) -> bool {
        data.fill(0x5a + vcpu as u8);
        address == HOLE
    }
    fn write(&self, _: usize, _: Space, address: u64, data: &[u8]) -> bool {
        if address == HOLE {
            self.0.lock().unwrap().extend_from_slice(data);
        }
        address == HOLE
    }
}

#[test]
fn a_device_on_the_bus_needs_no_exit() {
    let machine = machine();
    let device = Arc::new(Device::default());
    assert!(machine.bus.set(device.clone()).is_ok());
    let _other = vcpu(&machine, 0);
    let mut vcpu = vcpu(&machine, 9);
    let mem = Mem::new(Size::B2).info(syndrome::register(Size::B2, 0, false, false));
    let cpu = vcpu.cpu_mut();
    assert_eq!(device_load(cpu, HOLE, mem), Ok(0x5b5b));
    assert_eq!(device_store(cpu, HOLE, 0x123_4567, mem), Ok(()));
    assert_eq!(*device.0.lock().unwrap(), [0x67, 0x45]);
    assert_eq!(device_store(cpu, HOLE + 8, 0, mem), Err(Stop::Exit));
}

#[test]
fn serror_syndromes_are_checked() {
    let machine = machine();
    let mut vcpu = vcpu(&machine, 0);
    let serror = |serror_esr| SetEvents {
        serror: true,
        serror_esr,
        external_abort: false,
    };
    assert!(!vcpu.set_events(serror(Some(1 << 25))));
    assert_eq!(vcpu.events().serror, None);
    // Without a syndrome: an IMPLEMENTATION DEFINED one.
    assert!(vcpu.set_events(serror(None)));
    assert_eq!(vcpu.events().serror, Some(0x100_0000));
    assert!(vcpu.set_events(serror(Some(0x1ff_ffff))));
    assert_eq!(vcpu.events().serror, Some(0x1ff_ffff));
    // What is pending stays when it is not mentioned.
    assert!(vcpu.set_events(SetEvents::default()));
    assert_eq!(vcpu.events().serror, Some(0x1ff_ffff));
}

#[test]
fn an_injected_abort_has_its_syndrome_at_once() {
    let machine = machine();
    let mut vcpu = vcpu(&machine, 0);
    let abort = SetEvents {
        external_abort: true,
        ..SetEvents::default()
    };
    let syndrome = |vcpu: &Vcpu| {
        let sys = &vcpu.cpu().state.sys;
        (sys[Reg::ESR_EL1], sys[Reg::FAR_EL1])
    };
    // There was no exit whose syndrome could have IL.
    assert!(vcpu.set_events(abort));
    assert_eq!(syndrome(&vcpu), (0x9400_0010, 0));

    // An MMIO load is answered with an abort: it is not completed.
    let mem = Mem::new(Size::B8).info(syndrome::register(Size::B8, 1, false, true));
    let cpu = vcpu.cpu_mut();
    cpu.state.run.abort = false;
    cpu.pc = PAGE;
    cpu.state.run.fault.address = HOLE + 8;
    assert_eq!(device_load(cpu, HOLE + 8, mem), Err(Stop::Exit));
    assert!(vcpu.set_events(abort));
    assert_eq!(syndrome(&vcpu), (0x9600_0010, HOLE + 8));
    vcpu.complete_mmio(&[1; 8]);
    assert_eq!((vcpu.cpu().pc, core_regs::x(vcpu.cpu(), 1)), (PAGE, 0));
    assert!(vcpu.cpu().state.run.abort);
}

#[test]
fn psci_switches_vcpus_on_and_off() {
    let machine = machine();
    let mut caller = vcpu(&machine, 0);
    let mut other = vcpu(&machine, 1);
    caller.peer().set_mpidr(1 << 31);
    other.peer().set_mpidr(1 << 31 | 0x101);
    let on = u64::from(fn64(CPU_ON));
    let affinity_info = u64::from(fn64(AFFINITY_INFO));
    let value = |result: i64| Ok([result as u64, 0, 0, 0]);

    assert_eq!(
        hvc(&mut caller, [on, 0x101, 5, 6]),
        value(PSCI_RET_ALREADY_ON)
    );
    assert_eq!(
        hvc(&mut caller, [on, 2, 5, 6]),
        value(PSCI_RET_INVALID_PARAMS)
    );
    assert_eq!(
        hvc(&mut caller, [on, 1 << 31 | 0x101, 5, 6]),
        value(PSCI_RET_INVALID_PARAMS)
    );
    assert_eq!(
        hvc(&mut caller, [affinity_info, 0x101, 0, 0]),
        value(AFFINITY_LEVEL_ON)
    );

    assert_eq!(hvc(&mut other, [CPU_OFF.into(), 0, 0, 0]), value(0));
    assert_eq!(other.peer().mp_state(), MpState::Stopped);
    assert_eq!(
        hvc(&mut caller, [affinity_info, 0x101, 0, 0]),
        value(AFFINITY_LEVEL_OFF)
    );
    // One at the same Aff2 is on: the caller.
    assert_eq!(
        hvc(&mut caller, [affinity_info, 0x101, 2, 0]),
        value(AFFINITY_LEVEL_ON)
    );
    for lowest in [4, 1 << 32] {
        assert_eq!(
            hvc(&mut caller, [affinity_info, 0x101, lowest, 0]),
            value(PSCI_RET_INVALID_PARAMS)
        );
    }

    let entry = 0x1234_5678_9abc_def0;
    assert_eq!(hvc(&mut caller, [on, 0x101, entry, 6]), value(0));
    assert_eq!(other.peer().mp_state(), MpState::Runnable);
    core_regs::set_x(other.cpu_mut(), 5, 5);
    // The entry is applied when the vCPU runs, once.
    assert_eq!(crate::interrupts::service(other.cpu_mut()), Ok(()));
    let cpu = other.cpu();
    assert_eq!(
        (cpu.pc, core_regs::x(cpu, 0), core_regs::x(cpu, 5)),
        (entry, 6, 0)
    );
    assert_eq!(other.peer().take_entry(), None);

    // The 32-bit function looks at 32 bits only.
    other.peer().set_mp_state(MpState::Stopped);
    let narrow = [CPU_ON.into(), 1 << 40 | 0x101, entry, 1 << 32 | 7];
    assert_eq!(hvc(&mut caller, narrow), value(0));
    let entry = other.peer().take_entry();
    assert_eq!(
        entry,
        Some(Entry {
            pc: 0x9abc_def0,
            x0: 7,
            big_endian: false,
        })
    );
}

#[test]
fn the_end_of_the_system_stops_all_vcpus() {
    for (function, kind, flags) in [
        (SYSTEM_OFF, 1, 0),
        (SYSTEM_RESET, 2, 0),
        (SYSTEM_RESET2, 2, 1),
        (fn64(SYSTEM_RESET2), 2, 1),
    ] {
        let machine = machine();
        let mut caller = vcpu(&machine, 0);
        let other = vcpu(&machine, 1);
        caller.cpu_mut().pc = PAGE;
        let exit = hvc(&mut caller, [function.into(), 0x8000_0000, 2, 3]);
        let data = Some(flags);
        assert_eq!(exit, Err(Exit::SystemEvent(SystemEvent { kind, data })));
        for vcpu in [&caller, &other] {
            assert_eq!(vcpu.peer().mp_state(), MpState::Stopped);
        }
        // Whoever runs it nevertheless is told of a failure, behind the call.
        assert_eq!(caller.cpu().pc, PAGE + 4);
        assert_eq!(core_regs::x(caller.cpu(), 0), -6i64 as u64);
        let cleared = flags == 0;
        let rest = [1, 2, 3].map(|n| core_regs::x(caller.cpu(), n));
        assert_eq!(rest, if cleared { [0; 3] } else { [0x8000_0000, 2, 3] });
    }
}

#[test]
fn a_stopped_vcpu_waits_in_its_run() {
    let machine = machine();
    let mut stopped = vcpu(&machine, 0);
    let peer = stopped.peer().clone();
    peer.set_mp_state(MpState::Stopped);
    let thread = std::thread::spawn(move || {
        let first = stopped.run();
        let pc = stopped.cpu().pc;
        let second = crate::interrupts::service(stopped.cpu_mut());
        (first, pc, second, stopped.cpu().pc)
    });
    // A kick ends the run, whether it has begun to sleep or not; nothing else happens.
    peer.kick();
    std::thread::sleep(std::time::Duration::from_millis(5));
    let entry = Entry {
        pc: PAGE,
        x0: 0,
        big_endian: false,
    };
    assert!(peer.power_on(entry));
    assert!(!peer.power_on(entry), "it is on");
    let (first, pc, second, entered) = thread.join().expect("the vCPU's thread ends");
    assert_eq!(first, Exit::Interrupted);
    assert_eq!((second, entered), (Ok(()), PAGE));
    assert!(pc == 0 || pc == PAGE);
}

#[test]
fn a_suspended_vcpu_tells_what_wakes_it() {
    let machine = machine();
    let mut vcpu = vcpu(&machine, 0);
    let peer = vcpu.peer().clone();
    peer.set_mp_state(MpState::Suspended);
    let waker = {
        let peer = peer.clone();
        std::thread::spawn(move || peer.set_line(peer::Line::Irq, true))
    };
    let wakeup = Exit::SystemEvent(SystemEvent {
        kind: 4,
        data: None,
    });
    assert_eq!(vcpu.run(), wakeup);
    waker.join().expect("the waker ends");
    // It stays suspended until user space says otherwise.
    assert_eq!(peer.mp_state(), MpState::Suspended);
    assert_eq!(vcpu.run(), wakeup);
    assert_eq!(vcpu.cpu().pc, 0);
}
