#![forbid(unsafe_code)]
//! The arguments of `KVM_SET_USER_MEMORY_REGION` and the rules by which KVM takes or refuses them
//! (KVM API 4.35). The order of the checks decides which errno a call that is wrong in two ways
//! gets, so [`UserRegion::check`] and `GuestMemory::set_region` keep KVM's order.

use crate::{PAGE_SHIFT, PAGE_SIZE};

bitflags::bitflags! {
    /// `kvm_userspace_memory_region.flags` (KVM API 4.35).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RegionFlags: u32 {
        /// `KVM_MEM_LOG_DIRTY_PAGES`, bit 0: keep a bitmap of the pages that the guest wrote.
        const LOG_DIRTY_PAGES = 1 << 0;
        /// `KVM_MEM_READONLY`, bit 1: a guest's store is not performed but exits as MMIO.
        const READONLY = 1 << 1;
    }
}

/// What one `KVM_SET_USER_MEMORY_REGION` call asks for, field for field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserRegion {
    /// Slot number in bits 15:0, address space in bits 31:16.
    pub slot: u32,
    /// [`RegionFlags`] as the caller gave them, unknown bits included.
    pub flags: u32,
    /// First guest-physical address, in bytes, a multiple of [`PAGE_SIZE`].
    pub guest_phys_addr: u64,
    /// Bytes, a multiple of [`PAGE_SIZE`]; 0 deletes the slot.
    pub memory_size: u64,
    /// First address of the backing memory in this process, a multiple of [`PAGE_SIZE`].
    pub userspace_addr: u64,
}

impl UserRegion {
    /// The slot number within its address space: the low 16 bits of [`UserRegion::slot`].
    pub fn id(&self) -> u16 {
        (self.slot & 0xffff) as u16
    }

    /// The address space: the high 16 bits of [`UserRegion::slot`].
    pub fn address_space(&self) -> u16 {
        (self.slot >> 16) as u16
    }

    /// Every check that needs no knowledge of the slots that exist.
    pub(crate) fn check(&self, limits: &Limits) -> Result<RegionFlags, RegionError> {
        use RegionError::*;

        if self.id() >= limits.user_slots {
            return Err(BadSlot);
        }
        let flags = RegionFlags::from_bits(self.flags).ok_or(BadFlags)?;
        if !self.memory_size.is_multiple_of(PAGE_SIZE)
            || !self.guest_phys_addr.is_multiple_of(PAGE_SIZE)
            || !self.userspace_addr.is_multiple_of(PAGE_SIZE)
        {
            return Err(Unaligned);
        }
        match self.userspace_addr.checked_add(self.memory_size) {
            Some(end) if end <= USER_ADDRESS_LIMIT => {}
            _ => return Err(BadUserAddress),
        }
        if self.address_space() != limits.address_space {
            return Err(BadSlot);
        }
        if self.guest_phys_addr.checked_add(self.memory_size).is_none() {
            return Err(Wraps);
        }
        if self.memory_size >> PAGE_SHIFT > MAX_PAGES {
            return Err(TooBig);
        }
        Ok(flags)
    }
}

/// `KVM_MEM_MAX_NR_PAGES`: the most pages that one slot may have.
const MAX_PAGES: u64 = (1 << 31) - 1;

/// The first address that no user mapping reaches, which is where `access_ok()` ends.
#[cfg(target_arch = "x86_64")]
const USER_ADDRESS_LIMIT: u64 = (1 << 47) - PAGE_SIZE;
#[cfg(not(target_arch = "x86_64"))]
const USER_ADDRESS_LIMIT: u64 = 1 << 48;

/// What the virtual machine's architecture and configuration allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Slots that user space may use: `KVM_CAP_NR_MEMSLOTS` (32767 on arm64, 32764 on x86-64,
    /// where KVM keeps three to itself).
    pub user_slots: u16,
    /// The address space that this memory is: 0, or 1 for x86's system management mode.
    pub address_space: u16,
    /// Bits in a guest-physical address: the IPA size that `KVM_CREATE_VM` was asked for, at
    /// most 52.
    pub physical_address_bits: u32,
}

impl Limits {
    /// The limits of an arm64 virtual machine with that IPA size, in bits.
    pub fn arm64(ipa_bits: u32) -> Self {
        Limits {
            user_slots: 32767,
            address_space: 0,
            physical_address_bits: ipa_bits,
        }
    }

    /// The limits of an x86-64 virtual machine whose processors have so many bits in a physical
    /// address.
    pub fn x86(physical_bits: u32) -> Self {
        Limits {
            user_slots: 32764,
            address_space: 0,
            physical_address_bits: physical_bits,
        }
    }
}

/// What a successful `KVM_SET_USER_MEMORY_REGION` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A slot that did not exist does now.
    Created,
    /// The slot is gone.
    Deleted,
    /// The slot has another guest-physical address.
    Moved,
    /// Dirty logging was switched on or off.
    FlagsOnly,
    /// The call asked for what already was.
    Nothing,
}

/// Why a `KVM_SET_USER_MEMORY_REGION` call was refused. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// The slot number or the address space is beyond [`Limits`].
    #[error("no such slot or address space")]
    BadSlot,
    /// A flag that this virtual machine does not have.
    #[error("unknown flag")]
    BadFlags,
    /// The size or an address is no multiple of the page size.
    #[error("not aligned to a page")]
    Unaligned,
    /// The backing memory does not lie within user space's addresses.
    #[error("not a user address")]
    BadUserAddress,
    /// The guest-physical range runs past the end of 64 bits.
    #[error("guest-physical range wraps around")]
    Wraps,
    /// More pages than a slot may have.
    #[error("too many pages for one slot")]
    TooBig,
    /// Size 0 for a slot that does not exist.
    #[error("no such slot to delete")]
    NothingToDelete,
    /// The size, the backing memory or [`RegionFlags::READONLY`] of an existing slot differs.
    #[error("an existing slot's size, backing memory and READONLY flag cannot change")]
    Immutable,
    /// Another slot has some of these guest-physical addresses.
    #[error("overlaps another slot")]
    Overlap,
    /// The range ends beyond [`Limits::physical_address_bits`].
    #[error("beyond the guest's physical address size")]
    BeyondPhysicalSpace,
    /// No memory for the dirty bitmap.
    #[error("out of memory")]
    NoMemory,
}

impl RegionError {
    /// The errno with which KVM refuses such a call.
    pub fn errno(self) -> i32 {
        match self {
            RegionError::Overlap => libc::EEXIST,
            RegionError::BeyondPhysicalSpace => libc::EFAULT,
            RegionError::NoMemory => libc::ENOMEM,
            _ => libc::EINVAL,
        }
    }
}
