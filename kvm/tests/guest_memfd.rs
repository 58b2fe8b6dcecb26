//! guest_memfd and memory attributes, on VMs of the default type: what kvm_amd of Linux 6.12.117 gave
//! for the same calls.

mod common;

use std::os::fd::AsRawFd;

use common::{Memory, Program, SYSTEM};
use understudy_abi::cap;
use understudy_abi::common::{
    MemFlags, kvm_create_guest_memfd, kvm_memory_attributes, kvm_userspace_memory_region2,
};
use understudy_abi::ioctl as request;
use understudy_kvm::x86::Proposals;
use understudy_kvm::{Errno, GuestMemfd, Kvm, Object};

const OK: Result<i64, Errno> = Ok(0);

fn program() -> (Program, i32) {
    let program = Program::on(Kvm::x86(Proposals::empty()));
    let vm = program.create_vm();
    (program, vm)
}

fn create(program: &Program, vm: i32, size: u64, flags: u64) -> Result<i32, Errno> {
    let mut args = kvm_create_guest_memfd {
        size,
        flags,
        ..kvm_create_guest_memfd::default()
    };
    let made = program.with(vm, request::KVM_CREATE_GUEST_MEMFD, &mut args)?;
    Ok(made as i32)
}

fn memfd(program: &Program, fd: i32) -> std::sync::Arc<GuestMemfd> {
    match program.object(fd) {
        Object::GuestMemfd(memfd) => memfd,
        other => panic!("{other:?}"),
    }
}

fn stat(fd: i32) -> libc::stat {
    // SAFETY: zeros are a stat, and it is there to be written.
    unsafe {
        let mut stat = std::mem::zeroed();
        assert_eq!(libc::fstat(fd, &mut stat), 0);
        stat
    }
}

#[test]
fn the_system_has_what_its_vms_have_not() {
    let (program, vm) = program();
    let check =
        |fd, capability: u32| program.call(fd, request::KVM_CHECK_EXTENSION, capability.into());
    for (capability, of_system, of_vm) in [
        (cap::KVM_CAP_GUEST_MEMFD, 1, 0),
        (cap::KVM_CAP_MEMORY_ATTRIBUTES, 8, 0),
        (cap::KVM_CAP_VM_TYPES, 1, 1),
        (cap::KVM_CAP_USER_MEMORY2, 1, 1),
    ] {
        assert_eq!(check(SYSTEM, capability), Ok(of_system));
        assert_eq!(check(vm, capability), Ok(of_vm));
    }
}

#[test]
fn sizes_and_flags_that_cannot_be_are_einval() {
    let (program, vm) = program();
    for size in [0, 1, 4095, 4097, 1 << 63, u64::MAX, u64::MAX - 4095] {
        assert_eq!(
            create(&program, vm, size, 0),
            Err(Errno::EINVAL),
            "{size:#x}"
        );
    }
    for flags in [1, 2, 1 << 63, u64::MAX] {
        assert_eq!(create(&program, vm, 4096, flags), Err(Errno::EINVAL));
    }
    let null = program.call(vm, request::KVM_CREATE_GUEST_MEMFD, 0);
    assert_eq!(null, Err(Errno::EFAULT));
    assert!(create(&program, vm, (1 << 63) - 4096, 0).is_ok());
}

#[test]
fn descriptors_are_files_of_that_size() {
    let (program, vm) = program();
    let first = create(&program, vm, 0x4000, 0).unwrap();
    let second = create(&program, vm, 0x8000, 0).unwrap();
    let (a, b) = (stat(first), stat(second));
    assert_eq!((a.st_size, b.st_size), (0x4000, 0x8000));
    assert_eq!((a.st_mode, a.st_blksize, a.st_blocks), (0o100_600, 4096, 0));
    assert_ne!(a.st_ino, b.st_ino);
    // SAFETY: no condition.
    let flags = unsafe { libc::fcntl(program.fd(first).as_raw_fd(), libc::F_GETFD) };
    assert_eq!(flags, 0, "it stays open over exec");
    let ioctl = program.call(first, request::KVM_CHECK_EXTENSION, 0);
    assert_eq!(ioctl, Err(Errno::ENOTTY));
}

#[test]
fn fallocate_takes_whole_pages() {
    const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
    const PUNCH: i32 = KEEP | libc::FALLOC_FL_PUNCH_HOLE;
    let (program, vm) = program();
    let memfd = memfd(&program, create(&program, vm, 0x4000, 0).unwrap());
    let unsupported = Err(Errno::EOPNOTSUPP);
    for (mode, offset, length, expected) in [
        (0, 0, 0x1000, unsupported),
        (KEEP, 0, 0x4000, Ok(())),
        (KEEP, 0, 0x5000, Err(Errno::EINVAL)),
        (KEEP, 0x4000, 0x1000, Err(Errno::EINVAL)),
        (KEEP, 1, 0x1000, Err(Errno::EINVAL)),
        (KEEP, 0, 1, Err(Errno::EINVAL)),
        (KEEP, 0, 0, Err(Errno::EINVAL)),
        (KEEP, -0x1000, 0x1000, Err(Errno::EINVAL)),
        (KEEP, 0, -0x1000, Err(Errno::EINVAL)),
        (PUNCH, 0, 0x1000, Ok(())),
        (PUNCH, 0x4000, 0x1000, Ok(())),
        (PUNCH, 0x5000, 0x1000, Ok(())),
        (PUNCH, 0xfff, 0x1000, Err(Errno::EINVAL)),
        (PUNCH, 0x1000, 0xfff, Err(Errno::EINVAL)),
        (PUNCH, 0, 0, Err(Errno::EINVAL)),
        (libc::FALLOC_FL_PUNCH_HOLE, 0, 0x1000, unsupported),
        (KEEP | libc::FALLOC_FL_ZERO_RANGE, 0, 0x1000, unsupported),
        (libc::FALLOC_FL_COLLAPSE_RANGE, 0, 0x1000, unsupported),
        (KEEP | 0x1000, 0, 0x1000, unsupported),
        (-1, 0, 0x1000, unsupported),
        (KEEP, i64::MAX - 0xfff, 0x1000, Err(Errno::EFBIG)),
        (KEEP, i64::MAX - 0x1fff, 0x1000, Err(Errno::EINVAL)),
        (PUNCH, i64::MAX, i64::MAX, Err(Errno::EFBIG)),
    ] {
        let result = memfd.fallocate(mode, offset, length);
        assert_eq!(result, expected, "{mode:#x} {offset:#x} {length:#x}");
    }
}

#[test]
fn no_slot_is_bound_to_one() {
    let (program, vm) = program();
    let fd = create(&program, vm, 0x4000, 0).unwrap();
    let memory = Memory::new(0x4000);
    let bind = |flags: MemFlags, guest_memfd| {
        let mut region = kvm_userspace_memory_region2 {
            flags: flags.bits(),
            memory_size: 0x4000,
            userspace_addr: memory.start as u64,
            guest_memfd,
            ..kvm_userspace_memory_region2::default()
        };
        program.with(vm, request::KVM_SET_USER_MEMORY_REGION2, &mut region)
    };
    let log = MemFlags::LOG_DIRTY_PAGES;
    assert_eq!(bind(MemFlags::GUEST_MEMFD, fd as u32), Err(Errno::EINVAL));
    assert_eq!(
        bind(MemFlags::GUEST_MEMFD | log, fd as u32),
        Err(Errno::EINVAL)
    );
    assert_eq!(bind(MemFlags::GUEST_MEMFD, u32::MAX), Err(Errno::EINVAL));
    assert_eq!(bind(log, u32::MAX), OK, "not looked at without the flag");
}

#[test]
fn there_are_no_attributes_to_set() {
    let (program, vm) = program();
    let set = |address: u64, size, attributes, flags| {
        let mut args = kvm_memory_attributes {
            address,
            size,
            attributes,
            flags,
        };
        program.with(vm, request::KVM_SET_MEMORY_ATTRIBUTES, &mut args)
    };
    const EINVAL: Result<i64, Errno> = Err(Errno::EINVAL);
    assert_eq!(set(0, 4096, 0, 0), OK);
    assert_eq!(set(1 << 60, 1 << 40, 0, 0), OK);
    assert_eq!(set(u64::MAX - 8191, 4096, 0, 0), OK);
    for attributes in [1, 8, u64::MAX] {
        assert_eq!(set(0, 4096, attributes, 0), EINVAL);
    }
    assert_eq!(set(0, 4096, 0, 1), EINVAL);
    assert_eq!(set(0, 0, 0, 0), EINVAL);
    assert_eq!(set(1, 4096, 0, 0), EINVAL);
    assert_eq!(set(0, 1, 0, 0), EINVAL);
    assert_eq!(set(u64::MAX - 4095, 4096, 0, 0), EINVAL);
    assert_eq!(set(u64::MAX - 4095, 8192, 0, 0), EINVAL);
    let null = program.call(vm, request::KVM_SET_MEMORY_ATTRIBUTES, 0);
    assert_eq!(null, Err(Errno::EFAULT));
}

/// The configurations of KVM that there are have this on x86-64 alone.
#[test]
fn arm64_has_none_of_it() {
    let program = Program::new();
    let vm = program.create_vm();
    assert_eq!(create(&program, vm, 4096, 0), Err(Errno::EINVAL));
    let attributes = program.call(vm, request::KVM_SET_MEMORY_ATTRIBUTES, 0);
    assert_eq!(attributes, Err(Errno::EINVAL));
}
