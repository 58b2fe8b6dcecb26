//! A virtual processor: what `KVM_CREATE_VCPU` gives.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use understudy_abi::arm64::reg::size_of_id;
use understudy_abi::arm64::{
    KVM_COALESCED_MMIO_PAGE_OFFSET, kvm_guest_debug, kvm_vcpu_events, kvm_vcpu_init,
};
use understudy_abi::common::kvm_mp_state;
use understudy_abi::run::Run;
use understudy_abi::{PAGE_SIZE, exit};
use understudy_arm64::vcpu::Vcpu as Processor;
use understudy_arm64::vcpu::peer::Peer;

use crate::errno::Errno;
use crate::shared::SharedPages;
use crate::stats::{Counters, VCPU_STATS};
use crate::system::VCPU_MMAP_SIZE;
use crate::vm::Vm;

/// What an ioctl on a vCPU works on. Held for as long as the ioctl takes, `KVM_RUN` included: other
/// threads' ioctls wait, as for KVM's `vcpu->mutex`.
pub(crate) struct State {
    pub(crate) cpu: Processor,
    /// Signals that are blocked while the guest runs (`KVM_SET_SIGNAL_MASK`), bit `n - 1` for
    /// signal `n`; the thread's own if none.
    pub(crate) signal_mask: Option<u64>,
    /// Bits of PSTATE that the processor does not have and user space has set: KVM keeps them until
    /// the guest runs.
    pub(crate) pstate_kept: u64,
}

/// A vCPU, shared by its descriptors.
pub struct Vcpu {
    vm: Arc<Vm>,
    id: u32,
    pub(crate) peer: Arc<Peer>,
    pub(crate) run: Run<SharedPages>,
    pub(crate) stats: Counters,
    state: Mutex<State>,
}

impl Vcpu {
    pub(crate) fn new(vm: Arc<Vm>, id: u32) -> Result<(Arc<Vcpu>, OwnedFd), Errno> {
        let (pages, fd) = SharedPages::new("kvm-vcpu", VCPU_MMAP_SIZE)?;
        let cpu = Processor::new(&vm.machine, id);
        let vcpu = Vcpu {
            id,
            peer: cpu.peer().clone(),
            run: Run(pages),
            stats: Counters::new(VCPU_STATS),
            state: Mutex::new(State {
                cpu,
                signal_mask: None,
                pstate_kept: 0,
            }),
            vm,
        };
        Ok((Arc::new(vcpu), fd))
    }

    /// The VM that it belongs to.
    pub fn vm(&self) -> &Arc<Vm> {
        &self.vm
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The page of a vCPU's mapping that is not in the vCPU's own descriptor, as all vCPUs of the
    /// VM share it: its offset in the mapping, and the descriptor that has it at offset 0. Whoever
    /// maps a vCPU for a program maps this over it.
    pub fn coalesced_mmio_page(&self) -> (usize, BorrowedFd<'_>) {
        (
            KVM_COALESCED_MMIO_PAGE_OFFSET * PAGE_SIZE,
            self.vm.coalesced.page(),
        )
    }

    /// The vCPU as other threads reach it: its power state, its lines, and what ends its run.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same unless an ioctl is going on.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The same once the vCPU is initialised; ENOEXEC before. A reset that it owes is made first
    /// (IDR-4).
    pub(crate) fn lock_initialized(&self) -> Result<MutexGuard<'_, State>, Errno> {
        let mut state = self.lock();
        match state.cpu.features() {
            Some(_) => {
                state.cpu.settle_reset();
                Ok(state)
            }
            None => Err(Errno::ENOEXEC),
        }
    }
}

impl fmt::Debug for Vcpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vcpu")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why `KVM_RUN` returned, with the names of `kvm-ioctls`.
#[derive(Debug, PartialEq, Eq)]
pub enum VcpuExit<'a> {
    /// `KVM_EXIT_MMIO`: a load from no memory, at an address; the slice takes what it finds.
    MmioRead(u64, &'a mut [u8]),
    /// `KVM_EXIT_MMIO`: a store to no memory, at an address.
    MmioWrite(u64, &'a [u8]),
    /// `KVM_EXIT_HYPERCALL`.
    Hypercall(exit::hypercall),
    /// `KVM_EXIT_DEBUG`.
    Debug(understudy_abi::arm64::kvm_debug_exit_arch),
    /// `KVM_EXIT_SYSTEM_EVENT`: its type and data.
    SystemEvent(u32, Vec<u64>),
    /// `KVM_EXIT_ARM_NISV`.
    ArmNisv(exit::arm_nisv),
    /// `KVM_EXIT_FAIL_ENTRY`: reason and physical CPU.
    FailEntry(u64, u32),
    /// `KVM_EXIT_INTERNAL_ERROR`.
    InternalError,
    /// Another exit reason.
    Unsupported(u32),
}

/// A vCPU's descriptor.
#[derive(Debug)]
pub struct VcpuFd {
    vcpu: Arc<Vcpu>,
    fd: OwnedFd,
    /// The data of the last MMIO exit; what a device puts here goes to the guest.
    data: [u8; 8],
}

impl VcpuFd {
    pub(crate) fn new(vcpu: Arc<Vcpu>, fd: OwnedFd) -> VcpuFd {
        VcpuFd {
            vcpu,
            fd,
            data: [0; 8],
        }
    }

    /// The vCPU itself, and the descriptor that stands for it: a memfd with `kvm_run`.
    pub fn into_parts(self) -> (Arc<Vcpu>, OwnedFd) {
        (self.vcpu, self.fd)
    }

    /// The vCPU itself.
    pub fn vcpu(&self) -> &Arc<Vcpu> {
        &self.vcpu
    }

    /// `KVM_RUN` (api.rst 4.10).
    ///
    /// # Errors
    ///
    /// Those of `KVM_RUN`'s row in the table: EINTR, ENOEXEC, EFAULT, ENOSYS.
    pub fn run(&mut self) -> Result<VcpuExit<'_>, Errno> {
        const DATA: usize =
            understudy_abi::run::EXIT_UNION + std::mem::offset_of!(exit::mmio, data);
        let page = &self.vcpu.run;
        // What a device has answered to the last read.
        if page.exit_reason() == exit::KVM_EXIT_MMIO && page.exit::<exit::mmio>().is_write == 0 {
            page.write(DATA, &self.data);
        }
        self.vcpu.run()?;
        let page = &self.vcpu.run;
        Ok(match page.exit_reason() {
            exit::KVM_EXIT_MMIO => {
                let mmio: exit::mmio = page.exit();
                let length = (mmio.len as usize).min(self.data.len());
                self.data = mmio.data;
                if mmio.is_write != 0 {
                    VcpuExit::MmioWrite(mmio.phys_addr, &self.data[..length])
                } else {
                    self.data = [0; 8];
                    VcpuExit::MmioRead(mmio.phys_addr, &mut self.data[..length])
                }
            }
            exit::KVM_EXIT_HYPERCALL => VcpuExit::Hypercall(page.exit()),
            exit::KVM_EXIT_DEBUG => VcpuExit::Debug(page.exit()),
            exit::KVM_EXIT_SYSTEM_EVENT => {
                let event: exit::system_event = page.exit();
                let data = event.data.iter().take(event.ndata as usize);
                VcpuExit::SystemEvent(event.r#type, data.copied().collect())
            }
            exit::KVM_EXIT_ARM_NISV => VcpuExit::ArmNisv(page.exit()),
            exit::KVM_EXIT_FAIL_ENTRY => {
                let entry: exit::fail_entry = page.exit();
                VcpuExit::FailEntry(entry.hardware_entry_failure_reason, entry.cpu)
            }
            exit::KVM_EXIT_INTERNAL_ERROR => VcpuExit::InternalError,
            reason => VcpuExit::Unsupported(reason),
        })
    }

    /// Sets `kvm_run.immediate_exit`: the next [`VcpuFd::run`] is EINTR.
    pub fn set_kvm_immediate_exit(&self, value: u8) {
        let offset = understudy_abi::run::IMMEDIATE_EXIT;
        self.vcpu.run.write(offset, &value);
    }

    /// `kvm_run.flags`.
    pub fn kvm_run_flags(&self) -> u16 {
        self.vcpu.run.flags()
    }

    /// `kvm_run.s.regs.device_irq_level`.
    pub fn device_irq_level(&self) -> u64 {
        let regs: understudy_abi::arm64::kvm_sync_regs = self.vcpu.run.sync_regs();
        regs.device_irq_level
    }

    /// What makes a [`VcpuFd::run`] on another thread return EINTR. Can be used in a signal
    /// handler.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.vcpu.peer
    }

    /// `KVM_ARM_VCPU_INIT` (4.82).
    ///
    /// # Errors
    ///
    /// ENOENT for a feature that KVM does not know; EINVAL for a target or feature that the host
    /// does not have, or for features unlike those of the VM's other vCPUs.
    pub fn vcpu_init(&self, init: &kvm_vcpu_init) -> Result<(), Errno> {
        self.vcpu.init(init)
    }

    /// `KVM_ARM_VCPU_FINALIZE` (4.119).
    ///
    /// # Errors
    ///
    /// ENOEXEC before [`VcpuFd::vcpu_init`]; EINVAL for a feature that the vCPU does not have or
    /// that needs no finalising.
    pub fn vcpu_finalize(&self, feature: &i32) -> Result<(), Errno> {
        self.vcpu.finalize(*feature)
    }

    /// `KVM_GET_ONE_REG` (4.69): copies the register into `data`, gives its size.
    ///
    /// # Errors
    ///
    /// ENOEXEC before [`VcpuFd::vcpu_init`]; ENOENT for a register that the vCPU does not have;
    /// EINVAL for an id that makes no sense, or if `data` is too small.
    pub fn get_one_reg(&self, reg_id: u64, data: &mut [u8]) -> Result<usize, Errno> {
        let size = size_of_id(reg_id);
        let data = data.get_mut(..size).ok_or(Errno::EINVAL)?;
        let value = self.vcpu.get_one_reg(reg_id)?;
        for (to, from) in data.iter_mut().zip(value.to_ne_bytes_of(size)) {
            *to = from;
        }
        Ok(size)
    }

    /// `KVM_SET_ONE_REG` (4.68); gives the register's size.
    ///
    /// # Errors
    ///
    /// As [`VcpuFd::get_one_reg`]; EINVAL for a value that the register cannot have; EBUSY for an
    /// ID register once the VM has run.
    pub fn set_one_reg(&self, reg_id: u64, data: &[u8]) -> Result<usize, Errno> {
        let size = size_of_id(reg_id);
        let data = data.get(..size).ok_or(Errno::EINVAL)?;
        self.vcpu.set_one_reg(reg_id, data)?;
        Ok(size)
    }

    /// `KVM_GET_REG_LIST` (4.84): the ids of all registers.
    ///
    /// # Errors
    ///
    /// ENOEXEC before [`VcpuFd::vcpu_init`].
    pub fn get_reg_list(&self) -> Result<Vec<u64>, Errno> {
        self.vcpu.reg_list()
    }

    /// `KVM_SET_GUEST_DEBUG` (4.87; requirements 6.5).
    ///
    /// # Errors
    ///
    /// EINVAL for a bit of `control` that KVM does not know.
    pub fn set_guest_debug(&self, debug: &kvm_guest_debug) -> Result<(), Errno> {
        self.vcpu.set_guest_debug(debug)
    }

    /// `KVM_GET_MP_STATE` (4.38).
    ///
    /// # Errors
    ///
    /// None.
    pub fn get_mp_state(&self) -> Result<kvm_mp_state, Errno> {
        Ok(self.vcpu.mp_state())
    }

    /// `KVM_SET_MP_STATE` (4.39).
    ///
    /// # Errors
    ///
    /// EINVAL for a state that arm64 does not have.
    pub fn set_mp_state(&self, state: kvm_mp_state) -> Result<(), Errno> {
        self.vcpu.set_mp_state(state)
    }

    /// `KVM_GET_VCPU_EVENTS` (4.31).
    ///
    /// # Errors
    ///
    /// ENOEXEC before [`VcpuFd::vcpu_init`].
    pub fn get_vcpu_events(&self) -> Result<kvm_vcpu_events, Errno> {
        self.vcpu.events()
    }

    /// `KVM_SET_VCPU_EVENTS` (4.32).
    ///
    /// # Errors
    ///
    /// ENOEXEC before [`VcpuFd::vcpu_init`]; EINVAL if what is reserved is not 0, or the syndrome
    /// has bits outside the ISS.
    pub fn set_vcpu_events(&self, events: &kvm_vcpu_events) -> Result<(), Errno> {
        self.vcpu.set_events(events)
    }

    /// `KVM_GET_STATS_FD` (4.133).
    ///
    /// # Errors
    ///
    /// ENOMEM, EMFILE, ENFILE where the process has no more.
    pub fn get_stats_fd(&self) -> Result<OwnedFd, Errno> {
        self.vcpu.stats_fd()
    }
}

impl AsFd for VcpuFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for VcpuFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
