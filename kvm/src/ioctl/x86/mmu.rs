//! What concerns KVM's own translation of guest-physical addresses: `KVM_SET_NR_MMU_PAGES` (api.rst 4.44)
//! and `KVM_PRE_FAULT_MEMORY` (4.143).

use std::sync::Arc;

use understudy_abi::PAGE_SIZE;
use understudy_abi::common::kvm_pre_fault_memory;
use understudy_abi::ioctl::KVM_PRE_FAULT_MEMORY;
use understudy_abi::ioctl::x86::KVM_SET_NR_MMU_PAGES;
use understudy_memory::AccessError;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_SET_NR_MMU_PAGES: Vm set_pages, "bounds KVM's shadow pages, of which there are none",
        EINVAL "fewer than 64"),
    row!(KVM_PRE_FAULT_MEMORY: Vcpu pre_fault, "has memory there before the guest asks for it",
        EFAULT "the argument cannot be read or written, or the memory behind a slot is not there",
        EINVAL "flags is not 0, the range is empty, wraps, or is not of whole pages",
        ENOENT "there is no slot at the beginning"),
];

/// `KVM_MIN_ALLOC_MMU_PAGES`.
const MIN_PAGES: u64 = 64;

fn set_pages(_: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    match call.arg as u32 {
        pages if u64::from(pages) < MIN_PAGES => Err(Errno::EINVAL),
        _ => Ok(0),
    }
}

fn pre_fault(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let page = PAGE_SIZE as u64;
    let mut range: kvm_pre_fault_memory = call.read()?;
    let end = range.gpa.checked_add(range.size);
    let aligned = range.gpa.is_multiple_of(page) && range.size.is_multiple_of(page);
    if range.flags != 0 || range.size == 0 || !aligned || end.is_none() {
        return Err(Errno::EINVAL);
    }
    let state = vcpu.x86()?;
    let memory = &state.cpu.cpu().state.memory;
    let whole = range.size;
    let mut failed = None;
    while range.size > 0 && failed.is_none() {
        match memory.read(range.gpa, &mut [0]) {
            Ok(()) => {
                range.gpa += page;
                range.size -= page;
            }
            Err(AccessError::HostFault) => failed = Some(Errno::EFAULT),
            Err(_) => failed = Some(Errno::ENOENT),
        }
    }
    call.write(&range)?;
    // What was done counts; the caller asks again for the rest.
    match failed {
        Some(errno) if range.size == whole => Err(errno),
        _ => Ok(0),
    }
}
