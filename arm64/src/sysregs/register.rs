//! A row of the table of system registers.

use super::encoding::Encoding;
use super::storage::Reg;
use super::traps::Accesses;
use super::user::Error;
use crate::Cpu;
use understudy_engine::emit::{Slot, Stop};

/// What KVM gives as the reset value of a register that the architecture resets to UNKNOWN.
pub const UNKNOWN: u64 = 0x1de7_ec7e_dbad_c0de;

/// A system register.
#[derive(Debug)]
pub struct Register {
    /// Where it is among the encodings.
    pub encoding: Encoding,
    /// The manual's name.
    pub name: &'static str,
    /// What MRS at EL1 gives.
    pub read: Read,
    /// What MSR at EL1 does.
    pub write: Write,
    /// Whether the processor has it; if not it is UNDEFINED to the guest. None is always.
    pub present: Option<fn(&Cpu) -> bool>,
    /// What EL0 may do.
    pub el0: El0,
    /// Which group of trapped accesses it belongs to, for reads and writes.
    pub trap: Accesses,
    /// The same for writes only.
    pub trap_write: Accesses,
    /// Its value after a (warm) reset.
    pub reset: Reset,
    /// How KVM_GET_ONE_REG and KVM_SET_ONE_REG see it.
    pub user: User,
}

/// What MRS does.
#[derive(Clone, Copy, Debug)]
pub enum Read {
    /// It is UNDEFINED.
    Undefined,
    /// It gives this.
    Constant(u64),
    /// It gives what is stored.
    Stored(Reg),
    /// It gives what the slot holds.
    Slot(Slot),
    /// It gives the VM's ID register of that encoding.
    Id,
    /// Something of its own.
    By(fn(&mut Cpu) -> Result<u64, Stop>),
}

/// What MSR does.
#[derive(Clone, Copy, Debug)]
pub enum Write {
    /// It is UNDEFINED.
    Undefined,
    /// Nothing.
    Ignored,
    /// It stores the value.
    Stored(Reg),
    /// It stores the value, and what depends on it is told.
    Then(Reg, fn(&mut Cpu)),
    /// It puts the value into the slot.
    Slot(Slot),
    /// Something of its own.
    By(fn(&mut Cpu, u64) -> Result<(), Stop>),
}

/// What EL0 may do with a register that EL1 can access.
#[derive(Clone, Copy, Debug)]
pub enum El0 {
    /// Nothing: it is UNDEFINED.
    Undefined,
    /// What EL1 may.
    Allowed,
    /// Read, but not write: a write is UNDEFINED.
    ReadOnly,
    /// What EL1 may, if this says so; else the access is trapped to EL1.
    If(fn(&Cpu) -> bool),
}

/// The value after a reset.
#[derive(Clone, Copy, Debug)]
pub enum Reset {
    /// None of its own.
    None,
    /// This one.
    To(u64),
    /// One that depends on the vCPU.
    By(fn(&Cpu) -> u64),
    /// The same, at the vCPU's first reset; later ones leave the register as it is, as it is one of
    /// those that identify the processor.
    Once(fn(&Cpu) -> u64),
}

/// How user space sees a register.
#[derive(Clone, Copy, Debug)]
pub enum User {
    /// Not at all: ENOENT, and not listed.
    Hidden,
    /// As it is stored; any value can be set.
    Stored(Reg),
    /// As it is stored; the first function says whether a value may be set, the second is told.
    Checked(Reg, fn(&Cpu, u64) -> Result<(), Error>, fn(&mut Cpu)),
    /// As it is stored; those that depend on it are told of a new value.
    Then(Reg, fn(&mut Cpu)),
    /// As it is stored, on a vCPU that has it; hidden on others.
    If(Reg, fn(&Cpu) -> bool),
    /// As the slot holds it.
    Slot(Slot),
    /// An ID register of the VM.
    Id,
    /// Something of its own, that can have any value.
    By(fn(&Cpu) -> u64, fn(&mut Cpu, u64)),
    /// The vCPU cannot have another value than this: setting it to any other is EINVAL.
    Invariant(fn(&Cpu) -> u64),
}

impl Register {
    /// A register that nobody can do anything with: what the other functions start from.
    const fn new(name: &'static str, op: [u16; 5]) -> Register {
        Register {
            encoding: Encoding::new(op[0], op[1], op[2], op[3], op[4]),
            name,
            read: Read::Undefined,
            write: Write::Undefined,
            present: None,
            el0: El0::Undefined,
            trap: Accesses::empty(),
            trap_write: Accesses::empty(),
            reset: Reset::None,
            user: User::Hidden,
        }
    }

    /// A register that guest and user space read and write, and that resets to `reset`.
    pub(super) const fn stored(name: &'static str, op: [u16; 5], reg: Reg, reset: u64) -> Register {
        let mut register = Register::new(name, op);
        register.read = Read::Stored(reg);
        register.write = Write::Stored(reg);
        register.reset = Reset::To(reset);
        register.user = User::Stored(reg);
        register
    }

    /// The same, for a register that is a slot of the register file.
    pub(super) const fn slot(name: &'static str, op: [u16; 5], slot: Slot) -> Register {
        let mut register = Register::new(name, op);
        register.read = Read::Slot(slot);
        register.write = Write::Slot(slot);
        register.reset = Reset::To(UNKNOWN);
        register.user = User::Slot(slot);
        register
    }

    /// A register that the guest cannot access and user space can: one of EL2 for AArch32 guests,
    /// or of a feature that the guest does not have.
    pub(super) const fn kept(name: &'static str, op: [u16; 5], reg: Reg, reset: u64) -> Register {
        let mut register = Register::stored(name, op, reg, reset);
        register.read = Read::Undefined;
        register.write = Write::Undefined;
        register
    }

    /// A register that reads as zero and ignores writes (RAZ/WI).
    pub(super) const fn raz_wi(name: &'static str, op: [u16; 5]) -> Register {
        let mut register = Register::new(name, op);
        register.read = Read::Constant(0);
        register.write = Write::Ignored;
        register
    }

    /// A register with a reading function, and UNDEFINED to write.
    pub(super) const fn reads(
        name: &'static str,
        op: [u16; 5],
        read: fn(&mut Cpu) -> Result<u64, Stop>,
    ) -> Register {
        let mut register = Register::new(name, op);
        register.read = Read::By(read);
        register
    }

    /// A register with a writing function, and UNDEFINED to read.
    pub(super) const fn writes(
        name: &'static str,
        op: [u16; 5],
        write: fn(&mut Cpu, u64) -> Result<(), Stop>,
    ) -> Register {
        let mut register = Register::new(name, op);
        register.write = Write::By(write);
        register
    }

    /// An ID register of the VM ([`super::id`]).
    pub(super) const fn id(name: &'static str, op: [u16; 5]) -> Register {
        let mut register = Register::new(name, op);
        register.read = Read::Id;
        register.user = User::Id;
        register.trap = Accesses::TID3;
        register
    }

    /// A register of the processor that never changes.
    pub(super) const fn invariant(
        name: &'static str,
        op: [u16; 5],
        guest: fn(&mut Cpu) -> Result<u64, Stop>,
        user: fn(&Cpu) -> u64,
    ) -> Register {
        let mut register = Register::reads(name, op, guest);
        register.user = User::Invariant(user);
        register
    }

    /// With this way to be read.
    pub(super) const fn read(mut self, read: Read) -> Register {
        self.read = read;
        self
    }

    /// With this way to be written.
    pub(super) const fn write(mut self, write: Write) -> Register {
        self.write = write;
        self
    }

    /// With a writing function.
    pub(super) const fn written(self, write: fn(&mut Cpu, u64) -> Result<(), Stop>) -> Register {
        self.write(Write::By(write))
    }

    /// With a function that is told after each change, whoever made it.
    pub(super) const fn then(mut self, told: fn(&mut Cpu)) -> Register {
        if let Write::Stored(reg) = self.write {
            self.write = Write::Then(reg, told);
        }
        if let User::Stored(reg) = self.user {
            self.user = User::Then(reg, told);
        }
        self
    }

    /// With this to say whether the processor has it.
    pub(super) const fn present(mut self, present: fn(&Cpu) -> bool) -> Register {
        self.present = Some(present);
        self
    }

    /// With this for EL0.
    pub(super) const fn el0(mut self, el0: El0) -> Register {
        self.el0 = el0;
        self
    }

    /// With these accesses trapped.
    pub(super) const fn trap(mut self, accesses: Accesses) -> Register {
        self.trap = accesses;
        self
    }

    /// With these accesses trapped when it is written.
    pub(super) const fn trap_write(mut self, accesses: Accesses) -> Register {
        self.trap_write = accesses;
        self
    }

    /// With a reset value that depends on the vCPU.
    pub(super) const fn reset(mut self, reset: fn(&Cpu) -> u64) -> Register {
        self.reset = Reset::By(reset);
        self
    }

    /// With a value that depends on the vCPU at its first reset, and that it keeps.
    pub(super) const fn reset_once(mut self, reset: fn(&Cpu) -> u64) -> Register {
        self.reset = Reset::Once(reset);
        self
    }

    /// With this for user space.
    pub(super) const fn user(mut self, user: User) -> Register {
        self.user = user;
        self
    }

    /// Not shown to user space.
    pub(super) const fn hidden(self) -> Register {
        self.user(User::Hidden)
    }

    /// Where its value is stored, if it is a stored one.
    pub(super) const fn storage(&self) -> Option<Reg> {
        match (self.user, self.read) {
            (
                User::Stored(reg)
                | User::Checked(reg, _, _)
                | User::Then(reg, _)
                | User::If(reg, _),
                _,
            )
            | (_, Read::Stored(reg)) => Some(reg),
            _ => None,
        }
    }
}
