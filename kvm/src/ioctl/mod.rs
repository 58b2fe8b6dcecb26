//! The ioctls, a file a family, under their uAPI names.

use crate::table::Row;

mod api_version;
mod check_extension;
mod coalesced_mmio;
mod counter_offset;
mod create_device;
mod create_vcpu;
mod create_vm;
mod device_attr;
mod dirty_log;
mod enable_cap;
mod guest_debug;
mod irq_line;
mod mp_state;
mod one_reg;
mod reg_writable_masks;
pub(crate) mod run;
mod signal_mask;
mod stats_fd;
mod user_memory_region;
mod vcpu_events;
mod vcpu_init;

/// The rows of the table, by family.
pub(crate) const FAMILIES: &[&[Row]] = &[
    api_version::ROWS,
    check_extension::ROWS,
    create_vm::ROWS,
    create_vcpu::ROWS,
    user_memory_region::ROWS,
    dirty_log::ROWS,
    coalesced_mmio::ROWS,
    enable_cap::ROWS,
    irq_line::ROWS,
    create_device::ROWS,
    device_attr::ROWS,
    counter_offset::ROWS,
    reg_writable_masks::ROWS,
    stats_fd::ROWS,
    run::ROWS,
    vcpu_init::ROWS,
    one_reg::ROWS,
    guest_debug::ROWS,
    mp_state::ROWS,
    vcpu_events::ROWS,
    signal_mask::ROWS,
];
