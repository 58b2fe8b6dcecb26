//! What other threads can see and do of a vCPU: the other vCPUs, a timer, an ioctl, a signal
//! handler.

use crate::apic::Apic;
use crate::machine::Machine;
use std::sync::Arc;
use understudy_engine::request::{EXIT, Requests};
use understudy_engine::sleep::Sleeper;

/// A vCPU as others reach it.
#[derive(Debug)]
pub struct Peer {
    index: usize,
    id: u32,
    requests: Arc<Requests>,
    sleeper: Sleeper,
    apic: Apic,
}

impl Peer {
    pub(crate) fn new(machine: &Machine, index: usize, id: u32) -> Peer {
        Peer {
            index,
            id,
            requests: Arc::new(Requests::new()),
            sleeper: Sleeper::new(),
            apic: Apic::new(machine, id),
        }
    }

    /// Index of the vCPU in its machine.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The number that `KVM_CREATE_VCPU` was given: the initial APIC ID.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The request word.
    pub fn requests(&self) -> &Arc<Requests> {
        &self.requests
    }

    /// Its local APIC.
    #[inline]
    pub fn apic(&self) -> &Apic {
        &self.apic
    }

    /// Where it sleeps.
    pub(crate) fn sleeper(&self) -> &Sleeper {
        &self.sleeper
    }

    /// Makes a request, and wakes the vCPU if it sleeps. Safe in a signal handler.
    pub fn post(&self, bits: u32) {
        self.requests.post(bits);
        self.sleeper.wake();
    }

    /// Has [`crate::vcpu::Vcpu::run`] return [`crate::exit::Exit::Interrupted`] as soon as it can,
    /// the next call if there is none now. Safe in a signal handler.
    pub fn kick(&self) {
        self.post(EXIT);
    }
}
