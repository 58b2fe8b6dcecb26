//! Model-specific registers: `KVM_GET_MSR_INDEX_LIST` and `KVM_GET_MSR_FEATURE_INDEX_LIST` (api.rst 4.3),
//! `KVM_GET_MSRS` (4.18), `KVM_SET_MSRS` (4.19), `KVM_X86_SET_MSR_FILTER` (4.97), and the machine-check
//! ioctls (4.104 to 4.106).

use std::mem::size_of;
use std::sync::Arc;

use understudy_abi::ioctl::x86::*;
use understudy_abi::x86::{
    kvm_msr_entry, kvm_msr_filter, kvm_msr_filter_range, kvm_msr_list, kvm_msrs, kvm_x86_mce,
};
use understudy_x86::msrs::exits::{Range, Ranges};
use understudy_x86::msrs::{self, By, mce};
use zerocopy::{FromZeros, IntoBytes};

use crate::errno::Errno;
use crate::system::Kvm;
use crate::table::{Call, Row, row};
use crate::user::User;
use crate::vcpu::Vcpu;
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_MSR_INDEX_LIST: System index_list, "the MSRs that make up a guest's state",
        EFAULT "the argument cannot be read or written",
        E2BIG "there are more than fit; nmsrs says how many"),
    row!(KVM_GET_MSR_FEATURE_INDEX_LIST: System feature_list, "the MSRs that tell of the host",
        EFAULT "the argument cannot be read or written",
        E2BIG "there are more than fit; nmsrs says how many"),
    row!(KVM_GET_MSRS: System get_features, "reads MSRs that tell of the host; how many it could",
        EFAULT "the argument cannot be read or written",
        E2BIG "there are more than 255 entries"),
    row!(KVM_GET_MSRS: Vcpu get, "reads MSRs; how many it could",
        EFAULT "the argument cannot be read or written",
        E2BIG "there are more than 255 entries"),
    row!(KVM_SET_MSRS: Vcpu set, "writes MSRs; how many it could",
        EFAULT "the argument cannot be read",
        E2BIG "there are more than 255 entries"),
    row!(KVM_X86_SET_MSR_FILTER: Vm set_filter, "which MSRs a guest may access by itself",
        EFAULT "the argument or a bitmap cannot be read",
        EINVAL "a flag that there is not, a bitmap too large, or ranges without a default that allows"),
    row!(KVM_X86_GET_MCE_CAP_SUPPORTED: System mce_cap, "machine-check capabilities",
        EFAULT "the argument cannot be written"),
    row!(KVM_X86_SETUP_MCE: Vcpu setup_mce, "sets up machine-check banks",
        EFAULT "the argument cannot be read",
        EINVAL "no banks, more than 32, or a capability that there is not"),
    row!(KVM_X86_SET_MCE: Vcpu set_mce, "injects a machine-check error",
        EFAULT "the argument cannot be read",
        EINVAL "there is no such bank, or the status is not valid"),
];

/// Entries, at most (`MAX_IO_MSRS`, which itself is too many).
const MAX_ENTRIES: u32 = 256;

fn give(call: &Call<'_>, indices: &[u32]) -> Result<i64, Errno> {
    let head: kvm_msr_list = call.read()?;
    call.write(&kvm_msr_list {
        nmsrs: indices.len() as u32,
    })?;
    if (head.nmsrs as usize) < indices.len() {
        return Err(Errno::E2BIG);
    }
    let to = call.user().offset(size_of::<kvm_msr_list>());
    to.copy_to(indices.as_bytes())?;
    Ok(0)
}

fn index_list(_: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    let indices: Vec<u32> = msrs::index_list().collect();
    give(call, &indices)
}

fn feature_list(_: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    let indices: Vec<u32> = msrs::FEATURES.iter().map(|(index, _)| *index).collect();
    give(call, &indices)
}

fn entries(call: &Call<'_>) -> Result<Vec<kvm_msr_entry>, Errno> {
    let head: kvm_msrs = call.read()?;
    if head.nmsrs >= MAX_ENTRIES {
        return Err(Errno::E2BIG);
    }
    let mut entries = vec![kvm_msr_entry::new_zeroed(); head.nmsrs as usize];
    let from = call.user().offset(size_of::<kvm_msrs>());
    from.copy_from(entries.as_mut_bytes())?;
    Ok(entries)
}

/// Reads until one cannot be, and writes all entries back.
fn read(call: &Call<'_>, read: impl Fn(u32) -> Option<u64>) -> Result<i64, Errno> {
    let mut entries = entries(call)?;
    let mut done = 0;
    for entry in &mut entries {
        let Some(value) = read(entry.index) else {
            break;
        };
        entry.data = value;
        done += 1;
    }
    let to = call.user().offset(size_of::<kvm_msrs>());
    to.copy_to(entries.as_bytes())?;
    Ok(done)
}

fn get_features(_: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    read(call, |index| {
        let found = msrs::FEATURES.iter().find(|(feature, _)| *feature == index);
        found.map(|(_, value)| *value)
    })
}

fn get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let state = vcpu.x86()?;
    read(call, |index| {
        msrs::read(state.cpu.cpu(), index, By::Host).ok()
    })
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    // MSR_KVM_WALL_CLOCK writes guest memory.
    let _ring = vcpu.use_ring();
    let mut done = 0;
    for entry in entries(call)? {
        if msrs::write(state.cpu.cpu_mut(), entry.index, entry.data, By::Host).is_err() {
            break;
        }
        done += 1;
    }
    Ok(done)
}

/// `flags` of a filter: what is in no range is forbidden (`KVM_MSR_FILTER_DEFAULT_DENY`).
const DEFAULT_DENY: u32 = 1;
/// `flags` of a range: reads, and writes.
const READ: u32 = 1;
const WRITE: u32 = 2;
/// Bytes of a bitmap, at most (`KVM_MSR_FILTER_MAX_BITMAP_SIZE`).
const MAX_BITMAP: u32 = 0x600;

fn range(user: &kvm_msr_filter_range) -> Result<Option<Range>, Errno> {
    if user.flags & !(READ | WRITE) != 0 {
        return Err(Errno::EINVAL);
    }
    if user.nmsrs == 0 {
        return Ok(None);
    }
    let bytes = user.nmsrs.div_ceil(64) * 8;
    if bytes > MAX_BITMAP || user.flags == 0 {
        return Err(Errno::EINVAL);
    }
    let mut bitmap = vec![0; bytes as usize];
    User::at(user.bitmap).copy_from(&mut bitmap)?;
    Ok(Some(Range {
        read: user.flags & READ != 0,
        write: user.flags & WRITE != 0,
        base: user.base,
        count: user.nmsrs,
        bitmap,
    }))
}

fn set_filter(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let filter: kvm_msr_filter = call.read()?;
    if filter.flags & !DEFAULT_DENY != 0 {
        return Err(Errno::EINVAL);
    }
    let default_allow = filter.flags & DEFAULT_DENY == 0;
    let empty = filter.ranges.iter().all(|range| range.nmsrs == 0);
    if empty && !default_allow {
        return Err(Errno::EINVAL);
    }
    let mut ranges = Vec::new();
    for user in &filter.ranges {
        ranges.extend(range(user)?);
    }
    let filter = Ranges {
        default_allow,
        ranges,
    };
    vm.x86()?.settings.set_filter(filter);
    Ok(0)
}

fn mce_cap(_: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    call.write(&mce::SUPPORTED)?;
    Ok(0)
}

fn setup_mce(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    match mce::setup(state.cpu.cpu_mut(), call.read()?) {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}

fn set_mce(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let wanted: kvm_x86_mce = call.read()?;
    let error = mce::Error {
        status: wanted.status,
        addr: wanted.addr,
        misc: wanted.misc,
        mcg_status: wanted.mcg_status,
        bank: wanted.bank,
    };
    match mce::inject(state.cpu.cpu_mut(), &error) {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}
