//! `KVM_CREATE_GUEST_MEMFD` (api.rst 4.142) and `KVM_SET_MEMORY_ATTRIBUTES` (4.141): private memory, as
//! far as a VM without any (`KVM_X86_DEFAULT_VM`) has it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use understudy_abi::PAGE_SIZE;
use understudy_abi::common::{kvm_create_guest_memfd, kvm_memory_attributes};
use understudy_abi::ioctl::{KVM_CREATE_GUEST_MEMFD, KVM_SET_MEMORY_ATTRIBUTES};

use crate::errno::Errno;
use crate::guest_memfd::GuestMemfd;
use crate::table::{Call, Object, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_CREATE_GUEST_MEMFD: Vm create, "makes a guest_memfd",
        EFAULT "the argument cannot be read",
        EINVAL "the size is 0, negative or not of whole pages, or there are flags",
        ENOMEM "no memory",
        EMFILE "the process has no more descriptors",
        ENFILE "the system has no more descriptors"),
    row!(KVM_SET_MEMORY_ATTRIBUTES: Vm set_attributes, "takes all attributes from a range of pages",
        EFAULT "the argument cannot be read",
        EINVAL "there are flags, or attributes, none of which the VM has; the range is empty, wraps \
                around or is not of whole pages"),
];

impl Vm {
    /// `KVM_CREATE_GUEST_MEMFD`.
    pub(crate) fn create_guest_memfd(
        &self,
        args: &kvm_create_guest_memfd,
    ) -> Result<(Arc<GuestMemfd>, OwnedFd), Errno> {
        let (memfd, fd) = GuestMemfd::new(args)?;
        Ok((Arc::new(memfd), fd))
    }

    /// `KVM_SET_MEMORY_ATTRIBUTES`: the VM has none, so that nothing changes.
    pub(crate) fn set_memory_attributes(&self, args: &kvm_memory_attributes) -> Result<(), Errno> {
        let page = PAGE_SIZE as u64;
        if args.flags != 0
            || args.attributes != 0
            || args.size == 0
            || args.address.checked_add(args.size).is_none()
            || !args.address.is_multiple_of(page)
            || !args.size.is_multiple_of(page)
        {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

fn create(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let (memfd, fd) = vm.create_guest_memfd(&call.read()?)?;
    let object = Object::GuestMemfd(memfd);
    Ok(call.descriptors.install(object, fd)?.into())
}

fn set_attributes(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    vm.set_memory_attributes(&call.read()?)?;
    Ok(0)
}
