//! What CPUID answers: `KVM_GET_SUPPORTED_CPUID` (api.rst 4.46), `KVM_GET_EMULATED_CPUID` (4.88),
//! `KVM_SET_CPUID` and `KVM_SET_CPUID2` (4.20), `KVM_GET_CPUID2`.

use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use understudy_abi::ioctl::x86::{
    KVM_GET_CPUID2, KVM_GET_EMULATED_CPUID, KVM_GET_SUPPORTED_CPUID, KVM_SET_CPUID, KVM_SET_CPUID2,
};
use understudy_abi::x86::{CpuidFlags, kvm_cpuid, kvm_cpuid_entry, kvm_cpuid_entry2, kvm_cpuid2};
use understudy_x86::cpuid::{self, Entry};
use understudy_x86::{idle, pv};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::errno::Errno;
use crate::system::Kvm;
use crate::table::{Call, Row, row};
use crate::vcpu::Vcpu;
use crate::vcpu::x86::State;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_SUPPORTED_CPUID: System supported, "what CPUID can answer a guest",
        EFAULT "the argument cannot be read or written",
        E2BIG "there are more entries than fit"),
    row!(KVM_GET_EMULATED_CPUID: System emulated, "what CPUID can say though the host does not",
        EFAULT "the argument cannot be read or written",
        E2BIG "there are more entries than fit"),
    row!(KVM_SET_CPUID: Vcpu set_old, "sets what CPUID answers, without subleaves",
        EFAULT "the argument cannot be read",
        E2BIG "there are more than 256 entries",
        EINVAL "the width of linear addresses cannot be; the vCPU has run, and this is different"),
    row!(KVM_SET_CPUID2: Vcpu set, "sets what CPUID answers",
        EFAULT "the argument cannot be read",
        E2BIG "there are more than 256 entries",
        EINVAL "the width of linear addresses cannot be; the vCPU has run, and this is different"),
    row!(KVM_GET_CPUID2: Vcpu get, "what CPUID answers now",
        EFAULT "the argument cannot be read or written",
        E2BIG "there are more entries than fit"),
];

/// Entries, at most (`KVM_MAX_CPUID_ENTRIES`).
const MAX_ENTRIES: usize = 256;

fn to_user(entry: &Entry) -> kvm_cpuid_entry2 {
    let [eax, ebx, ecx, edx] = entry.values;
    let flags = match entry.index {
        Some(_) => CpuidFlags::SIGNIFICANT_INDEX,
        None => CpuidFlags::empty(),
    };
    kvm_cpuid_entry2 {
        function: entry.function,
        index: entry.index.unwrap_or(0),
        flags: flags.bits(),
        eax,
        ebx,
        ecx,
        edx,
        padding: [0; 3],
    }
}

fn from_user(entry: &kvm_cpuid_entry2) -> Entry {
    let significant = entry.flags & CpuidFlags::SIGNIFICANT_INDEX.bits() != 0;
    Entry {
        function: entry.function,
        index: significant.then_some(entry.index),
        values: [entry.eax, entry.ebx, entry.ecx, entry.edx],
    }
}

/// Writes entries behind their head, as many as the caller has room for.
fn give(call: &Call<'_>, entries: &[kvm_cpuid_entry2]) -> Result<i64, Errno> {
    let head: kvm_cpuid2 = call.read()?;
    if (head.nent as usize) < entries.len() {
        return Err(Errno::E2BIG);
    }
    let to = call.user().offset(size_of::<kvm_cpuid2>());
    to.copy_to(entries.as_bytes())?;
    call.write(&kvm_cpuid2 {
        nent: entries.len() as u32,
        ..head
    })?;
    Ok(0)
}

fn supported(_: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    let entries: Vec<_> = cpuid::supported().iter().map(to_user).collect();
    give(call, &entries)
}

fn emulated(_: &Kvm, call: &Call<'_>) -> Result<i64, Errno> {
    // KVM's emulator has MOVBE and RDPID; the rest is the host's.
    let leaf = |function, index, ecx| kvm_cpuid_entry2 {
        function,
        flags: if function == 7 {
            CpuidFlags::SIGNIFICANT_INDEX.bits()
        } else {
            0
        },
        eax: index,
        ecx,
        ..kvm_cpuid_entry2::default()
    };
    give(
        call,
        &[leaf(0, 7, 0), leaf(1, 0, 1 << 22), leaf(7, 0, 1 << 22)],
    )
}

/// Reads `count` structures from behind a head.
fn take<H, T: FromZeros + FromBytes + IntoBytes + Clone>(
    call: &Call<'_>,
    count: u32,
) -> Result<Vec<T>, Errno> {
    let count = count as usize;
    if count > MAX_ENTRIES {
        return Err(Errno::E2BIG);
    }
    let mut entries = vec![T::new_zeroed(); count];
    let from = call.user().offset(size_of::<H>());
    from.copy_from(entries.as_mut_bytes())?;
    Ok(entries)
}

impl State {
    /// What `KVM_SET_CPUID2` does. Nothing is changed where it fails.
    pub(crate) fn set_cpuid(&mut self, mut entries: Vec<kvm_cpuid_entry2>) -> Result<(), Errno> {
        self.hide_unhalt(&mut entries);
        if self.has_run {
            // What the guest may have seen stays as it is; saying it again is no change.
            let now = self.cpuid();
            let same = now.len() == entries.len()
                && now
                    .iter()
                    .zip(&entries)
                    .all(|(now, new)| from_user(now) == from_user(new) && now.index == new.index);
            return if same { Ok(()) } else { Err(Errno::EINVAL) };
        }
        let widths = entries.iter().find(|entry| entry.function == 0x8000_0008);
        let width = widths.map_or(0, |entry| entry.eax >> 8 & 0xff);
        if !matches!(width, 0 | 48 | 57) {
            return Err(Errno::EINVAL);
        }
        self.cpu.set_cpuid(entries.iter().map(from_user).collect());
        self.cpuid = entries;
        Ok(())
    }

    /// A guest that KVM does not see halting cannot be kicked out of it.
    fn hide_unhalt(&self, entries: &mut [kvm_cpuid_entry2]) {
        let machine = &self.cpu.cpu().state.machine;
        if machine.disabled_exits.load(Ordering::SeqCst) & idle::exits::HLT == 0 {
            return;
        }
        let leaves: Vec<Entry> = entries.iter().map(from_user).collect();
        let leaf = pv::features_leaf(&leaves);
        if let Some(entry) = entries
            .iter_mut()
            .find(|entry| Some(entry.function) == leaf)
        {
            entry.eax &= !(1 << pv::feature::PV_UNHALT);
        }
    }

    /// What `KVM_GET_CPUID2` gives: what was set, with the bits that follow the processor's state.
    pub(crate) fn cpuid(&self) -> Vec<kvm_cpuid_entry2> {
        let current = |entry: &kvm_cpuid_entry2| {
            let [eax, ebx, ecx, edx] = cpuid::current(self.cpu.cpu(), &from_user(entry));
            kvm_cpuid_entry2 {
                eax,
                ebx,
                ecx,
                edx,
                ..*entry
            }
        };
        self.cpuid.iter().map(current).collect()
    }
}

fn set(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let head: kvm_cpuid2 = call.read()?;
    state.set_cpuid(take::<kvm_cpuid2, _>(call, head.nent)?)?;
    Ok(0)
}

fn set_old(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let mut state = vcpu.x86()?;
    let head: kvm_cpuid = call.read()?;
    let entries: Vec<kvm_cpuid_entry> = take::<kvm_cpuid, _>(call, head.nent)?;
    let entries = entries.iter().map(|entry| kvm_cpuid_entry2 {
        function: entry.function,
        eax: entry.eax,
        ebx: entry.ebx,
        ecx: entry.ecx,
        edx: entry.edx,
        ..kvm_cpuid_entry2::default()
    });
    state.set_cpuid(entries.collect())?;
    Ok(0)
}

fn get(vcpu: &Arc<Vcpu>, call: &Call<'_>) -> Result<i64, Errno> {
    let state = vcpu.x86()?;
    give(call, &state.cpuid())
}
