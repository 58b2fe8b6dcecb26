//! The `memory` crate of Understudy.
pub mod host;
/// Guest memory.
pub struct GuestMemory;
