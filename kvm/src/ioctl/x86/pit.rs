//! The timer: `KVM_CREATE_PIT2` (api.rst 4.71), `KVM_GET_PIT2` and `KVM_SET_PIT2` (4.72, 4.73), their
//! predecessors, and `KVM_REINJECT_CONTROL` (4.99).

use std::sync::Arc;

use understudy_abi::ioctl::x86::*;
use understudy_abi::x86::{kvm_pit_config, kvm_pit_state, kvm_pit_state2, kvm_reinject_control};
use understudy_x86::chipset::pit::Device;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_CREATE_PIT: Vm create_old, "makes the timer, and no speaker",
        EEXIST "there is one",
        ENOENT "there are no PICs in the kernel"),
    row!(KVM_CREATE_PIT2: Vm create, "makes the timer",
        EFAULT "the argument cannot be read",
        EEXIST "there is one",
        ENOENT "there are no PICs in the kernel"),
    row!(KVM_GET_PIT: Vm get_old, "the timer's state, old form",
        EFAULT "the argument cannot be read or written",
        ENXIO "there is no timer"),
    row!(KVM_SET_PIT: Vm set_old, "sets the timer's state, old form",
        EFAULT "the argument cannot be read",
        ENXIO "there is no timer"),
    row!(KVM_GET_PIT2: Vm get, "the timer's state",
        EFAULT "the argument cannot be written",
        ENXIO "there is no timer"),
    row!(KVM_SET_PIT2: Vm set, "sets the timer's state",
        EFAULT "the argument cannot be read",
        ENXIO "there is no timer"),
    row!(KVM_REINJECT_CONTROL: Vm reinject, "what becomes of ticks that the guest was too slow for",
        EFAULT "the argument cannot be read",
        ENXIO "there is no timer"),
];

/// `KVM_PIT_SPEAKER_DUMMY`: the speaker's port is there, too.
const SPEAKER_DUMMY: u32 = 1;

fn make(vm: &Vm, flags: u32) -> Result<i64, Errno> {
    let machine = vm.x86()?;
    let chipset = machine.chipset();
    let chipset = chipset.filter(|chipset| !chipset.is_split());
    let chipset = chipset.ok_or(Errno::ENOENT)?;
    let speaker = flags & SPEAKER_DUMMY != 0;
    match chipset.create_pit(machine, speaker) {
        true => Ok(0),
        false => Err(Errno::EEXIST),
    }
}

fn create_old(vm: &Arc<Vm>, _: &Call<'_>) -> Result<i64, Errno> {
    make(vm, 0)
}

fn create(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let config: kvm_pit_config = call.read()?;
    make(vm, config.flags)
}

fn timer(vm: &Vm) -> Result<&Device, Errno> {
    let chipset = vm.x86()?.chipset();
    chipset
        .and_then(|chipset| chipset.pit())
        .ok_or(Errno::ENXIO)
}

fn get(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    call.write(&timer(vm)?.image())?;
    Ok(0)
}

fn set(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let image: kvm_pit_state2 = call.read()?;
    timer(vm)?.set_image(vm.x86()?, &image);
    Ok(0)
}

fn get_old(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let _: kvm_pit_state = call.read()?;
    let channels = timer(vm)?.image().channels;
    call.write(&kvm_pit_state { channels })?;
    Ok(0)
}

fn set_old(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let image: kvm_pit_state = call.read()?;
    let timer = timer(vm)?;
    let channels = image.channels;
    timer.set_image(
        vm.x86()?,
        &kvm_pit_state2 {
            channels,
            ..timer.image()
        },
    );
    Ok(0)
}

fn reinject(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let control: kvm_reinject_control = call.read()?;
    timer(vm)?.set_reinject(control.pit_reinject != 0);
    Ok(0)
}
