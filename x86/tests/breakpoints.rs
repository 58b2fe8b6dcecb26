//! The guest's own debug registers: MOV DR and its checks, breakpoints as its #DB, RF (SDM vol. 3B,
//! 18.2 and 18.3), in both tiers.

use understudy_engine::run::Tier;
use understudy_x86::exit::Exit;
use understudy_x86::regs::{RAX, RBX, RCX, RDI, RDX, RSI, RSP, flag, gpr};
use understudy_x86::state::cr4;
use understudy_x86::testing::{Bare, CODE, DATA, END, HANDLERS, IDT};

const R15: u8 = 15;

/// Has the handler of #DB note, at R15 and on, the RIP and RFLAGS that were pushed and DR6, set DR6 to its
/// value at reset, and return; with RF set in what it returns to if `resumes`.
fn noting(m: &mut Bare, resumes: bool) {
    let mut handler = vec![
        // push rax; push rcx; mov rax, [rsp + 16]; mov [r15], rax; mov rax, [rsp + 32]; mov [r15 + 8], rax
        0x50, 0x51, 0x48, 0x8b, 0x44, 0x24, 0x10, 0x49, 0x89, 0x07, 0x48, 0x8b, 0x44, 0x24, 0x20,
        0x49, 0x89, 0x47, 0x08,
        // mov rax, dr6; mov [r15 + 16], rax; add r15, 24; mov eax, 0xffff0ff0; mov dr6, rax
        0x0f, 0x21, 0xf0, 0x49, 0x89, 0x47, 0x10, 0x49, 0x83, 0xc7, 0x18, 0xb8, 0xf0, 0x0f, 0xff,
        0xff, 0x0f, 0x23, 0xf0,
    ];
    if resumes {
        // or dword [rsp + 32], RF
        handler.extend([0x81, 0x4c, 0x24, 0x20, 0, 0, 1, 0]);
    } else {
        // and dword [rsp + 32], !RF
        handler.extend([0x81, 0x64, 0x24, 0x20, 0xff, 0xff, 0xfe, 0xff]);
    }
    // pop rcx; pop rax; iretq
    handler.extend([0x59, 0x58, 0x48, 0xcf]);
    m.write(HANDLERS + 0x200, &handler);
    m.write(IDT + 16, &((HANDLERS + 0x200) as u16).to_le_bytes());
    m.set(gpr(R15), DATA + 0x4000);
}

/// What the handler has noted: RIP from the code's start on, RFLAGS, and what DR6 had beyond its reset
/// value.
fn noted(m: &Bare) -> Vec<(u64, u64, u64)> {
    let count = (m.get(gpr(R15)) - DATA - 0x4000) / 24;
    (0..count)
        .map(|i| DATA + 0x4000 + 24 * i)
        .map(|at| {
            let word = |i: u64| m.read_u64(at + 8 * i);
            (word(0) - CODE, word(1), word(2) ^ 0xffff_0ff0)
        })
        .collect()
}

/// Runs code with these in DR0, DR1, and DR7.
fn run(
    code: &[u8],
    registers: [u64; 3],
    prepare: impl Fn(&mut Bare),
) -> (Vec<(u64, u64, u64)>, Bare) {
    let end = Bare::both(code, |m| {
        noting(m, true);
        m.set_flags(0);
        let [dr0, dr1, dr7] = registers;
        let mut wanted = m.vcpu.debugregs();
        (wanted.db[0], wanted.db[1], wanted.dr7) = (dr0, dr1, dr7);
        assert!(m.vcpu.set_debugregs(&wanted));
        prepare(m);
    });
    (noted(&end), end)
}

const ONE: u64 = flag::ONE;
const BS: u64 = 1 << 14;
const BD: u64 = 1 << 13;

#[test]
fn an_instruction_breakpoint_is_a_fault_that_rf_passes() {
    // inc ebx; inc ebx; inc ebx
    let code = [0xff, 0xc3, 0xff, 0xc3, 0xff, 0xc3];
    let (notes, end) = run(&code, [CODE + 2, CODE + 4, 0x5], |_| ());
    assert!(end.at_end());
    assert_eq!(
        notes.iter().map(|n| (n.0, n.2)).collect::<Vec<_>>(),
        [(2, 1), (4, 2)]
    );
    // Of all faults, this one does not push RF (SDM vol. 3B, 18.3.1.1): the handler has to set it.
    assert!(notes.iter().all(|n| n.1 & flag::RF == 0));
    assert_eq!((end.get(RBX), end.flags() & flag::RF), (3, 0));
}

#[test]
fn without_rf_an_instruction_breakpoint_comes_again() {
    // inc ebx. The handler sets RF the third time: inc esi; cmp esi, 3; jb +8; or dword [rsp + 16], RF
    let end = Bare::both(&[0xff, 0xc3], |m| {
        let handler = [
            0xff, 0xc6, 0x83, 0xfe, 3, 0x72, 8, 0x81, 0x4c, 0x24, 0x10, 0, 0, 1, 0, 0x48, 0xcf,
        ];
        m.write(HANDLERS + 0x200, &handler);
        m.write(IDT + 16, &((HANDLERS + 0x200) as u16).to_le_bytes());
        let mut wanted = m.vcpu.debugregs();
        (wanted.db[0], wanted.dr7) = (CODE, 1);
        assert!(m.vcpu.set_debugregs(&wanted));
        m.set(RSI, 0);
        m.set(RBX, 0);
    });
    assert!(end.at_end());
    assert_eq!((end.get(RSI), end.get(RBX)), (3, 1));
}

#[test]
fn a_breakpoint_in_a_loop_is_met_each_time() {
    // Also when the code was compiled before: loop: inc ebx; dec ecx; jnz loop; mov dr7, rdx, once.
    for tier in [Tier::Interpret, Tier::Compile(1), Tier::Compile(3)] {
        let code = [
            0xff, 0xc3, 0xff, 0xc9, 0x75, 0xfa, 0x85, 0xd2, 0x74, 0x0c, 0x0f, 0x23, 0xfa, 0xb9, 5,
            0, 0, 0, 0x31, 0xd2, 0xeb, 0xea,
        ];
        let mut m = Bare::new();
        m.code_at(CODE, &code);
        noting(&mut m, true);
        let mut wanted = m.vcpu.debugregs();
        wanted.db[0] = CODE + 2;
        assert!(m.vcpu.set_debugregs(&wanted));
        m.set(RCX, 100);
        m.set(RDX, 1);
        assert_eq!(m.run(tier), Exit::Hlt);
        assert!(m.at_end(), "{:x}", m.rip());
        assert_eq!((m.get(RBX), noted(&m).len()), (105, 5), "{tier:?}");
    }
}

#[test]
fn data_breakpoints_trap_behind_the_access() {
    // mov [rbx], eax; mov ecx, [rbx + 8]; inc esi
    let code = [0x89, 0x03, 0x8b, 0x4b, 0x08, 0xff, 0xc6];
    let dr7 = 0x5 | 0xd << 16 | 0xf << 20;
    let (notes, end) = run(&code, [DATA, DATA + 8, dr7], |m| m.set(RBX, DATA));
    assert_eq!(notes, [(2, ONE, 1), (5, ONE, 2)]);
    assert_eq!(end.get(RSI), 1);
    // With TF, one #DB says all.
    let (notes, _) = run(&code, [DATA, DATA + 8, dr7], |m| {
        m.set(RBX, DATA);
        m.set_flags(flag::TF);
    });
    let notes: Vec<_> = notes.iter().map(|n| (n.0, n.2)).collect();
    assert_eq!(notes[..3], [(2, BS | 1), (5, BS | 2), (7, BS)]);
}

#[test]
fn a_faulting_instruction_meets_no_data_breakpoint() {
    // push qword [rbx], onto a stack that is not there.
    let (notes, end) = run(&[0xff, 0x33], [DATA, 0, 1 | 0xf << 16], |m| {
        m.set(RBX, DATA);
        m.write(HANDLERS + 14, &[0xf4]);
        // A handler's stack of its own: IST 1.
        m.write(IDT + 14 * 16 + 4, &[1]);
        m.write(IDT + 16 + 4, &[1]);
        m.write(
            understudy_x86::testing::TSS + 0x24,
            &(DATA + 0x7000).to_le_bytes(),
        );
        m.set(RSP, 1 << 40);
    });
    assert_eq!(end.exception(), Some(14));
    assert_eq!(notes, []);
}

#[test]
fn a_breakpoint_comes_before_the_fault_of_its_fetch() {
    // jmp rbx, to a page that is not there: the breakpoint first, then the fault.
    let at = 5 << 30;
    let end = Bare::both(&[0xff, 0xe3], |m| {
        m.set(RBX, at);
        let mut wanted = m.vcpu.debugregs();
        (wanted.db[0], wanted.dr7) = (at, 1);
        assert!(m.vcpu.set_debugregs(&wanted));
    });
    assert_eq!(end.exception(), Some(1));
    assert_eq!(end.read_u64(end.get(RSP)), at);
}

/// KVM intercepts all ports, and runs INS and OUTS and what accesses a device itself: nothing of these
/// meets a breakpoint, as the raw probe shows on real KVM.
#[test]
fn what_kvm_runs_meets_no_breakpoint() {
    const DEVICE: u64 = END + 0x1000;
    // in al, 0x21; out 0x21, al; rep insb; mov [rbx], eax; mov ecx, [rbx]
    let code = [
        0xe4, 0x21, 0xe6, 0x21, 0xf3, 0x6c, 0x89, 0x03, 0x8b, 0x0b, 0x90,
    ];
    for de in [0, cr4::DE] {
        for tier in [Tier::Interpret, Tier::Compile(1)] {
            let mut m = Bare::new();
            m.code_at(CODE, &code);
            noting(&mut m, true);
            m.set_flags(0);
            m.set(RDX, 0x21);
            m.set(RCX, 3);
            m.set(RDI, DATA);
            m.set(RBX, DEVICE);
            m.cpu().state.cr4 |= de;
            let mut wanted = m.vcpu.debugregs();
            // A port; INS's memory; the device's register; and the NOP.
            wanted.db = [0x21, DATA, DEVICE, CODE + 10];
            wanted.dr7 = 0x55 | 2 << 16 | 0xf << 20 | 0xf << 24;
            assert!(m.vcpu.set_debugregs(&wanted));
            m.vcpu.engine.set_tier(tier);
            let mut exits = 0;
            loop {
                match m.run_on() {
                    Exit::Io(_) => m.vcpu.complete_io_elements(&[0x11; 3]),
                    Exit::Mmio(_) => m.vcpu.complete_mmio(&[0x22; 8]),
                    _ => break,
                }
                exits += 1;
            }
            assert!(m.at_end(), "{:x}", m.rip());
            assert_eq!((exits, m.read(DATA)), (5, [0x11, 0x11, 0x11, 0]));
            assert_eq!(noted(&m), [(10, ONE, 8)]);
        }
    }
}

#[test]
fn mov_dr_and_its_checks() {
    // mov dr0, rax; mov rcx, dr0
    let end = Bare::both(&[0x0f, 0x23, 0xc0, 0x0f, 0x21, 0xc1], |m| {
        m.set(RAX, 1 << 63 | 5)
    });
    assert_eq!(end.get(RCX), 1 << 63 | 5);
    // mov dr6, rax; mov rcx, dr6; mov dr7, rdx; mov rsi, dr7; mov rbx, dr4
    let code = [
        0x0f, 0x23, 0xf0, 0x0f, 0x21, 0xf1, 0x0f, 0x23, 0xfa, 0x0f, 0x21, 0xfe, 0x0f, 0x21, 0xe3,
    ];
    let all = |de: bool, dr6: u64, dr7: u64| {
        Bare::both(&code, |m| {
            m.set(RAX, dr6);
            m.set(RDX, dr7);
            if de {
                m.cpu().state.cr4 |= cr4::DE;
            }
        })
    };
    let end = all(false, 0xffff_ffff, 0xffff_dc00);
    assert_eq!(end.get(RCX), 0xffff_efff);
    assert_eq!(end.get(RSI), 0xffff_0400);
    assert_eq!(end.get(RBX), 0xffff_efff);
    assert_eq!(all(true, 0, 0).exception(), Some(6));
    assert_eq!(all(false, 1 << 32, 0).exception(), Some(13));
    assert_eq!(all(false, 0, 1 << 32).exception(), Some(13));
    // No such register; not at level 3; general detect.
    assert_eq!(
        Bare::both(&[0x44, 0x0f, 0x23, 0xc0], |_| ()).exception(),
        Some(6)
    );
    let user = Bare::both(&[0x0f, 0x23, 0xc0], |m| m.set_level(3));
    assert_eq!((user.exception(), user.error_code()), (Some(13), 0));
    let (notes, end) = run(&[0x0f, 0x23, 0xc0], [0, 0, 0x2400], |_| ());
    assert_eq!(notes, [(0, ONE | flag::RF, BD)]);
    // The handler may use them, and so may the instruction when it is run again.
    assert_eq!(end.vcpu.debugregs().dr7, 0x400);
    assert!(end.at_end());
}

#[test]
fn rf_is_cleared_behind_an_instruction_and_kept_by_iret() {
    // The handler of #UD skips UD2 and returns with RF: to where a breakpoint is, which is passed.
    // ud2; inc ebx; inc ebx
    let (notes, end) = run(
        &[0x0f, 0x0b, 0xff, 0xc3, 0xff, 0xc3],
        [CODE + 2, CODE + 4, 5],
        |m| {
            // add qword [rsp], 2; iretq
            m.write(HANDLERS + 0x280, &[0x48, 0x83, 0x04, 0x24, 2, 0x48, 0xcf]);
            m.write(IDT + 6 * 16, &((HANDLERS + 0x280) as u16).to_le_bytes());
        },
    );
    assert!(end.at_end());
    // #UD is a fault: RF is in what it pushes.
    assert_eq!(
        notes.iter().map(|n| (n.0, n.2)).collect::<Vec<_>>(),
        [(4, 2)]
    );
    assert_eq!(end.get(RBX), 2);
}

#[test]
fn a_repeated_string_meets_its_breakpoint_once() {
    // rep stosb of three, with TF: the traps between the elements push RF.
    let (notes, end) = run(&[0xf3, 0xaa, 0x90], [CODE, 0, 1], |m| {
        m.set(RCX, 3);
        m.set(RDI, DATA);
        m.set_flags(flag::TF);
    });
    assert!(end.at_end());
    let notes: Vec<_> = notes.iter().map(|n| (n.0, n.2)).collect();
    // The first handler's IRET gives TF back for the first element on.
    assert_eq!(notes[..4], [(0, 1), (0, BS), (0, BS), (2, BS)]);
}
