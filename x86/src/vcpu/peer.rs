//! What other threads can see and do of a vCPU.

use crate::apic::Apic;
use crate::machine::Machine;
use std::ops::Deref;
use understudy_engine::peers::Handle;

/// A vCPU as others reach it.
#[derive(Debug)]
pub struct Peer {
    handle: Handle,
    apic: Apic,
}

impl Peer {
    pub(crate) fn new(machine: &Machine, index: usize, id: u32) -> Peer {
        Peer {
            handle: Handle::new(index, id),
            apic: Apic::new(machine, id),
        }
    }

    /// Its local APIC.
    #[inline]
    pub fn apic(&self) -> &Apic {
        &self.apic
    }
}

impl Deref for Peer {
    type Target = Handle;

    #[inline]
    fn deref(&self) -> &Handle {
        &self.handle
    }
}
