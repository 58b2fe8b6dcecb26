//! What a VM of an x86-64 guest has beyond every VM.

mod irqfd;
pub mod module;
pub mod proposals;
mod settings;
pub mod sync_regs;

use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use understudy_memory::GuestMemory;

use crate::errno::Errno;
use crate::guest::Guest;
use crate::system::limits;

use irqfd::Irqfds;
pub use proposals::Proposals;
use settings::Shared as Settings;

pub(crate) use understudy_x86::cpuid::PHYSICAL_BITS;

/// The machine with what only KVM's API knows of it.
#[derive(Debug)]
pub(crate) struct Machine {
    machine: Arc<understudy_x86::machine::Machine>,
    pub(crate) settings: Settings,
    pub(crate) irqfds: Irqfds,
    /// The bound of vCPUs' ids, once user space has set it (`KVM_CAP_MAX_VCPU_ID`).
    max_vcpu_id: OnceLock<u32>,
}

impl Machine {
    /// A machine without vCPUs.
    pub(crate) fn new(memory: Arc<GuestMemory>) -> Machine {
        Machine {
            machine: understudy_x86::machine::Machine::new(memory),
            settings: Settings::default(),
            irqfds: Irqfds::new(),
            max_vcpu_id: OnceLock::new(),
        }
    }
}

impl Machine {
    /// The bound of vCPUs' ids.
    pub(crate) fn max_vcpu_id(&self) -> u32 {
        let limit = limits(Guest::X86_64).max_vcpu_id;
        self.max_vcpu_id.get().copied().unwrap_or(limit)
    }

    /// Sets the bound of vCPUs' ids, once.
    pub(crate) fn set_max_vcpu_id(&self, bound: u64) -> Result<(), Errno> {
        let limit = limits(Guest::X86_64).max_vcpu_id;
        let bound = u32::try_from(bound).ok().filter(|bound| *bound <= limit);
        let bound = bound.ok_or(Errno::EINVAL)?;
        if self.apic.boot_cpu.load(Ordering::SeqCst) > bound {
            return Err(Errno::EINVAL);
        }
        match *self.max_vcpu_id.get_or_init(|| bound) == bound {
            true => Ok(()),
            false => Err(Errno::EINVAL),
        }
    }
}

impl Deref for Machine {
    type Target = Arc<understudy_x86::machine::Machine>;

    fn deref(&self) -> &Self::Target {
        &self.machine
    }
}
