//! Structures, flags and numbers that are the same on arm64 and x86-64.

use bitflags::bitflags;

use crate::layout::structures;

bitflags! {
    /// `flags` of a memory slot (api.rst 4.35).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct MemFlags: u32 {
        /// `KVM_MEM_LOG_DIRTY_PAGES`: keep track of writes.
        const LOG_DIRTY_PAGES = 1 << 0;
        /// `KVM_MEM_READONLY`: writes of the guest are MMIO exits.
        const READONLY = 1 << 1;
        /// `KVM_MEM_GUEST_MEMFD`: the slot has a guest_memfd behind it as well.
        const GUEST_MEMFD = 1 << 2;
    }
}

bitflags! {
    /// `args[0]` of `KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2` (7.18), and the value of that capability.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct DirtyLogFlags: u64 {
        /// `KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE`: `KVM_GET_DIRTY_LOG` clears nothing.
        const MANUAL_PROTECT_ENABLE = 1 << 0;
        /// `KVM_DIRTY_LOG_INITIALLY_SET`: a log begins with all pages dirty.
        const INITIALLY_SET = 1 << 1;
    }
}

bitflags! {
    /// `flags` of `kvm_ioeventfd` (4.59).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct IoeventfdFlags: u32 {
        /// `KVM_IOEVENTFD_FLAG_DATAMATCH`: signal only if the value written equals `datamatch`.
        const DATAMATCH = 1 << 0;
        /// `KVM_IOEVENTFD_FLAG_PIO`: `addr` is an x86 port.
        const PIO = 1 << 1;
        /// `KVM_IOEVENTFD_FLAG_DEASSIGN`: remove instead of add.
        const DEASSIGN = 1 << 2;
        /// `KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY`: s390's.
        const VIRTIO_CCW_NOTIFY = 1 << 3;
    }
}

bitflags! {
    /// `flags` of `kvm_irqfd` (4.75).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct IrqfdFlags: u32 {
        /// `KVM_IRQFD_FLAG_DEASSIGN`: remove instead of add.
        const DEASSIGN = 1 << 0;
        /// `KVM_IRQFD_FLAG_RESAMPLE`: level-triggered, with a second eventfd for the end.
        const RESAMPLE = 1 << 1;
    }
}

bitflags! {
    /// `flags` of `kvm_clock_data` (4.29).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct ClockFlags: u32 {
        /// `KVM_CLOCK_TSC_STABLE`: the same on all vCPUs at each instant.
        const TSC_STABLE = 1 << 1;
        /// `KVM_CLOCK_REALTIME`: `realtime` is valid.
        const REALTIME = 1 << 2;
        /// `KVM_CLOCK_HOST_TSC`: `host_tsc` is valid.
        const HOST_TSC = 1 << 3;
    }
}

structures! {
    /// For `KVM_SET_USER_MEMORY_REGION` (4.35).
    pub struct kvm_userspace_memory_region {
        /// Slot (15:0) and address space (31:16).
        pub slot: u32,
        /// [`MemFlags`].
        pub flags: u32,
        /// Guest-physical address, a multiple of the page size.
        pub guest_phys_addr: u64,
        /// Bytes, a multiple of the page size; 0 deletes the slot.
        pub memory_size: u64,
        /// Where the memory is in the caller.
        pub userspace_addr: u64,
    }

    /// For `KVM_SET_USER_MEMORY_REGION2` (4.140).
    pub struct kvm_userspace_memory_region2 {
        /// Slot (15:0) and address space (31:16).
        pub slot: u32,
        /// [`MemFlags`].
        pub flags: u32,
        /// Guest-physical address, a multiple of the page size.
        pub guest_phys_addr: u64,
        /// Bytes, a multiple of the page size; 0 deletes the slot.
        pub memory_size: u64,
        /// Where the memory is in the caller.
        pub userspace_addr: u64,
        /// Offset in the guest_memfd.
        pub guest_memfd_offset: u64,
        /// A guest_memfd, where [`MemFlags::GUEST_MEMFD`] is set.
        pub guest_memfd: u32,
        /// Reserved.
        pub pad1: u32,
        /// Reserved.
        pub pad2: [u64; 14],
    }

    /// For `KVM_IRQ_LINE` (4.25).
    pub struct kvm_irq_level {
        /// Which interrupt, per architecture; `KVM_IRQ_LINE_STATUS` puts its result here.
        pub irq: u32,
        /// 1 asserted, 0 not.
        pub level: u32,
    }

    /// For `KVM_GET_DIRTY_LOG` (4.8).
    pub struct kvm_dirty_log {
        /// Slot (15:0) and address space (31:16).
        pub slot: u32,
        /// Reserved.
        pub padding1: u32,
        /// Pointer to one bit a page, in whole `unsigned long`s.
        pub dirty_bitmap: u64,
    }

    /// For `KVM_CLEAR_DIRTY_LOG` (4.117).
    pub struct kvm_clear_dirty_log {
        /// Slot (15:0) and address space (31:16).
        pub slot: u32,
        /// How many pages the bitmap describes.
        pub num_pages: u32,
        /// The page of the bitmap's first bit, a multiple of 64.
        pub first_page: u64,
        /// Pointer to one bit a page; set means clear.
        pub dirty_bitmap: u64,
    }

    /// An entry of a dirty ring (8.29).
    pub struct kvm_dirty_gfn {
        /// `KVM_DIRTY_GFN_F_DIRTY` and `KVM_DIRTY_GFN_F_RESET`.
        pub flags: u32,
        /// Slot (15:0) and address space (31:16).
        pub slot: u32,
        /// Page within the slot.
        pub offset: u64,
    }

    /// For `KVM_REGISTER_COALESCED_MMIO` and `KVM_UNREGISTER_COALESCED_MMIO` (4.116).
    pub struct kvm_coalesced_mmio_zone {
        /// Guest-physical address, or port.
        pub addr: u64,
        /// Bytes.
        pub size: u32,
        /// 1 for ports, 0 for memory.
        pub pio: u32,
    }

    /// A write in the ring of coalesced MMIO (4.116).
    pub struct kvm_coalesced_mmio {
        /// Guest-physical address, or port.
        pub phys_addr: u64,
        /// Bytes written.
        pub len: u32,
        /// 1 for ports, 0 for memory.
        pub pio: u32,
        /// What was written, in the order of memory.
        pub data: [u8; 8],
    }

    /// The head of the ring of coalesced MMIO; [`kvm_coalesced_mmio`] entries follow it.
    pub struct kvm_coalesced_mmio_ring {
        /// Index of the next entry that user space takes; user space writes it.
        pub first: u32,
        /// Index of the next entry that KVM fills.
        pub last: u32,
    }

    /// For `KVM_TRANSLATE` (4.15).
    pub struct kvm_translation {
        /// In: the guest-virtual address.
        pub linear_address: u64,
        /// Out: the guest-physical address.
        pub physical_address: u64,
        /// Out: 1 if there is a translation.
        pub valid: u8,
        /// Out: 1 if it can be written.
        pub writeable: u8,
        /// Out: 1 if user mode can reach it.
        pub usermode: u8,
        /// Reserved.
        pub pad: [u8; 5],
    }

    /// For `KVM_INTERRUPT` (4.16).
    pub struct kvm_interrupt {
        /// The vector.
        pub irq: u32,
    }

    /// The head of what `KVM_SET_SIGNAL_MASK` takes (4.21); `len` bytes of signal set follow.
    pub struct kvm_signal_mask {
        /// Bytes of the set, 8.
        pub len: u32,
    }

    /// For `KVM_GET_MP_STATE` and `KVM_SET_MP_STATE` (4.38): one of [`mp_state`].
    pub struct kvm_mp_state {
        /// One of [`mp_state`].
        pub mp_state: u32,
    }

    /// For `KVM_ENABLE_CAP` (4.37).
    pub struct kvm_enable_cap {
        /// One of [`crate::cap`].
        pub cap: u32,
        /// Must be 0.
        pub flags: u32,
        /// Per capability.
        pub args: [u64; 4],
        /// Reserved.
        pub pad: [u8; 64],
    }

    /// For `KVM_IOEVENTFD` (4.59).
    pub struct kvm_ioeventfd {
        /// The value to match.
        pub datamatch: u64,
        /// Guest-physical address, or port.
        pub addr: u64,
        /// 1, 2, 4 or 8 bytes; 0 for any.
        pub len: u32,
        /// The eventfd.
        pub fd: i32,
        /// [`IoeventfdFlags`].
        pub flags: u32,
        /// Reserved.
        pub pad: [u8; 36],
    }

    /// For `KVM_IRQFD` (4.75).
    pub struct kvm_irqfd {
        /// The eventfd.
        pub fd: u32,
        /// The interrupt it raises.
        pub gsi: u32,
        /// [`IrqfdFlags`].
        pub flags: u32,
        /// The eventfd that is signalled at the end of interrupt.
        pub resamplefd: u32,
        /// Reserved.
        pub pad: [u8; 16],
    }

    /// `u` of [`kvm_irq_routing_entry`] for [`KVM_IRQ_ROUTING_IRQCHIP`].
    pub struct kvm_irq_routing_irqchip {
        /// Which interrupt controller.
        pub irqchip: u32,
        /// Its pin.
        pub pin: u32,
    }

    /// `u` of [`kvm_irq_routing_entry`] for [`KVM_IRQ_ROUTING_MSI`].
    pub struct kvm_irq_routing_msi {
        /// Message address, low half.
        pub address_lo: u32,
        /// Message address, high half.
        pub address_hi: u32,
        /// Message data.
        pub data: u32,
        /// The device, where [`KVM_MSI_VALID_DEVID`] is set in the entry's flags.
        pub devid: u32,
    }

    /// One interrupt of `KVM_SET_GSI_ROUTING` (4.52).
    pub struct kvm_irq_routing_entry {
        /// The interrupt's number.
        pub gsi: u32,
        /// [`KVM_IRQ_ROUTING_IRQCHIP`] or [`KVM_IRQ_ROUTING_MSI`].
        pub r#type: u32,
        /// [`KVM_MSI_VALID_DEVID`] or 0.
        pub flags: u32,
        /// Reserved.
        pub pad: u32,
        /// By `type`: [`kvm_irq_routing_irqchip`] or [`kvm_irq_routing_msi`].
        pub u: [u32; 8],
    }

    /// The head of what `KVM_SET_GSI_ROUTING` takes; `nr` entries follow.
    pub struct kvm_irq_routing {
        /// How many entries.
        pub nr: u32,
        /// Must be 0.
        pub flags: u32,
    }

    /// For `KVM_SIGNAL_MSI` (4.71).
    pub struct kvm_msi {
        /// Message address, low half.
        pub address_lo: u32,
        /// Message address, high half.
        pub address_hi: u32,
        /// Message data.
        pub data: u32,
        /// [`KVM_MSI_VALID_DEVID`] or 0.
        pub flags: u32,
        /// The device.
        pub devid: u32,
        /// Reserved.
        pub pad: [u8; 12],
    }

    /// The head of what `KVM_GET_REG_LIST` fills (4.84); `n` ids of 8 bytes follow.
    pub struct kvm_reg_list {
        /// In: how many fit. Out: how many there are.
        pub n: u64,
    }

    /// For `KVM_GET_ONE_REG` and `KVM_SET_ONE_REG` (4.68).
    pub struct kvm_one_reg {
        /// Which register: architecture (63:56), size (55:52), index.
        pub id: u64,
        /// Pointer to its value.
        pub addr: u64,
    }

    /// For `KVM_CREATE_DEVICE` (4.79).
    pub struct kvm_create_device {
        /// In: one of [`device_type`].
        pub r#type: u32,
        /// Out: the device's descriptor.
        pub fd: u32,
        /// In: 0 or [`KVM_CREATE_DEVICE_TEST`].
        pub flags: u32,
    }

    /// For the device-attribute ioctls (4.80).
    pub struct kvm_device_attr {
        /// Must be 0.
        pub flags: u32,
        /// The group, per device.
        pub group: u32,
        /// The attribute, per group.
        pub attr: u64,
        /// Pointer to its value.
        pub addr: u64,
    }

    /// For `KVM_SET_MEMORY_ATTRIBUTES` (4.141).
    pub struct kvm_memory_attributes {
        /// Guest-physical address.
        pub address: u64,
        /// Bytes.
        pub size: u64,
        /// [`KVM_MEMORY_ATTRIBUTE_PRIVATE`] or 0.
        pub attributes: u64,
        /// Must be 0.
        pub flags: u64,
    }

    /// For `KVM_CREATE_GUEST_MEMFD` (4.142).
    pub struct kvm_create_guest_memfd {
        /// Bytes.
        pub size: u64,
        /// Must be 0.
        pub flags: u64,
        /// Reserved.
        pub reserved: [u64; 6],
    }

    /// For `KVM_PRE_FAULT_MEMORY` (4.143).
    pub struct kvm_pre_fault_memory {
        /// Guest-physical address; moved on by what was done.
        pub gpa: u64,
        /// Bytes; what is left.
        pub size: u64,
        /// Must be 0.
        pub flags: u64,
        /// Reserved.
        pub padding: [u64; 5],
    }

    /// The head of a statistics descriptor (4.133). Offsets are from its start.
    pub struct kvm_stats_header {
        /// 0.
        pub flags: u32,
        /// Bytes of a name, the final NUL included.
        pub name_size: u32,
        /// How many statistics there are.
        pub num_desc: u32,
        /// Where the id string is.
        pub id_offset: u32,
        /// Where the [`kvm_stats_desc`] are.
        pub desc_offset: u32,
        /// Where the values are.
        pub data_offset: u32,
    }

    /// One statistic (4.133); its name follows.
    pub struct kvm_stats_desc {
        /// Type (3:0), unit (7:4) and base (11:8), of [`stats`].
        pub flags: u32,
        /// The value is in base to this power of the unit.
        pub exponent: i16,
        /// How many values of 8 bytes.
        pub size: u16,
        /// Where they are in the data.
        pub offset: u32,
        /// The width of a linear histogram's bucket.
        pub bucket_size: u32,
    }
}

/// `KVM_MSI_VALID_DEVID`: `devid` is valid.
pub const KVM_MSI_VALID_DEVID: u32 = 1 << 0;
/// The entry is a pin of an interrupt controller.
pub const KVM_IRQ_ROUTING_IRQCHIP: u32 = 1;
/// The entry is a message-signalled interrupt.
pub const KVM_IRQ_ROUTING_MSI: u32 = 2;
/// `KVM_CREATE_DEVICE` shall only say whether the type exists.
pub const KVM_CREATE_DEVICE_TEST: u32 = 1;
/// Pages are the guest's alone, from its guest_memfd.
pub const KVM_MEMORY_ATTRIBUTE_PRIVATE: u64 = 1 << 3;
/// A [`kvm_dirty_gfn`] that user space has not collected.
pub const KVM_DIRTY_GFN_F_DIRTY: u32 = 1 << 0;
/// A [`kvm_dirty_gfn`] that user space has collected.
pub const KVM_DIRTY_GFN_F_RESET: u32 = 1 << 1;
/// The page of a vCPU's mapping at which its dirty ring begins, on both architectures.
pub const KVM_DIRTY_LOG_PAGE_OFFSET: usize = 64;
/// The bits of `KVM_SET_GUEST_DEBUG`'s `control` that mean the same on both architectures.
pub const KVM_GUESTDBG_ENABLE: u32 = 1 << 0;
/// Exit after each instruction.
pub const KVM_GUESTDBG_SINGLESTEP: u32 = 1 << 1;

/// How many entries the page of coalesced MMIO holds (`KVM_COALESCED_MMIO_MAX`). One always stays
/// free, so that full and empty differ.
pub const KVM_COALESCED_MMIO_MAX: usize = (crate::PAGE_SIZE
    - core::mem::size_of::<kvm_coalesced_mmio_ring>())
    / core::mem::size_of::<kvm_coalesced_mmio>();

/// Multiprocessing states (4.38).
pub mod mp_state {
    use crate::layout::numbers;

    numbers! {
        /// The states and their names.
        u32;
        /// Runs.
        KVM_MP_STATE_RUNNABLE = 0;
        /// x86: an application processor before INIT.
        KVM_MP_STATE_UNINITIALIZED = 1;
        /// x86: INIT was received, SIPI is awaited.
        KVM_MP_STATE_INIT_RECEIVED = 2;
        /// x86: after HLT.
        KVM_MP_STATE_HALTED = 3;
        /// x86: SIPI was received.
        KVM_MP_STATE_SIPI_RECEIVED = 4;
        /// arm64: powered off.
        KVM_MP_STATE_STOPPED = 5;
        /// x86, SEV-ES: in AP reset hold.
        KVM_MP_STATE_AP_RESET_HOLD = 9;
        /// arm64: waits for a wake-up event.
        KVM_MP_STATE_SUSPENDED = 10;
    }
}

/// Types of `KVM_CREATE_DEVICE` (4.79).
pub mod device_type {
    use crate::layout::numbers;

    numbers! {
        /// The types and their names.
        u32;
        /// The connection to VFIO.
        KVM_DEV_TYPE_VFIO = 4;
        /// arm64: GICv2.
        KVM_DEV_TYPE_ARM_VGIC_V2 = 5;
        /// arm64: GICv3.
        KVM_DEV_TYPE_ARM_VGIC_V3 = 7;
        /// arm64: the interrupt translation service of GICv3.
        KVM_DEV_TYPE_ARM_VGIC_ITS = 8;
        /// arm64: paravirtual time; never a device of its own.
        KVM_DEV_TYPE_ARM_PV_TIME = 10;
    }
}

/// `flags` of [`kvm_stats_desc`].
pub mod stats {
    /// Type: a counter that only grows.
    pub const KVM_STATS_TYPE_CUMULATIVE: u32 = 0;
    /// Type: the value of now.
    pub const KVM_STATS_TYPE_INSTANT: u32 = 1;
    /// Type: the largest value so far.
    pub const KVM_STATS_TYPE_PEAK: u32 = 2;
    /// Type: a histogram with buckets of equal width.
    pub const KVM_STATS_TYPE_LINEAR_HIST: u32 = 3;
    /// Type: a histogram with buckets that double.
    pub const KVM_STATS_TYPE_LOG_HIST: u32 = 4;
    /// The bits of the type.
    pub const KVM_STATS_TYPE_MASK: u32 = 0xf;
    /// Unit: none.
    pub const KVM_STATS_UNIT_NONE: u32 = 0 << 4;
    /// Unit: bytes.
    pub const KVM_STATS_UNIT_BYTES: u32 = 1 << 4;
    /// Unit: seconds.
    pub const KVM_STATS_UNIT_SECONDS: u32 = 2 << 4;
    /// Unit: cycles.
    pub const KVM_STATS_UNIT_CYCLES: u32 = 3 << 4;
    /// Unit: 0 or 1.
    pub const KVM_STATS_UNIT_BOOLEAN: u32 = 4 << 4;
    /// The bits of the unit.
    pub const KVM_STATS_UNIT_MASK: u32 = 0xf << 4;
    /// The exponent is of 10.
    pub const KVM_STATS_BASE_POW10: u32 = 0 << 8;
    /// The exponent is of 2.
    pub const KVM_STATS_BASE_POW2: u32 = 1 << 8;
    /// The bits of the base.
    pub const KVM_STATS_BASE_MASK: u32 = 0xf << 8;
}
