//! Accesses of what is no memory: by devices that answer without an exit, or by user space.

/// What an address is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Guest-physical addresses where there is no memory.
    Memory,
    /// I/O ports, which x86 has.
    Port,
}

/// Devices that answer a guest's accesses without an exit: coalesced MMIO, ioeventfds, an interrupt
/// controller.
pub trait Bus: Send + Sync {
    /// A load by the vCPU of this index; false if no device has this address.
    fn read(&self, vcpu: usize, space: Space, address: u64, data: &mut [u8]) -> bool;
    /// A store by it; false if no device takes it.
    fn write(&self, vcpu: usize, space: Space, address: u64, data: &[u8]) -> bool;
}

/// An access that user space has to complete: the union's member for `KVM_EXIT_MMIO` (KVM API 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mmio {
    /// `phys_addr`: the guest-physical address.
    pub address: u64,
    /// `len`: 1, 2, 4 or 8.
    pub length: u32,
    /// `is_write`.
    pub is_write: bool,
    /// `data`: what is written, in the order of memory; zeros where it is read.
    pub data: [u8; 8],
}
