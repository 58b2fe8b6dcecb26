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

use bitflags::bitflags;
use understudy_abi::ioctl::{KVM_CHECK_EXTENSION, KVM_CREATE_VCPU, KVM_CREATE_VM, KVM_RUN, x86};
use understudy_abi::proposals::{
    KVM_CAP_X86_GUEST_DEBUG_CR3, KVM_CAP_X86_SYNC_REGS_CONDITIONAL, KVM_CAP_X86_SYNC_REGS_DEBUG,
    KVM_SAVE_REGS_ON_EXIT, KVM_SYNC_REGS_CONDITIONAL, KVM_SYNC_REGS_DEBUG, kvm_debug_exit_arch_cr3,
    name,
};
use understudy_abi::run::{EXIT_UNION, KVM_DIRTY_REGS, KVM_VALID_REGS, Page, Run, SYNC_REGS};
use understudy_abi::x86::{kvm_regs, kvm_sregs, kvm_sync_regs, kvm_vcpu_events};
use understudy_abi::{PAGE_SIZE, exit};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::registry::Known;
use crate::{fail, real, registry, settings};

bitflags! {
    /// Proposals that can be added to a kernel's KVM from outside.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Proposals: u32 {
        /// `x86-guest-debug-cr3`.
        const CR3 = 1 << 0;
        /// `x86-sync-regs-conditional`.
        const CONDITIONAL = 1 << 1;
        /// `x86-sync-regs-debug`.
        const DEBUG = 1 << 2;
    }
}

/// By name and capability.
const ALL: [(&str, u32, Proposals); 3] = [
    (
        name::X86_GUEST_DEBUG_CR3,
        KVM_CAP_X86_GUEST_DEBUG_CR3,
        Proposals::CR3,
    ),
    (
        name::X86_SYNC_REGS_CONDITIONAL,
        KVM_CAP_X86_SYNC_REGS_CONDITIONAL,
        Proposals::CONDITIONAL,
    ),
    (
        name::X86_SYNC_REGS_DEBUG,
        KVM_CAP_X86_SYNC_REGS_DEBUG,
        Proposals::DEBUG,
    ),
];

impl Proposals {
    /// Those of a list of names, separated by commas.
    ///
    /// # Errors
    ///
    /// The name that is none, and which there are.
    pub(crate) fn parse(list: &str) -> Result<Proposals, String> {
        let mut proposals = Proposals::empty();
        for wanted in list.split(',').filter(|name| !name.is_empty()) {
            let found = ALL.iter().find(|(name, ..)| *name == wanted);
            let (.., proposal) = found.ok_or_else(|| {
                let names = ALL.map(|(name, ..)| name).join(", ");
                format!("no proposal {wanted} for the machine's own KVM: there are {names}")
            })?;
            proposals |= *proposal;
        }
        Ok(proposals)
    }
}

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
            let asked = ALL.iter().find(|(_, cap, _)| u64::from(*cap) == arg);
            if asked.is_some_and(|(.., proposal)| proposals.contains(*proposal)) {
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

/// Which register sets `kvm_valid_regs` selects: REGS, SREGS and EVENTS.
const SETS: u64 = 0b111;

/// The bits of `kvm_valid_regs` that these proposals add.
fn added(proposals: Proposals) -> u64 {
    let mut bits = 0;
    if proposals.contains(Proposals::CONDITIONAL) {
        bits |= KVM_SYNC_REGS_CONDITIONAL;
    }
    if proposals.contains(Proposals::DEBUG) {
        bits |= KVM_SYNC_REGS_DEBUG;
    }
    bits
}

/// Whether an exit for this reason stores (SYNC-13, SYNC-14, SYNC-20).
fn stores<P: Page>(run: &Run<P>, conditions: u64) -> bool {
    let reason = run.exit_reason();
    let bit = |words: [u64; 16]| {
        let word = words.get(reason as usize / 64);
        word.is_some_and(|word| word >> (reason % 64) & 1 != 0)
    };
    conditions & KVM_SYNC_REGS_CONDITIONAL != 0 && bit(run.read(KVM_SAVE_REGS_ON_EXIT))
        || conditions & KVM_SYNC_REGS_DEBUG != 0 && reason == exit::KVM_EXIT_DEBUG
}

/// # Safety
///
/// The kernel's contract of KVM_RUN.
unsafe fn run(fd: RawFd, run: Run<&Mapping>, arg: u64, proposals: Proposals) -> c_int {
    let valid: u64 = run.read(KVM_VALID_REGS);
    let dirty: u64 = run.read(KVM_DIRTY_REGS);
    let conditions = valid & added(proposals);
    let result = if dirty & added(proposals) != 0 {
        // They are no sets (SYNC-13).
        fail(libc::EINVAL)
    } else if conditions == 0 {
        // SAFETY: the caller's promise.
        unsafe { real::ioctl(fd, KVM_RUN as c_long, arg) }
    } else {
        // What is left are bits that the kernel refuses, so that it does.
        run.write(KVM_VALID_REGS, &(valid & !conditions & !SETS));
        // SAFETY: the caller's promise.
        let result = unsafe { real::ioctl(fd, KVM_RUN as c_long, arg) };
        run.write(KVM_VALID_REGS, &valid);
        result
    };
    // SAFETY: the thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let kept = unsafe { *errno };
    if conditions != 0 && stores(&run, conditions) {
        let at = |offset| SYNC_REGS + offset;
        if valid & 1 != 0 {
            let offset = std::mem::offset_of!(kvm_sync_regs, regs);
            copy::<kvm_regs>(fd, x86::KVM_GET_REGS, &run, at(offset));
        }
        if valid & 2 != 0 {
            let offset = std::mem::offset_of!(kvm_sync_regs, sregs);
            copy::<kvm_sregs>(fd, x86::KVM_GET_SREGS, &run, at(offset));
        }
        if valid & 4 != 0 {
            let offset = std::mem::offset_of!(kvm_sync_regs, events);
            copy::<kvm_vcpu_events>(fd, x86::KVM_GET_VCPU_EVENTS, &run, at(offset));
        }
    }
    let debug = result == 0 && run.exit_reason() == exit::KVM_EXIT_DEBUG;
    if debug
        && proposals.contains(Proposals::CR3)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    struct Local(RefCell<[u8; PAGE_SIZE]>);

    impl Page for &Local {
        fn load(&self, offset: usize, into: &mut [u8]) {
            into.copy_from_slice(&self.0.borrow()[offset..][..into.len()]);
        }
        fn store(&self, offset: usize, from: &[u8]) {
            self.0.borrow_mut()[offset..][..from.len()].copy_from_slice(from);
        }
    }

    /// SYNC-12, SYNC-13, SYNC-16, SYNC-20: by the reason that is there, up to 1023.
    #[test]
    fn reasons_select() {
        let page = Local(RefCell::new([0; PAGE_SIZE]));
        let run = Run(&page);
        let conditional = KVM_SYNC_REGS_CONDITIONAL;
        for reason in [0, 2, 4, 63, 64, 1023, 1024, u32::MAX] {
            run.set_exit_reason(reason);
            run.write(KVM_SAVE_REGS_ON_EXIT, &[0u64; 16]);
            assert!(!stores(&run, conditional));
            run.write(KVM_SAVE_REGS_ON_EXIT, &[!0u64; 16]);
            assert_eq!(stores(&run, conditional), reason < 1024);
            assert_eq!(stores(&run, KVM_SYNC_REGS_DEBUG), reason == 4);
            let mut one = [0u64; 16];
            if let Some(word) = one.get_mut(reason as usize / 64) {
                *word = 1 << (reason % 64);
            }
            run.write(KVM_SAVE_REGS_ON_EXIT, &one);
            assert_eq!(stores(&run, conditional), reason < 1024);
        }
    }

    #[test]
    fn names_are_known_or_named() {
        let both = "x86-guest-debug-cr3,x86-sync-regs-debug";
        assert_eq!(
            Proposals::parse(both),
            Ok(Proposals::CR3 | Proposals::DEBUG)
        );
        assert_eq!(Proposals::parse(""), Ok(Proposals::empty()));
        let error = Proposals::parse("arm64-exposed-debug").unwrap_err();
        assert!(error.contains("x86-sync-regs-conditional"), "{error}");
    }
}
