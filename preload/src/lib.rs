//! The `preload` crate of Understudy.
