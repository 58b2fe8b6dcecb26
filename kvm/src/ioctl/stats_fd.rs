//! `KVM_GET_STATS_FD` (api.rst 4.133); see [`crate::stats`].

use std::os::fd::OwnedFd;
use std::sync::Arc;

use understudy_abi::ioctl::KVM_GET_STATS_FD;

use crate::errno::Errno;
use crate::table::{Call, Object, Row, row};
use crate::vcpu::Vcpu;
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_STATS_FD: Vm of_vm, "a descriptor to read the VM's statistics from",
        ENOMEM "no memory",
        EMFILE "the process has no more descriptors",
        ENFILE "the system has no more descriptors"),
    row!(KVM_GET_STATS_FD: Vcpu of_vcpu, "a descriptor to read the vCPU's statistics from",
        ENOMEM "no memory",
        EMFILE "the process has no more descriptors",
        ENFILE "the system has no more descriptors"),
];

impl Vm {
    pub(crate) fn stats_fd(&self) -> Result<OwnedFd, Errno> {
        self.stats.open(&format!("kvm-{}", std::process::id()))
    }
}

impl Vcpu {
    pub(crate) fn stats_fd(&self) -> Result<OwnedFd, Errno> {
        let _held = self.hold();
        self.stats
            .open(&format!("kvm-{}/vcpu-{}", std::process::id(), self.id()))
    }
}

fn of_vm(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    Ok(call
        .descriptors
        .install(Object::Stats, vm.stats_fd()?)?
        .into())
}

fn of_vcpu(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    Ok(call
        .descriptors
        .install(Object::Stats, vcpu.stats_fd()?)?
        .into())
}
