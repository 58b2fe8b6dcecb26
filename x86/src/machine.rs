//! What the vCPUs of a VM have in common.
//!
//! **Code.** Every vCPU may run what another one writes. The pages that any of them has fetched code
//! from are known to all (`Machine::publish_code`): a store to one is seen, and the others compare
//! their copies with memory before they go on ([`NEW_EPOCH`]), which is sooner than the architecture
//! asks for (SDM vol. 3A, 9.1.3: cross-modifying code needs the other processor's cooperation).

use crate::chipset::Chipset;
use crate::vcpu::peer::Peer;
use crate::{apic, pv, tsc};
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use understudy_engine::bus::Bus;
use understudy_engine::peers::Peers;
use understudy_engine::request::{ARCH_SHIFT, FLUSH_STORES};
use understudy_engine::timekeeper::Timekeeper;
use understudy_memory::GuestMemory;

/// Request to a vCPU ([`understudy_engine::request`]): there is an exit to be made.
pub const LEAVE: u32 = 1 << ARCH_SHIFT;
/// Request to a vCPU: another one has written code, begin a new epoch.
pub const NEW_EPOCH: u32 = 1 << (ARCH_SHIFT + 1);
/// Request of a vCPU of itself: it has written code, which the others have to hear of.
pub(crate) const TELL_EPOCH: u32 = 1 << (ARCH_SHIFT + 2);

/// A VM as its processors see it.
pub struct Machine {
    /// Guest-physical memory.
    pub memory: Arc<GuestMemory>,
    /// Devices without exits.
    pub bus: OnceLock<Arc<dyn Bus>>,
    /// The vCPUs.
    pub vcpus: Peers<Peer>,
    /// What its local APICs have in common.
    pub apic: apic::Options,
    /// Its vCPUs' counters.
    pub tsc: tsc::Shared,
    /// What it offers to guests that know of KVM.
    pub pv: pv::Shared,
    /// What a vCPU that is made now has no exits for ([`crate::idle::exits`],
    /// `KVM_CAP_X86_DISABLE_EXITS`).
    pub disabled_exits: AtomicU64,
    /// Its timers.
    pub(crate) timekeeper: Timekeeper,
    chipset: OnceLock<Chipset>,
    /// Guest-physical pages that code was fetched from.
    code: RwLock<HashSet<u64>>,
    /// Whether there is more than one vCPU.
    parallel: AtomicBool,
}

impl Machine {
    /// A machine without vCPUs.
    pub fn new(memory: Arc<GuestMemory>) -> Arc<Machine> {
        Arc::new(Machine {
            memory,
            bus: OnceLock::new(),
            vcpus: Peers::default(),
            apic: apic::Options::default(),
            tsc: tsc::Shared::default(),
            pv: pv::Shared::default(),
            disabled_exits: AtomicU64::new(0),
            timekeeper: Timekeeper::new(),
            chipset: OnceLock::new(),
            code: RwLock::default(),
            parallel: AtomicBool::new(false),
        })
    }

    /// The interrupt controllers, if they are not user space's.
    #[inline]
    pub fn chipset(&self) -> Option<&Chipset> {
        self.chipset.get()
    }

    /// Makes the interrupt controllers (KVM API 4.24, "KVM_CREATE_IRQCHIP", and 7.5,
    /// `KVM_CAP_SPLIT_IRQCHIP`). False if there are some already (`EEXIST`), or vCPUs (`EINVAL`).
    #[must_use]
    pub fn create_chipset(&self, chipset: Chipset) -> bool {
        let set = self.vcpus.if_empty(|| self.chipset.set(chipset).is_ok());
        set == Some(true)
    }

    /// Adds the vCPU of number `id`.
    pub(crate) fn add(&self, id: u32) -> Arc<Peer> {
        self.vcpus.add(|index| {
            self.parallel.store(index > 0, Ordering::SeqCst);
            Peer::new(self, index, id)
        })
    }

    /// Whether code was fetched from a guest-physical page, which is given by its address.
    pub(crate) fn holds_code(&self, page: u64) -> bool {
        self.code
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&page)
    }

    /// Notes that the vCPU with this index is about to read code from a page. True if that is new:
    /// no other vCPU stores to it unseen then any more, and the caller must forget its own stores.
    pub(crate) fn publish_code(&self, me: usize, page: u64, idle: impl FnMut()) -> bool {
        if self.holds_code(page) {
            return false;
        }
        let mut code = self.code.write().unwrap_or_else(PoisonError::into_inner);
        let new = code.insert(page);
        drop(code);
        if new && self.parallel.load(Ordering::SeqCst) {
            self.vcpus.broadcast_and_wait(Some(me), FLUSH_STORES, idle);
        }
        new
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}
