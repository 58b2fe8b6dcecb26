use super::encoding::READ;
use super::id::fields;
use super::user::Error;
use super::*;
use crate::debug::{self, GuestDebug};
use crate::machine::{Machine, Proposals, Settings};
use crate::vcpu::Vcpu;
use std::sync::Arc;
use understudy_abi::arm64::VcpuFeatures;
use understudy_memory::{GuestMemory, Limits};

type Op = [u16; 5];
const OSLAR: Op = [2, 0, 1, 0, 4];
const OSLSR: Op = [2, 0, 1, 1, 4];
const SCTLR: Op = [3, 0, 1, 0, 0];
const MDSCR: Op = [2, 0, 0, 2, 2];

const UNDEFINED: u64 = 1 << 25;

fn machine(settings: Settings) -> Arc<Machine> {
    Machine::new(Arc::new(GuestMemory::new(Limits::arm64(40))), settings)
}

fn add(machine: &Arc<Machine>) -> Vcpu {
    let mut vcpu = Vcpu::new(machine, machine.vcpus.len() as u32);
    assert!(machine.fix_features(VcpuFeatures::PSCI_0_2));
    vcpu.init(VcpuFeatures::PSCI_0_2);
    vcpu
}

fn vcpu() -> Vcpu {
    add(&machine(Settings::default()))
}

fn encoding(op: Op) -> Encoding {
    Encoding::new(op[0], op[1], op[2], op[3], op[4])
}

fn word(op: Op, rt: u32) -> u32 {
    0xd500_0000 | u32::from(encoding(op).bits()) << 5 | rt
}

/// MRS X3.
fn mrs(vcpu: &mut Vcpu, op: Op) -> Result<u64, u64> {
    let result = read(vcpu.cpu_mut(), word(op, 3) | READ);
    result.map_err(|_| vcpu.cpu().state.sys[Reg::ESR_EL1])
}

/// MSR X3, or SYS.
fn msr(vcpu: &mut Vcpu, op: Op, value: u64) -> Result<(), u64> {
    let cpu = vcpu.cpu_mut();
    let result = match op[0] {
        1 => sys(cpu, word(op, 3), value),
        _ => write(cpu, word(op, 3), value),
    };
    result.map_err(|_| vcpu.cpu().state.sys[Reg::ESR_EL1])
}

fn get(vcpu: &Vcpu, op: Op) -> Result<u64, Error> {
    user::get(vcpu.cpu(), user::id_of(encoding(op)))
}

fn set(vcpu: &mut Vcpu, op: Op, value: u64) -> Result<(), Error> {
    user::set(vcpu.cpu_mut(), user::id_of(encoding(op)), value)
}

/// Goes to EL0, as ERET would.
fn to_el0(vcpu: &mut Vcpu) {
    crate::exceptions::set_pstate(vcpu.cpu_mut(), 0);
}

/// The syndrome of a trapped access: EC 0x18, Rt 3.
fn trapped(op: Op, reads: bool) -> u64 {
    let word = word(op, 3) | if reads { READ } else { 0 };
    0x18 << 26 | UNDEFINED | encoding::syndrome(word)
}

/// OSL-1, OSL-2, OSL-3.
#[test]
fn oslar_toggles_the_lock_and_nothing_else() {
    let mut vcpu = vcpu();
    assert_eq!(mrs(&mut vcpu, OSLSR), Ok(8));
    assert_eq!(msr(&mut vcpu, OSLAR, 1), Ok(()));
    assert_eq!(mrs(&mut vcpu, OSLSR), Ok(0xa));
    assert_eq!(msr(&mut vcpu, OSLAR, !1), Ok(()));
    assert_eq!(mrs(&mut vcpu, OSLSR), Ok(8));
    assert_eq!(msr(&mut vcpu, OSLAR, !0), Ok(()));
    assert_eq!(mrs(&mut vcpu, OSLSR), Ok(0xa));

    vcpu.cpu_mut().pc = 0x1234_5678;
    assert_eq!(mrs(&mut vcpu, OSLAR), Err(UNDEFINED));
    assert_eq!(vcpu.cpu().state.sys[Reg::ELR_EL1], 0x1234_5678);
    assert_eq!(msr(&mut vcpu, OSLSR, 8), Err(UNDEFINED));
    assert_eq!(mrs(&mut vcpu, OSLSR), Ok(0xa));
}

/// OSL-4 and D1: unlocked after each reset, or locked under the proposal.
#[test]
fn every_reset_resets_the_lock() {
    let mut upstream = vcpu();
    assert_eq!(msr(&mut upstream, OSLAR, 1), Ok(()));
    upstream.init(VcpuFeatures::PSCI_0_2);
    assert_eq!(get(&upstream, OSLSR), Ok(8));

    let mut exposed = add(&machine(Settings {
        proposals: Proposals::EXPOSED_DEBUG,
        ..Settings::default()
    }));
    assert_eq!(get(&exposed, OSLSR), Ok(0xa));
    assert_eq!(msr(&mut exposed, OSLAR, 0), Ok(()));
    exposed.init(VcpuFeatures::PSCI_0_2);
    assert_eq!(get(&exposed, OSLSR), Ok(0xa));
}

/// OSL-6, OSL-8.
#[test]
fn user_space_sets_the_lock_of_one_vcpu() {
    let machine = machine(Settings::default());
    let (mut one, two) = (add(&machine), add(&machine));
    for value in [0, 2, 9, 0xb, 0x18, 1 << 63, !0] {
        assert_eq!(set(&mut one, OSLSR, value), Err(Error::Inval), "{value:#x}");
        assert_eq!(get(&one, OSLSR), Ok(8));
    }
    one.first_run().unwrap();
    for value in [0xa, 8, 0xa] {
        assert_eq!(set(&mut one, OSLSR, value), Ok(()));
        assert_eq!(mrs(&mut one, OSLSR), Ok(value));
    }
    assert_eq!(get(&two, OSLSR), Ok(8));
}

/// OSL-22, DBG-25: the debug registers hold what was written to them, locked or not.
#[test]
fn debug_registers_keep_their_values_while_locked() {
    let mut vcpu = vcpu();
    assert_eq!(msr(&mut vcpu, OSLAR, 1), Ok(()));
    let values = [
        (MDSCR, 0xa001),
        ([2, 0, 0, 0, 4], 0x8000),
        ([2, 0, 0, 0, 5], 0x1e7),
    ];
    for (op, value) in values {
        assert_eq!(msr(&mut vcpu, op, value), Ok(()));
        assert_eq!(mrs(&mut vcpu, op), Ok(value));
    }
    assert_eq!(msr(&mut vcpu, OSLAR, 0), Ok(()));
    for (op, value) in values {
        assert_eq!(mrs(&mut vcpu, op), Ok(value));
        assert_eq!(get(&vcpu, op), Ok(value));
    }
}

/// Section 2.2: read as zero, write ignored, and nothing of user space's.
#[test]
fn the_rest_of_the_debug_registers_is_raz_wi() {
    let mut vcpu = vcpu();
    let zero = [
        [2, 0, 1, 3, 4], // OSDLR_EL1
        [2, 0, 1, 4, 4], // DBGPRCR_EL1
        [2, 0, 1, 0, 0], // MDRAR_EL1
        [2, 0, 7, 8, 6], // DBGCLAIMSET_EL1
        [2, 0, 7, 9, 6], // DBGCLAIMCLR_EL1
        [2, 3, 0, 1, 0], // MDCCSR_EL0
        [2, 3, 0, 4, 0], // DBGDTR_EL0
        [2, 3, 0, 5, 0], // DBGDTRRX_EL0, DBGDTRTX_EL0
    ];
    for op in zero {
        assert_eq!(msr(&mut vcpu, op, !0), Ok(()), "{op:?}");
        assert_eq!(mrs(&mut vcpu, op), Ok(0), "{op:?}");
        assert_eq!(get(&vcpu, op), Err(Error::NoEnt));
        assert_eq!(set(&mut vcpu, op, 0), Err(Error::NoEnt));
    }
    assert_eq!(mrs(&mut vcpu, [2, 0, 7, 14, 6]), Ok(special::DBGAUTHSTATUS));
}

/// SCTLR_EL1 and the others say what EL0 may do; what they trap is EC 0x18, what is EL1's alone
/// undefined.
#[test]
fn el0_may_do_what_el1_lets_it() {
    const CNTKCTL: Op = [3, 0, 14, 1, 0];
    // What enables it (register, value), the access, whether it reads.
    let gated: [(Op, u64, Op, bool); 12] = [
        (SCTLR, 1 << 15, [3, 3, 0, 0, 1], true), // UCT: CTR_EL0
        (SCTLR, 1 << 9, [3, 3, 4, 2, 1], true),  // UMA: DAIF
        (SCTLR, 1 << 9, [3, 3, 4, 2, 1], false),
        (CNTKCTL, 1 << 0, [3, 3, 14, 0, 1], true), // EL0PCTEN: CNTPCT_EL0
        (CNTKCTL, 1 << 1, [3, 3, 14, 0, 2], true), // EL0VCTEN: CNTVCT_EL0
        (CNTKCTL, 1 << 1, [3, 3, 14, 0, 0], true), // either: CNTFRQ_EL0
        (CNTKCTL, 1 << 9, [3, 3, 14, 2, 1], true), // EL0PTEN: CNTP_CTL_EL0
        (CNTKCTL, 1 << 9, [3, 3, 14, 2, 2], false), // CNTP_CVAL_EL0
        (CNTKCTL, 1 << 8, [3, 3, 14, 3, 1], false), // EL0VTEN: CNTV_CTL_EL0
        (CNTKCTL, 1 << 8, [3, 3, 14, 3, 0], true), // CNTV_TVAL_EL0
        (CNTKCTL, 1 << 8, [3, 3, 14, 3, 2], true), // CNTV_CVAL_EL0
        (SCTLR, 1 << 15 | 1 << 14, [3, 3, 0, 0, 1], true),
    ];
    let access = |vcpu: &mut Vcpu, op: Op, reads: bool| {
        to_el0(vcpu);
        if reads {
            mrs(vcpu, op).map(|_| ())
        } else {
            msr(vcpu, op, 0)
        }
    };
    for (control, enable, op, reads) in gated {
        let mut vcpu = vcpu();
        assert_eq!(set(&mut vcpu, control, 0), Ok(()));
        assert_eq!(
            access(&mut vcpu, op, reads),
            Err(trapped(op, reads)),
            "{op:?}"
        );
        assert_eq!(set(&mut vcpu, control, enable), Ok(()));
        assert_eq!(access(&mut vcpu, op, reads), Ok(()), "{op:?}");
    }
    // MDSCR_EL1.TDCC takes away: the debug communications channel.
    for op in [[2, 3, 0, 1, 0], [2, 3, 0, 4, 0], [2, 3, 0, 5, 0]] {
        let mut vcpu = vcpu();
        assert_eq!(access(&mut vcpu, op, true), Ok(()));
        assert_eq!(set(&mut vcpu, MDSCR, 1 << 12), Ok(()));
        assert_eq!(access(&mut vcpu, op, true), Err(trapped(op, true)));
    }
    // EL0's own.
    let mut own = vcpu();
    for op in [[3, 3, 13, 0, 2], [3, 3, 4, 2, 0], [3, 3, 4, 2, 6]] {
        assert_eq!(access(&mut own, op, false), Ok(()));
        assert_eq!(access(&mut own, op, true), Ok(()));
    }
    assert_eq!(access(&mut own, [3, 3, 13, 0, 3], true), Ok(()));
    assert_eq!(access(&mut own, [3, 3, 13, 0, 3], false), Err(UNDEFINED));
    // EL1's.
    for op in [
        SCTLR,
        MDSCR,
        [3, 0, 0, 0, 0],
        [3, 0, 0, 4, 0],
        [3, 1, 0, 0, 1],
        OSLSR,
    ] {
        assert_eq!(access(&mut own, op, true), Err(UNDEFINED), "{op:?}");
    }
    for op in [
        SCTLR,
        OSLAR,
        [3, 3, 0, 0, 1],
        [1, 0, 7, 6, 1],
        [1, 0, 7, 6, 2],
        [1, 0, 8, 7, 0],
    ] {
        assert_eq!(access(&mut own, op, false), Err(UNDEFINED), "{op:?}");
    }
    // Maintenance: SCTLR_EL1.UCI, DC ZVA: DZE.
    for (enable, op) in [
        (26, [1, 3, 7, 5, 1]),
        (26, [1, 3, 7, 10, 1]),
        (14, [1, 3, 7, 4, 1]),
    ] {
        let mut vcpu = vcpu();
        assert_eq!(set(&mut vcpu, SCTLR, !(1 << enable) & !0x1), Ok(()));
        assert_eq!(
            access(&mut vcpu, op, false),
            Err(trapped(op, false)),
            "{op:?}"
        );
        assert_eq!(set(&mut vcpu, SCTLR, 1 << enable), Ok(()));
        let allowed = access(&mut vcpu, op, false);
        assert_ne!(allowed, Err(trapped(op, false)), "{op:?}");
        assert_ne!(allowed, Err(UNDEFINED), "{op:?}");
    }
}

/// DCZID_EL0.DZP is what EL0 would find.
#[test]
fn dczid_tells_el0_of_dze() {
    const DCZID: Op = [3, 3, 0, 0, 7];
    let mut vcpu = vcpu();
    assert_eq!(mrs(&mut vcpu, DCZID), Ok(4));
    to_el0(&mut vcpu);
    assert_eq!(mrs(&mut vcpu, DCZID), Ok(0x14));
    assert_eq!(set(&mut vcpu, SCTLR, 1 << 14), Ok(()));
    assert_eq!(mrs(&mut vcpu, DCZID), Ok(4));
}

/// Section 5: what the VM's ID registers do not offer is undefined, and is listed all the same
/// (TRAP-5).
#[test]
fn what_the_id_registers_do_not_offer_is_undefined() {
    let lorsa = [3, 0, 10, 4, 0];
    let at_pan = [1, 0, 7, 9, 0];
    let mut with = vcpu();
    with.first_run().unwrap();
    assert_eq!(mrs(&mut with, lorsa), Ok(0));
    assert_eq!(msr(&mut with, lorsa, !0), Ok(()));
    assert_eq!(
        msr(&mut with, [3, 0, 10, 4, 7], 0),
        Err(UNDEFINED),
        "LORID_EL1"
    );
    assert_ne!(msr(&mut with, at_pan, 0), Err(UNDEFINED));
    for op in [
        [1, 0, 8, 1, 0],
        [1, 0, 8, 2, 1],
        [1, 0, 8, 5, 1],
        [1, 0, 8, 6, 1],
        [1, 0, 7, 9, 2],
    ] {
        assert_eq!(msr(&mut with, op, 0), Err(UNDEFINED), "{op:?}");
    }
    for op in [[3, 0, 2, 0, 3], [3, 0, 10, 2, 2], [3, 0, 10, 2, 3]] {
        assert_eq!(mrs(&mut with, op), Err(UNDEFINED), "{op:?}");
        assert!(get(&with, op).is_ok(), "{op:?}");
    }

    let mut without = vcpu();
    let mmfr1 = get(&without, [3, 0, 0, 7, 1]).unwrap();
    let lowered = fields::MMFR1_PAN.set(fields::MMFR1_LO.set(mmfr1, 0), 1);
    assert_eq!(set(&mut without, [3, 0, 0, 7, 1], lowered), Ok(()));
    without.first_run().unwrap();
    assert_eq!(mrs(&mut without, lorsa), Err(UNDEFINED));
    assert_eq!(msr(&mut without, at_pan, 0), Err(UNDEFINED));
    // TRAP-2: a reset does not lose them.
    without.init(VcpuFeatures::PSCI_0_2);
    assert_eq!(mrs(&mut without, lorsa), Err(UNDEFINED));
}

/// IDR-2, IDR-5: one set of ID registers a VM, and the guest sees it.
#[test]
fn id_registers_are_the_machines() {
    const ISAR0: Op = [3, 0, 0, 6, 0];
    let machine = machine(Settings::default());
    let (mut one, mut two) = (add(&machine), add(&machine));
    let lowered = fields::ISAR0_AES.set(get(&one, ISAR0).unwrap(), 0);
    assert_eq!(set(&mut one, ISAR0, lowered), Ok(()));
    assert_eq!(get(&two, ISAR0), Ok(lowered));
    two.first_run().unwrap();
    assert_eq!(mrs(&mut two, ISAR0), Ok(lowered));
    assert_eq!(msr(&mut two, ISAR0, lowered), Err(UNDEFINED));
    assert_eq!(set(&mut one, ISAR0, 0), Err(Error::Busy));
}

/// Which accesses KVM emulates shows in a step's syndrome (DBG-24).
#[test]
fn emulated_accesses_are_marked() {
    let mut vcpu = vcpu();
    vcpu.first_run().unwrap();
    let emulated = |vcpu: &mut Vcpu, op: Op, reads: bool| {
        vcpu.cpu_mut().state.sys.emulated = false;
        if reads {
            mrs(vcpu, op).unwrap();
        } else {
            msr(vcpu, op, 0).unwrap();
        }
        vcpu.cpu().state.sys.emulated
    };
    assert!(
        emulated(&mut vcpu, [3, 0, 0, 4, 0], true),
        "ID_AA64PFR0_EL1"
    );
    assert!(emulated(&mut vcpu, [3, 3, 0, 0, 1], true), "CTR_EL0");
    assert!(emulated(&mut vcpu, OSLAR, false));
    assert!(!emulated(&mut vcpu, [3, 0, 0, 0, 0], true), "MIDR_EL1");
    assert!(!emulated(&mut vcpu, [3, 0, 12, 0, 0], false), "VBAR_EL1");
    assert!(!emulated(&mut vcpu, MDSCR, true));
    debug::set_guest_debug(
        vcpu.cpu_mut(),
        GuestDebug {
            enable: true,
            ..GuestDebug::default()
        },
    );
    assert!(emulated(&mut vcpu, MDSCR, true), "while user space debugs");
    debug::set_guest_debug(vcpu.cpu_mut(), GuestDebug::default());
    assert!(!emulated(&mut vcpu, MDSCR, true));
    assert_eq!(msr(&mut vcpu, OSLAR, 1), Ok(()));
    assert!(
        emulated(&mut vcpu, MDSCR, true),
        "while the OS Lock is locked"
    );

    // The registers of translation, until the guest has turned its caches on, and again after it
    // has cleaned them by set and way.
    let ttbr0 = [3, 0, 2, 0, 0];
    assert!(emulated(&mut vcpu, ttbr0, false));
    assert!(emulated(&mut vcpu, ttbr0, false));
    assert!(!emulated(&mut vcpu, ttbr0, true));
    assert_eq!(msr(&mut vcpu, SCTLR, 1 << 2 | 1), Ok(()));
    assert!(!emulated(&mut vcpu, ttbr0, false));
    assert!(emulated(&mut vcpu, [1, 0, 7, 14, 2], false), "DC CISW");
    assert!(emulated(&mut vcpu, ttbr0, false));
    assert!(
        !emulated(&mut vcpu, ttbr0, false),
        "that one has found the caches on"
    );
}

/// ESR-10: nothing of ESR_EL1 is lost, whoever writes it.
#[test]
fn syndromes_are_64_bits_wide() {
    const ESR: Op = [3, 0, 5, 2, 0];
    let mut vcpu = vcpu();
    assert_eq!(msr(&mut vcpu, ESR, 0x1234_5678_9abc_def0), Ok(()));
    assert_eq!(get(&vcpu, ESR), Ok(0x1234_5678_9abc_def0));
    assert_eq!(set(&mut vcpu, ESR, !0), Ok(()));
    assert_eq!(mrs(&mut vcpu, ESR), Ok(!0));
}

#[test]
fn stack_pointers_and_pstate_fields() {
    let mut vcpu = vcpu();
    assert_eq!(mrs(&mut vcpu, [3, 0, 4, 2, 2]), Ok(4), "CurrentEL");
    assert_eq!(mrs(&mut vcpu, [3, 0, 4, 2, 0]), Ok(1), "SPSel");
    assert_eq!(msr(&mut vcpu, [3, 0, 4, 1, 0], 0x1230), Ok(()));
    assert_eq!(mrs(&mut vcpu, [3, 0, 4, 1, 0]), Ok(0x1230), "SP_EL0");
    assert_eq!(msr(&mut vcpu, [3, 0, 4, 2, 0], 0), Ok(()));
    assert_eq!(vcpu.cpu().slot(crate::regs::SP), 0x1230);
    assert_eq!(
        mrs(&mut vcpu, [3, 0, 4, 1, 0]),
        Err(UNDEFINED),
        "it is in use"
    );
    vcpu.init(VcpuFeatures::PSCI_0_2);
    for (op, mask) in [
        ([3, 0, 4, 2, 3], 1 << 22),   // PAN
        ([3, 0, 4, 2, 4], 1 << 23),   // UAO
        ([3, 3, 4, 2, 6], 1 << 12),   // SSBS
        ([3, 3, 4, 2, 0], 0xf << 28), // NZCV
        ([3, 3, 4, 2, 1], 0xf << 6),  // DAIF
    ] {
        assert_eq!(msr(&mut vcpu, op, !0), Ok(()));
        assert_eq!(mrs(&mut vcpu, op), Ok(mask), "{op:?}");
        assert_eq!(msr(&mut vcpu, op, 0), Ok(()));
        assert_eq!(mrs(&mut vcpu, op), Ok(0), "{op:?}");
    }
}

/// The registers behind CSSELR_EL1, set by user space (KVM_REG_ARM_DEMUX).
#[test]
fn cache_sizes_are_what_user_space_says() {
    let ccsidr = |cache: u8| understudy_abi::arm64::reg::ccsidr(cache);
    let mut vcpu = vcpu();
    for cache in 0..14 {
        assert_eq!(user::get(vcpu.cpu(), ccsidr(cache)), Ok(2), "64-byte lines");
    }
    // Lines shorter than CTR_EL0 says.
    assert_eq!(user::set(vcpu.cpu_mut(), ccsidr(2), 1), Err(Error::Inval));
    assert_eq!(user::set(vcpu.cpu_mut(), ccsidr(2), 0x700f_e01a), Ok(()));
    assert_eq!(msr(&mut vcpu, [3, 2, 0, 0, 0], 2), Ok(()));
    assert_eq!(mrs(&mut vcpu, [3, 1, 0, 0, 0]), Ok(0x700f_e01a));
    assert_eq!(msr(&mut vcpu, [3, 2, 0, 0, 0], 0), Ok(()));
    assert_eq!(mrs(&mut vcpu, [3, 1, 0, 0, 0]), Ok(2));
}

#[test]
fn clidr_cannot_claim_what_ctr_denies() {
    const CLIDR: Op = [3, 1, 0, 0, 1];
    const CTR: Op = [3, 3, 0, 0, 1];
    let mut vcpu = vcpu();
    assert_eq!(set(&mut vcpu, CLIDR, 0), Ok(()), "CTR_EL0.IDC is set");
    assert_eq!(set(&mut vcpu, CLIDR, 1 << 47), Err(Error::Inval));
    let ctr = get(&vcpu, CTR).unwrap();
    assert_eq!(set(&mut vcpu, CTR, ctr & !(1 << 28)), Ok(()));
    assert_eq!(set(&mut vcpu, CLIDR, 0), Err(Error::Inval));
    assert_eq!(
        set(&mut vcpu, CLIDR, 1 << 24),
        Err(Error::Inval),
        "LoUU and LoUIS are 0"
    );
    assert_eq!(set(&mut vcpu, CLIDR, 1 << 24 | 1 << 21), Ok(()));

    // A vCPU that is initialised now has a CLIDR_EL1 made up from that CTR_EL0.
    let other = add(&vcpu.machine().clone());
    assert_eq!(get(&other, CLIDR), Ok(0x0920_0003));
}

/// IDR-3: a later KVM_ARM_VCPU_INIT keeps what identifies the processor, and resets the rest, as
/// the reference does.
#[test]
fn a_later_init_keeps_the_identity() {
    let ccsidr = understudy_abi::arm64::reg::ccsidr(2);
    let mut vcpu = vcpu();
    let kept: [(Op, u64); 4] = [
        ([3, 0, 0, 0, 5], 0x8000_0701), // MPIDR_EL1
        ([3, 1, 0, 0, 1], 0x0100_0001), // CLIDR_EL1
        ([3, 3, 0, 0, 1], 0x8444_c004), // CTR_EL0
        ([3, 0, 0, 6, 0], 0),           // ID_AA64ISAR0_EL1
    ];
    let reset: [(Op, u64, u64); 6] = [
        ([3, 2, 0, 0, 0], 2, register::UNKNOWN),  // CSSELR_EL1
        ([3, 3, 13, 0, 2], 7, register::UNKNOWN), // TPIDR_EL0
        (OSLSR, 0xa, 8),
        (SCTLR, 1, 0x00c5_0078),
        ([2, 0, 0, 0, 4], 9, 0),     // DBGBVR0_EL1
        ([3, 4, 5, 3, 0], 9, 0x700), // FPEXC32_EL2
    ];
    for (op, value) in kept {
        assert_eq!(set(&mut vcpu, op, value), Ok(()));
    }
    for (op, value, _) in reset {
        assert_eq!(set(&mut vcpu, op, value), Ok(()));
    }
    assert_eq!(user::set(vcpu.cpu_mut(), ccsidr, 0x700f_e01a), Ok(()));
    vcpu.init(VcpuFeatures::PSCI_0_2);
    for (op, value) in kept {
        assert_eq!(get(&vcpu, op), Ok(value), "{op:?}");
    }
    for (op, _, value) in reset {
        assert_eq!(get(&vcpu, op), Ok(value), "{op:?}");
    }
    assert_eq!(user::get(vcpu.cpu(), ccsidr), Ok(0x700f_e01a));
}

#[test]
fn affinities_are_kvms() {
    assert_eq!(mpidr_of(0), 0x8000_0000);
    assert_eq!(mpidr_of(15), 0x8000_000f);
    assert_eq!(mpidr_of(16), 0x8000_0100);
    assert_eq!(mpidr_of(511), 0x8000_1f0f);
    assert_eq!(mpidr_of(4096), 0x8001_0000);
}

#[test]
fn tables_are_in_order_and_names_are_found() {
    assert!(instructions::INSTRUCTIONS.is_sorted_by_key(|row| row.encoding));
    assert_eq!(name(encoding(OSLSR)), Some("OSLSR_EL1"));
    assert_eq!(name(encoding([1, 3, 7, 4, 1])), Some("DC ZVA"));
    assert_eq!(name(encoding([3, 7, 15, 15, 7])), None);
    // Every register that resets has a place to keep the value.
    for register in table::REGISTERS {
        let keeps = register.storage().is_some() || matches!(register.read, Read::Slot(_));
        assert!(
            keeps || matches!(register.reset, Reset::None),
            "{}",
            register.name
        );
    }
}
