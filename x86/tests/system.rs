//! System instructions: descriptors, transfers between levels, model-specific registers, CPUID,
//! ports. In both tiers.

use understudy_engine::run::Tier;
use understudy_x86::cpuid::Entry;
use understudy_x86::exit::{Exit, Io};
use understudy_x86::regs::{FS_BASE, GS_BASE, RAX, RBX, RCX, RDI, RDX, RSI, RSP, flag, gpr};
use understudy_x86::segments::{rights, seg};
use understudy_x86::state::{cr4, efer};
use understudy_x86::testing::{Bare, CODE, DATA, GDT, HANDLERS, STACK0, TSS, selector};

/// The vector and the error code of the exception, if there was one.
fn fault(machine: &Bare) -> Option<(u8, u64)> {
    machine.exception().map(|v| (v, machine.error_code()))
}

fn cs(machine: &Bare) -> u16 {
    machine.vcpu.cpu().state.segmentation.segments[seg::CS as usize].selector
}

/// Writes the frame of IRET to 64-bit mode at RSP.
fn frame(machine: &mut Bare, words: [u64; 5]) {
    let rsp = machine.get(RSP);
    for (i, word) in (0..).zip(words) {
        machine.write(rsp + 8 * i, &word.to_le_bytes());
    }
}

#[test]
fn iretq_goes_to_a_level_and_an_interrupt_comes_back() {
    // iretq to level 3, to: int 0x80 there.
    let code = [0x48, 0xcf, 0xcd, 0x80];
    let end = Bare::both(&code, |m| {
        let words = [CODE + 2, 0x1b, 0x202 | flag::ID, DATA + 0x100, 0x23];
        frame(m, words);
    });
    assert_eq!(end.exception(), Some(0x80));
    assert_eq!((cs(&end), end.get(RSP)), (8, STACK0 - 40));
    let at = |i: u64| end.read_u64(STACK0 - 40 + 8 * i);
    assert_eq!(
        [at(0), at(1), at(3), at(4)],
        [CODE + 4, 0x1b, DATA + 0x100, 0x23]
    );
    assert_eq!(at(2), 0x202 | flag::ID);
    // The gate is an interrupt gate; SS is null at the new level.
    assert_eq!(end.flags() & flag::IF, 0);
    assert_eq!(
        end.vcpu.cpu().state.segmentation.segments[seg::SS as usize].selector,
        0
    );
}

#[test]
fn iretq_checks_what_it_returns_to() {
    let code = [0x48, 0xcf];
    for (cs, rip, ss, nt, expected) in [
        (8, CODE + 2, 0, false, None),
        (8, CODE + 2, 0x10, false, None),
        (0, CODE + 2, 0x10, false, Some((13, 0))),
        (0x10, CODE + 2, 0x10, false, Some((13, 0x10))),
        (0x18, CODE + 2, 0x10, false, Some((13, 0x18))),
        (0x1b, CODE + 2, 0, false, Some((13, 0))),
        (0x1b, CODE + 2, 3, false, Some((13, 0))),
        (0x1b, CODE + 2, 0x10, false, Some((13, 0x10))),
        (0xf8, CODE + 2, 0x10, false, Some((13, 0xf8))),
        (8, 1 << 60, 0x10, false, Some((13, 0))),
        (8, CODE + 2, 0x10, true, Some((13, 0))),
    ] {
        let end = Bare::both(&code, |m| {
            let rsp = m.get(RSP);
            frame(m, [rip, cs, 2, rsp, ss]);
            if nt {
                m.set_flags(flag::NT);
            }
        });
        assert_eq!(fault(&end), expected, "{cs:x} {rip:x} {ss:x}");
    }
}

#[test]
fn a_segment_that_is_not_present_is_named() {
    // mov ds, bx; and mov ss, bx
    for (opcode, vector) in [(0xdb, 11), (0xd3, 12)] {
        let end = Bare::both(&[0x8e, opcode], |m| {
            m.write(GDT + 0x10, &0x00cf_1300_0000_ffffu64.to_le_bytes());
            m.set(RBX, 0x10);
        });
        assert_eq!(fault(&end), Some((vector, 0x10)));
    }
}

#[test]
fn data_segments_are_loaded_with_their_checks() {
    for (opcode, level, value, expected) in [
        // DS
        (0xdb, 0, 0x10, None),
        (0xdb, 0, 0, None),
        (0xdb, 0, 3, None),
        (0xdb, 0, 8, None),
        (0xdb, 0, 0x40, Some((13, 0x40))),
        (0xdb, 0, 0x68, Some((13, 0x68))),
        (0xdb, 0, 0x14, Some((13, 0x14))),
        (0xdb, 3, 0x10, Some((13, 0x10))),
        (0xdb, 3, 0x23, None),
        // SS
        (0xd3, 0, 0x10, None),
        (0xd3, 0, 0, None),
        (0xd3, 0, 0x11, Some((13, 0x10))),
        (0xd3, 0, 8, Some((13, 8))),
        (0xd3, 3, 3, Some((13, 0))),
        (0xd3, 3, 0x23, None),
        // FS
        (0xe3, 0, 0x23, None),
    ] {
        let end = Bare::both(&[0x8e, opcode], |m| {
            m.set_level(level);
            m.set(RBX, value);
        });
        // At level 3 the HLT at the end is a fault of its own.
        let found = fault(&end).filter(|_| end.read_u64(end.get(RSP) + 8) == CODE);
        assert_eq!(found, expected, "{opcode:x} {level} {value:x}");
    }
}

#[test]
fn the_accessed_flag_and_the_base_come_from_the_descriptor() {
    // mov fs, bx; mov eax, fs:[8]; mov cx, fs
    let code = [
        0x8e, 0xe3, 0x64, 0x8b, 0x04, 0x25, 8, 0, 0, 0, 0x66, 0x8c, 0xe1,
    ];
    let end = Bare::both(&code, |m| {
        let base = DATA + 0x100;
        let low = 0x00cf_9200_0000_ffffu64 | (base & 0xff_ffff) << 16 | (base >> 24) << 56;
        m.write(GDT + 0x10, &low.to_le_bytes());
        m.write(base + 8, &0x77u32.to_le_bytes());
        m.set(RBX, 0x10);
    });
    assert!(end.at_end());
    assert_eq!((end.get(RAX), end.get(RCX)), (0x77, 0x10));
    assert_eq!(end.read::<1>(GDT + 0x15), [0x93]);
}

#[test]
fn far_transfers_change_the_mode() {
    // RETF, of 32-bit operands, to 32-bit code: there DEC EAX; INC ECX (REX prefixes in 64-bit mode);
    // then a far JMP back, to INC RDX.
    let mut code = vec![0xcb, 0x48, 0x41, 0xea];
    code.extend(((CODE + 10) as u32).to_le_bytes());
    code.extend([0x08, 0, 0x48, 0xff, 0xc2]);
    let end = Bare::both(&code, |m| {
        let rsp = m.get(RSP);
        m.write(rsp, &((CODE + 1) as u32).to_le_bytes());
        m.write(rsp + 4, &0x28u32.to_le_bytes());
    });
    assert!(end.at_end(), "{:?} {:x}", end.exit, end.rip());
    assert_eq!(end.get(RAX) as u32, u32::MAX);
    assert_eq!((end.get(RCX), end.get(RDX)), (1, 1));
    assert_eq!(end.get(RSP), DATA + 0x8008);
}

#[test]
fn far_call_and_return_within_a_level() {
    // call far [rbx]; (end); function: retf
    let code = [0xff, 0x1b, 0xeb, 1, 0xcb];
    let end = Bare::both(&code, |m| {
        m.write(DATA, &((CODE + 4) as u32).to_le_bytes());
        m.write(DATA + 4, &8u16.to_le_bytes());
        m.set(RBX, DATA);
    });
    assert!(end.at_end());
    assert_eq!(end.get(RSP), DATA + 0x8000);
    assert_eq!(end.read::<8>(DATA + 0x7ff8), [2, 0, 0, 0x10, 8, 0, 0, 0]);
}

#[test]
fn syscall_and_sysret() {
    // At level 3: syscall, to: sysretq, back to: int3.
    let code = [0x0f, 0x05, 0xcc, 0x48, 0x0f, 0x07];
    let end = Bare::both(&code, |m| {
        m.set_level(3);
        m.set_flags(flag::IF | flag::DF | flag::CF);
        let state = &mut m.cpu().state;
        state.efer |= efer::SCE;
        state.msrs.star = 0x0b << 48 | 0x08 << 32;
        state.msrs.lstar = CODE + 3;
        state.msrs.sfmask = flag::IF | flag::DF;
    });
    assert_eq!(end.exception(), Some(3));
    assert_eq!(end.get(RCX), CODE + 2);
    let saved = flag::ONE | flag::IF | flag::DF | flag::CF;
    assert_eq!(end.get(gpr(11)), saved);
    let rsp = end.get(RSP);
    assert_eq!([end.read_u64(rsp), end.read_u64(rsp + 8)], [CODE + 3, 0x1b]);
    assert_eq!(
        [end.read_u64(rsp + 16), end.read_u64(rsp + 32)],
        [saved, 0x13]
    );
    // Without EFER.SCE they are undefined; SYSRET is for level 0.
    assert_eq!(Bare::both(&[0x0f, 0x05], |_| ()).exception(), Some(6));
    let sysret = Bare::both(&[0x48, 0x0f, 0x07], |m| {
        m.set_level(3);
        m.cpu().state.efer |= efer::SCE;
    });
    assert_eq!(fault(&sysret), Some((13, 0)));
}

#[test]
fn interrupts_use_the_tables_that_are_loaded() {
    // lidt [rbx]; lgdt [rcx]; ltr dx; sidt [rsi]; int 0x21 through IST 1.
    let code = [
        0x0f, 0x01, 0x1b, 0x0f, 0x01, 0x11, 0x0f, 0x00, 0xda, 0x0f, 0x01, 0x0e, 0xcd, 0x21,
    ];
    let end = Bare::both(&code, |m| {
        let mut put = |at: u64, value: u64| m.write(at, &value.to_le_bytes());
        let (idt, gdt, stack) = (DATA + 0x1000, DATA + 0x2000, DATA + 0x5008);
        let handler = HANDLERS + 0x21;
        put(
            idt + 0x210,
            handler & 0xffff | 8 << 16 | 0x8f01 << 32 | handler >> 16 << 48,
        );
        put(idt + 0x218, handler >> 32);
        put(gdt + 8, 0x00af_9a00_0000_ffff);
        let tss = DATA + 0x3000;
        let low = 0x0000_8900_0000_0067 | (tss & 0xff_ffff) << 16 | (tss >> 24 & 0xff) << 56;
        put(gdt + 0x20, low);
        put(gdt + 0x28, tss >> 32);
        put(tss + 0x24, stack);
        m.write(DATA, &0xfffu16.to_le_bytes());
        m.write(DATA + 2, &idt.to_le_bytes());
        m.write(DATA + 16, &0x2fu16.to_le_bytes());
        m.write(DATA + 18, &gdt.to_le_bytes());
        m.set(RBX, DATA);
        m.set(RCX, DATA + 16);
        m.set(RDX, 0x20);
        m.set(RSI, DATA + 32);
    });
    assert_eq!(end.exception(), Some(0x21));
    // The stack of IST is aligned to 16 bytes.
    assert_eq!(end.get(RSP), DATA + 0x5000 - 40);
    assert_eq!(end.read_u64(DATA + 0x5000 - 40), CODE + 14);
    // A trap gate leaves IF; the TSS is busy and the code segment accessed now.
    assert_eq!(end.flags() & flag::IF, flag::IF);
    assert_eq!(end.read::<1>(DATA + 0x2025), [0x8b]);
    assert_eq!(end.read::<1>(DATA + 0x200d), [0x9b]);
    assert_eq!(end.read::<2>(DATA + 32), 0xfffu16.to_le_bytes());
    assert_eq!(end.read_u64(DATA + 34), DATA + 0x1000);
}

#[test]
fn a_second_fault_makes_a_double_one_and_a_third_a_shutdown() {
    // A page fault whose gate is not present: double fault, error code 0.
    let absent = |vector: u64| {
        move |m: &mut Bare| {
            let at = m.cpu().state.segmentation.idtr.base + 16 * vector + 5;
            m.write(at, &[0x0e]);
        }
    };
    let load = [0x8b, 0x03];
    let end = Bare::both(&load, |m| {
        m.set(RBX, 1 << 40);
        absent(14)(m);
    });
    assert_eq!(fault(&end), Some((8, 0)));
    // So for #GP; for #UD it is #NP itself, which names the gate.
    let end = Bare::both(&load, |m| {
        m.set(RBX, 1 << 60);
        absent(13)(m);
    });
    assert_eq!(fault(&end), Some((8, 0)));
    let end = Bare::both(&[0x0f, 0x0b], absent(6));
    assert_eq!(fault(&end), Some((11, 6 << 3 | 2 | 1)));
    let end = Bare::both(&[0xcd, 0x80], absent(0x80));
    assert_eq!(fault(&end), Some((11, 0x80 << 3 | 2)));
    let end = Bare::both(&load, |m| {
        m.set(RBX, 1 << 40);
        absent(14)(m);
        absent(8)(m);
    });
    assert_eq!(end.exit, Some(Exit::Shutdown));
    let end = Bare::both(&load, |m| {
        m.set(RBX, 1 << 40);
        m.cpu().state.segmentation.idtr.limit = 0;
    });
    assert_eq!(end.exit, Some(Exit::Shutdown));
}

#[test]
fn software_interrupts_need_the_gates_privilege() {
    let end = Bare::both(&[0xcd, 0x80], |m| {
        let at = m.cpu().state.segmentation.idtr.base + 16 * 0x80 + 5;
        m.write(at, &[0x8e]);
        m.set_level(3);
    });
    assert_eq!(fault(&end), Some((13, 0x80 << 3 | 2)));
    assert_eq!(end.read_u64(end.get(RSP) + 8), CODE);
}

#[test]
fn model_specific_registers() {
    // wrmsr; rdmsr
    let code = [0x0f, 0x30, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x32];
    for (number, value, expected) in [
        (
            0xc000_0081u64,
            0x1234_5678_9abc_def0u64,
            Some(0x1234_5678_9abc_def0),
        ),
        (0xc000_0082, 0x7fff_0000_1234, Some(0x7fff_0000_1234)),
        (0xc000_0082, 1 << 60, None),
        (0xc000_0084, !0, Some(0xffff_ffff)),
        (0xc000_0100, 0x5000, Some(0x5000)),
        (0xc000_0101, 0x6000, Some(0x6000)),
        (0xc000_0102, 0x7000, Some(0x7000)),
        (0x277, 0x0606_0606_0606_0606, Some(0x0606_0606_0606_0606)),
        (0x277, 2, None),
        (0xc000_0080, 0xd01, Some(0xd01)),
        (0xc000_0080, 0x800, None),
        (0xc000_0080, 0xd03, None),
        (0x1234, 0, None),
    ] {
        let end = Bare::both(&code, |m| {
            m.set(RCX, number);
            m.set(RAX, value & 0xffff_ffff);
            m.set(RDX, value >> 32);
        });
        match expected {
            Some(expected) => {
                assert!(end.at_end(), "{number:x}");
                assert_eq!(end.get(RDX) << 32 | end.get(RAX), expected, "{number:x}");
            }
            None => assert_eq!(fault(&end), Some((13, 0)), "{number:x} {value:x}"),
        }
    }
    let end = Bare::both(&code, |m| m.set_level(3));
    assert_eq!(fault(&end), Some((13, 0)));
}

#[test]
fn bases_of_fs_and_gs() {
    // wrfsbase rax; mov ecx, fs:[0]; wrgsbase rbx; swapgs; rdgsbase rdx
    let code = [
        0xf3, 0x48, 0x0f, 0xae, 0xd0, 0x64, 0x8b, 0x0c, 0x25, 0, 0, 0, 0, 0xf3, 0x48, 0x0f, 0xae,
        0xdb, 0x0f, 0x01, 0xf8, 0xf3, 0x48, 0x0f, 0xae, 0xca,
    ];
    let end = Bare::both(&code, |m| {
        m.cpu().state.cr4 |= cr4::FSGSBASE;
        m.cpu().state.msrs.kernel_gs_base = 0x1111;
        m.write(DATA, &0x55u32.to_le_bytes());
        m.set(RAX, DATA);
        m.set(RBX, 0x2222);
    });
    assert!(end.at_end());
    assert_eq!((end.get(RCX), end.get(RDX)), (0x55, 0x1111));
    assert_eq!((end.get(FS_BASE), end.get(GS_BASE)), (DATA, 0x1111));
    assert_eq!(end.vcpu.cpu().state.msrs.kernel_gs_base, 0x2222);
    assert_eq!(Bare::both(&code, |_| ()).exception(), Some(6));
}

#[test]
fn cpuid_gives_what_was_set() {
    let entry = |function, index, values| Entry {
        function,
        index,
        values,
    };
    let entries = vec![
        entry(0, None, [7, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]),
        entry(1, None, [1, 2, 1 << 27 | 4, 8]),
        entry(7, Some(0), [1, 10, 1 << 4, 30]),
        entry(7, Some(1), [5, 6, 7, 8]),
        entry(0x8000_0000, None, [0x8000_0001, 0, 0, 0]),
    ];
    let ask = |function: u64, index: u64, amd: bool| {
        let end = Bare::both(&[0x0f, 0xa2], |m| {
            m.cpu().state.cpuid = entries.clone();
            if amd {
                let name = [7, 0x6874_7541, 0x444d_4163, 0x6974_6e65];
                m.cpu().state.cpuid[0].values = name;
            }
            m.set(RAX, function | 1 << 40);
            m.set(RCX, index);
        });
        [RAX, RBX, RCX, RDX].map(|slot| end.get(slot))
    };
    // The local APIC is enabled.
    assert_eq!(ask(1, 9, false), [1, 2, 4, 8 | 1 << 9]);
    assert_eq!(ask(7, 0, false), [1, 10, 0, 30]);
    assert_eq!(ask(7, 1, false), [5, 6, 7, 8]);
    assert_eq!(ask(7, 2, false), [0; 4]);
    assert_eq!(ask(2, 0, false), [0; 4]);
    // Beyond the highest leaf Intel's processors give the last basic one, AMD's nothing.
    assert_eq!(ask(99, 1, false), [5, 6, 7, 8]);
    assert_eq!(ask(0x8000_0002, 1, false), [5, 6, 7, 8]);
    assert_eq!(ask(99, 1, true), [0; 4]);
}

#[test]
fn ports_are_user_spaces() {
    for tier in [Tier::Interpret, Tier::Compile(1)] {
        let mut machine = Bare::new();
        // in al, 0x60; out dx, eax; in ax, dx
        machine.code_at(CODE, &[0xe4, 0x60, 0xef, 0x66, 0xed]);
        machine.set(RAX, 0x1122_3344_5566_7788);
        machine.set(RDX, 0x3f8);
        let io = |is_in, size, port, data| {
            let count = 1;
            Exit::Io(Io {
                is_in,
                size,
                port,
                count,
                data,
            })
        };
        assert_eq!(machine.run(tier), io(true, 1, 0x60, 0));
        assert_eq!(machine.rip(), CODE);
        machine.vcpu.complete_io(0xab);
        assert_eq!(machine.get(RAX), 0x1122_3344_5566_77ab);
        assert_eq!(machine.run_on(), io(false, 4, 0x3f8, 0x5566_77ab));
        assert_eq!(machine.rip(), CODE + 2);
        machine.vcpu.complete_io(0);
        assert_eq!(machine.run_on(), io(true, 2, 0x3f8, 0));
        machine.vcpu.complete_io(0xcdef);
        assert_eq!(machine.run_on(), Exit::Hlt);
        assert_eq!(machine.get(RAX), 0x1122_3344_5566_cdef);
    }
}

#[test]
fn ports_need_iopl_or_the_bitmap() {
    let of = |iopl: u64, bits: u8, limit: u32| {
        Bare::both(&[0xec], |m| {
            m.set_level(3);
            m.set_flags(iopl << 12);
            m.set(RDX, 0x3f9);
            m.write(TSS + 0x66, &0x68u16.to_le_bytes());
            m.write(TSS + 0x68 + 0x7f, &[bits]);
            m.cpu().state.segmentation.tr.limit = limit;
        })
    };
    assert!(matches!(of(3, 0xff, 0x67).exit, Some(Exit::Io(_))));
    assert_eq!(fault(&of(0, 0, 0x67)), Some((13, 0)));
    assert!(matches!(of(0, 0xfd, 0x168).exit, Some(Exit::Io(_))));
    assert_eq!(fault(&of(0, 0x02, 0x168)), Some((13, 0)));
}

#[test]
fn descriptors_decide_limits_in_32_bit_code() {
    // Compatibility mode, a data segment of 16 bytes: mov eax, [ebx]; mov eax, [ebx].
    let compat = |offset: u64, code: &[u8]| {
        Bare::both(code, |m| {
            let state = &mut m.cpu().state;
            let code = &mut state.segmentation.segments[seg::CS as usize];
            code.selector = selector::CODE32;
            code.rights = code.rights & !rights::L | rights::DB;
            let data = &mut state.segmentation.segments[seg::DS as usize];
            (data.base, data.limit) = (DATA, 15);
            understudy_x86::state::changed(m.cpu());
            m.write(DATA + 12, &5u32.to_le_bytes());
            m.set(RBX, offset);
            m.set(RDI, 0x1_0000_0000);
        })
    };
    let end = compat(12, &[0x8b, 0x03]);
    assert!(end.at_end());
    assert_eq!(end.get(RAX), 5);
    assert_eq!(fault(&compat(13, &[0x8b, 0x03])), Some((13, 0)));
    assert_eq!(fault(&compat(0xffff_fffe, &[0x8b, 0x03])), Some((13, 0)));
    // Through SS, which is flat, it is there.
    assert!(compat(DATA, &[0x36, 0x8b, 0x03]).at_end());
}

#[test]
fn selectors_are_inspected() {
    // lar eax, bx; setz cl; lsl edx, bx; setz ch; verr bx; setz sil; verw bx; setz dil
    let code = [
        0x0f, 0x02, 0xc3, 0x0f, 0x94, 0xc1, 0x0f, 0x03, 0xd3, 0x0f, 0x94, 0xc5, 0x0f, 0x00, 0xe3,
        0x40, 0x0f, 0x94, 0xc6, 0x0f, 0x00, 0xeb, 0x40, 0x0f, 0x94, 0xc7,
    ];
    let all = 0xffff_ffff;
    // A level, a selector; rights and limit, readable, writable.
    for (level, selector, access, limit, readable, writable) in [
        (0, 0x08, Some(0xaf_9b00 & 0xf0_ff00), Some(all), 1, 0),
        (0, 0x10, Some(0xcf_9300 & 0xf0_ff00), Some(all), 1, 1),
        (0, 0x38, Some(0x9b00), Some(0xffff), 1, 0),
        (0, 0x40, Some(0x8b00), Some(0x67), 0, 0),
        (0, 0x11, None, None, 0, 0),
        (0, 0, None, None, 0, 0),
        (0, 0x68, None, None, 0, 0),
        (3, 0x10, None, None, 0, 0),
        (3, 0x23, Some(0xcf_f300 & 0xf0_ff00), Some(all), 1, 1),
    ] {
        let mut whole = code.to_vec();
        whole.extend([0xcd, 0x80]);
        let end = Bare::both(&whole, |m| {
            m.set_level(level);
            m.set(RBX, selector);
            m.set(RAX, 7);
            m.set(RDX, 7);
        });
        assert_eq!(end.exception(), Some(0x80));
        assert_eq!(end.get(RAX), access.unwrap_or(7), "{selector:x}");
        assert_eq!(end.get(RDX), limit.unwrap_or(7), "{selector:x}");
        let found = u64::from(access.is_some()) | u64::from(limit.is_some()) << 8;
        assert_eq!(end.get(RCX), found, "{selector:x}");
        assert_eq!(
            (end.get(RSI), end.get(RDI)),
            (readable, writable),
            "{selector:x}"
        );
    }
}

#[test]
fn a_lower_cr8_is_told_to_user_space() {
    for tier in [Tier::Interpret, Tier::Compile(1)] {
        let mut machine = Bare::new();
        // mov cr8, rbx; mov cr8, rcx; mov rdx, cr8
        let code = [
            0x44, 0x0f, 0x22, 0xc3, 0x44, 0x0f, 0x22, 0xc1, 0x44, 0x0f, 0x20, 0xc2,
        ];
        machine.code_at(CODE, &code);
        machine.set(RBX, 9);
        machine.set(RCX, 3);
        assert_eq!(machine.run(tier), Exit::SetTpr);
        assert_eq!(machine.rip(), CODE + 8, "{tier:?}");
        assert_eq!(machine.run_on(), Exit::Hlt);
        assert_eq!(machine.get(RDX), 3);
    }
}
