//! Groups and attributes of the device-control ioctls on arm64
//! (`Documentation/virt/kvm/devices/`).

/// vCPU group: the PMU.
pub const KVM_ARM_VCPU_PMU_V3_CTRL: u32 = 0;
/// Its interrupt, a pointer to `int`.
pub const KVM_ARM_VCPU_PMU_V3_IRQ: u64 = 0;
/// Initialise it; no value.
pub const KVM_ARM_VCPU_PMU_V3_INIT: u64 = 1;
/// Which events it counts, a pointer to [`super::kvm_pmu_event_filter`].
pub const KVM_ARM_VCPU_PMU_V3_FILTER: u64 = 2;
/// Which of the host's PMUs, a pointer to `int`.
pub const KVM_ARM_VCPU_PMU_V3_SET_PMU: u64 = 3;

/// vCPU group: the interrupts of the timers, each a pointer to `int`.
pub const KVM_ARM_VCPU_TIMER_CTRL: u32 = 1;
/// The virtual timer's.
pub const KVM_ARM_VCPU_TIMER_IRQ_VTIMER: u64 = 0;
/// The physical timer's.
pub const KVM_ARM_VCPU_TIMER_IRQ_PTIMER: u64 = 1;
/// The EL2 virtual timer's.
pub const KVM_ARM_VCPU_TIMER_IRQ_HVTIMER: u64 = 2;
/// The EL2 physical timer's.
pub const KVM_ARM_VCPU_TIMER_IRQ_HPTIMER: u64 = 3;

/// vCPU group: paravirtual time.
pub const KVM_ARM_VCPU_PVTIME_CTRL: u32 = 2;
/// Where the structure of stolen time lies, a pointer to `u64`, a multiple of 64.
pub const KVM_ARM_VCPU_PVTIME_IPA: u64 = 0;

/// VM group: SMC calling convention.
pub const KVM_ARM_VM_SMCCC_CTRL: u32 = 0;
/// What becomes of a range of functions, a pointer to [`super::kvm_smccc_filter`].
pub const KVM_ARM_VM_SMCCC_FILTER: u64 = 0;

/// GIC group: where its frames lie.
pub const KVM_DEV_ARM_VGIC_GRP_ADDR: u32 = 0;
/// GIC group: distributor registers.
pub const KVM_DEV_ARM_VGIC_GRP_DIST_REGS: u32 = 1;
/// GIC group: CPU interface registers of GICv2.
pub const KVM_DEV_ARM_VGIC_GRP_CPU_REGS: u32 = 2;
/// GIC group: how many interrupts.
pub const KVM_DEV_ARM_VGIC_GRP_NR_IRQS: u32 = 3;
/// GIC group: commands.
pub const KVM_DEV_ARM_VGIC_GRP_CTRL: u32 = 4;
/// GIC group: redistributor registers.
pub const KVM_DEV_ARM_VGIC_GRP_REDIST_REGS: u32 = 5;
/// GIC group: CPU interface registers of GICv3.
pub const KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS: u32 = 6;
/// GIC group: levels of lines.
pub const KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO: u32 = 7;
/// GIC group: registers of the interrupt translation service.
pub const KVM_DEV_ARM_VGIC_GRP_ITS_REGS: u32 = 8;
/// GIC command: initialise.
pub const KVM_DEV_ARM_VGIC_CTRL_INIT: u64 = 0;
/// GICv2 frame: the distributor.
pub const KVM_VGIC_V2_ADDR_TYPE_DIST: u64 = 0;
/// GICv2 frame: the CPU interface.
pub const KVM_VGIC_V2_ADDR_TYPE_CPU: u64 = 1;
/// GICv3 frame: the distributor.
pub const KVM_VGIC_V3_ADDR_TYPE_DIST: u64 = 2;
/// GICv3 frame: the redistributors.
pub const KVM_VGIC_V3_ADDR_TYPE_REDIST: u64 = 3;
/// GICv3 frame: the interrupt translation service.
pub const KVM_VGIC_ITS_ADDR_TYPE: u64 = 4;
/// GICv3 frame: a region of redistributors.
pub const KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION: u64 = 5;
