//! The machine-check registers (SDM vol. 3B, chapter 16; KVM API 4.105, "KVM_X86_SETUP_MCE",
//! and what follows it).

use super::{By, Msr};
use crate::exceptions::vector;
use crate::state::cr4;
use crate::{Cpu, events};

/// The most banks (`KVM_MAX_MCE_BANKS`).
const BANKS: usize = 32;
/// MCG_CAP: there is IA32_MCG_CTL.
const CTL_P: u64 = 1 << 8;
/// MCG_CAP: there are IA32_MCi_CTL2.
const CMCI_P: u64 = 1 << 10;
/// MCG_CAP: errors can be recovered from by software.
const SER_P: u64 = 1 << 24;
/// IA32_MCG_STATUS: a machine check is being handled.
const MCIP: u64 = 1 << 2;

/// Bits of IA32_MCi_STATUS (SDM vol. 3B, 16.3.2.2).
mod status {
    /// It is valid.
    pub(super) const VAL: u64 = 1 << 63;
    /// There was another.
    pub(super) const OVER: u64 = 1 << 62;
    /// It is uncorrected.
    pub(super) const UC: u64 = 1 << 61;
    /// The processor's context is corrupt.
    pub(super) const PCC: u64 = 1 << 57;
    /// It is signalled by #MC.
    pub(super) const S: u64 = 1 << 56;
    /// Software has to act.
    pub(super) const AR: u64 = 1 << 55;
}

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

/// An error that user space injects (`struct kvm_x86_mce`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// IA32_MCi_STATUS.
    pub status: u64,
    /// IA32_MCi_ADDR.
    pub addr: u64,
    /// IA32_MCi_MISC.
    pub misc: u64,
    /// IA32_MCG_STATUS.
    pub mcg_status: u64,
    /// The bank.
    pub bank: u8,
}

impl Error {
    /// Whether nothing has to be done about it: uncorrected, but neither signalled nor fatal (SDM vol. 3B,
    /// 16.6.3, "UCNA").
    fn needs_no_action(&self) -> bool {
        let fatal = status::PCC | status::S | status::AR;
        self.mcg_status == 0 && self.status & fatal == 0 && self.status & status::UC != 0
    }
}

/// `KVM_X86_SET_MCE` (KVM API 4.106): an error is logged, and an uncorrected one taken as #MC. False, with
/// nothing done, for `EINVAL`. Whoever has not been told of errors by all ones in IA32_MCG_CTL and
/// IA32_MCi_CTL does not get uncorrected ones; who cannot take #MC, or handles one, shuts down.
#[must_use]
pub fn inject(cpu: &mut Cpu, error: &Error) -> bool {
    let mce = &mut cpu.state.msrs.mce;
    let number = usize::from(error.bank);
    if number >= (mce.cap & 0xff) as usize || error.status & status::VAL == 0 {
        return false;
    }
    let announced = mce.cap & CTL_P == 0 || mce.ctl == !0;
    let Some([ctl, logged, addr, misc]) = mce.banks.as_chunks_mut().0.get_mut(number) else {
        return false;
    };
    // Nobody can ask for an interrupt of corrected errors (CMCI).
    if error.needs_no_action() {
        (*logged, *addr, *misc) = (error.status, error.addr, error.misc);
        mce.status = error.mcg_status;
        return true;
    }
    let uncorrected = error.status & status::UC != 0;
    if uncorrected && !(announced && *ctl == !0) {
        return true;
    }
    if uncorrected && (mce.status & MCIP != 0 || cpu.state.cr4 & cr4::MCE == 0) {
        events::queue_triple_fault(cpu);
        return true;
    }
    let full = *logged & status::VAL != 0;
    if !uncorrected && full && *logged & status::UC != 0 {
        // It stays, being worse.
        *logged |= status::OVER;
        return true;
    }
    let over = if full { status::OVER } else { 0 };
    (*logged, *addr, *misc) = (error.status | over, error.addr, error.misc);
    if uncorrected {
        mce.status = error.mcg_status;
        events::queue(cpu, vector::MC, None);
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
