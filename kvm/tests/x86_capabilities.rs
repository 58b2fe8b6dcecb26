//! What `KVM_ENABLE_CAP` enables on VMs of x86-64 guests, by ioctls: errnos as Linux 6.12.117 gives them,
//! and what becomes of the guest. The guests are 32-bit code without paging, at address 0.

mod common;

use common::{Mapping, Memory, Program, SYSTEM};
use understudy_abi::cap::*;
use understudy_abi::common::kvm_enable_cap;
use understudy_abi::exit;
use understudy_abi::ioctl::x86::*;
use understudy_abi::ioctl::{KVM_CHECK_EXTENSION, KVM_CREATE_IRQCHIP, KVM_ENABLE_CAP, KVM_RUN};
use understudy_abi::run::Run;
use understudy_abi::x86::*;
use understudy_kvm::x86::Proposals;
use understudy_kvm::{Errno, Kvm};

struct Vm {
    program: Program,
    vm: i32,
    memory: Memory,
}

impl Vm {
    fn new() -> Vm {
        let program = Program::on(Kvm::x86(Proposals::empty()));
        let vm = program.create_vm();
        let memory = Memory::new(0x4000);
        program.slot(vm, 0, 0, 0, &memory);
        Vm {
            program,
            vm,
            memory,
        }
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        self.memory.put_bytes(at, bytes);
    }

    fn enable(&self, cap: u32, argument: u64) -> Result<i64, Errno> {
        self.enable_flags(cap, argument, 0)
    }

    fn enable_flags(&self, cap: u32, argument: u64, flags: u32) -> Result<i64, Errno> {
        let mut enable = kvm_enable_cap {
            cap,
            flags,
            args: [argument, 0, 0, 0],
            ..kvm_enable_cap::default()
        };
        self.program.with(self.vm, KVM_ENABLE_CAP, &mut enable)
    }

    fn check(&self, cap: u32) -> i64 {
        let (vm, number) = (self.vm, u64::from(cap));
        let of_vm = self.program.call(vm, KVM_CHECK_EXTENSION, number);
        let of_system = self.program.call(SYSTEM, KVM_CHECK_EXTENSION, number);
        assert_eq!(of_vm, of_system);
        of_vm.unwrap()
    }

    /// A vCPU whose guest begins at `at`, with flat segments.
    fn vcpu(self, at: u64, level: u8) -> Vcpu {
        let fd = self.program.create_vcpu(self.vm, 0);
        let run = self.program.map(fd);
        let vcpu = Vcpu { vm: self, fd, run };
        let mut sregs = kvm_sregs::default();
        vcpu.ioctl(KVM_GET_SREGS, &mut sregs).unwrap();
        let code = kvm_segment {
            base: 0,
            limit: u32::MAX,
            selector: 8 | u16::from(level),
            r#type: 11,
            present: 1,
            dpl: level,
            db: 1,
            s: 1,
            g: 1,
            ..kvm_segment::default()
        };
        let data = kvm_segment {
            r#type: 3,
            selector: 16 | u16::from(level),
            ..code
        };
        sregs.cs = code;
        (sregs.ds, sregs.es, sregs.ss) = (data, data, data);
        sregs.cr0 |= 1;
        sregs.cr4 |= 1 << 9;
        vcpu.ioctl(KVM_SET_SREGS, &mut sregs).unwrap();
        vcpu.go_to(at);
        vcpu
    }
}

struct Vcpu {
    vm: Vm,
    fd: i32,
    run: Run<Mapping>,
}

impl Vcpu {
    fn ioctl<T>(&self, request: u32, value: &mut T) -> Result<i64, Errno> {
        self.vm.program.with(self.fd, request, value)
    }

    fn regs(&self) -> kvm_regs {
        let mut regs = kvm_regs::default();
        self.ioctl(KVM_GET_REGS, &mut regs).unwrap();
        regs
    }

    fn go_to(&self, rip: u64) {
        let mut regs = kvm_regs {
            rip,
            rflags: 2,
            rsp: 0x3000,
            ..kvm_regs::default()
        };
        self.ioctl(KVM_SET_REGS, &mut regs).unwrap();
    }

    fn enter(&self) -> Result<u32, Errno> {
        self.vm.program.call(self.fd, KVM_RUN, 0)?;
        Ok(self.run.exit_reason())
    }

    /// `nent` and the entries of leaves.
    fn set_cpuid(&self, leaves: &[[u32; 5]]) -> Result<i64, Errno> {
        let mut bytes = vec![leaves.len() as u32, 0];
        for [function, eax, ebx, ecx, edx] in leaves {
            bytes.extend([*function, 0, 0, *eax, *ebx, *ecx, *edx, 0, 0, 0]);
        }
        let request = KVM_SET_CPUID2;
        self.vm
            .program
            .call(self.fd, request, bytes.as_mut_ptr() as u64)
    }

    /// EAX of a leaf.
    fn cpuid(&self, function: u32) -> u32 {
        let mut words = vec![0u32; 2 + 10 * 64];
        words[0] = 64;
        let request = KVM_GET_CPUID2;
        self.vm
            .program
            .call(self.fd, request, words.as_mut_ptr() as u64)
            .unwrap();
        let mut entries = words[2..].chunks(10).take(words[0] as usize);
        entries.find(|entry| entry[0] == function).unwrap()[3]
    }
}

/// KVM API 7.13: the bits, and that they add up; a vCPU that there is already keeps its exits.
#[test]
fn exits_can_be_disabled() {
    let vm = Vm::new();
    assert_eq!(vm.check(KVM_CAP_X86_DISABLE_EXITS), 15);
    for bad in [16, 1 << 40, u64::MAX] {
        let result = vm.enable(KVM_CAP_X86_DISABLE_EXITS, bad);
        assert_eq!(result, Err(Errno::EINVAL));
    }
    let flags = vm.enable_flags(KVM_CAP_X86_DISABLE_EXITS, 2, 1);
    assert_eq!(flags, Err(Errno::EINVAL));
    for bit in [0, 1, 4, 8] {
        assert_eq!(vm.enable(KVM_CAP_X86_DISABLE_EXITS, bit), Ok(0));
    }
    // hlt; hlt: nothing refused has been done, nor is what comes late for this one.
    vm.write(0, &[0xf4, 0xf4]);
    let vcpu = vm.vcpu(0, 0);
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_HLT));
    assert_eq!(vcpu.vm.enable(KVM_CAP_X86_DISABLE_EXITS, 2), Ok(0));
    let bad = vcpu.vm.enable(KVM_CAP_X86_DISABLE_EXITS, 18);
    assert_eq!(bad, Err(Errno::EINVAL));
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_HLT));
    assert_eq!(vcpu.regs().rip, 2);
}

/// KVM_FEATURE_PV_UNHALT goes from CPUID where HLT has no exit, behind whatever leaf KVM's signature is.
#[test]
fn without_exits_of_hlt_there_is_no_unhalt() {
    const UNHALT: u32 = 1 << 7;
    const KVM: [u32; 3] = [0x4b4d_564b, 0x564b_4d56, 0x4d];
    let [b, c, d] = KVM;
    let leaves = |base: u32, signature: u32| {
        [
            [base, base | 1, signature, c, d],
            [base | 1, 1 | UNHALT, 0, 0, 0],
        ]
    };
    let vcpu = Vm::new().vcpu(0, 0);
    vcpu.set_cpuid(&leaves(0x4000_0000, b)).unwrap();
    assert_eq!(vcpu.cpuid(0x4000_0001), 1 | UNHALT);
    vcpu.vm.enable(KVM_CAP_X86_DISABLE_EXITS, 2).unwrap();
    vcpu.set_cpuid(&leaves(0x4000_0000, b)).unwrap();
    assert_eq!(vcpu.cpuid(0x4000_0001), 1);
    // Without the signature it is not KVM's leaf.
    vcpu.set_cpuid(&leaves(0x4000_0000, 0xdead_beef)).unwrap();
    assert_eq!(vcpu.cpuid(0x4000_0001), 1 | UNHALT);
    vcpu.set_cpuid(&leaves(0x4000_0100, b)).unwrap();
    assert_eq!(vcpu.cpuid(0x4000_0101), 1);
    // Saying the same again is no change, once the vCPU has run.
    vcpu.vm.write(0, &[0xe4, 0x80]);
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_IO));
    assert_eq!(vcpu.set_cpuid(&leaves(0x4000_0100, b)), Ok(0));
    let other = vcpu.set_cpuid(&leaves(0x4000_0000, b));
    assert_eq!(other, Err(Errno::EINVAL));
}

/// fld dword ptr [0x20000000], where there is no memory.
const FLD: [u8; 6] = [0xd9, 0x05, 0, 0, 0, 0x20];

/// KVM API 7.29, and 5 of `emulation_failure`: bytes, and behind them what KVM tells of the #VMEXIT.
#[test]
fn emulation_failures_are_told() {
    let vm = Vm::new();
    assert_eq!(vm.check(KVM_CAP_EXIT_ON_EMULATION_FAILURE), 1);
    for bad in [2, 3, 1 << 32] {
        let result = vm.enable(KVM_CAP_EXIT_ON_EMULATION_FAILURE, bad);
        assert_eq!(result, Err(Errno::EINVAL));
    }
    // At CPL 0, not asked for: told of all the same, and #UD waits.
    let failed = |vcpu: &Vcpu, at: u64| {
        assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_INTERNAL_ERROR));
        let internal: exit::internal = vcpu.run.exit();
        assert_eq!((internal.suberror, internal.ndata), (1, 8));
        let failure: exit::emulation_failure = vcpu.run.exit();
        assert_eq!((failure.flags, failure.insn_size), (1, 15));
        assert_eq!(failure.insn_bytes[..6], FLD);
        let info = [0x400, 0x1_0000_0004, 0x2000_0000, 0, 0];
        assert_eq!(internal.data[3..8], info);
        assert_eq!(vcpu.regs().rip, at);
    };
    let events = |vcpu: &Vcpu| {
        let mut events = kvm_vcpu_events::default();
        vcpu.ioctl(KVM_GET_VCPU_EVENTS, &mut events).unwrap();
        let exception = events.exception;
        (exception.pending, exception.injected, exception.nr)
    };
    vm.write(0x1000, &FLD);
    vm.write(0x1006, &[0xf4]);
    let vcpu = vm.vcpu(0x1000, 0);
    failed(&vcpu, 0x1000);
    assert_eq!(events(&vcpu), (1, 1, 6));
    // There is no IDT to take it through.
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_SHUTDOWN));

    let user = |asked: bool| {
        let vm = Vm::new();
        vm.write(0x1000, &FLD);
        let vcpu = vm.vcpu(0x1000, 3);
        if asked {
            let result = vcpu.vm.enable(KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);
            assert_eq!(result, Ok(0));
        }
        vcpu
    };
    assert_eq!(user(false).enter(), Ok(exit::KVM_EXIT_SHUTDOWN));
    let vcpu = user(true);
    failed(&vcpu, 0x1000);
    assert_eq!(events(&vcpu).0, 0);
    failed(&vcpu, 0x1000);
    vcpu.vm
        .enable(KVM_CAP_EXIT_ON_EMULATION_FAILURE, 0)
        .unwrap();
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_SHUTDOWN));

    // jmp 0x20000000: no bytes, so that the rest comes in their place.
    let vm = Vm::new();
    vm.write(0, &[0xe9, 0xfb, 0xff, 0xff, 0x1f]);
    let vcpu = vm.vcpu(0, 0);
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_INTERNAL_ERROR));
    let internal: exit::internal = vcpu.run.exit();
    assert_eq!((internal.suberror, internal.ndata), (1, 6));
    let data = [0, 0x400, 0x1_0000_0014, 0x2000_0000, 0, 0];
    assert_eq!(internal.data[..6], data);
}

fn msr(vcpu: &Vcpu, index: u32) -> u64 {
    let mut entry = [1u32, 0, index, 0, 0, 0];
    assert_eq!(vcpu.ioctl(KVM_GET_MSRS, &mut entry), Ok(1), "{index:#x}");
    u64::from(entry[4]) | u64::from(entry[5]) << 32
}

fn set_msr(vcpu: &Vcpu, index: u32, value: u64) {
    let mut entry = [1u32, 0, index, 0, value as u32, (value >> 32) as u32];
    assert_eq!(vcpu.ioctl(KVM_SET_MSRS, &mut entry), Ok(1), "{index:#x}");
}

/// KVM API 7.30: OUT to port 0x7e is over when user space hears of it, unless the quirk is disabled.
#[test]
fn an_out_to_port_0x7e_is_over_before_its_exit() {
    // out 0x7e, al; out 0x7f, al; mov dx, 0x7e; out dx, al; in al, 0x7e
    let code = [
        0xe6, 0x7e, 0xe6, 0x7f, 0x66, 0xba, 0x7e, 0, 0xee, 0xe4, 0x7e,
    ];
    for (disabled, at) in [(0, [2, 2, 9, 9]), (8, [0, 2, 8, 9])] {
        let vm = Vm::new();
        vm.write(0, &code);
        vm.enable(KVM_CAP_DISABLE_QUIRKS2, disabled).unwrap();
        let vcpu = vm.vcpu(0, 0);
        for rip in at {
            assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_IO));
            assert_eq!(vcpu.regs().rip, rip, "{disabled}");
        }
    }
    // As on Linux 6.12.117: a step takes the place of the exit.
    let vm = Vm::new();
    vm.write(0, &code);
    let vcpu = vm.vcpu(0, 0);
    let mut debug = kvm_guest_debug {
        control: (GuestDebugControl::ENABLE | GuestDebugControl::SINGLESTEP).bits(),
        ..kvm_guest_debug::default()
    };
    vcpu.ioctl(KVM_SET_GUEST_DEBUG, &mut debug).unwrap();
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_DEBUG));
    let step: kvm_debug_exit_arch = vcpu.run.exit();
    assert_eq!((step.exception, step.pc, step.dr6), (1, 2, 0xffff_4ff0));
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_IO));
    assert_eq!(vcpu.regs().rip, 2);
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_DEBUG));
    let step: kvm_debug_exit_arch = vcpu.run.exit();
    assert_eq!(step.pc, 4);
}

/// KVM API 7.30: MSRs that tell of the processor are user space's to fill in, of vCPUs made from then on.
#[test]
fn feature_msrs_begin_as_0_without_their_quirk() {
    let features = [0x8b, 0xce, 0x10a];
    let vcpu = Vm::new().vcpu(0, 0);
    let before = features.map(|index| msr(&vcpu, index));
    assert!(before.iter().all(|value| *value != 0));
    vcpu.vm.enable(KVM_CAP_DISABLE_QUIRKS2, 1 << 8).unwrap();
    assert_eq!(features.map(|index| msr(&vcpu, index)), before);
    let vm = Vm::new();
    vm.enable(KVM_CAP_DISABLE_QUIRKS2, 1 << 8).unwrap();
    let vcpu = vm.vcpu(0, 0);
    assert_eq!(features.map(|index| msr(&vcpu, index)), [0; 3]);
    assert_eq!(msr(&vcpu, 0x1a0), 0x1800, "no such MSR");
    set_msr(&vcpu, 0x10a, before[2]);
    assert_eq!(msr(&vcpu, 0x10a), before[2]);
}

/// KVM API 7.30: the bits that there are, of which each may be disabled.
#[test]
fn quirks_that_there_are() {
    let vm = Vm::new();
    assert_eq!(vm.check(KVM_CAP_DISABLE_QUIRKS2), 0x7ff);
    for bit in 0..11 {
        assert_eq!(vm.enable(KVM_CAP_DISABLE_QUIRKS2, 1 << bit), Ok(0));
    }
    let bad = vm.enable(KVM_CAP_DISABLE_QUIRKS2, 1 << 11);
    assert_eq!(bad, Err(Errno::EINVAL));
}

const VAL: u64 = 1 << 63;
const OVER: u64 = 1 << 62;
const UC: u64 = 1 << 61;
const PCC: u64 = 1 << 57;
const MCG_STATUS: u32 = 0x17a;
const MCG_CTL: u32 = 0x17b;
const MC1_CTL: u32 = 0x404;
const MC1_STATUS: u32 = 0x405;

/// A vCPU with four banks, and CR4.MCE as given.
fn with_banks(cr4_mce: bool) -> Vcpu {
    let vm = Vm::new();
    // hlt
    vm.write(0, &[0xf4]);
    let vcpu = vm.vcpu(0, 0);
    vcpu.ioctl(KVM_X86_SETUP_MCE, &mut (4u64 | 1 << 8 | 1 << 24))
        .unwrap();
    let mut sregs = kvm_sregs::default();
    vcpu.ioctl(KVM_GET_SREGS, &mut sregs).unwrap();
    sregs.cr4 |= if cr4_mce { 1 << 6 } else { 0 };
    vcpu.ioctl(KVM_SET_SREGS, &mut sregs).unwrap();
    vcpu
}

fn inject(vcpu: &Vcpu, status: u64, mcg_status: u64, bank: u8) -> Result<i64, Errno> {
    let mut mce = kvm_x86_mce {
        status,
        addr: 0x1234,
        misc: 0x56,
        mcg_status,
        bank,
        ..kvm_x86_mce::default()
    };
    vcpu.ioctl(KVM_X86_SET_MCE, &mut mce)
}

/// IA32_MCG_STATUS, and STATUS, ADDR and MISC of bank 1.
fn logged(vcpu: &Vcpu) -> [u64; 4] {
    [MCG_STATUS, MC1_STATUS, MC1_STATUS + 1, MC1_STATUS + 2].map(|index| msr(vcpu, index))
}

fn pending(vcpu: &Vcpu) -> Option<u8> {
    let mut events = kvm_vcpu_events::default();
    vcpu.ioctl(KVM_GET_VCPU_EVENTS, &mut events).unwrap();
    let exception = events.exception;
    (exception.pending != 0 && exception.has_error_code == 0).then_some(exception.nr)
}

/// KVM API 4.106, with what Linux 6.12.117 answers: an uncorrected error is #MC.
#[test]
fn a_machine_check_is_injected() {
    let vcpu = with_banks(true);
    let error = VAL | UC | PCC | 0x17;
    for (status, bank) in [(error, 4), (error, 255), (error & !VAL, 1), (0, 1)] {
        assert_eq!(inject(&vcpu, status, 5, bank), Err(Errno::EINVAL));
    }
    let null = vcpu.vm.program.call(vcpu.fd, KVM_X86_SET_MCE, 0);
    assert_eq!(null, Err(Errno::EFAULT));
    assert_eq!((logged(&vcpu), pending(&vcpu)), ([0; 4], None));
    assert_eq!(inject(&vcpu, error, 5, 1), Ok(0));
    assert_eq!(logged(&vcpu), [5, error, 0x1234, 0x56]);
    assert_eq!(pending(&vcpu), Some(18));
    // One on top of another that is being handled.
    let vcpu = with_banks(true);
    set_msr(&vcpu, MC1_STATUS, VAL | 1);
    assert_eq!(inject(&vcpu, error, 5, 1), Ok(0));
    assert_eq!(logged(&vcpu)[1], error | OVER);
    let mut regs = vcpu.regs();
    vcpu.ioctl(KVM_SET_REGS, &mut regs).unwrap();
    assert_eq!(pending(&vcpu), None);
    set_msr(&vcpu, MCG_STATUS, 4);
    assert_eq!(inject(&vcpu, error, 5, 1), Ok(0));
    assert_eq!(logged(&vcpu)[0], 4);
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_SHUTDOWN));
}

/// SDM vol. 3B, 16.3: without CR4.MCE it is a shutdown, and nothing is logged.
#[test]
fn a_machine_check_that_cannot_be_taken() {
    let vcpu = with_banks(false);
    assert_eq!(inject(&vcpu, VAL | UC | PCC, 5, 1), Ok(0));
    assert_eq!((logged(&vcpu), pending(&vcpu)), ([0; 4], None));
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_SHUTDOWN));
    // Where it is not announced, there is none.
    for register in [MCG_CTL, MC1_CTL] {
        let vcpu = with_banks(false);
        set_msr(&vcpu, register, 0);
        assert_eq!(inject(&vcpu, VAL | UC | PCC, 5, 1), Ok(0));
        assert_eq!((logged(&vcpu), pending(&vcpu)), ([0; 4], None));
        assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_HLT));
    }
}

/// Corrected errors, and uncorrected ones that need no action (UCNA), are logged and no more.
#[test]
fn errors_that_are_only_logged() {
    let vcpu = with_banks(false);
    for over in [0, OVER] {
        assert_eq!(inject(&vcpu, VAL | 0x17, 5, 1), Ok(0));
        assert_eq!(logged(&vcpu), [0, VAL | 0x17 | over, 0x1234, 0x56]);
    }
    let ucna = VAL | UC | 0x18;
    for _ in 0..2 {
        assert_eq!(inject(&vcpu, ucna, 0, 1), Ok(0));
        assert_eq!(logged(&vcpu), [0, ucna, 0x1234, 0x56]);
    }
    // A corrected one does not take its place.
    assert_eq!(inject(&vcpu, VAL | 0x19, 5, 1), Ok(0));
    assert_eq!(logged(&vcpu)[1], ucna | OVER);
    assert_eq!(pending(&vcpu), None);
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_HLT));
}

/// A vCPU with a local APIC in the kernel, which runs this.
fn with_apic(code: &[u8]) -> Vcpu {
    let vm = Vm::new();
    vm.program.call(vm.vm, KVM_CREATE_IRQCHIP, 0).unwrap();
    vm.write(0x1000, code);
    vm.vcpu(0x1000, 0)
}

fn report(vcpu: &Vcpu, enabled: u32, flags: u32) -> Result<i64, Errno> {
    let mut control = kvm_tpr_access_ctl {
        enabled,
        flags,
        ..kvm_tpr_access_ctl::default()
    };
    vcpu.ioctl(KVM_TPR_ACCESS_REPORTING, &mut control)
}

fn set_vapic(vcpu: &Vcpu, vapic_addr: u64) -> Result<i64, Errno> {
    vcpu.ioctl(KVM_SET_VAPIC_ADDR, &mut kvm_vapic_addr { vapic_addr })
}

/// `KVM_EXIT_TPR_ACCESS`: behind the instruction, by memory and by MSR, as on Linux 6.12.117.
#[test]
fn accesses_of_tpr_are_reported() {
    // mov dword [0xfee00080], 0x20; mov eax, [0xfee00080]; out 0x80, al
    let code = [
        0xc7, 5, 0x80, 0, 0xe0, 0xfe, 0x20, 0, 0, 0, 0xa1, 0x80, 0, 0xe0, 0xfe, 0xe6, 0x80,
    ];
    let vcpu = with_apic(&code);
    assert_eq!(vcpu.vm.check(KVM_CAP_VAPIC), 1);
    assert_eq!(report(&vcpu, 1, 1), Err(Errno::EINVAL));
    let null = vcpu.vm.program.call(vcpu.fd, KVM_TPR_ACCESS_REPORTING, 0);
    assert_eq!(null, Err(Errno::EFAULT));
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_IO));
    for (at, accesses) in [(0x1000, 2), (0x100a, 1)] {
        assert_eq!(report(&vcpu, 7, 0), Ok(0));
        vcpu.go_to(at);
        let all = [(0x1000, 1, 0x100a), (0x100a, 0, 0x100f)];
        for (rip, is_write, next) in &all[2 - accesses..] {
            assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_TPR_ACCESS));
            let access: exit::tpr_access = vcpu.run.exit();
            assert_eq!((access.rip, access.is_write), (*rip, *is_write));
            assert_eq!(vcpu.regs().rip, *next);
        }
        assert_eq!(vcpu.regs().rax, 0x20);
        assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_IO));
    }
    report(&vcpu, 0, 0).unwrap();
    vcpu.go_to(0x1000);
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_IO));

    // In x2APIC mode: mov ecx, 0x808; rdmsr; mov eax, 0x20; wrmsr; out 0x80, al
    let vcpu = with_apic(&[
        0xb9, 8, 8, 0, 0, 0x0f, 0x32, 0xb8, 0x20, 0, 0, 0, 0x0f, 0x30, 0xe6, 0x80,
    ]);
    vcpu.set_cpuid(&[[0, 1, 0, 0, 0], [1, 0, 0, 1 << 21, 1 << 9 | 1 << 5]])
        .unwrap();
    set_msr(&vcpu, 0x1b, 0xfee0_0d00);
    report(&vcpu, 1, 0).unwrap();
    for (rip, is_write) in [(0x1005, 0), (0x100c, 1)] {
        assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_TPR_ACCESS));
        let access: exit::tpr_access = vcpu.run.exit();
        assert_eq!((access.rip, access.is_write), (rip, is_write));
        assert_eq!(vcpu.regs().rip, rip + 2);
    }
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_IO));
}

/// `KVM_SET_VAPIC_ADDR`: TPR is what the guest has written there, and it is told of what waits.
#[test]
fn tpr_is_in_the_guests_page() {
    let without = Vm::new().vcpu(0, 0);
    assert_eq!(set_vapic(&without, 0x2000), Err(Errno::EINVAL));
    assert_eq!(report(&without, 1, 0), Ok(0));

    // mov byte [0x2000], 0x30; out 0x80, al; mov dword [0xfee00080], 0x50; out 0x80, al
    // mov dword [0xfee000f0], 0x1ff; mov dword [0xfee00300], 0x44061 (to itself); out 0x80, al; and again
    let vcpu = with_apic(&[
        0xc6, 5, 0, 0x20, 0, 0, 0x30, 0xe6, 0x80, 0xc7, 5, 0x80, 0, 0xe0, 0xfe, 0x50, 0, 0, 0,
        0xe6, 0x80, 0xc7, 5, 0xf0, 0, 0xe0, 0xfe, 0xff, 1, 0, 0, 0xc7, 5, 0, 3, 0xe0, 0xfe, 0x61,
        0x40, 4, 0, 0xe6, 0x80, 0xe6, 0x80,
    ]);
    for bad in [0x2000_0000, 0x3ffd, u64::MAX, u64::MAX - 3] {
        assert_eq!(set_vapic(&vcpu, bad), Err(Errno::EINVAL), "{bad:#x}");
    }
    let null = vcpu.vm.program.call(vcpu.fd, KVM_SET_VAPIC_ADDR, 0);
    assert_eq!(null, Err(Errno::EFAULT));
    for good in [0, 1, 0x1ffe, 0x2000] {
        assert_eq!(set_vapic(&vcpu, good), Ok(0));
    }
    let tpr = || {
        let mut lapic = [0u32; 256];
        vcpu.ioctl(KVM_GET_LAPIC, &mut lapic).unwrap();
        lapic[0x80 / 4]
    };
    vcpu.vm.memory.put(0x2000, &[0x1122_3340]);
    let word = || vcpu.vm.memory.word(0x2000) as u32;
    // Nothing is told as long as the local APIC is not enabled; and what is in the page counts.
    for _ in 0..2 {
        assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_IO));
        assert_eq!((word(), tpr()), (0x1122_3330, 0x30));
    }
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_IO));
    assert_eq!(vcpu.enter(), Ok(exit::KVM_EXIT_IO));
    assert_eq!((word(), tpr()), (0x6100_0030, 0x30));
    assert_eq!(set_vapic(&vcpu, 0), Ok(0));
}
