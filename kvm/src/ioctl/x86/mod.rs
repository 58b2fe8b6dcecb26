//! The ioctls that only x86 has, or has in its own form.

pub(crate) mod cpuid;
pub(crate) mod device_attr;
pub(crate) mod enable_cap;
pub(crate) mod fpu;
pub(crate) mod guest_debug;
pub(crate) mod guest_memfd;
pub(crate) mod intel;
pub(crate) mod interrupt;
pub(crate) mod irqchip;
pub(crate) mod irqfd;
pub(crate) mod lapic;
pub(crate) mod mmu;
pub(crate) mod mp_state;
pub(crate) mod msrs;
pub(crate) mod pit;
pub(crate) mod regs;
pub(crate) mod run;
pub(crate) mod sregs;
pub(crate) mod translate;
pub(crate) mod tsc;
pub(crate) mod vcpu_events;
