//! What a VM of an x86-64 guest has beyond every VM.

pub mod proposals;
pub mod sync_regs;

use std::ops::Deref;
use std::sync::Arc;

use understudy_memory::GuestMemory;

pub use proposals::Proposals;

/// Bits of a guest-physical address (CPUID leaf 0x80000008, EAX bits 7:0).
pub(crate) const PHYSICAL_BITS: u32 = 48;

/// The machine with what only KVM's API knows of it.
#[derive(Debug)]
pub(crate) struct Machine {
    machine: Arc<understudy_x86::machine::Machine>,
}

impl Machine {
    /// A machine without vCPUs.
    pub(crate) fn new(memory: Arc<GuestMemory>) -> Machine {
        Machine {
            machine: understudy_x86::machine::Machine::new(memory),
        }
    }
}

impl Deref for Machine {
    type Target = Arc<understudy_x86::machine::Machine>;

    fn deref(&self) -> &Self::Target {
        &self.machine
    }
}
