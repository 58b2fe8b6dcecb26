//! `KVM_TRANSLATE` (api.rst 4.17).

use std::sync::Arc;

use understudy_abi::PAGE_SIZE;
use understudy_abi::common::kvm_translation;
use understudy_abi::ioctl::KVM_TRANSLATE;
use understudy_x86::mmu::walk::{self, Access, Use};

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_TRANSLATE: Vcpu translate, "the guest-physical address of a linear one",
        EFAULT "the argument cannot be read or written"),
];

fn translate(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let state = vcpu.x86()?;
    let mut translation: kvm_translation = call.read()?;
    let access = Access {
        what: Use::Read,
        user: false,
        implicit: true,
    };
    let address = translation.linear_address;
    let page = walk::walk(&state.cpu.cpu().state, address, access);
    let physical = page
        .ok()
        .map(|page| page.frame | (address % PAGE_SIZE as u64));
    translation.physical_address = physical.unwrap_or(u64::MAX);
    translation.valid = physical.is_some().into();
    // KVM says so of every address.
    translation.writeable = 1;
    translation.usermode = 0;
    call.write(&translation)?;
    Ok(0)
}
