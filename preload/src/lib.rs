//! The library that puts Understudy behind `open("/dev/kvm")` in a program that was not built for
//! it. It is preloaded (`LD_PRELOAD`) and takes the place of some of libc's functions.
//!
//! ```text
//!   a program for this host                     an arm64 program, in qemu-aarch64
//!     open, ioctl, mmap, close, dup, read …       the stub (stub.c) ── getxattr("/understudy/…")
//!              │                                                          │ passed on by qemu
//!              ▼                                                          ▼
//!     open.rs ioctl.rs map.rs descriptors.rs  <─────────────────────  tunnel.rs
//!              │ registry.rs: descriptor -> understudy_kvm::Object
//!              ▼
//!     understudy_kvm::ioctl                       signals.rs: a signal ends KVM_RUN
//! ```
//!
//! Every descriptor is a real one (a memfd), so what the kernel does with descriptors (numbers,
//! close-on-exec, limits, mapping a vCPU's `kvm_run`) is the kernel's own doing.
//!
//! **Limits.** A program that makes system calls itself, without libc, is not seen; nor are
//! descriptors sent over sockets or kept over `exec`. `/dev/kvm` is recognised by its path.

#![warn(missing_docs)]

mod cancel;
mod descriptors;
mod ioctl;
mod map;
mod open;
mod pass_through;
mod real;
mod registry;
mod settings;
mod signals;
mod syscall;
mod tunnel;

use libc::c_int;

/// Sets `errno`, and gives what the functions of libc return then.
fn fail(errno: c_int) -> c_int {
    // SAFETY: the function has no condition, and its result is the thread's own `errno`.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Runs when the library is loaded, before the program does.
extern "C" fn start() {
    understudy_memory::host::install_with(real::sigaction);
    understudy_kvm::signal::catch_by(signals::catch);
    registry::watch_forks();
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

/// Runs when the program ends, after it.
extern "C" fn end() {
    settings::report();
}

#[used]
#[unsafe(link_section = ".fini_array")]
static END: extern "C" fn() = end;
