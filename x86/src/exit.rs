//! Why a vCPU stopped running its guest (KVM API 5, "The kvm_run structure").

/// What the caller of [`crate::vcpu::Vcpu::run`] has to look after, each named for what `KVM_RUN`
/// gives for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Somebody asked for it: `EINTR`, `KVM_EXIT_INTR`.
    Interrupted,
    /// A vCPU that had not been initialised has got INIT: `EAGAIN`.
    Again,
    /// `KVM_EXIT_IOAPIC_EOI`: the IOAPIC of user space has to know of the EOI of this vector.
    IoapicEoi(u8),
    /// `KVM_EXIT_HLT`, with RIP past the instruction.
    Hlt,
    /// `KVM_EXIT_IRQ_WINDOW_OPEN`: an interrupt could be taken now.
    IrqWindowOpen,
    /// `KVM_EXIT_SET_TPR`: CR8 has been lowered, which the interrupt controller in user space has to
    /// know. RIP is past the instruction.
    SetTpr,
    /// `KVM_EXIT_SHUTDOWN`: a triple fault.
    Shutdown,
    /// `KVM_EXIT_MMIO`. After a read RIP is still at the instruction, and the next run begins with
    /// [`crate::vcpu::Vcpu::complete_mmio`]; after a write it is past it.
    Mmio(Mmio),
    /// `KVM_EXIT_IO`, with RIP at the instruction; the next run begins with
    /// [`crate::vcpu::Vcpu::complete_io`].
    Io(Io),
    /// The host memory behind a slot is not there: `EFAULT`.
    Fault,
    /// `KVM_EXIT_INTERNAL_ERROR`: an instruction that this processor does not have yet, or an
    /// access that no device takes.
    InternalError {
        /// `suberror`.
        suberror: u32,
    },
}

/// `KVM_INTERNAL_ERROR_EMULATION`.
pub const EMULATION: u32 = 1;

/// The union's member for `KVM_EXIT_MMIO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mmio {
    /// `phys_addr`: the guest-physical address.
    pub address: u64,
    /// `len`: 1, 2, 4 or 8.
    pub length: u32,
    /// `is_write`.
    pub is_write: bool,
    /// `data`: what is written; zeros where it is read.
    pub data: [u8; 8],
}

/// The union's member for `KVM_EXIT_IO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// `direction`: `KVM_EXIT_IO_IN`, or `KVM_EXIT_IO_OUT`.
    pub is_in: bool,
    /// `size`: 1, 2 or 4.
    pub size: u8,
    /// `port`.
    pub port: u16,
    /// `count`: always 1 here.
    pub count: u32,
    /// What is written.
    pub data: u64,
}
