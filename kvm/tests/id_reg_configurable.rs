//! The proposal `arm64-id-reg-configurable` (requirements 0.2 and section 4, the columns of RFC v3)
//! through the API, with a guest: what the series' selftest checks.

mod common;

use common::{CODE, Guest, HOLE, Program, SYSTEM};
use understudy_abi::arm64::reg::{core, sys_reg};
use understudy_abi::exit::KVM_EXIT_MMIO;
use understudy_abi::ioctl as request;
use understudy_abi::proposals::KVM_CAP_ARM_ID_REG_CONFIGURABLE;
use understudy_abi::run::IMMEDIATE_EXIT;
use understudy_arm64::machine::{Model, Proposals};
use understudy_kvm::{Errno, Kvm};

const PFR0: u64 = sys_reg(3, 0, 0, 4, 0);
const PFR1: u64 = sys_reg(3, 0, 0, 4, 1);
const ISAR0: u64 = sys_reg(3, 0, 0, 6, 0);
const ESR_EL1: u64 = sys_reg(3, 0, 5, 2, 0);
const VBAR_EL1: u64 = sys_reg(3, 0, 12, 0, 0);

/// MRS X1, ID_AA64ISAR0_EL1; MRS X1, ERRIDR_EL1; STR X1, [X2]
const MRS_ISAR0: u32 = 0xd538_0601;
const MRS_ERRIDR: u32 = 0xd538_5301;
const STR_X1_X2: u32 = 0xf900_0041;

fn program() -> Program {
    let proposals = Proposals::ID_REG_CONFIGURABLE;
    Program::on(Kvm::with(Model::default(), proposals))
}

fn guest(code: &[u32]) -> Guest {
    let guest = Guest::of(program(), code);
    guest.set(core::x(2), HOLE);
    guest
}

#[test]
fn the_capability_tells_of_it() {
    let capability = u64::from(KVM_CAP_ARM_ID_REG_CONFIGURABLE);
    let check = |program: &Program, fd| program.call(fd, request::KVM_CHECK_EXTENSION, capability);
    let on = program();
    let vm = on.create_vm();
    assert_eq!(check(&on, SYSTEM), Ok(1));
    assert_eq!(check(&on, vm), Ok(1));
    assert_eq!(check(&Program::new(), SYSTEM), Ok(0));
}

/// IDR-2, IDR-5, IDR-7 to IDR-9: each vCPU has its own registers, the guest reads them, and they stay
/// from that vCPU's first run on.
#[test]
fn registers_are_each_vcpus_own_until_it_runs() {
    let guest = guest(&[MRS_ISAR0, STR_X1_X2]);
    let other = guest.program.create_vcpu(guest.vm, 1);
    guest.program.init(guest.vm, other);
    let initial = guest.get(ISAR0);
    let lower = initial & !(0xf << 20);
    guest.set(ISAR0, lower);
    assert_eq!(guest.program.get(other, ISAR0), Ok(initial));

    let set = |vcpu, id, value| guest.program.set(vcpu, id, value);
    assert_eq!(
        set(guest.vcpu, ISAR0, initial + (1 << 20)),
        Err(Errno::E2BIG)
    );
    // SHA1 without SHA2.
    assert_eq!(
        set(guest.vcpu, ISAR0, lower & !(0xf << 12)),
        Err(Errno::EINVAL)
    );
    // A GIC without the device.
    assert_eq!(
        set(guest.vcpu, PFR0, guest.get(PFR0) | 1 << 24),
        Err(Errno::EPERM)
    );
    // Not allocated.
    assert_eq!(
        set(guest.vcpu, sys_reg(3, 0, 0, 7, 7), 1),
        Err(Errno::EINVAL)
    );
    assert_eq!(set(guest.vcpu, sys_reg(3, 0, 0, 7, 7), 0), Ok(()));
    assert_eq!(guest.get(ISAR0), lower);

    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(guest.get(core::x(1)), lower);
    assert_eq!(set(guest.vcpu, ISAR0, initial), Err(Errno::EINVAL));
    assert_eq!(set(guest.vcpu, ISAR0, lower), Ok(()));
    assert_eq!(guest.get(ISAR0), lower);
    // The other vCPU has not run.
    assert_eq!(set(other, ISAR0, lower), Ok(()));
}

/// IDR-40 to IDR-42: a fraction above its limit is found by the first run, which can be tried again.
#[test]
fn a_fraction_above_its_limit_stops_the_first_run() {
    let guest = guest(&[STR_X1_X2]);
    let pfr1 = guest.get(PFR1);
    guest.set(PFR1, pfr1 | 1 << 12);
    guest.run.write(IMMEDIATE_EXIT, &1u8);
    assert_eq!(guest.enter(), Err(Errno::EPERM));
    guest.run.write(IMMEDIATE_EXIT, &0u8);
    assert_eq!(guest.enter(), Err(Errno::EPERM));
    guest.set(PFR1, pfr1);
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
}

/// TRAP-1, TRAP-2, TRAP-5: error records are undefined for a guest from which RAS was taken away, and
/// stay so when the vCPU is initialised again.
#[test]
fn a_feature_that_was_taken_away_is_undefined() {
    let mut code = vec![STR_X1_X2; 0x300 / 4];
    code[0] = MRS_ERRIDR;
    for ras in [true, false] {
        let guest = guest(&code);
        if !ras {
            guest.set(PFR0, guest.get(PFR0) & !(0xf << 28));
        }
        for _ in 0..2 {
            guest.set(VBAR_EL1, CODE);
            guest.set(core::PC, CODE);
            guest.set(core::x(2), HOLE);
            assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
            let undefined = guest.get(ESR_EL1) == 0x0200_0000;
            assert_eq!(undefined, !ras);
            assert_eq!(guest.get(core::PC), CODE + if ras { 4 } else { 0x200 });
            guest.program.init(guest.vm, guest.vcpu);
        }
    }
}
