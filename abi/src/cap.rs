//! Capabilities of `KVM_CHECK_EXTENSION` (api.rst 4.4) that arm64 or x86-64 know.

use crate::layout::numbers;

numbers! {
    /// The capabilities and their names.
    u32;
    /// An in-kernel interrupt controller can be made.
    KVM_CAP_IRQCHIP = 0;
    /// HLT exits or waits.
    KVM_CAP_HLT = 1;
    /// The shadow MMU's size can be set.
    KVM_CAP_MMU_SHADOW_CACHE_CONTROL = 2;
    /// Guest memory is the caller's memory.
    KVM_CAP_USER_MEMORY = 3;
    /// `KVM_SET_TSS_ADDR`.
    KVM_CAP_SET_TSS_ADDR = 4;
    /// The virtual APIC page of old Windows guests.
    KVM_CAP_VAPIC = 6;
    /// `KVM_SET_CPUID2`.
    KVM_CAP_EXT_CPUID = 7;
    /// kvmclock.
    KVM_CAP_CLOCKSOURCE = 8;
    /// vCPUs of a VM, as recommended.
    KVM_CAP_NR_VCPUS = 9;
    /// Memory slots of a VM.
    KVM_CAP_NR_MEMSLOTS = 10;
    /// `KVM_CREATE_PIT`.
    KVM_CAP_PIT = 11;
    /// Delays by port 0x80 can be dropped.
    KVM_CAP_NOP_IO_DELAY = 12;
    /// Paravirtual page tables, gone.
    KVM_CAP_PV_MMU = 13;
    /// `KVM_GET_MP_STATE`.
    KVM_CAP_MP_STATE = 14;
    /// Writes are batched; the value is the page of the ring.
    KVM_CAP_COALESCED_MMIO = 15;
    /// The caller may change its mapping of guest memory.
    KVM_CAP_SYNC_MMU = 16;
    /// Device assignment, gone.
    KVM_CAP_IOMMU = 18;
    /// A slot of size 0 is deleted.
    KVM_CAP_DESTROY_MEMORY_REGION_WORKS = 21;
    /// `KVM_NMI`.
    KVM_CAP_USER_NMI = 22;
    /// `KVM_SET_GUEST_DEBUG`.
    KVM_CAP_SET_GUEST_DEBUG = 23;
    /// `KVM_REINJECT_CONTROL`.
    KVM_CAP_REINJECT_CONTROL = 24;
    /// `KVM_SET_GSI_ROUTING`; the value is how many.
    KVM_CAP_IRQ_ROUTING = 25;
    /// `KVM_IRQ_LINE_STATUS`.
    KVM_CAP_IRQ_INJECT_STATUS = 26;
    /// Interrupts of assigned devices, gone.
    KVM_CAP_ASSIGN_DEV_IRQ = 29;
    /// Adjacent slots work.
    KVM_CAP_JOIN_MEMORY_REGIONS_WORKS = 30;
    /// Machine checks; the value is the number of banks.
    KVM_CAP_MCE = 31;
    /// `KVM_IRQFD`.
    KVM_CAP_IRQFD = 32;
    /// `KVM_CREATE_PIT2`.
    KVM_CAP_PIT2 = 33;
    /// `KVM_SET_BOOT_CPU_ID`.
    KVM_CAP_SET_BOOT_CPU_ID = 34;
    /// `KVM_GET_PIT2`.
    KVM_CAP_PIT_STATE2 = 35;
    /// `KVM_IOEVENTFD`.
    KVM_CAP_IOEVENTFD = 36;
    /// `KVM_SET_IDENTITY_MAP_ADDR`.
    KVM_CAP_SET_IDENTITY_MAP_ADDR = 37;
    /// Xen guests.
    KVM_CAP_XEN_HVM = 38;
    /// `KVM_GET_CLOCK`; the value is its flags.
    KVM_CAP_ADJUST_CLOCK = 39;
    /// An internal error comes with data.
    KVM_CAP_INTERNAL_ERROR_DATA = 40;
    /// `KVM_GET_VCPU_EVENTS`.
    KVM_CAP_VCPU_EVENTS = 41;
    /// Hyper-V.
    KVM_CAP_HYPERV = 44;
    /// Hyper-V's APIC registers.
    KVM_CAP_HYPERV_VAPIC = 45;
    /// Hyper-V's spin-lock hints.
    KVM_CAP_HYPERV_SPIN = 46;
    /// PCI segments of assigned devices, gone.
    KVM_CAP_PCI_SEGMENT = 47;
    /// The interrupt shadow is in `kvm_vcpu_events`.
    KVM_CAP_INTR_SHADOW = 49;
    /// `KVM_GET_DEBUGREGS`.
    KVM_CAP_DEBUGREGS = 50;
    /// Single-stepping over anything works.
    KVM_CAP_X86_ROBUST_SINGLESTEP = 51;
    /// `KVM_ENABLE_CAP` on a vCPU.
    KVM_CAP_ENABLE_CAP = 54;
    /// `KVM_GET_XSAVE`.
    KVM_CAP_XSAVE = 55;
    /// `KVM_GET_XCRS`.
    KVM_CAP_XCRS = 56;
    /// Asynchronous page faults.
    KVM_CAP_ASYNC_PF = 59;
    /// The TSC's frequency can be set.
    KVM_CAP_TSC_CONTROL = 60;
    /// The TSC's frequency can be read.
    KVM_CAP_GET_TSC_KHZ = 61;
    /// vCPUs of a VM, at most.
    KVM_CAP_MAX_VCPUS = 66;
    /// `KVM_GET_ONE_REG`.
    KVM_CAP_ONE_REG = 70;
    /// The local APIC's TSC-deadline mode.
    KVM_CAP_TSC_DEADLINE_TIMER = 72;
    /// Registers in `kvm_run`; the value is which sets.
    KVM_CAP_SYNC_REGS = 74;
    /// PCI 2.3 devices, gone.
    KVM_CAP_PCI_2_3 = 75;
    /// `KVM_KVMCLOCK_CTRL`.
    KVM_CAP_KVMCLOCK_CTRL = 76;
    /// `KVM_SIGNAL_MSI`.
    KVM_CAP_SIGNAL_MSI = 77;
    /// `KVM_MEM_READONLY`.
    KVM_CAP_READONLY_MEM = 81;
    /// `KVM_IRQFD_FLAG_RESAMPLE`.
    KVM_CAP_IRQFD_RESAMPLE = 82;
    /// PSCI 0.1.
    KVM_CAP_ARM_PSCI = 87;
    /// `KVM_ARM_SET_DEVICE_ADDR`.
    KVM_CAP_ARM_SET_DEVICE_ADDR = 88;
    /// `KVM_CREATE_DEVICE`.
    KVM_CAP_DEVICE_CTRL = 89;
    /// AArch32 at EL1.
    KVM_CAP_ARM_EL1_32BIT = 93;
    /// `KVM_GET_EMULATED_CPUID`.
    KVM_CAP_EXT_EMUL_CPUID = 95;
    /// Hyper-V's reference time.
    KVM_CAP_HYPERV_TIME = 96;
    /// The IOAPIC ignores polarity.
    KVM_CAP_IOAPIC_POLARITY_IGNORED = 97;
    /// `KVM_ENABLE_CAP` on a VM.
    KVM_CAP_ENABLE_CAP_VM = 98;
    /// An eventfd may match any length; x86 MMIO.
    KVM_CAP_IOEVENTFD_NO_LENGTH = 100;
    /// A VM has attributes.
    KVM_CAP_VM_ATTRIBUTES = 101;
    /// PSCI 0.2 and later.
    KVM_CAP_ARM_PSCI_0_2 = 102;
    /// `KVM_CHECK_EXTENSION` on a VM.
    KVM_CAP_CHECK_EXTENSION_VM = 105;
    /// Quirks can be turned off.
    KVM_CAP_DISABLE_QUIRKS = 116;
    /// System-management mode.
    KVM_CAP_X86_SMM = 117;
    /// Address spaces of memory slots.
    KVM_CAP_MULTI_ADDRESS_SPACE = 118;
    /// How many hardware breakpoints a debugger has.
    KVM_CAP_GUEST_DEBUG_HW_BPS = 119;
    /// How many hardware watchpoints a debugger has.
    KVM_CAP_GUEST_DEBUG_HW_WPS = 120;
    /// The local APIC alone is in the kernel.
    KVM_CAP_SPLIT_IRQCHIP = 121;
    /// An eventfd may match any length.
    KVM_CAP_IOEVENTFD_ANY_LENGTH = 122;
    /// Hyper-V's synthetic interrupt controller.
    KVM_CAP_HYPERV_SYNIC = 123;
    /// A PMU.
    KVM_CAP_ARM_PMU_V3 = 126;
    /// A vCPU has attributes.
    KVM_CAP_VCPU_ATTRIBUTES = 127;
    /// vCPU ids are below this.
    KVM_CAP_MAX_VCPU_ID = 128;
    /// x2APIC with 32-bit ids.
    KVM_CAP_X2APIC_API = 129;
    /// An MSI carries its device's id.
    KVM_CAP_MSI_DEVID = 131;
    /// `kvm_run.immediate_exit`.
    KVM_CAP_IMMEDIATE_EXIT = 136;
    /// MWAIT, HLT, PAUSE without exits.
    KVM_CAP_X86_DISABLE_EXITS = 143;
    /// In-kernel timers and PMU with an interrupt controller in user space.
    KVM_CAP_ARM_USER_IRQ = 144;
    /// Hyper-V's synthetic interrupt controller, second form.
    KVM_CAP_HYPERV_SYNIC2 = 148;
    /// Hyper-V's virtual processor index.
    KVM_CAP_HYPERV_VP_INDEX = 149;
    /// Feature MSRs can be read on the system.
    KVM_CAP_GET_MSR_FEATURES = 153;
    /// Hyper-V's events by eventfd.
    KVM_CAP_HYPERV_EVENTFD = 154;
    /// Hyper-V's TLB flushes.
    KVM_CAP_HYPERV_TLBFLUSH = 155;
    /// Nested virtualisation's state; the value is its size.
    KVM_CAP_NESTED_STATE = 157;
    /// An SError can be injected with its syndrome.
    KVM_CAP_ARM_INJECT_SERROR_ESR = 158;
    /// MSR_PLATFORM_INFO can be read.
    KVM_CAP_MSR_PLATFORM_INFO = 159;
    /// Hyper-V's IPIs.
    KVM_CAP_HYPERV_SEND_IPI = 161;
    /// Port writes are batched too.
    KVM_CAP_COALESCED_PIO = 162;
    /// Hyper-V's enlightened VMCS.
    KVM_CAP_HYPERV_ENLIGHTENED_VMCS = 163;
    /// Exceptions have payloads.
    KVM_CAP_EXCEPTION_PAYLOAD = 164;
    /// The largest guest-physical address, in bits.
    KVM_CAP_ARM_VM_IPA_SIZE = 165;
    /// `KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2` before it was mended.
    KVM_CAP_MANUAL_DIRTY_LOG_PROTECT = 166;
    /// `KVM_GET_SUPPORTED_HV_CPUID`.
    KVM_CAP_HYPERV_CPUID = 167;
    /// `KVM_CLEAR_DIRTY_LOG`; the value is which flags.
    KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 = 168;
    /// SVE.
    KVM_CAP_ARM_SVE = 170;
    /// Pointer authentication, of addresses.
    KVM_CAP_ARM_PTRAUTH_ADDRESS = 171;
    /// Pointer authentication, generic.
    KVM_CAP_ARM_PTRAUTH_GENERIC = 172;
    /// `KVM_SET_PMU_EVENT_FILTER`.
    KVM_CAP_PMU_EVENT_FILTER = 173;
    /// `KVM_IRQ_LINE` reaches vCPUs above 255.
    KVM_CAP_ARM_IRQ_LINE_LAYOUT_2 = 174;
    /// Hyper-V's TLB flushes, direct.
    KVM_CAP_HYPERV_DIRECT_TLBFLUSH = 175;
    /// `KVM_EXIT_ARM_NISV`.
    KVM_CAP_ARM_NISV_TO_USER = 177;
    /// An external abort can be injected.
    KVM_CAP_ARM_INJECT_EXT_DABT = 178;
    /// Polling at idle can be set.
    KVM_CAP_HALT_POLL = 182;
    /// Asynchronous page faults by interrupt.
    KVM_CAP_ASYNC_PF_INT = 183;
    /// The last physical CPU is reported.
    KVM_CAP_LAST_CPU = 184;
    /// A guest may have fewer physical address bits than the host.
    KVM_CAP_SMALLER_MAXPHYADDR = 185;
    /// Stolen time.
    KVM_CAP_STEAL_TIME = 187;
    /// MSR exits.
    KVM_CAP_X86_USER_SPACE_MSR = 188;
    /// `KVM_X86_SET_MSR_FILTER`.
    KVM_CAP_X86_MSR_FILTER = 189;
    /// Paravirtual features only where CPUID offers them.
    KVM_CAP_ENFORCE_PV_FEATURE_CPUID = 190;
    /// `KVM_GET_SUPPORTED_HV_CPUID` on the system.
    KVM_CAP_SYS_HYPERV_CPUID = 191;
    /// Dirty rings, on hosts that order stores; the value is bytes.
    KVM_CAP_DIRTY_LOG_RING = 192;
    /// Bus lock exits.
    KVM_CAP_X86_BUS_LOCK_EXIT = 193;
    /// The control bits of `KVM_SET_GUEST_DEBUG`.
    KVM_CAP_SET_GUEST_DEBUG2 = 195;
    /// SGX attributes.
    KVM_CAP_SGX_ATTRIBUTE = 196;
    /// SEV contexts can be copied.
    KVM_CAP_VM_COPY_ENC_CONTEXT_FROM = 197;
    /// A precise clock for guests.
    KVM_CAP_PTP_KVM = 198;
    /// Hyper-V features only where CPUID offers them.
    KVM_CAP_HYPERV_ENFORCE_CPUID = 199;
    /// `KVM_GET_SREGS2`.
    KVM_CAP_SREGS2 = 200;
    /// Hypercall exits; the value is which.
    KVM_CAP_EXIT_HYPERCALL = 201;
    /// `KVM_GET_STATS_FD`.
    KVM_CAP_BINARY_STATS_FD = 203;
    /// Emulation failures exit.
    KVM_CAP_EXIT_ON_EMULATION_FAILURE = 204;
    /// Memory tagging.
    KVM_CAP_ARM_MTE = 205;
    /// SEV contexts can be moved.
    KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM = 206;
    /// Guest-physical address bits (collides with a proposal).
    KVM_CAP_VM_GPA_BITS = 207;
    /// `KVM_GET_XSAVE2`; the value is its size.
    KVM_CAP_XSAVE2 = 208;
    /// The system has attributes.
    KVM_CAP_SYS_ATTRIBUTES = 209;
    /// The PMU can be turned off.
    KVM_CAP_PMU_CAPABILITY = 212;
    /// Quirks can be turned off; the value is which.
    KVM_CAP_DISABLE_QUIRKS2 = 213;
    /// The TSC's frequency can be set for a VM.
    KVM_CAP_VM_TSC_CONTROL = 214;
    /// A system event comes with data.
    KVM_CAP_SYSTEM_EVENT_DATA = 215;
    /// A guest's suspend request exits.
    KVM_CAP_ARM_SYSTEM_SUSPEND = 216;
    /// Triple faults are in `kvm_vcpu_events`.
    KVM_CAP_X86_TRIPLE_FAULT_EVENT = 218;
    /// Notify exits.
    KVM_CAP_X86_NOTIFY_VMEXIT = 219;
    /// Huge pages may be executable.
    KVM_CAP_VM_DISABLE_NX_HUGE_PAGES = 220;
    /// Dirty rings; the value is bytes.
    KVM_CAP_DIRTY_LOG_RING_ACQ_REL = 223;
    /// Dirty rings beside a bitmap.
    KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP = 225;
    /// PMU filters with masks.
    KVM_CAP_PMU_EVENT_MASKED_EVENTS = 226;
    /// `KVM_ARM_SET_COUNTER_OFFSET`.
    KVM_CAP_COUNTER_OFFSET = 227;
    /// Huge pages are split ahead, in chunks.
    KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE = 228;
    /// The sizes of blocks in the guest-physical map, as a set.
    KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES = 229;
    /// `KVM_ARM_GET_REG_WRITABLE_MASKS`; the value is which ranges, as a set.
    KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES = 230;
    /// `KVM_SET_USER_MEMORY_REGION2`.
    KVM_CAP_USER_MEMORY2 = 231;
    /// Memory fault exits.
    KVM_CAP_MEMORY_FAULT_INFO = 232;
    /// `KVM_SET_MEMORY_ATTRIBUTES`.
    KVM_CAP_MEMORY_ATTRIBUTES = 233;
    /// `KVM_CREATE_GUEST_MEMFD`.
    KVM_CAP_GUEST_MEMFD = 234;
    /// The types of VM, as a set.
    KVM_CAP_VM_TYPES = 235;
    /// `KVM_PRE_FAULT_MEMORY`.
    KVM_CAP_PRE_FAULT_MEMORY = 236;
    /// The APIC bus clock can be set.
    KVM_CAP_X86_APIC_BUS_CYCLES_NS = 237;
    /// `KVM_RUN_X86_GUEST_MODE`.
    KVM_CAP_X86_GUEST_MODE = 238;
}
