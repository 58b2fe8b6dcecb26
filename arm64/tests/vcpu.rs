//! Small guests that are run as the KVM API runs them: exits, injected events, interrupts, timers,
//! PSCI among several vCPUs. Each runs interpreted and compiled. Expectations with a line of
//! the reference machine's probe in their comment are that line.

use std::sync::Arc;
use understudy_abi::arm64::{DeviceIrqLevel, VcpuFeatures};
use understudy_arm64::exit::{Exit, Mmio, SystemEvent};
use understudy_arm64::machine::{Machine, Settings};
use understudy_arm64::sysregs::Reg;
use understudy_arm64::timers::{self, FREQUENCY, Timer};
use understudy_arm64::vcpu::peer::{Line, MpState};
use understudy_arm64::vcpu::{SetEvents, Vcpu, core_regs};
use understudy_engine::run::Tier;
use understudy_memory::{GuestMemory, Limits, UserRegion};

/// Where the code is.
const CODE: u64 = 0x4000_0000;
/// Where the vectors are; vector `n` stores a byte to [`TRAP`] + `n`.
const VECTORS: u64 = CODE + 0x4000;
const SIZE: usize = 0x1_0000;
/// A store there leaves the guest with a value. X20 holds it.
const EXIT: u64 = 0x900_0000;
/// X21 holds it.
const TRAP: u64 = 0x900_1000;
/// Another address without memory.
const HOLE: u64 = 0x900_2000;

const B_SELF: u32 = 0x1400_0000;
const WFI: u32 = 0xd503_207f;
const ISB: u32 = 0xd503_3fdf;
const HVC: u32 = 0xd400_0002;
const SMC: u32 = 0xd400_0003;
const ADD_X3: u32 = 0x9100_0463;
const STR_X1_X20: u32 = 0xf900_0281;
const LDR_W1_X2: u32 = 0xb940_0041;
const LDR_X1_X2: u32 = 0xf940_0041;
const STR_W1_X2: u32 = 0xb900_0041;
const LDRSB_X1_X2: u32 = 0x3980_0041;
const LDRSW_X1_X2: u32 = 0xb980_0041;
const STP_X3_X4_X2: u32 = 0xa900_1043;
const LDR_POST: u32 = 0xb840_4441;
const ERET: u32 = 0xd69f_03e0;

const fn daif_clear(bits: u32) -> u32 {
    0xd503_40ff | bits << 8
}

const fn mrs(op1: u32, crn: u32, crm: u32, op2: u32, rt: u32) -> u32 {
    0xd538_0000 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | rt
}

const fn msr(op1: u32, crn: u32, crm: u32, op2: u32, rt: u32) -> u32 {
    mrs(op1, crn, crm, op2, rt) & !(1 << 21)
}

const CNTV_CTL: (u32, u32, u32, u32) = (3, 14, 3, 1);

/// A VM with memory, and its vCPUs.
struct Vm {
    machine: Arc<Machine>,
    vcpus: Vec<Vcpu>,
}

#[repr(align(4096))]
struct Memory([u8; SIZE]);

impl Vm {
    fn new(vcpus: u32, tier: Tier) -> Vm {
        let memory = Arc::new(GuestMemory::new(Limits::arm64(40)));
        // Stays, as guests on other threads may outlive a test that fails.
        let bytes = Box::leak(Box::new(Memory([0; SIZE])));
        let region = UserRegion {
            slot: 0,
            flags: 0,
            guest_phys_addr: CODE,
            memory_size: SIZE as u64,
            userspace_addr: bytes.0.as_mut_ptr() as u64,
        };
        memory
            .set_region(&region)
            .expect("the region is a valid one");
        let machine = Machine::new(memory, Settings::default());
        let features = VcpuFeatures::PSCI_0_2;
        let vcpus = (0..vcpus)
            .map(|id| {
                let mut vcpu = Vcpu::new(&machine, id);
                vcpu.engine.set_tier(tier);
                assert!(machine.fix_features(features));
                vcpu.init(match id {
                    0 => features,
                    _ => features | VcpuFeatures::POWER_OFF,
                });
                vcpu.cpu_mut().state.sys[Reg::VBAR_EL1] = VECTORS;
                vcpu
            })
            .collect();
        let vm = Vm { machine, vcpus };
        for n in 0..16 {
            // STRB W1, [X21, #n]
            vm.put(
                VECTORS + 0x80 * u64::from(n),
                &[0x3900_02a1 | n << 10, ERET],
            );
        }
        vm
    }

    fn put(&self, address: u64, code: &[u32]) {
        for (i, word) in (0..).zip(code) {
            let stored = self.machine.memory.store(address + 4 * i, *word);
            stored.expect("the code is in memory");
        }
    }

    /// Has the first vCPU begin with this code.
    fn start(&mut self, code: &[u32]) -> &mut Vcpu {
        self.put(CODE, code);
        let vcpu = &mut self.vcpus[0];
        begin(vcpu);
        vcpu
    }
}

/// Has a vCPU begin at [`CODE`].
fn begin(vcpu: &mut Vcpu) {
    let cpu = vcpu.cpu_mut();
    cpu.pc = CODE;
    for n in 0..8 {
        core_regs::set_x(cpu, n, 0);
    }
    core_regs::set_x(cpu, 20, EXIT);
    core_regs::set_x(cpu, 21, TRAP);
    assert!(core_regs::set_pstate(cpu, 0x3c5));
    vcpu.first_run().expect("it is initialised");
}

/// Runs the test interpreted, and with everything compiled.
fn both(test: impl Fn(Tier)) {
    test(Tier::Interpret);
    test(Tier::Compile(1));
}

fn x(vcpu: &Vcpu, n: u32) -> u64 {
    core_regs::x(vcpu.cpu(), n)
}

fn set_x(vcpu: &mut Vcpu, n: u32, value: u64) {
    core_regs::set_x(vcpu.cpu_mut(), n, value);
}

/// Runs until the guest stores to [`EXIT`], and gives what it stores.
fn value(vcpu: &mut Vcpu) -> u64 {
    match vcpu.run() {
        Exit::Mmio(mmio) if mmio.is_write && mmio.address == EXIT => {
            vcpu.complete_mmio(&[0; 8]);
            u64::from_le_bytes(mmio.data)
        }
        exit => panic!("{exit:x?} at {:#x}", vcpu.cpu().pc),
    }
}

/// Runs until an exception is taken, and gives the number of its vector.
fn vector(vcpu: &mut Vcpu) -> u64 {
    match vcpu.run() {
        Exit::Mmio(mmio) if mmio.is_write && (TRAP..TRAP + 16).contains(&mmio.address) => {
            vcpu.complete_mmio(&[0; 8]);
            mmio.address - TRAP
        }
        exit => panic!("{exit:x?} at {:#x}", vcpu.cpu().pc),
    }
}

/// `memory load hole 0: MMIO read 0x9002000 length 4 ... pc +0x4`.
#[test]
fn loads_are_completed() {
    both(|tier| {
        let mut vm = Vm::new(1, tier);
        for (load, offset, length, expected) in [
            (LDR_W1_X2, 0, 4, 0x8483_8281),
            (LDR_X1_X2, 0, 8, 0x8887_8685_8483_8281),
            // KVM forgets that it has sign-extended.
            (LDRSB_X1_X2, 0, 1, 0x81),
            (LDRSW_X1_X2, 4, 4, 0x8483_8281),
        ] {
            let vcpu = vm.start(&[ADD_X3, load, ADD_X3, STR_X1_X20, B_SELF]);
            set_x(vcpu, 2, HOLE + offset);
            let access = Mmio {
                address: HOLE + offset,
                length,
                is_write: false,
                data: [0; 8],
            };
            assert_eq!(vcpu.run(), Exit::Mmio(access));
            assert_eq!(vcpu.cpu().pc, CODE + 4);
            vcpu.complete_mmio(&[0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88]);
            assert_eq!(value(vcpu), expected);
            assert_eq!(x(vcpu, 3), 2);
        }
    });
}

/// `memory store hole 0: MMIO write 0x9002000 length 4 value 0x55667788 pc +0x4`.
#[test]
fn stores_are_told() {
    both(|tier| {
        let mut vm = Vm::new(1, tier);
        let vcpu = vm.start(&[ADD_X3, STR_W1_X2, STR_X1_X20, B_SELF]);
        set_x(vcpu, 1, 0x1122_3344_5566_7788);
        set_x(vcpu, 2, HOLE);
        let access = Mmio {
            address: HOLE,
            length: 4,
            is_write: true,
            data: [0x88, 0x77, 0x66, 0x55, 0, 0, 0, 0],
        };
        assert_eq!(vcpu.run(), Exit::Mmio(access));
        assert_eq!(vcpu.cpu().pc, CODE + 4);
        vcpu.complete_mmio(&[0; 8]);
        assert_eq!(value(vcpu), 0x1122_3344_5566_7788);
    });
}

/// `memory ldp hole 0: run ENOSYS exit 0 pc +0x4`, `NISV esr_iss 0x5 fault_ipa 0x9002000`.
#[test]
fn accesses_without_syndrome() {
    both(|tier| {
        let mut vm = Vm::new(1, tier);
        for (insn, esr_iss) in [(STP_X3_X4_X2, 0x45), (LDR_POST, 0x5)] {
            for nisv in [false, true] {
                if nisv {
                    vm.machine.set_nisv_to_user();
                } else if vm.machine.nisv_to_user() {
                    continue;
                }
                let vcpu = vm.start(&[ADD_X3, insn, STR_X1_X20, B_SELF]);
                set_x(vcpu, 2, HOLE);
                let fault_ipa = HOLE;
                let expected = match nisv {
                    true => Exit::NisV { esr_iss, fault_ipa },
                    false => Exit::NoSyndrome,
                };
                assert_eq!(vcpu.run(), expected);
                assert_eq!(vcpu.cpu().pc, CODE + 4);
                assert_eq!(x(vcpu, 2), HOLE);
                // User space may skip it; nothing is left to complete.
                vcpu.cpu_mut().pc += 4;
                assert_eq!(value(vcpu), 0);
            }
        }
    });
}

/// An injected abort is taken instead of completing the load: ESR 0x96000010, FAR its address.
/// `ioctl injected abort 0: VECTOR 4 esr 0x94000010` where there was no exit before.
#[test]
fn an_abort_answers_an_access() {
    both(|tier| {
        let mut vm = Vm::new(1, tier);
        let abort = SetEvents {
            external_abort: true,
            ..SetEvents::default()
        };
        let vcpu = vm.start(&[LDR_X1_X2, STR_X1_X20, B_SELF]);
        assert!(vcpu.set_events(abort));
        assert_eq!(vector(vcpu), 4);
        let sys = &vcpu.cpu().state.sys;
        assert_eq!((sys[Reg::ESR_EL1], sys[Reg::FAR_EL1]), (0x9400_0010, 0));
        assert_eq!((sys[Reg::ELR_EL1], sys[Reg::SPSR_EL1]), (CODE, 0x3c5));

        begin(vcpu);
        set_x(vcpu, 2, HOLE + 8);
        assert!(matches!(vcpu.run(), Exit::Mmio(_)));
        assert!(vcpu.set_events(abort));
        vcpu.complete_mmio(&[1; 8]);
        assert_eq!(vector(vcpu), 4);
        let sys = &vcpu.cpu().state.sys;
        assert_eq!(
            (sys[Reg::ESR_EL1], sys[Reg::FAR_EL1]),
            (0x9600_0010, HOLE + 8)
        );
        assert_eq!((sys[Reg::ELR_EL1], x(vcpu, 1)), (CODE, 0));
    });
}

/// `ioctl injected serror 0: VECTOR 7 esr 0xbf000000 elr +0 ... spsr 0x2c5`.
#[test]
fn an_serror_waits_until_it_is_unmasked() {
    both(|tier| {
        let mut vm = Vm::new(1, tier);
        let vcpu = vm.start(&[ADD_X3, STR_X1_X20, daif_clear(4), STR_X1_X20, B_SELF]);
        let serror = SetEvents {
            serror: true,
            ..SetEvents::default()
        };
        assert!(vcpu.set_events(serror));
        value(vcpu);
        assert_eq!(vcpu.events().serror, Some(1 << 24));
        assert_eq!(vector(vcpu), 7);
        let sys = &vcpu.cpu().state.sys;
        assert_eq!(
            (sys[Reg::ESR_EL1], sys[Reg::ELR_EL1]),
            (0xbf00_0000, CODE + 12)
        );
        assert_eq!(sys[Reg::SPSR_EL1], 0x2c5);
        assert_eq!(vcpu.events().serror, None);
        // Taken once: the guest returns from it.
        value(vcpu);
        assert_eq!(vcpu.cpu().pc, CODE + 16);
    });
}

/// The reference machine takes the IRQ behind the MSR: `elr 0x40000008 spsr 0x345`, vector 5, and
/// IRQ before FIQ before SError.
#[test]
fn interrupts_are_taken_when_they_are_unmasked() {
    both(|tier| {
        for (lines, mask, first) in [
            (&[Line::Irq][..], 2, 5),
            (&[Line::Fiq], 1, 6),
            (&[Line::Irq, Line::Fiq], 3, 5),
            (&[Line::Irq, Line::Fiq], 1, 6),
        ] {
            let mut vm = Vm::new(1, tier);
            let vcpu = vm.start(&[ADD_X3, daif_clear(mask), ADD_X3, STR_X1_X20, B_SELF]);
            for line in lines {
                vcpu.peer().set_line(*line, true);
            }
            assert_eq!(vector(vcpu), first);
            let sys = &vcpu.cpu().state.sys;
            assert_eq!(sys[Reg::ELR_EL1], CODE + 8);
            assert_eq!(sys[Reg::SPSR_EL1], 0x3c5 & !(u64::from(mask) << 6));
            assert_eq!(x(vcpu, 3), 1);
            // The level is still high after the return, and is taken again, until it is low.
            assert_eq!(vector(vcpu), first);
            assert_eq!(x(vcpu, 3), 1);
            for line in lines {
                vcpu.peer().set_line(*line, false);
            }
            value(vcpu);
            assert_eq!(x(vcpu, 3), 2);
        }
    });
}

/// A line that goes up interrupts a guest that loops, compiled or not.
#[test]
fn a_line_interrupts_a_loop() {
    both(|tier| {
        let mut vm = Vm::new(1, tier);
        let vcpu = vm.start(&[daif_clear(2), ADD_X3, (B_SELF - 1) & 0x3ff_ffff | B_SELF]);
        let peer = vcpu.peer().clone();
        let other = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(2));
            peer.set_line(Line::Irq, true);
        });
        assert_eq!(vector(vcpu), 5);
        other.join().expect("the other thread ends");
    });
}

/// A kick ends a run of a guest that loops, with the PC in the loop.
#[test]
fn a_kick_ends_a_run() {
    both(|tier| {
        let mut vm = Vm::new(1, tier);
        let vcpu = vm.start(&[B_SELF]);
        let peer = vcpu.peer().clone();
        let other = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(2));
            peer.kick();
        });
        assert_eq!(vcpu.run(), Exit::Interrupted);
        assert_eq!(vcpu.cpu().pc, CODE);
        other.join().expect("the other thread ends");
        // One that comes between two runs ends the next.
        vcpu.peer().kick();
        assert_eq!(vcpu.run(), Exit::Interrupted);
    });
}

/// `wfi nothing: EINTR ... pc +0x4`, `wfi irq masked` goes on.
#[test]
fn wfi_is_over_when_it_is_left() {
    both(|tier| {
        let mut vm = Vm::new(1, tier);
        let vcpu = vm.start(&[WFI, ADD_X3, STR_X1_X20, B_SELF]);
        let peer = vcpu.peer().clone();
        let other = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(2));
            peer.kick();
        });
        assert_eq!(vcpu.run(), Exit::Interrupted);
        other.join().expect("the other thread ends");
        // The kick may have been before the guest came to its WFI.
        if vcpu.cpu().pc == CODE + 4 {
            value(vcpu);
        }
        begin(vcpu);
        vcpu.peer().set_line(Line::Irq, true);
        value(vcpu);
        assert_eq!(x(vcpu, 3), 1);
    });
}

/// `vtimer on: EINTR exit 10 pc 0x40000004 irqlevel 0x1`, then the guest goes on and reads CTL 5.
#[test]
fn user_space_is_told_of_a_timer() {
    both(|tier| {
        let mut vm = Vm::new(1, tier);
        let (op1, crn, crm, op2) = CNTV_CTL;
        let vcpu = vm.start(&[
            msr(op1, crn, crm, op2, 5),
            ISB,
            ADD_X3,
            mrs(op1, crn, crm, op2, 1),
            STR_X1_X20,
            msr(op1, crn, crm, op2, 6),
            ISB,
            STR_X1_X20,
            B_SELF,
        ]);
        set_x(vcpu, 5, 1);
        assert_eq!(vcpu.run(), Exit::Interrupted);
        assert_eq!(vcpu.cpu().pc, CODE + 4);
        assert_eq!(vcpu.device_irq_level(), DeviceIrqLevel::EL1_VTIMER);
        assert_eq!(value(vcpu), 5);
        // The guest turns it off; that is seen in the next exit.
        assert_eq!(value(vcpu), 5);
        assert_eq!(vcpu.device_irq_level(), DeviceIrqLevel::empty());
    });
}

/// A timer that fires while the guest loops, and while it waits.
#[test]
fn a_timer_fires_while_the_guest_runs_or_waits() {
    both(|tier| {
        for insn in [WFI, B_SELF] {
            let mut vm = Vm::new(1, tier);
            let (op1, crn, crm, op2) = CNTV_CTL;
            let vcpu = vm.start(&[msr(op1, crn, crm, op2, 5), ISB, insn, B_SELF]);
            set_x(vcpu, 5, 1);
            timers::write_tval(vcpu.cpu_mut(), Timer::Virtual, FREQUENCY / 200);
            assert_eq!(vcpu.run(), Exit::Interrupted);
            assert_eq!(vcpu.device_irq_level(), DeviceIrqLevel::EL1_VTIMER);
            // It may have fired before the guest came so far.
            let pc = vcpu.cpu().pc - CODE;
            assert!((4..=12).contains(&pc), "{pc:#x}");
        }
    });
}

/// `hvc 0x84000000 = x0 0x10001`, `smc 0x80008000 = x0 -1`; the call is over where it exits.
#[test]
fn calls_by_instruction() {
    both(|tier| {
        let mut vm = Vm::new(1, tier);
        let vcpu = vm.start(&[HVC, STR_X1_X20, SMC, STR_X1_X20, SMC | 1 << 5, STR_X1_X20]);
        set_x(vcpu, 0, 0x8400_0000);
        set_x(vcpu, 1, 9);
        assert_eq!(value(vcpu), 0);
        assert_eq!(x(vcpu, 0), 0x10001);
        set_x(vcpu, 0, 0x8000_8000);
        assert_eq!(value(vcpu), 0);
        assert_eq!(x(vcpu, 0), !0);
        set_x(vcpu, 0, 0x8400_0000);
        assert_eq!(value(vcpu), 0);
        assert_eq!(x(vcpu, 0), !0);

        let vcpu = vm.start(&[ADD_X3, SMC, STR_X1_X20, B_SELF]);
        set_x(vcpu, 0, 0x8400_0008);
        let event = SystemEvent {
            kind: 1,
            data: Some(0),
        };
        assert_eq!(vcpu.run(), Exit::SystemEvent(event));
        assert_eq!((vcpu.cpu().pc, x(vcpu, 0)), (CODE + 8, -6i64 as u64));
        assert_eq!(vcpu.peer().mp_state(), MpState::Stopped);
    });
}

/// CPU_ON from a guest starts a vCPU whose thread waits in its run; CPU_OFF stops it again.
#[test]
fn vcpus_switch_each_other_on() {
    both(|tier| {
        const ENTRY: u64 = CODE + 0x1000;
        const FLAG: u64 = CODE + 0x8000;
        let mut vm = Vm::new(2, tier);
        // STR X0, [X1] with X1 the flag's address; then CPU_OFF.
        vm.put(
            ENTRY,
            &[
                0xd290_0001, // MOVZ X1, #0x8000
                0xf2a8_0001, // MOVK X1, #0x4000, LSL #16
                0xf900_0020, // STR X0, [X1]
                0x5280_0040, // MOVZ W0, #2
                0x72b0_8000, // MOVK W0, #0x8400, LSL #16
                HVC,
                B_SELF,
            ],
        );
        let mut second = vm.vcpus.pop().expect("there are two");
        let peer = second.peer().clone();
        let running = std::thread::spawn(move || {
            second.first_run().expect("it is initialised");
            (second.run(), second)
        });
        let vcpu = vm.start(&[
            HVC,
            0xf900_0e80, // STR X0, [X20, #24]
            0xf940_0041, // LDR X1, [X2]
            0xb4ff_ffe1, // CBZ X1, the load
            STR_X1_X20,
        ]);
        set_x(vcpu, 0, 0xc400_0003);
        set_x(vcpu, 1, 1);
        set_x(vcpu, 2, ENTRY);
        set_x(vcpu, 3, 0xabcd);
        let exit = vcpu.run();
        assert!(
            matches!(exit, Exit::Mmio(Mmio { address, data, .. })
                if address == EXIT + 24 && data == [0; 8]),
            "{exit:x?}"
        );
        vcpu.complete_mmio(&[0; 8]);
        set_x(vcpu, 2, FLAG);
        assert_eq!(value(vcpu), 0xabcd);
        while peer.mp_state() != MpState::Stopped {
            std::thread::yield_now();
        }
        peer.kick();
        let (exit, second) = running.join().expect("the second vCPU's thread ends");
        assert_eq!(exit, Exit::Interrupted);
        assert_eq!(x(&second, 0), 0);
        assert_eq!(second.cpu().pc, ENTRY + 24);
    });
}
