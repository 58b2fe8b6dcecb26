//! What only a vCPU of an x86-64 guest has.

use understudy_x86::vcpu::Vcpu as Processor;

use crate::errno::Errno;
use crate::x86::Machine;

/// What is to be completed at the beginning of the next `KVM_RUN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// A read of a device: the data is in `kvm_run`'s `mmio.data`.
    Mmio,
    /// An access of a port: what was read is in the page of port data.
    Io,
}

/// What an ioctl on the vCPU works on.
pub(crate) struct State {
    pub(crate) cpu: Processor,
    pub(crate) completion: Option<Completion>,
    /// IA32_APIC_BASE.
    pub(crate) apic_base: u64,
}

impl State {
    pub(crate) fn new(machine: &Machine, id: u32) -> Result<State, Errno> {
        Ok(State {
            cpu: Processor::new(machine, id),
            completion: None,
            apic_base: 0,
        })
    }
}
