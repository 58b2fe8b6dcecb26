//! Address translation (Arm ARM D8).

/// What this part keeps of a vCPU.
#[derive(Debug, Default)]
pub struct MmuState {}
