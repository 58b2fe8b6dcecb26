//! Eventfds: `KVM_IOEVENTFD` (api.rst 4.59) and `KVM_IRQFD` (4.75), by ioctls.

mod common;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use common::{CODE, Guest as Arm64, HOLE, Program, X86Guest as Guest};
use understudy_abi::arm64::reg::core;
use understudy_abi::cap;
use understudy_abi::common::{kvm_coalesced_mmio_zone, kvm_enable_cap, kvm_ioeventfd, kvm_irqfd};
use understudy_abi::exit::{KVM_EXIT_HLT, KVM_EXIT_IO, KVM_EXIT_MMIO};
use understudy_abi::ioctl::{self as request, KVM_CREATE_IRQCHIP, KVM_IOEVENTFD, KVM_IRQFD};
use understudy_kvm::x86::Proposals;
use understudy_kvm::{Errno, Kvm};

const DATAMATCH: u32 = 1;
const PIO: u32 = 2;
const DEASSIGN: u32 = 4;
const CCW: u32 = 8;
const DEASSIGN_IRQFD: u32 = 1;
const IRQFD_RESAMPLE: u32 = 2;

/// A new eventfd, which does not block.
fn eventfd() -> OwnedFd {
    // SAFETY: a new descriptor, which nobody else has.
    unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) }
}

/// What an eventfd has counted.
fn count(fd: &OwnedFd) -> u64 {
    let mut count = 0u64;
    // SAFETY: eight bytes are there.
    let bytes = unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), 8) };
    if bytes == 8 { count } else { 0 }
}

impl Guest {
    fn new(code: &[(usize, &[u8])]) -> Guest {
        Guest::with(code, |_, _| ())
    }

    /// One whose VM is prepared before it has a vCPU.
    fn with(code: &[(usize, &[u8])], prepare: impl FnOnce(&Program, i32)) -> Guest {
        Guest::of(Program::on(Kvm::x86(Proposals::empty())), code, prepare)
    }

    fn exit(&self) -> u32 {
        self.enter().unwrap()
    }

    fn ioeventfd(&self, of: kvm_ioeventfd) -> Result<i64, Errno> {
        let mut of = of;
        self.program.with(self.vm, KVM_IOEVENTFD, &mut of)
    }

    fn irqfd(&self, of: kvm_irqfd) -> Result<i64, Errno> {
        let mut of = of;
        self.program.with(self.vm, KVM_IRQFD, &mut of)
    }
}

fn writes(fd: &OwnedFd, addr: u64, len: u32) -> kvm_ioeventfd {
    kvm_ioeventfd {
        addr,
        len,
        fd: fd.as_raw_fd(),
        ..kvm_ioeventfd::default()
    }
}

fn values(fd: &OwnedFd, addr: u64, len: u32, datamatch: u64) -> kvm_ioeventfd {
    kvm_ioeventfd {
        datamatch,
        flags: DATAMATCH,
        ..writes(fd, addr, len)
    }
}

fn with(of: kvm_ioeventfd, flags: u32) -> kvm_ioeventfd {
    kvm_ioeventfd {
        flags: of.flags | flags,
        ..of
    }
}

#[test]
fn writes_of_an_x86_guest_signal_instead_of_exiting() {
    // mov byte [0x5000], 0x2a; mov byte [0x5000], 0x2b; mov word [0x5000], 0x2a; mov al, [0x5000];
    // mov byte [0x6000], 1; mov word [0x6000], 1; out 0x80, al; out 0x80, ax; out 0x81, al; hlt
    let guest = Guest::new(&[(
        0,
        &[
            0xc6, 0x06, 0x00, 0x50, 0x2a, 0xc6, 0x06, 0x00, 0x50, 0x2b, 0xc7, 0x06, 0x00, 0x50,
            0x2a, 0x00, 0xa0, 0x00, 0x50, 0xc6, 0x06, 0x00, 0x60, 0x01, 0xc7, 0x06, 0x00, 0x60,
            0x01, 0x00, 0xe6, 0x80, 0xe7, 0x80, 0xe6, 0x81, 0xf4,
        ],
    )]);
    let [value, any, byte, elsewhere] = [(); 4].map(|()| eventfd());
    guest.ioeventfd(values(&value, 0x5000, 1, 0x2a)).unwrap();
    guest.ioeventfd(writes(&any, 0x6000, 0)).unwrap();
    guest.ioeventfd(with(writes(&byte, 0x80, 1), PIO)).unwrap();
    guest.ioeventfd(writes(&elsewhere, 0x80, 1)).unwrap();
    guest
        .ioeventfd(with(writes(&elsewhere, 0x81, 1), CCW))
        .unwrap();
    // Another value, another length, a load.
    assert_eq!([(); 3].map(|()| guest.exit()), [KVM_EXIT_MMIO; 3]);
    assert_eq!((count(&value), count(&any)), (1, 0));
    // A word to the port of a byte; a port that only the other space has.
    assert_eq!(guest.exit(), KVM_EXIT_IO);
    assert_eq!((count(&value), count(&any), count(&byte)), (0, 2, 1));
    assert_eq!(guest.exit(), KVM_EXIT_IO);
    assert_eq!(guest.exit(), KVM_EXIT_HLT);
    assert_eq!([&byte, &elsewhere].map(count), [0, 0]);
}

#[test]
fn writes_of_an_arm64_guest_signal_instead_of_exiting() {
    // str w1, [x0]; str x1, [x0]; str w1, [x0]
    let guest = Arm64::new(&[0xb900_0001, 0xf900_0001, 0xb900_0001]);
    let fd = eventfd();
    let of = values(&fd, HOLE, 4, 7);
    let set = |of: kvm_ioeventfd| {
        let mut of = of;
        guest.program.with(guest.vm, KVM_IOEVENTFD, &mut of)
    };
    set(of).unwrap();
    guest.set(core::x(0), HOLE);
    guest.set(core::x(1), 7);
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(guest.get(core::PC), CODE + 4);
    assert_eq!(count(&fd), 1);
    set(with(of, DEASSIGN)).unwrap();
    assert_eq!(guest.enter(), Ok(KVM_EXIT_MMIO));
    assert_eq!(count(&fd), 0);
}

#[test]
fn an_ioeventfd_that_is_full_stops_nobody() {
    // out 0x80, al; out 0x80, al; hlt
    let guest = Guest::new(&[(0, &[0xe6, 0x80, 0xe6, 0x80, 0xf4])]);
    // SAFETY: as above; one that blocks.
    let fd = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
    let most = u64::MAX - 1;
    // SAFETY: eight bytes are there.
    let bytes = unsafe { libc::write(fd.as_raw_fd(), (&raw const most).cast(), 8) };
    assert_eq!(bytes, 8);
    guest.ioeventfd(with(writes(&fd, 0x80, 1), PIO)).unwrap();
    assert_eq!(guest.exit(), KVM_EXIT_HLT);
    assert_eq!(count(&fd), most);
}

#[test]
fn ioeventfds_have_kvm_s_errnos() {
    let guest = Guest::new(&[]);
    for capability in [
        cap::KVM_CAP_IOEVENTFD,
        cap::KVM_CAP_IOEVENTFD_NO_LENGTH,
        cap::KVM_CAP_IOEVENTFD_ANY_LENGTH,
    ] {
        let check = request::KVM_CHECK_EXTENSION;
        let value = guest.program.call(guest.vm, check, capability.into());
        assert_eq!(value, Ok(1));
    }
    let [fd, other] = [(); 2].map(|()| eventfd());
    let set = |of| guest.ioeventfd(of);
    for (bad, errno) in [
        (writes(&fd, 0x5000, 3), Errno::EINVAL),
        (writes(&fd, 0x5000, 16), Errno::EINVAL),
        (writes(&fd, u64::MAX, 1), Errno::EINVAL),
        (with(writes(&fd, 0x5000, 1), 16), Errno::EINVAL),
        (values(&fd, 0x5000, 0, 1), Errno::EINVAL),
        (with(writes(&fd, 0x5000, 1), DEASSIGN), Errno::ENOENT),
    ] {
        assert_eq!(set(bad), Err(errno), "{bad:?}");
    }
    let file = std::fs::File::open("/dev/null").unwrap();
    for flags in [0, DEASSIGN] {
        let mut bad = with(writes(&fd, 0x5000, 1), flags);
        bad.fd = file.as_raw_fd();
        assert_eq!(set(bad), Err(Errno::EINVAL));
        for number in [-1, i32::MIN, i32::MAX] {
            bad.fd = number;
            assert_eq!(set(bad), Err(Errno::EBADF));
        }
    }
    // Two for the same write.
    assert_eq!(set(values(&fd, 0x5000, 4, 1)), Ok(0));
    for (second, result) in [
        (values(&other, 0x5000, 4, 1), Err(Errno::EEXIST)),
        (writes(&other, 0x5000, 4), Err(Errno::EEXIST)),
        (writes(&other, 0x5000, 0), Err(Errno::EEXIST)),
        (values(&other, 0x5000, 4, 2), Ok(0)),
        (writes(&other, 0x5000, 2), Ok(0)),
        (with(writes(&other, 0x5000, 0), PIO), Ok(0)),
        (with(writes(&other, 0x5000, 0), CCW), Ok(0)),
        (writes(&other, 0x5001, 8), Ok(0)),
    ] {
        assert_eq!(set(second), result, "{second:?}");
    }
    // Only the same one is removed, once.
    for (gone, result) in [
        (values(&other, 0x5000, 4, 1), Err(Errno::ENOENT)),
        (writes(&fd, 0x5000, 4), Err(Errno::ENOENT)),
        (values(&fd, 0x5000, 4, 3), Err(Errno::ENOENT)),
        (values(&fd, 0x5000, 4, 1), Ok(0)),
        (values(&fd, 0x5000, 4, 1), Err(Errno::ENOENT)),
        (with(writes(&other, 0x5000, 0), CCW), Ok(0)),
        (with(writes(&other, 0x5000, 0), PIO), Ok(0)),
    ] {
        assert_eq!(set(with(gone, DEASSIGN)), result, "{gone:?}");
    }
    // As many zones as there can be: of ioeventfds alone there is no end.
    for n in 0..1000 {
        let mut zone = kvm_coalesced_mmio_zone {
            addr: 0x10000 + n,
            size: 1,
            pio: 1,
        };
        let register = request::KVM_REGISTER_COALESCED_MMIO;
        guest.program.with(guest.vm, register, &mut zone).unwrap();
    }
    let port = with(writes(&fd, 0x80, 1), PIO);
    assert_eq!(set(port), Err(Errno::ENOSPC));
    assert_eq!(set(writes(&fd, 0x80, 1)), Ok(0));
}

/// A PC with interrupt 4 of its PICs enabled, which halts; its handler writes to port 0x81 and ends it.
fn interruptible() -> Guest {
    // The PICs, at vector 0x20; then sti; hlt; jmp.
    let main = [
        0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6,
        0x21, 0xb0, 0xef, 0xe6, 0x21, 0xe6, 0x82, 0xfb, 0xf4, 0xeb, 0xfc,
    ];
    // out 0x81, al; mov al, 0x20; out 0x20, al; iret
    let handler = [0xe6, 0x81, 0xb0, 0x20, 0xe6, 0x20, 0xcf];
    // An interrupt that does not come would leave it halted.
    // SAFETY: it has no memory.
    unsafe { libc::alarm(60) };
    let code: [(usize, &[u8]); 3] = [(0, &main), (0x90, &[0, 1, 0, 0]), (0x100, &handler)];
    let guest = Guest::with(&code, |program, vm| {
        program.call(vm, KVM_CREATE_IRQCHIP, 0).unwrap();
    });
    // What comes before the PICs are initialised is forgotten.
    assert_eq!(guest.exit(), KVM_EXIT_IO);
    guest
}

fn signal(fd: &OwnedFd) {
    let one = 1u64;
    // SAFETY: eight bytes are there.
    let bytes = unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), 8) };
    assert_eq!(bytes, 8);
}

fn interrupt(fd: &OwnedFd, gsi: u32, flags: u32) -> kvm_irqfd {
    kvm_irqfd {
        fd: fd.as_raw_fd() as u32,
        gsi,
        flags,
        ..kvm_irqfd::default()
    }
}

fn resampled(fd: &OwnedFd, gsi: u32, resample: &OwnedFd) -> kvm_irqfd {
    kvm_irqfd {
        resamplefd: resample.as_raw_fd() as u32,
        ..interrupt(fd, gsi, IRQFD_RESAMPLE)
    }
}

/// Whether what is signalled is left alone.
fn is_unheard(fd: &OwnedFd) -> bool {
    signal(fd);
    std::thread::sleep(Duration::from_millis(50));
    count(fd) == 1
}

#[test]
fn an_eventfd_raises_an_interrupt() {
    let guest = interruptible();
    let fd = eventfd();
    guest.irqfd(interrupt(&fd, 4, 0)).unwrap();
    for _ in 0..3 {
        signal(&fd);
        assert_eq!(guest.exit(), KVM_EXIT_IO);
        assert_eq!(count(&fd), 0, "taken");
    }
    // One that is signalled before, and by another thread while the guest sleeps.
    guest.irqfd(interrupt(&fd, 4, DEASSIGN_IRQFD)).unwrap();
    assert!(is_unheard(&fd));
    signal(&fd);
    guest.irqfd(interrupt(&fd, 4, 0)).unwrap();
    assert_eq!(guest.exit(), KVM_EXIT_IO);
    let also = fd.try_clone().unwrap();
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        signal(&also);
    });
    assert_eq!(guest.exit(), KVM_EXIT_IO);
    other.join().unwrap();
    // The thread goes with the VM.
    drop(guest);
    assert!(is_unheard(&fd));
}

#[test]
fn the_end_of_an_interrupt_signals_the_other_eventfd() {
    let guest = interruptible();
    let [fd, over, also] = [(); 3].map(|()| eventfd());
    let second = eventfd();
    guest.irqfd(resampled(&fd, 4, &over)).unwrap();
    guest.irqfd(resampled(&second, 4, &also)).unwrap();
    signal(&fd);
    assert_eq!(guest.exit(), KVM_EXIT_IO);
    assert_eq!((count(&over), count(&also)), (0, 0), "it is in the handler");
    // The handler ends it; the next one comes.
    signal(&second);
    while count(&second) != 0 {
        std::thread::yield_now();
    }
    let other = std::thread::spawn({
        let (fd, over) = (fd.try_clone().unwrap(), over.try_clone().unwrap());
        move || {
            while count(&over) == 0 {
                std::thread::yield_now();
            }
            signal(&fd);
        }
    });
    assert_eq!(guest.exit(), KVM_EXIT_IO);
    other.join().unwrap();
    assert_eq!(count(&also), 1);
    for (fd, over) in [(&fd, &over), (&second, &also)] {
        let gone = kvm_irqfd {
            flags: IRQFD_RESAMPLE | DEASSIGN_IRQFD,
            ..resampled(fd, 4, over)
        };
        guest.irqfd(gone).unwrap();
        assert!(is_unheard(fd));
    }
}

#[test]
fn irqfds_have_kvm_s_errnos() {
    let guest = interruptible();
    for capability in [cap::KVM_CAP_IRQFD, cap::KVM_CAP_IRQFD_RESAMPLE] {
        let check = request::KVM_CHECK_EXTENSION;
        let value = guest.program.call(guest.vm, check, capability.into());
        assert_eq!(value, Ok(1));
    }
    let [fd, over] = [(); 2].map(|()| eventfd());
    assert_eq!(guest.irqfd(interrupt(&fd, 4, 4)), Err(Errno::EINVAL));
    let file = std::fs::File::open("/dev/null").unwrap();
    let file = OwnedFd::from(file);
    for flags in [0, DEASSIGN_IRQFD] {
        let bad = interrupt(&file, 4, flags);
        assert_eq!(guest.irqfd(bad), Err(Errno::EINVAL));
        let bad = kvm_irqfd {
            fd: u32::MAX,
            ..bad
        };
        assert_eq!(guest.irqfd(bad), Err(Errno::EBADF));
    }
    let bad = resampled(&fd, 4, &file);
    assert_eq!(guest.irqfd(bad), Err(Errno::EINVAL));
    let bad = kvm_irqfd {
        resamplefd: u32::MAX,
        ..bad
    };
    assert_eq!(guest.irqfd(bad), Err(Errno::EBADF));
    // One interrupt each; what there is not is removed, too; any number is taken.
    assert_eq!(guest.irqfd(interrupt(&fd, 5, DEASSIGN_IRQFD)), Ok(0));
    assert_eq!(guest.irqfd(resampled(&fd, 5, &over)), Ok(0));
    assert_eq!(guest.irqfd(interrupt(&fd, 6, 0)), Err(Errno::EBUSY));
    assert_eq!(guest.irqfd(interrupt(&fd, 6, DEASSIGN_IRQFD)), Ok(0));
    assert_eq!(guest.irqfd(interrupt(&fd, 5, 0)), Err(Errno::EBUSY));
    assert_eq!(guest.irqfd(interrupt(&fd, 5, DEASSIGN_IRQFD)), Ok(0));
    assert_eq!(guest.irqfd(interrupt(&fd, u32::MAX, 0)), Ok(0));
    // Without an interrupt controller; with half of one.
    let without = Guest::new(&[]);
    assert_eq!(without.irqfd(interrupt(&fd, 4, 0)), Err(Errno::EINVAL));
    assert_eq!(without.irqfd(interrupt(&fd, 4, DEASSIGN_IRQFD)), Ok(0));
    let half = Guest::with(&[], |program, vm| {
        let mut split = kvm_enable_cap {
            cap: cap::KVM_CAP_SPLIT_IRQCHIP,
            args: [24, 0, 0, 0],
            ..kvm_enable_cap::default()
        };
        let enable = request::KVM_ENABLE_CAP;
        program.with(vm, enable, &mut split).unwrap();
    });
    assert_eq!(half.irqfd(resampled(&fd, 4, &over)), Err(Errno::EINVAL));
    assert_eq!(half.irqfd(interrupt(&fd, 4, 0)), Ok(0));
}
