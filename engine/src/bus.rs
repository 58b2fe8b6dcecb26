//! Devices that answer a guest's accesses without an exit.

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
