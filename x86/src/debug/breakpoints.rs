//! Breakpoints: those of DR0 to DR3, or of user space, and what meets them (SDM vol. 3B, 18.2.4 to
//! 18.2.6 and 18.3.1; AMD APM vol. 2, 13.1.1).
//!
//! Only what instructions access counts: not the processor's own accesses to its tables, nor what the
//! delivery of an event pushes. I/O breakpoints are never met: KVM intercepts every port, and runs what
//! accesses them itself. For the same reason no data breakpoint is met by what KVM's emulator runs.

use super::guest::control;
use super::{Ran, take};
use crate::Cpu;
use crate::exceptions::Kind;
use crate::insn::{info, mode};
use crate::interrupts::Shadow;
use crate::regs::flag;
use understudy_engine::arch::AccessKind;
use understudy_engine::emit::{Mem, Stop};

/// What a breakpoint is for: DR7.R/Wn.
const EXECUTE: u64 = 0;
const WRITE: u64 = 1;
const IO: u64 = 2;

/// The breakpoints in force.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breakpoints {
    address: [u64; 4],
    /// DR7.
    pub(crate) dr7: u64,
    /// There are some on instructions.
    pub(crate) code: bool,
    /// There are some on data.
    data: bool,
}

/// One of them.
struct Breakpoint {
    /// As in DR6.
    bit: u64,
    what: u64,
    first: u64,
    last: u64,
}

impl Breakpoints {
    /// Those that are enabled.
    fn enabled(&self) -> impl Iterator<Item = Breakpoint> + '_ {
        (0..4usize).filter_map(|n| {
            let field = self.dr7 >> (16 + 4 * n) & 15;
            let bytes = [1, 2, 8, 4][field as usize >> 2];
            let first = self.address[n] & !(bytes - 1);
            let what = field & 3;
            let first = if what == EXECUTE {
                self.address[n]
            } else {
                first
            };
            (self.dr7 >> (2 * n) & 3 != 0).then_some(Breakpoint {
                bit: 1 << n,
                what,
                first,
                last: first.wrapping_add(bytes - 1),
            })
        })
    }

    /// Those of a kind that an access meets, as in DR6.
    fn met(&self, first: u64, bytes: u64, kind: impl Fn(u64) -> bool) -> u64 {
        let last = first.wrapping_add(bytes - 1);
        self.enabled()
            .filter(|b| kind(b.what) && b.first <= last && first <= b.last)
            .fold(0, |bits, b| bits | b.bit)
    }
}

/// Brings the breakpoints in force up to date: user space's own (DBG-3), or the guest's.
pub(crate) fn update(cpu: &mut Cpu) {
    let debug = &mut cpu.state.debug;
    let (address, dr7) = if debug.guest.has(control::USE_HW_BP) {
        let [a, b, c, d, .., dr7] = debug.guest.debugreg;
        ([a, b, c, d], dr7)
    } else {
        (debug.db, debug.dr7)
    };
    let before = debug.breakpoints;
    let new = Breakpoints {
        address,
        dr7,
        code: false,
        data: false,
    };
    let code = new.enabled().any(|b| b.what == EXECUTE);
    let data = new.enabled().any(|b| !matches!(b.what, EXECUTE | IO));
    let new = Breakpoints { code, data, ..new };
    debug.breakpoints = new;
    // Pages are marked anew.
    if before.code || before.data || new.code || new.data {
        cpu.flush_all();
    }
}

/// Whether instructions of the page at this address are run one at a time.
pub(crate) fn careful(cpu: &Cpu, address: u64) -> bool {
    let breakpoints = &cpu.state.debug.breakpoints;
    let page = address & !0xfff;
    breakpoints.code && breakpoints.met(page, 0x1000, |what| what == EXECUTE) != 0
}

/// Whether accesses of the page at this address are looked at.
pub(crate) fn watched(cpu: &Cpu, address: u64) -> bool {
    let breakpoints = &cpu.state.debug.breakpoints;
    let page = address & !0xfff;
    breakpoints.data && breakpoints.met(page, 0x1000, |what| !matches!(what, EXECUTE | IO)) != 0
}

/// Takes the instruction breakpoints on the instruction at [`Cpu::pc`]. RF and the load of SS keep
/// them away.
pub(crate) fn code(cpu: &mut Cpu) -> Result<(), Stop> {
    let breakpoints = &cpu.state.debug.breakpoints;
    if !breakpoints.code
        || cpu.state.rflags & flag::RF != 0
        || cpu.state.interrupts.shadow == Shadow::MovSs
    {
        return Ok(());
    }
    let bits = breakpoints.met(cpu.pc, 1, |what| what == EXECUTE);
    if bits == 0 {
        return Ok(());
    }
    // It is the one fault that pushes RF as it is: its handler decides (SDM vol. 3B, 18.3.1.1).
    Err(take(cpu, bits, Kind::Trap))
}

/// Notes the data breakpoints that an access meets, for the trap after its instruction, which is
/// begun again to be run by itself.
pub(crate) fn data(
    cpu: &mut Cpu,
    address: u64,
    bytes: u64,
    mem: Mem,
    kind: AccessKind,
) -> Result<(), Stop> {
    let breakpoints = &cpu.state.debug.breakpoints;
    if !breakpoints.data {
        return Ok(());
    }
    let address = if cpu.state.mode & mode::CODE64 == 0 {
        address & 0xffff_ffff
    } else {
        address
    };
    let writes = kind.writes() || mem.info & info::WRITES != 0;
    let bits = breakpoints.met(address, bytes, |what| match what {
        EXECUTE | IO => false,
        WRITE => writes,
        _ => true,
    });
    if bits != 0 {
        super::by_itself(cpu)?;
        if cpu.state.debug.ran != Ran::Emulator {
            cpu.state.debug.hits |= bits;
        }
    }
    Ok(())
}
