//! `KVM_SET_TSS_ADDR` (api.rst 4.36) and `KVM_SET_IDENTITY_MAP_ADDR` (4.40): where KVM on Intel's processors
//! puts what it needs in guest memory. As on AMD's, nothing is needed: they are looked at, and that is
//! all.

use std::sync::Arc;

use understudy_abi::PAGE_SIZE;
use understudy_abi::ioctl::x86::{KVM_SET_IDENTITY_MAP_ADDR, KVM_SET_TSS_ADDR};

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_SET_TSS_ADDR: Vm set_tss, "where Intel's real-mode TSS may lie",
        EINVAL "the address is not three pages below 4 GiB"),
    row!(KVM_SET_IDENTITY_MAP_ADDR: Vm set_identity, "where Intel's identity page table may lie",
        EFAULT "the argument cannot be read",
        EINVAL "there is a vCPU"),
];

fn set_tss(_: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let highest = (1 << 32) - 3 * PAGE_SIZE as u64;
    match call.arg <= highest {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}

fn set_identity(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let _: u64 = call.read()?;
    match vm.x86()?.vcpus.is_empty() {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}
