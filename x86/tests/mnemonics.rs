//! Every instruction that the decoder knows is done, or is on a list with the reason why not.

use iced_x86::{Decoder, DecoderOptions};
use std::collections::BTreeMap;
use understudy_x86::insn::{decode, mode};

/// All opcodes of all maps, with the prefixes that choose among them, each with registers and memory
/// as its operands.
fn encodings() -> impl Iterator<Item = Vec<u8>> {
    let legacy = [&[][..], &[0x66], &[0xf2], &[0xf3], &[0x48]]
        .into_iter()
        .flat_map(|prefix| {
            [&[][..], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]]
                .into_iter()
                .map(move |map| [prefix, map].concat())
        });
    let vex = (1..4u8).flat_map(|map| {
        (0..16u8).map(move |rest| vec![0xc4, 0xe0 | map, 0x78 | rest & 7 | (rest & 8) << 4])
    });
    legacy.chain(vex).flat_map(|start| {
        (0..=255u8).flat_map(move |opcode| {
            let start = start.clone();
            let memory = (0..8u8).map(|reg| reg << 3);
            memory.chain(0xc0..=0xff).map(move |modrm| {
                let mut code = start.clone();
                code.extend([opcode, modrm, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                code
            })
        })
    })
}

const MODES: [(u32, u32); 3] = [
    (64, mode::CODE64 | mode::STACK64 | mode::PROTECTED),
    (32, mode::CODE32 | mode::STACK32 | mode::PROTECTED),
    (16, 0),
];

#[test]
fn every_instruction_is_done() {
    let mut absent: BTreeMap<String, usize> = BTreeMap::new();
    for code in encodings() {
        for (bits, mode) in MODES {
            if decode(mode, &code).def.name != "(absent)" {
                continue;
            }
            let insn = Decoder::new(bits, &code, DecoderOptions::NONE).decode();
            *absent.entry(format!("{:?}", insn.mnemonic())).or_default() += 1;
        }
    }
    assert!(absent.is_empty(), "{absent:?}");
}

#[test]
fn what_belongs_to_an_absent_feature_is_undefined() {
    for (name, code) in [
        ("clzero", &[0x0f, 0x01, 0xfc][..]),
        ("rsm", &[0x0f, 0xaa]),
        ("xbegin", &[0xc7, 0xf8, 0, 0, 0, 0]),
        ("femms", &[0x0f, 0x0e]),
        ("vmrun", &[0x0f, 0x01, 0xd8]),
        ("vmlaunch", &[0x0f, 0x01, 0xc2]),
        ("monitorx", &[0x0f, 0x01, 0xfa]),
        (
            "vpaddd zmm0, zmm0, zmm0",
            &[0x62, 0xf1, 0x7d, 0x48, 0xfe, 0xc0],
        ),
        ("blsic eax, eax (TBM)", &[0x8f, 0xe9, 0x78, 0x01, 0xf0]),
        ("lock nop", &[0xf0, 0x90]),
        ("lock mov [rax], eax", &[0xf0, 0x89, 0]),
        ("lock add eax, eax", &[0xf0, 0x01, 0xc0]),
        ("lock cmp [rax], eax", &[0xf0, 0x39, 0]),
    ] {
        let (_, mode) = MODES[0];
        let mut code = code.to_vec();
        code.resize(16, 0x90);
        assert_eq!(decode(mode, &code).def.name, "(undefined)", "{name}");
    }
}
