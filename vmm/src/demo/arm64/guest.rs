//! The demonstration's guest: a kernel of a few dozen instructions and two processes.
//!
//! ```text
//!  guest-physical                         virtual, the same in both address spaces
//!  0x4000_0000  vectors, kernel           identity-mapped, EL1 only
//!  0x4000_2000  the processes' code       0x10_0000, shared
//!  0x4000_3000  process 1's data          0x18_0000 in process 1
//!  0x4000_4000  process 2's data          0x18_0000 in process 2
//!  0x4001_0000  translation tables
//!  0x0900_0000  no memory: a store here is an MMIO exit, by which the guest speaks
//! ```
//!
//! The tables are VMSAv8-64 with the 4 KiB granule and 39-bit addresses (Arm ARM D8.3), so the walk
//! begins at level 1. An address space is a TTBR0_EL1 with its ASID, and CONTEXTIDR_EL1 names the
//! process as an operating system would have it.

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};

/// Guest-physical address of the memory.
pub const RAM: u64 = 0x4000_0000;
/// Bytes of memory.
pub const RAM_SIZE: usize = 2 << 20;
/// Where a store makes an MMIO exit.
pub const PORT: u64 = 0x0900_0000;
/// Virtual address of the processes' code.
pub const USER_CODE: u64 = 0x10_0000;
/// Virtual address of the watched variable.
pub const USER_DATA: u64 = 0x18_0000;
/// Where the processes' function begins on which the breakpoint is set.
pub const USER_FUNCTION: u64 = USER_CODE + 0x40;
/// Instructions that the last section's loop executes.
pub const LOOP_INSTRUCTIONS: u64 = 6 * LOOP_TURNS;
const LOOP_TURNS: u64 = 100_000_000;
/// How often each process runs.
pub const ROUNDS: u64 = 2;

const CODE_PAGE: u64 = 0x2000;
const DATA_PAGES: [u64; 2] = [0x3000, 0x4000];
const TABLES: u64 = 0x1_0000;

/// What the guest says at [`PORT`], by the offset of its store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// OSLSR_EL1 as the guest reads it.
    OsLockStatus,
    /// How many breakpoint exceptions the guest has taken so far, of its own breakpoint.
    Hits,
    /// The processes begin; a debugger may come in.
    Processes,
    /// The loop begins.
    LoopBegins,
    /// The loop has ended; the value is what it computed.
    LoopEnds,
}

impl Word {
    /// The word that a store to this guest-physical address is.
    pub fn from_address(address: u64) -> Option<Word> {
        Some(match address.checked_sub(PORT)? {
            0 => Word::OsLockStatus,
            8 => Word::Hits,
            16 => Word::Processes,
            24 => Word::LoopBegins,
            32 => Word::LoopEnds,
            _ => return None,
        })
    }
}

/// `MSR <register>, X<t>` with the register's op0, op1, CRn, CRm, op2 (Arm ARM C6.2, "MSR
/// (register)").
const fn msr(register: (u32, u32, u32, u32, u32), t: u32) -> u32 {
    let (op0, op1, crn, crm, op2) = register;
    0xd510_0000 | (op0 & 1) << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | t
}

/// `MRS X<t>, <register>`.
const fn mrs(t: u32, register: (u32, u32, u32, u32, u32)) -> u32 {
    msr(register, t) | 1 << 21
}

type Register = (u32, u32, u32, u32, u32);
const VBAR_EL1: Register = (3, 0, 12, 0, 0);
const MAIR_EL1: Register = (3, 0, 10, 2, 0);
const TCR_EL1: Register = (3, 0, 2, 0, 2);
const TTBR0_EL1: Register = (3, 0, 2, 0, 0);
const SCTLR_EL1: Register = (3, 0, 1, 0, 0);
const CONTEXTIDR_EL1: Register = (3, 0, 13, 0, 1);
const ELR_EL1: Register = (3, 0, 4, 0, 1);
const SPSR_EL1: Register = (3, 0, 4, 0, 0);
const OSLAR_EL1: Register = (2, 0, 1, 0, 4);
const OSLSR_EL1: Register = (2, 0, 1, 1, 4);
const MDSCR_EL1: Register = (2, 0, 0, 2, 2);
const DBGBVR0_EL1: Register = (2, 0, 0, 0, 4);
const DBGBCR0_EL1: Register = (2, 0, 0, 0, 5);

const ISB: u32 = 0xd503_3fdf;
/// `MSR DAIFClr, #8`: debug exceptions are no longer masked.
const UNMASK_DEBUG: u32 = 0xd503_48ff;
const ERET: u32 = 0xd69f_03e0;

/// MDSCR_EL1.{MDE, KDE}: breakpoints and watchpoints, at EL1 too.
const MDE_KDE: u32 = 1 << 15 | 1 << 13;
/// DBGBCR<n>_EL1: enabled, for EL1, all four bytes (Arm ARM D23.3).
const BREAKPOINT_EL1: u32 = 0xf << 5 | 1 << 1 | 1;
/// MAIR_EL1: attribute 0 is Normal write-back memory, attribute 1 Device-nGnRE.
const MAIR: u32 = 0x04ff;
/// TCR_EL1: T0SZ 25, inner and outer write-back, inner shareable, no TTBR1 walks.
const TCR: u64 = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 25 << 16;

/// TTBR0_EL1 of a process: its level 1 table, and its number as ASID.
fn ttbr0(process: u64) -> u64 {
    (RAM + TABLES + process * 0x4000) | ((process + 1) << 48)
}

/// The guest's memory as it is before the first instruction, and the address of that one.
pub fn image() -> (Vec<u8>, u64) {
    let mut ram = vec![0; RAM_SIZE];
    let (kernel, start) = kernel();
    ram[..kernel.len()].copy_from_slice(&kernel);
    let user = user();
    ram[CODE_PAGE as usize..][..user.len()].copy_from_slice(&user);
    for (process, data) in DATA_PAGES.iter().enumerate() {
        tables(&mut ram, process as u64, *data);
    }
    (ram, start)
}

/// Descriptors (Arm ARM D8.3): valid table, page with the access flag, and block with it.
const TABLE: u64 = 0b11;
const PAGE: u64 = 1 << 10 | 0b11 << 8 | 0b11;
const BLOCK: u64 = 1 << 10 | 0b11 << 8 | 0b01;
const UXN: u64 = 1 << 54;
const PXN: u64 = 1 << 53;
const NOT_GLOBAL: u64 = 1 << 11;
const EL0: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const DEVICE: u64 = 1 << 2;

fn tables(ram: &mut [u8], process: u64, data: u64) {
    let level1 = TABLES + process * 0x4000;
    let (level2, level3) = (level1 + 0x1000, level1 + 0x2000);
    let mut set = |table: u64, index: u64, descriptor: u64| {
        ram[(table + index * 8) as usize..][..8].copy_from_slice(&descriptor.to_le_bytes());
    };
    set(level1, 0, (RAM + level2) | TABLE);
    set(level1, RAM >> 30, RAM | BLOCK | UXN);
    set(level2, 0, (RAM + level3) | TABLE);
    set(level2, PORT >> 21, PORT | BLOCK | UXN | PXN | DEVICE);
    set(
        level3,
        USER_CODE >> 12,
        (RAM + CODE_PAGE) | PAGE | NOT_GLOBAL | EL0 | READ_ONLY | PXN,
    );
    set(
        level3,
        USER_DATA >> 12,
        (RAM + data) | PAGE | NOT_GLOBAL | EL0 | PXN | UXN,
    );
}

/// The kernel, for [`RAM`]; and the address of its first instruction.
fn kernel() -> (Vec<u8>, u64) {
    let mut a = dynasmrt::VecAssembler::<dynasmrt::aarch64::Aarch64Relocation>::new(RAM as usize);
    // The vectors: 16 of 128 bytes. Only two are ever taken.
    dynasm!(a
        ; .arch aarch64
        ; .align 2048
    );
    for vector in 0..16 {
        dynasm!(a ; .arch aarch64 ; .align 128);
        match vector {
            4 => dynasm!(a ; .arch aarch64 ; b ->breakpoint),
            8 => dynasm!(a ; .arch aarch64 ; b ->yield_),
            _ => dynasm!(a ; .arch aarch64 ; b ->power_off),
        }
    }
    dynasm!(a ; .arch aarch64 ; .align 128);
    let start = RAM + a.offset().0 as u64;
    dynasm!(a
        ; .arch aarch64
        ; mov x29, PORT
        // The MMU on, in process 1's address space.
        ; mov x0, RAM
        ; .u32 msr(VBAR_EL1, 0)
        ; mov x0, MAIR as u64
        ; .u32 msr(MAIR_EL1, 0)
        ; ldr x0, ->tcr
        ; .u32 msr(TCR_EL1, 0)
        ; ldr x0, ->ttbr0_1
        ; .u32 msr(TTBR0_EL1, 0)
        ; .u32 ISB
        ; .u32 mrs(0, SCTLR_EL1)
        ; mov x1, 0x1005
        ; orr x0, x0, x1
        ; .u32 msr(SCTLR_EL1, 0)
        ; .u32 ISB

        // A breakpoint of the guest's own, with the OS Lock set and then clear.
        ; mov x20, 0
        ; adr x0, ->crossed
        ; .u32 msr(DBGBVR0_EL1, 0)
        ; mov x0, BREAKPOINT_EL1 as u64
        ; .u32 msr(DBGBCR0_EL1, 0)
        ; mov x0, MDE_KDE as u64
        ; .u32 msr(MDSCR_EL1, 0)
        ; mov x0, 1
        ; .u32 msr(OSLAR_EL1, 0)
        ; .u32 UNMASK_DEBUG
        ; .u32 ISB
        ; bl ->cross
        ; bl ->say
        ; mov x0, 0
        ; .u32 msr(OSLAR_EL1, 0)
        ; .u32 ISB
        ; bl ->cross
        ; bl ->say

        // The processes: x21 is the current one, 0 or 1; x22 and x23 are where each goes on;
        // x24 counts how often one has still to run.
        ; mov x0, 0
        ; .u32 msr(MDSCR_EL1, 0)
        ; .u32 msr(SPSR_EL1, 0)
        ; mov x21, 0
        ; mov x22, USER_CODE
        ; mov x23, USER_CODE
        ; mov x24, 2 * ROUNDS
        ; str xzr, [x29, 16]
        ; b ->resume

        ; ->yield_:
        ; .u32 mrs(22, ELR_EL1)
        ; mov x0, x22
        ; mov x22, x23
        ; mov x23, x0
        ; eor x21, x21, 1
        ; sub x24, x24, 1
        ; cbz x24, ->speed
        ; ->resume:
        ; ldr x0, ->ttbr0_1
        ; ldr x1, ->ttbr0_2
        ; cmp x21, 0
        ; csel x0, x0, x1, eq
        ; add x1, x21, 1
        ; .u32 msr(TTBR0_EL1, 0)
        ; .u32 msr(CONTEXTIDR_EL1, 1)
        ; .u32 ISB
        ; .u32 msr(ELR_EL1, 22)
        ; .u32 ERET

        // A loop that is worth compiling.
        ; ->speed:
        ; str xzr, [x29, 24]
        ; ldr x0, ->turns
        ; mov x1, 1
        ; mov x2, 0
        ; ->turn:
        ; eor x1, x1, x1, lsl 13
        ; eor x1, x1, x1, lsr 7
        ; eor x1, x1, x1, lsl 17
        ; add x2, x2, x1
        ; subs x0, x0, 1
        ; b.ne ->turn
        ; str x2, [x29, 32]
        ; ->power_off:
        ; movz w0, 0x8400, lsl 16
        ; movk w0, 0x0008
        ; hvc 0
        ; b ->power_off

        // The instruction with the breakpoint.
        ; ->cross:
        ; ->crossed:
        ; nop
        ; ret

        // OSLSR_EL1, and the number of breakpoint exceptions.
        ; ->say:
        ; .u32 mrs(0, OSLSR_EL1)
        ; str x0, [x29]
        ; str x20, [x29, 8]
        ; ret

        // The guest's handler of its breakpoint: counts, and takes the breakpoint away.
        ; ->breakpoint:
        ; add x20, x20, 1
        ; .u32 msr(DBGBCR0_EL1, 31)
        ; .u32 ISB
        ; .u32 ERET

        ; .align 8
        ; ->tcr:
        ; .u64 TCR
        ; ->ttbr0_1:
        ; .u64 ttbr0(0)
        ; ->ttbr0_2:
        ; .u64 ttbr0(1)
        ; ->turns:
        ; .u64 LOOP_TURNS
    );
    let code = a.finalize().expect("all labels of the kernel are defined");
    assert!(
        code.len() <= CODE_PAGE as usize,
        "the kernel fits below the processes' code"
    );
    (code, start)
}

/// What both processes run: they count in their own copy of the variable and yield.
fn user() -> Vec<u8> {
    let mut a =
        dynasmrt::VecAssembler::<dynasmrt::aarch64::Aarch64Relocation>::new(USER_CODE as usize);
    dynasm!(a
        ; .arch aarch64
        ; ->again:
        ; mov x0, USER_DATA
        ; bl ->count
        ; brk 0x2a
        ; svc 0
        ; b ->again
        ; .align 64
        ; ->count:
        ; ldr x1, [x0]
        ; add x1, x1, 1
        ; str x1, [x0]
        ; ret
    );
    let code = a
        .finalize()
        .expect("all labels of the processes are defined");
    debug_assert_eq!(USER_FUNCTION, USER_CODE + 0x40);
    code
}
