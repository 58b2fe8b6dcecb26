//! What the vCPUs of a VM have in common.

use std::sync::Arc;
use understudy_memory::GuestMemory;

/// A VM as its processors see it.
pub struct Machine {
    /// Guest-physical memory.
    pub memory: Arc<GuestMemory>,
}
