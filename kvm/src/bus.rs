//! What user space has put on a VM's bus, in the order in which it is asked.

use std::sync::Arc;

use understudy_engine::bus::{Bus, Space};

/// Devices that are asked one after the other.
pub(crate) struct Devices(pub(crate) Vec<Arc<dyn Bus>>);

impl Bus for Devices {
    fn read(&self, vcpu: usize, space: Space, address: u64, data: &mut [u8]) -> bool {
        let mut devices = self.0.iter();
        devices.any(|device| device.read(vcpu, space, address, data))
    }

    fn write(&self, vcpu: usize, space: Space, address: u64, data: &[u8]) -> bool {
        let mut devices = self.0.iter();
        devices.any(|device| device.write(vcpu, space, address, data))
    }
}
