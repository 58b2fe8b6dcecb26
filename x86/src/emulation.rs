//! What KVM's instruction emulator fails to do (KVM API 5, "KVM_EXIT_INTERNAL_ERROR", and 7.29,
//! "KVM_CAP_EXIT_ON_EMULATION_FAILURE").
//!
//! ```text
//!   an access where there is no memory
//!     by an instruction that KVM knows ([`crate::insn`]) ─► the device's: an exit, or none
//!     by another, or of the fetch ─► CPL 3: #UD
//!                                    CPL 0: an exit, and #UD in the next run
//!                                    user space asks for exits: an exit, and that is all
//! ```

use crate::exceptions::{self, Fault, vector};
use crate::exit::{EmulationFailure, Exit};
use crate::insn::{self, MAX_LENGTH};
use crate::{Cpu, events};
use understudy_engine::emit::Stop;

/// EXITINFO1 of a nested page fault (AMD APM vol. 2, 15.25.6): the final translation of the guest's
/// access, which has a user's rights there.
const GUEST_ACCESS: u64 = 1 << 32 | 1 << 2;
/// The page is there, and is read-only.
const PRESENT: u64 = 1 << 0;
/// It was a write.
const WRITE: u64 = 1 << 1;
/// It was a fetch.
const FETCH: u64 = 1 << 4;

/// The instruction at hand accesses this guest-physical address, where there is no memory for it, and KVM
/// does not know it.
#[cold]
pub(crate) fn unknown(cpu: &mut Cpu, address: u64, write: bool) -> Stop {
    let there = cpu.state.memory.lookup(address).is_some();
    let error = if there { PRESENT } else { 0 } | if write { WRITE } else { 0 };
    match insn::bytes_to_know(cpu) {
        Ok((bytes, length)) => failed(cpu, address, error, &bytes[..length]),
        Err(stop) => stop,
    }
}

/// There is no memory where the instruction is to be fetched from, or the rest of it behind these bytes.
#[cold]
pub(crate) fn unfetched(cpu: &mut Cpu, address: u64, begun: &[u8]) -> Stop {
    failed(cpu, address, FETCH, begun)
}

fn failed(cpu: &mut Cpu, address: u64, error: u64, bytes: &[u8]) -> Stop {
    if !cpu.state.exit_on_emulation_failure {
        if cpu.state.cpl != 0 {
            return exceptions::raise(cpu, Fault::new(vector::UD));
        }
        events::queue(cpu, vector::UD, None);
    }
    // As NOPs, what is not the instruction's.
    let mut insn_bytes = [0x90; MAX_LENGTH];
    insn_bytes[..bytes.len()].copy_from_slice(bytes);
    cpu.state.exit = Some(Exit::EmulationFailure(EmulationFailure {
        insn_size: bytes.len() as u8,
        insn_bytes,
        error: GUEST_ACCESS | error,
        address,
    }));
    Stop::Exit
}
