//! Self-hosted and external debug (Arm ARM D2).

/// What this part keeps of a vCPU.
#[derive(Debug, Default)]
pub struct DebugState {}
