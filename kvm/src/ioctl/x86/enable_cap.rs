//! The capabilities that `KVM_ENABLE_CAP` (api.rst 7) enables on the VM of an x86-64 guest.

use understudy_abi::cap::*;
use understudy_abi::common::kvm_enable_cap;
use understudy_x86::msrs::reason;

use crate::errno::Errno;
use crate::x86::Machine;

/// Quirks that can be disabled: KVM's of Linux 6.12 (`KVM_CAP_DISABLE_QUIRKS2`).
pub(crate) const QUIRKS: u64 = 0x7ff;
/// Of these, those that the older `KVM_CAP_DISABLE_QUIRKS` does not refuse: any.
const ANY: u64 = u64::MAX;
/// Accesses of MSRs that can exit (`KVM_CAP_X86_USER_SPACE_MSR`).
const MSR_EXITS: u32 = reason::INVAL | reason::UNKNOWN | reason::FILTER;

/// Enables a capability.
pub(crate) fn enable_cap(machine: &Machine, cap: &kvm_enable_cap) -> Result<(), Errno> {
    let [argument, ..] = cap.args;
    let quirks = |known: u64| match argument & !known {
        0 => {
            // Several calls add up.
            let disabled = argument & QUIRKS;
            machine
                .settings
                .change(|settings| settings.disabled_quirks |= disabled);
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    };
    match cap.cap {
        KVM_CAP_DISABLE_QUIRKS2 => quirks(QUIRKS),
        KVM_CAP_DISABLE_QUIRKS => quirks(ANY),
        KVM_CAP_X86_USER_SPACE_MSR => {
            let exits = u32::try_from(argument).map_err(|_| Errno::EINVAL)?;
            if exits & !MSR_EXITS != 0 {
                return Err(Errno::EINVAL);
            }
            machine
                .settings
                .change(|settings| settings.msr_exits = exits);
            Ok(())
        }
        KVM_CAP_EXCEPTION_PAYLOAD => {
            let on = argument != 0;
            machine
                .settings
                .change(|settings| settings.exception_payload = on);
            Ok(())
        }
        KVM_CAP_X86_TRIPLE_FAULT_EVENT => {
            let on = argument != 0;
            machine
                .settings
                .change(|settings| settings.triple_fault_event = on);
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    }
}
