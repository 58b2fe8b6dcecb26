//! Interrupt controllers of a VM: `KVM_CREATE_IRQCHIP` (api.rst 4.24), `KVM_GET_IRQCHIP` and `KVM_SET_IRQCHIP` (4.26,
//! 4.27), `KVM_IRQ_LINE` (4.25), `KVM_SIGNAL_MSI` (4.70), `KVM_SET_GSI_ROUTING` (4.52),
//! and `KVM_SET_BOOT_CPU_ID` (4.41).

use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use understudy_abi::common::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, kvm_irq_level, kvm_irq_routing,
    kvm_irq_routing_entry, kvm_irq_routing_irqchip, kvm_irq_routing_msi, kvm_msi,
};
use understudy_abi::ioctl::x86::*;
use understudy_abi::ioctl::{
    KVM_CREATE_IRQCHIP, KVM_IRQ_LINE, KVM_IRQ_LINE_STATUS, KVM_SET_GSI_ROUTING, KVM_SIGNAL_MSI,
};
use understudy_abi::x86::{
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_ioapic_state,
    kvm_irqchip, kvm_pic_state,
};
use understudy_x86::chipset::routing::{GSIS, Route};
use understudy_x86::chipset::{Chipset, source};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_CREATE_IRQCHIP: Vm create, "makes local APICs, an IOAPIC and two PICs",
        EEXIST "there is an interrupt controller",
        EINVAL "there is a vCPU"),
    row!(KVM_GET_IRQCHIP: Vm get, "the state of a PIC or of the IOAPIC",
        EFAULT "the argument cannot be read or written",
        ENXIO "there is no such interrupt controller in the kernel",
        EINVAL "chip_id is none"),
    row!(KVM_SET_IRQCHIP: Vm set, "sets the state of a PIC or of the IOAPIC",
        EFAULT "the argument cannot be read",
        ENXIO "there is no such interrupt controller in the kernel",
        EINVAL "chip_id is none"),
    row!(KVM_IRQ_LINE: Vm irq_line, "sets the level of an interrupt",
        EFAULT "the argument cannot be read",
        ENXIO "there is no interrupt controller in the kernel"),
    row!(KVM_IRQ_LINE_STATUS: Vm irq_line_status, "the same, and says what became of it",
        EFAULT "the argument cannot be read or written",
        ENXIO "there is no interrupt controller in the kernel"),
    row!(KVM_SIGNAL_MSI: Vm signal_msi, "delivers a message; to how many vCPUs it went",
        EFAULT "the argument cannot be read",
        EINVAL "there is no interrupt controller in the kernel, or a flag that there is not"),
    row!(KVM_SET_GSI_ROUTING: Vm set_routing, "where each interrupt goes",
        EFAULT "the argument cannot be read",
        EINVAL "there is no interrupt controller in the kernel, too many routes, or one that cannot be"),
    row!(KVM_SET_BOOT_CPU_ID: Vm set_boot_cpu, "which vCPU begins",
        EBUSY "there is a vCPU",
        EINVAL "no vCPU can have this id"),
];

fn create(vm: &Arc<Vm>, _: &Call<'_>) -> Result<i64, Errno> {
    let machine = vm.x86()?;
    if machine.chipset().is_some() {
        return Err(Errno::EEXIST);
    }
    match machine.create_chipset(Chipset::new(None)) {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}

/// The PICs and the IOAPIC, where they are in the kernel.
fn chipset(vm: &Vm) -> Result<&Chipset, Errno> {
    let chipset = vm.x86()?.chipset();
    chipset
        .filter(|chipset| !chipset.is_split())
        .ok_or(Errno::ENXIO)
}

fn get(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut chip: kvm_irqchip = call.read()?;
    let chipset = chipset(vm)?;
    chip.chip = FromZeros::new_zeroed();
    let to = &mut chip.chip;
    match chip.chip_id {
        KVM_IRQCHIP_PIC_MASTER | KVM_IRQCHIP_PIC_SLAVE => {
            let image = chipset.pic_image(chip.chip_id as usize);
            to[..size_of::<kvm_pic_state>()].copy_from_slice(image.as_bytes());
        }
        KVM_IRQCHIP_IOAPIC => {
            let image = chipset.ioapic_image();
            to[..size_of::<kvm_ioapic_state>()].copy_from_slice(image.as_bytes());
        }
        _ => return Err(Errno::EINVAL),
    }
    call.write(&chip)?;
    Ok(0)
}

fn set(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let chip: kvm_irqchip = call.read()?;
    let (machine, chipset) = (vm.x86()?, chipset(vm)?);
    match chip.chip_id {
        KVM_IRQCHIP_PIC_MASTER | KVM_IRQCHIP_PIC_SLAVE => {
            let image = kvm_pic_state::read_from_prefix(&chip.chip);
            let (image, _) = image.map_err(|_| Errno::EINVAL)?;
            chipset.set_pic_image(machine, chip.chip_id as usize, &image);
        }
        KVM_IRQCHIP_IOAPIC => {
            let image = kvm_ioapic_state::read_from_prefix(&chip.chip);
            let (image, _) = image.map_err(|_| Errno::EINVAL)?;
            chipset.set_ioapic_image(machine, &image);
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn set_line(vm: &Vm, line: &kvm_irq_level) -> Result<i32, Errno> {
    let machine = vm.x86()?;
    machine.chipset().ok_or(Errno::ENXIO)?;
    Ok(machine.set_irq(line.irq, source::USER, line.level != 0))
}

fn irq_line(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    set_line(vm, &call.read()?)?;
    Ok(0)
}

fn irq_line_status(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut line: kvm_irq_level = call.read()?;
    // `status` shares its place with `irq`.
    line.irq = set_line(vm, &line)? as u32;
    call.write(&line)?;
    Ok(0)
}

fn signal_msi(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let msi: kvm_msi = call.read()?;
    let machine = vm.x86()?;
    let address = u64::from(msi.address_hi) << 32 | u64::from(msi.address_lo);
    if machine.chipset().is_none() || msi.flags != 0 || !machine.is_msi_valid(address) {
        return Err(Errno::EINVAL);
    }
    Ok(machine.signal_msi(address, msi.data).into())
}

fn route(entry: &kvm_irq_routing_entry) -> Result<(u32, Route), Errno> {
    let u = entry.u.as_bytes();
    let route = match entry.r#type {
        KVM_IRQ_ROUTING_IRQCHIP if entry.flags == 0 => {
            let of = kvm_irq_routing_irqchip::read_from_prefix(u);
            let (of, _) = of.map_err(|_| Errno::EINVAL)?;
            let pin = u8::try_from(of.pin).map_err(|_| Errno::EINVAL)?;
            match of.irqchip {
                KVM_IRQCHIP_PIC_MASTER if pin < 8 => Route::Pic(pin),
                KVM_IRQCHIP_PIC_SLAVE if pin < 8 => Route::Pic(pin + 8),
                KVM_IRQCHIP_IOAPIC => Route::Ioapic(pin),
                _ => return Err(Errno::EINVAL),
            }
        }
        KVM_IRQ_ROUTING_MSI if entry.flags == 0 => {
            let of = kvm_irq_routing_msi::read_from_prefix(u);
            let (of, _) = of.map_err(|_| Errno::EINVAL)?;
            Route::Msi {
                address: u64::from(of.address_hi) << 32 | u64::from(of.address_lo),
                data: of.data,
            }
        }
        _ => return Err(Errno::EINVAL),
    };
    Ok((entry.gsi, route))
}

fn set_routing(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let head: kvm_irq_routing = call.read()?;
    let machine = vm.x86()?;
    let chipset = machine.chipset().ok_or(Errno::EINVAL)?;
    if head.nr > GSIS || head.flags != 0 {
        return Err(Errno::EINVAL);
    }
    let mut entries = vec![kvm_irq_routing_entry::new_zeroed(); head.nr as usize];
    let from = call.user().offset(size_of::<kvm_irq_routing>());
    from.copy_from(entries.as_mut_bytes())?;
    let routes: Vec<_> = entries.iter().map(route).collect::<Result<_, _>>()?;
    match chipset.set_routing(machine, &routes) {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}

fn set_boot_cpu(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let machine = vm.x86()?;
    if !machine.vcpus.is_empty() {
        return Err(Errno::EBUSY);
    }
    let id = u32::try_from(call.arg).ok();
    if id.is_none_or(|id| id > machine.max_vcpu_id()) {
        return Err(Errno::EINVAL);
    }
    machine
        .apic
        .boot_cpu
        .store(call.arg as u32, Ordering::SeqCst);
    Ok(0)
}
