//! Accesses of model-specific registers that user space sees, or that it forbids (KVM API 7.21,
//! "KVM_CAP_X86_USER_SPACE_MSR", and 4.97, "KVM_X86_SET_MSR_FILTER").

use super::{By, Failure};
use crate::exceptions::{self, Fault, vector};
use crate::exit::{Exit, MsrExit};
use crate::regs::{RAX, RCX, RDX};
use crate::{Cpu, apic, debug, events, msrs};
use std::sync::Arc;
use understudy_engine::emit::Stop;

/// `KVM_MSR_EXIT_REASON_*`, bits of [`MsrExits::mask`].
pub mod reason {
    /// The access is invalid.
    pub const INVAL: u32 = 1 << 0;
    /// There is no such register.
    pub const UNKNOWN: u32 = 1 << 1;
    /// User space forbids it.
    pub const FILTER: u32 = 1 << 2;
}

/// What user space lets a guest access.
pub trait Filter: Send + Sync {
    /// Whether it may read, or write, the register.
    fn allows(&self, number: u32, write: bool) -> bool;
}

/// A range of [`Ranges`], `struct kvm_msr_filter_range`.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// It is about reads (`KVM_MSR_FILTER_READ`).
    pub read: bool,
    /// It is about writes (`KVM_MSR_FILTER_WRITE`).
    pub write: bool,
    /// The first number.
    pub base: u32,
    /// How many numbers.
    pub count: u32,
    /// A bit for each: it is allowed.
    pub bitmap: Vec<u8>,
}

/// A filter as `KVM_X86_SET_MSR_FILTER` sets it.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// What is in no range is allowed.
    pub default_allow: bool,
    /// Of overlapping ranges the first counts.
    pub ranges: Vec<Range>,
}

impl Filter for Ranges {
    fn allows(&self, number: u32, write: bool) -> bool {
        let about = |range: &Range| if write { range.write } else { range.read };
        let bit = self.ranges.iter().find_map(|range| {
            let at = number.checked_sub(range.base)?;
            let inside = about(range) && at < range.count;
            inside.then(|| {
                let byte = range.bitmap.get(at as usize / 8);
                byte.is_some_and(|byte| byte >> (at % 8) & 1 != 0)
            })
        });
        bit.unwrap_or(self.default_allow)
    }
}

/// What user space has set of this.
#[derive(Clone, Default)]
pub struct MsrExits {
    /// For what it is asked instead of a #GP ([`reason`]).
    pub mask: u32,
    /// What it allows; everything, if there is none. The local APIC's registers always are.
    pub filter: Option<Arc<dyn Filter>>,
}

/// An access that user space has to complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    write: bool,
    /// Where the vCPU was left.
    pc: u64,
}

fn allowed(cpu: &Cpu, number: u32, write: bool) -> bool {
    let filter = cpu.state.msr_exits.filter.as_ref();
    matches!(number, 0x800..=0x8ff) || filter.is_none_or(|filter| filter.allows(number, write))
}

/// The reason of a failure.
fn why(failure: Failure) -> u32 {
    match failure {
        Failure::Unknown => reason::UNKNOWN,
        Failure::Invalid => reason::INVAL,
    }
}

/// An access that has failed: user space's, or a #GP.
fn failed(cpu: &mut Cpu, index: u32, written: Option<u64>, reason: u32) -> Stop {
    if cpu.state.msr_exits.mask & reason == 0 {
        return exceptions::raise(cpu, Fault::with_code(vector::GP, 0));
    }
    let exit = MsrExit {
        index,
        data: written.unwrap_or(0),
        reason,
    };
    let write = written.is_some();
    cpu.state.msr_pending = Some(Pending { write, pc: cpu.pc });
    cpu.state.exit = Some(if write {
        Exit::Wrmsr(exit)
    } else {
        Exit::Rdmsr(exit)
    });
    Stop::Exit
}

fn intercepted(cpu: &mut Cpu, number: u32) {
    if !msrs::is_direct(number) {
        debug::by_kvm(cpu);
    }
}

fn put(cpu: &mut Cpu, value: u64) {
    cpu.set_slot(RAX, value & 0xffff_ffff);
    cpu.set_slot(RDX, value >> 32);
}

/// RDMSR, at CPL 0.
pub(crate) fn rdmsr(cpu: &mut Cpu) -> Result<u64, Stop> {
    let number = cpu.slot(RCX) as u32;
    intercepted(cpu, number);
    let reason = if allowed(cpu, number, false) {
        match msrs::read(cpu, number, By::Guest) {
            Ok(value) => {
                put(cpu, value);
                apic::msrs::read_by_guest(cpu, number);
                return Ok(0);
            }
            Err(failure) => why(failure),
        }
    } else {
        reason::FILTER
    };
    Err(failed(cpu, number, None, reason))
}

/// WRMSR, at CPL 0.
pub(crate) fn wrmsr(cpu: &mut Cpu) -> Result<u64, Stop> {
    let number = cpu.slot(RCX) as u32;
    intercepted(cpu, number);
    let value = cpu.slot(RAX) & 0xffff_ffff | cpu.slot(RDX) << 32;
    let reason = if allowed(cpu, number, true) {
        match msrs::write(cpu, number, value, By::Guest) {
            Ok(()) => return Ok(0),
            Err(failure) => why(failure),
        }
    } else {
        reason::FILTER
    };
    Err(failed(cpu, number, Some(value), reason))
}

/// Bytes of RDMSR and of WRMSR.
const LENGTH: u64 = 2;

/// User space has completed the access that was left for: `error`, or what a read gives.
pub(crate) fn complete(cpu: &mut Cpu, error: bool, data: u64) {
    let Some(pending) = cpu.state.msr_pending.take() else {
        return;
    };
    if error {
        return events::queue(cpu, vector::GP, Some(0));
    }
    if pending.pc != cpu.pc {
        return;
    }
    if !pending.write {
        put(cpu, data);
    }
    cpu.pc = cpu.pc.wrapping_add(LENGTH);
    debug::completed(cpu);
}
