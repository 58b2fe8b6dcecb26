//! The KVM object model: system, VMs, vCPUs, and every ioctl on them.
//!
//! ```text
//!   a program's ioctl(fd, request, arg)          a Rust program
//!        │ fd -> Object (not here: `preload`)        │
//!        ▼                                           ▼
//!   table::ioctl ── row ── ioctl/FAMILY.rs ──► Kvm, VmFd, VcpuFd  (kvm-ioctls' names)
//!                          copies in and out         │
//!                                                    ▼
//!                                       arm64, x86 (the CPUs), memory (slots)
//! ```
//!
//! [`Kvm`], [`VmFd`] and [`VcpuFd`] are the Rust API. [`ioctl()`] is the way in for whoever stands
//! behind `open("/dev/kvm")`. One file of [`mod@ioctl`] is a family of ioctls under its uAPI name,
//! and [`table::rows`] lists them all with their errnos.
//!
//! A descriptor of a vCPU is a memfd with its `kvm_run`; those of VMs and of the system only stand
//! for them. Nothing that a caller passes can panic: bad calls get KVM's errno.

mod bus;
pub mod capability;
mod coalesced;
mod dirty_ring;
pub mod errno;
mod eventfd;
pub mod guest;
pub mod guest_memfd;
pub mod host;
pub mod host_memory;
pub mod ioctl;
mod ioeventfd;
mod process;
mod shared;
pub mod signal;
pub mod stats;
pub mod system;
pub mod table;
mod user;
pub mod vcpu;
pub mod vm;
pub mod x86;

pub use errno::Errno;
pub use guest::{Guest, Peer};
pub use guest_memfd::GuestMemfd;
pub use system::Kvm;
pub use table::{Descriptors, Kind, Object, ioctl};
pub use understudy_arm64::insn::features::{Fidelity, Use};
pub use understudy_arm64::machine::{Model, Proposals};
pub use vcpu::{ReadMsrExit, Vcpu, VcpuExit, VcpuFd, WriteMsrExit};
pub use vm::{Vm, VmFd};
