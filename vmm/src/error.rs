//! What can go wrong while a guest runs.

use std::io;

use understudy_kvm::Errno;

/// The guest could not be run as it must.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An ioctl failed.
    #[error("{call}: {errno}")]
    Ioctl {
        /// The ioctl's name.
        call: &'static str,
        /// What it gave.
        errno: Errno,
    },
    /// An ioctl on the machine's own KVM failed.
    #[cfg(target_arch = "x86_64")]
    #[error("{call}: {error}")]
    Host {
        /// The ioctl's name.
        call: &'static str,
        /// What it gave.
        error: kvm_ioctls::Error,
    },
    /// There is no memory for the guest.
    #[error("no memory for the guest: {0}")]
    Memory(io::Error),
    /// The guest did what it must not.
    #[error("the guest left its script: {0}")]
    Unexpected(String),
    /// There is no such guest.
    #[error("{0}")]
    Unavailable(&'static str),
    /// The output went away.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Adds the ioctl's name to its errno.
pub(crate) fn named<T>(call: &'static str, result: Result<T, Errno>) -> Result<T, Error> {
    result.map_err(|errno| Error::Ioctl { call, errno })
}
