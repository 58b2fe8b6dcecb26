//! `KVM_CREATE_DEVICE` (api.rst 4.79), `KVM_CREATE_IRQCHIP` (4.24) and `KVM_ARM_SET_DEVICE_ADDR`
//! (4.85).
//!
//! There is no in-kernel device yet: each answers as on a host whose KVM has none.

use std::sync::Arc;

use understudy_abi::arm64::kvm_arm_device_addr;
use understudy_abi::common::kvm_create_device;
use understudy_abi::ioctl::arm64::KVM_ARM_SET_DEVICE_ADDR;
use understudy_abi::ioctl::{KVM_CREATE_DEVICE, KVM_CREATE_IRQCHIP};

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_CREATE_DEVICE: Vm create_device, "makes, or tests for, an in-kernel device",
        EFAULT "the argument cannot be read",
        ENODEV "there is no such type of device"),
    row!(KVM_CREATE_IRQCHIP: Vm create_irqchip, "makes a GICv2",
        ENXIO "there is no in-kernel interrupt controller"),
    row!(KVM_ARM_SET_DEVICE_ADDR: Vm set_device_addr, "places a GICv2",
        EFAULT "the argument cannot be read",
        ENODEV "the device is not a GICv2",
        ENXIO "there is no in-kernel interrupt controller"),
];

fn create_device(_: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let _: kvm_create_device = call.read()?;
    Err(Errno::ENODEV)
}

fn create_irqchip(_: &Arc<Vm>, _: &Call<'_>) -> Result<i64, Errno> {
    Err(Errno::ENXIO)
}

fn set_device_addr(_: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    /// Bits 31:16 of the id: which device.
    const DEVICE_SHIFT: u32 = 16;
    /// `KVM_ARM_DEVICE_VGIC_V2`.
    const VGIC_V2: u16 = 0;
    let device: kvm_arm_device_addr = call.read()?;
    match (device.id >> DEVICE_SHIFT) as u16 {
        VGIC_V2 => Err(Errno::ENXIO),
        _ => Err(Errno::ENODEV),
    }
}
