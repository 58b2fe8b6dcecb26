//! Accesses by guest-physical address, for page-table walks and devices.
//!
//! Values are little-endian in memory, as page tables and device structures are on every guest
//! that KVM has; a caller that wants the other order swaps bytes.

use crate::host::{self, HostFault, Order};
use crate::{GuestMemory, PAGE_SIZE, Page};

/// Why an access was not performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// No slot has that address: an MMIO access, or a bus error.
    #[error("no memory slot there")]
    NoSlot,
    /// A store to a slot that is [`crate::RegionFlags::READONLY`].
    #[error("the memory slot is read-only")]
    ReadOnly,
    /// The process has no usable memory behind the slot: KVM's `EFAULT`.
    #[error("the memory behind the slot cannot be accessed")]
    HostFault,
}

impl From<HostFault> for AccessError {
    fn from(_: HostFault) -> Self {
        AccessError::HostFault
    }
}

/// An unsigned integer that [`GuestMemory`] can load and store whole.
pub trait Word: Copy + private::Sealed {
    /// Bytes: 1, 2, 4 or 8.
    const SIZE: usize;
    /// The low bytes of a `u64`.
    fn from_u64(value: u64) -> Self;
    /// Zero-extended.
    fn to_u64(self) -> u64;
}

mod private {
    pub trait Sealed {}
}

macro_rules! words {
    ($($word:ty)*) => {$(
        impl private::Sealed for $word {}
        impl Word for $word {
            const SIZE: usize = size_of::<$word>();
            fn from_u64(value: u64) -> Self {
                value as $word
            }
            fn to_u64(self) -> u64 {
                u64::from(self)
            }
        }
    )*};
}

words!(u8 u16 u32 u64);

/// The order of bytes that a little-endian value of so many bytes has in a host register.
fn little_endian(value: u64, size: usize) -> u64 {
    if cfg!(target_endian = "big") {
        value.swap_bytes() >> (64 - 8 * size)
    } else {
        value
    }
}

impl GuestMemory {
    fn page(&self, gpa: u64) -> Result<Page, AccessError> {
        self.lookup(gpa).ok_or(AccessError::NoSlot)
    }

    fn writable_page(&self, gpa: u64) -> Result<Page, AccessError> {
        let page = self.page(gpa)?;
        if page.readonly {
            Err(AccessError::ReadOnly)
        } else {
            Ok(page)
        }
    }

    /// Loads a value. It is single-copy atomic where it is aligned.
    ///
    /// # Errors
    ///
    /// [`AccessError::NoSlot`] and [`AccessError::HostFault`].
    pub fn load<T: Word>(&self, gpa: u64) -> Result<T, AccessError> {
        let offset = (gpa % PAGE_SIZE) as usize;
        if offset + T::SIZE > PAGE_SIZE as usize {
            let mut bytes = [0; 8];
            self.read(gpa, &mut bytes[..T::SIZE])?;
            return Ok(T::from_u64(u64::from_le_bytes(bytes)));
        }
        let page = self.page(gpa)?;
        // SAFETY: the pointer lies in the user memory of a slot, which `host` may access, and the
        // access ends within the page.
        let value = unsafe { host::load(page.host.add(offset), T::SIZE, Order::Acquire) }?;
        Ok(T::from_u64(little_endian(value, T::SIZE)))
    }

    /// Stores a value and marks its page dirty. It is single-copy atomic where it is aligned.
    ///
    /// # Errors
    ///
    /// Any [`AccessError`]; with a value that crosses into a page that cannot be written, the
    /// bytes of the first page may have been stored.
    pub fn store<T: Word>(&self, gpa: u64, value: T) -> Result<(), AccessError> {
        let offset = (gpa % PAGE_SIZE) as usize;
        if offset + T::SIZE > PAGE_SIZE as usize {
            return self.write(gpa, &value.to_u64().to_le_bytes()[..T::SIZE]);
        }
        let page = self.writable_page(gpa)?;
        let value = little_endian(value.to_u64(), T::SIZE);
        // SAFETY: as in `load`; the slot is writable.
        unsafe { host::store(page.host.add(offset), T::SIZE, value, Order::Release) }?;
        if page.logging {
            self.mark_dirty(gpa);
        }
        Ok(())
    }

    /// Stores `new` if the memory holds `current`, atomically, and marks the page dirty then.
    /// Returns the value that was found: the store was made exactly where it equals `current`.
    ///
    /// # Errors
    ///
    /// Any [`AccessError`]; [`AccessError::NoSlot`] also for a value that crosses a page, which no
    /// architecture makes atomic.
    pub fn compare_exchange<T: Word>(
        &self,
        gpa: u64,
        current: T,
        new: T,
    ) -> Result<T, AccessError> {
        let offset = (gpa % PAGE_SIZE) as usize;
        if offset + T::SIZE > PAGE_SIZE as usize {
            return Err(AccessError::NoSlot);
        }
        let page = self.writable_page(gpa)?;
        let expected = little_endian(current.to_u64(), T::SIZE);
        let new = little_endian(new.to_u64(), T::SIZE);
        // SAFETY: as in `load`; the slot is writable.
        let found = unsafe {
            host::compare_exchange(page.host.add(offset), T::SIZE, expected, new, Order::SeqCst)
        }?;
        if page.logging && found == expected {
            self.mark_dirty(gpa);
        }
        Ok(T::from_u64(little_endian(found, T::SIZE)))
    }

    /// Copies bytes out, across pages and slots.
    ///
    /// # Errors
    ///
    /// [`AccessError::NoSlot`] and [`AccessError::HostFault`]; part of `bytes` may then have been
    /// filled.
    pub fn read(&self, gpa: u64, bytes: &mut [u8]) -> Result<(), AccessError> {
        let mut done = 0;
        while done < bytes.len() {
            let (at, length) = chunk(gpa, done, bytes.len())?;
            let page = self.page(at)?;
            let from = page.host.wrapping_add((at % PAGE_SIZE) as usize);
            // SAFETY: the source lies within one page of a slot.
            unsafe { host::copy_from(from, &mut bytes[done..done + length]) }?;
            done += length;
        }
        Ok(())
    }

    /// Copies bytes in, across pages and slots, and marks each page dirty.
    ///
    /// # Errors
    ///
    /// Any [`AccessError`]; the bytes before the page that refused may then have been stored.
    pub fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), AccessError> {
        let mut done = 0;
        while done < bytes.len() {
            let (at, length) = chunk(gpa, done, bytes.len())?;
            let page = self.writable_page(at)?;
            let to = page.host.wrapping_add((at % PAGE_SIZE) as usize);
            // SAFETY: the destination lies within one page of a writable slot.
            let copied = unsafe { host::copy_to(to, &bytes[done..done + length]) };
            // A copy that faulted may have stored some of its bytes.
            if page.logging {
                self.mark_dirty(at);
            }
            copied?;
            done += length;
        }
        Ok(())
    }
}

/// The next piece of a copy: its address, and how much of it lies in that page.
fn chunk(gpa: u64, done: usize, total: usize) -> Result<(u64, usize), AccessError> {
    let at = gpa.checked_add(done as u64).ok_or(AccessError::NoSlot)?;
    Ok((
        at,
        (total - done).min((PAGE_SIZE - at % PAGE_SIZE) as usize),
    ))
}
