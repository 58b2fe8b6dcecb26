//! The `kvm` crate of Understudy.
