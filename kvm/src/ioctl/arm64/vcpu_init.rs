//! `KVM_ARM_PREFERRED_TARGET` (api.rst 4.83), `KVM_ARM_VCPU_INIT` (4.82) and
//! `KVM_ARM_VCPU_FINALIZE` (4.119); IDR-20 to IDR-22.

use std::sync::Arc;

use understudy_abi::arm64::{KVM_ARM_TARGET_GENERIC_V8, VcpuFeatures, kvm_vcpu_init};
use understudy_abi::ioctl::arm64::{
    KVM_ARM_PREFERRED_TARGET, KVM_ARM_VCPU_FINALIZE, KVM_ARM_VCPU_INIT,
};

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_ARM_PREFERRED_TARGET: Vm preferred_target, "the target that suits the host",
        EFAULT "the argument cannot be written"),
    row!(KVM_ARM_VCPU_INIT: Vcpu init, "initialises or resets the vCPU",
        EFAULT "the argument cannot be read",
        ENOENT "KVM knows no such feature",
        EINVAL "the host has no such target or feature, or the VM has other features"),
    row!(KVM_ARM_VCPU_FINALIZE: Vcpu finalize, "fixes the configuration of a feature",
        ENOEXEC "the vCPU is not initialised",
        EFAULT "the argument cannot be read",
        EINVAL "the feature needs no finalising, or the vCPU does not have it"),
];

/// Features that KVM of Linux 6.12 knows, whether the host has them or not. It knows nothing of
/// HAS_EL2 without nested virtualisation.
const KNOWN: VcpuFeatures = VcpuFeatures::POWER_OFF
    .union(VcpuFeatures::EL1_32BIT)
    .union(VcpuFeatures::PSCI_0_2)
    .union(VcpuFeatures::PMU_V3)
    .union(VcpuFeatures::SVE)
    .union(VcpuFeatures::PTRAUTH_ADDRESS)
    .union(VcpuFeatures::PTRAUTH_GENERIC);

/// Features that this KVM has on every CPU.
const SUPPORTED: VcpuFeatures = VcpuFeatures::POWER_OFF.union(VcpuFeatures::PSCI_0_2);
/// Pointer authentication is asked for as a whole.
const PTRAUTH: VcpuFeatures = VcpuFeatures::PTRAUTH_ADDRESS.union(VcpuFeatures::PTRAUTH_GENERIC);

fn preferred_target(_: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    call.write(&kvm_vcpu_init {
        target: KVM_ARM_TARGET_GENERIC_V8,
        ..kvm_vcpu_init::default()
    })?;
    Ok(0)
}

impl Vcpu {
    pub(crate) fn init(&self, init: &kvm_vcpu_init) -> Result<(), Errno> {
        let mut state = self.arm64()?;
        if init.target != KVM_ARM_TARGET_GENERIC_V8 {
            return Err(Errno::EINVAL);
        }
        let [first, rest @ ..] = init.features;
        let features = VcpuFeatures::from_bits(first).ok_or(Errno::ENOENT)?;
        if !KNOWN.contains(features) || rest != [0; 6] {
            return Err(Errno::ENOENT);
        }
        let supported = match self.vm().system.has_pauth() {
            true => SUPPORTED.union(PTRAUTH),
            false => SUPPORTED,
        };
        let asked = features.intersection(PTRAUTH);
        let whole = asked.is_empty() || asked == PTRAUTH;
        if !supported.contains(features) || !whole {
            return Err(Errno::EINVAL);
        }
        if !self.vm().arm64()?.fix_features(features) {
            return Err(Errno::EINVAL);
        }
        state.cpu.init(features);
        state.pstate_kept = 0;
        Ok(())
    }

    pub(crate) fn finalize(&self, _feature: i32) -> Result<(), Errno> {
        // SVE is all that there is to finalise, and no vCPU has it.
        drop(self.lock_initialized()?);
        Err(Errno::EINVAL)
    }
}

fn init(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    vcpu.init(&call.read()?)?;
    Ok(0)
}

fn finalize(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    drop(vcpu.lock_initialized()?);
    vcpu.finalize(call.read()?)?;
    Ok(0)
}
