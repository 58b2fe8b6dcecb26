//! Steal time: how long the vCPU's thread was ready to run and did not (KVM's
//! `Documentation/virt/kvm/x86/msr.rst`, MSR_KVM_STEAL_TIME). It is asked of the host once a run.

use crate::Cpu;

const ENABLED: u64 = 1 << 0;
/// `KVM_STEAL_RESERVED_MASK`.
const RESERVED: u64 = 0x3e;

/// Offsets in the guest's structure.
const VERSION: u64 = 8;
const FLAGS: u64 = 12;
const PREEMPTED: u64 = 16;

/// A vCPU's structure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steal {
    pub(crate) msr: u64,
    /// What the host said last.
    last: Option<u64>,
}

impl Steal {
    #[inline]
    pub(crate) fn enabled(&self) -> bool {
        self.msr & ENABLED != 0
    }

    fn address(&self) -> u64 {
        self.msr & !(RESERVED | ENABLED)
    }
}

/// Nanoseconds that this thread has waited for a processor.
fn waited() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// Writes the MSR; none for #GP.
pub(super) fn enable(cpu: &mut Cpu, value: u64) -> Option<()> {
    if value & RESERVED != 0 {
        return None;
    }
    cpu.state.pv.steal.msr = value;
    if value & ENABLED != 0 {
        record(cpu);
    }
    Some(())
}

/// A run begins: what was stolen meanwhile is added.
pub(super) fn record(cpu: &mut Cpu) {
    let waited = waited().unwrap_or(0);
    let steal = &mut cpu.state.pv.steal;
    // A thread of its own has its own count.
    let stolen = waited.saturating_sub(steal.last.unwrap_or(waited));
    steal.last = Some(waited);
    let at = steal.address();
    let memory = &cpu.state.memory;
    let Ok(total) = memory.load::<u64>(at) else {
        return;
    };
    let version = memory.load::<u32>(at + VERSION).unwrap_or(0) | 1;
    let _ = memory
        .store(at + PREEMPTED, 0u8)
        .and_then(|()| memory.store(at + FLAGS, 0u32))
        .and_then(|()| memory.store(at + VERSION, version))
        .and_then(|()| memory.store(at, total.wrapping_add(stolen)))
        .and_then(|()| memory.store(at + VERSION, version.wrapping_add(1)));
}

/// A run ends: the vCPU does not run (`KVM_VCPU_PREEMPTED`).
pub(super) fn leave(cpu: &mut Cpu) {
    let at = cpu.state.pv.steal.address();
    let _ = cpu.state.memory.store(at + PREEMPTED, 1u8);
}
