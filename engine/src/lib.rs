//! How any CPU runs.
//!
//! ```text
//!            Engine::run
//!                │  between blocks: Arch::service if the request word is not 0
//!                ▼
//!   fetch TLB ─► code page ─► block ──────► interpreter       (cold: at once)
//!   (virtual     (physical,     │ counter
//!    to code      mode)         ▼
//!    page)                    region ─────► compiled code     (hot: made on another thread)
//!                               │
//!        semantics over Emit ─► IR ─► Cranelift
//! ```
//!
//! The engine knows no architecture ([`arch::Arch`] is what one must provide) and no KVM. What standards
//! define for all of them is here, too: arithmetic ([`ieee`]) and ciphers ([`aes`], [`gf256`]).

pub mod access;
pub mod aes;
pub mod arch;
pub mod block;
pub mod bus;
mod chain;
pub mod code;
pub mod compile;
pub mod cpu;
pub mod emit;
pub mod float;
pub mod gf256;
pub mod ieee;
mod interp;
pub mod ir;
pub mod peers;
mod region;
pub mod request;
pub mod run;
pub mod single;
pub mod sleep;
mod sparse;
pub mod timekeeper;
pub mod tlb;
pub mod vector;
