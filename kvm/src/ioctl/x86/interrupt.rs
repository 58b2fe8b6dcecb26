//! `KVM_INTERRUPT` (api.rst 4.16), `KVM_NMI` (4.64) and `KVM_SMI` (4.96).

use std::sync::Arc;

use understudy_abi::common::kvm_interrupt;
use understudy_abi::ioctl::x86::KVM_SMI;
use understudy_abi::ioctl::{KVM_INTERRUPT, KVM_NMI};
use understudy_x86::events;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_INTERRUPT: Vcpu interrupt, "injects an external interrupt, where the interrupt controller \
            is user space's",
        EFAULT "the argument cannot be read",
        EINVAL "the vector is above 255",
        ENXIO "there are PICs in the kernel",
        EEXIST "the IOAPIC is user space's, and one waits already"),
    row!(KVM_NMI: Vcpu nmi, "queues a non-maskable interrupt"),
    row!(KVM_SMI: Vcpu smi, "queues a system-management interrupt",
        EINVAL "there is no system-management mode"),
];

fn interrupt(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let interrupt: kvm_interrupt = call.read()?;
    let vector = u8::try_from(interrupt.irq).map_err(|_| Errno::EINVAL)?;
    match state.cpu.cpu().state.machine.chipset() {
        None => {}
        Some(chipset) if !chipset.is_split() => return Err(Errno::ENXIO),
        // It waits until the local APIC lets it through.
        Some(_) => {
            return match state.cpu.inject(vector) {
                true => Ok(0),
                false => Err(Errno::EEXIST),
            };
        }
    }
    events::queue_interrupt(state.cpu.cpu_mut(), vector);
    Ok(0)
}

fn nmi(vcpu: &Arc<Vcpu>, _: &Call<'_>) -> Result<i64, Errno> {
    vcpu.x86()?.cpu.nmi();
    Ok(0)
}

fn smi(vcpu: &Arc<Vcpu>, _: &Call<'_>) -> Result<i64, Errno> {
    drop(vcpu.x86()?);
    Err(Errno::EINVAL)
}
