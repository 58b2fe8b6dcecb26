//! The ioctls that only arm64 has, or has in its own form.

pub(crate) mod counter_offset;
pub(crate) mod create_device;
pub(crate) mod device_attr;
pub(crate) mod guest_debug;
pub(crate) mod irq_line;
pub(crate) mod mp_state;
pub(crate) mod one_reg;
pub(crate) mod reg_writable_masks;
pub(crate) mod run;
pub(crate) mod vcpu_events;
pub(crate) mod vcpu_init;
