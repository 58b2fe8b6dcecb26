//! Structures and flags of an x86-64 guest (`arch/x86/include/uapi/asm/kvm.h` of Linux 6.12).

use bitflags::bitflags;

use crate::layout::structures;

/// The page of a vCPU's mapping that holds the data of port accesses.
pub const KVM_PIO_PAGE_OFFSET: usize = 1;
/// The page of a vCPU's mapping that holds the ring of coalesced MMIO.
pub const KVM_COALESCED_MMIO_PAGE_OFFSET: usize = 2;
/// Interrupt vectors.
pub const KVM_NR_INTERRUPTS: usize = 256;
/// Inputs of the IOAPIC.
pub const KVM_IOAPIC_NUM_PINS: usize = 24;
/// Bytes of the local APIC's register page that are saved.
pub const KVM_APIC_REG_SIZE: usize = 0x400;
/// Extended control registers that [`kvm_xcrs`] has room for.
pub const KVM_MAX_XCRS: usize = 16;
/// Ranges that [`kvm_msr_filter`] has room for.
pub const KVM_MSR_FILTER_MAX_RANGES: usize = 16;
/// `chip_id` of [`kvm_irqchip`]: the first 8259A.
pub const KVM_IRQCHIP_PIC_MASTER: u32 = 0;
/// `chip_id` of [`kvm_irqchip`]: the second 8259A.
pub const KVM_IRQCHIP_PIC_SLAVE: u32 = 1;
/// `chip_id` of [`kvm_irqchip`]: the IOAPIC.
pub const KVM_IRQCHIP_IOAPIC: u32 = 2;
/// `flags` of [`kvm_sregs2`]: `pdptrs` is valid.
pub const KVM_SREGS2_FLAGS_PDPTRS_VALID: u64 = 1;
/// `flags` of [`kvm_msr_filter`]: what no range covers is denied.
pub const KVM_MSR_FILTER_DEFAULT_DENY: u32 = 1 << 0;
/// `flags` of [`kvm_msr_filter_range`]: it is about reads.
pub const KVM_MSR_FILTER_READ: u32 = 1 << 0;
/// `flags` of [`kvm_msr_filter_range`]: it is about writes.
pub const KVM_MSR_FILTER_WRITE: u32 = 1 << 1;
/// `interrupt.shadow` of [`kvm_vcpu_events`]: after MOV SS.
pub const KVM_X86_SHADOW_INT_MOV_SS: u8 = 1;
/// `interrupt.shadow` of [`kvm_vcpu_events`]: after STI.
pub const KVM_X86_SHADOW_INT_STI: u8 = 2;
/// The argument of `KVM_CREATE_VM` for an ordinary VM.
pub const KVM_X86_DEFAULT_VM: u64 = 0;

bitflags! {
    /// `kvm_run.flags` on x86-64.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct RunFlags: u16 {
        /// `KVM_RUN_X86_SMM`: in system-management mode.
        const SMM = 1 << 0;
        /// `KVM_RUN_X86_BUS_LOCK`: a bus lock was detected.
        const BUS_LOCK = 1 << 1;
        /// `KVM_RUN_X86_GUEST_MODE`: a nested guest was running.
        const GUEST_MODE = 1 << 2;
    }
}

bitflags! {
    /// `control` of [`kvm_guest_debug`] on x86-64 (requirements 6.4).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct GuestDebugControl: u32 {
        /// `KVM_GUESTDBG_ENABLE`: the rest but injection takes effect.
        const ENABLE = crate::common::KVM_GUESTDBG_ENABLE;
        /// `KVM_GUESTDBG_SINGLESTEP`: exit after each instruction.
        const SINGLESTEP = crate::common::KVM_GUESTDBG_SINGLESTEP;
        /// `KVM_GUESTDBG_USE_SW_BP`: INT3 exits.
        const USE_SW_BP = 1 << 16;
        /// `KVM_GUESTDBG_USE_HW_BP`: use the registers of `arch` for those of the guest.
        const USE_HW_BP = 1 << 17;
        /// `KVM_GUESTDBG_INJECT_DB`: queue #DB.
        const INJECT_DB = 1 << 18;
        /// `KVM_GUESTDBG_INJECT_BP`: queue #BP.
        const INJECT_BP = 1 << 19;
        /// `KVM_GUESTDBG_BLOCKIRQ`: inject no interrupts meanwhile.
        const BLOCKIRQ = 1 << 20;
    }
}

bitflags! {
    /// `kvm_valid_regs` and `kvm_dirty_regs` (requirements 1.6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct SyncRegs: u64 {
        /// `KVM_SYNC_X86_REGS`.
        const REGS = 1 << 0;
        /// `KVM_SYNC_X86_SREGS`.
        const SREGS = 1 << 1;
        /// `KVM_SYNC_X86_EVENTS`.
        const EVENTS = 1 << 2;
    }
}

bitflags! {
    /// `flags` of [`kvm_vcpu_events`]: which parts are valid.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct VcpuEventFlags: u32 {
        /// `KVM_VCPUEVENT_VALID_NMI_PENDING`.
        const NMI_PENDING = 1 << 0;
        /// `KVM_VCPUEVENT_VALID_SIPI_VECTOR`.
        const SIPI_VECTOR = 1 << 1;
        /// `KVM_VCPUEVENT_VALID_SHADOW`.
        const SHADOW = 1 << 2;
        /// `KVM_VCPUEVENT_VALID_SMM`.
        const SMM = 1 << 3;
        /// `KVM_VCPUEVENT_VALID_PAYLOAD`.
        const PAYLOAD = 1 << 4;
        /// `KVM_VCPUEVENT_VALID_TRIPLE_FAULT`.
        const TRIPLE_FAULT = 1 << 5;
    }
}

bitflags! {
    /// `flags` of [`kvm_cpuid_entry2`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct CpuidFlags: u32 {
        /// `KVM_CPUID_FLAG_SIGNIFCANT_INDEX`: ECX selects the leaf (the uAPI spells it so).
        const SIGNIFICANT_INDEX = 1 << 0;
        /// `KVM_CPUID_FLAG_STATEFUL_FUNC`: unused.
        const STATEFUL_FUNC = 1 << 1;
        /// `KVM_CPUID_FLAG_STATE_READ_NEXT`: unused.
        const STATE_READ_NEXT = 1 << 2;
    }
}

bitflags! {
    /// `flags` of [`kvm_pit_state2`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PitFlags: u32 {
        /// `KVM_PIT_FLAGS_HPET_LEGACY`: the HPET has taken over channel 0.
        const HPET_LEGACY = 1 << 0;
        /// `KVM_PIT_FLAGS_SPEAKER_DATA_ON`: port 0x61 bit 1.
        const SPEAKER_DATA_ON = 1 << 1;
    }
}

structures! {
    /// For `KVM_GET_REGS` and `KVM_SET_REGS` (api.rst 4.11).
    pub struct kvm_regs {
        /// RAX.
        pub rax: u64,
        /// RBX.
        pub rbx: u64,
        /// RCX.
        pub rcx: u64,
        /// RDX.
        pub rdx: u64,
        /// RSI.
        pub rsi: u64,
        /// RDI.
        pub rdi: u64,
        /// RSP.
        pub rsp: u64,
        /// RBP.
        pub rbp: u64,
        /// R8.
        pub r8: u64,
        /// R9.
        pub r9: u64,
        /// R10.
        pub r10: u64,
        /// R11.
        pub r11: u64,
        /// R12.
        pub r12: u64,
        /// R13.
        pub r13: u64,
        /// R14.
        pub r14: u64,
        /// R15.
        pub r15: u64,
        /// RIP.
        pub rip: u64,
        /// RFLAGS.
        pub rflags: u64,
    }

    /// A segment register with its hidden part.
    pub struct kvm_segment {
        /// Base address.
        pub base: u64,
        /// Limit in bytes, granularity applied.
        pub limit: u32,
        /// Selector.
        pub selector: u16,
        /// Descriptor type, 4 bits.
        pub r#type: u8,
        /// P.
        pub present: u8,
        /// DPL.
        pub dpl: u8,
        /// D or B.
        pub db: u8,
        /// S: code or data.
        pub s: u8,
        /// L: 64-bit code.
        pub l: u8,
        /// G.
        pub g: u8,
        /// AVL.
        pub avl: u8,
        /// 1: the register holds no segment.
        pub unusable: u8,
        /// Padding.
        pub padding: u8,
    }

    /// GDTR or IDTR.
    pub struct kvm_dtable {
        /// Base address.
        pub base: u64,
        /// Limit in bytes.
        pub limit: u16,
        /// Padding.
        pub padding: [u16; 3],
    }

    /// For `KVM_GET_SREGS` and `KVM_SET_SREGS` (4.13).
    pub struct kvm_sregs {
        /// CS.
        pub cs: kvm_segment,
        /// DS.
        pub ds: kvm_segment,
        /// ES.
        pub es: kvm_segment,
        /// FS.
        pub fs: kvm_segment,
        /// GS.
        pub gs: kvm_segment,
        /// SS.
        pub ss: kvm_segment,
        /// TR.
        pub tr: kvm_segment,
        /// LDTR.
        pub ldt: kvm_segment,
        /// GDTR.
        pub gdt: kvm_dtable,
        /// IDTR.
        pub idt: kvm_dtable,
        /// CR0.
        pub cr0: u64,
        /// CR2.
        pub cr2: u64,
        /// CR3.
        pub cr3: u64,
        /// CR4.
        pub cr4: u64,
        /// CR8.
        pub cr8: u64,
        /// EFER.
        pub efer: u64,
        /// IA32_APIC_BASE.
        pub apic_base: u64,
        /// One bit: the vector of an interrupt that is being injected.
        pub interrupt_bitmap: [u64; KVM_NR_INTERRUPTS / 64],
    }

    /// For `KVM_GET_SREGS2` and `KVM_SET_SREGS2` (4.131).
    pub struct kvm_sregs2 {
        /// CS.
        pub cs: kvm_segment,
        /// DS.
        pub ds: kvm_segment,
        /// ES.
        pub es: kvm_segment,
        /// FS.
        pub fs: kvm_segment,
        /// GS.
        pub gs: kvm_segment,
        /// SS.
        pub ss: kvm_segment,
        /// TR.
        pub tr: kvm_segment,
        /// LDTR.
        pub ldt: kvm_segment,
        /// GDTR.
        pub gdt: kvm_dtable,
        /// IDTR.
        pub idt: kvm_dtable,
        /// CR0.
        pub cr0: u64,
        /// CR2.
        pub cr2: u64,
        /// CR3.
        pub cr3: u64,
        /// CR4.
        pub cr4: u64,
        /// CR8.
        pub cr8: u64,
        /// EFER.
        pub efer: u64,
        /// IA32_APIC_BASE.
        pub apic_base: u64,
        /// 0 or [`KVM_SREGS2_FLAGS_PDPTRS_VALID`].
        pub flags: u64,
        /// The PAE page-directory pointers.
        pub pdptrs: [u64; 4],
    }

    /// For `KVM_GET_FPU` and `KVM_SET_FPU` (4.22).
    pub struct kvm_fpu {
        /// ST0 to ST7, as FXSAVE has them.
        pub fpr: [[u8; 16]; 8],
        /// FCW.
        pub fcw: u16,
        /// FSW.
        pub fsw: u16,
        /// The abridged tag word of FXSAVE.
        pub ftwx: u8,
        /// Padding.
        pub pad1: u8,
        /// FOP.
        pub last_opcode: u16,
        /// FIP.
        pub last_ip: u64,
        /// FDP.
        pub last_dp: u64,
        /// XMM0 to XMM15.
        pub xmm: [[u8; 16]; 16],
        /// MXCSR.
        pub mxcsr: u32,
        /// Padding.
        pub pad2: u32,
    }

    /// For `KVM_GET_LAPIC` and `KVM_SET_LAPIC` (4.57).
    pub struct kvm_lapic_state {
        /// The register page's beginning: one register of 4 bytes every 16.
        pub regs: [u8; KVM_APIC_REG_SIZE],
    }

    /// An 8259A, in [`kvm_irqchip`].
    pub struct kvm_pic_state {
        /// Inputs at the last look, to see edges.
        pub last_irr: u8,
        /// Requests.
        pub irr: u8,
        /// Mask.
        pub imr: u8,
        /// In service.
        pub isr: u8,
        /// Highest priority's input.
        pub priority_add: u8,
        /// First vector.
        pub irq_base: u8,
        /// OCW3: the next read is of ISR, not IRR.
        pub read_reg_select: u8,
        /// OCW3: the next read is a poll.
        pub poll: u8,
        /// OCW3: special mask mode.
        pub special_mask: u8,
        /// Which ICW comes next.
        pub init_state: u8,
        /// ICW4: automatic end of interrupt.
        pub auto_eoi: u8,
        /// OCW2: rotate on automatic end of interrupt.
        pub rotate_on_auto_eoi: u8,
        /// ICW4: special fully nested mode.
        pub special_fully_nested_mode: u8,
        /// ICW1: an ICW4 follows.
        pub init4: u8,
        /// PIIX: which inputs are level-triggered.
        pub elcr: u8,
        /// PIIX: which inputs may be.
        pub elcr_mask: u8,
    }

    /// The IOAPIC, in [`kvm_irqchip`].
    pub struct kvm_ioapic_state {
        /// Guest-physical address.
        pub base_address: u64,
        /// IOREGSEL.
        pub ioregsel: u32,
        /// Its id.
        pub id: u32,
        /// Inputs that are high.
        pub irr: u32,
        /// Padding.
        pub pad: u32,
        /// The redirection table: vector 7:0, delivery mode 10:8, destination mode 11, delivery
        /// status 12, polarity 13, remote IRR 14, trigger mode 15, mask 16, destination 63:56.
        pub redirtbl: [u64; KVM_IOAPIC_NUM_PINS],
    }

    /// For `KVM_GET_IRQCHIP` and `KVM_SET_IRQCHIP` (4.26).
    pub struct kvm_irqchip {
        /// One of the `KVM_IRQCHIP_*`.
        pub chip_id: u32,
        /// Padding.
        pub pad: u32,
        /// A [`kvm_pic_state`] or a [`kvm_ioapic_state`] at its beginning.
        pub chip: [u8; 512],
    }

    /// For `KVM_CREATE_PIT2` (4.71).
    pub struct kvm_pit_config {
        /// 1: emulate the speaker's port.
        pub flags: u32,
        /// Reserved.
        pub pad: [u32; 15],
    }

    /// A channel of the 8254.
    pub struct kvm_pit_channel_state {
        /// The reload value, up to 65536.
        pub count: u32,
        /// The count that was latched.
        pub latched_count: u16,
        /// How much of it is left to read.
        pub count_latched: u8,
        /// 1: the status is latched.
        pub status_latched: u8,
        /// The latched status.
        pub status: u8,
        /// Which byte is read next.
        pub read_state: u8,
        /// Which byte is written next.
        pub write_state: u8,
        /// The low byte that was written.
        pub write_latch: u8,
        /// Access mode.
        pub rw_mode: u8,
        /// Counting mode.
        pub mode: u8,
        /// BCD.
        pub bcd: u8,
        /// The gate.
        pub gate: u8,
        /// When counting began, in nanoseconds.
        pub count_load_time: i64,
    }

    /// For `KVM_GET_PIT` and `KVM_SET_PIT`.
    pub struct kvm_pit_state {
        /// The channels.
        pub channels: [kvm_pit_channel_state; 3],
    }

    /// For `KVM_GET_PIT2` and `KVM_SET_PIT2` (4.72).
    pub struct kvm_pit_state2 {
        /// The channels.
        pub channels: [kvm_pit_channel_state; 3],
        /// [`PitFlags`].
        pub flags: u32,
        /// Reserved.
        pub reserved: [u32; 9],
    }

    /// For `KVM_REINJECT_CONTROL` (4.99).
    pub struct kvm_reinject_control {
        /// 1: deliver ticks later that the guest was too slow for.
        pub pit_reinject: u8,
        /// Reserved.
        pub reserved: [u8; 31],
    }

    /// For `KVM_GET_CLOCK` and `KVM_SET_CLOCK` (4.29).
    pub struct kvm_clock_data {
        /// kvmclock, in nanoseconds.
        pub clock: u64,
        /// [`crate::common::ClockFlags`].
        pub flags: u32,
        /// Reserved.
        pub pad0: u32,
        /// The wall clock, in nanoseconds.
        pub realtime: u64,
        /// The host's time-stamp counter.
        pub host_tsc: u64,
        /// Reserved.
        pub pad: [u32; 4],
    }

    /// One MSR.
    pub struct kvm_msr_entry {
        /// Which.
        pub index: u32,
        /// Padding.
        pub reserved: u32,
        /// Its value.
        pub data: u64,
    }

    /// The head of what `KVM_GET_MSRS` and `KVM_SET_MSRS` take (4.18); [`kvm_msr_entry`] follow.
    pub struct kvm_msrs {
        /// How many.
        pub nmsrs: u32,
        /// Padding.
        pub pad: u32,
    }

    /// The head of what `KVM_GET_MSR_INDEX_LIST` fills (4.3); indices of 4 bytes follow.
    pub struct kvm_msr_list {
        /// How many.
        pub nmsrs: u32,
    }

    /// A range of [`kvm_msr_filter`].
    pub struct kvm_msr_filter_range {
        /// [`KVM_MSR_FILTER_READ`] and [`KVM_MSR_FILTER_WRITE`].
        pub flags: u32,
        /// How many MSRs.
        pub nmsrs: u32,
        /// The first.
        pub base: u32,
        /// Padding.
        pub pad: u32,
        /// Pointer to one bit an MSR: 1 allows.
        pub bitmap: u64,
    }

    /// For `KVM_X86_SET_MSR_FILTER` (4.97).
    pub struct kvm_msr_filter {
        /// [`KVM_MSR_FILTER_DEFAULT_DENY`] or 0.
        pub flags: u32,
        /// Padding.
        pub pad: u32,
        /// The ranges.
        pub ranges: [kvm_msr_filter_range; KVM_MSR_FILTER_MAX_RANGES],
    }

    /// An entry of [`kvm_cpuid`].
    pub struct kvm_cpuid_entry {
        /// EAX in.
        pub function: u32,
        /// EAX out.
        pub eax: u32,
        /// EBX out.
        pub ebx: u32,
        /// ECX out.
        pub ecx: u32,
        /// EDX out.
        pub edx: u32,
        /// Padding.
        pub padding: u32,
    }

    /// The head of what `KVM_SET_CPUID` takes (4.20); [`kvm_cpuid_entry`] follow.
    pub struct kvm_cpuid {
        /// How many.
        pub nent: u32,
        /// Padding.
        pub padding: u32,
    }

    /// An entry of [`kvm_cpuid2`].
    pub struct kvm_cpuid_entry2 {
        /// EAX in.
        pub function: u32,
        /// ECX in.
        pub index: u32,
        /// [`CpuidFlags`].
        pub flags: u32,
        /// EAX out.
        pub eax: u32,
        /// EBX out.
        pub ebx: u32,
        /// ECX out.
        pub ecx: u32,
        /// EDX out.
        pub edx: u32,
        /// Padding.
        pub padding: [u32; 3],
    }

    /// The head of what the CPUID ioctls take (4.20, 4.46); [`kvm_cpuid_entry2`] follow.
    pub struct kvm_cpuid2 {
        /// How many.
        pub nent: u32,
        /// Padding.
        pub padding: u32,
    }

    /// The union's member for `KVM_EXIT_DEBUG` (requirements 1.4).
    pub struct kvm_debug_exit_arch {
        /// The vector: 1 (#DB) or 3 (#BP).
        pub exception: u32,
        /// Padding.
        pub pad: u32,
        /// The linear address, CS.base + RIP.
        pub pc: u64,
        /// DR6 of the event.
        pub dr6: u64,
        /// DR7 in effect.
        pub dr7: u64,
    }

    /// The debug registers that user space lends.
    pub struct kvm_guest_debug_arch {
        /// DR0 to DR7; 4 to 6 are not looked at.
        pub debugreg: [u64; 8],
    }

    /// For `KVM_SET_GUEST_DEBUG` (4.87).
    pub struct kvm_guest_debug {
        /// [`GuestDebugControl`].
        pub control: u32,
        /// Not looked at.
        pub pad: u32,
        /// Used with [`GuestDebugControl::USE_HW_BP`].
        pub arch: kvm_guest_debug_arch,
    }

    /// `exception` of [`kvm_vcpu_events`].
    pub struct kvm_vcpu_events_exception {
        /// 1: being delivered.
        pub injected: u8,
        /// The vector.
        pub nr: u8,
        /// 1: it has an error code.
        pub has_error_code: u8,
        /// 1: queued (with `KVM_CAP_EXCEPTION_PAYLOAD`).
        pub pending: u8,
        /// The error code.
        pub error_code: u32,
    }

    /// `interrupt` of [`kvm_vcpu_events`].
    pub struct kvm_vcpu_events_interrupt {
        /// 1: being delivered.
        pub injected: u8,
        /// The vector.
        pub nr: u8,
        /// 1: from INT n.
        pub soft: u8,
        /// `KVM_X86_SHADOW_INT_*`.
        pub shadow: u8,
    }

    /// `nmi` of [`kvm_vcpu_events`].
    pub struct kvm_vcpu_events_nmi {
        /// 1: being delivered.
        pub injected: u8,
        /// How many are pending.
        pub pending: u8,
        /// 1: until IRET.
        pub masked: u8,
        /// Padding.
        pub pad: u8,
    }

    /// `smi` of [`kvm_vcpu_events`].
    pub struct kvm_vcpu_events_smi {
        /// 1: in system-management mode.
        pub smm: u8,
        /// 1: pending.
        pub pending: u8,
        /// 1: entered from an NMI handler.
        pub smm_inside_nmi: u8,
        /// 1: an INIT waits for the end of system-management mode.
        pub latched_init: u8,
    }

    /// For `KVM_GET_VCPU_EVENTS` and `KVM_SET_VCPU_EVENTS` (4.31).
    pub struct kvm_vcpu_events {
        /// An exception.
        pub exception: kvm_vcpu_events_exception,
        /// An interrupt.
        pub interrupt: kvm_vcpu_events_interrupt,
        /// An NMI.
        pub nmi: kvm_vcpu_events_nmi,
        /// The vector of a start-up interrupt.
        pub sipi_vector: u32,
        /// [`VcpuEventFlags`].
        pub flags: u32,
        /// A system-management interrupt.
        pub smi: kvm_vcpu_events_smi,
        /// 1: a triple fault is pending.
        pub triple_fault_pending: u8,
        /// Reserved.
        pub reserved: [u8; 26],
        /// 1: the exception has a payload.
        pub exception_has_payload: u8,
        /// DR6's bits of #DB, CR2 of #PF.
        pub exception_payload: u64,
    }

    /// For `KVM_GET_DEBUGREGS` and `KVM_SET_DEBUGREGS` (4.33).
    pub struct kvm_debugregs {
        /// DR0 to DR3.
        pub db: [u64; 4],
        /// DR6.
        pub dr6: u64,
        /// DR7.
        pub dr7: u64,
        /// Must be 0.
        pub flags: u64,
        /// Reserved.
        pub reserved: [u64; 9],
    }

    /// For `KVM_GET_XSAVE` and `KVM_SET_XSAVE` (4.42): the XSAVE area, not compacted.
    pub struct kvm_xsave {
        /// Its first 4096 bytes; `KVM_GET_XSAVE2` may give more.
        pub region: [u32; 1024],
    }

    /// An extended control register.
    pub struct kvm_xcr {
        /// Which: 0.
        pub xcr: u32,
        /// Padding.
        pub reserved: u32,
        /// Its value.
        pub value: u64,
    }

    /// For `KVM_GET_XCRS` and `KVM_SET_XCRS` (4.44).
    pub struct kvm_xcrs {
        /// How many.
        pub nr_xcrs: u32,
        /// Must be 0.
        pub flags: u32,
        /// The registers.
        pub xcrs: [kvm_xcr; KVM_MAX_XCRS],
        /// Reserved.
        pub padding: [u64; 16],
    }

    /// The sync area (requirements 1.6).
    pub struct kvm_sync_regs {
        /// For [`SyncRegs::REGS`].
        pub regs: kvm_regs,
        /// For [`SyncRegs::SREGS`].
        pub sregs: kvm_sregs,
        /// For [`SyncRegs::EVENTS`].
        pub events: kvm_vcpu_events,
    }

    /// For `KVM_TPR_ACCESS_REPORTING`.
    pub struct kvm_tpr_access_ctl {
        /// 1: report.
        pub enabled: u32,
        /// Must be 0.
        pub flags: u32,
        /// Reserved.
        pub reserved: [u32; 8],
    }

    /// For `KVM_SET_VAPIC_ADDR`.
    pub struct kvm_vapic_addr {
        /// Guest-physical address.
        pub vapic_addr: u64,
    }

    /// For `KVM_X86_SET_MCE` (4.106).
    pub struct kvm_x86_mce {
        /// IA32_MCi_STATUS.
        pub status: u64,
        /// IA32_MCi_ADDR.
        pub addr: u64,
        /// IA32_MCi_MISC.
        pub misc: u64,
        /// IA32_MCG_STATUS.
        pub mcg_status: u64,
        /// Which bank.
        pub bank: u8,
        /// Padding.
        pub pad1: [u8; 7],
        /// Padding.
        pub pad2: [u64; 3],
    }

    /// The head of what `KVM_SET_PMU_EVENT_FILTER` takes (4.120); events of 8 bytes follow.
    pub struct kvm_pmu_event_filter {
        /// 0 allow, 1 deny.
        pub action: u32,
        /// How many events.
        pub nevents: u32,
        /// Fixed counters that the action is for.
        pub fixed_counter_bitmap: u32,
        /// Bit 0: events are masked entries.
        pub flags: u32,
        /// Padding.
        pub pad: [u32; 4],
    }

    /// The head of nested state (4.114).
    pub struct kvm_nested_state {
        /// `KVM_STATE_NESTED_*`.
        pub flags: u16,
        /// 0 VMX, 1 SVM.
        pub format: u16,
        /// Bytes, with the head.
        pub size: u32,
        /// Per format.
        pub hdr: [u64; 15],
    }
}
