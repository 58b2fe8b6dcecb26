//! A vCPU, as the KVM API's implementation drives it.

use crate::Arm64;
use understudy_engine::run::Engine;

/// A vCPU.
pub struct Vcpu {
    /// The processor and what runs it.
    pub engine: Engine<Arm64>,
}
