//! Faults of translation, and the aborts that report them (Arm ARM D8.15).

use crate::exit::Exit;
use crate::{Cpu, exceptions};
use understudy_engine::emit::Stop;

/// ISS.WnR of a Data Abort.
const WNR: u64 = 1 << 6;
/// ISS.CM of a Data Abort: cache maintenance or address translation.
const CM: u64 = 1 << 8;

/// A fault. Levels are 0 to 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// An output address, or the address itself without translation, has too many bits.
    AddressSize(u32),
    /// No valid descriptor.
    Translation(u32),
    /// The Access flag is clear, and hardware does not set it.
    AccessFlag(u32),
    /// The access has not the rights.
    Permission(u32),
    /// The address is not aligned as it must be.
    Alignment,
    /// KVM injects an external abort: a table, or an instruction, lies in no memory, or an address
    /// is beyond the VM's guest-physical addresses. FAR_EL1, where that is not the address of the
    /// access.
    External {
        /// See above.
        far: Option<u64>,
    },
    /// The process has no memory behind the slot: not the guest's fault.
    Host,
}

impl Fault {
    /// DFSC and IFSC of ESR_EL1, FST of PAR_EL1.
    pub(super) fn status(self) -> u64 {
        match self {
            Fault::AddressSize(level) => level as u64,
            Fault::Translation(level) => 0x04 | level as u64,
            Fault::AccessFlag(level) => 0x08 | level as u64,
            Fault::Permission(level) => 0x0c | level as u64,
            Fault::External { .. } | Fault::Host => 0x10,
            Fault::Alignment => 0x21,
        }
    }
}

/// A fault, and whether it is the writing that faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Abort {
    /// The fault.
    pub(super) fault: Fault,
    /// ISS.WnR.
    pub(super) write: bool,
}

impl Abort {
    /// Of a read, or of no matter what.
    pub(super) fn read(fault: Fault) -> Abort {
        Abort {
            fault,
            write: false,
        }
    }

    /// Takes the Data Abort.
    #[cold]
    pub(super) fn data(self, cpu: &mut Cpu, address: u64) -> Stop {
        let iss = self.fault.status() | if self.write { WNR } else { 0 };
        self.take(cpu, address, iss, exceptions::data_abort)
    }

    /// Takes the Data Abort of a cache maintenance or address translation instruction.
    #[cold]
    pub(super) fn maintenance(self, cpu: &mut Cpu, address: u64) -> Stop {
        let iss = self.fault.status() | WNR | CM;
        self.take(cpu, address, iss, exceptions::data_abort)
    }

    /// Takes the Instruction Abort.
    #[cold]
    pub(super) fn instruction(self, cpu: &mut Cpu, address: u64) -> Stop {
        let iss = self.fault.status();
        self.take(cpu, address, iss, exceptions::instruction_abort)
    }

    fn take(
        self,
        cpu: &mut Cpu,
        address: u64,
        iss: u64,
        abort: fn(&mut Cpu, u64, u64) -> Stop,
    ) -> Stop {
        match self.fault {
            Fault::Host => {
                cpu.state.exit = Some(Exit::Fault);
                Stop::Exit
            }
            // The syndrome that KVM makes up says nothing else.
            Fault::External { far } => abort(cpu, far.unwrap_or(address), self.fault.status()),
            _ => abort(cpu, address, iss),
        }
    }
}
