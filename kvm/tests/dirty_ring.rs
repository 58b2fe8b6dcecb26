//! Dirty rings (api.rst 8.29): what kvm_amd of Linux 6.12.117 gave for the same calls, and that no
//! store is lost between a guest and who harvests its rings.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::{CODE, HOLE, Mapping, Memory, Program, SYSTEM};
use understudy_abi::arm64::reg::core;
use understudy_abi::common::*;
use understudy_abi::ioctl as request;
use understudy_abi::run::{Page, Run};
use understudy_abi::x86::{kvm_regs, kvm_sregs};
use understudy_abi::{PAGE_SIZE, cap, exit};
use understudy_kvm::x86::Proposals;
use understudy_kvm::{Errno, Kvm, Object, VcpuExit, VcpuFd, VmFd};

const OK: Result<i64, Errno> = Ok(0);
const EINVAL: Result<i64, Errno> = Err(Errno::EINVAL);
const MAX: u64 = 1 << 20;
/// 256 entries, of which 64 are reserved.
const SMALL: u64 = 4096;
const OFFSET: usize = KVM_DIRTY_LOG_PAGE_OFFSET * PAGE_SIZE;

fn x86() -> (Program, i32) {
    let program = Program::on(Kvm::x86(Proposals::empty()));
    let vm = program.create_vm();
    (program, vm)
}

fn enable(program: &Program, vm: i32, cap: u32, flags: u32, argument: u64) -> Result<i64, Errno> {
    let mut cap = kvm_enable_cap {
        cap,
        flags,
        args: [argument, 0, 0, 0],
        ..kvm_enable_cap::default()
    };
    program.with(vm, request::KVM_ENABLE_CAP, &mut cap)
}

fn reset(program: &Program, vm: i32) -> Result<i64, Errno> {
    program.call(vm, request::KVM_RESET_DIRTY_RINGS, 0)
}

/// A program's mapping of a vCPU's ring.
struct Ring {
    mapping: Run<Mapping>,
    entries: usize,
}

impl Ring {
    fn new(fd: std::os::fd::BorrowedFd<'_>, size: usize) -> Ring {
        let mapping = Run(Mapping::of(fd, OFFSET + size));
        let entries = size / 16;
        Ring { mapping, entries }
    }

    fn entry(&self, index: usize) -> kvm_dirty_gfn {
        self.mapping.read(OFFSET + 16 * index)
    }

    fn set_flags(&self, index: usize, flags: u32) {
        self.mapping.write(OFFSET + 16 * index, &flags);
    }

    fn dirty(&self) -> Vec<u64> {
        (0..self.entries)
            .map(|index| self.entry(index))
            .filter(|entry| entry.flags == KVM_DIRTY_GFN_F_DIRTY)
            .map(|entry| entry.offset)
            .collect()
    }

    /// Marks all dirty entries as harvested.
    fn harvest(&self) {
        for index in 0..self.entries {
            if self.entry(index).flags == KVM_DIRTY_GFN_F_DIRTY {
                self.set_flags(index, KVM_DIRTY_GFN_F_RESET);
            }
        }
    }
}

#[test]
fn capabilities_are_per_architecture() {
    let arm64 = (Program::new(), [0, MAX as i64, 1]);
    let x86 = (x86().0, [MAX as i64, MAX as i64, 0]);
    for (program, values) in [arm64, x86] {
        let caps = [
            cap::KVM_CAP_DIRTY_LOG_RING,
            cap::KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
            cap::KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP,
        ];
        let vm = program.create_vm();
        for (capability, value) in caps.into_iter().zip(values) {
            for fd in [SYSTEM, vm] {
                let check = program.call(fd, request::KVM_CHECK_EXTENSION, capability.into());
                assert_eq!(check, Ok(value));
            }
            let enabled = enable(&program, vm, capability, 0, 0);
            assert_eq!(enabled, EINVAL, "no size, no ring");
        }
    }
}

#[test]
fn sizes_are_powers_of_two_from_a_page_to_the_capability() {
    let (program, vm) = x86();
    let ring = cap::KVM_CAP_DIRTY_LOG_RING;
    for size in [0, 1, 1024, 2048, 5000, 3 << 20, 1 << 32, u64::MAX] {
        assert_eq!(enable(&program, vm, ring, 0, size), EINVAL, "{size:#x}");
    }
    for size in [2 << 20, 1 << 31] {
        let enabled = enable(&program, vm, ring, 0, size);
        assert_eq!(enabled, Err(Errno::E2BIG), "{size:#x}");
    }
    assert_eq!(reset(&program, vm), EINVAL, "nothing has been enabled");
    // Neither flags nor the argument's upper half are looked at.
    let acquire = cap::KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
    assert_eq!(enable(&program, vm, acquire, 7, 1 << 32 | SMALL), OK);
    for (size, errno) in [
        (SMALL, EINVAL),
        (2048, EINVAL),
        (2 << 20, Err(Errno::E2BIG)),
    ] {
        assert_eq!(enable(&program, vm, ring, 0, size), errno, "once only");
    }
    assert_eq!(reset(&program, vm), OK);
    let reset = request::KVM_RESET_DIRTY_RINGS;
    assert_eq!(
        program.call(vm, reset, 1),
        OK,
        "the argument is not looked at"
    );
    let vcpu = program.create_vcpu(vm, 0);
    for fd in [SYSTEM, vcpu] {
        assert_eq!(program.call(fd, reset, 0), EINVAL);
    }
    let size = program.call(SYSTEM, request::KVM_GET_VCPU_MMAP_SIZE, 0);
    assert_eq!(size, Ok(3 * PAGE_SIZE as i64), "as without rings");
}

#[test]
fn vcpus_are_made_after_the_rings_are_settled() {
    let (program, vm) = x86();
    program.create_vcpu(vm, 0);
    let ring = cap::KVM_CAP_DIRTY_LOG_RING;
    assert_eq!(enable(&program, vm, ring, 0, SMALL), EINVAL);
    assert_eq!(reset(&program, vm), EINVAL);
}

#[test]
fn the_log_is_enxio() {
    let (program, vm) = x86();
    let memory = Memory::new(0x10000);
    program.slot(vm, 0, 1, 0, &memory);
    let mut words = [0u64; 8];
    let get = |slot| {
        let mut log = kvm_dirty_log {
            slot,
            dirty_bitmap: words.as_ptr() as u64,
            ..kvm_dirty_log::default()
        };
        program.with(vm, request::KVM_GET_DIRTY_LOG, &mut log)
    };
    assert_eq!(get(0), OK);
    let ring = cap::KVM_CAP_DIRTY_LOG_RING;
    assert_eq!(enable(&program, vm, ring, 0, MAX), OK);
    for slot in [0, 1, 77777] {
        assert_eq!(get(slot), Err(Errno::ENXIO));
    }
    let mut clear = kvm_clear_dirty_log {
        first_page: 1,
        dirty_bitmap: words.as_mut_ptr() as u64,
        ..kvm_clear_dirty_log::default()
    };
    let cleared = program.with(vm, request::KVM_CLEAR_DIRTY_LOG, &mut clear);
    assert_eq!(cleared, Err(Errno::ENXIO));
    for request in [request::KVM_GET_DIRTY_LOG, request::KVM_CLEAR_DIRTY_LOG] {
        assert_eq!(program.call(vm, request, 0), Err(Errno::EFAULT));
    }
}

/// Whoever maps for a program asks which mappings KVM refuses unless they are shared and not
/// executable: those that begin or end in the ring.
#[test]
fn mappings_of_the_ring_are_known() {
    let (program, vm) = x86();
    let ring = cap::KVM_CAP_DIRTY_LOG_RING;
    assert_eq!(enable(&program, vm, ring, 0, SMALL), OK);
    let Object::Vcpu(vcpu) = program.object(program.create_vcpu(vm, 0)) else {
        panic!("a vCPU");
    };
    let at = OFFSET as u64;
    for (offset, length, expected) in [
        (at, 1, true),
        (at, 4096, true),
        (at, 1 << 20, true),
        (at - 4096, 8192, true),
        (at - 4096, 12288, false),
        (at + 4096, 4096, false),
        (at - 4096, 4096, false),
        (0, 4096, false),
        (u64::MAX, usize::MAX, false),
    ] {
        let maps = vcpu.maps_dirty_ring(offset, length);
        assert_eq!(maps, expected, "{offset:#x} {length:#x}");
    }
    let other = program.create_vm();
    let Object::Vcpu(vcpu) = program.object(program.create_vcpu(other, 0)) else {
        panic!("a vCPU");
    };
    assert!(!vcpu.maps_dirty_ring(at, 4096), "it has none");
}

/// Real mode: writes a byte to each of 250 pages from 0x1000 on.
const PAGES: &[u8] = &[
    0xb8, 0x00, 0x01, // 0: mov ax, 0x100
    0xb9, 0xfa, 0x00, // 3: mov cx, 250
    0x8e, 0xd8, // 6: mov ds, ax
    0xa2, 0x00, 0x00, // 8: mov [0], al
    0x05, 0x00, 0x01, // b: add ax, 0x100
    0xe2, 0xf6, // e: loop 6
    0xf4, // 10: hlt
];

struct Guest {
    program: Program,
    vm: i32,
    vcpu: i32,
    ring: Ring,
    _memory: Memory,
}

impl Guest {
    fn new(code: &[u8]) -> Guest {
        let (program, vm) = x86();
        let ring = cap::KVM_CAP_DIRTY_LOG_RING;
        assert_eq!(enable(&program, vm, ring, 0, SMALL), OK);
        let memory = Memory::new(1 << 20);
        for (at, byte) in code.iter().enumerate() {
            // SAFETY: within the mapping, which the guest does not have yet.
            unsafe { memory.start.add(at).write_volatile(*byte) };
        }
        program.slot(vm, 3, 1, 0, &memory);
        let vcpu = program.create_vcpu(vm, 0);
        let ring = Ring::new(program.fd(vcpu), SMALL as usize);
        let guest = Guest {
            program,
            vm,
            vcpu,
            ring,
            _memory: memory,
        };
        let mut sregs = kvm_sregs::default();
        guest.with(request::x86::KVM_GET_SREGS, &mut sregs);
        sregs.cs.base = 0;
        sregs.cs.selector = 0;
        guest.with(request::x86::KVM_SET_SREGS, &mut sregs);
        guest.start();
        guest
    }

    fn with<T>(&self, request: u32, value: &mut T) {
        self.program.with(self.vcpu, request, value).unwrap();
    }

    fn start(&self) {
        let mut regs = kvm_regs {
            rflags: 2,
            ..kvm_regs::default()
        };
        self.with(request::x86::KVM_SET_REGS, &mut regs);
    }

    fn enter(&self) -> Result<u32, Errno> {
        self.program.call(self.vcpu, request::KVM_RUN, 0)?;
        Ok(self.ring.mapping.exit_reason())
    }

    fn reset(&self) -> Result<i64, Errno> {
        reset(&self.program, self.vm)
    }
}

const FULL: Result<u32, Errno> = Ok(exit::KVM_EXIT_DIRTY_RING_FULL);
const HLT: Result<u32, Errno> = Ok(exit::KVM_EXIT_HLT);

/// The reference's vCPU leaves with 192 entries too, the last of which it has not written yet and is
/// told of again when it is.
#[test]
fn a_full_ring_stops_the_vcpu_until_it_is_reset() {
    let guest = Guest::new(PAGES);
    assert_eq!(guest.enter(), FULL);
    assert_eq!(guest.ring.dirty(), (1..=192).collect::<Vec<u64>>());
    assert_eq!(guest.ring.entry(0).slot, 3);
    assert_eq!(guest.enter(), FULL, "as long as it is full");
    let run = &guest.ring.mapping;
    run.0.store(understudy_abi::run::IMMEDIATE_EXIT, &[1]);
    assert_eq!(guest.enter(), Err(Errno::EINTR));
    run.0.store(understudy_abi::run::IMMEDIATE_EXIT, &[0]);

    assert_eq!(guest.reset(), OK, "nothing is harvested");
    guest.ring.set_flags(1, KVM_DIRTY_GFN_F_RESET);
    assert_eq!(guest.reset(), OK, "not in order");
    guest
        .ring
        .set_flags(0, KVM_DIRTY_GFN_F_DIRTY | KVM_DIRTY_GFN_F_RESET);
    assert_eq!(guest.reset(), Ok(2));
    let flags: Vec<u32> = (0..3).map(|n| guest.ring.entry(n).flags).collect();
    assert_eq!(flags, [0, 0, 1]);

    assert_eq!(guest.enter(), FULL);
    assert_eq!(guest.ring.dirty(), (3..=194).collect::<Vec<u64>>());
    guest.ring.harvest();
    assert_eq!(guest.reset(), Ok(192));
    assert_eq!(guest.enter(), HLT);
    // The ring wraps around: the last pages are at its beginning too.
    let mut rest = guest.ring.dirty();
    rest.sort_unstable();
    assert_eq!(rest, (195..=250).collect::<Vec<u64>>());
}

/// A page whose entry has not been reset is not told of again, however often it is written and whatever
/// is reset beside it.
#[test]
fn pages_are_told_of_once() {
    let mut code = PAGES.to_vec();
    code[4] = 100;
    let guest = Guest::new(&code);
    for _ in 0..2 {
        guest.start();
        assert_eq!(guest.enter(), HLT);
        assert_eq!(guest.ring.dirty().len(), 100);
    }
    for index in 0..40 {
        guest.ring.set_flags(index, KVM_DIRTY_GFN_F_RESET);
    }
    assert_eq!(guest.reset(), Ok(40));
    guest.start();
    assert_eq!(guest.enter(), HLT);
    assert_eq!(guest.ring.dirty().len(), 100, "60 old ones and 40 new ones");
    let mut pages = guest.ring.dirty();
    pages.sort_unstable();
    assert_eq!(pages, (1..=100).collect::<Vec<u64>>());
}

/// User space makes nonsense of the ring: it harms itself alone.
#[test]
fn a_broken_ring_neither_crashes_nor_hangs() {
    let guest = Guest::new(PAGES);
    assert_eq!(guest.enter(), FULL);
    for index in 0..256 {
        let nonsense = kvm_dirty_gfn {
            flags: u32::MAX,
            slot: index as u32 * 0x1001,
            offset: u64::MAX >> (index % 64),
        };
        guest.ring.mapping.write(OFFSET + 16 * index, &nonsense);
    }
    // As in KVM, each entry is taken, those too that were never filled.
    assert_eq!(guest.reset(), Ok(256));
    assert_eq!(guest.reset(), OK);
    assert_eq!(guest.enter(), FULL);
    assert_eq!(guest.enter(), FULL);
}

/// An instruction that writes many pages stops in the middle, and goes on there.
#[test]
fn a_repeated_store_goes_on_where_the_ring_was_full() {
    // 32-bit string stores with 16-bit addresses reach 16 pages each; the segment moves on.
    let code = [
        0xb8, 0x00, 0x10, // 0: mov ax, 0x1000
        0x8e, 0xc0, // 3: mov es, ax
        0x31, 0xff, // 5: xor di, di
        0xb9, 0x00, 0x40, // 7: mov cx, 0x4000
        0x66, 0xf3, 0xab, // a: rep stosd
        0x05, 0x00, 0x10, // d: add ax, 0x1000
        0x75, 0xf1, // 10: jnz 3
        0xf4, // 12: hlt
    ];
    let guest = Guest::new(&code);
    assert_eq!(guest.enter(), FULL);
    let first = guest.ring.dirty();
    assert_eq!(first, (16..16 + 192).collect::<Vec<u64>>());
    guest.ring.harvest();
    assert_eq!(guest.reset(), Ok(192));
    assert_eq!(guest.enter(), HLT);
    let mut rest = guest.ring.dirty();
    rest.sort_unstable();
    rest.dedup();
    assert_eq!(rest.last(), Some(&255));
    let missing = (16..256).filter(|page| !first.contains(page) && !rest.contains(page));
    assert_eq!(missing.count(), 0);
}

/// Two vCPUs count on the same pages, each in its own word, while their rings are harvested. What was
/// looked at after the reset that followed an entry is, in the end, what the pages hold.
#[test]
fn no_store_is_lost_to_who_harvests() {
    const PAGES: usize = 200;
    const ROUNDS: u64 = 1500;
    const CODE: &[u8] = &[
        0xb8, 0x00, 0x01, // 0: mov ax, 0x100
        0xb9, 0xc8, 0x00, // 3: mov cx, 200
        0x8e, 0xd8, // 6: mov ds, ax
        0xff, 0x05, // 8: inc word [di]
        0x05, 0x00, 0x01, // a: add ax, 0x100
        0xe2, 0xf7, // d: loop 6
        0x4d, // f: dec bp
        0x75, 0xee, // 10: jnz 0
        0xf4, // 12: hlt
    ];
    let vm: VmFd = Kvm::x86(Proposals::empty()).create_vm().unwrap();
    vm.enable_cap(&kvm_enable_cap {
        cap: cap::KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
        args: [SMALL, 0, 0, 0],
        ..kvm_enable_cap::default()
    })
    .unwrap();
    let memory = Memory::new(1 << 20);
    for (at, byte) in CODE.iter().enumerate() {
        // SAFETY: within the mapping, which the guest does not have yet.
        unsafe { memory.start.add(at).write_volatile(*byte) };
    }
    let region = kvm_userspace_memory_region {
        flags: MemFlags::LOG_DIRTY_PAGES.bits(),
        memory_size: memory.size as u64,
        userspace_addr: memory.start as u64,
        ..kvm_userspace_memory_region::default()
    };
    // SAFETY: the memory is the guest's until the test ends, and read by volatile accesses.
    unsafe { vm.set_user_memory_region(region) }.unwrap();
    let vcpus: Vec<VcpuFd> = (0..2u64)
        .map(|id| {
            let vcpu = vm.create_vcpu(id).unwrap();
            let mut sregs = vcpu.get_sregs().unwrap();
            sregs.cs.base = 0;
            sregs.cs.selector = 0;
            vcpu.set_sregs(&sregs).unwrap();
            let regs = kvm_regs {
                rdi: 8 * id,
                rbp: ROUNDS,
                rflags: 2,
                ..kvm_regs::default()
            };
            vcpu.set_regs(&regs).unwrap();
            vcpu
        })
        .collect();
    let rings: Vec<Ring> = vcpus
        .iter()
        .map(|vcpu| Ring::new(std::os::fd::AsFd::as_fd(vcpu), SMALL as usize))
        .collect();
    let counts = |page: usize| {
        let word = |at| memory.word(page * PAGE_SIZE + at) as u16;
        [word(0), word(8)]
    };
    let mut seen = [[0u16; 2]; PAGES + 1];
    let mut next = [0usize; 2];
    let mut harvest = || {
        let mut pages = Vec::new();
        for (ring, next) in rings.iter().zip(&mut next) {
            loop {
                let index = *next % ring.entries;
                let entry = flags(ring, index);
                if entry.load(Ordering::Acquire) != KVM_DIRTY_GFN_F_DIRTY {
                    break;
                }
                pages.push(ring.entry(index).offset as usize);
                entry.store(KVM_DIRTY_GFN_F_RESET, Ordering::Release);
                *next += 1;
            }
        }
        assert_eq!(vm.reset_dirty_rings(), Ok(pages.len() as i32));
        for page in pages {
            seen[page] = counts(page);
        }
    };
    std::thread::scope(|scope| {
        let run = |mut vcpu: VcpuFd| {
            loop {
                match vcpu.run() {
                    Ok(VcpuExit::Hlt) => break,
                    Ok(VcpuExit::Unsupported(exit::KVM_EXIT_DIRTY_RING_FULL)) => {
                        std::thread::yield_now();
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        let threads: Vec<_> = vcpus
            .into_iter()
            .map(|vcpu| scope.spawn(move || run(vcpu)))
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            harvest();
        }
    });
    harvest();
    for (page, seen) in seen.into_iter().enumerate().skip(1) {
        assert_eq!(counts(page), [ROUNDS as u16; 2]);
        assert_eq!(seen, counts(page), "page {page}");
    }
}

/// The flags of an entry, as a program has them.
fn flags(ring: &Ring, index: usize) -> &AtomicU32 {
    let at = ring.mapping.0.at(OFFSET + 16 * index).cast::<AtomicU32>();
    // SAFETY: within the mapping, which lives as long as the ring; aligned.
    unsafe { &*at }
}

/// The same on an arm64 guest, with the bitmap that KVM has there beside the rings: what vCPUs write is
/// in the rings alone.
#[test]
fn arm64_has_a_bitmap_beside_the_rings() {
    let program = Program::new();
    let vm = program.create_vm();
    let with_bitmap = cap::KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP;
    let acquire = cap::KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
    let enable = |cap, flags, argument| enable(&program, vm, cap, flags, argument);
    assert_eq!(enable(with_bitmap, 0, 0), EINVAL, "there are no rings");
    assert_eq!(enable(cap::KVM_CAP_DIRTY_LOG_RING, 0, SMALL), EINVAL);
    assert_eq!(enable(acquire, 0, SMALL), OK);
    assert_eq!(enable(with_bitmap, 1, 0), EINVAL);
    let memory = Memory::new(1 << 20);
    program.slot(vm, 5, 1, CODE, &memory);
    assert_eq!(enable(with_bitmap, 0, 0), EINVAL, "there is a slot");
    let mut region = kvm_userspace_memory_region {
        slot: 5,
        ..kvm_userspace_memory_region::default()
    };
    let set = request::KVM_SET_USER_MEMORY_REGION;
    assert_eq!(program.with(vm, set, &mut region), OK);
    assert_eq!(enable(with_bitmap, 0, 0), OK);

    let vcpu = program.create_vcpu(vm, 0);
    let ring = Ring::new(program.fd(vcpu), SMALL as usize);
    program.init(vm, vcpu);
    // str x0, [x1]; add x1, x1, #0x1000; subs x2, x2, #1; b.ne .-12; str x0, [x3]
    memory.put(
        0,
        &[
            0xf900_0020,
            0x9140_0421,
            0xf100_0442,
            0x54ff_ffa1,
            0xf900_0060,
        ],
    );
    program.slot(vm, 5, 1, CODE, &memory);
    for (n, value) in [(1, CODE + 0x1000), (2, 250), (3, HOLE)] {
        program.set(vcpu, core::x(n), value).unwrap();
    }
    program.set(vcpu, core::PC, CODE).unwrap();
    let enter = || {
        assert_eq!(program.call(vcpu, request::KVM_RUN, 0), OK);
        ring.mapping.exit_reason()
    };
    assert_eq!(enter(), exit::KVM_EXIT_DIRTY_RING_FULL);
    assert_eq!(ring.dirty(), (1..=192).collect::<Vec<u64>>());
    assert_eq!(ring.entry(0).slot, 5);
    assert_eq!(enter(), exit::KVM_EXIT_DIRTY_RING_FULL);
    ring.harvest();
    assert_eq!(reset(&program, vm), Ok(192));
    assert_eq!(enter(), exit::KVM_EXIT_MMIO);
    assert_eq!(ring.dirty().len(), 58);
    let mut words = [u64::MAX; 4];
    let mut log = kvm_dirty_log {
        slot: 5,
        dirty_bitmap: words.as_mut_ptr() as u64,
        ..kvm_dirty_log::default()
    };
    assert_eq!(program.with(vm, request::KVM_GET_DIRTY_LOG, &mut log), OK);
    assert_eq!(words, [0; 4]);
}
