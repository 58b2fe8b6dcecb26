//! The registers that are in no other table.

use super::mce::Mce;
use super::mtrr::Mtrrs;
use super::{By, Msr};
use crate::cpuid::{self, feature};
use crate::quirks::quirk;
use crate::regs::{FS_BASE, GS_BASE};
use crate::state::{self, cr0, efer};
use crate::{Cpu, mmu, tsc};

/// The patch level that KVM gives AMD's processors.
pub const MICROCODE: u64 = 0x0100_0065;
/// IA32_ARCH_CAPABILITIES: what speculation does, this processor does not.
pub const ARCH_CAPABILITIES: u64 = 0x4000_0000_0c00_0069;
/// DE_CFG: LFENCE waits for what precedes it.
pub const LFENCE_SERIALIZES: u64 = 2;
/// MSR_PLATFORM_INFO: CPUID can be made to fault.
pub const CPUID_FAULT: u64 = 1 << 31;

/// IA32_MISC_ENABLE: no branch trace, no precise events.
const NO_TRACE: u64 = 3 << 11;
/// IA32_MISC_ENABLE: a bit that ignores writes.
const EMON: u64 = 1 << 7;
/// IA32_MISC_ENABLE: MONITOR and MWAIT.
pub(crate) const MWAIT: u64 = 1 << 18;

/// Registers that are no more than storage.
#[derive(Clone, Copy, Debug)]
pub struct Msrs {
    /// STAR: the selectors of SYSCALL and SYSRET.
    pub star: u64,
    /// LSTAR: the target of SYSCALL in 64-bit mode.
    pub lstar: u64,
    /// CSTAR: the target of SYSCALL in compatibility mode.
    pub cstar: u64,
    /// SFMASK: the flags that SYSCALL clears.
    pub sfmask: u64,
    /// KERNEL_GS_BASE: what SWAPGS exchanges GS.base with.
    pub kernel_gs_base: u64,
    /// IA32_SYSENTER_CS.
    pub sysenter_cs: u64,
    /// IA32_SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// IA32_SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// IA32_PAT. Memory types make no difference here.
    pub pat: u64,
    /// IA32_MISC_ENABLE.
    pub misc_enable: u64,
    /// IA32_MISC_FEATURES_ENABLES: bit 0, CPUID faults outside CPL 0.
    pub misc_features: u64,
    /// Whether the guest can read MSR_PLATFORM_INFO (`KVM_CAP_MSR_PLATFORM_INFO`).
    pub platform_info_readable: bool,
    pub(super) hwcr: u64,
    pub(super) mtrrs: Mtrrs,
    pub(super) mce: Mce,
    tsc_adjust: u64,
    spec_ctrl: u64,
    virt_spec_ctrl: u64,
    platform_info: u64,
    microcode: u64,
    arch_capabilities: u64,
    power_ctl: u64,
    debug_ctl: u64,
    smi_count: u64,
    vm_cr: u64,
    hsave: u64,
    de_cfg: u64,
    osvw: [u64; 2],
}

impl Default for Msrs {
    fn default() -> Msrs {
        Msrs {
            star: 0,
            lstar: 0,
            cstar: 0,
            sfmask: 0,
            kernel_gs_base: 0,
            sysenter_cs: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            pat: 0x0007_0406_0007_0406,
            misc_enable: NO_TRACE,
            misc_features: 0,
            platform_info_readable: true,
            hwcr: 0,
            mtrrs: Mtrrs::default(),
            mce: Mce::default(),
            tsc_adjust: 0,
            spec_ctrl: 0,
            virt_spec_ctrl: 0,
            platform_info: CPUID_FAULT,
            microcode: MICROCODE,
            arch_capabilities: ARCH_CAPABILITIES,
            power_ctl: 0,
            debug_ctl: 0,
            smi_count: 0,
            vm_cr: 0,
            hsave: 0,
            de_cfg: 0,
            osvw: [0; 2],
        }
    }
}

impl Msrs {
    /// Those that tell of the processor begin as 0, for user space to set
    /// ([`quirk::STUFF_FEATURE_MSRS`]).
    pub fn forget_features(&mut self) {
        (self.platform_info, self.microcode, self.arch_capabilities) = (0, 0, 0);
    }
}

/// A row of one register.
macro_rules! row {
    ($number:literal, $name:literal, $listed:literal, $read:expr, $write:expr) => {
        row!($number, 1, $name, $listed, $read, $write)
    };
    ($number:literal, $count:literal, $name:literal, $listed:literal, $read:expr, $write:expr) => {
        Msr {
            number: $number,
            count: $count,
            name: $name,
            listed: $listed,
            read: $read,
            write: $write,
        }
    };
}

/// A row of a register that holds any value, or only canonical addresses. All are listed.
macro_rules! stored {
    ($number:literal, $name:literal, $field:ident) => {
        row!(
            $number,
            $name,
            true,
            |cpu, _, _| Some(cpu.state.msrs.$field),
            |cpu, _, value, _| {
                cpu.state.msrs.$field = value;
                Some(())
            }
        )
    };
    ($number:literal, $name:literal, $field:ident, address) => {
        row!(
            $number,
            $name,
            true,
            |cpu, _, _| Some(cpu.state.msrs.$field),
            |cpu, _, value, _| {
                address(cpu, value)?;
                cpu.state.msrs.$field = value;
                Some(())
            }
        )
    };
}

/// A row of registers that are 0, or some other constant. Writes are ignored, or invalid.
macro_rules! constant {
    ($number:literal, $count:literal, $name:literal, $value:expr, ignored) => {
        row!(
            $number,
            $count,
            $name,
            false,
            |_, _, _| Some($value),
            |_, _, _, _| Some(())
        )
    };
    ($number:literal, $count:literal, $name:literal, $value:expr) => {
        row!(
            $number,
            $count,
            $name,
            false,
            |_, _, _| Some($value),
            |_, _, _, _| None
        )
    };
}

/// All of them.
pub static TABLE: &[Msr] = &[
    row!(
        0x10,
        "IA32_TIME_STAMP_COUNTER",
        true,
        |cpu, _, _| Some(cpu.state.tsc.now()),
        set_tsc
    ),
    constant!(0x17, 1, "IA32_PLATFORM_ID", 0),
    constant!(0x2a, 1, "IA32_EBL_CR_POWERON", 0),
    constant!(0x2c, 1, "MSR_EBC_FREQUENCY_ID", 1 << 24),
    row!(
        0x34,
        "MSR_SMI_COUNT",
        true,
        |cpu, _, _| Some(cpu.state.msrs.smi_count),
        |cpu, _, value, by| {
            host(by)?;
            cpu.state.msrs.smi_count = value;
            Some(())
        }
    ),
    row!(
        0x3b,
        "IA32_TSC_ADJUST",
        true,
        |cpu, _, _| Some(cpu.state.msrs.tsc_adjust),
        set_tsc_adjust
    ),
    row!(
        0x48,
        "IA32_SPEC_CTRL",
        true,
        |cpu, _, by| {
            (by == By::Host || spec_ctrl(cpu) != 0).then_some(cpu.state.msrs.spec_ctrl)
        },
        |cpu, _, value, by| {
            const ALL: u64 = 7;
            let bits = spec_ctrl(cpu);
            let good = match by {
                By::Host => value & !ALL == 0,
                By::Guest => bits != 0 && value & !ALL == 0,
            };
            good.then_some(())?;
            cpu.state.msrs.spec_ctrl = value;
            Some(())
        }
    ),
    row!(
        0x49,
        "IA32_PRED_CMD",
        false,
        |_, _, _| None,
        |cpu, _, value, by| {
            let has = cpuid::has(cpu, feature::SPEC_CTRL) || cpuid::has(cpu, feature::AMD_IBPB);
            (value & !1 == 0 && (has || by == By::Host)).then_some(())
        }
    ),
    row!(
        0x79,
        "IA32_BIOS_UPDT_TRIG",
        false,
        |_, _, _| None,
        |_, _, _, _| Some(())
    ),
    row!(
        0x8b,
        "IA32_BIOS_SIGN_ID",
        true,
        |cpu, _, _| Some(cpu.state.msrs.microcode),
        |cpu, _, value, by| {
            if by == By::Host {
                cpu.state.msrs.microcode = value;
            }
            Some(())
        }
    ),
    constant!(0xc1, 2, "IA32_PMC0", 0, ignored),
    constant!(0xcd, 1, "MSR_FSB_FREQ", 3),
    row!(
        0xce,
        "MSR_PLATFORM_INFO",
        true,
        |cpu, _, by| {
            let msrs = &cpu.state.msrs;
            (by == By::Host || msrs.platform_info_readable).then_some(msrs.platform_info)
        },
        |cpu, _, value, by| {
            host(by)?;
            let msrs = &mut cpu.state.msrs;
            (value & CPUID_FAULT != 0 || msrs.misc_features & 1 == 0).then_some(())?;
            msrs.platform_info = value;
            Some(())
        }
    ),
    row!(
        0x10a,
        "IA32_ARCH_CAPABILITIES",
        true,
        |cpu, _, by| {
            let has = by == By::Host || cpuid::has(cpu, feature::ARCH_CAPABILITIES);
            has.then_some(cpu.state.msrs.arch_capabilities)
        },
        |cpu, _, value, by| {
            host(by)?;
            cpu.state.msrs.arch_capabilities = value;
            Some(())
        }
    ),
    row!(
        0x10b,
        "IA32_FLUSH_CMD",
        false,
        |_, _, _| None,
        |cpu, _, value, by| {
            let has = by == By::Host || cpuid::has(cpu, feature::FLUSH_L1D);
            (has && value & !1 == 0).then_some(())
        }
    ),
    constant!(0x119, 1, "MSR_BBL_CR_CTL3", 0xbe70_2111, ignored),
    row!(
        0x140,
        "MSR_MISC_FEATURES_ENABLES",
        true,
        |cpu, _, _| Some(cpu.state.msrs.misc_features),
        |cpu, _, value, _| {
            let msrs = &mut cpu.state.msrs;
            let can = msrs.platform_info & CPUID_FAULT != 0;
            (value == 0 || value == 1 && can).then_some(())?;
            msrs.misc_features = value;
            Some(())
        }
    ),
    stored!(0x174, "IA32_SYSENTER_CS", sysenter_cs),
    row!(
        0x175,
        "IA32_SYSENTER_ESP",
        true,
        |cpu, _, _| Some(sysenter(cpu, cpu.state.msrs.sysenter_esp)),
        |cpu, _, value, _| {
            cpu.state.msrs.sysenter_esp = mmu::to_canonical(cpu, value);
            Some(())
        }
    ),
    row!(
        0x176,
        "IA32_SYSENTER_EIP",
        true,
        |cpu, _, _| Some(sysenter(cpu, cpu.state.msrs.sysenter_eip)),
        |cpu, _, value, _| {
            cpu.state.msrs.sysenter_eip = mmu::to_canonical(cpu, value);
            Some(())
        }
    ),
    constant!(0x186, 2, "IA32_PERFEVTSEL0", 0, ignored),
    // 1,000 ticks, and a multiplier of 4.
    constant!(0x198, 1, "IA32_PERF_STATUS", 1000 | 4 << 40),
    constant!(0x199, 1, "IA32_PERF_CTL", 0),
    row!(
        0x1a0,
        "IA32_MISC_ENABLE",
        true,
        |cpu, _, _| Some(cpu.state.msrs.misc_enable),
        set_misc_enable
    ),
    row!(
        0x1d9,
        "IA32_DEBUGCTL",
        true,
        |cpu, _, _| Some(cpu.state.msrs.debug_ctl),
        |cpu, _, value, _| {
            (value & !0x3f == 0).then_some(())?;
            cpu.state.msrs.debug_ctl = value;
            Some(())
        }
    ),
    row!(
        0x1db,
        4,
        "MSR_LASTBRANCHFROMIP",
        true,
        |_, _, _| Some(0),
        |_, _, _, _| None
    ),
    stored!(0x1fc, "MSR_POWER_CTL", power_ctl),
    row!(
        0x277,
        "IA32_PAT",
        true,
        |cpu, _, _| Some(cpu.state.msrs.pat),
        set_pat
    ),
    row!(
        0x345,
        "IA32_PERF_CAPABILITIES",
        true,
        |_, _, by| host(by).map(|()| 0),
        |_, _, value, by| {
            host(by)?;
            (value == 0).then_some(())
        }
    ),
    constant!(0x606, 1, "MSR_RAPL_POWER_UNIT", 0),
    constant!(0x611, 1, "MSR_PKG_ENERGY_STATUS", 0),
    constant!(0x619, 1, "MSR_DRAM_ENERGY_STATUS", 0),
    constant!(0x639, 1, "MSR_PP0_ENERGY_STATUS", 0),
    constant!(0x641, 1, "MSR_PP1_ENERGY_STATUS", 0),
    row!(
        0xda0,
        "IA32_XSS",
        false,
        |cpu, _, by| { (by == By::Host || cpuid::has(cpu, feature::XSAVES)).then_some(0) },
        |cpu, _, value, by| {
            let has = by == By::Host || cpuid::has(cpu, feature::XSAVES);
            (has && value == 0).then_some(())
        }
    ),
    row!(
        0xc000_0080,
        "IA32_EFER",
        false,
        |cpu, _, _| Some(cpu.state.efer),
        |cpu, _, value, by| set_efer(cpu, value, by)
    ),
    stored!(0xc000_0081, "IA32_STAR", star),
    stored!(0xc000_0082, "IA32_LSTAR", lstar, address),
    stored!(0xc000_0083, "IA32_CSTAR", cstar, address),
    row!(
        0xc000_0084,
        "IA32_FMASK",
        true,
        |cpu, _, _| Some(cpu.state.msrs.sfmask),
        |cpu, _, value, _| {
            cpu.state.msrs.sfmask = value & 0xffff_ffff;
            Some(())
        }
    ),
    row!(
        0xc000_0100,
        "IA32_FS_BASE",
        false,
        |cpu, _, _| Some(cpu.slot(FS_BASE)),
        |cpu, _, value, _| {
            address(cpu, value)?;
            cpu.set_slot(FS_BASE, value);
            Some(())
        }
    ),
    row!(
        0xc000_0101,
        "IA32_GS_BASE",
        false,
        |cpu, _, _| Some(cpu.slot(GS_BASE)),
        |cpu, _, value, _| {
            address(cpu, value)?;
            cpu.set_slot(GS_BASE, value);
            Some(())
        }
    ),
    stored!(0xc000_0102, "IA32_KERNEL_GS_BASE", kernel_gs_base, address),
    row!(
        0xc000_0103,
        "IA32_TSC_AUX",
        true,
        |cpu, _, _| Some(cpu.state.tsc_aux.into()),
        |cpu, _, value, _| {
            // Intel's processors fault, AMD's ignore the upper half.
            (value >> 32 == 0 || !cpuid::is_intel(cpu)).then_some(())?;
            cpu.state.tsc_aux = value as u32;
            Some(())
        }
    ),
    constant!(0xc001_0000, 8, "MSR_K7_EVNTSEL0", 0, ignored),
    constant!(0xc001_0010, 1, "MSR_AMD64_SYSCFG", 0),
    row!(
        0xc001_0015,
        "MSR_K7_HWCR",
        true,
        |cpu, _, _| Some(cpu.state.msrs.hwcr),
        |cpu, _, value, _| {
            // TLB cache, flush filter and IGNNE are ignored.
            let value = value & !(1 << 3 | 1 << 6 | 1 << 8);
            (value & !(1 << 18 | 1 << 24) == 0).then_some(())?;
            cpu.state.msrs.hwcr = value;
            Some(())
        }
    ),
    constant!(0xc001_001b, 1, "MSR_K7_CLK_CTL", 0x2000_0000),
    constant!(0xc001_001f, 1, "MSR_AMD64_NB_CFG", 0, ignored),
    row!(
        0xc001_0020,
        "MSR_AMD64_PATCH_LOADER",
        false,
        |_, _, _| None,
        |_, _, _, _| Some(())
    ),
    constant!(0xc001_0055, 1, "MSR_K8_INT_PENDING_MSG", 0),
    row!(
        0xc001_0058,
        "MSR_FAM10H_MMIO_CONF_BASE",
        false,
        |_, _, _| Some(0),
        |_, _, value, _| (value == 0).then_some(())
    ),
    constant!(0xc001_0112, 2, "MSR_K8_TSEG_ADDR", 0),
    row!(
        0xc001_0114,
        "MSR_VM_CR",
        false,
        |cpu, _, _| Some(cpu.state.msrs.vm_cr),
        |cpu, _, value, _| {
            (value & !0x1f == 0).then_some(())?;
            cpu.state.msrs.vm_cr = value;
            Some(())
        }
    ),
    row!(
        0xc001_0117,
        "MSR_VM_HSAVE_PA",
        true,
        |cpu, _, _| Some(cpu.state.msrs.hsave),
        |cpu, _, value, _| {
            let bits = cpu.state.memory.limits().physical_address_bits;
            (value & 0xfff == 0 && value.unbounded_shr(bits) == 0).then_some(())?;
            cpu.state.msrs.hsave = value;
            Some(())
        }
    ),
    row!(
        0xc001_011f,
        "MSR_AMD64_VIRT_SPEC_CTRL",
        true,
        |cpu, _, by| {
            let has = by == By::Host || cpuid::has(cpu, feature::VIRT_SSBD);
            has.then_some(cpu.state.msrs.virt_spec_ctrl)
        },
        |cpu, _, value, by| {
            let has = by == By::Host || cpuid::has(cpu, feature::VIRT_SSBD);
            (has && value & !4 == 0).then_some(())?;
            cpu.state.msrs.virt_spec_ctrl = value;
            Some(())
        }
    ),
    row!(
        0xc001_0140,
        2,
        "MSR_AMD64_OSVW_ID_LENGTH",
        false,
        |cpu, number, _| {
            cpuid::has(cpu, feature::OSVW).then_some(cpu.state.msrs.osvw[number as usize & 1])
        },
        |cpu, number, value, by| {
            host(by)?;
            cpu.state.msrs.osvw[number as usize & 1] = value;
            Some(())
        }
    ),
    constant!(0xc001_1022, 2, "MSR_AMD64_DC_CFG", 0, ignored),
    row!(
        0xc001_1029,
        "MSR_AMD64_DE_CFG",
        false,
        |cpu, _, _| Some(cpu.state.msrs.de_cfg),
        |cpu, _, value, _| {
            (value & !LFENCE_SERIALIZES == 0).then_some(())?;
            cpu.state.msrs.de_cfg = value;
            Some(())
        }
    ),
    constant!(0xc001_102a, 1, "MSR_AMD64_BU_CFG2", 0, ignored),
    constant!(0xc001_102c, 1, "MSR_F15H_EX_CFG", 0, ignored),
];

/// What only user space may do.
fn host(by: By) -> Option<()> {
    (by == By::Host).then_some(())
}

fn address(cpu: &Cpu, value: u64) -> Option<()> {
    mmu::canonical(cpu, value).then_some(())
}

/// AMD's processors have 32 bits of the target and of the stack of SYSENTER.
fn sysenter(cpu: &Cpu, value: u64) -> u64 {
    if cpuid::is_intel(cpu) {
        value
    } else {
        value & 0xffff_ffff
    }
}

/// Writes the counter. What the guest changes shows in IA32_TSC_ADJUST (SDM vol. 3B, 18.17.3), what
/// user space does not.
fn set_tsc(cpu: &mut Cpu, _: u32, value: u64, by: By) -> Option<()> {
    if by == By::Guest {
        let change = value.wrapping_sub(cpu.state.tsc.now());
        let adjust = &mut cpu.state.msrs.tsc_adjust;
        *adjust = adjust.wrapping_add(change);
        tsc::adjust(cpu, change);
    } else {
        tsc::write_by_user(cpu, value);
    }
    Some(())
}

fn set_tsc_adjust(cpu: &mut Cpu, _: u32, value: u64, by: By) -> Option<()> {
    if by == By::Guest {
        let change = value.wrapping_sub(cpu.state.msrs.tsc_adjust);
        tsc::adjust(cpu, change);
    }
    cpu.state.msrs.tsc_adjust = value;
    Some(())
}

/// Bits of IA32_SPEC_CTRL that CPUID announces.
fn spec_ctrl(cpu: &Cpu) -> u64 {
    let bit = |bit: u64, features: [cpuid::Feature; 2]| {
        let has = features.into_iter().any(|feature| cpuid::has(cpu, feature));
        if has { bit } else { 0 }
    };
    bit(1, [feature::SPEC_CTRL, feature::AMD_IBRS])
        | bit(2, [feature::INTEL_STIBP, feature::AMD_STIBP])
        | bit(4, [feature::SPEC_CTRL_SSBD, feature::AMD_SSBD])
}

fn set_misc_enable(cpu: &mut Cpu, _: u32, value: u64, by: By) -> Option<()> {
    let old = cpu.state.msrs.misc_enable;
    let mut value = value;
    if by == By::Guest {
        ((old ^ value) & NO_TRACE == 0).then_some(())?;
        value = value & !EMON | old & EMON;
    }
    let follows = !cpu.state.quirks.has(quirk::MISC_ENABLE_NO_MWAIT);
    if follows && (old ^ value) & MWAIT != 0 && !cpuid::has(cpu, feature::SSE3) {
        return None;
    }
    cpu.state.msrs.misc_enable = value;
    Some(())
}

fn set_pat(cpu: &mut Cpu, _: u32, value: u64, _: By) -> Option<()> {
    // Each byte is one of the memory types, of which 2 and 3 do not exist.
    let good = |kind: u8| matches!(kind, 0 | 1 | 4..=7);
    value.to_le_bytes().into_iter().all(good).then_some(())?;
    cpu.state.msrs.pat = value;
    Some(())
}

/// EFER (SDM vol. 3A, 2.2.1): LMA follows LME and paging. The guest cannot change LME while paging is
/// on.
fn set_efer(cpu: &mut Cpu, value: u64, by: By) -> Option<()> {
    const BITS: u64 = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    let old = cpu.state.efer;
    let paging = cpu.state.cr0 & cr0::PG != 0;
    let stays = by == By::Guest && paging;
    if value & !BITS != 0 || stays && (old ^ value) & efer::LME != 0 {
        return None;
    }
    cpu.state.efer = value & !efer::LMA | old & efer::LMA;
    if (old ^ value) & efer::NXE != 0 {
        mmu::flush(cpu);
    }
    state::changed(cpu);
    Some(())
}
