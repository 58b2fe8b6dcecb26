//! The caller's memory: what the kernel does with `copy_from_user` and `copy_to_user`.
//!
//! The argument of most ioctls is a pointer. It may lead anywhere, so it is only ever followed by
//! copies that survive a fault ([`understudy_memory::host`]) and then give EFAULT.

use understudy_memory::host;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::errno::Errno;

/// A pointer that the caller gave, into its own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User(u64);

impl User {
    /// The pointer with this address.
    pub(crate) fn at(address: u64) -> User {
        User(address)
    }

    /// Whether it is null.
    pub(crate) fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The pointer so many bytes further.
    pub(crate) fn offset(self, bytes: usize) -> User {
        User(self.0.wrapping_add(bytes as u64))
    }

    /// Copies bytes out of the caller's memory.
    pub(crate) fn copy_from(self, bytes: &mut [u8]) -> Result<(), Errno> {
        self.check(bytes.len())?;
        // SAFETY: the ioctl's contract is that its argument leads to memory which the caller owns
        // and lends for the call, as with the kernel's; that nothing may be there is no breach.
        Ok(unsafe { host::copy_from(self.0 as *const u8, bytes) }?)
    }

    /// Copies bytes into the caller's memory.
    pub(crate) fn copy_to(self, bytes: &[u8]) -> Result<(), Errno> {
        self.check(bytes.len())?;
        // SAFETY: as above; and it is the ioctl's contract that the memory is there to be written.
        Ok(unsafe { host::copy_to(self.0 as *mut u8, bytes) }?)
    }

    /// Copies a structure out of the caller's memory.
    pub(crate) fn read<T: FromBytes + FromZeros + IntoBytes>(self) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.copy_from(value.as_mut_bytes())?;
        Ok(value)
    }

    /// Copies a structure into the caller's memory.
    pub(crate) fn write<T: IntoBytes + Immutable + ?Sized>(self, value: &T) -> Result<(), Errno> {
        self.copy_to(value.as_bytes())
    }

    /// What the kernel's `access_ok()` refuses before it tries: addresses that no user has.
    fn check(self, length: usize) -> Result<(), Errno> {
        match self.0.checked_add(length as u64) {
            Some(end) if end <= USER_END => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }
}

/// The first address that is never a user's, on hosts with 64-bit addresses.
const USER_END: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_what_is_there_and_refuses_what_is_not() {
        host::install();
        let mut value = 0x0123_4567_89ab_cdef_u64;
        let user = User::at(&raw mut value as u64);
        assert_eq!(user.read::<u64>(), Ok(0x0123_4567_89ab_cdef));
        assert_eq!(user.write(&7u64), Ok(()));
        assert_eq!(user.read::<u64>(), Ok(7));
        for address in [0, 1, 8, 1 << 46, 1 << 62, 1 << 63, u64::MAX - 7, u64::MAX] {
            let user = User::at(address);
            assert_eq!(user.read::<u64>(), Err(Errno::EFAULT), "{address:#x}");
            assert_eq!(user.write(&0u64), Err(Errno::EFAULT), "{address:#x}");
        }
    }
}
