//! `UNDERSTUDY_ENGINE=kvm`: the program has the machine's own `/dev/kvm`, with proposals added at the
//! API, so that a VMM can be written for them on a kernel that does not have them.
//!
//! ```text
//!   KVM_CHECK_EXTENSION   the proposals' capabilities are there
//!   KVM_RUN ─► kernel ─► exit
//!                 x86-guest-debug-cr3         a debug exit gets CR3, by KVM_GET_SREGS (CR3-1)
//!                 x86-sync-regs-conditional   \  kvm_valid_regs is hidden from the kernel, and the
//!                 x86-sync-regs-debug         /  sets are stored where they are asked for (SYNC-12 to 20)
//! ```
//!
//! What it costs is system calls: it is the meaning that is the proposals', not the price.
//!
//! **Limits.** While KVM_RUN is in the kernel, `kvm_valid_regs` reads as what the kernel was told.

use std::ffi::{c_int, c_long};
use std::os::fd::RawFd;
use std::ptr;
use std::sync::Arc;

use understudy_abi::ioctl::{KVM_CHECK_EXTENSION, KVM_CREATE_VCPU, KVM_CREATE_VM, KVM_RUN, x86};
use understudy_abi::proposals::kvm_debug_exit_arch_cr3;
use understudy_abi::run::{EXIT_UNION, KVM_DIRTY_REGS, KVM_VALID_REGS, Page, Run, SYNC_REGS};
use understudy_abi::x86::{SyncRegs, kvm_regs, kvm_sregs, kvm_sync_regs, kvm_vcpu_events};
use understudy_abi::{PAGE_SIZE, exit};
use understudy_kvm::x86::Proposals;
use understudy_kvm::x86::sync_regs::Conditions;
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::registry::Known;
use crate::{fail, real, registry, settings};

/// What a descriptor of the kernel's KVM stands for.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    /// `/dev/kvm`.
    System,
    /// A VM.
    Vm,
    /// A vCPU, with its `kvm_run`.
    Vcpu(Arc<Mapping>),
}

/// A mapping of a vCPU's `kvm_run`.
#[derive(Debug)]
pub(crate) struct Mapping(*mut u8);

// SAFETY: it is memory that is shared with the kernel and the program in any case, and only ever
// accessed byte by byte through the pointer.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(vcpu: RawFd) -> Option<Mapping> {
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let start = unsafe {
            real::mmap64(
                ptr::null_mut(),
                PAGE_SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                vcpu,
                0,
            )
        } as *mut u8;
        (!std::ptr::eq(start, libc::MAP_FAILED.cast())).then_some(Mapping(start))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nobody has the mapping but this.
        unsafe { real::munmap(self.0.cast(), PAGE_SIZE) };
    }
}

impl Page for &Mapping {
    fn load(&self, offset: usize, into: &mut [u8]) {
        for (i, byte) in into.iter_mut().enumerate() {
            assert!(offset + i < PAGE_SIZE);
            // SAFETY: within the mapping, which others may write meanwhile.
            *byte = unsafe { self.0.add(offset + i).read_volatile() };
        }
    }

    fn store(&self, offset: usize, from: &[u8]) {
        for (i, byte) in from.iter().enumerate() {
            assert!(offset + i < PAGE_SIZE);
            // SAFETY: as above.
            unsafe { self.0.add(offset + i).write_volatile(*byte) };
        }
    }
}

/// The program has opened the machine's `/dev/kvm`, if the descriptor is one.
pub(crate) fn opened(fd: RawFd) -> RawFd {
    if fd >= 0 {
        registry::insert(fd, Known::Host(Object::System));
    }
    fd
}

/// `ioctl` on a descriptor of the kernel's KVM.
///
/// # Safety
///
/// The kernel's contract of the request.
pub(crate) unsafe fn ioctl(object: &Object, fd: RawFd, request: u32, arg: u64) -> c_int {
    let proposals = settings::added();
    match (object, request) {
        (Object::System | Object::Vm, KVM_CHECK_EXTENSION) => {
            let asked = u32::try_from(arg).ok().and_then(Proposals::of_capability);
            if asked.is_some_and(|proposal| proposals.contains(proposal)) {
                return 1;
            }
        }
        (Object::Vcpu(mapping), KVM_RUN) => {
            // SAFETY: the caller's promise.
            return unsafe { run(fd, Run(mapping), arg, proposals) };
        }
        _ => {}
    }
    // SAFETY: the caller's promise.
    let result = unsafe { real::ioctl(fd, request as c_long, arg) };
    if result >= 0 {
        match (object, request) {
            (Object::System, KVM_CREATE_VM) => registry::insert(result, Known::Host(Object::Vm)),
            (Object::Vm, KVM_CREATE_VCPU) => {
                if let Some(mapping) = Mapping::new(result) {
                    registry::insert(result, Known::Host(Object::Vcpu(Arc::new(mapping))));
                }
            }
            _ => {}
        }
    }
    result
}

/// # Safety
///
/// The kernel's contract of KVM_RUN.
unsafe fn run(fd: RawFd, run: Run<&Mapping>, arg: u64, proposals: Proposals) -> c_int {
    let valid: u64 = run.read(KVM_VALID_REGS);
    let dirty: u64 = run.read(KVM_DIRTY_REGS);
    let conditions = valid & proposals.valid_regs();
    let result = if dirty & proposals.valid_regs() != 0 {
        // They are no sets (SYNC-13).
        fail(libc::EINVAL)
    } else if conditions == 0 {
        // SAFETY: the caller's promise.
        unsafe { real::ioctl(fd, KVM_RUN as c_long, arg) }
    } else {
        // What is left are bits that the kernel refuses, so that it does.
        run.write(
            KVM_VALID_REGS,
            &(valid & !conditions & !SyncRegs::all().bits()),
        );
        // SAFETY: the caller's promise.
        let result = unsafe { real::ioctl(fd, KVM_RUN as c_long, arg) };
        run.write(KVM_VALID_REGS, &valid);
        result
    };
    // SAFETY: the thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let kept = unsafe { *errno };
    if conditions != 0 {
        let sets = Conditions::new(proposals).stored(&run, valid);
        let at = |offset| SYNC_REGS + offset;
        if sets.contains(SyncRegs::REGS) {
            let offset = std::mem::offset_of!(kvm_sync_regs, regs);
            copy::<kvm_regs>(fd, x86::KVM_GET_REGS, &run, at(offset));
        }
        if sets.contains(SyncRegs::SREGS) {
            let offset = std::mem::offset_of!(kvm_sync_regs, sregs);
            copy::<kvm_sregs>(fd, x86::KVM_GET_SREGS, &run, at(offset));
        }
        if sets.contains(SyncRegs::EVENTS) {
            let offset = std::mem::offset_of!(kvm_sync_regs, events);
            copy::<kvm_vcpu_events>(fd, x86::KVM_GET_VCPU_EVENTS, &run, at(offset));
        }
    }
    let debug = result == 0 && run.exit_reason() == exit::KVM_EXIT_DEBUG;
    if debug
        && proposals.contains(Proposals::GUEST_DEBUG_CR3)
        && let Some(sregs) = get::<kvm_sregs>(fd, x86::KVM_GET_SREGS)
    {
        let offset = std::mem::offset_of!(kvm_debug_exit_arch_cr3, cr3);
        run.write(EXIT_UNION + offset, &sregs.cr3);
    }
    // SAFETY: as above.
    unsafe { *errno = kept };
    result
}

/// What an ioctl of the vCPU gives.
fn get<T: FromZeros + IntoBytes>(vcpu: RawFd, request: u32) -> Option<T> {
    let mut value = T::new_zeroed();
    // SAFETY: the request writes a T.
    let result = unsafe { real::ioctl(vcpu, request as c_long, (&raw mut value) as u64) };
    (result == 0).then_some(value)
}

/// The same, to the vCPU's `kvm_run`.
fn copy<T: FromZeros + IntoBytes + Immutable>(
    vcpu: RawFd,
    request: u32,
    run: &Run<&Mapping>,
    offset: usize,
) {
    if let Some(value) = get::<T>(vcpu, request) {
        run.write(offset, &value);
    }
}
