//! Instructions of a feature that a VM's ID registers hide, in a guest: requirements IDR-14 and TRAP-6.

mod common;

use common::{CODE, Guest, HOLE, Program};
use understudy_abi::arm64::reg::{core, sys_reg};
use understudy_abi::exit::KVM_EXIT_MMIO;
use understudy_arm64::insn::features::Fidelity;
use understudy_kvm::Kvm;

const ISAR0: u64 = sys_reg(3, 0, 0, 6, 0);
const ESR_EL1: u64 = sys_reg(3, 0, 5, 2, 0);
const VBAR_EL1: u64 = sys_reg(3, 0, 12, 0, 0);

const LDADD_X1_X3_X4: u32 = 0xf821_0083;
const SUBS_X5: u32 = 0xf100_04a5;
const B_NE_BACK_TWO: u32 = 0x54ff_ffc1;
const STR_X1_X2: u32 = 0xf900_0041;

/// Adds 1 to a doubleword 5,000 times, so that the loop is compiled, with LSE hidden or not.
fn run(fidelity: Fidelity, hide: bool) -> (Kvm, Guest) {
    let system = Kvm::new().expect("a system").with_fidelity(fidelity);
    let mut code = vec![STR_X1_X2; 0x300 / 4];
    code[..3].copy_from_slice(&[LDADD_X1_X3_X4, SUBS_X5, B_NE_BACK_TWO]);
    let guest = Guest::of(Program::on(system.clone()), &code);
    if hide {
        guest.set(ISAR0, guest.get(ISAR0) & !(0xf << 20));
    }
    guest.set(VBAR_EL1, CODE);
    for (n, value) in [(1, 1), (2, HOLE), (4, CODE + 0x8000), (5, 5000)] {
        guest.set(core::x(n), value);
    }
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    (system, guest)
}

/// IDR-14: KVM has nothing that would trap them.
#[test]
fn kvm_lets_them_run() {
    for hide in [false, true] {
        let (system, guest) = run(Fidelity::Kvm, hide);
        assert_eq!(guest.get(core::PC), CODE + 12);
        assert_eq!(guest.memory.word(0x8000), 5000);
        assert!(system.uses().is_empty());
    }
}

/// TRAP-6.
#[test]
fn strict_makes_them_undefined() {
    let (_, guest) = run(Fidelity::Strict, true);
    assert_eq!(guest.get(core::PC), CODE + 0x200);
    assert_eq!(guest.get(ESR_EL1), 0x0200_0000);
    assert_eq!(guest.memory.word(0x8000), 0);
    let (_, guest) = run(Fidelity::Strict, false);
    assert_eq!(guest.memory.word(0x8000), 5000);
}

#[test]
fn report_lets_them_run_and_counts() {
    let (system, guest) = run(Fidelity::Report, true);
    assert_eq!(guest.memory.word(0x8000), 5000);
    let uses = system.uses();
    let [used] = &uses[..] else {
        panic!("{uses:?}");
    };
    assert_eq!(
        (used.pc, used.word, used.count),
        (CODE, LDADD_X1_X3_X4, 5000)
    );
    let text = used.to_string();
    assert!(
        text.contains("LDADD") && text.contains("FEAT_LSE (Atomic)"),
        "{text}"
    );
    let (system, _) = run(Fidelity::Report, false);
    assert!(system.uses().is_empty());
}
