//! What `KVM_ENABLE_CAP` and its like have set for a VM, of which each processor has a copy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use understudy_x86::Cpu;
use understudy_x86::msrs::exits::{Filter, Ranges};

/// What is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Quirks that are disabled (`KVM_CAP_DISABLE_QUIRKS2`).
    pub(crate) disabled_quirks: u64,
    /// Failed accesses of MSRs that are user space's (`KVM_CAP_X86_USER_SPACE_MSR`).
    pub(crate) msr_exits: u32,
    /// Exceptions have payloads (`KVM_CAP_EXCEPTION_PAYLOAD`).
    pub(crate) exception_payload: bool,
    /// A triple fault can be got and set (`KVM_CAP_X86_TRIPLE_FAULT_EVENT`).
    pub(crate) triple_fault_event: bool,
    /// What KVM fails to emulate always exits (`KVM_CAP_EXIT_ON_EMULATION_FAILURE`).
    pub(crate) exit_on_emulation_failure: bool,
    /// The guest cannot read MSR_PLATFORM_INFO (`KVM_CAP_MSR_PLATFORM_INFO`).
    pub(crate) platform_info_hidden: bool,
}

/// The filter of MSRs, which a guest that is running follows at once.
#[derive(Debug, Default)]
struct LiveFilter(ArcSwapOption<Ranges>);

impl Filter for LiveFilter {
    fn allows(&self, number: u32, write: bool) -> bool {
        let filter = self.0.load();
        filter
            .as_ref()
            .is_none_or(|filter| filter.allows(number, write))
    }
}

/// A VM's settings, and how often they have changed.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    settings: Mutex<Settings>,
    changes: AtomicU64,
    filter: Arc<LiveFilter>,
}

impl Shared {
    /// Changes them.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut settings);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Sets the filter of MSRs.
    pub(crate) fn set_filter(&self, filter: Ranges) {
        self.filter.0.store(Some(Arc::new(filter)));
        self.change(|_| ());
    }

    /// Brings a processor's copy up to date; `seen` is how many changes it has seen.
    #[inline]
    pub(crate) fn settle(&self, cpu: &mut Cpu, seen: &mut u64) {
        let changes = self.changes.load(Ordering::Acquire);
        if changes != *seen {
            *seen = changes;
            self.copy(cpu);
        }
    }

    #[cold]
    fn copy(&self, cpu: &mut Cpu) {
        let settings = *self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut cpu.state;
        state.quirks.disabled = settings.disabled_quirks;
        state.msr_exits.mask = settings.msr_exits;
        state.msr_exits.filter = Some(self.filter.clone());
        state.events.payload = settings.exception_payload;
        state.events.triple_fault_event = settings.triple_fault_event;
        state.exit_on_emulation_failure = settings.exit_on_emulation_failure;
        state.msrs.platform_info_readable = !settings.platform_info_hidden;
    }
}
