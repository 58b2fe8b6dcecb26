//! `KVM_SET_USER_MEMORY_REGION` (api.rst 4.35) and `KVM_SET_USER_MEMORY_REGION2` (4.140).

use std::sync::Arc;

use understudy_abi::common::{MemFlags, kvm_userspace_memory_region, kvm_userspace_memory_region2};
use understudy_abi::ioctl::{KVM_SET_USER_MEMORY_REGION, KVM_SET_USER_MEMORY_REGION2};
use understudy_engine::request::FLUSH_TLB;
use understudy_memory::{Change, UserRegion};

use crate::errno::Errno;
use crate::stats::{REMOTE_TLB_FLUSH, REMOTE_TLB_FLUSH_REQUESTS};
use crate::table::{Call, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_SET_USER_MEMORY_REGION: Vm region, "creates, changes or deletes a memory slot",
        EFAULT "the argument cannot be read, or the range ends beyond the IPA size",
        EINVAL "the slot, address space, flags, alignment or size cannot be; nothing to delete; a \
                slot's size, memory or KVM_MEM_READONLY would change",
        EEXIST "another slot has some of the range",
        ENOMEM "no memory for the dirty log"),
    row!(KVM_SET_USER_MEMORY_REGION2: Vm region2, "the same, with room for a guest_memfd",
        EFAULT "the argument cannot be read, or the range ends beyond the IPA size",
        EINVAL "as KVM_SET_USER_MEMORY_REGION; KVM_MEM_GUEST_MEMFD, as no VM has private memory",
        EEXIST "another slot has some of the range",
        ENOMEM "no memory for the dirty log"),
];

impl Vm {
    pub(crate) fn set_user_memory_region(&self, region: &UserRegion) -> Result<(), Errno> {
        // KVM changes a slot and has no vCPU use the old one when it returns.
        match self.memory.set_region(region)? {
            Change::Nothing => {}
            _ => self.flush(FLUSH_TLB),
        }
        Ok(())
    }

    /// Has every vCPU take a request, and returns once it did.
    pub(crate) fn flush(&self, request: u32) {
        self.stats.count_shared(REMOTE_TLB_FLUSH_REQUESTS);
        self.broadcast_and_wait(request);
        self.stats.count_shared(REMOTE_TLB_FLUSH);
    }
}

fn region(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let region: kvm_userspace_memory_region = call.read()?;
    let known = MemFlags::LOG_DIRTY_PAGES | MemFlags::READONLY;
    if region.flags & !known.bits() != 0 {
        return Err(Errno::EINVAL);
    }
    vm.set_user_memory_region(&UserRegion {
        slot: region.slot,
        flags: region.flags,
        guest_phys_addr: region.guest_phys_addr,
        memory_size: region.memory_size,
        userspace_addr: region.userspace_addr,
    })?;
    Ok(0)
}

fn region2(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let region: kvm_userspace_memory_region2 = call.read()?;
    vm.set_user_memory_region(&UserRegion {
        slot: region.slot,
        flags: region.flags,
        guest_phys_addr: region.guest_phys_addr,
        memory_size: region.memory_size,
        userspace_addr: region.userspace_addr,
    })?;
    Ok(0)
}
