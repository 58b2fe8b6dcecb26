//! Calls of the guest to its firmware and hypervisor, by HVC or SMC (SMC Calling Convention, Arm
//! DEN 0028): who answers them, and the services that KVM has beside PSCI.
//!
//! ```text
//!   HVC #n, SMC #0 ──► filter ──► firmware bitmaps ──► SMCCC, workarounds, PV time, TRNG, vendor
//!                        │               │                 └──► PSCI ([`crate::psci`])
//!                        ▼               ▼
//!            DENY: NOT_SUPPORTED   off: NOT_SUPPORTED
//!            FWD_TO_USER: Exit::Hypercall
//! ```

use crate::exit::Exit;
use crate::machine::Machine;
use crate::sysregs::id::fields;
use crate::sysregs::models::Spectre;
use crate::timers::{self, Timer};
use crate::vcpu::core_regs;
use crate::{Cpu, psci, pvtime};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use understudy_abi::arm64::psci::{KVM_PSCI_FN_CPU_ON, KVM_PSCI_FN_CPU_SUSPEND, version};
use understudy_abi::arm64::smccc_filter_action::{
    KVM_SMCCC_FILTER_DENY, KVM_SMCCC_FILTER_FWD_TO_USER, KVM_SMCCC_FILTER_HANDLE,
};
use understudy_abi::arm64::{VcpuFeatures, reg};
use understudy_engine::emit::Stop;

/// SMCCC_VERSION.
const VERSION: u32 = 0x8000_0000;
/// SMCCC_ARCH_FEATURES.
const ARCH_FEATURES: u32 = 0x8000_0001;
/// SMCCC_ARCH_WORKAROUND_1: branch target injection (Spectre v2).
const ARCH_WORKAROUND_1: u32 = 0x8000_8000;
/// SMCCC_ARCH_WORKAROUND_2: speculative store bypass (Spectre v4).
const ARCH_WORKAROUND_2: u32 = 0x8000_7fff;
/// SMCCC_ARCH_WORKAROUND_3: branch history injection (Spectre BHB).
const ARCH_WORKAROUND_3: u32 = 0x8000_3fff;
/// PV_TIME_FEATURES (Arm DEN 0057).
const PV_TIME_FEATURES: u32 = 0xc500_0020;
/// PV_TIME_ST.
const PV_TIME_ST: u32 = 0xc500_0021;
/// The UID query of the vendor-specific hypervisor services.
const VENDOR_UID: u32 = 0x8600_ff01;
/// Which of them there are.
const VENDOR_FEATURES: u32 = 0x8600_0000;
/// KVM's PTP clock.
const VENDOR_PTP: u32 = 0x8600_0001;
/// TRNG_VERSION (Arm DEN 0098).
const TRNG_VERSION: u32 = 0x8400_0050;
/// TRNG_FEATURES.
const TRNG_FEATURES: u32 = 0x8400_0051;
/// TRNG_GET_UUID.
const TRNG_GET_UUID: u32 = 0x8400_0052;
/// TRNG_RND, 32-bit.
const TRNG_RND32: u32 = 0x8400_0053;
/// TRNG_RND, 64-bit.
const TRNG_RND64: u32 = 0xc400_0053;

/// The service that this is KVM, as its UID query says.
const KVM_UID: [u64; 4] = [0xb66f_b428, 0xe911_c52e, 0x564b_caa9, 0x743a_004d];
/// The back end's UUID of KVM's TRNG.
const TRNG_UUID: [u64; 4] = [0x00e0_210d, 0xeb11_8443, 0x4452_7080, 0x4c5a_4e55];

/// NOT_SUPPORTED, as a register holds it.
pub(crate) const NOT_SUPPORTED: u64 = -1i64 as u64;
/// INVALID_PARAMETERS.
const INVALID_PARAMETERS: u64 = -2i64 as u64;
/// NOT_REQUIRED, the answer about a workaround.
const NOT_REQUIRED: u64 = -2i64 as u64;
/// The answer that this CPU is not affected, and the call does nothing.
const UNAFFECTED: u64 = 1;

/// Bit 0 of `KVM_REG_ARM_STD_BMAP`.
const STD_TRNG: u64 = 1 << 0;
/// Bit 0 of `KVM_REG_ARM_STD_HYP_BMAP`.
const STD_HYP_PV_TIME: u64 = 1 << 0;
/// Bit 0 of `KVM_REG_ARM_VENDOR_HYP_BMAP`.
const VENDOR_FUNC_FEAT: u64 = 1 << 0;
/// Bit 1 of it.
const VENDOR_PTP_BIT: u64 = 1 << 1;

/// Why a firmware register or a filter cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetError {
    /// There is no such register: `ENOENT`.
    NoSuchRegister,
    /// Not such a value: `EINVAL`.
    Invalid,
    /// The machine has run: `EBUSY`.
    HasRun,
    /// A range overlaps one that is there: `EEXIST`.
    Exists,
}

/// What a guest may call, with what it is told: the machine's firmware registers
/// (Documentation/virt/kvm/arm/fw-pseudo-registers.rst) and its SMCCC filter.
#[derive(Debug)]
pub struct Services {
    /// The PSCI version that was set; 0 for the newest.
    psci_version: AtomicU64,
    standard: AtomicU64,
    standard_hypervisor: AtomicU64,
    vendor_hypervisor: AtomicU64,
    filtered: AtomicBool,
    /// First and last function id of each range, and its action; in ascending order.
    filter: RwLock<Vec<(u32, u32, u8)>>,
}

impl Default for Services {
    fn default() -> Self {
        Self::new()
    }
}

impl Services {
    /// All services, no filter.
    pub fn new() -> Services {
        Services {
            psci_version: AtomicU64::new(0),
            standard: AtomicU64::new(STD_TRNG),
            standard_hypervisor: AtomicU64::new(STD_HYP_PV_TIME),
            vendor_hypervisor: AtomicU64::new(VENDOR_FUNC_FEAT | VENDOR_PTP_BIT),
            filtered: AtomicBool::new(false),
            filter: RwLock::new(Vec::new()),
        }
    }

    /// The bitmap register of this id, and all bits it can have.
    fn bitmap(&self, id: u64) -> Option<(&AtomicU64, u64)> {
        match id {
            reg::KVM_REG_ARM_STD_BMAP => Some((&self.standard, STD_TRNG)),
            reg::KVM_REG_ARM_STD_HYP_BMAP => Some((&self.standard_hypervisor, STD_HYP_PV_TIME)),
            reg::KVM_REG_ARM_VENDOR_HYP_BMAP => {
                Some((&self.vendor_hypervisor, VENDOR_FUNC_FEAT | VENDOR_PTP_BIT))
            }
            _ => None,
        }
    }

    /// What the filter says of a function.
    fn action(&self, function: u32) -> u8 {
        if !self.filtered.load(Ordering::Acquire) {
            return KVM_SMCCC_FILTER_HANDLE;
        }
        self.filter
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&function))
            .map_or(KVM_SMCCC_FILTER_HANDLE, |(_, _, action)| *action)
    }

    /// Whether a function is one of a service that is on, or of those that cannot be off.
    fn offered(&self, function: u32) -> bool {
        let on = |bitmap: &AtomicU64, bit| bitmap.load(Ordering::Relaxed) & bit != 0;
        match function {
            TRNG_VERSION | TRNG_FEATURES | TRNG_GET_UUID | TRNG_RND32 | TRNG_RND64 => {
                on(&self.standard, STD_TRNG)
            }
            PV_TIME_FEATURES | PV_TIME_ST => on(&self.standard_hypervisor, STD_HYP_PV_TIME),
            VENDOR_FEATURES | VENDOR_UID => on(&self.vendor_hypervisor, VENDOR_FUNC_FEAT),
            VENDOR_PTP => on(&self.vendor_hypervisor, VENDOR_PTP_BIT),
            VERSION | ARCH_FEATURES => true,
            // PSCI 0.2 and later: functions 0 to 0x1f of the standard secure services.
            _ if function >> 24 & 0x3f == 4 && function & 0xffff <= 0x1f => true,
            KVM_PSCI_FN_CPU_SUSPEND..=PSCI_0_1_LAST => true,
            _ => false,
        }
    }
}

/// The last function of KVM's PSCI 0.1, MIGRATE.
const PSCI_0_1_LAST: u32 = KVM_PSCI_FN_CPU_ON + 1;

/// Firmware registers, in the order in which `KVM_GET_REG_LIST` has them.
pub const FIRMWARE_REGISTERS: &[u64] = &[
    reg::KVM_REG_ARM_PSCI_VERSION,
    reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1,
    reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2,
    reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_3,
    reg::KVM_REG_ARM_STD_BMAP,
    reg::KVM_REG_ARM_STD_HYP_BMAP,
    reg::KVM_REG_ARM_VENDOR_HYP_BMAP,
];

/// The level of a firmware register about a workaround.
mod level {
    pub const NOT_AVAILABLE: u64 = 0;
    /// Workaround 1 and 3.
    pub const AVAILABLE: u64 = 1;
    pub const NOT_REQUIRED: u64 = 2;
    /// Workaround 2 counts otherwise.
    pub const WA2_UNKNOWN: u64 = 1;
    pub const WA2_AVAILABLE: u64 = 2;
    pub const WA2_NOT_REQUIRED: u64 = 3;
    /// Bit 4 of workaround 2.
    pub const WA2_ENABLED: u64 = 1 << 4;
    /// The bits of the level itself.
    pub const MASK: u64 = 15;
}

impl Machine {
    /// The PSCI version of the guest.
    pub fn psci_version(&self) -> u32 {
        if !self.has_psci_0_2() {
            return version(0, 1);
        }
        match self.services.psci_version.load(Ordering::Relaxed) {
            0 => version(1, 1),
            version => version as u32,
        }
    }

    fn has_psci_0_2(&self) -> bool {
        self.features()
            .is_some_and(|features| features.contains(VcpuFeatures::PSCI_0_2))
    }

    /// What level of protection a firmware register tells.
    fn workaround(&self, id: u64, ssbs: bool) -> u64 {
        let states = self.settings.model.registers().mitigations;
        let of = |state| match state {
            Spectre::Vulnerable => level::NOT_AVAILABLE,
            Spectre::Mitigated => level::AVAILABLE,
            Spectre::Unaffected => level::NOT_REQUIRED,
        };
        match id {
            reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1 => of(states.v2),
            reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_3 => of(states.bhb),
            // With SSBS the guest needs no firmware, so it is told that there is none.
            _ if states.v4 == Spectre::Mitigated && ssbs => level::NOT_AVAILABLE,
            _ if states.v4 == Spectre::Vulnerable => level::NOT_AVAILABLE,
            _ => level::WA2_NOT_REQUIRED,
        }
    }

    /// Reads a firmware register, by its `KVM_GET_ONE_REG` id; `ssbs` says whether the guest's
    /// ID_AA64PFR1_EL1 has SSBS. None if there is no such register (`ENOENT`).
    pub fn firmware_register(&self, id: u64, ssbs: bool) -> Option<u64> {
        match id {
            reg::KVM_REG_ARM_PSCI_VERSION => Some(self.psci_version().into()),
            reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1
            | reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2
            | reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_3 => Some(self.workaround(id, ssbs)),
            _ => {
                let (bitmap, _) = self.services.bitmap(id)?;
                Some(bitmap.load(Ordering::Relaxed))
            }
        }
    }

    /// Sets a firmware register, by its `KVM_SET_ONE_REG` id. Levels of workarounds are compared
    /// with what this machine gives, and not kept.
    pub fn set_firmware_register(&self, id: u64, value: u64, ssbs: bool) -> Result<(), SetError> {
        let ok = |condition: bool| condition.then_some(()).ok_or(SetError::Invalid);
        match id {
            reg::KVM_REG_ARM_PSCI_VERSION => {
                let known = match u32::try_from(value) {
                    Ok(v) if v == version(0, 1) => !self.has_psci_0_2(),
                    Ok(v) if v == version(0, 2) || v == version(1, 0) || v == version(1, 1) => {
                        self.has_psci_0_2()
                    }
                    _ => false,
                };
                ok(known)?;
                self.services.psci_version.store(value, Ordering::Relaxed);
                Ok(())
            }
            reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1 | reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_3 => {
                ok(value & !level::MASK == 0 && value <= self.workaround(id, ssbs))
            }
            reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2 => {
                ok(value & !(level::MASK | level::WA2_ENABLED) == 0)?;
                let asked = value & level::MASK;
                ok(value & level::WA2_ENABLED == 0 || asked == level::WA2_AVAILABLE)?;
                let needed = match asked {
                    level::NOT_AVAILABLE | level::WA2_UNKNOWN => level::NOT_AVAILABLE,
                    level::WA2_AVAILABLE | level::WA2_NOT_REQUIRED => level::WA2_NOT_REQUIRED,
                    _ => return Err(SetError::Invalid),
                };
                ok(needed <= self.workaround(id, ssbs))
            }
            _ => {
                let (bitmap, valid) = self.services.bitmap(id).ok_or(SetError::NoSuchRegister)?;
                ok(value & !valid == 0)?;
                let _config = self.config();
                if self.has_run() && value != bitmap.load(Ordering::Relaxed) {
                    return Err(SetError::HasRun);
                }
                bitmap.store(value, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Adds a range of `count` function ids from `base` to the SMCCC filter
    /// (`KVM_ARM_VM_SMCCC_FILTER`). Ranges don't overlap, neither each other nor the Arm
    /// architecture calls, which are always handled here.
    pub fn filter_smccc(&self, base: u32, count: u32, action: u8) -> Result<(), SetError> {
        let last = base.wrapping_add(count).wrapping_sub(1);
        if count == 0 || last < base || action > KVM_SMCCC_FILTER_FWD_TO_USER {
            return Err(SetError::Invalid);
        }
        let _config = self.config();
        if self.has_run() {
            return Err(SetError::HasRun);
        }
        let mut filter = self
            .services
            .filter
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if filter.is_empty() {
            // Nobody may misrepresent to the guest what it needs against Spectre.
            filter.push((0x8000_0000, 0x8000_ffff, KVM_SMCCC_FILTER_HANDLE));
            filter.push((0xc000_0000, 0xc000_ffff, KVM_SMCCC_FILTER_HANDLE));
            self.services.filtered.store(true, Ordering::Release);
        }
        if filter.iter().any(|(f, l, _)| base <= *l && *f <= last) {
            return Err(SetError::Exists);
        }
        filter.push((base, last, action));
        filter.sort_unstable();
        Ok(())
    }
}

/// By which instruction a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// HVC.
    Hvc,
    /// SMC.
    Smc,
}

/// An argument of a call.
pub(crate) fn argument(cpu: &Cpu, n: u32) -> u64 {
    core_regs::x(cpu, n)
}

/// Ends a call with these results, in X0 to X3.
pub(crate) fn give(cpu: &mut Cpu, results: [u64; 4]) {
    for (n, value) in results.into_iter().enumerate() {
        core_regs::set_x(cpu, n as u32, value);
    }
}

/// HVC or SMC at EL1: makes the call that X0 names, leaving its results in X0 to X3.
///
/// `cpu.pc` is the instruction's own address; on an exit it has been moved past it. The
/// instruction ends its block, as the call may have stopped the vCPU.
pub fn call(cpu: &mut Cpu, conduit: Conduit, imm: u32) -> Result<(), Stop> {
    crate::vcpu::emulated(cpu);
    match conduit {
        // Only the immediate 0 means the calling convention, and only SMC looks at it.
        Conduit::Smc if imm & 0xffff != 0 => {
            core_regs::set_x(cpu, 0, NOT_SUPPORTED);
            return Ok(());
        }
        // These are answered before anybody looks, and leave X2 and X3.
        Conduit::Hvc => {
            let function = argument(cpu, 0) as u32;
            if let ARCH_WORKAROUND_1 | ARCH_WORKAROUND_2 | ARCH_WORKAROUND_3 = function {
                core_regs::set_x(cpu, 0, 0);
                core_regs::set_x(cpu, 1, 0);
                return Ok(());
            }
        }
        Conduit::Smc => {}
    }
    match answer(cpu, conduit) {
        Some(exit) => {
            cpu.pc = cpu.pc.wrapping_add(4);
            cpu.state.exit = Some(exit);
            Err(Stop::Exit)
        }
        None => Ok(()),
    }
}

fn answer(cpu: &mut Cpu, conduit: Conduit) -> Option<Exit> {
    let machine = cpu.state.machine.clone();
    let function = argument(cpu, 0) as u32;
    match machine.services.action(function) {
        KVM_SMCCC_FILTER_FWD_TO_USER => {
            return Some(Exit::Hypercall {
                function,
                smc: conduit == Conduit::Smc,
            });
        }
        KVM_SMCCC_FILTER_DENY => {
            give(cpu, [NOT_SUPPORTED, 0, 0, 0]);
            return None;
        }
        _ => {}
    }
    if !machine.services.offered(function) {
        give(cpu, [NOT_SUPPORTED, 0, 0, 0]);
        return None;
    }
    let results = match function {
        VERSION => [version(1, 1).into(), 0, 0, 0],
        ARCH_FEATURES => [arch_features(cpu, &machine), 0, 0, 0],
        PV_TIME_FEATURES => [pvtime::features(cpu), 0, 0, 0],
        PV_TIME_ST => [pvtime::enable(cpu).unwrap_or(NOT_SUPPORTED), 0, 0, 0],
        VENDOR_UID => KVM_UID,
        VENDOR_FEATURES => {
            let bitmap = &machine.services.vendor_hypervisor;
            [bitmap.load(Ordering::Relaxed), 0, 0, 0]
        }
        VENDOR_PTP => ptp(cpu),
        TRNG_VERSION => [0x10000, 0, 0, 0],
        TRNG_FEATURES => match argument(cpu, 1) {
            id if [
                TRNG_VERSION,
                TRNG_FEATURES,
                TRNG_GET_UUID,
                TRNG_RND32,
                TRNG_RND64,
            ]
            .contains(&(id as u32))
                && id >> 32 == 0 =>
            {
                [0; 4]
            }
            _ => [NOT_SUPPORTED, 0, 0, 0],
        },
        TRNG_GET_UUID => TRNG_UUID,
        TRNG_RND32 => random(argument(cpu, 1), 32),
        TRNG_RND64 => random(argument(cpu, 1), 64),
        _ => return psci::call(cpu, function),
    };
    give(cpu, results);
    None
}

fn arch_features(cpu: &Cpu, machine: &Machine) -> u64 {
    let states = machine.settings.model.registers().mitigations;
    let of = |state| match state {
        Spectre::Vulnerable => NOT_SUPPORTED,
        Spectre::Mitigated => 0,
        Spectre::Unaffected => UNAFFECTED,
    };
    match argument(cpu, 1) as u32 {
        ARCH_WORKAROUND_1 => of(states.v2),
        ARCH_WORKAROUND_2 => match states.v4 {
            Spectre::Vulnerable => NOT_SUPPORTED,
            Spectre::Mitigated if has_ssbs(cpu) => NOT_SUPPORTED,
            Spectre::Mitigated | Spectre::Unaffected => NOT_REQUIRED,
        },
        ARCH_WORKAROUND_3 => of(states.bhb),
        PV_TIME_FEATURES
            if machine.services.standard_hypervisor.load(Ordering::Relaxed) & STD_HYP_PV_TIME
                != 0 =>
        {
            0
        }
        _ => NOT_SUPPORTED,
    }
}

/// Whether the guest's ID registers have SSBS.
fn has_ssbs(cpu: &Cpu) -> bool {
    cpu.state.id.at_least(&fields::PFR1_SSBS, 1)
}

/// Wall-clock time and the counter that the guest asks for, taken together.
fn ptp(cpu: &Cpu) -> [u64; 4] {
    let timer = match argument(cpu, 1) as u32 {
        0 => Timer::Virtual,
        1 => Timer::Physical,
        _ => return [NOT_SUPPORTED, 0, 0, 0],
    };
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let cycles = timers::count(cpu, timer);
    let ns = (time.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec as u64);
    let (ns, cycles) = (
        (ns >> 32, ns & 0xffff_ffff),
        (cycles >> 32, cycles & 0xffff_ffff),
    );
    [ns.0, ns.1, cycles.0, cycles.1]
}

/// `bits` of entropy: as many low bits of X3, then X2, then X1, `width` bits each.
fn random(bits: u64, width: u32) -> [u64; 4] {
    let bits = bits as u32;
    if bits > 3 * width {
        return [INVALID_PARAMETERS, 0, 0, 0];
    }
    let mut bytes = [0; 24];
    if getrandom(&mut bytes).is_err() {
        return [-3i64 as u64, 0, 0, 0];
    }
    let word = |n: u32| {
        let at = (n * width / 8) as usize;
        let mut word = [0; 8];
        let taken = &bytes[at..at + width as usize / 8];
        word[..taken.len()].copy_from_slice(taken);
        match bits.saturating_sub(n * width) {
            0 => 0,
            left if left >= width => u64::from_le_bytes(word),
            left => u64::from_le_bytes(word) & !(!0 << left),
        }
    };
    [0, word(2), word(1), word(0)]
}

fn getrandom(bytes: &mut [u8]) -> Result<(), rustix::io::Errno> {
    let flags = rustix::rand::GetRandomFlags::empty();
    let mut at = 0;
    while at < bytes.len() {
        at += rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut bytes[at..], flags))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vcpu::{Vcpu, tests};
    use understudy_abi::arm64::VcpuFeatures;

    /// Makes the call with X0 to X3; gives them afterwards.
    fn made(vcpu: &mut Vcpu, conduit: Conduit, imm: u32, arguments: [u64; 4]) -> [u64; 4] {
        let cpu = vcpu.cpu_mut();
        give(cpu, arguments);
        assert_eq!(call(cpu, conduit, imm), Ok(()));
        [0, 1, 2, 3].map(|n| argument(cpu, n))
    }

    /// `hvc 0x80000000 = x0 0x10001 ...` and so on, lines of the reference machine's probe: X0 to
    /// X3 are the function, 0, 0x22 and 0x33 before.
    #[test]
    fn calls_give_what_the_reference_machine_gives() {
        const NONE: [u64; 4] = [NOT_SUPPORTED, 0, 0, 0];
        let machine = tests::machine();
        let mut vcpu = tests::vcpu(&machine, 0);
        for (function, hvc, smc) in [
            (0x8000_0000, [0x10001, 0, 0, 0], [0x10001, 0, 0, 0]),
            (0x8000_0001, NONE, NONE),
            (0x8000_0002, NONE, NONE),
            (0x8000_8000, [0, 0, 0x22, 0x33], NONE),
            (0x8000_7fff, [0, 0, 0x22, 0x33], NONE),
            (0x8000_3fff, [0, 0, 0x22, 0x33], NONE),
            (0x8400_0000, [0x10001, 0, 0, 0], [0x10001, 0, 0, 0]),
            (0x8400_0005, NONE, NONE),
            (0x8400_0006, [2, 0, 0, 0], [2, 0, 0, 0]),
            (0x8400_0007, NONE, NONE),
            (0x8400_000e, NONE, NONE),
            (0x8400_0014, NONE, NONE),
            (0x8400_0050, [0x10000, 0, 0, 0], [0x10000, 0, 0, 0]),
            (0x8400_0051, NONE, NONE),
            (
                0x8400_0052,
                [0xe0_210d, 0xeb11_8443, 0x4452_7080, 0x4c5a_4e55],
                [0xe0_210d, 0xeb11_8443, 0x4452_7080, 0x4c5a_4e55],
            ),
            (
                0x8600_ff01,
                [0xb66f_b428, 0xe911_c52e, 0x564b_caa9, 0x743a_004d],
                [0xb66f_b428, 0xe911_c52e, 0x564b_caa9, 0x743a_004d],
            ),
            (0x8600_0000, [3, 0, 0, 0], [3, 0, 0, 0]),
            (0xc600_0000, NONE, NONE),
            (0xc500_0020, NONE, NONE),
            (0xc500_0021, NONE, NONE),
            (0xbf00_ff01, NONE, NONE),
            (0x95c1_ba5e, NONE, NONE),
            (0x95c1_ba60, NONE, NONE),
            (0, NONE, NONE),
            (0xdead_beef, NONE, NONE),
            (0xffff_ffff, NONE, NONE),
            (0x8400_ff01, NONE, NONE),
        ] {
            let arguments = [function, 0, 0x22, 0x33];
            let got = made(&mut vcpu, Conduit::Hvc, 1, arguments);
            assert_eq!(got, hvc, "HVC {function:#x}");
            let got = made(&mut vcpu, Conduit::Smc, 0, arguments);
            assert_eq!(got, smc, "SMC {function:#x}");
        }
        // Only the low half names the function.
        let high = [0xffff_ffff_8000_0000, 0, 0, 0];
        assert_eq!(made(&mut vcpu, Conduit::Hvc, 0, high), [0x10001, 0, 0, 0]);
        // An SMC with an immediate is nothing known, and leaves X1 to X3.
        let smc = [0x8000_0000, 1, 2, 3];
        let given = made(&mut vcpu, Conduit::Smc, 1, smc);
        assert_eq!(given, [NOT_SUPPORTED, 1, 2, 3]);
    }

    #[test]
    fn features_are_told_as_the_reference_machine_does() {
        let machine = tests::machine();
        let mut vcpu = tests::vcpu(&machine, 0);
        let no = NOT_SUPPORTED;
        for (asked, psci, arch) in [
            (0x8000_0000, 0, no),
            (0x8000_0001, no, no),
            (0x8000_8000, no, 1),
            (0x8000_7fff, no, no),
            (0x8000_3fff, no, 0),
            (0x8400_0000, 0, no),
            (0xc400_0001, 0, no),
            (0x8400_0002, 0, no),
            (0xc400_0003, 0, no),
            (0xc400_0004, 0, no),
            (0x8400_0009, 0, no),
            (0x8400_000a, 0, no),
            (0x8400_000e, no, no),
            (0xc400_000e, no, no),
            (0xc400_0012, 0, no),
            (0xc400_0015, no, no),
            (0xc500_0020, no, 0),
            (0xc500_0021, no, no),
            (0x8600_0001, no, no),
        ] {
            let of =
                |vcpu: &mut Vcpu, function| made(vcpu, Conduit::Hvc, 0, [function, asked, 0, 0])[0];
            assert_eq!(of(&mut vcpu, 0x8400_000a), psci, "PSCI_FEATURES {asked:#x}");
            assert_eq!(of(&mut vcpu, 0x8000_0001), arch, "ARCH_FEATURES {asked:#x}");
        }
        machine.set_system_suspend();
        let suspend = [0x8400_000a, 0xc400_000e, 0, 0];
        assert_eq!(made(&mut vcpu, Conduit::Hvc, 0, suspend), [0; 4]);
    }

    #[test]
    fn firmware_registers_take_what_the_reference_machine_takes() {
        let machine = tests::machine();
        let _vcpu = tests::vcpu(&machine, 0);
        let values: Vec<_> = FIRMWARE_REGISTERS
            .iter()
            .map(|id| machine.firmware_register(*id, true))
            .collect();
        let expected = [0x10001, 2, 0, 1, 1, 1, 3].map(Some);
        assert_eq!(values, expected);
        let set = |id, value| machine.set_firmware_register(id, value, true);

        let id = reg::KVM_REG_ARM_PSCI_VERSION;
        for version in [2, 0x10000, 0x10001] {
            assert_eq!(set(id, version), Ok(()));
            assert_eq!(machine.firmware_register(id, true), Some(version));
        }
        for version in [0, 1, 3, 0x10002, 0x2_0000, 1 << 32 | 2, !0] {
            assert_eq!(set(id, version), Err(SetError::Invalid), "{version:#x}");
        }
        assert_eq!(machine.psci_version(), 0x10001);

        for (id, most) in [
            (reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1, 2),
            (reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2, 1),
            (reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_3, 1),
        ] {
            for value in (0..64).chain([!0]) {
                let expected = if value <= most {
                    Ok(())
                } else {
                    Err(SetError::Invalid)
                };
                assert_eq!(set(id, value), expected, "{id:#x} {value:#x}");
            }
        }
        // Without SSBS the guest relies on the firmware, which needs nothing more from it.
        let id = reg::KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2;
        assert_eq!(machine.firmware_register(id, false), Some(3));
        assert_eq!(machine.set_firmware_register(id, 0x12, false), Ok(()));
        assert_eq!(
            machine.set_firmware_register(id, 0x13, false),
            Err(SetError::Invalid)
        );

        for (id, all) in [
            (reg::KVM_REG_ARM_STD_BMAP, 1),
            (reg::KVM_REG_ARM_STD_HYP_BMAP, 1),
            (reg::KVM_REG_ARM_VENDOR_HYP_BMAP, 3),
        ] {
            assert_eq!(set(id, all + 1), Err(SetError::Invalid));
            assert_eq!(set(id, 0), Ok(()));
            assert_eq!(machine.firmware_register(id, true), Some(0));
            assert_eq!(set(id, all), Ok(()));
        }
        machine.set_has_run();
        let id = reg::KVM_REG_ARM_VENDOR_HYP_BMAP;
        assert_eq!(set(id, 3), Ok(()));
        assert_eq!(set(id, 2), Err(SetError::HasRun));
        assert_eq!(set(id, 4), Err(SetError::Invalid));
        assert_eq!(set(reg::KVM_REG_ARM_PSCI_VERSION, 2), Ok(()));
        assert_eq!(set(reg::fw_reg(4), 0), Err(SetError::NoSuchRegister));
        assert_eq!(machine.firmware_register(reg::fw_reg(4), true), None);
    }

    #[test]
    fn a_service_that_is_off_is_not_supported() {
        let machine = tests::machine();
        let mut vcpu = tests::vcpu(&machine, 0);
        for (id, functions) in [
            (
                reg::KVM_REG_ARM_STD_BMAP,
                &[TRNG_VERSION, TRNG_GET_UUID, TRNG_RND64][..],
            ),
            (
                reg::KVM_REG_ARM_VENDOR_HYP_BMAP,
                &[VENDOR_UID, VENDOR_FEATURES, VENDOR_PTP],
            ),
        ] {
            for function in functions {
                let arguments = [(*function).into(), 0, 0, 0];
                let on = made(&mut vcpu, Conduit::Hvc, 0, arguments);
                assert_ne!(on[0], NOT_SUPPORTED, "{function:#x}");
            }
            assert_eq!(machine.set_firmware_register(id, 0, true), Ok(()));
            for function in functions {
                let arguments = [(*function).into(), 0, 0, 0];
                let off = made(&mut vcpu, Conduit::Hvc, 0, arguments);
                assert_eq!(off, [NOT_SUPPORTED, 0, 0, 0], "{function:#x}");
            }
        }
        let pv_time = [ARCH_FEATURES.into(), PV_TIME_FEATURES.into(), 0, 0];
        assert_eq!(made(&mut vcpu, Conduit::Hvc, 0, pv_time)[0], 0);
        let id = reg::KVM_REG_ARM_STD_HYP_BMAP;
        assert_eq!(machine.set_firmware_register(id, 0, true), Ok(()));
        assert_eq!(made(&mut vcpu, Conduit::Hvc, 0, pv_time)[0], NOT_SUPPORTED);
    }

    #[test]
    fn psci_0_1_is_for_vcpus_without_the_feature() {
        let machine = tests::machine();
        let mut vcpu = Vcpu::new(&machine, 0);
        assert!(machine.fix_features(VcpuFeatures::empty()));
        vcpu.init(VcpuFeatures::empty());
        assert_eq!(machine.psci_version(), 1);
        let id = reg::KVM_REG_ARM_PSCI_VERSION;
        let set = |value| machine.set_firmware_register(id, value, true);
        assert_eq!(set(1), Ok(()));
        assert_eq!(set(0x10001), Err(SetError::Invalid));
        let mut call = |function: u32| made(&mut vcpu, Conduit::Hvc, 0, [function.into(), 0, 0, 0]);
        assert_eq!(call(0x8400_0000)[0], NOT_SUPPORTED);
        assert_eq!(call(KVM_PSCI_FN_CPU_SUSPEND)[0], NOT_SUPPORTED);
        // It is on: with 0.1 the parameters are at fault.
        assert_eq!(call(KVM_PSCI_FN_CPU_ON)[0], INVALID_PARAMETERS);
    }

    #[test]
    fn filter_ranges_do_not_overlap() {
        let machine = tests::machine();
        let add = |base, count, action| machine.filter_smccc(base, count, action);
        assert_eq!(add(0xc200_0000, 4, 2), Ok(()));
        assert_eq!(add(0xc200_0003, 4, 2), Err(SetError::Exists));
        assert_eq!(add(0x8000_0001, 1, 2), Err(SetError::Exists));
        assert_eq!(add(0xc000_ffff, 1, 2), Err(SetError::Exists));
        assert_eq!(add(0xffff_ffff, 2, 2), Err(SetError::Invalid));
        assert_eq!(add(0xffff_ffff, 1, 2), Ok(()));
        assert_eq!(add(0x8400_0000, 1, 3), Err(SetError::Invalid));
        assert_eq!(add(0x8400_0000, 0, 1), Err(SetError::Invalid));
        assert_eq!(add(0, 0x8000_0000, 1), Ok(()));
        assert_eq!(add(0, 0xffff_ffff, 1), Err(SetError::Exists));
        machine.set_has_run();
        assert_eq!(add(0xc300_0000, 0xffff_ffff, 1), Err(SetError::Invalid));
        assert_eq!(add(0xc300_0000, 1, 1), Err(SetError::HasRun));
    }

    #[test]
    fn filtered_calls_exit_or_fail() {
        let machine = tests::machine();
        let mut vcpu = tests::vcpu(&machine, 0);
        assert_eq!(
            machine.filter_smccc(0x8400_0000, 1, KVM_SMCCC_FILTER_DENY),
            Ok(())
        );
        let forward = KVM_SMCCC_FILTER_FWD_TO_USER;
        assert_eq!(machine.filter_smccc(0xc200_0000, 4, forward), Ok(()));
        let denied = made(&mut vcpu, Conduit::Hvc, 0, [0x8400_0000, 1, 2, 3]);
        assert_eq!(denied, [NOT_SUPPORTED, 0, 0, 0]);
        for (conduit, smc) in [(Conduit::Hvc, false), (Conduit::Smc, true)] {
            let cpu = vcpu.cpu_mut();
            cpu.pc = tests::PAGE;
            give(cpu, [0xc200_0003, 1, 2, 3]);
            assert_eq!(call(cpu, conduit, 0), Err(Stop::Exit));
            let function = 0xc200_0003;
            assert_eq!(
                cpu.state.exit.take(),
                Some(Exit::Hypercall { function, smc })
            );
            assert_eq!(cpu.pc, tests::PAGE + 4);
            assert_eq!(
                [0, 1, 2, 3].map(|n| argument(cpu, n)),
                [0xc200_0003, 1, 2, 3]
            );
        }
        // One that no range has is handled as without a filter.
        assert_eq!(
            made(&mut vcpu, Conduit::Hvc, 0, [0x8400_0006, 0, 0, 0])[0],
            2
        );
    }

    #[test]
    fn random_numbers_have_as_many_bits_as_asked_for() {
        for width in [32, 64] {
            for bits in 0..=3 * width {
                let (mut ones, mut zeros) = ([0; 3], [0; 3]);
                for _ in 0..64 {
                    let [status, high, middle, low] = random(bits, width as u32);
                    assert_eq!(status, 0);
                    for (n, word) in [low, middle, high].into_iter().enumerate() {
                        ones[n] |= word;
                        zeros[n] |= !word;
                    }
                }
                for n in 0..3 {
                    let count = bits.saturating_sub(n * width).min(width);
                    let mask = if count == 0 { 0 } else { !0 >> (64 - count) };
                    // A bit that is wrongly constant would be so 64 times: once in 2^63.
                    assert_eq!(ones[n as usize], mask, "{bits} of {width}");
                    assert_eq!(zeros[n as usize], !0, "{bits} of {width}");
                }
            }
            assert_eq!(
                random(3 * width + 1, width as u32),
                [INVALID_PARAMETERS, 0, 0, 0]
            );
        }
    }

    #[test]
    fn ptp_tells_time_and_counter_together() {
        let machine = tests::machine();
        let mut vcpu = tests::vcpu(&machine, 0);
        for (which, timer) in [(0, Timer::Virtual), (1, Timer::Physical)] {
            let before = timers::count(vcpu.cpu(), timer);
            let ptp = [VENDOR_PTP.into(), which, 0, 0];
            let [high, low, cycles_high, cycles_low] = made(&mut vcpu, Conduit::Hvc, 0, ptp);
            let after = timers::count(vcpu.cpu(), timer);
            assert!(
                [high, low, cycles_high, cycles_low]
                    .iter()
                    .all(|v| v >> 32 == 0)
            );
            let cycles = cycles_high << 32 | cycles_low;
            assert!((before..=after).contains(&cycles));
            let now = std::time::SystemTime::now();
            let now = now
                .duration_since(std::time::UNIX_EPOCH)
                .expect("it is after 1970");
            let told = std::time::Duration::from_nanos(high << 32 | low);
            // It is the wall clock, whoever may have set it meanwhile.
            assert!(told.abs_diff(now).as_secs() < 86400);
        }
        let other = [VENDOR_PTP.into(), 2, 0, 0];
        assert_eq!(
            made(&mut vcpu, Conduit::Hvc, 0, other),
            [NOT_SUPPORTED, 0, 0, 0]
        );
    }
}
