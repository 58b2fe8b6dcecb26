//! `KVM_IRQ_LINE` (api.rst 4.25) and `KVM_IRQ_LINE_STATUS`.

use std::sync::Arc;

use understudy_abi::arm64::irq_line::*;
use understudy_abi::common::kvm_irq_level;
use understudy_abi::ioctl::{KVM_IRQ_LINE, KVM_IRQ_LINE_STATUS};
use understudy_arm64::vcpu::peer::Line;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_IRQ_LINE: Vm irq_line, "sets the level of an interrupt line",
        EFAULT "the argument cannot be read",
        EINVAL "there is no such kind of line, vCPU or number",
        ENXIO "the line is an in-kernel interrupt controller's"),
    row!(KVM_IRQ_LINE_STATUS: Vm irq_line_status, "the same; the argument is written back",
        EFAULT "the argument cannot be read or written",
        EINVAL "there is no such kind of line, vCPU or number",
        ENXIO "the line is an in-kernel interrupt controller's"),
];

impl Vm {
    pub(crate) fn irq_line(&self, irq: &kvm_irq_level) -> Result<(), Errno> {
        let field = |shift, mask| irq.irq >> shift & mask;
        match field(KVM_ARM_IRQ_TYPE_SHIFT, KVM_ARM_IRQ_TYPE_MASK) {
            KVM_ARM_IRQ_TYPE_CPU => {
                let vcpu = field(KVM_ARM_IRQ_VCPU2_SHIFT, KVM_ARM_IRQ_VCPU2_MASK)
                    * (KVM_ARM_IRQ_VCPU_MASK + 1)
                    + field(KVM_ARM_IRQ_VCPU_SHIFT, KVM_ARM_IRQ_VCPU_MASK);
                let peers = self.arm64()?.vcpus.all();
                let peer = peers.iter().find(|peer| peer.id() == vcpu);
                let peer = peer.ok_or(Errno::EINVAL)?;
                let line = match irq.irq & KVM_ARM_IRQ_NUM_MASK {
                    KVM_ARM_IRQ_CPU_IRQ => Line::Irq,
                    KVM_ARM_IRQ_CPU_FIQ => Line::Fiq,
                    _ => return Err(Errno::EINVAL),
                };
                peer.set_line(line, irq.level != 0);
                Ok(())
            }
            KVM_ARM_IRQ_TYPE_SPI | KVM_ARM_IRQ_TYPE_PPI => Err(Errno::ENXIO),
            _ => Err(Errno::EINVAL),
        }
    }
}

fn irq_line(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    vm.irq_line(&call.read()?)?;
    Ok(0)
}

fn irq_line_status(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let irq: kvm_irq_level = call.read()?;
    vm.irq_line(&irq)?;
    call.write(&irq)?;
    Ok(0)
}
