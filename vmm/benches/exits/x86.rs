//! The same of x86 guests, in real mode as in `reference/perf/exits.c`: ours, and the machine's own KVM.

use std::hint::black_box;
use std::time::Instant;

use kvm_bindings as host;
use understudy_abi::common::kvm_userspace_memory_region;
use understudy_abi::x86::{GuestDebugControl, kvm_guest_debug, kvm_guest_debug_arch, kvm_regs};
use understudy_kvm::x86::Proposals;
use understudy_kvm::{Kvm, VcpuExit, VcpuFd, VmFd};

const CODE: u64 = 0x1000;
const SIZE: usize = 0x1000;
/// RFLAGS: bit 1, which is always 1.
const FLAGS: u64 = 1 << 1;
/// Batches, of which the quickest counts.
const BATCHES: usize = 40;

/// What leaves the guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// MOV [0x8000], AL, where there is no memory.
    Mmio,
    /// OUT DX, AL.
    Port,
    /// Each instruction: three NOPs.
    Step,
}

impl Leaves {
    /// A loop of it.
    fn code(self) -> &'static [u8] {
        match self {
            Leaves::Mmio => &[0xa2, 0x00, 0x80, 0xeb, 0xfb],
            Leaves::Port => &[0xee, 0xeb, 0xfd],
            Leaves::Step => &[0x90, 0x90, 0x90, 0xeb, 0xfb],
        }
    }
}

fn memory(leaves: Leaves) -> memmap2::MmapMut {
    let mut memory = memmap2::MmapMut::map_anon(SIZE).expect("memory for the guest");
    let code = leaves.code();
    memory[..code.len()].copy_from_slice(code);
    memory
}

/// The machine's own KVM.
pub struct Host {
    vcpu: kvm_ioctls::VcpuFd,
    _vm: kvm_ioctls::VmFd,
    _memory: memmap2::MmapMut,
}

impl Host {
    /// The guest, if the machine has a KVM that runs it.
    pub fn new(leaves: Leaves) -> Option<Host> {
        let kvm = kvm_ioctls::Kvm::new().ok()?;
        let vm = kvm.create_vm().ok()?;
        let mut memory = memory(leaves);
        let region = host::kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: CODE,
            memory_size: SIZE as u64,
            userspace_addr: memory.as_mut_ptr() as u64,
        };
        // SAFETY: the mapping is used by nothing else, and is kept with the vCPU.
        unsafe { vm.set_user_memory_region(region) }.ok()?;
        let vcpu = vm.create_vcpu(0).ok()?;
        let mut sregs = vcpu.get_sregs().ok()?;
        sregs.cs.base = 0;
        sregs.cs.selector = 0;
        vcpu.set_sregs(&sregs).ok()?;
        let mut regs = vcpu.get_regs().ok()?;
        (regs.rip, regs.rflags) = (CODE, FLAGS);
        vcpu.set_regs(&regs).ok()?;
        if leaves == Leaves::Step {
            let control = host::KVM_GUESTDBG_ENABLE | host::KVM_GUESTDBG_SINGLESTEP;
            let debug = host::kvm_guest_debug {
                control,
                ..Default::default()
            };
            vcpu.set_guest_debug(&debug).ok()?;
        }
        Some(Host {
            vcpu,
            _vm: vm,
            _memory: memory,
        })
    }

    /// One round trip.
    pub fn round(&mut self) {
        use kvm_ioctls::VcpuExit as Exit;
        match self.vcpu.run() {
            Ok(exit @ (Exit::MmioWrite(..) | Exit::IoOut(..) | Exit::Debug(_))) => {
                black_box(&exit);
            }
            other => panic!("an exit that was not asked for: {other:?}"),
        }
    }
}

/// Understudy.
struct Ours {
    vcpu: VcpuFd,
    _vm: VmFd,
    _memory: memmap2::MmapMut,
}

impl Ours {
    fn new(leaves: Leaves) -> Ours {
        let vm = Kvm::x86(Proposals::empty()).create_vm().expect("a VM");
        let mut memory = memory(leaves);
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: CODE,
            memory_size: SIZE as u64,
            userspace_addr: memory.as_mut_ptr() as u64,
        };
        // SAFETY: the mapping is used by nothing else, and outlives the VM.
        unsafe { vm.set_user_memory_region(region) }.expect("a slot");
        let vcpu = vm.create_vcpu(0).expect("a vCPU");
        let mut sregs = vcpu.get_sregs().expect("KVM_GET_SREGS");
        sregs.cs.base = 0;
        sregs.cs.selector = 0;
        vcpu.set_sregs(&sregs).expect("KVM_SET_SREGS");
        let regs = kvm_regs {
            rip: CODE,
            rflags: FLAGS,
            ..kvm_regs::default()
        };
        vcpu.set_regs(&regs).expect("KVM_SET_REGS");
        if leaves == Leaves::Step {
            let control = GuestDebugControl::ENABLE | GuestDebugControl::SINGLESTEP;
            let debug = kvm_guest_debug {
                control: control.bits(),
                pad: 0,
                arch: kvm_guest_debug_arch { debugreg: [0; 8] },
            };
            vcpu.set_guest_debug(&debug).expect("KVM_SET_GUEST_DEBUG");
        }
        Ours {
            vcpu,
            _vm: vm,
            _memory: memory,
        }
    }

    fn round(&mut self) {
        match self.vcpu.run() {
            Ok(exit @ (VcpuExit::MmioWrite(..) | VcpuExit::IoOut(..) | VcpuExit::X86Debug(_))) => {
                black_box(&exit);
            }
            other => panic!("an exit that was not asked for: {other:?}"),
        }
    }
}

/// Nanoseconds a round, of `count`.
fn nanoseconds(count: u32, mut round: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        round();
    }
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

/// Prints what KVM_RUN costs to each kind of exit, in turn on both.
pub fn print() {
    for (name, leaves) in [
        ("MMIO write", Leaves::Mmio),
        ("port output", Leaves::Port),
        ("single step", Leaves::Step),
    ] {
        let mut ours = Ours::new(leaves);
        let mut host = Host::new(leaves);
        let mut best = [f64::MAX; 2];
        for _ in 0..BATCHES {
            best[0] = best[0].min(nanoseconds(10_000, || ours.round()));
            if let Some(host) = &mut host {
                best[1] = best[1].min(nanoseconds(500, || host.round()));
            }
        }
        let peer = match host {
            Some(_) => format!("{:.0} ns", best[1]),
            None => "-".into(),
        };
        println!(
            "x86: KVM_RUN to a {name:<15} {:>7.0} ns, this machine's KVM {peer}",
            best[0]
        );
    }
}
