//! The ioctls, a file a family, under their uAPI names.

use crate::guest::Guests;
use crate::table::Row;

mod api_version;
pub(crate) mod arm64;
mod check_extension;
mod coalesced_mmio;
mod create_vcpu;
mod create_vm;
mod dirty_log;
mod enable_cap;
mod ioeventfd;
pub(crate) mod run;
mod signal_mask;
mod stats_fd;
mod user_memory_region;
pub(crate) mod x86;

/// The rows of the table, by family, and which architectures have them.
pub(crate) const FAMILIES: &[(Guests, &[Row])] = &[
    (Guests::all(), api_version::ROWS),
    (Guests::all(), check_extension::ROWS),
    (Guests::all(), create_vm::ROWS),
    (Guests::all(), create_vcpu::ROWS),
    (Guests::all(), user_memory_region::ROWS),
    (Guests::all(), dirty_log::ROWS),
    (Guests::all(), coalesced_mmio::ROWS),
    (Guests::all(), ioeventfd::ROWS),
    (Guests::all(), enable_cap::ROWS),
    (Guests::all(), stats_fd::ROWS),
    (Guests::all(), signal_mask::ROWS),
    (Guests::all(), run::ROWS),
    (Guests::ARM64, arm64::irq_line::ROWS),
    (Guests::ARM64, arm64::create_device::ROWS),
    (Guests::ARM64, arm64::device_attr::ROWS),
    (Guests::ARM64, arm64::counter_offset::ROWS),
    (Guests::ARM64, arm64::reg_writable_masks::ROWS),
    (Guests::ARM64, arm64::vcpu_init::ROWS),
    (Guests::ARM64, arm64::one_reg::ROWS),
    (Guests::ARM64, arm64::guest_debug::ROWS),
    (Guests::ARM64, arm64::mp_state::ROWS),
    (Guests::ARM64, arm64::vcpu_events::ROWS),
    (Guests::X86_64, x86::regs::ROWS),
    (Guests::X86_64, x86::sregs::ROWS),
    (Guests::X86_64, x86::mp_state::ROWS),
    (Guests::X86_64, x86::guest_debug::ROWS),
    (Guests::X86_64, x86::vcpu_events::ROWS),
    (Guests::X86_64, x86::fpu::ROWS),
    (Guests::X86_64, x86::interrupt::ROWS),
    (Guests::X86_64, x86::irqchip::ROWS),
    (Guests::X86_64, x86::irqfd::ROWS),
    (Guests::X86_64, x86::lapic::ROWS),
    (Guests::X86_64, x86::pit::ROWS),
    (Guests::X86_64, x86::intel::ROWS),
    (Guests::X86_64, x86::tsc::ROWS),
    (Guests::X86_64, x86::device_attr::ROWS),
    (Guests::X86_64, x86::enable_cap::ROWS),
    (Guests::X86_64, x86::cpuid::ROWS),
    (Guests::X86_64, x86::msrs::ROWS),
    (Guests::X86_64, x86::translate::ROWS),
    (Guests::X86_64, x86::mmu::ROWS),
    (Guests::X86_64, x86::guest_memfd::ROWS),
];
