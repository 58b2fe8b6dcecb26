//! Paravirtualised time: the time that was stolen from a vCPU (Arm DEN 0057), with the attribute
//! group `KVM_ARM_VCPU_PVTIME_CTRL` of a vCPU.
//!
//! ```text
//!   0: revision, 0 (u32)   4: attributes, 0 (u32)   8: stolen time, ns (u64)   16..64: 0
//! ```
//!
//! A vCPU's time is stolen while its thread waits for a processor: the kernel's run delay of the
//! thread, which `/proc/thread-self/schedstat` has.

use crate::Cpu;
use crate::smccc::{NOT_SUPPORTED, argument};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread::ThreadId;
use understudy_memory::GuestMemory;

/// What this part keeps of a vCPU.
#[derive(Debug, Default)]
pub struct PvTimeState {
    base: Option<u64>,
    /// The thread's run delay, in ns, up to which the guest's account is made.
    last: u64,
    source: Option<(ThreadId, File)>,
}

/// Why the address cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PvTimeError {
    /// This host does not tell run delays: `ENXIO`.
    Unsupported,
    /// No multiple of 64, or in no memory slot: `EINVAL`.
    Invalid,
    /// It is set: `EEXIST`.
    Exists,
}

/// The address of a vCPU that has no structure (`INVALID_GPA`).
pub const NO_ADDRESS: u64 = !0;

/// Whether this host tells run delays (`KVM_CAP_STEAL_TIME`).
pub fn supported() -> bool {
    File::open(SOURCE).is_ok_and(|file| run_delay(&file).is_some())
}

const SOURCE: &str = "/proc/thread-self/schedstat";

/// The second of the numbers there: ns that the thread has spent waiting on a run queue.
fn run_delay(file: &File) -> Option<u64> {
    let mut text = [0; 96];
    let length = file.read_at(&mut text, 0).ok()?;
    let text = str::from_utf8(text.get(..length)?).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

impl PvTimeState {
    /// The run delay of the calling thread.
    fn now(&mut self) -> Option<u64> {
        let thread = std::thread::current().id();
        match &self.source {
            Some((of, file)) if *of == thread => run_delay(file),
            _ => {
                let file = File::open(SOURCE).ok()?;
                let delay = run_delay(&file);
                self.source = Some((thread, file));
                delay
            }
        }
    }

    /// Where the structure is (`KVM_ARM_VCPU_PVTIME_IPA`); [`NO_ADDRESS`] if nowhere.
    pub fn address(&self) -> u64 {
        self.base.unwrap_or(NO_ADDRESS)
    }

    /// Whether there is something to account.
    pub(crate) fn enabled(&self) -> bool {
        self.base.is_some()
    }
}

/// Sets where the structure is; `in_slot` says whether an address is in a memory slot.
pub fn set_address(
    state: &mut PvTimeState,
    address: u64,
    in_slot: impl FnOnce(u64) -> bool,
) -> Result<(), PvTimeError> {
    if !supported() {
        return Err(PvTimeError::Unsupported);
    }
    if !address.is_multiple_of(64) {
        return Err(PvTimeError::Invalid);
    }
    if state.base.is_some() {
        return Err(PvTimeError::Exists);
    }
    if !in_slot(address) {
        return Err(PvTimeError::Invalid);
    }
    state.base = Some(address);
    Ok(())
}

/// PV_TIME_FEATURES: whether the vCPU has the service in X1.
pub(crate) fn features(cpu: &Cpu) -> u64 {
    match argument(cpu, 1) as u32 {
        0xc500_0020 | 0xc500_0021 if cpu.state.pvtime.enabled() => 0,
        _ => NOT_SUPPORTED,
    }
}

/// PV_TIME_ST: begins the account; gives the structure's address.
pub(crate) fn enable(cpu: &mut Cpu) -> Option<u64> {
    let state = &mut cpu.state.pvtime;
    let base = state.base?;
    state.last = state.now().unwrap_or(0);
    // Where the memory has gone meanwhile there is nobody to tell.
    let _ = cpu.state.machine.memory.write(base, &[0; 64]);
    Some(base)
}

/// Adds to the guest's account what was stolen since the last time.
pub(crate) fn update(cpu: &mut Cpu) {
    let state = &mut cpu.state.pvtime;
    let Some(base) = state.base else { return };
    let Some(now) = state.now() else { return };
    let at = base.wrapping_add(8);
    let memory = &cpu.state.machine.memory;
    if let Ok(stolen) = memory.load::<u64>(at) {
        let stolen = stolen.wrapping_add(now.wrapping_sub(state.last));
        state.last = now;
        let _ = memory.store(at, stolen);
    }
}

/// Whether an address is in a memory slot.
pub(crate) fn in_slot(memory: &GuestMemory, address: u64) -> bool {
    memory.lookup(address).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vcpu::tests::{PAGE, machine, vcpu};

    #[test]
    fn the_address_is_set_once() {
        if !supported() {
            eprintln!("skipped: this host does not tell run delays ({SOURCE})");
            return;
        }
        let machine = machine();
        let mut vcpu = vcpu(&machine, 0);
        assert_eq!(vcpu.pvtime_address(), NO_ADDRESS);
        for bad in [PAGE + 8, PAGE + 32, PAGE - 64, PAGE + 4096, NO_ADDRESS] {
            assert_eq!(vcpu.set_pvtime_address(bad), Err(PvTimeError::Invalid));
        }
        assert_eq!(vcpu.set_pvtime_address(PAGE + 64), Ok(()));
        assert_eq!(vcpu.pvtime_address(), PAGE + 64);
        assert_eq!(vcpu.set_pvtime_address(PAGE), Err(PvTimeError::Exists));
        assert_eq!(vcpu.set_pvtime_address(PAGE + 1), Err(PvTimeError::Invalid));
    }

    #[test]
    fn stolen_time_is_added_to_what_the_guest_has() {
        if !supported() {
            eprintln!("skipped: this host does not tell run delays ({SOURCE})");
            return;
        }
        let machine = machine();
        let memory = machine.memory.clone();
        let mut vcpu = vcpu(&machine, 0);
        let cpu = vcpu.cpu_mut();
        assert_eq!(enable(cpu), None);
        assert_eq!(vcpu.set_pvtime_address(PAGE + 64), Ok(()));
        let cpu = vcpu.cpu_mut();
        assert_eq!(enable(cpu), Some(PAGE + 64));
        let mut structure = [1; 64];
        memory
            .read(PAGE + 64, &mut structure)
            .expect("there is memory");
        assert_eq!(structure, [0; 64]);
        // As if this much more had been stolen than was accounted for.
        let last = cpu.state.pvtime.last;
        cpu.state.pvtime.last = last.wrapping_sub(1_000_000);
        memory.store(PAGE + 72, 7u64).expect("there is memory");
        update(cpu);
        let now = cpu.state.pvtime.last;
        let stolen = memory.load::<u64>(PAGE + 72).expect("there is memory");
        assert_eq!(stolen, 7 + 1_000_000 + (now - last));
        // The rest of the structure, and what lies beside it, stays.
        let mut around = [0; 192];
        memory.read(PAGE, &mut around).expect("there is memory");
        assert_eq!(around[..64], [0xaa; 64]);
        assert_eq!(around[128..], [0xaa; 64]);
        assert_eq!(around[64..72], [0; 8]);
        assert_eq!(around[80..128], [0; 48]);
    }

    #[test]
    fn the_guest_has_the_service_where_user_space_gave_it_memory() {
        let machine = machine();
        let mut vcpu = vcpu(&machine, 0);
        let cpu = vcpu.cpu_mut();
        for (base, expected) in [(None, NOT_SUPPORTED), (Some(PAGE), 0)] {
            cpu.state.pvtime.base = base;
            for service in [0xc500_0020, 0xc500_0021] {
                crate::vcpu::core_regs::set_x(cpu, 1, service);
                assert_eq!(features(cpu), expected);
            }
            crate::vcpu::core_regs::set_x(cpu, 1, 0xc500_0022);
            assert_eq!(features(cpu), NOT_SUPPORTED);
        }
    }
}
