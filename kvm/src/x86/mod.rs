//! What a VM of an x86-64 guest has beyond every VM.

pub mod proposals;
mod settings;
pub mod sync_regs;

use std::ops::Deref;
use std::sync::Arc;

use understudy_memory::GuestMemory;

pub use proposals::Proposals;
use settings::Shared as Settings;

pub(crate) use understudy_x86::cpuid::PHYSICAL_BITS;

/// The machine with what only KVM's API knows of it.
#[derive(Debug)]
pub(crate) struct Machine {
    machine: Arc<understudy_x86::machine::Machine>,
    pub(crate) settings: Settings,
}

impl Machine {
    /// A machine without vCPUs.
    pub(crate) fn new(memory: Arc<GuestMemory>) -> Machine {
        Machine {
            machine: understudy_x86::machine::Machine::new(memory),
            settings: Settings::default(),
        }
    }
}

impl Deref for Machine {
    type Target = Arc<understudy_x86::machine::Machine>;

    fn deref(&self) -> &Self::Target {
        &self.machine
    }
}
