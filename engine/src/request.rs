//! The one word of a vCPU that others set to have it leave its guest code.
//!
//! ```text
//!   another thread                        the vCPU's thread
//!   post(bits) ───── word |= bits ──────► looked at on every back edge and block chain;
//!                                         Arch::service() takes the bits and acts
//!   post_and_wait(bits) ◄─ word & bits == 0, or the vCPU is not running guest code
//! ```

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Leave [`crate::run::Engine::run`] as soon as possible (a signal, `immediate_exit`).
pub const EXIT: u32 = 1 << 0;
/// Forget all translations of addresses.
pub const FLUSH_TLB: u32 = 1 << 1;
/// Ask before the next store to each page (dirty logging has begun anew).
pub const FLUSH_STORES: u32 = 1 << 2;
/// Something outside has changed that may be an interrupt now.
pub const INTERRUPT: u32 = 1 << 3;
/// Compiled code is ready to be taken over.
pub const COMPILED: u32 = 1 << 4;
/// The vCPU's dirty ring is full: leave, as long as it is ([`crate::cpu::Cpu::dirty_ring_full`]).
pub const DIRTY_RING_FULL: u32 = 1 << 5;
/// First of the bits that an architecture may use for itself.
pub const ARCH_SHIFT: u32 = 16;

/// The request word of one vCPU, shared with whoever may want something of it.
#[derive(Debug, Default)]
pub struct Requests {
    word: AtomicU32,
    running: AtomicBool,
}

impl Requests {
    /// Nothing requested, not running.
    pub const fn new() -> Requests {
        Requests {
            word: AtomicU32::new(0),
            running: AtomicBool::new(false),
        }
    }

    /// Whether anything is requested.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.word.load(Ordering::Relaxed) != 0
    }

    /// What is requested.
    #[inline]
    pub fn pending(&self) -> u32 {
        self.word.load(Ordering::SeqCst)
    }

    /// Requests, and does not wait. Safe in a signal handler.
    #[inline]
    pub fn post(&self, bits: u32) {
        if bits != 0 {
            self.word.fetch_or(bits, Ordering::SeqCst);
        }
    }

    /// Takes requests: gives those of `bits` that were made, and clears them.
    #[inline]
    pub fn take(&self, bits: u32) -> u32 {
        // Mostly there are none, and looking is cheaper than taking.
        if self.pending() & bits == 0 {
            return 0;
        }
        self.word.fetch_and(!bits, Ordering::SeqCst) & bits
    }

    /// Requests, and returns once the vCPU has taken the request or is not running guest code;
    /// in the second case it takes it before it runs any. `idle` is called while waiting, so that a
    /// waiting vCPU can serve requests made of itself.
    pub fn post_and_wait(&self, bits: u32, mut idle: impl FnMut()) {
        self.post(bits);
        let mut turns = 0u32;
        while self.running.load(Ordering::SeqCst) && self.word.load(Ordering::SeqCst) & bits != 0 {
            idle();
            turns += 1;
            if turns < 64 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Marks the vCPU as running guest code. Requests made before are seen after.
    #[inline]
    pub fn enter(&self) {
        self.running.store(true, Ordering::SeqCst);
    }

    /// Marks the vCPU as not running guest code: it touches no guest memory until it enters again.
    #[inline]
    pub fn leave(&self) {
        // Who waits for it sees what was done before. Only entering has to be in order with the word.
        self.running.store(false, Ordering::Release);
    }

    /// The word itself, for compiled code.
    pub fn word(&self) -> *const u32 {
        self.word.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn waits_for_a_running_vcpu_only() {
        let requests = Arc::new(Requests::new());
        requests.post_and_wait(FLUSH_TLB, || panic!("it is not running"));
        assert_eq!(requests.take(FLUSH_TLB | EXIT), FLUSH_TLB);

        requests.enter();
        let vcpu = {
            let requests = requests.clone();
            std::thread::spawn(move || {
                while requests.take(FLUSH_TLB) == 0 {
                    std::thread::yield_now();
                }
            })
        };
        requests.post_and_wait(FLUSH_TLB, || ());
        assert_eq!(requests.pending() & FLUSH_TLB, 0);
        vcpu.join().unwrap();
    }
}
