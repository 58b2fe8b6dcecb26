//! The guest's architecture, which everything but the common ioctls depends on.

use std::ops::Deref;
use std::sync::Arc;

use bitflags::bitflags;
use understudy_arm64::vcpu::peer::Peer as Arm64Peer;
use understudy_engine::peers::Handle;
use understudy_x86::vcpu::peer::Peer as X86Peer;

/// The architecture of the guests of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Guest {
    /// AArch64.
    #[default]
    Arm64,
    /// x86-64.
    X86_64,
}

impl Guest {
    /// Both.
    pub const ALL: [Guest; 2] = [Guest::Arm64, Guest::X86_64];

    /// Its name in the kernel's source.
    pub fn name(self) -> &'static str {
        match self {
            Guest::Arm64 => "arm64",
            Guest::X86_64 => "x86-64",
        }
    }

    /// The one of this name.
    pub fn by_name(name: &str) -> Option<Guest> {
        Guest::ALL.into_iter().find(|guest| guest.name() == name)
    }
}

bitflags! {
    /// Architectures that have an ioctl.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Guests: u8 {
        /// [`Guest::Arm64`].
        const ARM64 = 1 << 0;
        /// [`Guest::X86_64`].
        const X86_64 = 1 << 1;
    }
}

impl Guests {
    /// Whether an architecture is among them.
    pub fn has(self, guest: Guest) -> bool {
        self.contains(match guest {
            Guest::Arm64 => Guests::ARM64,
            Guest::X86_64 => Guests::X86_64,
        })
    }
}

/// A vCPU as other threads reach it: what ends its run.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Of an arm64 guest.
    Arm64(Arc<Arm64Peer>),
    /// Of an x86-64 guest.
    X86(Arc<X86Peer>),
}

impl Deref for Peer {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        match self {
            Peer::Arm64(peer) => peer,
            Peer::X86(peer) => peer,
        }
    }
}
