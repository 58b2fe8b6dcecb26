//! PKRU as a component of the XSAVE area (SDM vol. 1, 13.5.7), to instructions and to user space. In both
//! tiers.

use understudy_x86::cpuid::{self, Entry};
use understudy_x86::regs::{self, RAX, RBX, RCX};
use understudy_x86::state::{self, cr4};
use understudy_x86::testing::{Bare, DATA};
use understudy_x86::xsave;

const GP: Option<u8> = Some(13);
const ALL: u64 = 0x207;
const PKRU: u64 = 0x200;
const KEYS: u32 = 0x5555_5554;
const XSAVE: [u8; 3] = [0x0f, 0xae, 0x23];
const XSAVEC: [u8; 3] = [0x0f, 0xc7, 0x23];
const XRSTOR: [u8; 3] = [0x0f, 0xae, 0x2b];

/// Leaf 0xd with these components.
fn leaf(components: u64) -> Vec<Entry> {
    let entry = |index, values| Entry {
        function: 0xd,
        index: Some(index),
        values,
    };
    let low = components as u32;
    vec![
        entry(0, [low, 0, 840, 0]),
        entry(1, [3, 0, 0, 0]),
        entry(9, [8, 832, 0, 0]),
    ]
}

fn prepare(m: &mut Bare, xcr0: u64, wanted: u64) {
    m.set(RBX, DATA);
    m.set(RAX, wanted);
    let state = &mut m.cpu().state;
    state.cr4 |= cr4::OSXSAVE | cr4::OSFXSR;
    state.xcr0 = xcr0;
    state.cpuid = leaf(ALL);
    state::changed(m.cpu());
}

/// Saves with [`KEYS`].
fn save(code: &[u8], wanted: u64) -> Bare {
    let end = Bare::both(code, |m| {
        m.write(DATA, &[0xee; 1024]);
        m.write(DATA + 512, &[0; 64]);
        prepare(m, ALL, wanted);
        m.cpu().state.pkru = KEYS;
    });
    assert!(end.at_end());
    end
}

#[test]
fn it_is_saved_where_the_format_has_it() {
    let area = |end: &Bare| {
        let at = |offset| end.read_u64(DATA + offset);
        (at(512), at(520) & !(1 << 63), at(576), at(832), at(840))
    };
    const FILL: u64 = 0xeeee_eeee_eeee_eeee;
    let keys = u64::from(KEYS);
    let end = save(&XSAVE, PKRU);
    assert_eq!(area(&end), (PKRU, 0, FILL, keys, FILL));
    let end = save(&XSAVEC, PKRU | 3);
    assert_eq!(area(&end), (PKRU, PKRU | 3, keys, FILL, FILL));
    let end = save(&XSAVEC, ALL);
    assert_eq!(area(&end), (PKRU, ALL, FILL, keys, FILL));
    let end = save(&XSAVE, 7);
    assert_eq!(area(&end).3, FILL, "not asked for");
    // Without AVX, XSAVE's is still at 832; and nothing is saved that XCR0 does not have.
    let end = save(&XSAVE, PKRU | 3);
    assert_eq!(area(&end), (PKRU, 0, FILL, keys, FILL));
}

/// Restores an area with this header.
fn restore(xcr0: u64, wanted: u64, present: u64, format: u64) -> Bare {
    Bare::both(&XRSTOR, |m| {
        m.write(DATA, &[0; 1024]);
        m.write(DATA + 24, &0x1f80u32.to_le_bytes());
        m.write(DATA + 512, &present.to_le_bytes());
        m.write(DATA + 520, &format.to_le_bytes());
        m.write(DATA + 576, &0x1111_1111_2222_2222u64.to_le_bytes());
        m.write(DATA + 832, &0x3333_3333_4444_4444u64.to_le_bytes());
        prepare(m, xcr0, wanted);
        m.cpu().state.pkru = KEYS;
    })
}

#[test]
fn it_is_restored_from_there() {
    let compacted = |components| 1 << 63 | components;
    for (xcr0, wanted, present, format, pkru) in [
        (ALL, ALL, PKRU, 0, 0x4444_4444),
        (PKRU | 3, ALL, PKRU, 0, 0x4444_4444),
        (ALL, ALL, PKRU, compacted(PKRU | 3), 0x2222_2222),
        (ALL, PKRU, PKRU, compacted(ALL), 0x4444_4444),
        (ALL, ALL, 7, 0, 0),
        (ALL, ALL, 0, compacted(7), 0),
        (ALL, 7, PKRU, 0, KEYS),
        (7, ALL, 7, 0, KEYS),
    ] {
        let end = restore(xcr0, wanted, present, format);
        assert!(end.at_end(), "{xcr0:x} {present:x} {format:x}");
        assert_eq!(end.vcpu.cpu().state.pkru, pkru, "{xcr0:x} {format:x}");
    }
    assert_eq!(restore(7, ALL, PKRU, 0).exception(), GP);
    assert_eq!(restore(7, ALL, 0, compacted(ALL)).exception(), GP);
}

/// XSETBV, and CPUID's sizes, which follow XCR0 (SDM vol. 1, 13.2 and 13.3).
#[test]
fn xcr0_has_it() {
    // xsetbv; mov eax, 0xd; cpuid; mov esi, ebx; mov eax, 0xd; mov ecx, 1; cpuid
    let code = [
        0x0f, 0x01, 0xd1, 0xb8, 0x0d, 0, 0, 0, 0x0f, 0xa2, 0x89, 0xde, 0xb8, 0x0d, 0, 0, 0, 0xb9,
        1, 0, 0, 0, 0x0f, 0xa2,
    ];
    for (value, standard, compacted) in [
        (7, 832, 832),
        (ALL, 840, 840),
        (PKRU | 1, 840, 584),
        (PKRU | 3, 840, 584),
    ] {
        let end = Bare::both(&code, |m| {
            prepare(m, 1, value);
            m.set(RCX, 0);
            m.set(regs::RDX, 0);
        });
        assert!(end.at_end(), "{value:x}");
        assert_eq!(end.vcpu.cpu().state.xcr0, value);
        assert_eq!(end.get(regs::RSI), standard, "{value:x}");
        assert_eq!(end.get(RBX), compacted, "{value:x}");
    }
    let all = cpuid::supported();
    let index = |index| all.iter().find(|e| (e.function, e.index) == (0xd, index));
    let [zero, one, nine] = [0, 1, 9].map(|n| index(Some(n)).map(|e| e.values));
    assert_eq!(zero, Some([ALL as u32, 840, 840, 0]));
    assert_eq!(one.map(|values| values[1]), Some(840));
    assert_eq!(nine, Some([8, 832, 0, 0]));
}

/// `KVM_GET_XSAVE` and `KVM_SET_XSAVE`.
#[test]
fn user_space_sees_it() {
    let mut machine = Bare::new();
    machine.cpu().state.cpuid = leaf(ALL);
    machine.cpu().state.pkru = KEYS;
    let mut area = xsave::kvm_xsave(machine.vcpu.cpu());
    assert_eq!(xsave::word(&area, 512), PKRU);
    assert_eq!(area[832..836], KEYS.to_le_bytes());
    area[832] = 8;
    assert_eq!(xsave::set_kvm_xsave(machine.cpu(), &area), Ok(()));
    assert_eq!(machine.vcpu.cpu().state.pkru, KEYS & !0xff | 8);
    // KVM leaves it as it is, where the area does not have it.
    area[513] = 0;
    assert_eq!(xsave::set_kvm_xsave(machine.cpu(), &area), Ok(()));
    assert_eq!(machine.vcpu.cpu().state.pkru, KEYS & !0xff | 8);
    machine.cpu().state.cpuid = leaf(7);
    let area = xsave::kvm_xsave(machine.vcpu.cpu());
    assert_eq!((xsave::word(&area, 512), area[832]), (0, 0));
}
