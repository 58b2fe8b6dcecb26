//! Decimal arithmetic, BOUND, ARPL, call gates, SYSENTER and SYSCALL outside IA-32e mode, MONITOR, RDPMC,
//! RDPID, VMCALL, INS and OUTS, in both tiers.

use understudy_engine::run::Tier;
use understudy_x86::cpuid::Entry;
use understudy_x86::exit::{Exit, Io};
use understudy_x86::quirks::quirk;
use understudy_x86::regs::{RAX, RBX, RCX, RDI, RDX, RSI, RSP, flag};
use understudy_x86::segments::seg;
use understudy_x86::state::{self, cr4, efer};
use understudy_x86::testing::{Bare, CODE, DATA, GDT, STACK0, TSS, selector};

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];
const STATUS: u64 = flag::STATUS;

fn fault(machine: &Bare) -> Option<(u8, u64)> {
    machine.exception().map(|v| (v, machine.error_code()))
}

/// Runs 32-bit code with this AX and these flags; gives AX and the status flags.
fn decimal(code: &[u8], ax: u64, flags: u64) -> (u64, u64) {
    let end = Bare::both_at(CODE, code, Bare::protected, |m| {
        m.set(RAX, 0x1234_0000 | ax);
        m.set_flags(flags);
    });
    assert!(end.at_end());
    assert_eq!(end.get(RAX) >> 16, 0x1234);
    (end.get(RAX) & 0xffff, end.flags() & STATUS)
}

#[test]
fn decimal_arithmetic_as_the_manual_has_it() {
    use flag::{AF, CF, PF, SF, ZF};
    // DAA and DAS: the examples of SDM vol. 2, and the edges.
    let daa = |al, flags| decimal(&[0x27], al, flags);
    assert_eq!(daa(0xae, 0), (0x14, AF | CF | PF));
    assert_eq!(daa(0x2e, 0), (0x34, AF));
    assert_eq!(daa(0x9a, 0), (0, AF | CF | ZF | PF));
    assert_eq!(daa(0x12, CF), (0x72, CF | PF));
    assert_eq!(daa(0x79, 0), (0x79, 0));
    let das = |al, flags| decimal(&[0x2f], al, flags);
    assert_eq!(das(0xee, 0), (0x88, AF | CF | SF | PF));
    assert_eq!(das(0x03, AF), (0xfd, AF | CF | SF));
    assert_eq!(das(0x3c, 0), (0x36, AF | PF));
    // AAA and AAS carry into AH.
    let both = AF | CF;
    assert_eq!(decimal(&[0x37], 0x020a, 0).0, 0x0300);
    assert_eq!(decimal(&[0x37], 0x020a, 0).1 & both, both);
    assert_eq!(decimal(&[0x37], 0x02f9, both).0, 0x030f);
    assert_eq!(decimal(&[0x37], 0x0219, CF).1 & both, 0);
    assert_eq!(decimal(&[0x3f], 0x02ff, 0).0, 0x0109);
    assert_eq!(decimal(&[0x3f], 0x0200, AF).0, 0x000a);
    // AAM and AAD.
    assert_eq!(decimal(&[0xd4, 10], 0xff4f, 0).0, 0x0709);
    assert_eq!(decimal(&[0xd4, 16], 0x00a0, 0), (0x0a00, ZF | PF));
    assert_eq!(decimal(&[0xd5, 10], 0x0709, 0), (0x004f, 0));
    let end = Bare::both_at(CODE, &[0xd4, 0], Bare::protected, |_| ());
    assert_eq!(end.exception(), Some(0));
    // SALC.
    assert_eq!(decimal(&[0xd6], 0x1200, CF), (0x12ff, CF));
    assert_eq!(decimal(&[0xd6], 0x12ff, 0), (0x1200, 0));
    // None of them is there in 64-bit mode.
    for code in [0x27, 0x2f, 0x37, 0x3f, 0xd6, 0xce] {
        assert_eq!(Bare::both(&[code], |_| ()).exception(), Some(6));
    }
}

#[test]
fn bound_compares_with_two_words() {
    // bound eax, [ebx]; bound ax, [ebx]
    for (code, index, expected) in [
        (&[0x62, 0x03][..], 5, None),
        (&[0x62, 0x03], 10, None),
        (&[0x62, 0x03], 11, Some(5)),
        (&[0x62, 0x03], 0xffff_fffc, None),
        (&[0x62, 0x03], 0xffff_fffb, Some(5)),
        (&[0x66, 0x62, 0x03], 0x1_0000, Some(5)),
    ] {
        let end = Bare::both_at(CODE, code, Bare::protected, |m| {
            m.set(RBX, DATA);
            m.set(RAX, index);
            m.write(DATA, &(-4i32).to_le_bytes());
            m.write(DATA + 4, &10i32.to_le_bytes());
        });
        assert_eq!(end.exception(), expected, "{code:x?} {index:x}");
    }
}

#[test]
fn arpl_raises_the_rpl() {
    // arpl [ebx], cx
    for (selector, other, expected, zero) in [
        (0x10u16, 3, 0x13, true),
        (0x13, 1, 0x13, false),
        (0x11, 1, 0x11, false),
    ] {
        let end = Bare::both_at(CODE, &[0x63, 0x0b], Bare::protected, |m| {
            m.set(RBX, DATA);
            m.set(RCX, other);
            m.write(DATA, &selector.to_le_bytes());
        });
        assert!(end.at_end());
        assert_eq!(u16::from_le_bytes(end.read(DATA)), expected);
        assert_eq!(end.flags() & flag::ZF != 0, zero);
    }
    let real = Bare::both_at(
        0x1_0000,
        &[0x63, 0xc8],
        || Bare::real(0x1_0000),
        |m| {
            m.set(RSP, 0x8000);
            m.write(24, &0x2000_0006u32.to_le_bytes());
            m.write(0x2_0006, &[0xf4]);
        },
    );
    assert_eq!(real.vcpu.cpu().pc, 0x2_0007);
}

/// The place of a gate in the tables, beyond those of [`selector`].
const GATE: u16 = 0x50;

fn put(machine: &mut Bare, at: u64, value: u64) {
    machine.write(at, &value.to_le_bytes());
}

/// Writes a call gate to a 64-bit code segment and lets the table end behind it.
fn long_gate(m: &mut Bare, code: u16, rip: u64, dpl: u64) {
    let at = GDT + u64::from(GATE);
    let low = rip & 0xffff | u64::from(code) << 16 | (0x8c00 | dpl << 13) << 32;
    put(m, at, low | (rip >> 16 & 0xffff) << 48);
    put(m, at + 8, rip >> 32);
    m.cpu().state.segmentation.gdtr.limit = 0x5f;
}

#[test]
fn a_call_gate_leads_to_an_inner_level_in_64_bit_mode() {
    // call far [rbx]; int 0x80, at level 3; behind it: mov eax, 7; retfq.
    let code = [0xff, 0x1b, 0xcd, 0x80, 0xb8, 7, 0, 0, 0, 0x48, 0xcb];
    let with = |level: u8, dpl: u64, target: u16, table: &[u8]| {
        Bare::both(table, |m| {
            long_gate(m, target, CODE + 4, dpl);
            put(m, DATA, u64::from(GATE) << 32 | u64::from(level) << 32);
            m.set(RBX, DATA);
            m.set_level(level);
        })
    };
    let end = with(3, 3, selector::CODE64, &code);
    assert_eq!(end.exception(), Some(0x80));
    assert_eq!(end.get(RAX), 7);
    // The frame of the call stands where the gate's stack ends.
    let at = |i: u64| end.read_u64(STACK0 - 32 + 8 * i);
    // The interrupt has come since, and has pushed RIP, CS, RFLAGS, RSP and SS.
    assert_eq!(end.get(RSP), STACK0 - 40);
    assert_eq!((at(0), at(2)), (0x1b, DATA + 0x8000));
    let end = with(0, 3, selector::CODE64, &code);
    assert_eq!((end.exception(), end.get(RAX)), (Some(0x80), 7));
    // The gate's level; its target.
    let gate = u64::from(GATE);
    assert_eq!(
        fault(&with(3, 0, selector::CODE64, &code)),
        Some((13, gate))
    );
    let target = u64::from(selector::CODE32);
    assert_eq!(
        fault(&with(3, 3, selector::CODE32, &code)),
        Some((13, target))
    );
    // JMP goes to no inner level.
    let jump = [0xff, 0x2b];
    let target = u64::from(selector::CODE64);
    assert_eq!(
        fault(&with(3, 3, selector::CODE64, &jump)),
        Some((13, target))
    );
}

#[test]
fn a_call_gate_copies_parameters_in_protected_mode() {
    // call far [ebx]; int 0x80, at level 3; behind it: mov eax, [esp + 8]; retf 8.
    let code = [0xff, 0x1b, 0xcd, 0x80, 0x8b, 0x44, 0x24, 0x08, 0xca, 8, 0];
    let end = Bare::both_at(CODE, &code, Bare::protected, |m| {
        let rip = CODE + 4;
        let low = rip & 0xffff | u64::from(selector::CODE32) << 16 | 0xec02 << 32;
        put(m, GDT + u64::from(GATE), low | (rip >> 16) << 48);
        put(m, DATA, u64::from(GATE | 3) << 32);
        m.set(RBX, DATA);
        let rsp = m.get(RSP) - 8;
        m.set(RSP, rsp);
        put(m, rsp, 0x2222_2222_1111_1111);
        let state = &mut m.cpu().state;
        state.segmentation.gdtr.limit = 0x5f;
        for segment in &mut state.segmentation.segments {
            segment.rights |= 3 << 5;
            segment.selector |= 3;
        }
        state.segmentation.segments[seg::CS as usize].selector = selector::USER_CODE32;
        state.segmentation.segments[seg::SS as usize].selector = selector::USER_DATA;
        state.cpl = 3;
        state::changed(m.cpu());
    });
    assert_eq!(end.exception(), Some(0x80), "{:?}", end.exit);
    assert_eq!(end.get(RAX), 0x1111_1111);
    // The parameters are taken off both stacks: the interrupt's frame has the outer pointer.
    let outer = u32::from_le_bytes(end.read(end.get(RSP) + 12));
    assert_eq!(u64::from(outer), DATA + 0x8000);
}

#[test]
fn tasks_end_as_an_internal_error() {
    // jmp far [ebx], to a TSS.
    let end = Bare::both_at(CODE, &[0xff, 0x2b], Bare::protected, |m| {
        put(m, DATA, u64::from(selector::TSS) << 32);
        m.write(GDT + u64::from(selector::TSS) + 5, &[0x89]);
        m.set(RBX, DATA);
    });
    assert!(matches!(end.exit, Some(Exit::InternalError { .. })));
}

/// A flat 32-bit machine whose segments for SYSENTER, and for STAR, begin at 0x08 and 0x18 of a table.
fn fast(code: &[u8], prepare: impl Fn(&mut Bare)) -> Bare {
    Bare::both_at(CODE, code, Bare::protected, |m| {
        let msrs = &mut m.cpu().state.msrs;
        msrs.sysenter_cs = 0x08;
        msrs.sysenter_eip = CODE + 0x100;
        msrs.sysenter_esp = DATA + 0x3000;
        msrs.star = 0x18 << 48 | 0x08 << 32 | (CODE + 0x100);
        m.cpu().state.efer |= efer::SCE;
        // sysexit, or int 0x21, where SYSENTER and SYSCALL lead.
        m.write(CODE + 0x100, &[0xcd, 0x21]);
        prepare(m);
    })
}

#[test]
fn sysenter_and_sysexit_in_protected_mode() {
    let cs = |m: &Bare| m.vcpu.cpu().state.segmentation.segments[seg::CS as usize];
    let end = fast(&[0x0f, 0x34], |m| m.set_flags(flag::IF | flag::CF));
    // INT is delivered through a gate to CODE32, at the same level.
    assert_eq!(end.exception(), Some(0x21));
    let rsp = DATA + 0x3000 - 12;
    assert_eq!(end.get(RSP), rsp);
    let word = |i: u64| u64::from(u32::from_le_bytes(end.read(rsp + 4 * i)));
    assert_eq!([word(0), word(1)], [CODE + 0x102, 0x08]);
    assert_eq!(word(2), flag::ONE | flag::CF);

    // sysexit, to: int 0x22 at level 3.
    let end = fast(&[0x0f, 0x35], |m| {
        m.set(RDX, CODE + 0x200);
        m.set(RCX, DATA + 0x2000);
        m.write(CODE + 0x200, &[0xcd, 0x22]);
    });
    assert_eq!(end.exception(), Some(0x22));
    assert_eq!(cs(&end).dpl(), 0);
    let rsp = end.get(RSP);
    let word = |i: u64| u64::from(u32::from_le_bytes(end.read(rsp + 4 * i)));
    assert_eq!([word(0), word(1)], [CODE + 0x202, 0x1b]);
    assert_eq!([word(3), word(4)], [DATA + 0x2000, 0x23]);

    let without = |m: &mut Bare| m.cpu().state.msrs.sysenter_cs = 3;
    assert_eq!(fault(&fast(&[0x0f, 0x34], without)).map(|f| f.0), Some(13));
    assert_eq!(fault(&fast(&[0x0f, 0x35], without)).map(|f| f.0), Some(13));
    // Not on AMD's processors in IA-32e mode.
    assert_eq!(Bare::both(&[0x0f, 0x34], |_| ()).exception(), Some(6));
    assert_eq!(Bare::both(&[0x0f, 0x35], |_| ()).exception(), Some(6));
}

#[test]
fn syscall_and_sysret_in_protected_mode() {
    let end = fast(&[0x0f, 0x05], |m| m.set_flags(flag::IF));
    assert_eq!(end.exception(), Some(0x21));
    assert_eq!(end.get(RCX), CODE + 2);
    let rsp = end.get(RSP);
    let word = |i: u64| u64::from(u32::from_le_bytes(end.read(rsp + 4 * i)));
    assert_eq!([word(0), word(1), word(2)], [CODE + 0x102, 0x08, flag::ONE]);

    // sysret, to: int 0x22 at level 3.
    let end = fast(&[0x0f, 0x07], |m| {
        m.set(RCX, CODE + 0x200);
        m.set_flags(0);
        m.write(CODE + 0x200, &[0xcd, 0x22]);
    });
    assert_eq!(end.exception(), Some(0x22));
    let rsp = end.get(RSP);
    let word = |i: u64| u64::from(u32::from_le_bytes(end.read(rsp + 4 * i)));
    assert_eq!([word(0), word(1), word(4)], [CODE + 0x202, 0x1b, 0x23]);
    assert_eq!(word(2), flag::ONE | flag::IF);
}

#[test]
fn monitor_and_mwait_as_kvm_has_them() {
    // monitor; mwait
    let code = [0x0f, 0x01, 0xc8, 0x0f, 0x01, 0xc9];
    let leaf = |mwait: u32| Entry {
        function: 1,
        index: None,
        values: [0, 0, mwait << 3, 0],
    };
    let run = |disabled: u64, mwait: u32, misc_enable: u64| {
        Bare::both(&code, |m| {
            m.set(RAX, DATA);
            m.cpu().state.cpuid = vec![leaf(mwait)];
            m.cpu().state.quirks.disabled = disabled;
            m.cpu().state.msrs.misc_enable = misc_enable;
        })
    };
    let (never, follows) = (quirk::MWAIT_NEVER_UD_FAULTS, quirk::MISC_ENABLE_NO_MWAIT);
    assert!(run(0, 0, 0).at_end() && run(never, 1, 0).at_end());
    assert_eq!(run(never, 0, 0).exception(), Some(6));
    // CPUID's bit is IA32_MISC_ENABLE's, where that quirk is gone.
    assert_eq!(run(never | follows, 1, 0).exception(), Some(6));
    assert!(run(never | follows, 0, 1 << 18).at_end());
    assert!(run(follows, 0, 0).at_end());
    // The processor's own checks come first.
    let end = Bare::both(&code, |m| m.set_level(3));
    assert_eq!(end.exception(), Some(6));
    let end = Bare::both(&code, |m| m.set(RCX, 1));
    assert_eq!(fault(&end), Some((13, 0)));
    let end = Bare::both(&code, |m| m.set(RAX, 1 << 40));
    assert_eq!(fault(&end), Some((14, 0)));
}

#[test]
fn counters_and_rdpid() {
    assert_eq!(fault(&Bare::both(&[0x0f, 0x33], |_| ())), Some((13, 0)));
    let end = Bare::both(&[0xf3, 0x0f, 0xc7, 0xfb], |m| {
        m.set(RBX, !0);
        m.cpu().state.tsc_aux = 0x55;
    });
    assert!(end.at_end());
    assert_eq!(end.get(RBX), 0x55);
}

#[test]
fn umip_keeps_tables_from_user_code() {
    // sgdt [rbx]; sidt [rbx]; sldt ax; str ax; smsw ax
    for code in [
        &[0x0f, 0x01, 0x03][..],
        &[0x0f, 0x01, 0x0b],
        &[0x0f, 0x00, 0xc0],
        &[0x0f, 0x00, 0xc8],
        &[0x0f, 0x01, 0xe0],
    ] {
        for umip in [false, true] {
            let mut whole = code.to_vec();
            whole.extend([0xcd, 0x80]);
            let end = Bare::both(&whole, |m| {
                m.set(RBX, DATA);
                m.set_level(3);
                if umip {
                    m.cpu().state.cr4 |= cr4::UMIP;
                }
            });
            let expected = if umip { 13 } else { 0x80 };
            assert_eq!(end.exception(), Some(expected), "{code:x?}");
        }
    }
}

#[test]
fn vmcall_becomes_vmmcall() {
    for tier in TIERS {
        // vmcall; inc ebx
        let mut m = Bare::new();
        m.code_at(CODE, &[0x0f, 0x01, 0xc1, 0xff, 0xc3]);
        m.set(RAX, 42);
        m.set(RCX, 5);
        m.cpu().state.hypercall = Some(|_, number, arguments| Ok(number + arguments[1]));
        assert_eq!(m.run(tier), Exit::Hlt);
        assert_eq!(m.read::<3>(CODE), [0x0f, 0x01, 0xd9]);
        assert_eq!((m.get(RAX), m.get(RBX)), (47, 1));
    }
    // No such call; not at level 3; and undefined where KVM may not patch.
    let end = Bare::both(&[0x0f, 0x01, 0xd9], |_| ());
    assert_eq!(end.get(RAX), 1000u64.wrapping_neg());
    let end = Bare::both(&[0x0f, 0x01, 0xd9, 0xcd, 0x80], |m| m.set_level(3));
    assert_eq!((end.exception(), end.get(RAX)), (Some(0x80), !0));
    let end = Bare::both(&[0x0f, 0x01, 0xc1], |m| m.set_level(3));
    assert_eq!(fault(&end), Some((13, 0)));
    let end = Bare::both(&[0x0f, 0x01, 0xc1], |m| {
        m.cpu().state.quirks.disabled = quirk::FIX_HYPERCALL_INSN;
    });
    assert_eq!(end.exception(), Some(6));
}

fn io(is_in: bool, size: u8, count: u32, data: u64) -> Exit {
    let port = 0x21;
    Exit::Io(Io {
        is_in,
        size,
        port,
        count,
        data,
    })
}

#[test]
fn ins_asks_for_what_lies_in_its_page() {
    for tier in TIERS {
        // rep insw; insd
        let mut m = Bare::new();
        m.code_at(CODE, &[0x66, 0xf3, 0x6d, 0x6d]);
        m.set(RDX, 0x21);
        m.set(RCX, 5);
        m.set(RDI, DATA + 0xffa);
        m.vcpu.engine.set_tier(tier);
        assert_eq!(m.run_on(), io(true, 2, 3, 0), "{tier:?}");
        assert_eq!((m.rip(), m.get(RCX)), (CODE, 5));
        m.vcpu.complete_io_elements(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(m.run_on(), io(true, 2, 2, 0));
        assert_eq!((m.rip(), m.get(RCX)), (CODE, 2));
        assert_eq!(m.flags() & flag::RF, flag::RF);
        m.vcpu.complete_io_elements(&[7, 8, 9, 10]);
        assert_eq!(m.run_on(), io(true, 4, 1, 0));
        assert_eq!(m.read(DATA + 0xffa), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!((m.rip(), m.get(RCX)), (CODE + 3, 0));
        m.vcpu.complete_io(0x1122_3344);
        assert_eq!(m.run_on(), Exit::Hlt);
        assert_eq!(m.get(RDI), DATA + 0x1008);
        assert_eq!(m.read(DATA + 0x1004), 0x1122_3344u32.to_le_bytes());
        assert_eq!(m.flags() & flag::RF, 0);
    }
}

#[test]
fn ins_takes_no_more_than_user_space_leaves_in_rcx() {
    // What the selftest userspace_io_test does.
    for tier in TIERS {
        let mut m = Bare::new();
        m.code_at(CODE, &[0xf3, 0x6c]);
        m.set(RDX, 0x21);
        m.set(RCX, 4);
        m.set(RDI, DATA);
        assert_eq!(m.run(tier), io(true, 1, 4, 0));
        m.vcpu.complete_io_elements(&[1, 2, 3, 4]);
        m.set(RCX, 1);
        assert_eq!(m.run_on(), Exit::Hlt);
        assert!(m.at_end());
        assert_eq!((m.get(RCX), m.get(RDI)), (0, DATA + 1));
        assert_eq!(m.read(DATA), [1, 0]);
    }
}

#[test]
fn outs_leaves_after_each_element() {
    for tier in TIERS {
        // rep outsb; outsb
        let mut m = Bare::new();
        m.code_at(CODE, &[0xf3, 0x6e, 0x6e]);
        m.write(DATA, &[1, 2, 3]);
        m.set(RDX, 0x21);
        m.set(RCX, 2);
        m.set(RSI, DATA);
        m.vcpu.engine.set_tier(tier);
        for (data, left) in [(1, 1), (2, 0)] {
            assert_eq!(m.run_on(), io(false, 1, 1, data), "{tier:?}");
            assert_eq!((m.rip(), m.get(RCX)), (CODE, left));
            assert_eq!(m.flags() & flag::RF, flag::RF);
            m.vcpu.complete_io(0);
        }
        assert_eq!(m.run_on(), io(false, 1, 1, 3));
        assert_eq!(m.rip(), CODE + 3);
        m.vcpu.complete_io(0);
        assert_eq!(m.run_on(), Exit::Hlt);
        assert_eq!((m.get(RSI), m.flags() & flag::RF), (DATA + 3, 0));
    }
}

#[test]
fn ins_and_outs_fault_like_other_accesses() {
    // outsb of what is not there; insb to what is not there: user space is asked first.
    let end = Bare::both(&[0x6e], |m| m.set(RSI, 1 << 40));
    assert_eq!(fault(&end), Some((14, 0)));
    for tier in TIERS {
        let mut m = Bare::new();
        m.code_at(CODE, &[0x6c]);
        m.set(RDX, 0x21);
        m.set(RDI, 1 << 40);
        assert_eq!(m.run(tier), io(true, 1, 1, 0));
        m.vcpu.complete_io(1);
        assert_eq!(m.run_on(), Exit::Hlt);
        assert_eq!(fault(&m), Some((14, 2)));
    }
    let end = Bare::both(&[0x6e], |m| {
        m.set(RSI, DATA);
        m.set_level(3);
        // No bitmap.
        m.write(TSS + 0x66, &0x68u16.to_le_bytes());
    });
    assert_eq!(fault(&end), Some((13, 0)));
}
