//! The capabilities that `KVM_ENABLE_CAP` (api.rst 7, 6) enables on the VM of an x86-64 guest, and on a
//! vCPU.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use understudy_abi::cap::*;
use understudy_abi::common::kvm_enable_cap;
use understudy_abi::ioctl::KVM_ENABLE_CAP;
use understudy_x86::chipset::Chipset;
use understudy_x86::chipset::routing::GSIS;
use understudy_x86::idle;
use understudy_x86::msrs::reason;
use understudy_x86::quirks::quirk;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;
use crate::x86::Machine;

/// Quirks that can be disabled: KVM's of Linux 6.12 (`KVM_CAP_DISABLE_QUIRKS2`).
pub(crate) const QUIRKS: u64 = quirk::ALL;
/// Of these, those that the older `KVM_CAP_DISABLE_QUIRKS` does not refuse: any.
const ANY: u64 = u64::MAX;
/// Accesses of MSRs that can exit (`KVM_CAP_X86_USER_SPACE_MSR`).
const MSR_EXITS: u32 = reason::INVAL | reason::UNKNOWN | reason::FILTER;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_ENABLE_CAP: Vcpu enable_on_vcpu, "enables a capability of the vCPU",
        EFAULT "the argument cannot be read",
        EINVAL "there is no such capability to enable, or not with these flags"),
];

fn enable_on_vcpu(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let cap: kvm_enable_cap = call.read()?;
    match cap.cap {
        KVM_CAP_ENFORCE_PV_FEATURE_CPUID if cap.flags == 0 => {
            let [on, ..] = cap.args;
            state.cpu.cpu_mut().state.pv.enforce = on != 0;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Hypercalls that can be user space's (`KVM_CAP_EXIT_HYPERCALL`): `KVM_HC_MAP_GPA_RANGE`.
pub(crate) const HYPERCALLS: u64 = 1 << 12;

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
            if disabled & quirk::LINT0_REENABLED != 0 {
                machine.apic.lint0_reenabled.store(false, Ordering::SeqCst);
            }
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
        KVM_CAP_SPLIT_IRQCHIP => {
            let pins = u32::try_from(argument).ok().filter(|pins| *pins <= GSIS);
            let pins = pins.ok_or(Errno::EINVAL)?;
            if machine.chipset().is_some() {
                return Err(Errno::EEXIST);
            }
            match machine.create_chipset(Chipset::new(Some(pins))) {
                true => Ok(()),
                false => Err(Errno::EINVAL),
            }
        }
        KVM_CAP_X2APIC_API => {
            if argument & !X2APIC_API != 0 {
                return Err(Errno::EINVAL);
            }
            let apic = &machine.apic;
            if argument & 1 != 0 {
                apic.ids_of_32_bits.store(true, Ordering::SeqCst);
            }
            if argument & 2 != 0 {
                apic.no_broadcast_quirk.store(true, Ordering::SeqCst);
            }
            Ok(())
        }
        KVM_CAP_X86_APIC_BUS_CYCLES_NS => {
            machine.chipset().ok_or(Errno::ENXIO)?;
            // The longest count of the timer, divided by 128, is to fit in 64 bits.
            let longest = u64::from(u32::MAX) * 128;
            if !machine.vcpus.is_empty() || argument == 0 || argument > u64::MAX / longest {
                return Err(Errno::EINVAL);
            }
            machine.apic.bus_cycle.store(argument, Ordering::SeqCst);
            Ok(())
        }
        KVM_CAP_X86_DISABLE_EXITS => {
            if argument & !idle::exits::ALL != 0 {
                return Err(Errno::EINVAL);
            }
            machine.disabled_exits.fetch_or(argument, Ordering::SeqCst);
            Ok(())
        }
        KVM_CAP_EXIT_ON_EMULATION_FAILURE => {
            if argument & !1 != 0 {
                return Err(Errno::EINVAL);
            }
            let on = argument != 0;
            machine
                .settings
                .change(|settings| settings.exit_on_emulation_failure = on);
            Ok(())
        }
        KVM_CAP_MSR_PLATFORM_INFO => {
            let readable = argument != 0;
            machine
                .settings
                .change(|settings| settings.platform_info_hidden = !readable);
            Ok(())
        }
        KVM_CAP_EXIT_HYPERCALL => {
            if argument & !HYPERCALLS != 0 {
                return Err(Errno::EINVAL);
            }
            machine.pv.exits.store(argument, Ordering::SeqCst);
            Ok(())
        }
        KVM_CAP_MAX_VCPU_ID => machine.set_max_vcpu_id(argument),
        _ => Err(Errno::EINVAL),
    }
}

/// Flags of `KVM_CAP_X2APIC_API`: 32-bit ids, and no broadcast quirk.
pub(crate) const X2APIC_API: u64 = 3;
