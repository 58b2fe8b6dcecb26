//! The `abi` crate of Understudy.
