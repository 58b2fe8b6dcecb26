//! Programs that were not built for Understudy, with the library preloaded.
//!
//! Each test runs itself again in a process with the library, where its body is such a program: it
//! uses libc and `kvm-ioctls` only, and cannot tell that there is no KVM.

use std::ffi::{c_int, c_ulong, c_void};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

const STAGE: &str = "UNDERSTUDY_TEST_STAGE";

fn library() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a program");
    let deps = test.parent().expect("in target/PROFILE/deps");
    let library = deps
        .parent()
        .expect("in target/PROFILE")
        .join("libunderstudy_preload.so");
    assert!(
        library.is_file(),
        "{} was built with this test",
        library.display()
    );
    library
}

/// Runs `body` in a process with the library; `name` is the calling test's.
fn on_stage(name: &str, body: impl FnOnce()) {
    on_stage_with(name, &[], body);
}

fn on_stage_with(name: &str, environment: &[(&str, &str)], body: impl FnOnce()) {
    if std::env::var_os(STAGE).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().expect("a test has a program"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(STAGE, "1")
        .env("LD_PRELOAD", library())
        .envs(environment.iter().copied())
        .output()
        .expect("the test program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{}\n{stdout}\n{stderr}",
        output.status
    );
    assert!(stdout.contains("1 passed"), "the body was run:\n{stdout}");
}

fn errno() -> c_int {
    std::io::Error::last_os_error()
        .raw_os_error()
        .expect("an errno")
}

/// `ioctl`, or the errno.
fn ioctl(fd: RawFd, request: u32, arg: u64) -> Result<c_int, c_int> {
    // SAFETY: the tests pass what each request takes.
    match unsafe { libc::ioctl(fd, request as c_ulong, arg) } {
        -1 => Err(errno()),
        result => Ok(result),
    }
}

// The numbers, as <linux/kvm.h> has them on arm64.
const KVM_GET_API_VERSION: u32 = 0xae00;
const KVM_CREATE_VM: u32 = 0xae01;
const KVM_CREATE_VCPU: u32 = 0xae41;
const KVM_SET_USER_MEMORY_REGION: u32 = 0x4020_ae46;
const KVM_RUN: u32 = 0xae80;
const KVM_SET_SIGNAL_MASK: u32 = 0x4004_ae8b;
const KVM_ARM_VCPU_INIT: u32 = 0x4020_aeae;
const KVM_ARM_PREFERRED_TARGET: u32 = 0x8020_aeaf;
const KVM_GET_STATS_FD: u32 = 0xaece;
const KVM_CREATE_GUEST_MEMFD: u32 = 0xc040_aed4;

fn try_open() -> Result<RawFd, c_int> {
    // SAFETY: a valid path.
    match unsafe { libc::open(c"/dev/kvm".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) } {
        -1 => Err(errno()),
        fd => Ok(fd),
    }
}

fn open_kvm() -> RawFd {
    try_open().expect("/dev/kvm is there")
}

/// A vCPU whose memory begins with these instructions, at the address where it starts.
fn vcpu_with(code: &[u32]) -> (RawFd, RawFd, *mut u32) {
    let vm = ioctl(open_kvm(), KVM_CREATE_VM, 0).expect("a VM");
    let memory = map(-1, 0x10000, libc::MAP_ANONYMOUS | libc::MAP_PRIVATE, 0).expect("memory");
    let memory = memory.cast::<u32>();
    for (i, &instruction) in code.iter().enumerate() {
        // SAFETY: within the mapping.
        unsafe { memory.add(i).write(instruction.to_le()) };
    }
    let region = [0u64, 0, 0x10000, memory as u64];
    ioctl(vm, KVM_SET_USER_MEMORY_REGION, region.as_ptr() as u64).expect("a slot");
    let vcpu = ioctl(vm, KVM_CREATE_VCPU, 0).expect("a vCPU");
    let mut init = [0u32; 8];
    ioctl(vm, KVM_ARM_PREFERRED_TARGET, init.as_mut_ptr() as u64).expect("a target");
    ioctl(vcpu, KVM_ARM_VCPU_INIT, init.as_ptr() as u64).expect("initialised");
    (vm, vcpu, memory)
}

/// `b .`
const LOOP: u32 = 0x1400_0000;

fn map(fd: RawFd, length: usize, flags: c_int, offset: i64) -> Result<*mut c_void, c_int> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping.
    match unsafe { libc::mmap(ptr::null_mut(), length, prot, flags, fd, offset) } {
        libc::MAP_FAILED => Err(errno()),
        start => Ok(start),
    }
}

#[test]
fn kvm_ioctls_opens_dev_kvm_and_makes_a_vm() {
    on_stage("kvm_ioctls_opens_dev_kvm_and_makes_a_vm", || {
        let kvm = kvm_ioctls::Kvm::new().expect("/dev/kvm is there");
        assert_eq!(kvm.get_api_version(), 12);
        assert_eq!(kvm.get_nr_memslots(), 32767);
        assert!(kvm.check_extension(kvm_ioctls::Cap::UserMemory));
        let vm = kvm.create_vm().expect("a VM");
        let memory = map(-1, 0x4000, libc::MAP_ANONYMOUS | libc::MAP_PRIVATE, 0).expect("memory");
        let mut region = kvm_bindings::kvm_userspace_memory_region {
            slot: 1,
            flags: kvm_bindings::KVM_MEM_LOG_DIRTY_PAGES,
            guest_phys_addr: 0x4000_0000,
            memory_size: 0x4000,
            userspace_addr: memory as u64,
        };
        // SAFETY: the memory stays mapped.
        unsafe {
            vm.set_user_memory_region(region).expect("a slot");
            assert_eq!(vm.get_dirty_log(1, 0x4000).expect("logged"), [0]);
            region.slot = 2;
            let overlap = vm.set_user_memory_region(region).expect_err("overlaps");
            assert_eq!(overlap.errno(), libc::EEXIST);
        }
        let mut vcpu = vm.create_vcpu(0).expect("a vCPU");
        assert_eq!(
            vm.create_vcpu(0).expect_err("there is one").errno(),
            libc::EEXIST
        );
        assert_eq!(
            vcpu.run().expect_err("not initialised").errno(),
            libc::ENOEXEC
        );
        vcpu.set_kvm_immediate_exit(1);
        // Its guests are arm64: what only an x86-64 host has is refused.
        assert_eq!(
            vcpu.get_regs().expect_err("none on arm64").errno(),
            libc::EINVAL
        );
    });
}

#[test]
fn a_descriptor_is_one_in_every_respect() {
    on_stage("a_descriptor_is_one_in_every_respect", || {
        let kvm = open_kvm();
        // SAFETY: calls on descriptors alone.
        unsafe {
            assert_eq!(libc::fcntl(kvm, libc::F_GETFD), libc::FD_CLOEXEC);
            let plain = libc::open(c"/dev/kvm".as_ptr(), libc::O_RDONLY);
            assert_eq!(libc::fcntl(plain, libc::F_GETFD), 0);

            let others = [
                libc::dup(kvm),
                libc::dup2(kvm, 200),
                libc::dup3(kvm, 201, libc::O_CLOEXEC),
                libc::fcntl(kvm, libc::F_DUPFD, 300),
                libc::fcntl(kvm, libc::F_DUPFD_CLOEXEC, 300),
                libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/dev/kvm".as_ptr(), 0) as c_int,
                libc::openat(-1, c"/dev/kvm".as_ptr(), libc::O_RDWR),
            ];
            for fd in others {
                assert_eq!(ioctl(fd, KVM_GET_API_VERSION, 0), Ok(12), "{fd}");
            }
            assert_eq!(
                libc::syscall(libc::SYS_ioctl, kvm, KVM_GET_API_VERSION, 0),
                12
            );
            assert_eq!(libc::dup2(kvm, kvm), kvm);
            assert_eq!(ioctl(kvm, KVM_GET_API_VERSION, 0), Ok(12));

            libc::close(kvm);
            assert_eq!(ioctl(kvm, KVM_GET_API_VERSION, 0), Err(libc::EBADF));
            assert_eq!(
                ioctl(200, KVM_GET_API_VERSION, 0),
                Ok(12),
                "the duplicate lives on"
            );

            // The number is another file's now.
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY);
            assert_eq!(null, kvm);
            assert_eq!(ioctl(null, KVM_GET_API_VERSION, 0), Err(libc::ENOTTY));
            libc::dup2(null, 200);
            assert_eq!(ioctl(200, KVM_GET_API_VERSION, 0), Err(libc::ENOTTY));
            libc::close_range(201, 400, 0);
            assert_eq!(ioctl(201, KVM_GET_API_VERSION, 0), Err(libc::EBADF));

            let mut byte = 0u8;
            let buffer = (&raw mut byte).cast::<c_void>();
            assert_eq!((libc::read(plain, buffer, 1), errno()), (-1, libc::EINVAL));
            assert_eq!((libc::write(plain, buffer, 1), errno()), (-1, libc::EINVAL));
            assert_eq!(
                (libc::pread(plain, buffer, 1, 0), errno()),
                (-1, libc::EINVAL)
            );
            assert_eq!(map(plain, 4096, libc::MAP_SHARED, 0), Err(libc::ENODEV));
            assert_eq!(
                libc::access(c"/dev/kvm".as_ptr(), libc::R_OK | libc::W_OK),
                0
            );
            assert_eq!(libc::access(c"/dev/kvm".as_ptr(), libc::X_OK), -1);

            let vm = ioctl(plain, KVM_CREATE_VM, 0).expect("a VM");
            assert_eq!(libc::fcntl(vm, libc::F_GETFD), libc::FD_CLOEXEC);
            assert_eq!(map(vm, 4096, libc::MAP_SHARED, 0), Err(libc::ENODEV));
            assert_eq!((libc::read(vm, buffer, 1), errno()), (-1, libc::EINVAL));
            let stats = ioctl(vm, KVM_GET_STATS_FD, 0).expect("statistics");
            assert_eq!(libc::read(stats, buffer, 1), 1);
            assert_eq!(map(stats, 4096, libc::MAP_PRIVATE, 0), Err(libc::ENODEV));
        }
        let limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: a valid limit.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
        assert_eq!(try_open(), Err(libc::EMFILE));
    });
}

/// What kvm_amd of Linux 6.12.117 gave for the same calls.
#[test]
fn a_guest_memfd_is_no_file_to_use() {
    let name = "a_guest_memfd_is_no_file_to_use";
    on_stage_with(name, &[("UNDERSTUDY_GUEST", "x86-64")], || {
        let kvm = open_kvm();
        let vm = ioctl(kvm, KVM_CREATE_VM, 0).expect("a VM");
        let args = [0x4000u64, 0, 0, 0, 0, 0, 0, 0];
        let fd = ioctl(vm, KVM_CREATE_GUEST_MEMFD, args.as_ptr() as u64).expect("a guest_memfd");
        let mut bytes = [0u8; 8];
        let (at, length) = (bytes.as_mut_ptr().cast::<c_void>(), bytes.len());
        // SAFETY: the bytes are there; the calls take what they are given.
        unsafe {
            let refused = |result: i64, expected: c_int| {
                assert_eq!(result, -1);
                assert_eq!(errno(), expected);
            };
            for fd in [fd, libc::dup(fd)] {
                refused(libc::read(fd, at, length) as i64, libc::EINVAL);
                refused(libc::write(fd, at, length) as i64, libc::EINVAL);
                refused(libc::pread(fd, at, length, 0) as i64, libc::ESPIPE);
                refused(libc::pwrite(fd, at, length, 0) as i64, libc::ESPIPE);
                refused(libc::lseek(fd, 0, libc::SEEK_SET), libc::ESPIPE);
                refused(libc::ftruncate(fd, 0).into(), libc::EINVAL);
                refused(libc::ftruncate(fd, 0x8000).into(), libc::EINVAL);
                let keep = libc::FALLOC_FL_KEEP_SIZE;
                let punch = keep | libc::FALLOC_FL_PUNCH_HOLE;
                assert_eq!(libc::fallocate(fd, keep, 0, 0x4000), 0);
                assert_eq!(libc::fallocate(fd, punch, 0x4000, 0x1000), 0);
                refused(libc::fallocate(fd, keep, 0, 0x5000).into(), libc::EINVAL);
                refused(libc::fallocate(fd, punch, 1, 0x1000).into(), libc::EINVAL);
                refused(libc::fallocate(fd, 0, 0, 0x1000).into(), libc::EOPNOTSUPP);
            }
            refused(libc::pread(vm, at, length, 0) as i64, libc::ESPIPE);
            refused(libc::pread(kvm, at, length, 0) as i64, libc::EINVAL);
            refused(libc::ftruncate(vm, 0).into(), libc::EINVAL);
            refused(libc::fallocate(vm, 1, 0, 4096).into(), libc::ENODEV);
            assert_eq!(libc::lseek(vm, 0, libc::SEEK_SET), 0);
        }
        for flags in [libc::MAP_SHARED, libc::MAP_PRIVATE] {
            assert_eq!(map(fd, 0x1000, flags, 0), Err(libc::ENODEV));
        }
    });
}

#[test]
fn kvm_run_is_shared_memory() {
    on_stage("kvm_run_is_shared_memory", || {
        let (vm, vcpu, _) = vcpu_with(&[LOOP]);
        let second = ioctl(vm, KVM_CREATE_VCPU, 1).expect("a second vCPU");
        let length = ioctl(open_kvm(), 0xae04, 0).expect("KVM_GET_VCPU_MMAP_SIZE") as usize;
        assert_eq!(length, 8192);
        let run = map(vcpu, length, libc::MAP_SHARED, 0)
            .expect("mapped")
            .cast::<u8>();
        let other = map(second, length, libc::MAP_SHARED, 0)
            .expect("mapped")
            .cast::<u8>();
        let again = map(vcpu, 4096, libc::MAP_SHARED, 4096)
            .expect("mapped")
            .cast::<u8>();
        // SAFETY: within the mappings.
        unsafe {
            // immediate_exit, which is the second byte.
            run.add(1).write_volatile(1);
            assert_eq!(ioctl(vcpu, KVM_RUN, 0), Err(libc::EINTR));
            run.add(1).write_volatile(0);
            assert_eq!(other.add(1).read_volatile(), 0, "each vCPU has its own");
            // The ring of coalesced MMIO belongs to the VM.
            run.add(4096).write_volatile(7);
            assert_eq!(other.add(4096).read_volatile(), 7);
            assert_eq!(again.read_volatile(), 7);
            run.add(4096).write_volatile(0);
        }
    });
}

/// KVM refuses to map a dirty ring (api.rst 8.29) privately or to be executed.
#[test]
fn a_dirty_ring_is_shared_memory() {
    const KVM_ENABLE_CAP: u32 = 0x4068_aea3;
    const KVM_CAP_DIRTY_LOG_RING_ACQ_REL: u64 = 223;
    const OFFSET: i64 = 64 * 4096;
    on_stage("a_dirty_ring_is_shared_memory", || {
        let vm = ioctl(open_kvm(), KVM_CREATE_VM, 0).expect("a VM");
        let mut cap = [0u64; 13];
        (cap[0], cap[1]) = (KVM_CAP_DIRTY_LOG_RING_ACQ_REL, 4096);
        ioctl(vm, KVM_ENABLE_CAP, cap.as_ptr() as u64).expect("rings");
        let vcpu = ioctl(vm, KVM_CREATE_VCPU, 0).expect("a vCPU");
        let ring = map(vcpu, 4096, libc::MAP_SHARED, OFFSET).expect("a ring");
        // SAFETY: within the mapping.
        unsafe {
            assert_eq!(ring.cast::<u64>().read_volatile(), 0);
            ring.cast::<u64>().write_volatile(1);
        }
        let private = libc::MAP_PRIVATE;
        assert_eq!(map(vcpu, 4096, private, OFFSET), Err(libc::EINVAL));
        assert_eq!(map(vcpu, 8192, private, OFFSET - 4096), Err(libc::EINVAL));
        assert!(map(vcpu, 4096, private, 0).is_ok());
        let prot = libc::PROT_READ | libc::PROT_EXEC;
        // SAFETY: a new mapping.
        let executable =
            unsafe { libc::mmap(ptr::null_mut(), 4096, prot, libc::MAP_SHARED, vcpu, OFFSET) };
        assert_eq!((executable, errno()), (libc::MAP_FAILED, libc::EINVAL));
    });
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicI32 = AtomicI32::new(0);

extern "C" fn count(signal: c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
    LAST.store(signal, Ordering::SeqCst);
}

fn handle(signal: c_int, flags: c_int) {
    // SAFETY: a zeroed action is a valid one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

/// Sends a signal to the calling thread again and again, until told to stop.
fn pester(signal: c_int) -> impl FnOnce() {
    // SAFETY: no condition.
    let target = unsafe { libc::pthread_self() };
    let stop = std::sync::Arc::new(AtomicUsize::new(0));
    let told = stop.clone();
    let pest = std::thread::spawn(move || {
        while told.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(20));
            // SAFETY: the thread waits for this one.
            unsafe { libc::pthread_kill(target, signal) };
        }
    });
    move || {
        stop.store(1, Ordering::SeqCst);
        pest.join().expect("it only sends signals");
    }
}

#[test]
fn a_signal_ends_kvm_run() {
    on_stage("a_signal_ends_kvm_run", || {
        let (_, vcpu, _) = vcpu_with(&[LOOP]);
        for (signal, flags) in [
            (libc::SIGUSR1, 0),
            (libc::SIGUSR2, libc::SA_RESTART),
            (libc::SIGRTMIN(), 0),
        ] {
            handle(signal, flags);
            HANDLED.store(0, Ordering::SeqCst);
            let stop = pester(signal);
            assert_eq!(ioctl(vcpu, KVM_RUN, 0), Err(libc::EINTR));
            stop();
            assert!(HANDLED.load(Ordering::SeqCst) > 0);
            assert_eq!(LAST.load(Ordering::SeqCst), signal);
        }
        // As `signal` sets it.
        // SAFETY: a handler of the right type.
        unsafe { libc::signal(libc::SIGALRM, count as *const () as usize) };
        let stop = pester(libc::SIGALRM);
        assert_eq!(ioctl(vcpu, KVM_RUN, 0), Err(libc::EINTR));
        stop();
        assert_eq!(LAST.load(Ordering::SeqCst), libc::SIGALRM);
    });
}

/// KVM API 4.21: a signal that the mask lets through and the thread blocks ends the run, and is
/// pending then.
#[test]
fn a_signal_under_kvms_mask_is_pending_afterwards() {
    on_stage("a_signal_under_kvms_mask_is_pending_afterwards", || {
        let (_, vcpu, _) = vcpu_with(&[LOOP]);
        handle(libc::SIGUSR1, 0);
        // SAFETY: sets are initialised before use.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&mut set, libc::SIGUSR1);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());

            let mask = [8u32, 0, 0];
            ioctl(vcpu, KVM_SET_SIGNAL_MASK, mask.as_ptr() as u64).expect("a mask");
            let stop = pester(libc::SIGUSR1);
            assert_eq!(ioctl(vcpu, KVM_RUN, 0), Err(libc::EINTR));
            stop();
            assert_eq!(HANDLED.load(Ordering::SeqCst), 0, "blocked for the thread");
            let mut taken = 0;
            assert_eq!(libc::sigwait(&set, &mut taken), 0);
            assert_eq!(taken, libc::SIGUSR1);
        }
    });
}

/// The same for a signal that has no handler, which is also as it was afterwards: it would end the
/// process if it were not blocked.
#[test]
fn a_signal_under_kvms_mask_needs_no_handler() {
    on_stage("a_signal_under_kvms_mask_needs_no_handler", || {
        let (_, vcpu, _) = vcpu_with(&[LOOP]);
        // SAFETY: sets and actions are initialised before use.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&mut set, libc::SIGUSR1);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
            let mask = [8u32, 0, 0];
            ioctl(vcpu, KVM_SET_SIGNAL_MASK, mask.as_ptr() as u64).expect("a mask");
            for _ in 0..2 {
                let stop = pester(libc::SIGUSR1);
                assert_eq!(ioctl(vcpu, KVM_RUN, 0), Err(libc::EINTR));
                stop();
                let mut taken = 0;
                assert_eq!(libc::sigwait(&set, &mut taken), 0);
                assert_eq!(taken, libc::SIGUSR1);
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_flags = -1;
            libc::sigaction(libc::SIGUSR1, ptr::null(), &mut action);
            assert_eq!((action.sa_sigaction, action.sa_flags), (libc::SIG_DFL, 0));
            let child = libc::fork();
            if child == 0 {
                libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut());
                libc::raise(libc::SIGUSR1);
                libc::_exit(0);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert!(libc::WIFSIGNALED(status));
            assert_eq!(libc::WTERMSIG(status), libc::SIGUSR1);
            // One that is set later is called, and one that is taken away is not.
            handle(libc::SIGUSR1, 0);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut());
            libc::raise(libc::SIGUSR1);
            assert_eq!(HANDLED.load(Ordering::SeqCst), 1);
            libc::signal(libc::SIGUSR1, libc::SIG_IGN);
            libc::raise(libc::SIGUSR1);
            assert_eq!(HANDLED.load(Ordering::SeqCst), 1);
        }
    });
}

#[test]
fn handlers_are_reported_as_they_were_set() {
    on_stage("handlers_are_reported_as_they_were_set", || {
        extern "C" fn with_info(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {}
        // SAFETY: valid actions and handlers of the right types.
        unsafe {
            for signal in [libc::SIGUSR1, libc::SIGSEGV, libc::SIGBUS, libc::SIGRTMAX()] {
                let mut first: libc::sigaction = std::mem::zeroed();
                first.sa_sigaction = count as *const () as usize;
                first.sa_flags = libc::SA_RESTART | libc::SA_NODEFER;
                libc::sigaddset(&mut first.sa_mask, libc::SIGHUP);
                let mut second: libc::sigaction = std::mem::zeroed();
                second.sa_sigaction = with_info as *const () as usize;
                second.sa_flags = libc::SA_SIGINFO;
                let mut old: libc::sigaction = std::mem::zeroed();

                assert_eq!(libc::sigaction(signal, &first, ptr::null_mut()), 0);
                assert_eq!(libc::sigaction(signal, &second, &mut old), 0);
                assert_eq!(old.sa_sigaction, first.sa_sigaction);
                assert_eq!(
                    old.sa_flags & !0x0400_0000,
                    first.sa_flags,
                    "but for SA_RESTORER"
                );
                assert_eq!(libc::sigismember(&old.sa_mask, libc::SIGHUP), 1);
                assert_eq!(libc::sigaction(signal, ptr::null(), &mut old), 0);
                assert_eq!(old.sa_sigaction, second.sa_sigaction);
                assert_eq!(libc::signal(signal, libc::SIG_IGN), second.sa_sigaction);
                assert_eq!(libc::signal(signal, libc::SIG_DFL), libc::SIG_IGN);
                assert_eq!(libc::signal(signal, libc::SIG_DFL), libc::SIG_DFL);
            }
            assert_eq!(libc::signal(libc::SIGKILL, libc::SIG_IGN), libc::SIG_ERR);
            assert_eq!(
                (libc::signal(99, libc::SIG_IGN), errno()),
                (libc::SIG_ERR, libc::EINVAL)
            );
        }
    });
}

#[test]
fn guest_memory_that_was_taken_away_is_efault() {
    on_stage("guest_memory_that_was_taken_away_is_efault", || {
        // ldr x0, [x1]: x1 is 0 at first.
        let (_, vcpu, memory) = vcpu_with(&[0xf940_0020, LOOP]);
        static MEMORY: AtomicPtr<u32> = AtomicPtr::new(ptr::null_mut());
        MEMORY.store(memory, Ordering::SeqCst);
        extern "C" fn give_back(signal: c_int) {
            count(signal);
            let memory = MEMORY.load(Ordering::SeqCst).cast();
            // SAFETY: the test's own mapping.
            unsafe { libc::mprotect(memory, 4096, libc::PROT_READ | libc::PROT_WRITE) };
        }
        // SAFETY: as above, and a handler of the right type.
        unsafe {
            libc::signal(libc::SIGSEGV, give_back as *const () as usize);
            libc::mprotect(memory.cast(), 0x10000, libc::PROT_NONE);
            assert_eq!(ioctl(vcpu, KVM_RUN, 0), Err(libc::EFAULT));
            assert_eq!(
                HANDLED.load(Ordering::SeqCst),
                0,
                "the guest's faults are not the program's"
            );
            assert_eq!(memory.read_volatile(), 0xf940_0020);
            assert_eq!(HANDLED.load(Ordering::SeqCst), 1, "its own are");
            // A bad pointer of the program's is EFAULT as well.
            assert_eq!(ioctl(vcpu, KVM_ARM_VCPU_INIT, 8), Err(libc::EFAULT));
            assert_eq!(HANDLED.load(Ordering::SeqCst), 1);
        }
    });
}

/// The same under code that is compiled, where no single access is guarded.
#[test]
fn memory_that_goes_while_the_guest_runs_is_efault() {
    let name = "memory_that_goes_while_the_guest_runs_is_efault";
    on_stage_with(name, &[("UNDERSTUDY_TIER", "compile")], || {
        // mov w1, #0x8000; ldr x0, [x1]; str x0, [x1, #8]; b .-8
        let (_, vcpu, memory) = vcpu_with(&[0x5290_0001, 0xf940_0020, 0xf900_0420, 0x17ff_fffe]);
        let page = memory.addr() + 0x8000;
        // SAFETY: the test's own mapping, of which nobody has a reference.
        let changes: [fn(usize); 4] = unsafe {
            [
                |at| {
                    libc::mprotect(at as *mut c_void, 4096, libc::PROT_NONE);
                },
                |at| {
                    libc::mprotect(at as *mut c_void, 4096, libc::PROT_READ);
                },
                |at| {
                    libc::munmap(at as *mut c_void, 4096);
                },
                |at| {
                    let flags = libc::MAP_FIXED | libc::MAP_ANONYMOUS | libc::MAP_PRIVATE;
                    libc::mmap(at as *mut c_void, 4096, libc::PROT_NONE, flags, -1, 0);
                },
            ]
        };
        for change in changes {
            let other = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                change(page);
            });
            assert_eq!(ioctl(vcpu, KVM_RUN, 0), Err(libc::EFAULT));
            other.join().expect("the other thread ends");
            // And again, where nothing has changed.
            assert_eq!(ioctl(vcpu, KVM_RUN, 0), Err(libc::EFAULT));
            let flags = libc::MAP_FIXED | libc::MAP_ANONYMOUS | libc::MAP_PRIVATE;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: as above.
            let back = unsafe { libc::mmap(page as *mut c_void, 4096, prot, flags, -1, 0) };
            assert_eq!(back.addr(), page);
        }
    });
}

#[test]
fn a_child_cannot_use_its_parents_vm() {
    on_stage("a_child_cannot_use_its_parents_vm", || {
        let vm = ioctl(open_kvm(), KVM_CREATE_VM, 0).expect("a VM");
        // SAFETY: the child only makes calls on descriptors, and ends.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let own = ioctl(open_kvm(), KVM_CREATE_VM, 0).is_ok();
                let refused = ioctl(vm, KVM_CREATE_VCPU, 0) == Err(libc::EIO);
                libc::close(vm);
                libc::_exit(if own && refused { 3 } else { 4 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert_eq!(libc::WEXITSTATUS(status), 3);
        }
        ioctl(vm, KVM_CREATE_VCPU, 0).expect("still the parent's");
    });
}

#[test]
fn unknown_models_and_proposals_are_refused_in_words() {
    for (variable, value) in [
        ("UNDERSTUDY_CPU", "cortex-a1000"),
        ("UNDERSTUDY_CPU", "/nonexistent/model.toml"),
        ("UNDERSTUDY_PROPOSALS", "arm64-exposed-debug,no-such"),
        ("UNDERSTUDY_GUEST", "riscv"),
    ] {
        let name = "unknown_models_and_proposals_are_refused_in_words";
        on_stage_with(name, &[(variable, value)], || {
            assert_eq!(try_open(), Err(libc::ENODEV));
        });
        if std::env::var_os(STAGE).is_some() {
            break;
        }
    }
}
