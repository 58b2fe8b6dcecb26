//! The small VMM behind `understudy run`. It uses the KVM API as any VMM would, and knows nothing of
//! how a CPU works. So far it runs the embedded demonstration only.

pub mod demo;
