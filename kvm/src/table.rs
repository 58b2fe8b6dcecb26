//! The table of ioctls: one row each, and the one way in.
//!
//! ```text
//!   ioctl(object, request, arg) ── EIO? ── row of (kind of object, request) ── handler
//!                                              └ none: as KVM's default cases give
//! ```
//!
//! A handler copies its argument in, calls the object's method (which is also the Rust API), and
//! copies the result out. Each row says with which errnos it can fail and when; tests hold the
//! handlers to that.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock};

use understudy_abi::ioctl::{is_kvm, size};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::Errno;
use crate::guest::Guest;
use crate::guest_memfd::GuestMemfd;
use crate::ioctl as families;
use crate::system::Kvm;
use crate::user::User;
use crate::vcpu::Vcpu;
use crate::vm::Vm;

/// What a descriptor of KVM's stands for.
#[derive(Clone, Debug)]
pub enum Object {
    /// `/dev/kvm`.
    System(Kvm),
    /// From `KVM_CREATE_VM`.
    Vm(Arc<Vm>),
    /// From `KVM_CREATE_VCPU`.
    Vcpu(Arc<Vcpu>),
    /// From `KVM_GET_STATS_FD`. Its descriptor can be read as it is.
    Stats,
    /// From `KVM_CREATE_GUEST_MEMFD`.
    GuestMemfd(Arc<GuestMemfd>),
}

/// The kinds of [`Object`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`Object::System`].
    System,
    /// [`Object::Vm`].
    Vm,
    /// [`Object::Vcpu`].
    Vcpu,
    /// [`Object::Stats`].
    Stats,
    /// [`Object::GuestMemfd`].
    GuestMemfd,
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Object::System(_) => Kind::System,
            Object::Vm(_) => Kind::Vm,
            Object::Vcpu(_) => Kind::Vcpu,
            Object::Stats => Kind::Stats,
            Object::GuestMemfd(_) => Kind::GuestMemfd,
        }
    }

    /// The architecture of its guests. Statistics have none of their own: as arm64's.
    pub fn guest(&self) -> Guest {
        match self {
            Object::System(system) => system.guest(),
            Object::Vm(vm) => vm.guest(),
            Object::Vcpu(vcpu) => vcpu.vm().guest(),
            Object::Stats => Guest::Arm64,
            Object::GuestMemfd(_) => Guest::X86_64,
        }
    }
}

/// Where the descriptors go that ioctls make.
pub trait Descriptors {
    /// Takes a new object with the descriptor that stands for it (close-on-exec is set where KVM sets
    /// it), and gives the number by which the program knows it from now on.
    ///
    /// # Errors
    ///
    /// What the ioctl shall fail with, for instance EMFILE. The object is dropped then.
    fn install(&self, object: Object, fd: OwnedFd) -> Result<i32, Errno>;
}

/// An ioctl being performed.
pub(crate) struct Call<'a> {
    /// The argument, a number or a pointer.
    pub(crate) arg: u64,
    /// Where new descriptors go.
    pub(crate) descriptors: &'a dyn Descriptors,
}

impl Call<'_> {
    /// The argument as a pointer.
    pub(crate) fn user(&self) -> User {
        User::at(self.arg)
    }

    /// Copies in the structure that the argument points to.
    pub(crate) fn read<T: FromBytes + IntoBytes>(&self) -> Result<T, Errno> {
        self.user().read()
    }

    /// Copies a structure out to where the argument points.
    pub(crate) fn write<T: IntoBytes + Immutable>(&self, value: &T) -> Result<(), Errno> {
        self.user().write(value)
    }
}

/// What performs an ioctl, by the kind of object that it is for.
pub(crate) enum Handler {
    System(fn(&Kvm, &Call<'_>) -> Result<i64, Errno>),
    Vm(fn(&Arc<Vm>, &Call<'_>) -> Result<i64, Errno>),
    Vcpu(fn(&Arc<Vcpu>, &Call<'_>) -> Result<i64, Errno>),
}

/// An ioctl of one kind of object.
pub struct Row {
    /// Its uAPI name.
    pub name: &'static str,
    /// Its number.
    pub request: u32,
    /// What it does, in a line.
    pub summary: &'static str,
    /// With what it can fail, and when.
    pub errnos: &'static [(Errno, &'static str)],
    pub(crate) handler: Handler,
}

impl Row {
    /// The kind of object that it is for.
    pub fn kind(&self) -> Kind {
        match self.handler {
            Handler::System(_) => Kind::System,
            Handler::Vm(_) => Kind::Vm,
            Handler::Vcpu(_) => Kind::Vcpu,
        }
    }
}

/// Write a [`Row`]: `row!(KVM_RUN: Vcpu run, "what it does", EINVAL "when", EINTR "when")`.
macro_rules! row {
    ($request:path: $kind:ident $handler:path, $summary:literal $(, $errno:ident $when:literal)* $(,)?) => {
        $crate::table::Row {
            name: $crate::table::last_segment(stringify!($request)),
            request: $request,
            summary: $summary,
            errnos: &[$(($crate::errno::Errno::$errno, $when)),*],
            handler: $crate::table::Handler::$kind($handler),
        }
    };
}
pub(crate) use row;

/// The name behind the last `::` of a path.
pub(crate) const fn last_segment(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut start = bytes.len();
    while start > 0 && bytes[start - 1] != b':' && bytes[start - 1] != b' ' {
        start -= 1;
    }
    path.split_at(start).1
}

/// Every ioctl that an architecture has, family by family.
pub fn rows(guest: Guest) -> impl Iterator<Item = &'static Row> {
    let families = families::FAMILIES.iter();
    families
        .filter(move |(guests, _)| guests.has(guest))
        .flat_map(|(_, rows)| *rows)
}

/// The rows of one architecture.
type Index = HashMap<(Kind, u32), &'static Row>;

fn index(guest: Guest) -> Index {
    let rows = rows(guest);
    rows.map(|row| ((row.kind(), row.request), row)).collect()
}

static ARM64: LazyLock<Index> = LazyLock::new(|| index(Guest::Arm64));
static X86_64: LazyLock<Index> = LazyLock::new(|| index(Guest::X86_64));

/// The row of an ioctl.
pub fn find(guest: Guest, kind: Kind, request: u32) -> Option<&'static Row> {
    let index = match guest {
        Guest::Arm64 => &ARM64,
        Guest::X86_64 => &X86_64,
    };
    index.get(&(kind, request)).copied()
}

/// What a request gives that KVM does not know.
pub fn unknown(guest: Guest, kind: Kind) -> Errno {
    match (guest, kind) {
        (Guest::X86_64, Kind::Vm) | (_, Kind::Stats | Kind::GuestMemfd) => Errno::ENOTTY,
        _ => Errno::EINVAL,
    }
}

/// Performs an ioctl, as the kernel would for a descriptor of this object.
///
/// # Errors
///
/// Those of the request's row; EIO if the VM is another process's (one that forked) or dead;
/// EINVAL, or ENOTTY on an x86-64 guest's VM, for a request that KVM does not know; ENOTTY for any
/// request on statistics and on a guest_memfd.
pub fn ioctl(
    object: &Object,
    descriptors: &dyn Descriptors,
    request: u32,
    arg: u64,
) -> Result<i64, Errno> {
    match object {
        Object::System(_) => {}
        Object::Vm(vm) => vm.check_alive()?,
        Object::Vcpu(vcpu) => vcpu.vm().check_alive()?,
        Object::Stats | Object::GuestMemfd(_) => return Err(Errno::ENOTTY),
    }
    let call = Call { arg, descriptors };
    // The one that has to be quick.
    if let Object::Vcpu(vcpu) = object
        && request == understudy_abi::ioctl::KVM_RUN
    {
        return families::run::run(vcpu, &call);
    }
    let (guest, kind) = (object.guest(), object.kind());
    let row = find(guest, kind, request).ok_or_else(|| unknown(guest, kind))?;
    debug_assert!(is_kvm(request) && size(request) <= understudy_abi::PAGE_SIZE);
    match (&row.handler, object) {
        (Handler::System(handler), Object::System(system)) => handler(system, &call),
        (Handler::Vm(handler), Object::Vm(vm)) => handler(vm, &call),
        (Handler::Vcpu(handler), Object::Vcpu(vcpu)) => handler(vcpu, &call),
        _ => Err(Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use understudy_abi::ioctl as numbers;

    #[test]
    fn every_row_is_one_of_the_uapi_and_says_what_it_can_fail_with() {
        for guest in Guest::ALL {
            check(guest);
        }
    }

    fn check(guest: Guest) {
        let mut seen = HashSet::new();
        for row in rows(guest) {
            assert!(seen.insert((row.kind(), row.request)), "{} twice", row.name);
            // By name, as KVM_ARM_SET_DEVICE_ADDR has the number of KVM_GET_ONE_REG.
            let of_guest = match guest {
                Guest::Arm64 => numbers::arm64::ALL,
                Guest::X86_64 => numbers::x86::ALL,
            };
            let uapi = || numbers::ALL.iter().chain(of_guest);
            assert!(
                uapi().any(|of| *of == (row.name, row.request)),
                "{}",
                row.name
            );
            assert!(!row.summary.is_empty(), "{}", row.name);
            let mut errnos = HashSet::new();
            for (errno, when) in row.errnos {
                assert!(!when.is_empty(), "{} {errno:?}", row.name);
                assert!(errnos.insert(errno), "{} {errno:?} twice", row.name);
            }
            // What has a structure behind it can be given a bad pointer, unless it is refused
            // before anybody looks.
            if numbers::size(row.request) > 0 {
                let refused = row.errnos.iter().any(|(errno, _)| *errno == Errno::ENXIO);
                assert!(refused || errnos.contains(&Errno::EFAULT), "{}", row.name);
            }
        }
    }

    #[test]
    fn names_are_the_last_segments_of_paths() {
        assert_eq!(last_segment("a :: b :: KVM_RUN"), "KVM_RUN");
        assert_eq!(last_segment("a::KVM_RUN"), "KVM_RUN");
        assert_eq!(last_segment("KVM_RUN"), "KVM_RUN");
    }
}
