//! Which registers an exit stores into `kvm_run`, with and without the proposals (requirements 6.2 and
//! 6.3).
//!
//! ```text
//!   kvm_valid_regs ─┬─ neither bit ────────────────────────────────► stored
//!                   ├─ CONDITIONAL ─ is the exit reason's bit set? ─► stored
//!                   └─ DEBUG ─────── is it KVM_EXIT_DEBUG? ─────────► stored
//! ```

use understudy_abi::exit::KVM_EXIT_DEBUG;
use understudy_abi::proposals::{
    KVM_SAVE_REGS_ON_EXIT, KVM_SYNC_REGS_CONDITIONAL, KVM_SYNC_REGS_DEBUG,
};
use understudy_abi::run::{Page, Run};
use understudy_abi::x86::SyncRegs;

use super::Proposals;

/// Whether `kvm_valid_regs` may be this. KVM's own mask is 32 bits wide, so that of the bits which
/// nobody has given a meaning only 3 to 31 are looked at (SYNC-2).
pub fn valid_is_allowed(valid: u64) -> bool {
    valid & u64::from(u32::MAX) & !SyncRegs::all().bits() == 0
}

/// The bits of `kvm_valid_regs` that these proposals make conditions.
#[derive(Clone, Copy, Debug)]
pub struct Conditions(u64);

impl Conditions {
    /// Those of a system's proposals.
    pub fn new(proposals: Proposals) -> Conditions {
        Conditions(proposals.valid_regs())
    }

    /// Whether `kvm_dirty_regs` may be this: as [`valid_is_allowed`], but for the bits that the
    /// proposals add to `kvm_valid_regs` alone (SYNC-13).
    #[inline]
    pub fn dirty_is_allowed(self, dirty: u64) -> bool {
        valid_is_allowed(dirty) && dirty & self.0 == 0
    }

    /// The sets that the exit which is in `kvm_run` stores, where `kvm_valid_regs` was `valid` (SYNC-1,
    /// SYNC-13 to SYNC-16, SYNC-20). What is tested is the exit reason that is there, also if this
    /// KVM_RUN did not write it.
    #[inline(always)]
    pub fn stored<P: Page>(self, run: &Run<P>, valid: u64) -> SyncRegs {
        let conditions = valid & self.0;
        let reason = run.exit_reason();
        // Computed, not branched to: what an exit leads to is hard to predict.
        let word: u64 = run.read(KVM_SAVE_REGS_ON_EXIT + 8 * (reason as usize / 64 % 16));
        let asked =
            (word >> (reason % 64)) & u64::from(reason < 1024) & (conditions >> CONDITIONAL);
        let debug = u64::from(reason == KVM_EXIT_DEBUG) & (conditions >> DEBUG);
        let stores = (asked | debug | u64::from(conditions == 0)) & 1;
        SyncRegs::from_bits_truncate(valid & stores.wrapping_neg())
    }
}

/// The bits' numbers.
const CONDITIONAL: u32 = KVM_SYNC_REGS_CONDITIONAL.trailing_zeros();
const DEBUG: u32 = KVM_SYNC_REGS_DEBUG.trailing_zeros();

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use understudy_abi::PAGE_SIZE;

    struct Local(RefCell<[u8; PAGE_SIZE]>);

    impl Page for &Local {
        fn load(&self, offset: usize, into: &mut [u8]) {
            into.copy_from_slice(&self.0.borrow()[offset..][..into.len()]);
        }
        fn store(&self, offset: usize, from: &[u8]) {
            self.0.borrow_mut()[offset..][..from.len()].copy_from_slice(from);
        }
    }

    /// SYNC-12, SYNC-13, SYNC-16, SYNC-20: by the reason that is there, up to 1023.
    #[test]
    fn reasons_select() {
        let page = Local(RefCell::new([0; PAGE_SIZE]));
        let run = Run(&page);
        let all = Conditions::new(Proposals::all());
        let none = Conditions::new(Proposals::empty());
        let sets = SyncRegs::all();
        let conditional = KVM_SYNC_REGS_CONDITIONAL | sets.bits();
        let debug = KVM_SYNC_REGS_DEBUG | sets.bits();
        let when = |yes| if yes { sets } else { SyncRegs::empty() };
        for reason in [0, 2, 4, 63, 64, 1023, 1024, u32::MAX] {
            run.set_exit_reason(reason);
            run.write(KVM_SAVE_REGS_ON_EXIT, &[0u64; 16]);
            assert_eq!(all.stored(&run, conditional), when(false));
            // Without the proposal the bit means nothing, as in KVM 6.12 (SYNC-2).
            assert_eq!(none.stored(&run, conditional), sets);
            assert_eq!(all.stored(&run, sets.bits()), sets);
            assert_eq!(all.stored(&run, KVM_SYNC_REGS_CONDITIONAL), when(false));
            run.write(KVM_SAVE_REGS_ON_EXIT, &[!0u64; 16]);
            assert_eq!(all.stored(&run, conditional), when(reason < 1024));
            assert_eq!(all.stored(&run, debug), when(reason == 4));
            let mut one = [0u64; 16];
            if let Some(word) = one.get_mut(reason as usize / 64) {
                *word = 1 << (reason % 64);
            }
            run.write(KVM_SAVE_REGS_ON_EXIT, &one);
            assert_eq!(all.stored(&run, conditional), when(reason < 1024));
        }
    }

    /// SYNC-2, SYNC-13.
    #[test]
    fn masks() {
        for bit in 0..64 {
            assert_eq!(valid_is_allowed(1 << bit), !(3..32).contains(&bit), "{bit}");
        }
        let allowed = |bit: u32, proposals| Conditions::new(proposals).dirty_is_allowed(1 << bit);
        assert!(allowed(63, Proposals::empty()));
        assert!(!allowed(63, Proposals::SYNC_REGS_CONDITIONAL));
        assert!(!allowed(62, Proposals::SYNC_REGS_DEBUG));
        assert!(!allowed(31, Proposals::empty()));
    }

    #[test]
    fn names_and_capabilities() {
        for name in Proposals::names() {
            assert!(Proposals::by_name(name).is_some());
        }
        assert_eq!(Proposals::by_name("arm64-exposed-debug"), None);
        assert_eq!(
            Proposals::of_capability(245),
            Some(Proposals::GUEST_DEBUG_CR3)
        );
        assert_eq!(Proposals::of_capability(207), None);
    }
}
