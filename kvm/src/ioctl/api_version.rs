//! `KVM_GET_API_VERSION` (api.rst 4.1) and `KVM_GET_VCPU_MMAP_SIZE` (4.5).

use understudy_abi::ioctl::{KVM_GET_API_VERSION, KVM_GET_VCPU_MMAP_SIZE};

use crate::errno::Errno;
use crate::system::Kvm;
use crate::table::{Call, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_API_VERSION: System api_version, "the version of the API, 12",
        EINVAL "the argument is not 0"),
    row!(KVM_GET_VCPU_MMAP_SIZE: System mmap_size, "how many bytes to map of a vCPU",
        EINVAL "the argument is not 0"),
];

fn api_version(system: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    no_argument(call)?;
    Ok(system.get_api_version().into())
}

fn mmap_size(system: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    no_argument(call)?;
    Ok(system.get_vcpu_mmap_size()? as i64)
}

fn no_argument(call: &Call<'_>) -> Result<(), Errno> {
    match call.arg {
        0 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}
