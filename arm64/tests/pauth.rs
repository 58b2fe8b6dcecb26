//! Pointer authentication, in both tiers: what is signed is authenticated, and nothing else is.

use understudy_arm64::pauth::Algorithm;
use understudy_arm64::sysregs::Reg;
use understudy_arm64::testing::{Bare, DATA, RAM};

/// SCTLR_EL1.EnIA, EnIB, EnDA, EnDB.
const ENABLE: u64 = 1 << 31 | 1 << 30 | 1 << 27 | 1 << 13;
/// Bits of the PAC of a data address, which has a tag here: 39 bits are translated.
const PAC: u64 = 0x7f_ff80_0000_0000;
/// One that has been taken for right, and an address.
const POINTER: u64 = 0x4001_2340;

const KEYS: [Reg; 10] = [
    Reg::APIAKEYLO_EL1,
    Reg::APIAKEYHI_EL1,
    Reg::APIBKEYLO_EL1,
    Reg::APIBKEYHI_EL1,
    Reg::APDAKEYLO_EL1,
    Reg::APDAKEYHI_EL1,
    Reg::APDBKEYLO_EL1,
    Reg::APDBKEYHI_EL1,
    Reg::APGAKEYLO_EL1,
    Reg::APGAKEYHI_EL1,
];

fn prepare(machine: &mut Bare, algorithm: Algorithm) {
    let state = &mut machine.cpu().state;
    for (i, key) in KEYS.into_iter().enumerate() {
        state.sys[key] = 0x0123_4567_89ab_cdef_u64.rotate_left(7 * i as u32);
    }
    state.sys[Reg::SCTLR_EL1] |= ENABLE;
    state.pauth.algorithm = algorithm;
    machine.set_x(0, POINTER);
    machine.set_x(1, 0x1111);
    machine.set_x(2, 0x2222);
}

fn run(words: &[u32], algorithm: Algorithm) -> Bare {
    let end = Bare::both(words, |machine| prepare(machine, algorithm));
    assert!(end.at_end(words), "{words:x?}");
    end
}

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Qarma5, Algorithm::ImplementationDefined];

#[test]
fn what_is_signed_is_authenticated() {
    for algorithm in ALGORITHMS {
        for key in 0..4 {
            // PACxx X0, X1; MOV X3, X0; AUTxx X0, X1
            let words = [
                0xdac1_0020 | key << 10,
                0xaa00_03e3,
                0xdac1_1020 | key << 10,
            ];
            let end = run(&words, algorithm);
            assert_ne!(end.x(3), POINTER);
            assert_eq!(end.x(3) & !PAC, POINTER, "only the PAC has changed");
            assert_eq!(end.x(0), POINTER);
            // With another modifier: AUTxx X0, X2. The error code: 0b01 of A keys, 0b10 of B keys.
            let words = [0xdac1_0020 | key << 10, 0xdac1_1040 | key << 10];
            let end = run(&words, algorithm);
            let code = if key & 1 == 0 { 0b01 } else { 0b10 };
            assert_eq!(end.x(0), POINTER | code << 53);
            // PACxxZA X0; XPACI or XPACD X0
            let words = [0xdac1_23e0 | key << 10, 0xdac1_43e0 | (key >> 1) << 10];
            assert_eq!(run(&words, algorithm).x(0), POINTER);
        }
        // PACIA X0, X1 of what is no address: it never authenticates.
        let words = [0xd2e0_0220, 0xdac1_0020, 0xdac1_1020];
        assert_ne!(run(&words, algorithm).x(0), 0x11 << 48);
    }
}

#[test]
fn hints_sign_the_link_register_and_x17() {
    // MOV X30, X0; PACIASP; MOV X3, X30; AUTIASP; MOV X17, X0; MOV X16, X1; PACIB1716; MOV X4, X17;
    // AUTIB1716; PACIBZ; XPACLRI
    let words = [
        0xaa00_03fe,
        0xd503_233f,
        0xaa1e_03e3,
        0xd503_23bf,
        0xaa00_03f1,
        0xaa01_03f0,
        0xd503_215f,
        0xaa11_03e4,
        0xd503_21df,
        0xd503_235f,
        0xd503_20ff,
    ];
    let end = run(&words, Algorithm::Qarma5);
    for signed in [3, 4] {
        assert_ne!(end.x(signed), POINTER);
    }
    assert_eq!((end.x(30), end.x(17)), (POINTER, POINTER));
}

#[test]
fn branches_and_loads_authenticate() {
    // ADR X0, +16; PACIA X0, X1; BRAA X0, X1; BRK; MOV X5, #1
    let words = [
        0x1000_0080,
        0xdac1_0020,
        0xd71f_0801,
        0xd420_0000,
        0xd280_0025,
    ];
    assert_eq!(run(&words, Algorithm::Qarma5).x(5), 1);
    // ADR X0, +16; PACIZB X0; BLRABZ X0; BRK; MOV X5, X30
    let words = [
        0x1000_0080,
        0xdac1_27e0,
        0xd63f_0c1f,
        0xd420_0000,
        0xaa1e_03e5,
    ];
    assert_eq!(run(&words, Algorithm::Qarma5).x(5), RAM + 12);
    // ADR X30, +16; PACIASP; RETAA; BRK; MOV X5, #1
    let words = [
        0x1000_009e,
        0xd503_233f,
        0xd65f_0bff,
        0xd420_0000,
        0xd280_0025,
    ];
    assert_eq!(run(&words, Algorithm::Qarma5).x(5), 1);
    // PACDZA X6; LDRAA X7, [X6, #8]; PACDZB X8; LDRAB X9, [X8, #8]!
    let words = [0xdac1_2be6, 0xf820_14c7, 0xdac1_2fe8, 0xf8a0_1d09];
    let end = Bare::both(&words, |machine| {
        prepare(machine, Algorithm::Qarma5);
        machine.write(DATA + 8, &0x1234_5678_u64.to_le_bytes());
        machine.set_x(6, DATA);
        machine.set_x(8, DATA);
    });
    assert!(end.at_end(&words));
    assert_eq!(
        (end.x(7), end.x(9), end.x(8)),
        (0x1234_5678, 0x1234_5678, DATA + 8)
    );
}

#[test]
fn generic_authentication_is_the_upper_half() {
    for algorithm in ALGORITHMS {
        // PACGA X3, X0, X1; PACGA X4, X0, X2
        let end = run(&[0x9ac1_3003, 0x9ac2_3004], algorithm);
        assert_ne!(end.x(3), end.x(4));
        assert_eq!(end.x(3) as u32, 0);
    }
}

/// TRAP-8: a VM that has not asked for it.
#[test]
fn without_the_opt_in_what_is_enabled_is_undefined() {
    for (word, enabled_by) in [
        (0xdac1_0020, 1 << 31), // PACIA X0, X1
        (0xdac1_0c20, 1 << 13), // PACDB X0, X1
        (0xd503_233f, 1 << 31), // PACIASP
        (0x9ac1_3003, 0),       // PACGA X3, X0, X1
        (0xdac1_43e0, 0),       // XPACI X0
        (0xd538_2100, 0),       // MRS X0, APIAKeyLo_EL1
        (0xd518_2321, 0),       // MSR APGAKeyHi_EL1, X1
    ] {
        let mut states = vec![(0, enabled_by == 0)];
        if enabled_by != 0 {
            states.push((enabled_by, true));
        }
        for (enable, undefined) in states {
            let end = Bare::both(&[word], |machine| {
                let state = &mut machine.cpu().state;
                state.pauth.offered = false;
                state.sys[Reg::SCTLR_EL1] |= enable;
                machine.set_x(0, POINTER);
            });
            // Unknown reason.
            let taken = end.exception().map(|(_, class, ..)| class);
            assert_eq!(taken, undefined.then_some(0), "{word:x} {enable:x}");
            assert_eq!(end.x(0), POINTER, "{word:x}");
        }
    }
}
