//! Ioeventfds (api.rst 4.59, "KVM_IOEVENTFD"): a guest's writes to an address, or of a value to it,
//! signal an eventfd, without an exit.

use std::sync::{PoisonError, RwLock};

use understudy_abi::common::{IoeventfdFlags, kvm_ioeventfd};
use understudy_engine::bus::{Bus, Space};

use crate::errno::Errno;
use crate::eventfd::EventFd;

/// What an address is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Memory,
    Port,
    /// s390's, which guests of other architectures cannot reach.
    Ccw,
}

impl Place {
    fn of(flags: u32) -> Place {
        let flags = IoeventfdFlags::from_bits_truncate(flags);
        if flags.contains(IoeventfdFlags::PIO) {
            Place::Port
        } else if flags.contains(IoeventfdFlags::VIRTIO_CCW_NOTIFY) {
            Place::Ccw
        } else {
            Place::Memory
        }
    }

    /// How a guest gets there.
    fn space(self) -> Option<Space> {
        match self {
            Place::Memory => Some(Space::Memory),
            Place::Port => Some(Space::Port),
            Place::Ccw => None,
        }
    }
}

/// Which writes are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    place: Place,
    address: u64,
    /// 0 for any.
    length: u32,
    /// Any if none.
    value: Option<u64>,
}

impl Match {
    fn of(of: &kvm_ioeventfd) -> Match {
        let matches = of.flags & IoeventfdFlags::DATAMATCH.bits() != 0;
        Match {
            place: Place::of(of.flags),
            address: of.addr,
            length: of.len,
            value: matches.then_some(of.datamatch),
        }
    }

    /// Whether a write may be meant by both.
    fn overlaps(&self, other: &Match) -> bool {
        let values = match (self.value, other.value) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        let any = self.length == 0 || other.length == 0;
        (self.place, self.address) == (other.place, other.address)
            && (any || self.length == other.length && values)
    }

    fn meets(&self, space: Space, address: u64, data: &[u8]) -> bool {
        if self.place.space() != Some(space) || self.address != address {
            return false;
        }
        if self.length == 0 {
            return true;
        }
        let mut value = [0; 8];
        let Some(bytes) = value.get_mut(..data.len()) else {
            return false;
        };
        bytes.copy_from_slice(data);
        let value = u64::from_le_bytes(value);
        self.length as usize == data.len() && self.value.is_none_or(|wanted| wanted == value)
    }
}

/// The ioeventfds of a VM.
#[derive(Debug, Default)]
pub(crate) struct Ioeventfds(RwLock<Vec<(Match, EventFd)>>);

impl Ioeventfds {
    /// `KVM_IOEVENTFD`. `full` says whether a space has no room for another device.
    pub(crate) fn set(
        &self,
        of: &kvm_ioeventfd,
        full: impl FnOnce(Space) -> bool,
    ) -> Result<(), Errno> {
        if of.flags & IoeventfdFlags::DEASSIGN.bits() != 0 {
            return self.deassign(of);
        }
        let known = IoeventfdFlags::from_bits(of.flags).is_some();
        let fits = of.addr.checked_add(of.len.into()).is_some();
        let wanted = Match::of(of);
        let sized = matches!(of.len, 1 | 2 | 4 | 8) || of.len == 0 && wanted.value.is_none();
        if !known || !fits || !sized {
            return Err(Errno::EINVAL);
        }
        let event = EventFd::of(of.fd)?;
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.iter().any(|(other, _)| wanted.overlaps(other)) {
            return Err(Errno::EEXIST);
        }
        if wanted.place.space().is_some_and(full) {
            return Err(Errno::ENOSPC);
        }
        all.push((wanted, event));
        Ok(())
    }

    fn deassign(&self, of: &kvm_ioeventfd) -> Result<(), Errno> {
        let event = EventFd::of(of.fd)?;
        let wanted = Match::of(of);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let at = all
            .iter()
            .position(|(other, its)| *other == wanted && its.is(&event));
        all.remove(at.ok_or(Errno::ENOENT)?);
        Ok(())
    }
}

impl Bus for Ioeventfds {
    fn read(&self, _vcpu: usize, _: Space, _address: u64, _data: &mut [u8]) -> bool {
        false
    }

    fn write(&self, _vcpu: usize, space: Space, address: u64, data: &[u8]) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let hit = all.iter().find(|(of, _)| of.meets(space, address, data));
        if let Some((_, event)) = hit {
            event.signal();
        }
        hit.is_some()
    }
}
