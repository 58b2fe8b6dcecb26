//! The `engine` crate of Understudy.
