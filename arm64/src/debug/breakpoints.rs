//! Breakpoints (Arm ARM D2.9): which of them matches an instruction, and which contexts and states
//! comparators of both kinds match.

use super::{BREAKPOINTS, CONTEXT_BREAKPOINTS, Comparator, Effective};
use crate::Cpu;
use crate::sysregs::Reg;

/// Bits of an address that are compared: 48:2. Those above are a sign extension or a tag.
const ADDRESS: u64 = (1 << 49) - 1;

/// DBGBCR.BT: what is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compares {
    /// The instruction's address; linked to a context in another breakpoint or not.
    Address { linked: bool },
    /// CONTEXTIDR_EL1; linked to from another comparator or not.
    Context { linked: bool },
    /// Nothing that there is: a reserved type, or one for EL2's contexts and VMIDs, which the
    /// guest's hypervisor does not let match.
    Nothing,
}

impl Comparator {
    fn compares(self, index: usize) -> Compares {
        let context_aware = index >= BREAKPOINTS - CONTEXT_BREAKPOINTS;
        let kind = self.field(20, 4);
        let linked = kind & 1 != 0;
        match kind >> 1 {
            0b000 => Compares::Address { linked },
            // Types 0b0110 and 0b0111 compare CONTEXTIDR_EL1 too, as there is no host at EL2.
            0b001 | 0b011 if context_aware => Compares::Context { linked },
            _ => Compares::Nothing,
        }
    }

    /// HMC, SSC and PxC, where they stand in DBGBCR and DBGWCR.
    fn state(self) -> (u64, u64, u64) {
        (self.field(13, 1), self.field(14, 2), self.field(1, 2))
    }

    /// Whether the comparator matches in Non-secure state at EL1, or at EL0 for accesses with its
    /// rights (AArch64.StateMatch, CheckValidStateMatch).
    fn matches_level(self, privileged: bool) -> bool {
        let (hmc, ssc, pxc) = self.state();
        let reserved = match (hmc, ssc, pxc) {
            // For AArch32 only.
            (0, 0..=2, 0) => true,
            // EL2 only, of which the guest's hypervisor takes none.
            // Those of Secure EL2, which this processor does not have.
            (0, 0b11, 0b00) | (1, 0b01, 0b00) => true,
            (_, 0b11, pxc) if pxc & 1 != 0 => true,
            // Not allocated.
            (0, 0b11, 0b10) | (1, 0b00, 0b00 | 0b10) | (1, 0b01, 0b10) | (1, 0b11, 0b10) => true,
            _ => false,
        };
        let secure_only = ssc == 0b10;
        !reserved && !secure_only && pxc & if privileged { 1 } else { 2 } != 0
    }
}

impl Effective {
    /// Whether breakpoint `number` exists, is enabled, is a linked one and matches the context.
    fn context_matches(&self, cpu: &Cpu, number: u64) -> bool {
        let index = number as usize;
        self.breakpoints.get(index).is_some_and(|b| {
            b.enabled()
                && b.compares(index) == Compares::Context { linked: true }
                && context_is(cpu, b.value)
        })
    }

    /// Whether the state that a comparator asks for holds: level, security, and the context that
    /// breakpoint `link` holds where it is `linked`.
    pub(super) fn state_matches(
        &self,
        cpu: &Cpu,
        comparator: Comparator,
        linked: bool,
        privileged: bool,
    ) -> bool {
        comparator.matches_level(privileged)
            && (!linked || self.context_matches(cpu, comparator.field(16, 4)))
    }

    /// Whether any breakpoint may match in the 4 KiB page of `address`.
    pub fn breakpoint_in_page(&self, address: u64) -> bool {
        self.any_breakpoint
            && self.breakpoints.iter().enumerate().any(|(index, b)| {
                b.enabled()
                    && match b.compares(index) {
                        Compares::Address { .. } => (b.value ^ address) & ADDRESS & !0xfff == 0,
                        Compares::Context { linked } => !linked,
                        Compares::Nothing => false,
                    }
            })
    }
}

fn context_is(cpu: &Cpu, value: u64) -> bool {
    cpu.state.sys[Reg::CONTEXTIDR_EL1] as u32 == value as u32
}

/// The breakpoint that matches the instruction at `address`, if any (AArch64.BreakpointMatch).
pub fn hit(cpu: &Cpu, address: u64) -> Option<usize> {
    let effective = &cpu.state.debug.effective;
    let privileged = cpu.state.el != 0;
    effective
        .breakpoints
        .iter()
        .enumerate()
        .position(|(index, b)| {
            if !b.enabled() {
                return false;
            }
            let (matches, linked) = match b.compares(index) {
                Compares::Address { linked } => {
                    // An A64 instruction is compared by its first byte.
                    let selected = b.field(5, 4) & 1 != 0;
                    (selected && (b.value ^ address) & ADDRESS & !3 == 0, linked)
                }
                Compares::Context { linked: false } => (context_is(cpu, b.value), false),
                Compares::Context { linked: true } | Compares::Nothing => (false, false),
            };
            matches && effective.state_matches(cpu, *b, linked, privileged)
        })
}
