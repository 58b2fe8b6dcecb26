//! Eventfds that a program hands over: it tells KVM by one, or hears from it (eventfd(2)).
//!
//! Each is kept by a descriptor of KVM's own, so that the program may close its one. No use of them
//! waits, whatever the program does to them meanwhile.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ReadWriteFlags;

use crate::errno::Errno;

/// An eventfd of the program's.
#[derive(Debug)]
pub(crate) struct EventFd {
    fd: OwnedFd,
    /// The kernel's number of it, however many descriptors it has.
    id: u64,
}

impl EventFd {
    /// The one with this descriptor: EBADF if there is none, EINVAL if it is no eventfd.
    pub(crate) fn of(number: i32) -> Result<EventFd, Errno> {
        if number < 0 {
            return Err(Errno::EBADF);
        }
        // SAFETY: it is only duplicated, which fails if it is not open.
        let given = unsafe { BorrowedFd::borrow_raw(number) };
        let fd = rustix::io::fcntl_dupfd_cloexec(given, 0)?;
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
        let info = info.map_err(|_| Errno::EINVAL)?;
        let id = info
            .lines()
            .find_map(|line| line.strip_prefix("eventfd-id:"))
            .and_then(|id| id.trim().parse().ok())
            .ok_or(Errno::EINVAL)?;
        Ok(EventFd { fd, id })
    }

    /// Whether both are the same eventfd.
    pub(crate) fn is(&self, other: &EventFd) -> bool {
        self.id == other.id
    }

    fn ready(&self, flags: PollFlags) -> bool {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.fd, flags)];
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) && fds[0].revents().contains(flags)
    }

    /// Adds 1, unless it is full: whoever waits is told then already.
    pub(crate) fn signal(&self) {
        if self.ready(PollFlags::OUT) {
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// Takes what it has; false if that is nothing.
    pub(crate) fn take(&self) -> bool {
        let mut count = [0; 8];
        let mut into = [IoSliceMut::new(&mut count)];
        // The offset of a stream, and not to wait: somebody else may have taken it.
        match rustix::io::preadv2(&self.fd, &mut into, u64::MAX, ReadWriteFlags::NOWAIT) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.ready(PollFlags::IN) && rustix::io::read(&self.fd, &mut count).is_ok()
            }
            result => result.is_ok(),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    #[test]
    fn it_counts_and_never_waits() {
        let fd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let event = EventFd::of(fd.as_raw_fd()).unwrap();
        assert!(!event.take(), "nothing");
        event.signal();
        event.signal();
        let mut count = [0; 8];
        assert_eq!(rustix::io::read(&fd, &mut count), Ok(8));
        assert_eq!(u64::from_ne_bytes(count), 2);
        rustix::io::write(&fd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        event.signal();
        assert!(event.take());
        assert!(!event.take());
    }

    #[test]
    fn it_is_known_by_any_of_its_descriptors() {
        let [one, two] = [(); 2].map(|()| eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let also = rustix::io::fcntl_dupfd_cloexec(&one, 0).unwrap();
        let of = |fd: &OwnedFd| EventFd::of(fd.as_raw_fd()).unwrap();
        assert!(of(&one).is(&of(&also)));
        assert!(!of(&one).is(&of(&two)));
        let file = std::fs::File::open("/proc/self/maps").unwrap();
        let error = |number| EventFd::of(number).map(|_| ()).unwrap_err();
        assert_eq!(error(file.as_raw_fd()), Errno::EINVAL);
        for number in [-1, i32::MIN, i32::MAX] {
            assert_eq!(error(number), Errno::EBADF);
        }
    }
}
