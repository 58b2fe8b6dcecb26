//! What a KVM_RUN costs that ends in an exit: MMIO, and a hardware breakpoint; of x86 guests MMIO, a
//! port, and a single step.
//!
//! `cargo bench -p understudy-vmm --bench exits`. Where the machine has a real `/dev/kvm` (of x86),
//! the same client makes the same x86 exits there, in turn with ours. The last lines say what a
//! vCPU costs in memory once it has run a loop, and that debugging costs nothing while none is in
//! use.

#[cfg(target_arch = "x86_64")]
mod x86;

use std::hint::black_box;
use std::time::Instant;
use understudy_abi::arm64::{
    GuestDebugControl, KVM_ARM_MAX_DBG_REGS, kvm_guest_debug, kvm_guest_debug_arch, kvm_vcpu_init,
    reg,
};
use understudy_abi::common::kvm_userspace_memory_region;
use understudy_kvm::{Fidelity, Kvm, Model, Proposals, VcpuExit, VcpuFd, VmFd};

const RAM: u64 = 0x4000_0000;
const RAM_SIZE: usize = 1 << 20;
const OSLSR_EL1: u64 = reg::sys_reg(2, 0, 1, 1, 4);
const ID_AA64ISAR0_EL1: u64 = reg::sys_reg(3, 0, 0, 6, 0);
const MDSCR_EL1: u64 = reg::sys_reg(2, 0, 0, 2, 2);
const ROUNDS: u32 = 200_000;

struct Guest {
    vcpu: VcpuFd,
    ran: bool,
    _vm: VmFd,
    _memory: memmap2::MmapMut,
}

fn guest(code: &[u32]) -> Guest {
    guest_of(Kvm::new().expect("a system"), code)
}

fn guest_of(system: Kvm, code: &[u32]) -> Guest {
    let mut memory = memmap2::MmapMut::map_anon(RAM_SIZE).expect("memory for the guest");
    for (to, word) in memory.chunks_exact_mut(4).zip(code) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    let vm = system.create_vm().expect("a VM");
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: RAM,
        memory_size: RAM_SIZE as u64,
        userspace_addr: memory.as_mut_ptr() as u64,
    };
    // SAFETY: the mapping is used by nothing else, and outlives the VM.
    unsafe { vm.set_user_memory_region(region) }.expect("a slot");
    let vcpu = vm.create_vcpu(0).expect("a vCPU");
    let init = kvm_vcpu_init {
        target: 5,
        features: [1 << 2, 0, 0, 0, 0, 0, 0],
    };
    vcpu.vcpu_init(&init).expect("KVM_ARM_VCPU_INIT");
    vcpu.set_one_reg(reg::core::PC, &RAM.to_le_bytes())
        .expect("PC");
    Guest {
        vcpu,
        ran: false,
        _vm: vm,
        _memory: memory,
    }
}

/// Nanoseconds a round, of `ROUNDS`.
fn nanoseconds(mut round: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        round();
    }
    start.elapsed().as_nanos() as f64 / ROUNDS as f64
}

/// STR X1, [X0]; B .-4
fn mmio() -> Guest {
    let guest = guest(&[0xf900_0001, 0x17ff_ffff]);
    guest
        .vcpu
        .set_one_reg(reg::core::x(0), &0x900_0000u64.to_le_bytes())
        .expect("X0");
    guest
}

fn mmio_round(guest: &mut Guest) {
    match guest.vcpu.run() {
        Ok(VcpuExit::MmioWrite(address, data)) => {
            black_box((address, data));
        }
        other => panic!("a store to no memory: {other:?}"),
    }
}

/// ADD X1, X1, #1; NOP; B .-8, with a breakpoint on the NOP that the client moves to the ADD and
/// back, so that each run goes on and hits the next.
fn breakpoints() -> Guest {
    guest(&[0x9100_0421, 0xd503_201f, 0x17ff_fffe])
}

fn set_breakpoint(vcpu: &VcpuFd, address: u64) {
    let control = GuestDebugControl::ENABLE | GuestDebugControl::USE_HW;
    guest_debug(vcpu, control, address);
}

fn guest_debug(vcpu: &VcpuFd, control: GuestDebugControl, address: u64) {
    let none = [0; KVM_ARM_MAX_DBG_REGS];
    let mut arch = kvm_guest_debug_arch {
        dbg_bcr: none,
        dbg_bvr: none,
        dbg_wcr: none,
        dbg_wvr: none,
    };
    arch.dbg_bcr[0] = 0xf << 5 | 0b11 << 1 | 1;
    arch.dbg_bvr[0] = address;
    let settings = kvm_guest_debug {
        control: control.bits(),
        pad: 0,
        arch,
    };
    vcpu.set_guest_debug(&settings)
        .expect("KVM_SET_GUEST_DEBUG");
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse::<u64>().ok())
        .unwrap_or(0);
    pages * 4096
}

/// What a vCPU costs in memory once it has run a loop, its code cache included.
fn memory() {
    let before = resident();
    let mut guest = counter();
    count(&mut guest);
    println!(
        "a vCPU that has run a loop        {:>8.1} MiB resident",
        (resident() - before) as f64 / (1 << 20) as f64
    );
}

/// SUBS X0, X0, #1; B.NE .-4; STR X1, [X2]
fn counter() -> Guest {
    counter_of(Kvm::new().expect("a system"))
}

fn counter_of(system: Kvm) -> Guest {
    let guest = guest_of(system, &[0xf100_0400, 0x54ff_ffe1, 0xf900_0041]);
    guest
        .vcpu
        .set_one_reg(reg::core::x(2), &0x900_0000u64.to_le_bytes())
        .expect("X2");
    guest
}

/// Has the guest count down once; seconds.
fn count(guest: &mut Guest) -> f64 {
    // The store that ended the last round is over when the next run begins, and adds 4 to PC.
    let entry = if guest.ran { RAM - 4 } else { RAM };
    guest.ran = true;
    for (id, value) in [(reg::core::PC, entry), (reg::core::x(0), 300_000_000)] {
        guest
            .vcpu
            .set_one_reg(id, &value.to_le_bytes())
            .expect("a core register");
    }
    let start = Instant::now();
    mmio_round(guest);
    start.elapsed().as_secs_f64()
}

/// What debugging costs where it is not used: a vCPU that never was debugged, and one that was once,
/// with its OS Lock and MDSCR_EL1.MDE set, run the same loop in turn.
fn unused() {
    let mut plain = counter();
    let mut debugged = counter();
    set_breakpoint(&debugged.vcpu, RAM + 0x1000);
    guest_debug(&debugged.vcpu, GuestDebugControl::empty(), 0);
    for (id, value) in [(OSLSR_EL1, 0b1010u64), (MDSCR_EL1, 1 << 15)] {
        debugged
            .vcpu
            .set_one_reg(id, &value.to_le_bytes())
            .expect("a debug register");
    }
    // And a VM that hides LSE, where that is strictly so.
    let system = Kvm::new().expect("a system");
    let mut strict = counter_of(system.with_fidelity(Fidelity::Strict));
    strict
        .vcpu
        .set_one_reg(ID_AA64ISAR0_EL1, &0x1000_1001_1120u64.to_le_bytes())
        .expect("ID_AA64ISAR0_EL1");
    let mut best = [f64::MAX; 3];
    for _ in 0..5 {
        best[0] = best[0].min(count(&mut plain));
        best[1] = best[1].min(count(&mut debugged));
        best[2] = best[2].min(count(&mut strict));
    }
    println!(
        "the same loop, once debugged      {:>8.3} of the time",
        best[1] / best[0]
    );
    println!(
        "the same loop, strict             {:>8.3} of the time",
        best[2] / best[0]
    );
}

/// What KVM_SET_ONE_REG of an ID register costs, all its checks included: as Linux has it, and as the
/// proposal `arm64-id-reg-configurable` does.
fn validation() {
    for (name, proposals) in [
        ("KVM_SET_ONE_REG of an ID register", Proposals::empty()),
        ("the same, of the proposal", Proposals::ID_REG_CONFIGURABLE),
    ] {
        let guest = guest_of(Kvm::with(Model::default(), proposals), &[]);
        let mut value = 0x1000_1021_1120u64;
        let mut best = f64::MAX;
        for _ in 0..5 {
            best = best.min(nanoseconds(|| {
                // Atomic is 0 and 2 in turn.
                value ^= 2 << 20;
                let set = guest
                    .vcpu
                    .set_one_reg(ID_AA64ISAR0_EL1, &value.to_le_bytes());
                set.expect("it is within its limit");
            }));
        }
        println!("{name:<33}{best:>8.0} ns");
    }
}

fn main() {
    // First, so that nothing is there yet that vCPUs share.
    memory();
    let mut best = [f64::MAX; 2];
    let mut ours = mmio();
    let mut broken = breakpoints();
    for _ in 0..5 {
        best[0] = best[0].min(nanoseconds(|| mmio_round(&mut ours)));
        let mut at = 0;
        best[1] = best[1].min(nanoseconds(|| {
            set_breakpoint(&broken.vcpu, RAM + at);
            match broken.vcpu.run() {
                Ok(VcpuExit::Debug(exit)) => black_box(exit),
                other => panic!("a breakpoint: {other:?}"),
            };
            at ^= 4;
        }));
    }
    println!("KVM_RUN to an MMIO exit          {:>8.0} ns", best[0]);
    println!(
        "breakpoint set, run, debug exit  {:>8.0} ns  ({:.2} million a second)",
        best[1],
        1e3 / best[1]
    );
    #[cfg(target_arch = "x86_64")]
    x86::print();
    unused();
    validation();
}
