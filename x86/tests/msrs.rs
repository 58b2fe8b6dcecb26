//! Model-specific registers: what the guest may do and what user space may do, and exits for them.

use std::sync::Arc;
use understudy_engine::run::Tier;
use understudy_x86::cpuid::Entry;
use understudy_x86::exit::{Exit, MsrExit};
use understudy_x86::msrs::exits::{Range, Ranges};
use understudy_x86::msrs::{self, By, Failure, mce, reason};
use understudy_x86::regs::{FS_BASE, RAX, RBX, RCX, RDX};
use understudy_x86::testing::{Bare, CODE, DATA};

const TIERS: [Tier; 2] = [Tier::Interpret, Tier::Compile(1)];
const RDMSR: [u8; 2] = [0x0f, 0x32];
const WRMSR: [u8; 2] = [0x0f, 0x30];

fn set(m: &mut Bare, number: u32, value: u64, by: By) -> Result<(), Failure> {
    msrs::write(m.cpu(), number, value, by)
}

fn get(m: &mut Bare, number: u32, by: By) -> Result<u64, Failure> {
    msrs::read(m.cpu(), number, by)
}

#[test]
fn every_listed_register_can_be_read_and_written_back() {
    let mut m = Bare::new();
    let list: Vec<u32> = msrs::index_list().collect();
    for number in [
        0x10,
        0x3b,
        0x17a,
        0x17b,
        0x1a0,
        0x277,
        0xce,
        0x8b,
        0xc000_0081,
        0xc001_0015,
        0x10a,
    ] {
        assert!(list.contains(&number), "{number:x}");
    }
    for number in list {
        let value = get(&mut m, number, By::Host);
        let value = value.unwrap_or_else(|e| panic!("{number:x}: {e:?}"));
        let read_only = matches!(number, 0x1db..=0x1de);
        if !read_only {
            assert_eq!(set(&mut m, number, value, By::Host), Ok(()), "{number:x}");
        }
    }
    // Those of a new vCPU, as the reference has them.
    for (number, value) in [
        (0x277, 0x0007_0406_0007_0406),
        (0x1a0, 0x1800),
        (0xce, 0x8000_0000),
        (0x8b, 0x0100_0065),
        (0x345, 0),
        (0x140, 0),
        (0xc001_0015, 0),
    ] {
        assert_eq!(get(&mut m, number, By::Host), Ok(value), "{number:x}");
    }
}

#[test]
fn hwcr_ignores_some_bits_and_refuses_others() {
    // What the selftest hwcr_msr_test asserts.
    let mut m = Bare::new();
    for bit in 0..64 {
        let value = 1u64 << bit;
        let ignored = matches!(bit, 3 | 6 | 8);
        let valid = matches!(bit, 18 | 24);
        let done = set(&mut m, 0xc001_0015, value, By::Host);
        assert_eq!(done.is_ok(), ignored || valid, "{bit}");
        let expected = if valid { value } else { 0 };
        assert_eq!(get(&mut m, 0xc001_0015, By::Host), Ok(expected));
        assert_eq!(set(&mut m, 0xc001_0015, 0, By::Host), Ok(()));
    }
}

#[test]
fn platform_info_is_the_guests_if_user_space_lets_it() {
    let mut m = Bare::new();
    let (old, new) = (1u64 << 31, 1 << 31 | 0xff00);
    assert_eq!(get(&mut m, 0xce, By::Guest), Ok(old));
    assert_eq!(set(&mut m, 0xce, new, By::Guest), Err(Failure::Invalid));
    assert_eq!(set(&mut m, 0xce, new, By::Host), Ok(()));
    assert_eq!(get(&mut m, 0xce, By::Guest), Ok(new));
    m.cpu().state.msrs.platform_info_readable = false;
    assert_eq!(get(&mut m, 0xce, By::Guest), Err(Failure::Invalid));
    assert_eq!(get(&mut m, 0xce, By::Host), Ok(new));
    // CPUID faulting: the bit that offers it cannot be taken away while it is on.
    assert_eq!(set(&mut m, 0x140, 1, By::Guest), Ok(()));
    assert_eq!(set(&mut m, 0xce, 5, By::Host), Err(Failure::Invalid));
    assert_eq!(set(&mut m, 0x140, 2, By::Guest), Err(Failure::Invalid));
    let end = Bare::both(&[0x0f, 0xa2], |m| {
        m.cpu().state.msrs.misc_features = 1;
        m.set_level(3);
    });
    assert_eq!(end.exception(), Some(13));
    let end = Bare::both(&[0x0f, 0xa2], |m| m.cpu().state.msrs.misc_features = 1);
    assert!(end.at_end());
}

#[test]
fn the_counter_and_its_adjustment() {
    // What the selftest tsc_msrs_test asserts.
    const UNIT: u64 = 1 << 40;
    let mut m = Bare::new();
    let near = |m: &mut Bare, number, by, value: u64| {
        let found = get(m, number, by).expect("it is there");
        let rounded = found.wrapping_add(UNIT / 2) & UNIT.wrapping_neg();
        assert_eq!(rounded, value);
    };
    near(&mut m, 0x10, By::Host, 0);
    // The guest's writes to either affect both.
    assert_eq!(set(&mut m, 0x10, 4 * UNIT, By::Guest), Ok(()));
    near(&mut m, 0x10, By::Guest, 4 * UNIT);
    near(&mut m, 0x3b, By::Guest, 4 * UNIT);
    assert_eq!(set(&mut m, 0x3b, 8 * UNIT, By::Guest), Ok(()));
    near(&mut m, 0x10, By::Guest, 8 * UNIT);
    near(&mut m, 0x3b, By::Guest, 8 * UNIT);
    // User space's do not.
    assert_eq!(set(&mut m, 0x10, 72 * UNIT, By::Host), Ok(()));
    near(&mut m, 0x10, By::Host, 72 * UNIT);
    near(&mut m, 0x3b, By::Host, 8 * UNIT);
    assert_eq!(set(&mut m, 0x3b, 123_456, By::Host), Ok(()));
    near(&mut m, 0x10, By::Host, 72 * UNIT);
    assert_eq!(get(&mut m, 0x3b, By::Host), Ok(123_456));
    assert_eq!(set(&mut m, 0x3b, 8 * UNIT, By::Host), Ok(()));
    assert_eq!(set(&mut m, 0x3b, 12 * UNIT, By::Guest), Ok(()));
    near(&mut m, 0x10, By::Host, 76 * UNIT);
    assert_eq!(set(&mut m, 0x10, 16 * UNIT, By::Guest), Ok(()));
    near(&mut m, 0x3b, By::Guest, (48 * UNIT).wrapping_neg());
}

#[test]
fn memory_types_and_machine_checks() {
    let mut m = Bare::new();
    let bad = Err(Failure::Invalid);
    assert_eq!(get(&mut m, 0xfe, By::Guest), Ok(0x508));
    assert_eq!(set(&mut m, 0xfe, 0, By::Host), bad);
    for (number, value, expected) in [
        (0x2ff, 0xc06, Ok(())),
        (0x2ff, 0xc02, bad),
        (0x2ff, 0x1000, bad),
        (0x200, 0x8000_0006, Ok(())),
        (0x200, 0x8000_0106, bad),
        (0x201, 0x8000_0800, Ok(())),
        (0x201, 0x8000_0400, bad),
        (0x20e, 1 << 48, bad),
        (0x250, 0x0606_0606_0606_0606, Ok(())),
        (0x26f, 0x0606_0606_0606_0602, bad),
    ] {
        assert_eq!(
            set(&mut m, number, value, By::Guest),
            expected,
            "{number:x} {value:x}"
        );
        if expected.is_ok() {
            assert_eq!(get(&mut m, number, By::Guest), Ok(value));
        }
    }
    assert_eq!(get(&mut m, 0x210, By::Guest), Err(Failure::Unknown));

    // Machine checks: 32 banks until user space says how many.
    assert_eq!(get(&mut m, 0x179, By::Guest), Ok(32));
    assert_eq!(get(&mut m, 0x47f, By::Guest), Ok(0));
    for cap in [0, 33, 1 | 1 << 10, 1 | 1 << 63] {
        assert!(!mce::setup(m.cpu(), cap), "{cap:x}");
    }
    assert!(mce::setup(m.cpu(), 10 | mce::SUPPORTED));
    assert_eq!(get(&mut m, 0x17b, By::Guest), Ok(!0));
    assert_eq!(get(&mut m, 0x400, By::Guest), Ok(!0));
    assert_eq!(get(&mut m, 0x428, By::Guest), Err(Failure::Invalid));
    assert_eq!(set(&mut m, 0x400, 5, By::Guest), bad);
    assert_eq!(set(&mut m, 0x410, !(1 << 10), By::Guest), Ok(()));
    assert_eq!(set(&mut m, 0x401, 5, By::Guest), bad);
    assert_eq!(set(&mut m, 0x401, 5, By::Host), Ok(()));
    assert_eq!(set(&mut m, 0xc001_0015, 1 << 18, By::Guest), Ok(()));
    assert_eq!(set(&mut m, 0x401, 6, By::Guest), Ok(()));
    assert_eq!(set(&mut m, 0x17b, 5, By::Guest), bad);
}

#[test]
fn cpuid_offers_registers() {
    let mut m = Bare::new();
    let bad = Err(Failure::Invalid);
    m.cpu().state.cpuid.clear();
    assert_eq!(get(&mut m, 0x48, By::Guest), Err(Failure::Invalid));
    assert_eq!(get(&mut m, 0x48, By::Host), Ok(0));
    assert_eq!(set(&mut m, 0x49, 1, By::Guest), bad);
    assert_eq!(set(&mut m, 0x10b, 1, By::Guest), bad);
    assert_eq!(get(&mut m, 0x10a, By::Guest), Err(Failure::Invalid));
    m.cpu().state.cpuid = vec![Entry {
        function: 7,
        index: Some(0),
        values: [0, 0, 0, 1 << 26 | 1 << 28 | 1 << 29],
    }];
    assert_eq!(set(&mut m, 0x48, 1, By::Guest), Ok(()));
    assert_eq!(set(&mut m, 0x48, 8, By::Guest), bad);
    assert_eq!(set(&mut m, 0x49, 1, By::Guest), Ok(()));
    assert_eq!(set(&mut m, 0x10b, 1, By::Guest), Ok(()));
    assert_eq!(set(&mut m, 0x10b, 2, By::Guest), bad);
    assert!(get(&mut m, 0x10a, By::Guest).is_ok());
    assert_eq!(set(&mut m, 0x10a, 0, By::Guest), bad);
    assert_eq!(get(&mut m, 0xda0, By::Guest), Err(Failure::Invalid));
    // IA32_MISC_ENABLE: the guest cannot change two bits, and one ignores it.
    assert_eq!(set(&mut m, 0x1a0, 0, By::Guest), bad);
    assert_eq!(set(&mut m, 0x1a0, 0x1881, By::Guest), Ok(()));
    assert_eq!(get(&mut m, 0x1a0, By::Guest), Ok(0x1801));
    assert_eq!(set(&mut m, 0x1a0, 0, By::Host), Ok(()));
}

fn machine(tier: Tier, code: &[u8], mask: u32, filter: Option<Ranges>) -> Bare {
    let mut m = Bare::new();
    m.code_at(CODE, code);
    m.cpu().state.msr_exits.mask = mask;
    m.cpu().state.msr_exits.filter = filter.map(|ranges| Arc::new(ranges) as Arc<_>);
    m.vcpu.engine.set_tier(tier);
    m
}

/// A filter that denies reads, or writes, of one register.
fn denying(number: u32, read: bool, write: bool) -> Ranges {
    Ranges {
        default_allow: true,
        ranges: vec![Range {
            read,
            write,
            base: number,
            count: 1,
            bitmap: vec![0],
        }],
    }
}

fn exit(index: u32, data: u64, reason: u32) -> MsrExit {
    MsrExit {
        index,
        data,
        reason,
    }
}

#[test]
fn unknown_registers_are_user_spaces_if_it_asks() {
    for tier in TIERS {
        // rdmsr; wrmsr; inc ebx
        let code = [&RDMSR[..], &WRMSR, &[0xff, 0xc3]].concat();
        let mut m = machine(tier, &code, reason::UNKNOWN, None);
        m.set(RCX, 0xdead_beef);
        let unknown = |data| exit(0xdead_beef, data, reason::UNKNOWN);
        assert_eq!(m.run_on(), Exit::Rdmsr(unknown(0)));
        assert_eq!(m.rip(), CODE);
        m.vcpu.complete_msr(false, 0x1122_3344_5566_7788);
        assert_eq!((m.get(RAX), m.get(RDX)), (0x5566_7788, 0x1122_3344));
        assert_eq!(m.run_on(), Exit::Wrmsr(unknown(0x1122_3344_5566_7788)));
        assert_eq!(m.rip(), CODE + 2);
        m.vcpu.complete_msr(false, 7);
        assert_eq!(m.run_on(), Exit::Hlt);
        assert_eq!((m.get(RAX), m.get(RBX)), (0x5566_7788, 1));
        // An error is a #GP, and so is what user space has not asked for.
        let mut m = machine(tier, &RDMSR, reason::UNKNOWN, None);
        m.set(RCX, 0xdead_beef);
        m.run_on();
        m.vcpu.complete_msr(true, 1);
        m.run_on();
        assert_eq!((m.exception(), m.error_code()), (Some(13), 0));
        assert_eq!(m.read_u64(m.get(understudy_x86::regs::RSP) + 8), CODE);
        for mask in [0, reason::INVAL | reason::FILTER] {
            let mut m = machine(tier, &RDMSR, mask, None);
            m.set(RCX, 0xdead_beef);
            assert_eq!(m.run_on(), Exit::Hlt);
            assert_eq!(m.exception(), Some(13));
        }
        // An invalid value is another reason.
        let mut m = machine(tier, &WRMSR, reason::INVAL, None);
        m.set(RCX, 0x277);
        m.set(RAX, 2);
        assert_eq!(m.run_on(), Exit::Wrmsr(exit(0x277, 2, reason::INVAL)));
    }
}

#[test]
fn filters_deny_reads_and_writes() {
    // What the selftest userspace_msr_exit_test asserts.
    for tier in TIERS {
        let fs = 0xc000_0100u32;
        for (read, write) in [(true, false), (false, true), (true, true)] {
            for (code, denied) in [(RDMSR, read), (WRMSR, write)] {
                for mask in [0, reason::FILTER] {
                    let filter = denying(fs, read, write);
                    let mut m = machine(tier, &code, mask, Some(filter));
                    m.set(RCX, fs.into());
                    m.set(RAX, DATA);
                    let ended = m.run_on();
                    if !denied {
                        assert!(m.at_end());
                    } else if mask == 0 {
                        assert_eq!(m.exception(), Some(13));
                        assert_eq!(m.get(FS_BASE), 0);
                    } else {
                        let data = if code == WRMSR { DATA } else { 0 };
                        let exit = exit(fs, data, reason::FILTER);
                        let expected = if code == WRMSR {
                            Exit::Wrmsr(exit)
                        } else {
                            Exit::Rdmsr(exit)
                        };
                        assert_eq!(ended, expected);
                    }
                }
            }
        }
        // What nobody knows can be denied, too; the local APIC's registers cannot.
        for (number, expected) in [(0x474f_4f00u32, reason::FILTER), (0x8ff, reason::INVAL)] {
            let filter = denying(number, true, true);
            let all = reason::FILTER | reason::UNKNOWN | reason::INVAL;
            let mut m = machine(tier, &RDMSR, all, Some(filter));
            m.set(RCX, number.into());
            let ended = m.run_on();
            assert!(
                matches!(ended, Exit::Rdmsr(exit) if exit.reason == expected),
                "{ended:?}"
            );
        }
        // Denied by default.
        let filter = Ranges {
            default_allow: false,
            ranges: vec![Range {
                read: true,
                base: 0x200,
                count: 256,
                bitmap: vec![0xff; 32],
                ..Range::default()
            }],
        };
        for (number, allowed) in [
            (0x277u64, true),
            (0x2ff, true),
            (0x1a0, false),
            (0xfe, false),
        ] {
            let mut m = machine(tier, &RDMSR, reason::FILTER, Some(filter.clone()));
            m.set(RCX, number);
            assert_eq!(matches!(m.run_on(), Exit::Rdmsr(_)), !allowed, "{number:x}");
        }
    }
}
