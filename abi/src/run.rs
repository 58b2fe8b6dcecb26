//! `struct kvm_run`, the page that a vCPU shares with its user (api.rst 5).
//!
//! ```text
//!      0  request_interrupt_window, immediate_exit          in
//!      8  exit_reason, if_flag, flags, ...                  out
//!     16  cr8, apic_base                                    in, out (x86)
//!     32  the union, 256 bytes: see `exit`                  out (mmio and io data of a read: in)
//!    288  kvm_valid_regs, kvm_dirty_regs                    in
//!    304  the sync area, 2048 bytes                         in, out
//!   2352  end (a proposal appends to it: see `proposals`)
//! ```
//!
//! Another thread may write the page at any time, so it is never borrowed as a [`kvm_run`]: what
//! holds the page implements [`Page`], and [`Run`] copies fields out of it and into it, each once.

use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::layout::structures;

/// Bytes of the union of exits.
pub const EXIT_UNION_SIZE: usize = 256;
/// Bytes of the union of sync registers (`SYNC_REGS_SIZE_BYTES`).
pub const SYNC_REGS_SIZE: usize = 2048;

structures! {
    /// `struct kvm_run`, the same size on arm64 and x86-64.
    pub struct kvm_run {
        /// In, x86: exit when an interrupt can be injected.
        pub request_interrupt_window: u8,
        /// In: return from `KVM_RUN` with EINTR before the guest runs.
        pub immediate_exit: u8,
        /// Padding.
        pub padding1: [u8; 6],
        /// Out: one of [`crate::exit`].
        pub exit_reason: u32,
        /// Out, x86: an interrupt can be injected.
        pub ready_for_interrupt_injection: u8,
        /// Out, x86: RFLAGS.IF.
        pub if_flag: u8,
        /// Out: per architecture, [`crate::arm64::RunFlags`] or [`crate::x86::RunFlags`].
        pub flags: u16,
        /// In and out, x86: the task priority.
        pub cr8: u64,
        /// In and out, x86: the local APIC's base.
        pub apic_base: u64,
        /// Out: the union of [`crate::exit`]'s structures.
        pub exit: [u8; EXIT_UNION_SIZE],
        /// In: which sets of registers to store on exit.
        pub kvm_valid_regs: u64,
        /// In: which sets of registers to load on entry; cleared as they are.
        pub kvm_dirty_regs: u64,
        /// In and out: [`crate::arm64::kvm_sync_regs`] or [`crate::x86::kvm_sync_regs`].
        pub s: [u8; SYNC_REGS_SIZE],
    }
}

/// Offset of `request_interrupt_window`, 1 byte.
pub const REQUEST_INTERRUPT_WINDOW: usize = offset_of!(kvm_run, request_interrupt_window);
/// Offset of `immediate_exit`, 1 byte.
pub const IMMEDIATE_EXIT: usize = offset_of!(kvm_run, immediate_exit);
/// Offset of `exit_reason`, 4 bytes.
pub const EXIT_REASON: usize = offset_of!(kvm_run, exit_reason);
/// Offset of `ready_for_interrupt_injection`, 1 byte.
pub const READY_FOR_INTERRUPT_INJECTION: usize = offset_of!(kvm_run, ready_for_interrupt_injection);
/// Offset of `if_flag`, 1 byte.
pub const IF_FLAG: usize = offset_of!(kvm_run, if_flag);
/// Offset of `flags`, 2 bytes.
pub const FLAGS: usize = offset_of!(kvm_run, flags);
/// Offset of `cr8`, 8 bytes.
pub const CR8: usize = offset_of!(kvm_run, cr8);
/// Offset of `apic_base`, 8 bytes.
pub const APIC_BASE: usize = offset_of!(kvm_run, apic_base);
/// Offset of the union of exits.
pub const EXIT_UNION: usize = offset_of!(kvm_run, exit);
/// Offset of `kvm_valid_regs`, 8 bytes.
pub const KVM_VALID_REGS: usize = offset_of!(kvm_run, kvm_valid_regs);
/// Offset of `kvm_dirty_regs`, 8 bytes.
pub const KVM_DIRTY_REGS: usize = offset_of!(kvm_run, kvm_dirty_regs);
/// Offset of the sync area.
pub const SYNC_REGS: usize = offset_of!(kvm_run, s);

/// A page that holds a `kvm_run` and that others may write meanwhile.
pub trait Page {
    /// Copy bytes out, from `offset`. Implementations need not be atomic beyond the byte, but must
    /// read each byte once.
    fn load(&self, offset: usize, into: &mut [u8]);
    /// Copy bytes in, at `offset`.
    fn store(&self, offset: usize, from: &[u8]);
}

/// Typed access to a `kvm_run` in a [`Page`].
#[derive(Clone, Copy, Debug)]
pub struct Run<P>(pub P);

impl<P: Page> Run<P> {
    /// Copy a `T` out of the page.
    #[inline]
    pub fn read<T: FromBytes + FromZeros + IntoBytes>(&self, offset: usize) -> T {
        let mut value = T::new_zeroed();
        self.0.load(offset, value.as_mut_bytes());
        value
    }

    /// Copy a `T` into the page.
    #[inline]
    pub fn write<T: IntoBytes + Immutable>(&self, offset: usize, value: &T) {
        self.0.store(offset, value.as_bytes());
    }

    /// Does the user want `KVM_RUN` to return at once?
    #[inline]
    pub fn immediate_exit(&self) -> bool {
        self.read::<u8>(IMMEDIATE_EXIT) != 0
    }

    /// One of [`crate::exit`].
    #[inline]
    pub fn exit_reason(&self) -> u32 {
        self.read(EXIT_REASON)
    }

    /// Set the exit reason, one of [`crate::exit`].
    #[inline]
    pub fn set_exit_reason(&self, reason: u32) {
        self.write(EXIT_REASON, &reason);
    }

    /// The flags, per architecture.
    #[inline]
    pub fn flags(&self) -> u16 {
        self.read(FLAGS)
    }

    /// Assign the flags (ESR-2: they are not or-ed).
    #[inline]
    pub fn set_flags(&self, flags: u16) {
        self.write(FLAGS, &flags);
    }

    /// The union, as one of [`crate::exit`]'s structures.
    #[inline]
    pub fn exit<T: FromBytes + IntoBytes>(&self) -> T {
        const { assert!(size_of::<T>() <= EXIT_UNION_SIZE) };
        self.read(EXIT_UNION)
    }

    /// Write one of [`crate::exit`]'s structures into the union. What lies behind it stays.
    #[inline]
    pub fn set_exit<T: IntoBytes + Immutable>(&self, exit: &T) {
        const { assert!(size_of::<T>() <= EXIT_UNION_SIZE) };
        self.write(EXIT_UNION, exit);
    }

    /// The sync area.
    #[inline]
    pub fn sync_regs<T: FromBytes + IntoBytes>(&self) -> T {
        const { assert!(size_of::<T>() <= SYNC_REGS_SIZE) };
        self.read(SYNC_REGS)
    }

    /// Write the sync area.
    #[inline]
    pub fn set_sync_regs<T: IntoBytes + Immutable>(&self, regs: &T) {
        const { assert!(size_of::<T>() <= SYNC_REGS_SIZE) };
        self.write(SYNC_REGS, regs);
    }
}
