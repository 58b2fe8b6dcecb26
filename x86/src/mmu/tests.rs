//! Translation as a guest sees it, in both tiers.

use crate::exceptions::code::{FETCH, KEY, PRESENT, RESERVED, USER, WRITE};
use crate::regs::{RAX, RBX, RCX, RDX, RSI, RSP, flag};
use crate::segments::{rights, seg};
use crate::state::{self, cr0, cr4, efer};
use crate::testing::{Bare, CODE, DATA, TABLES};

/// The tables of [`place`], from the root on.
const LEVELS: [u64; 5] = [
    TABLES + 0x8000,
    TABLES,
    TABLES + 0x3000,
    TABLES + 0x4000,
    TABLES + 0x5000,
];
/// Where [`place`] maps its page: 0x80_4040_1000, which has an entry of its own at each level.
const PLACE: u64 = 1 << 39 | 1 << 30 | 2 << 21 | 1 << 12;

/// P, RW, US, A and D.
const PAGE: u64 = 0x67;
/// P, RW and US.
const TABLE: u64 = 7;
const NX: u64 = 1 << 63;

/// Maps the page of data at [`PLACE`], with this entry's flags, and those of the table above it.
fn place(machine: &mut Bare, page: u64, table: u64) {
    let mut put = |at: u64, value: u64| machine.write(at, &value.to_le_bytes());
    put(LEVELS[1] + 8, LEVELS[2] | TABLE);
    put(LEVELS[2] + 8, LEVELS[3] | TABLE);
    put(LEVELS[3] + 16, LEVELS[4] | table);
    put(LEVELS[4] + 8, DATA | page);
}

/// The error code and CR2 of the page fault, if there was one.
fn fault(machine: &Bare) -> Option<(u32, u64)> {
    (machine.exception() == Some(14)).then(|| {
        let code = machine.error_code() as u32;
        (code, machine.vcpu.cpu().state.cr2)
    })
}

/// `mov eax, [rbx]`, `mov [rbx], eax`, or `jmp rbx`, at a level.
fn access(code: &[u8], level: u8, prepare: impl Fn(&mut Bare)) -> Bare {
    Bare::both(code, |machine| {
        machine.write(DATA, &[0xf4; 16]);
        machine.set(RBX, PLACE);
        machine.set_level(level);
        prepare(machine);
        state::changed(machine.cpu());
    })
}

const LOAD: &[u8] = &[0x8b, 0x03];
const STORE: &[u8] = &[0x89, 0x03];
/// ADD to memory: a load that faults as a write.
const ADD: &[u8] = &[0x01, 0x03];
const JUMP: &[u8] = &[0xff, 0xe3];

#[test]
fn pages_that_are_not_there_say_what_was_done() {
    let none = |m: &mut Bare| place(m, PAGE & !1, TABLE);
    for (code, level, expected) in [
        (LOAD, 0, 0),
        (STORE, 0, WRITE),
        (ADD, 0, WRITE),
        (JUMP, 0, FETCH),
        (LOAD, 3, USER),
        (STORE, 3, USER | WRITE),
        (JUMP, 3, USER | FETCH),
    ] {
        let end = access(code, level, none);
        assert_eq!(fault(&end), Some((expected, PLACE)), "{code:x?} {level}");
    }
}

#[test]
fn rights_are_those_of_all_levels() {
    // Flags of the page and of the table; an access; the error code, if it faults.
    for (page, table, code, level, expected) in [
        (PAGE, TABLE, LOAD, 3, None),
        (PAGE, TABLE, STORE, 3, None),
        (PAGE & !2, TABLE, STORE, 3, Some(PRESENT | USER | WRITE)),
        (PAGE, TABLE & !2, STORE, 3, Some(PRESENT | USER | WRITE)),
        (PAGE & !2, TABLE, STORE, 0, Some(PRESENT | WRITE)),
        (PAGE & !2, TABLE, ADD, 0, Some(PRESENT | WRITE)),
        (PAGE & !2, TABLE, LOAD, 0, None),
        (PAGE & !4, TABLE, LOAD, 3, Some(PRESENT | USER)),
        (PAGE, TABLE & !4, LOAD, 3, Some(PRESENT | USER)),
        (PAGE & !4, TABLE, LOAD, 0, None),
        (PAGE | NX, TABLE, JUMP, 0, Some(PRESENT | FETCH)),
        (PAGE, TABLE | NX, JUMP, 0, Some(PRESENT | FETCH)),
        (PAGE | NX, TABLE, LOAD, 0, None),
        (PAGE, TABLE, JUMP, 0, None),
    ] {
        let end = access(code, level, |m| place(m, page, table));
        let fault = fault(&end).map(|(code, _)| code);
        assert_eq!(fault, expected, "{page:x} {table:x} {code:x?} {level}");
    }
}

#[test]
fn without_wp_level_0_writes_what_is_readonly() {
    let end = access(STORE, 0, |m| {
        place(m, PAGE & !2, TABLE);
        m.cpu().state.cr0 &= !cr0::WP;
        m.set(RAX, 0x1234);
    });
    assert!(end.at_end());
    assert_eq!(end.read::<2>(DATA), [0x34, 0x12]);
}

#[test]
fn accessed_and_dirty_flags_are_set() {
    for (code, dirty) in [(LOAD, 0), (STORE, 0x40)] {
        let end = access(code, 0, |m| place(m, TABLE, TABLE));
        assert_eq!(end.read_u64(LEVELS[4] + 8), DATA | TABLE | 0x20 | dirty);
        assert_eq!(end.read_u64(LEVELS[3] + 16), LEVELS[4] | TABLE | 0x20);
        assert_eq!(end.read_u64(LEVELS[2] + 8), LEVELS[3] | TABLE | 0x20);
    }
    // A load, and then a store that finds the page in the TLB.
    let end = access(&[0x8b, 0x03, 0x89, 0x03], 0, |m| place(m, TABLE, TABLE));
    assert_eq!(end.read_u64(LEVELS[4] + 8), DATA | TABLE | 0x60);
    // A fault sets none.
    let end = access(STORE, 0, |m| place(m, TABLE & !2, TABLE));
    assert_eq!(end.read_u64(LEVELS[4] + 8), DATA | TABLE & !2);
}

#[test]
fn smep_and_smap_keep_level_0_from_user_pages() {
    let with = |bits: u64, ac: u64| {
        move |m: &mut Bare| {
            // The code's and the stack's own pages become the supervisor's.
            m.write(TABLES + 0x1000, &0xe3u64.to_le_bytes());
            place(m, PAGE, TABLE);
            m.cpu().state.cr4 |= bits;
            m.cpu().state.rflags |= ac;
        }
    };
    let of = |code, bits, ac| fault(&access(code, 0, with(bits, ac))).map(|(code, _)| code);
    assert_eq!(of(JUMP, cr4::SMEP, 0), Some(PRESENT | FETCH));
    assert_eq!(of(LOAD, cr4::SMEP, 0), None);
    assert_eq!(of(LOAD, cr4::SMAP, 0), Some(PRESENT));
    assert_eq!(of(STORE, cr4::SMAP, 0), Some(PRESENT | WRITE));
    assert_eq!(of(LOAD, cr4::SMAP, flag::AC), None);
    assert_eq!(of(JUMP, cr4::SMAP, 0), None);
    // STAC; load; CLAC; load, which faults though the TLB has had the page.
    let code = [0x0f, 0x01, 0xcb, 0x8b, 0x03, 0x0f, 0x01, 0xca, 0x8b, 0x0b];
    let end = access(&code, 0, with(cr4::SMAP, 0));
    assert_eq!(fault(&end), Some((PRESENT, PLACE)));
    assert_eq!(end.get(RAX), 0xf4f4_f4f4);
    assert_eq!(end.read_u64(end.get(RSP) + 8), CODE + 8);
}

#[test]
fn protection_keys_forbid_data_of_user_pages() {
    let with = |pkru: u32, level| {
        move |m: &mut Bare| {
            let key = if level == 0 { 0 } else { 4 };
            place(m, PAGE | 5 << 59, TABLE | key);
            m.cpu().state.cr4 |= cr4::PKE;
            m.cpu().state.pkru = pkru;
        }
    };
    let of = |code, pkru| fault(&access(code, 3, with(pkru, 3))).map(|(code, _)| code);
    assert_eq!(of(LOAD, 1 << 10), Some(PRESENT | USER | KEY));
    assert_eq!(of(LOAD, 2 << 10), None);
    assert_eq!(of(STORE, 2 << 10), Some(PRESENT | USER | WRITE | KEY));
    assert_eq!(of(STORE, !(3 << 10)), None);
    assert_ne!(of(JUMP, 1 << 10), Some(PRESENT | USER | FETCH | KEY));
    // WRPKRU takes what RDPKRU gives, and counts at once: load; WRPKRU; load.
    let code = [0x8b, 0x13, 0x31, 0xd2, 0x0f, 0x01, 0xef, 0x8b, 0x13];
    let end = access(&code, 3, |m| {
        with(0, 3)(m);
        m.set(RAX, 1 << 10);
        m.set(RCX, 0);
        m.set(RDX, 0);
    });
    assert_eq!(fault(&end), Some((PRESENT | USER | KEY, PLACE)));
    // So does XRSTOR: load; XRSTOR [RSI]; load.
    let code = [0x8b, 0x13, 0x0f, 0xae, 0x2e, 0x8b, 0x13];
    let end = access(&code, 3, |m| {
        with(0, 3)(m);
        m.write(DATA, &[0; 1024]);
        m.write(DATA + 512, &0x200u64.to_le_bytes());
        m.write(DATA + 832, &(1u64 << 10).to_le_bytes());
        m.set(RSI, DATA);
        m.set(RAX, 0x200);
        let state = &mut m.cpu().state;
        state.cr4 |= cr4::OSXSAVE;
        state.xcr0 = 0x207;
        state::changed(m.cpu());
    });
    assert_eq!(fault(&end), Some((PRESENT | USER | KEY, PLACE)));
}

#[test]
fn reserved_bits_fault() {
    for (page, table) in [
        (PAGE | 1 << 50, TABLE),
        (PAGE, TABLE | 1 << 48),
        // A large page at 8 KiB.
        (PAGE, 0x80 | 1 << 13 | TABLE),
    ] {
        let end = access(LOAD, 0, |m| {
            place(m, page, table);
            if table & 0x80 != 0 {
                m.write(LEVELS[3] + 16, &(table).to_le_bytes());
            }
        });
        assert_eq!(fault(&end), Some((PRESENT | RESERVED, PLACE)), "{page:x}");
    }
    // NX is reserved where it is not enabled; fetches are not told apart then.
    let end = access(LOAD, 0, |m| {
        place(m, PAGE | NX, TABLE);
        m.cpu().state.efer &= !efer::NXE;
    });
    assert_eq!(fault(&end), Some((PRESENT | RESERVED, PLACE)));
}

#[test]
fn large_pages_and_invlpg() {
    // A large page's entry is changed: the TLB may go on with the old one until INVLPG, of any
    // address in the page. mov eax, [rbx]; mov [rcx], rdx; invlpg [rbx + 0x3000]; mov esi, [rbx].
    let code = [
        0x8b, 0x03, 0x48, 0x89, 0x11, 0x0f, 0x01, 0xbb, 0, 0x30, 0, 0, 0x8b, 0x33,
    ];
    let end = access(&code, 0, |m| {
        place(m, PAGE, TABLE);
        let low = 0x1000_0000u64 | 0xe7;
        m.write(LEVELS[3] + 16, &low.to_le_bytes());
        m.write(CODE + 0x1_5000, &7u32.to_le_bytes());
        m.write(0x5000, &9u32.to_le_bytes());
        m.set(RBX, (PLACE & !0x1f_ffff) + 0x1_5000);
        m.set(RCX, LEVELS[3] + 16);
        m.set(RDX, 0xe7);
    });
    assert!(end.at_end());
    assert_eq!(end.get(RAX), 7);
    // At 0 there is the low memory: 0x15000 of it is 0.
    assert_eq!(end.get(crate::regs::RSI), 0);
}

#[test]
fn five_levels() {
    let end = access(LOAD, 0, |m| {
        place(m, PAGE, TABLE);
        m.write(LEVELS[0], &(LEVELS[1] | TABLE).to_le_bytes());
        m.write(LEVELS[0] + 8 * 5, &(LEVELS[1] | TABLE).to_le_bytes());
        m.cpu().state.cr4 |= cr4::LA57;
        m.cpu().state.cr3 = LEVELS[0];
        m.set(RBX, PLACE | 5 << 48);
    });
    assert!(end.at_end());
    assert_eq!(end.get(RAX), 0xf4f4_f4f4);
}

#[test]
fn a_move_to_cr3_changes_the_address_space() {
    // mov eax, [rbx]; mov cr3, rcx; mov edx, [rbx]; mov cr3, rsi; mov edi, [rbx]
    let code = [
        0x8b, 0x03, 0x0f, 0x22, 0xd9, 0x8b, 0x13, 0x0f, 0x22, 0xde, 0x8b, 0x3b,
    ];
    let second = TABLES + 0x9000;
    for pcid in [false, true] {
        let end = access(&code, 0, |m| {
            place(m, PAGE, TABLE);
            let mut put = |at: u64, value: u64| m.write(at, &value.to_le_bytes());
            put(second, (TABLES + 0x1000) | TABLE);
            put(second + 8, (TABLES + 0xa000) | TABLE);
            put(TABLES + 0xa008, (TABLES + 0xb000) | TABLE);
            put(TABLES + 0xb010, (TABLES + 0xc000) | TABLE);
            put(TABLES + 0xc008, (DATA + 0x1000) | PAGE);
            put(DATA + 0x1000, 0x55);
            let (keep, tag) = if pcid { (1 << 63, 1) } else { (0, 0) };
            m.set(RCX, second | keep | tag);
            m.set(crate::regs::RSI, TABLES | keep);
            if pcid {
                m.cpu().state.cr4 |= cr4::PCIDE;
            }
        });
        assert!(end.at_end());
        assert_eq!((end.get(RAX), end.get(RDX)), (0xf4f4_f4f4, 0x55));
        assert_eq!(end.get(crate::regs::RDI), 0xf4f4_f4f4);
    }
}

/// 32-bit code with flat segments, at [`CODE`].
fn protected32() -> Bare {
    let mut machine = Bare::new();
    let state = &mut machine.cpu().state;
    state.efer = 0;
    state.cr4 = 0;
    state.cr0 = cr0::PE | cr0::ET | cr0::WP;
    let code = &mut state.segmentation.segments[seg::CS as usize];
    code.rights = code.rights & !rights::L | rights::DB;
    state::changed(machine.cpu());
    machine
}

#[test]
fn two_and_three_levels_of_32_bit_paging() {
    // mov eax, [ebx]; mov [ebx], ecx
    let code = [0x8b, 0x03, 0x89, 0x0b];
    let root = TABLES + 0x9000;
    let four = |m: &mut Bare, at: u64, value: u32| m.write(at, &value.to_le_bytes());
    for paging in [0, cr4::PSE, cr4::PAE] {
        let end = Bare::both_at(CODE, &code, protected32, |m| {
            m.write(DATA, &77u32.to_le_bytes());
            let page = DATA as u32 | 7;
            let table = (TABLES + 0xa000) as u32;
            if paging == cr4::PAE {
                for i in 0..4u32 {
                    four(m, root + u64::from(8 * i), table + 0x1000 * i + 1);
                    four(m, root + u64::from(8 * i) + 4, 0);
                }
                // 2 MiB: the code's; and a table for 0xc040_1000.
                m.write(u64::from(table) + 8 * 128, &0x1000_0083u64.to_le_bytes());
                let last = TABLES + 0xe000;
                m.write(u64::from(table) + 0x3010, &(last | 7).to_le_bytes());
                m.write(last + 8, &u64::from(page).to_le_bytes());
            } else {
                let code = if paging == cr4::PSE {
                    0x1000_0083
                } else {
                    let first = TABLES + 0xb000;
                    for i in 0..0x100 {
                        let frame = CODE as u32 + 0x1000 * i;
                        four(m, first + u64::from(4 * i), frame | 3);
                    }
                    first as u32 | 3
                };
                four(m, root + 4 * 64, code);
                four(m, root + 4 * 0x301, table | 7);
                four(m, u64::from(table) + 4, page);
            }
            let state = &mut m.cpu().state;
            state.cr4 = paging;
            state.cr3 = root;
            state.cr0 |= cr0::PG;
            state::changed(m.cpu());
            m.set(RBX, 0xc040_1000);
            m.set(RCX, 78);
        });
        assert!(end.at_end(), "{paging:x} {:?} {:x}", end.exit, end.rip());
        assert_eq!((end.get(RAX), end.read::<1>(DATA)), (77, [78]));
    }
}

#[test]
fn control_registers_take_what_they_may() {
    // mov cr0, rbx; mov cr4, rbx; mov cr3, rbx; mov cr8, rbx
    let (to0, to4, to3) = ([0x0f, 0x22, 0xc3], [0x0f, 0x22, 0xe3], [0x0f, 0x22, 0xdb]);
    let good0 = cr0::PE | cr0::PG | cr0::ET | cr0::WP;
    for (code, value, expected) in [
        (&to0[..], good0, None),
        (&to0, good0 | 1 << 32, Some(13)),
        (&to0, good0 & !cr0::PE, Some(13)),
        (&to0, good0 & !cr0::PG, Some(13)),
        (&to0, good0 | cr0::NW, Some(13)),
        (&to4, cr4::PAE | cr4::PGE, None),
        (&to4, 0, Some(13)),
        (&to4, cr4::PAE | cr4::LA57, Some(13)),
        (&to4, cr4::PAE | 1 << 13, Some(13)),
        (&to4, cr4::PAE | cr4::PCIDE, None),
        (&to3, TABLES, None),
        (&to3, TABLES | 1 << 48, Some(13)),
        (&to3, TABLES | 1 << 63, Some(13)),
        (&[0x44, 0x0f, 0x22, 0xc3], 15, None),
        (&[0x44, 0x0f, 0x22, 0xc3], 16, Some(13)),
        (&[0x0f, 0x22, 0xcb], 0, Some(6)),
    ] {
        let end = Bare::both(code, |m| m.set(RBX, value));
        assert_eq!(end.exception(), expected, "{code:x?} {value:x}");
    }
    // None at CPL 3; each is read as it was written.
    let end = Bare::both(&to4, |m| m.set_level(3));
    assert_eq!(end.exception(), Some(13));
    let end = Bare::both(&[0x0f, 0x20, 0xc0], |_| ());
    assert_eq!(end.get(RAX), good0);
}
