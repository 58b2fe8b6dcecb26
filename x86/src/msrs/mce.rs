//! The machine-check registers (SDM vol. 3B, chapter 16; KVM API 4.105, "KVM_X86_SETUP_MCE").

use super::{By, Msr};
use crate::Cpu;

/// The most banks (`KVM_MAX_MCE_BANKS`).
const BANKS: usize = 32;
/// MCG_CAP: there is IA32_MCG_CTL.
const CTL_P: u64 = 1 << 8;
/// MCG_CAP: there are IA32_MCi_CTL2.
const CMCI_P: u64 = 1 << 10;
/// MCG_CAP: errors can be recovered from by software.
const SER_P: u64 = 1 << 24;
/// HWCR: IA32_MCi_STATUS can be written.
const STATUS_WRITABLE: u64 = 1 << 18;

/// `KVM_X86_GET_MCE_CAP_SUPPORTED`.
pub const SUPPORTED: u64 = CTL_P | SER_P;

/// The registers.
#[derive(Clone, Copy, Debug)]
pub struct Mce {
    cap: u64,
    status: u64,
    ctl: u64,
    /// CTL, STATUS, ADDR and MISC of each.
    banks: [u64; 4 * BANKS],
    ctl2: [u64; BANKS],
}

impl Default for Mce {
    fn default() -> Mce {
        Mce {
            cap: BANKS as u64,
            status: 0,
            ctl: 0,
            banks: [0; 4 * BANKS],
            ctl2: [0; BANKS],
        }
    }
}

/// `KVM_X86_SETUP_MCE`; false for `EINVAL`.
#[must_use]
pub fn setup(cpu: &mut Cpu, cap: u64) -> bool {
    let banks = (cap & 0xff) as usize;
    if banks == 0 || banks > BANKS || cap & !(SUPPORTED | 0xff | 0xff_0000) != 0 {
        return false;
    }
    let mce = &mut cpu.state.msrs.mce;
    mce.cap = cap;
    if cap & CTL_P != 0 {
        mce.ctl = !0;
    }
    for bank in mce.banks.chunks_mut(4).take(banks) {
        bank[0] = !0;
    }
    true
}

fn bank(cpu: &Cpu, number: u32) -> Option<usize> {
    let at = (number - 0x400) as usize;
    (at < 4 * (cpu.state.msrs.mce.cap & 0xff) as usize).then_some(at % (4 * BANKS))
}

fn write_bank(cpu: &mut Cpu, number: u32, value: u64, by: By) -> Option<()> {
    let at = bank(cpu, number)?;
    let good = match at & 3 {
        // All or nothing, but for what kernels clear for errata of old processors.
        0 => value == 0 || value | 1 << 10 | 1 == !0,
        1 => value == 0 || by == By::Host || cpu.state.msrs.hwcr & STATUS_WRITABLE != 0,
        _ => true,
    };
    good.then_some(())?;
    cpu.state.msrs.mce.banks[at] = value;
    Some(())
}

fn ctl2(cpu: &Cpu, number: u32) -> Option<usize> {
    let at = (number - 0x280) as usize;
    (at < (cpu.state.msrs.mce.cap & 0xff) as usize).then_some(at % BANKS)
}

/// Whether a register that a bit of MCG_CAP announces can be accessed.
fn announced(cpu: &Cpu, bit: u64, by: By) -> bool {
    by == By::Host || cpu.state.msrs.mce.cap & bit != 0
}

/// The rows.
pub static TABLE: &[Msr] = &[
    Msr {
        number: 0,
        count: 2,
        name: "IA32_P5_MC_ADDR",
        listed: false,
        read: |_, _, _| Some(0),
        write: |_, _, _, _| None,
    },
    Msr {
        number: 0x179,
        count: 1,
        name: "IA32_MCG_CAP",
        listed: false,
        read: |cpu, _, _| Some(cpu.state.msrs.mce.cap),
        write: |_, _, _, _| None,
    },
    Msr {
        number: 0x17a,
        count: 1,
        name: "IA32_MCG_STATUS",
        listed: true,
        read: |cpu, _, _| Some(cpu.state.msrs.mce.status),
        write: |cpu, _, value, _| {
            cpu.state.msrs.mce.status = value;
            Some(())
        },
    },
    Msr {
        number: 0x17b,
        count: 1,
        name: "IA32_MCG_CTL",
        listed: true,
        read: |cpu, _, by| announced(cpu, CTL_P, by).then_some(cpu.state.msrs.mce.ctl),
        write: |cpu, _, value, by| {
            let there = cpu.state.msrs.mce.cap & CTL_P != 0;
            let good = matches!(value, 0 | u64::MAX);
            (good && (there || value == 0 && by == By::Host)).then_some(())?;
            cpu.state.msrs.mce.ctl = value;
            Some(())
        },
    },
    Msr {
        number: 0x280,
        count: BANKS as u32,
        name: "IA32_MC0_CTL2",
        listed: false,
        read: |cpu, number, by| {
            let at = ctl2(cpu, number)?;
            announced(cpu, CMCI_P, by).then_some(cpu.state.msrs.mce.ctl2[at])
        },
        write: |cpu, number, value, by| {
            // Nobody can announce them.
            ctl2(cpu, number)?;
            (value == 0 && by == By::Host).then_some(())
        },
    },
    Msr {
        number: 0x400,
        count: 4 * BANKS as u32,
        name: "IA32_MC0_CTL",
        listed: false,
        read: |cpu, number, _| {
            let at = bank(cpu, number)?;
            Some(cpu.state.msrs.mce.banks[at])
        },
        write: write_bank,
    },
];
