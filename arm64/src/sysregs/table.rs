//! THE table of system registers: one row a register.
//!
//! A register that has no row is UNDEFINED to the guest and `ENOENT` to user space. So are the
//! registers of features that no vCPU has yet: performance monitors, SVE, pointer authentication,
//! memory tagging, and the GIC's.

use super::encoding::Encoding;
use super::register::El0::{Allowed, If, ReadOnly};
use super::register::{El0, Read, Register, UNKNOWN, User, Write};
use super::special as s;
use super::storage::Reg;
use super::timers::{self as t, PHYSICAL as P, VIRTUAL as V};
use super::traps::Accesses;
use super::{guest_id, user};
use crate::debug::os_lock;
use crate::regs;

/// Where CLIDR_EL1 is.
pub const CLIDR_EL1: Encoding = Encoding::new(3, 1, 0, 0, 1);

const TVM: Accesses = Accesses::TVM;
const TDA: Accesses = Accesses::TDA;
const TDOSA: Accesses = Accesses::TDOSA;

type Op = [u16; 5];

/// DBGBVR<N>_EL1 and DBGBCR<N>_EL1.
const fn breakpoint<const N: u64>(name: &'static str, op: Op, reg: Reg) -> Register {
    let register = Register::stored(name, op, reg, 0)
        .trap(TDA)
        .then(s::breakpoints_changed);
    register.present(s::has_breakpoint::<N>)
}

/// DBGWVR<N>_EL1 and DBGWCR<N>_EL1.
const fn watchpoint<const N: u64>(name: &'static str, op: Op, reg: Reg) -> Register {
    let register = Register::stored(name, op, reg, 0)
        .trap(TDA)
        .then(s::breakpoints_changed);
    register.present(s::has_watchpoint::<N>)
}

/// Registers that control translation.
const fn translation(name: &'static str, op: Op, reg: Reg, reset: u64) -> Register {
    Register::stored(name, op, reg, reset)
        .trap_write(TVM)
        .then(s::translation_changed)
}

/// Keys of pointer authentication, which only a VM has that has asked for it.
const fn key(name: &'static str, op: Op, reg: Reg) -> Register {
    Register::stored(name, op, reg, UNKNOWN)
        .present(s::has_pauth)
        .user(User::If(reg, s::has_pauth))
}

/// Registers that hold the base of translation tables.
const fn base(name: &'static str, op: Op, reg: Reg) -> Register {
    Register::stored(name, op, reg, UNKNOWN)
        .trap_write(TVM)
        .then(s::bases_changed)
}

/// The rows, by encoding.
#[rustfmt::skip]
pub static REGISTERS: &[Register] = {
    use Register as R;
    use Reg::*;
    &[
    // op0 2: debug registers. DBGBVR<n>, DBGBCR<n>, DBGWVR<n> and DBGWCR<n> are (2,0,0,n,4 to 7).
    // User space has all 16 of each, the guest those of the host CPU, however many the VM's ID
    // registers tell of: KVM cannot trap the others apart.
    breakpoint::<0>("DBGBVR0_EL1", [2,0,0,0,4], DBGBVR0_EL1),
    breakpoint::<0>("DBGBCR0_EL1", [2,0,0,0,5], DBGBCR0_EL1).written(s::write_bcr::<0>),
    watchpoint::<0>("DBGWVR0_EL1", [2,0,0,0,6], DBGWVR0_EL1),
    watchpoint::<0>("DBGWCR0_EL1", [2,0,0,0,7], DBGWCR0_EL1),
    breakpoint::<1>("DBGBVR1_EL1", [2,0,0,1,4], DBGBVR1_EL1),
    breakpoint::<1>("DBGBCR1_EL1", [2,0,0,1,5], DBGBCR1_EL1).written(s::write_bcr::<1>),
    watchpoint::<1>("DBGWVR1_EL1", [2,0,0,1,6], DBGWVR1_EL1),
    watchpoint::<1>("DBGWCR1_EL1", [2,0,0,1,7], DBGWCR1_EL1),
    R::stored("MDCCINT_EL1",   [2,0,0, 2,0], MDCCINT_EL1, 0).trap(TDA),
    R::stored("MDSCR_EL1",     [2,0,0, 2,2], MDSCR_EL1, 0).trap(TDA).then(s::breakpoints_changed),
    breakpoint::<2>("DBGBVR2_EL1", [2,0,0,2,4], DBGBVR2_EL1),
    breakpoint::<2>("DBGBCR2_EL1", [2,0,0,2,5], DBGBCR2_EL1).written(s::write_bcr::<2>),
    watchpoint::<2>("DBGWVR2_EL1", [2,0,0,2,6], DBGWVR2_EL1),
    watchpoint::<2>("DBGWCR2_EL1", [2,0,0,2,7], DBGWCR2_EL1),
    breakpoint::<3>("DBGBVR3_EL1", [2,0,0,3,4], DBGBVR3_EL1),
    breakpoint::<3>("DBGBCR3_EL1", [2,0,0,3,5], DBGBCR3_EL1).written(s::write_bcr::<3>),
    watchpoint::<3>("DBGWVR3_EL1", [2,0,0,3,6], DBGWVR3_EL1),
    watchpoint::<3>("DBGWCR3_EL1", [2,0,0,3,7], DBGWCR3_EL1),
    breakpoint::<4>("DBGBVR4_EL1", [2,0,0,4,4], DBGBVR4_EL1),
    breakpoint::<4>("DBGBCR4_EL1", [2,0,0,4,5], DBGBCR4_EL1).written(s::write_bcr::<4>),
    watchpoint::<4>("DBGWVR4_EL1", [2,0,0,4,6], DBGWVR4_EL1),
    watchpoint::<4>("DBGWCR4_EL1", [2,0,0,4,7], DBGWCR4_EL1),
    breakpoint::<5>("DBGBVR5_EL1", [2,0,0,5,4], DBGBVR5_EL1),
    breakpoint::<5>("DBGBCR5_EL1", [2,0,0,5,5], DBGBCR5_EL1).written(s::write_bcr::<5>),
    watchpoint::<5>("DBGWVR5_EL1", [2,0,0,5,6], DBGWVR5_EL1),
    watchpoint::<5>("DBGWCR5_EL1", [2,0,0,5,7], DBGWCR5_EL1),
    breakpoint::<6>("DBGBVR6_EL1", [2,0,0,6,4], DBGBVR6_EL1),
    breakpoint::<6>("DBGBCR6_EL1", [2,0,0,6,5], DBGBCR6_EL1).written(s::write_bcr::<6>),
    watchpoint::<6>("DBGWVR6_EL1", [2,0,0,6,6], DBGWVR6_EL1),
    watchpoint::<6>("DBGWCR6_EL1", [2,0,0,6,7], DBGWCR6_EL1),
    breakpoint::<7>("DBGBVR7_EL1", [2,0,0,7,4], DBGBVR7_EL1),
    breakpoint::<7>("DBGBCR7_EL1", [2,0,0,7,5], DBGBCR7_EL1).written(s::write_bcr::<7>),
    watchpoint::<7>("DBGWVR7_EL1", [2,0,0,7,6], DBGWVR7_EL1),
    watchpoint::<7>("DBGWCR7_EL1", [2,0,0,7,7], DBGWCR7_EL1),
    breakpoint::<8>("DBGBVR8_EL1", [2,0,0,8,4], DBGBVR8_EL1),
    breakpoint::<8>("DBGBCR8_EL1", [2,0,0,8,5], DBGBCR8_EL1).written(s::write_bcr::<8>),
    watchpoint::<8>("DBGWVR8_EL1", [2,0,0,8,6], DBGWVR8_EL1),
    watchpoint::<8>("DBGWCR8_EL1", [2,0,0,8,7], DBGWCR8_EL1),
    breakpoint::<9>("DBGBVR9_EL1", [2,0,0,9,4], DBGBVR9_EL1),
    breakpoint::<9>("DBGBCR9_EL1", [2,0,0,9,5], DBGBCR9_EL1).written(s::write_bcr::<9>),
    watchpoint::<9>("DBGWVR9_EL1", [2,0,0,9,6], DBGWVR9_EL1),
    watchpoint::<9>("DBGWCR9_EL1", [2,0,0,9,7], DBGWCR9_EL1),
    breakpoint::<10>("DBGBVR10_EL1", [2,0,0,10,4], DBGBVR10_EL1),
    breakpoint::<10>("DBGBCR10_EL1", [2,0,0,10,5], DBGBCR10_EL1).written(s::write_bcr::<10>),
    watchpoint::<10>("DBGWVR10_EL1", [2,0,0,10,6], DBGWVR10_EL1),
    watchpoint::<10>("DBGWCR10_EL1", [2,0,0,10,7], DBGWCR10_EL1),
    breakpoint::<11>("DBGBVR11_EL1", [2,0,0,11,4], DBGBVR11_EL1),
    breakpoint::<11>("DBGBCR11_EL1", [2,0,0,11,5], DBGBCR11_EL1).written(s::write_bcr::<11>),
    watchpoint::<11>("DBGWVR11_EL1", [2,0,0,11,6], DBGWVR11_EL1),
    watchpoint::<11>("DBGWCR11_EL1", [2,0,0,11,7], DBGWCR11_EL1),
    breakpoint::<12>("DBGBVR12_EL1", [2,0,0,12,4], DBGBVR12_EL1),
    breakpoint::<12>("DBGBCR12_EL1", [2,0,0,12,5], DBGBCR12_EL1).written(s::write_bcr::<12>),
    watchpoint::<12>("DBGWVR12_EL1", [2,0,0,12,6], DBGWVR12_EL1),
    watchpoint::<12>("DBGWCR12_EL1", [2,0,0,12,7], DBGWCR12_EL1),
    breakpoint::<13>("DBGBVR13_EL1", [2,0,0,13,4], DBGBVR13_EL1),
    breakpoint::<13>("DBGBCR13_EL1", [2,0,0,13,5], DBGBCR13_EL1).written(s::write_bcr::<13>),
    watchpoint::<13>("DBGWVR13_EL1", [2,0,0,13,6], DBGWVR13_EL1),
    watchpoint::<13>("DBGWCR13_EL1", [2,0,0,13,7], DBGWCR13_EL1),
    breakpoint::<14>("DBGBVR14_EL1", [2,0,0,14,4], DBGBVR14_EL1),
    breakpoint::<14>("DBGBCR14_EL1", [2,0,0,14,5], DBGBCR14_EL1).written(s::write_bcr::<14>),
    watchpoint::<14>("DBGWVR14_EL1", [2,0,0,14,6], DBGWVR14_EL1),
    watchpoint::<14>("DBGWCR14_EL1", [2,0,0,14,7], DBGWCR14_EL1),
    breakpoint::<15>("DBGBVR15_EL1", [2,0,0,15,4], DBGBVR15_EL1),
    breakpoint::<15>("DBGBCR15_EL1", [2,0,0,15,5], DBGBCR15_EL1).written(s::write_bcr::<15>),
    watchpoint::<15>("DBGWVR15_EL1", [2,0,0,15,6], DBGWVR15_EL1),
    watchpoint::<15>("DBGWCR15_EL1", [2,0,0,15,7], DBGWCR15_EL1),
    R::raz_wi("MDRAR_EL1",     [2,0,1, 0,0]).trap(Accesses::TDRA),
    R::writes("OSLAR_EL1",     [2,0,1, 0,4], s::write_oslar).trap(TDOSA),
    R::stored("OSLSR_EL1",     [2,0,1, 1,4], OSLSR_EL1, os_lock::UNLOCKED).trap(TDOSA)
        .write(Write::Undefined).reset(s::reset_oslsr)
        .user(User::Checked(OSLSR_EL1, user::check_oslsr, s::breakpoints_changed)),
    R::raz_wi("OSDLR_EL1",     [2,0,1, 3,4]).trap(TDOSA),
    R::raz_wi("DBGPRCR_EL1",   [2,0,1, 4,4]).trap(TDOSA),
    R::raz_wi("DBGCLAIMSET_EL1", [2,0,7, 8,6]).trap(TDA),
    R::raz_wi("DBGCLAIMCLR_EL1", [2,0,7, 9,6]).trap(TDA),
    R::raz_wi("DBGAUTHSTATUS_EL1", [2,0,7,14,6]).trap(TDA).read(Read::Constant(s::DBGAUTHSTATUS)),
    R::raz_wi("MDCCSR_EL0",    [2,3,0, 1,0]).trap(TDA).el0(If(s::el0_dcc)),
    R::raz_wi("DBGDTR_EL0",    [2,3,0, 4,0]).trap(TDA).el0(If(s::el0_dcc)),
    R::raz_wi("DBGDTRTX_EL0",  [2,3,0, 5,0]).trap(TDA).el0(If(s::el0_dcc)),
    R::kept("DBGVCR32_EL2",    [2,4,0, 7,0], DBGVCR32_EL2, 0),

    // op0 3, op1 0: identification.
    R::invariant("MIDR_EL1",   [3,0,0, 0,0], guest_id::midr, guest_id::user_midr),
    R::reads("MPIDR_EL1",      [3,0,0, 0,5], guest_id::mpidr)
        .user(User::By(guest_id::user_mpidr, guest_id::set_mpidr)),
    R::invariant("REVIDR_EL1", [3,0,0, 0,6], guest_id::revidr, guest_id::user_revidr)
        .trap(Accesses::TID1),
    R::id("ID_PFR0_EL1",       [3,0,0, 1,0]),
    R::id("ID_PFR1_EL1",       [3,0,0, 1,1]),
    R::id("ID_DFR0_EL1",       [3,0,0, 1,2]),
    R::id("ID_AFR0_EL1",       [3,0,0, 1,3]),
    R::id("ID_MMFR0_EL1",      [3,0,0, 1,4]),
    R::id("ID_MMFR1_EL1",      [3,0,0, 1,5]),
    R::id("ID_MMFR2_EL1",      [3,0,0, 1,6]),
    R::id("ID_MMFR3_EL1",      [3,0,0, 1,7]),
    R::id("ID_ISAR0_EL1",      [3,0,0, 2,0]),
    R::id("ID_ISAR1_EL1",      [3,0,0, 2,1]),
    R::id("ID_ISAR2_EL1",      [3,0,0, 2,2]),
    R::id("ID_ISAR3_EL1",      [3,0,0, 2,3]),
    R::id("ID_ISAR4_EL1",      [3,0,0, 2,4]),
    R::id("ID_ISAR5_EL1",      [3,0,0, 2,5]),
    R::id("ID_MMFR4_EL1",      [3,0,0, 2,6]),
    R::id("ID_ISAR6_EL1",      [3,0,0, 2,7]),
    R::id("MVFR0_EL1",         [3,0,0, 3,0]),
    R::id("MVFR1_EL1",         [3,0,0, 3,1]),
    R::id("MVFR2_EL1",         [3,0,0, 3,2]),
    R::id("S3_0_C0_C3_3",      [3,0,0, 3,3]),
    R::id("ID_PFR2_EL1",       [3,0,0, 3,4]),
    R::id("ID_DFR1_EL1",       [3,0,0, 3,5]),
    R::id("ID_MMFR5_EL1",      [3,0,0, 3,6]),
    R::id("S3_0_C0_C3_7",      [3,0,0, 3,7]),
    R::id("ID_AA64PFR0_EL1",   [3,0,0, 4,0]),
    R::id("ID_AA64PFR1_EL1",   [3,0,0, 4,1]),
    R::id("ID_AA64PFR2_EL1",   [3,0,0, 4,2]),
    R::id("S3_0_C0_C4_3",      [3,0,0, 4,3]),
    R::id("ID_AA64ZFR0_EL1",   [3,0,0, 4,4]),
    R::id("ID_AA64SMFR0_EL1",  [3,0,0, 4,5]),
    R::id("S3_0_C0_C4_6",      [3,0,0, 4,6]),
    R::id("ID_AA64FPFR0_EL1",  [3,0,0, 4,7]),
    R::id("ID_AA64DFR0_EL1",   [3,0,0, 5,0]),
    R::id("ID_AA64DFR1_EL1",   [3,0,0, 5,1]),
    R::id("S3_0_C0_C5_2",      [3,0,0, 5,2]),
    R::id("S3_0_C0_C5_3",      [3,0,0, 5,3]),
    R::id("ID_AA64AFR0_EL1",   [3,0,0, 5,4]),
    R::id("ID_AA64AFR1_EL1",   [3,0,0, 5,5]),
    R::id("S3_0_C0_C5_6",      [3,0,0, 5,6]),
    R::id("S3_0_C0_C5_7",      [3,0,0, 5,7]),
    R::id("ID_AA64ISAR0_EL1",  [3,0,0, 6,0]),
    R::id("ID_AA64ISAR1_EL1",  [3,0,0, 6,1]),
    R::id("ID_AA64ISAR2_EL1",  [3,0,0, 6,2]),
    R::id("ID_AA64ISAR3_EL1",  [3,0,0, 6,3]),
    R::id("S3_0_C0_C6_4",      [3,0,0, 6,4]),
    R::id("S3_0_C0_C6_5",      [3,0,0, 6,5]),
    R::id("S3_0_C0_C6_6",      [3,0,0, 6,6]),
    R::id("S3_0_C0_C6_7",      [3,0,0, 6,7]),
    R::id("ID_AA64MMFR0_EL1",  [3,0,0, 7,0]),
    R::id("ID_AA64MMFR1_EL1",  [3,0,0, 7,1]),
    R::id("ID_AA64MMFR2_EL1",  [3,0,0, 7,2]),
    R::id("ID_AA64MMFR3_EL1",  [3,0,0, 7,3]),
    R::id("ID_AA64MMFR4_EL1",  [3,0,0, 7,4]),
    R::id("S3_0_C0_C7_5",      [3,0,0, 7,5]),
    R::id("S3_0_C0_C7_6",      [3,0,0, 7,6]),
    R::id("S3_0_C0_C7_7",      [3,0,0, 7,7]),

    // EL1's own.
    translation("SCTLR_EL1",   [3,0,1, 0,0], SCTLR_EL1, 0).reset(guest_id::reset_sctlr),
    R::stored("ACTLR_EL1",     [3,0,1, 0,1], ACTLR_EL1, 0).trap(Accesses::TACR)
        .write(Write::Ignored),
    R::stored("CPACR_EL1",     [3,0,1, 0,2], CPACR_EL1, 0).then(s::mode_changed),
    base("TTBR0_EL1",          [3,0,2, 0,0], TTBR0_EL1),
    base("TTBR1_EL1",          [3,0,2, 0,1], TTBR1_EL1),
    translation("TCR_EL1",     [3,0,2, 0,2], TCR_EL1, 0),
    R::stored("TCR2_EL1",      [3,0,2, 0,3], TCR2_EL1, 0).trap(Accesses::TCR2),
    key("APIAKEYLO_EL1", [3,0,2, 1,0], APIAKEYLO_EL1),
    key("APIAKEYHI_EL1", [3,0,2, 1,1], APIAKEYHI_EL1),
    key("APIBKEYLO_EL1", [3,0,2, 1,2], APIBKEYLO_EL1),
    key("APIBKEYHI_EL1", [3,0,2, 1,3], APIBKEYHI_EL1),
    key("APDAKEYLO_EL1", [3,0,2, 2,0], APDAKEYLO_EL1),
    key("APDAKEYHI_EL1", [3,0,2, 2,1], APDAKEYHI_EL1),
    key("APDBKEYLO_EL1", [3,0,2, 2,2], APDBKEYLO_EL1),
    key("APDBKEYHI_EL1", [3,0,2, 2,3], APDBKEYHI_EL1),
    key("APGAKEYLO_EL1", [3,0,2, 3,0], APGAKEYLO_EL1),
    key("APGAKEYHI_EL1", [3,0,2, 3,1], APGAKEYHI_EL1),
    R::stored("SPSR_EL1",      [3,0,4, 0,0], SPSR_EL1, 0).hidden(),
    R::stored("ELR_EL1",       [3,0,4, 0,1], ELR_EL1, 0).hidden(),
    R::reads("SP_EL0",         [3,0,4, 1,0], s::read_sp_el0).written(s::write_sp_el0),
    R::reads("SPSel",          [3,0,4, 2,0], s::read_spsel).written(s::write_spsel),
    R::reads("CurrentEL",      [3,0,4, 2,2], s::read_current_el),
    R::reads("PAN",            [3,0,4, 2,3], s::read_pan).written(s::write_pan),
    R::reads("UAO",            [3,0,4, 2,4], s::read_uao).written(s::write_uao),
    // The processor has no auxiliary fault status: the registers are RES0.
    R::stored("AFSR0_EL1",     [3,0,5, 1,0], AFSR0_EL1, UNKNOWN).trap_write(TVM)
        .read(Read::Constant(0)).write(Write::Ignored),
    R::stored("AFSR1_EL1",     [3,0,5, 1,1], AFSR1_EL1, UNKNOWN).trap_write(TVM)
        .read(Read::Constant(0)).write(Write::Ignored),
    R::stored("ESR_EL1",       [3,0,5, 2,0], ESR_EL1, UNKNOWN).trap_write(TVM),
    // No error records: KVM has them read as zero.
    R::raz_wi("ERRIDR_EL1",    [3,0,5, 3,0]).trap(Accesses::TERR),
    R::raz_wi("ERRSELR_EL1",   [3,0,5, 3,1]).trap(Accesses::TERR),
    R::raz_wi("ERXFR_EL1",     [3,0,5, 4,0]).trap(Accesses::TERR),
    R::raz_wi("ERXCTLR_EL1",   [3,0,5, 4,1]).trap(Accesses::TERR),
    R::raz_wi("ERXSTATUS_EL1", [3,0,5, 4,2]).trap(Accesses::TERR),
    R::raz_wi("ERXADDR_EL1",   [3,0,5, 4,3]).trap(Accesses::TERR),
    R::raz_wi("ERXMISC0_EL1",  [3,0,5, 5,0]).trap(Accesses::TERR),
    R::raz_wi("ERXMISC1_EL1",  [3,0,5, 5,1]).trap(Accesses::TERR),
    R::stored("FAR_EL1",       [3,0,6, 0,0], FAR_EL1, UNKNOWN).trap_write(TVM),
    R::stored("PAR_EL1",       [3,0,7, 4,0], PAR_EL1, UNKNOWN),
    translation("MAIR_EL1",    [3,0,10,2,0], MAIR_EL1, UNKNOWN),
    R::stored("PIRE0_EL1",     [3,0,10,2,2], PIRE0_EL1, UNKNOWN).trap(Accesses::PIR),
    R::stored("PIR_EL1",       [3,0,10,2,3], PIR_EL1, UNKNOWN).trap(Accesses::PIR),
    R::stored("AMAIR_EL1",     [3,0,10,3,0], AMAIR_EL1, 0).trap_write(TVM),
    R::raz_wi("LORSA_EL1",     [3,0,10,4,0]).trap(Accesses::TLOR),
    R::raz_wi("LOREA_EL1",     [3,0,10,4,1]).trap(Accesses::TLOR),
    R::raz_wi("LORN_EL1",      [3,0,10,4,2]).trap(Accesses::TLOR),
    R::raz_wi("LORC_EL1",      [3,0,10,4,3]).trap(Accesses::TLOR),
    R::raz_wi("LORID_EL1",     [3,0,10,4,7]).trap(Accesses::TLOR).write(Write::Undefined),
    R::stored("VBAR_EL1",      [3,0,12,0,0], VBAR_EL1, 0),
    R::reads("ISR_EL1",        [3,0,12,1,0], s::read_isr),
    R::stored("DISR_EL1",      [3,0,12,1,1], DISR_EL1, 0),
    // The one register of the GIC that a VM without one has: it says that there are others.
    R::raz_wi("ICC_SRE_EL1",   [3,0,12,12,5]).read(Read::Constant(s::ICC_SRE)),
    R::stored("CONTEXTIDR_EL1", [3,0,13,0,1], CONTEXTIDR_EL1, 0).trap_write(TVM),
    R::slot("TPIDR_EL1",       [3,0,13,0,4], regs::TPIDR_EL1),
    R::stored("CNTKCTL_EL1",   [3,0,14,1,0], CNTKCTL_EL1, 0),

    // op1 1 and 2: caches.
    R::reads("CCSIDR_EL1",     [3,1,0, 0,0], guest_id::read_ccsidr).trap(Accesses::TID2),
    R::stored("CLIDR_EL1",     [3,1,0, 0,1], CLIDR_EL1, 0).trap(Accesses::TID2)
        .write(Write::Undefined).reset_once(guest_id::reset_clidr)
        .user(User::Checked(CLIDR_EL1, user::check_clidr, s::nothing)),
    R::invariant("AIDR_EL1",   [3,1,0, 0,7], guest_id::aidr, guest_id::user_aidr)
        .trap(Accesses::TID1),
    R::stored("CSSELR_EL1",    [3,2,0, 0,0], CSSELR_EL1, UNKNOWN).trap(Accesses::TID2),

    // op1 3: what EL0 may see.
    R::id("CTR_EL0",           [3,3,0, 0,1]).trap(Accesses::TID2).el0(If(s::el0_ctr)),
    R::reads("DCZID_EL0",      [3,3,0, 0,7], guest_id::read_dczid).el0(Allowed),
    R::reads("RNDR",           [3,3,2, 4,0], s::read_random).el0(Allowed),
    R::reads("RNDRRS",         [3,3,2, 4,1], s::read_random).el0(Allowed),
    R::reads("NZCV",           [3,3,4, 2,0], s::read_nzcv).written(s::write_nzcv).el0(Allowed),
    R::reads("DAIF",           [3,3,4, 2,1], s::read_daif).written(s::write_daif)
        .el0(If(s::el0_masks_interrupts)),
    R::reads("DIT",            [3,3,4, 2,5], s::read_dit).written(s::write_dit).el0(Allowed),
    R::reads("SSBS",           [3,3,4, 2,6], s::read_ssbs).written(s::write_ssbs).el0(Allowed),
    R::reads("FPCR",           [3,3,4, 4,0], s::read_fpcr).written(s::write_fpcr).el0(Allowed),
    R::reads("FPSR",           [3,3,4, 4,1], s::read_fpsr).written(s::write_fpsr).el0(Allowed),
    R::slot("TPIDR_EL0",       [3,3,13,0,2], regs::TPIDR_EL0).el0(Allowed),
    R::slot("TPIDRRO_EL0",     [3,3,13,0,3], regs::TPIDRRO_EL0).el0(ReadOnly),

    // The generic timer. User space has its registers by ids of their own (user.rs).
    R::reads("CNTFRQ_EL0",     [3,3,14,0,0], t::frequency).el0(If(t::el0_frequency)),
    R::reads("CNTPCT_EL0",     [3,3,14,0,1], t::count::<P>).el0(If(t::el0_count::<P>)),
    R::reads("CNTVCT_EL0",     [3,3,14,0,2], t::count::<V>).el0(If(t::el0_count::<V>)),
    // Self-synchronized (FEAT_ECV): as every read of a counter is here.
    R::reads("CNTPCTSS_EL0",   [3,3,14,0,5], t::count::<P>).el0(If(t::el0_count::<P>)),
    R::reads("CNTVCTSS_EL0",   [3,3,14,0,6], t::count::<V>).el0(If(t::el0_count::<V>)),
    R::reads("CNTP_TVAL_EL0",  [3,3,14,2,0], t::tval::<P>).written(t::set_tval::<P>)
        .el0(If(t::el0_timer::<P>)),
    R::reads("CNTP_CTL_EL0",   [3,3,14,2,1], t::ctl::<P>).written(t::set_ctl::<P>)
        .el0(If(t::el0_timer::<P>)),
    R::reads("CNTP_CVAL_EL0",  [3,3,14,2,2], t::cval::<P>).written(t::set_cval::<P>)
        .el0(If(t::el0_timer::<P>)),
    R::reads("CNTV_TVAL_EL0",  [3,3,14,3,0], t::tval::<V>).written(t::set_tval::<V>)
        .el0(If(t::el0_timer::<V>)),
    R::reads("CNTV_CTL_EL0",   [3,3,14,3,1], t::ctl::<V>).written(t::set_ctl::<V>)
        .el0(If(t::el0_timer::<V>)),
    R::reads("CNTV_CVAL_EL0",  [3,3,14,3,2], t::cval::<V>).written(t::set_cval::<V>)
        .el0(If(t::el0_timer::<V>)),

    // op1 4: registers of EL2 that hold an AArch32 guest's; AArch64 ones cannot reach them.
    R::kept("DACR32_EL2",      [3,4,3, 0,0], DACR32_EL2, UNKNOWN),
    R::kept("IFSR32_EL2",      [3,4,5, 0,1], IFSR32_EL2, UNKNOWN),
    R::kept("FPEXC32_EL2",     [3,4,5, 3,0], FPEXC32_EL2, 0x700),
    ]
};

/// No row.
const NONE: u16 = u16::MAX;

/// The row of each encoding with op0 2 or 3.
static ROWS: [u16; 1 << 15] = {
    let mut rows = [NONE; 1 << 15];
    let mut i = 0;
    while i < REGISTERS.len() {
        let bits = REGISTERS[i].encoding.bits();
        assert!(bits >> 15 == 1, "op0 is 2 or 3");
        assert!(
            i == 0 || REGISTERS[i - 1].encoding.bits() < bits,
            "rows stand in the order of their encodings"
        );
        rows[bits as usize & 0x7fff] = i as u16;
        i += 1;
    }
    rows
};

/// The register with this encoding.
#[inline]
pub fn find(encoding: Encoding) -> Option<&'static Register> {
    let bits = encoding.bits() as usize;
    if bits >> 15 == 0 {
        return None;
    }
    REGISTERS.get(ROWS[bits & 0x7fff] as usize)
}

/// Whether EL0 can ever access the register.
pub fn open_to_el0(register: &Register) -> bool {
    !matches!(register.el0, El0::Undefined)
}
