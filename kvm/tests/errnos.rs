//! What calls that are wrong give: the lines of the reference KVM's probe
//! (`probe-guest-neoverse-n1.txt`, section "ioctl"), and whatever a caller can think of.

mod common;

use common::{CODE, Memory, Program, SYSTEM};
use understudy_abi::arm64::{irq_line, kvm_arm_counter_offset, kvm_vcpu_events, kvm_vcpu_init};
use understudy_abi::cap;
use understudy_abi::common::*;
use understudy_abi::ioctl::{self as request, arm64};
use understudy_kvm::{Errno, Guest, Kind, Kvm, table};

const OK: Result<i64, Errno> = Ok(0);

#[test]
fn system() {
    let program = Program::new();
    let call = |request, arg| program.call(SYSTEM, request, arg);
    assert_eq!(call(request::KVM_GET_API_VERSION, 0), Ok(12));
    assert_eq!(call(request::KVM_GET_API_VERSION, 1), Err(Errno::EINVAL));
    assert_eq!(call(request::KVM_GET_VCPU_MMAP_SIZE, 0), Ok(8192));
    assert_eq!(call(request::KVM_GET_VCPU_MMAP_SIZE, 1), Err(Errno::EINVAL));
    assert_eq!(call(request::io(0xff), 0), Err(Errno::EINVAL));
    for vm_type in 0..64 {
        let made = call(request::KVM_CREATE_VM, vm_type).is_ok();
        assert_eq!(
            made,
            vm_type == 0 || (32..=48).contains(&vm_type),
            "{vm_type}"
        );
    }
    for vm_type in [1 << 31, 0x100, u64::MAX, 40 | 1 << 63] {
        assert_eq!(call(request::KVM_CREATE_VM, vm_type), Err(Errno::EINVAL));
    }
    let msi_devid = cap::KVM_CAP_MSI_DEVID.into();
    assert_eq!(
        call(request::KVM_CHECK_EXTENSION, msi_devid),
        Err(Errno::EINVAL)
    );
    assert_eq!(call(request::KVM_CHECK_EXTENSION, 1 << 32), OK);
    assert_eq!(call(request::KVM_CHECK_EXTENSION, u64::MAX), OK);
}

/// The reference's values for neoverse-n1 (`capabilities.md`); what is 0 here and not there is what
/// does not exist yet.
#[test]
fn capabilities() {
    use cap::*;
    let program = Program::new();
    let vm = program.create_vm();
    let missing = [
        KVM_CAP_IRQCHIP,
        KVM_CAP_IRQ_ROUTING,
        KVM_CAP_IRQFD,
        KVM_CAP_IRQFD_RESAMPLE,
        KVM_CAP_SIGNAL_MSI,
        KVM_CAP_ARM_SET_DEVICE_ADDR,
        KVM_CAP_ARM_PMU_V3,
    ];
    let reference = [
        (KVM_CAP_IRQCHIP, 1),
        (KVM_CAP_USER_MEMORY, 1),
        (KVM_CAP_NR_MEMSLOTS, 32767),
        (KVM_CAP_MP_STATE, 1),
        (KVM_CAP_COALESCED_MMIO, 1),
        (KVM_CAP_SYNC_MMU, 1),
        (KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1),
        (KVM_CAP_SET_GUEST_DEBUG, 1),
        (KVM_CAP_IRQ_ROUTING, 4096),
        (KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1),
        (KVM_CAP_IRQFD, 1),
        (KVM_CAP_IOEVENTFD, 1),
        (KVM_CAP_INTERNAL_ERROR_DATA, 1),
        (KVM_CAP_VCPU_EVENTS, 1),
        (KVM_CAP_MAX_VCPUS, 512),
        (KVM_CAP_ONE_REG, 1),
        (KVM_CAP_SIGNAL_MSI, 1),
        (KVM_CAP_READONLY_MEM, 1),
        (KVM_CAP_IRQFD_RESAMPLE, 1),
        (KVM_CAP_ARM_PSCI, 1),
        (KVM_CAP_ARM_SET_DEVICE_ADDR, 1),
        (KVM_CAP_DEVICE_CTRL, 1),
        (KVM_CAP_ENABLE_CAP_VM, 1),
        (KVM_CAP_ARM_PSCI_0_2, 1),
        (KVM_CAP_CHECK_EXTENSION_VM, 1),
        (KVM_CAP_GUEST_DEBUG_HW_BPS, 6),
        (KVM_CAP_GUEST_DEBUG_HW_WPS, 4),
        (KVM_CAP_IOEVENTFD_ANY_LENGTH, 1),
        (KVM_CAP_ARM_PMU_V3, 1),
        (KVM_CAP_VCPU_ATTRIBUTES, 1),
        (KVM_CAP_MAX_VCPU_ID, 512),
        (KVM_CAP_IMMEDIATE_EXIT, 1),
        (KVM_CAP_ARM_USER_IRQ, 1),
        (KVM_CAP_ARM_INJECT_SERROR_ESR, 1),
        (KVM_CAP_COALESCED_PIO, 1),
        (KVM_CAP_ARM_VM_IPA_SIZE, 48),
        (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 3),
        (KVM_CAP_ARM_IRQ_LINE_LAYOUT_2, 1),
        (KVM_CAP_ARM_NISV_TO_USER, 1),
        (KVM_CAP_ARM_INJECT_EXT_DABT, 1),
        (KVM_CAP_HALT_POLL, 1),
        (KVM_CAP_STEAL_TIME, 1),
        (KVM_CAP_SET_GUEST_DEBUG2, 196611),
        (KVM_CAP_PTP_KVM, 1),
        (KVM_CAP_BINARY_STATS_FD, 1),
        (KVM_CAP_SYSTEM_EVENT_DATA, 1),
        (KVM_CAP_ARM_SYSTEM_SUSPEND, 1),
        (KVM_CAP_DIRTY_LOG_RING_ACQ_REL, 1048576),
        (KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, 1),
        (KVM_CAP_COUNTER_OFFSET, 1),
        (KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES, 1075843072),
        (KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES, 1),
        (KVM_CAP_USER_MEMORY2, 1),
    ];
    for capability in (0..1000).filter(|n| *n != KVM_CAP_MSI_DEVID) {
        let found = reference.iter().find(|(of, _)| *of == capability);
        let expected = match found {
            _ if missing.contains(&capability) => 0,
            Some((_, value)) => *value,
            None => 0,
        };
        for fd in [SYSTEM, vm] {
            let value = program.call(fd, request::KVM_CHECK_EXTENSION, capability.into());
            if capability == KVM_CAP_NR_VCPUS {
                assert!(value >= Ok(1));
            } else {
                assert_eq!(value, Ok(expected), "{:?}", cap::name(capability));
            }
        }
    }
}

#[test]
fn vm() {
    let program = Program::new();
    let vm = program.create_vm();
    let call = |request, arg| program.call(vm, request, arg);
    program.create_vcpu(vm, 0);
    assert_eq!(call(request::io(0xff), 0), Err(Errno::EINVAL));
    assert_eq!(call(request::KVM_CREATE_VCPU, 0), Err(Errno::EEXIST));
    for id in [512, 4096, 100_000, 1 << 32, u64::MAX] {
        assert_eq!(call(request::KVM_CREATE_VCPU, id), Err(Errno::EINVAL));
    }
    program.create_vcpu(vm, 7);

    let mut zeros = [0u8; 4096];
    let mut zero = |request| program.call(vm, request, zeros.as_mut_ptr() as u64);
    assert_eq!(zero(request::KVM_IRQ_LINE), OK);
    assert_eq!(zero(request::KVM_GET_DIRTY_LOG), Err(Errno::ENOENT));
    assert_eq!(zero(request::KVM_CLEAR_DIRTY_LOG), Err(Errno::ENOENT));
    assert_eq!(zero(arm64::KVM_ARM_PREFERRED_TARGET), OK);
    assert_eq!(zero(request::KVM_CREATE_DEVICE), Err(Errno::ENODEV));
    assert_eq!(zero(request::KVM_ENABLE_CAP), Err(Errno::EINVAL));
    assert_eq!(zero(request::KVM_REGISTER_COALESCED_MMIO), OK);
    assert_eq!(zero(request::x86::KVM_GET_CLOCK), Err(Errno::EINVAL));
    assert_eq!(zero(request::x86::KVM_SET_TSS_ADDR), Err(Errno::EINVAL));
    assert_eq!(zero(request::x86::KVM_CREATE_PIT2), Err(Errno::EINVAL));
    assert_eq!(zero(request::KVM_SIGNAL_MSI), Err(Errno::EINVAL));
    assert_eq!(zero(request::KVM_IOEVENTFD), Err(Errno::EINVAL));
}

#[test]
fn vcpu() {
    let program = Program::new();
    let vm = program.create_vm();
    let vcpu = program.create_vcpu(vm, 0);
    program.init(vm, vcpu);
    assert_eq!(program.call(vcpu, request::io(0xff), 0), Err(Errno::EINVAL));
    let mut zeros = [0u64; 512];
    let mut zero = |request| program.call(vcpu, request, zeros.as_mut_ptr() as u64);
    for unknown in [
        arm64::KVM_GET_REGS,
        arm64::KVM_SET_REGS,
        arm64::KVM_GET_SREGS,
        arm64::KVM_GET_FPU,
        request::KVM_NMI,
        request::KVM_INTERRUPT,
        request::KVM_TRANSLATE,
        request::KVM_ENABLE_CAP,
        request::KVM_KVMCLOCK_CTRL,
    ] {
        assert_eq!(zero(unknown), Err(Errno::EINVAL), "{unknown:#x}");
    }
    assert_eq!(zero(request::KVM_GET_MP_STATE), OK);
    assert_eq!(zero(arm64::KVM_GET_VCPU_EVENTS), OK);
    assert_eq!(zero(request::KVM_SET_SIGNAL_MASK), Err(Errno::EINVAL));
    assert_eq!(zero(arm64::KVM_ARM_VCPU_FINALIZE), Err(Errno::EINVAL));
    zeros = [0; 512];
    let mut zero = |request| program.call(vcpu, request, zeros.as_mut_ptr() as u64);
    assert_eq!(zero(arm64::KVM_SET_VCPU_EVENTS), OK);
    assert_eq!(zero(request::KVM_GET_ONE_REG), Err(Errno::EINVAL));
    assert_eq!(zero(request::KVM_SET_ONE_REG), Err(Errno::EINVAL));
    assert_eq!(zero(request::KVM_GET_REG_LIST), Err(Errno::E2BIG));
    assert!(zeros[0] > 250, "n says how many there are");
    assert!(program.call(vcpu, request::KVM_GET_STATS_FD, 0).is_ok());
    assert_eq!(program.call(vcpu, request::KVM_RUN, 1), Err(Errno::EINVAL));
}

/// IDR-4.
#[test]
fn what_needs_an_initialised_vcpu_is_enoexec_before() {
    let program = Program::new();
    let vm = program.create_vm();
    let vcpu = program.create_vcpu(vm, 0);
    for needs in [
        request::KVM_RUN,
        request::KVM_GET_ONE_REG,
        request::KVM_SET_ONE_REG,
        request::KVM_GET_REG_LIST,
        arm64::KVM_GET_VCPU_EVENTS,
        arm64::KVM_SET_VCPU_EVENTS,
        arm64::KVM_ARM_VCPU_FINALIZE,
    ] {
        // Before the argument is looked at, which is no pointer.
        assert_eq!(
            program.call(vcpu, needs, 0),
            Err(Errno::ENOEXEC),
            "{needs:#x}"
        );
    }
}

/// Requirement IDR-20, IDR-21, and the README's "vCPU init".
#[test]
fn vcpu_init() {
    let program = Program::new();
    let try_on = |vm: i32, vcpu: i32, target: u32, features: [u32; 7]| {
        let _ = vm;
        let mut init = kvm_vcpu_init { target, features };
        program.with(vcpu, arm64::KVM_ARM_VCPU_INIT, &mut init)
    };
    let fresh = |target, features| {
        let vm = program.create_vm();
        let vcpu = program.create_vcpu(vm, 0);
        try_on(vm, vcpu, target, features)
    };
    let one = |n: u32| [1 << n, 0, 0, 0, 0, 0, 0];
    for target in [u32::MAX, 0, 1, 2, 3, 4, 6] {
        assert_eq!(fresh(target, [0; 7]), Err(Errno::EINVAL), "{target}");
    }
    assert_eq!(fresh(5, [0; 7]), OK);
    assert_eq!(fresh(5, one(0)), OK, "POWER_OFF");
    assert_eq!(fresh(5, one(2)), OK, "PSCI_0_2");
    for unsupported in [1, 3, 4, 5, 6] {
        assert_eq!(
            fresh(5, one(unsupported)),
            Err(Errno::EINVAL),
            "{unsupported}"
        );
    }
    for unknown in 7..32 {
        assert_eq!(fresh(5, one(unknown)), Err(Errno::ENOENT), "{unknown}");
    }
    for word in 1..7 {
        let mut features = [0; 7];
        features[word] = 1;
        assert_eq!(fresh(5, features), Err(Errno::ENOENT));
    }
    // The first fixes the features of the VM; POWER_OFF is not one of them.
    let vm = program.create_vm();
    let (first, second) = (program.create_vcpu(vm, 0), program.create_vcpu(vm, 1));
    assert_eq!(try_on(vm, first, 5, one(2)), OK);
    assert_eq!(try_on(vm, first, 5, [0; 7]), Err(Errno::EINVAL));
    assert_eq!(try_on(vm, first, 5, [5, 0, 0, 0, 0, 0, 0]), OK);
    assert_eq!(try_on(vm, second, 5, [0; 7]), Err(Errno::EINVAL));
    assert_eq!(try_on(vm, second, 5, one(2)), OK);
}

#[test]
fn mp_states() {
    let program = Program::new();
    let vm = program.create_vm();
    let vcpu = program.create_vcpu(vm, 0);
    program.init(vm, vcpu);
    let mut expected = 0;
    for state in 0..12 {
        let mut mp = kvm_mp_state { mp_state: state };
        let result = program.with(vcpu, request::KVM_SET_MP_STATE, &mut mp);
        if [0, 5, 10].contains(&state) {
            assert_eq!(result, OK);
            expected = state;
        } else {
            assert_eq!(result, Err(Errno::EINVAL));
        }
        program
            .with(vcpu, request::KVM_GET_MP_STATE, &mut mp)
            .unwrap();
        assert_eq!(mp.mp_state, expected);
    }
}

/// The probe's "set_vcpu_events byte n": one byte of the structure is 1.
#[test]
fn vcpu_events_byte_by_byte() {
    for byte in 0..64 {
        let program = Program::new();
        let vm = program.create_vm();
        let vcpu = program.create_vcpu(vm, 0);
        program.init(vm, vcpu);
        let mut raw = [0u8; 64];
        raw[byte] = 1;
        let result = program.with(vcpu, arm64::KVM_SET_VCPU_EVENTS, &mut raw);
        let bad = (3..8).contains(&byte) || byte >= 16;
        assert_eq!(result, if bad { Err(Errno::EINVAL) } else { OK }, "{byte}");
        let mut events = kvm_vcpu_events::default();
        program
            .with(vcpu, arm64::KVM_GET_VCPU_EVENTS, &mut events)
            .unwrap();
        let events = events.exception;
        assert_eq!(events.serror_pending, (byte == 0).into());
        assert_eq!(events.serror_has_esr, 1);
        assert_eq!(events.ext_dabt_pending, 0);
        assert_eq!(events.serror_esr, if byte == 0 { 0x100_0000 } else { 0 });
    }
    // A syndrome beyond the ISS.
    let program = Program::new();
    let vm = program.create_vm();
    let vcpu = program.create_vcpu(vm, 0);
    program.init(vm, vcpu);
    let mut events = kvm_vcpu_events::default();
    events.exception.serror_pending = 1;
    events.exception.serror_has_esr = 1;
    events.exception.serror_esr = 1 << 25;
    let set = program.with(vcpu, arm64::KVM_SET_VCPU_EVENTS, &mut events);
    assert_eq!(set, Err(Errno::EINVAL));
}

#[test]
fn irq_lines() {
    let program = Program::new();
    let vm = program.create_vm();
    program.create_vcpu(vm, 0);
    program.create_vcpu(vm, 300);
    let line = |irq| {
        let mut level = kvm_irq_level { irq, level: 1 };
        program.with(vm, request::KVM_IRQ_LINE, &mut level)
    };
    for (kind, expected) in [
        (0, OK),
        (1, Err(Errno::ENXIO)),
        (2, Err(Errno::ENXIO)),
        (3, Err(Errno::EINVAL)),
        (4, Err(Errno::EINVAL)),
    ] {
        for number in 0..2 {
            let irq = kind << irq_line::KVM_ARM_IRQ_TYPE_SHIFT | number;
            assert_eq!(line(irq), expected, "{kind} {number}");
        }
    }
    assert_eq!(line(2), Err(Errno::EINVAL), "neither IRQ nor FIQ");
    assert_eq!(line(1 << 16), Err(Errno::EINVAL), "no such vCPU");
    assert_eq!(line(1 << 28 | 44 << 16), OK, "vCPU 300");
}

#[test]
fn enable_cap() {
    let program = Program::new();
    let vm = program.create_vm();
    for capability in 0..300 {
        let mut enable = kvm_enable_cap {
            cap: capability,
            ..kvm_enable_cap::default()
        };
        let result = program.with(vm, request::KVM_ENABLE_CAP, &mut enable);
        let known = [168, 177, 182, 216].contains(&capability);
        assert_eq!(
            result,
            if known { OK } else { Err(Errno::EINVAL) },
            "{capability}"
        );
        enable.flags = 1;
        let result = program.with(vm, request::KVM_ENABLE_CAP, &mut enable);
        assert_eq!(result, Err(Errno::EINVAL));
    }
    let dirty_log = |argument| {
        let mut enable = kvm_enable_cap {
            cap: cap::KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
            args: [argument, 0, 0, 0],
            ..kvm_enable_cap::default()
        };
        program.with(vm, request::KVM_ENABLE_CAP, &mut enable)
    };
    assert_eq!(dirty_log(3), OK);
    assert_eq!(dirty_log(1), OK);
    assert_eq!(
        dirty_log(2),
        Err(Errno::EINVAL),
        "initially set without manual"
    );
    assert_eq!(dirty_log(4), Err(Errno::EINVAL));
    assert_eq!(dirty_log(0), OK);
}

#[test]
fn counter_offset() {
    let program = Program::new();
    let vm = program.create_vm();
    let mut offset = kvm_arm_counter_offset {
        counter_offset: 5,
        reserved: 0,
    };
    let set = |offset: &mut _| program.with(vm, arm64::KVM_ARM_SET_COUNTER_OFFSET, offset);
    assert_eq!(set(&mut offset), OK);
    offset.reserved = 1;
    assert_eq!(set(&mut offset), Err(Errno::EINVAL));
}

/// The probe's "memory region" lines.
#[test]
fn memory_regions() {
    let memory = Memory::new(0x20000);
    let good = kvm_userspace_memory_region {
        slot: 2,
        flags: 0,
        guest_phys_addr: 0x6000_0000,
        memory_size: 0x10000,
        userspace_addr: memory.start as u64,
    };
    let program = Program::new();
    let set = |vm, region: &kvm_userspace_memory_region| {
        let mut region = *region;
        program.with(vm, request::KVM_SET_USER_MEMORY_REGION, &mut region)
    };
    let fresh = |change: fn(&mut kvm_userspace_memory_region)| {
        let vm = program.create_vm();
        let mut other = good;
        (other.slot, other.guest_phys_addr) = (0, CODE);
        assert_eq!(set(vm, &other), OK);
        let mut region = good;
        change(&mut region);
        set(vm, &region)
    };
    assert_eq!(fresh(|_| ()), OK);
    assert_eq!(fresh(|r| r.guest_phys_addr += 0x200), Err(Errno::EINVAL));
    assert_eq!(fresh(|r| r.memory_size += 0x200), Err(Errno::EINVAL));
    assert_eq!(fresh(|r| r.userspace_addr += 0x200), Err(Errno::EINVAL));
    assert_eq!(fresh(|r| r.guest_phys_addr = CODE), Err(Errno::EEXIST));
    assert_eq!(fresh(|r| r.flags = 0x80), Err(Errno::EINVAL));
    assert_eq!(fresh(|r| r.slot = 40000), Err(Errno::EINVAL));
    assert_eq!(fresh(|r| r.slot = 1 << 16 | 2), Err(Errno::EINVAL));
    assert_eq!(fresh(|r| r.guest_phys_addr = 1 << 40), Err(Errno::EFAULT));
    assert_eq!(
        fresh(|r| r.guest_phys_addr = 0u64.wrapping_sub(0x8000)),
        Err(Errno::EINVAL)
    );

    let vm = program.create_vm();
    let mut region = good;
    assert_eq!(set(vm, &region), OK);
    region.guest_phys_addr += 0x100000;
    assert_eq!(set(vm, &region), OK, "moved");
    region.memory_size += 0x1000;
    assert_eq!(set(vm, &region), Err(Errno::EINVAL), "resized");
    region.memory_size -= 0x1000;
    region.userspace_addr += 0x1000;
    assert_eq!(set(vm, &region), Err(Errno::EINVAL), "other host address");
    region.userspace_addr -= 0x1000;
    region.flags = MemFlags::READONLY.bits();
    assert_eq!(set(vm, &region), Err(Errno::EINVAL), "made read-only");
    region.flags = MemFlags::LOG_DIRTY_PAGES.bits();
    assert_eq!(set(vm, &region), OK, "made logging");
    region.memory_size = 0;
    assert_eq!(set(vm, &region), OK, "removed");
    assert_eq!(set(vm, &region), Err(Errno::EINVAL), "removed again");

    let mut region2 = kvm_userspace_memory_region2 {
        slot: 3,
        flags: MemFlags::GUEST_MEMFD.bits(),
        guest_phys_addr: 0x7000_0000,
        memory_size: 0x1000,
        userspace_addr: memory.start as u64,
        ..kvm_userspace_memory_region2::default()
    };
    let set2 = |region: &mut _| program.with(vm, request::KVM_SET_USER_MEMORY_REGION2, region);
    assert_eq!(
        set2(&mut region2),
        Err(Errno::EINVAL),
        "no guest_memfd on arm64"
    );
    region2.flags = 0;
    assert_eq!(set2(&mut region2), OK);
}

/// No argument of any ioctl can do more than fail, with an errno of the row.
#[test]
fn every_row_survives_arguments_that_are_nonsense() {
    for guest in Guest::ALL {
        let system = match guest {
            Guest::Arm64 => Kvm::new().unwrap(),
            Guest::X86_64 => Kvm::x86(understudy_kvm::x86::Proposals::all()),
        };
        survives_nonsense(guest, &Program::on(system));
    }
}

fn survives_nonsense(guest: Guest, program: &Program) {
    let vm = program.create_vm();
    if guest == Guest::X86_64 {
        let create = request::KVM_CREATE_IRQCHIP;
        assert_eq!(program.call(vm, create, 0), OK);
    }
    let vcpu = program.create_vcpu(vm, 0);
    if guest == Guest::Arm64 {
        program.init(vm, vcpu);
    }
    let mut page = vec![0u64; 1024];
    for row in table::rows(guest) {
        let fd = match row.kind() {
            Kind::System => SYSTEM,
            Kind::Vm => vm,
            _ => vcpu,
        };
        let takes_pointer = request::size(row.request) > 0;
        for bad in [
            1,
            8,
            0xfff,
            1 << 47,
            1 << 62,
            1 << 63,
            u64::MAX - 3,
            u64::MAX,
        ] {
            let result = program.call(fd, row.request, bad);
            if takes_pointer && row.errnos.iter().all(|(errno, _)| *errno != Errno::ENXIO) {
                assert_eq!(result, Err(Errno::EFAULT), "{} {bad:#x}", row.name);
            }
        }
        // The last byte of the structure is not there.
        let edge = Memory::with_hole(4096);
        let end = edge.start as u64 + 4096;
        let size = request::size(row.request) as u64;
        let reads = row.request >> 30 & 1 != 0;
        if takes_pointer && reads && row.errnos.iter().all(|(errno, _)| *errno != Errno::ENXIO) {
            let result = program.call(fd, row.request, end - size + 1);
            assert_eq!(result, Err(Errno::EFAULT), "{}", row.name);
        }
        // Bytes that mean nothing, and pointers inside that lead nowhere. Not for those that
        // would have the guest run or sleep.
        if row.request == request::KVM_RUN || row.request == request::KVM_SET_MP_STATE {
            continue;
        }
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..200 {
            for word in &mut page {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                *word = match seed % 4 {
                    0 => 0,
                    1 => seed & 0xff,
                    2 => 1 << (seed % 64),
                    _ => seed,
                };
            }
            if !takes_pointer && page[0] < 600 {
                continue;
            }
            let arg = match takes_pointer {
                true => page.as_mut_ptr() as u64,
                false => page[0],
            };
            let _ = program.call(fd, row.request, arg);
        }
    }
}
