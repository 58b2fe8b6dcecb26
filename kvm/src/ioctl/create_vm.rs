//! `KVM_CREATE_VM` (api.rst 4.2).

use understudy_abi::ioctl::KVM_CREATE_VM;

use crate::errno::Errno;
use crate::system::Kvm;
use crate::table::{Call, Object, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_CREATE_VM: System create_vm, "makes a VM; bits 7:0 are its IPA size, or 0",
        EINVAL "the type has another bit, or an IPA size below 32 or above the host's",
        ENOMEM "no memory",
        EMFILE "the process has no more descriptors",
        ENFILE "the system has no more descriptors"),
];

fn create_vm(system: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    let (vm, fd) = system.create_vm_with_type(call.arg)?.into_parts();
    Ok(call.descriptors.install(Object::Vm(vm), fd)?.into())
}
