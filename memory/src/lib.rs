//! The `memory` crate of Understudy.
