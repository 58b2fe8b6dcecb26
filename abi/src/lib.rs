//! The KVM user-space ABI as bytes.
//!
//! Every ioctl number, capability, structure, exit reason and register id of Linux 6.12 that
//! Understudy speaks, for arm64 *and* x86-64 guests, both always compiled whatever the host is.
//! Nothing here knows of a CPU or of memory: a structure is a layout, a number is a number.
//!
//! ```text
//!   ioctl    request numbers, computed from the sizes of the structures
//!   cap      KVM_CHECK_EXTENSION numbers
//!   exit     exit reasons, and the members of kvm_run's union that belong to them
//!   run      struct kvm_run: its offsets, and typed access over a shared page
//!   common   structures that both architectures have in the same form
//!   arm64    \  structures, register ids, flags and device attributes
//!   x86      /  of one architecture
//!   proposals   extensions that no kernel has merged
//! ```
//!
//! Structures and enumerated constants bear their uAPI names, so that what one reads in KVM's
//! documentation (`Documentation/virt/kvm/api.rst`) can be searched for here. Sets of flags are
//! `bitflags` types, each constant documented with its uAPI name. Padding is explicit: every
//! structure can be viewed as bytes in both directions without `unsafe` (`zerocopy`).
//!
//! How it is proved: `tests/layout_of_bindings.rs` compares with the `kvm-bindings` crate for the
//! host's architecture, `tests/layout_of_headers.rs` with tables of sizes and offsets computed by
//! a C compiler from Linux 6.12's headers for both, `tests/requirements.rs` with the numbers of
//! the project's requirements, section 1.

#![forbid(unsafe_code)]
#![allow(non_camel_case_types)]

pub mod arm64;
pub mod cap;
pub mod common;
pub mod exit;
pub mod ioctl;
mod layout;
pub mod proposals;
pub mod run;
pub mod x86;

/// The value that `KVM_GET_API_VERSION` has returned since Linux 2.6.22, and will always return.
pub const KVM_API_VERSION: u32 = 12;

/// Size in bytes of the page by which `mmap` of a vCPU descriptor is laid out.
pub const PAGE_SIZE: usize = 4096;
