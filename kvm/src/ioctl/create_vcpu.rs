//! `KVM_CREATE_VCPU` (api.rst 4.7).

use std::sync::Arc;

use understudy_abi::ioctl::KVM_CREATE_VCPU;

use crate::errno::Errno;
use crate::table::{Call, Object, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_CREATE_VCPU: Vm create_vcpu, "makes a vCPU with this id",
        EINVAL "the id is not below 512, or the VM has that many vCPUs",
        EEXIST "the VM has a vCPU of this id",
        ENOMEM "no memory",
        EMFILE "the process has no more descriptors",
        ENFILE "the system has no more descriptors"),
];

fn create_vcpu(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let (vcpu, fd) = vm.create_vcpu(call.arg)?;
    Ok(call.descriptors.install(Object::Vcpu(vcpu), fd)?.into())
}
