//! A virtual machine: what `KVM_CREATE_VM` gives.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use understudy_abi::arm64::{KVM_ARM_TARGET_GENERIC_V8, kvm_arm_counter_offset, kvm_vcpu_init};
use understudy_abi::common::{
    kvm_enable_cap, kvm_irq_level, kvm_userspace_memory_region, kvm_userspace_memory_region2,
};
use understudy_arm64::machine::{Machine as Arm64Machine, Settings};
use understudy_engine::bus::Bus;
use understudy_memory::{GuestMemory, Limits, UserRegion};

use crate::bus::Devices;
use crate::coalesced::CoalescedMmio;
use crate::dirty_ring::Ring;
use crate::errno::Errno;
use crate::guest::{Guest, Peer};
use crate::host_memory;
use crate::ioeventfd::Ioeventfds;
use crate::process;
use crate::shared;
use crate::stats::{Counters, vm_statistics};
use crate::system::{Kvm, limits};
use crate::vcpu::{Vcpu, VcpuFd};

/// What the processors of a VM have in common.
#[derive(Debug)]
pub(crate) enum Machine {
    Arm64(Arc<Arm64Machine>),
    X86(crate::x86::Machine),
}

/// A VM, shared by its descriptors and those of its vCPUs.
#[derive(Debug)]
pub struct Vm {
    pub(crate) system: Kvm,
    /// Guest-physical memory.
    pub(crate) memory: Arc<GuestMemory>,
    pub(crate) machine: Machine,
    pub(crate) coalesced: Arc<CoalescedMmio>,
    pub(crate) ioeventfds: Arc<Ioeventfds>,
    pub(crate) stats: Counters,
    vcpus: Mutex<Vcpus>,
    owner: process::Generation,
    dead: AtomicBool,
}

/// The vCPUs of a VM, and what has to be known before one is made.
#[derive(Debug, Default)]
struct Vcpus {
    /// By id. A vCPU whose last descriptor was closed keeps its id, as in KVM.
    by_id: BTreeMap<u32, Weak<Vcpu>>,
    /// Bytes of the dirty ring of each, once there are such rings.
    ring_size: Option<u32>,
    /// Those rings. As in KVM, they stay when a vCPU's last descriptor is closed.
    rings: Vec<Arc<Ring>>,
}

impl Vm {
    /// EIO if the VM is not this process's, or dead.
    pub(crate) fn check_alive(&self) -> Result<(), Errno> {
        if self.owner != process::Generation::now() || self.dead.load(Ordering::Relaxed) {
            return Err(Errno::EIO);
        }
        Ok(())
    }

    /// The architecture of its guest.
    pub fn guest(&self) -> Guest {
        match self.machine {
            Machine::Arm64(_) => Guest::Arm64,
            Machine::X86(_) => Guest::X86_64,
        }
    }

    /// The machine of an arm64 guest; else as for an ioctl that the architecture does not have.
    pub(crate) fn arm64(&self) -> Result<&Arc<Arm64Machine>, Errno> {
        match &self.machine {
            Machine::Arm64(machine) => Ok(machine),
            Machine::X86(_) => Err(Errno::ENOTTY),
        }
    }

    /// The machine of an x86-64 guest; else as for an ioctl that the architecture does not have.
    pub(crate) fn x86(&self) -> Result<&crate::x86::Machine, Errno> {
        match &self.machine {
            Machine::X86(machine) => Ok(machine),
            Machine::Arm64(_) => Err(Errno::EINVAL),
        }
    }

    /// The vCPUs as other threads reach them, in the order of their making.
    pub fn peers(&self) -> Vec<Peer> {
        match &self.machine {
            Machine::Arm64(machine) => machine.vcpus.all().into_iter().map(Peer::Arm64).collect(),
            Machine::X86(machine) => machine.vcpus.all().into_iter().map(Peer::X86).collect(),
        }
    }

    /// Has every vCPU take a request, and returns once each did or is not running guest code.
    pub(crate) fn broadcast_and_wait(&self, request: u32) {
        match &self.machine {
            Machine::Arm64(machine) => machine.vcpus.broadcast_and_wait(None, request, || ()),
            Machine::X86(machine) => machine.vcpus.broadcast_and_wait(None, request, || ()),
        }
    }

    fn lock_vcpus(&self) -> MutexGuard<'_, Vcpus> {
        self.vcpus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `KVM_CREATE_VCPU`.
    pub(crate) fn create_vcpu(self: &Arc<Vm>, id: u64) -> Result<(Arc<Vcpu>, OwnedFd), Errno> {
        let id = u32::try_from(id).map_err(|_| Errno::EINVAL)?;
        let mut vcpus = self.lock_vcpus();
        let limits = limits(self.guest());
        let bound = match &self.machine {
            Machine::Arm64(_) => limits.max_vcpu_id,
            Machine::X86(machine) => machine.max_vcpu_id(),
        };
        if id >= bound || vcpus.by_id.len() >= limits.max_vcpus as usize {
            return Err(Errno::EINVAL);
        }
        if vcpus.by_id.contains_key(&id) {
            return Err(Errno::EEXIST);
        }
        let (vcpu, fd) = Vcpu::new(self.clone(), id, vcpus.ring_size)?;
        vcpus.by_id.insert(id, Arc::downgrade(&vcpu));
        vcpus.rings.extend(vcpu.ring().cloned());
        Ok((vcpu, fd))
    }

    /// Has each vCPU made from now on have a dirty ring of so many bytes. EINVAL if that is settled, or
    /// there is a vCPU.
    pub(crate) fn use_dirty_rings(&self, size: u32) -> Result<(), Errno> {
        let mut vcpus = self.lock_vcpus();
        if vcpus.ring_size.is_some() || !vcpus.by_id.is_empty() {
            return Err(Errno::EINVAL);
        }
        self.memory.use_dirty_rings()?;
        vcpus.ring_size = Some(size);
        Ok(())
    }

    /// Takes the entries of all dirty rings that user space has harvested, while nobody else does: their
    /// pages, as slot and page of it. EINVAL without rings.
    pub(crate) fn take_harvested(&self) -> Result<Vec<(u32, u64)>, Errno> {
        let vcpus = self.lock_vcpus();
        vcpus.ring_size.ok_or(Errno::EINVAL)?;
        let mut pages = Vec::new();
        for ring in &vcpus.rings {
            ring.take_harvested(&mut pages);
        }
        Ok(pages)
    }

    /// Calls `f` while no vCPU is in an ioctl, and none can begin one. EBUSY if one is.
    pub(crate) fn with_idle_vcpus<R>(&self, f: impl FnOnce() -> R) -> Result<R, Errno> {
        let vcpus = self.lock_vcpus();
        let vcpus: Vec<Arc<Vcpu>> = vcpus.by_id.values().filter_map(Weak::upgrade).collect();
        let locks: Option<Vec<_>> = vcpus.iter().map(|vcpu| vcpu.try_hold()).collect();
        let _locks = locks.ok_or(Errno::EBUSY)?;
        Ok(f())
    }
}

/// A VM's descriptor.
#[derive(Debug)]
pub struct VmFd {
    vm: Arc<Vm>,
    fd: OwnedFd,
}

impl VmFd {
    /// A VM for an arm64 guest.
    pub(crate) fn arm64(system: Kvm, settings: Settings) -> Result<VmFd, Errno> {
        let memory = Arc::new(GuestMemory::new(Limits::arm64(settings.ipa_bits)));
        let machine = Arm64Machine::new(memory.clone(), settings);
        // The machine is new: nobody has set this.
        let _ = machine.uses.set(system.host.uses.clone());
        VmFd::new(system, memory, Machine::Arm64(machine))
    }

    /// A VM for an x86-64 guest.
    pub(crate) fn x86(system: Kvm) -> Result<VmFd, Errno> {
        let memory = Arc::new(GuestMemory::new(Limits::x86(crate::x86::PHYSICAL_BITS)));
        let machine = crate::x86::Machine::new(memory.clone());
        VmFd::new(system, memory, Machine::X86(machine))
    }

    fn new(system: Kvm, memory: Arc<GuestMemory>, machine: Machine) -> Result<VmFd, Errno> {
        let fd = shared::placeholder("kvm-vm")?;
        let coalesced = Arc::new(CoalescedMmio::new()?);
        let ioeventfds = Arc::<Ioeventfds>::default();
        let devices: Vec<Arc<dyn Bus>> = vec![ioeventfds.clone(), coalesced.clone()];
        let bus: Arc<dyn Bus> = Arc::new(Devices(devices));
        // As before.
        let _ = match &machine {
            Machine::Arm64(machine) => machine.bus.set(bus),
            Machine::X86(machine) => machine.bus.set(bus),
        };
        let guest = system.host.guest;
        let vm = Arc::new(Vm {
            system,
            memory,
            machine,
            coalesced,
            ioeventfds,
            stats: Counters::new(vm_statistics(guest)),
            vcpus: Mutex::default(),
            owner: process::Generation::now(),
            dead: AtomicBool::new(false),
        });
        host_memory::watch(&vm);
        Ok(VmFd { vm, fd })
    }

    /// The VM itself, and the descriptor that stands for it.
    pub fn into_parts(self) -> (Arc<Vm>, OwnedFd) {
        (self.vm, self.fd)
    }

    /// The VM itself.
    pub fn vm(&self) -> &Arc<Vm> {
        &self.vm
    }

    /// `KVM_CHECK_EXTENSION` (api.rst 4.4) with a number; see [`crate::capability`].
    pub fn check_extension_raw(&self, capability: u32) -> i32 {
        crate::capability::of_vm(&self.vm, capability)
    }

    /// `KVM_CREATE_VCPU` (4.7).
    ///
    /// # Errors
    ///
    /// EINVAL if the id is 512 or more, or the VM has 512 vCPUs; EEXIST if it has one of this id;
    /// ENOMEM, EMFILE, ENFILE where the process has no more.
    pub fn create_vcpu(&self, id: u64) -> Result<VcpuFd, Errno> {
        let (vcpu, fd) = self.vm.create_vcpu(id)?;
        Ok(VcpuFd::new(vcpu, fd))
    }

    /// `KVM_SET_USER_MEMORY_REGION` (4.35): creates, changes or, with size 0, deletes a slot.
    ///
    /// # Safety
    ///
    /// The memory is the guest's as long as the slot exists: it must not be, or become, that of a
    /// Rust object which the guest's or KVM's accesses could race with.
    ///
    /// # Errors
    ///
    /// [`understudy_memory::RegionError`]'s.
    pub unsafe fn set_user_memory_region(
        &self,
        region: kvm_userspace_memory_region,
    ) -> Result<(), Errno> {
        self.vm.set_user_memory_region(&UserRegion {
            slot: region.slot,
            flags: region.flags,
            guest_phys_addr: region.guest_phys_addr,
            memory_size: region.memory_size,
            userspace_addr: region.userspace_addr,
        })
    }

    /// `KVM_SET_USER_MEMORY_REGION2` (4.140). No VM has private memory: `KVM_MEM_GUEST_MEMFD` is
    /// EINVAL.
    ///
    /// # Safety
    ///
    /// As [`VmFd::set_user_memory_region`].
    ///
    /// # Errors
    ///
    /// As [`VmFd::set_user_memory_region`].
    pub unsafe fn set_user_memory_region2(
        &self,
        region: kvm_userspace_memory_region2,
    ) -> Result<(), Errno> {
        self.vm.set_user_memory_region(&UserRegion {
            slot: region.slot,
            flags: region.flags,
            guest_phys_addr: region.guest_phys_addr,
            memory_size: region.memory_size,
            userspace_addr: region.userspace_addr,
        })
    }

    /// `KVM_GET_DIRTY_LOG` (4.8): the pages of a slot that were written since the last call, bit
    /// `n % 64` of word `n / 64` for page `n`. `memory_size` is that of the slot, in bytes, and
    /// only there for `kvm-ioctls`' sake.
    ///
    /// # Errors
    ///
    /// EINVAL for a slot number or address space that cannot be, ENOENT for a slot without log, ENXIO
    /// where dirty rings have taken the log's place.
    pub fn get_dirty_log(&self, slot: u32, _memory_size: usize) -> Result<Vec<u64>, Errno> {
        self.vm.get_dirty_log(slot)
    }

    /// `KVM_CLEAR_DIRTY_LOG` (4.117): forgets the pages whose bits are set, from `first_page` on.
    ///
    /// # Errors
    ///
    /// EINVAL for a range that is not of whole words or not in the slot; else as
    /// [`VmFd::get_dirty_log`].
    pub fn clear_dirty_log(
        &self,
        slot: u32,
        first_page: u64,
        num_pages: u32,
        bitmap: &[u64],
    ) -> Result<(), Errno> {
        self.vm.clear_dirty_log(slot, first_page, num_pages, bitmap)
    }

    /// `KVM_RESET_DIRTY_RINGS` (8.29): takes back the entries of dirty rings that were harvested, and
    /// gives how many. Their pages are to be looked at after this.
    ///
    /// # Errors
    ///
    /// EINVAL on a VM without `KVM_CAP_DIRTY_LOG_RING`.
    pub fn reset_dirty_rings(&self) -> Result<i32, Errno> {
        self.vm.reset_dirty_rings()
    }

    /// `KVM_ENABLE_CAP` (4.37, 7).
    ///
    /// # Errors
    ///
    /// EINVAL for a capability that cannot be enabled, or with these arguments.
    pub fn enable_cap(&self, cap: &kvm_enable_cap) -> Result<(), Errno> {
        self.vm.enable_cap(cap)
    }

    /// `KVM_ARM_PREFERRED_TARGET` (4.83).
    ///
    /// # Errors
    ///
    /// None.
    pub fn get_preferred_target(&self, init: &mut kvm_vcpu_init) -> Result<(), Errno> {
        *init = kvm_vcpu_init {
            target: KVM_ARM_TARGET_GENERIC_V8,
            ..kvm_vcpu_init::default()
        };
        Ok(())
    }

    /// `KVM_IRQ_LINE` (4.25), with its `irq` as the kernel's documentation lays it out.
    ///
    /// # Errors
    ///
    /// EINVAL for a kind of line, a vCPU or a number that there is not; ENXIO for a line of an
    /// in-kernel interrupt controller, which the VM does not have.
    pub fn set_irq_line(&self, irq: u32, active: bool) -> Result<(), Errno> {
        self.vm.irq_line(&kvm_irq_level {
            irq,
            level: active.into(),
        })
    }

    /// `KVM_ARM_SET_COUNTER_OFFSET` (4.138).
    ///
    /// # Errors
    ///
    /// EINVAL if `reserved` is not 0; EBUSY while a vCPU is in an ioctl.
    pub fn set_counter_offset(&self, offset: &kvm_arm_counter_offset) -> Result<(), Errno> {
        self.vm.set_counter_offset(offset)
    }

    /// `KVM_GET_STATS_FD` (4.133).
    ///
    /// # Errors
    ///
    /// ENOMEM, EMFILE, ENFILE where the process has no more.
    pub fn get_stats_fd(&self) -> Result<OwnedFd, Errno> {
        self.vm.stats_fd()
    }
}

impl AsFd for VmFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for VmFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
