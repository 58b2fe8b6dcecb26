//! Loops of a bare arm64 guest, in each tier, beside `qemu-system-aarch64` on the same image.
//!
//! `cargo bench -p understudy-vmm --bench loops`. Each image switches the MMU on, runs its loop and
//! powers off by PSCI. A figure is the difference between a long and a short run, so that starting
//! up doesn't count; the best of three, taken in turn with the peer.

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use understudy_abi::arm64::{kvm_vcpu_init, reg};
use understudy_abi::common::kvm_userspace_memory_region;
use understudy_kvm::{Kvm, VcpuExit};

const RAM: u64 = 0x4000_0000;
/// Where the image is: QEMU's machine has its device tree at the beginning of memory.
const IMAGE: u64 = RAM + 0x20_0000;
const RAM_SIZE: usize = 4 << 20;
const TABLE: u64 = 0x1_0000;
const DATA: u64 = 0x2_0000;

type Assembler = dynasmrt::VecAssembler<dynasmrt::aarch64::Aarch64Relocation>;

/// A loop: its name, instructions a turn, and what emits it. X0 counts down, X10 is data.
struct Loop {
    name: &'static str,
    instructions: u64,
    emit: fn(&mut Assembler),
}

const LOOPS: [Loop; 6] = [
    Loop {
        name: "integer (xorshift)",
        instructions: 6,
        emit: |a| {
            dynasm!(a
                ; .arch aarch64
                ; mov x1, 1
                ; ->turn:
                ; eor x1, x1, x1, lsl 13
                ; eor x1, x1, x1, lsr 7
                ; eor x1, x1, x1, lsl 17
                ; add x2, x2, x1
                ; subs x0, x0, 1
                ; b.ne ->turn
            )
        },
    },
    Loop {
        name: "load/store",
        instructions: 8,
        emit: |a| {
            dynasm!(a
                ; .arch aarch64
                ; ->turn:
                ; and x3, x0, 0xff8
                ; ldr x1, [x10, x3]
                ; add x1, x1, x0
                ; str x1, [x10, x3]
                ; ldp x4, x5, [x10, 16]
                ; add x6, x4, x5
                ; subs x0, x0, 1
                ; b.ne ->turn
            )
        },
    },
    Loop {
        name: "call and return",
        instructions: 5,
        emit: |a| {
            dynasm!(a
                ; .arch aarch64
                ; b ->turn
                ; ->function:
                ; add x1, x1, x0
                ; ret
                ; ->turn:
                ; bl ->function
                ; subs x0, x0, 1
                ; b.ne ->turn
            )
        },
    },
    Loop {
        name: "indirect branch",
        instructions: 8,
        emit: |a| {
            dynasm!(a
                ; .arch aarch64
                ; adr x7, ->targets
                ; ->turn:
                ; and x3, x0, 3
                ; add x4, x7, x3, lsl 4
                ; br x4
                ; .align 16
                ; ->targets:
                ; add x1, x1, 1
                ; eor x2, x2, x1
                ; nop
                ; b ->next
                ; add x1, x1, 2
                ; eor x2, x2, x1
                ; nop
                ; b ->next
                ; add x1, x1, 3
                ; eor x2, x2, x1
                ; nop
                ; b ->next
                ; add x1, x1, 4
                ; eor x2, x2, x1
                ; nop
                ; b ->next
                ; ->next:
                ; subs x0, x0, 1
                ; b.ne ->turn
            )
        },
    },
    Loop {
        name: "double arithmetic",
        instructions: 6,
        emit: |a| {
            dynasm!(a
                ; .arch aarch64
                ; fmov d0, 1.0
                ; fmov d1, 1.5
                ; fmov d3, 0.125
                ; ->turn:
                ; fmul d2, d0, d3
                ; fadd d0, d2, d1
                ; fsub d4, d0, d3
                ; fmadd d5, d4, d3, d1
                ; subs x0, x0, 1
                ; b.ne ->turn
            )
        },
    },
    Loop {
        name: "vector (4 x 32 bits)",
        instructions: 6,
        emit: |a| {
            dynasm!(a
                ; .arch aarch64
                ; movi v1.s4, 3
                ; ->turn:
                ; add v0.s4, v0.s4, v1.s4
                ; mul v2.s4, v0.s4, v1.s4
                ; eor v3.b16, v2.b16, v0.b16
                ; umax v4.s4, v3.s4, v0.s4
                ; subs x0, x0, 1
                ; b.ne ->turn
            )
        },
    },
];

/// `MSR <register>, X0`, by op0, op1, CRn, CRm, op2.
const fn msr(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    0xd510_0000 | (op0 & 1) << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
}

fn image(body: &Loop, turns: u64) -> Vec<u8> {
    let mut a = Assembler::new(IMAGE as usize);
    dynasm!(a
        ; .arch aarch64
        ; ldr x0, ->mair
        ; .u32 msr(3, 0, 10, 2, 0)
        ; ldr x0, ->tcr
        ; .u32 msr(3, 0, 2, 0, 2)
        ; ldr x0, ->ttbr0
        ; .u32 msr(3, 0, 2, 0, 0)
        // CPACR_EL1.FPEN: no trap of floating point.
        ; mov x0, 0x30_0000
        ; .u32 msr(3, 0, 1, 0, 2)
        ; .u32 0xd503_3fdf
        ; mov x0, 0x1005
        ; .u32 msr(3, 0, 1, 0, 0)
        ; .u32 0xd503_3fdf
        ; ldr x10, ->data
        ; ldr x0, ->turns
        ; b ->begin
        ; .align 8
        ; ->mair:
        ; .u64 0xff
        ; ->tcr:
        ; .u64 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 25 << 16
        ; ->ttbr0:
        ; .u64 IMAGE + TABLE
        ; ->data:
        ; .u64 IMAGE + DATA
        ; ->turns:
        ; .u64 turns
        ; ->begin:
    );
    (body.emit)(&mut a);
    dynasm!(a
        ; .arch aarch64
        ; movz w0, 0x8400, lsl 16
        ; movk w0, 0x0008
        ; hvc 0
    );
    let mut image = a.finalize().expect("all labels are defined");
    image.resize(DATA as usize, 0);
    // Level 1 block: 1 GiB, Normal memory, access flag, inner shareable, EL1.
    let block = RAM | 1 << 10 | 0b11 << 8 | 0b01;
    image[TABLE as usize + 8..][..8].copy_from_slice(&block.to_le_bytes());
    image
}

fn ours(image: &[u8]) -> Duration {
    let mut memory = memmap2::MmapMut::map_anon(RAM_SIZE).expect("memory for the guest");
    memory[(IMAGE - RAM) as usize..][..image.len()].copy_from_slice(image);
    let vm = Kvm::new().and_then(|kvm| kvm.create_vm()).expect("a VM");
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: RAM,
        memory_size: RAM_SIZE as u64,
        userspace_addr: memory.as_mut_ptr() as u64,
    };
    // SAFETY: the mapping is used by nothing else, and outlives the VM.
    unsafe { vm.set_user_memory_region(region) }.expect("a slot");
    let mut vcpu = vm.create_vcpu(0).expect("a vCPU");
    let init = kvm_vcpu_init {
        target: 5,
        features: [1 << 2, 0, 0, 0, 0, 0, 0],
    };
    vcpu.vcpu_init(&init).expect("KVM_ARM_VCPU_INIT");
    vcpu.set_one_reg(reg::core::PC, &IMAGE.to_le_bytes())
        .expect("PC");
    let start = Instant::now();
    match vcpu.run().expect("KVM_RUN") {
        VcpuExit::SystemEvent(..) => start.elapsed(),
        other => panic!("the guest was to power off: {other:?}"),
    }
}

fn qemu(image: &[u8]) -> Option<Duration> {
    let mut file = tempfile::NamedTempFile::new().ok()?;
    file.write_all(image).ok()?;
    let loader = format!(
        "loader,file={},addr={IMAGE:#x},force-raw=on",
        file.path().display()
    );
    let start = Instant::now();
    let status = Command::new("qemu-system-aarch64")
        .args([
            "-M",
            "virt",
            "-cpu",
            "neoverse-n1",
            "-m",
            "64",
            "-accel",
            "tcg",
        ])
        .args(["-display", "none", "-nodefaults", "-device", &loader])
        .args(["-device", &format!("loader,addr={IMAGE:#x},cpu-num=0")])
        .stdin(Stdio::null())
        .status()
        .ok()?;
    status.success().then(|| start.elapsed())
}

/// Million instructions a second: best of `rounds`, by the difference between two lengths.
fn speed(body: &Loop, turns: u64, run: impl Fn(&[u8]) -> Option<Duration>) -> Option<f64> {
    let long = run(&image(body, turns))?;
    let short = run(&image(body, turns / 10))?;
    let seconds = long.checked_sub(short)?.as_secs_f64();
    Some(body.instructions as f64 * turns as f64 * 0.9 / seconds / 1e6)
}

fn tier(name: &str) {
    // SAFETY: no other thread of this program reads the environment now.
    unsafe { std::env::set_var("UNDERSTUDY_TIER", name) };
}

fn main() {
    println!("million guest instructions a second, best of 3");
    println!(
        "{:<22} {:>12} {:>12} {:>12} {:>8}",
        "loop", "interpreted", "compiled", "QEMU", "ratio"
    );
    for body in &LOOPS {
        let mut best = [0f64; 3];
        for _ in 0..3 {
            let figures = [
                {
                    tier("interpret");
                    speed(body, 10_000_000, |i| Some(ours(i)))
                },
                {
                    tier("adaptive");
                    speed(body, 300_000_000, |i| Some(ours(i)))
                },
                speed(body, 100_000_000, qemu),
            ];
            for (best, figure) in best.iter_mut().zip(figures) {
                *best = best.max(figure.unwrap_or(0.0));
            }
        }
        let ratio = if best[2] > 0.0 {
            format!("{:.2}", best[1] / best[2])
        } else {
            "-".into()
        };
        println!(
            "{:<22} {:>12.0} {:>12.0} {:>12.0} {ratio:>8}",
            body.name, best[0], best[1], best[2]
        );
    }
}
