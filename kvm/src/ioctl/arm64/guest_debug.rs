//! `KVM_SET_GUEST_DEBUG` (api.rst 4.87; requirements 6.5).

use std::sync::Arc;

use understudy_abi::arm64::{GuestDebugControl, kvm_guest_debug};
use understudy_abi::ioctl::arm64::KVM_SET_GUEST_DEBUG;
use understudy_arm64::debug::{self, Comparator, GuestDebug};

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;

pub(crate) const ROWS: &[Row] = &[row!(KVM_SET_GUEST_DEBUG: Vcpu set, "debugs the guest",
        EFAULT "the argument cannot be read",
        EINVAL "control has a bit that KVM does not know (DBG-20)")];

fn pairs(values: &[u64; 16], controls: &[u64; 16]) -> [Comparator; 16] {
    std::array::from_fn(|n| Comparator {
        value: values[n],
        control: controls[n],
    })
}

impl Vcpu {
    pub(crate) fn set_guest_debug(&self, debug: &kvm_guest_debug) -> Result<(), Errno> {
        let mut state = self.arm64()?;
        let control = GuestDebugControl::from_bits(debug.control).ok_or(Errno::EINVAL)?;
        let enable = control.contains(GuestDebugControl::ENABLE);
        let has = |flag| enable && control.contains(flag);
        let arch = &debug.arch;
        let user = GuestDebug {
            enable,
            single_step: has(GuestDebugControl::SINGLESTEP),
            use_sw_bp: has(GuestDebugControl::USE_SW_BP),
            use_hw: has(GuestDebugControl::USE_HW),
            breakpoints: pairs(&arch.dbg_bvr, &arch.dbg_bcr),
            watchpoints: pairs(&arch.dbg_wvr, &arch.dbg_wcr),
        };
        debug::set_guest_debug(state.cpu.cpu_mut(), user);
        Ok(())
    }
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    vcpu.set_guest_debug(&call.read()?)?;
    Ok(0)
}
