//! The `arm64` crate of Understudy.
