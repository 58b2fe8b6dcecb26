//! Floating point as part of a processor: when it may be used, how its exceptions are taken, what its
//! state is to memory and to user space. In both tiers.

use understudy_x86::cpuid::Entry;
use understudy_x86::exit::Exit;
use understudy_x86::fp::F80;
use understudy_x86::regs::{self, RAX, RBX, RCX, RDX};
use understudy_x86::state::{self, cr0, cr4};
use understudy_x86::testing::{Bare, CODE, DATA};
use understudy_x86::xsave::{self, Area, Invalid};

const NM: Option<u8> = Some(7);
const UD: Option<u8> = Some(6);
const GP: Option<u8> = Some(13);
const MF: Option<u8> = Some(16);

const FLD1: [u8; 2] = [0xd9, 0xe8];
const FWAIT: u8 = 0x9b;
/// fldcw [rbx]
const FLDCW: [u8; 2] = [0xd9, 0x2b];
/// fdivp st(1), st
const FDIVP: [u8; 2] = [0xde, 0xf9];
const FLDZ: [u8; 2] = [0xd9, 0xee];
/// fnstsw ax
const FNSTSW: [u8; 2] = [0xdf, 0xe0];

/// Runs code with these bits of CR0 and CR4 set.
fn with(code: &[u8], cr0_bits: u64, cr4_bits: u64) -> Bare {
    Bare::both(code, |m| {
        m.set(RBX, DATA);
        let state = &mut m.cpu().state;
        state.cr0 |= cr0_bits;
        state.cr4 |= cr4_bits;
        state::changed(m.cpu());
    })
}

/// SDM vol. 3A, table 2-2: what EM, MP and TS make of the x87's instructions.
#[test]
fn control_registers_decide_whether_there_is_an_x87() {
    for (bits, x87, wait) in [
        (0, None, None),
        (cr0::MP, None, None),
        (cr0::TS, NM, None),
        (cr0::EM, NM, None),
        (cr0::TS | cr0::MP, NM, NM),
        (cr0::EM | cr0::MP, NM, None),
        (cr0::EM | cr0::MP | cr0::TS, NM, NM),
    ] {
        assert_eq!(with(&FLD1, bits, 0).exception(), x87, "{bits:#x}");
        assert_eq!(with(&FNSTSW, bits, 0).exception(), x87, "{bits:#x}");
        assert_eq!(with(&[FWAIT], bits, 0).exception(), wait, "{bits:#x}");
        // fxsave [rbx]
        let fxsave = with(&[0x0f, 0xae, 0x03], bits, 0);
        assert_eq!(fxsave.exception(), x87, "{bits:#x}");
        // xsave [rbx]
        let expected = if bits & cr0::TS != 0 { NM } else { None };
        let end = with(&[0x0f, 0xae, 0x23], bits, cr4::OSXSAVE);
        assert_eq!(end.exception(), expected, "{bits:#x}");
    }
    // CLTS, in the same code.
    let end = with(&[&[0x0f, 0x06][..], &FLD1].concat(), cr0::TS, 0);
    assert!(end.at_end());
    // A prefix of LOCK.
    assert_eq!(with(&[0xf0, 0xd8, 0x03], cr0::TS, 0).exception(), UD);
}

/// 1 / 0, where division by zero is not masked, and then something.
fn divide(then: &[u8], cr0_bits: u64) -> Bare {
    let code = [&FLDCW[..], &FLD1, &FLDZ, &FDIVP, then].concat();
    Bare::both(&code, |m| {
        m.set(RBX, DATA);
        m.write(DATA, &0x37bu16.to_le_bytes());
        let state = &mut m.cpu().state;
        state.cr0 |= cr0_bits;
        state::changed(m.cpu());
    })
}

/// SDM vol. 1, 8.6 and 8.7: an exception is taken at the next instruction that waits, and not by those
/// that don't.
#[test]
fn exceptions_wait_for_the_next_instruction_that_waits() {
    let after = CODE + 8;
    let faults_at = |end: &Bare| end.read_u64(end.get(regs::RSP));
    for then in [&[FWAIT][..], &FLD1, &FLDZ, &[0xd9, 0x2b]] {
        let end = divide(then, cr0::NE);
        assert_eq!(end.exception(), MF, "{then:02x?}");
        assert_eq!(faults_at(&end), after, "{then:02x?}");
    }
    // FNSTSW AX sees ES and B; FNCLEX clears them, and what follows goes on.
    let end = divide(&FNSTSW, cr0::NE);
    assert!(end.at_end());
    assert_eq!(end.get(RAX) & 0xffff, 0xb084);
    let clear = [&[0xdb, 0xe2][..], &FLD1, &FNSTSW].concat();
    let end = divide(&clear, cr0::NE);
    assert!(end.at_end());
    assert_eq!(end.get(RAX) & 0xffff, 0x2800);
    // FNSTENV [rbx] masks everything.
    let mask = [&[0xd9, 0x33][..], &FLD1].concat();
    assert!(divide(&mask, cr0::NE).at_end());
    // FNINIT.
    assert!(divide(&[0xdb, 0xe3, 0xd9, 0xe8], cr0::NE).at_end());
    // Without CR0.NE there are no pins to tell.
    assert!(divide(&[&[FWAIT][..], &FLD1].concat(), 0).at_end());
    // Nothing was stored or popped by what has failed.
    let end = divide(&[FWAIT], cr0::NE);
    let fpu = &end.vcpu.cpu().state.fpu;
    assert_eq!(
        (fpu.get(0), fpu.get(1)),
        (Some(F80::default()), Some(F80::ONE))
    );
    assert_eq!(fpu.ip, CODE + 6);
}

/// A loop that is compiled: the exception is met in the middle of it.
#[test]
fn an_exception_in_compiled_code_is_taken_at_once() {
    // fldcw [rbx]; fld qword [rbx + 8]; l: fld1; fdiv st, st(1); fstp st; fld1; fsubp st(1), st; dec
    // ecx; jnz l
    let code = [
        0xd9, 0x2b, 0xdd, 0x43, 0x08, 0xd9, 0xe8, 0xd8, 0xf1, 0xdd, 0xd8, 0xd9, 0xe8, 0xde, 0xe9,
        0xff, 0xc9, 0x75, 0xf2,
    ];
    let end = Bare::both(&code, |m| {
        m.set(RBX, DATA);
        m.set(RCX, 10_000);
        m.write(DATA, &0x37bu16.to_le_bytes());
        m.write(DATA + 8, &3000f64.to_le_bytes());
        let state = &mut m.cpu().state;
        state.cr0 |= cr0::NE;
        state::changed(m.cpu());
    });
    assert_eq!(end.exception(), MF);
    assert_eq!(end.get(RCX), 7000);
    assert_eq!(end.read_u64(end.get(regs::RSP)), CODE + 9);
}

/// A store that faults leaves the stack as it was.
#[test]
fn a_fault_comes_before_anything_has_changed() {
    let nowhere = 0x0000_7000_0000_0000;
    // fld1; fstp tbyte [rbx]; fistp word [rbx]; fbstp [rbx]; fnsave [rbx]
    for store in [[0xdb, 0x3b], [0xdf, 0x1b], [0xdf, 0x33], [0xdd, 0x33]] {
        let code = [FLD1, store].concat();
        let end = Bare::both(&code, |m| m.set(RBX, nowhere));
        assert_eq!(end.exception(), Some(14));
        assert_eq!(end.vcpu.cpu().state.cr2, nowhere);
        let fpu = &end.vcpu.cpu().state.fpu;
        assert_eq!((fpu.get(0), fpu.valid), (Some(F80::ONE), 0x80));
    }
    // A pointer that is not canonical: #GP; by way of RSP or RBP, #SS.
    let far = 1 << 63;
    let end = Bare::both(&[0xd9, 0x03], |m| m.set(RBX, far));
    assert_eq!(end.exception(), GP);
    let end = Bare::both(&[0xd9, 0x45, 0x00], |m| m.set(regs::RBP, far));
    assert_eq!(end.exception(), Some(12));
}

/// SDM vol. 1, figures 8-10 and 8-12: in real mode the environment has linear addresses.
#[test]
fn the_environment_in_real_mode() {
    const BASE: u64 = 0x1_0000;
    // fninit; fld1; fadd dword [0x1234]; fnstenv [0x100], in 16 bits, and in 32 bits at 0x200.
    let code = [
        0xdb, 0xe3, 0xd9, 0xe8, 0xd8, 0x06, 0x34, 0x12, 0xd9, 0x36, 0x00, 0x01, 0x66, 0xd9, 0x36,
        0x00, 0x02,
    ];
    let end = Bare::both_at(BASE, &code, || Bare::real(BASE), |_| ());
    assert_eq!(end.exit, Some(Exit::Hlt));
    let data = end.vcpu.cpu().state.segmentation.segments[3].base;
    let short: [u16; 7] =
        std::array::from_fn(|i| u16::from_le_bytes(end.read(data + 0x100 + 2 * i as u64)));
    let ip = BASE + 4;
    let dp = data + 0x1234;
    let upper = |address: u64| (address >> 16 << 12) as u16;
    assert_eq!(short[..3], [0x37f, 0x3800, 0x3fff]);
    assert_eq!(short[3], ip as u16);
    assert_eq!(short[4], upper(ip) | 0x006);
    assert_eq!(short[5], dp as u16);
    assert_eq!(short[6], upper(dp));
    let long: [u32; 7] =
        std::array::from_fn(|i| u32::from_le_bytes(end.read(data + 0x200 + 4 * i as u64)));
    assert_eq!(long[0], 0xffff_037f);
    assert_eq!(long[3] & 0xffff, ip as u32 & 0xffff);
    assert_eq!(long[4], (ip as u32) >> 16 << 12 | 0x006);
    assert_eq!(long[6], (dp as u32) >> 16 << 12);
}

/// CPUID leaf 0xd, with these components.
fn leaf(components: u32) -> Vec<Entry> {
    let entry = |index, values| Entry {
        function: 0xd,
        index: Some(index),
        values,
    };
    vec![
        entry(0, [components, 0, 832, 0]),
        entry(1, [3, 0, 0, 0]),
        entry(2, [256, 576, 0, 0]),
    ]
}

/// Runs XSETBV with a value in EAX and a number in ECX, and CPUID after it.
fn xsetbv(value: u64, number: u64, cpl: u8) -> Bare {
    // xsetbv; xor ecx, ecx; mov eax, 0xd; cpuid; mov esi, ebx; xor ecx, ecx; xgetbv
    let code = [
        0x0f, 0x01, 0xd1, 0x31, 0xc9, 0xb8, 0x0d, 0, 0, 0, 0x0f, 0xa2, 0x89, 0xde, 0x31, 0xc9,
        0x0f, 0x01, 0xd0,
    ];
    Bare::both(&code, |m| {
        m.set(RAX, value);
        m.set(RCX, number);
        let state = &mut m.cpu().state;
        state.cr4 |= cr4::OSXSAVE;
        state.cpuid = leaf(7);
        state::changed(m.cpu());
        m.set_level(cpl);
    })
}

/// SDM vol. 1, 13.3, and CPUID's sizes, which follow XCR0.
#[test]
fn xcr0_takes_what_there_is() {
    for (value, size) in [(1, 576), (3, 576), (7, 832)] {
        let end = xsetbv(value, 0, 0);
        assert!(end.at_end(), "{value}");
        assert_eq!((end.get(RAX), end.get(RDX)), (value, 0));
        assert_eq!(end.get(regs::RSI), size, "{value}");
    }
    for value in [0, 2, 5, 6, 8 | 7, 0x207] {
        assert_eq!(xsetbv(value, 0, 0).exception(), GP, "{value}");
    }
    assert_eq!(xsetbv(7, 1, 0).exception(), GP);
    assert_eq!(xsetbv(7, 0, 3).exception(), GP);
    // Without CR4.OSXSAVE; xgetbv of 2; XSAVES and XRSTORS.
    assert_eq!(with(&[0x0f, 0x01, 0xd0], 0, 0).exception(), UD);
    assert_eq!(with(&[0x0f, 0x01, 0xd1], 0, 0).exception(), UD);
    assert_eq!(with(&[0x0f, 0xae, 0x23], 0, 0).exception(), UD);
    let two = [0xb9, 2, 0, 0, 0, 0x0f, 0x01, 0xd0];
    assert_eq!(with(&two, 0, cr4::OSXSAVE).exception(), GP);
    for reg in [0x2b, 0x1b] {
        let end = with(&[0x0f, 0xc7, reg], 0, cr4::OSXSAVE);
        assert_eq!(end.exception(), UD);
    }
}

/// Runs XRSTOR [RBX] with all components asked for.
fn xrstor(offset: u64, area: &Area) -> Bare {
    Bare::both(&[0x0f, 0xae, 0x2b], |m| {
        m.set(RBX, DATA + offset);
        m.set(RAX, 7);
        m.write(DATA + offset, area);
        let state = &mut m.cpu().state;
        state.cr4 |= cr4::OSXSAVE | cr4::OSFXSR;
        state.xcr0 = 7;
        state::changed(m.cpu());
    })
}

/// SDM vol. 2, XRSTOR: what may not be loaded.
#[test]
fn xrstor_refuses_what_it_does_not_know() {
    let mut good = [0; xsave::SIZE];
    good[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
    good[512] = 7;
    good[0..2].copy_from_slice(&0x37fu16.to_le_bytes());
    assert!(xrstor(0, &good).at_end());
    assert_eq!(xrstor(16, &good).exception(), GP, "not aligned");
    let changed = |at: usize, value: u8| {
        let mut area = good;
        area[at] = value;
        xrstor(0, &area).exception()
    };
    assert_eq!(changed(512, 15), GP, "a component that is not enabled");
    assert_eq!(changed(520, 1), GP, "XCOMP_BV, not compacted");
    assert_eq!(changed(535, 1), GP, "reserved");
    assert_eq!(changed(536, 1), None, "ignored in this format");
    assert_eq!(changed(26, 1), GP, "MXCSR");
    let mut compacted = good;
    compacted[520] = 3;
    compacted[527] = 0x80;
    assert_eq!(
        xrstor(0, &compacted).exception(),
        GP,
        "more than its format has"
    );
    compacted[512] = 3;
    assert!(xrstor(0, &compacted).at_end());
    compacted[575] = 1;
    assert_eq!(xrstor(0, &compacted).exception(), GP, "reserved");
    // fxrstor [rbx]
    let end = Bare::both(&[0x0f, 0xae, 0x0b], |m| m.set(RBX, DATA + 8));
    assert_eq!(end.exception(), GP);
}

/// `KVM_GET_FPU` and `KVM_SET_FPU` are the inverse of each other, but for MXCSR.
#[test]
fn user_space_sees_the_registers_by_kvm_fpu() {
    let mut machine = Bare::new();
    let fresh = xsave::kvm_fpu(machine.vcpu.cpu());
    assert_eq!(fresh[128..130], 0x37fu16.to_le_bytes());
    assert!(
        fresh[..128]
            .iter()
            .chain(&fresh[130..])
            .all(|byte| *byte == 0)
    );
    let mut fpu = [0; xsave::KVM_FPU];
    for (at, byte) in (0..).zip(&mut fpu[..408]) {
        *byte = (at * 7) as u8;
    }
    for register in fpu[..128].chunks_exact_mut(16) {
        register[10..].fill(0);
    }
    fpu[128..136].copy_from_slice(&[0x7f, 0x03, 0x00, 0x28, 0xa5, 0, 0x34, 0x01]);
    fpu[141..144].fill(0);
    fpu[149..152].fill(0);
    xsave::set_kvm_fpu(machine.cpu(), &fpu);
    assert_eq!(xsave::kvm_fpu(machine.vcpu.cpu()), fpu);
    assert_eq!(machine.vcpu.cpu().state.mxcsr, 0x1f80);
    assert_eq!(machine.vcpu.cpu().state.fpu.top, 5);
    // Anything is taken, and nothing of it is a reason to fail.
    xsave::set_kvm_fpu(machine.cpu(), &[0xff; xsave::KVM_FPU]);
    machine.code_at(CODE, &FLD1);
    assert_eq!(machine.run_on(), Exit::Hlt);
}

/// `KVM_GET_XSAVE` and `KVM_SET_XSAVE`.
#[test]
fn user_space_sees_the_registers_by_kvm_xsave() {
    let mut machine = Bare::new();
    machine.cpu().state.cpuid = leaf(3);
    let area = xsave::kvm_xsave(machine.vcpu.cpu());
    assert_eq!((area[512], &area[464..466]), (0, &[7, 2][..]));
    let mut area: Area = std::array::from_fn(|at| (at * 5) as u8);
    area[0..6].copy_from_slice(&[0x7f, 0x03, 0, 0, 0xff, 0]);
    area[6..24].fill(0);
    area[24..32].copy_from_slice(&[0x80, 0x3f, 0, 0, 0xff, 0xff, 0, 0]);
    for n in 0..8 {
        area[32 + 16 * n + 10..32 + 16 * n + 16].fill(0);
    }
    area[416..576].fill(0);
    area[464..466].copy_from_slice(&[7, 2]);
    area[xsave::SIZE - 8..].fill(0);
    area[512] = 7;
    assert_eq!(xsave::set_kvm_xsave(machine.cpu(), &area), Ok(()));
    assert_eq!(machine.vcpu.cpu().state.mxcsr, 0x3f80);
    assert_eq!(xsave::in_use(machine.vcpu.cpu()), 7);
    // What CPUID does not have is not told.
    let told = xsave::kvm_xsave(machine.vcpu.cpu());
    assert_eq!((told[512], &told[576..]), (3, &[0; 264][..]));
    machine.cpu().state.cpuid = leaf(7);
    assert_eq!(xsave::kvm_xsave(machine.vcpu.cpu()), area);
    // The upper half of YMM0.
    assert_eq!(machine.vcpu.cpu().regs[34].to_le_bytes(), area[576..584]);
    for (at, value) in [(512, 15), (520, 1), (527, 0x80), (575, 1), (26, 1)] {
        let mut bad = area;
        bad[at] = value;
        let mut other = Bare::new();
        assert_eq!(
            xsave::set_kvm_xsave(other.cpu(), &bad),
            Err(Invalid),
            "{at}"
        );
        assert_eq!(xsave::in_use(other.vcpu.cpu()), 0);
    }
    // No components: everything is as it is initially, and MXCSR stays.
    area[512] = 0;
    assert_eq!(xsave::set_kvm_xsave(machine.cpu(), &area), Ok(()));
    assert_eq!(xsave::in_use(machine.vcpu.cpu()), 0);
    assert_eq!(machine.vcpu.cpu().state.mxcsr, 0x3f80);
}
