//! A VM with one slot of memory and one vCPU.

use understudy_abi::common::kvm_userspace_memory_region;
use understudy_kvm::{Kvm, VcpuFd, VmFd};

use crate::error::{Error, named};

/// The VM, ready to have its vCPU's registers set.
pub(crate) struct Machine {
    pub(crate) vcpu: VcpuFd,
    pub(crate) vm: VmFd,
    // Last, so that the memory outlives the slot.
    _memory: memmap2::MmapMut,
}

impl Machine {
    /// A machine with this image at the beginning of its memory, which is `size` bytes at `base`.
    pub(crate) fn new(kvm: &Kvm, image: &[u8], base: u64, size: usize) -> Result<Machine, Error> {
        let mut memory = memmap2::MmapMut::map_anon(size).map_err(Error::Memory)?;
        memory[..image.len()].copy_from_slice(image);
        let vm = named("KVM_CREATE_VM", kvm.create_vm())?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: base,
            memory_size: size as u64,
            userspace_addr: memory.as_mut_ptr() as u64,
        };
        // SAFETY: the mapping is used by nothing else from here on, and outlives the VM.
        named("KVM_SET_USER_MEMORY_REGION", unsafe {
            vm.set_user_memory_region(region)
        })?;
        let vcpu = named("KVM_CREATE_VCPU", vm.create_vcpu(0))?;
        Ok(Machine {
            vcpu,
            vm,
            _memory: memory,
        })
    }
}
