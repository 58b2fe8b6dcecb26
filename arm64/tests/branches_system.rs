//! Branches, exceptions and system instructions as the guest sees them, in both tiers.

use dynasmrt::{DynasmLabelApi, VecAssembler, aarch64::Aarch64Relocation, dynasm};
use understudy_arm64::regs;
use understudy_arm64::sysregs::Reg;
use understudy_arm64::testing::{Bare, RAM, USER};

/// The words of an assembled program.
macro_rules! code {
    ($($t:tt)*) => {{
        let mut ops: VecAssembler<Aarch64Relocation> = VecAssembler::new(0);
        dynasm!(ops; .arch aarch64; $($t)*);
        let bytes = ops.finalize().expect("it assembles");
        bytes
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")))
            .collect::<Vec<u32>>()
    }};
}

#[track_caller]
fn run(words: &[u32], prepare: impl Fn(&mut Bare)) -> Bare {
    let end = Bare::both(words, prepare);
    assert!(end.at_end(words), "{:x?}", end.exception());
    end
}

/// Vector, class and ISS of the exception that code takes, and where it returns to, from RAM.
#[track_caller]
fn takes(words: &[u32], prepare: impl Fn(&mut Bare)) -> (u64, u64, u64, u64) {
    let end = Bare::both(words, prepare);
    let (vector, class, iss, _) = end.exception().expect("it takes an exception");
    let elr = end.vcpu.engine.cpu.state.sys[Reg::ELR_EL1];
    (vector, class, iss, (elr & !USER).wrapping_sub(RAM))
}

fn nothing(_: &mut Bare) {}

#[test]
fn calls_and_returns() {
    let words = [
        0x9400_0003, // BL .+12
        0x9100_0421, // ADD X1, X1, #1
        0x1400_0003, // B .+12
        0x9100_0842, // ADD X2, X2, #2
        0xd65f_03c0, // RET
        0xd503_201f, // NOP
    ];
    let end = run(&words, nothing);
    assert_eq!((end.x(1), end.x(2), end.x(30)), (1, 2, RAM + 4));
    // BLR X30 reads its target before it writes the link.
    let words = [0xd63f_03c0, 0xd503_201f, 0xd503_201f];
    let end = run(&words, |machine| machine.set_x(30, RAM + 8));
    assert_eq!(end.x(30), RAM + 4);
    // BR X3 to a misaligned address: PC alignment fault there.
    let end = Bare::both(&[0xd61f_0060], |machine| machine.set_x(3, RAM + 2));
    assert_eq!(end.exception(), Some((0x200, 0x22, 0, RAM + 2)));
}

#[test]
fn loops_of_each_conditional_branch() {
    // Each counts X0 down from 5 and X1 up.
    for words in [
        code!(again:; add x1, x1, 1; subs x0, x0, 1; b.ne <again),
        code!(again:; add x1, x1, 1; sub x0, x0, 1; cbnz w0, <again),
        code!(again:; add x1, x1, 1; sub x0, x0, 1; cbz x0, >out; b <again; out:),
        code!(again:; add x1, x1, 1; subs w0, w0, 1; b.gt <again),
    ] {
        let end = run(&words, |machine| machine.set_x(0, 5));
        assert_eq!((end.x(0), end.x(1)), (0, 5), "{words:x?}");
    }
    // TBZ and TBNZ, in both halves.
    for (word, bit) in [
        (0x3638_0040u32, 7),
        (0xb638_0040, 39),
        (0x3738_0040, 7),
        (0xb738_0040, 39),
    ] {
        for set in [false, true] {
            let words = [word, 0xd280_0021, 0xd503_201f]; // ..., MOV X1, #1, NOP
            let value = if set { 1u64 << bit } else { !(1 << bit) };
            let end = run(&words, |machine| machine.set_x(0, value));
            let taken = set == (word >> 24 & 1 != 0);
            assert_eq!(end.x(1), !taken as u64, "{word:x} {set}");
        }
    }
}

#[test]
fn exceptions_by_instruction() {
    // SVC #0x1234 is taken as a call: it returns behind itself.
    assert_eq!(
        takes(&[0xd503_201f, 0xd402_4681], nothing),
        (0x200, 0x15, 0x1234, 8)
    );
    // At EL0, by the vector for a lower level.
    assert_eq!(takes(&[0xd400_0001], Bare::enter_el0), (0x400, 0x15, 0, 4));
    // UDF #0, HLT #1, DCPS1, SMC at EL0, HVC at EL0, ERET at EL0: undefined, and returned to.
    for word in [
        0,
        0xd440_0020,
        0xd4a0_0001,
        0xd400_0003,
        0xd400_0002,
        0xd69f_03e0,
    ] {
        assert_eq!(
            takes(&[word], Bare::enter_el0),
            (0x400, 0, 0, 0),
            "{word:x}"
        );
    }
    for word in [0, 0xd440_0020, 0xd4a0_0001] {
        assert_eq!(takes(&[word], nothing), (0x200, 0, 0, 0), "{word:x}");
    }
}

#[test]
fn fields_of_pstate() {
    // MSR DAIFSet, #15; MRS X0, DAIF; MSR DAIFClr, #6; MRS X1, DAIF
    let words = [0xd503_4fdf, 0xd53b_4220, 0xd503_46ff, 0xd53b_4221];
    let end = run(&words, nothing);
    assert_eq!((end.x(0), end.x(1)), (15 << 6, 9 << 6));
    // At EL0 it is trapped unless SCTLR_EL1.UMA allows it.
    let (vector, class, iss, _) = takes(&[0xd503_4fdf], Bare::enter_el0);
    // op0 0, op2 6, op1 3, CRn 4, Rt 31, CRm 15, a write.
    assert_eq!((vector, class), (0x400, 0x18));
    assert_eq!(iss, 6 << 17 | 3 << 14 | 4 << 10 | 31 << 5 | 15 << 1);
    let end = run(&[0xd503_4fdf, 0xd53b_4220], |machine| {
        machine.set_control(1 << 9);
        machine.enter_el0();
    });
    assert_eq!(end.x(0), 15 << 6);
    // MSR SPSel, #0 changes the stack pointer; #1 changes it back.
    let words = [
        0x9100_003f, // MOV SP, X1
        0xd500_40bf, // MSR SPSel, #0
        0x9100_03e2, // MOV X2, SP
        0x9100_007f, // MOV SP, X3
        0xd500_41bf, // MSR SPSel, #1
        0x9100_03e4, // MOV X4, SP
        0xd538_4105, // MRS X5, SP_EL0
        0xd538_4206, // MRS X6, SPSel
    ];
    let end = run(&words, |machine| {
        machine.set_x(1, 0x1000);
        machine.set_x(3, 0x3000);
        machine.cpu().set_slot(regs::SP_EL0, 0x2000);
    });
    assert_eq!([2, 4, 5, 6].map(|n| end.x(n)), [0x2000, 0x1000, 0x3000, 1]);
    // MSR PAN, #1; MRS X0, PAN; MSR UAO, #1; MRS X1, UAO; MSR SSBS, #1; MRS X2, SSBS
    let words = [
        0xd500_419f,
        0xd538_4260,
        0xd500_417f,
        0xd538_4281,
        0xd503_413f,
        0xd53b_42c2,
    ];
    let end = run(&words, nothing);
    assert_eq!([0, 1, 2].map(|n| end.x(n)), [1 << 22, 1 << 23, 1 << 12]);
    // PAN, UAO and SPSel are undefined at EL0.
    for word in [0xd500_419f, 0xd500_417f, 0xd500_41bf] {
        assert_eq!(
            takes(&[word], Bare::enter_el0),
            (0x400, 0, 0, 0),
            "{word:x}"
        );
    }
}

#[test]
fn registers_that_are_slots() {
    // MSR TPIDR_EL0, X1; MRS X2, TPIDR_EL0; MSR TPIDRRO_EL0, X3; MRS X4, TPIDRRO_EL0;
    // MSR TPIDR_EL1, X5; MRS X6, TPIDR_EL1
    let words = [
        0xd51b_d041,
        0xd53b_d042,
        0xd51b_d063,
        0xd53b_d064,
        0xd518_d085,
        0xd538_d086,
    ];
    let prepare = |machine: &mut Bare| {
        for n in [1, 3, 5] {
            machine.set_x(n, 0x1000 + n as u64);
        }
    };
    let end = run(&words, prepare);
    assert_eq!([2, 4, 6].map(|n| end.x(n)), [0x1001, 0x1003, 0x1005]);
    // EL0 reads what of that is its own, and writes TPIDR_EL0 alone.
    let el0 = |machine: &mut Bare| {
        prepare(machine);
        machine.enter_el0();
    };
    run(&[0xd51b_d041, 0xd53b_d042, 0xd53b_d064], el0);
    for word in [0xd51b_d063, 0xd518_d085, 0xd538_d086] {
        assert_eq!(takes(&[word], el0).1, 0, "{word:x}");
    }
    // NZCV, and the bits of FPCR and FPSR that exist.
    let words = [
        0xd51b_4201,
        0xd53b_4202,
        0xd51b_4401,
        0xd53b_4403,
        0xd51b_4421,
        0xd53b_4424,
    ];
    let end = run(&words, |machine| machine.set_x(1, !0));
    assert_eq!(
        [2, 3, 4].map(|n| end.x(n)),
        [0xf000_0000, 0x07c8_0000, 0xf800_009f]
    );
    // CurrentEL, and that it is undefined at EL0.
    assert_eq!(run(&[0xd538_4240], nothing).x(0), 4);
    assert_eq!(takes(&[0xd538_4240], Bare::enter_el0).1, 0);
}

#[test]
fn hints_and_barriers() {
    // NOP, YIELD, WFE, SEV, SEVL, PACIASP, AUTIASP, ESB, PSB CSYNC, CSDB, BTI; DSB, DMB, ISB, CLREX
    let words = [
        0xd503_201f,
        0xd503_203f,
        0xd503_205f,
        0xd503_209f,
        0xd503_20bf,
        0xd503_233f,
        0xd503_23bf,
        0xd503_221f,
        0xd503_223f,
        0xd503_229f,
        0xd503_241f,
        0xd503_3f9f,
        0xd503_3bbf,
        0xd503_39bf,
        0xd503_3fdf,
        0xd503_3f5f,
    ];
    run(&words, |machine| machine.set_x(30, 0x1234_5678));
    // TSB's neighbours in the barriers' space, and those of WFET and CFINV.
    for word in [0xd503_31ff, 0xd503_307f, 0xd503_1040, 0xd500_411f] {
        assert_eq!(takes(&[word], nothing), (0x200, 0, 0, 0), "{word:x}");
    }
}

#[test]
fn clearing_a_block() {
    // DC ZVA, X1
    let words = [0xd50b_7421];
    let at = understudy_arm64::testing::DATA + 0x40;
    let end = run(&words, |machine| {
        machine.write(at - 8, &[0xff; 80]);
        machine.set_x(1, at + 13);
    });
    assert_eq!(end.read::<64>(at), [0; 64]);
    assert_eq!((end.read_u64(at - 8), end.read_u64(at + 64)), (!0, !0));
}
