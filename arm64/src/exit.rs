//! Why a vCPU stopped running its guest.

/// What the caller of [`crate::vcpu::Vcpu::run`] has to look after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Somebody asked for it: a signal, `immediate_exit`.
    Interrupted,
}
