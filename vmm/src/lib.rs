//! The small VMM behind `understudy run` and `understudy bench`. It uses the KVM API as any VMM
//! would, and knows nothing of how a CPU works. So far it runs embedded guests only.

pub mod bench;
pub mod demo;
mod error;
mod long_mode;
mod machine;

pub use error::Error;
