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
        ENXIO "there is an in-kernel interrupt controller"),
    row!(KVM_NMI: Vcpu nmi, "queues a non-maskable interrupt"),
    row!(KVM_SMI: Vcpu smi, "queues a system-management interrupt",
        EINVAL "there is no system-management mode"),
];

fn interrupt(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let interrupt: kvm_interrupt = call.read()?;
    let vector = u8::try_from(interrupt.irq).map_err(|_| Errno::EINVAL)?;
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
