//! A program that calls ioctls: what the tests share.

#![allow(dead_code)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use understudy_abi::PAGE_SIZE;
use understudy_abi::arm64::kvm_vcpu_init;
use understudy_abi::arm64::reg::core;
use understudy_abi::common::{kvm_one_reg, kvm_userspace_memory_region};
use understudy_abi::ioctl as request;
use understudy_abi::ioctl::x86::{KVM_GET_SREGS, KVM_SET_REGS, KVM_SET_SREGS};
use understudy_abi::run::{Page, Run};
use understudy_abi::x86::{kvm_regs, kvm_sregs};
use understudy_kvm::{Descriptors, Errno, Kvm, Object, ioctl};

/// A program's table of descriptors.
#[derive(Default)]
pub struct Program {
    objects: RefCell<HashMap<i32, (Object, Option<OwnedFd>)>>,
}

impl Descriptors for Program {
    fn install(&self, object: Object, fd: OwnedFd) -> Result<i32, Errno> {
        let number = fd.as_fd().as_raw_fd();
        self.objects.borrow_mut().insert(number, (object, Some(fd)));
        Ok(number)
    }
}

/// The number of the system's descriptor.
pub const SYSTEM: i32 = -1;

impl Program {
    /// One that has `/dev/kvm` open.
    pub fn new() -> Program {
        Program::on(Kvm::new().unwrap())
    }

    /// One that has found this system there.
    pub fn on(system: Kvm) -> Program {
        let program = Program::default();
        let system = Object::System(system);
        program.objects.borrow_mut().insert(SYSTEM, (system, None));
        program
    }

    /// What a descriptor stands for.
    pub fn object(&self, fd: i32) -> Object {
        self.objects.borrow()[&fd].0.clone()
    }

    /// The descriptor itself.
    pub fn fd(&self, fd: i32) -> BorrowedFd<'static> {
        // SAFETY: the table keeps the descriptor open as long as the test runs.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// ioctl with a number. If the row does not have the errno, the test fails.
    pub fn call(&self, fd: i32, request: u32, arg: u64) -> Result<i64, Errno> {
        let object = self.object(fd);
        let result = ioctl(&object, self, request, arg);
        match (
            result,
            understudy_kvm::table::find(object.guest(), object.kind(), request),
        ) {
            (Err(errno), Some(row)) => assert!(
                row.errnos.iter().any(|(of, _)| *of == errno),
                "{} gives {errno:?}, which its row does not have",
                row.name
            ),
            (result, None) => {
                let unknown = understudy_kvm::table::unknown(object.guest(), object.kind());
                assert_eq!(result, Err(unknown), "{request:#x}");
            }
            _ => {}
        }
        result
    }

    /// ioctl with a pointer to a structure.
    pub fn with<T>(&self, fd: i32, request: u32, value: &mut T) -> Result<i64, Errno> {
        self.call(fd, request, &raw mut *value as u64)
    }

    pub fn create_vm(&self) -> i32 {
        self.call(SYSTEM, request::KVM_CREATE_VM, 0).unwrap() as i32
    }

    pub fn create_vcpu(&self, vm: i32, id: u64) -> i32 {
        self.call(vm, request::KVM_CREATE_VCPU, id).unwrap() as i32
    }

    pub fn init(&self, vm: i32, vcpu: i32) {
        let mut init = kvm_vcpu_init::default();
        self.with(vm, request::arm64::KVM_ARM_PREFERRED_TARGET, &mut init)
            .unwrap();
        init.features[0] |= 1 << 2; // PSCI 0.2
        self.with(vcpu, request::arm64::KVM_ARM_VCPU_INIT, &mut init)
            .unwrap();
    }

    pub fn get(&self, vcpu: i32, id: u64) -> Result<u64, Errno> {
        let mut value = 0u64;
        let mut reg = kvm_one_reg {
            id,
            addr: &raw mut value as u64,
        };
        self.with(vcpu, request::KVM_GET_ONE_REG, &mut reg)?;
        Ok(value)
    }

    pub fn set(&self, vcpu: i32, id: u64, value: u64) -> Result<(), Errno> {
        let mut value = value;
        let mut reg = kvm_one_reg {
            id,
            addr: &raw mut value as u64,
        };
        self.with(vcpu, request::KVM_SET_ONE_REG, &mut reg)?;
        Ok(())
    }

    pub fn slot(&self, vm: i32, slot: u32, flags: u32, gpa: u64, memory: &Memory) {
        self.with(
            vm,
            request::KVM_SET_USER_MEMORY_REGION,
            &mut kvm_userspace_memory_region {
                slot,
                flags,
                guest_phys_addr: gpa,
                memory_size: memory.size as u64,
                userspace_addr: memory.start as u64,
            },
        )
        .unwrap();
    }

    /// Maps a vCPU's `kvm_run` as a program does.
    pub fn map(&self, vcpu: i32) -> Run<Mapping> {
        Run(Mapping::of(self.fd(vcpu), 8192))
    }
}

/// A mapping of a descriptor, as a program has it.
pub struct Mapping {
    start: *mut u8,
    size: usize,
}

impl Mapping {
    pub fn of(fd: BorrowedFd<'_>, size: usize) -> Mapping {
        // SAFETY: a new mapping.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED);
        Mapping {
            start: start.cast(),
            size,
        }
    }

    /// Where an offset is.
    pub fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.size);
        self.start.wrapping_add(offset)
    }
}

impl Page for Mapping {
    fn load(&self, offset: usize, into: &mut [u8]) {
        assert!(offset + into.len() <= self.size);
        for (n, to) in into.iter_mut().enumerate() {
            // SAFETY: within the mapping.
            *to = unsafe { self.start.add(offset + n).read_volatile() };
        }
    }

    fn store(&self, offset: usize, from: &[u8]) {
        assert!(offset + from.len() <= self.size);
        for (n, byte) in from.iter().enumerate() {
            // SAFETY: within the mapping.
            unsafe { self.start.add(offset + n).write_volatile(*byte) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.start.cast(), self.size) };
    }
}

/// Pages for a guest.
pub struct Memory {
    pub start: *mut u8,
    pub size: usize,
}

impl Memory {
    pub fn new(size: usize) -> Memory {
        // SAFETY: a new mapping.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED);
        Memory {
            start: start.cast(),
            size,
        }
    }

    /// Pages of so many bytes, and one behind them that cannot be accessed.
    pub fn with_hole(size: usize) -> Memory {
        let memory = Memory::new(size + 4096);
        // SAFETY: within the mapping, and nobody has used it yet.
        let result =
            unsafe { libc::mprotect(memory.start.add(size).cast(), 4096, libc::PROT_NONE) };
        assert_eq!(result, 0);
        memory
    }

    pub fn put(&self, offset: usize, words: &[u32]) {
        assert!(offset + 4 * words.len() <= self.size);
        for (n, word) in words.iter().enumerate() {
            // SAFETY: within the mapping, aligned.
            unsafe {
                self.start
                    .add(offset + 4 * n)
                    .cast::<u32>()
                    .write_volatile(*word)
            };
        }
    }

    pub fn put_bytes(&self, offset: usize, bytes: &[u8]) {
        for (at, byte) in (offset..self.size).zip(bytes) {
            // SAFETY: within the mapping.
            unsafe { self.start.add(at).write_volatile(*byte) };
        }
    }

    pub fn word(&self, offset: usize) -> u64 {
        assert!(offset + 8 <= self.size);
        // SAFETY: within the mapping, aligned.
        unsafe { self.start.add(offset).cast::<u64>().read_volatile() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.start.cast(), self.size) };
    }
}

/// Where a guest's code lies.
pub const CODE: u64 = 0x4000_0000;
/// An address where there is no memory.
pub const HOLE: u64 = 0x0900_0000;

/// A VM with one vCPU whose guest begins at [`CODE`], MMU off, EL1h.
pub struct Guest {
    pub program: Program,
    pub vm: i32,
    pub vcpu: i32,
    pub memory: Memory,
    pub run: Run<Mapping>,
}

impl Guest {
    pub fn new(code: &[u32]) -> Guest {
        Guest::of(Program::new(), code)
    }

    pub fn of(program: Program, code: &[u32]) -> Guest {
        let vm = program.create_vm();
        let vcpu = program.create_vcpu(vm, 0);
        let run = program.map(vcpu);
        program.init(vm, vcpu);
        let memory = Memory::new(0x10000);
        memory.put(0, code);
        program.slot(vm, 0, 0, CODE, &memory);
        program.set(vcpu, core::PC, CODE).unwrap();
        Guest {
            program,
            vm,
            vcpu,
            memory,
            run,
        }
    }

    pub fn enter(&self) -> Result<u32, Errno> {
        self.program.call(self.vcpu, request::KVM_RUN, 0)?;
        Ok(self.run.exit_reason())
    }

    pub fn get(&self, id: u64) -> u64 {
        self.program.get(self.vcpu, id).unwrap()
    }

    pub fn set(&self, id: u64, value: u64) {
        self.program.set(self.vcpu, id, value).unwrap();
    }
}

/// A VM with one vCPU whose guest is real-mode code at address 0 of a page of memory, with a stack
/// in the middle of it.
pub struct X86Guest {
    pub program: Program,
    pub vm: i32,
    pub vcpu: i32,
    pub memory: Memory,
    pub run: Run<Mapping>,
}

impl X86Guest {
    /// With these bytes, each at its offset; the VM is prepared before it has a vCPU.
    pub fn of(
        program: Program,
        code: &[(usize, &[u8])],
        prepare: impl FnOnce(&Program, i32),
    ) -> X86Guest {
        let vm = program.create_vm();
        prepare(&program, vm);
        let memory = Memory::new(0x1000);
        for (at, bytes) in code {
            memory.put_bytes(*at, bytes);
        }
        program.slot(vm, 0, 0, 0, &memory);
        let vcpu = program.create_vcpu(vm, 0);
        let run = Run(Mapping::of(program.fd(vcpu), 2 * PAGE_SIZE));
        let guest = X86Guest {
            program,
            vm,
            vcpu,
            memory,
            run,
        };
        let mut sregs = kvm_sregs::default();
        guest.ioctl(KVM_GET_SREGS, &mut sregs).unwrap();
        sregs.cs.base = 0;
        sregs.cs.selector = 0;
        guest.ioctl(KVM_SET_SREGS, &mut sregs).unwrap();
        let mut regs = kvm_regs {
            rflags: 2,
            rsp: 0x800,
            ..kvm_regs::default()
        };
        guest.ioctl(KVM_SET_REGS, &mut regs).unwrap();
        guest
    }

    pub fn ioctl<T>(&self, request: u32, value: &mut T) -> Result<i64, Errno> {
        self.program.with(self.vcpu, request, value)
    }

    pub fn enter(&self) -> Result<u32, Errno> {
        self.program.call(self.vcpu, request::KVM_RUN, 0)?;
        Ok(self.run.exit_reason())
    }
}
