//! `KVM_ENABLE_CAP` (api.rst 4.37) on a VM (7). On a vCPU there is nothing to enable, and the
//! request is unknown.

use std::sync::Arc;

use understudy_abi::cap::{
    KVM_CAP_ARM_NISV_TO_USER, KVM_CAP_ARM_SYSTEM_SUSPEND, KVM_CAP_DIRTY_LOG_RING,
    KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, KVM_CAP_HALT_POLL,
    KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
};
use understudy_abi::common::{DirtyLogFlags, kvm_enable_cap};
use understudy_abi::ioctl::KVM_ENABLE_CAP;
use understudy_memory::ManualProtect;

use crate::capability;
use crate::dirty_ring;
use crate::errno::Errno;
use crate::ioctl::x86::enable_cap as x86;
use crate::table::{Call, Row, row};
use crate::vm::{Machine, Vm};

pub(crate) const ROWS: &[Row] = &[row!(KVM_ENABLE_CAP: Vm enable_cap, "enables a capability",
        EFAULT "the argument cannot be read",
        EINVAL "there is no such capability to enable, or not with these flags and arguments, or not now",
        E2BIG "the dirty rings would be too large")];

impl Vm {
    pub(crate) fn enable_cap(&self, cap: &kvm_enable_cap) -> Result<(), Errno> {
        let [argument, ..] = cap.args;
        if let KVM_CAP_DIRTY_LOG_RING | KVM_CAP_DIRTY_LOG_RING_ACQ_REL = cap.cap {
            if capability::of_vm(self, cap.cap) == 0 {
                return Err(Errno::EINVAL);
            }
            // KVM looks at 32 bits of the size, and at no flags.
            let size = argument as u32;
            dirty_ring::check_size(size)?;
            return self.use_dirty_rings(size);
        }
        if cap.flags != 0 {
            return Err(Errno::EINVAL);
        }
        match (&self.machine, cap.cap) {
            (Machine::Arm64(machine), KVM_CAP_ARM_NISV_TO_USER) => machine.set_nisv_to_user(),
            (Machine::Arm64(machine), KVM_CAP_ARM_SYSTEM_SUSPEND) => machine.set_system_suspend(),
            (_, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) => {
                let flags = DirtyLogFlags::from_bits(argument).ok_or(Errno::EINVAL)?;
                let enable = flags.contains(DirtyLogFlags::MANUAL_PROTECT_ENABLE);
                let initially_set = flags.contains(DirtyLogFlags::INITIALLY_SET);
                if initially_set && !enable {
                    return Err(Errno::EINVAL);
                }
                self.memory.set_manual_protect(ManualProtect {
                    enable,
                    initially_set,
                });
            }
            (Machine::Arm64(_), KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP) => {
                if !self.memory.use_bitmap_beside_rings() {
                    return Err(Errno::EINVAL);
                }
            }
            // How long KVM may poll before it lets a vCPU sleep: this one never polls.
            (_, KVM_CAP_HALT_POLL) => {
                u32::try_from(argument).map_err(|_| Errno::EINVAL)?;
            }
            (Machine::X86(machine), _) => return x86::enable_cap(machine, cap),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}

fn enable_cap(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    vm.enable_cap(&call.read()?)?;
    Ok(0)
}
