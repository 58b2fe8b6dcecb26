//! A virtual processor: what `KVM_CREATE_VCPU` gives.

pub(crate) mod arm64;
pub(crate) mod x86;

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use understudy_abi::common::kvm_mp_state;
use understudy_abi::run::Run;
use understudy_abi::{PAGE_SIZE, exit};
use understudy_memory::ring::RingInUse;

use crate::dirty_ring::{self, Ring};
use crate::errno::Errno;
use crate::guest::Peer;
use crate::shared::SharedPages;
use crate::stats::{Counters, vcpu_statistics};
use crate::system::limits;
use crate::vm::{Machine, Vm};

/// No signal mask: SIGKILL is in none.
const NO_MASK: u64 = u64::MAX;

/// The processor, with what an ioctl works on. It is held for as long as the ioctl takes, `KVM_RUN`
/// included: other threads' ioctls wait, as for KVM's `vcpu->mutex`.
enum Processor {
    Arm64(Box<Mutex<arm64::State>>),
    X86(Box<Mutex<x86::State>>),
}

/// What keeps other threads' ioctls waiting.
#[expect(dead_code, reason = "held, not looked at")]
pub(crate) enum Held<'a> {
    Arm64(MutexGuard<'a, arm64::State>),
    X86(MutexGuard<'a, x86::State>),
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock<T>(state: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match state.try_lock() {
        Ok(state) => Some(state),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A vCPU, shared by its descriptors.
pub struct Vcpu {
    vm: Arc<Vm>,
    id: u32,
    pub(crate) peer: Peer,
    pub(crate) run: Run<SharedPages>,
    pub(crate) stats: Counters,
    /// Where the VM has such rings.
    ring: Option<Arc<Ring>>,
    /// Signals that are blocked while the guest runs (`KVM_SET_SIGNAL_MASK`), bit `n - 1` for
    /// signal `n`; the thread's own if [`NO_MASK`].
    signal_mask: AtomicU64,
    processor: Processor,
}

impl Vcpu {
    /// The vCPU of this number, with a dirty ring of so many bytes.
    pub(crate) fn new(
        vm: Arc<Vm>,
        id: u32,
        ring_size: Option<u32>,
    ) -> Result<(Arc<Vcpu>, OwnedFd), Errno> {
        let guest = vm.guest();
        let length = match ring_size {
            None => limits(guest).vcpu_mmap_size,
            Some(size) => dirty_ring::OFFSET + size as usize,
        };
        let (pages, fd) = SharedPages::new("kvm-vcpu", length)?;
        let ring = ring_size
            .map(|size| SharedPages::map(&fd, dirty_ring::OFFSET, size as usize))
            .transpose()?;
        let (peer, processor) = match &vm.machine {
            Machine::Arm64(machine) => {
                let cpu = understudy_arm64::vcpu::Vcpu::new(machine, id);
                let peer = Peer::Arm64(cpu.peer().clone());
                let pstate_kept = 0;
                let state = arm64::State { cpu, pstate_kept };
                (peer, Processor::Arm64(Box::new(Mutex::new(state))))
            }
            Machine::X86(machine) => {
                let state = x86::State::new(machine, id, vm.system.host.x86_proposals)?;
                let peer = Peer::X86(state.cpu.peer().clone());
                (peer, Processor::X86(Box::new(Mutex::new(state))))
            }
        };
        let ring = ring.map(|pages| Arc::new(Ring::new(pages, peer.requests().clone())));
        let vcpu = Vcpu {
            id,
            peer,
            ring,
            run: Run(pages),
            stats: Counters::new(vcpu_statistics(guest)),
            signal_mask: AtomicU64::new(NO_MASK),
            processor,
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
            limits(self.vm.guest()).coalesced_mmio_page * PAGE_SIZE,
            self.vm.coalesced.page(),
        )
    }

    /// The vCPU as other threads reach it: what ends its run.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What an ioctl on a vCPU of an arm64 guest works on; else as for an ioctl that the
    /// architecture does not have.
    pub(crate) fn arm64(&self) -> Result<MutexGuard<'_, arm64::State>, Errno> {
        match &self.processor {
            Processor::Arm64(state) => Ok(lock(state)),
            Processor::X86(_) => Err(Errno::EINVAL),
        }
    }

    /// The same for an x86-64 guest.
    pub(crate) fn x86(&self) -> Result<MutexGuard<'_, x86::State>, Errno> {
        match &self.processor {
            Processor::X86(state) => {
                let mut state = lock(state);
                self.settle_x86(&mut state);
                Ok(state)
            }
            Processor::Arm64(_) => Err(Errno::EINVAL),
        }
    }

    /// Has the processor follow what was set for its VM meanwhile.
    fn settle_x86(&self, state: &mut x86::State) {
        if let Machine::X86(machine) = &self.vm.machine {
            let settings = &machine.settings;
            settings.settle(state.cpu.cpu_mut(), &mut state.changes);
        }
    }

    /// Keeps other threads' ioctls waiting.
    pub(crate) fn hold(&self) -> Held<'_> {
        match &self.processor {
            Processor::Arm64(state) => Held::Arm64(lock(state)),
            Processor::X86(state) => Held::X86(lock(state)),
        }
    }

    /// The same unless an ioctl is going on.
    pub(crate) fn try_hold(&self) -> Option<Held<'_>> {
        match &self.processor {
            Processor::Arm64(state) => try_lock(state).map(Held::Arm64),
            Processor::X86(state) => try_lock(state).map(Held::X86),
        }
    }

    /// The mask of `KVM_SET_SIGNAL_MASK`.
    pub(crate) fn signal_mask(&self) -> Option<u64> {
        let mask = self.signal_mask.load(Ordering::Relaxed);
        (mask != NO_MASK).then_some(mask)
    }

    /// Sets it.
    pub(crate) fn set_signal_mask(&self, mask: Option<u64>) {
        let killable = !(1 << (libc::SIGKILL - 1));
        let mask = mask.map_or(NO_MASK, |mask| mask & killable);
        self.signal_mask.store(mask, Ordering::Relaxed);
    }

    /// Its dirty ring.
    pub(crate) fn ring(&self) -> Option<&Arc<Ring>> {
        self.ring.as_ref()
    }

    /// Has pages that this thread dirties go into the vCPU's ring, if it has one.
    pub(crate) fn use_ring(&self) -> Option<RingInUse> {
        self.ring
            .as_ref()
            .map(|ring| RingInUse::begin(ring.clone()))
    }

    /// Whether a mapping of so many bytes of the vCPU's descriptor begins or ends in its dirty ring:
    /// it has to be shared, and not executable, else it is EINVAL.
    pub fn maps_dirty_ring(&self, offset: u64, length: usize) -> bool {
        let Some(ring) = &self.ring else {
            return false;
        };
        let first = dirty_ring::OFFSET as u64;
        let ring = first..first + ring.size() as u64;
        let last = offset.saturating_add((length as u64).saturating_sub(1));
        ring.contains(&offset) || ring.contains(&last)
    }

    /// `KVM_RUN`: what it leaves is in `kvm_run`.
    pub(crate) fn run(&self) -> Result<(), Errno> {
        let _ring = self.use_ring();
        match &self.processor {
            Processor::Arm64(state) => self.run_arm64(&mut lock(state)),
            Processor::X86(state) => {
                let mut state = lock(state);
                self.settle_x86(&mut state);
                self.run_x86(&mut state)
            }
        }
    }
}

/// What `KVM_SET_GUEST_DEBUG` takes, which each architecture has its own structure for.
pub trait GuestDebug {
    #[doc(hidden)]
    fn set(&self, vcpu: &Vcpu) -> Result<(), Errno>;
}

/// What `KVM_GET_VCPU_EVENTS` gives, which each architecture has its own structure for.
pub trait VcpuEvents: Sized {
    #[doc(hidden)]
    fn get(vcpu: &Vcpu) -> Result<Self, Errno>;
    #[doc(hidden)]
    fn set(&self, vcpu: &Vcpu) -> Result<(), Errno>;
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
    /// `KVM_EXIT_IO`: an IN, or INS, from a port; the slice takes what it finds.
    IoIn(u16, &'a mut [u8]),
    /// `KVM_EXIT_IO`: an OUT, or OUTS, to a port.
    IoOut(u16, &'a [u8]),
    /// `KVM_EXIT_HLT`.
    Hlt,
    /// `KVM_EXIT_IRQ_WINDOW_OPEN`.
    IrqWindowOpen,
    /// `KVM_EXIT_SET_TPR`.
    SetTpr,
    /// `KVM_EXIT_TPR_ACCESS`.
    TprAccess,
    /// `KVM_EXIT_SHUTDOWN`.
    Shutdown,
    /// `KVM_EXIT_X86_RDMSR`.
    X86Rdmsr(ReadMsrExit<'a>),
    /// `KVM_EXIT_X86_WRMSR`.
    X86Wrmsr(WriteMsrExit<'a>),
    /// `KVM_EXIT_HYPERCALL`.
    Hypercall(exit::hypercall),
    /// `KVM_EXIT_DEBUG` of an arm64 guest.
    Debug(understudy_abi::arm64::kvm_debug_exit_arch),
    /// `KVM_EXIT_DEBUG` of an x86-64 guest.
    X86Debug(understudy_abi::x86::kvm_debug_exit_arch),
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

/// The guest reads an MSR that is user space's ([`VcpuExit::X86Rdmsr`]).
#[derive(Debug, PartialEq, Eq)]
pub struct ReadMsrExit<'a> {
    /// To be set to 1 for a #GP in the guest.
    pub error: &'a mut u8,
    /// One of [`understudy_x86::msrs::exits::reason`].
    pub reason: u32,
    /// The MSR.
    pub index: u32,
    /// Takes what the guest reads.
    pub data: &'a mut u64,
}

/// The guest writes an MSR that is user space's ([`VcpuExit::X86Wrmsr`]).
#[derive(Debug, PartialEq, Eq)]
pub struct WriteMsrExit<'a> {
    /// To be set to 1 for a #GP in the guest.
    pub error: &'a mut u8,
    /// One of [`understudy_x86::msrs::exits::reason`].
    pub reason: u32,
    /// The MSR.
    pub index: u32,
    /// What the guest writes.
    pub data: u64,
}

/// A vCPU's descriptor.
#[derive(Debug)]
pub struct VcpuFd {
    vcpu: Arc<Vcpu>,
    fd: OwnedFd,
    /// The data of the last MMIO exit; what a device puts here goes to the guest.
    data: [u8; 8],
    /// The same for exits that only x86-64 guests have.
    x86: x86::Answers,
}

impl VcpuFd {
    pub(crate) fn new(vcpu: Arc<Vcpu>, fd: OwnedFd) -> VcpuFd {
        VcpuFd {
            vcpu,
            fd,
            data: [0; 8],
            x86: x86::Answers::default(),
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
    /// Those of `KVM_RUN`'s row in the table: EINTR, EINVAL, ENOEXEC, EFAULT, ENOSYS.
    pub fn run(&mut self) -> Result<VcpuExit<'_>, Errno> {
        const DATA: usize =
            understudy_abi::run::EXIT_UNION + std::mem::offset_of!(exit::mmio, data);
        let page = &self.vcpu.run;
        // What a device has answered to the last read.
        match page.exit_reason() {
            exit::KVM_EXIT_MMIO if page.exit::<exit::mmio>().is_write == 0 => {
                page.write(DATA, &self.data);
            }
            reason => self.x86.give(page, reason),
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
            exit::KVM_EXIT_DEBUG => match self.vcpu.processor {
                Processor::Arm64(_) => VcpuExit::Debug(page.exit()),
                Processor::X86(_) => VcpuExit::X86Debug(page.exit()),
            },
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
            reason => self.x86.take(page, reason),
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

    /// What makes a [`VcpuFd::run`] on another thread return EINTR. Can be used in a signal
    /// handler.
    pub fn peer(&self) -> &Peer {
        &self.vcpu.peer
    }

    /// `KVM_SET_GUEST_DEBUG` (4.87; requirements 6.5), with the structure of the guest's
    /// architecture.
    ///
    /// # Errors
    ///
    /// EINVAL on arm64 for a bit of `control` that KVM does not know; EBUSY on x86 if an exception is
    /// to be injected while one is pending.
    pub fn set_guest_debug(&self, debug: &impl GuestDebug) -> Result<(), Errno> {
        debug.set(&self.vcpu)
    }

    /// `KVM_GET_MP_STATE` (4.38).
    ///
    /// # Errors
    ///
    /// None.
    pub fn get_mp_state(&self) -> Result<kvm_mp_state, Errno> {
        match self.vcpu.processor {
            Processor::Arm64(_) => self.vcpu.mp_state_arm64(),
            Processor::X86(_) => self.vcpu.mp_state_x86(),
        }
    }

    /// `KVM_SET_MP_STATE` (4.39).
    ///
    /// # Errors
    ///
    /// EINVAL for a state that the guest's architecture does not have.
    pub fn set_mp_state(&self, state: kvm_mp_state) -> Result<(), Errno> {
        match self.vcpu.processor {
            Processor::Arm64(_) => self.vcpu.set_mp_state_arm64(state),
            Processor::X86(_) => self.vcpu.set_mp_state_x86(state),
        }
    }

    /// `KVM_GET_VCPU_EVENTS` (4.31), in the structure of the guest's architecture.
    ///
    /// # Errors
    ///
    /// ENOEXEC on arm64 before [`VcpuFd::vcpu_init`].
    pub fn get_vcpu_events<E: VcpuEvents>(&self) -> Result<E, Errno> {
        E::get(&self.vcpu)
    }

    /// `KVM_SET_VCPU_EVENTS` (4.32).
    ///
    /// # Errors
    ///
    /// ENOEXEC on arm64 before [`VcpuFd::vcpu_init`]; EINVAL for what cannot be pending.
    pub fn set_vcpu_events(&self, events: &impl VcpuEvents) -> Result<(), Errno> {
        events.set(&self.vcpu)
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
