//! Guest-physical memory of one virtual machine.
//!
//! A virtual machine's memory is a set of *slots*: ranges of guest-physical addresses, each backed
//! by a range of the process's own addresses, as `KVM_SET_USER_MEMORY_REGION` hands them over.
//! [`GuestMemory`] holds the slots, finds the host page behind a guest-physical address, keeps the
//! dirty log, and offers typed accesses for whatever walks page tables or models a device.
//!
//! ```text
//!   gpa ── GuestMemory::lookup ──> Page { host, readonly, logging } ── host::load/store/… ──> bytes
//!                                                                              │ page missing, PROT_NONE
//!                                                                              └──> Err(HostFault)
//! ```
//!
//! Nothing here trusts the process's own addresses: user space may unmap, protect or truncate the
//! memory behind a slot at any time, and KVM answers the guest's next access to it with `EFAULT`.
//! The accessors of [`host`] therefore survive a fault; see there for how.
//!
//! The CPUs keep what [`GuestMemory::lookup`] said in their own TLBs, and compare
//! [`GuestMemory::generation`] to learn that it no longer holds.

mod access;
mod dirty;
pub mod host;
mod region;
pub mod ring;
mod slots;

pub use access::{AccessError, Word};
pub use dirty::{DirtyLogError, ManualProtect};
pub use region::{Change, Limits, RegionError, RegionFlags, UserRegion};
pub use slots::{GuestMemory, Page};

/// Bytes in the page by which slots are sized and dirtied, whatever granule the guest's own
/// translation uses (KVM API 4.35: slots are aligned to the host's page, 4 KiB here).
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// Base-two logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
