//! ioctl request numbers.
//!
//! A request is 32 bits: direction (31:30), size of the argument in bytes (29:16), type (15:8,
//! [`KVMIO`]) and number (7:0). The size is that of the structure, so the same ioctl may have
//! different numbers on the two architectures: those stand in [`arm64`] and [`x86`].

use core::mem::size_of;

use crate::common::*;
use crate::layout::numbers;

/// The type byte (bits 15:8) of every KVM ioctl.
pub const KVMIO: u32 = 0xae;

const DIRECTION_SHIFT: u32 = 30;
const SIZE_SHIFT: u32 = 16;
const TYPE_SHIFT: u32 = 8;
const SIZE_MASK: u32 = 0x3fff;
const WRITE: u32 = 1;
const READ: u32 = 2;

const fn ioc(direction: u32, number: u32, size: usize) -> u32 {
    assert!(size <= SIZE_MASK as usize);
    direction << DIRECTION_SHIFT | (size as u32) << SIZE_SHIFT | KVMIO << TYPE_SHIFT | number
}

/// `_IO`: no structure behind the argument.
pub const fn io(number: u32) -> u32 {
    ioc(0, number, 0)
}

/// `_IOR`: the kernel writes a `T`.
pub const fn ior<T>(number: u32) -> u32 {
    ioc(READ, number, size_of::<T>())
}

/// `_IOW`: the kernel reads a `T`.
pub const fn iow<T>(number: u32) -> u32 {
    ioc(WRITE, number, size_of::<T>())
}

/// `_IOWR`: the kernel reads a `T` and writes it back.
pub const fn iowr<T>(number: u32) -> u32 {
    ioc(READ | WRITE, number, size_of::<T>())
}

/// The number (bits 7:0) of a request.
pub const fn number(request: u32) -> u32 {
    request & 0xff
}

/// The argument's size in bytes (bits 29:16) of a request.
pub const fn size(request: u32) -> usize {
    (request >> SIZE_SHIFT & SIZE_MASK) as usize
}

/// Whether a request is of KVM's type.
pub const fn is_kvm(request: u32) -> bool {
    request >> TYPE_SHIFT & 0xff == KVMIO
}

numbers! {
    /// The requests of both architectures and their names.
    u32;
    // On the system descriptor.
    /// System: the version of the API, 12 (api.rst 4.1) (4.1).
    KVM_GET_API_VERSION = io(0x00);
    /// System: make a VM (4.2); the argument is its type.
    KVM_CREATE_VM = io(0x01);
    /// System, VM: the value of the capability in the argument (4.4).
    KVM_CHECK_EXTENSION = io(0x03);
    /// System: how many bytes to map of a vCPU descriptor (4.5).
    KVM_GET_VCPU_MMAP_SIZE = io(0x04);

    // On a VM descriptor.
    /// VM: make a vCPU (4.7); the argument is its id.
    KVM_CREATE_VCPU = io(0x41);
    /// VM: fetch a slot's dirty bitmap (4.8).
    KVM_GET_DIRTY_LOG = iow::<kvm_dirty_log>(0x42);
    /// VM: create, change or delete a memory slot (4.35).
    KVM_SET_USER_MEMORY_REGION = iow::<kvm_userspace_memory_region>(0x46);
    /// VM: the same with room for guest_memfd (4.140).
    KVM_SET_USER_MEMORY_REGION2 = iow::<kvm_userspace_memory_region2>(0x49);
    /// VM: make the in-kernel interrupt controller (4.24).
    KVM_CREATE_IRQCHIP = io(0x60);
    /// VM: set the level of an interrupt line (4.25).
    KVM_IRQ_LINE = iow::<kvm_irq_level>(0x61);
    /// VM: the same, and say what came of it.
    KVM_IRQ_LINE_STATUS = iowr::<kvm_irq_level>(0x67);
    /// VM: batch writes to a zone in a ring instead of exiting (4.116).
    KVM_REGISTER_COALESCED_MMIO = iow::<kvm_coalesced_mmio_zone>(0x67);
    /// VM: end what `KVM_REGISTER_COALESCED_MMIO` began (4.116).
    KVM_UNREGISTER_COALESCED_MMIO = iow::<kvm_coalesced_mmio_zone>(0x68);
    /// VM: set the table from GSI to interrupt (4.52).
    KVM_SET_GSI_ROUTING = iow::<kvm_irq_routing>(0x6a);
    /// VM: let an eventfd raise an interrupt (4.75).
    KVM_IRQFD = iow::<kvm_irqfd>(0x76);
    /// VM: let a guest's write signal an eventfd (4.59).
    KVM_IOEVENTFD = iow::<kvm_ioeventfd>(0x79);
    /// VM: inject a message-signalled interrupt (4.71).
    KVM_SIGNAL_MSI = iow::<kvm_msi>(0xa5);
    /// VM: clear bits of the dirty log (4.117).
    KVM_CLEAR_DIRTY_LOG = iowr::<kvm_clear_dirty_log>(0xc0);
    /// VM: give collected dirty-ring entries back (8.29).
    KVM_RESET_DIRTY_RINGS = io(0xc7);
    /// VM: set attributes of guest memory (4.141).
    KVM_SET_MEMORY_ATTRIBUTES = iow::<kvm_memory_attributes>(0xd2);
    /// VM: make a guest_memfd (4.142).
    KVM_CREATE_GUEST_MEMFD = iowr::<kvm_create_guest_memfd>(0xd4);
    /// VM: make, or test for, an in-kernel device (4.79).
    KVM_CREATE_DEVICE = iowr::<kvm_create_device>(0xe0);

    // On a device descriptor, and on VMs and vCPUs that have attributes.
    /// Device, VM, vCPU: set an attribute (4.80).
    KVM_SET_DEVICE_ATTR = iow::<kvm_device_attr>(0xe1);
    /// Device, VM, vCPU: get an attribute (4.80).
    KVM_GET_DEVICE_ATTR = iow::<kvm_device_attr>(0xe2);
    /// Device, VM, vCPU: is there such an attribute (4.81)?
    KVM_HAS_DEVICE_ATTR = iow::<kvm_device_attr>(0xe3);

    // On a vCPU descriptor.
    /// vCPU: run the guest until it exits (4.10); the argument must be 0.
    KVM_RUN = io(0x80);
    /// vCPU: translate a guest-virtual address (4.15).
    KVM_TRANSLATE = iowr::<kvm_translation>(0x85);
    /// vCPU: queue an interrupt vector (4.16).
    KVM_INTERRUPT = iow::<kvm_interrupt>(0x86);
    /// vCPU: the signal mask while in `KVM_RUN` (4.21).
    KVM_SET_SIGNAL_MASK = iow::<kvm_signal_mask>(0x8b);
    /// vCPU: its multiprocessing state (4.38).
    KVM_GET_MP_STATE = ior::<kvm_mp_state>(0x98);
    /// vCPU: set its multiprocessing state (4.39).
    KVM_SET_MP_STATE = iow::<kvm_mp_state>(0x99);
    /// vCPU: queue an NMI (4.64).
    KVM_NMI = io(0x9a);
    /// VM, vCPU: enable a capability (4.37).
    KVM_ENABLE_CAP = iow::<kvm_enable_cap>(0xa3);
    /// vCPU: read one register (4.69). The number says "write" since only the id goes in.
    KVM_GET_ONE_REG = iow::<kvm_one_reg>(0xab);
    /// vCPU: write one register (4.68).
    KVM_SET_ONE_REG = iow::<kvm_one_reg>(0xac);
    /// vCPU: tell the guest's watchdog that it was stopped (4.70).
    KVM_KVMCLOCK_CTRL = io(0xad);
    /// vCPU: which registers there are (4.84).
    KVM_GET_REG_LIST = iowr::<kvm_reg_list>(0xb0);
    /// VM, vCPU: a descriptor of binary statistics (4.133).
    KVM_GET_STATS_FD = io(0xce);
    /// vCPU: populate guest memory (4.143).
    KVM_PRE_FAULT_MEMORY = iowr::<kvm_pre_fault_memory>(0xd5);
}

/// Requests that exist on arm64 only, or whose structure is arm64's.
pub mod arm64 {
    use super::{ior, iow};
    use crate::arm64::*;
    use crate::layout::numbers;

    /// `KVM_ARM_VCPU_FINALIZE` takes a pointer to a C `int`.
    type c_int = i32;

    numbers! {
        /// The requests of arm64 alone and their names.
        u32;
        /// VM: the offset of the guest's counters (4.138).
        KVM_ARM_SET_COUNTER_OFFSET = iow::<kvm_arm_counter_offset>(0xb5);
        /// VM: which bits of the feature ID registers can be written (4.139).
        KVM_ARM_GET_REG_WRITABLE_MASKS = ior::<reg_mask_range>(0xb6);
        /// VM: copy memory tags (4.130).
        KVM_ARM_MTE_COPY_TAGS = ior::<kvm_arm_copy_mte_tags>(0xb4);
        /// VM: where an interrupt controller lies (4.85).
        KVM_ARM_SET_DEVICE_ADDR = iow::<kvm_arm_device_addr>(0xab);
        /// VM: the target and features that suit the host (4.83).
        KVM_ARM_PREFERRED_TARGET = ior::<kvm_vcpu_init>(0xaf);
        /// vCPU: initialise or reset it with a target and features (4.82).
        KVM_ARM_VCPU_INIT = iow::<kvm_vcpu_init>(0xae);
        /// vCPU: fix the configuration of a feature (4.119).
        KVM_ARM_VCPU_FINALIZE = iow::<c_int>(0xc2);
        /// vCPU: answered with EINVAL on arm64 (4.11).
        KVM_GET_REGS = ior::<kvm_regs>(0x81);
        /// vCPU: answered with EINVAL on arm64 (4.12).
        KVM_SET_REGS = iow::<kvm_regs>(0x82);
        /// vCPU: answered with EINVAL on arm64 (4.13); the structure is empty.
        KVM_GET_SREGS = ior::<kvm_sregs>(0x83);
        /// vCPU: answered with EINVAL on arm64 (4.14); the structure is empty.
        KVM_SET_SREGS = iow::<kvm_sregs>(0x84);
        /// vCPU: answered with EINVAL on arm64 (4.22); the structure is empty.
        KVM_GET_FPU = ior::<kvm_fpu>(0x8c);
        /// vCPU: answered with EINVAL on arm64 (4.23); the structure is empty.
        KVM_SET_FPU = iow::<kvm_fpu>(0x8d);
        /// vCPU: debug the guest from user space (4.87).
        KVM_SET_GUEST_DEBUG = iow::<kvm_guest_debug>(0x9b);
        /// vCPU: pending SError and external abort (4.31).
        KVM_GET_VCPU_EVENTS = ior::<kvm_vcpu_events>(0x9f);
        /// vCPU: set pending SError and external abort (4.32).
        KVM_SET_VCPU_EVENTS = iow::<kvm_vcpu_events>(0xa0);
    }
}

/// Requests that exist on x86-64 only, or whose structure is x86-64's.
pub mod x86 {
    use super::{io, ior, iow, iowr};
    use crate::layout::numbers;
    use crate::x86::*;

    numbers! {
        /// The requests of x86-64 alone and their names.
        u32;
        /// System: MSRs that can be saved and restored (4.3).
        KVM_GET_MSR_INDEX_LIST = iowr::<kvm_msr_list>(0x02);
        /// System: CPUID that KVM can give a guest (4.46).
        KVM_GET_SUPPORTED_CPUID = iowr::<kvm_cpuid2>(0x05);
        /// System: CPUID features that KVM emulates (4.88).
        KVM_GET_EMULATED_CPUID = iowr::<kvm_cpuid2>(0x09);
        /// System: feature MSRs that can be read (4.3).
        KVM_GET_MSR_FEATURE_INDEX_LIST = iowr::<kvm_msr_list>(0x0a);
        /// VM: how many shadow pages KVM may have (4.44).
        KVM_SET_NR_MMU_PAGES = io(0x44);
        /// VM: where Intel's real-mode TSS may lie (4.36).
        KVM_SET_TSS_ADDR = io(0x47);
        /// VM: where Intel's identity page table may lie (4.40).
        KVM_SET_IDENTITY_MAP_ADDR = iow::<u64>(0x48);
        /// VM: the state of a PIC or the IOAPIC (4.26).
        KVM_GET_IRQCHIP = iowr::<kvm_irqchip>(0x62);
        /// VM: set the state of a PIC or the IOAPIC (4.27). The direction bit is historically wrong.
        KVM_SET_IRQCHIP = ior::<kvm_irqchip>(0x63);
        /// VM: make the timer, without the speaker (4.71).
        KVM_CREATE_PIT = io(0x64);
        /// VM: the state of the timer, old form.
        KVM_GET_PIT = iowr::<kvm_pit_state>(0x65);
        /// VM: set the state of the timer, old form. The direction bit is historically wrong.
        KVM_SET_PIT = ior::<kvm_pit_state>(0x66);
        /// VM: what becomes of timer interrupts that the guest missed (4.99).
        KVM_REINJECT_CONTROL = io(0x71);
        /// VM: make the timer (4.71).
        KVM_CREATE_PIT2 = iow::<kvm_pit_config>(0x77);
        /// VM: which vCPU is the bootstrap processor (4.41).
        KVM_SET_BOOT_CPU_ID = io(0x78);
        /// VM: set the paravirtual clock (4.30).
        KVM_SET_CLOCK = iow::<kvm_clock_data>(0x7b);
        /// VM: the paravirtual clock (4.29).
        KVM_GET_CLOCK = ior::<kvm_clock_data>(0x7c);
        /// VM: the state of the timer (4.72). Shares its number with `KVM_GET_VCPU_EVENTS`.
        KVM_GET_PIT2 = ior::<kvm_pit_state2>(0x9f);
        /// VM: set the state of the timer (4.73).
        KVM_SET_PIT2 = iow::<kvm_pit_state2>(0xa0);
        /// VM, vCPU: the frequency of the time-stamp counter, in kHz (4.55).
        KVM_SET_TSC_KHZ = io(0xa2);
        /// VM, vCPU: the frequency of the time-stamp counter, in kHz (4.56).
        KVM_GET_TSC_KHZ = io(0xa3);
        /// VM: which MSRs exit to user space (4.97).
        KVM_X86_SET_MSR_FILTER = iow::<kvm_msr_filter>(0xc6);
        /// VM: which PMU events a guest may count (4.120).
        KVM_SET_PMU_EVENT_FILTER = iow::<kvm_pmu_event_filter>(0xb2);
        /// vCPU: general registers (4.11).
        KVM_GET_REGS = ior::<kvm_regs>(0x81);
        /// vCPU: set general registers (4.12).
        KVM_SET_REGS = iow::<kvm_regs>(0x82);
        /// vCPU: special registers (4.13).
        KVM_GET_SREGS = ior::<kvm_sregs>(0x83);
        /// vCPU: set special registers (4.14).
        KVM_SET_SREGS = iow::<kvm_sregs>(0x84);
        /// vCPU, system: read MSRs (4.18).
        KVM_GET_MSRS = iowr::<kvm_msrs>(0x88);
        /// vCPU: write MSRs (4.19).
        KVM_SET_MSRS = iow::<kvm_msrs>(0x89);
        /// vCPU: what CPUID answers, old form (4.20).
        KVM_SET_CPUID = iow::<kvm_cpuid>(0x8a);
        /// vCPU: x87 and SSE state (4.22).
        KVM_GET_FPU = ior::<kvm_fpu>(0x8c);
        /// vCPU: set x87 and SSE state (4.23).
        KVM_SET_FPU = iow::<kvm_fpu>(0x8d);
        /// vCPU: the local APIC's registers (4.57).
        KVM_GET_LAPIC = ior::<kvm_lapic_state>(0x8e);
        /// vCPU: set the local APIC's registers (4.58).
        KVM_SET_LAPIC = iow::<kvm_lapic_state>(0x8f);
        /// vCPU: what CPUID answers (4.20).
        KVM_SET_CPUID2 = iow::<kvm_cpuid2>(0x90);
        /// vCPU: read back what CPUID answers.
        KVM_GET_CPUID2 = iowr::<kvm_cpuid2>(0x91);
        /// vCPU: report accesses to the task priority register.
        KVM_TPR_ACCESS_REPORTING = iowr::<kvm_tpr_access_ctl>(0x92);
        /// vCPU: where the virtual APIC page lies.
        KVM_SET_VAPIC_ADDR = iow::<kvm_vapic_addr>(0x93);
        /// vCPU: debug the guest from user space (4.87).
        KVM_SET_GUEST_DEBUG = iow::<kvm_guest_debug>(0x9b);
        /// vCPU: set up machine-check banks (4.105).
        KVM_X86_SETUP_MCE = iow::<u64>(0x9c);
        /// System: machine-check capabilities (4.104).
        KVM_X86_GET_MCE_CAP_SUPPORTED = ior::<u64>(0x9d);
        /// vCPU: inject a machine check (4.106).
        KVM_X86_SET_MCE = iow::<kvm_x86_mce>(0x9e);
        /// vCPU: pending exceptions, interrupts, NMIs and SMIs (4.31).
        KVM_GET_VCPU_EVENTS = ior::<kvm_vcpu_events>(0x9f);
        /// vCPU: set pending events (4.32).
        KVM_SET_VCPU_EVENTS = iow::<kvm_vcpu_events>(0xa0);
        /// vCPU: debug registers (4.33).
        KVM_GET_DEBUGREGS = ior::<kvm_debugregs>(0xa1);
        /// vCPU: set debug registers (4.34).
        KVM_SET_DEBUGREGS = iow::<kvm_debugregs>(0xa2);
        /// vCPU: the XSAVE area, its first 4096 bytes (4.42).
        KVM_GET_XSAVE = ior::<kvm_xsave>(0xa4);
        /// vCPU: set the XSAVE area (4.43).
        KVM_SET_XSAVE = iow::<kvm_xsave>(0xa5);
        /// vCPU: extended control registers (4.44).
        KVM_GET_XCRS = ior::<kvm_xcrs>(0xa6);
        /// vCPU: set extended control registers (4.45).
        KVM_SET_XCRS = iow::<kvm_xcrs>(0xa7);
        /// vCPU: queue a system-management interrupt (4.96).
        KVM_SMI = io(0xb7);
        /// vCPU: nested virtualisation state (4.114).
        KVM_GET_NESTED_STATE = iowr::<kvm_nested_state>(0xbe);
        /// vCPU: set nested virtualisation state (4.115).
        KVM_SET_NESTED_STATE = iow::<kvm_nested_state>(0xbf);
        /// System, vCPU: Hyper-V's CPUID leaves (4.118).
        KVM_GET_SUPPORTED_HV_CPUID = iowr::<kvm_cpuid2>(0xc1);
        /// vCPU: special registers with the PAE page-directory pointers (4.131).
        KVM_GET_SREGS2 = ior::<kvm_sregs2>(0xcc);
        /// vCPU: set special registers with the PAE page-directory pointers (4.132).
        KVM_SET_SREGS2 = iow::<kvm_sregs2>(0xcd);
        /// vCPU: the whole XSAVE area (4.134).
        KVM_GET_XSAVE2 = ior::<kvm_xsave>(0xcf);
    }
}
