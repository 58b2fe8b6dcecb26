//! The machine's own `/dev/kvm` with proposals added to it. Where the machine has none, or one that
//! makes no VM, the tests say so and prove nothing.

#![cfg(target_arch = "x86_64")]

use std::process::Command;

use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, kvm_guest_debug, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

const STAGE: &str = "UNDERSTUDY_TEST_STAGE";

/// Offsets in `kvm_run`, and the numbers of the proposals.
const CR3: usize = 64;
const VALID: usize = 288;
const DIRTY: usize = 296;
const SYNC_REGS: usize = 304;
const SYNC_RIP: usize = SYNC_REGS + 128;
const SYNC_CR3: usize = 688;
const SAVE_REGS_ON_EXIT: usize = 2352;
const CONDITIONAL: u64 = 1 << 63;
const DEBUG: u64 = 1 << 62;
const CAP_CR3: u64 = 245;
const CAP_CONDITIONAL: u64 = 0x1_0001;

/// Runs `body` in a process with the library and these proposals; `name` is the calling test's.
fn with_proposals(name: &str, proposals: &str, body: impl FnOnce(&mut Guest)) {
    if std::env::var_os(STAGE).is_some() {
        match Guest::new() {
            Ok(mut guest) => body(&mut guest),
            Err(error) => eprintln!("skipped: this machine's KVM: {error}"),
        }
        return;
    }
    let test = std::env::current_exe().expect("a test has a program");
    let library = test.ancestors().nth(2).expect("in target/PROFILE/deps");
    let output = Command::new(&test)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(STAGE, "1")
        .env("LD_PRELOAD", library.join("libunderstudy_preload.so"))
        .env("UNDERSTUDY_ENGINE", "kvm")
        .env("UNDERSTUDY_PROPOSALS", proposals)
        .output()
        .expect("the test program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    eprint!("{stderr}");
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "the body was run:\n{stdout}");
}

/// OUT 0x10, AL; NOP; HLT in real mode, stepped from outside.
struct Guest {
    vcpu: VcpuFd,
    vm: VmFd,
    kvm: Kvm,
    _memory: Box<Page>,
}

#[repr(align(4096))]
struct Page([u8; 4096]);

impl Guest {
    fn new() -> Result<Guest, kvm_ioctls::Error> {
        let kvm = Kvm::new()?;
        let vm = kvm.create_vm()?;
        let mut memory = Box::new(Page([0xf4; 4096]));
        memory.0[..4].copy_from_slice(&[0xe6, 0x10, 0x90, 0xf4]);
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0x1000,
            memory_size: 0x1000,
            userspace_addr: memory.0.as_mut_ptr() as u64,
        };
        // SAFETY: the memory outlives the VM, which alone uses it.
        unsafe { vm.set_user_memory_region(region) }?;
        let vcpu = vm.create_vcpu(0)?;
        let mut sregs = vcpu.get_sregs()?;
        sregs.cs.base = 0;
        sregs.cs.selector = 0;
        sregs.cr3 = 0x5000;
        vcpu.set_sregs(&sregs)?;
        let mut regs = vcpu.get_regs()?;
        regs.rip = 0x1000;
        regs.rflags = 2;
        vcpu.set_regs(&regs)?;
        vcpu.set_guest_debug(&kvm_guest_debug {
            control: KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
            ..Default::default()
        })?;
        Ok(Guest {
            vcpu,
            vm,
            kvm,
            _memory: memory,
        })
    }

    fn word(&mut self, offset: usize) -> &mut u64 {
        let run: *mut _ = self.vcpu.get_kvm_run();
        // SAFETY: in the page of kvm_run, which the vCPU has mapped, and aligned.
        unsafe { &mut *run.cast::<u8>().add(offset).cast::<u64>() }
    }

    /// The stored REGS and SREGS get a value that no register has.
    fn stain(&mut self) {
        *self.word(SYNC_RIP) = 0xaaaa;
        *self.word(SYNC_CR3) = 0xaaaa;
        *self.word(CR3) = 0xaaaa;
    }

    fn run_to_out(&mut self) {
        let exit = self.vcpu.run().expect("KVM_RUN");
        assert!(matches!(exit, VcpuExit::IoOut(0x10, _)), "{exit:?}");
    }

    fn step(&mut self) {
        let exit = self.vcpu.run().expect("KVM_RUN");
        assert!(matches!(exit, VcpuExit::Debug(_)), "{exit:?}");
    }
}

/// CR3-1, CR3-2: each debug exit has CR3, and no other exit.
#[test]
fn debug_exits_have_cr3() {
    with_proposals("debug_exits_have_cr3", "x86-guest-debug-cr3", |guest| {
        assert_eq!(guest.kvm.check_extension_raw(CAP_CR3), 1);
        assert_eq!(guest.vm.check_extension_raw(CAP_CR3), 1);
        assert_eq!(guest.kvm.check_extension_raw(CAP_CONDITIONAL), 0);
        guest.stain();
        guest.run_to_out();
        assert_eq!(*guest.word(CR3), 0xaaaa);
        guest.step();
        let cr3 = guest.vcpu.get_sregs().expect("KVM_GET_SREGS").cr3;
        assert_eq!((*guest.word(CR3), cr3), (0x5000, 0x5000));
    });
}

/// CR3-3.
#[test]
fn without_the_proposal_the_bytes_stay() {
    with_proposals("without_the_proposal_the_bytes_stay", "", |guest| {
        assert_eq!(guest.kvm.check_extension_raw(CAP_CR3), 0);
        guest.run_to_out();
        *guest.word(CR3) = 0xaaaa;
        guest.step();
        assert_eq!(*guest.word(CR3), 0xaaaa);
    });
}

/// SYNC-12, SYNC-13, SYNC-18: stored on the exits that are asked for, and only then.
#[test]
fn registers_are_stored_on_the_exits_asked_for() {
    let name = "registers_are_stored_on_the_exits_asked_for";
    with_proposals(name, "x86-sync-regs-conditional", |guest| {
        assert_eq!(guest.kvm.check_extension_raw(CAP_CONDITIONAL), 1);
        *guest.word(VALID) = CONDITIONAL | 0b11;
        *guest.word(SAVE_REGS_ON_EXIT) = 1 << 4;
        guest.stain();
        guest.run_to_out();
        assert_eq!(*guest.word(SYNC_RIP), 0xaaaa);
        assert_eq!(*guest.word(VALID), CONDITIONAL | 0b11);
        guest.step();
        let rip = guest.vcpu.get_regs().expect("KVM_GET_REGS").rip;
        assert_eq!(*guest.word(SYNC_RIP), rip);
        assert_eq!(*guest.word(SYNC_CR3), 0x5000);

        // It is no set of registers.
        *guest.word(DIRTY) = CONDITIONAL;
        let refused = guest.vcpu.run().map(|_| ()).expect_err("EINVAL");
        assert_eq!(refused.errno(), 22);
        *guest.word(DIRTY) = 0;
        // A set that the kernel does not know is refused with the bit as without.
        *guest.word(VALID) = CONDITIONAL | 1 << 31;
        let refused = guest.vcpu.run().map(|_| ()).expect_err("EINVAL");
        assert_eq!(refused.errno(), 22);
        assert_eq!(*guest.word(VALID), CONDITIONAL | 1 << 31);
    });
}

/// SYNC-20.
#[test]
fn registers_are_stored_on_debug_exits() {
    let name = "registers_are_stored_on_debug_exits";
    with_proposals(name, "x86-sync-regs-debug", |guest| {
        *guest.word(VALID) = DEBUG | 0b10;
        guest.stain();
        guest.run_to_out();
        assert_eq!(*guest.word(SYNC_CR3), 0xaaaa);
        guest.step();
        assert_eq!(*guest.word(SYNC_CR3), 0x5000);
        assert_eq!(*guest.word(SYNC_RIP), 0xaaaa);
    });
}
