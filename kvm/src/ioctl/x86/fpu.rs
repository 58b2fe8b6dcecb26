//! Floating-point and vector state: `KVM_GET_FPU` (api.rst 4.22) and `KVM_SET_FPU` (4.23), the XSAVE area
//! (4.42, 4.43, 4.134) and the extended control registers (4.44, 4.45).

use std::sync::Arc;

use understudy_abi::ioctl::x86::*;
use understudy_abi::x86::{kvm_fpu, kvm_xcr, kvm_xcrs, kvm_xsave};
use understudy_x86::xsave;
use zerocopy::{FromBytes, IntoBytes};

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_FPU: Vcpu get_fpu, "x87 and SSE registers",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_FPU: Vcpu set_fpu, "sets x87 and SSE registers",
        EFAULT "the argument cannot be read"),
    row!(KVM_GET_XSAVE: Vcpu get_xsave, "the XSAVE area",
        EFAULT "the argument cannot be written"),
    row!(KVM_GET_XSAVE2: Vcpu get_xsave, "the whole XSAVE area, which is no larger",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_XSAVE: Vcpu set_xsave, "sets the XSAVE area",
        EFAULT "the argument cannot be read",
        EINVAL "a component that there is not, a reserved bit of the header or of MXCSR"),
    row!(KVM_GET_XCRS: Vcpu get_xcrs, "XCR0",
        EFAULT "the argument cannot be written"),
    row!(KVM_SET_XCRS: Vcpu set_xcrs, "sets XCR0",
        EFAULT "the argument cannot be read",
        EINVAL "flags is not 0, more registers than there can be, or a value that XCR0 cannot have"),
];

fn get_fpu(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let fpu = xsave::kvm_fpu(vcpu.x86()?.cpu.cpu());
    let fpu = kvm_fpu::read_from_bytes(&fpu).map_err(|_| Errno::EINVAL)?;
    call.write(&fpu)?;
    Ok(0)
}

fn set_fpu(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let mut fpu = [0; xsave::KVM_FPU];
    call.user().copy_from(&mut fpu)?;
    xsave::set_kvm_fpu(state.cpu.cpu_mut(), &fpu);
    Ok(0)
}

fn get_xsave(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let area = xsave::kvm_xsave(vcpu.x86()?.cpu.cpu());
    let mut image = kvm_xsave::default();
    image.as_mut_bytes()[..area.len()].copy_from_slice(&area);
    call.write(&image)?;
    Ok(0)
}

fn set_xsave(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let image: kvm_xsave = call.read()?;
    let mut area = [0; xsave::SIZE];
    area.copy_from_slice(&image.as_bytes()[..xsave::SIZE]);
    xsave::set_kvm_xsave(state.cpu.cpu_mut(), &area).map_err(|_| Errno::EINVAL)?;
    Ok(0)
}

fn get_xcrs(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut xcrs = kvm_xcrs {
        nr_xcrs: 1,
        ..kvm_xcrs::default()
    };
    xcrs.xcrs[0].value = vcpu.x86()?.cpu.cpu().state.xcr0;
    call.write(&xcrs)?;
    Ok(0)
}

fn set_xcrs(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let xcrs: kvm_xcrs = call.read()?;
    let given = xcrs.xcrs.get(..xcrs.nr_xcrs as usize);
    let given: &[kvm_xcr] = given.filter(|_| xcrs.flags == 0).ok_or(Errno::EINVAL)?;
    // The first that is XCR0 counts; there is no other.
    if let Some(xcr0) = given.iter().find(|xcr| xcr.xcr == 0) {
        xsave::set_xcr0(state.cpu.cpu_mut(), xcr0.value).map_err(|_| Errno::EINVAL)?;
    }
    Ok(0)
}
