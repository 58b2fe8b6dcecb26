//! What the kernel's KVM hears by its MMU notifier: that the program's own mappings change under a
//! VM's memory slots.
//!
//! ```text
//!   munmap, mprotect ... of a range   ── HostMemoryChange::begin ──► is there a slot in it?
//!        │                                  its vCPUs keep no host address from now on,
//!        ▼                                  and forget those that they have
//!   the change itself
//!        │
//!   HostMemoryChange dropped          an access to what is gone now is EFAULT from KVM_RUN
//! ```
//!
//! `preload` calls this for a program's calls of libc. A program of the Rust API has promised to keep
//! the memory (see [`crate::VmFd::set_user_memory_region`]), and may call it to be free of that.

use std::sync::{Arc, LazyLock, Weak};

use arc_swap::ArcSwap;
use understudy_engine::request::FLUSH_TLB;

use crate::vm::Vm;

/// The VMs of this process. Read without a lock, as `munmap` may be called from anywhere.
static VMS: LazyLock<ArcSwap<Vec<Weak<Vm>>>> = LazyLock::new(ArcSwap::default);

/// A VM was made.
pub(crate) fn watch(vm: &Arc<Vm>) {
    VMS.rcu(|all| {
        let alive = all.iter().filter(|vm| vm.strong_count() > 0);
        alive
            .cloned()
            .chain([Arc::downgrade(vm)])
            .collect::<Vec<_>>()
    });
}

/// A change of the program's mappings, from before it is made until it is dropped.
#[derive(Debug)]
#[must_use = "the change is over when this is dropped"]
pub struct HostMemoryChange {
    vms: Vec<Arc<Vm>>,
}

impl HostMemoryChange {
    /// The mappings of `length` bytes from `start` on are about to change. Returns once no vCPU of
    /// this process uses them; nothing is done where no memory slot is there.
    pub fn begin(start: usize, length: usize) -> HostMemoryChange {
        let mut vms = Vec::new();
        for vm in VMS.load().iter().filter_map(Weak::upgrade) {
            let memory = &vm.memory;
            if vm.check_alive().is_ok() && memory.has_host_range(start as u64, length as u64) {
                memory.begin_host_change();
                vm.flush(FLUSH_TLB);
                vms.push(vm);
            }
        }
        HostMemoryChange { vms }
    }
}

impl Drop for HostMemoryChange {
    fn drop(&mut self) {
        for vm in &self.vms {
            vm.memory.end_host_change();
        }
    }
}
