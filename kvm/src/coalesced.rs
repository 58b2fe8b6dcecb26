//! Coalesced MMIO (api.rst 4.116): writes to registered zones go into a ring, without an exit.
//!
//! ```text
//!   page of every vCPU's mapping (KVM_COALESCED_MMIO_PAGE_OFFSET), one for the whole VM:
//!   ┌───────┬──────┬─────────┬─────────┬───
//!   │ first │ last │ entry 0 │ entry 1 │ ...      KVM fills `last` and moves it on;
//!   └───────┴──────┴─────────┴─────────┴───      user space takes `first` and moves it on
//! ```
//! The ring is full when one entry is left; then, and for every read, the guest exits as usual.

use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use understudy_abi::PAGE_SIZE;
use understudy_abi::common::{
    KVM_COALESCED_MMIO_MAX, kvm_coalesced_mmio, kvm_coalesced_mmio_ring, kvm_coalesced_mmio_zone,
};
use understudy_abi::run::Page;
use understudy_engine::bus::{Bus, Space};
use zerocopy::IntoBytes;

use crate::errno::Errno;
use crate::shared::SharedPages;

/// Devices of a VM that answer without an exit, at most (KVM's `NR_IOBUS_DEVS`).
const MAX_ZONES: usize = 1000;

/// The zones and the ring of a VM.
#[derive(Debug)]
pub(crate) struct CoalescedMmio {
    zones: RwLock<Vec<kvm_coalesced_mmio_zone>>,
    /// Held while an entry is added.
    ring: Mutex<SharedPages>,
    fd: OwnedFd,
}

impl CoalescedMmio {
    /// No zones, an empty ring.
    pub(crate) fn new() -> Result<CoalescedMmio, Errno> {
        let (ring, fd) = SharedPages::new("kvm-coalesced-mmio", PAGE_SIZE)?;
        Ok(CoalescedMmio {
            zones: RwLock::new(Vec::new()),
            ring: Mutex::new(ring),
            fd,
        })
    }

    /// The ring's page, at offset 0 of this.
    pub(crate) fn page(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// `KVM_REGISTER_COALESCED_MMIO`.
    pub(crate) fn register(&self, zone: &kvm_coalesced_mmio_zone) -> Result<(), Errno> {
        if zone.pio > 1 {
            return Err(Errno::EINVAL);
        }
        let mut zones = self.zones.write().unwrap_or_else(PoisonError::into_inner);
        if count(&zones, zone.pio) >= MAX_ZONES {
            return Err(Errno::ENOSPC);
        }
        zones.push(*zone);
        Ok(())
    }

    /// Whether there is no room for another device.
    pub(crate) fn full(&self, space: Space) -> bool {
        let zones = self.zones.read().unwrap_or_else(PoisonError::into_inner);
        count(&zones, (space == Space::Port).into()) >= MAX_ZONES
    }

    /// `KVM_UNREGISTER_COALESCED_MMIO`: every zone that contains this one goes.
    pub(crate) fn unregister(&self, zone: &kvm_coalesced_mmio_zone) -> Result<(), Errno> {
        if zone.pio > 1 {
            return Err(Errno::EINVAL);
        }
        self.zones
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| other.pio != zone.pio || !contains(other, zone.addr, zone.size as u64));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, SharedPages> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry; false if the ring is full, or user space has broken it.
    fn push(&self, entry: &kvm_coalesced_mmio) -> bool {
        let ring = self.lock();
        let (Some(first), Some(last)) = (
            ring.u32(offset_of!(kvm_coalesced_mmio_ring, first)),
            ring.u32(offset_of!(kvm_coalesced_mmio_ring, last)),
        ) else {
            return false;
        };
        let insert = last.load(Ordering::Relaxed) as usize;
        if insert >= KVM_COALESCED_MMIO_MAX {
            return false;
        }
        let next = (insert + 1) % KVM_COALESCED_MMIO_MAX;
        // What user space has taken, it has read before it moved `first`.
        if next == first.load(Ordering::Acquire) as usize {
            return false;
        }
        let at = size_of::<kvm_coalesced_mmio_ring>() + insert * size_of::<kvm_coalesced_mmio>();
        ring.store(at, entry.as_bytes());
        last.store(next as u32, Ordering::Release);
        true
    }
}

/// How many zones there are in a space.
fn count(zones: &[kvm_coalesced_mmio_zone], pio: u32) -> usize {
    zones.iter().filter(|zone| zone.pio == pio).count()
}

/// Whether a zone has all of these bytes.
fn contains(zone: &kvm_coalesced_mmio_zone, address: u64, length: u64) -> bool {
    match (
        address.checked_add(length),
        zone.addr.checked_add(zone.size.into()),
    ) {
        (Some(end), Some(zone_end)) => address >= zone.addr && end <= zone_end,
        _ => false,
    }
}

impl Bus for CoalescedMmio {
    fn read(&self, _vcpu: usize, _: Space, _address: u64, _data: &mut [u8]) -> bool {
        false
    }

    fn write(&self, _vcpu: usize, space: Space, address: u64, data: &[u8]) -> bool {
        let pio = u32::from(space == Space::Port);
        let zones = self.zones.read().unwrap_or_else(PoisonError::into_inner);
        let hit = zones
            .iter()
            .any(|zone| zone.pio == pio && contains(zone, address, data.len() as u64));
        drop(zones);
        let mut entry = kvm_coalesced_mmio {
            phys_addr: address,
            len: data.len() as u32,
            pio,
            ..kvm_coalesced_mmio::default()
        };
        let Some(bytes) = entry.data.get_mut(..data.len()) else {
            return false;
        };
        bytes.copy_from_slice(data);
        hit && self.push(&entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(addr: u64, size: u32) -> kvm_coalesced_mmio_zone {
        kvm_coalesced_mmio_zone { addr, size, pio: 0 }
    }

    #[test]
    fn writes_in_a_zone_go_into_the_ring_until_it_is_full() {
        let mmio = CoalescedMmio::new().unwrap();
        assert!(!mmio.write(0, Space::Memory, 0x1000, &[1]), "no zone");
        mmio.register(&zone(0x1000, 8)).unwrap();
        assert!(
            !mmio.write(0, Space::Memory, 0x0fff, &[1, 2]),
            "begins before"
        );
        assert!(
            !mmio.write(0, Space::Memory, 0x1007, &[1, 2]),
            "ends behind"
        );
        assert!(!mmio.read(0, Space::Memory, 0x1000, &mut [0; 4]), "a read");
        for i in 0..KVM_COALESCED_MMIO_MAX - 1 {
            assert!(
                mmio.write(0, Space::Memory, 0x1000, &[i as u8, 0xaa]),
                "{i}"
            );
        }
        assert!(!mmio.write(0, Space::Memory, 0x1000, &[1]), "full");

        let ring = mmio.lock();
        assert_eq!(
            ring.u32(4).unwrap().load(Ordering::Relaxed) as usize,
            KVM_COALESCED_MMIO_MAX - 1
        );
        let mut entry = kvm_coalesced_mmio::default();
        ring.load(8 + 3 * 24, entry.as_mut_bytes());
        assert_eq!((entry.phys_addr, entry.len, entry.pio), (0x1000, 2, 0));
        assert_eq!(entry.data, [3, 0xaa, 0, 0, 0, 0, 0, 0]);
        // User space takes one: there is room for one.
        ring.u32(0).unwrap().store(1, Ordering::Relaxed);
        drop(ring);
        assert!(mmio.write(0, Space::Memory, 0x1000, &[1]));
        assert!(!mmio.write(0, Space::Memory, 0x1000, &[1]));
        // User space writes nonsense: the guest exits.
        mmio.lock()
            .u32(4)
            .unwrap()
            .store(u32::MAX, Ordering::Relaxed);
        assert!(!mmio.write(0, Space::Memory, 0x1000, &[1]));
    }

    #[test]
    fn ports_have_zones_of_their_own() {
        let mmio = CoalescedMmio::new().unwrap();
        mmio.register(&kvm_coalesced_mmio_zone {
            pio: 1,
            ..zone(0x80, 1)
        })
        .unwrap();
        assert!(!mmio.write(0, Space::Memory, 0x80, &[1]));
        assert!(mmio.write(0, Space::Port, 0x80, &[7]));
        let mut entry = kvm_coalesced_mmio::default();
        mmio.lock().load(8, entry.as_mut_bytes());
        assert_eq!((entry.phys_addr, entry.pio, entry.data[0]), (0x80, 1, 7));
    }

    #[test]
    fn unregistering_takes_every_zone_around() {
        let mmio = CoalescedMmio::new().unwrap();
        mmio.register(&zone(0x1000, 16)).unwrap();
        mmio.register(&zone(0x2000, 16)).unwrap();
        mmio.unregister(&zone(0x1004, 4)).unwrap();
        assert!(!mmio.write(0, Space::Memory, 0x1000, &[1]));
        assert!(mmio.write(0, Space::Memory, 0x2000, &[1]));
        let bad = kvm_coalesced_mmio_zone {
            pio: 2,
            ..zone(0, 1)
        };
        assert_eq!(mmio.register(&bad), Err(Errno::EINVAL));
        assert_eq!(mmio.unregister(&bad), Err(Errno::EINVAL));
    }

    #[test]
    fn zones_that_wrap_contain_nothing() {
        let mmio = CoalescedMmio::new().unwrap();
        mmio.register(&zone(u64::MAX - 3, 16)).unwrap();
        assert!(!mmio.write(0, Space::Memory, u64::MAX - 3, &[1]));
        assert!(!mmio.write(0, Space::Memory, u64::MAX, &[1, 2]));
    }

    #[test]
    fn there_is_an_end_to_zones() {
        let mmio = CoalescedMmio::new().unwrap();
        for i in 0..MAX_ZONES as u64 {
            mmio.register(&zone(i * 16, 16)).unwrap();
        }
        assert_eq!(mmio.register(&zone(0, 1)), Err(Errno::ENOSPC));
    }
}
