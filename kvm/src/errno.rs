//! What a call that fails gives.

use std::fmt;

use understudy_memory::host::HostFault;
use understudy_memory::{DirtyLogError, RegionError};

/// An errno of Linux, as `ioctl` would leave it in `errno`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($(#[$meta:meta])* $name:ident)*) => {
        impl Errno {
            $($(#[$meta])* pub const $name: Errno = Errno(libc::$name);)*

            /// Its name, if it is one that this crate gives.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Errno::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    /// Operation not permitted.
    EPERM
    /// No such file or directory: no such register, slot, feature.
    ENOENT
    /// Interrupted system call.
    EINTR
    /// Input/output error: the VM is dead, or another process's.
    EIO
    /// No such device or address.
    ENXIO
    /// Argument list too long: what was asked for does not fit, or is too much.
    E2BIG
    /// Exec format error: the vCPU is not initialised.
    ENOEXEC
    /// Bad file descriptor.
    EBADF
    /// Resource temporarily unavailable.
    EAGAIN
    /// Cannot allocate memory.
    ENOMEM
    /// Bad address.
    EFAULT
    /// Device or resource busy.
    EBUSY
    /// File exists.
    EEXIST
    /// No such device.
    ENODEV
    /// Invalid argument.
    EINVAL
    /// Too many open files in the system.
    ENFILE
    /// Too many open files.
    EMFILE
    /// Inappropriate ioctl for device.
    ENOTTY
    /// File too large: a range that no file can have.
    EFBIG
    /// No space left on device.
    ENOSPC
    /// Function not implemented: a guest's access to no memory that KVM cannot describe.
    ENOSYS
    /// Operation not supported: a mode of `fallocate`.
    EOPNOTSUPP
}

impl Errno {
    /// The errno with this number.
    pub const fn new(number: i32) -> Errno {
        Errno(number)
    }

    /// Its number on this host.
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from(*self).fmt(f)
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        std::io::Error::from_raw_os_error(errno.0)
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Errno(errno.raw_os_error())
    }
}

impl From<HostFault> for Errno {
    fn from(_: HostFault) -> Self {
        Errno::EFAULT
    }
}

impl From<RegionError> for Errno {
    fn from(error: RegionError) -> Self {
        Errno(error.errno())
    }
}

impl From<DirtyLogError> for Errno {
    fn from(error: DirtyLogError) -> Self {
        Errno(error.errno())
    }
}
