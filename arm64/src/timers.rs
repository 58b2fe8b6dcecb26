//! The generic timer (Arm ARM D12).

/// What this part keeps of a vCPU.
#[derive(Debug, Default)]
pub struct TimerState {}
