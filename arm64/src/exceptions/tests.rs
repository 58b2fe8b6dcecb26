//! Exception entry and return, against Arm ARM D1.3.

use super::*;
use crate::machine::{Machine, Settings};
use crate::vcpu::peer::Line;
use crate::vcpu::{self, core_regs};
use std::sync::Arc;
use understudy_memory::{GuestMemory, Limits};

const VBAR: u64 = 0xffff_8000_0000_0800;
const PC: u64 = 0x1234_5678;

fn cpu() -> Cpu {
    let memory = Arc::new(GuestMemory::new(Limits::arm64(40)));
    let machine = Machine::new(memory, Settings::default());
    let mut cpu = vcpu::new_cpu(&machine, 0);
    cpu.state.sys[Reg::VBAR_EL1] = VBAR;
    cpu.state.sys[Reg::OSLSR_EL1] = 8;
    cpu.state.sys[Reg::SCTLR_EL1] = SCTLR_SPAN;
    cpu.pc = PC;
    cpu
}

type Take = fn(&mut Cpu) -> Stop;

/// A way to take an exception, and the offset of its vector.
type Way = (Take, u64);

const WAYS: [Way; 4] = [
    (undefined, 0),
    (irq, 0x80),
    (fiq, 0x100),
    (|cpu| serror(cpu, 0), 0x180),
];

#[test]
fn vectors() {
    for (mode, base) in [(0x3c0, 0x400), (0x3c4, 0), (0x3c5, 0x200)] {
        for (take, offset) in WAYS {
            let mut cpu = cpu();
            set_pstate(&mut cpu, mode);
            assert_eq!(take(&mut cpu), Stop::Redirect);
            assert_eq!(cpu.pc, VBAR + base + offset);
            assert_eq!(cpu.state.sys[Reg::ELR_EL1], PC);
            assert_eq!(cpu.state.sys[Reg::SPSR_EL1], mode);
            assert_eq!((cpu.state.el, cpu.state.spsel), (1, true));
        }
    }
}

/// Every bit of PSTATE goes to SPSR_EL1; what is left of it is as the entry has it.
#[test]
fn pstate_on_entry() {
    let all = pstate::HELD | 0xf << 28;
    for saved in [0, all] {
        for (controls, expected) in [
            (0, pstate::PAN),
            (SCTLR_SPAN, saved & pstate::PAN),
            (SCTLR_SPAN | SCTLR_DSSBS, saved & pstate::PAN | pstate::SSBS),
        ] {
            let mut cpu = cpu();
            cpu.state.sys[Reg::SCTLR_EL1] = controls;
            set_pstate(&mut cpu, saved);
            undefined(&mut cpu);
            assert_eq!(cpu.state.sys[Reg::SPSR_EL1], saved);
            let flags = saved & 0xf << 28;
            assert_eq!(pstate(&cpu), expected | flags | saved & pstate::DIT | 0x3c5);
        }
    }
}

#[test]
fn stack_pointers() {
    let mut cpu = cpu();
    set_pstate(&mut cpu, 0x5);
    core_regs::set_sp(&mut cpu, 0, 0x100);
    core_regs::set_sp(&mut cpu, 1, 0x200);
    let current = |cpu: &Cpu| cpu.slot(regs::SP);
    let both = |cpu: &Cpu| (core_regs::sp(cpu, 0), core_regs::sp(cpu, 1));
    for (mode, sp) in [(0x0, 0x100), (0x5, 0x200), (0x4, 0x100), (0x0, 0x100)] {
        set_pstate(&mut cpu, mode);
        assert_eq!(current(&cpu), sp, "{mode}");
        assert_eq!(both(&cpu), (0x100, 0x200));
    }
    undefined(&mut cpu);
    assert_eq!(current(&cpu), 0x200);
    select_sp(&mut cpu, false);
    assert_eq!(current(&cpu), 0x100);
    cpu.set_slot(regs::SP, 0x300);
    select_sp(&mut cpu, true);
    assert_eq!(both(&cpu), (0x300, 0x200));
    cpu.state.sys[Reg::SPSR_EL1] = 0;
    exception_return(&mut cpu);
    assert_eq!(current(&cpu), 0x300);
    assert_eq!(both(&cpu), (0x300, 0x200));
}

/// ESR-1, ESR-10: what each exception says, and FAR_EL1 where it has an address.
#[test]
fn syndromes() {
    let cases: [(Take, [u64; 2], Option<u64>); 14] = [
        (undefined, [0x0200_0000; 2], None),
        (|cpu| supervisor_call(cpu, 0xbeef), [0x5600_beef; 2], None),
        (
            |cpu| software_breakpoint(cpu, 0xbeef),
            [0xf200_beef; 2],
            None,
        ),
        (illegal_state, [0x3a00_0000; 2], None),
        (fp_access, [0x1fe0_0000; 2], None),
        (|cpu| wait_trapped(cpu, 0, None), [0x07e0_0000; 2], None),
        (|cpu| wait_trapped(cpu, 1, None), [0x07e0_0001; 2], None),
        (|cpu| wait_trapped(cpu, 2, Some(5)), [0x07e0_00a6; 2], None),
        (sp_alignment, [0x9a00_0000; 2], None),
        (pc_alignment, [0x8a00_0000; 2], Some(PC)),
        (
            |cpu| instruction_abort(cpu, 0x77, 0x07),
            [0x8200_0007, 0x8600_0007],
            Some(0x77),
        ),
        (
            |cpu| data_abort(cpu, 0x77, 0x47),
            [0x9200_0047, 0x9600_0047],
            Some(0x77),
        ),
        // MRS X5, S3_1_C2_C3_4.
        (
            |cpu| system_trapped(cpu, 0xd539_2385),
            [0x6238_48a7; 2],
            None,
        ),
        (|cpu| serror(cpu, 0x1ff), [0xbe00_01ff; 2], None),
    ];
    for (i, (take, esrs, far)) in cases.into_iter().enumerate() {
        for (mode, esr) in [0x3c0, 0x3c5].into_iter().zip(esrs) {
            let mut cpu = cpu();
            cpu.state.sys[Reg::FAR_EL1] = 0x1111;
            set_pstate(&mut cpu, mode);
            take(&mut cpu);
            assert_eq!(cpu.state.sys[Reg::ESR_EL1], esr, "case {i}");
            assert_eq!(
                cpu.state.sys[Reg::FAR_EL1],
                far.unwrap_or(0x1111),
                "case {i}"
            );
        }
    }
    // A call returns to the next instruction.
    let mut cpu = cpu();
    supervisor_call(&mut cpu, 0);
    assert_eq!(cpu.state.sys[Reg::ELR_EL1], PC + 4);
    // ESR-1: the upper half gets through.
    let esr = 0x1f << 32 | 0x9600_0021;
    super::take(&mut cpu, esr, None);
    assert_eq!(cpu.state.sys[Reg::ESR_EL1], esr);
}

#[test]
fn returns() {
    for (spsr, el, spsel) in [(0, 0, false), (4, 1, false), (5, 1, true)] {
        let mut cpu = cpu();
        let spsr = spsr | 0x5 << 28 | pstate::PAN | pstate::UAO | pstate::SSBS | pstate::A;
        cpu.state.sys[Reg::SPSR_EL1] = spsr;
        cpu.state.sys[Reg::ELR_EL1] = 0x9876_0000;
        cpu.set_slot(regs::MONITOR, 0x1000);
        assert_eq!(exception_return(&mut cpu), Stop::Redirect);
        assert_eq!(cpu.pc, 0x9876_0000);
        assert_eq!((cpu.state.el, cpu.state.spsel), (el, spsel));
        assert_eq!(pstate(&cpu), spsr);
        assert_eq!(cpu.slot(regs::MONITOR), regs::MONITOR_OPEN);
    }
}

/// To levels above, to AArch32, to EL0 with its own stack pointer: level and stack pointer stay,
/// PSTATE.IL is set, masks and flags are restored.
#[test]
fn illegal_returns() {
    for mode in 0..32u64 {
        if [0, 4, 5].contains(&mode) {
            continue;
        }
        let mut cpu = cpu();
        set_pstate(&mut cpu, 0x3c4 | pstate::UAO);
        cpu.state.sys[Reg::SPSR_EL1] = mode | 0xa << 28 | pstate::I | pstate::SSBS;
        cpu.state.sys[Reg::ELR_EL1] = 0x9876_0000;
        exception_return(&mut cpu);
        assert_eq!(cpu.pc, 0x9876_0000);
        let expected = 4 | 0xa << 28 | pstate::I | pstate::UAO | pstate::IL;
        assert_eq!(pstate(&cpu), expected, "{mode:#x}");
        assert_ne!(cpu.state.mmu.mode & insn::mode::ILLEGAL, 0);
    }
    // A legal return can set IL too.
    let mut cpu = cpu();
    cpu.state.sys[Reg::SPSR_EL1] = 5 | pstate::IL;
    exception_return(&mut cpu);
    assert_eq!(pstate(&cpu), 5 | pstate::IL);
}

/// The mode of blocks follows its registers.
#[test]
fn modes() {
    use insn::mode::*;
    let mode = |pstate: u64, sctlr: u64, cpacr: u64| {
        let mut cpu = cpu();
        cpu.state.sys[Reg::SCTLR_EL1] = sctlr;
        cpu.state.sys[Reg::CPACR_EL1] = cpacr << 20;
        set_pstate(&mut cpu, pstate);
        assert_ne!(cpu.state.mmu.mode & BTI, 0);
        cpu.state.absent_pstate = crate::state::pstate::BTYPE;
        synchronize(&mut cpu);
        cpu.state.mmu.mode
    };
    const M: u64 = 1;
    assert_eq!(mode(5, M, 3), EL1);
    assert_eq!(mode(0, M, 3), 0);
    assert_eq!(mode(5, 0, 3), EL1 | ALIGNED);
    assert_eq!(mode(5, M | 2, 3), EL1 | ALIGNED);
    assert_eq!(mode(5, M | 1 << 3, 3), EL1 | SP_ALIGNED);
    assert_eq!(mode(5, M | 1 << 4, 3), EL1);
    assert_eq!(mode(0, M | 1 << 4, 3), SP_ALIGNED);
    assert_eq!(mode(5, M | 1 << 25, 3), EL1 | BIG_ENDIAN);
    assert_eq!(mode(0, M | 1 << 25, 3), 0);
    assert_eq!(mode(0, M | 1 << 24, 3), BIG_ENDIAN);
    for (fpen, el1, el0) in [
        (0, true, true),
        (1, false, true),
        (2, true, true),
        (3, false, false),
    ] {
        assert_eq!(mode(5, M, fpen) & FP_TRAP != 0, el1);
        assert_eq!(mode(0, M, fpen) & FP_TRAP != 0, el0);
    }
    assert_eq!(mode(5 | pstate::UAO, M, 3), EL1 | UAO);
    assert_eq!(mode(pstate::UAO, M, 3), 0);
    assert_eq!(mode(pstate::IL, M, 3), ILLEGAL);
}

/// A line that is high is looked at again when its mask is cleared.
#[test]
fn unmasking_looks_at_interrupts() {
    let mut cpu = cpu();
    set_pstate(&mut cpu, 0x3c5);
    cpu.state.peer.set_line(Line::Irq, true);
    let looked = |cpu: &Cpu| cpu.requests().take(INTERRUPT) != 0;
    looked(&cpu);
    change_pstate(&mut cpu, pstate::D, 0);
    assert!(!looked(&cpu));
    change_pstate(&mut cpu, pstate::I, 0);
    assert!(looked(&cpu));
    cpu.state.sys[Reg::SPSR_EL1] = pstate::A | pstate::F;
    exception_return(&mut cpu);
    assert!(!looked(&cpu));
    irq(&mut cpu);
    exception_return(&mut cpu);
    assert!(looked(&cpu));
}
