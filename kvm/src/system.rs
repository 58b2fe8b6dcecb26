//! `/dev/kvm`: the machine that VMs run on.

use std::sync::Arc;

use understudy_abi::{KVM_API_VERSION, PAGE_SIZE, arm64, cap, x86};
use understudy_arm64::insn::features::{Fidelity, Use, Uses};
use understudy_arm64::machine::{Model, Proposals, Settings};
use understudy_arm64::sysregs::id::attainable;
use understudy_arm64::sysregs::id::fields::{self, Field};
use understudy_memory::host;

use crate::errno::Errno;
use crate::guest::Guest;
use crate::vm::VmFd;
use crate::x86::Proposals as X86Proposals;

/// Bits of a guest-physical address, at least.
const MIN_IPA_BITS: u32 = 32;
/// Bits of a guest-physical address where `KVM_CREATE_VM` is given type 0.
const DEFAULT_IPA_BITS: u32 = 40;
/// What there is at most of something, and how a vCPU's mapping is laid out.
#[derive(Debug)]
pub(crate) struct Limits {
    /// vCPUs of a VM.
    pub(crate) max_vcpus: u32,
    /// The bound of their ids.
    pub(crate) max_vcpu_id: u32,
    /// Memory slots of a VM.
    pub(crate) nr_memslots: u16,
    /// Bytes to map of a vCPU's descriptor: `kvm_run`'s page, on x86 that of port data, the ring of
    /// coalesced MMIO.
    pub(crate) vcpu_mmap_size: usize,
    /// The page of that mapping which is the ring's.
    pub(crate) coalesced_mmio_page: usize,
}

/// The limits of KVM on an architecture.
pub(crate) fn limits(guest: Guest) -> &'static Limits {
    match guest {
        Guest::Arm64 => &Limits {
            max_vcpus: 512,
            max_vcpu_id: 512,
            nr_memslots: 32767,
            vcpu_mmap_size: 2 * PAGE_SIZE,
            coalesced_mmio_page: arm64::KVM_COALESCED_MMIO_PAGE_OFFSET,
        },
        // As the kernel is configured unless somebody changes it.
        Guest::X86_64 => &Limits {
            max_vcpus: 1024,
            max_vcpu_id: 4096,
            nr_memslots: 32764,
            vcpu_mmap_size: 3 * PAGE_SIZE,
            coalesced_mmio_page: x86::KVM_COALESCED_MMIO_PAGE_OFFSET,
        },
    }
}

/// The host that KVM would run on.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) guest: Guest,
    /// Proposals for x86-64 guests.
    pub(crate) x86_proposals: X86Proposals,
    pub(crate) model: Model,
    pub(crate) proposals: Proposals,
    pub(crate) fidelity: Fidelity,
    pub(crate) uses: Arc<Uses>,
}

/// The system: what `open("/dev/kvm")` gives. Clones are the same system.
#[derive(Clone, Debug)]
pub struct Kvm {
    pub(crate) host: Arc<Host>,
}

impl Kvm {
    /// The system for arm64 guests with the default host CPU model and no proposals.
    ///
    /// # Errors
    ///
    /// None; the result is there for `kvm-ioctls`' sake.
    pub fn new() -> Result<Kvm, Errno> {
        Ok(Kvm::with(Model::default(), Proposals::empty()))
    }

    /// The system for x86-64 guests, with these proposals (requirements 0.2) for all its VMs.
    pub fn x86(proposals: X86Proposals) -> Kvm {
        Kvm::of(Host {
            guest: Guest::X86_64,
            x86_proposals: proposals,
            model: Model::default(),
            proposals: Proposals::empty(),
            fidelity: Fidelity::default(),
            uses: Arc::default(),
        })
    }

    fn of(host: Host) -> Kvm {
        // Bad pointers of callers are to be EFAULT from the first ioctl on.
        host::install();
        Kvm {
            host: Arc::new(host),
        }
    }

    /// The architecture of its guests.
    pub fn guest(&self) -> Guest {
        self.host.guest
    }

    /// The system for arm64 guests with this host CPU model and these proposals (requirements 0.2) for all its VMs.
    pub fn with(model: Model, proposals: Proposals) -> Kvm {
        Kvm::of(Host {
            guest: Guest::Arm64,
            x86_proposals: X86Proposals::empty(),
            model,
            proposals,
            fidelity: Fidelity::default(),
            uses: Arc::default(),
        })
    }

    /// The same host, but for what is done about instructions of features that a VM hides.
    pub fn with_fidelity(self, fidelity: Fidelity) -> Kvm {
        Kvm::of(Host {
            guest: self.host.guest,
            x86_proposals: self.host.x86_proposals,
            model: self.host.model,
            proposals: self.host.proposals,
            fidelity,
            uses: Arc::default(),
        })
    }

    /// The instructions of hidden features that guests have used, with [`Fidelity::Report`].
    pub fn uses(&self) -> Vec<Use> {
        self.host.uses.all()
    }

    /// `KVM_GET_API_VERSION` (api.rst 4.1): 12.
    pub fn get_api_version(&self) -> i32 {
        KVM_API_VERSION as i32
    }

    /// `KVM_GET_VCPU_MMAP_SIZE` (4.5), in bytes.
    ///
    /// # Errors
    ///
    /// None.
    pub fn get_vcpu_mmap_size(&self) -> Result<usize, Errno> {
        Ok(limits(self.host.guest).vcpu_mmap_size)
    }

    /// `KVM_CHECK_EXTENSION` (4.4) with a number; see [`crate::capability`].
    pub fn check_extension_raw(&self, capability: u32) -> i32 {
        crate::capability::of_system(self, capability)
    }

    /// How many vCPUs a VM should have at most (`KVM_CAP_NR_VCPUS`).
    pub fn get_nr_vcpus(&self) -> usize {
        self.check_extension_raw(cap::KVM_CAP_NR_VCPUS) as usize
    }

    /// How many vCPUs a VM can have (`KVM_CAP_MAX_VCPUS`).
    pub fn get_max_vcpus(&self) -> usize {
        limits(self.host.guest).max_vcpus as usize
    }

    /// How many memory slots a VM can have (`KVM_CAP_NR_MEMSLOTS`).
    pub fn get_nr_memslots(&self) -> usize {
        limits(self.host.guest).nr_memslots.into()
    }

    /// Bits of a guest-physical address, at most (`KVM_CAP_ARM_VM_IPA_SIZE`).
    pub fn get_host_ipa_limit(&self) -> i32 {
        self.ipa_limit() as i32
    }

    /// Breakpoints that a debugger of the guest has (`KVM_CAP_GUEST_DEBUG_HW_BPS`).
    pub fn get_guest_debug_hw_bps(&self) -> i32 {
        self.check_extension_raw(cap::KVM_CAP_GUEST_DEBUG_HW_BPS)
    }

    /// Watchpoints that a debugger of the guest has (`KVM_CAP_GUEST_DEBUG_HW_WPS`).
    pub fn get_guest_debug_hw_wps(&self) -> i32 {
        self.check_extension_raw(cap::KVM_CAP_GUEST_DEBUG_HW_WPS)
    }

    /// A field of the host CPU's ID registers, as far as the software CPU can do it.
    pub(crate) fn id_field(&self, field: &Field) -> u64 {
        attainable(self.host.model.registers(), field)
    }

    /// Whether the host authenticates pointers to code and data, and data.
    pub(crate) fn has_pauth(&self) -> bool {
        let has = |field: &Field| self.id_field(field) != 0;
        (has(&fields::ISAR1_APA) || has(&fields::ISAR1_API))
            && (has(&fields::ISAR1_GPA) || has(&fields::ISAR1_GPI))
    }

    pub(crate) fn ipa_limit(&self) -> u32 {
        // ID_AA64MMFR0_EL1.PARange.
        const BITS: [u32; 7] = [32, 36, 40, 42, 44, 48, 52];
        let range = self.id_field(&fields::MMFR0_PARANGE) as usize;
        BITS.get(range).copied().unwrap_or(MIN_IPA_BITS)
    }

    /// `KVM_CREATE_VM` (4.2) of the default type: 40 bits of guest-physical address.
    ///
    /// # Errors
    ///
    /// As [`Kvm::create_vm_with_type`].
    pub fn create_vm(&self) -> Result<VmFd, Errno> {
        self.create_vm_with_type(0)
    }

    /// `KVM_CREATE_VM` with a size of guest-physical addresses in bits, from 32 to
    /// [`Kvm::get_host_ipa_limit`].
    ///
    /// # Errors
    ///
    /// As [`Kvm::create_vm_with_type`].
    pub fn create_vm_with_ipa_size(&self, ipa_size: u32) -> Result<VmFd, Errno> {
        self.create_vm_with_type((ipa_size as u64) & arm64::KVM_VM_TYPE_ARM_IPA_SIZE_MASK)
    }

    /// `KVM_CREATE_VM` with a type. For an arm64 guest bits 7:0 are the size of guest-physical
    /// addresses in bits, 0 for 40; the others are 0. For an x86-64 guest it is 0.
    ///
    /// # Errors
    ///
    /// EINVAL for another bit, or a size that the host has not; ENOMEM, EMFILE, ENFILE where the
    /// process has no more.
    pub fn create_vm_with_type(&self, vm_type: u64) -> Result<VmFd, Errno> {
        if self.host.guest == Guest::X86_64 {
            return match vm_type {
                x86::KVM_X86_DEFAULT_VM => VmFd::x86(self.clone()),
                _ => Err(Errno::EINVAL),
            };
        }
        if vm_type & !arm64::KVM_VM_TYPE_ARM_IPA_SIZE_MASK != 0 {
            return Err(Errno::EINVAL);
        }
        let ipa_bits = match vm_type as u32 {
            0 => DEFAULT_IPA_BITS,
            bits => bits,
        };
        if !(MIN_IPA_BITS..=self.ipa_limit()).contains(&ipa_bits) {
            return Err(Errno::EINVAL);
        }
        let settings = Settings {
            ipa_bits,
            model: self.host.model,
            proposals: self.host.proposals,
            fidelity: self.host.fidelity,
        };
        VmFd::arm64(self.clone(), settings)
    }
}
